// SPDX-License-Identifier: GPL-2.0
//! `fallocate`: holes that are punched, and the modes that the format cannot do.

use super::direct::difference;
use super::env::{errno, fails, Env};
use super::{for_blocks, test, Test};
use crate::buf::Random;
use crate::fs::{open_buffered, open_direct, DISK};
use crate::sys::Mapping;
use anyhow::{bail, ensure, Context, Result};
use notblk_protocol::Driver;
use rustix::fs::{fallocate, FallocateFlags};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let sizes = [1024, 4096];
    let mut tests = Vec::new();
    tests.extend(for_blocks(&[1024, 4096, 16384], "punch/levels", levels));
    tests.extend(for_blocks(&[65536], "punch/levels", levels_apart));
    tests.extend(for_blocks(
        &[1024, 4096, 16384, 65536],
        "punch/random",
        random,
    ));
    tests.extend(for_blocks(&sizes, "punch/mmap", mmap));
    tests.extend(for_blocks(&sizes, "punch/synchronous", synchronous));
    tests.push(test("punch/errnos", errnos));
    tests
}

/// Punches a hole.
fn punch(file: &File, offset: u64, length: u64) -> Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(file, flags, offset, length)
        .with_context(|| format!("punch {length} bytes at {offset}"))
}

/// What of a range in memory is now zero.
fn clear(data: &mut [u8], offset: u64, length: u64) {
    let end = data.len().min((offset + length) as usize);
    if let Some(range) = data.get_mut(offset as usize..end) {
        range.fill(0);
    }
}

/// Asks that the file holds this.
fn holds(file: &File, expected: &[u8], when: &str) -> Result<()> {
    let mut found = vec![1; expected.len()];
    file.read_exact_at(&mut found, 0)?;
    ensure!(
        file.metadata()?.len() == expected.len() as u64,
        "{when}: the size changed"
    );
    if let Some(wrong) = difference(&found, expected) {
        bail!("{when}: {wrong}");
    }
    Ok(())
}

/// Holes on both sides of where indirect blocks begin; blocks come back, indirect ones with them, and the size stays.
fn levels(env: &Env) -> Result<()> {
    let block = env.block();
    let pointers = block / 4;
    let double = 12 + pointers;
    let mounted = env.mount("")?;
    let free = rustix::fs::statvfs(env.path("").as_path())?.f_bfree;
    let path = env.path("file");
    let file = open_buffered(&path)?;
    let mut expected = vec![0; ((double + 20) * block + 77) as usize];
    Random(env.seed).fill(&mut expected);
    file.write_all_at(&expected, 0)?;
    file.sync_all()?;
    let full = file.metadata()?.blocks();
    let before = file.metadata()?.modified()?;
    let per_block = block / 512;
    // (offset, length) in blocks; how many blocks go, indirect ones included.
    let places = [
        (3, 2, 2),
        (10, 5, 5),
        (double - 3, 6, 6),
        // What is left of the indirect block's.
        (12, pointers, pointers - 3 - 3 + 1),
        // All of the double indirect block's but its last two.
        (double, 19, 19 - 3),
    ];
    let mut sectors = full;
    for (first, count, blocks) in places {
        punch(&file, first * block, count * block)?;
        clear(&mut expected, first * block, count * block);
        holds(&file, &expected, &format!("hole at block {first}"))?;
        sectors -= blocks * per_block;
        let found = file.metadata()?.blocks();
        ensure!(
            found == sectors,
            "hole of {count} blocks at {first}: {found} sectors, should be {sectors}"
        );
    }
    ensure!(
        file.metadata()?.modified()? > before,
        "the time of the last change is as before"
    );
    // Again: nothing to take.
    punch(&file, 0, 5 * block)?;
    punch(&file, 3 * block, block)?;
    clear(&mut expected, 0, 5 * block);
    file.sync_all()?;
    drop(file);
    mounted.end()?;

    let mounted = env.mount("")?;
    let file = open_buffered(&path)?;
    holds(&file, &expected, "after a new mount")?;
    // To the end and far behind it: all of the last block goes.
    punch(&file, 100, 1 << 30)?;
    clear(&mut expected, 100, 1 << 30);
    holds(&file, &expected, "hole over the end")?;
    // The C driver keeps indirect blocks that have nothing left, here and there.
    let left = file.metadata()?.blocks();
    ensure!(
        left == 0 || env.driver() == Driver::Ext4,
        "{left} sectors are left of nothing but holes"
    );
    drop(file);
    fs::remove_file(&path)?;
    rustix::fs::sync();
    let after = rustix::fs::statvfs(env.path("").as_path())?.f_bfree;
    ensure!(
        after == free,
        "{free} blocks were free before, {after} after"
    );
    mounted.end()
}

