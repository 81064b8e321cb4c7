// SPDX-License-Identifier: GPL-2.0
//! What the kernel's quota library says of damage, and when it says nothing.
//!
//! Its lines go by `printk_ratelimit` (`fs/quota/dquot.c`, `__quota_error`): after ten in five seconds it is mute until these are
//! over. A call may be told of damage then that no line is about, whatever the driver does.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// C: `DEFAULT_RATELIMIT_INTERVAL`
pub const INTERVAL: Duration = Duration::from_secs(5);
/// C: `DEFAULT_RATELIMIT_BURST`
const BURST: usize = 10;
/// What its lines begin with.
const BEGINNING: &str = "Quota error (device ";

/// When it said its last lines; or later, for they are known when an image is done with.
#[derive(Default)]
pub struct QuotaLog(VecDeque<Instant>);

impl QuotaLog {
    /// The log of an image that was done with at `now`.
    pub fn heard(&mut self, lines: &[String], now: Instant) {
        let its = lines.iter().filter(|line| line.contains(BEGINNING));
        self.0.extend(its.map(|_| now));
        let surplus = self.0.len().saturating_sub(BURST);
        self.0.drain(..surplus);
    }

    /// Whether it may have been mute during an image that was begun at `begun`.
    pub fn may_be_mute(&self, begun: Instant) -> bool {
        let first = self.0.front().filter(|_| self.0.len() >= BURST);
        first.is_some_and(|&first| first + INTERVAL >= begun)
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn it_is_mute_after_ten_lines_and_for_five_seconds() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let lines = |count| vec!["Quota error (device vda): x".to_owned(); count];
        let mut log = QuotaLog::default();
        log.heard(&lines(9), at(1));
        log.heard(&["notblk: (vda): error: x".to_owned()], at(2));
        assert!(!log.may_be_mute(at(2)));
        log.heard(&lines(1), at(3));
        assert!(log.may_be_mute(at(3)) && log.may_be_mute(at(6)));
        assert!(!log.may_be_mute(at(7)), "nine of them are too old");
        log.heard(&lines(12), at(9));
        assert!(log.may_be_mute(at(14)) && !log.may_be_mute(at(15)));
    }
}
