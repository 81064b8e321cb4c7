// SPDX-License-Identifier: GPL-2.0

//! The directory of a run, for the one xtask that writes it.
//!
//! ```text
//! <results>/latest              a link to the newest run
//! <results>/<id>/
//!     run.json                  the run; replaced whole
//!     results.jsonl             one result a line, each on the disk at once; locked by the writer
//!     tests/CONFIG/TEST[.rN]/   files kept of a test
//!     console/CONFIG-BOOT.log   what each guest said on its console
//!     results.json junit.xml index.html    made of the above in the end
//! ```

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};

use crate::files::{component, sync_dir, write_atomically};
use crate::journal::Journal;
use crate::kept::{read_json, Run};
use crate::{RunInfo, TestResult};

/// The names of the files in a run's directory.
pub mod name {
    /// The run.
    pub const RUN: &str = "run.json";
    /// The results as they come.
    pub const JOURNAL: &str = "results.jsonl";
    /// Everything in one document.
    pub const DOCUMENT: &str = "results.json";
    /// For CIs.
    pub const JUNIT: &str = "junit.xml";
    /// For people.
    pub const PAGE: &str = "index.html";
    /// Beside the runs: the link to the newest.
    pub const LATEST: &str = "latest";
}

/// A run's directory, open for writing; several threads may.
pub struct Store {
    dir: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    info: RunInfo,
    journal: Journal,
}

impl Store {
    /// Begins a run in a new directory. Where `info.id` is taken, a number is added to it; see [`Store::info`].
    pub fn create(results_dir: &Path, info: &RunInfo) -> Result<Self> {
        let make = || -> Result<(PathBuf, RunInfo)> {
            fs::create_dir_all(results_dir)?;
            let mut info = info.clone();
            let wanted = component(&info.id);
            let mut number = 1;
            loop {
                let id = match number {
                    1 => wanted.clone(),
                    _ => format!("{wanted}-{number}"),
                };
                let dir = results_dir.join(&id);
                match fs::create_dir(&dir) {
                    Ok(()) => {
                        info.id = id;
                        return Ok((dir, info));
                    }
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                    Err(error) => return Err(error.into()),
                }
            }
        };
        let (dir, info) =
            make().with_context(|| format!("cannot begin a run in {}", results_dir.display()))?;
        let journal = Journal::open(&dir.join(name::JOURNAL))?;
        // The last file of the three: a directory without it is no run.
        write_json(&dir.join(name::RUN), &info)?;
        sync_dir(results_dir)?;
        point_latest(results_dir, &info.id);
        Ok(Self::new(dir, info, journal))
    }

    /// Goes on with a run. Fails while another process writes it.
    pub fn open(dir: &Path) -> Result<Self> {
        let info = read_json(&dir.join(name::RUN))?;
        let journal = Journal::open(&dir.join(name::JOURNAL))?;
        Ok(Self::new(dir.to_owned(), info, journal))
    }

