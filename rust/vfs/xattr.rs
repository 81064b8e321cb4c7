// SPDX-License-Identifier: GPL-2.0

//! Extended attributes: `struct xattr_handler` for each namespace, `listxattr`, and the labels that security modules give
//! to new inodes.
//!
//! C: `include/linux/xattr.h`, `fs/xattr.c`; `fs/ext4/xattr_user.c` and its kind for the use.
//!
//! The namespace `system.` is not here: ACLs have their own operations, see [`super::acl`].

use super::{dir::Creation, errno::ENODATA, inode::New, to_result, FileSystem, Inode};
use crate::sys::bindings;
use core::{marker::PhantomData, ptr, slice};
use kernel::{error::from_result, prelude::*};

/// The namespaces of which the filesystem keeps attributes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Namespace {
    /// `user.`: of regular files and directories, VFS sees to that.
    User = 1,
    /// `trusted.`: of those who have `CAP_SYS_ADMIN`.
    Trusted = 2,
    /// `security.`: of security modules, and file capabilities.
    Security = 3,
}

impl Namespace {
    /// What names begin with.
    pub(crate) const fn prefix(self) -> &'static CStr {
        match self {
            Self::User => c"user.",
            Self::Trusted => c"trusted.",
            Self::Security => c"security.",
        }
    }

    /// From `flags` of a handler of ours.
    fn from_flags(flags: c_int) -> Result<Self> {
        match flags {
            1 => Ok(Self::User),
            2 => Ok(Self::Trusted),
            3 => Ok(Self::Security),
            _ => Err(EINVAL),
        }
    }

    /// Whether the calling task gets to see names of this namespace in lists. C: `list` of the handler.
    pub(crate) fn may_list(self) -> bool {
        match self {
            // SAFETY: always.
            Self::Trusted => unsafe { bindings::notblk_capable_admin() },
            Self::User | Self::Security => true,
        }
    }
}

/// What must be so for an attribute to be set. C: `XATTR_CREATE`, `XATTR_REPLACE`, either, both or none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct When(u32);

impl When {
    /// Nothing.
    pub(crate) const ALWAYS: Self = Self(0);
    /// It is not there yet.
    pub(crate) const NEW: Self = Self(bindings::XATTR_CREATE);

    fn from_flags(flags: c_int) -> Result<Self> {
        // VFS lets no other flags through.
        u32::try_from(flags).map(Self).map_err(|_| EINVAL)
    }

    /// Where it is there already: `EEXIST`.
    pub(crate) fn must_be_new(self) -> bool {
        self.0 & bindings::XATTR_CREATE != 0
    }

    /// Where it is not there: `ENODATA`.
    pub(crate) fn must_be_there(self) -> bool {
        self.0 & bindings::XATTR_REPLACE != 0
    }
}

/// What becomes the handlers of extended attributes.
pub(crate) trait Operations: Sized {
    /// Puts the value of an attribute into `out`. Sleeps. `i_rwsem` may be held or not.
    ///
    /// # Errors
    ///
    /// `ENODATA` where there is none; `ERANGE` (see [`Out::put`]).
    fn get_xattr(
        inode: &Inode<Self>,
        namespace: Namespace,
        name: &[u8],
        out: &mut Out<'_>,
    ) -> Result
    where
        Self: FileSystem;

    /// Gives an attribute a value, or with `None` takes it away. Sleeps. `i_rwsem` is held, but by some security modules.
    ///
    /// # Errors
    ///
    /// See [`When`]; `ENOSPC`, `EDQUOT`, `E2BIG`.
    fn set_xattr(
        inode: &Inode<Self>,
        namespace: Namespace,
        name: &[u8],
        value: Option<&[u8]>,
        when: When,
    ) -> Result
    where
        Self: FileSystem;

    /// Puts the whole names of all attributes that the calling task may see into `out`, each with a zero byte behind it.
    /// C: `listxattr`.
    fn list_xattr(inode: &Inode<Self>, out: &mut Out<'_>) -> Result
    where
        Self: FileSystem;

    /// Gives a new inode, which nobody else has, an attribute in `security.`. C: `initxattrs`.
    fn init_security(inode: &Inode<Self>, name: &[u8], value: &[u8]) -> Result
    where
        Self: FileSystem;
}

/// Where the caller of `getxattr` or `listxattr` wants bytes; or wants to know only how many there are.
pub(crate) struct Out<'a> {
    /// Kernel memory, perhaps not initialised; NULL for who only counts.
    buffer: *mut u8,
    size: usize,
    put: usize,
    _call: PhantomData<&'a mut [u8]>,
}

impl Out<'_> {
    /// # Safety
    ///
    /// `buffer` is NULL or valid for writes of `size` bytes, as long as the result lives.
    unsafe fn new(buffer: *mut c_void, size: usize) -> Self {
        Self {
            buffer: buffer.cast(),
            size,
            put: 0,
            _call: PhantomData,
        }
    }

    /// Puts bytes behind what is there.
    ///
    /// # Errors
    ///
    /// `ERANGE` where the buffer has no room for them.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result {
        let end = self.put.checked_add(bytes.len()).ok_or(ERANGE)?;
        if !self.buffer.is_null() {
            if end > self.size {
                return Err(ERANGE);
            }
            // SAFETY: `put..end` is inside the buffer, says `new`; the bytes are somewhere else, being borrowed.
            unsafe {
                ptr::copy_nonoverlapping(bytes.as_ptr(), self.buffer.add(self.put), bytes.len());
            }
        }
        self.put = end;
        Ok(())
    }

    /// C's answer.
    fn count(&self) -> Result<usize> {
        // As C: what fits no `int` is no size.
        if c_int::try_from(self.put).is_err() {
            return Err(ERANGE);
        }
        Ok(self.put)
    }
}

