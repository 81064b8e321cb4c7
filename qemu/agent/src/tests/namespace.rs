// SPDX-License-Identifier: GPL-2.0
//! What a name may stand for besides files and directories, and how names change places.

use super::env::{errno, fails, Env};
use super::{for_blocks, test, Test};
use crate::fs::{tool, Mounted, DISK, MNT};
use anyhow::{ensure, Context, Result};
use notblk_protocol::Driver;
use rustix::fs::{renameat_with, Dir, FileType, RenameFlags, CWD};
use std::collections::BTreeSet;
use std::fs;
use std::io::Error;
use std::os::unix::fs::{symlink, FileTypeExt, MetadataExt};
use std::path::Path;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    tests.extend(for_blocks(&[1024, 4096], "namespace/symlinks", symlinks));
    tests.push(test("namespace/symlink-replaced", symlink_replaced));
    tests.push(test("namespace/nodes", nodes));
    tests.push(test("namespace/exchange", exchange));
    tests.push(test("namespace/exchange-refused", exchange_refused));
    tests.push(test("namespace/noreplace", noreplace));
    tests.push(test("namespace/whiteout", whiteout));
    tests.push(test("namespace/link-limit", link_limit));
    tests.push(test("namespace/uncounted-links", uncounted_links).block(1024));
    tests.push(test("namespace/no-file-types", no_file_types).block(1024));
    tests
}

/// Runs one command of debugfs on the unmounted disk.
fn debugfs(command: &str) -> Result<String> {
    tool("debugfs", &["-w", "-R", command, DISK])
}

/// Targets around the sizes where their place changes: in the inode to 59 bytes, in a block to its size less one.
fn symlinks(env: &Env) -> Result<()> {
    let largest = (env.block() as usize - 1).min(4095);
    let lengths = [1, 2, 58, 59, 60, 61, 255, 256, 1000, largest];
    let target = |length: usize| -> String { "./path/".chars().cycle().take(length).collect() };
    let name = |length: usize| env.path(format!("link-{length}"));
    let free = || -> Result<u64> { Ok(rustix::fs::statvfs(env.path("").as_path())?.f_bfree) };
    let mounted = env.mount("")?;
    let before = free()?;
    for length in lengths {
        symlink(target(length), name(length)).with_context(|| format!("{length} bytes"))?;
    }
    if env.block() < 4096 {
        fails(
            symlink(target(largest + 1), name(9999)),
            libc::ENAMETOOLONG,
            "a target as large as a block",
        )?;
        fails(fs::symlink_metadata(name(9999)), libc::ENOENT, "its name")?;
    }
    fails(
        symlink("again", name(1)),
        libc::EEXIST,
        "a symlink over a name",
    )?;
    let check = || -> Result<()> {
        for length in lengths {
            let read = fs::read_link(name(length))?;
            ensure!(
                read == Path::new(&target(length)),
                "the target of {length} bytes reads {read:?}"
            );
            let meta = fs::symlink_metadata(name(length))?;
            ensure!(
                meta.file_type().is_symlink() && meta.len() == length as u64,
                "{length} bytes: {meta:?}"
            );
            ensure!(meta.mode() & 0o7777 == 0o777, "mode {:o}", meta.mode());
            let sectors = if length < 60 { 0 } else { env.block() / 512 };
            ensure!(
                meta.blocks() == sectors,
                "{length} bytes: {} sectors",
                meta.blocks()
            );
        }
        Ok(())
    };
    check()?;
    // Through links of both kinds.
    fs::create_dir(env.path("dir"))?;
    fs::write(env.path("dir/file"), b"text")?;
    symlink("dir", env.path("short"))?;
    symlink(
        format!("{}short/../dir", "./".repeat(100)),
        env.path("long"),
    )?;
    let read = |path: &str| fs::read(env.path(path));
    ensure!(read("short/file")? == b"text" && read("long/file")? == b"text");
    symlink("loop", env.path("loop"))?;
    fails(read("loop"), libc::ELOOP, "a link to itself")?;
    symlink("nowhere", env.path("dangling"))?;
    fails(read("dangling"), libc::ENOENT, "a link to nothing")?;
    // The entries say what they are.
    for entry in fs::read_dir(env.path(""))? {
        let entry = entry?;
        let link = entry.file_name().to_string_lossy().starts_with("link-");
        ensure!(!link || entry.file_type()?.is_symlink(), "{entry:?}");
    }
    mounted.end()?;

    let mounted = env.mount("")?;
    check()?;
    ensure!(read("short/file")? == b"text" && read("long/file")? == b"text");
    for length in lengths {
        fs::remove_file(name(length))?;
    }
    for path in ["short", "long", "loop", "dangling", "dir/file"] {
        fs::remove_file(env.path(path))?;
    }
    fs::remove_dir(env.path("dir"))?;
    rustix::fs::sync();
    let after = free()?;
    ensure!(before == after, "{before} blocks were free, {after} are");
    mounted.end()
}

