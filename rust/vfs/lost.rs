// SPDX-License-Identifier: GPL-2.0

//! Buffers whose write failed. Memory has what the disk has not, nobody would write it again, and once memory is short it is
//! gone; so a sync after the failure makes them dirty anew, and a disk that has healed gets them after all.
//!
//! C: `mark_buffer_write_io_error` and `end_buffer_async_write` in `fs/buffer.c`, which leave it at that, and ext4 with them.

use super::{
    buffer_head::{count_as_read, Buffer},
    FileSystem, SuperBlock,
};
use crate::sys::bindings;
use core::{mem::MaybeUninit, ptr::NonNull};
use kernel::ffi::c_ulong;

/// Any folio of a device.
const END: c_ulong = c_ulong::MAX;

impl<T: FileSystem, S> SuperBlock<T, S> {
    fn device_mapping(&self) -> *mut bindings::address_space {
        // SAFETY: valid by invariant, and its device is open as long as it is.
        unsafe { bindings::notblk_sb_bdev_mapping(self.as_raw()) }
    }

    /// Whether writes to the device's page cache have failed since the last call with the same `since`, which begins as zero and
    /// which the caller keeps to itself meanwhile. C: `errseq_check_and_advance`, as of `s_bdev_wb_err` in ext4.
    pub(crate) fn device_failed(&self, since: &mut u32) -> bool {
        // SAFETY: the mapping is the open device's; `since` is ours alone.
        unsafe { bindings::notblk_mapping_check_and_advance(self.device_mapping(), since) != 0 }
    }
}

impl<T: FileSystem> SuperBlock<T> {
    /// Makes all buffers dirty whose last write failed, those of freed blocks too: until they are allocated again nobody cares
    /// what is in them, and then [`Self::let_go_of_lost`] is called. Takes folio and buffer locks, and looks at all that
    /// is cached of the device: for after a failure only.
    pub(crate) fn redirty_lost(&self) {
        let mapping = self.device_mapping();
        // SAFETY: integers and raw pointers, for which zero is a value.
        let mut batch: bindings::folio_batch = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: room for a batch.
        unsafe { bindings::notblk_folio_batch_init(&mut batch) };
        let mut next: c_ulong = 0;
        // SAFETY: the device is open, hence the mapping valid; the batch has been initialised, and is emptied each time.
        while unsafe { bindings::filemap_get_folios(mapping, &mut next, END, &mut batch) != 0 } {
            for &folio in batch.folios.iter().take(usize::from(batch.nr)) {
                // SAFETY: the batch has a reference to it.
                unsafe { redirty_folio(folio) };
            }
            // SAFETY: initialised above.
            unsafe { bindings::notblk_folio_batch_release(&mut batch) };
        }
    }

    /// Has [`Self::redirty_lost`] pass over blocks that belong to a file's data from now on. To be called after the writes that
    /// were under way have ended.
    pub(super) fn let_go_of_lost(&self, block: u32, count: u32) {
        // SAFETY: the mapping is the open device's.
        if unsafe { bindings::notblk_mapping_wb_err(self.device_mapping()) } == 0 {
            return;
        }
        for block in block..block.saturating_add(count) {
            // SAFETY: the superblock is valid.
            let bh = unsafe {
                bindings::notblk_sb_find_get_block_nonatomic(self.as_raw(), u64::from(block))
            };
            let Some(bh) = NonNull::new(bh) else {
                continue;
            };
            // SAFETY: a counted reference to a buffer of the superblock's device.
            let buffer: Buffer<'_> = unsafe { Buffer::from_raw(bh) };
            // Both under the lock: whoever saw the mark before has made it dirty before.
            // SAFETY: valid; unlocked by the same task.
            unsafe {
                bindings::notblk_lock_buffer(buffer.as_raw());
                bindings::notblk_clear_buffer_dirty(buffer.as_raw());
                bindings::notblk_clear_buffer_write_io_error(buffer.as_raw());
                bindings::unlock_buffer(buffer.as_raw());
            }
        }
    }
}

/// # Safety
///
/// The caller has a reference to the folio, which is or was in the page cache of a block device.
unsafe fn redirty_folio(folio: *mut bindings::folio) {
    // SAFETY: the reference keeps it; unlocked below by the same task. Under its lock nobody takes its buffers away (should it
    // have left the cache, it has none).
    unsafe {
        bindings::notblk_folio_lock(folio);
        let head = bindings::notblk_folio_buffers(folio);
        let mut bh = head;
        while !bh.is_null() {
            // Under the buffer's lock no write of it is under way.
            bindings::notblk_lock_buffer(bh);
            if bindings::notblk_buffer_write_io_error(bh) {
                count_as_read(bh);
                bindings::notblk_mark_buffer_dirty(bh);
            }
            bindings::unlock_buffer(bh);
            bh = (*bh).b_this_page;
            if bh == head {
                break;
            }
        }
        bindings::notblk_folio_unlock(folio);
    }
}
