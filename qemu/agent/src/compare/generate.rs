// SPDX-License-Identifier: GPL-2.0
//! The sequence that a seed gives.
//!
//! It depends on the seed and the block size alone, not on what a driver can do or answers: operation 4711 of seed 1 is the same
//! today and tomorrow. Names are few, so that most operations meet something.

use super::op::{Op, What, SLOTS};
use super::side::{MOST, STOCK, USER};
use crate::buf::Random;
use rustix::fs::{FallocateFlags, IFlags, OFlags, RenameFlags, XattrFlags};

/// Where names are made.
const DIRS: [&str; 6] = ["", "d0/", "d1/", "d0/d2/", "d0/d2/d3/", "d1/d2/"];
/// Names of files, more or less.
const LEAVES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// Names of directories, more or less.
const BRANCHES: [&str; 4] = ["d0", "d1", "d2", "d3"];
/// Names of extended attributes. Some differ late, some are long.
const XATTRS: [&str; 12] = [
    "user.a",
    "user.b",
    "user.comment",
    "user.a-name-that-takes-some-of-the-place-in-an-inode",
    "trusted.a",
    "trusted.overlay.opaque",
    "security.a",
    "security.capability",
    "user.",
    "system.posix_acl_access",
    "system.posix_acl_default",
    "nothing.a",
];

/// What is done how often, in parts of their sum.
const WEIGHTS: [(u64, Make); 40] = [
    (90, Generator::open),
    (14, Generator::open_direct),
    (20, |g| What::Close(g.slot())),
    (46, |g| What::Mkdir(g.branch(), g.mode())),
    (20, |g| What::Rmdir(g.branch())),
    (42, |g| What::Unlink(g.path())),
    (14, Generator::mknod),
    (20, |g| What::Symlink(g.target(), g.path())),
    (8, |g| What::Readlink(g.path())),
    (32, |g| What::Link(g.path(), g.path(), g.one_in(4))),
    (60, Generator::rename),
    (12, |g| g.exchange(RenameFlags::EXCHANGE)),
    (5, |g| g.exchange(RenameFlags::WHITEOUT)),
    (8, Generator::open_tmpfile),
    (8, |g| What::LinkSlot(g.slot(), g.path())),
    (16, |g| What::Truncate(g.path(), g.end())),
    (26, |g| What::Ftruncate(g.slot(), g.end())),
    (3, |g| g.many(What::Fill)),
    (6, |g| g.many(What::Sweep)),
    (90, |g| What::Read(g.slot(), g.offset(), g.length())),
    (140, |g| {
        What::Write(g.slot(), g.end(), g.length(), g.from())
    }),
    (25, |g| What::Append(g.slot(), g.length(), g.from())),
    (20, |g| What::MapRead(g.slot(), g.offset(), g.length())),
    (40, |g| {
        What::MapWrite(g.slot(), g.offset(), g.length(), g.from())
    }),
    (36, Generator::fallocate),
    (20, |g| What::Seek(g.slot(), g.offset())),
    (20, |g| {
        What::Copy(g.slot(), g.offset(), g.slot(), g.offset(), g.length())
    }),
    (22, |g| What::Chmod(g.path(), g.mode())),
    (8, |g| What::Fchmod(g.slot(), g.mode())),
    (20, |g| {
        What::Chown(g.path(), g.owner(), g.owner(), !g.one_in(3))
    }),
    (24, |g| {
        What::Utimens(g.path(), g.time(), g.time(), !g.one_in(3))
    }),
    (10, |g| What::Access(g.path(), g.below(8) as u32)),
    (46, Generator::setxattr),
    (12, Generator::set_acl),
    (36, Generator::other_xattr),
    (20, Generator::flags),
    (20, |g| What::Readdir(g.branch())),
    (30, |g| What::Stat(g.path())),
    (22, |g| What::Fsync(g.slot(), g.one_in(2))),
    (5, Generator::rare),
];

/// Makes an operation of one kind.
type Make = fn(&mut Generator) -> What;

/// Makes operations, one after the other.
pub struct Generator {
    random: Random,
    block: u64,
}

impl Generator {
    /// For a seed and a block size.
    pub fn new(seed: u64, block_size: u32) -> Generator {
        Generator {
            random: Random(seed.wrapping_mul(0x1_0001)),
            block: block_size.into(),
        }
    }

