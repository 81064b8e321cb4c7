// SPDX-License-Identifier: GPL-2.0

//! KVM where it works, else QEMU's own translator.
//!
//! `/dev/kvm` may exist and open, and KVM still not run a guest (nested virtualisation half configured); only running
//! one tells. So a boot sector of four instructions is run, which ends QEMU with a code of its own choice.

use std::fmt;
use std::io::Write;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::context::Ctx;
use crate::process::Group;
use crate::toolbox::Toolbox;

use super::qemu;

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// The processor itself.
    Kvm,
    /// QEMU's translator, some ten times slower.
    Tcg,
}

/// `mov al, 0x15; mov dx, 0x501; out dx, al; hlt`
const BOOT_CODE: [u8; 7] = [0xb0, 0x15, 0xba, 0x01, 0x05, 0xee, 0xf4];
/// What QEMU's `isa-debug-exit` makes of 0x15.
const ANSWER: i32 = 0x15 << 1 | 1;
/// How long the four instructions may take, with the firmware before them.
const PATIENCE: Duration = Duration::from_secs(8);

impl Accel {
    /// What works here; found out once.
    pub fn find(ctx: &Ctx, toolbox: &Toolbox) -> Result<Accel> {
        static FOUND: OnceLock<Accel> = OnceLock::new();
        if let Some(found) = FOUND.get() {
            return Ok(*found);
        }
        let usable = rustix::fs::access("/dev/kvm", rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK);
        let found = match usable.is_ok() && kvm_runs(toolbox)? {
            true => Accel::Kvm,
            false => Accel::Tcg,
        };
        if found == Accel::Tcg && ctx.ui.verbose() {
            ctx.ui.note("KVM does not work here: the guest runs on QEMU's translator");
        }
        Ok(*FOUND.get_or_init(|| found))
    }

    /// QEMU's words for it.
    pub fn argument(self) -> &'static str {
        match self {
            Accel::Kvm => "kvm",
            Accel::Tcg => "tcg,thread=multi",
        }
    }

    /// A time limit, given for KVM, as it is here.
    pub fn scale(self, limit: Duration) -> Duration {
        match self {
            Accel::Kvm => limit,
            Accel::Tcg => limit * 4,
        }
    }
}

impl fmt::Display for Accel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Accel::Kvm => "KVM",
            Accel::Tcg => "TCG",
        })
    }
}

/// Runs the boot sector under KVM.
fn kvm_runs(toolbox: &Toolbox) -> Result<bool> {
    let mut sector = vec![0; 512];
    sector[..BOOT_CODE.len()].copy_from_slice(&BOOT_CODE);
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    let mut disk = qemu::memory_file("kvm-probe")?;
    disk.write_all(&sector).context("cannot write to a memory file")?;
    let mut command = toolbox
        .command("qemu-system-x86_64")
        .args(["-accel", "kvm", "-machine", "pc", "-nodefaults", "-display", "none", "-m", "16"])
        .args(["-device", "isa-debug-exit,iobase=0x501,iosize=1", "-drive"])
        .arg(format!("if=ide,format=raw,file={}", qemu::path_of(&disk)?))
        .cwd("/")
        .build();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut group = Group::spawn(&mut command)?;
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(status) = group.try_wait()? {
            return Ok(status.code() == Some(ANSWER));
        }
        crate::interrupt::check()?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(false)
}
