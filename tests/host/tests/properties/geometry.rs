// SPDX-License-Identifier: GPL-2.0

//! The superblock's check: each kind of damage is named, and nothing that passes can panic later.

use notblk_format::corrupt::Corrupt;
use notblk_format::features::{
    COMPAT_SPARSE_SUPER2, RO_COMPAT_EXTRA_ISIZE, RO_COMPAT_SPARSE_SUPER,
};
use notblk_format::geometry::Geometry;
use notblk_format::group::RawGroupDesc;
use notblk_format::superblock::{RawSuperBlock, MAGIC};
use proptest::prelude::*;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

const DEVICE: u64 = 1 << 40;

/// A sound superblock: three groups, the last one short.
fn sound(log: u32) -> RawSuperBlock {
    let mut raw = RawSuperBlock::new_zeroed();
    let block_size = 1024 << log;
    raw.magic.set(MAGIC);
    raw.log_block_size.set(log);
    raw.log_frag_size.set(log);
    raw.rev_level.set(1);
    raw.inode_size.set(256);
    raw.first_ino.set(11);
    raw.inodes_per_group.set(2048);
    raw.inodes_count.set(3 * 2048);
    raw.blocks_per_group.set(block_size * 8);
    raw.frags_per_group.set(block_size * 8);
    raw.first_data_block.set(u32::from(log == 0));
    raw.blocks_count
        .set(block_size * 16 + 3000 + u32::from(log == 0));
    raw.r_blocks_count.set(100);
    raw.feature_incompat.set(0x2);
    raw.feature_ro_compat.set(0x3);
    raw
}

fn parse(change: impl FnOnce(&mut RawSuperBlock)) -> Result<Geometry, Corrupt> {
    let mut raw = sound(0);
    change(&mut raw);
    Geometry::parse(&raw, DEVICE)
}

#[test]
fn sound_superblocks() {
    for log in 0..=6 {
        let geo = Geometry::parse(&sound(log), DEVICE).expect("sound");
        assert_eq!(geo.block_size(), 1024 << log);
        assert_eq!(geo.block_bits(), 10 + log);
        assert_eq!(geo.ptrs_per_block(), 256 << log);
        assert_eq!(1 << geo.ptrs_bits(), geo.ptrs_per_block());
        assert_eq!(geo.group_count(), 3);
        assert_eq!(geo.group_blocks(1), 8192 << log);
        assert_eq!(geo.group_blocks(2), 3000);
        assert_eq!(geo.group_blocks(3), 0);
        assert_eq!(geo.desc_blocks(), 1);
        assert_eq!(geo.inode_table_blocks(), 512 >> log);
        assert_eq!(geo.reserved_blocks(), 100);
        assert_eq!(geo.extra_isize_wanted(), 32);
        assert!(geo.has_filetype() && geo.sparse_super() && geo.large_file());
    }
}

