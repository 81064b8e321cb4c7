// SPDX-License-Identifier: GPL-2.0

//! Telling where a file's blocks are: `SEEK_HOLE` and `SEEK_DATA`, FIEMAP, FIBMAP, and swap files.
//!
//! C: `fs/iomap/seek.c`, `fiemap.c`, `swapfile.c`; `ext4_llseek`, `ext4_fiemap`, `ext4_bmap` and `ext4_iomap_swap_activate`
//! for the use.

use super::{iomap, to_pos, FileSystem, Inode};
use crate::sys::bindings;
use core::{marker::PhantomData, ptr};
use kernel::{error::from_result, prelude::*};

/// The functions of the operation tables for `T`.
pub(super) struct Table<T>(PhantomData<T>);

impl<T: FileSystem> Table<T> {
    /// Mappings that are only told of.
    const OPS: bindings::iomap_ops = {
        // SAFETY: all fields are optional function pointers, for which zero is `None`.
        let mut ops: bindings::iomap_ops = unsafe { core::mem::zeroed() };
        ops.iomap_next = Some(Self::iomap_next);
        ops
    };

    /// # Safety
    ///
    /// C's contract for `iomap_next`.
    unsafe extern "C" fn iomap_next(
        iter: *const bindings::iomap_iter,
        iomap: *mut bindings::iomap,
        srcmap: *mut bindings::iomap,
    ) -> c_int {
        // SAFETY: by the contract; the function has the signature that C asks for, and there need not be a second one.
        unsafe {
            bindings::notblk_iomap_iter_next(iter, iomap, srcmap, Some(Self::iomap_begin), None)
        }
    }

