// SPDX-License-Identifier: GPL-2.0

//! Directory blocks: finding, adding and removing entries. C: `fs/ext2/dir.c`.
//!
//! Directories live in buffers, not in the page cache, so that changes go through transactions. The directory's `i_rwsem`
//! protects them.

use super::{
    error::{self, At, OrReport},
    map::{Lookup, Reads},
    record, Inode, Locked, SuperBlock, Transaction,
};
use crate::{
    format::{
        dir::{self, DirLayout, Entry, Found},
        inode::FL_INDEX,
    },
    vfs::{
        dir::{DirentType, Emitter},
        errno::EUCLEAN,
        Buffer, Exclusive, Shared,
    },
};
use kernel::prelude::*;

/// Where an entry was found.
pub(super) struct Place<'sb> {
    _buffer: Buffer<'sb>,
    lblk: u32,
    found: Found,
}

impl Place<'_> {
    /// The inode that the entry names.
    pub(super) fn ino(&self) -> u64 {
        u64::from(self.found.entry.inode)
    }
}

/// How this filesystem's directory blocks are laid out.
fn layout(sb: &SuperBlock) -> DirLayout {
    let geo = &sb.data().geo;
    DirLayout {
        block_size: geo.block_size(),
        inodes_count: geo.inodes_count(),
        filetype: geo.has_filetype(),
    }
}

/// Blocks of a directory.
fn block_count(dir: &Inode) -> u32 {
    u32::try_from(dir.sb().block_of(dir.size())).unwrap_or(u32::MAX)
}

/// A directory's block. Directories have no holes.
fn read_block<'a>(dir: &'a Inode, lblk: u32) -> Result<Buffer<'a>> {
    let found = dir.data().map.lock().lookup(dir, lblk, 1, Reads::Allowed)?;
    match found {
        Lookup::Mapped(run) => dir.sb().bread(run.start),
        Lookup::Hole(_) => Err(error::report_inode(
            dir.sb(),
            dir.ino(),
            fmt!("directory {}: block {lblk} is missing", dir.ino()),
        )),
    }
}

/// Finds a name.
///
/// # Errors
///
/// `EUCLEAN` where a block before it is damaged, `EIO`.
pub(super) fn find<'a>(dir: &'a Inode, name: &[u8]) -> Result<Option<Place<'a>>> {
    let sb = dir.sb();
    let layout = layout(sb);
    for lblk in 0..block_count(dir) {
        let buffer = read_block(dir, lblk)?;
        let found = dir::find(&buffer, &layout, name).or_report(sb, At::Dir(dir.ino(), lblk))?;
        if let Some(found) = found {
            return Ok(Some(Place {
                _buffer: buffer,
                lblk,
                found,
            }));
        }
    }
    Ok(None)
}

/// Adds an entry; the directory grows by a block where none has room.
///
/// # Errors
///
/// `ENOSPC`, `EUCLEAN`, `EIO`; the directory is as it was.
pub(super) fn add(
    transaction: &Transaction<'_>,
    dir: &Locked<Exclusive>,
    name: &[u8],
    ino: u64,
    file_type: u8,
) -> Result {
    let sb = dir.sb();
    record::emergency_state(sb)?;
    let layout = layout(sb);
    let ino = u32::try_from(ino).map_err(|_| EUCLEAN)?;
    clear_index(dir);
    let hint = dir.data().disk.lock().room_hint;
    let count = block_count(dir);
    // From the first block that may have room, for there is none before it.
    for lblk in hint.min(count)..count {
        let at = At::Dir(dir.ino(), lblk);
        let buffer = read_block(dir, lblk)?;
        let Some(slot) = dir::find_room(&buffer, &layout, name.len()).or_report(sb, at)? else {
            if name.len() <= SMALL_NAME && dir.data().disk.lock().room_hint == lblk {
                // No room for a small name: none for larger ones.
                dir.data().disk.lock().room_hint = lblk.saturating_add(1);
            }
            continue;
        };
        let mut access = transaction.write(buffer);
        dir::fill_slot(&mut access, &layout, &slot, name, ino, file_type).or_report(sb, at)?;
        access.dirty_for(dir);
        changed(dir);
        return Ok(());
    }
    if sb.bytes_of(count.saturating_add(1)) > u64::from(u32::MAX) {
        // The size of a directory has 32 bits.
        return Err(EFBIG);
    }
    // A block more.
    let at = At::Dir(dir.ino(), count);
    let run = {
        let mut map = dir.data().map.lock();
        match map.lookup(dir, count, 1, Reads::Allowed)? {
            Lookup::Hole(_) => map.allocate(transaction, dir, count, 1)?,
            // Allocated beyond the size: left by a crash.
            Lookup::Mapped(run) => run,
        }
    };
    let mut access = transaction.create(run.start)?;
    dir::init_empty(&mut access, &layout).or_report(sb, at)?;
    let slot = dir::find_room(&access, &layout, name.len()).or_report(sb, at)?;
    let slot = slot.ok_or_else(|| error::report(sb, fmt!("{}: no room in an empty block", at)))?;
    dir::fill_slot(&mut access, &layout, &slot, name, ino, file_type).or_report(sb, at)?;
    access.dirty_for(dir);
    dir.set_size(sb.bytes_of(count.saturating_add(1)));
    changed(dir);
    Ok(())
}

/// A block that has no room for a name of this length is taken to be full.
const SMALL_NAME: usize = 16;

