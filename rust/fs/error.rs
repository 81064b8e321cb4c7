// SPDX-License-Identifier: GPL-2.0

//! Damaged images: one log line that says what and where, a record in the superblock, and `EUCLEAN` for the caller.
//!
//! C: `ext4_error`; `EFSCORRUPTED` is another name of `EUCLEAN`.

use super::{record, SuperBlock};
use crate::{
    format::{corrupt::Corrupt, features::Names},
    vfs::errno::EUCLEAN,
};
use core::panic::Location;
use kernel::{fmt, prelude::*};

/// Reports damage of no inode in particular, and answers `EUCLEAN`. Sleeps; no lock of ours that is held matters, a spinlock
/// aside. The record names the caller's place in the source.
#[cold]
#[track_caller]
pub(super) fn report(sb: &SuperBlock, what: fmt::Arguments<'_>) -> Error {
    report_from(sb, EUCLEAN, (0, 0), Location::caller(), what)
}

/// Reports that something could not be done which nobody is told of otherwise: a disk did not give what was needed to free
/// something, say. Damage has been reported where it was found. C: `ext4_std_error`.
#[cold]
#[track_caller]
pub(super) fn report_failed(sb: &SuperBlock, error: Error, at: At, what: fmt::Arguments<'_>) {
    if error != EUCLEAN {
        report_from(sb, error, at.subject(), Location::caller(), what);
    }
}

/// As [`report`], of an inode.
#[cold]
#[track_caller]
pub(super) fn report_inode(sb: &SuperBlock, ino: u64, what: fmt::Arguments<'_>) -> Error {
    report_from(
        sb,
        EUCLEAN,
        At::Inode(ino).subject(),
        Location::caller(),
        what,
    )
}

/// One report: of (inode, block), from a place in the source. Silent where writing has ended, as ext4.
fn report_from(
    sb: &SuperBlock,
    error: Error,
    (ino, block): (u32, u64),
    place: &Location<'_>,
    what: fmt::Arguments<'_>,
) -> Error {
    if record::emergency_state(sb).is_ok() {
        pr_err!("({}): error: {}\n", sb.id(), what);
        sb.report_metadata_error(u64::from(ino), error);
        record::handle(sb, error, (ino, block), place);
    }
    error
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

impl At {
    /// Inode and block for the record in the superblock; 0 for none.
    fn subject(self) -> (u32, u64) {
        let (ino, block) = match self {
            Self::SuperBlock | Self::Group(_) | Self::BlockBitmap(_) | Self::InodeBitmap(_) => {
                (0, 0)
            }
            Self::Inode(ino) | Self::Pointer(ino) => (ino, 0),
            // Numbers of blocks on the device, except that of a directory's.
            Self::Dir(ino, lblk) => (ino, lblk),
            Self::Indirect(ino, block) | Self::Attributes(ino, block) => (ino, block),
            Self::Goal(block) | Self::Freeing(block) => (0, block),
        };
        (u32::try_from(ino).unwrap_or(0), u64::from(block))
    }
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
    #[track_caller]
    fn or_report(self, sb: &SuperBlock, at: At) -> Result<T>;
}

impl<T> OrReport<T> for Result<T, Corrupt> {
    #[track_caller]
    fn or_report(self, sb: &SuperBlock, at: At) -> Result<T> {
        // No closure: it would be the caller.
        match self {
            Ok(value) => Ok(value),
            Err(corrupt) => Err(report_from(
                sb,
                EUCLEAN,
                at.subject(),
                Location::caller(),
                fmt!("{at}: {corrupt}"),
            )),
        }
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
