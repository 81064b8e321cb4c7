// SPDX-License-Identifier: GPL-2.0

//! Directories: their `inode_operations` and `file_operations`.
//!
//! C: `include/linux/fs.h`, `Documentation/filesystems/vfs.rst`; `fs/ext2/namei.c`, `fs/ext2/dir.c` for the use.
//!
//! Dentries stay here. The filesystem sees a directory whose `i_rwsem` is held, a name (valid during the call, since
//! that lock keeps the dentry from moving), and inodes.

use super::{
    acl, file, fileattr, inode::New, ioctl, report, shutdown, to_result, xattr, Exclusive,
    FileSystem, Inode, InodeRef, Locked, Shared,
};
use crate::sys::bindings;
use core::{marker::PhantomData, ptr, slice};
use kernel::{error::from_result, prelude::*};

/// Who creates an inode, and with which mode.
pub(crate) struct Creation<'a> {
    idmap: *mut bindings::mnt_idmap,
    mode: u16,
    qstr: *const bindings::qstr,
    _call: PhantomData<&'a ()>,
}

impl Creation<'_> {
    /// # Safety
    ///
    /// `idmap` is valid as long as this lives, and so is the name of `dentry`, which may be NULL: for an inode without one.
    unsafe fn new(
        idmap: *mut bindings::mnt_idmap,
        mode: u16,
        dentry: *mut bindings::dentry,
    ) -> Self {
        Self {
            idmap,
            mode,
            qstr: if dentry.is_null() {
                ptr::null()
            } else {
                // SAFETY: by the contract.
                unsafe { bindings::notblk_d_qstr(dentry) }
            },
            _call: PhantomData,
        }
    }

    pub(super) fn idmap(&self) -> *mut bindings::mnt_idmap {
        self.idmap
    }

    /// The name, for security modules: valid while the inode is made; or NULL.
    pub(super) fn qstr(&self) -> *const bindings::qstr {
        self.qstr
    }

    /// `i_mode` asked for, file type included.
    pub(crate) fn mode(&self) -> u16 {
        self.mode
    }
}

/// One side of a rename.
pub(crate) struct RenameSide<'a, T: FileSystem> {
    /// The directory.
    pub(crate) dir: &'a Locked<T, Exclusive>,
    /// The name in it.
    pub(crate) name: &'a [u8],
}

