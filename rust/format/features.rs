// SPDX-License-Identifier: GPL-2.0

//! Feature bits: those that the ext family knows, and those that this driver supports.
//!
//! A compatible feature may be ignored; an unsupported `ro_compat` one allows reading only; an
//! unsupported `incompat` one forbids the mount. The words are looked at whatever the revision
//! says, as the C drivers do: old tools set bits without raising it.

use super::superblock::RawSuperBlock;
use core::fmt;

/// Defines the bits of one feature word, and the table of their names.
macro_rules! bits {
    ($table:ident: $($name:ident = $bit:literal, $text:literal;)+) => {
        $(
            #[doc = concat!("The feature `", $text, "`.")]
            pub const $name: u32 = $bit;
        )+
        const $table: &[(u32, &str)] = &[$(($name, $text)),+];
    };
}

/// The feature `dir_prealloc`.
pub const COMPAT_DIR_PREALLOC: u32 = 0x1;
/// The feature `imagic_inodes`.
pub const COMPAT_IMAGIC_INODES: u32 = 0x2;
/// The feature `has_journal`.
pub const COMPAT_HAS_JOURNAL: u32 = 0x4;
/// The feature `ext_attr`.
pub const COMPAT_EXT_ATTR: u32 = 0x8;
/// The feature `resize_inode`.
pub const COMPAT_RESIZE_INODE: u32 = 0x10;
/// The feature `dir_index`.
pub const COMPAT_DIR_INDEX: u32 = 0x20;
/// The feature `sparse_super2`.
pub const COMPAT_SPARSE_SUPER2: u32 = 0x200;
/// The feature `fast_commit`.
pub const COMPAT_FAST_COMMIT: u32 = 0x400;
/// The feature `stable_inodes`.
pub const COMPAT_STABLE_INODES: u32 = 0x800;
/// The feature `orphan_file`.
pub const COMPAT_ORPHAN_FILE: u32 = 0x1000;

bits! { INCOMPAT_NAMES:
    INCOMPAT_COMPRESSION = 0x1, "compression";
    INCOMPAT_FILETYPE = 0x2, "filetype";
    INCOMPAT_RECOVER = 0x4, "needs_recovery";
    INCOMPAT_JOURNAL_DEV = 0x8, "journal_dev";
    INCOMPAT_META_BG = 0x10, "meta_bg";
    INCOMPAT_EXTENTS = 0x40, "extents";
    INCOMPAT_64BIT = 0x80, "64bit";
    INCOMPAT_MMP = 0x100, "mmp";
    INCOMPAT_FLEX_BG = 0x200, "flex_bg";
    INCOMPAT_EA_INODE = 0x400, "ea_inode";
    INCOMPAT_DIRDATA = 0x1000, "dirdata";
    INCOMPAT_CSUM_SEED = 0x2000, "metadata_csum_seed";
    INCOMPAT_LARGEDIR = 0x4000, "large_dir";
    INCOMPAT_INLINE_DATA = 0x8000, "inline_data";
    INCOMPAT_ENCRYPT = 0x10000, "encrypt";
    INCOMPAT_CASEFOLD = 0x20000, "casefold";
}

bits! { RO_COMPAT_NAMES:
    RO_COMPAT_SPARSE_SUPER = 0x1, "sparse_super";
    RO_COMPAT_LARGE_FILE = 0x2, "large_file";
    RO_COMPAT_BTREE_DIR = 0x4, "btree_dir";
    RO_COMPAT_HUGE_FILE = 0x8, "huge_file";
    RO_COMPAT_GDT_CSUM = 0x10, "uninit_bg";
    RO_COMPAT_DIR_NLINK = 0x20, "dir_nlink";
    RO_COMPAT_EXTRA_ISIZE = 0x40, "extra_isize";
    RO_COMPAT_QUOTA = 0x100, "quota";
    RO_COMPAT_BIGALLOC = 0x200, "bigalloc";
    RO_COMPAT_METADATA_CSUM = 0x400, "metadata_csum";
    RO_COMPAT_REPLICA = 0x800, "replica";
    RO_COMPAT_READONLY = 0x1000, "read-only";
    RO_COMPAT_PROJECT = 0x2000, "project";
    RO_COMPAT_SHARED_BLOCKS = 0x4000, "shared_blocks";
    RO_COMPAT_VERITY = 0x8000, "verity";
    RO_COMPAT_ORPHAN_PRESENT = 0x10000, "orphan_present";
}

