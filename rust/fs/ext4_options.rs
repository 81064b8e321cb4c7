// SPDX-License-Identifier: GPL-2.0

//! Mount options that ext4 has, that lines of `/etc/fstab` name, and that have nothing to say here. C: `ext4_param_specs` in
//! `fs/ext4/super.c`.
//!
//! Not among them is what asks for something that we do not do, such as `data=` (ext4 refuses it too without a journal).

use crate::{
    format::number,
    vfs::fs_context::{Log, Value},
};
use kernel::prelude::*;

/// What an option's value must be.
#[derive(Clone, Copy)]
enum Takes {
    Nothing,
    Number,
    /// 0, or a power of two below 2^31.
    PowerOfTwo,
    /// A number or nothing.
    Optional,
    /// Anything.
    Text,
}

/// What becomes of an option.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is about what this driver has no choice in: a journal, delayed allocation, its caches.
    Moot,
    /// ext4 itself ignores it, and says so.
    Removed,
}

/// Name, value, and what becomes of it.
const OPTIONS: &[(&str, Takes, Fate)] = &[
    ("noload", Takes::Nothing, Fate::Moot),
    ("norecovery", Takes::Nothing, Fate::Moot),
    ("barrier", Takes::Optional, Fate::Moot),
    ("nobarrier", Takes::Nothing, Fate::Moot),
    ("delalloc", Takes::Nothing, Fate::Moot),
    ("nodelalloc", Takes::Nothing, Fate::Moot),
    ("auto_da_alloc", Takes::Optional, Fate::Moot),
    ("noauto_da_alloc", Takes::Nothing, Fate::Moot),
    ("dioread_nolock", Takes::Nothing, Fate::Moot),
    ("nodioread_nolock", Takes::Nothing, Fate::Moot),
    ("dioread_lock", Takes::Nothing, Fate::Moot),
    ("block_validity", Takes::Nothing, Fate::Moot),
    ("noblock_validity", Takes::Nothing, Fate::Moot),
    ("init_itable", Takes::Optional, Fate::Moot),
    ("noinit_itable", Takes::Nothing, Fate::Moot),
    ("inode_readahead_blks", Takes::PowerOfTwo, Fate::Moot),
    ("stripe", Takes::Number, Fate::Moot),
    ("min_batch_time", Takes::Number, Fate::Moot),
    ("max_batch_time", Takes::Number, Fate::Moot),
    ("nojournal_checksum", Takes::Nothing, Fate::Moot),
    ("nombcache", Takes::Nothing, Fate::Moot),
    ("no_mbcache", Takes::Nothing, Fate::Moot),
    ("no_prefetch_block_bitmaps", Takes::Nothing, Fate::Moot),
    ("oldalloc", Takes::Nothing, Fate::Removed),
    ("orlov", Takes::Nothing, Fate::Removed),
    ("bh", Takes::Nothing, Fate::Removed),
    ("nobh", Takes::Nothing, Fate::Removed),
    ("i_version", Takes::Nothing, Fate::Removed),
    ("mblk_io_submit", Takes::Nothing, Fate::Removed),
    ("nomblk_io_submit", Takes::Nothing, Fate::Removed),
    ("prefetch_block_bitmaps", Takes::Nothing, Fate::Removed),
    ("check", Takes::Text, Fate::Removed),
    ("nocheck", Takes::Nothing, Fate::Removed),
    ("reservation", Takes::Nothing, Fate::Removed),
    ("noreservation", Takes::Nothing, Fate::Removed),
    ("journal", Takes::Number, Fate::Removed),
];

/// Takes an option and does nothing. `Ok(false)`: not one of these.
///
/// # Errors
///
/// `EINVAL` for a value that cannot be.
pub(super) fn accept(key: &[u8], value: &Value<'_>, log: &Log) -> Result<bool> {
    let found = OPTIONS.iter().find(|(name, ..)| name.as_bytes() == key);
    let Some(&(name, takes, fate)) = found else {
        return Ok(false);
    };
    let fits = match (takes, value) {
        (Takes::Nothing | Takes::Optional, Value::Flag) | (Takes::Text, Value::Text(_)) => true,
        (Takes::Number | Takes::Optional, Value::Text(text)) => number::parse_u32(text).is_some(),
        (Takes::PowerOfTwo, Value::Text(text)) => {
            number::parse_u32(text).is_some_and(|n| n == 0 || (n.is_power_of_two() && n <= 1 << 30))
        }
        _ => false,
    };
    if !fits {
        return Err(log.invalid(c"bad value of a mount option"));
    }
    match fate {
        Fate::Moot => {}
        Fate::Removed => pr_warn!("ignoring removed mount option {name}\n"),
    }
    Ok(true)
}
