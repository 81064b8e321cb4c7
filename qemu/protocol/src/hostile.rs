// SPDX-License-Identifier: GPL-2.0
//! Images that somebody has tampered with: which ones the guest is to stand, and how it fared.

use notblk_hostile::case::Case;
use notblk_hostile::mutate::Mode;
use serde::{Deserialize, Serialize};

/// Which images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostileSpec {
    /// Those that seeds give.
    Seeds {
        /// The first seed.
        from: u64,
        /// How many.
        count: u64,
        /// Of this base only; of each in turn otherwise.
        base: Option<String>,
        /// In this way only; fields mostly otherwise.
        mode: Option<Mode>,
    },
    /// These.
    Cases(Vec<Case>),
}

/// An image is about to be mounted. What comes next, if nothing does, is its doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostileImage {
    /// Where it comes from; none for one that was given.
    pub seed: Option<(u64, Mode)>,
    /// What it is.
    pub case: Case,
}

/// What is wrong with how the driver took an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostileFailure {
    /// The image.
    pub image: HostileImage,
    /// Why: lines.
    pub complaints: Vec<String>,
}

/// What is done with an image.
pub const HOSTILE_STEPS: [&str; 5] = ["writing it", "mount", "reading", "writing", "umount"];

/// How images fared, since the last of these.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostileReport {
    /// How many there were.
    pub images: u64,
    /// Not mounted: an errno, and a line in the log.
    pub refused: u64,
    /// Mounted, and damage was met.
    pub damaged: u64,
    /// Mounted, and nobody noticed anything.
    pub harmless: u64,
    /// The longest that one took, in milliseconds of the guest's clock, and the seed of that one.
    pub slowest: (u64, Option<u64>),
    /// Microseconds of the guest's clock for the steps of [`HOSTILE_STEPS`].
    pub steps: [u64; HOSTILE_STEPS.len()],
    /// How often a call ended so: its name, the errno's name.
    pub errors: Vec<(String, String, u64)>,
}

impl HostileReport {
    /// Adds what came later.
    pub fn add(&mut self, other: &HostileReport) {
        self.images += other.images;
        self.refused += other.refused;
        self.damaged += other.damaged;
        self.harmless += other.harmless;
        self.slowest = self.slowest.max(other.slowest);
        let steps = self.steps.iter_mut().zip(other.steps);
        steps.for_each(|(sum, more)| *sum += more);
        for (call, errno, count) in &other.errors {
            self.count(call, errno, *count);
        }
    }

    /// A call ended so, so often.
    pub fn count(&mut self, call: &str, errno: &str, count: u64) {
        let known = |entry: &&mut (String, String, u64)| entry.0 == call && entry.1 == errno;
        match self.errors.iter_mut().find(known) {
            Some(entry) => entry.2 += count,
            None => self.errors.push((call.to_owned(), errno.to_owned(), count)),
        }
    }
}
