// SPDX-License-Identifier: GPL-2.0
//! Inodes that were made when there were fewer fields, and grow.

use super::env::{fails, Env};
use super::project::{assign, make, project, ONE};
use super::quota::{open_to_all, user};
use super::{test, Test};
use crate::attributes::{get, set};
use crate::fs::{open_buffered, tool, Mounted, DISK};
use crate::quota::{self, Kind};
use anyhow::{ensure, Context, Result};
use rustix::fs::{statx, AtFlags, StatxFlags, CWD};
use std::fs::{self, FileTimes};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        test("expand/times", times),
        test("expand/attributes", attributes),
        test("expand/project", with_project),
        test("expand/no-room", no_room),
        test("expand/refused", refused),
        test("expand/superblock", superblock).damages(),
    ]
}

/// `i_extra_isize` with all fields, and just without the last one, the project's.
const ALL: u16 = 32;
const WITHOUT_PROJECT: u16 = 28;

fn debugfs(command: &str) -> Result<String> {
    tool("debugfs", &["-w", "-R", command, DISK])
}

/// Makes the inode of an unmounted filesystem one that has so many bytes of fields.
fn shrink(name: &str, extra: u16) -> Result<()> {
    debugfs(&format!("sif {name} extra_isize {extra}")).map(drop)
}

/// How many bytes of fields it has.
fn extra_isize(name: &str) -> Result<u16> {
    let text = debugfs(&format!("stat {name}"))?;
    text.lines()
        .find_map(|line| line.strip_prefix("Size of extra inode fields: "))
        .with_context(|| format!("{name} has no such fields: {text}"))?
        .trim()
        .parse()
        .context("a size")
}

fn birth(path: &Path) -> Result<Option<(i64, u32)>> {
    let found = statx(CWD, path, AtFlags::empty(), StatxFlags::BTIME)?;
    let known = found.stx_mask & StatxFlags::BTIME.bits() != 0;
    Ok(known.then_some((found.stx_btime.tv_sec, found.stx_btime.tv_nsec)))
}

/// However few fields an inode has, it can be given all that there are, and its times are exact from then on.
fn times(env: &Env) -> Result<()> {
    const SIZES: [u16; 6] = [0, 4, 12, 20, WITHOUT_PROJECT, ALL];
    let name = |extra: u16| format!("file-{extra}");
    let mounted = env.mount("")?;
    for extra in SIZES {
        fs::write(env.path(name(extra)), name(extra))?;
    }
    let born = birth(&env.path(name(ALL)))?.context("no time of birth")?;
    mounted.end()?;
    for extra in SIZES {
        shrink(&name(extra), extra)?;
    }
    let mounted = env.mount("")?;
    let mut births = Vec::new();
    let exact = SystemTime::UNIX_EPOCH + Duration::new(5_000_000_000, 123_456_789);
    for extra in SIZES {
        let path = env.path(name(extra));
        births.push(birth(&path)?);
        let file = open_buffered(&path)?;
        file.set_times(FileTimes::new().set_modified(exact).set_accessed(exact))?;
    }
    // 20 bytes hold the seconds, 24 all of it.
    ensure!(
        births[1..3] == [None; 2] && births[3].is_some_and(|(_, nanoseconds)| nanoseconds == 0),
        "{births:?} where there is no room for it"
    );
    ensure!(births[4].is_some() && births[5] == Some(born), "{births:?}");
    mounted.end()?;
    for extra in SIZES {
        let found = extra_isize(&name(extra))?;
        ensure!(found == ALL, "{}: {found} bytes of fields", name(extra));
    }
    let mounted = env.mount("")?;
    for extra in SIZES {
        let path = env.path(name(extra));
        let found = fs::metadata(&path)?;
        for time in [found.modified()?, found.accessed()?] {
            ensure!(time == exact, "{}: {time:?}", name(extra));
        }
        ensure!(fs::read_to_string(&path)? == name(extra), "other contents");
    }
    // ext4 takes what lies there for the time of birth where no fields are said to be in use.
    let zero = Some((0, 0));
    for (at, extra) in SIZES.into_iter().enumerate() {
        let expected = births[at].or(zero);
        let found = birth(&env.path(name(extra)))?;
        ensure!(found == expected, "{}: born {found:?}", name(extra));
    }
    mounted.end()
}

/// What debugfs writes behind 28 bytes of fields.
fn put(name: &str, attribute: &str, len: usize) -> Result<()> {
    debugfs(&format!("ea_set {name} {attribute} {}", "v".repeat(len))).map(drop)
}

/// Attributes where the fields will be move on, and stay what they are.
fn attributes(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    for name in ["one", "two", "new"] {
        fs::write(env.path(name), b"")?;
    }
    mounted.end()?;
    for name in ["one", "two", "new"] {
        shrink(name, WITHOUT_PROJECT)?;
    }
    put("one", "user.a", 24)?;
    put("two", "user.a", 8)?;
    put("two", "user.longer", 1)?;
    let mounted = env.mount("")?;
    let value = |len: usize| Some(vec![b'v'; len]);
    let (one, two, new) = (env.path("one"), env.path("two"), env.path("new"));
    let seen = || -> Result<()> {
        ensure!(get(&one, "user.a").ok() == value(24), "one: another value");
        ensure!(get(&two, "user.a").ok() == value(8), "two: another value");
        ensure!(get(&two, "user.longer").ok() == value(1), "two: another");
        Ok(())
    };
    seen()?;
    set(&new, "user.fresh", b"value")?;
    for path in [&one, &two, &new] {
        open_buffered(path)?.set_modified(SystemTime::UNIX_EPOCH + Duration::new(1, 2))?;
    }
    seen()?;
    mounted.end()?;
    for name in ["one", "two", "new"] {
        let found = extra_isize(name)?;
        ensure!(found == ALL, "{name}: {found} bytes of fields");
    }
    let mounted = env.mount("")?;
    seen()?;
    ensure!(get(&new, "user.fresh")? == b"value", "new: another value");
    set(&one, "user.a", b"other")?;
    ensure!(get(&one, "user.a")? == b"other", "one: not changed");
    mounted.end()
}

