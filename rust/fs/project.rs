// SPDX-License-Identifier: GPL-2.0

//! Projects: a number that an inode has beside user and group, with the feature `project`. What is made in a directory with the
//! flag `P` of `chattr(1)` belongs to the directory's project, and nothing of another project gets in there by rename or link.
//! With `prjquota` such a directory is, for `statfs`, as large as its project may be. C: what `fs/ext4` has of `i_projid`.

use super::{xattr, Inode, Locked, SuperBlock, Transaction};
use crate::{
    format::{
        features::RO_COMPAT_PROJECT,
        inode::{FL_PROJINHERIT, RAW_INODE_SIZE},
    },
    vfs::{errno::EOPNOTSUPP, super_block::StatFs, Exclusive},
};
use kernel::prelude::*;

/// Whose inodes are that nobody has given to a project, and all without the feature. C: `EXT4_DEF_PROJID`.
pub(super) const DEFAULT: u32 = 0;

/// The feature.
pub(super) fn is_on(sb: &SuperBlock) -> bool {
    sb.data().features_ro_compat & RO_COMPAT_PROJECT != 0
}

/// The inode's project; `None` without the feature. C: `ext4_get_projid`.
pub(super) fn of(inode: &Inode) -> Option<u32> {
    is_on(inode.sb()).then(|| inode.data().disk.lock().project)
}

/// The project of what is made in a directory.
pub(super) fn for_new(dir: &Inode) -> u32 {
    inherited(dir).unwrap_or(DEFAULT)
}

/// The project that a directory asks of what is in it.
fn inherited(dir: &Inode) -> Option<u32> {
    let disk = dir.data().disk.lock();
    (is_on(dir.sb()) && disk.flags & FL_PROJINHERIT != 0).then_some(disk.project)
}

/// Whether an inode may have a name in a directory.
///
/// # Errors
///
/// `EXDEV`: it is of another project than what is in there.
pub(super) fn check_name(dir: &Inode, inode: &Inode) -> Result {
    match inherited(dir) {
        Some(project) if of(inode) != Some(project) => Err(EXDEV),
        _ => Ok(()),
    }
}

/// Gives an inode to a project, and what it has is charged there. C: `ext4_ioctl_setproject`.
///
/// # Errors
///
/// `EOPNOTSUPP` for any but [`DEFAULT`] without the feature, or where inodes have 128 bytes; `EPERM` for a quota file; `ENOSPC`
/// for an inode in which no room can be made for the number; `EDQUOT`; `EIO`, `EUCLEAN`, `ENOMEM`.
pub(super) fn set(inode: &Locked<Exclusive>, project: u32) -> Result {
    let sb = inode.sb();
    if !is_on(sb) {
        return match project {
            DEFAULT => Ok(()),
            _ => Err(EOPNOTSUPP),
        };
    }
    if sb.data().geo.inode_size() <= RAW_INODE_SIZE {
        return Err(EOPNOTSUPP);
    }
    if of(inode) == Some(project) {
        return Ok(());
    }
    if inode.is_quota_file() {
        return Err(EPERM);
    }
    inode.quota_initialize()?;
    xattr::expand(&Transaction::start(sb), inode)?;
    inode.quota_transfer_project(project)?;
    inode.data().disk.lock().project = project;
    inode.touch_ctime();
    inode.inc_version();
    inode.mark_dirty();
    if inode.is_sync() {
        inode.sync_metadata()?;
    }
    Ok(())
}

/// What `statfs` says of a directory whose project has limits. C: `ext4_statfs_project`.
pub(super) fn limit(inode: &Inode, all: StatFs) -> StatFs {
    let limits = inherited(inode).and_then(|project| inode.sb().project_limits(project));
    let Some(limits) = limits else {
        return all;
    };
    let mut least = all;
    if let Some((may, has)) = limits.bytes {
        // A limit of less than a block is none, as ext4 has it.
        let (may, has) = (inode.sb().block_of(may), inode.sb().block_of(has));
        if may != 0 {
            let rest = may.saturating_sub(has);
            least.blocks = least.blocks.min(may);
            least.blocks_free = least.blocks_free.min(rest);
            least.blocks_available = least.blocks_available.min(rest);
        }
    }
    if let Some((may, has)) = limits.inodes {
        least.inodes = least.inodes.min(may);
        least.inodes_free = least.inodes_free.min(may.saturating_sub(has));
    }
    least
}
