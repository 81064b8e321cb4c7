// SPDX-License-Identifier: GPL-2.0
//! One of the two filesystems, and how an operation is done on it.

use super::op::{Op, What, SLOTS};
use crate::buf::{Buffer, Random};
use crate::fs::{self, tool, Image, Mounted};
use crate::sys::{self, Mapping};
use anyhow::{ensure, Context, Result};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    Access, AtFlags, Dev, FileType, Gid, Mode, OFlags, RawDir, RenameFlags, SeekFrom, Timespec,
    Timestamps, Uid, CWD,
};
use rustix::io::Errno;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

/// Most bytes that one operation reads or writes.
pub const MOST: usize = 192 << 10;
/// Bytes of the stock that writes take their data from; the last [`MOST`] are where no data begins.
pub const STOCK: usize = MOST + (64 << 10);
/// The ordinary user, and its group.
pub const USER: u32 = 1000;
/// Of a file's ranges as many are looked at.
const RANGES: usize = 200;
/// utimensat: the time is now, or stays.
const UTIME_NOW: i64 = 0x3fff_ffff;
const UTIME_OMIT: i64 = 0x3fff_fffe;

/// What both sides write from.
pub struct Stock {
    bytes: Buffer,
    /// The same, as a file that mappings are filled from.
    file: File,
    /// A file of a page of zeroes, for the same use.
    zeroes: File,
}

impl Stock {
    /// Random bytes.
    pub fn new(seed: u64) -> Result<Rc<Stock>> {
        let mut bytes = Buffer::new(STOCK);
        Random(seed).fill(&mut bytes);
        let memory = |name| -> Result<File> {
            let flags = rustix::fs::MemfdFlags::CLOEXEC;
            Ok(File::from(rustix::fs::memfd_create(name, flags)?))
        };
        let (file, zeroes) = (memory("stock")?, memory("zeroes")?);
        file.write_all_at(&bytes, 0)?;
        zeroes.set_len(4096)?;
        Ok(Rc::new(Stock {
            bytes,
            file,
            zeroes,
        }))
    }
}

/// How an operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// Well, with the number that the call returned.
    Ok(u64),
    /// With an errno.
    Err(Errno),
    /// There was no open file to do it on.
    Idle,
}

impl From<Result<u64, Errno>> for Done {
    fn from(result: Result<u64, Errno>) -> Done {
        match result {
            Ok(value) => Done::Ok(value),
            Err(errno) => Done::Err(errno),
        }
    }
}

/// One of the two filesystems.
pub struct Side {
    /// The filesystem type.
    pub kind: &'static str,
    /// Its disk.
    pub disk: &'static str,
    place: &'static str,
    options: &'static str,
    mounted: Option<(Mounted, OwnedFd)>,
    slots: [Option<File>; SLOTS],
    /// What the last operation read.
    pub data: Vec<u8>,
    buffer: Buffer,
    stock: Rc<Stock>,
    /// Where mappings are read into.
    sink: File,
}

impl Side {
    /// Makes the filesystem and mounts it.
    pub fn new(
        kind: &'static str,
        disk: &'static str,
        place: &'static str,
        image: Image,
        stock: Rc<Stock>,
    ) -> Result<Side> {
        make(disk, image)?;
        Side::over(kind, disk, place, stock)
    }

    /// Mounts a filesystem that is there.
    pub fn over(
        kind: &'static str,
        disk: &'static str,
        place: &'static str,
        stock: Rc<Stock>,
    ) -> Result<Side> {
        let sink = rustix::fs::memfd_create("sink", rustix::fs::MemfdFlags::CLOEXEC)?;
        let mut side = Side {
            kind,
            disk,
            place,
            // A write has its blocks when it returns, on both. By `relatime` it would depend on how long an operation takes
            // whether a later read changes the access time.
            options: match kind {
                "ext4" => "strictatime,nodelalloc",
                _ => "strictatime",
            },
            mounted: None,
            slots: Default::default(),
            data: Vec::new(),
            buffer: Buffer::new(MOST),
            stock,
            sink: File::from(sink),
        };
        side.mount()?;
        Ok(side)
    }

    /// Mounts it.
    pub fn mount(&mut self) -> Result<()> {
        let mounted = Mounted::of_type(self.kind, self.disk, self.place, self.options)?;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let root = rustix::fs::open(self.place, flags, Mode::empty()).context("open the root")?;
        self.mounted = Some((mounted, root));
        Ok(())
    }

