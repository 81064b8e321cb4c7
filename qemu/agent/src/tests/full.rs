// SPDX-License-Identifier: GPL-2.0
//! A full disk: ENOSPC from every kind of write, nothing lost, and the space comes back.

use super::env::{fails, Env};
use super::{test, Test};
use crate::buf::Buffer;
use crate::fs::{open_buffered, open_direct};
use anyhow::{bail, ensure, Context, Result};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (size, mib) in [(1024, 16), (4096, 16), (65536, 64)] {
        let name = |what: &str| format!("full/{what}-{}k", size / 1024);
        tests.push(test(&name("blocks"), blocks).block(size).mib(mib));
        tests.push(test(&name("inodes"), inodes).block(size).mib(mib));
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
