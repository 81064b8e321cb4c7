// SPDX-License-Identifier: GPL-2.0

//! Room in an inode for the fields that came later: nanoseconds, the time of birth, the project. An inode that was made when there
//! were fewer grows when it is written; attributes that begin where the new fields will be move on. C:
//! `ext4_try_to_expand_extra_isize`, `ext4_expand_extra_isize`, `ext4_expand_extra_isize_ea`.

use super::{
    super::{
        error::{At, OrReport},
        inode, Inode, Transaction,
    },
    block::Block,
    body::Body,
    report, Attributes,
};
use crate::format::{
    block::BlockMut,
    inode::{RAW_INODE_EXTRA_SIZE, RAW_INODE_SIZE},
    xattr::{Entry, SetError},
};
use kernel::prelude::*;
use zerocopy::little_endian::U16;

/// What becomes of attributes in the body for which there is no room any longer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Crowded {
    /// They stay: the inode does not grow.
    Stay,
    /// They move to the inode's block, one by one.
    Move,
}

/// Makes room where that takes no block, and nobody has the attributes just now. ext4 takes a block for it too; here whoever writes
/// inodes back allocates none.
pub(in super::super) fn try_expand(transaction: &Transaction<'_>, inode: &Inode) {
    if missing(inode) == 0 {
        return;
    }
    if let Some(mut attributes) = inode.data().xattr.try_lock() {
        // It stays as small as it is. Damage has been reported.
        let _ = expand_locked(transaction, inode, &mut attributes, Crowded::Stay);
    }
}

/// Makes room, if need be in the inode's block.
///
/// # Errors
///
/// `ENOSPC`, `EDQUOT` where the attributes in the way have nowhere to go; `EIO`, `EUCLEAN`, `ENOMEM`.
pub(in super::super) fn expand(transaction: &Transaction<'_>, inode: &Inode) -> Result {
    let mut attributes = inode.data().xattr.lock();
    expand_locked(transaction, inode, &mut attributes, Crowded::Move)
}

/// The same with `InodeData::xattr` held.
pub(super) fn expand_locked(
    transaction: &Transaction<'_>,
    inode: &Inode,
    attributes: &mut Attributes,
    crowded: Crowded,
) -> Result {
    let by = missing(inode);
    if by == 0 {
        return Ok(());
    }
    match Body::open_used(inode, attributes)? {
        Some(mut body) => {
            let block = if body.area.free() >= by {
                None
            } else if crowded == Crowded::Stay {
                return Err(ENOSPC);
            } else {
                Some(move_out(inode, &mut body, by)?)
            };
            // Before the block is stored: what may fail comes first, so that no attribute is in both.
            let body = body.shortened(inode, by)?;
            if let Some(block) = block {
                block.store(transaction, inode)?;
                // It may have another block now, whatever becomes of what the room is wanted for.
                inode.mark_dirty();
            }
            body.store_with(transaction, inode, attributes, |access| grow(inode, access))?;
        }
        None => {
            let (buffer, _) = inode::buffer(inode.sb(), inode.ino())?;
            // Keeps the writing of the inode's fields out.
            let _fields = inode.data().map.lock();
            let mut access = transaction.write(buffer);
            grow(inode, &mut access)?;
            access.dirty();
        }
    }
    let mut disk = inode.data().disk.lock();
    disk.extra_isize = inode.sb().data().geo.extra_isize_wanted();
    // Where there was no room for it before, the disk has zeroes now.
    disk.crtime = disk.crtime.or(Some((0, 0)));
    Ok(())
}

/// How many bytes for fields the inode has too few.
fn missing(inode: &Inode) -> usize {
    let wanted = inode.sb().data().geo.extra_isize_wanted();
    let has = inode.data().disk.lock().extra_isize;
    usize::from(wanted.saturating_sub(has))
}

/// Gives the inode in the inode table the room that it wants. One that says it has none keeps what is there: it was read as fields.
fn grow(inode: &Inode, access: &mut impl BlockMut) -> Result {
    let sb = inode.sb();
    let wanted = sb.data().geo.extra_isize_wanted();
    let has = match inode.data().disk.lock().extra_isize {
        0 => RAW_INODE_EXTRA_SIZE,
        has => has,
    };
    let (_, off) = inode::buffer(sb, inode.ino())?;
    let fields = off.saturating_add(usize::from(RAW_INODE_SIZE));
    access
        .fill(
            fields.saturating_add(usize::from(has)),
            usize::from(wanted.saturating_sub(has)),
            0,
        )
        .and_then(|()| access.put(fields, &U16::new(wanted)))
        .or_report(sb, At::Inode(inode.ino()))
}

/// Moves attributes from a copy of the body to one of the inode's block, until `by` bytes are free in the copy. C:
/// `ext4_xattr_make_inode_space`.
fn move_out<'sb>(inode: &'sb Inode, body: &mut Body<'sb>, by: usize) -> Result<Block<'sb>> {
    let mut block = match Block::open(inode)? {
        Some(block) => block,
        None => Block::empty(inode)?,
    };
    while body.area.free() < by {
        let entry = victim(body, by, block.area.free()).ok_or(ENOSPC)?;
        let name = body.area.name(&entry);
        match block.area.set(name, body.area.value(&entry)) {
            Ok(()) => {}
            Err(SetError::NoSpace) => return Err(ENOSPC),
            Err(SetError::Corrupt(corrupt)) => return report(Err(corrupt), inode, None),
        }
        report(body.area.remove_entry(&entry), inode, None)?;
    }
    Ok(block)
}

/// The smallest attribute without which there is room; failing that, the last one. Only what the block has room for.
fn victim(body: &Body<'_>, by: usize, block: usize) -> Option<Entry> {
    let lacking = by.saturating_sub(body.area.free());
    let fits = || {
        body.area
            .entries()
            .filter(move |entry| entry.room() <= block)
    };
    fits()
        .filter(|entry| entry.room() >= lacking)
        .min_by_key(Entry::room)
        .or_else(|| fits().last())
}
