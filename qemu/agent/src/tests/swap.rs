// SPDX-License-Identifier: GPL-2.0
//! Swap files.

use super::env::{errno, fails, Env};
use super::{for_blocks, test, Test};
use crate::buf::{stamp, stamp_of, Buffer};
use crate::fs::{open_buffered, open_direct, DISK};
use crate::sys::files::{fibmap, swapoff, swapon};
use crate::sys::Mapping;
use anyhow::{ensure, Context, Result};
use rustix::fs::{fallocate, FallocateFlags};
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    tests.extend(for_blocks(&[1024, 4096], "swap/file", swap_file));
    tests.extend(for_blocks(&[4096], "swap/holes", holes));
    // So small that they can be searched, and filled.
    for block in [1024, 4096] {
        let name = format!("swap/used-{}k", block / 1024);
        tests.push(test(&name, used).block(block).mib(16));
    }
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
fn pages(path: &Path) -> Result<u64> {
    column(path, 2)
}

/// Those that are in use.
fn pages_used(path: &Path) -> Result<u64> {
    column(path, 3)
}

/// A number of pages that `/proc/swaps` has of a swap file.
fn column(path: &Path, column: usize) -> Result<u64> {
    let name = path.to_str().context("a path in ASCII")?;
    let swaps = fs::read_to_string("/proc/swaps")?;
    let line = swaps
        .lines()
        .find(|line| line.split_whitespace().next() == Some(name));
    let line = line.with_context(|| format!("{name} is not in /proc/swaps: {swaps}"))?;
    let kib = line.split_whitespace().nth(column).context("no column")?;
    Ok(kib.parse::<u64>()? / 4)
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
    let pages = pages(&path)?;
    // All but the header's, where each block is a page.
    ensure!(
        pages > 0 && pages < SIZE / PAGE && (env.block() != PAGE || pages == SIZE / PAGE - 1),
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

/// Where on the disk a file has whole pages: byte addresses. The kernel puts a page of swap into nothing less.
fn whole_pages(file: &fs::File, block: u64) -> Result<Vec<u64>> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for number in 0..SIZE / block {
        let place = fibmap(file, number as i32)? as u64 * block;
        ensure!(place > 0, "block {number} has no place");
        match runs.last_mut() {
            Some((_, end)) if *end == place => *end += block,
            _ => runs.push((place, place + block)),
        }
    }
    let whole = |(start, end): (u64, u64)| {
        let first = start.next_multiple_of(PAGE);
        (first..end)
            .step_by(PAGE as usize)
            .filter(move |page| page + PAGE <= end)
    };
    Ok(runs.into_iter().flat_map(whole).collect())
}

/// Leaves free space in small pieces only: fills the disk with a file, and punches holes into it. Answers what it is then.
fn fragment(path: &Path, block: u64) -> Result<Vec<u8>> {
    let file = open_buffered(path)?;
    let mut data = Vec::new();
    for length in [1 << 16, block] {
        let piece = vec![0x11; length as usize];
        loop {
            match file.write_at(&piece, data.len() as u64) {
                Ok(count) => data.resize(data.len() + count, 0x11),
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => break,
                Err(error) => return Err(error).context("fill the disk"),
            }
        }
    }
    file.sync_all()?;
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let (mut start, mut blocks) = (block, 5);
    while start + blocks * block < data.len() as u64 {
        fallocate(&file, flags, start, blocks * block)?;
        data[start as usize..][..(blocks * block) as usize].fill(0);
        // 5 to 11 blocks are free, and 2 are not.
        start += (blocks + 2) * block;
        blocks = 5 + (blocks - 4) % 7;
    }
    // What has become free may be taken by then.
    rustix::fs::sync();
    Ok(data)
}

/// Pages that the kernel has read from swap since boot.
fn pages_read() -> Result<u64> {
    let text = fs::read_to_string("/proc/vmstat")?;
    let line = text.lines().find_map(|line| line.strip_prefix("pswpin "));
    Ok(line.context("no pswpin in /proc/vmstat")?.parse()?)
}

/// Memory whose pages tell which they are.
struct Stamped {
    memory: Mapping,
    pages: u64,
    /// Tells them from those of another test, which the disk may have still.
    first_word: u64,
}

impl Stamped {
    fn new(pages: u64) -> Result<Stamped> {
        let memory = Mapping::anonymous((pages * PAGE) as usize)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let first_word = u64::from(now.subsec_nanos()) << 32 | (now.as_secs() & 0xffff) << 16;
        let mut page = [0; PAGE as usize];
        for number in 0..pages {
            stamp(&mut page, first_word + number);
            memory.write((number * PAGE) as usize, &page);
        }
        Ok(Stamped {
            memory,
            pages,
            first_word,
        })
    }

    /// Touches all pages: each is what it was.
    fn check(&self, when: &str) -> Result<()> {
        let mut page = [0; PAGE as usize];
        for number in 0..self.pages {
            self.memory.read((number * PAGE) as usize, &mut page);
            let found = stamp_of(&page);
            ensure!(
                found == Some(self.first_word + number),
                "{when}: page {number} has {found:x?}"
            );
        }
        Ok(())
    }

    /// How many of these pages of the disk have one of the pages of memory. Nothing else of the disk may have any part of one.
    fn found_at(&self, places: &[u64], env: &Env) -> Result<usize> {
        const PART: usize = 1024;
        let disk = open_direct(DISK)?;
        let words = self.first_word..self.first_word + self.pages;
        let mut piece = Buffer::new(1 << 20);
        let mut parts = 0;
        for start in (0..u64::from(env.image.mib) << 20).step_by(piece.len()) {
            disk.read_exact_at(&mut piece, start)?;
            for (number, part) in piece.chunks_exact(PART).enumerate() {
                if !stamp_of(part).is_some_and(|word| words.contains(&word)) {
                    continue;
                }
                let at = start + (number * PART) as u64;
                ensure!(
                    places.contains(&(at / PAGE * PAGE)),
                    "memory was written to byte {at} of the disk, which is in none of the {} pages for it",
                    places.len()
                );
                parts += 1;
            }
        }
        Ok(parts * PART / PAGE as usize)
    }
}

/// Memory goes to the file's blocks, and to no others, and comes back from there as it was.
fn used(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let full = env.path("full");
    let between = match env.block() {
        PAGE => Vec::new(),
        block => fragment(&full, block)?,
    };
    let path = env.path("swap");
    let neighbour = env.path("neighbour");
    fs::write(&neighbour, vec![0x22; 100_000])?;
    let file = open_buffered(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    file.write_all_at(&vec![0; SIZE as usize], 0)?;
    mkswap(&file)?;
    file.sync_all()?;
    let places = whole_pages(&file, env.block())?;
    let whole = places.len() as u64;
    ensure!(
        match env.block() {
            PAGE => whole == SIZE / PAGE,
            _ => (60..220).contains(&whole),
        },
        "{whole} whole pages: the disk is not as the test wants it"
    );
    swapon(&path).context("swapon")?;
    let in_swap = pages(&path)?;
    ensure!(
        in_swap == whole - 1,
        "{in_swap} pages of swap, {whole} whole ones in the file"
    );
    // The first place is the header's.
    let result = swap_out(env, &path, in_swap, &places[1..]);
    let off = swapoff(&path).context("swapoff");
    let memory = result?;
    off?;
    memory.check("after swapoff")?;
    drop((memory, file));
    mounted.end()?;
    let mounted = env.mount("")?;
    ensure!(
        fs::read(&neighbour)? == vec![0x22; 100_000],
        "the neighbour has changed"
    );
    ensure!(
        between.is_empty() || fs::read(&full)? == between,
        "what lies between has changed"
    );
    mounted.end()
}

/// Has memory go out and come back from the disk; then so much of it that it fills all places. Answers the latter.
fn swap_out(env: &Env, path: &Path, in_swap: u64, places: &[u64]) -> Result<Stamped> {
    // Fewer than half: the kernel gives up a page's place in swap early where swap is nearly full.
    let memory = Stamped::new(in_swap / 3)?;
    let read_before = pages_read()?;
    // What has gone out may be in memory too, for a while: it is sent out again until the kernel has read some.
    until(path, || {
        memory.memory.page_out()?;
        let found = memory.found_at(places, env)?;
        memory.check("come back")?;
        let read = pages_read()? - read_before;
        Ok((
            found > 0 && read > 0,
            format!("{found} pages on the disk, {read} read"),
        ))
    })?;
    drop(memory);
    let memory = Stamped::new(in_swap)?;
    until(path, || {
        memory.memory.page_out()?;
        let found = memory.found_at(places, env)?;
        Ok((found == places.len(), format!("{found} pages on the disk")))
    })?;
    memory.check("all come back")?;
    Ok(memory)
}

/// Does something again and again until it says that it is done; it says as well how far it is.
fn until(path: &Path, again: impl Fn() -> Result<(bool, String)>) -> Result<()> {
    let started = Instant::now();
    loop {
        let (done, what) = again()?;
        if done {
            return Ok(());
        }
        let (waited, used) = (started.elapsed(), pages_used(path)?);
        ensure!(
            waited < Duration::from_secs(60),
            "after {waited:?}: {used} pages of swap in use, {what}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}
