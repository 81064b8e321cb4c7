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
    failures: Vec<String>,
    /// Of hangs and splats, the graver.
    worst: Option<Code>,
}

/// The results of one group of tests.
#[derive(Default)]
struct Group {
    passed: usize,
    failed: usize,
    skipped: usize,
    time: Duration,
}

impl Report {
    /// One test has ended.
    pub fn add(&mut self, name: &str, verdict: &Verdict, time: Duration) {
        let group = name.split(['/', ' ']).next().unwrap_or(name);
        let group = self.groups.entry(group.to_owned()).or_default();
        group.time += time;
        let seconds = time.as_secs_f64();
        match verdict {
            Verdict::Passed => {
                group.passed += 1;
                println!("passed   {name} ({seconds:.1} s)");
            }
            Verdict::Skipped(why) => {
                group.skipped += 1;
                println!("skipped  {name}: {why}");
            }
            Verdict::Failed(why) => {
                group.failed += 1;
                self.failures.push(name.to_owned());
                println!("FAILED   {name} ({seconds:.1} s)");
                why.lines().for_each(|line| println!("         {line}"));
            }
        }
    }

    /// What the test that was added last has to say beside its verdict.
    pub fn note(&self, lines: &[String]) {
        lines.iter().for_each(|line| println!("         {line}"));
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
        self.worst = self.worst.max_by_gravity(code);
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
        let mut sum = Group::default();
        for (name, group) in &self.groups {
            println!(
                "{name:width$}  {:>6}  {:>6}  {:>7}  {:>5.1} s",
                group.passed,
                group.failed,
                group.skipped,
                group.time.as_secs_f64()
            );
            sum.passed += group.passed;
            sum.failed += group.failed;
            sum.skipped += group.skipped;
        }
        if !self.failures.is_empty() {
            println!("\nfailed: {}", self.failures.join(", "));
        }
        println!(
            "\n{} passed, {} failed, {} skipped",
            sum.passed, sum.failed, sum.skipped
        );
        match (self.worst, sum.failed, sum.passed) {
            (Some(code), _, _) => code,
            // Nothing passed: nothing is shown.
            (None, 0, 1..) => Code::PASSED,
            _ => Code::TEST_FAILED,
        }
    }
}

/// Of two bad ends, the one to report.
trait Gravity {
    fn max_by_gravity(self, other: Code) -> Self;
}

impl Gravity for Option<Code> {
    fn max_by_gravity(self, other: Code) -> Self {
        // A splat says more than a hang, and a hang more than a set-up that failed.
        let gravity = |code: Code| {
            [Code::HOST, Code::HANG, Code::SPLAT]
                .iter()
                .position(|&known| known == code)
        };
        match self {
            Some(code) if gravity(code) >= gravity(other) => Some(code),
            _ => Some(other),
        }
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
