// SPDX-License-Identifier: GPL-2.0

//! The one way to change metadata.
//!
//! Whoever changes a block of metadata asks a [`Transaction`] for write access to its buffer, changes it through the
//! [`WriteAccess`] it gets, and says how it becomes dirty. Without a journal, which is all there is today, that marks the
//! buffer dirty and, for what belongs to one inode, puts it on the list that `fsync` waits for. A journal (ext3's, by the
//! kernel's jbd2) is a second implementation of these calls: `get_write_access`, `get_create_access` and
//! `dirty_metadata` of a handle.
//!
//! C: `fs/ext4/ext4_jbd2.c`, which has the same two cases.

use super::{buffer_head::Buffer, inode::Inode, FileSystem, SuperBlock};
use crate::{
    format::{
        block::{Block, BlockMut},
        corrupt::Corrupt,
    },
    sys::bindings,
};
use core::{marker::PhantomData, ptr::NonNull};
use kernel::prelude::*;

/// A group of changes to metadata that belong together.
pub(crate) struct Transaction<'sb, T: FileSystem> {
    sb: &'sb SuperBlock<T>,
}

impl<'sb, T: FileSystem> Transaction<'sb, T> {
    /// Begins. A journal will want to know how many blocks may be changed; the callers will say so then.
    pub(crate) fn start(sb: &'sb SuperBlock<T>) -> Self {
        Self { sb }
    }

    /// The superblock whose metadata this changes.
    pub(crate) fn sb(&self) -> &'sb SuperBlock<T> {
        self.sb
    }

    /// Write access to a buffer that has been read. C: `ext4_journal_get_write_access`.
    pub(crate) fn write<'t>(&'t self, buffer: Buffer<'sb>) -> WriteAccess<'t, 'sb> {
        WriteAccess {
            buffer,
            dirty: false,
            _transaction: PhantomData,
        }
    }

    /// Write access to a block that has just been allocated: zeroed, whatever was on disk. C: `sb_getblk`, then
    /// `ext4_journal_get_create_access`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn create<'t>(&'t self, block: u32) -> Result<WriteAccess<'t, 'sb>> {
        // SAFETY: the superblock is valid.
        let bh = unsafe { bindings::notblk_sb_getblk(self.sb.as_raw(), u64::from(block)) };
        let bh = NonNull::new(bh).ok_or(ENOMEM)?;
        // SAFETY: `sb_getblk` handed us a reference to a buffer of the superblock's device.
        let buffer: Buffer<'sb> = unsafe { Buffer::from_raw(bh) };
        // Under the buffer lock, so that no read of the old contents can land on top of the zeroes.
        // SAFETY: valid, with `b_size` bytes at `b_data`; unlocked by the same task.
        unsafe {
            bindings::notblk_lock_buffer(bh.as_ptr());
            bindings::notblk_memset((*bh.as_ptr()).b_data.cast(), 0, buffer.len());
            bindings::notblk_set_buffer_uptodate(bh.as_ptr());
            bindings::unlock_buffer(bh.as_ptr());
        }
        Ok(WriteAccess {
            buffer,
            dirty: false,
            _transaction: PhantomData,
        })
    }

    /// Forgets a block of metadata that is being freed: whatever is dirty in it never reaches the disk. C: `bforget`.
    pub(crate) fn forget(&self, buffer: Buffer<'sb>) {
        let buffer = core::mem::ManuallyDrop::new(buffer);
        // SAFETY: the reference is ours, and `bforget` takes it.
        unsafe { bindings::notblk_bforget(buffer.as_raw()) };
    }

    /// Drops stale buffers of blocks that become file data, so that their writeback cannot overwrite the data. Waits for writes
    /// of them that are under way. C: `clean_bdev_aliases`.
    pub(crate) fn clean_aliases(&self, block: u32, count: u32) {
        // SAFETY: the superblock is valid.
        unsafe {
            bindings::notblk_clean_bdev_aliases(
                self.sb.as_raw(),
                u64::from(block),
                u64::from(count),
            );
        }
        self.sb.let_go_of_lost(block, count);
    }
}

/// A buffer that may be changed.
pub(crate) struct WriteAccess<'t, 'sb> {
    buffer: Buffer<'sb>,
    dirty: bool,
    _transaction: PhantomData<&'t ()>,
}

impl<'sb> WriteAccess<'_, 'sb> {
    /// The change is complete; the block goes out with the device's write-back. C: `mark_buffer_dirty`.
    pub(crate) fn dirty(mut self) -> Buffer<'sb> {
        self.mark(None)
    }

    /// The change is complete and belongs to `inode`: its `fsync` writes the block too. C: `mmb_mark_buffer_dirty`.
    pub(crate) fn dirty_for<T: FileSystem>(mut self, inode: &Inode<T>) -> Buffer<'sb> {
        self.mark(Some(inode.metadata_bhs()))
    }

    /// The block is about to be freed: what was changed in it does not matter any more.
    pub(crate) fn abandon(mut self) -> Buffer<'sb> {
        self.dirty = true;
        self.reference()
    }

    /// Another reference to the buffer; the first goes with `self`.
    fn reference(&self) -> Buffer<'sb> {
        let bh = self.buffer.as_raw();
        // SAFETY: valid, and counted once more for the result.
        unsafe {
            bindings::notblk_get_bh(bh);
            Buffer::from_raw(NonNull::new_unchecked(bh))
        }
    }

    fn mark(&mut self, of: Option<*mut bindings::mapping_metadata_bhs>) -> Buffer<'sb> {
        self.dirty = true;
        // A write that failed meanwhile has taken back that it has been read.
        self.buffer.keep_contents();
        let bh = self.buffer.as_raw();
        // SAFETY: valid; an inode's list is valid as long as the inode, which empties it before it goes.
        unsafe {
            match of {
                None => bindings::notblk_mark_buffer_dirty(bh),
                Some(mmb) => bindings::notblk_mmb_mark_buffer_dirty(bh, mmb),
            }
        }
        self.reference()
    }
}

