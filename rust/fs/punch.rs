// SPDX-License-Identifier: GPL-2.0

//! Punching holes. C: `ext4_fallocate` in `fs/ext4/extents.c`, `ext4_punch_hole` in `fs/ext4/inode.c`.
//!
//! Whatever else `fallocate(2)` does needs blocks that read as zeroes before they are written, and this format has none.

use super::{record, truncate, Inode, Locked, Notblk, Transaction};
use crate::vfs::{
    errno::EOPNOTSUPP,
    fallocate::{self, Mode},
    hold::Point,
    locked::InvalidateLock,
    Exclusive, OpenFile,
};
use kernel::prelude::*;

impl fallocate::Operations for Notblk {
    fn fallocate(file: &OpenFile<'_, Self>, mode: Mode, offset: u64, len: u64) -> Result {
        if mode == Mode::Other {
            return Err(EOPNOTSUPP);
        }
        let pass = |point| file.inode().pass(point, || file.owner(), offset, len);
        pass(Point::PunchBegin);
        let lock = file.inode().lock();
        // Direct I/O in flight ends, and none begins while the lock is held.
        lock.dio_wait();
        pass(Point::PunchDrained);
        // Before anybody asks whether the format can do it, as ext4: a call that fails has changed the timestamps.
        file.modified(&lock)?;
        match mode {
            Mode::PunchHole => punch_hole(file, &lock, offset, len),
            _ => Err(EOPNOTSUPP),
        }
    }
}

/// Takes the blocks away that lie in the range as a whole, and zeroes what else of it there is. Past the end of file there
/// is nothing to do.
fn punch_hole(
    file: &OpenFile<'_, Notblk>,
    lock: &Locked<Exclusive>,
    offset: u64,
    len: u64,
) -> Result {
    let inode: &Inode = lock;
    let sb = inode.sb();
    let size = inode.size();
    // The last block that the format can address stays, as ext4 has it.
    let max_end = sb
        .data()
        .geo
        .max_file_size()
        .saturating_sub(sb.block_bytes());
    if offset >= size || offset >= max_end {
        return Ok(());
    }
    record::emergency_state(sb)?;
    let mut end = offset.saturating_add(len);
    if end >= size {
        // Nobody reads the rest of the last block, so that it can go too.
        end = sb.round_up(size);
    }
    let end = end.min(max_end);
    {
        // No page of the range comes back before its blocks are gone.
        let invalidate = InvalidateLock::new(inode);
        write_ends(inode, offset, end)?;
        lock.truncate_pagecache_range(&invalidate, offset, end);
        zero_partial_blocks(lock, offset, end)?;
        let first = sb.block_of(sb.round_up(offset));
        let behind = sb.block_of(end);
        if first < behind {
            // CAST: below the format's limit, which is a block number of 32 bits.
            let first = first as u32;
            truncate::free_range(&Transaction::start(sb), inode, first, behind)?;
        }
    }
    inode.mark_dirty();
    if file.is_sync() {
        inode.write_and_wait_range(offset, end.saturating_sub(1))?;
        inode.sync_metadata()?;
    }
    Ok(())
}

/// Writes the folios that reach over an end of `offset..end`, and waits. They stay in the cache, and C forgets what of them is
/// dirty only where it knows that by block: else write-back would still find them dirty, and have a block in hand that is freed
/// meanwhile and is somebody else's when the write gets there. With `i_rwsem` and `invalidate_lock` held nobody makes them dirty
/// again. ext4's buffers remember each for itself that it has no block any more; XFS flushes the range, as we do.
///
/// And a block that is larger than a page may be dropped as a whole where the hole takes a part of it: C splits a folio of several
/// blocks, and goes on at the next page. What is on the disk is not lost by that.
fn write_ends(inode: &Inode, offset: u64, end: u64) -> Result {
    let last = end.saturating_sub(1);
    inode.write_and_wait_range(offset, offset)?;
    inode.write_and_wait_range(last, last)
}

/// Zeroes the parts of blocks at both ends of `offset..end`. C: `ext4_zero_partial_blocks`.
fn zero_partial_blocks(lock: &Locked<Exclusive>, offset: u64, end: u64) -> Result {
    let sb = lock.sb();
    if sb.offset_in_block(offset) != 0 {
        let stop = sb.round_up(offset).min(end);
        lock.zero_range(offset, stop.saturating_sub(offset))?;
    }
    let start = end.saturating_sub(sb.offset_in_block(end));
    // Not the block that has just been dealt with.
    if start >= offset {
        lock.zero_range(start, end.saturating_sub(start))?;
    }
    Ok(())
}
