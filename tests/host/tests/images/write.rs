// SPDX-License-Identifier: GPL-2.0

//! Directories and bitmaps changed by `rust/format`, judged by e2fsck and debugfs.

use crate::tools::{Scratch, SHAPES};
use notblk_format::bitmap;
use notblk_format::dir::{self, FT_DIR, FT_REG_FILE};
use notblk_format::inode::{RawInode, ROOT_INO, S_IFDIR};
use notblk_host_tests::{Image, Mapping};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use zerocopy::FromZeros;

/// The blocks of a directory.
fn dir_blocks(image: &Image, ino: u32) -> Vec<u32> {
    let inode = image.inode(ino).expect("valid");
    let blocks = image.data_blocks(&inode).expect("sound");
    blocks.into_iter().map(|(_, block)| block).collect()
}

/// Adds a name in the first block that has room, and says whether there was one.
fn insert(image: &Image, dir: u32, name: &[u8], ino: u32, file_type: u8) -> bool {
    let layout = image.dir_layout();
    dir_blocks(image, dir).into_iter().any(|block| {
        let done = image.change_block(block, |b| {
            let Some(slot) = dir::find_room(b, &layout, name.len())? else {
                return Ok(false);
            };
            dir::fill_slot(b, &layout, &slot, name, ino, file_type)?;
            Ok(true)
        });
        done.expect("sound")
    })
}

/// Removes a name, which must be there.
fn remove(image: &Image, dir: u32, name: &[u8]) {
    let layout = image.dir_layout();
    let done = dir_blocks(image, dir).into_iter().any(|block| {
        let done = image.change_block(block, |b| {
            let Some(found) = dir::find(b, &layout, name)? else {
                return Ok(false);
            };
            dir::remove(b, &layout, &found)?;
            Ok(true)
        });
        done.expect("sound")
    });
    assert!(done, "{name:?} is not there");
}

fn add_links(image: &Image, ino: u32, change: i16) {
    let done = image.change_inode(ino, |inode| {
        let count = inode.links_count.get();
        inode.links_count.set(count.wrapping_add_signed(change));
    });
    done.expect("valid");
}

/// The names in a directory and their inodes, as debugfs lists them.
fn listed(scratch: &Scratch, path: &str) -> BTreeSet<(String, u32)> {
    let text = scratch.debugfs(&[format!("ls -p {path}")]);
    let entry = |line: &str| {
        let mut fields = line.strip_prefix('/')?.split('/');
        let ino = fields.next()?.parse().ok()?;
        Some((fields.nth(3)?.to_owned(), ino))
    };
    // A free entry is listed with inode 0.
    let entries = text.lines().filter_map(entry);
    entries.filter(|&(_, ino)| ino != 0).collect()
}

/// A generator of numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % limit
    }
}

