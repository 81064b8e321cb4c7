// SPDX-License-Identifier: GPL-2.0

//! The race lab: `race explore`, `run`, `minimize`, `rate`, `compare` and `diagram`, each of a spec of `tests/race`.
//!
//! The agent runs orders in the guest; here specs are read, the guest is asked, and its answer is judged and shown.

mod compare;
mod cost;
mod diagram;
mod explore;
mod minimize;
mod rate;
mod run;
mod specs;

pub use specs::read_one;

use std::time::Duration;

use anyhow::Result;
use clap::Subcommand;
use notblk_protocol::{Driver, Event, LabOutcome, LabReport, LabSpec, Work};
use notblk_race::run::{Failure, Verdict, What};
use notblk_race::Spec;

use crate::context::Ctx;
use crate::errors::{Code, Exit};
use crate::guest::{self, Guest};

/// What to do with race specs.
#[derive(Subcommand)]
pub enum Command {
    /// Run every order of the actors' stages, with the driver as it is and as it would fail
    Explore(explore::Args),
    /// Run one order, as often as you like
    Run(run::Args),
    /// Take away from an order that fails whatever it fails without
    Minimize(minimize::Args),
    /// Let all actors go at once, nobody held: how often does it happen by itself?
    Rate(rate::Args),
    /// The same on notblk and on another driver
    Compare(compare::Args),
    /// Count what hold points cost that hold nothing, in instructions of the guest
    Cost(cost::Args),
    /// Draw one order in columns, as kernel commit messages do
    Diagram(diagram::Args),
}

/// Does it.
pub fn run(ctx: &Ctx, command: Command) -> Result<Code> {
    match command {
        Command::Explore(args) => explore::run(ctx, &args),
        Command::Run(args) => run::run(ctx, &args),
        Command::Minimize(args) => minimize::run(ctx, &args),
        Command::Rate(args) => rate::run(ctx, &args),
        Command::Compare(args) => compare::run(ctx, &args),
        Command::Cost(args) => cost::run(ctx, &args),
        Command::Diagram(args) => diagram::run(ctx, &args),
    }
}

/// Holds work with our driver only.
fn require_notblk(guest: &guest::GuestArgs) -> Result<()> {
    match Driver::from(guest.driver) {
        Driver::Notblk => Ok(()),
        Driver::Ext4 => Err(Exit::usage("the C driver has no hold points")
            .hint("`race rate` and `race compare` run a spec without holding anybody")
            .into()),
    }
}

/// Mount options of a spec: its own, and more.
pub fn options(spec: &Spec, more: &[String]) -> String {
    let all: Vec<&str> = spec
        .options
        .iter()
        .chain(more)
        .map(String::as_str)
        .collect();
    all.join(",")
}

/// What one boot gave.
struct Boot {
    /// What was done, in the order in which it was asked for.
    reports: Vec<LabReport>,
    /// Where the boot ended badly: with which exit code. It has been reported.
    bad: Option<Code>,
}

/// Boots once, and has the guest do all of it.
fn boot(ctx: &Ctx, guest: &Guest, specs: Vec<LabSpec>, limit: Duration) -> Result<Boot> {
    let asked = specs.len();
    let step = ctx.ui.step(
        "race",
        &format!("booting {} ({})", guest.kernel.release, guest.accel),
    );
    let mut reports = Vec::new();
    let work = Work::Lab { specs };
    let outcome = guest.boot(ctx, "race", work, Some(limit), Some(&step), |event| {
        if let Event::Lab(report) = event {
            reports.push((**report).clone());
        }
        Ok(())
    })?;
    step.done(&format!(
        "{} of {asked} done, booted in {:.1} s",
        reports.len(),
        outcome.boot_time.as_secs_f64()
    ));
    let bad = outcome.report(ctx).map(|code| match hangs(&reports) {
        true => Code::HANG,
        false => code,
    });
    if bad.is_none() && reports.len() != asked {
        return Err(guest::no_answer("a report of the race lab"));
    }
    Ok(Boot { reports, bad })
}

/// Whether an actor did not come to its end in one of them.
fn hangs(reports: &[LabReport]) -> bool {
    let is_hang = |failures: &[Failure]| failures.iter().any(|failure| failure.what == What::Hang);
    reports.iter().any(|report| match &report.outcome {
        LabOutcome::Explored { summary, .. } => summary
            .failing
            .iter()
            .any(|failing| is_hang(&failing.failures)),
        LabOutcome::Replayed { ways, .. } => ways
            .iter()
            .any(|(run, _)| matches!(&run.verdict, Verdict::Failed(failures) if is_hang(failures))),
        LabOutcome::Rated { failures, .. } => failures
            .iter()
            .any(|(failure, _)| failure.what == What::Hang),
        LabOutcome::Minimized(_) => false,
    })
}

impl Boot {
    /// The one report of a boot for one spec; the exit code where there is none.
    fn only(self) -> Result<std::result::Result<LabReport, Code>> {
        match (self.reports.into_iter().next(), self.bad) {
            (Some(report), None) => Ok(Ok(report)),
            (_, Some(code)) => Ok(Err(code)),
            (None, None) => Err(guest::no_answer("a report of the race lab")),
        }
    }
}

/// A failure in words: what was looked at, and what was there.
fn failure(spec: &Spec, failure: &Failure) -> String {
    let what = match failure.what {
        What::Check(number) => match spec.checks.get(number) {
            Some(check) => spec.check_text(check),
            None => format!("check number {number}"),
        },
        What::Step { actor, step } => {
            let name = spec.actors.get(actor.0).map_or("?", |actor| &actor.name);
            format!("step {name}.{}", step + 1)
        }
        What::Splat => "kernel".to_owned(),
        What::Hang => "hang".to_owned(),
        What::Fsck => "e2fsck".to_owned(),
        What::Broken => "the lab itself".to_owned(),
    };
    format!("{what}: {}", failure.text)
}
