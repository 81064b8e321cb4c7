// SPDX-License-Identifier: GPL-2.0
//! The module itself: in and out, and its `alias=` parameter.

use super::env::{errno, fails, Env};
use super::{test, Test};
use crate::fs::{self, Mounted, DISK, MNT};
use crate::modules;
use anyhow::{ensure, Context, Result};
use notblk_protocol::Driver;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        test("module/50-times", fifty_times).mib(16),
        test("module/busy", busy).mib(16),
        test("module/alias", alias).mib(16),
        test("module/alias-taken", alias_taken).mib(16),
    ]
}

/// In, mount, write, unmount, out: fifty times.
fn fifty_times(env: &Env) -> Result<()> {
    let name = env.driver().name();
    for round in 0..50 {
        modules::load(name, &[]).with_context(|| format!("round {round}"))?;
        let mounted = env.mount("").with_context(|| format!("round {round}"))?;
        std::fs::write(env.path(format!("file-{round}")), format!("{round}"))?;
        mounted.end()?;
        modules::remove(name).with_context(|| format!("round {round}"))?;
        ensure!(!modules::is_loaded(name), "still loaded in round {round}");
        if round % 10 == 0 {
            env.guest.host.progress(round, 50)?;
        }
    }
    modules::load(name, &[])?;
    let mounted = env.mount("ro")?;
    for round in 0..50 {
        let text = std::fs::read_to_string(env.path(format!("file-{round}")))?;
        ensure!(text == round.to_string(), "round {round} left {text:?}");
    }
    mounted.end()
}

/// A module that is in use stays.
fn busy(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    ensure!(
        modules::remove(env.driver().name()).is_err(),
        "removed while mounted"
    );
    std::fs::write(env.path("file"), b"works")?;
    mounted.end()
}

/// The filesystem types that the kernel knows.
fn known(name: &str) -> Result<bool> {
    let types = std::fs::read_to_string("/proc/filesystems")?;
    Ok(types
        .lines()
        .any(|line| line.trim_start_matches("nodev").trim() == name))
}

/// Leaves notblk and ext4 out, whatever the tests before have loaded.
fn unload_all() -> Result<()> {
    for name in ["notblk", "ext4"] {
        if modules::is_loaded(name) {
            modules::remove(name)?;
        }
    }
    Ok(())
}

fn alias(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    unload_all()?;
    for name in ["ext2", "ext3", "ext4"] {
        modules::load("notblk", &[&format!("alias={name}")])?;
        ensure!(known(name)? && known("notblk")?, "{name} is not registered");
        let mounted = Mounted::of_type(name, DISK, MNT, "")?;
        std::fs::write(env.path(name), name)?;
        mounted.end()?;
        modules::remove("notblk")?;
        ensure!(!known(name)? && !known("notblk")?, "a name is left behind");
    }
    fails(
        errno(modules::try_insert("notblk", &["alias=xfs"])),
        libc::EINVAL,
        "alias=xfs",
    )?;
    ensure!(!known("notblk")?, "a refused module left its name behind");
    modules::load("notblk", &[])
}

/// The kernel's driver keeps its names.
fn alias_taken(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    unload_all()?;
    modules::load("ext4", &[])?;
    fails(
        errno(modules::try_insert("notblk", &["alias=ext2"])),
        libc::EBUSY,
        "alias=ext2 while ext4.ko has the name",
    )?;
    env.logged(&["ext2"])?;
    ensure!(!known("notblk")?, "a refused module left its name behind");
    modules::remove("ext4")?;
    modules::load("notblk", &[])?;
    fs::check(DISK).map(drop)
}
