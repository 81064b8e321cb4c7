// SPDX-License-Identifier: GPL-2.0

//! Where metadata lies, and that no pointer leads there: a damaged one would have a file's data written over the inode table,
//! or an inode table freed. C: `fs/ext4/block_validity.c`.

use super::{
    error::{self, At, OrReport},
    inode,
    map::{Lookup, Reads},
    super_block::SuperData,
    symlink, SuperBlock,
};
use crate::format::{
    corrupt::Corrupt,
    indirect::DIRECT_BLOCKS,
    inode::{RawInode, S_IFDIR, S_IFLNK, S_IFREG},
    sort::sort,
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

/// The blocks of the journal, which are its inode's and nobody else's.
pub(crate) struct Journal {
    ino: u64,
    zones: Zones,
    /// Whole blocks of its size.
    blocks: u64,
}

/// A journal in more pieces is none: what it has in memory stays below 8 MiB.
const MOST_PIECES: usize = 1 << 20;

/// Notes where the journal lies, before any other inode is read. The blocks that its map is made of are not noted, as ext4 has
/// it. C: `ext4_protect_reserved_inode`.
///
/// # Errors
///
/// `EUCLEAN` for a journal whose inode is damaged; `EIO`, `ENOMEM`.
pub(super) fn protect_journal(sb: &SuperBlock) -> Result {
    let data = sb.data();
    if data.journal_ino == 0 {
        return Ok(());
    }
    let ino = u64::from(data.journal_ino);
    let bad = |why: &str| error::report_inode(sb, ino, fmt!("inode {ino}: the journal: {why}"));
    let inode = inode::iget_special(sb, ino)?;
    if !inode.is_regular() {
        return Err(bad("no regular file"));
    }
    let mut pieces = KVVec::new();
    {
        let map = inode.data().map.lock();
        let end = sb.block_of(sb.round_up(inode.size()));
        let mut at: u64 = 0;
        while at < end {
            let lblk = u32::try_from(at).map_err(|_| bad("too large"))?;
            let left = u32::try_from(end.saturating_sub(at)).unwrap_or(u32::MAX);
            let count = match map.lookup(&inode, lblk, left, Reads::Allowed)? {
                Lookup::Mapped(run) => {
                    if pieces.len() >= MOST_PIECES {
                        return Err(bad("in too many pieces"));
                    }
                    pieces.push(Zone::new(run.start, run.count), GFP_KERNEL)?;
                    run.count
                }
                Lookup::Hole(count) => count,
            };
            at = at.saturating_add(u64::from(count));
        }
    }
    sort(&mut pieces, |a, b| a.start < b.start);
    let mut zones = Zones::new();
    for piece in pieces {
        zones.add(piece)?.or_report(sb, At::Pointer(ino))?;
    }
    let blocks = sb.block_of(inode.size());
    data.journal.populate(Journal { ino, zones, blocks });
    Ok(())
}

impl SuperData {
    /// Blocks of the journal, which no file can have.
    pub(super) fn journal_blocks(&self) -> u64 {
        self.journal.as_ref().map_or(0, |journal| journal.blocks)
    }

    /// Checks that a file may have all of the `count` blocks from `start` on, as data, indirect blocks or attributes: they
    /// exist, and are not the filesystem's own. C: `ext4_sb_block_valid`.
    pub(super) fn check_blocks(&self, start: u32, count: u32) -> Result<(), Corrupt> {
        self.check(None, start, count)
    }

    /// The same for what the map of inode `ino` leads to: the journal's may lead to the journal. C: `ext4_inode_block_valid`.
    pub(super) fn check_blocks_of(&self, ino: u64, start: u32, count: u32) -> Result<(), Corrupt> {
        self.check(Some(ino), start, count)
    }

    fn check(&self, ino: Option<u64>, start: u32, count: u32) -> Result<(), Corrupt> {
        if count == 1 {
            self.geo.check_data_block(start)?;
        } else {
            self.geo.check_run(start, count)?;
        }
        let in_journal = self.journal.as_ref().is_some_and(|journal| {
            ino != Some(journal.ino) && overlaps(&journal.zones.0, start, count)
        });
        if in_journal || overlaps(&self.zones.0, start, count) {
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
                .check_blocks_of(ino, ptr, 1)
                .or_report(sb, At::Pointer(ino))?;
        }
    }
    Ok(())
}
