// SPDX-License-Identifier: GPL-2.0

//! Hashes, their positions, and splitting a block by them, against what must hold of any names.

use notblk_format::corrupt::Corrupt;
use notblk_format::dir::{self, DirLayout, NAME_MAX};
use notblk_format::dx::{self, IndexLayout};
use notblk_format::hash::{end_pos, Hash, HashInfo, Hasher, Version};
use notblk_format::leaf::{self, max_items, Item};
use notblk_format::sort::sort;
use notblk_format::superblock::{RawSuperBlock, FLAGS_SIGNED_HASH};
use proptest::prelude::*;
use std::collections::BTreeMap;
use zerocopy::little_endian::U32;
use zerocopy::FromZeros;

fn hasher(version: Version) -> Hasher {
    let mut raw = RawSuperBlock::new_zeroed();
    raw.flags = U32::new(FLAGS_SIGNED_HASH);
    raw.hash_seed = [1, 2, 3, 4].map(U32::new);
    HashInfo::parse(&raw).expect("version 0").hasher(version)
}

fn versions() -> impl Strategy<Value = Version> {
    prop_oneof![
        Just(Version::Legacy),
        Just(Version::HalfMd4),
        Just(Version::Tea)
    ]
}

/// A name without the bytes that none has, and neither of the dots.
fn names() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..=NAME_MAX).prop_map(|mut name| {
        for byte in &mut name {
            if matches!(*byte, 0 | b'/') {
                *byte = b'x';
            }
        }
        if matches!(name.as_slice(), b"." | b"..") {
            name.push(b'.');
        }
        name
    })
}

fn layout(block_size: u32) -> DirLayout {
    DirLayout {
        block_size,
        inodes_count: 5000,
        filetype: true,
    }
}

/// The names and inodes of a block.
fn list(block: &[u8], layout: &DirLayout) -> BTreeMap<Vec<u8>, u32> {
    let mut found = BTreeMap::new();
    let mut buf = [0; NAME_MAX];
    for entry in dir::entries(block, layout) {
        let entry = entry.expect("sound");
        if entry.inode != 0 {
            let name = entry.read_name(block, &mut buf).expect("sound").to_vec();
            assert!(found.insert(name, entry.inode).is_none(), "a name twice");
        }
    }
    found
}

/// Adds names until there is no room for one.
fn fill(block: &mut [u8], layout: &DirLayout, names: Vec<Vec<u8>>) -> usize {
    let mut count = 0;
    for (n, name) in names.into_iter().enumerate() {
        if dir::find(block, layout, &name).expect("sound").is_some() {
            continue;
        }
        let Some(slot) = dir::find_room(block, layout, name.len()).expect("sound") else {
            break;
        };
        dir::fill_slot(block, layout, &slot, &name, n as u32 + 1, dir::FT_REG_FILE).expect("room");
        count += 1;
    }
    count
}

