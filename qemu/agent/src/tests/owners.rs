// SPDX-License-Identifier: GPL-2.0
//! Who owns what: mounts with mapped owners, directories with the sticky and the set-group-ID bit.

use super::env::{errno, fails, Env};
use super::{test, Test};
use crate::buf::Buffer;
use crate::fs::{open_direct, MNT};
use crate::sys::{as_user, idmap, in_user_namespace};
use anyhow::{ensure, Context, Result};
use rustix::mount::{move_mount, open_tree, MoveMountFlags, OpenTreeFlags};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{chown, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        test("owners/mapped-mount", mapped_mount),
        test("owners/sticky", sticky),
        test("owners/set-group-id", set_group_id),
    ]
}

/// A user namespace that lives in a child: the identities 100000 to 100009 in it are 0 to 9 outside.
pub(super) fn namespace() -> Result<File> {
    // Any program that waits for its input will do.
    let mut child = in_user_namespace(Command::new("debugfs").stdin(Stdio::piped()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("a process in a user namespace")?;
    let proc = format!("/proc/{}", child.id());
    fs::write(format!("{proc}/uid_map"), "100000 0 10")?;
    fs::write(format!("{proc}/gid_map"), "100000 0 10")?;
    let namespace = File::open(format!("{proc}/ns/user"))?;
    drop(child.stdin.take());
    child.wait()?;
    Ok(namespace)
}

/// A mount of what is mounted at [`MNT`], detached, idmapped by `namespace`.
pub(super) fn mapped_tree(namespace: &File) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(rustix::fs::CWD, MNT, flags)?;
    idmap(tree.as_fd(), namespace)?;
    Ok(tree)
}

/// Through the mapped mount, owner 100005 on disk is 5, and 5 is written as 100005.
fn mapped_mount(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    fs::write(env.path("theirs"), b"x")?;
    chown(env.path("theirs"), Some(100_003), Some(100_004))?;
    fs::write(env.path("ours"), b"x")?;
    fs::create_dir(env.path("dir"))?;
    chown(env.path("dir"), Some(100_000), Some(100_000))?;
    let tree = mapped_tree(&namespace()?).context("an idmapped mount")?;
    let empty = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&tree, "", rustix::fs::CWD, "/mnt2", empty)?;
    drop(tree);
    let place = Path::new("/mnt2");
    let owner = |path: &Path| -> Result<(u32, u32)> {
        let meta = fs::symlink_metadata(path)?;
        Ok((meta.uid(), meta.gid()))
    };
    ensure!(owner(&place.join("theirs"))? == (3, 4));
    ensure!(owner(&place.join("ours"))? == (65_534, 65_534));
    // Everything that is made.
    let dir = place.join("dir");
    fs::write(dir.join("file"), b"made here")?;
    fs::create_dir(dir.join("sub"))?;
    std::os::unix::fs::symlink("target", dir.join("link"))?;
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.join("fifo"),
        rustix::fs::FileType::Fifo,
        mode,
        0,
    )?;
    let tmp = fs::OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .open(&dir)?;
    ensure!(tmp.metadata()?.uid() == 0);
    drop(tmp);
    for name in ["file", "sub", "link", "fifo"] {
        ensure!(
            owner(&dir.join(name))? == (0, 0),
            "{name}: {:?}",
            owner(&dir.join(name))?
        );
        let below = env.path("dir").join(name);
        ensure!(
            owner(&below)? == (100_000, 100_000),
            "{name} on disk: {:?}",
            owner(&below)?
        );
    }
    // Changes of owner and mode.
    chown(dir.join("file"), Some(5), Some(6))?;
    ensure!(owner(&env.path("dir/file"))? == (100_005, 100_006));
    fails(
        chown(dir.join("file"), Some(10), None),
        libc::EOVERFLOW,
        "an owner that has no number on disk",
    )?;
    fails(
        chown(place.join("ours"), Some(1), None),
        libc::EOVERFLOW,
        "a file whose owner has no number here",
    )?;
    fs::set_permissions(dir.join("file"), fs::Permissions::from_mode(0o640))?;
    fs::OpenOptions::new()
        .write(true)
        .open(dir.join("file"))?
        .set_len(2)?;
    ensure!(fs::read(env.path("dir/file"))? == b"ma");
    // The owner may do what an owner may, and others may not.
    as_user(5, 5, &[], || -> Result<()> {
        fs::set_permissions(dir.join("file"), fs::Permissions::from_mode(0o600))?;
        ensure!(fs::read(dir.join("file"))? == b"ma");
        Ok(())
    })??;
    as_user(7, 7, &[], || {
        fails(fs::read(dir.join("file")), libc::EACCES, "another's file")
    })??;
    rustix::mount::unmount("/mnt2", rustix::mount::UnmountFlags::empty())?;
    mounted.end()?;
    let mounted = env.mount("")?;
    ensure!(owner(&env.path("dir/file"))? == (100_005, 100_006));
    ensure!(fs::metadata(env.path("dir/file"))?.mode() & 0o7777 == 0o600);
    mounted.end()
}

