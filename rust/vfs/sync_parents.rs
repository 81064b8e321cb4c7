// SPDX-License-Identifier: GPL-2.0

//! `fsync` of a file whose name is new: without a journal the directory's block with the name, and the directory, must be
//! written too, or the file is on disk and cannot be found there.
//!
//! C: `ext4_sync_parent` in `fs/ext4/fsync.c`; `include/linux/dcache.h`.

use super::{FileSystem, Inode};
use crate::sys::bindings;
use core::{marker::PhantomData, ptr::NonNull};
use kernel::prelude::*;

/// A counted reference to a dentry of a mounted filesystem.
///
/// # Invariants
///
/// The dentry is valid and of a filesystem of type `T`; the reference is ours.
struct Dentry<T: FileSystem>(NonNull<bindings::dentry>, PhantomData<T>);

impl<T: FileSystem> Dentry<T> {
    /// Any name of an inode. C: `d_find_any_alias`.
    fn of(inode: &Inode<T>) -> Option<Self> {
        // SAFETY: valid by invariant; answers a counted dentry or NULL.
        let dentry = unsafe { bindings::d_find_any_alias(inode.as_raw()) };
        // INVARIANT: a dentry of an inode of type `T`.
        NonNull::new(dentry).map(|dentry| Self(dentry, PhantomData))
    }

    /// The directory that this name is in, or itself for the root. C: `dget_parent`.
    fn parent(&self) -> Option<Self> {
        // SAFETY: valid by invariant; answers a counted dentry of the same filesystem.
        let dentry = unsafe { bindings::dget_parent(self.0.as_ptr()) };
        // INVARIANT: as just said.
        NonNull::new(dentry).map(|dentry| Self(dentry, PhantomData))
    }

    /// What it names. C: `d_inode`.
    fn inode(&self) -> Option<&Inode<T>> {
        // SAFETY: valid by invariant. A dentry that is referenced keeps its inode, deleted or not.
        let inode = unsafe { bindings::notblk_d_inode(self.0.as_ptr()) };
        // SAFETY: an inode of a filesystem of type `T`, valid as long as the dentry.
        (!inode.is_null()).then(|| unsafe { Inode::from_raw(inode) })
    }
}

impl<T: FileSystem> Drop for Dentry<T> {
    fn drop(&mut self) {
        // SAFETY: the reference is ours.
        unsafe { bindings::dput(self.0.as_ptr()) };
    }
}

/// Writes the directory of an inode whose name is new, and waits; and so on upwards, while the directory's own name is new.
///
/// A name is new until it has been written: who comes meanwhile waits for it too. (In C he returns at once.)
pub(super) fn sync_parents<T: FileSystem>(inode: &Inode<T>) -> Result {
    let mut mark = T::new_name(inode);
    let mut name = mark.and_then(|_| Dentry::of(inode));
    if let (Some(mark), None) = (mark, &name) {
        // It has lost its names since.
        T::has_name_on_disk(inode, mark);
    }
    while let (Some(seen), Some(dentry)) = (mark, &name) {
        let (Some(dir), Some(named)) = (dentry.parent(), dentry.inode()) else {
            break;
        };
        let Some(inode) = dir.inode() else { break };
        inode.sync_metadata()?;
        T::has_name_on_disk(named, seen);
        mark = T::new_name(inode);
        name = Some(dir);
    }
    Ok(())
}
