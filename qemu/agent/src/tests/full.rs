// SPDX-License-Identifier: GPL-2.0
//! A full disk: ENOSPC from every kind of write, nothing lost, and the space comes back.

use super::env::{errno, fails, Env};
use super::{test, Test};
use crate::buf::Buffer;
use crate::fs::{open_buffered, open_direct, MNT};
use crate::sys::Mapping;
use anyhow::{bail, ensure, Context, Result};
use rustix::fs::{seek, SeekFrom};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (size, mib) in [(1024, 16), (4096, 16), (65536, 64)] {
        let name = |what: &str| format!("full/{what}-{}k", size / 1024);
        tests.push(test(&name("blocks"), blocks).block(size).mib(mib));
        tests.push(test(&name("inodes"), inodes).block(size).mib(mib));
        tests.push(test(&name("mmap"), mmap).block(size).mib(mib));
    }
    tests
}

/// Writes pieces until there is no more room; returns the bytes that were taken.
fn fill(file: &File, piece: &[u8]) -> Result<u64> {
    let mut offset = 0;
    loop {
        match file.write_at(piece, offset) {
            Ok(0) => bail!("a write of {} bytes returned 0", piece.len()),
            Ok(length) => offset += length as u64,
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => return Ok(offset),
            Err(error) => return Err(error).context("filling the disk"),
        }
        ensure!(offset < 1 << 30, "the disk is never full");
    }
}

fn blocks(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let stat = || rustix::fs::statvfs(env.path("").as_path());
    let before = stat()?;
    fs::create_dir(env.path("dir"))?;
    fs::write(env.path("dir/witness"), b"here")?;

    // Through the cache, with sizes that leave remainders.
    let buffered = open_buffered(env.path("dir/buffered"))?;
    let taken = fill(&buffered, &vec![0x5a; 100_000])?;
    fill(&open_buffered(env.path("dir/rest"))?, &[0x5a; 1])?;
    buffered.sync_all().context("fsync of a full disk")?;
    let after = stat()?;
    ensure!(
        after.f_bfree == 0,
        "{} blocks are free on a full disk",
        after.f_bfree
    );
    ensure!(taken > 8 << 20, "full after {taken} bytes");

    // Nothing more goes in.
    let direct = open_direct(env.path("dir/direct"))?;
    fails(
        direct.write_at(&Buffer::new(8192), 0),
        libc::ENOSPC,
        "a direct write behind the end",
    )?;
    direct.set_len(1 << 20)?;
    fails(
        direct.write_at(&Buffer::new(8192), 0),
        libc::ENOSPC,
        "a direct write into a hole",
    )?;
    fails(fs::create_dir(env.path("dir/sub")), libc::ENOSPC, "mkdir")?;
    ensure!(
        fs::read(env.path("dir/witness"))? == b"here",
        "other contents on a full disk"
    );

    // Overwriting needs no room.
    buffered.write_all_at(b"over", 5000)?;
    buffered.sync_all()?;
    let mut data = [0; 4];
    buffered.read_exact_at(&mut data, 5000)?;
    ensure!(&data == b"over", "an overwrite on a full disk is lost");

    // A direct write takes what there is, or says ENOSPC, and does not corrupt.
    buffered.set_len(taken - 10 * env.block())?;
    let _ = direct.write_at(&Buffer::new(64 << 10), 0);
    drop((buffered, direct));
    fs::remove_dir_all(env.path("dir"))?;
    rustix::fs::sync();
    let after = stat()?;
    ensure!(
        after.f_bfree == before.f_bfree,
        "{} blocks free before, {} after",
        before.f_bfree,
        after.f_bfree
    );
    mounted.end()
}

fn inodes(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let stat = || rustix::fs::statvfs(env.path("").as_path());
    let before = stat()?;
    fs::create_dir(env.path("dir"))?;
    let mut made = 0;
    let error = loop {
        match File::create(env.path(format!("dir/{made}"))) {
            Ok(_) => made += 1,
            Err(error) => break error,
        }
        ensure!(made < 1 << 20, "inodes never run out");
    };
    ensure!(
        error.raw_os_error() == Some(libc::ENOSPC),
        "out of inodes: {error}"
    );
    ensure!(
        made + 1 == before.f_ffree,
        "{made} files from {} inodes",
        before.f_ffree
    );
    fails(
        fs::create_dir(env.path("sub")),
        libc::ENOSPC,
        "mkdir without inodes",
    )?;
    fs::remove_dir_all(env.path("dir"))?;
    rustix::fs::sync();
    let after = stat()?;
    ensure!(
        after.f_ffree == before.f_ffree,
        "{} inodes free before, {} after",
        before.f_ffree,
        after.f_ffree
    );
    mounted.end()
}

