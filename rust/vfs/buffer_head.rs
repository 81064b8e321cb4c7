// SPDX-License-Identifier: GPL-2.0

//! `struct buffer_head`: one block of metadata in the device's page cache.
//!
//! C: `include/linux/buffer_head.h`, `fs/buffer.c`.
//!
//! The bytes of a buffer may change under us (anyone who may write to the block device can do it, mounted or not), so
//! they are copied in and out and never borrowed. Changing them takes a [`super::Transaction`].

use super::{inode_sync, to_result};
use crate::{
    format::{block::Block, corrupt::Corrupt},
    sys::bindings,
};
use core::{marker::PhantomData, ptr::NonNull};
use kernel::prelude::*;

/// A counted reference to a buffer whose contents are in memory unless said otherwise. Cannot outlive the superblock it came
/// from, hence not the block device.
///
/// # Invariants
///
/// `bh` is valid and counted, mapped to lowmem for `b_size` bytes from `b_data`.
pub(crate) struct Buffer<'sb> {
    bh: NonNull<bindings::buffer_head>,
    _sb: PhantomData<&'sb ()>,
}

impl Buffer<'_> {
    /// # Safety
    ///
    /// The caller hands over a reference to a valid buffer of a block device that stays open for the lifetime.
    pub(super) unsafe fn from_raw(bh: NonNull<bindings::buffer_head>) -> Self {
        // INVARIANT: by the contract; the device's page cache is never in highmem.
        Self {
            bh,
            _sb: PhantomData,
        }
    }

    pub(super) fn as_raw(&self) -> *mut bindings::buffer_head {
        self.bh.as_ptr()
    }

    /// Number of the block on its device (`b_blocknr`).
    pub(crate) fn block_nr(&self) -> u64 {
        // SAFETY: valid by invariant; set when the buffer is made.
        unsafe { (*self.as_raw()).b_blocknr }
    }

    /// `buffer_uptodate`.
    pub(super) fn is_uptodate(&self) -> bool {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_buffer_uptodate(self.as_raw()) }
    }

    /// Writes the buffer if it is dirty and waits. C: `sync_dirty_buffer`.
    ///
    /// # Errors
    ///
    /// `EIO` where this write failed, or an earlier one did that nobody has heard of.
    pub(crate) fn sync(&self) -> Result {
        // SAFETY: valid by invariant.
        to_result(unsafe { bindings::sync_dirty_buffer(self.as_raw()) })?;
        self.check_written()
    }

    /// As [`Buffer::sync`], and past the device's cache of writes (`REQ_FUA`). C: `ext4_commit_super` with barriers.
    ///
    /// # Errors
    ///
    /// As [`Buffer::sync`].
    pub(crate) fn sync_through(&self) -> Result {
        // SAFETY: valid by invariant.
        to_result(unsafe { bindings::notblk_sync_dirty_buffer_fua(self.as_raw()) })?;
        self.check_written()
    }

    /// Whether the last write went well.
    fn check_written(&self) -> Result {
        // SAFETY: valid by invariant.
        if unsafe { bindings::notblk_buffer_write_io_error(self.as_raw()) } {
            return Err(EIO);
        }
        Ok(())
    }

    /// Whether the disk may have something else: the buffer is to be written, or just is, or could not be.
    pub(crate) fn is_on_its_way(&self) -> bool {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_buffer_on_its_way(self.as_raw()) }
    }

    /// Whether memory has the contents: read, or left by a write that failed, after which C calls the buffer unread. Does not
    /// sleep.
    pub(super) fn has_contents(&self) -> bool {
        // SAFETY: valid by invariant.
        self.is_uptodate() || unsafe { bindings::notblk_buffer_write_io_error(self.as_raw()) }
    }

    /// Reads the buffer from the disk unless memory has the contents. What a failed write has left, the disk lacks: it must not be
    /// read over, by nobody, and counts as read from now on. Sleeps. C: `__bread_slow`, `ext4_buffer_uptodate`.
    ///
    /// # Errors
    ///
    /// `EIO`.
    pub(super) fn read(&self) -> Result {
        if self.is_uptodate() {
            return Ok(());
        }
        let bh = self.as_raw();
        // SAFETY: valid by invariant; unlocked by the same task, or when the read ends. Under the lock nobody else reads into it
        // or writes it out, so that a write either has failed before or begins afterwards.
        unsafe {
            bindings::notblk_lock_buffer(bh);
            if !self.has_contents() {
                return to_result(bindings::notblk_bh_read_locked(bh));
            }
            count_as_read(bh);
            bindings::unlock_buffer(bh);
        }
        Ok(())
    }

    /// Has the contents count as read again that a failed write has left. Where a write is under way, it says itself how it went.
    /// Does not sleep. C: `__ext4_handle_dirty_metadata`, which does not look.
    pub(super) fn keep_contents(&self) {
        if self.is_uptodate() {
            return;
        }
        let bh = self.as_raw();
        // SAFETY: valid by invariant; unlocked by the same task.
        unsafe {
            if bindings::notblk_trylock_buffer(bh) {
                count_as_read(bh);
                bindings::unlock_buffer(bh);
            }
        }
    }

    /// After a failed write, of which the caller tells by itself: the contents count as read, and the error as known. C:
    /// `ext4_commit_super`.
    pub(super) fn keep_after_error(&self) {
        let bh = self.as_raw();
        // SAFETY: valid by invariant; unlocked by the same task. Under the lock nobody reads into it or writes it out.
        unsafe {
            bindings::notblk_lock_buffer(bh);
            if bindings::notblk_buffer_write_io_error(bh) && !bindings::notblk_buffer_uptodate(bh) {
                bindings::notblk_clear_buffer_write_io_error(bh);
                bindings::notblk_set_buffer_uptodate(bh);
            }
            bindings::unlock_buffer(bh);
        }
    }

    fn data(&self) -> *mut u8 {
        // SAFETY: valid by invariant; `b_data` does not change while the buffer is referenced.
        unsafe { (*self.as_raw()).b_data.cast() }
    }

    /// Checks that `n` bytes at `off` are inside, and answers where they begin.
    pub(super) fn range(&self, off: usize, n: usize) -> Result<*mut u8, Corrupt> {
        match off.checked_add(n) {
            // SAFETY: inside `b_size` bytes from `b_data`.
            Some(end) if end <= self.len() => Ok(unsafe { self.data().add(off) }),
            _ => Err(Corrupt::OutOfBlock {
                offset: off,
                len: n,
                block_len: self.len(),
            }),
        }
    }
}

