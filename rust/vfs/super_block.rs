// SPDX-License-Identifier: GPL-2.0

//! `struct super_block` and its operations.
//!
//! C: `include/linux/fs/super_types.h`, `fs/super.c`; `fs/ext2/super.c` for the use.

use super::{
    buffer_head::Buffer, export, inode, inode_sync, quota, registration::Registration, xattr,
    FileSystem, Inode, InodeRef,
};
use crate::sys::bindings;
use core::{marker::PhantomData, ptr};
use kernel::{error::from_result, fmt, prelude::*, seq_file::SeqFile, types::Opaque};

/// State of a superblock that is being filled: no inode exists, `s_fs_info` is not set.
pub(crate) struct New;
/// State of a superblock whose `s_fs_info` is set.
pub(crate) struct Ready;

/// `struct super_block` of a filesystem of type `T`.
///
/// # Invariants
///
/// The C object is valid, of our type, and stays so for the lifetime of the reference. For `S = Ready`, `s_fs_info`
/// points to a `T::SuperData`.
#[repr(transparent)]
pub(crate) struct SuperBlock<T: FileSystem, S = Ready>(
    Opaque<bindings::super_block>,
    PhantomData<(T, S)>,
);

// SAFETY: C's locking rules hold for every operation below; the data of `T` is `Send + Sync`.
unsafe impl<T: FileSystem, S> Sync for SuperBlock<T, S> {}

/// `statfs(2)`, in blocks of the filesystem. C: `struct kstatfs`.
pub(crate) struct StatFs {
    /// `f_type`
    pub(crate) magic: u64,
    /// `f_bsize`, bytes
    pub(crate) block_size: u32,
    /// `f_blocks`
    pub(crate) blocks: u64,
    /// `f_bfree`
    pub(crate) blocks_free: u64,
    /// `f_bavail`: without what is reserved for root
    pub(crate) blocks_available: u64,
    /// `f_files`
    pub(crate) inodes: u64,
    /// `f_ffree`
    pub(crate) inodes_free: u64,
    /// `f_namelen`
    pub(crate) name_max: u32,
    /// `f_fsid`
    pub(crate) fsid: [i32; 2],
}

/// What becomes `struct super_operations` (and `fs_context`'s part in them).
pub(crate) trait Operations: Sized {
    /// The options of a mounted filesystem, to start a remount from.
    fn options(sb: &SuperBlock<Self>) -> <Self as FileSystem>::Options
    where
        Self: FileSystem;

    /// Takes one mount option into `options`; `Ok(false)` for one that is not the filesystem's.
    fn parse_option(
        options: &mut <Self as FileSystem>::Options,
        key: &[u8],
        value: super::fs_context::Value<'_>,
        log: &super::fs_context::Log,
    ) -> Result<bool>
    where
        Self: FileSystem;

    /// Reads the superblock from disk and sets up everything that inodes need. C: `fill_super`.
    fn fill_super(
        sb: &mut SuperBlock<Self, New>,
        options: <Self as FileSystem>::Options,
    ) -> Result<Pin<KBox<<Self as FileSystem>::SuperData>>>
    where
        Self: FileSystem;

    /// The root directory, after [`Operations::fill_super`].
    fn root(sb: &SuperBlock<Self>) -> Result<InodeRef<'_, Self>>
    where
        Self: FileSystem;

    /// The last step of a mount, which from here on ends with [`Operations::put_super`], whether this fails or not: what is
    /// to be undone at unmount is done here.
    fn begin(sb: &SuperBlock<Self>) -> Result
    where
        Self: FileSystem;

    /// The filesystem is writable, by mount or remount, and quotas count: what a crash has left is dealt with. C:
    /// `ext4_orphan_cleanup`.
    fn recover(sb: &SuperBlock<Self>)
    where
        Self: FileSystem;

    /// Puts options in place, for a filesystem that is mounted: those of a remount that is about to succeed, or those that were
    /// there before one that failed. `s_umount` is held exclusively.
    fn set_options(sb: &SuperBlock<Self>, options: &<Self as FileSystem>::Options)
    where
        Self: FileSystem;