/// Hard links come and go in a directory of several blocks.
#[test]
fn links_come_and_go() {
    for (round, (block_size, inode_size)) in (1..).zip(SHAPES) {
        let source = tempfile::tempdir().expect("temporary directory");
        let path = source.path();
        fs::create_dir(path.join("d")).expect("directory");
        let names: Vec<String> = (0..200)
            .map(|i| format!("{i:03}{}", "f".repeat(60)))
            .collect();
        for name in &names {
            fs::write(path.join("d").join(name), name).expect("source");
        }
        let scratch = Scratch::new(
            block_size,
            inode_size,
            8192,
            &["-d", path.to_str().expect("plain path")],
        );
        let image = scratch.open();
        let d = image.lookup_path("/d").expect("sound").expect("copied");
        assert!(dir_blocks(&image, d).len() > 1);
        let inode = image.inode(d).expect("valid");
        let mut model = BTreeMap::new();
        for entry in image.read_dir(&inode).expect("sound") {
            model.insert(String::from_utf8(entry.name).expect("ASCII"), entry.ino);
        }
        let files: Vec<u32> = names.iter().map(|name| model[name]).collect();

        let mut numbers = Numbers(round);
        let (mut inserted, mut full) = (0, 0);
        for step in 0..600 {
            // First more come than go, then more go than come.
            if numbers.below(10) < if step < 300 { 7 } else { 3 } {
                let name = format!("{}{}", numbers.below(1000), "l".repeat(numbers.below(250)));
                let target = files[numbers.below(files.len())];
                if model.contains_key(&name) || !model.values().any(|&ino| ino == target) {
                    continue;
                }
                if insert(&image, d, name.as_bytes(), target, FT_REG_FILE) {
                    add_links(&image, target, 1);
                    model.insert(name, target);
                    inserted += 1;
                } else {
                    full += 1;
                }
            } else {
                let at = numbers.below(model.len());
                let (name, &ino) = model.iter().nth(at).expect("below the length");
                let name = name.clone();
                // The last link of a file stays: taking the file away is not the matter here.
                if name.starts_with('.') || model.values().filter(|&&i| i == ino).count() < 2 {
                    continue;
                }
                remove(&image, d, name.as_bytes());
                add_links(&image, ino, -1);
                model.remove(&name);
            }
        }
        assert!(
            inserted > 30 && full > 0,
            "{inserted} names, {full} times no room"
        );
        scratch.fsck();
        assert_eq!(listed(&scratch, "/d"), model.into_iter().collect());
    }
}

/// Takes the first free block, or gives it back, with all the counts.
fn alloc_block(image: &Image) -> u32 {
    let geo = *image.geometry();
    for group in 0..geo.group_count() {
        let desc = image.group_desc(group).expect("checked");
        let found = image.change_block(desc.block_bitmap.get(), |b| {
            let bit = bitmap::find_zero(b, 0, geo.group_blocks(group))?;
            bit.map(|bit| bitmap::set_run(b, bit, 1).map(|()| bit))
                .transpose()
        });
        if let Some(bit) = found.expect("sound") {
            change_free_blocks(image, group, -1);
            return geo.group_first_block(group) + bit;
        }
    }
    panic!("no free block");
}

fn free_block(image: &Image, block: u32) {
    let (group, bit) = image.geometry().block_group(block).expect("inside");
    let desc = image.group_desc(group).expect("checked");
    let done = image.change_block(desc.block_bitmap.get(), |b| bitmap::clear_run(b, bit, 1));
    done.expect("was set");
    change_free_blocks(image, group, 1);
}

fn change_free_blocks(image: &Image, group: u32, change: i16) {
    let done = image.change_group_desc(group, |desc| {
        let count = desc.free_blocks_count.get();
        desc.free_blocks_count
            .set(count.wrapping_add_signed(change));
    });
    done.expect("inside");
    let done = image.change_superblock(|raw| {
        let count = raw.free_blocks_count.get();
        raw.free_blocks_count
            .set(count.wrapping_add_signed(change.into()));
    });
    done.expect("inside");
}

/// Marks an inode that is a directory as used or free, with all the counts.
fn change_dir_inode(image: &Image, ino: u32, used: bool) {
    let (group, index) = image.geometry().inode_group(ino).expect("valid");
    let desc = image.group_desc(group).expect("checked");
    let done = image.change_block(desc.inode_bitmap.get(), |b| {
        if used {
            bitmap::set_run(b, index, 1)
        } else {
            bitmap::clear_run(b, index, 1)
        }
    });
    done.expect("was otherwise");
    let change = if used { -1 } else { 1 };
    let done = image.change_group_desc(group, |desc| {
        let count = desc.free_inodes_count.get();
        desc.free_inodes_count
            .set(count.wrapping_add_signed(change));
        let count = desc.used_dirs_count.get();
        desc.used_dirs_count.set(count.wrapping_add_signed(-change));
    });
    done.expect("inside");
    let done = image.change_superblock(|raw| {
        let count = raw.free_inodes_count.get();
        raw.free_inodes_count
            .set(count.wrapping_add_signed(change.into()));
    });
    done.expect("inside");
}

