// SPDX-License-Identifier: GPL-2.0

//! `struct iomap` and `struct iomap_ops`: how file ranges map to blocks.
//!
//! C: `include/linux/iomap.h`, `Documentation/filesystems/iomap/`.

use super::{
    locked::InvalidateLock, to_loff, to_pos, to_result, Exclusive, FileSystem, Inode, Locked,
};
use crate::sys::bindings;
use core::{marker::PhantomData, ptr};
use kernel::{error::from_result, prelude::*};

/// `IOMAP_NULL_ADDR`, which bindgen cannot evaluate.
const IOMAP_NULL_ADDR: u64 = u64::MAX;

/// What iomap wants a mapping for. C: the `IOMAP_*` flags of `iomap_begin`.
#[derive(Clone, Copy)]
pub(crate) struct Flags(u32);

impl Flags {
    fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }

    /// `IOMAP_WRITE`: blocks must be there; allocate them.
    pub(crate) fn is_write(self) -> bool {
        self.has(bindings::IOMAP_WRITE)
    }

    /// `IOMAP_DIRECT`
    pub(crate) fn is_direct(self) -> bool {
        self.has(bindings::IOMAP_DIRECT)
    }

    /// `IOMAP_NOWAIT`: `EAGAIN` rather than any sleep.
    pub(crate) fn is_nowait(self) -> bool {
        self.has(bindings::IOMAP_NOWAIT)
    }

    /// `IOMAP_FAULT`: a page becomes writable; `i_rwsem` is not held.
    pub(crate) fn is_fault(self) -> bool {
        self.has(bindings::IOMAP_FAULT)
    }
}

/// A mapping: a run of bytes of the file, whole blocks, and what is behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mapping {
    /// No blocks. C: `IOMAP_HOLE`.
    Hole {
        /// First byte in the file.
        offset: u64,
        /// Length in bytes.
        length: u64,
    },
    /// Consecutive blocks. C: `IOMAP_MAPPED`.
    Mapped {
        /// First byte in the file.
        offset: u64,
        /// Length in bytes.
        length: u64,
        /// First byte on the device.
        addr: u64,
        /// Allocated just now: what is on disk is garbage. C: `IOMAP_F_NEW`.
        new: bool,
        /// The inode needs writing before the data counts as durable. C: `IOMAP_F_DIRTY`.
        dirty: bool,
    },
}

/// What iomap reports of a mapping it is done with.
pub(crate) struct Done {
    /// First byte in the file of the part that was asked for.
    pub(crate) pos: u64,
    /// Its length in bytes.
    pub(crate) len: u64,
    /// How many bytes from `pos` were written.
    pub(crate) written: u64,
    /// The blocks were allocated for this write.
    pub(crate) new: bool,
    /// `i_size` grew (`IOMAP_F_SIZE_CHANGED`).
    pub(crate) size_changed: bool,
    /// What the mapping was for.
    pub(crate) flags: Flags,
}

/// What becomes `struct iomap_ops` and `struct iomap_writeback_ops`.
pub(crate) trait Operations: Sized {
    /// Maps the beginning of `len` bytes from `pos` on; the mapping covers `pos`. C: `iomap_begin`.
    ///
    /// # Errors
    ///
    /// `ENOTBLK` sends a direct write to the page cache; `EAGAIN` under NOWAIT.
    fn iomap_begin(inode: &Inode<Self>, pos: u64, len: u64, flags: Flags) -> Result<Mapping>
    where
        Self: FileSystem;

    /// A write is done with a mapping, perhaps early. C: `iomap_end`.
    fn iomap_end(inode: &Inode<Self>, done: &Done, release: Release<'_>) -> Result
    where
        Self: FileSystem;

    /// Frees the blocks of a range that nobody has written to. Called by [`Release::unwritten`].
    fn punch_unwritten(inode: &Inode<Self>, pos: u64, len: u64)
    where
        Self: FileSystem;

    /// Maps dirty bytes for write-back: looks up only. The folio over `pos` is locked, which keeps its blocks from
    /// being freed. C: `writeback_range`.
    fn writeback_map(inode: &Inode<Self>, pos: u64, len: u64) -> Result<Mapping>
    where
        Self: FileSystem;
}

/// Lets `iomap_end` free what a short write left unwritten.
pub(crate) struct Release<'a> {
    iomap: *mut bindings::iomap,
    flags: u32,
    _call: PhantomData<&'a ()>,
}

impl Release<'_> {
    /// Frees new blocks between `start` and `end` (bytes, whole blocks) except where the page cache is dirty: a page
    /// fault may have written there since the blocks were allocated. C: `iomap_write_delalloc_release`.
    pub(crate) fn unwritten<T: FileSystem>(
        self,
        lock: &InvalidateLock<'_, T>,
        start: u64,
        end: u64,
    ) {
        // SAFETY: the inode is valid, and its invalidate_lock is held exclusively, says `lock`; the callback has the
        // signature that C asks for.
        unsafe {
            bindings::iomap_write_delalloc_release(
                lock.inode().as_raw(),
                to_loff(start),
                to_loff(end),
                self.flags,
                self.iomap,
                Some(Table::<T>::punch),
            );
        }
    }
}

