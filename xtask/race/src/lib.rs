// SPDX-License-Identifier: GPL-2.0

//! Race specs: who does what to which file, where each may be held, and what must be true at the end.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`spec`] | the tree that a `tests/race/*.race` file is parsed to |
//! | [`point`] | the hold points that the driver has |
//! | [`schedule`] | one order of stages, as one line of text |
//! | [`parse()`] | from text to the tree; back by `Display` |
//! | [`run`] | the trait that runs an order, and what it answers |
//! | [`mod@explore`] | visits every order once |
//! | [`mod@minimize`] | makes a failing order small |
//! | [`rate`] | how often something happens by itself |
//! | [`diagram`] | draws what was traced |
//! | [`stamp`] | what writers write: each sector says whose it is |
//! | [`content`] | whether sectors are from whom they may be from |
//!
//! Everything here is pure: no file, no clock, no thread. The agent in the guest brings the [`run::Runner`].

#![forbid(unsafe_code)]

pub mod content;
pub mod diagram;
pub mod explore;
pub mod minimize;
pub mod parse;
pub mod point;
mod print;
pub mod rate;
mod report;
pub mod run;
pub mod schedule;
pub mod spec;
pub mod stamp;

pub use explore::{explore, Limits, Summary};
pub use minimize::minimize;
pub use parse::parse;
pub use point::Point;
pub use rate::Rate;
pub use run::{ActorId, Failure, Run, Runner, Stop, Taken, Turns, Verdict};
pub use schedule::Schedule;
pub use spec::Spec;
