// SPDX-License-Identifier: GPL-2.0

//! Allocating and freeing inode numbers. C: `fs/ext2/ialloc.c`.

use super::{
    acl, balloc,
    error::{self, At, OrReport},
    group, inode, project, record, Inode, Notblk, SuperBlock, Transaction,
};
use crate::{
    format::{
        bitmap,
        inode::{mask_flags, FL_INHERITED, FL_TOPDIR},
    },
    vfs::{dir::Creation, errno::EUCLEAN, inode::New},
};
use kernel::prelude::*;
use zerocopy::little_endian::U16;

/// Directories at top level are spread over the groups; below that, inodes stay near their directory.
const ROOT_INO: u64 = 2;

/// Makes an inode in `dir`: number, owner, mode, times, ACLs and labels; no links, no name, no contents yet. C: `ext2_new_inode`.
///
/// # Errors
///
/// `EPERM` in a directory that has been removed; `ENOSPC`, `EDQUOT`, `ENOMEM`, `EIO`, `EUCLEAN`; nothing is left behind.
pub(super) fn new_inode<'a>(
    transaction: &Transaction<'_>,
    dir: &'a Inode,
    creation: &Creation<'_>,
) -> Result<New<'a, Notblk>> {
    let sb = dir.sb();
    if dir.nlink() == 0 {
        // It has been removed, and is open still: VFS looks only where there is a name to be.
        return Err(EPERM);
    }
    record::emergency_state(sb)?;
    let is_dir = creation.mode() & 0o170000 == 0o040000;
    dir.quota_initialize()?;
    let ino = allocate(transaction, dir, is_dir)?;
    if let Err(e) = inode::buffer(sb, ino) {
        // Who makes a file hears of it now; later it would be nobody.
        free(sb, ino, is_dir);
        return Err(e);
    }
    let mut new = match sb.new_inode(ino) {
        Ok(new) => new,
        Err(e) => {
            if e == EUCLEAN {
                error::report(sb, fmt!("inode {ino} is free in its bitmap, but in use"));
            } else {
                free(sb, ino, is_dir);
            }
            return Err(e);
        }
    };
    let inherited = mask_flags(creation.mode(), dir.data().disk.lock().flags & FL_INHERITED);
    new.init(dir, creation, inode::vfs_flags(inherited));
    inode::init_new(&mut new, inherited, project::for_new(dir));
    if sb.data().limits.grpid() {
        new.take_group(dir, creation);
    }
    new.quota_charge_inode()?;
    // From here on the inode may have a block, which goes with `new` where this fails.
    acl::init(transaction, &mut new, dir)?;
    new.init_security(dir, creation)?;
    Ok(new)
}

/// Takes a free number.
fn allocate(transaction: &Transaction<'_>, dir: &Inode, is_dir: bool) -> Result<u64> {
    let sb = transaction.sb();
    let data = sb.data();
    let groups = data.geo.group_count();
    record::emergency_state(sb)?;
    loop {
        let (free, returned) = {
            let space = data.space.lock();
            (space.free_inodes, space.returned_inodes)
        };
        if free == 0 {
            return Err(ENOSPC);
        }
        let first = if is_dir {
            group_for_dir(sb, dir)?
        } else {
            group_for_file(sb, dir)?
        };
        for n in 0..groups {
            let group = balloc::wrap(first, n, groups);
            if let Some(ino) = in_group(transaction, group, is_dir)? {
                return Ok(ino);
            }
        }
        let free = {
            let space = data.space.lock();
            // Others were here meanwhile. Numbers may have been freed behind the search.
            if space.free_inodes == 0 || space.returned_inodes != returned {
                continue;
            }
            space.free_inodes
        };
        error::report(
            sb,
            fmt!("{free} inodes should be free, but no bitmap has one"),
        );
        return Err(ENOSPC);
    }
}

/// Takes a free number of one group.
fn in_group(transaction: &Transaction<'_>, group: u32, is_dir: bool) -> Result<Option<u64>> {
    let sb = transaction.sb();
    let data = sb.data();
    let geo = &data.geo;
    let at = At::InodeBitmap(group);
    let desc = group::open(sb, group)?;
    if desc.counts(sb)?.free_inodes_count.get() == 0 {
        return Ok(None);
    }
    let buffer = sb.bread(desc.places().inode_bitmap.get())?;
    // The first inodes of the first group are reserved, and marked so by mke2fs; a bitmap that says otherwise is wrong.
    let from = if group == 0 {
        geo.first_ino().saturating_sub(1)
    } else {
        0
    };

    let mut space = data.space.lock();
    let found = bitmap::find_zero(&buffer, from, geo.inodes_per_group());
    let Ok(Some(index)) = found else {
        drop(space);
        return found.map(|_| None).or_report(sb, at);
    };
    let mut desc = desc.write(transaction);
    let mut access = transaction.write(buffer);
    // The number first: a bit that is set is somebody's.
    let ino = geo
        .ino(group, index)
        .and_then(|ino| bitmap::set_run(&mut access, index, 1).map(|()| ino));
    if ino.is_ok() {
        space.free_inodes = space.free_inodes.saturating_sub(1);
        desc.change(&mut space, |desc| {
            desc.free_inodes_count = U16::new(desc.free_inodes_count.get().saturating_sub(1));
            if is_dir {
                desc.used_dirs_count = U16::new(desc.used_dirs_count.get().saturating_add(1));
            }
        });
    }
    drop(space);

    desc.dirty();
    access.dirty();
    ino.map(|ino| Some(u64::from(ino))).or_report(sb, at)
}

