// SPDX-License-Identifier: GPL-2.0
//! The buffered fallback: when it is taken, what it counts, and that its data is on the disk.

use super::env::Env;
use super::{for_blocks, Test};
use crate::buf::{stamp, Buffer};
use crate::fs::{open_buffered, open_direct, DISK};
use crate::sys::files::cached_pages;
use anyhow::{ensure, Result};
use notblk_protocol::Driver;
use std::os::unix::fs::FileExt;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    tests.extend(for_blocks(
        &[1024, 4096, 65536],
        "fallback/counters",
        counters,
    ));
    tests.extend(for_blocks(
        &[1024, 4096, 65536],
        "fallback/on-disk",
        on_disk,
    ));
    tests
}

/// A hole is what makes a direct write fall back, and nothing else does.
fn counters(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    let block = env.block();
    let mounted = env.mount("")?;
    let file = open_direct(env.path("file"))?;
    let data = Buffer::new(4 * block as usize);
    let count = |name: &str| env.counter(name);

    // Behind the end blocks are allocated directly.
    file.write_all_at(&data, 0)?;
    ensure!(
        count("direct_writes")? == 1,
        "direct writes: {}",
        count("direct_writes")?
    );
    ensure!(count("fallbacks")? == 0, "an extending write fell back");
    // An overwrite.
    file.write_all_at(&data, 0)?;
    ensure!(
        count("direct_writes")? == 2,
        "direct writes: {}",
        count("direct_writes")?
    );
    ensure!(count("fallbacks")? == 0, "an overwrite fell back");
    let mut back = Buffer::new(block as usize);
    file.read_exact_at(&mut back, 0)?;
    ensure!(
        count("direct_reads")? == 1,
        "direct reads: {}",
        count("direct_reads")?
    );
    // A hole, and only it.
    file.set_len(64 * block)?;
    file.write_all_at(&data, 10 * block)?;
    ensure!(
        count("fallbacks")? == 1,
        "fallbacks: {}",
        count("fallbacks")?
    );
    ensure!(
        count("fallback_bytes")? == 4 * block,
        "fallback bytes: {}",
        count("fallback_bytes")?
    );
    ensure!(count("drains")? == 1, "drains: {}", count("drains")?);
    ensure!(
        count("drains_waited")? == 0,
        "nothing was under way, and yet the drain waited"
    );
    // Written blocks first, then a hole.
    file.write_all_at(&data, 12 * block)?;
    ensure!(
        count("fallbacks")? == 2,
        "fallbacks: {}",
        count("fallbacks")?
    );
    let bytes = count("fallback_bytes")?;
    ensure!(
        bytes > 4 * block && bytes <= 8 * block,
        "fallback bytes: {bytes}"
    );
    // Now all of it is written.
    file.write_all_at(&data, 12 * block)?;
    ensure!(count("fallbacks")? == 2, "an overwrite fell back");
    // Buffered writes are no fallbacks; but they drain too, for the same reason.
    open_buffered(env.path("file"))?.write_all_at(&data, 30 * block)?;
    ensure!(
        count("fallbacks")? == 2,
        "a buffered write counts as a fallback"
    );
    ensure!(count("drains")? == 3, "drains: {}", count("drains")?);
    drop(file);
    mounted.end()?;

    let mounted = env.mount("drain=off")?;
    let file = open_direct(env.path("file"))?;
    file.write_all_at(&data, 50 * block)?;
    ensure!(
        count("fallbacks")? == 1,
        "the counters of a new mount begin at {}",
        count("fallbacks")?
    );
    ensure!(count("drains")? == 0, "drained in spite of drain=off");
    drop(file);
    mounted.end()
}

/// When a direct write returns, its data is on the disk, also if it went through the page cache.
fn on_disk(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let file = open_direct(env.path("file"))?;
    file.set_len(64 * block)?;
    let mut data = Buffer::new(block as usize);
    stamp(&mut data, 0x1122_3344_5566_7788 ^ env.seed);
    file.write_all_at(&data, 20 * block)?;
    // The pages must be gone from the cache as well, else a later direct write would find them.
    let pages = cached_pages(&file)?;
    ensure!(pages == 0, "{pages} pages are in the cache");
    let disk = open_direct(DISK)?;
    let size = u64::from(env.image.mib) << 20;
    let mut piece = Buffer::new(1 << 20);
    let mut found = false;
    for start in (0..size).step_by(piece.len()) {
        disk.read_exact_at(&mut piece, start)?;
        found |= piece
            .chunks_exact(data.len())
            .any(|chunk| chunk == &data[..]);
    }
    ensure!(
        found,
        "the data of a direct write into a hole is not on the disk"
    );
    drop(file);
    mounted.end()
}
