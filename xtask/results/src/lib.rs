// SPDX-License-Identifier: GPL-2.0

//! Results of `cargo xtask run-xfstests`: what a run is, how it is kept, compared and shown.
//!
//! Knows nothing of guests: the runner hands over one [`TestResult`] after the other, and everything here can be made again
//! from what was kept.

#![forbid(unsafe_code)]

pub mod clock;
mod files;
mod journal;
pub mod kept;
pub mod model;
pub mod store;

#[cfg(test)]
mod fake;

pub use kept::Run;
pub use model::{
    Bug, ConfigInfo, Expect, Expectation, RunInfo, State, Status, SuiteInfo, TestResult,
};
pub use store::Store;