/// A block that was a target, then a file's, then a target again: never the other's contents.
fn symlink_replaced(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let block = env.block() as usize;
    for round in 0..20 {
        let target = format!("{round}/{}", "t".repeat(200));
        symlink(&target, env.path("link"))?;
        ensure!(fs::read_link(env.path("link"))? == Path::new(&target));
        fs::remove_file(env.path("link"))?;
        let data = vec![round as u8 + 1; block];
        fs::write(env.path("file"), &data)?;
        fs::File::open(env.path("file"))?.sync_all()?;
        rustix::fs::sync();
        // From the disk.
        let direct = crate::fs::open_direct(env.path("file"))?;
        let mut read = crate::buf::Buffer::new(block);
        std::os::unix::fs::FileExt::read_at(&direct, &mut read, 0)?;
        ensure!(read[..] == data[..], "round {round}: other data");
        fs::remove_file(env.path("file"))?;
    }
    mounted.end()
}

/// Device nodes with small and large numbers, FIFOs, sockets.
fn nodes(env: &Env) -> Result<()> {
    use rustix::fs::{makedev, mknodat, Mode};
    let mode = Mode::from_raw_mode(0o640);
    // The last in the old form, the first in the new one, the largest.
    let devices = [
        (1, 3),
        (255, 255),
        (256, 0),
        (0, 256),
        (4095, 1_048_575),
        (8, 300),
    ];
    let mounted = env.mount("")?;
    let all = [
        (FileType::CharacterDevice, "char"),
        (FileType::BlockDevice, "block"),
    ];
    for (kind, word) in all {
        for (major, minor) in devices {
            let path = env.path(format!("{word}-{major}-{minor}"));
            mknodat(CWD, &path, kind, mode, makedev(major, minor))?;
        }
    }
    mknodat(CWD, env.path("fifo"), FileType::Fifo, mode, 0)?;
    mknodat(CWD, env.path("socket"), FileType::Socket, mode, 0)?;
    mknodat(CWD, env.path("file"), FileType::RegularFile, mode, 0)?;
    fails(
        errno(mknodat(CWD, env.path("fifo"), FileType::Fifo, mode, 0)),
        libc::EEXIST,
        "mknod twice",
    )?;
    let check = || -> Result<()> {
        for (kind, word) in all {
            for (major, minor) in devices {
                let meta = fs::metadata(env.path(format!("{word}-{major}-{minor}")))?;
                ensure!(
                    meta.rdev() == makedev(major, minor),
                    "{word} {major}:{minor} reads {:#x}",
                    meta.rdev()
                );
                let right = match kind {
                    FileType::CharacterDevice => meta.file_type().is_char_device(),
                    _ => meta.file_type().is_block_device(),
                };
                ensure!(right && meta.mode() & 0o7777 == 0o640, "{meta:?}");
            }
        }
        ensure!(fs::metadata(env.path("fifo"))?.file_type().is_fifo());
        ensure!(fs::metadata(env.path("socket"))?.file_type().is_socket());
        ensure!(fs::metadata(env.path("file"))?.is_file());
        for entry in fs::read_dir(env.path(""))? {
            let entry = entry?;
            let told = entry.file_type()?;
            let is = fs::symlink_metadata(entry.path())?.file_type();
            ensure!(told == is, "{:?} is listed as {told:?}", entry.path());
        }
        Ok(())
    };
    check()?;
    // They work: the null device swallows, a FIFO carries.
    fs::write(env.path("char-1-3"), b"gone")?;
    let fifo = env.path("fifo");
    let writer = std::thread::spawn(move || fs::write(fifo, b"through"));
    ensure!(fs::read(env.path("fifo"))? == b"through");
    writer.join().ok().context("the writer")??;
    mounted.end()?;

    let mounted = env.mount("")?;
    check()?;
    // A change of the inode keeps the number.
    fs::set_permissions(
        env.path("block-4095-1048575"),
        std::os::unix::fs::PermissionsExt::from_mode(0o640),
    )?;
    mounted.end()?;
    let mounted = env.mount("")?;
    check()?;
    fs::remove_file(env.path("fifo"))?;
    fs::remove_file(env.path("char-256-0"))?;
    mounted.end()
}

