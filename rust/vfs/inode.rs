// SPDX-License-Identifier: GPL-2.0

//! `struct inode`, with the filesystem's own data beside it in one slab object.
//!
//! C: `include/linux/fs.h`, `fs/inode.c`; `ext2_alloc_inode`, `ext2_iget`, `ext2_evict_inode` for the use.

use super::{
    address_space, dir, errno::EUCLEAN, file, inode_sync, quota, super_block::IntWrite, to_loff,
    to_pos, to_result, FileSystem, SuperBlock,
};
use crate::sys::bindings;
use core::{
    marker::PhantomData,
    mem::{offset_of, ManuallyDrop, MaybeUninit},
    ops::Deref,
    ptr,
};
use kernel::{prelude::*, types::Opaque};

/// The slab object: the filesystem's data, then C's inode.
///
/// # Invariants
///
/// From `alloc_inode` to `free_inode`: `data`, `mmb`, `sync` and `dquots` are initialised, `cache` is where the object came from.
#[repr(C)]
pub(super) struct Slot<T: FileSystem> {
    data: MaybeUninit<T::InodeData>,
    mmb: Opaque<bindings::mapping_metadata_bhs>,
    sync: inode_sync::State,
    dquots: quota::Dquots,
    cache: *mut bindings::kmem_cache,
    /// Target of a fast symlink (`i_link`), freed with the inode; or NULL.
    link: *mut c_char,
    inode: Opaque<bindings::inode>,
}

/// `struct inode` of a filesystem of type `T`.
///
/// # Invariants
///
/// The C object is valid, lies in a [`Slot<T>`], and its superblock is `Ready`, for the lifetime of the reference.
#[repr(transparent)]
pub(crate) struct Inode<T: FileSystem>(Opaque<bindings::inode>, PhantomData<T>);

// SAFETY: every operation below keeps C's locking rules; `InodeData` is `Send + Sync`.
unsafe impl<T: FileSystem> Sync for Inode<T> {}

/// Which of C's three timestamps.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    /// Access: seconds since 1970, nanoseconds.
    pub(crate) atime: (i64, u32),
    /// Modification.
    pub(crate) mtime: (i64, u32),
    /// Change of the inode.
    pub(crate) ctime: (i64, u32),
}

/// What an inode read from disk says of itself, in C's terms.
pub(crate) struct Fields {
    /// `i_mode`, file type included.
    pub(crate) mode: u16,
    /// Owner as on disk.
    pub(crate) uid: u32,
    /// Group as on disk.
    pub(crate) gid: u32,
    /// `i_nlink`
    pub(crate) nlink: u32,
    /// `i_size` in bytes.
    pub(crate) size: u64,
    /// `i_blocks` in units of 512 bytes.
    pub(crate) sectors: u64,
    /// `i_generation`
    pub(crate) generation: u32,
    /// `i_version`, as [`Inode::version`].
    pub(crate) version: u64,
    /// Timestamps.
    pub(crate) times: Times,
    /// `S_*` flags.
    pub(crate) flags: Flags,
}

/// VFS's inode flags that the format keeps (`S_SYNC`, …).
#[derive(Clone, Copy, Default)]
pub(crate) struct Flags(pub(super) u32);

impl Flags {
    /// `S_SYNC`
    pub(crate) const SYNC: Self = Self(bindings::S_SYNC);
    /// `S_APPEND`
    pub(crate) const APPEND: Self = Self(bindings::S_APPEND);
    /// `S_IMMUTABLE`
    pub(crate) const IMMUTABLE: Self = Self(bindings::S_IMMUTABLE);
    /// `S_NOATIME`
    pub(crate) const NOATIME: Self = Self(bindings::S_NOATIME);
    /// `S_DIRSYNC`
    pub(crate) const DIRSYNC: Self = Self(bindings::S_DIRSYNC);

    /// Adds `flag` if `on`.
    pub(crate) fn with(self, flag: Self, on: bool) -> Self {
        if on {
            Self(self.0 | flag.0)
        } else {
            self
        }
    }
}