    fn new(dir: PathBuf, info: RunInfo, journal: Journal) -> Self {
        let inner = Mutex::new(Inner { info, journal });
        Store { dir, inner }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // What a thread that panicked had begun is on the disk or is not; the values are whole either way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The run, as it is now.
    pub fn info(&self) -> RunInfo {
        self.inner().info.clone()
    }

    /// Changes the run's data; the change is on the disk when this returns.
    pub fn update_run(&self, change: impl FnOnce(&mut RunInfo)) -> Result<()> {
        let mut inner = self.inner();
        change(&mut inner.info);
        write_json(&self.dir.join(name::RUN), &inner.info)
    }

    /// Notes why a configuration could not be run. Of several reasons the first is kept: the others may come of it.
    pub fn mark_broken(&self, config: &str, why: &str) -> Result<()> {
        self.update_run(|run| {
            for known in run.configs.iter_mut().filter(|it| it.name == config) {
                known.broken.get_or_insert_with(|| why.to_owned());
            }
        })
    }

    /// Keeps a result; it is on the disk when this returns.
    pub fn append(&self, result: &TestResult) -> Result<()> {
        self.inner().journal.append(result)
    }

    /// All results so far, each (configuration, test, round) once.
    pub fn results(&self) -> Vec<TestResult> {
        self.inner().journal.results.all().to_vec()
    }

    /// The run and its results so far, for tables and reports.
    pub fn run(&self) -> Run {
        let inner = self.inner();
        Run {
            run: inner.info.clone(),
            results: inner.journal.results.all().to_vec(),
        }
    }

    /// What is left to run of a configuration: (round, test), in order.
    pub fn remaining(&self, config: &str) -> Vec<(u32, String)> {
        let inner = self.inner();
        let Inner { info, journal } = &*inner;
        let Some(chosen) = info.configs.iter().find(|c| c.name == config) else {
            return Vec::new();
        };
        (1..=info.rounds)
            .flat_map(|round| chosen.tests.iter().map(move |test| (round, test)))
            .filter(|(round, test)| !journal.results.has(config, test, *round))
            .map(|(round, test)| (round, test.clone()))
            .collect()
    }

    /// Keeps a file of a test; returns its path relative to the run's directory, for [`TestResult::files`].
    ///
    /// Names may come from a guest: whatever they are, the file lies below the test's directory.
    pub fn keep(
        &self,
        config: &str,
        test: &str,
        round: u32,
        name: &str,
        bytes: &[u8],
    ) -> Result<String> {
        let mut dir = format!("tests/{}", component(config));
        for part in test.split('/') {
            dir.push('/');
            dir.push_str(&component(part));
        }
        if round > 1 {
            dir.push_str(&format!(".r{round}"));
        }
        let path = format!("{dir}/{}", component(name));
        let write = || -> Result<()> {
            fs::create_dir_all(self.dir.join(&dir))?;
            let mut file = File::create(self.dir.join(&path))?;
            file.write_all(bytes)?;
            file.sync_data()?;
            Ok(())
        };
        write().with_context(|| format!("cannot keep {path}"))?;
        Ok(path)
    }

    /// The highest number of a guest so far, of those included that ended before they gave any result.
    pub fn last_boot(&self) -> Result<u32> {
        let mut last = 0;
        match fs::read_dir(self.dir.join("console")) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).context("cannot list the consoles of the run"),
            Ok(entries) => {
                for entry in entries {
                    let name = entry?.file_name();
                    last = last.max(boot_of(&name.to_string_lossy()).unwrap_or(0));
                }
            }
        }
        Ok(last)
    }

    /// Where the console of a guest belongs; its directory is there.
    pub fn console(&self, config: &str, boot: u32) -> Result<PathBuf> {
        let dir = self.dir.join("console");
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(dir.join(format!("{}-{boot}.log", component(config))))
    }
}

/// The boot that a console's log is of.
fn boot_of(name: &str) -> Option<u32> {
    let (_, number) = name.strip_suffix(".log")?.rsplit_once('-')?;
    number.parse().ok()
}

/// Writes one of our JSON files.
pub(crate) fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    write_atomically(path, &text)
}

