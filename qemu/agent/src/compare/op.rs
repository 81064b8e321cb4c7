// SPDX-License-Identifier: GPL-2.0
//! The operations, and how they are written.
//!
//! An operation names paths and slots for open files, never what an earlier one returned: so any part of a sequence is a
//! sequence too, and the search for a short one may leave out what it likes.

use rustix::fs::{FallocateFlags, IFlags, OFlags, RenameFlags, XattrFlags};
use std::fmt;

/// How many files may be open on each side.
pub const SLOTS: usize = 6;

/// One operation.
#[derive(Debug, Clone)]
pub struct Op {
    /// Done with the file-system identity of an ordinary user.
    pub user: bool,
    /// What is done.
    pub what: What,
}

/// A place in the stock of random bytes that writes take their data from.
pub type From = u32;

/// What is done.
#[derive(Debug, Clone)]
pub enum What {
    /// Open a file into a slot; what was open there is closed then.
    Open {
        /// Where it is kept.
        slot: usize,
        /// The file, or the directory for `O_TMPFILE`.
        path: String,
        /// As for open(2).
        flags: OFlags,
        /// Permissions where it is created.
        mode: u32,
    },
    /// Close a slot.
    Close(usize),
    /// mkdir
    Mkdir(String, u32),
    /// rmdir
    Rmdir(String),
    /// unlink
    Unlink(String),
    /// mknod: mode with the type, device number
    Mknod(String, u32, u64),
    /// symlink: target, name
    Symlink(String, String),
    /// readlink
    Readlink(String),
    /// link: old, new, follow
    Link(String, String, bool),
    /// linkat of an open file without a name
    LinkSlot(usize, String),
    /// renameat2
    Rename(String, String, RenameFlags),
    /// truncate
    Truncate(String, u64),
    /// ftruncate
    Ftruncate(usize, u64),
    /// Many files, made at once: directory, first number, how many, length of the names
    Fill(String, u32, u32, usize),
    /// And removed
    Sweep(String, u32, u32, usize),
    /// pread: slot, offset, length
    Read(usize, u64, usize),
    /// pwrite: slot, offset, length, data
    Write(usize, u64, usize, From),
    /// write, at the file's position: slot, length, data
    Append(usize, usize, From),
    /// Reads by a mapping
    MapRead(usize, u64, usize),
    /// Writes by a mapping
    MapWrite(usize, u64, usize, From),
    /// fallocate: slot, mode, offset, length
    Fallocate(usize, FallocateFlags, u64, u64),
    /// All of a file's ranges by SEEK_DATA and SEEK_HOLE, from an offset
    Seek(usize, u64),
    /// copy_file_range: from slot and offset, to slot and offset, length
    Copy(usize, u64, usize, u64, usize),
    /// chmod
    Chmod(String, u32),
    /// fchmod
    Fchmod(usize, u32),
    /// chown, following or not
    Chown(String, Option<u32>, Option<u32>, bool),
    /// utimensat, following or not: access and modification time; `None` is now, seconds `i64::MIN` stands for UTIME_OMIT
    Utimens(String, Option<(i64, u32)>, Option<(i64, u32)>, bool),
    /// access
    Access(String, u32),
    /// lsetxattr: length of the value and where it begins
    SetXattr(String, String, usize, From, XattrFlags),
    /// lsetxattr of an ACL: the value
    SetAcl(String, bool, Vec<u8>),
    /// lgetxattr
    GetXattr(String, String),
    /// llistxattr
    ListXattr(String),
    /// lremovexattr
    RemoveXattr(String, String),
    /// FS_IOC_SETFLAGS
    SetFlags(String, IFlags),
    /// FS_IOC_GETFLAGS
    GetFlags(String),
    /// Names and types of a directory
    Readdir(String),
    /// statx, following
    Stat(String),
    /// fsync or fdatasync
    Fsync(usize, bool),
    /// syncfs
    Sync,
    /// Free what the kernel can of caches
    DropCaches,
    /// Remount read-only, try to make a file, and remount for writing
    ReadOnly(String),
    /// Close all, unmount, and mount again
    Cycle,
}

