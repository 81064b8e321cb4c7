// SPDX-License-Identifier: GPL-2.0
//! Where a file's blocks are: `SEEK_DATA` and `SEEK_HOLE`, FIEMAP, FIBMAP.

use super::env::{errno, fails, Env};
use super::{for_blocks, test, Test};
use crate::attributes::set;
use crate::fs::{open_buffered, open_direct, DISK};
use crate::sys::files::{fibmap, fiemap, Extent, EXTENT_LAST, EXTENT_MERGED};
use crate::sys::files::{
    EXTENT_INLINE, EXTENT_NOT_ALIGNED, FIEMAP_CACHE, FIEMAP_SYNC, FIEMAP_XATTR,
};
use crate::sys::{fanotify::PreAccess, Mapping};
use anyhow::{ensure, Context, Result};
use notblk_protocol::Driver;
use rustix::fs::{seek, SeekFrom};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let sizes = [1024, 4096, 16384, 65536];
    let mut tests = Vec::new();
    tests.extend(for_blocks(&sizes, "mapping/seek", seeks));
    tests.extend(for_blocks(&sizes, "mapping/fiemap", fiemaps));
    tests.push(test("mapping/one-folio", one_folio));
    tests.push(test("mapping/fibmap", fibmaps));
    tests.push(test("mapping/errnos", errnos));
    tests.push(test("mapping/xattr", xattrs));
    tests.push(test("mapping/huge", huge));
    tests.push(test("mapping/on-demand", on_demand));
    tests.push(test("mapping/xattr-128", xattrs).inode(128));
    tests
}

/// The blocks that [`sparse`] writes: the first of each run, and how many.
fn runs(block: u64) -> Vec<(u64, u64)> {
    let pointers = block / 4;
    let mut runs = vec![(0, 1), (5, 9), (12 + pointers - 2, 5)];
    // No file of the largest blocks gets so far.
    if block < 65536 {
        runs.push((12 + pointers + pointers * pointers + 7, 1));
    }
    runs
}

/// Blocks after the last run that belong to the file and are a hole.
const TAIL: u64 = 4;

/// A file with data and holes at every depth, and a hole at its end.
fn sparse(env: &Env, name: &str) -> Result<File> {
    let block = env.block();
    let file = open_buffered(env.path(name))?;
    let mut end = 0;
    for (first, count) in runs(block) {
        let data: Vec<u8> = (0..count * block)
            .map(|byte| (first + byte / block) as u8 | 1)
            .collect();
        file.write_all_at(&data, first * block)?;
        end = first + count;
    }
    file.set_len((end + TAIL) * block)?;
    Ok(file)
}

/// Data and holes as a walk over the file finds them, before write-back and after a new mount.
fn seeks(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let file = sparse(env, "file")?;
    walk(&file, block).context("dirty")?;
    drop(file);
    mounted.end()?;
    let mounted = env.mount("")?;
    let file = open_buffered(env.path("file"))?;
    walk(&file, block).context("after a new mount")?;
    let size = file.metadata()?.len();
    // What mmap writes to a hole is data at once.
    let place = (4 * 4096).max(2 * block);
    is_hole(&file, place)?;
    let mapping = Mapping::new(&file, place as usize + 4096)?;
    mapping.write(place as usize + 1, b"x");
    ensure!(
        seek(&file, SeekFrom::Data(place))? == place,
        "what mmap wrote is not data"
    );
    drop(mapping);
    // The end is a hole for everybody, and there is nothing behind it.
    for place in [size, size + 1, 1 << 40] {
        fails(
            errno(seek(&file, SeekFrom::Data(place))),
            libc::ENXIO,
            "data behind the end",
        )?;
        fails(
            errno(seek(&file, SeekFrom::Hole(place))),
            libc::ENXIO,
            "a hole behind the end",
        )?;
    }
    fails(
        errno(seek(&file, SeekFrom::Data(size - block))),
        libc::ENXIO,
        "data in the last hole",
    )?;
    // A file without a hole has one at its end.
    let full = open_buffered(env.path("full"))?;
    full.write_all_at(&[1; 100], 0)?;
    ensure!(
        seek(&full, SeekFrom::Hole(50))? == 100,
        "no hole at the end"
    );
    let empty = open_buffered(env.path("empty"))?;
    fails(
        errno(seek(&empty, SeekFrom::Data(0))),
        libc::ENXIO,
        "data in nothing",
    )?;
    drop((file, full, empty));
    mounted.end()
}

/// A write gets folios as large as it is long, also where it leads from the inode's own pointers to those in a block: a fault later
/// on fills what has become a hole of such a folio.
fn one_folio(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let file = open_buffered(env.path("file"))?;
    // Two pages before the end of the inode's twelve, and two behind.
    let (start, end) = (10 * 4096, 12 * 4096);
    file.write_all_at(&[1; 12_288], start + 3661)?;
    file.set_len(start + 1536)?;
    file.set_len(100 * 4096)?;
    is_hole(&file, start + 4096)?;
    let mapping = Mapping::at(&file, start, 4096)?;
    mapping.write(3000, b"x");
    drop(mapping);
    let hole = seek(&file, SeekFrom::Hole(start))?;
    ensure!(hole == end, "data up to {hole}, should be {end}");
    drop(file);
    mounted.end()
}

