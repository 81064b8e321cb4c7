// SPDX-License-Identifier: GPL-2.0
//! Flags of files as chattr(1) sets them, and what statx(2) tells.

use super::durable::Disk;
use super::env::{errno, fails, Env};
use super::{test, Test};
use crate::buf::Buffer;
use crate::fs::{check, open_buffered, open_direct, tool, Mounted, MNT};
use crate::sys::ioctl::{get_xattr, set_xattr};
use crate::sys::Mapping;
use anyhow::{ensure, Context, Result};
use rustix::fs::{ioctl_getflags, ioctl_setflags, statx, AtFlags, IFlags, Statx, StatxFlags};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        test("attributes/flags", flags),
        test("attributes/refused", refused),
        test("attributes/immutable", immutable),
        test("attributes/immutable-mapping", immutable_mapping),
        test("attributes/sync", synchronous),
        test("attributes/dirsync", synchronous_names),
        test("attributes/noatime", no_access_time),
        test("attributes/append-only", append_only),
        test("attributes/append", append),
        test("attributes/inherited", inherited),
        test("attributes/fsxattr", fsxattr),
        test("attributes/statx", statx_of_files),
        test("attributes/multigrain", multigrain),
        test("attributes/statx-128", no_birth_time).inode(128),
    ]
}

/// Flags that every file can have.
const FILE: IFlags = IFlags::SECURE_REMOVAL
    .union(IFlags::UNRM)
    .union(IFlags::COMPRESSED)
    .union(IFlags::SYNC)
    .union(IFlags::IMMUTABLE)
    .union(IFlags::APPEND)
    .union(IFlags::NODUMP)
    .union(IFlags::NOATIME)
    .union(IFlags::NOTAIL);
/// Flags of directories alone.
const DIR: IFlags = IFlags::DIRSYNC.union(IFlags::TOPDIR);
/// `FS_INDEX_FL`: to be seen, and not to be set.
const INDEX: IFlags = IFlags::from_bits_retain(0x1000);

fn get(file: &File) -> Result<IFlags> {
    Ok(ioctl_getflags(file)?)
}

fn set(file: &File, flags: IFlags) -> io::Result<()> {
    errno(ioctl_setflags(file, flags))
}

/// Every flag can be set by itself, and all of them stay over a new mount.
fn flags(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    fs::create_dir(env.path("dir"))?;
    open_buffered(env.path("file"))?;
    for (name, all) in [("file", FILE), ("dir", FILE | DIR)] {
        let file = File::open(env.path(name))?;
        for flag in all.iter() {
            set(&file, flag).with_context(|| format!("{name}: {flag:?}"))?;
            ensure!(get(&file)? - INDEX == flag, "{name}: {flag:?} is not there");
            set(&file, IFlags::empty())?;
        }
        set(&file, all)?;
    }
    mounted.end()?;
    let mounted = env.mount("")?;
    for (name, all) in [("file", FILE), ("dir", FILE | DIR)] {
        let file = File::open(env.path(name))?;
        let found = get(&file)? - INDEX;
        ensure!(found == all, "{name}: {found:?} after a new mount");
        let before = file.metadata()?;
        set(&file, IFlags::empty())?;
        ensure!(
            get(&file)? - INDEX == IFlags::empty(),
            "{name}: not cleared"
        );
        ensure!(
            std::os::unix::fs::MetadataExt::ctime_nsec(&file.metadata()?)
                != std::os::unix::fs::MetadataExt::ctime_nsec(&before),
            "{name}: no change of the inode"
        );
    }
    mounted.end()
}

