// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask doctor`: what this host has, what it lacks, and what to do about it. It makes nothing.

use std::fmt;
use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::cli::DoctorArgs;
use crate::context::Ctx;
use crate::errors::Code;
use crate::kernel::{self, Want};
use crate::kernels::{self, Kernels, LockFile};
use crate::process;
use crate::setup::host_programs;
use crate::toolbox::{self, which};
use crate::vm::Accel;

/// Free space with which everything for one kernel can be made.
const SPACE: u64 = 4_000_000_000;
/// Memory with which a guest and a compiler fit side by side.
const MEMORY: u64 = 3_000_000_000;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Ok,
    /// It works, but something is not at its best.
    Warn,
    /// Nothing works without this.
    Missing,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Missing => "MISSING",
        })
    }
}

/// One line of the table.
struct Check {
    name: String,
    state: State,
    found: String,
    /// What to do, unless all is well.
    todo: Option<String>,
}

impl Check {
    fn ok(name: &str, found: impl Into<String>) -> Self {
        Check {
            name: name.into(),
            state: State::Ok,
            found: found.into(),
            todo: None,
        }
    }

    fn bad(name: &str, state: State, found: impl Into<String>, todo: impl Into<String>) -> Self {
        Check {
            name: name.into(),
            state,
            found: found.into(),
            todo: Some(todo.into()),
        }
    }
}

/// `cargo xtask doctor`.
pub fn run(ctx: &Ctx, args: DoctorArgs) -> Result<Code> {
    let mut checks = vec![system(), version(ctx, "cargo", &["--version"])];
    let programs = host_programs().into_iter();
    checks.extend(programs.map(|(name, packages)| program(name, packages)));
    checks.push(namespaces());
    checks.push(amount(
        "disk",
        ctx.cache.free_space()?,
        SPACE,
        "free in the cache's file system",
    ));
    checks.push(amount("memory", memory(), MEMORY, "available"));
    checks.push(made("toolbox", toolbox::present(ctx)));
    checks.extend(known_kernels(ctx)?);
    checks.push(kvm(ctx));
    if args.online {
        checks.push(online(ctx));
    }
    println!("cache: {}", ctx.cache.root.display());
    for check in &checks {
        println!("{:8} {:12} {}", check.state, check.name, check.found);
        if let Some(todo) = &check.todo {
            println!("{:8} {:12}   {todo}", "", "");
        }
    }
    let good = checks.iter().all(|check| check.state != State::Missing);
    Ok(if good { Code::PASSED } else { Code::HOST })
}

fn system() -> Check {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or("an unknown system", |name| name.trim_matches('"'));
    let found = format!("{name}, {}", std::env::consts::ARCH);
    match std::env::consts::ARCH {
        "x86_64" => Check::ok("system", found),
        _ => Check::bad(
            "system",
            State::Missing,
            found,
            "only x86_64 hosts can run this",
        ),
    }
}

fn version(ctx: &Ctx, name: &str, args: &[&str]) -> Check {
    let output = process::host_cmd(&ctx.sh, name)
        .envs(process::cargo_env())
        .args(args)
        .ignore_stderr()
        .read();
    match output {
        Ok(text) => Check::ok(name, text.lines().next().unwrap_or_default()),
        Err(_) => Check::bad(
            name,
            State::Missing,
            "does not run",
            format!("install {name}"),
        ),
    }
}

fn program(name: &str, packages: &str) -> Check {
    match which(name) {
        Some(path) => Check::ok(name, path.display().to_string()),
        None => {
            let root = rustix::process::geteuid().is_root() && which("apt-get").is_some();
            let state = if root { State::Warn } else { State::Missing };
            let todo = match root {
                true => "`cargo xtask setup` installs it".to_owned(),
                false => format!("sudo apt-get install -y --no-install-recommends {packages}"),
            };
            Check::bad(name, state, "not installed", todo)
        }
    }
}

/// Whether the toolbox can be entered.
fn namespaces() -> Check {
    let name = "entering";
    if let Some(bwrap) = which("bwrap") {
        let trial = Command::new(bwrap)
            .args([
                "--unshare-pid",
                "--ro-bind",
                "/",
                "/",
                "--proc",
                "/proc",
                "--dev",
                "/dev",
                "true",
            ])
            .output();
        if trial.is_ok_and(|output| output.status.success()) {
            return Check::ok(name, "bubblewrap works");
        }
    }
    match rustix::process::geteuid().is_root() {
        true => Check::bad(
            name,
            State::Warn,
            "bubblewrap does not work",
            "chroot is used instead",
        ),
        false => Check::bad(
            name,
            State::Missing,
            "this user may not make namespaces",
            "sudo sysctl kernel.unprivileged_userns_clone=1 (or, on Ubuntu, \
             kernel.apparmor_restrict_unprivileged_userns=0), or run as root",
        ),
    }
}