/// The group of the directory's own inode.
fn group_of(sb: &SuperBlock, dir: &Inode) -> u32 {
    u32::try_from(dir.ino())
        .ok()
        .and_then(|ino| sb.data().geo.inode_group(ino).ok())
        .map_or(0, |(group, _)| group)
}

/// A directory at top level goes to the group with the most free blocks among those with their share of free inodes,
/// taking turns; others stay with their parent while there is room. After `find_group_dir` of ext2, and Orlov's idea.
fn group_for_dir(sb: &SuperBlock, parent: &Inode) -> Result<u32> {
    let geo = &sb.data().geo;
    let groups = geo.group_count();
    let (free_inodes, last) = {
        let space = sb.data().space.lock();
        (space.free_inodes, space.last_dir_group)
    };
    let average = free_inodes / u64::from(groups.max(1));
    let top_level = parent.ino() == ROOT_INO || parent.data().disk.lock().flags & FL_TOPDIR != 0;
    let own = group_of(sb, parent);
    if !top_level {
        let desc = group::read(sb, own)?;
        // Less than the average by a quarter of a group is room enough, as in C's `find_group_orlov`.
        let quarter = u64::from(geo.inodes_per_group()) / 4;
        let least = average.saturating_sub(quarter).max(1);
        if u64::from(desc.free_inodes_count.get()) >= least && desc.free_blocks_count.get() > 0 {
            return Ok(own);
        }
    }
    let start = if top_level { last.wrapping_add(1) } else { own };
    let mut best: Option<(u32, u16)> = None;
    for n in 0..groups {
        let group = balloc::wrap(start, n, groups);
        let desc = group::read(sb, group)?;
        let (inodes, blocks) = (desc.free_inodes_count.get(), desc.free_blocks_count.get());
        if inodes > 0 && u64::from(inodes) >= average && best.is_none_or(|(_, most)| blocks > most)
        {
            best = Some((group, blocks));
        }
    }
    let group = best.map_or(own, |(group, _)| group);
    if top_level {
        sb.data().space.lock().last_dir_group = group;
    }
    Ok(group)
}

/// A file goes to its directory's group, or to the next that has room for inode and data. C: `find_group_other`.
fn group_for_file(sb: &SuperBlock, dir: &Inode) -> Result<u32> {
    let groups = sb.data().geo.group_count();
    let own = group_of(sb, dir);
    for n in 0..groups {
        let group = balloc::wrap(own, n, groups);
        let desc = group::read(sb, group)?;
        if desc.free_inodes_count.get() > 0 && desc.free_blocks_count.get() > 0 {
            return Ok(group);
        }
    }
    Ok(own)
}

/// Gives a number back. C: `ext2_free_inode`.
pub(super) fn free(sb: &SuperBlock, ino: u64, was_dir: bool) {
    if let Err(e) = try_free(sb, ino, was_dir) {
        error::report_failed(sb, e, At::Inode(ino), fmt!("inode {ino} not freed: {e:?}"));
    }
}

fn try_free(sb: &SuperBlock, ino: u64, was_dir: bool) -> Result {
    let transaction = Transaction::start(sb);
    let data = sb.data();
    let (group, index) = u32::try_from(ino).map_err(|_| EUCLEAN).and_then(|ino| {
        data.geo
            .inode_group(ino)
            .or_report(sb, At::Inode(u64::from(ino)))
    })?;
    let desc = group::open(sb, group)?;
    desc.counts(sb)?;
    let buffer = sb.bread(desc.places().inode_bitmap.get())?;
    let mut desc = desc.write(&transaction);
    let mut access = transaction.write(buffer);
    let cleared = {
        let mut space = data.space.lock();
        let cleared = bitmap::clear_run(&mut access, index, 1);
        if cleared.is_ok() {
            space.free_inodes = space.free_inodes.saturating_add(1);
            space.returned_inodes = space.returned_inodes.wrapping_add(1);
            desc.change(&mut space, |desc| {
                desc.free_inodes_count = U16::new(desc.free_inodes_count.get().saturating_add(1));
                if was_dir {
                    desc.used_dirs_count = U16::new(desc.used_dirs_count.get().saturating_sub(1));
                }
            });
        }
        cleared
    };
    desc.dirty();
    access.dirty();
    cleared.or_report(sb, At::InodeBitmap(group))
}
