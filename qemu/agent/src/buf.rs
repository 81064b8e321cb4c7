// SPDX-License-Identifier: GPL-2.0
//! Aligned buffers for direct I/O, and the stamps that tell whose data a block holds.

use std::ops::{Deref, DerefMut};

/// Enough for every block size that the driver takes.
pub const ALIGN: usize = 4096;

/// Heap memory whose start is aligned for direct I/O.
pub struct Buffer {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Buffer {
    /// `length` zero bytes.
    pub fn new(length: usize) -> Buffer {
        let memory = vec![0; length + ALIGN];
        let start = memory.as_ptr().align_offset(ALIGN);
        Buffer {
            memory,
            start,
            length,
        }
    }

    /// A copy of `data`.
    pub fn from(data: &[u8]) -> Buffer {
        let mut buffer = Buffer::new(data.len());
        buffer.copy_from_slice(data);
        buffer
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

/// Fills a block with one word over and over, so that a torn or misplaced write shows.
pub fn stamp(block: &mut [u8], word: u64) {
    for piece in block.chunks_exact_mut(8) {
        piece.copy_from_slice(&word.to_le_bytes());
    }
}

/// A buffer full of one word.
pub fn stamped(length: u64, word: u64) -> Buffer {
    let mut buffer = Buffer::new(length as usize);
    stamp(&mut buffer, word);
    buffer
}

/// The word that fills the block; `None` where it is torn.
pub fn stamp_of(block: &[u8]) -> Option<u64> {
    let mut words = block.chunks_exact(8);
    let first = words.next()?;
    words.all(|word| word == first).then(|| {
        first
            .iter()
            .rev()
            .fold(0, |word, &byte| word << 8 | u64::from(byte))
    })
}

/// A small generator of random numbers (SplitMix64): the tests need repeatable, not good, ones.
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Fills `data`.
    pub fn fill(&mut self, data: &mut [u8]) {
        for piece in data.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            piece.copy_from_slice(&word[..piece.len()]);
        }
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn buffers_are_aligned() {
        for length in [512, 4096, 8192] {
            let buffer = Buffer::new(length);
            assert_eq!(buffer.as_ptr().align_offset(ALIGN), 0);
            assert_eq!(buffer.len(), length);
        }
    }

    #[test]
    fn a_stamp_is_read_back_and_a_torn_one_refused() {
        let mut block = vec![0; 1024];
        stamp(&mut block, 0x0102_0304_0506_0708);
        assert_eq!(stamp_of(&block), Some(0x0102_0304_0506_0708));
        block[512] ^= 1;
        assert_eq!(stamp_of(&block), None);
    }
}
