// SPDX-License-Identifier: GPL-2.0
//! A disk that changes under the driver, or fails where it is not expected to.

use super::durable::Disk;
use super::env::{fails, Env};
use super::{test, Test};
use crate::fs::{tool, tool_code, Mounted, DISK, DISK2, MNT};
use anyhow::{ensure, Context, Result};
use notblk_protocol::Driver;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{symlink, FileExt, MetadataExt};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (name, count, command, place) in [
        ("one-block", 20, "", InBlock::Same),
        ("indexed", 700, "", InBlock::Same),
        ("list", 700, "feature -dir_index", InBlock::Same),
        ("list-first", 700, "feature -dir_index", InBlock::First),
    ] {
        tests.push(test(&format!("beneath/name-taken-{name}"), move |env| {
            name_taken(env, count, command, place)
        }));
    }
    tests.push(test("beneath/orphan-neighbour", orphan_neighbour));
    tests.push(test("beneath/dropped-orphans", dropped_orphans).damages());
    tests
}

/// An entry of a directory's block: where it begins in it, and its name.
type Entry = (usize, String);

/// The entries in use of a directory's block.
fn entries(block: &[u8]) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + 8 <= block.len() {
        let length = usize::from(u16::from_le_bytes([block[at + 4], block[at + 5]]));
        if length < 8 {
            break;
        }
        let name = &block[at + 8..][..usize::from(block[at + 6])];
        if block[at..at + 4] != [0; 4] {
            found.push((at, String::from_utf8_lossy(name).into_owned()));
        }
        at += length;
    }
    found
}

/// The numbers in what debugfs says to a command.
fn numbers(command: &str, disk: &str) -> Result<Vec<u64>> {
    let text = tool("debugfs", &["-R", command, disk])?;
    let words = text.lines().filter(|line| !line.starts_with("debugfs"));
    let words = words.flat_map(str::split_whitespace);
    Ok(words.filter_map(|word| word.parse().ok()).collect())
}

/// Where a directory has a name that the kernel does not know of.
#[derive(Clone, Copy)]
enum InBlock {
    /// In the block that a new entry would go to.
    Same,
    /// In the first, which has no room.
    First,
}

/// The kernel knows that a name is not there, and it is: there is no second one.
fn name_taken(env: &Env, count: u32, command: &str, place: InBlock) -> Result<()> {
    if !command.is_empty() {
        tool("debugfs", &["-w", "-R", command, DISK])?;
    }
    let mounted = env.mount("")?;
    let dir = env.path("dir");
    fs::create_dir(&dir)?;
    for n in 0..count {
        File::create(dir.join(format!("name-{n:05}")))?;
    }
    File::create(env.path("other"))?;
    rustix::fs::sync();
    let disk = OpenOptions::new().read(true).write(true).open(DISK)?;
    let blocks = numbers("blocks /dir", DISK)?;
    let names_of = |block: u64| -> Result<Vec<Entry>> {
        let mut bytes = vec![0; env.block() as usize];
        disk.read_exact_at(&mut bytes, block * env.block())?;
        let mut names = entries(&bytes);
        names.retain(|(_, name)| name.starts_with("name-"));
        ensure!(names.len() > 2, "block {block} has {names:?}");
        Ok(names)
    };
    let with_room = *blocks.last().context("no blocks")?;
    let block = match place {
        InBlock::Same => with_room,
        InBlock::First => blocks[0],
    };
    let at = block * env.block();
    let names = names_of(block)?;
    let (offset, first) = &names[0];
    let names = names_of(with_room)?;
    let (_, last) = &names[names.len() - 1];
    // From now on its absence is known.
    let gone = dir.join(last);
    fs::remove_file(&gone)?;
    fails(fs::metadata(&gone), libc::ENOENT, "a removed file")?;
    disk.write_all_at(last.as_bytes(), at + *offset as u64 + 8)?;
    let exists = libc::EEXIST;
    let inodes = rustix::fs::statvfs(MNT)?.f_ffree;
    fails(
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&gone),
        exists,
        "create",
    )?;
    fails(fs::create_dir(&gone), exists, "mkdir")?;
    fails(symlink("target", &gone), exists, "symlink")?;
    fails(fs::hard_link(env.path("other"), &gone), exists, "link")?;
    fails(fs::rename(env.path("other"), &gone), exists, "rename")?;
    disk.write_all_at(first.as_bytes(), at + *offset as u64 + 8)?;
    ensure!(
        rustix::fs::statvfs(MNT)?.f_ffree == inodes,
        "an inode without a name is lost"
    );
    File::create(&gone)?;
    ensure!(env.path("other").exists(), "renamed all the same");
    drop(disk);
    mounted.end()?;
    let mounted = env.mount("ro")?;
    ensure!(
        fs::read_dir(&dir)?.count() == count as usize,
        "other names than before"
    );
    mounted.end()
}

/// Where the second group begins, with 1 KiB blocks.
const GROUP: u64 = 8193 * 1024;
/// Where a copy is mounted.
const COPY: &str = "/tmp/copy";

