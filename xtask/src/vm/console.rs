// SPDX-License-Identifier: GPL-2.0

//! The log of a guest's console: who writes to it, how it is read, and which of them outlive the next boot.
//!
//! Guests of one name follow each other in one file among the cache's logs. Two xtasks may boot guests of one name at the
//! same time, so the file is locked, QEMU shares the lock, and whoever comes second takes the next number. The console of
//! a guest that hung or died may be all that is ever known of it: it moves to a name that no boot takes.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use notblk_protocol::splat;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// How many lines of the console are shown after a failure.
const TAIL: usize = 25;
/// How many lines of a splat that only the console has.
const SPLAT: usize = 60;
/// What is held of a line of the console, in bytes.
const LINE: u64 = 16 << 10;
/// How many consoles of guests that hung or died are kept.
const KEPT: usize = 20;
/// What their names begin with.
const PREFIX: &str = "kept-";

/// The log of one boot's console.
pub struct Console {
    /// Where it is.
    pub path: PathBuf,
    /// Open for appending, and locked where it is among the cache's logs.
    pub file: File,
    /// True where its place is ours to choose.
    ours: bool,
}

impl Console {
    /// Makes the log in a place of the caller's choice. A file that is there is replaced.
    pub fn at(path: PathBuf) -> Result<Console> {
        // Unlinked first, so that another xtask that writes to a log of this name keeps its own.
        let _ = fs::remove_file(&path);
        let file = File::options()
            .create_new(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Console {
            path,
            file,
            ours: false,
        })
    }

    /// Makes the log of the guest called `name` in the directory of logs.
    pub fn among(logs: &Path, name: &str) -> Result<Console> {
        let mut number = 1;
        loop {
            let path = match number {
                1 => logs.join(format!("console-{name}.log")),
                _ => logs.join(format!("console-{name}-{number}.log")),
            };
            match take(&path).with_context(|| format!("cannot make {}", path.display()))? {
                Taken::Ours(file) => {
                    return Ok(Console {
                        path,
                        file,
                        ours: true,
                    })
                }
                Taken::Anothers => number += 1,
                Taken::Moved => {}
            }
        }
    }

    /// Keeps it from the next boot's hands. The oldest of too many kept ones goes.
    ///
    /// A failure leaves it where it is, which is where it is said to be.
    pub fn keep(&mut self) {
        let Some(logs) = self.path.parent().filter(|_| self.ours) else {
            return;
        };
        let mut kept = kept(logs);
        let next = kept.last().map_or(1, |(number, _)| number + 1);
        let name = self.path.file_name().unwrap_or_default();
        let name = name.to_string_lossy();
        let path = logs.join(format!("{PREFIX}{next}-{name}"));
        if fs::rename(&self.path, &path).is_err() {
            return;
        }
        self.path.clone_from(&path);
        kept.push((next, path));
        for (_, old) in kept.iter().take(kept.len().saturating_sub(KEPT)) {
            // One too many is no reason to fail.
            let _ = fs::remove_file(old);
        }
    }
}

/// Whether a log could be had.
enum Taken {
    /// It is empty now, and locked.
    Ours(File),
    /// Another guest writes to it.
    Anothers,
    /// Another xtask kept it between our opening and our locking it: there is none of this name now.
    Moved,
}

/// Takes the log if no guest writes to it.
fn take(path: &Path) -> std::io::Result<Taken> {
    let file = File::options().create(true).append(true).open(path)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(Taken::Anothers),
        Err(error) => return Err(error.into()),
    }
    let opened = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) if (named.dev(), named.ino()) == (opened.dev(), opened.ino()) => {
            file.set_len(0)?;
            Ok(Taken::Ours(file))
        }
        _ => Ok(Taken::Moved),
    }
}

/// The kept consoles with their numbers, the oldest first.
fn kept(logs: &Path) -> Vec<(u64, PathBuf)> {
    let mut kept: Vec<(u64, PathBuf)> = fs::read_dir(logs)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|item| {
            let name = item.file_name();
            let (number, _) = name.to_str()?.strip_prefix(PREFIX)?.split_once('-')?;
            Some((number.parse().ok()?, item.path()))
        })
        .collect();
    kept.sort();
    kept
}

