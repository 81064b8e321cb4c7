// SPDX-License-Identifier: GPL-2.0
//! What a direct overwrite of 4 KiB costs: on a RAM disk, whose requests are done when they have been made, so that the time is
//! the processor's and nobody else's.

use crate::buf::Buffer;
use crate::fs::{self, Image, Mounted, MNT};
use crate::{modules, sys, Guest};
use anyhow::{ensure, Context, Result};
use notblk_protocol::{CostReport, CostSpec, Event};
use std::time::Instant;

/// The RAM disk.
const DISK: &str = "/dev/ram0";
/// Bytes of an overwrite.
const SIZE: usize = 4096;
/// The file's length in them.
const BLOCKS: u64 = 64;

/// Counts, and reports.
pub fn run(guest: &Guest, spec: CostSpec) -> Result<()> {
    modules::load("brd", &["rd_nr=1", "rd_size=65536"])?;
    fs::load(guest.driver)?;
    fs::make(guest.driver, DISK, Image::default())?;
    let mounted = Mounted::new(guest.driver, DISK, MNT, "")?;
    guest.host.step("direct overwrites", 600)?;
    let mut rounds = rounds(spec)?;
    mounted.end()?;
    rounds.sort_unstable();
    let report = CostReport {
        least: *rounds.first().context("no round")?,
        median: *rounds.get(rounds.len() / 2).context("no round")?,
    };
    guest.host.send(&Event::Cost(report))
}

/// How long each round took, in nanoseconds.
fn rounds(spec: CostSpec) -> Result<Vec<u64>> {
    let path = std::path::Path::new(MNT).join("file");
    std::fs::write(&path, vec![1; SIZE * BLOCKS as usize])?;
    let file = fs::open_direct(&path)?;
    file.sync_all()?;
    let buffer = Buffer::new(SIZE);
    let mut rounds = Vec::with_capacity(spec.rounds as usize);
    for _ in 0..spec.rounds {
        let begun = Instant::now();
        for number in 0..u64::from(spec.overwrites) {
            let done = sys::pwrite_with(&file, &buffer, number % BLOCKS * SIZE as u64, 0)?;
            ensure!(done == SIZE, "{done} bytes written of {SIZE}");
        }
        rounds.push(u64::try_from(begun.elapsed().as_nanos())?);
    }
    Ok(rounds)
}
