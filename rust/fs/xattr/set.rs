// SPDX-License-Identifier: GPL-2.0

//! Setting and removing an attribute: where it goes. C: `ext4_xattr_set_handle`.

use super::{
    super::{inode, super_block, Inode, Transaction},
    block::Block,
    body::Body,
    check_name,
    expand::{expand_locked, Crowded},
    report,
};
use crate::{
    format::xattr::{Area, Name, SetError},
    vfs::{errno::ENODATA, xattr::When},
};
use kernel::prelude::*;

/// Sets or, with no value, removes an attribute.
///
/// Both areas are changed in copies. The block is stored first: that alone may fail for want of space, and then nothing has
/// changed. (In C the body has, by then.)
///
/// # Errors
///
/// `ENODATA`, `EEXIST` (see [`When`]); `ENOSPC` where neither area has room, or no block can be had; `ERANGE` for a name
/// that cannot be; `EUCLEAN`, `EIO`, `ENOMEM`.
pub(in super::super) fn set_in_transaction(
    transaction: &Transaction<'_>,
    inode: &Inode,
    name: Name<'_>,
    value: Option<&[u8]>,
    when: When,
) -> Result {
    check_name(name)?;
    let mut attributes = inode.data().xattr.lock();
    inode::clear_remains(transaction, inode)?;
    // Where it cannot be, the inode stays as it is.
    let _ = expand_locked(transaction, inode, &mut attributes, Crowded::Stay);
    let mut body = Body::open(inode, &attributes)?;
    let in_body = body_area(&mut body).is_some_and(|area| area.find(name).is_some());
    let mut block = if in_body { None } else { Block::open(inode)? };
    let in_block = block_area(&mut block).is_some_and(|area| area.find(name).is_some());
    match (in_body || in_block, value) {
        (false, _) if when.must_be_there() => return Err(ENODATA),
        (false, None) => return Ok(()),
        (true, _) if when.must_be_new() => return Err(EEXIST),
        _ => {}
    }
    let store_body;
    let store_block;
    match value {
        None => {
            store_body = remove(inode, body_area(&mut body), name)?;
            store_block = remove(inode, block_area(&mut block), name)?;
        }
        Some(value) => {
            let same = [body_area(&mut body), block_area(&mut block)]
                .into_iter()
                .flatten()
                .any(|area| holds(area, name, value));
            if same {
                return Ok(());
            }
            if set(inode, body_area(&mut body), name, value)? {
                store_body = true;
                store_block = remove(inode, block_area(&mut block), name)?;
            } else {
                if block.is_none() {
                    // Not looked at yet, or there is none.
                    block = Some(match Block::open(inode)? {
                        Some(block) => block,
                        None => Block::empty(inode)?,
                    });
                }
                if !set(inode, block_area(&mut block), name, value)? {
                    return Err(ENOSPC);
                }
                store_block = true;
                store_body = remove(inode, body_area(&mut body), name)?;
            }
        }
    }
    if let (Some(block), true) = (block, store_block) {
        block.store(transaction, inode)?;
    }
    if let (Some(body), true) = (body, store_body) {
        body.store(transaction, inode, &mut attributes)?;
    }
    super_block::set_ext_attr(inode.sb())?;
    inode.touch_ctime();
    inode.inc_version();
    inode.mark_dirty();
    Ok(())
}

type Copied = Area<KVec<u8>>;

fn body_area<'a>(body: &'a mut Option<Body<'_>>) -> Option<&'a mut Copied> {
    body.as_mut().map(|body| &mut body.area)
}

fn block_area<'a>(block: &'a mut Option<Block<'_>>) -> Option<&'a mut Copied> {
    block.as_mut().map(|block| &mut block.area)
}

/// Whether an area has just this. C: `ext4_xattr_value_same`.
fn holds(area: &Copied, name: Name<'_>, value: &[u8]) -> bool {
    area.find(name)
        .is_some_and(|entry| area.value(&entry) == value)
}

/// Sets an attribute in an area; `false` where there is none, or it has no room.
fn set(inode: &Inode, area: Option<&mut Copied>, name: Name<'_>, value: &[u8]) -> Result<bool> {
    match area.map(|area| area.set(name, value)) {
        Some(Ok(())) => Ok(true),
        None | Some(Err(SetError::NoSpace)) => Ok(false),
        Some(Err(SetError::Corrupt(corrupt))) => report(Err(corrupt), inode, None),
    }
}

/// Takes an attribute out of an area; `false` where it is not there.
fn remove(inode: &Inode, area: Option<&mut Copied>, name: Name<'_>) -> Result<bool> {
    match area {
        Some(area) => report(area.remove(name), inode, None),
        None => Ok(false),
    }
}