/// What is not let through.
fn refused(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let file = open_buffered(env.path("file"))?;
    fs::create_dir(env.path("dir"))?;
    let dir = File::open(env.path("dir"))?;
    let bits = IFlags::from_bits_retain;
    fails(
        set(&file, IFlags::DIRSYNC),
        libc::EOPNOTSUPP,
        "a directory's flag on a file",
    )?;
    fails(
        set(&file, bits(0x8000_0000)),
        libc::EOPNOTSUPP,
        "a flag that is none",
    )?;
    fails(
        set(&dir, bits(0x4000_0000)),
        libc::EOPNOTSUPP,
        "names the same in upper and lower case",
    )?;
    // The rest has been set by then.
    fails(
        set(&file, bits(0x8_0000) | IFlags::NODUMP),
        libc::EINVAL,
        "extents",
    )?;
    ensure!(get(&file)? == IFlags::NODUMP, "what came with extents");
    set(&file, INDEX | IFlags::NODUMP).context("a flag that can be seen only")?;
    ensure!(get(&file)? == IFlags::NODUMP, "it is set");
    set(&file, IFlags::IMMUTABLE | IFlags::NODUMP)?;
    fails(
        set(&file, IFlags::IMMUTABLE | IFlags::NOATIME),
        libc::EPERM,
        "another flag of an immutable file",
    )?;
    set(&file, IFlags::IMMUTABLE | IFlags::NODUMP).context("the same again")?;
    set(&file, IFlags::NOATIME).context("another flag without it")?;
    drop((file, dir));
    mounted.end()?;
    let mounted = env.mount("ro")?;
    fails(
        set(&File::open(env.path("file"))?, IFlags::empty()),
        libc::EROFS,
        "on a read-only mount",
    )?;
    mounted.end()
}

/// Who owns an append-only file stays, and set-id bits with them, even where the owner is to be who it is.
fn append_only(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let path = env.path("file");
    fs::write(&path, b"before")?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4755))?;
    let file = File::open(&path)?;
    set(&file, IFlags::APPEND)?;
    fails(
        std::os::unix::fs::chown(&path, None, None),
        libc::EPERM,
        "chown to nobody, which takes the set-id bit away",
    )?;
    ensure!(
        fs::metadata(&path)?.permissions().mode() & 0o7777 == 0o4755,
        "the mode has changed"
    );
    set(&file, IFlags::empty())?;
    std::os::unix::fs::chown(&path, None, None)?;
    ensure!(
        fs::metadata(&path)?.permissions().mode() & 0o7777 == 0o755,
        "the set-id bit is still there"
    );
    drop(file);
    mounted.end()
}

fn immutable(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let path = env.path("file");
    let file = open_buffered(&path)?;
    file.write_all_at(b"before", 0)?;
    let direct = open_direct(&path)?;
    set(&file, IFlags::IMMUTABLE)?;
    let open = || OpenOptions::new().write(true).open(&path);
    fails(open(), libc::EPERM, "open for writing")?;
    fails(file.write_at(b"x", 0), libc::EPERM, "a write")?;
    fails(
        direct.write_at(&crate::buf::Buffer::new(4096), 0),
        libc::EPERM,
        "a direct write",
    )?;
    fails(file.set_len(0), libc::EPERM, "truncate")?;
    fails(fs::remove_file(&path), libc::EPERM, "unlink")?;
    fails(fs::rename(&path, env.path("other")), libc::EPERM, "rename")?;
    fails(fs::hard_link(&path, env.path("other")), libc::EPERM, "link")?;
    fails(
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)),
        libc::EPERM,
        "chmod",
    )?;
    ensure!(fs::read(&path)? == b"before", "it has changed");
    fs::create_dir(env.path("dir"))?;
    let dir = File::open(env.path("dir"))?;
    set(&dir, IFlags::IMMUTABLE)?;
    fails(
        File::create(env.path("dir/file")),
        libc::EACCES,
        "create in an immutable directory",
    )
    .or_else(|_| {
        fails(
            File::create(env.path("dir/file")),
            libc::EPERM,
            "create in an immutable directory",
        )
    })?;
    drop((file, direct, dir));
    mounted.end()?;
    // From the disk as from memory.
    let mounted = env.mount("")?;
    fails(open(), libc::EPERM, "open for writing, after a new mount")?;
    set(&File::open(&path)?, IFlags::empty())?;
    open()?;
    set(&File::open(env.path("dir"))?, IFlags::empty())?;
    File::create(env.path("dir/file"))?;
    mounted.end()
}

