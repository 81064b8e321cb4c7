// SPDX-License-Identifier: GPL-2.0

//! Numbers that come again: the same from the same seed, on every machine and for ever, or kept seeds would mean nothing.

/// A generator (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed, and a word that says what for: two purposes of one seed have nothing in common.
    pub fn new(seed: u64, purpose: &str) -> Self {
        // FNV-1a
        let word = purpose.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mut random = Self(word);
        random.0 ^= seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        random.word();
        random
    }

    /// The next number.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `limit`, or 0.
    pub fn below(&mut self, limit: usize) -> usize {
        match limit {
            0 => 0,
            // CAST: below `limit`, which is a usize.
            _ => (self.word() % limit as u64) as usize,
        }
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    /// An index of these, each as likely as it weighs.
    pub fn weighed(&mut self, weights: &[usize]) -> usize {
        let mut place = self.below(weights.iter().sum());
        for (index, &weight) in weights.iter().enumerate() {
            match place.checked_sub(weight) {
                None => return index,
                Some(left) => place = left,
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kept seeds depend on it.
    #[test]
    fn the_numbers_are_those_of_ever() {
        let mut random = Random::new(1, "x");
        let first = random.word();
        assert_eq!(Random::new(1, "x").word(), first);
        assert_ne!(Random::new(2, "x").word(), first);
        assert_ne!(Random::new(1, "y").word(), first);
    }

    #[test]
    fn what_weighs_nothing_never_comes() {
        let mut random = Random::new(7, "");
        for _ in 0..1000 {
            assert_ne!(random.weighed(&[3, 0, 5]), 1);
        }
        assert_eq!(random.below(0), 0);
        assert_eq!(random.pick::<u8>(&[]), None);
    }
}
