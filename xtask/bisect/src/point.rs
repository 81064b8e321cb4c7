// SPDX-License-Identifier: GPL-2.0

//! What is judged.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which history is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Axis {
    /// The kernel's.
    Kernel,
    /// The module's.
    Module,
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Axis::Kernel => "kernel",
            Axis::Module => "module",
        })
    }
}

/// A commit of the kernel with a commit of the module. None for what is the same throughout.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Point {
    /// The kernel's commit.
    pub kernel: Option<String>,
    /// The module's commit.
    pub module: Option<String>,
}

impl Point {
    /// The commit on one axis.
    #[must_use]
    pub fn on(&self, axis: Axis) -> Option<&str> {
        match axis {
            Axis::Kernel => self.kernel.as_deref(),
            Axis::Module => self.module.as_deref(),
        }
    }

    /// The same with another commit on one axis.
    #[must_use]
    pub fn with(&self, axis: Axis, commit: &str) -> Point {
        let mut point = self.clone();
        match axis {
            Axis::Kernel => point.kernel = Some(commit.to_owned()),
            Axis::Module => point.module = Some(commit.to_owned()),
        }
        point
    }
}

/// Like `kernel 0123456789ab, module ba9876543210`.
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "";
        for axis in [Axis::Kernel, Axis::Module] {
            if let Some(commit) = self.on(axis) {
                write!(f, "{before}{axis} {}", short(commit))?;
                before = ", ";
            }
        }
        Ok(())
    }
}

/// A commit's id as people read it.
#[must_use]
pub fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
