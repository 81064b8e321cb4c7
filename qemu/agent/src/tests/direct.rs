// SPDX-License-Identifier: GPL-2.0
//! Direct I/O: alignment, holes, ends of files, AIO, io_uring, `RWF_NOWAIT`.

use super::env::{fails, Env};
use super::over::Over;
use super::xattr::CAPABILITY;
use super::{for_blocks, Test};
use crate::attributes::{get, set};
use crate::buf::{stamp, stamped, Buffer, Random};
use crate::fs::{open_buffered, open_direct};
use crate::sys::{self, Aio, Mapping};
use anyhow::{bail, ensure, Context, Result};
use notblk_protocol::Driver;
use std::fs::{self, FileTimes};
use std::io;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, SystemTime};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let sizes = [1024, 4096, 16384, 65536];
    let mut tests = Vec::new();
    tests.extend(for_blocks(&sizes, "direct/overwrite", overwrite));
    tests.extend(for_blocks(&sizes, "direct/holes", holes));
    tests.extend(for_blocks(&sizes, "direct/extend", extend));
    tests.extend(for_blocks(&sizes, "direct/unaligned", unaligned));
    tests.extend(for_blocks(&sizes, "direct/partial-block", partial_block));
    tests.extend(for_blocks(&sizes, "direct/aio", aio));
    tests.extend(for_blocks(&sizes, "direct/io-uring", uring));
    tests.extend(for_blocks(&sizes, "direct/nowait", nowait));
    let names = "direct/nowait-decides";
    tests.extend(for_blocks(&sizes, names, nowait_decides));
    tests.extend(for_blocks(&[1024, 4096], "direct/nowait-cold", nowait_cold));
    tests.extend(for_blocks(&[4096], "direct/access-time", access_time));
    tests.extend(for_blocks(&sizes, "direct/mapped", mapped));
    tests.extend(for_blocks(&sizes, "direct/mixed-with-buffered", mixed));
    tests
}

/// A file of `length` random bytes, on disk and out of the cache; returns the bytes.
fn written(env: &Env, name: &str, length: usize) -> Result<Vec<u8>> {
    let mut data = vec![0; length];
    Random(env.seed).fill(&mut data);
    let file = open_buffered(env.path(name))?;
    file.write_all_at(&data, 0)?;
    file.sync_all()?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(data)
}

fn overwrite(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let mut expected = written(env, "file", 1 << 20)?;
    let file = open_direct(env.path("file"))?;
    let mut back = Buffer::new(1 << 20);
    file.read_exact_at(&mut back, 0)?;
    ensure!(back[..] == expected[..], "a direct read shows other data");
    for (offset, length) in [(0, 4096), (8192, 65_536), (40_960, 512 << 10)] {
        let data = stamped(length, offset + 1);
        file.write_all_at(&data, offset)?;
        expected[offset as usize..(offset + length) as usize].copy_from_slice(&data);
    }
    ensure!(
        fs::read(env.path("file"))? == expected,
        "a buffered read shows other data"
    );
    ensure!(
        fs::metadata(env.path("file"))?.len() == 1 << 20,
        "the size changed"
    );
    drop(file);
    mounted.end()
}

/// Direct reads of holes give zeros; direct writes into them are seen by everybody.
fn holes(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let file = open_direct(env.path("file"))?;
    let size = 512 * block;
    file.set_len(size)?;
    let mut back = stamped(64 * block, 1);
    file.read_exact_at(&mut back, 100 * block)?;
    ensure!(back.iter().all(|&byte| byte == 0), "a hole is not zero");
    let mut expected = vec![0; size as usize];
    for (start, blocks) in [
        (0, 1),
        (11, 3),
        (100, 1),
        (101, 2),
        (99, 5),
        (511, 1),
        (300, 60),
    ] {
        let data = stamped(blocks * block, start + 1);
        file.write_all_at(&data, start * block)
            .with_context(|| format!("write at block {start}"))?;
        let start = (start * block) as usize;
        expected[start..start + data.len()].copy_from_slice(&data);
    }
    let mut back = Buffer::new(size as usize);
    file.read_exact_at(&mut back, 0)?;
    ensure!(back[..] == expected[..], "a direct read shows other data");
    ensure!(
        fs::read(env.path("file"))? == expected,
        "a buffered read shows other data"
    );
    ensure!(file.metadata()?.len() == size, "the size changed");
    drop(file);
    mounted.end()?;
    let mounted = env.mount("ro")?;
    ensure!(
        fs::read(env.path("file"))? == expected,
        "other data after a new mount"
    );
    mounted.end()
}

