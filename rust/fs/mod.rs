// SPDX-License-Identifier: GPL-2.0

//! The filesystem: block-mapped ext2, and what ext3 shares with it.
//!
//! No `unsafe` and no binding: everything of the kernel comes through [`crate::vfs`], everything of the disk through
//! [`crate::format`].
//!
//! | file | what | C |
//! | --- | --- | --- |
//! | [`direct`] | **direct I/O and its buffered fallback** | `fs/ext4/file.c` |
//! | [`buffered`] | buffered reads and writes, size changes | `fs/ext4/file.c`, `fs/ext2/inode.c` |
//! | [`iomap`] | which blocks a range has, or gets | `fs/ext2/inode.c`, `ext4_iomap_begin` |
//! | [`map`] | the block map: looking up and adding | `fs/ext2/inode.c` |
//! | [`truncate`] | the block map: taking away | `fs/ext4/indirect.c` |
//! | [`punch`] | `fallocate`: punching holes | `ext4_punch_hole` in `fs/ext4/inode.c` |
//! | [`balloc`], [`ialloc`], [`group`] | free blocks, free inodes, group descriptors | `fs/ext2/balloc.c`, `ialloc.c` |
//! | [`zones`] | where metadata lies, which no file may have | `fs/ext4/block_validity.c` |
//! | [`reserve`] | free blocks kept for the file that is being written | `fs/ext2/balloc.c` |
//! | [`inode`] | inodes between memory and disk | `fs/ext2/inode.c` |
//! | [`symlink`] | symbolic links | `fs/ext4/symlink.c` |
//! | [`fileattr`], [`ioctl`], [`shutdown`] | flags of files; commands of `ioctl(2)` | `fs/ext4/ioctl.c` |
//! | [`discard`] | telling the device what is free | `ext4_trim_fs` in `fs/ext4/mballoc.c` |
//! | [`dir`], [`namei`] | directory blocks; names | `fs/ext2/dir.c`, `namei.c` |
//! | [`rename`], [`links`] | renaming, exchanging; link counts | `fs/ext4/namei.c` |
//! | [`dx`], [`readdir`] | indexed directories: their index; reading them in the order of hashes | `fs/ext4/namei.c`, `dir.c` |
//! | [`super_block`], [`options`], [`ext4_options`] | mounting, statfs, sync; mount options | `fs/ext2/super.c` |
//! | [`quota`] | charging for blocks; quota files | `fs/ext4/super.c` |
//! | [`project`] | projects of inodes, and who may be where | `fs/ext4/ioctl.c`, `namei.c` |
//! | [`jquota`] | mount options that name quota files | `fs/ext4/super.c` |
//! | [`limits`] | reserved blocks, groups of new files: mount options about them | `fs/ext4/balloc.c`, `super.c` |
//! | [`xattr`], [`acl`] | extended attributes; POSIX ACLs | `fs/ext4/xattr.c`, `acl.c` |
//! | [`orphan`] | what a crash would leave behind | `fs/ext4/orphan.c` |
//! | [`export`] | file handles | `fs/ext4/super.c` |
//! | [`counters`], [`error`] | debugfs; damaged images | |
//! | [`hold`] | hold points, as debugfs has them | |
//! | [`freeze`] | a device that holds still | `fs/ext2/super.c` |
//! | [`last_mounted`] | the mount point in the superblock | `fs/ext4/file.c` |
//! | [`record`] | errors in the superblock, and the end of writing | `fs/ext4/super.c` |
//!
//! # Locks, outermost first
//!
//! 1. `i_rwsem` (VFS): names in a directory; size and contents of a file. See [`direct`] for who holds it how.
//! 2. `invalidate_lock`: page faults and reads against truncate.
//! 3. Folio locks (VFS, iomap).
//! 4. `InodeData::xattr`: the inode's extended attributes. Taken inside `i_rwsem` or without it, never with a folio lock. C:
//!    `xattr_sem` of ext4.
//! 5. `SuperData::sharing`: blocks of attributes that several inodes refer to. C: the locks of `mbcache`, and the buffer's.
//! 6. `InodeData::map`: the inode's block map. C: `truncate_mutex` of ext2, `i_data_sem` of ext4.
//! 7. `SuperData::orphans`: the orphan list.
//! 8. `SuperData::discards`: one at a time tells the device of free blocks.
//! 9. `SuperData::change`: the superblock in its buffer. Inside all of these, for damage is recorded wherever it is found.
//! 10. `SuperData::space`, a spinlock: bitmaps, group descriptors, the free counts and the reservation windows. What may sleep
//!     or reports damage is done before or after. C: the group locks, `s_rsv_window_lock`.

#![forbid(unsafe_code)]

mod acl;
mod balloc;
mod buffered;
mod counters;
mod dir;
mod direct;
mod discard;
mod dx;
mod error;
mod export;
mod ext4_options;
mod fileattr;
mod freeze;
mod group;
mod hold;
mod ialloc;
mod inode;
mod ioctl;
mod iomap;
mod jquota;
mod last_mounted;
mod limits;
mod links;
mod map;
mod namei;
mod options;
mod orphan;
mod project;
mod punch;
mod quota;
mod readdir;
mod record;
mod rename;
mod reserve;
mod shutdown;
mod super_block;
mod symlink;
mod truncate;
mod xattr;
mod zones;

pub(crate) use counters::root as debugfs_root;

use crate::vfs::{self, FileSystem};
use kernel::prelude::*;

/// The filesystem, as [`crate::vfs`] knows it.
pub(crate) struct Notblk;

/// Our inode, with its data beside it.
type Inode = vfs::Inode<Notblk>;
/// A mounted filesystem of ours.
type SuperBlock = vfs::SuperBlock<Notblk>;
/// An inode whose `i_rwsem` is held.
type Locked<M> = vfs::Locked<Notblk, M>;
/// A group of metadata changes.
type Transaction<'sb> = vfs::Transaction<'sb, Notblk>;

impl FileSystem for Notblk {
    type Options = options::Options;
    type TypeData = kernel::debugfs::Dir;
    type SuperData = super_block::SuperData;
    type InodeData = inode::InodeData;

    fn new_inode_data() -> impl PinInit<Self::InodeData, Error> {
        inode::InodeData::new()
    }
}
