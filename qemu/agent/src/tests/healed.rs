// SPDX-License-Identifier: GPL-2.0
//! Metadata that a disk refused, and takes later.

use super::env::{fails, Env};
use super::over::Over;
use super::{test, Test};
use crate::fs::{open_buffered, MNT};
use crate::sys;
use anyhow::{ensure, Context, Result};
use notblk_protocol::Driver;
use rustix::fs::{openat, syncfs, Mode, OFlags, CWD};
use std::fs;
use std::os::unix::fs::FileExt;

/// Files, each with a block of pointers.
const FILES: u64 = 24;
/// Bytes of each.
const LENGTH: usize = 512 << 10;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for block in [1024, 4096] {
        let name = |what: &str| format!("healed/{what}-{}k", block / 1024);
        tests.push(test(&name("metadata"), metadata).mib(32).block(block));
        tests.push(test(&name("reused"), reused).mib(32).block(block));
    }
    tests
}

/// All that the filesystem has in memory.
fn sync() -> Result<(), rustix::io::Errno> {
    syncfs(openat(CWD, MNT, OFlags::RDONLY, Mode::empty())?)
}

fn name(number: u64) -> String {
    format!("{MNT}/file{number}")
}

/// Writes files, of which the disk takes nothing.
fn refused(disk: &Over) -> Result<()> {
    // Each failure is a line of the log.
    sys::console_level(2)?;
    disk.turn_into("flakey", "0 1 1 error_writes")?;
    for number in 0..FILES {
        open_buffered(name(number))?.write_all_at(&[1; LENGTH], 0)?;
    }
    let synced = sync();
    sys::console_level(7)?;
    fails(
        synced.map_err(Into::into),
        libc::EIO,
        "sync of a disk that refuses",
    )?;
    disk.pass()
}

/// Writes all there is, twice: the first sync may still tell of what failed before.
fn synced() -> Result<()> {
    let _ = sync();
    sync().context("sync of a disk that has healed")
}

/// What a sync could not write goes out with the next: e2fsck, after this test, finds all pointers. ext4 leaves them behind.
fn metadata(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    let disk = Over::new(env, "dm_flakey")?;
    let mounted = disk.mount("")?;
    refused(&disk)?;
    synced()?;
    mounted.end()?;
    drop(disk);
    let mounted = env.mount("")?;
    for number in 0..FILES {
        let found = fs::metadata(name(number))?.len();
        ensure!(found == LENGTH as u64, "file {number} has {found} bytes");
    }
    mounted.end()
}

/// Such blocks do not come up again once they are a file's data. (ext4 has stopped writing by then.)
fn reused(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    let disk = Over::new(env, "dm_flakey")?;
    let mounted = disk.mount("")?;
    refused(&disk)?;
    for number in 0..FILES {
        fs::remove_file(name(number))?;
    }
    let path = format!("{MNT}/all");
    let file = open_buffered(&path)?;
    let stat = rustix::fs::statvfs(MNT)?;
    // Whatever is free, but for some blocks of pointers.
    let length = stat.f_bavail * stat.f_frsize * 31 / 32;
    let piece = vec![0x5a; 1 << 16];
    let pieces = length / piece.len() as u64;
    for number in 0..pieces {
        file.write_all_at(&piece, number * piece.len() as u64)?;
    }
    // This is where they would.
    let _ = file.sync_all();
    synced()?;
    drop(file);
    mounted.end()?;
    drop(disk);
    let mounted = env.mount("")?;
    let found = fs::read(&path)?;
    ensure!(found.len() as u64 == pieces * (1 << 16), "the length");
    if let Some(at) = found.iter().position(|byte| *byte != 0x5a) {
        anyhow::bail!(
            "byte {at} is {:#x}: what a disk refused has overwritten it",
            found[at]
        );
    }
    mounted.end()
}
