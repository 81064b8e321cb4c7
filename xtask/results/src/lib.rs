// SPDX-License-Identifier: GPL-2.0

//! Results of `cargo xtask run-xfstests`: what a run is, how it is kept, compared and shown.
//!
//! Knows nothing of guests: the runner hands over one [`TestResult`] after the other, and everything here can be made again
//! from what was kept.

#![forbid(unsafe_code)]

pub mod baseline;
pub mod clock;
pub mod compare;
mod documents;
mod files;
pub mod flaky;
pub mod html;
mod journal;
pub mod junit;
pub mod kept;
pub mod merge;
pub mod model;
pub mod outcome;
pub mod store;
pub mod table;
mod text;

#[cfg(test)]
mod fake;

pub use baseline::{held_against, Baseline};
pub use compare::{Class, Comparison};
pub use documents::write_documents;
pub use kept::Run;
pub use merge::merge;
pub use model::{
    Bug, ConfigInfo, Expect, Expectation, RunInfo, Shard, Shards, State, Status, SuiteInfo,
    TestResult,
};
pub use outcome::{Column, Outcome};
pub use store::Store;