/// Asks that there is a hole.
fn is_hole(file: &File, place: u64) -> Result<()> {
    ensure!(
        seek(file, SeekFrom::Hole(place))? == place,
        "data at {place}"
    );
    Ok(())
}

/// Asks that a walk over the file finds the runs.
fn walk(file: &File, block: u64) -> Result<()> {
    let mut place = 0;
    let mut found = Vec::new();
    while let Ok(data) = seek(file, SeekFrom::Data(place)) {
        let hole = seek(file, SeekFrom::Hole(data))?;
        ensure!(hole > data, "no step from {data}");
        found.push((data / block, (hole - data) / block));
        place = hole;
    }
    ensure!(
        found == runs(block),
        "data at {found:?}, should be {:?}",
        runs(block)
    );
    Ok(())
}

/// FIEMAP tells all blocks and no other, where the disk has their data.
fn fiemaps(env: &Env) -> Result<()> {
    const ROOM: u32 = 64;
    let block = env.block();
    let mounted = env.mount("")?;
    let file = sparse(env, "file")?;
    let size = file.metadata()?.len();
    let (count, extents) = fiemap(&file, 0, u64::MAX, FIEMAP_SYNC, ROOM)?;
    ensure!(count as usize == extents.len(), "{count} extents?");
    let disk = open_direct(DISK)?;
    let mut found = Vec::new();
    for (index, extent) in extents.iter().enumerate() {
        let last = index + 1 == extents.len();
        let flags = EXTENT_MERGED | if last { EXTENT_LAST } else { 0 };
        ensure!(extent.flags == flags, "flags of {extent:?}");
        for n in 0..extent.length / block {
            let number = extent.logical / block + n;
            let mut data = crate::buf::Buffer::new(block as usize);
            disk.read_exact_at(&mut data, extent.physical + n * block)?;
            ensure!(
                data.iter().all(|&byte| byte == number as u8 | 1),
                "block {number} is not where {extent:?} says"
            );
            found.push(number);
        }
    }
    let expected: Vec<u64> = runs(block)
        .into_iter()
        .flat_map(|(first, count)| first..first + count)
        .collect();
    ensure!(
        found == expected,
        "blocks {found:?}, should be {expected:?}"
    );
    // To count, and with less room than there are.
    ensure!(
        fiemap(&file, 0, size, 0, 0)?.0 == count,
        "another number without room"
    );
    let (some, first) = fiemap(&file, 0, size, FIEMAP_CACHE, 2)?;
    ensure!(
        some == 2 && first.iter().all(|extent| extent.flags & EXTENT_LAST == 0),
        "{some} extents in a room for two: {first:?}"
    );
    // A part of it: extents are told whole where they begin before.
    let (_, part) = fiemap(&file, 6 * block, block, 0, ROOM)?;
    let covers = |extent: &Extent| {
        extent.logical <= 6 * block && extent.logical + extent.length >= 7 * block
    };
    ensure!(
        part.len() == 1 && part.iter().all(covers),
        "block 6 alone: {part:?}"
    );
    ensure!(
        fiemap(&file, 2 * block, 2 * block, 0, ROOM)?.1.is_empty(),
        "a hole has extents"
    );
    // A directory has blocks too.
    let dir = File::open(env.path(""))?;
    let (_, extents) = fiemap(&dir, 0, u64::MAX, 0, ROOM)?;
    ensure!(
        extents.iter().map(|extent| extent.length).sum::<u64>() == dir.metadata()?.len(),
        "the root directory: {extents:?}"
    );
    drop((file, dir));
    mounted.end()
}

fn fibmaps(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let file = sparse(env, "file")?;
    let (_, extents) = fiemap(&file, 0, u64::MAX, FIEMAP_SYNC, 64)?;
    for extent in extents {
        for n in 0..extent.length / block {
            let number = fibmap(&file, (extent.logical / block + n) as i32)?;
            ensure!(
                number as u64 == extent.physical / block + n,
                "FIBMAP says {number}, FIEMAP {extent:?}"
            );
        }
    }
    ensure!(fibmap(&file, 3)? == 0, "a hole has a block");
    ensure!(fibmap(&file, i32::MAX)? == 0, "the last block there can be");
    fails(fibmap(&file, -1), libc::EINVAL, "block -1")?;
    drop(file);
    mounted.end()
}

