// SPDX-License-Identifier: GPL-2.0

//! `ioctl(2)`: what of it is the filesystem's own.
//!
//! C: `fs/ioctl.c`, `fs/ext4/ioctl.c`. The flags of files, FIEMAP and the like have operations of their own.
//!
//! A command comes with the place of its argument, [`User`]: the filesystem copies it in or out when it has made its checks,
//! so that the errnos come in C's order.

use super::{to_result, Exclusive, FileSystem, Inode, Locked, OpenFile};
use crate::sys::bindings;
use core::marker::PhantomData;
use kernel::{
    error::from_result,
    prelude::*,
    transmute::{AsBytes, FromBytes},
    uaccess::{UserPtr, UserSlice},
};

/// A value of the calling process.
pub(crate) struct User<V> {
    address: usize,
    _value: PhantomData<V>,
}

impl<V: FromBytes + AsBytes> User<V> {
    fn new(address: usize) -> Self {
        Self {
            address,
            _value: PhantomData,
        }
    }

    fn slice(&self) -> UserSlice {
        UserSlice::new(UserPtr::from_addr(self.address), size_of::<V>())
    }

    /// Copies it in. C: `copy_from_user`.
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    pub(crate) fn read(&self) -> Result<V> {
        self.slice().reader().read()
    }

    /// Copies it out. C: `copy_to_user`.
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    pub(crate) fn write(&self, value: &V) -> Result {
        self.slice().writer().write(value)
    }
}

/// A command with its argument.
pub(crate) enum Command {
    /// `FS_IOC_GETVERSION`, `EXT4_IOC_GETVERSION`: `i_generation`.
    GetVersion(User<u32>),
    /// `FS_IOC_SETVERSION`, `EXT4_IOC_SETVERSION`
    SetVersion(User<u32>),
    /// `FS_IOC_GETFSLABEL`: the first bytes of what there is room for.
    GetLabel(User<Label>),
    /// `FS_IOC_SETFSLABEL`
    SetLabel(User<Label>),
    /// `EXT4_IOC_GETFSUUID`: `fsu_len` and `fsu_flags`, and the place of the UUID behind them.
    GetUuid(User<[u32; 2]>, User<[u8; 16]>),
    /// `EXT4_IOC_SETFSUUID`
    SetUuid(User<[u32; 2]>, User<[u8; 16]>),
    /// `FITRIM`
    Trim(User<TrimRange>),
    /// `FS_IOC_SHUTDOWN`
    Shutdown(User<u32>),
}

/// Bytes of the device: first, length, and the shortest run. C: `struct fstrim_range`.
pub(crate) type TrimRange = [u64; 3];

/// A label as it is copied: sixteen bytes, and a zero that ends it.
pub(crate) type Label = [u8; 17];

impl Command {
    /// `None` for what is none of the filesystem's.
    fn new(command: u32, argument: usize) -> Option<Self> {
        let uuid = || {
            (
                User::new(argument),
                User::new(argument.wrapping_add(size_of::<[u32; 2]>())),
            )
        };
        Some(match command {
            bindings::NOTBLK_IOC_GETVERSION | bindings::NOTBLK_IOC_GETVERSION_EXT4 => {
                Self::GetVersion(User::new(argument))
            }
            bindings::NOTBLK_IOC_SETVERSION | bindings::NOTBLK_IOC_SETVERSION_EXT4 => {
                Self::SetVersion(User::new(argument))
            }
            bindings::NOTBLK_IOC_GETFSLABEL => Self::GetLabel(User::new(argument)),
            bindings::NOTBLK_IOC_SETFSLABEL => Self::SetLabel(User::new(argument)),
            bindings::NOTBLK_IOC_GETFSUUID_EXT4 => {
                let (head, uuid) = uuid();
                Self::GetUuid(head, uuid)
            }
            bindings::NOTBLK_IOC_SETFSUUID_EXT4 => {
                let (head, uuid) = uuid();
                Self::SetUuid(head, uuid)
            }
            bindings::NOTBLK_IOC_TRIM => Self::Trim(User::new(argument)),
            bindings::NOTBLK_IOC_SHUTDOWN => Self::Shutdown(User::new(argument)),
            _ => return None,
        })
    }

