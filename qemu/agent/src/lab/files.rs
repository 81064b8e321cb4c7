// SPDX-License-Identifier: GPL-2.0
//! The files of an order: made beforehand, many at a time, so that an order pays neither for layout nor for a flush.

use crate::fs::open_buffered;
use anyhow::{Context, Result};
use notblk_race::content::{initial, Of};
use notblk_race::spec::{SegmentKind, Spec};
use rustix::fs::Advice;
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Orders for which files are made at a time, at most: one at first, since there may be no other, then ever more.
const BATCH: u32 = 64;

/// Files for orders to come.
pub struct Pool {
    directory: PathBuf,
    spec: Spec,
    ready: VecDeque<Set>,
    used: Vec<Set>,
    next: u32,
    batch: u32,
}

/// The files of one order.
pub struct Set {
    /// The order's number, which is in every stamp.
    pub order: u32,
    /// Path by name.
    pub paths: BTreeMap<String, PathBuf>,
}

impl Pool {
    /// Files in this directory, of a mounted filesystem.
    pub fn new(directory: &Path, spec: &Spec) -> Pool {
        Pool {
            directory: directory.to_owned(),
            spec: spec.clone(),
            ready: VecDeque::new(),
            used: Vec::new(),
            next: 0,
            batch: 1,
        }
    }

    /// The files for the next order. They are on disk, and not in the page cache.
    pub fn take(&mut self) -> Result<(u32, BTreeMap<String, PathBuf>)> {
        if self.ready.is_empty() {
            self.fill().context("lay out files")?;
        }
        let set = self.ready.pop_front().context("no files")?;
        let taken = (set.order, set.paths.clone());
        self.used.push(set);
        Ok(taken)
    }

    /// Removes the files that were used, and makes new ones.
    fn fill(&mut self) -> Result<()> {
        for set in self.used.drain(..) {
            for path in set.paths.values() {
                fs::remove_file(path)?;
            }
        }
        let mut made = Vec::new();
        for order in self.next..self.next + self.batch {
            let mut paths = BTreeMap::new();
            for index in 0..self.spec.files.len() {
                let (name, path) = self.place(index, order)?;
                made.push(self.lay_out(index, order, &path)?);
                paths.insert(name, path);
            }
            self.ready.push_back(Set { order, paths });
        }
        self.next += self.batch;
        self.batch = (self.batch * 4).min(BATCH);
        if let Some(file) = made.first() {
            rustix::fs::syncfs(file)?;
        }
        for file in &made {
            rustix::fs::fadvise(file, 0, None, Advice::DontNeed)?;
        }
        Ok(())
    }

    fn place(&self, index: usize, order: u32) -> Result<(String, PathBuf)> {
        let file = self.spec.files.get(index).context("no such file")?;
        let path = self.directory.join(format!("{}.{order}", file.name));
        Ok((file.name.clone(), path))
    }

    fn lay_out(&self, index: usize, order: u32, path: &Path) -> Result<File> {
        let of = Of {
            spec: &self.spec,
            file: index,
            order,
        };
        let spec = self.spec.files.get(index).context("no such file")?;
        let file = open_buffered(path)?;
        let mut start = 0;
        for segment in &spec.layout {
            if segment.kind == SegmentKind::Written {
                let data = initial(of, start..start + segment.len);
                file.write_all_at(&data, start)?;
            }
            start += segment.len;
        }
        file.set_len(spec.size())?;
        Ok(file)
    }
}
