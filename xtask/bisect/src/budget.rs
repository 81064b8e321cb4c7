// SPDX-License-Identifier: GPL-2.0

//! The error that the user allows, shared out.
//!
//! Two things can go wrong, given that the signature itself is never wrong. The bad end may have shown it more often than it
//! really does: then all runs are too few. That gets a quarter of the error. A bad commit may keep quiet in all its runs: the
//! rest, in equal parts among the steps that are left, and one part always stays for a step that nobody foresaw.
//!
//! The sum of the parts bounds the probability that any verdict is wrong, whatever depends on whatever.

use crate::stats::{clean_runs, miss};

/// The share of the allowed error for the measured rate.
const MEASURE: f64 = 0.25;

/// The allowed error and what of it is spent.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    allowed: f64,
    spent: f64,
    /// What the signature's probability is at least.
    floor: f64,
    /// Verdicts still to come, as far as that is foreseen.
    steps: u32,
}

impl Budget {
    /// What of an allowed error may be lost on the measured rate.
    #[must_use]
    pub fn for_measure(allowed: f64) -> f64 {
        allowed * MEASURE
    }

    /// For so many verdicts, of what shows itself with probability `floor` at least. `measured` is the error in that.
    #[must_use]
    pub fn new(allowed: f64, measured: f64, floor: f64, steps: u32) -> Self {
        Budget {
            allowed,
            spent: measured,
            floor,
            steps,
        }
    }

    /// So many verdicts are still to come.
    pub fn expect(&mut self, steps: u32) {
        self.steps = steps;
    }

    /// The part of the next verdict.
    #[must_use]
    pub fn part(&self) -> f64 {
        (self.allowed - self.spent).max(0.0) / f64::from(self.steps.max(1) + 1)
    }

    /// How many runs without it make the next verdict good.
    #[must_use]
    pub fn runs(&self) -> Option<u64> {
        clean_runs(self.floor, self.part())
    }

    /// A verdict was given; good after so many runs, where it was. Returns what that adds to the error.
    pub fn judged(&mut self, clean: Option<u64>) -> f64 {
        self.steps = self.steps.saturating_sub(1);
        let added = clean.map_or(0.0, |runs| miss(self.floor, runs));
        self.spent += added;
        added
    }

    /// The bound so far.
    #[must_use]
    pub fn spent(&self) -> f64 {
        self.spent
    }

    /// What a bad commit's probability to show it is taken to be, at least.
    #[must_use]
    pub fn floor(&self) -> f64 {
        self.floor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_steps_come_the_allowed_error_is_not_spent() {
        for floor in [0.04, 0.5, 0.9] {
            let mut budget = Budget::new(0.01, Budget::for_measure(0.01), floor, 4);
            for _ in 0..20 {
                let runs = budget.runs().unwrap();
                budget.judged(Some(runs));
            }
            assert!(budget.spent() <= 0.01, "{}", budget.spent());
        }
    }

    #[test]
    fn a_bad_commit_costs_nothing() {
        let mut budget = Budget::new(0.01, 0.0025, 0.1, 4);
        let before = budget.part();
        assert!(budget.judged(None).abs() < f64::EPSILON);
        assert!(budget.part() > before, "its part goes to the others");
    }
}
