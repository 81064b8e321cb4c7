// SPDX-License-Identifier: GPL-2.0
//! Machines that lose their power: what had been synced is there after e2fsck, whatever else was under way.
//!
//! The filesystem is mounted through another device ([`Over`]), so that the disk has what was written and nothing else: a copy of
//! it is what such a machine finds.

use super::env::{errno, Env};
use super::orphan::{copy, wipe};
use super::over::Over;
use super::stopped::Stopped;
use super::{test, Test};
use crate::attributes::{get, set};
use crate::buf::stamped;
use crate::fs::{open_buffered, open_direct, tool, tool_code, Mounted, DISK, DISK2, MNT};
use anyhow::{ensure, Context, Result};
use notblk_protocol::Driver;
use rustix::fs::{fallocate, linkat, AtFlags, FallocateFlags, CWD};
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};

/// Where the copy is mounted.
const COPY: &str = "/mnt2";

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        test("crash/attributes-of-orphan", attributes_of_orphan)
            .inode(128)
            .mib(16),
        test("crash/attributes-after-orphan", attributes_after_orphan)
            .inode(128)
            .mib(16),
        test("crash/first-name", first_name).mib(16),
        test("crash/shortened", shortened).mib(16),
        test("crash/punched", punched).mib(16),
    ]
}

/// The power goes: what e2fsck says of what is left, and does by itself (`how`).
fn power_off(env: &Env, how: &str) -> Result<String> {
    copy(u64::from(env.image.mib) << 20)?;
    let (code, text) = tool_code("e2fsck", &[how, DISK2])?;
    ensure!(code <= 1, "e2fsck {how} ended with {code}: {text}");
    tool("e2fsck", &["-fn", DISK2])?;
    Ok(text)
}

/// An attribute as the copy has it.
fn attribute(env: &Env, said: &str) -> Result<()> {
    let mounted = Mounted::new(env.driver(), DISK2, COPY, "ro")?;
    let found = get(format!("{COPY}/file"), "user.synced");
    mounted.end()?;
    wipe()?;
    let found = found.with_context(|| format!("the attribute is gone: {said}"))?;
    ensure!(found == b"synced", "{found:?}: {said}");
    Ok(())
}

/// A file with a block of attributes, while a direct write makes it longer: e2fsck would take the block from what it finds on the
/// orphan list.
fn attributes_of_orphan(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    let disk = Over::new(env, "dm_mod")?;
    let mounted = disk.mount("")?;
    let file = open_direct(env.path("file"))?;
    file.set_len(100 << 10)?;
    set(env.path("file"), "user.synced", b"synced")?;
    file.sync_all()?;
    File::open(MNT)?.sync_all()?;
    let stopped = Stopped::new(&file)?;
    rustix::fs::sync();
    let said = power_off(env, "-p")?;
    attribute(env, &said)?;
    stopped.go_on()?.context("the write")?;
    drop(file);
    mounted.end()
}

/// The same where the file has got its attributes after the write: the list on the disk is older than that.
fn attributes_after_orphan(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    let disk = Over::new(env, "dm_mod")?;
    let mounted = disk.mount("")?;
    let file = open_direct(env.path("file"))?;
    file.set_len(100 << 10)?;
    file.sync_all()?;
    let stopped = Stopped::new(&file)?;
    // It is on the list, and so it is on the disk.
    rustix::fs::sync();
    let said = power_off(env, "-p")?;
    ensure!(said.contains("Truncating orphaned inode"), "{said}");
    stopped.go_on()?.context("the write")?;
    set(env.path("file"), "user.synced", b"synced")?;
    file.sync_all()?;
    let said = power_off(env, "-p")?;
    attribute(env, &said)?;
    drop(file);
    mounted.end()
}

/// A file that had no name has one, which has been synced, and so has the file: its link is there too.
fn first_name(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    let disk = Over::new(env, "dm_mod")?;
    let mounted = disk.mount("")?;
    let data = stamped(5 * env.block(), 1).to_vec();
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .open(MNT)?;
    file.write_all_at(&data, 0)?;
    file.sync_all()?;
    let place = format!("/proc/self/fd/{}", file.as_raw_fd());
    errno(linkat(
        CWD,
        &place,
        CWD,
        env.path("file"),
        AtFlags::SYMLINK_FOLLOW,
    ))?;
    // The root's inode is in the same block of the inode table.
    File::open(MNT)?.sync_all()?;
    let said = power_off(env, "-fy")?;
    let copied = Mounted::new(env.driver(), DISK2, COPY, "ro")?;
    let found = fs::read(format!("{COPY}/file"));
    copied.end()?;
    wipe()?;
    ensure!(
        found.with_context(|| said.clone())? == data,
        "other data: {said}"
    );
    drop(file);
    mounted.end()
}

/// A file has become shorter, and another one's `fsync` writes the block of the inode table that both are in: size and pointers
/// agree.
fn shortened(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    let disk = Over::new(env, "dm_mod")?;
    let mounted = disk.mount("")?;
    let data = stamped(10 * env.block(), 1).to_vec();
    let [one, other] = ["one", "other"].map(|name| env.path(name));
    for path in [&one, &other] {
        fs::write(path, &data)?;
    }
    rustix::fs::sync();
    let inodes = [fs::metadata(&one)?.ino(), fs::metadata(&other)?.ino()];
    ensure!(
        inodes.iter().all(|&ino| ino <= 16),
        "inodes {inodes:?} are not in the first block"
    );
    let file = open_buffered(&one)?;
    file.set_len(0)?;
    let other = open_buffered(&other)?;
    other.write_all_at(&data, data.len() as u64)?;
    other.sync_all()?;
    let said = power_off(env, "-fy")?;
    ensure!(
        !said.contains("i_size") && !said.contains("laimed"),
        "{said}"
    );
    wipe()?;
    drop((file, other));
    mounted.end()
}

/// Blocks that a punch has freed, and that others may have by now, are not on the disk as the file's when a neighbour in the inode
/// table has been synced.
fn punched(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    let disk = Over::new(env, "dm_mod")?;
    let mounted = disk.mount("")?;
    let data = stamped(10 * env.block(), 1).to_vec();
    for name in ["one", "other"] {
        fs::write(env.path(name), &data)?;
    }
    rustix::fs::sync();
    let blocks = || tool("debugfs", &["-D", "-R", "blocks /one", DISK]);
    let before = blocks()?;
    let file = open_buffered(env.path("one"))?;
    fallocate(
        &file,
        FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        0,
        5 * env.block(),
    )?;
    let other = open_buffered(env.path("other"))?;
    other.write_all_at(&data, data.len() as u64)?;
    other.sync_all()?;
    let after = blocks()?;
    let count = |text: &str| {
        let words = text.lines().filter(|line| !line.starts_with("debugfs"));
        words.flat_map(str::split_whitespace).count()
    };
    ensure!(
        count(&before) == 10 && count(&after) == 5,
        "the file had {before}, and has {after}"
    );
    drop((file, other));
    mounted.end()
}
