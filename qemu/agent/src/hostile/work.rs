// SPDX-License-Identifier: GPL-2.0
//! Writing, at random: names, data, attributes, quotas.

use super::hands::Hands;
use super::walk::{open, Found};
use crate::attributes;
use crate::buf::Buffer;
use crate::fs::{self as disks, DISK, MNT};
use crate::quota::{self, Kind};
use crate::sys::ioctl::{self, Trim};
use crate::sys::{self, Mapping};
use notblk_hostile::base::{Base, Extra};
use notblk_hostile::random::Random;
use rustix::fs::{
    fallocate, fsync, memfd_create, openat, renameat_with, syncfs, FallocateFlags, MemfdFlags,
    Mode, OFlags, RenameFlags, CWD,
};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{chown, lchown, symlink, FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Calls of one image.
const CALLS: usize = 16;

/// Does some calls on what was found. Not `harsh`, it does none that a sound filesystem is left unsound by.
pub fn some(hands: &mut Hands, random: &mut Random, found: &Found, base: &Base, harsh: bool) {
    let mut work = Work {
        hands,
        random,
        found,
        block: u64::from(base.block_size),
        made: 0,
    };
    for _ in 0..CALLS {
        work.one();
    }
    if base.extra == Extra::Quota {
        work.quotas();
    }
    work.whole(harsh);
}

struct Work<'a> {
    hands: &'a mut Hands,
    random: &'a mut Random,
    found: &'a Found,
    block: u64,
    /// Names that were made.
    made: u32,
}

