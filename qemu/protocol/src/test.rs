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
}

/// What the host must know about a test before it runs. Started on the host with the word `list`,
/// the agent prints a JSON list of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestInfo {
    /// Its name, `group/name`.
    pub name: String,
    /// It may take the machine down, so it gets a boot of its own.
    pub own_boot: bool,
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
