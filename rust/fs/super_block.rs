// SPDX-License-Identifier: GPL-2.0

//! Mounting and the superblock. C: `fs/ext2/super.c`.

use super::{
    counters::Counters,
    error::{self, At, OrReport},
    group, inode,
    options::{Errors, Live, Options},
    orphan::{self, Orphans},
    shutdown, Inode, Notblk, SuperBlock, Transaction,
};
use crate::{
    format::{
        block::{Block, BlockMut},
        features,
        geometry::Geometry,
        superblock::{self, RawSuperBlock},
        time,
    },
    vfs::{
        fs_context::{Log, Value},
        shutdown::Operations as _,
        super_block::{self, New, StatFs},
        Buffer, InodeRef,
    },
};
use core::mem::offset_of;
use kernel::{
    debugfs,
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::{
        atomic::{Atomic, Relaxed},
        new_mutex, Mutex,
    },
};
use zerocopy::little_endian::{U16, U32};

/// `f_type` and `s_magic`.
const MAGIC: u32 = 0xEF53;
/// The root directory's inode.
const ROOT_INO: u64 = 2;

/// What belongs to a mounted filesystem.
#[pin_data]
pub(crate) struct SuperData {
    /// Checked at mount, and constant after it.
    pub(super) geo: Geometry,
    /// Mount options.
    pub(super) options: Live,
    /// Protects bitmaps, group descriptors, and the counts of what is free.
    #[pin]
    pub(super) space: Mutex<Space>,
    /// Protects the orphan list: the numbers here, `s_last_orphan`, `i_dtime` of the inodes on it.
    #[pin]
    pub(super) orphans: Mutex<Orphans>,
    #[pin]
    counters: debugfs::File<Counters>,
    /// `s_state` to leave behind at unmount, should nothing go wrong: as it was found.
    clean_state: Atomic<u32>,
    /// What the superblock wants done about damage.
    disk_errors: Errors,
    /// Was mounted read-write, or remounted so, and not read-only by request since.
    writable: Atomic<bool>,
    /// Damage has been seen since mount.
    error: Atomic<bool>,
    /// Where the superblock lies: block of the mounted block size, byte in it.
    place: (u32, usize),
    /// Whether the filesystem has been shut down.
    pub(super) shutdown: shutdown::State,
    /// Features that forbid writing are present.
    read_only_only: bool,
    /// `s_feature_ro_compat` at mount.
    pub(super) features_ro_compat: u32,
}

/// Free space, in memory. On disk the group descriptors are right at all times, the superblock after a sync.
pub(crate) struct Space {
    /// Free blocks, those reserved for root included.
    pub(super) free_blocks: u64,
    /// Free inodes.
    pub(super) free_inodes: u64,
    /// Where the last directory at top level went (group).
    pub(super) last_dir_group: u32,
}

impl SuperData {
    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Damage was seen: the state on disk will say so, and e2fsck will look.
    pub(super) fn note_error(&self) {
        self.error.store(true, Relaxed);
    }

    /// What is to be done about damage.
    pub(super) fn errors(&self) -> Errors {
        self.options.get().errors.unwrap_or(self.disk_errors)
    }

    fn clean_state(&self) -> u16 {
        // CAST: stored from 16 bits.
        self.clean_state.load(Relaxed) as u16
    }

    /// A state for the disk, with what has been seen since mount.
    fn with_error(&self, state: u16) -> u16 {
        if self.has_error() {
            state | superblock::STATE_ERROR
        } else {
            state
        }
    }

    pub(super) fn has_error(&self) -> bool {
        self.error.load(Relaxed)
    }
}

impl super_block::Operations for Notblk {
    fn options(sb: &SuperBlock) -> Options {
        sb.data().options.get()
    }

    fn parse_option(
        options: &mut Options,
        key: &[u8],
        value: Value<'_>,
        log: &Log,
    ) -> Result<bool> {
        options.parse(key, value, log)
    }

