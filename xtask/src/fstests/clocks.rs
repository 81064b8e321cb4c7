// SPDX-License-Identifier: GPL-2.0

//! How long tests take, from earlier runs: for the limit of each, the time that is left, and fair shards.
//!
//! Kept beside the runs, one file for all: the longest of the last and the present time of a test, by accelerator and
//! configuration, because both change it by an order of magnitude. Several runs may write it: each adds what it learnt
//! itself to what is there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::FlockOperation;

use crate::vm::Accel;

/// The file's name.
const FILE: &str = "durations.json";
/// Who writes the file holds this one locked, for the file itself is replaced.
const LOCK: &str = ".durations.lock";
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
    /// What this run learnt; none where it learnt that what was there says nothing any more.
    learnt: BTreeMap<String, Option<f64>>,
}

/// What the file holds, if it can be read.
fn read(path: &Path) -> Option<BTreeMap<String, f64>> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

impl Clocks {
    /// Reads what earlier runs have left in `results`. A file that is not readable is begun anew: it is a help only.
    pub fn open(results: &Path, accel: Accel, fixed: Option<Duration>) -> Self {
        let path = results.join(FILE);
        let seconds = read(&path).unwrap_or_default();
        Clocks {
            path,
            accel,
            fixed,
            seconds,
            learnt: BTreeMap::new(),
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

    /// What the suite may take after its last test, where that is usually `usual`: less, where the user allows each test less.
    pub fn closing(&self, usual: Duration) -> Duration {
        self.fixed
            .map_or(usual, |fixed| usual.min(fixed.max(LEAST)))
    }

    /// Notes what a test took. A shorter time than before counts half, so that one lucky run does not make the clock tight.
    pub fn took(&mut self, config: &str, test: &str, seconds: f64) {
        let key = self.key(config, test);
        let before = self.seconds.get(&key).copied().unwrap_or(seconds);
        self.learn(key, Some(seconds.max((seconds + before) / 2.0)));
        self.learn(self.unpassed_key(config, test), None);
    }

    /// Notes what it took to skip or to fail a test.
    pub fn unpassed(&mut self, config: &str, test: &str, seconds: f64) {
        self.learn(self.unpassed_key(config, test), Some(seconds));
    }

    fn learn(&mut self, key: String, seconds: Option<f64>) {
        set(&mut self.seconds, &key, seconds);
        self.learnt.insert(key, seconds);
    }

    /// Writes them for the next run. What other runs have written since this one began stays; of what both have timed,
    /// this run's word counts.
    pub fn save(&self) -> Result<()> {
        let write = || -> Result<()> {
            let lock = File::create(self.path.with_file_name(LOCK))?;
            // Held for a moment only, so whoever waits waits for no test.
            rustix::fs::flock(&lock, FlockOperation::LockExclusive)?;
            let mut all = read(&self.path).unwrap_or_else(|| self.seconds.clone());
            for (key, seconds) in &self.learnt {
                set(&mut all, key, *seconds);
            }
            // Named by process: an older xtask takes no lock, and must not find its half-written file replaced.
            let new = format!("{FILE}.{}.new", std::process::id());
            let new = self.path.with_file_name(new);
            fs::write(&new, serde_json::to_string_pretty(&all)?)?;
            fs::rename(&new, &self.path)?;
            Ok(())
        };
        write().with_context(|| format!("cannot write {}", self.path.display()))
    }
}

fn set(all: &mut BTreeMap<String, f64>, key: &str, seconds: Option<f64>) {
    match seconds {
        Some(seconds) => all.insert(key.to_owned(), seconds),
        None => all.remove(key),
    };
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
    fn runs_at_the_same_time_keep_what_the_other_learnt() {
        let dir = tempfile::tempdir().unwrap();
        let mut before = clocks(dir.path());
        before.unpassed("notblk", "generic/003", 3.0);
        before.save().unwrap();
        let (mut one, mut other) = (clocks(dir.path()), clocks(dir.path()));
        one.took("notblk", "generic/001", 10.0);
        one.took("notblk", "generic/003", 30.0);
        other.took("notblk", "generic/002", 20.0);
        other.took("notblk", "generic/001", 50.0);
        one.save().unwrap();
        other.save().unwrap();
        let after = clocks(dir.path());
        assert_eq!(after.known("notblk", "generic/002"), Some(20.0));
        assert_eq!(after.known("notblk", "generic/001"), Some(50.0));
        // What one has put right does not come back with the other.
        assert_eq!(after.estimate("notblk", "generic/003"), 30.0);
    }

    #[test]
    fn writers_at_once_neither_fail_nor_lose_a_word() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let mut it = clocks(dir.path());
                scope.spawn(move || {
                    for test in 0..25 {
                        it.took("notblk", &format!("generic/{writer}{test:02}"), 1.0);
                        it.save().unwrap();
                    }
                });
            }
        });
        assert_eq!(clocks(dir.path()).seconds.len(), 100);
        let mut names: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, [LOCK, FILE], "no other file is left");
    }

    #[test]
    fn the_users_word_is_final() {
        let dir = tempfile::tempdir().unwrap();
        let mut it = Clocks::open(dir.path(), Accel::Tcg, Some(Duration::from_secs(7)));
        it.took("notblk", "generic/001", 40.0);
        assert_eq!(it.limit("notblk", "generic/001"), Duration::from_secs(7));
        // But an unmount is no test.
        let usual = Duration::from_secs(60);
        assert_eq!(it.closing(usual), LEAST);
        assert_eq!(clocks(dir.path()).closing(usual), usual);
    }
}
