// SPDX-License-Identifier: GPL-2.0

//! Packages of a kernel: fetched from the archive, checked against the lock, unpacked.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;

use crate::cache;
use crate::context::Ctx;
use crate::errors::Exit;
use crate::kernels::{self, Package};
use crate::process::{self, Manner};
use crate::toolbox::{self, Toolbox};
use crate::ui::Step;

/// A package version that the archive no longer has.
#[derive(Debug)]
pub struct Gone(String);

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the archive no longer has {}", self.0)
    }
}

impl std::error::Error for Gone {}

/// Downloads packages into `dir` and checks them against the lock; returns the files, in the order of the packages.
pub fn fetch(
    ctx: &Ctx,
    step: &Step,
    toolbox: &Toolbox,
    packages: &[Package],
    dir: &Path,
) -> Result<Vec<PathBuf>> {
    let _guard = ctx.cache.lock(&ctx.ui, "apt", "downloads packages")?;
    let files: Vec<PathBuf> = packages
        .iter()
        .map(|p| dir.join(format!("{}.deb", p.name)))
        .collect();
    download(ctx, step, toolbox, packages, dir)?;
    for again in [true, false] {
        let mut bad = Vec::new();
        for (package, file) in packages.iter().zip(&files) {
            if !is_intact(package, &arrived(package, dir)?, file)? {
                bad.push(package.clone());
            }
        }
        match (bad.first(), again) {
            (None, _) => return Ok(files),
            (Some(first), true) => {
                ctx.ui.warn(&format!(
                    "{} arrived damaged: fetching it again",
                    first.name
                ));
                download(ctx, step, toolbox, &bad, dir)?;
            }
            (Some(first), false) => return Err(damaged(first)),
        }
    }
    Ok(files)
}

pub fn unpack(step: &Step, log: &Path, toolbox: &Toolbox, deb: &Path, to: &Path) -> Result<()> {
    let mut command = toolbox
        .command("dpkg-deb")
        .arg("-x")
        .arg(deb)
        .arg(to)
        .cwd("/")
        .build();
    process::run(step, log, "unpacking a package", &mut command)
}

pub fn remove_all(files: &[PathBuf]) -> Result<()> {
    files.iter().try_for_each(|file| Ok(fs::remove_file(file)?))
}

fn damaged(package: &Package) -> anyhow::Error {
    Exit::host(format!(
        "{} {} arrived damaged twice: its checksum is not the one in qemu/kernels.lock",
        package.name, package.version
    ))
    .hint("a proxy may be at fault, or the archive has changed: `cargo xtask update` looks again")
    .into()
}

/// Runs `apt-get download`; with fresh package lists where the old ones do not lead to the files.
fn download(
    ctx: &Ctx,
    step: &Step,
    toolbox: &Toolbox,
    packages: &[Package],
    dir: &Path,
) -> Result<()> {
    static REFRESHED: AtomicBool = AtomicBool::new(false);
    let log = ctx.cache.log("apt");
    loop {
        let names = packages.iter().map(|p| format!("{}={}", p.name, p.version));
        let mut command = toolbox::apt(toolbox, "apt-get")
            .arg("download")
            .args(names)
            .cwd(dir)
            .build();
        let outcome = process::run_any(
            step,
            &log,
            "downloading a kernel",
            &mut command,
            Manner::Firm,
        )?;
        if outcome.status.success() {
            return Ok(());
        }
        let Some(missing) = missing_package(&outcome.tail) else {
            return Err(process::explain(&ctx.ui, &log, outcome));
        };
        if REFRESHED.swap(true, Ordering::SeqCst) {
            return Err(Gone(missing).into());
        }
        kernels::refresh(ctx, toolbox)?;
    }
}

/// What apt says is not in the archive.
fn missing_package(lines: &[String]) -> Option<String> {
    let needles = [
        "was not found",
        "Unable to locate package",
        "Can't find a source",
        "404  Not Found",
    ];
    let line = lines
        .iter()
        .find(|line| needles.iter().any(|n| line.contains(n)))?;
    Some(line.trim_start_matches("E: ").trim().to_owned())
}

/// The file that apt made of a package.
fn arrived(package: &Package, dir: &Path) -> Result<Option<PathBuf>> {
    let prefix = format!("{}_", package.name);
    for item in fs::read_dir(dir)? {
        let item = item?;
        let name = item.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(&prefix) && name.ends_with(".deb") {
            return Ok(Some(item.path()));
        }
    }
    let checked = dir.join(format!("{}.deb", package.name));
    Ok(checked.exists().then_some(checked))
}

/// Checks an arrived file against the lock: moves it to `file` if it is what it should be, else deletes it.
fn is_intact(package: &Package, arrived: &Option<PathBuf>, file: &Path) -> Result<bool> {
    let Some(arrived) = arrived else {
        return Ok(false);
    };
    let size = fs::metadata(arrived)?.len();
    if size == package.size && cache::sha256(arrived)? == package.sha256 {
        fs::rename(arrived, file)?;
        return Ok(true);
    }
    fs::remove_file(arrived)?;
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package() -> Package {
        Package {
            name: "linux-binary-1".into(),
            version: "1-1".into(),
            size: 3,
            // Of "abc".
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into(),
        }
    }

    #[test]
    fn only_a_whole_and_right_file_gets_its_final_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("linux-binary-1.deb");
        let from = dir.path().join("linux-binary-1_1-1_amd64.deb");
        for (content, good) in [("ab", false), ("abd", false), ("abc", true)] {
            fs::write(&from, content).unwrap();
            let found = arrived(&package(), dir.path()).unwrap();
            assert_eq!(found.as_ref(), Some(&from));
            assert_eq!(
                is_intact(&package(), &found, &file).unwrap(),
                good,
                "{content}"
            );
            assert!(!from.exists(), "{content}");
            assert_eq!(file.exists(), good, "{content}");
        }
        assert_eq!(arrived(&package(), dir.path()).unwrap(), Some(file));
    }

    #[test]
    fn a_version_that_is_gone_is_told_from_other_failures() {
        let says = |line: &str| missing_package(&[line.to_owned()]);
        assert!(says("E: Version '1-1' for 'linux-binary-1' was not found").is_some());
        assert!(says("E: Unable to locate package linux-binary-1").is_some());
        assert!(says("E: Failed to fetch x  404  Not Found [IP: 1.2.3.4 80]").is_some());
        assert!(says("E: Failed to fetch x  Could not connect").is_none());
    }
}