    /// Closes all files and unmounts.
    pub fn unmount(&mut self) -> Result<()> {
        self.slots = Default::default();
        match self.mounted.take() {
            Some((mounted, root)) => {
                drop(root);
                mounted.end()
            }
            None => Ok(()),
        }
    }

    /// The root directory.
    pub fn root(&self) -> BorrowedFd<'_> {
        match &self.mounted {
            Some((_, root)) => root.as_fd(),
            // Not reached: all that works on it is done between mount and unmount. The kernel would answer EBADF.
            None => CWD,
        }
    }

    /// An open file.
    pub fn slot(&self, slot: usize) -> Option<&File> {
        self.slots.get(slot)?.as_ref()
    }

    /// A file of a page of zeroes.
    pub fn zeroes(&self) -> &File {
        &self.stock.zeroes
    }

    /// Writes all that is in memory.
    pub fn sync(&self) -> Result<()> {
        rustix::fs::syncfs(self.root()).context("syncfs")
    }

    /// Does an operation; what it reads is in [`Side::data`] then.
    pub fn apply(&mut self, op: &Op) -> Done {
        self.data.clear();
        if op.user {
            sys::set_fs_user(USER, USER);
        }
        let done = self.call(&op.what);
        if op.user {
            sys::set_fs_user(0, 0);
        }
        done
    }

    fn call(&mut self, what: &What) -> Done {
        if let What::Open {
            slot,
            path,
            flags,
            mode,
        } = what
        {
            return self.open(*slot, path, *flags, *mode).into();
        }
        if let What::Close(slot) = what {
            return match self.slots.get_mut(*slot).and_then(Option::take) {
                Some(_) => Done::Ok(0),
                None => Done::Idle,
            };
        }
        if let Some(slot) = what.slot() {
            // Out of its place, so that the buffers can be used beside it.
            let Some(file) = self.slots.get_mut(slot).and_then(Option::take) else {
                return Done::Idle;
            };
            let done = self.on_file(what, &file);
            self.slots[slot] = Some(file);
            return done;
        }
        self.on_path(what).into()
    }

    fn open(&mut self, slot: usize, path: &str, flags: OFlags, mode: u32) -> Result<u64, Errno> {
        // Without O_NONBLOCK a FIFO would wait for its other end.
        let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat(self.root(), path, flags, Mode::from_raw_mode(mode))?;
        self.slots[slot] = Some(File::from(file));
        Ok(0)
    }

    /// What works on the file of one slot.
    fn on_file(&mut self, what: &What, file: &File) -> Done {
        if let What::Copy(from, at, to, to_at, length) = *what {
            // Its own slot is empty at this moment.
            let source = match from == to {
                true => file,
                false => match self.slot(from) {
                    Some(source) => source,
                    None => return Done::Idle,
                },
            };
            let (mut at, mut to_at) = (at, to_at);
            let copied =
                rustix::fs::copy_file_range(source, Some(&mut at), file, Some(&mut to_at), length);
            return copied.map(|count| count as u64).into();
        }
        let zero = |()| 0;
        let count = |count: usize| count as u64;
        let result = match *what {
            What::Ftruncate(_, size) => rustix::fs::ftruncate(file, size).map(zero),
            What::Fallocate(_, mode, offset, length) => {
                rustix::fs::fallocate(file, mode, offset, length).map(zero)
            }
            What::Fchmod(_, mode) => rustix::fs::fchmod(file, Mode::from_raw_mode(mode)).map(zero),
            What::Fsync(_, false) => rustix::fs::fsync(file).map(zero),
            What::Fsync(_, true) => rustix::fs::fdatasync(file).map(zero),
            What::Seek(_, start) => self.ranges(file, start),
            What::LinkSlot(_, ref path) => {
                rustix::fs::linkat(file, "", self.root(), path.as_str(), AtFlags::EMPTY_PATH)
                    .map(zero)
            }
            What::Read(_, offset, length) => {
                let buffer = &mut self.buffer[..length];
                rustix::io::pread(file, &mut *buffer, offset).map(|length| {
                    self.data.extend_from_slice(&buffer[..length]);
                    length as u64
                })
            }
            What::Write(_, offset, length, from) => {
                let from = from as usize;
                rustix::io::pwrite(file, &self.stock.bytes[from..from + length], offset)
                    .map(count)
                    .inspect_err(|_| level(file, offset, length))
            }
            What::Append(_, length, from) => {
                let from = from as usize;
                let offset = rustix::fs::tell(file).unwrap_or(0);
                rustix::io::write(file, &self.stock.bytes[from..from + length])
                    .map(count)
                    .inspect_err(|_| level(file, offset, length))
            }
            What::MapRead(_, offset, length) => self.map_read(file, offset, length),
            What::MapWrite(_, offset, length, from) => {
                let (start, skip) = page_of(offset);
                Mapping::at(file, start, skip + length)
                    .and_then(|map| map.fill_from(&self.stock.file, from.into(), skip, length))
                    .map(count)
                    .map_err(errno_of)
            }
            _ => Err(Errno::NOSYS),
        };
        result.into()
    }

    fn map_read(&mut self, file: &File, offset: u64, length: usize) -> Result<u64, Errno> {
        let (start, skip) = page_of(offset);
        let map = Mapping::at(file, start, skip + length).map_err(errno_of)?;
        let count = map.copy_to(&self.sink, skip, length).map_err(errno_of)?;
        let buffer = &mut self.buffer[..count];
        self.sink.read_exact_at(buffer, 0).map_err(errno_of)?;
        self.data.extend_from_slice(buffer);
        Ok(count as u64)
    }

    /// The file's ranges of data, as text like `0-4096 8192-12288`.
    fn ranges(&mut self, file: &File, start: u64) -> Result<u64, Errno> {
        // Where a directory has data is its driver's affair: with an index, positions are hashes.
        if FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode) == FileType::Directory {
            return Err(Errno::ISDIR);
        }
        let mut text = String::new();
        let mut at = start;
        let mut count = 0;
        for _ in 0..RANGES {
            let from = match rustix::fs::seek(file, SeekFrom::Data(at)) {
                Ok(from) => from,
                Err(Errno::NXIO) if count > 0 => break,
                Err(errno) => return Err(errno),
            };
            at = rustix::fs::seek(file, SeekFrom::Hole(from))?;
            text.push_str(&format!("{from}-{at} "));
            count += 1;
        }
        self.data.extend_from_slice(text.as_bytes());
        Ok(count)
    }

    /// What works on names.
    fn on_path(&mut self, what: &What) -> Result<u64, Errno> {
        let zero = |()| 0;
        let follow = |follow: bool| match follow {
            true => AtFlags::empty(),
            false => AtFlags::SYMLINK_NOFOLLOW,
        };
        let root = self.root();
        match what {
            What::Mkdir(path, mode) => {
                rustix::fs::mkdirat(root, path.as_str(), Mode::from_raw_mode(*mode)).map(zero)
            }
            What::Rmdir(path) => {
                rustix::fs::unlinkat(root, path.as_str(), AtFlags::REMOVEDIR).map(zero)
            }
            What::Unlink(path) => {
                rustix::fs::unlinkat(root, path.as_str(), AtFlags::empty()).map(zero)
            }
            What::Mknod(path, mode, device) => {
                let kind = FileType::from_raw_mode(*mode);
                let mode = Mode::from_raw_mode(*mode);
                rustix::fs::mknodat(root, path.as_str(), kind, mode, *device as Dev).map(zero)
            }
            What::Symlink(target, path) => {
                rustix::fs::symlinkat(target.as_str(), root, path.as_str()).map(zero)
            }
            What::Readlink(path) => {
                let target = rustix::fs::readlinkat(root, path.as_str(), Vec::new())?;
                self.data.extend_from_slice(target.as_bytes());
                Ok(0)
            }
            What::Link(old, new, follow) => {
                let flags = match follow {
                    true => AtFlags::SYMLINK_FOLLOW,
                    false => AtFlags::empty(),
                };
                rustix::fs::linkat(root, old.as_str(), root, new.as_str(), flags).map(zero)
            }
            What::Rename(old, new, flags) if *flags == RenameFlags::empty() => {
                rustix::fs::renameat(root, old.as_str(), root, new.as_str()).map(zero)
            }
            What::Rename(old, new, flags) => {
                rustix::fs::renameat_with(root, old.as_str(), root, new.as_str(), *flags).map(zero)
            }
            What::Truncate(path, size) => sys::truncate(&self.absolute(path), *size)
                .map(zero)
                .map_err(errno_of),
            What::Fill(path, first, count, length) => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                each(*first, *count, *length, |name| {
                    let path = format!("{path}/{name}");
                    rustix::fs::openat(root, path, flags, Mode::from_raw_mode(0o640)).map(drop)
                })
            }
            What::Sweep(path, first, count, length) => each(*first, *count, *length, |name| {
                rustix::fs::unlinkat(root, format!("{path}/{name}"), AtFlags::empty())
            }),
            What::Chmod(path, mode) => {
                let mode = Mode::from_raw_mode(*mode);
                rustix::fs::chmodat(root, path.as_str(), mode, AtFlags::empty()).map(zero)
            }
            What::Chown(path, uid, gid, following) => rustix::fs::chownat(
                root,
                path.as_str(),
                uid.map(Uid::from_raw),
                gid.map(Gid::from_raw),
                follow(*following),
            )
            .map(zero),
            What::Utimens(path, access, change, following) => {
                let times = Timestamps {
                    last_access: timespec(*access),
                    last_modification: timespec(*change),
                };
                rustix::fs::utimensat(root, path.as_str(), &times, follow(*following)).map(zero)
            }
            What::Access(path, mode) => rustix::fs::accessat(
                root,
                path.as_str(),
                Access::from_bits_truncate(*mode),
                AtFlags::EACCESS,
            )
            .map(zero),
            What::SetXattr(path, name, length, from, flags) => {
                let from = *from as usize;
                let value = &self.stock.bytes[from..from + length];
                rustix::fs::lsetxattr(self.absolute(path), name.as_str(), value, *flags).map(zero)
            }
            What::SetAcl(path, default, value) => {
                let name = match default {
                    true => "system.posix_acl_default",
                    false => "system.posix_acl_access",
                };
                let flags = rustix::fs::XattrFlags::empty();
                rustix::fs::setxattr(self.absolute(path), name, value, flags).map(zero)
            }
            What::GetXattr(path, name) => {
                let path = self.absolute(path);
                let length = rustix::fs::lgetxattr(path, name.as_str(), &mut self.buffer[..])?;
                self.data.extend_from_slice(&self.buffer[..length]);
                Ok(length as u64)
            }
            What::ListXattr(path) => {
                let names = xattr_names(&self.absolute(path))?;
                self.data.extend_from_slice(names.join("\n").as_bytes());
                Ok(names.len() as u64)
            }
            What::RemoveXattr(path, name) => {
                rustix::fs::lremovexattr(self.absolute(path), name.as_str()).map(zero)
            }
            What::SetFlags(path, flags) => {
                let file = self.for_ioctl(path)?;
                rustix::fs::ioctl_setflags(file, *flags).map(zero)
            }
            What::GetFlags(path) => {
                let flags = rustix::fs::ioctl_getflags(self.for_ioctl(path)?)?;
                // Whether a directory has an index is its driver's affair.
                Ok(u64::from(flags.bits() & !INDEX))
            }
            What::Readdir(path) => {
                let names = names(root, path)?;
                for (name, kind) in &names {
                    self.data.extend_from_slice(name.as_bytes());
                    self.data
                        .extend_from_slice(format!(" {kind:?}\n").as_bytes());
                }
                Ok(names.len() as u64)
            }
            // Its metadata is looked at after any operation.
            What::Stat(path) => {
                rustix::fs::statat(root, path.as_str(), AtFlags::empty()).map(|_| 0)
            }
            What::Sync => rustix::fs::syncfs(root).map(zero),
            What::ReadOnly(path) => self.read_only(path),
            _ => Err(Errno::NOSYS),
        }
    }

    /// Remounts read-only, tries to make a file, and remounts for writing; the result tells the three apart.
    fn read_only(&mut self, path: &str) -> Result<u64, Errno> {
        let code = |result: Result<(), Errno>| match result {
            Ok(()) => 0,
            Err(errno) => errno.raw_os_error() as u64,
        };
        let options = |mode: &str| format!("{mode},{}", self.options);
        let first = code(fs::try_remount(self.place, &options("ro")));
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mode = Mode::from_raw_mode(0o644);
        let second = code(rustix::fs::openat(self.root(), path, flags, mode).map(drop));
        let third = code(fs::try_remount(self.place, &options("rw")));
        Ok(first | second << 16 | third << 32)
    }

    /// With the place of the mount before it, for the calls that know no directory.
    pub fn absolute(&self, path: &str) -> String {
        format!("{}/{path}", self.place)
    }

    fn for_ioctl(&self, path: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(self.root(), path, flags, Mode::empty())
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        // Only where the work on it has failed is anything left to do.
        let _ = self.unmount();
    }
}

