// SPDX-License-Identifier: GPL-2.0

//! Which kernels there are: `qemu/kernels.toml` names them, `qemu/kernels.lock` pins each to exact packages.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use serde::{Deserialize, Serialize};

use crate::context::Ctx;
use crate::errors::{Code, Exit};
use crate::matrix::Matrix;
use crate::process;
use crate::toolbox::{self, Toolbox};

/// `qemu/kernels.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernels {
    /// The kernel that is meant where none is named.
    pub default: String,
    /// All kernels by name.
    pub kernel: BTreeMap<String, Spec>,
    /// What `cargo xtask matrix` runs over.
    pub matrix: Option<Matrix>,
}

/// What is asked for under one name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The newest version that begins like this, or
    pub series: Option<String>,
    /// exactly this version.
    pub version: Option<String>,
}

/// `qemu/kernels.lock`.
#[derive(Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    /// The pinned kernels by name.
    #[serde(default)]
    pub kernel: BTreeMap<String, Locked>,
}

/// One kernel, pinned.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Locked {
    /// What `uname -r` will say.
    pub release: String,
    /// The packages to boot it.
    pub boot: Vec<Package>,
    /// The packages to build modules for it.
    pub tree: Vec<Package>,
}

/// One package file.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// The package's name.
    pub name: String,
    /// Its exact version.
    pub version: String,
    /// The size of the file, in bytes.
    pub size: u64,
    /// The SHA-256 of the file.
    pub sha256: String,
}

/// The head of the lock file.
const LOCK_HEAD: &str =
    "# Exact packages of the kernels in kernels.toml. Written by `cargo xtask update`.\n\n";

impl Kernels {
    /// Reads `qemu/kernels.toml`.
    pub fn read(repo: &Path) -> Result<Self> {
        let text = fs::read_to_string(repo.join("qemu/kernels.toml"))
            .context("cannot read qemu/kernels.toml")?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let kernels: Kernels = toml::from_str(text).context("qemu/kernels.toml is not valid")?;
        for (name, spec) in &kernels.kernel {
            ensure!(
                spec.series.is_some() != spec.version.is_some(),
                "qemu/kernels.toml: kernel {name} must have either a series or a version"
            );
        }
        ensure!(
            kernels.kernel.contains_key(&kernels.default),
            "qemu/kernels.toml: the default kernel {} is not in it",
            kernels.default
        );
        if let Some(matrix) = &kernels.matrix {
            matrix.check().context("qemu/kernels.toml")?;
        }
        Ok(kernels)
    }

    /// Finds a kernel by name, by its pinned version, or the default one; any other series or version of the archive is asked
    /// for as it is written. Returns its name, and what is asked for.
    pub fn find(&self, lock: &LockFile, wanted: Option<&str>) -> Result<(String, Spec)> {
        let wanted = wanted.unwrap_or(&self.default);
        let is_meant = |name: &&String| {
            let asked = self.kernel[*name].version.as_deref();
            let locked = lock.kernel.get(*name).map(|k| k.release.as_str());
            *name == wanted
                || asked == Some(wanted)
                || locked == Some(wanted)
                || locked.and_then(|release| release.split('+').next()) == Some(wanted)
        };
        if let Some(name) = self.kernel.keys().find(is_meant) {
            return Ok((name.clone(), self.kernel[name].clone()));
        }
        let numbers: Vec<Option<u32>> = wanted.split('.').map(|part| part.parse().ok()).collect();
        let spec = match numbers[..] {
            [Some(_), Some(_)] => Spec {
                series: Some(wanted.to_owned()),
                version: None,
            },
            [Some(_), Some(_), Some(_)] => Spec {
                series: None,
                version: Some(wanted.to_owned()),
            },
            _ => {
                let names: Vec<&str> = self.kernel.keys().map(String::as_str).collect();
                return Err(Exit::usage(format!("there is no kernel {wanted:?}"))
                    .hint(format!(
                        "qemu/kernels.toml has {}; another series or version of the archive, `debug`, or tree:DIR",
                        names.join(", ")
                    ))
                    .into());
            }
        };
        Ok((wanted.to_owned(), spec))
    }
}

