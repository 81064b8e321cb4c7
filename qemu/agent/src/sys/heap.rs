// SPDX-License-Identifier: GPL-2.0
//! The C library's heap, which Rust's is.

use std::os::raw::c_int;

/// From now on the heap grows by so many bytes at a time, for all threads alike, and gives nothing back; so much is there at once.
pub fn keep(bytes: usize) {
    let size = c_int::try_from(bytes).unwrap_or(c_int::MAX);
    for (parameter, value) in [
        (libc::M_ARENA_MAX, 1),
        (libc::M_MMAP_THRESHOLD, size),
        (libc::M_TRIM_THRESHOLD, c_int::MAX),
        (libc::M_TOP_PAD, size),
    ] {
        // SAFETY: only sets a parameter. What the library does not take stays as it was.
        unsafe { libc::mallopt(parameter, value) };
    }
    // Above the library's first piece of the heap.
    drop(vec![1_u8; 4 << 20]);
}
