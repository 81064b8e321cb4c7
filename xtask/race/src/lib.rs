// SPDX-License-Identifier: GPL-2.0

//! Race specs: who does what to which file, where each may be held, and what must be true at the end.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`spec`] | the tree that a `tests/race/*.race` file is parsed to |
//! | [`point`] | the hold points that the driver has |
//! | [`schedule`] | one order of stages, as one line of text |
//! | [`run`] | the trait that runs an order, and what it answers |
//!
//! Everything here is pure: no file, no clock, no thread. The agent in the guest brings the [`run::Runner`].

#![forbid(unsafe_code)]

pub mod point;
pub mod run;
pub mod schedule;
pub mod spec;

pub use point::Point;
pub use run::{ActorId, Failure, Run, Runner, Stop, Taken, Verdict};
pub use schedule::Schedule;
pub use spec::Spec;
