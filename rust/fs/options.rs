// SPDX-License-Identifier: GPL-2.0

//! Mount options of our own: `drain=on|off` and `fallback_delay_ms=N`. Both change by remount, at any time.

use crate::vfs::fs_context::{Log, Value};
use kernel::{
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
};

/// The longest delay that makes sense; longer ones would trip the hung task detector.
const MAX_DELAY_MS: u32 = 60_000;

/// What the mount options say.
#[derive(Clone)]
pub(crate) struct Options {
    /// Wait for direct I/O in flight before a buffered write (`inode_dio_wait`). Off brings the seed's bug back.
    pub(super) drain: bool,
    /// Sleep, in milliseconds, between the fallback's buffered write and its flush: the window of the race, held open.
    pub(super) fallback_delay_ms: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            drain: true,
            fallback_delay_ms: 0,
        }
    }
}

impl Options {
    /// Takes one option. `Ok(false)`: not one of ours.
    pub(super) fn parse(&mut self, key: &[u8], value: Value<'_>, log: &Log) -> Result<bool> {
        match (key, value) {
            (b"drain", Value::Text(b"on")) => self.drain = true,
            (b"drain", Value::Text(b"off")) => self.drain = false,
            (b"drain", _) => return Err(log.invalid(c"drain is on or off")),
            (b"fallback_delay_ms", Value::Text(text)) => {
                self.fallback_delay_ms = core::str::from_utf8(text)
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .filter(|&ms| ms <= MAX_DELAY_MS)
                    .ok_or_else(|| {
                        log.invalid(c"fallback_delay_ms is a number of milliseconds up to 60000")
                    })?;
            }
            (b"fallback_delay_ms", Value::Flag) => {
                return Err(log.invalid(c"fallback_delay_ms needs a number of milliseconds"));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// The options of a mounted filesystem, which every write looks at without a lock.
pub(crate) struct Live {
    drain: Atomic<bool>,
    fallback_delay_ms: Atomic<u32>,
}

impl Live {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            drain: Atomic::new(options.drain),
            fallback_delay_ms: Atomic::new(options.fallback_delay_ms),
        }
    }

    pub(super) fn set(&self, options: &Options) {
        self.drain.store(options.drain, Relaxed);
        self.fallback_delay_ms
            .store(options.fallback_delay_ms, Relaxed);
    }

    pub(super) fn get(&self) -> Options {
        Options {
            drain: self.drain.load(Relaxed),
            fallback_delay_ms: self.fallback_delay_ms.load(Relaxed),
        }
    }
}
