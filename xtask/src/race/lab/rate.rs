// SPDX-License-Identifier: GPL-2.0

//! `race rate`: how often a race happens by itself, nobody being held.

use std::time::Duration;

use anyhow::Result;
use notblk_protocol::{LabOutcome, LabReport, LabSpec, LabWork};
use notblk_race::rate::Rate;
use notblk_race::Spec;

use super::{boot, failure, options, specs};
use crate::context::Ctx;
use crate::errors::Code;
use crate::guest::{self, Guest, GuestArgs};

/// What one go may take, on a slow and busy machine, and all that is done once.
const EACH: Duration = Duration::from_millis(300);
const ONCE: Duration = Duration::from_secs(180);

/// How often, or for how long.
#[derive(clap::Args)]
pub struct Amount {
    /// So often
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub times: u64,
    /// But no longer than this
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub seconds: u64,
}

/// Options of `race rate`.
#[derive(clap::Args)]
pub struct Args {
    /// The spec: a name of tests/race, or a file
    spec: String,
    #[command(flatten)]
    amount: Amount,
    /// More mount options, such as drain=off
    #[arg(long, value_name = "OPTIONS")]
    options: Option<String>,
    #[command(flatten)]
    guest: GuestArgs,
    /// Print one JSON value
    #[arg(long)]
    json: bool,
}

impl Amount {
    /// What the guest is asked for.
    pub fn job(&self, spec: &Spec, options: String) -> LabSpec {
        LabSpec {
            spec: spec.without_holds(),
            options,
            work: LabWork::Rate {
                times: self.times,
                seconds: self.seconds,
            },
            sabotage: None,
        }
    }

    /// What it may take.
    pub fn limit(&self) -> Duration {
        let times = u32::try_from(self.times).unwrap_or(u32::MAX);
        ONCE.saturating_add(EACH.saturating_mul(times))
    }
}

/// `cargo xtask race rate`.
pub fn run(ctx: &Ctx, args: &Args) -> Result<Code> {
    let spec = specs::read_one(ctx, &args.spec)?;
    let guest = Guest::prepare(ctx, &args.guest, false)?;
    let job = args
        .amount
        .job(&spec, options(&spec, args.options.as_slice()));
    let report = match boot(ctx, &guest, vec![job], args.amount.limit())?.only()? {
        Ok(report) => report,
        Err(code) => return Ok(code),
    };
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        show(&spec, &report)?;
        println!("[{}, {}]", guest.kernel.release, guest.accel);
    }
    Ok(match rate(&report)?.hits == 0 && report.fsck.is_none() {
        true => Code::PASSED,
        false => Code::TEST_FAILED,
    })
}

/// The rate that was measured.
pub fn rate(report: &LabReport) -> Result<Rate> {
    match &report.outcome {
        LabOutcome::Rated { times, failed, .. } => Ok(Rate {
            hits: *failed,
            trials: *times,
        }),
        _ => Err(guest::no_answer("the rate")),
    }
}

/// Rate, and each kind of failure.
pub fn show(spec: &Spec, report: &LabReport) -> Result<()> {
    println!(
        "{}: {}, in {:.1} s",
        spec.name,
        rate(report)?,
        report.millis as f64 / 1000.0
    );
    if let LabOutcome::Rated { failures, .. } = &report.outcome {
        for (found, count) in failures {
            println!("  {count} times  {}", failure(spec, found));
        }
    }
    if let Some(fsck) = &report.fsck {
        println!("  {fsck}");
    }
    Ok(())
}
