// SPDX-License-Identifier: GPL-2.0

//! The explorer with runners that are models.

use super::*;
use crate::run::{Taken, Turns, What};
use crate::Point;
use std::collections::{BTreeMap, HashSet};

/// Something that goes from stop to stop.
trait Model {
    fn new() -> Self;
    /// Those not at their end.
    fn enabled(&self) -> Vec<ActorId>;
    /// One stage.
    fn go(&mut self, actor: ActorId) -> Stop;
    /// When all are at their end.
    fn verdict(&self) -> Verdict {
        Verdict::Passed
    }
}

/// Runs a model, and remembers every order.
#[derive(Default)]
struct Simulated<M: Model> {
    orders: Vec<Vec<ActorId>>,
    model: std::marker::PhantomData<M>,
}

impl<M: Model> Runner for Simulated<M> {
    fn run(&mut self, choices: &[ActorId]) -> Run {
        let mut model = M::new();
        let mut steps: Vec<Taken> = Vec::new();
        let mut turns = Turns::new(choices);
        loop {
            let enabled = model.enabled();
            let Some(actor) = turns.next(&enabled) else {
                break;
            };
            let stop = model.go(actor);
            steps.push(Taken {
                actor,
                stop: stop.clone(),
                enabled,
            });
            if let Stop::Blocked { waits_in, holder } = stop {
                self.orders
                    .push(steps.iter().map(|taken| taken.actor).collect());
                return Run {
                    steps,
                    verdict: Verdict::Infeasible {
                        actor,
                        waits_in,
                        holder,
                    },
                };
            }
        }
        self.orders
            .push(steps.iter().map(|taken| taken.actor).collect());
        Run {
            steps,
            verdict: model.verdict(),
        }
    }
}

fn explored<M: Model>(spec: &Spec, limits: Limits) -> (Summary, Vec<Vec<ActorId>>) {
    let mut runner = Simulated::<M> {
        orders: Vec::new(),
        model: std::marker::PhantomData,
    };
    let summary = explore(spec, &mut runner, limits, &mut |_| true);
    (summary, runner.orders)
}

/// A spec of actors, each with its files.
fn spec(actors: &[(&str, &[&str])]) -> Spec {
    let mut text = "race model \"a model\"\nfile f: hole 1b\nfile g: hole 1b\n".to_owned();
    for (name, files) in actors {
        text.push_str(&format!("actor {name} {{\n"));
        for file in *files {
            text.push_str(&format!("write {file} 0..1b direct\n"));
        }
        text.push_str("}\n");
    }
    text.push_str("check fsync f ok\n");
    crate::parse(&text).unwrap()
}

const ALL: Limits = Limits {
    preemptions: None,
    runs: None,
};

/// Actors with so many stages each, which do nothing.
struct Counts<const A: usize, const B: usize, const C: usize>([usize; 3]);

impl<const A: usize, const B: usize, const C: usize> Model for Counts<A, B, C> {
    fn new() -> Self {
        Counts([A, B, C])
    }

    fn enabled(&self) -> Vec<ActorId> {
        let left = self.0.iter().enumerate().filter(|(_, left)| **left > 0);
        left.map(|(index, _)| ActorId(index)).collect()
    }

    fn go(&mut self, actor: ActorId) -> Stop {
        self.0[actor.0] -= 1;
        match self.0[actor.0] {
            0 => Stop::End,
            _ => Stop::At(Point::DioSubmit),
        }
    }
}

/// All interleavings, by recursion.
fn all(left: [usize; 3], order: &mut Vec<ActorId>, found: &mut Vec<Vec<ActorId>>) {
    if left == [0; 3] {
        found.push(order.clone());
    }
    for actor in 0..3 {
        if left[actor] > 0 {
            let mut left = left;
            left[actor] -= 1;
            order.push(ActorId(actor));
            all(left, order, found);
            order.pop();
        }
    }
}

fn interleavings(left: [usize; 3]) -> Vec<Vec<ActorId>> {
    let mut found = Vec::new();
    all(left, &mut Vec::new(), &mut found);
    found
}

