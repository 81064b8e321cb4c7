// SPDX-License-Identifier: GPL-2.0

//! Directory blocks, and their index.

use super::Input;
use notblk_format::corrupt::Corrupt;
use notblk_format::dir::{self, DirLayout, NAME_MAX};
use notblk_format::dx::{self, IndexLayout};
use notblk_format::hash::{HashInfo, Hasher, Version};
use notblk_format::leaf::{self, Item};
use notblk_format::superblock::RawSuperBlock;
use zerocopy::FromZeros;

/// A layout by the input's first bytes: not all sizes of blocks, for the sake of speed.
fn layout(input: &mut Input<'_>) -> DirLayout {
    let code = input.u8();
    let block_size = match code & 7 {
        0..=4 => 1024,
        5 | 6 => 4096,
        _ => 65_536,
    };
    DirLayout {
        block_size,
        inodes_count: if code & 8 == 0 { 64 } else { u32::MAX },
        filetype: code & 16 == 0,
    }
}

/// Whether all of the block can be walked.
fn is_sound(block: &[u8], layout: &DirLayout) -> bool {
    dir::entries(block, layout).all(|entry| entry.is_ok())
}

/// Whether all of a block can be walked from which an entry was removed. A `.` that has no `..` behind it, which only damage
/// can do, may have come to be the last: that is refused, in C too.
fn is_still_sound(block: &[u8], layout: &DirLayout) -> bool {
    dir::entries(block, layout)
        .all(|entry| matches!(entry, Ok(_) | Err(Corrupt::EntryDotLast { .. })))
}

/// A block of entries: what is found can be read; what is inserted is found, and no longer when it is removed; the block stays
/// sound.
pub fn directory(data: &[u8]) {
    let mut input = Input(data);
    let layout = layout(&mut input);
    let (name, offset, own) = (input.name(), input.u32(), input.u32());
    let mut block = input.block(layout.block_size as usize);
    let mut end = 0;
    let mut buf = [0; NAME_MAX];
    for entry in dir::entries(block.as_slice(), &layout) {
        let Ok(entry) = entry else { break };
        assert_eq!(entry.offset, end);
        assert!(entry.rec_len >= 12 && entry.end() <= layout.block_size);
        assert!(entry.inode <= layout.inodes_count);
        end = entry.end();
        if let Ok(name) = entry.read_name(block.as_slice(), &mut buf) {
            assert_eq!(name.len(), usize::from(entry.name_len));
        }
    }
    for first in [false, true] {
        let _ = dir::is_empty_block(block.as_slice(), &layout, own, first);
    }
    if let Ok(place) = dir::resync(block.as_slice(), &layout, offset) {
        assert!(place >= offset.min(layout.block_size) && place <= layout.block_size);
    }
    let _ = dir::room_for(block.as_slice(), &layout, &name);
    let was_sound = is_sound(&block, &layout);
    assert_eq!(was_sound, end == layout.block_size);
    if let Ok(Some(found)) = dir::find(block.as_slice(), &layout, &name) {
        let name_of = found.entry.read_name(block.as_slice(), &mut buf);
        assert_eq!(name_of, Ok(name.as_slice()));
        let _ = dir::set_ino(block.as_mut_slice(), &layout, &found.entry, own, 1);
        dir::remove(block.as_mut_slice(), &layout, &found).ok();
        assert!(is_still_sound(&block, &layout) || !was_sound);
        return;
    }
    let Ok(Some(slot)) = dir::find_room(block.as_slice(), &layout, name.len()) else {
        return;
    };
    dir::fill_slot(
        block.as_mut_slice(),
        &layout,
        &slot,
        &name,
        12,
        dir::FT_REG_FILE,
    )
    .expect("there is room");
    // A damaged block may be so behind the new entry, too.
    let found = dir::find(block.as_slice(), &layout, &name);
    if name != b"." {
        assert_eq!(is_sound(&block, &layout), was_sound);
        let found = found
            .expect("as far as it was sound")
            .expect("what was put in");
        assert_eq!(
            (found.entry.inode, found.entry.name_len),
            (12, name.len() as u8)
        );
        dir::remove(block.as_mut_slice(), &layout, &found).expect("what was found");
        assert!(is_still_sound(&block, &layout) || !was_sound);
    }
}

