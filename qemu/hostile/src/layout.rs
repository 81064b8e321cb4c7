// SPDX-License-Identifier: GPL-2.0

//! Where things lie in a sound image. It is read once; whatever cannot be found in it is just not there to be changed.

use notblk_format::block::Block;
use notblk_format::geometry::Geometry;
use notblk_format::group::RawGroupDesc;
use notblk_format::indirect::{DIRECT_BLOCKS, IND};
use notblk_format::inode::{RawInode, N_BLOCKS, S_IFDIR, S_IFLNK, S_IFREG};
use notblk_format::superblock::{RawSuperBlock, SUPERBLOCK_OFFSET};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, IntoBytes};

/// The longest target of a symbolic link that lies in the inode.
const FAST_LINK: u64 = 60;

/// A sound image, with what its superblock says.
pub struct Layout<'a> {
    /// Its bytes.
    pub image: &'a [u8],
    /// Its superblock.
    pub raw: RawSuperBlock,
    /// The same, checked.
    pub geo: Geometry,
}

/// A block of pointers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pointers {
    /// Where it lies.
    pub block: u32,
    /// 1 where its pointers lead to data, and so on.
    pub level: u32,
}

/// The blocks of a file.
#[derive(Debug, Default)]
pub struct Map {
    /// Block of the file, block of the device.
    pub data: Vec<(u64, u32)>,
    /// Blocks of pointers.
    pub pointers: Vec<Pointers>,
}

impl<'a> Layout<'a> {
    /// Reads the superblock.
    pub fn new(image: &'a [u8]) -> Result<Self, String> {
        // CAST: 1024.
        let raw: RawSuperBlock =
            get(image, SUPERBLOCK_OFFSET as usize).ok_or("there is no superblock")?;
        let geo =
            Geometry::parse(&raw, image.len() as u64).map_err(|corrupt| corrupt.to_string())?;
        Ok(Self { image, raw, geo })
    }

    /// Bytes per block.
    pub fn block_size(&self) -> usize {
        self.geo.block_size() as usize
    }

    /// Where a block begins.
    pub fn at(&self, block: u32) -> usize {
        (block as usize).saturating_mul(self.block_size())
    }

    /// A number of 32 bits.
    pub fn word(&self, at: usize) -> Option<u32> {
        let word: U32 = get(self.image, at)?;
        Some(word.get())
    }

    /// A group's descriptor, and where it is.
    pub fn group(&self, group: u32) -> Option<(RawGroupDesc, usize)> {
        let (block, offset) = self.geo.group_desc_at(group).ok()?;
        let at = self.at(block).checked_add(offset)?;
        Some((get(self.image, at)?, at))
    }

    /// An inode, and where it is.
    pub fn inode(&self, ino: u32) -> Option<(RawInode, usize)> {
        let (group, index) = self.geo.any_inode_group(ino).ok()?;
        let (desc, _) = self.group(group)?;
        let (block, offset) = self.geo.inode_at(desc.inode_table.get(), index).ok()?;
        let at = self.at(block).checked_add(offset)?;
        Some((get(self.image, at)?, at))
    }

    /// All inodes that are in use: their numbers.
    pub fn inodes(&self) -> Vec<u32> {
        let in_use = |ino: &u32| {
            self.inode(*ino)
                .is_some_and(|(inode, _)| inode.mode.get() != 0)
        };
        (1..=self.geo.inodes_count()).filter(in_use).collect()
    }

    /// The blocks of a file.
    pub fn map(&self, inode: &RawInode) -> Map {
        let mut map = Map::default();
        let mapped = match inode.file_type() {
            S_IFREG | S_IFDIR => true,
            S_IFLNK => inode.size() >= FAST_LINK,
            _ => false,
        };
        if !mapped {
            return map;
        }
        let mut next = 0;
        for (index, pointer) in inode.block.iter().enumerate().take(N_BLOCKS) {
            // CAST: 0 to 3.
            let level = (index + 1).saturating_sub(IND) as u32;
            self.walk(pointer.get(), level, next, &mut map);
            next += if level == 0 { 1 } else { self.span(level) };
        }
        map
    }

    fn span(&self, level: u32) -> u64 {
        notblk_format::indirect::span(level, self.geo.ptrs_bits())
    }

    fn walk(&self, block: u32, level: u32, first: u64, map: &mut Map) {
        if block == 0 || self.geo.check_data_block(block).is_err() {
            return;
        }
        if level == 0 {
            map.data.push((first, block));
            return;
        }
        map.pointers.push(Pointers { block, level });
        let below = level.saturating_sub(1);
        for index in 0..self.geo.ptrs_per_block() {
            let pointer = self.word(self.at(block) + index as usize * 4);
            let first = first + u64::from(index) * self.span(below);
            self.walk(pointer.unwrap_or(0), below, first, map);
        }
    }

    /// The blocks that hold the filesystem itself: superblocks, descriptors, bitmaps, inode tables.
    pub fn metadata(&self) -> Vec<u32> {
        let mut found = Vec::new();
        for group in 0..self.geo.group_count() {
            let first = self.geo.group_first_block(group);
            found.extend(first..first.saturating_add(self.geo.base_meta_blocks(group)));
            if let Some((desc, _)) = self.group(group) {
                found.extend([desc.block_bitmap.get(), desc.inode_bitmap.get()]);
                let table = desc.inode_table.get();
                found.extend(table..table.saturating_add(self.geo.inode_table_blocks()));
            }
        }
        found
    }
}

/// Direct pointers in an inode, as a check that [`Layout::map`] counts right.
const _: () = assert!(DIRECT_BLOCKS as usize == IND);

/// The value at `at`.
pub fn get<T: FromBytes + IntoBytes>(image: &[u8], at: usize) -> Option<T> {
    Block::get(image, at).ok()
}
