// SPDX-License-Identifier: GPL-2.0

//! Group descriptors. C: `fs/ext2/balloc.c`.

use super::{
    error::{At, OrReport},
    super_block::Space,
    Notblk, SuperBlock, Transaction,
};
use crate::{
    format::{
        block::{Block, BlockMut},
        geometry::Geometry,
        group::RawGroupDesc,
    },
    vfs::{errno::EUCLEAN, super_block::New, Buffer},
};
use kernel::prelude::*;

/// Checks all descriptors and adds up what is free. C: `ext2_check_descriptors`, `ext2_count_free_blocks`.
pub(super) fn count_free(
    sb: &crate::vfs::SuperBlock<Notblk, New>,
    geo: &Geometry,
) -> Result<Space> {
    let mut space = Space {
        free_blocks: 0,
        free_inodes: 0,
        last_dir_group: 0,
    };
    let refuse = |group: u32, corrupt| {
        pr_err!("({}): cannot mount: group {group}: {corrupt}\n", sb.id());
        EUCLEAN
    };
    let mut cached: Option<(u32, Buffer<'_>)> = None;
    for group in 0..geo.group_count() {
        let (block, off) = geo.group_desc_at(group).map_err(|c| refuse(group, c))?;
        let buffer = match cached.take() {
            Some((at, buffer)) if at == block => buffer,
            _ => sb.bread(block).inspect_err(|_| {
                pr_err!(
                    "({}): cannot mount: group descriptors cannot be read\n",
                    sb.id()
                );
            })?,
        };
        let desc: RawGroupDesc = buffer.get(off).map_err(|c| refuse(group, c))?;
        desc.check(geo, group).map_err(|c| refuse(group, c))?;
        space.free_blocks = space
            .free_blocks
            .saturating_add(desc.free_blocks_count.get().into());
        space.free_inodes = space
            .free_inodes
            .saturating_add(desc.free_inodes_count.get().into());
        cached = Some((block, buffer));
    }
    Ok(space)
}

/// The descriptor of a group, checked: the block device may have been written to since mount.
pub(super) fn read(sb: &SuperBlock, group: u32) -> Result<RawGroupDesc> {
    let geo = &sb.data().geo;
    let (block, off) = geo.group_desc_at(group).or_report(sb, At::Group(group))?;
    let desc: RawGroupDesc = sb.bread(block)?.get(off).or_report(sb, At::Group(group))?;
    desc.check(geo, group).or_report(sb, At::Group(group))?;
    Ok(desc)
}

/// Changes the counts in a group's descriptor. `SuperData::space` is held.
pub(super) fn update(
    transaction: &Transaction<'_>,
    group: u32,
    change: impl FnOnce(&mut RawGroupDesc),
) -> Result {
    let sb = transaction.sb();
    let (block, off) = sb
        .data()
        .geo
        .group_desc_at(group)
        .or_report(sb, At::Group(group))?;
    let mut access = transaction.write(sb.bread(block)?);
    let mut desc: RawGroupDesc = access.get(off).or_report(sb, At::Group(group))?;
    change(&mut desc);
    access.put(off, &desc).or_report(sb, At::Group(group))?;
    access.dirty();
    Ok(())
}
