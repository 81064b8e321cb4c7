// SPDX-License-Identifier: GPL-2.0
//! Directories: create, remove, rename, list.

use super::env::{fails, Env};
use super::{for_blocks, test, Test};
use anyhow::{ensure, Context, Result};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = vec![
        test("names/create-and-remove", create_and_remove),
        test("names/links", links),
        test("names/rename", rename),
        test("names/rename-refused", rename_refused),
        test("names/long", long_names),
        test("names/times-and-modes", times_and_modes),
        test("names/statfs", statfs),
        test("names/unlinked-but-open", unlinked_but_open),
    ];
    tests.extend(for_blocks(&[1024, 4096, 65536], "names/many", many));
    tests.extend(for_blocks(
        &[1024, 4096, 65536],
        "names/readdir-while-removing",
        readdir_while_removing,
    ));
    tests
}

/// The names in a directory.
fn list(path: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        ensure!(names.insert(name.clone()), "{name} is listed twice");
    }
    Ok(names)
}

fn create_and_remove(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let dir = env.path("dir");
    fs::create_dir(&dir)?;
    fails(fs::create_dir(&dir), libc::EEXIST, "mkdir twice")?;
    fs::write(dir.join("file"), b"text")?;
    fails(
        fs::remove_dir(&dir),
        libc::ENOTEMPTY,
        "rmdir of a full directory",
    )?;
    fails(fs::remove_file(&dir), libc::EISDIR, "unlink of a directory")?;
    fails(
        fs::remove_dir(dir.join("file")),
        libc::ENOTDIR,
        "rmdir of a file",
    )?;
    fails(fs::read(dir.join("none")), libc::ENOENT, "open of nothing")?;
    fails(
        fs::read(dir.join("file/x")),
        libc::ENOTDIR,
        "a path through a file",
    )?;
    fails(
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(dir.join("file")),
        libc::EEXIST,
        "exclusive creation",
    )?;
    ensure!(
        list(&dir)? == BTreeSet::from(["file".to_owned()]),
        "wrong listing"
    );
    fs::remove_file(dir.join("file"))?;
    ensure!(list(&dir)?.is_empty(), "the file is still listed");
    fs::remove_dir(&dir)?;
    fails(fs::metadata(&dir), libc::ENOENT, "stat of what was removed")?;
    // A removed directory that is somebody's current one takes no new names.
    fs::create_dir(&dir)?;
    let handle = fs::File::open(&dir)?;
    fs::remove_dir(&dir)?;
    let result = rustix::fs::openat(
        &handle,
        "late",
        rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY,
        rustix::fs::Mode::RUSR,
    );
    fails(
        super::env::errno(result),
        libc::ENOENT,
        "create in a removed directory",
    )?;
    drop(handle);
    mounted.end()
}

fn links(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let root = env.path("");
    let before = fs::metadata(&root)?.nlink();
    fs::create_dir(env.path("a"))?;
    fs::create_dir(env.path("a/b"))?;
    ensure!(
        fs::metadata(&root)?.nlink() == before + 1,
        "the root's links after mkdir"
    );
    ensure!(
        fs::metadata(env.path("a"))?.nlink() == 3,
        "links of a directory with one below"
    );
    fs::create_dir(env.path("c"))?;
    fs::rename(env.path("a/b"), env.path("c/b"))?;
    ensure!(
        fs::metadata(env.path("a"))?.nlink() == 2,
        "links of the directory left"
    );
    ensure!(
        fs::metadata(env.path("c"))?.nlink() == 3,
        "links of the directory entered"
    );
    let dotdot = fs::metadata(env.path("c/b/.."))?.ino();
    ensure!(
        dotdot == fs::metadata(env.path("c"))?.ino(),
        ".. points to the old parent"
    );
    fs::write(env.path("file"), b"x")?;
    ensure!(
        fs::metadata(env.path("file"))?.nlink() == 1,
        "links of a new file"
    );
    fs::remove_dir(env.path("c/b"))?;
    ensure!(
        fs::metadata(env.path("c"))?.nlink() == 2,
        "links after rmdir"
    );
    mounted.end()
}

