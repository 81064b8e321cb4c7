// SPDX-License-Identifier: GPL-2.0

//! KVM where it works, else QEMU's own translator.
//!
//! `/dev/kvm` may exist, open, and even run a boot sector, and KVM still fail in the middle of a kernel (half configured
//! nested virtualisation); only booting one tells. So a kernel without a root filesystem is booted once: where KVM works
//! it panics within two seconds, as it should. The answer is kept until the host boots again.

use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::Access;

use crate::context::Ctx;
use crate::kernel::Kernel;
use crate::process::Group;
use crate::toolbox::Toolbox;

use super::qemu;

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Accel {
    /// The processor itself
    Kvm,
    /// QEMU's translator, some ten times slower
    Tcg,
}

/// How long a kernel may take to its panic under KVM.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the kernel says when it has come as far as it can without a root filesystem.
const ARRIVED: &str = "Kernel panic - not syncing: VFS";
/// What QEMU says when KVM gives up; QEMU itself then stays.
const GIVEN_UP: [&str; 2] = ["KVM internal error", "emulation failure"];

impl Accel {
    /// What works here.
    pub fn find(ctx: &Ctx, toolbox: &Toolbox, kernel: &Kernel) -> Result<Accel> {
        if rustix::fs::access("/dev/kvm", Access::READ_OK | Access::WRITE_OK).is_err() {
            return Ok(Accel::Tcg);
        }
        let boot =
            fs::read_to_string("/proc/sys/kernel/random/boot_id").context("which boot this is")?;
        let kept = ctx.cache.work_dir("accel")?.join("kvm");
        let works = format!("works {boot}");
        let fails = format!("fails {boot}");
        match fs::read_to_string(&kept) {
            Ok(text) if text == works => return Ok(Accel::Kvm),
            Ok(text) if text == fails => return Ok(Accel::Tcg),
            _ => {}
        }
        let step = ctx.ui.step("kvm", "trying whether it boots a kernel");
        let found = match kvm_boots(toolbox, kernel)? {
            true => Accel::Kvm,
            false => Accel::Tcg,
        };
        step.done(match found {
            Accel::Kvm => "works",
            Accel::Tcg => "does not work on this host: guests run on QEMU's translator (TCG)",
        });
        fs::write(&kept, if found == Accel::Kvm { works } else { fails })
            .context("cannot keep the answer about KVM")?;
        Ok(found)
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

/// Boots a kernel under KVM, to its panic.
fn kvm_boots(toolbox: &Toolbox, kernel: &Kernel) -> Result<bool> {
    let log = qemu::memory_file("kvm-probe")?;
    let mut command = toolbox
        .command("qemu-system-x86_64")
        .cwd("/")
        .bind(&kernel.image)
        .args([
            "-accel",
            "kvm",
            "-cpu",
            "host",
            "-machine",
            "q35",
            "-nodefaults",
            "-display",
            "none",
        ])
        .args(["-m", "512", "-no-reboot", "-kernel"])
        .arg(&kernel.image)
        .args(["-append", "console=ttyS0 panic=-1", "-chardev"])
        .arg(format!(
            "file,id=console,append=on,path={}",
            qemu::path_of(&log)?
        ))
        .args(["-serial", "chardev:console"])
        .build();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.try_clone()?);
    let mut group = Group::spawn(&mut command)?;
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let ended = group.try_wait()?.is_some();
        let text = contents(&log)?;
        if text.contains(ARRIVED) {
            return Ok(true);
        }
        if ended || GIVEN_UP.iter().any(|sign| text.contains(sign)) {
            return Ok(false);
        }
        crate::interrupt::check()?;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(false)
}

/// All that was written so far. Opened anew, because the place in the file is shared with those who write.
fn contents(log: &File) -> Result<String> {
    let mut bytes = Vec::new();
    let mut reader = File::open(qemu::path_of(log)?).context("cannot read what QEMU says")?;
    reader.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
