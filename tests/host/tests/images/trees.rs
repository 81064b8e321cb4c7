// SPDX-License-Identifier: GPL-2.0

//! Directory trees that mke2fs copied from the host, and special files that debugfs made.

use crate::tools::{Scratch, SHAPES};
use notblk_format::features::COMPAT_DIR_INDEX;
use notblk_format::inode::{
    RawInode, FL_INDEX, ROOT_INO, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG,
};
use notblk_format::{dev, dir, time};
use notblk_host_tests::Image;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::path::Path;
use zerocopy::IntoBytes;

/// Fills a directory with what a tree can hold.
fn fill(root: &Path) {
    let write = |name: &str, data: &[u8]| fs::write(root.join(name), data).expect("source");
    write("empty", b"");
    write("small", b"some bytes\n");
    let large: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8 + 1).collect();
    write("large", &large);
    fs::set_permissions(root.join("small"), fs::Permissions::from_mode(0o4710)).expect("mode");
    fs::hard_link(root.join("large"), root.join("linked")).expect("link");
    symlink("small", root.join("short")).expect("symlink");
    symlink("x".repeat(59), root.join("fast")).expect("symlink");
    symlink("y".repeat(60), root.join("slow")).expect("symlink");
    symlink("z".repeat(1000), root.join("long")).expect("symlink");

    let deep = root.join("a/b/c/d");
    fs::create_dir_all(&deep).expect("directories");
    fs::write(deep.join("leaf"), "leaf").expect("source");

    // Enough names for several blocks of any size, the longest ones among them.
    let many = root.join("many");
    fs::create_dir(&many).expect("directory");
    for i in 0..400 {
        let name = format!("{i:03}{}", "n".repeat(i % 253));
        fs::write(many.join(name), "").expect("source");
    }
}

/// The target of a symbolic link: in place of the block map where it fits.
fn link_target(image: &Image, inode: &RawInode) -> Vec<u8> {
    if inode.blocks_lo.get() == 0 {
        inode.block.as_bytes()[..inode.size() as usize].to_vec()
    } else {
        image.read(inode).expect("sound")
    }
}

/// Compares a file or directory on the host with an inode, and what is below it.
fn compare(image: &Image, path: &Path, ino: u32) -> usize {
    let inode = image.inode(ino).expect("valid");
    let meta = fs::symlink_metadata(path).expect("source");
    let what = path.display();
    if ino != ROOT_INO {
        // The root is mke2fs's own.
        assert_eq!(u32::from(inode.mode.get()), meta.mode(), "{what}");
        let owner = (inode.uid(), inode.gid());
        assert_eq!(owner, (meta.uid(), meta.gid()), "{what}");
        let mtime = time::decode(inode.mtime, None);
        assert_eq!(mtime.sec, meta.mtime(), "{what}");
    }
    match inode.file_type() {
        S_IFDIR => compare_dir(image, path, ino, &inode),
        S_IFLNK => {
            let target = fs::read_link(path).expect("source");
            assert_eq!(link_target(image, &inode), target.as_os_str().as_bytes());
            assert_eq!(inode.blocks_lo.get() == 0, target.as_os_str().len() < 60);
            1
        }
        S_IFREG => {
            assert_eq!(u64::from(inode.links_count.get()), meta.nlink(), "{what}");
            let data = fs::read(path).expect("source");
            assert!(image.read(&inode).expect("sound") == data, "{what}");
            1
        }
        other => panic!("{what}: mode {other:o}"),
    }
}

fn compare_dir(image: &Image, path: &Path, ino: u32, inode: &RawInode) -> usize {
    let mut found = image.read_dir(inode).expect("sound");
    let what = path.display();
    let dots: Vec<_> = found.drain(..2).map(|entry| entry.name).collect();
    assert_eq!(dots, [b".".to_vec(), b"..".to_vec()], "{what}");
    found.retain(|entry| entry.name != b"lost+found");
    found.sort();
    let mut names: Vec<_> = fs::read_dir(path)
        .expect("source")
        .map(|entry| entry.expect("source").file_name().as_bytes().to_vec())
        .collect();
    names.sort();
    let found_names: Vec<_> = found.iter().map(|entry| entry.name.clone()).collect();
    assert_eq!(found_names, names, "{what}");

    let mut count = 1;
    for entry in found {
        assert_eq!(
            image.lookup(inode, &entry.name).expect("sound"),
            Some(entry.ino)
        );
        let child = image.inode(entry.ino).expect("valid");
        if image.geometry().has_filetype() {
            assert_eq!(entry.file_type, dir::file_type(child.mode.get()));
        } else {
            assert_eq!(entry.file_type, dir::FT_UNKNOWN);
        }
        let name = std::ffi::OsStr::from_bytes(&entry.name);
        count += compare(image, &path.join(name), entry.ino);
        if child.file_type() == S_IFDIR {
            assert_eq!(image.lookup(&child, b"..").expect("sound"), Some(ino));
        }
    }
    assert_eq!(image.lookup(inode, b"no such name").expect("sound"), None);
    count
}