/// The inode before one on the orphan list cannot be read when that one leaves: both stay on it, on disk as in memory.
fn orphan_neighbour(env: &Env) -> Result<()> {
    // The C driver takes it off the list in memory, and leaves the disk to e2fsck.
    env.only(Driver::Notblk)?;
    let disk = Disk::new()?;
    let path = disk.path();
    tool("mke2fs", &["-q", "-F", "-t", "ext2", "-b", "1024", &path])?;
    let mounted = Mounted::new(env.driver(), &path, MNT, "errors=continue")?;
    let group_inodes = rustix::fs::statvfs(MNT)?.f_files / 2;
    let far = (0..64)
        .map(|n| -> Result<_> {
            let dir = env.path(format!("dir-{n}"));
            fs::create_dir(&dir)?;
            Ok((fs::metadata(&dir)?.ino() > group_inodes).then_some(dir))
        })
        .find_map(Result::transpose)
        .context("no directory in the second group")??
        .join("file");
    let near = env.path("file");
    let mut open = Vec::new();
    for file in [&near, &far] {
        let handle = File::create(file)?;
        handle.write_all_at(&[7; 5000], 0)?;
        open.push(handle);
    }
    let (far_ino, near_ino) = (fs::metadata(&far)?.ino(), fs::metadata(&near)?.ino());
    ensure!(
        far_ino > group_inodes && near_ino <= group_inodes,
        "inodes {far_ino} and {near_ino}"
    );
    fs::remove_file(&near)?;
    fs::remove_file(&far)?;
    rustix::fs::sync();
    // Out of the cache with the disk's blocks; not every kernel has the file that drops all caches.
    rustix::fs::fadvise(&File::open(&path)?, 0, None, rustix::fs::Advice::DontNeed)?;
    let far_handle = open.pop();
    let rest = disk.cut_off(GROUP)?;
    let result = File::open(&path)?.read_at(&mut [0; 1024], GROUP + 3 * 1024);
    fails(result, libc::EIO, "reading what is not there")?;
    drop(open);
    env.logged(&["left on the orphan list"])?;
    disk.restore(GROUP, &rest)?;
    rustix::fs::sync();

    // A machine that stopped now finds both; the error of the disk aside.
    let mut copy = OpenOptions::new().write(true).open(DISK2)?;
    std::io::copy(&mut File::open(&path)?, &mut copy)?;
    copy.sync_all()?;
    tool("debugfs", &["-w", "-R", "ssv state 1", DISK2])?;
    fs::create_dir_all(COPY)?;
    let copied = Mounted::new(env.driver(), DISK2, COPY, "")?;
    env.logged(&["vdb", "2 orphan inodes deleted"])?;
    copied.end()?;
    copy = OpenOptions::new().write(true).open(DISK2)?;
    copy.write_all(&vec![0; 256 << 10])?;
    copy.sync_all()?;

    drop(far_handle);
    mounted.end()?;
    // The near one is left to the next mount, or to e2fsck.
    let (code, text) = tool_code("e2fsck", &["-fy", &path])?;
    ensure!(code <= 1, "e2fsck -fy ended with {code}: {text}");
    disk.end()
}

/// An orphan list that is dropped for an error in the midst of it is forgotten: the next orphan does not lead to the rest.
fn dropped_orphans(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let mut inodes = Vec::new();
    for name in ["one", "two"] {
        fs::write(env.path(name), vec![7; 20 * env.block() as usize])?;
        inodes.push(fs::metadata(env.path(name))?.ino());
    }
    mounted.end()?;
    let [one, two] = inodes[..] else {
        unreachable!()
    };
    for command in [
        "sif /one size 5000".to_owned(),
        format!("sif /one dtime {two:#x}"),
        "sif /two size 5000".to_owned(),
        format!("ssv last_orphan {one}"),
    ] {
        tool("debugfs", &["-w", "-R", &command, DISK])?;
    }
    // Of what goes, something is not the filesystem's.
    let indirect = numbers("blocks /one", DISK)?[12];
    let disk = OpenOptions::new().write(true).open(DISK)?;
    disk.write_all_at(&0xffff_fff0_u32.to_le_bytes(), indirect * env.block() + 8)?;
    disk.sync_all()?;
    drop(disk);
    let mounted = env.mount("errors=continue")?;
    let open = File::create(env.path("open"))?;
    let ino = open.metadata()?.ino();
    fs::remove_file(env.path("open"))?;
    rustix::fs::sync();
    let shown = tool("debugfs", &["-R", &format!("stat <{ino}>"), DISK])?;
    ensure!(
        shown.contains(&format!("Inode: {ino}")) && !shown.contains("dtime:"),
        "the next orphan leads on: {shown}"
    );
    let first = super::record::Super::read()?.u32(0xe8);
    match env.driver() {
        Driver::Notblk => ensure!(first == ino as u32, "it is not first on the list"),
        // The C driver has it in its orphan file (feature `orphan_file`).
        Driver::Ext4 => ensure!(first == 0, "{first} is first on the list"),
    }
    drop(open);
    mounted.end()?;
    let (code, text) = tool_code("e2fsck", &["-fy", DISK])?;
    ensure!(code <= 1, "e2fsck -fy ended with {code}: {text}");
    Ok(())
}
