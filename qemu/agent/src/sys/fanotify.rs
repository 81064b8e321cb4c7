// SPDX-License-Identifier: GPL-2.0
//! What fanotify(7) tells of a filesystem's errors (`FAN_FS_ERROR`).

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use std::ffi::CString;
use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Listens to one mounted filesystem.
pub struct Errors(File);

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub struct FsError {
    /// The errno, positive.
    pub errno: i32,
    /// How many errors it stands for: further ones are not told while it waits to be read.
    pub count: u32,
    /// Whose: the inode's number in the file handle.
    pub ino: Option<u32>,
}

/// A group of this class, with one mark: on `path`, or on more, as `of` says, for the events of `mask`.
fn listen(path: &Path, class: u32, of: u32, mask: u64) -> Result<File> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: no memory of ours is touched.
    let fd = unsafe { libc::fanotify_init(class | libc::FAN_CLOEXEC, libc::O_RDONLY as u32) };
    if fd < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else has.
    let file = unsafe { File::from_raw_fd(fd) };
    let flags = libc::FAN_MARK_ADD | of;
    // SAFETY: `path` is a C string that lives through the call.
    let code = unsafe { libc::fanotify_mark(fd, flags, mask, libc::AT_FDCWD, path.as_ptr()) };
    if code < 0 {
        return Err(Error::last_os_error());
    }
    Ok(file)
}

/// Waits for something to read; `TimedOut` where there is nothing for so many seconds.
fn wait_for(file: &File, seconds: i64) -> Result<()> {
    let mut fds = [PollFd::new(file, PollFlags::IN)];
    let wait = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    match poll(&mut fds, Some(&wait))? {
        0 => Err(ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

impl Errors {
    /// Of the filesystem on which `path` is.
    pub fn watch(path: &Path) -> Result<Errors> {
        let class = libc::FAN_CLASS_NOTIF | libc::FAN_REPORT_FID;
        listen(path, class, libc::FAN_MARK_FILESYSTEM, libc::FAN_FS_ERROR).map(Errors)
    }

    /// The next event; `TimedOut` where there is none for five seconds.
    pub fn next(&mut self) -> Result<FsError> {
        wait_for(&self.0, 5)?;
        // Less than two events, which all have the same length here.
        let mut bytes = [0; 4096];
        let length = self.0.read(&mut bytes)?;
        parse(&bytes[..length]).ok_or_else(|| Error::from(ErrorKind::InvalidData))
    }
}

/// `FAN_PRE_ACCESS`, which libc does not have.
const PRE_ACCESS: u64 = 0x0010_0000;
/// Bytes of `struct fanotify_event_metadata`.
const METADATA: usize = 24;

/// Is asked before a file is read.
pub struct PreAccess(File);

impl PreAccess {
    /// Of one file. `EINVAL` where the kernel asks nobody, `EOPNOTSUPP` where the filesystem does not.
    pub fn watch(path: &Path) -> Result<PreAccess> {
        let class = libc::FAN_CLASS_PRE_CONTENT | libc::FAN_NONBLOCK;
        listen(path, class, 0, PRE_ACCESS).map(PreAccess)
    }

    /// Lets the next reader go on; `TimedOut` where there is none for a second.
    pub fn allow_next(&mut self) -> Result<()> {
        wait_for(&self.0, 1)?;
        let mut bytes = [0; 4096];
        let length = self.0.read(&mut bytes)?;
        let mut rest = &bytes[..length];
        while rest.len() >= METADATA {
            let word = |at: usize| i32::from_ne_bytes([0, 1, 2, 3].map(|n| rest[at + n]));
            let fd = word(16);
            // `struct fanotify_response`.
            let mut answer = fd.to_ne_bytes().to_vec();
            answer.extend(libc::FAN_ALLOW.to_ne_bytes());
            self.0.write_all(&answer)?;
            // SAFETY: the event's descriptor is ours to close, and nobody else knows of it.
            drop(unsafe { File::from_raw_fd(fd) });
            let next = usize::try_from(word(0)).unwrap_or(0).max(METADATA);
            rest = rest.get(next..).unwrap_or_default();
        }
        Ok(())
    }
}

/// `struct fanotify_event_metadata`, behind which the particulars are, each with its type and its length.
fn parse(bytes: &[u8]) -> Option<FsError> {
    let u16_at = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let end = u32_at(0)? as usize;
    let mut at = usize::from(u16_at(6)?);
    let mut error = None;
    let mut ino = None;
    while at < end {
        let length = usize::from(u16_at(at + 2)?);
        match bytes.get(at).copied()? {
            libc::FAN_EVENT_INFO_TYPE_ERROR => {
                error = Some((u32_at(at + 4)? as i32, u32_at(at + 8)?));
            }
            // Behind the filesystem's identity: length, type, handle. `FILEID_INO32_GEN` begins with the number.
            libc::FAN_EVENT_INFO_TYPE_FID if u32_at(at + 16)? == 1 => ino = Some(u32_at(at + 20)?),
            _ => {}
        }
        at += length.max(4);
    }
    let (errno, count) = error?;
    Some(FsError { errno, count, ino })
}
