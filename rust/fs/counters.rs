// SPDX-License-Identifier: GPL-2.0

//! What direct I/O did, per mount: `/sys/kernel/debug/notblk/DEVICE/counters`, a line "name value" each.

use kernel::{
    debugfs::{Dir, Writer},
    fmt,
    sync::atomic::{Atomic, Relaxed},
};

/// `/sys/kernel/debug/notblk`. Goes away with its last clone and file.
pub(crate) fn root() -> Dir {
    Dir::new(c"notblk")
}

/// Counters since mount. They only grow; readers may see one of a pair before the other.
pub(crate) struct Counters {
    /// Direct reads begun.
    pub(super) direct_reads: Atomic<u64>,
    /// Direct writes begun, those that fell back included.
    pub(super) direct_writes: Atomic<u64>,
    /// Direct writes of which some part went through the page cache.
    pub(super) fallbacks: Atomic<u64>,
    /// Bytes that fallbacks wrote.
    pub(super) fallback_bytes: Atomic<u64>,
    /// Buffered writes that drained direct I/O first, fallbacks included.
    pub(super) drains: Atomic<u64>,
    /// Drains that found direct I/O in flight.
    pub(super) drains_waited: Atomic<u64>,
    /// Nanoseconds that those waited, together.
    pub(super) drain_wait_ns: Atomic<u64>,
}

impl Counters {
    pub(super) fn new() -> Self {
        Self {
            direct_reads: Atomic::new(0),
            direct_writes: Atomic::new(0),
            fallbacks: Atomic::new(0),
            fallback_bytes: Atomic::new(0),
            drains: Atomic::new(0),
            drains_waited: Atomic::new(0),
            drain_wait_ns: Atomic::new(0),
        }
    }
}

/// Adds to a counter.
pub(super) fn add(counter: &Atomic<u64>, n: u64) {
    counter.add(n, Relaxed);
}

impl Writer for Counters {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, counter) in [
            ("direct_reads", &self.direct_reads),
            ("direct_writes", &self.direct_writes),
            ("fallbacks", &self.fallbacks),
            ("fallback_bytes", &self.fallback_bytes),
            ("drains", &self.drains),
            ("drains_waited", &self.drains_waited),
            ("drain_wait_ns", &self.drain_wait_ns),
        ] {
            writeln!(f, "{name} {}", counter.load(Relaxed))?;
        }
        Ok(())
    }
}
