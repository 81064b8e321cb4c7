// SPDX-License-Identifier: GPL-2.0

//! `fallocate(2)`: holes and reservations.
//!
//! C: `vfs_fallocate` in `fs/open.c`, which has checked permissions, the range, swap files and how the flags go together.

use super::{to_pos, FileSystem, OpenFile};
use crate::sys::bindings;
use core::marker::PhantomData;
use kernel::{error::from_result, prelude::*};

/// What is asked for. C: the mode bits of `FALLOC_FL_*`, of which VFS lets one through at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Blocks for the range (`FALLOC_FL_ALLOCATE_RANGE`).
    AllocateRange,
    /// No blocks for the range, and zeroes to be read; the size stays (`FALLOC_FL_PUNCH_HOLE`).
    PunchHole,
    /// The range goes, and what is behind it moves up (`FALLOC_FL_COLLAPSE_RANGE`).
    CollapseRange,
    /// Blocks for the range, and zeroes to be read (`FALLOC_FL_ZERO_RANGE`).
    ZeroRange,
    /// What is behind the offset moves back (`FALLOC_FL_INSERT_RANGE`).
    InsertRange,
    /// Any other, one that this kernel has and we do not know included.
    Other,
}

impl Mode {
    fn new(flags: u32) -> Self {
        const ALLOCATE_RANGE: u32 = bindings::FALLOC_FL_ALLOCATE_RANGE;
        match flags & !bindings::FALLOC_FL_KEEP_SIZE {
            ALLOCATE_RANGE => Self::AllocateRange,
            bindings::FALLOC_FL_PUNCH_HOLE => Self::PunchHole,
            bindings::FALLOC_FL_COLLAPSE_RANGE => Self::CollapseRange,
            bindings::FALLOC_FL_ZERO_RANGE => Self::ZeroRange,
            bindings::FALLOC_FL_INSERT_RANGE => Self::InsertRange,
            _ => Self::Other,
        }
    }
}

/// What becomes `fallocate` of `struct file_operations`.
pub(crate) trait Operations: Sized {
    /// Does to `len` bytes from `offset` on what `mode` says. No lock is held. C: `fallocate`.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` for what the format cannot do.
    fn fallocate(file: &OpenFile<'_, Self>, mode: Mode, offset: u64, len: u64) -> Result
    where
        Self: FileSystem;
}

/// The function of `struct file_operations` for `T`.
pub(super) struct Table<T>(PhantomData<T>);

impl<T: FileSystem> Table<T> {
    /// # Safety
    ///
    /// C's contract for `fallocate`, on a regular file of ours that is open for writing.
    pub(super) unsafe extern "C" fn fallocate(
        file: *mut bindings::file,
        mode: c_int,
        offset: bindings::loff_t,
        len: bindings::loff_t,
    ) -> c_long {
        // SAFETY: by the contract.
        let file = unsafe { OpenFile::<T>::from_raw(file) };
        from_result(|| {
            // CAST: flag bits.
            T::fallocate(&file, Mode::new(mode as u32), to_pos(offset), to_pos(len))?;
            Ok(0)
        })
    }
}