fn rename(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    fs::write(env.path("a"), b"a")?;
    fs::write(env.path("b"), b"b")?;
    fs::rename(env.path("a"), env.path("new"))?;
    ensure!(fs::read(env.path("new"))? == b"a", "contents after rename");
    fails(fs::metadata(env.path("a")), libc::ENOENT, "the old name")?;
    fs::rename(env.path("new"), env.path("b"))?;
    ensure!(
        fs::read(env.path("b"))? == b"a",
        "contents after rename over a file"
    );
    fs::create_dir(env.path("d1"))?;
    fs::create_dir(env.path("d2"))?;
    fs::rename(env.path("b"), env.path("d1/b"))?;
    fs::rename(env.path("d1"), env.path("d2"))?;
    ensure!(
        fs::read(env.path("d2/b"))? == b"a",
        "contents below a renamed directory"
    );
    // The target's open file lives on.
    fs::write(env.path("old"), b"old")?;
    let open = fs::File::open(env.path("old"))?;
    fs::write(env.path("other"), b"other")?;
    fs::rename(env.path("other"), env.path("old"))?;
    ensure!(
        open.metadata()?.nlink() == 0,
        "the replaced file still has links"
    );
    ensure!(
        std::io::read_to_string(&open)? == "old",
        "the replaced file's contents"
    );
    drop(open);
    mounted.end()?;
    let mounted = env.mount("ro")?;
    ensure!(
        fs::read(env.path("d2/b"))? == b"a",
        "contents after a new mount"
    );
    ensure!(
        fs::read(env.path("old"))? == b"other",
        "contents after a new mount"
    );
    mounted.end()
}

fn rename_refused(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    fs::create_dir_all(env.path("a/b/c"))?;
    fs::create_dir(env.path("full"))?;
    fs::write(env.path("full/x"), b"")?;
    fs::write(env.path("file"), b"")?;
    fails(
        fs::rename(env.path("a"), env.path("a/b/c/d")),
        libc::EINVAL,
        "into its own subtree",
    )?;
    fails(
        fs::rename(env.path("a"), env.path("full")),
        libc::ENOTEMPTY,
        "over a full directory",
    )?;
    fails(
        fs::rename(env.path("a"), env.path("file")),
        libc::ENOTDIR,
        "a directory over a file",
    )?;
    fails(
        fs::rename(env.path("file"), env.path("a")),
        libc::EISDIR,
        "a file over a directory",
    )?;
    fails(
        fs::rename(env.path("none"), env.path("x")),
        libc::ENOENT,
        "of nothing",
    )?;
    ensure!(
        env.path("a/b/c").is_dir(),
        "a refused rename changed something"
    );
    mounted.end()
}

fn long_names(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let longest = "n".repeat(255);
    fs::write(env.path(&longest), b"long")?;
    fails(
        fs::write(env.path("n".repeat(256)), b""),
        libc::ENAMETOOLONG,
        "a name of 256 bytes",
    )?;
    ensure!(
        list(&env.path(""))?.contains(&longest),
        "the long name is not listed"
    );
    let odd = "ünï\u{1}\n ☃";
    fs::write(env.path(odd), b"odd")?;
    mounted.end()?;
    let mounted = env.mount("")?;
    ensure!(
        fs::read(env.path(&longest))? == b"long",
        "contents under the long name"
    );
    ensure!(
        fs::read(env.path(odd))? == b"odd",
        "contents under the odd name"
    );
    fs::remove_file(env.path(&longest))?;
    mounted.end()
}

/// A directory of many blocks; then entries of any length in the places that became free.
fn many(env: &Env) -> Result<()> {
    const FILES: usize = 2000;
    let mounted = env.mount("")?;
    let dir = env.path("dir");
    fs::create_dir(&dir)?;
    let name = |number: usize| format!("{number:04}{}", "x".repeat(number % 40));
    for number in 0..FILES {
        fs::File::create(dir.join(name(number))).with_context(|| format!("create {number}"))?;
    }
    let expected: BTreeSet<_> = (0..FILES).map(name).collect();
    ensure!(list(&dir)? == expected, "wrong listing after creation");
    for number in (0..FILES).step_by(2) {
        fs::remove_file(dir.join(name(number)))?;
    }
    let expected: BTreeSet<_> = (1..FILES).step_by(2).map(name).collect();
    ensure!(list(&dir)? == expected, "wrong listing after removal");
    for number in 0..50 {
        fs::write(
            dir.join(format!("again{number}{}", "y".repeat(number))),
            b"",
        )?;
    }
    mounted.end()?;
    let mounted = env.mount("")?;
    ensure!(
        list(&dir)?.len() == FILES / 2 + 50,
        "wrong number after a new mount"
    );
    fs::remove_dir_all(&dir)?;
    mounted.end()
}

