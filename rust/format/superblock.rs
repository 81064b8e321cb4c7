// SPDX-License-Identifier: GPL-2.0

//! The superblock as it lies on disk.

use core::mem::offset_of;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Where the superblock begins, in bytes from the beginning of the device.
pub const SUPERBLOCK_OFFSET: u64 = 1024;
/// `s_magic`.
pub const MAGIC: u16 = 0xef53;

/// `s_rev_level` of the original format: 128-byte inodes, no features.
pub const REV_ORIGINAL: u32 = 0;
/// `s_rev_level` since there are features and variable inode sizes.
pub const REV_DYNAMIC: u32 = 1;

/// `s_state`: cleanly unmounted.
pub const STATE_VALID: u16 = 1;
/// `s_state`: errors were seen.
pub const STATE_ERROR: u16 = 2;

/// `s_max_mnt_count` where none is set. C: `EXT4_DFL_MAX_MNT_COUNT`.
pub const DFL_MAX_MNT_COUNT: u16 = 20;

/// `s_errors`: go on after an error.
pub const ERRORS_CONTINUE: u16 = 1;
/// `s_errors`: become read-only after an error.
pub const ERRORS_RO: u16 = 2;
/// `s_errors`: panic after an error.
pub const ERRORS_PANIC: u16 = 3;

/// `s_flags`: names are hashed with signed characters.
pub const FLAGS_SIGNED_HASH: u32 = 0x1;
/// `s_flags`: names are hashed with unsigned characters.
pub const FLAGS_UNSIGNED_HASH: u32 = 0x2;

/// `s_default_mount_opts`: print debugging information.
pub const DEFM_DEBUG: u32 = 0x1;
/// `s_default_mount_opts`: new files take the group of their directory.
pub const DEFM_BSDGROUPS: u32 = 0x2;
/// `s_default_mount_opts`: user extended attributes.
pub const DEFM_XATTR_USER: u32 = 0x4;
/// `s_default_mount_opts`: access control lists.
pub const DEFM_ACL: u32 = 0x8;
/// `s_default_mount_opts`: 16-bit user and group ids.
pub const DEFM_UID16: u32 = 0x10;
/// `s_default_mount_opts`: blocks are discarded as they become free.
pub const DEFM_DISCARD: u32 = 0x400;

