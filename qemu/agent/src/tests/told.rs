// SPDX-License-Identifier: GPL-2.0
//! Who waits in `fsync` is told that a write failed, though somebody changes the same block before he looks.

use super::env::{fails, Env, Skip};
use super::served::served_disk;
use super::{test, Test};
use crate::fs::{self, tool, Mounted, MNT};
use crate::sys::nbd;
use crate::sys::thread::{first_among_all, one_of_many};
use anyhow::{anyhow, bail, ensure, Context, Result};
use rustix::thread::{sched_getaffinity, sched_setaffinity, CpuSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of a block.
const BLOCK: u64 = 1024;
/// Blocks of the file, of which twelve need no block of pointers.
const BLOCKS: u64 = 40;
/// Where the kernel says how many reads and writes the disk has to answer.
const INFLIGHT: &str = "/sys/block/nbd0/inflight";

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![test("durable/told", told)]
}

/// The disk refuses the file's block of pointers, for which its `fsync` waits. All else is as it pleases the scheduler, so both
/// have one processor, and the one who changes that block comes first there: it is changed when the other gets to look.
fn told(env: &Env) -> Result<()> {
    let all = sched_getaffinity(None)?;
    let mut own = CpuSet::new();
    let Some(last) = (1..CpuSet::MAX_CPU).rfind(|&number| all.is_set(number)) else {
        bail!(Skip("needs two processors".into()));
    };
    own.set(last);
    let disk = served_disk()?;
    let mounted = Mounted::new(env.driver(), nbd::PATH, MNT, "")?;
    let file = File::create(Path::new(MNT).join("file"))?;
    file.write_all_at(&vec![1; (BLOCKS * BLOCK) as usize], 0)?;
    file.sync_all()?;
    let outcome = refused(&disk, &file, own);
    // Else what comes now would wait for ever.
    disk.accept()?;
    sched_setaffinity(None, &all)?;
    outcome?;
    file.sync_all().context("fsync once the disk has healed")?;
    drop(file);
    mounted.end()?;
    if let Some(complaint) = fs::check(nbd::PATH)? {
        bail!("{complaint}");
    }
    drop(disk);
    Ok(())
}

/// The block of pointers is refused, changed, and asked for. Leaves this thread on one of `own`.
fn refused(disk: &nbd::Disk, file: &File, own: CpuSet) -> Result<()> {
    let pointers = pointers()?;
    disk.refuse(pointers * BLOCK..(pointers + 1) * BLOCK);
    // Takes a pointer out of it.
    file.set_len((BLOCKS - 1) * BLOCK)?;
    let syncing = file.try_clone()?;
    let syncing = thread::spawn(move || {
        sched_setaffinity(None, &own)?;
        syncing.sync_all()
    });
    wait(disk)?;
    sched_setaffinity(None, &own)?;
    first_among_all()?;
    let changed = change(disk, file);
    one_of_many()?;
    let synced = syncing.join().map_err(|_| anyhow!("fsync died"))?;
    changed?;
    fails(synced, libc::EIO, "fsync of what the disk refuses")
}

/// The number of the file's block of pointers.
fn pointers() -> Result<u64> {
    // "(0-11):1050-1061, (IND):1062, (12-267):1063-1318, ..."
    let text = tool("debugfs", &["-R", "stat /file", nbd::PATH])?;
    let found = text
        .split([' ', '\n', ','])
        .find_map(|word| word.strip_prefix("(IND):"));
    let found = found.with_context(|| format!("the file has no block of pointers: {text}"))?;
    found.parse().with_context(|| format!("debugfs: {found:?}"))
}

/// Waits until the disk has a write to refuse.
fn wait(disk: &nbd::Disk) -> Result<()> {
    for _ in 0..1500 {
        if disk.refusing() > 0 {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("the block of pointers is not written")
}

/// Has the write fail, and the block changed, without giving up the processor between the two.
fn change(disk: &nbd::Disk, file: &File) -> Result<()> {
    let begun = Instant::now();
    let refused = disk.fail()?;
    ensure!(refused == 1, "{refused} writes refused");
    loop {
        let inflight = std::fs::read_to_string(INFLIGHT)?;
        if inflight.split_whitespace().all(|count| count == "0") {
            break;
        }
        ensure!(
            begun.elapsed() < Duration::from_millis(800),
            "the write has not ended: {inflight}"
        );
    }
    Ok(file.set_len((BLOCKS - 2) * BLOCK)?)
}
