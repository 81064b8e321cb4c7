// SPDX-License-Identifier: GPL-2.0

//! Divisions and shifts that cannot panic.
//!
//! Nobody divides by zero or shifts too far here, because the superblock was checked. But the
//! compiler does not know that, and each path to a panic that it leaves in the module is one
//! that a mistake could take. Where an operand makes no sense, these give a value, not a panic.
//! None divides 64 bits, which 32-bit kernels cannot.

/// Quotient and remainder.
pub(super) fn div_rem(n: u32, by: u32) -> (u32, u32) {
    (
        n.checked_div(by).unwrap_or(0),
        n.checked_rem(by).unwrap_or(0),
    )
}

/// Quotient, rounded up.
pub(super) fn div_up(n: u32, by: u32) -> u32 {
    let (quotient, remainder) = div_rem(n, by);
    quotient.saturating_add(u32::from(remainder != 0))
}

/// Two to the power of `bits`.
pub(super) fn power_of_two(bits: u32) -> u64 {
    1_u64.checked_shl(bits).unwrap_or(u64::MAX)
}

/// `n` divided by two to the power of `bits`.
pub(super) fn shr(n: u64, bits: u32) -> u64 {
    n.checked_shr(bits).unwrap_or(0)
}

/// `n` modulo two to the power of `bits`.
pub(super) fn low_bits(n: u64, bits: u32) -> u64 {
    n & power_of_two(bits).wrapping_sub(1)
}

/// `n` divided by two to the power of `bits`, rounded up.
pub(super) fn shr_up(n: u64, bits: u32) -> u64 {
    shr(n, bits).saturating_add(u64::from(low_bits(n, bits) != 0))
}
