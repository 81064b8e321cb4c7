// SPDX-License-Identifier: GPL-2.0

//! Every spec, explored on a model of the driver: with the drain no order fails, and without it those specs fail that say so, with
//! orders that the drain makes infeasible.
//!
//! That shows that specs and explorer agree with what is thought of the driver: sizes and sources that no order can have, or checks
//! that see nothing, come to light without a guest. What the driver does is another matter.

mod driver;

use std::fs;
use std::path::Path;

use notblk_race::content::{self, Grain, Of};
use notblk_race::run::{Taken, Turns, What};
use notblk_race::spec::{Check, Op};
use notblk_race::{
    explore, minimize, parse, ActorId, Failure, Limits, Run, Runner, Schedule, Spec, Stop, Summary,
    Verdict,
};

use driver::{Driver, ORDER};

/// All there are, by name.
fn specs() -> Vec<Spec> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/race");
    let paths = fs::read_dir(directory).unwrap();
    let mut specs: Vec<Spec> = paths
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "race"))
        .map(|path| parse(&fs::read_to_string(path).unwrap()).unwrap())
        .collect();
    specs.sort_by(|one, other| one.name.cmp(&other.name));
    specs
}

/// Runs a spec on the model.
struct OnModel<'a> {
    spec: &'a Spec,
    faults: driver::Faults,
}

impl Runner for OnModel<'_> {
    fn run(&mut self, choices: &[ActorId]) -> Run {
        let mut driver = Driver::new(self.spec, self.faults);
        let mut turns = Turns::new(choices);
        let mut steps = Vec::new();
        let mut blocked = None;
        loop {
            let enabled = driver.enabled();
            let Some(actor) = turns.next(&enabled) else {
                break;
            };
            let stop = driver.go(actor);
            steps.push(Taken {
                actor,
                stop: stop.clone(),
                enabled,
            });
            if let Stop::Blocked { waits_in, holder } = stop {
                blocked = Some((actor, waits_in, holder));
                break;
            }
        }
        let mut failures = Vec::new();
        if !driver.let_all_go() {
            failures.push(Failure {
                what: What::Hang,
                text: "a deadlock".into(),
            });
        }
        failures.extend(judge(self.spec, &mut driver, blocked.as_ref().map(|b| b.0)));
        let verdict = match blocked {
            _ if !failures.is_empty() => Verdict::Failed(failures),
            Some((actor, waits_in, holder)) => Verdict::Infeasible {
                actor,
                waits_in,
                holder,
            },
            None => Verdict::Passed,
        };
        Run { steps, verdict }
    }
}

/// Looks at steps and checks.
fn judge(spec: &Spec, driver: &mut Driver<'_>, blocked: Option<ActorId>) -> Vec<Failure> {
    let mut failures = Vec::new();
    for (id, actor) in spec.actors.iter().enumerate() {
        for (number, step) in actor.steps.iter().enumerate() {
            let asked = match &step.op {
                Op::Read(io) | Op::Write(io) => io.len,
                _ => 0,
            };
            let answer = driver.answer(id, number);
            if !step.expect.allows(asked, answer) {
                let what = What::Step {
                    actor: ActorId(id),
                    step: number,
                };
                let text = format!("{answer:?}");
                failures.push(Failure { what, text });
            }
        }
    }
    for (number, check) in spec.checks.iter().enumerate() {
        for text in look(spec, driver, blocked, check) {
            let what = What::Check(number);
            failures.push(Failure { what, text });
        }
    }
    failures
}

/// What is wrong with one check.
fn look(
    spec: &Spec,
    driver: &mut Driver<'_>,
    blocked: Option<ActorId>,
    check: &Check,
) -> Vec<String> {
    let place = |name: &str| {
        spec.files
            .iter()
            .position(|file| file.name == name)
            .unwrap()
    };
    let of = |file: usize| Of {
        spec,
        file,
        order: ORDER,
    };
    match check {
        Check::FsyncOk { file } => {
            let told = driver.told(place(file));
            let is_told = told.iter().any(|&times| times > 0);
            is_told
                .then(|| format!("{told:?} errors"))
                .into_iter()
                .collect()
        }
        Check::FsyncOnce { file } => {
            let told = driver.told(place(file));
            let is_well =
                told.iter().all(|&times| times == 0) || told.iter().all(|&times| times == 1);
            (!is_well)
                .then(|| format!("{told:?} errors"))
                .into_iter()
                .collect()
        }
        Check::Size { file, sizes } => {
            let size = driver.size(place(file));
            (!sizes.contains(&size))
                .then(|| format!("{size}"))
                .into_iter()
                .collect()
        }
        Check::Content { file, range, from } => {
            let file = place(file);
            let end = range.end.min(driver.size(file));
            if end <= range.start {
                return Vec::new();
            }
            let cached = driver.cached(file, range.start..end);
            driver.write_back_all(file);
            let on_disk = driver.on_disk(file, range.start..end);
            let mut wrong = content::check(of(file), range.start, &cached, from, Grain::Sector);
            wrong.extend(content::check(
                of(file),
                range.start,
                &on_disk,
                from,
                Grain::Sector,
            ));
            wrong
        }
        Check::Coherent { file } => {
            let file = place(file);
            driver.write_back_all(file);
            let all = 0..driver.size(file);
            let same = driver.cached(file, all.clone()) == driver.on_disk(file, all);
            (!same).then(|| "differs".to_owned()).into_iter().collect()
        }
        Check::Read {
            actor,
            step,
            range,
            from,
        } => {
            let id = spec.actor(actor).unwrap();
            let step = &spec.actors[id.0].steps[*step];
            let Op::Read(io) = &step.op else {
                panic!("no read");
            };
            let Some(got) = driver.got(id.0, io, range) else {
                return Vec::new();
            };
            content::check(
                of(place(&step.file)),
                range.start,
                &got,
                from,
                Grain::Sector,
            )
        }
        Check::NeverWaits { actor } => (blocked == spec.actor(actor))
            .then(|| "it waits".to_owned())
            .into_iter()
            .collect(),
    }
}

