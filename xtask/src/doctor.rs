// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask doctor`.

use anyhow::Result;

use crate::cli::DoctorArgs;
use crate::context::Ctx;
use crate::errors::Code;

/// `cargo xtask doctor`.
pub fn run(ctx: &Ctx, _args: DoctorArgs) -> Result<Code> {
    println!("cache {}", ctx.cache.root.display());
    Ok(Code::PASSED)
}
