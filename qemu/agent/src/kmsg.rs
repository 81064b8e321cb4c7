// SPDX-License-Identifier: GPL-2.0
//! Following the kernel's log.
//!
//! One thread reads `/dev/kmsg` from the first record on, keeps every message, and sends each
//! warning to the host as it appears. [`Kmsg::settle`] makes that reading synchronous where a
//! test needs it: it writes a mark into the log and waits until the thread has read it, so that
//! all that the kernel said before is known.

use crate::host::Host;
use anyhow::{bail, Context, Result};
use notblk_protocol::{splat, Event, INVALIDATION_FAILURE};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// What begins our own lines in the log.
const MARK: &str = "notblk-agent: mark ";

/// Lines that are kept of one splat.
const SPLAT_LINES: usize = 80;

/// The log as far as it was read.
#[derive(Default)]
struct Log {
    /// All messages.
    lines: Vec<String>,
    /// Of these, the splats: each the index of its first line.
    splats: Vec<usize>,
    /// Lines that report a failed invalidation.
    invalidation_failures: u64,
    /// The last of our marks that came by.
    mark: u64,
    /// Why the thread ended, if it did.
    dead: Option<String>,
}

#[derive(Default)]
struct Shared {
    log: Mutex<Log>,
    grew: Condvar,
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
                let ended = read_on(&theirs, reader, &host);
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
                .wait_timeout(log, Duration::from_secs(20))
                .unwrap_or_else(PoisonError::into_inner);
            log = next;
            if wait.timed_out() && log.mark < mark {
                bail!("the mark {mark} never came back from /dev/kmsg");
            }
        }
        Ok(Place {
            lines: log.lines.len(),
            splats: log.splats.len(),
            invalidation_failures: log.invalidation_failures,
        })
    }

    /// The messages since `place`, our own marks left out. Settles first.
    pub fn since(&self, place: Place) -> Result<Vec<String>> {
        self.settle()?;
        Ok(self.shared.with(|log| {
            log.lines[place.lines..]
                .iter()
                .filter(|line| !line.contains(MARK))
                .cloned()
                .collect()
        }))
    }

    /// First lines of the splats since `place`. Settles first.
    pub fn splats_since(&self, place: Place) -> Result<Vec<String>> {
        self.settle()?;
        Ok(self.shared.with(|log| {
            log.splats[place.splats..]
                .iter()
                .map(|&index| log.lines[index].clone())
                .collect()
        }))
    }

    /// Failed invalidations that were logged since `place`. Settles first.
    pub fn invalidation_failures_since(&self, place: Place) -> Result<u64> {
        self.settle()?;
        Ok(self
            .shared
            .with(|log| log.invalidation_failures - place.invalidation_failures))
    }
}

/// A splat whose lines are being gathered.
#[derive(Default)]
struct Gather {
    lines: Vec<String>,
}

impl Gather {
    /// Sends what was gathered, if anything.
    fn flush(&mut self, host: &Host) {
        if !self.lines.is_empty() {
            let lines = std::mem::take(&mut self.lines);
            // Without the host there is nobody to tell; the main thread finds out the same way.
            let _ = host.send(&Event::Splat { lines });
        }
    }
}

/// Reads records until reading fails, which it never should.
fn read_on(shared: &Shared, mut reader: File, host: &Host) -> Result<()> {
    let mut record = vec![0; 16 << 10];
    let mut gather = Gather::default();
    loop {
        match reader.read(&mut record) {
            Ok(length) => {
                let text = String::from_utf8_lossy(&record[..length]);
                for line in messages(&text) {
                    take(shared, &mut gather, host, line);
                }
                shared.grew.notify_all();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let quiet = Timespec {
                    tv_sec: 0,
                    tv_nsec: 300_000_000,
                };
                let limit = (!gather.lines.is_empty()).then_some(&quiet);
                let ready = poll(&mut [PollFd::new(&reader, PollFlags::IN)], limit);
                if ready == Ok(0) {
                    gather.flush(host);
                }
            }
            // Records were overwritten before they were read: go on with the oldest that is left.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("read /dev/kmsg"),
        }
    }
}

/// The message of a record: what follows the first `;`, without the key=value lines below it.
fn messages(record: &str) -> impl Iterator<Item = &str> {
    let text = record.split_once(';').map_or(record, |(_, text)| text);
    text.lines().filter(|line| !line.starts_with(' ')).take(1)
}

/// Files one message.
fn take(shared: &Shared, gather: &mut Gather, host: &Host, line: &str) {
    let mark = line
        .strip_prefix(MARK)
        .and_then(|number| number.trim().parse().ok());
    let begins = mark.is_none() && splat::is_splat(line);
    if mark.is_none() && (begins || !gather.lines.is_empty()) {
        gather.lines.push(line.to_owned());
    }
    if mark.is_some() || splat::is_end(line) || gather.lines.len() >= SPLAT_LINES {
        gather.flush(host);
    }
    shared.with(|log| {
        if begins {
            log.splats.push(log.lines.len());
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
