// SPDX-License-Identifier: GPL-2.0
//! Remounts that fail, and what an emergency refuses.

use super::env::{errno, fails, fails_somehow, Env, Skip};
use super::quota::hidden;
use super::record::damage;
use super::{test, Test};
use crate::fs::{open_buffered, shown_options, tool, tool_code, try_remount, DISK, MNT};
use crate::sys::{ioctl, Mapping};
use anyhow::{bail, ensure, Context, Result};
use notblk_protocol::Driver;
use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        test("remount/failed", failed).damages(),
        test("remount/emergency", emergency).damages(),
        test("remount/shutdown", shutdown).damages(),
        test("remount/forced", forced),
        test("remount/forced-orphan", forced_orphan),
    ]
}

/// Options as `/proc/mounts` has them, in an order of their own.
fn options() -> Result<Vec<String>> {
    let mut options = shown_options(MNT)?;
    options.sort();
    Ok(options)
}

/// To be writable it would need quotas, which cannot be turned on: it stays read-only, has the options that it had, and the
/// errno is that of what failed first, whatever an option of the remount makes of errors.
fn failed(env: &Env) -> Result<()> {
    hidden(env)?;
    tool("debugfs", &["-w", "-R", "ssv usr_quota_inum 7", DISK])?;
    for asked in ["minixdf,errors=continue", "minixdf,errors=remount-ro"] {
        let mounted = env.mount("ro,errors=continue")?;
        let before = options()?;
        fails(
            errno(try_remount(MNT, asked)),
            libc::EUCLEAN,
            &format!("remount read-write, {asked}"),
        )?;
        let mut after = options()?;
        // Of this the error is the cause, not the remount.
        after.retain(|option| option != "emergency_ro");
        ensure!(before == after, "{asked}: {before:?} became {after:?}");
        fails(File::create(env.path("new")), libc::EROFS, "create")?;
        mounted.end()?;
    }
    Ok(())
}

/// Opens for writing.
fn open_rw(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// After damage with `errors=remount-ro`.
fn emergency(env: &Env) -> Result<()> {
    damage(env)?;
    let mounted = env.mount("errors=remount-ro")?;
    let good = env.path("good");
    let before = open_buffered(&good)?;
    fails_somehow(fs::read(env.path("one")), "a pointer to nowhere")?;
    let ro = libc::EROFS;
    fails(open_rw(&good), ro, "open for writing")?;
    fails(File::create(&good), ro, "open and truncate")?;
    fails(Mapping::new(&before, 4096), ro, "a mapping to write to")?;
    let reading = File::open(&good).context("open for reading")?;
    fails(ioctl::set_label(&reading, b"label"), ro, "a label")?;
    drop(before);
    fails(errno(try_remount(MNT, "ro")), ro, "remount read-only")?;
    // Nothing changes by that but options.
    try_remount(MNT, "errors=remount-ro,minixdf").context("remount as it is")?;
    ensure!(
        options()?.contains(&"minixdf".to_owned()),
        "the option is not there: {:?}",
        options()?
    );
    fails(open_rw(&good), ro, "open for writing after a remount")?;
    drop(reading);
    mounted.end()?;
    let (code, text) = tool_code("e2fsck", &["-fy", DISK])?;
    ensure!(code <= 1, "e2fsck -fy ended with {code}: {text}");
    Ok(())
}

/// After a shutdown.
fn shutdown(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let file = env.path("file");
    fs::write(&file, b"file")?;
    let root = File::open(MNT)?;
    ioctl::shutdown(&root, 2)?;
    let (eio, ro) = (libc::EIO, libc::EROFS);
    fails(open_rw(&file), eio, "open for writing")?;
    fails(File::open(&file), eio, "open for reading")?;
    fails(errno(rustix::fs::syncfs(&root)), eio, "syncfs")?;
    drop(root);
    fails(errno(try_remount(MNT, "ro")), ro, "remount read-only")?;
    try_remount(MNT, "minixdf").context("remount as it is")?;
    mounted.end()?;
    let (code, text) = tool_code("e2fsck", &["-fy", DISK])?;
    ensure!(code <= 1, "e2fsck -fy ended with {code}: {text}");
    Ok(())
}

/// Has the kernel make all filesystems read-only that lie on disks, whoever writes to them (SysRq u).
fn force_read_only() -> Result<()> {
    const TRIGGER: &str = "/proc/sysrq-trigger";
    if !Path::new(TRIGGER).exists() {
        bail!(Skip("this kernel has no SysRq".into()));
    }
    fs::write(TRIGGER, "u")?;
    for _ in 0..500 {
        if shown_options(MNT)?.iter().any(|option| option == "ro") {
            return Ok(());
        }
        sleep(Duration::from_millis(20));
    }
    bail!("it is not read-only")
}

/// Read-only by force, though a file is open for writing: what was written is on the disk, and the way back is open.
fn forced(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let path = env.path("file");
    let file = open_buffered(&path)?;
    fs::write(&path, b"written")?;
    force_read_only()?;
    fails(File::create(env.path("new")), libc::EROFS, "create")?;
    fails(open_rw(&path), libc::EROFS, "open for writing")?;
    ensure!(fs::read(&path)? == b"written", "other contents");
    try_remount(MNT, "").context("read-write again")?;
    fs::write(env.path("new"), b"new")?;
    drop(file);
    mounted.end()?;
    let mounted = env.mount("ro")?;
    ensure!(fs::read(&path)? == b"written", "lost");
    mounted.end()
}

/// With a file that has no name any more: it cannot be deleted now, so it is left to the next mount, and there is no way back.
fn forced_orphan(env: &Env) -> Result<()> {
    // The C driver has the same rule, and a warning in the log when the file is closed.
    env.only(Driver::Notblk)?;
    let mounted = env.mount("")?;
    let path = env.path("gone");
    let file = open_buffered(&path)?;
    fs::write(&path, vec![7; 100_000])?;
    fs::remove_file(&path)?;
    force_read_only()?;
    let refused = || {
        fails(
            errno(try_remount(MNT, "")),
            libc::EINVAL,
            "read-write with an orphan",
        )
    };
    refused()?;
    drop(file);
    refused()?;
    mounted.end()?;
    let mounted = env.mount("")?;
    env.logged(&["vda", "1 orphan inode deleted"])?;
    mounted.end()
}
