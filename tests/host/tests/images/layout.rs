// SPDX-License-Identifier: GPL-2.0

//! Superblock, group descriptors and bitmaps against dumpe2fs; fields against debugfs.

use crate::tools::{Dump, Scratch, SHAPES};
use notblk_format::bitmap;
use notblk_format::corrupt::Corrupt;
use notblk_format::features;
use notblk_format::geometry::Geometry;
use notblk_format::superblock::{self, RawSuperBlock, SUPERBLOCK_OFFSET};
use notblk_host_tests::Image;
use std::fs;
use zerocopy::FromBytes;

/// Compares all that the image's geometry, descriptors and bitmaps say with dumpe2fs.
fn compare(image: &Image, dump: &Dump) {
    let geo = image.geometry();
    let raw = image.raw();
    let numbers = [
        ("Inode count", geo.inodes_count()),
        ("Block count", geo.blocks_count()),
        ("Reserved block count", geo.reserved_blocks()),
        ("Free blocks", raw.free_blocks_count.get()),
        ("Free inodes", raw.free_inodes_count.get()),
        ("First block", geo.first_data_block()),
        ("Block size", geo.block_size()),
        ("Blocks per group", geo.blocks_per_group()),
        ("Inodes per group", geo.inodes_per_group()),
        ("Inode blocks per group", geo.inode_table_blocks()),
    ];
    for (key, value) in numbers {
        assert_eq!(value, dump.number(key), "{key}");
    }
    let features: Vec<&str> = dump.text("Filesystem features").split(' ').collect();
    assert_eq!(geo.has_filetype(), features.contains(&"filetype"));
    assert_eq!(geo.sparse_super(), features.contains(&"sparse_super"));
    assert_eq!(geo.large_file(), features.contains(&"large_file"));
    assert!(features::unsupported_incompat(raw).is_empty());
    assert!(features::unsupported_ro_compat(raw).is_empty());
    if raw.rev_level.get() == superblock::REV_DYNAMIC {
        assert_eq!(geo.first_ino(), dump.number("First inode"));
        assert_eq!(u32::from(geo.inode_size()), dump.number("Inode size"));
    }

    assert_eq!(geo.group_count() as usize, dump.groups.len());
    for (group, dumped) in (0..).zip(&dump.groups) {
        let first = geo.group_first_block(group);
        let blocks = geo.group_blocks(group);
        assert_eq!((first, first + blocks - 1), dumped.blocks);
        assert_eq!(
            geo.group_has_super(group).then_some(first),
            dumped.superblock,
            "group {group}"
        );

        let desc = image.group_desc(group).expect("checked");
        assert_eq!(desc.block_bitmap.get(), dumped.block_bitmap);
        assert_eq!(desc.inode_bitmap.get(), dumped.inode_bitmap);
        let table = desc.inode_table.get();
        assert_eq!(
            (table, table + geo.inode_table_blocks() - 1),
            dumped.inode_table
        );
        let counts = (
            u32::from(desc.free_blocks_count.get()),
            u32::from(desc.free_inodes_count.get()),
            u32::from(desc.used_dirs_count.get()),
        );
        assert_eq!(counts, dumped.counts);

        let bits = image.block(dumped.block_bitmap).expect("inside");
        let bits = bits.as_slice();
        assert_eq!(bitmap::count_zeros(bits, blocks), Ok(counts.0));
        let free = zeros(bits, blocks).into_iter().map(|bit| first + bit);
        assert_eq!(free.collect::<Vec<_>>(), dumped.free_blocks);
        let bits = image.block(dumped.inode_bitmap).expect("inside");
        let bits = bits.as_slice();
        let inodes = geo.inodes_per_group();
        assert_eq!(bitmap::count_zeros(bits, inodes), Ok(counts.1));
        let free = zeros(bits, inodes).into_iter();
        let free = free.map(|bit| geo.ino(group, bit).expect("inside"));
        assert_eq!(free.collect::<Vec<_>>(), dumped.free_inodes);
    }
    let (desc_block, offset) = geo.group_desc_at(0).expect("there is a group");
    assert_eq!((Some(desc_block), 0), (dump.groups[0].descriptors, offset));

    // With the room for more descriptors.
    assert_eq!(geo.overhead_blocks(), dump.number("Overhead clusters"));
}

/// All clear bits, found run by run.
fn zeros(bits: &[u8], end: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = bitmap::find_zero(bits, at, end).expect("inside") {
        let len = bitmap::zero_run(bits, start, end).expect("inside");
        found.extend(start..start + len);
        at = start + len;
    }
    found
}

