// SPDX-License-Identifier: GPL-2.0
//! Where blocks go, and whether the counts of what is free stay right.

use super::env::Env;
use super::{for_blocks, test, Test};
use crate::buf::Buffer;
use crate::fs::{open_buffered, open_direct, tool, DISK};
use crate::sys::files::fibmap;
use anyhow::{ensure, Context, Result};
use notblk_protocol::Driver;
use rustix::fs::FallocateFlags;
use rustix::mount::{mount, MountFlags};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

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
    tests.push(test("alloc/near-parent", near_parent).block(1024));
    tests.push(test("alloc/spread", spread).block(1024));
    tests.push(test("alloc/append-after-mount", append).block(1024));
    tests.push(test("alloc/one-go", one_go));
    for size in [1024, 4096] {
        let name = format!("alloc/full-by-many-{}k", size / 1024);
        tests.push(test(&name, full_by_many).block(size).mib(16));
    }
    tests.push(test("alloc/crowd", crowd));
    tests.push(test("alloc/pieces", pieces).mib(128));
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
    env.only(Driver::Notblk)?;
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

/// How a filesystem is cut into groups.
struct Groups {
    /// The first block of the first group.
    start: u64,
    blocks: u64,
    inodes: u64,
}

impl Groups {
    /// Of the filesystem on the disk.
    fn read() -> Result<Groups> {
        let text = tool("dumpe2fs", &["-h", DISK])?;
        let field = |name: &str| -> Result<u64> {
            let value = text.lines().find_map(|line| line.strip_prefix(name));
            let value = value.with_context(|| format!("dumpe2fs says no {name:?}: {text}"))?;
            value.trim().parse().with_context(|| name.to_owned())
        };
        Ok(Groups {
            start: field("First block:")?,
            blocks: field("Blocks per group:")?,
            inodes: field("Inodes per group:")?,
        })
    }

    fn of_inode(&self, path: &Path) -> Result<u64> {
        Ok((fs::metadata(path)?.ino() - 1) / self.inodes)
    }

    fn of_block(&self, block: u64) -> u64 {
        (block - self.start) / self.blocks
    }
}

/// Directories at top level.
const DIRS: usize = 12;

/// Writes a file of so many blocks, to the disk.
fn write_blocks(env: &Env, path: &Path, blocks: u64) -> Result<()> {
    let file = open_buffered(path)?;
    file.write_all_at(&vec![1; (blocks * env.block()) as usize], 0)?;
    file.sync_all().context("fsync")
}

/// A file's inode is in the group of its directory. So are all blocks of the file, and a directory below one that is not the root.
/// (The C driver goes on where it has allocated last for any file, and its groups fill up unevenly.)
fn near_parent(env: &Env) -> Result<()> {
    const BLOCKS: u64 = 40;
    let groups = Groups::read()?;
    let mounted = env.mount("")?;
    for n in 0..DIRS {
        let dir = env.path(format!("dir{n}"));
        let below = dir.join("sub");
        fs::create_dir_all(&below)?;
        for dir in [&dir, &below] {
            let group = groups.of_inode(dir)?;
            let path = dir.join("file");
            write_blocks(env, &path, BLOCKS)?;
            let name = path.display();
            let own = groups.of_inode(&path)?;
            ensure!(
                own == group,
                "the inode of {name} is in group {own}, that of its directory in {group}"
            );
            if env.driver() != Driver::Notblk {
                continue;
            }
            let file = File::open(&path)?;
            let mut found = BTreeSet::new();
            for block in 0..BLOCKS {
                let place = u64::try_from(fibmap(&file, block as i32)?)?;
                ensure!(place > 0, "block {block} of {name} has no place");
                found.insert(groups.of_block(place));
            }
            ensure!(
                found == BTreeSet::from([group]),
                "the blocks of {name} are in the groups {found:?}, its directory in {group}"
            );
        }
        let (up, down) = (groups.of_inode(&dir)?, groups.of_inode(&below)?);
        ensure!(
            up == down || env.driver() != Driver::Notblk,
            "dir{n} is in group {up}, the directory in it in {down}"
        );
    }
    mounted.end()
}