    /// Remount, up to [`Self::set_options`]. Everything dirty has been written; `s_umount` is held exclusively. C:
    /// `reconfigure`.
    fn reconfigure(
        sb: &SuperBlock<Self>,
        options: &<Self as FileSystem>::Options,
        read_only: bool,
    ) -> Result
    where
        Self: FileSystem;

    /// Last words at unmount: all inodes are gone. C: `put_super`.
    fn put_super(sb: &SuperBlock<Self>)
    where
        Self: FileSystem;

    /// Writes what inodes do not cover (the superblock itself); waits for it if `wait`. C: `sync_fs`.
    fn sync_fs(sb: &SuperBlock<Self>, wait: bool) -> Result
    where
        Self: FileSystem;

    /// The last step of freezing: nobody writes, everything dirty has been written, `s_umount` is held exclusively. C:
    /// `freeze_fs`.
    fn freeze(_sb: &SuperBlock<Self>) -> Result
    where
        Self: FileSystem,
    {
        Ok(())
    }

    /// The first step of thawing. C: `unfreeze_fs`.
    fn unfreeze(_sb: &SuperBlock<Self>) -> Result
    where
        Self: FileSystem,
    {
        Ok(())
    }

    /// Whether the filesystem may still be written to, beside what its mount says. Asked before a change of attributes,
    /// write-back, and `fsync`; the filesystem asks itself elsewhere. C: `ext4_emergency_state`.
    ///
    /// # Errors
    ///
    /// `EROFS` from the damage on that ended all writing.
    fn emergency_state(_sb: &SuperBlock<Self>) -> Result
    where
        Self: FileSystem,
    {
        Ok(())
    }

    /// The filesystem as it is seen from one of its inodes. C: `statfs`.
    fn statfs(inode: &Inode<Self>) -> Result<StatFs>
    where
        Self: FileSystem;

    /// The filesystem's own options in `/proc/mounts`, each with a comma before it. C: `show_options`.
    fn show_options(sb: &SuperBlock<Self>, m: &SeqFile)
    where
        Self: FileSystem;

    /// Copies an inode's fields to its place in the inode table. C: `write_inode`.
    fn write_inode(inode: &Inode<Self>) -> Result
    where
        Self: FileSystem;

    /// The buffer that [`Operations::write_inode`] writes to, for `fsync` to wait on. C: `sync_inode_metadata`.
    fn inode_buffer(inode: &Inode<Self>) -> Result<Buffer<'_>>
    where
        Self: FileSystem;

    /// A buffer that the inode needs and shares with others, if it is in memory: it is on no inode's list of metadata buffers, so
    /// that `fsync` has to look for it.
    fn shared_buffer(_inode: &Inode<Self>) -> Option<Buffer<'_>>
    where
        Self: FileSystem,
    {
        None
    }

    /// What must be on disk, beside the inode's own, before the inode counts as synced. May sleep; `I_SYNC` may be held.
    ///
    /// # Errors
    ///
    /// `EIO`.
    fn before_sync(_inode: &Inode<Self>) -> Result
    where
        Self: FileSystem,
    {
        Ok(())
    }

    /// Whether a name was made for this inode that nobody has seen to the disk: then a mark of it, for
    /// [`Operations::has_name_on_disk`]. C: `EXT4_STATE_NEWENTRY`.
    fn new_name(_inode: &Inode<Self>) -> Option<u32>
    where
        Self: FileSystem,
    {
        None
    }

    /// The name of that mark, and all before, have been seen to the disk.
    fn has_name_on_disk(_inode: &Inode<Self>, _mark: u32)
    where
        Self: FileSystem,
    {
    }

    /// Frees the blocks of an inode that has lost its last link and its last user, and records the deletion. Answers whether
    /// its number is to be freed too. C: the first half of `evict_inode`.
    fn delete_inode(inode: &Inode<Self>) -> bool
    where
        Self: FileSystem;

