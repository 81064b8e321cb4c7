// SPDX-License-Identifier: GPL-2.0
//! Whole trees, compared.

use super::class::{Class, Classes};
use super::meta::{Meta, Punched};
use super::side::{names, xattr_names, Side};
use super::Difference;
use anyhow::{Context, Result};
use rustix::fs::{FileType, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Bytes that are compared at a time.
const PIECE: usize = 128 << 10;

/// The first difference between the two, names, metadata, contents, and then the count of what is free.
pub fn compare(
    subject: &Side,
    control: &Side,
    classes: &Classes,
    punched: &Punched,
) -> Result<Option<Difference>> {
    let mut walk = Walk {
        subject,
        control,
        classes,
        punched,
        spaces: [vec![0; PIECE], vec![0; PIECE]],
        dir_blocks: [0, 0],
        with_xattrs: 0,
    };
    // The space of what is in no directory belongs to files that are open on both.
    if let Some(found) = walk.visit(".")? {
        return Ok(Some(found));
    }
    walk.free()
}

struct Walk<'a> {
    subject: &'a Side,
    control: &'a Side,
    classes: &'a Classes,
    punched: &'a Punched,
    spaces: [Vec<u8>; 2],
    /// Sectors that directories take, which need not be as many on both.
    dir_blocks: [u64; 2],
    /// Files with extended attributes.
    with_xattrs: u64,
}

