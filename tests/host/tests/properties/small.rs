// SPDX-License-Identifier: GPL-2.0

//! The small conversions: times, device numbers, sizes and owners, entry lengths.

use notblk_format::corrupt::Corrupt;
use notblk_format::inode::{RawInode, RawInodeExtra, S_IFDIR, S_IFREG};
use notblk_format::time::{self, DiskTime};
use notblk_format::{dev, dir};
use proptest::prelude::*;
use zerocopy::little_endian::U32;
use zerocopy::FromZeros;

/// The two epoch bits and the sign bit, as the format's documentation tabulates them.
#[test]
fn epochs() {
    let table: [(u32, u32, i64); 8] = [
        (0, 0x8000_0000, -0x8000_0000),
        (0, 0x7fff_ffff, 0x7fff_ffff),
        (1, 0x8000_0000, 0x8000_0000),
        (1, 0x7fff_ffff, 0x1_7fff_ffff),
        (2, 0x8000_0000, 0x1_8000_0000),
        (2, 0x7fff_ffff, 0x2_7fff_ffff),
        (3, 0x8000_0000, 0x2_8000_0000),
        (3, 0x7fff_ffff, 0x3_7fff_ffff),
    ];
    for (epoch, sec, expected) in table {
        let t = time::decode(U32::new(sec), Some(U32::new(epoch | 5 << 2)));
        let expected = DiskTime {
            sec: expected,
            nsec: 5,
        };
        assert_eq!(t, expected);
        assert_eq!(
            time::encode(t),
            (U32::new(sec), U32::new(epoch | 5 << 2)),
            "{t:?}"
        );
    }
    assert_eq!(time::MIN, -0x8000_0000);
    assert_eq!(time::MAX_BASE, 0x7fff_ffff);
    assert_eq!(time::MAX_EXTRA, 0x3_7fff_ffff);
}

proptest! {
    #[test]
    fn times_round_trip(sec in time::MIN..=time::MAX_EXTRA, nsec in 0_u32..1_000_000_000) {
        let t = DiskTime { sec, nsec };
        let (low, extra) = time::encode(t);
        prop_assert_eq!(time::decode(low, Some(extra)), t);
        let (sec, nsec) = (sec.min(time::MAX_BASE), 0);
        prop_assert_eq!(time::decode(time::encode_base(t), None), DiskTime { sec, nsec });
    }

    #[test]
    fn times_outside_become_the_nearest(sec: i64, nsec: u32) {
        let (low, extra) = time::encode(DiskTime { sec, nsec });
        let t = time::decode(low, Some(extra));
        prop_assert_eq!(t.sec, sec.clamp(time::MIN, time::MAX_EXTRA));
        prop_assert_eq!(t.nsec, nsec.min(999_999_999));
    }

    /// All bit patterns read as a time that is written back as the same one.
    #[test]
    fn any_time_on_disk_reads(low: u32, extra: u32) {
        let t = time::decode(U32::new(low), Some(U32::new(extra)));
        prop_assert!(t.nsec < 1_000_000_000);
        prop_assert!((time::MIN..=time::MAX_EXTRA).contains(&t.sec));
        let (low_again, extra_again) = time::encode(t);
        prop_assert_eq!(low_again.get(), low);
        prop_assert_eq!(extra_again.get() & 3, extra & 3);
    }

    #[test]
    fn devices_round_trip(major in 0_u32..4096, minor in 0_u32..1 << 20) {
        let block = dev::encode(major, minor);
        prop_assert_eq!(dev::decode(&block), (major, minor));
        prop_assert!(block[2..].iter().all(|word| word.get() == 0));
        let wide = major >= 256 || minor >= 256 || (major, minor) == (0, 0);
        prop_assert_eq!(block[0].get() == 0, wide);
    }

    #[test]
    fn any_device_on_disk_reads(old: u32, new: u32) {
        let mut block = [U32::ZERO; 15];
        block[0] = U32::new(old);
        block[1] = U32::new(new);
        let (major, minor) = dev::decode(&block);
        prop_assert!(major < 4096 && minor < 1 << 20);
    }

    #[test]
    fn halves_of_size_and_owner(size: u64, uid: u32, gid: u32) {
        let mut inode = RawInode::new_zeroed();
        inode.mode.set(S_IFREG | 0o644);
        inode.set_size(size);
        inode.set_uid(uid);
        inode.set_gid(gid);
        prop_assert_eq!((inode.size(), inode.uid(), inode.gid()), (size, uid, gid));
        prop_assert_eq!(inode.uid_lo.get(), uid as u16);
        prop_assert_eq!(inode.gid_hi.get(), (gid >> 16) as u16);
        inode.mode.set(S_IFDIR | 0o755);
        prop_assert_eq!(inode.size(), size & 0xffff_ffff);
    }

    /// Which times have their extra word depends on how much of the extra part is in use.
    #[test]
    fn extra_part(
        used in prop_oneof![0_u16..300, any::<u16>()],
        inode_size in prop_oneof![Just(128_u16), Just(256), Just(1024)],
    ) {
        let mut extra = RawInodeExtra::new_zeroed();
        extra.extra_isize.set(used);
        let fits = used % 4 == 0 && used <= inode_size - 128;
        let error = Corrupt::ExtraIsize { found: used, inode_size };
        prop_assert_eq!(extra.check(inode_size), if fits { Ok(()) } else { Err(error) });
        prop_assert_eq!(extra.used_ctime_extra().is_some(), used >= 8);
        prop_assert_eq!(extra.used_mtime_extra().is_some(), used >= 12);
        prop_assert_eq!(extra.used_atime_extra().is_some(), used >= 16);
        prop_assert_eq!(extra.used_projid().is_some(), used >= 32);
    }

    #[test]
    fn entry_lengths_round_trip(quarter in 3_u32..=16384, bits in 10_u32..=16) {
        let block_size = 1 << bits;
        let len = (quarter * 4).min(block_size);
        let raw = dir::encode_rec_len(len);
        prop_assert_eq!(dir::decode_rec_len(raw, block_size), len);
    }
}

