// SPDX-License-Identifier: GPL-2.0
//! Bugs that were found by reading, each with the test that would have found it.

use super::env::Env;
use super::{for_blocks, test, Test};
use crate::buf::Buffer;
use crate::fs::{open_buffered, open_direct, DISK, MNT};
use crate::sys::fading::{Fading, PAGE};
use crate::sys::Mapping;
use anyhow::{anyhow, bail, ensure, Context, Result};
use rustix::fs::{fadvise, Advice};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = for_blocks(&[1024, 4096, 65536], "regressions/short-write", short_write);
    tests.extend(for_blocks(
        &[1024, 4096, 65536],
        "regressions/mmap-after-direct-extension",
        mmap_after_direct_extension,
    ));
    tests.extend(for_blocks(
        &[1024, 4096, 65536],
        "regressions/failed-direct-extension",
        failed_direct_extension,
    ));
    tests.push(test(
        "regressions/truncate-to-same-size",
        truncate_to_same_size,
    ));
    tests.push(test("regressions/options-leave-ro", options_leave_ro));
    tests.extend(for_blocks(
        &[1024, 4096, 65536],
        "regressions/short-copies",
        short_copies,
    ));
    tests.push(test("regressions/counts-in-motion", counts_in_motion).block(1024));
    tests
}

/// A write into a hole copies some bytes, begins on what is left, and finds that it cannot copy it after all: what it has
/// copied stays. For that a page goes and comes back all the time.
fn short_copies(env: &Env) -> Result<()> {
    const FRONT: usize = 100;
    let mounted = env.mount("")?;
    let file = open_buffered(env.path("file"))?;
    let memory = Fading::new(9)?;
    let stop = AtomicBool::new(false);
    let (mut short, mut whole) = (0, 0);
    std::thread::scope(|scope| -> Result<()> {
        let fades = scope.spawn(|| -> std::io::Result<()> {
            while !stop.load(SeqCst) {
                memory.hide()?;
                memory.show()?;
            }
            Ok(())
        });
        let result = (|| {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(10) {
                file.set_len(0)?;
                file.set_len(2 * PAGE as u64)?;
                let count = memory.write_to(&file, FRONT, (PAGE - FRONT) as u64)?;
                match count {
                    0 => bail!("nothing was written"),
                    FRONT => short += 1,
                    _ => whole += 1,
                }
                file.sync_data()?;
                fadvise(&file, 0, None, Advice::DontNeed)?;
                let mut back = vec![0; count];
                file.read_exact_at(&mut back, (PAGE - FRONT) as u64)?;
                ensure!(
                    back.iter().all(|&byte| byte == 9),
                    "of {count} bytes that were written some are lost, after {short} short writes and {whole} others"
                );
            }
            Ok(())
        })();
        stop.store(true, SeqCst);
        fades.join().map_err(|_| anyhow!("it died"))??;
        result
    })?;
    env.note(format!("{short} short writes, {whole} whole ones"));
    ensure!(short > 0 && whole > 0, "the page never went, or never came");
    drop(file);
    mounted.end()
}

/// Whoever reads or writes an inode does not care for its group's counts, which another one may be changing just then.
fn counts_in_motion(env: &Env) -> Result<()> {
    const DESCRIPTOR: u64 = 2 * 1024;
    const FREE_INODES: u64 = DESCRIPTOR + 14;
    let mounted = env.mount("")?;
    let path = env.path("file");
    let file = open_buffered(&path)?;
    file.sync_all()?;
    // Through the cache that the filesystem has its descriptors in.
    let disk = File::options().read(true).write(true).open(DISK)?;
    let mut before = [0; 2];
    disk.read_exact_at(&mut before, FREE_INODES)?;
    // Together with the directories there are more than all inodes now.
    disk.write_all_at(&u16::MAX.to_le_bytes(), FREE_INODES)?;
    let result = file
        .set_modified(std::time::UNIX_EPOCH)
        .and_then(|()| file.sync_all());
    disk.write_all_at(&before, FREE_INODES)?;
    result.context("fsync")?;
    file.write_all_at(b"still writable", 0)?;
    drop((file, disk));
    mounted.end()
}

/// Truncating to the size that a file has changes its times, as POSIX has it.
fn truncate_to_same_size(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let path = env.path("file");
    fs::write(&path, b"four")?;
    let file = File::options().write(true).open(&path)?;
    let then = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000);
    file.set_modified(then)?;
    ensure!(file.metadata()?.modified()? == then, "the time is not set");
    file.set_len(4)?;
    ensure!(
        file.metadata()?.modified()? != then,
        "the time is as before"
    );
    ensure!(fs::read(&path)? == b"four", "other contents");
    drop(file);
    mounted.end()
}

/// A direct write that extends the file and fails half way has written to the last block, behind the end of the file: nobody
/// sees that.
fn failed_direct_extension(env: &Env) -> Result<()> {
    const SIZE: u64 = 11_776;
    const PAGE: u64 = 4096;
    let mounted = env.mount("")?;
    let path = env.path("file");
    let file = open_direct(&path)?;
    let mut data = Buffer::new(32_768);
    data.fill(1);
    file.write_all_at(&data[..PAGE as usize], 0)?;
    file.write_all_at(&data[..(SIZE - PAGE) as usize], PAGE)?;
    // Not whole sectors: its end cannot be written.
    let count = file.write_at(&data[..28_521], SIZE);
    ensure!(count.is_err(), "{count:?} of sectors that are not whole");
    ensure!(file.metadata()?.len() == SIZE, "the size has changed");
    let behind = |when: &str| -> Result<()> {
        let mapping = Mapping::new(&open_buffered(&path)?, 3 * PAGE as usize)?;
        let mut rest = vec![9; (3 * PAGE - SIZE) as usize];
        mapping.read(SIZE as usize, &mut rest);
        ensure!(
            rest.iter().all(|&byte| byte == 0),
            "{when}: behind the end of the file are bytes that are not zero"
        );
        Ok(())
    };
    behind("at once")?;
    drop(file);
    mounted.end()?;
    let mounted = env.mount("")?;
    behind("from the disk")?;
    mounted.end()
}