fn rename_with(from: &Path, to: &Path, flags: RenameFlags) -> Result<(), Error> {
    errno(renameat_with(CWD, from, CWD, to, flags))
}

/// Names, `..`, link counts and file types after all kinds of exchange.
fn exchange(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    for dir in ["a", "b", "a/sub", "b/sub2", "a/sub/below"] {
        fs::create_dir(env.path(dir))?;
    }
    fs::write(env.path("a/file"), b"of a")?;
    fs::write(env.path("b/file"), b"of b")?;
    symlink("target", env.path("b/link"))?;
    let swap = |from: &str, to: &str| {
        rename_with(&env.path(from), &env.path(to), RenameFlags::EXCHANGE)
            .with_context(|| format!("exchange {from} and {to}"))
    };
    let links = |path: &str| -> Result<u64> { Ok(fs::symlink_metadata(env.path(path))?.nlink()) };
    let ino = |path: &str| -> Result<u64> { Ok(fs::symlink_metadata(env.path(path))?.ino()) };
    // Two files.
    swap("a/file", "b/file")?;
    ensure!(fs::read(env.path("a/file"))? == b"of b");
    ensure!(fs::read(env.path("b/file"))? == b"of a");
    // In one directory.
    swap("b/file", "b/link")?;
    ensure!(fs::read(env.path("b/link"))? == b"of a");
    ensure!(fs::read_link(env.path("b/file"))? == Path::new("target"));
    // Two directories with different parents.
    let (sub, sub2) = (ino("a/sub")?, ino("b/sub2")?);
    swap("a/sub", "b/sub2")?;
    ensure!(ino("a/sub")? == sub2 && ino("b/sub2")? == sub);
    ensure!(
        ino("a/sub/..")? == ino("a")? && ino("b/sub2/..")? == ino("b")?,
        ".. after the exchange of directories"
    );
    ensure!(links("a")? == 3 && links("b")? == 3);
    ensure!(env.path("b/sub2/below").is_dir());
    // A directory and a file: the parents' counts change.
    swap("a/sub", "b/link")?;
    ensure!(fs::read(env.path("a/sub"))? == b"of a");
    ensure!(ino("b/link/..")? == ino("b")?);
    ensure!(
        links("a")? == 2 && links("b")? == 4,
        "links {} {}",
        links("a")?,
        links("b")?
    );
    // And back, the file named first.
    swap("a/sub", "b/link")?;
    ensure!(links("a")? == 3 && links("b")? == 3);
    swap("a/sub", "b/link")?;
    mounted.end()?;

    let mounted = env.mount("")?;
    ensure!(fs::read(env.path("a/sub"))? == b"of a");
    ensure!(env.path("b/sub2/below").is_dir() && env.path("b/link").is_dir());
    for (path, kind) in [("a/sub", 'f'), ("b/link", 'd'), ("b/file", 'l')] {
        let (dir, name) = path.split_once('/').context("a path")?;
        let entry = fs::read_dir(env.path(dir))?
            .filter_map(Result::ok)
            .find(|entry| entry.file_name() == name)
            .with_context(|| format!("{path} is not listed"))?
            .file_type()?;
        let right = match kind {
            'f' => entry.is_file(),
            'd' => entry.is_dir(),
            _ => entry.is_symlink(),
        };
        ensure!(right, "{path} is listed as {entry:?}");
    }
    mounted.end()
}