/// `FS_INDEX_FL`
const INDEX: u32 = 0x1000;

/// Makes one of the two filesystems, which are alike to the last byte but for what the clock says.
fn make(disk: &str, image: Image) -> Result<()> {
    ensure!(image.mib <= 400, "the disks have 512 MiB");
    let block_size = image.block_size.to_string();
    let inode_size = image.inode_size.to_string();
    // Few inodes: their tables are written, and read by e2fsck.
    let arguments = [
        "-q",
        "-F",
        "-t",
        "ext2",
        "-b",
        &block_size,
        "-I",
        &inode_size,
        "-N",
        "8192",
        "-U",
        "6e6f7462-6c6b-4000-8000-000000000000",
        "-E",
        "hash_seed=6e6f7462-6c6b-4000-8000-000000000001",
        disk,
        &format!("{}M", image.mib),
    ];
    tool("mke2fs", &arguments).map(drop)
}

/// The names in a directory with their types, sorted, without `.` and `..`.
pub fn names(root: BorrowedFd<'_>, path: &str) -> Result<Vec<(String, FileType)>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(root, path, flags, Mode::empty())?;
    let mut space = [MaybeUninit::uninit(); 8192];
    let mut entries = RawDir::new(dir, &mut space);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        if !matches!(&*name, "." | "..") {
            names.push((name.into_owned(), entry.file_type()));
        }
    }
    names.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(names)
}