/// The superblock: fields are named as in C, without `s_`.
///
/// Everything that the ext family keeps here is named, so that what we do not use survives a
/// rewrite and can be shown by tools.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(
    missing_docs,
    reason = "the fields are those of struct ext4_super_block, under the same names"
)]
pub struct RawSuperBlock {
    pub inodes_count: U32,
    pub blocks_count: U32,
    pub r_blocks_count: U32,
    pub free_blocks_count: U32,
    pub free_inodes_count: U32,
    pub first_data_block: U32,
    pub log_block_size: U32,
    pub log_frag_size: U32,
    pub blocks_per_group: U32,
    pub frags_per_group: U32,
    pub inodes_per_group: U32,
    pub mtime: U32,
    pub wtime: U32,
    pub mnt_count: U16,
    pub max_mnt_count: U16,
    pub magic: U16,
    pub state: U16,
    pub errors: U16,
    pub minor_rev_level: U16,
    pub lastcheck: U32,
    pub checkinterval: U32,
    pub creator_os: U32,
    pub rev_level: U32,
    pub def_resuid: U16,
    pub def_resgid: U16,
    // From here on for REV_DYNAMIC only.
    pub first_ino: U32,
    pub inode_size: U16,
    pub block_group_nr: U16,
    pub feature_compat: U32,
    pub feature_incompat: U32,
    pub feature_ro_compat: U32,
    pub uuid: [u8; 16],
    pub volume_name: [u8; 16],
    pub last_mounted: [u8; 64],
    pub algorithm_usage_bitmap: U32,
    pub prealloc_blocks: u8,
    pub prealloc_dir_blocks: u8,
    pub reserved_gdt_blocks: U16,
    // The journal of ext3.
    pub journal_uuid: [u8; 16],
    pub journal_inum: U32,
    pub journal_dev: U32,
    pub last_orphan: U32,
    pub hash_seed: [U32; 4],
    pub def_hash_version: u8,
    pub jnl_backup_type: u8,
    pub desc_size: U16,
    pub default_mount_opts: U32,
    pub first_meta_bg: U32,
    pub mkfs_time: U32,
    pub jnl_blocks: [U32; 17],
    // From here on ext4's.
    pub blocks_count_hi: U32,
    pub r_blocks_count_hi: U32,
    pub free_blocks_count_hi: U32,
    pub min_extra_isize: U16,
    pub want_extra_isize: U16,
    pub flags: U32,
    pub raid_stride: U16,
    pub mmp_update_interval: U16,
    pub mmp_block: U64,
    pub raid_stripe_width: U32,
    pub log_groups_per_flex: u8,
    pub checksum_type: u8,
    pub encryption_level: u8,
    pub reserved_pad: u8,
    pub kbytes_written: U64,
    pub snapshot_inum: U32,
    pub snapshot_id: U32,
    pub snapshot_r_blocks_count: U64,
    pub snapshot_list: U32,
    pub error_count: U32,
    pub first_error_time: U32,
    pub first_error_ino: U32,
    pub first_error_block: U64,
    pub first_error_func: [u8; 32],
    pub first_error_line: U32,
    pub last_error_time: U32,
    pub last_error_ino: U32,
    pub last_error_line: U32,
    pub last_error_block: U64,
    pub last_error_func: [u8; 32],
    pub mount_opts: [u8; 64],
    pub usr_quota_inum: U32,
    pub grp_quota_inum: U32,
    pub overhead_clusters: U32,
    pub backup_bgs: [U32; 2],
    pub encrypt_algos: [u8; 4],
    pub encrypt_pw_salt: [u8; 16],
    pub lpf_ino: U32,
    pub prj_quota_inum: U32,
    pub checksum_seed: U32,
    pub wtime_hi: u8,
    pub mtime_hi: u8,
    pub mkfs_time_hi: u8,
    pub lastcheck_hi: u8,
    pub first_error_time_hi: u8,
    pub last_error_time_hi: u8,
    pub first_error_errcode: u8,
    pub last_error_errcode: u8,
    pub encoding: U16,
    pub encoding_flags: U16,
    pub orphan_file_inum: U32,
    pub def_resuid_hi: U16,
    pub def_resgid_hi: U16,
    pub reserved: [U32; 93],
    pub checksum: U32,
}

const _: () = assert!(size_of::<RawSuperBlock>() == 1024);

// Offsets of the fields that are written one by one: a rewrite of the whole superblock would
// undo what a tool changed on the mounted device, as tune2fs does.

/// Offset of `s_free_blocks_count` (U32).
pub const OFF_FREE_BLOCKS_COUNT: usize = offset_of!(RawSuperBlock, free_blocks_count);
/// Offset of `s_free_inodes_count` (U32).
pub const OFF_FREE_INODES_COUNT: usize = offset_of!(RawSuperBlock, free_inodes_count);
/// Offset of `s_mtime` (U32).
pub const OFF_MTIME: usize = offset_of!(RawSuperBlock, mtime);
/// Offset of `s_wtime` (U32).
pub const OFF_WTIME: usize = offset_of!(RawSuperBlock, wtime);
/// Offset of `s_mnt_count` (U16).
pub const OFF_MNT_COUNT: usize = offset_of!(RawSuperBlock, mnt_count);
/// Offset of `s_state` (U16).
pub const OFF_STATE: usize = offset_of!(RawSuperBlock, state);
/// Offset of `s_rev_level` (U32).
pub const OFF_REV_LEVEL: usize = offset_of!(RawSuperBlock, rev_level);
/// Offset of `s_feature_ro_compat` (U32).
pub const OFF_FEATURE_RO_COMPAT: usize = offset_of!(RawSuperBlock, feature_ro_compat);
/// Offset of `s_last_mounted` (64 bytes).
pub const OFF_LAST_MOUNTED: usize = offset_of!(RawSuperBlock, last_mounted);
/// Offset of `s_last_orphan` (U32).
pub const OFF_LAST_ORPHAN: usize = offset_of!(RawSuperBlock, last_orphan);
