// SPDX-License-Identifier: GPL-2.0

//! Freezing: the device holds still, and a copy of it is a clean filesystem. C: `ext2_freeze`, `ext2_unfreeze` in
//! `fs/ext2/super.c`.
//!
//! VFS stops the writers and page faults, writes out what is dirty, and keeps eviction waiting. What is left is to call the
//! superblock valid, as at unmount. C's ext4 has its journal for that, and without one leaves a copy that wants e2fsck.

use super::{record, super_block, SuperBlock};
use kernel::{prelude::*, sync::atomic::Relaxed};

/// Makes the superblock say that it is clean; but not while deleted files are open, which a copy would have without a name.
///
/// # Errors
///
/// `EIO`, `ENOMEM`, `EUCLEAN`: then it is not frozen.
pub(super) fn freeze(sb: &SuperBlock) -> Result {
    // What evictions have changed since VFS wrote all that was dirty.
    sb.sync_device()?;
    super_block::write_state(sb, !sb.has_unlinked_inodes())?;
    // From here on sync(2), which VFS lets through, leaves the superblock alone.
    sb.data().frozen.store(true, Relaxed);
    Ok(())
}

/// Mounted again, and not clean.
///
/// # Errors
///
/// `EIO`, `ENOMEM`, `EUCLEAN`: then it stays frozen.
pub(super) fn unfreeze(sb: &SuperBlock) -> Result {
    sb.data().frozen.store(false, Relaxed);
    if record::emergency_state(sb).is_err() {
        return Ok(());
    }
    super_block::write_state(sb, false).inspect_err(|_| sb.data().frozen.store(true, Relaxed))
}

/// Whether it is frozen.
pub(super) fn is_frozen(sb: &SuperBlock) -> bool {
    sb.data().frozen.load(Relaxed)
}
