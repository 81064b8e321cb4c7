// SPDX-License-Identifier: GPL-2.0
//! Memory of which a part can be made inaccessible, so that the kernel, which copies from it, gets so far and no further.

use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::AsRawFd;
use std::os::raw::c_int;

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// Two pages. The first is always there; the second can be hidden, by any thread.
pub struct Fading(*mut u8);

// SAFETY: what the methods do to the memory they have the kernel do, which is safe from several threads; no reference into it
// exists.
unsafe impl Sync for Fading {}

impl Fading {
    /// Both pages full of one byte.
    pub fn new(byte: u8) -> Result<Fading> {
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                2 * PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        let start: *mut u8 = start.cast();
        // SAFETY: exactly the new mapping, which nobody else has yet.
        unsafe { std::ptr::write_bytes(start, byte, 2 * PAGE) };
        Ok(Fading(start))
    }

    /// Hides the second page.
    pub fn hide(&self) -> Result<()> {
        self.protect(libc::PROT_NONE)
    }

    /// Shows it again, as it was.
    pub fn show(&self) -> Result<()> {
        self.protect(libc::PROT_READ)
    }

    fn protect(&self, access: c_int) -> Result<()> {
        // SAFETY: the second page is ours, and this process makes no access to it but by the kernel, which answers EFAULT.
        match unsafe { libc::mprotect(self.0.add(PAGE).cast(), PAGE, access) } {
            0 => Ok(()),
            _ => Err(Error::last_os_error()),
        }
    }

    /// `pwrite` of the last `front` bytes of the first page and all of the second.
    pub fn write_to(&self, file: &File, front: usize, offset: u64) -> Result<usize> {
        assert!(front <= PAGE);
        // SAFETY: the range is inside the two pages; the kernel only reads it, and answers EFAULT or less where it cannot.
        let count = unsafe {
            libc::pwrite(
                file.as_raw_fd(),
                self.0.add(PAGE - front).cast(),
                front + PAGE,
                offset as libc::off_t,
            )
        };
        usize::try_from(count).map_err(|_| Error::last_os_error())
    }
}

impl Drop for Fading {
    fn drop(&mut self) {
        // SAFETY: the range is exactly our mapping, and no reference into it exists.
        unsafe { libc::munmap(self.0.cast(), 2 * PAGE) };
    }
}
