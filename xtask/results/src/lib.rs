// SPDX-License-Identifier: GPL-2.0

//! Results of `cargo xtask run-xfstests`: what a run is, how it is kept, compared and shown.
//!
//! Knows nothing of guests: the runner hands over one [`TestResult`] after the other, and everything here can be made again
//! from what was kept.

#![forbid(unsafe_code)]

pub mod model;

pub use model::{
    Bug, ConfigInfo, Expect, Expectation, RunInfo, State, Status, SuiteInfo, TestResult,
};
