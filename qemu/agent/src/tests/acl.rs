// SPDX-License-Identifier: GPL-2.0
//! POSIX ACLs.

use super::env::{fails, Env};
use super::{test, Test};
use crate::attributes::{get, list, remove, set};
use crate::fs::{Mounted, DISK, MNT};
use crate::modules;
use crate::sys::as_user;
use anyhow::{ensure, Context, Result};
use rustix::fs::Mode;
use rustix::process::umask;
use std::fs;
use std::os::unix::fs::{chown, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for inode in [128, 256] {
        tests.push(test(&format!("acl/access-{inode}"), access).inode(inode));
        tests.push(test(&format!("acl/inherited-{inode}"), inherited).inode(inode));
    }
    tests.push(test("acl/chmod", chmod));
    tests.push(test("acl/set-group-id", set_group_id));
    tests.push(test("acl/refused", refused));
    tests.push(test("acl/two-drivers", two_drivers));
    tests.push(test("acl/large", large).block(1024));
    tests
}

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

/// `ACL_USER_OBJ`
const OWNER: u16 = 0x01;
/// `ACL_USER`
const USER: u16 = 0x02;
/// `ACL_GROUP_OBJ`
const OWNING_GROUP: u16 = 0x04;
/// `ACL_GROUP`
const GROUP: u16 = 0x08;
/// `ACL_MASK`
const MASK: u16 = 0x10;
/// `ACL_OTHER`
const OTHER: u16 = 0x20;
/// For entries that have no id.
const NOBODY: u32 = u32::MAX;

/// An ACL as user space has it: version 2, entries of tag, permissions and id.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        value.extend(tag.to_le_bytes());
        value.extend(perm.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    value
}

/// The usual one: user 1000 may read, and group 2000.
fn usual(owner: u16, group: u16, mask: u16, other: u16) -> Vec<u8> {
    acl(&[
        (OWNER, owner, NOBODY),
        (USER, 4, 1000),
        (OWNING_GROUP, group, NOBODY),
        (GROUP, 5, 2000),
        (MASK, mask, NOBODY),
        (OTHER, other, NOBODY),
    ])
}

fn mode(path: &Path) -> Result<u32> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o7777)
}

/// Asks for a file's mode.
fn has_mode(path: &Path, expected: u32) -> Result<()> {
    let found = mode(path)?;
    ensure!(
        found == expected,
        "{} has mode {found:o}, should have {expected:o}",
        path.display()
    );
    Ok(())
}

/// Whether a user can read a file.
fn can_read(path: &Path, uid: u32, gid: u32) -> Result<bool> {
    let status = Command::new("busybox")
        .arg("cat")
        .arg(path)
        .uid(uid)
        .gid(gid)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("run busybox")?;
    Ok(status.success())
}

fn access(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let file = env.path("file");
    fs::write(&file, b"text")?;
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600))?;
    fails(
        get(&file, ACCESS),
        libc::ENODATA,
        "an ACL where there is none",
    )?;
    ensure!(!can_read(&file, 1000, 1000)?);
    let value = usual(6, 0, 4, 0);
    set(&file, ACCESS, &value)?;
    // The mask is the group's bits of the mode.
    has_mode(&file, 0o640)?;
    let check = || -> Result<()> {
        ensure!(get(&file, ACCESS)? == value, "{:?}", get(&file, ACCESS)?);
        ensure!(list(&file)?.contains(ACCESS));
        ensure!(can_read(&file, 1000, 1000)?, "user 1000 cannot read");
        ensure!(can_read(&file, 1001, 2000)?, "group 2000 cannot read");
        ensure!(!can_read(&file, 1001, 1001)?, "anybody can read");
        Ok(())
    };
    check()?;
    mounted.end()?;
    let mounted = env.mount("")?;
    check()?;
    // What a mode can say is no ACL.
    set(
        &file,
        ACCESS,
        &acl(&[
            (OWNER, 6, NOBODY),
            (OWNING_GROUP, 4, NOBODY),
            (OTHER, 4, NOBODY),
        ]),
    )?;
    has_mode(&file, 0o644)?;
    ensure!(list(&file)?.is_empty());
    set(&file, ACCESS, &value)?;
    remove(&file, ACCESS)?;
    fails(get(&file, ACCESS), libc::ENODATA, "an ACL that was removed")?;
    ensure!(list(&file)?.is_empty());
    // To take away what is not there is no error, unlike for other attributes.
    remove(&file, ACCESS)?;
    mounted.end()
}

