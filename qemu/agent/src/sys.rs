// SPDX-License-Identifier: GPL-2.0
//! The system calls that no safe crate wraps: Linux AIO, io_uring with buffers, mmap, loop devices, file handles, mapped
//! owners, a thread's identity, freezing and the console's log level. With the files of `sys/` the only ones of the agent with
//! `unsafe`; each wrapper owns the memory that the kernel
//! works on for as long as it does.

pub mod dm;
pub mod fading;
pub mod fanotify;
pub mod files;
pub mod heap;
pub mod ioctl;
pub mod nbd;
pub mod thread;

use crate::buf::Buffer;
use io_uring::IoUring;
use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::fs::{File, OpenOptions};
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// `struct iocb` of the kernel's ABI, little-endian.
#[repr(C)]
#[derive(Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: i32,
    opcode: u16,
    reqprio: i16,
    fildes: u32,
    buf: u64,
    nbytes: u64,
    offset: i64,
    reserved2: u64,
    flags: u32,
    resfd: u32,
}

/// `struct io_event` of the kernel's ABI.
#[repr(C)]
#[derive(Default, Clone, Copy)]
struct IoEvent {
    data: u64,
    obj: u64,
    res: i64,
    res2: i64,
}

/// `IOCB_CMD_PREAD`
const PREAD: u16 = 0;
/// `IOCB_CMD_PWRITE`
const PWRITE: u16 = 1;

/// One request's place: its control block and its buffer.
struct Slot {
    iocb: Box<Iocb>,
    buffer: Buffer,
    busy: bool,
}

/// A Linux AIO context with a fixed number of requests, each with a buffer of its own.
pub struct Aio {
    context: u64,
    slots: Vec<Slot>,
    events: Vec<IoEvent>,
}

/// A request that has ended.
pub struct Completion {
    /// Its slot.
    pub slot: usize,
    /// Bytes, or a negated errno.
    pub result: i64,
}

impl Aio {
    /// A context for `depth` requests of up to `length` bytes.
    pub fn new(depth: usize, length: usize) -> Result<Aio> {
        let mut context: u64 = 0;
        // SAFETY: io_setup writes one word to the address given, which is a live u64.
        let code = unsafe { libc::syscall(libc::SYS_io_setup, depth as u64, &mut context) };
        if code < 0 {
            return Err(Error::last_os_error());
        }
        let slots = (0..depth)
            .map(|_| Slot {
                iocb: Box::default(),
                buffer: Buffer::new(length),
                busy: false,
            })
            .collect();
        Ok(Aio {
            context,
            slots,
            events: vec![IoEvent::default(); depth],
        })
    }

    /// The buffer of an idle slot; `None` while the kernel has it.
    pub fn buffer(&mut self, slot: usize) -> Option<&mut Buffer> {
        let slot = &mut self.slots[slot];
        (!slot.busy).then_some(&mut slot.buffer)
    }

    /// Requests under way.
    pub fn in_flight(&self) -> usize {
        self.slots.iter().filter(|slot| slot.busy).count()
    }

    /// Starts a write of the slot's whole buffer.
    pub fn write(&mut self, slot: usize, file: &File, offset: u64) -> Result<()> {
        self.submit(slot, PWRITE, file, offset, 0)
    }

    /// The same, with `RWF_` flags.
    pub fn write_with(&mut self, slot: usize, file: &File, offset: u64, flags: i32) -> Result<()> {
        self.submit(slot, PWRITE, file, offset, flags)
    }

    /// Starts a read into the slot's whole buffer.
    pub fn read(&mut self, slot: usize, file: &File, offset: u64) -> Result<()> {
        self.submit(slot, PREAD, file, offset, 0)
    }

    /// The same, with `RWF_` flags.
    pub fn read_with(&mut self, slot: usize, file: &File, offset: u64, flags: i32) -> Result<()> {
        self.submit(slot, PREAD, file, offset, flags)
    }

