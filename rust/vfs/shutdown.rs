// SPDX-License-Identifier: GPL-2.0

//! A filesystem that is shut down while it is mounted: nothing is read or written any more, and it can be unmounted.
//!
//! C: `ext4_forced_shutdown` and who asks it; `shutdown` of `struct super_operations`; `bdev_freeze`.

use super::{file, to_result, FileSystem, Inode, InodeRef, SuperBlock};
use crate::sys::bindings;
use core::{marker::PhantomData, ptr};
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

    /// The same for one that is opened, or mapped: to write is refused in an emergency too. C: `ext4_file_open`.
    ///
    /// # Safety
    ///
    /// As [`Self::check`].
    unsafe fn check_mode(file: *mut bindings::file) -> Result {
        // SAFETY: by the contract; `f_mode` is set when a file is opened.
        let (inode, mode) = unsafe {
            (
                Inode::<T>::from_raw(bindings::notblk_file_inode(file)),
                (*file).f_mode,
            )
        };
        if mode & bindings::NOTBLK_FMODE_WRITE != 0 {
            T::emergency_state(inode.sb())
        } else {
            T::check_alive(inode.sb())
        }
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
            unsafe { Self::check_mode(file) }?;
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
            unsafe { Self::check_mode((*desc).file) }?;
            // SAFETY: by the contract.
            Ok(unsafe { file::Table::<T>::mmap_prepare(desc) })
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
    /// Calls `each` for every inode that is to be written, its timestamps alone aside. One that becomes so meanwhile may be left
    /// out. Sleeps.
    pub(crate) fn for_each_dirty_inode(&self, mut each: impl FnMut(&Inode<T>)) {
        let mut last: Option<InodeRef<'_, T>> = None;
        loop {
            let behind = last.take().map_or(ptr::null_mut(), InodeRef::into_raw);
            // SAFETY: the superblock is valid by invariant; `behind` is no inode, or one of its own with a reference that we give
            // away.
            let found = unsafe { bindings::notblk_next_dirty_inode(self.as_raw(), behind) };
            if found.is_null() {
                return;
            }
            // SAFETY: a reference of our own to an inode of this superblock, which stays for as long as `self`; not I_NEW, so it is
            // complete.
            let inode = unsafe { InodeRef::from_raw(found) };
            each(&inode);
            last = Some(inode);
        }
    }

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
