// SPDX-License-Identifier: GPL-2.0

//! Reservation windows: blocks that are free on disk, and kept in memory for the file that is being written next to them, so
//! that files that grow at the same time do not grow into each other. C: the windows of `fs/ext2/balloc.c`.
//!
//! A window begins behind the block that its file got last, and is as long as what the file has got in one go: up to the next
//! window, or less. A file that comes to the next one's moves on to a place with as much room. A window is a wish, not a right:
//! the bitmaps alone say what is free, and where there is nothing else it is no obstacle.

use super::balloc::Run;
use kernel::{alloc::flags::GFP_NOWAIT, prelude::*};

/// Fewer blocks than this in one place are left to those who want no more, as long as there is another place in the group.
pub(super) const PIECE: u32 = 8;
/// Blocks of a window to begin with.
const SMALLEST: u32 = 32;
/// Blocks of a window at the most. C: `EXT2_MAX_RESERVE_BLOCKS`.
const LARGEST: u32 = 1024;

/// Blocks `start..end` of the device, kept for an inode.
#[derive(Clone, Copy)]
struct Window {
    start: u32,
    end: u32,
    ino: u64,
}

/// All windows: by `start`, none empty, no two with a block in common. `SuperData::space` protects them.
pub(crate) struct Windows(KVec<Window>);

/// An inode's side of it. `InodeData::map` protects it; nobody else changes the inode's window.
#[derive(Default)]
pub(super) struct Stream {
    /// Where the inode's window begins, if there is one.
    window: Option<u32>,
    /// Blocks got one behind the other, as the file has them: what was got for the end of it, time after time.
    blocks: u32,
}

/// Who allocates.
pub(super) struct Owner<'a> {
    /// The inode.
    pub(super) ino: u64,
    /// Its window.
    pub(super) stream: &'a mut Stream,
    /// The file goes on where it has got blocks last.
    pub(super) goes_on: bool,
}

impl Owner<'_> {
    /// Blocks that there should be room for where `want` of them go.
    pub(super) fn room(&self, want: u32) -> u32 {
        if self.goes_on {
            want.max(self.stream.blocks).clamp(SMALLEST, LARGEST)
        } else {
            want.clamp(PIECE, LARGEST)
        }
    }
}

impl Stream {
    /// Whether there is a window to be dropped.
    pub(super) fn has_window(&self) -> bool {
        self.window.is_some()
    }
}

impl Windows {
    pub(super) fn new() -> Self {
        Self(KVec::new())
    }

    /// The windows that end behind `block`: the one that it lies in, if any, comes first.
    fn from(&self, block: u32) -> &[Window] {
        let first = self.0.partition_point(|window| window.end <= block);
        self.0.get(first..).unwrap_or_default()
    }

    /// The first block from `block` on that is in nobody's window but the inode's own.
    pub(super) fn skip(&self, mut block: u32, ino: Option<u64>) -> u32 {
        for window in self.from(block) {
            if block < window.start || Some(window.ino) == ino {
                break;
            }
            block = window.end;
        }
        block
    }

    /// Where the next window but the inode's own begins: behind `block`, which is in no such window.
    pub(super) fn limit(&self, block: u32, ino: Option<u64>) -> u32 {
        self.from(block)
            .iter()
            .find(|window| Some(window.ino) != ino)
            .map_or(u32::MAX, |window| window.start)
    }

    /// The inode has got a run: its window is what lies behind it, up to the next one's, or to `end`. Without memory there
    /// is none.
    pub(super) fn advance(&mut self, owner: &mut Owner<'_>, run: Run, end: u32) {
        owner.stream.blocks = if owner.goes_on {
            owner.stream.blocks.saturating_add(run.count)
        } else {
            run.count
        };
        self.close(owner.ino, owner.stream);
        let start = run.start.saturating_add(run.count);
        let at = self.0.partition_point(|window| window.end <= start);
        let next = self.0.get(at).map_or(u32::MAX, |window| window.start);
        let length = owner.stream.blocks.clamp(SMALLEST, LARGEST);
        let end = start.saturating_add(length).min(next).min(end);
        if start >= end || self.0.reserve(1, GFP_NOWAIT).is_err() {
            return;
        }
        let window = Window {
            start,
            end,
            ino: owner.ino,
        };
        if self.0.insert_within_capacity(at, window).is_ok() {
            owner.stream.window = Some(start);
        }
    }

    /// Drops the inode's window.
    pub(super) fn close(&mut self, ino: u64, stream: &mut Stream) {
        if let Some(at) = self.own(ino, stream) {
            // It is there.
            let _ = self.0.remove(at);
        }
        stream.window = None;
    }

    /// Where the inode's window stands.
    fn own(&self, ino: u64, stream: &Stream) -> Option<usize> {
        let start = stream.window?;
        let at = self.0.partition_point(|window| window.start < start);
        let window = self.0.get(at)?;
        (window.ino == ino && window.start == start).then_some(at)
    }
}
