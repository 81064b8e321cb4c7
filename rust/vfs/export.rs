// SPDX-License-Identifier: GPL-2.0

//! `struct export_operations`: from file handles, as NFS servers keep them, to inodes.
//!
//! C: `include/linux/exportfs.h`, `fs/exportfs/expfs.c`, `fs/libfs.c`; `fs/ext4/super.c` for the use.
//!
//! A handle is C's common one: inode number and generation, and those of the directory where asked for.

use super::{FileSystem, Inode, InodeRef, SuperBlock};
use crate::sys::bindings;
use core::marker::PhantomData;
use kernel::prelude::*;

/// What handles need.
pub(crate) trait Operations: Sized {
    /// The inode of a handle. The number is whatever the client says. C: the `get_inode` of `generic_fh_to_dentry`.
    ///
    /// # Errors
    ///
    /// `ESTALE` where there is no such inode, or only one of another generation.
    fn from_handle(
        sb: &SuperBlock<Self>,
        ino: u64,
        generation: Generation,
    ) -> Result<InodeRef<'_, Self>>
    where
        Self: FileSystem;

    /// The directory that a directory lies in. C: `get_parent`.
    fn parent(dir: &Inode<Self>) -> Result<InodeRef<'_, Self>>
    where
        Self: FileSystem;
}

/// The generation in a handle.
#[derive(Clone, Copy)]
pub(crate) struct Generation(u32);

impl Generation {
    /// Whether an inode is the one that the handle was made of. Zero stands for any: short handles do not tell that of the
    /// directory.
    pub(crate) fn is_of<T: FileSystem>(self, inode: &Inode<T>) -> bool {
        self.0 == 0 || self.0 == inode.generation()
    }
}

/// The functions of `struct export_operations` for `T`.
pub(super) struct Table<T>(PhantomData<T>);

impl<T: FileSystem> Table<T> {
    pub(super) const OPS: bindings::export_operations = {
        // SAFETY: all fields are optional function pointers or integers, for which zero is good.
        let mut ops: bindings::export_operations = unsafe { core::mem::zeroed() };
        ops.encode_fh = Some(bindings::generic_encode_ino32_fh);
        ops.fh_to_dentry = Some(Self::fh_to_dentry);
        ops.fh_to_parent = Some(Self::fh_to_parent);
        ops.get_parent = Some(Self::get_parent);
        ops
    };

    /// # Safety
    ///
    /// Called by `generic_fh_to_dentry` and its kind with the superblock that they were given, one of ours.
    unsafe extern "C" fn get_inode(
        sb: *mut bindings::super_block,
        ino: u64,
        generation: u32,
    ) -> *mut bindings::inode {
        // SAFETY: by the contract.
        let sb = unsafe { SuperBlock::<T>::from_raw(sb) };
        match T::from_handle(sb, ino, Generation(generation)) {
            Ok(inode) => inode.into_raw(),
            Err(e) => e.to_ptr(),
        }
    }

    /// # Safety
    ///
    /// C's contract for `fh_to_dentry`: a mounted superblock of ours, and a handle of `fh_len` words.
    unsafe extern "C" fn fh_to_dentry(
        sb: *mut bindings::super_block,
        fid: *mut bindings::fid,
        fh_len: c_int,
        fh_type: c_int,
    ) -> *mut bindings::dentry {
        // SAFETY: by the contract.
        unsafe { bindings::generic_fh_to_dentry(sb, fid, fh_len, fh_type, Some(Self::get_inode)) }
    }

    /// # Safety
    ///
    /// As for `fh_to_dentry`.
    unsafe extern "C" fn fh_to_parent(
        sb: *mut bindings::super_block,
        fid: *mut bindings::fid,
        fh_len: c_int,
        fh_type: c_int,
    ) -> *mut bindings::dentry {
        // SAFETY: by the contract.
        unsafe { bindings::generic_fh_to_parent(sb, fid, fh_len, fh_type, Some(Self::get_inode)) }
    }

    /// # Safety
    ///
    /// C's contract for `get_parent`: the dentry of a directory of ours. Its `i_rwsem` need not be held.
    unsafe extern "C" fn get_parent(child: *mut bindings::dentry) -> *mut bindings::dentry {
        // SAFETY: by the contract.
        let dir = unsafe { Inode::from_raw(bindings::notblk_d_inode(child)) };
        match T::parent(dir) {
            // SAFETY: `d_obtain_alias` takes the reference, whatever it answers.
            Ok(parent) => unsafe { bindings::d_obtain_alias(parent.into_raw()) },
            Err(e) => e.to_ptr(),
        }
    }
}
