// SPDX-License-Identifier: GPL-2.0

//! The filesystem's own commands of `ioctl(2)`. C: `fs/ext4/ioctl.c`.

use super::{
    discard,
    error::{At, OrReport},
    record, shutdown,
    super_block::{self, update_super},
    Inode, Notblk, SuperBlock, Transaction,
};
use crate::{
    format::{
        block::{Block, BlockMut},
        features,
        superblock::{RawSuperBlock, MAGIC, SUPERBLOCK_OFFSET},
    },
    vfs::{
        errno::EOPNOTSUPP,
        ioctl::{self, is_admin, Command, Label},
        shutdown::Operations as _,
        OpenFile,
    },
};
use kernel::prelude::*;

/// Bytes of a UUID, as `struct fsuuid` counts them.
const UUID_SIZE: u32 = 16;

impl ioctl::Operations for Notblk {
    fn ioctl(file: &OpenFile<'_, Self>, command: Command) -> Result {
        let inode = file.inode();
        let sb = inode.sb();
        match command {
            Command::GetVersion(to) => to.write(&inode.generation()),
            Command::SetVersion(from) => {
                if !file.is_owner_or_capable() {
                    return Err(EPERM);
                }
                let _write = file.want_write()?;
                set_generation(inode, from.read()?)
            }
            Command::GetLabel(to) => to.write(&label(&super_block::read(sb)?)),
            Command::SetLabel(from) => {
                if !is_admin() {
                    return Err(EPERM);
                }
                let name = volume_name(&from.read()?)?;
                let _write = file.want_write()?;
                update_all_supers(sb, |raw| raw.volume_name = name)
            }
            Command::GetUuid(head, to) => {
                let [len, flags] = head.read()?;
                if len == 0 {
                    return head.write(&[UUID_SIZE, flags]);
                }
                if len < UUID_SIZE || flags != 0 {
                    return Err(EINVAL);
                }
                head.write(&[UUID_SIZE, flags])?;
                to.write(&super_block::read(sb)?.uuid)
            }
            Command::SetUuid(head, from) => {
                if !is_admin() {
                    return Err(EPERM);
                }
                if features::has_stable_inodes(&super_block::read(sb)?) {
                    return Err(EOPNOTSUPP);
                }
                if head.read()? != [UUID_SIZE, 0] {
                    return Err(EINVAL);
                }
                let uuid = from.read()?;
                let _write = file.want_write()?;
                update_all_supers(sb, |raw| raw.uuid = uuid)
            }
            Command::Trim(range) => {
                if !is_admin() {
                    return Err(EPERM);
                }
                sb.discard_granularity().ok_or(EOPNOTSUPP)?;
                let [start, len, least] = range.read()?;
                // After a shutdown memory may know more blocks as free than the disk.
                Self::check_alive(sb)?;
                let trimmed = discard::trim(sb, [start, len, least])?;
                range.write(&[start, trimmed, least])
            }
            Command::Shutdown(flags) => {
                if !is_admin() {
                    return Err(EPERM);
                }
                shutdown::by_flags(sb, flags.read()?)
            }
        }
    }
}

fn set_generation(inode: &Inode, generation: u32) -> Result {
    record::emergency_state(inode.sb())?;
    let lock = inode.lock();
    lock.set_generation(generation);
    lock.touch_ctime();
    lock.inc_version();
    lock.mark_dirty();
    Ok(())
}

/// The label as the caller gets it.
fn label(raw: &RawSuperBlock) -> Label {
    let mut label = [0; size_of::<Label>()];
    let name = raw.volume_name.iter().take_while(|&&byte| byte != 0);
    for (to, from) in label.iter_mut().zip(name) {
        *to = *from;
    }
    label
}

/// The label as the disk has it. `EINVAL` for one that is too long.
fn volume_name(label: &Label) -> Result<[u8; 16]> {
    let mut name = [0; 16];
    let len = label.iter().position(|&byte| byte == 0).ok_or(EINVAL)?;
    for (to, from) in name.iter_mut().zip(label.iter().take(len)) {
        *to = *from;
    }
    Ok(name)
}

/// Changes the superblock and its copies. C: `ext4_update_superblocks_fn`.
fn update_all_supers(sb: &SuperBlock, change: impl Fn(&mut RawSuperBlock)) -> Result {
    record::emergency_state(sb)?;
    update_super(sb, &change)?.sync_through()?;
    let geo = &sb.data().geo;
    let transaction = Transaction::start(sb);
    for group in (0..geo.group_count()).filter(|&group| geo.group_has_super(group)) {
        let (block, off) = match group {
            0 => super_block::place_of(SUPERBLOCK_OFFSET, geo.block_size()),
            _ => (geo.group_first_block(group), 0),
        };
        if (block, off) == sb.data().place {
            // The one that it is mounted by (the first, or that of `sb=`), which is done.
            continue;
        }
        let buffer = sb.bread(block)?;
        let mut raw: RawSuperBlock = buffer.get(off).or_report(sb, At::Group(group))?;
        if raw.magic.get() != MAGIC {
            pr_warn!(
                "({}): group {group} has no copy of the superblock\n",
                sb.id()
            );
            continue;
        }
        change(&mut raw);
        let mut access = transaction.write(buffer);
        access.put(off, &raw).or_report(sb, At::Group(group))?;
        access.dirty();
    }
    Ok(())
}