/// The lines from the first splat on in the console's first `until` bytes, and the last lines there. However long it is, no
/// more of it than these is held at a time.
pub fn look_at(log: &Path, until: u64) -> (Option<Vec<String>>, Vec<String>) {
    let Ok(file) = File::open(log) else {
        return (None, Vec::new());
    };
    let mut reader = BufReader::new(file.take(until));
    let mut report: Option<Vec<String>> = None;
    let mut tail = VecDeque::new();
    loop {
        let mut line = Vec::new();
        // A line without an end comes in pieces.
        match (&mut reader).take(LINE).read_until(b'\n', &mut line) {
            Ok(length) if length > 0 => {}
            _ => return (report, tail.into()),
        }
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if line.is_empty() {
            continue;
        }
        if report.is_none() && splat::is_splat(line) {
            report = Some(Vec::new());
        }
        if let Some(report) = report.as_mut().filter(|report| report.len() < SPLAT) {
            report.push(line.to_owned());
        }
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(line.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_panic_is_found_on_the_console() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("console");
        let before = "[ 1.0] notblk: mounted\r\n";
        let text = format!("{before}\r\n[ 2.0] Kernel panic - not syncing: x\r\n[ 2.1] CPU: 0");
        std::fs::write(&log, text).unwrap();
        let (splat, tail) = look_at(&log, u64::MAX);
        assert_eq!(splat.unwrap().len(), 2);
        assert_eq!(tail.len(), 3);
        assert_eq!(tail[2], "[ 2.1] CPU: 0");
        let (splat, tail) = look_at(&log, before.len() as u64);
        assert_eq!((splat, tail), (None, vec![before.trim_end().to_owned()]));
    }

    #[test]
    fn of_a_long_console_little_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("console");
        let mut file = File::create(&log).unwrap();
        writeln!(file, "WARNING: the first").unwrap();
        for number in 0..1000 {
            writeln!(file, "line {number}").unwrap();
        }
        write!(file, "{}", "x".repeat(3 * LINE as usize)).unwrap();
        let (splat, tail) = look_at(&log, u64::MAX);
        let splat = splat.unwrap();
        assert_eq!(
            (splat.len(), splat[0].as_str()),
            (SPLAT, "WARNING: the first")
        );
        assert_eq!(tail.len(), TAIL);
        assert_eq!(tail[TAIL - 4], "line 999");
        assert!(tail.iter().all(|line| line.len() <= LINE as usize));
    }

    #[test]
    fn a_console_is_its_guests_alone_and_the_next_boot_begins_it_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Console::among(dir.path(), "test").unwrap();
        writeln!(first.file, "the first").unwrap();
        let second = Console::among(dir.path(), "test").unwrap();
        assert_ne!(first.path, second.path);
        assert_eq!(fs::read_to_string(&first.path).unwrap(), "the first\n");
        let path = first.path.clone();
        drop(first);
        let third = Console::among(dir.path(), "test").unwrap();
        assert_eq!(third.path, path);
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }

    #[test]
    fn what_is_kept_survives_the_next_boot_and_the_oldest_go() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..KEPT + 3 {
            let mut console = Console::among(dir.path(), "test").unwrap();
            writeln!(console.file, "boot {number}").unwrap();
            console.keep();
            let text = fs::read_to_string(&console.path).unwrap();
            assert_eq!(text, format!("boot {number}\n"));
        }
        let all = kept(dir.path());
        assert_eq!(all.len(), KEPT);
        assert_eq!(fs::read_to_string(&all[0].1).unwrap(), "boot 3\n");
    }

    #[test]
    fn a_console_in_a_place_of_the_callers_stays_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.log");
        fs::write(&path, "old").unwrap();
        let mut console = Console::at(path.clone()).unwrap();
        console.keep();
        assert_eq!(console.path, path);
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }
}
