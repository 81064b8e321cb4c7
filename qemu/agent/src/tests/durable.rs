// SPDX-License-Identifier: GPL-2.0
//! What the disk has when `fsync` and its kind return, and what they say when it has not.

use super::env::{errno, Env};
use super::over::Over;
use super::{for_blocks, test, Test};
use crate::attributes::set;
use crate::buf::{stamped, Random};
use crate::fs::{self, open_buffered, tool, tool_code, Mounted, DISK, MNT};
use crate::sys::files::pwrite_flags;
use crate::sys::Loop;
use anyhow::{bail, ensure, Context, Result};
use notblk_protocol::Driver;
use rustix::fs::{fallocate, FallocateFlags};
use rustix::mount::{mount, unmount, MountFlags, UnmountFlags};
use std::fs::{self as file, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = for_blocks(&[1024, 4096, 65536], "durable/fsync", fsync);
    tests.extend(for_blocks(
        &[1024, 4096, 65536],
        "durable/synchronous",
        synchronous,
    ));
    tests.push(test("durable/shared-attributes", shared_attributes).inode(128));
    tests.push(test("durable/new-names", new_names));
    tests.push(test("durable/sync", sync));
    tests.push(test("durable/errors-once", errors_once));
    tests.push(test("durable/superblock", superblock));
    tests.push(test("durable/flushes", flushes));
    tests.push(test("durable/dirsync", dirsync));
    tests.push(test("durable/dirsync-new-first", dirsync_new_first));
    tests.push(test("durable/evicted", evicted));
    tests.push(test("durable/shared-attributes-lost", shared_attributes_lost).inode(128));
    tests.push(test("durable/not-clean", not_clean));
    tests.push(test("durable/unread-table-new", unread_table_new).damages());
    tests.push(test("durable/unread-table", unread_table).damages());
    tests
}

/// A file as the disk itself has it: what a machine would find that lost its power now. Mounted through [`Over`]; else the cache
/// would be written first.
pub(super) fn on_disk(path: &str) -> Result<Vec<u8>> {
    let out = "/tmp/dumped";
    tool(
        "debugfs",
        &["-D", "-R", &format!("dump {path} {out}"), DISK],
    )?;
    let data = file::read(out)?;
    file::remove_file(out)?;
    Ok(data)
}

/// After `fsync` data, indirect blocks and inode are there; after that of its directory, the name.
fn fsync(env: &Env) -> Result<()> {
    // With a journal it is there, but elsewhere.
    env.only(Driver::Notblk)?;
    let disk = Over::new(env, "dm_mod")?;
    let mounted = disk.mount("")?;
    let block = env.block() as usize;
    let mut data = vec![0; 300 * block.min(4096) + 7];
    Random(env.seed).fill(&mut data);
    let handle = open_buffered(env.path("file"))?;
    handle.sync_all()?;
    File::open(MNT)?.sync_all()?;
    for (turn, piece) in data.chunks(data.len() / 3).enumerate() {
        handle.write_all_at(piece, (turn * (data.len() / 3)) as u64)?;
        match turn {
            1 => handle.sync_data()?,
            _ => handle.sync_all()?,
        }
        let end = turn * (data.len() / 3) + piece.len();
        ensure!(
            on_disk("/file")? == data[..end],
            "not on the disk after fsync {turn}"
        );
    }
    // Write-back by somebody else, then fsync: nothing is left to write, but something may have been left to wait for.
    handle.set_len(0)?;
    handle.write_all_at(&data, 0)?;
    rustix::fs::sync();
    handle.sync_all()?;
    ensure!(on_disk("/file")? == data, "not on the disk after sync");
    let synchronous = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_SYNC)
        .open(env.path("file"))?;
    data[5000..5010].fill(1);
    synchronous.write_all_at(&[1; 10], 5000)?;
    ensure!(on_disk("/file")? == data, "not on the disk after O_SYNC");
    drop((handle, synchronous));
    mounted.end()
}

/// What makes one write synchronous.
#[derive(Debug, Clone, Copy)]
enum How {
    /// The file is opened like that.
    Open(i32),
    /// The one call says so.
    Call(i32),
}

