// SPDX-License-Identifier: GPL-2.0

//! Errnos above 34, as [`Error`].
//!
//! C: `include/uapi/asm-generic/errno.h`. The kernel crate names them since 7.3; before, it has no way to make an `Error`
//! that is a constant. Whoever needs one takes it from here.

#[cfg(notblk_has_errno_names)]
pub(crate) use kernel::error::code::{
    ENAMETOOLONG, ENODATA, ENOTEMPTY, EOPNOTSUPP, ESHUTDOWN, ESTALE, EUCLEAN,
};

#[cfg(not(notblk_has_errno_names))]
pub(crate) use own::{ENAMETOOLONG, ENODATA, ENOTEMPTY, EOPNOTSUPP, ESHUTDOWN, ESTALE, EUCLEAN};

#[cfg(not(notblk_has_errno_names))]
mod own {
    use crate::sys::bindings;
    use core::{mem::transmute, num::NonZeroI32};
    use kernel::error::{code, Error};

    /// The `Error` for an errno of C's. A constant, not a function: what is checked here is checked by the compiler, and nothing
    /// of it is in the module.
    struct Known<const ERRNO: u32>;

    impl<const ERRNO: u32> Known<ERRNO> {
        const ERROR: Error = {
            // An `Error` is a `NonZeroI32` and nothing else: the compiler checks the size, this its meaning.
            // SAFETY: as just said.
            let known: NonZeroI32 = unsafe { transmute(code::ERANGE) };
            // CAST: errnos are small.
            assert!(known.get() == -(bindings::ERANGE as i32));
            assert!(ERRNO > 0 && ERRNO <= bindings::MAX_ERRNO);
            // SAFETY: a negative errno is all that an `Error` holds, and just asserted. CAST: as above.
            unsafe { transmute(-(ERRNO as i32)) }
        };
    }

    pub(crate) const ENAMETOOLONG: Error = Known::<{ bindings::ENAMETOOLONG }>::ERROR;
    pub(crate) const ENODATA: Error = Known::<{ bindings::ENODATA }>::ERROR;
    pub(crate) const ENOTEMPTY: Error = Known::<{ bindings::ENOTEMPTY }>::ERROR;
    pub(crate) const EOPNOTSUPP: Error = Known::<{ bindings::EOPNOTSUPP }>::ERROR;
    pub(crate) const ESHUTDOWN: Error = Known::<{ bindings::ESHUTDOWN }>::ERROR;
    pub(crate) const ESTALE: Error = Known::<{ bindings::ESTALE }>::ERROR;
    pub(crate) const EUCLEAN: Error = Known::<{ bindings::EUCLEAN }>::ERROR;
}
