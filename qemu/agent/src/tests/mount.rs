// SPDX-License-Identifier: GPL-2.0
//! Mounting: what is accepted, what is refused and with which words, options.

use super::env::{errno, fails, Env};
use super::{test, Test};
use crate::fs::{self, Mounted, DISK, MNT};
use anyhow::{ensure, Context, Result};
use notblk_protocol::Driver;
use std::fs::{self as file, OpenOptions};
use std::os::unix::fs::FileExt;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for block in [1024, 2048, 4096, 8192, 16384, 32768, 65536] {
        for inode in [128, 256] {
            let name = format!("mount/basics-{}k-{inode}", block / 1024);
            tests.push(test(&name, basics).block(block).inode(inode));
        }
    }
    tests.push(test("mount/unknown-incompat", unknown_incompat));
    tests.push(test("mount/unknown-ro-compat", unknown_ro_compat));
    tests.push(test("mount/options", options));
    tests.push(test("mount/bad-options", bad_options));
    tests.push(test("mount/remount", remount));
    tests.push(test("mount/no-filesystem", no_filesystem));
    tests
}

/// Written once, it is there again after a second mount, which is read-only.
fn basics(env: &Env) -> Result<()> {
    let data: Vec<u8> = (0..100_000_u32).map(|byte| byte as u8).collect();
    let mounted = env.mount("")?;
    ensure!(env.path("lost+found").is_dir(), "no lost+found");
    file::write(env.path("file"), &data)?;
    file::create_dir(env.path("dir"))?;
    mounted.end()?;

    let mounted = env.mount("ro")?;
    ensure!(
        fs::shown_options(MNT)?.contains(&"ro".to_owned()),
        "not shown as read-only"
    );
    ensure!(
        file::read(env.path("file"))? == data,
        "other contents after remounting"
    );
    ensure!(env.path("dir").is_dir(), "the directory is gone");
    fails(
        file::write(env.path("new"), b""),
        libc::EROFS,
        "create on a read-only mount",
    )?;
    fails(
        file::remove_dir(env.path("dir")),
        libc::EROFS,
        "rmdir on a read-only mount",
    )?;
    mounted.end()
}

/// Offset of a feature word in the superblock.
const INCOMPAT: u64 = 0x60;
/// The same for features that forbid writing only.
const RO_COMPAT: u64 = 0x64;

/// Sets bits of a word of the superblock.
fn set_bits(offset: u64, bits: u32) -> Result<()> {
    let disk = OpenOptions::new().read(true).write(true).open(DISK)?;
    let mut word = [0; 4];
    disk.read_exact_at(&mut word, 1024 + offset)?;
    let word = u32::from_le_bytes(word) | bits;
    disk.write_all_at(&word.to_le_bytes(), 1024 + offset)?;
    disk.sync_all().context("sync the disk")
}

/// Clears what a test has set, so that e2fsck can judge.
fn clear_bits(offset: u64, bits: u32) -> Result<()> {
    let disk = OpenOptions::new().read(true).write(true).open(DISK)?;
    let mut word = [0; 4];
    disk.read_exact_at(&mut word, 1024 + offset)?;
    let word = u32::from_le_bytes(word) & !bits;
    disk.write_all_at(&word.to_le_bytes(), 1024 + offset)?;
    disk.sync_all().context("sync the disk")
}

/// A feature that a driver must understand to read at all: refused, and named.
fn unknown_incompat(env: &Env) -> Result<()> {
    // One that no driver knows, named by its number; then one with a name, which ours lacks.
    let unknown = 0x4000_0000;
    set_bits(INCOMPAT, unknown)?;
    for options in ["", "ro"] {
        let result = fs::try_mount(env.driver().name(), DISK, MNT, options);
        fails(
            errno(result),
            libc::EINVAL,
            "mount with an unknown incompat feature",
        )?;
    }
    env.logged(&["vda", "40000000"])?;
    clear_bits(INCOMPAT, unknown)?;
    if env.driver() == Driver::Notblk {
        let extents = 0x40;
        set_bits(INCOMPAT, extents)?;
        let result = fs::try_mount("notblk", DISK, MNT, "");
        fails(errno(result), libc::EINVAL, "mount with extents")?;
        env.logged(&["vda", "extent"])?;
        clear_bits(INCOMPAT, extents)?;
    }
    Ok(())
}

