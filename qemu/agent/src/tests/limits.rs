// SPDX-License-Identifier: GPL-2.0
//! Reserved blocks, whose group a new file has, what statfs says, and a superblock that is not the first.

use super::env::{errno, fails, Env};
use super::{test, Test};
use crate::fs::{shown_options, tool, try_mount, try_remount, DISK, MNT};
use crate::sys::as_user;
use anyhow::{bail, ensure, Context, Result};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{chown, FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        test("limits/reserved-for-root", reserved_for_root).mib(16),
        test("limits/reserved-for-others", reserved_for_others)
            .block(1024)
            .mib(16),
        test("limits/reserved-by-superblock", reserved_by_superblock).mib(16),
        test("limits/groups", groups),
        test("limits/groups-by-default", groups_by_default),
        test("limits/statfs", statfs),
        test("limits/bad-options", bad_options),
        test("limits/other-superblock", other_superblock)
            .block(1024)
            .mib(64),
    ]
}

/// An ordinary user and its group.
const USER: u32 = 1000;
/// Another group.
const GROUP: u32 = 2000;

/// Blocks that the test's filesystem reserves: `-m 5` of mke2fs.
fn reserved() -> Result<u64> {
    field("Reserved block count:")
}

/// A number of the superblock, as dumpe2fs names it.
fn field(name: &str) -> Result<u64> {
    let text = tool("dumpe2fs", &["-h", DISK])?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.with_context(|| format!("dumpe2fs has no {name}"))?;
    value.trim().parse().with_context(|| value.to_owned())
}

/// Blocks that statfs calls free.
fn free() -> Result<u64> {
    Ok(rustix::fs::statvfs(MNT)?.f_bfree)
}

