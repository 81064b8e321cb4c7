// SPDX-License-Identifier: GPL-2.0

//! Inodes as they lie in the inode table.

use super::block::BlockMut;
use super::corrupt::Corrupt;
use core::mem::{offset_of, size_of};
use zerocopy::little_endian::{U16, U32};
use zerocopy::IntoBytes as _;
use zerocopy_derive::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The root directory's inode.
pub const ROOT_INO: u32 = 2;
/// The first ordinary inode of [`REV_ORIGINAL`](super::superblock::REV_ORIGINAL), and the
/// smallest that a superblock may name.
pub const FIRST_INO: u32 = 11;

/// Direct pointers in `i_block`.
pub const NDIR: usize = 12;
/// Pointers in `i_block`, the three indirect ones included.
pub const N_BLOCKS: usize = 15;
/// The most links of an inode that ext4 and e2fsck take; the ext2 driver gives 32,000.
pub const LINK_MAX: u16 = 65000;

/// `i_mode`: the bits of the file type.
pub const S_IFMT: u16 = 0o170000;
/// `i_mode`: socket.
pub const S_IFSOCK: u16 = 0o140000;
/// `i_mode`: symbolic link.
pub const S_IFLNK: u16 = 0o120000;
/// `i_mode`: regular file.
pub const S_IFREG: u16 = 0o100000;
/// `i_mode`: block device.
pub const S_IFBLK: u16 = 0o060000;
/// `i_mode`: directory.
pub const S_IFDIR: u16 = 0o040000;
/// `i_mode`: character device.
pub const S_IFCHR: u16 = 0o020000;
/// `i_mode`: named pipe.
pub const S_IFIFO: u16 = 0o010000;

/// `i_flags`: delete securely.
pub const FL_SECRM: u32 = 0x1;
/// `i_flags`: can be undeleted.
pub const FL_UNRM: u32 = 0x2;
/// `i_flags`: compressed.
pub const FL_COMPR: u32 = 0x4;
/// `i_flags`: writes are synchronous.
pub const FL_SYNC: u32 = 0x8;
/// `i_flags`: cannot be changed.
pub const FL_IMMUTABLE: u32 = 0x10;
/// `i_flags`: can only be appended to.
pub const FL_APPEND: u32 = 0x20;
/// `i_flags`: dump skips it.
pub const FL_NODUMP: u32 = 0x40;
/// `i_flags`: the access time is not kept.
pub const FL_NOATIME: u32 = 0x80;
/// `i_flags`: holds compressed clusters.
pub const FL_COMPRBLK: u32 = 0x200;
/// `i_flags`: never compress.
pub const FL_NOCOMP: u32 = 0x400;
/// `i_flags`: a directory with a hash index.
pub const FL_INDEX: u32 = 0x1000;
/// `i_flags`: data goes through the journal.
pub const FL_JOURNAL_DATA: u32 = 0x4000;
/// `i_flags`: the tail is not merged.
pub const FL_NOTAIL: u32 = 0x8000;
/// `i_flags`: changes of the directory are synchronous.
pub const FL_DIRSYNC: u32 = 0x10000;
/// `i_flags`: top of a directory hierarchy.
pub const FL_TOPDIR: u32 = 0x20000;
/// `i_flags`: `i_blocks` counts filesystem blocks.
pub const FL_HUGE_FILE: u32 = 0x40000;
/// `i_flags`: mapped by extents, not by blocks.
pub const FL_EXTENTS: u32 = 0x80000;
/// `i_flags`: an inode that holds an extended attribute.
pub const FL_EA_INODE: u32 = 0x20_0000;
/// `i_flags`: data lies in the inode.
pub const FL_INLINE_DATA: u32 = 0x1000_0000;

/// `i_flags`: not yet compressed.
pub const FL_DIRTY: u32 = 0x100;
/// `i_flags`: encrypted.
pub const FL_ENCRYPT: u32 = 0x800;
/// `i_flags`: protected by hashes.
pub const FL_VERITY: u32 = 0x10_0000;
/// `i_flags`: blocks behind the end of file; no longer in use.
pub const FL_EOFBLOCKS: u32 = 0x40_0000;
/// `i_flags`: memory is mapped without the page cache.
pub const FL_DAX: u32 = 0x200_0000;
/// `i_flags`: what is made in the directory belongs to its project.
pub const FL_PROJINHERIT: u32 = 0x2000_0000;
/// `i_flags`: a directory whose names are the same in upper and lower case.
pub const FL_CASEFOLD: u32 = 0x4000_0000;

