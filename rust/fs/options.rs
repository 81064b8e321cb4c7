// SPDX-License-Identifier: GPL-2.0

//! Mount options: `drain=on|off`, `fallback_delay_ms=N`, `errors=continue|remount-ro|panic` and `discard`, and those of
//! [`super::limits`] and [`super::jquota`]. These change by remount, at any time. Others of ext4's are in [`ext4_options`].

use super::{ext4_options, jquota, limits::Limits};
use crate::{
    format::{number, superblock},
    vfs::fs_context::{Log, Value},
};
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
    /// What to do about damage; `None`: as the superblock says.
    pub(super) errors: Option<Errors>,
    /// Tell the device of blocks as they become free; `None`: as the superblock says.
    pub(super) discard: Option<bool>,
    /// Reserved blocks, groups, `statfs`. A mounted filesystem has them in [`super::limits::Live`].
    pub(super) limits: Limits,
    /// Names of quota files. A mounted filesystem has them in `SuperData::named_quotas`.
    pub(super) named_quotas: jquota::Named,
}

/// What damage leads to, beside a log line and the error to the caller. C: `EXT2_MOUNT_ERRORS_*`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Errors {
    /// Nothing more.
    Continue = 1,
    /// No more writing.
    RemountRo = 2,
    /// The machine stops.
    Panic = 3,
}

impl Errors {
    /// From `s_errors` of the superblock; what is not known there means [`Self::RemountRo`], as ext4 has it.
    pub(super) fn from_disk(value: u16) -> Self {
        match value {
            superblock::ERRORS_CONTINUE => Self::Continue,
            superblock::ERRORS_PANIC => Self::Panic,
            _ => Self::RemountRo,
        }
    }

    /// As mount options and `/proc/mounts` have it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::RemountRo => "remount-ro",
            Self::Panic => "panic",
        }
    }

    /// As [`Live`] keeps it.
    fn from_live(value: u32) -> Option<Self> {
        match value {
            1 => Some(Self::Continue),
            2 => Some(Self::RemountRo),
            3 => Some(Self::Panic),
            _ => None,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            drain: true,
            fallback_delay_ms: 0,
            errors: None,
            discard: None,
            limits: Limits::default(),
            named_quotas: jquota::Named::default(),
        }
    }
}

impl Options {
    /// Takes one option. `Ok(false)`: not one of ours.
    pub(super) fn parse(&mut self, key: &[u8], value: Value<'_>, log: &Log) -> Result<bool> {
        if self.limits.parse(key, &value, log)? || self.named_quotas.parse(key, &value, log)? {
            return Ok(true);
        }
        match (key, value) {
            (b"drain", Value::Text(b"on")) => self.drain = true,
            (b"drain", Value::Text(b"off")) => self.drain = false,
            (b"drain", _) => return Err(log.invalid(c"drain is on or off")),
            (b"fallback_delay_ms", Value::Text(text)) => {
                self.fallback_delay_ms = number::parse_u32(text)
                    .filter(|&ms| ms <= MAX_DELAY_MS)
                    .ok_or_else(|| {
                    log.invalid(c"fallback_delay_ms is a number of milliseconds up to 60000")
                })?;
            }
            (b"fallback_delay_ms", Value::Flag) => {
                return Err(log.invalid(c"fallback_delay_ms needs a number of milliseconds"));
            }
            (b"errors", Value::Text(b"continue")) => self.errors = Some(Errors::Continue),
            (b"errors", Value::Text(b"remount-ro")) => self.errors = Some(Errors::RemountRo),
            (b"errors", Value::Text(b"panic")) => self.errors = Some(Errors::Panic),
            (b"errors", _) => {
                return Err(log.invalid(c"errors is continue, remount-ro or panic"));
            }
            // Always on, as in ext4, which no longer knows a way to turn them off.
            (b"acl" | b"user_xattr", Value::Flag) => {}
            (b"acl" | b"user_xattr", Value::Text(_)) => {
                return Err(log.invalid(c"acl and user_xattr take no value"));
            }
            (b"discard", Value::Flag) => self.discard = Some(true),
            (b"nodiscard", Value::Flag) => self.discard = Some(false),
            (key, value) => return ext4_options::accept(key, &value, log),
        }
        Ok(true)
    }
}

/// The options of a mounted filesystem, which every write looks at without a lock.
pub(crate) struct Live {
    drain: Atomic<bool>,
    fallback_delay_ms: Atomic<u32>,
    /// `Errors`, or 0 for none.
    errors: Atomic<u32>,
    discard: Atomic<bool>,
}

impl Live {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            drain: Atomic::new(options.drain),
            fallback_delay_ms: Atomic::new(options.fallback_delay_ms),
            errors: Atomic::new(options.errors.map_or(0, |errors| errors as u32)),
            discard: Atomic::new(options.discard == Some(true)),
        }
    }

    pub(super) fn set(&self, options: &Options) {
        self.drain.store(options.drain, Relaxed);
        self.fallback_delay_ms
            .store(options.fallback_delay_ms, Relaxed);
        self.errors
            .store(options.errors.map_or(0, |errors| errors as u32), Relaxed);
        self.discard.store(options.discard == Some(true), Relaxed);
    }

    pub(super) fn get(&self) -> Options {
        Options {
            drain: self.drain.load(Relaxed),
            fallback_delay_ms: self.fallback_delay_ms.load(Relaxed),
            errors: Errors::from_live(self.errors.load(Relaxed)),
            discard: Some(self.discards()),
            limits: Limits::default(),
            named_quotas: jquota::Named::default(),
        }
    }

    /// Whether blocks are discarded as they become free.
    pub(super) fn discards(&self) -> bool {
        self.discard.load(Relaxed)
    }

    /// Not from now on, whatever was asked for.
    pub(super) fn stop_discard(&self) {
        self.discard.store(false, Relaxed);
    }
}
