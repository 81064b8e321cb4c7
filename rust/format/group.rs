// SPDX-License-Identifier: GPL-2.0

//! Group descriptors.

use super::corrupt::Corrupt;
use super::geometry::Geometry;
use zerocopy::little_endian::{U16, U32};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A group descriptor: fields are named as in C, without `bg_`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawGroupDesc {
    /// Block of the block bitmap.
    pub block_bitmap: U32,
    /// Block of the inode bitmap.
    pub inode_bitmap: U32,
    /// First block of the inode table.
    pub inode_table: U32,
    /// Number of free blocks.
    pub free_blocks_count: U16,
    /// Number of free inodes.
    pub free_inodes_count: U16,
    /// Number of inodes that are directories.
    pub used_dirs_count: U16,
    /// Flags of ext4; padding in ext2.
    pub flags: U16,
    /// Reserved in ext2.
    pub reserved: [U32; 3],
}

const _: () = assert!(size_of::<RawGroupDesc>() == 32);

impl RawGroupDesc {
    /// Checks the places ([`Self::check_places`]), and that no count exceeds the group.
    pub fn check(&self, geo: &Geometry, group: u32) -> Result<(), Corrupt> {
        self.check_places(geo, group)?;
        let blocks = geo.group_blocks(group);
        let free = self.free_blocks_count.get();
        if u32::from(free) > blocks {
            return Err(Corrupt::GroupFreeBlocks {
                group,
                free,
                blocks,
            });
        }
        let free = self.free_inodes_count.get();
        let dirs = self.used_dirs_count.get();
        if u32::from(free) + u32::from(dirs) > geo.inodes_per_group() {
            return Err(Corrupt::GroupInodes {
                group,
                free,
                dirs,
                inodes: geo.inodes_per_group(),
            });
        }
        Ok(())
    }

    /// Checks that the bitmaps and the inode table lie inside the group, past its copy of the
    /// superblock and descriptors and apart from each other. They never change; the counts do, and are looked at by whoever keeps
    /// others from changing them.
    pub fn check_places(&self, geo: &Geometry, group: u32) -> Result<(), Corrupt> {
        if group >= geo.group_count() {
            return Err(Corrupt::GroupNumber {
                group,
                group_count: geo.group_count(),
            });
        }
        // In 64 bits no sum below can overflow.
        let first = u64::from(geo.group_first_block(group));
        let blocks = geo.group_blocks(group);
        let end = first + u64::from(blocks);
        let start = if geo.group_has_super(group) {
            first + 1 + u64::from(geo.desc_blocks())
        } else {
            first
        };
        let inside = |block: u64, count: u64| start <= block && block + count <= end;

        let block_bitmap = u64::from(self.block_bitmap.get());
        let inode_bitmap = u64::from(self.inode_bitmap.get());
        let table = u64::from(self.inode_table.get());
        let table_len = u64::from(geo.inode_table_blocks());
        if !inside(block_bitmap, 1) {
            return Err(Corrupt::BlockBitmapLocation {
                group,
                block: self.block_bitmap.get(),
            });
        }
        if !inside(inode_bitmap, 1) {
            return Err(Corrupt::InodeBitmapLocation {
                group,
                block: self.inode_bitmap.get(),
            });
        }
        if !inside(table, table_len) {
            return Err(Corrupt::InodeTableLocation {
                group,
                block: self.inode_table.get(),
            });
        }
        let in_table = |block: u64| table <= block && block < table + table_len;
        if block_bitmap == inode_bitmap || in_table(block_bitmap) || in_table(inode_bitmap) {
            return Err(Corrupt::GroupOverlap { group });
        }
        Ok(())
    }
}
