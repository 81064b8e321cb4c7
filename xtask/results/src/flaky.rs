// SPDX-License-Identifier: GPL-2.0

//! Whether `expect = "flaky(RATE)"` is still true: the declared rate against the rate that a run measured.
//!
//! With a test that fails at the declared rate, the number of its failures is binomial. Where a number as far out as the
//! measured one comes up in less than one run of a hundred, the declaration is contradicted. So a few rounds say nothing
//! about a rate of 10 %, and only fifty-one passes in a row contradict it.

use crate::{Expect, Outcome, Status};

/// How unlikely, on either side, a measured number must be: together one of a hundred.
const TAIL: f64 = 0.005;

/// A rate that was declared, and what was measured instead.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contradiction {
    /// The declared rate.
    pub declared: f64,
    /// How often it was bad,
    pub bad: u32,
    /// of how many times that it ran.
    pub ran: u32,
}

impl Contradiction {
    /// What contradicts the exclusions in what came of a test, if anything does. One run of it never does.
    pub fn of(outcome: &Outcome) -> Option<Self> {
        let Some(Expect::Flaky(declared)) = outcome.shown().expected.as_ref().map(|e| e.expect)
        else {
            return None;
        };
        let ends = sample(outcome);
        let count = |wanted: fn(Status) -> bool| {
            let fitting = ends.iter().filter(|&&end| wanted(end));
            u32::try_from(fitting.count()).unwrap_or(u32::MAX)
        };
        let (bad, ran) = (count(Status::is_bad), count(|_| true));
        let contradicts = ran >= 2 && is_contradicted(declared, bad, ran);
        contradicts.then_some(Contradiction { declared, bad, ran })
    }

    /// The same in words.
    pub fn in_words(&self) -> String {
        let Contradiction { declared, bad, ran } = self;
        format!("bad {bad} times of {ran}, which contradicts flaky({declared})")
    }
}

/// Ends of a test that were not chosen for being bad: the first of each round; in a single round, what followed on its
/// first attempt, because `-L` only repeats what has failed. Where the guest died or nothing was run, nothing was measured.
fn sample(outcome: &Outcome) -> Vec<Status> {
    let mut ends: Vec<Status> = match outcome.rounds[..] {
        [only] => only.attempts.iter().skip(1).copied().collect(),
        ref rounds => rounds
            .iter()
            .map(|round| *round.attempts.first().unwrap_or(&round.status))
            .collect(),
    };
    ends.retain(|end| !end.is_unrun() && *end != Status::Died);
    ends
}

/// Whether `bad` of `ran` is too few or too many for a test that is bad at this rate.
fn is_contradicted(rate: f64, bad: u32, ran: u32) -> bool {
    let (mut at_most, mut at_least) = (0.0, 0.0);
    // The probability of 0, 1, 2, ... bad ones, by its logarithm: 0.5 to the power of a few thousand is no number.
    let odds = rate.ln() - (-rate).ln_1p();
    let mut log = f64::from(ran) * (-rate).ln_1p();
    for number in 0..=ran {
        let probability = log.exp();
        if number <= bad {
            at_most += probability;
        }
        if number >= bad {
            at_least += probability;
        }
        log += (f64::from(ran - number) / f64::from(number + 1)).ln() + odds;
    }
    at_most < TAIL || at_least < TAIL
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fake, Bug, Run};

    /// What is found in a run of this many rounds, of which some were bad.
    fn found(rate: f64, bad: usize, ran: usize) -> Option<Contradiction> {
        let mut ends = vec![Status::Fail; bad];
        ends.resize(ran, Status::Pass);
        of(fake::rounds("generic/001", &ends), rate)
    }

    fn of(mut run: Run, rate: f64) -> Option<Contradiction> {
        for result in &mut run.results {
            result.expected = Some(fake::expectation(Expect::Flaky(rate), Bug::Suite));
        }
        Contradiction::of(&fake::column(&run).outcomes()["generic/001"])
    }

    #[test]
    fn a_rate_is_contradicted_with_enough_runs_only() {
        for (rate, bad, ran, wanted) in [
            // 0.9^50 is 0.0052, 0.9^51 is 0.0046.
            (0.1, 0, 50, false),
            (0.1, 0, 51, true),
            (0.1, 1, 10, false),
            (0.1, 5, 10, true),
            (0.5, 10, 10, true),
            (0.5, 0, 5, false),
            (0.9, 900, 1000, false),
            (0.9, 860, 1000, true),
            // Beyond what a probability of its own could tell.
            (0.5, 2500, 5000, false),
            (0.5, 2700, 5000, true),
            // Once is nothing, however rare it should be.
            (0.001, 1, 1, false),
        ] {
            assert_eq!(
                found(rate, bad, ran).is_some(),
                wanted,
                "{rate} {bad}/{ran}"
            );
        }
        let words = found(0.1, 5, 10).unwrap().in_words();
        assert_eq!(words, "bad 5 times of 10, which contradicts flaky(0.1)");
    }

    #[test]
    fn only_a_declared_rate_is_held_against_what_was_measured() {
        let mut run = fake::rounds("generic/001", &[Status::Fail; 100]);
        assert!(Contradiction::of(&fake::column(&run).outcomes()["generic/001"]).is_none());
        for result in &mut run.results {
            result.expected = Some(fake::expectation(Expect::Fail, Bug::Suite));
        }
        assert!(Contradiction::of(&fake::column(&run).outcomes()["generic/001"]).is_none());
    }

    #[test]
    fn what_was_repeated_for_being_bad_is_not_counted_as_such() {
        let with_attempts = |ends: Vec<Status>| {
            let mut run = fake::rounds("generic/001", &ends[..1]);
            run.results[0].attempts = ends;
            run
        };
        let mut ends = vec![Status::Fail, Status::Pass, Status::Pass];
        assert_eq!(of(with_attempts(ends.clone()), 0.001), None);
        ends.extend([Status::Fail, Status::Fail]);
        let found = of(with_attempts(ends), 0.001).unwrap();
        assert_eq!((found.bad, found.ran), (2, 4));
        // Of rounds, the first attempts.
        let mut run = fake::rounds("generic/001", &[Status::Fail, Status::Pass, Status::Pass]);
        run.results[0].attempts = vec![Status::Fail; 50];
        assert_eq!(of(run, 0.3), None);
    }

    #[test]
    fn what_did_not_run_measures_nothing() {
        for end in [Status::Died, Status::Skip, Status::Excluded] {
            let run = fake::rounds("generic/001", &[end; 100]);
            assert_eq!(of(run, 0.5), None, "{end}");
        }
    }
}
