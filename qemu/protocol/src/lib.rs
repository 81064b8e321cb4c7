// SPDX-License-Identifier: GPL-2.0
//! What xtask on the host and the agent in the guest say to each other.
//!
//! The two talk over one virtio-serial port, one JSON value per line. The guest opens with
//! [`Event::Ready`]; the host answers with one [`Job`]; the guest streams [`Event`]s and ends with
//! [`Event::Done`], then powers off. Silence is failure: a run counts only what was said here, and
//! without `Done` it has not ended well, whatever came before.

#![forbid(unsafe_code)]

mod compare;
mod cost;
mod hostile;
mod job;
mod lab;
mod race;
pub mod splat;
pub mod suite;
mod test;

pub use compare::{CompareDifference, CompareKind, CompareReport, CompareSpec};
pub use cost::{CostReport, CostSpec};
pub use hostile::{HostileFailure, HostileImage, HostileReport, HostileSpec, HOSTILE_STEPS};
pub use job::{Driver, Job, Work};
pub use lab::{Differing, LabOutcome, LabReport, LabSpec, LabTrace, LabWork, Sabotage, Small};
pub use race::{RaceRow, RaceSpec, Story};
pub use suite::{SuiteSpec, SuiteStatus, SuiteTest};
pub use test::{TestSpec, Verdict};

use serde::{Deserialize, Serialize};

/// The name of the virtio-serial port, as seen in `/sys/class/virtio-ports/*/name`.
pub const PORT: &str = "notblk.agent";

/// Raised with every change that an older peer would misread. Host and agent are built from one
/// tree, so a difference means that a stale initramfs was booted.
pub const VERSION: u32 = 6;

/// What the kernel prints, rate-limited, when the completion of a direct write finds dirty pages.
pub const INVALIDATION_FAILURE: &str = "Page cache invalidation failure on direct I/O";

/// One line from the guest to the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The agent runs and waits for its job.
    Ready {
        /// [`VERSION`] of the agent.
        version: u32,
        /// `uname -r` of the guest.
        kernel: String,
    },
    /// A step begins. The host's step clock starts anew, with the limit given here.
    Step {
        /// What is done, for the progress line.
        name: String,
        /// Longest time without a further event of any kind before the step counts as hung.
        limit_secs: u64,
    },
    /// The current step moves on.
    Progress {
        /// Units done.
        done: u64,
        /// Units in all; 0 where that is not known.
        total: u64,
    },
    /// Standard output and error of a shell command, as it comes.
    Output {
        /// The bytes, invalid UTF-8 replaced.
        text: String,
    },
    /// One row of the race's table is complete.
    Row(RaceRow),
    /// The race lab has done with one spec.
    Lab(Box<LabReport>),
    /// What a direct overwrite costs.
    Cost(CostReport),
    /// The differential test has ended.
    Compared(Box<CompareReport>),
    /// The next image is about to be mounted.
    HostileImage(Box<HostileImage>),
    /// The driver did not take an image as it should.
    HostileFailed(Box<HostileFailure>),
    /// How the images since the last of these fared.
    Hostile(Box<HostileReport>),
    /// One guest test has ended.
    Test {
        /// The test's name.
        name: String,
        /// How it went.
        verdict: Verdict,
        /// What it has to say beside that: lines.
        notes: Vec<String>,
        /// How long it took, in milliseconds of the guest's clock.
        millis: u64,
    },
    /// The suite's disks are mounted, and this is what serves them: one line for each, read from the kernel.
    SuiteReady {
        /// Like `TEST (vdb, ext2): notblk`.
        proof: Vec<String>,
    },
    /// A test of the suite has begun.
    SuiteStart {
        /// Its name.
        test: String,
    },
    /// A test of the suite has ended.
    SuiteEnd(Box<SuiteTest>),
    /// What the kernel logged since the last of these; sent as it comes during a suite run.
    Log {
        /// The lines.
        lines: Vec<String>,
    },
    /// The kernel log holds a warning, a bug, an oops or a panic.
    Splat {
        /// Its lines, as far as they were seen.
        lines: Vec<String>,
    },
    /// A shell command has ended.
    Exit {
        /// Its exit code.
        code: i32,
    },
    /// The agent could not do its job: a set-up error of the guest, not a test's verdict.
    Broken {
        /// Why.
        text: String,
    },
    /// All of the job was done. The last event before the guest powers off.
    Done,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line ends a message, so no message may hold one.
    #[test]
    fn an_event_is_one_line() {
        let event = Event::Splat {
            lines: vec!["BUG: one\n".into(), "two".into()],
        };
        let text = serde_json::to_string(&event).unwrap();
        assert!(!text.contains('\n'));
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    }

    #[test]
    fn a_job_survives_the_wire() {
        let job = Job {
            driver: Driver::Notblk,
            work: Work::Race {
                rows: vec![RaceSpec {
                    story: Story::Folio,
                    drain: Some(false),
                    delay_ms: 50,
                    iterations: 40,
                    limit_secs: 0,
                }],
            },
        };
        let text = serde_json::to_string(&job).unwrap();
        assert_eq!(serde_json::from_str::<Job>(&text).unwrap(), job);
    }

    #[test]
    fn no_iterations_is_not_sound() {
        let mut row = RaceRow {
            spec: RaceSpec {
                story: Story::Seed,
                drain: None,
                delay_ms: 0,
                iterations: 1,
                limit_secs: 0,
            },
            driver: Driver::Ext4,
            kernel: "6.12".into(),
            iterations: 0,
            overwrites: 0,
            eio: 0,
            corrupt: 0,
            first_corruption: None,
            log_lines: 0,
            fallbacks: None,
            drains: None,
            drains_waited: None,
            drain_wait_ns: None,
            millis: 0,
            fsck: None,
        };
        assert!(!row.sound());
        assert_eq!(row.rate(), 0.0);
        row.iterations = 4;
        row.eio = 1;
        assert!(row.sound());
        assert_eq!(row.rate(), 25.0);
    }
}
