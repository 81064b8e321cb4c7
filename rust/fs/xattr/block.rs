// SPDX-License-Identifier: GPL-2.0

//! Attributes in a block, which inodes may share. C: `ext4_xattr_block_find`, `ext4_xattr_block_set`,
//! `ext4_xattr_release_block`.
//!
//! A block that one inode refers to is that inode's alone, and changed where it is. One that several refer to never changes
//! but for their number: who wants to change it takes a copy, and lets the block go. A reference is added to a block that
//! [`Sharing`] finds, and that has the very attributes that are wanted. `SuperData::sharing` protects the numbers; whoever
//! finds a number to be 1 under it and has the block forgotten has it alone for good.
//!
//! No inode has such a block on the list of its metadata buffers (`dirty_for`): a buffer is on one list, whose lock is its
//! inode's, and these have several. (`ext4.ko` does it without a journal, and two lists can become one.) `fsync` looks for it:
//! [`super::shared_buffer`].

use super::{
    super::{
        balloc::{self, Run},
        error::{self, At, OrReport},
        Inode, SuperBlock, Transaction,
    },
    report,
    sharing::Sharing,
};
use crate::{
    format::{
        block::{Block as _, BlockMut},
        xattr::{Area, Place, RawHeader, MAGIC},
    },
    vfs::Buffer,
};
use core::ops::Deref;
use kernel::prelude::*;
use zerocopy::little_endian::U32;

/// No more inodes share a block. C: `EXT4_XATTR_REFCOUNT_MAX`.
const REFCOUNT_MAX: u32 = 1024;

/// A copy of an inode's block.
pub(super) struct Block<'sb> {
    /// The block itself, if the inode has one.
    buffer: Option<Buffer<'sb>>,
    pub(super) area: Area<KVec<u8>>,
}

impl<'sb> Block<'sb> {
    fn bytes(sb: &SuperBlock) -> Result<KVec<u8>> {
        // CAST: block sizes are at most 64 KiB.
        let len = sb.data().geo.block_size() as usize;
        Ok(KVec::from_elem(0, len, GFP_KERNEL)?)
    }

    /// The inode's block, if it has one. Others may share it from now on. `InodeData::xattr` is held, so that it does not go.
    pub(super) fn open(inode: &'sb Inode) -> Result<Option<Self>> {
        let block = inode.data().disk.lock().file_acl;
        if block == 0 {
            return Ok(None);
        }
        let buffer = inode.sb().bread(block)?;
        let mut bytes = Self::bytes(inode.sb())?;
        let area = buffer
            .read_bytes(0, &mut bytes)
            .and_then(|()| Area::parse(bytes, Place::Block));
        let area = report(area, inode, Some(block))?;
        let hash = report(area.hash(), inode, Some(block))?;
        inode.sb().data().sharing.lock().insert(hash, block);
        Ok(Some(Self {
            buffer: Some(buffer),
            area,
        }))
    }

    /// A block for an inode that has none.
    pub(super) fn empty(inode: &Inode) -> Result<Self> {
        let area = report(
            Area::empty(Self::bytes(inode.sb())?, Place::Block),
            inode,
            Some(0),
        )?;
        Ok(Self { buffer: None, area })
    }

    /// Makes the inode's block what the copy is: another one that has the same, where it is, in a new block, or none.
    ///
    /// # Errors
    ///
    /// `ENOSPC`, `EDQUOT` where the block is shared (or there was none) and no other can be had; nothing has changed then.
    pub(super) fn store(mut self, transaction: &Transaction<'sb>, inode: &'sb Inode) -> Result {
        let old = self.buffer.take();
        if self.area.is_empty() {
            inode.data().disk.lock().file_acl = 0;
            if let Some(old) = old {
                let_go(transaction, inode, old);
            }
            return Ok(());
        }
        let hash = report(self.area.hash(), inode, None)?;
        let mut bytes = Self::bytes(inode.sb())?;
        let mut sharing = inode.sb().data().sharing.lock();
        let not = old.as_ref().map_or(0, Buffer::block_nr);
        let shared = match sharing.find(hash) {
            Some(block) if hash != 0 && u64::from(block) != not => {
                self.share(transaction, inode, block, &mut bytes)?
            }
            _ => None,
        };
        let block = match (shared, &old) {
            (Some(block), _) => block,
            (None, Some(buffer)) if is_alone(inode, buffer)? => {
                return self.write_in_place(transaction, inode, buffer, &mut sharing);
            }
            (None, _) => {
                inode.quota_charge(1)?;
                let block = self
                    .write_new(transaction, inode)
                    .inspect_err(|_| inode.quota_release(1))?;
                sharing.insert(hash, block);
                block
            }
        };
        drop(sharing);
        inode.data().disk.lock().file_acl = block;
        if let Some(old) = old {
            let_go(transaction, inode, old);
        }
        Ok(())
    }