/// Which operation tables an inode gets.
pub(crate) enum Kind<'a> {
    /// Regular file.
    Regular,
    /// Directory.
    Directory,
    /// Symbolic link whose target lies in a block.
    Symlink,
    /// Symbolic link with its target in the inode.
    FastSymlink(&'a [u8]),
    /// Device node (with its number), FIFO or socket.
    Special {
        /// Major device number.
        major: u32,
        /// Minor device number.
        minor: u32,
    },
}

/// File type bits of `i_mode`.
const S_IFMT: u16 = 0o170000;

impl<T: FileSystem> Inode<T> {
    /// # Safety
    ///
    /// `inode` is valid and of our type for all of `'a`.
    pub(super) unsafe fn from_raw<'a>(inode: *mut bindings::inode) -> &'a Self {
        // SAFETY: by the contract; transparent.
        unsafe { &*inode.cast() }
    }

    pub(super) fn as_raw(&self) -> *mut bindings::inode {
        self.0.get()
    }

    fn slot(&self) -> *mut Slot<T> {
        // SAFETY: by invariant the inode lies in a slot.
        unsafe { self.as_raw().byte_sub(offset_of!(Slot<T>, inode)).cast() }
    }

    pub(super) fn mapping(&self) -> *mut bindings::address_space {
        // SAFETY: valid by invariant; `i_mapping` of our files is `i_data` and never changes.
        unsafe { (*self.as_raw()).i_mapping }
    }

    pub(super) fn metadata_bhs(&self) -> *mut bindings::mapping_metadata_bhs {
        // SAFETY: by invariant.
        unsafe { (*self.slot()).mmb.get() }
    }

    pub(super) fn sync_state(&self) -> &inode_sync::State {
        // SAFETY: initialised by the invariant of `Slot`; never moved or borrowed mutably while the inode lives.
        unsafe { &(*self.slot()).sync }
    }

    pub(super) fn dquots(&self) -> &quota::Dquots {
        // SAFETY: initialised by the invariant of `Slot`; what is in it is the quota library's.
        unsafe { &(*self.slot()).dquots }
    }

    /// The filesystem's own data of this inode.
    pub(crate) fn data(&self) -> &T::InodeData {
        // SAFETY: initialised by the invariant of `Slot`; never moved or borrowed mutably while the inode lives.
        unsafe { (*self.slot()).data.assume_init_ref() }
    }

    /// The superblock.
    pub(crate) fn sb(&self) -> &SuperBlock<T> {
        // SAFETY: by invariant.
        unsafe { SuperBlock::from_raw((*self.as_raw()).i_sb) }
    }

    /// `i_ino`
    pub(crate) fn ino(&self) -> u64 {
        // SAFETY: valid by invariant; set before the inode is visible.
        unsafe { (*self.as_raw()).i_ino }
    }

    /// `i_mode`
    pub(crate) fn mode(&self) -> u16 {
        // SAFETY: valid by invariant. Changed under i_rwsem and read without it, as C does: a 16-bit load.
        unsafe { (&raw const (*self.as_raw()).i_mode).read_volatile() }
    }

    /// `S_ISDIR`
    pub(crate) fn is_dir(&self) -> bool {
        self.mode() & S_IFMT == 0o040000
    }

    /// `S_ISREG`
    pub(crate) fn is_regular(&self) -> bool {
        self.mode() & S_IFMT == 0o100000
    }

    /// `i_size_read`, in bytes.
    pub(crate) fn size(&self) -> u64 {
        // SAFETY: valid by invariant.
        to_pos(unsafe { bindings::notblk_i_size_read(self.as_raw()) })
    }

