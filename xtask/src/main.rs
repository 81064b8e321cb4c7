// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask`: the host side of notblk.
//!
//! Every command asks [`context::Ctx`] for what it needs, and what is missing is made on the way: the toolbox root, a
//! kernel, its build tree, the module, the static programs of the guest. All of it lives in the [`cache`].

mod bisect;
mod build;
mod cache;
mod cargo_static;
mod cli;
mod compare;
mod context;
mod doctor;
mod errors;
mod fstests;
mod guest;
mod hostile;
mod initramfs;
mod interrupt;
mod kernel;
mod kernels;
mod matrix;
mod process;
mod race;
mod setup;
mod shell;
mod test;
mod toolbox;
mod ui;
mod vm;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::cli::{Cli, Command};
use crate::context::Ctx;
use crate::errors::Code;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = bisect::code_of_usage(std::env::args()).filter(|_| error.use_stderr());
            let _ = error.print();
            return ExitCode::from(code.unwrap_or(error.exit_code() as u8));
        }
    };
    let code = run(cli).unwrap_or_else(|error| {
        let exit = errors::classify(&error);
        eprintln!("error: {}", exit.line);
        if let Some(hint) = exit.hint {
            eprintln!("hint: {hint}");
        }
        exit.code
    });
    ExitCode::from(code.0)
}

fn run(cli: Cli) -> Result<Code> {
    interrupt::install()?;
    let ctx = Ctx::new(cli.verbose, cli.locked, cli.toolchain)?;
    match cli.command {
        Command::Doctor(args) => doctor::run(&ctx, args),
        Command::Setup(args) => setup::run(&ctx, args),
        Command::Build(args) => build::run(&ctx, args),
        Command::Shell(args) => shell::run(&ctx, args),
        Command::Test(args) => test::run(&ctx, args),
        Command::Race(args) => race::run(&ctx, args),
        Command::Compare(args) => compare::run(&ctx, *args),
        Command::Hostile(args) => hostile::run(&ctx, *args),
        Command::Bisect(args) => bisect::run(&ctx, *args),
        Command::Matrix(args) => matrix::run(&ctx, args),
        Command::RunXfstests(args) => fstests::run(&ctx, *args),
        Command::Toolbox(args) => toolbox::run(&ctx, args),
        Command::Update => kernels::update(&ctx),
    }
}