/// Removes an entry.
pub(super) fn remove(
    transaction: &Transaction<'_>,
    dir: &Locked<Exclusive>,
    place: Place<'_>,
) -> Result {
    let sb = dir.sb();
    record::emergency_state(sb)?;
    clear_index(dir);
    {
        // The block has room again.
        let mut disk = dir.data().disk.lock();
        disk.room_hint = disk.room_hint.min(place.lblk);
    }
    // Read again: the entry belongs to `dir`, whose lock has been held since it was found.
    let mut access = transaction.write(read_block(dir, place.lblk)?);
    dir::remove(&mut access, &layout(sb), &place.found)
        .or_report(sb, At::Dir(dir.ino(), place.lblk))?;
    access.dirty_for(dir);
    changed(dir);
    Ok(())
}

/// Makes an entry name another inode.
pub(super) fn set(
    transaction: &Transaction<'_>,
    dir: &Inode,
    place: &Place<'_>,
    ino: u64,
    file_type: u8,
) -> Result {
    let sb = dir.sb();
    record::emergency_state(sb)?;
    let ino = u32::try_from(ino).map_err(|_| EUCLEAN)?;
    let mut access = transaction.write(read_block(dir, place.lblk)?);
    dir::set_ino(&mut access, &layout(sb), &place.found.entry, ino, file_type)
        .or_report(sb, At::Dir(dir.ino(), place.lblk))?;
    access.dirty_for(dir);
    changed(dir);
    Ok(())
}

/// The first block of a new directory: `.` and `..`.
pub(super) fn make_empty(transaction: &Transaction<'_>, dir: &Inode, parent: &Inode) -> Result {
    let sb = dir.sb();
    let own = u32::try_from(dir.ino()).map_err(|_| EUCLEAN)?;
    let parent = u32::try_from(parent.ino()).map_err(|_| EUCLEAN)?;
    let run = dir.data().map.lock().allocate(transaction, dir, 0, 1)?;
    let mut access = transaction.create(run.start)?;
    dir::init_dots(&mut access, &layout(sb), own, parent).or_report(sb, At::Dir(dir.ino(), 0))?;
    access.dirty_for(dir);
    Ok(())
}

/// Whether there is nothing but `.` and `..`.
pub(super) fn is_empty(dir: &Inode) -> Result<bool> {
    let sb = dir.sb();
    let layout = layout(sb);
    let own = u32::try_from(dir.ino()).map_err(|_| EUCLEAN)?;
    for lblk in 0..block_count(dir) {
        let buffer = read_block(dir, lblk)?;
        if !dir::is_empty_block(&buffer, &layout, own, lblk == 0)
            .or_report(sb, At::Dir(dir.ino(), lblk))?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Emits entries from the emitter's position on. C: `ext2_readdir`.
pub(super) fn iterate(dir: &Locked<Shared>, emitter: &mut Emitter<'_>) -> Result {
    let sb = dir.sb();
    let layout = layout(sb);
    let size = dir.size();
    while emitter.pos() < size {
        let pos = emitter.pos();
        // Below the size, which is whole blocks. CAST: within a block.
        let lblk = u32::try_from(sb.block_of(pos)).map_err(|_| EUCLEAN)?;
        let off = sb.offset_in_block(pos) as u32;
        let base = sb.bytes_of(lblk);
        let at = At::Dir(dir.ino(), lblk);
        let buffer = read_block(dir, lblk)?;
        // The reader may have stopped at an entry that is gone, or seeked into the middle of one.
        let mut off = dir::resync(&buffer, &layout, off).or_report(sb, at)?;
        while off < layout.block_size {
            let entry = dir::entry_at(&buffer, &layout, off).or_report(sb, at)?;
            emitter.set_pos(base.saturating_add(u64::from(off)));
            if entry.inode != 0 {
                let mut text = [0; dir::NAME_MAX];
                let name = entry.read_name(&buffer, &mut text).or_report(sb, at)?;
                if !emitter.emit(name, u64::from(entry.inode), dirent_type(&entry)) {
                    return Ok(());
                }
            }
            off = entry.end();
            // Before the next entry is looked at: should it be damaged, the reader must not get this one again.
            emitter.set_pos(base.saturating_add(u64::from(off)));
        }
        emitter.set_pos(base.saturating_add(sb.block_bytes()));
    }
    Ok(())
}

/// `d_type` for the file type in an entry.
fn dirent_type(entry: &Entry) -> DirentType {
    match entry.file_type {
        dir::FT_REG_FILE => DirentType::REG,
        dir::FT_DIR => DirentType::DIR,
        dir::FT_CHRDEV => DirentType::CHR,
        dir::FT_BLKDEV => DirentType::BLK,
        dir::FT_FIFO => DirentType::FIFO,
        dir::FT_SOCK => DirentType::SOCK,
        dir::FT_SYMLINK => DirentType::LNK,
        _ => DirentType::UNKNOWN,
    }
}

/// We write directories as lists. A hash index would no longer fit them; without its flag the blocks of one are a
/// valid list, and readers take them as such. C: ext2 clears `EXT2_BTREE_FL` likewise.
fn clear_index(dir: &Inode) {
    dir.data().disk.lock().flags &= !FL_INDEX;
}

/// A directory's contents have changed.
fn changed(dir: &Inode) {
    dir.touch_mctime();
    dir.inc_version();
    dir.mark_dirty();
}
