// SPDX-License-Identifier: GPL-2.0
//! What the superblock itself says of how it is to be mounted, and where its copies are.

use super::env::{errno, fails, Env};
use super::{test, Test};
use crate::buf::stamped;
use crate::fs::{self as image, debugfs, shown_options, tool, try_remount, DISK, MNT};
use anyhow::{ensure, Context, Result};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        test("defaults/discard", discard),
        test("defaults/read-only", read_only),
        test("defaults/new-revision", new_revision),
        test("defaults/sparse-super2", sparse_super2),
        // Its journal is nobody's afterwards.
        test("defaults/journal", journal).block(1024).damages(),
    ]
}

/// Whether the mount shows an option.
fn shows(wanted: &str) -> Result<bool> {
    Ok(shown_options(MNT)?.iter().any(|option| option == wanted))
}

/// As `tune2fs -o discard` leaves it: as if the option were given, unless it is refused; it is not shown, and its refusal is.
fn discard(env: &Env) -> Result<()> {
    debugfs("ssv default_mount_opts 0x400")?;
    for (options, discards) in [("", true), ("nodiscard", false)] {
        let mounted = env.mount(options)?;
        ensure!(
            !shows("discard")? && shows("nodiscard")? != discards,
            "{options:?}: shown are {:?}",
            shown_options(MNT)?
        );
        super::discard::gives_back(env, discards).with_context(|| format!("{options:?}"))?;
        mounted.end()?;
    }
    debugfs("ssv default_mount_opts 0").map(drop)
}

/// Mounts read-only by itself, and stays so.
fn stays_read_only(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    ensure!(shows("ro")?, "it is mounted with {:?}", shown_options(MNT)?);
    fails(
        fs::write(env.path("file"), b"file"),
        libc::EROFS,
        "a new file",
    )?;
    fails(
        errno(try_remount(MNT, "rw")),
        libc::EROFS,
        "remount read-write",
    )?;
    mounted.end()
}

/// The feature `read-only`.
fn read_only(env: &Env) -> Result<()> {
    debugfs("feature read-only")?;
    stays_read_only(env)?;
    debugfs("feature -read-only").map(drop)
}

/// A revision of the format that does not exist yet.
fn new_revision(env: &Env) -> Result<()> {
    // The tools do not touch such a one. `s_rev_level`
    let set = |revision: u32| -> Result<()> {
        let disk = OpenOptions::new().write(true).open(DISK)?;
        disk.write_all_at(&revision.to_le_bytes(), 1024 + 0x4c)?;
        disk.sync_all().context("sync the disk")
    };
    set(2)?;
    let result = stays_read_only(env);
    set(1)?;
    result
}

/// Two groups have copies of the superblock, wherever the superblock says: what others begin with is their own.
fn sparse_super2(env: &Env) -> Result<()> {
    tool(
        "mke2fs",
        &[
            "-q",
            "-F",
            "-t",
            "ext2",
            "-b",
            "1024",
            "-O",
            "sparse_super2,^resize_inode",
            "-E",
            "num_backup_sb=2",
            DISK,
            "64M",
        ],
    )?;
    let said = tool("dumpe2fs", &[DISK])?;
    let copies = said.matches("Backup superblock").count();
    ensure!(copies == 2, "{copies} copies: {said}");
    let mounted = env.mount("")?;
    let data = stamped(8 << 20, 1).to_vec();
    for number in 0..6 {
        fs::create_dir(env.path(format!("dir{number}")))?;
        fs::write(env.path(format!("dir{number}/file")), &data)?;
    }
    let stat = rustix::fs::statvfs(MNT)?;
    let value = |name: &str| -> Result<u64> {
        let line = said.lines().find_map(|line| line.strip_prefix(name));
        Ok(line.context("dumpe2fs is short")?.trim().parse()?)
    };
    let wanted = value("Block count:")? - value("Overhead clusters:")?;
    ensure!(
        stat.f_blocks == wanted,
        "{} blocks, should be {wanted}",
        stat.f_blocks
    );
    mounted.end()?;
    ensure!(image::check(DISK)?.is_none(), "{:?}", image::check(DISK)?);
    let mounted = env.mount("ro")?;
    for number in 0..6 {
        ensure!(
            fs::read(env.path(format!("dir{number}/file")))? == data,
            "other data"
        );
    }
    mounted.end()
}

/// The blocks of a journal are no file's, used or not: `df` counts them neither as free nor as used.
fn journal(env: &Env) -> Result<()> {
    let blocks = || -> Result<u64> {
        let mounted = env.mount("")?;
        let stat = rustix::fs::statvfs(MNT)?;
        mounted.end()?;
        Ok(stat.f_blocks)
    };
    tool(
        "mke2fs",
        &[
            "-q", "-F", "-t", "ext3", "-b", "1024", "-J", "size=4", DISK, "64M",
        ],
    )?;
    let with = blocks()?;
    debugfs("feature -has_journal")?;
    let without = blocks()?;
    ensure!(
        without - with == 4096,
        "{with} blocks with a journal of 4096, {without} without"
    );
    Ok(())
}