/// Direct writes past the end, next to it and with a hole before them.
fn extend(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let file = open_direct(env.path("file"))?;
    let mut expected = Vec::new();
    for (start, blocks) in [(0, 2), (2, 30), (32, 1), (100, 4), (103, 8)] {
        let data = stamped(blocks * block, start + 7);
        file.write_all_at(&data, start * block)
            .with_context(|| format!("write at block {start}"))?;
        let start = (start * block) as usize;
        if expected.len() < start + data.len() {
            expected.resize(start + data.len(), 0);
        }
        expected[start..start + data.len()].copy_from_slice(&data);
        ensure!(
            file.metadata()?.len() == expected.len() as u64,
            "wrong size"
        );
    }
    // A read that crosses the end is short; one behind it is empty.
    let mut back = Buffer::new(8 * block as usize);
    let length = file.read_at(&mut back, 109 * block)?;
    ensure!(
        length as u64 == 2 * block,
        "a read across the end gave {length}"
    );
    ensure!(
        file.read_at(&mut back, 200 * block)? == 0,
        "a read behind the end gave data"
    );
    // The end need not be at a block: the next direct write begins behind a partial block.
    file.set_len(110 * block - 100)?;
    expected.truncate(110 * block as usize - 100);
    let data = stamped(block, 99);
    file.write_all_at(&data, 112 * block)?;
    expected.resize(112 * block as usize, 0);
    expected.extend_from_slice(&data);
    ensure!(
        fs::read(env.path("file"))? == expected,
        "other data behind a partial block"
    );
    drop(file);
    mounted.end()?;
    let mounted = env.mount("ro")?;
    ensure!(
        fs::read(env.path("file"))? == expected,
        "other data after a new mount"
    );
    mounted.end()
}

/// What is not aligned to the device's sectors is refused and changes nothing.
fn unaligned(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let expected = written(env, "file", 65_536)?;
    let file = open_direct(env.path("file"))?;
    let data = stamped(8192, 5);
    fails(
        file.write_at(&data[..4096], 1),
        libc::EINVAL,
        "an odd offset",
    )?;
    fails(
        file.write_at(&data[..1000], 4096),
        libc::EINVAL,
        "an odd length",
    )?;
    fails(
        file.write_at(&data[1..4097], 4096),
        libc::EINVAL,
        "an odd address",
    )?;
    let mut back = Buffer::new(8192);
    fails(
        file.read_at(&mut back[..4096], 1),
        libc::EINVAL,
        "a read at an odd offset",
    )?;
    ensure!(
        fs::read(env.path("file"))? == expected,
        "a refused write changed something"
    );
    drop(file);
    mounted.end()
}

/// Sector-sized direct writes: into written blocks, and into holes, whose rest must be zero.
fn partial_block(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    // Old data on the disk for a careless driver to show.
    written(env, "old", 400 * block as usize)?;
    fs::remove_file(env.path("old"))?;
    rustix::fs::sync();
    let mut expected = written(env, "file", 16 * block as usize)?;
    let file = open_direct(env.path("file"))?;
    file.set_len(64 * block)?;
    expected.resize(64 * block as usize, 0);
    // Written block, hole, across both, two in one hole, across two holes, behind the end.
    let places = [
        (block + 512, 512),
        (20 * block + 512, 512),
        (16 * block - 512, 1024),
        (30 * block, 512),
        (30 * block + block / 2, 512),
        (40 * block - 512, 1024),
        (64 * block + 512, 512),
    ];
    for (index, (offset, length)) in places.into_iter().enumerate() {
        let data = stamped(length, index as u64 + 50);
        file.write_all_at(&data, offset)
            .with_context(|| format!("write at {offset}"))?;
        let (start, end) = (offset as usize, (offset + length) as usize);
        if expected.len() < end {
            expected.resize(end, 0);
        }
        expected[start..end].copy_from_slice(&data);
        if let Some(wrong) = difference(&fs::read(env.path("file"))?, &expected) {
            bail!("after the write of {length} at {offset}: {wrong}");
        }
    }
    drop(file);
    mounted.end()?;
    let mounted = env.mount("ro")?;
    if let Some(wrong) = difference(&fs::read(env.path("file"))?, &expected) {
        bail!("after a new mount: {wrong}");
    }
    mounted.end()
}

