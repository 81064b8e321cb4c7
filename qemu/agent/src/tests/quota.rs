// SPDX-License-Identifier: GPL-2.0
//! Quotas: usage is right, limits hold. With hidden quota files (the feature `quota`) and with visible ones.

use super::env::{fails, unmount_all, Env};
use super::{test, Test};
use crate::attributes;
use crate::buf::Buffer;
use crate::fs::{self as image, shown_options, tool, try_mount, try_remount, DISK, MNT};
use crate::modules;
use crate::quota::{self, Kind, Quota};
use crate::sys::ioctl::{get_xattr, set_xattr};
use crate::sys::{as_user, Mapping};
use anyhow::{ensure, Context, Result};
use notblk_protocol::Driver;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{chown, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// A test on a filesystem that is mounted.
type Case = fn(&Env) -> Result<()>;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let cases: [(&str, Case); 10] = [
        ("usage", usage),
        ("chown", change_owner),
        ("buffered", buffered),
        ("direct", direct),
        ("mmap", mmap),
        ("inodes", inodes),
        ("groups", groups),
        ("remount", remount),
        ("beside-data", beside_data),
        ("soft", soft),
    ];
    let mut tests = Vec::new();
    for (name, case) in cases {
        tests.push(test(&format!("quota/hidden-{name}"), move |env| {
            hidden(env)?;
            let mounted = env.mount(OPTIONS)?;
            open_to_all(env)?;
            case(env)?;
            mounted.end()
        }));
        tests.push(
            test(&format!("quota/visible-{name}"), move |env| {
                let mounted = visible(env)?;
                open_to_all(env)?;
                case(env)?;
                mounted.end()
            })
            .block(1024),
        );
    }
    tests.push(test("quota/no-options", no_options));
    tests.push(test("quota/made-read-only", made_read_only));
    tests.push(test("quota/visible-on-off", on_off));
    tests.push(test("quota/bad-inode", bad_inode).damages());
    tests
}

/// Mount options that ask for limits.
pub(super) const OPTIONS: &str = "usrquota,grpquota";
/// An ordinary user and its group.
pub(super) const USER: u32 = 1000;
/// Another.
const OTHER: u32 = 1001;
/// A group that neither is in.
const GROUP: u32 = 2000;
/// The limit on what a user may have.
const MAX_KIB: u64 = 256;

/// Makes the filesystem anew, with hidden quota files.
pub(super) fn hidden(env: &Env) -> Result<()> {
    modules::load("quota_v2", &[])?;
    let block = env.block().to_string();
    let size = format!("{}M", env.image.mib);
    let (kind, features) = match env.driver() {
        Driver::Notblk => ("ext2", "quota"),
        Driver::Ext4 => (
            "ext4",
            "quota,^extent,^64bit,^metadata_csum,^flex_bg,^uninit_bg",
        ),
    };
    let arguments = [
        "-q", "-F", "-b", &block, "-t", kind, "-O", features, DISK, &size,
    ];
    tool("mke2fs", &arguments).map(drop)
}

/// Mounts, and turns visible quota files on.
pub(super) fn visible(env: &Env) -> Result<image::Mounted> {
    modules::load("quota_v2", &[])?;
    let mounted = env.mount(OPTIONS)?;
    for (kind, name) in FILES {
        fs::write(env.path(name), quota::empty_file(kind))?;
        quota::on(DISK, kind, Some(&env.path(name))).with_context(|| format!("on: {name}"))?;
    }
    Ok(mounted)
}

/// The visible quota files.
pub(super) const FILES: [(Kind, &str); 2] =
    [(Kind::User, "aquota.user"), (Kind::Group, "aquota.group")];

/// Lets everybody make files in the root.
pub(super) fn open_to_all(env: &Env) -> Result<()> {
    fs::set_permissions(env.path(""), fs::Permissions::from_mode(0o777))?;
    Ok(())
}

/// What somebody has.
pub(super) fn has(kind: Kind, id: u32) -> Result<(u64, u64)> {
    let Quota { bytes, inodes, .. } = quota::get(DISK, kind, id)?;
    Ok((bytes, inodes))
}

