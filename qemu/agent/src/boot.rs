// SPDX-License-Identifier: GPL-2.0
//! The first and the last thing that PID 1 does.

use anyhow::{Context, Result};
use rustix::mount::{mount, MountFlags};
use rustix::system::{reboot, RebootCommand};
use std::fs;

/// Mounts the kernel's own filesystems and makes the directories that jobs mount on.
pub fn mount_basics() -> Result<()> {
    for (kind, place) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("debugfs", "/sys/kernel/debug"),
        ("tmpfs", "/tmp"),
    ] {
        fs::create_dir_all(place).with_context(|| format!("mkdir {place}"))?;
        mount(kind, place, kind, MountFlags::empty(), None)
            .with_context(|| format!("mount {kind} on {place}"))?;
    }
    fs::create_dir_all("/mnt")?;
    fs::create_dir_all("/mnt2")?;
    // e2fsprogs look at /etc/mtab before they touch a device.
    fs::create_dir_all("/etc")?;
    std::os::unix::fs::symlink("/proc/self/mounts", "/etc/mtab").or_else(|error| {
        (error.kind() == std::io::ErrorKind::AlreadyExists)
            .then_some(())
            .ok_or(error)
    })?;
    std::env::set_var("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    std::env::set_var("HOME", "/tmp");
    std::env::set_var("TERM", "linux");
    Ok(())
}

/// `uname -r`.
pub fn release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// Ends the machine. PID 1 must not return: the kernel would panic.
pub fn power_off() -> ! {
    rustix::fs::sync();
    // Whatever reboot answers, there is nothing left to do but to stay.
    let _ = reboot(RebootCommand::PowerOff);
    loop {
        std::thread::park();
    }
}