/// The same where a file with all of its blocks is larger than the disk: those around the places have data.
fn levels_apart(env: &Env) -> Result<()> {
    let block = env.block();
    let pointers = block / 4;
    let double = 12 + pointers;
    let mounted = env.mount("")?;
    let free = || -> Result<u64> { Ok(rustix::fs::statvfs(crate::fs::MNT)?.f_bfree) };
    let before = free()?;
    let path = env.path("file");
    let file = open_buffered(&path)?;
    let mut random = Random(env.seed);
    // (first block, data)
    let mut runs = [(0, 20), (double - 10, 30)].map(|(first, count)| {
        let mut data = vec![0; (count * block) as usize];
        random.fill(&mut data);
        (first, data)
    });
    for (first, data) in &runs {
        file.write_all_at(data, first * block)?;
    }
    file.sync_all()?;
    // (offset, length) in blocks; how many blocks go, indirect ones included.
    let places = [
        (3, 2, 2),
        (10, 5, 5),
        (double - 3, 6, 6),
        (12, pointers, 5 + 7 + 1),
        (double, 19, 19 - 3),
    ];
    // The data, one indirect block, two for the double one.
    let mut left = 20 + 30 + 1 + 2;
    for (first, count, blocks) in places {
        punch(&file, first * block, count * block)?;
        left -= blocks;
        let found = file.metadata()?.blocks() * 512 / block;
        ensure!(
            found == left,
            "hole of {count} blocks at {first}: {found} blocks are left, should be {left}"
        );
        let hole = first..first + count;
        for (start, data) in &mut runs {
            for (n, piece) in data.chunks_exact_mut(block as usize).enumerate() {
                if hole.contains(&(*start + n as u64)) {
                    piece.fill(0);
                }
            }
        }
    }
    drop(file);
    mounted.end()?;

    let mounted = env.mount("")?;
    let file = open_buffered(&path)?;
    for (first, expected) in &runs {
        let mut found = vec![1; expected.len()];
        file.read_exact_at(&mut found, first * block)?;
        if let Some(wrong) = difference(&found, expected) {
            bail!("from block {first} on: {wrong}");
        }
    }
    punch(&file, 100, 2 * double * block)?;
    let left = file.metadata()?.blocks();
    // The first block, of which 100 bytes stay.
    let least = block / 512;
    ensure!(
        left == least || env.driver() == Driver::Ext4,
        "{left} sectors are left, should be {least}"
    );
    drop(file);
    fs::remove_file(&path)?;
    rustix::fs::sync();
    let after = free()?;
    ensure!(
        after == before,
        "{before} blocks were free before, {after} after"
    );
    mounted.end()
}

/// Holes and writes, buffered and direct, at random places.
fn random(env: &Env) -> Result<()> {
    let block = env.block();
    let size = 400 * block;
    let mounted = env.mount("")?;
    let path = env.path("file");
    let buffered = open_buffered(&path)?;
    let direct = open_direct(&path)?;
    let mut random = Random(env.seed);
    let mut expected = vec![0; size as usize];
    random.fill(&mut expected);
    buffered.write_all_at(&expected, 0)?;
    for round in 0..120 {
        let offset = random.below(size);
        let length = 1 + random.below(20 * block);
        match round % 4 {
            0 | 1 => {
                punch(&buffered, offset, length)?;
                clear(&mut expected, offset, length);
            }
            2 => {
                let length = length.min(size - offset) as usize;
                let data = &mut expected[offset as usize..offset as usize + length];
                random.fill(data);
                buffered.write_all_at(data, offset)?;
            }
            _ => {
                let offset = offset / block * block;
                let mut data = crate::buf::Buffer::new(block as usize);
                random.fill(&mut data);
                direct.write_all_at(&data, offset)?;
                expected[offset as usize..(offset + block) as usize].copy_from_slice(&data);
            }
        }
        if round % 10 == 9 {
            holds(&buffered, &expected, &format!("round {round}"))?;
        }
    }
    buffered.sync_all()?;
    drop(buffered);
    drop(direct);
    mounted.end()?;
    let mounted = env.mount("ro")?;
    holds(&File::open(&path)?, &expected, "after a new mount")?;
    mounted.end()
}

