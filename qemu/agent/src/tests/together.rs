// SPDX-License-Identifier: GPL-2.0
//! Two who want the same inode on the disk at the same time: neither has it there before it is.

use super::durable::on_disk;
use super::env::Env;
use super::over::Over;
use super::{test, Test};
use crate::fs::{open_buffered, DISK};
use anyhow::{anyhow, ensure, Context, Result};
use notblk_protocol::Driver;
use std::fs::File;
use std::thread;
use std::time::Duration;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        test("durable/fsync-by-two", |env| by_two(env, File::sync_all)),
        test("durable/fdatasync-by-two", |env| {
            by_two(env, File::sync_data)
        }),
    ]
}

/// Milliseconds that a write takes.
const WRITE: u64 = 3000;
/// From one actor to the next: each is in the middle of its work then.
const NEXT: Duration = Duration::from_millis(WRITE / 6);

/// `sync(2)` has taken the inode to its buffer, so it is clean. One who comes writes that buffer and waits; another has nothing
/// to write, and returns no earlier. Flushes are quick, so that nothing else makes him wait.
fn by_two(env: &Env, sync: fn(&File) -> std::io::Result<()>) -> Result<()> {
    // With a journal it is there, but elsewhere.
    env.only(Driver::Notblk)?;
    let disk = Over::new(env, "dm_delay")?;
    let mounted = disk.mount("")?;
    let file = open_buffered(env.path("file"))?;
    file.sync_all()?;
    File::open(crate::fs::MNT)?.sync_all()?;
    disk.turn_into("delay", &format!("0 {DISK} 0 {WRITE} {DISK} 0 0"))?;
    // All of it is in the inode.
    let length = 5 * env.block();
    file.set_len(length)?;
    let all = thread::spawn(rustix::fs::sync);
    thread::sleep(NEXT);
    let one = file.try_clone()?;
    let one = thread::spawn(move || sync(&one));
    thread::sleep(NEXT);
    sync(&file).context("the second")?;
    let found = on_disk("/file")?;
    one.join()
        .map_err(|_| anyhow!("the first one died"))?
        .context("the first")?;
    all.join().map_err(|_| anyhow!("sync died"))?;
    ensure!(
        found.len() as u64 == length,
        "the second returned, and the disk had {} bytes of {length}",
        found.len()
    );
    disk.pass()?;
    drop(file);
    mounted.end()
}