/// Where two contents differ first.
pub fn difference(found: &[u8], expected: &[u8]) -> Option<String> {
    if found.len() != expected.len() {
        return Some(format!(
            "{} bytes instead of {}",
            found.len(),
            expected.len()
        ));
    }
    let at = found
        .iter()
        .zip(expected)
        .position(|(one, other)| one != other)?;
    Some(format!(
        "byte {at} is {:#x} instead of {:#x}",
        found[at], expected[at]
    ))
}

/// A queue of asynchronous writes over written blocks and holes, then of reads.
fn aio(env: &Env) -> Result<()> {
    const DEPTH: usize = 16;
    let block = env.block();
    let mounted = env.mount("")?;
    let mut expected = written(env, "file", 32 * block as usize)?;
    expected.resize(64 * block as usize, 0);
    let file = open_direct(env.path("file"))?;
    file.set_len(64 * block)?;
    let mut context = Aio::new(DEPTH, block as usize)?;
    for round in 0..4_u64 {
        for slot in 0..DEPTH {
            let number = round * DEPTH as u64 + slot as u64;
            let buffer = context.buffer(slot).context("the slot is busy")?;
            stamp(buffer, number + 1000);
            let start = (number * block) as usize;
            expected[start..start + block as usize].copy_from_slice(buffer);
            context.write(slot, &file, number * block)?;
        }
        for done in context.wait(DEPTH)? {
            ensure!(
                done.result == block as i64,
                "a write returned {}",
                done.result
            );
        }
    }
    if let Some(wrong) = difference(&fs::read(env.path("file"))?, &expected) {
        bail!("after all writes: {wrong}");
    }
    for slot in 0..DEPTH {
        context.read(slot, &file, slot as u64 * block)?;
    }
    for done in context.wait(DEPTH)? {
        ensure!(
            done.result == block as i64,
            "a read returned {}",
            done.result
        );
        let start = done.slot * block as usize;
        let buffer = context.buffer(done.slot).context("the slot is busy")?;
        ensure!(
            buffer[..] == expected[start..start + block as usize],
            "read {} has other data",
            done.slot
        );
    }
    drop(context);
    drop(file);
    mounted.end()
}

fn uring(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let mut expected = written(env, "file", 8 * block as usize)?;
    let file = open_direct(env.path("file"))?;
    file.set_len(16 * block)?;
    expected.resize(16 * block as usize, 0);
    // Overwrite, hole, both at once, extension.
    for (start, blocks) in [(2, 1), (12, 1), (7, 3), (16, 2)] {
        let data = stamped(blocks * block, start + 3);
        let result = sys::uring_write(&file, &data, start * block)?;
        ensure!(
            result as usize == data.len(),
            "the write at block {start} returned {result}"
        );
        let start = (start * block) as usize;
        if expected.len() < start + data.len() {
            expected.resize(start + data.len(), 0);
        }
        expected[start..start + data.len()].copy_from_slice(&data);
    }
    let mut back = Buffer::new(expected.len());
    let result = sys::uring_read(&file, &mut back, 0)?;
    ensure!(
        result as usize == expected.len(),
        "the read returned {result}"
    );
    if let Some(wrong) = difference(&back, &expected) {
        bail!("read by io_uring: {wrong}");
    }
    if let Some(wrong) = difference(&fs::read(env.path("file"))?, &expected) {
        bail!("read through the cache: {wrong}");
    }
    drop(file);
    mounted.end()
}