/// A project is asked of inodes that have no room for its number; attributes in the way move to the block.
fn with_project(env: &Env) -> Result<()> {
    make(env, "project,quota")?;
    let mounted = env.mount("prjquota")?;
    for name in ["plain", "full", "several"] {
        fs::write(env.path(name), b"")?;
    }
    mounted.end()?;
    for name in ["plain", "full", "several"] {
        shrink(name, WITHOUT_PROJECT)?;
    }
    // 96 bytes less the four at the end; a name of one letter takes 20.
    put("full", "user.a", 72)?;
    for (name, len) in [("user.a", 4), ("user.b", 20), ("user.c", 4)] {
        put("several", name, len)?;
    }
    let mounted = env.mount("prjquota")?;
    let value = |len: usize| vec![b'v'; len];
    let seen = || -> Result<()> {
        ensure!(get(env.path("full"), "user.a")? == value(72), "full");
        for (name, len) in [("user.a", 4), ("user.b", 20), ("user.c", 4)] {
            ensure!(get(env.path("several"), name)? == value(len), "{name}");
        }
        Ok(())
    };
    seen()?;
    for name in ["plain", "full", "several"] {
        assign(&env.path(name), ONE, 0).with_context(|| name.to_owned())?;
    }
    seen()?;
    mounted.end()?;
    for name in ["plain", "full", "several"] {
        let found = extra_isize(name)?;
        ensure!(found == ALL, "{name}: {found} bytes of fields");
    }
    let mounted = env.mount("prjquota")?;
    seen()?;
    for name in ["plain", "full", "several"] {
        ensure!(project(&env.path(name))? == ONE, "{name}: another project");
    }
    mounted.end()
}

/// Where attributes in the way have nowhere to go, no project is set, and nothing is lost.
fn no_room(env: &Env) -> Result<()> {
    make(env, "project,quota")?;
    let mounted = env.mount("prjquota")?;
    let path = env.path("file");
    fs::write(&path, b"")?;
    mounted.end()?;
    shrink("file", WITHOUT_PROJECT)?;
    put("file", "user.a", 72)?;
    let mounted = env.mount("prjquota")?;
    // The block: a header of 32 bytes, a name of 20, four at the end.
    let rest = vec![b'r'; env.block() as usize - 32 - 20 - 4 - 16];
    set(&path, "user.b", &rest)?;
    fails(assign(&path, ONE, 0), libc::ENOSPC, "a project")?;
    let seen = || -> Result<()> {
        ensure!(get(&path, "user.a")? == [b'v'; 72], "user.a has changed");
        ensure!(get(&path, "user.b")? == rest, "user.b has changed");
        ensure!(project(&path)? == 0, "it has a project");
        Ok(())
    };
    stays(env, mounted, seen)
}

/// It is seen now, and after another mount.
fn stays(env: &Env, mounted: Mounted, seen: impl Fn() -> Result<()>) -> Result<()> {
    seen()?;
    mounted.end()?;
    let mounted = env.mount("prjquota")?;
    seen()?;
    mounted.end()
}

/// A project that may have no more refuses the inode; what has moved for its sake is not lost.
fn refused(env: &Env) -> Result<()> {
    make(env, "project,quota")?;
    let mounted = env.mount("prjquota")?;
    let path = env.path("file");
    open_to_all(env)?;
    user(|| Ok(fs::write(&path, b"")?))?;
    mounted.end()?;
    shrink("file", WITHOUT_PROJECT)?;
    put("file", "user.a", 72)?;
    let mounted = env.mount("prjquota")?;
    let other = env.path("other");
    user(|| {
        fs::write(&other, b"")?;
        Ok(assign(&other, ONE, 0)?)
    })?;
    quota::limit(DISK, Kind::Project, ONE, 0, 1)?;
    fails(
        user(|| Ok(assign(&path, ONE, 0)))?,
        libc::EDQUOT,
        "a project that is full",
    )?;
    let seen = || -> Result<()> {
        ensure!(get(&path, "user.a")? == [b'v'; 72], "user.a has changed");
        ensure!(project(&path)? == 0, "it has a project");
        Ok(())
    };
    stays(env, mounted, seen)
}

/// What a superblock wants of inodes that cannot have it.
fn superblock(env: &Env) -> Result<()> {
    for field in ["want_extra_isize", "min_extra_isize"] {
        debugfs("feature extra_isize")?;
        debugfs(&format!("ssv {field} 132"))?;
        let result = crate::fs::try_mount(env.driver().name(), DISK, crate::fs::MNT, "");
        fails(super::env::errno(result), libc::EINVAL, field)?;
        debugfs(&format!("ssv {field} 32"))?;
    }
    // No less than there are fields.
    debugfs("ssv want_extra_isize 4")?;
    debugfs("ssv min_extra_isize 4")?;
    let mounted = env.mount("")?;
    fs::write(env.path("file"), b"")?;
    mounted.end()?;
    let found = extra_isize("file")?;
    ensure!(found == ALL, "{found} bytes of fields");
    Ok(())
}
