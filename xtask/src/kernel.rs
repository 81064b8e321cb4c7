// SPDX-License-Identifier: GPL-2.0

//! Kernels: the distribution's own, its source built with other options, and a developer's tree.
//!
//! `--kernel` names one ([`name`]); what comes out of all ways is a [`Kernel`] that can be booted and built for.

mod compiled;
mod image;
mod kconfig;
pub mod name;
mod packages;
mod shelf;
pub mod snapshot;
mod source;
mod stock;
pub mod toolchain;
mod why;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::cache::Lock;
use crate::context::Ctx;
use crate::errors::Exit;
use crate::kernels::{self, Kernels, LockFile, Locked};
use name::{Name, Source};
use packages::Gone;
pub use stock::present;
use toolchain::Toolchain;

/// What is wanted of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// To boot it.
    BootOnly,
    /// To build Rust modules for it as well.
    Tree,
}

/// A kernel that is ready for use.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Its name to the user.
    pub name: String,
    /// What `uname -r` says in it.
    pub release: String,
    /// What QEMU boots.
    pub image: PathBuf,
    /// `lib/modules/RELEASE`: `kernel/` with the `.ko.xz` files, `modules.builtin`, `modules.dep`.
    pub modules: PathBuf,
    /// Its configuration.
    pub config: PathBuf,
    /// The prepared build tree (`KDIR`), where [`Want::Tree`] asked for it.
    pub tree: Option<PathBuf>,
    /// What modules for it must be built with.
    pub toolchain: Toolchain,
    /// Stands for its content: two kernels with the same are the same.
    pub id: String,
    /// Keeps other processes from building a tree's next kernel where this one lies.
    _lock: Option<Arc<Lock>>,
}

impl Kernel {
    /// True where `option` is `y` in the kernel's configuration.
    pub fn has(&self, option: &str) -> Result<bool> {
        let text = fs::read_to_string(&self.config)
            .with_context(|| format!("cannot read the configuration of kernel {}", self.name))?;
        let line = format!("{option}=y");
        Ok(text.lines().any(|l| l == line))
    }

    /// How many times as long everything may take as on the distribution's kernel: what watches each access to memory or
    /// each lock takes its time.
    pub fn slowness(&self) -> Result<u32> {
        for option in WATCHERS {
            if self.has(option)? {
                return Ok(SLOWNESS);
            }
        }
        Ok(1)
    }
}

/// Options that make a kernel slow.
const WATCHERS: [&str; 4] = [
    "CONFIG_KASAN",
    "CONFIG_KCSAN",
    "CONFIG_PROVE_LOCKING",
    "CONFIG_DEBUG_KMEMLEAK",
];
/// How slow, at most.
const SLOWNESS: u32 = 8;

#[cfg(test)]
impl Kernel {
    /// One that only says what its release is.
    pub fn fake(release: &str) -> Kernel {
        Kernel {
            name: "x".into(),
            release: release.into(),
            image: PathBuf::new(),
            modules: PathBuf::new(),
            config: PathBuf::new(),
            tree: None,
            toolchain: Toolchain::default(),
            id: String::new(),
            _lock: None,
        }
    }
}

/// The kernel called `name` ([`name`]), or the default one; fetched, compiled and prepared where it is missing.
pub fn provide(ctx: &Ctx, name: Option<&str>, want: Want) -> Result<Kernel> {
    let named = Name::parse(name)?;
    match &named.source {
        Source::Archive(archive) => pinned(ctx, archive.as_deref(), |own, locked| {
            if named.fragments.is_empty() {
                check_toolchain(ctx, own)?;
                return stock::obtain(ctx, own, locked, want);
            }
            let label = name.unwrap_or(own);
            compiled::archive(ctx, label, locked, &named.fragments)
        }),
        Source::Tree(dir, revision) => {
            let label = named.to_string();
            let wanted = compiled::Wanted {
                dir,
                revision: revision.as_deref(),
                fragments: &named.fragments,
                want,
            };
            compiled::tree(ctx, &label, &wanted)
        }
    }
}

/// What an error carries that is about a kernel without Rust: it boots, and its own drivers can be run.
#[derive(Debug)]
pub struct NoRust;

impl std::fmt::Display for NoRust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no Rust")
    }
}

/// What an error carries that is a source's own fault: it does not build, or has not the options that are asked for.
#[derive(Debug)]
pub struct Unbuildable;

impl std::fmt::Display for Unbuildable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it does not build")
    }
}

/// Fails where `name` cannot be a kernel, as far as that can be told at once.
pub fn check(repo: &Path, name: &str) -> Result<()> {
    let named = Name::parse(Some(name))?;
    kconfig::Config::read(repo, &named.fragments)?;
    match &named.source {
        Source::Archive(archive) => {
            let lock = LockFile::read(&kernels::committed(repo))?;
            Kernels::read(repo)?.find(&lock, archive.as_deref())?;
        }
        Source::Tree(dir, _) => drop(compiled::directory(name, dir)?),
    }
    Ok(())
}

/// Fails where the user wants a toolchain for a kernel that has been built already.
fn check_toolchain(ctx: &Ctx, name: &str) -> Result<()> {
    match ctx.toolchain {
        None | Some(Toolchain::Gcc) => Ok(()),
        Some(_) => Err(Exit::usage(format!(
            "kernel {name} is the distribution's own, built by its gcc: --toolchain cannot change that"
        ))
        .hint(format!("`--kernel {name}+base` compiles its source here"))
        .into()),
    }
}

/// Calls `obtain` with the name and the packages of an archive's kernel; once more with newer ones where those that are pinned
/// have left the archive.
fn pinned(
    ctx: &Ctx,
    wanted: Option<&str>,
    obtain: impl Fn(&str, &Locked) -> Result<Kernel>,
) -> Result<Kernel> {
    let kernels = Kernels::read(&ctx.repo)?;
    let (name, spec) = kernels.find(&LockFile::read(&kernels::committed(&ctx.repo))?, wanted)?;
    let locked = kernels::locked(ctx, &name, &spec)?;
    match obtain(&name, &locked) {
        Err(error) if error.downcast_ref::<Gone>().is_some() => {
            let why = format!(
                "is pinned to {}, which the archive no longer has",
                locked.release
            );
            let locked = kernels::relock(ctx, &name, &spec, &why)?;
            obtain(&name, &locked)
        }
        other => other,
    }
}

/// How many compilers to run at once.
fn parallelism() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}
