// SPDX-License-Identifier: GPL-2.0

//! Results, as they come and in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use notblk_protocol::Verdict;

use crate::errors::Code;

/// All results so far.
#[derive(Default)]
pub struct Report {
    groups: BTreeMap<String, Group>,
    /// Tests that failed, with the first line of the reason.
    pub failures: Vec<(String, String)>,
    /// Tests that do not apply, and why.
    pub skips: Vec<(String, String)>,
    /// Of hangs and splats, the graver.
    worst: Option<Code>,
    /// How long the first guest took to its first word.
    pub boot: Option<Duration>,
    /// True where stdout is for something else, and results as they come are progress.
    as_progress: bool,
    /// True where a kernel whose first guest does not come up is not tried again for the next test.
    pub gives_up: bool,
}

/// The results of one group of tests.
#[derive(Default)]
pub struct Group {
    /// How many passed,
    pub passed: usize,
    /// failed,
    pub failed: usize,
    /// and do not apply.
    pub skipped: usize,
    time: Duration,
}

impl Report {
    /// One of several kernels': shows results on stderr as they come, and gives up on a kernel that does not boot.
    pub fn as_progress() -> Report {
        Report {
            as_progress: true,
            gives_up: true,
            ..Report::default()
        }
    }

    fn say(&self, line: &str) {
        match self.as_progress {
            true => eprintln!("{line}"),
            false => println!("{line}"),
        }
    }

    /// One test has ended.
    pub fn add(&mut self, name: &str, verdict: &Verdict, time: Duration) {
        let group = name.split(['/', ' ']).next().unwrap_or(name);
        let group = self.groups.entry(group.to_owned()).or_default();
        group.time += time;
        let seconds = time.as_secs_f64();
        match verdict {
            Verdict::Passed => {
                group.passed += 1;
                self.say(&format!("passed   {name} ({seconds:.1} s)"));
            }
            Verdict::Skipped(why) => {
                group.skipped += 1;
                self.skips.push((name.to_owned(), why.replace('\n', "; ")));
                self.say(&format!("skipped  {name}: {why}"));
            }
            Verdict::Failed(why) => {
                group.failed += 1;
                let first = why.lines().next().unwrap_or_default();
                self.failures.push((name.to_owned(), first.to_owned()));
                self.say(&format!("FAILED   {name} ({seconds:.1} s)"));
                why.lines()
                    .for_each(|line| self.say(&format!("         {line}")));
            }
        }
    }

    /// What the test that was added last has to say beside its verdict.
    pub fn note(&self, lines: &[String]) {
        lines
            .iter()
            .for_each(|line| self.say(&format!("         {line}")));
    }

    /// Many tests of a group have ended, with no more known than their number.
    pub fn add_many(
        &mut self,
        group: &str,
        passed: usize,
        failed: usize,
        skipped: usize,
        time: Duration,
    ) {
        let entry = self.groups.entry(group.to_owned()).or_default();
        entry.passed += passed;
        entry.failed += failed;
        entry.skipped += skipped;
        entry.time += time;
    }

    /// A boot ended in a hang or with a splat.
    pub fn ended_badly(&mut self, code: Code) {
        self.worst = Code::worst(self.worst.into_iter().chain([code]));
    }

    /// Prints the table and the closing line; returns the exit code.
    pub fn close(self) -> Code {
        let width = self
            .groups
            .keys()
            .map(String::len)
            .max()
            .unwrap_or(0)
            .max(5);
        println!("\n{:width$}  passed  failed  skipped     time", "group");
        for (name, group) in &self.groups {
            println!(
                "{name:width$}  {:>6}  {:>6}  {:>7}  {:>5.1} s",
                group.passed,
                group.failed,
                group.skipped,
                group.time.as_secs_f64()
            );
        }
        if !self.failures.is_empty() {
            let names: Vec<&str> = self
                .failures
                .iter()
                .map(|(name, _)| name.as_str())
                .collect();
            println!("\nfailed: {}", names.join(", "));
        }
        let sum = self.sum();
        println!(
            "\n{} passed, {} failed, {} skipped",
            sum.passed, sum.failed, sum.skipped
        );
        self.code()
    }

    /// All groups together.
    pub fn sum(&self) -> Group {
        let mut sum = Group::default();
        for group in self.groups.values() {
            sum.passed += group.passed;
            sum.failed += group.failed;
            sum.skipped += group.skipped;
        }
        sum
    }

    /// The exit code.
    pub fn code(&self) -> Code {
        let sum = self.sum();
        match (self.worst, sum.failed, sum.passed) {
            (Some(code), _, _) => code,
            // Nothing passed: nothing is shown.
            (None, 0, 1..) => Code::PASSED,
            _ => Code::TEST_FAILED,
        }
    }

    /// True where nothing has been found yet that would fail a run.
    pub fn is_good_so_far(&self) -> bool {
        self.worst.is_none() && self.failures.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdicts: &[Verdict]) -> Report {
        let mut report = Report::default();
        for (number, verdict) in verdicts.iter().enumerate() {
            report.add(&format!("group/{number}"), verdict, Duration::ZERO);
        }
        report
    }

    #[test]
    fn one_failure_fails_all() {
        let failed = Verdict::Failed("why".into());
        assert_eq!(
            report(&[Verdict::Passed, Verdict::Passed]).close(),
            Code::PASSED
        );
        assert_eq!(
            report(&[Verdict::Passed, failed]).close(),
            Code::TEST_FAILED
        );
    }

    #[test]
    fn names_and_reasons_are_kept() {
        let mut report = report(&[
            Verdict::Skipped("only for ext4".into()),
            Verdict::Failed("first\nsecond".into()),
            Verdict::Passed,
        ]);
        let pair = |name: &str, why: &str| (name.to_owned(), why.to_owned());
        assert_eq!(report.skips, [pair("group/0", "only for ext4")]);
        assert_eq!(report.failures, [pair("group/1", "first")]);
        let sum = report.sum();
        assert_eq!((sum.passed, sum.failed, sum.skipped), (1, 1, 1));
        report.ended_badly(Code::HANG);
        assert_eq!(report.code(), Code::HANG);
        assert!(!report.is_good_so_far());
    }

    #[test]
    fn nothing_but_skipped_tests_is_no_pass() {
        assert_eq!(
            report(&[Verdict::Skipped("why".into())]).close(),
            Code::TEST_FAILED
        );
        assert_eq!(report(&[]).close(), Code::TEST_FAILED);
    }

    #[test]
    fn a_splat_outweighs_a_hang() {
        for order in [[Code::HANG, Code::SPLAT], [Code::SPLAT, Code::HANG]] {
            let mut report = report(&[Verdict::Passed]);
            order.into_iter().for_each(|code| report.ended_badly(code));
            assert_eq!(report.close(), Code::SPLAT);
        }
    }
}