/// A mapping that was made before the flag was set takes no more stores, neither to pages that were stored to nor to others.
fn immutable_mapping(env: &Env) -> Result<()> {
    const PAGE: usize = 4096;
    let mounted = env.mount("")?;
    let path = env.path("file");
    let file = open_buffered(&path)?;
    file.write_all_at(&[1; 2 * PAGE], 0)?;
    fs::write(env.path("source"), [3; PAGE])?;
    let source = File::open(env.path("source"))?;
    let mapping = Mapping::new(&file, 2 * PAGE)?;
    mapping.write(0, &[2; PAGE]);
    let expected = [[2; PAGE], [1; PAGE]].concat();
    set(&file, IFlags::IMMUTABLE)?;
    let mut seen = vec![0; 2 * PAGE];
    for start in [0, PAGE] {
        fails(
            mapping.fill_from(&source, 0, start, 16),
            libc::EFAULT,
            &format!("a store to the mapping at {start}"),
        )?;
        mapping.read(0, &mut seen);
        ensure!(seen == expected, "the mapping has changed at {start}");
    }
    ensure!(fs::read(&path)? == expected, "the file has changed");
    set(&file, IFlags::empty())?;
    for start in [0, PAGE] {
        let count = mapping.fill_from(&source, 0, start, 16)?;
        ensure!(count == 16, "{count} bytes stored without the flag");
    }
    drop((mapping, file, source));
    mounted.end()?;
    let mounted = env.mount("")?;
    let mut expected = expected;
    expected[..16].fill(3);
    expected[PAGE..PAGE + 16].fill(3);
    ensure!(fs::read(&path)? == expected, "other data on the disk");
    mounted.end()
}

/// A disk of which can be told what has reached it, with a filesystem that has no journal, for the C driver neither.
pub(super) fn new_disk() -> Result<Disk> {
    let disk = Disk::new()?;
    let arguments = ["-q", "-F", "-t", "ext2", "-b", "4096"];
    tool("mke2fs", &[&arguments[..], &[&disk.path()]].concat())?;
    Ok(disk)
}

/// Its end, as clean as a test's own disk.
pub(super) fn end_disk(disk: Disk) -> Result<()> {
    let complaint = check(&disk.path())?;
    ensure!(complaint.is_none(), "{}", complaint.unwrap_or_default());
    disk.end()
}

/// What is written to a file with the flag is on the disk at once, with size and indirect blocks; without it is not.
fn synchronous(env: &Env) -> Result<()> {
    let disk = new_disk()?;
    let mount = || Mounted::new(env.driver(), &disk.path(), MNT, "");
    let both = |when: &str, data: &[u8], old: usize| -> Result<()> {
        for name in ["plain", "flag"] {
            open_buffered(env.path(name))?.write_all_at(&data[old..], old as u64)?;
        }
        ensure!(
            disk.file("/flag")? == data,
            "the flag {when}: not on the disk"
        );
        ensure!(
            disk.file("/plain")? != data,
            "the flag {when}: on the disk without it too, so that nothing can be told"
        );
        Ok(())
    };
    let data = vec![7; 300_000];
    let mounted = mount()?;
    for name in ["plain", "flag"] {
        fs::write(env.path(name), &data[..5])?;
    }
    set(&File::open(env.path("flag"))?, IFlags::SYNC)?;
    rustix::fs::sync();
    both("as it was set", &data[..200_000], 5)?;
    mounted.end()?;
    let mounted = mount()?;
    both("as the disk has it", &data, 200_000)?;
    mounted.end()?;
    end_disk(disk)
}