/// Asks that somebody has these files and nothing else.
pub(super) fn expect(kind: Kind, id: u32, files: &[&Path]) -> Result<()> {
    let mut bytes = 0;
    for file in files {
        bytes += fs::symlink_metadata(file)?.blocks() * 512;
    }
    let found = has(kind, id)?;
    let expected = (bytes, files.len() as u64);
    ensure!(
        found == expected,
        "{kind:?} {id} has {found:?} (bytes, inodes), should have {expected:?}"
    );
    Ok(())
}

/// Runs something as the user.
pub(super) fn user<T: Send>(run: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    as_user(USER, USER, &[], run)?
}

/// Opens for appending or writing, as root or not; makes the file.
fn open(path: &Path, flags: i32) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(flags)
        .open(path)
        .with_context(|| format!("open {}", path.display()))
}

/// Usage follows what is made, written, truncated, renamed over and deleted, and is the same after a remount.
fn usage(env: &Env) -> Result<()> {
    let (file, dir) = (env.path("file"), env.path("dir"));
    user(|| {
        fs::create_dir(&dir)?;
        fs::write(&file, vec![1; 3 << 20])?;
        File::create(dir.join("empty"))?;
        Ok(())
    })?;
    let empty = dir.join("empty");
    let all: [&Path; 3] = [&file, &dir, &empty];
    for kind in [Kind::User, Kind::Group] {
        expect(kind, USER, &all)?;
    }
    let (bytes, _) = has(Kind::User, USER)?;
    ensure!(bytes > 3 << 20, "3 MiB are {bytes} bytes");
    // A hole, and less.
    user(|| {
        let sparse = open(&empty, 0)?;
        sparse.write_all_at(b"far", 100 << 20)?;
        sparse.sync_all()?;
        open(&file, 0)?.set_len(100_000)?;
        Ok(())
    })?;
    expect(Kind::User, USER, &all)?;
    // Over another file.
    user(|| Ok(fs::rename(&empty, &file)?))?;
    expect(Kind::User, USER, &[&file, &dir])?;
    // Deleted while open: what it has is charged until it is closed.
    user(|| {
        let held = open(&file, 0)?;
        fs::remove_file(&file)?;
        let (bytes, inodes) = has(Kind::User, USER)?;
        ensure!(
            inodes == 2 && bytes > 0,
            "an open file without a name is not charged: {inodes} inodes"
        );
        drop(held);
        Ok(())
    })?;
    expect(Kind::User, USER, &[&dir])?;
    user(|| Ok(fs::remove_dir(&dir)?))?;
    expect(Kind::User, USER, &[])?;
    expect(Kind::Group, USER, &[])
}

/// What a file has goes to the new owner, and not where that would have too much.
fn change_owner(env: &Env) -> Result<()> {
    let file = env.path("file");
    user(|| Ok(fs::write(&file, vec![1; 600 << 10])?))?;
    expect(Kind::User, USER, &[&file])?;
    chown(&file, Some(OTHER), None)?;
    expect(Kind::User, USER, &[])?;
    expect(Kind::User, OTHER, &[&file])?;
    expect(Kind::Group, USER, &[&file])?;
    chown(&file, None, Some(GROUP))?;
    expect(Kind::Group, USER, &[])?;
    expect(Kind::Group, GROUP, &[&file])?;
    ensure!(fs::metadata(&file)?.gid() == GROUP, "the group is another");

    // Root may give; who has no capabilities cannot give more than there is room for.
    quota::limit(DISK, Kind::Group, USER, MAX_KIB, 0)?;
    chown(&file, Some(USER), Some(GROUP))?;
    let result = as_user(USER, GROUP, &[USER], || chown(&file, None, Some(USER)))?;
    fails(result, libc::EDQUOT, "chgrp over the limit")?;
    ensure!(fs::metadata(&file)?.gid() == GROUP, "moved all the same");
    expect(Kind::Group, GROUP, &[&file])?;
    expect(Kind::Group, USER, &[])
}

