// SPDX-License-Identifier: GPL-2.0

//! `race run`: one order, from its one-line schedule.

use std::time::Duration;

use anyhow::Result;
use notblk_protocol::{LabOutcome, LabReport, LabSpec, LabWork, Sabotage};
use notblk_race::run::Verdict;
use notblk_race::{ActorId, Run, Schedule, Spec};

use super::{boot, failure, options, require_notblk, specs};
use crate::context::Ctx;
use crate::errors::{Code, Exit};
use crate::guest::{self, Guest, GuestArgs};

/// What one order may take, on a slow and busy machine, and all that is done once.
const EACH: Duration = Duration::from_millis(500);
const ONCE: Duration = Duration::from_secs(120);

/// Which order of which spec, on what.
#[derive(clap::Args)]
pub struct Order {
    /// The spec: a name of tests/race, or a file
    pub spec: String,
    /// The order, as `race explore` shows it: `A@dio.submit B@end A@end`
    #[arg(long, value_name = "ORDER")]
    pub schedule: String,
    /// More mount options, such as drain=off
    #[arg(long, value_name = "OPTIONS")]
    pub options: Option<String>,
    /// For tests of the lab: hang, panic or wait
    #[arg(long, hide = true, value_parser = sabotage)]
    pub sabotage: Option<Sabotage>,
    #[command(flatten)]
    pub guest: GuestArgs,
}

fn sabotage(word: &str) -> std::result::Result<Sabotage, String> {
    match word {
        "hang" => Ok(Sabotage::Hang),
        "panic" => Ok(Sabotage::Panic),
        "wait" => Ok(Sabotage::Wait),
        _ => Err("there is hang, panic and wait".to_owned()),
    }
}

/// Options of `race run`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    order: Order,
    /// So often
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
    /// Print one JSON value
    #[arg(long)]
    json: bool,
}

impl Order {
    /// Reads the spec and the schedule.
    pub fn read(&self, ctx: &Ctx) -> Result<(Spec, Schedule, Vec<ActorId>)> {
        require_notblk(&self.guest)?;
        let spec = specs::read_one(ctx, &self.spec)?;
        let schedule: Schedule = self.schedule.parse().map_err(usage)?;
        let choices = schedule.choices(&spec).map_err(usage)?;
        Ok((spec, schedule, choices))
    }

    /// What the guest is asked for.
    pub fn job(&self, spec: &Spec, choices: Vec<ActorId>, times: u32, trace: bool) -> LabSpec {
        LabSpec {
            spec: spec.clone(),
            options: options(spec, self.options.as_slice()),
            work: LabWork::Replay {
                choices,
                times,
                trace,
            },
            sabotage: self.sabotage,
        }
    }
}

fn usage(error: notblk_race::schedule::Error) -> Exit {
    Exit::usage(error.to_string())
}

/// `cargo xtask race run`.
pub fn run(ctx: &Ctx, args: &Args) -> Result<Code> {
    let (spec, _, choices) = args.order.read(ctx)?;
    let guest = Guest::prepare(ctx, &args.order.guest, false)?;
    let job = args.order.job(&spec, choices, args.times, false);
    let limit = ONCE.saturating_add(EACH.saturating_mul(args.times));
    let report = match boot(ctx, &guest, vec![job], limit)?.only()? {
        Ok(report) => report,
        Err(code) => return Ok(code),
    };
    let ways = ways(&report)?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        for (run, count) in ways {
            show(&spec, run, *count, args.times);
        }
        if let Some(fsck) = &report.fsck {
            println!("{fsck}");
        }
        println!(
            "{} [{}, {}]",
            line(ways, &report),
            guest.kernel.release,
            guest.accel
        );
    }
    let failed = ways
        .iter()
        .any(|(run, _)| matches!(run.verdict, Verdict::Failed(_)));
    Ok(match failed || report.fsck.is_some() || ways.len() > 1 {
        true => Code::TEST_FAILED,
        false => Code::PASSED,
    })
}

/// The ways that an order went.
pub fn ways(report: &LabReport) -> Result<&[(Run, u32)]> {
    match &report.outcome {
        LabOutcome::Replayed { ways, .. } => Ok(ways),
        _ => Err(guest::no_answer("the order")),
    }
}

/// One way that the order went.
fn show(spec: &Spec, run: &Run, count: u32, times: u32) {
    println!("{count} of {times}: {}", Schedule::of(spec, run));
    match &run.verdict {
        Verdict::Passed => println!("  passed"),
        Verdict::Failed(failures) => {
            for found in failures {
                println!("  failed      {}", failure(spec, found));
            }
        }
        Verdict::Infeasible {
            actor,
            waits_in,
            holder,
        } => {
            let name = spec.actors.get(actor.0).map_or("?", |actor| &actor.name);
            println!("  infeasible  {name} waits in {waits_in}, held: {holder}");
        }
    }
}

fn line(ways: &[(Run, u32)], report: &LabReport) -> String {
    let all: u32 = ways.iter().map(|(_, count)| count).sum();
    let count = |wanted: fn(&Verdict) -> bool| -> u32 {
        ways.iter()
            .filter(|(run, _)| wanted(&run.verdict))
            .map(|(_, count)| count)
            .sum()
    };
    format!(
        "{} passed, {} failed, {} infeasible of {all} in {:.1} s{}",
        count(|verdict| matches!(verdict, Verdict::Passed)),
        count(|verdict| matches!(verdict, Verdict::Failed(_))),
        count(|verdict| matches!(verdict, Verdict::Infeasible { .. })),
        report.millis as f64 / 1000.0,
        match ways.len() {
            0 | 1 => String::new(),
            many => format!(", in {many} different ways"),
        }
    )
}