/// What the owner of an inode may change.
pub const FL_USER_MODIFIABLE: u32 = FL_SECRM
    | FL_UNRM
    | FL_COMPR
    | FL_SYNC
    | FL_IMMUTABLE
    | FL_APPEND
    | FL_NODUMP
    | FL_NOATIME
    | FL_JOURNAL_DATA
    | FL_NOTAIL
    | FL_DIRSYNC
    | FL_TOPDIR
    | FL_EXTENTS
    | FL_EOFBLOCKS
    | FL_DAX
    | FL_PROJINHERIT
    | FL_CASEFOLD;
/// What everybody may see.
pub const FL_USER_VISIBLE: u32 = FL_USER_MODIFIABLE
    | FL_DIRTY
    | FL_COMPRBLK
    | FL_NOCOMP
    | FL_ENCRYPT
    | FL_INDEX
    | FL_VERITY
    | FL_INLINE_DATA;
/// What a new inode takes over from its directory, as far as [`mask_flags`] lets it.
pub const FL_INHERITED: u32 = FL_SECRM
    | FL_UNRM
    | FL_COMPR
    | FL_SYNC
    | FL_NODUMP
    | FL_NOATIME
    | FL_NOCOMP
    | FL_JOURNAL_DATA
    | FL_NOTAIL
    | FL_DIRSYNC
    | FL_DAX
    | FL_PROJINHERIT
    | FL_CASEFOLD;

/// The flags among `flags` that an inode of this mode can have. C: `ext4_mask_flags`.
pub const fn mask_flags(mode: u16, flags: u32) -> u32 {
    match mode & S_IFMT {
        S_IFDIR => flags,
        S_IFREG => flags & !(FL_DIRSYNC | FL_TOPDIR | FL_CASEFOLD | FL_PROJINHERIT),
        _ => flags & (FL_NODUMP | FL_NOATIME),
    }
}

/// The first 128 bytes of an inode: fields are named as in C, without `i_`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawInode {
    /// File type and permissions.
    pub mode: U16,
    /// Low half of the owner.
    pub uid_lo: U16,
    /// Low half of the size in bytes.
    pub size_lo: U32,
    /// Time of the last access.
    pub atime: U32,
    /// Time of the last change of the inode.
    pub ctime: U32,
    /// Time of the last change of the data.
    pub mtime: U32,
    /// Time of deletion; while the inode is on the orphan list, the next on it.
    pub dtime: U32,
    /// Low half of the group.
    pub gid_lo: U16,
    /// Number of links.
    pub links_count: U16,
    /// Blocks used, in units of 512 bytes, metadata included.
    pub blocks_lo: U32,
    /// `FL_*`.
    pub flags: U32,
    /// Low half of the version.
    pub version: U32,
    /// The block map, or the target of a short symbolic link, or a device number.
    pub block: [U32; N_BLOCKS],
    /// Generation, for NFS.
    pub generation: U32,
    /// Block of the extended attributes.
    pub file_acl: U32,
    /// High half of a regular file's size (`i_dir_acl`).
    pub size_high: U32,
    /// Address of a fragment, never used.
    pub faddr: U32,
    /// High part of `blocks_lo` in ext4; fragment number and size in ext2.
    pub blocks_high: U16,
    /// High part of `file_acl` in ext4.
    pub file_acl_high: U16,
    /// High half of the owner.
    pub uid_hi: U16,
    /// High half of the group.
    pub gid_hi: U16,
    /// Low half of ext4's checksum.
    pub checksum_lo: U16,
    /// Unused.
    pub reserved: U16,
}

/// Size of [`RawInode`], and of every inode in the original revision.
pub const RAW_INODE_SIZE: u16 = 128;

const _: () = assert!(size_of::<RawInode>() == RAW_INODE_SIZE as usize);

impl RawInode {
    /// Writes all but `dtime`, which the orphan list and the deletion write by themselves, at times of their own.
    pub fn put(&self, b: &mut (impl BlockMut + ?Sized), off: usize) -> Result<(), Corrupt> {
        const AT: usize = offset_of!(RawInode, dtime);
        const AFTER: usize = AT + size_of::<U32>();
        let bytes = self.as_bytes();
        let (before, _) = bytes.split_at_checked(AT).unwrap_or((bytes, &[]));
        let (_, after) = bytes.split_at_checked(AFTER).unwrap_or((bytes, &[]));
        b.write_bytes(off, before)?;
        b.write_bytes(off.saturating_add(AFTER), after)
    }

    /// The bits of the file type.
    pub fn file_type(&self) -> u16 {
        self.mode.get() & S_IFMT
    }

