// SPDX-License-Identifier: GPL-2.0

//! Block maps, bitmaps, the orphan list, numbers.

use super::Input;
use notblk_format::bitmap;
use notblk_format::indirect::{path, span, DIRECT_BLOCKS};
use notblk_format::number::parse_u32;
use notblk_format::orphan;
use std::collections::BTreeSet;

/// The way to a file block leads to that block and no other.
pub fn indirect(data: &[u8]) {
    let mut input = Input(data);
    let bits = 8 + u32::from(input.u8() % 7);
    let block = input.u32();
    let Ok(path) = path(block, bits) else {
        return;
    };
    let used = &path.offsets[..path.depth];
    assert!(path.boundary > 0);
    assert!(used[1..].iter().all(|&offset| offset < 1 << bits));
    let level = path.depth as u32 - 1;
    let before: u64 = (1..level).map(|level| span(level, bits)).sum();
    let mut found = match level {
        0 => u64::from(used[0]),
        _ => u64::from(DIRECT_BLOCKS) + before,
    };
    for (step, &offset) in used.iter().enumerate().skip(1) {
        found += u64::from(offset) * span(level - step as u32, bits);
    }
    assert_eq!(found, u64::from(block));
}

/// A bitmap read word by word is what it is bit by bit.
pub fn bitmap(data: &[u8]) {
    let mut input = Input(data);
    let (start, end, count) = (
        u32::from(input.u16()),
        u32::from(input.u16()),
        u32::from(input.u16()),
    );
    let mut block = input.0.to_vec();
    let bits = block.len() as u32 * 8;
    let bit = |block: &[u8], bit: u32| block[bit as usize / 8] & 1 << (bit % 8) != 0;
    match bitmap::find_zero(block.as_slice(), start, end) {
        Ok(found) => {
            assert!(start <= end && end <= bits);
            assert_eq!(found, (start..end).find(|&at| !bit(&block, at)));
        }
        Err(_) => assert!(start > end || end > bits),
    }
    if let Ok(run) = bitmap::zero_run(block.as_slice(), start, end) {
        let naive = (start..end).take_while(|&at| !bit(&block, at)).count();
        assert_eq!(run as usize, naive);
    }
    if let Ok(found) = bitmap::find_zeros(block.as_slice(), start, end, count) {
        let many = count.clamp(1, 64);
        let naive =
            (start..end).find(|&at| end - at >= many && (at..at + many).all(|at| !bit(&block, at)));
        assert_eq!(found, naive);
    }
    if let Ok(zeros) = bitmap::count_zeros(block.as_slice(), end) {
        assert_eq!(
            zeros as usize,
            (0..end).filter(|&at| !bit(&block, at)).count()
        );
    }
    let before = block.clone();
    match bitmap::set_run(block.as_mut_slice(), start, count) {
        Ok(()) => {
            assert!((start..start + count).all(|at| !bit(&before, at) && bit(&block, at)));
            bitmap::clear_run(block.as_mut_slice(), start, count).expect("what was set");
        }
        Err(_) => assert!(count > 0 || start > bits),
    }
    assert_eq!(block, before);
    if bitmap::clear_run(block.as_mut_slice(), start, count).is_ok() {
        bitmap::set_run(block.as_mut_slice(), start, count).expect("what was cleared");
        assert_eq!(block, before);
    }
}

/// A list of orphans ends, or is found to be a loop.
pub fn orphans(data: &[u8]) {
    let first = u32::from(data.first().copied().unwrap_or(0));
    let next = |ino: u32| u32::from(data.get(ino as usize).copied().unwrap_or(0));
    let mut seen = BTreeSet::new();
    let mut ino = first;
    while ino != 0 && seen.insert(ino) {
        ino = next(ino);
    }
    let expected = (ino == 0).then_some(seen.len() as u32);
    let mut looks = 0;
    let found = orphan::walk(first, |ino| -> Result<u32, ()> {
        looks += 1;
        Ok(next(ino))
    });
    assert_eq!(found, Ok(expected));
    assert!(
        looks <= 3 * seen.len(),
        "{looks} looks at {} inodes",
        seen.len()
    );
}

/// Numbers in text: the same as Rust's own, where that takes them.
pub fn number(data: &[u8]) {
    let found = parse_u32(data);
    let text = std::str::from_utf8(data).unwrap_or("");
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if is_decimal {
        assert_eq!(found, text.parse().ok());
    }
}
