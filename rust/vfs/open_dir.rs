// SPDX-License-Identifier: GPL-2.0

//! An open directory: `struct file`, with what the filesystem keeps for each opener, and its positions.
//!
//! C: `ext4_dir_open`, `ext4_release_dir`, `ext4_dir_llseek` in `fs/ext4/dir.c`.

use super::{dir::Operations, to_loff, FileSystem, Inode};
use crate::sys::bindings;
use core::marker::PhantomData;
use kernel::{
    error::from_result,
    prelude::*,
    sync::{new_mutex, Mutex},
    types::ForeignOwnable,
};

/// What `private_data` of an open directory of ours points to. VFS lets only one task at a time read a directory
/// through one `struct file` (`f_pos_lock`); the lock means that nothing here depends on that.
type Private<T> = Pin<KBox<Mutex<<T as Operations>::Cursor>>>;

/// What of a directory's `file_operations` is about its opener.
pub(super) struct OpenDir<T>(PhantomData<T>);

impl<T: FileSystem> OpenDir<T> {
    /// # Safety
    ///
    /// C's contract for `open`.
    pub(super) unsafe extern "C" fn open(
        _inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> c_int {
        from_result(|| {
            let cursor = new_mutex!(T::Cursor::default(), "notblk::cursor");
            let private: Private<T> = KBox::pin_init(cursor, GFP_KERNEL)?;
            // SAFETY: the file is being opened: nobody else has it yet.
            unsafe { (*file).private_data = private.into_foreign() };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// C's contract for `release`, which is called once for each `open` that succeeded, when nobody has the file any more.
    pub(super) unsafe extern "C" fn release(
        _inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> c_int {
        // SAFETY: made by `open`, and given up by everybody.
        drop(unsafe { Private::<T>::from_foreign((*file).private_data) });
        0
    }

    /// The filesystem's own of an open directory.
    ///
    /// # Safety
    ///
    /// `file` is an open directory of ours for all of `'a`.
    pub(super) unsafe fn cursor<'a>(file: *mut bindings::file) -> &'a Mutex<T::Cursor> {
        // SAFETY: made by `open`; only `release` takes it.
        unsafe { Private::<T>::borrow((*file).private_data) }.get_ref()
    }

    /// The reader takes positions of 32 bits only: nfsd says so for its client, otherwise the system call tells.
    /// C: `is_32bit_api` and the `f_mode` beside it.
    ///
    /// # Safety
    ///
    /// `file` is valid.
    pub(super) unsafe fn is_narrow(file: *mut bindings::file) -> bool {
        // SAFETY: by the contract. These bits do not change while the file is in use.
        let mode = unsafe { (*file).f_mode };
        if mode & bindings::NOTBLK_FMODE_32BITHASH != 0 {
            return true;
        }
        // SAFETY: asks about the current task.
        mode & bindings::NOTBLK_FMODE_64BITHASH == 0 && unsafe { bindings::notblk_is_32bit_api() }
    }

    /// # Safety
    ///
    /// C's contract for `llseek`.
    pub(super) unsafe extern "C" fn llseek(
        file: *mut bindings::file,
        offset: i64,
        whence: c_int,
    ) -> i64 {
        // SAFETY: by the contract: a directory of ours.
        let end = unsafe {
            let dir = Inode::<T>::from_raw(bindings::notblk_file_inode(file));
            T::end(dir, Self::is_narrow(file))
        };
        // SAFETY: by the contract.
        let pos = unsafe {
            match end.map(to_loff) {
                Some(end) => bindings::generic_file_llseek_size(file, offset, whence, end, end),
                None => bindings::generic_file_llseek(file, offset, whence),
            }
        };
        if pos == 0 {
            // A rewind begins anew, also for a reader who had stopped between names at position 0.
            // SAFETY: by the contract: a directory of ours.
            *unsafe { Self::cursor(file) }.lock() = T::Cursor::default();
        }
        pos
    }
}