/// One change each, and what it is called.
#[test]
fn each_damage_has_its_name() {
    use Corrupt as C;
    type Change = fn(&mut RawSuperBlock);
    type Kind = fn(&Corrupt) -> bool;
    let table: [(Change, Kind); 19] = [
        (
            |r| r.magic.set(0xef54),
            |e| matches!(e, C::BadMagic { found: 0xef54 }),
        ),
        (
            |r| r.log_block_size.set(7),
            |e| matches!(e, C::BlockSize { log: 7 }),
        ),
        (
            |r| r.log_frag_size.set(1),
            |e| matches!(e, C::FragmentSize { .. }),
        ),
        (
            |r| r.frags_per_group.set(8),
            |e| matches!(e, C::FragmentsPerGroup { .. }),
        ),
        (
            |r| r.inode_size.set(64),
            |e| matches!(e, C::InodeSize { found: 64, .. }),
        ),
        (
            |r| r.inode_size.set(384),
            |e| matches!(e, C::InodeSize { found: 384, .. }),
        ),
        (
            |r| r.inode_size.set(2048),
            |e| matches!(e, C::InodeSize { found: 2048, .. }),
        ),
        (
            |r| r.first_ino.set(10),
            |e| matches!(e, C::FirstInode { found: 10, .. }),
        ),
        (
            |r| r.first_ino.set(6145),
            |e| matches!(e, C::FirstInode { .. }),
        ),
        (
            |r| r.blocks_per_group.set(0),
            |e| matches!(e, C::BlocksPerGroup { found: 0, .. }),
        ),
        (
            |r| r.blocks_per_group.set(8193),
            |e| matches!(e, C::BlocksPerGroup { .. }),
        ),
        (
            |r| {
                r.blocks_per_group.set(512);
                r.frags_per_group.set(512)
            },
            |e| matches!(e, C::GroupTooSmall { .. }),
        ),
        (
            |r| r.inodes_per_group.set(0),
            |e| matches!(e, C::InodesPerGroup { .. }),
        ),
        (
            |r| r.inodes_per_group.set(2049),
            |e| matches!(e, C::InodesPerGroup { .. }),
        ),
        (
            |r| r.first_data_block.set(0),
            |e| matches!(e, C::FirstDataBlock { .. }),
        ),
        (
            |r| r.blocks_count.set(1),
            |e| matches!(e, C::FirstDataBlock { .. }),
        ),
        (
            |r| r.r_blocks_count.set(u32::MAX),
            |e| matches!(e, C::ReservedBlocks { .. }),
        ),
        (
            |r| r.inodes_count.set(6143),
            |e| matches!(e, C::InodesCount { computed: 6144, .. }),
        ),
        (
            |r| r.reserved_gdt_blocks.set(257),
            |e| matches!(e, C::ReservedGdtBlocks { .. }),
        ),
    ];
    for (i, (change, kind)) in table.into_iter().enumerate() {
        let error = parse(change).expect_err("damaged");
        assert!(kind(&error), "change {i}: {error:?}");
        let text = error.to_string();
        assert!(!text.is_empty() && !text.contains('\n'), "{text}");
    }
    let too_small = Geometry::parse(&sound(0), (19385 << 10) - 1);
    let expected = C::DeviceTooSmall {
        blocks_count: 19385,
        device_blocks: 19384,
    };
    assert_eq!(too_small, Err(expected));
    assert!(Geometry::parse(&sound(0), 19385 << 10).is_ok());
}

/// So many groups that their descriptors outgrow the first one.
#[test]
fn descriptors_fit_the_first_group() {
    let error = parse(|r| {
        r.inode_size.set(128);
        r.inodes_per_group.set(8);
        r.blocks_per_group.set(8);
        r.frags_per_group.set(8);
        r.blocks_count.set(1 + 8 * 1000);
        r.inodes_count.set(8 * 1000);
    });
    let expected = Corrupt::DescriptorTable {
        blocks: 32,
        group_blocks: 8,
    };
    assert_eq!(error, Err(expected));
}

#[test]
fn original_revision() {
    let geo = parse(|r| {
        r.rev_level.set(0);
        r.inode_size.set(0);
        r.first_ino.set(0);
    });
    let geo = geo.expect("sound");
    assert_eq!((geo.inode_size(), geo.first_ino()), (128, 11));
    assert_eq!(geo.extra_isize_wanted(), 0);
}

#[test]
fn extra_size_of_new_inodes() {
    let wanted = |want: u16, min: u16| {
        parse(|r| {
            r.feature_ro_compat.set(RO_COMPAT_EXTRA_ISIZE);
            r.want_extra_isize.set(want);
            r.min_extra_isize.set(min);
        })
        .map(|geo| geo.extra_isize_wanted())
    };
    for (want, min) in [(0, 0), (28, 24), (24, 28), (32, 32)] {
        assert_eq!(wanted(want, min), Ok(32));
    }
    assert_eq!(wanted(64, 32), Ok(64));
    assert_eq!(wanted(32, 128), Ok(128));
    for found in [30, 132, 0xffff] {
        let inode_size = 256;
        let refused = Err(Corrupt::ExtraIsize { found, inode_size });
        assert_eq!(wanted(found, 0), refused);
        assert_eq!(wanted(0, found), refused);
    }
}

