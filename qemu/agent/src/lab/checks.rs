// SPDX-License-Identifier: GPL-2.0
//! Whether everything is as it must be when all actors are done.

use super::actor::{Ended, Files};
use crate::buf::Buffer;
use anyhow::{Context, Result};
use notblk_race::content::{self, Grain, Of};
use notblk_race::run::{ActorId, Failure, What};
use notblk_race::spec::{Actor, Check, Errno, Op, Spec, Step, Way};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Descriptors that nobody in the race uses, opened before it begins.
pub struct Judge {
    direct: File,
    buffered: File,
}

/// All bytes of files, by name.
type Contents<'a> = BTreeMap<&'a str, Vec<u8>>;

/// All that an order left behind.
pub struct Left<'a> {
    /// The spec.
    pub spec: &'a Spec,
    /// The order's number.
    pub order: u32,
    /// The judge's descriptors by the file's name.
    pub judges: &'a BTreeMap<String, Judge>,
    /// Each actor's descriptors.
    pub files: &'a [Files],
    /// How each actor's steps ended.
    pub ended: &'a [Vec<Ended>],
    /// Who was blocked when everybody was let go.
    pub blocked: Option<ActorId>,
    /// Whether actors ran at the same time, at the end at least.
    pub at_once: bool,
}

impl Judge {
    /// Opens the files of an order.
    pub fn open(paths: &BTreeMap<String, PathBuf>) -> Result<BTreeMap<String, Judge>> {
        paths
            .iter()
            .map(|(name, path)| {
                let judge = Judge {
                    direct: crate::fs::open_direct(path)?,
                    buffered: crate::fs::open_buffered(path)?,
                };
                Ok((name.clone(), judge))
            })
            .collect()
    }

    fn size(&self) -> Result<u64> {
        Ok(self.buffered.metadata()?.len())
    }

    /// The file's bytes, by the page cache or past it.
    fn read(&self, direct: bool) -> Result<Vec<u8>> {
        let size = usize::try_from(self.size()?)?;
        let mut data = Buffer::new(size.next_multiple_of(512));
        let file = if direct { &self.direct } else { &self.buffered };
        let mut done = 0;
        while done < size {
            match file.read_at(&mut data[done..], done as u64)? {
                0 => break,
                length => done += length,
            }
        }
        Ok(data[..done.min(size)].to_vec())
    }
}