/// A synchronous write that brings its file new blocks is on the disk when it returns: data, indirect blocks and size. So is
/// one that fills a hole by falling back.
fn synchronous(env: &Env) -> Result<()> {
    // With a journal it is there, but elsewhere.
    env.only(Driver::Notblk)?;
    let disk = Over::new(env, "dm_mod")?;
    let mounted = disk.mount("")?;
    let block = env.block();
    let ways = [
        ("O_DSYNC", How::Open(libc::O_DSYNC)),
        ("O_SYNC", How::Open(libc::O_SYNC)),
        ("RWF_DSYNC", How::Call(libc::RWF_DSYNC)),
        ("RWF_SYNC", How::Call(libc::RWF_SYNC)),
        (
            "O_DIRECT and O_DSYNC",
            How::Open(libc::O_DIRECT | libc::O_DSYNC),
        ),
    ];
    for (number, (what, how)) in ways.into_iter().enumerate() {
        let name = format!("file{number}");
        // Its name is there; all else comes by the writes below.
        let made = File::create(env.path(&name))?;
        made.sync_all()?;
        File::open(MNT)?.sync_all()?;
        let (open, call) = match how {
            How::Open(flags) => (flags, 0),
            How::Call(flags) => (0, flags),
        };
        let handle = OpenOptions::new()
            .write(true)
            .custom_flags(open)
            .open(env.path(&name))?;
        let mut expected = Vec::new();
        // An extension by direct blocks; one over the first indirect block, with a hole before it; the hole.
        for (turn, (start, blocks)) in [(0, 3), (11, 4), (5, 2)].into_iter().enumerate() {
            let data = stamped(blocks * block, number as u64 * 10 + turn as u64 + 1);
            let at = (start * block) as usize;
            let written = pwrite_flags(&handle, &data, start * block, call)?;
            ensure!(
                written == data.len(),
                "{what}: {written} bytes, turn {turn}"
            );
            expected.resize(expected.len().max(at + data.len()), 0);
            expected[at..at + data.len()].copy_from_slice(&data);
            ensure!(
                on_disk(&format!("/{name}"))? == expected,
                "not on the disk after {what}, turn {turn}"
            );
        }
    }
    mounted.end()
}

/// Attributes in a block that another inode had first are on the disk after `fsync` of either.
fn shared_attributes(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    let disk = Over::new(env, "dm_mod")?;
    let mounted = disk.mount("")?;
    let value = vec![7; 500];
    for name in ["first", "second"] {
        File::create(env.path(name))?;
    }
    rustix::fs::sync();
    for name in ["first", "second"] {
        set(env.path(name), "user.both", &value)?;
    }
    File::open(env.path("second"))?.sync_all()?;
    let out = "/tmp/attribute";
    tool(
        "debugfs",
        &[
            "-D",
            "-R",
            &format!("ea_get -f {out} /second user.both"),
            DISK,
        ],
    )?;
    let found = file::read(out).context("the attribute is not on the disk")?;
    file::remove_file(out)?;
    ensure!(found == value, "another attribute is on the disk");
    mounted.end()
}

/// `fsync` of a new file takes along the directories that make it found, all of which are new; so it does after a rename and
/// for another link.
fn new_names(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    let disk = Over::new(env, "dm_mod")?;
    let mounted = disk.mount("")?;
    file::create_dir_all(env.path("a/b/c"))?;
    file::create_dir(env.path("d"))?;
    let path = env.path("a/b/c/file");
    let handle = open_buffered(&path)?;
    handle.write_all_at(b"new", 0)?;
    handle.sync_all()?;
    ensure!(on_disk("/a/b/c/file")? == b"new", "not found on the disk");
    file::rename(&path, env.path("d/renamed"))?;
    handle.sync_data()?;
    ensure!(
        on_disk("/d/renamed")? == b"new",
        "its new name is not found"
    );
    file::hard_link(env.path("d/renamed"), env.path("a/link"))?;
    handle.sync_all()?;
    // Any one of its names is what fsync finds; the directory's own fsync is for all.
    File::open(env.path("a"))?.sync_all()?;
    ensure!(on_disk("/a/link")? == b"new", "its other name is not found");
    drop(handle);
    mounted.end()
}