/// What may not wait says EAGAIN or does its work, and nothing in between.
fn nowait(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let mut expected = written(env, "file", 16 * block as usize)?;
    let direct = open_direct(env.path("file"))?;
    direct.set_len(32 * block)?;
    expected.resize(32 * block as usize, 0);
    let mut done = 0;
    for start in [0, 5, 15, 16, 20, 31] {
        let data = stamped(block, start + 70);
        match sys::pwrite_nowait(&direct, &data, start * block) {
            Ok(length) => {
                done += 1;
                expected[(start * block) as usize..][..length].copy_from_slice(&data[..length]);
            }
            Err(error) if would_block(&error) => {}
            Err(error) => bail!("a write at block {start}: {error}"),
        }
        // The same again, now with the mapping in memory for sure.
        let mut back = Buffer::new(block as usize);
        match sys::pread_nowait(&direct, &mut back, start * block) {
            Ok(length) => {
                let expected = &expected[(start * block) as usize..][..length];
                ensure!(
                    back[..length] == *expected,
                    "a read at block {start} shows other data"
                );
                done += 1;
            }
            Err(error) if would_block(&error) => {}
            Err(error) => bail!("a read at block {start}: {error}"),
        }
    }
    ensure!(
        done > 0,
        "everything said EAGAIN, even overwrites of mapped blocks"
    );
    let buffered = open_buffered(env.path("file"))?;
    let mut back = vec![0; expected.len()];
    match sys::pread_nowait(&buffered, &mut back, 0) {
        Ok(length) => ensure!(
            back[..length] == expected[..length],
            "a buffered read shows other data"
        ),
        Err(error) if would_block(&error) => {}
        Err(error) => bail!("a buffered read: {error}"),
    }
    if let Some(wrong) = difference(&fs::read(env.path("file"))?, &expected) {
        bail!("in the end: {wrong}");
    }
    drop(direct);
    drop(buffered);
    mounted.end()
}

/// A direct read is an access, also one that is queued.
fn access_time(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("strictatime")?;
    written(env, "file", 4 * block as usize)?;
    let path = env.path("file");
    let file = open_direct(&path)?;
    let mut aio = Aio::new(1, block as usize)?;
    let mut back = Buffer::new(block as usize);
    let ways: [(&str, &mut dyn FnMut() -> Result<()>); 3] = [
        (
            "by pread",
            &mut || Ok(file.read_exact_at(&mut back, block)?),
        ),
        ("by AIO", &mut || {
            aio.read(0, &file, block)?;
            ensure!(aio.wait(1)?[0].result == block as i64, "the read");
            Ok(())
        }),
        ("by io_uring", &mut || {
            let result = sys::uring_read(&file, &mut Buffer::new(block as usize), block)?;
            ensure!(result as u64 == block, "the read gave {result}");
            Ok(())
        }),
    ];
    for (what, read) in ways {
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        file.set_times(FileTimes::new().set_accessed(long_ago))?;
        read()?;
        let found = fs::metadata(&path)?.accessed()?;
        ensure!(found > long_ago, "read {what}: still {found:?}");
    }
    drop((aio, file));
    mounted.end()
}

/// What need not wait is done, at once; what would have to says EAGAIN and has changed nothing.
fn nowait_decides(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let path = env.path("file");
    let mut expected = written(env, "file", 4 * block as usize)?;
    let direct = open_direct(&path)?;
    direct.set_len(8 * block)?;
    expected.resize(8 * block as usize, 0);
    let data = stamped(block, 90);
    // The mapping is in memory after a read, and the time of the change is right for a tick after a write: a new one would
    // have the inode marked dirty, for which nobody waits.
    let mut back = Buffer::new(block as usize);
    direct.read_exact_at(&mut back, block)?;
    let mut tries = 0;
    let length = loop {
        direct.write_all_at(&data, block)?;
        match sys::pwrite_nowait(&direct, &data, block) {
            Ok(length) => break length,
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && tries < 100 => tries += 1,
            Err(error) => {
                bail!("an overwrite of a block that is there: {error}, after {tries} tries")
            }
        }
    };
    ensure!(length == data.len(), "{length} bytes were overwritten");
    expected[block as usize..2 * block as usize].copy_from_slice(&data);
    ensure!(
        sys::pread_nowait(&direct, &mut back, block)? == back.len(),
        "a read of what is there was short"
    );
    for (at, what) in [(8, "behind the end"), (100, "far behind the end")] {
        // In the tick of a write, so that it is not the time that somebody would have to wait for.
        for _ in 0..20 {
            direct.write_all_at(&data, block)?;
            fails(
                sys::pwrite_nowait(&direct, &data, at * block),
                libc::EAGAIN,
                what,
            )?;
        }
    }
    match sys::pwrite_nowait(&direct, &data, 5 * block) {
        Err(error) if would_block(&error) => {}
        other => bail!("a write into a hole: {other:?}"),
    }
    set(&path, "security.capability", &CAPABILITY)?;
    fails(
        sys::pwrite_nowait(&direct, &data, 2 * block),
        libc::EAGAIN,
        "capabilities to drop",
    )?;
    ensure!(
        get(&path, "security.capability")? == CAPABILITY,
        "they were dropped"
    );
    if let Some(wrong) = difference(&fs::read(&path)?, &expected) {
        bail!("in the end: {wrong}");
    }
    drop(direct);
    mounted.end()
}

