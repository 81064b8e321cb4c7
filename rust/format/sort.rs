// SPDX-License-Identifier: GPL-2.0

//! Sorting without a panic: that of the standard library has one for orders that are none.

/// Sorts by `less`; items of which neither is less come in any order. Takes no memory, and n log n steps.
pub fn sort<T>(items: &mut [T], less: impl Fn(&T, &T) -> bool) {
    let len = items.len();
    // A heap, the largest item at its top, which then goes to the end.
    for root in (0..len / 2).rev() {
        sift(items, root, len, &less);
    }
    for end in (1..len).rev() {
        swap(items, 0, end);
        sift(items, 0, end, &less);
    }
}

/// Makes the items below `end` a heap again, from `root` down.
fn sift<T>(items: &mut [T], mut root: usize, end: usize, less: &impl Fn(&T, &T) -> bool) {
    let is_less = |items: &[T], a: usize, b: usize| match (items.get(a), items.get(b)) {
        (Some(a), Some(b)) => less(a, b),
        _ => false,
    };
    loop {
        let left = root.saturating_mul(2).saturating_add(1);
        let right = left.saturating_add(1);
        if left >= end {
            return;
        }
        let child = if right < end && is_less(items, left, right) {
            right
        } else {
            left
        };
        if !is_less(items, root, child) {
            return;
        }
        swap(items, root, child);
        root = child;
    }
}

/// Exchanges two items, the first of which lies before the second.
fn swap<T>(items: &mut [T], before: usize, behind: usize) {
    if let Some((left, right)) = items.split_at_mut_checked(behind) {
        if let (Some(a), Some(b)) = (left.get_mut(before), right.first_mut()) {
            core::mem::swap(a, b);
        }
    }
}
