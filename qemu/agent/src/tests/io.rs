// SPDX-License-Identifier: GPL-2.0
//! Flags of single reads and writes, synchronous files, and data that moves between files.

use super::direct::difference;
use super::env::{fails, Env};
use super::{for_blocks, test, Test};
use crate::buf::{Buffer, Random};
use crate::fs::{open_buffered, open_direct, DISK};
use crate::sys::files::{cached_pages, fibmap, pread_flags, pwrite_flags};
use anyhow::{bail, ensure, Result};
use notblk_protocol::Driver;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        test("io/synchronous", synchronous),
        test("io/append", append),
        test("io/nowait", nowait),
        test("io/dontcache", dontcache),
        test("io/copy", copy),
    ]
    .into_iter()
    .chain(for_blocks(&[1024], "io/synchronous", synchronous))
    .collect()
}

/// `RWF_DONTCACHE`, which the libc crate does not have.
const RWF_DONTCACHE: i32 = 0x80;

/// A write that is asked to be on the disk is there when it returns. (To ask where the block is writes all of the file: so
/// the places are asked for before.)
fn synchronous(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let path = env.path("file");
    let plain = open_buffered(&path)?;
    plain.write_all_at(&vec![1; 8 * block as usize], 0)?;
    plain.sync_all()?;
    let place = fibmap(&plain, 3)? as u64;
    ensure!(place > 0, "block 3 has no place");
    let disk = open_direct(DISK)?;
    let mut seen = Buffer::new(block as usize);
    let mut holds = |value: u8| -> Result<bool> {
        disk.read_exact_at(&mut seen, place * block)?;
        Ok(seen.iter().all(|&byte| byte == value))
    };
    plain.write_all_at(&vec![2; block as usize], 3 * block)?;
    ensure!(
        !holds(2)?,
        "a plain write is on the disk at once: nothing can be told here"
    );
    let open = |flags| {
        OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open(&path)
    };
    open(libc::O_SYNC)?.write_all_at(&vec![3; block as usize], 3 * block)?;
    ensure!(holds(3)?, "O_SYNC: not on the disk");
    open(libc::O_DSYNC)?.write_all_at(&vec![4; block as usize], 3 * block)?;
    ensure!(holds(4)?, "O_DSYNC: not on the disk");
    for (value, flags) in [(5, libc::RWF_DSYNC), (6, libc::RWF_SYNC)] {
        let data = vec![value; block as usize];
        let length = pwrite_flags(&plain, &data, 3 * block, flags)?;
        ensure!(length == data.len(), "RWF {flags}: wrote {length}");
        ensure!(holds(value)?, "RWF {flags}: not on the disk");
    }
    plain.write_all_at(&vec![7; block as usize], 3 * block)?;
    plain.sync_data()?;
    ensure!(holds(7)?, "fdatasync: not on the disk");
    drop(plain);
    mounted.end()
}

fn append(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let file = open_buffered(env.path("file"))?;
    file.write_all_at(b"one", 0)?;
    ensure!(pwrite_flags(&file, b"two", 0, libc::RWF_APPEND)? == 3);
    ensure!(fs::read(env.path("file"))? == b"onetwo", "RWF_APPEND");
    drop(file);
    mounted.end()
}

/// What may not wait: buffered writes are refused, reads of what is cached are served.
fn nowait(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let path = env.path("file");
    let file = open_buffered(&path)?;
    let data = vec![5; 16 << 10];
    file.write_all_at(&data, 0)?;
    fails(
        pwrite_flags(&file, &data, 0, libc::RWF_NOWAIT),
        libc::EOPNOTSUPP,
        "a buffered write that may not wait",
    )?;
    let mut seen = vec![0; data.len()];
    let length = pread_flags(&file, &mut seen, 0, libc::RWF_NOWAIT)?;
    ensure!(
        length == data.len() && seen == data,
        "a read of what is cached gave {length} bytes"
    );
    drop(file);
    mounted.end()?;
    let mounted = env.mount("")?;
    let file = open_buffered(&path)?;
    // The disk may be faster than the question whether its data is there.
    match pread_flags(&file, &mut seen, 0, libc::RWF_NOWAIT) {
        Ok(length) => ensure!(seen[..length] == data[..length], "other data"),
        Err(error) => ensure!(
            error.raw_os_error() == Some(libc::EAGAIN),
            "a read of what is not cached: {error}"
        ),
    }
    drop(file);
    mounted.end()
}

