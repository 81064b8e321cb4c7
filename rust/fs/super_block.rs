// SPDX-License-Identifier: GPL-2.0

//! Mounting and the superblock. C: `fs/ext2/super.c`.

use super::{
    balloc::Run,
    counters::Counters,
    error::{self, At, OrReport},
    freeze, group, inode, jquota, limits,
    options::{Errors, Live, Options},
    orphan::{self, Orphans},
    project, quota,
    record::{self, Record},
    reserve::Windows,
    shutdown, xattr,
    zones::{self, Zones},
    Inode, Notblk, SuperBlock, Transaction,
};
use crate::{
    format::{
        block::{Block, BlockMut},
        corrupt::Corrupt,
        error_record, features,
        geometry::Geometry,
        hash::HashInfo,
        superblock::{self, RawSuperBlock},
        time,
    },
    vfs::{
        errno::EUCLEAN,
        fs_context::{Log, Value},
        hold::Gate,
        quota::Kind,
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
        new_mutex, new_spinlock, Mutex, SetOnce, SpinLock,
    },
};
use zerocopy::little_endian::{U16, U32, U64};

/// `f_type` and `s_magic`.
const MAGIC: u32 = 0xEF53;
/// The root directory's inode.
const ROOT_INO: u64 = 2;

/// What belongs to a mounted filesystem.
#[pin_data]
pub(crate) struct SuperData {
    /// Checked at mount, and constant after it.
    pub(super) geo: Geometry,
    /// Where metadata lies: as `geo`.
    pub(super) zones: Zones,
    /// Inode of the journal, or 0: as `geo`.
    pub(super) journal_ino: u32,
    /// Where the journal lies, if there is one: constant once the root directory has been read.
    pub(super) journal: SetOnce<zones::Journal>,
    /// How names are hashed in indexed directories: as `geo`.
    pub(super) hash: HashInfo,
    /// Mount options.
    pub(super) options: Live,
    /// Those about who may have how much.
    pub(super) limits: limits::Live,
    /// Protects bitmaps, group descriptors, and the counts of what is free. A spinlock, so that its owner has a processor:
    /// whoever waits for it waits for one change of a bitmap, and not for all who wait before to be scheduled.
    #[pin]
    pub(super) space: SpinLock<Space>,
    /// Protects which blocks of attributes may be shared, and how many inodes refer to each.
    #[pin]
    pub(super) sharing: Mutex<xattr::Sharing>,
    /// Held by the one who tells the device of free blocks, while it does. See [`Space::discarding`].
    #[pin]
    pub(super) discards: Mutex<()>,
    /// Protects the orphan list: the numbers here, `s_last_orphan`, `i_dtime` of the inodes on it.
    #[pin]
    pub(super) orphans: Mutex<Orphans>,
    #[pin]
    counters: debugfs::File<Counters>,
    #[pin]
    gate: debugfs::File<Gate>,
    /// `s_state` to leave behind at unmount, should nothing go wrong: as it was found.
    clean_state: Atomic<u32>,
    /// What the superblock wants done about damage.
    disk_errors: Errors,
    /// Whether it wants blocks discarded as they become free.
    discards_by_default: bool,
    /// Errors seen since mount.
    #[pin]
    pub(super) record: Record,
    /// Held while the superblock is changed in its buffer. Nothing is taken under it.
    #[pin]
    change: Mutex<()>,
    /// Protects what is known of failed writes to the device. See [`SuperBlock::device_failed`].
    #[pin]
    failed: Mutex<u32>,
    /// Where the superblock lies: block of the mounted block size, byte in it.
    pub(super) place: (u32, usize),
    /// Protects the names of quota files. Nothing is taken under it.
    #[pin]
    pub(super) named_quotas: Mutex<jquota::Named>,
    /// The hidden quota files, with the feature `quota`.
    pub(super) quota_files: Option<quota::Files>,
    /// Whether the filesystem has been shut down.
    pub(super) shutdown: shutdown::State,
    /// See [`freeze`].
    pub(super) frozen: Atomic<bool>,
    /// The mount point has been written to the superblock, or is too long.
    pub(super) mount_sampled: Atomic<bool>,
    /// Lifetime writes: `s_kbytes_written` as it was found, and what the device counted then in units of 512 bytes.
    written: (u64, u64),
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
    /// Free blocks that are kept for somebody.
    pub(super) windows: Windows,
    /// Free blocks that the device is being told of: nobody may have them meanwhile. `SuperData::discards` is held as long.
    pub(super) discarding: Option<Run>,
    /// How often blocks have become free: who looked for some and found none looks again if that was meanwhile.
    pub(super) returned_blocks: u64,
    /// The same for inodes.
    pub(super) returned_inodes: u64,
}

