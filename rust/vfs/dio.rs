// SPDX-License-Identifier: GPL-2.0

//! Direct I/O: `iomap_dio_rw` and `inode_dio_wait`.
//!
//! C: `fs/iomap/direct-io.c`, `fs/inode.c`.

use super::{
    hold::{self, Point},
    iomap,
    kiocb::{Queued, Request, Write},
    to_count, to_pos, FileSystem, Inode, Locked,
};
use crate::sys::bindings;
use core::{marker::PhantomData, ptr};
use kernel::{error::from_result, prelude::*};

/// What `iomap_dio_rw` came to.
pub(crate) enum Outcome<'a, T: FileSystem, D> {
    /// In flight; the request is gone to its completion.
    Queued(Queued),
    /// Complete (or not begun). `Err(ENOTBLK)` and `Ok` of less than asked for leave the rest to the page cache.
    Done(Request<'a, T, D>, Result<usize>),
}

/// Whether to wait for an asynchronous request too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Only for synchronous requests.
    IfSync,
    /// Always. C: `IOMAP_DIO_FORCE_WAIT`.
    Force,
}

/// A direct write that has completed, as its `end_io` sees it.
pub(crate) struct Completion<'a, T: FileSystem> {
    inode: &'a Inode<T>,
    pos: u64,
    size: u64,
}

impl<T: FileSystem> Completion<'_, T> {
    /// The file's inode.
    pub(crate) fn inode(&self) -> &Inode<T> {
        self.inode
    }

    /// First byte after what was written.
    pub(crate) fn end(&self) -> u64 {
        self.pos.saturating_add(self.size)
    }

    /// Sets `i_size` to [`Self::end`]. For a write that was submitted under `i_rwsem` held exclusively and is waited for,
    /// as all extending writes are: nobody else changes the size meanwhile.
    pub(crate) fn extend(&self) {
        self.inode.set_size_raw(self.end());
    }
}

/// Reads or writes directly, under `i_rwsem` in the mode that `lock` proves. Passes [`Point::DioLocked`].
pub(crate) fn rw<'a, T: FileSystem, D, M>(
    mut request: Request<'a, T, D>,
    lock: &Locked<T, M>,
    wait: Wait,
) -> Outcome<'a, T, D>
where
    Request<'a, T, D>: Direction,
{
    let flags = match wait {
        Wait::IfSync => 0,
        Wait::Force => bindings::IOMAP_DIO_FORCE_WAIT,
    };
    let mut tables = Tables {
        maps: &iomap::Table::<T>::OPS,
        ops: <Request<'a, T, D> as Direction>::DIO_OPS,
        private: ptr::null_mut(),
    };
    if hold::is_any_guarded() {
        (request, tables) = held(request, lock, tables);
    }
    let (iocb, iter) = request.as_raw();
    let Tables { maps, ops, private } = tables;
    // SAFETY: the request is valid and ours; the tables are constants. If it is queued it is not touched again.
    let ret = to_count(unsafe { bindings::iomap_dio_rw(iocb, iter, maps, ops, flags, private, 0) });
    match ret {
        Err(e) if e == EIOCBQUEUED => Outcome::Queued(Queued(())),
        done => Outcome::Done(request, done),
    }
}

/// How iomap goes about a request.
struct Tables {
    maps: *const bindings::iomap_ops,
    ops: *const bindings::iomap_dio_ops,
    /// The owner, where `ops` hold.
    private: *mut c_void,
}

/// What holds in place of `tables`, where the mount has hold points in use; the first of them is passed. The request goes by value,
/// there and back: one whose address were taken would stay in memory for the whole of the caller, and cost requests without hold
/// points thirty instructions (`cargo xtask race cost`).
#[cold]
#[inline(never)]
fn held<'a, T: FileSystem, D, M>(
    request: Request<'a, T, D>,
    lock: &Locked<T, M>,
    tables: Tables,
) -> (Request<'a, T, D>, Tables)
where
    Request<'a, T, D>: Direction,
{
    if !lock.is_guarded() {
        return (request, tables);
    }
    request.pass(Point::DioLocked);
    let tables = Tables {
        maps: &iomap::Table::<T>::GUARDED_OPS,
        ops: <Request<'a, T, D> as Direction>::GUARDED_OPS,
        private: request.owner().into_pointer().cast_mut(),
    };
    (request, tables)
}

/// Which `struct iomap_dio_ops` goes with a direction.
pub(crate) trait Direction {
    #[doc(hidden)]
    const DIO_OPS: *const bindings::iomap_dio_ops;
    /// The same where the mount has hold points in use.
    #[doc(hidden)]
    const GUARDED_OPS: *const bindings::iomap_dio_ops;
}

impl<T: FileSystem> Direction for Request<'_, T, super::kiocb::Read> {
    const DIO_OPS: *const bindings::iomap_dio_ops = ptr::null();
    const GUARDED_OPS: *const bindings::iomap_dio_ops = &Table::<T>::GUARDED_READ_OPS;
}

impl<T: FileSystem> Direction for Request<'_, T, Write> {
    const DIO_OPS: *const bindings::iomap_dio_ops = &Table::<T>::WRITE_OPS;
    const GUARDED_OPS: *const bindings::iomap_dio_ops = &Table::<T>::GUARDED_WRITE_OPS;
}

struct Table<T>(PhantomData<T>);

impl<T: FileSystem> Table<T> {
    const NO_OPS: bindings::iomap_dio_ops = {
        // SAFETY: all fields are optional pointers, for which zero is good.
        unsafe { core::mem::zeroed() }
    };

    const WRITE_OPS: bindings::iomap_dio_ops = {
        let mut ops = Self::NO_OPS;
        ops.end_io = Some(Self::write_end_io);
        ops
    };

    const GUARDED_READ_OPS: bindings::iomap_dio_ops = {
        let mut ops = Self::NO_OPS;
        ops.submit_io = Some(hold::submit_io::<T>);
        ops
    };

    const GUARDED_WRITE_OPS: bindings::iomap_dio_ops = {
        let mut ops = Self::WRITE_OPS;
        ops.submit_io = Some(hold::submit_io::<T>);
        ops
    };

    /// # Safety
    ///
    /// C's contract for `end_io`: the kiocb is valid until this returns.
    unsafe extern "C" fn write_end_io(
        iocb: *mut bindings::kiocb,
        size: isize,
        error: c_int,
        _flags: c_uint,
    ) -> c_int {
        // Nothing written, nothing to complete: a write that fell back as a whole ends here too, with no error.
        if error != 0 || size <= 0 {
            return error;
        }
        from_result(|| {
            // SAFETY: by the contract, of a file of ours.
            let (inode, pos) = unsafe {
                (
                    Inode::<T>::from_raw(bindings::notblk_file_inode((*iocb).ki_filp)),
                    to_pos((*iocb).ki_pos),
                )
            };
            T::dio_write_end(&Completion {
                inode,
                pos,
                size: u64::try_from(size).unwrap_or(0),
            })?;
            Ok(0)
        })
    }
}

impl<T: FileSystem> Inode<T> {
    /// Whether direct I/O is in flight. C: `i_dio_count`.
    pub(crate) fn dio_busy(&self) -> bool {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_inode_dio_busy(self.as_raw()) }
    }
}

impl<T: FileSystem> Locked<T, super::Exclusive> {
    /// Waits until no direct I/O is in flight. With `i_rwsem` held exclusively none can begin after that. C:
    /// `inode_dio_wait`.
    pub(crate) fn dio_wait(&self) {
        // SAFETY: valid by invariant.
        unsafe { bindings::inode_dio_wait(self.as_raw()) };
    }
}
