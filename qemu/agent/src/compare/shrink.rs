// SPDX-License-Identifier: GPL-2.0
//! The search for a short sequence that still shows a difference: delta debugging.

use anyhow::Result;

/// Takes away what is not needed: pieces of half the length first, then of a quarter, down to single items, from the end to the
/// beginning; until no single item can be spared, or `goes_on` says no.
///
/// `shows` is asked of shorter and shorter sequences only.
pub fn shrink<T: Clone>(
    items: Vec<T>,
    mut goes_on: impl FnMut(usize) -> bool,
    mut shows: impl FnMut(&[T]) -> Result<bool>,
) -> Result<Vec<T>> {
    let mut items = items;
    let mut piece = items.len().div_ceil(2).max(1);
    loop {
        let mut spared = false;
        let mut end = items.len();
        while end > 0 {
            if !goes_on(items.len()) {
                return Ok(items);
            }
            let start = end.saturating_sub(piece);
            let mut fewer = items[..start].to_vec();
            fewer.extend_from_slice(&items[end..]);
            if shows(&fewer)? {
                items = fewer;
                spared = true;
            }
            end = start;
        }
        match (piece, spared) {
            (1, false) => return Ok(items),
            // What one could not be spared before may be now.
            (1, true) => {}
            _ => piece = piece.div_ceil(2).min(items.len().max(1)),
        }
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    fn shrunk(length: u32, needed: &[u32]) -> (Vec<u32>, usize) {
        let mut tries = 0;
        let shows = |items: &[u32]| {
            tries += 1;
            Ok(needed.iter().all(|item| items.contains(item)))
        };
        let items = shrink((1..=length).collect(), |_| true, shows).unwrap();
        (items, tries)
    }

    #[test]
    fn only_what_is_needed_stays() {
        assert_eq!(shrunk(1000, &[3, 500, 1000]).0, [3, 500, 1000]);
        assert_eq!(shrunk(7, &[7]).0, [7]);
        assert_eq!(shrunk(1, &[1]).0, [1]);
        assert!(shrunk(5, &[]).0.is_empty());
    }

    #[test]
    fn few_tries_are_enough() {
        let (_, tries) = shrunk(100_000, &[17, 99_999]);
        assert!(tries < 150, "{tries}");
    }

    #[test]
    fn it_ends_when_it_is_told_to() {
        let items = shrink(vec![1, 2, 3, 4], |left| left > 2, |_| Ok(true)).unwrap();
        assert_eq!(items.len(), 2);
    }
}