impl SuperData {
    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The hold points.
    #[inline]
    pub(super) fn gate(&self) -> &Gate {
        &self.gate
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
        if self.record.has_error() {
            state | superblock::STATE_ERROR
        } else {
            state
        }
    }
}

impl super_block::Operations for Notblk {
    fn options(sb: &SuperBlock) -> Options {
        Options {
            limits: sb.data().limits.get(),
            named_quotas: sb.data().named_quotas.lock().clone(),
            ..sb.data().options.get()
        }
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
        let at = options.limits.superblock_offset();
        let raw = read_raw(sb, at)?;
        let read_only_only = check_features(sb, &raw)?;
        let geo = Geometry::parse(&raw, sb.device_bytes()).map_err(|corrupt| {
            pr_err!("({}): cannot mount: {}\n", sb.id(), corrupt);
            EINVAL
        })?;
        let quota_files = quota::hidden_files(&raw);
        check_project_quota(sb.id(), raw.feature_ro_compat.get(), &options)?;
        check_named_quotas(sb.id(), quota_files.is_some(), &options, None)?;
        keep_named_quotas(quota_files.is_some(), &mut options);
        let hash = HashInfo::parse(&raw).ok_or_else(|| {
            pr_err!(
                "({}): cannot mount: unknown default hash function {}\n",
                sb.id(),
                raw.def_hash_version
            );
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
        let place = place_of(at, geo.block_size());
        // By a copy of the superblock means by the copies of the group descriptors behind it.
        let geo = geo.with_super_at(place.0);
        let (space, zones) = group::read_all(sb, &geo)?;
        let sharing = xattr::Sharing::new()?;
        let discards_by_default = raw.default_mount_opts.get() & superblock::DEFM_DISCARD != 0;
        let discard = *options.discard.get_or_insert(discards_by_default);
        if discard && sb.discard_granularity().is_none() {
            pr_warn!(
                "({}): mounted with discard, which the device cannot\n",
                sb.id()
            );
            options.discard = Some(false);
        }

        let state = raw.state.get();
        let names = options.named_quotas.clone();
        let dir = sb.type_data().subdir(sb.id().as_c_str());
        KBox::try_pin_init(
            try_pin_init!(SuperData {
                geo,
                zones,
                journal_ino: features::journal_inode(&raw),
                journal: SetOnce::new(),
                limits: limits::Live::new(&options.limits, &raw),
                hash,
                options: Live::new(&options),
                space <- new_spinlock!(space, "notblk::space"),
                sharing <- new_mutex!(sharing, "notblk::sharing"),
                discards <- new_mutex!((), "notblk::discards"),
                orphans <- new_mutex!(Orphans::new(), "notblk::orphans"),
                counters <- dir.read_only_file(c"counters", Counters::new()),
                gate <- dir.read_write_file(c"hold", Gate::new(sb.id(), sb.dev())),
                clean_state: Atomic::new(u32::from(state)),
                disk_errors: Errors::from_disk(raw.errors.get()),
                discards_by_default,
                record <- Record::new(),
                change <- new_mutex!((), "notblk::superblock"),
                failed <- new_mutex!(0, "notblk::failed"),
                place,
                shutdown: shutdown::State::new(),
                named_quotas <- new_mutex!(names, "notblk::named_quotas"),
                quota_files,
                frozen: Atomic::new(false),
                mount_sampled: Atomic::new(false),
                written: (raw.kbytes_written.get(), sb.sectors_written()),
                read_only_only,
                features_ro_compat: raw.feature_ro_compat.get(),
            }? Error),
            GFP_KERNEL,
        )
    }

    fn root(sb: &SuperBlock) -> Result<InodeRef<'_, Self>> {
        zones::protect_journal(sb)?;
        let root = inode::iget_special(sb, ROOT_INO).inspect_err(|e| {
            pr_err!(
                "({}): cannot mount: the root inode cannot be read: {e:?}\n",
                sb.id()
            );
        })?;
        if !root.is_dir() || root.size() == 0 || root.sectors() == 0 {
            pr_err!(
                "({}): cannot mount: the root inode is no directory\n",
                sb.id()
            );
            return Err(EUCLEAN);
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
        mark_mounted(sb)
    }

    fn recover(sb: &SuperBlock) {
        orphan::cleanup(sb);
    }

    fn reconfigure(sb: &SuperBlock, options: &Options, read_only: bool) -> Result {
        let data = sb.data();
        if sb.is_read_only() != read_only {
            // Shut down too it answers EROFS, as ext4.
            record::emergency_state(sb).map_err(|_| EROFS)?;
        }
        check_project_quota(sb.id(), data.features_ro_compat, options)?;
        let before = data.named_quotas.lock().clone();
        check_named_quotas(
            sb.id(),
            data.quota_files.is_some(),
            options,
            Some((&before, sb.quota_loaded())),
        )?;
        if options.limits.refuses_quotas() && sb.quota_loaded() {
            pr_err!("({}): noquota while quotas are on\n", sb.id());
            return Err(EINVAL);
        }
        match (sb.is_read_only(), read_only) {
            (false, true) => {
                write_state(sb, true)?;
            }
            (true, false) => {
                if data.read_only_only {
                    pr_err!(
                        "({}): cannot remount read-write: unsupported features, see above\n",
                        sb.id()
                    );
                    return Err(EROFS);
                }
                if !orphan::is_empty(sb) {
                    pr_err!(
                        "({}): cannot remount read-write: it was made read-only by force, with orphans; unmount it\n",
                        sb.id()
                    );
                    return Err(EINVAL);
                }
                mark_mounted(sb)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn set_options(sb: &SuperBlock, options: &Options) {
        let data = sb.data();
        let mut options = options.clone();
        keep_named_quotas(data.quota_files.is_some(), &mut options);
        let cannot = || sb.discard_granularity().is_none() || shutdown::is_down(sb);
        if options.discard == Some(true) && cannot() {
            options.discard = Some(false);
        }
        data.options.set(&options);
        data.limits.set(&options.limits);
        *data.named_quotas.lock() = options.named_quotas;
    }

    fn put_super(sb: &SuperBlock) {
        // After an emergency the state on disk stays as it is: not clean, with errors.
        if sb.is_read_only() || record::emergency_state(sb).is_err() {
            return;
        }
        if let Err(e) = write_state(sb, true) {
            pr_err!("({}): superblock not written at unmount: {e:?}\n", sb.id());
        }
    }

    fn sync_fs(sb: &SuperBlock, wait: bool) -> Result {
        record::emergency_state(sb)?;
        if sb.is_read_only() || freeze::is_frozen(sb) {
            return Ok(());
        }
        let then = orphan::now(sb);
        if wait {
            rewrite_lost(sb);
        }
        // Mounted: not valid until unmount says so.
        let buffer = write_super(sb, sb.data().clean_state() & !superblock::STATE_VALID)?;
        if wait {
            buffer.sync()?;
            // Inodes have reached their buffers by now, but not these the disk: VFS waits for them afterwards, and then nobody
            // flushes.
            sb.sync_device()?;
            sb.flush_device()?;
            if !has_failed(sb) {
                orphan::is_on_disk(sb, then);
            }
        }
        Ok(())
    }

    fn freeze(sb: &SuperBlock) -> Result {
        freeze::freeze(sb)
    }

    fn unfreeze(sb: &SuperBlock) -> Result {
        freeze::unfreeze(sb)
    }

    fn emergency_state(sb: &SuperBlock) -> Result {
        record::emergency_state(sb)
    }

    fn statfs(inode: &Inode) -> Result<StatFs> {
        let sb = inode.sb();
        let data = sb.data();
        let geo = &data.geo;
        let (blocks_free, inodes_free) = {
            let space = data.space.lock();
            (space.free_blocks, space.free_inodes)
        };
        let overhead = if data.limits.minixdf() {
            0
        } else {
            u64::from(geo.overhead_blocks()).saturating_add(data.journal_blocks())
        };
        let (buffer, off) = buffer(sb)?;
        let uuid: [u8; 16] = buffer
            .get(off.saturating_add(offset_of!(RawSuperBlock, uuid)))
            .or_report(sb, At::SuperBlock)?;
        let all = StatFs {
            magic: u64::from(MAGIC),
            block_size: geo.block_size(),
            blocks: u64::from(geo.blocks_count()).saturating_sub(overhead),
            blocks_free,
            blocks_available: blocks_free.saturating_sub(u64::from(geo.reserved_blocks())),
            inodes: u64::from(geo.inodes_count()),
            inodes_free,
            name_max: 255,
            fsid: fold_uuid(uuid),
        };
        Ok(project::limit(inode, all))
    }

    fn show_options(sb: &SuperBlock, m: &SeqFile) {
        let data = sb.data();
        let options = data.options.get();
        if let Some(discard) = options.discard.filter(|&on| on != data.discards_by_default) {
            seq_print!(m, ",{}", if discard { "discard" } else { "nodiscard" });
        }
        if shutdown::is_down(sb) {
            seq_print!(m, ",shutdown");
        }
        seq_print!(m, ",drain={}", if options.drain { "on" } else { "off" });
        if options.fallback_delay_ms != 0 {
            seq_print!(m, ",fallback_delay_ms={}", options.fallback_delay_ms);
        }
        if let Some(errors) = options.errors.filter(|&errors| errors != data.disk_errors) {
            seq_print!(m, ",errors={}", errors.name());
        }
        if sb.data().record.is_emergency_ro() {
            seq_print!(m, ",emergency_ro");
        }
        sb.data().limits.show(m);
        sb.data().named_quotas.lock().show(m);
    }

    fn write_inode(inode: &Inode) -> Result {
        let sb = inode.sb();
        record::emergency_state(sb)?;
        if sb.is_read_only() {
            // It could not be written before that, which has been told.
            return Ok(());
        }
        if freeze::is_frozen(sb) {
            return Err(EAGAIN);
        }
        let written = inode::write(inode);
        let before = &inode.data().not_written;
        match written {
            Ok(_) => before.store(false, Relaxed),
            // Whoever changed it has been told that it is changed. Once: it is tried again and again.
            Err(e) if !before.load(Relaxed) => {
                before.store(true, Relaxed);
                let at = At::Inode(inode.ino());
                error::report_failed(sb, e, at, fmt!("{at}: not written: {e:?}"));
            }
            Err(_) => {}
        }
        written.map(drop)
    }

    fn inode_buffer(inode: &Inode) -> Result<Buffer<'_>> {
        inode::buffer(inode.sb(), inode.ino()).map(|(buffer, _)| buffer)
    }

    fn shared_buffer(inode: &Inode) -> Option<Buffer<'_>> {
        xattr::shared_buffer(inode)
    }

    fn before_sync(inode: &Inode) -> Result {
        orphan::before_sync(inode)
    }

    fn new_name(inode: &Inode) -> Option<u32> {
        inode::new_name(inode)
    }

    fn has_name_on_disk(inode: &Inode, mark: u32) {
        inode::has_name_on_disk(inode, mark);
    }

    fn delete_inode(inode: &Inode) -> bool {
        !shutdown::is_down(inode.sb()) && inode::delete(inode)
    }

    fn forget_inode(inode: &Inode) {
        // Nobody else has it: there is no wait.
        if let Some(mut map) = inode.data().map.try_lock() {
            map.close_window(inode);
        }
    }

    fn free_ino(sb: &SuperBlock, ino: u64, was_dir: bool) {
        if shutdown::is_down(sb) {
            return;
        }
        super::ialloc::free(sb, ino, was_dir);
    }
}

/// Block and byte in it of a byte of the device at which a superblock begins.
pub(super) fn place_of(at: u64, block_size: u32) -> (u32, usize) {
    let block_size = u64::from(block_size.max(1));
    // CAST: 32 bits count KiB, and blocks are not smaller; and a byte in a block.
    ((at / block_size) as u32, (at % block_size) as usize)
}

/// Reads the superblock before its block size is known, and checks the magic number.
///
/// `at` is where it begins, in bytes.
fn read_raw(sb: &mut crate::vfs::SuperBlock<Notblk, New>, at: u64) -> Result<RawSuperBlock> {
    let size = sb.set_min_blocksize(1024)?;
    // CAST: a block size.
    let (block, off) = place_of(at, size as u32);
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
fn check_features(
    sb: &mut crate::vfs::SuperBlock<Notblk, New>,
    raw: &RawSuperBlock,
) -> Result<bool> {
    let too_new = raw.rev_level.get() > superblock::REV_DYNAMIC;
    if too_new || raw.feature_ro_compat.get() & features::RO_COMPAT_READONLY != 0 {
        if !sb.is_read_only() {
            let why = if too_new {
                "its revision is unknown"
            } else {
                "the feature read-only"
            };
            pr_info!("({}): mounted read-only: {why}\n", sb.id());
            sb.force_read_only();
        }
    }
    let incompat = features::unsupported_incompat(raw);
    if !incompat.is_empty() {
        pr_err!(
            "({}): cannot mount: unsupported features: {}\n",
            sb.id(),
            incompat
        );
        return Err(EINVAL);
    }
    let name = sb.type_name();
    // What tools know of ext2 ends here: quota(8), for one, does not look for hidden quota files in it.
    let foreign = features::not_of_ext2(raw);
    if (name == c"ext2" || name == c"ext3") && !sb.is_read_only() && !foreign.is_empty() {
        pr_err!(
            "({}): cannot mount read-write as {}: features: {}\n",
            sb.id(),
            name,
            foreign
        );
        return Err(EINVAL);
    }
    let ro_compat = features::unsupported_ro_compat(raw);
    let wants_quota = features::RO_COMPAT_QUOTA | features::RO_COMPAT_PROJECT;
    if !crate::vfs::quota::SUPPORTED && raw.feature_ro_compat.get() & wants_quota != 0 {
        if !sb.is_read_only() {
            pr_err!(
                "({}): cannot mount read-write: this kernel has no quotas\n",
                sb.id()
            );
            return Err(EINVAL);
        }
        return Ok(true);
    }
    if ro_compat.is_empty() {
        return Ok(too_new);
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

/// Limits of projects need projects. C: `ext4_check_quota_consistency`.
fn check_project_quota(id: super_block::Id, ro_compat: u32, options: &Options) -> Result {
    if options.limits.wants_project_quota() && ro_compat & features::RO_COMPAT_PROJECT == 0 {
        pr_err!("({id}): prjquota without the feature project\n");
        return Err(EINVAL);
    }
    Ok(())
}

/// Checks the names of quota files, `before` being those of the mount and whether quotas are on. Beside hidden files they have no
/// meaning.
fn check_named_quotas(
    id: super_block::Id,
    has_hidden_files: bool,
    options: &Options,
    before: Option<(&jquota::Named, bool)>,
) -> Result {
    if has_hidden_files {
        return Ok(());
    }
    let plain = options.limits.wants_quotas();
    options.named_quotas.check(plain, before).map_err(|why| {
        pr_err!("({id}): {why}\n");
        EINVAL
    })
}

/// Puts options that have been checked into the form that a mount keeps.
fn keep_named_quotas(has_hidden_files: bool, options: &mut Options) {
    if has_hidden_files {
        options.named_quotas = jquota::Named::default();
        return;
    }
    for kind in Kind::ALL {
        if options.named_quotas.has(kind) {
            options.limits.drop_quota(kind);
        }
    }
}

/// The superblock's buffer, and where it begins in it.
fn buffer(sb: &SuperBlock) -> Result<(Buffer<'_>, usize)> {
    let (block, off) = sb.data().place;
    Ok((sb.bread_keeping(block)?, off))
}

/// After writes of metadata have failed: what memory still has goes out with the sync that asks for it, and inodes do not keep
/// pointing to blocks that never reached the disk. ext4 leaves such blocks behind.
fn rewrite_lost(sb: &SuperBlock) {
    // Held until all is dirty: another sync at the same time must not go without it.
    let mut failed = sb.data().failed.lock();
    if sb.device_failed(&mut failed) {
        sb.redirty_lost();
    }
}

/// Writes the superblock, which says then that the filesystem is as it was before the mount, or is mounted (not `clean`),
/// and waits. It does not say the first of one of which the disk lacks something.
pub(super) fn write_state(sb: &SuperBlock, clean: bool) -> Result {
    let state = sb.data().clean_state();
    let in_use = state & !superblock::STATE_VALID;
    let state = if clean && is_all_on_disk(sb)? {
        state
    } else {
        in_use
    };
    write_super(sb, state)?.sync_through().inspect_err(|_| {
        // Whoever is refused goes on to use it, and the buffer goes out with the next change of the superblock.
        let _ = write_super(sb, in_use);
    })
}

/// Writes what the superblock is about to vouch for, which must not come after it. False where the disk refuses some of it, now
/// as before. (`ext4.ko` calls the filesystem clean then, unless it happens to look at what was lost.)
fn is_all_on_disk(sb: &SuperBlock) -> Result<bool> {
    let all = write_all(sb);
    if !all {
        pr_err!(
            "({}): metadata could not be written: e2fsck must look at it\n",
            sb.id()
        );
    }
    sb.flush_device()?;
    Ok(all)
}

/// Writes all metadata that is in buffers, also what the disk has refused before, and waits. False where it refuses some.
pub(super) fn write_all(sb: &SuperBlock) -> bool {
    rewrite_lost(sb);
    // Its own error may be one of which somebody has been told, and which has been mended since.
    let _ = sb.sync_device();
    !has_failed(sb)
}

/// Whether writes to the device have failed since [`rewrite_lost`]. The next one sees that too, and tries again.
fn has_failed(sb: &SuperBlock) -> bool {
    let mut seen = *sb.data().failed.lock();
    sb.device_failed(&mut seen)
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

/// Read-write from now on: not valid until unmount, one mount more. C: `ext4_setup_super`.
fn mark_mounted(sb: &SuperBlock) -> Result {
    let data = sb.data();
    let mut found = None;
    update_super(sb, |raw| {
        // As it is now: e2fsck may have been here since a read-only mount.
        found = Some(*raw);
        let state = raw.state.get();
        data.clean_state.store(u32::from(state), Relaxed);
        raw.state = U16::new(data.with_error(state & !superblock::STATE_VALID));
        if raw.max_mnt_count.get() == 0 {
            raw.max_mnt_count = U16::new(superblock::DFL_MAX_MNT_COUNT);
        }
        raw.mnt_count = U16::new(raw.mnt_count.get().saturating_add(1));
        (raw.mtime, raw.mtime_hi) = error_record::split_time(time());
        if data.hash.dir_index && data.hash.unsaid {
            // So that other machines hash as we do.
            raw.flags = U32::new(raw.flags.get() | superblock::FLAGS_UNSIGNED_HASH);
        }
    })?
    .sync_through()?;
    if let Some(reason) = found.as_ref().and_then(reason_to_check) {
        pr_warn!(
            "({}): warning: {reason}, running e2fsck is recommended\n",
            sb.id()
        );
    }
    Ok(())
}

/// Why e2fsck should look at a filesystem that is being mounted, if it should. In the words of ext4, for who looks for them.
fn reason_to_check(raw: &RawSuperBlock) -> Option<&'static str> {
    let state = raw.state.get();
    // CAST: a signed number: none of 0 and less is a limit.
    let max_mounts = raw.max_mnt_count.get() as i16;
    let interval = u64::from(raw.checkinterval.get());
    let checked = error_record::join_time(raw.lastcheck, raw.lastcheck_hi);
    if state & superblock::STATE_VALID == 0 {
        Some("mounting unchecked fs")
    } else if state & superblock::STATE_ERROR != 0 {
        Some("mounting fs with errors")
    } else if max_mounts > 0 && raw.mnt_count.get() >= raw.max_mnt_count.get() {
        Some("maximal mount count reached")
    } else if interval != 0 && checked.saturating_add(interval) <= time() {
        Some("checktime reached")
    } else {
        None
    }
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

/// Bytes of `s_last_mounted`.
pub(super) const LAST_MOUNTED_LEN: usize = 64;

/// Writes the mount point to the superblock, with the next sync.
pub(super) fn set_last_mounted(sb: &SuperBlock, text: [u8; LAST_MOUNTED_LEN]) -> Result {
    update_super(sb, |raw| raw.last_mounted = text).map(drop)
}

/// Writes the errors that the superblock does not know yet, and waits.
///
/// # Errors
///
/// `EIO`, `ENOMEM`; `EUCLEAN` where the superblock itself is damaged, which is not reported: the caller is a report.
pub(super) fn write_errors(sb: &SuperBlock) -> Result {
    match change_super(sb, |raw| {
        raw.state = U16::new(sb.data().with_error(raw.state.get()));
    })? {
        Ok(buffer) => buffer.sync_through(),
        Err(_) => Err(EUCLEAN),
    }
}

/// Changes fields of the superblock; damage is reported.
pub(super) fn update_super(
    sb: &SuperBlock,
    change: impl FnOnce(&mut RawSuperBlock),
) -> Result<Buffer<'_>> {
    Notblk::check_alive(sb)?;
    change_super(sb, change)?.or_report(sb, At::SuperBlock)
}

/// Changes fields of the superblock through a transaction, and with them what changes every time. C: `ext4_update_super`.
///
/// # Errors
///
/// The inner one is damage, unreported.
fn change_super(
    sb: &SuperBlock,
    change: impl FnOnce(&mut RawSuperBlock),
) -> Result<Result<Buffer<'_>, Corrupt>> {
    let data = sb.data();
    let transaction = Transaction::start(sb);
    let (buffer, off) = buffer(sb)?;
    let _one_at_a_time = data.change.lock();
    let mut raw: RawSuperBlock = match buffer.get(off) {
        Ok(raw) => raw,
        Err(corrupt) => return Ok(Err(corrupt)),
    };
    let found = raw.magic.get();
    if found != superblock::MAGIC {
        return Ok(Err(Corrupt::BadMagic { found }));
    }
    change(&mut raw);
    data.record.store(&mut raw);
    if !sb.is_read_only() {
        (raw.wtime, raw.wtime_hi) = error_record::split_time(time());
    }
    let (kbytes, sectors) = data.written;
    let kbytes = kbytes.saturating_add(sb.sectors_written().saturating_sub(sectors) / 2);
    raw.kbytes_written = U64::new(kbytes);
    let mut access = transaction.write(buffer);
    Ok(access.put(off, &raw).map(|()| access.dirty()))
}

/// Seconds since 1970; 0 before.
pub(super) fn time() -> u64 {
    u64::try_from(crate::vfs::super_block::real_seconds()).unwrap_or(0)
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
