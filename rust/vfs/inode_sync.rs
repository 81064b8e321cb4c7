// SPDX-License-Identifier: GPL-2.0

//! How an inode gets to disk: `write_inode`, and what `fsync` waits for.
//!
//! C: `fs/fs-writeback.c`, `simple_fsync` in `fs/libfs.c`; `ext2_write_inode` for the use.
//!
//! `write_inode` copies the inode's fields to a buffer of the inode table and marks that dirty. Background write-back waits
//! for no more than that, and the inode is clean. Whoever comes later and must have it on disk has to know that there is
//! something left to write: the buffer of the inode table, and the metadata buffers of the inode. From 7.3 on VFS keeps
//! that in `i_state` (`I_METADATA_WRITEBACK`), and calls `sync_inode_metadata` of the filesystem. Before, it does not (C's
//! ext2 had the hole), and a flag of ours does the same.

use super::{
    hold::{Owner, Point},
    sync_parents, to_pos, to_result, FileSystem, Inode,
};
use crate::sys::bindings;
use core::marker::PhantomData;
use kernel::{
    error::from_result,
    prelude::*,
    sync::atomic::{Acquire, Atomic, Full},
};

#[cfg(not(notblk_has_sync_inode_metadata))]
use kernel::{
    new_mutex,
    sync::{atomic::AtomicFlag, Mutex},
};

/// Whether an inode may leave memory before the buffers that `write_inode` left: VFS keeps it if it has been told of them.
pub(super) const MAY_LEAVE_FIRST: bool = cfg!(not(notblk_has_sync_inode_metadata));

/// How many inodes, of all filesystems of ours, have their buffers written at this moment.
static SYNCING: Atomic<i32> = Atomic::new(0);

/// Whether somebody may be about to ask a buffer whether its write went well. C (`mmb_sync`) asks for `BH_Uptodate`, after the
/// buffer's lock is free again: who finds a write failed leaves that flag alone meanwhile. To be called under the lock of the
/// buffer in question.
pub(super) fn is_any_syncing() -> bool {
    SYNCING.load(Acquire) != 0
}

/// Counts in [`SYNCING`].
struct Syncing;

impl Syncing {
    fn begin() -> Self {
        // Full: before any buffer is looked at.
        SYNCING.fetch_add(1, Full);
        Self
    }
}

impl Drop for Syncing {
    fn drop(&mut self) {
        SYNCING.fetch_add(-1, Full);
    }
}

/// The functions for `T`.
pub(super) struct Table<T>(PhantomData<T>);

impl<T: FileSystem> Table<T> {
    /// Copies the inode to its buffer. VFS, which has called it clean before, does not call it dirty again when that fails, and
    /// write-back in the background tells nobody.
    fn write_or_keep(inode: &Inode<T>) -> Result {
        T::write_inode(inode).inspect_err(|_| {
            if T::emergency_state(inode.sb()).is_ok() {
                inode.mark_dirty();
            }
        })
    }

    /// Writes what [`super::super_block::Operations::write_inode`] and its kind left in buffers, and waits.
    fn write_buffers(inode: &Inode<T>) -> Result {
        let _syncing = Syncing::begin();
        T::before_sync(inode)?;
        let buffer = T::inode_buffer(inode)?;
        inode.sync_metadata_buffers()?;
        if let Some(shared) = T::shared_buffer(inode) {
            shared.sync()?;
        }
        buffer.sync()
    }