/// The incompatible features that this driver supports.
pub const SUPPORTED_INCOMPAT: u32 = INCOMPAT_FILETYPE;
/// The read-only compatible features with which this driver writes.
pub const SUPPORTED_RO_COMPAT: u32 = RO_COMPAT_SPARSE_SUPER
    | RO_COMPAT_LARGE_FILE
    | RO_COMPAT_BTREE_DIR
    | RO_COMPAT_DIR_NLINK
    | RO_COMPAT_EXTRA_ISIZE
    | RO_COMPAT_QUOTA
    | RO_COMPAT_PROJECT;

/// Those of them that ext2 and ext3 have.
const EXT2_RO_COMPAT: u32 = RO_COMPAT_SPARSE_SUPER | RO_COMPAT_LARGE_FILE | RO_COMPAT_BTREE_DIR;

/// The features that forbid mounting this filesystem.
pub fn unsupported_incompat(raw: &RawSuperBlock) -> Names {
    Names {
        bits: raw.feature_incompat.get() & !SUPPORTED_INCOMPAT,
        names: INCOMPAT_NAMES,
    }
}

/// The features that forbid writing to this filesystem.
pub fn unsupported_ro_compat(raw: &RawSuperBlock) -> Names {
    Names {
        bits: raw.feature_ro_compat.get() & !SUPPORTED_RO_COMPAT,
        names: RO_COMPAT_NAMES,
    }
}

/// The features that forbid writing to this filesystem under the name of ext2 or ext3. C: `ext2_feature_set_ok` of `fs/ext4/super.c`.
pub fn not_of_ext2(raw: &RawSuperBlock) -> Names {
    Names {
        bits: raw.feature_ro_compat.get() & !EXT2_RO_COMPAT,
        names: RO_COMPAT_NAMES,
    }
}

/// The inode of the journal, 0 where there is none in this filesystem.
pub fn journal_inode(raw: &RawSuperBlock) -> u32 {
    if raw.feature_compat.get() & COMPAT_HAS_JOURNAL != 0 {
        raw.journal_inum.get()
    } else {
        0
    }
}

/// Whether numbers of inodes and the UUID must stay what they are: names are encrypted by them.
pub fn has_stable_inodes(raw: &RawSuperBlock) -> bool {
    raw.feature_compat.get() & COMPAT_STABLE_INODES != 0
}

/// A set of features, as an iterator over them from the lowest bit up.
#[derive(Debug, Clone)]
pub struct Names {
    bits: u32,
    names: &'static [(u32, &'static str)],
}

impl Names {
    /// Whether no feature is (or none is left) in the set.
    pub const fn is_empty(&self) -> bool {
        self.bits == 0
    }
}

impl Iterator for Names {
    type Item = FeatureName;

    fn next(&mut self) -> Option<FeatureName> {
        if self.bits == 0 {
            return None;
        }
        let rest = self.bits & self.bits.wrapping_sub(1);
        let bit = self.bits ^ rest;
        self.bits = rest;
        Some(match self.names.iter().find(|(known, _)| *known == bit) {
            Some((_, name)) => FeatureName::Known(name),
            None => FeatureName::Unknown(bit),
        })
    }
}

/// Comma-separated, for a log line.
impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for name in self.clone() {
            write!(f, "{separator}{name}")?;
            separator = ", ";
        }
        Ok(())
    }
}

/// One feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureName {
    /// A feature of the ext family, by the name that mke2fs gives it.
    Known(&'static str),
    /// A bit without a name.
    Unknown(u32),
}

impl fmt::Display for FeatureName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(name) => f.write_str(name),
            Self::Unknown(bit) => write!(f, "unknown feature bit {bit:#x}"),
        }
    }
}
