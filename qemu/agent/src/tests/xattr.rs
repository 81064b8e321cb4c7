// SPDX-License-Identifier: GPL-2.0
//! Extended attributes, in the inode and in its block.

use super::env::{fails, Env};
use super::{test, Test};
use crate::attributes::{get, get_in, list, list_in, remove, set, set_if};
use crate::buf::Random;
use crate::fs::{self as lab, open_buffered, open_direct, tool, Mounted, DISK, MNT};
use crate::modules;
use crate::sys::as_user;
use anyhow::{bail, ensure, Context, Result};
use rustix::fs::XattrFlags;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    tests.extend(in_shapes("xattr/kinds-of-inodes", kinds));
    tests.extend(in_shapes("xattr/errors", errors));
    tests.extend(in_shapes("xattr/sizes", sizes));
    tests.extend(in_shapes("xattr/model", model));
    let huge = |name: &str, run: fn(&Env) -> Result<()>| test(name, run).block(65536).mib(256);
    tests.push(huge("xattr/sizes-64k-256", sizes));
    tests.push(huge("xattr/model-64k-256", model));
    tests.extend([
        test("xattr/body-and-block", body_and_block),
        test("xattr/disk-full", disk_full).mib(8),
        test("xattr/shared-block", shared_block).inode(128),
        test("xattr/shares-blocks", shares_blocks).inode(128),
        test("xattr/shares-blocks-1k", shares_blocks).block(1024),
        test("xattr/shares-at-once", shares_at_once).inode(128),
        test("xattr/found-by-ext4", found_by_ext4).inode(128),
        test("xattr/found-here", found_here).inode(128),
        test("xattr/share-limit", share_limit).inode(128),
        test("xattr/trusted-hidden", trusted_hidden),
        test("xattr/two-drivers", two_drivers),
        test("xattr/two-drivers-128", two_drivers).inode(128),
        test("xattr/new-inode-has-none", new_inode_has_none),
        test("xattr/capability-goes-with-a-write", capability),
        test("xattr/threads", threads).inode(128),
        test("xattr/feature-and-times", feature_and_times),
        test("xattr/damaged-block", damaged_block).damages(),
        test("xattr/damaged-body", damaged_body).damages(),
    ]);
    tests
}

/// A test for block and inode sizes: with a body and without.
fn in_shapes(name: &str, run: fn(&Env) -> Result<()>) -> Vec<Test> {
    [(1024, 128), (1024, 256), (4096, 128), (4096, 256)]
        .into_iter()
        .map(|(block, inode)| {
            test(&format!("{name}-{}k-{inode}", block / 1024), run)
                .block(block)
                .inode(inode)
        })
        .collect()
}

/// Runs one command of debugfs on the unmounted disk.
fn debugfs(command: &str) -> Result<String> {
    tool("debugfs", &["-w", "-R", command, DISK])
}

