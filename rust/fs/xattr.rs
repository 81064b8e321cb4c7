// SPDX-License-Identifier: GPL-2.0

//! Blocks of extended attributes: as yet only what deleting an inode needs. C: `ext2_xattr_delete_inode` in
//! `fs/ext2/xattr.c`.

use super::{
    balloc::{self, Run},
    error::{self, At, OrReport},
    Inode, Transaction,
};
use crate::format::block::{Block, BlockMut};
use kernel::prelude::*;
use zerocopy::little_endian::U32;

/// `h_magic`
const MAGIC: u32 = 0xEA02_0000;
/// Where `h_refcount` stands: the inodes that share the block.
const OFF_REFCOUNT: usize = 4;

/// Takes an inode's reference to its block of attributes away; the last one frees the block.
pub(super) fn release_block(transaction: &Transaction<'_>, inode: &Inode) {
    let block = core::mem::take(&mut inode.data().disk.lock().file_acl);
    if block == 0 {
        return;
    }
    if let Err(e) = try_release(transaction, inode, block) {
        pr_err!(
            "({}): inode {}: attribute block {block} not freed: {e:?}\n",
            inode.sb().id(),
            inode.ino()
        );
    }
    inode.quota_release(1);
}

fn try_release(transaction: &Transaction<'_>, inode: &Inode, block: u32) -> Result {
    let sb = inode.sb();
    let at = At::Attributes(inode.ino(), block);
    let buffer = sb.bread(block)?;
    // Two inodes that share the block may be deleted at the same time: one after the other here.
    let space = sb.data().space.lock();
    let magic: U32 = buffer.get(0).or_report(sb, at)?;
    let count: U32 = buffer.get(OFF_REFCOUNT).or_report(sb, at)?;
    if magic.get() != MAGIC || count.get() == 0 {
        return Err(error::report(sb, fmt!("{}: bad header", at)));
    }
    if count.get() > 1 {
        let mut access = transaction.write(buffer);
        access
            .put(OFF_REFCOUNT, &U32::new(count.get() - 1))
            .or_report(sb, at)?;
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
