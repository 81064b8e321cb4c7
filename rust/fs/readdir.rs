// SPDX-License-Identifier: GPL-2.0

//! Reading a directory in the order of its names' hashes. C: `ext4_dx_readdir`, `ext4_htree_fill_tree` in `fs/ext4`.
//!
//! Where entries lie in an indexed directory changes whenever a block is split, so positions are hashes. So they are in a
//! directory of one block, since that one gets an index the moment it grows.
//!
//! Names are listed by hash, and those of one hash by their bytes: an order that belongs to the names, not to where they lie.
//! A reader that goes on where it stopped gets what comes behind the last name it got ([`Cursor`]). So whatever is added or
//! removed meanwhile, **each name that was there all the time is listed exactly once**, also where the reader's buffer was
//! full in the middle of names with one hash. After a seek only the position counts: such names are listed from the first on.
//! (ext4 keeps the names that it read ahead with the open file, to the same end but for the last point.)

use super::{
    dir,
    dx::{self, Path},
    error::{At, OrReport},
    Inode, Locked,
};
use crate::{
    format::{
        block::Block,
        corrupt::Corrupt,
        dir::{entries, HEADER, NAME_MAX},
        hash::{self, Hash, Hasher},
        sort::sort,
    },
    vfs::{dir::Emitter, errno::EUCLEAN, Shared},
};
use kernel::{alloc::KVVec, prelude::*};

/// Where a reader of a directory stopped. C: `struct dir_private_info`.
#[derive(Default)]
pub(crate) struct Cursor {
    /// The position it was left with: another one means that it has sought since.
    pos: u64,
    /// Positions were hashes.
    hashed: bool,
    /// The last name that it got.
    last: Option<Key>,
}

/// A name's place in the order.
struct Key {
    hash: Hash,
    name: [u8; NAME_MAX],
    len: u8,
}

impl Key {
    fn new(hash: Hash, name: &[u8]) -> Self {
        let mut key = Self {
            hash,
            name: [0; NAME_MAX],
            len: 0,
        };
        for (to, from) in key.name.iter_mut().zip(name) {
            *to = *from;
            key.len = key.len.saturating_add(1);
        }
        key
    }