    /// The next one.
    pub fn op(&mut self) -> Op {
        let sum: u64 = WEIGHTS.iter().map(|(weight, _)| weight).sum();
        let mut point = self.below(sum);
        let make = WEIGHTS.iter().find_map(|(weight, make)| {
            let here = point < *weight;
            point = point.wrapping_sub(*weight);
            here.then_some(make)
        });
        let what = match make {
            Some(make) => make(self),
            None => What::Sync,
        };
        let by_root_only = matches!(
            what,
            What::ReadOnly(_) | What::Cycle | What::DropCaches | What::Sync
        );
        Op {
            user: !by_root_only && self.one_in(10),
            what,
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random.below(limit)
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    fn slot(&mut self) -> usize {
        self.below(SLOTS as u64) as usize
    }

    /// A directory that names are made in, with the slash after it.
    fn dir(&mut self) -> &'static str {
        match self.below(10) {
            0..4 => DIRS[0],
            4..7 => DIRS[1],
            _ => self.pick(&DIRS),
        }
    }

    /// A name for anything.
    fn path(&mut self) -> String {
        let dir = self.dir();
        match self.below(100) {
            0 => format!("{dir}{}", "n".repeat(255)),
            1 => format!("{dir}{}", "n".repeat(256)),
            2 => format!("{dir}{}/", self.pick(&LEAVES)),
            3 if dir.is_empty() => ".".into(),
            3 => dir.trim_end_matches('/').into(),
            4..8 => format!("{dir}{}", self.pick(&BRANCHES)),
            _ => format!("{dir}{}", self.pick(&LEAVES)),
        }
    }

    /// A name for a directory.
    fn branch(&mut self) -> String {
        let name = match self.below(20) {
            0 => self.path(),
            1 => format!("{}{}/", self.dir(), self.pick(&BRANCHES)),
            2..14 => self.dir().trim_end_matches('/').to_owned(),
            _ => format!("{}{}", self.dir(), self.pick(&BRANCHES)),
        };
        match name.as_str() {
            "" => ".".into(),
            _ => name,
        }
    }

    /// The target of a symlink: never above the root, which is where the other filesystem is.
    fn target(&mut self) -> String {
        match self.below(12) {
            0 => "t".repeat(self.pick(&[59, 60, 61, 500, 1023, 4095])),
            1 => ".".into(),
            2 => "nowhere/at/all".into(),
            3..6 => self.pick(&BRANCHES).into(),
            _ => self.pick(&LEAVES).into(),
        }
    }

    fn mode(&mut self) -> u32 {
        self.pick(&[
            0o644, 0o755, 0o777, 0o600, 0o1777, 0o2775, 0o6755, 0o4711, 0o000, 0o2070, 0o444,
        ])
    }

    fn owner(&mut self) -> Option<u32> {
        self.pick(&[Some(0), Some(USER), Some(1001), Some(70_000), None])
    }

    fn time(&mut self) -> Option<(i64, u32)> {
        self.pick(&[
            None,
            None,
            Some((i64::MIN, 0)),
            Some((1_000_000_000, 123_456_789)),
            Some((0, 0)),
            Some((-1, 999_999_999)),
            Some((0x7fff_ffff, 1)),
            Some((0x8000_0000, 2)),
            Some((0x1_0000_0000, 3)),
            Some((0x3_7fff_ffff, 4)),
            Some((0x3_8000_0000, 5)),
            Some((-0x8000_0000, 6)),
            Some((-0x8000_0001, 7)),
        ])
    }

    /// An offset in a file: mostly near, sometimes where the map of blocks gets deeper.
    fn offset(&mut self) -> u64 {
        let kind = self.below(98);
        self.offset_of(kind)
    }

    /// The same, seldom where the largest file ends: for writes and truncate, where ext4 itself knows that end. The VFS it tells
    /// that of files with extents, so a read there is one past the file's end, access time and all, and fallocate no EFBIG.
    fn end(&mut self) -> u64 {
        let kind = self.below(100);
        self.offset_of(kind)
    }

    fn offset_of(&mut self, kind: u64) -> u64 {
        let block = self.block;
        let pointers = block / 4;
        let at = match kind {
            0..60 => return self.jitter(16),
            60..80 => return self.jitter(200),
            80..86 => 12,
            86..94 => 12 + pointers,
            94..97 => 12 + pointers + pointers * pointers,
            97 => 12 + 2 * pointers,
            98 => 12 + pointers + pointers * pointers + pointers * pointers * pointers,
            // 2 TiB, which i_blocks and i_size cannot go far beyond.
            _ => (1 << 41) / block,
        };
        let near = at.saturating_sub(2) + self.below(4);
        let within = match self.below(3) {
            0 => self.below(block),
            1 => self.below(block / 512) * 512,
            _ => 0,
        };
        near.saturating_mul(block)
            .saturating_add(within)
            .min(i64::MAX as u64 - MOST as u64)
    }

    /// Within so many blocks from the beginning; on a block's or a sector's border, or on none.
    fn jitter(&mut self, blocks: u64) -> u64 {
        // Large blocks would fill the disk.
        let blocks = blocks.min((1 << 20) / self.block).max(4);
        match self.below(4) {
            0 => self.below(blocks) * self.block,
            1 => self.below(blocks * self.block / 512) * 512,
            2 => (self.below(blocks) * self.block).saturating_sub(1),
            _ => self.below(blocks * self.block),
        }
    }

    fn length(&mut self) -> usize {
        let block = self.block.min(MOST as u64 / 8);
        let length = match self.below(8) {
            0 => 0,
            1 | 2 => 1 + self.below(block),
            3 => block * (1 + self.below(3)),
            4 => block,
            5 => 512 * (1 + self.below(16)),
            6 => 1 + self.below(8 * block),
            _ => 1 + self.below(20_000),
        };
        (length as usize).min(MOST)
    }

    fn from(&mut self) -> u32 {
        (self.below((STOCK - MOST) as u64 / 512) * 512) as u32
    }

    fn access(&mut self) -> OFlags {
        self.pick(&[
            OFlags::RDWR,
            OFlags::RDWR,
            OFlags::RDWR,
            OFlags::RDONLY,
            OFlags::WRONLY,
        ])
    }

    fn open(&mut self) -> What {
        let mut flags = self.access();
        if !self.one_in(3) {
            flags |= OFlags::CREATE;
        }
        for (many, flag) in [
            (10, OFlags::TRUNC),
            (10, OFlags::APPEND),
            (12, OFlags::EXCL),
            (30, OFlags::DIRECTORY),
            (20, OFlags::NOFOLLOW),
            (20, OFlags::SYNC),
            (20, OFlags::DSYNC),
            (20, OFlags::NOATIME),
        ] {
            if self.one_in(many) {
                flags |= flag;
            }
        }
        What::Open {
            slot: self.slot(),
            path: self.path(),
            flags,
            mode: self.mode(),
        }
    }

    fn open_direct(&mut self) -> What {
        let mut flags = OFlags::RDWR | OFlags::CREATE | OFlags::DIRECT;
        if self.one_in(5) {
            flags |= OFlags::APPEND;
        }
        if self.one_in(5) {
            flags |= OFlags::DSYNC;
        }
        What::Open {
            slot: self.slot(),
            path: self.path(),
            flags,
            mode: 0o666,
        }
    }

    fn open_tmpfile(&mut self) -> What {
        let mut flags = self.access() | OFlags::TMPFILE;
        if self.one_in(4) {
            flags |= OFlags::EXCL;
        }
        What::Open {
            slot: self.slot(),
            path: self.branch(),
            flags,
            mode: self.mode(),
        }
    }

    fn mknod(&mut self) -> What {
        let (kind, device) = self.pick(&[
            (0o010_000, 0),
            (0o140_000, 0),
            (0o100_000, 0),
            // /dev/null; and numbers that nothing has, small and large.
            (0o020_000, 0x103),
            (0o020_000, 0xfa_05),
            (0o060_000, 0xfb_07),
            (0o060_000, 0xf_ff12_3456),
            (0o040_000, 0),
        ]);
        What::Mknod(self.path(), kind | self.mode(), device)
    }

    fn rename(&mut self) -> What {
        let flags = match self.one_in(6) {
            true => RenameFlags::NOREPLACE,
            false => RenameFlags::empty(),
        };
        match self.one_in(3) {
            true => What::Rename(self.branch(), self.branch(), flags),
            false => What::Rename(self.path(), self.path(), flags),
        }
    }

    fn exchange(&mut self, flags: RenameFlags) -> What {
        let mut name = || match self.one_in(3) {
            true => self.branch(),
            false => self.path(),
        };
        What::Rename(name(), name(), flags)
    }

    fn many(&mut self, what: fn(String, u32, u32, usize) -> What) -> What {
        let dir = self.pick(&["d0", "d1", "d0/d2"]);
        let first = self.pick(&[0, 50, 100]);
        let count = match self.one_in(2) {
            true => 50,
            false => 1 + self.below(100) as u32,
        };
        what(dir.into(), first, count, self.pick(&[6, 60, 200]))
    }

    fn fallocate(&mut self) -> What {
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let mode = match self.below(12) {
            0 => FallocateFlags::empty(),
            1 => FallocateFlags::KEEP_SIZE,
            2 => FallocateFlags::ZERO_RANGE,
            3 => FallocateFlags::COLLAPSE_RANGE,
            4 => FallocateFlags::INSERT_RANGE,
            5 => FallocateFlags::PUNCH_HOLE,
            _ => punch,
        };
        let length = match self.one_in(6) {
            true => self.offset(),
            false => self.length() as u64,
        };
        What::Fallocate(self.slot(), mode, self.offset(), length)
    }

    fn setxattr(&mut self) -> What {
        let flags = match self.below(6) {
            0 => XattrFlags::CREATE,
            1 => XattrFlags::REPLACE,
            _ => XattrFlags::empty(),
        };
        let length = match self.below(12) {
            0 => 0,
            1 => 1 + self.below(self.block) as usize,
            2 => 70_000,
            3 => self.block as usize,
            4 | 5 => 200 + self.below(700) as usize,
            _ => 1 + self.below(64) as usize,
        };
        What::SetXattr(
            self.path(),
            self.pick(&XATTRS).into(),
            length.min(70_000),
            self.from(),
            flags,
        )
    }

    fn other_xattr(&mut self) -> What {
        match self.below(3) {
            0 => What::GetXattr(self.path(), self.pick(&XATTRS).into()),
            1 => What::ListXattr(self.path()),
            _ => What::RemoveXattr(self.path(), self.pick(&XATTRS).into()),
        }
    }

    fn set_acl(&mut self) -> What {
        let value = match self.below(8) {
            // No ACL, a wrong version, a list that is none.
            0 => vec![],
            1 => vec![9, 0, 0, 0],
            2 => acl(&[])[..12].to_vec(),
            3 => acl(&[]),
            4 => acl(&[(USER, 7), (1001, 4)]),
            5 => acl(&[(1001, 0)]),
            _ => acl(&[(USER, 6)]),
        };
        let path = match self.one_in(2) {
            true => self.branch(),
            false => self.path(),
        };
        What::SetAcl(path, self.one_in(2), value)
    }

    fn flags(&mut self) -> What {
        if self.one_in(3) {
            return What::GetFlags(self.path());
        }
        let flags = self.pick(&[
            IFlags::empty(),
            IFlags::empty(),
            IFlags::empty(),
            IFlags::NODUMP,
            IFlags::NOATIME,
            IFlags::SYNC,
            IFlags::DIRSYNC,
            IFlags::TOPDIR,
            IFlags::APPEND,
            IFlags::IMMUTABLE,
            IFlags::NODUMP.union(IFlags::NOATIME),
            // FS_SECRM_FL, FS_UNRM_FL, FS_COMPR_FL; and one that nobody has.
            IFlags::from_bits_retain(7),
            IFlags::from_bits_retain(0x8000_0000),
        ]);
        let path = self.path();
        // The root must stay what it is, or nothing more would happen.
        match path == "." && flags.intersects(IFlags::APPEND | IFlags::IMMUTABLE) {
            true => What::GetFlags(path),
            false => What::SetFlags(path, flags),
        }
    }

    fn rare(&mut self) -> What {
        match self.below(5) {
            0 => What::DropCaches,
            1 => What::ReadOnly(self.path()),
            2 => What::Cycle,
            _ => What::Sync,
        }
    }
}

/// An ACL as the extended attribute has it: owner, these users, group, mask, others.
pub fn acl(users: &[(u32, u16)]) -> Vec<u8> {
    const NOBODY: u32 = u32::MAX;
    let mut entries = vec![(0x01_u16, 6_u16, NOBODY)];
    entries.extend(
        users
            .iter()
            .map(|&(user, permissions)| (0x02, permissions, user)),
    );
    entries.push((0x04, 4, NOBODY));
    if !users.is_empty() {
        entries.push((0x10, 7, NOBODY));
    }
    entries.push((0x20, 4, NOBODY));
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(permissions.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    value
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_seed_gives_one_sequence() {
        let ops = |seed| -> Vec<String> {
            let mut generator = Generator::new(seed, 1024);
            (0..500).map(|_| generator.op().to_string()).collect()
        };
        assert_eq!(ops(1), ops(1));
        assert_ne!(ops(1), ops(2));
    }

    /// No path leads above the root, no range out of the buffers.
    #[test]
    fn operations_stay_where_they_belong() {
        for block in [1024, 4096, 65_536] {
            let mut generator = Generator::new(3, block);
            for _ in 0..50_000 {
                let op = generator.op();
                for path in [op.what.paths().0, op.what.paths().1].into_iter().flatten() {
                    assert!(
                        !path.is_empty() && !path.starts_with('/') && !path.contains(".."),
                        "{op}"
                    );
                }
                match op.what {
                    What::Symlink(target, _) => {
                        assert!(!target.starts_with('/') && !target.contains(".."));
                    }
                    What::Write(_, offset, length, from) => {
                        assert!(from as usize + length <= STOCK);
                        assert!(offset.checked_add(length as u64).is_some());
                    }
                    What::SetXattr(_, _, length, from, _) => {
                        assert!(from as usize + length <= STOCK)
                    }
                    _ => {}
                }
            }
        }
    }
}