/// Points the link `latest` to a run. A convenience for people: where it fails, nothing is lost.
fn point_latest(results_dir: &Path, id: &str) {
    let new = results_dir.join(format!(".{}.{id}", name::LATEST));
    if std::os::unix::fs::symlink(id, &new).is_ok()
        && fs::rename(&new, results_dir.join(name::LATEST)).is_err()
    {
        // Something that is no link has that name; it stays as it is, and the loose link goes.
        let _ = fs::remove_file(&new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fake, State, Status};

    fn store(tests: &[&str], rounds: u32) -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let mut info = fake::run_info(&["notblk", "ext4"], tests);
        info.rounds = rounds;
        let store = Store::create(dir.path(), &info).unwrap();
        (dir, store)
    }

    #[test]
    fn runs_of_the_same_second_have_their_own_directories() {
        let dir = tempfile::tempdir().unwrap();
        let info = fake::run_info(&["notblk"], &["generic/001"]);
        let ids: Vec<_> = (0..3)
            .map(|_| Store::create(dir.path(), &info).unwrap().info().id)
            .collect();
        let id = &info.id;
        assert_eq!(ids, [id.clone(), format!("{id}-2"), format!("{id}-3")]);
        assert_eq!(
            fs::read_link(dir.path().join("latest")).unwrap(),
            Path::new(&ids[2])
        );
    }

    #[test]
    fn what_is_left_is_what_has_no_result() {
        let (_dir, store) = store(&["generic/002", "generic/001"], 2);
        assert_eq!(store.remaining("notblk").len(), 4);
        let mut result = fake::result("notblk", "generic/002", Status::Hang);
        store.append(&result).unwrap();
        result.round = 2;
        store.append(&result).unwrap();
        let left = [(1, "generic/001".to_owned()), (2, "generic/001".to_owned())];
        assert_eq!(store.remaining("notblk"), left);
        assert_eq!(store.remaining("ext4").len(), 4);
        assert_eq!(store.remaining("none"), []);
    }

    #[test]
    fn a_run_goes_on_where_it_was() {
        let (_dir, store) = store(&["generic/001", "generic/002"], 1);
        let result = fake::result("notblk", "generic/001", Status::Fail);
        store.append(&result).unwrap();
        store
            .update_run(|run| run.state = State::Interrupted)
            .unwrap();
        let (path, before) = (store.dir().to_owned(), store.run());
        assert!(Store::open(&path).is_err(), "the first has the lock");
        drop(store);
        let again = Store::open(&path).unwrap();
        assert_eq!(again.run(), before);
        assert_eq!(again.results(), [result]);
        assert_eq!(again.remaining("notblk"), [(1, "generic/002".to_owned())]);
    }

    #[test]
    fn why_a_configuration_could_not_be_run_is_on_the_disk_at_once() {
        let (_dir, store) = store(&["generic/001"], 1);
        store.mark_broken("ext4", "mount: refused").unwrap();
        store.mark_broken("ext4", "the guest ended").unwrap();
        let configs = Run::load(store.dir()).unwrap().run.configs;
        let broken: Vec<_> = configs.iter().map(|it| it.broken.as_deref()).collect();
        assert_eq!(broken, [None, Some("mount: refused")]);
    }

    #[test]
    fn kept_files_stay_below_their_test() {
        let (dir, store) = store(&["generic/001"], 1);
        let keep = |test, round, name| store.keep("notblk", test, round, name, b"text").unwrap();
        assert_eq!(
            keep("generic/001", 1, "out.bad"),
            "tests/notblk/generic/001/out.bad"
        );
        assert_eq!(
            keep("generic/001", 3, "full"),
            "tests/notblk/generic/001.r3/full"
        );
        for (test, name) in [("../../..", "../../x"), ("/etc", "/passwd"), ("a//b", "..")] {
            let path = keep(test, 1, name);
            let real = store.dir().join(&path).canonicalize().unwrap();
            let below = store.dir().join("tests/notblk").canonicalize().unwrap();
            assert!(real.starts_with(below), "{path}");
        }
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            2,
            "the run and `latest`"
        );
    }

    #[test]
    fn threads_append_without_losing_a_result() {
        let (_dir, store) = store(&["generic/001"], 1);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let store = &store;
                scope.spawn(move || {
                    for test in 0..25 {
                        let name = format!("generic/{thread}{test:02}");
                        let result = fake::result("notblk", &name, Status::Pass);
                        store.append(&result).unwrap();
                    }
                });
            }
        });
        assert_eq!(Run::load(store.dir()).unwrap().results.len(), 100);
    }
}