/// What may not wait does not wait for a disk either: with nothing in memory, and a disk that does not answer.
fn nowait_cold(env: &Env) -> Result<()> {
    // The C driver reads indirect blocks here.
    env.only(Driver::Notblk)?;
    let block = env.block();
    let disk = Over::new(env, "dm_mod")?;
    let mounted = disk.mount("")?;
    // Behind the double indirect block.
    let at = (12 + block / 4 + 5) * block;
    let path = env.path("file");
    let data = stamped(block, 3);
    let file = open_direct(&path)?;
    file.write_all_at(&data, at)?;
    drop(file);
    mounted.end()?;
    let mounted = disk.mount("")?;
    let file = open_direct(&path)?;
    disk.suspend()?;
    let (told, tells) = std::sync::mpsc::channel();
    let asks = file.try_clone()?;
    let thread = thread::spawn(move || {
        let read = sys::pread_nowait(&asks, &mut Buffer::new(block as usize), at);
        let write = sys::pwrite_nowait(&asks, &stamped(block, 4), at);
        // Nobody listens any more where the test has failed.
        let _ = told.send((read, write));
    });
    let answers = tells.recv_timeout(Duration::from_secs(8));
    disk.resume()?;
    let _ = thread.join();
    let (read, write) = answers.context("they waited for the disk")?;
    fails(read, libc::EAGAIN, "a read")?;
    fails(write, libc::EAGAIN, "a write")?;
    let mut back = Buffer::new(block as usize);
    file.read_exact_at(&mut back, at)?;
    ensure!(back[..] == data[..], "other data");
    drop(file);
    mounted.end()
}

/// A direct read sees what was stored by mmap into a hole; and a mapping that somebody has keeps nobody from reading without a wait.
fn mapped(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let file = open_buffered(env.path("file"))?;
    file.set_len(4 * block)?;
    let mapping = Mapping::new(&file, 4 * block as usize)?;
    let direct = open_direct(env.path("file"))?;
    let mut back = Buffer::new(block as usize);
    for number in 0..4 {
        let data = stamped(block, number + 7);
        mapping.write((number * block) as usize, &data);
        direct.read_exact_at(&mut back, number * block)?;
        ensure!(
            back[..] == data[..],
            "block {number} is not what was stored"
        );
        let length = sys::pread_nowait(&direct, &mut back, number * block)
            .with_context(|| format!("block {number}, written and mapped"))?;
        ensure!(length == back.len(), "{length} bytes of block {number}");
    }
    drop((mapping, file, direct));
    mounted.end()
}

fn would_block(error: &io::Error) -> bool {
    // EOPNOTSUPP is the honest answer of a file that cannot do it at all.
    matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EOPNOTSUPP))
}

/// Direct and buffered writers in turn: each reader sees the last of them.
fn mixed(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let direct = open_direct(env.path("file"))?;
    let buffered = open_buffered(env.path("file"))?;
    direct.set_len(8 * block)?;
    for round in 1..40_u64 {
        let offset = round % 8 * block;
        let data = stamped(block, round);
        let (writer, reader) = if round % 2 == 0 {
            (&direct, &buffered)
        } else {
            (&buffered, &direct)
        };
        writer.write_all_at(&data, offset)?;
        let mut back = Buffer::new(block as usize);
        reader.read_exact_at(&mut back, offset)?;
        ensure!(
            back[..] == data[..],
            "round {round}: the other way shows old data"
        );
    }
    buffered.sync_all()?;
    drop(direct);
    drop(buffered);
    mounted.end()
}