impl Work<'_> {
    fn any(&mut self, of: &[PathBuf]) -> PathBuf {
        let path = self.random.pick(of).cloned();
        path.unwrap_or_else(|| PathBuf::from(MNT))
    }

    fn file(&mut self) -> PathBuf {
        self.any(&self.found.files)
    }

    fn name(&mut self) -> PathBuf {
        self.any(&self.found.names)
    }

    fn dir(&mut self) -> PathBuf {
        self.any(&self.found.dirs)
    }

    /// A name that nobody has, short or long.
    fn new_name(&mut self) -> PathBuf {
        self.made += 1;
        let length = *self.random.pick(&[1, 8, 60, 200]).unwrap_or(&1);
        let name = format!("{}-{}", self.made, "m".repeat(length));
        self.dir().join(name)
    }

    /// A place in a file: near its beginning, or where a level of the block map ends, or at its end.
    fn place(&mut self, size: u64) -> u64 {
        let pointers = self.block / 4;
        let edges = [
            0,
            1,
            11,
            12,
            12 + pointers - 1,
            12 + pointers,
            12 + pointers + 2,
            12 + pointers + pointers * pointers,
        ];
        let edge = *self.random.pick(&edges).unwrap_or(&0);
        match self.random.below(4) {
            0 | 1 => edge.saturating_mul(self.block),
            2 => size.saturating_sub(self.random.word() % 5000),
            _ => self.random.word() % (20 * self.block),
        }
    }

    fn size_of(&self, path: &Path) -> u64 {
        fs::symlink_metadata(path).map_or(0, |meta| meta.len())
    }

    /// One call, or a few that belong together.
    fn one(&mut self) {
        match self.random.below(24) {
            0 | 1 => self.create(),
            2 => {
                let path = self.new_name();
                let made = self.hands.try_call("mkdir", fs::create_dir(&path));
                if made.is_some() {
                    self.hands.try_call("create", File::create(path.join("in")));
                    self.hands
                        .try_call("lstat", fs::symlink_metadata(path.join("..")));
                }
            }
            3 => {
                let (path, length) = (self.new_name(), 1 + self.random.below(200));
                self.hands
                    .try_call("symlink", symlink("t".repeat(length), path));
            }
            4 => {
                let (from, to) = (self.name(), self.new_name());
                self.hands.try_call("link", fs::hard_link(from, to));
            }
            5 | 6 => self.rename(),
            7 | 8 => {
                let path = self.name();
                self.hands.try_call("unlink", fs::remove_file(path));
            }
            9 => {
                let path = self.dir();
                self.hands.try_call("rmdir", fs::remove_dir(path));
            }
            10 | 11 => self.write(),
            12 | 13 => self.write_direct(),
            14 => {
                let path = self.file();
                let size = self.size_of(&path);
                let to = self.place(size);
                let file = self.hands.try_call("open", open(&path, true, 0));
                if let Some(file) = file {
                    self.hands.try_call("truncate", file.set_len(to));
                }
            }
            15 => self.punch(),
            16 => self.write_mapped(),
            17 | 18 => self.attribute(),
            19 => {
                let path = self.name();
                let mode = 0o600 | (self.random.word() & 0o177) as u32;
                let is_link = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink());
                if !is_link {
                    self.hands.try_call(
                        "chmod",
                        fs::set_permissions(path, Permissions::from_mode(mode)),
                    );
                }
            }
            20 => {
                let path = self.name();
                let id = *self.random.pick(&[0, 1000, 77, 4242, 70_000]).unwrap_or(&0);
                self.hands
                    .try_call("chown", lchown(path, Some(id), Some(id)));
            }
            21 => {
                let path = if self.random.one_in(3) {
                    self.dir()
                } else {
                    self.file()
                };
                if let Some(file) = self.hands.try_call("open", open(&path, false, 0)) {
                    self.hands.try_rustix("fsync", fsync(file));
                }
            }
            22 => self.nameless(),
            _ => {
                let path = self.file();
                if let Some(file) = self.hands.try_call("open", open(&path, false, 0)) {
                    if let Some(mut flags) =
                        self.hands.try_call("getflags", ioctl::get_xattr(&file))
                    {
                        // FS_XFLAG_NODUMP
                        flags.xflags ^= 0x80;
                        self.hands
                            .try_call("setflags", ioctl::set_xattr(&file, flags));
                    }
                }
            }
        }
    }

    fn create(&mut self) {
        let path = self.new_name();
        let Some(file) = self.hands.try_call("create", File::create(path)) else {
            return;
        };
        let data = vec![0x61; (3 * self.block).min(20_000) as usize];
        let at = if self.random.one_in(2) {
            0
        } else {
            self.place(0)
        };
        self.hands.try_call("write", file.write_at(&data, at));
    }

    fn rename(&mut self) {
        let from = self.name();
        let (to, flags) = match self.random.below(4) {
            0 => (self.name(), RenameFlags::empty()),
            1 => (self.name(), RenameFlags::EXCHANGE),
            2 => (self.new_name(), RenameFlags::NOREPLACE),
            _ => (self.new_name(), RenameFlags::WHITEOUT),
        };
        let answer = renameat_with(CWD, &from, CWD, &to, flags);
        self.hands.try_rustix("rename", answer);
    }

    fn write(&mut self) {
        let path = self.file();
        let at = self.size_of(&path);
        let at = self.place(at);
        let Some(file) = self.hands.try_call("open", open(&path, true, 0)) else {
            return;
        };
        let length = 1 + self.random.below(10_000);
        self.hands
            .try_call("write", file.write_at(&vec![0x62; length], at));
        if self.random.one_in(3) {
            self.hands.try_rustix("fsync", fsync(file));
        }
    }

    /// Over holes this is the fallback, behind the end an extending write.
    fn write_direct(&mut self) {
        let path = self.file();
        let at = self.size_of(&path);
        let at = self.place(at) / self.block * self.block;
        let Some(file) = self
            .hands
            .try_call("open", open(&path, true, libc::O_DIRECT))
        else {
            return;
        };
        let blocks = 1 + self.random.below(3);
        let data = Buffer::new(blocks * self.block as usize);
        self.hands
            .try_call("direct write", file.write_at(&data, at));
    }

    fn punch(&mut self) {
        let path = self.file();
        let at = self.size_of(&path);
        let at = self.place(at);
        let length = 1 + self.random.word() % (40 * self.block);
        if let Some(file) = self.hands.try_call("open", open(&path, true, 0)) {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            self.hands
                .try_rustix("punch", fallocate(file, flags, at, length));
        }
    }

    fn write_mapped(&mut self) {
        const LENGTH: usize = 2 * 4096;
        let path = self.file();
        let size = self.size_of(&path);
        let at = self.place(size) / 4096 * 4096;
        let Some(file) = self.hands.try_call("open", open(&path, true, 0)) else {
            return;
        };
        let Some(from) = self
            .hands
            .try_rustix("memfd", memfd_create("hostile", MemfdFlags::CLOEXEC))
        else {
            return;
        };
        let from = File::from(from);
        self.hands
            .try_call("memfd", from.write_all_at(&[0x63; LENGTH], 0));
        let Some(mapping) = self.hands.try_call("mmap", Mapping::at(&file, at, LENGTH)) else {
            return;
        };
        self.hands
            .try_call("mapped write", mapping.fill_from(&from, 0, 0, LENGTH));
        self.hands.try_call("msync", mapping.sync());
    }

    fn attribute(&mut self) {
        let path = self.name();
        let name = *self
            .random
            .pick(&[
                "user.short",
                "user.long",
                "user.shared",
                "trusted.t",
                "user.new",
            ])
            .unwrap_or(&"user.x");
        // Only files and directories have those of users.
        let answer = match self.random.below(4) {
            0 => attributes::remove(&path, name),
            1 => attributes::set(&path, name, &[]),
            _ => {
                let room = (self.block as usize).min(4096) + 100;
                let length = self.random.below(room);
                attributes::set(&path, name, &vec![0x64; length])
            }
        };
        self.hands.try_call("setxattr", answer);
    }

    /// A file without a name, which gets one or not.
    fn nameless(&mut self) {
        let dir = self.dir();
        let flags = OFlags::TMPFILE | OFlags::RDWR;
        let made = openat(CWD, &dir, flags, Mode::from_raw_mode(0o600));
        let Some(file) = self.hands.try_rustix("tmpfile", made) else {
            return;
        };
        let file = File::from(file);
        self.hands
            .try_call("write", file.write_at(&[0x65; 3000], 0));
    }

    fn quotas(&mut self) {
        for kind in [Kind::User, Kind::Group] {
            for id in [0, 1000, 77, 4242] {
                self.quota("getquota", quota::get(DISK, kind, id).map(drop));
            }
            let id = *self.random.pick(&[0, 1000, 5, 123_456]).unwrap_or(&0);
            self.quota("setquota", quota::limit(DISK, kind, id, 100_000, 1000));
            if self.random.one_in(3) {
                self.hands.try_call("quotaoff", quota::off(DISK, kind));
                self.hands.try_call("quotaon", quota::on(DISK, kind, None));
            }
        }
        let path = self.file();
        self.hands
            .try_call("chown", chown(path, Some(1000), Some(77)));
    }

    fn quota(&mut self, call: &'static str, answer: anyhow::Result<()>) {
        let errno = |error: anyhow::Error| match error.downcast::<io::Error>() {
            Ok(error) => error,
            Err(error) => io::Error::other(error),
        };
        self.hands.try_call(call, answer.map_err(errno));
    }

    /// What is about the filesystem as a whole.
    fn whole(&mut self, harsh: bool) {
        let Some(root) = self.hands.try_call("open", File::open(MNT)) else {
            return;
        };
        if self.random.one_in(3) {
            let range = Trim {
                start: 0,
                length: u64::MAX,
                least: 0,
            };
            self.hands.try_call("fstrim", ioctl::trim(&root, range));
        }
        if self.random.one_in(8) {
            self.hands
                .try_call("setlabel", ioctl::set_label(&root, b"hostile"));
        }
        if self.random.one_in(2) {
            self.hands.try_rustix("syncfs", syncfs(&root));
        }
        if self.random.one_in(4) {
            let handle = self.file();
            if let Some(handle) = self.hands.try_call("handle", sys::Handle::of(&handle)) {
                self.hands.try_call(
                    "open by handle",
                    handle.open(&root, libc::O_RDONLY | libc::O_NONBLOCK),
                );
            }
        }
        if self.random.one_in(6) {
            for options in ["ro,nodev,errors=continue", "nodev,errors=continue"] {
                self.hands
                    .try_rustix("remount", disks::try_remount(MNT, options));
            }
            self.create();
        }
        if harsh && self.random.one_in(10) {
            // EXT4_GOING_FLAGS_NOLOGFLUSH
            self.hands.try_call("shutdown", ioctl::shutdown(&root, 2));
            self.create();
        }
    }
}
