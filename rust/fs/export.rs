// SPDX-License-Identifier: GPL-2.0

//! File handles, for NFS servers and `open_by_handle_at(2)`. C: `ext4_nfs_get_inode` in `fs/ext4/super.c`, `ext4_get_parent` in
//! `fs/ext4/namei.c`.

use super::{dir, inode, quota, Inode, Notblk, SuperBlock};
use crate::{
    format::inode::ROOT_INO,
    vfs::{
        errno::ESTALE,
        export::{self, Generation},
        InodeRef,
    },
};
use kernel::prelude::*;

impl export::Operations for Notblk {
    fn from_handle(
        sb: &SuperBlock,
        ino: u64,
        generation: Generation,
    ) -> Result<InodeRef<'_, Self>> {
        let geo = &sb.data().geo;
        // A number that no name can lead to is no damage: the client made it up.
        let ordinary = u64::from(geo.first_ino())..=u64::from(geo.inodes_count());
        // CAST: of the numbers that are looked up, all have 32 bits.
        let is_file = ordinary.contains(&ino) && !quota::is_hidden_file(sb, ino as u32);
        if ino != u64::from(ROOT_INO) && !is_file {
            return Err(ESTALE);
        }
        let inode = inode::iget(sb, ino)?;
        if !generation.is_of(&inode) {
            return Err(ESTALE);
        }
        Ok(inode)
    }

    fn parent(dir: &Inode) -> Result<InodeRef<'_, Self>> {
        // Without `i_rwsem`: an entry is whole at any time, and exportfs asks again where a rename came between. So one that is
        // deleted (`ESTALE`) is no damage: the directory may have been moved away from it since.
        let ino = dir::find(dir, b"..")?.ok_or(ENOENT)?.ino();
        inode::iget(dir.sb(), ino)
    }
}