    /// The kernel forgets an inode, deleted or not: what is kept in memory for it goes. From memory reclaim too, so that it
    /// waits for no lock that is held over an allocation which may reclaim. C: the rest of `evict_inode`.
    fn forget_inode(inode: &Inode<Self>)
    where
        Self: FileSystem;

    /// Frees the number of such an inode, after the kernel has forgotten it. C: `ext2_free_inode`.
    fn free_ino(sb: &SuperBlock<Self>, ino: u64, was_dir: bool)
    where
        Self: FileSystem;
}

impl<T: FileSystem, S> SuperBlock<T, S> {
    /// # Safety
    ///
    /// `sb` is a valid superblock of our type in state `S` for all of `'a`.
    pub(super) unsafe fn from_raw<'a>(sb: *mut bindings::super_block) -> &'a Self {
        // SAFETY: by the contract; the type is transparent over the C object.
        unsafe { &*sb.cast() }
    }

    pub(super) fn as_raw(&self) -> *mut bindings::super_block {
        self.0.get()
    }

    /// Name of the device, as log lines give it (`s_id`).
    pub(crate) fn id(&self) -> Id {
        // SAFETY: valid by invariant; `s_id` is written before the filesystem sees the superblock, and copied here.
        Id(unsafe { (*self.as_raw()).s_id })
    }

    /// The name under which it is being mounted: notblk, or an alias.
    pub(crate) fn type_name(&self) -> &CStr {
        // SAFETY: valid by invariant; the type is registered, with a name that the module owns, for as long as it has superblocks.
        unsafe { CStr::from_char_ptr((*(*self.as_raw()).s_type).name) }
    }

    /// Tells whoever watches the filesystem (`FAN_FS_ERROR` of fanotify) of damage to an inode, by its number, or to no inode in
    /// particular (0). Does not sleep, and takes no lock of ours; what cannot be told is lost. C: `fserror_report_file_metadata`,
    /// `fserror_report_metadata`.
    pub(crate) fn report_metadata_error(&self, ino: u64, error: Error) {
        // SAFETY: valid by invariant; our inodes are freed behind RCU's grace period, as the search for one wants it.
        unsafe {
            bindings::notblk_report_metadata_error(self.as_raw(), ino, error.to_errno());
        }
    }

    /// The device's number (`s_dev`).
    pub(crate) fn dev(&self) -> u32 {
        // SAFETY: valid by invariant; set before the filesystem sees the superblock.
        unsafe { (*self.as_raw()).s_dev }
    }

    /// log2 of the block size (`s_blocksize_bits`): 9 to 16.
    fn block_bits(&self) -> u32 {
        // SAFETY: valid by invariant; changes only in `set_blocksize`, which has the superblock exclusively.
        u32::from(unsafe { (*self.as_raw()).s_blocksize_bits })
    }

    /// Block size in bytes (`s_blocksize`).
    pub(crate) fn block_bytes(&self) -> u64 {
        1u64.wrapping_shl(self.block_bits())
    }

    /// The block that a byte of a file lies in.
    pub(crate) fn block_of(&self, byte: u64) -> u64 {
        byte.wrapping_shr(self.block_bits())
    }

    /// Where in its block a byte of a file lies.
    pub(crate) fn offset_in_block(&self, byte: u64) -> u64 {
        byte & self.block_bytes().wrapping_sub(1)
    }

    /// The first byte of a block of a file (or of the device). Block numbers have 32 bits, so nothing is lost.
    pub(crate) fn bytes_of(&self, blocks: u32) -> u64 {
        u64::from(blocks).wrapping_shl(self.block_bits())
    }

    /// A position rounded up to whole blocks.
    pub(crate) fn round_up(&self, byte: u64) -> u64 {
        match self.offset_in_block(byte) {
            0 => byte,
            off => byte.saturating_add(self.block_bytes().wrapping_sub(off)),
        }
    }

    /// Size of the block device in bytes.
    pub(crate) fn device_bytes(&self) -> u64 {
        // SAFETY: valid by invariant, and `s_bdev` is open as long as the superblock is.
        unsafe { bindings::notblk_bdev_nr_bytes(self.as_raw()) }
    }

