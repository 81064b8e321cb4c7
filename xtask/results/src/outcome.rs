// SPDX-License-Identifier: GPL-2.0

//! All results of one test in one configuration, taken together: the rounds of `-i`, the attempts of `-L`.

use std::collections::BTreeMap;

use crate::flaky::Contradiction;
use crate::{Bug, Expect, Run, Status, TestResult};

/// One configuration of one run: a column to compare with another.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    /// The run.
    pub run: &'a Run,
    /// The configuration's name.
    pub config: &'a str,
}

impl<'a> Column<'a> {
    /// What came of each test.
    pub fn outcomes(&self) -> BTreeMap<&'a str, Outcome<'a>> {
        let mut outcomes: BTreeMap<&str, Outcome> = BTreeMap::new();
        for result in self.run.of(self.config) {
            let outcome = outcomes.entry(&result.test).or_default();
            outcome.rounds.push(result);
            outcome.rounds.sort_by_key(|result| result.round);
        }
        outcomes
    }

    /// Its name beside one of `other`'s run: the run is named where it is another.
    pub fn label(&self, other: &Run) -> String {
        match self.run.run.id == other.run.id {
            true => self.config.to_owned(),
            false => format!("{} of {}", self.config, self.run.run.id),
        }
    }

    /// Why it is not there as a whole; see [`crate::ConfigInfo::faults`].
    pub fn faults(&self) -> Vec<String> {
        let mut configs = self.run.run.configs.iter();
        let config = configs.find(|it| it.name == self.config);
        config.map_or(Vec::new(), |it| it.faults())
    }

    /// How many tests are chosen and have no result yet, each round for itself.
    pub fn left(&self) -> usize {
        let run = &self.run.run;
        let Some(config) = run.configs.iter().find(|c| c.name == self.config) else {
            return 0;
        };
        (config.tests.len() * run.rounds as usize).saturating_sub(self.run.of(self.config).count())
    }
}

/// What came of one test.
#[derive(Debug, Clone, Default)]
pub struct Outcome<'a> {
    /// One result for each round that it was in; at least one.
    pub rounds: Vec<&'a TestResult>,
}

/// What an outcome amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was bad at least once.
    Bad,
    /// It ran, and never was bad.
    Pass,
    /// It was never run.
    Unrun,
}

impl<'a> Outcome<'a> {
    /// What it amounts to.
    pub fn verdict(&self) -> Verdict {
        let status = self.shown().status;
        match (status.is_bad(), status.is_unrun()) {
            (true, _) => Verdict::Bad,
            (_, true) => Verdict::Unrun,
            _ => Verdict::Pass,
        }
    }

