// SPDX-License-Identifier: GPL-2.0

//! QEMU's command line.

use std::ffi::CString;
use std::fs::File;
use std::io::{PipeWriter, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};
use notblk_protocol::PORT;
use rustix::fs::MemfdFlags;
use rustix::io::FdFlags;

use super::{Accel, Machine};

/// The kernel's command line. With `panic=-1` and QEMU's `-no-reboot`, a panic ends QEMU at once. The level lets warnings
/// through to the console's log, where they are looked for when the agent could not send them; more would slow the boot
/// down. `printk.devkmsg=on` keeps the agent's marks in the kernel's log from being rate-limited, and
/// `sysrq_always_enabled` lets a guest that hangs be questioned whatever its user space set. Tests read and write the device of
/// a mounted filesystem, which not every kernel allows by itself.
const CMDLINE: &str = "console=ttyS0 loglevel=5 panic=-1 printk.devkmsg=on sysrq_always_enabled=1 \
    bdev_allow_write_mounted=1";

/// The processor that QEMU's translator plays. 5-level paging has shown wild accesses there that no hardware shows. `erms` and
/// `fsrm` say that string instructions are fast, so that the kernel would clear and copy each page by one; here they are a loop
/// of single bytes.
const TRANSLATED: &str = "max,la57=off,erms=off,fsrm=off";
/// More of its command line. Retpolines and the like guard against what a translator does not have, at a price for every call. A
/// processor that the host did not run for twenty seconds looks locked up to the kernel, which is no fault of its own: what
/// hangs is found by our clocks. Nor is its clock unreliable: 7.2's watchdog of clocks, once it has been kept waiting, comes again
/// and again without a pause, until the guest does nothing else. The timer works, too: the kernel counts its ticks at boot against
/// cycles, which go on while the host does something else, and panics where it has seen too few.
const TRANSLATED_CMDLINE: &str =
    " mitigations=off nowatchdog rcupdate.rcu_cpu_stall_suppress=1 tsc=nowatchdog \
    no_timer_check";

/// Files that QEMU inherits.
pub type Files = Vec<OwnedFd>;

/// An anonymous file in memory.
pub fn memory_file(name: &str) -> Result<File> {
    let name = CString::new(name).context("a name with a zero byte")?;
    let file = rustix::fs::memfd_create(&name, MemfdFlags::CLOEXEC)
        .context("cannot make a memory file")?;
    Ok(file.into())
}

/// The path by which a child finds the file, which every child that is started from now on inherits.
pub fn path_of(file: &impl AsFd) -> Result<String> {
    rustix::io::fcntl_setfd(file, FdFlags::empty()).context("cannot hand over a file")?;
    Ok(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()))
}

/// QEMU's command, and the files that it names, which must stay open until it has started.
pub struct Qemu {
    /// For the host to start.
    pub command: std::process::Command,
    /// Typed into the guest's console, if that is not the terminal.
    pub keys: Option<PipeWriter>,
    /// Closed when dropped.
    _files: Files,
}

/// Machine, kernel, initramfs, disks, shares, agent's port and console. Unnamed disks are made in `dir`.
pub fn command(machine: &Machine, agent: &UnixStream, log: &File, dir: &Path) -> Result<Qemu> {
    let accel = machine.accel;
    let mut initramfs = memory_file("initramfs")?;
    initramfs
        .write_all(machine.initramfs)
        .context("cannot write the initramfs")?;
    let (cpu, more) = match accel {
        Accel::Kvm => ("host", ""),
        Accel::Tcg => (TRANSLATED, TRANSLATED_CMDLINE),
    };
    let accelerator = match machine.counted {
        true => "tcg,thread=single",
        false => accel.argument(),
    };
    let counting: &[&str] = match machine.counted {
        true => &["-icount", "shift=0,sleep=off"],
        false => &[],
    };
    let mut command = machine
        .toolbox
        .command("qemu-system-x86_64")
        .cwd("/")
        .bind(&machine.kernel.image)
        .args(counting)
        .args(["-machine", "q35", "-nodefaults", "-no-user-config"])
        .args(["-accel", accelerator, "-cpu", cpu])
        .args([
            "-smp",
            &machine.cpus.to_string(),
            "-m",
            &machine.memory.to_string(),
        ])
        .args(["-display", "none", "-no-reboot", "-kernel"])
        .arg(&machine.kernel.image)
        .args([
            "-initrd",
            &path_of(&initramfs)?,
            "-append",
            &format!("{CMDLINE}{more} {}", machine.cmdline),
        ]);
    let mut files: Files = vec![initramfs.into()];

    path_of(agent)?;
    command = command
        .args(["-device", "virtio-serial-pci", "-chardev"])
        .arg(format!("socket,id=agent,fd={}", agent.as_raw_fd()))
        .arg("-device")
        .arg(format!("virtserialport,chardev=agent,name={PORT}"));

    for (number, drive) in machine.drives.iter().enumerate() {
        command = command.args(drive.arguments(number, dir, &mut files)?);
        if let Some(path) = drive.bind() {
            command = command.bind(path);
        }
    }
    for (number, share) in machine.shares.iter().enumerate() {
        command = command.args(share.arguments(number)).bind(&share.path);
    }

    let path = path_of(log)?;
    let (command, keys) = match machine.interactive {
        // Ctrl-C belongs to the guest; Ctrl-A x ends QEMU.
        true => {
            let command = command
                .arg("-chardev")
                .arg(format!(
                    "stdio,id=console,mux=on,signal=off,logfile={path},logappend=on"
                ))
                .args(["-serial", "chardev:console", "-mon", "chardev=console"]);
            (command, None)
        }
        // A multiplexer, because that understands an escape sequence for BREAK.
        false => {
            let (reader, writer) = std::io::pipe().context("cannot make a pipe")?;
            let keys = path_of(&reader)?;
            files.push(reader.into());
            let command = command
                .arg("-chardev")
                .arg(format!(
                    "file,id=console,mux=on,path={path},append=on,input-path={keys}"
                ))
                .args(["-serial", "chardev:console"]);
            (command, Some(writer))
        }
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
        keys,
        _files: files,
    })
}
