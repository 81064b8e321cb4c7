// SPDX-License-Identifier: GPL-2.0

//! Visits every order of the actors' stages, once.
//!
//! A stateless depth-first search: nothing can be restored but by running a prefix again, so each run goes from the start to the
//! end, and the next one differs from it in the latest choice that can still be made otherwise. The same runs come in the same
//! order each time.
//!
//! # What is left out
//!
//! - **Orders that cannot differ.** Actors that share no file, not even by way of others, form groups; stages of different groups
//!   commute. Of all orders that differ only in how groups are interleaved one is an order here (sleep sets).
//! - **What follows a blocked stage.** Such an order is a leaf: no order that begins so can happen.
//! - **Orders with too many preemptions**, where a bound is set. A stage preempts if the last stage of its group is of another
//!   actor that was not at its end. (Counted by group, so that it is the same for all orders that cannot differ.)
//!
//! The summary says how much was left out for each reason.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::run::{ActorId, Failure, Run, Runner, Stop, Verdict};
use crate::schedule::Schedule;
use crate::spec::Spec;

/// How far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Preemptions in an order; `None`: any number. [`Spec::preemptions`] is for whoever has no better idea.
    pub preemptions: Option<u32>,
    /// Runs; `None`: as many as it takes.
    pub runs: Option<u64>,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Summary {
    /// How often the runner was asked.
    pub runs: u64,
    /// Orders visited, those that are infeasible among them.
    pub orders: u64,
    /// Of them, those that passed.
    pub passed: u64,
    /// Those that failed, in the order in which they were found.
    pub failing: Vec<Failing>,
    /// Those that cannot happen.
    pub infeasible: Vec<Infeasible>,
    /// Beginnings that were not run because everything that begins so was visited in another, equal order.
    pub pruned: u64,
    /// Runs of which the same became clear only by running them: [`Self::runs`] without these and the unsteady ones are
    /// [`Self::orders`].
    pub redundant: u64,
    /// Beginnings that were not run because of the bound on preemptions.
    pub over_bound: u64,
    /// The bound that was set.
    pub bound: Option<u32>,
    /// Runs that went another way than one with the same beginning before. What should have followed was not visited.
    pub unsteady: Vec<Unsteady>,
    /// Whether every order was visited, but for those over the bound. Not where a limit was reached or a run was unsteady.
    pub complete: bool,
}

/// An order that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// The whole order.
    pub schedule: Schedule,
    /// What was not as it must be.
    pub failures: Vec<Failure>,
}

/// All orders that begin in one way, which cannot happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Infeasible {
    /// The stages before the one that is blocked.
    pub prefix: Schedule,
    /// Who is blocked then.
    pub actor: ActorId,
    /// In which function of the kernel.
    pub waits_in: String,
    /// By whom, in words.
    pub holder: String,
}

/// A run that could not be repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsteady {
    /// What was asked for, and had been seen as far as all but its last stage.
    pub expected: Schedule,
    /// What happened.
    pub found: Schedule,
}

/// Infeasible orders with the same reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason<'a> {
    /// Who is blocked.
    pub actor: ActorId,
    /// In which function of the kernel.
    pub waits_in: &'a str,
    /// After which beginnings, in the order in which they were found.
    pub orders: Vec<&'a Infeasible>,
}

impl Summary {
    /// The infeasible orders by who waits where.
    #[must_use]
    pub fn reasons(&self) -> Vec<Reason<'_>> {
        let mut reasons: Vec<Reason<'_>> = Vec::new();
        for order in &self.infeasible {
            let is_same = |reason: &&mut Reason<'_>| {
                reason.actor == order.actor && reason.waits_in == order.waits_in
            };
            match reasons.iter_mut().find(is_same) {
                Some(reason) => reason.orders.push(order),
                None => reasons.push(Reason {
                    actor: order.actor,
                    waits_in: &order.waits_in,
                    orders: vec![order],
                }),
            }
        }
        reasons
    }

    /// Why this order, which was found elsewhere (without the drain, say), cannot happen here: the infeasible order that it
    /// begins with.
    #[must_use]
    pub fn excludes(&self, spec: &Spec, order: &Schedule) -> Option<&Infeasible> {
        self.infeasible.iter().find(|infeasible| {
            let before = &infeasible.prefix.stages;
            order.stages.starts_with(before)
                && order
                    .stages
                    .get(before.len())
                    .is_some_and(|stage| spec.actor(&stage.actor) == Some(infeasible.actor))
        })
    }
}