/// `syncfs` and `sync` need no descriptor of the file.
fn sync(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    let disk = Over::new(env, "dm_mod")?;
    let mounted = disk.mount("")?;
    let root = File::open(MNT)?;
    for (name, call) in [("one", true), ("two", false)] {
        let data = vec![7; 100_000];
        file::create_dir(env.path(name))?;
        file::write(env.path(name).join("file"), &data)?;
        match call {
            true => rustix::fs::syncfs(&root)?,
            false => rustix::fs::sync(),
        }
        ensure!(
            on_disk(&format!("/{name}/file"))? == data,
            "not on the disk: {name}"
        );
    }
    drop(root);
    mounted.end()
}

/// Where the disk for [`errors_once`] has its memory, and its size.
const MEMORY: &str = "/mnt2";
const MEMORY_SIZE: &std::ffi::CStr = c"size=24m";

/// A disk that can be made to fail writes to places that it has not got: a file in memory, without enough of it.
pub(super) struct Disk {
    device: Loop,
    backing: File,
}

impl Disk {
    pub(super) fn new() -> Result<Disk> {
        mount(
            "tmpfs",
            MEMORY,
            "tmpfs",
            MountFlags::empty(),
            Some(MEMORY_SIZE),
        )?;
        let backing = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .custom_flags(libc::O_DIRECT)
            .open(format!("{MEMORY}/disk"))?;
        backing.set_len(16 << 20)?;
        crate::modules::load("loop", &[])?;
        let device = Loop::attach(&backing).context("attach the loop device")?;
        Ok(Disk { device, backing })
    }

    /// With an empty filesystem, made with these options besides.
    fn ext2(more: &[&str]) -> Result<Disk> {
        let disk = Disk::new()?;
        let path = disk.path();
        let mut arguments = vec!["-q", "-F", "-t", "ext2", "-b", "4096"];
        arguments.extend(more);
        arguments.push(&path);
        tool("mke2fs", &arguments)?;
        Ok(disk)
    }

    pub(super) fn path(&self) -> String {
        format!("/dev/{}", self.device.name())
    }

    fn mount(&self, env: &Env, options: &str) -> Result<Mounted> {
        Mounted::new(env.driver(), &self.path(), MNT, options)
    }

    /// What it has lost is lost: e2fsck makes the best of it.
    fn repair(&self) -> Result<()> {
        let (code, text) = tool_code("e2fsck", &["-fy", &self.path()])?;
        ensure!(code <= 1, "e2fsck -fy ended with {code}: {text}");
        Ok(())
    }

    /// What debugfs says of what the disk itself has. It looks at the memory: a look at the device, a direct one too, would
    /// write the device's cache first, and with it directories and inodes that nobody has asked to be written.
    pub(super) fn ask(&self, request: &str) -> Result<String> {
        tool("debugfs", &["-R", request, &format!("{MEMORY}/disk")])
    }

    /// A file as the disk itself has it.
    pub(super) fn file(&self, path: &str) -> Result<Vec<u8>> {
        let out = "/tmp/dumped";
        self.ask(&format!("dump {path} {out}"))?;
        let data = file::read(out)?;
        file::remove_file(out)?;
        Ok(data)
    }

    /// The blocks of a file, of which there are few.
    pub(super) fn blocks_of(&self, name: &str) -> Result<Vec<u64>> {
        let text = tool("debugfs", &["-R", &format!("blocks {name}"), &self.path()])?;
        Ok(text
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect())
    }

