// SPDX-License-Identifier: GPL-2.0

//! Runs of `--shard i/n` on several machines, put together again.
//!
//! A whole is only complete with all parts of the list: which ones are there is kept for each configuration
//! ([`ConfigInfo::shards`]), so that a merged run can be merged with what was missing.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};

use crate::{ConfigInfo, Run, RunInfo, Shard, Shards, State, Store, TestResult};

/// Makes one run of several: directories, or `results.json` that came without their files.
///
/// They must agree in everything that decides how a test ends, and none may be given twice. Where two have a result of one
/// test, a bad one is kept, else one that ran. What is missing is in [`RunInfo::faults`] of the whole, which then is no
/// complete run.
pub fn merge(results_dir: &Path, parts: &[PathBuf]) -> Result<Store> {
    let mut runs = Vec::new();
    let mut places = HashSet::new();
    for part in parts {
        let new = places.insert(part.canonicalize().unwrap_or_else(|_| part.clone()));
        ensure!(new, "{} is given twice", part.display());
        let mut run = Run::load(part)?;
        let shard = run.run.shard.take();
        for config in &mut run.run.configs {
            // One that was merged before knows its own.
            let own = config.shards.take();
            config.shards = own.or(shard.map(Shards::from));
        }
        runs.push(run);
    }
    let Some((first, others)) = runs.split_first() else {
        bail!("there is nothing to merge");
    };
    let mut info = first.run.clone();
    for other in others {
        add_run(&mut info, &other.run)?;
    }
    // Nobody writes the whole, and what is left of a part is resumed there.
    info.state = State::Interrupted;
    let store = Store::create(results_dir, &info)?;
    for (from, result) in chosen(&runs, parts) {
        store.append(&with_files(&store, from, result)?)?;
    }
    let mut names = info.configs.iter().map(|config| &config.name);
    if info.faults().is_empty() && names.all(|name| store.remaining(name).is_empty()) {
        store.update_run(|run| run.state = State::Complete)?;
    }
    Ok(store)
}

/// Of each test one result, and the part that it is from, in the order of the parts.
fn chosen<'a>(runs: &'a [Run], parts: &'a [PathBuf]) -> Vec<(&'a Path, &'a TestResult)> {
    let mut chosen: Vec<(&Path, &TestResult)> = Vec::new();
    let mut index = HashMap::new();
    for (run, from) in runs.iter().zip(parts) {
        for result in &run.results {
            let key = (&result.config, &result.test, result.round);
            let at = *index.entry(key).or_insert(chosen.len());
            match chosen.get_mut(at) {
                None => chosen.push((from, result)),
                Some(known) if result.status.is_bad() || known.1.status.is_unrun() => {
                    *known = (from, result);
                }
                Some(_) => {}
            }
        }
    }
    chosen
}

/// Adds a part's tests and times to the whole.
fn add_run(whole: &mut RunInfo, part: &RunInfo) -> Result<()> {
    let must_agree = [
        ("kernels", &whole.kernel, &part.kernel),
        ("commits", &whole.commit, &part.commit),
        ("suites", &whole.suite.version, &part.suite.version),
    ];
    for (what, a, b) in must_agree {
        ensure!(a == b, "the runs have different {what}: {a} and {b}");
    }
    for config in &part.configs {
        match whole.configs.iter_mut().find(|c| c.name == config.name) {
            None => whole.configs.push(config.clone()),
            Some(known) => add_config(known, config)?,
        }
    }
    if whole.accel != part.accel && !whole.accel.split(", ").any(|accel| accel == part.accel) {
        whole.accel = format!("{}, {}", whole.accel, part.accel);
    }
    whole.started = whole.started.clone().min(part.started.clone());
    whole.ended = whole.ended.clone().max(part.ended.clone());
    whole.wall_secs = whole.wall_secs.max(part.wall_secs);
    whole.rounds = whole.rounds.max(part.rounds);
    Ok(())
}