/// What need not stay in the cache is written and read back, and goes from it; other data stays.
fn dontcache(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let file = open_buffered(env.path("file"))?;
    let mut data = vec![0; 256 << 10];
    Random(env.seed).fill(&mut data);
    ensure!(pwrite_flags(&file, &data, 0, RWF_DONTCACHE)? == data.len());
    file.sync_all()?;
    is_dropped(env, &file, "after a write")?;
    let mut seen = vec![0; data.len()];
    ensure!(pread_flags(&file, &mut seen, 0, RWF_DONTCACHE)? == data.len());
    if let Some(wrong) = difference(&seen, &data) {
        bail!("read back: {wrong}");
    }
    is_dropped(env, &file, "after a read")?;
    let plain = open_buffered(env.path("plain"))?;
    plain.write_all_at(&data, 0)?;
    plain.sync_all()?;
    if let Some(pages) = cached(env, &plain)? {
        ensure!(pages > 0, "no page is cached after a plain write");
    }
    drop((file, plain));
    mounted.end()
}

/// Pages of the file in the cache, where the kernel tells.
fn cached(env: &Env, file: &File) -> Result<Option<u64>> {
    match cached_pages(file) {
        Ok(pages) => Ok(Some(pages)),
        // A kernel that is compiled small.
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            env.note("what is cached, the kernel does not tell".to_owned());
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Waits for the file to have nothing in the cache: pages go after whoever waits for them has been told. From the C driver's
/// they do not go where a write ends in an interrupt, so that it is not asked.
fn is_dropped(env: &Env, file: &File, when: &str) -> Result<()> {
    let started = Instant::now();
    while let Some(pages @ 1..) = cached(env, file)? {
        if env.driver() == Driver::Ext4 {
            env.note(format!("{pages} pages are cached {when}"));
            return Ok(());
        }
        ensure!(
            started.elapsed() < Duration::from_secs(10),
            "{pages} pages stay in the cache {when}"
        );
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// `copy_file_range`, `sendfile` and `splice`, within the filesystem and out of it.
fn copy(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let from = open_buffered(env.path("from"))?;
    let mut data = vec![0; 100_000];
    Random(env.seed).fill(&mut data);
    from.write_all_at(&data, 0)?;

    let to = open_buffered(env.path("range"))?;
    let (mut source, mut target) = (100, 5000);
    while source < data.len() as u64 {
        let length = data.len() - source as usize;
        let count =
            rustix::fs::copy_file_range(&from, Some(&mut source), &to, Some(&mut target), length)?;
        ensure!(count > 0, "copy_file_range stops at {source}");
    }
    let copied = fs::read(env.path("range"))?;
    ensure!(
        copied[..5000].iter().all(|&byte| byte == 0) && copied[5000..] == data[100..],
        "copy_file_range: other data"
    );
    drop(to);

    // std copies by copy_file_range, sendfile or splice, as the files are.
    fs::copy(env.path("from"), env.path("copied"))?;
    ensure!(fs::read(env.path("copied"))? == data, "copy: other data");
    fs::copy(env.path("from"), "/tmp/copied")?;
    ensure!(fs::read("/tmp/copied")? == data, "copy out: other data");
    fs::copy("/tmp/copied", env.path("back"))?;
    ensure!(fs::read(env.path("back"))? == data, "copy in: other data");
    fs::remove_file("/tmp/copied")?;

    let (reader, writer) = rustix::pipe::pipe()?;
    let to = open_buffered(env.path("spliced"))?;
    let (mut source, mut target) = (0, 0);
    while source < data.len() as u64 {
        let flags = rustix::pipe::SpliceFlags::empty();
        let count = rustix::pipe::splice(&from, Some(&mut source), &writer, None, 16_384, flags)?;
        ensure!(count > 0, "splice stops at {source}");
        let mut left = count;
        while left > 0 {
            left -= rustix::pipe::splice(&reader, None, &to, Some(&mut target), left, flags)?;
        }
    }
    ensure!(fs::read(env.path("spliced"))? == data, "splice: other data");
    drop((from, to));
    mounted.end()
}