proptest! {
    #[test]
    fn a_hash_has_a_position_before_the_end(version in versions(), name in names(), narrow: bool) {
        let hash = hasher(version).hash(&name);
        prop_assert_eq!(hash.major & 1, 0);
        prop_assert!(hash.to_pos(narrow) < end_pos(narrow));
        let back = Hash::from_pos(hash.to_pos(narrow), narrow);
        prop_assert_eq!(back.major, hash.major);
        prop_assert_eq!(back.minor, if narrow { 0 } else { hash.minor });
    }

    #[test]
    fn positions_have_the_order_of_hashes(a: (u32, u32), b: (u32, u32), narrow: bool) {
        let hash = |(major, minor): (u32, u32)| Hash { major: major & !1, minor };
        let (a, b) = (hash(a), hash(b));
        if a <= b {
            prop_assert!(a.to_pos(narrow) <= b.to_pos(narrow));
        }
        if !narrow {
            prop_assert_eq!(a.cmp(&b), a.to_pos(narrow).cmp(&b.to_pos(narrow)));
        }
    }

    #[test]
    fn sorted_is_sorted(mut items: Vec<u16>) {
        let mut expected = items.clone();
        expected.sort_unstable();
        sort(&mut items, |a, b| a < b);
        prop_assert_eq!(items, expected);
    }

    #[test]
    fn a_split_block_has_all_names_in_two_halves(
        version in versions(),
        all in prop::collection::vec(names(), 4..200),
        bits in 10..13_u32,
        gone in any::<u64>(),
    ) {
        let (layout, hasher) = (layout(1 << bits), hasher(version));
        let mut old = vec![0; 1 << bits];
        dir::init_empty(old.as_mut_slice(), &layout).expect("block size");
        fill(&mut old, &layout, all);
        // Some go again, so that there are gaps; never so many that nothing is left to part.
        for (n, name) in list(&old, &layout).into_keys().enumerate().skip(2) {
            if gone >> (n % 64) & 1 != 0 {
                let found = dir::find(old.as_slice(), &layout, &name).expect("sound").expect("there");
                dir::remove(old.as_mut_slice(), &layout, &found).expect("sound");
            }
        }
        let before = list(&old, &layout);
        prop_assume!(before.len() >= 2);

        let mut items = vec![Item::default(); max_items(layout.block_size)];
        let (mut low, mut high) = (vec![0xff; old.len()], vec![0xff; old.len()]);
        let split = leaf::split(&old, &layout, &hasher, &mut items, &mut low, &mut high)
            .expect("two names");
        let (lower, upper) = (list(&low, &layout), list(&high, &layout));
        prop_assert!(!lower.is_empty() && !upper.is_empty());
        let most = lower.keys().map(|name| hasher.hash(name).major).max().expect("not empty");
        let least = upper.keys().map(|name| hasher.hash(name).major).min().expect("not empty");
        prop_assert_eq!(split.from, least);
        prop_assert!(most <= least);
        prop_assert_eq!(split.index_hash, least | u32::from(most == least));
        let mut after = lower;
        after.extend(upper);
        prop_assert_eq!(after, before);
        // Any name fits into either.
        for half in [&low, &high] {
            let room = dir::find_room(half.as_slice(), &layout, NAME_MAX).expect("sound");
            prop_assert!(room.is_some());
        }
    }

    /// An index as a whole: blocks in a vector, leaves without entries, hashes as they come.
    #[test]
    fn an_index_finds_what_a_sorted_list_finds(
        hashes in prop::collection::vec(any::<u32>(), 1..400),
        asked in prop::collection::vec(any::<u32>(), 50),
    ) {
        let mut index = Index::new();
        let mut model = BTreeMap::from([(0, 1)]);
        for hash in hashes {
            let hash = hash & !1;
            model.entry(hash).or_insert_with(|| index.insert(hash));
        }
        for hash in asked.into_iter().chain(model.keys().copied()) {
            let expected = model.range(..=hash).next_back().expect("from 0 on").1;
            prop_assert_eq!(index.find(hash), *expected);
        }
    }

    /// What anybody may have written into the blocks is refused or gives a block of the directory.
    #[test]
    fn rubbish_leads_nowhere_else(
        at in 0..1024_usize,
        bytes in prop::collection::vec(any::<u8>(), 1..16),
        hash: u32,
        node: bool,
    ) {
        let mut index = Index::new();
        for n in 1..300 {
            index.insert(n * 1_000_000);
        }
        let block = if node { index.find_node(hash) } else { 0 };
        for (to, byte) in index.blocks[block].iter_mut().skip(at).zip(bytes) {
            *to = byte;
        }
        let layout = index.layout();
        if let Ok(found) = index.walk(hash) {
            prop_assert!(found > 0 && found < layout.blocks);
        }
    }
}

/// A directory's blocks with an index in them.
struct Index {
    blocks: Vec<Vec<u8>>,
}

const SIZE: u32 = 1024;

impl Index {
    fn new() -> Self {
        let mut root = vec![0; SIZE as usize];
        dir::init_dots(root.as_mut_slice(), &layout(SIZE), 12, 2).expect("block size");
        let mut index = Self {
            blocks: vec![root, vec![0; SIZE as usize]],
        };
        let layout = index.layout();
        dx::init_root(index.blocks[0].as_mut_slice(), &layout, Version::Tea, 1).expect("root");
        index
    }

    fn layout(&self) -> IndexLayout {
        IndexLayout {
            block_size: SIZE,
            blocks: self.blocks.len() as u32,
            checksums: false,
        }
    }

