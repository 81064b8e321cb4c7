// SPDX-License-Identifier: GPL-2.0

//! Directories with an index (`dir_index`): the way through it, and growing it. C: `dx_probe`, `ext4_dx_find_entry`,
//! `ext4_dx_add_entry` and `make_indexed_dir` in `fs/ext4/namei.c`.
//!
//! What is found wrong is reported where it is found, and `EUCLEAN` tells the caller to go on without the index
//! ([`give_up`]): its blocks are a valid list without it. As everything of a directory, all of this is under its `i_rwsem`.

use super::{
    dir::{self, NewEntry, Place},
    error::{self, At, OrReport},
    Inode, Locked, SuperBlock, Transaction,
};
use crate::{
    format::{
        block::{Block, BlockMut},
        corrupt::Corrupt,
        dx::{self, IndexLayout, Pairs, Root},
        hash::{Hash, Hasher},
        inode::FL_INDEX,
        leaf::{self, Item},
    },
    vfs::{errno::EUCLEAN, Buffer, Exclusive},
};
use kernel::{alloc::KVVec, prelude::*};

/// Whether the directory has an index that is to be used.
pub(super) fn is_indexed(dir: &Inode) -> bool {
    dir.sb().data().hash.dir_index && dir.data().disk.lock().flags & FL_INDEX != 0
}

/// Whether the directory, which has no index, gets one before its second block.
pub(super) fn may_be_indexed(dir: &Inode) -> bool {
    let info = &dir.sb().data().hash;
    info.dir_index && info.default.is_some() && dir::block_count(dir) == 1
}

/// The index is damaged, which has been reported: the directory is a list from now on. On disk it becomes one when it is next
/// written. C: what follows `ERR_BAD_DX_DIR`.
pub(super) fn give_up(dir: &Inode) {
    dir.data().disk.lock().flags &= !FL_INDEX;
    pr_warn!(
        "({}): directory {}: going on without its index; running e2fsck is recommended\n",
        dir.sb().id(),
        dir.ino()
    );
}

/// An index block on the way, and the pair that was taken there.
struct Frame<'a> {
    buffer: Buffer<'a>,
    lblk: u32,
    pairs: Pairs,
    at: u32,
}

/// The way from an index's root to a leaf. C: the array of `struct dx_frame`.
pub(super) struct Path<'a> {
    dir: &'a Inode,
    layout: IndexLayout,
    info: Root,
    root: Frame<'a>,
    /// Where the root leads to nodes, the one that was taken.
    node: Option<Frame<'a>>,
}

impl<'a> Path<'a> {
    /// The way to the leaf where the names of a hash begin; the hash is asked for once it is known how to compute one. C:
    /// `dx_probe`.
    pub(super) fn probe(dir: &'a Inode, hash: impl FnOnce(&Hasher) -> u32) -> Result<Self> {
        let info = &dir.sb().data().hash;
        let layout = IndexLayout {
            block_size: dir.sb().data().geo.block_size(),
            blocks: dir::block_count(dir),
            checksums: info.checksums,
        };
        let buffer = dir::read_block(dir, 0)?;
        let root = checked(dir, 0, dx::read_root(&buffer, &layout))?;
        let hash = hash(&info.hasher(root.version));
        let at = checked(dir, 0, root.pairs.search(&buffer, hash))?;
        let mut path = Self {
            dir,
            layout,
            info: root,
            root: Frame {
                buffer,
                lblk: 0,
                pairs: root.pairs,
                at,
            },
            node: None,
        };
        if root.levels > 0 {
            path.load_node(|pairs, buffer| pairs.search(buffer, hash))?;
        }
        Ok(path)
    }

    /// The hash function of the index.
    pub(super) fn hasher(&self) -> Hasher {
        self.dir.sb().data().hash.hasher(self.info.version)
    }

    /// Reads the node that the root's pair leads to; `at` says which pair is to be taken there.
    fn load_node(
        &mut self,
        at: impl FnOnce(&Pairs, &Buffer<'a>) -> Result<u32, Corrupt>,
    ) -> Result {
        let lblk = self.block_of(&self.root)?;
        let buffer = dir::read_block(self.dir, lblk)?;
        let pairs = checked(self.dir, lblk, dx::read_node(&buffer, &self.layout))?;
        let at = checked(self.dir, lblk, at(&pairs, &buffer))?;
        self.node = Some(Frame {
            buffer,
            lblk,
            pairs,
            at,
        });
        Ok(())
    }

    /// The index block that leads to the leaf.
    fn last(&self) -> &Frame<'a> {
        self.node.as_ref().unwrap_or(&self.root)
    }

    fn block_of(&self, frame: &Frame<'a>) -> Result<u32> {
        let block = frame.pairs.block(&frame.buffer, &self.layout, frame.at);
        checked(self.dir, frame.lblk, block)
    }

