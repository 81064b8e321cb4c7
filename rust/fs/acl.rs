// SPDX-License-Identifier: GPL-2.0

//! POSIX ACLs, as attributes with the empty name in namespaces of their own. C: `fs/ext4/acl.c`.

use super::{
    xattr::{self, set_in_transaction},
    Inode, Locked, Notblk, Transaction,
};
use crate::{
    format::{
        acl::{self, Acl},
        xattr::{Name, INDEX_POSIX_ACL_ACCESS, INDEX_POSIX_ACL_DEFAULT},
    },
    vfs::{
        acl::{Kind, Operations, PosixAcl},
        inode::New,
        xattr::{if_there, When},
        Exclusive,
    },
};
use kernel::prelude::*;

impl Operations for Notblk {
    fn get_inode_acl(inode: &Inode, kind: Kind) -> Result<Option<PosixAcl>> {
        let found = if_there(xattr::read(inode, name(kind), |value| {
            if value.is_empty() {
                return Ok(None);
            }
            // Not damage: as ext4, which says no more than that either.
            let acl = Acl::parse(value).ok_or(EINVAL)?;
            match acl.count() {
                0 => Ok(None),
                count => PosixAcl::new(count, acl.entries()).map(Some),
            }
        }))?;
        Ok(found.flatten())
    }

    fn set_acl(inode: &Locked<Exclusive>, kind: Kind, acl: Option<&PosixAcl>) -> Result {
        if kind == Kind::Default && !inode.is_dir() {
            return match acl {
                Some(_) => Err(EACCES),
                None => Ok(()),
            };
        }
        let value = acl.map(encode).transpose()?;
        xattr::set(inode, name(kind), value.as_deref(), When::ALWAYS)
    }
}

/// The attribute.
fn name(kind: Kind) -> Name<'static> {
    let index = match kind {
        Kind::Access => INDEX_POSIX_ACL_ACCESS,
        Kind::Default => INDEX_POSIX_ACL_DEFAULT,
    };
    Name { index, rest: b"" }
}

/// Its value. C: `ext4_acl_to_disk`.
fn encode(acl: &PosixAcl) -> Result<KVec<u8>> {
    // CAST: it is in memory.
    let len = acl::size(acl.count() as usize);
    let mut value = KVec::from_elem(0, len, GFP_KERNEL)?;
    match acl::encode(acl.entries(), &mut value) {
        Some(n) if n == len => Ok(value),
        _ => Err(EINVAL),
    }
}

/// Gives a created inode the mode and the ACLs that its directory's default ACL asks for. C: `ext4_init_acl`.
pub(super) fn init(
    transaction: &Transaction<'_>,
    new: &mut New<'_, Notblk>,
    dir: &Inode,
) -> Result {
    let inherited = new.inherit_acls(dir)?;
    for (kind, acl) in [
        (Kind::Default, &inherited.default),
        (Kind::Access, &inherited.access),
    ] {
        if let Some(acl) = acl {
            let value = encode(acl)?;
            set_in_transaction(transaction, new, name(kind), Some(&value), When::NEW)?;
        }
        new.cache_acl(kind, acl.as_ref());
    }
    Ok(())
}
