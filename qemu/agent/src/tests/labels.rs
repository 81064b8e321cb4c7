// SPDX-License-Identifier: GPL-2.0
//! Labels of a security module: what is made has one from the beginning, as an attribute on the disk.
//!
//! The module is SELinux, with a [policy] of ours. The host gives these tests a boot of their own, with `lsm=selinux` on the
//! kernel's command line: in all other boots a label would be an attribute that no test expects.

mod policy;

use super::env::{errno, fails, Env, Skip};
use super::orphan::free;
use super::{test, Test};
use crate::attributes::{get, list, set};
use crate::fs::{open_buffered, shown_options, tool, try_mount, try_remount, DISK, MNT};
use anyhow::{bail, ensure, Context, Result};
use notblk_protocol::suite::CONFIG;
use policy::{in_street, label, BARE, CHOSEN, QUIET, STREET, SYSTEM};
use rustix::fs::{
    linkat, makedev, mknodat, renameat_with, AtFlags, FileType, Mode, RenameFlags, CWD,
};
use rustix::mount::{mount, MountFlags};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{symlink, FileExt, OpenOptionsExt};
use std::path::Path;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for inode in [128, 256] {
        let named = |what: &str| format!("labels/{what}-{inode}");
        tests.push(test(&named("kinds-of-inodes"), kinds).inode(inode));
        tests.push(test(&named("unnamed"), unnamed).inode(inode));
        tests.push(test(&named("whiteout"), whiteout).inode(inode));
        tests.push(test(&named("beside-acls"), beside_acls).inode(inode));
    }
    tests.push(test("labels/disk-full", disk_full).inode(128).mib(8));
    let without = test("labels/name-without-block", name_without_block);
    tests.push(without.inode(128).mib(8));
    tests.push(test("labels/by-mount", by_mount));
    tests.push(test("labels/root-by-mount", root_by_mount));
    tests
}

/// Where labels are, on the disk and in the inode.
const LABEL: &str = "security.selinux";
/// SELinux's own filesystem.
const SELINUXFS: &str = "/sys/fs/selinux";

/// Ends the test as skipped where the kernel has no SELinux. Where it has, the boot should have put it to work.
fn is_at_work() -> Result<()> {
    if fs::read_to_string("/proc/filesystems")?.contains("selinuxfs") {
        return Ok(());
    }
    let config = fs::read_to_string(CONFIG).context("the kernel's configuration")?;
    let line = fs::read_to_string("/proc/cmdline")?;
    let has = config
        .lines()
        .any(|line| line == "CONFIG_SECURITY_SELINUX=y");
    ensure!(!has, "SELinux is off; the kernel's command line is {line}");
    bail!(Skip("this kernel has no SELinux".into()));
}

/// Loads the policy, once in a boot.
fn ready() -> Result<()> {
    is_at_work()?;
    let current = || fs::read_to_string("/proc/self/attr/current");
    let is_loaded = |said: &str| said.trim_end_matches('\0') == label(SYSTEM);
    if is_loaded(&current()?) {
        return Ok(());
    }
    let none = MountFlags::empty();
    mount("selinuxfs", SELINUXFS, "selinuxfs", none, None).context("mount selinuxfs")?;
    let mut load = OpenOptions::new()
        .write(true)
        .open(format!("{SELINUXFS}/load"))?;
    load.write_all(&policy::policy())
        .context("load the policy")?;
    let current = current()?;
    ensure!(
        is_loaded(&current),
        "with the policy the agent is {current:?}"
    );
    Ok(())
}

/// What this thread makes meanwhile gets a label of this type, whatever the rules say.
fn labelled<T>(kind: &str, make: impl FnOnce() -> T) -> Result<T> {
    let choose = |text: &str| fs::write("/proc/thread-self/attr/fscreate", text);
    choose(&label(kind)).with_context(|| format!("choose the label {kind}"))?;
    let made = make();
    // Nothing more is chosen.
    choose("\n")?;
    Ok(made)
}