/// Writes as the user until the quota is full: as much is written as there is room for, and usage says so.
///
/// The C driver gets the blocks of a buffered write later, and its indirect blocks whatever the limit.
fn fill(env: &Env, path: &Path, flags: i32, piece: usize) -> Result<u64> {
    let over = match env.driver() {
        Driver::Ext4 if flags == 0 => 3 * env.block(),
        _ => 0,
    };
    quota::limit(DISK, Kind::User, USER, MAX_KIB, 0)?;
    let wrote = user(|| {
        let file = open(path, flags)?;
        let mut data = Buffer::new(piece);
        data.fill(0x5a);
        let mut offset = 0;
        let error = loop {
            match file.write_at(&data, offset) {
                Ok(count) => offset += count as u64,
                Err(error) => break error,
            }
            ensure!(offset <= MAX_KIB << 10, "{offset} bytes were taken");
        };
        fails::<()>(Err(error), libc::EDQUOT, "a write over the limit")?;
        file.sync_all()?;
        Ok(offset)
    })?;
    let (bytes, _) = has(Kind::User, USER)?;
    ensure!(bytes <= (MAX_KIB << 10) + over, "{bytes} bytes are in use");
    let data = fs::read(path)?;
    ensure!(
        data.len() as u64 == wrote && data.iter().all(|&byte| byte == 0x5a),
        "{wrote} bytes written, {} read, or others",
        data.len()
    );
    expect(Kind::User, USER, &[path])?;
    // Another may go on, and so may the user when something has gone.
    as_user(OTHER, OTHER, &[], || {
        fs::write(env_path("other"), vec![1; 400 << 10])
    })??;
    user(|| {
        let file = open(path, flags)?;
        file.set_len(0)?;
        file.write_all_at(&Buffer::new(piece), 0)?;
        Ok(())
    })?;
    expect(Kind::User, USER, &[path])?;
    Ok(wrote)
}

fn env_path(name: &str) -> std::path::PathBuf {
    Path::new(MNT).join(name)
}

fn buffered(env: &Env) -> Result<()> {
    let wrote = fill(env, &env.path("file"), 0, 100 << 10)?;
    // All but indirect blocks. The C driver refuses what does not fit into the quota with all of its folio.
    ensure!(
        env.driver() == Driver::Ext4 || wrote >= (MAX_KIB << 10) - 3 * env.block(),
        "full after {wrote} bytes"
    );
    Ok(())
}

fn direct(env: &Env) -> Result<()> {
    let wrote = fill(env, &env.path("file"), libc::O_DIRECT, 8 << 10)?;
    ensure!(
        wrote >= (MAX_KIB << 10) - (16 << 10),
        "full after {wrote} bytes"
    );
    Ok(())
}

/// A fault in a hole: the page cannot be had, which the kernel tells by an errno to who lets it touch the page.
fn mmap(env: &Env) -> Result<()> {
    let file = env.path("file");
    quota::limit(DISK, Kind::User, USER, MAX_KIB, 0)?;
    let length = (2 * MAX_KIB as usize) << 10;
    let source = env.path("source");
    fs::write(&source, vec![7; length])?;
    fs::set_permissions(&source, fs::Permissions::from_mode(0o644))?;
    let read = user(|| {
        let sparse = open(&file, 0)?;
        sparse.set_len(length as u64)?;
        let mapping = Mapping::new(&sparse, length)?;
        // A read into the mapping: the kernel faults its pages in, and stops where it cannot.
        let mut total = 0;
        let source = File::open(&source)?;
        while let Ok(count @ 1..) = mapping.fill_from(&source, 0, total, 4096) {
            total += count;
            if total == length {
                break;
            }
        }
        Ok(total)
    })?;
    ensure!(
        read > 0 && read <= (MAX_KIB as usize) << 10,
        "{read} bytes were faulted in under a limit of {MAX_KIB} KiB"
    );
    rustix::fs::sync();
    expect(Kind::User, USER, &[&file])?;
    let (bytes, _) = has(Kind::User, USER)?;
    ensure!(
        bytes >= (MAX_KIB << 10) - 4 * env.block().max(4096),
        "{bytes} bytes in use"
    );
    Ok(())
}

