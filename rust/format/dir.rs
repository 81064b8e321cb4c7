// SPDX-License-Identifier: GPL-2.0

//! Directory blocks: a chain of entries that fills each block exactly.
//!
//! An entry is a header of eight bytes and a name. Its length leads to the next one and may exceed
//! what the name needs: that is where new entries go. An entry with inode 0 is free.
//!
//! Every entry is checked before it is used, each time, since the block may have changed. The
//! functions that write put the bytes that make an entry visible last, so that who reads
//! meanwhile sees a sound chain.

use super::block::{Block, BlockMut};
use super::corrupt::Corrupt;
use super::inode::{S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK};
use zerocopy::little_endian::{U16, U32};
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes before the name.
pub const HEADER: usize = 8;
/// The longest name.
pub const NAME_MAX: usize = 255;

/// File type in an entry: not told.
pub const FT_UNKNOWN: u8 = 0;
/// File type in an entry: regular file.
pub const FT_REG_FILE: u8 = 1;
/// File type in an entry: directory.
pub const FT_DIR: u8 = 2;
/// File type in an entry: character device.
pub const FT_CHRDEV: u8 = 3;
/// File type in an entry: block device.
pub const FT_BLKDEV: u8 = 4;
/// File type in an entry: named pipe.
pub const FT_FIFO: u8 = 5;
/// File type in an entry: socket.
pub const FT_SOCK: u8 = 6;
/// File type in an entry: symbolic link.
pub const FT_SYMLINK: u8 = 7;

/// The file type that an entry holds for an inode of this `i_mode`.
pub fn file_type(mode: u16) -> u8 {
    match mode & S_IFMT {
        S_IFREG => FT_REG_FILE,
        S_IFDIR => FT_DIR,
        S_IFCHR => FT_CHRDEV,
        S_IFBLK => FT_BLKDEV,
        S_IFIFO => FT_FIFO,
        S_IFSOCK => FT_SOCK,
        S_IFLNK => FT_SYMLINK,
        _ => FT_UNKNOWN,
    }
}

/// The bytes before the name. Where entries hold no file type, its place is the upper half of the
/// name's length, always zero.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHeader {
    inode: U32,
    rec_len: U16,
    name_len: u8,
    file_type: u8,
}

const _: () = assert!(size_of::<RawHeader>() == HEADER);

/// What must be known of the filesystem to read its directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirLayout {
    /// Block size in bytes.
    pub block_size: u32,
    /// Number of inodes, which is the last inode's number.
    pub inodes_count: u32,
    /// Whether entries hold file types.
    pub filetype: bool,
}

impl DirLayout {
    /// What stands in an entry for `file_type`.
    fn type_byte(&self, file_type: u8) -> u8 {
        if self.filetype {
            file_type
        } else {
            FT_UNKNOWN
        }
    }
}

/// The length of the shortest entry with a name of `name_len` bytes, at most [`NAME_MAX`].
pub fn rec_len(name_len: usize) -> u32 {
    ((name_len.min(NAME_MAX) + HEADER + 3) & !3) as u32
}

/// Reads an entry's length. In a block of 64 KiB sixteen bits cannot hold the length of an entry
/// that fills it: 65535, or 0, stands for it.
pub fn decode_rec_len(raw: U16, block_size: u32) -> u32 {
    match raw.get() {
        0 | 0xffff if block_size == 0x1_0000 => block_size,
        len => u32::from(len),
    }
}

/// Writes an entry's length.
pub fn encode_rec_len(len: u32) -> U16 {
    U16::new(u16::try_from(len).unwrap_or(0xffff))
}

/// An entry that was found sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it begins in its block.
    pub offset: u32,
    /// The inode that it names, or 0 if it is free.
    pub inode: u32,
    /// Its length, the room behind the name included.
    pub rec_len: u32,
    /// The length of the name.
    pub name_len: u8,
    /// `FT_*`.
    pub file_type: u8,
}

