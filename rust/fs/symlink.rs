// SPDX-License-Identifier: GPL-2.0

//! Symbolic links: a short target lies in the inode, where others have their block map, a longer one in a block.
//!
//! C: `ext4_symlink` in `fs/ext4/namei.c`, `fs/ext4/symlink.c`.

use super::{
    error::{self, OrReport},
    ialloc,
    map::{Lookup, Reads},
    Inode, Locked, Notblk, SuperBlock, Transaction,
};
use crate::{
    format::{
        block::BlockMut,
        inode::{RawInode, N_BLOCKS},
    },
    vfs::{
        dir::Creation,
        errno::ENAMETOOLONG,
        inode::{Kind, New},
        symlink, Buffer, Exclusive,
    },
};
use kernel::prelude::*;
use zerocopy::{little_endian::U32, IntoBytes};

/// Bytes of `i_block`. A target must be shorter, for the zero byte that C wants behind it.
const INLINE: usize = size_of::<[U32; N_BLOCKS]>();

impl symlink::Operations for Notblk {
    fn target(inode: &Inode) -> Result<Buffer<'_>> {
        let found = inode
            .data()
            .map
            .lock()
            .lookup(inode, 0, 1, Reads::Allowed)?;
        match found {
            Lookup::Mapped(run) => inode.sb().bread(run.start),
            Lookup::Hole(_) => Err(error::report(
                inode.sb(),
                fmt!("inode {}: symlink without a target", inode.ino()),
            )),
        }
    }
}

/// Makes the inode of a symbolic link, without a name yet.
///
/// # Errors
///
/// `ENAMETOOLONG` where target and zero byte do not fit a block; as [`ialloc::new_inode`].
pub(super) fn create<'a>(
    transaction: &Transaction<'_>,
    dir: &'a Locked<Exclusive>,
    target: &[u8],
    creation: &Creation<'_>,
) -> Result<New<'a, Notblk>> {
    let size = u64::try_from(target.len()).unwrap_or(u64::MAX);
    if size >= dir.sb().block_bytes() {
        return Err(ENAMETOOLONG);
    }
    let mut new = ialloc::new_inode(transaction, dir, creation)?;
    if target.len() < INLINE {
        let mut block = [U32::ZERO; N_BLOCKS];
        for (to, from) in block.as_mut_bytes().iter_mut().zip(target) {
            *to = *from;
        }
        new.data().map.lock().set(block);
        new.set_kind(&Kind::FastSymlink(target))?;
    } else {
        let run = new.data().map.lock().allocate(transaction, &new, 0, 1)?;
        let mut access = transaction.create(run.start)?;
        access
            .write_bytes(0, target)
            .or_report(dir.sb(), error::At::Inode(new.ino()))?;
        access.dirty_for(&new);
        new.set_kind(&Kind::Symlink)?;
    }
    new.set_size(size);
    Ok(new)
}

/// Whether a symlink's target lies in the inode: it has no blocks but that of its attributes. C:
/// `ext4_inode_is_fast_symlink`.
pub(super) fn is_fast(sb: &SuperBlock, raw: &RawInode) -> bool {
    let acl_sectors = if raw.file_acl.get() != 0 {
        sb.data().geo.block_size() / 512
    } else {
        0
    };
    raw.blocks_lo.get() == acl_sectors
}
