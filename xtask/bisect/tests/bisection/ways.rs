// SPDX-License-Identifier: GPL-2.0

//! Every way that a bisection may go.

use crate::fake::{name, Broken, Fake, Fault, When};
use notblk_bisect::report::{Ending, Found, Part, Report, Verdict};
use notblk_bisect::{bisect, text, Axis};

const KERNEL: [Axis; 1] = [Axis::Kernel];
const BOTH: [Axis; 2] = [Axis::Kernel, Axis::Module];

fn run(fake: &mut Fake, axes: &[Axis]) -> Report {
    let plan = fake.plan(axes, 0.01);
    bisect(fake, &plan, &mut Default::default()).unwrap()
}

fn culprits(report: &Report) -> Vec<(Axis, Found)> {
    let searches = report.searches.iter();
    searches
        .map(|search| (search.axis, search.found.clone()))
        .collect()
}

#[test]
fn every_culprit_is_found_and_every_step_is_a_build() {
    for culprit in 1..=16 {
        let mut fake = Fake::new(16, culprit, 1.0, culprit);
        let report = run(&mut fake, &KERNEL);
        let found = Found::Culprit(name(culprit));
        assert_eq!(culprits(&report), [(Axis::Kernel, found)]);
        let steps = |part| report.judged.iter().filter(|j| j.part == part).count();
        assert_eq!(steps(Part::Step), 4, "culprit {culprit}");
        assert!(report.is_found());
        let markdown = text::markdown(&report);
        assert!(
            markdown.contains("first bad commit of the kernel"),
            "{markdown}"
        );
    }
}

#[test]
fn what_does_not_build_boot_or_end_is_left_out() {
    for fault in [Fault::Build, Fault::Boot, Fault::Splat(0), Fault::Splat(1)] {
        let mut fake = Fake::new(16, 11, 0.3, 5);
        // The first to be tried, and one on the other side.
        fake.faults = [(8, fault), (13, fault)].into();
        let report = run(&mut fake, &KERNEL);
        let found = Found::Culprit(name(11));
        assert_eq!(culprits(&report), [(Axis::Kernel, found)], "{fault:?}");
        let skipped = report
            .judged
            .iter()
            .filter(|judged| matches!(judged.verdict, Verdict::CannotTell(_)))
            .count();
        assert!(skipped > 0, "{fault:?} was never met");
    }
}

#[test]
fn another_splat_beside_runs_that_end_is_told_and_decides_nothing() {
    let mut fake = Fake::new(16, 11, 1.0, 5);
    fake.faults = (5..=16).map(|commit| (commit, Fault::Beside)).collect();
    let report = run(&mut fake, &KERNEL);
    assert_eq!(
        culprits(&report),
        [(Axis::Kernel, Found::Culprit(name(11)))]
    );
    let told = |judged: &&_| text::judged(judged).contains("WARNING: something else");
    assert!(report.judged.iter().filter(told).count() > 3);
}

#[test]
fn a_culprit_among_those_that_cannot_be_judged_is_one_of_them() {
    let mut fake = Fake::new(16, 11, 1.0, 5);
    fake.faults = [(10, Fault::Build), (11, Fault::Boot)].into();
    let report = run(&mut fake, &KERNEL);
    let all = [10, 11, 12].map(name).to_vec();
    assert_eq!(culprits(&report), [(Axis::Kernel, Found::OneOf(all))]);
    assert!(!report.is_found());
}

#[test]
fn ends_that_are_wrong_end_it() {
    let mut fake = Fake::new(16, 3, 1.0, 1);
    fake.when = When::Never;
    let report = run(&mut fake, &KERNEL);
    assert_eq!(report.ending, Ending::NeverShown);
    assert_eq!(report.bad_rate.trials, 2000);
    assert!(text::verdict_lines(&report)[0].contains("0 of 2000"));

    let mut fake = Fake::new(16, 3, 0.2, 1);
    fake.when = When::Always;
    assert_eq!(run(&mut fake, &KERNEL).ending, Ending::GoodShows);

    for (commit, part) in [(0, Part::GoodEnd), (16, Part::BadEnd)] {
        let mut fake = Fake::new(16, 3, 0.2, 1);
        fake.faults = [(commit, Fault::Build)].into();
        let report = run(&mut fake, &KERNEL);
        assert_eq!(
            report.ending,
            Ending::EndUnfit(part, "it does not build".into())
        );
    }
}

#[test]
fn of_two_axes_the_one_that_matters_is_searched() {
    let cases = [
        (When::Kernel, vec![(Axis::Kernel, 5)]),
        (When::Module, vec![(Axis::Module, 12)]),
        (When::Either, vec![(Axis::Kernel, 5), (Axis::Module, 12)]),
        (When::Both, vec![(Axis::Kernel, 5), (Axis::Module, 12)]),
    ];
    for (when, expected) in cases {
        let mut fake = Fake::new(16, 0, 0.5, 9);
        fake.culprit = [(Axis::Kernel, 5), (Axis::Module, 12)].into();
        fake.when = when;
        let report = run(&mut fake, &BOTH);
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(axis, commit)| (axis, Found::Culprit(name(commit))))
            .collect();
        assert_eq!(culprits(&report), expected, "{when:?}");
        assert!(report.axes.is_some());
        assert!(report.error.0 <= 0.01, "{when:?}: {:?}", report.error);
    }
}

#[test]
fn what_is_the_same_is_neither_built_nor_run_again() {
    let mut fake = Fake::new(16, 11, 1.0, 5);
    // Steps: 8, 12, 10, 11. What 10 is made of is what 9 is, and 8.
    fake.faults = [
        (9, Fault::SameSource),
        (10, Fault::SameSource),
        (12, Fault::SameBuild),
    ]
    .into();
    let report = run(&mut fake, &KERNEL);
    assert_eq!(
        culprits(&report),
        [(Axis::Kernel, Found::Culprit(name(11)))]
    );
    let step = |commit| {
        let mut steps = report.judged.iter();
        steps
            .find(|judged| judged.part == Part::Step && judged.point.kernel == Some(name(commit)))
            .unwrap()
    };
    assert!(step(10).same_source && step(10).same_build && step(10).fresh == 0);
    assert!(!step(12).same_build, "nothing was run of 11 before");
    assert!(step(11).same_build && !step(11).same_source);
    assert!(
        step(10).error.abs() < f64::EPSILON,
        "the same runs err once"
    );
}

#[test]
fn interrupted_anywhere_it_goes_on_and_does_nothing_twice() {
    let whole = |breaks| {
        let mut fake = Fake::new(16, 11, 0.4, 5);
        fake.faults = [(8, Fault::Build), (13, Fault::Boot)].into();
        fake.breaks = breaks;
        fake
    };
    let mut once = whole(usize::MAX);
    let expected = culprits(&run(&mut once, &KERNEL));
    for breaks in 0..once.journal.len() {
        let mut fake = whole(breaks);
        let plan = fake.plan(&KERNEL, 0.01);
        let mut memo = fake.memo();
        assert_eq!(bisect(&mut fake, &plan, &mut memo), Err(Broken));
        assert_eq!(fake.journal.len(), breaks);
        // Another process, which knows what is on the disk only.
        let mut later = whole(usize::MAX);
        later.journal = fake.journal.clone();
        let mut memo = later.memo();
        let report = bisect(&mut later, &plan, &mut memo).unwrap();
        assert_eq!(culprits(&report), expected, "after {breaks} records");
        // What it has in hand may have to be built once more; a re-test that was cut short begins anew.
        assert!(later.journal.len() <= once.journal.len() + 4);
    }
}