fn exchange_refused(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    fs::create_dir_all(env.path("a/b/c"))?;
    fs::write(env.path("file"), b"")?;
    let swap = |from: &str, to: &str, flags| rename_with(&env.path(from), &env.path(to), flags);
    fails(
        swap("a", "none", RenameFlags::EXCHANGE),
        libc::ENOENT,
        "with nothing",
    )?;
    for (from, to) in [("a", "a/b/c"), ("a/b/c", "a"), ("file", "/")] {
        let result = swap(from, to, RenameFlags::EXCHANGE);
        ensure!(result.is_err(), "exchanged {from} and {to}");
    }
    for flags in [
        RenameFlags::EXCHANGE | RenameFlags::NOREPLACE,
        RenameFlags::EXCHANGE | RenameFlags::WHITEOUT,
        RenameFlags::from_bits_retain(0x80),
    ] {
        fails(
            swap("a", "file", flags),
            libc::EINVAL,
            "flags that make no sense",
        )?;
    }
    ensure!(env.path("a/b/c").is_dir() && env.path("file").is_file());
    mounted.end()
}

fn noreplace(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    fs::write(env.path("a"), b"a")?;
    fs::write(env.path("b"), b"b")?;
    let noreplace =
        |from: &str, to: &str| rename_with(&env.path(from), &env.path(to), RenameFlags::NOREPLACE);
    fails(noreplace("a", "b"), libc::EEXIST, "over a file")?;
    ensure!(fs::read(env.path("b"))? == b"b");
    noreplace("a", "c")?;
    ensure!(fs::read(env.path("c"))? == b"a" && !env.path("a").exists());
    mounted.end()
}

/// The old name is a character device 0:0 afterwards.
fn whiteout(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    for dir in ["a", "b", "a/dir", "b/empty"] {
        fs::create_dir(env.path(dir))?;
    }
    fs::write(env.path("a/file"), b"one")?;
    fs::write(env.path("b/old"), b"old")?;
    fs::write(env.path("a/other"), b"two")?;
    let away =
        |from: &str, to: &str| rename_with(&env.path(from), &env.path(to), RenameFlags::WHITEOUT);
    let inodes = || -> Result<u64> { Ok(rustix::fs::statvfs(env.path("").as_path())?.f_ffree) };
    let before = inodes()?;
    away("a/file", "b/file")?;
    away("a/other", "b/old")?;
    away("a/dir", "b/empty")?;
    // In the same directory.
    away("b/file", "b/moved")?;
    let expected = |free: u64| before - 4 + free;
    // The replaced file and the replaced directory are free again.
    ensure!(
        inodes()? == expected(2),
        "{before} inodes were free, {} are",
        inodes()?
    );
    let check = || -> Result<()> {
        for path in ["a/file", "a/other", "a/dir", "b/file"] {
            let meta = fs::symlink_metadata(env.path(path))?;
            ensure!(
                meta.file_type().is_char_device() && meta.rdev() == 0,
                "{path}: {meta:?}"
            );
            ensure!(meta.nlink() == 1 && meta.mode() & 0o7777 == 0, "{meta:?}");
        }
        ensure!(fs::read(env.path("b/moved"))? == b"one");
        ensure!(fs::read(env.path("b/old"))? == b"two");
        ensure!(fs::metadata(env.path("a"))?.nlink() == 2);
        ensure!(fs::metadata(env.path("b"))?.nlink() == 3);
        Ok(())
    };
    check()?;
    fs::create_dir(env.path("full"))?;
    fs::write(env.path("full/file"), b"")?;
    let free = inodes()?;
    // The C driver has written the old entry anew by then, with what it had.
    let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1000);
    fs::File::open(env.path("b"))?.set_modified(long_ago)?;
    fails(
        away("b/empty", "full"),
        libc::ENOTEMPTY,
        "over a full directory",
    )?;
    ensure!(inodes()? == free, "a refused whiteout keeps its inode");
    ensure!(
        fs::metadata(env.path("b"))?.modified()? != long_ago,
        "a refused whiteout does not show in the directory's time"
    );
    ensure!(env.path("b/empty").is_dir());
    mounted.end()?;
    let mounted = env.mount("")?;
    check()?;
    mounted.end()
}

