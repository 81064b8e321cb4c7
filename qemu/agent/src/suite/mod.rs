// SPDX-License-Identifier: GPL-2.0
//! xfstests, in a root of its own.
//!
//! - [`root`]: the root; [`services`]: what runs in it
//! - [`driver`]: the driver under test, and the proof that it is the one that serves the disks
//! - [`check`]: the suite's own program, for all tests of the boot
//! - [`parse`]: what it prints
//! - [`files`]: what it writes

mod check;
mod driver;
mod files;
mod parse;
mod root;
mod services;

use crate::{modules, Guest};
use anyhow::{anyhow, Context, Result};
use notblk_protocol::{Event, SuiteSpec};
use rustix::mount::{unmount, UnmountFlags};
use std::time::Instant;

/// The suite's directory in its root.
const SUITE: &str = "/xfstests";
/// `RESULT_BASE`
const RESULTS: &str = "/results";
/// `TEST_DIR`
const TEST_DIR: &str = "/mnt/test";
/// `SCRATCH_MNT`
const SCRATCH_DIR: &str = "/mnt/scratch";

/// Runs the tests given, by the suite's own `check`.
pub fn run(guest: &Guest, spec: &SuiteSpec) -> Result<()> {
    guest.host.step("the suite's root", 60)?;
    guest.kmsg.stream();
    let mut phases = Phases::new();
    for name in ["erofs", "overlay", "9pnet_virtio", "9p"] {
        modules::load(name, &[])?;
    }
    driver::load(guest.driver, spec)?;
    phases.end("modules");
    let disks = root::enter(&spec.tests)?;
    phases.end("root");

    guest.host.step("the suite's disks", 120)?;
    // Programs start slowly without KVM, so these run side by side.
    std::thread::scope(|scope| {
        let services = scope.spawn(services::start);
        let scratch = scope.spawn(|| driver::make(spec, &disks.scratch));
        driver::make(spec, &disks.test)?;
        for thread in [scratch, services] {
            thread.join().map_err(|_| anyhow!("a thread panicked"))??;
        }
        anyhow::Ok(())
    })?;
    phases.end("mkfs and udev");
    let proof = driver::prove(guest.driver, spec, &disks)?;
    phases.end("proof");
    guest.host.send(&Event::SuiteReady { proof })?;

    check::run(guest, spec, &disks)?;
    phases.end("tests");
    match unmount(TEST_DIR, UnmountFlags::empty()) {
        // check unmounts it when it ends.
        Ok(()) | Err(rustix::io::Errno::INVAL) => Ok(()),
        Err(error) => Err(error).context("unmount TEST"),
    }
}

/// Times of the phases, on the console.
struct Phases {
    begun: Instant,
}

impl Phases {
    fn new() -> Phases {
        Phases {
            begun: Instant::now(),
        }
    }

    fn end(&mut self, name: &str) {
        eprintln!("agent: {name}: {} ms", self.begun.elapsed().as_millis());
        self.begun = Instant::now();
    }
}
