// SPDX-License-Identifier: GPL-2.0
//! Quota files that mount options name: `usrjquota=`, `grpjquota=`, `jqfmt=`.

use super::env::{errno, fails, Env};
use super::quota::{expect, hidden, open_to_all, user, FILES, USER};
use super::{test, Test};
use crate::fs::{shown_options, tool, try_mount, try_remount, DISK, MNT};
use crate::modules;
use crate::quota::{self, Kind};
use anyhow::{ensure, Context, Result};
use std::fs;
use std::os::unix::fs::MetadataExt;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        test("quota/named-options", options),
        test("quota/named-remount", remount),
        test("quota/named-orphan", orphan),
        test("quota/named-bad-file", bad_file),
    ]
}

/// Both files.
const NAMED: &str = "usrjquota=aquota.user,grpjquota=aquota.group,jqfmt=vfsv1";

/// The options of this mount that are about quotas.
fn shown() -> Result<Vec<String>> {
    let mut shown = shown_options(MNT)?;
    // `quota` is said beside `usrquota`.
    shown.retain(|option| {
        (option.contains("quota") && option != "quota") || option.contains("jqfmt")
    });
    Ok(shown)
}

/// What can be said, and how it is shown.
fn options(env: &Env) -> Result<()> {
    for bad in [
        "usrjquota",
        "grpjquota",
        "jqfmt",
        "jqfmt=",
        "jqfmt=vfsv2",
        "usrjquota=a",
        "usrjquota=a/b,jqfmt=vfsv1",
        "usrjquota=a,usrjquota=b,jqfmt=vfsv1",
        "usrjquota=a,grpquota,jqfmt=vfsv1",
        "grpjquota=a,usrquota,jqfmt=vfsv1",
    ] {
        let result = try_mount(env.driver().name(), DISK, MNT, bad);
        fails(errno(result), libc::EINVAL, bad)?;
    }
    for (good, lines) in [
        (
            NAMED,
            vec![
                "jqfmt=vfsv1",
                "usrjquota=aquota.user",
                "grpjquota=aquota.group",
            ],
        ),
        ("jqfmt=vfsold", vec!["jqfmt=vfsold"]),
        ("usrjquota=", vec![]),
        ("usrjquota=a,usrjquota=a,usrjquota=", vec![]),
        (
            "usrquota,usrjquota=a b,jqfmt=vfsv0",
            vec!["jqfmt=vfsv0", "usrjquota=a\\040b"],
        ),
        (
            "grpquota,usrquota,jqfmt=vfsv0",
            vec!["usrquota", "grpquota", "jqfmt=vfsv0"],
        ),
    ] {
        let mounted = env.mount(good).context(good)?;
        let (mut found, mut wanted) = (shown()?, lines);
        found.sort();
        wanted.sort_unstable();
        ensure!(found == wanted, "{good}: {found:?}");
        mounted.end()?;
    }
    // The feature leaves them without a meaning.
    hidden(env)?;
    let mounted = env.mount(NAMED)?;
    ensure!(shown()?.is_empty(), "{:?}", shown()?);
    mounted.end()
}

/// They change by remount, but not into others, and not while quotas are on.
fn remount(env: &Env) -> Result<()> {
    modules::load("quota_v2", &[])?;
    let mounted = env.mount(NAMED)?;
    open_to_all(env)?;
    let refused = |options: &str| fails(errno(try_remount(MNT, options)), libc::EINVAL, options);
    refused("usrjquota=other")?;
    try_remount(MNT, "jqfmt=vfsv0")?;
    ensure!(
        shown()?.contains(&"jqfmt=vfsv0".to_owned()),
        "{:?}",
        shown()?
    );
    try_remount(MNT, "jqfmt=vfsv1,usrjquota=")?;
    ensure!(shown()?.len() == 2, "{:?}", shown()?);
    try_remount(MNT, "usrjquota=aquota.user")?;
    for (kind, name) in FILES {
        fs::write(env.path(name), quota::empty_file(kind))?;
        quota::on(DISK, kind, Some(&env.path(name))).with_context(|| format!("on: {name}"))?;
    }
    let file = env.path("file");
    user(|| Ok(fs::write(&file, vec![1; 50_000])?))?;
    expect(Kind::User, USER, &[&file])?;
    refused("usrjquota=")?;
    refused("jqfmt=vfsv0")?;
    try_remount(MNT, NAMED)?;
    for (kind, _) in FILES {
        quota::off(DISK, kind)?;
    }
    try_remount(MNT, "usrjquota=,grpjquota=")?;
    ensure!(shown()? == ["jqfmt=vfsv1"], "{:?}", shown()?);
    mounted.end()
}

/// What a crash has left half done is dealt with by a mount that knows whom it is charged to.
fn orphan(env: &Env) -> Result<()> {
    modules::load("quota_v2", &[])?;
    let mounted = env.mount(NAMED)?;
    open_to_all(env)?;
    let on = || -> Result<()> {
        for (kind, name) in FILES {
            quota::on(DISK, kind, Some(&env.path(name))).with_context(|| format!("on: {name}"))?;
        }
        Ok(())
    };
    for (kind, name) in FILES {
        fs::write(env.path(name), quota::empty_file(kind))?;
    }
    on()?;
    let (cut, gone) = (env.path("cut"), env.path("gone"));
    user(|| {
        fs::write(&cut, vec![7; 3 << 20])?;
        Ok(fs::write(&gone, vec![7; 2 << 20])?)
    })?;
    let [first, second] = [fs::metadata(&cut)?.ino(), fs::metadata(&gone)?.ino()];
    for (kind, _) in FILES {
        expect(kind, USER, &[&cut, &gone])?;
        quota::off(DISK, kind)?;
    }
    mounted.end()?;
    for command in [
        "sif /cut size 5000".to_owned(),
        format!("sif /cut dtime {second:#x}"),
        "sif /gone links_count 0".to_owned(),
        "unlink /gone".to_owned(),
        format!("ssv last_orphan {first}"),
    ] {
        tool("debugfs", &["-w", "-R", &command, DISK])?;
    }
    let mounted = env.mount(NAMED)?;
    env.logged(&["vda", "1 truncate cleaned up"])?;
    env.logged(&["vda", "1 orphan inode deleted"])?;
    // Nothing is on still.
    on()?;
    for (kind, _) in FILES {
        expect(kind, USER, &[&cut])?;
        quota::off(DISK, kind)?;
    }
    mounted.end()
}

/// A name that leads to no quota file does not keep anybody from mounting.
fn bad_file(env: &Env) -> Result<()> {
    modules::load("quota_v2", &[])?;
    let mounted = env.mount("")?;
    fs::create_dir(env.path("dir"))?;
    fs::write(env.path("text"), b"no quota file")?;
    fs::write(env.path("file"), vec![7; 100_000])?;
    let ino = fs::metadata(env.path("file"))?.ino();
    mounted.end()?;
    for options in [
        "usrjquota=none,jqfmt=vfsv1",
        "usrjquota=dir,jqfmt=vfsv1",
        "usrjquota=text,jqfmt=vfsv1",
        NAMED,
    ] {
        let place = env.guest.kmsg.settle()?;
        tool(
            "debugfs",
            &["-w", "-R", &format!("ssv last_orphan {ino}"), DISK],
        )?;
        let mounted = env.mount(options).context(options)?;
        let said = env.guest.kmsg.since(place)?;
        ensure!(
            said.iter().any(|line| line.contains("turn")),
            "{options}: {said:?}"
        );
        mounted.end()?;
    }
    Ok(())
}
