// SPDX-License-Identifier: GPL-2.0

//! The command line.

use std::ffi::OsString;

use clap::{Args, Parser, Subcommand};

use crate::kernel::toolchain::Toolchain;
use crate::{bisect, compare, fstests, hostile, matrix, race, shell, test};

/// The laboratory around notblk: provisions, builds, boots and judges.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
pub struct Cli {
    /// Show the output of child processes as it comes
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Refuse to touch qemu/kernels.lock
    #[arg(long, global = true)]
    pub locked: bool,
    /// What compiles kernels, and modules for them [default: gcc, or llvm where the options want it]
    #[arg(long, global = true, value_enum)]
    pub toolchain: Option<Toolchain>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Subcommand)]
pub enum Command {
    /// Look at this host and say what is missing
    Doctor(DoctorArgs),
    /// Install, make and fetch all that the other commands need (they also do it by themselves)
    Setup(KernelArgs),
    /// Build notblk.ko
    Build(BuildArgs),
    /// A prompt in the guest, with the module inserted and scratch disks attached
    Shell(shell::Args),
    /// Run the tests, on the host and in the guest
    Test(test::Args),
    /// Show the fallback race, without the drain and with it
    Race(race::Args),
    /// Do the same random operations on notblk and on the kernel's C driver, and show where they differ
    Compare(Box<compare::Args>),
    /// Mount images that somebody has tampered with, and keep those that the driver cannot stand
    Hostile(Box<hostile::Args>),
    /// Find the commit of a kernel or of the module from which on something shows itself, be it in some runs only
    Bisect(Box<bisect::Args>),
    /// Build, boot, test and race over kernels and configurations, in one table
    Matrix(matrix::Args),
    /// Run xfstests, which you have built, in guests; judge, keep and compare the results
    RunXfstests(Box<fstests::Args>),
    /// Run a command in the toolbox, in the current directory
    Toolbox(ToolboxArgs),
    /// Resolve all kernels of qemu/kernels.toml again and write qemu/kernels.lock
    Update,
}

/// Options of `doctor`.
#[derive(Args)]
pub struct DoctorArgs {
    /// Also try to reach the package archive
    #[arg(long)]
    pub online: bool,
}

/// The choice of a kernel.
#[derive(Args, Clone)]
pub struct KernelArgs {
    /// The kernel: a name of qemu/kernels.toml, a series or version of the archive, `debug`, or `tree:DIR[@REVISION]`; with
    /// +FRAGMENT of qemu/kconfig its source is compiled [default: the file's default]
    #[arg(long, value_name = "KERNEL")]
    pub kernel: Option<String>,
}

/// Options of `build`.
#[derive(Args)]
pub struct BuildArgs {
    /// The kernel to build for
    #[command(flatten)]
    pub kernel: KernelArgs,
    /// Check with Clippy as well
    #[arg(long)]
    pub clippy: bool,
}

/// The command of `toolbox`.
#[derive(Args)]
pub struct ToolboxArgs {
    /// The command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    pub command: Vec<OsString>,
}
