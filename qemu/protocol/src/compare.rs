// SPDX-License-Identifier: GPL-2.0
//! The differential test: one sequence of operations on two drivers.

use serde::{Deserialize, Serialize};

/// What to compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompareSpec {
    /// The sequence's seed.
    pub seed: u64,
    /// Its length.
    pub ops: u32,
    /// Bytes per block of the two filesystems.
    pub block_size: u32,
    /// Bytes per inode on disk.
    pub inode_size: u32,
    /// Only the operations with these numbers, which count from 1; all where it is empty.
    pub only: Vec<u32>,
    /// Classes of operations to leave out whatever the drivers can do.
    pub without: Vec<String>,
    /// Show a difference as it was found, without looking for a shorter sequence.
    pub unshrunk: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompareReport {
    /// The driver under test.
    pub subject: String,
    /// The one that it is held against.
    pub control: String,
    /// Operations that were done on both.
    pub done: u32,
    /// How often all names, metadata and contents were compared.
    pub trees: u32,
    /// How often `e2fsck -fn` looked at both.
    pub checks: u32,
    /// How long it took, in milliseconds of the guest's clock, without the search for a shorter sequence.
    pub millis: u64,
    /// One line for each kind of operation.
    pub kinds: Vec<CompareKind>,
    /// Classes of operations that were left out, and why.
    pub left_out: Vec<(String, String)>,
    /// The first difference.
    pub difference: Option<CompareDifference>,
}

/// How a kind of operation fared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompareKind {
    /// Like `rename`.
    pub name: String,
    /// How often it was done.
    pub done: u32,
    /// How often it succeeded, on both.
    pub succeeded: u32,
    /// How often there was nothing to do it on: an empty slot for open files.
    pub idle: u32,
    /// Each errno with how often it came.
    pub errors: Vec<(String, u32)>,
}

/// Where the two drivers part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompareDifference {
    /// What differs: lines.
    pub lines: Vec<String>,
    /// The shortest sequence that was found to show it: each operation with its number in the whole.
    pub sequence: Vec<(u32, String)>,
    /// How many sequences were tried for it.
    pub tries: u32,
}