/// A value to be told from others.
fn value(seed: u64, len: usize) -> Vec<u8> {
    let mut value = vec![0; len];
    Random(seed + 1).fill(&mut value);
    value
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Files, directories, symbolic links, special files: over unmount and mount.
fn kinds(env: &Env) -> Result<()> {
    debugfs("symlink fast target")?;
    debugfs(&format!("symlink slow {}", "t".repeat(100)))?;
    debugfs("mknod fifo p")?;
    debugfs("mknod device c 1 3")?;
    let mounted = env.mount("")?;
    fs::write(env.path("file"), b"contents")?;
    fs::create_dir(env.path("dir"))?;
    let all = ["file", "dir", "fast", "slow", "fifo", "device"];
    for (n, kind) in all.iter().enumerate() {
        let path = env.path(kind);
        ensure!(list(&path)?.is_empty(), "{kind} has attributes");
        set(&path, "trusted.one", &value(n as u64, 9))?;
        set(&path, "trusted.two", b"")?;
        set(&path, "security.three", &value(n as u64, 300))?;
        let user = set(&path, "user.four", b"4");
        if matches!(*kind, "file" | "dir") {
            user?;
        } else {
            fails(user, libc::EPERM, &format!("user. on {kind}"))?;
        }
    }
    mounted.end()?;
    let mounted = env.mount("")?;
    for (n, kind) in all.iter().enumerate() {
        let path = env.path(kind);
        let mut expected = names(&["trusted.one", "trusted.two", "security.three"]);
        if matches!(*kind, "file" | "dir") {
            expected.insert("user.four".to_owned());
        }
        ensure!(list(&path)? == expected, "{kind}: {:?}", list(&path)?);
        ensure!(get(&path, "trusted.one")? == value(n as u64, 9), "{kind}");
        ensure!(get(&path, "trusted.two")?.is_empty(), "{kind}");
        ensure!(
            get(&path, "security.three")? == value(n as u64, 300),
            "{kind}"
        );
        remove(&path, "security.three")?;
        remove(&path, "trusted.one")?;
    }
    // Links still lead where they did, nodes are what they were.
    ensure!(fs::read_link(env.path("fast"))? == Path::new("target"));
    ensure!(fs::read_link(env.path("slow"))?.as_os_str().len() == 100);
    ensure!(fs::metadata(env.path("device"))?.rdev() == 0x103);
    ensure!(fs::read(env.path("file"))? == b"contents");
    for kind in all {
        if kind == "dir" {
            fs::remove_dir(env.path(kind))?;
        } else {
            fs::remove_file(env.path(kind))?;
        }
    }
    mounted.end()
}

fn errors(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let file = env.path("file");
    fs::write(&file, b"")?;
    let (create, replace) = (XattrFlags::CREATE, XattrFlags::REPLACE);
    let name = "user.name";
    fails(get(&file, name), libc::ENODATA, "get of nothing")?;
    fails(remove(&file, name), libc::ENODATA, "remove of nothing")?;
    fails(
        set_if(&file, name, b"1", replace),
        libc::ENODATA,
        "replace of nothing",
    )?;
    set_if(&file, name, b"1", create)?;
    fails(
        set_if(&file, name, b"2", create),
        libc::EEXIST,
        "create of what is there",
    )?;
    fails(
        set_if(&file, name, b"2", create | replace),
        libc::EEXIST,
        "create and replace of what is there",
    )?;
    fails(
        set_if(&file, "user.other", b"2", create | replace),
        libc::ENODATA,
        "create and replace of nothing",
    )?;
    ensure!(
        get(&file, name)? == b"1",
        "a set that failed has changed it"
    );
    set_if(&file, name, b"twelve bytes", replace)?;
    fails(
        get_in(&file, name, 11),
        libc::ERANGE,
        "get into too little room",
    )?;
    ensure!(get_in(&file, name, 12)? == b"twelve bytes");
    ensure!(get_in(&file, name, 4000)? == b"twelve bytes");
    set(&file, "trusted.x", b"")?;
    fails(
        list_in(&file, "user.name\0trusted.x\0".len() - 1),
        libc::ERANGE,
        "list into too little room",
    )?;
    ensure!(list(&file)? == names(&["user.name", "trusted.x"]));
    fails(
        set(&file, "unknown.name", b"1"),
        libc::EOPNOTSUPP,
        "a namespace that does not exist",
    )?;
    fails(
        get(&file, "system.name"),
        libc::EOPNOTSUPP,
        "a name of system. that does not exist",
    )?;
    fails(set(&file, "user.", b"1"), libc::EINVAL, "an empty name")?;
    let long = format!("user.{}", "n".repeat(251));
    fails(set(&file, &long, b"1"), libc::ERANGE, "a name too long")?;
    fails(
        set(&file, name, &vec![0; 65537]),
        libc::E2BIG,
        "a value above 64 KiB",
    )?;
    fails(
        set(&file, name, &vec![0; 65536]),
        libc::ENOSPC,
        "a value larger than a block",
    )?;
    ensure!(get(&file, name)? == b"twelve bytes");
    // The longest name.
    let long = format!("user.{}", "n".repeat(250));
    set(&file, &long, b"long")?;
    ensure!(get(&file, &long)? == b"long");
    mounted.end()?;
    let mounted = env.mount("ro")?;
    ensure!(get(&file, &long)? == b"long");
    ensure!(get(&file, name)? == b"twelve bytes");
    fails(
        set(&file, name, b"2"),
        libc::EROFS,
        "set on a read-only mount",
    )?;
    fails(
        remove(&file, name),
        libc::EROFS,
        "remove on a read-only mount",
    )?;
    mounted.end()
}

/// The largest value that a block has room for beside nothing else, with a name of one byte.
fn largest(env: &Env) -> usize {
    // The block's header, the entry with its name, the four bytes that end the entries.
    env.block() as usize - 32 - 20 - 4
}

/// Values of every size up to the largest, grown and shrunk in place.
fn sizes(env: &Env) -> Result<()> {
    let mut mounted = env.mount("")?;
    let file = env.path("file");
    fs::write(&file, b"")?;
    let largest = largest(env);
    let steps: Vec<usize> = (0..140)
        .chain((140..largest).step_by(97))
        .chain(largest - 5..=largest)
        .collect();
    for &len in steps.iter().chain(steps.iter().rev()) {
        set(&file, "user.v", &value(len as u64, len))?;
        ensure!(
            get(&file, "user.v")? == value(len as u64, len),
            "{len} bytes read back otherwise"
        );
    }
    set(&file, "user.v", &value(1, largest))?;
    fails(
        set(&file, "user.v", &value(2, largest + 1)),
        libc::ENOSPC,
        "a value too large by a byte",
    )?;
    mounted.end()?;
    mounted = env.mount("")?;
    ensure!(get(&file, "user.v")? == value(1, largest));
    if env.image.inode_size == 128 {
        fails(
            set(&file, "user.w", b""),
            libc::ENOSPC,
            "another into a full block",
        )?;
        ensure!(get(&file, "user.v")? == value(1, largest));
    } else {
        // The body has room left; and a larger one does not drive out the first.
        set(&file, "user.w", b"in the body")?;
        fails(
            set(&file, "user.w", &value(3, 200)),
            libc::ENOSPC,
            "more than is left",
        )?;
        ensure!(get(&file, "user.w")? == b"in the body");
    }
    mounted.end()
}

/// Blocks of 512 bytes of a file.
fn sectors(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path)?.blocks())
}