    /// From now on these blocks cannot be written, and are zero for who reads them.
    pub(super) fn lose(&self, numbers: &[u64], block: u64) -> Result<()> {
        for number in numbers {
            let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(&self.backing, hole, number * block, block)?;
        }
        let filler = File::create(format!("{MEMORY}/filler"))?;
        let mut at = 0;
        loop {
            match filler.write_at(&[1; 4096], at) {
                Ok(count) => at += count as u64,
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// From now on everything from there on is gone: not even reading does. Answers what it was.
    pub(super) fn cut_off(&self, at: u64) -> Result<Vec<u8>> {
        let length = self.backing.metadata()?.len() - at;
        let mut rest = vec![0; length as usize];
        self.backing.read_exact_at(&mut rest, at)?;
        self.backing.set_len(at)?;
        Ok(rest)
    }

    /// It is there again.
    pub(super) fn restore(&self, at: u64, rest: &[u8]) -> Result<()> {
        self.backing.write_all_at(rest, at).context("restore")
    }

    /// They can be written again.
    pub(super) fn recover(&self) -> Result<()> {
        Ok(file::remove_file(format!("{MEMORY}/filler"))?)
    }

    /// After [`Self::repair`].
    fn end_repaired(self) -> Result<()> {
        self.repair()?;
        self.end()
    }

    /// It must be clean.
    fn end_clean(self) -> Result<()> {
        if let Some(complaint) = fs::check(&self.path())? {
            bail!("{complaint}");
        }
        self.end()
    }

    pub(super) fn end(self) -> Result<()> {
        drop((self.device, self.backing));
        // The loop device lets its file go a little later.
        for _ in 0..100 {
            match unmount(MEMORY, UnmountFlags::empty()) {
                Err(rustix::io::Errno::BUSY) => {
                    std::thread::sleep(std::time::Duration::from_millis(50));
                }
                other => return Ok(other?),
            }
        }
        bail!("{MEMORY} stays busy")
    }
}

/// The error of write-back that everybody must hear of.
fn lost(result: io::Result<()>, what: &str) -> Result<()> {
    match result {
        Ok(()) => bail!("{what}: data was lost, and nobody said so"),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EIO | libc::ENOSPC)) => Ok(()),
        Err(error) => bail!("{what}: {error}"),
    }
}

/// Data that could not be written is an error of `fsync`: once by each descriptor that was open then, and once by `syncfs`.
fn errors_once(env: &Env) -> Result<()> {
    let disk = Disk::ext2(&[])?;
    let mounted = disk.mount(env, "")?;
    let root = File::open(MNT)?;
    let one = open_buffered(env.path("file"))?;
    let two = open_buffered(env.path("file"))?;
    let other = open_buffered(env.path("other"))?;
    one.write_all_at(&[1; 8 * 4096], 0)?;
    other.write_all_at(&[1; 4096], 0)?;
    rustix::fs::sync();
    one.sync_all()?;
    disk.lose(&disk.blocks_of("/file")?, 4096)?;

    one.write_all_at(&[2; 8 * 4096], 0)?;
    lost(one.sync_all(), "the first fsync")?;
    one.sync_all().context("the second fsync")?;
    lost(two.sync_all(), "fsync by the other descriptor")?;
    two.sync_all().context("its second fsync")?;
    other.sync_all().context("fsync of another file")?;
    lost(errno(rustix::fs::syncfs(&root)), "syncfs")?;
    rustix::fs::syncfs(&root).context("the second syncfs")?;
    open_buffered(env.path("file"))?
        .sync_all()
        .context("fsync by one who came later")?;
    // Lost for whoever comes, too.
    one.write_all_at(&[3; 8 * 4096], 0)?;
    rustix::fs::sync();
    lost(one.sync_data(), "fdatasync after write-back by sync")?;

    disk.recover()?;
    one.write_all_at(&[4; 8 * 4096], 0)?;
    one.sync_all()
        .context("fsync when the disk is well again")?;
    drop((root, one, two, other));
    mounted.end()?;
    let mounted = disk.mount(env, "ro")?;
    ensure!(
        file::read(env.path("file"))? == [4; 8 * 4096],
        "other contents"
    );
    mounted.end()?;
    disk.end_clean()
}

/// A superblock that cannot be written stays what it was in memory, and goes out when the disk is well again.
fn superblock(env: &Env) -> Result<()> {
    // The C driver does not write it at a sync.
    env.only(Driver::Notblk)?;
    let disk = Disk::ext2(&[])?;
    let mounted = disk.mount(env, "")?;
    let root = File::open(MNT)?;
    file::write(env.path("file"), b"file")?;
    rustix::fs::syncfs(&root)?;
    disk.lose(&[0], 4096)?;
    lost(errno(rustix::fs::syncfs(&root)), "syncfs")?;
    lost(errno(rustix::fs::syncfs(&root)), "syncfs once more")?;
    ensure!(file::read(env.path("file"))? == b"file", "other contents");
    disk.recover()?;
    // What write-back of the device itself has met meanwhile is told once more.
    let _ = rustix::fs::syncfs(&root);
    rustix::fs::syncfs(&root).context("syncfs when the disk is well again")?;
    drop(root);
    mounted.end()?;
    disk.end_clean()
}

/// With `dirsync` a rename is on the disk in both directories; in the one too, where the disk fails to take the other: it has
/// happened, and who asks the other directory is told.
fn dirsync(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    let disk = Disk::ext2(&[])?;
    let mounted = disk.mount(env, "dirsync")?;
    let names = |dir: &str| disk.ask(&format!("ls -p {dir}"));
    for dir in ["one", "two"] {
        file::create_dir(env.path(dir))?;
    }
    for name in ["first", "second"] {
        file::write(env.path("one").join(name), name)?;
    }
    file::rename(env.path("one/first"), env.path("two/first"))?;
    let (one, two) = (names("/one")?, names("/two")?);
    ensure!(
        !one.contains("/first/") && one.contains("/second/") && two.contains("/first/"),
        "not on the disk after a rename: {one}{two}"
    );
    rustix::fs::sync();
    disk.lose(&disk.blocks_of("/one")?, 4096)?;
    file::rename(env.path("one/second"), env.path("two/second"))
        .context("a rename that the disk takes half of")?;
    let two = names("/two")?;
    ensure!(
        two.contains("/second/"),
        "its new name is not on the disk: {two}"
    );
    disk.recover()?;
    mounted.end()?;
    disk.end_repaired()
}

/// Where the disk does not take the new name, the old one stays on it.
fn dirsync_new_first(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    let disk = Disk::ext2(&[])?;
    let mounted = disk.mount(env, "dirsync")?;
    for dir in ["one", "two"] {
        file::create_dir(env.path(dir))?;
    }
    file::write(env.path("one/file"), b"file")?;
    rustix::fs::sync();
    disk.lose(&disk.blocks_of("/two")?, 4096)?;
    file::rename(env.path("one/file"), env.path("two/file"))
        .context("a rename that the disk takes half of")?;
    let one = disk.ask("ls -p /one")?;
    ensure!(
        one.contains("/file/"),
        "it has neither name on the disk: {one}"
    );
    disk.recover()?;
    mounted.end()?;
    disk.end_repaired()
}

/// Waits for a line of the log with these words.
fn await_line(env: &Env, words: &[&str]) -> Result<()> {
    for _ in 0..400 {
        if env.logged(words).is_ok() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    env.logged(words)
}

/// Write-back soon, and then as before.
fn with_quick_writeback(work: impl FnOnce() -> Result<()>) -> Result<()> {
    let names = ["dirty_writeback_centisecs", "dirty_expire_centisecs"];
    let paths = names.map(|name| format!("/proc/sys/vm/{name}"));
    let mut before = Vec::new();
    for path in &paths {
        before.push(file::read_to_string(path)?);
        file::write(path, "10")?;
    }
    let worked = work();
    for (path, before) in paths.iter().zip(before) {
        file::write(path, before.trim())?;
    }
    worked
}

/// The block of the inode table that a file's inode is in.
fn table_block(disk: &Disk, name: &str) -> Result<u64> {
    let text = tool("debugfs", &["-R", &format!("imap {name}"), &disk.path()])?;
    let rest = text.split_once("located at block ").context("no block")?.1;
    let number = rest.split(|c: char| !c.is_ascii_digit()).next();
    Ok(number.context("no number")?.parse()?)
}

/// An inode that the disk refused, and that has left memory and come back since: whoever calls `fsync` then is told. (From 7.3 on
/// VFS keeps such inodes in memory.)
fn evicted(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    let caches = std::path::Path::new("/proc/sys/vm/drop_caches");
    if !caches.exists() {
        bail!(super::env::Skip("kernel cannot drop caches".into()));
    }
    let disk = Disk::ext2(&[])?;
    let mounted = disk.mount(env, "")?;
    // Of no contents, which would keep it in memory.
    let name = env.path("file");
    File::create(&name)?;
    rustix::fs::sync();
    disk.lose(&[table_block(&disk, "/file")?], 4096)?;
    file::set_permissions(&name, std::os::unix::fs::PermissionsExt::from_mode(0o640))?;
    with_quick_writeback(|| await_line(env, &["loop", "lost async page write"]))?;
    for _ in 0..5 {
        // Inodes, and not what the device has in memory: that the disk has lost.
        file::write(caches, "2")?;
    }
    let told = File::open(&name)?.sync_all();
    super::env::fails(told, libc::EIO, "fsync of what the disk refused")?;
    disk.recover()?;
    let root = File::open(MNT)?;
    let _ = rustix::fs::syncfs(&root);
    rustix::fs::syncfs(&root).context("sync of a disk that has healed")?;
    File::open(&name)?.sync_all().context("fsync afterwards")?;
    let stat = disk.ask("stat /file")?;
    ensure!(stat.contains("0640"), "the mode is not on the disk: {stat}");
    drop(root);
    mounted.end()?;
    disk.end_clean()
}

/// A block of attributes that the disk refused is an error for whoever shares it, not only for who had it first.
fn shared_attributes_lost(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    let disk = Disk::ext2(&["-I", "128"])?;
    let mounted = disk.mount(env, "")?;
    for name in ["first", "second", "third"] {
        File::create(env.path(name))?;
    }
    set(env.path("first"), "user.all", &[7; 500])?;
    rustix::fs::sync();
    let stat = disk.ask("stat /first")?;
    let block = stat
        .split_once("File ACL: ")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .context("no block of attributes")?
        .parse()?;
    disk.lose(&[block], 4096)?;
    // The number of those who share it.
    set(env.path("second"), "user.all", &[7; 500])?;
    set(env.path("third"), "user.all", &[7; 500])?;
    let root = File::open(MNT)?;
    lost(errno(rustix::fs::syncfs(&root)), "syncfs")?;
    for name in ["third", "second"] {
        super::env::fails(
            File::open(env.path(name))?.sync_all(),
            libc::EIO,
            &format!("fsync of the {name}"),
        )?;
    }
    disk.recover()?;
    let _ = rustix::fs::syncfs(&root);
    rustix::fs::syncfs(&root).context("syncfs when the disk is well again")?;
    for name in ["third", "second"] {
        File::open(env.path(name))?
            .sync_all()
            .with_context(|| format!("fsync of the {name}"))?;
    }
    drop(root);
    mounted.end()?;
    disk.end_clean()
}

/// What dumpe2fs calls the state of a disk.
fn state_of(disk: &Disk) -> Result<String> {
    let text = disk.ask("stats -h")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Filesystem state:"));
    Ok(line.context("no state")?.trim().to_owned())
}

/// A filesystem of which the disk lacks something is not clean after unmount: e2fsck looks at it.
fn not_clean(env: &Env) -> Result<()> {
    // The C driver calls it clean, unless it happens to look at what was lost.
    env.only(Driver::Notblk)?;
    let disk = Disk::ext2(&[])?;
    let mounted = disk.mount(env, "")?;
    file::create_dir(env.path("dir"))?;
    rustix::fs::sync();
    disk.lose(&disk.blocks_of("/dir")?, 4096)?;
    file::write(env.path("dir/file"), b"file")?;
    let root = File::open(MNT)?;
    lost(errno(rustix::fs::syncfs(&root)), "syncfs")?;
    lost(errno(rustix::fs::syncfs(&root)), "syncfs once more")?;
    drop(root);
    mounted.end()?;
    let state = state_of(&disk)?;
    ensure!(state.contains("not clean"), "it is {state:?}");
    env.logged(&["metadata could not be written"])?;
    disk.recover()?;
    let (code, text) = tool_code("e2fsck", &["-p", &disk.path()])?;
    ensure!(
        code != 0 || text.contains("check forced"),
        "e2fsck -p passes over it: {text}"
    );
    disk.repair()?;
    // Where nothing is lost it is clean, as it was found.
    disk.mount(env, "")?.end()?;
    let state = state_of(&disk)?;
    ensure!(state == "clean", "it is {state:?}");
    disk.end()
}

/// The first mount of a filesystem whose second block of the inode table is in use and not in memory at the second mount: of 16
/// inodes each, with the first free number in the first one.
fn fill_table(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    for number in 0..20 {
        File::create(env.path(format!("file{number}")))?;
    }
    file::remove_file(env.path("file0"))?;
    mounted.end()
}

/// A file cannot be made whose place in the inode table cannot be read: its maker is told, not nobody.
fn unread_table_new(env: &Env) -> Result<()> {
    // The C driver reads the table ahead, and has it.
    env.only(Driver::Notblk)?;
    fill_table(env)?;
    let disk = Over::new(env, "dm_flakey")?;
    let mounted = disk.mount("")?;
    // Bitmap, directory and first block are in memory from here on.
    File::create(env.path("first"))?;
    rustix::fs::sync();
    disk.turn_into("flakey", "0 1 1 error_reads")?;
    let made = File::create(env.path("second")).map(drop);
    disk.pass()?;
    super::env::fails(made, libc::EIO, "a file whose inode cannot be read")?;
    ensure!(!env.path("second").exists(), "it has a name");
    File::create(env.path("second")).context("afterwards")?;
    mounted.end()
}

/// An inode that could not be written for want of its neighbours is written later.
fn unread_table(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    fill_table(env)?;
    let disk = Over::new(env, "dm_flakey")?;
    let mounted = disk.mount("errors=continue")?;
    let handle = File::open(env.path("file19"))?;
    rustix::fs::sync();
    // The inode stays, the block it was read from does not.
    rustix::fs::fadvise(
        &File::open(disk.path())?,
        0,
        None,
        rustix::fs::Advice::DontNeed,
    )?;
    handle.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o640))?;
    disk.turn_into("flakey", "0 1 1 error_reads")?;
    let told = handle.sync_all();
    disk.pass()?;
    super::env::fails(told, libc::EIO, "fsync")?;
    let _ = rustix::fs::syncfs(&handle);
    rustix::fs::syncfs(&handle).context("syncfs of a disk that has healed")?;
    let stat = tool("debugfs", &["-D", "-R", "stat /file19", DISK])?;
    ensure!(stat.contains("0640"), "the mode is not on the disk: {stat}");
    env.logged(&["not written"])?;
    drop(handle);
    mounted.end()
}

