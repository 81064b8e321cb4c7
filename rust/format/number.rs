// SPDX-License-Identifier: GPL-2.0

//! Numbers as mount options have them: decimal, `0x` and hexadecimal, or `0` and octal. C: `kstrtouint` with base 0, which
//! `fs_param_is_u32` asks.

/// A number, of which one `+` before and one newline after are no part. `None` for what is none, or does not fit.
pub fn parse_u32(text: &[u8]) -> Option<u32> {
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let (radix, digits) = match text {
        [b'0', b'x' | b'X', hex @ ..] => (16, hex),
        // Of a zero alone the zero is the number.
        [b'0', ..] => (8, text),
        _ => (10, text),
    };
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u32, |number, &byte| {
        let digit = char::from(byte).to_digit(radix)?;
        number.checked_mul(radix)?.checked_add(digit)
    })
}
