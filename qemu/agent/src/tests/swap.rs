// SPDX-License-Identifier: GPL-2.0
//! Swap files.

use super::env::{errno, fails, Env};
use super::{for_blocks, Test};
use crate::fs::open_buffered;
use crate::sys::files::{swapoff, swapon};
use anyhow::{ensure, Context, Result};
use rustix::fs::{fallocate, FallocateFlags};
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    tests.extend(for_blocks(&[1024, 4096], "swap/file", swap_file));
    tests.extend(for_blocks(&[4096], "swap/holes", holes));
    tests
}

/// Bytes of a swap file.
const SIZE: u64 = 1 << 20;
const PAGE: u64 = 4096;

/// Writes the header that `mkswap` writes.
fn mkswap(file: &fs::File) -> Result<()> {
    let mut header = vec![0; PAGE as usize];
    header[1024..1028].copy_from_slice(&1_u32.to_ne_bytes());
    header[1028..1032].copy_from_slice(&((SIZE / PAGE - 1) as u32).to_ne_bytes());
    header[PAGE as usize - 10..].copy_from_slice(b"SWAPSPACE2");
    file.write_all_at(&header, 0)?;
    Ok(())
}

/// Pages of swap that are in use or could be.
fn pages(path: &Path) -> Result<Option<u64>> {
    let name = path.to_str().context("a path in ASCII")?;
    let swaps = fs::read_to_string("/proc/swaps")?;
    let kib = swaps
        .lines()
        .map(str::split_whitespace)
        .find_map(|mut words| (words.next() == Some(name)).then(|| words.nth(1)))
        .flatten();
    Ok(kib.map(str::parse::<u64>).transpose()?.map(|kib| kib / 4))
}

/// A swap file is taken, cannot be changed while it is in use, and can be afterwards.
fn swap_file(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let path = env.path("swap");
    let file = open_buffered(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    file.write_all_at(&vec![0; SIZE as usize], 0)?;
    mkswap(&file)?;
    swapon(&path).context("swapon")?;
    let pages = pages(&path)?.context("not in /proc/swaps")?;
    ensure!(
        pages > 0 && pages < SIZE / PAGE,
        "{pages} pages of swap in {SIZE} bytes"
    );
    fails(file.write_at(b"x", 0), libc::ETXTBSY, "a write")?;
    fails(file.set_len(0), libc::ETXTBSY, "truncate")?;
    fails(
        errno(fallocate(
            &file,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            0,
            4096,
        )),
        libc::ETXTBSY,
        "a hole",
    )?;
    fails(fs::remove_file(&path), libc::EPERM, "unlink")?;
    fails(swapon(&path), libc::EBUSY, "swapon of a swap file in use")?;
    swapoff(&path).context("swapoff")?;
    file.write_all_at(b"x", 0)
        .context("a write after swapoff")?;
    drop(file);
    fs::remove_file(&path)?;
    mounted.end()
}

/// A file with a hole is none.
fn holes(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let path = env.path("swap");
    let file = open_buffered(&path)?;
    mkswap(&file)?;
    file.set_len(SIZE)?;
    fails(swapon(&path), libc::EINVAL, "swapon of a file with holes")?;
    env.logged(&["swapon", "has unallocated extents"])?;
    file.write_all_at(b"x", 0)?;
    drop(file);
    mounted.end()
}
