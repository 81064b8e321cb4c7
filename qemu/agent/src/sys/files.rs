// SPDX-License-Identifier: GPL-2.0
//! System calls and ioctls of single files: where their blocks are, swap, flags of one read or write.

use std::ffi::CString;
use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `FS_IOC_FIEMAP`
const FIEMAP: libc::Ioctl = 0xc020_660b_u32 as libc::Ioctl;
/// `FIBMAP`
const FIBMAP: libc::Ioctl = 1;
/// Words of `struct fiemap` before its extents.
const FIEMAP_WORDS: usize = 4;
/// Words of one `struct fiemap_extent`.
const EXTENT_WORDS: usize = 7;
/// `FIEMAP_FLAG_SYNC`
pub const FIEMAP_SYNC: u32 = 1;
/// `FIEMAP_FLAG_XATTR`
pub const FIEMAP_XATTR: u32 = 2;
/// `FIEMAP_FLAG_CACHE`
pub const FIEMAP_CACHE: u32 = 4;
/// `FIEMAP_EXTENT_LAST`
pub const EXTENT_LAST: u32 = 1;
/// `FIEMAP_EXTENT_NOT_ALIGNED`
pub const EXTENT_NOT_ALIGNED: u32 = 0x100;
/// `FIEMAP_EXTENT_DATA_INLINE`
pub const EXTENT_INLINE: u32 = 0x200;
/// `FIEMAP_EXTENT_MERGED`
pub const EXTENT_MERGED: u32 = 0x1000;

/// What FIEMAP says of a run of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First byte in the file.
    pub logical: u64,
    /// First byte on the device.
    pub physical: u64,
    /// Length in bytes.
    pub length: u64,
    /// `FIEMAP_EXTENT_*`
    pub flags: u32,
}

/// FIEMAP of `length` bytes from `start` on, for up to `room` extents; the number of them, where there is no room.
pub fn fiemap(
    file: &File,
    start: u64,
    length: u64,
    flags: u32,
    room: u32,
) -> Result<(u32, Vec<Extent>)> {
    let mut words = vec![0_u64; FIEMAP_WORDS + EXTENT_WORDS * room as usize];
    words[0] = start;
    words[1] = length;
    words[2] = u64::from(flags);
    words[3] = u64::from(room);
    // SAFETY: the kernel reads and writes one `struct fiemap` and as many extents behind it as it is told there is room for,
    // which is all of `words`.
    let code = unsafe { libc::ioctl(file.as_raw_fd(), FIEMAP, words.as_mut_ptr()) };
    if code < 0 {
        return Err(Error::last_os_error());
    }
    let mapped = (words[2] >> 32) as u32;
    let extents = words[FIEMAP_WORDS..]
        .chunks_exact(EXTENT_WORDS)
        .take(mapped as usize)
        .map(|words| Extent {
            logical: words[0],
            physical: words[1],
            length: words[2],
            flags: words[5] as u32,
        })
        .collect();
    Ok((mapped, extents))
}

/// FIBMAP: the block of the device that holds a block of the file, or 0.
pub fn fibmap(file: &File, block: i32) -> Result<i32> {
    let mut number = block;
    // SAFETY: the kernel reads and writes one int at the address.
    let code = unsafe { libc::ioctl(file.as_raw_fd(), FIBMAP, &mut number) };
    if code < 0 {
        return Err(Error::last_os_error());
    }
    Ok(number)
}

/// `swapon(2)`
pub fn swapon(path: &Path) -> Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: a C string that lives through the call.
    match unsafe { libc::swapon(path.as_ptr(), 0) } {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}

/// `swapoff(2)`
pub fn swapoff(path: &Path) -> Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: a C string that lives through the call.
    match unsafe { libc::swapoff(path.as_ptr()) } {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}

/// One `preadv2` with these `RWF_*`.
pub fn pread_flags(file: &File, data: &mut [u8], offset: u64, flags: i32) -> Result<usize> {
    let vector = libc::iovec {
        iov_base: data.as_mut_ptr().cast(),
        iov_len: data.len(),
    };
    // SAFETY: one vector that spans exactly `data`, borrowed for the length of the call.
    let code = unsafe { libc::preadv2(file.as_raw_fd(), &vector, 1, offset as i64, flags) };
    usize::try_from(code).map_err(|_| Error::last_os_error())
}

/// One `pwritev2` with these `RWF_*`.
pub fn pwrite_flags(file: &File, data: &[u8], offset: u64, flags: i32) -> Result<usize> {
    let vector = libc::iovec {
        iov_base: data.as_ptr().cast_mut().cast(),
        iov_len: data.len(),
    };
    // SAFETY: one vector that spans exactly `data`, which the kernel only reads.
    let code = unsafe { libc::pwritev2(file.as_raw_fd(), &vector, 1, offset as i64, flags) };
    usize::try_from(code).map_err(|_| Error::last_os_error())
}

/// Number of `cachestat(2)`, the same everywhere.
const CACHESTAT: libc::c_long = 451;

/// Pages of a file in the cache. C: `cachestat(2)`.
pub fn cached_pages(file: &File) -> Result<u64> {
    // `struct cachestat_range`: all of it.
    let range = [0_u64; 2];
    // `struct cachestat`
    let mut pages = [0_u64; 5];
    // SAFETY: the kernel reads the one and writes the other, which have the sizes of its structs.
    let code = unsafe { libc::syscall(CACHESTAT, file.as_raw_fd(), &range, &mut pages, 0_u32) };
    match code {
        0 => Ok(pages[0]),
        _ => Err(Error::last_os_error()),
    }
}