/// FIEMAP tells where extended attributes are: in the inode, or in a block.
fn xattrs(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let at = |name: &str| -> Result<Vec<Extent>> {
        let file = File::open(env.path(name))?;
        let (count, extents) = fiemap(&file, 0, u64::MAX, FIEMAP_XATTR, 4)?;
        ensure!(count as usize == extents.len(), "{count} extents?");
        ensure!(
            fiemap(&file, 0, u64::MAX, FIEMAP_XATTR, 0)?.0 == count,
            "another number without room"
        );
        let behind = fiemap(&file, block, block, FIEMAP_XATTR, 4)?.1;
        ensure!(behind.is_empty(), "attributes behind their end: {behind:?}");
        Ok(extents)
    };
    for name in ["none", "small", "large"] {
        open_buffered(env.path(name))?.write_all_at(&[1; 5000], 0)?;
    }
    let small = b"a value to be found";
    let large = [0x5a_u8; 700];
    set(env.path("small"), "user.a", small)?;
    set(env.path("large"), "user.a", &large)?;
    rustix::fs::sync();
    ensure!(at("none")?.is_empty(), "attributes where there are none");
    ensure!(
        fiemap(&File::open(env.path("none"))?, 0, u64::MAX, FIEMAP_SYNC, 4)?.0 > 0,
        "the data is gone"
    );
    let disk = File::open(DISK)?;
    let bytes = |extent: &Extent| -> Result<Vec<u8>> {
        let mut bytes = vec![0; extent.length as usize];
        disk.read_exact_at(&mut bytes, extent.physical)?;
        Ok(bytes)
    };
    let in_block = |extents: &[Extent], value: &[u8]| -> Result<()> {
        ensure!(
            matches!(extents, [one] if one.logical == 0 && one.length == block
                && one.physical % block == 0 && one.flags == EXTENT_LAST),
            "a block of attributes: {extents:?}"
        );
        let bytes = bytes(&extents[0])?;
        ensure!(bytes.ends_with(value), "it is not there: {extents:?}");
        Ok(())
    };
    in_block(&at("large")?, &large)?;
    let extents = at("small")?;
    if env.image.inode_size == 128 {
        // A value is padded to four bytes.
        in_block(&extents, &[small.as_slice(), &[0]].concat())?;
    } else {
        ensure!(
            matches!(extents[..], [one] if one.logical == 0 && one.length == 96
                && one.flags == EXTENT_LAST | EXTENT_INLINE | EXTENT_NOT_ALIGNED),
            "attributes in the inode: {extents:?}"
        );
        if env.driver() == Driver::Notblk {
            // The C driver forgets where in its block the inode is.
            let bytes = bytes(&extents[0])?;
            ensure!(
                bytes.windows(small.len()).any(|window| window == small),
                "it is not there: {extents:?}"
            );
        }
    }
    // A directory has them too.
    set(env.path(""), "user.a", &large)?;
    in_block(&at("")?, &large)?;
    mounted.end()
}

fn errnos(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let file = sparse(env, "file")?;
    fails(fiemap(&file, 0, 0, 0, 4), libc::EINVAL, "FIEMAP of nothing")?;
    fails(
        fiemap(&file, 1 << 62, 4096, 0, 4),
        libc::EFBIG,
        "FIEMAP behind the largest file",
    )?;
    fails(
        fiemap(&file, 0, 4096, 0x8000, 4),
        libc::EBADR,
        "FIEMAP with a flag that is none",
    )?;
    drop(file);
    mounted.end()
}

/// A large mapping lies as the file does, so that the processor can map it by pages of two megabytes.
fn huge(env: &Env) -> Result<()> {
    /// Such a page, in bytes.
    const HUGE: u64 = 2 << 20;
    let supported = std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists();
    if !supported {
        anyhow::bail!(super::env::Skip("kernel has no huge pages".into()));
    }
    let mounted = env.mount("")?;
    let file = open_buffered(env.path("file"))?;
    file.set_len(8 * HUGE)?;
    // One after the other, of lengths that no two could be right by chance.
    let mut mappings = Vec::new();
    for offset in [0, 4096, HUGE - 8192, HUGE] {
        let mapping = Mapping::at(&file, offset, (4 * HUGE + 4096) as usize)?;
        let place = mapping.address() as u64;
        ensure!(
            place % HUGE == offset % HUGE,
            "byte {offset} of the file is at {place:#x}"
        );
        mappings.push(mapping);
    }
    drop((mappings, file));
    mounted.end()
}

/// Who fills files on demand is asked before anybody reads them (`FAN_PRE_ACCESS`).
fn on_demand(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let path = env.path("file");
    std::fs::write(&path, [1; 5000])?;
    let asked = match PreAccess::watch(&path) {
        // A kernel without such permissions.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            anyhow::bail!(super::env::Skip(format!("fanotify: {error}")))
        }
        other => other.context("watch")?,
    };
    let reader = std::thread::spawn({
        let path = path.clone();
        move || std::fs::read(path)
    });
    let mut asked = asked;
    asked.allow_next()?;
    while !reader.is_finished() {
        // It reads more than once.
        let _ = asked.allow_next();
    }
    let data = reader
        .join()
        .map_err(|_| anyhow::anyhow!("the reader died"))??;
    ensure!(data == [1; 5000], "other data");
    drop(asked);
    mounted.end()
}