fn chmod(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let file = env.path("file");
    fs::write(&file, b"text")?;
    set(&file, ACCESS, &usual(6, 4, 4, 0))?;
    fs::set_permissions(&file, PermissionsExt::from_mode(0o700))?;
    ensure!(get(&file, ACCESS)? == usual(7, 4, 0, 0));
    ensure!(!can_read(&file, 1000, 1000)?, "the mask forbids it");
    fs::set_permissions(&file, PermissionsExt::from_mode(0o675))?;
    ensure!(get(&file, ACCESS)? == usual(6, 4, 7, 5));
    ensure!(can_read(&file, 1000, 1000)?);
    has_mode(&file, 0o675)?;
    mounted.end()?;
    let mounted = env.mount("")?;
    ensure!(get(&file, ACCESS)? == usual(6, 4, 7, 5));
    has_mode(&file, 0o675)?;
    // Special files have ACLs too, or chmod of them would fail.
    mounted.end()?;
    crate::fs::tool("debugfs", &["-w", "-R", "mknod fifo p", DISK])?;
    let mounted = env.mount("")?;
    let fifo = env.path("fifo");
    fs::set_permissions(&fifo, PermissionsExt::from_mode(0o640))?;
    set(&fifo, ACCESS, &usual(6, 4, 4, 0))?;
    fs::set_permissions(&fifo, PermissionsExt::from_mode(0o600))?;
    ensure!(get(&fifo, ACCESS)? == usual(6, 4, 0, 0));
    mounted.end()
}

/// With an ACL from an owner who is not in the file's group the set-group-id bit goes; from one who is, or from root, it stays.
fn set_group_id(env: &Env) -> Result<()> {
    const MODE: u32 = 0o2770;
    const NEW: u32 = 0o775;
    let value = usual(7, 5, 7, 5);
    let cases: [(&str, u32, &[u32], u32); 3] = [
        ("outside", 1000, &[], NEW),
        ("inside", 1000, &[2000], 0o2000 | NEW),
        ("root", 0, &[], 0o2000 | NEW),
    ];
    let mounted = env.mount("")?;
    for (name, uid, groups, expected) in cases {
        let file = env.path(name);
        fs::write(&file, b"")?;
        chown(&file, Some(1000), Some(2000))?;
        fs::set_permissions(&file, PermissionsExt::from_mode(MODE))?;
        as_user(uid, uid, groups, || set(&file, ACCESS, &value))?
            .with_context(|| format!("an ACL of the file {name}"))?;
        has_mode(&file, expected)?;
    }
    mounted.end()?;
    let mounted = env.mount("")?;
    for (name, _, _, expected) in cases {
        has_mode(&env.path(name), expected)?;
        ensure!(get(env.path(name), ACCESS)? == value, "{name}: another ACL");
    }
    mounted.end()
}

fn inherited(env: &Env) -> Result<()> {
    let old = umask(Mode::from_raw_mode(0o022));
    let result = inherit(env);
    umask(old);
    result
}