#[test]
fn copies_of_the_superblock() {
    let copies = |features: u32| -> Vec<u32> {
        let geo = parse(|r| r.feature_ro_compat.set(features)).expect("sound");
        (0..400).filter(|&g| geo.group_has_super(g)).collect()
    };
    let sparse = [0, 1, 3, 5, 7, 9, 25, 27, 49, 81, 125, 243, 343];
    assert_eq!(copies(RO_COMPAT_SPARSE_SUPER), sparse);
    assert_eq!(copies(0), (0..400).collect::<Vec<_>>());
    // Two groups by name; the rest is as if the feature were the only one.
    for (groups, wanted) in [
        ([1, 399], vec![0, 1, 399]),
        ([7, 0], vec![0, 7]),
        ([0, 0], vec![0]),
    ] {
        let geo = parse(|r| {
            r.feature_ro_compat.set(RO_COMPAT_SPARSE_SUPER);
            r.feature_compat.set(COMPAT_SPARSE_SUPER2);
            r.backup_bgs = groups.map(U32::new);
        })
        .expect("sound");
        let found: Vec<u32> = (0..400).filter(|&g| geo.group_has_super(g)).collect();
        assert_eq!(found, wanted);
        assert_eq!(
            u64::from(geo.overhead_blocks()),
            slow_overhead(&geo).min(u64::from(geo.blocks_count()))
        );
    }
}

/// The limits that the C driver of ext2 gives for 1, 2 and 4 KiB; larger blocks are limited by
/// 32-bit sectors alone.
#[test]
fn largest_files() {
    let sizes: Vec<u64> = (0..=6)
        .map(|log| Geometry::parse(&sound(log), DEVICE).expect("sound"))
        .map(|geo| geo.max_file_size())
        .collect();
    assert_eq!(sizes[0], 17_247_252_480);
    assert_eq!(sizes[1], 275_415_851_008);
    assert_eq!(sizes[2], 2_196_873_666_560);
    assert!(sizes[3..]
        .iter()
        .all(|&size| size > sizes[2] && size < 1 << 41));
}

/// A dense file of the largest size and its indirect blocks can be counted in `i_blocks`.
#[test]
fn largest_files_can_be_counted() {
    for log in 0..=6 {
        let geo = Geometry::parse(&sound(log), DEVICE).expect("sound");
        let ptrs = u64::from(geo.ptrs_per_block());
        let blocks = geo.max_file_size() >> geo.block_bits();
        let last = u32::try_from(blocks - 1).expect("addressable");
        assert!(notblk_format::indirect::path(last, geo.ptrs_bits()).is_ok());

        let mut indirect = 0;
        let single = blocks.saturating_sub(12).min(ptrs);
        let double = blocks.saturating_sub(12 + ptrs).min(ptrs * ptrs);
        let triple = blocks.saturating_sub(12 + ptrs + ptrs * ptrs);
        indirect += single.div_ceil(ptrs);
        indirect += double.div_ceil(ptrs) + double.div_ceil(ptrs * ptrs);
        indirect += triple.div_ceil(ptrs)
            + triple.div_ceil(ptrs * ptrs)
            + triple.div_ceil(ptrs * ptrs * ptrs);
        let sectors = (blocks + indirect) << (geo.block_bits() - 9);
        assert!(sectors <= u64::from(u32::MAX), "log {log}: {sectors}");
    }
}

/// Overhead, counted group by group.
fn slow_overhead(geo: &Geometry) -> u64 {
    (0..geo.group_count())
        .map(|group| {
            let copies = u64::from(geo.group_has_super(group))
                * u64::from(1 + geo.desc_blocks() + geo.reserved_gdt_blocks());
            copies + 2 + u64::from(geo.inode_table_blocks())
        })
        .sum::<u64>()
        + u64::from(geo.first_data_block())
}

