// SPDX-License-Identifier: GPL-2.0

//! Telling the device what is free: all of it at once (`fstrim(8)`), or as it becomes free (mount option `discard`). C:
//! `ext4_trim_fs` and `ext4_issue_discard` in `fs/ext4/mballoc.c`.

use super::{
    balloc::{self, Run},
    error::{At, OrReport},
    group, SuperBlock,
};
use crate::{
    format::bitmap,
    vfs::{discard::is_interrupted, errno::EOPNOTSUPP, ioctl::TrimRange},
};
use kernel::{prelude::*, sync::MutexGuard};

/// Discards what is free in a range of the device, except in runs that are too short; answers how many bytes those were.
///
/// # Errors
///
/// `EINVAL` for a range that makes no sense; `EOPNOTSUPP`, `EIO`, `EUCLEAN`.
pub(super) fn trim(sb: &SuperBlock, range: TrimRange) -> Result<u64> {
    let geo = &sb.data().geo;
    let granularity = u64::from(sb.discard_granularity().ok_or(EOPNOTSUPP)?);
    let [start, len, least] = range;
    let group_blocks = u64::from(geo.blocks_per_group());
    let blocks = u64::from(geo.blocks_count());
    let first_block = sb.block_of(start);
    let end = first_block
        .saturating_add(sb.block_of(len))
        .saturating_sub(1);
    let mut shortest = sb.block_of(least);
    if shortest > group_blocks || first_block >= blocks || len < sb.block_bytes() {
        return Err(EINVAL);
    }
    // Less than the device discards at a time it does not discard.
    if least < granularity {
        shortest = sb.block_of(granularity);
        if shortest > group_blocks {
            return Ok(0);
        }
    }
    let first_data = geo.first_data_block();
    let end = end.min(blocks.saturating_sub(1));
    if end <= u64::from(first_data) {
        return Ok(0);
    }
    // CAST: both below `blocks`, of 32 bits; and `shortest` not above a group.
    let (first_block, end, shortest) = (first_block as u32, end as u32, shortest as u32);
    let at = At::SuperBlock;
    let (first_group, mut first) = geo
        .block_group(first_block.max(first_data))
        .or_report(sb, at)?;
    let (last_group, last) = geo.block_group(end).or_report(sb, at)?;
    let mut trimmed: u64 = 0;
    for group in first_group..=last_group {
        if is_interrupted() {
            break;
        }
        let stop = if group == last_group {
            last.saturating_add(1)
        } else {
            geo.group_blocks(group)
        };
        trimmed = trimmed.saturating_add(trim_group(sb, group, first, stop, shortest)?);
        first = 0;
    }
    Ok(trimmed.saturating_mul(sb.block_bytes()))
}

/// Discards the free runs of a group that begin at bits `first..stop` and have at least `shortest` blocks; answers how many
/// blocks they have. C: `ext4_try_to_trim_range`.
///
/// Others allocate meanwhile, but not from the run that the device is being told of.
fn trim_group(sb: &SuperBlock, group: u32, first: u32, stop: u32, shortest: u32) -> Result<u64> {
    let mut trimmed: u64 = 0;
    let mut from = first;
    while from < stop && !is_interrupted() {
        let turn = Turn::take(sb);
        let Some((bit, count)) = next_free(sb, group, from, stop, shortest)? else {
            break;
        };
        let start = sb.data().geo.group_first_block(group).saturating_add(bit);
        match turn.discard(Run { start, count }) {
            Ok(()) => {}
            Err(e) if e == EOPNOTSUPP => {}
            // What has been done is told, as ext4 does.
            Err(_) => break,
        }
        trimmed = trimmed.saturating_add(u64::from(count));
        from = bit.saturating_add(count).saturating_add(1);
    }
    Ok(trimmed)
}

/// The next free run that [`trim_group`] wants: its first bit, and how many. The allocator leaves it alone from now on.
fn next_free(
    sb: &SuperBlock,
    group: u32,
    mut from: u32,
    stop: u32,
    shortest: u32,
) -> Result<Option<(u32, u32)>> {
    let data = sb.data();
    let (first, bits) = (
        data.geo.group_first_block(group),
        data.geo.group_blocks(group),
    );
    let desc = group::open(sb, group)?;
    if u32::from(desc.counts(sb)?.free_blocks_count.get()) < shortest {
        return Ok(None);
    }
    let buffer = balloc::read_bitmap(sb, group, desc.places())?;
    let mut space = data.space.lock();
    let mut look = || {
        while let Some(bit) = bitmap::find_zeros(&buffer, from.min(bits), bits, shortest)? {
            if bit >= stop {
                break;
            }
            let count = bitmap::zero_run(&buffer, bit, bits)?;
            if count >= shortest {
                let start = first.saturating_add(bit);
                data.check_blocks(start, count)?;
                space.discarding = Some(Run { start, count });
                return Ok(Some((bit, count)));
            }
            from = bit.saturating_add(count).saturating_add(1);
        }
        Ok(None)
    };
    let found = look();
    drop(space);
    found.or_report(sb, At::BlockBitmap(group))
}

/// Who tells the device of free blocks: one at a time, and without `SuperData::space`, for it takes long.
pub(super) struct Turn<'sb> {
    sb: &'sb SuperBlock,
    _held: MutexGuard<'sb, ()>,
}

impl<'sb> Turn<'sb> {
    /// Waits for it. `SuperData::space` is not held.
    pub(super) fn take(sb: &'sb SuperBlock) -> Self {
        Self {
            sb,
            _held: sb.data().discards.lock(),
        }
    }

    /// The same where blocks are to be discarded as they become free.
    pub(super) fn for_freed(sb: &'sb SuperBlock) -> Option<Self> {
        sb.data().options.discards().then(|| Self::take(sb))
    }

    /// Blocks have been freed, and `Space::discarding` has been set to them in the same go.
    pub(super) fn freed(&self, run: Run) {
        match self.discard(run) {
            Ok(()) => {}
            Err(e) if e == EOPNOTSUPP => {}
            Err(e) => pr_warn!(
                "({}): blocks {}+{} not discarded: {e:?}\n",
                self.sb.id(),
                run.start,
                run.count
            ),
        }
    }

    /// Discards what `Space::discarding` is, and lets others have it again.
    fn discard(&self, run: Run) -> Result {
        let done = self.sb.discard(run.start, run.count);
        let mut space = self.sb.data().space.lock();
        space.discarding = None;
        space.returned_blocks = space.returned_blocks.wrapping_add(1);
        done
    }
}