    /// The size in bytes: only regular files have an upper half.
    pub fn size(&self) -> u64 {
        let low = u64::from(self.size_lo.get());
        if self.file_type() == S_IFREG {
            low | u64::from(self.size_high.get()) << 32
        } else {
            low
        }
    }

    /// Sets both halves of the size.
    pub fn set_size(&mut self, size: u64) {
        self.size_lo.set((size & 0xffff_ffff) as u32);
        self.size_high.set((size >> 32) as u32);
    }

    /// The owner.
    pub fn uid(&self) -> u32 {
        u32::from(self.uid_hi.get()) << 16 | u32::from(self.uid_lo.get())
    }

    /// Sets both halves of the owner.
    pub fn set_uid(&mut self, uid: u32) {
        self.uid_lo.set((uid & 0xffff) as u16);
        self.uid_hi.set((uid >> 16) as u16);
    }

    /// The group.
    pub fn gid(&self) -> u32 {
        u32::from(self.gid_hi.get()) << 16 | u32::from(self.gid_lo.get())
    }

    /// Sets both halves of the group.
    pub fn set_gid(&mut self, gid: u32) {
        self.gid_lo.set((gid & 0xffff) as u16);
        self.gid_hi.set((gid >> 16) as u16);
    }
}

/// What follows [`RawInode`] in an inode of more than 128 bytes.
///
/// Only the first `extra_isize` bytes mean anything; extended attributes may follow them.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RawInodeExtra {
    /// How many bytes from here on are in use.
    pub extra_isize: U16,
    /// High half of ext4's checksum.
    pub checksum_hi: U16,
    /// Extra bits of the change time.
    pub ctime_extra: U32,
    /// Extra bits of the modification time.
    pub mtime_extra: U32,
    /// Extra bits of the access time.
    pub atime_extra: U32,
    /// Time of creation.
    pub crtime: U32,
    /// Extra bits of the time of creation.
    pub crtime_extra: U32,
    /// High half of the version.
    pub version_hi: U32,
    /// Project.
    pub projid: U32,
}

/// Size of [`RawInodeExtra`].
pub const RAW_INODE_EXTRA_SIZE: u16 = 32;

const _: () = assert!(size_of::<RawInodeExtra>() == RAW_INODE_EXTRA_SIZE as usize);

impl RawInodeExtra {
    /// Checks that `extra_isize` fits an inode of `inode_size` bytes.
    pub fn check(&self, inode_size: u16) -> Result<(), Corrupt> {
        let found = self.extra_isize.get();
        if found > inode_size.saturating_sub(RAW_INODE_SIZE) || found % 4 != 0 {
            return Err(Corrupt::ExtraIsize { found, inode_size });
        }
        Ok(())
    }

    /// The same, with all fields in use where it says that none is: what lies there was never used for anything else. C:
    /// `ext4_iget`.
    #[must_use]
    pub fn with_unused(mut self) -> Self {
        if self.extra_isize.get() == 0 {
            self.extra_isize.set(RAW_INODE_EXTRA_SIZE);
        }
        self
    }

    /// Whether the four bytes at `offset` are in use.
    fn uses(&self, offset: usize) -> bool {
        usize::from(self.extra_isize.get()) >= offset.saturating_add(size_of::<U32>())
    }

    /// Extra bits of the change time, if they are in use.
    pub fn used_ctime_extra(&self) -> Option<U32> {
        self.uses(offset_of!(Self, ctime_extra))
            .then_some(self.ctime_extra)
    }

    /// Extra bits of the modification time, if they are in use.
    pub fn used_mtime_extra(&self) -> Option<U32> {
        self.uses(offset_of!(Self, mtime_extra))
            .then_some(self.mtime_extra)
    }

    /// The time of creation and its extra bits, as far as they are in use.
    pub fn used_crtime(&self) -> Option<(U32, Option<U32>)> {
        let extra = self.uses(offset_of!(Self, crtime_extra));
        self.uses(offset_of!(Self, crtime))
            .then_some((self.crtime, extra.then_some(self.crtime_extra)))
    }

    /// High half of the version, if it is in use.
    pub fn used_version_hi(&self) -> Option<U32> {
        self.uses(offset_of!(Self, version_hi))
            .then_some(self.version_hi)
    }

    /// The project, if it is in use.
    pub fn used_projid(&self) -> Option<U32> {
        self.uses(offset_of!(Self, projid)).then_some(self.projid)
    }

    /// Extra bits of the access time, if they are in use.
    pub fn used_atime_extra(&self) -> Option<U32> {
        self.uses(offset_of!(Self, atime_extra))
            .then_some(self.atime_extra)
    }
}
