// SPDX-License-Identifier: GPL-2.0
//! The module itself: in and out, its `alias=` parameter, its own tests.

use super::env::{errno, fails, Env, Skip};
use super::owners::{mapped_tree, namespace};
use super::{test, Test};
use crate::fs::{self, tool, try_mount, Mounted, DISK, MNT};
use crate::modules;
use anyhow::{bail, ensure, Context, Result};
use notblk_protocol::Driver;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        test("module/50-times", fifty_times).mib(16),
        test("module/busy", busy).mib(16),
        test("module/alias", alias).mib(16),
        test("module/alias-flags", alias_flags).mib(16),
        test("module/alias-taken", alias_taken).mib(16),
        test("module/kunit", kunit).mib(16),
    ]
}

/// In, mount, write, unmount, out: fifty times.
fn fifty_times(env: &Env) -> Result<()> {
    let name = env.driver().name();
    for round in 0..50 {
        modules::load(name, &[]).with_context(|| format!("round {round}"))?;
        let mounted = env.mount("").with_context(|| format!("round {round}"))?;
        std::fs::write(env.path(format!("file-{round}")), format!("{round}"))?;
        mounted.end()?;
        modules::remove(name).with_context(|| format!("round {round}"))?;
        ensure!(!modules::is_loaded(name), "still loaded in round {round}");
        if round % 10 == 0 {
            env.guest.host.progress(round, 50)?;
        }
    }
    modules::load(name, &[])?;
    let mounted = env.mount("ro")?;
    for round in 0..50 {
        let text = std::fs::read_to_string(env.path(format!("file-{round}")))?;
        ensure!(text == round.to_string(), "round {round} left {text:?}");
    }
    mounted.end()
}

/// A module that is in use stays.
fn busy(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    ensure!(
        modules::remove(env.driver().name()).is_err(),
        "removed while mounted"
    );
    std::fs::write(env.path("file"), b"works")?;
    mounted.end()
}

/// The filesystem types that the kernel knows.
fn known(name: &str) -> Result<bool> {
    let types = std::fs::read_to_string("/proc/filesystems")?;
    Ok(types
        .lines()
        .any(|line| line.trim_start_matches("nodev").trim() == name))
}

/// Leaves notblk and ext4 out, whatever the tests before have loaded.
fn unload_all() -> Result<()> {
    for name in ["notblk", "ext4"] {
        if modules::is_loaded(name) {
            modules::remove(name)?;
        }
    }
    Ok(())
}

fn alias(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    unload_all()?;
    for name in ["ext2", "ext3", "ext4"] {
        modules::load("notblk", &[&format!("alias={name}")])?;
        ensure!(known(name)? && known("notblk")?, "{name} is not registered");
        let mounted = Mounted::of_type(name, DISK, MNT, "")?;
        std::fs::write(env.path(name), name)?;
        mounted.end()?;
        modules::remove("notblk")?;
        ensure!(!known(name)? && !known("notblk")?, "a name is left behind");
    }
    modules::load("notblk", &["alias=ext4,ext2"])?;
    ensure!(
        known("ext2")? && !known("ext3")? && known("ext4")?,
        "other names than asked for"
    );
    let mounted = Mounted::of_type("ext2", DISK, MNT, "")?;
    mounted.end()?;
    modules::remove("notblk")?;
    ensure!(!known("ext2")? && !known("ext4")?, "a name is left behind");
    // What ext4 has and ext2 has not: as the C driver, which takes such an image under its own name only.
    tool("debugfs", &["-w", "-R", "feature extra_isize", DISK])?;
    tool("debugfs", &["-w", "-R", "ssv want_extra_isize 32", DISK])?;
    for (name, works) in [("ext2", false), ("ext3", false), ("ext4", true)] {
        modules::load("notblk", &[&format!("alias={name}")])?;
        if !works {
            fails(errno(try_mount(name, DISK, MNT, "")), libc::EINVAL, name)?;
            let mounted = Mounted::of_type(name, DISK, MNT, "ro")?;
            mounted.end()?;
        }
        for works in ["notblk", name].into_iter().take(1 + usize::from(works)) {
            let mounted = Mounted::of_type(works, DISK, MNT, "")?;
            mounted.end()?;
        }
        modules::remove("notblk")?;
    }
    for wrong in ["alias=xfs", "alias=ext2,xfs", "alias=ext2,", "alias="] {
        fails(
            errno(modules::try_insert("notblk", &[wrong])),
            libc::EINVAL,
            wrong,
        )?;
        ensure!(!known("ext2")?, "{wrong} left a name behind");
    }
    ensure!(!known("notblk")?, "a refused module left its name behind");
    modules::load("notblk", &[])
}