/// Index blocks: what is followed leads into the directory; splitting keeps all pairs.
pub fn index(data: &[u8]) {
    let mut input = Input(data);
    let dir_layout = layout(&mut input);
    let layout = IndexLayout {
        block_size: dir_layout.block_size,
        blocks: u32::from(input.u16()),
        checksums: input.u8() & 1 != 0,
    };
    let (hash, new_block) = (input.u32(), input.u32());
    let mut block = input.block(layout.block_size as usize);
    let root = dx::read_root(block.as_slice(), &layout);
    let node = dx::read_node(block.as_slice(), &layout);
    if let Ok(root) = &root {
        assert!(root.levels < dx::MAX_LEVELS);
    }
    let both = [root.map(|root| root.pairs), node];
    for mut pairs in both.into_iter().flatten() {
        assert!(pairs.count() > 0);
        for index in 0..pairs.count() {
            if let Ok(block) = pairs.block(block.as_slice(), &layout, index) {
                assert!(block > 0 && block < layout.blocks);
            }
        }
        let Ok(index) = pairs.search(block.as_slice(), hash) else {
            continue;
        };
        assert!(index < pairs.count());
        if let Ok(Some(begin)) = pairs.hash(block.as_slice(), index) {
            assert!(begin <= hash);
        }
        let count = pairs.count();
        if pairs.is_full() {
            assert!(pairs
                .insert(block.as_mut_slice(), index, hash, new_block)
                .is_err());
            let mut new = vec![0; layout.block_size as usize];
            if pairs
                .split(block.as_mut_slice(), &layout, new.as_mut_slice())
                .is_ok()
            {
                let moved = dx::read_node(new.as_slice(), &layout).expect("a node");
                assert_eq!(pairs.count() + moved.count(), count);
            }
        } else {
            pairs
                .insert(block.as_mut_slice(), index, hash, new_block)
                .expect("there is room");
            assert_eq!(pairs.count(), count + 1);
            assert_eq!(pairs.hash(block.as_slice(), index + 1), Ok(Some(hash)));
        }
    }
    if let Ok(mut root) = dx::read_root(block.as_slice(), &layout) {
        let count = root.pairs.count();
        let mut new = vec![0; layout.block_size as usize];
        if root
            .grow(block.as_mut_slice(), &layout, new.as_mut_slice(), new_block)
            .is_ok()
        {
            assert_eq!(root.pairs.count(), 1);
            // A root's array is never longer than a node's.
            assert_eq!(
                dx::read_node(new.as_slice(), &layout).map(|node| node.count()),
                Ok(count)
            );
        }
    }
}

/// A hash function by a number.
fn hasher(code: u8) -> Hasher {
    let mut raw = RawSuperBlock::new_zeroed();
    raw.def_hash_version = 1;
    let info = HashInfo::parse(&raw).expect("a known function");
    info.hasher(Version::from_disk(code % 3).expect("a known function"))
}

/// A block of entries that is split by hash: every name is in one half or the other, and in the right one.
pub fn split(data: &[u8]) {
    let mut input = Input(data);
    let layout = layout(&mut input);
    let hasher = hasher(input.u8());
    let block = input.block(layout.block_size as usize);
    let size = layout.block_size as usize;
    let mut items = vec![Item::default(); leaf::max_items(layout.block_size)];
    let (mut low, mut high) = (vec![0; size], vec![0; size]);
    let names = |block: &[u8]| -> Vec<Vec<u8>> {
        let mut buf = [0; NAME_MAX];
        dir::entries(block, &layout)
            .map(|entry| entry.expect("what was made is sound"))
            .filter(|entry| entry.inode != 0)
            .map(|entry| entry.read_name(block, &mut buf).expect("a name").to_vec())
            .collect()
    };
    if let Ok(split) = leaf::split(&block, &layout, &hasher, &mut items, &mut low, &mut high) {
        let (lower, upper) = (names(&low), names(&high));
        assert!(!lower.is_empty() && !upper.is_empty());
        assert!(lower
            .iter()
            .all(|name| hasher.hash(name).major <= split.from));
        assert!(upper
            .iter()
            .all(|name| hasher.hash(name).major >= split.from));
        let mut all = [lower, upper].concat();
        let mut before = names(&block);
        all.sort();
        before.sort();
        assert_eq!(all, before);
    }
    if leaf::move_out(&block, &layout, &hasher, &mut items, &mut low).is_ok() {
        assert_eq!(names(&low), names(&block)[2..]);
    }
}