/// Directories at top level do not crowd in one group. The same image for every driver: where groups differ in their free blocks,
/// be it by a copy of the superblock, those with more are taken first.
fn spread(env: &Env) -> Result<()> {
    let (block, mib) = (env.block().to_string(), format!("{}M", env.image.mib));
    let make = ["-q", "-F", "-t", "ext2", "-b", &block, DISK, &mib];
    tool("mke2fs", &make)?;
    let groups = Groups::read()?;
    let mounted = env.mount("")?;
    let mut found = Vec::new();
    for n in 0..DIRS {
        let dir = env.path(format!("dir{n}"));
        fs::create_dir(&dir)?;
        found.push(groups.of_inode(&dir)?);
    }
    env.note(format!("{DIRS} directories in the groups {found:?}"));
    let different = BTreeSet::from_iter(&found).len();
    ensure!(
        different >= 3,
        "{DIRS} directories are in {different} groups: {found:?}"
    );
    mounted.end()
}

/// A file that goes on after a new mount goes on behind its last block: only the indirect blocks that it needs may lie between.
/// (The C driver takes a place that it has kept for small files of any kind.)
fn append(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    let pointers = env.block() / 4;
    // Blocks to begin with; how many indirect ones the next needs.
    let cases = [
        (5, 0),
        (12, 1),
        (40, 0),
        (12 + pointers, 2),
        (20 + pointers, 0),
    ];
    let mounted = env.mount("")?;
    let name = |n: usize| env.path(format!("dir{n}/file"));
    for (n, (blocks, _)) in cases.into_iter().enumerate() {
        fs::create_dir(env.path(format!("dir{n}")))?;
        write_blocks(env, &name(n), blocks)?;
    }
    mounted.end()?;
    let mounted = env.mount("")?;
    for (n, (blocks, indirect)) in cases.into_iter().enumerate() {
        let file = open_buffered(name(n))?;
        let place = |block: u64| -> Result<i32> { Ok(fibmap(&file, block as i32)?) };
        file.write_all_at(&vec![2; env.block() as usize], blocks * env.block())?;
        file.sync_all()?;
        let (last, next) = (place(blocks - 1)?, place(blocks)?);
        ensure!(
            (last + 1..=last + 1 + indirect).contains(&next),
            "block {} of the file is at {last}, block {blocks} at {next}",
            blocks - 1
        );
    }
    mounted.end()
}

/// Where the kernel has its tracepoints.
const TRACING: &str = "/sys/kernel/tracing";

/// What the tracepoint `notblk_map` tells while something is done; `None` where the kernel has no tracepoints.
fn traced(work: impl FnOnce() -> Result<()>) -> Result<Option<String>> {
    let root = Path::new(TRACING);
    if !root.join("events").exists() {
        // Where that fails there is no switch either.
        let _ = mount("tracefs", TRACING, "tracefs", MountFlags::empty(), None);
    }
    let switch = root.join("events/notblk/notblk_map/enable");
    if !switch.exists() {
        return work().map(|()| None);
    }
    // Opened this way it becomes empty.
    File::create(root.join("trace"))?;
    fs::write(&switch, "1")?;
    let done = work();
    fs::write(&switch, "0")?;
    done?;
    Ok(Some(fs::read_to_string(root.join("trace"))?))
}

