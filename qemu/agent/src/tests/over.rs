// SPDX-License-Identifier: GPL-2.0
//! The test's disk, through a device of device-mapper over all of it.

use super::env::{Env, Skip};
use crate::fs::{Mounted, DISK, MNT};
use crate::modules;
use crate::sys::dm::{self, Dm};
use anyhow::{bail, Context, Result};
use notblk_protocol::Driver;

/// Loads a target of device-mapper, or ends the test as skipped.
pub(super) fn load_target(module: &str) -> Result<()> {
    modules::load(module, &[])?;
    if !dm::is_there() {
        bail!(Skip("kernel has no device-mapper".into()));
    }
    Ok(())
}

/// A device that passes everything on to [`DISK`], until it is told to do something else.
///
/// With a filesystem mounted through it, that disk's own node has no part in the cache of metadata: who reads it has what the
/// disk has, and nothing is written for his sake.
pub(super) struct Over {
    device: Dm,
    driver: Driver,
}

impl Over {
    /// Makes it. `module` has the target that it will be told to be.
    pub(super) fn new(env: &Env, module: &str) -> Result<Over> {
        load_target(module)?;
        let sectors = u64::from(env.image.mib) << 11;
        let device =
            Dm::new("over", sectors, "linear", &format!("{DISK} 0")).context("device-mapper")?;
        Ok(Over {
            device,
            driver: env.driver(),
        })
    }

    /// Mounts what is on it.
    pub(super) fn mount(&self, options: &str) -> Result<Mounted> {
        Mounted::new(self.driver, &self.device.path(), MNT, options)
    }

    /// The device's node.
    pub(super) fn path(&self) -> String {
        self.device.path()
    }

    /// It is this target from now on, with all of the disk, and these parameters besides.
    pub(super) fn turn_into(&self, target: &str, parameters: &str) -> Result<()> {
        let parameters = match target {
            "error" => String::new(),
            _ => format!("{DISK} 0 {parameters}"),
        };
        self.device
            .switch(target, parameters.trim_end())
            .with_context(|| format!("switch to {target}"))
    }

    /// It passes everything on again.
    pub(super) fn pass(&self) -> Result<()> {
        self.turn_into("linear", "")
    }

    /// From now on requests wait.
    pub(super) fn suspend(&self) -> Result<()> {
        self.device.suspend().context("suspend")
    }

    /// They go on.
    pub(super) fn resume(&self) -> Result<()> {
        self.device.resume().context("resume")
    }
}