    /// `i_size_write`. The caller is in a section that excludes other writers of the size: `i_rwsem` exclusive, or the
    /// completion of a direct write that was submitted under it and is waited for.
    pub(super) fn set_size_raw(&self, size: u64) {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_i_size_write(self.as_raw(), to_loff(size)) };
    }

    /// `i_nlink`
    pub(crate) fn nlink(&self) -> u32 {
        // SAFETY: valid by invariant; C reads it without a lock too.
        unsafe { (&raw const (*self.as_raw()).__bindgen_anon_1.__i_nlink).read_volatile() }
    }

    /// Adds a link. C: `inode_inc_link_count`.
    ///
    /// # Errors
    ///
    /// `EUCLEAN` on an inode that has none, and was not made without (`I_LINKABLE`): only a damaged directory leads there.
    pub(crate) fn inc_link(&self) -> Result {
        // SAFETY: valid by invariant.
        if self.nlink() == 0 && !unsafe { bindings::notblk_inode_is_linkable(self.as_raw()) } {
            return Err(EUCLEAN);
        }
        // SAFETY: valid by invariant; the directories' i_rwsem serialises link counts.
        unsafe { bindings::inc_nlink(self.as_raw()) };
        self.mark_dirty();
        Ok(())
    }

    /// Takes a link away; on a count that is zero already (a damaged image) nothing happens. C:
    /// `inode_dec_link_count`.
    pub(crate) fn dec_link(&self) {
        if self.nlink() != 0 {
            // SAFETY: as in `inc_link`.
            unsafe { bindings::drop_nlink(self.as_raw()) };
            self.mark_dirty();
        }
    }

    /// Takes all links away: of a directory that is removed. C: `clear_nlink`.
    pub(crate) fn clear_links(&self) {
        // SAFETY: as in `inc_link`.
        unsafe { bindings::clear_nlink(self.as_raw()) };
        self.mark_dirty();
    }

    /// From now on the link count says that there are many. C: `set_nlink(inode, 1)`.
    pub(crate) fn stop_counting_links(&self) {
        // SAFETY: as in `inc_link`.
        unsafe { bindings::set_nlink(self.as_raw(), 1) };
        self.mark_dirty();
    }

    /// `i_blocks`, in units of 512 bytes.
    pub(crate) fn sectors(&self) -> u64 {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_i_blocks_read(self.as_raw()) }
    }

    /// Owner, as the disk has it.
    pub(crate) fn uid(&self) -> u32 {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_i_uid_read(self.as_raw()) }
    }

    /// Group, as the disk has it.
    pub(crate) fn gid(&self) -> u32 {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_i_gid_read(self.as_raw()) }
    }

    /// The change counter (`STATX_CHANGE_COOKIE`), for the disk. C: `inode_peek_iversion`.
    pub(crate) fn version(&self) -> u64 {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_inode_peek_iversion(self.as_raw()) }
    }

    /// Something has changed that VFS does not see: a directory's entries, the format's own flags. C: `inode_inc_iversion`.
    pub(crate) fn inc_version(&self) {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_inode_inc_iversion(self.as_raw()) };
    }

    /// Device number of a device node: major, minor.
    pub(crate) fn rdev(&self) -> (u32, u32) {
        // SAFETY: valid by invariant.
        unsafe {
            (
                bindings::notblk_imajor(self.as_raw()),
                bindings::notblk_iminor(self.as_raw()),
            )
        }
    }

    /// The three timestamps.
    pub(crate) fn times(&self) -> Times {
        let (mut a, mut m, mut c) = (0, 0, 0);
        let inode = self.as_raw();
        // SAFETY: valid by invariant; each call fills in the nanoseconds.
        unsafe {
            Times {
                atime: (bindings::notblk_inode_get_atime(inode, &mut a), a),
                mtime: (bindings::notblk_inode_get_mtime(inode, &mut m), m),
                ctime: (bindings::notblk_inode_get_ctime(inode, &mut c), c),
            }
        }
    }

    /// Sets ctime to now. C: `inode_set_ctime_current`.
    pub(crate) fn touch_ctime(&self) {
        // SAFETY: valid by invariant.
        unsafe { bindings::inode_set_ctime_current(self.as_raw()) };
    }

    /// Sets mtime and ctime to now.
    pub(crate) fn touch_mctime(&self) {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_inode_touch_mctime(self.as_raw()) };
    }

    /// The inode must be written. C: `mark_inode_dirty`.
    pub(crate) fn mark_dirty(&self) {
        // SAFETY: valid by invariant. CAST: flag bits.
        unsafe { bindings::__mark_inode_dirty(self.as_raw(), bindings::notblk_i_dirty()) };
    }

    /// Changes are waiting that `fdatasync` must write, in the inode or in its metadata buffers. C: as `ext4_inode_datasync_dirty`.
    pub(crate) fn is_datasync_dirty(&self) -> bool {
        // SAFETY: valid by invariant.
        unsafe {
            bindings::notblk_datasync_dirty(self.as_raw())
                || bindings::mmb_has_buffers(self.metadata_bhs())
                || self.sync_state().is_pending()
        }
    }

    /// `IS_SYNC`
    pub(crate) fn is_sync(&self) -> bool {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_is_sync(self.as_raw()) }
    }

    /// `IS_DIRSYNC`
    pub(crate) fn is_dirsync(&self) -> bool {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_is_dirsync(self.as_raw()) }
    }

    /// `IS_IMMUTABLE`
    pub(crate) fn is_immutable(&self) -> bool {
        self.has_flag(bindings::S_IMMUTABLE)
    }

    /// `IS_APPEND`
    pub(crate) fn is_append(&self) -> bool {
        self.has_flag(bindings::S_APPEND)
    }

    /// `IS_NOSEC`: a write need not look for security bits to drop.
    pub(crate) fn is_nosec(&self) -> bool {
        self.has_flag(bindings::S_NOSEC)
    }

    pub(super) fn has_flag(&self, flag: u32) -> bool {
        // SAFETY: valid by invariant. C reads `i_flags` without a lock too.
        unsafe { (&raw const (*self.as_raw()).i_flags).read_volatile() & flag != 0 }
    }

    /// Writes the metadata buffers of this inode and waits. C: `mmb_sync`.
    pub(super) fn sync_metadata_buffers(&self) -> Result {
        // SAFETY: by invariant.
        to_result(unsafe { bindings::mmb_sync(self.metadata_bhs()) })
    }
}

