// SPDX-License-Identifier: GPL-2.0
//! The file that the actors fight over: many units, each with one hole and one written block.

use super::actor::Actors;
use crate::buf::{stamp, stamp_of, Buffer};
use crate::fs;
use anyhow::{ensure, Context, Result};
use notblk_protocol::Story;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Units of one layout of the file. Enough that laying out and checking is a small part of the
/// time, few enough that both stay out of the way of a short run.
pub const UNITS: u64 = 256;

/// Who wrote a block: the top byte of its stamp.
#[derive(Clone, Copy)]
enum Writer {
    LayOut = 1,
    A = 2,
    B = 3,
}

/// The word that a writer fills its block with in an iteration.
fn word(writer: Writer, iteration: u64) -> u64 {
    (writer as u64) << 56 | iteration
}

/// A unit's geometry, in bytes. The hole is at its start.
#[derive(Clone, Copy)]
pub struct Layout {
    /// Length of a unit.
    unit: u64,
    /// Length of a block: of the hole, and of the written block that follows it.
    block: u64,
    /// Length of B's write, which starts with the unit.
    write_b: u64,
}

impl Layout {
    /// The layout of a story.
    pub fn of(story: Story) -> Layout {
        match story {
            // `[hole][written]`, and B writes both.
            Story::Seed => Layout {
                unit: 8192,
                block: 4096,
                write_b: 8192,
            },
            // One page: `[hole][written][hole][hole]`, and B writes the first hole only.
            Story::Folio => Layout {
                unit: 4096,
                block: 1024,
                write_b: 1024,
            },
        }
    }

    /// Length of A's writes.
    pub fn length_of_a(&self) -> usize {
        self.block as usize
    }

    /// Where the unit of an iteration begins.
    fn start(&self, iteration: u64) -> u64 {
        iteration % UNITS * self.unit
    }

    /// Offset of A's write and the word it writes.
    pub fn write_of_a(&self, iteration: u64) -> (u64, u64) {
        (
            self.start(iteration) + self.block,
            word(Writer::A, iteration),
        )
    }

    /// Offset of B's write and its data.
    pub fn write_of_b(&self, iteration: u64) -> (u64, Buffer) {
        let mut data = Buffer::new(self.write_b as usize);
        stamp(&mut data, word(Writer::B, iteration));
        (self.start(iteration), data)
    }

    /// Makes the file anew, with all its holes.
    pub fn lay_out(&self, path: &Path) -> Result<()> {
        let file = fs::open_buffered(path)?;
        file.set_len(0).context("truncate the file of the race")?;
        let mut block = vec![0; self.block as usize];
        stamp(&mut block, word(Writer::LayOut, 0));
        for unit in 0..UNITS {
            file.write_all_at(&block, unit * self.unit + self.block)?;
        }
        file.set_len(UNITS * self.unit)?;
        file.sync_all().context("fsync of the laid out file")?;
        drop_cache(&file)
    }

    /// Checks size and contents of the units that the iterations used: once through the page
    /// cache, once past it.
    pub fn verify(&self, path: &Path, iterations: Range<u64>, actors: &Actors) -> Result<()> {
        let size = std::fs::metadata(path)?.len();
        if size != UNITS * self.unit {
            actors.found(format!(
                "the file's size is {size}, not {}",
                UNITS * self.unit
            ));
            return Ok(());
        }
        for (way, file) in [
            ("buffered", fs::open_buffered(path)?),
            ("direct", fs::open_direct(path)?),
        ] {
            let mut data = Buffer::new(size as usize);
            file.read_exact_at(&mut data, 0)?;
            for iteration in iterations.clone() {
                if let Err(error) = self.verify_unit(&data, iteration) {
                    actors.found(format!("iteration {iteration}, {way} read: {error}"));
                }
            }
        }
        Ok(())
    }

    /// Checks one unit.
    fn verify_unit(&self, data: &[u8], iteration: u64) -> Result<()> {
        let start = self.start(iteration) as usize;
        let block = self.block as usize;
        let a = word(Writer::A, iteration);
        let b = word(Writer::B, iteration);
        let hole = stamp_of(&data[start..start + block]).context("the hole's block is torn")?;
        ensure!(
            hole == b,
            "the hole's block holds {hole:#x}, not B's {b:#x}"
        );
        let written =
            stamp_of(&data[start + block..start + 2 * block]).context("A's block is torn")?;
        // Where the two overlap either may come last; where they do not, B's data is an intruder.
        let overlap = self.write_b > self.block;
        ensure!(
            written == a || (overlap && written == b),
            "A's block holds {written:#x}, not {a:#x}"
        );
        let end = start + self.unit as usize;
        ensure!(
            data[start + 2 * block..end].iter().all(|&byte| byte == 0),
            "the holes behind are not zero"
        );
        Ok(())
    }
}

/// Leaves no page of the file in the cache, as the story wants it.
fn drop_cache(file: &std::fs::File) -> Result<()> {
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).context("drop the cache")
}

#[cfg(test)]
mod unit {
    use super::*;

    /// Only the exact outcomes of both stories are taken for good.
    #[test]
    fn verify_tells_right_from_wrong() {
        for story in Story::ALL {
            let layout = Layout::of(story);
            let mut data = vec![0; (UNITS * layout.unit) as usize];
            assert!(layout.verify_unit(&data, 1).is_err());
            let (offset_b, data_b) = layout.write_of_b(1);
            let (offset_a, word_a) = layout.write_of_a(1);
            let (offset_a, offset_b) = (offset_a as usize, offset_b as usize);
            data[offset_b..offset_b + data_b.len()].copy_from_slice(&data_b);
            stamp(&mut data[offset_a..offset_a + layout.length_of_a()], word_a);
            layout.verify_unit(&data, 1).unwrap();
            data[offset_b] ^= 1;
            assert!(layout.verify_unit(&data, 1).is_err());
        }
    }
}