    fn fill_super(
        sb: &mut crate::vfs::SuperBlock<Self, New>,
        mut options: Options,
    ) -> Result<Pin<KBox<SuperData>>> {
        let raw = read_raw(sb)?;
        let read_only_only = check_features(sb, &raw)?;
        let geo = Geometry::parse(&raw, sb.device_bytes()).map_err(|corrupt| {
            pr_err!("({}): cannot mount: {}\n", sb.id(), corrupt);
            EINVAL
        })?;
        sb.set_blocksize(geo.block_size()).inspect_err(|_| {
            pr_err!(
                "({}): cannot mount: the device cannot do blocks of {} bytes\n",
                sb.id(),
                geo.block_size()
            );
        })?;
        let time_max = if geo.inode_size() > crate::format::inode::RAW_INODE_SIZE {
            time::MAX_EXTRA
        } else {
            time::MAX_BASE
        };
        let time_gran = if time_max == time::MAX_EXTRA {
            1
        } else {
            1_000_000_000
        };
        sb.set_limits(
            geo.max_file_size(),
            MAGIC,
            // links.rs counts.
            0,
            time_gran,
            (time::MIN, time_max),
        );
        sb.set_uuid(raw.uuid);
        sb.set_sysfs_name();
        let space = group::count_free(sb, &geo)?;

        let offset = superblock::SUPERBLOCK_OFFSET;
        let block_size = u64::from(geo.block_size());
        // CAST: the superblock lies in block 0 or 1.
        let place = ((offset / block_size) as u32, (offset % block_size) as usize);
        let state = raw.state.get();
        if state & superblock::STATE_VALID == 0 || state & superblock::STATE_ERROR != 0 {
            pr_warn!(
                "({}): mounting a filesystem that is not clean: running e2fsck is recommended\n",
                sb.id()
            );
        }
        if options.discard && sb.discard_granularity().is_none() {
            pr_warn!(
                "({}): mounted with discard, which the device cannot\n",
                sb.id()
            );
            options.discard = false;
        }
        let dir = sb.type_data().subdir(sb.id().as_c_str());
        KBox::try_pin_init(
            try_pin_init!(SuperData {
                geo,
                options: Live::new(&options),
                space <- new_mutex!(space, "notblk::space"),
                orphans <- new_mutex!(Orphans::new(), "notblk::orphans"),
                counters <- dir.read_only_file(c"counters", Counters::new()),
                clean_state: Atomic::new(u32::from(state)),
                disk_errors: Errors::from_disk(raw.errors.get()),
                writable: Atomic::new(false),
                error: Atomic::new(false),
                place,
                shutdown: shutdown::State::new(),
                read_only_only,
                features_ro_compat: raw.feature_ro_compat.get(),
            }? Error),
            GFP_KERNEL,
        )
    }

