// SPDX-License-Identifier: GPL-2.0

//! Sparse files with data at, and holes instead of, every level of the block map.

use crate::tools::{Scratch, SHAPES};
use notblk_format::geometry::Geometry;
use notblk_format::indirect;
use notblk_host_tests::{Image, Mapping};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file: what stands in which file block, and its size.
struct Sparse {
    blocks: BTreeMap<u32, Vec<u8>>,
    size: u64,
}

/// Bytes that no other block has, none of them zero: the tools make zeros a hole.
fn pattern(file: u32, lblk: u32, len: usize) -> Vec<u8> {
    let mut state = u64::from(file) << 32 | u64::from(lblk);
    let mut byte = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8 | 1
    };
    (0..len).map(|_| byte()).collect()
}

/// The file number `set`: bit 0 puts data among the direct blocks, bit 1 under the indirect
/// block, bit 2 under the double and bit 3 under the triple one. So over all numbers each subtree
/// is there and missing in every combination.
fn sparse(geo: &Geometry, set: u32) -> Sparse {
    let block_size = u64::from(geo.block_size());
    let last_block = (geo.max_file_size() / block_size) as u32 - 1;
    let mut blocks = BTreeMap::new();
    let mut first = 0;
    for level in 0..4 {
        let count = match level {
            0 => 12,
            _ => indirect::span(level, geo.ptrs_bits()),
        };
        let last = u32::try_from(first + count - 1).unwrap_or(u32::MAX);
        let last = last.min(last_block);
        let start = first as u32;
        if set >> level & 1 == 1 {
            // The ends, two neighbours in the middle, and next to both of them a hole.
            let middle = start + (last - start) / 2;
            for lblk in [start, middle, middle + 1, last] {
                blocks.insert(lblk, pattern(set, lblk, block_size as usize));
            }
        }
        first += count;
    }
    let mut size = blocks
        .last_key_value()
        .map_or(0, |(&lblk, _)| (u64::from(lblk) + 1) * block_size);
    if set & 1 == 0 {
        // A hole up to the largest size, behind whatever there is.
        size = geo.max_file_size();
    } else if let Some(mut last) = blocks.last_entry() {
        // A part of the last block.
        size -= 77;
        last.get_mut()[block_size as usize - 77..].fill(0);
    }
    Sparse { blocks, size }
}

impl Sparse {
    fn write_to(&self, path: &Path, block_size: u32) {
        let file = File::create(path).expect("source");
        for (&lblk, bytes) in &self.blocks {
            let at = u64::from(lblk) * u64::from(block_size);
            file.write_all_at(bytes, at).expect("room for a few blocks");
        }
        file.set_len(self.size).expect("a sparse file of this size");
    }

    /// Blocks used, indirect ones included.
    fn used_blocks(&self, geo: &Geometry) -> usize {
        let mut ways = BTreeSet::new();
        for &lblk in self.blocks.keys() {
            let path = indirect::path(lblk, geo.ptrs_bits()).expect("addressable");
            for depth in 1..=path.depth {
                ways.insert(path.offsets[..depth].to_vec());
            }
        }
        ways.len()
    }
}

fn compare(image: &Image, name: &str, expected: &Sparse) {
    let geo = image.geometry();
    let ino = image.lookup_path(name).expect("sound").expect("written");
    let inode = image.inode(ino).expect("valid");
    assert_eq!(inode.size(), expected.size, "{name}");
    let sectors = expected.used_blocks(geo) as u32 * (geo.block_size() / 512);
    assert_eq!(inode.blocks_lo.get(), sectors, "{name}");

    let found = image.data_blocks(&inode).expect("sound");
    let lblks: Vec<u32> = found.iter().map(|&(lblk, _)| lblk).collect();
    let expected_lblks: Vec<u32> = expected.blocks.keys().copied().collect();
    assert_eq!(lblks, expected_lblks, "{name}");
    for (lblk, block) in found {
        let bytes = image.block(block).expect("inside");
        assert!(bytes == expected.blocks[&lblk], "{name}: block {lblk}");
        // A way of its own to each neighbour, not only in the order of the blocks.
        for near in [lblk.saturating_sub(1), lblk + 1] {
            let data = match image.map(&inode, near) {
                Ok(mapping) => matches!(mapping, Mapping::Data(_)),
                Err(_) => false,
            };
            assert_eq!(data, expected.blocks.contains_key(&near), "{name}: {near}");
        }
    }
}

#[test]
fn holes_at_every_level() {
    for (block_size, inode_size) in SHAPES {
        let scratch = Scratch::new(block_size, inode_size, 8192, &[]);
        let geo = *scratch.open().geometry();
        let files: Vec<Sparse> = (0..16).map(|set| sparse(&geo, set)).collect();
        let mut commands = Vec::new();
        for (set, file) in files.iter().enumerate() {
            let source = scratch.path(&format!("source{set}"));
            file.write_to(&source, block_size);
            commands.push(format!("write {} f{set}", source.display()));
        }
        scratch.debugfs(&commands);
        scratch.fsck();

        let image = scratch.open();
        for (set, file) in files.iter().enumerate() {
            compare(&image, &format!("/f{set}"), file);
        }
        // The cases are what they are meant to be: every subtree missing beside data.
        assert!(files[0].blocks.is_empty() && files[15].blocks.len() == 16);
        assert!(files[8].blocks.keys().all(|&lblk| {
            let path = indirect::path(lblk, geo.ptrs_bits()).expect("addressable");
            path.offsets[0] as usize == indirect::TIND
        }));
        assert!(files[8].size > 16 << 30);
    }
}

/// A file without holes, through the first two levels, byte by byte.
#[test]
fn dense_file() {
    for (block_size, inode_size) in SHAPES {
        let scratch = Scratch::new(block_size, inode_size, 16384, &[]);
        let blocks = 12 + block_size / 4 + block_size / 4 + 3;
        let data = pattern(99, 0, (blocks * block_size) as usize - 5);
        let source = scratch.path("source");
        std::fs::write(&source, &data).expect("source");
        scratch.debugfs(&[format!("write {} f", source.display())]);
        let image = scratch.open();
        let ino = image.lookup_path("/f").expect("sound").expect("written");
        let inode = image.inode(ino).expect("valid");
        assert!(image.read(&inode).expect("sound") == data);
        assert_eq!(
            image.data_blocks(&inode).expect("sound").len(),
            blocks as usize
        );
    }
}

/// A pointer out of the filesystem is found at whichever level it is.
#[test]
fn wild_pointers() {
    let scratch = Scratch::new(1024, 128, 8192, &[]);
    let geo = *scratch.open().geometry();
    let file = sparse(&geo, 15);
    let source = scratch.path("source");
    file.write_to(&source, 1024);
    scratch.debugfs(&[format!("write {} f", source.display())]);
    let image = scratch.open();
    let ino = image.lookup_path("/f").expect("sound").expect("written");
    for (index, lblk) in [(0, 0), (12, 12), (13, 12 + 256), (14, 12 + 256 + 65536)] {
        for wild in [1, 8192, u32::MAX] {
            let mut inode = image.inode(ino).expect("valid");
            assert!(matches!(image.map(&inode, lblk), Ok(Mapping::Data(_))));
            inode.block[index].set(wild);
            match image.map(&inode, lblk) {
                Err(notblk_host_tests::Error::Corrupt(e)) => assert_eq!(
                    e,
                    notblk_format::corrupt::Corrupt::BlockNumber {
                        block: wild,
                        blocks_count: 8192
                    }
                ),
                other => panic!("{other:?}"),
            }
        }
    }
}
