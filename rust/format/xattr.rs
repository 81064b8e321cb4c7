// SPDX-License-Identifier: GPL-2.0

//! Extended attributes: an area of entries that grow up and values that grow down.
//!
//! An inode has up to two such areas: what is left of it behind `i_extra_isize`, and one block, which inodes with the same
//! attributes may share (`h_refcount`). Both hold the same entries:
//!
//! | | in the inode | in the block |
//! | --- | --- | --- |
//! | begins with | [`MAGIC`] | [`RawHeader`] |
//! | entries are | in any order | sorted, see [`Name`] |
//! | offsets of values count from | the first entry | the block's beginning |
//! | hashes | none, `e_hash` is 0 | of each entry, and of the block |
//!
//! Values of entries lie in any order, rounded up to [`PAD`] bytes, without gaps, at the area's end. Four zero bytes end the
//! entries.
//!
//! All here works on a copy of an area that nobody else changes: [`Area::parse`] checks it once.

use super::block::{Block, BlockMut};
use super::corrupt::Corrupt;
use core::cmp::Ordering;
use core::ops::{Deref, DerefMut};
use zerocopy::little_endian::{U16, U32};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// `h_magic`, of both areas.
pub const MAGIC: u32 = 0xEA02_0000;
/// The most inodes that share a block. C: `EXT4_XATTR_REFCOUNT_MAX`.
pub const REFCOUNT_MAX: u32 = 1024;
/// The longest name, without its namespace.
pub const NAME_MAX: usize = 255;
/// Names and values are rounded up to so many bytes.
pub const PAD: usize = 4;
/// Bytes of the header in the inode: the magic number.
pub const BODY_HEADER: usize = size_of::<U32>();

/// `e_name_index`: `user.`
pub const INDEX_USER: u8 = 1;
/// `e_name_index`: `system.posix_acl_access`, with an empty name.
pub const INDEX_POSIX_ACL_ACCESS: u8 = 2;
/// `e_name_index`: `system.posix_acl_default`, with an empty name.
pub const INDEX_POSIX_ACL_DEFAULT: u8 = 3;
/// `e_name_index`: `trusted.`
pub const INDEX_TRUSTED: u8 = 4;
/// `e_name_index`: `security.`
pub const INDEX_SECURITY: u8 = 6;

/// What a block of attributes begins with: fields are named as in C, without `h_`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawHeader {
    /// [`MAGIC`].
    pub magic: U32,
    /// Number of inodes that refer to the block.
    pub refcount: U32,
    /// Always 1.
    pub blocks: U32,
    /// Hash of all entries, or 0: not to be shared.
    pub hash: U32,
    /// ext4's checksum, where the filesystem has checksums.
    pub checksum: U32,
    /// Zero.
    pub reserved: [U32; 3],
}

/// Where in a block the entries begin.
const BLOCK_HEADER: usize = size_of::<RawHeader>();

const _: () = assert!(BLOCK_HEADER == 32);

/// What stands before a name: fields are named as in C, without `e_`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawEntry {
    name_len: u8,
    name_index: u8,
    value_offs: U16,
    value_inum: U32,
    value_size: U32,
    hash: U32,
}

/// Bytes before an entry's name.
const ENTRY: usize = size_of::<RawEntry>();

const _: () = assert!(ENTRY == 16);

/// Which of an inode's two areas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the inode. The area's bytes are those behind the header.
    Body,
    /// In the block. The area's bytes are the whole block.
    Block,
}

impl Place {
    /// Where in the area the entries begin.
    fn first(self) -> usize {
        match self {
            Self::Body => 0,
            Self::Block => BLOCK_HEADER,
        }
    }
}

/// A name as it is stored. In a block, entries are sorted as this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    /// Number of the namespace, `INDEX_*`.
    pub index: u8,
    /// The name without its namespace: at most [`NAME_MAX`] bytes, none of them zero.
    pub rest: &'a [u8],
}

impl Ord for Name<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |name: &Self| (name.index, name.rest.len());
        key(self)
            .cmp(&key(other))
            .then_with(|| self.rest.cmp(other.rest))
    }
}

impl PartialOrd for Name<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// `n` rounded up to [`PAD`]. What is rounded here is below the size of a block.
fn padded(n: usize) -> usize {
    n.saturating_add(PAD - 1) & !(PAD - 1)
}

/// Bytes of an entry with a name of `len` bytes.
pub fn entry_len(len: usize) -> usize {
    padded(len.saturating_add(ENTRY))
}