impl Walk<'_> {
    fn visit(&mut self, path: &str) -> Result<Option<Difference>> {
        let meta = |side: &Side| {
            Meta::of(side.root(), path, false, self.classes)
                .with_context(|| format!("{}: statx {path:?}", side.kind))
        };
        let (one, two) = (meta(self.subject)?, meta(self.control)?);
        let fields = one.differences(&two, self.punched);
        if !fields.is_empty() {
            return Ok(Some(self.differ_in(&fields, path)));
        }
        if let Some(found) = self.xattrs(path)? {
            return Ok(Some(found));
        }
        match FileType::from_raw_mode(one.mode) {
            FileType::Directory => {
                self.dir_blocks[0] += one.dir_blocks;
                self.dir_blocks[1] += two.dir_blocks;
                self.directory(path)
            }
            FileType::RegularFile => self.contents(path, one.size),
            FileType::Symlink => {
                let target = |side: &Side| rustix::fs::readlinkat(side.root(), path, Vec::new());
                let (one, two) = (target(self.subject), target(self.control));
                Ok((one != two).then(|| self.differ("target", path, &one, &two)))
            }
            _ => Ok(None),
        }
    }

    fn directory(&mut self, path: &str) -> Result<Option<Difference>> {
        let list = |side: &Side| names(side.root(), path);
        let (one, two) = (list(self.subject), list(self.control));
        if one != two {
            let only = |some: &[(String, FileType)], other: &[(String, FileType)]| -> Vec<String> {
                let missing = some.iter().filter(|entry| !other.contains(entry));
                missing.take(5).map(|entry| format!("{entry:?}")).collect()
            };
            return Ok(Some(match (&one, &two) {
                (Ok(one), Ok(two)) => self.differ("names", path, &only(one, two), &only(two, one)),
                _ => self.differ("readdir", path, &one.err(), &two.err()),
            }));
        }
        for (name, _) in one.unwrap_or_default() {
            let below = match path {
                "." => name,
                _ => format!("{path}/{name}"),
            };
            if let Some(found) = self.visit(&below)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn contents(&mut self, path: &str, size: u64) -> Result<Option<Difference>> {
        let open = |side: &Side| -> Result<File> {
            let flags = OFlags::RDONLY | OFlags::NOATIME | OFlags::CLOEXEC;
            let file = rustix::fs::openat(side.root(), path, flags, Mode::empty());
            Ok(File::from(file.with_context(|| {
                format!("{}: open {path:?}", side.kind)
            })?))
        };
        let (one, two) = (open(self.subject)?, open(self.control)?);
        let mut at = 0;
        while at < size {
            // Where the control has a hole, the subject is asked whether it has one there as well, or is read as far as is
            // bearable: how many blocks it has was compared already.
            let data = match rustix::fs::seek(&two, SeekFrom::Data(at)) {
                Ok(data) => data,
                Err(Errno::NXIO) => size,
                Err(error) => return Err(error).context("SEEK_DATA on the control"),
            };
            if data > at {
                let first = match self.classes.has(Class::Seek) {
                    true => rustix::fs::seek(&one, SeekFrom::Data(at)).unwrap_or(data),
                    false => at,
                };
                let hole = first..first.saturating_add(PIECE as u64).min(data);
                if let Some(found) = self.range(path, [&one, &two], hole.start, hole.end)? {
                    return Ok(Some(found));
                }
            }
            if data >= size {
                break;
            }
            let end = rustix::fs::seek(&two, SeekFrom::Hole(data))?.min(size);
            if let Some(found) = self.range(path, [&one, &two], data, end)? {
                return Ok(Some(found));
            }
            at = end;
        }
        Ok(None)
    }

    fn range(
        &mut self,
        path: &str,
        files: [&File; 2],
        start: u64,
        end: u64,
    ) -> Result<Option<Difference>> {
        let mut at = start;
        while at < end {
            let length = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
            let [one, two] = &mut self.spaces;
            let read = |file: &File, space: &mut [u8]| file.read_at(space, at);
            let found = (
                read(files[0], &mut one[..length]),
                read(files[1], &mut two[..length]),
            );
            let count = match found {
                (Ok(one), Ok(two)) if one == two && one > 0 => one,
                (one, two) => {
                    let what = format!("{path} at {at}");
                    return Ok(Some(self.differ("read", &what, &one, &two)));
                }
            };
            if one[..count] != two[..count] {
                let place = one.iter().zip(two.iter()).position(|(one, two)| one != two);
                let place = place.unwrap_or(0);
                let (one, two) = (one[place], two[place]);
                let what = format!("{path} at {}", at + place as u64);
                return Ok(Some(self.differ("contents", &what, &one, &two)));
            }
            at += count as u64;
        }
        Ok(None)
    }

    fn xattrs(&mut self, path: &str) -> Result<Option<Difference>> {
        let known =
            |name: &String| Class::of_xattr(name).is_some_and(|class| self.classes.has(class));
        let list = |side: &Side| -> Result<Vec<String>, Errno> {
            let names = xattr_names(&side.absolute(path))?;
            Ok(names.into_iter().filter(known).collect())
        };
        let any = [
            Class::XattrUser,
            Class::XattrTrusted,
            Class::XattrSecurity,
            Class::Acl,
        ];
        if !any.iter().any(|&class| self.classes.has(class)) {
            return Ok(None);
        }
        let (one, two) = (list(self.subject), list(self.control));
        if one != two {
            return Ok(Some(self.differ("xattr names", path, &one, &two)));
        }
        let names = one.unwrap_or_default();
        self.with_xattrs += u64::from(!names.is_empty());
        for name in names {
            let value = |side: &Side| {
                let mut space = vec![0; 64 << 10];
                let length =
                    rustix::fs::lgetxattr(side.absolute(path), name.as_str(), &mut space[..])?;
                space.truncate(length);
                Ok::<_, Errno>(space)
            };
            let (one, two) = (value(self.subject), value(self.control));
            if one != two {
                return Ok(Some(self.differ(
                    "xattr value",
                    &format!("{path} {name}"),
                    &one,
                    &two,
                )));
            }
        }
        Ok(None)
    }

    /// What statfs counts, directories set aside.
    fn free(&self) -> Result<Option<Difference>> {
        self.subject.sync()?;
        self.control.sync()?;
        let count = |side: &Side, dirs: u64| -> Result<(u64, u64, u64, u64)> {
            let stat = rustix::fs::fstatfs(side.root())?;
            let blocks = dirs * 512 / (stat.f_bsize as u64).max(512);
            Ok((
                stat.f_blocks,
                stat.f_bfree + blocks,
                stat.f_files,
                stat.f_ffree,
            ))
        };
        let one = count(self.subject, self.dir_blocks[0])?;
        let two = count(self.control, self.dir_blocks[1])?;
        // What is free beyond that of the control is what it keeps of files with punched holes.
        let more = one.1 > two.1 && self.punched.0.is_empty();
        // ext4 lets files share a block of equal attributes, which a driver need not.
        let fewer = one.1 + self.with_xattrs < two.1;
        let others = (one.0, one.2, one.3) != (two.0, two.2, two.3);
        Ok((more || fewer || others).then(|| {
            self.differ(
                "statfs",
                "blocks, free and in directories, inodes, free",
                &one,
                &two,
            )
        }))
    }

    fn differ(
        &self,
        aspect: &str,
        path: &str,
        one: &dyn std::fmt::Debug,
        two: &dyn std::fmt::Debug,
    ) -> Difference {
        Difference {
            signature: format!("tree: {aspect}"),
            lines: vec![
                format!("the trees differ: {aspect} of {path}"),
                format!("{}: {}", self.subject.kind, short(one)),
                format!("{}: {}", self.control.kind, short(two)),
            ],
        }
    }

    fn differ_in(&self, fields: &[(&'static str, String, String)], path: &str) -> Difference {
        let names: Vec<_> = fields.iter().map(|(name, ..)| *name).collect();
        let mut lines = vec![format!("the trees differ: metadata of {path}")];
        for (name, one, two) in fields {
            lines.push(format!(
                "{name}: {one} on {}, {two} on {}",
                self.subject.kind, self.control.kind
            ));
        }
        Difference {
            signature: format!("tree: {}", names.join(", ")),
            lines,
        }
    }
}

/// A value, cut where it is long.
pub fn short(value: &dyn std::fmt::Debug) -> String {
    let mut text = format!("{value:?}");
    if text.len() > 300 {
        text = text.chars().take(300).collect();
        text.push('…');
    }
    text
}
