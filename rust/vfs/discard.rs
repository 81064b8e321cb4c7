// SPDX-License-Identifier: GPL-2.0

//! Telling the device what is free. C: `sb_issue_discard` in `include/linux/blkdev.h`.

use super::{to_result, FileSystem, SuperBlock};
use crate::sys::bindings;
use kernel::prelude::*;

impl<T: FileSystem, S> SuperBlock<T, S> {
    /// The bytes that the device discards at a time; `None` where it cannot. C: `bdev_discard_granularity`,
    /// `bdev_max_discard_sectors`.
    pub(crate) fn discard_granularity(&self) -> Option<u32> {
        // SAFETY: valid by invariant, and the device is open as long as the superblock is.
        unsafe {
            (bindings::notblk_bdev_max_discard_sectors(self.as_raw()) != 0)
                .then(|| bindings::notblk_bdev_discard_granularity(self.as_raw()))
        }
    }
}

impl<T: FileSystem> SuperBlock<T> {
    /// Tells the device that `count` blocks from `block` on hold nothing of interest: they may read as anything from now on.
    /// Waits for it. Allocates memory without calling into the filesystem.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` where the device cannot.
    pub(crate) fn discard(&self, block: u32, count: u32) -> Result {
        // SAFETY: valid by invariant.
        to_result(unsafe {
            bindings::notblk_sb_issue_discard(self.as_raw(), u64::from(block), u64::from(count))
        })
    }
}

/// Whether the calling task must stop what takes long: it is being killed, or frozen. C: `ext4_trim_interrupted`.
pub(crate) fn is_interrupted() -> bool {
    // SAFETY: always.
    unsafe { bindings::notblk_fatal_signal_pending() || bindings::notblk_freezing() }
}
