// SPDX-License-Identifier: GPL-2.0

//! Symbolic links whose target lies in a block: reading them.
//!
//! C: `ext4_get_link` in `fs/ext4/symlink.c`; `struct delayed_call`.
//!
//! The block is metadata: written through a transaction, read through the buffer cache. The inode's page cache stays empty,
//! so that no second copy of the block can be stale, or be written over it.

use super::{Buffer, FileSystem, Inode};
use crate::{format::block::Block, sys::bindings};
use core::marker::PhantomData;
use kernel::prelude::*;

/// What a symbolic link with a block needs.
pub(crate) trait Operations: Sized {
    /// The block that begins with the target; the target is as long as `i_size` says. Sleeps. C: `get_link`.
    ///
    /// # Errors
    ///
    /// `EUCLEAN` where there is none, `EIO`.
    fn target(inode: &Inode<Self>) -> Result<Buffer<'_>>
    where
        Self: FileSystem;
}

/// The functions for `T`.
pub(super) struct Table<T>(PhantomData<T>);

impl<T: FileSystem> Table<T> {
    /// # Safety
    ///
    /// C's contract for `get_link`: `inode` is a symbolic link of ours; `dentry` is NULL where nothing may sleep; `done` is
    /// the caller's, to be filled in.
    pub(super) unsafe extern "C" fn get_link(
        dentry: *mut bindings::dentry,
        inode: *mut bindings::inode,
        done: *mut bindings::delayed_call,
    ) -> *const c_char {
        if dentry.is_null() {
            // VFS comes again, and may sleep then.
            return ECHILD.to_ptr::<c_char>();
        }
        // SAFETY: by the contract.
        match Self::copy(unsafe { Inode::from_raw(inode) }) {
            Ok(text) => {
                let (text, _, _) = text.into_raw_parts();
                // SAFETY: `done` is ours to fill; memory of kmalloc's, which the call hands over.
                unsafe { bindings::notblk_set_delayed_kfree(done, text.cast()) };
                text.cast()
            }
            Err(e) => e.to_ptr::<c_char>(),
        }
    }

    /// The target with a zero byte behind it, in memory of its own.
    fn copy(inode: &Inode<T>) -> Result<KVec<u8>> {
        let block = T::target(inode)?;
        let size = usize::try_from(inode.size()).map_err(|_| EIO)?;
        let mut text = KVec::from_elem(0, size.checked_add(1).ok_or(EIO)?, GFP_KERNEL)?;
        let target = text.get_mut(..size).ok_or(EIO)?;
        block.read_bytes(0, target).map_err(|_| EIO)?;
        Ok(text)
    }
}
