// SPDX-License-Identifier: GPL-2.0

//! Where the filesystem's own metadata lies, which no file may have: runs of blocks, in order. C:
//! `fs/ext4/block_validity.c`.

use super::corrupt::Corrupt;
use super::geometry::Geometry;
use super::group::RawGroupDesc;
use super::sort::sort;

/// A run of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone {
    /// The first.
    pub start: u32,
    /// One past the last; above `start`, unless the zone is empty.
    pub end: u32,
}

impl Zone {
    /// The `count` blocks from `start` on.
    pub fn new(start: u32, count: u32) -> Self {
        Self {
            start,
            end: start.saturating_add(count),
        }
    }

    /// Whether it has no block.
    pub const fn is_empty(&self) -> bool {
        self.end <= self.start
    }

    /// Grows by a zone that begins where this one ends, or is empty; `false`: that one stands apart.
    ///
    /// # Errors
    ///
    /// [`Corrupt::MetadataOverlap`]: that one does not lie behind this one.
    pub fn join(&mut self, next: Zone) -> Result<bool, Corrupt> {
        if next.is_empty() {
            return Ok(true);
        }
        if next.start < self.end {
            return Err(Corrupt::MetadataOverlap { block: next.start });
        }
        let joined = next.start == self.end;
        if joined {
            self.end = next.end;
        }
        Ok(joined)
    }
}

/// The metadata of a group, in order: its copy of the superblock and of the descriptors with the blocks that are reserved
/// for more of them, its bitmaps, its inode table. Some may be empty; of a damaged group they may overlap.
pub fn of_group(geo: &Geometry, group: u32, desc: &RawGroupDesc) -> [Zone; 4] {
    let mut zones = [
        Zone::new(geo.group_first_block(group), geo.base_meta_blocks(group)),
        Zone::new(desc.block_bitmap.get(), 1),
        Zone::new(desc.inode_bitmap.get(), 1),
        Zone::new(desc.inode_table.get(), geo.inode_table_blocks()),
    ];
    sort(&mut zones, |a, b| a.start < b.start);
    zones
}

/// Whether any of the `count` blocks from `start` on is in a zone. The zones are in order and apart from each other.
pub fn overlaps(zones: &[Zone], start: u32, count: u32) -> bool {
    // In 64 bits the last block there can be has one behind it.
    let end = u64::from(start) + u64::from(count);
    let first = zones.partition_point(|zone| zone.end <= start);
    count != 0
        && zones
            .get(first)
            .is_some_and(|zone| u64::from(zone.start) < end)
}
