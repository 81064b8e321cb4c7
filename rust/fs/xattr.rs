// SPDX-License-Identifier: GPL-2.0

//! Extended attributes: what system calls ask of them. C: `fs/ext4/xattr.c`, and its handlers in `xattr_user.c`,
//! `xattr_trusted.c` and `xattr_security.c`.
//!
//! An attribute lies in the inode's body where there is room, else in the inode's block ([`body`], [`block`]); where the
//! one is full, it moves to the other ([`set`]); where fields need its place, it moves too ([`expand`](expand())). Inodes with the same attributes share a block ([`sharing`]): who changes it gets
//! another.

mod block;
mod body;
mod expand;
mod set;
mod sharing;

use super::{
    error::{At, OrReport},
    record, Inode, Notblk, SuperBlock, Transaction,
};
use crate::{
    format::{
        corrupt::Corrupt,
        inode::RawInode,
        xattr::{
            Name, INDEX_POSIX_ACL_ACCESS, INDEX_POSIX_ACL_DEFAULT, INDEX_SECURITY, INDEX_TRUSTED,
            INDEX_USER, NAME_MAX,
        },
    },
    vfs::{
        errno::ENODATA,
        iomap::AttributesAt,
        xattr::{Namespace, Operations, Out, When},
        Buffer,
    },
};
use block::Block;
use body::Body;
use kernel::prelude::*;

pub(super) use block::release_block;
pub(super) use body::check as check_body;
pub(super) use expand::{expand, try_expand};
pub(super) use set::set_in_transaction;
pub(super) use sharing::Sharing;

/// What [`super::inode::InodeData::xattr`] protects: this, the attributes in the body and in the block, and the inode's
/// reference to that block (`DiskFields::file_acl`, which the writing of the inode reads too). How many inodes refer to a block
/// is under `SuperData::sharing`; of one that is shared, the rest does not change.
#[derive(Default)]
pub(crate) struct Attributes {
    /// There are attributes in the body. C: `EXT4_STATE_XATTR`.
    pub(super) in_body: bool,
}

impl Operations for Notblk {
    fn get_xattr(inode: &Inode, namespace: Namespace, name: &[u8], out: &mut Out<'_>) -> Result {
        read(inode, name_in(namespace, name), |value| out.put(value))
    }

    fn set_xattr(
        inode: &Inode,
        namespace: Namespace,
        name: &[u8],
        value: Option<&[u8]>,
        when: When,
    ) -> Result {
        set(inode, name_in(namespace, name), value, when)
    }

    fn list_xattr(inode: &Inode, out: &mut Out<'_>) -> Result {
        let attributes = inode.data().xattr.lock();
        if let Some(body) = Body::open_used(inode, &attributes)? {
            for entry in body.area.entries() {
                list_one(body.area.name(&entry), out)?;
            }
        }
        if let Some(block) = Block::open(inode)? {
            for entry in block.area.entries() {
                list_one(block.area.name(&entry), out)?;
            }
        }
        Ok(())
    }

    fn init_security(inode: &Inode, name: &[u8], value: &[u8]) -> Result {
        let transaction = Transaction::start(inode.sb());
        let name = name_in(Namespace::Security, name);
        set_in_transaction(&transaction, inode, name, Some(value), When::NEW)
    }
}

/// As the disk has it.
fn name_in(namespace: Namespace, rest: &[u8]) -> Name<'_> {
    let index = match namespace {
        Namespace::User => INDEX_USER,
        Namespace::Trusted => INDEX_TRUSTED,
        Namespace::Security => INDEX_SECURITY,
    };
    Name { index, rest }
}

