// SPDX-License-Identifier: GPL-2.0

//! Names: what the system calls do to directories. C: `fs/ext2/namei.c`.

use super::{
    dir::{self, find, Place},
    error, ialloc, inode, links, orphan, project, readdir, rename, symlink, Inode, Locked, Notblk,
    Transaction,
};
use crate::{
    format::dir::{file_type, FT_DIR, NAME_MAX},
    vfs::{
        self,
        dir::{Creation, Emitter, RenameSide},
        errno::{ENAMETOOLONG, ENOTEMPTY, ESTALE},
        inode::{Kind, New},
        Exclusive, InodeRef, Shared,
    },
};
use kernel::prelude::*;

impl vfs::dir::Operations for Notblk {
    type Cursor = readdir::Cursor;

    fn lookup<'a>(dir: &'a Locked<Shared>, name: &[u8]) -> Result<Option<InodeRef<'a, Self>>> {
        if name.len() > NAME_MAX {
            return Err(ENAMETOOLONG);
        }
        let Some(place) = find(dir, name)? else {
            return Ok(None);
        };
        let ino = place.ino();
        if ino == dir.ino() {
            return Err(error::report_inode(
                dir.sb(),
                ino,
                fmt!("directory {ino}: names itself"),
            ));
        }
        match inode::iget(dir.sb(), ino) {
            Ok(found) => Ok(Some(found)),
            // A name for an inode that is deleted, which only damage can leave.
            Err(e) if e == ESTALE => Err(error::report_inode(
                dir.sb(),
                dir.ino(),
                fmt!("directory {}: names deleted inode {ino}", dir.ino()),
            )),
            Err(e) => Err(e),
        }
    }

    fn create<'a>(
        dir: &'a Locked<Exclusive>,
        name: &[u8],
        creation: &Creation<'_>,
    ) -> Result<New<'a, Self>> {
        let transaction = Transaction::start(dir.sb());
        let mut new = ialloc::new_inode(&transaction, dir, creation)?;
        new.set_kind(&Kind::Regular)?;
        add_nondir(&transaction, dir, name, &mut new)?;
        Ok(new)
    }

    fn symlink<'a>(
        dir: &'a Locked<Exclusive>,
        name: &[u8],
        target: &[u8],
        creation: &Creation<'_>,
    ) -> Result<New<'a, Self>> {
        let transaction = Transaction::start(dir.sb());
        let mut new = symlink::create(&transaction, dir, target, creation)?;
        add_nondir(&transaction, dir, name, &mut new)?;
        Ok(new)
    }

    fn mknod<'a>(
        dir: &'a Locked<Exclusive>,
        name: &[u8],
        creation: &Creation<'_>,
        (major, minor): (u32, u32),
    ) -> Result<New<'a, Self>> {
        let transaction = Transaction::start(dir.sb());
        let mut new = ialloc::new_inode(&transaction, dir, creation)?;
        new.set_kind(&Kind::Special { major, minor })?;
        add_nondir(&transaction, dir, name, &mut new)?;
        Ok(new)
    }

    fn mkdir<'a>(
        dir: &'a Locked<Exclusive>,
        name: &[u8],
        creation: &Creation<'_>,
    ) -> Result<New<'a, Self>> {
        if links::is_full(dir) {
            return Err(EMLINK);
        }
        let transaction = Transaction::start(dir.sb());
        let mut new = ialloc::new_inode(&transaction, dir, creation)?;
        new.set_kind(&Kind::Directory)?;
        dir::make_empty(&transaction, &new, dir)?;
        new.set_size(dir.sb().block_bytes());
        // Its `..` is a link to the parent.
        links::inc(dir)?;
        dir::add(&transaction, dir, name, new.ino(), FT_DIR).inspect_err(|_| links::dec(dir))?;
        // For its name and for its `.`.
        new.set_nlink(2);
        inode::set_new_entry(&new);
        new.mark_dirty();
        // Its own block, and then the name.
        if sync_made(&new) {
            sync_made(dir);
        }
        Ok(new)
    }

    fn tmpfile<'a>(dir: &'a Inode, creation: &Creation<'_>) -> Result<New<'a, Self>> {
        let transaction = Transaction::start(dir.sb());
        let mut new = ialloc::new_inode(&transaction, dir, creation)?;
        new.set_kind(&Kind::Regular)?;
        new.set_nlink(0);
        orphan::add(&transaction, &new)?;
        new.mark_dirty();
        Ok(new)
    }

    fn link(dir: &Locked<Exclusive>, name: &[u8], inode: &Locked<Exclusive>) -> Result {
        if links::has_all(inode) {
            return Err(EMLINK);
        }
        project::check_name(dir, inode)?;
        dir.quota_initialize()?;
        let transaction = Transaction::start(dir.sb());
        let file_type = file_type(inode.mode());
        inode.inc_link()?;
        dir::add(&transaction, dir, name, inode.ino(), file_type)
            .inspect_err(|_| inode.dec_link())?;
        inode::set_new_entry(inode);
        inode.touch_ctime();
        if inode.nlink() == 1 {
            // Made by O_TMPFILE: its first name. In its buffer it has a link before it is off the list, for the next fsync of a
            // neighbour there writes both. Left on the list it is shortened to the size that it has, by the next mount.
            let counted = inode::write(inode);
            if counted.is_ok() {
                let _ = orphan::remove(&transaction, inode);
            }
        }
        sync_made(dir);
        Ok(())
    }

    fn unlink(dir: &Locked<Exclusive>, name: &[u8], inode: &Locked<Exclusive>) -> Result {
        // Whoever cannot be told of what the inode gives back shall not delete it.
        dir.quota_initialize()?;
        inode.quota_initialize()?;
        let transaction = Transaction::start(dir.sb());
        let place = check_place(find(dir, name)?, inode)?;
        dir::remove(&transaction, dir, place)?;
        inode.touch_ctime();
        inode.dec_link();
        if inode.nlink() == 0 {
            orphan::add_or_tell(&transaction, inode);
        }
        sync_made(dir);
        Ok(())
    }

    fn rmdir(dir: &Locked<Exclusive>, name: &[u8], inode: &Locked<Exclusive>) -> Result {
        if !dir::is_empty(inode)? {
            return Err(ENOTEMPTY);
        }
        dir.quota_initialize()?;
        inode.quota_initialize()?;
        let transaction = Transaction::start(dir.sb());
        let place = check_place(find(dir, name)?, inode)?;
        dir::remove(&transaction, dir, place)?;
        inode.touch_ctime();
        // Its name and its `.`, however they were counted.
        inode.clear_links();
        orphan::add_or_tell(&transaction, inode);
        links::dec(dir);
        sync_made(dir);
        Ok(())
    }

    fn rename(
        from: &RenameSide<'_, Self>,
        to: &RenameSide<'_, Self>,
        inode: &Inode,
        target: Option<&Inode>,
        whiteout: Option<&Creation<'_>>,
    ) -> Result {
        project::check_name(to.dir, inode)?;
        for changed in [Some(&**from.dir), Some(&**to.dir), Some(inode), target] {
            changed.map_or(Ok(()), Inode::quota_initialize)?;
        }
        rename::rename(from, to, inode, target, whiteout)
    }

    fn exchange(
        from: &RenameSide<'_, Self>,
        to: &RenameSide<'_, Self>,
        inode: &Inode,
        other: &Inode,
    ) -> Result {
        project::check_name(to.dir, inode)?;
        project::check_name(from.dir, other)?;
        from.dir.quota_initialize()?;
        to.dir.quota_initialize()?;
        rename::exchange(from, to, inode, other)
    }

    fn iterate(
        dir: &Locked<Shared>,
        cursor: &mut readdir::Cursor,
        emitter: &mut Emitter<'_>,
    ) -> Result {
        readdir::iterate(dir, cursor, emitter)
    }

    fn end(dir: &Inode, narrow: bool) -> Option<u64> {
        readdir::end(dir, narrow)
    }
}

