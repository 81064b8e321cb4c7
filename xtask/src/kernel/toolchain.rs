// SPDX-License-Identifier: GPL-2.0

//! Whose compilers build a kernel and the modules for it.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use clap::ValueEnum;

use crate::errors::Exit;
use crate::process;
use crate::toolbox::{which, Toolbox};

/// `--toolchain`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Toolchain {
    /// The toolbox's gcc
    #[default]
    Gcc,
    /// The toolbox's clang
    Llvm,
    /// This host's gcc, with its rustc and bindgen
    HostGcc,
    /// This host's clang, with its rustc and bindgen
    HostLlvm,
}

impl Toolchain {
    /// What `make` must be told.
    pub fn arguments(self) -> &'static [&'static str] {
        match self {
            Toolchain::Gcc | Toolchain::HostGcc => &[],
            Toolchain::Llvm | Toolchain::HostLlvm => &["LLVM=1"],
        }
    }

    /// Stands for it in keys of the cache: its name, and what the host's compilers call themselves.
    pub fn key(self) -> Result<String> {
        let mut key = format!("{self:?}");
        if self.is_host() {
            self.check_host()?;
            for program in ["gcc", "clang", "rustc", "bindgen"] {
                let output = process::host_command(program)
                    .envs(process::cargo_env())
                    .arg("--version")
                    .output();
                if let Ok(output) = output {
                    key.push_str(&String::from_utf8_lossy(&output.stdout));
                }
            }
        }
        Ok(key)
    }

    /// True for this host's own.
    pub fn is_host(self) -> bool {
        matches!(self, Toolchain::HostGcc | Toolchain::HostLlvm)
    }

    /// A `make` in `dir`, below the cache, with what the toolchain wants of it.
    pub fn make(self, toolbox: &Toolbox, dir: &Path, arguments: &[String]) -> Result<Command> {
        if self.is_host() {
            self.check_host()?;
            let mut command = process::host_command("make");
            command
                // Where rustup was moved to: it would not find its compiler otherwise.
                .envs(process::cargo_env())
                .args(self.arguments())
                .args(arguments)
                .current_dir(dir);
            return Ok(command);
        }
        Ok(toolbox
            .command("make")
            .args(self.arguments())
            .args(arguments)
            .cwd(dir)
            .build())
    }

    /// Fails where this host lacks one of its programs.
    fn check_host(self) -> Result<()> {
        let compiler: &[&str] = match self {
            Toolchain::HostLlvm => &["clang", "ld.lld", "llvm-ar"],
            _ => &["gcc", "ld"],
        };
        let common = ["make", "flex", "bison", "bc", "rustc", "bindgen"];
        let missing: Vec<&str> = compiler
            .iter()
            .copied()
            .chain(common)
            .filter(|program| which(program).is_none())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Exit::host(format!(
            "this host cannot build a kernel: it lacks {}",
            missing.join(", ")
        ))
        .hint("install them, or leave --toolchain out to use the toolbox's")
        .into())
    }
}
