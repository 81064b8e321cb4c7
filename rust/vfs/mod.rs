// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers over the VFS objects and operation tables that a block filesystem needs.
//!
//! This is the only place of the module with `unsafe` (and [`crate::sys`], which has the raw bindings). One file per C
//! object, named as C names it:
//!
//! | file | C |
//! | --- | --- |
//! | [`registration`] | `struct file_system_type`, the inode cache |
//! | [`fs_context`] | `struct fs_context`, `fs_context_operations`, mount options |
//! | [`super_block`] | `struct super_block`, `super_operations` |
//! | [`inode`] | `struct inode`, `iget_locked`, `new_inode` |
//! | [`inode_sync`] | `write_inode`, `sync_inode_metadata`, `fsync` |
//! | `sync_parents` | `struct dentry`: the directories that `fsync` of a new file writes |
//! | [`dir`] | `inode_operations` and `file_operations` of a directory |
//! | [`open_dir`] | an open directory: its positions, and what is kept for each opener |
//! | [`file`] | `inode_operations` and `file_operations` of a regular file, `vm_operations_struct` |
//! | [`locked`] | `i_rwsem` and `invalidate_lock`, and the proofs that they are held |
//! | [`xattr`] | `struct xattr_handler`, `listxattr`, labels of security modules |
//! | [`acl`] | `struct posix_acl`, `get_inode_acl`, `set_acl` |
//! | [`open_file`] | `struct file`, for operations that are neither a read nor a write |
//! | [`fallocate`] | `fallocate` of `struct file_operations` |
//! | [`fileattr`] | `struct file_kattr`, `struct kstat` |
//! | [`quota`], [`project`] | the quota library: users and groups; projects |
//! | [`ioctl`] | commands of `ioctl(2)`, and the caller's memory |
//! | [`discard`], [`shutdown`] | telling the device what is free; `shutdown` of `super_operations` |
//! | [`kiocb`] | `struct kiocb` with its `struct iov_iter`: one read or write |
//! | [`address_space`] | `struct address_space`, `address_space_operations` |
//! | [`iomap`] | `iomap_begin`, `iomap_end`, write-back mapping |
//! | [`report`] | telling where blocks are: `SEEK_HOLE`, FIEMAP, FIBMAP, swap files |
//! | [`dio`] | `iomap_dio_rw`, its end_io, `inode_dio_wait` |
//! | [`hold`] | hold points: parking tasks and bios |
//! | [`buffer_head`] | `struct buffer_head`: a block of metadata |
//! | [`lost`] | buffers whose write failed: written again, or let go |
//! | [`trace`] | the driver's tracepoints |
//! | [`transaction`] | the one way to change metadata |
//! | [`export`] | `struct export_operations` |
//! | [`symlink`] | `get_link` of a symbolic link whose target lies in a block |
//! | [`errno`] | errnos that the kernel crate does not always name |
//! | `kunit` | tests that the kernel runs when the module is loaded |
//!
//! What differs from kernel to kernel is told apart by `cfg(notblk_has_…)`, here and in `sys` only: `rust/sys/probe.sh` asks
//! the kernel's source.
//!
//! # How these stay sound
//!
//! - References to C objects ([`Inode`], [`SuperBlock`]) are handed to callbacks with the callback's lifetime; a counted
//!   reference ([`InodeRef`]) is bound to the superblock's. Nothing can be kept past `umount`.
//! - What other tasks, user space or the disk may change while it is looked at (buffers) is copied, never borrowed.
//! - An object that C sees in two states has two types: [`inode::New`] and [`Inode`], `SuperBlock<T, New>` and
//!   [`SuperBlock`].
//! - A lock that a function needs held is an argument of it: [`locked::Locked`].

pub(crate) mod acl;
pub(crate) mod address_space;
pub(crate) mod buffer_head;
pub(crate) mod dio;
pub(crate) mod dir;
pub(crate) mod discard;
pub(crate) mod errno;
pub(crate) mod export;
pub(crate) mod fallocate;
pub(crate) mod file;
pub(crate) mod fileattr;
pub(crate) mod fs_context;
pub(crate) mod hold;
pub(crate) mod inode;
mod inode_sync;
pub(crate) mod ioctl;
pub(crate) mod iomap;
pub(crate) mod kiocb;
#[cfg(CONFIG_KUNIT = "y")]
mod kunit;
pub(crate) mod locked;
mod lost;
mod open_dir;
pub(crate) mod open_file;
pub(crate) mod project;
#[cfg_attr(
    not(CONFIG_QUOTA),
    allow(dead_code, reason = "what the library would ask, nobody asks")
)]
pub(crate) mod quota;
pub(crate) mod registration;
mod report;
pub(crate) mod shutdown;
pub(crate) mod super_block;
pub(crate) mod symlink;
mod sync_parents;
mod trace;
pub(crate) mod transaction;
pub(crate) mod xattr;

