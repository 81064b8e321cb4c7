// SPDX-License-Identifier: GPL-2.0
//! Classes of operations: what a driver may not have, found out by trying.

use super::op::{Op, What};
use super::side::{Done, Side};
use anyhow::{bail, Result};
use rustix::fs::{
    AtFlags, FallocateFlags, IFlags, OFlags, RenameFlags, StatxAttributes, StatxFlags, XattrFlags,
};
use rustix::io::Errno;

/// A class of operations, or of what stat says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// `O_DIRECT`
    Direct,
    /// Shared, writable mappings
    Mmap,
    /// Symbolic links
    Symlink,
    /// Device nodes, FIFOs, sockets
    Mknod,
    /// `O_TMPFILE`, and a name for it
    Tmpfile,
    /// `RENAME_EXCHANGE`
    Exchange,
    /// `RENAME_WHITEOUT`
    Whiteout,
    /// `user.*`
    XattrUser,
    /// `trusted.*`
    XattrTrusted,
    /// `security.*`
    XattrSecurity,
    /// `system.posix_acl_*`
    Acl,
    /// `FALLOC_FL_PUNCH_HOLE`
    Punch,
    /// `SEEK_HOLE`, `SEEK_DATA`
    Seek,
    /// `FS_IOC_GETFLAGS`, `FS_IOC_SETFLAGS`
    Flags,
    /// copy_file_range
    Copy,
    /// The birth time
    Btime,
    /// `STATX_ATTR_*`
    Attributes,
}

impl Class {
    /// All.
    pub const ALL: [(Class, &'static str); 17] = [
        (Class::Direct, "direct"),
        (Class::Mmap, "mmap"),
        (Class::Symlink, "symlink"),
        (Class::Mknod, "mknod"),
        (Class::Tmpfile, "tmpfile"),
        (Class::Exchange, "exchange"),
        (Class::Whiteout, "whiteout"),
        (Class::XattrUser, "xattr-user"),
        (Class::XattrTrusted, "xattr-trusted"),
        (Class::XattrSecurity, "xattr-security"),
        (Class::Acl, "acl"),
        (Class::Punch, "punch"),
        (Class::Seek, "seek"),
        (Class::Flags, "flags"),
        (Class::Copy, "copy"),
        (Class::Btime, "btime"),
        (Class::Attributes, "attributes"),
    ];

    fn bit(self) -> u32 {
        1 << self as u32
    }

    /// The class of an extended attribute.
    pub fn of_xattr(name: &str) -> Option<Class> {
        match name.split_once('.')? {
            ("user", _) => Some(Class::XattrUser),
            ("trusted", _) => Some(Class::XattrTrusted),
            ("security", _) => Some(Class::XattrSecurity),
            ("system", _) => Some(Class::Acl),
            _ => None,
        }
    }

    /// What an operation needs.
    pub fn of(op: &Op) -> Option<Class> {
        match &op.what {
            // Before O_DIRECT: such an open asks for both, and nothing has the one and lacks the other.
            What::Open { flags, .. } if flags.contains(OFlags::TMPFILE) => Some(Class::Tmpfile),
            What::Open { flags, .. } if flags.contains(OFlags::DIRECT) => Some(Class::Direct),
            What::MapRead(..) | What::MapWrite(..) => Some(Class::Mmap),
            What::Symlink(..) => Some(Class::Symlink),
            What::Mknod(..) => Some(Class::Mknod),
            What::LinkSlot(..) => Some(Class::Tmpfile),
            What::Rename(_, _, flags) if flags.contains(RenameFlags::EXCHANGE) => {
                Some(Class::Exchange)
            }
            What::Rename(_, _, flags) if flags.contains(RenameFlags::WHITEOUT) => {
                Some(Class::Whiteout)
            }
            What::SetXattr(_, name, ..) | What::GetXattr(_, name) | What::RemoveXattr(_, name) => {
                Class::of_xattr(name)
            }
            What::SetAcl(..) => Some(Class::Acl),
            What::Fallocate(..) => Some(Class::Punch),
            What::Seek(..) => Some(Class::Seek),
            What::SetFlags(..) | What::GetFlags(_) => Some(Class::Flags),
            What::Copy(..) => Some(Class::Copy),
            _ => None,
        }
    }
}

/// A set of classes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Classes(u32);

impl Classes {
    /// All of them.
    pub fn all() -> Classes {
        Class::ALL
            .iter()
            .fold(Classes::default(), |all, (class, _)| {
                Classes(all.0 | class.bit())
            })
    }

    /// Whether the class is in it.
    pub fn has(self, class: Class) -> bool {
        self.0 & class.bit() != 0
    }

    /// Whether the operation is of these classes, or of none.
    pub fn allow(self, op: &Op) -> bool {
        Class::of(op).is_none_or(|class| self.has(class))
    }