/// # Safety
///
/// `name` is a C string that lives for `'a`.
unsafe fn name<'a>(name: *const c_char) -> &'a [u8] {
    // SAFETY: by the contract.
    unsafe { CStr::from_char_ptr(name) }.to_bytes()
}

/// # Safety
///
/// `value` is NULL, or valid for reads of `size` bytes for `'a`.
unsafe fn value<'a>(value: *const c_void, size: usize) -> Option<&'a [u8]> {
    // SAFETY: by the contract.
    (!value.is_null()).then(|| unsafe { slice::from_raw_parts(value.cast(), size) })
}

/// The handlers and their functions.
pub(super) struct Table<T>(PhantomData<T>);

impl<T: FileSystem> Table<T> {
    const USER: bindings::xattr_handler = Self::handler(Namespace::User);
    const TRUSTED: bindings::xattr_handler = Self::handler(Namespace::Trusted);
    const SECURITY: bindings::xattr_handler = Self::handler(Namespace::Security);

    const HANDLERS: &'static [*const bindings::xattr_handler; 4] =
        &[&Self::USER, &Self::TRUSTED, &Self::SECURITY, ptr::null()];

    /// `s_xattr`: an array that a NULL ends.
    pub(super) const S_XATTR: *const *const bindings::xattr_handler = Self::HANDLERS.as_ptr();

    const fn handler(namespace: Namespace) -> bindings::xattr_handler {
        bindings::xattr_handler {
            name: ptr::null(),
            prefix: namespace.prefix().as_ptr().cast(),
            // CAST: small.
            flags: namespace as c_int,
            // Only `generic_listxattr` asks it, and `listxattr` is our own.
            list: None,
            get: Some(Self::get),
            set: Some(Self::set),
        }
    }

    /// # Safety
    ///
    /// C's contract for `get` of a handler of ours: the inode is ours, `name` a C string, `buffer` NULL or valid for
    /// writes of `size` bytes.
    unsafe extern "C" fn get(
        handler: *const bindings::xattr_handler,
        _dentry: *mut bindings::dentry,
        inode: *mut bindings::inode,
        name: *const c_char,
        buffer: *mut c_void,
        size: usize,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract.
            let (inode, namespace, name, mut out) = unsafe {
                (
                    Inode::<T>::from_raw(inode),
                    Namespace::from_flags((*handler).flags)?,
                    self::name(name),
                    Out::new(buffer, size),
                )
            };
            T::get_xattr(inode, namespace, name, &mut out)?;
            // CAST: it fits, says `count`.
            Ok(out.count()? as c_int)
        })
    }

    /// # Safety
    ///
    /// C's contract for `set` of a handler of ours: the inode is ours, `name` a C string, `buffer` NULL or valid for reads
    /// of `size` bytes.
    unsafe extern "C" fn set(
        handler: *const bindings::xattr_handler,
        _idmap: *mut bindings::mnt_idmap,
        _dentry: *mut bindings::dentry,
        inode: *mut bindings::inode,
        name: *const c_char,
        buffer: *const c_void,
        size: usize,
        flags: c_int,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract.
            let (inode, namespace, name, value) = unsafe {
                (
                    Inode::<T>::from_raw(inode),
                    Namespace::from_flags((*handler).flags)?,
                    self::name(name),
                    self::value(buffer, size),
                )
            };
            T::set_xattr(inode, namespace, name, value, When::from_flags(flags)?)?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// C's contract for `listxattr`: a dentry with an inode of ours, `list` NULL or valid for writes of `size` bytes.
    pub(super) unsafe extern "C" fn listxattr(
        dentry: *mut bindings::dentry,
        list: *mut c_char,
        size: usize,
    ) -> isize {
        from_result(|| {
            // SAFETY: by the contract.
            let (inode, mut out) = unsafe {
                (
                    Inode::<T>::from_raw(bindings::notblk_d_inode(dentry)),
                    Out::new(list.cast(), size),
                )
            };
            T::list_xattr(inode, &mut out)?;
            // CAST: it fits, says `count`.
            Ok(out.count()? as isize)
        })
    }

    /// # Safety
    ///
    /// Called by `security_inode_init_security` with the inode that it was given, and an array of attributes that ends
    /// with a NULL name.
    unsafe extern "C" fn initxattrs(
        inode: *mut bindings::inode,
        mut xattr: *const bindings::xattr,
        _fs_data: *mut c_void,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract.
            let inode = unsafe { Inode::<T>::from_raw(inode) };
            // SAFETY: by the contract: the end is not passed. A value that is NULL is empty.
            unsafe {
                while !(*xattr).name.is_null() {
                    let value = self::value((*xattr).value, (*xattr).value_len);
                    T::init_security(inode, name((*xattr).name), value.unwrap_or_default())?;
                    xattr = xattr.add(1);
                }
            }
            Ok(0)
        })
    }
}

impl<T: FileSystem> New<'_, T> {
    /// Has security modules label the inode, which is about to be made in `dir`; the labels come to
    /// [`Operations::init_security`]. C: `security_inode_init_security`.
    pub(crate) fn init_security(&self, dir: &Inode<T>, creation: &Creation<'_>) -> Result {
        // SAFETY: both inodes are valid, `self` is nobody else's; the name is valid (or NULL) while the inode is made.
        to_result(unsafe {
            bindings::notblk_security_inode_init_security(
                self.as_raw(),
                dir.as_raw(),
                creation.qstr(),
                Some(Table::<T>::initxattrs),
            )
        })
    }
}

/// `ENODATA` is an answer, not an error.
pub(crate) fn if_there<R>(found: Result<R>) -> Result<Option<R>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(e) if e == ENODATA => Ok(None),
        Err(e) => Err(e),
    }
}
