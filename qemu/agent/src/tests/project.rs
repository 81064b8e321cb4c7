// SPDX-License-Identifier: GPL-2.0
//! Projects: what belongs to one, who may be where, and how much it may have.

use super::env::{errno, fails, unmount_all, Env};
use super::quota::{expect, has, open_to_all, user};
use super::{test, Test};
use crate::fs::{
    open_buffered, shown_options, tool, tool_code, try_mount, try_remount, Mounted, DISK, MNT,
};
use crate::modules;
use crate::quota::{self, Kind};
use crate::sys::ioctl::{get_xattr, set_xattr};
use anyhow::{ensure, Context, Result};
use notblk_protocol::Driver;
use rustix::fs::{ioctl_getflags, ioctl_setflags, IFlags, OFlags, RenameFlags, CWD};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{symlink, FileExt, OpenOptionsExt};
use std::path::Path;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        test("project/inherited", inherited),
        test("project/set", set),
        test("project/names", names),
        test("project/limits", limits),
        test("project/statfs", statfs),
        test("project/options", options),
        test("project/visible", visible),
        test("project/without-quotas", without_quotas),
        test("project/hidden-file", hidden_file).damages(),
        test("project/bad-inode", bad_inode).damages(),
    ]
}

/// `FS_XFLAG_IMMUTABLE`, `FS_XFLAG_NODUMP`, `FS_XFLAG_PROJINHERIT`
const IMMUTABLE: u32 = 0x8;
const NODUMP: u32 = 0x80;
const INHERIT: u32 = 0x200;
/// Two projects.
pub(super) const ONE: u32 = 42;
const TWO: u32 = 0xfffe_0001;

/// Makes the filesystem anew, with these features.
pub(super) fn make(env: &Env, features: &str) -> Result<()> {
    modules::load("quota_v2", &[])?;
    let block = env.block().to_string();
    let size = format!("{}M", env.image.mib);
    let (kind, features) = match env.driver() {
        Driver::Notblk => ("ext2", features.to_owned()),
        Driver::Ext4 => (
            "ext4",
            format!("{features},^extent,^64bit,^metadata_csum,^flex_bg,^uninit_bg,^orphan_file"),
        ),
    };
    let arguments = [
        "-q", "-F", "-b", &block, "-t", kind, "-O", &features, DISK, &size,
    ];
    tool("mke2fs", &arguments).map(drop)
}

/// Makes and mounts it; everybody may make files.
fn prepared(env: &Env, options: &str) -> Result<Mounted> {
    make(env, "project,quota")?;
    let mounted = env.mount(options)?;
    open_to_all(env)?;
    Ok(mounted)
}

/// Opens whatever it is, for its attributes.
fn handle(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path)
}

/// Its project.
pub(super) fn project(path: &Path) -> Result<u32> {
    Ok(get_xattr(&handle(path)?)?.projid)
}

/// Gives it to a project, and sets or clears flags.
pub(super) fn assign(path: &Path, project: u32, flags: u32) -> io::Result<()> {
    let file = handle(path)?;
    let mut value = get_xattr(&file)?;
    value.projid = project;
    value.xflags = flags;
    set_xattr(&file, value)
}

/// A directory that gives its project to what is made in it.
fn directory(env: &Env, name: &str, project: u32) -> Result<std::path::PathBuf> {
    let path = env.path(name);
    user(|| {
        fs::create_dir(&path)?;
        Ok(assign(&path, project, INHERIT)?)
    })?;
    Ok(path)
}

/// What is made in a directory belongs to its project, with what it has; after a mount too.
fn inherited(env: &Env) -> Result<()> {
    let mounted = prepared(env, "prjquota")?;
    let dir = directory(env, "dir", ONE)?;
    let (file, sub, link) = (dir.join("file"), dir.join("sub"), dir.join("link"));
    let (deep, outside) = (sub.join("deep"), env.path("outside"));
    let unnamed = user(|| {
        fs::write(&file, vec![1; 3 << 20])?;
        fs::create_dir(&sub)?;
        fs::write(&deep, b"deep")?;
        symlink("x".repeat(200), &link)?;
        fs::write(&outside, b"outside")?;
        let flags = OFlags::TMPFILE.bits() as i32;
        Ok(OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags)
            .open(&dir)?)
    })?;
    ensure!(get_xattr(&unnamed)?.projid == ONE, "O_TMPFILE is elsewhere");
    ensure!(
        has(Kind::Project, ONE)?.1 == 6,
        "{:?} with six inodes",
        has(Kind::Project, ONE)?
    );
    drop(unnamed);
    let seen = || -> Result<()> {
        for path in [&dir, &file, &sub, &deep] {
            ensure!(project(path)? == ONE, "{}: another project", path.display());
        }
        ensure!(project(&outside)? == 0, "a file outside has a project");
        let flags = |path: &Path| -> Result<u32> { Ok(get_xattr(&handle(path)?)?.xflags) };
        ensure!(flags(&sub)? & INHERIT != 0, "a directory does not go on");
        ensure!(flags(&file)? & INHERIT == 0, "a file has the flag");
        let all: [&Path; 5] = [&dir, &file, &sub, &deep, &link];
        expect(Kind::Project, ONE, &all)
    };
    seen()?;
    mounted.end()?;
    let mounted = env.mount("prjquota")?;
    seen()?;
    user(|| {
        open_buffered(&file)?.set_len(100_000)?;
        fs::remove_file(&deep)?;
        Ok(fs::remove_file(&link)?)
    })?;
    expect(Kind::Project, ONE, &[&dir, &file, &sub])?;
    mounted.end()
}