    /// # Safety
    ///
    /// C's contract for `fsync`, on a file of ours.
    pub(super) unsafe extern "C" fn fsync(
        file: *mut bindings::file,
        start: bindings::loff_t,
        end: bindings::loff_t,
        datasync: c_int,
    ) -> c_int {
        // SAFETY: by the contract.
        let inode = unsafe { Inode::<T>::from_raw(bindings::notblk_file_inode(file)) };
        inode.pass(
            Point::FsyncBegin,
            // SAFETY: by the contract.
            || unsafe { Owner::of_file(file) },
            to_pos(start),
            to_pos(end).saturating_sub(to_pos(start)).saturating_add(1),
        );
        // Before anything is written, and before an error of write-back counts as reported: as ext4.
        if let Err(e) = T::emergency_state(inode.sb()) {
            return e.to_errno();
        }
        from_result(|| {
            // SAFETY: by the contract.
            let own = to_result(unsafe { Self::FSYNC_NOFLUSH(file, start, end, datasync) });
            // After it: a name must not lead to what was here before.
            let all = own.and_then(|()| sync_parents::sync_parents(inode));
            // Whatever has come of it.
            let flushed = inode.sb().flush_device();
            all.and(flushed).map(|()| 0)
        })
    }
}

/// What an inode's slot keeps for this: nothing, VFS has it.
#[cfg(notblk_has_sync_inode_metadata)]
#[pin_data]
pub(super) struct State {}

#[cfg(notblk_has_sync_inode_metadata)]
impl State {
    pub(super) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {})
    }

    /// Buffers of the inode may be on their way still. `notblk_datasync_dirty`, which is asked too, looks at VFS's flag.
    pub(super) fn is_pending(&self) -> bool {
        false
    }
}

#[cfg(notblk_has_sync_inode_metadata)]
impl<T: FileSystem> Table<T> {
    /// `fsync` of the inode itself, but for the flush of the device's cache.
    const FSYNC_NOFLUSH: unsafe extern "C" fn(
        *mut bindings::file,
        bindings::loff_t,
        bindings::loff_t,
        c_int,
    ) -> c_int = bindings::simple_fsync_noflush;

    /// Puts the functions into the superblock's table.
    pub(super) const fn add_to(ops: &mut bindings::super_operations) {
        ops.write_inode = Some(Self::write_inode);
        ops.sync_inode_metadata = Some(Self::sync_inode_metadata);
    }

    /// # Safety
    ///
    /// Called by C with a valid inode of ours.
    unsafe extern "C" fn write_inode(
        inode: *mut bindings::inode,
        _wbc: *mut bindings::writeback_control,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract.
            let inode = unsafe { Inode::<T>::from_raw(inode) };
            Self::write_or_keep(inode)?;
            inode.leave_buffers();
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by C with a valid inode of ours, after `write_inode`.
    unsafe extern "C" fn sync_inode_metadata(
        inode: *mut bindings::inode,
        _wbc: *mut bindings::writeback_control,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract.
            Self::write_buffers(unsafe { Inode::<T>::from_raw(inode) }).map(|()| 0)
        })
    }
}

#[cfg(notblk_has_sync_inode_metadata)]
impl<T: FileSystem> Inode<T> {
    /// Tells VFS that `sync_inode_metadata` has something to wait for.
    pub(super) fn leave_buffers(&self) {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_set_inode_metadata_writeback(self.as_raw()) };
    }

    /// Writes the inode and its metadata buffers and waits. C: `sync_inode_metadata(inode, 1)`.
    pub(crate) fn sync_metadata(&self) -> Result {
        // SAFETY: valid by invariant.
        to_result(unsafe { bindings::sync_inode_metadata(self.as_raw(), 1) })
    }
}

/// What an inode's slot keeps for this.
#[cfg(not(notblk_has_sync_inode_metadata))]
#[pin_data]
pub(super) struct State {
    /// `write_inode` ran, and nobody has begun to write its buffers since.
    left: AtomicFlag,
    /// Somebody is writing them.
    writing: AtomicFlag,
    /// Held while they are written, so that whoever comes meanwhile returns no earlier. VFS of 7.3 has `I_SYNC` for it. Taken
    /// with `I_SYNC` held or without it, and nothing below asks for `I_SYNC`.
    #[pin]
    lock: Mutex<()>,
}

