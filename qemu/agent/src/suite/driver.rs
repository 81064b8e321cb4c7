// SPDX-License-Identifier: GPL-2.0
//! Which driver serves a disk, as the kernel says it.

use super::root::Disks;
use super::{SCRATCH_DIR, TEST_DIR};
use crate::fs::{tool_code, try_mount};
use crate::modules;
use anyhow::{ensure, Context, Result};
use notblk_protocol::{Driver, SuiteSpec};
use rustix::mount::{unmount, UnmountFlags};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// How often something must look wrong.
const LOOKS: u32 = 4;

/// Loads the driver. For notblk with an alias, ext4.ko must not be there before.
pub fn load(driver: Driver, spec: &SuiteSpec) -> Result<()> {
    let parameters: Vec<_> = match driver {
        Driver::Notblk => spec.module_parameters.iter().map(String::as_str).collect(),
        Driver::Ext4 => Vec::new(),
    };
    modules::load(driver.name(), &parameters)
        .with_context(|| format!("load {driver} with {parameters:?}"))
}

/// Makes the filesystem on a disk.
pub fn make(spec: &SuiteSpec, disk: &str) -> Result<()> {
    let (program, arguments) = spec.mkfs.split_first().context("the job names no mkfs")?;
    let mut arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    arguments.push(disk);
    let (code, text) = tool_code(program, &arguments)?;
    ensure!(
        code == 0,
        "{} {disk} ended with {code}: {}",
        spec.mkfs.join(" "),
        text.trim()
    );
    Ok(())
}

/// Mounts both disks and proves who serves them. `TEST` stays mounted.
pub fn prove(driver: Driver, spec: &SuiteSpec, disks: &Disks) -> Result<Vec<String>> {
    let mut proof = Vec::new();
    for (name, disk, place) in [
        ("TEST", &disks.test, TEST_DIR),
        ("SCRATCH", &disks.scratch, SCRATCH_DIR),
    ] {
        let mounting = format!(
            "mount -t {} -o {:?} {disk} {place}",
            spec.fstyp, spec.mount_options
        );
        try_mount(&spec.fstyp, disk, place, &spec.mount_options).with_context(|| {
            format!("{mounting}: {driver} refuses (the kernel's log may say why)")
        })?;
        let found = serving(disk).with_context(|| {
            format!("{mounting} succeeded, but neither notblk nor ext4 serves it")
        })?;
        ensure!(
            found == driver,
            "{name} is served by {found}, not by {driver}"
        );
        proof.push(format!(
            "{name} ({}, {}): {driver}, by {}",
            base(disk),
            spec.fstyp,
            sign(driver, disk)
        ));
    }
    unmount(SCRATCH_DIR, UnmountFlags::empty()).context("umount SCRATCH")?;
    Ok(proof)
}

/// What exists while the driver has the disk mounted.
fn sign(driver: Driver, disk: &str) -> String {
    match driver {
        Driver::Notblk => format!("/sys/kernel/debug/notblk/{}", base(disk)),
        Driver::Ext4 => format!("/sys/fs/ext4/{}", base(disk)),
    }
}

/// The one of the two drivers that has the disk mounted now.
fn serving(disk: &str) -> Option<Driver> {
    [Driver::Notblk, Driver::Ext4]
        .into_iter()
        .find(|&driver| Path::new(&sign(driver, disk)).exists())
}

/// Asks again, after a test, whether what is mounted on the suite's directories under the suite's type is still served by
/// `driver`. A test may mount something else there under another type; that is its own business.
pub fn prove_again(driver: Driver, fstyp: &str, disks: &Disks) -> Result<()> {
    for (name, disk, dir) in [
        ("TEST", &disks.test, TEST_DIR),
        ("SCRATCH", &disks.scratch, SCRATCH_DIR),
    ] {
        let mounted = || -> Result<bool> {
            let mounts = fs::read_to_string("/proc/self/mounts").context("read the mounts")?;
            Ok(is_mounted(&mounts, disk, dir, fstyp))
        };
        // The next test has begun, and may unmount and mount while we look: only what is mounted before and after the look,
        // and looks wrong again and again, is wrong.
        let mut wrong = None;
        for _ in 0..LOOKS {
            let before = mounted()?;
            let found = serving(disk);
            if !before || found == Some(driver) || !mounted()? {
                wrong = None;
                break;
            }
            wrong = Some(found.map_or("another", Driver::name));
            std::thread::sleep(Duration::from_millis(50));
        }
        if let Some(found) = wrong {
            anyhow::bail!("{name} is not served by {driver} any more, but by {found}");
        }
    }
    Ok(())
}

/// Whether the table of mounts has this disk on this directory with this type.
fn is_mounted(mounts: &str, disk: &str, dir: &str, fstyp: &str) -> bool {
    mounts.lines().any(|line| {
        let words: Vec<&str> = line.split(' ').take(3).collect();
        words == [disk, dir, fstyp]
    })
}

/// The last part of a path.
fn base(disk: &str) -> &str {
    disk.rsplit('/').next().unwrap_or(disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_told_by_disk_place_and_type() {
        let mounts = "proc /proc proc rw 0 0\n/dev/vdc /mnt/scratch ext4 rw 0 0\n/dev/vdb /mnt/test ext2 rw 0 0\n";
        assert!(is_mounted(mounts, "/dev/vdb", "/mnt/test", "ext2"));
        assert!(!is_mounted(mounts, "/dev/vdc", "/mnt/scratch", "ext2"));
        assert!(!is_mounted(mounts, "/dev/vdb", "/mnt/scratch", "ext2"));
    }
}