/// Puts one whole name into a list, if the caller may see it. Namespaces that nobody can ask for are not listed. C:
/// `ext4_xattr_list_entries`.
fn list_one(name: Name<'_>, out: &mut Out<'_>) -> Result {
    let namespace = match name.index {
        INDEX_USER => Namespace::User,
        INDEX_TRUSTED => Namespace::Trusted,
        INDEX_SECURITY => Namespace::Security,
        INDEX_POSIX_ACL_ACCESS | INDEX_POSIX_ACL_DEFAULT => {
            out.put(if name.index == INDEX_POSIX_ACL_ACCESS {
                b"system.posix_acl_access"
            } else {
                b"system.posix_acl_default"
            })?;
            out.put(name.rest)?;
            return out.put(b"\0");
        }
        _ => return Ok(()),
    };
    if !namespace.may_list() {
        return Ok(());
    }
    out.put(namespace.prefix().to_bytes())?;
    out.put(name.rest)?;
    out.put(b"\0")
}

/// Finds an attribute and hands its value to `with`, under the lock. C: `ext4_xattr_get`.
///
/// # Errors
///
/// `ENODATA`; `ERANGE` for a name that cannot be; what `with` says.
pub(super) fn read<R>(
    inode: &Inode,
    name: Name<'_>,
    with: impl FnOnce(&[u8]) -> Result<R>,
) -> Result<R> {
    check_name(name)?;
    let attributes = inode.data().xattr.lock();
    if let Some(body) = Body::open_used(inode, &attributes)? {
        if let Some(entry) = body.area.find(name) {
            return with(body.area.value(&entry));
        }
    }
    if let Some(block) = Block::open(inode)? {
        if let Some(entry) = block.area.find(name) {
            return with(block.area.value(&entry));
        }
    }
    Err(ENODATA)
}

/// Where the attributes are, for FIEMAP: in the body where any are there, in the block otherwise. C: `ext4_iomap_xattr_fiemap`,
/// which counts from the beginning of the block that the inode lies in, though, as if it were the first there.
///
/// # Errors
///
/// `ENOENT` where there are none.
pub(super) fn place(inode: &Inode) -> Result<AttributesAt> {
    let attributes = inode.data().xattr.lock();
    if let Some(body) = Body::open_used(inode, &attributes)? {
        let (addr, length) = body.place();
        return Ok(AttributesAt::Inode { addr, length });
    }
    let block = inode.data().disk.lock().file_acl;
    if block == 0 {
        return Err(ENOENT);
    }
    let sb = inode.sb();
    Ok(AttributesAt::Block {
        addr: sb.bytes_of(block),
        length: sb.bytes_of(1),
    })
}

/// The block of attributes, if it is in memory: only then may it have to be written.
pub(super) fn shared_buffer(inode: &Inode) -> Option<Buffer<'_>> {
    let block = inode.data().disk.lock().file_acl;
    if block == 0 {
        return None;
    }
    inode.sb().find_buffer(block)
}

/// Whether the disk may not have an inode's block of attributes as it is.
pub(super) fn is_block_on_its_way(sb: &SuperBlock, raw: &RawInode) -> bool {
    let block = raw.file_acl.get();
    block != 0
        && sb
            .find_buffer(block)
            .is_some_and(|block| block.is_on_its_way())
}

/// Sets or removes an attribute, as a system call of its own. C: `ext4_xattr_set`.
pub(super) fn set(inode: &Inode, name: Name<'_>, value: Option<&[u8]>, when: When) -> Result {
    record::emergency_state(inode.sb())?;
    inode.quota_initialize()?;
    let transaction = Transaction::start(inode.sb());
    set_in_transaction(&transaction, inode, name, value, when)?;
    if inode.is_sync() || (inode.is_dir() && inode.is_dirsync()) {
        inode.sync_metadata()?;
    }
    Ok(())
}

fn check_name(name: Name<'_>) -> Result {
    if name.rest.len() > NAME_MAX {
        return Err(ERANGE);
    }
    Ok(())
}

/// Damage in an inode's block, or in its body.
fn report<T>(found: Result<T, Corrupt>, inode: &Inode, block: Option<u32>) -> Result<T> {
    let at = match block {
        Some(block) => At::Attributes(inode.ino(), block),
        None => At::Inode(inode.ino()),
    };
    found.or_report(inode.sb(), at)
}
