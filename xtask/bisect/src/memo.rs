// SPDX-License-Identifier: GPL-2.0

//! What is known so far.
//!
//! The engine asks here before it asks the world. So a build that equals an earlier one is not run again, and a bisection that
//! was interrupted goes on where it was: it begins anew, and finds all its questions answered up to there.

use std::collections::BTreeMap;

use notblk_race::rate::Rate;
use serde::{Deserialize, Serialize};

/// One thing that was found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Entry {
    /// These sources make this build.
    Built {
        /// Of [`crate::World::source`].
        source: String,
        /// Of [`crate::Built::Ready`].
        identity: String,
        /// How long that took.
        seconds: f64,
    },
    /// These sources cannot be built.
    Unbuildable {
        /// Of [`crate::World::source`].
        source: String,
        /// Why.
        why: String,
        /// How long that took.
        seconds: f64,
    },
    /// A guest of this build.
    Ran {
        /// Which build.
        identity: String,
        /// Runs without the signature.
        clean: u64,
        /// Runs with it.
        hits: u64,
        /// What kept further runs from their end.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        trouble: Option<String>,
        /// What was seen beside.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        also: Option<String>,
        /// Seconds until the guest spoke.
        boot: f64,
        /// Seconds in all.
        seconds: f64,
    },
}

/// What is known of a build.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// The runs.
    pub rate: Rate,
    /// Guests without a single run, since the last one with any.
    pub idle: u32,
    /// Guests in which something else kept runs from their end.
    pub troubled: u32,
    /// What it was, last.
    pub trouble: Option<String>,
    /// Splats of other kinds that were seen.
    pub also: Vec<String>,
    /// Seconds in guests.
    pub seconds: f64,
}

/// What a source came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// This build.
    Built(String),
    /// Nothing, and why.
    Unbuildable(String),
}

/// How often and how long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Builds, those that failed among them.
    pub builds: u64,
    /// Seconds in them.
    pub build_seconds: f64,
    /// Guests.
    pub boots: u64,
    /// Seconds until they spoke.
    pub boot_seconds: f64,
    /// Runs.
    pub runs: u64,
    /// Seconds in guests in all.
    pub guest_seconds: f64,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct Memo {
    sources: BTreeMap<String, Source>,
    tallies: BTreeMap<String, Tally>,
    /// What it took.
    pub work: Work,
    /// What the last build took: the first one compiles everything.
    pub last_build: f64,
}

impl Memo {
    /// Learns one thing more.
    pub fn learn(&mut self, entry: &Entry) {
        match entry {
            Entry::Built {
                source,
                identity,
                seconds,
            } => {
                let built = Source::Built(identity.clone());
                self.built(source, built, *seconds);
            }
            Entry::Unbuildable {
                source,
                why,
                seconds,
            } => self.built(source, Source::Unbuildable(why.clone()), *seconds),
            Entry::Ran {
                identity,
                clean,
                hits,
                trouble,
                also,
                boot,
                seconds,
            } => {
                self.work.boots += 1;
                self.work.boot_seconds += boot;
                self.work.runs += clean + hits;
                self.work.guest_seconds += seconds;
                let tally = self.tallies.entry(identity.clone()).or_default();
                tally.rate.hits += hits;
                tally.rate.trials += clean + hits;
                tally.seconds += seconds;
                match clean + hits {
                    0 => tally.idle += 1,
                    _ => tally.idle = 0,
                }
                if trouble.is_some() {
                    tally.troubled += 1;
                    tally.trouble.clone_from(trouble);
                }
                if let Some(also) = also.as_ref().filter(|line| !tally.also.contains(line)) {
                    tally.also.push(also.clone());
                }
            }
        }
    }

    fn built(&mut self, source: &str, what: Source, seconds: f64) {
        self.work.builds += 1;
        self.work.build_seconds += seconds;
        self.last_build = seconds;
        self.sources.insert(source.to_owned(), what);
    }

    /// What these sources came to.
    #[must_use]
    pub fn source(&self, source: &str) -> Option<&Source> {
        self.sources.get(source)
    }

    /// What is known of a build.
    #[must_use]
    pub fn tally(&self, identity: &str) -> Tally {
        self.tallies.get(identity).cloned().unwrap_or_default()
    }

    /// Seconds that a run takes, as far as that is known.
    #[must_use]
    pub fn run_seconds(&self) -> f64 {
        match self.work.runs {
            0 => 0.0,
            runs => (self.work.guest_seconds - self.work.boot_seconds).max(0.0) / runs as f64,
        }
    }

    /// Seconds that a boot takes.
    #[must_use]
    pub fn boot_seconds(&self) -> f64 {
        match self.work.boots {
            0 => 0.0,
            boots => self.work.boot_seconds / boots as f64,
        }
    }
}
