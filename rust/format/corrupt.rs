// SPDX-License-Identifier: GPL-2.0

//! What can be wrong with an image: one variant for each kind of damage.

use core::fmt;

/// A kind of damage, with the values that show it.
///
/// `Display` gives one sentence for the kernel log; the reader adds which device, inode or block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corrupt {
    /// An access past the end of a block.
    OutOfBlock {
        /// First byte asked for.
        offset: usize,
        /// Number of bytes asked for.
        len: usize,
        /// Length of the block.
        block_len: usize,
    },
    /// The superblock's magic number is not ext2's.
    BadMagic {
        /// What stood in its place.
        found: u16,
    },
    /// The block size is not one of 1 KiB to 64 KiB.
    BlockSize {
        /// `s_log_block_size`: the block size is 1 KiB shifted left by it.
        log: u32,
    },
    /// Fragments (or clusters) are not as large as blocks.
    FragmentSize {
        /// `s_log_frag_size`.
        log_frag: u32,
        /// `s_log_block_size`.
        log_block: u32,
    },
    /// There are not as many fragments in a group as blocks.
    FragmentsPerGroup {
        /// `s_frags_per_group`.
        fragments: u32,
        /// `s_blocks_per_group`.
        blocks: u32,
    },
    /// The inode size is no power of two between 128 and the block size.
    InodeSize {
        /// `s_inode_size`.
        found: u16,
        /// The block size in bytes.
        block_size: u32,
    },
    /// The first ordinary inode is a reserved one, or does not exist.
    FirstInode {
        /// `s_first_ino`.
        found: u32,
        /// `s_inodes_count`.
        inodes_count: u32,
    },
    /// The number of blocks in a group is zero or exceeds what one bitmap block can describe.
    BlocksPerGroup {
        /// `s_blocks_per_group`.
        found: u32,
        /// Bits in one block.
        max: u32,
    },
    /// A group is too small for its own bitmaps and inode table.
    GroupTooSmall {
        /// `s_blocks_per_group`.
        blocks: u32,
        /// Blocks of one group's inode table.
        inode_table_blocks: u32,
    },
    /// The number of inodes in a group does not fill whole blocks, or exceeds one bitmap block.
    InodesPerGroup {
        /// `s_inodes_per_group`.
        found: u32,
        /// Inodes in one block.
        per_block: u32,
        /// Bits in one block.
        max: u32,
    },
    /// The first data block is not the one that holds the superblock, or lies past the end.
    FirstDataBlock {
        /// `s_first_data_block`.
        found: u32,
        /// The block that holds the superblock.
        expected: u32,
        /// `s_blocks_count`.
        blocks_count: u32,
    },
    /// More blocks are reserved for root than there are.
    ReservedBlocks {
        /// `s_r_blocks_count`.
        reserved: u32,
        /// `s_blocks_count`.
        blocks_count: u32,
    },
    /// More blocks are kept for growing the descriptor table than its inode can map.
    ReservedGdtBlocks {
        /// `s_reserved_gdt_blocks`.
        found: u16,
        /// Pointers in one block.
        max: u32,
    },
    /// The device is smaller than the filesystem.
    DeviceTooSmall {
        /// `s_blocks_count`.
        blocks_count: u32,
        /// Whole blocks on the device.
        device_blocks: u64,
    },
    /// The inode count is not groups times inodes per group.
    InodesCount {
        /// `s_inodes_count`.
        found: u32,
        /// What the group count implies.
        computed: u64,
    },
    /// The group descriptors do not fit into the first group.
    DescriptorTable {
        /// Blocks that they need.
        blocks: u32,
        /// Blocks in the first group.
        group_blocks: u32,
    },
    /// There is no such group.
    GroupNumber {
        /// The group asked for.
        group: u32,
        /// Number of groups.
        group_count: u32,
    },
    /// A group's block bitmap is not inside the group.
    BlockBitmapLocation {
        /// The group.
        group: u32,
        /// Where its descriptor puts the bitmap.
        block: u32,
    },
    /// A group's inode bitmap is not inside the group.
    InodeBitmapLocation {
        /// The group.
        group: u32,
        /// Where its descriptor puts the bitmap.
        block: u32,
    },
    /// A group's inode table is not inside the group.
    InodeTableLocation {
        /// The group.
        group: u32,
        /// Where its descriptor puts the first block of the table.
        block: u32,
    },
    /// A group's bitmaps and inode table overlap.
    GroupOverlap {
        /// The group.
        group: u32,
    },
    /// A group descriptor counts more free blocks than the group has.
    GroupFreeBlocks {
        /// The group.
        group: u32,
        /// `bg_free_blocks_count`.
        free: u16,
        /// Blocks in the group.
        blocks: u32,
    },
    /// A group descriptor counts more free inodes and directories than the group has inodes.
    GroupInodes {
        /// The group.
        group: u32,
        /// `bg_free_inodes_count`.
        free: u16,
        /// `bg_used_dirs_count`.
        dirs: u16,
        /// Inodes in the group.
        inodes: u32,
    },
    /// An inode number that no file can have.
    InodeNumber {
        /// The number.
        ino: u32,
        /// `s_inodes_count`.
        inodes_count: u32,
    },
    /// An index past the end of a group's inode table.
    InodeIndex {
        /// The index.
        index: u32,
        /// Inodes in a group.
        inodes_per_group: u32,
    },
    /// An inode's extra part, or what the superblock wants of it, is larger than the inode, or of an odd size.
    ExtraIsize {
        /// `i_extra_isize`.
        found: u16,
        /// The inode size in bytes.
        inode_size: u16,
    },
    /// A block number outside the filesystem's data.
    BlockNumber {
        /// The number.
        block: u32,
        /// `s_blocks_count`.
        blocks_count: u32,
    },
    /// A run of blocks that is empty, or not wholly inside the filesystem's data.
    BlockRun {
        /// Its first block.
        block: u32,
        /// Its length.
        count: u32,
        /// `s_blocks_count`.
        blocks_count: u32,
    },
    /// Blocks in use as data that are the filesystem's own: superblocks, descriptors, bitmaps, inode tables.
    MetadataBlocks {
        /// The first of the run.
        block: u32,
        /// Its length.
        count: u32,
    },
    /// The metadata of a group overlaps: among itself, or with that of the group before it.
    MetadataOverlap {
        /// Where the second of the two begins.
        block: u32,
    },
    /// A range of bits that is not wholly inside the bitmap.
    BitRange {
        /// First bit.
        start: u32,
        /// One past the last bit.
        end: u64,
        /// Bits in the bitmap.
        bits: u64,
    },
    /// What was to be allocated is in use.
    BitAlreadySet {
        /// The first such bit.
        bit: u32,
    },
    /// What was to be freed is free.
    BitAlreadyClear {
        /// The first such bit.
        bit: u32,
    },
    /// A file block that the block map cannot address.
    FileBlockTooLarge {
        /// The file block.
        block: u32,
    },
    /// A directory entry does not begin at a multiple of four inside its block.
    EntryOffset {
        /// Where it was said to begin.
        offset: u32,
        /// The block size.
        block_size: u32,
    },
    /// A directory entry is shorter than the shortest possible.
    EntryTooShort {
        /// Where it begins.
        offset: u32,
        /// Its length.
        rec_len: u32,
    },
    /// The length of a directory entry is no multiple of four.
    EntryUnaligned {
        /// Where it begins.
        offset: u32,
        /// Its length.
        rec_len: u32,
    },
    /// A directory entry is too short for its name.
    EntryNameOverrun {
        /// Where it begins.
        offset: u32,
        /// Its length.
        rec_len: u32,
        /// The length of its name.
        name_len: u8,
    },
    /// A directory entry reaches past the end of its block.
    EntryOverrun {
        /// Where it begins.
        offset: u32,
        /// Its length.
        rec_len: u32,
    },
    /// A directory entry leaves less room before the end of its block than an entry needs.
    EntryNearEnd {
        /// Where it begins.
        offset: u32,
        /// Its length.
        rec_len: u32,
    },
    /// A directory entry names an inode that cannot exist.
    EntryInode {
        /// Where it begins.
        offset: u32,
        /// The inode it names.
        inode: u32,
        /// `s_inodes_count`.
        inodes_count: u32,
    },
    /// A directory entry is in use but has no name.
    EntryNameEmpty {
        /// Where it begins.
        offset: u32,
    },
    /// A name in a directory holds a slash or a zero byte.
    EntryNameByte {
        /// Where its entry begins.
        offset: u32,
        /// The byte.
        byte: u8,
    },
    /// The entry `.` is the last of its block.
    EntryDotLast {
        /// Where it begins.
        offset: u32,
    },
    /// A directory does not begin with `.`, naming itself, and `..`.
    DirDots {
        /// Where the wrong entry begins.
        offset: u32,
    },
    /// A directory block no longer holds the entry that was found in it.
    EntryChanged {
        /// Where the entry began.
        offset: u32,
    },
    /// A directory's index leads to a block that is no index block: one does not begin with a free entry as long
    /// as the block.
    IndexHidden,
    /// A directory's index uses a hash function that does not exist.
    IndexHashVersion {
        /// `hash_version`.
        found: u8,
    },
    /// A directory's index has flags that nobody knows.
    IndexFlags {
        /// `unused_flags`.
        found: u8,
    },
    /// A directory's index has more levels than this format allows.
    IndexLevels {
        /// `indirect_levels`.
        found: u8,
    },
    /// The head of a directory's index has a length that it cannot have.
    IndexInfoLength {
        /// `info_length`.
        found: u8,
    },
    /// A directory's index block claims room for more or fewer pairs than fit into it.
    IndexLimit {
        /// What it claims.
        limit: u32,
        /// What fits.
        expected: u32,
    },
    /// A directory's index block has no pairs, or more than it has room for.
    IndexCount {
        /// How many.
        count: u32,
        /// The room.
        limit: u32,
    },
    /// A directory's index leads outside the directory, or to its own root.
    IndexBlock {
        /// The block it leads to.
        block: u32,
        /// Blocks of the directory.
        blocks: u32,
    },
    /// A directory's index leads back to a block that led there.
    IndexLoop {
        /// The block.
        block: u32,
    },
    /// The hashes in a directory's index are not in order.
    IndexOrder {
        /// The first that was seen out of place.
        hash: u32,
    },
    /// A directory's block is full and cannot be split.
    IndexSplit {
        /// Number of entries in it.
        entries: usize,
    },
    /// A name that is empty or longer than 255 bytes.
    NameLength {
        /// Its length.
        len: usize,
    },
    /// A block of attributes does not begin as one.
    AttributeHeader {
        /// `h_magic`.
        magic: u32,
        /// `h_blocks`.
        blocks: u32,
    },
    /// An attribute's entry reaches past its area.
    AttributeOverrun {
        /// Where the entry begins.
        offset: usize,
    },
    /// An attribute's name holds a zero byte.
    AttributeName {
        /// Where the entry begins.
        offset: usize,
    },
    /// An attribute's value lies outside its area, or among the names.
    AttributeValue {
        /// Where the entry begins.
        offset: usize,
        /// Where the value begins.
        value: usize,
        /// Bytes of the value.
        size: usize,
    },
    /// An attribute's value lies in an inode, which only the feature `ea_inode` allows.
    AttributeInode {
        /// Where the entry begins.
        offset: usize,
        /// The inode.
        inode: u32,
    },
}

