// SPDX-License-Identifier: GPL-2.0

//! Makes a failing order small: takes away whatever it fails without.

use crate::run::ActorId;
use crate::schedule::{Schedule, Target};
use crate::spec::{Check, Source, Spec};

/// Takes away, one at a time and as long as it still fails: actors, their steps, holds, the last stages of the schedule, single
/// stages, checks, sources and files that nobody uses. What is left fails, and fails no longer without any one of these.
///
/// `fails` runs an order of a spec and says whether it fails; it is to say no where the order is infeasible, or goes another way
/// than the schedule says. It is not asked about `spec` and `schedule` themselves, which are known to fail.
pub fn minimize(
    spec: &Spec,
    schedule: &Schedule,
    fails: &mut dyn FnMut(&Spec, &Schedule) -> bool,
) -> (Spec, Schedule) {
    let mut best = (spec.clone(), schedule.clone());
    'again: loop {
        for less in smaller(&best.0, &best.1) {
            if fails(&less.0, &less.1) {
                best = less;
                // Something larger may be possible now.
                continue 'again;
            }
        }
        return best;
    }
}

/// Everything that is smaller by one thing, what saves most first.
fn smaller(spec: &Spec, schedule: &Schedule) -> Vec<(Spec, Schedule)> {
    let mut all = Vec::new();
    for actor in 0..spec.actors.len() {
        all.extend(without_actor(spec, schedule, actor));
    }
    for (actor, its) in spec.actors.iter().enumerate() {
        for step in 0..its.steps.len() {
            all.extend(without_step(spec, schedule, actor, step));
        }
    }
    for (actor, its) in spec.actors.iter().enumerate() {
        for hold in 0..its.holds.len() {
            all.push(without_hold(spec, schedule, actor, hold));
        }
    }
    if !schedule.stages.is_empty() {
        let mut shorter = schedule.clone();
        shorter.stages.pop();
        all.push((spec.clone(), shorter));
    }
    for stage in 0..schedule.stages.len() {
        let mut shorter = schedule.clone();
        shorter.stages.remove(stage);
        all.push((spec.clone(), shorter));
    }
    all.extend(with_fewer_checks(spec).map(|spec| (spec, schedule.clone())));
    for file in 0..spec.files.len() {
        all.extend(without_file(spec, file).map(|spec| (spec, schedule.clone())));
    }
    all
}

/// Without an actor, its stages and what is checked of it.
fn without_actor(spec: &Spec, schedule: &Schedule, actor: usize) -> Option<(Spec, Schedule)> {
    if spec.actors.len() < 2 {
        return None;
    }
    let mut spec = spec.clone();
    let name = spec.actors.remove(actor).name;
    let mut schedule = schedule.clone();
    schedule.stages.retain(|stage| stage.actor != name);
    keep_checks(&mut spec, |check| match check {
        Check::Read { actor, .. } | Check::NeverWaits { actor } => *actor != name,
        Check::Content { .. }
        | Check::FsyncOk { .. }
        | Check::FsyncOnce { .. }
        | Check::Size { .. }
        | Check::Coherent { .. } => true,
    });
    let is_of_another =
        |source: &mut Source| !matches!(source, Source::Actor { actor, .. } if *actor == name);
    keep_sources(&mut spec, is_of_another);
    (!spec.checks.is_empty()).then_some((spec, schedule))
}

/// Without one step of several. The schedule stays as far as the other steps can come by its points.
fn without_step(
    spec: &Spec,
    schedule: &Schedule,
    actor: usize,
    step: usize,
) -> Option<(Spec, Schedule)> {
    let mut spec = spec.clone();
    let its = spec.actors.get_mut(actor)?;
    if its.steps.len() < 2 {
        return None;
    }
    its.steps.remove(step);
    let name = its.name.clone();
    let steps = its.steps.clone();
    let is_passed = |point: &crate::Point| steps.iter().any(|step| point.passed_by(step));
    its.holds.retain(is_passed);
    let mut schedule = schedule.clone();
    schedule.stages.retain(|stage| match &stage.stop {
        Target::At(point) => stage.actor != name || is_passed(point),
        Target::End | Target::Next => true,
    });
    keep_checks(&mut spec, |check| match check {
        Check::Read {
            actor, step: of, ..
        } if *actor == name => renumbered(of, step),
        _ => true,
    });
    let writes = |file: &str| {
        steps
            .iter()
            .any(|step| step.file == file && matches!(step.op, crate::spec::Op::Write(_)))
    };
    // Where a check speaks of any of the steps, one that writes the file must be left.
    for check in &mut spec.checks {
        if let Check::Content { file, from, .. } = check {
            from.retain(|source| match source {
                Source::Actor { actor, step: None } => *actor != name || writes(file),
                _ => true,
            });
        }
    }
    keep_sources(&mut spec, |source| match source {
        Source::Actor {
            actor,
            step: Some(of),
        } if *actor == name => renumbered(of, step),
        _ => true,
    });
    (!spec.checks.is_empty()).then_some((spec, schedule))
}

/// The number of a step when that of `removed` has gone; `false` if it was that one.
fn renumbered(step: &mut usize, removed: usize) -> bool {
    let stays = *step != removed;
    if *step > removed {
        *step -= 1;
    }
    stays
}

fn without_hold(spec: &Spec, schedule: &Schedule, actor: usize, hold: usize) -> (Spec, Schedule) {
    let mut spec = spec.clone();
    let mut schedule = schedule.clone();
    if let Some(its) = spec.actors.get_mut(actor) {
        let point = its.holds.remove(hold);
        schedule
            .stages
            .retain(|stage| stage.actor != its.name || stage.stop != Target::At(point));
    }
    (spec, schedule)
}