/// What becomes the operation tables of a directory.
pub(crate) trait Operations: Sized {
    /// Finds `name`. C: `lookup`.
    ///
    /// # Errors
    ///
    /// Any but `ENOENT`: a name that is not there is `Ok(None)`, which the dentry cache remembers.
    fn lookup<'a>(dir: &'a Locked<Self, Shared>, name: &[u8]) -> Result<Option<InodeRef<'a, Self>>>
    where
        Self: FileSystem;

    /// Makes a regular file. C: `create`.
    fn create<'a>(
        dir: &'a Locked<Self, Exclusive>,
        name: &[u8],
        creation: &Creation<'_>,
    ) -> Result<New<'a, Self>>
    where
        Self: FileSystem;

    /// Makes a directory. C: `mkdir`.
    fn mkdir<'a>(
        dir: &'a Locked<Self, Exclusive>,
        name: &[u8],
        creation: &Creation<'_>,
    ) -> Result<New<'a, Self>>
    where
        Self: FileSystem;

    /// Makes a symbolic link to `target`, which has no zero byte. C: `symlink`.
    fn symlink<'a>(
        dir: &'a Locked<Self, Exclusive>,
        name: &[u8],
        target: &[u8],
        creation: &Creation<'_>,
    ) -> Result<New<'a, Self>>
    where
        Self: FileSystem;

    /// Makes a device node with this major and minor number, a FIFO or a socket. C: `mknod`.
    fn mknod<'a>(
        dir: &'a Locked<Self, Exclusive>,
        name: &[u8],
        creation: &Creation<'_>,
        device: (u32, u32),
    ) -> Result<New<'a, Self>>
    where
        Self: FileSystem;

    /// Makes a regular file without a name, and without links; `i_rwsem` of `dir` is not held. C: `tmpfile`.
    fn tmpfile<'a>(dir: &'a Inode<Self>, creation: &Creation<'_>) -> Result<New<'a, Self>>
    where
        Self: FileSystem;

    /// Gives `inode` another name, or the first one to what [`Operations::tmpfile`] made. C: `link`.
    fn link(dir: &Locked<Self, Exclusive>, name: &[u8], inode: &Locked<Self, Exclusive>) -> Result
    where
        Self: FileSystem;

    /// Takes a name away. C: `unlink`.
    fn unlink(
        dir: &Locked<Self, Exclusive>,
        name: &[u8],
        inode: &Locked<Self, Exclusive>,
    ) -> Result
    where
        Self: FileSystem;

    /// Removes an empty directory. C: `rmdir`.
    fn rmdir(dir: &Locked<Self, Exclusive>, name: &[u8], inode: &Locked<Self, Exclusive>) -> Result
    where
        Self: FileSystem;

    /// Moves `inode` from one name to another, over `target` if there is one. With `whiteout` a device node made by it takes
    /// the old name (`RENAME_WHITEOUT`). VFS has dealt with `RENAME_NOREPLACE`. C: `rename`.
    fn rename(
        from: &RenameSide<'_, Self>,
        to: &RenameSide<'_, Self>,
        inode: &Inode<Self>,
        target: Option<&Inode<Self>>,
        whiteout: Option<&Creation<'_>>,
    ) -> Result
    where
        Self: FileSystem;

    /// Gives `inode` the name of `other`, and the reverse (`RENAME_EXCHANGE`). C: `rename`.
    fn exchange(
        from: &RenameSide<'_, Self>,
        to: &RenameSide<'_, Self>,
        inode: &Inode<Self>,
        other: &Inode<Self>,
    ) -> Result
    where
        Self: FileSystem;

    /// Emits entries from `emitter.pos()` on. C: `iterate_shared`.
    fn iterate(dir: &Locked<Self, Shared>, emitter: &mut Emitter<'_>) -> Result
    where
        Self: FileSystem;
}

/// Where `readdir` puts entries. C: `struct dir_context`.
pub(crate) struct Emitter<'a>(&'a mut bindings::dir_context);

impl Emitter<'_> {
    /// Byte offset of the next entry in the directory (`ctx->pos`).
    pub(crate) fn pos(&self) -> u64 {
        super::to_pos(self.0.pos)
    }

    /// Sets it.
    pub(crate) fn set_pos(&mut self, pos: u64) {
        self.0.pos = super::to_loff(pos);
    }

    /// Emits one entry; `false` when the reader's buffer is full. C: `dir_emit`.
    pub(crate) fn emit(&mut self, name: &[u8], ino: u64, dtype: DirentType) -> bool {
        let Ok(len) = c_int::try_from(name.len()) else {
            return false;
        };
        // SAFETY: the context is C's own, valid during the callback; the name is copied.
        unsafe {
            bindings::notblk_dir_emit(&raw mut *self.0, name.as_ptr().cast(), len, ino, dtype.0)
        }
    }
}

/// `d_type` of `readdir(3)`.
#[derive(Clone, Copy)]
pub(crate) struct DirentType(u32);

impl DirentType {
    /// `DT_UNKNOWN`
    pub(crate) const UNKNOWN: Self = Self(bindings::DT_UNKNOWN);
    /// `DT_REG`
    pub(crate) const REG: Self = Self(bindings::DT_REG);
    /// `DT_DIR`
    pub(crate) const DIR: Self = Self(bindings::DT_DIR);
    /// `DT_CHR`
    pub(crate) const CHR: Self = Self(bindings::DT_CHR);
    /// `DT_BLK`
    pub(crate) const BLK: Self = Self(bindings::DT_BLK);
    /// `DT_FIFO`
    pub(crate) const FIFO: Self = Self(bindings::DT_FIFO);
    /// `DT_SOCK`
    pub(crate) const SOCK: Self = Self(bindings::DT_SOCK);
    /// `DT_LNK`
    pub(crate) const LNK: Self = Self(bindings::DT_LNK);
}