/// `e_hash` of an entry in a block, by name and value.
///
/// The bytes of the name count without a sign. Where `char` has one, older kernels and e2fsprogs let it
/// count: names with bytes from 128 on then have another hash. Readers take either; nothing but e2fsck looks.
pub fn entry_hash(name: &[u8], value: &[u8]) -> u32 {
    let hash = name
        .iter()
        .fold(0_u32, |hash, &byte| hash.rotate_left(5) ^ u32::from(byte));
    value.chunks(PAD).fold(hash, |hash, chunk| {
        let mut word = [0; PAD];
        for (to, from) in word.iter_mut().zip(chunk) {
            *to = *from;
        }
        hash.rotate_left(16) ^ u32::from_le_bytes(word)
    })
}

/// An entry of a checked area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    offset: usize,
    index: u8,
    name_len: usize,
    value_offs: usize,
    value_size: usize,
    hash: u32,
}

impl Entry {
    /// Number of its namespace, `INDEX_*` or one that we do not know.
    pub fn index(&self) -> u8 {
        self.index
    }

    /// Bytes of its value.
    pub fn value_size(&self) -> usize {
        self.value_size
    }

    /// Bytes that its value takes up.
    fn value_room(&self) -> usize {
        padded(self.value_size)
    }

    fn len(&self) -> usize {
        entry_len(self.name_len)
    }

    /// Bytes that name and value take up.
    pub fn room(&self) -> usize {
        self.len().saturating_add(self.value_room())
    }

    fn next(&self) -> usize {
        self.offset.saturating_add(self.len())
    }
}

/// The entry at `offset`; `None` for the zeroes that end them.
fn entry_at(bytes: &[u8], offset: usize) -> Result<Option<Entry>, Corrupt> {
    let overrun = |_| Corrupt::AttributeOverrun { offset };
    let word: U32 = Block::get(bytes, offset).map_err(overrun)?;
    if word.get() == 0 {
        return Ok(None);
    }
    let raw: RawEntry = Block::get(bytes, offset).map_err(overrun)?;
    if raw.value_inum.get() != 0 {
        // Without the feature ea_inode, with which nothing is mounted.
        return Err(Corrupt::AttributeInode {
            offset,
            inode: raw.value_inum.get(),
        });
    }
    Ok(Some(Entry {
        offset,
        index: raw.name_index,
        name_len: usize::from(raw.name_len),
        value_offs: usize::from(raw.value_offs.get()),
        value_size: usize::try_from(raw.value_size.get()).unwrap_or(usize::MAX),
        hash: raw.hash.get(),
    }))
}

/// Why an attribute was not set. Nothing has changed then, unless the area is [`Corrupt`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetError {
    /// The area is full.
    NoSpace,
    /// Values overlap, so that moving one has spoilt another.
    Corrupt(Corrupt),
}

impl From<Corrupt> for SetError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

/// A copy of an area.
///
/// Names and values lie inside it, and values behind the names, since [`Area::parse`].
#[derive(Debug)]
pub struct Area<B> {
    bytes: B,
    place: Place,
}

impl<B: Deref<Target = [u8]>> Area<B> {
    /// Checks an area: header, names, values. C: `check_xattrs`.
    pub fn parse(bytes: B, place: Place) -> Result<Self, Corrupt> {
        let area = Self { bytes, place };
        let bytes = area.bytes();
        if place == Place::Block {
            let header: RawHeader = Block::get(bytes, 0)?;
            let (magic, blocks) = (header.magic.get(), header.blocks.get());
            if magic != MAGIC || blocks != 1 {
                return Err(Corrupt::AttributeHeader { magic, blocks });
            }
        }
        let mut offset = place.first();
        while let Some(entry) = entry_at(bytes, offset)? {
            let next = entry.next();
            // The end's four zero bytes have a place too.
            if next.saturating_add(PAD) > bytes.len() {
                return Err(Corrupt::AttributeOverrun { offset });
            }
            if area.name(&entry).rest.contains(&0) {
                return Err(Corrupt::AttributeName { offset });
            }
            offset = next;
        }
        let values = offset.saturating_add(PAD);
        for entry in area.entries() {
            let (from, size) = (entry.value_offs, entry.value_size);
            let end = from.checked_add(entry.value_room());
            if size != 0 && (from < values || end.is_none_or(|end| end > bytes.len())) {
                return Err(Corrupt::AttributeValue {
                    offset: entry.offset,
                    value: from,
                    size,
                });
            }
        }
        Ok(area)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// `h_refcount` of a block.
    pub fn refcount(&self) -> Result<u32, Corrupt> {
        Ok(Block::get::<RawHeader>(self.bytes(), 0)?.refcount.get())
    }

    /// `h_hash` of a block: 0 says that it is not to be shared.
    pub fn hash(&self) -> Result<u32, Corrupt> {
        Ok(Block::get::<RawHeader>(self.bytes(), 0)?.hash.get())
    }

    /// The entries in their order.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        let mut offset = self.place.first();
        core::iter::from_fn(move || {
            let entry = entry_at(self.bytes(), offset).ok()??;
            offset = entry.next();
            Some(entry)
        })
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries().next().is_none()
    }

