// SPDX-License-Identifier: GPL-2.0

//! Index blocks of a directory: a tree, ordered by hash, over its blocks of entries.
//!
//! The root lies in block 0, behind `.` and `..`, whose length covers it; a node fills a block behind one
//! free entry as long as the block. So whoever reads the directory as a list sees a list.
//!
//! Both hold an array of pairs of hash and block, the hashes ascending. Pair `n` leads to the names from its
//! hash on, up to the next pair's. In the place of the first one's hash stand the array's room and length:
//! what it leads to begins where the whole block does. A set bit 0 in a hash says that names of that very
//! hash are in the block before, too.
//!
//! Every number is checked before it is used, each time. C: `struct dx_root`, `struct dx_node` in
//! `fs/ext4/namei.c`.

use super::block::{Block, BlockMut};
use super::corrupt::Corrupt;
use super::dir::{decode_rec_len, encode_rec_len, rec_len, HEADER};
use super::hash::Version;
use core::mem::offset_of;
use zerocopy::little_endian::{U16, U32};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The most levels of index blocks, the root included. More take the feature `large_dir`.
pub const MAX_LEVELS: u8 = 2;
/// Where `..` begins in block 0, and where what lies behind it does.
const DOTDOT_AT: usize = 12;
const INFO_AT: usize = 24;
/// `info_length` as it is written.
const INFO_LEN: u8 = size_of::<RawInfo>() as u8;
/// Bytes of a pair.
const PAIR: usize = size_of::<RawPair>();
/// The bits of a pair's block that are its number.
const BLOCK_MASK: u32 = 0x0fff_ffff;
/// Bytes that a checksum takes at the end of an index block.
const TAIL: u32 = 8;

/// `struct dx_root_info`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawInfo {
    reserved_zero: U32,
    hash_version: u8,
    info_length: u8,
    indirect_levels: u8,
    unused_flags: u8,
}

/// `struct dx_entry`
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawPair {
    hash: U32,
    block: U32,
}

/// `struct dx_countlimit`, in the place of the first pair's hash.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawCount {
    limit: U16,
    count: U16,
}

/// What must be known of a directory to read its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexLayout {
    /// Block size in bytes.
    pub block_size: u32,
    /// Blocks of the directory.
    pub blocks: u32,
    /// Index blocks end in a checksum (the feature `metadata_csum`), which is not looked at.
    pub checksums: bool,
}

impl IndexLayout {
    /// Pairs for which there is room from `at` to the block's end.
    fn limit(&self, at: usize) -> u32 {
        let tail = if self.checksums { TAIL } else { 0 };
        let room = self.block_size.saturating_sub(tail) as usize;
        // CAST: a block is at most 64 KiB.
        (room.saturating_sub(at) / PAIR) as u32
    }
}

/// The array of pairs in a block, as it was when it was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pairs {
    /// Where it begins.
    at: usize,
    /// Pairs for which there is room.
    limit: u32,
    /// Pairs that there are, one at least.
    count: u32,
}

/// A root that was found sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// The hash function of the index.
    pub version: Version,
    /// Levels of nodes below the root.
    pub levels: u8,
    /// Its array.
    pub pairs: Pairs,
}

/// Reads block 0 of an indexed directory. C: the first half of `dx_probe`.
pub fn read_root(b: &(impl Block + ?Sized), layout: &IndexLayout) -> Result<Root, Corrupt> {
    let info: RawInfo = b.get(INFO_AT)?;
    let version = Version::from_disk(info.hash_version).ok_or(Corrupt::IndexHashVersion {
        found: info.hash_version,
    })?;
    if info.unused_flags & 1 != 0 {
        return Err(Corrupt::IndexFlags {
            found: info.unused_flags,
        });
    }
    if info.indirect_levels >= MAX_LEVELS {
        return Err(Corrupt::IndexLevels {
            found: info.indirect_levels,
        });
    }
    if info.info_length < INFO_LEN || info.info_length % 4 != 0 {
        return Err(Corrupt::IndexInfoLength {
            found: info.info_length,
        });
    }
    let at = INFO_AT.saturating_add(usize::from(info.info_length));
    Ok(Root {
        version,
        levels: info.indirect_levels,
        pairs: Pairs::read(b, layout, at)?,
    })
}