/// A counted reference to an inode, bound to its superblock.
///
/// # Invariants
///
/// Holds one of C's references.
pub(crate) struct InodeRef<'sb, T: FileSystem>(&'sb Inode<T>);

impl<'sb, T: FileSystem> InodeRef<'sb, T> {
    /// # Safety
    ///
    /// `inode` is a reference of the caller's own to an inode of our type, whose superblock stays for `'sb`.
    pub(super) unsafe fn from_raw(inode: *mut bindings::inode) -> Self {
        // SAFETY: by the contract.
        Self(unsafe { Inode::from_raw(inode) })
    }

    /// Gives the reference to C.
    pub(super) fn into_raw(self) -> *mut bindings::inode {
        ManuallyDrop::new(self).0.as_raw()
    }
}

impl<T: FileSystem> Deref for InodeRef<'_, T> {
    type Target = Inode<T>;

    fn deref(&self) -> &Inode<T> {
        self.0
    }
}

impl<T: FileSystem> Drop for InodeRef<'_, T> {
    fn drop(&mut self) {
        // SAFETY: the reference is ours.
        unsafe { bindings::iput(self.0.as_raw()) };
    }
}

/// An inode that nobody else can use yet: `I_NEW` is set, others wait for it. Dropping it fails it cleanly.
pub(crate) struct New<'sb, T: FileSystem> {
    inode: &'sb Inode<T>,
    /// Made by `new_inode`, and goes away with its number; otherwise by `iget_locked`.
    created: bool,
}

/// What `iget_locked` found.
pub(crate) enum Iget<'sb, T: FileSystem> {
    /// In the cache, complete.
    Cached(InodeRef<'sb, T>),
    /// To be filled from disk.
    New(New<'sb, T>),
}

impl<T: FileSystem> SuperBlock<T> {
    /// Looks an inode up in the cache, or begins one. C: `iget_locked`. Sleeps.
    pub(crate) fn iget_locked(&self, ino: u64) -> Result<Iget<'_, T>> {
        // SAFETY: the superblock is valid.
        let raw = unsafe { bindings::iget_locked(self.as_raw(), ino) };
        if raw.is_null() {
            return Err(ENOMEM);
        }
        // SAFETY: a counted inode of this superblock, which `'_` keeps mounted.
        let inode = unsafe { Inode::from_raw(raw) };
        // SAFETY: valid.
        Ok(if unsafe { bindings::notblk_inode_is_new(raw) } {
            Iget::New(New {
                inode,
                created: false,
            })
        } else {
            Iget::Cached(InodeRef(inode))
        })
    }

    /// Makes the inode object for a number that has just been allocated. C: `new_inode`, `insert_inode_locked`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EUCLEAN` where the number is in use already (a damaged bitmap).
    pub(crate) fn new_inode(&self, ino: u64) -> Result<New<'_, T>> {
        // SAFETY: the superblock is valid.
        let raw = unsafe { bindings::new_inode(self.as_raw()) };
        if raw.is_null() {
            return Err(ENOMEM);
        }
        // SAFETY: ours alone until it is inserted.
        unsafe { (*raw).i_ino = ino };
        // SAFETY: as above.
        if unsafe { bindings::insert_inode_locked(raw) } < 0 {
            // SAFETY: as above; a bad inode is dropped without asking the filesystem to delete it.
            unsafe {
                bindings::make_bad_inode(raw);
                bindings::iput(raw);
            }
            return Err(EUCLEAN);
        }
        // SAFETY: a counted inode of this superblock.
        let inode = unsafe { Inode::from_raw(raw) };
        Ok(New {
            inode,
            created: true,
        })
    }
}