impl What {
    /// The kind, which is the system call's name where there is one.
    pub fn kind(&self) -> &'static str {
        match self {
            What::Open { flags, .. } if flags.contains(OFlags::TMPFILE) => "open O_TMPFILE",
            What::Open { flags, .. } if flags.contains(OFlags::CREATE) => "open O_CREAT",
            What::Open { .. } => "open",
            What::Close(_) => "close",
            What::Mkdir(..) => "mkdir",
            What::Rmdir(_) => "rmdir",
            What::Unlink(_) => "unlink",
            What::Mknod(..) => "mknod",
            What::Symlink(..) => "symlink",
            What::Readlink(_) => "readlink",
            What::Link(..) => "link",
            What::LinkSlot(..) => "linkat open file",
            What::Rename(_, _, flags) if flags.contains(RenameFlags::EXCHANGE) => "rename EXCHANGE",
            What::Rename(_, _, flags) if flags.contains(RenameFlags::WHITEOUT) => "rename WHITEOUT",
            What::Rename(..) => "rename",
            What::Truncate(..) => "truncate",
            What::Ftruncate(..) => "ftruncate",
            What::Fill(..) => "create many",
            What::Sweep(..) => "unlink many",
            What::Read(..) => "pread",
            What::Write(..) => "pwrite",
            What::Append(..) => "write",
            What::MapRead(..) => "mmap read",
            What::MapWrite(..) => "mmap write",
            What::Fallocate(..) => "fallocate",
            What::Seek(..) => "lseek DATA/HOLE",
            What::Copy(..) => "copy_file_range",
            What::Chmod(..) => "chmod",
            What::Fchmod(..) => "fchmod",
            What::Chown(..) => "chown",
            What::Utimens(..) => "utimensat",
            What::Access(..) => "access",
            What::SetXattr(..) => "setxattr",
            What::SetAcl(..) => "setxattr ACL",
            What::GetXattr(..) => "getxattr",
            What::ListXattr(_) => "listxattr",
            What::RemoveXattr(..) => "removexattr",
            What::SetFlags(..) => "FS_IOC_SETFLAGS",
            What::GetFlags(_) => "FS_IOC_GETFLAGS",
            What::Readdir(_) => "readdir",
            What::Stat(_) => "statx",
            What::Fsync(_, false) => "fsync",
            What::Fsync(_, true) => "fdatasync",
            What::Sync => "syncfs",
            What::DropCaches => "drop caches",
            What::ReadOnly(_) => "remount ro, rw",
            What::Cycle => "umount, mount",
        }
    }

    /// The paths that it names: those whose metadata is looked at afterwards.
    pub fn paths(&self) -> (Option<&str>, Option<&str>) {
        match self {
            What::Open { path, .. }
            | What::Mkdir(path, _)
            | What::Rmdir(path)
            | What::Unlink(path)
            | What::Mknod(path, ..)
            | What::Symlink(_, path)
            | What::Readlink(path)
            | What::LinkSlot(_, path)
            | What::Truncate(path, _)
            | What::Fill(path, ..)
            | What::Sweep(path, ..)
            | What::Chmod(path, _)
            | What::Chown(path, ..)
            | What::Utimens(path, ..)
            | What::Access(path, _)
            | What::SetXattr(path, ..)
            | What::SetAcl(path, ..)
            | What::GetXattr(path, _)
            | What::ListXattr(path)
            | What::RemoveXattr(path, _)
            | What::SetFlags(path, _)
            | What::GetFlags(path)
            | What::Readdir(path)
            | What::Stat(path)
            | What::ReadOnly(path) => (Some(path), None),
            What::Link(old, new, _) | What::Rename(old, new, _) => (Some(old), Some(new)),
            _ => (None, None),
        }
    }

    /// The slot that it works on.
    pub fn slot(&self) -> Option<usize> {
        match *self {
            What::Open { slot, .. }
            | What::Close(slot)
            | What::LinkSlot(slot, _)
            | What::Ftruncate(slot, _)
            | What::Read(slot, ..)
            | What::Write(slot, ..)
            | What::Append(slot, ..)
            | What::MapRead(slot, ..)
            | What::MapWrite(slot, ..)
            | What::Fallocate(slot, ..)
            | What::Seek(slot, _)
            | What::Fchmod(slot, _)
            | What::Fsync(slot, _) => Some(slot),
            // Of the two files the one that changes.
            What::Copy(_, _, slot, ..) => Some(slot),
            _ => None,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.user {
            f.write_str("as user: ")?;
        }
        self.what.fmt(f)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            What::Open {
                slot,
                path,
                flags,
                mode,
            } => write!(
                f,
                "#{slot} = open({path:?}, {}, 0{mode:o})",
                open_flags(*flags)
            ),
            What::Mkdir(path, mode) | What::Chmod(path, mode) => {
                write!(f, "{kind}({path:?}, 0{mode:o})")
            }
            What::Mknod(path, mode, device) => {
                write!(f, "{kind}({path:?}, 0{mode:o}, {device:#x})")
            }
            What::Symlink(target, path) => write!(f, "{kind}({target:?}, {path:?})"),
            What::Link(old, new, follow) => write!(f, "{kind}({old:?}, {new:?}, follow {follow})"),
            What::LinkSlot(slot, path) => write!(f, "linkat(#{slot}, {path:?})"),
            What::Rename(old, new, flags) => {
                write!(f, "rename({old:?}, {new:?}, {})", named(flags))
            }
            What::Truncate(path, size) => write!(f, "{kind}({path:?}, {size})"),
            What::Ftruncate(slot, size) => write!(f, "{kind}(#{slot}, {size})"),
            What::Fill(path, first, count, length) | What::Sweep(path, first, count, length) => {
                write!(
                    f,
                    "{kind} in {path:?}: {count} from {first}, names of {length}"
                )
            }
            What::Read(slot, offset, length) | What::MapRead(slot, offset, length) => {
                write!(f, "{kind} #{slot}: {length} at {offset}")
            }
            What::Write(slot, offset, length, _) | What::MapWrite(slot, offset, length, _) => {
                write!(f, "{kind} #{slot}: {length} at {offset}")
            }
            What::Append(slot, length, _) => write!(f, "{kind} #{slot}: {length}"),
            What::Fallocate(slot, mode, offset, length) => {
                write!(f, "{kind}(#{slot}, {}, {offset}, {length})", named(mode))
            }
            What::Seek(slot, offset) => write!(f, "{kind} #{slot} from {offset}"),
            What::Copy(from, at, to, to_at, length) => {
                write!(f, "{kind} #{from} {at} to #{to} {to_at}: {length}")
            }
            What::Close(slot) | What::Fsync(slot, _) => write!(f, "{kind}(#{slot})"),
            What::Fchmod(slot, mode) => write!(f, "{kind}(#{slot}, 0{mode:o})"),
            What::Chown(path, uid, gid, follow) => {
                write!(f, "{kind}({path:?}, {uid:?}, {gid:?}, follow {follow})")
            }
            What::Utimens(path, access, change, follow) => write!(
                f,
                "{kind}({path:?}, {}, {}, follow {follow})",
                time(*access),
                time(*change)
            ),
            What::Access(path, mode) => write!(f, "{kind}({path:?}, {mode})"),
            What::SetXattr(path, name, length, _, flags) => {
                write!(
                    f,
                    "{kind}({path:?}, {name:?}, {length} bytes, {})",
                    named(flags)
                )
            }
            What::SetAcl(path, default, value) => {
                let which = if *default { "default" } else { "access" };
                write!(f, "{kind}({path:?}, {which}, {value:02x?})")
            }
            What::GetXattr(path, name) | What::RemoveXattr(path, name) => {
                write!(f, "{kind}({path:?}, {name:?})")
            }
            What::SetFlags(path, flags) => write!(f, "{kind}({path:?}, {:#x})", flags.bits()),
            What::Rmdir(path)
            | What::Unlink(path)
            | What::Readlink(path)
            | What::ListXattr(path)
            | What::GetFlags(path)
            | What::Readdir(path)
            | What::Stat(path)
            | What::ReadOnly(path) => write!(f, "{kind}({path:?})"),
            What::Sync | What::DropCaches | What::Cycle => f.write_str(kind),
        }
    }
}

/// A set of flags, by the names that rustix gives them.
fn named<T: fmt::Debug>(flags: &T) -> String {
    let text = format!("{flags:?}");
    let inner = text.split_once('(').map_or("", |(_, rest)| rest);
    match inner.trim_end_matches(')') {
        "" | "0x0" => "0".into(),
        names => names.to_owned(),
    }
}

fn open_flags(flags: OFlags) -> String {
    let access = match flags & OFlags::RWMODE {
        OFlags::RDWR => "O_RDWR",
        OFlags::WRONLY => "O_WRONLY",
        _ => "O_RDONLY",
    };
    match named(&(flags - OFlags::RWMODE)).as_str() {
        "0" => access.into(),
        more => format!("{access} | {more}"),
    }
}

fn time(time: Option<(i64, u32)>) -> String {
    match time {
        None => "now".into(),
        Some((i64::MIN, _)) => "omit".into(),
        Some((seconds, nanoseconds)) => format!("{seconds}.{nanoseconds:09}"),
    }
}
