// SPDX-License-Identifier: GPL-2.0

//! Hashes as debugfs computes them, and indexes as e2fsck makes them.

use crate::tools::{run, tool, Scratch};
use notblk_format::dir::{self, NAME_MAX};
use notblk_format::dx::{self, IndexLayout};
use notblk_format::hash::{HashInfo, Version};
use notblk_format::inode::{RawInode, FL_INDEX};
use notblk_format::superblock::{RawSuperBlock, FLAGS_SIGNED_HASH, FLAGS_UNSIGNED_HASH};
use notblk_host_tests::{Image, Mapping};
use std::fs;
use zerocopy::little_endian::U32;
use zerocopy::FromZeros;

/// Names of all lengths around the pieces in which they are hashed, with bytes that are negative as signed ones.
fn names() -> Vec<String> {
    let mut names: Vec<String> = [1, 3, 4, 5, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255]
        .into_iter()
        .map(|len| {
            (0..len)
                .map(|i| (b'a' + (i * 7 % 26) as u8) as char)
                .collect()
        })
        .collect();
    names.extend(["ünï", "ÿ", "x☃y", "ä-much-longer-name-ö-ü-ß-that-goes-on"].map(String::from));
    names
}

/// What debugfs says, for all names: major and minor hash.
fn debugfs(version: u8, seed: Option<&str>, names: &[String]) -> Vec<(u32, u32)> {
    let seed = seed.map(|seed| format!("-s {seed} ")).unwrap_or_default();
    let script = tempfile::NamedTempFile::new().expect("script");
    let lines: String = names
        .iter()
        .map(|name| format!("dx_hash -h {version} {seed}{name}\n"))
        .collect();
    fs::write(script.path(), lines).expect("script");
    let text = run(tool("debugfs").arg("-f").arg(script.path()));
    let word = |text: &str| u32::from_str_radix(text.trim_end_matches(')'), 16).expect("hex");
    text.lines()
        .filter_map(|line| line.split_once(" is 0x")?.1.split_once(" (minor 0x"))
        .map(|(major, minor)| (word(major), word(minor)))
        .collect()
}

#[test]
fn hashes_are_those_of_debugfs() {
    let names = names();
    let seed = "00112233-4455-6677-8899-aabbccddeeff";
    let words = [0x3322_1100, 0x7766_5544, 0xbbaa_9988, 0xffee_ddcc];
    for (text, words) in [(None, [0; 4]), (Some(seed), words)] {
        for code in 0..6 {
            let mut raw = RawSuperBlock::new_zeroed();
            raw.hash_seed = words.map(U32::new);
            let flags = if code < 3 {
                FLAGS_SIGNED_HASH
            } else {
                FLAGS_UNSIGNED_HASH
            };
            raw.flags = U32::new(flags);
            let version = Version::from_disk(code % 3).expect("one of three");
            assert_eq!(version.to_disk(), code % 3);
            let hasher = HashInfo::parse(&raw).expect("version 0").hasher(version);
            let expected = debugfs(code, text, &names);
            assert_eq!(expected.len(), names.len());
            for (name, expected) in names.iter().zip(expected) {
                let hash = hasher.hash(name.as_bytes());
                assert_eq!(
                    (hash.major, hash.minor),
                    expected,
                    "{name}, function {code}"
                );
            }
        }
    }
}

#[test]
fn the_default_function_must_exist() {
    let mut raw = RawSuperBlock::new_zeroed();
    for (code, version) in [
        (0, Some(Some(Version::Legacy))),
        (1, Some(Some(Version::HalfMd4))),
        (2, Some(Some(Version::Tea))),
        (3, Some(None)),
        (5, Some(None)),
        (6, None),
        (255, None),
    ] {
        raw.def_hash_version = code;
        let info = HashInfo::parse(&raw);
        assert_eq!(info.map(|info| info.default), version, "{code}");
    }
}

/// A block of a directory.
fn block(image: &Image, inode: &RawInode, lblk: u32) -> Vec<u8> {
    match image.map(inode, lblk).expect("in the map") {
        Mapping::Data(block) => image.block(block).expect("readable"),
        hole => panic!("block {lblk}: {hole:?}"),
    }
}

