// SPDX-License-Identifier: GPL-2.0

//! QEMU's command line.

use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use anyhow::{Context, Result};
use notblk_protocol::PORT;
use rustix::fs::MemfdFlags;
use rustix::io::FdFlags;

use super::{Accel, Machine};

/// The kernel's command line. With `panic=-1` and QEMU's `-no-reboot`, a panic ends QEMU at once. The level lets warnings
/// through to the console's log, where they are looked for when the agent could not send them; more would slow the boot
/// down. `printk.devkmsg=on` keeps the agent's marks in the kernel's log from being rate-limited.
const CMDLINE: &str = "console=ttyS0 loglevel=5 panic=-1 printk.devkmsg=on";

/// Writes per second to a slow disk: a rate that a few busy threads exceed at once, so that each write then waits for its
/// turn for tens of milliseconds.
const SLOW: &str = "throttling.iops-write=200";

/// Sizes of the scratch disks in MiB. Sparse, so only what the guest writes takes memory.
const DISKS: [u64; 2] = [512, 512];

/// An anonymous file in memory that a child inherits.
pub fn memory_file(name: &str) -> Result<File> {
    let name = CString::new(name).context("a name with a zero byte")?;
    let file = rustix::fs::memfd_create(&name, MemfdFlags::empty())
        .context("cannot make a memory file")?;
    Ok(file.into())
}

/// The path by which a child that inherits the file finds it.
pub fn path_of(file: &impl AsFd) -> Result<String> {
    rustix::io::fcntl_setfd(file, FdFlags::empty()).context("cannot hand over a file")?;
    Ok(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()))
}

/// QEMU's command, and the files that it names, which must stay open until it has started.
pub struct Qemu {
    /// For the host to start.
    pub command: std::process::Command,
    /// Closed when dropped.
    _files: Vec<File>,
}

/// Machine, kernel, initramfs, disks, agent's port and console.
pub fn command(machine: &Machine, accel: Accel, agent: &UnixStream, log: &File) -> Result<Qemu> {
    let mut initramfs = memory_file("initramfs")?;
    initramfs
        .write_all(machine.initramfs)
        .context("cannot write the initramfs")?;
    // 5-level paging under TCG has shown wild accesses that no hardware shows.
    let cpu = match accel {
        Accel::Kvm => "host",
        Accel::Tcg => "max,la57=off",
    };
    let mut command = machine
        .toolbox
        .command("qemu-system-x86_64")
        .cwd("/")
        .bind(&machine.kernel.vmlinuz)
        .args(["-machine", "q35", "-nodefaults", "-no-user-config"])
        .args(["-accel", accel.argument(), "-cpu", cpu])
        .args([
            "-smp",
            &machine.cpus.to_string(),
            "-m",
            &machine.memory.to_string(),
        ])
        .args(["-display", "none", "-no-reboot", "-kernel"])
        .arg(&machine.kernel.vmlinuz)
        .args(["-initrd", &path_of(&initramfs)?, "-append", CMDLINE]);
    let mut files = vec![initramfs];

    path_of(agent)?;
    command = command
        .args(["-device", "virtio-serial-pci", "-chardev"])
        .arg(format!("socket,id=agent,fd={}", agent.as_raw_fd()))
        .arg("-device")
        .arg(format!("virtserialport,chardev=agent,name={PORT}"));

    for (number, mib) in DISKS.into_iter().enumerate() {
        let disk = memory_file("disk")?;
        disk.set_len(mib << 20).context("cannot make a disk")?;
        // Requests go through QEMU's thread pool, so they are under way for a while and end out of order, as on a real
        // disk; flushes have nothing to do, because the disk never outlives QEMU.
        let mut drive =
            format!("if=none,id=disk{number},format=raw,cache=unsafe,aio=threads,discard=unmap");
        if number == 1 && machine.slow_disk {
            drive = format!("{drive},{SLOW}");
        }
        command = command
            .arg("-drive")
            .arg(format!("{drive},file={}", path_of(&disk)?))
            .arg("-device")
            .arg(format!("virtio-blk-pci,drive=disk{number}"));
        files.push(disk);
    }

    let path = path_of(log)?;
    command = match machine.interactive {
        // Ctrl-C belongs to the guest; Ctrl-A x ends QEMU.
        true => command
            .arg("-chardev")
            .arg(format!(
                "stdio,id=console,mux=on,signal=off,logfile={path},logappend=on"
            ))
            .args(["-serial", "chardev:console", "-mon", "chardev=console"]),
        false => command
            .arg("-chardev")
            .arg(format!("file,id=console,path={path},append=on"))
            .args(["-serial", "chardev:console"]),
    };
    let mut command = command.build();
    if !machine.interactive {
        // What QEMU itself complains about stands in the same log.
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?);
    }
    Ok(Qemu {
        command,
        _files: files,
    })
}
