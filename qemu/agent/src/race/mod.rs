// SPDX-License-Identifier: GPL-2.0
//! The race between the completion of asynchronous direct writes and the buffered fallback.
//!
//! Actor A ([`actor`], some threads) keeps a queue of asynchronous `O_DIRECT` overwrites of one
//! written block under way. Actor B (this thread) writes with `O_DIRECT` into the hole beside it,
//! which falls back to the page cache. Whenever a write of A that was submitted *before* B dirtied
//! the page completes *after* it and before B's flush, the kernel finds a dirty page where it
//! must invalidate, and records EIO for the file: the next fsync returns it.
//!
//! A write of A that is submitted after the dirtying does not count; worse, its submission writes
//! the range back first (`kiocb_invalidate_pages`), and then earlier ones find nothing dirty any
//! more. So an iteration is sure to show the race where three things come together: the window
//! until B's flush is long (the driver's `fallback_delay_ms`), A's writes are under way from before
//! the dirtying until into that window (a slow disk: the host limits the second one's writes to a
//! rate that A exceeds at once), and A submits no more in it ([`Manner::Once`]). That is how rows
//! with a delay run. Rows without one run on the first disk, as fast as it goes, with A submitting
//! [on and on](Manner::OnAndOn): each order of events has its chance there.
//!
//! Nothing here punches holes: an iteration uses up one unit of a file ([`layout`]), and when all
//! units are used the file is checked, truncated and laid out again.

mod actor;
mod layout;

use crate::fs::{self, Image, Mounted, DISK, DISK2, MNT};
use crate::Guest;
use actor::{Actors, Findings, Manner};
use anyhow::{ensure, Result};
use layout::{Layout, UNITS};
use notblk_protocol::{Event, RaceRow, RaceSpec};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Runs all rows in this boot.
pub fn run(guest: &Guest, rows: &[RaceSpec]) -> Result<()> {
    fs::load(guest.driver)?;
    for spec in rows {
        let row = run_row(guest, spec)?;
        guest.host.send(&Event::Row(row))?;
    }
    Ok(())
}

/// One row: mkfs, mount, the iterations, unmount, fsck.
fn run_row(guest: &Guest, spec: &RaceSpec) -> Result<RaceRow> {
    guest.host.step(&title(guest, spec), 60)?;
    let image = Image {
        block_size: spec.story.block_size(),
        inode_size: 256,
        mib: 16,
    };
    let disk = match manner(spec) {
        Manner::Once => DISK2,
        Manner::OnAndOn => DISK,
    };
    fs::make(guest.driver, disk, image)?;
    let mounted = Mounted::new(guest.driver, disk, MNT, &options(spec))?;

    let place = guest.kmsg.settle()?;
    let started = Instant::now();
    let path = Path::new(MNT).join("race");
    let figures = iterate(spec, &path, guest, Counted::new(guest, disk))?;
    let millis = started.elapsed().as_millis() as u64;
    let log_lines = guest.kmsg.invalidation_failures_since(place)?;

    mounted.end()?;
    Ok(RaceRow {
        spec: spec.clone(),
        driver: guest.driver,
        kernel: crate::boot::release(),
        iterations: figures.iterations,
        overwrites: figures.overwrites,
        eio: figures.eio,
        corrupt: figures.findings.count,
        first_corruption: figures.findings.first,
        log_lines,
        fallbacks: figures.counted.grown("fallbacks"),
        drains: figures.counted.grown("drains"),
        drains_waited: figures.counted.grown("drains_waited"),
        drain_wait_ns: figures.counted.grown("drain_wait_ns"),
        millis,
        fsck: fs::check(disk)?,
    })
}

/// How the driver's counters grew while the actors were at work: not while the file was laid out,
/// whose buffered writes drain as well.
struct Counted<'a> {
    guest: &'a Guest,
    disk: &'a str,
    before: Option<BTreeMap<String, u64>>,
    grown: Option<BTreeMap<String, u64>>,
}

