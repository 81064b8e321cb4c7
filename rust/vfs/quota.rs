// SPDX-License-Identifier: GPL-2.0

//! Disk quotas: the kernel's quota library, and what it asks of a filesystem.
//!
//! C: `include/linux/quotaops.h`, `fs/quota/dquot.c`; `fs/ext4/super.c` for the use.
//!
//! The library keeps, by user, group and project ([`super::project`]), how many blocks and inodes are in use, and refuses what goes
//! over a limit. The filesystem says when something is taken or given back ([`Inode::quota_charge`], [`Inode::quota_release`], which change
//! `i_blocks` too, and [`New::quota_charge_inode`]), and reads and writes the files that the library keeps it in. Without
//! `CONFIG_QUOTA` all of it is `i_blocks`.
//!
//! The files are hidden inodes that are in use from mount to unmount, or files that an administrator makes and names to
//! `quotactl(Q_QUOTAON)`.
//!
//! The library takes `dqio_sem`, and the filesystem's locks inside it, where it reads or writes its files: when quotas are
//! looked up for an inode ([`Inode::quota_initialize`]) and when the last inode of somebody goes. Charging takes spinlocks only.

use super::{
    inode::New, to_loff, to_result, Exclusive, FileSystem, Inode, InodeRef, Locked, SuperBlock,
};
use crate::sys::bindings;
use core::marker::PhantomData;
use kernel::{prelude::*, types::Opaque};

#[cfg(CONFIG_QUOTA)]
use super::{project, to_pos};
#[cfg(CONFIG_QUOTA)]
use core::{ptr, slice};
#[cfg(CONFIG_QUOTA)]
use kernel::error::from_result;

/// Whether this kernel has quotas.
pub(crate) const SUPPORTED: bool = cfg!(CONFIG_QUOTA);

/// Whose usage. C: `enum quota_type`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `USRQUOTA`
    User = 0,
    /// `GRPQUOTA`
    Group = 1,
    /// `PRJQUOTA`
    Project = 2,
}

impl Kind {
    /// All.
    pub(crate) const ALL: [Self; 3] = [Self::User, Self::Group, Self::Project];

    /// As log lines have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Project => "project",
        }
    }

    fn raw(self) -> c_int {
        // CAST: 0 to 2.
        self as c_int
    }
}

/// The format of a visible quota file, as mount options name it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `QFMT_VFS_OLD`
    Old = 1,
    /// `QFMT_VFS_V0`
    V0 = 2,
    /// `QFMT_VFS_V1`
    V1 = 4,
}

/// What the quota library asks of a filesystem.
pub(crate) trait Operations: Sized {
    /// Whether the filesystem has hidden quota files, and no others.
    fn has_hidden_files(sb: &SuperBlock<Self>) -> bool
    where
        Self: FileSystem;

    /// The hidden quota file of a kind; `None` where there is none.
    fn hidden_file(sb: &SuperBlock<Self>, kind: Kind) -> Result<Option<InodeRef<'_, Self>>>
    where
        Self: FileSystem;

    /// Whether the mount options ask for limits of this kind to be kept.
    fn wants_limits(sb: &SuperBlock<Self>, kind: Kind) -> bool
    where
        Self: FileSystem;

    /// The project of an inode; `None` where the filesystem has none. C: `get_projid`.
    fn project(inode: &Inode<Self>) -> Option<u32>
    where
        Self: FileSystem;

    /// A file has become a visible quota file, or is one no more: what must survive that in its inode, beside `S_IMMUTABLE`
    /// and `S_NOATIME`. The inode is marked dirty by the caller. C: `EXT4_IMMUTABLE_FL` in `ext4_quota_on`.
    fn protect_file(inode: &Locked<Self, Exclusive>, protect: bool)
    where
        Self: FileSystem;

    /// Reads from a quota file; what is behind its end is not read. C: `quota_read`.
    fn read_file(file: &File<'_, Self>, dst: &mut [u8], pos: u64) -> Result<usize>
    where
        Self: FileSystem;

    /// Writes to a quota file, all of it, and lets it grow. C: `quota_write`.
    fn write_file(file: &File<'_, Self>, src: &[u8], pos: u64) -> Result
    where
        Self: FileSystem;
}

/// A quota file that the library is reading or writing: its `dqio_sem` keeps others away, in the place of `i_rwsem`.
pub(crate) struct File<'a, T: FileSystem>(&'a Inode<T>);

impl<'a, T: FileSystem> File<'a, T> {
    /// The inode.
    pub(crate) fn inode(&self) -> &'a Inode<T> {
        self.0
    }