    /// `sb_rdonly`.
    pub(crate) fn is_read_only(&self) -> bool {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_sb_rdonly(self.as_raw()) }
    }

    /// Sets or clears `SB_RDONLY`.
    pub(super) fn set_read_only(&self, read_only: bool) {
        // SAFETY: valid by invariant; C changes `s_flags` without a lock of its own too.
        unsafe {
            let flags = &raw mut (*self.as_raw()).s_flags;
            let rest = flags.read_volatile() & !bindings::NOTBLK_SB_RDONLY;
            flags.write_volatile(if read_only {
                rest | bindings::NOTBLK_SB_RDONLY
            } else {
                rest
            });
        }
    }

    /// Whether the device itself refuses to be written to. C: `bdev_read_only`.
    pub(crate) fn device_read_only(&self) -> bool {
        // SAFETY: valid by invariant, and `s_bdev` is open as long as the superblock is.
        unsafe { bindings::notblk_bdev_read_only(self.as_raw()) }
    }

    /// Has the device put what it was given where it stays when the power goes. C: `blkdev_issue_flush`. Sleeps.
    ///
    /// # Errors
    ///
    /// `EIO`, `ENOMEM`.
    pub(crate) fn flush_device(&self) -> Result {
        // SAFETY: valid by invariant, and the device is open as long as the superblock is.
        super::to_result(unsafe { bindings::blkdev_issue_flush((*self.as_raw()).s_bdev) })
    }

    /// Writes everything dirty in the device's page cache and waits. C: `sync_blockdev`.
    pub(crate) fn sync_device(&self) -> Result {
        // SAFETY: valid by invariant, and `s_bdev` is open as long as the superblock is.
        super::to_result(unsafe { bindings::sync_blockdev((*self.as_raw()).s_bdev) })
    }

    /// Inodes have lost their last link and still have users. C: `s_remove_count`.
    pub(crate) fn has_unlinked_inodes(&self) -> bool {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_sb_has_removed(self.as_raw()) }
    }

    /// Units of 512 bytes written to the device since it is there, by whomever. C: `part_stat_read`.
    pub(crate) fn sectors_written(&self) -> u64 {
        // SAFETY: as above.
        unsafe { bindings::notblk_bdev_sectors_written(self.as_raw()) }
    }

    /// Reads a block through the buffer cache. C: `sb_bread`. Sleeps.
    ///
    /// # Errors
    ///
    /// `EIO` where the device fails, or has no such block.
    pub(crate) fn bread(&self, block: u32) -> Result<Buffer<'_>> {
        let buffer = self.unread(block)?;
        buffer.read()?;
        Ok(buffer)
    }

    /// A block's buffer, whatever is in it.
    fn unread(&self, block: u32) -> Result<Buffer<'_>> {
        // SAFETY: valid by invariant.
        let bh = unsafe { bindings::notblk_sb_getblk(self.as_raw(), u64::from(block)) };
        // NULL is a block behind the end of the device: for memory C waits.
        let bh = ptr::NonNull::new(bh).ok_or(EIO)?;
        // SAFETY: a reference of our own to a buffer of this device.
        Ok(unsafe { Buffer::from_raw(bh) })
    }

    /// As [`Self::bread`], of a block of which the caller tells by itself that a write of it failed: the buffer's own mark of that
    /// goes.
    pub(crate) fn bread_keeping(&self, block: u32) -> Result<Buffer<'_>> {
        let buffer = self.unread(block)?;
        if !buffer.is_uptodate() {
            buffer.keep_after_error();
        }
        buffer.read()?;
        Ok(buffer)
    }

    /// The block if it is in memory, for who must not sleep: never reads, and misses one whose page is being moved. C:
    /// `sb_find_get_block`.
    pub(crate) fn bread_nowait(&self, block: u32) -> Option<Buffer<'_>> {
        // SAFETY: valid by invariant.
        let bh = ptr::NonNull::new(unsafe {
            bindings::notblk_sb_find_get_block(self.as_raw(), u64::from(block))
        })?;
        // SAFETY: a reference of our own to a buffer of this device.
        let buffer = unsafe { Buffer::from_raw(bh) };
        buffer.has_contents().then_some(buffer)
    }

    /// The block's buffer if there is one, whatever is in it: for who wants to write, wait for or forget it. Never reads. Sleeps, for
    /// a page's lock. C: `sb_find_get_block_nonatomic`.
    pub(crate) fn find_buffer(&self, block: u32) -> Option<Buffer<'_>> {
        // SAFETY: valid by invariant.
        let bh = ptr::NonNull::new(unsafe {
            bindings::notblk_sb_find_get_block_nonatomic(self.as_raw(), u64::from(block))
        })?;
        // SAFETY: a reference of our own to a buffer of this device.
        Some(unsafe { Buffer::from_raw(bh) })
    }
}

