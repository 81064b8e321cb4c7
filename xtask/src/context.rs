// SPDX-License-Identifier: GPL-2.0

//! What every command has at hand.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};

use crate::cache::Cache;
use crate::kernel::toolchain::Toolchain;
use crate::kernel::{self, Kernel, Want};
use crate::toolbox::{self, Toolbox};
use crate::ui::Ui;
use crate::{build, cargo_static};

/// The tools of a command. Clones share caches and screen, and may go to other threads.
#[derive(Clone)]
pub struct Ctx {
    /// For short commands on the host; see [`crate::process::host_cmd`].
    pub sh: xshell::Shell,
    /// The repository.
    pub repo: PathBuf,
    /// The cache.
    pub cache: Cache,
    /// Progress.
    pub ui: Ui,
    /// True where the lock of kernels must stay as it is.
    pub locked: bool,
    /// What compiles kernels, where the user has a wish.
    pub toolchain: Option<Toolchain>,
    toolbox: Arc<OnceLock<Toolbox>>,
}

impl Ctx {
    /// The tools for this process.
    pub fn new(verbose: bool, locked: bool, toolchain: Option<Toolchain>) -> Result<Self> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let repo = manifest
            .parent()
            .context("xtask has no directory above it")?
            .canonicalize()
            .context("the repository has moved: run this by `cargo xtask`")?;
        let ui = Ui::new(verbose);
        let cache = Cache::open()?;
        cache.sweep(&ui)?;
        Ok(Ctx {
            sh: xshell::Shell::new()?,
            repo,
            cache,
            ui,
            locked,
            toolchain,
            toolbox: Arc::default(),
        })
    }

    /// The toolbox; made when it is missing.
    pub fn toolbox(&self) -> Result<Toolbox> {
        if let Some(toolbox) = self.toolbox.get() {
            return Ok(toolbox.clone());
        }
        let toolbox = toolbox::provide(self)?;
        Ok(self.toolbox.get_or_init(|| toolbox).clone())
    }

    /// The kernel called `name` (the default one for `None`), ready for what is wanted of it.
    pub fn kernel(&self, name: Option<&str>, want: Want) -> Result<Kernel> {
        kernel::provide(self, name, want)
    }

    /// Builds `notblk.ko` for `kernel`, which must have been asked for with [`Want::Tree`]; returns its path.
    pub fn build_module(&self, toolbox: &Toolbox, kernel: &Kernel) -> Result<PathBuf> {
        build::module(self, toolbox, kernel, build::Options::default())
    }

    /// Builds a static program for the guest; returns its path.
    pub fn cargo_static(&self, program: &cargo_static::Program) -> Result<PathBuf> {
        cargo_static::provide(self, program)
    }
}