/// First the body, then the block; what becomes small comes back, and the last to leave the block frees it.
fn body_and_block(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let file = env.path("file");
    fs::write(&file, b"")?;
    let block = env.block() / 512;
    set(&file, "user.a", b"small")?;
    ensure!(sectors(&file)? == 0, "a small one should be in the inode");
    set(&file, "user.b", &value(1, 300))?;
    ensure!(sectors(&file)? == block, "a large one should be in a block");
    // Grows out of the body, and its old value is nowhere.
    set(&file, "user.a", &value(2, 200))?;
    ensure!(sectors(&file)? == block);
    ensure!(list(&file)? == names(&["user.a", "user.b"]));
    ensure!(get(&file, "user.a")? == value(2, 200));
    // And back.
    set(&file, "user.a", b"small again")?;
    set(&file, "user.b", b"small too")?;
    ensure!(sectors(&file)? == 0, "the block should be free");
    ensure!(get(&file, "user.a")? == b"small again");
    ensure!(get(&file, "user.b")? == b"small too");
    set(&file, "user.c", &value(3, 1000))?;
    ensure!(sectors(&file)? == block);
    remove(&file, "user.c")?;
    ensure!(sectors(&file)? == 0);
    // With data beside it, and through truncate.
    set(&file, "user.c", &value(3, 1000))?;
    fs::write(&file, vec![1; 2 * env.block() as usize])?;
    ensure!(sectors(&file)? == 3 * block);
    fs::OpenOptions::new().write(true).open(&file)?.set_len(0)?;
    ensure!(sectors(&file)? == block);
    ensure!(get(&file, "user.c")? == value(3, 1000));
    mounted.end()?;
    let mounted = env.mount("")?;
    ensure!(sectors(&file)? == block);
    ensure!(get(&file, "user.c")? == value(3, 1000));
    fs::remove_file(&file)?;
    mounted.end()
}

/// Without a free block: `ENOSPC`, and all is as before.
fn disk_full(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let file = env.path("file");
    fs::write(&file, b"")?;
    set(&file, "user.a", b"in the body")?;
    let filler = open_buffered(env.path("filler"))?;
    let mut at = 0;
    for len in [1 << 16, env.block()] {
        let data = vec![7; len as usize];
        while filler.write_all_at(&data, at).is_ok() {
            at += len;
        }
    }
    fails(
        set(&file, "user.b", &value(1, 500)),
        libc::ENOSPC,
        "a block where there is none",
    )?;
    fails(
        set(&file, "user.a", &value(1, 500)),
        libc::ENOSPC,
        "a move to a block where there is none",
    )?;
    ensure!(get(&file, "user.a")? == b"in the body");
    ensure!(list(&file)? == names(&["user.a"]));
    set(&file, "user.c", b"body")?;
    filler.set_len(0)?;
    filler.sync_all()?;
    set(&file, "user.b", &value(1, 500))?;
    drop(filler);
    mounted.end()?;
    let mounted = env.mount("")?;
    ensure!(get(&file, "user.b")? == value(1, 500));
    ensure!(list(&file)? == names(&["user.a", "user.b", "user.c"]));
    mounted.end()
}

/// The block of attributes of a file, from the unmounted disk.
fn block_of(path: &str) -> Result<u64> {
    let text = debugfs(&format!("stat {path}"))?;
    let (_, rest) = text.split_once("File ACL: ").context("no File ACL")?;
    let number = rest.split_whitespace().next().context("no number")?;
    number.parse().context("not a number")
}

/// Free blocks on the disk, all written.
fn free_blocks() -> Result<u64> {
    rustix::fs::sync();
    Ok(rustix::fs::statvfs(MNT)?.f_bfree)
}