#[test]
fn shortest_entries() {
    for (name, len) in [(1, 12), (4, 12), (5, 16), (8, 16), (252, 260), (255, 264)] {
        assert_eq!(dir::rec_len(name), len);
    }
    assert_eq!(dir::rec_len(usize::MAX), 264);
    assert_eq!(dir::encode_rec_len(65536).get(), 0xffff);
    assert_eq!(dir::decode_rec_len(0.into(), 65536), 65536);
    assert_eq!(dir::decode_rec_len(0.into(), 4096), 0);
    assert_eq!(dir::decode_rec_len(0xffff.into(), 4096), 0xffff);
}

#[test]
fn file_types() {
    let modes = [
        (0o100644, dir::FT_REG_FILE),
        (0o040755, dir::FT_DIR),
        (0o020600, dir::FT_CHRDEV),
        (0o060600, dir::FT_BLKDEV),
        (0o010600, dir::FT_FIFO),
        (0o140600, dir::FT_SOCK),
        (0o120777, dir::FT_SYMLINK),
        (0o000644, dir::FT_UNKNOWN),
    ];
    for (mode, expected) in modes {
        assert_eq!(dir::file_type(mode), expected, "{mode:o}");
    }
}

/// The words of flags, as `fs/ext4/ext4.h` adds them up; and which of them are for whom.
#[test]
fn inode_flags() {
    use notblk_format::inode::{
        mask_flags, FL_DIRSYNC, FL_INHERITED, FL_NODUMP, FL_SYNC, FL_USER_MODIFIABLE,
        FL_USER_VISIBLE, S_IFLNK,
    };
    assert_eq!(FL_USER_MODIFIABLE, 0x624b_c0ff);
    assert_eq!(FL_USER_VISIBLE, 0x725b_dfff);
    assert_eq!(FL_INHERITED, 0x6201_c4cf);
    let flags = FL_SYNC | FL_DIRSYNC | FL_NODUMP;
    assert_eq!(mask_flags(S_IFDIR | 0o755, flags), flags);
    assert_eq!(mask_flags(S_IFREG | 0o644, flags), FL_SYNC | FL_NODUMP);
    assert_eq!(mask_flags(S_IFLNK | 0o777, flags), FL_NODUMP);
}

/// The time of birth counts as far as the extra part reaches.
#[test]
fn birth_time_in_the_extra_part() {
    let mut extra = RawInodeExtra::new_zeroed();
    extra.crtime = U32::new(7);
    extra.crtime_extra = U32::new(8);
    for (size, expected) in [
        (16, None),
        (20, Some((U32::new(7), None))),
        (24, Some((U32::new(7), Some(U32::new(8))))),
    ] {
        extra.extra_isize.set(size);
        assert_eq!(extra.used_crtime(), expected, "{size}");
    }
}
