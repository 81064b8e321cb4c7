// SPDX-License-Identifier: GPL-2.0
//! Where blocks go, and whether the counts of what is free stay right.

use super::env::Env;
use super::{for_blocks, test, Test};
use crate::buf::Buffer;
use crate::fs::{open_buffered, open_direct, tool, DISK};
use anyhow::{ensure, Context, Result};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::Barrier;
use std::thread;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = for_blocks(
        &[1024, 4096],
        "alloc/interleaved-buffered",
        interleaved_buffered,
    );
    tests.extend(for_blocks(
        &[1024, 4096],
        "alloc/interleaved-direct",
        interleaved_direct,
    ));
    tests.push(test("alloc/closed-window", closed_window).block(1024));
    for size in [1024, 4096] {
        let name = format!("alloc/full-by-many-{}k", size / 1024);
        tests.push(test(&name, full_by_many).block(size).mib(16));
    }
    tests
}

/// Files that grow at the same time.
const WRITERS: usize = 4;
/// Bytes that each grows by.
const PIECE: usize = 8192;
/// Bytes that each has in the end.
const LENGTH: usize = 4 << 20;
/// In so many places such a file may lie. Piece by piece it would be 512.
const EXTENTS: usize = 16;

fn interleaved_buffered(env: &Env) -> Result<()> {
    interleaved(env, open_buffered)
}

fn interleaved_direct(env: &Env) -> Result<()> {
    interleaved(env, open_direct)
}

fn interleaved(env: &Env, open: impl Fn(std::path::PathBuf) -> Result<File>) -> Result<()> {
    let mounted = env.mount("")?;
    // Sixteen inodes apart: what the allocator has to tell inodes apart by without windows is the same for all.
    let mut names = Vec::new();
    for n in 0..WRITERS * 16 {
        let name = format!("file{n}");
        File::create(env.path(&name))?;
        if n % 16 == 0 {
            names.push(name);
        }
    }
    let files = names
        .iter()
        .map(|name| open(env.path(name)))
        .collect::<Result<Vec<_>>>()?;
    let mut buffer = Buffer::new(PIECE);
    for offset in (0..LENGTH).step_by(PIECE) {
        for (n, file) in files.iter().enumerate() {
            buffer.fill(n as u8 + 1);
            file.write_all_at(&buffer, offset as u64)?;
        }
    }
    for file in files {
        file.sync_all()?;
    }
    for (n, name) in names.iter().enumerate() {
        let data = fs::read(env.path(name))?;
        ensure!(
            data.len() == LENGTH && data.iter().all(|&byte| byte == n as u8 + 1),
            "{name} has other contents"
        );
    }
    mounted.end()?;
    let mut counts = Vec::new();
    for name in &names {
        counts.push(extents(name)?);
    }
    env.note(format!("{WRITERS} files, extents: {counts:?}"));
    ensure!(
        counts.iter().all(|&count| count <= EXTENTS),
        "files of {} KiB in {counts:?} extents",
        LENGTH >> 10
    );
    Ok(())
}

/// In how many places a file of an unmounted filesystem lies, indirect blocks among its data not counted.
fn extents(name: &str) -> Result<usize> {
    // "(0-11):1050-1061, (IND):1062, (12-267):1063-1318, ..."
    let text = tool("debugfs", &["-R", &format!("stat /{name}"), DISK])?;
    let mut count = 0;
    let mut next = None;
    for word in text.split([' ', '\n', ',']) {
        let Some((place, blocks)) = word.split_once("):") else {
            continue;
        };
        if !place.starts_with('(') || place.contains("IND") {
            continue;
        }
        let (first, last) = blocks.split_once('-').unwrap_or((blocks, blocks));
        let parse = |word: &str| {
            word.parse::<u64>()
                .with_context(|| format!("debugfs: {word:?}"))
        };
        let (first, last) = (parse(first)?, parse(last)?);
        if next.is_none_or(|next| !(next..=next + 3).contains(&first)) {
            count += 1;
        }
        next = Some(last + 1);
    }
    ensure!(count > 0, "{name} has no blocks: {text}");
    Ok(count)
}

