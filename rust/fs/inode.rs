// SPDX-License-Identifier: GPL-2.0

//! Inodes between memory and disk. C: `ext2_iget`, `ext2_write_inode`, `ext2_evict_inode` in `fs/ext2/inode.c`.

use super::{
    error::{self, At, OrReport},
    group,
    map::BlockMap,
    orphan, project, quota, symlink, truncate, xattr, zones, Inode, Notblk, SuperBlock,
    Transaction,
};
use crate::{
    format::{
        block::{Block, BlockMut},
        dev,
        features::RO_COMPAT_HUGE_FILE,
        inode as disk,
        inode::{RawInode, RawInodeExtra},
        time::{self, DiskTime},
    },
    vfs::{
        errno::{ESTALE, EUCLEAN},
        inode::{Fields, Flags, Iget, Kind, New, Times},
        Buffer, InodeRef,
    },
};
use core::mem::offset_of;
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        new_mutex, new_spinlock, Mutex, SpinLock,
    },
};
use zerocopy::little_endian::{U16, U32};

/// Our data beside `struct inode`.
#[pin_data]
pub(crate) struct InodeData {
    /// Protects the block map, in the inode and in its indirect blocks. C: `truncate_mutex` of ext2.
    #[pin]
    pub(super) map: Mutex<BlockMap>,
    /// Protects the extended attributes, wherever they lie. C: `xattr_sem` of ext4.
    #[pin]
    pub(super) xattr: Mutex<xattr::Attributes>,
    /// Protects what the disk has and VFS does not.
    #[pin]
    pub(super) disk: SpinLock<DiskFields>,
    /// How many names it got (modulo 2^32), and how many of these an `fsync` has seen to the disk.
    pub(super) names: Atomic<u32>,
    pub(super) names_on_disk: Atomic<u32>,
    /// It could not be written, and that has been reported.
    pub(super) not_written: Atomic<bool>,
}

/// Fields of the inode on disk that have no place in `struct inode`.
#[derive(Clone, Copy, Default)]
pub(crate) struct DiskFields {
    /// `i_flags`: `FL_*` of [`crate::format::inode`].
    pub(super) flags: u32,
    /// `i_file_acl`: block of extended attributes, or 0.
    pub(super) file_acl: u32,
    /// `i_crtime`: when the inode was made, where it has room to say so.
    pub(super) crtime: Option<(i64, u32)>,
    /// `i_projid`: the project. 0 without the feature, or where the inode has no room for it.
    pub(super) project: u32,
    /// `i_extra_isize`: how many bytes behind the first 128 hold fields; what is wanted of an inode that is `fresh`.
    pub(super) extra_isize: u16,
    /// The inode table has an older inode's remains here: clear them with the first write.
    pub(super) fresh: bool,
    /// They have been cleared before that.
    pub(super) cleared: bool,
}

impl InodeData {
    pub(super) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            map <- new_mutex!(BlockMap::default(), "notblk::map"),
            xattr <- new_mutex!(xattr::Attributes::default(), "notblk::xattr"),
            disk <- new_spinlock!(DiskFields::default(), "notblk::disk"),
            names: Atomic::new(0),
            names_on_disk: Atomic::new(0),
            not_written: Atomic::new(false),
        }? Error)
    }
}

/// The buffer of the inode table that holds an inode, and where it begins there.
pub(super) fn buffer(sb: &SuperBlock, ino: u64) -> Result<(Buffer<'_>, usize)> {
    let geo = &sb.data().geo;
    let at = At::Inode(ino);
    let short = u32::try_from(ino)
        .map_err(|_| error::report_inode(sb, ino, fmt!("inode {ino}: no such number")))?;
    let (group, index) = geo.any_inode_group(short).or_report(sb, at)?;
    let (block, off) = geo
        .inode_at(group::open(sb, group)?.places().inode_table.get(), index)
        .or_report(sb, at)?;
    Ok((sb.bread(block)?, off))
}