    /// Makes the file as long as `end` bytes, if it is shorter. Otherwise the inode stays as it is: it is dated when quotas are
    /// turned off.
    pub(crate) fn written(&self, end: u64) {
        if end > self.0.size() {
            self.0.set_size_raw(end);
            self.0.mark_dirty();
        }
    }
}

/// What an inode's slot has for the library: a counted pointer to each quota that it is charged to. C: `i_dquot`.
pub(super) type Dquots = Opaque<[*mut bindings::dquot; bindings::MAXQUOTAS as usize]>;

impl<T: FileSystem> Inode<T> {
    /// Looks up the quotas that changes of this inode are charged to. Before whatever may charge or release; sleeps, and reads
    /// and writes quota files, so that no lock of the filesystem's own is held. C: `dquot_initialize`.
    pub(crate) fn quota_initialize(&self) -> Result {
        // SAFETY: valid by invariant.
        to_result(unsafe { bindings::notblk_dquot_initialize(self.as_raw()) })
    }

    /// Charges blocks to the inode's owners and counts them in `i_blocks`. C: `dquot_alloc_block`.
    ///
    /// # Errors
    ///
    /// `EDQUOT`; nothing is changed.
    pub(crate) fn quota_charge(&self, blocks: u32) -> Result {
        // SAFETY: valid by invariant.
        to_result(unsafe { bindings::notblk_dquot_alloc_block(self.as_raw(), blocks.into()) })
    }

    /// Gives charged blocks back. C: `dquot_free_block`.
    pub(crate) fn quota_release(&self, blocks: u64) {
        if blocks != 0 {
            // SAFETY: valid by invariant.
            unsafe {
                bindings::notblk_dquot_free_block(self.as_raw(), to_loff(blocks));
            }
        }
    }

    /// The inode is deleted. C: `dquot_free_inode`.
    pub(super) fn quota_release_inode(&self) {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_dquot_free_inode(self.as_raw()) };
    }

    /// The inode goes away: nobody charges it any more. C: `dquot_drop`.
    pub(super) fn quota_drop(&self) {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_dquot_drop(self.as_raw()) };
    }

    /// `setattr` is going to change size or owner. Where it is the owner, what the inode has is charged to the new one, and the
    /// inode says so at once. C: the beginning of `ext4_setattr`.
    ///
    /// # Safety
    ///
    /// `idmap` and `attr` are valid: those of a `setattr` of this inode, after `setattr_prepare`.
    pub(super) unsafe fn quota_setattr(
        &self,
        idmap: *mut bindings::mnt_idmap,
        attr: *mut bindings::iattr,
    ) -> Result {
        let inode = self.as_raw();
        // SAFETY: by the contract, and valid by invariant.
        unsafe {
            if bindings::notblk_is_quota_modification(idmap, inode, attr) {
                self.quota_initialize()?;
            }
            if bindings::notblk_owner_needs_update(idmap, inode, attr) {
                to_result(bindings::notblk_dquot_transfer(idmap, inode, attr))?;
                bindings::notblk_owner_update(idmap, inode, attr);
                self.mark_dirty();
            }
        }
        Ok(())
    }

    fn set_flags(&self, flags: u32, mask: u32) {
        // SAFETY: valid by invariant; the exchange is atomic.
        unsafe { bindings::inode_set_flags(self.as_raw(), flags, mask) };
    }
}

impl<T: FileSystem> New<'_, T> {
    /// Charges the inode, which has its owner by now. C: `dquot_initialize` and `dquot_alloc_inode` in `ext2_new_inode`.
    ///
    /// # Errors
    ///
    /// `EDQUOT`; the inode, which is then to be dropped, is no quota's business any more.
    pub(crate) fn quota_charge_inode(&mut self) -> Result {
        let inode: &Inode<T> = self;
        let charged = inode.quota_initialize().and_then(|()| {
            // SAFETY: valid by invariant.
            to_result(unsafe { bindings::notblk_dquot_alloc_inode(inode.as_raw()) })
        });
        charged.inspect_err(|_| {
            inode.quota_drop();
            inode.set_flags(bindings::S_NOQUOTA, bindings::S_NOQUOTA);
        })
    }
}

