// SPDX-License-Identifier: GPL-2.0
//! Following the kernel's log.
//!
//! One thread reads `/dev/kmsg` from the first record on, keeps every message until it is
//! [taken](Kmsg::take), and sends each warning to the host as it appears; after [`Kmsg::stream`] every
//! other line as well. [`Kmsg::settle`] makes that reading synchronous where a test needs it: it
//! writes a mark into the log and waits until the thread has read it, so that all that the kernel
//! said before is known.

use crate::host::Host;
use anyhow::{bail, Context, Result};
use notblk_protocol::{splat, Event, INVALIDATION_FAILURE};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What begins our own lines in the log.
const MARK: &str = "notblk-agent: mark ";

/// Lines that are kept of one splat.
const SPLAT_LINES: usize = 80;

/// How long a mark may be on its way. It takes milliseconds, where the guest gets any time to run.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the lines of a report may pause before it is taken to be complete.
const QUIET: Duration = Duration::from_millis(300);

/// How long streamed lines are gathered before they are sent.
const BATCH: Duration = Duration::from_millis(500);

/// The log as far as it was read.
#[derive(Default)]
struct Log {
    /// All messages that are kept.
    lines: Vec<String>,
    /// How many were forgotten before these.
    forgotten: usize,
    /// First lines of all splats.
    splats: Vec<String>,
    /// Lines that report a failed invalidation.
    invalidation_failures: u64,
    /// The last of our marks that came by.
    mark: u64,
    /// Why the thread ended, if it did.
    dead: Option<String>,
}

impl Log {
    /// The messages since `place`, as far as they are kept, our own marks left out.
    fn since(&self, place: Place) -> Vec<String> {
        let start = place.lines.saturating_sub(self.forgotten);
        self.lines[start..]
            .iter()
            .filter(|line| !line.contains(MARK))
            .cloned()
            .collect()
    }
}

#[derive(Default)]
struct Shared {
    log: Mutex<Log>,
    grew: Condvar,
    /// Whether all lines go to the host.
    stream: AtomicBool,
}

impl Shared {
    fn with<R>(&self, work: impl FnOnce(&mut Log) -> R) -> R {
        work(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A place in the log; everything after it is new.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    lines: usize,
    splats: usize,
    invalidation_failures: u64,
}

/// What was logged between two places.
pub struct Stretch {
    /// The messages.
    pub lines: Vec<String>,
    /// First lines of the splats.
    pub splats: Vec<String>,
    /// Failed invalidations.
    pub invalidation_failures: u64,
    /// The same since the guest booted.
    pub invalidation_failures_in_all: u64,
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

    /// Waits until all that the kernel has said so far is read, and returns that place.
    pub fn settle(&self) -> Result<Place> {
        let mark = {
            let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer.1 += 1;
            let mark = writer.1;
            writer
                .0
                .write_all(format!("<6>{MARK}{mark}\n").as_bytes())
                .context("write a mark into /dev/kmsg")?;
            mark
        };
        let mut log = self
            .shared
            .log
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while log.mark < mark {
            if let Some(why) = &log.dead {
                bail!("the log is not followed any more: {why}");
            }
            let (next, wait) = self
                .shared
                .grew
                .wait_timeout(log, PATIENCE)
                .unwrap_or_else(PoisonError::into_inner);
            log = next;
            if wait.timed_out() && log.mark < mark {
                bail!("the mark {mark} never came back from /dev/kmsg");
            }
        }
        Ok(Place {
            lines: log.forgotten + log.lines.len(),
            splats: log.splats.len(),
            invalidation_failures: log.invalidation_failures,
        })
    }

    /// The messages since `place`, our own marks left out. Settles first.
    pub fn since(&self, place: Place) -> Result<Vec<String>> {
        self.settle()?;
        Ok(self.shared.with(|log| log.since(place)))
    }

    /// What was logged since `place`, and the place where the next begins. What was logged so far is
    /// forgotten, so that the agent does not grow in a run of many hours. Settles once.
    pub fn take(&self, place: Place) -> Result<(Stretch, Place)> {
        self.settle()?;
        self.shared.with(|log| {
            let stretch = Stretch {
                lines: log.since(place),
                splats: log.splats[place.splats..].to_vec(),
                invalidation_failures: log.invalidation_failures - place.invalidation_failures,
                invalidation_failures_in_all: log.invalidation_failures,
            };
            log.forgotten += log.lines.len();
            log.lines.clear();
            let next = Place {
                lines: log.forgotten,
                splats: log.splats.len(),
                invalidation_failures: log.invalidation_failures,
            };
            Ok((stretch, next))
        })
    }

    /// From now on every line goes to the host as it comes.
    pub fn stream(&self) {
        self.shared.stream.store(true, Relaxed);
    }

    /// First lines of the splats since `place`. Settles first.
    pub fn splats_since(&self, place: Place) -> Result<Vec<String>> {
        self.settle()?;
        Ok(self.shared.with(|log| log.splats[place.splats..].to_vec()))
    }

    /// Failed invalidations that were logged since `place`. Settles first.
    pub fn invalidation_failures_since(&self, place: Place) -> Result<u64> {
        self.settle()?;
        Ok(self
            .shared
            .with(|log| log.invalidation_failures - place.invalidation_failures))
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

    /// Sends streamed lines, if there are any and the last ones are long enough ago.
    fn flush_stream(&mut self) {
        if !self.stream.is_empty() && self.sent.elapsed() >= BATCH {
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
    loop {
        match reader.read(&mut record) {
            Ok(length) => {
                let text = String::from_utf8_lossy(&record[..length]);
                if let Some(line) = message(&text) {
                    take(shared, &mut outbox, line);
                }
                shared.grew.notify_all();
                outbox.flush_stream();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let limit = outbox.patience().map(|time| Timespec {
                    tv_sec: 0,
                    tv_nsec: time.subsec_nanos().into(),
                });
                let ready = poll(&mut [PollFd::new(&reader, PollFlags::IN)], limit.as_ref());
                if ready == Ok(0) {
                    outbox.flush_splat();
                    outbox.flush_stream();
                }
            }
            // Records were overwritten before they were read: go on with the oldest that is left.
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

/// Files one message.
fn take(shared: &Shared, outbox: &mut Outbox, line: &str) {
    let mark = line
        .strip_prefix(MARK)
        .and_then(|number| number.trim().parse().ok());
    let begins = mark.is_none() && splat::is_splat(line);
    if mark.is_none() && (begins || !outbox.splat.is_empty()) {
        outbox.splat.push(line.to_owned());
    }
    if mark.is_some() || splat::is_end(line) || outbox.splat.len() >= SPLAT_LINES {
        outbox.flush_splat();
    }
    if mark.is_none() && shared.stream.load(Relaxed) {
        outbox.stream.push(line.to_owned());
    }
    shared.with(|log| {
        if begins {
            log.splats.push(line.to_owned());
        }
        if line.contains(INVALIDATION_FAILURE) {
            log.invalidation_failures += 1;
        }
        if let Some(mark) = mark {
            log.mark = mark;
        }
        log.lines.push(line.to_owned());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backtrace_is_part_of_the_message() {
        assert_eq!(message("4,1,2,-;plain"), Some("plain"));
        let trace = "4,1,2,-; dump_stack_lvl+0x5d/0x80\n SUBSYSTEM=block\n DEVICE=b8:0";
        assert_eq!(message(trace), Some(" dump_stack_lvl+0x5d/0x80"));
    }
}