/// A feature that a driver must understand to write: read-only mounts work.
fn unknown_ro_compat(env: &Env) -> Result<()> {
    let unknown = 0x4000_0000;
    set_bits(RO_COMPAT, unknown)?;
    let result = fs::try_mount(env.driver().name(), DISK, MNT, "");
    // ext2 and ext4 say EROFS or EINVAL depending on the kernel's age; that it is refused counts.
    let error = result
        .err()
        .context("mounted read-write with an unknown ro_compat feature")?;
    ensure!(
        matches!(
            error.raw_os_error(),
            libc::EINVAL | libc::EROFS | libc::EACCES
        ),
        "refused with {error}"
    );
    env.logged(&["vda", "40000000"])?;
    let mounted = env
        .mount("ro")
        .context("read-only, with an unknown ro_compat feature")?;
    ensure!(env.path("lost+found").is_dir(), "no lost+found");
    let result = fs::try_remount(MNT, "rw");
    ensure!(
        result.is_err(),
        "remounted read-write with an unknown ro_compat feature"
    );
    mounted.end()?;
    clear_bits(RO_COMPAT, unknown)
}

/// The driver's own options: accepted, and shown.
fn options(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    for (given, shown) in [
        (
            "drain=off,fallback_delay_ms=7",
            ["drain=off", "fallback_delay_ms=7"],
        ),
        (
            "drain=on,fallback_delay_ms=1",
            ["drain=on", "fallback_delay_ms=1"],
        ),
    ] {
        let mounted = env.mount(given)?;
        let options = fs::shown_options(MNT)?;
        for word in shown {
            ensure!(
                options.iter().any(|option| option == word),
                "{word} is not shown: {options:?}"
            );
        }
        mounted.end()?;
    }
    let mounted = env.mount("errors=remount-ro")?;
    let options = fs::shown_options(MNT)?;
    ensure!(
        options.iter().any(|option| option == "errors=remount-ro"),
        "errors= is not shown: {options:?}"
    );
    mounted.end()
}

/// Nonsense is refused, and nothing stays mounted.
fn bad_options(env: &Env) -> Result<()> {
    let mut bad = vec!["no_such_option", "errors=explode"];
    if env.driver() == Driver::Notblk {
        bad.extend([
            "drain=maybe",
            "fallback_delay_ms=soon",
            "fallback_delay_ms=-1",
            "drain",
        ]);
    }
    for options in bad {
        let result = fs::try_mount(env.driver().name(), DISK, MNT, options);
        fails(errno(result), libc::EINVAL, &format!("mount -o {options}"))?;
    }
    // The device is free again.
    env.mount("")?.end()
}

/// Options change while mounted, and a refused change changes nothing.
fn remount(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    file::write(env.path("file"), b"before")?;
    fs::try_remount(MNT, "ro").context("remount read-only")?;
    fails(
        file::write(env.path("file"), b"x"),
        libc::EROFS,
        "write while read-only",
    )?;
    ensure!(
        file::read(env.path("file"))? == b"before",
        "other contents while read-only"
    );
    fs::try_remount(MNT, "rw").context("remount read-write")?;
    file::write(env.path("file"), b"after")?;
    if env.driver() == Driver::Notblk {
        fs::try_remount(MNT, "drain=off,fallback_delay_ms=3").context("remount with options")?;
        let options = fs::shown_options(MNT)?;
        ensure!(
            options.contains(&"drain=off".to_owned()),
            "drain=off is not shown: {options:?}"
        );
        ensure!(
            options.contains(&"fallback_delay_ms=3".to_owned()),
            "the delay is not shown: {options:?}"
        );
        let result = fs::try_remount(MNT, "drain=on,no_such_option");
        fails(errno(result), libc::EINVAL, "remount with nonsense")?;
        let options = fs::shown_options(MNT)?;
        ensure!(
            options.contains(&"drain=off".to_owned()),
            "a refused remount took effect: {options:?}"
        );
    }
    mounted.end()
}

/// A disk without a filesystem is refused.
fn no_filesystem(env: &Env) -> Result<()> {
    // The second disk is blank; the first one stays for e2fsck.
    let result = Mounted::of_type(env.driver().name(), fs::DISK2, "/mnt2", "");
    ensure!(result.is_err(), "a blank disk was mounted");
    let result = fs::try_mount(env.driver().name(), fs::DISK2, "/mnt2", "");
    fails(errno(result), libc::EINVAL, "mount a blank disk")
}