impl<T: FileSystem> SuperBlock<T> {
    /// Whether usage is kept track of. C: `sb_any_quota_loaded`.
    pub(crate) fn quota_loaded(&self) -> bool {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_sb_any_quota_loaded(self.as_raw()) }
    }

    /// Turns the quotas of a kind off. `s_umount` is held exclusively. C: `ext4_quota_off`.
    fn quota_off(&self, kind: Kind) -> Result {
        let raw = self.as_raw();
        // SAFETY: valid by invariant.
        let file = unsafe { bindings::notblk_quota_file_get(raw, kind.raw()) };
        // SAFETY: a reference of our own, to an inode of this superblock.
        let file = (!file.is_null()).then(|| unsafe { InodeRef::<T>::from_raw(file) });
        // SAFETY: valid by invariant, and s_umount is held.
        to_result(unsafe { bindings::notblk_dquot_quota_off(raw, kind.raw()) })?;
        if let Some(file) = file {
            if !T::has_hidden_files(self) && !self.is_read_only() {
                let lock = file.lock();
                lock.quota_protect(false);
                lock.touch_mctime();
            }
        }
        Ok(())
    }

    /// Turns the quotas of a kind on by a file in the root directory, limits included, until [`Self::quota_off_by_name`].
    /// `s_umount` is held exclusively. C: `dquot_quota_on_mount`.
    ///
    /// # Errors
    ///
    /// `ENOENT` where there is no such file; `ESRCH`, `EINVAL` for one that is not of this format; `EIO`, `ENOMEM`.
    pub(crate) fn quota_on_by_name(&self, kind: Kind, name: &CStr, format: Format) -> Result {
        // SAFETY: valid by invariant, s_umount is held, and the root is there by now; C does not change the name. CAST: small.
        to_result(unsafe {
            bindings::notblk_dquot_quota_on_mount(
                self.as_raw(),
                name.as_char_ptr(),
                format as c_int,
                kind.raw(),
            )
        })
    }

    /// Turns them off again. C: `dquot_quota_off` in `ext4_orphan_cleanup`.
    pub(crate) fn quota_off_by_name(&self, kind: Kind) {
        // SAFETY: valid by invariant, and s_umount is held.
        let off = to_result(unsafe { bindings::notblk_dquot_quota_off(self.as_raw(), kind.raw()) });
        if let Err(e) = off {
            pr_err!(
                "({}): {} quota not turned off: {e:?}\n",
                self.id(),
                kind.name()
            );
        }
    }

    /// Turns all quotas off, before unmount. C: `ext4_quotas_off`.
    pub(super) fn quotas_off(&self) {
        for kind in Kind::ALL {
            if let Err(e) = self.quota_off(kind) {
                pr_err!(
                    "({}): {} quota not turned off: {e:?}\n",
                    self.id(),
                    kind.name()
                );
            }
        }
    }

    /// Writes usage to the quota files. C: `dquot_writeback_dquots`.
    pub(super) fn quotas_write(&self) -> Result {
        // SAFETY: valid by invariant; VFS holds s_umount where it calls `sync_fs`.
        to_result(unsafe { bindings::notblk_dquot_writeback_dquots(self.as_raw()) })
    }

    /// Before the filesystem turns read-only: usage goes to the files, and they rest. C: `dquot_suspend`.
    pub(super) fn quotas_suspend(&self) -> Result {
        // SAFETY: valid by invariant; `s_umount` is held for a remount.
        to_result(unsafe { bindings::notblk_dquot_suspend(self.as_raw()) })
    }
}

impl<T: FileSystem> Locked<T, Exclusive> {
    /// Keeps everybody from writing to a visible quota file, or lets them again.
    fn quota_protect(&self, protect: bool) {
        let mask = bindings::S_IMMUTABLE | bindings::S_NOATIME;
        self.set_flags(if protect { mask } else { 0 }, mask);
        T::protect_file(self, protect);
        self.mark_dirty();
    }
}

/// The functions for `T`, and where they are put.
pub(super) struct Table<T>(PhantomData<T>);

#[cfg(not(CONFIG_QUOTA))]
impl<T: FileSystem> Table<T> {
    pub(super) const fn add_to(_ops: &mut bindings::super_operations) {}

    /// # Safety
    ///
    /// `sb` is valid, and nobody else uses it yet.
    pub(super) unsafe fn set_up(_sb: *mut bindings::super_block) {}

