// SPDX-License-Identifier: GPL-2.0

//! Errnos above 34, as [`Error`].
//!
//! C: `include/uapi/asm-generic/errno.h`. The kernel crate names them since 7.3; before, it has no way to make an `Error`
//! that is a constant. Whoever needs one takes it from here.

#[cfg(notblk_has_errno_names)]
pub(crate) use kernel::error::code::{
    ENAMETOOLONG, ENODATA, ENOTEMPTY, EOPNOTSUPP, ESTALE, EUCLEAN,
};

#[cfg(not(notblk_has_errno_names))]
pub(crate) use own::{ENAMETOOLONG, ENODATA, ENOTEMPTY, EOPNOTSUPP, ESTALE, EUCLEAN};

#[cfg(not(notblk_has_errno_names))]
mod own {
    use crate::sys::bindings;
    use core::{mem::transmute, num::NonZeroI32};
    use kernel::error::{code, Error};

    /// The `Error` for an errno of C's.
    const fn error(errno: u32) -> Error {
        // An `Error` is a `NonZeroI32` and nothing else: the compiler checks the size, this its meaning.
        // SAFETY: as just said.
        let known: NonZeroI32 = unsafe { transmute(code::ERANGE) };
        // CAST: errnos are small.
        assert!(known.get() == -(bindings::ERANGE as i32));
        let errno = match NonZeroI32::new(-(errno as i32)) {
            Some(errno) if errno.get() < 0 && errno.get() >= -(bindings::MAX_ERRNO as i32) => errno,
            _ => panic!("not an errno"),
        };
        // SAFETY: a negative errno is all that an `Error` holds.
        unsafe { transmute(errno) }
    }

    pub(crate) const ENAMETOOLONG: Error = error(bindings::ENAMETOOLONG);
    pub(crate) const ENODATA: Error = error(bindings::ENODATA);
    pub(crate) const ENOTEMPTY: Error = error(bindings::ENOTEMPTY);
    pub(crate) const EOPNOTSUPP: Error = error(bindings::EOPNOTSUPP);
    pub(crate) const ESTALE: Error = error(bindings::ESTALE);
    pub(crate) const EUCLEAN: Error = error(bindings::EUCLEAN);
}
