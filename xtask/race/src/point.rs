// SPDX-License-Identifier: GPL-2.0

//! The hold points that the driver has (`rust/fs/hold.rs`), by name, and which steps can pass them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::spec::{Op, Step, Way};

/// A named place in the driver where a task, or a bio, can be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Point {
    /// Direct I/O has its `i_rwsem`.
    DioLocked,
    /// It has flushed what the page cache had of its range, and looks up blocks next.
    DioMap,
    /// The bio, before it is given to the block layer.
    DioSubmit,
    /// The bio, when it has been completed by the device, before its direct I/O learns of it.
    DioComplete,
    /// The fallback begins; no lock is held.
    FallbackBegin,
    /// The fallback has `i_rwsem`, and has drained the direct I/O in flight, or would have (`drain=off`).
    FallbackDrained,
    /// The pages are dirty, and `i_rwsem` is released: the window.
    FallbackDirtied,
    /// The range has been written out, its pages are still there.
    FallbackFlushed,
    /// The range has left the page cache.
    FallbackDone,
    /// A buffered write that is no fallback, where [`Point::FallbackDrained`] is for one.
    BufferedDrained,
    /// `truncate` begins; the VFS holds `i_rwsem`.
    TruncateBegin,
    /// It has waited for direct I/O.
    TruncateDrained,
    /// A hole is about to be punched; no lock is held.
    PunchBegin,
    /// It has `i_rwsem`, and has waited for direct I/O.
    PunchDrained,
    /// A write fault of a mapped page (`page_mkwrite`) begins.
    FaultBegin,
    /// The page has its blocks, and is not dirty yet.
    FaultMapped,
    /// `fsync` begins.
    FsyncBegin,
}

/// What can be parked at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parks {
    /// The task that does the call.
    Task,
    /// One bio of it.
    Bio,
}

impl Point {
    /// Every point, in the order of the table in `tests/race/README.md`.
    pub const ALL: [Point; 17] = [
        Point::DioLocked,
        Point::DioMap,
        Point::DioSubmit,
        Point::DioComplete,
        Point::FallbackBegin,
        Point::FallbackDrained,
        Point::FallbackDirtied,
        Point::FallbackFlushed,
        Point::FallbackDone,
        Point::BufferedDrained,
        Point::TruncateBegin,
        Point::TruncateDrained,
        Point::PunchBegin,
        Point::PunchDrained,
        Point::FaultBegin,
        Point::FaultMapped,
        Point::FsyncBegin,
    ];

    /// Its name, in specs and in the driver's `hold` file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Point::DioLocked => "dio.locked",
            Point::DioMap => "dio.map",
            Point::DioSubmit => "dio.submit",
            Point::DioComplete => "dio.complete",
            Point::FallbackBegin => "fallback.begin",
            Point::FallbackDrained => "fallback.drained",
            Point::FallbackDirtied => "fallback.dirtied",
            Point::FallbackFlushed => "fallback.flushed",
            Point::FallbackDone => "fallback.done",
            Point::BufferedDrained => "buffered.drained",
            Point::TruncateBegin => "truncate.begin",
            Point::TruncateDrained => "truncate.drained",
            Point::PunchBegin => "punch.begin",
            Point::PunchDrained => "punch.drained",
            Point::FaultBegin => "fault.begin",
            Point::FaultMapped => "fault.mapped",
            Point::FsyncBegin => "fsync.begin",
        }
    }

    /// What it parks.
    #[must_use]
    pub fn parks(self) -> Parks {
        match self {
            Point::DioSubmit | Point::DioComplete => Parks::Bio,
            _ => Parks::Task,
        }
    }

    /// Whether `step` can come by. That it does depends on the file: only a write into a hole falls back.
    #[must_use]
    pub fn passed_by(self, step: &Step) -> bool {
        match (self, &step.op) {
            (
                Point::DioLocked | Point::DioMap | Point::DioSubmit | Point::DioComplete,
                Op::Read(io) | Op::Write(io),
            ) => io.way == Way::Direct,
            (
                Point::FallbackBegin
                | Point::FallbackDrained
                | Point::FallbackDirtied
                | Point::FallbackFlushed
                | Point::FallbackDone,
                Op::Write(io),
            ) => io.way == Way::Direct,
            (Point::BufferedDrained, Op::Write(io)) => io.way == Way::Buffered,
            (Point::FaultBegin | Point::FaultMapped, Op::Write(io)) => io.way == Way::Mmap,
            (Point::TruncateBegin | Point::TruncateDrained, Op::Truncate { .. }) => true,
            (Point::PunchBegin | Point::PunchDrained, Op::Punch { .. }) => true,
            (Point::FsyncBegin, Op::Fsync) => true,
            (Point::FsyncBegin, Op::Write(io)) => io.flags.dsync,
            _ => false,
        }
    }

    /// Which steps can come by, in words.
    #[must_use]
    pub fn passers(self) -> &'static str {
        match self {
            Point::DioLocked | Point::DioMap | Point::DioSubmit | Point::DioComplete => {
                "direct reads and writes"
            }
            Point::FallbackBegin
            | Point::FallbackDrained
            | Point::FallbackDirtied
            | Point::FallbackFlushed
            | Point::FallbackDone => "direct writes",
            Point::BufferedDrained => "buffered writes",
            Point::TruncateBegin | Point::TruncateDrained => "truncate",
            Point::PunchBegin | Point::PunchDrained => "punch",
            Point::FaultBegin | Point::FaultMapped => "mmap writes",
            Point::FsyncBegin => "fsync, and writes with dsync",
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No point has this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownPoint(pub String);

impl fmt::Display for UnknownPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no hold point is called `{}`", self.0)
    }
}

impl std::error::Error for UnknownPoint {}

impl FromStr for Point {
    type Err = UnknownPoint;

    fn from_str(name: &str) -> Result<Self, UnknownPoint> {
        Point::ALL
            .into_iter()
            .find(|point| point.name() == name)
            .ok_or_else(|| UnknownPoint(name.to_owned()))
    }
}

impl TryFrom<String> for Point {
    type Error = UnknownPoint;

    fn try_from(name: String) -> Result<Self, UnknownPoint> {
        name.parse()
    }
}

impl From<Point> for &'static str {
    fn from(point: Point) -> Self {
        point.name()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_parse() {
        for point in Point::ALL {
            assert_eq!(point.name().parse(), Ok(point));
            let json = serde_json::to_string(&point).unwrap();
            assert_eq!(serde_json::from_str::<Point>(&json).unwrap(), point);
        }
    }
}