/// What a file has goes with it to another project; nothing else does that.
fn set(env: &Env) -> Result<()> {
    let mounted = prepared(env, "prjquota")?;
    let file = env.path("file");
    user(|| Ok(fs::write(&file, vec![1; 600 << 10])?))?;
    let other = has(Kind::Project, 0)?;
    for to in [ONE, TWO, u32::MAX - 1, TWO] {
        let from = project(&file)?;
        let before = fs::metadata(&file)?.modified()?;
        user(|| Ok(assign(&file, to, 0)?))?;
        ensure!(project(&file)? == to, "another project than {to}");
        if from != 0 {
            expect(Kind::Project, from, &[])?;
        }
        expect(Kind::Project, to, &[&file])?;
        ensure!(fs::metadata(&file)?.modified()? == before, "data dated");
    }
    let left = has(Kind::Project, 0)?;
    ensure!(left.1 + 1 == other.1 && left.0 < other.0, "{left:?} left");
    fails(
        assign(&file, u32::MAX, 0),
        libc::EINVAL,
        "a project that is none",
    )?;
    // FS_IOC_SETFLAGS says nothing of projects.
    let open = handle(&file)?;
    ioctl_setflags(&open, IFlags::NODUMP)?;
    ensure!(project(&file)? == TWO, "chattr changes the project");
    assign(&file, ONE, NODUMP | IMMUTABLE)?;
    ensure!(
        ioctl_getflags(&open)?.contains(IFlags::IMMUTABLE),
        "not immutable"
    );
    fails(
        assign(&file, TWO, NODUMP | IMMUTABLE),
        libc::EPERM,
        "the project of an immutable file",
    )?;
    ensure!(project(&file)? == ONE, "changed all the same");
    assign(&file, TWO, 0)?;
    expect(Kind::Project, TWO, &[&file])?;
    // A file has no use for it.
    fails(
        assign(&file, TWO, INHERIT),
        libc::EOPNOTSUPP,
        "inheritance of a file",
    )?;
    // Not where that would have too much.
    quota::limit(DISK, Kind::Project, ONE, 256, 0)?;
    fails(
        user(|| Ok(assign(&file, ONE, 0)))?,
        libc::EDQUOT,
        "a project that may have less",
    )?;
    expect(Kind::Project, ONE, &[])?;
    expect(Kind::Project, TWO, &[&file])?;
    drop(open);
    mounted.end()?;
    let mounted = env.mount("")?;
    ensure!(project(&file)? == TWO, "another project after a mount");
    mounted.end()
}

/// No name of a directory leads to what is of another project.
fn names(env: &Env) -> Result<()> {
    let mounted = prepared(env, "")?;
    let one = directory(env, "one", ONE)?;
    let two = directory(env, "two", TWO)?;
    let plain = env.path("plain");
    fs::create_dir(&plain)?;
    for dir in [&one, &two, &plain] {
        fs::write(dir.join("file"), b"")?;
        fs::create_dir(dir.join("sub"))?;
    }
    let exchange = |from: &Path, to: &Path| {
        errno(rustix::fs::renameat_with(
            CWD,
            from,
            CWD,
            to,
            RenameFlags::EXCHANGE,
        ))
    };
    let away = libc::EXDEV;
    for name in ["file", "sub"] {
        let new = one.join("new");
        for from in [plain.join(name), two.join(name)] {
            let what = from.display().to_string();
            fails(fs::rename(&from, &new), away, &what)?;
            fails(fs::rename(&from, one.join(name)), away, &what)?;
            fails(exchange(&from, &one.join(name)), away, &what)?;
            fails(exchange(&one.join(name), &from), away, &what)?;
            if name == "file" {
                fails(fs::hard_link(&from, &new), away, &what)?;
            }
        }
        ensure!(!new.exists(), "it is there all the same");
        // Among themselves, and to where nothing is asked for; then it does not come back.
        fs::rename(one.join(name), one.join("sub2"))?;
        fs::rename(one.join("sub2"), one.join(name))?;
        let left = plain.join(format!("{name}-of-one"));
        fs::rename(one.join(name), &left)?;
        ensure!(project(&left)? == ONE, "given away by rename");
        fs::rename(&left, one.join(name))?;
    }
    fs::hard_link(one.join("file"), plain.join("link"))?;
    fs::hard_link(plain.join("link"), one.join("link"))?;
    // Without the flag a directory of a project asks for nothing.
    assign(&one, ONE, 0)?;
    fs::rename(two.join("file"), one.join("of-two"))?;
    ensure!(project(&one.join("of-two"))? == TWO, "taken by rename");
    mounted.end()
}

