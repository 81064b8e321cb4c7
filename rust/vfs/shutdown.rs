// SPDX-License-Identifier: GPL-2.0

//! A filesystem that is shut down while it is mounted: nothing is read or written any more, and it can be unmounted.
//!
//! C: `ext4_forced_shutdown` and who asks it; `shutdown` of `struct super_operations`; `bdev_freeze`.

use super::{file, inode_sync, to_result, FileSystem, Inode, SuperBlock};
use crate::sys::bindings;
use core::marker::PhantomData;
use kernel::{error::from_result, prelude::*};

/// What the wrappers ask, and what becomes `shutdown` of `struct super_operations`.
pub(crate) trait Operations: Sized {
    /// Whether the filesystem works still.
    ///
    /// # Errors
    ///
    /// `EIO` where it is shut down.
    fn check_alive(sb: &SuperBlock<Self>) -> Result
    where
        Self: FileSystem;

    /// Shuts it down: its device is gone. C: `ext4_shutdown`.
    fn shut_down(sb: &SuperBlock<Self>)
    where
        Self: FileSystem;
}

/// Functions that ask first, for the operation tables.
pub(super) struct Table<T>(PhantomData<T>);

impl<T: FileSystem> Table<T> {
    /// # Safety
    ///
    /// Called by C as `shutdown` for a superblock of ours in state `Ready`.
    pub(super) unsafe extern "C" fn shutdown(sb: *mut bindings::super_block) {
        // SAFETY: by the contract.
        T::shut_down(unsafe { SuperBlock::<T>::from_raw(sb) });
    }

    /// Asks for the superblock of an open file.
    ///
    /// # Safety
    ///
    /// `file` is valid, and one of ours.
    unsafe fn check(file: *mut bindings::file) -> Result {
        // SAFETY: by the contract.
        T::check_alive(unsafe { Inode::<T>::from_raw(bindings::notblk_file_inode(file)) }.sb())
    }

    /// # Safety
    ///
    /// C's contract for `open`.
    pub(super) unsafe extern "C" fn open(
        inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract.
            unsafe { Self::check(file) }?;
            // SAFETY: by the contract.
            Ok(unsafe { file::Table::<T>::open(inode, file) })
        })
    }

    /// # Safety
    ///
    /// C's contract for `mmap_prepare`.
    pub(super) unsafe extern "C" fn mmap_prepare(desc: *mut bindings::vm_area_desc) -> c_int {
        from_result(|| {
            // SAFETY: by the contract.
            unsafe { Self::check((*desc).file) }?;
            // SAFETY: by the contract.
            Ok(unsafe { file::Table::<T>::mmap_prepare(desc) })
        })
    }

    /// # Safety
    ///
    /// C's contract for `fsync`.
    pub(super) unsafe extern "C" fn fsync(
        file: *mut bindings::file,
        start: bindings::loff_t,
        end: bindings::loff_t,
        datasync: c_int,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract.
            unsafe { Self::check(file) }?;
            // SAFETY: by the contract.
            Ok(unsafe { inode_sync::Table::<T>::FSYNC(file, start, end, datasync) })
        })
    }

    /// # Safety
    ///
    /// C's contract for `splice_read`.
    pub(super) unsafe extern "C" fn splice_read(
        file: *mut bindings::file,
        pos: *mut bindings::loff_t,
        pipe: *mut bindings::pipe_inode_info,
        len: usize,
        flags: c_uint,
    ) -> isize {
        from_result(|| {
            // SAFETY: by the contract.
            unsafe { Self::check(file) }?;
            // SAFETY: by the contract.
            Ok(unsafe { bindings::filemap_splice_read(file, pos, pipe, len, flags) })
        })
    }
}

impl<T: FileSystem> SuperBlock<T> {
    /// Runs `work` while the device is frozen: everything that was dirty has been written, and nobody is writing. C:
    /// `bdev_freeze`, `bdev_thaw`. Sleeps.
    ///
    /// # Errors
    ///
    /// What freezing says; then nothing has been done.
    pub(crate) fn while_frozen(&self, work: impl FnOnce()) -> Result {
        // SAFETY: valid by invariant, and the device is open as long as the superblock is.
        let bdev = unsafe { (*self.as_raw()).s_bdev };
        // SAFETY: as above.
        to_result(unsafe { bindings::bdev_freeze(bdev) })?;
        work();
        // SAFETY: frozen just now.
        to_result(unsafe { bindings::bdev_thaw(bdev) })
    }
}
