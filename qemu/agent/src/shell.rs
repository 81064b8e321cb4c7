// SPDX-License-Identifier: GPL-2.0
//! The prompt in the guest, and single commands.

use crate::fs::{self, Image, Mounted, DISK, DISK2, MNT};
use crate::Guest;
use anyhow::{Context, Result};
use notblk_protocol::{Driver, Event};
use std::fs::OpenOptions;
use std::io::Read;
use std::process::{Command, Stdio};

/// Makes and mounts the first disk; the second is left blank.
fn prepare(guest: &Guest) -> Result<Mounted> {
    guest.host.step("prepare the shell", 60)?;
    // udev is not there to give everybody the disks; root is all there is.
    fs::tool("busybox", &["--install", "-s", "/bin"])?;
    fs::load(guest.driver)?;
    fs::make(
        guest.driver,
        DISK,
        Image {
            mib: 256,
            ..Image::default()
        },
    )?;
    Mounted::new(guest.driver, DISK, MNT, "")
}

/// An interactive shell on the serial console, until it exits.
pub fn interactive(guest: &Guest) -> Result<()> {
    let mounted = prepare(guest)?;
    // No limit: a person may think for as long as they like.
    guest.host.step("shell", 0)?;
    let console = || {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/ttyS0")
            .context("open the console")
    };
    let driver = guest.driver;
    let extra = match driver {
        Driver::Notblk => "counters: /sys/kernel/debug/notblk/vda/counters; ",
        Driver::Ext4 => "",
    };
    println!(
        "\n{driver} is inserted; {DISK} is mounted on {MNT}, {DISK2} is blank.\n\
         {extra}mkfs.notblk and fsck.notblk are here.\n\
         `exit` powers off, Ctrl-A x kills the machine.\n"
    );
    // setsid makes the shell a session leader, and -c the console its controlling terminal: without
    // one there is no job control and no Ctrl-C.
    let status = Command::new("busybox")
        .args(["setsid", "-c", "busybox", "sh", "-l"])
        .env("PS1", "notblk:\\w# ")
        .current_dir(MNT)
        .stdin(console()?)
        .stdout(console()?)
        .stderr(console()?)
        .status()
        .context("run the shell")?;
    guest.host.send(&Event::Exit {
        code: status.code().unwrap_or(1),
    })?;
    // Something that the person left running may keep it busy; the machine ends anyhow.
    drop(mounted);
    Ok(())
}

/// One command; its output goes to the host.
pub fn command(guest: &Guest, command: &str) -> Result<()> {
    let mounted = prepare(guest)?;
    guest.host.step(command, 0)?;
    let (mut output, theirs) = std::io::pipe()?;
    let mut shell = Command::new("busybox");
    shell
        .args(["sh", "-c", command])
        .current_dir(MNT)
        .stdin(Stdio::null())
        .stdout(theirs.try_clone()?)
        .stderr(theirs);
    let mut child = shell.spawn().context("run the command")?;
    // The builder holds the writing ends of the pipe: without this, reading would never end.
    drop(shell);
    let mut piece = [0; 4096];
    loop {
        match output.read(&mut piece)? {
            0 => break,
            length => guest.host.send(&Event::Output {
                text: String::from_utf8_lossy(&piece[..length]).into_owned(),
            })?,
        }
    }
    let code = child.wait()?.code().unwrap_or(1);
    guest.host.send(&Event::Exit { code })?;
    drop(mounted);
    Ok(())
}
