// SPDX-License-Identifier: GPL-2.0
//! What stat says about a file, as far as two drivers must agree on it.

use super::class::{Class, Classes};
use super::clock::Time;
use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, FileType, Statx, StatxAttributes, StatxFlags, StatxTimestamp};
use rustix::io::Errno;
use std::collections::BTreeSet;

/// `STATX_ATTR_*` that come from the inode.
const ATTRIBUTES: StatxAttributes = StatxAttributes::COMPRESSED
    .union(StatxAttributes::IMMUTABLE)
    .union(StatxAttributes::APPEND)
    .union(StatxAttributes::NODUMP);

/// What stat says.
pub struct Meta {
    /// Type and permissions.
    pub mode: u32,
    nlink: u32,
    owner: (u32, u32),
    /// Bytes; 0 for a directory, whose size is its driver's affair.
    pub size: u64,
    blocks: u64,
    rdev: (u32, u32),
    atime: Time,
    mtime: Time,
    ctime: Time,
    btime: Option<Time>,
    attributes: u64,
    /// Sectors of a directory: not compared, but missing from the free ones.
    pub dir_blocks: u64,
    /// Its number.
    pub ino: u64,
}

/// Files that holes were punched in, by their numbers on the control. ext4 keeps indirect blocks that have become empty by it;
/// a driver that does not is no worse.
#[derive(Default)]
pub struct Punched(pub BTreeSet<u64>);

impl Meta {
    /// Asks for it; an empty path is the open file itself. Symlinks are not followed unless that is asked for.
    pub fn of(
        dir: BorrowedFd<'_>,
        path: &str,
        follow: bool,
        classes: &Classes,
    ) -> Result<Meta, Errno> {
        let mut flags = AtFlags::EMPTY_PATH;
        if !follow {
            flags |= AtFlags::SYMLINK_NOFOLLOW;
        }
        let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        rustix::fs::statx(dir, path, flags, mask).map(|stat| Meta::new(&stat, classes))
    }

    fn new(stat: &Statx, classes: &Classes) -> Meta {
        let time = |time: &StatxTimestamp| Time::new(time.tv_sec, time.tv_nsec);
        let mode = u32::from(stat.stx_mode);
        let is_dir = FileType::from_raw_mode(mode) == FileType::Directory;
        let unless_dir = |value: u64| if is_dir { 0 } else { value };
        let has_btime = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
        Meta {
            mode,
            nlink: stat.stx_nlink,
            owner: (stat.stx_uid, stat.stx_gid),
            size: unless_dir(stat.stx_size),
            blocks: unless_dir(stat.stx_blocks),
            rdev: (stat.stx_rdev_major, stat.stx_rdev_minor),
            atime: time(&stat.stx_atime),
            mtime: time(&stat.stx_mtime),
            ctime: time(&stat.stx_ctime),
            btime: (has_btime && classes.has(Class::Btime)).then(|| time(&stat.stx_btime)),
            attributes: match classes.has(Class::Attributes) {
                true => (stat.stx_attributes & ATTRIBUTES).bits(),
                false => 0,
            },
            dir_blocks: if is_dir { stat.stx_blocks } else { 0 },
            ino: stat.stx_ino,
        }
    }

    /// Which fields differ from the control's: their names, and what each of the two says.
    pub fn differences(
        &self,
        other: &Meta,
        punched: &Punched,
    ) -> Vec<(&'static str, String, String)> {
        let mut found = Vec::new();
        let mut field = |name, one: String, two: String| {
            if one != two {
                found.push((name, one, two));
            }
        };
        let octal = |mode: u32| format!("0{mode:o}");
        let birth = |time: Option<Time>| time.map_or("none".into(), |time| time.to_string());
        field("mode", octal(self.mode), octal(other.mode));
        field("nlink", self.nlink.to_string(), other.nlink.to_string());
        field(
            "owner",
            format!("{:?}", self.owner),
            format!("{:?}", other.owner),
        );
        field("size", self.size.to_string(), other.size.to_string());
        if self.blocks > other.blocks || !punched.0.contains(&other.ino) {
            field("sectors", self.blocks.to_string(), other.blocks.to_string());
        }
        field(
            "device",
            format!("{:?}", self.rdev),
            format!("{:?}", other.rdev),
        );
        field("atime", self.atime.to_string(), other.atime.to_string());
        field("mtime", self.mtime.to_string(), other.mtime.to_string());
        field("ctime", self.ctime.to_string(), other.ctime.to_string());
        field("btime", birth(self.btime), birth(other.btime));
        field(
            "attributes",
            format!("{:#x}", self.attributes),
            format!("{:#x}", other.attributes),
        );
        found
    }
}
