// SPDX-License-Identifier: GPL-2.0

//! The flags of `chattr(1)`. C: `ext4_fileattr_get`, `ext4_fileattr_set` and `ext4_ioctl_setflags` in `fs/ext4/ioctl.c`.

use super::{inode as our_inode, project, record, Inode, Locked, Notblk};
use crate::{
    format::inode as disk,
    vfs::{errno::EOPNOTSUPP, fileattr, super_block::capable_resource, Exclusive},
};
use kernel::prelude::*;

impl fileattr::Operations for Notblk {
    fn flags(inode: &Inode) -> u32 {
        let flags = inode.data().disk.lock().flags & disk::FL_USER_VISIBLE;
        if inode.is_regular() {
            flags & !disk::FL_PROJINHERIT
        } else {
            flags
        }
    }

    fn set(inode: &Locked<Exclusive>, flags: u32, project: u32) -> Result {
        if flags & !disk::FL_USER_VISIBLE != 0 {
            return Err(EOPNOTSUPP);
        }
        // chattr(1) gives back what it was told, with its change: what it cannot change it need not leave out.
        let flags = flags & disk::FL_USER_MODIFIABLE;
        if disk::mask_flags(inode.mode(), flags) != flags {
            return Err(EOPNOTSUPP);
        }
        if inode.is_quota_file() {
            // The library has made it immutable: what it changes must not lie in the page cache too.
            return Err(EPERM);
        }
        let old = inode.data().disk.lock().flags;
        check(old, flags)?;
        if old & flags & disk::FL_IMMUTABLE != 0
            && project::of(inode).is_some_and(|old| old != project)
        {
            return Err(EPERM);
        }
        if inode.is_regular() && !inode.is_immutable() && flags & disk::FL_IMMUTABLE != 0 {
            // Direct I/O in flight ends; and mapped pages become read-only, so that whoever writes to one again asks us.
            inode.dio_wait();
            inode.write_and_wait_range(0, u64::MAX)?;
        }
        record::emergency_state(inode.sb())?;
        let set = disk::FL_USER_MODIFIABLE & !(disk::FL_JOURNAL_DATA | disk::FL_EXTENTS);
        let new = {
            let mut fields = inode.data().disk.lock();
            fields.flags = (fields.flags & !set) | (flags & set);
            fields.flags
        };
        inode.set_vfs_flags(our_inode::vfs_flags(new));
        inode.touch_ctime();
        inode.inc_version();
        inode.mark_dirty();
        if inode.is_sync() {
            inode.sync_metadata()?;
        }
        // Data can go through a journal where there is one: without, the flag is neither set nor refused.
        if (flags ^ old) & disk::FL_EXTENTS != 0 {
            // To migrate takes the feature. After the rest has been set, as ext4 has it.
            return Err(EINVAL);
        }
        project::set(inode, project)
    }

    fn birth_time(inode: &Inode) -> Option<(i64, u32)> {
        inode.data().disk.lock().crtime
    }
}

/// Whether flags may change in this way, whoever asks owning the file.
fn check(old: u32, new: u32) -> Result {
    let immutable = disk::FL_IMMUTABLE;
    if old & new & immutable != 0 && old & !immutable != new & !immutable {
        return Err(EPERM);
    }
    let changed = old ^ new;
    // CAP_SYS_RESOURCE, which blocks that are reserved ask for too.
    if changed & disk::FL_JOURNAL_DATA != 0 && !capable_resource() {
        return Err(EPERM);
    }
    let both = |one, other| new & one != 0 && old & other != 0;
    if both(disk::FL_DAX, disk::FL_JOURNAL_DATA) || both(disk::FL_JOURNAL_DATA, disk::FL_DAX) {
        return Err(EOPNOTSUPP);
    }
    if changed & disk::FL_CASEFOLD != 0 {
        return Err(EOPNOTSUPP);
    }
    Ok(())
}