/// A write that extends a file gets its blocks in one go for each array of pointers, not one by one, and in one place.
fn one_go(env: &Env) -> Result<()> {
    const BLOCKS: usize = 256;
    let length = BLOCKS * env.block() as usize;
    let mounted = env.mount("")?;
    let mut buffer = Buffer::new(length);
    buffer.fill(0x5a);
    let file = open_direct(env.path("file"))?;
    let told = traced(|| {
        let written = file.write_at(&buffer, 0)?;
        ensure!(written == length, "{written} bytes of {length} are written");
        Ok(())
    })?;
    match told {
        Some(told) if env.driver() == Driver::Notblk => {
            let new = told.lines().filter(|line| line.contains("answer=new"));
            // Those in the inode, and those in the indirect block.
            let count = new.count();
            ensure!(
                (1..=3).contains(&count),
                "{BLOCKS} blocks were got in {count} goes:\n{told}"
            );
        }
        None if env.driver() == Driver::Notblk => env.note("no tracepoints".to_owned()),
        _ => {}
    }
    drop(file);
    ensure!(
        fs::read(env.path("file"))?.iter().all(|&byte| byte == 0x5a),
        "other contents"
    );
    mounted.end()?;
    let count = extents("file")?;
    // The C driver takes another place for what is behind the indirect block.
    let most = match env.driver() {
        Driver::Notblk => 1,
        Driver::Ext4 => 2,
    };
    ensure!(count <= most, "{BLOCKS} blocks lie in {count} places");
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

/// Who makes a file while many write waits for a processor, and not for each of the writers to have had one.
fn crowd(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    fs::create_dir(env.path("dir"))?;
    fs::create_dir(env.path("other"))?;
    let alone = made_among(env, 0)?;
    let among = made_among(env, CROWD)?;
    env.note(format!("{MADE} files: {alone:?} among as many who keep the processors busy, {among:?} where they write"));
    ensure!(
        among < alone * SLOWER + GRACE,
        "{MADE} files took {among:?} among {CROWD} writers, {alone:?} without"
    );
    mounted.end()
}

/// Writers, or others who keep the processors busy.
const CROWD: usize = 150;
/// Files that are made meanwhile.
const MADE: u32 = 10;
/// So many times as long may it take among writers,
const SLOWER: u32 = 4;
/// and so much longer, for these are short times on a busy machine.
const GRACE: Duration = Duration::from_secs(8);

/// How long it takes to make some files while others keep the processors busy, so many of them by writing.
fn made_among(env: &Env, writers: usize) -> Result<Duration> {
    const BLOCKS: u64 = 40;
    let block = [7; 4096];
    let stop = AtomicBool::new(false);
    let files = (0..2 * CROWD)
        .map(|n| open_buffered(env_path(n)))
        .collect::<Result<Vec<File>>>()?;
    // They begin together: to make a thread takes long where all are busy.
    let barrier = Barrier::new(2 * CROWD + 1);
    thread::scope(|scope| {
        let threads: Vec<_> = files
            .iter()
            .enumerate()
            .map(|(n, file)| {
                let (barrier, stop) = (&barrier, &stop);
                scope.spawn(move || {
                    barrier.wait();
                    for at in 0.. {
                        if stop.load(Relaxed) {
                            break;
                        }
                        if n >= writers {
                            std::hint::spin_loop();
                            continue;
                        }
                        if at % BLOCKS == 0 {
                            file.set_len(0)?;
                        }
                        file.write_all_at(&block, at % BLOCKS * block.len() as u64)?;
                    }
                    Ok::<_, anyhow::Error>(())
                })
            })
            .collect();
        barrier.wait();
        thread::sleep(Duration::from_secs(1));
        let begun = Instant::now();
        let made = (0..MADE).try_for_each(|n| {
            File::create(env.path(format!("other/{n}")))?;
            Ok::<_, anyhow::Error>(())
        });
        let took = begun.elapsed();
        stop.store(true, Relaxed);
        for thread in threads {
            match thread.join() {
                Ok(result) => result,
                Err(_) => anyhow::bail!("a writer panicked"),
            }?;
        }
        made?;
        for n in 0..MADE {
            fs::remove_file(env.path(format!("other/{n}")))?;
        }
        Ok(took)
    })
}

/// Where free space is in pieces, a file takes one after the other; each block must not cost a look at all of them. (The C driver
/// does look at them: it took eight times as long.)
fn pieces(env: &Env) -> Result<()> {
    const FILLER: u64 = 64 << 20;
    const BLOCKS: u64 = 8_000;
    let mounted = env.mount("")?;
    let file = open_buffered(env.path("filler"))?;
    let chunk = vec![1; 1 << 20];
    for offset in (0..FILLER).step_by(chunk.len()) {
        file.write_all_at(&chunk, offset)?;
    }
    file.sync_all()?;
    let written = |name: &str| {
        let file = open_buffered(env.path(name))?;
        let block = vec![2; env.block() as usize];
        let begun = Instant::now();
        for n in 0..BLOCKS {
            file.write_all_at(&block, n * env.block())?;
        }
        file.sync_all()?;
        Ok::<_, anyhow::Error>(begun.elapsed())
    };
    let whole = written("whole").context("in one place")?;
    // What is left in one piece is taken, so that nothing but pieces remain.
    let rest = open_buffered(env.path("rest"))?;
    let full = (0..)
        .map(|n| rest.write_at(&chunk, n << 20))
        .find(Result::is_err);
    ensure!(
        matches!(&full, Some(Err(error)) if error.raw_os_error() == Some(libc::ENOSPC)),
        "the disk is not full: {full:?}"
    );
    rest.sync_all()?;
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    for offset in (0..FILLER).step_by(2 * env.block() as usize) {
        rustix::fs::fallocate(&file, hole, offset, env.block())?;
    }
    let cut = written("cut").context("in pieces")?;
    drop((file, rest));
    env.note(format!(
        "{BLOCKS} blocks: {whole:?} in one place, {cut:?} in pieces"
    ));
    ensure!(
        cut < whole * SLOWER + GRACE / 2 || env.driver() != Driver::Notblk,
        "{BLOCKS} blocks took {cut:?} where each second block is free, {whole:?} in one place"
    );
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