/// A tree, copied into an image with these options.
fn tree(options: &[&str], blocks: u32) {
    let source = tempfile::tempdir().expect("temporary directory");
    fill(source.path());
    let path = source.path().to_str().expect("plain path");
    let scratch = Scratch::with_options("ext2", &[options, &["-d", path]].concat(), blocks);
    scratch.fsck();
    let entries = 1 + 8 + 5 + 401;
    assert_eq!(compare(&scratch.open(), source.path(), ROOT_INO), entries);

    // An index hides in what looks like free entries to who reads block by block.
    scratch.optimize_directories();
    let image = scratch.open();
    assert_eq!(compare(&image, source.path(), ROOT_INO), entries);
    let many = image.lookup_path("/many").expect("sound").expect("copied");
    let many = image.inode(many).expect("valid");
    let blocks = image.data_blocks(&many).expect("sound").len();
    let indexed = many.flags.get() & FL_INDEX != 0;
    let may_index = image.raw().feature_compat.get() & COMPAT_DIR_INDEX != 0;
    assert_eq!(indexed, may_index && blocks > 1, "{blocks} blocks");
}

#[test]
fn copied_trees() {
    for (block_size, inode_size) in SHAPES {
        let sizes = [block_size.to_string(), inode_size.to_string()];
        tree(&["-b", &sizes[0], "-I", &sizes[1]], 8192);
    }
}

#[test]
fn copied_trees_in_other_layouts() {
    tree(&["-b", "1024", "-O", "^filetype"], 8192);
    tree(&["-b", "1024", "-I", "128", "-O", "none"], 8192);
    tree(&["-b", "8192", "-N", "1000"], 2000);
    tree(&["-b", "65536", "-N", "1000"], 1000);
}

#[test]
fn special_files() {
    let scratch = Scratch::new(1024, 256, 8192, &[]);
    scratch.debugfs(&[
        "mknod pipe p",
        "mknod tty c 4 5",
        "mknod disk b 259 65535",
        "mknod wide c 4095 256",
    ]);
    let image = scratch.open();
    let expected = [
        ("/pipe", S_IFIFO, dir::FT_FIFO, (0, 0)),
        ("/tty", S_IFCHR, dir::FT_CHRDEV, (4, 5)),
        ("/disk", S_IFBLK, dir::FT_BLKDEV, (259, 65535)),
        ("/wide", S_IFCHR, dir::FT_CHRDEV, (4095, 256)),
    ];
    let root = image.inode(ROOT_INO).expect("valid");
    let entries = image.read_dir(&root).expect("sound");
    for (name, mode, file_type, device) in expected {
        let ino = image.lookup_path(name).expect("sound").expect("made");
        let inode = image.inode(ino).expect("valid");
        assert_eq!(inode.file_type(), mode, "{name}");
        assert_eq!(dev::decode(&inode.block), device, "{name}");
        let entry = entries.iter().find(|entry| entry.ino == ino);
        assert_eq!(entry.map(|entry| entry.file_type), Some(file_type));
        if mode != S_IFIFO {
            assert_eq!(dev::encode(device.0, device.1), inode.block, "{name}");
        }
    }
}

/// Inodes that no name may lead to.
#[test]
fn reserved_inodes() {
    let scratch = Scratch::new(1024, 256, 8192, &[]);
    let image = scratch.open();
    let last = image.geometry().inodes_count();
    for ino in [0, 1, 3, 7, 10, last + 1, u32::MAX] {
        assert!(image.inode(ino).is_err(), "{ino}");
    }
    for ino in [2, 11, last] {
        assert!(image.inode(ino).is_ok(), "{ino}");
    }
}
