// SPDX-License-Identifier: GPL-2.0

//! What is seen while a run goes on: on a terminal one moving line per guest and one for all, bad tests above them; without
//! a terminal one plain line for each test that ends.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use notblk_results::{Status, TestResult};

use crate::ui::{Step, Ui};

/// The screen of a run. Guests in several threads share it.
pub struct Live {
    ui: Ui,
    total: Step,
    shared: Mutex<Shared>,
}

/// Seconds by configuration and test.
type Estimates = BTreeMap<(String, String), f64>;

struct Shared {
    began: Instant,
    /// Tests in all, those of earlier parts of a resumed run included.
    chosen: usize,
    counts: BTreeMap<Status, usize>,
    /// Seconds that the tests without a result were thought to take when the run began.
    left: f64,
    /// Of which each test of a configuration; what is learnt on the way must not change what is taken from the sum.
    estimates: Estimates,
    /// The same for those that have ended, and what they really took: how fast this host is.
    estimated: f64,
    took: f64,
    guests: u32,
}

impl Live {
    /// For `chosen` tests, in `guests` guests at a time; `left` is how many seconds those without a result may take, together and
    /// each.
    pub fn new(
        ui: &Ui,
        chosen: usize,
        done: &[Status],
        (left, estimates): (f64, Estimates),
        guests: u32,
    ) -> Self {
        let mut counts = BTreeMap::new();
        done.iter()
            .for_each(|&status| *counts.entry(status).or_default() += 1);
        Live {
            ui: ui.clone(),
            total: ui.step("run-xfstests", &format!("{chosen} tests")),
            shared: Mutex::new(Shared {
                began: Instant::now(),
                chosen,
                counts,
                left,
                estimates,
                estimated: 0.0,
                took: 0.0,
                guests,
            }),
        }
    }

    /// The guest of a step begins with a test.
    pub fn begins(&self, guest: &Step, config: &str, test: &str, known: Option<f64>) {
        let before = known.map_or(String::new(), |secs| format!(", {} before", brief(secs)));
        guest.detail(&format!("{config} {test}{before}"));
        self.total.detail(&self.with(|shared| shared.line()));
    }

    /// A test has a result.
    pub fn ended(&self, result: &TestResult) {
        let line = self.with(|shared| {
            shared.ended(result);
            shared.line()
        });
        let why = result.reason.as_deref();
        let why = why.map_or(String::new(), |why| format!("  {why}"));
        let text = format!(
            "{:<8} {:>6}  {} {}{why}",
            result.status,
            brief(result.secs),
            result.config,
            result.test
        );
        if !self.ui.is_terminal() {
            self.ui.note(&format!("{text}  [{line}]"));
        } else if result.status.is_bad() {
            self.ui.print(&text);
        }
        self.total.detail(&line);
    }

    /// The run is over.
    pub fn close(self) {
        let line = self.with(|shared| shared.line());
        self.total.done(&line);
    }

    fn with<R>(&self, work: impl FnOnce(&mut Shared) -> R) -> R {
        work(
            &mut self
                .shared
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }
}

impl Shared {
    fn ended(&mut self, result: &TestResult) {
        *self.counts.entry(result.status).or_default() += 1;
        let key = (result.config.clone(), result.test.clone());
        let estimate = self.estimates.get(&key).copied().unwrap_or_default();
        self.left = (self.left - estimate).max(0.0);
        if !result.status.is_unrun() {
            self.estimated += estimate;
            self.took += result.secs;
        }
    }

    fn line(&self) -> String {
        let done: usize = self.counts.values().sum();
        let mut line = format!("{done}/{}", self.chosen);
        for status in Status::ALL {
            if let Some(count) = self.counts.get(&status) {
                line.push_str(&format!(" {status} {count}"));
            }
        }
        if done < self.chosen {
            line.push_str(&format!(", {} left", brief(self.seconds_left())));
        } else {
            let took = self.began.elapsed().as_secs_f64();
            line.push_str(&format!(", {}", brief(took)));
        }
        line
    }

    /// What is left, corrected by how far the estimates were off so far.
    fn seconds_left(&self) -> f64 {
        // A few tests say little about the host.
        const ENOUGH: f64 = 60.0;
        let factor = match self.estimated > ENOUGH {
            true => (self.took / self.estimated).clamp(0.2, 5.0),
            false => 1.0,
        };
        self.left * factor / f64::from(self.guests.max(1))
    }
}

/// A length of time, in few letters.
pub fn brief(seconds: f64) -> String {
    let whole = Duration::from_secs_f64(seconds.max(0.0)).as_secs();
    match whole {
        0..=9 => format!("{seconds:.1} s"),
        10..=119 => format!("{whole} s"),
        120..=7199 => format!("{} min", whole / 60),
        _ => format!("{} h {:02}", whole / 3600, whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_brief() {
        let texts = [0.25, 12.7, 600.0, 7260.0].map(brief);
        assert_eq!(texts, ["0.2 s", "12 s", "10 min", "2 h 01"]);
    }

    #[test]
    fn what_is_left_follows_what_was_taken() {
        let mut shared = Shared {
            began: Instant::now(),
            chosen: 30,
            counts: BTreeMap::from([(Status::Pass, 10), (Status::Hang, 1)]),
            left: 200.0,
            estimates: BTreeMap::new(),
            estimated: 100.0,
            took: 150.0,
            guests: 2,
        };
        assert_eq!(shared.line(), "11/30 pass 10 hang 1, 2 min left");
        assert_eq!(shared.seconds_left(), 150.0);
        shared.estimated = 10.0;
        assert_eq!(shared.seconds_left(), 100.0);
    }

    #[test]
    fn what_is_learnt_on_the_way_does_not_eat_up_what_is_left() {
        let key = |test: &str| ("notblk".to_owned(), test.to_owned());
        let mut shared = Shared {
            began: Instant::now(),
            chosen: 2,
            counts: BTreeMap::new(),
            left: 43.0,
            // The first was thought to be skipped, and was not.
            estimates: BTreeMap::from([(key("generic/001"), 3.0), (key("generic/002"), 40.0)]),
            estimated: 0.0,
            took: 0.0,
            guests: 1,
        };
        let result: TestResult = serde_json::from_value(serde_json::json!({
            "config": "notblk", "test": "generic/001", "round": 1, "status": "pass", "reason": null,
            "overruled": false, "attempts": [], "secs": 30.0, "expected": null, "output": "", "log": [],
            "files": [], "boot": 1, "repeat": "",
        }))
        .unwrap();
        shared.ended(&result);
        assert_eq!(shared.seconds_left(), 40.0);
    }
}