/// Preemptions of an order of actors that are all in one group.
fn preemptions(left: [usize; 3], order: &[ActorId]) -> u32 {
    let mut left = left;
    let mut count = 0;
    let mut before: Option<ActorId> = None;
    for actor in order {
        if before.is_some_and(|before| before != *actor && left[before.0] > 0) {
            count += 1;
        }
        left[actor.0] -= 1;
        before = Some(*actor);
    }
    count
}

/// What is left of an order when stages of different groups have no order among them.
fn by_group(order: &[ActorId], groups: &[usize]) -> BTreeMap<usize, Vec<ActorId>> {
    let mut projections: BTreeMap<usize, Vec<ActorId>> = BTreeMap::new();
    for actor in order {
        projections.entry(groups[actor.0]).or_default().push(*actor);
    }
    projections
}

#[test]
fn every_order_exactly_once() {
    let spec = spec(&[("A", &["f"]), ("B", &["f"]), ("C", &["f"])]);
    let (summary, orders) = explored::<Counts<3, 2, 2>>(&spec, ALL);
    // 7! / (3! 2! 2!)
    assert_eq!(orders.len(), 210);
    assert_eq!(
        (summary.runs, summary.orders, summary.passed),
        (210, 210, 210)
    );
    assert!(summary.complete);
    let set: HashSet<_> = orders.iter().cloned().collect();
    let expected: HashSet<_> = interleavings([3, 2, 2]).into_iter().collect();
    assert_eq!(set.len(), orders.len(), "no order twice");
    assert_eq!(set, expected);
}

#[test]
fn the_same_each_time() {
    let spec = spec(&[("A", &["f"]), ("B", &["f"]), ("C", &["g"])]);
    let first = explored::<Counts<2, 2, 2>>(&spec, ALL);
    assert_eq!(explored::<Counts<2, 2, 2>>(&spec, ALL), first);
    assert_eq!(
        first.1[0],
        [0, 0, 1, 1, 2, 2].map(ActorId),
        "by default first"
    );
}

#[test]
fn a_bound_leaves_out_exactly_what_exceeds_it() {
    let spec = spec(&[("A", &["f"]), ("B", &["f"]), ("C", &["f"])]);
    let left = [3, 2, 2];
    let every = interleavings(left);
    for bound in 0..=4 {
        let limits = Limits {
            preemptions: Some(bound),
            runs: None,
        };
        let (summary, orders) = explored::<Counts<3, 2, 2>>(&spec, limits);
        let expected: HashSet<_> = every
            .iter()
            .filter(|order| preemptions(left, order) <= bound)
            .cloned()
            .collect();
        let found: HashSet<_> = orders.iter().cloned().collect();
        assert_eq!(orders.len(), expected.len());
        assert_eq!(found, expected);
        assert_eq!(summary.bound, Some(bound));
        assert_eq!(summary.over_bound > 0, expected.len() < every.len());
        assert!(summary.complete);
    }
}

/// Every order up to how groups are interleaved, once, with any bound.
fn check_groups<M: Model>(spec: &Spec, left: [usize; 3], bound: Option<u32>) -> Summary {
    let groups = groups(spec);
    let cost = |order: &Vec<ActorId>| -> u32 {
        let projections = by_group(order, &groups);
        projections.values().map(|one| preemptions(left, one)).sum()
    };
    let expected: HashSet<_> = interleavings(left)
        .iter()
        .filter(|order| bound.is_none_or(|bound| cost(order) <= bound))
        .map(|order| by_group(order, &groups))
        .collect();
    let limits = Limits {
        preemptions: bound,
        runs: None,
    };
    let (summary, orders) = explored::<M>(spec, limits);
    let found: HashSet<_> = orders
        .iter()
        .map(|order| by_group(order, &groups))
        .filter(|order| bound.is_none_or(|_| expected.contains(order)))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(summary.runs, summary.orders + summary.redundant);
    if bound.is_none() {
        assert_eq!(summary.orders, expected.len() as u64, "each once");
    }
    summary
}