    /// The leaf: a block of the directory.
    pub(super) fn leaf(&self) -> Result<u32> {
        let frame = self.last();
        match self.block_of(frame)? {
            block if block == frame.lblk => {
                checked(self.dir, frame.lblk, Err(Corrupt::IndexLoop { block }))
            }
            block => Ok(block),
        }
    }

    /// The hash where the leaf begins, as the index has it: with bit 0 as a mark.
    pub(super) fn start(&self) -> Result<u32> {
        for frame in [self.node.as_ref(), Some(&self.root)].into_iter().flatten() {
            let hash = frame.pairs.hash(&frame.buffer, frame.at);
            if let Some(hash) = checked(self.dir, frame.lblk, hash)? {
                return Ok(hash);
            }
        }
        Ok(0)
    }

    /// Goes on to the next leaf, and answers whether there is one; with `only`, whether there is one that goes on with the
    /// names of that hash. C: `ext4_htree_next_block`.
    pub(super) fn advance(&mut self, only: Option<u32>) -> Result<bool> {
        let dir = self.dir;
        let wanted = |frame: &Frame<'a>, next: u32| -> Result<bool> {
            if next >= frame.pairs.count() {
                return Ok(false);
            }
            let hash = checked(dir, frame.lblk, frame.pairs.hash(&frame.buffer, next))?;
            Ok(only.is_none() || only == hash.map(|hash| hash & !1))
        };
        if let Some(node) = &mut self.node {
            let next = node.at.saturating_add(1);
            if next < node.pairs.count() {
                let found = wanted(node, next)?;
                if found {
                    node.at = next;
                }
                return Ok(found);
            }
        }
        let next = self.root.at.saturating_add(1);
        if !wanted(&self.root, next)? {
            return Ok(false);
        }
        self.root.at = next;
        if self.node.is_some() {
            self.load_node(|_, _| Ok(0))?;
        }
        Ok(true)
    }
}

/// Reports what is wrong with a directory's block.
fn checked<T>(dir: &Inode, lblk: u32, result: Result<T, Corrupt>) -> Result<T> {
    result.or_report(dir.sb(), At::Dir(dir.ino(), lblk))
}

/// Why the way by the index had no end.
pub(super) enum Failure {
    /// The index is damaged, which has been reported: the blocks can be read as a list.
    Index,
    /// Anything else, damage of a block that the index leads to included: to give up the index for that would lose all names
    /// behind it.
    Other(Error),
}