#[test]
fn defaults() {
    for (block_size, inode_size) in SHAPES {
        let scratch = Scratch::new(block_size, inode_size, 20_000, &[]);
        let image = scratch.open();
        compare(&image, &scratch.dumpe2fs());
        let extra = if inode_size == 128 { 0 } else { 32 };
        assert_eq!(image.geometry().extra_isize_wanted(), extra);
    }
}

/// Small groups, so that there are many, the last one short.
#[test]
fn many_groups() {
    for (block_size, inode_size) in SHAPES {
        let scratch = Scratch::new(block_size, inode_size, 61_000, &["-g", "2048"]);
        compare(&scratch.open(), &scratch.dumpe2fs());
    }
}

#[test]
fn other_layouts() {
    let layouts: [(&[&str], u32); 5] = [
        (
            &[
                "-b",
                "4096",
                "-I",
                "1024",
                "-O",
                "^filetype,^sparse_super,^resize_inode",
            ],
            40_000,
        ),
        (&["-b", "1024", "-I", "1024", "-N", "5000"], 30_000),
        (&["-b", "8192"], 9000),
        (&["-b", "16384", "-g", "512"], 4000),
        (&["-b", "65536"], 1000),
    ];
    for (options, blocks) in layouts {
        let scratch = Scratch::with_options("ext2", options, blocks);
        compare(&scratch.open(), &scratch.dumpe2fs());
    }
}

#[test]
fn original_revision() {
    let options = ["-b", "1024", "-I", "128", "-O", "none"];
    let scratch = Scratch::with_options("ext2", &options, 30_000).into_original_revision();
    scratch.fsck();
    compare(&scratch.open(), &scratch.dumpe2fs());
}

/// An image that lost its end.
#[test]
fn shorter_device() {
    let scratch = Scratch::new(1024, 256, 20_000, &[]);
    let file = fs::OpenOptions::new().write(true).open(&scratch.image);
    let file = file.expect("image");
    file.set_len(20_000 * 1024 - 1).expect("truncated");
    match Image::open(&scratch.image) {
        Err(notblk_host_tests::Error::Corrupt(e)) => assert_eq!(
            e,
            Corrupt::DeviceTooSmall {
                blocks_count: 20_000,
                device_blocks: 19_999
            }
        ),
        other => panic!("{other:?}"),
    }
}

fn superblock_of(scratch: &Scratch) -> RawSuperBlock {
    let bytes = fs::read(&scratch.image).expect("image");
    let at = SUPERBLOCK_OFFSET as usize;
    let (raw, _) = RawSuperBlock::read_from_prefix(&bytes[at..]).expect("1024 bytes");
    raw
}

/// What ext4 adds is refused by the names that its tools print.
#[test]
fn features_of_ext4_are_named() {
    let options: &[&str] = &[
        "-O",
        "extent,64bit,flex_bg,inline_data,metadata_csum_seed,mmp,meta_bg,^resize_inode,large_dir,\
         ea_inode,casefold,encrypt,quota,project,verity,orphan_file",
    ];
    let scratch = Scratch::with_options("ext4", options, 20_000);
    let raw = superblock_of(&scratch);
    let dump = scratch.dumpe2fs();
    let printed: Vec<&str> = dump.text("Filesystem features").split(' ').collect();
    let names = |list: features::Names| -> Vec<String> {
        let list: Vec<String> = list.map(|name| name.to_string()).collect();
        for name in &list {
            // The one name that mke2fs takes in two spellings.
            let name = if name == "extents" { "extent" } else { name };
            assert!(printed.contains(&name), "{name} is not among {printed:?}");
        }
        list
    };
    let incompat = names(features::unsupported_incompat(&raw));
    let expected = [
        "meta_bg",
        "extents",
        "64bit",
        "mmp",
        "flex_bg",
        "ea_inode",
        "metadata_csum_seed",
        "large_dir",
        "inline_data",
        "encrypt",
        "casefold",
    ];
    assert_eq!(incompat, expected);
    let ro_compat = names(features::unsupported_ro_compat(&raw));
    let expected = ["huge_file", "metadata_csum", "verity"];
    assert_eq!(ro_compat, expected);
}