#[test]
fn groups_are_not_interleaved() {
    // C is alone: nothing is run in vain.
    let one = spec(&[("A", &["f"]), ("B", &["f"]), ("C", &["g"])]);
    let summary = check_groups::<Counts<2, 2, 2>>(&one, [2, 2, 2], None);
    assert_eq!(summary.orders, 6);
    assert!(summary.pruned > 0);
    // In any place.
    let first = spec(&[("A", &["g"]), ("B", &["f"]), ("C", &["f"])]);
    check_groups::<Counts<2, 3, 2>>(&first, [2, 3, 2], None);
    let middle = spec(&[("A", &["f"]), ("B", &["g"]), ("C", &["f"])]);
    check_groups::<Counts<3, 2, 2>>(&middle, [3, 2, 2], None);
    for bound in 0..4 {
        check_groups::<Counts<2, 3, 2>>(&first, [2, 3, 2], Some(bound));
        check_groups::<Counts<3, 2, 2>>(&middle, [3, 2, 2], Some(bound));
    }
    // B has a part in both files, and makes one group of them.
    let chained = spec(&[("A", &["f"]), ("B", &["f", "g"]), ("C", &["g"])]);
    assert_eq!(groups(&chained), [0, 0, 0]);
    assert_eq!(
        check_groups::<Counts<2, 2, 1>>(&chained, [2, 2, 1], None).orders,
        30
    );
}

#[test]
fn limits_are_kept() {
    let spec = spec(&[("A", &["f"]), ("B", &["f"]), ("C", &["f"])]);
    let limits = Limits {
        preemptions: None,
        runs: Some(5),
    };
    let (summary, orders) = explored::<Counts<3, 2, 2>>(&spec, limits);
    assert_eq!((summary.runs, orders.len()), (5, 5));
    assert!(!summary.complete);
    let mut runner = Simulated::<Counts<3, 2, 2>> {
        orders: Vec::new(),
        model: std::marker::PhantomData,
    };
    let summary = explore(&spec, &mut runner, ALL, &mut |so_far| so_far.orders < 3);
    assert_eq!(summary.orders, 3);
    assert!(!summary.complete);
}

/// Two that take a mutex, hold it at a point, and give it back.
struct Mutex {
    at: [usize; 2],
    owner: Option<usize>,
}

impl Model for Mutex {
    fn new() -> Self {
        Mutex {
            at: [0; 2],
            owner: None,
        }
    }

    fn enabled(&self) -> Vec<ActorId> {
        (0..2).filter(|&a| self.at[a] < 3).map(ActorId).collect()
    }

    fn go(&mut self, actor: ActorId) -> Stop {
        let me = actor.0;
        self.at[me] += 1;
        match self.at[me] {
            1 => Stop::At(Point::FallbackBegin),
            2 if self.owner.is_some() => Stop::Blocked {
                waits_in: "down_write".into(),
                holder: format!("actor {}", 1 - me),
            },
            2 => {
                self.owner = Some(me);
                Stop::At(Point::FallbackDrained)
            }
            _ => {
                self.owner = None;
                Stop::End
            }
        }
    }
}

#[test]
fn a_mutex_makes_orders_infeasible() {
    let spec = spec(&[("A", &["f"]), ("B", &["f"])]);
    let (summary, orders) = explored::<Mutex>(&spec, ALL);
    // Of the 20 interleavings of three stages each, those in which one takes the lock inside the other's section are cut
    // there, and are each one beginning.
    let set: HashSet<_> = orders.iter().cloned().collect();
    assert_eq!(set.len(), orders.len());
    assert!(summary.complete);
    assert_eq!(summary.failing, []);
    let sections_apart = |order: &&Vec<ActorId>| {
        let at = |actor: usize, nth: usize| {
            let mut places = (0..order.len()).filter(|&i| order[i] == ActorId(actor));
            places.nth(nth).unwrap()
        };
        at(0, 2) < at(1, 1) || at(1, 2) < at(0, 1)
    };
    let feasible = interleavings([3, 3, 0]);
    let feasible: HashSet<_> = feasible.iter().filter(sections_apart).cloned().collect();
    assert_eq!(summary.passed, feasible.len() as u64);
    assert!(feasible.is_subset(&set));
    assert_eq!(
        summary.orders,
        summary.passed + summary.infeasible.len() as u64
    );
    let reasons = summary.reasons();
    assert_eq!(reasons.len(), 2);
    assert!(reasons.iter().all(|reason| reason.waits_in == "down_write"));
    // None of the rest is lost: each begins as one of the infeasible does.
    for order in interleavings([3, 3, 0]) {
        let leaves = orders.iter().filter(|leaf| order.starts_with(leaf)).count();
        assert_eq!(leaves, 1, "{order:?}");
    }
}

