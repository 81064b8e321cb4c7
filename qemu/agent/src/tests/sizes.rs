// SPDX-License-Identifier: GPL-2.0
//! The largest file, and the largest block, and what hangs on them.

use super::env::{fails, Env};
use super::{for_blocks, Test};
use crate::buf::{Buffer, Random};
use crate::fs::{self, open_buffered, open_direct, tool, DISK, MNT};
use anyhow::{ensure, Context, Result};
use std::fs as file;
use std::os::unix::fs::{FileExt, MetadataExt};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let sizes = [1024, 2048, 4096, 8192, 16384, 32768, 65536];
    let mut tests = for_blocks(&sizes, "sizes/file-size", file_size);
    tests.extend(for_blocks(
        &[1024, 4096, 16384, 65536],
        "sizes/symlink",
        symlink,
    ));
    tests.extend(for_blocks(&sizes, "sizes/statfs", statfs));
    tests.extend(for_blocks(
        &[1024, 4096, 16384, 65536],
        "sizes/cut-dirty",
        cut_dirty,
    ));
    tests
}

/// The largest file of a filesystem without `huge_file`: what the block map reaches, or what `i_blocks` can count, all blocks of
/// the map included. As `ext4_max_bitmap_size` has it.
fn largest(block: u64) -> u64 {
    let pointers = block / 4;
    let up = |blocks: u64, by: u64| blocks.div_ceil(by);
    let sectors = u64::from(u32::MAX) / (block / 512);
    let mapped = 12 + pointers + pointers.pow(2) + pointers.pow(3);
    let map = 1 + (1 + pointers) + (1 + pointers + pointers.pow(2));
    if mapped + map <= sectors {
        return mapped * block;
    }
    let rest = sectors - 12 - pointers;
    let map = if rest < pointers.pow(2) {
        1 + 1 + up(rest, pointers)
    } else {
        let rest = rest - pointers.pow(2);
        1 + (1 + pointers) + 1 + up(rest, pointers) + up(rest, pointers.pow(2))
    };
    (sectors - map) * block
}

/// The last byte of the largest file can be written, and no byte behind it, in whatever way. The same image for every driver.
fn file_size(env: &Env) -> Result<()> {
    let (block, mib) = (env.block().to_string(), format!("{}M", env.image.mib));
    let make = ["-q", "-F", "-t", "ext2", "-b", &block, DISK, &mib];
    tool("mke2fs", &make)?;
    let max = largest(env.block());
    let mounted = env.mount("")?;
    let path = env.path("file");
    let free = || -> Result<u64> { Ok(rustix::fs::statvfs(MNT)?.f_bfree) };
    let before = free()?;
    let handle = open_buffered(&path)?;
    fails(
        handle.write_at(b"x", max),
        libc::EFBIG,
        "a write at the limit",
    )?;
    fails(
        handle.set_len(max + 1),
        libc::EFBIG,
        "a size past the limit",
    )?;
    ensure!(handle.metadata()?.len() == 0, "a refused size took effect");
    handle
        .write_all_at(b"start", 0)
        .context("write the first block")?;
    let count = handle.write_at(b"xyz", max - 1)?;
    ensure!(count == 1, "{count} bytes were written across the limit");
    ensure!(handle.metadata()?.len() == max, "size is not {max}");
    // Past the page cache: the block before the last is a hole, the last is not.
    let direct = open_direct(&path)?;
    let mut data = Buffer::new(env.block() as usize);
    data.fill(0x5a);
    let last = max - env.block();
    for place in [last - env.block(), last] {
        direct
            .write_all_at(&data, place)
            .with_context(|| format!("a direct write at {place}"))?;
    }
    fails(
        direct.write_at(&data, max),
        libc::EFBIG,
        "a direct write at the limit",
    )?;
    handle.set_len(max)?;
    handle.sync_all()?;
    drop((handle, direct));
    mounted.end()?;
    if let Some(complaint) = fs::check(DISK)? {
        anyhow::bail!("{complaint}");
    }

    let mounted = env.mount("")?;
    let handle = open_buffered(&path)?;
    ensure!(handle.metadata()?.len() == max, "the size is lost");
    let mut back = vec![0; 3 * env.block() as usize];
    let start = last - 2 * env.block();
    handle.read_exact_at(&mut back, start)?;
    let (hole, rest) = back.split_at(env.block() as usize);
    ensure!(hole.iter().all(|&byte| byte == 0), "no hole before the end");
    ensure!(rest.iter().all(|&byte| byte == 0x5a), "the end is lost");
    ensure!(handle.read_at(&mut back, max)? == 0, "data past the limit");
    drop(handle);
    file::remove_file(&path)?;
    rustix::fs::sync();
    ensure!(free()? == before, "blocks are lost");
    mounted.end()
}

