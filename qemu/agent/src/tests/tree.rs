// SPDX-License-Identifier: GPL-2.0
//! A tree of files to be written by one driver and read by another.

use crate::attributes;
use crate::buf::Random;
use crate::fs::{open_buffered, open_direct};
use anyhow::{Context, Result};
use rustix::fs::{
    makedev, mknodat, statx, utimensat, AtFlags, Dir, FileType, Mode, StatxFlags, Timespec,
    Timestamps, CWD,
};
use std::fs;
use std::os::unix::fs::{symlink, FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Writes the tree: sizes around every boundary, holes, hard links, modes, owners, times, attributes, and all types of files.
pub fn write(root: &Path, block: u64, seed: u64) -> Result<()> {
    let mut random = Random(seed);
    let pointers = block / 4;
    let sizes = [
        0,
        1,
        block - 1,
        block,
        block + 1,
        12 * block,
        12 * block + 1,
        (12 + pointers) * block,
        (12 + pointers) * block + 1,
        (12 + pointers + 3) * block,
    ];
    for (index, size) in sizes.into_iter().enumerate() {
        let mut data = vec![0; size as usize];
        random.fill(&mut data);
        fs::write(root.join(format!("size-{index}")), data)?;
    }
    let sparse = open_buffered(root.join("sparse"))?;
    // With 1 KiB blocks a file of 64 MiB has a triple-indirect block. With larger ones it would
    // take gigabytes of zeros to read; there `data/levels` looks at that level.
    let levels = [
        5,
        20,
        12 + pointers + 7,
        12 + pointers + pointers * pointers + 3,
    ];
    for level in levels.into_iter().take(if block == 1024 { 4 } else { 3 }) {
        sparse.write_all_at(&level.to_le_bytes(), level * block + 17)?;
        sparse.set_len((level + 100) * block + 5)?;
    }
    let direct = open_direct(root.join("direct"))?;
    direct.set_len(40 * block)?;
    for start in [3, 11, 20] {
        let mut data = crate::buf::Buffer::new(4 * block as usize);
        random.fill(&mut data);
        direct.write_all_at(&data, start * block)?;
    }
    drop((sparse, direct));
    let mut dir = root.to_owned();
    for depth in 0..6 {
        dir = dir.join(format!("depth-{depth}"));
        fs::create_dir(&dir)?;
        for number in 0..15 {
            fs::write(
                dir.join(format!("{number}-{}", "n".repeat(number * 7))),
                format!("{depth} {number}"),
            )?;
        }
    }
    fs::create_dir(root.join("emptied"))?;
    for number in 0..200 {
        fs::write(root.join(format!("emptied/{number}")), b"")?;
    }
    for number in 0..200 {
        fs::remove_file(root.join(format!("emptied/{number}")))?;
    }
    fs::rename(root.join("depth-0/depth-1/depth-2"), root.join("moved"))?;
    for (name, mode, owner, time) in [
        ("size-1", 0o600, 0, 1),
        ("size-2", 0o6755, 1000, 1_000_000_000),
        ("size-3", 0o000, 65_536, 2_000_000_000),
        ("moved", 0o1777, 70_000, 1_500_000_000),
    ] {
        let path = root.join(name);
        std::os::unix::fs::chown(&path, Some(owner), Some(owner + 1))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(time);
        fs::File::open(&path)?.set_times(fs::FileTimes::new().set_modified(time))?;
    }
    fs::hard_link(root.join("size-4"), root.join("moved/another-name"))?;
    // In the inode to 59 bytes, in a block from 60 on.
    for length in [1, 59, 60, 300] {
        let target = "a/".chars().cycle().take(length).collect::<String>();
        symlink(target, root.join(format!("link-{length}")))?;
    }
    nodes(root)?;
    attributes(root, &mut random)?;
    times(root)
}

/// Device nodes whose numbers have the old form and the new one, a FIFO and a socket.
fn nodes(root: &Path) -> Result<()> {
    let mode = Mode::from_raw_mode(0o640);
    for (major, minor) in [
        (0, 0),
        (1, 3),
        (255, 255),
        (256, 0),
        (0, 256),
        (4095, 1_048_575),
    ] {
        for kind in [FileType::CharacterDevice, FileType::BlockDevice] {
            let path = root.join(format!("{kind:?}-{major}-{minor}"));
            mknodat(CWD, &path, kind, mode, makedev(major, minor))?;
        }
    }
    mknodat(CWD, root.join("fifo"), FileType::Fifo, mode, 0)?;
    mknodat(CWD, root.join("socket"), FileType::Socket, mode, 0)?;
    Ok(())
}

/// Extended attributes of all namespaces, in the inode and in a block, and ACLs.
fn attributes(root: &Path, random: &mut Random) -> Result<()> {
    for (name, key, length) in [
        ("size-5", "user.small", 5),
        ("size-5", "trusted.large", 401),
        ("size-5", "security.empty", 0),
        ("size-6", "trusted.large", 600),
        ("moved", "user.of-a-directory", 30),
        ("link-59", "trusted.of-a-link", 30),
        ("link-300", "security.of-a-link", 302),
        ("fifo", "trusted.of-a-fifo", 3),
    ] {
        let mut value = vec![0; length];
        random.fill(&mut value);
        let path = root.join(name);
        attributes::set(path, key, &value).with_context(|| format!("{key} of {name}"))?;
    }
    // Version 2; then tag, permissions and id: owner, user 1000, group, group 70,000, mask, others.
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, perm, id) in [
        (1_u16, 6_u16, u32::MAX),
        (2, 4, 1000),
        (4, 5, u32::MAX),
        (8, 1, 70_000),
        (16, 7, u32::MAX),
        (32, 4, u32::MAX),
    ] {
        acl.extend(tag.to_le_bytes());
        acl.extend(perm.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    fs::create_dir(root.join("acl"))?;
    attributes::set(root.join("acl"), "system.posix_acl_default", &acl)?;
    attributes::set(root.join("size-7"), "system.posix_acl_access", &acl)?;
    // It has the directory's.
    fs::write(root.join("acl/inherited"), b"")?;
    Ok(())
}

/// The last second of the format: 34 bits, from 1901 on.
const LAST: i64 = (1 << 34) - (1 << 31) - 1;

/// Times around every bit that the format has for them: before 1970, past 2038, past 2106, the first and the last.
fn times(root: &Path) -> Result<()> {
    let nanoseconds = [1, 999_999_999, 123_456_789];
    let seconds = [
        -(1 << 31),
        1 - (1 << 31),
        -1,
        0,
        (1 << 31) - 1,
        1 << 31,
        (1 << 32) - 1,
        1 << 32,
        3 << 31,
        (1 << 33) + 5,
        LAST - 1,
        LAST,
    ];
    let set = |path: &Path, second: i64, nanosecond: i64| {
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: second,
                tv_nsec: 999_999_999 - nanosecond,
            },
            last_modification: Timespec {
                tv_sec: second,
                tv_nsec: nanosecond,
            },
        };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
            .with_context(|| format!("{second} s, {nanosecond} ns of {}", path.display()))
    };
    for (n, (second, nanosecond)) in seconds
        .into_iter()
        .zip(nanoseconds.into_iter().cycle())
        .enumerate()
    {
        let path = root.join(format!("time-{n}"));
        fs::write(&path, b"")?;
        set(&path, second, nanosecond)?;
    }
    set(&root.join("link-1"), -5, 5)?;
    set(&root.join("fifo"), LAST - 7, 7)?;
    set(&root.join("emptied"), (1 << 31) + 9, 9)
}