impl Entry {
    /// Copies the name out. No name holds a slash or a zero byte.
    pub fn read_name<'a>(
        &self,
        b: &(impl Block + ?Sized),
        buf: &'a mut [u8; NAME_MAX],
    ) -> Result<&'a [u8], Corrupt> {
        let name = copy_name(b, self, buf)?;
        match name.iter().find(|&&byte| byte == b'/' || byte == 0) {
            Some(&byte) => Err(Corrupt::EntryNameByte {
                offset: self.offset,
                byte,
            }),
            None => Ok(name),
        }
    }

    /// Where the next entry begins.
    pub fn end(&self) -> u32 {
        self.offset.saturating_add(self.rec_len)
    }

    /// The bytes that the header and the name need; none if the entry is free.
    fn used(&self) -> u32 {
        if self.inode == 0 {
            0
        } else {
            rec_len(usize::from(self.name_len))
        }
    }
}

/// Copies the name out as it is.
fn copy_name<'a>(
    b: &(impl Block + ?Sized),
    e: &Entry,
    buf: &'a mut [u8; NAME_MAX],
) -> Result<&'a [u8], Corrupt> {
    let (name, _) = buf.split_at_mut(usize::from(e.name_len));
    b.read_bytes((e.offset as usize).saturating_add(HEADER), name)?;
    Ok(name)
}

/// The entry that begins at `off`, if it is sound.
pub fn entry_at(b: &(impl Block + ?Sized), layout: &DirLayout, off: u32) -> Result<Entry, Corrupt> {
    let block_size = layout.block_size;
    let shortest = rec_len(1);
    let offset = off;
    if off % 4 != 0 || off >= block_size {
        return Err(Corrupt::EntryOffset { offset, block_size });
    }
    let raw: RawHeader = b.get(off as usize)?;
    let rec_len = decode_rec_len(raw.rec_len, block_size);
    let name_len = raw.name_len;
    let inode = raw.inode.get();

    if rec_len < shortest {
        return Err(Corrupt::EntryTooShort { offset, rec_len });
    }
    if rec_len % 4 != 0 {
        return Err(Corrupt::EntryUnaligned { offset, rec_len });
    }
    if rec_len < self::rec_len(usize::from(name_len)) {
        return Err(Corrupt::EntryNameOverrun {
            offset,
            rec_len,
            name_len,
        });
    }
    // Not zero, because of the first check.
    let room = block_size - off;
    if rec_len > room {
        return Err(Corrupt::EntryOverrun { offset, rec_len });
    }
    if rec_len != room && room - rec_len < shortest {
        return Err(Corrupt::EntryNearEnd { offset, rec_len });
    }
    if inode > layout.inodes_count {
        return Err(Corrupt::EntryInode {
            offset,
            inode,
            inodes_count: layout.inodes_count,
        });
    }
    if inode != 0 && name_len == 0 {
        return Err(Corrupt::EntryNameEmpty { offset });
    }
    let entry = Entry {
        offset,
        inode,
        rec_len,
        name_len,
        file_type: layout.type_byte(raw.file_type),
    };
    if inode != 0 && rec_len == room && has_name(b, &entry, b".")? {
        return Err(Corrupt::EntryDotLast { offset });
    }
    Ok(entry)
}

/// Whether the entry's name is `name`.
fn has_name(b: &(impl Block + ?Sized), e: &Entry, name: &[u8]) -> Result<bool, Corrupt> {
    if usize::from(e.name_len) != name.len() {
        return Ok(false);
    }
    let mut buf = [0; NAME_MAX];
    Ok(copy_name(b, e, &mut buf)? == name)
}

/// All entries of a block, the free ones included. Ends after the first error.
pub fn entries<'a, B: Block + ?Sized>(b: &'a B, layout: &DirLayout) -> Entries<'a, B> {
    Entries {
        block: b,
        layout: *layout,
        next: 0,
    }
}

/// See [`entries`].
#[derive(Debug)]
pub struct Entries<'a, B: ?Sized> {
    block: &'a B,
    layout: DirLayout,
    /// Where the next entry begins; the block size at the end. It grows with every step, because
    /// no entry is shorter than twelve bytes.
    next: u32,
}

impl<B: Block + ?Sized> Iterator for Entries<'_, B> {
    type Item = Result<Entry, Corrupt>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.layout.block_size {
            return None;
        }
        let entry = entry_at(self.block, &self.layout, self.next);
        self.next = entry.map_or(self.layout.block_size, |e| e.end());
        Some(entry)
    }
}

/// An entry, and the one before it in the same block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The entry.
    pub entry: Entry,
    /// The entry before it, free or not, which takes its room when it is removed.
    pub prev: Option<Entry>,
}