/// Visits all orders within the limits. `go_on` is asked before each run but the first, with what is known so far; where it says
/// no (time is up, Ctrl-C), the search ends.
pub fn explore(
    spec: &Spec,
    runner: &mut dyn Runner,
    limits: Limits,
    go_on: &mut dyn FnMut(&Summary) -> bool,
) -> Summary {
    let mut search = Search {
        groups: groups(spec),
        bound: limits.preemptions,
        path: Vec::new(),
        summary: Summary {
            bound: limits.preemptions,
            ..Summary::default()
        },
    };
    let mut prefix = Vec::new();
    loop {
        let run = runner.run(&prefix);
        search.summary.runs += 1;
        search.take(spec, &prefix, &run);
        match search.next_prefix() {
            Some(next) => prefix = next,
            None => {
                search.summary.complete = search.summary.unsteady.is_empty();
                return search.summary;
            }
        }
        let used_up = limits.runs.is_some_and(|most| search.summary.runs >= most);
        if used_up || !go_on(&search.summary) {
            return search.summary;
        }
    }
}

/// For each actor the number of its group: the smallest actor that it shares a file with, directly or by way of others.
fn groups(spec: &Spec) -> Vec<usize> {
    let files: Vec<BTreeSet<&str>> = spec
        .actors
        .iter()
        .map(|actor| actor.steps.iter().map(|step| step.file.as_str()).collect())
        .collect();
    let mut groups: Vec<usize> = (0..files.len()).collect();
    for (one, its) in files.iter().enumerate() {
        for (other, others) in files.iter().enumerate().take(one) {
            let (from, to) = (groups[one], groups[other]);
            if !its.is_disjoint(others) {
                let (from, to) = (from.max(to), from.min(to));
                groups
                    .iter_mut()
                    .filter(|group| **group == from)
                    .for_each(|group| *group = to);
            }
        }
    }
    groups
}

/// A choice on the path of the latest run.
struct Node {
    /// Whom it took.
    taken: ActorId,
    /// How the stage ended; not known before the run.
    stop: Option<Stop>,
    /// Who else could have been taken.
    enabled: Vec<ActorId>,
    /// Whom there is no need to take: everything that begins with them is visited elsewhere. Those tried here come to it.
    asleep: BTreeSet<ActorId>,
    /// Who was tried, or refused.
    tried: BTreeSet<ActorId>,
    /// Preemptions up to and with this one.
    preemptions: u32,
}

struct Search {
    groups: Vec<usize>,
    bound: Option<u32>,
    path: Vec<Node>,
    summary: Summary,
}

impl Search {
    fn group(&self, actor: ActorId) -> usize {
        // An actor that the spec does not have is alone.
        self.groups.get(actor.0).copied().unwrap_or(usize::MAX)
    }

    /// The preemptions of the first `depth` choices and then `next`.
    fn preemptions(&self, depth: usize, next: ActorId) -> u32 {
        let before = self.path.get(..depth).unwrap_or(&[]);
        let so_far = before.last().map_or(0, |node| node.preemptions);
        let last = before
            .iter()
            .rfind(|node| self.group(node.taken) == self.group(next));
        let preempts = last.is_some_and(|node| node.taken != next && node.stop != Some(Stop::End));
        so_far.saturating_add(u32::from(preempts))
    }

    fn is_over(&self, preemptions: u32) -> bool {
        self.bound.is_some_and(|bound| preemptions > bound)
    }

    /// Who sleeps behind the choice of `taken`, where `asleep` slept before.
    fn still_asleep(&self, asleep: &BTreeSet<ActorId>, taken: ActorId) -> BTreeSet<ActorId> {
        let group = self.group(taken);
        asleep
            .iter()
            .copied()
            .filter(|&actor| self.group(actor) != group)
            .collect()
    }

    /// Learns from a run what followed its prefix.
    fn take(&mut self, spec: &Spec, prefix: &[ActorId], run: &Run) {
        if let (true, Verdict::Failed(failures)) = (run.steps.is_empty(), &run.verdict) {
            // The runner itself has failed, wherever it was: there is nothing to compare.
            self.summary.orders += 1;
            self.summary.failing.push(Failing {
                schedule: self.expected(spec, prefix),
                failures: failures.clone(),
            });
            return;
        }
        if !self.is_as_before(prefix, run) {
            self.summary.unsteady.push(Unsteady {
                expected: self.expected(spec, prefix),
                found: Schedule::of(spec, run),
            });
            return;
        }
        let mut over_bound = false;
        for (depth, step) in run.steps.iter().enumerate() {
            if let Some(node) = self.path.get_mut(depth) {
                node.stop = Some(step.stop.clone());
                continue;
            }
            let asleep = self
                .path
                .last()
                .map(|node| self.still_asleep(&node.asleep, node.taken))
                .unwrap_or_default();
            let preemptions = self.preemptions(depth, step.actor);
            let redundant = asleep.contains(&step.actor);
            over_bound |= self.is_over(preemptions);
            self.path.push(Node {
                taken: step.actor,
                stop: Some(step.stop.clone()),
                enabled: step.enabled.clone(),
                asleep,
                tried: BTreeSet::from([step.actor]),
                preemptions,
            });
            if redundant {
                self.summary.redundant += 1;
                return;
            }
            if over_bound {
                // It was run, and so it counts; but nothing else that begins so.
                break;
            }
        }
        self.count(spec, run);
    }