/// How often the disk was told to put its cache of writes where it stays.
fn disk_flushes() -> Result<u64> {
    let stat = file::read_to_string(format!("/sys/block/{}/stat", name_of(DISK)?))?;
    let field = stat.split_whitespace().nth(15);
    field
        .context("no count of flushes")?
        .parse()
        .context("a count")
}

fn name_of(disk: &str) -> Result<&str> {
    disk.strip_prefix("/dev/").context("a device's name")
}

/// A disk with a cache of writes is told to empty it, by `syncfs`, by `fsync`, and before the superblock says that all is clean.
fn flushes(env: &Env) -> Result<()> {
    let queue = format!("/sys/block/{}/queue/write_cache", name_of(DISK)?);
    let before = file::read_to_string(&queue)?;
    file::write(&queue, "write back")?;
    let run = || -> Result<()> {
        let mounted = env.mount("")?;
        let handle = open_buffered(env.path("file"))?;
        let mut seen = disk_flushes()?;
        let mut more = |what: &str| -> Result<()> {
            let now = disk_flushes()?;
            ensure!(now > seen, "{what}: no flush");
            seen = now;
            Ok(())
        };
        handle.write_all_at(&[1; 5000], 0)?;
        rustix::fs::syncfs(&handle)?;
        more("syncfs")?;
        handle.write_all_at(&[2; 5000], 0)?;
        handle.sync_all()?;
        more("fsync")?;
        handle.write_all_at(&[3; 5000], 0)?;
        drop(handle);
        mounted.end()?;
        more("umount")
    };
    let result = run();
    file::write(&queue, before.trim())?;
    result
}