/// Gets an inode, from the cache or from disk.
///
/// # Errors
///
/// `ESTALE` for one that has been deleted; `EUCLEAN` for one that is damaged; `EIO`, `ENOMEM`.
pub(super) fn iget(sb: &SuperBlock, ino: u64) -> Result<InodeRef<'_, Notblk>> {
    let short = u32::try_from(ino).unwrap_or(u32::MAX);
    sb.data()
        .geo
        .inode_group(short)
        .or_report(sb, At::Inode(ino))?;
    if quota::is_hidden_file(sb, short) {
        return Err(error::report_inode(
            sb,
            ino,
            fmt!("inode {ino}: a quota file, and has a name"),
        ));
    }
    iget_any(sb, ino, Links::Some)
}

/// As [`iget`], for the root and for a reserved inode that the superblock names: one that is not in use is damage. C:
/// `EXT4_IGET_SPECIAL`.
pub(super) fn iget_special(sb: &SuperBlock, ino: u64) -> Result<InodeRef<'_, Notblk>> {
    match iget_any(sb, ino, Links::Some) {
        Err(e) if e == ESTALE => Err(error::report_inode(
            sb,
            ino,
            fmt!("inode {ino}: a special inode that is not in use"),
        )),
        other => other,
    }
}

/// As [`iget`], for one of the orphan list, which may have lost its last link.
pub(super) fn iget_orphan(sb: &SuperBlock, ino: u64) -> Result<InodeRef<'_, Notblk>> {
    iget_any(sb, ino, Links::Any)
}

/// The inode from memory, or read.
fn iget_any(sb: &SuperBlock, ino: u64, links: Links) -> Result<InodeRef<'_, Notblk>> {
    match sb.iget_locked(ino)? {
        Iget::Cached(inode) => Ok(inode),
        Iget::New(new) => load(new, links),
    }
}

/// How many links an inode must have to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Links {
    /// At least one.
    Some,
    /// None will do.
    Any,
}