/// Without one of the checks. (To take a source from a check would make it stricter: another question.)
fn with_fewer_checks(spec: &Spec) -> impl Iterator<Item = Spec> + '_ {
    let number = match spec.checks.len() {
        1 => 0,
        several => several,
    };
    (0..number).map(|check| {
        let mut spec = spec.clone();
        spec.checks.remove(check);
        spec
    })
}

/// Without a file that no actor uses, and what is checked of it.
fn without_file(spec: &Spec, file: usize) -> Option<Spec> {
    let name = &spec.files.get(file)?.name;
    let is_used = |id: usize| spec.actors[id].steps.iter().any(|step| step.file == *name);
    if (0..spec.actors.len()).any(is_used) {
        return None;
    }
    let mut less = spec.clone();
    less.files.remove(file);
    less.checks.retain(|check| match check {
        Check::FsyncOk { file }
        | Check::FsyncOnce { file }
        | Check::Size { file, .. }
        | Check::Content { file, .. }
        | Check::Coherent { file } => file != name,
        Check::Read { .. } | Check::NeverWaits { .. } => true,
    });
    (!less.checks.is_empty()).then_some(less)
}

fn keep_checks(spec: &mut Spec, keep: impl FnMut(&mut Check) -> bool) {
    spec.checks.retain_mut(keep);
}

/// Takes sources away, and checks that have none left.
fn keep_sources(spec: &mut Spec, mut keep: impl FnMut(&mut Source) -> bool) {
    spec.checks.retain_mut(|check| match check {
        Check::Content { from, .. } | Check::Read { from, .. } => {
            from.retain_mut(&mut keep);
            !from.is_empty()
        }
        _ => true,
    });
}

/// The actors of a spec by their place in another one, by name; `None` for those that are gone. For whoever compares runs of a
/// spec and of what is left of it.
#[must_use]
pub fn same_actors(of: &Spec, within: &Spec) -> Vec<Option<ActorId>> {
    of.actors
        .iter()
        .map(|actor| within.actor(&actor.name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Point;

    const SPEC: &str = "race r \"t\"
file f: hole 1b, written 1b
file g: hole 1b
actor C {
    hold fsync.begin
    fsync g
}
actor A {
    hold dio.locked, dio.submit
    read f 0..1b direct
    write f 1b..2b direct aio
    read f 0..1b direct
}
actor B {
    hold fallback.begin, fallback.dirtied
    write f 0..2b direct
}
check read A.3 0..1b from B or initial
check content f 0..1b from B
check fsync f ok
check content f 1b..2b from A.2 or B
";

    /// Fails as the seed does: A's write is parked while B dirties the page, and completes before B goes on.
    fn fails_as_the_seed(spec: &Spec, schedule: &Schedule) -> bool {
        let (Some(a), Some(_)) = (spec.actor("A"), spec.actor("B")) else {
            return false;
        };
        let writes = spec.actors[a.0]
            .steps
            .iter()
            .any(|step| matches!(step.op, crate::spec::Op::Write(_)));
        let checked = spec
            .checks
            .iter()
            .any(|c| matches!(c, Check::FsyncOk { .. }));
        let line = schedule.to_string();
        let place = |word: &str| line.find(word);
        let in_order = match (
            place("A@dio.submit"),
            place("B@fallback.dirtied"),
            place("A@end"),
        ) {
            (Some(submitted), Some(dirtied), Some(end)) => submitted < dirtied && dirtied < end,
            _ => false,
        };
        // As the driver does it, what is not said in the spec cannot be chosen.
        schedule.choices(spec).is_ok() && writes && checked && in_order
    }

    #[test]
    fn only_what_matters_is_left() {
        let spec = crate::parse(SPEC).unwrap();
        let line = "C@fsync.begin A@dio.locked A@dio.submit B@fallback.begin C@end B@fallback.dirtied A@end B@end";
        let schedule: Schedule = line.parse().unwrap();
        assert!(fails_as_the_seed(&spec, &schedule));
        let mut tried = 0;
        let mut fails = |spec: &Spec, schedule: &Schedule| {
            tried += 1;
            // Whatever is tried is a spec.
            assert_eq!(crate::parse(&spec.to_string()).as_ref(), Ok(spec));
            fails_as_the_seed(spec, schedule)
        };
        let (small, order) = minimize(&spec, &schedule, &mut fails);
        assert_eq!(order.to_string(), "A@dio.submit B@fallback.dirtied A@end");
        assert!(tried < 100, "{tried}");
        let [a, b] = small.actors.as_slice() else {
            panic!("{} actors", small.actors.len());
        };
        assert_eq!((a.steps.len(), b.steps.len()), (1, 1));
        assert_eq!(a.holds, [Point::DioSubmit]);
        assert_eq!(b.holds, [Point::FallbackDirtied]);
        assert_eq!(small.files.len(), 1);
        assert_eq!(small.checks, [Check::FsyncOk { file: "f".into() }]);
    }

    #[test]
    fn checks_follow_their_steps() {
        let spec = crate::parse(SPEC).unwrap();
        let schedule = Schedule::default();
        let (less, _) = without_step(&spec, &schedule, 1, 0).unwrap();
        assert!(less.to_string().contains("check read A.2 0..1b"));
        assert!(less.to_string().contains("1b..2b from A.1 or B"));
        let (less, _) = without_step(&spec, &schedule, 1, 1).unwrap();
        assert!(less.to_string().contains("1b..2b from B\n"));
        let (less, _) = without_actor(&spec, &schedule, 2).unwrap();
        assert!(less.to_string().contains("0..1b from initial\n"));
        assert!(!less.to_string().contains("check content f 0..1b"));
        assert_eq!(
            same_actors(&spec, &less),
            [Some(ActorId(0)), Some(ActorId(1)), None]
        );
    }
}