/// Inodes with the same attributes use one block, in whatever order they got them, and after a new mount too; who changes them
/// has them alone; the last one frees the block.
fn shares_blocks(env: &Env) -> Result<()> {
    const FILES: usize = 20;
    let name = |n: usize| env.path(format!("file{n}"));
    let mounted = env.mount("")?;
    for n in 0..FILES {
        fs::write(name(n), b"")?;
    }
    let fill = |n: usize, turned: bool| -> Result<()> {
        let mut pairs = [("user.a", value(1, 400)), ("trusted.b", value(2, 200))];
        if turned {
            pairs.reverse();
        }
        for (key, value) in pairs {
            set(name(n), key, &value)?;
        }
        Ok(())
    };
    let before = free_blocks()?;
    for n in 0..FILES / 2 {
        fill(n, n % 2 == 1)?;
    }
    let used = before - free_blocks()?;
    ensure!(used == 1, "{used} blocks for attributes that are the same");
    ensure!(fs::metadata(name(0))?.blocks() == env.block() / 512);
    mounted.end()?;
    if let Some(complaint) = lab::check(DISK)? {
        bail!("shared: {complaint}");
    }
    let mounted = env.mount("")?;
    // From the disk, once somebody has looked.
    ensure!(get(name(0), "user.a")? == value(1, 400));
    for n in FILES / 2..FILES {
        fill(n, false)?;
    }
    let used = before - free_blocks()?;
    ensure!(used == 1, "{used} blocks after a new mount");
    // One changes, and comes back.
    set(name(3), "user.a", &value(3, 400))?;
    ensure!(before - free_blocks()? == 2, "no block of its own");
    ensure!(get(name(2), "user.a")? == value(1, 400), "changed for all");
    set(name(3), "user.a", &value(1, 400))?;
    ensure!(before - free_blocks()? == 1, "not shared again");
    // What was one inode's block and is changed where it is becomes another's too.
    set(name(4), "user.a", b"x")?;
    set(name(4), "user.a", &value(5, 300))?;
    set(name(5), "user.a", &value(5, 300))?;
    ensure!(before - free_blocks()? == 2, "not shared after a change");
    set(name(4), "user.a", &value(6, 300))?;
    ensure!(get(name(5), "user.a")? == value(5, 300), "changed for two");
    for n in 0..FILES {
        ensure!(get(name(n), "trusted.b")? == value(2, 200), "file{n}");
        match n % 2 {
            0 => fs::remove_file(name(n))?,
            _ => {
                remove(name(n), "user.a")?;
                remove(name(n), "trusted.b")?;
            }
        }
    }
    ensure!(free_blocks()? == before, "blocks are lost");
    mounted.end()
}

/// Threads that give many files the same few attributes, change them and remove the files.
fn shares_at_once(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let before = {
        fs::create_dir(env.path("dir"))?;
        free_blocks()?
    };
    let seed = env.seed;
    let work = |thread: u64| -> Result<()> {
        let mut random = Random(seed ^ (thread + 1) << 32);
        for turn in 0..400_u64 {
            let path = format!("{MNT}/dir/{thread}-{}", turn % 7);
            match random.below(6) {
                0 => drop(fs::remove_file(&path)),
                _ => {
                    if !Path::new(&path).exists() {
                        fs::write(&path, b"")?;
                    }
                    let kind = random.below(4);
                    let long = value(kind, 300);
                    set(&path, "user.a", &long)?;
                    let found = get(&path, "user.a")?;
                    ensure!(found == long, "thread {thread}, turn {turn}: another value");
                }
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|n| scope.spawn(move || work(n))).collect();
        threads.into_iter().try_for_each(|thread| {
            let ended = thread.join();
            ended.map_err(|_| anyhow::anyhow!("a thread died"))?
        })
    })
    .with_context(|| format!("seed {seed}"))?;
    mounted.end()?;
    if let Some(complaint) = lab::check(DISK)? {
        bail!("seed {seed}: {complaint}");
    }
    let mounted = env.mount("")?;
    fs::remove_dir_all(env.path("dir"))?;
    fs::create_dir(env.path("dir"))?;
    ensure!(free_blocks()? == before, "seed {seed}: blocks are lost");
    mounted.end()
}

