// SPDX-License-Identifier: GPL-2.0

//! What a direct overwrite costs, on a disk that answers at once.

use serde::{Deserialize, Serialize};

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostSpec {
    /// Overwrites of 4 KiB in a round.
    pub overwrites: u32,
    /// Rounds.
    pub rounds: u32,
}

/// What came of a [`CostSpec`]: times of one round, in nanoseconds of the guest's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostReport {
    /// The shortest: nothing came between, no tick of the clock either.
    pub least: u64,
    /// As many are shorter as are longer.
    pub median: u64,
}
