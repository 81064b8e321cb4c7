// SPDX-License-Identifier: GPL-2.0

//! From a file block to the way through the indirect blocks.

use super::corrupt::Corrupt;

/// Direct pointers in `i_block`.
pub const DIRECT_BLOCKS: u32 = 12;
/// Index in `i_block` of the pointer to the indirect block.
pub const IND: usize = 12;
/// Index in `i_block` of the pointer to the double indirect block.
pub const DIND: usize = 13;
/// Index in `i_block` of the pointer to the triple indirect block.
pub const TIND: usize = 14;

/// The way to one file block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path {
    /// How many pointers are followed: 1 for a direct block, up to 4.
    pub depth: usize,
    /// The index in `i_block`, then one in each indirect block; the first `depth` count.
    pub offsets: [u32; 4],
    /// How many file blocks, this one included, have their pointers in the same array as this
    /// one, from it on.
    pub boundary: u32,
}

/// File blocks that one pointer covers: `level` 0 is a pointer to data, 1 to an indirect block,
/// and so on. `ptrs_bits` is the binary logarithm of the number of pointers in a block.
pub fn span(level: u32, ptrs_bits: u32) -> u64 {
    1_u64
        .checked_shl(level.saturating_mul(ptrs_bits))
        .unwrap_or(u64::MAX)
}

/// The way to file block `lblk`.
pub fn path(lblk: u32, ptrs_bits: u32) -> Result<Path, Corrupt> {
    let mut rest = u64::from(lblk);
    if lblk < DIRECT_BLOCKS {
        return Ok(Path {
            depth: 1,
            offsets: [lblk, 0, 0, 0],
            boundary: DIRECT_BLOCKS - lblk,
        });
    }
    rest -= u64::from(DIRECT_BLOCKS);

    let ptrs = span(1, ptrs_bits);
    // The index that the pointer block at `level` is entered with, `rest` being the file block's
    // place among those under the same `i_block` pointer.
    let index = |rest: u64, level: u32| {
        let i = rest / span(level, ptrs_bits) % ptrs;
        u32::try_from(i).unwrap_or(u32::MAX)
    };
    for (level, first) in [(1, IND), (2, DIND), (3, TIND)] {
        let covered = span(level, ptrs_bits);
        if rest >= covered {
            rest -= covered;
            continue;
        }
        let first = first as u32;
        let offsets = match level {
            1 => [first, index(rest, 0), 0, 0],
            2 => [first, index(rest, 1), index(rest, 0), 0],
            _ => [first, index(rest, 2), index(rest, 1), index(rest, 0)],
        };
        return Ok(Path {
            depth: level as usize + 1,
            offsets,
            boundary: u32::try_from(ptrs - rest % ptrs).unwrap_or(u32::MAX),
        });
    }
    Err(Corrupt::FileBlockTooLarge { block: lblk })
}