    /// An entry's name.
    pub fn name(&self, entry: &Entry) -> Name<'_> {
        let from = entry.offset.saturating_add(ENTRY);
        let to = from.saturating_add(entry.name_len);
        Name {
            index: entry.index,
            rest: self.bytes().get(from..to).unwrap_or_default(),
        }
    }

    /// An entry's value.
    pub fn value(&self, entry: &Entry) -> &[u8] {
        if entry.value_size == 0 {
            return &[];
        }
        let to = entry.value_offs.saturating_add(entry.value_size);
        self.bytes().get(entry.value_offs..to).unwrap_or_default()
    }

    /// Finds a name. C: `xattr_find_entry`.
    pub fn find(&self, name: Name<'_>) -> Option<Entry> {
        self.search(name).ok()
    }

    /// Finds a name, or where its entry would be.
    fn search(&self, name: Name<'_>) -> Result<Entry, usize> {
        let mut offset = self.place.first();
        for entry in self.entries() {
            match name.cmp(&self.name(&entry)) {
                Ordering::Equal => return Ok(entry),
                Ordering::Less if self.place == Place::Block => return Err(entry.offset),
                _ => offset = entry.next(),
            }
        }
        Err(offset)
    }

    /// Where the entries end, and where the values begin.
    fn room(&self) -> (usize, usize) {
        let mut names = self.place.first();
        let mut values = self.bytes().len();
        for entry in self.entries() {
            names = entry.next();
            if entry.value_size != 0 {
                values = values.min(entry.value_offs);
            }
        }
        (names, values)
    }

    /// Bytes that are left for names and values. C: `ext4_xattr_free_space`.
    pub fn free(&self) -> usize {
        let (names, values) = self.room();
        values.saturating_sub(names).saturating_sub(PAD)
    }
}

impl<B: DerefMut<Target = [u8]>> Area<B> {
    /// An area without entries; what was in `bytes` goes. A block begins with one reference.
    pub fn empty(bytes: B, place: Place) -> Result<Self, Corrupt> {
        let mut area = Self { bytes, place };
        area.bytes.fill(0);
        if place == Place::Block {
            let header = RawHeader {
                magic: U32::new(MAGIC),
                refcount: U32::new(1),
                blocks: U32::new(1),
                hash: U32::new(0),
                checksum: U32::new(0),
                reserved: [U32::new(0); 3],
            };
            area.bytes.put(0, &header)?;
        }
        Ok(area)
    }

    /// Sets `h_refcount` of a block.
    pub fn set_refcount(&mut self, refcount: u32) -> Result<(), Corrupt> {
        let mut header: RawHeader = Block::get(self.bytes(), 0)?;
        header.refcount = U32::new(refcount);
        self.bytes.put(0, &header)
    }

    /// Gives `name` a value, whether it has one or not. C: `ext4_xattr_set_entry`.
    pub fn set(&mut self, name: Name<'_>, value: &[u8]) -> Result<(), SetError> {
        let name_len = u8::try_from(name.rest.len()).map_err(|_| SetError::NoSpace)?;
        let len = entry_len(name.rest.len());
        let room = padded(value.len());
        let found = self.search(name);
        let old_room = found.map_or(0, |entry| entry.value_room());
        let (names, _) = self.room();
        let mut free = self.free();
        if found.is_ok() {
            free = free.saturating_add(len).saturating_add(old_room);
        }
        if free < len.saturating_add(room) {
            return Err(SetError::NoSpace);
        }
        let mut raw = RawEntry {
            name_len,
            name_index: name.index,
            value_offs: U16::new(0),
            value_inum: U32::new(0),
            value_size: U32::new(0),
            hash: U32::new(0),
        };
        let offset = match found {
            Ok(entry) => {
                self.remove_value(&entry)?;
                entry.offset
            }
            Err(offset) => {
                let behind = names.saturating_add(PAD).saturating_sub(offset);
                self.shift(offset, behind, offset.saturating_add(len))?;
                let bytes = &mut *self.bytes;
                zero(bytes, offset, len)?;
                bytes.write_bytes(offset.saturating_add(ENTRY), name.rest)?;
                bytes.put(offset, &raw)?;
                offset
            }
        };
        if !value.is_empty() {
            let (_, values) = self.room();
            let at = values.saturating_sub(room);
            let bytes = &mut *self.bytes;
            zero(bytes, at, room)?;
            bytes.write_bytes(at, value)?;
            raw.value_offs = u16_of(at, offset)?;
            // CAST: it fits the area.
            raw.value_size = U32::new(value.len() as u32);
        }
        if self.place == Place::Block {
            raw.hash = U32::new(entry_hash(name.rest, value));
        }
        self.bytes.put(offset, &raw)?;
        Ok(self.rehash()?)
    }

