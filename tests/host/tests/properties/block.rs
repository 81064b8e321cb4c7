// SPDX-License-Identifier: GPL-2.0

//! Copying in and out of a block.

use notblk_format::block::{Block, BlockMut};
use notblk_format::corrupt::Corrupt;
use proptest::prelude::*;
use zerocopy::little_endian::{U32, U64};

/// Offsets inside, around the end of, and far outside a small block.
fn offset() -> impl Strategy<Value = usize> {
    prop_oneof![0_usize..300, usize::MAX - 20..=usize::MAX]
}

proptest! {
    #[test]
    fn values_go_where_slices_say(
        bytes in prop::collection::vec(any::<u8>(), 0..256), off in offset(), value: u64,
    ) {
        let inside = off.checked_add(8).is_some_and(|end| end <= bytes.len());
        let mut copy = bytes.clone();
        let block: &mut [u8] = &mut copy;
        let put = block.put(off, &U64::new(value));
        let got = Block::get::<U64>(block, off);
        if inside {
            prop_assert_eq!(put, Ok(()));
            prop_assert_eq!(got.map(U64::get), Ok(value));
            prop_assert_eq!(&copy[off..off + 8], &value.to_le_bytes());
            prop_assert_eq!(&copy[..off], &bytes[..off]);
            prop_assert_eq!(&copy[off + 8..], &bytes[off + 8..]);
        } else {
            let error = Corrupt::OutOfBlock { offset: off, len: 8, block_len: bytes.len() };
            prop_assert_eq!(put, Err(error));
            prop_assert_eq!(got.map(U64::get), Err(error));
            prop_assert_eq!(copy, bytes);
        }
    }

    #[test]
    fn fill_fills_the_range_or_nothing(
        len in 0_usize..256, off in offset(), count in offset(), byte: u8,
    ) {
        let mut bytes = vec![!byte; len];
        let result = BlockMut::fill(bytes.as_mut_slice(), off, count, byte);
        let mut expected = vec![!byte; len];
        match expected.get_mut(off..off.saturating_add(count)) {
            Some(range) => {
                range.fill(byte);
                prop_assert_eq!(result, Ok(()));
            }
            None => prop_assert!(result.is_err()),
        }
        prop_assert_eq!(bytes, expected);
    }
}

#[test]
fn values_are_little_endian() {
    let bytes: &[u8] = &[0x78, 0x56, 0x34, 0x12];
    assert_eq!(Block::get::<U32>(bytes, 0).map(U32::get), Ok(0x1234_5678));
}