    /// # Safety
    ///
    /// C's contract for `iomap_begin`.
    unsafe extern "C" fn iomap_begin(
        inode: *mut bindings::inode,
        pos: bindings::loff_t,
        length: bindings::loff_t,
        _flags: c_uint,
        iomap: *mut bindings::iomap,
        _srcmap: *mut bindings::iomap,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract; the struct is ours to fill.
            let (inode, iomap) = unsafe { (Inode::<T>::from_raw(inode), &mut *iomap) };
            let mapping = T::iomap_report(inode, to_pos(pos), to_pos(length))?;
            iomap::Table::fill(inode, mapping, iomap);
            if matches!(mapping, iomap::Mapping::Mapped { .. }) {
                // Put together from single pointers, which FIEMAP tells as FIEMAP_EXTENT_MERGED.
                // CAST: the constant is small.
                iomap.flags |= bindings::IOMAP_F_MERGED as u16;
            }
            Ok(0)
        })
    }

    /// Where extended attributes are: for FIEMAP alone, which looks at addresses and nothing else.
    const XATTR_OPS: bindings::iomap_ops = {
        // SAFETY: all fields are optional function pointers, for which zero is `None`.
        let mut ops: bindings::iomap_ops = unsafe { core::mem::zeroed() };
        ops.iomap_next = Some(Self::xattr_next);
        ops
    };

    /// # Safety
    ///
    /// C's contract for `iomap_next`.
    unsafe extern "C" fn xattr_next(
        iter: *const bindings::iomap_iter,
        iomap: *mut bindings::iomap,
        srcmap: *mut bindings::iomap,
    ) -> c_int {
        // SAFETY: as in `iomap_next`.
        unsafe {
            bindings::notblk_iomap_iter_next(iter, iomap, srcmap, Some(Self::xattr_begin), None)
        }
    }

    /// # Safety
    ///
    /// C's contract for `iomap_begin`.
    unsafe extern "C" fn xattr_begin(
        inode: *mut bindings::inode,
        pos: bindings::loff_t,
        _length: bindings::loff_t,
        _flags: c_uint,
        iomap: *mut bindings::iomap,
        _srcmap: *mut bindings::iomap,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract; the struct is ours to fill.
            let (inode, iomap) = unsafe { (Inode::<T>::from_raw(inode), &mut *iomap) };
            let (kind, addr, length) = match T::iomap_xattr(inode)? {
                iomap::AttributesAt::Inode { addr, length } => {
                    (bindings::IOMAP_INLINE, addr, length)
                }
                iomap::AttributesAt::Block { addr, length } => {
                    (bindings::IOMAP_MAPPED, addr, length)
                }
            };
            if to_pos(pos) >= length {
                return Err(ENOENT);
            }
            // CAST: the constants are small.
            iomap.type_ = kind as u16;
            iomap.flags = 0;
            iomap.addr = addr;
            iomap.offset = 0;
            iomap.length = length;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// C's contract for `llseek`, on a regular file of ours.
    pub(super) unsafe extern "C" fn llseek(
        file: *mut bindings::file,
        offset: bindings::loff_t,
        whence: c_int,
    ) -> bindings::loff_t {
        // CAST: the constants are small.
        const HOLE: c_int = bindings::SEEK_HOLE as c_int;
        const DATA: c_int = bindings::SEEK_DATA as c_int;
        let seek = match whence {
            HOLE => bindings::iomap_seek_hole,
            DATA => bindings::iomap_seek_data,
            // SAFETY: by the contract.
            _ => return unsafe { bindings::generic_file_llseek(file, offset, whence) },
        };
        // SAFETY: by the contract.
        let inode = unsafe { Inode::<T>::from_raw(bindings::notblk_file_inode(file)) };
        let found = {
            let lock = inode.lock_shared();
            // SAFETY: valid, and i_rwsem is held.
            unsafe { seek(lock.as_raw(), offset, &Self::OPS) }
        };
        if found < 0 {
            return found;
        }
        // SAFETY: by the contract; the superblock is valid.
        unsafe { bindings::vfs_setpos(file, found, (*inode.sb().as_raw()).s_maxbytes) }
    }

    /// # Safety
    ///
    /// C's contract for `fiemap`, on a regular file or a directory of ours.
    pub(super) unsafe extern "C" fn fiemap(
        inode: *mut bindings::inode,
        info: *mut bindings::fiemap_extent_info,
        start: u64,
        len: u64,
    ) -> c_int {
        // SAFETY: by the contract.
        let lock = unsafe { Inode::<T>::from_raw(inode) }.lock_shared();
        // SAFETY: by the contract: the struct is the caller's own.
        unsafe {
            // To read ahead what tells of the mapping: there is nothing of that kind.
            (*info).fi_flags &= !bindings::FIEMAP_FLAG_CACHE;
            let ops = if (*info).fi_flags & bindings::FIEMAP_FLAG_XATTR != 0 {
                // C's check of flags knows it not.
                (*info).fi_flags &= !bindings::FIEMAP_FLAG_XATTR;
                &Self::XATTR_OPS
            } else {
                &Self::OPS
            };
            bindings::iomap_fiemap(lock.as_raw(), info, start, len, ops)
        }
    }

    /// # Safety
    ///
    /// C's contract for `bmap`, on the mapping of a file of ours.
    pub(super) unsafe extern "C" fn bmap(
        mapping: *mut bindings::address_space,
        block: bindings::sector_t,
    ) -> bindings::sector_t {
        if u32::try_from(block).is_err() {
            // No file of this format has so many; and C multiplies without a look.
            return 0;
        }
        // SAFETY: by the contract; `host` is the mapping's inode.
        let lock = unsafe { Inode::<T>::from_raw((*mapping).host) }.lock_shared();
        // SAFETY: valid, and i_rwsem is held.
        unsafe { bindings::iomap_bmap(lock.mapping(), block, &Self::OPS) }
    }

    /// # Safety
    ///
    /// C's contract for `swap_activate`, on a regular file of ours whose `i_rwsem` is held.
    pub(super) unsafe extern "C" fn swap_activate(
        swap: *mut bindings::swap_info_struct,
        file: *mut bindings::file,
        span: *mut bindings::sector_t,
    ) -> c_int {
        // SAFETY: by the contract.
        unsafe { bindings::iomap_swapfile_activate(swap, file, span, ptr::from_ref(&Self::OPS)) }
    }
}
