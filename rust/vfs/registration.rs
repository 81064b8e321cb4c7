// SPDX-License-Identifier: GPL-2.0

//! `struct file_system_type`: a name under which the filesystem can be mounted.
//!
//! C: `include/linux/fs.h`, `fs/filesystems.c`.

use super::{fs_context, hold, inode, super_block, to_result, FileSystem};
use crate::sys::bindings;
use core::ptr;
use kernel::{prelude::*, types::Opaque, ThisModule};

/// What a filesystem type's mounts can do. C: `fs_flags` of `struct file_system_type`.
#[derive(Clone, Copy)]
pub(crate) struct Flags(u32);

impl Flags {
    /// On a block device, in blocks that may be larger than pages. C: `FS_REQUIRES_DEV`, `FS_LBS`.
    pub(crate) const BLOCKS: Self = Self(bindings::FS_REQUIRES_DEV | bindings::FS_LBS);

    /// They may be idmapped; otherwise `mount_setattr` answers `EINVAL`. C: `FS_ALLOW_IDMAP`.
    pub(crate) const fn idmapped(self) -> Self {
        Self(self.0 | bindings::FS_ALLOW_IDMAP)
    }

    /// A change that follows a look at the times gets a later time, however soon it follows; otherwise times are those of
    /// the last tick. C: `FS_MGTIME`, Documentation/filesystems/multigrain-ts.rst.
    pub(crate) const fn multigrain(self) -> Self {
        Self(self.0 | bindings::FS_MGTIME)
    }
}

/// A registered filesystem type with the slab cache of its inodes, and data of the filesystem's for all its mounts.
/// Dropping it unregisters the name.
///
/// # Invariants
///
/// Between a successful [`Registration::new`] and drop, `fs_type` is registered and `cache` is a live slab cache of
/// `inode::Slot<T>` objects.
#[pin_data(PinnedDrop)]
#[repr(C)]
pub(crate) struct Registration<T: FileSystem> {
    // First, so that a `file_system_type` that C hands us is also a `Registration`.
    #[pin]
    fs_type: Opaque<bindings::file_system_type>,
    cache: *mut bindings::kmem_cache,
    data: T::TypeData,
}

// SAFETY: a registration is only ever created and dropped; C synchronises all access to `fs_type` itself.
unsafe impl<T: FileSystem> Send for Registration<T> {}
// SAFETY: as above, `&Registration` offers nothing.
unsafe impl<T: FileSystem> Sync for Registration<T> {}

impl<T: FileSystem> Registration<T> {
    /// Registers `name`.
    ///
    /// # Errors
    ///
    /// `EBUSY` where the name is taken, `ENOMEM`.
    pub(crate) fn new(
        name: &'static CStr,
        cache_name: &'static CStr,
        flags: Flags,
        module: &ThisModule,
        data: T::TypeData,
    ) -> impl PinInit<Self, Error> {
        let size = u32::try_from(size_of::<inode::Slot<T>>()).unwrap_or(u32::MAX);
        let owner: *mut bindings::module = module.as_ptr().cast();
        let init = move |slot: *mut Self| {
            // SAFETY: name and constructor live as long as the module, which outlives the cache.
            let cache = unsafe {
                bindings::notblk_inode_cache_create(
                    cache_name.as_char_ptr(),
                    size,
                    Some(inode::Slot::<T>::init_once),
                )
            };
            if cache.is_null() {
                return Err(ENOMEM);
            }
            // SAFETY: `slot` is valid for writes; a zeroed `file_system_type` is the state C expects of a static.
            let fs_type = unsafe {
                (&raw mut (*slot).cache).write(cache);
                (&raw mut (*slot).data).write(data);
                let fs_type: *mut bindings::file_system_type = (&raw mut (*slot).fs_type).cast();
                ptr::write_bytes(fs_type, 0, 1);
                (*fs_type).name = name.as_char_ptr();
                (*fs_type).fs_flags = flags.0 as c_int;
                (*fs_type).init_fs_context = Some(fs_context::Table::<T>::init_fs_context);
                (*fs_type).kill_sb = Some(super_block::Table::<T>::kill_sb);
                (*fs_type).owner = owner;
                // Lockdep takes keys in static memory for granted, and no others.
                bindings::notblk_register_lock_keys(fs_type);
                fs_type
            };
            // SAFETY: `fs_type` is pinned in `slot` and is unregistered before it goes away.
            let registered = to_result(unsafe { bindings::register_filesystem(fs_type) });
            if registered.is_err() {
                // SAFETY: both made above; no inode can have come from the cache.
                unsafe {
                    bindings::notblk_unregister_lock_keys(fs_type);
                    bindings::kmem_cache_destroy(cache);
                    ptr::drop_in_place(&raw mut (*slot).data);
                }
            }
            registered
        };
        // SAFETY: `init` initialises all fields before it returns `Ok`, and leaves nothing initialised on `Err`.
        unsafe { pin_init::pin_init_from_closure(init) }
    }

    /// The filesystem type, for tests that make superblocks of it.
    #[cfg(CONFIG_KUNIT = "y")]
    pub(super) fn as_raw(&self) -> *mut bindings::file_system_type {
        self.fs_type.get()
    }

    /// The cache that belongs to a filesystem type of ours.
    ///
    /// # Safety
    ///
    /// `fs_type` is the first field of a `Registration<T>`.
    pub(super) unsafe fn cache_of(
        fs_type: *mut bindings::file_system_type,
    ) -> *mut bindings::kmem_cache {
        // SAFETY: by the function's contract; `repr(C)` puts `fs_type` first.
        unsafe { (*fs_type.cast::<Self>()).cache }
    }
}

impl<T: FileSystem> Registration<T> {
    /// The data that a filesystem type of ours carries.
    ///
    /// # Safety
    ///
    /// `fs_type` is the first field of a `Registration<T>` that stays registered for `'a`.
    pub(super) unsafe fn data_of<'a>(fs_type: *mut bindings::file_system_type) -> &'a T::TypeData {
        // SAFETY: by the function's contract; `repr(C)` puts `fs_type` first.
        unsafe { &(*fs_type.cast::<Self>()).data }
    }
}

#[pinned_drop]
impl<T: FileSystem> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: registered by the type's invariant. Nothing is mounted any more: each mount holds the module.
        unsafe { bindings::unregister_filesystem(self.fs_type.get()) };
        hold::settle();
        // SAFETY: always. Inodes are freed by RCU callbacks, which must have run before their cache goes.
        unsafe { bindings::rcu_barrier() };
        // SAFETY: live by the type's invariant, and empty now.
        unsafe { bindings::kmem_cache_destroy(self.cache) };
        // SAFETY: registered in `new`; no lock is left that has one of them.
        unsafe { bindings::notblk_unregister_lock_keys(self.fs_type.get()) };
    }
}

/// The module parameter `alias=`.
pub(crate) fn alias() -> Option<&'static CStr> {
    // SAFETY: always. The parameter is set when the module is loaded, and read-only after that.
    let alias = unsafe { bindings::notblk_alias() };
    // SAFETY: a C string that lives as long as the module.
    (!alias.is_null()).then(|| unsafe { CStr::from_char_ptr(alias) })
}