fn add_config(known: &mut ConfigInfo, part: &ConfigInfo) -> Result<()> {
    let same = (&known.fstyp, &known.driver, &known.env) == (&part.fstyp, &part.driver, &part.env);
    ensure!(
        same,
        "the runs have different configurations of the name {}",
        known.name
    );
    known.shards = match (known.shards.take(), &part.shards) {
        (None, one) => one.clone(),
        (Some(one), None) => Some(one),
        (Some(one), Some(other)) => Some(together(&known.name, one, other)?),
    };
    known.broken = match (known.broken.take(), &part.broken) {
        (Some(one), Some(other)) if one != *other => Some(format!("{one}; {other}")),
        (one, other) => one.or(other.clone()),
    };
    for proof in &part.proof {
        if !known.proof.contains(proof) {
            known.proof.push(proof.clone());
        }
    }
    for test in &part.tests {
        if !known.tests.contains(test) {
            known.tests.push(test.clone());
        }
    }
    Ok(())
}

/// All shards of both, which must be of one division of the list, and none in both.
fn together(config: &str, one: Shards, other: &Shards) -> Result<Shards> {
    let of = one.of;
    ensure!(
        of == other.of,
        "{config} is divided into {of} shards in one run and into {} in another",
        other.of
    );
    if let Some(&part) = one.parts.intersection(&other.parts).next() {
        bail!("shard {} of {config} is given twice", Shard { part, of });
    }
    let parts = one.parts.union(&other.parts).copied().collect();
    Ok(Shards { parts, of })
}

