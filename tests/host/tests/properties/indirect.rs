// SPDX-License-Identifier: GPL-2.0

//! The block map against a walk through all of it.

use notblk_format::corrupt::Corrupt;
use notblk_format::indirect::{self, Path};
use proptest::prelude::*;

/// All paths in the order of the file blocks, as nested loops give them.
fn all_paths(ptrs: u32) -> Vec<Path> {
    let mut paths = Vec::new();
    for direct in 0..12 {
        paths.push((1, [direct, 0, 0, 0], 12 - direct));
    }
    for i in 0..ptrs {
        paths.push((2, [12, i, 0, 0], ptrs - i));
    }
    for i in 0..ptrs {
        for j in 0..ptrs {
            paths.push((3, [13, i, j, 0], ptrs - j));
        }
    }
    for i in 0..ptrs {
        for j in 0..ptrs {
            for k in 0..ptrs {
                paths.push((4, [14, i, j, k], ptrs - k));
            }
        }
    }
    paths
        .into_iter()
        .map(|(depth, offsets, boundary)| Path {
            depth,
            offsets,
            boundary,
        })
        .collect()
}

/// Few pointers to a block make the whole tree small enough to compare all of it.
#[test]
fn every_path_of_small_trees() {
    for bits in 1..=6 {
        let paths = all_paths(1 << bits);
        for (lblk, expected) in paths.iter().enumerate() {
            assert_eq!(indirect::path(lblk as u32, bits), Ok(*expected), "{lblk}");
        }
        let block = paths.len() as u32;
        let error = Err(Corrupt::FileBlockTooLarge { block });
        assert_eq!(indirect::path(block, bits), error);
    }
}

proptest! {
    /// From each path the file block can be computed, for every block size that there is.
    #[test]
    fn paths_lead_back(lblk: u32, bits in 8_u32..=14) {
        let span = |level| indirect::span(level, bits);
        prop_assert_eq!(span(0), 1);
        prop_assert_eq!(span(1), 1 << bits);
        match indirect::path(lblk, bits) {
            Ok(path) => {
                let [first, rest @ ..] = path.offsets;
                let before = match first {
                    0..12 => u64::from(first),
                    12 => 12,
                    13 => 12 + span(1),
                    14 => 12 + span(1) + span(2),
                    _ => return Err(TestCaseError::fail("no such pointer")),
                };
                let steps = &rest[..path.depth - 1];
                prop_assert!(rest.iter().all(|&i| u64::from(i) < span(1)));
                let inside = steps.iter().fold(0, |n, &i| n << bits | u64::from(i));
                prop_assert_eq!(before + inside, u64::from(lblk));
                let last = steps.last().copied().unwrap_or(first);
                let array = if path.depth == 1 { 12 } else { 1 << bits };
                prop_assert_eq!(last + path.boundary, array);
            }
            Err(e) => {
                prop_assert_eq!(e, Corrupt::FileBlockTooLarge { block: lblk });
                prop_assert!(u64::from(lblk) >= 12 + span(1) + span(2) + span(3));
            }
        }
    }

    /// Widths that no filesystem has give some answer.
    #[test]
    fn no_width_panics(lblk: u32, bits: u32, level: u32) {
        prop_assert!(indirect::span(level, bits) > 0);
        if let Ok(path) = indirect::path(lblk, bits) {
            prop_assert!((1..=4).contains(&path.depth));
        }
    }
}
