// SPDX-License-Identifier: GPL-2.0
//! The race workload: its parameters and its figures.

use crate::Driver;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which form of the race is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Story {
    /// The seed mail's diagram: 4 KiB blocks, asynchronous overwrites of a written block against
    /// one direct write over `[hole][written]`. The two overlap.
    Seed,
    /// 1 KiB blocks: the overwrites and the write into the hole do not overlap, but their blocks
    /// share a page-cache folio.
    Folio,
}

impl Story {
    /// Both, in the order of the table.
    pub const ALL: [Story; 2] = [Story::Seed, Story::Folio];

    /// The name on the command line and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Story::Seed => "seed",
            Story::Folio => "folio",
        }
    }

    /// Block size of the filesystem that the story needs.
    pub fn block_size(self) -> u32 {
        match self {
            Story::Seed => 4096,
            Story::Folio => 1024,
        }
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One row to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RaceSpec {
    /// Which workload.
    pub story: Story,
    /// `drain=` of the mount; `None` where the driver has no such option.
    pub drain: Option<bool>,
    /// `fallback_delay_ms=` of the mount; 0 where the driver has no such option.
    pub delay_ms: u32,
    /// Writes by actor B.
    pub iterations: u64,
    /// End the row early after so many seconds; 0 for no limit.
    pub limit_secs: u64,
}

/// The figures of one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RaceRow {
    /// What was asked for.
    pub spec: RaceSpec,
    /// The driver it ran on.
    pub driver: Driver,
    /// `uname -r` of the guest.
    pub kernel: String,
    /// Writes by actor B that were done.
    pub iterations: u64,
    /// Overwrites by actor A that were done.
    pub overwrites: u64,
    /// Iterations in which a write or the fsync returned EIO: the race was seen.
    pub eio: u64,
    /// Iterations that left wrong data, a wrong size, or an error other than EIO.
    pub corrupt: u64,
    /// What the first of those was.
    pub first_corruption: Option<String>,
    /// Kernel log lines with [`crate::INVALIDATION_FAILURE`]. The kernel prints ten a day at most,
    /// so of the rows of one boot the first has them all: `eio` is what counts.
    pub log_lines: u64,
    /// The driver's own counters over the row; `None` where it has none.
    pub fallbacks: Option<u64>,
    /// Fallbacks that drained.
    pub drains: Option<u64>,
    /// Drains that had to wait.
    pub drains_waited: Option<u64>,
    /// Nanoseconds spent waiting in them.
    pub drain_wait_ns: Option<u64>,
    /// Length of the row in milliseconds, without mkfs and fsck.
    pub millis: u64,
    /// What `e2fsck -fn` complained about afterwards; `None` when it was clean.
    pub fsck: Option<String>,
}

impl RaceRow {
    /// Share of the iterations that showed the race, in per cent.
    pub fn rate(&self) -> f64 {
        if self.iterations == 0 {
            0.0
        } else {
            self.eio as f64 * 100.0 / self.iterations as f64
        }
    }

    /// Whether the row is sound apart from the race: all its iterations ran, all data was right,
    /// and the filesystem is clean.
    pub fn sound(&self) -> bool {
        self.iterations > 0 && self.corrupt == 0 && self.fsck.is_none()
    }
}
