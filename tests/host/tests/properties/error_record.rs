// SPDX-License-Identifier: GPL-2.0

//! What the superblock remembers of errors.

use notblk_format::error_record::{join_time, split_time, ErrorRecord, Unrecorded, CODE_CORRUPTED};
use notblk_format::superblock::{RawSuperBlock, STATE_ERROR, STATE_VALID};
use proptest::prelude::*;
use zerocopy::FromZeros;

fn record(time: u64, line: u32) -> ErrorRecord {
    ErrorRecord {
        time,
        ino: line + 1,
        block: u64::from(line) + 2,
        func: ErrorRecord::func(b"balloc.rs"),
        line,
        code: CODE_CORRUPTED,
    }
}

#[test]
fn the_first_stays_and_the_last_follows() {
    let mut raw = RawSuperBlock::new_zeroed();
    raw.state.set(STATE_VALID);
    Unrecorded::NONE.store(&mut raw);
    assert_eq!((raw.state.get(), raw.error_count.get()), (STATE_VALID, 0));

    let mut errors = Unrecorded::default();
    errors.add(record(0x1_0000_0005, 10));
    errors.add(record(0x1_0000_0006, 20));
    errors.store(&mut raw);
    assert_eq!(raw.state.get(), STATE_VALID | STATE_ERROR);
    assert_eq!(raw.error_count.get(), 2);
    let first = join_time(raw.first_error_time, raw.first_error_time_hi);
    assert_eq!(first, 0x1_0000_0005);
    assert_eq!(raw.first_error_line.get(), 10);
    assert_eq!(raw.first_error_ino.get(), 11);
    assert_eq!(raw.first_error_block.get(), 12);
    assert_eq!(&raw.first_error_func[..10], b"balloc.rs\0");
    assert_eq!(raw.first_error_errcode, CODE_CORRUPTED);
    assert_eq!(raw.last_error_line.get(), 20);

    let mut errors = Unrecorded::default();
    errors.add(record(0x1_0000_0009, 30));
    errors.store(&mut raw);
    assert_eq!(raw.error_count.get(), 3);
    assert_eq!(raw.first_error_line.get(), 10);
    assert_eq!(raw.last_error_line.get(), 30);
    let last = join_time(raw.last_error_time, raw.last_error_time_hi);
    assert_eq!(last, 0x1_0000_0009);
}

#[test]
fn a_count_does_not_wrap() {
    let mut raw = RawSuperBlock::new_zeroed();
    raw.error_count.set(u32::MAX);
    let mut errors = Unrecorded::default();
    errors.add(record(1, 1));
    errors.store(&mut raw);
    assert_eq!(raw.error_count.get(), u32::MAX);
}

proptest! {
    #[test]
    fn names_end_with_a_zero(name in prop::collection::vec(1_u8.., 0..100)) {
        let func = ErrorRecord::func(&name);
        let kept = name.len().min(31);
        prop_assert_eq!(&func[..kept], &name[..kept]);
        prop_assert!(func[kept..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn times_have_forty_bits(time: u64) {
        let (low, high) = split_time(time);
        prop_assert_eq!(join_time(low, high), time.min((1 << 40) - 1));
    }
}
