// SPDX-License-Identifier: GPL-2.0

//! Running one order of the actors' stages: the trait, and what it answers.
//!
//! A **stage** of an actor is what it does between being let go and its next stop: a point where it is held, or the end of
//! its last step. An **order** says whose stage is next, each time. No two stages run at the same time.

use serde::{Deserialize, Serialize};

use crate::point::Point;

/// An actor: its place in [`crate::Spec::actors`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActorId(pub usize);

/// Runs orders, each on fresh files.
pub trait Runner {
    /// Runs one order: each of the choices lets one actor go to its next stop. When they are used up, the order goes on
    /// by the default policy ([`default_choice`]) until all actors are at their end. [`Turns`] does both.
    ///
    /// A choice of an actor that cannot go (it is at its end) is not taken, and the runner goes on with the next choice.
    ///
    /// A stage that cannot reach its stop because the actor waits for another one that is held ends as [`Stop::Blocked`], and
    /// is the last one of the run: the runner then lets everybody go, waits for all of them, and looks at the checks all the
    /// same. The verdict is then [`Verdict::Infeasible`], or [`Verdict::Failed`] where a check fails (though not with the options
    /// that are meant to fail, with which that is luck).
    ///
    /// The same choices must give the same run; [`crate::explore()`] says so where they do not.
    fn run(&mut self, choices: &[ActorId]) -> Run;
}

/// Whose turn it is where nobody has said so: the same actor as before while it can, else the lowest. `None`: all are at their
/// end.
#[must_use]
pub fn default_choice(before: Option<ActorId>, enabled: &[ActorId]) -> Option<ActorId> {
    match before {
        Some(before) if enabled.contains(&before) => Some(before),
        _ => enabled.iter().min().copied(),
    }
}

/// Whose turn it is in a [`Runner::run`]: by its choices as long as there are any, then by default.
#[derive(Debug, Clone)]
pub struct Turns<'a> {
    choices: std::slice::Iter<'a, ActorId>,
    before: Option<ActorId>,
}

impl<'a> Turns<'a> {
    /// Of an order with these choices.
    #[must_use]
    pub fn new(choices: &'a [ActorId]) -> Self {
        Turns {
            choices: choices.iter(),
            before: None,
        }
    }

    /// Whom to let go now, of those not at their end. `None`: there are none.
    pub fn next(&mut self, enabled: &[ActorId]) -> Option<ActorId> {
        let chosen = match enabled {
            [] => None,
            _ => self.choices.by_ref().find(|actor| enabled.contains(actor)),
        };
        self.before = chosen
            .copied()
            .or_else(|| default_choice(self.before, enabled));
        self.before
    }
}

/// What one order came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The stages, in order.
    pub steps: Vec<Taken>,
    /// How it went.
    pub verdict: Verdict,
}

impl Run {
    /// Whose stages they were.
    #[must_use]
    pub fn choices(&self) -> Vec<ActorId> {
        self.steps.iter().map(|taken| taken.actor).collect()
    }
}

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Whose it was.
    pub actor: ActorId,
    /// How it ended.
    pub stop: Stop,
    /// Everybody who could have been let go in its place, in ascending order: those not at their end. `actor` is among them.
    pub enabled: Vec<ActorId>,
}

/// How a stage ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stop {
    /// The actor, or a bio of it, is held here.
    At(Point),
    /// Its last step is done.
    End,
    /// It waits for something that another actor will not give before it is let go.
    Blocked {
        /// In which function of the kernel, as its stack has it: `inode_dio_wait`.
        waits_in: String,
        /// For whom, in words: `A: bio 4096+4096 at dio.submit`.
        holder: String,
    },
}

/// How an order went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything that must be true is.
    Passed,
    /// Something is not; at least one.
    Failed(Vec<Failure>),
    /// The order cannot happen: the last stage is blocked, and everything that must be true is.
    Infeasible {
        /// Who is blocked.
        actor: ActorId,
        /// In which function of the kernel.
        waits_in: String,
        /// By whom, in words.
        holder: String,
    },
}

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failure {
    /// What was looked at.
    pub what: What,
    /// What was found in its place, in one line.
    pub text: String,
}

/// What a [`Failure`] is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// The check of this number in [`crate::Spec::checks`].
    Check(usize),
    /// A step that ended as it must not.
    Step {
        /// Whose.
        actor: ActorId,
        /// Which, from 0.
        step: usize,
    },
    /// The kernel warned, or worse.
    Splat,
    /// An actor did not come to its end although everything was let go.
    Hang,
    /// The filesystem is damaged.
    Fsck,
    /// The runner itself could not go on: not the driver's fault.
    Broken,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_by_choice_and_then_by_default() {
        let [a, b, c] = [ActorId(0), ActorId(1), ActorId(2)];
        let choices = [b, a, b];
        let mut turns = Turns::new(&choices);
        assert_eq!(turns.next(&[a, b, c]), Some(b));
        // A cannot.
        assert_eq!(turns.next(&[b, c]), Some(b));
        assert_eq!(turns.next(&[a, b, c]), Some(b), "as before");
        assert_eq!(turns.next(&[a, c]), Some(a), "the lowest");
        assert_eq!(turns.next(&[]), None);
    }
}