/// Limits hold, whoever writes; those who may exceed them aside.
fn limits(env: &Env) -> Result<()> {
    let mounted = prepared(env, "prjquota")?;
    let dir = directory(env, "dir", ONE)?;
    quota::limit(DISK, Kind::Project, ONE, 256, 5)?;
    let file = dir.join("file");
    let result = user(|| {
        let file = File::create(&file)?;
        let mut at = 0;
        let error = loop {
            match file.write_at(&[1; 4096], at) {
                Ok(written) => at += written as u64,
                Err(error) => break error,
            }
        };
        Ok(Err::<(), _>(error))
    })?;
    fails(result, libc::EDQUOT, "more blocks than a project may have")?;
    let (bytes, _) = has(Kind::Project, ONE)?;
    ensure!(
        bytes <= 256 << 10 && bytes > 240 << 10,
        "{bytes} bytes of 256 KiB"
    );
    user(|| {
        fs::remove_file(&file)?;
        for n in 0..4 {
            File::create(dir.join(format!("{n}")))?;
        }
        Ok(())
    })?;
    fails(
        user(|| Ok(File::create(dir.join("more"))))?,
        libc::EDQUOT,
        "more inodes",
    )?;
    // Elsewhere there is room.
    let outside = env.path("outside");
    user(|| Ok(fs::write(&outside, vec![1; 600 << 10])?))?;
    // Root may have more.
    fs::write(dir.join("more"), vec![1; 600 << 10])?;
    quota::off(DISK, Kind::Project).context("limits off")?;
    user(|| Ok(fs::write(dir.join("no-limit"), b"")?))?;
    quota::on(DISK, Kind::Project, None).context("limits on")?;
    fails(
        user(|| Ok(File::create(dir.join("again"))))?,
        libc::EDQUOT,
        "more inodes again",
    )?;
    mounted.end()
}

/// A directory with limits is as large as they say; nothing else is.
fn statfs(env: &Env) -> Result<()> {
    let mounted = prepared(env, "prjquota")?;
    let dir = directory(env, "dir", ONE)?;
    let see = |path: &Path| -> Result<[u64; 5]> {
        let found = rustix::fs::statvfs(path)?;
        Ok([
            found.f_blocks,
            found.f_bfree,
            found.f_bavail,
            found.f_files,
            found.f_ffree,
        ])
    };
    fs::write(dir.join("file"), vec![1; 100 << 10])?;
    rustix::fs::sync();
    let all = see(Path::new(MNT))?;
    ensure!(see(&dir)? == all, "other numbers without a limit");
    quota::limit(DISK, Kind::Project, ONE, 1024, 10)?;
    let (bytes, inodes) = has(Kind::Project, ONE)?;
    let blocks = (1 << 20) / env.block();
    let free = blocks - bytes / env.block();
    let expected = [blocks, free, free, 10, 10 - inodes];
    ensure!(see(&dir)? == expected, "{:?}, not {expected:?}", see(&dir)?);
    ensure!(
        see(&dir.join("file"))? == all,
        "a file in it has the limits"
    );
    ensure!(see(Path::new(MNT))? == all, "the root has the limits");
    // Less than there is.
    quota::limit(DISK, Kind::Project, ONE, 40, 1)?;
    let expected = [40 * 1024 / env.block(), 0, 0, 1, 0];
    ensure!(see(&dir)? == expected, "{:?}, not {expected:?}", see(&dir)?);
    mounted.end()?;
    let mounted = env.mount("")?;
    let now = see(&dir)?;
    ensure!(
        now[0] == all[0] && now[3] == all[3],
        "limits that are not kept: {now:?}"
    );
    mounted.end()
}