/// What is in memory counts as read, though a write of it may have failed; unless an `fsync` that waited for that write is about to
/// ask by this flag how it went. Such a buffer has its contents none the less ([`Buffer::has_contents`]).
///
/// # Safety
///
/// The buffer is valid, and the caller has locked it.
pub(super) unsafe fn count_as_read(bh: *mut bindings::buffer_head) {
    if !inode_sync::is_any_syncing() {
        // SAFETY: by the contract.
        unsafe { bindings::notblk_set_buffer_uptodate(bh) };
    }
}

impl Block for Buffer<'_> {
    fn len(&self) -> usize {
        // SAFETY: valid by invariant; does not change while the buffer is referenced.
        unsafe { (*self.as_raw()).b_size }
    }

    fn read_bytes(&self, off: usize, dst: &mut [u8]) -> Result<(), Corrupt> {
        let src = self.range(off, dst.len())?;
        // SAFETY: `src` is valid for `dst.len()` bytes. The copy is made by C: whoever writes to the device's page
        // cache meanwhile can garble the bytes, not the memory model.
        unsafe { bindings::notblk_memcpy(dst.as_mut_ptr().cast(), src.cast(), dst.len()) };
        Ok(())
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        // SAFETY: the reference is ours.
        unsafe { bindings::notblk_brelse(self.as_raw()) };
    }
}
