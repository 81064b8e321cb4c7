// SPDX-License-Identifier: GPL-2.0

//! `struct file`: an open file, as operations get it that are neither a read nor a write.
//!
//! C: `include/linux/fs.h`.

use super::{hold::Owner, to_result, Exclusive, FileSystem, Inode, Locked};
use crate::sys::bindings;
use core::marker::PhantomData;
use kernel::prelude::*;

/// An open file of the filesystem's.
///
/// # Invariants
///
/// The C object is valid for `'a`, and its inode is one of ours.
pub(crate) struct OpenFile<'a, T: FileSystem>(*mut bindings::file, PhantomData<&'a Inode<T>>);

impl<'a, T: FileSystem> OpenFile<'a, T> {
    /// # Safety
    ///
    /// `file` is valid and open for `'a`, and its inode is one of ours.
    pub(super) unsafe fn from_raw(file: *mut bindings::file) -> Self {
        Self(file, PhantomData)
    }

    pub(super) fn as_raw(&self) -> *mut bindings::file {
        self.0
    }

    /// The inode. C: `file_inode`.
    pub(crate) fn inode(&self) -> &'a Inode<T> {
        // SAFETY: by invariant.
        unsafe { Inode::from_raw(bindings::notblk_file_inode(self.0)) }
    }

    /// Who has opened it.
    pub(crate) fn owner(&self) -> Owner {
        // SAFETY: by invariant.
        unsafe { Owner::of_file(self.0) }
    }

    /// What changes the file is to be on disk when the call returns: `O_SYNC` or `O_DSYNC` of the file, or `IS_SYNC` of
    /// the inode.
    pub(crate) fn is_sync(&self) -> bool {
        // SAFETY: by invariant; C reads the flags without a lock too.
        let flags = unsafe { (&raw const (*self.0).f_flags).read_volatile() };
        flags & bindings::NOTBLK_O_SYNC != 0 || self.inode().is_sync()
    }

    /// Drops set-id bits and updates the timestamps. C: `file_modified`.
    pub(crate) fn modified(&self, _lock: &Locked<T, Exclusive>) -> Result {
        // SAFETY: by invariant; i_rwsem is held exclusively, says `_lock`.
        to_result(unsafe { bindings::file_modified(self.0) })
    }
}
