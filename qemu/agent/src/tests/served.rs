// SPDX-License-Identifier: GPL-2.0
//! The disk of the tests that say what the disk answers, and when.

use super::env::Skip;
use crate::fs::tool;
use crate::modules;
use crate::sys::nbd;
use anyhow::{bail, Context, Result};

/// A disk that can be told what to answer, with an empty filesystem of 16 MiB.
pub(super) fn served_disk() -> Result<nbd::Disk> {
    modules::load("nbd", &[])?;
    let Some(disk) = nbd::Disk::new(16 << 20).context("the disk")? else {
        bail!(Skip("kernel has no nbd".into()));
    };
    tool(
        "mke2fs",
        &["-q", "-F", "-t", "ext2", "-b", "1024", nbd::PATH],
    )?;
    Ok(disk)
}
