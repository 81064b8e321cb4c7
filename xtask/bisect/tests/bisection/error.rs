// SPDX-License-Identifier: GPL-2.0

//! By the thousand: the error stays below what was allowed, and no more runs are made than that takes.

use crate::fake::{name, number, Fake};
use notblk_bisect::report::{Found, Verdict};
use notblk_bisect::{bisect, Axis, Report};

/// Bisections of each kind.
const TIMES: u64 = 1500;

fn one(commits: u64, rate: f64, allowed: f64, seed: u64) -> (u64, Report) {
    // Anywhere, but the same with each run of this test.
    let culprit = 1 + seed.wrapping_mul(0x9e37_79b9) % commits;
    let mut fake = Fake::new(commits, culprit, rate, seed << 20);
    let plan = fake.plan(&[Axis::Kernel], allowed);
    let report = bisect(&mut fake, &plan, &mut Default::default()).unwrap();
    (culprit, report)
}

/// How often a verdict was wrong, and how often the culprit.
fn wrong(commits: u64, rate: f64, allowed: f64) -> (u64, u64) {
    let (mut verdicts, mut culprits) = (0, 0);
    for seed in 1..=TIMES {
        let (culprit, report) = one(commits, rate, allowed, seed);
        let [search] = &report.searches[..] else {
            panic!("{:?}", report.ending);
        };
        let is_wrong = |(commit, verdict): &(String, Verdict)| {
            (*verdict == Verdict::Good) != (number(commit) < culprit)
        };
        verdicts += u64::from(search.log.iter().any(is_wrong));
        culprits += u64::from(search.found != Found::Culprit(name(culprit)));
        assert!(report.error.0 <= allowed + 1e-9, "{:?}", report.error);
        assert!(report.error.1 <= report.error.0);
    }
    (verdicts, culprits)
}

#[test]
fn the_error_stays_below_what_was_allowed() {
    for (commits, rate, allowed) in [
        (16, 0.1, 0.2),
        (16, 0.1, 0.05),
        (16, 0.9, 0.2),
        (100, 0.5, 0.1),
        (1000, 0.3, 0.05),
    ] {
        let (verdicts, culprits) = wrong(commits, rate, allowed);
        let most = allowed * TIMES as f64;
        assert!(
            (verdicts as f64) <= most,
            "{commits} commits, rate {rate}: {verdicts} of {TIMES} have a wrong verdict, allowed are {most}"
        );
        assert!(culprits <= verdicts, "the re-test makes it no worse");
    }
}

/// The bound is no excuse for any number of runs: errors do happen where they are allowed.
#[test]
fn the_runs_are_not_far_too_many() {
    let (verdicts, _) = wrong(64, 0.1, 0.5);
    assert!(verdicts > TIMES / 200, "{verdicts}");
    let (_, report) = one(16, 0.1, 0.01, 7);
    assert!(report.work.runs < 2500, "{:?}", report.work);
    assert!(report.estimate.runs < 250, "{:?}", report.estimate);
}

#[test]
fn what_always_shows_takes_few_runs_and_a_guest_for_each_commit() {
    let (_, report) = one(16, 1.0, 0.01, 3);
    assert!(report.is_found());
    assert!(report.estimate.runs < 12, "{:?}", report.estimate);
    assert_eq!(report.estimate.steps, 4);
    // Both ends, four steps, and the culprit and its parent again.
    assert_eq!(report.judged.len(), 8);
    assert_eq!(report.work.boots, 8);
}
