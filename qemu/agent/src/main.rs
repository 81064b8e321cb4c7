// SPDX-License-Identifier: GPL-2.0
//! PID 1 of the guest.
//!
//! Mounts what every Linux needs, opens the virtio-serial port to the host, asks for a job, runs
//! it, reports as it goes and powers the machine off. The host believes only what is said over
//! that port: every way of dying silently reads there as a failure, which is why nothing here
//! tries to hide one.
//!
//! - [`boot`], [`modules`], [`host`], [`kmsg`]: getting up, and the two channels that are watched
//! - [`fs`], [`buf`], [`sys`], [`fault`]: what workloads and tests are written with
//! - [`watchers`]: lockdep and kmemleak, where the kernel has them
//! - [`race`]: the main job
//! - [`lab`]: race specs
//! - [`compare`]: one sequence of operations on two drivers
//! - [`hostile`]: images that somebody has tampered with
//! - [`tests`]: the guest tests, one file per subject
//! - [`suite`]: xfstests, in a root of its own
//! - [`shell`]: the prompt

mod attributes;
mod boot;
mod buf;
mod compare;
mod cost;
mod fault;
mod fs;
mod host;
mod hostile;
mod kmsg;
mod lab;
mod modules;
mod quota;
mod race;
mod shell;
mod suite;
mod sys;
mod tests;
mod watchers;

use anyhow::{Context, Result};
use host::Host;
use kmsg::Kmsg;
use notblk_protocol::{Driver, Event, Work};

/// What every job needs.
pub struct Guest {
    /// The way to the host.
    host: Host,
    /// The kernel's log.
    kmsg: Kmsg,
    /// The driver under test.
    driver: Driver,
}

fn main() {
    if std::process::id() != 1 {
        // On the host, where all it can do is to say which tests it has.
        match serde_json::to_string(&tests::list()) {
            Ok(text) if std::env::args().nth(1).as_deref() == Some("list") => println!("{text}"),
            _ => eprintln!("this is PID 1 of the guest; on a host it knows the word `list` only"),
        }
        return;
    }
    // A panic is reported like any other failure: its text goes over the console, the port
    // closes without `Done`, and the host sees a guest that died.
    let result = run();
    if let Err(error) = &result {
        eprintln!("agent: {error:#}");
    }
    boot::power_off();
}

/// Boot, one job, and the report of how it went.
fn run() -> Result<()> {
    boot::mount_basics()?;
    modules::load("virtio_blk", &[])?;
    let host = Host::open()?;
    let kmsg = Kmsg::follow(host.clone())?;
    let kernel = boot::release();
    let job = host.ask(&kernel)?;
    let guest = Guest {
        host,
        kmsg,
        driver: job.driver,
    };
    let done = match job.work {
        Work::Race { rows } => race::run(&guest, &rows).and_then(|()| watchers::ask(&guest)),
        Work::Lab { specs } => lab::run(&guest, &specs).and_then(|()| watchers::ask(&guest)),
        Work::Cost(spec) => cost::run(&guest, spec),
        Work::Test(spec) => tests::run(&guest, &spec).and_then(|()| watchers::ask(&guest)),
        Work::Compare(spec) => compare::run(&guest, &spec).and_then(|()| watchers::ask(&guest)),
        Work::Hostile(spec) => hostile::run(&guest, &spec).and_then(|()| watchers::ask(&guest)),
        Work::Suite(spec) => suite::run(&guest, &spec).and_then(|()| watchers::ask(&guest)),
        Work::Shell => shell::interactive(&guest),
        Work::Command { command } => shell::command(&guest, &command),
    };
    // The log is read to its end first: a warning that came with the last action counts.
    guest.kmsg.settle()?;
    match done {
        Ok(()) => guest.host.send(&Event::Done),
        Err(error) => {
            guest.host.send(&Event::Broken {
                text: format!("{error:#}"),
            })?;
            Err(error).context("the job")
        }
    }
}
