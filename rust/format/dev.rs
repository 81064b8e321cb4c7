// SPDX-License-Identifier: GPL-2.0

//! Device numbers of special files, kept where other files have their block map.
//!
//! The first word holds the old 8:8 form; where that is zero, the second holds the 12:20 form.

use super::inode::N_BLOCKS;
use zerocopy::little_endian::U32;

/// Reads major and minor number from `i_block`.
pub fn decode(block: &[U32; N_BLOCKS]) -> (u32, u32) {
    let [old, new, ..] = block;
    match old.get() {
        0 => {
            let dev = new.get();
            ((dev & 0xf_ff00) >> 8, dev & 0xff | dev >> 12 & 0xf_ff00)
        }
        dev => (dev >> 8 & 0xff, dev & 0xff),
    }
}

/// The `i_block` for a major (below 4096) and a minor number (below 1048576).
pub fn encode(major: u32, minor: u32) -> [U32; N_BLOCKS] {
    let mut block = [U32::ZERO; N_BLOCKS];
    let [old, new, ..] = &mut block;
    if major < 256 && minor < 256 {
        old.set(major << 8 | minor);
    } else {
        new.set((major & 0xfff) << 8 | minor & 0xff | (minor & 0xf_ff00) << 12);
    }
    block
}