fn inherit(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let open = |path: &Path, mode: u32| -> Result<()> {
        use std::os::unix::fs::OpenOptionsExt;
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)?;
        Ok(())
    };
    // Without a default ACL the umask counts.
    let plain = env.path("plain");
    open(&plain, 0o666)?;
    has_mode(&plain, 0o644)?;
    ensure!(list(&plain)?.is_empty());
    let dir = env.path("dir");
    fs::create_dir(&dir)?;
    has_mode(&dir, 0o755)?;
    let default = usual(7, 5, 7, 0);
    set(&dir, DEFAULT, &default)?;
    ensure!(list(&dir)?.into_iter().eq([DEFAULT.to_owned()]));
    // With one it does not.
    let file = dir.join("file");
    open(&file, 0o666)?;
    has_mode(&file, 0o660)?;
    let sub = dir.join("sub");
    fs::create_dir(&sub)?;
    has_mode(&sub, 0o770)?;
    let deep = sub.join("deep");
    open(&deep, 0o640)?;
    let check = || -> Result<()> {
        ensure!(get(&file, ACCESS)? == usual(6, 5, 6, 0));
        fails(
            get(&file, DEFAULT),
            libc::ENODATA,
            "a default ACL of a file",
        )?;
        ensure!(get(&sub, ACCESS)? == default);
        ensure!(get(&sub, DEFAULT)? == default);
        ensure!(get(&deep, ACCESS)? == usual(6, 5, 4, 0));
        has_mode(&deep, 0o640)
    };
    check()?;
    mounted.end()?;
    let mounted = env.mount("")?;
    check()?;
    // One that a mode can say makes modes, not ACLs.
    set(
        &dir,
        DEFAULT,
        &acl(&[
            (OWNER, 7, NOBODY),
            (OWNING_GROUP, 0, NOBODY),
            (OTHER, 1, NOBODY),
        ]),
    )?;
    let other = dir.join("other");
    open(&other, 0o777)?;
    has_mode(&other, 0o701)?;
    ensure!(list(&other)?.is_empty());
    remove(&dir, DEFAULT)?;
    let last = dir.join("last");
    open(&last, 0o666)?;
    has_mode(&last, 0o644)?;
    fs::remove_dir_all(&dir)?;
    mounted.end()
}

fn refused(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let file = env.path("file");
    fs::write(&file, b"")?;
    let good = usual(6, 4, 4, 0);
    fails(
        set(&file, DEFAULT, &good),
        libc::EACCES,
        "a default ACL of a file",
    )?;
    // Nothing to take away is no error there.
    remove(&file, DEFAULT)?;
    fails(
        set(&file, ACCESS, &good[..good.len() - 1]),
        libc::EINVAL,
        "an ACL cut short",
    )?;
    fails(
        set(&file, ACCESS, &acl(&[(OWNER, 6, NOBODY)])),
        libc::EINVAL,
        "an ACL without group and others",
    )?;
    fails(
        set(&file, ACCESS, &acl(&[(3, 6, NOBODY)])),
        libc::EINVAL,
        "a tag that does not exist",
    )?;
    ensure!(list(&file)?.is_empty());
    mounted.end()
}

/// More entries than a block holds.
fn large(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let file = env.path("file");
    fs::write(&file, b"")?;
    let with = |users: u32| {
        let mut entries = vec![(OWNER, 6, NOBODY)];
        entries.extend((0..users).map(|n| (USER, (n % 8) as u16, 1000 + n)));
        entries.extend([
            (OWNING_GROUP, 4, NOBODY),
            (MASK, 7, NOBODY),
            (OTHER, 0, NOBODY),
        ]);
        acl(&entries)
    };
    set(&file, ACCESS, &with(100))?;
    ensure!(get(&file, ACCESS)? == with(100));
    fails(
        set(&file, ACCESS, &with(200)),
        libc::ENOSPC,
        "an ACL larger than a block",
    )?;
    ensure!(get(&file, ACCESS)? == with(100));
    mounted.end()?;
    let mounted = env.mount("")?;
    ensure!(get(&file, ACCESS)? == with(100));
    mounted.end()
}

/// What one driver keeps, the other reads.
fn two_drivers(env: &Env) -> Result<()> {
    modules::load("ext4", &[])?;
    let here = env.driver().name();
    for (round, (writer, reader)) in [(here, "ext4"), ("ext4", here)].into_iter().enumerate() {
        let dir = env.path(format!("dir{round}"));
        let mounted = Mounted::of_type(writer, DISK, MNT, "")?;
        fs::create_dir(&dir)?;
        set(&dir, DEFAULT, &usual(7, 5, 7, 0))?;
        fs::write(dir.join("file"), b"")?;
        mounted.end()?;
        let mounted = Mounted::of_type(reader, DISK, MNT, "")?;
        ensure!(get(&dir, DEFAULT)? == usual(7, 5, 7, 0));
        ensure!(get(dir.join("file"), ACCESS)? == usual(6, 5, 6, 0));
        fs::write(dir.join("another"), b"")?;
        ensure!(get(dir.join("another"), ACCESS)? == usual(6, 5, 6, 0));
        mounted.end()?;
    }
    Ok(())
}
