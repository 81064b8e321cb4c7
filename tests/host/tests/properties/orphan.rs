// SPDX-License-Identifier: GPL-2.0

//! The orphan list: every one ends, or is found not to.

use notblk_format::orphan::walk;
use proptest::prelude::*;

/// Walks the list that `next` is: inode `n` names `next[n]`. Answers how often an inode was looked at, too.
fn run(first: u32, next: &[u32]) -> (Result<Option<u32>, u32>, usize) {
    let mut looks = 0;
    let result = walk(first, |ino| {
        looks += 1;
        next.get(ino as usize).copied().ok_or(ino)
    });
    (result, looks)
}

#[test]
fn small_lists() {
    assert_eq!(run(0, &[]), (Ok(Some(0)), 0));
    assert_eq!(run(1, &[0, 0]).0, Ok(Some(1)));
    assert_eq!(run(1, &[0, 3, 0, 2]).0, Ok(Some(3)));
    assert_eq!(run(1, &[0, 1]).0, Ok(None));
    assert_eq!(run(1, &[0, 2, 1]).0, Ok(None));
    assert_eq!(run(1, &[0, 2, 3, 2]).0, Ok(None));
    assert_eq!(run(1, &[0, 2, 9]).0, Err(9));
}

proptest! {
    /// Against a walk that remembers where it was.
    #[test]
    fn any_list(next in prop::collection::vec(0u32..60, 1..50), first in 0u32..60) {
        let mut seen = Vec::new();
        let mut ino = first;
        let expected = loop {
            if ino == 0 {
                break Ok(Some(seen.len() as u32));
            }
            if seen.contains(&ino) {
                break Ok(None);
            }
            match next.get(ino as usize) {
                None => break Err(ino),
                Some(&after) => {
                    seen.push(ino);
                    ino = after;
                }
            }
        };
        let (found, looks) = run(first, &next);
        prop_assert_eq!(found, expected);
        prop_assert!(looks <= 3 * seen.len() + 1, "{} looks at {} inodes", looks, seen.len());
    }
}
