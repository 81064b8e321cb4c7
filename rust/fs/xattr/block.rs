// SPDX-License-Identifier: GPL-2.0

//! Attributes in a block, which inodes may share. C: `ext4_xattr_block_find`, `ext4_xattr_block_set`,
//! `ext4_xattr_release_block`.
//!
//! A block that one inode refers to is that inode's alone, and changed where it is. One that several refer to never changes
//! but for their number: who wants to change it takes a copy, and lets the block go. Since no references are added, a block
//! that was found to be one inode's stays so.

use super::{
    super::{
        balloc::{self, Run},
        error::{self, At, OrReport},
        Inode, Transaction,
    },
    report,
};
use crate::{
    format::{
        block::{Block as _, BlockMut},
        xattr::{Area, Place, RawHeader, MAGIC},
    },
    vfs::Buffer,
};
use kernel::prelude::*;
use zerocopy::little_endian::U32;

/// A copy of an inode's block.
pub(super) struct Block<'sb> {
    /// The block itself, if the inode has one.
    buffer: Option<Buffer<'sb>>,
    pub(super) area: Area<KVec<u8>>,
}

/// Units of 512 bytes in a block.
fn sectors(inode: &Inode) -> i64 {
    i64::from(inode.sb().data().geo.block_size() / 512)
}

impl<'sb> Block<'sb> {
    fn bytes(inode: &Inode) -> Result<KVec<u8>> {
        // CAST: block sizes are at most 64 KiB.
        let len = inode.sb().data().geo.block_size() as usize;
        Ok(KVec::from_elem(0, len, GFP_KERNEL)?)
    }

    /// The inode's block, if it has one.
    pub(super) fn open(inode: &'sb Inode) -> Result<Option<Self>> {
        let block = inode.data().disk.lock().file_acl;
        if block == 0 {
            return Ok(None);
        }
        let buffer = inode.sb().bread(block)?;
        let mut bytes = Self::bytes(inode)?;
        let area = buffer
            .read_bytes(0, &mut bytes)
            .and_then(|()| Area::parse(bytes, Place::Block));
        let area = report(area, inode, Some(block))?;
        Ok(Some(Self {
            buffer: Some(buffer),
            area,
        }))
    }

    /// A block for an inode that has none.
    pub(super) fn empty(inode: &Inode) -> Result<Self> {
        let area = report(
            Area::empty(Self::bytes(inode)?, Place::Block),
            inode,
            Some(0),
        )?;
        Ok(Self { buffer: None, area })
    }

    /// Makes the inode's block what the copy is: where it is, in a new block, or none.
    ///
    /// # Errors
    ///
    /// `ENOSPC` where the block is shared (or there was none) and no other can be had; nothing has changed then.
    pub(super) fn store(mut self, transaction: &Transaction<'sb>, inode: &'sb Inode) -> Result {
        let old = self.buffer.take();
        if self.area.is_empty() {
            inode.data().disk.lock().file_acl = 0;
            if let Some(old) = old {
                let_go(transaction, inode, old);
            }
            return Ok(());
        }
        let refcount = report(self.area.refcount(), inode, None)?;
        match old {
            Some(buffer) if refcount == 1 => {
                let mut access = transaction.write(buffer);
                let written = access.write_bytes(0, self.area.bytes());
                report(written, inode, None)?;
                access.dirty_for(inode);
            }
            old => {
                let block = self.write_new(transaction, inode)?;
                inode.data().disk.lock().file_acl = block;
                inode.add_sectors(sectors(inode));
                if let Some(old) = old {
                    let_go(transaction, inode, old);
                }
            }
        }
        Ok(())
    }

    /// Writes the copy to a new block.
    fn write_new(&mut self, transaction: &Transaction<'sb>, inode: &Inode) -> Result<u32> {
        report(self.area.set_refcount(1), inode, None)?;
        let goal = balloc::goal_for(inode.sb(), inode.ino());
        let run = balloc::allocate(transaction, goal, 1)?;
        let write = || {
            let mut access = transaction.create(run.start)?;
            let written = access.write_bytes(0, self.area.bytes());
            report(written, inode, Some(run.start))?;
            access.dirty_for(inode);
            Ok(run.start)
        };
        write().inspect_err(|_| {
            // What cannot be freed has been reported.
            let _ = balloc::free(transaction, run);
        })
    }
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
    inode.add_sectors(-sectors(inode));
}

fn not_freed(inode: &Inode, block: u64, e: Error) {
    pr_err!(
        "({}): inode {}: attribute block {block} not freed: {e:?}\n",
        inode.sb().id(),
        inode.ino()
    );
}

fn try_let_go(transaction: &Transaction<'_>, inode: &Inode, buffer: Buffer<'_>) -> Result {
    let sb = inode.sb();
    let block = u32::try_from(buffer.block_nr()).map_err(|_| EIO)?;
    let at = At::Attributes(inode.ino(), block);
    // Two inodes that share the block may let it go at the same time: one after the other here.
    let space = sb.data().space.lock();
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
    drop(space);
    transaction.forget(buffer);
    balloc::free(
        transaction,
        Run {
            start: block,
            count: 1,
        },
    )
}
