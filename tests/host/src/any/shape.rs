// SPDX-License-Identifier: GPL-2.0

//! Superblock, group descriptors, inodes.

use super::Input;
use notblk_format::error_record::{ErrorRecord, Unrecorded};
use notblk_format::features;
use notblk_format::geometry::Geometry;
use notblk_format::group::RawGroupDesc;
use notblk_format::hash::HashInfo;
use notblk_format::inode::{RawInode, RawInodeExtra, RAW_INODE_SIZE};
use notblk_format::superblock::{RawSuperBlock, MAGIC};
use notblk_format::time;
use notblk_format::zones;
use notblk_format::{dev, inode as disk};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

/// A superblock: what is accepted describes a filesystem that can be.
pub fn superblock(data: &[u8]) {
    let mut input = Input(data);
    let device = u64::from(input.u32()) << 10;
    let mut raw = RawSuperBlock::read_from_bytes(&input.take::<1024>()).expect("1024 bytes");
    let _ = format!(
        "{}{}",
        features::unsupported_incompat(&raw),
        features::unsupported_ro_compat(&raw)
    );
    if let Some(hash) = HashInfo::parse(&raw) {
        for code in 0..=u8::MAX {
            if let Some(version) = notblk_format::hash::Version::from_disk(code) {
                let _ = hash.hasher(version).hash(data.get(..255).unwrap_or(data));
            }
        }
    }
    let mut errors = Unrecorded::NONE;
    errors.add(ErrorRecord {
        time: u64::MAX,
        ino: u32::MAX,
        block: u64::MAX,
        func: ErrorRecord::func(data),
        line: u32::MAX,
        code: u8::MAX,
    });
    errors.store(&mut raw);
    let Ok(geo) = Geometry::parse(&raw, device) else {
        return;
    };
    assert_eq!(raw.magic.get(), MAGIC);
    assert!(u64::from(geo.blocks_count()) << geo.block_bits() <= device);
    shape(&geo);
}

/// What is right of every geometry.
fn shape(geo: &Geometry) {
    assert!(geo.block_size().is_power_of_two() && (1024..=65_536).contains(&geo.block_size()));
    assert_eq!(geo.block_size(), 1 << geo.block_bits());
    assert_eq!(geo.ptrs_per_block(), 1 << geo.ptrs_bits());
    assert!(u32::from(geo.inode_size()) <= geo.block_size());
    assert!(geo.group_count() > 0 && geo.inodes_per_group() > 0 && geo.blocks_per_group() > 0);
    assert!(geo.overhead_blocks() <= geo.blocks_count());
    assert!(geo.reserved_blocks() <= geo.blocks_count());
    assert!(geo.max_file_size() > 0 && i64::try_from(geo.max_file_size()).is_ok());
    assert!(geo.extra_isize_wanted() <= geo.inode_size() - RAW_INODE_SIZE);
    let last = geo.group_count() - 1;
    for group in [0, 1, 2, last / 2, last]
        .into_iter()
        .filter(|&group| group <= last)
    {
        let (block, offset) = geo.group_desc_at(group).expect("a group that there is");
        assert!(block < geo.blocks_count() && offset + 32 <= geo.block_size() as usize);
        let (first, count) = (geo.group_first_block(group), geo.group_blocks(group));
        assert!(count > 0 && first + (count - 1) < geo.blocks_count());
        assert_eq!(geo.block_group(first), Ok((group, 0)));
        assert_eq!(geo.block_group(first + count - 1), Ok((group, count - 1)));
        for index in [0, geo.inodes_per_group() - 1] {
            let ino = geo.ino(group, index).expect("an inode that there is");
            assert_eq!(geo.any_inode_group(ino), Ok((group, index)));
            if let Ok((block, offset)) = geo.inode_at(first, index) {
                assert!(block < geo.blocks_count());
                assert!(offset + usize::from(geo.inode_size()) <= geo.block_size() as usize);
            }
        }
    }
    assert!(geo.group_desc_at(geo.group_count()).is_err());
    assert!(
        geo.any_inode_group(0).is_err()
            && geo
                .inode_group(geo.inodes_count().saturating_add(1))
                .is_err()
    );
    assert!(geo.check_data_block(geo.blocks_count()).is_err());
    assert!(
        geo.check_run(geo.blocks_count() - 1, 2).is_err()
            && geo.check_run(u32::MAX, u32::MAX).is_err()
    );
}

