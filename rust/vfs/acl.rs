// SPDX-License-Identifier: GPL-2.0

//! POSIX ACLs: `struct posix_acl`, `get_inode_acl` and `set_acl`.
//!
//! C: `include/linux/posix_acl.h`, `fs/posix_acl.c`; `fs/ext4/acl.c` for the use.
//!
//! VFS keeps what it was given (`i_acl`, `i_default_acl`), and drops that with the inode.

use super::{inode::New, to_result, Exclusive, FileSystem, Inode, Locked};
use crate::{format::acl::Entry, sys::bindings};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::{self, NonNull},
};
use kernel::{error::from_result, prelude::*};

/// Which of an inode's two ACLs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Who may do what. C: `ACL_TYPE_ACCESS`.
    Access,
    /// Of a directory: what new inodes in it begin with. C: `ACL_TYPE_DEFAULT`.
    Default,
}

impl Kind {
    fn from_raw(kind: c_int) -> Result<Self> {
        match u32::try_from(kind) {
            Ok(bindings::ACL_TYPE_ACCESS) => Ok(Self::Access),
            Ok(bindings::ACL_TYPE_DEFAULT) => Ok(Self::Default),
            _ => Err(EINVAL),
        }
    }

    fn as_raw(self) -> c_int {
        // CAST: two bits.
        (match self {
            Self::Access => bindings::ACL_TYPE_ACCESS,
            Self::Default => bindings::ACL_TYPE_DEFAULT,
        }) as c_int
    }
}

/// A counted reference to an ACL, which nobody changes.
///
/// # Invariants
///
/// Holds one of C's references; all `a_count` entries are initialised.
pub(crate) struct PosixAcl(NonNull<bindings::posix_acl>);

impl PosixAcl {
    /// Makes an ACL of so many entries; those that `entries` leaves out would be everybody's with no permissions. C:
    /// `posix_acl_alloc`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(count: usize, entries: impl Iterator<Item = Entry>) -> Result<Self> {
        let n = u32::try_from(count).map_err(|_| ENOMEM)?;
        // SAFETY: always.
        let raw = unsafe { bindings::posix_acl_alloc(n, bindings::NOTBLK_GFP_KERNEL) };
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        let filler = Entry {
            tag: crate::format::acl::OTHER,
            perm: 0,
            id: 0,
        };
        for (i, entry) in (0..n).zip(entries.chain(core::iter::repeat(filler))) {
            // SAFETY: a new ACL of ours alone, of `n` entries.
            unsafe {
                bindings::notblk_posix_acl_set_entry(
                    raw.as_ptr(),
                    i,
                    entry.tag,
                    entry.perm,
                    entry.id,
                );
            }
        }
        // INVARIANT: the reference is new, and all entries are set.
        Ok(Self(raw))
    }

    /// # Safety
    ///
    /// `acl` is NULL or a valid ACL, of which the caller hands over a reference.
    unsafe fn from_raw(acl: *mut bindings::posix_acl) -> Option<Self> {
        NonNull::new(acl).map(Self)
    }

    fn into_raw(acl: Option<Self>) -> *mut bindings::posix_acl {
        acl.map_or(ptr::null_mut(), |acl| ManuallyDrop::new(acl).0.as_ptr())
    }

    /// How many entries there are.
    pub(crate) fn count(&self) -> u32 {
        // SAFETY: valid by invariant.
        unsafe { bindings::notblk_posix_acl_count(self.0.as_ptr()) }
    }

    /// The entries, with ids as the disk has them.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        (0..self.count()).map(|i| {
            let (mut tag, mut perm, mut id) = (0, 0, 0);
            // SAFETY: valid by invariant, and `i` is below the count; the places are ours.
            unsafe {
                bindings::notblk_posix_acl_get_entry(
                    self.0.as_ptr(),
                    i,
                    &mut tag,
                    &mut perm,
                    &mut id,
                );
            }
            Entry { tag, perm, id }
        })
    }
}

impl Drop for PosixAcl {
    fn drop(&mut self) {
        // SAFETY: the reference is ours.
        unsafe { bindings::notblk_posix_acl_release(self.0.as_ptr()) };
    }
}

/// What becomes the operations for ACLs of files, directories and special files.
pub(crate) trait Operations: Sized {
    /// Reads an ACL, which VFS then keeps. Sleeps. C: `get_inode_acl`.
    fn get_inode_acl(inode: &Inode<Self>, kind: Kind) -> Result<Option<PosixAcl>>
    where
        Self: FileSystem;

    /// Keeps an ACL, or with `None` takes it away. The mode is dealt with by the caller. C: `set_acl`.
    ///
    /// # Errors
    ///
    /// `EACCES` for a default ACL of what is no directory; as `set_xattr` besides.
    fn set_acl(inode: &Locked<Self, Exclusive>, kind: Kind, acl: Option<&PosixAcl>) -> Result
    where
        Self: FileSystem;
}

/// The functions for `T`.
pub(super) struct Table<T>(PhantomData<T>);

