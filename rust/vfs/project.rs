// SPDX-License-Identifier: GPL-2.0

//! Quotas of projects: what the quota library wants beside what it wants for users and groups.
//!
//! C: `include/linux/projid.h`, `PRJQUOTA` in `fs/quota/dquot.c`; `ext4_ioctl_setproject` for the use.

use super::{to_result, Exclusive, FileSystem, Inode, Locked, SuperBlock};
use crate::sys::bindings;
use kernel::prelude::*;

#[cfg(CONFIG_QUOTA)]
use super::{errno::EOPNOTSUPP, quota};
#[cfg(CONFIG_QUOTA)]
use kernel::error::from_result;

/// What a project may have and has; `None`: without limit.
pub(crate) struct Limits {
    /// In bytes.
    pub(crate) bytes: Option<(u64, u64)>,
    /// In inodes.
    pub(crate) inodes: Option<(u64, u64)>,
}

impl<T: FileSystem> Inode<T> {
    /// Whether it is a quota file of this mount, which is not charged itself. C: `IS_NOQUOTA`.
    pub(crate) fn is_quota_file(&self) -> bool {
        self.has_flag(bindings::S_NOQUOTA)
    }
}

impl<T: FileSystem> Locked<T, Exclusive> {
    /// Charges what the inode has to a project in place of its own, which the filesystem changes next. Quotas have been looked
    /// up. C: `__dquot_transfer`.
    ///
    /// # Errors
    ///
    /// `EDQUOT`; nothing has changed.
    pub(crate) fn quota_transfer_project(&self, project: u32) -> Result {
        // SAFETY: valid; i_rwsem is held exclusively.
        to_result(unsafe { bindings::notblk_dquot_transfer_project(self.as_raw(), project) })
    }
}

impl<T: FileSystem> SuperBlock<T> {
    /// The limits of a project, where limits are kept. The smaller of the hard and the soft one counts. Sleeps.
    pub(crate) fn project_limits(&self, project: u32) -> Option<Limits> {
        // SAFETY: plain C data, for which zero is good.
        let mut raw: bindings::mem_dqblk = unsafe { core::mem::zeroed() };
        // SAFETY: valid by invariant; the struct is ours.
        if !unsafe { bindings::notblk_project_dqblk(self.as_raw(), project, &mut raw) } {
            return None;
        }
        let counted = |n: i64| u64::try_from(n).unwrap_or(0);
        let limit = |soft, hard, has: u64| {
            [soft, hard]
                .map(counted)
                .into_iter()
                .filter(|&limit| limit != 0)
                .min()
                .map(|limit| (limit, has))
        };
        let space = counted(raw.dqb_curspace).saturating_add(counted(raw.dqb_rsvspace));
        Some(Limits {
            bytes: limit(raw.dqb_bsoftlimit, raw.dqb_bhardlimit, space),
            inodes: limit(
                raw.dqb_isoftlimit,
                raw.dqb_ihardlimit,
                counted(raw.dqb_curinodes),
            ),
        })
    }
}

/// What the library does with quotas in memory: its own functions, and where to ask for an inode's project. C:
/// `ext4_quota_operations`.
#[cfg(CONFIG_QUOTA)]
pub(super) struct Table<T>(core::marker::PhantomData<T>);

#[cfg(CONFIG_QUOTA)]
impl<T: FileSystem> Table<T> {
    pub(super) const OPS: bindings::dquot_operations = {
        // SAFETY: all fields are optional function pointers, for which zero is `None`.
        let mut ops: bindings::dquot_operations = unsafe { core::mem::zeroed() };
        ops.write_dquot = Some(bindings::dquot_commit);
        ops.acquire_dquot = Some(bindings::dquot_acquire);
        ops.release_dquot = Some(bindings::dquot_release);
        ops.mark_dirty = Some(bindings::dquot_mark_dquot_dirty);
        ops.write_info = Some(bindings::dquot_commit_info);
        ops.alloc_dquot = Some(bindings::dquot_alloc);
        ops.destroy_dquot = Some(bindings::dquot_destroy);
        ops.get_next_id = Some(bindings::dquot_get_next_id);
        ops.get_projid = Some(Self::get_projid);
        ops
    };

    /// # Safety
    ///
    /// C's contract for `get_projid`: an inode of ours, and a number to fill.
    unsafe extern "C" fn get_projid(
        inode: *mut bindings::inode,
        project: *mut bindings::kprojid_t,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract.
            let inode = unsafe { Inode::<T>::from_raw(inode) };
            let found = <T as quota::Operations>::project(inode).ok_or(EOPNOTSUPP)?;
            // SAFETY: by the contract. Numbers of projects are those of the first user namespace, which changes none.
            unsafe { (*project).val = found };
            Ok(0)
        })
    }
}
