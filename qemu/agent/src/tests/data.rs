// SPDX-License-Identifier: GPL-2.0
//! File data through the page cache: block maps of every depth, truncate, mmap, readahead.

use super::env::Env;
use super::{for_blocks, Test};
use crate::buf::{Buffer, Random};
use crate::fs::{open_buffered, open_direct, MNT};
use crate::sys::Mapping;
use anyhow::{bail, ensure, Context, Result};
use notblk_protocol::Driver;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    let all = [1024, 2048, 4096, 8192, 16384, 65536];
    let some = [1024, 4096, 16384, 65536];
    tests.extend(for_blocks(&all, "data/levels", levels));
    tests.extend(for_blocks(&all, "data/truncate", truncate));
    tests.extend(for_blocks(&some, "data/tails-are-zero", tails_are_zero));
    tests.extend(for_blocks(&some, "data/mmap", mmap));
    tests.extend(for_blocks(&some, "data/big-file", big_file));
    tests.extend(for_blocks(&some, "data/append", append));
    tests
}

/// First bytes that need no, one, two and three indirect blocks. With large blocks a file ends before that: `i_blocks` has 32
/// bits.
fn depths(block: u64) -> Vec<u64> {
    let pointers = block / 4;
    let single = 12;
    let double = single + pointers;
    let triple = double + pointers * pointers;
    let mut starts = vec![0, single * block, double * block];
    if triple * block < 1 << 40 {
        starts.push(triple * block);
    }
    starts
}

/// Sparse writes at every depth read back, holes between read as zeros, and all blocks come back.
fn levels(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let free = rustix::fs::statvfs(env.path("").as_path())?.f_bfree;
    let path = env.path("file");
    let file = open_buffered(&path)?;
    // The first, the last and the second block of each range.
    let mut places = Vec::new();
    for start in depths(block) {
        places.extend([start, start + block]);
        if start > 0 {
            places.push(start - block);
        }
    }
    for &place in &places {
        file.write_all_at(&place.to_le_bytes(), place + 100)
            .with_context(|| format!("write at {place}"))?;
    }
    file.sync_all()?;
    drop(file);
    mounted.end()?;

    let mounted = env.mount("")?;
    let file = open_buffered(&path)?;
    for &place in &places {
        let mut data = vec![0; block as usize];
        let length = file.read_at(&mut data, place)?;
        data.truncate(length);
        ensure!(
            data[100..108] == place.to_le_bytes(),
            "wrong data at {place}"
        );
        let rest = data[..100].iter().chain(&data[108..]);
        ensure!(
            rest.copied().all(|byte| byte == 0),
            "not zero around {place}"
        );
    }
    let mut hole = vec![1; 3 * block as usize];
    for start in depths(block) {
        file.read_exact_at(&mut hole, start + 4 * block)
            .or_else(|error| match start {
                // Past the end of the file, behind the last write.
                start if Some(&start) == depths(block).last() => {
                    hole.fill(0);
                    Ok(())
                }
                _ => Err(error),
            })?;
        ensure!(
            hole.iter().all(|&byte| byte == 0),
            "a hole behind {start} is not zero"
        );
    }
    // Cut one range after the other.
    for start in depths(block).into_iter().rev() {
        file.set_len(start)?;
        file.sync_all()?;
        ensure!(file.metadata()?.len() == start, "wrong size");
    }
    ensure!(
        file.metadata()?.blocks() == 0,
        "{} sectors left",
        file.metadata()?.blocks()
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

/// Truncating to each side of every boundary keeps what is before it, and only that.
fn truncate(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let path = env.path("file");
    let file = open_buffered(&path)?;
    let starts = depths(block);
    for start in starts.into_iter().skip(1).take(2) {
        for cut in [
            start - 1,
            start,
            start + 1,
            start + block,
            start + block + 1,
        ] {
            file.set_len(0)?;
            let data = vec![0xaa; 4 * block as usize];
            file.write_all_at(&data, start - 2 * block)?;
            file.set_len(cut)?;
            file.set_len(start + 8 * block)?;
            let mut back = vec![1; 10 * block as usize];
            file.read_exact_at(&mut back, start - 2 * block)?;
            let kept = (cut - (start - 2 * block)) as usize;
            ensure!(
                back[..kept].iter().all(|&byte| byte == 0xaa),
                "lost data before the cut at {cut}"
            );
            ensure!(
                back[kept..].iter().all(|&byte| byte == 0),
                "old data behind the cut at {cut}"
            );
        }
    }
    file.sync_all()?;
    file.set_len(0)?;
    ensure!(
        file.metadata()?.blocks() == 0,
        "sectors left after truncating to nothing"
    );
    drop(file);
    mounted.end()
}

/// No old data appears between the end of a file and the end of its block, whichever way it grows.
fn tails_are_zero(env: &Env) -> Result<()> {
    let block = env.block() as usize;
    let mounted = env.mount("")?;
    // Old data on the disk for later files to find.
    let old = env.path("old");
    fs::write(&old, vec![0xff; 200 * block])?;
    fs::File::open(&old)?.sync_all()?;
    fs::remove_file(&old)?;
    rustix::fs::sync();
    for way in WAYS {
        if way == Way::Direct && env.driver() == Driver::Ext4 {
            // Its direct writes leave the rest of the last block as it is.
            continue;
        }
        let path = env.path(format!("{way:?}"));
        let file = open_buffered(&path)?;
        file.write_all_at(b"x", 10)?;
        if way != Way::SetLen && way != Way::Write {
            // Something in memory behind the end of the file, written there by mmap.
            Mapping::new(&file, 4096)?.write(100, &[0xee; 200]);
        }
        match way {
            Way::SetLen => file.set_len(2 * block as u64)?,
            Way::Write | Way::WriteAfterMmap => file.write_all_at(b"y", 2 * block as u64 - 1)?,
            Way::SetLenAfterMmap => {
                file.sync_all()?;
                file.set_len(2 * block as u64)?;
            }
            Way::Direct => {
                let page = Buffer::from(&vec![b'y'; block]);
                open_direct(&path)?.write_all_at(&page, 2 * block as u64)?;
            }
        }
        file.sync_all()?;
        is_zero_around(&fs::read(&path)?[..2 * block - 1])
            .with_context(|| format!("{way:?}, by the cache"))?;
        let mut seen = Buffer::new(2 * block);
        open_direct(&path)?.read_exact_at(&mut seen, 0)?;
        is_zero_around(&seen[..2 * block - 1]).with_context(|| format!("{way:?}, directly"))?;
    }
    mounted.end()?;
    let mounted = env.mount("ro")?;
    for entry in fs::read_dir(MNT)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let name = entry.file_name();
            is_zero_around(&fs::read(entry.path())?[..2 * block - 1])
                .with_context(|| format!("{name:?}, after a new mount"))?;
        }
    }
    mounted.end()
}