/// What happens to the names in a directory with the flag is on the disk at once; without it is not.
fn synchronous_names(env: &Env) -> Result<()> {
    let disk = new_disk()?;
    let mount = || Mounted::new(env.driver(), &disk.path(), MNT, "");
    // Whether the two directories have a name, on the disk.
    let have = |name: &str| -> Result<[bool; 2]> {
        let mut found = [false; 2];
        for (found, dir) in found.iter_mut().zip(["plain", "flag"]) {
            *found = disk
                .ask(&format!("ls -p /{dir}"))?
                .contains(&format!("/{name}/"));
        }
        Ok(found)
    };
    let both = |change: &dyn Fn(&Path) -> io::Result<()>| -> Result<()> {
        for dir in ["plain", "flag"] {
            change(&env.path(dir)).with_context(|| dir.to_owned())?;
        }
        Ok(())
    };
    let expect = |what: &str, name: &str, expected: [bool; 2]| -> Result<()> {
        let found = have(name)?;
        ensure!(
            found == expected,
            "{what}: whether {name} is there on the disk, without the flag and with it: {found:?}, should be {expected:?}"
        );
        Ok(())
    };
    let mounted = mount()?;
    both(&|dir| fs::create_dir(dir))?;
    both(&|dir| File::create(dir.join("old")).map(drop))?;
    set(&File::open(env.path("flag"))?, IFlags::DIRSYNC)?;
    rustix::fs::sync();
    both(&|dir| File::create(dir.join("first")).map(drop))?;
    expect("create", "first", [false, true])?;
    both(&|dir| fs::rename(dir.join("first"), dir.join("second")))?;
    expect("rename", "second", [false, true])?;
    expect("rename", "first", [false, false])?;
    mounted.end()?;
    // From the disk as from memory.
    let mounted = mount()?;
    expect("unmount", "second", [true, true])?;
    both(&|dir| fs::create_dir(dir.join("third")))?;
    expect("mkdir after a new mount", "third", [false, true])?;
    both(&|dir| fs::remove_file(dir.join("old")))?;
    expect("unlink", "old", [true, false])?;
    both(&|dir| fs::hard_link(dir.join("second"), dir.join("fourth")))?;
    expect("link", "fourth", [false, true])?;
    mounted.end()?;
    end_disk(disk)
}

/// Who reads a file or a directory with the flag leaves no time of access, also where everybody else does each time.
fn no_access_time(env: &Env) -> Result<()> {
    let mut mounted = env.mount("strictatime")?;
    for name in ["plain", "flag"] {
        let dir = env.path(name);
        fs::create_dir(&dir)?;
        fs::write(dir.join("file"), b"text")?;
    }
    for name in ["flag", "flag/file"] {
        set(&File::open(env.path(name))?, IFlags::NOATIME)?;
    }
    for when in ["as it was set", "as the disk has it"] {
        for name in ["plain", "flag", "plain/file", "flag/file"] {
            let path = env.path(name);
            let time = || -> Result<(i64, u32)> {
                let found = statx_of(&path)?.stx_atime;
                Ok((found.tv_sec, found.tv_nsec))
            };
            let before = time()?;
            std::thread::sleep(std::time::Duration::from_millis(50));
            match path.is_dir() {
                true => ensure!(fs::read_dir(&path)?.count() == 1, "{name}: other names"),
                false => ensure!(fs::read(&path)? == b"text", "{name}: other contents"),
            }
            let after = time()?;
            let flag = name.starts_with("flag");
            ensure!(
                if flag {
                    after == before
                } else {
                    after > before
                },
                "{name}, the flag {when}: the time of access went from {before:?} to {after:?}"
            );
        }
        mounted.end()?;
        mounted = env.mount("strictatime")?;
    }
    mounted.end()
}

fn append(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let path = env.path("file");
    let file = open_buffered(&path)?;
    file.write_all_at(b"before", 0)?;
    set(&file, IFlags::APPEND)?;
    let mut options = OpenOptions::new();
    fails(
        options.write(true).open(&path),
        libc::EPERM,
        "open without O_APPEND",
    )?;
    fails(file.set_len(0), libc::EPERM, "truncate")?;
    fails(fs::remove_file(&path), libc::EPERM, "unlink")?;
    let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
    fails(
        errno(rustix::fs::fallocate(&file, flags, 0, 3)),
        libc::EPERM,
        "a hole",
    )?;
    let appending = OpenOptions::new().append(true).open(&path)?;
    io::Write::write_all(&mut &appending, b" and after")?;
    ensure!(fs::read(&path)? == b"before and after", "other data");
    set(&file, IFlags::empty())?;
    fs::remove_file(&path)?;
    drop((file, appending));
    mounted.end()
}