/// As many names of a file as `pathconf` says of either driver; 65,000 links of a directory. The counts are set on the disk, which then is mended.
fn link_limit(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    fs::write(env.path("file"), b"x")?;
    for dir in ["dir", "away", "away/sub", "away/again"] {
        fs::create_dir(env.path(dir))?;
    }
    fs::write(env.path("dir/file"), b"")?;
    mounted.end()?;
    let most = match env.driver() {
        Driver::Notblk => 32_000,
        Driver::Ext4 => 65_000,
    };
    debugfs(&format!("sif /file links_count {}", most - 1))?;
    debugfs("sif /dir links_count 64999")?;
    let mounted = env.mount("")?;
    let link = |name: &str| fs::hard_link(env.path("file"), env.path(name));
    link("second")?;
    ensure!(fs::metadata(env.path("file"))?.nlink() == most);
    fails(link("third"), libc::EMLINK, "one name more")?;
    fails(
        fs::metadata(env.path("third")),
        libc::ENOENT,
        "what was refused",
    )?;
    fs::create_dir(env.path("dir/last"))?;
    ensure!(fs::metadata(env.path("dir"))?.nlink() == 65_000);
    fails(
        fs::create_dir(env.path("dir/none")),
        libc::EMLINK,
        "mkdir in a full directory",
    )?;
    fails(
        fs::rename(env.path("away/sub"), env.path("dir/sub")),
        libc::EMLINK,
        "rename into a full directory",
    )?;
    let swap =
        |from: &str, to: &str| rename_with(&env.path(from), &env.path(to), RenameFlags::EXCHANGE);
    for (from, to) in [("away/sub", "dir/file"), ("dir/file", "away/sub")] {
        fails(
            swap(from, to),
            libc::EMLINK,
            "exchange into a full directory",
        )?;
    }
    // What needs no further link works.
    fs::rename(env.path("away/sub"), env.path("dir/last"))?;
    swap("away/again", "dir/last")?;
    fs::write(env.path("dir/new"), b"")?;
    fs::remove_dir(env.path("dir/last"))?;
    ensure!(fs::metadata(env.path("dir"))?.nlink() == 64_999);
    fs::remove_file(env.path("second"))?;
    mounted.end()?;
    debugfs("sif /file links_count 1")?;
    debugfs("sif /dir links_count 2")?;
    Ok(())
}

/// With the feature `dir_nlink`, an indexed directory goes on beyond 65,000 with a count of 1, which nothing changes.
fn uncounted_links(env: &Env) -> Result<()> {
    debugfs("feature dir_nlink dir_index")?;
    let mounted = env.mount("")?;
    fs::create_dir(env.path("dir"))?;
    for number in 0..100 {
        fs::write(env.path(format!("dir/a-longer-name-{number}")), b"")?;
    }
    fs::create_dir(env.path("plain"))?;
    mounted.end()?;
    // Exit code 1: it did make indexes.
    let (code, text) = crate::fs::tool_code("e2fsck", &["-fyD", DISK])?;
    ensure!(code <= 1, "e2fsck -D: {text}");
    debugfs("sif /dir links_count 65000")?;
    debugfs("sif /plain links_count 65000")?;
    let mounted = Mounted::new(env.driver(), DISK, MNT, "")?;
    let links = |path: &str| -> Result<u64> { Ok(fs::metadata(env.path(path))?.nlink()) };
    fails(
        fs::create_dir(env.path("plain/sub")),
        libc::EMLINK,
        "mkdir in a full directory without an index",
    )?;
    fs::create_dir(env.path("dir/one"))?;
    ensure!(links("dir")? == 1, "{} links", links("dir")?);
    fs::create_dir(env.path("dir/two"))?;
    fs::create_dir(env.path("dir/three"))?;
    ensure!(links("dir")? == 1, "{} links", links("dir")?);
    fs::rename(env.path("dir/two"), env.path("two"))?;
    fs::remove_dir(env.path("dir/three"))?;
    ensure!(links("dir")? == 1, "{} links", links("dir")?);
    mounted.end()?;
    let mounted = env.mount("")?;
    ensure!(links("dir")? == 1, "{} links after a mount", links("dir")?);
    // An uncounted directory can be removed.
    fs::remove_dir_all(env.path("dir"))?;
    fails(fs::metadata(env.path("dir")), libc::ENOENT, "it")?;
    mounted.end()?;
    debugfs("sif /plain links_count 2")?;
    Ok(())
}

