// SPDX-License-Identifier: GPL-2.0

//! The Debian root of guests that run the suite: an erofs image, made once and kept in the cache.
//!
//! `qemu/fstests/root.toml` says what is in it. mmdebstrap makes an archive of it, and mkfs.erofs of the toolbox an image
//! of that: owners and devices never exist as files of the host, so no privilege is needed. The image is not compressed:
//! the guest's processor is the slow part, the host's disk is not.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use serde::Deserialize;

use crate::cache;
use crate::context::Ctx;
use crate::process;
use crate::setup;
use crate::toolbox::{self, Toolbox};

/// Part of the image's key: to be raised when the way it is made changes.
const RECIPE: &str = "1";
/// What making it takes for a while: the unpacked root and then the archive beside it. 0.89 GB were measured; 0.35 GB
/// stay.
const SPACE: u64 = 1_200_000_000;

/// Run by mmdebstrap with the new root as `$1`, at the end. What it took over from the host, name and resolver, would make
/// two hosts' images differ; a test that looks a name up should fail at once.
const FINISH: &str = "set -eu; \
    echo notblk >\"$1/etc/hostname\"; \
    printf '127.0.0.1 localhost notblk\\n::1 localhost\\n' >\"$1/etc/hosts\"; \
    rm -f \"$1/etc/resolv.conf\"; \
    chroot \"$1\" passwd --quiet --delete root";

/// `qemu/fstests/root.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Spec {
    suite: String,
    packages: Vec<String>,
    exclude: Vec<String>,
    users: Vec<String>,
    directories: Vec<String>,
}

/// The root, and what one may want to know of it without mounting it.
#[derive(Debug, Clone)]
pub struct Root {
    /// The erofs image, for a disk that is only read.
    pub image: PathBuf,
    /// The list of all that is in it: absolute paths, one a line; directories end with a slash.
    pub files: PathBuf,
    /// The version of its C library, like `2.41`.
    pub glibc: String,
}

/// The guest's root; made when it is missing.
pub fn provide(ctx: &Ctx) -> Result<Root> {
    let text = description(ctx)?;
    let spec: Spec = toml::from_str(&text).context("qemu/fstests/root.toml is not valid")?;
    let entry = format!("fsroot-{}", cache::key(&[RECIPE, &text]));
    let dir = match ctx.cache.get(&entry) {
        Some(dir) => dir,
        None => {
            setup::host_packages(ctx)?;
            // Before the lock is taken, because it may take a minute of its own.
            let toolbox = ctx.toolbox()?;
            let what = "makes the guest's root for xfstests";
            ctx.cache.get_or_make(&ctx.ui, &entry, what, SPACE, |tmp| {
                make(ctx, &toolbox, &spec, tmp)
            })?
        }
    };
    let glibc = fs::read_to_string(dir.join("glibc-version"))
        .context("the guest's root does not say which C library it has")?;
    Ok(Root {
        image: dir.join("root.erofs"),
        files: dir.join("files.txt"),
        glibc,
    })
}

fn description(ctx: &Ctx) -> Result<String> {
    fs::read_to_string(ctx.repo.join("qemu/fstests/root.toml"))
        .context("cannot read qemu/fstests/root.toml")
}

