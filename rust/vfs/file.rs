// SPDX-License-Identifier: GPL-2.0

//! Regular files (and the little that symlinks and device nodes need): their operation tables.
//!
//! C: `include/linux/fs.h`; `fs/ext2/file.c` for the use.

use super::{
    acl,
    dio::Completion,
    fallocate, fileattr,
    hold::{Owner, Point},
    inode_sync, ioctl, iomap,
    kiocb::{Io, Read, Request, Write},
    report, shutdown, symlink, to_pos, to_result, xattr, Exclusive, FileSystem, Inode, Locked,
};
use crate::sys::bindings;
use core::marker::PhantomData;
use kernel::{error::from_result, prelude::*};

/// Where the filesystem is mounted that a file is opened on.
///
/// # Invariants
///
/// The file is valid for the lifetime.
pub(crate) struct MountPoint<'a>(*const bindings::file, PhantomData<&'a ()>);

impl MountPoint<'_> {
    /// Its path, as the calling task sees it; `None` for one that is longer than the buffer. C: `d_path`.
    pub(crate) fn path<'b>(&self, buf: &'b mut [u8]) -> Option<&'b [u8]> {
        let len = c_int::try_from(buf.len()).ok()?;
        // SAFETY: valid by invariant; the buffer has `len` bytes.
        let path =
            unsafe { bindings::notblk_file_mount_path(self.0, buf.as_mut_ptr().cast(), len) };
        // SAFETY: only looks at the value.
        if unsafe { bindings::notblk_is_err(path.cast()) } {
            return None;
        }
        // SAFETY: d_path puts a terminated string at the end of the buffer, which is borrowed for the result.
        Some(unsafe { CStr::from_char_ptr(path) }.to_bytes())
    }
}