/// A file that everybody may write.
fn shared_file(env: &Env, name: &str) -> Result<PathBuf> {
    let path = env.path(name);
    File::create(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    Ok(path)
}

/// As this user, writes to the end of the file until there is no room.
fn fill_as(uid: u32, groups: &[u32], path: &PathBuf) -> Result<u64> {
    as_user(uid, uid, groups, || -> Result<u64> {
        let file = OpenOptions::new().append(true).open(path)?;
        let mut total = 0;
        for length in [65536, 1024] {
            let piece = vec![0x5a; length];
            loop {
                match file.write_at(&piece, 0) {
                    Ok(0) => bail!("a write returned 0"),
                    Ok(count) => total += count as u64,
                    Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => break,
                    Err(error) => return Err(error).context("filling"),
                }
            }
        }
        file.sync_all()?;
        Ok(total)
    })?
}

/// What indirect blocks may take of what is left; the C driver takes them of what is reserved.
const SLACK: u64 = 3;

fn reserved_for_root(env: &Env) -> Result<()> {
    let reserved = reserved()?;
    ensure!(reserved > 100, "only {reserved} blocks are reserved");
    let mounted = env.mount("")?;
    let path = shared_file(env, "user")?;
    fill_as(USER, &[GROUP], &path)?;
    let left = free()?;
    ensure!(
        (reserved..=reserved + SLACK).contains(&left),
        "the user left {left} blocks, {reserved} are reserved"
    );
    let available = rustix::fs::statvfs(MNT)?.f_bavail;
    ensure!(available <= SLACK, "{available} blocks are available");
    // Root goes on.
    fill_as(0, &[], &shared_file(env, "root")?)?;
    let left = free()?;
    ensure!(left <= SLACK, "root left {left} blocks");
    mounted.end()
}

fn reserved_for_others(env: &Env) -> Result<()> {
    let reserved = reserved()?;
    let user = format!("resuid={USER}");
    let group = format!("resgid={GROUP}");
    for (options, may) in [(&user, true), (&group, true), (&String::new(), false)] {
        let mounted = env.mount(options)?;
        ensure!(
            options.is_empty() || shown_options(MNT)?.contains(options),
            "{options} is not shown"
        );
        let path = shared_file(env, "file")?;
        fill_as(USER, &[GROUP], &path)?;
        let left = free()?;
        ensure!(
            if may {
                left <= SLACK
            } else {
                left + SLACK >= reserved
            },
            "with {options:?} the user left {left} of {reserved} blocks"
        );
        if !may {
            // From now on it may.
            try_remount(MNT, &user).context("remount")?;
            fill_as(USER, &[], &path)?;
            let left = free()?;
            ensure!(
                left <= SLACK,
                "after remounting the user left {left} blocks"
            );
        }
        fs::remove_file(path)?;
        mounted.end()?;
    }
    Ok(())
}

/// `s_def_resuid` and `s_def_resgid` of the superblock.
fn reserved_by_superblock(env: &Env) -> Result<()> {
    for (who, id, groups) in [("uid", USER, &[][..]), ("gid", GROUP, &[GROUP])] {
        let command = format!("ssv def_res{who} {id}");
        tool("debugfs", &["-w", "-R", &command, DISK])?;
        let mounted = env.mount("")?;
        let shown = shown_options(MNT)?;
        ensure!(
            shown.contains(&format!("res{who}={id}")),
            "the superblock's res{who} is not shown: {shown:?}"
        );
        let path = shared_file(env, "file")?;
        fill_as(USER, groups, &path)?;
        let left = free()?;
        ensure!(left <= SLACK, "res{who}: the user left {left} blocks");
        fs::remove_file(path)?;
        mounted.end()?;
        let command = format!("ssv def_res{who} 0");
        tool("debugfs", &["-w", "-R", &command, DISK])?;
    }
    Ok(())
}

/// Group, and whether set-group-id is set, of a file and of a directory that the user makes in `dir`.
fn made_in(dir: &Path) -> Result<[(u32, bool); 2]> {
    let (file, sub) = (dir.join("file"), dir.join("sub"));
    as_user(USER, USER, &[], || -> Result<()> {
        File::create(&file)?;
        Ok(fs::create_dir(&sub)?)
    })??;
    let what = |path: &PathBuf| -> Result<(u32, bool)> {
        let metadata = fs::metadata(path)?;
        ensure!(metadata.uid() == USER, "made by {}", metadata.uid());
        Ok((metadata.gid(), metadata.mode() & 0o2000 != 0))
    };
    let found = [what(&file)?, what(&sub)?];
    fs::remove_file(file)?;
    fs::remove_dir(sub)?;
    Ok(found)
}

fn groups(env: &Env) -> Result<()> {
    for (options, plain, setgid) in [
        ("", [(USER, false); 2], [(GROUP, false), (GROUP, true)]),
        (
            "nogrpid",
            [(USER, false); 2],
            [(GROUP, false), (GROUP, true)],
        ),
        (
            "sysvgroups",
            [(USER, false); 2],
            [(GROUP, false), (GROUP, true)],
        ),
        ("grpid", [(GROUP, false); 2], [(GROUP, false); 2]),
        ("bsdgroups", [(GROUP, false); 2], [(GROUP, false); 2]),
    ] {
        let mounted = env.mount(options)?;
        let dir = env.path("dir");
        fs::create_dir(&dir)?;
        chown(&dir, Some(0), Some(GROUP))?;
        for (mode, expected) in [(0o777, plain), (0o2777, setgid)] {
            fs::set_permissions(&dir, fs::Permissions::from_mode(mode))?;
            let found = made_in(&dir)?;
            ensure!(
                found == expected,
                "{options:?}, in a directory of mode {mode:o}: {found:?}, should be {expected:?}"
            );
        }
        let shown = shown_options(MNT)?.contains(&"grpid".to_owned());
        ensure!(
            shown == matches!(options, "grpid" | "bsdgroups"),
            "{options:?}: grpid shown: {shown}"
        );
        fs::remove_dir(&dir)?;
        mounted.end()?;
    }
    Ok(())
}

/// `bsdgroups` among the superblock's default mount options.
fn groups_by_default(env: &Env) -> Result<()> {
    tool("debugfs", &["-w", "-R", "ssv default_mount_opts 0x2", DISK])?;
    for (options, group) in [("", GROUP), ("nogrpid", USER)] {
        let mounted = env.mount(options)?;
        let dir = env.path("dir");
        fs::create_dir(&dir)?;
        chown(&dir, Some(0), Some(GROUP))?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777))?;
        let found = made_in(&dir)?;
        ensure!(
            found == [(group, false); 2],
            "{options:?}: {found:?}, should be group {group}"
        );
        fs::remove_dir(&dir)?;
        mounted.end()?;
    }
    Ok(())
}

