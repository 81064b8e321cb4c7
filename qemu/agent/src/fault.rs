// SPDX-License-Identifier: GPL-2.0
//! Failures on demand: the nth allocation, or the nth request to a disk, of one call of this thread.
//!
//! The kernel counts down in `/proc/thread-self/fail-nth` and lets what comes to zero fail, in this task only
//! (`Documentation/fault-injection/`). What is counted is chosen in debugfs. Both kinds share the countdown, so that
//! one of them is kept from counting.

use crate::sys;
use anyhow::{ensure, Context, Result};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The countdown.
const NTH: &str = "/proc/thread-self/fail-nth";
/// Where the kinds of faults have their settings.
const DEBUGFS: &str = "/sys/kernel/debug";
/// Which lines of the log reach the console while things fail: those of errors, for each failure has a backtrace.
const ERRORS: i32 = 4;
/// Which do otherwise.
const NEWS: i32 = 7;

/// What fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Allocations, of slab objects and of pages; those of which the kernel says that they may not fail aside.
    Allocations,
    /// Requests to a block device of this name.
    Requests(&'static str),
}

impl Kind {
    /// What is answered by whom it hits.
    pub fn errno(self) -> i32 {
        match self {
            Kind::Allocations => libc::ENOMEM,
            Kind::Requests(_) => libc::EIO,
        }
    }
}

/// Lets things fail, until dropped.
pub struct Faults {
    kind: Kind,
    nth: File,
}

impl Faults {
    /// Gets ready; `None` where the kernel has no fault injection, or not for these.
    pub fn new(kind: Kind) -> Result<Option<Faults>> {
        let has = |name: &str| Path::new(DEBUGFS).join(name).exists();
        let for_kind = match kind {
            Kind::Allocations => has("failslab") && has("fail_page_alloc"),
            Kind::Requests(_) => has("fail_make_request"),
        };
        if !for_kind || !Path::new(NTH).exists() {
            return Ok(None);
        }
        let nth = OpenOptions::new().read(true).write(true).open(NTH)?;
        let faults = Faults { kind, nth };
        let of_allocations = kind == Kind::Allocations;
        if has("failslab") {
            // Those that may wait for memory are nearly all. With the filter those of marked caches alone count: of none.
            set("failslab/ignore-gfp-wait", "N")?;
            set("failslab/cache-filter", yes(!of_allocations))?;
            say_all("failslab")?;
        }
        if has("fail_page_alloc") {
            set("fail_page_alloc/ignore-gfp-wait", "N")?;
            // Pages of files.
            set("fail_page_alloc/ignore-gfp-highmem", "N")?;
            // No allocation is as large as that.
            set(
                "fail_page_alloc/min-order",
                if of_allocations { "0" } else { "64" },
            )?;
            say_all("fail_page_alloc")?;
        }
        if let Kind::Requests(disk) = kind {
            say_all("fail_make_request")?;
            make_it_fail(disk, true)?;
        }
        sys::console_level(ERRORS)?;
        Ok(Some(faults))
    }

    /// What fails.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// From now on only what is done on behalf of this function of the kernel counts.
    pub fn only_within(&self, function: &str) -> Result<()> {
        let (start, end) = range_of(function)?;
        set_range(&format!("{start:#x}"), &format!("{end:#x}"))
    }

    /// Makes the call, the `n`th failing. Answers what the call did, and whether anything failed: there may be fewer.
    ///
    /// Memory of this process that the call touches should have been touched before: its first touch allocates too.
    pub fn during<T>(&self, n: u32, call: impl FnOnce() -> T) -> Result<(T, bool)> {
        // Between the two writes nothing of ours but the call. It may allocate memory of the process, which the
        // kernel tries again.
        let text = n.to_string();
        let mut left = [0; 16];
        self.nth.write_all_at(text.as_bytes(), 0)?;
        let result = call();
        let length = self.nth.read_at(&mut left, 0);
        self.nth.write_all_at(b"0", 0)?;
        let left = std::str::from_utf8(&left[..length?])?.trim();
        let left: u32 = left.parse().with_context(|| format!("{NTH}: {left:?}"))?;
        ensure!(left <= n, "{NTH} says {left} after {n}");
        Ok((result, left == 0))
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        // Without the countdown nothing fails, whatever else is set; the test's verdict does not hang on these.
        let _ = self.nth.write_all_at(b"0", 0);
        let _ = set_range("0", "0xffffffffffffffff");
        if let Kind::Requests(disk) = self.kind {
            let _ = make_it_fail(disk, false);
        }
        let _ = sys::console_level(NEWS);
    }
}

fn yes(yes: bool) -> &'static str {
    if yes {
        "Y"
    } else {
        "N"
    }
}

/// Has each failure logged with its backtrace, and none left out for being one of many.
fn say_all(kind: &str) -> Result<()> {
    set(&format!("{kind}/verbose"), "2")?;
    set(&format!("{kind}/verbose_ratelimit_interval_ms"), "0")
}

fn set(name: &str, value: &str) -> Result<()> {
    let path = Path::new(DEBUGFS).join(name);
    fs::write(&path, value).with_context(|| format!("write {value} to {}", path.display()))
}

/// The addresses of which one must be in the backtrace of what fails.
fn set_range(start: &str, end: &str) -> Result<()> {
    for kind in ["failslab", "fail_page_alloc"] {
        set(&format!("{kind}/require-start"), start)?;
        set(&format!("{kind}/require-end"), end)?;
    }
    Ok(())
}

fn make_it_fail(disk: &str, on: bool) -> Result<()> {
    let path = format!("/sys/block/{disk}/make-it-fail");
    fs::write(&path, if on { "1" } else { "0" }).with_context(|| format!("write to {path}"))
}

/// Where a function of the kernel lies: its first address and the next function's.
fn range_of(function: &str) -> Result<(u64, u64)> {
    let symbols = fs::read_to_string("/proc/kallsyms").context("read /proc/kallsyms")?;
    find(&symbols, function).with_context(|| format!("/proc/kallsyms has no {function}"))
}

fn find(symbols: &str, function: &str) -> Option<(u64, u64)> {
    let address = |line: &str| u64::from_str_radix(line.split(' ').next()?, 16).ok();
    let is_it = |line: &&str| line.split_whitespace().nth(2) == Some(function);
    let start = address(symbols.lines().find(is_it)?).filter(|&start| start != 0)?;
    let behind = symbols.lines().filter_map(address).filter(|&at| at > start);
    Some((start, behind.min()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_ends_where_the_next_begins() {
        let symbols = "0000000000000010 T before\n0000000000000040 t behind\n\
            0000000000000020 T it\n0000000000000020 T its_alias\n0000000000000030 d x\t[module]\n";
        assert_eq!(find(symbols, "it"), Some((0x20, 0x30)));
        assert_eq!(find(symbols, "other"), None);
        // What those see who may not know.
        assert_eq!(find("0000000000000000 T it\n", "it"), None);
    }
}