/// The operation tables of a directory, and their functions.
pub(super) struct Table<T>(PhantomData<T>);

impl<T: FileSystem> Table<T> {
    pub(super) const INODE_OPS: bindings::inode_operations = {
        // SAFETY: all fields are optional function pointers, for which zero is `None`.
        let mut ops: bindings::inode_operations = unsafe { core::mem::zeroed() };
        ops.lookup = Some(Self::lookup);
        ops.create = Some(Self::create);
        ops.link = Some(Self::link);
        ops.unlink = Some(Self::unlink);
        ops.symlink = Some(Self::symlink);
        ops.mknod = Some(Self::mknod);
        ops.tmpfile = Some(Self::tmpfile);
        ops.mkdir = Some(Self::mkdir);
        ops.rmdir = Some(Self::rmdir);
        ops.rename = Some(Self::rename);
        ops.setattr = Some(file::Table::<T>::setattr);
        ops.listxattr = Some(xattr::Table::<T>::listxattr);
        acl::Table::<T>::add_to(&mut ops);
        ops.getattr = Some(fileattr::Table::<T>::getattr);
        ops.fiemap = Some(report::Table::<T>::fiemap);
        ops.fileattr_get = Some(fileattr::Table::<T>::fileattr_get);
        ops.fileattr_set = Some(fileattr::Table::<T>::fileattr_set);
        ops
    };

    pub(super) const FILE_OPS: bindings::file_operations = {
        // SAFETY: all fields are optional pointers or integers, for which zero is good.
        let mut ops: bindings::file_operations = unsafe { core::mem::zeroed() };
        ops.llseek = Some(bindings::generic_file_llseek);
        ops.read = Some(bindings::generic_read_dir);
        ops.iterate_shared = Some(Self::iterate_shared);
        ops.unlocked_ioctl = Some(ioctl::Table::<T>::unlocked_ioctl);
        ops.compat_ioctl = Some(ioctl::Table::<T>::compat_ioctl);
        ops.fsync = Some(shutdown::Table::<T>::fsync);
        ops.setlease = Some(bindings::generic_setlease);
        ops
    };

    /// # Safety
    ///
    /// `dentry` is valid, and its parent's `i_rwsem` is held for `'a`, so that its name stays.
    unsafe fn name<'a>(dentry: *mut bindings::dentry) -> &'a [u8] {
        let mut len = 0;
        // SAFETY: by the contract; C terminates the name after `len` bytes.
        unsafe {
            let name = bindings::notblk_d_name(dentry, &mut len);
            slice::from_raw_parts(name.cast(), len as usize)
        }
    }

    /// # Safety
    ///
    /// `inode` is valid, and its `i_rwsem` is held exclusively, for `'a`.
    unsafe fn locked<'a, M>(inode: *mut bindings::inode) -> &'a Locked<T, M> {
        // SAFETY: by the contract.
        unsafe { Locked::assume(Inode::from_raw(inode)) }
    }

    /// # Safety
    ///
    /// C's contract for `lookup`: `i_rwsem` of `dir` is held, at least shared.
    unsafe extern "C" fn lookup(
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        _flags: c_uint,
    ) -> *mut bindings::dentry {
        // SAFETY: by the contract. An exclusive hold serves where a shared one is asked for.
        let (dir, name) = unsafe { (Self::locked::<Shared>(dir), Self::name(dentry)) };
        match T::lookup(dir, name) {
            // SAFETY: `d_splice_alias` takes the reference (or NULL), whatever it answers.
            Ok(found) => unsafe {
                bindings::d_splice_alias(found.map_or(ptr::null_mut(), InodeRef::into_raw), dentry)
            },
            Err(e) => e.to_ptr(),
        }
    }