/// Reads an inode from disk.
fn load(mut new: New<'_, Notblk>, links: Links) -> Result<InodeRef<'_, Notblk>> {
    let ino = new.ino();
    let (raw, extra, in_body) = {
        let sb = new.sb();
        let (buffer, off) = buffer(sb, ino)?;
        let at = At::Inode(ino);
        let raw: RawInode = buffer.get(off).or_report(sb, at)?;
        let extra = read_extra(sb, &buffer, off).or_report(sb, at)?;
        check(sb, ino, &raw, links)?;
        let in_body = xattr::check_body(sb, &buffer, off)?.or_report(sb, at)?;
        (raw, extra, in_body)
    };
    new.read_from(|sb| {
        let table = buffer(sb, ino).is_ok_and(|(table, _)| table.is_on_its_way());
        table || xattr::is_block_on_its_way(sb, &raw)
    });
    let time = |sec, extra: Option<U32>| {
        let t = time::decode(sec, extra);
        (t.sec, t.nsec)
    };
    let extra_isize = extra.map_or(0, |extra| extra.extra_isize.get());
    let project = extra
        .filter(|_| project::is_on(new.sb()))
        .and_then(|extra| extra.used_projid())
        .map_or(project::DEFAULT, U32::get);
    // As ext4 does, which gives an inode no project by what lies there, though.
    let extra = extra.map(RawInodeExtra::with_unused);
    let extra = extra.as_ref();
    new.load(&Fields {
        mode: raw.mode.get(),
        uid: raw.uid(),
        gid: raw.gid(),
        nlink: u32::from(raw.links_count.get()),
        size: raw.size(),
        sectors: u64::from(raw.blocks_lo.get()),
        generation: raw.generation.get(),
        version: u64::from(raw.version.get())
            | extra
                .and_then(RawInodeExtra::used_version_hi)
                .map_or(0, |high| u64::from(high.get()) << 32),
        times: Times {
            atime: time(raw.atime, extra.and_then(RawInodeExtra::used_atime_extra)),
            mtime: time(raw.mtime, extra.and_then(RawInodeExtra::used_mtime_extra)),
            ctime: time(raw.ctime, extra.and_then(RawInodeExtra::used_ctime_extra)),
        },
        flags: vfs_flags(raw.flags.get()),
    });
    new.data().map.lock().set(raw.block);
    new.data().xattr.lock().in_body = in_body;
    {
        let mut fields = new.data().disk.lock();
        fields.flags = raw.flags.get();
        fields.file_acl = raw.file_acl.get();
        fields.project = project;
        fields.crtime = extra
            .and_then(RawInodeExtra::used_crtime)
            .map(|(sec, extra)| time(sec, extra));
        fields.extra_isize = extra_isize;
    }
    set_kind(&mut new, &raw)?;
    Ok(new.ready())
}

/// The part of an inode behind its first 128 bytes, if there is one.
fn read_extra(
    sb: &SuperBlock,
    block: &Buffer<'_>,
    off: usize,
) -> Result<Option<RawInodeExtra>, crate::format::corrupt::Corrupt> {
    let size = sb.data().geo.inode_size();
    if size <= disk::RAW_INODE_SIZE {
        return Ok(None);
    }
    let extra: RawInodeExtra = block.get(off.saturating_add(usize::from(disk::RAW_INODE_SIZE)))?;
    extra.check(size)?;
    Ok(Some(extra))
}

/// What must hold of an inode before anybody uses it.
fn check(sb: &SuperBlock, ino: u64, raw: &RawInode, links: Links) -> Result {
    // Without links it is deleted, or on the orphan list of a read-only filesystem.
    if raw.links_count.get() == 0 && (raw.mode.get() == 0 || links == Links::Some) {
        return Err(ESTALE);
    }
    let flags = raw.flags.get();
    for (flag, what) in [
        (disk::FL_EXTENTS, "extents"),
        (disk::FL_INLINE_DATA, "inline data"),
        (disk::FL_HUGE_FILE, "sizes in blocks"),
        (disk::FL_EA_INODE, "an attribute's value"),
    ] {
        if flags & flag != 0 {
            return Err(error::report_inode(
                sb,
                ino,
                fmt!("inode {ino}: has {what}, which this format does not"),
            ));
        }
    }
    let acl = raw.file_acl.get();
    if acl != 0 {
        sb.data()
            .check_blocks(acl, 1)
            .or_report(sb, At::Attributes(ino, acl))?;
    }
    zones::check_inode(sb, ino, raw)?;
    let huge = sb.data().features_ro_compat & RO_COMPAT_HUGE_FILE != 0;
    // With sizes in blocks, which is for reading only, there are larger ones.
    let max_size = if huge {
        i64::MAX as u64
    } else {
        sb.data().geo.max_file_size()
    };
    if raw.size() > max_size {
        return Err(error::report_inode(
            sb,
            ino,
            fmt!("inode {ino}: size {:#x}", raw.size()),
        ));
    }
    if raw.file_type() == disk::S_IFDIR && sb.offset_in_block(raw.size()) != 0 {
        return Err(error::report_inode(
            sb,
            ino,
            fmt!(
                "inode {ino}: directory of {} bytes, which is not whole blocks",
                raw.size()
            ),
        ));
    }
    Ok(())
}

/// Operation tables by file type.
fn set_kind(new: &mut New<'_, Notblk>, raw: &RawInode) -> Result {
    let (major, minor) = dev::decode(&raw.block);
    match raw.file_type() {
        disk::S_IFREG => new.set_kind(&Kind::Regular),
        disk::S_IFDIR => new.set_kind(&Kind::Directory),
        disk::S_IFLNK if raw.flags.get() & (disk::FL_IMMUTABLE | disk::FL_APPEND) != 0 => {
            Err(error::report_inode(
                new.sb(),
                new.ino(),
                fmt!(
                    "inode {}: a symlink with a flag that none can have",
                    new.ino()
                ),
            ))
        }
        disk::S_IFLNK if symlink::is_fast(new.sb(), raw) => {
            let mut text = [0; size_of::<[U32; disk::N_BLOCKS]>()];
            text.copy_from_slice(zerocopy::IntoBytes::as_bytes(&raw.block));
            let len = usize::try_from(raw.size()).unwrap_or(usize::MAX);
            match text.get(..len) {
                // A target with a zero byte in it would read back shorter than its size.
                // None at all has only one that is being deleted.
                Some(target)
                    if len < text.len()
                        && (len > 0 || raw.links_count.get() == 0)
                        && !target.contains(&0) =>
                {
                    new.set_kind(&Kind::FastSymlink(target))
                }
                _ => Err(error::report_inode(
                    new.sb(),
                    new.ino(),
                    fmt!("inode {}: bad symlink", new.ino()),
                )),
            }
        }
        disk::S_IFLNK if raw.size() < u64::from(new.sb().data().geo.block_size()) => {
            new.set_kind(&Kind::Symlink)
        }
        disk::S_IFCHR | disk::S_IFBLK => new.set_kind(&Kind::Special { major, minor }),
        disk::S_IFIFO | disk::S_IFSOCK => new.set_kind(&Kind::Special { major: 0, minor: 0 }),
        _ => Err(error::report_inode(
            new.sb(),
            new.ino(),
            fmt!(
                "inode {}: mode {:#o}, size {}",
                new.ino(),
                raw.mode.get(),
                raw.size()
            ),
        )),
    }
}

/// `S_*` flags of VFS for `FL_*` of the disk. C: `ext2_set_inode_flags`.
pub(super) fn vfs_flags(flags: u32) -> Flags {
    Flags::default()
        .with(Flags::SYNC, flags & disk::FL_SYNC != 0)
        .with(Flags::APPEND, flags & disk::FL_APPEND != 0)
        .with(Flags::IMMUTABLE, flags & disk::FL_IMMUTABLE != 0)
        .with(Flags::NOATIME, flags & disk::FL_NOATIME != 0)
        .with(Flags::DIRSYNC, flags & disk::FL_DIRSYNC != 0)
}

/// A created inode's part on disk: nothing yet but its flags and its project.
pub(super) fn init_new(new: &mut New<'_, Notblk>, flags: u32, project: u32) {
    let now = new.times().ctime;
    let extra_isize = new.sb().data().geo.extra_isize_wanted();
    let mut fields = new.data().disk.lock();
    *fields = DiskFields {
        flags,
        project,
        fresh: true,
        extra_isize,
        crtime: (extra_isize != 0).then_some(now),
        ..DiskFields::default()
    };
}

/// Copies an inode to the inode table's buffer, and answers the buffer.
pub(super) fn write(inode: &Inode) -> Result<Buffer<'_>> {
    let sb = inode.sb();
    let ino = inode.ino();
    let transaction = Transaction::start(sb);
    let at = At::Inode(ino);
    let (table, off) = buffer(sb, ino)?;
    if inode.is_regular() && inode.size() > 0x7fff_ffff {
        super::super_block::set_large_file(sb)?;
    }
    xattr::try_expand(&transaction, inode);
    // The map's lock also keeps two writers of the same inode apart.
    let map = inode.data().map.lock();
    let mut access = transaction.write(table);
    let (fields, fresh) = {
        let mut disk = inode.data().disk.lock();
        (*disk, core::mem::replace(&mut disk.fresh, false))
    };
    if fresh && !fields.cleared {
        access
            .fill(off, usize::from(sb.data().geo.inode_size()), 0)
            .or_report(sb, at)?;
    }
    let mut raw: RawInode = access.get(off).or_report(sb, at)?;
    let times = inode.times();
    fill(inode, &fields, &times, &mut raw);
    if is_mapped(inode) {
        raw.block = map.raw();
    } else if fresh {
        let (major, minor) = inode.rdev();
        raw.block = dev::encode(major, minor);
    }
    write_extra(
        sb,
        &mut access,
        off,
        &times,
        (&fields, inode.version()),
        fresh,
    )
    .or_report(sb, at)?;
    raw.put(&mut access, off).or_report(sb, at)?;
    drop(map);
    Ok(access.dirty())
}