/// The times that were set, and the numbers of devices, for each file directly below: what a file has before the disk does.
pub fn kept(root: &Path) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let meta = fs::symlink_metadata(entry.path())?;
        lines.push(format!(
            "{:?} rdev {:x} mtime {}+{} atime {}+{}",
            entry.file_name(),
            meta.rdev(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.atime(),
            meta.atime_nsec()
        ));
    }
    lines.sort();
    Ok(lines)
}

/// One line for each file and directory, sorted: what must be equal whoever reads.
pub fn manifest(root: &Path) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    visit(root, root, FileType::Directory, &mut lines)?;
    lines.sort();
    Ok(lines)
}

/// `listed` is what the entry says that it is.
fn visit(root: &Path, path: &Path, listed: FileType, lines: &mut Vec<String>) -> Result<()> {
    let meta = fs::symlink_metadata(path).with_context(|| format!("stat {}", path.display()))?;
    let name = path.strip_prefix(root)?.display();
    let contents = match meta.is_file() {
        true => sum(path)?,
        false => 0,
    };
    let target = match meta.is_symlink() {
        true => fs::read_link(path)?,
        false => Default::default(),
    };
    let flags = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let birth = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, flags)?.stx_btime;
    lines.push(format!(
        "{name:?} {listed:?} inode {} mode {:o} links {} owner {} {} size {} sectors {} rdev {:x} \
         mtime {}+{} atime {}+{} ctime {}+{} birth {}+{} sum {contents:x} target {target:?} attributes {}",
        meta.ino(),
        meta.mode(),
        meta.nlink(),
        meta.uid(),
        meta.gid(),
        meta.size(),
        meta.blocks(),
        meta.rdev(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.atime(),
        meta.atime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
        birth.tv_sec,
        birth.tv_nsec,
        attributes_of(path)?,
    ));
    if meta.is_dir() {
        for entry in Dir::read_from(fs::File::open(path)?)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy();
            if name != "." && name != ".." {
                visit(root, &path.join(&*name), entry.file_type(), lines)?;
            }
        }
    }
    Ok(())
}

/// All attributes of a file, with their values.
fn attributes_of(path: &Path) -> Result<String> {
    use std::fmt::Write;
    let mut text = String::new();
    for name in attributes::list(path)? {
        let value = attributes::get(path, &name)?;
        write!(text, "{name}={value:02x?} ")?;
    }
    Ok(text)
}

/// A sum over all bytes of a file that depends on their places; holes cost little.
fn sum(path: &Path) -> Result<u64> {
    use std::io::Read;
    let mut file = fs::File::open(path)?;
    let size = file.metadata()?.len();
    let mut piece = vec![0; 1 << 16];
    let mut total = size;
    let mut offset = 0_u64;
    loop {
        let length = file
            .read(&mut piece)
            .with_context(|| format!("read {}", path.display()))?;
        if length == 0 {
            return Ok(total);
        }
        if piece[..length].iter().any(|&byte| byte != 0) {
            for (index, &byte) in piece[..length].iter().enumerate() {
                let place = offset + index as u64;
                total = total.wrapping_add(
                    u64::from(byte).wrapping_mul(place.wrapping_mul(0x9e37_79b9) | 1),
                );
            }
        }
        offset += length as u64;
    }
}