impl<'sb, T: FileSystem> New<'sb, T> {
    /// Fills in what the disk says.
    pub(crate) fn load(&mut self, fields: &Fields) {
        let raw = self.inode.as_raw();
        // SAFETY: valid, and exclusively ours while `I_NEW` is set.
        unsafe {
            (*raw).i_mode = fields.mode;
            bindings::notblk_i_uid_write(raw, fields.uid);
            bindings::notblk_i_gid_write(raw, fields.gid);
            bindings::set_nlink(raw, fields.nlink);
            (*raw).i_size = to_loff(fields.size);
            (*raw).i_blocks = fields.sectors;
            (*raw).i_generation = fields.generation;
            (*raw).i_flags = fields.flags.0;
            bindings::notblk_inode_set_iversion_queried(raw, fields.version);
            let Times {
                atime,
                mtime,
                ctime,
            } = fields.times;
            // CAST: below a thousand million.
            bindings::notblk_inode_set_atime(raw, atime.0, atime.1 as c_long);
            bindings::notblk_inode_set_mtime(raw, mtime.0, mtime.1 as c_long);
            bindings::notblk_inode_set_ctime(raw, ctime.0, ctime.1 as c_long);
        }
    }

    /// Gives a created inode its owner, mode, timestamps and generation. C: `inode_init_owner`,
    /// `simple_inode_init_ts`.
    pub(crate) fn init(&mut self, parent: &Inode<T>, creation: &dir::Creation<'_>, flags: Flags) {
        let raw = self.inode.as_raw();
        // SAFETY: valid, and exclusively ours while `I_NEW` is set; parent and idmap are valid in the callback.
        unsafe {
            bindings::inode_init_owner(creation.idmap(), raw, parent.as_raw(), creation.mode());
            bindings::simple_inode_init_ts(raw);
            (*raw).i_generation = bindings::get_random_u32();
            (*raw).i_flags |= flags.0;
        }
    }

    /// After [`Self::init`]: the group is the directory's, and the mode what was asked for, set-group-id included. C: `GRPID` in
    /// `ext2_new_inode`.
    pub(crate) fn take_group(&mut self, parent: &Inode<T>, creation: &dir::Creation<'_>) {
        let raw = self.inode.as_raw();
        // SAFETY: valid, and exclusively ours while `I_NEW` is set; the parent is valid.
        unsafe {
            (*raw).i_mode = creation.mode();
            bindings::notblk_inode_take_group(raw, parent.as_raw());
        }
    }

    /// Sets `i_size` in bytes.
    pub(crate) fn set_size(&mut self, size: u64) {
        self.inode.set_size_raw(size);
    }

    /// Sets `i_nlink`.
    pub(crate) fn set_nlink(&mut self, nlink: u32) {
        // SAFETY: valid, and exclusively ours.
        unsafe { bindings::set_nlink(self.inode.as_raw(), nlink) };
    }

