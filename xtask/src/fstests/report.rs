// SPDX-License-Identifier: GPL-2.0

//! What is shown of runs: at the end of one, and later.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::Result;
use notblk_results::table::Paint;
use notblk_results::{held_against, kept, table, Baseline, Run, Status, Store};

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
    close(&store, baseline.as_ref())
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
