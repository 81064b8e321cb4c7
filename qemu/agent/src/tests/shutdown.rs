// SPDX-License-Identifier: GPL-2.0
//! Shutting a mounted filesystem down.

use super::env::{errno, fails, Env};
use super::{test, Test};
use crate::fs::{open_buffered, open_direct, shown_options, tool_code, DISK, MNT};
use crate::sys::{ioctl, Mapping};
use anyhow::{ensure, Context, Result};
use rustix::fs::{FallocateFlags, IFlags};
use std::fs::{self, File};
use std::os::unix::fs::{symlink, FileExt, PermissionsExt};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let ways = [(0, "sync"), (1, "logflush"), (2, "nologflush")];
    ways.into_iter()
        .flat_map(|(flags, name)| {
            [
                test(&format!("shutdown/{name}"), move |env| shutdown(env, flags)).damages(),
                test(&format!("shutdown/{name}-names"), move |env| {
                    names(env, flags)
                })
                .damages(),
            ]
        })
        .collect()
}

/// Names that were made just before belong to inodes, and those that were removed to none: what e2fsck finds is consistent.
fn names(env: &Env, flags: u32) -> Result<()> {
    let mounted = env.mount("")?;
    let name = |kind: &str, n: u32| env.path(format!("{kind}-{n}"));
    for n in 0..20 {
        fs::write(name("old", n), vec![0x11; 5000])?;
    }
    rustix::fs::sync();
    for n in 0..20 {
        fs::write(name("new", n), b"")?;
        fs::create_dir(name("dir", n))?;
        fs::write(name("dir", n).join("file"), b"")?;
        fs::hard_link(name("new", n), name("link", n))?;
        symlink(
            "x".repeat(if n % 2 == 0 { 10 } else { 100 }),
            name("sym", n),
        )?;
        match n % 3 {
            0 => fs::remove_file(name("old", n))?,
            1 => fs::rename(name("old", n), name("dir", n).join("old"))?,
            _ => open_buffered(name("old", n))?.set_len(100)?,
        }
    }
    ioctl::shutdown(&File::open(env.path(""))?, flags).context("shut down")?;
    mounted.end()?;
    let (code, text) = tool_code("e2fsck", &["-fn", DISK])?;
    ensure!(code == 0, "e2fsck -fn ended with {code}: {text}");
    let mounted = env.mount("")?;
    // What was not to be flushed may be gone, whole.
    for n in 0..if flags == 2 { 0 } else { 20 } {
        for path in [name("link", n), name("dir", n).join("file"), name("sym", n)] {
            fs::symlink_metadata(&path).with_context(|| path.display().to_string())?;
        }
    }
    mounted.end()?;
    tool_code("e2fsck", &["-fy", DISK]).map(drop)
}

/// Everything says EIO from then on; what can be told from memory still is; unmount works, and after e2fsck what had been
/// written before is there.
fn shutdown(env: &Env, flags: u32) -> Result<()> {
    let mounted = env.mount("")?;
    let path = env.path("file");
    let data = vec![0x5a; 40_000];
    let file = open_buffered(&path)?;
    file.write_all_at(&data, 0)?;
    file.sync_all()?;
    fs::create_dir(env.path("dir"))?;
    rustix::fs::sync();
    let direct = open_direct(&path)?;
    // Not on the disk yet: to be written where that is asked for, and to be thrown away elsewhere.
    fs::write(env.path("late"), b"late")?;

    let root = File::open(env.path(""))?;
    fails(
        ioctl::shutdown(&root, 3),
        libc::EINVAL,
        "a way to shut down that is none",
    )?;
    ioctl::shutdown(&root, flags).context("shut down")?;
    ioctl::shutdown(&root, flags).context("shut down again")?;
    ensure!(
        shown_options(MNT)?
            .iter()
            .any(|option| option == "shutdown"),
        "the mount does not tell"
    );

    let eio = libc::EIO;
    let mut bytes = crate::buf::Buffer::new(4096);
    fails(file.read_at(&mut bytes, 0), eio, "read")?;
    fails(file.write_at(&bytes, 0), eio, "write")?;
    fails(direct.read_at(&mut bytes, 0), eio, "direct read")?;
    fails(direct.write_at(&bytes, 0), eio, "direct write")?;
    fails(file.sync_all(), eio, "fsync")?;
    fails(file.sync_data(), eio, "fdatasync")?;
    fails(root.sync_all(), eio, "fsync of a directory")?;
    fails(file.set_len(0), eio, "truncate")?;
    fails(Mapping::new(&file, 4096), eio, "mmap")?;
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fails(
        errno(rustix::fs::fallocate(&file, punch, 0, 4096)),
        eio,
        "a hole",
    )?;
    fails(
        errno(rustix::fs::ioctl_setflags(&file, IFlags::NODUMP)),
        eio,
        "flags",
    )?;
    fails(ioctl::Version::Vfs.set(&file, 1), eio, "a version")?;
    fails(ioctl::set_label(&root, b"x"), eio, "a label")?;
    fails(File::open(&path), eio, "open")?;
    fails(File::create(env.path("new")), eio, "create")?;
    fails(fs::create_dir(env.path("new")), eio, "mkdir")?;
    fails(fs::remove_file(&path), eio, "unlink")?;
    fails(fs::remove_dir(env.path("dir")), eio, "rmdir")?;
    fails(fs::hard_link(&path, env.path("new")), eio, "link")?;
    fails(fs::rename(&path, env.path("new")), eio, "rename")?;
    fails(
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)),
        eio,
        "chmod",
    )?;
    ensure!(fs::metadata(&path)?.len() == 40_000, "stat");
    rustix::fs::sync();
    drop((file, direct, root));
    mounted.end()?;

    let (code, text) = tool_code("e2fsck", &["-fy", DISK])?;
    ensure!(code <= 1, "e2fsck -fy ended with {code}: {text}");
    let mounted = env.mount("")?;
    ensure!(fs::read(&path)? == data, "other data than had been written");
    if flags == 0 {
        ensure!(
            fs::read(env.path("late"))? == b"late",
            "not all was written before"
        );
    }
    mounted.end()
}