impl<T: FileSystem> SuperBlock<T, New> {
    /// Sets a block size of at least `bytes` that the device can do, and answers it. C: `sb_min_blocksize`.
    ///
    /// # Errors
    ///
    /// `EINVAL`.
    pub(crate) fn set_min_blocksize(&mut self, bytes: u16) -> Result<u64> {
        // SAFETY: valid by invariant, not yet in use.
        match unsafe { bindings::sb_min_blocksize(self.as_raw(), c_int::from(bytes)) } {
            size if size > 0 => Ok(u64::from(size.unsigned_abs())),
            _ => Err(EINVAL),
        }
    }

    /// Mounts it read-only, whatever was asked for.
    pub(crate) fn force_read_only(&mut self) {
        self.set_read_only(true);
    }

    /// What the registration of this filesystem type carries.
    pub(crate) fn type_data(&self) -> &T::TypeData {
        // SAFETY: `s_type` is one of our registrations, and outlives its superblocks.
        unsafe { Registration::<T>::data_of((*self.as_raw()).s_type) }
    }

    /// Sets the block size of superblock and device. C: `sb_set_blocksize`.
    ///
    /// Exclusive, so that no [`Buffer`] of the old size is held.
    ///
    /// # Errors
    ///
    /// `EINVAL` where the device cannot do I/O of this size.
    pub(crate) fn set_blocksize(&mut self, bytes: u32) -> Result {
        let bytes = i32::try_from(bytes).map_err(|_| EINVAL)?;
        // SAFETY: valid by invariant, not yet in use.
        if unsafe { bindings::sb_set_blocksize(self.as_raw(), bytes) } == 0 {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Sets what VFS needs to know: `s_maxbytes`, `s_magic`, `s_max_links`, `s_time_gran` (ns) and the range of
    /// timestamps that the format holds (seconds since 1970).
    pub(crate) fn set_limits(
        &mut self,
        max_bytes: u64,
        magic: u32,
        max_links: u32,
        time_gran: u32,
        (time_min, time_max): (i64, i64),
    ) {
        let sb = self.as_raw();
        // SAFETY: valid by invariant, and exclusively ours.
        unsafe {
            (*sb).s_maxbytes = super::to_loff(max_bytes);
            (*sb).s_magic = magic as usize;
            (*sb).s_max_links = max_links;
            (*sb).s_time_gran = time_gran;
            (*sb).s_time_min = time_min;
            (*sb).s_time_max = time_max;
        }
    }

    /// Names the filesystem below `/sys/fs` by its device, for `FS_IOC_GETFSSYSFSPATH`. C: `super_set_sysfs_name_bdev`.
    pub(crate) fn set_sysfs_name(&mut self) {
        // SAFETY: valid by invariant, and exclusively ours.
        unsafe { bindings::notblk_super_set_sysfs_name_bdev(self.as_raw()) };
    }

    /// Sets `s_uuid`.
    pub(crate) fn set_uuid(&mut self, uuid: [u8; 16]) {
        let sb = self.as_raw();
        // SAFETY: valid by invariant, and exclusively ours.
        unsafe {
            (*sb).s_uuid.b = uuid;
            (*sb).s_uuid_len = 16;
        }
    }
}

impl<T: FileSystem> SuperBlock<T> {
    /// The filesystem's own data (`s_fs_info`).
    pub(crate) fn data(&self) -> &T::SuperData {
        // SAFETY: by the invariant of `Ready`; freed only after `kill_block_super`.
        unsafe { &*(*self.as_raw()).s_fs_info.cast() }
    }

    /// The inode cache of this superblock's filesystem type.
    pub(super) fn inode_cache(&self) -> *mut bindings::kmem_cache {
        // SAFETY: `s_type` is one of our registrations.
        unsafe { Registration::<T>::cache_of((*self.as_raw()).s_type) }
    }
}

/// `s_id`.
pub(crate) struct Id([c_char; 32]);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &c in self.0.iter().take_while(|&&c| c != 0) {
            fmt::Write::write_char(f, char::from(c))?;
        }
        Ok(())
    }
}