/// Reads another index block.
pub fn read_node(b: &(impl Block + ?Sized), layout: &IndexLayout) -> Result<Pairs, Corrupt> {
    if decode_rec_len(b.get(4)?, layout.block_size) != layout.block_size {
        return Err(Corrupt::IndexHidden);
    }
    Pairs::read(b, layout, HEADER)
}

impl Pairs {
    fn read(b: &(impl Block + ?Sized), layout: &IndexLayout, at: usize) -> Result<Self, Corrupt> {
        let raw: RawCount = b.get(at)?;
        let (limit, count) = (u32::from(raw.limit.get()), u32::from(raw.count.get()));
        let expected = layout.limit(at);
        if limit != expected {
            return Err(Corrupt::IndexLimit { limit, expected });
        }
        if count == 0 || count > limit {
            return Err(Corrupt::IndexCount { count, limit });
        }
        Ok(Self { at, limit, count })
    }

    /// Number of pairs, one at least.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether there is no room for another.
    pub const fn is_full(&self) -> bool {
        self.count >= self.limit
    }

    fn pair(&self, b: &(impl Block + ?Sized), index: u32) -> Result<RawPair, Corrupt> {
        if index >= self.limit {
            return Err(Corrupt::IndexCount {
                count: index,
                limit: self.limit,
            });
        }
        b.get(self.place(index))
    }

    fn place(&self, index: u32) -> usize {
        (index as usize)
            .saturating_mul(PAIR)
            .saturating_add(self.at)
    }

    /// Where pair `index` begins. The first one's is not here: `None`.
    pub fn hash(&self, b: &(impl Block + ?Sized), index: u32) -> Result<Option<u32>, Corrupt> {
        if index == 0 {
            return Ok(None);
        }
        Ok(Some(self.pair(b, index)?.hash.get()))
    }

    /// The block that pair `index` leads to: one of the directory, and not the root.
    pub fn block(
        &self,
        b: &(impl Block + ?Sized),
        layout: &IndexLayout,
        index: u32,
    ) -> Result<u32, Corrupt> {
        let block = self.pair(b, index)?.block.get() & BLOCK_MASK;
        if block == 0 || block >= layout.blocks {
            return Err(Corrupt::IndexBlock {
                block,
                blocks: layout.blocks,
            });
        }
        Ok(block)
    }

    /// The last pair that does not begin behind `hash`.
    pub fn search(&self, b: &(impl Block + ?Sized), hash: u32) -> Result<u32, Corrupt> {
        // Pairs below `low` begin at or before the hash, those from `high` on behind it; so far they
        // reached to these hashes.
        let (mut low, mut high) = (1, self.count);
        let (mut from, mut to) = (0, u32::MAX);
        while low < high {
            let middle = low.midpoint(high);
            let found = self.pair(b, middle)?.hash.get();
            if found < from || found > to {
                return Err(Corrupt::IndexOrder { hash: found });
            }
            if found > hash {
                (high, to) = (middle, found);
            } else {
                (low, from) = (middle.saturating_add(1), found);
            }
        }
        Ok(low.saturating_sub(1))
    }

    /// Puts a pair behind the one at `index`. C: `dx_insert_block`.
    pub fn insert(
        &mut self,
        b: &mut (impl BlockMut + ?Sized),
        index: u32,
        hash: u32,
        block: u32,
    ) -> Result<(), Corrupt> {
        if self.is_full() || index >= self.count {
            return Err(Corrupt::IndexCount {
                count: self.count,
                limit: self.limit,
            });
        }
        let new = index.saturating_add(1);
        for at in (new..self.count).rev() {
            let pair = self.pair(b, at)?;
            b.put(self.place(at.saturating_add(1)), &pair)?;
        }
        let pair = RawPair {
            hash: U32::new(hash),
            block: U32::new(block),
        };
        b.put(self.place(new), &pair)?;
        self.put_count(b, self.count.saturating_add(1))
    }

    fn put_count(&mut self, b: &mut (impl BlockMut + ?Sized), count: u32) -> Result<(), Corrupt> {
        self.count = count;
        // CAST: both are at most what fits into 64 KiB.
        let raw = RawCount {
            limit: U16::new(self.limit as u16),
            count: U16::new(count as u16),
        };
        b.put(self.at, &raw)
    }