/// The lock of the kernels that `qemu/kernels.toml` names.
pub fn committed(repo: &Path) -> PathBuf {
    repo.join("qemu/kernels.lock")
}

/// Where the kernel `name` is pinned: one that `qemu/kernels.toml` does not name is this user's own affair.
fn lock_of(ctx: &Ctx, name: &str) -> Result<PathBuf> {
    Ok(match Kernels::read(&ctx.repo)?.kernel.contains_key(name) {
        true => committed(&ctx.repo),
        false => ctx.cache.root.join("kernels.lock"),
    })
}

impl LockFile {
    /// Reads a lock file; an absent one is empty.
    pub fn read(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => {
                toml::from_str(&text).with_context(|| format!("{} is not valid", path.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Writes a lock file, all of it or nothing.
    fn write(&self, path: &Path) -> Result<()> {
        let text = LOCK_HEAD.to_owned() + &toml::to_string(self)?;
        let tmp = path.with_file_name(".kernels.lock.tmp");
        fs::write(&tmp, text)
            .and_then(|()| fs::rename(&tmp, path))
            .inspect_err(|_| drop(fs::remove_file(&tmp)))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The pinned packages of a kernel: from the lock, or resolved now where the lock does not know the kernel.
pub fn locked(ctx: &Ctx, name: &str, spec: &Spec) -> Result<Locked> {
    let lock = LockFile::read(&lock_of(ctx, name)?)?;
    match lock.kernel.get(name) {
        Some(locked) if spec.accepts(&locked.release) => Ok(locked.clone()),
        _ => relock(ctx, name, spec, "is not pinned yet"),
    }
}

/// Resolves one kernel again and writes the lock; refuses under `--locked`. `why` completes "kernel NAME …".
pub fn relock(ctx: &Ctx, name: &str, spec: &Spec, why: &str) -> Result<Locked> {
    let path = lock_of(ctx, name)?;
    if ctx.locked && path == committed(&ctx.repo) {
        return Err(Exit::host(format!(
            "kernel {name} {why}, and --locked forbids to resolve it again"
        ))
        .hint("run `cargo xtask update` and commit qemu/kernels.lock")
        .into());
    }
    let toolbox = ctx.toolbox()?;
    let _guard = ctx.cache.lock(&ctx.ui, "apt", "uses apt")?;
    ctx.ui
        .note(&format!("kernel {name} {why}: resolving it again"));
    refresh(ctx, &toolbox)?;
    let found = resolve(&toolbox, name, spec)?;
    ctx.ui
        .note(&format!("kernel {name} is {} from now on", found.release));
    let mut lock = LockFile::read(&path)?;
    lock.kernel.insert(name.to_owned(), found.clone());
    lock.write(&path)?;
    Ok(found)
}

/// `cargo xtask update`.
pub fn update(ctx: &Ctx) -> Result<Code> {
    if ctx.locked {
        return Err(Exit::usage("update writes qemu/kernels.lock, which --locked forbids").into());
    }
    let kernels = Kernels::read(&ctx.repo)?;
    let toolbox = ctx.toolbox()?;
    let _guard = ctx.cache.lock(&ctx.ui, "apt", "uses apt")?;
    refresh(ctx, &toolbox)?;
    let path = committed(&ctx.repo);
    let old = LockFile::read(&path)?;
    let mut new = LockFile::default();
    for (name, spec) in &kernels.kernel {
        let found = resolve(&toolbox, name, spec)?;
        let before = old.kernel.get(name).map(|k| k.release.as_str());
        match before == Some(&found.release) {
            true => println!("{name:8} {}", found.release),
            false => println!(
                "{name:8} {} (was {})",
                found.release,
                before.unwrap_or("new")
            ),
        }
        new.kernel.insert(name.clone(), found);
    }
    new.write(&path)?;
    Ok(Code::PASSED)
}

/// Fetches the package lists; hold the lock "apt".
pub fn refresh(ctx: &Ctx, toolbox: &Toolbox) -> Result<()> {
    let step = ctx.ui.step("packages", "updating the lists");
    process::run(
        &step,
        &ctx.cache.log("apt"),
        "updating the package lists",
        &mut toolbox::apt(toolbox, "apt-get").arg("update").build(),
    )?;
    step.done("lists updated");
    Ok(())
}

impl Spec {
    /// True where a kernel of this release is one that is asked for.
    fn accepts(&self, release: &str) -> bool {
        let version = release.split('+').next().unwrap_or(release);
        match (&self.version, &self.series) {
            (Some(wanted), _) => version == wanted,
            (None, Some(series)) => version
                .strip_prefix(series.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
            (None, None) => false,
        }
    }
}

/// Finds the packages of a kernel in the lists of the archive.
fn resolve(toolbox: &Toolbox, name: &str, spec: &Spec) -> Result<Locked> {
    let start = spec
        .version
        .as_ref()
        .or(spec.series.as_ref())
        .context("no version")?;
    let images = query(toolbox, "search", &["--names-only", &image_pattern(start)])?;
    let release = newest_release(&images, |release| spec.accepts(release)).ok_or_else(|| {
        let of = match name == start {
            true => String::new(),
            false => format!(" for {name}"),
        };
        Exit::host(format!("the archive has no kernel {start}{of}")).hint(
            "it keeps the newest versions only: a series alone, like 7.3, takes what is there",
        )
    })?;
    let image = format!("linux-image-{release}");
    let shown = query(toolbox, "show", &[&image])?;
    let record = records(&shown)
        .next()
        .with_context(|| format!("apt does not show {image}"))?;
    let version = field(record, "Version").context("a package without a version")?;
    let depends = field(record, "Depends").unwrap_or_default();
    // Newer kernels are split; of older ones the image package holds everything.
    let boot: Vec<String> = ["linux-base", "linux-binary", "linux-modules"]
        .iter()
        .map(|part| format!("{part}-{release}"))
        .filter(|package| depends.contains(package.as_str()))
        .collect();
    let boot = if boot.is_empty() { vec![image] } else { boot };
    let series = series_of(&release);
    let tree = [
        format!("linux-headers-{release}"),
        format!("linux-source-{series}"),
    ];
    let pin = |packages: &[String]| -> Result<Vec<Package>> {
        packages
            .iter()
            .map(|p| pinned(toolbox, p, version))
            .collect()
    };
    Ok(Locked {
        boot: pin(&boot)?,
        tree: pin(&tree)?,
        release,
    })
}

/// The file of one package at one version.
fn pinned(toolbox: &Toolbox, name: &str, version: &str) -> Result<Package> {
    let shown = query(toolbox, "show", &[&format!("{name}={version}")])?;
    let parse = || {
        let record = records(&shown).next()?;
        Some(Package {
            name: name.to_owned(),
            version: version.to_owned(),
            size: field(record, "Size")?.parse().ok()?,
            sha256: field(record, "SHA256")?.to_owned(),
        })
    };
    parse().with_context(|| format!("the archive does not describe {name} {version}"))
}

/// Asks apt-cache in the toolbox.
fn query(toolbox: &Toolbox, what: &str, args: &[&str]) -> Result<String> {
    let mut command = toolbox::apt(toolbox, "apt-cache")
        .arg(what)
        .args(args)
        .build();
    let output = command.output().context("cannot run apt-cache")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The regular expression of the image packages of a version or series.
fn image_pattern(start: &str) -> String {
    let start = start.replace('.', r"\.");
    format!(r"^linux-image-{start}(\.[0-9]+)*\+deb[0-9.]+-amd64$")
}

/// The newest release among lines like `linux-image-7.3.4+deb13-amd64 - Linux 7.3 …`.
fn newest_release(images: &str, accepts: impl Fn(&str) -> bool) -> Option<String> {
    images
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.strip_prefix("linux-image-"))
        .filter(|release| accepts(release))
        .max_by_key(|release| numbers(release))
        .map(str::to_owned)
}

/// All numbers in a text: versions compare by them.
fn numbers(text: &str) -> Vec<u64> {
    text.split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

/// `7.3` of `7.3.4+deb13-amd64`.
fn series_of(release: &str) -> String {
    release.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// The paragraphs of what `apt-cache show` prints.
fn records(text: &str) -> impl Iterator<Item = &str> {
    text.split("\n\n")
        .filter(|record| !record.trim().is_empty())
}

/// A one-line field of a paragraph.
fn field<'a>(record: &'a str, name: &str) -> Option<&'a str> {
    record
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"
        [kernel."6.12"]
        release = "6.12.94+deb13-amd64"
        tree = []
        [[kernel."6.12".boot]]
        name = "linux-image-6.12.94+deb13-amd64"
        version = "6.12.94-1"
        size = 107736108
        sha256 = "00"
    "#;

    fn kernels() -> Kernels {
        Kernels::parse(include_str!("../../qemu/kernels.toml")).unwrap()
    }

    fn lock() -> LockFile {
        toml::from_str(LOCK).unwrap()
    }

    #[test]
    fn kernels_are_found_by_name_version_and_release() {
        let (kernels, lock) = (kernels(), lock());
        for wanted in ["6.12", "6.12.94", "6.12.94+deb13-amd64"] {
            assert_eq!(kernels.find(&lock, Some(wanted)).unwrap().0, "6.12");
        }
        assert_eq!(kernels.find(&lock, None).unwrap().0, kernels.default);
        let (name, spec) = kernels.find(&lock, Some("7.2.9")).unwrap();
        assert_eq!(
            (name.as_str(), spec.version.as_deref()),
            ("7.2.9", Some("7.2.9"))
        );
        let (_, spec) = kernels.find(&lock, Some("6.1")).unwrap();
        assert_eq!(spec.series.as_deref(), Some("6.1"));
    }

    #[test]
    fn an_unknown_kernel_is_a_usage_error_that_names_the_known_ones() {
        let error = kernels().find(&lock(), Some("latest")).unwrap_err();
        let exit = crate::errors::classify(&error);
        assert_eq!(exit.code, Code::USAGE);
        assert_eq!(exit.line, "there is no kernel \"latest\"");
        assert!(exit.hint.unwrap().contains("6.12, 7.2, 7.3"));
    }

    #[test]
    fn a_lock_file_survives_a_round_trip() {
        let lock = lock();
        let text = toml::to_string(&lock).unwrap();
        assert_eq!(toml::from_str::<LockFile>(&text).unwrap(), lock);
    }

    #[test]
    fn the_committed_lock_is_what_is_asked_for() {
        let lock: LockFile = toml::from_str(include_str!("../../qemu/kernels.lock")).unwrap();
        for (name, spec) in &kernels().kernel {
            let locked = &lock.kernel[name];
            assert!(spec.accepts(&locked.release), "{name}: {}", locked.release);
            for package in locked.boot.iter().chain(&locked.tree) {
                assert_eq!(package.sha256.len(), 64, "{}", package.name);
                assert!(package.size > 0, "{}", package.name);
            }
        }
    }

    #[test]
    fn the_newest_release_of_a_series_wins_by_number() {
        let found = "linux-image-7.2.9+deb13-amd64 - Linux 7.2\n\
                     linux-image-7.2.12+deb13-amd64 - Linux 7.2\n\
                     linux-image-7.2.11+deb13.1-amd64 - Linux 7.2\n\
                     linux-image-7.20.1+deb13-amd64 - Linux 7.20\n";
        let spec = Spec {
            series: Some("7.2".into()),
            version: None,
        };
        let newest = newest_release(found, |release| spec.accepts(release));
        assert_eq!(newest.as_deref(), Some("7.2.12+deb13-amd64"));
        assert_eq!(series_of("7.2.12+deb13-amd64"), "7.2");
    }

    #[test]
    fn a_kernel_needs_a_series_or_a_version() {
        let neither = "default = \"a\"\n[kernel.a]\n";
        assert!(Kernels::parse(neither).is_err());
        let missing = "default = \"b\"\n[kernel.a]\nseries = \"1\"\n";
        assert!(Kernels::parse(missing).is_err());
    }

    #[test]
    fn fields_are_read_from_the_right_paragraph() {
        let text = "Package: a\nVersion: 1\nSHA256: aa\n\nPackage: a\nVersion: 2\nSHA256: bb\n";
        let versions: Vec<_> = records(text).filter_map(|r| field(r, "Version")).collect();
        assert_eq!(versions, ["1", "2"]);
        assert_eq!(field(text, "SHA25"), None);
    }
}