fn inherited(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    fs::create_dir(env.path("dir"))?;
    let dir = File::open(env.path("dir"))?;
    let kept = IFlags::SYNC | IFlags::NODUMP | IFlags::NOATIME | IFlags::NOTAIL;
    set(&dir, kept | DIR)?;
    let file = File::create(env.path("dir/file"))?;
    ensure!(get(&file)? == kept, "a file has {:?}", get(&file)?);
    fs::create_dir(env.path("dir/dir"))?;
    let below = get(&File::open(env.path("dir/dir"))?)? - INDEX;
    ensure!(below == kept | IFlags::DIRSYNC, "a directory has {below:?}");
    set(&dir, IFlags::APPEND)?;
    let other = File::create(env.path("dir/other"))?;
    ensure!(get(&other)?.is_empty(), "a file has {:?}", get(&other)?);
    set(&dir, IFlags::empty())?;
    drop((dir, file, other));
    mounted.end()
}

fn fsxattr(env: &Env) -> Result<()> {
    const IMMUTABLE: u32 = 0x8;
    const APPEND: u32 = 0x10;
    const SYNC: u32 = 0x20;
    const NOATIME: u32 = 0x40;
    const NODUMP: u32 = 0x80;
    let mounted = env.mount("")?;
    let file = open_buffered(env.path("file"))?;
    set(
        &file,
        IFlags::SYNC | IFlags::NOATIME | IFlags::NODUMP | IFlags::NOTAIL,
    )?;
    let found = get_xattr(&file)?;
    ensure!(found.xflags == SYNC | NOATIME | NODUMP, "{found:?}");
    let mut wanted = found;
    wanted.xflags = APPEND | IMMUTABLE;
    set_xattr(&file, wanted)?;
    ensure!(get_xattr(&file)? == wanted, "{:?}", get_xattr(&file)?);
    ensure!(
        get(&file)? == IFlags::APPEND | IFlags::IMMUTABLE | IFlags::NOTAIL,
        "flags that fsxattr does not have are gone: {:?}",
        get(&file)?
    );
    wanted.xflags = 0;
    set_xattr(&file, wanted)?;
    wanted.projid = 7;
    fails(
        set_xattr(&file, wanted),
        libc::EOPNOTSUPP,
        "a project without the feature",
    )?;
    drop(file);
    mounted.end()
}

fn statx_of(path: &Path) -> Result<Statx> {
    let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::DIOALIGN;
    Ok(statx(
        rustix::fs::CWD,
        path,
        AtFlags::SYMLINK_NOFOLLOW,
        mask,
    )?)
}

fn statx_of_files(env: &Env) -> Result<()> {
    const COMPRESSED: u64 = 0x4;
    const IMMUTABLE: u64 = 0x10;
    const APPEND: u64 = 0x20;
    const NODUMP: u64 = 0x40;
    const ENCRYPTED: u64 = 0x800;
    let mounted = env.mount("")?;
    let path = env.path("file");
    let file = open_buffered(&path)?;
    fs::create_dir(env.path("dir"))?;
    let first = statx_of(&path)?;
    ensure!(
        first.stx_mask & StatxFlags::BTIME.bits() != 0,
        "no time of birth"
    );
    let born = (first.stx_btime.tv_sec, first.stx_btime.tv_nsec);
    ensure!(
        born == (first.stx_mtime.tv_sec, first.stx_mtime.tv_nsec),
        "born at another time than changed"
    );
    std::thread::sleep(std::time::Duration::from_millis(20));
    file.write_all_at(&[1; 8192], 0)?;
    file.sync_all()?;
    set(&file, IFlags::COMPRESSED | IFlags::APPEND | IFlags::NODUMP)?;
    set(&File::open(env.path("dir"))?, IFlags::IMMUTABLE)?;
    drop(file);
    mounted.end()?;

    let mounted = env.mount("")?;
    let found = statx_of(&path)?;
    ensure!(
        (found.stx_btime.tv_sec, found.stx_btime.tv_nsec) == born,
        "born at another time after a new mount"
    );
    ensure!(
        (found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec) > born,
        "not changed since"
    );
    let all = COMPRESSED | IMMUTABLE | APPEND | NODUMP | ENCRYPTED;
    let attributes = |stat: &Statx| stat.stx_attributes.bits();
    ensure!(
        found.stx_attributes_mask.bits() & all == all,
        "mask {:?}",
        found.stx_attributes_mask
    );
    ensure!(
        attributes(&found) & all == COMPRESSED | APPEND | NODUMP,
        "attributes {:?}",
        found.stx_attributes
    );
    let dir = statx_of(&env.path("dir"))?;
    ensure!(
        attributes(&dir) & all == IMMUTABLE,
        "attributes of the directory {:?}",
        dir.stx_attributes
    );
    ensure!(
        dir.stx_mask & StatxFlags::BTIME.bits() != 0,
        "no time of birth of the directory"
    );
    ensure!(
        dir.stx_mask & StatxFlags::DIOALIGN.bits() == 0,
        "direct I/O to a directory"
    );
    // What it says of direct I/O is true.
    ensure!(
        found.stx_mask & StatxFlags::DIOALIGN.bits() != 0,
        "nothing about direct I/O"
    );
    let (memory, offset) = (found.stx_dio_mem_align, found.stx_dio_offset_align);
    ensure!(
        offset == 512 && memory.is_power_of_two() && memory <= 512,
        "direct I/O aligned to {memory} in memory and {offset} in the file"
    );
    let direct = rustix::fs::open(
        path.as_path(),
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECT,
        rustix::fs::Mode::empty(),
    )?;
    let mut buffer = crate::buf::Buffer::new(4096);
    let (start, end) = (memory as usize, memory as usize + offset as usize);
    let length = File::from(direct).read_at(&mut buffer[start..end], u64::from(offset))?;
    ensure!(length == offset as usize, "a direct read of {length} bytes");
    set(&File::open(&path)?, IFlags::empty())?;
    set(&File::open(env.path("dir"))?, IFlags::empty())?;
    mounted.end()
}

