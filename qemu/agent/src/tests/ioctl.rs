// SPDX-License-Identifier: GPL-2.0
//! ioctls of the whole filesystem, and versions of files.

use super::env::{fails, Env};
use super::{test, Test};
use crate::fs::{open_buffered, tool, tool_code, DISK};
use crate::sys::ioctl::{
    get_label, get_uuid, set_label, set_uuid, sysfs_path, unknown, vfs_uuid, FsUuid, Version,
};
use anyhow::{ensure, Context, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        test("ioctl/version", version),
        // Small blocks: so there are groups with copies of the superblock.
        test("ioctl/label", label).block(1024),
        test("ioctl/label-by-copy", label_by_copy).block(1024),
        test("ioctl/uuid", uuid).block(1024),
        test("ioctl/sysfs-path", path),
        test("ioctl/unknown", not_ours),
    ]
}

fn version(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let file = open_buffered(env.path("file"))?;
    let other = open_buffered(env.path("other"))?;
    let ways = [Version::Vfs, Version::Ext4];
    ensure!(
        Version::Vfs.get(&file)? == Version::Ext4.get(&file)?,
        "two versions"
    );
    ensure!(
        Version::Vfs.get(&file)? != Version::Vfs.get(&other)?,
        "two files have one version"
    );
    let mut value = 0x8000_0001;
    for way in ways {
        value += 1;
        way.set(&file, value).with_context(|| format!("{way:?}"))?;
        ensure!(
            Version::Ext4.get(&file)? == value,
            "not the version that was set"
        );
    }
    let dir = File::open(env.path(""))?;
    Version::Vfs.set(&dir, 77)?;
    drop((file, other, dir));
    mounted.end()?;
    let mounted = env.mount("ro")?;
    let file = File::open(env.path("file"))?;
    ensure!(
        Version::Vfs.get(&file)? == value,
        "another version after a new mount"
    );
    ensure!(
        Version::Vfs.get(&File::open(env.path(""))?)? == 77,
        "another version of the directory"
    );
    fails(
        Version::Vfs.set(&file, 1),
        libc::EROFS,
        "a version on a read-only mount",
    )?;
    drop(file);
    mounted.end()
}

/// Where the disk has the copy of the superblock of group 1, with 1 KiB blocks.
const COPY: u64 = 8193 * 1024;

/// Bytes of that copy.
fn copy(offset: u64) -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    File::open(DISK)?.read_exact_at(&mut bytes, COPY + offset)?;
    Ok(bytes)
}

fn label(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let root = File::open(env.path(""))?;
    ensure!(get_label(&root)?.is_empty(), "a label from the beginning");
    set_label(&root, b"sixteen bytes ok")?;
    ensure!(
        get_label(&root)? == b"sixteen bytes ok",
        "not the label that was set"
    );
    fails(
        set_label(&root, b"seventeen bytes!!"),
        libc::EINVAL,
        "a label that is too long",
    )?;
    set_label(&root, b"short")?;
    drop(root);
    mounted.end()?;
    let text = tool("dumpe2fs", &["-h", DISK])?;
    ensure!(
        text.lines()
            .any(|line| line.starts_with("Filesystem volume name:") && line.ends_with(" short")),
        "dumpe2fs says {text}"
    );
    ensure!(
        copy(120)? == *b"short\0\0\0\0\0\0\0\0\0\0\0",
        "the copy of the superblock has another label"
    );
    let mounted = env.mount("ro")?;
    let root = File::open(env.path(""))?;
    ensure!(get_label(&root)? == b"short", "another after a new mount");
    fails(
        set_label(&root, b"other"),
        libc::EROFS,
        "a label on a read-only mount",
    )?;
    drop(root);
    mounted.end()
}

/// Mounted by a copy of the superblock, that copy and all that follow get the label.
fn label_by_copy(env: &Env) -> Result<()> {
    let mounted = env.mount("sb=8193")?;
    let root = File::open(env.path(""))?;
    set_label(&root, b"by the copy")?;
    ensure!(
        get_label(&root)? == b"by the copy",
        "not the label that was set"
    );
    drop(root);
    mounted.end()?;
    // Of 1 KiB blocks there are 8192 in a group; those of 3, 5 and 7 have copies too, with sparse_super. The first of all is for
    // whoever mounts it next.
    let disk = File::open(DISK)?;
    for group in [0, 1, 3, 5, 7] {
        let mut bytes = [0; 16];
        disk.read_exact_at(&mut bytes, (group * 8192 + 1) * 1024 + 120)?;
        ensure!(
            bytes == *b"by the copy\0\0\0\0\0",
            "group {group} has {bytes:?}"
        );
    }
    drop(disk);
    // The first one is e2fsck's.
    let (code, text) = tool_code("e2fsck", &["-fy", DISK])?;
    ensure!(code <= 1, "e2fsck -fy ended with {code}: {text}");
    Ok(())
}

fn uuid(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let root = File::open(env.path(""))?;
    let asked = |length, flags| FsUuid {
        length,
        flags,
        uuid: [0; 16],
    };
    ensure!(
        get_uuid(&root, asked(0, 0))?.length == 16,
        "the length of a UUID"
    );
    fails(get_uuid(&root, asked(15, 0)), libc::EINVAL, "15 bytes")?;
    fails(get_uuid(&root, asked(16, 1)), libc::EINVAL, "a flag")?;
    let old = get_uuid(&root, asked(16, 0))?;
    ensure!(
        vfs_uuid(&root)? == old.uuid,
        "VFS and the filesystem have two UUIDs"
    );
    let new = FsUuid {
        length: 16,
        flags: 0,
        uuid: *b"a new UUID, 16 b",
    };
    fails(
        set_uuid(&root, FsUuid { length: 8, ..new }),
        libc::EINVAL,
        "half a UUID",
    )?;
    set_uuid(&root, new)?;
    ensure!(
        get_uuid(&root, asked(16, 0))?.uuid == new.uuid,
        "not the UUID that was set"
    );
    drop(root);
    mounted.end()?;
    ensure!(
        copy(104)? == new.uuid,
        "the copy of the superblock has another UUID"
    );
    let mounted = env.mount("ro")?;
    let root = File::open(env.path(""))?;
    ensure!(vfs_uuid(&root)? == new.uuid, "another after a new mount");
    drop(root);
    mounted.end()
}

fn path(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let found = sysfs_path(&File::open(env.path(""))?)?;
    let expected = format!("{}/vda", env.driver().name());
    ensure!(found == expected, "{found}, should be {expected}");
    mounted.end()
}

fn not_ours(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    fails(
        unknown(&open_buffered(env.path("file"))?),
        libc::ENOTTY,
        "on a file",
    )?;
    fails(
        unknown(&File::open(env.path(""))?),
        libc::ENOTTY,
        "on a directory",
    )?;
    mounted.end()
}
