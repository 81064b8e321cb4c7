// SPDX-License-Identifier: GPL-2.0

//! Quotas: charging for blocks, and the quota files. C: the end of `fs/ext4/super.c`.
//!
//! With the feature `quota` the files are inodes that no directory names, and usage is kept track of whenever the
//! filesystem can be written to; the mount options `usrquota`, `grpquota` and `prjquota` turn the limits on. Without it the options say that
//! `quotactl(Q_QUOTAON)` may name files.
//!
//! The files' contents are metadata: they are changed through a [`Transaction`], never in the page cache. There is no journal
//! yet that would want usage and what is used in one transaction, so usage is written as `sync` and unmount come; e2fsck puts it
//! right after a crash.

use super::{
    error::{self, At, OrReport},
    inode,
    map::{Lookup, Reads},
    project, record, Inode, Locked, Notblk, SuperBlock, Transaction,
};
use crate::{
    format::{
        block::{Block, BlockMut},
        features::RO_COMPAT_QUOTA,
        inode::{FIRST_INO, FL_IMMUTABLE, FL_NOATIME},
        superblock::RawSuperBlock,
    },
    vfs::{
        quota::{self, File, Kind},
        Exclusive, InodeRef,
    },
};
use kernel::prelude::*;

/// `EXT4_USR_QUOTA_INO` and `EXT4_GRP_QUOTA_INO`: the hidden files for users and groups can be no others. That for projects is
/// an ordinary inode.
const HIDDEN: [u32; 2] = [3, 4];

/// Inodes of the hidden files for users, groups and projects; 0 for one that is not there.
pub(super) type Files = [u32; 3];

/// The hidden files as the superblock names them; `None` without the feature.
pub(super) fn hidden_files(raw: &RawSuperBlock) -> Option<Files> {
    let has = raw.feature_ro_compat.get() & RO_COMPAT_QUOTA != 0;
    let inums = [raw.usr_quota_inum, raw.grp_quota_inum, raw.prj_quota_inum];
    has.then(|| inums.map(|inum| inum.get()))
}

/// Whether an inode is a hidden file, which no name may lead to. C: `is_special_ino`.
pub(super) fn is_hidden_file(sb: &SuperBlock, ino: u32) -> bool {
    let files = sb.data().quota_files;
    ino != 0 && files.is_some_and(|files| files.contains(&ino))
}

/// Charges `indirect` blocks, and up to `want` more: as many as the quotas allow, and answers how many. C: the loop in
/// `ext4_mb_new_blocks`.
///
/// # Errors
///
/// `EDQUOT`; nothing is charged.
pub(super) fn charge(inode: &Inode, indirect: u32, mut want: u32) -> Result<u32> {
    loop {
        match inode.quota_charge(indirect.saturating_add(want)) {
            Ok(()) => return Ok(want),
            Err(e) if want <= 1 => return Err(e),
            // What is left is asked for again, so the limit is met to the block.
            Err(_) => want /= 2,
        }
    }
}

impl quota::Operations for Notblk {
    fn has_hidden_files(sb: &SuperBlock) -> bool {
        sb.data().quota_files.is_some()
    }

    fn hidden_file(sb: &SuperBlock, kind: Kind) -> Result<Option<InodeRef<'_, Self>>> {
        let [user, group, project] = sb.data().quota_files.unwrap_or_default();
        let [user_only, group_only] = HIDDEN;
        let (ino, allowed) = match kind {
            Kind::User => (user, user_only..=user_only),
            Kind::Group => (group, group_only..=group_only),
            Kind::Project => (project, FIRST_INO..=u32::MAX),
        };
        if ino == 0 {
            return Ok(None);
        }
        if !allowed.contains(&ino) {
            return Err(error::report(
                sb,
                fmt!("superblock: {} quota in inode {ino}", kind.name()),
            ));
        }
        inode::iget_special(sb, u64::from(ino)).map(Some)
    }

    fn wants_limits(sb: &SuperBlock, kind: Kind) -> bool {
        sb.data().limits.quota(kind) || sb.data().named_quotas.lock().has(kind)
    }

    fn project(inode: &Inode) -> Option<u32> {
        project::of(inode)
    }

    fn protect_file(inode: &Locked<Exclusive>, protect: bool) {
        let mask = FL_IMMUTABLE | FL_NOATIME;
        let mut disk = inode.data().disk.lock();
        if protect {
            disk.flags |= mask;
        } else {
            disk.flags &= !mask;
        }
    }

    fn read_file(file: &File<'_, Self>, dst: &mut [u8], pos: u64) -> Result<usize> {
        let inode = file.inode();
        let sb = inode.sb();
        let rest = inode.size().saturating_sub(pos);
        let len = dst.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        let mut pos = pos;
        let mut left = dst.get_mut(..len).unwrap_or_default();
        while !left.is_empty() {
            let piece = Piece::new(inode, pos, left.len())?;
            let (now, later) = left.split_at_mut_checked(piece.len).ok_or(EINVAL)?;
            let found = inode
                .data()
                .map
                .lock()
                .lookup(inode, piece.lblk, 1, Reads::Allowed)?;
            match found {
                Lookup::Mapped(run) => sb
                    .bread(run.start)?
                    .read_bytes(piece.off, now)
                    .or_report(sb, At::Inode(inode.ino()))?,
                Lookup::Hole(_) => now.fill(0),
            }
            left = later;
            pos = pos.saturating_add(piece.len as u64);
        }
        Ok(len)
    }

    fn write_file(file: &File<'_, Self>, src: &[u8], pos: u64) -> Result {
        let inode = file.inode();
        let sb = inode.sb();
        // The library writes when it likes, after a shutdown too.
        record::emergency_state(sb)?;
        let transaction = Transaction::start(sb);
        let mut at = pos;
        let mut left = src;
        while !left.is_empty() {
            let piece = Piece::new(inode, at, left.len())?;
            let (now, later) = left.split_at_checked(piece.len).ok_or(EINVAL)?;
            let mut access = {
                let mut map = inode.data().map.lock();
                match map.lookup(inode, piece.lblk, 1, Reads::Allowed)? {
                    Lookup::Mapped(run) => transaction.write(sb.bread(run.start)?),
                    Lookup::Hole(_) => {
                        let run = map.allocate(&transaction, inode, piece.lblk, 1)?;
                        // A quota file grows by a block now and then, and is never closed.
                        map.close_window(inode);
                        transaction.create(run.start)?
                    }
                }
            };
            access
                .write_bytes(piece.off, now)
                .or_report(sb, At::Inode(inode.ino()))?;
            access.dirty_for(inode);
            left = later;
            at = at.saturating_add(piece.len as u64);
        }
        file.written(at);
        Ok(())
    }
}

/// What of a range of bytes lies in its first block.
struct Piece {
    lblk: u32,
    off: usize,
    len: usize,
}

impl Piece {
    fn new(inode: &Inode, pos: u64, len: usize) -> Result<Self> {
        let sb = inode.sb();
        let off = sb.offset_in_block(pos);
        let room = sb.block_bytes().saturating_sub(off);
        Ok(Self {
            lblk: u32::try_from(sb.block_of(pos)).map_err(|_| EFBIG)?,
            // CAST: below the block size.
            off: off as usize,
            // CAST: at most the block size.
            len: len.min(room as usize),
        })
    }
}
