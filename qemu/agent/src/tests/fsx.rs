// SPDX-License-Identifier: GPL-2.0
//! The fsx crate: random operations on one file, against its own model.
//!
//! fsx itself opens files through the page cache only. Its direct runs therefore go through a loop
//! device in direct mode: fsx works on the block device, and the loop driver's workers turn that
//! into asynchronous direct reads and writes of a sparse file on the filesystem under test. That is
//! also how generic/746, where the seed's bug was found, comes to its concurrent direct writes.
//!
//! `cargo xtask test --fsx-ops N fsx/` makes long runs of them, in parts of a seed each.

use super::env::Env;
use super::{test, Test};
use crate::fs::{open_direct, tool_code};
use crate::modules;
use crate::sys::Loop;
use anyhow::{bail, ensure, Result};
use std::fs;

/// Operations per run through the cache.
const OPERATIONS: u32 = 6_000;
/// Operations by mappings: each write is followed by an msync, and each page costs a fault.
const MMAP_OPERATIONS: u32 = 2_000;
/// Operations on the loop device, which take longer.
const LOOP_OPERATIONS: u32 = 3_000;

/// Operations of one part of a long run: few enough that the host hears of each part in time, where mappings are slow and the
/// machine has other guests too.
const PART: u32 = 2_500;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (size, mib) in [(1024, 64), (4096, 64), (65_536, 256)] {
        let name = |what: &str| format!("fsx/{what}-{}k", size / 1024);
        let mut add = |what: &str, run: fn(&Env) -> Result<()>| {
            tests.push(test(&name(what), run).block(size).mib(mib));
        };
        add("buffered", |env| cached(env, BUFFERED, OPERATIONS));
        add("mmap", |env| cached(env, MMAP, MMAP_OPERATIONS));
        add("direct", direct);
    }
    tests
}

/// Read, write, truncate, fsync, and what else goes without mappings.
const BUFFERED: &str = "
flen = 1048576
[weights]
close_open = 1
read = 10
write = 10
mapread = 0
mapwrite = 0
invalidate = 0
truncate = 5
fsync = 1
fdatasync = 1
sendfile = 2
posix_fadvise = 2
copy_file_range = 2
punch_hole = 4
";

/// Mostly by mappings.
const MMAP: &str = "
flen = 524288
[weights]
close_open = 1
read = 3
write = 3
mapread = 10
mapwrite = 10
invalidate = 1
truncate = 5
fsync = 1
punch_hole = 4
";

/// On a block device, whose size stays: the loop driver punches holes into the file. Small operations with many a sync, so that much goes down to the file.
const BLOCK: &str = "
flen = 4194304
blockmode = true
nosizechecks = true
[opsize]
max = 32768
align = 512
[weights]
read = 10
write = 20
mapread = 2
mapwrite = 4
truncate = 0
invalidate = 2
fsync = 4
posix_fadvise = 4
punch_hole = 4
";

/// Runs fsx with a configuration, `operations` long or as long as the host wants it.
fn run(env: &Env, config: &str, operations: u32, path: &str) -> Result<()> {
    fs::write("/tmp/fsx.toml", config)?;
    let operations = env.fsx_ops.unwrap_or(operations);
    let mut done = 0;
    while done < operations {
        let part = PART.min(operations - done);
        let seed = env.seed.wrapping_add(u64::from(done / PART));
        part_of_it(seed, part, path)?;
        done += part;
        env.guest.host.progress(done.into(), operations.into())?;
    }
    Ok(())
}

/// One run of fsx.
fn part_of_it(seed: u64, operations: u32, path: &str) -> Result<()> {
    let seed = seed.to_string();
    let operations = operations.to_string();
    let arguments = [
        "-f",
        "/tmp/fsx.toml",
        "-N",
        &operations,
        "-S",
        &seed,
        "-P",
        "/tmp",
        path,
    ];
    let (code, text) = tool_code("fsx", &arguments)?;
    if code != 0 {
        let lines: Vec<_> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(15)..].join("\n");
        bail!("fsx -S {seed} ended with {code}:\n{tail}");
    }
    ensure!(
        text.contains("All operations completed"),
        "fsx did not finish:\n{text}"
    );
    Ok(())
}

fn cached(env: &Env, config: &str, operations: u32) -> Result<()> {
    let mounted = env.mount("")?;
    run(env, config, operations, "/mnt/fsx")?;
    mounted.end()
}

fn direct(env: &Env) -> Result<()> {
    modules::load("loop", &[])?;
    let mounted = env.mount("")?;
    let file = open_direct(env.path("backing"))?;
    file.set_len(4 << 20)?;
    let device = Loop::attach(&file)?;
    let dio = fs::read_to_string(format!("/sys/block/{}/loop/dio", device.name()))?;
    ensure!(dio.trim() == "1", "the loop device is not in direct mode");
    run(
        env,
        BLOCK,
        LOOP_OPERATIONS,
        &format!("/dev/{}", device.name()),
    )?;
    device.detach()?;
    drop(file);
    mounted.end()
}