    /// Installs the operation tables.
    ///
    /// # Errors
    ///
    /// `ENOMEM` where a symlink's target cannot be copied.
    pub(crate) fn set_kind(&mut self, kind: &Kind<'_>) -> Result {
        let raw = self.inode.as_raw();
        // SAFETY: valid, and exclusively ours; the tables are constants.
        unsafe {
            match kind {
                Kind::Regular => {
                    (*raw).i_op = &file::Table::<T>::INODE_OPS;
                    (*raw).__bindgen_anon_3.i_fop = &file::Table::<T>::FILE_OPS;
                    (*(*raw).i_mapping).a_ops = &address_space::Table::<T>::OPS;
                    // Large folios; and where blocks are larger than pages, no folio is smaller than a block.
                    bindings::notblk_mapping_set_folio_orders(raw);
                }
                Kind::Directory => {
                    (*raw).i_op = &dir::Table::<T>::INODE_OPS;
                    (*raw).__bindgen_anon_3.i_fop = &dir::Table::<T>::FILE_OPS;
                }
                Kind::Symlink => (*raw).i_op = &file::Table::<T>::SYMLINK_OPS,
                Kind::FastSymlink(target) => {
                    let copy = bindings::kmemdup_nul(
                        target.as_ptr().cast(),
                        target.len(),
                        bindings::NOTBLK_GFP_KERNEL,
                    );
                    if copy.is_null() {
                        return Err(ENOMEM);
                    }
                    (*self.inode.slot()).link = copy;
                    (*raw).__bindgen_anon_5.i_link = copy;
                    (*raw).i_op = &file::Table::<T>::FAST_SYMLINK_OPS;
                }
                Kind::Special { major, minor } => {
                    (*raw).i_op = &file::Table::<T>::SPECIAL_OPS;
                    bindings::init_special_inode(
                        raw,
                        (*raw).i_mode,
                        bindings::notblk_mkdev(*major, *minor),
                    );
                }
            }
        }
        Ok(())
    }

    /// Of an inode that has been read: where `is_ahead` says that the disk may not have that yet, an earlier life of the inode in
    /// memory has left it in buffers, and the first `fsync` waits for them.
    pub(crate) fn read_from(&mut self, is_ahead: impl FnOnce(&SuperBlock<T>) -> bool) {
        if inode_sync::MAY_LEAVE_FIRST && is_ahead(self.inode.sb()) {
            self.inode.leave_buffers();
        }
    }

    /// The inode is complete: others may use it. C: `unlock_new_inode`.
    pub(crate) fn ready(self) -> InodeRef<'sb, T> {
        let new = ManuallyDrop::new(self);
        // SAFETY: valid, `I_NEW`; our reference goes into the result.
        unsafe { bindings::unlock_new_inode(new.inode.as_raw()) };
        InodeRef(new.inode)
    }

    /// Gives inode and reference to C with `I_NEW` still set (for `d_instantiate_new`).
    pub(super) fn into_raw(self) -> *mut bindings::inode {
        ManuallyDrop::new(self).inode.as_raw()
    }
}

impl<T: FileSystem> Deref for New<'_, T> {
    type Target = Inode<T>;

    fn deref(&self) -> &Inode<T> {
        self.inode
    }
}

impl<T: FileSystem> Drop for New<'_, T> {
    fn drop(&mut self) {
        let raw = self.inode.as_raw();
        // SAFETY: `I_NEW`, and the reference is ours. A created inode without links is deleted by its last iput, which
        // frees its number and blocks.
        unsafe {
            if self.created {
                bindings::clear_nlink(raw);
                bindings::discard_new_inode(raw);
            } else {
                bindings::iget_failed(raw);
            }
        }
    }
}

/// Runs an initialiser.
///
/// # Safety
///
/// `place` is valid for writes of a `D`, which is never moved from there; after an error there is none.
unsafe fn init_in_place<D>(place: *mut D, init: impl PinInit<D, Error>) -> Result {
    #[cfg(notblk_has_raw_try_init)]
    // SAFETY: by the contract.
    return unsafe { pin_init::raw_try_init(place, init) };
    #[cfg(not(notblk_has_raw_try_init))]
    // SAFETY: by the contract.
    return unsafe { init.__pinned_init(place) };
}

impl<T: FileSystem> Slot<T> {
    /// # Safety
    ///
    /// Called by the slab allocator as the constructor of a `Slot<T>` cache.
    pub(super) unsafe extern "C" fn init_once(object: *mut c_void) {
        let slot: *mut Self = object.cast();
        // SAFETY: `object` is a slot; `inode_init_once` initialises the inode in place.
        unsafe { bindings::inode_init_once((&raw mut (*slot).inode).cast()) };
    }

