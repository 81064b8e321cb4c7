// SPDX-License-Identifier: GPL-2.0

//! Attributes in the inode's body, behind `i_extra_isize`. C: `ext4_xattr_ibody_find`, `ext4_xattr_ibody_set`.

use super::{
    super::{inode, Inode, SuperBlock, Transaction},
    report, Attributes,
};
use crate::{
    format::{
        block::{Block, BlockMut},
        corrupt::Corrupt,
        inode::{RawInodeExtra, RAW_INODE_SIZE},
        xattr::{Area, Place, SetError, BODY_HEADER, MAGIC, PAD},
    },
    vfs::{Buffer, WriteAccess},
};
use kernel::prelude::*;
use zerocopy::little_endian::U32;

/// A copy of the area in an inode's body.
pub(super) struct Body<'sb> {
    buffer: Buffer<'sb>,
    /// Where in the buffer the area's header is.
    header: usize,
    pub(super) area: Area<KVec<u8>>,
}

/// Where in an inode's block of the inode table the header of its attributes is, and how many bytes follow it; `None` for
/// an inode without room. C: `EXT4_INODE_HAS_XATTR_SPACE`.
fn place(
    sb: &SuperBlock,
    block: &impl Block,
    off: usize,
) -> Result<Option<(usize, usize)>, Corrupt> {
    let size = sb.data().geo.inode_size();
    if size <= RAW_INODE_SIZE {
        return Ok(None);
    }
    let extra: RawInodeExtra = block.get(off.saturating_add(usize::from(RAW_INODE_SIZE)))?;
    extra.check(size)?;
    let used = RAW_INODE_SIZE.saturating_add(extra.extra_isize.get());
    let area = usize::from(size.saturating_sub(used)).saturating_sub(BODY_HEADER);
    if extra.extra_isize.get() == 0 || area < PAD {
        return Ok(None);
    }
    Ok(Some((off.saturating_add(usize::from(used)), area)))
}

/// Whether an inode that is being read has attributes in its body, which are checked. C: `ext4_iget_extra_inode`.
pub(in super::super) fn check(
    sb: &SuperBlock,
    block: &impl Block,
    off: usize,
) -> Result<Result<bool, Corrupt>> {
    let look = || {
        let Some((header, len)) = place(sb, block, off)? else {
            return Ok(None);
        };
        let magic: U32 = block.get(header)?;
        Ok((magic.get() == MAGIC).then_some((header, len)))
    };
    let (header, len) = match look() {
        Ok(Some(place)) => place,
        Ok(None) => return Ok(Ok(false)),
        Err(corrupt) => return Ok(Err(corrupt)),
    };
    let mut bytes = KVec::from_elem(0, len, GFP_KERNEL)?;
    let checked = block
        .read_bytes(header.saturating_add(BODY_HEADER), &mut bytes)
        .and_then(|()| Area::parse(bytes, Place::Body).map(|_| true));
    Ok(checked)
}

impl<'sb> Body<'sb> {
    /// The body, if there are attributes in it.
    pub(super) fn open_used(inode: &'sb Inode, attributes: &Attributes) -> Result<Option<Self>> {
        if !attributes.in_body {
            return Ok(None);
        }
        Self::open(inode, attributes)
    }

    /// The body, if there is room in it.
    pub(super) fn open(inode: &'sb Inode, attributes: &Attributes) -> Result<Option<Self>> {
        let sb = inode.sb();
        let (buffer, off) = inode::buffer(sb, inode.ino())?;
        let Some((header, len)) = report(place(sb, &buffer, off), inode, None)? else {
            return Ok(None);
        };
        let mut bytes = KVec::from_elem(0, len, GFP_KERNEL)?;
        let area = if attributes.in_body {
            buffer
                .read_bytes(header.saturating_add(BODY_HEADER), &mut bytes)
                .and_then(|()| Area::parse(bytes, Place::Body))
        } else {
            // Nothing, whatever the bytes are.
            Area::empty(bytes, Place::Body)
        };
        let area = report(area, inode, None)?;
        Ok(Some(Self {
            buffer,
            header,
            area,
        }))
    }

    /// Where it is on the device, and how long, in bytes: from its header to the end of the inode.
    pub(super) fn place(&self) -> (u64, u64) {
        let block = self
            .buffer
            .block_nr()
            .saturating_mul(self.buffer.len() as u64);
        (
            block.saturating_add(self.header as u64),
            BODY_HEADER.saturating_add(self.area.bytes().len()) as u64,
        )
    }

    /// The same attributes `by` bytes further back, in an area that is so much smaller. C: `ext4_xattr_shift_entries`.
    ///
    /// # Errors
    ///
    /// `ENOSPC`, `ENOMEM`.
    pub(super) fn shortened(self, inode: &Inode, by: usize) -> Result<Self> {
        let len = self.area.bytes().len().checked_sub(by).ok_or(ENOSPC)?;
        let bytes = KVec::from_elem(0, len, GFP_KERNEL)?;
        let mut area = report(Area::empty(bytes, Place::Body), inode, None)?;
        for entry in self.area.entries() {
            match area.set(self.area.name(&entry), self.area.value(&entry)) {
                Ok(()) => {}
                Err(SetError::NoSpace) => return Err(ENOSPC),
                Err(SetError::Corrupt(corrupt)) => return report(Err(corrupt), inode, None),
            }
        }
        Ok(Self {
            buffer: self.buffer,
            header: self.header.saturating_add(by),
            area,
        })
    }

    /// Writes the area back. C: the end of `ext4_xattr_ibody_set`.
    pub(super) fn store(
        self,
        transaction: &Transaction<'sb>,
        inode: &Inode,
        attributes: &mut Attributes,
    ) -> Result {
        self.store_with(transaction, inode, attributes, |_| Ok(()))
    }

    /// Writes the area back, and in the same go what `more` does to the buffer.
    pub(super) fn store_with(
        self,
        transaction: &Transaction<'sb>,
        inode: &Inode,
        attributes: &mut Attributes,
        more: impl FnOnce(&mut WriteAccess<'_, 'sb>) -> Result,
    ) -> Result {
        let used = !self.area.is_empty();
        let magic = U32::new(if used { MAGIC } else { 0 });
        {
            // Keeps the writing of the inode's fields out, the last of which may lie in the same 32 bytes.
            let _fields = inode.data().map.lock();
            let mut access = transaction.write(self.buffer);
            more(&mut access)?;
            let written = access.put(self.header, &magic).and_then(|()| {
                access.write_bytes(self.header.saturating_add(BODY_HEADER), self.area.bytes())
            });
            report(written, inode, None)?;
            access.dirty();
        }
        attributes.in_body = used;
        Ok(())
    }
}