    /// Whether the run did what its prefix asks for, with the stops known from before.
    fn is_as_before(&self, prefix: &[ActorId], run: &Run) -> bool {
        let seen = prefix.len().saturating_sub(1);
        run.steps.len() >= prefix.len()
            && run
                .steps
                .iter()
                .zip(prefix)
                .all(|(step, &asked)| step.actor == asked)
            && run
                .steps
                .iter()
                .zip(&self.path)
                .take(seen)
                .all(|(step, node)| is_same_stop(node.stop.as_ref(), &step.stop))
    }

    fn expected(&self, spec: &Spec, prefix: &[ActorId]) -> Schedule {
        let steps = prefix.iter().zip(&self.path).map(|(&actor, node)| {
            let stop = node.stop.clone().unwrap_or(Stop::Blocked {
                waits_in: String::new(),
                holder: String::new(),
            });
            crate::run::Taken {
                actor,
                stop,
                enabled: Vec::new(),
            }
        });
        let run = Run {
            steps: steps.collect(),
            verdict: Verdict::Passed,
        };
        Schedule::of(spec, &run)
    }

    fn count(&mut self, spec: &Spec, run: &Run) {
        self.summary.orders += 1;
        match &run.verdict {
            Verdict::Passed => self.summary.passed += 1,
            Verdict::Failed(failures) => self.summary.failing.push(Failing {
                schedule: Schedule::of(spec, run),
                failures: failures.clone(),
            }),
            Verdict::Infeasible {
                actor,
                waits_in,
                holder,
            } => {
                let mut prefix = Schedule::of(spec, run);
                prefix.stages.pop();
                self.summary.infeasible.push(Infeasible {
                    prefix,
                    actor: *actor,
                    waits_in: waits_in.clone(),
                    holder: holder.clone(),
                });
            }
        }
    }

    /// The latest choice that can still be made otherwise, and all before it. The path ends there then.
    fn next_prefix(&mut self) -> Option<Vec<ActorId>> {
        while let Some(depth) = self.path.len().checked_sub(1) {
            if let Some(next) = self.alternative(depth) {
                return Some(
                    self.path
                        .iter()
                        .take(depth)
                        .map(|node| node.taken)
                        .chain([next])
                        .collect(),
                );
            }
            self.path.pop();
        }
        None
    }

    /// Takes another actor at this place, the last one of the path.
    fn alternative(&mut self, depth: usize) -> Option<ActorId> {
        let node = self.path.get_mut(depth)?;
        // All that begins with the one tried last has been visited.
        let is_in_bound = self.bound.is_none_or(|bound| node.preemptions <= bound);
        if is_in_bound {
            node.asleep.insert(node.taken);
        }
        let candidates: Vec<ActorId> = node
            .enabled
            .iter()
            .copied()
            .filter(|actor| !node.tried.contains(actor))
            .collect();
        for next in candidates {
            let node = self.path.get(depth)?;
            let preemptions = self.preemptions(depth, next);
            let skip = if self.can_only_repeat(node, next) {
                self.summary.pruned += 1;
                true
            } else if self.is_over(preemptions) {
                self.summary.over_bound += 1;
                true
            } else {
                false
            };
            let node = self.path.get_mut(depth)?;
            node.tried.insert(next);
            if !skip {
                node.taken = next;
                node.stop = None;
                node.preemptions = preemptions;
                return Some(next);
            }
        }
        None
    }

    /// Whether everything that goes on here with `next` is visited elsewhere: it sleeps, or somebody sleeps whom nobody could
    /// wake, since those who could are at their end or sleep as well.
    fn can_only_repeat(&self, node: &Node, next: ActorId) -> bool {
        if node.asleep.contains(&next) {
            return true;
        }
        let asleep = self.still_asleep(&node.asleep, next);
        asleep.iter().any(|&sleeper| {
            !node
                .enabled
                .iter()
                .any(|&other| self.group(other) == self.group(sleeper) && !asleep.contains(&other))
        })
    }
}

/// Whether a stage has stopped where it did before. Where it is blocked it is enough that it is: words may differ.
fn is_same_stop(before: Option<&Stop>, now: &Stop) -> bool {
    match (before, now) {
        (None, _) => true,
        (Some(Stop::Blocked { .. }), Stop::Blocked { .. }) => true,
        (Some(before), now) => before == now,
    }
}

#[cfg(test)]
mod tests;
