// SPDX-License-Identifier: GPL-2.0
//! The race lab: a spec to run in the guest, and what came of it.

use notblk_race::explore::Summary;
use notblk_race::run::{ActorId, Failure, Run};
use notblk_race::{Schedule, Spec};
use serde::{Deserialize, Serialize};

/// What to do with which spec.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabSpec {
    /// The spec.
    pub spec: Spec,
    /// The mount's options.
    pub options: String,
    /// What to do.
    pub work: LabWork,
    /// What is to go wrong, in the first order in which somebody is held.
    pub sabotage: Option<Sabotage>,
}

/// What may go wrong that no driver can be made to do: for the tests of the lab itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sabotage {
    /// The last actor never comes to its end.
    Hang,
    /// The kernel panics while something is held.
    Panic,
    /// The agent says that something is held, and waits to be killed.
    Wait,
}

/// See [`LabSpec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabWork {
    /// Run every order.
    Explore {
        /// Preemptions in an order at most.
        preemptions: Option<u32>,
        /// Orders at most.
        runs: Option<u64>,
        /// Seconds at most.
        seconds: Option<u64>,
        /// So many of the orders that fail are made small.
        minimize: u32,
        /// How often each order is run; each time it must come to the same.
        repeat: u32,
    },
    /// Run one order.
    Replay {
        /// Whose stages.
        choices: Vec<ActorId>,
        /// How often.
        times: u32,
        /// Record what the kernel does in the first one.
        trace: bool,
    },
    /// Take away from an order that fails what it fails without.
    Minimize {
        /// The order.
        schedule: Schedule,
    },
    /// Let everybody go at once, with nobody held.
    Rate {
        /// How often.
        times: u64,
        /// Seconds at most; 0 for no limit.
        seconds: u64,
    },
}

/// What came of a [`LabSpec`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabReport {
    /// `uname -r` of the guest.
    pub kernel: String,
    /// The mount's options.
    pub options: String,
    /// The outcome.
    pub outcome: LabOutcome,
    /// How long the orders took, in milliseconds of the guest's clock, without mkfs and fsck.
    pub millis: u64,
    /// What e2fsck said against the image afterwards.
    pub fsck: Option<String>,
}

/// See [`LabReport`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabOutcome {
    /// Of [`LabWork::Explore`].
    Explored {
        /// All orders.
        summary: Summary,
        /// The first of those that fail, each with what is left of it when nothing more can be taken away.
        small: Vec<Small>,
        /// Orders that came to something else when they were repeated.
        differing: Vec<Differing>,
        /// How long the orders took to be made small, in milliseconds.
        minimizing: u64,
    },
    /// Of [`LabWork::Replay`].
    Replayed {
        /// Each way that the order went, and how often.
        ways: Vec<(Run, u32)>,
        /// What the kernel did in the first.
        trace: Vec<LabTrace>,
    },
    /// Of [`LabWork::Minimize`]; `None` where the order does not fail.
    Minimized(Option<Small>),
    /// Of [`LabWork::Rate`].
    Rated {
        /// How often it was run.
        times: u64,
        /// How often something was not as it must be.
        failed: u64,
        /// Each failure, and how often it was found.
        failures: Vec<(Failure, u64)>,
    },
}

/// An order that came to two things.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Differing {
    /// At first.
    pub first: Run,
    /// Later.
    pub other: Run,
    /// In which repetition, from 1.
    pub repetition: u32,
}

/// A failing order, made small.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Small {
    /// As it was found.
    pub found: Schedule,
    /// What is left of the spec.
    pub spec: Spec,
    /// What is left of the order.
    pub schedule: Schedule,
}

/// One event of a recorded order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabTrace {
    /// Nanoseconds of the kernel's trace clock.
    pub time: u64,
    /// Whose it is, as far as that is known.
    pub actor: Option<ActorId>,
    /// The task that the kernel was in.
    pub task: String,
    /// The event's name.
    pub name: String,
    /// Its fields, as the kernel prints them.
    pub fields: String,
}
