// SPDX-License-Identifier: GPL-2.0

//! The driver's tracepoints, system `notblk`: `rust/sys/trace.h` says what is in them.
//!
//! C: `include/linux/tracepoint.h`. One that is not enabled costs a call and a jump that the kernel has patched.

use super::{
    hold::{Owner, Place},
    iomap::Mapping,
    FileSystem, Inode,
};
use crate::sys::bindings;
use kernel::prelude::*;

impl<T: FileSystem> Inode<T> {
    /// `notblk_fallback`: what is left of a direct write has come to a stage of the fallback.
    pub(crate) fn trace_fallback(&self, owner: Owner, stage: &'static CStr, pos: u64, len: u64) {
        // SAFETY: valid by invariant; the text is static.
        unsafe {
            bindings::notblk_trace_fallback(
                self.as_raw(),
                owner.tid(),
                stage.as_char_ptr(),
                pos,
                len,
            );
        }
    }

    /// `notblk_drain`: a drain begins, or ends that has waited so many nanoseconds.
    pub(crate) fn trace_drain(&self, waited: Option<u64>) {
        // SAFETY: valid by invariant.
        unsafe {
            bindings::notblk_trace_drain(self.as_raw(), waited.is_some(), waited.unwrap_or(0));
        }
    }

    /// `notblk_map`: what iomap has been answered that asked for `len` bytes from `pos` on.
    pub(super) fn trace_map<C>(&self, pos: u64, len: u64, answer: &Result<(Mapping, C)>) {
        // SAFETY: always.
        if unsafe { bindings::notblk_trace_map_enabled() } {
            self.trace_answer(pos, len, answer.as_ref().map(|(mapping, _)| *mapping));
        }
    }

    #[cold]
    fn trace_answer(&self, pos: u64, len: u64, answer: Result<Mapping, &Error>) {
        let sb = self.sb();
        let (text, len, block) = match answer {
            Ok(Mapping::Hole { length, .. }) => (c"hole", length, 0),
            Ok(Mapping::Reserved { length, .. }) => (c"reserved", length, 0),
            Ok(Mapping::Mapped {
                length, addr, new, ..
            }) => {
                let text = if new { c"new" } else { c"mapped" };
                (text, length, sb.block_of(addr))
            }
            Err(e) if *e == ENOTBLK => (c"notblk", len, 0),
            Err(e) if *e == EAGAIN => (c"again", len, 0),
            Err(_) => (c"error", len, 0),
        };
        // SAFETY: valid by invariant; the text is static.
        unsafe { bindings::notblk_trace_map(self.as_raw(), pos, len, text.as_char_ptr(), block) };
    }
}

/// Who is parked or let go, and by which rule.
pub(super) struct Held<'a> {
    /// The mount's device (`s_dev`).
    pub(super) dev: u32,
    pub(super) rule: u64,
    pub(super) point: &'static CStr,
    pub(super) place: &'a Place,
}

impl Held<'_> {
    /// `notblk_hold`. In any context.
    pub(super) fn hold(&self) {
        self.emit(bindings::notblk_trace_hold);
    }

    /// `notblk_release`. In any context.
    pub(super) fn release(&self) {
        self.emit(bindings::notblk_trace_release);
    }

    fn emit(&self, event: unsafe extern "C" fn(u32, u64, c_int, u64, *const c_char, u64, u64)) {
        let place = self.place;
        // SAFETY: both functions take numbers and a text, which is static.
        unsafe {
            event(
                self.dev,
                place.ino,
                place.owner.tid(),
                self.rule,
                self.point.as_char_ptr(),
                place.pos,
                place.len,
            );
        }
    }
}