impl Block for WriteAccess<'_, '_> {
    fn len(&self) -> usize {
        self.buffer.len()
    }

    fn read_bytes(&self, off: usize, dst: &mut [u8]) -> Result<(), Corrupt> {
        self.buffer.read_bytes(off, dst)
    }
}

impl BlockMut for WriteAccess<'_, '_> {
    fn write_bytes(&mut self, off: usize, src: &[u8]) -> Result<(), Corrupt> {
        let dst = self.buffer.range(off, src.len())?;
        // SAFETY: `dst` is valid for `src.len()` bytes; copied by C, as in `Buffer::read_bytes`.
        unsafe { bindings::notblk_memcpy(dst.cast(), src.as_ptr().cast(), src.len()) };
        Ok(())
    }

    fn fill(&mut self, off: usize, len: usize, byte: u8) -> Result<(), Corrupt> {
        let dst = self.buffer.range(off, len)?;
        // SAFETY: `dst` is valid for `len` bytes.
        unsafe { bindings::notblk_memset(dst.cast(), c_int::from(byte), len) };
        Ok(())
    }
}

impl Drop for WriteAccess<'_, '_> {
    fn drop(&mut self) {
        // A change that stopped half way by an error is still in the cache, and other buffers may already refer to it:
        // it must reach the disk like any other.
        if !self.dirty {
            self.mark(None);
        }
    }
}

#[kunit_tests(notblk_buffer)]
mod tests {
    use super::*;

    /// Bytes of the buffer.
    const SIZE: usize = 1024;

    /// Memory of a buffer, with one reference.
    struct Memory(NonNull<bindings::buffer_head>);

    impl Memory {
        fn new() -> Result<Self> {
            // SAFETY: always.
            let bh = unsafe { bindings::notblk_kunit_bh(SIZE) };
            NonNull::new(bh).map(Self).ok_or(ENOMEM)
        }

        /// Another reference to it.
        fn buffer(&self) -> Buffer<'_> {
            // SAFETY: valid, and counted once more for the result.
            unsafe {
                bindings::notblk_get_bh(self.0.as_ptr());
                Buffer::from_raw(self.0)
            }
        }

        fn access(&self) -> WriteAccess<'_, '_> {
            WriteAccess {
                buffer: self.buffer(),
                dirty: false,
                _transaction: PhantomData,
            }
        }

        fn count(&self) -> c_int {
            // SAFETY: valid.
            unsafe { bindings::notblk_kunit_bh_count(self.0.as_ptr()) }
        }

        fn is_dirty(&self) -> bool {
            // SAFETY: valid.
            unsafe { bindings::notblk_kunit_bh_dirty(self.0.as_ptr()) }
        }
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            // SAFETY: ours; whoever has a reference borrows `self`.
            unsafe { bindings::notblk_kunit_bh_put(self.0.as_ptr()) };
        }
    }

    #[test]
    fn every_reference_is_given_back() -> Result {
        let memory = Memory::new()?;
        assert_eq!(memory.count(), 1);
        let buffer = memory.buffer();
        assert_eq!(memory.count(), 2);
        drop(buffer);
        assert_eq!(memory.count(), 1);
        let buffer = memory.access().dirty();
        assert_eq!(memory.count(), 2);
        drop(buffer);
        drop(memory.access().abandon());
        drop(memory.access());
        assert_eq!(memory.count(), 1);
        Ok(())
    }

    #[test]
    fn what_was_changed_is_dirty_unless_it_goes() -> Result {
        let memory = Memory::new()?;
        drop(memory.buffer());
        drop(memory.access().abandon());
        assert!(!memory.is_dirty());
        // Given up half way, by an error.
        drop(memory.access());
        assert!(memory.is_dirty());
        let memory = Memory::new()?;
        drop(memory.access().dirty());
        assert!(memory.is_dirty());
        Ok(())
    }

    #[test]
    fn nothing_is_reached_outside() -> Result {
        let memory = Memory::new()?;
        let mut access = memory.access();
        assert_eq!(access.len(), SIZE);
        assert!(access.write_bytes(SIZE - 4, &[1, 2, 3, 4]).is_ok());
        assert!(access.write_bytes(SIZE, &[]).is_ok());
        assert!(access.write_bytes(SIZE - 3, &[9; 4]).is_err());
        assert!(access.write_bytes(usize::MAX, &[9; 2]).is_err());
        assert!(access.fill(0, SIZE + 1, 9).is_err());
        assert!(access.fill(1, usize::MAX, 9).is_err());
        let mut end = [0; 4];
        assert!(access.read_bytes(SIZE - 4, &mut end).is_ok());
        assert!(end == [1, 2, 3, 4]);
        assert!(access.read_bytes(SIZE - 3, &mut end).is_err());
        assert!(access.fill(0, SIZE, 7).is_ok());
        assert!(access.read_bytes(0, &mut end).is_ok());
        assert!(end == [7; 4]);
        Ok(())
    }
}
