// SPDX-License-Identifier: GPL-2.0

//! Where metadata lies, and that no pointer leads there: a damaged one would have a file's data written over the inode table,
//! or an inode table freed. C: `fs/ext4/block_validity.c`.

use super::{
    error::{At, OrReport},
    super_block::SuperData,
    symlink, SuperBlock,
};
use crate::format::{
    corrupt::Corrupt,
    indirect::DIRECT_BLOCKS,
    inode::{RawInode, S_IFDIR, S_IFLNK, S_IFREG},
    zones::{overlaps, Zone},
};
use kernel::{alloc::KVVec, prelude::*};

/// The blocks of all groups' metadata: about one run for each group. Made at mount and constant after it, so looking
/// something up takes no lock. C: `struct ext4_system_blocks`.
pub(crate) struct Zones(KVVec<Zone>);

impl Zones {
    pub(super) fn new() -> Self {
        Self(KVVec::new())
    }

    /// Adds a zone, which must lie behind those that are there. C: `add_system_zone`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; inside, that it does not.
    pub(super) fn add(&mut self, zone: Zone) -> Result<Result<(), Corrupt>> {
        let joined = match self.0.last_mut().map(|last| last.join(zone)) {
            Some(Ok(joined)) => joined,
            Some(Err(corrupt)) => return Ok(Err(corrupt)),
            None => zone.is_empty(),
        };
        if !joined {
            self.0.push(zone, GFP_KERNEL)?;
        }
        Ok(Ok(()))
    }
}

impl SuperData {
    /// Checks that a file may have all of the `count` blocks from `start` on, as data, indirect blocks or attributes: they
    /// exist, and are not the filesystem's own. C: `ext4_sb_block_valid`.
    pub(super) fn check_blocks(&self, start: u32, count: u32) -> Result<(), Corrupt> {
        if count == 1 {
            self.geo.check_data_block(start)?;
        } else {
            self.geo.check_run(start, count)?;
        }
        if overlaps(&self.zones.0, start, count) {
            return Err(Corrupt::MetadataBlocks {
                block: start,
                count,
            });
        }
        Ok(())
    }
}

/// Checks the direct pointers of an inode that has been read, if they are pointers. Those to indirect blocks are checked when
/// somebody follows them: what does not hang below them can be had. C: `ext4_ind_check_inode`.
///
/// # Errors
///
/// `EUCLEAN`.
pub(super) fn check_inode(sb: &SuperBlock, ino: u64, raw: &RawInode) -> Result {
    let is_mapped = match raw.file_type() {
        S_IFREG | S_IFDIR => true,
        S_IFLNK => !symlink::is_fast(sb, raw),
        _ => false,
    };
    if !is_mapped {
        return Ok(());
    }
    let direct = raw.block.iter().take(DIRECT_BLOCKS as usize);
    for ptr in direct.map(|ptr| ptr.get()) {
        if ptr != 0 {
            sb.data()
                .check_blocks(ptr, 1)
                .or_report(sb, At::Pointer(ino))?;
        }
    }
    Ok(())
}
