// SPDX-License-Identifier: GPL-2.0

//! Directory blocks: finding, adding and removing entries. C: `fs/ext2/dir.c`; [`dx`] has the indexes.
//!
//! Directories live in buffers, not in the page cache, so that changes go through transactions. The directory's `i_rwsem`
//! protects them.

use super::{
    dx,
    error::{self, At, OrReport},
    map::{Lookup, Reads},
    record, Inode, Locked, SuperBlock, Transaction,
};
use crate::{
    format::{
        block::BlockMut,
        corrupt::Corrupt,
        dir::{self, DirLayout, Found, Room},
        inode::FL_INDEX,
    },
    vfs::{
        dir::{DirentType, Emitter},
        errno::EUCLEAN,
        transaction::WriteAccess,
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
pub(super) fn layout(sb: &SuperBlock) -> DirLayout {
    let geo = &sb.data().geo;
    DirLayout {
        block_size: geo.block_size(),
        inodes_count: geo.inodes_count(),
        filetype: geo.has_filetype(),
    }
}

/// Blocks of a directory.
pub(super) fn block_count(dir: &Inode) -> u32 {
    u32::try_from(dir.sb().block_of(dir.size())).unwrap_or(u32::MAX)
}

/// A directory's block. Directories have no holes.
pub(super) fn read_block<'a>(dir: &'a Inode, lblk: u32) -> Result<Buffer<'a>> {
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
/// `EUCLEAN` where a block that has to be looked at is damaged, `EIO`.
pub(super) fn find<'a>(dir: &'a Inode, name: &[u8]) -> Result<Option<Place<'a>>> {
    if matches!(name, b"." | b"..") {
        // In no index, and nowhere but here.
        return find_in(dir, 0, name);
    }
    if dx::is_indexed(dir) {
        match dx::find(dir, name) {
            Ok(found) => return Ok(found),
            Err(dx::Failure::Index) => dx::give_up(dir),
            Err(dx::Failure::Other(e)) => return Err(e),
        }
    }
    for lblk in 0..block_count(dir) {
        let found = find_in(dir, lblk, name)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Finds a name in one block.
pub(super) fn find_in<'a>(dir: &'a Inode, lblk: u32, name: &[u8]) -> Result<Option<Place<'a>>> {
    let sb = dir.sb();
    let buffer = read_block(dir, lblk)?;
    let found = dir::find(&buffer, &layout(sb), name).or_report(sb, At::Dir(dir.ino(), lblk))?;
    Ok(found.map(|found| Place {
        _buffer: buffer,
        lblk,
        found,
    }))
}

/// An entry to be added.
pub(super) struct NewEntry<'a> {
    pub(super) name: &'a [u8],
    pub(super) ino: u32,
    /// `FT_*`.
    pub(super) file_type: u8,
}

/// Adds an entry; the directory grows where there is no room, and gets an index when it has more than one block and the
/// filesystem has indexes. C: `ext4_add_entry`.
///
/// # Errors
///
/// `EEXIST` where the block that the entry would go to has the name, which the caller did not find; `ENOSPC`, `EUCLEAN`, `EIO`;
/// the directory has the entries that it had.
pub(super) fn add(
    transaction: &Transaction<'_>,
    dir: &Locked<Exclusive>,
    name: &[u8],
    ino: u64,
    file_type: u8,
) -> Result {
    record::emergency_state(dir.sb())?;
    let new = NewEntry {
        name,
        ino: u32::try_from(ino).map_err(|_| EUCLEAN)?,
        file_type,
    };
    if !dx::is_indexed(dir) && dx::may_be_indexed(dir) {
        if add_to(transaction, dir, 0, &new)? {
            return Ok(());
        }
        dx::convert(transaction, dir)?;
    }
    if dx::is_indexed(dir) {
        match dx::add(transaction, dir, &new) {
            Ok(()) => return Ok(()),
            // From now on a list; the inode on disk will say so with the change below.
            Err(dx::Failure::Index) => dx::give_up(dir),
            Err(dx::Failure::Other(e)) => return Err(e),
        }
    }
    add_to_list(transaction, dir, &new)
}

/// Adds an entry to the first block that has room, or to a new one.
fn add_to_list(
    transaction: &Transaction<'_>,
    dir: &Locked<Exclusive>,
    new: &NewEntry<'_>,
) -> Result {
    // From the first one on, as ext4: it may have the name, whatever the caches say.
    for lblk in 0..block_count(dir) {
        if add_to(transaction, dir, lblk, new)? {
            return Ok(());
        }
    }
    let layout = layout(dir.sb());
    append(transaction, dir, |block| {
        dir::init_empty(block, &layout)?;
        fill(block, &layout, new).map(drop)
    })?;
    changed(dir);
    Ok(())
}

/// Adds an entry to one block, or answers that there is no room. C: `add_dirent_to_buf`.
///
/// # Errors
///
/// `EEXIST` where the block has the name; `EUCLEAN`, `EIO`.
pub(super) fn add_to(
    transaction: &Transaction<'_>,
    dir: &Locked<Exclusive>,
    lblk: u32,
    new: &NewEntry<'_>,
) -> Result<bool> {
    let sb = dir.sb();
    let at = At::Dir(dir.ino(), lblk);
    let layout = layout(sb);
    let buffer = read_block(dir, lblk)?;
    let slot = match dir::room_for(&buffer, &layout, new.name).or_report(sb, at)? {
        Room::Free(slot) => slot,
        Room::Full => return Ok(false),
        // The disk is not what the caches say.
        Room::Taken => return Err(EEXIST),
    };
    let mut access = transaction.write(buffer);
    dir::fill_slot(
        &mut access,
        &layout,
        &slot,
        new.name,
        new.ino,
        new.file_type,
    )
    .or_report(sb, at)?;
    access.dirty_for(dir);
    changed(dir);
    Ok(true)
}

