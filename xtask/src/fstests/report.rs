// SPDX-License-Identifier: GPL-2.0

//! What is shown of runs: at the end of one, and later.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::Result;
use notblk_results::table::Paint;
use notblk_results::{held_against, kept, table, Baseline, Run, State, Status, Store};

use crate::errors::{Code, Exit};

/// Colour, where somebody may see it.
fn paint() -> Paint {
    Paint(std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none())
}

/// An error about which run is meant is the user's.
pub fn usage(error: anyhow::Error) -> anyhow::Error {
    Exit::usage(format!("{error:#}"))
        .hint("`cargo xtask run-xfstests --list` shows the runs that are kept")
        .into()
}

/// The directory of a kept run.
pub fn find(results: &Path, which: &str) -> Result<PathBuf> {
    kept::find(results, which).map_err(usage)
}

fn load(results: &Path, which: &str) -> Result<Run> {
    Run::load(&find(results, which)?).map_err(usage)
}

/// `--list`
pub fn list(results: &Path) -> Result<Code> {
    let (runs, errors) = kept::load_all(results)?;
    print!("{}", table::list(&runs, paint()));
    errors
        .iter()
        .for_each(|error| eprintln!("warning: {error:#}"));
    Ok(Code::PASSED)
}

/// `--diff A B`
pub fn diff(results: &Path, before: &str, after: &str) -> Result<Code> {
    let (before, after) = (load(results, before)?, load(results, after)?);
    let (text, worse) = table::changes(&before, &after, paint());
    print!("{text}");
    Ok(match worse {
        0 => Code::PASSED,
        _ => Code::TEST_FAILED,
    })
}

/// `--report`
pub fn again(results: &Path, which: &str) -> Result<Code> {
    let dir = find(results, which)?;
    let run = Run::load(&dir).map_err(usage)?;
    let baseline = Baseline::of(&run, results).map_err(usage)?;
    show(&dir, &run, baseline.as_ref())
}

/// `--merge`
pub fn merge(results: &Path, which: &[String]) -> Result<Code> {
    let dirs: Vec<PathBuf> = which
        .iter()
        .map(|which| find(results, which))
        .collect::<Result<_>>()?;
    let store = notblk_results::merge(results, &dirs).map_err(usage)?;
    let baseline = Baseline::of(&store.run(), results).map_err(usage)?;
    let code = close(&store, baseline.as_ref())?;
    let info = store.info();
    whole(&info.faults(), info.state, code)
}

/// What a merge ends with: like a run, in the failure of the host where a configuration could not be run or a shard is
/// missing, whatever the rest came to; and it passes only with all results.
fn whole(faults: &[String], state: State, code: Code) -> Result<Code> {
    let line = match (faults.is_empty(), state) {
        (false, _) => faults.join("; "),
        (true, State::Complete) => return Ok(code),
        (true, _) if code != Code::PASSED => return Ok(code),
        (true, _) => "not all of its tests have a result".to_owned(),
    };
    Err(
        Exit::host(format!("the merged run is not complete: {line}"))
            .hint("run or resume what is missing where it belongs, and merge again")
            .into(),
    )
}

/// The tables of a run that has ended, and its documents.
pub fn close(store: &Store, baseline: Option<&Baseline>) -> Result<Code> {
    show(store.dir(), &store.run(), baseline)
}

fn show(dir: &Path, run: &Run, baseline: Option<&Baseline>) -> Result<Code> {
    notblk_results::write_documents(dir, run, baseline)?;
    print!("{}", table::summary(run, baseline, paint()));
    println!("page: {}", dir.join("index.html").display());
    Ok(code(run, baseline))
}

/// The worst of what is held against the run: of all that failed unexpectedly, or with a baseline of what fails only here.
fn code(run: &Run, baseline: Option<&Baseline>) -> Code {
    let held = held_against(run, baseline);
    let bad: Vec<Status> = held.iter().map(|result| result.status).collect();
    let has = |status| bad.contains(&status);
    if has(Status::Splat) {
        Code::SPLAT
    } else if has(Status::Hang) {
        Code::HANG
    } else if has(Status::Fail) {
        Code::TEST_FAILED
    } else if has(Status::Died) {
        Code::HOST
    } else {
        Code::PASSED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::classify;

    #[test]
    fn a_merge_passes_only_with_all_that_belongs_to_it() {
        let fault = ["notblk: shard 2/3 is missing".to_owned()];
        let code = |faults: &[String], state, code| match whole(faults, state, code) {
            Ok(code) => (code, String::new()),
            Err(error) => {
                let exit = classify(&error);
                (exit.code, exit.line)
            }
        };
        let (passed, failed) = (Code::PASSED, Code::TEST_FAILED);
        assert_eq!(code(&[], State::Complete, passed).0, passed);
        assert_eq!(code(&[], State::Complete, failed).0, failed);
        assert_eq!(code(&[], State::Interrupted, failed).0, failed);
        assert_eq!(code(&[], State::Interrupted, passed).0, Code::HOST);
        let (code, line) = code(&fault, State::Interrupted, failed);
        assert_eq!(code, Code::HOST);
        assert!(line.ends_with(": notblk: shard 2/3 is missing"), "{line}");
    }
}
