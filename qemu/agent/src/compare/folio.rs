// SPDX-License-Identifier: GPL-2.0
//! Blocks that a page fault brought along.
//!
//! A page that is about to be written by mmap gets blocks for all holes of its folio. How large that is says whoever put it into the
//! page cache: ext4 asks for folios as large as a write is long, iomap for such as lie in one mapping, and either may get less. So after
//! a write by mmap one side may have blocks, all zeroes, where the other still has holes, and neither is wrong. They get them on that
//! side in the same way: by a fault.

use crate::sys::Mapping;
use anyhow::{ensure, Result};
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::fs::File;
use std::ops::Range;

/// No folio reaches so far: none is larger than a write or a readahead.
const FAR: u64 = 1 << 20;
/// Each round fills at least a page; a folio that is filled may lie over the end of one on the other side.
const ROUNDS: usize = 64;
/// Bytes of a page.
const PAGE: u64 = 4096;

/// After both sides have written some bytes of a file by mmap: gives each the blocks around them that the other has.
///
/// `zeroes` is a file of zeroes.
///
/// # Errors
///
/// They cannot be brought together: the drivers do differ.
pub fn level(files: [&File; 2], written: Range<u64>, zeroes: &File) -> Result<()> {
    let window = written.start.saturating_sub(FAR)..written.end.saturating_add(FAR);
    for _ in 0..ROUNDS {
        let [one, two] = [data(files[0], &window)?, data(files[1], &window)?];
        if one == two {
            return Ok(());
        }
        fault(files[0], &without(&two, &one), zeroes)?;
        fault(files[1], &without(&one, &two), zeroes)?;
    }
    ensure!(
        data(files[0], &window)? == data(files[1], &window)?,
        "faults do not fill what the other driver has"
    );
    Ok(())
}

/// The file's ranges of data in a window.
fn data(file: &File, window: &Range<u64>) -> Result<Vec<Range<u64>>, Errno> {
    let mut ranges = Vec::new();
    let mut at = window.start;
    while at < window.end {
        let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(start) if start < window.end => start,
            Ok(_) | Err(Errno::NXIO) => break,
            Err(errno) => return Err(errno),
        };
        at = rustix::fs::seek(file, SeekFrom::Hole(start))?;
        ranges.push(start..at.min(window.end));
    }
    Ok(ranges)
}

/// What of `all` is not in `others`; both in order.
fn without(all: &[Range<u64>], others: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut left = Vec::new();
    for range in all {
        let mut start = range.start;
        for other in others {
            if other.end <= start || other.start >= range.end {
                continue;
            }
            if start < other.start {
                left.push(start..other.start);
            }
            start = other.end;
        }
        if start < range.end {
            left.push(start..range.end);
        }
    }
    left
}

/// Writes a zero by mmap to each page of these holes.
fn fault(file: &File, holes: &[Range<u64>], zeroes: &File) -> Result<()> {
    for hole in holes {
        let mut at = hole.start;
        while at < hole.end {
            let page = at & !(PAGE - 1);
            Mapping::at(file, page, PAGE as usize)?.fill_from(
                zeroes,
                0,
                (at - page) as usize,
                1,
            )?;
            at = page + PAGE;
        }
    }
    Ok(())
}

#[cfg(test)]
mod unit {
    use super::*;

    /// Where ranges begin and end.
    type Pairs = [(u64, u64)];

    #[test]
    fn what_is_left_of_ranges() {
        let ranges = |pairs: &Pairs| -> Vec<Range<u64>> {
            pairs.iter().map(|&(start, end)| start..end).collect()
        };
        let all = ranges(&[(0, 10), (20, 30), (40, 50)]);
        let cases: [(&Pairs, &Pairs); 5] = [
            (&[], &[(0, 10), (20, 30), (40, 50)]),
            (&[(0, 50)], &[]),
            (&[(5, 25)], &[(0, 5), (25, 30), (40, 50)]),
            (
                &[(2, 4), (6, 8), (45, 46)],
                &[(0, 2), (4, 6), (8, 10), (20, 30), (40, 45), (46, 50)],
            ),
            (&[(10, 20), (30, 40)], &[(0, 10), (20, 30), (40, 50)]),
        ];
        for (others, left) in cases {
            assert_eq!(without(&all, &ranges(others)), ranges(left));
        }
    }
}