/// Asks that a directory lists these names, and `.` and `..`, and of none what it is.
fn listed_untyped(dir: &Path, expected: &[&str]) -> Result<()> {
    let mut found = BTreeSet::new();
    for entry in Dir::read_from(fs::File::open(dir)?)? {
        let entry = entry?;
        ensure!(
            entry.file_type() == FileType::Unknown,
            "{:?} is listed as {:?}",
            entry.file_name(),
            entry.file_type()
        );
        found.insert(entry.file_name().to_string_lossy().into_owned());
    }
    let expected = expected.iter().chain(&[".", ".."]).map(|&name| name.into());
    let expected: BTreeSet<String> = expected.collect();
    ensure!(
        found == expected,
        "{} lists {found:?}, should list {expected:?}",
        dir.display()
    );
    Ok(())
}

/// A filesystem whose entries have no types: that byte belongs to the length of the name.
fn no_file_types(env: &Env) -> Result<()> {
    let (block, mib) = (env.block().to_string(), format!("{}M", env.image.mib));
    let make = ["-q", "-F", "-t", "ext2", "-O", "^filetype", "-b", &block];
    tool("mke2fs", &[&make[..], &[DISK, &mib]].concat())?;
    let clean = |when: &str| -> Result<()> {
        match crate::fs::check(DISK)? {
            Some(complaint) => anyhow::bail!("{when}: {complaint}"),
            None => Ok(()),
        }
    };
    let mounted = env.mount("")?;
    for dir in ["a", "b", "a/sub", "b/sub", "many"] {
        fs::create_dir(env.path(dir))?;
    }
    fs::write(env.path("a/file"), b"of a")?;
    fs::hard_link(env.path("a/file"), env.path("a/linked"))?;
    symlink("target", env.path("a/symlink"))?;
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(CWD, env.path("a/fifo"), FileType::Fifo, mode, 0)?;
    let many: Vec<_> = (0..300).map(|n| format!("some-name-{n}")).collect();
    for name in &many {
        fs::hard_link(env.path("a/file"), env.path("many").join(name))?;
    }
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    listed_untyped(
        &env.path("a"),
        &["sub", "file", "linked", "symlink", "fifo"],
    )?;
    mounted.end()?;
    clean("made")?;

    let mounted = env.mount("")?;
    listed_untyped(&env.path("many"), &many)?;
    let rename = |from: &str, to: &str, flags| rename_with(&env.path(from), &env.path(to), flags);
    rename("a/file", "b/file", RenameFlags::empty())?;
    rename("a/sub", "b/other", RenameFlags::empty())?;
    rename("a/symlink", "b/sub", RenameFlags::EXCHANGE)?;
    rename("a/fifo", "b/fifo", RenameFlags::WHITEOUT)?;
    rename("a/linked", "a/fifo", RenameFlags::empty())?;
    mounted.end()?;
    clean("renamed")?;

    let mounted = env.mount("")?;
    let check = || -> Result<()> {
        listed_untyped(&env.path("a"), &["symlink", "fifo"])?;
        listed_untyped(&env.path("b"), &["file", "other", "sub", "fifo"])?;
        ensure!(env.path("a/symlink").is_dir() && env.path("b/other").is_dir());
        ensure!(fs::read(env.path("a/fifo"))? == b"of a");
        ensure!(fs::read_link(env.path("b/sub"))? == Path::new("target"));
        ensure!(fs::metadata(env.path("b/fifo"))?.file_type().is_fifo());
        Ok(())
    };
    check()?;
    for name in &many {
        fs::remove_file(env.path("many").join(name))?;
    }
    listed_untyped(&env.path("many"), &[])?;
    fs::remove_dir(env.path("many"))?;
    fs::remove_file(env.path("b/fifo"))?;
    fs::remove_file(env.path("b/sub"))?;
    fs::remove_dir(env.path("b/other"))?;
    listed_untyped(&env.path("b"), &["file"])?;
    mounted.end()?;
    clean("removed")
}
