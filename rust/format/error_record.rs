// SPDX-License-Identifier: GPL-2.0

//! What the superblock remembers of errors: how many there were, and the particulars of the first
//! and of the last one. `dumpe2fs -h` shows it; e2fsck clears it.

use super::superblock::{RawSuperBlock, STATE_ERROR};
use zerocopy::little_endian::{U32, U64};

/// `s_*_error_errcode`: an errno without a number of its own.
pub const CODE_UNKNOWN: u8 = 1;
/// `s_*_error_errcode`: `EIO`.
pub const CODE_EIO: u8 = 2;
/// `s_*_error_errcode`: `ENOMEM`.
pub const CODE_ENOMEM: u8 = 3;
/// `s_*_error_errcode`: `EFSCORRUPTED`, which is `EUCLEAN`.
pub const CODE_CORRUPTED: u8 = 5;

/// Bytes of `s_*_error_func`. A shorter name is followed by zeroes; one of this length by nothing.
const FUNC_LEN: usize = 32;
/// The latest time that 40 bits hold, in seconds since 1970.
const TIME_MAX: u64 = (1 << 40) - 1;

/// One error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorRecord {
    /// When it was seen: seconds since 1970, of which 40 bits are kept.
    pub time: u64,
    /// The inode that it is about, or 0.
    pub ino: u32,
    /// The block that it is about, or 0.
    pub block: u64,
    /// Where in the driver it was found, padded with zeroes: a function in C, a file here.
    pub func: [u8; FUNC_LEN],
    /// The line in there.
    pub line: u32,
    /// `CODE_*`.
    pub code: u8,
}

impl ErrorRecord {
    /// A name as `func` holds it: cut to 31 bytes, so that readers who want a zero behind it find
    /// one.
    pub fn func(name: &[u8]) -> [u8; FUNC_LEN] {
        let mut func = [0; FUNC_LEN];
        for (to, from) in func.iter_mut().take(FUNC_LEN - 1).zip(name) {
            *to = *from;
        }
        func
    }
}

/// The errors that the superblock does not know yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unrecorded {
    count: u32,
    /// The first and the last.
    ends: Option<(ErrorRecord, ErrorRecord)>,
}

impl Unrecorded {
    /// None.
    pub const NONE: Self = Self {
        count: 0,
        ends: None,
    };

    /// One more.
    pub fn add(&mut self, record: ErrorRecord) {
        self.count = self.count.saturating_add(1);
        let first = self.ends.map_or(record, |(first, _)| first);
        self.ends = Some((first, record));
    }

    /// Writes them to the superblock: the first one only where there is none yet. C: the end of
    /// `ext4_update_super`.
    pub fn store(&self, raw: &mut RawSuperBlock) {
        let Some((first, last)) = &self.ends else {
            return;
        };
        raw.state.set(raw.state.get() | STATE_ERROR);
        if raw.first_error_time.get() == 0 && raw.first_error_time_hi == 0 {
            (raw.first_error_time, raw.first_error_time_hi) = split_time(first.time);
            raw.first_error_ino = U32::new(first.ino);
            raw.first_error_block = U64::new(first.block);
            raw.first_error_func = first.func;
            raw.first_error_line = U32::new(first.line);
            raw.first_error_errcode = first.code;
        }
        (raw.last_error_time, raw.last_error_time_hi) = split_time(last.time);
        raw.last_error_ino = U32::new(last.ino);
        raw.last_error_block = U64::new(last.block);
        raw.last_error_func = last.func;
        raw.last_error_line = U32::new(last.line);
        raw.last_error_errcode = last.code;
        raw.error_count
            .set(raw.error_count.get().saturating_add(self.count));
    }
}

/// A time as the superblock keeps it: 32 bits in the old field, eight more in another. C:
/// `__ext4_update_tstamp`.
pub fn split_time(seconds: u64) -> (U32, u8) {
    let seconds = seconds.min(TIME_MAX);
    (
        U32::new((seconds & 0xffff_ffff) as u32),
        ((seconds >> 32) & 0xff) as u8,
    )
}

/// The reverse. C: `__ext4_get_tstamp`.
pub fn join_time(low: U32, high: u8) -> u64 {
    u64::from(high) << 32 | u64::from(low.get())
}
