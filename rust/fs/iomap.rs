// SPDX-License-Identifier: GPL-2.0

//! What iomap asks: which blocks a range of a file has, or gets. C: `ext2_iomap_begin` in `fs/ext2/inode.c`,
//! `ext4_iomap_begin` and `ext4_iomap_alloc` in `fs/ext4/inode.c`.

use super::{
    balloc::{self, Run},
    map::{Lookup, Reads},
    truncate, xattr, Inode, Notblk, Transaction,
};
use crate::vfs::{
    iomap::{self, AttributesAt, Flags, Mapping},
    shutdown::Operations as _,
};
use kernel::prelude::*;

impl iomap::Operations for Notblk {
    fn iomap_begin(inode: &Inode, pos: u64, len: u64, flags: Flags) -> Result<(Mapping, u64)> {
        if flags.is_write() {
            Self::check_alive(inode.sb())?;
        }
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
        let holes = match map.lookup(inode, lblk, count, reads)? {
            Lookup::Mapped(run) if flags.is_direct() && !flags.is_write() => {
                let answer = (mapped(inode, lblk, run, false, false), map.state());
                drop(map);
                settle(inode, pos, len, flags)?;
                return Ok(answer);
            }
            Lookup::Mapped(run) => {
                let dirty = flags.is_write()
                    && (pos.saturating_add(len) > inode.size() || inode.is_datasync_dirty());
                return Ok((mapped(inode, lblk, run, false, dirty), map.state()));
            }
            Lookup::Hole(count) => count,
        };
        if !flags.is_write() {
            return Ok((hole(inode, lblk, holes), map.state()));
        }
        if flags.is_nowait() {
            return Err(EAGAIN);
        }
        if !flags.is_direct() && !flags.is_fault() {
            // Readers may look as soon as a block has a place, so a buffered write gets its blocks when it has locked the
            // folio that they belong to, and no earlier.
            let holes = map.holes(inode, lblk, holes, count);
            let count = balloc::expect(inode.sb(), holes.min(map.take_at_most()))?;
            return Ok((
                Mapping::Reserved {
                    offset: inode.sb().bytes_of(lblk),
                    length: inode.sb().bytes_of(count),
                },
                map.state(),
            ));
        }
        if flags.is_direct() && inode.sb().bytes_of(lblk) < inode.size() {
            // The heart of the matter. A block given to a hole inside i_size is readable at once, and shows what the disk
            // had until the direct write gets there, or for ever if the machine dies first. Formats with unwritten extents
            // mark it; this one cannot. The page cache can fill the hole safely, so send the write there.
            return Err(ENOTBLK);
        }
        // Past i_size, where nobody reads; or a fault, whose folio is locked and complete.
        let run = map.allocate(&Transaction::start(inode.sb()), inode, lblk, holes)?;
        Ok((mapped(inode, lblk, run, true, true), map.state()))
    }

    fn iomap_report(inode: &Inode, pos: u64, len: u64) -> Result<Mapping> {
        let sb = inode.sb();
        if pos >= sb.data().geo.max_file_size() {
            let before = sb.offset_in_block(pos);
            return Ok(Mapping::Hole {
                offset: pos.saturating_sub(before),
                length: len.saturating_add(before),
            });
        }
        let (lblk, count) = blocks(inode, pos, len)?;
        let map = inode.data().map.lock();
        Ok(match map.lookup(inode, lblk, count, Reads::Allowed)? {
            Lookup::Mapped(run) => {
                // A swap file's map must be on disk for good.
                let dirty = pos.saturating_add(len) > inode.size() || inode.is_datasync_dirty();
                mapped(inode, lblk, run, false, dirty)
            }
            Lookup::Hole(count) => hole(inode, lblk, count),
        })
    }

    fn iomap_xattr(inode: &Inode) -> Result<AttributesAt> {
        xattr::place(inode)
    }

    fn size_changed(inode: &Inode) {
        inode.mark_dirty();
    }

    fn write_prepare(inode: &Inode, cookie: u64, pos: u64, len: u64) -> Result<Option<u64>> {
        Self::check_alive(inode.sb())?;
        let (lblk, count) = blocks(inode, pos, len)?;
        let mut map = inode.data().map.lock();
        if map.state() != cookie {
            return Ok(None);
        }
        if inode.sb().offset_in_block(pos) != 0
            && matches!(
                map.lookup(inode, lblk, 1, Reads::Allowed)?,
                Lookup::Mapped(_)
            )
        {
            // This write has filled the front of the block: an earlier round got it, and could copy no more. It is not a hole
            // to be filled, nor to be taken back if nothing more can be copied. iomap asks again.
            map.outdate();
            return Ok(None);
        }
        let transaction = Transaction::start(inode.sb());
        let mut done = 0;
        while done < count {
            // They were holes when the map was in this state.
            let next = lblk.saturating_add(done);
            match map.allocate(&transaction, inode, next, count.saturating_sub(done)) {
                Ok(run) => done = done.saturating_add(run.count),
                Err(e) => {
                    let end = u64::from(lblk).saturating_add(u64::from(done));
                    truncate::free_range_of(&transaction, inode, &mut map, lblk, end);
                    if done == 0 {
                        return Err(e);
                    }
                    // The folio cannot have all of its blocks. The map has changed, so iomap asks again, and gets less: what
                    // there is room for is written, as a folio of one block would have been.
                    map.set_at_most(done);
                    return Ok(None);
                }
            }
        }
        map.set_fresh(lblk, done);
        Ok(Some(map.state()))
    }

    fn write_done(inode: &Inode, pos: u64, copied: u64) {
        let sb = inode.sb();
        let mut map = inode.data().map.lock();
        let Some((lblk, count)) = map.take_fresh() else {
            return;
        };
        // Blocks that the write did not reach would show what the disk had.
        let reached = if copied == 0 {
            sb.block_of(pos)
        } else {
            sb.block_of(sb.round_up(pos.saturating_add(copied)))
        };
        let end = u64::from(lblk).saturating_add(u64::from(count));
        if reached < end {
            // CAST: below `end`, which is a file block.
            let start = lblk.max(reached as u32);
            let state = map.state();
            truncate::free_range_of(&Transaction::start(sb), inode, &mut map, start, end);
            // The write's mapping, a hole to be filled, is as true as before: iomap tries again with less, and must not
            // begin anew with all of it.
            map.restore(state);
        }
    }

    fn is_valid(inode: &Inode, cookie: u64) -> bool {
        inode.data().map.lock().state() == cookie
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

/// What is in a block that a direct read has found is to be on disk. A fault gives a hole a block without `i_rwsem`: also after
/// iomap has flushed the range and before it asks, and then the data is in the page cache, or will be in a moment. Who finds the
/// block in the map sees the writable mapping, or the dirty page that it has left behind. Nothing takes the block away, for the
/// reader has `i_rwsem`.
fn settle(inode: &Inode, pos: u64, len: u64, flags: Flags) -> Result {
    if !inode.may_be_dirty() {
        return Ok(());
    }
    let last = pos.saturating_add(len.max(1)).saturating_sub(1);
    match flags.is_nowait() {
        true if inode.is_written_after_faults(pos, last) => Ok(()),
        true => Err(EAGAIN),
        false => inode.write_after_faults(pos, last),
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