/// What was kept for a file is not kept when it is closed: the next one lies right behind it.
fn closed_window(env: &Env) -> Result<()> {
    env.only(notblk_protocol::Driver::Notblk)?;
    let mounted = env.mount("")?;
    fs::create_dir(env.path("dir"))?;
    // As many inodes as there are places to begin at, so that the first and the last begin at the same.
    let mut names = Vec::new();
    for n in 0..17 {
        let name = format!("dir/file{n}");
        fs::write(env.path(&name), b"")?;
        names.push(name);
    }
    let pair = [&names[0], &names[16]];
    for name in pair {
        fs::write(env.path(name), [1; 4096])?;
    }
    mounted.end()?;
    let mut places = Vec::new();
    for name in pair {
        let text = tool("debugfs", &["-R", &format!("bmap /{name} 0"), DISK])?;
        let block = text
            .lines()
            .find_map(|line| line.trim().parse::<u64>().ok());
        places.push(block.with_context(|| format!("debugfs: {text:?}"))?);
    }
    ensure!(
        places[1] == places[0] + 4,
        "the second file does not follow the first: blocks {places:?}"
    );
    Ok(())
}

/// Many writers fill the disk at the same time: nothing is lost, and the counts are right.
fn full_by_many(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let stat = || rustix::fs::statvfs(env.path("").as_path());
    let empty = stat()?.f_bfree;
    fs::create_dir(env.path("dir"))?;
    let barrier = Barrier::new(2 * WRITERS);
    let wrote = thread::scope(|scope| {
        let threads: Vec<_> = (0..2 * WRITERS)
            .map(|n| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let path = env_path(n);
                    let file = if n % 2 == 0 {
                        open_buffered(path)?
                    } else {
                        open_direct(path)?
                    };
                    let mut buffer = Buffer::new(4 * PIECE);
                    buffer.fill(n as u8 + 1);
                    barrier.wait();
                    let mut offset = 0;
                    loop {
                        match file.write_at(&buffer, offset) {
                            Ok(count) => offset += count as u64,
                            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => break,
                            Err(error) => return Err(error.into()),
                        }
                        if offset % 4096 != 0 {
                            break;
                        }
                    }
                    Ok(offset)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| match thread.join() {
                Ok(result) => result,
                Err(_) => anyhow::bail!("a writer panicked"),
            })
            .collect::<Result<Vec<u64>>>()
    })?;
    for (n, &length) in wrote.iter().enumerate() {
        let data = fs::read(env_path(n))?;
        ensure!(
            data.len() as u64 == length && data.iter().all(|&byte| byte == n as u8 + 1),
            "file {n} of {length} bytes has {} or other contents",
            data.len()
        );
    }
    rustix::fs::sync();
    let full = stat()?.f_bfree;
    mounted.end()?;
    let counted = free_blocks()?;
    ensure!(
        counted == full,
        "statfs said {full} blocks are free, the groups {counted}"
    );
    if let Some(complaint) = crate::fs::check(DISK)? {
        anyhow::bail!("full: {complaint}");
    }

    let mounted = env.mount("")?;
    fs::remove_dir_all(env.path("dir"))?;
    rustix::fs::sync();
    let after = stat()?.f_bfree;
    ensure!(after == empty, "{empty} blocks free before, {after} after");
    mounted.end()
}

fn env_path(n: usize) -> std::path::PathBuf {
    std::path::Path::new(crate::fs::MNT).join(format!("dir/{n}"))
}

/// What the group descriptors of an unmounted filesystem say together.
fn free_blocks() -> Result<u64> {
    let text = tool("dumpe2fs", &[DISK])?;
    let counts = text.lines().filter_map(|line| {
        // "  7678 free blocks, 2037 free inodes, 2 directories"
        let (count, _) = line.split_once(" free blocks,")?;
        count.trim().parse::<u64>().ok()
    });
    Ok(counts.sum())
}