fn inodes(env: &Env) -> Result<()> {
    quota::limit(DISK, Kind::User, USER, 0, 5)?;
    let dir = env.path("dir");
    user(|| {
        fs::create_dir(&dir)?;
        for n in 0..4 {
            File::create(dir.join(n.to_string()))?;
        }
        fails(File::create(dir.join("more")), libc::EDQUOT, "create")?;
        fails(fs::create_dir(dir.join("more")), libc::EDQUOT, "mkdir")?;
        ensure!(!dir.join("more").exists(), "made all the same");
        // Another name is no inode.
        fs::hard_link(dir.join("0"), dir.join("link"))?;
        fs::remove_file(dir.join("1"))?;
        File::create(dir.join("more"))?;
        Ok(())
    })?;
    let (_, inodes) = has(Kind::User, USER)?;
    ensure!(inodes == 5, "{inodes} inodes");
    let before = rustix::fs::statvfs(MNT)?.f_ffree;
    user(|| fails(File::create(dir.join("1")), libc::EDQUOT, "create"))?;
    ensure!(
        rustix::fs::statvfs(MNT)?.f_ffree == before,
        "an inode that was refused is lost"
    );
    Ok(())
}

/// A group's limit holds for whoever is in it.
fn groups(env: &Env) -> Result<()> {
    quota::limit(DISK, Kind::Group, GROUP, MAX_KIB, 0)?;
    let mut left = MAX_KIB << 10;
    for id in [USER, OTHER] {
        let path = env.path(id.to_string());
        let result = as_user(id, GROUP, &[], || -> Result<usize> {
            let file = open(&path, 0)?;
            let mut count = 0;
            for offset in (0..150).map(|kib| kib << 10) {
                match file.write_at(&[1; 1024], offset) {
                    Ok(more) => count += more,
                    Err(error) if error.raw_os_error() == Some(libc::EDQUOT) => break,
                    Err(error) => return Err(error).context("write"),
                }
            }
            file.sync_all()?;
            Ok(count)
        })??;
        ensure!(result as u64 <= left, "{result} bytes, {left} were left");
        left -= result as u64;
    }
    ensure!(left < 32 << 10, "{left} bytes were left in the end");
    let both = [USER, OTHER].map(|id| env.path(id.to_string()));
    expect(Kind::Group, GROUP, &[&both[0], &both[1]])?;
    expect(Kind::User, USER, &[&both[0]])
}

/// Blocks of attributes and of a long symbolic link's target are charged; one that two files share, to both.
fn beside_data(env: &Env) -> Result<()> {
    let block = env.block();
    let (one, two, link) = (env.path("one"), env.path("two"), env.path("link"));
    let charged = |what: &str, blocks: u64, inodes: u64| -> Result<()> {
        for kind in [Kind::User, Kind::Group] {
            let found = has(kind, USER)?;
            ensure!(
                found == (blocks * block, inodes),
                "{what}: {kind:?} has {found:?} (bytes, inodes), should have {blocks} blocks and {inodes}"
            );
        }
        Ok(())
    };
    let large = |path: &Path| Ok(attributes::set(path, "user.large", &[7; 600])?);
    user(|| Ok(File::create(&one).and(File::create(&two)).map(drop)?))?;
    charged("two files", 0, 2)?;
    user(|| Ok(std::os::unix::fs::symlink("x".repeat(200), &link)?))?;
    charged("a long symbolic link", 1, 3)?;
    user(|| large(&one))?;
    charged("an attribute", 2, 3)?;
    user(|| large(&two))?;
    charged("the same of another file", 3, 3)?;
    let free = rustix::fs::statvfs(MNT)?.f_bfree;
    user(|| Ok(attributes::remove(&two, "user.large")?))?;
    charged("without it", 2, 3)?;
    ensure!(
        rustix::fs::statvfs(MNT)?.f_bfree == free,
        "the two had a block each: nothing is shared here"
    );
    quota::limit(DISK, Kind::User, USER, 2 * block / 1024, 0)?;
    user(|| {
        let result = attributes::set(&two, "user.large", &[8; 600]);
        fails(result, libc::EDQUOT, "an attribute over the limit")?;
        let result = std::os::unix::fs::symlink("y".repeat(200), env_path("other"));
        fails(result, libc::EDQUOT, "a long symbolic link over the limit")
    })?;
    charged("what was refused", 2, 3)?;
    user(|| Ok(fs::remove_file(&link).and(fs::remove_file(&one))?))?;
    charged("all removed", 0, 1)
}