    /// What both drivers have and `without` does not name; and what is left out, with the reason. Leaves files behind.
    pub fn probe(
        subject: &mut Side,
        control: &mut Side,
        without: &[String],
    ) -> Result<(Classes, Vec<(String, String)>)> {
        for name in without {
            if !Class::ALL.iter().any(|(_, known)| known == name) {
                let all: Vec<_> = Class::ALL.iter().map(|(_, name)| *name).collect();
                bail!(
                    "there is no class {name} of operations, but {}",
                    all.join(", ")
                );
            }
        }
        let mut classes = Classes::default();
        let mut left_out = Vec::new();
        for (class, name) in Class::ALL {
            if without.iter().any(|other| other == name) {
                left_out.push((name.to_owned(), "by request".to_owned()));
                continue;
            }
            match (try_one(class, subject), try_one(class, control)) {
                // What neither has is refused by both in the same way.
                (Ok(()), Ok(())) | (Err(_), Err(_)) => classes.0 |= class.bit(),
                (Err(why), Ok(())) => {
                    left_out.push((name.to_owned(), format!("{} {why}", subject.kind)))
                }
                (Ok(()), Err(why)) => {
                    left_out.push((name.to_owned(), format!("{} {why}", control.kind)))
                }
            }
        }
        Ok((classes, left_out))
    }
}

/// Tries a class on one driver; why it does not have it.
fn try_one(class: Class, side: &mut Side) -> Result<(), String> {
    // A whiteout, say, is in nobody's way.
    let a = || format!("a-{class:?}");
    let b = || format!("b-{class:?}");
    let open = |path: String, flags| What::Open {
        slot: 0,
        path,
        flags: flags | OFlags::RDWR,
        mode: 0o600,
    };
    let written = [
        open(a(), OFlags::CREATE | OFlags::TRUNC),
        What::Ftruncate(0, 1 << 20),
        What::Write(0, 1 << 19, 4096, 0),
    ];
    let xattr = |name: &str| vec![What::SetXattr(a(), name.into(), 20, 0, XattrFlags::empty())];
    let more = match class {
        Class::Direct => vec![open(a(), OFlags::DIRECT), What::Write(0, 0, 4096, 0)],
        Class::Mmap => vec![What::MapWrite(0, 0, 100, 0)],
        Class::Symlink => vec![What::Symlink("target".into(), b())],
        Class::Mknod => vec![What::Mknod(b(), 0o010_600, 0)],
        Class::Tmpfile => vec![open(".".into(), OFlags::TMPFILE), What::LinkSlot(0, b())],
        Class::Exchange => vec![
            open(b(), OFlags::CREATE),
            What::Rename(a(), b(), RenameFlags::EXCHANGE),
        ],
        Class::Whiteout => vec![What::Rename(a(), b(), RenameFlags::WHITEOUT)],
        Class::XattrUser => xattr("user.probe"),
        Class::XattrTrusted => xattr("trusted.probe"),
        Class::XattrSecurity => xattr("security.probe"),
        Class::Acl => vec![What::SetAcl(a(), false, super::generate::acl(&[(1000, 5)]))],
        Class::Punch => vec![What::Fallocate(
            0,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            1 << 19,
            4096,
        )],
        Class::Seek => vec![What::Seek(0, 0)],
        Class::Flags => vec![
            What::SetFlags(a(), IFlags::NODUMP),
            What::SetFlags(a(), IFlags::empty()),
        ],
        Class::Copy => vec![What::Copy(0, 1 << 19, 0, 0, 4096)],
        Class::Btime | Class::Attributes => vec![],
    };
    for what in written.into_iter().chain(more) {
        let kind = what.kind();
        match side.apply(&Op { user: false, what }) {
            Done::Ok(_) => {}
            Done::Err(errno) => return Err(format!("answers {} to {kind}", name(errno))),
            Done::Idle => return Err(format!("could not open a file for {kind}")),
        }
    }
    // A driver without it calls all of a file data, by the VFS's default.
    if class == Class::Seek && side.data.starts_with(b"0-") {
        return Err("calls a hole data".into());
    }
    if matches!(class, Class::Btime | Class::Attributes) {
        let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        let stat = rustix::fs::statx(side.root(), a(), AtFlags::empty(), mask)
            .map_err(|errno| format!("answers {} to statx", name(errno)))?;
        let has = match class {
            Class::Btime => stat.stx_mask & StatxFlags::BTIME.bits() != 0,
            _ => stat
                .stx_attributes_mask
                .contains(StatxAttributes::IMMUTABLE),
        };
        if !has {
            return Err("does not tell it".into());
        }
    }
    Ok(())
}

/// An errno's name as far as it is worth one, with its meaning.
pub fn name(errno: Errno) -> String {
    let known = match errno {
        Errno::PERM => "EPERM",
        Errno::NOENT => "ENOENT",
        Errno::IO => "EIO",
        Errno::BADF => "EBADF",
        Errno::ACCESS => "EACCES",
        Errno::FAULT => "EFAULT",
        Errno::BUSY => "EBUSY",
        Errno::EXIST => "EEXIST",
        Errno::XDEV => "EXDEV",
        Errno::NODEV => "ENODEV",
        Errno::NOTDIR => "ENOTDIR",
        Errno::ISDIR => "EISDIR",
        Errno::INVAL => "EINVAL",
        Errno::NOTTY => "ENOTTY",
        Errno::FBIG => "EFBIG",
        Errno::NOSPC => "ENOSPC",
        Errno::SPIPE => "ESPIPE",
        Errno::ROFS => "EROFS",
        Errno::MLINK => "EMLINK",
        Errno::RANGE => "ERANGE",
        Errno::NAMETOOLONG => "ENAMETOOLONG",
        Errno::NOTEMPTY => "ENOTEMPTY",
        Errno::LOOP => "ELOOP",
        Errno::NODATA => "ENODATA",
        Errno::OPNOTSUPP => "EOPNOTSUPP",
        Errno::NXIO => "ENXIO",
        Errno::TXTBSY => "ETXTBSY",
        Errno::AGAIN => "EAGAIN",
        Errno::OVERFLOW => "EOVERFLOW",
        Errno::UCLEAN => "EUCLEAN",
        Errno::TOOBIG => "E2BIG",
        other => return format!("errno {} ({other})", other.raw_os_error()),
    };
    known.into()
}