/// What becomes the operation tables of a regular file.
pub(crate) trait Operations: Sized {
    /// A regular file is opened. C: `open`.
    fn opened(_inode: &Inode<Self>, _mount: &MountPoint<'_>)
    where
        Self: FileSystem,
    {
    }

    /// C: `read_iter`.
    fn read_iter(request: Request<'_, Self, Read>) -> Io
    where
        Self: FileSystem;

    /// C: `write_iter`.
    fn write_iter(request: Request<'_, Self, Write>) -> Io
    where
        Self: FileSystem;

    /// A direct write has completed without an error. Sleeps only where it extends the file: other completions may run in
    /// interrupt context. C: `end_io` of `struct iomap_dio_ops`.
    fn dio_write_end(completion: &Completion<'_, Self>) -> Result
    where
        Self: FileSystem;

    /// The last of those who had the file open for writing has closed it. C: `release`.
    fn last_writer_gone(inode: &Inode<Self>)
    where
        Self: FileSystem;

    /// Changes the size of a regular file, within the limits VFS knows, for `owner`. C: `ext2_setsize`.
    fn setsize(inode: &Locked<Self, Exclusive>, size: u64, owner: Owner) -> Result
    where
        Self: FileSystem;
}

/// The operation tables of everything that is not a directory, and their functions.
pub(super) struct Table<T>(PhantomData<T>);

impl<T: FileSystem> Table<T> {
    pub(super) const INODE_OPS: bindings::inode_operations = {
        let mut ops = Self::with_acls();
        ops.fiemap = Some(report::Table::<T>::fiemap);
        ops.fileattr_get = Some(fileattr::Table::<T>::fileattr_get);
        ops.fileattr_set = Some(fileattr::Table::<T>::fileattr_set);
        ops
    };

    pub(super) const SPECIAL_OPS: bindings::inode_operations = Self::with_acls();

    pub(super) const SYMLINK_OPS: bindings::inode_operations =
        Self::inode_ops(Some(symlink::Table::<T>::get_link));

    pub(super) const FAST_SYMLINK_OPS: bindings::inode_operations =
        Self::inode_ops(Some(bindings::simple_get_link));

    const fn with_acls() -> bindings::inode_operations {
        let mut ops = Self::inode_ops(None);
        acl::Table::<T>::add_to(&mut ops);
        ops
    }

    const fn inode_ops(
        get_link: Option<
            unsafe extern "C" fn(
                *mut bindings::dentry,
                *mut bindings::inode,
                *mut bindings::delayed_call,
            ) -> *const c_char,
        >,
    ) -> bindings::inode_operations {
        // SAFETY: all fields are optional function pointers, for which zero is `None`.
        let mut ops: bindings::inode_operations = unsafe { core::mem::zeroed() };
        ops.setattr = Some(Self::setattr);
        ops.getattr = Some(fileattr::Table::<T>::getattr);
        ops.get_link = get_link;
        ops.listxattr = Some(xattr::Table::<T>::listxattr);
        ops
    }

    pub(super) const FILE_OPS: bindings::file_operations = {
        // SAFETY: all fields are optional pointers or integers, for which zero is good.
        let mut ops: bindings::file_operations = unsafe { core::mem::zeroed() };
        ops.fop_flags = bindings::NOTBLK_FOP_DIO_PARALLEL_WRITE
            | bindings::NOTBLK_FOP_BUFFER_RASYNC
            | bindings::NOTBLK_FOP_DONTCACHE;
        ops.llseek = Some(report::Table::<T>::llseek);
        ops.read_iter = Some(Self::read_iter);
        ops.write_iter = Some(Self::write_iter);
        ops.mmap_prepare = Some(shutdown::Table::<T>::mmap_prepare);
        #[cfg(CONFIG_TRANSPARENT_HUGEPAGE)]
        {
            ops.get_unmapped_area = Some(bindings::thp_get_unmapped_area);
        }
        ops.open = Some(shutdown::Table::<T>::open);
        ops.release = Some(Self::release);
        ops.fsync = Some(inode_sync::Table::<T>::fsync);
        ops.splice_read = Some(shutdown::Table::<T>::splice_read);
        ops.splice_write = Some(bindings::iter_file_splice_write);
        ops.unlocked_ioctl = Some(ioctl::Table::<T>::unlocked_ioctl);
        ops.compat_ioctl = Some(ioctl::Table::<T>::compat_ioctl);
        ops.fallocate = Some(fallocate::Table::<T>::fallocate);
        ops.setlease = Some(bindings::generic_setlease);
        ops
    };

    const VM_OPS: bindings::vm_operations_struct = {
        // SAFETY: all fields are optional function pointers, for which zero is `None`.
        let mut ops: bindings::vm_operations_struct = unsafe { core::mem::zeroed() };
        ops.fault = Some(bindings::filemap_fault);
        ops.map_pages = Some(bindings::filemap_map_pages);
        ops.page_mkwrite = Some(Self::page_mkwrite);
        ops
    };

    /// # Safety
    ///
    /// C's contract for `open`.
    pub(super) unsafe extern "C" fn open(
        inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> c_int {
        // SAFETY: by the contract; the file is being opened: nobody else has it yet.
        unsafe {
            T::opened(Inode::<T>::from_raw(inode), &MountPoint(file, PhantomData));
            (*file).f_mode |= bindings::NOTBLK_FMODE_CAN_ODIRECT | bindings::NOTBLK_FMODE_NOWAIT;
            Owner::note(file);
            bindings::notblk_dquot_file_open(inode, file)
        }
    }

    /// # Safety
    ///
    /// C's contract for `release`: the last reference to the file is going.
    unsafe extern "C" fn release(inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: by the contract. The file's own count as a writer goes after this call.
        unsafe {
            if bindings::notblk_is_last_writer(inode, file) {
                T::last_writer_gone(Inode::from_raw(inode));
            }
        }
        0
    }

    /// # Safety
    ///
    /// C's contract for `read_iter`.
    unsafe extern "C" fn read_iter(
        iocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: by the contract.
        T::read_iter(unsafe { Request::from_raw(iocb, iter) }).into_raw()
    }

    /// # Safety
    ///
    /// C's contract for `write_iter`.
    unsafe extern "C" fn write_iter(
        iocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: by the contract.
        T::write_iter(unsafe { Request::from_raw(iocb, iter) }).into_raw()
    }

    /// # Safety
    ///
    /// C's contract for `mmap_prepare`.
    pub(super) unsafe extern "C" fn mmap_prepare(desc: *mut bindings::vm_area_desc) -> c_int {
        // SAFETY: by the contract; the description is the caller's own.
        unsafe {
            bindings::notblk_file_accessed((*desc).file);
            (*desc).vm_ops = &Self::VM_OPS;
        }
        0
    }

    /// A page is about to be written by mmap: reserve its blocks now, so that write-back cannot run out of them.
    ///
    /// # Safety
    ///
    /// C's contract for `page_mkwrite`.
    unsafe extern "C" fn page_mkwrite(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: by the contract: a fault in a mapping of a file of ours.
        unsafe {
            let file = (*(*vmf).__bindgen_anon_1.vma).vm_file;
            let inode = Inode::<T>::from_raw(bindings::notblk_file_inode(file));
            if inode.is_immutable() {
                // It has become so since the file was mapped.
                return bindings::NOTBLK_VM_FAULT_SIGBUS;
            }
            let pos = ((*vmf).__bindgen_anon_1.pgoff as u64) << bindings::NOTBLK_PAGE_SHIFT;
            inode.pass(
                Point::FaultBegin,
                || Owner::of_file(file),
                pos,
                1 << bindings::NOTBLK_PAGE_SHIFT,
            );
            let sb = inode.sb().as_raw();
            bindings::notblk_sb_start_pagefault(sb);
            bindings::file_update_time(file);
            // Shared: truncate and the release of unwritten blocks hold it exclusively.
            bindings::notblk_filemap_invalidate_lock_shared(inode.mapping());
            let ops = match inode.is_guarded() {
                true => &iomap::Table::<T>::GUARDED_OPS,
                false => &iomap::Table::<T>::OPS,
            };
            let ret = bindings::iomap_page_mkwrite(vmf, ops, core::ptr::null_mut());
            bindings::notblk_filemap_invalidate_unlock_shared(inode.mapping());
            bindings::notblk_sb_end_pagefault(sb);
            ret
        }
    }

    /// For whom attributes change: who has opened the file through which they do, or the calling task.
    ///
    /// # Safety
    ///
    /// `attr` is valid, as `setattr` gets it.
    unsafe fn owner_of(attr: *const bindings::iattr) -> Owner {
        // SAFETY: by the contract: with this bit set, there is a file, and it is open.
        unsafe {
            if (*attr).ia_valid & bindings::ATTR_FILE != 0 {
                Owner::of_file((*attr).ia_file)
            } else {
                Owner::current()
            }
        }
    }

    /// # Safety
    ///
    /// C's contract for `setattr`: `i_rwsem` is held exclusively.
    pub(super) unsafe extern "C" fn setattr(
        idmap: *mut bindings::mnt_idmap,
        dentry: *mut bindings::dentry,
        attr: *mut bindings::iattr,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract.
            let inode = unsafe { Inode::<T>::from_raw(bindings::notblk_d_inode(dentry)) };
            T::emergency_state(inode.sb())?;
            // The VFS asks for changes that name an owner, a mode or a time only. C: `ext4_setattr`
            if inode.is_immutable() {
                return Err(EPERM);
            }
            // Again after the VFS, which has turned set-id bits that an owner's change takes away into a change of mode.
            let guarded = bindings::ATTR_MODE
                | bindings::ATTR_UID
                | bindings::ATTR_GID
                | bindings::ATTR_TIMES_SET;
            // SAFETY: by the contract.
            if inode.is_append() && unsafe { (*attr).ia_valid } & guarded != 0 {
                return Err(EPERM);
            }
            // SAFETY: by the contract.
            to_result(unsafe { bindings::setattr_prepare(idmap, dentry, attr) })?;
            // SAFETY: by the contract.
            let (inode, valid, size, owner) = unsafe {
                let inode = Inode::<T>::from_raw(bindings::notblk_d_inode(dentry));
                (
                    Locked::<T, Exclusive>::assume(inode),
                    (*attr).ia_valid,
                    to_pos((*attr).ia_size),
                    Self::owner_of(attr),
                )
            };
            // SAFETY: by the contract.
            unsafe { inode.quota_setattr(idmap, attr) }?;
            // To the size that it has already, too: its times change.
            if valid & bindings::ATTR_SIZE != 0 {
                if !inode.is_regular() {
                    return Err(EINVAL);
                }
                T::setsize(inode, size, owner)?;
            }
            // SAFETY: by the contract.
            unsafe { bindings::setattr_copy(idmap, inode.as_raw(), attr) };
            inode.inc_version();
            inode.mark_dirty();
            if valid & bindings::ATTR_MODE != 0 {
                // SAFETY: by the contract.
                unsafe { acl::Table::<T>::chmod(idmap, dentry, inode.mode()) }?;
            }
            Ok(0)
        })
    }
}