/// Gives a new inode that is no directory its first name. C: `ext4_add_nondir`.
fn add_nondir(
    transaction: &Transaction<'_>,
    dir: &Locked<Exclusive>,
    name: &[u8],
    new: &mut New<'_, Notblk>,
) -> Result {
    dir::add(transaction, dir, name, new.ino(), file_type(new.mode()))?;
    new.set_nlink(1);
    inode::set_new_entry(new);
    new.mark_dirty();
    sync_made(dir);
    Ok(())
}

/// The entry of a name that VFS knows as `inode`'s.
///
/// # Errors
///
/// `ENOENT` where there is none, or it is another's: only damage leads there.
pub(super) fn check_place<'a>(place: Option<Place<'a>>, inode: &Inode) -> Result<Place<'a>> {
    place
        .filter(|place| place.ino() == inode.ino())
        .ok_or(ENOENT)
}

/// As [`sync_dir`], for a name that has just been made or taken away: that is so whether the disk takes it or not, so the call
/// succeeds; the next `fsync` of the directory tells of the error. False where the disk does not have it.
pub(super) fn sync_made(dir: &Inode) -> bool {
    let synced = sync_dir(dir);
    if let Err(e) = synced {
        pr_err!(
            "({}): directory {}: not synced: {e:?}\n",
            dir.sb().id(),
            dir.ino()
        );
    }
    synced.is_ok()
}

/// With `-o sync`, `dirsync`, or the directory's own flag: names are on disk before the call returns.
fn sync_dir(dir: &Inode) -> Result {
    if dir.is_dirsync() {
        dir.sync_metadata()?;
    }
    Ok(())
}
