// SPDX-License-Identifier: GPL-2.0

//! Two columns of results side by side: `here`, which is looked at, and `there`, which it is compared with.

use std::collections::BTreeSet;

use crate::outcome::{Column, Outcome, Verdict};

/// What the two columns say of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Bad here; there it passes, is skipped or has no result. No failure hides in a class of gaps.
    FailsHere,
    /// Bad on both.
    FailsBoth,
    /// Passes here, bad there.
    PassesHere,
    /// Not run here, run there, with whatever end.
    SkippedHere,
    /// Passes here, not run there.
    SkippedThere,
    /// No result here.
    MissingHere,
    /// Passes or is skipped here, no result there.
    MissingThere,
    /// Passes on both.
    PassesBoth,
    /// Not run on either.
    SkippedBoth,
}

impl Class {
    /// All of them, in the order of tables.
    pub const ALL: [Class; 9] = [
        Class::FailsHere,
        Class::FailsBoth,
        Class::PassesHere,
        Class::SkippedHere,
        Class::SkippedThere,
        Class::MissingHere,
        Class::MissingThere,
        Class::PassesBoth,
        Class::SkippedBoth,
    ];

    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Class::FailsHere => "fails only here",
            Class::FailsBoth => "fails on both",
            Class::PassesHere => "passes only here",
            Class::SkippedHere => "skipped here, run there",
            Class::SkippedThere => "passes here, skipped there",
            Class::MissingHere => "no result here",
            Class::MissingThere => "no result there",
            Class::PassesBoth => "passes on both",
            Class::SkippedBoth => "skipped on both",
        }
    }

    /// Its name in the page.
    pub fn key(self) -> &'static str {
        match self {
            Class::FailsHere => "fails-here",
            Class::FailsBoth => "fails-both",
            Class::PassesHere => "passes-here",
            Class::SkippedHere => "skipped-here",
            Class::SkippedThere => "skipped-there",
            Class::MissingHere => "missing-here",
            Class::MissingThere => "missing-there",
            Class::PassesBoth => "passes-both",
            Class::SkippedBoth => "skipped-both",
        }
    }

    fn of(here: Option<Verdict>, there: Option<Verdict>) -> Self {
        use Verdict::{Bad, Pass, Unrun};
        match (here, there) {
            (Some(Bad), Some(Bad)) => Class::FailsBoth,
            (Some(Bad), _) => Class::FailsHere,
            (None, _) => Class::MissingHere,
            (_, None) => Class::MissingThere,
            (Some(Pass), Some(Bad)) => Class::PassesHere,
            (Some(Pass), Some(Pass)) => Class::PassesBoth,
            (Some(Pass), Some(Unrun)) => Class::SkippedThere,
            (Some(Unrun), Some(Unrun)) => Class::SkippedBoth,
            (Some(Unrun), Some(_)) => Class::SkippedHere,
        }
    }
}

/// One test on both sides.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    /// Its name.
    pub test: &'a str,
    /// What the two say together.
    pub class: Class,
    /// What came of it here.
    pub here: Option<Outcome<'a>>,
    /// What came of it there.
    pub there: Option<Outcome<'a>>,
}

impl Row<'_> {
    /// What came of it there, in two or three words.
    pub fn there_in_words(&self) -> String {
        match &self.there {
            None => "no result there".to_owned(),
            Some(there) => format!("{} there", there.shown().status),
        }
    }

    /// It fails here and not there, or worse than there, and the exclusions did not say so before.
    pub fn is_regression(&self) -> bool {
        let severity = |side: &Option<Outcome>| {
            let status = side.as_ref().map(|outcome| outcome.shown().status);
            status.map_or(0, |status| status.severity())
        };
        let worse = self.class == Class::FailsHere || severity(&self.here) > severity(&self.there);
        let unexpected = |here: &Outcome| here.is_unexpected_failure();
        worse && self.here.as_ref().is_some_and(unexpected)
    }
}

/// Two columns, compared.
#[derive(Debug, Clone)]
pub struct Comparison<'a> {
    /// The column that is looked at.
    pub here: Column<'a>,
    /// The baseline.
    pub there: Column<'a>,
    /// Every test of either, by name.
    pub rows: Vec<Row<'a>>,
}

impl<'a> Comparison<'a> {
    /// Compares two columns.
    pub fn new(here: Column<'a>, there: Column<'a>) -> Self {
        let (mut ours, mut theirs) = (here.outcomes(), there.outcomes());
        let tests: BTreeSet<&str> = ours.keys().chain(theirs.keys()).copied().collect();
        let row = |test| {
            let (here, there) = (ours.remove(test), theirs.remove(test));
            let verdict = |side: &Option<Outcome>| side.as_ref().map(Outcome::verdict);
            let class = Class::of(verdict(&here), verdict(&there));
            Row {
                test,
                class,
                here,
                there,
            }
        };
        let rows = tests.into_iter().map(row).collect();
        Comparison { here, there, rows }
    }