/// Group descriptors of a small filesystem: what is accepted lies in its group.
pub fn group(data: &[u8]) {
    let mut input = Input(data);
    let geo = small(&mut input);
    let Some(geo) = geo else { return };
    for group in 0..geo.group_count() {
        let desc = RawGroupDesc::read_from_bytes(&input.take::<32>()).expect("32 bytes");
        let found = zones::of_group(&geo, group, &desc);
        assert!(found.windows(2).all(|pair| pair[0].start <= pair[1].start));
        if desc.check(&geo, group).is_err() {
            continue;
        }
        let (first, count) = (geo.group_first_block(group), geo.group_blocks(group));
        let inside = |block: u32| first <= block && block - first < count;
        let table = desc.inode_table.get();
        assert!(inside(desc.block_bitmap.get()) && inside(desc.inode_bitmap.get()));
        assert!(inside(table) && inside(table + geo.inode_table_blocks() - 1));
        assert!(geo.inode_at(table, geo.inodes_per_group() - 1).is_ok());
        let mut run = found[0];
        for next in &found[1..] {
            match run.join(*next) {
                Ok(true) => {}
                Ok(false) => run = *next,
                Err(_) => break,
            }
        }
    }
    assert!(RawGroupDesc::new_zeroed()
        .check(&geo, geo.group_count())
        .is_err());
}

/// A filesystem whose shape comes from the input.
fn small(input: &mut Input<'_>) -> Option<Geometry> {
    let mut raw = RawSuperBlock::new_zeroed();
    let log = u32::from(input.u8() % 7);
    raw.magic.set(MAGIC);
    raw.rev_level.set(1);
    raw.log_block_size.set(log);
    raw.log_frag_size.set(log);
    raw.first_data_block.set(u32::from(log == 0));
    raw.inode_size.set(256);
    raw.first_ino.set(11);
    raw.feature_ro_compat.set(u32::from(input.u8()));
    raw.inodes_per_group.set(8 * u32::from(input.u8()));
    raw.blocks_per_group.set(u32::from(input.u16()));
    raw.frags_per_group = raw.blocks_per_group;
    raw.reserved_gdt_blocks.set(u16::from(input.u8()));
    let groups = 1 + u32::from(input.u8() % 8);
    raw.inodes_count.set(groups * raw.inodes_per_group.get());
    let blocks = groups * raw.blocks_per_group.get();
    raw.blocks_count
        .set(blocks.saturating_sub(u32::from(input.u8())));
    let geo = Geometry::parse(&raw, u64::MAX).ok()?;
    shape(&geo);
    Some(geo)
}

/// An inode: reading fields gives what writing them took.
pub fn inode(data: &[u8]) {
    let mut input = Input(data);
    let mut raw = RawInode::read_from_bytes(&input.take::<128>()).expect("128 bytes");
    let extra = RawInodeExtra::read_from_bytes(&input.take::<32>()).expect("32 bytes");
    let (uid, gid, size) = (raw.uid(), raw.gid(), raw.size());
    raw.set_uid(uid);
    raw.set_gid(gid);
    assert_eq!((raw.uid(), raw.gid(), raw.size()), (uid, gid, size));
    let (major, minor) = dev::decode(&raw.block);
    let again = dev::decode(&dev::encode(major, minor));
    assert_eq!(again, (major, minor));
    for inode_size in [128, 256, 1024] {
        if extra.check(inode_size).is_ok() {
            assert!(extra.extra_isize.get() <= inode_size - RAW_INODE_SIZE);
            assert!(extra.extra_isize.get().is_multiple_of(4));
        }
    }
    let times = [
        (raw.ctime, extra.used_ctime_extra()),
        (raw.mtime, extra.used_mtime_extra()),
        (raw.atime, extra.used_atime_extra()),
        extra.used_crtime().unwrap_or((U32::ZERO, None)),
    ];
    for (seconds, extra) in times {
        let decoded = time::decode(seconds, extra);
        assert!(
            (time::MIN..=time::MAX_EXTRA).contains(&decoded.sec) && decoded.nsec < 1_000_000_000
        );
        let (low, high) = time::encode(decoded);
        assert_eq!(time::decode(low, Some(high)), decoded);
    }
    let _ = (
        extra.used_version_hi(),
        disk::mask_flags(raw.mode.get(), raw.flags.get()),
    );
    let mut block = [0xaa; 160];
    raw.put(block.as_mut_slice(), 16).expect("there is room");
    let read = RawInode::read_from_bytes(&block[16..144]).expect("128 bytes");
    let without = |mut raw: RawInode| {
        raw.dtime = U32::ZERO;
        raw.as_bytes().to_vec()
    };
    assert_eq!(without(read), without(raw));
    assert!(raw.put(block.as_mut_slice(), 40).is_err());
}
