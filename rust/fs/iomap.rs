// SPDX-License-Identifier: GPL-2.0

//! What iomap asks: which blocks a range of a file has, or gets. C: `ext2_iomap_begin` in `fs/ext2/inode.c`,
//! `ext4_iomap_begin` and `ext4_iomap_alloc` in `fs/ext4/inode.c`.

use super::{
    balloc::Run,
    map::{Lookup, Reads},
    truncate, Inode, Notblk, Transaction,
};
use crate::vfs::{
    iomap::{self, Done, Flags, Mapping, Release},
    locked::InvalidateLock,
};
use kernel::prelude::*;

impl iomap::Operations for Notblk {
    fn iomap_begin(inode: &Inode, pos: u64, len: u64, flags: Flags) -> Result<Mapping> {
        let (lblk, count) = blocks(inode, pos, len)?;
        let reads = if flags.is_nowait() {
            Reads::Cached
        } else {
            Reads::Allowed
        };
        let mut map = if flags.is_nowait() {
            inode.data().map.try_lock().ok_or(EAGAIN)?
        } else {
            inode.data().map.lock()
        };
        let hole = match map.lookup(inode, lblk, count, reads)? {
            Lookup::Mapped(run) => {
                let dirty = flags.is_write()
                    && (pos.saturating_add(len) > inode.size() || inode.is_datasync_dirty());
                return Ok(mapped(inode, lblk, run, false, dirty));
            }
            Lookup::Hole(count) => count,
        };
        if !flags.is_write() {
            return Ok(self::hole(inode, lblk, hole));
        }
        if flags.is_nowait() {
            return Err(EAGAIN);
        }
        if flags.is_direct() && inode.sb().bytes_of(lblk) < inode.size() {
            // The heart of the matter. A block given to a hole inside i_size is readable at once, and shows what the disk
            // had until the direct write gets there, or for ever if the machine dies first. Formats with unwritten extents
            // mark it; this one cannot. The page cache can fill the hole safely, so send the write there.
            return Err(ENOTBLK);
        }
        let run = map.allocate(&Transaction::start(inode.sb()), inode, lblk, hole)?;
        Ok(mapped(inode, lblk, run, true, true))
    }

    fn iomap_end(inode: &Inode, done: &Done, release: Release<'_>) -> Result {
        if done.size_changed {
            inode.mark_dirty();
        }
        // Blocks that a buffered write got and did not fill would show what the disk had. (Direct writes get blocks past
        // i_size only, and give them back in `direct`; a page fault fills what it gets.)
        let short = done.new && done.written < done.len;
        if short && !done.flags.is_direct() && !done.flags.is_fault() {
            let sb = inode.sb();
            let start = if done.written == 0 {
                done.pos.saturating_sub(sb.offset_in_block(done.pos))
            } else {
                sb.round_up(done.pos.saturating_add(done.written))
            };
            let end = sb.round_up(done.pos.saturating_add(done.len));
            if start < end {
                release.unwritten(&InvalidateLock::new(inode), start, end);
            }
        }
        Ok(())
    }

    fn punch_unwritten(inode: &Inode, pos: u64, len: u64) {
        let sb = inode.sb();
        if let Ok(start) = u32::try_from(sb.block_of(pos)) {
            let end = sb.block_of(pos.saturating_add(len));
            truncate::free_range(&Transaction::start(sb), inode, start, end);
        }
    }

    fn writeback_map(inode: &Inode, pos: u64, len: u64) -> Result<Mapping> {
        let (lblk, count) = blocks(inode, pos, len)?;
        Ok(
            match inode
                .data()
                .map
                .lock()
                .lookup(inode, lblk, count, Reads::Allowed)?
            {
                Lookup::Mapped(run) => mapped(inode, lblk, run, false, false),
                Lookup::Hole(count) => hole(inode, lblk, count),
            },
        )
    }
}

/// First file block and number of blocks of a range of bytes.
fn blocks(inode: &Inode, pos: u64, len: u64) -> Result<(u32, u32)> {
    let sb = inode.sb();
    let first = u32::try_from(sb.block_of(pos)).map_err(|_| EFBIG)?;
    let end = sb.block_of(sb.round_up(pos.saturating_add(len.max(1))));
    Ok((
        first,
        u32::try_from(end.saturating_sub(u64::from(first))).unwrap_or(u32::MAX),
    ))
}

fn hole(inode: &Inode, lblk: u32, count: u32) -> Mapping {
    let sb = inode.sb();
    Mapping::Hole {
        offset: sb.bytes_of(lblk),
        length: sb.bytes_of(count),
    }
}

fn mapped(inode: &Inode, lblk: u32, run: Run, new: bool, dirty: bool) -> Mapping {
    let sb = inode.sb();
    Mapping::Mapped {
        offset: sb.bytes_of(lblk),
        length: sb.bytes_of(run.count),
        addr: sb.bytes_of(run.start),
        new,
        dirty,
    }
}
