// SPDX-License-Identifier: GPL-2.0

//! Shutting a mounted filesystem down. C: `ext4_force_shutdown` in `fs/ext4/ioctl.c`.
//!
//! From then on every call that reads or changes files says `EIO`, nothing more is written, and the superblock stays marked as
//! in use, so that e2fsck looks.

use super::{inode, Notblk, SuperBlock};
use crate::vfs::{errno::ESHUTDOWN, shutdown};
use kernel::{
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
};

/// Whether a filesystem is shut down.
pub(super) struct State(Atomic<bool>);

impl State {
    /// It works.
    pub(super) fn new() -> Self {
        Self(Atomic::new(false))
    }

    fn is_down(&self) -> bool {
        self.0.load(Relaxed)
    }
}

impl shutdown::Operations for Notblk {
    fn check_alive(sb: &SuperBlock) -> Result {
        if is_down(sb) {
            return Err(EIO);
        }
        Ok(())
    }

    fn shut_down(sb: &SuperBlock) {
        force(sb, How::NoLogFlush);
    }
}

/// Whether it is shut down.
pub(super) fn is_down(sb: &SuperBlock) -> bool {
    sb.data().shutdown.is_down()
}

/// What is written before.
#[derive(Clone, Copy)]
enum How {
    /// Everything (`EXT4_GOING_FLAGS_DEFAULT`).
    Sync,
    /// What the journal has (`EXT4_GOING_FLAGS_LOGFLUSH`): nothing, without one.
    LogFlush,
    /// Nothing (`EXT4_GOING_FLAGS_NOLOGFLUSH`). What is in the device's page cache stays there.
    NoLogFlush,
}

/// As `FS_IOC_SHUTDOWN` asks.
///
/// # Errors
///
/// `EINVAL` for a way that is none.
pub(super) fn by_flags(sb: &SuperBlock, flags: u32) -> Result {
    let how = match flags {
        0 => How::Sync,
        1 => How::LogFlush,
        2 => How::NoLogFlush,
        _ => return Err(EINVAL),
    };
    if is_down(sb) {
        return Ok(());
    }
    if let How::Sync = how {
        return sb.while_frozen(|| force(sb, how));
    }
    force(sb, how);
    fill_buffers(sb);
    Ok(())
}

/// Copies what is new in inodes to the buffers of the inode table. These go out with the rest of the device's page cache when it is
/// closed, if not before: a name that was made has its inode then. ext4 does this with each change of an inode.
fn fill_buffers(sb: &SuperBlock) {
    let mut lost = 0_u64;
    sb.for_each_dirty_inode(|inode| {
        if inode::write(inode).is_err() {
            lost = lost.saturating_add(1);
        }
    });
    if lost != 0 {
        pr_warn!("({}): changes of {lost} inodes are lost\n", sb.id());
    }
}

fn force(sb: &SuperBlock, how: How) {
    let data = sb.data();
    if !data.shutdown.0.xchg(true, Relaxed) {
        // CAST: the numbers of the ioctl.
        pr_alert!("({}): shut down requested ({})\n", sb.id(), how as u32);
    }
    sb.report_metadata_error(0, ESHUTDOWN);
    data.options.stop_discard();
    data.gate().open_for("shut down");
}