    fn root(sb: &SuperBlock) -> Result<InodeRef<'_, Self>> {
        let root = inode::iget(sb, ROOT_INO)?;
        if !root.is_dir() || root.size() == 0 {
            pr_err!(
                "({}): cannot mount: the root inode is no directory\n",
                sb.id()
            );
            return Err(EINVAL);
        }
        Ok(root)
    }

    fn begin(sb: &SuperBlock) -> Result {
        if sb.is_read_only() {
            if last_orphan(sb)? != 0 {
                pr_info!(
                    "({}): read-only: the orphan list waits for a writable mount\n",
                    sb.id()
                );
            }
            return Ok(());
        }
        mark_mounted(sb)?;
        orphan::cleanup(sb);
        Ok(())
    }

    fn reconfigure(sb: &SuperBlock, options: &Options, read_only: bool) -> Result {
        let data = sb.data();
        if shutdown::is_down(sb) && sb.is_read_only() != read_only {
            return Err(EROFS);
        }
        match (sb.is_read_only(), read_only) {
            (false, true) => {
                write_super(sb, data.clean_state())?.sync()?;
                data.writable.store(false, Relaxed);
            }
            (true, false) => {
                if data.read_only_only {
                    pr_err!(
                        "({}): cannot remount read-write: unsupported features, see above\n",
                        sb.id()
                    );
                    return Err(EROFS);
                }
                mark_mounted(sb)?;
                orphan::cleanup(sb);
            }
            _ => {}
        }
        let mut options = options.clone();
        if options.discard && (sb.discard_granularity().is_none() || shutdown::is_down(sb)) {
            options.discard = false;
        }
        data.options.set(&options);
        Ok(())
    }

    fn put_super(sb: &SuperBlock) {
        if shutdown::is_down(sb) {
            return;
        }
        // errors=remount-ro made it read-only, and has not written that there was an error.
        let forced = sb.data().writable.load(Relaxed) && sb.data().has_error();
        if sb.is_read_only() && !forced {
            return;
        }
        let written = write_super(sb, sb.data().clean_state()).and_then(|buffer| buffer.sync());
        if let Err(e) = written {
            pr_err!("({}): superblock not written at unmount: {e:?}\n", sb.id());
        }
    }

    fn sync_fs(sb: &SuperBlock, wait: bool) -> Result {
        Self::check_alive(sb)?;
        if sb.is_read_only() {
            return Ok(());
        }
        // Mounted: not valid until unmount says so.
        let buffer = write_super(sb, sb.data().clean_state() & !superblock::STATE_VALID)?;
        if wait {
            buffer.sync()?;
        }
        Ok(())
    }

    fn statfs(sb: &SuperBlock) -> Result<StatFs> {
        let data = sb.data();
        let geo = &data.geo;
        let (blocks_free, inodes_free) = {
            let space = data.space.lock();
            (space.free_blocks, space.free_inodes)
        };
        let (buffer, off) = buffer(sb)?;
        let uuid: [u8; 16] = buffer
            .get(off.saturating_add(offset_of!(RawSuperBlock, uuid)))
            .or_report(sb, At::SuperBlock)?;
        Ok(StatFs {
            magic: u64::from(MAGIC),
            block_size: geo.block_size(),
            blocks: u64::from(geo.blocks_count()).saturating_sub(u64::from(geo.overhead_blocks())),
            blocks_free,
            blocks_available: blocks_free.saturating_sub(u64::from(geo.reserved_blocks())),
            inodes: u64::from(geo.inodes_count()),
            inodes_free,
            name_max: 255,
            fsid: fold_uuid(uuid),
        })
    }

    fn show_options(sb: &SuperBlock, m: &SeqFile) {
        let options = sb.data().options.get();
        if options.discard {
            seq_print!(m, ",discard");
        }
        if shutdown::is_down(sb) {
            seq_print!(m, ",shutdown");
        }
        seq_print!(m, ",drain={}", if options.drain { "on" } else { "off" });
        if options.fallback_delay_ms != 0 {
            seq_print!(m, ",fallback_delay_ms={}", options.fallback_delay_ms);
        }
        if let Some(errors) = options.errors {
            seq_print!(m, ",errors={}", errors.name());
        }
    }

    fn write_inode(inode: &Inode) -> Result {
        Self::check_alive(inode.sb())?;
        inode::write(inode).map(drop)
    }

    fn inode_buffer(inode: &Inode) -> Result<Buffer<'_>> {
        inode::buffer(inode.sb(), inode.ino()).map(|(buffer, _)| buffer)
    }

    fn delete_inode(inode: &Inode) {
        if shutdown::is_down(inode.sb()) {
            return;
        }
        inode::delete(inode);
    }

    fn free_ino(sb: &SuperBlock, ino: u64, was_dir: bool) {
        if shutdown::is_down(sb) {
            return;
        }
        super::ialloc::free(sb, ino, was_dir);
    }
}