/// A directory of two blocks is made, filled, emptied and removed; in between e2fsck looks.
#[test]
fn a_directory_from_birth_to_death() {
    for (block_size, inode_size) in SHAPES {
        // Full first groups, so that the new directory lies in another.
        let scratch = Scratch::new(block_size, inode_size, 8192, &["-g", "2048"]);
        let before = scratch.dumpe2fs();
        let image = scratch.open();
        let geo = *image.geometry();
        let layout = image.dir_layout();

        let group = geo.group_count() - 1;
        let desc = image.group_desc(group).expect("checked");
        let bits = image.block(desc.inode_bitmap.get()).expect("inside");
        let index = bitmap::find_zero(bits.as_slice(), 0, geo.inodes_per_group());
        let index = index.expect("inside").expect("a free inode");
        let ino = geo.ino(group, index).expect("inside");
        change_dir_inode(&image, ino, true);

        let blocks = [alloc_block(&image), alloc_block(&image)];
        let done = image.change_block(blocks[0], |b| dir::init_dots(b, &layout, ino, ROOT_INO));
        done.expect("inside");
        let done = image.change_block(blocks[1], |b| dir::init_empty(b, &layout));
        done.expect("inside");
        let done = image.change_inode(ino, |inode| {
            *inode = RawInode::new_zeroed();
            inode.mode.set(S_IFDIR | 0o755);
            inode.links_count.set(2);
            inode.set_size(2 * u64::from(block_size));
            inode.blocks_lo.set(2 * block_size / 512);
            inode.block[0].set(blocks[0]);
            inode.block[1].set(blocks[1]);
        });
        done.expect("valid");
        assert!(insert(&image, ROOT_INO, b"new", ino, FT_DIR));
        add_links(&image, ROOT_INO, 1);
        scratch.fsck();
        assert_eq!(image.lookup_path("/new").expect("sound"), Some(ino));

        // Fill both blocks with links to the only file.
        let source = scratch.path("source");
        fs::write(&source, "file").expect("source");
        scratch.debugfs(&[format!("write {} file", source.display())]);
        let file = image.lookup_path("/file").expect("sound").expect("written");
        let mut names = Vec::new();
        loop {
            let name = format!("{:04}{}", names.len(), "n".repeat(names.len() % 100));
            if !insert(&image, ino, name.as_bytes(), file, FT_REG_FILE) {
                break;
            }
            names.push(name);
        }
        add_links(&image, file, names.len() as i16);
        scratch.fsck();
        let empty = |n: usize| {
            let b = image.block(blocks[n]).expect("inside");
            dir::is_empty_block(b.as_slice(), &layout, ino, n == 0).expect("sound")
        };
        assert!(!empty(0) && !empty(1));
        let inode = image.inode(ino).expect("valid");
        assert!(matches!(image.map(&inode, 2), Ok(Mapping::Hole(_))));

        // Empty them, every second name first.
        let (odd, even): (Vec<_>, Vec<_>) = (0..).zip(&names).partition(|(i, _)| i % 2 == 1);
        for (_, name) in odd.into_iter().chain(even) {
            remove(&image, ino, name.as_bytes());
        }
        add_links(&image, file, -(names.len() as i16));
        assert!(empty(0) && empty(1));
        scratch.fsck();

        // And away with it.
        scratch.debugfs(&["rm file"]);
        remove(&image, ROOT_INO, b"new");
        add_links(&image, ROOT_INO, -1);
        for block in blocks {
            free_block(&image, block);
        }
        change_dir_inode(&image, ino, false);
        let done = image.change_inode(ino, |inode| {
            inode.links_count.set(0);
            inode.dtime.set(1_700_000_000);
        });
        done.expect("valid");
        scratch.fsck();
        let after = scratch.dumpe2fs();
        assert_eq!(before.groups, after.groups);
        assert_eq!(before.number("Free blocks"), after.number("Free blocks"));
        assert_eq!(before.number("Free inodes"), after.number("Free inodes"));
    }
}
