// SPDX-License-Identifier: GPL-2.0
//! Metadata that a disk refused, and takes later.

use super::env::{fails, Env};
use super::over::{load_target, Over};
use super::{test, Test};
use crate::fs::{open_buffered, Mounted, MNT};
use crate::sys::{self, dm::Dm};
use anyhow::{anyhow, ensure, Context, Result};
use notblk_protocol::Driver;
use rustix::fs::{openat, syncfs, Mode, OFlags, CWD};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};

/// Files, each with a block of pointers.
const FILES: u64 = 24;
/// Bytes of each.
const LENGTH: usize = 512 << 10;
/// How long [`dirtied`] has them meet.
const DIRTIED: Duration = Duration::from_secs(5);
/// Milliseconds after which a write fails that does so late.
const LATE: u32 = 1;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for block in [1024, 4096] {
        let name = |what: &str| format!("healed/{what}-{}k", block / 1024);
        tests.push(test(&name("metadata"), metadata).mib(32).block(block));
        tests.push(test(&name("reused"), reused).mib(32).block(block));
        for (what, late) in [("dirtied", None), ("dirtied-late", Some(LATE))] {
            let run = move |env: &Env| dirtied(env, late);
            tests.push(test(&name(what), run).mib(32).block(block));
        }
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

/// A buffer is changed again while its write fails: C takes back then that it has been read, and must find no dirty one of
/// which that is so; the change is not lost; and who waits for the write in `fsync` is told that it failed. This test is as many
/// occasions as it takes for them to meet. (ext4 has stopped writing by then.)
fn dirtied(env: &Env, late: Option<u32>) -> Result<()> {
    env.only(Driver::Notblk)?;
    let disk = Over::new(env, "dm_flakey")?;
    let late = match late {
        Some(millis) => {
            load_target("dm_delay")?;
            let (under, sectors) = (disk.path(), u64::from(env.image.mib) << 11);
            let parameters = format!("{under} 0 0 {under} 0 {millis}");
            Some(Dm::new("late", sectors, "delay", &parameters)?)
        }
        None => None,
    };
    let path = late.as_ref().map_or(disk.path(), Dm::path);
    let mounted = Mounted::new(env.driver(), &path, MNT, "")?;
    let device = File::open(path)?;
    let path = format!("{MNT}/file");
    let file = open_buffered(&path)?;
    // Its inode is in the same block as the other's; nothing else of it is written.
    let other = open_buffered(format!("{MNT}/other"))?;
    sync()?;
    sys::console_level(2)?;
    disk.turn_into("flakey", "0 1 1 error_writes")?;
    let end = Instant::now() + DIRTIED;
    let (refused, told, changed) = thread::scope(|scope| {
        let refuse = || {
            let mut refused = 0u64;
            while Instant::now() < end {
                refused += u64::from(device.sync_data().is_err());
            }
            refused
        };
        let refusing = [scope.spawn(refuse), scope.spawn(refuse)];
        let telling = scope.spawn(|| -> Result<u64> {
            let mut told = 0;
            while Instant::now() < end {
                other.set_len(1 + told)?;
                ensure!(
                    other.sync_all().is_err(),
                    "fsync says that the disk has what it refuses, after {told} times"
                );
                told += 1;
            }
            Ok(told)
        });
        let change = || -> Result<u64> {
            let mut turns = 0;
            while Instant::now() < end {
                // A block of pointers besides, which is on the inode's own list.
                file.write_all_at(&[turns as u8], 20 * env.block())?;
                file.set_len(0)?;
                turns += 1;
            }
            Ok(turns)
        };
        let changed = change();
        let dead = |_| anyhow!("a thread died");
        let refused = refusing
            .into_iter()
            .map(|thread| thread.join().map_err(dead));
        let told = telling.join().map_err(dead);
        (refused.sum::<Result<u64>>(), told, changed)
    });
    sys::console_level(7)?;
    disk.pass()?;
    let (refused, told) = (refused?, told??);
    let changed = changed.context("change what a disk refuses")?;
    let counts = format!("{changed} changes, {refused} writes refused, {told} fsync told");
    ensure!(changed > 0 && refused > 0 && told > 0, "{counts}");
    env.note(counts);
    file.write_all_at(b"after", 20 * env.block())?;
    drop((file, other, device));
    synced()?;
    mounted.end()?;
    drop((late, disk));
    let mounted = env.mount("")?;
    let found = fs::metadata(&path)?.len();
    ensure!(found == 20 * env.block() + 5, "the file has {found} bytes");
    mounted.end()
}
