// SPDX-License-Identifier: GPL-2.0

//! Tests of the race lab where something does not come back: an actor, the kernel, the guest, xtask itself; each while the driver
//! holds something. The lab says so, with the right exit code, and leaves no guest behind.

use std::ffi::OsStr;

use anyhow::{ensure, Result};
use rustix::process::{kill_process, Pid, Signal};

use crate::errors::Code;

use super::suite::{gone, Bench, Runner};

/// What xtask shows when the guest is at work, and when something is held that stays so.
const BEGUN: &str = "race seed";
const HELD: &str = "something is held";

/// Starts an order of the seed that goes wrong, and waits until xtask says something.
fn start(bench: &Bench, sabotage: &str, says: &str) -> Result<(Runner, Vec<Pid>)> {
    let order = "A@dio.locked A@dio.submit B@fallback.begin";
    let args = [
        "race",
        "run",
        "seed",
        "--schedule",
        order,
        "--sabotage",
        sabotage,
    ];
    let mut runner = bench.start_xtask(&args.map(OsStr::new))?;
    runner.says(says)?;
    let qemus = runner.qemus()?;
    Ok((runner, qemus))
}

/// What it said at its end.
fn said(runner: &Runner, words: &str) -> Result<()> {
    let said = runner.said();
    ensure!(said.contains(words), "xtask did not say {words:?}:\n{said}");
    Ok(())
}

/// An actor that never comes to its end, though nothing is held any more.
pub(super) fn hang(bench: &Bench) -> Result<()> {
    let (mut runner, qemus) = start(bench, "hang", BEGUN)?;
    runner.ends_with(Code::HANG)?;
    said(&runner, "B does not come to its end")?;
    gone(&qemus)
}

/// The kernel panics.
pub(super) fn panic(bench: &Bench) -> Result<()> {
    let (mut runner, qemus) = start(bench, "panic", BEGUN)?;
    runner.ends_with(Code::SPLAT)?;
    said(&runner, "the guest ended before its job was done")?;
    gone(&qemus)
}

/// QEMU is killed.
pub(super) fn dies(bench: &Bench) -> Result<()> {
    let (mut runner, qemus) = start(bench, "wait", HELD)?;
    ensure!(!qemus.is_empty(), "there is no QEMU to kill");
    for &qemu in &qemus {
        kill_process(qemu, Signal::KILL)?;
    }
    runner.ends_with(Code::HOST)?;
    said(&runner, "the guest ended before its job was done")?;
    gone(&qemus)
}

/// Ctrl-C.
pub(super) fn interrupted(bench: &Bench) -> Result<()> {
    let (mut runner, qemus) = start(bench, "wait", HELD)?;
    ensure!(!qemus.is_empty(), "there is no QEMU to leave behind");
    kill_process(runner.pid()?, Signal::INT)?;
    runner.ends_with(Code::INTERRUPTED)?;
    gone(&qemus)
}

/// kill -9.
pub(super) fn killed(bench: &Bench) -> Result<()> {
    let (mut runner, qemus) = start(bench, "wait", HELD)?;
    ensure!(!qemus.is_empty(), "there is no QEMU to leave behind");
    kill_process(runner.pid()?, Signal::KILL)?;
    ensure!(runner.wait()? == 128 + 9);
    gone(&qemus)
}
