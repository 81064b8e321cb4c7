// SPDX-License-Identifier: GPL-2.0
//! Random operations on one file, against a model in memory.

use super::direct::difference;
use super::env::Env;
use super::{for_blocks, Test};
use crate::buf::{Buffer, Random};
use crate::fs::{open_buffered, open_direct};
use crate::sys::{self, Mapping};
use anyhow::{bail, Context, Result};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// Operations per run.
const OPERATIONS: u64 = 2100;
/// The file never grows beyond this.
const LIMIT: u64 = 512 << 10;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    for_blocks(&[1024, 2048, 4096, 16384, 65536], "data/model", model)
}

/// The file, opened in every way, and what should be in it.
struct State {
    direct: File,
    buffered: File,
    expected: Vec<u8>,
}

fn model(env: &Env) -> Result<()> {
    let mut random = Random(env.seed ^ env.block());
    let mut mounted = env.mount("")?;
    let mut expected = Vec::new();
    let mut done = 0;
    // Several mounts, so that what is only in memory shows.
    for _ in 0..3 {
        let mut state = State {
            direct: open_direct(env.path("file"))?,
            buffered: open_buffered(env.path("file"))?,
            expected,
        };
        for _ in 0..OPERATIONS / 3 {
            done += 1;
            let what = step(&mut state, &mut random)
                .with_context(|| format!("operation {done}, seed {}", env.seed))?;
            if let Some(wrong) = check(&mut state, &mut random)? {
                bail!(
                    "after operation {done} ({what}), seed {}: {wrong}",
                    env.seed
                );
            }
        }
        expected = state.expected;
        drop((state.direct, state.buffered));
        mounted.end()?;
        mounted = env.mount("")?;
        if let Some(wrong) = difference(&fs::read(env.path("file"))?, &expected) {
            bail!("after a new mount, seed {}: {wrong}", env.seed);
        }
    }
    mounted.end()
}

/// One random change.
fn step(state: &mut State, random: &mut Random) -> Result<String> {
    let sectors = LIMIT / 512;
    match random.below(9) {
        0 => {
            let size = random.below(LIMIT);
            state.buffered.set_len(size)?;
            state.expected.resize(size as usize, 0);
            Ok(format!("truncate to {size}"))
        }
        1 | 2 => {
            let (offset, length) = range(random, LIMIT, 1);
            let data = bytes(random, length);
            state.buffered.write_all_at(&data, offset)?;
            put(state, offset, &data);
            Ok(format!("write {length} at {offset}"))
        }
        3..=5 => {
            let (offset, length) = range(random, sectors, 512);
            let data = bytes(random, length);
            state.direct.write_all_at(&data, offset)?;
            put(state, offset, &data);
            Ok(format!("direct write {length} at {offset}"))
        }
        6 => {
            let (offset, length) = range(random, sectors, 512);
            let data = bytes(random, length);
            let result = sys::uring_write(&state.direct, &data, offset)?;
            if result < 0 || result as u64 != length {
                bail!("io_uring write of {length} at {offset} returned {result}");
            }
            put(state, offset, &data);
            Ok(format!("io_uring write {length} at {offset}"))
        }
        7 => {
            let size = state.expected.len() as u64;
            if size == 0 {
                return Ok("nothing".into());
            }
            let (offset, length) = range(random, size, 1);
            let data = bytes(random, length);
            Mapping::new(&state.buffered, size as usize)?.write(offset as usize, &data);
            put(state, offset, &data);
            Ok(format!("mmap write {length} at {offset}"))
        }
        _ => {
            state.buffered.sync_all()?;
            Ok("fsync".into())
        }
    }
}

/// Reads a random piece in a random way.
fn check(state: &mut State, random: &mut Random) -> Result<Option<String>> {
    let size = state.expected.len() as u64;
    if state.buffered.metadata()?.len() != size {
        return Ok(Some(format!(
            "the size is {}, not {size}",
            state.buffered.metadata()?.len()
        )));
    }
    if size == 0 {
        return Ok(None);
    }
    let (found, offset, way) = match random.below(3) {
        0 => {
            let (offset, length) = range(random, size, 1);
            let mut data = vec![0; length as usize];
            state.buffered.read_exact_at(&mut data, offset)?;
            (data, offset, "read")
        }
        1 => {
            let (offset, length) = range(random, size.div_ceil(512), 512);
            let mut data = Buffer::new(length as usize);
            let length = state.direct.read_at(&mut data, offset)?;
            (data[..length].to_vec(), offset, "direct read")
        }
        _ => {
            let (offset, length) = range(random, size, 1);
            let mut data = vec![0; length as usize];
            Mapping::new(&state.buffered, size as usize)?.read(offset as usize, &mut data);
            (data, offset, "mmap read")
        }
    };
    let start = offset as usize;
    let expected = &state.expected[start..(start + found.len()).min(state.expected.len())];
    Ok(difference(&found, expected)
        .map(|wrong| format!("{way} of {} at {offset}: {wrong}", found.len())))
}

/// A random range below `limit`, both in units.
fn range(random: &mut Random, limit: u64, unit: u64) -> (u64, u64) {
    let offset = random.below(limit);
    let most = (limit - offset).min(40_000 / unit);
    (offset * unit, (1 + random.below(most)) * unit)
}

fn bytes(random: &mut Random, length: u64) -> Buffer {
    let mut data = Buffer::new(length as usize);
    random.fill(&mut data);
    data
}

/// Writes into the model.
fn put(state: &mut State, offset: u64, data: &[u8]) {
    let (start, end) = (offset as usize, offset as usize + data.len());
    if state.expected.len() < end {
        state.expected.resize(end, 0);
    }
    state.expected[start..end].copy_from_slice(data);
}