impl Id {
    /// As a C string (`s_id` is always terminated).
    pub(crate) fn as_c_str(&self) -> &CStr {
        // SAFETY: C fills `s_id` with a terminated string.
        unsafe { CStr::from_char_ptr(self.0.as_ptr()) }
    }
}

/// The functions of `struct super_operations` for `T`.
pub(super) struct Table<T>(PhantomData<T>);

impl<T: FileSystem> Table<T> {
    const OPS: bindings::super_operations = {
        // SAFETY: all fields are optional function pointers, for which zero is `None`.
        let mut ops: bindings::super_operations = unsafe { core::mem::zeroed() };
        ops.alloc_inode = Some(inode::Slot::<T>::alloc_inode);
        ops.free_inode = Some(inode::Slot::<T>::free_inode);
        inode_sync::Table::<T>::add_to(&mut ops);
        quota::Table::<T>::add_to(&mut ops);
        ops.evict_inode = Some(inode::Slot::<T>::evict_inode);
        ops.put_super = Some(Self::put_super);
        ops.sync_fs = Some(Self::sync_fs);
        ops.freeze_super = Some(Self::freeze_super);
        ops.freeze_fs = Some(Self::freeze_fs);
        ops.umount_begin = Some(Self::umount_begin);
        ops.unfreeze_fs = Some(Self::unfreeze_fs);
        ops.statfs = Some(Self::statfs);
        ops.shutdown = Some(super::shutdown::Table::<T>::shutdown);
        ops.show_options = Some(Self::show_options);
        ops
    };

    /// Fills a new superblock and makes its root dentry.
    ///
    /// # Safety
    ///
    /// `sb` is a new superblock of our type that nobody else uses (C's contract for `fill_super`).
    pub(super) unsafe fn fill_super(sb: *mut bindings::super_block, options: T::Options) -> Result {
        // SAFETY: by the contract.
        let data = T::fill_super(unsafe { &mut *sb.cast::<SuperBlock<T, New>>() }, options)?;
        // SAFETY: exclusively ours. The data never moves again: it comes back in `kill_sb` only to be dropped. From here
        // on the superblock is `Ready`.
        let ready = unsafe {
            (*sb).s_fs_info = KBox::into_raw(Pin::into_inner_unchecked(data)).cast();
            (*sb).s_op = &Self::OPS;
            (*sb).s_export_op = &export::Table::<T>::OPS;
            (*sb).s_xattr = xattr::Table::<T>::S_XATTR;
            // ACLs are always on; with them, a new inode's umask is ours to apply (`inherit_acls`).
            (*sb).s_flags |= bindings::NOTBLK_SB_POSIXACL;
            // iomap tells the page's cgroup of what it writes back.
            (*sb).s_iflags |= bindings::NOTBLK_SB_I_CGROUPWB as c_ulong;
            // Whoever fills files on demand (`FAN_PRE_ACCESS`) is asked by VFS, in all paths that ours go through.
            (*sb).s_iflags |= bindings::NOTBLK_SB_I_ALLOW_HSM as c_ulong;
            quota::Table::<T>::set_up(sb);
            SuperBlock::<T>::from_raw(sb)
        };
        let root = T::root(ready)?;
        // SAFETY: `d_make_root` takes the reference over, and drops it when it fails.
        let dentry = unsafe { bindings::d_make_root(root.into_raw()) };
        if dentry.is_null() {
            return Err(ENOMEM);
        }
        // SAFETY: exclusively ours until the mount is complete.
        unsafe { (*sb).s_root = dentry };
        // Not before: without a root C does not call put_super.
        T::begin(ready)?;
        // SAFETY: exclusively ours until the mount is complete; C takes away what it makes, with the root.
        super::to_result(unsafe { bindings::notblk_writeback_prepare(sb) })?;
        if !ready.is_read_only() {
            quota::Table::turn_on(ready)?;
            T::recover(ready);
        }
        Ok(())
    }