/// A soft limit may be passed, until its time has run out; who gets below it has all the time again.
fn soft(env: &Env) -> Result<()> {
    const SOFT_KIB: u64 = 64;
    let file = env.path("file");
    let grace = || quota::grace(DISK, Kind::User, USER);
    let write = |from_kib: u64, to_kib: u64| {
        user(|| {
            let file = open(&file, 0)?;
            let data = vec![1; ((to_kib - from_kib) << 10) as usize];
            let result = file.write_all_at(&data, from_kib << 10);
            file.sync_all()?;
            Ok(result)
        })
    };
    quota::limit_softly(DISK, Kind::User, USER, SOFT_KIB, MAX_KIB)?;
    write(0, SOFT_KIB / 2)?.context("a write below the limit")?;
    ensure!(grace()? == 0, "below the limit until {}", grace()?);
    write(SOFT_KIB / 2, SOFT_KIB + 32)?.context("a write over the soft limit")?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    ensure!(
        grace()? > now.as_secs(),
        "over the limit until {}, at {now:?}",
        grace()?
    );
    write(SOFT_KIB + 32, SOFT_KIB + 48)?.context("another")?;
    quota::set_grace(DISK, Kind::User, USER, now.as_secs() - 1)?;
    fails(
        write(SOFT_KIB + 48, SOFT_KIB + 64)?,
        libc::EDQUOT,
        "a write over the soft limit when the time has run out",
    )?;
    expect(Kind::User, USER, &[&file])?;
    user(|| Ok(open(&file, 0)?.set_len(1024)?))?;
    ensure!(grace()? == 0, "below the limit again until {}", grace()?);
    write(1, SOFT_KIB + 32)?.context("a write with time again")?;
    expect(Kind::User, USER, &[&file])
}

/// Usage and limits outlive a time of being read-only.
fn remount(env: &Env) -> Result<()> {
    quota::limit(DISK, Kind::User, USER, MAX_KIB, 7)?;
    let file = env.path("file");
    user(|| Ok(fs::write(&file, vec![1; 100 << 10])?))?;
    rustix::fs::sync();
    let before = quota::get(DISK, Kind::User, USER)?;
    try_remount(MNT, "ro").context("remount read-only")?;
    try_remount(MNT, "rw").context("remount read-write")?;
    let after = quota::get(DISK, Kind::User, USER)?;
    ensure!(before == after, "{before:?} became {after:?}");
    user(|| {
        let file = open(&file, 0)?;
        let data = vec![1; 400 << 10];
        let count = file.write_at(&data, 100 << 10)?;
        fails(
            file.write_at(&data, (100 << 10) + count as u64),
            libc::EDQUOT,
            "a write over the limit",
        )
    })?;
    expect(Kind::User, USER, &[&file])
}

/// Hidden quotas without mount options: usage is kept, limits are not, until they are turned on; all of it outlives unmounting.
fn no_options(env: &Env) -> Result<()> {
    hidden(env)?;
    let mounted = env.mount("")?;
    open_to_all(env)?;
    let file = env.path("file");
    quota::limit(DISK, Kind::User, USER, MAX_KIB, 0)?;
    user(|| Ok(fs::write(&file, vec![1; 600 << 10])?))?;
    expect(Kind::User, USER, &[&file])?;
    mounted.end()?;

    let mounted = env.mount("")?;
    expect(Kind::User, USER, &[&file])?;
    let kept = quota::get(DISK, Kind::User, USER)?;
    ensure!(kept.max_kib == MAX_KIB, "the limit is {}", kept.max_kib);
    quota::on(DISK, Kind::User, None).context("limits on")?;
    let result = user(|| Ok(open(&file, 0)?.write_at(&[1; 8192], 600 << 10)))?;
    fails(result, libc::EDQUOT, "a write over the limit")?;
    quota::off(DISK, Kind::User).context("limits off")?;
    user(|| Ok(open(&file, 0)?.write_all_at(&[1; 8192], 600 << 10)?))?;
    expect(Kind::User, USER, &[&file])?;
    mounted.end()?;

    // By a mount option.
    let mounted = env.mount("usrquota")?;
    let shown = shown_options(MNT)?;
    let both = ["quota", "usrquota"].map(str::to_owned);
    ensure!(
        shown.windows(2).any(|pair| pair == both),
        "quota and usrquota are not shown: {shown:?}"
    );
    let result = user(|| Ok(open(&file, 0)?.write_at(&[1; 8192], 700 << 10)))?;
    fails(result, libc::EDQUOT, "a write over the limit")?;
    fails(
        super::env::errno(try_remount(MNT, "noquota")),
        libc::EINVAL,
        "noquota while quotas are on",
    )?;
    mounted.end()
}

