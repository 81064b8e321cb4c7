// SPDX-License-Identifier: GPL-2.0

//! The zones of metadata: any block is found in them or not, as a plain search finds it.

use notblk_format::corrupt::Corrupt;
use notblk_format::geometry::Geometry;
use notblk_format::group::RawGroupDesc;
use notblk_format::superblock::{RawSuperBlock, MAGIC};
use notblk_format::zones::{of_group, overlaps, Zone};
use proptest::prelude::*;
use zerocopy::FromZeros;

const fn zone(start: u32, end: u32) -> Zone {
    Zone { start, end }
}

/// Five groups of 1 KiB blocks: 8192 blocks each, the last one short.
fn geometry(reserved: u16) -> Geometry {
    let mut raw = RawSuperBlock::new_zeroed();
    raw.magic.set(MAGIC);
    raw.rev_level.set(1);
    raw.inode_size.set(256);
    raw.first_ino.set(11);
    raw.inodes_per_group.set(2048);
    raw.inodes_count.set(5 * 2048);
    raw.blocks_per_group.set(8192);
    raw.frags_per_group.set(8192);
    raw.first_data_block.set(1);
    raw.blocks_count.set(1 + 4 * 8192 + 3000);
    raw.reserved_gdt_blocks.set(reserved);
    raw.feature_incompat.set(0x2);
    raw.feature_ro_compat.set(0x1);
    Geometry::parse(&raw, 1 << 40).expect("sound")
}

fn desc(block_bitmap: u32, inode_bitmap: u32, inode_table: u32) -> RawGroupDesc {
    let mut desc = RawGroupDesc::new_zeroed();
    desc.block_bitmap.set(block_bitmap);
    desc.inode_bitmap.set(inode_bitmap);
    desc.inode_table.set(inode_table);
    desc
}

#[test]
fn zones_of_groups() {
    let geo = geometry(255);
    assert_eq!(geo.base_meta_blocks(0), 257);
    assert_eq!(
        of_group(&geo, 0, &desc(258, 259, 260)),
        [zone(1, 258), zone(258, 259), zone(259, 260), zone(260, 772)]
    );
    // No copy of the superblock, and the table first.
    let first = 1 + 2 * 8192;
    assert_eq!(geo.base_meta_blocks(2), 0);
    let zones = of_group(&geo, 2, &desc(first + 600, first + 700, first + 1));
    assert!(zones.contains(&zone(first, first)));
    let apart: Vec<_> = zones.into_iter().filter(|z| z.start < z.end).collect();
    assert_eq!(
        apart,
        [
            zone(first + 1, first + 513),
            zone(first + 600, first + 601),
            zone(first + 700, first + 701),
        ]
    );
    // A damaged descriptor yields some zones, and no panic.
    let zones = of_group(&geo, 4, &desc(u32::MAX, 0, u32::MAX - 1));
    assert_eq!(zones[3], zone(u32::MAX, u32::MAX));
}

#[test]
fn joining() {
    let mut last = zone(10, 20);
    assert_eq!(last.join(zone(20, 25)), Ok(true));
    assert_eq!(last, zone(10, 25));
    assert_eq!(last.join(zone(26, 30)), Ok(false));
    // What is empty belongs to any.
    assert_eq!(last.join(zone(12, 12)), Ok(true));
    assert_eq!(last, zone(10, 25));
    for block in [0, 10, 24] {
        assert_eq!(
            last.join(zone(block, 40)),
            Err(Corrupt::MetadataOverlap { block })
        );
    }
    assert_eq!(last.join(zone(u32::MAX - 1, u32::MAX)), Ok(false));
}

#[test]
fn extremes() {
    let zones = [zone(1, 2), zone(u32::MAX - 1, u32::MAX)];
    assert!(!overlaps(&[], 0, u32::MAX));
    assert!(overlaps(&zones, 0, u32::MAX));
    assert!(overlaps(&zones, 1, 1) && !overlaps(&zones, 0, 1) && !overlaps(&zones, 2, 1));
    assert!(!overlaps(&zones, 2, u32::MAX - 3) && overlaps(&zones, 2, u32::MAX - 2));
    assert!(overlaps(&zones, u32::MAX - 1, u32::MAX));
    assert!(!overlaps(&zones, u32::MAX, u32::MAX));
    assert!(!overlaps(&zones, 1, 0) && !overlaps(&zones, u32::MAX, 0));
}

proptest! {
    /// Zones from gaps and lengths, joined as at mount; then every block asked for.
    #[test]
    fn against_a_plain_search(
        pieces in prop::collection::vec((0_u32..6, 0_u32..6), 0..40), base in prop_oneof![0_u32..4, Just(u32::MAX - 600)],
        start in 0_u32..500, count in 0_u32..20,
    ) {
        let mut all = Vec::new();
        let mut zones: Vec<Zone> = Vec::new();
        let mut at = base;
        for (gap, len) in pieces {
            let next = zone(at + gap, at + gap + len);
            at = next.end;
            all.push(next);
            let apart = match zones.last_mut() {
                Some(last) => !last.join(next).expect("in order"),
                None => next.start < next.end,
            };
            if apart {
                zones.push(next);
            }
        }
        prop_assert!(zones.windows(2).all(|pair| pair[0].end < pair[1].start));
        let start = base.saturating_add(start);
        let range = u64::from(start)..u64::from(start) + u64::from(count);
        let expected = all
            .iter()
            .flat_map(|zone| zone.start..zone.end)
            .any(|block| range.contains(&u64::from(block)));
        prop_assert_eq!(overlaps(&zones, start, count), expected);
    }
}
