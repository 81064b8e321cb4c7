// SPDX-License-Identifier: GPL-2.0
//! The pjdfstest crate: POSIX's rules for names, owners, permissions and times, some hundred cases.
//!
//! Each group runs on the kernel's C driver first and then on the driver under test, with one configuration. What passes
//! there must pass here.

use super::env::{Env, Skip};
use super::{test, Test};
use crate::fs::{Mounted, DISK2};
use crate::modules;
use anyhow::{bail, ensure, Context, Result};
use rustix::mount::{unmount, UnmountFlags};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// The groups, which are its files of tests. What has to do with other systems' flags and ACLs is not built on Linux.
const GROUPS: [&str; 15] = [
    "chmod",
    "chown",
    "ftruncate",
    "link",
    "mkdir",
    "mkfifo",
    "mknod",
    "open",
    "posix_fallocate",
    "rename",
    "rmdir",
    "symlink",
    "truncate",
    "unlink",
    "utimensat",
];

/// A single case may take so long. The longest makes as many links as an inode can have.
const LIMIT: Duration = Duration::from_secs(100);

/// All that Linux has; the second filesystem is for EXDEV, and must not be of ours.
const CONFIG: &str = r#"
[features]
secondary_fs = "/tmp"
posix_fallocate = {}
rename_ctime = {}
utime_now = {}
utimensat = {}

[settings]
naptime = 0.02
allow_remount = true

[dummy_auth]
entries = [["nobody", "nogroup"], ["tests", "tests"]]
"#;
const PASSWD: &str = "root:x:0:0:root:/:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/sh
tests:x:1000:1000:tests:/:/bin/sh
";
const GROUP: &str = "root:x:0:
nogroup:x:65534:
tests:x:1000:
";

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let each = GROUPS.iter().map(|&group| {
        let run = move |env: &Env| compare(env, group);
        test(&format!("pjdfstest/{group}"), run)
    });
    each.collect()
}

/// How a case ended, and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Case {
    ended: Ended,
    said: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Passed,
    Failed,
    Skipped,
}

fn compare(env: &Env, group: &str) -> Result<()> {
    if !Path::new("/usr/bin/pjdfstest").exists() {
        bail!(Skip("the guest has no pjdfstest".into()));
    }
    prepare()?;
    modules::load("ext4", &[])?;
    crate::fs::make(notblk_protocol::Driver::Notblk, DISK2, env.image)?;
    let there = run(env, group, "ext4", DISK2, "/mnt2")?;
    let here = run(env, group, env.driver().name(), crate::fs::DISK, "/mnt")?;

    let mut worse = Vec::new();
    let mut passed = 0;
    let mut both_fail = Vec::new();
    let mut skipped = 0;
    for (name, case) in &there {
        let other = here.get(name);
        match (case.ended, other.map(|other| other.ended)) {
            (Ended::Passed, Some(Ended::Passed)) => passed += 1,
            (Ended::Failed, Some(Ended::Failed)) => both_fail.push(name.as_str()),
            (Ended::Skipped, _) => skipped += 1,
            (Ended::Failed, _) => env.note(format!("{name} fails on ext4 only")),
            (Ended::Passed, ended) => {
                let said = other.map_or("it did not run", |other| other.said.as_str());
                worse.push(format!("{name}: {ended:?}: {said}"));
            }
        }
    }
    env.note(format!("{passed} pass on both, {skipped} do not apply"));
    if !both_fail.is_empty() {
        env.note(format!("fail on both: {}", both_fail.join(", ")));
    }
    ensure!(passed > 0, "nothing passes on ext4: {there:?}");
    ensure!(
        worse.is_empty(),
        "{} of {} that pass on ext4 do not here:\n{}",
        worse.len(),
        passed + worse.len(),
        worse.join("\n")
    );
    Ok(())
}

