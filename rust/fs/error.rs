// SPDX-License-Identifier: GPL-2.0

//! Damaged images: one log line that says what and where, and `EUCLEAN` for the caller.
//!
//! C: `ext2_error`; `EFSCORRUPTED` is another name of `EUCLEAN`.

use super::{options::Errors, SuperBlock};
use crate::{
    format::{corrupt::Corrupt, features::Names},
    vfs::errno::EUCLEAN,
};
use kernel::{fmt, prelude::*};

/// Reports damage, remembers it for the superblock's state, and answers `EUCLEAN`.
#[cold]
pub(super) fn report(sb: &SuperBlock, what: fmt::Arguments<'_>) -> Error {
    pr_err!("({}): error: {}\n", sb.id(), what);
    sb.data().note_error();
    match sb.data().errors() {
        Errors::Continue => {}
        Errors::RemountRo => {
            if !sb.is_read_only() {
                pr_err!("({}): remounting read-only\n", sb.id());
                sb.force_read_only();
            }
        }
        Errors::Panic => crate::vfs::super_block::stop_machine(),
    }
    EUCLEAN
}

/// Where in the filesystem something is.
#[derive(Clone, Copy)]
pub(super) enum At {
    /// The superblock.
    SuperBlock,
    /// A group's descriptor.
    Group(u32),
    /// A group's block bitmap.
    BlockBitmap(u32),
    /// A group's inode bitmap.
    InodeBitmap(u32),
    /// An inode.
    Inode(u64),
    /// A pointer of an inode's block map.
    Pointer(u64),
    /// An indirect block of an inode: inode, block on the device.
    Indirect(u64, u32),
    /// A block of a directory: inode, block in the directory.
    Dir(u64, u32),
    /// An inode's block of extended attributes: inode, block on the device.
    Attributes(u64, u32),
    /// Looking for free blocks near this one.
    Goal(u32),
    /// Freeing blocks from this one on.
    Freeing(u32),
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::SuperBlock => write!(f, "superblock"),
            Self::Group(group) => write!(f, "group {group}"),
            Self::BlockBitmap(group) => write!(f, "block bitmap of group {group}"),
            Self::InodeBitmap(group) => write!(f, "inode bitmap of group {group}"),
            Self::Inode(ino) => write!(f, "inode {ino}"),
            Self::Pointer(ino) => write!(f, "inode {ino}: block pointer"),
            Self::Indirect(ino, block) => write!(f, "inode {ino}: indirect block {block}"),
            Self::Dir(ino, lblk) => write!(f, "directory {ino}, block {lblk}"),
            Self::Attributes(ino, block) => write!(f, "inode {ino}: attribute block {block}"),
            Self::Goal(block) => write!(f, "allocating near block {block}"),
            Self::Freeing(block) => write!(f, "freeing block {block}"),
        }
    }
}

/// Turns what [`crate::format`] found wrong into an errno, saying where it was.
pub(super) trait OrReport<T> {
    /// As [`report`].
    fn or_report(self, sb: &SuperBlock, at: At) -> Result<T>;
}

impl<T> OrReport<T> for Result<T, Corrupt> {
    fn or_report(self, sb: &SuperBlock, at: At) -> Result<T> {
        self.map_err(|corrupt| report(sb, fmt!("{at}: {corrupt}")))
    }
}

// The kernel's `fmt!` has a Display of its own.
impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}
