// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask test`.

use anyhow::Result;

use crate::context::Ctx;
use crate::errors::{Code, Exit};

/// Options of `test`.
#[derive(clap::Args)]
pub struct Args {}

/// `cargo xtask test`.
pub fn run(_ctx: &Ctx, _args: Args) -> Result<Code> {
    Err(Exit::usage("not built in yet").into())
}
