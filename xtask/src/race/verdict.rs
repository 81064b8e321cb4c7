// SPDX-License-Identifier: GPL-2.0

//! What the rows of the race say.

use notblk_protocol::{Driver, RaceRow, Story};

use crate::errors::Code;

/// The judgement of one or more runs.
#[derive(Debug, PartialEq)]
pub struct Verdict {
    /// Whether it is the one that was hoped for.
    pub passed: bool,
    /// It and its reasons, in one line.
    pub line: String,
}

impl Verdict {
    /// Judges: for notblk, that the race appears without the drain and never with it; for a driver without the choice,
    /// that it does not appear.
    pub fn of(driver: Driver, runs: &[Vec<RaceRow>]) -> Verdict {
        let judged = match driver {
            Driver::Notblk => both_ways(runs),
            Driver::Ext4 => control(runs),
        };
        // Wrong data or a damaged filesystem outweighs whatever else there is to say.
        let (passed, line) = match unsound(runs) {
            Some(what) => (false, what),
            None => judged,
        };
        Verdict {
            passed,
            line: format!("{}: {line}", if passed { "PASSED" } else { "FAILED" }),
        }
    }

    /// The exit code that it stands for.
    pub fn code(&self) -> Code {
        match self.passed {
            true => Code::PASSED,
            false => Code::TEST_FAILED,
        }
    }
}

/// The first row that is wrong in itself.
fn unsound(runs: &[Vec<RaceRow>]) -> Option<String> {
    let row = runs.iter().flatten().find(|row| !row.sound())?;
    let drain = match row.spec.drain {
        Some(true) => " with the drain",
        Some(false) => " without the drain",
        None => "",
    };
    let why = match (&row.first_corruption, &row.fsck) {
        (Some(what), _) => format!("{} times wrong, first: {what}", row.corrupt),
        (None, Some(fsck)) => fsck.replace('\n', "; "),
        (None, None) => "nothing was run".into(),
    };
    Some(format!("{}{drain}: {why}", row.spec.story))
}

/// True where the row shows the race, by either of its signs.
fn shows(row: &RaceRow) -> bool {
    row.eio > 0 || row.log_lines > 0
}

/// The judgement of a driver that can do without the drain.
fn both_ways(runs: &[Vec<RaceRow>]) -> (bool, String) {
    let with: Vec<&RaceRow> = runs
        .iter()
        .flatten()
        .filter(|row| row.spec.drain == Some(true))
        .collect();
    if let Some(row) = with
        .iter()
        .find(|row| row.fallbacks < Some(row.iterations) || row.drains == Some(0))
    {
        return (
            false,
            format!(
                "{}: the driver did not fall back and drain, so nothing is shown",
                row.spec.story
            ),
        );
    }
    let iterations: u64 = with.iter().map(|row| row.iterations).sum();
    let bad: u64 = with
        .iter()
        .map(|row| row.eio.max(row.log_lines.min(1)))
        .sum();
    let stories = Story::ALL.into_iter().filter(|story| has(runs, *story));
    let mut rarely = false;
    let mut words = Vec::new();
    for story in stories {
        let shown = runs
            .iter()
            .filter(|rows| {
                rows.iter().any(|row| {
                    row.spec.story == story && row.spec.drain == Some(false) && row.eio > 0
                })
            })
            .count();
        // Nine runs of ten, and the only one of one.
        rarely |= shown * 10 < runs.len() * 9;
        words.push(format!("{story} in {shown} of {} runs", runs.len()));
    }
    let line = format!(
        "without the drain the race appears ({}); with it in {bad} of {iterations} iterations",
        words.join(", ")
    );
    (bad == 0 && !rarely, line)
}

fn has(runs: &[Vec<RaceRow>], story: Story) -> bool {
    runs.iter().flatten().any(|row| row.spec.story == story)
}

