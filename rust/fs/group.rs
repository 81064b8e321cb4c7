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
        returned_blocks: 0,
        returned_inodes: 0,
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

/// A group's descriptor: the buffer that it stands in, and where its metadata lies.
pub(super) struct Descriptor<'sb> {
    group: u32,
    buffer: Buffer<'sb>,
    off: usize,
    places: RawGroupDesc,
}

/// The same, to be changed.
pub(super) struct Access<'t, 'sb> {
    access: WriteAccess<'t, 'sb>,
    off: usize,
}

/// Finds a group's descriptor, and checks the places in it: the block device may have been written to since mount. Sleeps, so
/// without `SuperData::space`.
pub(super) fn open(sb: &SuperBlock, group: u32) -> Result<Descriptor<'_>> {
    let geo = &sb.data().geo;
    let at = At::Group(group);
    let (block, off) = geo.group_desc_at(group).or_report(sb, at)?;
    let buffer = sb.bread(block)?;
    let places: RawGroupDesc = buffer.get(off).or_report(sb, at)?;
    places.check_places(geo, group).or_report(sb, at)?;
    Ok(Descriptor {
        group,
        buffer,
        off,
        places,
    })
}

/// The descriptor alone, as it is at this moment. Takes `SuperData::space`.
pub(super) fn read(sb: &SuperBlock, group: u32) -> Result<RawGroupDesc> {
    open(sb, group)?.counts(sb)
}

impl<'sb> Descriptor<'sb> {
    /// Where bitmaps and inode table lie, which does not change. The counts in it may be half changed: see [`Self::counts`].
    pub(super) fn places(&self) -> &RawGroupDesc {
        &self.places
    }

    /// The counts of this moment, checked. Takes `SuperData::space`; who wants them to stay as they are looks again with it held.
    pub(super) fn counts(&self, sb: &SuperBlock) -> Result<RawGroupDesc> {
        let data = sb.data();
        let desc = {
            let _still = data.space.lock();
            self.buffer.get::<RawGroupDesc>(self.off)
        };
        desc.and_then(|desc| desc.check(&data.geo, self.group).map(|()| desc))
            .or_report(sb, At::Group(self.group))
    }

    /// Write access. Whoever changes a bitmap has this first, so that the count can follow: between the two nothing may fail.
    pub(super) fn write<'t>(self, transaction: &'t Transaction<'sb>) -> Access<'t, 'sb> {
        Access {
            access: transaction.write(self.buffer),
            off: self.off,
        }
    }
}

impl Access<'_, '_> {
    /// Changes the counts, in step with those in memory. [`Self::dirty`] is to follow.
    pub(super) fn change(&mut self, _held: &mut Space, change: impl FnOnce(&mut RawGroupDesc)) {
        // It was read from there: there is one, and room for it.
        if let Ok(mut desc) = self.access.get::<RawGroupDesc>(self.off) {
            change(&mut desc);
            let _ = self.access.put(self.off, &desc);
        }
    }

    /// The change is complete.
    pub(super) fn dirty(self) {
        self.access.dirty();
    }
}
