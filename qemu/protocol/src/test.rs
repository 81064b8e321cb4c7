// SPDX-License-Identifier: GPL-2.0
//! Guest tests: which to run, and how each went.

use serde::{Deserialize, Serialize};

/// Which guest tests to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestSpec {
    /// Names of the tests, in the order to run them.
    pub names: Vec<String>,
    /// Seed of the random tests, so that a failure can be run again.
    pub seed: u64,
    /// Operations of each test that runs fsx, where they are not to be its own few.
    pub fsx_ops: Option<u32>,
}

/// How a test went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All that it asserts held.
    Passed,
    /// Something did not; why, in lines.
    Failed(String),
    /// It does not apply here; why.
    Skipped(String),
}
