// SPDX-License-Identifier: GPL-2.0

//! `struct fs_context`: mount options and the way to a superblock.
//!
//! C: `include/linux/fs_context.h`, `fs/fs_context.c`; `ext2_init_fs_context` for the use.

use super::{quota, super_block, to_result, FileSystem, SuperBlock};
use crate::sys::bindings;
use core::marker::PhantomData;
use kernel::{error::from_result, prelude::*};

/// The value of a mount option as VFS hands it over.
pub(crate) enum Value<'a> {
    /// `option` alone.
    Flag,
    /// `option=text`.
    Text(&'a [u8]),
}

/// Where messages for the caller of `mount(2)` or `fsconfig(2)` go; they also reach the kernel log.
pub(crate) struct Log(*mut bindings::fs_context);

impl Log {
    /// Says why an option is refused, and answers `EINVAL` for the caller to return.
    pub(crate) fn invalid(&self, message: &CStr) -> Error {
        // SAFETY: the context is valid while its callback runs, which `self` does not outlive; C copies the message.
        unsafe { bindings::notblk_errorf(self.0, message.as_char_ptr()) };
        EINVAL
    }
}

/// The functions of `struct fs_context_operations` for `T`.
pub(super) struct Table<T>(PhantomData<T>);

/// What `fs_private` points to.
struct Context<T: FileSystem> {
    options: T::Options,
}

impl<T: FileSystem> Table<T> {
    const OPS: bindings::fs_context_operations = bindings::fs_context_operations {
        free: Some(Self::free),
        dup: None,
        parse_param: Some(Self::parse_param),
        parse_monolithic: None,
        get_tree: Some(Self::get_tree),
        reconfigure: Some(Self::reconfigure),
    };