/// The names of a file's extended attributes, sorted.
pub fn xattr_names(path: &str) -> Result<Vec<String>, Errno> {
    let mut list = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut list[..])?;
    let mut names: Vec<String> = list[..length]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    names.sort();
    Ok(names)
}

/// Does something for each of many names; returns how often it went well, or the errno where it never did.
fn each(
    first: u32,
    count: u32,
    length: usize,
    mut call: impl FnMut(String) -> Result<(), Errno>,
) -> Result<u64, Errno> {
    let mut good = 0;
    let mut failed = Errno::NOENT;
    for number in first..first + count {
        match call(format!("m{number:0length$}")) {
            Ok(()) => good += 1,
            Err(errno) => failed = errno,
        }
    }
    match good {
        0 => Err(failed),
        good => Ok(good),
    }
}

/// Bytes of a sector.
const SECTOR: u64 = 512;

/// After a direct write that failed and is not whole sectors: zeroes in its place, inside the file. Such a write fails where its odd
/// end is reached, and what comes before has been written if that is another mapping. Where mappings end is the driver's affair:
/// ext4 joins them in its cache.
fn level(file: &File, offset: u64, length: usize) {
    let is_odd = !(offset | length as u64).is_multiple_of(SECTOR);
    let is_direct =
        || rustix::fs::fcntl_getfl(file).is_ok_and(|flags| flags.contains(OFlags::DIRECT));
    if !is_odd || !is_direct() {
        return;
    }
    let zero = || -> std::io::Result<()> {
        let metadata = file.metadata()?;
        if metadata.is_file() {
            let end = metadata.len().min(offset.saturating_add(length as u64));
            let zeroes = vec![0; end.saturating_sub(offset) as usize];
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let cached = File::options().write(true).open(path)?;
            cached.write_all_at(&zeroes, offset)?;
        }
        Ok(())
    };
    // Where this cannot write, nor could that: an immutable file.
    let _ = zero();
}

/// The page that an offset lies in, and where in it.
fn page_of(offset: u64) -> (u64, usize) {
    (offset & !4095, (offset & 4095) as usize)
}

fn timespec(time: Option<(i64, u32)>) -> Timespec {
    let (tv_sec, tv_nsec) = match time {
        None => (0, UTIME_NOW),
        Some((i64::MIN, _)) => (0, UTIME_OMIT),
        Some((seconds, nanoseconds)) => (seconds, i64::from(nanoseconds)),
    };
    Timespec { tv_sec, tv_nsec }
}

/// The errno of an error of std; `EIO` for one of its own making.
fn errno_of(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}
