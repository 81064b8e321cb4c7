// SPDX-License-Identifier: GPL-2.0

//! Allocating and freeing blocks. C: `fs/ext2/balloc.c`.
//!
//! Buffers are read, and damage is reported, without a lock; a bitmap is searched and changed, and the counts with it, under
//! `SuperData::space`. Free blocks that the device is being told of ([`Space::discarding`]) are nobody's meanwhile.

use super::{
    discard::Turn,
    error::{self, At, OrReport},
    group,
    limits::kept,
    record,
    reserve::{Owner, PIECE},
    super_block::Space,
    SuperBlock, Transaction,
};
use crate::{
    format::{bitmap, block::BlockMut, corrupt::Corrupt, group::RawGroupDesc},
    vfs::Buffer,
};
use core::ops::ControlFlow::{self, Break, Continue};
use kernel::prelude::*;
use zerocopy::little_endian::U16;

/// A run of consecutive blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// First block on the device.
    pub(super) start: u32,
    /// Number of blocks, at least one.
    pub(super) count: u32,
}

/// How to look for a place.
#[derive(Clone, Copy)]
struct Search {
    /// The first block wanted, which is taken however few follow it.
    goal: u32,
    /// The most blocks to take.
    want: u32,
    /// Blocks that stay free, for others: see [`kept`].
    kept: u64,
    /// Elsewhere: the fewest that are free in one place, whether they are wanted now or later.
    room: u32,
    /// Whose windows are no obstacle; `None`: nobody's is.
    windows: Option<Heed>,
}

/// Others' windows are left alone; the inode's own, if it has one, is not.
#[derive(Clone, Copy)]
struct Heed(Option<u64>);

/// Allocates up to `want` consecutive blocks, near `goal` if there is room. `owner` has a window for what it will want next;
/// who has none leaves those of others alone all the same.
///
/// # Errors
///
/// `ENOSPC`, `EUCLEAN`, `EIO`; `EROFS` in an emergency; nothing is changed.
pub(super) fn allocate(
    transaction: &Transaction<'_>,
    goal: u32,
    want: u32,
    mut owner: Option<&mut Owner<'_>>,
) -> Result<Run> {
    let sb = transaction.sb();
    let data = sb.data();
    record::emergency_state(sb)?;
    let want = want.max(1);
    let mut turn = None;
    loop {
        let (free, returned) = {
            let space = data.space.lock();
            (space.free_blocks, space.returned_blocks)
        };
        let kept = kept(sb, free, want);
        if free <= kept {
            return Err(ENOSPC);
        }
        let found = search(transaction, goal, want, kept, owner.as_deref_mut())?;
        if let Some(run) = found {
            return Ok(run);
        }
        let (free, discarding) = {
            let space = data.space.lock();
            // Others were here meanwhile. Blocks may have been freed behind the search.
            if space.free_blocks <= kept || space.returned_blocks != returned {
                continue;
            }
            (space.free_blocks, space.discarding.is_some())
        };
        if !discarding || turn.is_some() {
            // The counts promised blocks that the bitmaps do not have.
            error::report(
                sb,
                fmt!("{free} blocks should be free, but no bitmap has one"),
            );
            return Err(ENOSPC);
        }
        // The device has the rest, for a while.
        turn = Some(Turn::take(sb));
    }
}

/// Looks for a run everywhere, and takes it. `None` where there is none to be had now.
fn search(
    transaction: &Transaction<'_>,
    goal: u32,
    want: u32,
    kept: u64,
    mut owner: Option<&mut Owner<'_>>,
) -> Result<Option<Run>> {
    let sb = transaction.sb();
    let geo = &sb.data().geo;
    let goal = geo.check_data_block(goal).unwrap_or(geo.first_data_block());
    let (first_group, goal_bit) = geo.block_group(goal).or_report(sb, At::Goal(goal))?;
    let heed = Heed(owner.as_ref().map(|owner| owner.ino));
    let groups = geo.group_count();
    let piece = want.min(PIECE);
    let room = owner.as_ref().map_or(piece, |owner| owner.room(want));
    // From the goal to the end of its group, a place with room for more; then anything, from the goal on and through the other
    // groups and back to the beginning of the first; at last, what is kept for others.
    for (room, windows, rounds) in [
        (room, Some(heed), 0),
        (piece, Some(heed), 0),
        (1, Some(heed), groups),
        (1, None, groups),
    ] {
        let search = Search {
            goal,
            want,
            kept,
            room,
            windows,
        };
        for n in 0..=rounds {
            let group = wrap(first_group, n, groups);
            let from = if n == 0 { goal_bit } else { 0 };
            let owner = owner.as_deref_mut();
            if let Break(found) = in_group(transaction, group, from, search, owner)? {
                return Ok(found);
            }
        }
    }
    Ok(None)
}