/// A buffered write into a hole that ends early leaves no block behind that shows what the disk had.
fn short_write(env: &Env) -> Result<()> {
    const PAGE: usize = 4096;
    let mounted = env.mount("")?;
    let old = env.path("old");
    fs::write(&old, vec![0xff; 4 << 20])?;
    File::open(&old)?.sync_all()?;
    fs::remove_file(&old)?;
    rustix::fs::sync();

    // Memory of which only the first five pages are there.
    let source = open_buffered(env.path("source"))?;
    source.write_all_at(&vec![0x11; 16 * PAGE], 0)?;
    let memory = Mapping::new(&source, 16 * PAGE)?;
    source.set_len(5 * PAGE as u64)?;

    let path = env.path("target");
    let target = open_buffered(&path)?;
    target.set_len(64 * PAGE as u64)?;
    let at = 8 * PAGE as u64 + 100;
    let count = memory.write_to(&target, at)?;
    ensure!(
        count > 0 && count <= 5 * PAGE,
        "the write should have been short, but wrote {count} bytes"
    );
    // Past the end of the file likewise.
    let beyond = memory.write_to(&target, 80 * PAGE as u64)?;
    ensure!(beyond <= 5 * PAGE, "wrote {beyond} bytes of five pages");
    ensure!(
        target.metadata()?.len() == 80 * PAGE as u64 + beyond as u64,
        "the size is {} after {beyond} bytes at page 80",
        target.metadata()?.len()
    );
    let check = |when: &str| -> Result<()> {
        let data = fs::read(&path)?;
        for (i, &byte) in data.iter().enumerate() {
            let i = i as u64;
            let written = (at..at + count as u64).contains(&i) || i >= 80 * PAGE as u64;
            ensure!(
                byte == if written { 0x11 } else { 0 },
                "{when}: byte {i} is {byte:#x}"
            );
        }
        Ok(())
    };
    check("from the cache")?;
    let sectors = target.metadata()?.blocks();
    let most = (count + beyond) as u64 / 512 + 4 * env.block() / 512 + 16;
    ensure!(
        sectors <= most,
        "{sectors} sectors for {count} and {beyond} bytes"
    );
    drop(memory);
    drop(target);
    drop(source);
    mounted.end()?;
    let mounted = env.mount("ro")?;
    check("from the disk")?;
    mounted.end()
}

/// A page over the old end of a file may be writable by mmap when a direct write extends the file: what is stored into
/// its later blocks after that must have a place.
fn mmap_after_direct_extension(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let path = env.path("file");
    let file = open_buffered(&path)?;
    file.write_all_at(&[1; 1000], 0)?;
    file.sync_all()?;
    let mapping = Mapping::new(&file, 4096)?;
    // Makes the page writable; its blocks past the end have none on disk.
    mapping.write(10, b"first");
    let direct = open_direct(&path)?;
    direct.write_all_at(&Buffer::from(&[2; 4096]), 8192)?;
    mapping.write(2000, b"second");
    mapping.sync()?;
    drop(mapping);
    drop(direct);
    drop(file);
    mounted.end()?;
    let mounted = env.mount("ro")?;
    let data = fs::read(&path)?;
    ensure!(data.len() == 12288, "the size is {}", data.len());
    ensure!(&data[10..15] == b"first", "lost what was stored before");
    ensure!(
        &data[2000..2006] == b"second",
        "lost what was stored after the file grew"
    );
    ensure!(
        data[1000..2000]
            .iter()
            .chain(&data[2006..8192])
            .all(|&byte| byte == 0),
        "something else shows"
    );
    mounted.end()
}

/// Changing an option of a read-only mount, by the new mount API, leaves the disk alone.
fn options_leave_ro(env: &Env) -> Result<()> {
    use rustix::mount::{fsconfig_reconfigure, fsconfig_set_string, fspick, FsPickFlags};
    env.only(notblk_protocol::Driver::Notblk)?;
    let superblock = || -> Result<Vec<u8>> {
        let mut data = vec![0; 1024];
        File::open(DISK)?.read_exact_at(&mut data, 1024)?;
        Ok(data)
    };
    let before = superblock()?;
    let mounted = env.mount("ro")?;
    let context = fspick(rustix::fs::CWD, MNT, FsPickFlags::FSPICK_CLOEXEC).context("fspick")?;
    fsconfig_set_string(&context, "drain", "off").context("drain=off")?;
    fsconfig_reconfigure(&context).context("reconfigure")?;
    drop(context);
    let options = crate::fs::shown_options(MNT)?;
    ensure!(
        options.contains(&"ro".to_owned()) && options.contains(&"drain=off".to_owned()),
        "the options are {options:?}"
    );
    mounted.end()?;
    ensure!(
        superblock()? == before,
        "a read-only mount has changed the superblock"
    );
    Ok(())
}