/// How a file grows over the rest of its last block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    SetLen,
    Write,
    SetLenAfterMmap,
    WriteAfterMmap,
    Direct,
}

/// All of them.
const WAYS: [Way; 5] = [
    Way::SetLen,
    Way::Write,
    Way::SetLenAfterMmap,
    Way::WriteAfterMmap,
    Way::Direct,
];

/// Asks for the one byte that was written, and nothing else.
fn is_zero_around(data: &[u8]) -> Result<()> {
    let mut others = data.iter().enumerate();
    match others.find(|&(at, &byte)| byte != if at == 10 { b'x' } else { 0 }) {
        None => Ok(()),
        Some((at, byte)) => bail!("byte {at} is {byte:#x}"),
    }
}

/// Mapped memory, read, write and direct reads see one file.
fn mmap(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let path = env.path("file");
    let file = open_buffered(&path)?;
    let length = 64 << 10;
    file.set_len(length as u64)?;
    let mapping = Mapping::new(&file, length)?;
    // Into a hole, which gets its block when the page is first written.
    mapping.write(20_000, b"by mmap");
    let mut seen = [0; 7];
    file.read_exact_at(&mut seen, 20_000)?;
    ensure!(&seen == b"by mmap", "read does not see what mmap wrote");
    file.write_all_at(b"by write", 40_000)?;
    let mut seen = [0; 8];
    mapping.read(40_000, &mut seen);
    ensure!(&seen == b"by write", "mmap does not see what write wrote");
    mapping.sync()?;
    let direct = open_direct(&path)?;
    let mut data = Buffer::new(length);
    direct.read_exact_at(&mut data, 0)?;
    ensure!(
        &data[20_000..20_007] == b"by mmap",
        "a direct read does not see what mmap wrote"
    );
    // A direct write while the page is mapped: the mapping shows the new data.
    let page = Buffer::from(&[7; 4096]);
    direct.write_all_at(&page, 16_384)?;
    let mut seen = [0; 16];
    mapping.read(20_000, &mut seen);
    ensure!(seen == [7; 16], "mmap shows old data after a direct write");
    drop(mapping);
    drop(file);
    drop(direct);
    mounted.end()?;
    let mounted = env.mount("ro")?;
    let data = fs::read(&path)?;
    ensure!(
        &data[40_000..40_008] == b"by write",
        "lost after a new mount"
    );
    ensure!(
        data[16_384..20_480].iter().all(|&byte| byte == 7),
        "lost after a new mount"
    );
    mounted.end()
}

/// A file larger than any readahead window, read back in order and at random, with a cold cache.
fn big_file(env: &Env) -> Result<()> {
    const SIZE: usize = 24 << 20;
    let mounted = env.mount("")?;
    let path = env.path("big");
    let mut data = vec![0; SIZE];
    Random(env.seed).fill(&mut data);
    fs::write(&path, &data)?;
    mounted.end()?;
    let mounted = env.mount("ro")?;
    ensure!(fs::read(&path)? == data, "read in order: wrong data");
    mounted.end()?;
    let mounted = env.mount("ro")?;
    let file = fs::File::open(&path)?;
    let mut random = Random(env.seed);
    for _ in 0..300 {
        let offset = random.below(SIZE as u64 - 20_000) as usize;
        let length = 1 + random.below(20_000) as usize;
        let mut piece = vec![0; length];
        file.read_exact_at(&mut piece, offset as u64)?;
        ensure!(
            piece == data[offset..offset + length],
            "wrong data at {offset}"
        );
    }
    drop(file);
    mounted.end()
}

/// Many small appends, as a log file gets them.
fn append(env: &Env) -> Result<()> {
    use std::io::Write;
    let mounted = env.mount("")?;
    let path = env.path("log");
    let mut expected = Vec::new();
    let mut file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)?;
    for line in 0..3000 {
        let text = format!("line {line} {}\n", "z".repeat(line % 60));
        file.write_all(text.as_bytes())?;
        expected.extend_from_slice(text.as_bytes());
        if line % 500 == 0 {
            file.sync_data()?;
        }
    }
    drop(file);
    mounted.end()?;
    let mounted = env.mount("ro")?;
    ensure!(fs::read(&path)? == expected, "wrong contents");
    mounted.end()
}