pub(crate) use buffer_head::Buffer;
pub(crate) use inode::{Inode, InodeRef};
pub(crate) use locked::{Exclusive, Locked, Shared};
pub(crate) use open_file::OpenFile;
pub(crate) use super_block::SuperBlock;
pub(crate) use transaction::{Transaction, WriteAccess};

use kernel::prelude::*;

/// A filesystem: its types, and the traits that become C's operation tables.
pub(crate) trait FileSystem:
    super_block::Operations
    + dir::Operations
    + file::Operations
    + symlink::Operations
    + export::Operations
    + xattr::Operations
    + acl::Operations
    + fallocate::Operations
    + fileattr::Operations
    + ioctl::Operations
    + shutdown::Operations
    + hold::Operations
    + iomap::Operations
    + quota::Operations
    + Sized
    + 'static
{
    /// What the mount options say (`fs_private` of `struct fs_context`).
    type Options: Default + Clone + Send + 'static;
    /// What belongs to a registered name of the filesystem.
    type TypeData: Send + Sync + 'static;
    /// What belongs to a mounted filesystem (`s_fs_info`).
    type SuperData: Send + Sync + 'static;
    /// What belongs to an inode beside `struct inode`, in the same slab object; mutable parts behind a lock that says
    /// what it protects.
    type InodeData: Send + Sync + 'static;

    /// Makes the data of an inode that has just been allocated. It is dropped by RCU callback when the inode is
    /// freed, so dropping it must not sleep.
    fn new_inode_data() -> impl PinInit<Self::InodeData, Error>;
}

/// `true` where C says success; `Err` with C's errno otherwise.
fn to_result(errno: c_int) -> Result {
    if errno < 0 {
        Err(Error::from_errno(errno))
    } else {
        Ok(())
    }
}

/// For C functions that answer a count of bytes or an errno.
fn to_count(ret: isize) -> Result<usize> {
    match usize::try_from(ret) {
        Ok(n) => Ok(n),
        // CAST: C's errnos fit `int`.
        Err(_) => Err(Error::from_errno(ret as c_int)),
    }
}

/// A file position or size that C keeps in a signed `loff_t`; VFS has checked that it is not negative, and a negative
/// one is taken as the end of everything rather than wrapped.
fn to_pos(pos: i64) -> u64 {
    u64::try_from(pos).unwrap_or(u64::MAX)
}

/// The other way round: positions past what `loff_t` holds do not occur on this format; clamped all the same.
fn to_loff(pos: u64) -> i64 {
    i64::try_from(pos).unwrap_or(i64::MAX)
}

#[kunit_tests(notblk_convert)]
mod tests {
    use super::{errno::*, *};
    use crate::sys::bindings;

    /// As `include/uapi/asm-generic/errno.h` numbers them.
    #[test]
    fn errnos_are_what_c_says() {
        assert_eq!(EUCLEAN.to_errno(), -117);
        assert_eq!(ESTALE.to_errno(), -116);
        assert_eq!(ESHUTDOWN.to_errno(), -108);
        assert_eq!(EOPNOTSUPP.to_errno(), -95);
        assert_eq!(ENOTEMPTY.to_errno(), -39);
        assert_eq!(ENAMETOOLONG.to_errno(), -36);
    }

    #[test]
    fn an_error_is_a_pointer_that_c_takes_for_one() {
        for error in [EPERM, ENOMEM, EUCLEAN, ENOTBLK] {
            let pointer: *mut c_void = error.to_ptr();
            // SAFETY: only looks at the value.
            assert!(unsafe { bindings::notblk_is_err(pointer) });
            assert_eq!(pointer.addr() as isize, error.to_errno() as isize);
        }
        let number = 0u64;
        // SAFETY: as above.
        assert!(!unsafe { bindings::notblk_is_err((&raw const number).cast()) });
        // SAFETY: as above.
        assert!(!unsafe { bindings::notblk_is_err(core::ptr::null()) });
    }

    #[test]
    fn results_and_counts() {
        assert!(to_result(0) == Ok(()));
        assert!(to_result(7) == Ok(()));
        assert!(to_result(-5) == Err(EIO));
        assert!(to_count(0) == Ok(0));
        assert!(to_count(4096) == Ok(4096));
        assert!(to_count(-28) == Err(ENOSPC));
    }

    #[test]
    fn positions_are_never_wrapped() {
        assert_eq!(to_pos(0), 0);
        assert_eq!(to_pos(i64::MAX), i64::MAX as u64);
        assert_eq!(to_pos(-1), u64::MAX);
        assert_eq!(to_loff(1 << 40), 1 << 40);
        assert_eq!(to_loff(u64::MAX), i64::MAX);
    }
}
