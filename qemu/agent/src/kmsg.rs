// SPDX-License-Identifier: GPL-2.0
//! Following the kernel's log.
//!
//! One thread reads `/dev/kmsg` from the first record on, keeps every message until it is
//! [taken](Kmsg::take), and sends each warning to the host as it appears; after [`Kmsg::stream`] every
//! other line as well. [`Kmsg::settle`] makes that reading synchronous where a test needs it: it
//! writes a mark into the log and waits until the thread has read it, so that all that the kernel
//! said before is known. [`Kmsg::take`] cuts the log of a suite where the suite itself says that its next
//! test begins; that line goes to the host at once, so that the host knows by the order of events what
//! belongs to which test.

mod log;

use crate::host::Host;
use anyhow::{bail, Context, Result};
use log::{Log, MARK};
use notblk_protocol::{splat, suite, Event};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use log::{Place, Stretch};

/// Lines that are kept of one splat.
const SPLAT_LINES: usize = 80;

/// How long a mark may be on its way. It takes milliseconds, where the guest gets any time to run.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the suite may take to say in the kernel's log that a test begins whose name it has printed.
/// A test that it leaves out has no such line.
const BEGINNING: Duration = Duration::from_secs(1);

/// How long the lines of a report may pause before it is taken to be complete.
const QUIET: Duration = Duration::from_millis(300);

/// How long streamed lines are gathered before they are sent.
const BATCH: Duration = Duration::from_millis(500);

#[derive(Default)]
struct Shared {
    log: Mutex<Log>,
    grew: Condvar,
    /// Whether all lines go to the host.
    stream: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<R>(&self, work: impl FnOnce(&mut Log) -> R) -> R {
        work(&mut self.lock())
    }

    /// Lets the log grow, for so long at most.
    fn wait<'a>(&self, log: MutexGuard<'a, Log>, time: Duration) -> MutexGuard<'a, Log> {
        let waited = self.grew.wait_timeout(log, time);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// The follower.
pub struct Kmsg {
    shared: Arc<Shared>,
    writer: Mutex<(File, u64)>,
}

impl Kmsg {
    /// Starts to follow.
    pub fn follow(host: Host) -> Result<Kmsg> {
        let reader = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .context("open /dev/kmsg")?;
        let writer = OpenOptions::new()
            .write(true)
            .open("/dev/kmsg")
            .context("open /dev/kmsg to write")?;
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("kmsg".into())
            .spawn(move || {
                let ended = read_on(&theirs, reader, host);
                theirs.with(|log| log.dead = Some(format!("{ended:?}")));
                theirs.grew.notify_all();
            })?;
        Ok(Kmsg {
            shared,
            writer: Mutex::new((writer, 0)),
        })
    }

    /// Writes a mark of ours into the log; returns its number.
    fn mark(&self) -> Result<u64> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.1 += 1;
        let mark = writer.1;
        writer
            .0
            .write_all(format!("<6>{MARK}{mark}\n").as_bytes())
            .context("write a mark into /dev/kmsg")?;
        Ok(mark)
    }

    /// Waits until all that the kernel has said so far is read, and returns that place.
    pub fn settle(&self) -> Result<Place> {
        let mut lost = self.shared.with(|log| log.lost);
        let mark = self.mark()?;
        let until = Instant::now() + PATIENCE;
        let mut log = self.shared.lock();
        while log.mark < mark {
            if let Some(why) = &log.dead {
                bail!("the log is not followed any more: {why}");
            }
            if log.lost != lost {
                // The mark may be among what was lost. A later one serves as well.
                lost = log.lost;
                self.mark()?;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("the mark {mark} never came back from /dev/kmsg");
            }
            log = self.shared.wait(log, left);
        }
        Ok(log.end())
    }

    /// The messages since `place`, our own marks left out. Settles first.
    pub fn since(&self, place: Place) -> Result<Vec<String>> {
        self.settle()?;
        Ok(self.shared.with(|log| log.since(place)))
    }

    /// The log of the suite's `test`, which begins at `place` and ends where the suite says that `next` begins, or else
    /// here; and the place where it ends. What belongs to it is forgotten. Settles once. `soon` if the suite may not have
    /// come to say so yet.
    pub fn take(
        &self,
        place: Place,
        test: &str,
        next: Option<&str>,
        soon: bool,
    ) -> Result<(Stretch, Place)> {
        let here = self.settle()?;
        let until = Instant::now() + BEGINNING;
        let mut log = self.shared.lock();
        let end = loop {
            let found = next.and_then(|next| log.beginning(place, test, next));
            let left = until.saturating_duration_since(Instant::now());
            if found.is_some() || next.is_none() || !soon || !log.suite_marks || left.is_zero() {
                break found.unwrap_or(here);
            }
            log = self.shared.wait(log, left);
        };
        Ok((log.cut(place, end), end))
    }

    /// From now on every line goes to the host as it comes.
    pub fn stream(&self) {
        self.shared.stream.store(true, Relaxed);
    }

    /// First lines of the splats since `place`. Settles first.
    pub fn splats_since(&self, place: Place) -> Result<Vec<String>> {
        self.settle()?;
        Ok(self.shared.with(|log| log.splats_since(place).to_vec()))
    }

    /// Failed invalidations that were logged since `place`. Settles first.
    pub fn invalidation_failures_since(&self, place: Place) -> Result<u64> {
        self.settle()?;
        Ok(self
            .shared
            .with(|log| log.invalidation_failures_since(place)))
    }
}

