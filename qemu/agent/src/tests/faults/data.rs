// SPDX-License-Identifier: GPL-2.0
//! Calls about contents: through the page cache, past it, and from one to the other.

use super::{each, each_mounted, Case, Entry, Env, Kind, Reads};
use crate::buf::{Buffer, Random};
use crate::fs::{open_buffered, open_direct};
use crate::sys::{Aio, Mapping};
use crate::tests::direct::difference;
use anyhow::{bail, ensure, Result};
use std::cell::RefCell;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

/// A file that is always there.
const FILE: &str = "/mnt/file";
/// One that a test makes.
const NEW: &str = "/mnt/new";
/// Its length: more blocks than an inode has pointers to.
const LENGTH: usize = 20 * BLOCK;
/// Bytes of a block of these filesystems.
const BLOCK: usize = 4096;

/// The cases of this file.
pub fn cases() -> Vec<Entry> {
    vec![
        ("read", Reads::Only, read),
        ("write", Reads::Only, write),
        ("write-in-block", Reads::Only, write_in_block),
        ("fsync", Reads::AndWrites, fsync),
        ("mmap", Reads::AndWrites, mmap),
        ("direct-read", Reads::Only, direct_read),
        ("direct-write", Reads::AndWrites, direct_write),
        ("direct-extend", Reads::AndWrites, direct_extend),
        ("direct-aio", Reads::AndWrites, direct_aio),
        ("fallback", Reads::AndWrites, fallback),
        ("fallback-of-a-part", Reads::AndWrites, fallback_of_a_part),
        ("truncate-up", Reads::Only, truncate_up),
        // An indirect block that cannot be read has blocks below it that are lost.
        ("truncate-down", Reads::AndWrites, truncate_down),
    ]
}

/// What files hold here.
fn pattern() -> Buffer {
    let mut data = Buffer::new(LENGTH);
    Random(4711).fill(&mut data);
    data
}

/// Makes [`FILE`].
fn furnish(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    fs::write(FILE, &pattern()[..])?;
    mounted.end()
}

/// All of it was done, or `errno` kept it from being done.
fn whole(count: io::Result<usize>, length: usize, kind: Kind) -> io::Result<()> {
    match count? {
        count if count == length => Ok(()),
        _ => Err(io::Error::from_raw_os_error(kind.errno())),
    }
}

/// Asks that a file holds this, on the disk.
fn holds(path: &str, expected: &[u8]) -> Result<()> {
    let file = open_direct(path)?;
    let mut data = Buffer::new(expected.len().next_multiple_of(BLOCK));
    let length = file.read_at(&mut data, 0)?;
    match difference(&data[..length], expected) {
        Some(difference) => bail!("{path}: {difference}"),
        None => Ok(()),
    }
}

/// As [`holds`], of [`NEW`], which goes then.
fn held(expected: &[u8]) -> Result<()> {
    holds(NEW, expected)?;
    Ok(fs::remove_file(NEW)?)
}

fn read_by(env: &Env, kind: Kind, open: fn(&str) -> Result<File>) -> Result<()> {
    furnish(env)?;
    let expected = pattern();
    each_mounted(
        env,
        kind,
        &|| {
            // Not zero, so that the memory has been touched.
            let mut buffer = Buffer::new(LENGTH);
            buffer.fill(1);
            Ok((open(FILE)?, RefCell::new(buffer)))
        },
        &|(file, buffer)| whole(file.read_at(&mut buffer.borrow_mut(), 0), LENGTH, kind),
        &|(_, buffer)| match difference(&buffer.borrow(), &expected) {
            Some(difference) => bail!("{difference}"),
            None => Ok(()),
        },
    )
}

fn read(env: &Env, kind: Kind) -> Result<()> {
    read_by(env, kind, |path| open_buffered(path))
}

fn direct_read(env: &Env, kind: Kind) -> Result<()> {
    read_by(env, kind, |path| open_direct(path))
}

/// Into a new file.
fn write(env: &Env, kind: Kind) -> Result<()> {
    let data = pattern();
    each_mounted(
        env,
        kind,
        &|| open_buffered(NEW),
        &|file| whole(file.write_at(&data, 0), LENGTH, kind),
        &|file| {
            drop(file);
            held(&data)
        },
    )
}

/// A part of a block, of which the rest must be read.
fn write_in_block(env: &Env, kind: Kind) -> Result<()> {
    furnish(env)?;
    let mut expected = pattern();
    expected[5000..5100].fill(0x77);
    each_mounted(
        env,
        kind,
        &|| open_buffered(FILE),
        &|file| whole(file.write_at(&[0x77; 100], 5000), 100, kind),
        &|file| {
            drop(file);
            holds(FILE, &expected)
        },
    )
}

/// Write-back, in the task that waits for it.
fn fsync(env: &Env, kind: Kind) -> Result<()> {
    let data = pattern();
    each_mounted(
        env,
        kind,
        &|| {
            let file = open_buffered(NEW)?;
            file.write_all_at(&data, 0)?;
            Ok(file)
        },
        &|file| file.sync_all(),
        &|file| {
            drop(file);
            held(&data)
        },
    )
}