/// The seed's race. A: a direct overwrite, held when it is submitted. B: a fallback that dirties the page (held), and
/// writes it out.
struct Seed<const DRAIN: bool> {
    at: [usize; 2],
    in_flight: bool,
    dirty: bool,
    eio: bool,
}

impl<const DRAIN: bool> Model for Seed<DRAIN> {
    fn new() -> Self {
        Seed {
            at: [0; 2],
            in_flight: false,
            dirty: false,
            eio: false,
        }
    }

    fn enabled(&self) -> Vec<ActorId> {
        let ends = [2, 3];
        (0..2)
            .filter(|&a| self.at[a] < ends[a])
            .map(ActorId)
            .collect()
    }

    fn go(&mut self, actor: ActorId) -> Stop {
        self.at[actor.0] += 1;
        match (actor.0, self.at[actor.0]) {
            (0, 1) => {
                // Writes out and drops what is dirty, before it submits.
                self.dirty = false;
                self.in_flight = true;
                Stop::At(Point::DioSubmit)
            }
            (0, _) => {
                self.in_flight = false;
                self.eio |= self.dirty;
                Stop::End
            }
            (1, 1) => Stop::At(Point::FallbackBegin),
            (1, 2) if DRAIN && self.in_flight => Stop::Blocked {
                waits_in: "inode_dio_wait".into(),
                holder: "A: bio at dio.submit".into(),
            },
            (1, 2) => {
                self.dirty = true;
                Stop::At(Point::FallbackDirtied)
            }
            _ => {
                self.dirty = false;
                Stop::End
            }
        }
    }

    fn verdict(&self) -> Verdict {
        if !self.eio {
            return Verdict::Passed;
        }
        Verdict::Failed(vec![Failure {
            what: What::Check(0),
            text: "fsync: EIO".into(),
        }])
    }
}

#[test]
fn the_drain_makes_what_failed_infeasible() {
    let spec = spec(&[("A", &["f"]), ("B", &["f"])]);
    let (without, _) = explored::<Seed<false>>(&spec, ALL);
    assert_eq!((without.orders, without.infeasible.len()), (10, 0));
    let failing: Vec<String> = without
        .failing
        .iter()
        .map(|failing| failing.schedule.to_string())
        .collect();
    assert_eq!(
        failing,
        [
            "A@dio.submit B@fallback.begin B@fallback.dirtied A@end B@end",
            "B@fallback.begin A@dio.submit B@fallback.dirtied A@end B@end",
        ]
    );
    let (with, _) = explored::<Seed<true>>(&spec, ALL);
    assert!(with.failing.is_empty() && with.complete);
    for failing in &without.failing {
        let why = with.excludes(&spec, &failing.schedule).unwrap();
        assert_eq!((why.actor, &*why.waits_in), (ActorId(1), "inode_dio_wait"));
    }
    assert!(with.excludes(&spec, &"B@end".parse().unwrap()).is_none());
    assert_eq!(with.reasons().len(), 1);
}

/// Stops elsewhere in every second run.
struct Fickle(bool);

impl Runner for Fickle {
    fn run(&mut self, choices: &[ActorId]) -> Run {
        self.0 = !self.0;
        let mut run = Simulated::<Counts<2, 2, 0>> {
            orders: Vec::new(),
            model: std::marker::PhantomData,
        }
        .run(choices);
        if self.0 {
            run.steps[0].stop = Stop::At(Point::DioLocked);
        }
        run
    }
}

#[test]
fn what_cannot_be_repeated_is_said() {
    let spec = spec(&[("A", &["f"]), ("B", &["f"])]);
    let summary = explore(&spec, &mut Fickle(false), ALL, &mut |_| true);
    assert!(!summary.complete);
    assert!(!summary.unsteady.is_empty());
    let first = &summary.unsteady[0];
    assert!(first.expected.to_string().starts_with("A@dio.locked B"));
    assert!(first.found.to_string().starts_with("A@dio.submit B"));
}