/// Mapped memory shows the hole, and what is written to it by mmap afterwards gets blocks and stays.
fn mmap(env: &Env) -> Result<()> {
    const LENGTH: usize = 64 << 10;
    let mounted = env.mount("")?;
    let path = env.path("file");
    let file = open_buffered(&path)?;
    let mut expected = vec![7; LENGTH];
    file.set_len(LENGTH as u64)?;
    let mapping = Mapping::new(&file, LENGTH)?;
    // All pages writable, and dirty in the page table only.
    mapping.write(0, &expected);
    for (offset, length) in [
        // In one page, over one edge of a page, over many.
        (1024, 1024),
        (7168, 2048),
        (18_000, 20_000),
        (49_152, 4096),
    ] {
        punch(&file, offset, length)?;
        clear(&mut expected, offset, length);
        let mut seen = vec![0; LENGTH];
        mapping.read(0, &mut seen);
        if let Some(wrong) = difference(&seen, &expected) {
            bail!("mapped memory after a hole at {offset}: {wrong}");
        }
        // Into the hole, and next to it.
        for place in [
            offset,
            offset + length / 2,
            offset + length - 3,
            offset - 5,
            offset + length,
        ] {
            let data = [round_of(place); 3];
            mapping.write(place as usize, &data);
            expected[place as usize..place as usize + 3].copy_from_slice(&data);
        }
    }
    mapping.sync()?;
    drop(mapping);
    drop(file);
    mounted.end()?;
    let mounted = env.mount("ro")?;
    holds(&File::open(&path)?, &expected, "after a new mount")?;
    mounted.end()
}

/// A byte that tells places apart.
fn round_of(place: u64) -> u8 {
    (place % 251) as u8 | 1
}

/// With O_SYNC the hole is on the disk when the call returns: inode, pointers and the zeroes at its ends.
fn synchronous(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let path = env.path("file");
    {
        let file = open_buffered(&path)?;
        file.write_all_at(&vec![9; 40 * block as usize], 0)?;
        file.sync_all()?;
    }
    let first = crate::sys::files::fibmap(&File::open(&path)?, 5)?;
    ensure!(first > 0, "block 5 has no place");
    let file = rustix::fs::open(
        path.as_path(),
        rustix::fs::OFlags::RDWR | rustix::fs::OFlags::SYNC,
        rustix::fs::Mode::empty(),
    )?;
    let file = File::from(file);
    punch(&file, 5 * block + 100, 10 * block)?;
    // Past all caches: the disk itself.
    let disk = open_direct(DISK)?;
    let mut data = crate::buf::Buffer::new(block as usize);
    disk.read_exact_at(&mut data, first as u64 * block)?;
    ensure!(
        data[..100].iter().all(|&byte| byte == 9) && data[100..].iter().all(|&byte| byte == 0),
        "the partial block at the hole's beginning is not on the disk"
    );
    drop(file);
    mounted.end()
}

/// What is refused, and how.
fn errnos(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let path = env.path("file");
    let file = open_buffered(&path)?;
    let data = vec![3; 32 << 10];
    file.write_all_at(&data, 0)?;
    let keep = FallocateFlags::KEEP_SIZE;
    let punch = FallocateFlags::PUNCH_HOLE;
    for (flags, what) in [
        (FallocateFlags::empty(), "reserving"),
        (keep, "reserving, the size kept"),
        (FallocateFlags::ZERO_RANGE, "zeroing"),
        (FallocateFlags::ZERO_RANGE | keep, "zeroing, the size kept"),
        (FallocateFlags::COLLAPSE_RANGE, "collapsing"),
        (FallocateFlags::INSERT_RANGE, "inserting"),
        (FallocateFlags::UNSHARE_RANGE, "unsharing"),
        (punch, "punching without keeping the size"),
        (
            punch | keep | FallocateFlags::ZERO_RANGE,
            "two things at once",
        ),
    ] {
        fails(
            errno(fallocate(&file, flags, 4096, 4096)),
            libc::EOPNOTSUPP,
            what,
        )?;
    }
    let call = |file: &File, offset, length| errno(fallocate(file, punch | keep, offset, length));
    fails(call(&file, 4096, 0), libc::EINVAL, "nothing")?;
    fails(
        call(&file, i64::MAX as u64 - 10, 4096),
        libc::EFBIG,
        "behind the largest offset",
    )?;
    fails(
        call(&File::open(&path)?, 4096, 4096),
        libc::EBADF,
        "a file that is open for reading",
    )?;
    // Behind the end there is nothing to do.
    call(&file, 32 << 10, 4096)?;
    call(&file, 1 << 30, 4096)?;
    ensure!(file.metadata()?.len() == 32 << 10, "the size changed");
    holds(&file, &data, "after all that")?;
    drop(file);
    mounted.end()
}
