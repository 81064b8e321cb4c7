// SPDX-License-Identifier: GPL-2.0

//! Kernel, module and guest of one point: built, or found to be impossible.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use notblk_bisect::Built;
use notblk_protocol::Driver;

use super::aside;
use crate::build;
use crate::cache;
use crate::context::Ctx;
use crate::errors::{classify, Code};
use crate::guest::{self, Guest, MachineArgs};
use crate::kernel::{Kernel, NoRust, Unbuildable, Want};
use crate::setup;

/// What is built last, and what stays the same.
pub struct Bench {
    driver: Driver,
    machine: MachineArgs,
    /// The programs for the guest.
    programs: Vec<PathBuf>,
    /// The last kernel, by the name it was asked for.
    kernel: Option<(Option<String>, Kernel, String)>,
    /// The last guest.
    guest: Option<Guest>,
}

impl Bench {
    /// With the programs of the guest, and those of its tests where they are wanted.
    pub fn new(ctx: &Ctx, driver: Driver, machine: &MachineArgs, tests: bool) -> Result<Bench> {
        let mut wanted = guest::programs(tests);
        let mut programs: Vec<PathBuf> = aside::agent(ctx).into_iter().collect();
        // The first is the agent.
        wanted.drain(..programs.len());
        programs.extend(setup::common(ctx, &wanted)?);
        Ok(Bench {
            driver,
            machine: machine.clone(),
            programs,
            kernel: None,
            guest: None,
        })
    }

    /// The agent's program.
    pub fn agent(&self) -> Option<&Path> {
        self.programs.first().map(PathBuf::as_path)
    }

    /// The guest of what was built last.
    pub fn guest(&self) -> Result<&Guest> {
        self.guest.as_ref().context("nothing has been built")
    }

    /// Builds the kernel called so, and the module of the sources in `module`.
    pub fn build(&mut self, ctx: &Ctx, kernel: Option<&str>, module: &Path) -> Result<Built> {
        self.guest = None;
        match self.try_build(ctx, kernel, module) {
            Ok(identity) => Ok(Built::Ready(identity)),
            Err(error) if is_its_fault(&error) => {
                // Which kernel it is stands beside it.
                let its = format!("kernel {} ", kernel.unwrap_or_default());
                Ok(Built::Unfit(classify(&error).line.replace(&its, "it ")))
            }
            Err(error) => Err(error),
        }
    }

    fn try_build(&mut self, ctx: &Ctx, name: Option<&str>, module: &Path) -> Result<String> {
        let want = match self.driver {
            Driver::Notblk => Want::Tree,
            Driver::Ext4 => Want::BootOnly,
        };
        let wanted = name.map(str::to_owned);
        if self.kernel.as_ref().is_none_or(|(is, ..)| *is != wanted) {
            // The lock of a tree is held as long as its kernel.
            self.kernel = None;
            let kernel = ctx.kernel(name, want)?;
            let content = content(&kernel)?;
            self.kernel = Some((wanted, kernel, content));
        }
        let Some((_, kernel, content)) = &self.kernel else {
            anyhow::bail!("there is no kernel");
        };
        let ko = match self.driver {
            Driver::Ext4 => None,
            Driver::Notblk => Some(self::module(ctx, kernel, module)?),
        };
        let hash = match &ko {
            Some(ko) => cache::sha256(ko)?,
            None => String::new(),
        };
        let identity = cache::key(&[content, &hash]);
        let programs = self.programs.clone();
        let guest = Guest::of(
            ctx,
            kernel.clone(),
            ko.as_deref(),
            &[],
            programs,
            &self.machine,
        )?;
        self.guest = Some(guest);
        Ok(identity)
    }
}

/// Builds the module.
fn module(ctx: &Ctx, kernel: &Kernel, source: &Path) -> Result<PathBuf> {
    for file in ["Kbuild", "Makefile", "rust/main.rs"] {
        if !source.join(file).is_file() {
            let error = anyhow::anyhow!("there is no {file}, so no module");
            return Err(error.context(Unbuildable));
        }
    }
    let options = build::Options::default();
    build::module_of(ctx, &ctx.toolbox()?, kernel, options, source)
}

/// True where the sources are to blame, not this host.
fn is_its_fault(error: &anyhow::Error) -> bool {
    let module = classify(error).code == Code::TEST_FAILED;
    module || error.is::<Unbuildable>() || error.is::<NoRust>()
}

/// Stands for all of a kernel that a guest sees.
fn content(kernel: &Kernel) -> Result<String> {
    let mut files = vec![kernel.image.clone()];
    modules(&kernel.modules, &mut files)?;
    files[1..].sort();
    let mut parts = Vec::new();
    for file in &files {
        let name = file.strip_prefix(&kernel.modules).unwrap_or(Path::new(""));
        parts.push(name.to_string_lossy().into_owned());
        parts.push(cache::sha256(file)?);
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    Ok(cache::key(&parts))
}

/// Collects all modules below `dir`.
fn modules(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let items = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    for item in items {
        let item = item?;
        let path = item.path();
        if item.file_type()?.is_dir() {
            modules(&path, found)?;
        } else if path.to_string_lossy().contains(".ko") {
            found.push(path);
        }
    }
    Ok(())
}