/// debugfs sets each field to a value of its own, which must be found under the same name.
#[test]
fn fields_of_the_superblock() {
    let scratch = Scratch::new(1024, 256, 20_000, &[]);
    let set = [
        ("mtime", "@0x01020304"),
        ("wtime", "@0x01020305"),
        ("mnt_count", "1001"),
        ("max_mnt_count", "1002"),
        ("state", "0"),
        ("errors", "3"),
        ("minor_rev_level", "1003"),
        ("lastcheck", "@0x01020306"),
        ("checkinterval", "1004"),
        ("creator_os", "3"),
        ("def_resuid", "1005"),
        ("def_resgid", "1006"),
        ("feature_compat", "0x1040"),
        ("uuid", "00112233-4455-6677-8899-aabbccddeeff"),
        ("volume_name", "a-volume"),
        ("last_mounted", "/a/mountpoint"),
        ("prealloc_blocks", "101"),
        ("prealloc_dir_blocks", "102"),
        ("journal_uuid", "ffeeddcc-bbaa-9988-7766-554433221100"),
        ("journal_inum", "1008"),
        ("journal_dev", "1009"),
        ("last_orphan", "1010"),
        ("hash_seed", "01000000-0200-0000-0300-000004000000"),
        ("def_hash_version", "tea"),
        ("jnl_backup_type", "103"),
        ("desc_size", "1011"),
        ("default_mount_opts", "0x0c"),
        ("first_meta_bg", "1012"),
        ("mkfs_time", "@0x01020307"),
        ("jnl_blocks[16]", "1013"),
        ("min_extra_isize", "28"),
        ("want_extra_isize", "32"),
        ("flags", "0x2"),
        ("raid_stride", "1014"),
        ("mmp_block", "1015"),
        ("raid_stripe_width", "1016"),
        ("log_groups_per_flex", "4"),
        ("kbytes_written", "1017"),
        ("error_count", "1018"),
        ("first_error_line", "1019"),
        ("last_error_line", "1020"),
        ("usr_quota_inum", "1021"),
        ("backup_bgs[1]", "1022"),
        ("checksum_seed", "1023"),
    ];
    let commands: Vec<String> = set
        .iter()
        .map(|(field, value)| format!("ssv {field} {value}"))
        .collect();
    scratch.debugfs(&commands);

    let raw = superblock_of(&scratch);
    let words = [
        (raw.mtime, 0x0102_0304),
        (raw.lastcheck, 0x0102_0306),
        (raw.checkinterval, 1004),
        (raw.creator_os, 3),
        (raw.feature_compat, 0x1040),
        (raw.journal_inum, 1008),
        (raw.journal_dev, 1009),
        (raw.last_orphan, 1010),
        (raw.hash_seed[0], 1),
        (raw.hash_seed[1], 2),
        (raw.hash_seed[2], 3),
        (raw.hash_seed[3], 4),
        (raw.default_mount_opts, 0x0c),
        (raw.first_meta_bg, 1012),
        (raw.mkfs_time, 0x0102_0307),
        (raw.jnl_blocks[16], 1013),
        (raw.flags, 2),
        (raw.raid_stripe_width, 1016),
        (raw.error_count, 1018),
        (raw.first_error_line, 1019),
        (raw.last_error_line, 1020),
        (raw.usr_quota_inum, 1021),
        (raw.backup_bgs[1], 1022),
        (raw.checksum_seed, 1023),
    ];
    for (i, (found, expected)) in words.into_iter().enumerate() {
        assert_eq!(found.get(), expected, "word {i}");
    }
    let halves = [
        (raw.mnt_count, 1001),
        (raw.max_mnt_count, 1002),
        (raw.errors, 3),
        (raw.minor_rev_level, 1003),
        (raw.def_resuid, 1005),
        (raw.def_resgid, 1006),
        (raw.desc_size, 1011),
        (raw.min_extra_isize, 28),
        (raw.want_extra_isize, 32),
        (raw.raid_stride, 1014),
    ];
    for (i, (found, expected)) in halves.into_iter().enumerate() {
        assert_eq!(found.get(), expected, "half {i}");
    }
    assert_eq!(raw.uuid[..2], [0x00, 0x11]);
    assert_eq!(&raw.volume_name[..9], b"a-volume\0");
    assert_eq!(&raw.last_mounted[..14], b"/a/mountpoint\0");
    assert_eq!((raw.prealloc_blocks, raw.prealloc_dir_blocks), (101, 102));
    assert_eq!(raw.journal_uuid[..2], [0xff, 0xee]);
    assert_eq!((raw.def_hash_version, raw.jnl_backup_type), (2, 103));
    assert_eq!(
        (raw.mmp_block.get(), raw.kbytes_written.get()),
        (1015, 1017)
    );
    assert_eq!(raw.log_groups_per_flex, 4);
    assert!(Geometry::parse(&raw, 20_000 * 1024).is_ok());

    // Without the feature there is no journal, whatever is said of its inode.
    assert_eq!(features::journal_inode(&raw), 0);
    let mut journalled = raw;
    journalled.feature_compat = (raw.feature_compat.get() | features::COMPAT_HAS_JOURNAL).into();
    assert_eq!(features::journal_inode(&journalled), 1008);

    // The offsets for partial updates name the same places.
    let bytes = fs::read(&scratch.image).expect("image");
    let at = |offset: usize, len: usize| {
        let start = SUPERBLOCK_OFFSET as usize + offset;
        &bytes[start..start + len]
    };
    assert_eq!(at(superblock::OFF_MTIME, 4), 0x0102_0304_u32.to_le_bytes());
    assert_eq!(at(superblock::OFF_WTIME, 4), raw.wtime.to_bytes());
    assert_eq!(at(superblock::OFF_MNT_COUNT, 2), 1001_u16.to_le_bytes());
    assert_eq!(at(superblock::OFF_STATE, 2), raw.state.to_bytes());
    assert_eq!(at(superblock::OFF_REV_LEVEL, 4), 1_u32.to_le_bytes());
    assert_eq!(
        at(superblock::OFF_FEATURE_RO_COMPAT, 4),
        3_u32.to_le_bytes()
    );
    assert_eq!(at(superblock::OFF_LAST_MOUNTED, 2), b"/a");
    assert_eq!(at(superblock::OFF_LAST_ORPHAN, 4), 1010_u32.to_le_bytes());
    assert_eq!(
        at(superblock::OFF_FREE_BLOCKS_COUNT, 4),
        raw.free_blocks_count.to_bytes()
    );
    assert_eq!(
        at(superblock::OFF_FREE_INODES_COUNT, 4),
        raw.free_inodes_count.to_bytes()
    );
}