/// Bytes of a page.
const PAGE: usize = 4096;
/// Pages of the file that [`mmap`] maps, more than there is room for.
const PAGES: usize = 256;

/// What page `n` of it shall hold.
fn page(n: usize) -> [u8; PAGE] {
    [n as u8 | 1; PAGE]
}

/// Fills the disk with a file, and lets go of its end again: so many bytes are free then, to a block or two.
fn leave(env: &Env, free: u64) -> Result<()> {
    let ballast = open_buffered(env.path("ballast"))?;
    let taken = fill(&ballast, &vec![0x5a; 100_000])?;
    let rest = open_buffered(env.path("rest"))?;
    fill(&rest, &[0x5a; 1])?;
    ballast.sync_all()?;
    rest.sync_all()?;
    ballast.set_len(taken - free)?;
    rustix::fs::sync();
    Ok(())
}

/// A mapped file, page by page, until the disk is full: who touches the first page that cannot be had is told so, then and there.
/// What was had before stays, and nothing is behind it.
fn mmap(env: &Env) -> Result<()> {
    let free = || -> Result<u64> { Ok(rustix::fs::statvfs(MNT)?.f_bfree * env.block()) };
    let mounted = env.mount("")?;
    let source = open_buffered(env.path("source"))?;
    source.write_all_at(&(0..PAGES).flat_map(page).collect::<Vec<u8>>(), 0)?;
    source.sync_all()?;
    let room = (40 * PAGE as u64).max(6 * env.block());
    leave(env, room)?;
    let before = free()?;
    ensure!(
        (room..room + 3 * env.block()).contains(&before),
        "{before} bytes are free, should be {room}"
    );
    let sparse = open_buffered(env.path("sparse"))?;
    sparse.set_len((PAGES * PAGE) as u64)?;
    let mapping = Mapping::new(&sparse, PAGES * PAGE)?;
    // The kernel touches a page for us: a fault that fails is an errno then, and no signal.
    let touch = |n: usize| mapping.fill_from(&source, (n * PAGE) as u64, n * PAGE, PAGE);
    let mut had = 0;
    let error = loop {
        ensure!(had < PAGES, "all pages can be had");
        match touch(had) {
            Ok(PAGE) => had += 1,
            other => break other,
        }
    };
    fails(error, libc::EFAULT, &format!("page {had}"))?;
    fails(touch(had), libc::EFAULT, "the same page again")?;
    let after = free()?;
    env.note(format!(
        "{had} pages of {PAGE} in {before} bytes, {after} are left"
    ));
    // But for the indirect block.
    ensure!(
        (had * PAGE) as u64 + env.block() + after.max(PAGE as u64) >= before,
        "{had} pages only, of {before} bytes that were free"
    );
    let least = env.block().max(PAGE as u64);
    ensure!(
        after < least,
        "{after} bytes are free, a page needs {least}"
    );
    mapping.sync().context("msync")?;
    sparse
        .sync_all()
        .context("fsync after a fault that failed")?;
    drop((mapping, sparse, source));
    mounted.end()?;

    let mounted = env.mount("")?;
    let sparse = open_buffered(env.path("sparse"))?;
    let mut found = vec![1; PAGES * PAGE];
    sparse.read_exact_at(&mut found, 0)?;
    let expected = (0..PAGES).flat_map(|n| if n < had { page(n) } else { [0; PAGE] });
    if let Some(at) = found
        .iter()
        .zip(expected)
        .position(|(&one, other)| one != other)
    {
        bail!("of {had} pages page {} is another", at / PAGE);
    }
    let behind = ((had + 1) * PAGE) as u64;
    fails(
        errno(seek(&sparse, SeekFrom::Data(behind))),
        libc::ENXIO,
        "data behind the page that could not be had",
    )?;
    drop(sparse);
    mounted.end()
}
