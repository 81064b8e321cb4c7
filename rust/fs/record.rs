// SPDX-License-Identifier: GPL-2.0

//! What the superblock is told of errors, and what errors lead to. C: `save_error_info`, `ext4_handle_error` in
//! `fs/ext4/super.c`.
//!
//! Damage is found with all sorts of locks held. A spinlock, which nothing is taken under, protects what is not on disk
//! yet; whoever writes the superblock takes it along. Without a journal that is tried at once, as ext4 does: the mutex of
//! the superblock's buffer is the innermost of all, and damage of the superblock itself is told here by a log line only.

use super::{options::Errors, super_block, Notblk, SuperBlock};
use crate::{
    format::{
        error_record::{
            ErrorRecord, Unrecorded, CODE_CORRUPTED, CODE_EIO, CODE_ENOMEM, CODE_UNKNOWN,
        },
        superblock::RawSuperBlock,
    },
    vfs::{errno::EUCLEAN, shutdown::Operations as _},
};
use core::panic::Location;
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        new_spinlock, SpinLock,
    },
};

/// The errors of a mounted filesystem.
#[pin_data]
pub(crate) struct Record {
    /// Not on disk yet.
    #[pin]
    unrecorded: SpinLock<Unrecorded>,
    /// Damage has been seen since mount.
    seen: Atomic<bool>,
    /// Nothing is written any more. C: `EXT4_FLAGS_EMERGENCY_RO`.
    emergency_ro: Atomic<bool>,
}

impl Record {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            unrecorded <- new_spinlock!(Unrecorded::NONE, "notblk::unrecorded"),
            seen: Atomic::new(false),
            emergency_ro: Atomic::new(false),
        })
    }

    /// Damage has been seen since mount: the state on disk says so, and e2fsck will look.
    pub(super) fn has_error(&self) -> bool {
        self.seen.load(Relaxed)
    }

    /// Damage has ended all writing.
    pub(super) fn is_emergency_ro(&self) -> bool {
        self.emergency_ro.load(Relaxed)
    }

    /// Puts what is not on disk yet into the superblock, which is about to go there.
    pub(super) fn store(&self, raw: &mut RawSuperBlock) {
        let unrecorded = core::mem::take(&mut *self.unrecorded.lock());
        unrecorded.store(raw);
    }
}

/// Whether the filesystem may be written to: every way to change something asks. C: `ext4_emergency_state`.
///
/// # Errors
///
/// `EIO` after it was shut down; `EROFS` after damage with `errors=remount-ro`.
pub(super) fn emergency_state(sb: &SuperBlock) -> Result {
    Notblk::check_alive(sb)?;
    if sb.data().record.is_emergency_ro() {
        return Err(EROFS);
    }
    Ok(())
}

/// An errno as the superblock has it.
fn code_of(error: Error) -> u8 {
    match error {
        e if e == EUCLEAN => CODE_CORRUPTED,
        e if e == EIO => CODE_EIO,
        e if e == ENOMEM => CODE_ENOMEM,
        _ => CODE_UNKNOWN,
    }
}

/// Records an error about an inode and a block (0: none), found at a place of this driver, and does what `errors=` says.
/// C: `ext4_handle_error`.
pub(super) fn handle(
    sb: &SuperBlock,
    error: Error,
    (ino, block): (u32, u64),
    place: &Location<'_>,
) {
    let record = &sb.data().record;
    record.seen.store(true, Relaxed);
    // Also of a filesystem that is mounted read-only: as ext4.
    if !sb.device_read_only() {
        let file = place.file().rsplit('/').next().unwrap_or_default();
        record.unrecorded.lock().add(ErrorRecord {
            time: super_block::time(),
            ino,
            block,
            func: ErrorRecord::func(file.as_bytes()),
            line: place.line(),
            code: code_of(error),
        });
        if let Err(e) = super_block::write_errors(sb) {
            pr_err!(
                "({}): error not recorded in the superblock: {e:?}\n",
                sb.id()
            );
        }
    }
    match sb.data().errors() {
        Errors::Continue => {}
        Errors::RemountRo => {
            // Not SB_RDONLY, which is changed under s_umount only: freezing relies on it.
            pr_crit!("({}): remounting filesystem read-only\n", sb.id());
            record.emergency_ro.store(true, Relaxed);
        }
        Errors::Panic => crate::vfs::super_block::stop_machine(),
    }
}
