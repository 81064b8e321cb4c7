// SPDX-License-Identifier: GPL-2.0

//! Renaming and exchanging. C: `ext4_rename` and `ext4_cross_rename` in `fs/ext4/namei.c`.
//!
//! VFS holds `i_rwsem` of both directories, and of what is renamed, replaced or exchanged.

use super::{
    dir::{self, find, Place},
    error, ialloc, inode, links,
    namei::{check_place, sync_made},
    orphan, Inode, Notblk, Transaction,
};
use crate::{
    format::dir::{file_type, FT_CHRDEV},
    vfs::{
        dir::{Creation, RenameSide},
        errno::ENOTEMPTY,
        inode::{Kind, New},
    },
};
use kernel::prelude::*;

/// Moves `inode` from one name to another, over `target` if there is one. With `whiteout` the old name goes to a new
/// character device 0:0, which tells overlayfs that there is nothing.
///
/// # Errors
///
/// `ENOENT` where a name is not what VFS believes, `ENOTEMPTY`, `EMLINK`, `ENOSPC`, `EUCLEAN`, `EIO`; nothing has changed
/// then, unless a block could not be written back.
pub(super) fn rename(
    from: &RenameSide<'_, Notblk>,
    to: &RenameSide<'_, Notblk>,
    inode: &Inode,
    target: Option<&Inode>,
    whiteout: Option<&Creation<'_>>,
) -> Result {
    let sb = inode.sb();
    if let Some(target) = target.filter(|target| target.nlink() == 0) {
        return Err(error::report(
            sb,
            fmt!("inode {}: replaced by rename, but deleted", target.ino()),
        ));
    }
    let transaction = Transaction::start(sb);
    let moves = from.dir.ino() != to.dir.ino();
    let old = find_named(from, inode)?;
    let replaced = match target {
        Some(_) => Some(find(to.dir, to.name)?.ok_or(ENOENT)?),
        None => None,
    };
    let whiteout = match whiteout {
        Some(creation) => Some(new_whiteout(&transaction, from, creation)?),
        None => None,
    };
    let dotdot = check_dir(from, to, inode, target).inspect_err(|_| {
        if whiteout.is_some() {
            // ext4 has its whiteout's entry rewritten here though it has not been written: it shows in the directory's times.
            from.dir.touch_mctime();
            from.dir.mark_dirty();
        }
    })?;
    if let Some(whiteout) = &whiteout {
        // First, while the old name's place is known.
        dir::set(&transaction, from.dir, &old, whiteout.ino(), FT_CHRDEV)?;
    }
    let kind = file_type(inode.mode());
    match &replaced {
        Some(place) => dir::set(&transaction, to.dir, place, inode.ino(), kind),
        None => dir::add(&transaction, to.dir, to.name, inode.ino(), kind),
    }
    .inspect_err(|_| {
        if whiteout.is_some() {
            point_to(&transaction, from, inode);
        }
    })?;
    inode::set_new_entry(inode);
    inode.touch_ctime();
    inode.mark_dirty();
    match whiteout {
        Some(mut whiteout) => {
            whiteout.set_nlink(1);
            whiteout.mark_dirty();
            drop(whiteout.ready());
        }
        None => remove_old(&transaction, from),
    }
    if let Some(target) = target {
        target.touch_ctime();
        if inode.is_dir() {
            target.clear_links();
        } else {
            target.dec_link();
        }
        if target.nlink() == 0 {
            orphan::add_or_tell(&transaction, target);
        }
    }
    if inode.is_dir() {
        if let Some(dotdot) = dotdot {
            dir::set_parent(&transaction, inode, &dotdot, to.dir.ino())?;
        }
        // A `..` less, the moved directory's or the replaced one's.
        if moves || target.is_some() {
            links::dec(from.dir);
        }
        if moves && target.is_none() {
            links::inc(to.dir)?;
        }
    }
    // The new name first, and the old one stays where the disk does not take the new.
    if sync_made(to.dir) && (!inode.is_dir() || sync_made(inode)) {
        sync_made(from.dir);
    }
    Ok(())
}

/// Whether a directory can be moved so. Answers its `..`, which must follow it into another directory; nothing for another inode.
fn check_dir<'a>(
    from: &RenameSide<'_, Notblk>,
    to: &RenameSide<'_, Notblk>,
    inode: &'a Inode,
    target: Option<&Inode>,
) -> Result<Option<Place<'a>>> {
    if !inode.is_dir() {
        return Ok(None);
    }
    let moves = from.dir.ino() != to.dir.ino();
    match target {
        Some(target) if !dir::is_empty(target)? => return Err(ENOTEMPTY),
        None if moves && links::is_full(to.dir) => return Err(EMLINK),
        _ => {}
    }
    match moves {
        true => find_dotdot(inode, from.dir).map(Some),
        false => Ok(None),
    }
}

