// SPDX-License-Identifier: GPL-2.0
//! Looking at all there is, as far as there is time: names, attributes, contents, where blocks are.

use super::hands::Hands;
use crate::attributes;
use crate::buf::Buffer;
use crate::fs::MNT;
use crate::sys::files::{fibmap, fiemap, FIEMAP_SYNC, FIEMAP_XATTR};
use crate::sys::ioctl::{self, Version};
use crate::sys::Mapping;
use notblk_hostile::random::Random;
use rustix::fs::{memfd_create, seek, statvfs, MemfdFlags, SeekFrom};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Names of one directory that are looked at; others are only listed.
const NAMES: usize = 10;
/// Names that are listed.
const LISTED: usize = 700;
/// Files of which all is looked at.
const FILES: usize = 5;
/// Directories that are gone into, and how deep: a directory may be in itself.
const DIRECTORIES: usize = 5;
const DEPTH: usize = 6;
/// Bytes of a read.
const READ: usize = 8192;

/// What was found.
#[derive(Default)]
pub struct Found {
    /// Regular files.
    pub files: Vec<PathBuf>,
    /// Directories, the root first.
    pub dirs: Vec<PathBuf>,
    /// All that has a name, these included.
    pub names: Vec<PathBuf>,
}

/// Looks at everything below the mount point.
pub fn all(hands: &mut Hands, random: &mut Random) -> Found {
    let root = PathBuf::from(MNT);
    let mut found = Found::default();
    found.dirs.push(root.clone());
    hands.try_rustix("statfs", statvfs(MNT));
    let mut next = vec![(root, 0)];
    while let Some((dir, depth)) = next.pop() {
        for path in list(hands, random, &dir) {
            let Some(meta) = hands.try_call("lstat", fs::symlink_metadata(&path)) else {
                // A name that cannot be looked at can be renamed and removed all the same.
                found.names.push(path);
                continue;
            };
            let kind = meta.file_type();
            if random.one_in(3) {
                read_attributes(hands, &path);
            }
            if kind.is_dir() {
                if depth < DEPTH && found.dirs.len() < DIRECTORIES {
                    found.dirs.push(path.clone());
                    next.push((path.clone(), depth + 1));
                }
            } else if kind.is_symlink() {
                hands.try_call("readlink", fs::read_link(&path));
                hands.try_call("stat", fs::metadata(&path));
            } else if kind.is_file() {
                if found.files.len() < FILES {
                    read_file(hands, random, &path, &meta);
                }
                found.files.push(path.clone());
            }
            found.names.push(path);
        }
    }
    found
}

/// Names in a directory: all of them, or some.
fn list(hands: &mut Hands, random: &mut Random, dir: &Path) -> Vec<PathBuf> {
    let Some(entries) = hands.try_call("open a directory", fs::read_dir(dir)) else {
        return Vec::new();
    };
    let mut names = Vec::new();
    for entry in entries.take(LISTED) {
        match hands.try_call("readdir", entry) {
            Some(entry) => names.push(entry.path()),
            // The position stays where it is: the same error for ever.
            None => break,
        }
    }
    while names.len() > NAMES {
        names.swap_remove(random.below(names.len()));
    }
    names
}

fn read_attributes(hands: &mut Hands, path: &Path) {
    let Some(names) = hands.try_call("listxattr", attributes::list(path)) else {
        return;
    };
    for name in names.iter().take(4) {
        hands.try_call("getxattr", attributes::get(path, name));
    }
}

/// Opens a file or a directory, without following a link, and without waiting for anybody. Under its name there may be another
/// thing by now, such as a pipe.
pub fn open(path: &Path, write: bool, flags: i32) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(write)
        .custom_flags(flags | libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let kind = file.metadata()?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(io::Error::other("neither a file nor a directory"));
    }
    Ok(file)
}

/// All that can be asked of a regular file.
fn read_file(hands: &mut Hands, random: &mut Random, path: &Path, meta: &Metadata) {
    let Some(file) = hands.try_call("open", open(path, false, 0)) else {
        return;
    };
    let size = meta.len();
    let places = [0, size.saturating_sub(100), random.word() % size.max(1)];
    let mut data = vec![0; READ];
    for at in places {
        hands.try_call("read", file.read_at(&mut data, at));
    }
    // CAST: its type differs from C library to C library.
    let block = meta.blksize().clamp(512, 65_536);
    if let Some(direct) = hands.try_call("open", open(path, false, libc::O_DIRECT)) {
        let mut buffer = Buffer::new(READ.max(block as usize));
        for at in [0, places[2] / block * block] {
            hands.try_call("direct read", direct.read_at(&mut buffer, at));
        }
    }
    for at in [0, places[2]] {
        hands.try_rustix("seek hole", seek(&file, SeekFrom::Hole(at)));
        hands.try_rustix("seek data", seek(&file, SeekFrom::Data(at)));
    }
    hands.try_call("fiemap", fiemap(&file, 0, u64::MAX >> 1, FIEMAP_SYNC, 16));
    if random.one_in(3) {
        let flags = FIEMAP_XATTR;
        hands.try_call("fiemap", fiemap(&file, 0, u64::MAX >> 1, flags, 4));
        hands.try_call("fibmap", fibmap(&file, random.below(20) as i32));
        hands.try_call("getflags", ioctl::get_xattr(&file));
        hands.try_call("getversion", Version::Vfs.get(&file));
        map(hands, &file, size);
    }
}

/// Reads through a mapping. The kernel does it, for whom a page that cannot be had is an errno.
fn map(hands: &mut Hands, file: &File, size: u64) {
    const PAGES: usize = 4 * 4096;
    let Some(to) = hands.try_rustix("memfd", memfd_create("hostile", MemfdFlags::CLOEXEC)) else {
        return;
    };
    let to = File::from(to);
    if size > 0 {
        // Shared and writable, which a file that is open for reading is not mapped as.
        let at = size.saturating_sub(1) / 4096 * 4096;
        let Some(file) = hands.try_call("open", reopen(file)) else {
            return;
        };
        for at in [0, at] {
            if let Some(mapping) = hands.try_call("mmap", Mapping::at(&file, at, PAGES)) {
                hands.try_call("mapped read", mapping.copy_to(&to, 0, PAGES));
            }
        }
    }
}

/// The same file, open for writing as well.
fn reopen(file: &File) -> io::Result<File> {
    use std::os::fd::AsRawFd;
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}
