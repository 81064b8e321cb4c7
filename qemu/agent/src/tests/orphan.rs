// SPDX-License-Identifier: GPL-2.0
//! Files without a name, and what a machine leaves of them when it stops.

use super::env::{errno, fails, Env};
use super::{test, Test};
use crate::buf::Buffer;
use crate::fs::{debugfs, open_buffered, tool, tool_code, try_remount, Mounted, DISK, DISK2, MNT};
use anyhow::{ensure, Context, Result};
use notblk_protocol::Driver;
use rustix::fs::{linkat, AtFlags, CWD};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        test("orphan/tmpfile", tmpfile),
        test("orphan/tmpfile-refused", tmpfile_refused),
        test("orphan/cut-off", cut_off).mib(16),
        // Large enough for a journal, without which the C driver keeps no list.
        test("orphan/cut-off-64k", cut_off).block(65536).mib(128),
        test("orphan/list-order", list_order).mib(16),
        test("orphan/read-only-first", read_only_first).mib(16),
        test("orphan/truncated", truncated),
        test("orphan/damaged", damaged).damages(),
    ]
}

/// A file without a name in a directory.
fn open_tmpfile(dir: &Path, flags: i32) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_TMPFILE | flags)
        .mode(0o600)
        .open(dir)
}

/// Gives an open file a name, by the link in `/proc`.
fn link_by_proc(file: &File, to: &Path) -> std::io::Result<()> {
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    errno(linkat(CWD, &from, CWD, to, AtFlags::SYMLINK_FOLLOW))
}

/// Free blocks and inodes.
pub(super) fn free(place: &str) -> Result<(u64, u64)> {
    let stat = rustix::fs::statvfs(place)?;
    Ok((stat.f_bfree, stat.f_ffree))
}

fn tmpfile(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let dir = env.path("dir");
    fs::create_dir(&dir)?;
    let before = free(MNT)?;
    let data: Vec<u8> = (0..200_000_u32).map(|byte| (byte / 7) as u8).collect();
    // Used and dropped, it leaves nothing.
    let file = open_tmpfile(&dir, 0)?;
    file.write_all_at(&data, 0)?;
    file.sync_all()?;
    ensure!(file.metadata()?.nlink() == 0 && file.metadata()?.len() == data.len() as u64);
    let mut read = vec![0; data.len()];
    file.read_exact_at(&mut read, 0)?;
    ensure!(read == data, "other data in a file without a name");
    ensure!(fs::read_dir(&dir)?.next().is_none(), "it is listed");
    fails(
        fs::remove_dir(env.path("dir/none")),
        libc::ENOENT,
        "nothing",
    )?;
    drop(file);
    rustix::fs::sync();
    ensure!(
        free(MNT)? == before,
        "{before:?} was free, {:?} is",
        free(MNT)?
    );
    // Linked, it stays: by /proc, and by the descriptor itself.
    let file = open_tmpfile(&dir, 0)?;
    file.write_all_at(&data, 0)?;
    link_by_proc(&file, &dir.join("kept"))?;
    ensure!(file.metadata()?.nlink() == 1);
    link_by_proc(&file, &dir.join("again"))?;
    ensure!(file.metadata()?.nlink() == 2);
    let other = open_tmpfile(&dir, 0)?;
    other.write_all_at(b"other", 0)?;
    errno(linkat(
        &other,
        "",
        CWD,
        dir.join("other"),
        AtFlags::EMPTY_PATH,
    ))?;
    fails(
        errno(linkat(
            &other,
            "",
            CWD,
            dir.join("kept"),
            AtFlags::EMPTY_PATH,
        )),
        libc::EEXIST,
        "over a name",
    )?;
    // Linked and unlinked again while open.
    let third = open_tmpfile(&dir, 0)?;
    link_by_proc(&third, &dir.join("third"))?;
    fs::remove_file(dir.join("third"))?;
    third.write_all_at(&data, 0)?;
    fails(
        link_by_proc(&third, &dir.join("third")),
        libc::ENOENT,
        "a file that was unlinked gets a name",
    )?;
    drop((file, other, third));
    mounted.end()?;
    let mounted = env.mount("")?;
    ensure!(fs::read(dir.join("kept"))? == data && fs::read(dir.join("again"))? == data);
    ensure!(fs::read(dir.join("other"))? == b"other");
    ensure!(fs::metadata(dir.join("kept"))?.nlink() == 2);
    ensure!(!dir.join("third").exists());
    mounted.end()
}