impl<'a> Counted<'a> {
    fn new(guest: &'a Guest, disk: &'a str) -> Counted<'a> {
        Counted {
            guest,
            disk,
            before: None,
            grown: None,
        }
    }

    /// The actors begin.
    fn begin(&mut self) -> Result<()> {
        self.before = fs::counters(self.guest.driver, self.disk)?;
        Ok(())
    }

    /// The actors rest.
    fn end(&mut self) -> Result<()> {
        let after = fs::counters(self.guest.driver, self.disk)?;
        let (Some(before), Some(after)) = (self.before.take(), after) else {
            return Ok(());
        };
        let grown = self.grown.get_or_insert_default();
        for (name, value) in after {
            let first = before.get(&name).copied().unwrap_or(0);
            *grown.entry(name).or_insert(0) += value.saturating_sub(first);
        }
        Ok(())
    }

    /// What a counter came to; `None` for a driver without counters.
    fn grown(&self, name: &str) -> Option<u64> {
        self.grown.as_ref()?.get(name).copied()
    }
}

/// What the progress line says.
fn title(guest: &Guest, spec: &RaceSpec) -> String {
    let drain = match spec.drain {
        Some(true) => ", drain=on",
        Some(false) => ", drain=off",
        None => "",
    };
    format!(
        "race {} on {}{drain}, {} ms",
        spec.story, guest.driver, spec.delay_ms
    )
}

/// How A goes about it.
fn manner(spec: &RaceSpec) -> Manner {
    match spec.delay_ms {
        0 => Manner::OnAndOn,
        _ => Manner::Once,
    }
}

/// The row's mount options.
fn options(spec: &RaceSpec) -> String {
    let mut options = Vec::new();
    if let Some(drain) = spec.drain {
        options.push(format!("drain={}", if drain { "on" } else { "off" }));
    }
    // A driver without the option is never asked for a delay.
    if spec.delay_ms > 0 {
        options.push(format!("fallback_delay_ms={}", spec.delay_ms));
    }
    options.join(",")
}

/// What the iterations gave.
struct Figures<'a> {
    iterations: u64,
    overwrites: u64,
    eio: u64,
    findings: Findings,
    counted: Counted<'a>,
}

/// All iterations of a row, in batches of one file layout each.
fn iterate<'a>(
    spec: &RaceSpec,
    path: &Path,
    guest: &Guest,
    mut counted: Counted<'a>,
) -> Result<Figures<'a>> {
    let layout = Layout::of(spec.story);
    let limit = match spec.limit_secs {
        0 => Duration::MAX,
        seconds => Duration::from_secs(seconds),
    };
    let started = Instant::now();
    let mut told = Instant::now();
    layout.lay_out(path)?;
    let file = fs::open_direct(path)?;
    let actors = Actors::start(&layout, &file, manner(spec))?;
    counted.begin()?;
    let mut eio = 0;
    let mut iteration = 0;
    while iteration < spec.iterations && started.elapsed() < limit {
        if iteration > 0 && iteration.is_multiple_of(UNITS) {
            actors.pause();
            counted.end()?;
            layout.verify(path, iteration - UNITS..iteration, &actors)?;
            layout.lay_out(path)?;
            counted.begin()?;
        }
        if one(&layout, &actors, path, &file, iteration)? {
            eio += 1;
        }
        iteration += 1;
        if told.elapsed() > Duration::from_millis(500) {
            told = Instant::now();
            guest.host.progress(iteration, spec.iterations)?;
        }
    }
    actors.pause();
    counted.end()?;
    let first = iteration.saturating_sub(1) / UNITS * UNITS;
    layout.verify(path, first..iteration, &actors)?;
    let (overwrites, findings) = actors.end()?;
    ensure!(overwrites > 0, "actor A never wrote");
    Ok(Figures {
        iterations: iteration,
        overwrites,
        eio,
        findings,
        counted,
    })
}

/// One iteration; whether EIO was seen.
fn one(layout: &Layout, actors: &Actors, path: &Path, file: &File, iteration: u64) -> Result<bool> {
    // A file description is told of an error once. A new one each time makes fsync's answer speak
    // of this iteration alone.
    let judge = fs::open_buffered(path)?;
    let (offset, data) = layout.write_of_b(iteration);
    actors.aim(iteration)?;
    let mut eio = false;
    match file.write_at(&data, offset) {
        Ok(length) if length == data.len() => {}
        Ok(length) => actors.found(format!("iteration {iteration}: B wrote {length} bytes")),
        Err(error) if error.raw_os_error() == Some(libc::EIO) => eio = true,
        Err(error) => actors.found(format!("iteration {iteration}: B's write: {error}")),
    }
    // From here on nothing of A can matter for this iteration; its load would only slow the fsync.
    actors.hold_off();
    match judge.sync_all() {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EIO) => eio = true,
        Err(error) => actors.found(format!("iteration {iteration}: fsync: {error}")),
    }
    eio |= actors.take_eio();
    Ok(eio)
}