    /// The leaf for a hash.
    fn walk(&self, hash: u32) -> Result<u32, Corrupt> {
        let layout = self.layout();
        let mut block = self.blocks[0].as_slice();
        let root = dx::read_root(block, &layout)?;
        let mut pairs = root.pairs;
        for _ in 0..root.levels {
            let next = pairs.block(block, &layout, pairs.search(block, hash)?)?;
            block = &self.blocks[next as usize];
            pairs = dx::read_node(block, &layout)?;
        }
        pairs.block(block, &layout, pairs.search(block, hash)?)
    }

    fn find(&self, hash: u32) -> u32 {
        self.walk(hash).expect("sound")
    }

    /// The node for a hash, or the root where there are none.
    fn find_node(&self, hash: u32) -> usize {
        let (root, block) = (self.root(), self.blocks[0].as_slice());
        let at = root.pairs.search(block, hash).expect("sound");
        match root.levels {
            0 => 0,
            _ => root.pairs.block(block, &self.layout(), at).expect("sound") as usize,
        }
    }

    fn root(&self) -> dx::Root {
        dx::read_root(self.blocks[0].as_slice(), &self.layout()).expect("sound")
    }

    fn append(&mut self) -> usize {
        self.blocks.push(vec![0; SIZE as usize]);
        self.blocks.len() - 1
    }

    /// Adds a leaf that begins at a hash, and answers which.
    fn insert(&mut self, hash: u32) -> u32 {
        let leaf = self.append();
        loop {
            let node = self.find_node(hash);
            let layout = self.layout();
            let mut root = self.root();
            let mut pairs = match node {
                0 => root.pairs,
                _ => dx::read_node(self.blocks[node].as_slice(), &layout).expect("sound"),
            };
            if !pairs.is_full() {
                let block = self.blocks[node].as_mut_slice();
                let at = pairs.search(block, hash).expect("sound");
                pairs.insert(block, at, hash, leaf as u32).expect("room");
                return leaf as u32;
            }
            let new = self.append();
            let layout = self.layout();
            let mut fresh = std::mem::take(&mut self.blocks[new]);
            let block = self.blocks[node].as_mut_slice();
            if node == 0 {
                root.grow(block, &layout, fresh.as_mut_slice(), new as u32)
                    .expect("one level");
            } else {
                let begin = pairs
                    .split(block, &layout, fresh.as_mut_slice())
                    .expect("full");
                let block = self.blocks[0].as_mut_slice();
                let at = root.pairs.search(block, hash).expect("sound");
                root.pairs
                    .insert(block, at, begin, new as u32)
                    .expect("room in the root");
            }
            self.blocks[new] = fresh;
        }
    }
}

#[test]
fn an_index_grows_to_two_levels_and_no_further() {
    let mut index = Index::new();
    for n in 1..2000 {
        index.insert(n * 2_000_000);
    }
    let mut root = index.root();
    assert_eq!(root.levels, 1);
    assert!(root.pairs.count() > 15, "{} nodes", root.pairs.count());
    let layout = index.layout();
    let mut new = vec![0; SIZE as usize];
    let grown = root.grow(
        index.blocks[0].as_mut_slice(),
        &layout,
        new.as_mut_slice(),
        1,
    );
    assert_eq!(grown, Err(Corrupt::IndexLevels { found: 2 }));
}

#[test]
fn what_moves_out_of_the_only_block_is_all_but_the_dots() {
    let (layout, hasher) = (layout(1024), hasher(Version::HalfMd4));
    let mut block = vec![0; 1024];
    dir::init_dots(block.as_mut_slice(), &layout, 12, 2).expect("block size");
    let names = (0..100).map(|n| format!("name-{n}").into_bytes()).collect();
    let count = fill(&mut block, &layout, names);
    let before = list(&block, &layout);
    assert_eq!(before.len(), count + 2);
    let mut items = vec![Item::default(); max_items(1024)];
    let mut new = vec![0xff; 1024];
    leaf::move_out(&block, &layout, &hasher, &mut items, &mut new).expect("as mkdir made it");
    let mut after = list(&new, &layout);
    assert_eq!(after.len(), count);
    after.extend([(b".".to_vec(), 12), (b"..".to_vec(), 2)]);
    assert_eq!(after, before);

    // `..` is not where it should be.
    let mut odd = block.clone();
    odd[4] = 24;
    let moved = leaf::move_out(&odd, &layout, &hasher, &mut items, &mut new);
    assert_eq!(moved, Err(Corrupt::DirDots { offset: 12 }));
}