fn tmpfile_refused(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    // In a directory that has been removed, and is open still.
    fs::create_dir(env.path("gone"))?;
    let gone = File::open(env.path("gone"))?;
    fs::remove_dir(env.path("gone"))?;
    let place = format!("/proc/self/fd/{}", gone.as_raw_fd());
    fails(
        open_tmpfile(Path::new(&place), 0),
        libc::EPERM,
        "in a directory that is gone",
    )?;
    drop(gone);
    fs::write(env.path("file"), b"")?;
    fails(
        open_tmpfile(&env.path("file"), 0),
        libc::ENOTDIR,
        "below a file",
    )?;
    let file = open_tmpfile(&env.path(""), libc::O_EXCL)?;
    fails(
        link_by_proc(&file, &env.path("name")),
        libc::ENOENT,
        "a name for what shall have none",
    )?;
    ensure!(!env.path("name").exists());
    fails(
        errno(try_remount(MNT, "ro")),
        libc::EBUSY,
        "read-only while a file without a name is open",
    )?;
    drop(file);
    try_remount(MNT, "ro")?;
    fails(
        open_tmpfile(&env.path(""), 0),
        libc::EROFS,
        "on a read-only mount",
    )?;
    mounted.end()
}

/// Copies the filesystem as it is now to the second disk.
pub(super) fn snapshot(env: &Env) -> Result<()> {
    rustix::fs::sync();
    copy(u64::from(env.image.mib) << 20)
}

/// From the disk itself: the device's cache knows nothing of what a journal writes past it.
pub(super) fn copy(length: u64) -> Result<()> {
    let from = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(DISK)?;
    let to = OpenOptions::new().write(true).open(DISK2)?;
    let mut data = Buffer::new(1 << 20);
    for offset in (0..length).step_by(data.len()) {
        from.read_exact_at(&mut data, offset)?;
        to.write_all_at(&data, offset)?;
    }
    to.sync_all().context("sync the copy")
}

/// The second disk is blank again, as other tests find it.
pub(super) fn wipe() -> Result<()> {
    let mut disk = OpenOptions::new().write(true).open(DISK2)?;
    disk.write_all(&vec![0; 256 << 10])?;
    disk.sync_all().context("sync the second disk")
}

/// What e2fsck says to a copy: it repairs by itself what orphans leave, and nothing is left to repair.
pub(super) fn e2fsck_repairs() -> Result<String> {
    let (code, text) = tool_code("e2fsck", &["-p", DISK2])?;
    ensure!(
        code == 1 || code == 0,
        "e2fsck -p ended with {code}: {text}"
    );
    ensure!(
        text.to_lowercase().contains("orphan"),
        "e2fsck found no orphans: {text}"
    );
    tool("e2fsck", &["-fn", DISK2])?;
    Ok(text)
}

/// Files with blocks of all kinds, a directory, a symlink, one that never had a name: deleted after a crash.
fn cut_off(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    fs::write(env.path("kept"), b"kept")?;
    rustix::fs::sync();
    let before = free(MNT)?;
    let file = open_buffered(env.path("file"))?;
    file.write_all_at(&vec![1; 1 << 20], 0)?;
    let sparse = open_buffered(env.path("sparse"))?;
    sparse.write_all_at(b"far away", 1 << 30)?;
    fs::create_dir(env.path("dir"))?;
    let dir = File::open(env.path("dir"))?;
    let tmp = open_tmpfile(&env.path(""), 0)?;
    tmp.write_all_at(&vec![2; 100_000], 0)?;
    let target = "t".repeat(300);
    std::os::unix::fs::symlink(&target, env.path("link"))?;
    let link = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_NOFOLLOW)
        .open(env.path("link"))?;
    fs::remove_file(env.path("file"))?;
    fs::remove_file(env.path("sparse"))?;
    fs::remove_file(env.path("link"))?;
    fs::remove_dir(env.path("dir"))?;
    // Replaced by a rename.
    fs::write(env.path("old"), vec![3; 50_000])?;
    let old = File::open(env.path("old"))?;
    fs::write(env.path("new"), b"kept")?;
    fs::rename(env.path("new"), env.path("old"))?;

    snapshot(env)?;
    let said = e2fsck_repairs()?;
    ensure!(
        said.matches("rphaned inode").count() >= 6,
        "e2fsck names fewer than six: {said}"
    );
    snapshot(env)?;
    let copy = Mounted::new(env.driver(), DISK2, "/mnt2", "")?;
    env.logged(&["vdb", "6 orphan inodes deleted"])?;
    ensure!(fs::read("/mnt2/kept")? == b"kept" && fs::read("/mnt2/old")? == b"kept");
    let after = free("/mnt2")?;
    // One more file than before.
    ensure!(
        after == (before.0 - 1, before.1 - 1),
        "{before:?} was free, {after:?} is"
    );
    copy.end()?;
    tool("e2fsck", &["-fn", DISK2])?;
    wipe()?;
    // Where nothing crashed, all of them are in use still.
    let mut data = [0; 8];
    sparse.read_exact_at(&mut data, 1 << 30)?;
    ensure!(&data == b"far away");
    drop((file, sparse, dir, tmp, link, old));
    rustix::fs::sync();
    ensure!(
        free(MNT)? == after,
        "{after:?} should be free, {:?} is",
        free(MNT)?
    );
    mounted.end()
}

