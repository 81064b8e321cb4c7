// SPDX-License-Identifier: GPL-2.0

//! POSIX ACLs as the values of attributes, in ext's own form: entries without an id are short.
//!
//! User space has another form (`linux/posix_acl_xattr.h`), which VFS translates. What is wrong here is answered by
//! `EINVAL`, not taken for damage: as ext4 does.

use super::block::{Block, BlockMut};
use super::corrupt::Corrupt;
use zerocopy::little_endian::{U16, U32};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `a_version`
pub const VERSION: u32 = 1;

/// `e_tag`: the owner.
pub const USER_OBJ: u16 = 0x01;
/// `e_tag`: a user by id.
pub const USER: u16 = 0x02;
/// `e_tag`: the group.
pub const GROUP_OBJ: u16 = 0x04;
/// `e_tag`: a group by id.
pub const GROUP: u16 = 0x08;
/// `e_tag`: the most that users and groups by id, and the group, may get.
pub const MASK: u16 = 0x10;
/// `e_tag`: everybody else.
pub const OTHER: u16 = 0x20;

/// An entry without an id.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawShort {
    tag: U16,
    perm: U16,
}

/// Bytes before the entries: the version.
const HEADER: usize = size_of::<U32>();
/// Bytes of an entry without an id.
const SHORT: usize = size_of::<RawShort>();
/// Bytes of an entry with one.
const LONG: usize = SHORT + size_of::<U32>();

/// An entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Whom it is about.
    pub tag: u16,
    /// Permissions: 4 to read, 2 to write, 1 to execute.
    pub perm: u16,
    /// User or group, for [`USER`] and [`GROUP`]; 0 for others.
    pub id: u32,
}

/// Bytes of an entry with this tag; `None` for a tag that does not exist.
fn len_of(tag: u16) -> Option<usize> {
    match tag {
        USER_OBJ | GROUP_OBJ | MASK | OTHER => Some(SHORT),
        USER | GROUP => Some(LONG),
        _ => None,
    }
}

/// A value that was found to be an ACL.
#[derive(Debug, Clone, Copy)]
pub struct Acl<'a> {
    entries: &'a [u8],
}

impl<'a> Acl<'a> {
    /// Checks a value. `None` where it is no ACL.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let version: U32 = Block::get(value, 0).ok()?;
        if version.get() != VERSION {
            return None;
        }
        let acl = Self {
            entries: value.get(HEADER..)?,
        };
        let mut at: usize = 0;
        while at < acl.entries.len() {
            let (_, next) = acl.entry_at(at)?;
            at = next;
        }
        // The length must be that of some number of entries, of which four are short: C's `ext4_acl_count`.
        (value.len() == size(acl.count())).then_some(acl)
    }

    /// The entry at `at`, and where the next one begins.
    fn entry_at(&self, at: usize) -> Option<(Entry, usize)> {
        let raw: RawShort = Block::get(self.entries, at).ok()?;
        let len = len_of(raw.tag.get())?;
        let id = if len == LONG {
            let id: U32 = Block::get(self.entries, at.checked_add(SHORT)?).ok()?;
            id.get()
        } else {
            0
        };
        let entry = Entry {
            tag: raw.tag.get(),
            perm: raw.perm.get(),
            id,
        };
        Some((entry, at.checked_add(len)?))
    }

    /// The entries in their order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + use<'a> {
        let acl = *self;
        let mut at = 0;
        core::iter::from_fn(move || {
            let (entry, next) = acl.entry_at(at)?;
            at = next;
            Some(entry)
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.entries().count()
    }
}

/// Bytes of an ACL of so many entries, of which no more than four are short. C: `ext4_acl_size`.
pub fn size(count: usize) -> usize {
    let short = count.min(4);
    let long = count.saturating_sub(short);
    HEADER
        .saturating_add(short.saturating_mul(SHORT))
        .saturating_add(long.saturating_mul(LONG))
}

/// Writes an ACL to `value`, which must have room for it, and answers its length; `None` where a tag does not exist or
/// there is no room.
pub fn encode(entries: impl Iterator<Item = Entry>, value: &mut [u8]) -> Option<usize> {
    let put = |value: &mut [u8], entries| -> Result<Option<usize>, Corrupt> {
        value.put(0, &U32::new(VERSION))?;
        let mut at = HEADER;
        for entry in entries {
            let entry: Entry = entry;
            let Some(len) = len_of(entry.tag) else {
                return Ok(None);
            };
            let raw = RawShort {
                tag: U16::new(entry.tag),
                perm: U16::new(entry.perm),
            };
            value.put(at, &raw)?;
            if len == LONG {
                value.put(at.saturating_add(SHORT), &U32::new(entry.id))?;
            }
            at = at.saturating_add(len);
        }
        Ok(Some(at))
    };
    put(value, entries).ok().flatten()
}