/// Looks for the entry of `name`.
pub fn find(
    b: &(impl Block + ?Sized),
    layout: &DirLayout,
    name: &[u8],
) -> Result<Option<Found>, Corrupt> {
    let mut prev = None;
    for entry in entries(b, layout) {
        let entry = entry?;
        if entry.inode != 0 && has_name(b, &entry, name)? {
            return Ok(Some(Found { entry, prev }));
        }
        prev = Some(entry);
    }
    Ok(None)
}

/// Room for a new entry: what the entry at hand does not need for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The entry whose room it is: a free one is filled, another is split.
    host: Entry,
}

/// Looks for the first place for an entry with a name of `name_len` bytes.
pub fn find_room(
    b: &(impl Block + ?Sized),
    layout: &DirLayout,
    name_len: usize,
) -> Result<Option<Slot>, Corrupt> {
    check_name_len(name_len)?;
    for entry in entries(b, layout) {
        let host = entry?;
        if host.rec_len.saturating_sub(host.used()) >= rec_len(name_len) {
            return Ok(Some(Slot { host }));
        }
    }
    Ok(None)
}

/// What a block has for a new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// A place.
    Free(Slot),
    /// None.
    Full,
    /// The name itself.
    Taken,
}

/// As [`find_room`], in a block that may have the name already: all of it is looked at.
pub fn room_for(
    b: &(impl Block + ?Sized),
    layout: &DirLayout,
    name: &[u8],
) -> Result<Room, Corrupt> {
    check_name_len(name.len())?;
    let mut room = Room::Full;
    for entry in entries(b, layout) {
        let host = entry?;
        if host.inode != 0 && has_name(b, &host, name)? {
            return Ok(Room::Taken);
        }
        if room == Room::Full && host.rec_len.saturating_sub(host.used()) >= rec_len(name.len()) {
            room = Room::Free(Slot { host });
        }
    }
    Ok(room)
}

/// Puts a new entry into a place that [`find_room`] or [`room_for`] found for a name of this length.
pub fn fill_slot(
    b: &mut (impl BlockMut + ?Sized),
    layout: &DirLayout,
    slot: &Slot,
    name: &[u8],
    ino: u32,
    file_type: u8,
) -> Result<(), Corrupt> {
    check_name_len(name.len())?;
    let host = recheck(b, layout, &slot.host)?;
    let used = host.used();
    let room = host.rec_len.saturating_sub(used);
    if ino == 0 || ino > layout.inodes_count || room < rec_len(name.len()) {
        return Err(Corrupt::EntryChanged {
            offset: host.offset,
        });
    }
    let entry = Entry {
        offset: host.offset.saturating_add(used),
        inode: ino,
        rec_len: room,
        // At most 255, as was checked.
        name_len: name.len() as u8,
        file_type,
    };
    write_entry(b, layout, &entry, name)?;
    if used != 0 {
        put_rec_len(b, &host, used)?;
    }
    Ok(())
}

/// Makes the block one free entry.
pub fn init_empty(b: &mut (impl BlockMut + ?Sized), layout: &DirLayout) -> Result<(), Corrupt> {
    b.fill(0, layout.block_size as usize, 0)?;
    put_header(
        b,
        layout,
        &Entry {
            offset: 0,
            inode: 0,
            rec_len: layout.block_size,
            name_len: 0,
            file_type: FT_UNKNOWN,
        },
    )
}

/// Makes the block the first one of a new directory: `.` and `..`.
pub fn init_dots(
    b: &mut (impl BlockMut + ?Sized),
    layout: &DirLayout,
    own: u32,
    parent: u32,
) -> Result<(), Corrupt> {
    b.fill(0, layout.block_size as usize, 0)?;
    let dot = Entry {
        offset: 0,
        inode: own,
        rec_len: rec_len(1),
        name_len: 1,
        file_type: FT_DIR,
    };
    let dotdot = Entry {
        offset: dot.end(),
        inode: parent,
        rec_len: layout.block_size.saturating_sub(dot.end()),
        name_len: 2,
        file_type: FT_DIR,
    };
    for (entry, name) in [(dot, b".".as_slice()), (dotdot, b"..")] {
        write_entry(b, layout, &entry, name)?;
    }
    Ok(())
}