/// A block that one driver has written is found by the other, once it has been read: by the hash in its header.
fn found(writer: &str, finder: &str) -> Result<()> {
    // Lengths that do not end a word, and one that is nothing.
    let pairs: [(&str, usize); 3] = [("user.a", 333), ("trusted.some-name", 50), ("user.c", 0)];
    let fill = |name: &str| -> Result<()> {
        let path = Path::new(MNT).join(name);
        fs::write(&path, b"")?;
        for (key, len) in pairs {
            set(&path, key, &value(len as u64, len))?;
        }
        Ok(())
    };
    modules::load("ext4", &[])?;
    let mounted = Mounted::of_type(writer, DISK, MNT, "")?;
    fill("one")?;
    mounted.end()?;
    let block = block_of("/one")?;
    ensure!(block != 0, "the attributes are in no block");
    let mounted = Mounted::of_type(finder, DISK, MNT, "")?;
    for (key, len) in pairs {
        let read = get(Path::new(MNT).join("one"), key)?;
        ensure!(read == value(len as u64, len), "{key} reads otherwise");
    }
    fill("other")?;
    mounted.end()?;
    let other = block_of("/other")?;
    ensure!(
        other == block,
        "{writer} wrote block {block}; {finder} does not find it and uses {other}"
    );
    Ok(())
}

fn found_by_ext4(env: &Env) -> Result<()> {
    found(env.driver().name(), "ext4")
}

fn found_here(env: &Env) -> Result<()> {
    found("ext4", env.driver().name())
}

/// No more than 1,024 inodes share a block; the next one begins another. The last one left has its attributes still.
fn share_limit(env: &Env) -> Result<()> {
    const FILES: usize = 1100;
    let name = |n: usize| env.path(format!("file{n}"));
    let mounted = env.mount("")?;
    for n in 0..FILES {
        fs::write(name(n), b"")?;
    }
    let before = free_blocks()?;
    for n in 0..FILES {
        set(name(n), "user.a", &value(1, 400))?;
    }
    let used = before - free_blocks()?;
    ensure!(used == 2, "{FILES} files with the same use {used} blocks");
    mounted.end()?;
    if let Some(complaint) = lab::check(DISK)? {
        bail!("shared by {FILES}: {complaint}");
    }
    let mounted = env.mount("")?;
    for n in 0..FILES - 1 {
        ensure!(get(name(n), "user.a")? == value(1, 400), "file{n}");
        fs::remove_file(name(n))?;
    }
    let used = before - free_blocks()?;
    ensure!(used == 1, "one file left uses {used} blocks");
    ensure!(
        get(name(FILES - 1), "user.a")? == value(1, 400),
        "the last file has another value"
    );
    mounted.end()
}

/// What is `trusted.` is there for root alone: others neither see it in the list nor can ask for it.
fn trusted_hidden(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let path = env.path("file");
    fs::write(&path, b"")?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    let all = ["trusted.body", "trusted.block", "user.body", "user.block"];
    for name in all {
        let len = if name.ends_with("block") { 300 } else { 3 };
        set(&path, name, &value(1, len))?;
    }
    as_user(1000, 1000, &[], || -> Result<()> {
        let found = list(&path)?;
        ensure!(
            found == names(&["user.body", "user.block"]),
            "a user sees {found:?}"
        );
        ensure!(get(&path, "user.block")? == value(1, 300), "user.block");
        for name in ["trusted.body", "trusted.block"] {
            fails(get(&path, name), libc::ENODATA, &format!("{name} read"))?;
            fails(set(&path, name, b"x"), libc::EPERM, &format!("{name} set"))?;
            fails(remove(&path, name), libc::EPERM, &format!("{name} removed"))?;
        }
        fails(
            get(&path, "trusted.none"),
            libc::ENODATA,
            "trusted.none read",
        )
    })??;
    let found = list(&path)?;
    ensure!(found == names(&all), "root sees {found:?}");
    for (name, len) in [("trusted.body", 3), ("trusted.block", 300)] {
        ensure!(get(&path, name)? == value(1, len), "{name} of root");
    }
    mounted.end()
}

