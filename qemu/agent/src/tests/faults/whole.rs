// SPDX-License-Identifier: GPL-2.0
//! Calls about the filesystem as a whole, and the module.

use super::{each, each_mounted, each_within, Case, Entry, Env, Kind, Reads};
use crate::fs::{shown_options, try_mount, try_remount, DISK, MNT};
use crate::modules;
use anyhow::{ensure, Context, Result};
use notblk_protocol::Driver;
use rustix::mount::{unmount, UnmountFlags};
use std::fs;
use std::io;

/// A file that is always there.
const FILE: &str = "/mnt/file";

/// The cases of this file.
pub fn cases() -> Vec<Entry> {
    vec![
        ("insert", Reads::AndWrites, insert),
        // It writes the superblock, and may say that it could not.
        ("mount", Reads::Only, mount),
        ("remount", Reads::AndWrites, remount),
        ("statfs", Reads::Nothing, statfs),
        ("umount", Reads::AndWrites, umount),
    ]
}

/// The function of the kernel that calls a module's own first function.
const INIT: &str = "do_one_initcall";

/// Which of its tests KUnit runs when a module is loaded; by itself all.
const KUNIT_FILTER: &str = "/sys/module/kunit/parameters/filter_glob";

/// Keeps KUnit from running the module's tests each time it is loaded, where there is KUnit.
struct WithoutKunit;

impl WithoutKunit {
    fn new() -> Result<WithoutKunit> {
        Self::filter("none.none").context("KUnit's filter")?;
        Ok(WithoutKunit)
    }

    fn filter(glob: &str) -> io::Result<()> {
        match fs::write(KUNIT_FILTER, glob) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

impl Drop for WithoutKunit {
    fn drop(&mut self) {
        // That it could be written once has been seen.
        let _ = Self::filter("*");
    }
}

/// The module's first function: what it has registered by then goes away again. (To load a module takes thousands of pages
/// before that.)
fn insert(env: &Env, kind: Kind) -> Result<()> {
    env.only(Driver::Notblk)?;
    let _without_kunit = WithoutKunit::new()?;
    // A test before may have wanted it, and it has the name that the alias takes.
    if modules::is_loaded("ext4") {
        modules::remove("ext4")?;
    }
    let case = Case {
        before: &|| match modules::is_loaded("notblk") {
            true => modules::remove("notblk"),
            false => Ok(()),
        },
        call: &|()| Ok(modules::try_insert("notblk", &["alias=ext2"])?),
        after: &|()| {
            let mounted = env.mount("")?;
            fs::write(FILE, b"works")?;
            mounted.end()
        },
    };
    let result = each_within(env, kind, Some(INIT), &case);
    // The next test wants it, without the alias.
    (case.before)()?;
    modules::load("notblk", &[])?;
    result
}

fn furnish(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    fs::write(FILE, b"file")?;
    mounted.end()
}

/// The file is there, and the mount may go.
fn check_and_unmount() -> Result<()> {
    ensure!(fs::read(FILE)? == b"file", "other contents");
    unmount(MNT, UnmountFlags::empty()).context("umount")?;
    ensure!(shown_options(MNT).is_err(), "it was mounted twice");
    Ok(())
}

fn mount(env: &Env, kind: Kind) -> Result<()> {
    furnish(env)?;
    let case = Case {
        before: &|| Ok(()),
        call: &|()| Ok(try_mount("notblk", DISK, MNT, "drain=on")?),
        after: &|()| check_and_unmount(),
    };
    each(env, kind, &case)
}

/// To read-only, with something to write.
fn remount(env: &Env, kind: Kind) -> Result<()> {
    each_mounted(
        env,
        kind,
        &|| Ok(fs::write(FILE, b"remounted")?),
        &|()| Ok(try_remount(MNT, "ro")?),
        &|()| {
            let options = shown_options(MNT)?;
            ensure!(options.contains(&"ro".into()), "it is {options:?}");
            try_remount(MNT, "drain=on").context("remount read-write")?;
            Ok(fs::remove_file(FILE)?)
        },
    )
}

fn statfs(env: &Env, kind: Kind) -> Result<()> {
    each_mounted(
        env,
        kind,
        &|| Ok(()),
        &|()| Ok(rustix::fs::statvfs(MNT).map(drop)?),
        &|()| Ok(()),
    )
}

/// With something to write: what the task does on its way back from the call counts too.
fn umount(env: &Env, kind: Kind) -> Result<()> {
    let case = Case {
        before: &|| {
            let mounted = env.mount("")?;
            fs::write(FILE, b"file")?;
            // The call ends it.
            std::mem::forget(mounted);
            Ok(())
        },
        call: &|()| unmount(MNT, UnmountFlags::empty()).map_err(io::Error::from),
        after: &|()| {
            let mounted = env.mount("")?;
            ensure!(fs::read(FILE)? == b"file", "other contents");
            fs::remove_file(FILE)?;
            mounted.end()
        },
    };
    each(env, kind, &case)
}