/// A page of a hole becomes writable. Who stores into it has nobody to answer to: the kernel tries again.
fn mmap(env: &Env, kind: Kind) -> Result<()> {
    let mut expected = vec![0; LENGTH];
    expected[20_000..20_007].copy_from_slice(b"by mmap");
    each_mounted(
        env,
        kind,
        &|| {
            let file = open_buffered(NEW)?;
            file.set_len(LENGTH as u64)?;
            Ok(Mapping::new(&file, LENGTH)?)
        },
        &|mapping| {
            mapping.write(20_000, b"by mmap");
            Ok(())
        },
        &|mapping| {
            drop(mapping);
            held(&expected)
        },
    )
}

fn direct_write(env: &Env, kind: Kind) -> Result<()> {
    furnish(env)?;
    let mut data = pattern();
    data.reverse();
    each_mounted(
        env,
        kind,
        &|| open_direct(FILE),
        &|file| whole(file.write_at(&data, 0), LENGTH, kind),
        &|file| {
            drop(file);
            holds(FILE, &data)
        },
    )
}

fn direct_extend(env: &Env, kind: Kind) -> Result<()> {
    let data = pattern();
    each_mounted(
        env,
        kind,
        &|| open_direct(NEW),
        &|file| whole(file.write_at(&data, 0), LENGTH, kind),
        &|file| {
            drop(file);
            held(&data)
        },
    )
}

/// The first asynchronous write since the mount.
fn direct_aio(env: &Env, kind: Kind) -> Result<()> {
    furnish(env)?;
    let mut data = pattern();
    data.reverse();
    let again = |error: io::Error| match error.raw_os_error() {
        // What AIO itself says where it has no memory for a request.
        Some(libc::EAGAIN) => io::Error::from_raw_os_error(kind.errno()),
        _ => error,
    };
    each_mounted(
        env,
        kind,
        &|| {
            let mut context = Aio::new(1, LENGTH)?;
            if let Some(buffer) = context.buffer(0) {
                buffer.copy_from_slice(&data);
            }
            Ok((open_direct(FILE)?, RefCell::new(context)))
        },
        &|(file, context)| {
            let mut context = context.borrow_mut();
            context.write(0, file, 0).map_err(again)?;
            for done in context.wait(1)? {
                let count = usize::try_from(done.result)
                    .map_err(|_| io::Error::from_raw_os_error(-done.result as i32));
                whole(count, LENGTH, kind)?;
            }
            Ok(())
        },
        &|(file, context)| {
            drop((file, context));
            holds(FILE, &data)
        },
    )
}

/// A direct write of two blocks at this one, in a file that has its first blocks and is a hole from there on.
fn fallback_at(env: &Env, kind: Kind, written: usize, at: usize) -> Result<()> {
    let data = pattern();
    let part = Buffer::from(&data[at * BLOCK..(at + 2) * BLOCK]);
    let mut expected = vec![0; LENGTH];
    expected[..written * BLOCK].copy_from_slice(&data[..written * BLOCK]);
    expected[at * BLOCK..(at + 2) * BLOCK].copy_from_slice(&part);
    each_mounted(
        env,
        kind,
        &|| {
            let file = open_direct(NEW)?;
            file.write_all_at(&data[..written * BLOCK], 0)?;
            file.set_len(LENGTH as u64)?;
            let fallbacks = env.counter("fallbacks")?;
            ensure!(fallbacks == 0, "{fallbacks} fallbacks before the first");
            Ok(file)
        },
        &|file| whole(file.write_at(&part, (at * BLOCK) as u64), part.len(), kind),
        &|file| {
            drop(file);
            ensure!(env.counter("fallbacks")? > 0, "it did not fall back");
            held(&expected)
        },
    )
}

fn fallback(env: &Env, kind: Kind) -> Result<()> {
    fallback_at(env, kind, 1, 15)
}

/// Its first block is written, its second is a hole.
fn fallback_of_a_part(env: &Env, kind: Kind) -> Result<()> {
    fallback_at(env, kind, 4, 3)
}

/// From the middle of a block.
fn truncate_up(env: &Env, kind: Kind) -> Result<()> {
    const SHORT: usize = 5000;
    let mut expected = vec![0; LENGTH];
    expected[..SHORT].copy_from_slice(&pattern()[..SHORT]);
    let mounted = env.mount("")?;
    fs::write(FILE, &expected[..SHORT])?;
    mounted.end()?;
    each_mounted(
        env,
        kind,
        &|| open_buffered(FILE),
        &|file| file.set_len(LENGTH as u64),
        &|file| {
            holds(FILE, &expected)?;
            Ok(file.set_len(SHORT as u64)?)
        },
    )
}

/// Into the middle of a block, with an indirect block to be freed.
fn truncate_down(env: &Env, kind: Kind) -> Result<()> {
    const SHORT: usize = 5000;
    let data = pattern();
    let case = Case {
        before: &|| {
            let mounted = env.mount("")?;
            fs::write(NEW, &data[..])?;
            mounted.end()?;
            let mounted = env.mount("")?;
            Ok((open_buffered(NEW)?, mounted))
        },
        call: &|(file, _)| file.set_len(SHORT as u64),
        after: &|(file, mounted)| {
            drop(file);
            held(&data[..SHORT])?;
            mounted.end()
        },
    };
    each(env, kind, &case)
}
