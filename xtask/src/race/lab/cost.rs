// SPDX-License-Identifier: GPL-2.0

//! `race cost`: what hold points cost that hold nothing, in instructions of the guest.
//!
//! QEMU counts the instructions that it translates, and gives the guest a clock that goes on by a nanosecond with each. The guest
//! writes to a RAM disk, so that there is no device to wait for: what its clock says is how many instructions a write takes, the
//! kernel's and the program's, whatever else this machine does. The module is built twice, with the hold points and without.

use std::time::Duration;

use anyhow::Result;
use notblk_protocol::{CostReport, CostSpec, Event, Work};

use super::require_notblk;
use crate::build;
use crate::context::Ctx;
use crate::errors::Code;
use crate::guest::{self, Guest, GuestArgs};
use crate::vm::Accel;

/// What a boot may take: instructions that are counted take a while.
const LIMIT: Duration = Duration::from_secs(300);
/// So few in a round that some rounds have no tick of the clock in them.
const SPEC: CostSpec = CostSpec {
    overwrites: 32,
    rounds: 300,
};

/// Options of `race cost`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    guest: GuestArgs,
    /// Fail where they cost more than so many instructions for each overwrite
    #[arg(long, value_name = "N")]
    most: Option<u64>,
    /// Print one JSON value
    #[arg(long)]
    json: bool,
}

/// `cargo xtask race cost`.
pub fn run(ctx: &Ctx, args: &Args) -> Result<Code> {
    require_notblk(&args.guest)?;
    let mut guests = Vec::new();
    for without_hold in [false, true] {
        let options = build::Options {
            without_hold,
            ..build::Options::default()
        };
        let mut machine = args.guest.clone();
        machine.machine.accel = Some(Accel::Tcg);
        machine.machine.cpus = 1;
        let mut guest = Guest::with_module(ctx, &machine, false, options, &["brd"])?;
        guest.counted = true;
        guests.push(guest);
    }
    let mut reports = Vec::new();
    for (guest, what) in guests.iter().zip(["with", "without"]) {
        match count(ctx, guest, what)? {
            Ok(report) => reports.push(report),
            Err(code) => return Ok(code),
        }
    }
    let [with, without] = reports.as_slice() else {
        return Err(guest::no_answer("what an overwrite costs"));
    };
    let (with, without) = (each(with), each(without));
    let more = with - without;
    let code = match args.most {
        Some(most) if more > most as f64 => Code::TEST_FAILED,
        _ => Code::PASSED,
    };
    if args.json {
        let value = serde_json::json!({ "with": with, "without": without, "more": more });
        println!("{value}");
    } else {
        println!("a direct overwrite of 4 KiB, in instructions of the guest:");
        println!("  with hold points that hold nothing  {with:.1}");
        println!("  without them (NOTBLK_HOLD=n)        {without:.1}");
        println!(
            "  more                                {more:+.1} ({:+.2} %)",
            more / without * 100.0
        );
    }
    Ok(code)
}

/// Boots once; the exit code where that ends badly.
fn count(ctx: &Ctx, guest: &Guest, what: &str) -> Result<std::result::Result<CostReport, Code>> {
    let step = ctx.ui.step(
        "cost",
        &format!("counting instructions, {what} hold points"),
    );
    let mut report = None;
    let work = Work::Cost(SPEC);
    let outcome = guest.boot(ctx, "cost", work, Some(LIMIT), Some(&step), |event| {
        if let Event::Cost(found) = event {
            report = Some(*found);
        }
        Ok(())
    })?;
    step.done(what);
    if let Some(code) = outcome.report(ctx) {
        return Ok(Err(code));
    }
    report
        .map(Ok)
        .ok_or_else(|| guest::no_answer("what an overwrite costs"))
}

/// Instructions of one overwrite, in the shortest round.
#[allow(clippy::cast_precision_loss)] // Some hundred thousands.
fn each(report: &CostReport) -> f64 {
    report.least as f64 / f64::from(SPEC.overwrites)
}
