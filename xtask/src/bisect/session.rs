// SPDX-License-Identifier: GPL-2.0

//! What a bisection keeps on disk.
//!
//! ```text
//! results/bisect/latest       a link to the newest
//! results/bisect/ID/
//!     session.json            what was asked, with its revisions resolved
//!     journal.jsonl           what has been found out, one thing a line, each on the disk at once
//!     report.md report.json   in the end
//!     AXIS.bisect-log         for `git bisect replay`
//! ```

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use notblk_bisect::{report, text, Axis, Entry, Memo, Point, Report};
use notblk_results::clock;
use serde::{Deserialize, Serialize};

use crate::errors::Exit;

/// One axis of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// The repository.
    pub repo: PathBuf,
    /// The commit where all is well.
    pub good: String,
    /// The commit where it is not.
    pub bad: String,
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Info {
    /// The command line.
    pub arguments: Vec<String>,
    /// Where it was given.
    pub directory: PathBuf,
    /// The copy of xtask that does it.
    pub aside: PathBuf,
    /// The kernel's axis.
    pub kernel: Option<Ends>,
    /// The module's.
    pub module: Option<Ends>,
}

impl Info {
    /// The end of both axes that `which` takes of each.
    pub fn point(&self, which: fn(&Ends) -> &String) -> Point {
        Point {
            kernel: self.kernel.as_ref().map(|ends| which(ends).clone()),
            module: self.module.as_ref().map(|ends| which(ends).clone()),
        }
    }

    /// The axes that there are.
    pub fn axes(&self) -> Vec<Axis> {
        let kernel = self.kernel.as_ref().map(|_| Axis::Kernel);
        kernel
            .into_iter()
            .chain(self.module.as_ref().map(|_| Axis::Module))
            .collect()
    }
}

/// The directory of a bisection.
#[derive(Debug)]
pub struct Session {
    /// Where it is.
    pub dir: PathBuf,
    /// What was asked.
    pub info: Info,
}

const INFO: &str = "session.json";
const JOURNAL: &str = "journal.jsonl";
const LATEST: &str = "latest";

impl Session {
    /// Begins one below `results`.
    pub fn create(results: &Path, info: Info) -> Result<Session> {
        let name = clock::run_id(&clock::now(), &[]);
        fs::create_dir_all(results)
            .with_context(|| format!("cannot make {}", results.display()))?;
        let mut number = 1;
        let (name, dir) = loop {
            let name = match number {
                1 => name.clone(),
                _ => format!("{name}.{number}"),
            };
            let dir = results.join(&name);
            match fs::create_dir(&dir) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                other => {
                    other.with_context(|| format!("cannot make {}", dir.display()))?;
                    break (name, dir);
                }
            }
        };
        fs::write(dir.join(INFO), serde_json::to_string_pretty(&info)? + "\n")?;
        let link = results.join(LATEST);
        let _ = fs::remove_file(&link);
        // A courtesy only.
        let _ = std::os::unix::fs::symlink(&name, &link);
        Ok(Session {
            dir: dir.canonicalize()?,
            info,
        })
    }

    /// The one in this directory.
    pub fn open(dir: &Path) -> Result<Session> {
        let none = |why: String| Exit::usage(format!("{} is no bisection: {why}", dir.display()));
        let text = fs::read_to_string(dir.join(INFO)).map_err(|error| none(error.to_string()))?;
        let info = serde_json::from_str(&text).map_err(|error| none(error.to_string()))?;
        Ok(Session {
            dir: dir.canonicalize()?,
            info,
        })
    }

    /// The one called `name` below `results`; a path goes as well.
    pub fn find(results: &Path, name: &str) -> Result<Session> {
        match name.contains('/') {
            true => Session::open(Path::new(name)),
            false => Session::open(&results.join(name)),
        }
    }

    /// All that was found out so far. A line that was torn off is not there.
    pub fn memo(&self) -> Result<Memo> {
        let path = self.dir.join(JOURNAL);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let mut memo = Memo::default();
        let mut whole = 0;
        for line in text.split_inclusive('\n') {
            let Ok(entry) = serde_json::from_str::<Entry>(line.trim_end()) else {
                break;
            };
            if !line.ends_with('\n') {
                break;
            }
            memo.learn(&entry);
            whole += line.len();
        }
        if whole < text.len() {
            let file = File::options().write(true).open(&path)?;
            file.set_len(whole as u64)?;
        }
        Ok(memo)
    }

    /// Keeps one thing more.
    pub fn record(&self, entry: &Entry) -> Result<()> {
        let path = self.dir.join(JOURNAL);
        let write = || -> std::io::Result<()> {
            let mut file = File::options().create(true).append(true).open(&path)?;
            file.write_all((serde_json::to_string(entry)? + "\n").as_bytes())?;
            file.sync_data()
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Writes the reports.
    pub fn report(&self, made: &Report) -> Result<()> {
        let write = |name: &str, text: String| {
            let path = self.dir.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write("report.json", serde_json::to_string_pretty(made)? + "\n")?;
        write("report.md", text::markdown(made))?;
        for search in &made.searches {
            let report::Search { axis, .. } = search;
            let ends = match axis {
                Axis::Kernel => &self.info.kernel,
                Axis::Module => &self.info.module,
            };
            if let Some(ends) = ends {
                let log = text::git_log(search, &ends.good);
                write(&format!("{axis}.bisect-log"), log)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> Info {
        Info {
            arguments: vec!["bisect".into()],
            directory: "/".into(),
            aside: "/aside".into(),
            kernel: None,
            module: Some(Ends {
                repo: "/m".into(),
                good: "a".into(),
                bad: "b".into(),
            }),
        }
    }

    fn ran(hits: u64) -> Entry {
        Entry::Ran {
            identity: "x".into(),
            clean: 1,
            hits,
            trouble: None,
            also: None,
            boot: 0.0,
            seconds: 0.0,
        }
    }

    #[test]
    fn what_was_found_out_survives_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let session = Session::create(dir.path(), info()).unwrap();
        session.record(&ran(1)).unwrap();
        session.record(&ran(2)).unwrap();
        let path = session.dir.join(JOURNAL);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 5]).unwrap();
        let again = Session::find(dir.path(), LATEST).unwrap();
        assert_eq!(again.info, info());
        assert_eq!(again.memo().unwrap().tally("x").rate.hits, 1);
        again.record(&ran(4)).unwrap();
        assert_eq!(again.memo().unwrap().tally("x").rate.hits, 5);
    }

    #[test]
    fn two_of_one_second_have_two_directories() {
        let dir = tempfile::tempdir().unwrap();
        let one = Session::create(dir.path(), info()).unwrap();
        let two = Session::create(dir.path(), info()).unwrap();
        assert_ne!(one.dir, two.dir);
        let error = Session::find(dir.path(), "none").unwrap_err();
        assert_eq!(
            crate::errors::classify(&error).code,
            crate::errors::Code::USAGE
        );
    }
}