/// Limits of projects need the feature.
fn options(env: &Env) -> Result<()> {
    make(env, "quota,^project")?;
    let bad = |result| fails(errno(result), libc::EINVAL, "prjquota without the feature");
    bad(try_mount(env.driver().name(), DISK, MNT, "prjquota"))?;
    let mounted = env.mount("usrquota")?;
    bad(try_remount(MNT, "prjquota"))?;
    fails(
        assign(Path::new(MNT), ONE, 0),
        libc::EOPNOTSUPP,
        "a project without the feature",
    )?;
    mounted.end()?;
    let mounted = prepared(env, "prjquota")?;
    ensure!(
        shown_options(MNT)?.contains(&"prjquota".to_owned()),
        "prjquota is not shown: {:?}",
        shown_options(MNT)?
    );
    try_remount(MNT, "ro")?;
    try_remount(MNT, "rw")?;
    let dir = directory(env, "dir", ONE)?;
    expect(Kind::Project, ONE, &[&dir])?;
    fails(
        errno(try_remount(MNT, "noquota")),
        libc::EINVAL,
        "noquota while quotas are on",
    )?;
    mounted.end()
}

/// With a visible quota file.
fn visible(env: &Env) -> Result<()> {
    make(env, "project,^quota")?;
    let mounted = env.mount("prjquota")?;
    open_to_all(env)?;
    let path = env.path("aquota.project");
    fs::write(&path, quota::empty_file(Kind::Project))?;
    quota::on(DISK, Kind::Project, Some(&path)).context("on")?;
    fails(
        assign(&path, ONE, IMMUTABLE | 0x40),
        libc::EPERM,
        "the project of a quota file",
    )?;
    let dir = directory(env, "dir", ONE)?;
    let file = dir.join("file");
    user(|| Ok(fs::write(&file, vec![1; 300 << 10])?))?;
    expect(Kind::Project, ONE, &[&dir, &file])?;
    quota::limit(DISK, Kind::Project, ONE, 400, 0)?;
    let result = user(|| Ok(open_buffered(&file)?.write_at(&[1; 200 << 10], 300 << 10)));
    let written = result?.context("up to the limit")?;
    ensure!(written < 100 << 10, "{written} bytes more");
    expect(Kind::Project, ONE, &[&dir, &file])?;
    quota::off(DISK, Kind::Project)?;
    mounted.end()
}

/// Projects are there without anybody counting.
fn without_quotas(env: &Env) -> Result<()> {
    make(env, "project,^quota")?;
    let mounted = env.mount("")?;
    open_to_all(env)?;
    let dir = directory(env, "dir", TWO)?;
    fs::write(dir.join("file"), b"")?;
    fails(
        fs::rename(dir.join("file"), env.path("file")).and_then(|()| {
            assign(&env.path("file"), 0, 0)?;
            fs::rename(env.path("file"), dir.join("file"))
        }),
        libc::EXDEV,
        "out, away, and back",
    )?;
    mounted.end()?;
    let mounted = env.mount("ro")?;
    ensure!(project(&dir)? == TWO, "another project after a mount");
    mounted.end()
}

/// The number of the projects' quota file.
fn hidden_ino() -> Result<u64> {
    let text = tool("debugfs", &["-R", "show_super_stats -h", DISK])?;
    text.lines()
        .find_map(|line| line.strip_prefix("Project quota inode:"))
        .context("no project quota inode")?
        .trim()
        .parse()
        .context("its number")
}

/// The hidden file is nobody's: a name that leads to it is damage.
fn hidden_file(env: &Env) -> Result<()> {
    make(env, "project,quota")?;
    let ino = hidden_ino()?;
    ensure!(ino >= 11, "inode {ino} is no ordinary one");
    let command = format!("ln <{ino}> /name");
    tool("debugfs", &["-w", "-R", &command, DISK])?;
    let mounted = env.mount("")?;
    fails(
        env.path("name").symlink_metadata(),
        libc::EUCLEAN,
        "a name of a quota file",
    )?;
    fails(
        fs::remove_file(env.path("name")),
        libc::EUCLEAN,
        "removing it",
    )?;
    mounted.end()?;
    let (code, text) = tool_code("e2fsck", &["-fy", DISK])?;
    ensure!(code <= 1, "e2fsck -fy ended with {code}: {text}");
    Ok(())
}

/// A reserved inode is no quota file of projects.
fn bad_inode(env: &Env) -> Result<()> {
    make(env, "project,quota")?;
    tool("debugfs", &["-w", "-R", "ssv prj_quota_inum 5", DISK])?;
    let result = try_mount(env.driver().name(), DISK, MNT, "");
    fails(errno(result), libc::EUCLEAN, "mount with a bad inode")?;
    env.mount("ro")?.end()?;
    unmount_all()
}