/// Inodes of 128 bytes have no room for the time of birth.
fn no_birth_time(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let path = env.path("file");
    open_buffered(&path)?;
    ensure!(
        statx_of(&path)?.stx_mask & StatxFlags::BTIME.bits() == 0,
        "a time of birth"
    );
    mounted.end()
}

/// Whoever looks at a file's times after each change sees a later one each time, though the clock of filesystems ticks
/// a few hundred times a second only.
fn multigrain(env: &Env) -> Result<()> {
    const ROUNDS: usize = 50;
    let mounted = env.mount("")?;
    let dir = env.path("dir");
    fs::create_dir(&dir)?;
    let path = dir.join("file");
    let file = open_buffered(&path)?;
    let direct = open_direct(&path)?;
    file.set_len(1 << 16)?;
    let block = Buffer::new(4096);
    type Change<'a> = (&'a str, &'a Path, Box<dyn Fn(usize) -> Result<()> + 'a>);
    let changes: [Change<'_>; 6] = [
        (
            "write",
            &path,
            Box::new(|_| Ok(file.write_all_at(b"x", 100)?)),
        ),
        (
            "direct write",
            &path,
            Box::new(|_| Ok(direct.write_all_at(&block, 0)?)),
        ),
        (
            "truncate",
            &path,
            Box::new(|round| Ok(file.set_len((1 << 16) + 1 + round as u64)?)),
        ),
        (
            "chmod",
            &path,
            Box::new(|round| {
                let mode = if round % 2 == 0 { 0o600 } else { 0o640 };
                Ok(fs::set_permissions(
                    &path,
                    fs::Permissions::from_mode(mode),
                )?)
            }),
        ),
        (
            "attribute",
            &path,
            Box::new(|round| {
                let value = round.to_string();
                let flags = rustix::fs::XattrFlags::empty();
                Ok(rustix::fs::setxattr(
                    &path,
                    "user.round",
                    value.as_bytes(),
                    flags,
                )?)
            }),
        ),
        (
            "name",
            &dir,
            Box::new(|round| Ok(File::create(dir.join(format!("{round}"))).map(drop)?)),
        ),
    ];
    for (what, at, change) in &changes {
        let ctime = || -> Result<(i64, u32)> {
            let found = statx(
                rustix::fs::CWD,
                *at,
                AtFlags::empty(),
                StatxFlags::BASIC_STATS,
            )?;
            Ok((found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec))
        };
        let mut last = ctime()?;
        for round in 0..ROUNDS {
            change(round).with_context(|| format!("{what}, round {round}"))?;
            let now = ctime()?;
            ensure!(
                now > last,
                "{what}, round {round}: ctime went from {last:?} to {now:?}"
            );
            last = now;
        }
    }
    drop(changes);
    drop((file, direct));
    mounted.end()
}