impl core::error::Error for Corrupt {}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::OutOfBlock {
                offset,
                len,
                block_len,
            } => write!(
                f,
                "{len} bytes at offset {offset} are not inside a block of {block_len} bytes"
            ),
            Self::BadMagic { found } => {
                write!(f, "magic number {found:#06x} is not that of ext2 (0xef53)")
            }
            Self::BlockSize { log } => write!(f, "invalid log block size {log}"),
            Self::FragmentSize {
                log_frag,
                log_block,
            } => write!(
                f,
                "log fragment size {log_frag} differs from log block size {log_block}"
            ),
            Self::FragmentsPerGroup { fragments, blocks } => write!(
                f,
                "{fragments} fragments per group differ from {blocks} blocks per group"
            ),
            Self::InodeSize { found, block_size } => write!(
                f,
                "inode size {found} is no power of two between 128 and the block size {block_size}"
            ),
            Self::FirstInode {
                found,
                inodes_count,
            } => write!(
                f,
                "first inode {found} is not between 11 and the last inode {inodes_count}"
            ),
            Self::BlocksPerGroup { found, max } => {
                write!(f, "{found} blocks per group are not between 1 and {max}")
            }
            Self::GroupTooSmall {
                blocks,
                inode_table_blocks,
            } => write!(
                f,
                "groups of {blocks} blocks cannot hold an inode table of {inode_table_blocks} blocks"
            ),
            Self::InodesPerGroup {
                found,
                per_block,
                max,
            } => write!(
                f,
                "{found} inodes per group are no multiple of 8 and of {per_block} up to {max}"
            ),
            Self::FirstDataBlock {
                found,
                expected,
                blocks_count,
            } => write!(
                f,
                "first data block {found} is not {expected} or lies past the last of {blocks_count} blocks"
            ),
            Self::ReservedBlocks {
                reserved,
                blocks_count,
            } => write!(f, "{reserved} blocks of {blocks_count} are reserved"),
            Self::ReservedGdtBlocks { found, max } => write!(
                f,
                "{found} blocks reserved for group descriptors exceed {max}"
            ),
            Self::DeviceTooSmall {
                blocks_count,
                device_blocks,
            } => write!(
                f,
                "block count {blocks_count} exceeds the device's {device_blocks} blocks"
            ),
            Self::InodesCount { found, computed } => write!(
                f,
                "inode count {found} differs from groups times inodes per group, {computed}"
            ),
            Self::DescriptorTable {
                blocks,
                group_blocks,
            } => write!(
                f,
                "{blocks} blocks of group descriptors do not fit into a first group of {group_blocks} blocks"
            ),
            Self::GroupNumber { group, group_count } => {
                write!(f, "group {group} is past the last of {group_count} groups")
            }
            Self::BlockBitmapLocation { group, block } => {
                write!(f, "block bitmap of group {group} is outside it, at block {block}")
            }
            Self::InodeBitmapLocation { group, block } => {
                write!(f, "inode bitmap of group {group} is outside it, at block {block}")
            }
            Self::InodeTableLocation { group, block } => {
                write!(f, "inode table of group {group} is outside it, at block {block}")
            }
            Self::GroupOverlap { group } => {
                write!(f, "bitmaps and inode table of group {group} overlap")
            }
            Self::GroupFreeBlocks {
                group,
                free,
                blocks,
            } => write!(f, "group {group} counts {free} of its {blocks} blocks as free"),
            Self::GroupInodes {
                group,
                free,
                dirs,
                inodes,
            } => write!(
                f,
                "group {group} counts {free} free inodes and {dirs} directories among {inodes} inodes"
            ),
            Self::InodeNumber { ino, inodes_count } => {
                write!(f, "inode number {ino} is reserved or past the last inode {inodes_count}")
            }
            Self::InodeIndex {
                index,
                inodes_per_group,
            } => write!(
                f,
                "index {index} is past the end of a table of {inodes_per_group} inodes"
            ),
            Self::ExtraIsize { found, inode_size } => write!(
                f,
                "extra inode size {found} does not fit an inode of {inode_size} bytes"
            ),
            Self::BlockNumber {
                block,
                blocks_count,
            } => write!(
                f,
                "block {block} is outside the data of a filesystem of {blocks_count} blocks"
            ),
            Self::BlockRun {
                block,
                count,
                blocks_count,
            } => write!(
                f,
                "{count} blocks from {block} are outside the data of a filesystem of {blocks_count} blocks"
            ),
            Self::MetadataBlocks { block, count: 1 } => {
                write!(f, "block {block} holds metadata of the filesystem")
            }
            Self::MetadataBlocks { block, count } => write!(
                f,
                "{count} blocks from {block} reach into metadata of the filesystem"
            ),
            Self::MetadataOverlap { block } => {
                write!(f, "metadata overlaps other metadata at block {block}")
            }
            Self::BitRange { start, end, bits } => {
                write!(f, "bits {start} to {end} are outside a bitmap of {bits} bits")
            }
            Self::BitAlreadySet { bit } => write!(f, "bit {bit} to be allocated is already set"),
            Self::BitAlreadyClear { bit } => write!(f, "bit {bit} to be freed is already clear"),
            Self::FileBlockTooLarge { block } => {
                write!(f, "file block {block} is past the end of the block map")
            }
            Self::EntryOffset { offset, block_size } => write!(
                f,
                "no directory entry can begin at offset {offset} of a block of {block_size} bytes"
            ),
            Self::EntryTooShort { offset, rec_len } => write!(
                f,
                "directory entry at offset {offset} is shorter than any entry: {rec_len} bytes"
            ),
            Self::EntryUnaligned { offset, rec_len } => write!(
                f,
                "length {rec_len} of the directory entry at offset {offset} is no multiple of 4"
            ),
            Self::EntryNameOverrun {
                offset,
                rec_len,
                name_len,
            } => write!(
                f,
                "directory entry at offset {offset} of {rec_len} bytes cannot hold its name of {name_len}"
            ),
            Self::EntryOverrun { offset, rec_len } => write!(
                f,
                "directory entry at offset {offset} reaches past its block: {rec_len} bytes"
            ),
            Self::EntryNearEnd { offset, rec_len } => write!(
                f,
                "directory entry at offset {offset} ends too close to its block's end: {rec_len} bytes"
            ),
            Self::EntryInode {
                offset,
                inode,
                inodes_count,
            } => write!(
                f,
                "directory entry at offset {offset} names inode {inode}, past the last inode {inodes_count}"
            ),
            Self::EntryNameEmpty { offset } => {
                write!(f, "directory entry at offset {offset} has an empty name")
            }
            Self::EntryNameByte { offset, byte } => write!(
                f,
                "name of the directory entry at offset {offset} holds the byte {byte:#04x}"
            ),
            Self::EntryDotLast { offset } => write!(
                f,
                "directory entry '.' at offset {offset} is the last of its block"
            ),
            Self::DirDots { offset } => write!(
                f,
                "directory does not begin with its '.' and '..': see the entry at offset {offset}"
            ),
            Self::EntryChanged { offset } => write!(
                f,
                "directory entry at offset {offset} is not the one that was found there"
            ),
            Self::IndexHidden => write!(
                f,
                "index leads to a block of entries where it should lead to an index block"
            ),
            Self::IndexHashVersion { found } => {
                write!(f, "index uses hash function {found}, which does not exist")
            }
            Self::IndexFlags { found } => write!(f, "index has unknown flags {found:#04x}"),
            Self::IndexLevels { found } => {
                write!(f, "index has {found} levels below its root, and at most one is allowed")
            }
            Self::IndexInfoLength { found } => {
                write!(f, "head of the index cannot be {found} bytes long")
            }
            Self::IndexLimit { limit, expected } => write!(
                f,
                "index block claims room for {limit} pairs and has it for {expected}"
            ),
            Self::IndexCount { count, limit } => write!(
                f,
                "{count} pairs in an index block are not between 1 and {limit}"
            ),
            Self::IndexBlock { block, blocks } => write!(
                f,
                "index leads to block {block}, which is its root or past the directory's {blocks} blocks"
            ),
            Self::IndexLoop { block } => {
                write!(f, "index leads back to block {block}, which led there")
            }
            Self::IndexOrder { hash } => {
                write!(f, "hashes of the index are out of order at {hash:#010x}")
            }
            Self::IndexSplit { entries } => {
                write!(f, "a full block of {entries} entries cannot be split")
            }
            Self::NameLength { len } => write!(f, "a name cannot be {len} bytes long"),
            Self::AttributeHeader { magic, blocks } => write!(
                f,
                "no header of attributes: magic number {magic:#x}, {blocks} blocks"
            ),
            Self::AttributeOverrun { offset } => {
                write!(f, "attribute at offset {offset} reaches past its area")
            }
            Self::AttributeName { offset } => write!(
                f,
                "name of the attribute at offset {offset} holds a zero byte"
            ),
            Self::AttributeValue {
                offset,
                value,
                size,
            } => write!(
                f,
                "value of the attribute at offset {offset} cannot be {size} bytes at {value}"
            ),
            Self::AttributeInode { offset, inode } => write!(
                f,
                "value of the attribute at offset {offset} should be in inode {inode}"
            ),
        }
    }
}