/// Sets `i_dtime`: of an inode of the orphan list the next on it, under `SuperData::orphans`; of a deleted one, the time.
pub(super) fn put_dtime(transaction: &Transaction<'_>, ino: u32, dtime: u32) -> Result {
    let (table, off) = buffer(transaction.sb(), u64::from(ino))?;
    put_dtime_at(transaction, table, off, ino, dtime)
}

/// The same in the inode's [`buffer`], which is `table`: nothing is read.
pub(super) fn put_dtime_at<'sb>(
    transaction: &Transaction<'sb>,
    table: Buffer<'sb>,
    off: usize,
    ino: u32,
    dtime: u32,
) -> Result {
    let mut access = transaction.write(table);
    access
        .put(
            off.saturating_add(offset_of!(RawInode, dtime)),
            &U32::new(dtime),
        )
        .or_report(transaction.sb(), At::Inode(u64::from(ino)))?;
    access.dirty();
    Ok(())
}

/// Clears an older inode's remains in the inode table, before anything but [`write`] puts something there: attributes. What
/// else the first [`write`] does is left to it.
pub(super) fn clear_remains(transaction: &Transaction<'_>, inode: &Inode) -> Result {
    let sb = inode.sb();
    let at = At::Inode(inode.ino());
    let (table, off) = buffer(sb, inode.ino())?;
    let _map = inode.data().map.lock();
    {
        let mut disk = inode.data().disk.lock();
        if !disk.fresh || disk.cleared {
            return Ok(());
        }
        disk.cleared = true;
    }
    let size = sb.data().geo.inode_size();
    let mut access = transaction.write(table);
    access.fill(off, usize::from(size), 0).or_report(sb, at)?;
    if size > disk::RAW_INODE_SIZE {
        // Attributes begin behind it.
        let wanted = U16::new(sb.data().geo.extra_isize_wanted());
        access
            .put(
                off.saturating_add(usize::from(disk::RAW_INODE_SIZE)),
                &wanted,
            )
            .or_report(sb, at)?;
    }
    access.dirty();
    Ok(())
}