/// Inodes leave the list from its middle, its beginning and its end.
fn list_order(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let open = |number: usize| -> Result<File> {
        let path = env.path(format!("file-{number}"));
        let file = open_buffered(&path)?;
        file.write_all_at(&vec![number as u8; 20_000], 0)?;
        fs::remove_file(path)?;
        Ok(file)
    };
    let mut files = (0..12)
        .map(|number| open(number).map(Some))
        .collect::<Result<Vec<_>>>()?;
    let mut left = files.len();
    // Neighbours in the middle; the last; the first; then the rest from both sides.
    for group in [vec![5, 6, 4], vec![11, 10], vec![0], vec![9, 1, 8]] {
        for number in group {
            files[number] = None;
            left -= 1;
        }
        snapshot(env)?;
        let said = e2fsck_repairs()?;
        let found = said.matches("rphaned inode").count();
        ensure!(found == left, "{found} of {left} orphans: {said}");
        // Written to while on the list: that must not touch the list.
        for file in files.iter().flatten() {
            file.write_all_at(b"again", 30_000)?;
            file.sync_all()?;
        }
    }
    // A new one in front of old ones.
    files[0] = Some(open(100)?);
    snapshot(env)?;
    let found = e2fsck_repairs()?.matches("rphaned inode").count();
    ensure!(found == left + 1, "{found} of {} orphans", left + 1);
    drop(files);
    snapshot(env)?;
    let (_, text) = tool_code("debugfs", &["-R", "show_super_stats -h", DISK2])?;
    ensure!(
        !text.contains("First orphan inode"),
        "the list is not empty: {text}"
    );
    wipe()?;
    mounted.end()
}

/// A read-only mount, then a writable one: the orphans go at the latest then.
fn read_only_first(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    fs::write(env.path("kept"), b"kept")?;
    rustix::fs::sync();
    let before = free(MNT)?;
    let file = open_buffered(env.path("file"))?;
    file.write_all_at(&vec![1; 300_000], 0)?;
    fs::remove_file(env.path("file"))?;
    snapshot(env)?;
    let copy = Mounted::new(env.driver(), DISK2, "/mnt2", "ro")?;
    ensure!(fs::read("/mnt2/kept")? == b"kept");
    if env.driver() == Driver::Notblk {
        ensure!(
            free("/mnt2")? != before,
            "a read-only mount changed the disk"
        );
    }
    try_remount("/mnt2", "rw")?;
    env.logged(&["vdb", "1 orphan inode deleted"])?;
    ensure!(free("/mnt2")? == before);
    fs::write("/mnt2/new", b"new")?;
    copy.end()?;
    tool("e2fsck", &["-fn", DISK2])?;
    wipe()?;
    drop(file);
    mounted.end()
}