/// The label without the zero byte at its end.
fn label_of(path: &Path) -> Result<String> {
    let value = get(path, LABEL).with_context(|| format!("the label of {}", path.display()))?;
    let value = value.strip_suffix(b"\0").unwrap_or(&value);
    Ok(String::from_utf8_lossy(value).into_owned())
}

/// Files and the types of their labels.
type Expected = Vec<(String, String)>;

/// Asks that each file has the label of its type, and that the list of its attributes names it.
fn have_labels(env: &Env, expected: &Expected) -> Result<()> {
    for (name, kind) in expected {
        let path = env.path(name);
        let found = label_of(&path)?;
        ensure!(
            found == label(kind),
            "{name} is labelled {found}, should be {}",
            label(kind)
        );
        let names = list(&path)?;
        ensure!(
            names.contains(LABEL),
            "{name}: the list of attributes is {names:?}"
        );
    }
    Ok(())
}

/// The label that the unmounted disk has, byte for byte.
fn on_disk(name: &str) -> Result<Option<Vec<u8>>> {
    const OUT: &str = "/tmp/label";
    fs::write(OUT, b"")?;
    let text = tool(
        "debugfs",
        &["-R", &format!("ea_get -f {OUT} {name} {LABEL}"), DISK],
    )?;
    if text.contains("attribute key not found") {
        return Ok(None);
    }
    let value = fs::read(OUT)?;
    ensure!(
        !value.is_empty(),
        "debugfs finds no label of {name}: {text}"
    );
    Ok(Some(value))
}

/// Asks that labels are there now, on the disk, and after another mount; unmounts and mounts.
fn stay(env: &Env, mounted: crate::fs::Mounted, expected: &Expected) -> Result<()> {
    have_labels(env, expected).context("before the unmount")?;
    mounted.end()?;
    for (name, kind) in expected {
        let found = on_disk(name)?.map(|value| String::from_utf8_lossy(&value).into_owned());
        let right = format!("{}\0", label(kind));
        ensure!(
            found.as_ref() == Some(&right),
            "on the disk {name} has {found:?}, should have {right:?}"
        );
    }
    let mounted = env.mount("")?;
    have_labels(env, expected).context("after the mount")?;
    mounted.end()
}

/// A street and a quiet directory, labelled by their names.
fn make_directories(env: &Env) -> Result<Expected> {
    let mut made = Vec::new();
    for name in [STREET, QUIET] {
        labelled(name, || fs::create_dir(env.path(name)))??;
        made.push((name.to_owned(), name.to_owned()));
    }
    Ok(made)
}

/// Kinds of inodes, and SELinux's names of them.
const KINDS: [(&str, &str); 8] = [
    ("file", "file"),
    ("dir", "dir"),
    ("fast", "lnk_file"),
    ("slow", "lnk_file"),
    ("char", "chr_file"),
    ("block", "blk_file"),
    ("socket", "sock_file"),
    ("fifo", "fifo_file"),
];

/// The target of fast symlinks: where others have a block's number, it would be one that is in use on a full disk.
const FAST: &str = "z";

/// Makes an inode of this kind.
fn make(path: &Path, kind: &str) -> std::io::Result<()> {
    let node = |kind, device| errno(mknodat(CWD, path, kind, Mode::RUSR, device));
    match kind {
        "dir" => fs::create_dir(path),
        "fast" => symlink(FAST, path),
        "slow" => symlink("t".repeat(100), path),
        "char" => node(FileType::CharacterDevice, makedev(1, 3)),
        "block" => node(FileType::BlockDevice, makedev(7, 0)),
        "socket" => node(FileType::Socket, 0),
        "fifo" => node(FileType::Fifo, 0),
        _ => fs::write(path, b"contents"),
    }
}

