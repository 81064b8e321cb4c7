// SPDX-License-Identifier: GPL-2.0

//! Extended attributes: debugfs sets and we read, we set and debugfs reads, e2fsck judges both.

use crate::tools::{Scratch, SHAPES};
use notblk_format::inode::RAW_INODE_SIZE;
use notblk_format::xattr::{Area, Name, Place, BODY_HEADER, INDEX_USER, MAGIC};
use notblk_host_tests::Image;
use std::collections::BTreeMap;
use std::fs;

/// Attributes in the namespace `user.`, by the rest of their names.
type Attributes = BTreeMap<Vec<u8>, Vec<u8>>;

/// Where in an inode the header of its attributes is.
fn body_at(image: &Image, ino: u32) -> Option<usize> {
    let extra = image.inode_extra(ino).expect("sound")?;
    Some(usize::from(RAW_INODE_SIZE) + usize::from(extra.extra_isize.get()))
}

/// What an area holds.
fn collect(area: &Area<&[u8]>, into: &mut Attributes) {
    for entry in area.entries() {
        let name = area.name(&entry);
        assert_eq!(name.index, INDEX_USER);
        let old = into.insert(name.rest.to_vec(), area.value(&entry).to_vec());
        assert_eq!(old, None, "{:?} is there twice", name.rest);
    }
}

/// All attributes of an inode, and how many of them lie in its body.
fn read(image: &Image, ino: u32) -> (Attributes, usize) {
    let mut found = Attributes::new();
    let bytes = image.inode_bytes(ino).expect("valid");
    if let Some(at) = body_at(image, ino) {
        if bytes[at..at + BODY_HEADER] == MAGIC.to_le_bytes() {
            let area = Area::parse(&bytes[at + BODY_HEADER..], Place::Body).expect("sound");
            collect(&area, &mut found);
        }
    }
    let in_body = found.len();
    let block = image.inode(ino).expect("valid").file_acl.get();
    if block != 0 {
        let bytes = image.block(block).expect("there");
        let area = Area::parse(bytes.as_slice(), Place::Block).expect("sound");
        collect(&area, &mut found);
    }
    (found, in_body)
}

/// An image with one file, and its inode.
fn with_file(block_size: u32, inode_size: u16) -> (Scratch, u32) {
    let scratch = Scratch::new(block_size, inode_size, 2048, &[]);
    let empty = scratch.path("empty");
    fs::write(&empty, b"").expect("a file");
    scratch.debugfs(&[format!("write {} file", empty.display())]);
    let ino = scratch.open().lookup_path("/file").expect("sound");
    (scratch, ino.expect("there"))
}

/// A value that debugfs can be given on its command line.
fn text(len: usize) -> String {
    ('a'..='z').cycle().take(len).collect()
}

#[test]
fn debugfs_sets_and_we_read() {
    for (block_size, inode_size) in SHAPES {
        let (scratch, ino) = with_file(block_size, inode_size);
        let mut expected = Attributes::new();
        let mut commands = Vec::new();
        for (n, len) in [1, 3, 4, 20, 100, 333].into_iter().enumerate() {
            let name = format!("{}{n}", "n".repeat(n * 5));
            commands.push(format!("ea_set /file user.{name} {}", text(len)));
            expected.insert(name.into_bytes(), text(len).into_bytes());
        }
        scratch.debugfs(&commands);
        scratch.fsck();
        let (found, in_body) = read(&scratch.open(), ino);
        assert_eq!(found, expected, "{block_size}, {inode_size}");
        assert_eq!(in_body > 0, inode_size > RAW_INODE_SIZE);
    }
}

#[test]
fn we_set_and_debugfs_reads() {
    for (block_size, inode_size) in SHAPES {
        let (scratch, ino) = with_file(block_size, inode_size);
        // So large that it is in a block.
        scratch.debugfs(&[format!("ea_set /file user.block {}", text(700))]);
        let image = scratch.open();
        let mut expected = read(&image, ino).0;
        let block = image.inode(ino).expect("valid").file_acl.get();
        assert_ne!(block, 0);
        let name = |rest| Name {
            index: INDEX_USER,
            rest,
        };
        let mut set = |area: &mut Area<&mut [u8]>, rest: &'static [u8], value: &str| {
            area.set(name(rest), value.as_bytes()).expect("room");
            expected.insert(rest.to_vec(), value.as_bytes().to_vec());
        };
        let mut bytes = image.block(block).expect("there");
        let mut area = Area::parse(bytes.as_mut_slice(), Place::Block).expect("sound");
        set(&mut area, b"z", "last");
        set(&mut area, b"a", "");
        set(&mut area, b"block", &text(41));
        // e2fsck computes the hash of this name with a sign and without.
        set(&mut area, b"\xc3\xa9", "accent");
        set(&mut area, b"away", "in between");
        assert_eq!(area.remove(name(b"away")), Ok(true));
        image.write_block(block, &bytes).expect("written");
        if let Some(at) = body_at(&image, ino) {
            let mut bytes = image.inode_bytes(ino).expect("valid");
            let (head, area) = bytes.split_at_mut(at + BODY_HEADER);
            head[at..].copy_from_slice(&MAGIC.to_le_bytes());
            let mut area = Area::empty(area, Place::Body).expect("large enough");
            set(&mut area, b"in-body", "short");
            set(&mut area, b"b", "first in a block, not here");
            image.write_inode_bytes(ino, &bytes).expect("written");
        }
        expected.remove(b"away".as_slice());
        scratch.fsck();
        assert_eq!(read(&image, ino).0, expected);
        for (rest, value) in &expected {
            let Ok(rest) = std::str::from_utf8(rest) else {
                panic!("{rest:?}");
            };
            let out = scratch.path("value");
            scratch.debugfs(&[format!("ea_get -f {} /file user.{rest}", out.display())]);
            assert_eq!(&fs::read(&out).expect("got"), value, "{rest}");
        }
    }
}
