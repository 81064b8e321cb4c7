// SPDX-License-Identifier: GPL-2.0

//! Bitmaps against a vector of `bool`.

use notblk_format::bitmap;
use notblk_format::corrupt::Corrupt;
use proptest::prelude::*;

fn model(bytes: &[u8]) -> Vec<bool> {
    (0..bytes.len() * 8)
        .map(|bit| bytes[bit / 8] >> (bit % 8) & 1 == 1)
        .collect()
}

/// Bitmaps of any length, short last words included, that are mostly runs: single random bits
/// would never give a run of more than a few.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => Just(0_u8), 4 => Just(0xff_u8), 1 => any::<u8>()];
    prop::collection::vec(byte, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn searches(bytes in bytes(), start in 0_u32..700, end in 0_u32..700) {
        let bits = model(&bytes);
        let b = bytes.as_slice();
        let found = |value| {
            bits.get(start as usize..end as usize)
                .map(|range| range.iter().position(|&bit| bit == value).map(|i| start + i as u32))
        };
        if let (Some(zero), Some(set)) = (found(false), found(true)) {
            prop_assert_eq!(bitmap::find_zero(b, start, end), Ok(zero));
            prop_assert_eq!(bitmap::find_set(b, start, end), Ok(set));
            prop_assert_eq!(bitmap::zero_run(b, start, end), Ok(set.unwrap_or(end) - start));
        } else {
            let error = Corrupt::BitRange { start, end: end.into(), bits: bits.len() as u64 };
            prop_assert_eq!(bitmap::find_zero(b, start, end), Err(error));
            prop_assert_eq!(bitmap::find_set(b, start, end), Err(error));
            prop_assert_eq!(bitmap::zero_run(b, start, end), Err(error));
        }
    }

    #[test]
    fn searches_for_many(bytes in bytes(), start in 0_u32..700, end in 0_u32..700, count in 0_u32..80) {
        let bits = model(&bytes);
        let found = bits.get(start as usize..end as usize).map(|range| {
            let mut runs = range.windows(count.clamp(1, 64) as usize);
            runs.position(|run| run.iter().all(|&bit| !bit)).map(|i| start + i as u32)
        });
        prop_assert_eq!(bitmap::find_zeros(bytes.as_slice(), start, end, count).ok(), found);
    }

    #[test]
    fn counts_and_tests(bytes in bytes(), bit in 0_u32..700) {
        let bits = model(&bytes);
        let b = bytes.as_slice();
        prop_assert_eq!(bitmap::test(b, bit).ok(), bits.get(bit as usize).copied());
        let zeros = bits.get(..bit as usize).map(|range| range.iter().filter(|bit| !**bit).count());
        prop_assert_eq!(bitmap::count_zeros(b, bit).ok(), zeros.map(|n| n as u32));
    }

    #[test]
    fn runs_change_all_or_nothing(
        bytes in bytes(), start in 0_u32..700, count in 0_u32..300, value: bool,
    ) {
        let mut bits = model(&bytes);
        let mut changed = bytes.clone();
        let b = changed.as_mut_slice();
        let result = if value {
            bitmap::set_run(b, start, count)
        } else {
            bitmap::clear_run(b, start, count)
        };
        let len = bits.len();
        let expected = match bits.get_mut(start as usize..(start + count) as usize) {
            None => {
                let (end, bits) = (u64::from(start + count), len as u64);
                Err(Corrupt::BitRange { start, end, bits })
            }
            Some(range) => match range.iter().position(|&bit| bit == value) {
                Some(i) if value => Err(Corrupt::BitAlreadySet { bit: start + i as u32 }),
                Some(i) => Err(Corrupt::BitAlreadyClear { bit: start + i as u32 }),
                None => {
                    range.fill(value);
                    Ok(())
                }
            },
        };
        prop_assert_eq!(result, expected);
        prop_assert_eq!(model(&changed), bits);
    }

    #[test]
    fn no_argument_panics(bytes in bytes(), a: u32, b: u32) {
        let mut bytes = bytes;
        let (a, b) = (a | 0xffff_0000, b | 0xffff_0000);
        prop_assert!(bitmap::test(bytes.as_slice(), a).is_err());
        prop_assert!(bitmap::find_zero(bytes.as_slice(), a.min(b), a.max(b)).is_err());
        prop_assert!(bitmap::find_zeros(bytes.as_slice(), a.min(b), a.max(b), a).is_err());
        prop_assert!(bitmap::count_zeros(bytes.as_slice(), a).is_err());
        prop_assert!(bitmap::set_run(bytes.as_mut_slice(), a, b).is_err());
        prop_assert!(bitmap::clear_run(bytes.as_mut_slice(), a, b).is_err());
    }
}