impl Failure {
    /// An error of the index itself.
    fn on_the_way(error: Error) -> Self {
        if error == EUCLEAN {
            Self::Index
        } else {
            Self::Other(error)
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// Finds a name. C: `ext4_dx_find_entry`.
///
/// # Errors
///
/// `EUCLEAN` where a block that the index leads to is damaged; `EIO`.
pub(super) fn find<'a>(dir: &'a Inode, name: &[u8]) -> Result<Option<Place<'a>>, Failure> {
    let mut hash = Hash::default();
    let mut path = Path::probe(dir, |hasher| {
        hash = hasher.hash(name);
        hash.major
    })
    .map_err(Failure::on_the_way)?;
    loop {
        let leaf = path.leaf().map_err(Failure::on_the_way)?;
        let found = dir::find_in(dir, leaf, name)?;
        if found.is_some()
            || !path
                .advance(Some(hash.major))
                .map_err(Failure::on_the_way)?
        {
            return Ok(found);
        }
    }
}

/// Adds an entry where the index wants it; a full leaf is split, and so is a full index block above it.
///
/// # Errors
///
/// `ENOSPC`, also where the index can grow no further; `EUCLEAN` where a block that it leads to is damaged; `EIO`, `ENOMEM`. The
/// entry has not been added, and the index is valid if it was.
pub(super) fn add(
    transaction: &Transaction<'_>,
    dir: &Locked<Exclusive>,
    new: &NewEntry<'_>,
) -> Result<(), Failure> {
    // After one split of an index block the way leads through one with room.
    for _ in 0..3 {
        let mut hash = Hash::default();
        let path = Path::probe(dir, |hasher| {
            hash = hasher.hash(new.name);
            hash.major
        })
        .map_err(Failure::on_the_way)?;
        let leaf = path.leaf().map_err(Failure::on_the_way)?;
        if dir::add_to(transaction, dir, leaf, new)? {
            return Ok(());
        }
        if !path.last().pairs.is_full() {
            return Ok(split_leaf(transaction, dir, path, hash, new)?);
        }
        split_index(transaction, dir, path)?;
    }
    Err(Failure::on_the_way(error::report(
        dir.sb(),
        fmt!("directory {}: its index does not get room", dir.ino()),
    )))
}

/// A copy of a directory's block.
fn copy(sb: &SuperBlock, at: At, buffer: &Buffer<'_>) -> Result<KVVec<u8>> {
    let mut bytes = empty(sb)?;
    buffer.read_bytes(0, &mut bytes).or_report(sb, at)?;
    Ok(bytes)
}

/// Memory as large as a block.
fn empty(sb: &SuperBlock) -> Result<KVVec<u8>> {
    let size = sb.data().geo.block_size() as usize;
    Ok(KVVec::from_elem(0, size, GFP_KERNEL)?)
}

/// Memory for the entries of a block.
fn items(sb: &SuperBlock) -> Result<KVVec<Item>> {
    let count = leaf::max_items(sb.data().geo.block_size());
    Ok(KVVec::from_elem(Item::default(), count, GFP_KERNEL)?)
}

/// Splits the path's leaf, which is full, and adds the entry to one of the halves. The index block above has room. C:
/// `do_split`.
fn split_leaf(
    transaction: &Transaction<'_>,
    dir: &Locked<Exclusive>,
    path: Path<'_>,
    hash: Hash,
    new: &NewEntry<'_>,
) -> Result {
    let sb = dir.sb();
    let layout = dir::layout(sb);
    let lblk = path.leaf()?;
    let at = At::Dir(dir.ino(), lblk);
    let buffer = dir::read_block(dir, lblk)?;
    let old = copy(sb, at, &buffer)?;
    let (mut low, mut high) = (empty(sb)?, empty(sb)?);
    let split = leaf::split(
        &old,
        &layout,
        &path.hasher(),
        &mut items(sb)?,
        &mut low,
        &mut high,
    )
    .or_report(sb, at)?;
    let half = if hash.major >= split.from {
        &mut high
    } else {
        &mut low
    };
    if !dir::fill(half.as_mut_slice(), &layout, new).or_report(sb, at)? {
        return Err(error::report(sb, fmt!("{at}: no room in half a block")));
    }

    // Nothing has changed so far, and all that can be refused comes first.
    let upper = dir::append(transaction, dir, |block| block.write_bytes(0, &high))?;
    let Frame {
        buffer: index,
        lblk: index_lblk,
        mut pairs,
        at: index_at,
    } = path.node.unwrap_or(path.root);
    let mut access = transaction.write(index);
    let inserted = pairs.insert(&mut access, index_at, split.index_hash, upper);
    checked(dir, index_lblk, inserted)?;
    access.dirty_for(dir);
    let mut access = transaction.write(buffer);
    access.write_bytes(0, &low).or_report(sb, at)?;
    access.dirty_for(dir);
    dir::changed(dir);
    Ok(())
}

/// Makes room in the path's last index block, which is full: by a node beside it, or by a level of nodes below the root.
fn split_index(transaction: &Transaction<'_>, dir: &Locked<Exclusive>, path: Path<'_>) -> Result {
    let Path {
        layout,
        mut info,
        mut root,
        node,
        ..
    } = path;
    match node {
        None => {
            let block = dir::block_count(dir);
            let mut access = transaction.write(root.buffer);
            dir::append(transaction, dir, |new| {
                info.grow(&mut access, &layout, new, block)
            })?;
            access.dirty_for(dir);
        }
        Some(mut node) if !root.pairs.is_full() => {
            let mut hash = 0;
            let mut access = transaction.write(node.buffer);
            let block = dir::append(transaction, dir, |new| {
                hash = node.pairs.split(&mut access, &layout, new)?;
                Ok(())
            })?;
            access.dirty_for(dir);
            let mut access = transaction.write(root.buffer);
            let inserted = root.pairs.insert(&mut access, root.at, hash, block);
            checked(dir, 0, inserted)?;
            access.dirty_for(dir);
        }
        Some(_) => {
            pr_warn!("({}): directory {}: index full\n", dir.sb().id(), dir.ino());
            return Err(ENOSPC);
        }
    }
    Ok(())
}

/// Gives a directory of one block an index: its entries move to a block of their own. C: `make_indexed_dir`.
///
/// # Errors
///
/// As [`add`]; the directory is as it was.
pub(super) fn convert(transaction: &Transaction<'_>, dir: &Locked<Exclusive>) -> Result {
    let sb = dir.sb();
    let info = &sb.data().hash;
    let Some(version) = info.default else {
        return Ok(());
    };
    let at = At::Dir(dir.ino(), 0);
    let layout = dir::layout(sb);
    let buffer = dir::read_block(dir, 0)?;
    let old = copy(sb, at, &buffer)?;
    let mut entries = empty(sb)?;
    leaf::move_out(
        &old,
        &layout,
        &info.hasher(version),
        &mut items(sb)?,
        &mut entries,
    )
    .or_report(sb, at)?;
    let block = dir::append(transaction, dir, |new| new.write_bytes(0, &entries))?;
    let layout = IndexLayout {
        block_size: layout.block_size,
        blocks: dir::block_count(dir),
        checksums: info.checksums,
    };
    let mut access = transaction.write(buffer);
    dx::init_root(&mut access, &layout, version, block).or_report(sb, at)?;
    access.dirty_for(dir);
    dir.data().disk.lock().flags |= FL_INDEX;
    dir.mark_dirty();
    Ok(())
}