/// Makes archive, lists and image in `tmp`.
fn make(ctx: &Ctx, toolbox: &Toolbox, spec: &Spec, tmp: &Path) -> Result<()> {
    let step = ctx.ui.step(
        "fsroot",
        "making the guest's root for xfstests with mmdebstrap (about a minute)",
    );
    let log = ctx.cache.log("fsroot");
    let tar = tmp.join("root.tar");
    let mut command = toolbox::dying_with_us("mmdebstrap");
    command.envs(process::network_env());
    if rustix::process::geteuid().is_root() {
        // Where the root is unpacked: here, so that it goes with `tmp` if we are killed. Without root that cannot be,
        // because it would belong to users who may not enter our cache: then it is below /tmp, and mmdebstrap's to remove.
        command.env("TMPDIR", tmp);
    }
    command
        .args(toolbox::bootstrap_args(&spec.packages, &spec.exclude))
        .args(hooks(spec))
        .args(["--format=tar", &spec.suite])
        .arg(&tar);
    process::run(&step, &log, "making the guest's root", &mut command)?;

    step.now("making an image of it");
    let tar_command = |args: &[&str]| -> Result<Vec<u8>> {
        let command = toolbox.command("tar").args(args).cwd(tmp);
        let output = command.build().output().context("cannot run tar")?;
        ensure!(
            output.status.success(),
            "tar cannot read what mmdebstrap made"
        );
        Ok(output.stdout)
    };
    let list = tar_command(&["-tf", "root.tar"])?;
    fs::write(
        tmp.join("files.txt"),
        absolute(&String::from_utf8_lossy(&list)),
    )
    .context("cannot write the list of files")?;
    let status = tar_command(&["-xOf", "root.tar", "./var/lib/dpkg/status"])?;
    let status = String::from_utf8_lossy(&status);
    let glibc = glibc_version(&status).context("the guest's root has no C library")?;
    fs::write(tmp.join("glibc-version"), glibc).context("cannot write the C library's version")?;
    let mut mkfs = toolbox
        .command("mkfs.erofs")
        .args(["--tar=f", "--quiet", "root.erofs", "root.tar"])
        .cwd(tmp)
        .build();
    process::run(
        &step,
        &log,
        "making the image of the guest's root",
        &mut mkfs,
    )?;
    fs::remove_file(&tar).context("cannot remove the archive")?;
    step.done("the guest's root for xfstests is ready");
    Ok(())
}

/// mmdebstrap's options for users, directories and the last touches.
fn hooks(spec: &Spec) -> Vec<OsString> {
    // --badname allows a name that begins with a digit.
    let user = |name| {
        format!(
            r#"chroot "$1" useradd --badname --user-group --create-home --shell /bin/bash {name}"#
        )
    };
    let directory = |path| format!(r#"mkdir -p "$1{path}""#);
    let users = spec.users.iter().map(user);
    let directories = spec.directories.iter().map(directory);
    users
        .chain(directories)
        .chain([FINISH.to_owned()])
        .map(|script| format!("--customize-hook={script}").into())
        .collect()
}

/// Tar's list, with names as they are in the guest.
fn absolute(list: &str) -> String {
    list.lines()
        .filter_map(|line| line.strip_prefix('.'))
        .flat_map(|path| [path, "\n"])
        .collect()
}

/// The version of the C library, in dpkg's list of packages: `2.41` of `2.41-12+deb13u1`.
fn glibc_version(status: &str) -> Option<&str> {
    let package = status
        .split("\n\n")
        .find(|package| package.lines().any(|line| line == "Package: libc6"))?;
    let version = package
        .lines()
        .find_map(|line| line.strip_prefix("Version: "))?;
    version.split('-').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_valid_and_fits_the_toolbox() {
        let text = include_str!("../../../qemu/fstests/root.toml");
        let spec: Spec = toml::from_str(text).unwrap();
        let toolbox = include_str!("../../../qemu/toolbox.toml");
        let toolbox: toml::Table = toolbox.parse().unwrap();
        assert_eq!(toolbox["suite"].as_str(), Some(spec.suite.as_str()));
        let packages = toolbox["packages"].as_array().unwrap();
        assert!(packages.iter().any(|p| p.as_str() == Some("erofs-utils")));
        let plain = |c: char| c.is_ascii_alphanumeric() || "/-_".contains(c);
        for name in spec.users.iter().chain(&spec.directories) {
            assert!(name.chars().all(plain), "{name} would need quotes");
        }
        assert!(spec.directories.iter().all(|path| path.starts_with('/')));
    }

    #[test]
    fn the_c_librarys_version_is_found() {
        let status = "Package: libc6-dev\nVersion: 9-1\n\n\
                      Package: libc6\nStatus: install ok installed\nVersion: 2.41-12+deb13u1\n\n\
                      Package: zlib1g\nVersion: 1:1.3\n";
        assert_eq!(glibc_version(status), Some("2.41"));
        assert_eq!(glibc_version("Package: musl\nVersion: 1-1\n"), None);
    }

    #[test]
    fn files_are_named_as_in_the_guest() {
        assert_eq!(absolute("./\n./bin\n./etc/\n"), "/\n/bin\n/etc/\n");
    }
}
