// SPDX-License-Identifier: GPL-2.0

//! `results.jsonl`: one result a line, on the disk as soon as it is known.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{bail, Context, Result};
use rustix::fs::FlockOperation;

use crate::TestResult;

/// The file, open for appending and locked against a second writer.
pub struct Journal {
    file: File,
    /// How far the file is good.
    len: u64,
    /// What is in it.
    pub results: Results,
}

/// Results in the order they came, each (configuration, test, round) once.
#[derive(Debug, Default, Clone)]
pub struct Results {
    list: Vec<TestResult>,
    index: HashMap<(String, String, u32), usize>,
}

impl Results {
    /// Adds a result; it takes the place of an earlier one of the same test.
    pub fn add(&mut self, result: TestResult) {
        let key = (result.config.clone(), result.test.clone(), result.round);
        match self.index.get(&key) {
            Some(&at) => self.list[at] = result,
            None => {
                self.index.insert(key, self.list.len());
                self.list.push(result);
            }
        }
    }

    /// All of them.
    pub fn all(&self) -> &[TestResult] {
        &self.list
    }

    /// All of them, without a copy.
    pub fn into_all(self) -> Vec<TestResult> {
        self.list
    }

    /// Whether the test has a result.
    pub fn has(&self, config: &str, test: &str, round: u32) -> bool {
        self.index
            .contains_key(&(config.to_owned(), test.to_owned(), round))
    }
}

impl Journal {
    /// Opens the file for appending, made where it is missing; cuts off what a crash left half-written.
    pub fn open(path: &Path) -> Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let dir = path.parent().unwrap_or(path);
                bail!("another xtask is writing the run {}", dir.display());
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        let (results, len) = parse(&read_all(&mut file)?)
            .with_context(|| format!("cannot read {}", path.display()))?;
        file.set_len(len)?;
        file.seek(SeekFrom::Start(len))?;
        Ok(Journal { file, len, results })
    }

    /// Adds one result; it is on the disk when this returns.
    pub fn append(&mut self, result: &TestResult) -> Result<()> {
        let mut line = serde_json::to_vec(result)?;
        line.push(b'\n');
        let written = self
            .file
            .write_all(&line)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // A half-written line must not become the beginning of the next.
            self.file.set_len(self.len)?;
            self.file.seek(SeekFrom::Start(self.len))?;
            return Err(error).context("cannot keep a result");
        }
        self.len += line.len() as u64;
        self.results.add(result.clone());
        Ok(())
    }
}

/// Reads the file without a lock, whoever may be writing it; a missing file holds nothing.
pub fn read(path: &Path) -> Result<Results> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let (results, _) = parse(&bytes).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(results)
}

/// True while some process has the file open as a [`Journal`].
pub fn is_being_written(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| {
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared)
            == Err(rustix::io::Errno::WOULDBLOCK)
    })
}

fn read_all(file: &mut File) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The results, and how many bytes of the file hold them. Only the last line may be torn.
fn parse(bytes: &[u8]) -> Result<(Results, u64)> {
    let mut results = Results::default();
    let mut good = 0;
    for (number, line) in bytes.split_inclusive(|&b| b == b'\n').enumerate() {
        let last = good + line.len() == bytes.len();
        match serde_json::from_slice(line) {
            // A result without its line's end may be one that was never reported as kept; it is run again.
            Ok(result) if line.ends_with(b"\n") => results.add(result),
            Ok(_) => break,
            Err(_) if last => break,
            Err(error) => {
                return Err(error).with_context(|| format!("line {} is no result", number + 1));
            }
        }
        good += line.len();
    }
    Ok((results, good as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;
    use crate::Status;

    fn three() -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.jsonl");
        let mut journal = Journal::open(&path).unwrap();
        for test in ["generic/001", "generic/002", "generic/003"] {
            journal
                .append(&fake::result("notblk", test, Status::Pass))
                .unwrap();
        }
        (dir, path)
    }

    #[test]
    fn wherever_the_last_line_is_torn_the_others_are_kept() {
        let (_dir, path) = three();
        let whole = std::fs::read(&path).unwrap();
        let two: usize = whole
            .split_inclusive(|&b| b == b'\n')
            .take(2)
            .map(<[u8]>::len)
            .sum();
        for cut in two..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(read(&path).unwrap().all().len(), 2, "cut at {cut}");
            let mut journal = Journal::open(&path).unwrap();
            let again = fake::result("notblk", "generic/003", Status::Fail);
            journal.append(&again).unwrap();
            drop(journal);
            let results = read(&path).unwrap();
            assert_eq!(results.all().len(), 3, "cut at {cut}");
            assert_eq!(results.all()[2], again);
        }
    }

    #[test]
    fn zeroes_after_a_power_cut_are_torn_too() {
        let (_dir, path) = three();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend([0; 4096]);
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(Journal::open(&path).unwrap().results.all().len(), 3);
    }

    #[test]
    fn a_bad_line_in_the_middle_is_no_crash_and_refused() {
        let (_dir, path) = three();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("\"config\"", "config", 1)).unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(error.contains("line 1 is no result"), "{error}");
    }

    #[test]
    fn a_later_result_replaces_an_earlier_one() {
        let (_dir, path) = three();
        let mut journal = Journal::open(&path).unwrap();
        let again = fake::result("notblk", "generic/002", Status::Hang);
        journal.append(&again).unwrap();
        assert_eq!(journal.results.all().len(), 3);
        assert_eq!(read(&path).unwrap().all()[1], again);
        assert!(journal.results.has("notblk", "generic/002", 1));
        assert!(!journal.results.has("notblk", "generic/002", 2));
    }

    #[test]
    fn only_one_may_write_and_everybody_may_read() {
        let (_dir, path) = three();
        assert!(!is_being_written(&path));
        let journal = Journal::open(&path).unwrap();
        let second = Journal::open(&path).map(|_| ()).unwrap_err();
        assert!(second.to_string().contains("another xtask"), "{second}");
        assert!(is_being_written(&path));
        assert_eq!(read(&path).unwrap().all().len(), 3);
        drop(journal);
        assert!(Journal::open(&path).is_ok());
    }
}
