// SPDX-License-Identifier: GPL-2.0

//! Bitmaps of blocks and inodes: bit 0 is the lowest of the first byte. Read 64 bits at a time.

use super::block::{Block, BlockMut};
use super::corrupt::Corrupt;
use zerocopy::little_endian::U64;

const WORD_BITS: u32 = u64::BITS;
const WORD_BYTES: usize = size_of::<u64>();

/// Checks that the bits `start..end` exist.
fn check_range(b: &(impl Block + ?Sized), start: u32, end: u64) -> Result<(), Corrupt> {
    let bits = (b.len() as u64).saturating_mul(8);
    if u64::from(start) > end || end > bits {
        return Err(Corrupt::BitRange { start, end, bits });
    }
    Ok(())
}

/// The byte offset of word number `word`, and how many of its bytes the block has.
fn word_bytes(b: &(impl Block + ?Sized), word: u32) -> (usize, usize) {
    let off = (word as usize).saturating_mul(WORD_BYTES);
    (off, b.len().saturating_sub(off).min(WORD_BYTES))
}

/// Reads word number `word`. A block whose length is no multiple of eight ends in a short word,
/// whose missing bits read as zeros.
fn load(b: &(impl Block + ?Sized), word: u32) -> Result<u64, Corrupt> {
    let (off, len) = word_bytes(b, word);
    if len == WORD_BYTES {
        return Ok(b.get::<U64>(off)?.get());
    }
    let mut bytes = [0; WORD_BYTES];
    b.read_bytes(off, bytes.get_mut(..len).unwrap_or_default())?;
    Ok(u64::from_le_bytes(bytes))
}

/// Writes word number `word`, as far as the block has it.
fn store(b: &mut (impl BlockMut + ?Sized), word: u32, value: u64) -> Result<(), Corrupt> {
    let (off, len) = word_bytes(b, word);
    let bytes = value.to_le_bytes();
    b.write_bytes(off, bytes.get(..len).unwrap_or_default())
}

/// The bits from `from` on that word number `word` covers, as a mask in that word.
fn mask_from(word: u32, from: u32) -> u64 {
    let skip = from.saturating_sub(word.saturating_mul(WORD_BITS));
    u64::MAX.checked_shl(skip).unwrap_or(0)
}

/// The words that the bits `start..end` touch.
fn words(start: u32, end: u32) -> core::ops::Range<u32> {
    if start >= end {
        0..0
    } else {
        start / WORD_BITS..end.div_ceil(WORD_BITS)
    }
}

/// The first bit in `start..end` that is set once every word was xored with `flip`.
fn find(
    b: &(impl Block + ?Sized),
    start: u32,
    end: u32,
    flip: u64,
) -> Result<Option<u32>, Corrupt> {
    check_range(b, start, u64::from(end))?;
    for word in words(start, end) {
        let hits = (load(b, word)? ^ flip) & mask_from(word, start);
        if hits != 0 {
            let bit = word
                .saturating_mul(WORD_BITS)
                .saturating_add(hits.trailing_zeros());
            return Ok((bit < end).then_some(bit));
        }
    }
    Ok(None)
}

/// Whether `bit` is set.
pub fn test(b: &(impl Block + ?Sized), bit: u32) -> Result<bool, Corrupt> {
    check_range(b, bit, u64::from(bit) + 1)?;
    let byte: u8 = b.get((bit / 8) as usize)?;
    Ok(byte & 1 << (bit % 8) != 0)
}

/// The first clear bit in `start..end`.
pub fn find_zero(b: &(impl Block + ?Sized), start: u32, end: u32) -> Result<Option<u32>, Corrupt> {
    find(b, start, end, u64::MAX)
}

/// The first bit in `start..end` with which `count` clear ones begin, all before `end`; or 64, where `count` is more.
pub fn find_zeros(
    b: &(impl Block + ?Sized),
    start: u32,
    end: u32,
    count: u32,
) -> Result<Option<u32>, Corrupt> {
    check_range(b, start, u64::from(end))?;
    let count = count.clamp(1, WORD_BITS);
    let words = words(start, end);
    let clear = |word| -> Result<u64, Corrupt> {
        if !words.contains(&word) {
            return Ok(0);
        }
        Ok(!load(b, word)? & mask_from(word, start) & !mask_from(word, end))
    };
    let mut next = clear(words.start)?;
    for word in words.clone() {
        let (mut low, mut high) = (next, clear(word.saturating_add(1))?);
        next = high;
        // Bit n of the two words stays where it and those behind it are clear in the bitmap, `have` in all: twice as many with each
        // step, and what is not a power of two by an overlap.
        let mut have: u32 = 1;
        while have < count && low != 0 {
            let step = have.min(count.saturating_sub(have));
            low &= low.wrapping_shr(step) | high.wrapping_shl(WORD_BITS.saturating_sub(step));
            high &= high.wrapping_shr(step);
            have = have.saturating_add(step);
        }
        if low != 0 {
            let bit = word.saturating_mul(WORD_BITS);
            return Ok(Some(bit.saturating_add(low.trailing_zeros())));
        }
    }
    Ok(None)
}

/// The first set bit in `start..end`.
pub fn find_set(b: &(impl Block + ?Sized), start: u32, end: u32) -> Result<Option<u32>, Corrupt> {
    find(b, start, end, 0)
}

/// How many bits from `start` on are clear, up to but not including `end`.
pub fn zero_run(b: &(impl Block + ?Sized), start: u32, end: u32) -> Result<u32, Corrupt> {
    let stop = find_set(b, start, end)?.unwrap_or(end);
    Ok(stop.saturating_sub(start))
}

/// How many of the first `bits` bits are clear.
pub fn count_zeros(b: &(impl Block + ?Sized), bits: u32) -> Result<u32, Corrupt> {
    check_range(b, 0, u64::from(bits))?;
    let mut zeros = 0_u32;
    for word in words(0, bits) {
        let counted = !load(b, word)? & !mask_from(word, bits);
        zeros = zeros.saturating_add(counted.count_ones());
    }
    Ok(zeros)
}

/// Sets the `count` bits from `start` on. If one of them is set already, fails and changes
/// nothing.
pub fn set_run(b: &mut (impl BlockMut + ?Sized), start: u32, count: u32) -> Result<(), Corrupt> {
    let end = run_end(b, start, count)?;
    if let Some(bit) = find_set(b, start, end)? {
        return Err(Corrupt::BitAlreadySet { bit });
    }
    for word in words(start, end) {
        let value = load(b, word)? | mask_from(word, start) & !mask_from(word, end);
        store(b, word, value)?;
    }
    Ok(())
}

/// Clears the `count` bits from `start` on. If one of them is clear already, fails and changes
/// nothing.
pub fn clear_run(b: &mut (impl BlockMut + ?Sized), start: u32, count: u32) -> Result<(), Corrupt> {
    let end = run_end(b, start, count)?;
    if let Some(bit) = find_zero(b, start, end)? {
        return Err(Corrupt::BitAlreadyClear { bit });
    }
    for word in words(start, end) {
        let value = load(b, word)? & !(mask_from(word, start) & !mask_from(word, end));
        store(b, word, value)?;
    }
    Ok(())
}

/// The end of the run, if all of it exists.
fn run_end(b: &(impl Block + ?Sized), start: u32, count: u32) -> Result<u32, Corrupt> {
    let end = u64::from(start) + u64::from(count);
    check_range(b, start, end)?;
    u32::try_from(end).map_err(|_| Corrupt::BitRange {
        start,
        end,
        bits: u64::from(u32::MAX),
    })
}