    /// # Safety
    ///
    /// Called by C as `alloc_inode` for a superblock in state `Ready`.
    pub(super) unsafe extern "C" fn alloc_inode(
        sb: *mut bindings::super_block,
    ) -> *mut bindings::inode {
        // SAFETY: by the contract.
        let cache = unsafe { SuperBlock::<T>::from_raw(sb) }.inode_cache();
        // SAFETY: a live cache of slots.
        let slot: *mut Self = unsafe { bindings::notblk_alloc_inode_sb(sb, cache) }.cast();
        if slot.is_null() {
            return ptr::null_mut();
        }
        // SAFETY: a fresh slot, ours alone; the place is valid for the data and is never moved.
        unsafe {
            let inode: *mut bindings::inode = (&raw mut (*slot).inode).cast();
            let data: *mut T::InodeData = (*slot).data.as_mut_ptr();
            if init_in_place(data, T::new_inode_data()).is_err() {
                bindings::kmem_cache_free(cache, slot.cast());
                return ptr::null_mut();
            }
            if init_in_place(&raw mut (*slot).sync, inode_sync::State::new()).is_err() {
                (*slot).data.assume_init_drop();
                bindings::kmem_cache_free(cache, slot.cast());
                return ptr::null_mut();
            }
            (&raw mut (*slot).cache).write(cache);
            (&raw mut (*slot).link).write(ptr::null_mut());
            (&raw mut (*slot).dquots).write(quota::Dquots::new([ptr::null_mut(); _]));
            bindings::mmb_init((*slot).mmb.get(), &raw mut (*inode).i_data);
            bindings::notblk_inode_set_iversion(inode, 1);
            inode
        }
    }

    /// # Safety
    ///
    /// Called by C by RCU callback when nobody can reach the inode any more. The superblock may be gone.
    pub(super) unsafe extern "C" fn free_inode(inode: *mut bindings::inode) {
        // SAFETY: by the contract; the slot is ours alone again.
        unsafe {
            let slot: *mut Self = inode.byte_sub(offset_of!(Self, inode)).cast();
            // NULL will do.
            bindings::kfree((*slot).link.cast());
            (*slot).data.assume_init_drop();
            (&raw mut (*slot).sync).drop_in_place();
            bindings::kmem_cache_free((*slot).cache, slot.cast());
        }
    }

    /// # Safety
    ///
    /// Called by C as `evict_inode`: no user is left, `I_FREEING` is set.
    pub(super) unsafe extern "C" fn evict_inode(raw: *mut bindings::inode) {
        // SAFETY: by the contract.
        let inode = unsafe { Inode::<T>::from_raw(raw) };
        // SAFETY: valid.
        let is_bad = unsafe { bindings::is_bad_inode(raw) };
        // One that is read-only (made so by force) keeps it on the orphan list, for the next mount.
        let delete = inode.nlink() == 0
            && !is_bad
            && !inode.sb().is_read_only()
            && T::emergency_state(inode.sb()).is_ok();
        // SAFETY: what C asks of every evict_inode.
        unsafe { bindings::truncate_inode_pages_final(&raw mut (*raw).i_data) };
        let freeze = delete.then(|| IntWrite::start(inode.sb()));
        let mut gone = false;
        if delete {
            if let Err(e) = inode.quota_initialize() {
                // As C: what it has stays charged, and e2fsck finds it.
                pr_err!(
                    "({}): inode {}: deleted without its quotas: {e:?}\n",
                    inode.sb().id(),
                    inode.ino()
                );
            }
            gone = T::delete_inode(inode);
            if gone {
                inode.quota_release_inode();
            }
        } else if let Err(e) = inode.sync_metadata_buffers() {
            pr_err!(
                "({}): inode {}: metadata lost at eviction: {e:?}\n",
                inode.sb().id(),
                inode.ino()
            );
        }
        T::forget_inode(inode);
        inode.quota_drop();
        // SAFETY: as above. After this no buffer refers to the inode.
        unsafe {
            bindings::mmb_invalidate(inode.metadata_bhs());
            bindings::clear_inode(raw);
        }
        if gone {
            T::free_ino(inode.sb(), inode.ino(), inode.is_dir());
        }
        drop(freeze);
    }
}
