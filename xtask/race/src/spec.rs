// SPDX-License-Identifier: GPL-2.0

//! What a race spec says, as a tree. The language is described in `tests/race/README.md`.
//!
//! Places and lengths are bytes here, whatever unit the text used.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::point::Point;
use crate::run::ActorId;

/// The unit in which data is stamped, and below which nothing is told apart.
pub const SECTOR: u64 = 512;

/// A whole spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// A word, the file's name without its ending.
    pub name: String,
    /// One line on what it is about.
    pub title: String,
    /// The comment that the text begins with, without its signs.
    pub doc: String,
    /// The filesystem's block size in bytes: 1024, 2048 or 4096.
    pub block_size: u32,
    /// Mount options, beside those of the lab itself.
    pub options: Vec<String>,
    /// Mount options with which some order is expected to fail: what shows that the checks see anything. Empty: none is known.
    pub fails_with: Vec<String>,
    /// The files, made anew for each order.
    pub files: Vec<File>,
    /// Who does something; [`ActorId`] is the place in here.
    pub actors: Vec<Actor>,
    /// What must be true when all actors are done.
    pub checks: Vec<Check>,
    /// The preemptions that an order may have at most; `None`: any number.
    pub preemptions: Option<u32>,
}

impl Spec {
    /// The actor of that name.
    #[must_use]
    pub fn actor(&self, name: &str) -> Option<ActorId> {
        let index = self.actors.iter().position(|actor| actor.name == name)?;
        Some(ActorId(index))
    }

    /// The file of that name.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&File> {
        self.files.iter().find(|file| file.name == name)
    }

    /// The same workload with nobody held anywhere.
    #[must_use]
    pub fn without_holds(&self) -> Spec {
        let mut spec = self.clone();
        for actor in &mut spec.actors {
            actor.holds.clear();
        }
        spec
    }
}

/// A file, as it is before the actors begin: on disk, and not in the page cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its name, below the mount point.
    pub name: String,
    /// What it consists of, from its beginning; its size is the sum. Empty for an empty file.
    pub layout: Vec<Segment>,
}

impl File {
    /// Its size before the actors begin, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.layout
            .iter()
            .fold(0, |size, segment| size.saturating_add(segment.len))
    }
}

/// A piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Whether there are blocks.
    pub kind: SegmentKind,
    /// In bytes: whole blocks, but for the last piece of a file, which is whole sectors.
    pub len: u64,
}

/// See [`Segment`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SegmentKind {
    /// No blocks.
    Hole,
    /// Blocks with the initial stamps.
    Written,
}

/// One task of the race. It opens the files of its steps before any actor begins (one descriptor for its direct and one for
/// its other steps), and closes them after the checks. A step begins when the one before it has returned or, by `aio` and
/// `uring`, has completed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// A short name, as in diagrams: `A`.
    pub name: String,
    /// Where it is held, each time it comes by.
    pub holds: Vec<Point>,
    /// What it does, in order; at least one step.
    pub steps: Vec<Step>,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The file's name.
    pub file: String,
    /// What is done to it.
    pub op: Op,
    /// How it may end.
    pub expect: Expect,
}

/// See [`Step`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Read into memory, kept for [`Check::Read`].
    Read(Transfer),
    /// Write stamped sectors.
    Write(Transfer),
    /// `fsync(2)`
    Fsync,
    /// `ftruncate(2)`
    Truncate {
        /// The new size.
        size: u64,
    },
    /// `fallocate(2)` with `FALLOC_FL_PUNCH_HOLE`
    Punch {
        /// The bytes that become a hole.
        range: Range<u64>,
    },
}

/// A read or a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Direct, or by the page cache.
    pub way: Way,
    /// How the kernel is asked; [`Api::Pwrite`] for [`Way::Mmap`], where nothing is asked.
    pub api: Api,
    /// Flags of the one call.
    pub flags: Flags,
    /// Where it begins. With [`Flags::append`] the kernel decides, and this is 0.
    pub offset: u64,
    /// In bytes, not 0, whole sectors.
    pub len: u64,
}

impl Transfer {
    /// The bytes; `None` where the kernel decides.
    #[must_use]
    pub fn range(&self) -> Option<Range<u64>> {
        let end = self.offset.saturating_add(self.len);
        (!self.flags.append).then_some(self.offset..end)
    }
}

/// See [`Transfer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// `O_DIRECT`
    Direct,
    /// `read`, `write`
    Buffered,
    /// Loads and stores to a shared mapping.
    Mmap,
}

/// See [`Transfer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// `preadv2`, `pwritev2`
    #[default]
    Pwrite,
    /// `io_submit`
    Aio,
    /// `io_uring`
    Uring,
}

/// See [`Transfer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Flags {
    /// `RWF_NOWAIT`
    pub nowait: bool,
    /// `RWF_APPEND`
    pub append: bool,
    /// `RWF_DSYNC`
    pub dsync: bool,
}