impl<T: FileSystem> Table<T> {
    /// Puts the functions into the table of a kind of inode that has ACLs.
    pub(super) const fn add_to(ops: &mut bindings::inode_operations) {
        ops.get_inode_acl = Some(Self::get_inode_acl);
        ops.set_acl = Some(Self::set_acl);
    }

    /// # Safety
    ///
    /// C's contract for `get_inode_acl`, on an inode of ours.
    unsafe extern "C" fn get_inode_acl(
        inode: *mut bindings::inode,
        kind: c_int,
        rcu: bool,
    ) -> *mut bindings::posix_acl {
        if rcu {
            // Reading may sleep: VFS comes again when it may.
            return ECHILD.to_ptr();
        }
        // SAFETY: by the contract.
        let inode = unsafe { Inode::<T>::from_raw(inode) };
        match Kind::from_raw(kind).and_then(|kind| T::get_inode_acl(inode, kind)) {
            Ok(acl) => PosixAcl::into_raw(acl),
            Err(e) => e.to_ptr(),
        }
    }

    /// # Safety
    ///
    /// C's contract for `set_acl`: `i_rwsem` of the inode, which is ours, is held exclusively; `acl` is valid or NULL.
    unsafe extern "C" fn set_acl(
        idmap: *mut bindings::mnt_idmap,
        dentry: *mut bindings::dentry,
        mut acl: *mut bindings::posix_acl,
        raw_kind: c_int,
    ) -> c_int {
        from_result(|| {
            let kind = Kind::from_raw(raw_kind)?;
            // SAFETY: by the contract.
            let inode = unsafe {
                let inode = Inode::<T>::from_raw(bindings::notblk_d_inode(dentry));
                Locked::<T, Exclusive>::assume(inode)
            };
            let old_mode = inode.mode();
            let mut mode = old_mode;
            if kind == Kind::Access && !acl.is_null() {
                // What a mode can say needs no ACL: then `acl` is NULL afterwards.
                // SAFETY: by the contract; the places are ours.
                to_result(unsafe {
                    bindings::posix_acl_update_mode(idmap, inode.as_raw(), &mut mode, &mut acl)
                })?;
            }
            // SAFETY: by the contract the caller's reference outlives the call; borrowed, not taken over.
            let borrowed = unsafe { PosixAcl::from_raw(acl) }.map(ManuallyDrop::new);
            T::set_acl(inode, kind, borrowed.as_deref())?;
            if kind == Kind::Default && !inode.is_dir() {
                return Ok(0);
            }
            // SAFETY: valid; C counts a reference for what it keeps. Who changes the mode holds i_rwsem.
            unsafe {
                bindings::set_cached_acl(inode.as_raw(), raw_kind, acl);
                if mode != old_mode {
                    (&raw mut (*inode.as_raw()).i_mode).write_volatile(mode);
                    inode.touch_ctime();
                    inode.mark_dirty();
                }
            }
            Ok(0)
        })
    }

    /// The mode has changed: so does what the access ACL says of owner, mask and others. C: `posix_acl_chmod`.
    ///
    /// # Safety
    ///
    /// As for `setattr`, from which this is called, after the mode is set.
    pub(super) unsafe fn chmod(
        idmap: *mut bindings::mnt_idmap,
        dentry: *mut bindings::dentry,
        mode: u16,
    ) -> Result {
        // SAFETY: by the contract.
        to_result(unsafe { bindings::posix_acl_chmod(idmap, dentry, mode) })
    }
}

/// The ACLs that a new inode begins with.
pub(crate) struct Inherited {
    /// Of a directory: its parent's.
    pub(crate) default: Option<PosixAcl>,
    /// Where the mode cannot say it.
    pub(crate) access: Option<PosixAcl>,
}

impl<T: FileSystem> New<'_, T> {
    /// What the default ACL of `dir` makes of a created inode: its mode, or without one the umask's part of that, is set
    /// here, its ACLs are answered. C: `posix_acl_create`.
    pub(crate) fn inherit_acls(&mut self, dir: &Inode<T>) -> Result<Inherited> {
        let (mut default, mut access) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: both are valid, `self` exclusively ours. The references that C answers are handed over; there are none
        // after an error.
        unsafe {
            to_result(bindings::posix_acl_create(
                dir.as_raw(),
                &raw mut (*self.as_raw()).i_mode,
                &mut default,
                &mut access,
            ))?;
            Ok(Inherited {
                default: PosixAcl::from_raw(default),
                access: PosixAcl::from_raw(access),
            })
        }
    }

    /// Tells VFS an ACL, or that there is none, so that it need not ask. C: `set_cached_acl`.
    pub(crate) fn cache_acl(&mut self, kind: Kind, acl: Option<&PosixAcl>) {
        let acl = acl.map_or(ptr::null_mut(), |acl| acl.0.as_ptr());
        // SAFETY: valid; C counts a reference for what it keeps.
        unsafe { bindings::set_cached_acl(self.as_raw(), kind.as_raw(), acl) };
    }
}