impl Left<'_> {
    /// Everything that is not as it must be.
    pub fn failures(&self) -> Result<Vec<Failure>> {
        let mut failures = Vec::new();
        self.steps(&mut failures);
        let checks = || self.spec.checks.iter().enumerate();
        // What the cache has, before anything is flushed; then the flush; then what the disk has.
        let cached = self.all(false)?;
        for (number, check) in checks() {
            self.content(number, check, ("in the cache", &cached), &mut failures)?;
        }
        for (number, check) in checks() {
            self.syncs(number, check, &mut failures)?;
        }
        for (name, judge) in self.judges {
            let is_synced = |check: &Check| matches!(check, Check::FsyncOk { file } | Check::FsyncOnce { file } if file == name);
            if !self.spec.checks.iter().any(is_synced) {
                // Asked for by no check, so nobody's failure.
                let _ = judge.buffered.sync_all();
            }
        }
        let on_disk = self.all(true)?;
        for (number, check) in checks() {
            self.content(number, check, ("on disk", &on_disk), &mut failures)?;
            self.others(number, check, &on_disk, &mut failures)?;
        }
        Ok(failures)
    }

    /// Steps that ended as they must not.
    fn steps(&self, failures: &mut Vec<Failure>) {
        for (index, (actor, ended)) in self.spec.actors.iter().zip(self.ended).enumerate() {
            for (number, (step, ended)) in actor.steps.iter().zip(ended).enumerate() {
                let asked = match &step.op {
                    Op::Read(io) | Op::Write(io) => io.len,
                    _ => 0,
                };
                if !step.expect.allows(asked, ended.answer) {
                    let what = What::Step {
                        actor: ActorId(index),
                        step: number,
                    };
                    let text = match ended.answer {
                        Ok(done) => format!("{done} of {asked} bytes"),
                        Err(errno) => errno.to_string(),
                    };
                    failures.push(Failure { what, text });
                }
            }
        }
    }

    /// How much of a sector one writer must have, in what somebody has read this way. The page cache is read without a lock.
    fn grain_read(&self, way: Way) -> Grain {
        match self.at_once && way != Way::Direct {
            true => Grain::Byte,
            false => Grain::Sector,
        }
    }

    /// The same in what is left at the end. Writes take the inode's lock, all but stores to a mapping.
    fn grain_left(&self) -> Grain {
        let is_store = |step: &Step| matches!(&step.op, Op::Write(io) if io.way == Way::Mmap);
        let has_stores = |actor: &Actor| actor.steps.iter().any(is_store);
        match self.at_once && self.spec.actors.iter().any(has_stores) {
            true => Grain::Byte,
            false => Grain::Sector,
        }
    }

    fn judge(&self, file: &str) -> Result<&Judge> {
        self.judges.get(file).context("a check of no file")
    }

    fn of(&self, file: &str) -> Result<Of<'_>> {
        let index = self.spec.files.iter().position(|known| known.name == file);
        Ok(Of {
            spec: self.spec,
            file: index.context("a check of no file")?,
            order: self.order,
        })
    }

    /// All bytes of the files whose content is checked: by the page cache, or past it.
    fn all(&self, direct: bool) -> Result<Contents<'_>> {
        let mut all = Contents::new();
        for check in &self.spec.checks {
            let (Check::Content { file, .. } | Check::Coherent { file }) = check else {
                continue;
            };
            if !all.contains_key(file.as_str()) {
                all.insert(file, self.judge(file)?.read(direct)?);
            }
        }
        Ok(all)
    }

    fn content(
        &self,
        number: usize,
        check: &Check,
        (way, all): (&str, &Contents<'_>),
        failures: &mut Vec<Failure>,
    ) -> Result<()> {
        let Check::Content { file, range, from } = check else {
            return Ok(());
        };
        let data = all.get(file.as_str()).context("a file that was not read")?;
        let end = range.end.min(data.len() as u64);
        let start = range.start.min(end);
        let data = &data[start as usize..end as usize];
        for text in content::check(self.of(file)?, start, data, from, self.grain_left()) {
            failures.push(Failure {
                what: What::Check(number),
                text: format!("{way}: {text}"),
            });
        }
        Ok(())
    }

    /// Every descriptor of a file that was open during the race, with whose it is.
    fn descriptors(&self, file: &str) -> Result<Vec<(String, Option<usize>, &File)>> {
        let mut all = Vec::new();
        for (index, (actor, files)) in self.spec.actors.iter().zip(self.files).enumerate() {
            for descriptor in files.get(file).into_iter().flat_map(|opened| opened.all()) {
                all.push((actor.name.clone(), Some(index), descriptor));
            }
        }
        all.push(("a bystander".to_owned(), None, &self.judge(file)?.buffered));
        Ok(all)
    }

    fn syncs(&self, number: usize, check: &Check, failures: &mut Vec<Failure>) -> Result<()> {
        let mut fail = |text| {
            failures.push(Failure {
                what: What::Check(number),
                text,
            });
        };
        match check {
            Check::FsyncOk { file } => {
                for (whose, _, descriptor) in self.descriptors(file)? {
                    if let Err(error) = descriptor.sync_all() {
                        fail(format!("fsync by {whose}'s descriptor: {}", errno(&error)));
                    }
                }
            }
            Check::FsyncOnce { file } => {
                let mut counts = Vec::new();
                for (whose, index, descriptor) in self.descriptors(file)? {
                    let answers = [descriptor.sync_all(), descriptor.sync_all()];
                    let now = answers.iter().filter(|answer| answer.is_err()).count();
                    let before = index.map_or(0, |index| self.failed_syncs(index, file));
                    counts.push((whose, now + before));
                }
                if counts.iter().any(|(_, count)| *count > 0) {
                    for (whose, count) in counts.iter().filter(|(_, count)| *count != 1) {
                        fail(format!("{whose}'s descriptor was told of an error {count} times, others were told"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// An actor's fsyncs of the file that answered an error.
    fn failed_syncs(&self, actor: usize, file: &str) -> usize {
        let steps = self.spec.actors.get(actor).map(|actor| &actor.steps);
        let ended = self.ended.get(actor);
        steps
            .into_iter()
            .flatten()
            .zip(ended.into_iter().flatten())
            .filter(|(step, ended)| {
                step.op == Op::Fsync && step.file == file && ended.answer.is_err()
            })
            .count()
    }

    fn others(
        &self,
        number: usize,
        check: &Check,
        on_disk: &Contents<'_>,
        failures: &mut Vec<Failure>,
    ) -> Result<()> {
        let mut fail = |text| {
            failures.push(Failure {
                what: What::Check(number),
                text,
            });
        };
        match check {
            Check::Size { file, sizes } => {
                let size = self.judge(file)?.size()?;
                if !sizes.contains(&size) {
                    let wanted: Vec<String> = sizes.iter().map(u64::to_string).collect();
                    fail(format!("{size} bytes, not {}", wanted.join(" or ")));
                }
            }
            Check::Coherent { file } => {
                let cache = self.judge(file)?.read(false)?;
                let disk = on_disk
                    .get(file.as_str())
                    .context("a file that was not read")?;
                let differs = cache.iter().zip(disk).position(|(a, b)| a != b);
                if let Some(at) = differs {
                    fail(format!("cache and disk differ from byte {at} on"));
                } else if cache.len() != disk.len() {
                    fail(format!(
                        "{} bytes in the cache, {} on disk",
                        cache.len(),
                        disk.len()
                    ));
                }
            }
            Check::Read {
                actor,
                step,
                range,
                from,
            } => {
                let id = self.spec.actor(actor).context("a check of no actor")?;
                let steps = self.spec.actors.get(id.0).map(|actor| &actor.steps);
                let step_of = steps
                    .and_then(|steps| steps.get(*step))
                    .context("no step")?;
                let Op::Read(io) = &step_of.op else {
                    return Ok(());
                };
                let ended = self.ended.get(id.0).and_then(|ended| ended.get(*step));
                let data = ended.map(|ended| ended.data.as_slice()).unwrap_or_default();
                let end = range.end.min(io.offset + data.len() as u64);
                let start = range.start.clamp(io.offset, end.max(io.offset));
                let piece = data
                    .get((start - io.offset) as usize..(end.max(start) - io.offset) as usize)
                    .unwrap_or_default();
                for text in content::check(
                    self.of(&step_of.file)?,
                    start,
                    piece,
                    from,
                    self.grain_read(io.way),
                ) {
                    fail(text);
                }
            }
            Check::NeverWaits { actor } => {
                if self.blocked.is_some() && self.blocked == self.spec.actor(actor) {
                    fail(format!("{actor} waits"));
                }
            }
            Check::FsyncOk { .. } | Check::FsyncOnce { .. } | Check::Content { .. } => {}
        }
        Ok(())
    }
}

fn errno(error: &io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
}