const WELL: driver::Faults = driver::Faults {
    no_drain: false,
    truncate_waits_not: false,
    blocks_early: false,
    reads_trust_the_map: false,
};

fn explored(spec: &Spec, faults: driver::Faults) -> Summary {
    let limits = Limits {
        preemptions: spec.preemptions,
        runs: None,
    };
    explore(spec, &mut OnModel { spec, faults }, limits, &mut |_| true)
}

fn named(name: &str) -> Spec {
    let mut specs = specs().into_iter();
    specs.find(|spec| spec.name == name).unwrap()
}

#[test]
fn no_spec_fails_with_the_drain() {
    for spec in specs() {
        let summary = explored(&spec, WELL);
        println!("{}", summary.text(&spec));
        assert!(summary.failing.is_empty(), "{}", summary.text(&spec));
        assert!(summary.complete && summary.unsteady.is_empty());
        assert!(summary.passed > 0, "{}", spec.name);
    }
}

#[test]
fn those_fail_without_it_that_say_so_and_the_drain_excludes_all_of_these_orders() {
    let no_drain = driver::Faults {
        no_drain: true,
        ..WELL
    };
    for spec in specs() {
        let without = explored(&spec, no_drain);
        let says_so = spec.fails_with == ["drain=off"];
        assert_eq!(
            !without.failing.is_empty(),
            says_so,
            "{}",
            without.text(&spec)
        );
        let with = explored(&spec, WELL);
        for (failing, why) in with.excluded(&spec, &without.failing) {
            let why = why.unwrap_or_else(|| panic!("{}: {}", spec.name, failing.schedule));
            assert_eq!(why.waits_in, "inode_dio_wait", "{}", failing.schedule);
        }
    }
}

/// The mail's remark: without the drain an acknowledged write is undone, not only an error set.
#[test]
fn eof_zero_sees_the_lost_write() {
    let spec = named("eof-zero");
    let no_drain = driver::Faults {
        no_drain: true,
        ..WELL
    };
    let summary = explored(&spec, no_drain);
    let is_loss = |failure: &Failure| {
        spec.failure_text(failure)
            .starts_with("check content f 0..1k from A: bytes 0..1024: the initial data")
    };
    let losses = summary
        .failing
        .iter()
        .filter(|f| f.failures.iter().any(is_loss));
    assert!(losses.count() > 0, "{}", summary.text(&spec));
}

#[test]
fn parked_bios_are_seen_where_truncate_and_punch_do_not_wait() {
    let faults = driver::Faults {
        truncate_waits_not: true,
        ..WELL
    };
    for (name, check) in [
        (
            "truncate-parked",
            "check content g 0..1b from T: bytes 0..4096: the write of A",
        ),
        (
            "punch-parked",
            "check content g 0..1b from P: bytes 0..4096: the write of A",
        ),
        (
            "eof-truncate",
            "check content f 0..1k from A: bytes 0..1024: the initial data",
        ),
    ] {
        let spec = named(name);
        let summary = explored(&spec, faults);
        let mut failures = summary.failing.iter().flat_map(|failing| &failing.failures);
        let is_seen = failures.any(|failure| spec.failure_text(failure).starts_with(check));
        assert!(is_seen, "{}", summary.text(&spec));
    }
}

/// What unwritten extents are for: a block that has its place before it has its data.
#[test]
fn readers_see_blocks_that_come_before_their_data() {
    let faults = driver::Faults {
        blocks_early: true,
        ..WELL
    };
    let spec = named("read-during-fallback");
    let summary = explored(&spec, faults);
    let mut failures = summary.failing.iter().flat_map(|failing| &failing.failures);
    let seen = failures.any(|failure| failure.text.contains("bytes that nobody wrote"));
    assert!(seen, "{}", summary.text(&spec));
}

/// The same, where a fault has given a hole a block: a reader that has flushed before must do so again.
#[test]
fn readers_see_blocks_of_faults_that_came_after_their_flush() {
    let faults = driver::Faults {
        reads_trust_the_map: true,
        ..WELL
    };
    let spec = named("read-fault");
    let summary = explored(&spec, faults);
    let mut failures = summary.failing.iter().flat_map(|failing| &failing.failures);
    let seen = failures.any(|failure| failure.text.contains("bytes that nobody wrote"));
    assert!(seen, "{}", summary.text(&spec));
}

/// The seed's order is what is left of any order that fails.
#[test]
fn the_seed_is_minimal() {
    let spec = named("seed");
    let no_drain = driver::Faults {
        no_drain: true,
        ..WELL
    };
    let summary = explored(&spec, no_drain);
    for failing in &summary.failing {
        let mut fails = |spec: &Spec, schedule: &Schedule| {
            let Ok(choices) = schedule.choices(spec) else {
                return false;
            };
            let run = OnModel {
                spec,
                faults: no_drain,
            }
            .run(&choices);
            schedule.differs(spec, &run).is_none() && matches!(run.verdict, Verdict::Failed(_))
        };
        let (small, order) = minimize(&spec, &failing.schedule, &mut fails);
        let holds: Vec<usize> = small.actors.iter().map(|actor| actor.holds.len()).collect();
        assert_eq!(holds, [1, 1], "{small}{order}");
        assert_eq!(order.stages.len(), 3, "{order}");
        assert!(fails(&small, &order));
    }
}