    /// Takes a reference to a block, if it has the very attributes of the copy and may have one user more. `bytes` is room for it.
    /// `SuperData::sharing` is held. C: `ext4_xattr_block_cache_find`, and what `ext4_xattr_block_set` does with its answer.
    ///
    /// # Errors
    ///
    /// `EDQUOT`.
    fn share(
        &self,
        transaction: &Transaction<'sb>,
        inode: &'sb Inode,
        block: u32,
        bytes: &mut [u8],
    ) -> Result<Option<u32>> {
        let sb = inode.sb();
        let at = At::Attributes(inode.ino(), block);
        // Whoever it belongs to will hear of it if it is damaged, or cannot be read; here it is no match.
        let Ok(buffer) = sb.bread(block) else {
            return Ok(None);
        };
        buffer.read_bytes(0, bytes).or_report(sb, at)?;
        let Ok(found) = Area::parse(&*bytes, Place::Block) else {
            return Ok(None);
        };
        let count = found.refcount().or_report(sb, at)?;
        if count == 0 || count >= REFCOUNT_MAX || !self.has_the_same(&found) {
            return Ok(None);
        }
        inode.quota_charge(1)?;
        let mut access = transaction.write(buffer);
        let written = access
            .get::<RawHeader>(0)
            .and_then(|mut header| {
                header.refcount = U32::new(count.saturating_add(1));
                access.put(0, &header)
            })
            .or_report(sb, at);
        access.dirty();
        written.inspect_err(|_| inode.quota_release(1))?;
        Ok(Some(block))
    }

    /// Whether another area has the same attributes, wherever their values are. C: `ext4_xattr_cmp`.
    fn has_the_same<B: Deref<Target = [u8]>>(&self, other: &Area<B>) -> bool {
        let mut others = other.entries();
        self.area.entries().all(|entry| {
            others.next().is_some_and(|its| {
                self.area.name(&entry) == other.name(&its)
                    && self.area.value(&entry) == other.value(&its)
            })
        }) && others.next().is_none()
    }

    /// Writes the copy to where it came from, a block that is this inode's alone; nobody finds it meanwhile.
    fn write_in_place(
        &mut self,
        transaction: &Transaction<'sb>,
        inode: &Inode,
        buffer: &Buffer<'sb>,
        sharing: &mut Sharing,
    ) -> Result {
        let block = u32::try_from(buffer.block_nr()).map_err(|_| EIO)?;
        sharing.remove(block);
        report(self.area.set_refcount(1), inode, Some(block))?;
        let mut access = transaction.write(inode.sb().bread(block)?);
        let written = access.write_bytes(0, self.area.bytes());
        report(written, inode, Some(block))?;
        access.dirty();
        let hash = report(self.area.hash(), inode, Some(block))?;
        sharing.insert(hash, block);
        Ok(())
    }

    /// Writes the copy to a new block.
    fn write_new(&mut self, transaction: &Transaction<'sb>, inode: &Inode) -> Result<u32> {
        report(self.area.set_refcount(1), inode, None)?;
        let goal = balloc::goal_for(inode.sb(), inode.ino());
        let run = balloc::allocate(transaction, goal, 1, None)?;
        let write = || {
            let mut access = transaction.create(run.start)?;
            let written = access.write_bytes(0, self.area.bytes());
            report(written, inode, Some(run.start))?;
            access.dirty();
            Ok(run.start)
        };
        write().inspect_err(|_| {
            // What cannot be freed has been reported.
            let _ = balloc::free(transaction, run);
        })
    }
}

/// Whether no other inode refers to a block. `SuperData::sharing` is held.
fn is_alone(inode: &Inode, buffer: &Buffer<'_>) -> Result<bool> {
    let header: RawHeader = report(buffer.get(0), inode, None)?;
    Ok(header.refcount.get() == 1)
}

/// Takes an inode that is being deleted its block away.
pub(in super::super) fn release_block(transaction: &Transaction<'_>, inode: &Inode) {
    let block = core::mem::take(&mut inode.data().disk.lock().file_acl);
    if block == 0 {
        return;
    }
    match inode.sb().bread(block) {
        Ok(buffer) => let_go(transaction, inode, buffer),
        Err(e) => not_freed(inode, u64::from(block), e),
    }
}

/// Takes an inode's reference to a block away; the last one frees the block. What cannot be freed is e2fsck's.
fn let_go(transaction: &Transaction<'_>, inode: &Inode, buffer: Buffer<'_>) {
    let block = buffer.block_nr();
    if let Err(e) = try_let_go(transaction, inode, buffer) {
        not_freed(inode, block, e);
    }
    inode.quota_release(1);
}

fn not_freed(inode: &Inode, block: u64, e: Error) {
    // CAST: it came from 32 bits.
    let at = At::Attributes(inode.ino(), block as u32);
    error::report_failed(inode.sb(), e, at, fmt!("{at}: not freed: {e:?}"));
}

fn try_let_go(transaction: &Transaction<'_>, inode: &Inode, buffer: Buffer<'_>) -> Result {
    let sb = inode.sb();
    let block = u32::try_from(buffer.block_nr()).map_err(|_| EIO)?;
    let at = At::Attributes(inode.ino(), block);
    // Two inodes that share the block may let it go at the same time: one after the other here.
    let mut sharing = sb.data().sharing.lock();
    let mut header: RawHeader = buffer.get(0).or_report(sb, at)?;
    let count = header.refcount.get();
    if header.magic.get() != MAGIC || count == 0 {
        return Err(error::report(sb, fmt!("{}: bad header", at)));
    }
    if count > 1 {
        let mut access = transaction.write(buffer);
        header.refcount = U32::new(count.saturating_sub(1));
        access.put(0, &header).or_report(sb, at)?;
        access.dirty();
        return Ok(());
    }
    sharing.remove(block);
    drop(sharing);
    transaction.forget(buffer);
    balloc::free(
        transaction,
        Run {
            start: block,
            count: 1,
        },
    )
}
