// SPDX-License-Identifier: GPL-2.0
//! What the host asks of the guest.

use crate::{CompareSpec, CostSpec, HostileSpec, LabSpec, RaceSpec, SuiteSpec, TestSpec};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The filesystem driver under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// This project's module.
    Notblk,
    /// The kernel's own C driver, on an image without extents. It is the control: a workload or a
    /// test that fails on it says something about the workload, or about that kernel.
    Ext4,
}

impl Driver {
    /// The name for `mount -t`, which is the name of the module as well.
    pub fn name(self) -> &'static str {
        match self {
            Driver::Notblk => "notblk",
            Driver::Ext4 => "ext4",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The one job of a boot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The driver under test.
    pub driver: Driver,
    /// What to do with it.
    pub work: Work,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Run the race workload, one row after the other.
    Race {
        /// The rows, in order.
        rows: Vec<RaceSpec>,
    },
    /// Run race specs, one after the other, each on a filesystem of its own.
    Lab {
        /// The specs, in order.
        specs: Vec<LabSpec>,
    },
    /// Count what a direct overwrite costs.
    Cost(CostSpec),
    /// Run guest tests.
    Test(TestSpec),
    /// Run one sequence of operations on two drivers.
    Compare(CompareSpec),
    /// Mount images that somebody has tampered with, one after the other.
    Hostile(HostileSpec),
    /// Run tests of xfstests.
    Suite(SuiteSpec),
    /// An interactive shell on the serial console, with a filesystem mounted.
    Shell,
    /// One shell command, its output sent to the host.
    Command {
        /// Handed to `sh -c`.
        command: String,
    },
}
