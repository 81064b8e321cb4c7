// SPDX-License-Identifier: GPL-2.0

//! The orphan list on disk: what a crash would leave behind is found there at the next mount, and by e2fsck. C:
//! `fs/ext4/orphan.c`, without the feature `orphan_file`.
//!
//! On it are inodes without a name that somebody uses still (they go when the last user does, or at the next mount), and
//! files that are being shortened (whose blocks behind `i_size` go). `s_last_orphan` names the first, `i_dtime` of each the
//! next. Nothing else writes `i_dtime` of an inode that is on the list: see [`RawInode::put`].
//!
//! e2fsck (1.47.2, `release_inode_blocks`) takes its block of attributes away from whatever it finds on the list, a file that is
//! only to be shortened too. So a file with a name and such a block is not put there: after a crash e2fsck finds blocks behind its
//! end, as it does with `ext4.ko` without a journal. And what the disk's list names still, though memory's does not, is written
//! before such a file counts as synced ([`before_sync`]).
//!
//! `SuperData::orphans` protects all of it. Who adds or removes an inode holds its `i_rwsem`, or is the only one to know it.

mod taken;

use super::{
    buffered,
    error::{self, At, OrReport},
    group, inode, jquota, quota, super_block, Inode, SuperBlock, Transaction,
};
use crate::{
    format::{
        bitmap,
        block::Block,
        inode::{RawInode, S_IFREG},
        orphan,
    },
    vfs::errno::EUCLEAN,
};
use kernel::{
    prelude::*,
    rbtree::{RBTree, RBTreeNode, RBTreeNodeReservation},
};
use taken::Taken;

/// The list, in memory.
pub(crate) struct Orphans {
    /// As `s_last_orphan` on disk.
    first: u32,
    /// By inode number.
    all: RBTree<u32, Neighbours>,
    /// What was taken off it, and not written since.
    taken: Taken,
}

/// The inodes before and after one, or 0.
#[derive(Clone, Copy)]
struct Neighbours {
    previous: u32,
    next: u32,
}

impl Orphans {
    /// Empty, as long as [`cleanup`] has not run.
    pub(super) fn new() -> Self {
        Self {
            first: 0,
            all: RBTree::new(),
            taken: Taken::new(),
        }
    }

    /// Puts `ino` first.
    fn insert(&mut self, node: RBTreeNode<u32, Neighbours>, ino: u32, next: u32) {
        if let Some(after) = self.all.get_mut(&next) {
            after.previous = ino;
        }
        self.all.insert(node);
        self.first = ino;
    }

    /// Takes all out.
    fn forget(&mut self) {
        self.first = 0;
        self.all = RBTree::new();
        self.taken.add_all();
    }

    /// Takes `ino` out, and answers what its neighbours were.
    fn take(&mut self, ino: u32) -> Option<Neighbours> {
        let was = self.all.remove(&ino)?;
        match self.all.get_mut(&was.previous) {
            Some(before) => before.next = was.next,
            None => self.first = was.next,
        }
        if let Some(after) = self.all.get_mut(&was.next) {
            after.previous = was.previous;
        }
        self.taken.add(ino);
        Some(was)
    }
}

/// Puts an inode on the list, unless it is there already, or has a name and a block of attributes, and writes it with the link
/// count and the size that it has now: by these it will be judged. C: `ext4_orphan_add`.
///
/// # Errors
///
/// `ENOMEM`, `EIO`, `EUCLEAN`; it is not on the list then.
pub(super) fn add(transaction: &Transaction<'_>, inode: &Inode) -> Result {
    let sb = inode.sb();
    let ino = u32::try_from(inode.ino()).map_err(|_| EUCLEAN)?;
    // This may bring it such a block.
    inode::write(inode)?;
    if inode.nlink() != 0 && has_attribute_block(inode) {
        return Ok(());
    }
    let reserved = RBTreeNodeReservation::new(GFP_KERNEL)?;
    let mut orphans = sb.data().orphans.lock();
    if orphans.all.get(&ino).is_some() {
        return Ok(());
    }
    let next = orphans.first;
    inode::put_dtime(transaction, ino, next)?;
    super_block::set_last_orphan(sb, ino).inspect_err(|_| {
        // Off the list it has none.
        let _ = inode::put_dtime(transaction, ino, 0);
    })?;
    let neighbours = Neighbours { previous: 0, next };
    orphans.insert(reserved.into_node(ino, neighbours), ino, next);
    Ok(())
}

