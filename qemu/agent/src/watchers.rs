// SPDX-License-Identifier: GPL-2.0
//! What watches the kernel beside its log, asked at the end of a boot: is lockdep still at work, and what has been leaked?
//!
//! A kernel without them has nothing to ask. What is found is told to the host as a splat: it counts like one.

use crate::kmsg::Place;
use crate::Guest;
use anyhow::{Context, Result};
use notblk_protocol::Event;
use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

/// Lockdep's state.
const LOCKDEP: &str = "/proc/lockdep_stats";
/// The leak detector: takes orders, and answers with what it found.
const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";
/// It takes no object for leaked that is younger than five seconds.
const AGE: Duration = Duration::from_secs(6);
/// What the frames of our module end in.
const OURS: &str = "[notblk]";
/// How much of its answer is shown.
const LINES: usize = 80;

/// Asks them all, and tells the host.
pub fn ask(guest: &Guest) -> Result<()> {
    // After a splat the kernel may have switched them off, and objects may be left where it came from.
    if !guest.kmsg.splats_since(Place::default())?.is_empty() {
        return Ok(());
    }
    if let Some(line) = lockdep()? {
        guest.host.send(&Event::Splat { lines: vec![line] })?;
    }
    let lines = leaks(guest)?;
    if !lines.is_empty() {
        guest.host.send(&Event::Splat { lines })?;
    }
    Ok(())
}

/// Reads a file that not every kernel has.
fn read(path: &str) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {path}")),
    }
}

/// What is wrong with lockdep, if something is.
fn lockdep() -> Result<Option<String>> {
    Ok(read(LOCKDEP)?.and_then(|text| lockdep_complaint(&text)))
}

fn lockdep_complaint(stats: &str) -> Option<String> {
    let field = |line: &str| line.trim().strip_prefix("debug_locks:").map(str::trim) == Some("1");
    if stats.lines().any(field) {
        return None;
    }
    Some("lockdep has switched itself off in this boot, and has watched nothing since".to_owned())
}

/// What kmemleak says of our module's objects, if there is such a thing.
fn leaks(guest: &Guest) -> Result<Vec<String>> {
    if read(KMEMLEAK)?.is_none() {
        return Ok(Vec::new());
    }
    guest.host.step("looking for leaks", 300)?;
    std::thread::sleep(AGE);
    // Once for the checksums, and once more: what has changed in between is in use.
    for _ in 0..2 {
        if let Err(error) = fs::write(KMEMLEAK, "scan") {
            return Ok(vec![format!("kmemleak does not scan: {error}")]);
        }
    }
    let found = read(KMEMLEAK)?.unwrap_or_default();
    Ok(ours(&found))
}

/// The reports that have a frame of our module, or one that nobody can name: of a module that is gone, and only we are ever
/// removed. Others are the kernel's own affair.
fn ours(found: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut report: Vec<&str> = Vec::new();
    let mut flush = |report: &mut Vec<&str>| {
        if report
            .iter()
            .any(|line| line.contains(OURS) || is_nameless(line))
        {
            lines.extend(report.iter().map(|&line| line.to_owned()));
        }
        report.clear();
    };
    for line in found.lines() {
        if line.starts_with("unreferenced object") {
            flush(&mut report);
        }
        report.push(line);
    }
    flush(&mut report);
    lines.truncate(LINES);
    lines
}

/// A frame that is an address only.
fn is_nameless(line: &str) -> bool {
    let line = line.trim();
    // Older kernels put the address in brackets before the name.
    let line = line.rsplit_once("] ").map_or(line, |(_, name)| name);
    line.strip_prefix("0x")
        .is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|c| c.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lockdep_is_at_work_or_not() {
        let stats = " lock-classes:                         1500 [max: 8192]\n debug_locks:                             1\n";
        assert_eq!(lockdep_complaint(stats), None);
        assert!(lockdep_complaint(&stats.replace("  1\n", "  0\n")).is_some());
        assert!(lockdep_complaint("").is_some());
    }

    #[test]
    fn only_our_leaks_count() {
        let kernels = "unreferenced object 0xffff888003a4c000 (size 192):\n  comm \"notblk-agent\", pid 1, jiffies 4294937296\n  \
            hex dump (first 32 bytes):\n    00 00 00 00 00 00 00 00  ........\n  backtrace (crc 0):\n    kmem_cache_alloc_noprof+0x1/0x2\n    do_sys_open+0x1/0x2\n";
        assert!(ours(kernels).is_empty());
        let named = kernels.replace(
            "do_sys_open+0x1/0x2",
            "notblk_alloc_inode_sb+0x1/0x2 [notblk]",
        );
        let gone = kernels.replace("do_sys_open+0x1/0x2", "0xffffffffc0201234");
        let bracketed = kernels.replace(
            "do_sys_open+0x1/0x2",
            "[<00000000c0201234>] 0xffffffffc0201234",
        );
        for one in [named, gone, bracketed] {
            let both = format!("{kernels}{one}{kernels}");
            assert_eq!(ours(&both).len(), one.lines().count(), "{one}");
        }
    }
}