/// A machine that stopped while files became shorter: as the disk is then, made by hand.
fn truncated(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let block = env.block();
    let before = free(MNT)?;
    let sizes = [5000, 0, 13 * block, 1_000_000];
    let name = |number: usize| format!("file-{number}");
    let mut inodes = Vec::new();
    for number in 0..sizes.len() {
        let path = env.path(name(number));
        fs::write(&path, vec![7; 3 << 20])?;
        inodes.push(fs::metadata(&path)?.ino());
    }
    mounted.end()?;
    for (number, size) in sizes.iter().enumerate() {
        debugfs(&format!("sif /{} size {size}", name(number)))?;
        if let Some(next) = inodes.get(number + 1) {
            debugfs(&format!("sif /{} dtime {next:#x}", name(number)))?;
        }
    }
    debugfs(&format!("ssv last_orphan {}", inodes[0]))?;
    let mounted = env.mount("")?;
    env.logged(&["vda", "4 truncates cleaned up"])?;
    let mut taken = 0;
    for (number, size) in sizes.iter().enumerate() {
        let path = env.path(name(number));
        let meta = fs::metadata(&path)?;
        let blocks = size.div_ceil(block);
        // Beyond twelve there is an indirect block.
        let all = blocks + u64::from(blocks > 12);
        taken += all;
        ensure!(
            meta.len() == *size && meta.blocks() == all * block / 512,
            "{size} bytes: {meta:?}"
        );
        ensure!(fs::read(&path)? == vec![7; *size as usize]);
        // What lies behind the end is gone.
        OpenOptions::new()
            .write(true)
            .open(&path)?
            .set_len(size + 2 * block)?;
        let data = fs::read(&path)?;
        ensure!(data[*size as usize..].iter().all(|&byte| byte == 0));
    }
    let after = free(MNT)?;
    ensure!(
        before.0 - after.0 == taken,
        "{taken} blocks, {before:?}, {after:?}"
    );
    mounted.end()
}

/// Lists that no crash leaves: none of them hangs, and none harms a file.
fn damaged(env: &Env) -> Result<()> {
    let data = vec![9; 100_000];
    let mounted = env.mount("")?;
    let mut inodes = Vec::new();
    for name in ["a", "b", "c"] {
        fs::write(env.path(name), &data)?;
        inodes.push(fs::metadata(env.path(name))?.ino());
    }
    fs::create_dir(env.path("dir"))?;
    let dir = fs::metadata(env.path("dir"))?.ino();
    mounted.end()?;
    let [a, b, c] = inodes[..] else {
        unreachable!()
    };
    let chain = |links: &[(char, u64)]| -> Vec<String> {
        links
            .iter()
            .map(|(name, next)| format!("sif /{name} dtime {next:#x}"))
            .collect()
    };
    let cases: Vec<(&str, u64, Vec<String>)> = vec![
        ("a reserved inode", 8, vec![]),
        ("the root", 2, vec![]),
        ("a number that is too large", 0xffff_fff0, vec![]),
        ("an inode that is free", c + 1000, vec![]),
        ("a directory with links", dir, vec![]),
        ("one that names itself", a, chain(&[('a', a)])),
        ("two that name each other", a, chain(&[('a', b), ('b', a)])),
        (
            "a loop behind a beginning",
            a,
            chain(&[('a', b), ('b', c), ('c', b)]),
        ),
        (
            "a next that is too large",
            a,
            chain(&[('a', b), ('b', 0x7fff_ffff)]),
        ),
        ("a next that is free", a, chain(&[('a', c + 1000)])),
    ];
    for (what, first, commands) in cases {
        for command in commands {
            debugfs(&command)?;
        }
        debugfs(&format!("ssv last_orphan {first}"))?;
        let place = env.guest.kmsg.settle()?;
        let mounted = env
            .mount("errors=continue")
            .with_context(|| what.to_owned())?;
        env.complains(place, what)?;
        for name in ["a", "b", "c"] {
            ensure!(
                fs::read(env.path(name))? == data,
                "{what}: {name} is harmed"
            );
        }
        ensure!(env.path("dir").is_dir(), "{what}: the directory is harmed");
        fs::write(env.path("new"), b"new").with_context(|| what.to_owned())?;
        fs::remove_file(env.path("new"))?;
        mounted.end()?;
        // Exit code 1: repaired.
        let (code, text) = tool_code("e2fsck", &["-fy", DISK])?;
        ensure!(code <= 1, "{what}: e2fsck -fy ended with {code}: {text}");
    }
    Ok(())
}
