// SPDX-License-Identifier: GPL-2.0

//! Blocks of entries under an index: splitting one by the hashes of its names.
//!
//! What is split is a copy of the block that nobody else can change, and the halves are built in memory of
//! their own: nothing is moved before it is sure that all can be. C: `do_split` in `fs/ext4/namei.c`.

use super::corrupt::Corrupt;
use super::dir::{self, DirLayout, Entry, NAME_MAX};
use super::hash::Hasher;
use super::sort::sort;

/// An entry to be moved.
#[derive(Debug, Default, Clone, Copy)]
pub struct Item {
    hash: u32,
    offset: u32,
    rec_len: u32,
}

/// More items than a block of this size holds entries.
pub const fn max_items(block_size: u32) -> usize {
    // No entry is shorter than twelve bytes.
    (block_size / 12) as usize + 1
}

/// How a block was split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// Where the upper half begins: names of this hash and larger ones belong there.
    pub from: u32,
    /// The same for the index: bit 0 says that the lower half has names of this hash too.
    pub index_hash: u32,
}

/// Splits a block of entries into two that are about equally full: `low` gets the smaller hashes, `high` the
/// larger ones. All three have the block size, and `items` has room for [`max_items`].
///
/// # Errors
///
/// That of a damaged entry; [`Corrupt::IndexSplit`] where there are not two entries to part.
pub fn split(
    old: &[u8],
    layout: &DirLayout,
    hasher: &Hasher,
    items: &mut [Item],
    low: &mut [u8],
    high: &mut [u8],
) -> Result<Split, Corrupt> {
    let items = collect(old, layout, hasher, items)?;
    sort(items, |a, b| (a.hash, a.offset) < (b.hash, b.offset));
    let keep = keep(items, layout.block_size);
    let (lower, upper) = items.split_at_mut_checked(keep).unwrap_or_default();
    let (Some(last), Some(first)) = (lower.last(), upper.first()) else {
        return Err(Corrupt::IndexSplit {
            entries: lower.len().saturating_add(upper.len()),
        });
    };
    let split = Split {
        from: first.hash,
        index_hash: first.hash | u32::from(first.hash == last.hash),
    };
    pack(old, layout, lower, low)?;
    pack(old, layout, upper, high)?;
    Ok(split)
}

/// Moves the entries behind `.` and `..` of a directory's only block to a block of their own.
///
/// # Errors
///
/// As [`split`]; [`Corrupt::DirDots`] where the block does not begin with those two as `mkdir` makes them.
pub fn move_out(
    old: &[u8],
    layout: &DirLayout,
    hasher: &Hasher,
    items: &mut [Item],
    new: &mut [u8],
) -> Result<(), Corrupt> {
    let mut entries = dir::entries(old, layout);
    let mut buf = [0; NAME_MAX];
    for (name, offset) in [(b".".as_slice(), 0), (b"..", dir::rec_len(1))] {
        let entry = entries.next().transpose()?;
        let found = entry.filter(|entry| entry.inode != 0 && entry.offset == offset);
        let sound = match found {
            Some(entry) => entry.read_name(old, &mut buf)? == name,
            None => false,
        };
        if !sound {
            return Err(Corrupt::DirDots { offset });
        }
    }
    let items = collect(old, layout, hasher, items)?;
    // In the order in which they lie, the dots first.
    let items = items.get_mut(2..).unwrap_or_default();
    pack(old, layout, items, new)
}

/// Lists the entries in use, as they lie. C: `dx_make_map`.
fn collect<'i>(
    old: &[u8],
    layout: &DirLayout,
    hasher: &Hasher,
    items: &'i mut [Item],
) -> Result<&'i mut [Item], Corrupt> {
    let mut count = 0_usize;
    let mut buf = [0; NAME_MAX];
    for entry in dir::entries(old, layout) {
        let entry = entry?;
        if entry.inode == 0 {
            continue;
        }
        let Some(item) = items.get_mut(count) else {
            break;
        };
        *item = Item {
            hash: hasher.hash(entry.read_name(old, &mut buf)?).major,
            offset: entry.offset,
            rec_len: entry.rec_len,
        };
        count = count.saturating_add(1);
    }
    Ok(items.get_mut(..count).unwrap_or_default())
}

/// How many of the sorted items stay: the others, counted from the last, fill about half a block. Where all
/// of them do not, the half of their number.
fn keep(items: &[Item], block_size: u32) -> usize {
    let half = block_size / 2;
    let mut size = 0_u32;
    for (index, item) in items.iter().enumerate().rev() {
        // More than half of this entry belongs to the other half.
        if size.saturating_add(item.rec_len / 2) > half {
            return index.saturating_add(1);
        }
        size = size.saturating_add(item.rec_len);
    }
    items.len() / 2
}

/// Fills `new` with these entries of `old`, one behind the other; the last one has the rest of the block.
/// C: `dx_move_dirents`, `dx_pack_dirents`.
fn pack(old: &[u8], layout: &DirLayout, items: &[Item], new: &mut [u8]) -> Result<(), Corrupt> {
    dir::init_empty(new, layout)?;
    let mut offset = 0_u32;
    let mut buf = [0; NAME_MAX];
    let mut items = items.iter().peekable();
    while let Some(item) = items.next() {
        let entry = dir::entry_at(old, layout, item.offset)?;
        let name = entry.read_name(old, &mut buf)?;
        let rec_len = match items.peek() {
            Some(_) => dir::rec_len(name.len()),
            None => layout.block_size.saturating_sub(offset),
        };
        let moved = Entry {
            offset,
            rec_len,
            ..entry
        };
        dir::write_entry(new, layout, &moved, name)?;
        // A `.`, which only damage can have put here, must not come to be where no reader would take the block.
        dir::entry_at(new, layout, offset)?;
        offset = moved.end();
    }
    Ok(())
}