fn amount(name: &str, have: u64, want: u64, what: &str) -> Check {
    let gb = |n: u64| n as f64 / 1e9;
    let found = format!("{:.1} GB {what}", gb(have));
    match have >= want {
        true => Check::ok(name, found),
        false => Check::bad(
            name,
            State::Warn,
            found,
            format!("{:.1} GB would do", gb(want)),
        ),
    }
}

/// The memory that could be used now, in bytes.
fn memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    available(&text).unwrap_or(0)
}

/// `MemAvailable`, in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

fn made(name: &str, present: bool) -> Check {
    match present {
        true => Check::ok(name, "in the cache"),
        false => Check::bad(
            name,
            State::Warn,
            "not made yet",
            "`cargo xtask setup` makes it",
        ),
    }
}

fn known_kernels(ctx: &Ctx) -> Result<Vec<Check>> {
    let kernels = Kernels::read(&ctx.repo)?;
    let lock = LockFile::read(&kernels::committed(&ctx.repo))?;
    let check = |name: &String| {
        let title = format!("kernel {name}");
        let Some(locked) = lock.kernel.get(name) else {
            return Check::bad(
                &title,
                State::Warn,
                "not in qemu/kernels.lock",
                "`cargo xtask update`",
            );
        };
        let have = match [Want::Tree, Want::BootOnly].map(|want| kernel::present(ctx, locked, want))
        {
            [true, _] => "in the cache, with its build tree",
            [false, true] => "in the cache, to boot",
            [false, false] => "fetched when it is asked for",
        };
        Check::ok(&title, format!("{}, {have}", locked.release))
    };
    Ok(kernels.kernel.keys().map(check).collect())
}

/// KVM is judged by booting a kernel, which takes a toolbox and a kernel.
fn kvm(ctx: &Ctx) -> Check {
    let slow = "guests run on QEMU's translator (TCG), some ten times slower";
    if !std::path::Path::new("/dev/kvm").exists() {
        return Check::bad("kvm", State::Warn, "there is no /dev/kvm", slow);
    }
    let ready = || -> Result<Option<Accel>> {
        let kernels = Kernels::read(&ctx.repo)?;
        let lock = LockFile::read(&kernels::committed(&ctx.repo))?;
        let locked = lock.kernel.get(&kernels.default);
        let bootable = locked.is_some_and(|locked| kernel::present(ctx, locked, Want::BootOnly));
        if !bootable || !toolbox::present(ctx) {
            return Ok(None);
        }
        let kernel = ctx.kernel(None, Want::BootOnly)?;
        Accel::find(ctx, &ctx.toolbox()?, &kernel).map(Some)
    };
    match ready() {
        Ok(Some(Accel::Kvm)) => Check::ok("kvm", "boots a kernel"),
        Ok(Some(Accel::Tcg)) => Check::bad(
            "kvm",
            State::Warn,
            "/dev/kvm is there but boots no kernel",
            slow,
        ),
        Ok(None) => Check::bad("kvm", State::Warn, "not tried", "`cargo xtask setup` first"),
        Err(error) => Check::bad("kvm", State::Warn, format!("{error:#}"), slow),
    }
}

/// Tries to reach the archive, by the toolbox's apt.
fn online(ctx: &Ctx) -> Check {
    if !toolbox::present(ctx) {
        return Check::bad(
            "network",
            State::Warn,
            "not tried",
            "`cargo xtask setup` first",
        );
    }
    let reach = || -> Result<()> {
        let toolbox = ctx.toolbox()?;
        let _guard = ctx.cache.lock(&ctx.ui, "apt", "uses apt")?;
        kernels::refresh(ctx, &toolbox)
    };
    match reach() {
        Ok(()) => Check::ok("network", "the package archive answers"),
        Err(error) => Check::bad(
            "network",
            State::Missing,
            format!("{error:#}"),
            "see the proxy and the resolver",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_available_memory_is_read() {
        let text = "MemTotal:       1 kB\nMemAvailable:   2048 kB\n";
        assert_eq!(available(text), Some(2 << 20));
        assert_eq!(available("MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn too_little_is_a_warning_that_says_how_much_would_do() {
        let check = amount("disk", 1_000_000_000, SPACE, "free");
        assert_eq!(check.state, State::Warn);
        assert_eq!(check.found, "1.0 GB free");
        assert_eq!(check.todo.as_deref(), Some("4.0 GB would do"));
        assert_eq!(amount("disk", SPACE, SPACE, "free").state, State::Ok);
    }

    #[test]
    fn a_missing_program_comes_with_the_way_to_get_it() {
        let check = program("no-such-program-anywhere", "its-package");
        assert_ne!(check.state, State::Ok);
        assert!(check.todo.is_some());
        assert_eq!(program("sh", "dash").state, State::Ok);
    }
}
