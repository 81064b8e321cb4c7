// SPDX-License-Identifier: GPL-2.0
//! File handles, as NFS servers keep them.

use super::env::{fails, Env};
use super::{test, Test};
use crate::fs::{tool, DISK, MNT};
use crate::sys::Handle;
use anyhow::{ensure, Context, Result};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        test("export/handles", handles),
        test("export/stale", stale),
        test("export/made-up", made_up),
        test("export/reconnect", reconnect),
        test("export/connectable", connectable),
        test("export/parent-gone", parent_gone).damages(),
    ]
}

fn read(handle: &Handle) -> std::io::Result<Vec<u8>> {
    let mut data = Vec::new();
    handle
        .open(&File::open(MNT)?, libc::O_RDONLY)?
        .read_to_end(&mut data)?;
    Ok(data)
}

/// A handle leads to its file under any name, and after a mount as well.
fn handles(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    fs::create_dir_all(env.path("a/b"))?;
    fs::write(env.path("a/file"), b"text")?;
    std::os::unix::fs::symlink("file", env.path("a/link"))?;
    let file = Handle::of(&env.path("a/file")).context("name_to_handle_at")?;
    let dir = Handle::of(&env.path("a/b"))?;
    let root = Handle::of(&env.path(""))?;
    let link = Handle::of(&env.path("a/link"))?;
    let check = || -> Result<()> {
        ensure!(read(&file)? == b"text", "other contents");
        let place = File::open(MNT)?;
        let opened = dir.open(&place, libc::O_RDONLY | libc::O_DIRECTORY)?;
        ensure!(opened.metadata()?.is_dir());
        let opened = root.open(&place, libc::O_RDONLY)?;
        ensure!(opened.metadata()?.ino() == 2);
        let opened = link.open(&place, libc::O_PATH | libc::O_NOFOLLOW)?;
        ensure!(opened.metadata()?.file_type().is_symlink());
        Ok(())
    };
    check()?;
    fs::rename(env.path("a/file"), env.path("moved"))?;
    fs::rename(env.path("a/b"), env.path("b"))?;
    check()?;
    mounted.end()?;
    let mounted = env.mount("")?;
    check()?;
    mounted.end()?;
    // Nothing is cached, and nothing may be written.
    let mounted = env.mount("ro")?;
    check()?;
    mounted.end()
}

/// Deleted, or deleted and its number given to another: ESTALE.
fn stale(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    fs::write(env.path("file"), b"old")?;
    fs::create_dir(env.path("dir"))?;
    let ino = fs::metadata(env.path("file"))?.ino();
    let file = Handle::of(&env.path("file"))?;
    let dir = Handle::of(&env.path("dir"))?;
    // As long as somebody has it open, it is there.
    let open = File::open(env.path("file"))?;
    fs::remove_file(env.path("file"))?;
    ensure!(read(&file)? == b"old");
    drop(open);
    fs::remove_dir(env.path("dir"))?;
    fails(read(&file), libc::ESTALE, "a deleted file")?;
    fails(read(&dir), libc::ESTALE, "a deleted directory")?;
    // The same number again.
    let mut reused = false;
    for number in 0..40 {
        let path = env.path(format!("new-{number}"));
        fs::write(&path, b"new")?;
        reused |= fs::metadata(&path)?.ino() == ino;
    }
    ensure!(reused, "inode {ino} was not used again");
    fails(read(&file), libc::ESTALE, "a deleted file with an heir")?;
    mounted.end()?;
    let mounted = env.mount("")?;
    fails(read(&file), libc::ESTALE, "the same after a mount")?;
    fails(read(&dir), libc::ESTALE, "a directory after a mount")?;
    mounted.end()
}

/// Numbers that no name leads to.
fn made_up(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    fs::write(env.path("file"), b"text")?;
    let file = Handle::of(&env.path("file"))?;
    let wrong = file.with_word(1, |generation| generation ^ 1);
    fails(read(&wrong), libc::ESTALE, "another generation")?;
    // Zero stands for any.
    ensure!(read(&file.with_word(1, |_| 0))? == b"text");
    let place = env.guest.kmsg.settle()?;
    for ino in [0, 1, 3, 7, 8, 10, 200, 0x7fff_ffff, 0xffff_ffff] {
        fails(
            read(&file.with_word(0, |_| ino)),
            libc::ESTALE,
            &format!("inode {ino}"),
        )?;
    }
    let said = env.guest.kmsg.since(place)?;
    ensure!(
        said.iter().all(|line| !line.contains("rror")),
        "taken for damage: {said:?}"
    );
    mounted.end()?;
    // That the generation is on the disk.
    let text = tool("debugfs", &["-R", "stat /file", DISK])?;
    ensure!(text.contains("Generation:"), "{text}");
    Ok(())
}

