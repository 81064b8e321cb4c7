// SPDX-License-Identifier: GPL-2.0

//! The superblock once it is checked: sizes, counts, and where things lie.

use super::corrupt::Corrupt;
use super::features::{
    COMPAT_SPARSE_SUPER2, INCOMPAT_FILETYPE, RO_COMPAT_EXTRA_ISIZE, RO_COMPAT_LARGE_FILE,
    RO_COMPAT_SPARSE_SUPER,
};
use super::group::RawGroupDesc;
use super::indirect;
use super::inode::{FIRST_INO, RAW_INODE_EXTRA_SIZE, RAW_INODE_SIZE, ROOT_INO};
use super::num;
use super::superblock::{RawSuperBlock, MAGIC, REV_ORIGINAL, SUPERBLOCK_OFFSET};
use zerocopy::little_endian::U32;

/// Defines the struct and a getter of the same name for each of its fields, so that nobody can
/// build one that was not checked.
macro_rules! geometry {
    ($($(#[$doc:meta])+ $name:ident: $ty:ty,)+) => {
        /// What the superblock says about the filesystem's shape, checked.
        ///
        /// Every method relies on what [`Geometry::parse`] found: no size and no count is zero,
        /// and groups, inodes and blocks agree with each other.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Geometry {
            $($(#[$doc])+ $name: $ty,)+
        }

        impl Geometry {
            $($(#[$doc])+ pub const fn $name(&self) -> $ty { self.$name })+
        }
    };
}

geometry! {
    /// Block size in bytes: a power of two from 1 KiB to 64 KiB.
    block_size: u32,
    /// Binary logarithm of the block size.
    block_bits: u32,
    /// Inode size in bytes: a power of two from 128 to the block size.
    inode_size: u16,
    /// The first inode that is not reserved.
    first_ino: u32,
    /// Number of inodes, which is the last inode's number.
    inodes_count: u32,
    /// Number of blocks, counted from the beginning of the device.
    blocks_count: u32,
    /// Blocks reserved for root.
    reserved_blocks: u32,
    /// The block that holds the superblock, where the first group begins.
    first_data_block: u32,
    /// The block behind which the group descriptors in use lie: that of the superblock, or of a copy.
    super_block: u32,
    /// Blocks in every group but the last.
    blocks_per_group: u32,
    /// Inodes in every group.
    inodes_per_group: u32,
    /// Number of groups.
    group_count: u32,
    /// Group descriptors in a block.
    descs_per_block: u32,
    /// Blocks that the group descriptors take.
    desc_blocks: u32,
    /// Blocks kept behind them for more.
    reserved_gdt_blocks: u32,
    /// Blocks of one group's inode table.
    inode_table_blocks: u32,
    /// Pointers in an indirect block.
    ptrs_per_block: u32,
    /// Binary logarithm of the number of pointers in an indirect block.
    ptrs_bits: u32,
    /// Whether directory entries hold file types.
    has_filetype: bool,
    /// Whether only some groups hold a copy of the superblock.
    sparse_super: bool,
    /// The only two groups beside the first that do, or 0 for none, with the feature `sparse_super2`.
    backup_groups: Option<[u32; 2]>,
    /// Whether a file of 2 GiB or more was ever made.
    large_file: bool,
    /// `i_extra_isize` that inodes shall have; zero where they have 128 bytes.
    extra_isize_wanted: u16,
}

impl Geometry {
    /// Checks the superblock of a filesystem on a device of `device_bytes` bytes.
    ///
    /// Features are not looked at, except for the layout: see
    /// [`features`](super::features) for what must be refused before.
    pub fn parse(raw: &RawSuperBlock, device_bytes: u64) -> Result<Self, Corrupt> {
        if raw.magic.get() != MAGIC {
            return Err(Corrupt::BadMagic {
                found: raw.magic.get(),
            });
        }
        let (block_size, block_bits) = block_size(raw)?;
        let (inode_size, first_ino) = inode_size(raw, block_size)?;
        let bits_per_block = block_size * 8;

        let inodes_per_group = raw.inodes_per_group.get();
        let inodes_per_block = num::div_rem(block_size, u32::from(inode_size)).0;
        let (inode_table_blocks, partial) = num::div_rem(inodes_per_group, inodes_per_block);
        if inodes_per_group == 0
            || inodes_per_group > bits_per_block
            || inodes_per_group % 8 != 0
            || partial != 0
        {
            return Err(Corrupt::InodesPerGroup {
                found: inodes_per_group,
                per_block: inodes_per_block,
                max: bits_per_block,
            });
        }

        let blocks_per_group = raw.blocks_per_group.get();
        if blocks_per_group == 0 || blocks_per_group > bits_per_block {
            return Err(Corrupt::BlocksPerGroup {
                found: blocks_per_group,
                max: bits_per_block,
            });
        }
        if raw.frags_per_group != raw.blocks_per_group {
            return Err(Corrupt::FragmentsPerGroup {
                fragments: raw.frags_per_group.get(),
                blocks: blocks_per_group,
            });
        }
        // A superblock, two bitmaps and the inode table at the least.
        if blocks_per_group <= inode_table_blocks.saturating_add(3) {
            return Err(Corrupt::GroupTooSmall {
                blocks: blocks_per_group,
                inode_table_blocks,
            });
        }

        let blocks_count = blocks_count(raw, block_bits, device_bytes)?;
        let first_data_block = raw.first_data_block.get();
        let grouped_blocks = blocks_count.saturating_sub(first_data_block);
        let group_count = num::div_up(grouped_blocks, blocks_per_group);

        let inodes_count = raw.inodes_count.get();
        let computed = u64::from(group_count) * u64::from(inodes_per_group);
        if u64::from(inodes_count) != computed {
            return Err(Corrupt::InodesCount {
                found: inodes_count,
                computed,
            });
        }
        if first_ino < FIRST_INO || first_ino > inodes_count {
            return Err(Corrupt::FirstInode {
                found: first_ino,
                inodes_count,
            });
        }

        let descs_per_block = block_size / size_of::<RawGroupDesc>() as u32;
        let desc_blocks = num::div_up(group_count, descs_per_block);
        let first_group_blocks = blocks_per_group.min(grouped_blocks);
        if desc_blocks >= first_group_blocks {
            return Err(Corrupt::DescriptorTable {
                blocks: desc_blocks,
                group_blocks: first_group_blocks,
            });
        }
        let ptrs_per_block = block_size / 4;
        if u32::from(raw.reserved_gdt_blocks.get()) > ptrs_per_block {
            return Err(Corrupt::ReservedGdtBlocks {
                found: raw.reserved_gdt_blocks.get(),
                max: ptrs_per_block,
            });
        }

        let ro_compat = raw.feature_ro_compat.get();
        Ok(Self {
            block_size,
            block_bits,
            inode_size,
            first_ino,
            inodes_count,
            blocks_count,
            reserved_blocks: raw.r_blocks_count.get(),
            first_data_block,
            super_block: first_data_block,
            blocks_per_group,
            inodes_per_group,
            group_count,
            descs_per_block,
            desc_blocks,
            reserved_gdt_blocks: u32::from(raw.reserved_gdt_blocks.get()),
            inode_table_blocks,
            ptrs_per_block,
            ptrs_bits: block_bits.saturating_sub(2),
            has_filetype: raw.feature_incompat.get() & INCOMPAT_FILETYPE != 0,
            sparse_super: ro_compat & RO_COMPAT_SPARSE_SUPER != 0,
            backup_groups: (raw.feature_compat.get() & COMPAT_SPARSE_SUPER2 != 0)
                .then(|| raw.backup_bgs.map(U32::get)),
            large_file: ro_compat & RO_COMPAT_LARGE_FILE != 0,
            extra_isize_wanted: extra_isize(raw, inode_size)?,
        })
    }

    /// The same, by the copy of the superblock in `block`, whose descriptors follow it as the first
    /// ones do the superblock.
    pub fn with_super_at(mut self, block: u32) -> Self {
        self.super_block = block;
        self
    }

    /// Block and offset of the descriptor of `group`, where all descriptors follow the superblock.
    pub fn group_desc_at(&self, group: u32) -> Result<(u32, usize), Corrupt> {
        self.check_group(group)?;
        let (block, index) = num::div_rem(group, self.descs_per_block);
        let block = block.saturating_add(self.super_block).saturating_add(1);
        let offset = (index as usize).saturating_mul(size_of::<RawGroupDesc>());
        Ok((block, offset))
    }

    /// Group of inode `ino`, and its index in there. Only the root and ordinary inodes have one.
    pub fn inode_group(&self, ino: u32) -> Result<(u32, u32), Corrupt> {
        if ino != ROOT_INO && ino < self.first_ino {
            return Err(self.bad_inode(ino));
        }
        self.any_inode_group(ino)
    }

    /// As [`Self::inode_group`], for reserved inodes too: those that the superblock names, and no directory.
    pub fn any_inode_group(&self, ino: u32) -> Result<(u32, u32), Corrupt> {
        match ino.checked_sub(1) {
            Some(index) if ino <= self.inodes_count => {
                Ok(num::div_rem(index, self.inodes_per_group))
            }
            _ => Err(self.bad_inode(ino)),
        }
    }

    fn bad_inode(&self, ino: u32) -> Corrupt {
        Corrupt::InodeNumber {
            ino,
            inodes_count: self.inodes_count,
        }
    }

    /// Block and offset of the inode at `index` of the table that begins at block `inode_table`.
    pub fn inode_at(&self, inode_table: u32, index: u32) -> Result<(u32, usize), Corrupt> {
        self.check_index(index)?;
        // The index is below 8 * 64 KiB and the size at most 64 KiB: only 64 bits hold both.
        let byte = u64::from(index) * u64::from(self.inode_size);
        let block = u64::from(inode_table).saturating_add(num::shr(byte, self.block_bits));
        let block = u32::try_from(block).unwrap_or(u32::MAX);
        let offset = num::low_bits(byte, self.block_bits);
        Ok((self.check_data_block(block)?, offset as usize))
    }

    /// The number of the inode at `index` of `group`.
    pub fn ino(&self, group: u32, index: u32) -> Result<u32, Corrupt> {
        self.check_group(group)?;
        self.check_index(index)?;
        // At most inodes_count, because of the checks.
        let before = group.saturating_mul(self.inodes_per_group);
        Ok(before.saturating_add(index).saturating_add(1))
    }

    /// The first block of `group`.
    pub fn group_first_block(&self, group: u32) -> u32 {
        group
            .saturating_mul(self.blocks_per_group)
            .saturating_add(self.first_data_block)
    }

    /// The number of blocks in `group`: the last group may be short.
    pub fn group_blocks(&self, group: u32) -> u32 {
        self.blocks_count
            .saturating_sub(self.group_first_block(group))
            .min(self.blocks_per_group)
    }

    /// Group of `block`, and its bit in that group's bitmap.
    pub fn block_group(&self, block: u32) -> Result<(u32, u32), Corrupt> {
        match block.checked_sub(self.first_data_block) {
            Some(n) if block < self.blocks_count => Ok(num::div_rem(n, self.blocks_per_group)),
            _ => Err(self.bad_block(block)),
        }
    }

    /// Checks that `block` can hold data or metadata: past the superblock, before the end.
    pub fn check_data_block(&self, block: u32) -> Result<u32, Corrupt> {
        if block <= self.first_data_block || block >= self.blocks_count {
            return Err(self.bad_block(block));
        }
        Ok(block)
    }

    /// Checks that all of the `count` blocks from `block` on can hold data or metadata.
    pub fn check_run(&self, block: u32, count: u32) -> Result<(), Corrupt> {
        let end = u64::from(block) + u64::from(count);
        if count == 0 || block <= self.first_data_block || end > u64::from(self.blocks_count) {
            return Err(Corrupt::BlockRun {
                block,
                count,
                blocks_count: self.blocks_count,
            });
        }
        Ok(())
    }

    /// Whether `group` begins with a copy of the superblock and of the group descriptors.
    pub fn group_has_super(&self, group: u32) -> bool {
        match self.backup_groups {
            Some(groups) => group == 0 || groups.contains(&group),
            None => {
                !self.sparse_super
                    || group <= 1
                    || [3, 5, 7].iter().any(|&base| is_power(group, base))
            }
        }
    }

    /// How many groups do.
    fn supers(&self) -> u32 {
        match self.backup_groups {
            Some([one, other]) => {
                let there = |group: u32| u32::from(group != 0 && group < self.group_count);
                1_u32
                    .saturating_add(there(one))
                    .saturating_add(if other == one { 0 } else { there(other) })
            }
            None if self.sparse_super => [3, 5, 7]
                .iter()
                .fold(self.group_count.min(2), |sum, &base| {
                    sum.saturating_add(count_powers(self.group_count, base))
                }),
            None => self.group_count,
        }
    }

    /// Blocks that the copies of the superblock and of the group descriptors take at the beginning of `group`, with those
    /// reserved for more descriptors; 0 where it has none. C: `ext4_num_base_meta_blocks`.
    pub fn base_meta_blocks(&self, group: u32) -> u32 {
        if !self.group_has_super(group) {
            return 0;
        }
        self.desc_blocks
            .saturating_add(self.reserved_gdt_blocks)
            .saturating_add(1)
    }

    /// Blocks that can never hold files: superblocks, descriptors and
    /// those reserved for more of them, bitmaps, inode tables.
    pub fn overhead_blocks(&self) -> u32 {
        let supers = self.supers();
        // Group 0 has one.
        let per_super = self.base_meta_blocks(0);
        let per_group = self.inode_table_blocks.saturating_add(2);
        let overhead = u64::from(self.first_data_block)
            .saturating_add(u64::from(supers).saturating_mul(u64::from(per_super)))
            .saturating_add(u64::from(self.group_count).saturating_mul(u64::from(per_group)));
        // More than there are only in a filesystem whose last group cannot exist.
        u32::try_from(overhead).map_or(self.blocks_count, |n| n.min(self.blocks_count))
    }

    /// The largest size of a file, in bytes.
    ///
    /// Three limits: what the block map can address, 32-bit file blocks, and `i_blocks`, in whose
    /// 32 bits all blocks of the file, indirect ones included, are counted in units of 512 bytes.
    pub fn max_file_size(&self) -> u64 {
        let mapped = [0, 1, 2, 3].iter().fold(0_u64, |sum, &level| {
            sum.saturating_add(self.map_span(level))
        });
        let counted = num::shr(u64::from(u32::MAX), self.block_bits.saturating_sub(9));
        let blocks = if mapped.saturating_add(self.map_blocks(mapped)) <= counted {
            mapped
        } else {
            counted.saturating_sub(self.map_blocks(counted))
        };
        blocks
            .min(u64::from(u32::MAX))
            .saturating_mul(u64::from(self.block_size))
    }

    /// Indirect blocks of a file of `blocks` blocks without holes.
    fn map_blocks(&self, blocks: u64) -> u64 {
        let mut total = 0_u64;
        let mut rest = blocks.saturating_sub(self.map_span(0));
        for level in 1..=3 {
            // How many hang below this pointer of i_block, then, layer by layer up to it, how many
            // pointer blocks those need.
            let mut layer = rest.min(self.map_span(level));
            rest = rest.saturating_sub(layer);
            for _ in 0..level {
                layer = num::shr_up(layer, self.ptrs_bits);
                total = total.saturating_add(layer);
            }
        }
        total
    }

    /// File blocks mapped by `i_block`'s direct pointers (`level` 0), or its pointer of `level`.
    fn map_span(&self, level: u32) -> u64 {
        match level {
            0 => u64::from(indirect::DIRECT_BLOCKS),
            _ => indirect::span(level, self.ptrs_bits),
        }
    }

    fn check_group(&self, group: u32) -> Result<(), Corrupt> {
        if group >= self.group_count {
            return Err(Corrupt::GroupNumber {
                group,
                group_count: self.group_count,
            });
        }
        Ok(())
    }

    fn check_index(&self, index: u32) -> Result<(), Corrupt> {
        if index >= self.inodes_per_group {
            return Err(Corrupt::InodeIndex {
                index,
                inodes_per_group: self.inodes_per_group,
            });
        }
        Ok(())
    }

    fn bad_block(&self, block: u32) -> Corrupt {
        Corrupt::BlockNumber {
            block,
            blocks_count: self.blocks_count,
        }
    }
}

/// Block size, and its binary logarithm.
fn block_size(raw: &RawSuperBlock) -> Result<(u32, u32), Corrupt> {
    let log = raw.log_block_size.get();
    if log > 6 {
        return Err(Corrupt::BlockSize { log });
    }
    if raw.log_frag_size.get() != log {
        return Err(Corrupt::FragmentSize {
            log_frag: raw.log_frag_size.get(),
            log_block: log,
        });
    }
    Ok((1024 << log, 10 + log))
}

/// Inode size and first ordinary inode, which the original revision does not tell.
fn inode_size(raw: &RawSuperBlock, block_size: u32) -> Result<(u16, u32), Corrupt> {
    if raw.rev_level.get() == REV_ORIGINAL {
        return Ok((RAW_INODE_SIZE, FIRST_INO));
    }
    let found = raw.inode_size.get();
    if found < RAW_INODE_SIZE || !found.is_power_of_two() || u32::from(found) > block_size {
        return Err(Corrupt::InodeSize { found, block_size });
    }
    Ok((found, raw.first_ino.get()))
}

/// Number of blocks, once it is sure that they exist and that the superblock is among them.
fn blocks_count(raw: &RawSuperBlock, block_bits: u32, device_bytes: u64) -> Result<u32, Corrupt> {
    let blocks_count = raw.blocks_count.get();
    let device_blocks = num::shr(device_bytes, block_bits);
    if u64::from(blocks_count) > device_blocks {
        return Err(Corrupt::DeviceTooSmall {
            blocks_count,
            device_blocks,
        });
    }
    let found = raw.first_data_block.get();
    let expected = num::shr(SUPERBLOCK_OFFSET, block_bits) as u32;
    if found != expected || found >= blocks_count {
        return Err(Corrupt::FirstDataBlock {
            found,
            expected,
            blocks_count,
        });
    }
    let reserved = raw.r_blocks_count.get();
    if reserved > blocks_count {
        return Err(Corrupt::ReservedBlocks {
            reserved,
            blocks_count,
        });
    }
    Ok(blocks_count)
}

/// `i_extra_isize` that inodes shall have: as much as we know fields for, and as much as the superblock asks for. C:
/// `ext4_inode_info_init`.
fn extra_isize(raw: &RawSuperBlock, inode_size: u16) -> Result<u16, Corrupt> {
    let room = inode_size.saturating_sub(RAW_INODE_SIZE);
    let mut wanted = RAW_INODE_EXTRA_SIZE.min(room);
    if room == 0 || raw.feature_ro_compat.get() & RO_COMPAT_EXTRA_ISIZE == 0 {
        return Ok(wanted);
    }
    for asked in [raw.want_extra_isize, raw.min_extra_isize] {
        let found = asked.get();
        // ext4 takes one that is no multiple of four, and then refuses every inode that it has made.
        if found > room || found % 4 != 0 {
            return Err(Corrupt::ExtraIsize { found, inode_size });
        }
        wanted = wanted.max(found);
    }
    Ok(wanted)
}

/// Whether `n` is a power of `base` (1 is one).
fn is_power(mut n: u32, base: u32) -> bool {
    while n > 1 && n % base == 0 {
        n /= base;
    }
    n == 1
}

/// How many powers of `base`, itself the first, are below `limit`.
fn count_powers(limit: u32, base: u32) -> u32 {
    let mut count = 0;
    let mut power = Some(base);
    while let Some(p) = power.filter(|&p| p < limit) {
        count = u32::saturating_add(count, 1);
        power = p.checked_mul(base);
    }
    count
}
