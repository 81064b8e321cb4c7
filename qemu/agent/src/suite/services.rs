// SPDX-License-Identifier: GPL-2.0
//! What runs beside the suite: udev, and the loopback interface.

use crate::fs::tool;
use anyhow::{ensure, Context, Result};
use rustix::mount::mount_bind;
use std::fs;
use std::path::Path;

/// udev's program in the root.
const UDEVD: &str = "/usr/lib/systemd/systemd-udevd";
/// Its rules in the root.
const RULES: &str = "/usr/lib/udev/rules.d";
/// The rules that are kept: device nodes, device-mapper and its answer to dmsetup, modules by alias.
///
/// The others would look into every disk that a program has written to and closed, at each mkfs of each
/// test: some 200 ms without KVM, during which udev holds the disk open.
const KEPT: &[&str] = &[
    "50-udev-default.rules",
    "55-dm.rules",
    "56-lvm.rules",
    "80-drivers.rules",
    "95-dm-notify.rules",
];

/// Starts them. Without udev `dmsetup` waits for ever.
pub fn start() -> Result<()> {
    ensure!(Path::new(UDEVD).exists(), "the suite's root has no {UDEVD}");
    keep_rules().context("keep some rules of udev")?;
    tool(UDEVD, &["--daemon"])?;
    tool(
        "udevadm",
        &["trigger", "--action=add", "--subsystem-match=block"],
    )?;
    tool("ip", &["link", "set", "lo", "up"]).map(drop)
}

/// Puts the kept rules in the place of all.
fn keep_rules() -> Result<()> {
    let place = "/run/udev-rules";
    fs::create_dir_all(place)?;
    for name in KEPT {
        fs::copy(Path::new(RULES).join(name), Path::new(place).join(name))
            .with_context(|| format!("copy {name}"))?;
    }
    mount_bind(place, RULES)?;
    Ok(())
}