    /// # Safety
    ///
    /// Called by C as `kill_sb` of our filesystem type.
    pub(super) unsafe extern "C" fn kill_sb(sb: *mut bindings::super_block) {
        // SAFETY: valid until `kill_block_super` returns its last reference; ours to read.
        let data: *mut T::SuperData = unsafe { (*sb).s_fs_info.cast() };
        // SAFETY: C's contract. Evicts all inodes, calls put_super, closes the device.
        unsafe { bindings::kill_block_super(sb) };
        if !data.is_null() {
            // SAFETY: made by `KBox::into_raw` in `fill_super`; no inode is left that could ask for it.
            drop(unsafe { KBox::from_raw(data) });
        }
    }

    /// # Safety
    ///
    /// Called by C for a superblock in state `Ready`.
    unsafe extern "C" fn put_super(sb: *mut bindings::super_block) {
        // SAFETY: by the contract.
        let sb = unsafe { SuperBlock::<T>::from_raw(sb) };
        sb.quotas_off();
        T::put_super(sb);
    }

    /// # Safety
    ///
    /// As `put_super`.
    unsafe extern "C" fn sync_fs(sb: *mut bindings::super_block, wait: c_int) -> c_int {
        // SAFETY: by the contract.
        let sb = unsafe { SuperBlock::<T>::from_raw(sb) };
        from_result(|| {
            T::emergency_state(sb)?;
            if !sb.is_read_only() {
                // What fails has been told by the library, and keeps nothing else from the disk. As ext4.
                let _ = sb.quotas_write();
            }
            T::sync_fs(sb, wait != 0).map(|()| 0)
        })
    }

    /// Freezing waits for writers, which hold points may keep.
    ///
    /// # Safety
    ///
    /// C's contract for `freeze_super`, for a superblock in state `Ready`.
    unsafe extern "C" fn freeze_super(
        sb: *mut bindings::super_block,
        who: bindings::freeze_holder,
        owner: *const c_void,
    ) -> c_int {
        // SAFETY: by the contract.
        if let Some(gate) = T::gate(unsafe { SuperBlock::<T>::from_raw(sb) }) {
            gate.open_for("freezing");
        }
        // SAFETY: by the contract.
        unsafe { bindings::freeze_super(sb, who, owner) }
    }

    /// With `MNT_FORCE`, before VFS looks whether the mount is busy.
    ///
    /// # Safety
    ///
    /// As `put_super`.
    unsafe extern "C" fn umount_begin(sb: *mut bindings::super_block) {
        // SAFETY: by the contract.
        if let Some(gate) = T::gate(unsafe { SuperBlock::<T>::from_raw(sb) }) {
            gate.open_for("unmounting");
        }
    }

    /// # Safety
    ///
    /// As `put_super`.
    unsafe extern "C" fn freeze_fs(sb: *mut bindings::super_block) -> c_int {
        // SAFETY: by the contract.
        let sb = unsafe { SuperBlock::<T>::from_raw(sb) };
        from_result(|| {
            if !sb.is_read_only() && T::emergency_state(sb).is_ok() {
                // Evictions since the last sync have given back what the files do not say yet.
                sb.quotas_write()?;
            }
            T::freeze(sb).map(|()| 0)
        })
    }

    /// # Safety
    ///
    /// As `put_super`.
    unsafe extern "C" fn unfreeze_fs(sb: *mut bindings::super_block) -> c_int {
        // SAFETY: by the contract.
        let sb = unsafe { SuperBlock::<T>::from_raw(sb) };
        from_result(|| T::unfreeze(sb).map(|()| 0))
    }