    /// Takes a name away; `false` where it is not there.
    pub fn remove(&mut self, name: Name<'_>) -> Result<bool, Corrupt> {
        let Some(entry) = self.find(name) else {
            return Ok(false);
        };
        self.remove_entry(&entry)?;
        Ok(true)
    }

    /// Takes an entry of this area away.
    pub fn remove_entry(&mut self, entry: &Entry) -> Result<(), Corrupt> {
        self.remove_value(entry)?;
        let (names, _) = self.room();
        let end = names.saturating_add(PAD);
        let next = entry.next();
        self.shift(next, end.saturating_sub(next), entry.offset)?;
        let left = names.saturating_sub(entry.len());
        zero(&mut self.bytes, left, entry.len())?;
        self.rehash()
    }

    /// Takes an entry's value away: the values below it move up.
    fn remove_value(&mut self, entry: &Entry) -> Result<(), Corrupt> {
        let room = entry.value_room();
        if room == 0 {
            return Ok(());
        }
        let (_, values) = self.room();
        let below = entry.value_offs.saturating_sub(values);
        self.shift(values, below, values.saturating_add(room))?;
        zero(&mut self.bytes, values, room)?;
        let mut offset = self.place.first();
        while let Some(other) = entry_at(self.bytes(), offset)? {
            if other.value_size != 0 && other.value_offs < entry.value_offs {
                let moved = other.value_offs.saturating_add(room);
                let mut raw: RawEntry = Block::get(self.bytes(), offset)?;
                raw.value_offs = u16_of(moved, offset)?;
                self.bytes.put(offset, &raw)?;
            }
            offset = other.next();
        }
        let mut raw: RawEntry = Block::get(self.bytes(), entry.offset)?;
        raw.value_offs = U16::new(0);
        raw.value_size = U32::new(0);
        self.bytes.put(entry.offset, &raw)
    }

    /// Moves `len` bytes.
    fn shift(&mut self, from: usize, len: usize, to: usize) -> Result<(), Corrupt> {
        let bytes = &mut *self.bytes;
        let out_of_block = |offset| Corrupt::OutOfBlock {
            offset,
            len,
            block_len: bytes.len(),
        };
        let fits = |at: usize| at.checked_add(len).filter(|&end| end <= bytes.len());
        fits(to).ok_or(out_of_block(to))?;
        let end = fits(from).ok_or(out_of_block(from))?;
        bytes.copy_within(from..end, to);
        Ok(())
    }

    /// Brings a block's hash up to date. C: `ext4_xattr_rehash`.
    fn rehash(&mut self) -> Result<(), Corrupt> {
        if self.place == Place::Body {
            return Ok(());
        }
        let mut hash = 0_u32;
        for entry in self.entries() {
            if entry.hash == 0 {
                hash = 0;
                break;
            }
            hash = hash.rotate_left(16) ^ entry.hash;
        }
        let mut header: RawHeader = Block::get(self.bytes(), 0)?;
        header.hash = U32::new(hash);
        self.bytes.put(0, &header)
    }
}

/// An offset as an entry holds it.
fn u16_of(value: usize, offset: usize) -> Result<U16, Corrupt> {
    match u16::try_from(value) {
        Ok(value) => Ok(U16::new(value)),
        Err(_) => Err(Corrupt::AttributeOverrun { offset }),
    }
}

/// Zeroes a range.
fn zero(bytes: &mut [u8], at: usize, len: usize) -> Result<(), Corrupt> {
    BlockMut::fill(bytes, at, len, 0)
}