fn put_deletion_time(transaction: &Transaction<'_>, inode: &Inode) -> Result {
    let ino = u32::try_from(inode.ino()).map_err(|_| EUCLEAN)?;
    put_dtime(transaction, ino, super::super_block::seconds())
}

/// A name was made for the inode.
pub(super) fn set_new_entry(inode: &Inode) {
    inode.data().names.fetch_add(1, Relaxed);
}

/// How many it got, where not all of them are known to be on the disk.
pub(super) fn new_name(inode: &Inode) -> Option<u32> {
    let names = inode.data().names.load(Relaxed);
    (names != inode.data().names_on_disk.load(Relaxed)).then_some(names)
}

/// So many are. Of two who say so at the same time the later may know less: then some are written once more.
pub(super) fn has_name_on_disk(inode: &Inode, names: u32) {
    inode.data().names_on_disk.store(names, Relaxed);
}

/// Whether `i_block` is a block map: of a regular file, a directory, a symlink.
fn is_mapped(inode: &Inode) -> bool {
    matches!(
        inode.mode() & disk::S_IFMT,
        disk::S_IFREG | disk::S_IFDIR | disk::S_IFLNK
    )
}

fn fill(inode: &Inode, fields: &DiskFields, times: &Times, raw: &mut RawInode) {
    let extra = inode.sb().data().geo.inode_size() > disk::RAW_INODE_SIZE;
    let sec = |(sec, nsec): (i64, u32)| {
        let t = DiskTime { sec, nsec };
        if extra {
            time::encode(t).0
        } else {
            time::encode_base(t)
        }
    };
    raw.mode = U16::new(inode.mode());
    raw.set_uid(inode.uid());
    raw.set_gid(inode.gid());
    if inode.is_regular() {
        raw.set_size(inode.size());
    } else {
        // CAST: directories and symlinks are far below 4 GiB, and the upper half is not a size there.
        raw.size_lo = U32::new(inode.size() as u32);
    }
    raw.atime = sec(times.atime);
    raw.ctime = sec(times.ctime);
    raw.mtime = sec(times.mtime);
    // CAST: links.rs stops at 65,000.
    raw.links_count = U16::new(inode.nlink() as u16);
    // CAST: s_maxbytes keeps i_blocks below 2^32.
    raw.blocks_lo = U32::new(inode.sectors() as u32);
    raw.flags = U32::new(fields.flags);
    raw.file_acl = U32::new(fields.file_acl);
    raw.generation = U32::new(inode.generation());
    // CAST: the lower half.
    raw.version = U32::new(inode.version() as u32);
}

