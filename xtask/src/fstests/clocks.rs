// SPDX-License-Identifier: GPL-2.0

//! How long tests take, from earlier runs: for the limit of each, the time that is left, and fair shards.
//!
//! Kept beside the runs, one file for all: the longest of the last and the present time of a test, by accelerator and
//! configuration, because both change it by an order of magnitude.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::vm::Accel;

/// The file's name.
const FILE: &str = "durations.json";
/// No test gets less, under KVM: a first mount on a busy machine can take a while.
const LEAST: Duration = Duration::from_secs(30);
/// How many times its earlier duration a test may take.
const FACTOR: f64 = 10.0;
/// What a test may take that was never timed, under KVM; [`Accel::scale`] makes it fit the others.
const UNKNOWN: Duration = Duration::from_secs(240);
/// What a test that was never timed is guessed to take, in seconds.
const GUESS: f64 = 6.0;

/// Seconds by `accelerator/configuration/test`.
pub struct Clocks {
    path: PathBuf,
    accel: Accel,
    /// What the user allows each test.
    fixed: Option<Duration>,
    seconds: BTreeMap<String, f64>,
}

impl Clocks {
    /// Reads what earlier runs have left in `results`. A file that is not readable is begun anew: it is a help only.
    pub fn open(results: &Path, accel: Accel, fixed: Option<Duration>) -> Self {
        let path = results.join(FILE);
        let seconds = fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Clocks {
            path,
            accel,
            fixed,
            seconds,
        }
    }

    fn key(&self, config: &str, test: &str) -> String {
        format!("{}/{config}/{test}", self.accel)
    }

    /// Apart, because what it takes to skip a test, or to fail it, says nothing about what it takes to pass it.
    fn unpassed_key(&self, config: &str, test: &str) -> String {
        format!("{}#unpassed", self.key(config, test))
    }

    /// What the test took before, in this configuration or else in any.
    pub fn known(&self, config: &str, test: &str) -> Option<f64> {
        let own = self.seconds.get(&self.key(config, test));
        own.copied().or_else(|| {
            let begin = format!("{}/", self.accel);
            let end = format!("/{test}");
            self.seconds
                .iter()
                .filter(|(key, _)| key.starts_with(&begin) && key.ends_with(&end))
                .map(|(_, &seconds)| seconds)
                .reduce(f64::max)
        })
    }

    /// What the test will take, as far as one can tell.
    pub fn estimate(&self, config: &str, test: &str) -> f64 {
        let unpassed = self.seconds.get(&self.unpassed_key(config, test));
        let known = unpassed.copied().or_else(|| self.known(config, test));
        known.unwrap_or(GUESS)
    }

    /// What the test may take.
    pub fn limit(&self, config: &str, test: &str) -> Duration {
        if let Some(fixed) = self.fixed {
            return fixed;
        }
        let own = self.seconds.contains_key(&self.key(config, test));
        // What it took in another configuration may be more than what is usual, but is no reason to allow less.
        let least = self.accel.scale(if own { LEAST } else { UNKNOWN });
        match self.known(config, test) {
            Some(seconds) => Duration::from_secs_f64(seconds * FACTOR).max(least),
            None => least,
        }
    }

    /// Notes what a test took. A shorter time than before counts half, so that one lucky run does not make the clock tight.
    pub fn took(&mut self, config: &str, test: &str, seconds: f64) {
        let key = self.key(config, test);
        let before = self.seconds.get(&key).copied().unwrap_or(seconds);
        self.seconds
            .insert(key, seconds.max((seconds + before) / 2.0));
        self.seconds.remove(&self.unpassed_key(config, test));
    }

    /// Notes what it took to skip or to fail a test.
    pub fn unpassed(&mut self, config: &str, test: &str, seconds: f64) {
        let key = self.unpassed_key(config, test);
        self.seconds.insert(key, seconds);
    }

    /// Writes them for the next run.
    pub fn save(&self) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.seconds)?;
        let new = self.path.with_extension("new");
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &self.path))
            .with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks(dir: &Path) -> Clocks {
        Clocks::open(dir, Accel::Tcg, None)
    }

    #[test]
    fn a_test_gets_ten_times_what_it_took() {
        let dir = tempfile::tempdir().unwrap();
        let mut it = clocks(dir.path());
        assert_eq!(it.limit("notblk", "generic/001"), Duration::from_secs(960));
        it.took("notblk", "generic/001", 40.0);
        assert_eq!(it.limit("notblk", "generic/001"), Duration::from_secs(400));
        it.took("notblk", "generic/002", 1.0);
        assert_eq!(it.limit("notblk", "generic/002"), Duration::from_secs(120));
        assert_eq!(it.limit("other", "generic/002"), Duration::from_secs(960));
        it.took("notblk", "generic/001", 20.0);
        assert_eq!(it.known("notblk", "generic/001"), Some(30.0));
    }

    #[test]
    fn another_configuration_is_a_hint_and_another_accelerator_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut it = clocks(dir.path());
        it.took("control", "generic/001", 40.0);
        it.took("control", "generic/0011", 400.0);
        assert_eq!(it.known("notblk", "generic/001"), Some(40.0));
        it.save().unwrap();
        assert_eq!(clocks(dir.path()).estimate("x", "generic/001"), 40.0);
        let kvm = Clocks::open(dir.path(), Accel::Kvm, None);
        assert_eq!(kvm.known("control", "generic/001"), None);
    }

    #[test]
    fn a_test_that_did_not_pass_says_nothing_about_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let mut it = clocks(dir.path());
        it.unpassed("notblk", "generic/001", 3.0);
        assert_eq!(it.estimate("notblk", "generic/001"), 3.0);
        assert_eq!(it.known("control", "generic/001"), None);
        assert_eq!(it.limit("notblk", "generic/001"), Duration::from_secs(960));
        it.took("notblk", "generic/001", 40.0);
        assert_eq!(it.estimate("notblk", "generic/001"), 40.0);
    }

    #[test]
    fn the_users_word_is_final() {
        let dir = tempfile::tempdir().unwrap();
        let mut it = Clocks::open(dir.path(), Accel::Tcg, Some(Duration::from_secs(7)));
        it.took("notblk", "generic/001", 40.0);
        assert_eq!(it.limit("notblk", "generic/001"), Duration::from_secs(7));
    }
}