/// Removes an entry: the one before it takes its room, or it becomes a free one.
pub fn remove(
    b: &mut (impl BlockMut + ?Sized),
    layout: &DirLayout,
    found: &Found,
) -> Result<(), Corrupt> {
    let entry = recheck(b, layout, &found.entry)?;
    if let Some(prev) = &found.prev {
        let prev = recheck(b, layout, prev)?;
        if prev.end() != entry.offset {
            return Err(Corrupt::EntryChanged {
                offset: prev.offset,
            });
        }
        put_rec_len(b, &prev, prev.rec_len.saturating_add(entry.rec_len))?;
    }
    // Also where it is no entry any more: old bytes shall not look like one.
    b.put(entry.offset as usize, &U32::ZERO)
}

/// Makes an entry name another inode, as rename does with the one that it replaces, and with `..`.
pub fn set_ino(
    b: &mut (impl BlockMut + ?Sized),
    layout: &DirLayout,
    entry: &Entry,
    ino: u32,
    file_type: u8,
) -> Result<(), Corrupt> {
    let entry = recheck(b, layout, entry)?;
    if ino == 0 || ino > layout.inodes_count {
        return Err(Corrupt::EntryInode {
            offset: entry.offset,
            inode: ino,
            inodes_count: layout.inodes_count,
        });
    }
    let changed = Entry {
        inode: ino,
        file_type,
        ..entry
    };
    put_header(b, layout, &changed)
}

/// Whether a directory's block holds nothing that keeps it from being removed. The first block
/// must begin with `.`, naming the directory itself (`own`), and `..`.
pub fn is_empty_block(
    b: &(impl Block + ?Sized),
    layout: &DirLayout,
    own: u32,
    first_block: bool,
) -> Result<bool, Corrupt> {
    let dots: &[&[u8]] = if first_block { &[b".", b".."] } else { &[] };
    let mut dots = dots.iter();
    for entry in entries(b, layout) {
        let entry = entry?;
        let sound = match dots.next() {
            Some(&b".") => entry.inode == own && has_name(b, &entry, b".")?,
            Some(name) => entry.inode != 0 && has_name(b, &entry, name)?,
            None if entry.inode != 0 => return Ok(false),
            None => true,
        };
        if !sound {
            return Err(Corrupt::DirDots {
                offset: entry.offset,
            });
        }
    }
    Ok(true)
}

/// The first place at or after `off` where an entry begins, or the block size: for a reader that
/// comes back to a block which may have changed.
pub fn resync(b: &(impl Block + ?Sized), layout: &DirLayout, off: u32) -> Result<u32, Corrupt> {
    for entry in entries(b, layout) {
        let entry = entry?;
        if entry.offset >= off {
            return Ok(entry.offset);
        }
    }
    Ok(layout.block_size)
}

fn check_name_len(len: usize) -> Result<(), Corrupt> {
    if len == 0 || len > NAME_MAX {
        return Err(Corrupt::NameLength { len });
    }
    Ok(())
}

/// Reads `entry` again, which must still be the same.
fn recheck(b: &(impl Block + ?Sized), layout: &DirLayout, entry: &Entry) -> Result<Entry, Corrupt> {
    let now = entry_at(b, layout, entry.offset)?;
    if now != *entry {
        return Err(Corrupt::EntryChanged {
            offset: entry.offset,
        });
    }
    Ok(now)
}

/// Writes an entry with its name, which is as long as the entry says.
pub(super) fn write_entry(
    b: &mut (impl BlockMut + ?Sized),
    layout: &DirLayout,
    e: &Entry,
    name: &[u8],
) -> Result<(), Corrupt> {
    b.write_bytes((e.offset as usize).saturating_add(HEADER), name)?;
    put_header(b, layout, e)
}

fn put_header(
    b: &mut (impl BlockMut + ?Sized),
    layout: &DirLayout,
    e: &Entry,
) -> Result<(), Corrupt> {
    let raw = RawHeader {
        inode: U32::new(e.inode),
        rec_len: encode_rec_len(e.rec_len),
        name_len: e.name_len,
        file_type: layout.type_byte(e.file_type),
    };
    b.put(e.offset as usize, &raw)
}

fn put_rec_len(b: &mut (impl BlockMut + ?Sized), e: &Entry, rec_len: u32) -> Result<(), Corrupt> {
    let at = (e.offset as usize).saturating_add(core::mem::offset_of!(RawHeader, rec_len));
    b.put(at, &encode_rec_len(rec_len))
}
