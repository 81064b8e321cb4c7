// SPDX-License-Identifier: GPL-2.0

//! Attributes of files: the flags of `chattr(1)`, and what `statx(2)` tells beside `struct inode`.
//!
//! C: `fs/file_attr.c`, `fs/stat.c`; `ext4_fileattr_get`, `ext4_fileattr_set`, `ext4_getattr` for the use.

use super::{inode::Flags, Exclusive, FileSystem, Inode, Locked};
use crate::sys::bindings;
use core::marker::PhantomData;
use kernel::{error::from_result, prelude::*};

/// What becomes `fileattr_get`, `fileattr_set` and `getattr` of `struct inode_operations`.
pub(crate) trait Operations: Sized {
    /// The file's flags, `FS_*_FL`. C: `fileattr_get`.
    fn flags(inode: &Inode<Self>) -> u32
    where
        Self: FileSystem;

    /// Sets them and the project, of a regular file or a directory. VFS has seen to it that the caller owns the file, and may set
    /// what needs a capability. C: `fileattr_set`.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` for flags that the filesystem does not have, `EPERM` for changes that others forbid; as the project's quota.
    fn set(inode: &Locked<Self, Exclusive>, flags: u32, project: u32) -> Result
    where
        Self: FileSystem;

    /// When the inode was made, where it says so: seconds since 1970, nanoseconds.
    fn birth_time(inode: &Inode<Self>) -> Option<(i64, u32)>
    where
        Self: FileSystem;
}

/// The functions of `struct inode_operations` for `T`.
pub(super) struct Table<T>(PhantomData<T>);

impl<T: FileSystem> Table<T> {
    /// # Safety
    ///
    /// C's contract for `fileattr_get`.
    pub(super) unsafe extern "C" fn fileattr_get(
        dentry: *mut bindings::dentry,
        attributes: *mut bindings::file_kattr,
    ) -> c_int {
        // SAFETY: by the contract, of a file of ours; the struct is the caller's own.
        unsafe {
            let inode = Inode::<T>::from_raw(bindings::notblk_d_inode(dentry));
            bindings::fileattr_fill_flags(attributes, T::flags(inode));
            if let Some(project) = T::project(inode) {
                (*attributes).fsx_projid = project;
            }
        }
        0
    }

    /// # Safety
    ///
    /// C's contract for `fileattr_set`: `i_rwsem` is held exclusively.
    pub(super) unsafe extern "C" fn fileattr_set(
        _idmap: *mut bindings::mnt_idmap,
        dentry: *mut bindings::dentry,
        attributes: *mut bindings::file_kattr,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract, of a file of ours; the struct is the caller's own.
            let (inode, flags, project) = unsafe {
                let inode = Inode::<T>::from_raw(bindings::notblk_d_inode(dentry));
                (
                    Locked::<T, Exclusive>::assume(inode),
                    (*attributes).flags,
                    (*attributes).fsx_projid,
                )
            };
            T::set(inode, flags, project)?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// C's contract for `getattr`.
    pub(super) unsafe extern "C" fn getattr(
        idmap: *mut bindings::mnt_idmap,
        path: *const bindings::path,
        stat: *mut bindings::kstat,
        request: u32,
        _query: c_uint,
    ) -> c_int {
        // SAFETY: by the contract, of a file of ours; the struct is the caller's own.
        let (raw, stat) = unsafe { (bindings::notblk_d_inode((*path).dentry), &mut *stat) };
        // SAFETY: as above.
        let inode = unsafe { Inode::<T>::from_raw(raw) };
        if request & bindings::STATX_BTIME != 0 {
            if let Some((sec, nsec)) = T::birth_time(inode) {
                stat.result_mask |= bindings::STATX_BTIME;
                stat.btime.tv_sec = sec;
                // CAST: below a thousand million.
                stat.btime.tv_nsec = nsec as c_long;
            }
        }
        if inode.is_regular() {
            // SAFETY: the superblock is valid, and its device open.
            unsafe {
                if request & bindings::STATX_DIOALIGN != 0 {
                    stat.result_mask |= bindings::STATX_DIOALIGN;
                    let sb = inode.sb().as_raw();
                    stat.dio_mem_align = bindings::notblk_bdev_dma_alignment(sb).saturating_add(1);
                    stat.dio_offset_align = bindings::notblk_bdev_logical_block_size(sb);
                }
                if request & bindings::STATX_WRITE_ATOMIC != 0 {
                    bindings::generic_fill_statx_atomic_writes(stat, 0, 0, 0);
                }
            }
        }
        let flags = T::flags(inode);
        for (flag, attribute) in [
            (bindings::FS_APPEND_FL, bindings::STATX_ATTR_APPEND),
            (bindings::FS_COMPR_FL, bindings::STATX_ATTR_COMPRESSED),
            (bindings::FS_ENCRYPT_FL, bindings::STATX_ATTR_ENCRYPTED),
            (bindings::FS_IMMUTABLE_FL, bindings::STATX_ATTR_IMMUTABLE),
            (bindings::FS_NODUMP_FL, bindings::STATX_ATTR_NODUMP),
        ] {
            stat.attributes_mask |= u64::from(attribute);
            if flags & flag != 0 {
                stat.attributes |= u64::from(attribute);
            }
        }
        // SAFETY: by the contract.
        unsafe { bindings::generic_fillattr(idmap, request, raw, stat) };
        0
    }
}

impl<T: FileSystem> Locked<T, Exclusive> {
    /// Sets those of VFS's flags that the format keeps. C: `inode_set_flags`.
    pub(crate) fn set_vfs_flags(&self, flags: Flags) {
        const ALL: u32 = bindings::S_SYNC
            | bindings::S_APPEND
            | bindings::S_IMMUTABLE
            | bindings::S_NOATIME
            | bindings::S_DIRSYNC;
        // SAFETY: valid; i_rwsem is held exclusively.
        unsafe { bindings::inode_set_flags(self.as_raw(), flags.0, ALL) };
    }
}