/// How many blocks a write of `want` may count on, those for its indirect blocks aside: so that one that comes to the end of the
/// space asks for what there is, and is short, rather than fail as a whole.
///
/// # Errors
///
/// `ENOSPC` where there is nothing.
pub(super) fn expect(sb: &SuperBlock, want: u32) -> Result<u32> {
    let free = sb.data().space.lock().free_blocks;
    let available = free.saturating_sub(kept(sb, free, want));
    if available == 0 {
        return Err(ENOSPC);
    }
    let indirect = available.min(4).saturating_sub(1);
    let most = available.saturating_sub(indirect);
    Ok(u32::try_from(most).unwrap_or(u32::MAX).min(want))
}

/// `base + n` in a ring of `len`: the next groups from one on, and around.
pub(super) fn wrap(base: u32, n: u32, len: u32) -> u32 {
    // In 64 bits, and below `len`. CAST: so it fits.
    ((u64::from(base) + u64::from(n)) % u64::from(len.max(1))) as u32
}

/// Takes a run from one group's bitmap, from bit `from` on. Where what is left is for others, no other group needs to be looked at.
fn in_group(
    transaction: &Transaction<'_>,
    group: u32,
    from: u32,
    search: Search,
    owner: Option<&mut Owner<'_>>,
) -> Result<ControlFlow<Option<Run>>> {
    let sb = transaction.sb();
    let data = sb.data();
    let at = At::BlockBitmap(group);
    let desc = group::open(sb, group)?;
    if u32::from(desc.counts(sb)?.free_blocks_count.get()) < search.room {
        return Ok(Continue(()));
    }
    let buffer = read_bitmap(sb, group, desc.places())?;

    let mut space = data.space.lock();
    // Others may have taken what was free when this began.
    let left = space.free_blocks.saturating_sub(search.kept);
    if left == 0 {
        return Ok(Break(None));
    }
    let (bit, count) = match find(sb, &space, group, &buffer, from, search) {
        // CAST: not above `count`.
        Ok(Some((bit, count))) => (bit, left.min(u64::from(count)) as u32),
        found => {
            drop(space);
            return found.map(|_| Continue(())).or_report(sb, at);
        }
    };
    let start = data.geo.group_first_block(group).saturating_add(bit);
    let valid = data.check_blocks(start, count);
    let mut desc = desc.write(transaction);
    let mut access = transaction.write(buffer);
    let set = if valid.is_ok() {
        bitmap::set_run(&mut access, bit, count).map(|()| count)
    } else {
        Ok(take_metadata(sb, &mut access, (start, bit), count))
    };
    if let Ok(taken) = set {
        change_free(&mut desc, &mut space, -i64::from(taken));
    }
    let run = Run { start, count };
    if let (Ok(()), Ok(_), Some(owner)) = (&valid, &set, owner) {
        space.windows.advance(owner, run, data.geo.blocks_count());
    }
    drop(space);

    desc.dirty();
    access.dirty();
    set.and(valid).map(|()| Break(Some(run))).or_report(sb, at)
}

/// Marks those of the blocks that hold metadata as in use, whatever the bitmap says: the next allocation must not meet them again.
/// Answers how many. C: `ext4_mb_mark_diskspace_used`.
fn take_metadata(
    sb: &SuperBlock,
    bitmap: &mut impl BlockMut,
    (start, bit): (u32, u32),
    count: u32,
) -> u32 {
    let mut taken: u32 = 0;
    for n in 0..count {
        if sb.data().check_blocks(start.saturating_add(n), 1).is_err()
            && bitmap::set_run(bitmap, bit.saturating_add(n), 1).is_ok()
        {
            taken = taken.saturating_add(1);
        }
    }
    taken
}

/// Looks for a run in a bitmap, from bit `from` on: its first bit, and how many.
fn find(
    sb: &SuperBlock,
    space: &Space,
    group: u32,
    bitmap: &Buffer<'_>,
    mut from: u32,
    search: Search,
) -> Result<Option<(u32, u32)>, Corrupt> {
    let geo = &sb.data().geo;
    let (first, bits) = (geo.group_first_block(group), geo.group_blocks(group));
    while from < bits {
        let at_goal = first.saturating_add(from) == search.goal;
        let found = if at_goal && !bitmap::test(bitmap, from)? {
            Some(from)
        } else {
            // Not piece by piece: there may be a quarter of a million of them, and others wait for the lock.
            bitmap::find_zeros(bitmap, from, bits, search.room)?
        };
        let Some(bit) = found else {
            return Ok(None);
        };
        let block = first.saturating_add(bit);
        let mut end = bits.min(bit.saturating_add(search.want.max(search.room)));
        if let Some(busy) = space.discarding {
            let behind = busy.start.saturating_add(busy.count);
            if (busy.start..behind).contains(&block) {
                from = behind.saturating_sub(first);
                continue;
            }
            if block < busy.start {
                end = end.min(busy.start.saturating_sub(first));
            }
        }
        if let Some(Heed(ino)) = search.windows {
            let open = space.windows.skip(block, ino);
            if open != block {
                from = open.saturating_sub(first);
                continue;
            }
            end = end.min(space.windows.limit(block, ino).saturating_sub(first));
        }
        let count = bitmap::zero_run(bitmap, bit, end)?;
        if count >= search.room || block == search.goal {
            return Ok(Some((bit, count.min(search.want))));
        }
        from = bit.saturating_add(count);
    }
    Ok(None)
}