/// The same for an inode.
#[test]
fn fields_of_an_inode() {
    let scratch = Scratch::new(1024, 256, 20_000, &[]);
    let source = scratch.path("source");
    fs::write(&source, "x").expect("source");
    let set = [
        ("mode", "0100640"),
        ("uid", "0x12345"),
        ("gid", "0x23456"),
        ("size", "0x123456789"),
        ("atime", "@0x01020301"),
        ("ctime", "@0x01020302"),
        ("mtime", "@0x01020303"),
        ("dtime", "@0x01020304"),
        ("links_count", "1001"),
        ("blocks", "1002"),
        ("flags", "0xc0"),
        ("version", "1003"),
        ("block[0]", "1004"),
        ("block[IND]", "1005"),
        ("block[DIND]", "1006"),
        ("block[TIND]", "1007"),
        ("generation", "1008"),
        ("file_acl", "1009"),
        ("faddr", "1010"),
        ("extra_isize", "28"),
        ("ctime_extra", "0x11"),
        ("mtime_extra", "0x12"),
        ("atime_extra", "0x13"),
        ("crtime", "@0x01020305"),
        ("crtime_extra", "0x14"),
        ("projid", "1011"),
    ];
    let write = format!("write {} f", source.display());
    let set = set.map(|(field, value)| format!("sif f {field} {value}"));
    let commands: Vec<String> = std::iter::once(write).chain(set).collect();
    scratch.debugfs(&commands);

    let image = scratch.open();
    let ino = image.lookup_path("/f").expect("sound").expect("written");
    let inode = image.inode(ino).expect("valid");
    assert_eq!(inode.mode.get(), 0o100640);
    assert_eq!((inode.uid(), inode.gid()), (0x12345, 0x23456));
    assert_eq!(inode.size(), 0x1_2345_6789);
    let words = [
        (inode.atime, 0x0102_0301),
        (inode.ctime, 0x0102_0302),
        (inode.mtime, 0x0102_0303),
        (inode.dtime, 0x0102_0304),
        (inode.blocks_lo, 1002),
        (inode.flags, 0xc0),
        (inode.version, 1003),
        (inode.block[0], 1004),
        (inode.block[12], 1005),
        (inode.block[13], 1006),
        (inode.block[14], 1007),
        (inode.generation, 1008),
        (inode.file_acl, 1009),
        (inode.faddr, 1010),
    ];
    for (i, (found, expected)) in words.into_iter().enumerate() {
        assert_eq!(found.get(), expected, "word {i}");
    }
    assert_eq!(inode.links_count.get(), 1001);
    let extra = image.inode_extra(ino).expect("fits").expect("256 bytes");
    assert_eq!(extra.extra_isize.get(), 28);
    assert_eq!(extra.used_ctime_extra().map(|w| w.get()), Some(0x11));
    assert_eq!(extra.used_mtime_extra().map(|w| w.get()), Some(0x12));
    assert_eq!(extra.used_atime_extra().map(|w| w.get()), Some(0x13));
    assert_eq!(
        (extra.crtime.get(), extra.crtime_extra.get()),
        (0x0102_0305, 0x14)
    );
    assert_eq!(extra.projid.get(), 1011);
    // Of the 28 bytes in use it is not one.
    assert_eq!(extra.used_projid(), None);
}