fn statfs(env: &Env) -> Result<()> {
    let blocks = field("Block count:")?;
    let mut sizes = Vec::new();
    for options in ["", "bsddf", "minixdf"] {
        let mounted = env.mount(options)?;
        sizes.push(rustix::fs::statvfs(MNT)?.f_blocks);
        mounted.end()?;
    }
    ensure!(sizes[0] == sizes[1], "bsddf is not the default: {sizes:?}");
    ensure!(sizes[0] < blocks, "no overhead: {sizes:?} of {blocks}");
    ensure!(sizes[2] == blocks, "minixdf: {sizes:?} of {blocks}");
    // It goes by remounting too.
    let mounted = env.mount("minixdf")?;
    try_remount(MNT, "bsddf")?;
    let size = rustix::fs::statvfs(MNT)?.f_blocks;
    ensure!(size == sizes[0], "after remounting {size}, not {sizes:?}");
    mounted.end()
}

fn bad_options(env: &Env) -> Result<()> {
    for options in [
        "resuid",
        "resuid=root",
        "resgid=-1",
        "resuid=4294967295",
        "sb=first",
        "sb=3",
        "grpid=yes",
    ] {
        let result = try_mount(env.driver().name(), DISK, MNT, options);
        fails(errno(result), libc::EINVAL, &format!("mount -o {options}"))?;
    }
    Ok(())
}

/// With the first superblock gone, and the group descriptors behind it, the filesystem is to be had by a copy of both.
fn other_superblock(env: &Env) -> Result<()> {
    let per_group = field("Inodes per group:")?;
    let mounted = env.mount("")?;
    let mut groups = BTreeSet::new();
    let mut files = Vec::new();
    // Directories of the root go where there is room.
    for number in 0..16 {
        let dir = env.path(format!("dir-{number}"));
        fs::create_dir(&dir)?;
        let (path, data) = (dir.join("file"), vec![number; 20_000]);
        fs::write(&path, &data)?;
        groups.insert((fs::metadata(&path)?.ino() - 1) / per_group);
        files.push((path, data));
    }
    ensure!(groups.len() > 2, "all is in groups {groups:?}");
    mounted.end()?;
    let disk = OpenOptions::new().read(true).write(true).open(DISK)?;
    // The superblock and the block of descriptors, all of which fit into one.
    let mut first = [0; 2048];
    disk.read_exact_at(&mut first, 1024)?;
    disk.write_all_at(&[0; 2048], 1024)?;
    disk.sync_all()?;
    let result = try_mount(env.driver().name(), DISK, MNT, "ro");
    fails(errno(result), libc::EINVAL, "mount without a superblock")?;
    let mounted = env.mount("ro,sb=8193").context("by the copy")?;
    ensure!(
        shown_options(MNT)?.contains(&"sb=8193".to_owned()),
        "sb= is not shown"
    );
    for (path, data) in files {
        ensure!(
            fs::read(&path)? == data,
            "other contents by the copy of the superblock: {}",
            path.display()
        );
    }
    mounted.end()?;
    disk.write_all_at(&first, 1024)?;
    disk.sync_all()?;
    Ok(())
}