/// Users, groups, the configuration, and the programs that mount.
fn prepare() -> Result<()> {
    fs::write("/tmp/pjdfstest.toml", CONFIG)?;
    fs::write("/etc/passwd", PASSWD)?;
    fs::write("/etc/group", GROUP)?;
    for program in ["mount", "umount"] {
        match symlink("busybox", format!("/usr/bin/{program}")) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).context(program);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Runs a group on one driver.
fn run(
    env: &Env,
    group: &str,
    kind: &str,
    disk: &str,
    place: &str,
) -> Result<BTreeMap<String, Case>> {
    let mounted = Mounted::of_type(kind, disk, place, "")?;
    // The paths of the cases before they are shortened for print.
    let pattern = format!("::tests::{group}::");
    let arguments = ["-c", "/tmp/pjdfstest.toml", "-p", place, &pattern];
    let text = cases(env, &arguments)?;
    // A case about mount points that fails leaves its own behind.
    let mounts = fs::read_to_string("/proc/mounts")?;
    let below = mounts.lines().rev().filter_map(|line| {
        let mounted_on = line.split(' ').nth(1)?;
        mounted_on
            .strip_prefix(place)?
            .starts_with('/')
            .then_some(mounted_on)
    });
    for inner in below {
        unmount(inner, UnmountFlags::empty()).with_context(|| format!("umount {inner}"))?;
    }
    mounted.end()?;
    Ok(parse(&text))
}

/// Runs it, and tells the host of each line; returns its report, as far as it came within [`LIMIT`].
fn cases(env: &Env, arguments: &[&str]) -> Result<String> {
    let mut child = Command::new("pjdfstest")
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .context("run pjdfstest")?;
    let output = child.stdout.take().context("its output")?;
    let (sender, lines) = mpsc::channel();
    // It ends with the child, which holds the other end.
    thread::spawn(move || {
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        lines
            .take_while(|line| sender.send(line.clone()).is_ok())
            .for_each(drop);
    });
    let mut text = String::new();
    let mut count = 0;
    loop {
        match lines.recv_timeout(LIMIT) {
            Ok(line) => {
                count += 1;
                env.guest.host.progress(count, 0)?;
                text.push_str(&line);
                text.push('\n');
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                env.note(format!(
                    "pjdfstest was ended: nothing for {} s",
                    LIMIT.as_secs()
                ));
                child.kill()?;
            }
        }
    }
    // Its code is 1 where a case failed, which is for us to judge.
    child.wait()?;
    Ok(text)
}

/// Reads its report: a line for each case, and indented ones about it.
fn parse(text: &str) -> BTreeMap<String, Case> {
    let mut cases: BTreeMap<String, Case> = BTreeMap::new();
    let mut last: Option<String> = None;
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let ended = match words.as_slice() {
            [name, "ok"] if name.contains("::") => Ended::Passed,
            [name, "FAILED"] if name.contains("::") => Ended::Failed,
            [name, "skipped"] if name.contains("::") => Ended::Skipped,
            _ => {
                let about = last.as_ref().and_then(|name| cases.get_mut(name));
                if let Some(case) = about.filter(|case| case.said.len() < 300) {
                    case.said.push_str(line.trim());
                    case.said.push(' ');
                }
                continue;
            }
        };
        let name = words[0].to_owned();
        let said = String::new();
        cases.insert(name.clone(), Case { ended, said });
        last = Some(name);
    }
    cases
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let text = "chmod::one                ok\nchmod::two    FAILED\n\tassertion failed\n  left: 1\n\
                    chmod::three   skipped\n\trequires features: x\n\nSummary: 1 failed, 1 skipped\n";
        let cases = parse(text);
        assert_eq!(cases.len(), 3);
        assert_eq!(cases["chmod::one"].ended, Ended::Passed);
        assert_eq!(cases["chmod::two"].said, "assertion failed left: 1 ");
        assert_eq!(cases["chmod::three"].ended, Ended::Skipped);
    }
}