/// A block that the C driver has let several files share: who changes it gets another, who goes leaves it to the rest.
fn shared_block(env: &Env) -> Result<()> {
    modules::load("ext4", &[])?;
    let mounted = Mounted::of_type("ext4", DISK, MNT, "")?;
    for n in 0..6 {
        let path = env.path(format!("file{n}"));
        fs::write(&path, b"")?;
        set(&path, "user.a", &value(1, 100))?;
        set(&path, "user.b", &value(2, 50))?;
    }
    mounted.end()?;
    let block = block_of("/file0")?;
    ensure!(block != 0, "there is no block");
    for n in 1..6 {
        ensure!(
            block_of(&format!("/file{n}"))? == block,
            "the blocks are not shared: this test tests nothing"
        );
    }
    let mounted = env.mount("")?;
    set(env.path("file0"), "user.a", b"changed")?;
    set(env.path("file1"), "user.c", b"added")?;
    remove(env.path("file2"), "user.a")?;
    remove(env.path("file3"), "user.a")?;
    remove(env.path("file3"), "user.b")?;
    fs::remove_file(env.path("file4"))?;
    let expect = |n: u32, expected: &[(&str, Vec<u8>)]| -> Result<()> {
        let path = env.path(format!("file{n}"));
        let keys: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
        ensure!(list(&path)? == names(&keys), "file{n}: {:?}", list(&path)?);
        for (name, value) in expected {
            ensure!(get(&path, name)? == *value, "file{n}: {name}");
        }
        Ok(())
    };
    let all = || -> Result<()> {
        expect(
            0,
            &[("user.a", b"changed".to_vec()), ("user.b", value(2, 50))],
        )?;
        expect(
            1,
            &[
                ("user.a", value(1, 100)),
                ("user.b", value(2, 50)),
                ("user.c", b"added".to_vec()),
            ],
        )?;
        expect(2, &[("user.b", value(2, 50))])?;
        expect(3, &[])?;
        expect(5, &[("user.a", value(1, 100)), ("user.b", value(2, 50))])
    };
    all()?;
    mounted.end()?;
    if let Some(complaint) = lab::check(DISK)? {
        bail!("after the changes: {complaint}");
    }
    ensure!(block_of("/file5")? == block, "the last user lost its block");
    let mounted = env.mount("")?;
    all()?;
    // The last user has it to itself.
    set(env.path("file5"), "user.a", b"alone")?;
    expect(
        5,
        &[("user.a", b"alone".to_vec()), ("user.b", value(2, 50))],
    )?;
    mounted.end()?;
    ensure!(
        block_of("/file5")? == block,
        "the block was not changed where it is"
    );
    Ok(())
}

/// What each file should have.
type Model = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// Compares all files with the model.
fn compare(env: &Env, model: &Model) -> Result<()> {
    for (file, expected) in model {
        let path = env.path(file);
        let found = list(&path)?;
        ensure!(
            found.iter().eq(expected.keys()),
            "{file} has {found:?}, should have {:?}",
            expected.keys()
        );
        for (name, value) in expected {
            ensure!(get(&path, name)? == *value, "{file}: {name}");
        }
    }
    Ok(())
}

/// Sets and removes at random, of files and directories that come and go.
fn churn(env: &Env, model: &mut Model, random: &mut Random, steps: u32) -> Result<()> {
    for _ in 0..steps {
        let file = format!(
            "{}{}",
            ["file", "dir"][random.below(2) as usize],
            random.below(4)
        );
        let path = env.path(&file);
        if !model.contains_key(&file) {
            if file.starts_with("dir") {
                fs::create_dir(&path)?;
            } else {
                fs::write(&path, file.as_bytes())?;
            }
            model.insert(file.clone(), BTreeMap::new());
        }
        let Some(attributes) = model.get_mut(&file) else {
            continue;
        };
        let space = ["user", "trusted", "security"][random.below(3) as usize];
        let name = format!(
            "{space}.{}",
            "name-\u{e9}".repeat(random.below(4) as usize + 1)
        );
        let name = format!("{name}{}", random.below(3));
        match random.below(20) {
            0 => {
                model.remove(&file);
                if file.starts_with("dir") {
                    fs::remove_dir(&path)?;
                } else {
                    fs::remove_file(&path)?;
                }
            }
            1..=5 => match remove(&path, &name) {
                Ok(()) => ensure!(attributes.remove(&name).is_some(), "removed {name}"),
                Err(error) => {
                    fails::<()>(Err(error), libc::ENODATA, "remove")?;
                    ensure!(!attributes.contains_key(&name), "{name} was there");
                }
            },
            _ => {
                // With blocks of 64 KiB the largest that the kernel takes of anybody.
                let most = (env.block() + 10).min(65_537);
                let limit = [8, 60, 400, most][random.below(4) as usize];
                let value = value(random.next() >> 1, random.below(limit) as usize);
                match set(&path, &name, &value) {
                    Ok(()) => {
                        attributes.insert(name, value);
                    }
                    Err(error) => fails::<()>(Err(error), libc::ENOSPC, "set")?,
                }
            }
        }
    }
    Ok(())
}

fn model(env: &Env) -> Result<()> {
    let mut random = Random(env.seed ^ u64::from(env.image.inode_size) ^ env.block());
    let mut model = Model::new();
    for round in 0..4 {
        let mounted = env.mount("")?;
        compare(env, &model).with_context(|| format!("round {round}, seed {}", env.seed))?;
        churn(env, &mut model, &mut random, 250)
            .and_then(|()| compare(env, &model))
            .with_context(|| format!("round {round}, seed {}", env.seed))?;
        mounted.end()?;
        if let Some(complaint) = lab::check(DISK)? {
            bail!("after round {round}, seed {}: {complaint}", env.seed);
        }
    }
    Ok(())
}

