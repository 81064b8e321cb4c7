// SPDX-License-Identifier: GPL-2.0
//! Calls about names.

use super::{each, each_mounted, Case, Entry, Env, Kind, Reads};
use anyhow::{ensure, Result};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

/// A file that is always there.
const FILE: &str = "/mnt/dir/file";
/// A name that is not.
const NEW: &str = "/mnt/dir/new";
/// Another place.
const MOVED: &str = "/mnt/other/moved";
/// A file or directory that a test makes to lose it.
const VICTIM: &str = "/mnt/dir/victim";

/// The cases of this file.
pub fn cases() -> Vec<Entry> {
    vec![
        ("lookup", Reads::Only, lookup),
        ("readdir", Reads::Only, readdir),
        ("create", Reads::Only, create),
        ("mkdir", Reads::Only, mkdir),
        ("link", Reads::Only, link),
        ("rename", Reads::Only, rename),
        // Blocks of a deleted file that cannot be freed are lost: deleting has no way to answer EIO.
        ("rename-over", Reads::AndWrites, rename_over),
        ("unlink", Reads::AndWrites, unlink),
        ("rmdir", Reads::AndWrites, rmdir),
    ]
}

/// Two directories and a file.
fn furnish(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    fs::create_dir("/mnt/dir")?;
    fs::create_dir("/mnt/other")?;
    fs::write(FILE, b"file")?;
    mounted.end()
}

/// The file is what it was.
fn check_file(path: &str, links: u64) -> Result<()> {
    let meta = fs::metadata(path)?;
    ensure!(meta.nlink() == links, "{path} has {} links", meta.nlink());
    ensure!(fs::read(path)? == b"file", "{path} has other contents");
    Ok(())
}

fn lookup(env: &Env, kind: Kind) -> Result<()> {
    furnish(env)?;
    each_mounted(
        env,
        kind,
        &|| Ok(()),
        &|()| fs::metadata(FILE).map(drop),
        &|()| check_file(FILE, 1),
    )
}

fn readdir(env: &Env, kind: Kind) -> Result<()> {
    furnish(env)?;
    let entries = || -> std::io::Result<usize> {
        let mut count = 0;
        for entry in fs::read_dir("/mnt/dir")? {
            entry?;
            count += 1;
        }
        Ok(count)
    };
    each_mounted(env, kind, &|| Ok(()), &|()| entries().map(drop), &|()| {
        ensure!(entries()? == 1, "{} entries", entries()?);
        Ok(())
    })
}

fn create(env: &Env, kind: Kind) -> Result<()> {
    furnish(env)?;
    each_mounted(
        env,
        kind,
        &|| Ok(()),
        &|()| File::create_new(NEW).map(drop),
        &|()| {
            ensure!(fs::metadata(NEW)?.len() == 0, "not empty");
            Ok(fs::remove_file(NEW)?)
        },
    )
}

fn mkdir(env: &Env, kind: Kind) -> Result<()> {
    furnish(env)?;
    each_mounted(env, kind, &|| Ok(()), &|()| fs::create_dir(NEW), &|()| {
        ensure!(fs::metadata("/mnt/dir")?.nlink() == 3, "a link is missing");
        fs::remove_dir(NEW)?;
        ensure!(fs::metadata("/mnt/dir")?.nlink() == 2, "a link is left");
        Ok(())
    })
}

fn link(env: &Env, kind: Kind) -> Result<()> {
    furnish(env)?;
    each_mounted(
        env,
        kind,
        &|| Ok(()),
        &|()| fs::hard_link(FILE, NEW),
        &|()| {
            check_file(NEW, 2)?;
            fs::remove_file(NEW)?;
            check_file(FILE, 1)
        },
    )
}

fn rename(env: &Env, kind: Kind) -> Result<()> {
    furnish(env)?;
    each_mounted(
        env,
        kind,
        &|| Ok(()),
        &|()| fs::rename(FILE, MOVED),
        &|()| {
            check_file(MOVED, 1)?;
            ensure!(!fs::exists(FILE)?, "the old name is still there");
            Ok(fs::rename(MOVED, FILE)?)
        },
    )
}

/// With a victim that the mount before has made, so that nothing of it is in memory.
fn each_victim(
    env: &Env,
    kind: Kind,
    make: &dyn Fn() -> Result<()>,
    call: &dyn Fn() -> std::io::Result<()>,
    after: &dyn Fn() -> Result<()>,
) -> Result<()> {
    furnish(env)?;
    let case = Case {
        before: &|| {
            let mounted = env.mount("")?;
            make()?;
            mounted.end()?;
            env.mount("")
        },
        call: &|_| call(),
        after: &|mounted| {
            after()?;
            mounted.end()
        },
    };
    each(env, kind, &case)
}

/// A file with an indirect block.
fn make_file() -> Result<()> {
    Ok(fs::write(VICTIM, vec![7; 80 << 10])?)
}

fn gone() -> Result<()> {
    ensure!(!fs::exists(VICTIM)?, "it is still there");
    Ok(())
}

fn rename_over(env: &Env, kind: Kind) -> Result<()> {
    each_victim(env, kind, &make_file, &|| fs::rename(FILE, VICTIM), &|| {
        check_file(VICTIM, 1)?;
        Ok(fs::rename(VICTIM, FILE)?)
    })
}

fn unlink(env: &Env, kind: Kind) -> Result<()> {
    each_victim(env, kind, &make_file, &|| fs::remove_file(VICTIM), &gone)
}

fn rmdir(env: &Env, kind: Kind) -> Result<()> {
    let make = || Ok(fs::create_dir(VICTIM)?);
    each_victim(env, kind, &make, &|| fs::remove_dir(VICTIM), &gone)
}