/// Upper bits and nanoseconds of the timestamps, where the inode has room for them.
fn write_extra(
    sb: &SuperBlock,
    block: &mut impl BlockMut,
    off: usize,
    times: &Times,
    (fields, version): (&DiskFields, u64),
    fresh: bool,
) -> Result<(), crate::format::corrupt::Corrupt> {
    let geo = &sb.data().geo;
    if geo.inode_size() <= disk::RAW_INODE_SIZE {
        return Ok(());
    }
    let at = off.saturating_add(usize::from(disk::RAW_INODE_SIZE));
    let mut extra: RawInodeExtra = block.get(at)?;
    let encode = |(sec, nsec): (i64, u32)| time::encode(DiskTime { sec, nsec });
    if fresh {
        extra.extra_isize = U16::new(geo.extra_isize_wanted());
        (extra.crtime, extra.crtime_extra) = encode(fields.crtime.unwrap_or(times.ctime));
    }
    if extra.used_ctime_extra().is_some() {
        extra.ctime_extra = encode(times.ctime).1;
    }
    if extra.used_mtime_extra().is_some() {
        extra.mtime_extra = encode(times.mtime).1;
    }
    if extra.used_version_hi().is_some() {
        // CAST: the upper half.
        extra.version_hi = U32::new((version >> 32) as u32);
    }
    if extra.used_projid().is_some() {
        extra.projid = U32::new(fields.project);
    }
    if extra.used_atime_extra().is_some() {
        extra.atime_extra = encode(times.atime).1;
    }
    block.put(at, &extra)
}

/// An inode without links and users: frees its blocks and records when. The pages are gone already. Answers whether its number
/// may be freed: not while the orphan list leads through it, and not where the inode table cannot be read, for then what stands
/// there leads to its blocks still, which stay its own.
pub(super) fn delete(inode: &Inode) -> bool {
    let sb = inode.sb();
    let transaction = Transaction::start(sb);
    // In memory until the end, so that nothing below fails for want of it.
    let _table = match buffer(sb, inode.ino()) {
        Ok(table) => table,
        Err(e) => {
            not_deleted(inode, e);
            return false;
        }
    };
    if is_mapped(inode) && inode.sectors() != 0 {
        // A fast symlink with an attribute block has text where others have pointers.
        let acl = if inode.data().disk.lock().file_acl != 0 {
            sb.data().geo.block_size() / 512
        } else {
            0
        };
        let is_symlink = inode.mode() & disk::S_IFMT == disk::S_IFLNK;
        if !is_symlink || inode.sectors() > u64::from(acl) {
            truncate::free_all(&transaction, inode);
        }
    }
    xattr::release_block(&transaction, inode);
    let off_list = orphan::remove(&transaction, inode).is_ok();
    let written = write(inode).and_then(|_| {
        if off_list {
            put_deletion_time(&transaction, inode)
        } else {
            Ok(())
        }
    });
    if let Err(e) = written {
        not_deleted(inode, e);
        return false;
    }
    off_list
}

/// What is left is e2fsck's.
fn not_deleted(inode: &Inode, e: Error) {
    let ino = inode.ino();
    error::report_failed(
        inode.sb(),
        e,
        At::Inode(ino),
        fmt!("inode {ino}: deletion not recorded: {e:?}"),
    );
}
