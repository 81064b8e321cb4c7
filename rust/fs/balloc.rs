// SPDX-License-Identifier: GPL-2.0

//! Allocating and freeing blocks. C: `fs/ext2/balloc.c`.
//!
//! `SuperData::space` is held throughout: one allocation at a time.

use super::{
    discard,
    error::{self, At, OrReport},
    group,
    super_block::Space,
    SuperBlock, Transaction,
};
use crate::{
    format::{bitmap, geometry::Geometry, group::RawGroupDesc},
    vfs::{super_block::may_use_reserved, Buffer},
};
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

/// Allocates up to `want` consecutive blocks, near `goal` if there is room.
///
/// # Errors
///
/// `ENOSPC`, with nothing changed; `EUCLEAN`, `EIO`.
pub(super) fn allocate(transaction: &Transaction<'_>, goal: u32, want: u32) -> Result<Run> {
    let sb = transaction.sb();
    let data = sb.data();
    let geo = &data.geo;
    let mut space = data.space.lock();
    let reserved = if may_use_reserved() {
        0
    } else {
        u64::from(geo.reserved_blocks())
    };
    let available = space.free_blocks.saturating_sub(reserved);
    if available == 0 {
        return Err(ENOSPC);
    }
    // CAST: not above `want`.
    let want = u64::from(want.max(1)).min(available) as u32;

    let goal = geo.check_data_block(goal).unwrap_or(geo.first_data_block());
    let (first_group, goal_bit) = geo.block_group(goal).or_report(sb, At::Goal(goal))?;
    // From the goal to the end of its group, then the other groups, then the goal's group from its beginning.
    for n in 0..=geo.group_count() {
        let group = wrap(first_group, n, geo.group_count());
        let from = if n == 0 { goal_bit } else { 0 };
        if let Some(run) = in_group(transaction, &mut space, group, from, want)? {
            return Ok(run);
        }
    }
    // The counts promised blocks that the bitmaps do not have.
    Err(match space.free_blocks {
        0 => ENOSPC,
        n => {
            error::report(sb, fmt!("{n} blocks should be free, but no bitmap has one"));
            ENOSPC
        }
    })
}

/// How many blocks a write may count on, those for its indirect blocks aside: so that one that comes to the end of the
/// space asks for what there is, and is short, rather than fail as a whole.
///
/// # Errors
///
/// `ENOSPC` where there is nothing.
pub(super) fn expect(sb: &SuperBlock) -> Result<u32> {
    let data = sb.data();
    let reserved = if may_use_reserved() {
        0
    } else {
        u64::from(data.geo.reserved_blocks())
    };
    let available = data.space.lock().free_blocks.saturating_sub(reserved);
    if available == 0 {
        return Err(ENOSPC);
    }
    let indirect = available.min(4).saturating_sub(1);
    Ok(u32::try_from(available.saturating_sub(indirect)).unwrap_or(u32::MAX))
}

/// `base + n` in a ring of `len`: the next groups from one on, and around.
pub(super) fn wrap(base: u32, n: u32, len: u32) -> u32 {
    // In 64 bits, and below `len`. CAST: so it fits.
    ((u64::from(base) + u64::from(n)) % u64::from(len.max(1))) as u32
}

/// Takes a run from one group's bitmap, from bit `from` on.
fn in_group(
    transaction: &Transaction<'_>,
    space: &mut Space,
    group: u32,
    from: u32,
    want: u32,
) -> Result<Option<Run>> {
    let sb = transaction.sb();
    let geo = &sb.data().geo;
    let desc = group::read(sb, group)?;
    if desc.free_blocks_count.get() == 0 {
        return Ok(None);
    }
    let bits = geo.group_blocks(group);
    let at = At::BlockBitmap(group);
    let buffer = read_bitmap(sb, group, &desc)?;
    let Some(bit) = bitmap::find_zero(&buffer, from, bits).or_report(sb, at)? else {
        return Ok(None);
    };
    let run =
        bitmap::zero_run(&buffer, bit, bits.min(bit.saturating_add(want))).or_report(sb, at)?;
    let run = Run {
        start: geo.group_first_block(group).saturating_add(bit),
        count: run,
    };
    let mut access = transaction.write(buffer);
    bitmap::set_run(&mut access, bit, run.count).or_report(sb, at)?;
    access.dirty();
    change_free(transaction, space, group, -i64::from(run.count))?;
    Ok(Some(run))
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

/// Whether a run reaches into the group's own bitmaps or inode table. C: the checks of `ext2_free_blocks`.
fn touches_metadata(geo: &Geometry, desc: &RawGroupDesc, run: Run) -> bool {
    let overlaps = |start: u32, count: u32| {
        u64::from(run.start) < u64::from(start) + u64::from(count)
            && u64::from(start) < u64::from(run.start) + u64::from(run.count)
    };
    overlaps(desc.block_bitmap.get(), 1)
        || overlaps(desc.inode_bitmap.get(), 1)
        || overlaps(desc.inode_table.get(), geo.inode_table_blocks())
}

/// Keeps descriptor and sum in step with a bitmap. `by` is below zero when blocks are taken.
fn change_free(transaction: &Transaction<'_>, space: &mut Space, group: u32, by: i64) -> Result {
    space.free_blocks = space.free_blocks.saturating_add_signed(by);
    group::update(transaction, group, |desc| {
        let count = i64::from(desc.free_blocks_count.get()).saturating_add(by);
        // CAST: clamped.
        desc.free_blocks_count = U16::new(count.clamp(0, i64::from(u16::MAX)) as u16);
    })
}

/// Frees a run.
///
/// # Errors
///
/// What is wrong with the run (outside the filesystem, metadata, free already) is reported here, and what is left of it is
/// left alone. Callers that take something down go on, or stop walking a tree that cannot be trusted.
pub(super) fn free(transaction: &Transaction<'_>, run: Run) -> Result {
    try_free(transaction, run).inspect_err(|e| {
        pr_err!(
            "({}): blocks {}+{} not freed: {e:?}\n",
            transaction.sb().id(),
            run.start,
            run.count
        );
    })
}

fn try_free(transaction: &Transaction<'_>, mut run: Run) -> Result {
    let sb = transaction.sb();
    let data = sb.data();
    let geo = &data.geo;
    geo.check_run(run.start, run.count)
        .or_report(sb, At::Freeing(run.start))?;
    let mut space = data.space.lock();
    while run.count > 0 {
        let (group, bit) = geo
            .block_group(run.start)
            .or_report(sb, At::Freeing(run.start))?;
        let count = run.count.min(geo.group_blocks(group).saturating_sub(bit));
        let desc = group::read(sb, group)?;
        if touches_metadata(
            geo,
            &desc,
            Run {
                start: run.start,
                count,
            },
        ) {
            return Err(error::report(
                sb,
                fmt!("freeing metadata at block {}", run.start),
            ));
        }
        let mut access = transaction.write(read_bitmap(sb, group, &desc)?);
        bitmap::clear_run(&mut access, bit, count).or_report(sb, At::BlockBitmap(group))?;
        access.dirty();
        change_free(transaction, &mut space, group, i64::from(count))?;
        discard::freed(
            sb,
            Run {
                start: run.start,
                count,
            },
        );
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
