// SPDX-License-Identifier: GPL-2.0

//! Numbers in text, as the kernel reads them.

use notblk_format::number::parse_u32;
use proptest::prelude::*;

/// What `kstrtouint` with base 0 answers.
#[test]
fn as_the_kernel_reads_them() {
    for (text, number) in [
        ("0", 0),
        ("00", 0),
        ("7", 7),
        ("07", 7),
        ("010", 8),
        ("0x10", 16),
        ("0XfF", 255),
        ("0x0", 0),
        ("+12", 12),
        ("+0x12", 18),
        ("12\n", 12),
        ("4294967295", u32::MAX),
        ("037777777777", u32::MAX),
        ("0xffffffff", u32::MAX),
        ("0x0000000000001", 1),
    ] {
        assert_eq!(parse_u32(text.as_bytes()), Some(number), "{text:?}");
    }
    for text in [
        "",
        "+",
        "-1",
        "++1",
        "x",
        "0x",
        "0xg",
        "0x 1",
        "08",
        "0b1",
        "0o7",
        " 1",
        "1 ",
        "1_0",
        "1\n\n",
        "\n",
        "+-1",
        "0x+1",
        "4294967296",
        "040000000000",
        "0x100000000",
        "99999999999999999999",
        "1a",
        "1.0",
    ] {
        assert_eq!(parse_u32(text.as_bytes()), None, "{text:?}");
    }
}

proptest! {
    #[test]
    fn every_way_to_write_it(number: u32) {
        for text in [format!("{number}"), format!("{number:#x}"), format!("0{number:o}"), format!("0X{number:X}")] {
            prop_assert_eq!(parse_u32(text.as_bytes()), Some(number));
        }
    }

    #[test]
    fn nothing_panics(text: Vec<u8>) {
        let _ = parse_u32(&text);
    }
}
