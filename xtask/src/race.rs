// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask race`.

use anyhow::Result;

use crate::context::Ctx;
use crate::errors::{Code, Exit};

/// Options of `race`.
#[derive(clap::Args)]
pub struct Args {}

/// `cargo xtask race`.
pub fn run(_ctx: &Ctx, _args: Args) -> Result<Code> {
    Err(Exit::usage("not built in yet").into())
}