/// Reads a group's bitmap, which must at least know that the group's metadata is in use. C: `ext2_valid_block_bitmap`.
pub(super) fn read_bitmap<'a>(
    sb: &'a SuperBlock,
    group: u32,
    desc: &RawGroupDesc,
) -> Result<Buffer<'a>> {
    let geo = &sb.data().geo;
    let buffer = sb.bread(desc.block_bitmap.get())?;
    for (start, count) in [
        (desc.block_bitmap.get(), 1),
        (desc.inode_bitmap.get(), 1),
        (desc.inode_table.get(), geo.inode_table_blocks()),
    ] {
        let bit = start.saturating_sub(geo.group_first_block(group));
        let free = bitmap::find_zero(&buffer, bit, bit.saturating_add(count))
            .or_report(sb, At::BlockBitmap(group))?;
        if let Some(bit) = free {
            let block = geo.group_first_block(group).saturating_add(bit);
            return Err(error::report(
                sb,
                fmt!("block bitmap of group {group}: has block {block} free, which holds metadata"),
            ));
        }
    }
    Ok(buffer)
}

/// Keeps descriptor and sum in step with a bitmap. `by` is below zero when blocks are taken.
fn change_free(desc: &mut group::Access<'_, '_>, space: &mut Space, by: i64) {
    space.free_blocks = space.free_blocks.saturating_add_signed(by);
    desc.change(space, |desc| {
        let count = i64::from(desc.free_blocks_count.get()).saturating_add(by);
        // CAST: clamped.
        desc.free_blocks_count = U16::new(count.clamp(0, i64::from(u16::MAX)) as u16);
    });
}

/// Frees a run.
///
/// # Errors
///
/// What is wrong with the run (outside the filesystem, metadata, free already: `EUCLEAN`) is reported here, and what else keeps
/// it from being freed (`EIO`); what is left of it is left alone. Callers that take something down go on, or stop walking a tree
/// that cannot be trusted.
pub(super) fn free(transaction: &Transaction<'_>, run: Run) -> Result {
    try_free(transaction, run).inspect_err(|&e| {
        error::report_failed(
            transaction.sb(),
            e,
            At::Freeing(run.start),
            fmt!("blocks {}+{} not freed: {e:?}", run.start, run.count),
        );
    })
}

fn try_free(transaction: &Transaction<'_>, mut run: Run) -> Result {
    let sb = transaction.sb();
    let data = sb.data();
    let geo = &data.geo;
    data.check_blocks(run.start, run.count)
        .or_report(sb, At::Freeing(run.start))?;
    let turn = Turn::for_freed(sb);
    while run.count > 0 {
        let (group, bit) = geo
            .block_group(run.start)
            .or_report(sb, At::Freeing(run.start))?;
        let count = run.count.min(geo.group_blocks(group).saturating_sub(bit));
        let desc = group::open(sb, group)?;
        desc.counts(sb)?;
        let freed = Run {
            start: run.start,
            count,
        };
        let buffer = read_bitmap(sb, group, desc.places())?;
        let mut desc = desc.write(transaction);
        let mut access = transaction.write(buffer);
        let cleared = {
            let mut space = data.space.lock();
            let cleared = bitmap::clear_run(&mut access, bit, count);
            if cleared.is_ok() {
                change_free(&mut desc, &mut space, i64::from(count));
                space.discarding = turn.as_ref().map(|_| freed).or(space.discarding);
                space.returned_blocks = space.returned_blocks.wrapping_add(1);
            }
            cleared
        };
        desc.dirty();
        access.dirty();
        cleared.or_report(sb, At::BlockBitmap(group))?;
        if let Some(turn) = &turn {
            turn.freed(freed);
        }
        run = Run {
            start: run.start.saturating_add(count),
            count: run.count.saturating_sub(count),
        };
    }
    Ok(())
}

/// A good place for an inode's first block: its own group, where other inodes' blocks begin elsewhere. C:
/// `ext2_find_near`.
pub(super) fn goal_for(sb: &SuperBlock, ino: u64) -> u32 {
    let geo = &sb.data().geo;
    let Ok((group, index)) = u32::try_from(ino)
        .map_err(|_| ())
        .and_then(|ino| geo.inode_group(ino).map_err(|_| ()))
    else {
        return geo.first_data_block();
    };
    // Sixteen starting places in a group, by inode.
    let colour = u64::from(index % 16) * u64::from(geo.group_blocks(group)) / 16;
    // CAST: below the number of blocks in a group.
    geo.group_first_block(group).saturating_add(colour as u32)
}
