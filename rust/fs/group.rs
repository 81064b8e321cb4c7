// SPDX-License-Identifier: GPL-2.0

//! Group descriptors. C: `fs/ext2/balloc.c`.

use super::{
    error::{At, OrReport},
    reserve::Windows,
    super_block::Space,
    zones::Zones,
    Notblk, SuperBlock, Transaction,
};
use crate::{
    format::{
        block::{Block, BlockMut},
        geometry::Geometry,
        group::RawGroupDesc,
        zones::of_group,
    },
    vfs::{errno::EUCLEAN, super_block::New, transaction::WriteAccess, Buffer},
};
use kernel::prelude::*;

/// Checks all descriptors, adds up what is free, and notes where metadata lies. C: `ext2_check_descriptors`,
/// `ext2_count_free_blocks`, `ext4_setup_system_zone`.
pub(super) fn read_all(
    sb: &crate::vfs::SuperBlock<Notblk, New>,
    geo: &Geometry,
) -> Result<(Space, Zones)> {
    let mut zones = Zones::new();
    let mut space = Space {
        free_blocks: 0,
        free_inodes: 0,
        last_dir_group: 0,
        windows: Windows::new(),
        discarding: None,
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
        // All of it is inside the group: groups in order give zones in order.
        for zone in of_group(geo, group, &desc) {
            zones.add(zone)?.map_err(|c| refuse(group, c))?;
        }
        space.free_blocks = space
            .free_blocks
            .saturating_add(desc.free_blocks_count.get().into());
        space.free_inodes = space
            .free_inodes
            .saturating_add(desc.free_inodes_count.get().into());
        cached = Some((block, buffer));
    }
    Ok((space, zones))
}

/// A group's descriptor, and the buffer that it stands in.
pub(super) struct Descriptor<'sb> {
    buffer: Buffer<'sb>,
    off: usize,
    desc: RawGroupDesc,
}

/// The same, to be changed.
pub(super) struct Access<'t, 'sb> {
    access: WriteAccess<'t, 'sb>,
    off: usize,
    desc: RawGroupDesc,
}

/// Reads a group's descriptor, and checks it: the block device may have been written to since mount. With `SuperData::space`
/// held, for otherwise the counts may be seen half changed.
pub(super) fn open(sb: &SuperBlock, group: u32) -> Result<Descriptor<'_>> {
    let geo = &sb.data().geo;
    let at = At::Group(group);
    let (block, off) = geo.group_desc_at(group).or_report(sb, at)?;
    let buffer = sb.bread(block)?;
    let desc: RawGroupDesc = buffer.get(off).or_report(sb, at)?;
    desc.check(geo, group).or_report(sb, at)?;
    Ok(Descriptor { buffer, off, desc })
}

/// Where a group's inode table begins. The counts may be changing at this moment, so nobody looks at them.
pub(super) fn inode_table(sb: &SuperBlock, group: u32) -> Result<u32> {
    let geo = &sb.data().geo;
    let at = At::Group(group);
    let (block, off) = geo.group_desc_at(group).or_report(sb, at)?;
    let desc: RawGroupDesc = sb.bread(block)?.get(off).or_report(sb, at)?;
    desc.check_places(geo, group).or_report(sb, at)?;
    Ok(desc.inode_table.get())
}

/// The descriptor alone.
pub(super) fn read(sb: &SuperBlock, group: u32) -> Result<RawGroupDesc> {
    open(sb, group).map(|descriptor| descriptor.desc)
}

impl<'sb> Descriptor<'sb> {
    /// What it says.
    pub(super) fn get(&self) -> &RawGroupDesc {
        &self.desc
    }

    /// Write access. Whoever changes a bitmap has this first, so that the count can follow: between the two nothing may fail.
    pub(super) fn write<'t>(self, transaction: &'t Transaction<'sb>) -> Access<'t, 'sb> {
        Access {
            access: transaction.write(self.buffer),
            off: self.off,
            desc: self.desc,
        }
    }
}

impl Access<'_, '_> {
    /// Changes the counts. `SuperData::space` is held.
    pub(super) fn change(mut self, change: impl FnOnce(&mut RawGroupDesc)) {
        change(&mut self.desc);
        // It was read from there: there is room.
        let _ = self.access.put(self.off, &self.desc);
        self.access.dirty();
    }
}