    fn name(&self) -> &[u8] {
        self.name.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// Whether positions are hashes. C: `is_dx_dir`.
fn is_hashed(dir: &Inode) -> bool {
    dx::is_indexed(dir) || dx::may_be_indexed(dir)
}

/// The position behind the last entry where positions are hashes.
pub(super) fn end(dir: &Inode, narrow: bool) -> Option<u64> {
    is_hashed(dir).then(|| hash::end_pos(narrow))
}

/// Emits entries from the emitter's position on.
///
/// # Errors
///
/// `EUCLEAN` where an index is found damaged in the middle; at the beginning the directory is read as a list instead. `EIO`,
/// `ENOMEM`.
pub(super) fn iterate(
    dir: &Locked<Shared>,
    cursor: &mut Cursor,
    emitter: &mut Emitter<'_>,
) -> Result {
    let begins = emitter.pos() == 0;
    if is_hashed(dir) {
        cursor.hashed = true;
        match by_hash(dir, cursor, emitter) {
            Err(e) if e == EUCLEAN && begins && cursor.last.is_none() && dx::is_indexed(dir) => {
                dx::give_up(dir);
            }
            done => return done,
        }
    } else if cursor.hashed && !begins {
        // The index was found damaged meanwhile, and with it went what positions meant.
        return Err(EUCLEAN);
    }
    cursor.hashed = false;
    dir::iterate(dir, emitter)
}

fn by_hash(dir: &Inode, cursor: &mut Cursor, emitter: &mut Emitter<'_>) -> Result {
    let pos = emitter.pos();
    if pos >= hash::end_pos(emitter.is_narrow()) {
        return Ok(());
    }
    let begin = Begin {
        hash: Hash::from_pos(pos, emitter.is_narrow()),
        behind: cursor.last.take().filter(|_| cursor.pos == pos),
    };
    let mut last = None;
    let result = emit_from(dir, &begin, &mut last, emitter);
    cursor.last = last.or(begin.behind);
    cursor.pos = emitter.pos();
    result
}

/// Where a call begins.
struct Begin {
    /// With the names of this hash and larger ones, as the position says,
    hash: Hash,
    /// or, where the reader goes on, with the names behind this one.
    behind: Option<Key>,
}

impl Begin {
    fn admits(&self, hash: Hash, name: &[u8]) -> bool {
        match &self.behind {
            Some(key) => (hash, name) > (key.hash, key.name()),
            None => hash >= self.hash,
        }
    }
}

/// Emits names until there are no more or the buffer is full; `last` becomes the last one that was taken.
fn emit_from(
    dir: &Inode,
    begin: &Begin,
    last: &mut Option<Key>,
    emitter: &mut Emitter<'_>,
) -> Result {
    let narrow = emitter.is_narrow();
    let mut source = Source::new(dir, begin.hash.major)?;
    let mut group = Group::default();
    loop {
        let next = source.load(&mut group)?;
        group.sort();
        let mut taken = None;
        let mut full = false;
        for item in &group.items {
            let name = item.name(&group.bytes);
            if !begin.admits(item.hash, name) {
                continue;
            }
            emitter.set_pos(item.hash.to_pos(narrow));
            let dtype = dir::dirent_type(item.file_type);
            full = !emitter.emit(name, u64::from(item.ino), dtype);
            if full {
                break;
            }
            taken = Some(item);
        }
        if let Some(item) = taken {
            *last = Some(Key::new(item.hash, item.name(&group.bytes)));
        }
        if full {
            return Ok(());
        }
        let Some(major) = next else {
            emitter.set_pos(hash::end_pos(narrow));
            return Ok(());
        };
        emitter.set_pos(Hash { major, minor: 0 }.to_pos(narrow));
    }
}

/// Where names come from.
enum Source<'a> {
    /// A directory's only block.
    Block(&'a Inode, Hasher),
    /// The leaves of an index, from the path's on.
    Index(&'a Inode, Path<'a>),
}

impl<'a> Source<'a> {
    /// From the names of this hash on, and perhaps some before.
    fn new(dir: &'a Inode, major: u32) -> Result<Self> {
        let info = &dir.sb().data().hash;
        match info.default {
            Some(version) if !dx::is_indexed(dir) => Ok(Self::Block(dir, info.hasher(version))),
            _ => Ok(Self::Index(dir, Path::probe(dir, |_| major)?)),
        }
    }

    /// Loads the next names, and answers the hash where those behind them begin, if there are any. C:
    /// `ext4_htree_fill_tree`.
    fn load(&mut self, group: &mut Group) -> Result<Option<u32>> {
        group.clear();
        match self {
            Self::Block(dir, hasher) => {
                group.read(dir, 0, hasher, |_| true)?;
                Ok(None)
            }
            Self::Index(dir, path) => load_leaves(dir, path, group),
        }
    }
}

fn load_leaves(dir: &Inode, path: &mut Path<'_>, group: &mut Group) -> Result<Option<u32>> {
    let hasher = path.hasher();
    let from = path.start()? & !1;
    let mut to = None;
    while to.is_none() {
        group.read(dir, path.leaf()?, &hasher, |_| true)?;
        if !path.advance(None)? {
            break;
        }
        let hash = path.start()?;
        let continues = hash & 1 != 0;
        if hash < from || (hash == from && !continues) {
            let wrong = Err(Corrupt::IndexOrder { hash });
            return wrong.or_report(dir.sb(), At::Dir(dir.ino(), 0));
        }
        to = Some(hash).filter(|_| !continues);
    }
    let is_here = |hash: Hash| hash.major >= from && to.is_none_or(|to| hash.major < to);
    // A name that damage put into a wrong leaf is listed with that leaf, so that the order holds.
    for item in &mut group.items {
        if !is_here(item.hash) {
            item.hash.major = from;
        }
    }
    if from <= DOTDOT.major {
        // To who reads it as entries, the root has just the two.
        group.read(dir, 0, &hasher, is_here)?;
    }
    Ok(to)
}

/// Where `.` and `..` are listed, whatever their names hash to, so that they stay first when the directory gets an index.
const DOT: Hash = Hash { major: 0, minor: 0 };
/// See [`DOT`].
const DOTDOT: Hash = Hash { major: 2, minor: 0 };

/// A name in a [`Group`].
struct Item {
    hash: Hash,
    /// Where the name begins in the group's bytes.
    at: usize,
    len: u8,
    file_type: u8,
    ino: u32,
}

impl Item {
    fn name<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        let end = self.at.saturating_add(usize::from(self.len));
        bytes.get(self.at..end).unwrap_or_default()
    }
}

/// The names of a leaf, and of those behind it that share a hash with the one before.
struct Group {
    /// Copies of the blocks.
    bytes: KVVec<u8>,
    items: KVVec<Item>,
}

/// The most memory for copies of blocks. So many names of one hash come only from somebody who wanted them.
const MAX_BYTES: usize = 16 << 20;

impl Default for Group {
    fn default() -> Self {
        Self {
            bytes: KVVec::new(),
            items: KVVec::new(),
        }
    }
}

impl Group {
    fn clear(&mut self) {
        self.bytes.clear();
        self.items.clear();
    }

    fn sort(&mut self) {
        let bytes = self.bytes.as_slice();
        sort(&mut self.items, |a, b| {
            (a.hash, a.name(bytes)) < (b.hash, b.name(bytes))
        });
    }

    /// Adds those names of a block whose hash is wanted. Damage is reported, and behind a damaged entry there are no names,
    /// as in ext4.
    fn read(
        &mut self,
        dir: &Inode,
        lblk: u32,
        hasher: &Hasher,
        wanted: impl Fn(Hash) -> bool,
    ) -> Result {
        let sb = dir.sb();
        let at = At::Dir(dir.ino(), lblk);
        let layout = dir::layout(sb);
        let begin = self.bytes.len();
        let len = begin.saturating_add(layout.block_size as usize);
        if len > MAX_BYTES {
            return Err(ENOMEM);
        }
        self.bytes.resize(len, 0, GFP_KERNEL)?;
        let block = self.bytes.get_mut(begin..).unwrap_or_default();
        dir::read_block(dir, lblk)?
            .read_bytes(0, block)
            .or_report(sb, at)?;
        let block: &[u8] = block;
        let mut buf = [0; NAME_MAX];
        for entry in entries(block, &layout) {
            let read = entry.and_then(|entry| match entry.inode {
                0 => Ok(None),
                _ => Ok(Some((entry, entry.read_name(block, &mut buf)?))),
            });
            let (entry, name) = match read.or_report(sb, at) {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                Err(_) => break,
            };
            let hash = match name {
                b"." => DOT,
                b".." => DOTDOT,
                _ => hasher.hash(name),
            };
            if wanted(hash) {
                let name_at = (entry.offset as usize).saturating_add(HEADER);
                let item = Item {
                    hash,
                    at: begin.saturating_add(name_at),
                    len: entry.name_len,
                    file_type: entry.file_type,
                    ino: entry.inode,
                };
                self.items.push(item, GFP_KERNEL)?;
            }
        }
        Ok(())
    }
}
