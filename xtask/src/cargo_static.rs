// SPDX-License-Identifier: GPL-2.0

//! Static programs for the guest, built by the host's cargo: of this workspace, or published ones.
//!
//! They get a target directory of their own, so that their flags do not make the workspace's build start over.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::build::keep;
use crate::cache;
use crate::context::Ctx;
use crate::errors::{Code, Exit};
use crate::process::{self, Manner};

/// The target is named even where it is the host's own: then the flags do not reach build scripts and macros.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// What building a published program may take.
const SPACE: u64 = 800_000_000;

/// A program to build.
#[derive(Clone, Debug)]
pub enum Program {
    /// A package of this workspace.
    Workspace {
        /// The package.
        package: String,
        /// Its binary.
        bin: String,
    },
    /// A published crate with a binary.
    Published {
        /// The crate.
        name: String,
        /// Its exact version.
        version: String,
        /// Its binary.
        bin: String,
    },
}

/// Builds the program where it is missing or has changed; returns its path.
pub fn provide(ctx: &Ctx, program: &Program) -> Result<PathBuf> {
    match program {
        Program::Workspace { package, bin } => workspace(ctx, package, bin),
        Program::Published { name, version, bin } => published(ctx, name, version, bin),
    }
}

fn workspace(ctx: &Ctx, package: &str, bin: &str) -> Result<PathBuf> {
    let name = format!("cargo-{}", cache::key(&[&ctx.repo.to_string_lossy()]));
    let _lock = ctx
        .cache
        .lock(&ctx.ui, &name, "builds the guest's programs")?;
    let dir = ctx.cache.work_dir(&name)?;
    let step = ctx.ui.step(package, "building it");
    let mut command = cargo("build");
    command
        .args([
            "--release",
            "--target",
            TARGET,
            "--package",
            package,
            "--bin",
            bin,
        ])
        .args(ctx.locked.then_some("--locked"))
        .arg("--target-dir")
        .arg(dir.join("target"))
        .current_dir(&ctx.repo);
    let log = ctx.cache.log(package);
    let what = format!("building {package}");
    let outcome = process::run_any(&step, &log, &what, &mut command, Manner::Firm)?;
    if !outcome.status.success() {
        let compiler = outcome
            .tail
            .iter()
            .any(|line| line.contains("could not compile"));
        if compiler && process::diagnose(&what, &outcome.tail).is_none() {
            outcome.tail.iter().for_each(|line| ctx.ui.print(line));
            return Err(Exit::new(Code::TEST_FAILED, format!("{package} does not build")).into());
        }
        return Err(process::explain(&ctx.ui, &log, outcome));
    }
    let built = dir.join("target").join(TARGET).join("release").join(bin);
    let kept = keep(&built, &dir.join("out")).with_context(|| format!("cargo made no {bin}"))?;
    step.done("built");
    Ok(kept)
}

fn published(ctx: &Ctx, name: &str, version: &str, bin: &str) -> Result<PathBuf> {
    let entry = format!("crate-{name}-{version}-{}", cache::key(&[TARGET, bin]));
    let what = format!("builds {name}");
    let make = |tmp: &Path| {
        let step = ctx.ui.step(name, &format!("building version {version}"));
        let mut command = cargo("install");
        command
            .args([name, "--version", &format!("={version}"), "--bin", bin])
            .args(["--locked", "--no-track", "--target", TARGET])
            .arg("--root")
            .arg(tmp)
            .arg("--target-dir")
            .arg(tmp.join("target"))
            .current_dir(tmp);
        process::run(
            &step,
            &ctx.cache.log(name),
            &format!("building {name}"),
            &mut command,
        )?;
        std::fs::remove_dir_all(tmp.join("target"))?;
        step.done("built");
        Ok(())
    };
    let dir = ctx.cache.get_or_make(&ctx.ui, &entry, &what, SPACE, make)?;
    Ok(dir.join("bin").join(bin))
}

/// The host's cargo, with flags for static programs and with none of ours.
fn cargo(subcommand: &str) -> Command {
    let mut command = process::host_command("setpriv");
    command
        .args(["--pdeathsig", "TERM", "--", "cargo", subcommand])
        .envs(process::network_env())
        .envs(process::cargo_env())
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    command
}