    /// # Safety
    ///
    /// C's contract for `create`: `i_rwsem` of `dir` is held exclusively, `dentry` is negative.
    unsafe extern "C" fn create(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        mode: bindings::umode_t,
        // O_EXCL, which VFS has dealt with.
        #[cfg(not(notblk_has_create_without_excl))] _excl: bool,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract.
            let (dir, name) = unsafe { (Self::locked::<Exclusive>(dir), Self::name(dentry)) };
            let new = T::create(
                dir,
                name,
                // SAFETY: by the contract.
                &unsafe { Creation::new(idmap, mode, dentry) },
            )?;
            // SAFETY: takes the reference; the inode is `I_NEW`, as this function wants it.
            unsafe { bindings::d_instantiate_new(dentry, new.into_raw()) };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// C's contract for `mkdir`, as for `create`.
    unsafe extern "C" fn mkdir(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        mode: bindings::umode_t,
    ) -> *mut bindings::dentry {
        // SAFETY: by the contract.
        let (dir, name) = unsafe { (Self::locked::<Exclusive>(dir), Self::name(dentry)) };
        // Before 7.3 VFS leaves the file type out for directories.
        let mode = mode | 0o040000;
        match T::mkdir(
            dir,
            name,
            // SAFETY: by the contract.
            &unsafe { Creation::new(idmap, mode, dentry) },
        ) {
            Ok(new) => {
                // SAFETY: as in `create`.
                unsafe { bindings::d_instantiate_new(dentry, new.into_raw()) };
                ptr::null_mut()
            }
            Err(e) => e.to_ptr(),
        }
    }

    /// # Safety
    ///
    /// C's contract for `symlink`: as for `create`, and `target` is a C string.
    unsafe extern "C" fn symlink(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        target: *const c_char,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract.
            let (dir, name, target) = unsafe {
                (
                    Self::locked::<Exclusive>(dir),
                    Self::name(dentry),
                    CStr::from_char_ptr(target),
                )
            };
            // S_IFLNK, and all may follow it.
            // SAFETY: by the contract.
            let creation = unsafe { Creation::new(idmap, 0o120777, dentry) };
            let new = T::symlink(dir, name, target.to_bytes(), &creation)?;
            // SAFETY: as in `create`.
            unsafe { bindings::d_instantiate_new(dentry, new.into_raw()) };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// C's contract for `mknod`, as for `create`.
    unsafe extern "C" fn mknod(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        mode: bindings::umode_t,
        dev: bindings::dev_t,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract.
            let (dir, name) = unsafe { (Self::locked::<Exclusive>(dir), Self::name(dentry)) };
            // SAFETY: always.
            let device = unsafe { (bindings::notblk_major(dev), bindings::notblk_minor(dev)) };
            // SAFETY: by the contract.
            let creation = unsafe { Creation::new(idmap, mode, dentry) };
            let new = T::mknod(dir, name, &creation, device)?;
            // SAFETY: as in `create`.
            unsafe { bindings::d_instantiate_new(dentry, new.into_raw()) };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// C's contract for `tmpfile`: `file` is being opened, and has a negative dentry of its own.
    unsafe extern "C" fn tmpfile(
        idmap: *mut bindings::mnt_idmap,
        dir: *mut bindings::inode,
        file: *mut bindings::file,
        mode: bindings::umode_t,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract.
            let dir = unsafe { Inode::<T>::from_raw(dir) };
            // SAFETY: by the contract; it has no name yet.
            let creation = unsafe { Creation::new(idmap, mode, ptr::null_mut()) };
            let inode = T::tmpfile(dir, &creation)?.into_raw();
            // As `d_tmpfile`, which would take away a link that the inode does not have.
            // SAFETY: by the contract; `d_instantiate` takes the reference, and the dentry keeps the inode.
            unsafe {
                let dentry = bindings::notblk_file_dentry(file);
                bindings::d_mark_tmpfile(file, inode);
                bindings::d_instantiate(dentry, inode);
                bindings::unlock_new_inode(inode);
                to_result(bindings::finish_open(file, dentry, None))?;
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// C's contract for `link`: `i_rwsem` of `dir` and of the inode are held exclusively, `dentry` is negative.
    unsafe extern "C" fn link(
        old: *mut bindings::dentry,
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract.
            let (dir, name, raw) = unsafe {
                (
                    Self::locked::<Exclusive>(dir),
                    Self::name(dentry),
                    bindings::notblk_d_inode(old),
                )
            };
            T::check_alive(dir.sb())?;
            // SAFETY: by the contract.
            T::link(dir, name, unsafe { Self::locked(raw) })?;
            // SAFETY: `d_instantiate` takes the new reference.
            unsafe {
                bindings::ihold(raw);
                bindings::d_instantiate(dentry, raw);
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// C's contract for `unlink`: `i_rwsem` of `dir` and of the victim are held exclusively.
    unsafe extern "C" fn unlink(dir: *mut bindings::inode, dentry: *mut bindings::dentry) -> c_int {
        from_result(|| {
            // SAFETY: by the contract.
            unsafe {
                let victim = Self::locked(bindings::notblk_d_inode(dentry));
                T::check_alive(Inode::from_raw(dir).sb())?;
                T::unlink(Self::locked(dir), Self::name(dentry), victim)?;
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// C's contract for `rmdir`, as for `unlink`.
    unsafe extern "C" fn rmdir(dir: *mut bindings::inode, dentry: *mut bindings::dentry) -> c_int {
        from_result(|| {
            // SAFETY: by the contract.
            unsafe {
                let victim = Self::locked(bindings::notblk_d_inode(dentry));
                T::check_alive(Inode::from_raw(dir).sb())?;
                T::rmdir(Self::locked(dir), Self::name(dentry), victim)?;
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// C's contract for `rename`: both directories' `i_rwsem` are held exclusively, both dentries are theirs.
    unsafe extern "C" fn rename(
        idmap: *mut bindings::mnt_idmap,
        old_dir: *mut bindings::inode,
        old_dentry: *mut bindings::dentry,
        new_dir: *mut bindings::inode,
        new_dentry: *mut bindings::dentry,
        flags: c_uint,
    ) -> c_int {
        from_result(|| {
            let known =
                bindings::RENAME_NOREPLACE | bindings::RENAME_EXCHANGE | bindings::RENAME_WHITEOUT;
            if flags & !known != 0 {
                return Err(EINVAL);
            }
            // SAFETY: by the contract.
            unsafe {
                let from = RenameSide {
                    dir: Self::locked(old_dir),
                    name: Self::name(old_dentry),
                };
                let to = RenameSide {
                    dir: Self::locked(new_dir),
                    name: Self::name(new_dentry),
                };
                let inode = Inode::from_raw(bindings::notblk_d_inode(old_dentry));
                let target = bindings::notblk_d_inode(new_dentry);
                let target = (!target.is_null()).then(|| Inode::from_raw(target));
                T::check_alive(inode.sb())?;
                if flags & bindings::RENAME_EXCHANGE != 0 {
                    T::exchange(&from, &to, inode, target.ok_or(ENOENT)?)?;
                } else {
                    // S_IFCHR, and WHITEOUT_MODE, which is 0.
                    let whiteout = Creation::new(idmap, 0o020000, old_dentry);
                    let whiteout = (flags & bindings::RENAME_WHITEOUT != 0).then_some(&whiteout);
                    T::rename(&from, &to, inode, target, whiteout)?;
                }
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// C's contract for `iterate_shared`: `i_rwsem` of the directory is held shared.
    unsafe extern "C" fn iterate_shared(
        file: *mut bindings::file,
        ctx: *mut bindings::dir_context,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract; the context is the caller's own.
            let (dir, ctx) = unsafe {
                (
                    Self::locked::<Shared>(bindings::notblk_file_inode(file)),
                    &mut *ctx,
                )
            };
            T::iterate(dir, &mut Emitter(ctx))?;
            Ok(0)
        })
    }
}
