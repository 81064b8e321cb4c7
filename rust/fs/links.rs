// SPDX-License-Identifier: GPL-2.0

//! Link counts, and where they end. C: `EXT4_DIR_LINK_MAX`, `ext4_inc_count` and `ext4_dec_count` in `fs/ext4/namei.c`.
//!
//! A file has at most 32,000 names, as ext2's: that is what `pathconf(_PC_LINK_MAX)` says of this magic number, where the C library
//! does not find ext4's directory in sysfs, and ext4's 65,000 would make it a liar. Files of ext4's that have more are read, and keep
//! them. A directory has up to 65,000, which ext4 and e2fsck count. With the feature `dir_nlink` it may have more: its count is 1
//! then, which says that nobody counts, and it stays so.

use super::{Inode, SuperBlock};
use crate::format::{features::RO_COMPAT_DIR_NLINK, inode::FL_INDEX, inode::LINK_MAX};
use kernel::prelude::*;

/// The most names of a file. C: `EXT2_LINK_MAX`.
const FILE_LINK_MAX: u32 = 32_000;

/// Whether a directory takes no further directory. C: `EXT4_DIR_LINK_MAX`.
pub(super) fn is_full(dir: &Inode) -> bool {
    dir.nlink() >= u32::from(LINK_MAX) && !(may_be_uncounted(dir.sb()) && has_index(dir))
}

/// Whether a file takes no further name.
pub(super) fn has_all(inode: &Inode) -> bool {
    inode.nlink() >= FILE_LINK_MAX
}

/// A directory has got another directory. C: `ext4_inc_count`.
///
/// # Errors
///
/// `EUCLEAN` where it is deleted itself: only damage leads there.
pub(super) fn inc(dir: &Inode) -> Result {
    if dir.nlink() == 1 {
        return Ok(());
    }
    dir.inc_link()?;
    if dir.nlink() > u32::from(LINK_MAX) {
        dir.stop_counting_links();
    }
    Ok(())
}

/// A directory has lost a directory. C: `ext4_dec_count`.
pub(super) fn dec(dir: &Inode) {
    if dir.nlink() > 2 {
        dir.dec_link();
    }
}

/// The feature `dir_nlink`.
fn may_be_uncounted(sb: &SuperBlock) -> bool {
    sb.data().features_ro_compat & RO_COMPAT_DIR_NLINK != 0
}

/// C: `is_dx`. A list of so many names would be endless to search.
fn has_index(dir: &Inode) -> bool {
    dir.data().disk.lock().flags & FL_INDEX != 0
}