/// Each kind of inode is labelled by the directory's type and its class, or as the task has chosen.
fn kinds(env: &Env) -> Result<()> {
    ready()?;
    let mounted = env.mount("")?;
    let mut expected = make_directories(env)?;
    for (kind, class) in KINDS {
        let mut named = |dir: &str, word: &str, right: &str| {
            let name = format!("{dir}/{kind}{word}");
            expected.push((name.clone(), right.to_owned()));
            env.path(name)
        };
        make(&named(STREET, "", &in_street(class)), kind)?;
        make(&named(QUIET, "", QUIET), kind)?;
        labelled(CHOSEN, || make(&named(STREET, "-chosen", CHOSEN), kind))??;
    }
    // The root has none, and passes on what it counts as.
    make(&env.path("plain"), "file")?;
    expected.push(("plain".into(), BARE.into()));
    stay(env, mounted, &expected)?;
    let root = on_disk("/")?;
    ensure!(root.is_none(), "the root has got a label: {root:?}");
    Ok(())
}

/// A file without a name in the street.
fn open_unnamed(env: &Env) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(libc::O_TMPFILE);
    options.open(env.path(STREET))
}

/// A file that is made without a name has its label when it gets one.
fn unnamed(env: &Env) -> Result<()> {
    ready()?;
    let mounted = env.mount("")?;
    let mut expected = make_directories(env)?;
    let open = || open_unnamed(env);
    let mut named = |file: File, name: &str, kind: &str| -> Result<()> {
        let from = format!("/proc/self/fd/{}", file.as_raw_fd());
        linkat(CWD, from, CWD, env.path(name), AtFlags::SYMLINK_FOLLOW)?;
        expected.push((name.to_owned(), kind.to_owned()));
        Ok(())
    };
    // Where it gets the name does not matter.
    named(open()?, "quiet/ruled", &in_street("file"))?;
    named(labelled(CHOSEN, open)??, "street/chosen", CHOSEN)?;
    stay(env, mounted, &expected)
}

/// What a rename leaves behind is a new inode with a label of its own; what moves keeps its label.
fn whiteout(env: &Env) -> Result<()> {
    ready()?;
    let mounted = env.mount("")?;
    let mut expected = make_directories(env)?;
    let mut away = |from: &str, to: &str, left: &str| -> Result<()> {
        make(&env.path(from), "file")?;
        let was = label_of(&env.path(from))?;
        renameat_with(
            CWD,
            env.path(from),
            CWD,
            env.path(to),
            RenameFlags::WHITEOUT,
        )?;
        let is = label_of(&env.path(to))?;
        ensure!(is == was, "{from} was labelled {was}; as {to} it is {is}");
        expected.push((from.to_owned(), left.to_owned()));
        Ok(())
    };
    let device = in_street("chr_file");
    away("street/leaves", "quiet/comes", &device)?;
    away("street/stays", "street/stayed", &device)?;
    away("quiet/leaves", "street/comes", QUIET)?;
    labelled(CHOSEN, || away("street/chosen", "quiet/chosen", CHOSEN))??;
    let moved = [
        ("quiet/comes", in_street("file")),
        ("street/stayed", in_street("file")),
        ("street/comes", QUIET.to_owned()),
        ("quiet/chosen", CHOSEN.to_owned()),
    ];
    expected.extend(moved.map(|(name, kind)| (name.to_owned(), kind)));
    stay(env, mounted, &expected)
}