    /// The command that a 32-bit process means: its `long` is shorter.
    fn of_compat(command: u32) -> u32 {
        match command {
            bindings::NOTBLK_IOC32_GETVERSION => bindings::NOTBLK_IOC_GETVERSION,
            bindings::NOTBLK_IOC32_SETVERSION => bindings::NOTBLK_IOC_SETVERSION,
            bindings::NOTBLK_IOC32_GETVERSION_EXT4 => bindings::NOTBLK_IOC_GETVERSION_EXT4,
            bindings::NOTBLK_IOC32_SETVERSION_EXT4 => bindings::NOTBLK_IOC_SETVERSION_EXT4,
            other => other,
        }
    }
}

/// What becomes `unlocked_ioctl` and `compat_ioctl` of `struct file_operations`.
pub(crate) trait Operations: Sized {
    /// Carries a command out. No lock is held. C: `ext4_ioctl`.
    fn ioctl(file: &OpenFile<'_, Self>, command: Command) -> Result
    where
        Self: FileSystem;
}

/// The functions of `struct file_operations` for `T`.
pub(super) struct Table<T>(PhantomData<T>);

impl<T: FileSystem> Table<T> {
    /// # Safety
    ///
    /// C's contract for `unlocked_ioctl`, on a file or a directory of ours.
    pub(super) unsafe extern "C" fn unlocked_ioctl(
        file: *mut bindings::file,
        command: c_uint,
        argument: c_ulong,
    ) -> c_long {
        from_result(|| {
            let command = Command::new(command, argument).ok_or(ENOTTY)?;
            // SAFETY: by the contract.
            T::ioctl(&unsafe { OpenFile::from_raw(file) }, command)?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// C's contract for `compat_ioctl`, on a file or a directory of ours.
    pub(super) unsafe extern "C" fn compat_ioctl(
        file: *mut bindings::file,
        command: c_uint,
        argument: c_ulong,
    ) -> c_long {
        from_result(|| {
            // CAST: a 32-bit process has set no more of it.
            // SAFETY: always.
            let argument = unsafe { bindings::notblk_compat_ptr(argument as u32) };
            let command = Command::new(Command::of_compat(command), argument).ok_or(ENOIOCTLCMD)?;
            // SAFETY: by the contract.
            T::ioctl(&unsafe { OpenFile::from_raw(file) }, command)?;
            Ok(0)
        })
    }
}

/// The mount cannot become read-only, nor be frozen, while this lives. C: `mnt_want_write_file`.
pub(crate) struct WantWrite<'a, T: FileSystem>(&'a OpenFile<'a, T>);

impl<T: FileSystem> Drop for WantWrite<'_, T> {
    fn drop(&mut self) {
        // SAFETY: taken when this was made; the file is open still.
        unsafe { bindings::mnt_drop_write_file(self.0.as_raw()) };
    }
}

impl<T: FileSystem> OpenFile<'_, T> {
    /// Asks for the right to write to the mount, however the file is open.
    ///
    /// # Errors
    ///
    /// `EROFS`.
    pub(crate) fn want_write(&self) -> Result<WantWrite<'_, T>> {
        // SAFETY: valid by invariant.
        to_result(unsafe { bindings::mnt_want_write_file(self.as_raw()) })?;
        Ok(WantWrite(self))
    }

    /// Whether the calling task owns the file, or may do as if. C: `inode_owner_or_capable`.
    pub(crate) fn is_owner_or_capable(&self) -> bool {
        // SAFETY: valid by invariant.
        unsafe {
            bindings::inode_owner_or_capable(
                bindings::notblk_file_mnt_idmap(self.as_raw()),
                self.inode().as_raw(),
            )
        }
    }
}

impl<T: FileSystem> Inode<T> {
    /// `i_generation`, which tells the owners of an inode's number apart.
    pub(crate) fn generation(&self) -> u32 {
        // SAFETY: valid by invariant. Changed under i_rwsem and read without it, as C does: a 32-bit load.
        unsafe { (&raw const (*self.as_raw()).i_generation).read_volatile() }
    }
}

impl<T: FileSystem> Locked<T, Exclusive> {
    /// Sets `i_generation`.
    pub(crate) fn set_generation(&self, generation: u32) {
        // SAFETY: valid by invariant, and no other writes it while i_rwsem is held.
        unsafe { (&raw mut (*self.as_raw()).i_generation).write_volatile(generation) };
    }
}

/// Whether the calling task administers the machine. C: `capable(CAP_SYS_ADMIN)`.
pub(crate) fn is_admin() -> bool {
    // SAFETY: always.
    unsafe { bindings::notblk_capable_admin() }
}