    /// Copies the pairs from `from` on to a node that has none yet.
    fn copy_to(
        &self,
        b: &(impl Block + ?Sized),
        from: u32,
        node: &mut Pairs,
        new: &mut (impl BlockMut + ?Sized),
    ) -> Result<(), Corrupt> {
        let count = self.count.saturating_sub(from);
        for n in 0..count {
            let pair = self.pair(b, from.saturating_add(n))?;
            new.put(node.place(n), &pair)?;
        }
        // Over the first one's hash.
        node.put_count(new, count)
    }

    /// Moves the second half to `new`, a zeroed block that becomes a node. Answers the hash where that one
    /// begins. C: the index split of `ext4_dx_add_entry`.
    pub fn split(
        &mut self,
        b: &mut (impl BlockMut + ?Sized),
        layout: &IndexLayout,
        new: &mut (impl BlockMut + ?Sized),
    ) -> Result<u32, Corrupt> {
        let keep = self.count / 2;
        let Some(hash) = self.hash(b, keep)? else {
            return Err(Corrupt::IndexCount {
                count: self.count,
                limit: self.limit,
            });
        };
        let mut node = init_node(new, layout)?;
        self.copy_to(b, keep, &mut node, new)?;
        self.put_count(b, keep)?;
        Ok(hash)
    }
}

/// Makes a zeroed block a node without pairs, which the caller adds.
fn init_node(new: &mut (impl BlockMut + ?Sized), layout: &IndexLayout) -> Result<Pairs, Corrupt> {
    new.put(4, &encode_rec_len(layout.block_size))?;
    Ok(Pairs {
        at: HEADER,
        limit: layout.limit(HEADER),
        count: 0,
    })
}

impl Root {
    /// Moves all pairs to `new`, a zeroed block that becomes the directory's block `block` and a node; the
    /// root is left with one pair, for it, and has a level more below. C: as [`Pairs::split`].
    pub fn grow(
        &mut self,
        b: &mut (impl BlockMut + ?Sized),
        layout: &IndexLayout,
        new: &mut (impl BlockMut + ?Sized),
        block: u32,
    ) -> Result<(), Corrupt> {
        let levels = self.levels.saturating_add(1);
        if levels >= MAX_LEVELS {
            return Err(Corrupt::IndexLevels { found: levels });
        }
        let mut node = init_node(new, layout)?;
        self.pairs.copy_to(b, 0, &mut node, new)?;
        let block_at = self.pairs.at.saturating_add(offset_of!(RawPair, block));
        b.put(block_at, &U32::new(block))?;
        self.pairs.put_count(b, 1)?;
        self.levels = levels;
        let levels_at = INFO_AT.saturating_add(offset_of!(RawInfo, indirect_levels));
        b.put(levels_at, &[levels])
    }
}

/// Makes block 0, which begins with `.` and `..` as a new directory does, the root of an index whose names
/// are all in `block`. What else was in block 0 is gone. C: `make_indexed_dir`.
pub fn init_root(
    b: &mut (impl BlockMut + ?Sized),
    layout: &IndexLayout,
    version: Version,
    block: u32,
) -> Result<(), Corrupt> {
    let size = layout.block_size as usize;
    b.fill(INFO_AT, size.saturating_sub(INFO_AT), 0)?;
    let covered = layout.block_size.saturating_sub(rec_len(1));
    b.put(DOTDOT_AT.saturating_add(4), &encode_rec_len(covered))?;
    let info = RawInfo {
        reserved_zero: U32::ZERO,
        hash_version: version.to_disk(),
        info_length: INFO_LEN,
        indirect_levels: 0,
        unused_flags: 0,
    };
    b.put(INFO_AT, &info)?;
    let at = INFO_AT.saturating_add(usize::from(INFO_LEN));
    let mut pairs = Pairs {
        at,
        limit: layout.limit(at),
        count: 0,
    };
    let first = RawPair {
        hash: U32::ZERO,
        block: U32::new(block),
    };
    b.put(at, &first)?;
    pairs.put_count(b, 1)
}
