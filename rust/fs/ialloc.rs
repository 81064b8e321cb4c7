// SPDX-License-Identifier: GPL-2.0

//! Allocating and freeing inode numbers. C: `fs/ext2/ialloc.c`.

use super::{
    acl, balloc,
    error::{self, At, OrReport},
    group, inode, project, record,
    super_block::Space,
    Inode, Notblk, SuperBlock, Transaction,
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
/// `ENOSPC`, `EDQUOT`, `ENOMEM`, `EIO`, `EUCLEAN`; nothing is left behind.
pub(super) fn new_inode<'a>(
    transaction: &Transaction<'_>,
    dir: &'a Inode,
    creation: &Creation<'_>,
) -> Result<New<'a, Notblk>> {
    let sb = dir.sb();
    record::emergency_state(sb)?;
    let is_dir = creation.mode() & 0o170000 == 0o040000;
    dir.quota_initialize()?;
    let ino = allocate(transaction, dir, is_dir)?;
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
    let geo = &data.geo;
    record::emergency_state(sb)?;
    let mut space = data.space.lock();
    if space.free_inodes == 0 {
        return Err(ENOSPC);
    }
    let first = if is_dir {
        group_for_dir(sb, &mut space, dir)?
    } else {
        group_for_file(sb, dir)?
    };
    for n in 0..geo.group_count() {
        let group = balloc::wrap(first, n, geo.group_count());
        let desc = group::open(sb, group)?;
        if desc.get().free_inodes_count.get() == 0 {
            continue;
        }
        let buffer = sb.bread(desc.get().inode_bitmap.get())?;
        let at = At::InodeBitmap(group);
        // The first inodes of the first group are reserved, and marked so by mke2fs; a bitmap that says otherwise is wrong.
        let from = if group == 0 {
            geo.first_ino().saturating_sub(1)
        } else {
            0
        };
        let Some(index) =
            bitmap::find_zero(&buffer, from, geo.inodes_per_group()).or_report(sb, at)?
        else {
            continue;
        };
        let ino = geo.ino(group, index).or_report(sb, at)?;
        let desc = desc.write(transaction);
        let mut access = transaction.write(buffer);
        bitmap::set_run(&mut access, index, 1).or_report(sb, at)?;
        access.dirty();
        space.free_inodes = space.free_inodes.saturating_sub(1);
        desc.change(|desc| {
            desc.free_inodes_count = U16::new(desc.free_inodes_count.get().saturating_sub(1));
            if is_dir {
                desc.used_dirs_count = U16::new(desc.used_dirs_count.get().saturating_add(1));
            }
        });
        return Ok(u64::from(ino));
    }
    error::report(
        sb,
        fmt!(
            "{} inodes should be free, but no bitmap has one",
            space.free_inodes
        ),
    );
    Err(ENOSPC)
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
fn group_for_dir(sb: &SuperBlock, space: &mut Space, parent: &Inode) -> Result<u32> {
    let geo = &sb.data().geo;
    let groups = geo.group_count();
    let average = space.free_inodes / u64::from(groups.max(1));
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
    let start = if top_level {
        space.last_dir_group.wrapping_add(1)
    } else {
        own
    };
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
        space.last_dir_group = group;
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
        pr_err!("({}): inode {ino} not freed: {e:?}\n", sb.id());
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
    let mut space = data.space.lock();
    let desc = group::open(sb, group)?;
    let buffer = sb.bread(desc.get().inode_bitmap.get())?;
    let desc = desc.write(&transaction);
    let mut access = transaction.write(buffer);
    bitmap::clear_run(&mut access, index, 1).or_report(sb, At::InodeBitmap(group))?;
    access.dirty();
    space.free_inodes = space.free_inodes.saturating_add(1);
    desc.change(|desc| {
        desc.free_inodes_count = U16::new(desc.free_inodes_count.get().saturating_add(1));
        if was_dir {
            desc.used_dirs_count = U16::new(desc.used_dirs_count.get().saturating_sub(1));
        }
    });
    Ok(())
}