/// A target that takes a block of its own is read, with a cold cache and again.
fn symlink(env: &Env) -> Result<()> {
    for length in [60, 61, 1000] {
        let target = "t".repeat(length);
        let command = format!("symlink /link-{length} {target}");
        tool("debugfs", &["-w", "-R", &command, DISK])?;
    }
    let mounted = env.mount("")?;
    for length in [60, 61, 1000, 1000] {
        let target = file::read_link(env.path(format!("link-{length}")))?;
        ensure!(
            target.as_os_str() == "t".repeat(length).as_str(),
            "a target of {length} bytes reads as {} bytes",
            target.as_os_str().len()
        );
    }
    file::remove_file(env.path("link-1000"))?;
    mounted.end()
}

/// Sizes as the system calls tell them.
fn statfs(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let stat = rustix::fs::statvfs(MNT)?;
    ensure!(stat.f_bsize == env.block(), "f_bsize {}", stat.f_bsize);
    ensure!(stat.f_frsize == env.block(), "f_frsize {}", stat.f_frsize);
    ensure!(
        stat.f_blocks <= (u64::from(env.image.mib) << 20) / env.block(),
        "more blocks than there are"
    );
    file::write(env.path("file"), b"x")?;
    let meta = file::metadata(env.path("file"))?;
    ensure!(
        meta.blksize() == env.block(),
        "st_blksize {}",
        meta.blksize()
    );
    rustix::fs::sync();
    let meta = file::metadata(env.path("file"))?;
    ensure!(
        meta.blocks() == env.block() / 512,
        "{} sectors for one block",
        meta.blocks()
    );
    mounted.end()
}

/// A file that is cut within a block while all of it is dirty, in folios as large as they come: what is before the cut stays, and
/// what is behind it is gone.
fn cut_dirty(env: &Env) -> Result<()> {
    const FILES: u64 = 8;
    let block = env.block();
    let mut expected = vec![0; (40 * block) as usize];
    Random(env.seed).fill(&mut expected);
    let path = |n: u64| env.path(format!("file{n}"));
    let cut = |n: u64| ((5 * n + 2) * block + block / 3) as usize;
    let is_cut = |n: u64, when: &str| -> Result<()> {
        let found = file::read(path(n))?;
        ensure!(
            found.len() == expected.len(),
            "{when}: {} bytes",
            found.len()
        );
        let (kept, gone) = found.split_at(cut(n));
        let wrong = kept
            .iter()
            .zip(&expected)
            .position(|(one, other)| one != other);
        ensure!(
            wrong.is_none(),
            "{when}: cut at {}, byte {wrong:?} is lost",
            cut(n)
        );
        let wrong = gone.iter().position(|&byte| byte != 0);
        ensure!(
            wrong.is_none(),
            "{when}: byte {wrong:?} behind the cut is back"
        );
        Ok(())
    };
    let mounted = env.mount("")?;
    for n in 0..FILES {
        let handle = open_buffered(path(n))?;
        handle.write_all_at(&expected, 0)?;
        handle.set_len(cut(n) as u64)?;
        handle.set_len(expected.len() as u64)?;
        is_cut(n, "at once")?;
    }
    mounted.end()?;
    let mounted = env.mount("")?;
    for n in 0..FILES {
        is_cut(n, "after a new mount")?;
    }
    mounted.end()
}