    /// # Safety
    ///
    /// Called by C with a dentry of a mounted filesystem of ours, which has an inode, and a `kstatfs` to fill.
    unsafe extern "C" fn statfs(
        dentry: *mut bindings::dentry,
        buf: *mut bindings::kstatfs,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract.
            let inode = unsafe { Inode::<T>::from_raw(bindings::notblk_d_inode(dentry)) };
            let st = T::statfs(inode)?;
            // SAFETY: by the contract, exclusively ours.
            let buf = unsafe { &mut *buf };
            // CAST: magic numbers and block sizes are small.
            buf.f_type = st.magic as c_long;
            buf.f_bsize = st.block_size as c_long;
            buf.f_blocks = st.blocks;
            buf.f_bfree = st.blocks_free;
            buf.f_bavail = st.blocks_available;
            buf.f_files = st.inodes;
            buf.f_ffree = st.inodes_free;
            buf.f_namelen = st.name_max as c_long;
            buf.f_fsid.val = st.fsid;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by C with a seq_file of the calling task and a dentry of ours.
    unsafe extern "C" fn show_options(
        m: *mut bindings::seq_file,
        root: *mut bindings::dentry,
    ) -> c_int {
        // SAFETY: by the contract. The kernel crate's type is made from the same C struct as ours.
        let (sb, m) = unsafe {
            (
                SuperBlock::<T>::from_raw((*root).d_sb),
                SeqFile::from_raw(m.cast()),
            )
        };
        T::show_options(sb, m);
        0
    }
}

/// Blocks freezing while metadata changes outside a system call that writes (eviction). C: `sb_start_intwrite`.
pub(crate) struct IntWrite<'sb>(*mut bindings::super_block, PhantomData<&'sb ()>);

impl<'sb> IntWrite<'sb> {
    pub(super) fn start<T: FileSystem>(sb: &'sb SuperBlock<T>) -> Self {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_sb_start_intwrite(sb.as_raw()) };
        Self(sb.as_raw(), PhantomData)
    }

    /// `None` where the filesystem is frozen, or about to be. C: `sb_start_intwrite_trylock`.
    pub(crate) fn try_start<T: FileSystem>(sb: &'sb SuperBlock<T>) -> Option<Self> {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_sb_start_intwrite_trylock(sb.as_raw()) }
            .then(|| Self(sb.as_raw(), PhantomData))
    }
}

impl Drop for IntWrite<'_> {
    fn drop(&mut self) {
        // SAFETY: started when this was made; the superblock outlives it.
        unsafe { bindings::notblk_sb_end_intwrite(self.0) };
    }
}

/// Whether the calling task may use the reserved blocks: those of user `uid` may, members of group `gid` unless it is 0, and
/// who has `CAP_SYS_RESOURCE`. C: `ext4_has_free_clusters`.
pub(crate) fn may_use_reserved(uid: u32, gid: u32) -> bool {
    // SAFETY: always.
    let owns =
        unsafe { bindings::notblk_fsuid_is(uid) || (gid != 0 && bindings::notblk_in_group(gid)) };
    owns || capable_resource()
}

/// C: `capable(CAP_SYS_RESOURCE)`.
pub(crate) fn capable_resource() -> bool {
    // SAFETY: always.
    unsafe { bindings::notblk_capable_resource() }
}

/// Stops the machine, as `errors=panic` asks. C: `panic`.
pub(crate) fn stop_machine() -> ! {
    // C's own function, and no helper around it: objtool knows by name which functions do not return.
    // SAFETY: always, with a terminated string that asks for no further arguments; does not return.
    unsafe { bindings::panic(c"notblk: damaged filesystem, and errors=panic\n".as_char_ptr()) }
}

/// Seconds since 1970. C: `ktime_get_real_seconds`.
pub(crate) fn real_seconds() -> i64 {
    // SAFETY: always.
    unsafe { bindings::ktime_get_real_seconds() }
}
