// SPDX-License-Identifier: GPL-2.0

//! Timestamps: 32 bits of seconds, and in larger inodes 32 bits more.
//!
//! The extra word holds two more bits of seconds (counted from the signed 32-bit value, so that
//! old times read the same with and without it) and 30 bits of nanoseconds.

use zerocopy::little_endian::U32;

/// The earliest time, in seconds since 1970.
pub const MIN: i64 = i32::MIN as i64;
/// The latest time of a 128-byte inode.
pub const MAX_BASE: i64 = i32::MAX as i64;
/// The latest time with the extra word.
pub const MAX_EXTRA: i64 = (1 << 34) - 1 + MIN;

/// Bits of the extra word that extend the seconds.
const EPOCH_BITS: u32 = 2;
/// One less than the nanoseconds in a second.
const MAX_NSEC: u32 = 999_999_999;

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskTime {
    /// Seconds since 1970.
    pub sec: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nsec: u32,
}

/// Reads a timestamp; `extra` is the extra word where the inode has it.
///
/// Thirty bits can hold more nanoseconds than a second has; such a value reads as the last one.
pub fn decode(sec: U32, extra: Option<U32>) -> DiskTime {
    let base = i64::from(sec.get() as i32);
    let extra = extra.map_or(0, U32::get);
    let epoch = extra & ((1 << EPOCH_BITS) - 1);
    DiskTime {
        // At most 3 << 32 beside a 32-bit value: no overflow.
        sec: base + (i64::from(epoch) << 32),
        nsec: (extra >> EPOCH_BITS).min(MAX_NSEC),
    }
}

/// Writes a timestamp: the seconds and the extra word. Times outside [`MIN`] and [`MAX_EXTRA`]
/// become the nearest.
pub fn encode(t: DiskTime) -> (U32, U32) {
    let sec = t.sec.clamp(MIN, MAX_EXTRA);
    let low = (sec & 0xffff_ffff) as u32;
    let epoch = ((sec - i64::from(low as i32)) >> 32) as u32;
    let extra = epoch | t.nsec.min(MAX_NSEC) << EPOCH_BITS;
    (U32::new(low), U32::new(extra))
}

/// Writes the seconds of a timestamp into an inode that has no extra word. Times outside [`MIN`]
/// and [`MAX_BASE`] become the nearest.
pub fn encode_base(t: DiskTime) -> U32 {
    U32::new((t.sec.clamp(MIN, MAX_BASE) & 0xffff_ffff) as u32)
}