/// Reads the superblock before its block size is known, and checks the magic number.
fn read_raw(sb: &mut crate::vfs::SuperBlock<Notblk, New>) -> Result<RawSuperBlock> {
    let size = sb.set_min_blocksize(1024)?;
    let offset = superblock::SUPERBLOCK_OFFSET;
    // CAST: block 0 or 1, and a byte below the block size.
    let (block, off) = ((offset / size) as u32, (offset % size) as usize);
    let buffer = sb.bread(block).inspect_err(|_| {
        pr_err!(
            "({}): cannot mount: the superblock cannot be read\n",
            sb.id()
        );
    })?;
    let raw: RawSuperBlock = buffer.get(off).map_err(|_| EINVAL)?;
    let magic = raw.magic.get();
    if u32::from(magic) != MAGIC {
        pr_err!(
            "({}): cannot mount: no ext2 filesystem (magic number {magic:#06x})\n",
            sb.id()
        );
        return Err(EINVAL);
    }
    Ok(raw)
}

/// Refuses what we cannot read; answers whether there is something that we must not write.
fn check_features(sb: &crate::vfs::SuperBlock<Notblk, New>, raw: &RawSuperBlock) -> Result<bool> {
    let incompat = features::unsupported_incompat(raw);
    if !incompat.is_empty() {
        pr_err!(
            "({}): cannot mount: unsupported features: {}\n",
            sb.id(),
            incompat
        );
        return Err(EINVAL);
    }
    let ro_compat = features::unsupported_ro_compat(raw);
    if ro_compat.is_empty() {
        return Ok(false);
    }
    if !sb.is_read_only() {
        pr_err!(
            "({}): cannot mount read-write: unsupported features: {}\n",
            sb.id(),
            ro_compat
        );
        // Not EROFS, which mount(8) would take as a hint to try read-only by itself: as ext2 and ext4 do.
        return Err(EINVAL);
    }
    Ok(true)
}

/// The superblock's buffer, and where it begins in it.
fn buffer(sb: &SuperBlock) -> Result<(Buffer<'_>, usize)> {
    let (block, off) = sb.data().place;
    Ok((sb.bread(block)?, off))
}

/// The superblock as the disk has it.
pub(super) fn read(sb: &SuperBlock) -> Result<RawSuperBlock> {
    let (buffer, off) = buffer(sb)?;
    buffer.get(off).or_report(sb, At::SuperBlock)
}

/// Writes free counts, time and state to the superblock's buffer.
fn write_super(sb: &SuperBlock, state: u16) -> Result<Buffer<'_>> {
    let data = sb.data();
    let state = data.with_error(state);
    let (free_blocks, free_inodes) = {
        let space = data.space.lock();
        // CAST: both fit, as sums over groups of a filesystem whose totals are 32 bits wide.
        (space.free_blocks as u32, space.free_inodes as u32)
    };
    update_super(sb, |raw| {
        raw.free_blocks_count = U32::new(free_blocks);
        raw.free_inodes_count = U32::new(free_inodes);
        raw.state = U16::new(state);
    })
}

/// Read-write from now on: not valid until unmount, one mount more.
fn mark_mounted(sb: &SuperBlock) -> Result {
    let data = sb.data();
    data.writable.store(true, Relaxed);
    update_super(sb, |raw| {
        // As it is now: e2fsck may have been here since a read-only mount.
        let state = raw.state.get();
        data.clean_state.store(u32::from(state), Relaxed);
        raw.state = U16::new(data.with_error(state & !superblock::STATE_VALID));
        raw.mnt_count = U16::new(raw.mnt_count.get().saturating_add(1));
        raw.mtime = U32::new(seconds());
    })?
    .sync()
}

/// `s_last_orphan`: the first inode of the orphan list, or 0.
pub(super) fn last_orphan(sb: &SuperBlock) -> Result<u32> {
    let (buffer, off) = buffer(sb)?;
    let raw: RawSuperBlock = buffer.get(off).or_report(sb, At::SuperBlock)?;
    Ok(raw.last_orphan.get())
}