/// The result with its files copied; those that did not come along are left out.
fn with_files(store: &Store, from: &Path, result: &TestResult) -> Result<TestResult> {
    let mut result = result.clone();
    let mut files = Vec::new();
    for file in &result.files {
        // Whatever the name and the links say: what is merged may come from elsewhere, and nothing beside it is copied.
        let path = match from.join(file).canonicalize() {
            Ok(path) if path.starts_with(from.canonicalize()?) && path.is_file() => path,
            _ => continue,
        };
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = file.rsplit('/').next().unwrap_or(file);
        files.push(store.keep(&result.config, &result.test, result.round, name, &bytes)?);
    }
    result.files = files;
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fake, Status};

    fn part(dir: &Path, tests: &[&str], end: Status) -> PathBuf {
        let mut info = fake::run_info(&["notblk"], tests);
        info.state = State::Complete;
        let store = Store::create(dir, &info).unwrap();
        for test in tests {
            let mut result = fake::result("notblk", test, end);
            result.files = vec![store.keep("notblk", test, 1, "full", b"text").unwrap()];
            std::os::unix::fs::symlink("/etc/passwd", store.dir().join("link")).ok();
            let strange = [
                "../../../../../../etc/passwd",
                "/etc/passwd",
                "link",
                "gone",
            ];
            result.files.extend(strange.map(str::to_owned));
            store.append(&result).unwrap();
        }
        store.dir().to_owned()
    }

    #[test]
    fn parts_become_one_run_with_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let a = part(dir.path(), &["generic/001", "generic/003"], Status::Fail);
        let b = part(dir.path(), &["generic/002", "generic/003"], Status::Pass);
        for parts in [[a.clone(), b.clone()], [b, a]] {
            let whole = merge(&dir.path().join("whole"), &parts).unwrap();
            let run = Run::load(whole.dir()).unwrap();
            assert_eq!(run.run.configs[0].tests.len(), 3);
            assert_eq!(run.results.len(), 3);
            assert_eq!(run.run.state, State::Complete);
            assert!(whole.remaining("notblk").is_empty());
            for result in &run.results {
                let bad = result.test != "generic/002";
                assert_eq!(result.status.is_bad(), bad, "{}", result.test);
                assert_eq!(result.files.len(), 1);
                assert!(whole.dir().join(&result.files[0]).is_file());
            }
        }
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let a = part(dir.path(), &["generic/001"], Status::Pass);
        let mut other = fake::run_info(&["notblk"], &["generic/002"]);
        other.kernel = "7.4".into();
        let b = Store::create(dir.path(), &other).unwrap();
        let whole = dir.path().join("whole");
        let error = merge(&whole, &[a, b.dir().to_owned()])
            .map(|_| ())
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the runs have different kernels: 7.3.4 and 7.4"
        );
        assert!(merge(&whole, &[]).is_err());
    }

    /// The run of one shard, with one test of its own.
    fn shard(dir: &Path, configs: &[&str], part: u32, of: u32) -> PathBuf {
        let test = format!("generic/{part:03}");
        let mut info = fake::run_info(configs, &[&test]);
        info.state = State::Complete;
        info.shard = Some(Shard { part, of });
        let store = Store::create(dir, &info).unwrap();
        for config in configs {
            let result = fake::result(config, &test, Status::Pass);
            store.append(&result).unwrap();
        }
        store.dir().to_owned()
    }

    #[test]
    fn a_whole_without_all_its_shards_is_not_complete() {
        let dir = tempfile::tempdir().unwrap();
        let shard = |configs: &[&str], part| shard(dir.path(), configs, part, 3);
        let (one, two) = (shard(&["notblk", "ext4"], 1), shard(&["notblk"], 2));
        let three = shard(&["notblk", "ext4"], 3);
        let some = merge(dir.path(), &[three, one]).unwrap();
        let missing = |config| format!("{config}: shard 2/3 is missing");
        assert_eq!(some.info().state, State::Interrupted);
        assert_eq!(some.info().faults(), [missing("notblk"), missing("ext4")]);
        // What was missing comes later, and of one configuration only.
        let more = merge(dir.path(), &[some.dir().to_owned(), two]).unwrap();
        assert_eq!(more.info().faults(), [missing("ext4")]);
        assert_eq!(more.info().state, State::Interrupted);
        let last = shard(&["ext4"], 2);
        let all = merge(dir.path(), &[last, more.dir().to_owned()]).unwrap();
        assert!(all.info().faults().is_empty());
        assert_eq!(all.info().state, State::Complete);
        assert_eq!(Run::load(all.dir()).unwrap().results.len(), 6);
    }

    #[test]
    fn a_shard_given_twice_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = |parts: &[PathBuf]| {
            let whole = dir.path().join("whole");
            let error = merge(&whole, parts).map(|_| ()).unwrap_err().to_string();
            assert!(!whole.exists(), "nothing is begun");
            error
        };
        let shard = |part, of| shard(dir.path(), &["notblk"], part, of);
        let one = shard(1, 2);
        assert_eq!(
            error(&[one.clone(), shard(1, 2)]),
            "shard 1/2 of notblk is given twice"
        );
        assert_eq!(
            error(&[one.clone(), shard(2, 3)]),
            "notblk is divided into 2 shards in one run and into 3 in another"
        );
        let again = dir.path().join(".").join(one.file_name().unwrap());
        assert!(error(&[one, again]).ends_with(" is given twice"));
    }

    #[test]
    fn what_could_not_be_run_in_a_part_is_said_of_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        let one = shard(dir.path(), &["notblk"], 1, 2);
        let two = shard(dir.path(), &["notblk"], 2, 2);
        let store = Store::open(&two).unwrap();
        store
            .update_run(|run| run.configs[0].broken = Some("mkfs failed".into()))
            .unwrap();
        drop(store);
        for parts in [[one.clone(), two.clone()], [two, one]] {
            let whole = merge(&dir.path().join("whole"), &parts).unwrap();
            let said = ["notblk: could not be run: mkfs failed"];
            assert_eq!(whole.info().faults(), said);
            assert_eq!(whole.info().state, State::Interrupted);
        }
    }
}
