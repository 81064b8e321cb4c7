// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask shell`.

use anyhow::Result;

use crate::context::Ctx;
use crate::errors::{Code, Exit};

/// Options of `shell`.
#[derive(clap::Args)]
pub struct Args {}

/// `cargo xtask shell`.
pub fn run(_ctx: &Ctx, _args: Args) -> Result<Code> {
    Err(Exit::usage("not built in yet").into())
}