    /// Nothing to turn on.
    pub(super) fn turn_on(_sb: &SuperBlock<T>) -> Result {
        Ok(())
    }
}

#[cfg(CONFIG_QUOTA)]
impl<T: FileSystem> Table<T> {
    /// Puts the functions into the superblock's table.
    pub(super) const fn add_to(ops: &mut bindings::super_operations) {
        ops.get_dquots = Some(Self::get_dquots);
        ops.quota_read = Some(Self::quota_read);
        ops.quota_write = Some(Self::quota_write);
    }

    const CONTROL: bindings::quotactl_ops = {
        // SAFETY: all fields are optional function pointers, for which zero is `None`.
        let mut ops: bindings::quotactl_ops = unsafe { core::mem::zeroed() };
        ops.quota_on = Some(Self::quota_on);
        ops.quota_off = Some(Self::quota_off);
        ops.quota_sync = Some(bindings::dquot_quota_sync);
        ops.get_state = Some(bindings::dquot_get_state);
        ops.set_info = Some(bindings::dquot_set_dqinfo);
        ops.get_dqblk = Some(bindings::dquot_get_dqblk);
        ops.set_dqblk = Some(bindings::dquot_set_dqblk);
        ops.get_nextdqblk = Some(bindings::dquot_get_next_dqblk);
        ops
    };

    /// Tells the library and `quotactl` how to deal with this superblock.
    ///
    /// # Safety
    ///
    /// `sb` is valid and `Ready`, and nobody else uses it yet.
    pub(super) unsafe fn set_up(sb: *mut bindings::super_block) {
        // SAFETY: by the contract; the tables are constants.
        unsafe {
            (*sb).dq_op = &project::Table::<T>::OPS;
            (*sb).s_qcop = if T::has_hidden_files(SuperBlock::from_raw(sb)) {
                &raw const bindings::dquot_quotactl_sysfile_ops
            } else {
                &Self::CONTROL
            };
            (*sb).s_quota_types = bindings::NOTBLK_QTYPE_MASKS;
        }
    }

    /// The filesystem can be written to from now on: what rested goes on, and hidden files are turned on. `s_umount` is held
    /// exclusively. C: `ext4_enable_quotas`, `dquot_resume`.
    ///
    /// # Errors
    ///
    /// `ESRCH` where the kernel does not have the files' format; those of reading them. Nothing is on then.
    pub(super) fn turn_on(sb: &SuperBlock<T>) -> Result {
        let raw = sb.as_raw();
        // SAFETY: valid by invariant.
        if unsafe { bindings::notblk_sb_any_quota_suspended(raw) } {
            for kind in Kind::ALL {
                // Does nothing for a kind that does not rest.
                // SAFETY: as above; s_umount is held.
                if let Err(e) = to_result(unsafe { bindings::dquot_resume(raw, kind.raw()) }) {
                    sb.quotas_off();
                    return Err(e);
                }
            }
            return Ok(());
        }
        if !T::has_hidden_files(sb) || sb.quota_loaded() {
            return Ok(());
        }
        // SAFETY: valid by invariant; nothing is on.
        unsafe { bindings::notblk_quota_set_sys_file(raw) };
        for kind in Kind::ALL {
            if let Err(e) = Self::turn_on_hidden(sb, kind) {
                pr_err!(
                    "({}): {} quota cannot be turned on: {e:?}; please run e2fsck\n",
                    sb.id(),
                    kind.name()
                );
                sb.quotas_off();
                return Err(e);
            }
        }
        Ok(())
    }

    fn turn_on_hidden(sb: &SuperBlock<T>, kind: Kind) -> Result {
        let Some(file) = T::hidden_file(sb, kind)? else {
            return Ok(());
        };
        // Not charged itself: that would never end.
        file.set_flags(bindings::S_NOQUOTA, bindings::S_NOQUOTA);
        let mut flags = bindings::NOTBLK_DQUOT_USAGE_ENABLED;
        if T::wants_limits(sb, kind) {
            flags |= bindings::NOTBLK_DQUOT_LIMITS_ENABLED;
        }
        // SAFETY: valid, and s_umount is held. The library takes a reference of its own. CAST: a small number.
        to_result(unsafe {
            bindings::dquot_load_quota_inode(
                file.as_raw(),
                kind.raw(),
                bindings::QFMT_VFS_V1 as c_int,
                flags,
            )
        })
    }

