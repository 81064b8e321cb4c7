// SPDX-License-Identifier: GPL-2.0
//! ioctls of a filesystem's files: each with the argument that it wants.

use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::AsRawFd;

/// The number of an ioctl whose argument is copied out (2), in (1) or both ways (3). C: `_IOC`.
const fn number(ways: u32, kind: u8, number: u8, size: usize) -> u32 {
    ways << 30 | (size as u32) << 16 | (kind as u32) << 8 | number as u32
}

/// One ioctl.
///
/// # Safety
///
/// The kernel reads and writes no more than a `V` for this request, and any bytes are a `V`.
unsafe fn call<V>(file: &File, request: u32, value: &mut V) -> Result<()> {
    let value: *mut V = value;
    // SAFETY: a live value of the size that the request has, by the contract.
    match unsafe { libc::ioctl(file.as_raw_fd(), request as libc::Ioctl, value) } {
        0.. => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}

/// `struct fsxattr`
#[repr(C)]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct FsXattr {
    /// `FS_XFLAG_*`
    pub xflags: u32,
    /// Size of extents in bytes.
    pub extsize: u32,
    /// Number of extents.
    pub nextents: u32,
    /// Project.
    pub projid: u32,
    /// Size of copied extents in bytes.
    pub cowextsize: u32,
    pad: [u8; 8],
}

/// `FS_IOC_FSGETXATTR`
pub fn get_xattr(file: &File) -> Result<FsXattr> {
    let mut value = FsXattr::default();
    // SAFETY: the kernel writes one `struct fsxattr`.
    unsafe { call(file, number(2, b'X', 31, 28), &mut value) }?;
    Ok(value)
}

/// `FS_IOC_FSSETXATTR`
pub fn set_xattr(file: &File, mut value: FsXattr) -> Result<()> {
    // SAFETY: the kernel reads one `struct fsxattr`.
    unsafe { call(file, number(1, b'X', 32, 28), &mut value) }
}

/// Whose numbers the version's ioctls have.
#[derive(Debug, Clone, Copy)]
pub enum Version {
    /// `FS_IOC_GETVERSION`, `FS_IOC_SETVERSION`
    Vfs,
    /// `EXT4_IOC_GETVERSION`, `EXT4_IOC_SETVERSION`
    Ext4,
}

impl Version {
    /// The generation of a file.
    pub fn get(self, file: &File) -> Result<u32> {
        let request = match self {
            Version::Vfs => number(2, b'v', 1, 8),
            Version::Ext4 => number(2, b'f', 3, 8),
        };
        let mut value = 0_u32;
        // SAFETY: its size says `long`, but the kernel writes an int.
        unsafe { call(file, request, &mut value) }?;
        Ok(value)
    }

    /// Sets it.
    pub fn set(self, file: &File, mut value: u32) -> Result<()> {
        let request = match self {
            Version::Vfs => number(1, b'v', 2, 8),
            Version::Ext4 => number(1, b'f', 4, 8),
        };
        // SAFETY: its size says `long`, but the kernel reads an int.
        unsafe { call(file, request, &mut value) }
    }
}

/// Room for a label. C: `FSLABEL_MAX`.
const LABEL: usize = 256;

/// `FS_IOC_GETFSLABEL`: up to the first zero.
pub fn get_label(file: &File) -> Result<Vec<u8>> {
    let mut value = [0xaa_u8; LABEL];
    // SAFETY: the kernel writes at most `FSLABEL_MAX` bytes.
    unsafe { call(file, number(2, 0x94, 49, LABEL), &mut value) }?;
    let end = value.iter().position(|&byte| byte == 0);
    Ok(value[..end.unwrap_or(LABEL)].to_vec())
}

/// `FS_IOC_SETFSLABEL`
pub fn set_label(file: &File, label: &[u8]) -> Result<()> {
    let mut value = [0_u8; LABEL];
    value[..label.len()].copy_from_slice(label);
    // SAFETY: the kernel reads at most `FSLABEL_MAX` bytes.
    unsafe { call(file, number(1, 0x94, 50, LABEL), &mut value) }
}

/// `struct fsuuid` with its UUID.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct FsUuid {
    /// Bytes of the UUID.
    pub length: u32,
    /// None are known.
    pub flags: u32,
    /// The UUID.
    pub uuid: [u8; 16],
}

/// `EXT4_IOC_GETFSUUID`
pub fn get_uuid(file: &File, mut value: FsUuid) -> Result<FsUuid> {
    // SAFETY: the kernel reads and writes the head, and as many bytes behind it as a UUID has.
    unsafe { call(file, number(2, b'f', 44, 8), &mut value) }?;
    Ok(value)
}

/// `EXT4_IOC_SETFSUUID`
pub fn set_uuid(file: &File, mut value: FsUuid) -> Result<()> {
    // SAFETY: the kernel reads the head, and as many bytes behind it as a UUID has.
    unsafe { call(file, number(1, b'f', 44, 8), &mut value) }
}

/// `FS_IOC_GETFSUUID`, VFS's.
pub fn vfs_uuid(file: &File) -> Result<Vec<u8>> {
    let mut value = [0_u8; 17];
    // SAFETY: the kernel writes one `struct fsuuid2`: a length, and 16 bytes.
    unsafe { call(file, number(2, 0x15, 0, 17), &mut value) }?;
    Ok(value[1..][..usize::from(value[0])].to_vec())
}

/// `FS_IOC_GETFSSYSFSPATH`
pub fn sysfs_path(file: &File) -> Result<String> {
    let mut value = [0_u8; 129];
    // SAFETY: the kernel writes one `struct fs_sysfs_path`: a length, and 128 bytes.
    unsafe { call(file, number(2, 0x15, 1, 129), &mut value) }?;
    Ok(String::from_utf8_lossy(&value[1..][..usize::from(value[0])]).into_owned())
}

/// A command that no filesystem has.
pub fn unknown(file: &File) -> Result<()> {
    let mut value = 0_u32;
    // SAFETY: nobody reads or writes anything.
    unsafe { call(file, number(2, b'f', 99, 4), &mut value) }
}

/// `struct fstrim_range`, in bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Trim {
    /// First byte.
    pub start: u64,
    /// Length; afterwards, how much was trimmed.
    pub length: u64,
    /// Shorter runs are left alone.
    pub least: u64,
}

/// `FITRIM`: how many bytes were trimmed.
pub fn trim(file: &File, mut range: Trim) -> Result<u64> {
    // SAFETY: the kernel reads and writes one `struct fstrim_range`.
    unsafe { call(file, number(3, b'X', 121, 24), &mut range) }?;
    Ok(range.length)
}

/// `FS_IOC_SHUTDOWN`
pub fn shutdown(file: &File, mut flags: u32) -> Result<()> {
    // SAFETY: the kernel reads one int.
    unsafe { call(file, number(2, b'X', 125, 4), &mut flags) }
}
