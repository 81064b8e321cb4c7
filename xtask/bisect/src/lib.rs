// SPDX-License-Identifier: GPL-2.0

//! Bisection by something that shows itself in some runs only.
//!
//! A commit that shows it in one run is bad. That a commit is good can never be seen, only become likely: by so many runs
//! without it that a bad commit would hardly have kept quiet. How many that takes follows from how often the bad end shows it,
//! and from the error that the user allows.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`stats`] | how often, at least; how many runs, then |
//! | [`budget`] | the allowed error, shared out among the steps |
//! | [`point`] | what is judged: a commit of the kernel with one of the module |
//! | [`world`] | what the outside must do: git, builds, guests |
//! | [`memo`] | what is known so far; also what an interrupted bisection goes on from |
//! | [`engine`] | the whole: ends, axes, steps, the re-test |
//! | [`report`], [`text`] | what came of it, and how it reads |

#![forbid(unsafe_code)]

pub mod budget;
pub mod engine;
pub mod memo;
pub mod point;
pub mod report;
pub mod stats;
pub mod text;
pub mod world;

pub use engine::{bisect, Plan};
pub use memo::{Entry, Memo};
pub use point::{Axis, Point};
pub use report::Report;
pub use world::{Ask, Batch, Built, Choice, World};