/// What the kernel calls an open file.
fn path_of(file: &File) -> Result<PathBuf> {
    Ok(fs::read_link(format!(
        "/proc/self/fd/{}",
        file.as_raw_fd()
    ))?)
}

/// A directory deep below the root, by a handle alone: its path is found by `..` and by reading directories.
fn reconnect(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let deep = "one/two/three/four";
    fs::create_dir_all(env.path(deep))?;
    for number in 0..50 {
        fs::create_dir(env.path(format!("one/two/other-{number}")))?;
    }
    fs::write(env.path(format!("{deep}/file")), b"deep")?;
    let dir = Handle::of(&env.path(deep))?;
    mounted.end()?;
    let mounted = env.mount("")?;
    let opened = dir.open(&File::open(MNT)?, libc::O_RDONLY | libc::O_DIRECTORY)?;
    let path = path_of(&opened)?;
    ensure!(path == env.path(deep), "it is called {path:?}");
    ensure!(fs::read(path.join("file"))? == b"deep");
    drop(opened);
    mounted.end()
}

/// A handle that says which directory a file is in leads to the file with its path; a plain one to a file without.
fn connectable(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let deep = env.path("one/two/three");
    fs::create_dir_all(&deep)?;
    for number in 0..50 {
        fs::write(deep.join(format!("other-{number}")), b"other")?;
    }
    let path = deep.join("file");
    fs::write(&path, b"deep")?;
    let plain = Handle::of(&path)?;
    let handle = Handle::connectable(&path).context("a connectable handle")?;
    mounted.end()?;
    for (handle, expected) in [(plain, false), (handle, true)] {
        // Nothing is cached.
        let mounted = env.mount("")?;
        let mut opened = handle.open(&File::open(MNT)?, libc::O_RDONLY)?;
        let found = path_of(&opened)?;
        ensure!(
            (found == path) == expected,
            "by the handle that is connectable, {expected}, it is called {found:?}"
        );
        let mut data = Vec::new();
        opened.read_to_end(&mut data)?;
        ensure!(data == b"deep", "other contents: {data:?}");
        drop(opened);
        mounted.end()?;
    }
    // Its directory is gone.
    let mounted = env.mount("")?;
    fs::rename(&path, env.path("moved"))?;
    fs::remove_dir_all(&deep)?;
    mounted.end()?;
    let mounted = env.mount("")?;
    fails(
        handle.open(&File::open(MNT)?, libc::O_RDONLY),
        libc::ESTALE,
        "by a directory that is no more",
    )?;
    ensure!(read(&plain)? == b"deep", "by the plain handle");
    mounted.end()
}

/// A directory whose `..` is no more, as it looks to one who is overtaken by a rename and a removal: no damage, and nothing is told.
fn parent_gone(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    fs::create_dir_all(env.path("one/two"))?;
    fs::create_dir(env.path("gone"))?;
    let gone = fs::metadata(env.path("gone"))?.ino() as u32;
    fs::remove_dir(env.path("gone"))?;
    let handle = Handle::of(&env.path("one/two"))?;
    mounted.end()?;
    let text = tool("debugfs", &["-R", "blocks /one/two", DISK])?;
    let block: u64 = text
        .split_whitespace()
        .find_map(|word| word.parse().ok())
        .context("no block")?;
    // Behind the twelve bytes of `.`.
    std::os::unix::fs::FileExt::write_all_at(
        &fs::OpenOptions::new().write(true).open(DISK)?,
        &gone.to_le_bytes(),
        block * env.block() + 12,
    )?;
    let mounted = env.mount("errors=remount-ro")?;
    fails(
        handle.open(&File::open(MNT)?, libc::O_RDONLY | libc::O_DIRECTORY),
        libc::ESTALE,
        "by a directory whose parent is gone",
    )?;
    fs::write(env.path("new"), b"new").context("a write afterwards")?;
    mounted.end()?;
    let recorded = crate::fs::recorded(DISK)?;
    ensure!(recorded.is_none(), "{recorded:?}");
    Ok(())
}