/// How a step may end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// As it likes; a result of no error is still a result of at most what was asked.
    Any,
    /// In one of these ways; at least one of them is given.
    OneOf {
        /// All bytes, or success of a call that has none.
        full: bool,
        /// Fewer bytes, also none.
        short: bool,
        /// One of these errors.
        errors: Vec<Errno>,
    },
}

impl Default for Expect {
    fn default() -> Self {
        Expect::OneOf {
            full: true,
            short: false,
            errors: Vec::new(),
        }
    }
}

impl Expect {
    /// Whether a call that was asked for `asked` bytes (0 for those without) may answer this.
    #[must_use]
    pub fn allows(&self, asked: u64, answer: Result<u64, Errno>) -> bool {
        match (self, answer) {
            (Expect::Any, Ok(done)) => done <= asked,
            (Expect::Any, Err(_)) => true,
            (Expect::OneOf { full, short, .. }, Ok(done)) => {
                (*full && done == asked) || (*short && done < asked)
            }
            (Expect::OneOf { errors, .. }, Err(errno)) => errors.contains(&errno),
        }
    }
}

/// An error number, as Linux has them on all architectures that this runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Errno(pub i32);

impl Errno {
    /// Those with a name in specs.
    pub const NAMES: [(&'static str, Errno); 14] = [
        ("EPERM", Errno(1)),
        ("EINTR", Errno(4)),
        ("EIO", Errno(5)),
        ("EAGAIN", Errno(11)),
        ("ENOMEM", Errno(12)),
        ("EBUSY", Errno(16)),
        ("EINVAL", Errno(22)),
        ("EFBIG", Errno(27)),
        ("ENOSPC", Errno(28)),
        ("EROFS", Errno(30)),
        ("EOPNOTSUPP", Errno(95)),
        ("EUCLEAN", Errno(117)),
        ("EDQUOT", Errno(122)),
        ("ECANCELED", Errno(125)),
    ];

    /// From its name in C.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Errno> {
        let found = Errno::NAMES.iter().find(|(known, _)| *known == name)?;
        Some(found.1)
    }
}

impl std::fmt::Display for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Errno::NAMES.iter().find(|(_, errno)| errno == self) {
            Some((name, _)) => f.pad(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

/// What must be true at the end. Always true must be, without being asked for: each step ended as expected, the kernel logged no
/// splat, no sector is torn (in what is read while others run: but between the sources), and e2fsck finds nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// `fsync` of the file succeeds, by every descriptor that was open during the race.
    FsyncOk {
        /// The file's name.
        file: String,
    },
    /// Each descriptor that was open during the race calls `fsync` twice now. Counted with the fsyncs that were steps, either
    /// none of them has ever answered an error, or each has answered one exactly once.
    FsyncOnce {
        /// The file's name.
        file: String,
    },
    /// The file has one of these sizes.
    Size {
        /// The file's name.
        file: String,
        /// In bytes.
        sizes: Vec<u64>,
    },
    /// Each sector of the range that lies inside the file's size at the end is from one of the sources, both as the page cache has
    /// it (`read`) and as the disk has it (direct read, after `fsync`).
    Content {
        /// The file's name.
        file: String,
        /// Whole sectors.
        range: Range<u64>,
        /// At least one.
        from: Vec<Source>,
    },
    /// After the race a buffered read and a direct read see the same bytes in the whole file.
    Coherent {
        /// The file's name.
        file: String,
    },
    /// Each sector of the range that a read step got is from one of the sources.
    Read {
        /// Who read.
        actor: String,
        /// Which of its steps, from 0.
        step: usize,
        /// Of the file, inside what the step asks for; whole sectors.
        range: Range<u64>,
        /// At least one.
        from: Vec<Source>,
    },
    /// No stage of this actor ends blocked: an order where it does has failed, and is not infeasible.
    NeverWaits {
        /// Its name.
        actor: String,
    },
}

/// Where a sector's bytes may be from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The file's own layout, as it was made: stamped where it was written, zeroes in holes.
    Initial,
    /// Zeroes.
    Zero,
    /// A write of this actor.
    Actor {
        /// Its name.
        actor: String,
        /// Which of its steps, from 0; `None`: any.
        step: Option<usize>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectations() {
        let full = Expect::default();
        assert!(full.allows(512, Ok(512)) && full.allows(0, Ok(0)));
        assert!(!full.allows(512, Ok(0)) && !full.allows(512, Err(Errno(11))));
        let nowait = Expect::OneOf {
            full: false,
            short: true,
            errors: vec![Errno(11)],
        };
        assert!(nowait.allows(512, Ok(0)) && nowait.allows(512, Err(Errno(11))));
        assert!(!nowait.allows(512, Ok(512)) && !nowait.allows(512, Err(Errno(5))));
        assert!(Expect::Any.allows(512, Err(Errno(5))) && Expect::Any.allows(512, Ok(3)));
        assert!(!Expect::Any.allows(512, Ok(513)), "more than was asked for");
    }
}
