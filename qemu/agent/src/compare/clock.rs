// SPDX-License-Identifier: GPL-2.0
//! The guest's clock as an instrument: it is set before each operation, to a time that the operation's number gives.
//!
//! So the timestamps of two filesystems can be compared exactly: that one of them is "now" means that its second is the
//! operation's, whatever the two drivers took for it.

use anyhow::{Context, Result};
use rustix::time::{clock_gettime, clock_settime, ClockId, Timespec};
use std::time::Duration;

/// When operation 0 is. After what any tool here takes for a time from the past, before 2038.
const START: i64 = 1_900_000_000;
/// Seconds from one operation to the next: more than any takes on both sides, on a machine with too much to do as well. (After
/// 120 without a word the host gives the guest up.)
const STEP: i64 = 113;
/// Most operations that there are times for.
pub const MOST: u32 = 2_000_000;

/// Gives the clock back when it is dropped.
pub struct Clock {
    /// What the real time is ahead of the monotonic one.
    ahead: Duration,
}

impl Clock {
    /// Takes the clock.
    pub fn take() -> Clock {
        let real = since(clock_gettime(ClockId::Realtime));
        Clock {
            ahead: real.saturating_sub(since(clock_gettime(ClockId::Monotonic))),
        }
    }

    /// It is the time of operation `number` now.
    pub fn set(&self, number: u32) -> Result<()> {
        let time = Timespec {
            tv_sec: START + i64::from(number) * STEP,
            tv_nsec: 0,
        };
        clock_settime(ClockId::Realtime, time).context("set the clock")
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        let now = since(clock_gettime(ClockId::Monotonic)) + self.ahead;
        let time = Timespec {
            tv_sec: now.as_secs() as i64,
            tv_nsec: now.subsec_nanos().into(),
        };
        // Without it later tests have odd times, which none of them minds.
        let _ = clock_settime(ClockId::Realtime, time);
    }
}

fn since(time: Timespec) -> Duration {
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// A timestamp that two filesystems must agree on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// The time of this operation.
    Of(i64),
    /// A time that was asked for.
    At(i64, u32),
}

impl Time {
    /// Of what statx says.
    pub fn new(seconds: i64, nanoseconds: u32) -> Time {
        match seconds.checked_sub(START) {
            Some(after) if (0..STEP * i64::from(MOST)).contains(&after) => Time::Of(after / STEP),
            _ => Time::At(seconds, nanoseconds),
        }
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Time::Of(number) => write!(f, "that of operation {number}"),
            Time::At(seconds, nanoseconds) => write!(f, "{seconds}.{nanoseconds:09}"),
        }
    }
}