/// The judgement of a driver that either has the race or not.
fn control(runs: &[Vec<RaceRow>]) -> (bool, String) {
    let iterations: u64 = runs.iter().flatten().map(|row| row.iterations).sum();
    let eio: u64 = runs.iter().flatten().map(|row| row.eio).sum();
    let shown = runs.iter().flatten().any(shows);
    match shown {
        true => (
            false,
            format!("the race appears in {eio} of {iterations} iterations"),
        ),
        false => (
            true,
            format!("the race appears in none of {iterations} iterations"),
        ),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use notblk_protocol::RaceSpec;

    pub fn row(story: Story, drain: Option<bool>, eio: u64) -> RaceRow {
        RaceRow {
            spec: RaceSpec {
                story,
                drain,
                delay_ms: 50,
                iterations: 40,
                limit_secs: 0,
            },
            driver: if drain.is_some() {
                Driver::Notblk
            } else {
                Driver::Ext4
            },
            kernel: "7.3.4+deb13-amd64".into(),
            iterations: 40,
            overwrites: 900,
            eio,
            corrupt: 0,
            first_corruption: None,
            log_lines: eio.min(10),
            fallbacks: drain.map(|_| 40),
            drains: drain.map(|on| if on { 40 } else { 0 }),
            drains_waited: drain.map(|on| if on { 31 } else { 0 }),
            drain_wait_ns: drain.map(|_| 0),
            millis: 2000,
            fsck: None,
        }
    }

    fn run(off: [u64; 2], on: [u64; 2]) -> Vec<RaceRow> {
        let mut rows = Vec::new();
        for (index, story) in Story::ALL.into_iter().enumerate() {
            rows.push(row(story, Some(false), off[index]));
            rows.push(row(story, Some(true), on[index]));
        }
        rows
    }

    fn passes(runs: &[Vec<RaceRow>]) -> bool {
        Verdict::of(Driver::Notblk, runs).passed
    }

    #[test]
    fn passes_only_where_the_drain_makes_the_difference_in_every_story() {
        assert!(passes(&[run([39, 1], [0, 0])]));
        assert!(
            !passes(&[run([39, 0], [0, 0])]),
            "one story does not show it"
        );
        assert!(
            !passes(&[run([39, 40], [0, 1])]),
            "it appears in spite of the drain"
        );
    }

    #[test]
    fn nine_runs_of_ten_are_enough() {
        let good = || run([40, 40], [0, 0]);
        let poor = || run([0, 40], [0, 0]);
        let mut runs: Vec<_> = (0..9).map(|_| good()).collect();
        runs.push(poor());
        assert!(passes(&runs));
        runs[0] = poor();
        assert!(!passes(&runs));
    }

    #[test]
    fn a_log_line_alone_counts_against_the_drain() {
        let mut rows = run([40, 40], [0, 0]);
        rows[1].log_lines = 1;
        assert!(!passes(&[rows]));
    }

    #[test]
    fn wrong_data_a_dirty_fsck_or_no_fallback_fail() {
        let mut rows = run([40, 40], [0, 0]);
        rows[0].corrupt = 1;
        rows[0].first_corruption = Some("iteration 3: zeros".into());
        assert!(Verdict::of(Driver::Notblk, &[rows]).line.contains("zeros"));
        let mut rows = run([40, 40], [0, 0]);
        rows[2].fsck = Some("e2fsck: bad".into());
        assert!(!passes(&[rows]));
        let mut rows = run([40, 40], [0, 0]);
        rows[3].fallbacks = Some(0);
        assert!(!passes(&[rows]));
    }

    #[test]
    fn a_control_passes_without_the_race() {
        let quiet = vec![row(Story::Seed, None, 0)];
        let loud = vec![row(Story::Seed, None, 3)];
        assert!(Verdict::of(Driver::Ext4, &[quiet]).passed);
        let verdict = Verdict::of(Driver::Ext4, &[loud]);
        assert_eq!(verdict.code(), Code::TEST_FAILED);
        assert!(verdict.line.contains("3 of 40"), "{}", verdict.line);
    }
}
