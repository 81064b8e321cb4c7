// SPDX-License-Identifier: GPL-2.0

//! Taking blocks away from a file. C: `ext4_ind_truncate` and `ext4_ind_remove_space` in `fs/ext4/indirect.c`.
//!
//! Who calls this has seen to it that no page of the range is left and no I/O to it is in flight.

use super::{
    balloc::{self, Run},
    error::{self, At, OrReport},
    inode,
    map::{put_ptr, read_ptr, BlockMap},
    Inode, Transaction,
};
use crate::{
    format::indirect::{self, DIRECT_BLOCKS},
    vfs::errno::EUCLEAN,
};
use kernel::prelude::*;

/// Frees all blocks of file blocks `start..end`, and indirect blocks that have nothing left. The inode's buffer knows of it then:
/// whoever gets the blocks may sync a neighbour there, and the disk must not have two owners for them.
///
/// # Errors
///
/// `EIO` where the buffer cannot be had; the blocks are free.
pub(super) fn free_range(
    transaction: &Transaction<'_>,
    inode: &Inode,
    start: u32,
    end: u64,
) -> Result {
    free_range_of(transaction, inode, &mut inode.data().map.lock(), start, end);
    inode::write(inode).map(drop)
}

/// The first part of [`free_range`], with the inode's map locked already.
pub(super) fn free_range_of(
    transaction: &Transaction<'_>,
    inode: &Inode,
    map: &mut BlockMap,
    start: u32,
    end: u64,
) {
    let mut freeing = Freeing {
        transaction,
        inode,
        run: None,
        freed: 0,
        damaged: false,
    };
    freeing.tree(map, u64::from(start), end);
    freeing.flush();
    let freed = freeing.freed;
    map.shrunk();
    map.close_window(inode);
    if freed != 0 {
        inode.quota_release(freed);
        inode.mark_dirty();
    }
}

/// Frees everything from byte `size` on, the block that `size` lies in excepted.
///
/// # Errors
///
/// As [`free_range`].
pub(super) fn free_from(transaction: &Transaction<'_>, inode: &Inode, size: u64) -> Result {
    let sb = inode.sb();
    match u32::try_from(sb.block_of(sb.round_up(size))) {
        Ok(first) => free_range(transaction, inode, first, u64::MAX),
        Err(_) => Ok(()),
    }
}

/// Frees everything, of an inode that is about to be written for the last time.
pub(super) fn free_all(transaction: &Transaction<'_>, inode: &Inode) {
    free_range_of(
        transaction,
        inode,
        &mut inode.data().map.lock(),
        0,
        u64::MAX,
    );
}

/// Frees blocks run by run.
struct Freeing<'a, 'sb> {
    transaction: &'a Transaction<'sb>,
    inode: &'a Inode,
    run: Option<Run>,
    /// Blocks that the file has no more, for `i_blocks`.
    freed: u64,
    /// A block was free already: the tree refers to a block twice, perhaps to itself. No further; the rest is
    /// e2fsck's.
    damaged: bool,
}

impl Freeing<'_, '_> {
    /// Walks the inode's own pointers.
    fn tree(&mut self, map: &mut BlockMap, start: u64, end: u64) {
        let bits = self.inode.sb().data().geo.ptrs_bits();
        let mut base: u64 = 0;
        for (index, ptr) in map.roots() {
            let level = index.saturating_sub(DIRECT_BLOCKS - 1);
            let span = indirect::span(level, bits);
            if ptr != 0
                && overlaps(base, span, start, end)
                && self.subtree(ptr, level, base, start, end)
            {
                map.set_root(index, 0);
                self.inode.mark_dirty();
            }
            base = base.saturating_add(span);
        }
    }

    /// Frees what of the subtree at `ptr` (its level: 0 for data) lies in the range; `true` if nothing is left, so that
    /// the pointer to it must go.
    ///
    /// Recurses three levels at most.
    fn subtree(&mut self, ptr: u32, level: u32, base: u64, start: u64, end: u64) -> bool {
        let sb = self.inode.sb();
        let geo = &sb.data().geo;
        let whole =
            start <= base && base.saturating_add(indirect::span(level, geo.ptrs_bits())) <= end;
        if self.damaged {
            return whole;
        }
        if let Err(corrupt) = sb.data().check_blocks(ptr, 1) {
            // Nothing there is ours to free; without the pointer the file is sound again.
            error::report_inode(
                sb,
                self.inode.ino(),
                fmt!("inode {}: freeing: {corrupt}", self.inode.ino()),
            );
            return true;
        }
        if level == 0 {
            if !self.inode.is_regular() {
                // A directory's blocks are metadata: dirty, and on this inode's list for fsync. The block's next owner
                // must find neither.
                if let Some(buffer) = sb.find_buffer(ptr) {
                    self.transaction.forget(buffer);
                }
            }
            self.block(ptr);
            return true;
        }
        let Ok(buffer) = sb.bread(ptr) else {
            error::report_inode(
                sb,
                self.inode.ino(),
                fmt!(
                    "inode {}: indirect block {ptr} cannot be read",
                    self.inode.ino()
                ),
            );
            // Its blocks are lost until e2fsck; the pointer stays where it may still be wanted.
            return whole;
        };
        let below = level.saturating_sub(1);
        let span = indirect::span(below, geo.ptrs_bits());
        let mut left = false;
        let mut access = self.transaction.write(buffer);
        for index in 0..geo.ptrs_per_block() {
            let child_base = base.saturating_add(u64::from(index).saturating_mul(span));
            let at = At::Indirect(self.inode.ino(), ptr);
            let Ok(child) = read_ptr(&access, index).or_report(sb, at) else {
                return false;
            };
            if child == 0 {
                continue;
            }
            if overlaps(child_base, span, start, end)
                && self.subtree(child, below, child_base, start, end)
            {
                if !whole && put_ptr(&mut access, index, 0).or_report(sb, at).is_err() {
                    return false;
                }
            } else {
                left = true;
            }
        }
        if left {
            access.dirty_for(self.inode);
            return false;
        }
        // The block goes: whatever is dirty in it need not be written.
        self.transaction.forget(access.abandon());
        self.block(ptr);
        true
    }

    /// Frees one block, with its neighbours as far as they follow.
    fn block(&mut self, block: u32) {
        self.freed = self.freed.saturating_add(1);
        match &mut self.run {
            Some(run) if run.start.checked_add(run.count) == Some(block) => {
                run.count = run.count.saturating_add(1);
            }
            _ => {
                self.flush();
                self.run = Some(Run {
                    start: block,
                    count: 1,
                });
            }
        }
    }

    fn flush(&mut self) {
        if let Some(run) = self.run.take() {
            // What a disk does not give says nothing of the tree.
            self.damaged |= balloc::free(self.transaction, run).is_err_and(|e| e == EUCLEAN);
        }
    }
}

/// Whether `span` blocks from `base` on share any with `start..end`.
fn overlaps(base: u64, span: u64, start: u64, end: u64) -> bool {
    base < end && start < base.saturating_add(span)
}