/// An ACL as user space has it: the owner may read and write, user 1000 and the group may read.
fn acl() -> Vec<u8> {
    let mut value = 2_u32.to_le_bytes().to_vec();
    // Owner, user, group, mask, others; only the user has an id.
    for (tag, allowed, id) in [
        (1_u16, 6_u16, u32::MAX),
        (2, 4, 1000),
        (4, 4, u32::MAX),
        (16, 4, u32::MAX),
        (32, 0, u32::MAX),
    ] {
        value.extend(tag.to_le_bytes());
        value.extend(allowed.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    value
}

/// A new inode may get ACLs and a label at once.
fn beside_acls(env: &Env) -> Result<()> {
    const ACCESS: &str = "system.posix_acl_access";
    const DEFAULT: &str = "system.posix_acl_default";
    ready()?;
    let mounted = env.mount("")?;
    let mut expected = make_directories(env)?;
    set(env.path(STREET), DEFAULT, &acl())?;
    for kind in ["file", "dir", "fifo"] {
        make(&env.path(STREET).join(kind), kind)?;
    }
    let types = [("file", "file"), ("dir", "dir"), ("fifo", "fifo_file")];
    expected.extend(types.map(|(name, class)| (format!("street/{name}"), in_street(class))));
    stay(env, mounted, &expected)?;
    let mounted = env.mount("")?;
    let names = |name: &str, expected: &[&str]| -> Result<()> {
        let found = list(env.path(name))?;
        let right = expected.iter().map(|&name| name.to_owned()).collect();
        ensure!(
            found == right,
            "{name} has {found:?}, should have {right:?}"
        );
        Ok(())
    };
    names("street/file", &[ACCESS, LABEL])?;
    names("street/fifo", &[ACCESS, LABEL])?;
    names("street/dir", &[ACCESS, DEFAULT, LABEL])?;
    let found = get(env.path("street/dir"), DEFAULT)?;
    ensure!(
        found == acl(),
        "the default ACL of the directory is {found:?}"
    );
    mounted.end()
}

/// Fills the disk to the last block, and has all of it written.
fn fill(env: &Env) -> Result<()> {
    let filler = open_buffered(env.path("filler"))?;
    let data = vec![7; 1 << 16];
    let mut at = 0;
    for len in [1 << 16, env.block()] {
        while filler.write_all_at(&data[..len as usize], at).is_ok() {
            at += len;
        }
    }
    filler.sync_all().context("fsync of a full disk")?;
    let (blocks, _) = free(MNT)?;
    ensure!(blocks == 0, "{blocks} blocks are free on a full disk");
    Ok(())
}

/// Asks for so many free blocks and inodes.
fn are_free(expected: (u64, u64), when: &str) -> Result<()> {
    let found = free(MNT)?;
    ensure!(
        found == expected,
        "{when}: {found:?} blocks and inodes are free, should be {expected:?}"
    );
    Ok(())
}

/// A label that finds no block: `ENOSPC`, and the inode is free again; a block that has the same label serves on a full disk too.
fn disk_full(env: &Env) -> Result<()> {
    ready()?;
    let mounted = env.mount("")?;
    let mut expected = make_directories(env)?;
    fill(env)?;
    let (_, inodes) = free(MNT)?;
    // What is labelled as the directory needs no block of its own.
    make(&env.path("quiet/shares"), "fifo")?;
    expected.push(("quiet/shares".into(), QUIET.into()));
    are_free((0, inodes - 1), "with a label that is there")?;
    for (kind, _) in KINDS {
        let path = env.path(STREET).join(kind);
        fails(make(&path, kind), libc::ENOSPC, kind)?;
        are_free((0, inodes - 1), kind)?;
        let what = format!("{kind} after ENOSPC");
        fails(fs::symlink_metadata(path), libc::ENOENT, &what)?;
    }
    fails(open_unnamed(env), libc::ENOSPC, "O_TMPFILE")?;
    are_free((0, inodes - 1), "O_TMPFILE")?;
    stay(env, mounted, &expected)
}

/// The last block goes to a label, and then the name finds none: `ENOSPC`, and the block is free again.
fn name_without_block(env: &Env) -> Result<()> {
    ready()?;
    let mounted = env.mount("")?;
    let mut expected = make_directories(env)?;
    make(&env.path("spare"), "file")?;
    // Names of 255 bytes until the directory has no room for another.
    let long = |n: u64| env.path(QUIET).join(format!("{n:0255}"));
    let fit = (env.block() - 24) / 264;
    for n in 0..fit {
        make(&long(n), "fifo")?;
    }
    let size = || -> Result<u64> { Ok(fs::metadata(env.path(QUIET))?.len()) };
    ensure!(
        size()? == env.block(),
        "the directory has {} bytes",
        size()?
    );
    fill(env)?;
    let (_, inodes) = free(MNT)?;
    fs::remove_file(env.path("spare"))?;
    let before = (1, inodes + 1);
    are_free(before, "without the spare file")?;
    for (kind, _) in KINDS {
        let made = labelled(CHOSEN, || make(&long(fit), kind))?;
        fails(made, libc::ENOSPC, kind)?;
        are_free(before, kind)?;
    }
    ensure!(
        size()? == env.block(),
        "the directory has grown to {} bytes",
        size()?
    );
    // Where there is room for a name, one block is enough.
    labelled(CHOSEN, || make(&env.path("street/fast"), "fast"))?
        .context("a label in the last block")?;
    expected.push(("street/fast".into(), CHOSEN.into()));
    are_free((0, inodes), "with the last block")?;
    stay(env, mounted, &expected)
}

/// The options of `/proc/mounts` that begin so.
fn options(start: &str) -> Result<Vec<String>> {
    let mut shown = shown_options(MNT)?;
    shown.retain(|option| option.starts_with(start));
    Ok(shown)
}

/// With `context=` all files seem to have the label of the mount, none gets one, and a remount cannot change that.
fn by_mount(env: &Env) -> Result<()> {
    ready()?;
    let context = |kind: &str| format!("context={}", label(kind));
    let mounted = env.mount("")?;
    let shown = options("seclabel")?;
    ensure!(shown == ["seclabel"], "a mount with labels shows {shown:?}");
    make_directories(env)?;
    mounted.end()?;

    let mounted = env.mount(&context(CHOSEN))?;
    let shown = (options("context=")?, options("seclabel")?);
    ensure!(
        shown == (vec![context(CHOSEN)], Vec::new()),
        "a mount with a context shows {shown:?}"
    );
    make(&env.path("street/file"), "file")?;
    labelled(QUIET, || make(&env.path("chosen"), "file"))??;
    for name in [STREET, "street/file", "chosen"] {
        let found = label_of(&env.path(name))?;
        ensure!(
            found == label(CHOSEN),
            "{name} is labelled {found}, not as the mount"
        );
    }
    let changed = set(env.path(STREET), LABEL, label(QUIET).as_bytes());
    fails(changed, libc::EOPNOTSUPP, "a label where the mount has one")?;
    fails(
        errno(try_remount(MNT, &context(QUIET))),
        libc::EINVAL,
        "another context",
    )?;
    errno(try_remount(MNT, &context(CHOSEN))).context("the same context")?;
    mounted.end()?;

    for name in ["street/file", "chosen"] {
        let found = on_disk(name)?;
        ensure!(found.is_none(), "{name} has got a label: {found:?}");
    }
    let odd = try_mount(env.driver().name(), DISK, MNT, "context=u:object_r:nobody");
    fails(
        errno(odd),
        libc::EINVAL,
        "a context that the policy does not have",
    )?;
    let mounted = env.mount("")?;
    for (name, kind) in [(STREET, STREET), ("street/file", BARE), ("chosen", BARE)] {
        let found = label_of(&env.path(name))?;
        ensure!(
            found == label(kind),
            "without the context {name} is labelled {found}"
        );
    }
    mounted.end()
}

/// With `rootcontext=` the root counts as labelled so, and what is made in it gets its label by that.
fn root_by_mount(env: &Env) -> Result<()> {
    ready()?;
    let mounted = env.mount(&format!("rootcontext={}", label(STREET)))?;
    let found = label_of(Path::new(MNT))?;
    ensure!(found == label(STREET), "the root is labelled {found}");
    let mut expected = Vec::new();
    for (kind, class) in KINDS {
        make(&env.path(kind), kind)?;
        expected.push((kind.to_owned(), in_street(class)));
    }
    stay(env, mounted, &expected)?;
    let root = on_disk("/")?;
    ensure!(root.is_none(), "the root has got a label: {root:?}");
    Ok(())
}