/// Each driver goes on with what the other has left.
fn two_drivers(env: &Env) -> Result<()> {
    modules::load("ext4", &[])?;
    let mut random = Random(env.seed);
    let mut model = Model::new();
    for round in 0..6 {
        let kind = if round % 2 == 0 {
            env.driver().name()
        } else {
            "ext4"
        };
        let mounted = Mounted::of_type(kind, DISK, MNT, "")?;
        compare(env, &model)
            .and_then(|()| churn(env, &mut model, &mut random, 120))
            .and_then(|()| compare(env, &model))
            .with_context(|| format!("round {round} by {kind}, seed {}", env.seed))?;
        mounted.end()?;
        if let Some(complaint) = lab::check(DISK)? {
            bail!("after round {round} by {kind}: {complaint}");
        }
    }
    Ok(())
}

/// A file that gets the inode of one that had attributes, before anything of the new one is on disk.
fn new_inode_has_none(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    for round in 0..20 {
        let old = env.path("old");
        fs::write(&old, b"")?;
        set(&old, "user.old", &value(round, 20))?;
        rustix::fs::sync();
        let ino = fs::metadata(&old)?.ino();
        fs::remove_file(&old)?;
        let new = env.path(format!("new{round}"));
        fs::write(&new, b"")?;
        ensure!(list(&new)?.is_empty(), "a new file has {:?}", list(&new)?);
        if round % 2 == 0 {
            set(&new, "user.new", b"new")?;
            ensure!(list(&new)? == names(&["user.new"]));
        }
        if fs::metadata(&new)?.ino() != ino {
            env.note(format!("round {round}: another inode"));
        }
    }
    mounted.end()?;
    let mounted = env.mount("")?;
    for round in 0..20 {
        let new = env.path(format!("new{round}"));
        let expected: &[&str] = if round % 2 == 0 { &["user.new"] } else { &[] };
        ensure!(list(&new)? == names(expected), "new{round}");
    }
    mounted.end()
}