/// Uses everything that a geometry offers, with arguments in and out of range.
fn exercise(geo: &Geometry, a: u32, b: u32) -> Result<(), TestCaseError> {
    prop_assert!(geo.max_file_size() > 0);
    prop_assert!(geo.overhead_blocks() <= geo.blocks_count());
    if geo.group_count() < 10_000 {
        let expected = slow_overhead(geo).min(u64::from(geo.blocks_count()));
        prop_assert_eq!(u64::from(geo.overhead_blocks()), expected);
    }
    let blocks = u64::from(geo.group_first_block(geo.group_count() - 1))
        + u64::from(geo.group_blocks(geo.group_count() - 1));
    prop_assert_eq!(blocks, u64::from(geo.blocks_count()));

    let last = geo.inodes_count();
    let edges = [0, 2, 11, geo.first_ino() - 1, last, last.saturating_add(1)];
    for ino in edges.into_iter().chain([a, a % last]) {
        let valid = ino == 2 || (geo.first_ino() <= ino && ino <= geo.inodes_count());
        match geo.inode_group(ino) {
            Ok((group, index)) => {
                prop_assert!(valid);
                prop_assert_eq!(geo.ino(group, index), Ok(ino));
                prop_assert!(geo.group_desc_at(group).is_ok());
                if let Ok((block, offset)) = geo.inode_at(b, index) {
                    prop_assert!(block < geo.blocks_count());
                    let end = offset as u32 + u32::from(geo.inode_size());
                    prop_assert!(end <= geo.block_size());
                }
            }
            Err(_) => prop_assert!(!valid),
        }
        // Reserved ones too, and the same for all others.
        let any = geo.any_inode_group(ino);
        prop_assert_eq!(any.is_ok(), (1..=last).contains(&ino));
        if valid {
            prop_assert_eq!(any, geo.inode_group(ino));
        }
    }
    for block in [a, b % geo.blocks_count(), geo.blocks_count(), 0, 1] {
        let valid = geo.first_data_block() <= block && block < geo.blocks_count();
        match geo.block_group(block) {
            Ok((group, bit)) => {
                prop_assert!(valid);
                prop_assert!(bit < geo.group_blocks(group));
                prop_assert_eq!(geo.group_first_block(group) + bit, block);
            }
            Err(_) => prop_assert!(!valid),
        }
        let data = valid && block != geo.first_data_block();
        prop_assert_eq!(geo.check_data_block(block).is_ok(), data);
        prop_assert_eq!(geo.check_run(block, 1).is_ok(), data);
        prop_assert!(geo.check_run(block, 0).is_err());
        let fits = data && u64::from(block) + u64::from(b) <= u64::from(geo.blocks_count());
        prop_assert_eq!(geo.check_run(block, b).is_ok(), fits && b > 0);
    }
    for group in [a, a % geo.group_count(), geo.group_count()] {
        let valid = group < geo.group_count();
        prop_assert_eq!(geo.group_desc_at(group).is_ok(), valid);
        prop_assert_eq!(geo.ino(group, 0).is_ok(), valid);
        prop_assert!(geo.ino(group, geo.inodes_per_group()).is_err());
        let second = geo.backup_groups().is_none() && group == 1;
        prop_assert!(geo.group_has_super(group) || (group != 0 && !second));
        if let Ok((block, offset)) = geo.group_desc_at(group) {
            prop_assert!(offset + 32 <= geo.block_size() as usize);
            prop_assert!(block > geo.first_data_block());
            prop_assert!(block < geo.first_data_block() + geo.group_blocks(0));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// A few bytes of a sound superblock changed: most of them where it matters.
    #[test]
    fn damaged_superblocks_do_not_panic(
        log in 0_u32..7,
        changes in prop::collection::vec(
            (prop_oneof![3 => 0_usize..0x68, 1 => 0_usize..1024], any::<u8>()), 0..4,
        ),
        device in prop_oneof![Just(DEVICE), any::<u64>()],
        a: u32, b: u32,
    ) {
        let mut raw = sound(log);
        for (at, byte) in changes {
            raw.as_mut_bytes()[at] = byte;
        }
        if let Ok(geo) = Geometry::parse(&raw, device) {
            exercise(&geo, a, b)?;
        }
    }

    /// Superblocks whose numbers agree, at the limits of what they may be.
    #[test]
    fn odd_shapes_agree_with_themselves(
        log in 0_u32..7, inode_log in any::<u32>(), table in 1_u32..200, bpg in 8_u32..=u32::MAX,
        groups in prop_oneof![1_u32..40, 1_u32..200_000], last in 1_u32..=u32::MAX,
        a: u32, b: u32, features in 0_u32..4,
    ) {
        let block_bits = 10 + log;
        let inode_log = 7 + inode_log % (block_bits.min(15) - 6);
        let max = 8_u32 << block_bits;
        let bpg = 8 + bpg % (max - 7);
        let ipg = (table << (block_bits - inode_log)).next_multiple_of(8);
        let groups = groups.min((u32::MAX - 1) / bpg).min(u32::MAX / ipg);
        let mut raw = sound(log);
        raw.inode_size.set(1 << inode_log);
        raw.blocks_per_group.set(bpg);
        raw.frags_per_group.set(bpg);
        raw.inodes_per_group.set(ipg);
        raw.feature_ro_compat.set(features);
        raw.blocks_count.set((groups - 1) * bpg + last % bpg + 1 + u32::from(log == 0));
        raw.inodes_count.set(groups * ipg);
        raw.r_blocks_count.set(0);
        match Geometry::parse(&raw, u64::MAX) {
            Ok(geo) => exercise(&geo, a, b)?,
            Err(e) => prop_assert!(matches!(e,
                Corrupt::GroupTooSmall { .. } | Corrupt::DescriptorTable { .. }
                | Corrupt::InodesPerGroup { .. } | Corrupt::FirstInode { .. }), "{:?}", e),
        }
    }

    #[test]
    fn arbitrary_group_descriptors(bytes: [u8; 32], place in 0_u32..20_000, group in 0_u32..5) {
        let geo = Geometry::parse(&sound(0), DEVICE).expect("sound");
        let mut desc = RawGroupDesc::read_from_bytes(&bytes).expect("32 bytes");
        // Random words are always far outside; these are near.
        desc.block_bitmap.set(place);
        desc.inode_bitmap.set(place + u32::from(bytes[4] % 4));
        desc.inode_table.set(place + u32::from(bytes[8] % 4));
        let (first, blocks) = (geo.group_first_block(group), geo.group_blocks(group));
        match desc.check(&geo, group) {
            Ok(()) => {
                let inside = |block: u32, n: u32| block >= first && block + n <= first + blocks;
                prop_assert!(group < 3);
                prop_assert!(inside(desc.block_bitmap.get(), 1));
                prop_assert!(inside(desc.inode_bitmap.get(), 1));
                prop_assert!(inside(desc.inode_table.get(), geo.inode_table_blocks()));
                prop_assert!(u32::from(desc.free_blocks_count.get()) <= blocks);
            }
            Err(e) => prop_assert!(!e.to_string().is_empty()),
        }
    }
}

/// A sound descriptor passes; each part out of place is named.
#[test]
fn group_descriptors() {
    let geo = Geometry::parse(&sound(0), DEVICE).expect("sound");
    let check = |group: u32, change: &dyn Fn(&mut RawGroupDesc)| {
        let first = geo.group_first_block(group);
        let mut desc = RawGroupDesc::new_zeroed();
        desc.block_bitmap.set(first + 2);
        desc.inode_bitmap.set(first + 3);
        desc.inode_table.set(first + 4);
        desc.free_blocks_count.set(2000);
        desc.free_inodes_count.set(2000);
        desc.used_dirs_count.set(48);
        change(&mut desc);
        desc.check(&geo, group)
    };
    for group in 0..3 {
        assert_eq!(check(group, &|_| ()), Ok(()));
    }
    let past = 8193;
    assert_eq!(
        check(0, &|d| d.block_bitmap.set(past)),
        Err(Corrupt::BlockBitmapLocation {
            group: 0,
            block: past
        })
    );
    assert_eq!(
        check(0, &|d| d.inode_bitmap.set(2)),
        Err(Corrupt::InodeBitmapLocation { group: 0, block: 2 }),
        "among the descriptors"
    );
    assert_eq!(
        check(0, &|d| d.inode_table.set(past - 511)),
        Err(Corrupt::InodeTableLocation {
            group: 0,
            block: past - 511
        })
    );
    assert_eq!(check(0, &|d| d.inode_table.set(past - 512)), Ok(()));
    assert_eq!(
        check(1, &|d| d.inode_bitmap.set(d.block_bitmap.get())),
        Err(Corrupt::GroupOverlap { group: 1 })
    );
    assert_eq!(
        check(1, &|d| d.block_bitmap.set(d.inode_table.get() + 511)),
        Err(Corrupt::GroupOverlap { group: 1 })
    );
    assert_eq!(
        check(1, &|d| d.inode_bitmap.set(d.inode_table.get())),
        Err(Corrupt::GroupOverlap { group: 1 })
    );
    assert_eq!(
        check(2, &|d| d.free_blocks_count.set(3001)),
        Err(Corrupt::GroupFreeBlocks {
            group: 2,
            free: 3001,
            blocks: 3000
        })
    );
    assert_eq!(
        check(2, &|d| d.used_dirs_count.set(49)),
        Err(Corrupt::GroupInodes {
            group: 2,
            free: 2000,
            dirs: 49,
            inodes: 2048
        })
    );
    assert_eq!(
        RawGroupDesc::new_zeroed().check(&geo, 3),
        Err(Corrupt::GroupNumber {
            group: 3,
            group_count: 3
        })
    );
}