/// Each inode gets the other's name. C: `ext4_cross_rename`.
///
/// # Errors
///
/// As for [`rename`].
pub(super) fn exchange(
    from: &RenameSide<'_, Notblk>,
    to: &RenameSide<'_, Notblk>,
    inode: &Inode,
    other: &Inode,
) -> Result {
    let transaction = Transaction::start(inode.sb());
    let moves = from.dir.ino() != to.dir.ino();
    let old = find_named(from, inode)?;
    let new = find_named(to, other)?;
    let mut dotdots = (None, None);
    if moves && inode.is_dir() {
        dotdots.0 = Some(find_dotdot(inode, from.dir)?);
    }
    if moves && other.is_dir() {
        dotdots.1 = Some(find_dotdot(other, to.dir)?);
    }
    // The directory that loses a directory, and the one that gets it.
    let counts = match (inode.is_dir(), other.is_dir()) {
        (true, false) if moves => Some((from.dir, to.dir)),
        (false, true) if moves => Some((to.dir, from.dir)),
        _ => None,
    };
    if counts.is_some_and(|(_, gains)| links::is_full(gains)) {
        return Err(EMLINK);
    }
    let kind = file_type(inode.mode());
    dir::set(&transaction, to.dir, &new, inode.ino(), kind)?;
    let kind = file_type(other.mode());
    dir::set(&transaction, from.dir, &old, other.ino(), kind)
        .inspect_err(|_| point_to(&transaction, to, other))?;
    for inode in [inode, other] {
        inode::set_new_entry(inode);
        inode.touch_ctime();
        inode.mark_dirty();
    }
    if let Some(dotdot) = dotdots.0 {
        dir::set_parent(&transaction, inode, &dotdot, to.dir.ino())?;
    }
    if let Some(dotdot) = dotdots.1 {
        dir::set_parent(&transaction, other, &dotdot, from.dir.ino())?;
    }
    if let Some((loses, gains)) = counts {
        links::dec(loses);
        links::inc(gains)?;
    }
    sync_made(to.dir);
    sync_made(from.dir);
    Ok(())
}

/// The entry of a side's name, which must be `inode`'s.
fn find_named<'a>(side: &RenameSide<'a, Notblk>, inode: &Inode) -> Result<Place<'a>> {
    let place = find(side.dir, side.name)?;
    check_place(place, inode)
}

/// The `..` of a directory, which must be `parent`. C: `ext4_rename_dir_prepare`.
fn find_dotdot<'a>(dir: &'a Inode, parent: &Inode) -> Result<Place<'a>> {
    match find(dir, b"..")? {
        Some(place) if place.ino() == parent.ino() => Ok(place),
        Some(place) => Err(error::report(
            dir.sb(),
            fmt!(
                "directory {}: .. is {}, but it lies in {}",
                dir.ino(),
                place.ino(),
                parent.ino()
            ),
        )),
        None => Err(error::report(
            dir.sb(),
            fmt!("directory {}: has no ..", dir.ino()),
        )),
    }
}

/// What the old name becomes. C: `ext4_whiteout_for_rename`.
fn new_whiteout<'a>(
    transaction: &Transaction<'_>,
    from: &RenameSide<'a, Notblk>,
    creation: &Creation<'_>,
) -> Result<New<'a, Notblk>> {
    let mut new = ialloc::new_inode(transaction, from.dir, creation)?;
    new.set_kind(&Kind::Special { major: 0, minor: 0 })?;
    Ok(new)
}

/// After an error: the name is `inode`'s again. C: `ext4_resetent`.
fn point_to(transaction: &Transaction<'_>, side: &RenameSide<'_, Notblk>, inode: &Inode) {
    let kind = file_type(inode.mode());
    let set = find(side.dir, side.name)
        .and_then(|place| place.ok_or(ENOENT))
        .and_then(|place| dir::set(transaction, side.dir, &place, inode.ino(), kind));
    complain(side, set);
}

/// Removes the old name. The new one is there, so that an error changes nothing about success. C: `ext4_rename_delete`.
fn remove_old(transaction: &Transaction<'_>, from: &RenameSide<'_, Notblk>) {
    // Found again: what was added may have moved it.
    let removed = find(from.dir, from.name)
        .and_then(|place| place.ok_or(ENOENT))
        .and_then(|place| dir::remove(transaction, from.dir, place));
    complain(from, removed);
}

/// The name is wrong from now on, which e2fsck must know.
fn complain(side: &RenameSide<'_, Notblk>, result: Result) {
    if let Err(e) = result {
        error::report(
            side.dir.sb(),
            fmt!("directory {}: a name is left behind: {e:?}", side.dir.ino()),
        );
    }
}
