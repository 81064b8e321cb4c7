// SPDX-License-Identifier: GPL-2.0

//! `i_rwsem` and `invalidate_lock`: guards, and proofs for functions that need one of them held.
//!
//! C: `inode_lock` and its kind in `include/linux/fs.h`. Lock order, as in `mm/filemap.c`: `i_rwsem`, then
//! `invalidate_lock`, then folio locks, then the filesystem's own mutexes.

use super::{FileSystem, Inode};
use crate::sys::bindings;
use core::{marker::PhantomData, ops::Deref};

/// `i_rwsem` held exclusively.
pub(crate) struct Exclusive;
/// `i_rwsem` held shared.
pub(crate) struct Shared;

/// How `i_rwsem` is held.
pub(crate) trait Mode {
    /// Ends the hold.
    ///
    /// # Safety
    ///
    /// The caller holds `i_rwsem` of the valid `inode` in this mode.
    unsafe fn unlock(inode: *mut bindings::inode);
}

impl Mode for Exclusive {
    unsafe fn unlock(inode: *mut bindings::inode) {
        // SAFETY: by the contract.
        unsafe { bindings::notblk_inode_unlock(inode) }
    }
}

impl Mode for Shared {
    unsafe fn unlock(inode: *mut bindings::inode) {
        // SAFETY: by the contract.
        unsafe { bindings::notblk_inode_unlock_shared(inode) }
    }
}

/// An inode whose `i_rwsem` is held in mode `M` as long as the reference lives: the proof that a function asks for.
///
/// # Invariants
///
/// As said, by the current task (or by VFS on its behalf).
#[repr(transparent)]
pub(crate) struct Locked<T: FileSystem, M>(Inode<T>, PhantomData<M>);

impl<T: FileSystem, M> Locked<T, M> {
    /// # Safety
    ///
    /// The caller holds `i_rwsem` of `inode` in mode `M` for all of `'a`.
    pub(super) unsafe fn assume(inode: &Inode<T>) -> &Self {
        // SAFETY: transparent; the invariant is the contract.
        unsafe { &*core::ptr::from_ref(inode).cast() }
    }
}

impl<T: FileSystem, M> Deref for Locked<T, M> {
    type Target = Inode<T>;

    fn deref(&self) -> &Inode<T> {
        &self.0
    }
}

impl<T: FileSystem> Locked<T, Exclusive> {
    /// Sets `i_size`, in bytes. C: `i_size_write`.
    pub(crate) fn set_size(&self, size: u64) {
        self.0.set_size_raw(size);
    }
}

/// Holds `i_rwsem` until dropped.
pub(crate) struct Guard<'a, T: FileSystem, M: Mode> {
    inode: &'a Inode<T>,
    _mode: PhantomData<M>,
}

impl<'a, T: FileSystem, M: Mode> Guard<'a, T, M> {
    fn new(inode: &'a Inode<T>) -> Self {
        Self {
            inode,
            _mode: PhantomData,
        }
    }
}

impl<T: FileSystem, M: Mode> Deref for Guard<'_, T, M> {
    type Target = Locked<T, M>;

    fn deref(&self) -> &Locked<T, M> {
        // SAFETY: held from construction to drop.
        unsafe { Locked::assume(self.inode) }
    }
}

impl<T: FileSystem, M: Mode> Drop for Guard<'_, T, M> {
    fn drop(&mut self) {
        // SAFETY: taken when the guard was made. The inode is valid, being borrowed.
        unsafe { M::unlock(self.inode.as_raw()) };
    }
}

impl<T: FileSystem> Inode<T> {
    /// C: `inode_lock`. Sleeps.
    pub(crate) fn lock(&self) -> Guard<'_, T, Exclusive> {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_inode_lock(self.as_raw()) };
        Guard::new(self)
    }

    /// C: `inode_trylock`.
    pub(crate) fn try_lock(&self) -> Option<Guard<'_, T, Exclusive>> {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_inode_trylock(self.as_raw()) }.then(|| Guard::new(self))
    }

    /// C: `inode_lock_shared`. Sleeps.
    pub(crate) fn lock_shared(&self) -> Guard<'_, T, Shared> {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_inode_lock_shared(self.as_raw()) };
        Guard::new(self)
    }

    /// C: `inode_trylock_shared`.
    pub(crate) fn try_lock_shared(&self) -> Option<Guard<'_, T, Shared>> {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_inode_trylock_shared(self.as_raw()) }.then(|| Guard::new(self))
    }
}

/// `mapping->invalidate_lock` held exclusively: no page can be faulted in or read from disk. C:
/// `filemap_invalidate_lock`.
pub(crate) struct InvalidateLock<'a, T: FileSystem>(&'a Inode<T>);

impl<'a, T: FileSystem> InvalidateLock<'a, T> {
    /// Takes it. Sleeps; taken inside `i_rwsem`.
    pub(crate) fn new(inode: &'a Inode<T>) -> Self {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_filemap_invalidate_lock(inode.mapping()) };
        Self(inode)
    }
}

impl<T: FileSystem> Drop for InvalidateLock<'_, T> {
    fn drop(&mut self) {
        // SAFETY: taken in `new`.
        unsafe { bindings::notblk_filemap_invalidate_unlock(self.0.mapping()) };
    }
}