    /// The tests of a class.
    pub fn of(&self, class: Class) -> impl Iterator<Item = &Row<'a>> {
        self.rows.iter().filter(move |row| row.class == class)
    }

    /// How many tests are in a class.
    pub fn count(&self, class: Class) -> usize {
        self.of(class).count()
    }

    /// What fails here and not there without being expected: what makes the run a failure.
    pub fn regressions(&self) -> impl Iterator<Item = &Row<'a>> {
        self.rows.iter().filter(|row| row.is_regression())
    }

    /// The two names, told apart.
    pub fn labels(&self) -> (String, String) {
        let there = self.there.label(self.here.run);
        (self.here.config.to_owned(), there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fake, Bug, Expect, Status};

    /// The class of a test with these ends.
    fn class(here: Option<Status>, there: Option<Status>) -> Class {
        let column = |end: Option<Status>| {
            let ends: Vec<_> = end.into_iter().collect();
            fake::rounds("generic/001", &ends)
        };
        let (here, mut there) = (column(here), column(there));
        // A test of no side has no row; this one keeps the row's place.
        there
            .results
            .push(fake::result("notblk", "generic/999", Status::Pass));
        let compared = Comparison::new(fake::column(&here), fake::column(&there));
        compared.rows[0].class
    }

    #[test]
    fn every_pair_of_ends_has_its_class() {
        use Status::{Died, Excluded, Fail, Hang, Pass, Skip, Splat};
        let cases = [
            (Some(Fail), Some(Pass), Class::FailsHere),
            (Some(Hang), Some(Skip), Class::FailsHere),
            (Some(Died), None, Class::FailsHere),
            (Some(Splat), Some(Fail), Class::FailsBoth),
            (Some(Pass), Some(Hang), Class::PassesHere),
            (Some(Skip), Some(Pass), Class::SkippedHere),
            (Some(Excluded), Some(Fail), Class::SkippedHere),
            (Some(Pass), Some(Excluded), Class::SkippedThere),
            (None, Some(Fail), Class::MissingHere),
            (Some(Pass), None, Class::MissingThere),
            (Some(Skip), None, Class::MissingThere),
            (Some(Pass), Some(Pass), Class::PassesBoth),
            (Some(Skip), Some(Excluded), Class::SkippedBoth),
        ];
        for (here, there, wanted) in cases {
            assert_eq!(class(here, there), wanted, "{here:?} {there:?}");
        }
    }

    #[test]
    fn every_test_is_in_one_class_and_in_order() {
        let here = fake::many(40);
        let there = fake::many(30);
        let compared = Comparison::new(fake::column(&here), fake::column(&there));
        let sum: usize = Class::ALL.iter().map(|&c| compared.count(c)).sum();
        assert_eq!(sum, 40);
        assert!(compared.rows.is_sorted_by_key(|row| row.test));
        assert_eq!(
            compared.count(Class::MissingThere) + compared.count(Class::FailsHere),
            10
        );
    }

    #[test]
    fn a_failure_there_forgives_no_splat_here() {
        let regressions = |here: Status, there: Status| {
            let (here, there) = (
                fake::rounds("generic/001", &[here]),
                fake::rounds("generic/001", &[there]),
            );
            let compared = Comparison::new(fake::column(&here), fake::column(&there));
            compared.regressions().count()
        };
        assert_eq!(regressions(Status::Splat, Status::Fail), 1);
        assert_eq!(regressions(Status::Hang, Status::Fail), 1);
        assert_eq!(regressions(Status::Fail, Status::Died), 1);
        assert_eq!(regressions(Status::Fail, Status::Fail), 0);
        assert_eq!(regressions(Status::Fail, Status::Hang), 0);
    }

    #[test]
    fn who_expects_a_failure_expects_no_splat() {
        let mut result = fake::result("notblk", "generic/001", Status::Fail);
        result.expected = Some(fake::expectation(Expect::Fail, Bug::Kernel));
        assert!(!result.is_unexpected_failure());
        result.status = Status::Splat;
        assert!(result.is_unexpected_failure());
    }

    #[test]
    fn an_expected_failure_is_no_regression() {
        let mut here = fake::rounds("generic/001", &[Status::Fail]);
        let there = fake::rounds("generic/001", &[Status::Pass]);
        let regressions = |here: &crate::Run| {
            let compared = Comparison::new(fake::column(here), fake::column(&there));
            compared.regressions().count()
        };
        assert_eq!(regressions(&here), 1);
        here.results[0].expected = Some(fake::expectation(Expect::Fail, Bug::Kernel));
        assert_eq!(regressions(&here), 0);
    }
}
