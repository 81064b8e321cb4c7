// SPDX-License-Identifier: GPL-2.0

//! One read or write: `struct kiocb` with its `struct iov_iter`.
//!
//! C: `include/linux/fs.h`, `include/linux/uio.h`, `mm/filemap.c`.

use super::{
    hold::{Owner, Point, Stage},
    to_count, to_pos, to_result, Exclusive, FileSystem, Inode, Locked,
};
use crate::sys::bindings;
use core::marker::PhantomData;
use kernel::prelude::*;

/// Data goes to the caller.
pub(crate) struct Read;
/// Data comes from the caller.
pub(crate) struct Write;

/// A read or write request in direction `D`, held by the filesystem until it answers.
///
/// A direct request that has been queued belongs to its completion: `dio::rw` takes the request away, and nothing can
/// touch it any more.
///
/// # Invariants
///
/// `iocb` and `iter` are valid and not used by anyone else; the file is one of ours; `iter` goes in direction `D`.
pub(crate) struct Request<'a, T: FileSystem, D> {
    iocb: *mut bindings::kiocb,
    iter: *mut bindings::iov_iter,
    _fs: PhantomData<(&'a Inode<T>, D)>,
}

/// What a request came to.
pub(crate) enum Io {
    /// Complete: bytes, or an errno.
    Done(Result<usize>),
    /// The completion will tell the caller.
    Queued(Queued),
}

/// Proof that a request was queued; only `dio::rw` makes one.
pub(crate) struct Queued(pub(super) ());

impl Io {
    /// C's form: a count or a negative errno.
    pub(super) fn into_raw(self) -> isize {
        match self {
            // CAST: requests are at most MAX_RW_COUNT long.
            Io::Done(Ok(n)) => n as isize,
            Io::Done(Err(e)) => e.to_errno() as isize,
            Io::Queued(Queued(())) => EIOCBQUEUED.to_errno() as isize,
        }
    }
}

impl<'a, T: FileSystem, D> Request<'a, T, D> {
    /// # Safety
    ///
    /// The pointers are valid, ours alone, and go in direction `D`, until the callback that got them returns.
    pub(super) unsafe fn from_raw(
        iocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> Self {
        Self {
            iocb,
            iter,
            _fs: PhantomData,
        }
    }

    pub(super) fn as_raw(&self) -> (*mut bindings::kiocb, *mut bindings::iov_iter) {
        (self.iocb, self.iter)
    }

    /// The file's inode. It outlives the request's callback: the caller's reference to the file does.
    pub(crate) fn inode(&self) -> &'a Inode<T> {
        // SAFETY: by invariant.
        unsafe { Inode::from_raw(bindings::notblk_file_inode((*self.iocb).ki_filp)) }
    }

    /// Position in bytes (`ki_pos`).
    pub(crate) fn pos(&self) -> u64 {
        // SAFETY: by invariant.
        to_pos(unsafe { (*self.iocb).ki_pos })
    }

    /// Bytes still to do (`iov_iter_count`).
    pub(crate) fn len(&self) -> usize {
        // SAFETY: by invariant.
        unsafe { bindings::notblk_iov_iter_count(self.iter) }
    }

    /// All addresses and lengths of the caller's memory, or'ed together. C: `iov_iter_alignment`.
    pub(crate) fn memory_alignment(&self) -> u64 {
        // SAFETY: by invariant.
        unsafe { bindings::iov_iter_alignment(self.iter) as u64 }
    }

    /// For whom it is done.
    pub(crate) fn owner(&self) -> Owner {
        // SAFETY: by invariant.
        unsafe { Owner::of_file((*self.iocb).ki_filp) }
    }

    /// The calling task passes a point with what is left of the request.
    #[inline]
    pub(crate) fn pass(&self, point: Point) {
        let inode = self.inode();
        if inode.is_guarded() {
            inode.pass(point, || self.owner(), self.pos(), self.len() as u64);
        }
    }

    /// The fallback has come to a stage, with these bytes of the request: an event, and a hold point.
    pub(crate) fn stage(&self, stage: Stage, pos: u64, len: u64) {
        let (point, name) = stage.point();
        self.inode().trace_fallback(self.owner(), name, pos, len);
        self.inode().pass(point, || self.owner(), pos, len);
    }

    fn flag(&self, flag: u32) -> bool {
        // SAFETY: by invariant. CAST: bits.
        unsafe { (*self.iocb).ki_flags as u32 & flag != 0 }
    }

    /// `IOCB_DIRECT`
    pub(crate) fn is_direct(&self) -> bool {
        self.flag(bindings::NOTBLK_IOCB_DIRECT)
    }

    /// `IOCB_NOWAIT`: the caller wants `EAGAIN` rather than any sleep.
    pub(crate) fn is_nowait(&self) -> bool {
        self.flag(bindings::NOTBLK_IOCB_NOWAIT)
    }

    /// The access time, where mount and file want it. C: `file_accessed`.
    pub(crate) fn accessed(&self) {
        // SAFETY: by invariant.
        unsafe { bindings::notblk_file_accessed((*self.iocb).ki_filp) };
    }
}

impl<T: FileSystem> Request<'_, T, Read> {
    /// Reads through the page cache. C: `generic_file_read_iter`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a direct read, which takes another path.
    pub(crate) fn buffered_read(&mut self) -> Result<usize> {
        if self.is_direct() {
            return Err(EINVAL);
        }
        // SAFETY: by invariant. With IOCB_DIRECT this function would call `direct_IO`, which our tables leave out.
        to_count(unsafe { bindings::generic_file_read_iter(self.iocb, self.iter) })
    }
}

impl<T: FileSystem> Request<'_, T, Write> {
    /// Checks limits and O_APPEND, and answers how much may be written. C: `generic_write_checks`.
    pub(crate) fn write_checks<M>(&mut self, _lock: &Locked<T, M>) -> Result<usize> {
        // SAFETY: by invariant; i_rwsem is held, says `_lock`.
        to_count(unsafe { bindings::generic_write_checks(self.iocb, self.iter) })
    }

    /// Drops set-id bits and updates the timestamps; `EAGAIN` under NOWAIT. C: `kiocb_modified`.
    ///
    /// To drop bits takes `i_rwsem` exclusively: the caller with a shared hold has looked at `is_nosec`.
    pub(crate) fn modified<M>(&mut self, _lock: &Locked<T, M>) -> Result {
        // SAFETY: by invariant; i_rwsem is held, says `_lock`.
        to_result(unsafe { bindings::kiocb_modified(self.iocb) })
    }

    /// Copies to the page cache. May answer less than asked for. C: `iomap_file_buffered_write`.
    pub(crate) fn buffered_write(&mut self, _lock: &Locked<T, Exclusive>) -> Result<usize> {
        // SAFETY: by invariant; i_rwsem is held exclusively, says `_lock`.
        to_count(unsafe {
            bindings::iomap_file_buffered_write(
                self.iocb,
                self.iter,
                &super::iomap::Table::<T>::OPS,
                &super::iomap::Table::<T>::WRITE_OPS,
                core::ptr::null_mut(),
            )
        })
    }

    /// After `written` bytes: makes them durable where O_SYNC or O_DSYNC ask for it. Not under `i_rwsem`. C:
    /// `generic_write_sync`.
    pub(crate) fn write_sync(&mut self, written: usize) -> Result<usize> {
        // SAFETY: by invariant. CAST: at most MAX_RW_COUNT.
        to_count(unsafe { bindings::notblk_generic_write_sync(self.iocb, written as isize) })
    }
}