/// Mounted read-only there are no quotas; they come with writing.
fn made_read_only(env: &Env) -> Result<()> {
    hidden(env)?;
    let mounted = env.mount(OPTIONS)?;
    open_to_all(env)?;
    let file = env.path("file");
    user(|| Ok(fs::write(&file, vec![1; 100 << 10])?))?;
    try_remount(MNT, "ro").context("remount read-only")?;
    // What is on disk now is clean, usage included.
    if let Some(complaint) = image::check(DISK)? {
        anyhow::bail!("read-only: {complaint}");
    }
    mounted.end()?;
    let mounted = env.mount(&format!("ro,{OPTIONS}"))?;
    ensure!(
        quota::get(DISK, Kind::User, USER).is_err(),
        "quotas of a read-only mount"
    );
    try_remount(MNT, "rw").context("remount read-write")?;
    expect(Kind::User, USER, &[&file])?;
    user(|| Ok(fs::remove_file(&file)?))?;
    expect(Kind::User, USER, &[])?;
    mounted.end()
}

/// Visible files: who may turn them on, and what they are meanwhile.
fn on_off(env: &Env) -> Result<()> {
    modules::load("quota_v2", &[])?;
    let (kind, name) = FILES[0];
    let mounted = env.mount("")?;
    let file = env.path(name);
    fs::write(&file, quota::empty_file(kind))?;
    fails(
        quota::on(DISK, kind, Some(&file)),
        libc::EINVAL,
        "quotas on without a mount option",
    )?;
    mounted.end()?;

    let mounted = env.mount("quota")?;
    let elsewhere = Path::new("/tmp");
    fs::create_dir_all(elsewhere)?;
    let elsewhere = elsewhere.join("aquota.user");
    fs::write(&elsewhere, quota::empty_file(kind))?;
    fails(
        quota::on(DISK, kind, Some(&elsewhere)),
        libc::EXDEV,
        "by a file of another filesystem",
    )?;
    quota::on(DISK, kind, Some(&file)).context("quotas on")?;
    fails(
        quota::on(DISK, kind, Some(&file)),
        libc::EBUSY,
        "quotas on once more",
    )?;
    fails(
        OpenOptions::new().write(true).open(&file),
        libc::EPERM,
        "write to a quota file",
    )?;
    // Nor can it be made one that can be written to.
    let reader = File::open(&file)?;
    let mut flags = get_xattr(&reader)?;
    ensure!(flags.xflags & 8 != 0, "it is not immutable");
    flags.xflags = 0;
    fails(
        set_xattr(&reader, flags),
        libc::EPERM,
        "chattr -i of a quota file",
    )?;
    drop(reader);
    open_to_all(env)?;
    let mine = env.path("mine");
    user(|| Ok(fs::write(&mine, vec![1; 50_000])?))?;
    expect(kind, USER, &[&mine])?;
    quota::off(DISK, kind).context("quotas off")?;
    ensure!(
        quota::get(DISK, kind, USER).is_err(),
        "quotas that are off can be read"
    );
    OpenOptions::new()
        .append(true)
        .open(&file)
        .context("a quota file that is off")?;
    user(|| Ok(fs::remove_file(&mine)?))?;
    // Its contents are there for who reads the file, and when it is on again.
    let data = fs::read(&file)?;
    ensure!(data.len() > 2048, "the file has {} bytes", data.len());
    quota::on(DISK, kind, Some(&file)).context("quotas on again")?;
    let (bytes, inodes) = has(kind, USER)?;
    ensure!(
        bytes >= 50_000 && inodes == 1,
        "what was kept: {bytes} bytes, {inodes} inodes"
    );
    mounted.end()
}

/// A superblock that names another inode for the users' quota.
fn bad_inode(env: &Env) -> Result<()> {
    hidden(env)?;
    tool("debugfs", &["-w", "-R", "ssv usr_quota_inum 7", DISK])?;
    let result = try_mount(env.driver().name(), DISK, MNT, "");
    fails(
        super::env::errno(result),
        libc::EUCLEAN,
        "mount with another quota inode",
    )?;
    // Read-only it does not matter.
    env.mount("ro")?.end()?;
    unmount_all()
}
