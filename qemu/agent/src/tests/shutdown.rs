// SPDX-License-Identifier: GPL-2.0
//! Shutting a mounted filesystem down.

use super::env::{errno, fails, Env};
use super::{test, Test};
use crate::fs::{open_buffered, open_direct, shown_options, tool_code, DISK, MNT};
use crate::sys::{ioctl, Mapping};
use anyhow::{ensure, Context, Result};
use rustix::fs::{FallocateFlags, IFlags};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    [(0, "sync"), (1, "logflush"), (2, "nologflush")]
        .into_iter()
        .map(|(flags, name)| {
            test(&format!("shutdown/{name}"), move |env| shutdown(env, flags)).damages()
        })
        .collect()
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