    /// The result to show: the first that was bad, else the first that ran.
    pub fn shown(&self) -> &'a TestResult {
        let first = |wanted: fn(Status) -> bool| self.rounds.iter().find(|r| wanted(r.status));
        first(Status::is_bad)
            .or_else(|| first(|status| !status.is_unrun()))
            .unwrap_or(&self.rounds[0])
    }

    /// How often it was bad and how often it ran, all rounds and attempts.
    pub fn tally(&self) -> (usize, usize) {
        let ends = |result: &TestResult| match result.attempts.is_empty() {
            true => vec![result.status],
            false => result.attempts.clone(),
        };
        let all: Vec<Status> = self.rounds.iter().flat_map(|r| ends(r)).collect();
        let bad = all.iter().filter(|s| s.is_bad()).count();
        (bad, all.iter().filter(|s| !s.is_unrun()).count())
    }

    /// Seconds of the slowest round.
    pub fn secs(&self) -> f64 {
        self.rounds.iter().map(|r| r.secs).fold(0.0, f64::max)
    }

    /// It was bad, and the exclusions did not say so before.
    pub fn is_unexpected_failure(&self) -> bool {
        self.rounds.iter().any(|r| r.is_unexpected_failure())
    }

    /// It passed every time, though the exclusions expect a failure.
    pub fn is_unexpected_pass(&self) -> bool {
        self.verdict() == Verdict::Pass && self.shown().is_unexpected_pass()
    }

    /// A bug of this project's driver is what the exclusions say of it.
    pub fn is_known_bug_of_ours(&self) -> bool {
        let expected = self.shown().expected.as_ref();
        expected.is_some_and(|e| e.bug == Bug::Notblk)
    }

    /// The one line of why it is not a pass.
    pub fn reason(&self) -> &'a str {
        self.shown().reason.as_deref().unwrap_or("")
    }

    /// What else a reader must know beside status and reason, each in a few words.
    pub fn marks(&self) -> Vec<String> {
        let shown = self.shown();
        let mut marks = Vec::new();
        if let Some(expected) = &shown.expected {
            let whose = whose(expected.bug);
            marks.push(match expected.expect {
                Expect::Skip => format!("left out: {whose}"),
                Expect::Fail if self.is_unexpected_pass() => {
                    format!("passes unexpectedly: {whose} is expected")
                }
                Expect::Fail => format!("expected: {whose}"),
                Expect::Flaky(rate) => format!("flaky, {:.0} % expected: {whose}", rate * 100.0),
            });
        }
        if let (bad, ran @ 2..) = self.tally() {
            marks.push(format!("{bad} of {ran} bad"));
        }
        if let Some(found) = Contradiction::of(self) {
            marks.push(found.in_words());
        }
        if shown.overruled {
            marks.push("the suite itself says pass".to_owned());
        }
        marks
    }
}

/// Whose fault it is, in words.
pub fn whose(bug: Bug) -> &'static str {
    match bug {
        Bug::Notblk => "a bug of notblk",
        Bug::Kernel => "a bug of the kernel",
        Bug::Suite => "a bug of the suite",
        Bug::Format => "the format cannot do it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    #[test]
    fn one_bad_round_is_what_is_shown() {
        let ends = [Status::Skip, Status::Pass, Status::Hang, Status::Fail];
        let run = fake::rounds("generic/001", &ends);
        let outcomes = fake::column(&run).outcomes();
        let outcome = &outcomes["generic/001"];
        assert_eq!(outcome.verdict(), Verdict::Bad);
        assert_eq!(outcome.shown().status, Status::Hang);
        assert_eq!(outcome.tally(), (2, 3));
        assert_eq!(outcome.marks(), ["2 of 3 bad"]);
    }

    #[test]
    fn a_test_that_ran_once_was_run() {
        let run = fake::rounds("generic/001", &[Status::Skip, Status::Pass]);
        let outcomes = fake::column(&run).outcomes();
        assert_eq!(outcomes["generic/001"].verdict(), Verdict::Pass);
        let run = fake::rounds("generic/001", &[Status::Skip, Status::Excluded]);
        let outcomes = fake::column(&run).outcomes();
        assert_eq!(outcomes["generic/001"].verdict(), Verdict::Unrun);
    }

    #[test]
    fn attempts_count_and_ours_is_named() {
        let mut run = fake::rounds("generic/001", &[Status::Fail]);
        run.results[0].attempts = vec![Status::Fail, Status::Pass, Status::Pass];
        run.results[0].expected = Some(fake::expectation(Expect::Flaky(0.3), Bug::Notblk));
        let outcomes = fake::column(&run).outcomes();
        let outcome = &outcomes["generic/001"];
        assert!(outcome.is_known_bug_of_ours() && !outcome.is_unexpected_failure());
        let marks = [
            "flaky, 30 % expected: a bug of notblk".to_owned(),
            "1 of 3 bad".to_owned(),
        ];
        assert_eq!(outcome.marks(), marks);
    }

    #[test]
    fn what_is_chosen_and_has_no_result_is_left() {
        let mut run = fake::rounds("generic/001", &[Status::Pass, Status::Pass]);
        assert_eq!(fake::column(&run).left(), 0);
        run.run.rounds = 5;
        assert_eq!(fake::column(&run).left(), 3);
    }
}