    fn submit(
        &mut self,
        index: usize,
        opcode: u16,
        file: &File,
        offset: u64,
        rw_flags: i32,
    ) -> Result<()> {
        let slot = &mut self.slots[index];
        assert!(!slot.busy, "slot {index} is under way");
        *slot.iocb = Iocb {
            data: index as u64,
            opcode,
            fildes: file.as_raw_fd() as u32,
            buf: slot.buffer.as_mut_ptr() as u64,
            nbytes: slot.buffer.len() as u64,
            offset: offset as i64,
            rw_flags,
            ..Iocb::default()
        };
        let pointer: *mut Iocb = &mut *slot.iocb;
        // SAFETY: the control block is boxed and the buffer is on the heap, so neither moves; both
        // stay untouched while `busy`, and outlive the request, since `drop` waits for it. The
        // kernel holds its own reference to the file.
        let code = unsafe { libc::syscall(libc::SYS_io_submit, self.context, 1_i64, &pointer) };
        if code != 1 {
            return Err(Error::last_os_error());
        }
        slot.busy = true;
        Ok(())
    }

    /// Waits for at least `least` requests and returns all that have ended.
    pub fn wait(&mut self, least: usize) -> Result<Vec<Completion>> {
        loop {
            // SAFETY: `events` has room for as many events as the call may write; no timeout.
            let code = unsafe {
                libc::syscall(
                    libc::SYS_io_getevents,
                    self.context,
                    least as i64,
                    self.events.len() as i64,
                    self.events.as_mut_ptr(),
                    std::ptr::null_mut::<libc::timespec>(),
                )
            };
            if code >= 0 {
                let slots = &mut self.slots;
                let ended = self.events[..code as usize].iter().map(|event| {
                    let slot = event.data as usize;
                    slots[slot].busy = false;
                    Completion {
                        slot,
                        result: event.res,
                    }
                });
                return Ok(ended.collect());
            }
            let error = Error::last_os_error();
            if error.kind() != std::io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

impl Drop for Aio {
    fn drop(&mut self) {
        // SAFETY: the context is ours and not used again. io_destroy returns only when no request
        // is under way, so the buffers that are freed next are not in use.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.context) };
    }
}

/// A shared, writable mapping of the first bytes of a file.
pub struct Mapping {
    start: *mut u8,
    length: usize,
}

impl Mapping {
    /// Maps `length` bytes from the file's start. Touching pages past its end kills the process
    /// with SIGBUS, so callers keep within it.
    pub fn new(file: &File, length: usize) -> Result<Mapping> {
        Mapping::at(file, 0, length)
    }

    /// The same from an offset, a multiple of the page size.
    pub fn at(file: &File, offset: u64, length: usize) -> Result<Mapping> {
        Mapping::map(libc::MAP_SHARED, file.as_raw_fd(), offset, length)
    }

    /// Memory of no file, whole pages of zeros, which the kernel may put into swap.
    pub fn anonymous(length: usize) -> Result<Mapping> {
        Mapping::map(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0, length)
    }

    fn map(flags: i32, fd: i32, offset: u64, length: usize) -> Result<Mapping> {
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                fd,
                offset as libc::off_t,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        Ok(Mapping {
            start: start.cast(),
            length,
        })
    }

    /// Where it begins.
    pub fn address(&self) -> usize {
        self.start as usize
    }

    /// Has the kernel take the pages away, those of no file to swap. They come back as they are touched.
    pub fn page_out(&self) -> Result<()> {
        // SAFETY: the range is exactly our mapping, and what it holds stays the same.
        match unsafe { libc::madvise(self.start.cast(), self.length, libc::MADV_PAGEOUT) } {
            0 => Ok(()),
            _ => Err(Error::last_os_error()),
        }
    }

    /// Copies out of the mapping.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        assert!(offset + into.len() <= self.length);
        // SAFETY: in bounds as just checked; the two do not overlap, one being ours alone.
        unsafe {
            std::ptr::copy_nonoverlapping(self.start.add(offset), into.as_mut_ptr(), into.len())
        }
    }

    /// Copies into the mapping.
    pub fn write(&self, offset: usize, from: &[u8]) {
        assert!(offset + from.len() <= self.length);
        // SAFETY: in bounds as just checked; the two do not overlap, one being ours alone. No
        // reference into the mapping exists, so nothing is aliased.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), self.start.add(offset), from.len()) }
    }

    /// `pwrite` of all of it. Pages past the end of the mapped file, which the process must not touch, end the write early.
    pub fn write_to(&self, file: &File, offset: u64) -> Result<usize> {
        // SAFETY: the range is exactly our mapping. The kernel copies from it and answers EFAULT, or a
        // short count, where there is nothing.
        let count = unsafe {
            libc::pwrite(
                file.as_raw_fd(),
                self.start.cast(),
                self.length,
                offset as libc::off_t,
            )
        };
        usize::try_from(count).map_err(|_| Error::last_os_error())
    }

    /// `pread` of another file into a part of it: a write by the mapping that the kernel does, so that a page that cannot be
    /// had is EFAULT or a short count, not the process's death.
    pub fn fill_from(&self, file: &File, at: u64, start: usize, length: usize) -> Result<usize> {
        assert!(start + length <= self.length);
        // SAFETY: in bounds as just checked. The kernel writes to the mapping, into which no reference exists.
        let count = unsafe {
            libc::pread(
                file.as_raw_fd(),
                self.start.add(start).cast(),
                length,
                at as libc::off_t,
            )
        };
        usize::try_from(count).map_err(|_| Error::last_os_error())
    }

    /// `pwrite` of a part of it to the beginning of another file, with the same answers.
    pub fn copy_to(&self, file: &File, start: usize, length: usize) -> Result<usize> {
        assert!(start + length <= self.length);
        // SAFETY: in bounds as just checked; the kernel only reads from the mapping.
        let count =
            unsafe { libc::pwrite(file.as_raw_fd(), self.start.add(start).cast(), length, 0) };
        usize::try_from(count).map_err(|_| Error::last_os_error())
    }

    /// `msync(MS_SYNC)` of all of it.
    pub fn sync(&self) -> Result<()> {
        // SAFETY: the range is exactly our mapping.
        match unsafe { libc::msync(self.start.cast(), self.length, libc::MS_SYNC) } {
            0 => Ok(()),
            _ => Err(Error::last_os_error()),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is exactly our mapping, and no reference into it exists.
        unsafe { libc::munmap(self.start.cast(), self.length) };
    }
}

/// One write by io_uring: the bytes written, or a negated errno.
pub fn uring_write(file: &File, data: &Buffer, offset: u64) -> Result<i32> {
    uring_write_with(file, data, offset, 0)
}

/// The same, with `RWF_` flags.
pub fn uring_write_with(file: &File, data: &Buffer, offset: u64, flags: i32) -> Result<i32> {
    let entry = io_uring::opcode::Write::new(
        io_uring::types::Fd(file.as_raw_fd()),
        data.as_ptr(),
        data.len() as u32,
    )
    .offset(offset)
    .rw_flags(flags)
    .build();
    uring(&entry)
}

/// One read by io_uring: the bytes read, or a negated errno.
pub fn uring_read(file: &File, data: &mut Buffer, offset: u64) -> Result<i32> {
    uring_read_with(file, data, offset, 0)
}

/// The same, with `RWF_` flags.
pub fn uring_read_with(file: &File, data: &mut Buffer, offset: u64, flags: i32) -> Result<i32> {
    let entry = io_uring::opcode::Read::new(
        io_uring::types::Fd(file.as_raw_fd()),
        data.as_mut_ptr(),
        data.len() as u32,
    )
    .offset(offset)
    .rw_flags(flags)
    .build();
    uring(&entry)
}

thread_local! {
    /// One ring for all requests of a thread. A ring that comes and goes with each request makes kernel 7.2 lose some: a worker
    /// that is told to exit because the last ring is gone does not see what a new ring queues at that moment, and nobody ever
    /// runs it. 7.3 looks once more (`io_worker_retire` in `io_uring/io-wq.c`).
    static RING: RefCell<Option<IoUring>> = const { RefCell::new(None) };
}

/// Runs one entry to its end.
fn uring(entry: &io_uring::squeue::Entry) -> Result<i32> {
    RING.with_borrow_mut(|ring| match ring {
        Some(ring) => uring_on(ring, entry),
        None => uring_on(ring.insert(IoUring::new(2)?), entry),
    })
}

/// The same, on this ring, which nothing else is on.
fn uring_on(ring: &mut IoUring, entry: &io_uring::squeue::Entry) -> Result<i32> {
    // SAFETY: all callers hold the buffer borrowed until this function returns, which it does
    // only after the entry has completed.
    unsafe { ring.submission().push(entry) }.map_err(|error| Error::other(error.to_string()))?;
    while ring.completion().is_empty() {
        match ring.submit_and_wait(1) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                // The kernel may still own the buffer: there is no way back.
                panic!("io_uring_enter: {error}");
            }
            _ => {}
        }
    }
    let completion = ring.completion().next();
    completion
        .map(|done| done.result())
        .ok_or_else(|| Error::other("no completion"))
}

/// One `preadv2` with `RWF_NOWAIT`.
pub fn pread_nowait(file: &File, data: &mut [u8], offset: u64) -> Result<usize> {
    pread_with(file, data, offset, libc::RWF_NOWAIT)
}

/// The writing twin of [`pread_nowait`].
pub fn pwrite_nowait(file: &File, data: &[u8], offset: u64) -> Result<usize> {
    pwrite_with(file, data, offset, libc::RWF_NOWAIT)
}

/// One `preadv2` with `RWF_` flags.
pub fn pread_with(file: &File, data: &mut [u8], offset: u64, flags: i32) -> Result<usize> {
    let vector = libc::iovec {
        iov_base: data.as_mut_ptr().cast(),
        iov_len: data.len(),
    };
    // SAFETY: one vector that spans exactly `data`, borrowed for the length of the call.
    let code = unsafe { libc::preadv2(file.as_raw_fd(), &vector, 1, offset as i64, flags) };
    usize::try_from(code).map_err(|_| Error::last_os_error())
}

/// The writing twin of [`pread_with`].
pub fn pwrite_with(file: &File, data: &[u8], offset: u64, flags: i32) -> Result<usize> {
    let vector = libc::iovec {
        iov_base: data.as_ptr().cast_mut().cast(),
        iov_len: data.len(),
    };
    // SAFETY: one vector that spans exactly `data`, which the kernel only reads.
    let code = unsafe { libc::pwritev2(file.as_raw_fd(), &vector, 1, offset as i64, flags) };
    usize::try_from(code).map_err(|_| Error::last_os_error())
}

/// `LOOP_CTL_GET_FREE`
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;
/// `LOOP_CONFIGURE`
const LOOP_CONFIGURE: libc::Ioctl = 0x4c0a;
/// `LOOP_CLR_FD`
const LOOP_CLR_FD: libc::Ioctl = 0x4c01;
/// `LO_FLAGS_DIRECT_IO`
const LO_FLAGS_DIRECT_IO: u32 = 16;

/// `struct loop_info64` of the kernel's ABI.
#[repr(C)]
struct LoopInfo {
    numbers: [u64; 5],
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config` of the kernel's ABI.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// A loop device in direct mode.
pub struct Loop {
    device: File,
    number: i32,
}

impl Loop {
    /// Attaches a free loop device to a file that was opened with `O_DIRECT`.
    pub fn attach(file: &File) -> Result<Loop> {
        let open = |path: &str| OpenOptions::new().read(true).write(true).open(path);
        let control = open("/dev/loop-control")?;
        // SAFETY: this ioctl takes no argument.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        if number < 0 {
            return Err(Error::last_os_error());
        }
        let device = open(&format!("/dev/loop{number}"))?;
        let config = LoopConfig {
            fd: file.as_raw_fd() as u32,
            block_size: 512,
            info: LoopInfo {
                numbers: [0; 5],
                number: 0,
                encrypt_type: 0,
                encrypt_key_size: 0,
                flags: LO_FLAGS_DIRECT_IO,
                file_name: [0; 64],
                crypt_name: [0; 64],
                encrypt_key: [0; 32],
                init: [0; 2],
            },
            reserved: [0; 8],
        };
        // SAFETY: the kernel reads one `loop_config` from the address, which is of that layout and
        // lives through the call.
        let code = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &config) };
        if code < 0 {
            return Err(Error::last_os_error());
        }
        Ok(Loop { device, number })
    }

    /// Its name below `/dev` and `/sys/block`.
    pub fn name(&self) -> String {
        format!("loop{}", self.number)
    }

    /// Lets the file go; what was written is on it then.
    pub fn detach(self) -> Result<()> {
        self.device.sync_all()
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // SAFETY: this ioctl takes no argument that is used. A failure leaves the device attached,
        // and the unmount that follows fails for it, which is how it is noticed.
        unsafe { libc::ioctl(self.device.as_raw_fd(), LOOP_CLR_FD, 0) };
    }
}

/// `struct if_dqblk` of the kernel's ABI.
#[repr(C)]
#[derive(Default)]
pub struct Dqblk {
    /// KiB.
    pub bhardlimit: u64,
    /// KiB.
    pub bsoftlimit: u64,
    /// Bytes.
    pub curspace: u64,
    /// Inodes.
    pub ihardlimit: u64,
    /// Inodes.
    pub isoftlimit: u64,
    /// Inodes.
    pub curinodes: u64,
    /// Seconds.
    pub btime: u64,
    /// Seconds.
    pub itime: u64,
    /// Which fields count: `QIF_*`.
    pub valid: u32,
}

/// The last argument of `quotactl(2)`, by command.
pub enum QuotaArg<'a> {
    /// Nothing.
    None,
    /// For `Q_GETQUOTA` and `Q_SETQUOTA`.
    Block(&'a mut Dqblk),
    /// For `Q_QUOTAON`.
    Path(&'a CStr),
}

/// `quotactl(2)`: the command with its kind of quota, the device, the id (or the format), and what the command takes.
pub fn quotactl(command: i32, device: &CStr, id: u32, argument: QuotaArg<'_>) -> Result<()> {
    let pointer = match argument {
        QuotaArg::None => std::ptr::null_mut(),
        QuotaArg::Block(block) => std::ptr::from_mut(block).cast::<libc::c_void>(),
        QuotaArg::Path(path) => path.as_ptr().cast_mut().cast(),
    };
    // SAFETY: the device is a C string, and the pointer what the command's callers in quota.rs pass for it: a `Dqblk` that is
    // borrowed for the call, or a C string that the kernel only reads.
    let code = unsafe {
        libc::syscall(
            libc::SYS_quotactl,
            i64::from(command),
            device.as_ptr(),
            u64::from(id),
            pointer,
        )
    };
    match code {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}

/// Runs something in a thread of its own as another user, with some groups more than its own, and without any capability
/// unless the user is root.
///
/// The kernel keeps ids by thread; the C library's functions, which change them in all, are not used.
pub fn as_user<T: Send>(
    uid: u32,
    gid: u32,
    more: &[u32],
    run: impl FnOnce() -> T + Send,
) -> Result<T> {
    let become_user = || {
        let (uid, gid) = (u64::from(uid), u64::from(gid));
        // SAFETY: the first call reads as many numbers as there are; the others take numbers alone. All three change this
        // thread, which ends when `run` has returned.
        let codes = unsafe {
            [
                libc::syscall(libc::SYS_setgroups, more.len(), more.as_ptr()),
                libc::syscall(libc::SYS_setresgid, gid, gid, gid),
                libc::syscall(libc::SYS_setresuid, uid, uid, uid),
            ]
        };
        if codes.iter().any(|&code| code != 0) {
            return Err(Error::last_os_error());
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| become_user().map(|()| run()));
        thread
            .join()
            .unwrap_or_else(|_| Err(Error::other("the other user's thread panicked")))
    })
}

/// `SYSLOG_ACTION_CONSOLE_LEVEL`
const CONSOLE_LEVEL: libc::c_int = 8;

/// Lets only lines of the kernel's log that are graver than this level reach the console. `/dev/kmsg` has them all.
pub fn console_level(level: i32) -> Result<()> {
    // SAFETY: this action takes its argument as a number; the pointer is not used.
    match unsafe { libc::klogctl(CONSOLE_LEVEL, std::ptr::null_mut(), level) } {
        0.. => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}

/// The most bytes of a handle.
const HANDLE_BYTES: usize = 128;
/// `AT_HANDLE_CONNECTABLE`
const AT_HANDLE_CONNECTABLE: i32 = 0x2;

/// A file's handle, as NFS servers keep it: `struct file_handle` of the kernel's ABI.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Handle {
    bytes: u32,
    kind: i32,
    data: [u8; HANDLE_BYTES],
}

impl Handle {
    /// The handle of a path; a symbolic link is not followed.
    pub fn of(path: &Path) -> Result<Handle> {
        Handle::with_flags(path, 0)
    }

    /// One that says as well which directory the path's end is in.
    pub fn connectable(path: &Path) -> Result<Handle> {
        Handle::with_flags(path, AT_HANDLE_CONNECTABLE)
    }

    fn with_flags(path: &Path, flags: i32) -> Result<Handle> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut handle = Handle {
            bytes: HANDLE_BYTES as u32,
            kind: 0,
            data: [0; HANDLE_BYTES],
        };
        let mut mount = 0;
        let place: *mut Handle = &mut handle;
        // SAFETY: path and handle live through the call; the handle says how much room it has.
        let code = unsafe {
            libc::name_to_handle_at(
                libc::AT_FDCWD,
                path.as_ptr(),
                place.cast(),
                &mut mount,
                flags,
            )
        };
        if code < 0 {
            return Err(Error::last_os_error());
        }
        Ok(handle)
    }

    /// Opens what it stands for, on the filesystem of `mount`.
    pub fn open(&self, mount: &File, flags: i32) -> Result<File> {
        let mut handle = *self;
        let place: *mut Handle = &mut handle;
        // SAFETY: the handle lives through the call, which reads as many bytes as it says to have, at most all.
        let fd = unsafe { libc::open_by_handle_at(mount.as_raw_fd(), place.cast(), flags) };
        if fd < 0 {
            return Err(Error::last_os_error());
        }
        // SAFETY: a new descriptor, ours alone.
        Ok(unsafe { File::from_raw_fd(fd) })
    }

    /// The same with one 32-bit word of the file's identification changed: 0 is its inode number, 1 its generation.
    pub fn with_word(mut self, index: usize, change: impl FnOnce(u32) -> u32) -> Handle {
        if let Some(word) = self.data.chunks_exact_mut(4).nth(index) {
            let mut value = [0; 4];
            value.copy_from_slice(word);
            word.copy_from_slice(&change(u32::from_ne_bytes(value)).to_ne_bytes());
        }
        self
    }
}

/// `MOUNT_ATTR_IDMAP`
const MOUNT_ATTR_IDMAP: u64 = 0x10_0000;

/// Maps the owners of a detached mount by a user namespace (`mount_setattr`).
pub fn idmap(tree: BorrowedFd<'_>, namespace: &File) -> Result<()> {
    let attributes: [u64; 4] = [MOUNT_ATTR_IDMAP, 0, 0, namespace.as_raw_fd() as u64];
    // SAFETY: the path and the attributes, which have the layout of `struct mount_attr`, live through the call.
    let code = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            attributes.as_ptr(),
            size_of_val(&attributes),
        )
    };
    if code < 0 {
        return Err(Error::last_os_error());
    }
    Ok(())
}

/// Has the program run in a new user namespace.
pub fn in_user_namespace(command: &mut Command) -> &mut Command {
    let enter = || {
        // SAFETY: takes a number.
        match unsafe { libc::unshare(libc::CLONE_NEWUSER) } {
            0 => Ok(()),
            _ => Err(Error::last_os_error()),
        }
    };
    // SAFETY: the closure makes one system call, and allocates nothing.
    unsafe { command.pre_exec(enter) }
}

/// `FIFREEZE`
const FIFREEZE: libc::Ioctl = 0xc004_5877;
/// `FITHAW`
const FITHAW: libc::Ioctl = 0xc004_5878;

/// Freezes the filesystem that a file is on: its device holds still from then on.
pub fn freeze(file: &File) -> Result<()> {
    plain_ioctl(file, FIFREEZE)
}

/// Lets it go on.
pub fn thaw(file: &File) -> Result<()> {
    plain_ioctl(file, FITHAW)
}

/// One of those two.
fn plain_ioctl(file: &File, request: libc::Ioctl) -> Result<()> {
    // SAFETY: these ioctls do not use their argument.
    match unsafe { libc::ioctl(file.as_raw_fd(), request, 0) } {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}

/// Gives this thread the file-system identity of a user and group; with any user but 0 it loses the privileges over files.
pub fn set_fs_user(user: u32, group: u32) {
    // SAFETY: the two take numbers and touch no memory. They fail only where the caller may not, and PID 1 may.
    unsafe {
        libc::setfsgid(group);
        libc::setfsuid(user);
    }
}

/// `truncate`, which opens nothing.
pub fn truncate(path: &str, size: u64) -> Result<()> {
    let path = CString::new(path)?;
    // SAFETY: the path ends with a zero and lives through the call.
    match unsafe { libc::truncate(path.as_ptr(), size as libc::off_t) } {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}