/// Sets it. `SuperData::orphans` is held, unless nobody uses the filesystem yet.
pub(super) fn set_last_orphan(sb: &SuperBlock, ino: u32) -> Result {
    update_super(sb, |raw| raw.last_orphan = U32::new(ino)).map(drop)
}

/// Whether errors were on disk when the filesystem became writable.
pub(super) fn had_errors(sb: &SuperBlock) -> bool {
    sb.data().clean_state() & superblock::STATE_ERROR != 0
}

/// The first file of 2 GiB or more: readers that know no such files must not write here. C: the end of
/// `ext2_write_inode`.
pub(super) fn set_large_file(sb: &SuperBlock) -> Result {
    let (buffer, off) = buffer(sb)?;
    let raw: RawSuperBlock = buffer.get(off).or_report(sb, At::SuperBlock)?;
    drop(buffer);
    if raw.feature_ro_compat.get() & features::RO_COMPAT_LARGE_FILE != 0 {
        return Ok(());
    }
    update_super(sb, |raw| {
        let old = raw.feature_ro_compat.get();
        raw.feature_ro_compat = U32::new(old | features::RO_COMPAT_LARGE_FILE);
        have_features(raw);
    })
    .map(drop)
}

/// The first attribute. C: `ext4_xattr_update_super_block`.
pub(super) fn set_ext_attr(sb: &SuperBlock) -> Result {
    let (buffer, off) = buffer(sb)?;
    let compat: U32 = buffer
        .get(off.saturating_add(offset_of!(RawSuperBlock, feature_compat)))
        .or_report(sb, At::SuperBlock)?;
    drop(buffer);
    if compat.get() & features::COMPAT_EXT_ATTR != 0 {
        return Ok(());
    }
    update_super(sb, |raw| {
        let old = raw.feature_compat.get();
        raw.feature_compat = U32::new(old | features::COMPAT_EXT_ATTR);
        have_features(raw);
    })
    .map(drop)
}

/// Features exist from revision 1 on. C: `ext2_update_dynamic_rev`.
fn have_features(raw: &mut RawSuperBlock) {
    if raw.rev_level.get() == 0 {
        raw.rev_level = U32::new(1);
        raw.first_ino = U32::new(11);
        raw.inode_size = U16::new(crate::format::inode::RAW_INODE_SIZE);
    }
}

/// Changes fields of the superblock through a transaction. One at a time: `space` is held.
pub(super) fn update_super(
    sb: &SuperBlock,
    change: impl FnOnce(&mut RawSuperBlock),
) -> Result<Buffer<'_>> {
    Notblk::check_alive(sb)?;
    let transaction = Transaction::start(sb);
    let (buffer, off) = buffer(sb)?;
    let _one_at_a_time = sb.data().space.lock();
    let mut access = transaction.write(buffer);
    let mut raw: RawSuperBlock = access.get(off).or_report(sb, At::SuperBlock)?;
    if u32::from(raw.magic.get()) != MAGIC {
        return Err(error::report(
            sb,
            fmt!("superblock: overwritten while mounted"),
        ));
    }
    change(&mut raw);
    raw.wtime = U32::new(seconds());
    access.put(off, &raw).or_report(sb, At::SuperBlock)?;
    Ok(access.dirty())
}

/// Seconds since 1970, as 32 bits hold them.
pub(super) fn seconds() -> u32 {
    // CAST: the format's width.
    crate::vfs::super_block::real_seconds() as u32
}

/// C: `uuid_to_fsid`.
fn fold_uuid(uuid: [u8; 16]) -> [i32; 2] {
    let mut fsid = [0u8; 8];
    for (i, byte) in uuid.iter().enumerate() {
        if let Some(slot) = fsid.get_mut(i % 8) {
            *slot ^= byte;
        }
    }
    let [a, b, c, d, e, f, g, h] = fsid;
    [
        i32::from_le_bytes([a, b, c, d]),
        i32::from_le_bytes([e, f, g, h]),
    ]
}