    /// # Safety
    ///
    /// C's contract for `get_dquots`: an inode of ours.
    unsafe extern "C" fn get_dquots(inode: *mut bindings::inode) -> *mut *mut bindings::dquot {
        // SAFETY: by the contract.
        unsafe { Inode::<T>::from_raw(inode) }.dquots().get().cast()
    }

    /// The quota file of a kind.
    ///
    /// # Safety
    ///
    /// `sb` is one of ours; the caller is the library, which has the file on and holds `dqio_sem`, for `'a`.
    unsafe fn file<'a>(sb: *mut bindings::super_block, kind: c_int) -> Result<File<'a, T>> {
        // SAFETY: by the contract.
        let inode = unsafe { bindings::notblk_quota_file(sb, kind) };
        if inode.is_null() {
            return Err(EINVAL);
        }
        // SAFETY: by the contract: vetted to be of this superblock when it was turned on.
        Ok(File(unsafe { Inode::from_raw(inode) }))
    }

    /// # Safety
    ///
    /// C's contract for `quota_read`: `len` bytes at `data` are the caller's alone.
    unsafe extern "C" fn quota_read(
        sb: *mut bindings::super_block,
        kind: c_int,
        data: *mut c_char,
        len: usize,
        pos: bindings::loff_t,
    ) -> isize {
        let read = || {
            // SAFETY: by the contract. The library's memory is initialised: it comes from kzalloc, or was; else zeroed here.
            let (file, dst) = unsafe {
                ptr::write_bytes(data, 0, len);
                (
                    Self::file(sb, kind)?,
                    slice::from_raw_parts_mut(data.cast(), len),
                )
            };
            T::read_file(&file, dst, to_pos(pos))
        };
        to_isize(read())
    }

    /// # Safety
    ///
    /// C's contract for `quota_write`: `len` bytes at `data` do not change meanwhile.
    unsafe extern "C" fn quota_write(
        sb: *mut bindings::super_block,
        kind: c_int,
        data: *const c_char,
        len: usize,
        pos: bindings::loff_t,
    ) -> isize {
        let write = || {
            // SAFETY: by the contract.
            let (file, src) = unsafe {
                (
                    Self::file(sb, kind)?,
                    slice::from_raw_parts(data.cast(), len),
                )
            };
            T::write_file(&file, src, to_pos(pos)).map(|()| len)
        };
        to_isize(write())
    }

    /// # Safety
    ///
    /// C's contract for `quota_on`: `s_umount` is held exclusively, and the path is valid.
    unsafe extern "C" fn quota_on(
        raw: *mut bindings::super_block,
        kind: c_int,
        format: c_int,
        path: *const bindings::path,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract.
            let (sb, inode) = unsafe {
                (
                    SuperBlock::<T>::from_raw(raw),
                    bindings::notblk_path_inode(path),
                )
            };
            if !Kind::ALL.iter().any(|&kind| T::wants_limits(sb, kind)) {
                return Err(EINVAL);
            }
            // SAFETY: a valid path has an inode.
            if unsafe { (*inode).i_sb } != raw {
                return Err(EXDEV);
            }
            // SAFETY: of this superblock, as has just been seen, and the path holds it.
            let inode = unsafe { Inode::<T>::from_raw(inode) };
            if inode.has_flag(bindings::S_NOQUOTA) {
                return Err(EBUSY);
            }
            // SAFETY: by the contract.
            to_result(unsafe { bindings::dquot_quota_on(raw, kind, format, path) })?;
            inode.lock().quota_protect(true);
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// C's contract for `quota_off`: `s_umount` is held exclusively.
    unsafe extern "C" fn quota_off(sb: *mut bindings::super_block, kind: c_int) -> c_int {
        from_result(|| {
            let kind = Kind::ALL
                .into_iter()
                .find(|known| known.raw() == kind)
                .ok_or(EINVAL)?;
            // SAFETY: by the contract.
            unsafe { SuperBlock::<T>::from_raw(sb) }.quota_off(kind)?;
            Ok(0)
        })
    }
}

/// C's form of a count or an errno.
#[cfg(CONFIG_QUOTA)]
fn to_isize(result: Result<usize>) -> isize {
    match result {
        // CAST: a block of a quota file at the most.
        Ok(n) => n as isize,
        // CAST: an errno.
        Err(e) => e.to_errno() as isize,
    }
}
