// SPDX-License-Identifier: GPL-2.0

//! Runs as they lie on the disk: finding and reading them. Nothing here needs a lock.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use serde::{Deserialize, Serialize};

use crate::journal;
use crate::store::name;
use crate::{RunInfo, State, TestResult};

/// A run and all its results: what `results.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The run.
    pub run: RunInfo,
    /// Its results in the order they came, each (configuration, test, round) once.
    pub results: Vec<TestResult>,
}

impl Run {
    /// Reads a run's directory, or a `results.json` that lies somewhere by itself.
    ///
    /// A run that says that it goes on, though nobody writes it, is [`State::Interrupted`].
    pub fn load(path: &Path) -> Result<Self> {
        if path.is_file() {
            return read_json(path);
        }
        let mut run: RunInfo = read_json(&path.join(name::RUN))?;
        let journal = path.join(name::JOURNAL);
        if run.state == State::Running && !journal::is_being_written(&journal) {
            run.state = State::Interrupted;
        }
        let results = journal::read(&journal)?.into_all();
        Ok(Run { run, results })
    }

    /// The results of one configuration.
    pub fn of<'a>(&'a self, config: &'a str) -> impl Iterator<Item = &'a TestResult> + 'a {
        self.results.iter().filter(move |r| r.config == config)
    }

    /// The names of the configurations.
    pub fn config_names(&self) -> impl Iterator<Item = &str> {
        self.run.configs.iter().map(|c| c.name.as_str())
    }
}

/// Reads one of our JSON files.
pub(crate) fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T> {
    let read = || -> Result<T> { Ok(serde_json::from_slice(&fs::read(path)?)?) };
    read().with_context(|| format!("cannot read {}", path.display()))
}

/// The directories of all runs in `results_dir`, the oldest first; none where there is no such directory.
pub fn all(results_dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(results_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", results_dir.display()))
        }
    };
    let mut runs = Vec::new();
    for entry in entries {
        let entry = entry?;
        // `latest` is a link to one of the others.
        if entry.file_type()?.is_dir() && entry.path().join(name::RUN).is_file() {
            runs.push(entry.path());
        }
    }
    runs.sort();
    Ok(runs)
}

/// Reads all runs in `results_dir`, the oldest first; and what kept others from being read, so that one bad file hides
/// none of the rest.
pub fn load_all(results_dir: &Path) -> Result<(Vec<Run>, Vec<anyhow::Error>)> {
    let (mut runs, mut errors) = (Vec::new(), Vec::new());
    for dir in all(results_dir)? {
        match Run::load(&dir) {
            Ok(run) => runs.push(run),
            Err(error) => errors.push(error),
        }
    }
    Ok((runs, errors))
}

/// Finds a run: by `latest`, its id, the beginning of its id, or the path of its directory or of a file in it.
///
/// What is found is for [`Run::load`] and, where it is a directory, [`crate::Store::open`].
pub fn find(results_dir: &Path, which: &str) -> Result<PathBuf> {
    let runs = all(results_dir)?;
    let id = |path: &Path| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    if which == "latest" {
        let newest = runs.last().cloned();
        return newest.with_context(|| format!("there is no run in {}", results_dir.display()));
    }
    if let Some(run) = runs.iter().find(|run| id(run) == which) {
        return Ok(run.clone());
    }
    if let Some(path) = as_path(Path::new(which)) {
        return Ok(path);
    }
    let fitting: Vec<_> = match which {
        "" => Vec::new(),
        which => runs.iter().filter(|r| id(r).starts_with(which)).collect(),
    };
    match fitting[..] {
        [run] => Ok(run.clone()),
        [] => bail!("there is no run `{which}` in {}", results_dir.display()),
        ref several => {
            let ids: Vec<_> = several.iter().map(|run| id(run)).collect();
            bail!(
                "`{which}` is the beginning of {} runs: {}",
                ids.len(),
                ids.join(", ")
            );
        }
    }
}

/// A run's directory, given as such or by one of its files; or a `results.json` that came from elsewhere.
fn as_path(path: &Path) -> Option<PathBuf> {
    if path.join(name::RUN).is_file() {
        return Some(path.to_owned());
    }
    if !path.is_file() {
        return None;
    }
    match path.parent().filter(|dir| dir.join(name::RUN).is_file()) {
        Some(dir) => Some(dir.to_owned()),
        None => Some(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;
    use crate::Store;

    /// Three runs, of which the last is written.
    fn three() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let make = |id: &str| {
            let mut info = fake::run_info(&["notblk"], &["generic/001"]);
            info.id = id.into();
            Store::create(dir.path(), &info).unwrap()
        };
        make("2026-11-22-100000-notblk");
        make("2026-11-22-100001-notblk");
        let last = make("2026-11-23-100000-ext4");
        (dir, last)
    }

    #[test]
    fn a_run_is_found_by_what_names_it() {
        let (dir, last) = three();
        let found = |which: &str| find(dir.path(), which).unwrap();
        assert_eq!(found("latest"), last.dir());
        assert_eq!(found("2026-11-23"), last.dir());
        let second = dir.path().join("2026-11-22-100001-notblk");
        assert_eq!(found("2026-11-22-100001-notblk"), second);
        assert_eq!(found(second.to_str().unwrap()), second);
        assert_eq!(found(second.join("run.json").to_str().unwrap()), second);
    }

    #[test]
    fn what_names_no_run_or_several_is_said() {
        let (dir, _last) = three();
        let error = |which: &str| find(dir.path(), which).unwrap_err().to_string();
        assert!(error("2026-11-22").contains("2 runs: 2026-11-22-100000-notblk, "));
        assert!(error("2027").contains("there is no run `2027`"));
        assert!(error("").contains("there is no run"));
        assert!(error("/").contains("there is no run"));
        let empty = tempfile::tempdir().unwrap();
        assert!(find(&empty.path().join("none"), "latest").is_err());
    }

    #[test]
    fn a_run_that_nobody_writes_does_not_go_on() {
        let (dir, last) = three();
        let state = |which: &str| {
            let path = find(dir.path(), which).unwrap();
            Run::load(&path).unwrap().run.state
        };
        assert_eq!(state("latest"), State::Running);
        assert_eq!(state("2026-11-22-100000-notblk"), State::Interrupted);
        drop(last);
        assert_eq!(state("latest"), State::Interrupted);
    }

    #[test]
    fn a_run_that_cannot_be_read_hides_no_other() {
        let (dir, last) = three();
        fs::write(last.dir().join(name::RUN), "{").unwrap();
        let (runs, errors) = load_all(dir.path()).unwrap();
        assert_eq!((runs.len(), errors.len()), (2, 1));
        let error = format!("{:#}", errors[0]);
        assert!(error.contains("run.json"), "{error}");
    }

    #[test]
    fn results_json_is_a_run_by_itself() {
        let (dir, last) = three();
        last.append(&fake::result("notblk", "generic/001", crate::Status::Pass))
            .unwrap();
        let run = last.run();
        let alone = dir.path().join("copy.json");
        fs::write(&alone, serde_json::to_vec(&run).unwrap()).unwrap();
        let found = find(dir.path(), alone.to_str().unwrap()).unwrap();
        assert_eq!(Run::load(&found).unwrap(), run);
    }
}