/// Goes through an index from its root, and asks of each name that it hashes to where it is, and that the way
/// leads there. Answers levels and number of names.
fn check(image: &Image, inode: &RawInode) -> (u8, usize) {
    let info = HashInfo::parse(image.raw()).expect("a hash function");
    assert!(info.dir_index && !info.unsaid);
    let layout = IndexLayout {
        block_size: image.geometry().block_size(),
        blocks: inode
            .size()
            .div_ceil(u64::from(image.geometry().block_size())) as u32,
        checksums: info.checksums,
    };
    let root_block = block(image, inode, 0);
    let root = dx::read_root(root_block.as_slice(), &layout).expect("sound");
    let hasher = info.hasher(root.version);
    let mut nodes = vec![(root_block.clone(), root.pairs, 0, u32::MAX)];
    for _ in 0..root.levels {
        nodes = below(&nodes, &layout)
            .into_iter()
            .map(|(lblk, from, to)| {
                let node = block(image, inode, lblk);
                let pairs = dx::read_node(node.as_slice(), &layout).expect("sound");
                (node, pairs, from, to)
            })
            .collect();
    }
    let mut count = 0;
    let mut buf = [0; NAME_MAX];
    for (lblk, from, to) in below(&nodes, &layout) {
        let leaf = block(image, inode, lblk);
        for entry in dir::entries(leaf.as_slice(), &image.dir_layout()) {
            let entry = entry.expect("sound");
            if entry.inode == 0 {
                continue;
            }
            let name = entry.read_name(leaf.as_slice(), &mut buf).expect("sound");
            let hash = hasher.hash(name).major;
            // Where the next leaf goes on with a hash, that is this one's as well.
            assert!(hash >= from & !1 && (hash < to || hash == to & !1 && to & 1 != 0));
            if from & 1 == 0 {
                assert_eq!(walk(image, inode, &layout, hash), lblk);
            }
            count += 1;
        }
    }
    (root.levels, count)
}

/// What pairs lead to, and the hashes from which and up to which.
fn below(nodes: &[(Vec<u8>, dx::Pairs, u32, u32)], layout: &IndexLayout) -> Vec<(u32, u32, u32)> {
    let mut found = Vec::new();
    for (node, pairs, from, to) in nodes {
        let hash = |n: u32| pairs.hash(node.as_slice(), n).expect("in the block");
        for n in 0..pairs.count() {
            let lblk = pairs.block(node.as_slice(), layout, n).expect("sound");
            let end = if n + 1 < pairs.count() {
                hash(n + 1).expect("not the first")
            } else {
                *to
            };
            found.push((lblk, hash(n).unwrap_or(*from), end));
        }
    }
    found
}

/// From the root to the leaf of a hash.
fn walk(image: &Image, inode: &RawInode, layout: &IndexLayout, hash: u32) -> u32 {
    let mut at = block(image, inode, 0);
    let root = dx::read_root(at.as_slice(), layout).expect("sound");
    let mut pairs = root.pairs;
    for level in 0..=root.levels {
        let index = pairs.search(at.as_slice(), hash).expect("sound");
        let lblk = pairs.block(at.as_slice(), layout, index).expect("sound");
        if level == root.levels {
            return lblk;
        }
        at = block(image, inode, lblk);
        pairs = dx::read_node(at.as_slice(), layout).expect("sound");
    }
    unreachable!("the last level returns")
}

#[test]
fn indexes_of_e2fsck_are_read() {
    for (block_size, files, hash, levels) in [
        (1024, 300, "half_md4", 0),
        (1024, 4000, "tea", 1),
        (2048, 600, "legacy", 0),
        (4096, 2000, "half_md4", 0),
    ] {
        let source = tempfile::tempdir().expect("temporary directory");
        let many = source.path().join("many");
        fs::create_dir(&many).expect("directory");
        for i in 0..files {
            let name = format!("{i:05}-ü-{}", "n".repeat(i % 120));
            fs::write(many.join(name), "").expect("source");
        }
        let path = source.path().to_str().expect("plain path");
        let options = ["-N", "5000", "-d", path];
        let scratch = Scratch::new(block_size, 128, 16384, &options);
        run(tool("tune2fs")
            .args(["-E", &format!("hash_alg={hash}")])
            .arg(&scratch.image));
        scratch.optimize_directories();
        let image = scratch.open();
        let many = image.lookup_path("/many").expect("sound").expect("copied");
        let many = image.inode(many).expect("valid");
        assert!(many.flags.get() & FL_INDEX != 0);
        assert_eq!(check(&image, &many), (levels, files), "{block_size} {hash}");
    }
}