/// Whether a change of a file that follows a look at its times has a later time, always.
fn is_multigrain() -> Result<bool> {
    let path = Path::new(MNT).join("multigrain");
    std::fs::write(&path, b"")?;
    let mut last = (0, 0);
    for round in 0..200 {
        std::fs::set_permissions(&path, Permissions::from_mode(0o600 + round % 8))?;
        let meta = std::fs::metadata(&path)?;
        let ctime = (meta.ctime(), meta.ctime_nsec());
        if ctime == last {
            return Ok(false);
        }
        last = ctime;
    }
    Ok(true)
}

/// The older names' types have neither `FS_ALLOW_IDMAP` nor `FS_MGTIME`.
fn alias_flags(env: &Env) -> Result<()> {
    unload_all()?;
    match env.driver() {
        Driver::Notblk => modules::load("notblk", &["alias=ext2,ext3,ext4"])?,
        Driver::Ext4 => {
            modules::load("ext4", &[])?;
            // Its own image has what an ext2 has not.
            fs::make(Driver::Notblk, DISK, env.image)?;
        }
    }
    let namespace = namespace()?;
    let newer = |name: &str| -> Result<()> {
        let mounted = Mounted::of_type(name, DISK, MNT, "")?;
        drop(mapped_tree(&namespace).with_context(|| format!("{name}: an idmapped mount"))?);
        ensure!(is_multigrain()?, "{name}: two changes at the same time");
        mounted.end()
    };
    let older = |name: &str| -> Result<()> {
        let mounted = Mounted::of_type(name, DISK, MNT, "")?;
        fails(mapped_tree(&namespace), libc::EINVAL, name)?;
        ensure!(!is_multigrain()?, "{name}: as many times as changes");
        mounted.end()
    };
    older("ext2")?;
    newer("ext4")?;
    if env.driver() == Driver::Notblk {
        // The C driver mounts no image without a journal as an ext3.
        older("ext3")?;
        newer("notblk")?;
        // The tests after this one mount by our own name; the other driver may want the rest.
        modules::remove("notblk")?;
        modules::load("notblk", &[])?;
    }
    Ok(())
}

/// The kernel's driver keeps its names.
fn alias_taken(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    unload_all()?;
    modules::load("ext4", &[])?;
    fails(
        errno(modules::try_insert("notblk", &["alias=ext2"])),
        libc::EBUSY,
        "alias=ext2 while ext4.ko has the name",
    )?;
    env.logged(&["ext2"])?;
    ensure!(!known("notblk")?, "a refused module left its name behind");
    modules::remove("ext4")?;
    modules::load("notblk", &[])?;
    fs::check(DISK).map(drop)
}

/// Where KUnit has a directory for each suite.
const KUNIT: &str = "/sys/kernel/debug/kunit";

/// The module's own `#[kunit_tests]`, which the kernel has run when the module is loaded.
fn kunit(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    if !Path::new(KUNIT).exists() {
        bail!(Skip("kernel has no KUnit".into()));
    }
    unload_all()?;
    modules::load("notblk", &[])?;
    let mut suites = 0;
    for suite in std::fs::read_dir(KUNIT)? {
        let suite = suite?;
        let name = suite.file_name().to_string_lossy().into_owned();
        if !name.starts_with("notblk_") {
            continue;
        }
        let text = std::fs::read_to_string(suite.path().join("results"))
            .with_context(|| format!("the results of {name}"))?;
        let (passed, skipped) =
            ktap(&text).with_context(|| format!("{name} says\n{}", text.trim_end()))?;
        env.note(format!("{name}: {passed} passed, {skipped} skipped"));
        suites += 1;
    }
    ensure!(suites > 0, "the module has no suite there");
    Ok(())
}

/// How many tests of a suite have passed, and how many were skipped; an error if any has not, or all were.
fn ktap(text: &str) -> Result<(usize, usize)> {
    let (mut passed, mut skipped) = (0, 0);
    for line in text.lines() {
        ensure!(!line.trim().starts_with("not ok"), "{}", line.trim());
        // The suite's own line is not indented.
        if line.starts_with(' ') && line.trim().starts_with("ok ") {
            match line.contains("# SKIP") {
                true => skipped += 1,
                false => passed += 1,
            }
        }
    }
    ensure!(passed > 0, "no test has passed");
    Ok((passed, skipped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_test_that_is_not_ok_fails_the_suite() {
        let good = "KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: notblk_x\n    1..2\n    ok 1 one\n    \
            ok 2 two # SKIP why\n# notblk_x: pass:1 fail:0 skip:1 total:2\nok 1 notblk_x\n";
        assert_eq!(ktap(good).unwrap(), (1, 1));
        assert!(ktap(&good.replace("    ok 1 one", "    not ok 1 one")).is_err());
        assert!(ktap("KTAP version 1\n1..1\nok 1 notblk_x\n").is_err());
    }
}