#[cfg(not(notblk_has_sync_inode_metadata))]
impl State {
    pub(super) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            left: AtomicFlag::new(false),
            writing: AtomicFlag::new(false),
            lock <- new_mutex!((), "notblk::inode_sync"),
        })
    }

    /// Buffers of the inode may be on their way still.
    pub(super) fn is_pending(&self) -> bool {
        // In this order: `writing` is set before `left` is cleared.
        self.left.load(Acquire) || self.writing.load(Acquire)
    }

    /// There are buffers to be written.
    fn leave(&self) {
        self.left.xchg(true, Full);
    }

    /// Writes what was left, by `write`; or waits for whoever does so at this moment.
    fn finish(&self, write: impl FnOnce() -> Result) -> Result {
        let _alone = self.lock.lock();
        self.writing.xchg(true, Full);
        let written = match self.left.xchg(false, Full) {
            true => write(),
            false => Ok(()),
        };
        self.writing.xchg(false, Full);
        written
    }
}

#[cfg(not(notblk_has_sync_inode_metadata))]
impl<T: FileSystem> Table<T> {
    /// `fsync` of the inode itself, but for the flush of the device's cache.
    const FSYNC_NOFLUSH: unsafe extern "C" fn(
        *mut bindings::file,
        bindings::loff_t,
        bindings::loff_t,
        c_int,
    ) -> c_int = Self::simple_fsync_noflush;

    /// Puts the functions into the superblock's table.
    pub(super) const fn add_to(ops: &mut bindings::super_operations) {
        ops.write_inode = Some(Self::write_inode);
    }

    /// Waits for what earlier calls of `write_inode` left.
    fn finish(inode: &Inode<T>) -> Result {
        inode.sync_state().finish(|| Self::write_buffers(inode))
    }

    /// # Safety
    ///
    /// Called by C with a valid inode of ours, and with `I_SYNC` set in it.
    unsafe extern "C" fn write_inode(
        inode: *mut bindings::inode,
        wbc: *mut bindings::writeback_control,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract.
            let inode = unsafe { Inode::<T>::from_raw(inode) };
            Self::write_or_keep(inode)?;
            inode.leave_buffers();
            // sync(2) writes all of the device afterwards, and waits then.
            // SAFETY: by the contract.
            if unsafe { bindings::notblk_wbc_waits_for_inode(wbc) } {
                Self::finish(inode)?;
            }
            Ok(0)
        })
    }

    /// As C's of 7.3.
    ///
    /// # Safety
    ///
    /// C's contract for `fsync`, on a file of ours.
    unsafe extern "C" fn simple_fsync_noflush(
        file: *mut bindings::file,
        start: bindings::loff_t,
        end: bindings::loff_t,
        datasync: c_int,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract.
            to_result(unsafe { bindings::file_write_and_wait_range(file, start, end) })?;
            // SAFETY: by the contract.
            let inode = unsafe { Inode::<T>::from_raw(bindings::notblk_file_inode(file)) };
            let metadata = if datasync == 0 || inode.is_datasync_dirty() {
                inode.sync_metadata()
            } else {
                Ok(())
            };
            // Nothing is left to write: this reports what write-back has met, which must not be reported once more where
            // `metadata` is an error.
            // SAFETY: by the contract.
            let rest = unsafe { bindings::simple_fsync_noflush(file, start, end, datasync) };
            let rest = to_result(rest);
            metadata.and(rest).map(|()| 0)
        })
    }
}

#[cfg(not(notblk_has_sync_inode_metadata))]
impl<T: FileSystem> Inode<T> {
    /// There is something to wait for.
    pub(super) fn leave_buffers(&self) {
        self.sync_state().leave();
    }

    /// Writes the inode and its metadata buffers and waits. C: `sync_inode_metadata(inode, 1)` of 7.3.
    pub(crate) fn sync_metadata(&self) -> Result {
        // A write-back that is under way (`I_SYNC`) is over when this returns, so that its flag is seen.
        // SAFETY: valid by invariant.
        to_result(unsafe { bindings::sync_inode_metadata(self.as_raw(), 1) })?;
        Table::finish(self)
    }
}