/// As [`add`], where there is no way back: without it, a crash leaves something for e2fsck.
pub(super) fn add_or_tell(transaction: &Transaction<'_>, inode: &Inode) {
    if let Err(e) = add(transaction, inode) {
        pr_err!(
            "({}): inode {}: not on the orphan list: {e:?}\n",
            inode.sb().id(),
            inode.ino()
        );
    }
}

fn has_attribute_block(inode: &Inode) -> bool {
    inode.data().disk.lock().file_acl != 0
}

/// Sees to it that no list on the disk costs the inode its block of attributes, should the machine stop when it has been synced:
/// the number may have been on the list until lately, for this file or for one before it.
///
/// # Errors
///
/// `EIO` where some write to the device fails.
pub(super) fn before_sync(inode: &Inode) -> Result {
    if !has_attribute_block(inode) {
        return Ok(());
    }
    let sb = inode.sb();
    let then = {
        let orphans = sb.data().orphans.lock();
        // CAST: all numbers have 32 bits.
        if !orphans.taken.may_have(inode.ino() as u32) {
            return Ok(());
        }
        orphans.taken.now()
    };
    // The superblock and whatever inodes lead to it: with all else, for that is simple, and seldom.
    if !super_block::write_all(sb) {
        return Err(EIO);
    }
    is_on_disk(sb, then);
    Ok(())
}

/// How far it has come, to be asked before all is written, for [`is_on_disk`].
pub(super) fn now(sb: &SuperBlock) -> u64 {
    sb.data().orphans.lock().taken.now()
}

/// All that had changed `then` is on the disk.
pub(super) fn is_on_disk(sb: &SuperBlock, then: u64) {
    sb.data().orphans.lock().taken.is_on_disk(then);
}

/// Whether nothing has been put on the list since the mount and is there still. What a read-only mount leaves on the disk does
/// not count.
pub(super) fn is_empty(sb: &SuperBlock) -> bool {
    sb.data().orphans.lock().first == 0
}

/// Takes an inode off the list, if it is there; its `i_dtime` is 0 then. C: `ext4_orphan_del`.
///
/// # Errors
///
/// `EIO`, `EUCLEAN`, reported: it is on the list as before, on disk and in memory. For an inode with links that is harmless; one
/// without must keep its number, for the list leads through it.
pub(super) fn remove(transaction: &Transaction<'_>, inode: &Inode) -> Result {
    let sb = inode.sb();
    let ino = u32::try_from(inode.ino()).map_err(|_| EUCLEAN)?;
    let mut orphans = sb.data().orphans.lock();
    let Some(was) = orphans.all.get(&ino).copied() else {
        return Ok(());
    };
    unchain(transaction, ino, was).inspect_err(|e| {
        error::report(sb, fmt!("inode {ino}: left on the orphan list: {e:?}"));
    })?;
    orphans.take(ino);
    Ok(())
}

/// The part of [`remove`] that is about the disk.
fn unchain(transaction: &Transaction<'_>, ino: u32, was: Neighbours) -> Result {
    // Read first: once the list leads past the inode, nothing may fail.
    let (own, off) = inode::buffer(transaction.sb(), u64::from(ino))?;
    if was.previous == 0 {
        super_block::set_last_orphan(transaction.sb(), was.next)?;
    } else {
        inode::put_dtime(transaction, was.previous, was.next)?;
    }
    inode::put_dtime_at(transaction, own, off, ino, 0)
}

/// Deals with what a crash has left on the list, when a filesystem becomes writable. Nothing of a list that is damaged
/// anywhere is believed. C: `ext4_orphan_cleanup`.
pub(super) fn cleanup(sb: &SuperBlock) {
    if let Err(e) = try_cleanup(sb) {
        pr_err!("({}): orphan list dropped: {e:?}\n", sb.id());
        // In memory too, or the next inode on it would lead to what was dropped.
        let mut orphans = sb.data().orphans.lock();
        orphans.forget();
        if let Err(e) = super_block::set_last_orphan(sb, 0) {
            pr_err!("({}): superblock not written: {e:?}\n", sb.id());
        }
    }
}