/// In a sticky directory one removes and renames what is one's own.
fn sticky(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let dir = env.path("tmp");
    fs::create_dir(&dir)?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o1777))?;
    for name in ["a", "b"] {
        fs::write(dir.join(name), b"")?;
        chown(dir.join(name), Some(1000), Some(1000))?;
    }
    as_user(2000, 2000, &[], || -> Result<()> {
        fs::write(dir.join("mine"), b"")?;
        fails(fs::remove_file(dir.join("a")), libc::EPERM, "unlink")?;
        fails(
            fs::rename(dir.join("a"), dir.join("c")),
            libc::EPERM,
            "rename",
        )?;
        fails(
            fs::rename(dir.join("mine"), dir.join("a")),
            libc::EPERM,
            "rename over",
        )?;
        let exchange = rustix::fs::renameat_with(
            rustix::fs::CWD,
            dir.join("mine"),
            rustix::fs::CWD,
            dir.join("a"),
            rustix::fs::RenameFlags::EXCHANGE,
        );
        fails(errno(exchange), libc::EPERM, "exchange")
    })??;
    as_user(1000, 1000, &[], || -> Result<()> {
        fs::remove_file(dir.join("a"))?;
        Ok(fs::rename(dir.join("b"), dir.join("c"))?)
    })??;
    ensure!(fs::metadata(dir.join("mine"))?.uid() == 2000);
    mounted.end()
}

/// What is made in a directory with the bit gets the directory's group, and directories the bit.
fn set_group_id(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let dir = env.path("team");
    fs::create_dir(&dir)?;
    chown(&dir, Some(1000), Some(70_000))?;
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o2777))?;
    as_user(1000, 1000, &[], || -> Result<()> {
        fs::write(dir.join("file"), b"")?;
        fs::create_dir(dir.join("sub"))?;
        std::os::unix::fs::symlink("target", dir.join("link"))?;
        // No member of the group: the file must not get the bit.
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o2770)
            .open(dir.join("bit"))?;
        Ok(())
    })??;
    mounted.end()?;
    let mounted = env.mount("")?;
    for name in ["file", "sub", "link", "bit"] {
        let meta = fs::symlink_metadata(dir.join(name))?;
        ensure!(
            (meta.uid(), meta.gid()) == (1000, 70_000),
            "{name}: {} {}",
            meta.uid(),
            meta.gid()
        );
        let bit = meta.mode() & 0o2000 != 0;
        ensure!(bit == (name == "sub"), "{name}: mode {:o}", meta.mode());
    }
    // A write by another takes set-id bits away.
    fs::set_permissions(dir.join("file"), fs::Permissions::from_mode(0o6777))?;
    as_user(2000, 2000, &[], || fs::write(dir.join("file"), b"x"))??;
    ensure!(fs::metadata(dir.join("file"))?.mode() & 0o7777 == 0o777);
    direct_write_by_another(&dir.join("file"))?;
    mounted.end()
}

/// So does a direct one, over what is there, behind the end, and into a hole.
fn direct_write_by_another(path: &Path) -> Result<()> {
    fs::write(path, vec![1; 8192])?;
    for (what, offset) in [("over", 0), ("behind the end", 1 << 16), ("hole", 1 << 15)] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o6777))?;
        as_user(2000, 2000, &[], || {
            open_direct(path)?
                .write_all_at(&Buffer::new(4096), offset)
                .context("a direct write by another")
        })??;
        let mode = fs::metadata(path)?.mode() & 0o7777;
        ensure!(mode == 0o777, "{what}: mode {mode:o} after a direct write");
    }
    Ok(())
}
