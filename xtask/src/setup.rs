// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask setup`, and what the host itself must have.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cargo_static::Program;
use crate::cli::KernelArgs;
use crate::context::Ctx;
use crate::errors::{Code, Exit};
use crate::kernel::{Kernel, Want};
use crate::process::{self, Manner};
use crate::toolbox::{self, which};

/// Programs of the host, and the Debian packages that bring them.
const HOST_PROGRAMS: [(&str, &str); 5] = [
    ("mmdebstrap", "mmdebstrap"),
    ("bwrap", "bubblewrap"),
    ("mke2fs", "e2fsprogs"),
    ("setpriv", "util-linux"),
    ("cc", "gcc libc6-dev"),
];

/// What this user needs of the host: programs, and the packages that bring them.
pub fn host_programs() -> Vec<(&'static str, &'static str)> {
    let mut programs = HOST_PROGRAMS.to_vec();
    if !rustix::process::geteuid().is_root() {
        // With which mmdebstrap becomes root in a namespace of its own.
        programs.push(("newuidmap", "uidmap"));
    }
    programs
}

/// `cargo xtask setup`.
pub fn run(ctx: &Ctx, args: KernelArgs) -> Result<Code> {
    let agent = Program::Workspace {
        package: "notblk-agent".into(),
        bin: "notblk-agent".into(),
    };
    let (kernel, _) = everything(ctx, args.kernel.as_deref(), Want::Tree, &[agent])?;
    println!("ready: kernel {} ({})", kernel.name, kernel.release);
    Ok(Code::PASSED)
}

/// Provides a kernel, and builds programs for the guest at the same time: making the toolbox keeps one core busy only.
/// Returns the kernel and the programs' paths.
pub fn everything(
    ctx: &Ctx,
    kernel: Option<&str>,
    want: Want,
    programs: &[Program],
) -> Result<(Kernel, Vec<PathBuf>)> {
    if !toolbox::present(ctx) {
        host_packages(ctx)?;
    }
    std::thread::scope(|scope| {
        let other = ctx.clone();
        let built = scope.spawn(move || -> Result<Vec<PathBuf>> {
            let each = programs.iter();
            each.map(|program| other.cargo_static(program)).collect()
        });
        let kernel = ctx.kernel(kernel, want);
        let built = built.join().expect("building does not panic");
        Ok((kernel?, built?))
    })
}

/// Provides the toolbox and programs for the guest, which are the same for all kernels. Returns the programs' paths.
pub fn common(ctx: &Ctx, programs: &[Program]) -> Result<Vec<PathBuf>> {
    if !toolbox::present(ctx) {
        host_packages(ctx)?;
    }
    ctx.toolbox()?;
    let each = programs.iter();
    each.map(|program| ctx.cargo_static(program)).collect()
}

/// What of [`host_programs`] is missing, as package names.
fn missing_packages() -> Vec<&'static str> {
    let missing = host_programs()
        .into_iter()
        .filter(|(program, _)| which(program).is_none());
    missing
        .flat_map(|(_, packages)| packages.split(' '))
        .collect()
}

/// Installs what the host lacks, where we may; else says how.
pub fn host_packages(ctx: &Ctx) -> Result<()> {
    let missing = missing_packages();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    let root = rustix::process::geteuid().is_root();
    if !root || which("apt-get").is_none() || !Path::new("/etc/debian_version").exists() {
        return Err(Exit::host(format!("this host lacks {list}"))
            .hint(format!(
                "sudo apt-get install -y --no-install-recommends {list}"
            ))
            .into());
    }
    let _lock = ctx
        .cache
        .lock(&ctx.ui, "host-packages", "installs packages")?;
    let step = ctx.ui.step("host", &format!("installing {list}"));
    let log = ctx.cache.log("host-packages");
    let apt = |args: &[&str]| {
        let mut command = process::host_command("apt-get");
        command
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .envs(process::network_env());
        command
    };
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(&missing);
    let what = "installing packages";
    let first = process::run_any(&step, &log, what, &mut apt(&install), Manner::Gentle)?;
    if !first.status.success() {
        // Package lists that are absent or too old are the usual reason.
        step.now("updating the package lists");
        let update = process::run_any(&step, &log, what, &mut apt(&["update"]), Manner::Gentle)?;
        if !update.status.success() {
            return Err(process::explain(&ctx.ui, &log, update));
        }
        step.now(&format!("installing {list}"));
        let second = process::run_any(&step, &log, what, &mut apt(&install), Manner::Gentle)?;
        if !second.status.success() {
            return Err(process::explain(&ctx.ui, &log, second));
        }
    }
    step.done(&format!("installed {list}"));
    Ok(())
}