fn try_cleanup(sb: &SuperBlock) -> Result {
    let first = super_block::last_orphan(sb)?;
    if first == 0 {
        return Ok(());
    }
    if super_block::had_errors(sb) {
        pr_info!(
            "({}): errors on filesystem: clearing the orphan list\n",
            sb.id()
        );
        return super_block::set_last_orphan(sb, 0);
    }
    let Some(count) = orphan::walk(first, |ino| look(sb, ino).map(|found| found.next))? else {
        return Err(error::report(sb, fmt!("orphan list: comes back to itself")));
    };
    let _quotas = jquota::On::new(sb);
    let (mut deleted, mut truncated) = (0u32, 0u32);
    for _ in 0..count {
        let ino = super_block::last_orphan(sb)?;
        if ino == 0 {
            break;
        }
        // Again: on a damaged disk, what was deleted before it may have been in use by it.
        let found = look(sb, ino)?;
        let orphan = inode::iget_orphan(sb, u64::from(ino))?;
        {
            let neighbours = Neighbours {
                previous: 0,
                next: found.next,
            };
            let node = RBTreeNode::new(ino, neighbours, GFP_KERNEL)?;
            sb.data().orphans.lock().insert(node, ino, found.next);
        }
        if found.is_deleted {
            deleted = deleted.saturating_add(1);
        } else {
            if let Err(e) = orphan.quota_initialize() {
                // As for one that is deleted: what it has stays charged, and e2fsck finds it.
                pr_err!(
                    "({}): inode {ino}: shortened without its quotas: {e:?}\n",
                    sb.id()
                );
            }
            let lock = orphan.lock();
            let cut = buffered::cut(&lock);
            remove(&Transaction::start(sb), &orphan)?;
            cut?;
            truncated = truncated.saturating_add(1);
        }
        // The last user goes, and with it an inode that has no name, which takes itself off the list.
        drop(orphan);
        if sb.data().record.has_error() {
            return Err(EUCLEAN);
        }
    }
    tell(sb, deleted, "orphan inode", "deleted");
    tell(sb, truncated, "truncate", "cleaned up");
    Ok(())
}

/// As ext4 tells it.
fn tell(sb: &SuperBlock, count: u32, what: &str, done: &str) {
    if count != 0 {
        let plural = if count == 1 { "" } else { "s" };
        pr_info!("({}): {count} {what}{plural} {done}\n", sb.id());
    }
}

/// What the disk says of an inode on the list.
struct Found {
    /// No links: to be deleted. Otherwise to be truncated.
    is_deleted: bool,
    /// The next on the list, or 0.
    next: u32,
}

/// Checks that an inode may be on the list. C: `ext4_orphan_get`.
///
/// # Errors
///
/// `EUCLEAN` where it may not, `EIO`.
fn look(sb: &SuperBlock, ino: u32) -> Result<Found> {
    let geo = &sb.data().geo;
    let bad = |why: &str| Err(error::report(sb, fmt!("orphan list: inode {ino}: {why}")));
    let ordinary = geo.first_ino()..=geo.inodes_count();
    if !ordinary.contains(&ino) || quota::is_hidden_file(sb, ino) {
        return bad("no such file");
    }
    let (group, index) = geo
        .inode_group(ino)
        .or_report(sb, At::Inode(u64::from(ino)))?;
    let bitmap = sb.bread(group::open(sb, group)?.places().inode_bitmap.get())?;
    if !bitmap::test(&bitmap, index).or_report(sb, At::InodeBitmap(group))? {
        return bad("free in its bitmap");
    }
    let (buffer, off) = inode::buffer(sb, u64::from(ino))?;
    let raw: RawInode = buffer.get(off).or_report(sb, At::Inode(u64::from(ino)))?;
    let is_deleted = raw.links_count.get() == 0;
    if raw.mode.get() == 0 {
        return bad("not in use");
    }
    if !is_deleted && raw.file_type() != S_IFREG {
        return bad("has links, and cannot be truncated");
    }
    let next = raw.dtime.get();
    if next > geo.inodes_count() {
        return bad("names no inode as the next");
    }
    Ok(Found { is_deleted, next })
}