/// Lines on their way to the host.
struct Outbox {
    host: Host,
    /// Of a splat that is being gathered.
    splat: Vec<String>,
    /// Of the streamed log.
    stream: Vec<String>,
    /// When streamed lines were sent last.
    sent: Instant,
}

impl Outbox {
    /// Sends the splat, if there is one.
    fn flush_splat(&mut self) {
        if !self.splat.is_empty() {
            let lines = std::mem::take(&mut self.splat);
            // Without the host there is nobody to tell; the main thread finds out the same way.
            let _ = self.host.send(&Event::Splat { lines });
        }
    }

    /// Sends streamed lines, if the last ones are long enough ago.
    fn flush_due_stream(&mut self) {
        if self.sent.elapsed() >= BATCH {
            self.flush_stream();
        }
    }

    /// Sends streamed lines, if there are any.
    fn flush_stream(&mut self) {
        if !self.stream.is_empty() {
            let lines = std::mem::take(&mut self.stream);
            // As above.
            let _ = self.host.send(&Event::Log { lines });
            self.sent = Instant::now();
        }
    }

    /// How long to wait for the next record before something is due.
    fn patience(&self) -> Option<Duration> {
        if !self.splat.is_empty() {
            return Some(QUIET);
        }
        (!self.stream.is_empty()).then(|| BATCH.saturating_sub(self.sent.elapsed()))
    }
}

/// Reads records until reading fails, which it never should.
fn read_on(shared: &Shared, mut reader: File, host: Host) -> Result<()> {
    let mut record = vec![0; 16 << 10];
    let mut outbox = Outbox {
        host,
        splat: Vec::new(),
        stream: Vec::new(),
        sent: Instant::now(),
    };
    let mut last = None;
    loop {
        match reader.read(&mut record) {
            Ok(length) => {
                let text = String::from_utf8_lossy(&record[..length]);
                file(shared, &mut outbox, &mut last, &text);
                shared.grew.notify_all();
                outbox.flush_due_stream();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let limit = outbox.patience().map(|time| Timespec {
                    tv_sec: 0,
                    tv_nsec: time.subsec_nanos().into(),
                });
                let ready = poll(&mut [PollFd::new(&reader, PollFlags::IN)], limit.as_ref());
                if ready == Ok(0) {
                    outbox.flush_splat();
                    outbox.flush_due_stream();
                }
            }
            // Records were overwritten before they were read: go on with the oldest that is left, whose
            // number tells how many.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("read /dev/kmsg"),
        }
    }
}

/// The message of a record: what follows the first `;`, without the key=value lines below it. It may begin with a space
/// itself, as the lines of a backtrace do.
fn message(record: &str) -> Option<&str> {
    let text = record.split_once(';').map_or(record, |(_, text)| text);
    text.lines().next()
}

/// The number of a record; each has the next one.
fn number(record: &str) -> Option<u64> {
    record.split(',').nth(1)?.parse().ok()
}

/// Files one record; `last` is the number of the one before, if there was one.
fn file(shared: &Shared, outbox: &mut Outbox, last: &mut Option<u64>, record: &str) {
    if let Some(number) = number(record) {
        // What was overwritten before the agent began to read is nobody's loss.
        let expected = last.replace(number).map_or(number, |last| last + 1);
        let lost = number.saturating_sub(expected);
        if lost > 0 {
            let line = shared.with(|log| log.lose(lost));
            if !outbox.splat.is_empty() {
                outbox.splat.push(line.clone());
            }
            if shared.stream.load(Relaxed) {
                outbox.stream.push(line);
            }
        }
    }
    if let Some(line) = message(record) {
        take(shared, outbox, line);
    }
}

/// Files one message.
fn take(shared: &Shared, outbox: &mut Outbox, line: &str) {
    let is_mark = log::mark(line).is_some();
    let begins_test = suite::begins(line).is_some();
    if begins_test {
        // What was said before this belongs to what was before.
        outbox.flush_splat();
        outbox.flush_stream();
    }
    if !is_mark && (splat::is_splat(line) || !outbox.splat.is_empty()) {
        outbox.splat.push(line.to_owned());
    }
    if is_mark || splat::is_end(line) || outbox.splat.len() >= SPLAT_LINES {
        outbox.flush_splat();
    }
    if !is_mark && shared.stream.load(Relaxed) {
        outbox.stream.push(line.to_owned());
    }
    if begins_test {
        // Before the main thread, which sees it in the log, says that the test has begun, and before any splat of it.
        outbox.flush_stream();
    }
    shared.with(|log| log.file(line));
}

#[cfg(test)]
mod tests;
