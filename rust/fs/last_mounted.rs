// SPDX-License-Identifier: GPL-2.0

//! Where the filesystem is mounted, written to the superblock when the first regular file is opened. C:
//! `ext4_sample_last_mounted` in `fs/ext4/file.c`.

use super::{record, super_block, SuperBlock};
use crate::vfs::{file::MountPoint, super_block::IntWrite};
use kernel::{prelude::*, sync::atomic::Relaxed};

/// Once in a mount's life, and not of a filesystem that may not be written to. A path that is too long is left out; an error
/// is the open file's no concern.
pub(super) fn sample(sb: &SuperBlock, mount: &MountPoint<'_>) {
    let sampled = &sb.data().mount_sampled;
    if sampled.load(Relaxed) || record::emergency_state(sb).is_err() || sb.is_read_only() {
        return;
    }
    let Some(_no_freeze) = IntWrite::try_start(sb) else {
        return;
    };
    // Two that are first at the same time write the same.
    sampled.store(true, Relaxed);
    let mut buf = [0; super_block::LAST_MOUNTED_LEN];
    let mut text = [0; super_block::LAST_MOUNTED_LEN];
    let Some(path) = mount.path(&mut buf) else {
        return;
    };
    for (to, from) in text.iter_mut().zip(path) {
        *to = *from;
    }
    if let Err(e) = super_block::set_last_mounted(sb, text) {
        pr_err!("({}): mount point not recorded: {e:?}\n", sb.id());
    }
}