/// Puts an entry where there is room in a block that nobody else sees yet; `false` where there is none.
pub(super) fn fill(
    block: &mut (impl BlockMut + ?Sized),
    layout: &DirLayout,
    new: &NewEntry<'_>,
) -> Result<bool, Corrupt> {
    let Some(slot) = dir::find_room(block, layout, new.name.len())? else {
        return Ok(false);
    };
    dir::fill_slot(block, layout, &slot, new.name, new.ino, new.file_type)?;
    Ok(true)
}

/// Gives the directory a block more, with what `fill` makes of a zeroed one, and answers which. C: `ext4_append`.
///
/// # Errors
///
/// `ENOSPC`, `EFBIG`, `ENOMEM`, `EUCLEAN`, `EIO`; the directory is as it was, and `fill` has not been called unless it is the
/// one to fail.
pub(super) fn append(
    transaction: &Transaction<'_>,
    dir: &Locked<Exclusive>,
    fill: impl FnOnce(&mut WriteAccess<'_, '_>) -> Result<(), Corrupt>,
) -> Result<u32> {
    let sb = dir.sb();
    let lblk = block_count(dir);
    let size = sb.bytes_of(lblk.saturating_add(1));
    if size > u64::from(u32::MAX) {
        // The size of a directory has 32 bits.
        return Err(EFBIG);
    }
    let run = {
        let mut map = dir.data().map.lock();
        match map.lookup(dir, lblk, 1, Reads::Allowed)? {
            Lookup::Hole(_) => map.allocate(transaction, dir, lblk, 1)?,
            // Allocated beyond the size: left by a crash.
            Lookup::Mapped(run) => run,
        }
    };
    let mut access = transaction.create(run.start)?;
    fill(&mut access).or_report(sb, At::Dir(dir.ino(), lblk))?;
    access.dirty_for(dir);
    dir.set_size(size);
    dir.mark_dirty();
    Ok(lblk)
}

/// Removes an entry. An index needs no change: it may lead to blocks without entries.
pub(super) fn remove(
    transaction: &Transaction<'_>,
    dir: &Locked<Exclusive>,
    place: Place<'_>,
) -> Result {
    let sb = dir.sb();
    record::emergency_state(sb)?;
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
    point(transaction, dir, place, ino, file_type)?;
    changed(dir);
    Ok(())
}

/// The same for the `..` of a directory that has moved, which leaves its times alone. C: `ext4_rename_dir_finish`
pub(super) fn set_parent(
    transaction: &Transaction<'_>,
    dir: &Inode,
    dotdot: &Place<'_>,
    parent: u64,
) -> Result {
    point(transaction, dir, dotdot, parent, dir::FT_DIR)
}

/// Writes an entry's inode number.
fn point(
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
    if dir.size() == 0 {
        error::report_inode(sb, dir.ino(), fmt!("directory {own}: of no blocks"));
        return Ok(false);
    }
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

/// Emits entries from the emitter's position on, which is a byte offset. What cannot be read of a damaged block has been reported,
/// and is passed over, and so are holes: who lists a directory, to save it or to remove it, gets all other names. C: `ext4_readdir`.
pub(super) fn iterate(dir: &Locked<Shared>, emitter: &mut Emitter<'_>) -> Result {
    let sb = dir.sb();
    let size = dir.size();
    while emitter.pos() < size {
        let pos = emitter.pos();
        // Below the size, which is whole blocks.
        let lblk = u32::try_from(sb.block_of(pos)).map_err(|_| EUCLEAN)?;
        let base = sb.bytes_of(lblk);
        let rest = block_count(dir).saturating_sub(lblk).max(1);
        let found = dir
            .data()
            .map
            .lock()
            .lookup(dir, lblk, rest, Reads::Allowed);
        let passed = match found {
            Ok(Lookup::Hole(holes)) => holes,
            Ok(Lookup::Mapped(_)) => {
                // CAST: within a block.
                match emit_block(dir, lblk, sb.offset_in_block(pos) as u32, emitter) {
                    Ok(true) => 1,
                    Ok(false) => return Ok(()),
                    Err(e) if e == EUCLEAN => 1,
                    Err(e) => return Err(e),
                }
            }
            Err(e) if e == EUCLEAN => 1,
            Err(e) => return Err(e),
        };
        emitter.set_pos(base.saturating_add(sb.bytes_of(passed)));
    }
    Ok(())
}

/// Emits the entries of a block from an offset on; `false` where the reader wants no more.
fn emit_block(
    dir: &Locked<Shared>,
    lblk: u32,
    off: u32,
    emitter: &mut Emitter<'_>,
) -> Result<bool> {
    let sb = dir.sb();
    let layout = layout(sb);
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
            if !emitter.emit(name, u64::from(entry.inode), dirent_type(entry.file_type)) {
                return Ok(false);
            }
        }
        off = entry.end();
    }
    Ok(true)
}

/// `d_type` for the file type in an entry.
pub(super) fn dirent_type(file_type: u8) -> DirentType {
    match file_type {
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

/// A directory's contents have changed. Where the filesystem has no indexes, this one no longer fits its directory: without
/// its flag the blocks are a valid list. C: `ext4_update_dx_flag`.
pub(super) fn changed(dir: &Inode) {
    if !dir.sb().data().hash.dir_index {
        dir.data().disk.lock().flags &= !FL_INDEX;
    }
    dir.touch_mctime();
    dir.inc_version();
    dir.mark_dirty();
}