/// Removing what readdir has just returned loses no entry and lists none twice.
fn readdir_while_removing(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let dir = env.path("dir");
    fs::create_dir(&dir)?;
    for number in 0..500 {
        fs::write(dir.join(format!("file-{number}")), b"")?;
    }
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(&dir)? {
        let entry = entry?;
        ensure!(
            seen.insert(entry.file_name()),
            "{:?} came twice",
            entry.file_name()
        );
        fs::remove_file(entry.path())?;
    }
    ensure!(seen.len() == 500, "only {} of 500 were listed", seen.len());
    fs::remove_dir(&dir).context("the directory is not empty")?;
    mounted.end()
}

fn times_and_modes(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let path = env.path("file");
    fs::write(&path, b"1")?;
    let first = fs::metadata(&path)?;
    std::thread::sleep(Duration::from_millis(1100));
    fs::write(&path, b"2")?;
    let second = fs::metadata(&path)?;
    ensure!(
        second.modified()? > first.modified()?,
        "mtime does not move with a write"
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4751))?;
    std::os::unix::fs::chown(&path, Some(70_000), Some(80_000))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4751))?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_234_567_890);
    fs::File::options()
        .write(true)
        .open(&path)?
        .set_times(fs::FileTimes::new().set_accessed(time).set_modified(time))?;
    let dir_before = fs::metadata(env.path(""))?.mtime();
    std::thread::sleep(Duration::from_millis(1100));
    fs::create_dir(env.path("sub"))?;
    ensure!(
        fs::metadata(env.path(""))?.mtime() > dir_before,
        "a directory's mtime does not move"
    );
    mounted.end()?;
    let mounted = env.mount("ro")?;
    let after = fs::metadata(&path)?;
    ensure!(
        after.mode() & 0o7777 == 0o4751,
        "mode {:o} after a new mount",
        after.mode()
    );
    ensure!(
        (after.uid(), after.gid()) == (70_000, 80_000),
        "owner {} {}",
        after.uid(),
        after.gid()
    );
    ensure!(
        after.mtime() == 1_234_567_890,
        "mtime {} after a new mount",
        after.mtime()
    );
    mounted.end()
}

/// What is taken is seen, and comes back.
fn statfs(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let stat = || rustix::fs::statvfs(env.path("").as_path()).context("statfs");
    let before = stat()?;
    ensure!(
        before.f_bsize == env.block(),
        "block size {}",
        before.f_bsize
    );
    ensure!(before.f_namemax == 255, "name length {}", before.f_namemax);
    ensure!(
        before.f_bavail <= before.f_bfree && before.f_bfree < before.f_blocks,
        "odd numbers"
    );
    fs::create_dir(env.path("dir"))?;
    fs::write(env.path("dir/file"), vec![1; 1 << 20])?;
    fs::File::open(env.path("dir/file"))?.sync_all()?;
    let during = stat()?;
    let taken = (before.f_bfree - during.f_bfree) * env.block();
    ensure!(
        ((1 << 20)..(1 << 20) + 64 * env.block()).contains(&taken),
        "{taken} bytes were taken"
    );
    ensure!(
        during.f_ffree == before.f_ffree - 2,
        "{} inodes are free",
        during.f_ffree
    );
    fs::remove_file(env.path("dir/file"))?;
    fs::remove_dir(env.path("dir"))?;
    rustix::fs::sync();
    let after = stat()?;
    ensure!(
        after.f_bfree == before.f_bfree,
        "{} blocks did not come back",
        before.f_bfree - after.f_bfree
    );
    ensure!(after.f_ffree == before.f_ffree, "inodes did not come back");
    mounted.end()
}

fn unlinked_but_open(env: &Env) -> Result<()> {
    use std::os::unix::fs::FileExt;
    let mounted = env.mount("")?;
    let before = rustix::fs::statvfs(env.path("").as_path())?.f_bfree;
    let file = crate::fs::open_buffered(env.path("file"))?;
    file.write_all_at(b"one", 0)?;
    fs::remove_file(env.path("file"))?;
    file.write_all_at(b"two", 100_000)?;
    file.sync_all().context("fsync of an unlinked file")?;
    let mut data = [0; 3];
    file.read_exact_at(&mut data, 100_000)?;
    ensure!(&data == b"two", "lost data of an unlinked file");
    drop(file);
    rustix::fs::sync();
    let after = rustix::fs::statvfs(env.path("").as_path())?.f_bfree;
    ensure!(
        before == after,
        "an unlinked file's blocks did not come back"
    );
    mounted.end()
}