/// The functions of `struct iomap_ops` for `T`.
pub(super) struct Table<T>(PhantomData<T>);

impl<T: FileSystem> Table<T> {
    pub(super) const OPS: bindings::iomap_ops = {
        // SAFETY: all fields are optional function pointers, for which zero is `None`.
        let mut ops: bindings::iomap_ops = unsafe { core::mem::zeroed() };
        ops.iomap_begin = Some(Self::iomap_begin);
        ops.iomap_end = Some(Self::iomap_end);
        ops
    };

    /// Fills C's struct from ours.
    pub(super) fn fill(inode: &Inode<T>, mapping: Mapping, iomap: &mut bindings::iomap) {
        // SAFETY: valid by invariant; `s_bdev` stays while mounted.
        iomap.bdev = unsafe { (*inode.sb().as_raw()).s_bdev };
        // CAST: the constants are small.
        match mapping {
            Mapping::Hole { offset, length } => {
                iomap.type_ = bindings::IOMAP_HOLE as u16;
                iomap.addr = IOMAP_NULL_ADDR;
                iomap.offset = to_loff(offset);
                iomap.length = length;
                iomap.flags = 0;
            }
            Mapping::Mapped {
                offset,
                length,
                addr,
                new,
                dirty,
            } => {
                iomap.type_ = bindings::IOMAP_MAPPED as u16;
                iomap.addr = addr;
                iomap.offset = to_loff(offset);
                iomap.length = length;
                iomap.flags = 0;
                if new {
                    iomap.flags |= bindings::IOMAP_F_NEW as u16;
                }
                if dirty {
                    iomap.flags |= bindings::IOMAP_F_DIRTY as u16;
                }
            }
        }
    }

    /// # Safety
    ///
    /// C's contract for `iomap_begin`.
    unsafe extern "C" fn iomap_begin(
        inode: *mut bindings::inode,
        pos: bindings::loff_t,
        length: bindings::loff_t,
        flags: c_uint,
        iomap: *mut bindings::iomap,
        _srcmap: *mut bindings::iomap,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract; the struct is ours to fill.
            let (inode, iomap) = unsafe { (Inode::<T>::from_raw(inode), &mut *iomap) };
            let mapping = T::iomap_begin(inode, to_pos(pos), to_pos(length), Flags(flags))?;
            Self::fill(inode, mapping, iomap);
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// C's contract for `iomap_end`.
    unsafe extern "C" fn iomap_end(
        inode: *mut bindings::inode,
        pos: bindings::loff_t,
        length: bindings::loff_t,
        written: isize,
        flags: c_uint,
        iomap: *mut bindings::iomap,
    ) -> c_int {
        from_result(|| {
            let flags = Flags(flags);
            if !flags.is_write() {
                return Ok(0);
            }
            // SAFETY: by the contract.
            let (inode, state) =
                unsafe { (Inode::<T>::from_raw(inode), u32::from((*iomap).flags)) };
            let done = Done {
                pos: to_pos(pos),
                len: to_pos(length),
                written: u64::try_from(written).unwrap_or(0),
                new: state & bindings::IOMAP_F_NEW != 0,
                size_changed: state & bindings::IOMAP_F_SIZE_CHANGED != 0,
                flags,
            };
            T::iomap_end(
                inode,
                &done,
                Release {
                    iomap,
                    flags: flags.0,
                    _call: PhantomData,
                },
            )?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by `iomap_write_delalloc_release` for an inode of ours.
    unsafe extern "C" fn punch(
        inode: *mut bindings::inode,
        offset: bindings::loff_t,
        length: bindings::loff_t,
        _iomap: *mut bindings::iomap,
    ) {
        // SAFETY: by the contract.
        let inode = unsafe { Inode::<T>::from_raw(inode) };
        T::punch_unwritten(inode, to_pos(offset), to_pos(length));
    }
}

impl<T: FileSystem> Locked<T, Exclusive> {
    /// Zeroes bytes in the page cache where blocks are mapped. C: `iomap_zero_range`.
    ///
    /// The range must begin inside `i_size` (or in its last block), or the zeroes are never written.
    pub(crate) fn zero_range(&self, pos: u64, len: u64) -> Result {
        if len == 0 {
            return Ok(());
        }
        // SAFETY: valid, and i_rwsem is held exclusively.
        to_result(unsafe {
            bindings::iomap_zero_range(
                self.as_raw(),
                to_loff(pos),
                to_loff(len),
                ptr::null_mut(),
                &Table::<T>::OPS,
                ptr::null(),
                ptr::null_mut(),
            )
        })
    }
}
