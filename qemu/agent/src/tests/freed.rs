// SPDX-License-Identifier: GPL-2.0
//! Blocks that a file has lost: nothing of it is written there any more, for they may be another's.

use super::env::Env;
use super::over::Over;
use super::{for_blocks, Test};
use crate::buf::{stamped, Buffer};
use crate::fs::{open_buffered, open_direct, DISK};
use crate::sys::files::fibmap;
use anyhow::{anyhow, ensure, Context, Result};
use rustix::fs::{fadvise, fallocate, Advice, FallocateFlags};
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    for_blocks(&[1024, 2048], "freed/punch", punched)
}

/// Bytes of a page.
const PAGE: u64 = 4096;
/// Milliseconds that the slow disk takes to read and to write.
const READ: u64 = 1000;
const WRITE: u64 = 3000;

/// A page stays in the cache of which a block is punched out. It is dirty, and write-back comes by while the hole is being made:
/// what it has in hand is on the disk when the block is free.
fn punched(env: &Env) -> Result<()> {
    let block = env.block();
    let disk = Over::new(env, "dm_delay")?;
    let mounted = disk.mount("")?;
    let far = 16 * PAGE;
    let file = open_buffered(env.path("file"))?;
    file.write_all_at(&stamped(far + PAGE, 1), 0)?;
    // The hole begins inside the first page; where it ends, a block must be read, and that takes a while.
    let (start, end) = (block, far + 512);
    let place = u64::try_from(fibmap(&file, i32::try_from(start / block)?)?)?;
    file.sync_all()?;
    fadvise(&file, 0, None, Advice::DontNeed)?;
    // Written as a whole, and never read: what of it is dirty is known of all alone.
    file.write_all_at(&stamped(PAGE, 2), 0)?;
    disk.turn_into("delay", &format!("{READ} {DISK} 0 {WRITE}"))?;
    let punches = file.try_clone()?;
    let hole = thread::spawn(move || {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&punches, flags, start, end - start)
    });
    thread::sleep(Duration::from_millis(READ / 4));
    let written = file.try_clone()?;
    let sync = thread::spawn(move || written.sync_data());
    hole.join()
        .map_err(|_| anyhow!("the puncher died"))?
        .context("punch")?;
    // The block is free. Somebody has it now, who writes to it by a quicker way.
    let raw = open_direct(DISK)?;
    let theirs = stamped(block, 3);
    raw.write_all_at(&theirs, place * block)
        .context("write to the block")?;
    sync.join()
        .map_err(|_| anyhow!("the syncer died"))?
        .context("sync")?;
    disk.pass()?;
    let mut found = Buffer::new(block as usize);
    raw.read_exact_at(&mut found, place * block)?;
    ensure!(
        found[..] == theirs[..],
        "what was written to a block after it was free is lost"
    );
    drop((file, raw));
    mounted.end()
}