/// File capabilities: `cap_net_raw+ep`, as `struct vfs_cap_data` of revision 2.
pub(super) const CAPABILITY: [u8; 20] = [
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// Whoever writes to a file, in whatever way, takes its capabilities away: also where writes before had found none.
fn capability(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let path = env.path("file");
    let name = "security.capability";
    let block = env.block() as usize;
    fs::write(&path, vec![1; 4 * block])?;
    let buffered = open_buffered(&path)?;
    let direct = open_direct(&path)?;
    let data = crate::buf::Buffer::from(&vec![2; block]);
    let ways: [(&str, &dyn Fn() -> std::io::Result<()>); 4] = [
        ("a buffered write", &|| buffered.write_all_at(b"x", 10)),
        ("a direct write", &|| {
            direct.write_all_at(&data, block as u64)
        }),
        ("a direct write that extends", &|| {
            direct.write_all_at(&data, buffered.metadata()?.len())
        }),
        ("a truncation", &|| {
            buffered.set_len(buffered.metadata()?.len() - 1)?;
            buffered.set_len(4 * block as u64)
        }),
    ];
    for round in 0..3 {
        for (what, write) in &ways {
            // The inode is known to have nothing to drop before it gets something.
            write()?;
            set(&path, name, &CAPABILITY)?;
            ensure!(get(&path, name)? == CAPABILITY, "{what}");
            write()?;
            fails(
                get(&path, name),
                libc::ENODATA,
                &format!("round {round}: a capability after {what}"),
            )?;
        }
    }
    drop((buffered, direct));
    mounted.end()
}

/// Several tasks on one inode, and on inodes of their own.
fn threads(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let common = env.path("common");
    fs::write(&common, b"")?;
    std::thread::scope(|scope| {
        let tasks: Vec<_> = (0..4_u64)
            .map(|task| {
                let common = &common;
                let own = env.path(format!("own{task}"));
                scope.spawn(move || -> Result<()> {
                    let name = format!("user.task{task}");
                    for n in 0..60 {
                        let value = value(task * 1000 + n, (n as usize * 13) % 500);
                        set(common, &name, &value)?;
                        ensure!(get(common, &name)? == value, "task {task}: {n}");
                        // Room enough for all, since others set meanwhile.
                        list_in(common, 4096)?;
                        fs::write(&own, b"")?;
                        set(&own, &name, &value)?;
                        if n % 3 == 0 {
                            remove(common, &name)?;
                            fs::remove_file(&own)?;
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        tasks
            .into_iter()
            .try_for_each(|task| task.join().unwrap_or_else(|_| bail!("a task panicked")))
    })?;
    ensure!(list(&common)?.len() == 4);
    mounted.end()
}

/// The feature is set by the first attribute; ctime changes and mtime does not; fsync keeps it.
fn feature_and_times(env: &Env) -> Result<()> {
    debugfs("feature -ext_attr")?;
    let mounted = env.mount("")?;
    let path = env.path("file");
    fs::write(&path, b"")?;
    let file = fs::File::open(&path)?;
    file.sync_all()?;
    let before = file.metadata()?;
    std::thread::sleep(std::time::Duration::from_millis(30));
    set(&path, "user.a", &value(1, 300))?;
    let after = file.metadata()?;
    let changed = |one: &fs::Metadata, other: &fs::Metadata| {
        (one.ctime(), one.ctime_nsec()) != (other.ctime(), other.ctime_nsec())
    };
    ensure!(changed(&before, &after), "ctime should have changed");
    ensure!(
        (before.mtime(), before.mtime_nsec()) == (after.mtime(), after.mtime_nsec()),
        "mtime should not have changed"
    );
    // The same value once more is no change.
    std::thread::sleep(std::time::Duration::from_millis(30));
    set(&path, "user.a", &value(1, 300))?;
    ensure!(!changed(&after, &file.metadata()?), "ctime has changed");
    file.sync_all()?;
    drop(file);
    mounted.end()?;
    let text = tool("dumpe2fs", &["-h", DISK])?;
    ensure!(text.contains("ext_attr"), "the feature is not set: {text}");
    // Both are taken, on every mount.
    env.mount("acl,user_xattr")?.end()?;
    for options in ["noacl", "nouser_xattr", "acl=1"] {
        let refused = lab::try_mount(env.driver().name(), DISK, MNT, options);
        fails(
            super::env::errno(refused),
            libc::EINVAL,
            &format!("the option {options}"),
        )?;
    }
    Ok(())
}

/// Overwrites bytes of the unmounted disk.
fn patch(offset: u64, bytes: &[u8]) -> Result<()> {
    let disk = fs::OpenOptions::new().write(true).open(DISK)?;
    disk.write_all_at(bytes, offset)?;
    disk.sync_all().context("sync the disk")
}

fn damaged_block(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let path = env.path("file");
    fs::write(&path, b"")?;
    set(&path, "user.a", &value(1, 300))?;
    mounted.end()?;
    let block = block_of("/file")? * env.block();
    // The magic number; a name past the block; a value past the block; a value in another inode.
    for (at, bytes) in [
        (0, [0_u8, 0, 0, 0]),
        (32, [255, 1, 0, 0]),
        (40, [0xff, 0xff, 0, 0]),
        (36, [5, 0, 0, 0]),
    ] {
        let mut before = [0; 4];
        fs::File::open(DISK)?.read_exact_at(&mut before, block + at)?;
        patch(block + at, &bytes)?;
        let mounted = env.mount("")?;
        let what = format!("byte {at} of the block");
        if bytes != [255, 1, 0, 0] {
            fails(get(&path, "user.a"), libc::EUCLEAN, &what)?;
            fails(list(&path), libc::EUCLEAN, &what)?;
            fails(set(&path, "user.b", &value(1, 200)), libc::EUCLEAN, &what)?;
        } else {
            // A longer name may still lie inside, and is then another name.
            let _ = (get(&path, "user.a"), list(&path));
        }
        mounted.end()?;
        patch(block + at, &before)?;
    }
    let mounted = env.mount("")?;
    ensure!(get(&path, "user.a")? == value(1, 300), "put back");
    mounted.end()
}

/// An inode whose body makes no sense is not used at all.
fn damaged_body(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let path = env.path("file");
    fs::write(&path, b"")?;
    set(&path, "user.a", b"value")?;
    mounted.end()?;
    let text = debugfs("imap /file")?;
    // "Inode 12 is part of block group 0\n\tlocated at block 11, offset 0x0b00"
    let (_, rest) = text.split_once("located at block ").context("no place")?;
    let (block, offset) = rest.split_once(", offset 0x").context("no offset")?;
    let block: u64 = block.trim().parse()?;
    let offset = offset.split_whitespace().next().context("no offset")?;
    let offset = u64::from_str_radix(offset, 16)?;
    // Behind 128 bytes and an i_extra_isize of 32: the header, then the entry, whose e_value_size is at 8.
    let entry = block * env.block() + offset + 160 + 4;
    patch(entry + 8, &[0xff, 0, 0, 0])?;
    let mounted = env.mount("")?;
    fails(get(&path, "user.a"), libc::EUCLEAN, "get")?;
    fails(fs::metadata(&path), libc::EUCLEAN, "stat")?;
    mounted.end()
}
