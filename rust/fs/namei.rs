// SPDX-License-Identifier: GPL-2.0

//! Names: what the system calls do to directories. C: `fs/ext2/namei.c`.

use super::{
    dir::{self, find},
    error, ialloc, inode, Inode, Locked, Notblk, Transaction,
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
    fn lookup<'a>(dir: &'a Locked<Shared>, name: &[u8]) -> Result<Option<InodeRef<'a, Self>>> {
        if name.len() > NAME_MAX {
            return Err(ENAMETOOLONG);
        }
        let Some(place) = find(dir, name)? else {
            return Ok(None);
        };
        let ino = place.ino();
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
        dir::add(&transaction, dir, name, new.ino(), file_type(new.mode()))?;
        new.set_nlink(1);
        inode::set_new_entry(&new);
        new.mark_dirty();
        sync_made(dir);
        Ok(new)
    }

    fn mkdir<'a>(
        dir: &'a Locked<Exclusive>,
        name: &[u8],
        creation: &Creation<'_>,
    ) -> Result<New<'a, Self>> {
        let transaction = Transaction::start(dir.sb());
        let mut new = ialloc::new_inode(&transaction, dir, creation)?;
        new.set_kind(&Kind::Directory)?;
        dir::make_empty(&transaction, &new, dir)?;
        new.set_size(dir.sb().block_bytes());
        // Its `..` is a link to the parent.
        dir.inc_link()?;
        dir::add(&transaction, dir, name, new.ino(), FT_DIR).inspect_err(|_| dir.dec_link())?;
        // For its name and for its `.`.
        new.set_nlink(2);
        inode::set_new_entry(&new);
        new.mark_dirty();
        sync_made(dir);
        Ok(new)
    }

    fn link(dir: &Locked<Exclusive>, name: &[u8], inode: &Locked<Exclusive>) -> Result {
        let transaction = Transaction::start(dir.sb());
        let file_type = file_type(inode.mode());
        inode.inc_link()?;
        dir::add(&transaction, dir, name, inode.ino(), file_type)
            .inspect_err(|_| inode.dec_link())?;
        inode::set_new_entry(inode);
        inode.touch_ctime();
        sync_made(dir);
        Ok(())
    }

    fn unlink(dir: &Locked<Exclusive>, name: &[u8], inode: &Locked<Exclusive>) -> Result {
        let transaction = Transaction::start(dir.sb());
        let place = find(dir, name)?.ok_or(ENOENT)?;
        dir::remove(&transaction, dir, place)?;
        inode.touch_ctime();
        inode.dec_link();
        sync_dir(dir)
    }

    fn rmdir(dir: &Locked<Exclusive>, name: &[u8], inode: &Locked<Exclusive>) -> Result {
        if !dir::is_empty(inode)? {
            return Err(ENOTEMPTY);
        }
        let transaction = Transaction::start(dir.sb());
        let place = find(dir, name)?.ok_or(ENOENT)?;
        dir::remove(&transaction, dir, place)?;
        inode.touch_ctime();
        // Its name, and its `.`.
        inode.dec_link();
        inode.dec_link();
        dir.dec_link();
        sync_dir(dir)
    }

    fn rename(
        from: &RenameSide<'_, Self>,
        to: &RenameSide<'_, Self>,
        inode: &Inode,
        target: Option<&Inode>,
    ) -> Result {
        let transaction = Transaction::start(inode.sb());
        let is_dir = inode.is_dir();
        let moves = from.dir.ino() != to.dir.ino();
        let dotdot = if is_dir && moves {
            Some(find_dotdot(inode)?)
        } else {
            None
        };
        let old = find(from.dir, from.name)?.ok_or(ENOENT)?;
        drop(old);
        match target {
            Some(target) => {
                if is_dir && !dir::is_empty(target)? {
                    return Err(ENOTEMPTY);
                }
                let place = find(to.dir, to.name)?.ok_or(ENOENT)?;
                dir::set(
                    &transaction,
                    to.dir,
                    &place,
                    inode.ino(),
                    file_type(inode.mode()),
                )?;
                target.touch_ctime();
                if is_dir {
                    // Its `.`; and the new parent loses a `..` here, and gets another below if the directory moves.
                    target.dec_link();
                    if !moves {
                        to.dir.dec_link();
                    }
                }
                target.dec_link();
            }
            None => {
                let new_dotdot = is_dir && moves;
                if new_dotdot {
                    to.dir.inc_link()?;
                }
                let file_type = file_type(inode.mode());
                dir::add(&transaction, to.dir, to.name, inode.ino(), file_type).inspect_err(
                    |_| {
                        if new_dotdot {
                            to.dir.dec_link();
                        }
                    },
                )?;
            }
        }
        inode::set_new_entry(inode);
        inode.touch_ctime();
        inode.mark_dirty();
        // Found again: what was added may have moved it.
        let old = find(from.dir, from.name)?.ok_or(ENOENT)?;
        dir::remove(&transaction, from.dir, old)?;
        if let Some(dotdot) = dotdot {
            dir::set(&transaction, inode, &dotdot, to.dir.ino(), FT_DIR)?;
            from.dir.dec_link();
        }
        sync_dir(from.dir)?;
        sync_dir(to.dir)
    }

    fn iterate(dir: &Locked<Shared>, emitter: &mut Emitter<'_>) -> Result {
        dir::iterate(dir, emitter)
    }
}

/// The `..` of a directory.
fn find_dotdot(dir: &Inode) -> Result<dir::Place<'_>> {
    find(dir, b"..")?.ok_or_else(|| {
        error::report_inode(
            dir.sb(),
            dir.ino(),
            fmt!("directory {}: has no ..", dir.ino()),
        )
    })
}

/// As [`sync_dir`], for a name that has just been made: it is there whether the disk takes it or not, so the call
/// succeeds; the next `fsync` of the directory tells of the error.
fn sync_made(dir: &Inode) {
    if let Err(e) = sync_dir(dir) {
        pr_err!(
            "({}): directory {}: not synced: {e:?}\n",
            dir.sb().id(),
            dir.ino()
        );
    }
}

/// With `-o sync`, `dirsync`, or the directory's own flag: names are on disk before the call returns.
fn sync_dir(dir: &Inode) -> Result {
    if dir.is_dirsync() {
        dir.sync_metadata()?;
    }
    Ok(())
}