    /// # Safety
    ///
    /// Called by C as `init_fs_context` of our filesystem type.
    pub(super) unsafe extern "C" fn init_fs_context(fc: *mut bindings::fs_context) -> c_int {
        from_result(|| {
            // SAFETY: `fc` is valid and exclusively ours during the call.
            let purpose = unsafe { (*fc).purpose() };
            let options = if purpose == bindings::fs_context_purpose_FS_CONTEXT_FOR_RECONFIGURE {
                // SAFETY: for a reconfiguration `root` is the root of a mounted filesystem of our type.
                let sb = unsafe { SuperBlock::<T>::from_raw((*(*fc).root).d_sb) };
                T::options(sb)
            } else {
                T::Options::default()
            };
            let context = KBox::new(Context::<T> { options }, GFP_KERNEL)?;
            // SAFETY: as above; `free` takes the box back.
            unsafe {
                (*fc).fs_private = KBox::into_raw(context).cast();
                (*fc).ops = &Self::OPS;
                // Each inode has a change counter. As ext4, always.
                (*fc).sb_flags |= bindings::NOTBLK_SB_I_VERSION;
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by C for a context that `init_fs_context` was called for.
    unsafe extern "C" fn free(fc: *mut bindings::fs_context) {
        // SAFETY: C calls this once.
        let context: *mut Context<T> = unsafe { (*fc).fs_private.cast() };
        if !context.is_null() {
            // SAFETY: set by `init_fs_context`, and nobody uses it after `free`.
            drop(unsafe { KBox::from_raw(context) });
        }
    }

    /// # Safety
    ///
    /// `fc` must be a context that `init_fs_context` succeeded for, held exclusively for `'a`.
    unsafe fn options<'a>(fc: *mut bindings::fs_context) -> &'a mut T::Options {
        // SAFETY: by the contract, `fs_private` points to a `Context<T>` that nobody else uses (uapi_mutex).
        unsafe { &mut (*(*fc).fs_private.cast::<Context<T>>()).options }
    }

    /// # Safety
    ///
    /// Called by C with a valid context of ours and a valid parameter.
    unsafe extern "C" fn parse_param(
        fc: *mut bindings::fs_context,
        param: *mut bindings::fs_parameter,
    ) -> c_int {
        from_result(|| {
            // SAFETY: valid during the call; `key` is a C string.
            let (key, kind) = unsafe { (CStr::from_char_ptr((*param).key), (*param).type_()) };
            let value = match kind {
                bindings::fs_value_type_fs_value_is_flag => Value::Flag,
                bindings::fs_value_type_fs_value_is_string => {
                    // SAFETY: for this type the union holds `string`, of `size` bytes; a NULL string is an empty one.
                    let text: &[u8] = unsafe {
                        let string = (*param).__bindgen_anon_1.string;
                        if string.is_null() {
                            &[]
                        } else {
                            CStr::from_char_ptr(string).to_bytes()
                        }
                    };
                    Value::Text(text)
                }
                _ => return Err(EINVAL),
            };
            // SAFETY: C holds the context's uapi_mutex.
            let options = unsafe { Self::options(fc) };
            if T::parse_option(options, key.to_bytes(), value, &Log(fc))? {
                Ok(0)
            } else {
                // "Not mine": VFS then tries its own (source, ro, …) and says which option is unknown.
                // CAST: the constant is a small positive number.
                Err(Error::from_errno(-(bindings::ENOPARAM as c_int)))
            }
        })
    }

    /// # Safety
    ///
    /// Called by C with a valid context of ours.
    unsafe extern "C" fn get_tree(fc: *mut bindings::fs_context) -> c_int {
        // SAFETY: `fc` is valid; the callback has the signature that C asks for.
        unsafe { bindings::get_tree_bdev(fc, Some(Self::fill_super)) }
    }

    /// # Safety
    ///
    /// Called by `get_tree_bdev` with a new superblock, whose `s_umount` is held exclusively.
    unsafe extern "C" fn fill_super(
        sb: *mut bindings::super_block,
        fc: *mut bindings::fs_context,
    ) -> c_int {
        from_result(|| {
            // SAFETY: C's contract for this callback.
            let options = unsafe { Self::options(fc) }.clone();
            // SAFETY: as above.
            unsafe { super_block::Table::<T>::fill_super(sb, options) }?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by C with a valid context of ours for a mounted filesystem whose `s_umount` is held exclusively.
    unsafe extern "C" fn reconfigure(fc: *mut bindings::fs_context) -> c_int {
        from_result(|| {
            // SAFETY: C's contract for this callback.
            let raw = unsafe { (*(*fc).root).d_sb };
            // SAFETY: mounted, and of our type.
            let sb = unsafe { SuperBlock::<T>::from_raw(raw) };
            // SAFETY: valid; only read.
            let (flags, mask) = unsafe { ((*fc).sb_flags as usize, (*fc).sb_flags_mask as usize) };
            // SAFETY: C holds the context exclusively.
            let options = unsafe { Self::options(fc) };
            let ro = bindings::NOTBLK_SB_RDONLY;
            let was_ro = sb.is_read_only();
            let want_ro = if mask & ro != 0 {
                flags & ro != 0
            } else {
                was_ro
            };
            match (was_ro, want_ro) {
                (false, true) => {
                    let forced = flags & bindings::NOTBLK_SB_FORCE != 0;
                    // SAFETY: C's contract for this callback: `s_umount` is held.
                    unsafe { Self::turn_read_only(sb, options, forced) }?;
                    T::set_options(sb, options);
                }
                (true, false) => Self::turn_writable(sb, options)?,
                _ => {
                    T::reconfigure(sb, options, want_ro)?;
                    T::set_options(sb, options);
                }
            }
            Ok(0)
        })
    }

    /// Before VFS sets `SB_RDONLY`: all that is dirty goes out, usage of quotas first.
    ///
    /// # Errors
    ///
    /// `EROFS` in an emergency; those of writing. It can be written to as before, unless it is `forced`: then VFS makes it
    /// read-only all the same.
    ///
    /// # Safety
    ///
    /// `s_umount` of `sb` is held exclusively.
    unsafe fn turn_read_only(sb: &SuperBlock<T>, options: &T::Options, forced: bool) -> Result {
        // Shut down too it answers EROFS, as ext4; before anything is touched.
        T::emergency_state(sb).map_err(|_| EROFS)?;
        let changed = sb
            .quotas_suspend()
            // SAFETY: valid by invariant, and s_umount is held.
            .and_then(|()| to_result(unsafe { bindings::sync_filesystem(sb.as_raw()) }))
            .and_then(|()| T::reconfigure(sb, options, true));
        if changed.is_err() && !forced {
            // Stays as it was. What failed first is the news.
            if let Err(e) = quota::Table::turn_on(sb) {
                pr_err!("({}): quotas stay off: {e:?}\n", sb.id());
            }
        }
        changed
    }

    /// Before VFS clears `SB_RDONLY`.
    ///
    /// # Errors
    ///
    /// Those of the filesystem, and of turning quotas on: it is read-only, with the options that it had.
    fn turn_writable(sb: &SuperBlock<T>, options: &T::Options) -> Result {
        let old = T::options(sb);
        T::reconfigure(sb, options, false)?;
        // What quotas are turned on by.
        T::set_options(sb, options);
        // VFS does it afterwards, and the quota files are to be written.
        sb.set_read_only(false);
        quota::Table::turn_on(sb).inspect_err(|_| {
            T::set_options(sb, &old);
            // Read-only once more: the superblock says so too.
            if let Err(e) = T::reconfigure(sb, &old, true) {
                pr_err!("({}): left as if in use: {e:?}\n", sb.id());
            }
            sb.set_read_only(true);
        })?;
        T::recover(sb);
        Ok(())
    }
}
