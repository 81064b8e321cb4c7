// SPDX-License-Identifier: GPL-2.0

//! From a file block to the way through the indirect blocks.

use super::corrupt::Corrupt;
use super::num;

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
    num::power_of_two(level.saturating_mul(ptrs_bits))
}

/// The way to file block `lblk`.
pub fn path(lblk: u32, ptrs_bits: u32) -> Result<Path, Corrupt> {
    let Some(rest) = lblk.checked_sub(DIRECT_BLOCKS) else {
        return Ok(Path {
            depth: 1,
            offsets: [lblk, 0, 0, 0],
            boundary: DIRECT_BLOCKS.saturating_sub(lblk),
        });
    };
    // The file block's place among those below the `i_block` pointer at hand.
    let mut rest = u64::from(rest);
    for (level, first) in [(1, IND as u32), (2, DIND as u32), (3, TIND as u32)] {
        if let Some(beyond) = rest.checked_sub(span(level, ptrs_bits)) {
            rest = beyond;
            continue;
        }
        // The index in the pointer block that is `up` steps above the one that points to data.
        let index = |up: u32| {
            let place = num::shr(rest, ptrs_bits.saturating_mul(up));
            narrow(num::low_bits(place, ptrs_bits))
        };
        let (depth, offsets) = match level {
            1 => (2, [first, index(0), 0, 0]),
            2 => (3, [first, index(1), index(0), 0]),
            _ => (4, [first, index(2), index(1), index(0)]),
        };
        let ptrs = narrow(span(1, ptrs_bits));
        return Ok(Path {
            depth,
            offsets,
            boundary: ptrs.saturating_sub(index(0)),
        });
    }
    Err(Corrupt::FileBlockTooLarge { block: lblk })
}

/// An index in a block of pointers: these are far below 32 bits.
fn narrow(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
