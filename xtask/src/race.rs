// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask race`: the race between direct I/O and its buffered fallback, without the drain and with it.
//!
//! The guest's agent runs the workload; here it is chosen which rows to run, and judged what they say.

mod lab;
mod table;
mod verdict;

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use notblk_protocol::{Driver, Event, RaceRow, RaceSpec, Story, Work};

use crate::context::Ctx;
use crate::errors::Code;
use crate::guest::{self, Guest, GuestArgs};
use crate::vm;
pub use lab::{options, read_one as spec};
pub use verdict::Verdict;

/// Iterations without the drain: each shows the race nearly always, and takes the delay at least.
const WITHOUT_DRAIN: u64 = 20;
/// Iterations with drain and delay: would show a drain that comes too late.
const WITH_DELAY: u64 = 10;
/// Iterations with the drain and without the delay, unless `--iterations` says more.
const WITH_DRAIN: u64 = 100;
/// Iterations on a driver that has neither option, unless `--iterations` says more, and the seconds they may take.
const CONTROL: (u64, u64) = (1000, 8);

/// The delay where the race is to be shown, in milliseconds, unless `--delay` says otherwise.
const DELAY: u32 = 50;

/// `--story`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StoryArg {
    /// 4 KiB blocks, overlapping writes
    Seed,
    /// 1 KiB blocks, neighbours in one folio
    Folio,
}

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table and a verdict
    Table,
    /// One JSON value
    Json,
}

/// Options of `race`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    lab: Option<lab::Command>,
    #[command(flatten)]
    guest: GuestArgs,
    /// Only this story [default: both]
    #[arg(long, value_enum)]
    story: Option<StoryArg>,
    /// Iterations of each story with the drain (of each story at all with --driver ext4)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    iterations: Option<u64>,
    /// The delay between the buffered write and its flush where the race is to be shown
    #[arg(long, value_name = "MS", default_value_t = DELAY, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    delay: u32,
    /// Do it all so many times, each in a boot of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// How to print the result
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// `cargo xtask race`.
pub fn run(ctx: &Ctx, args: Args) -> Result<Code> {
    if let Some(command) = args.lab {
        return lab::run(ctx, command);
    }
    let guest = Guest::prepare(ctx, &args.guest, false)?;
    let specs = specs(args.story, args.iterations, args.delay, guest.driver);
    let accel = guest.accel;
    let mut runs = Vec::new();
    for number in 1..=args.runs {
        let name = match args.runs {
            1 => "race".to_owned(),
            all => format!("race {number} of {all}"),
        };
        let Boot { rows, outcome, .. } = boot(ctx, &guest, &specs, &name)?;
        if args.format == Format::Table {
            print!("{}", table::render(&rows));
        }
        if let Some(code) = outcome.report(ctx) {
            return Ok(code);
        }
        if rows.len() != specs.len() {
            return Err(guest::no_answer("a row of the race"));
        }
        runs.push(rows);
    }
    let verdict = Verdict::of(guest.driver, &runs);
    match args.format {
        Format::Table => println!("{} [{}, {accel}]", verdict.line, guest.kernel.release),
        Format::Json => println!("{}", json(&verdict, &runs, &accel.to_string())),
    }
    Ok(verdict.code())
}

/// What one boot gave.
struct Boot {
    rows: Vec<RaceRow>,
    /// True where its agent said a word.
    spoke: bool,
    outcome: vm::Outcome,
}

/// Runs all rows in one boot.
fn boot(ctx: &Ctx, guest: &Guest, specs: &[RaceSpec], name: &str) -> Result<Boot> {
    let step = ctx.ui.step(
        name,
        &format!("booting {} ({})", guest.kernel.release, guest.accel),
    );
    let mut rows: Vec<RaceRow> = Vec::new();
    let mut spoke = false;
    let work = Work::Race {
        rows: specs.to_vec(),
    };
    let limit = Some(limit(specs));
    let outcome = guest.boot(ctx, "race", work, limit, Some(&step), |event| {
        match event {
            Event::Ready { .. } => spoke = true,
            Event::Row(row) => rows.push(row.clone()),
            _ => {}
        }
        Ok(())
    })?;
    step.done(&format!(
        "{} rows, booted in {:.1} s",
        rows.len(),
        outcome.boot_time.as_secs_f64()
    ));
    Ok(Boot {
        rows,
        spoke,
        outcome,
    })
}

/// What [`once`] came to.
pub struct Once {
    /// The rows that were run.
    pub rows: Vec<RaceRow>,
    /// How long the guest took to its first word.
    pub boot: Option<Duration>,
    /// The verdict; in its place, where the boot ended badly, how, and the exit code that this calls for.
    pub end: std::result::Result<Verdict, (String, Code)>,
}

/// Both stories once, in one boot, as without options. The table of the rows goes to stderr.
pub fn once(ctx: &Ctx, guest: &Guest) -> Result<Once> {
    let specs = specs(None, None, DELAY, guest.driver);
    let Boot {
        rows,
        spoke,
        outcome,
    } = boot(ctx, guest, &specs, "race")?;
    ctx.ui.print(table::render(&rows).trim_end());
    outcome.report(ctx);
    let end = match outcome.complaint() {
        Some(complaint) => Err(complaint),
        None if rows.len() != specs.len() => return Err(guest::no_answer("a row of the race")),
        None => Ok(Verdict::of(guest.driver, std::slice::from_ref(&rows))),
    };
    Ok(Once {
        rows,
        boot: spoke.then_some(outcome.boot_time),
        end,
    })
}

/// The rows to run.
fn specs(
    story: Option<StoryArg>,
    iterations: Option<u64>,
    delay: u32,
    driver: Driver,
) -> Vec<RaceSpec> {
    let stories: Vec<Story> = match story {
        None => Story::ALL.to_vec(),
        Some(StoryArg::Seed) => vec![Story::Seed],
        Some(StoryArg::Folio) => vec![Story::Folio],
    };
    let mut specs = Vec::new();
    for story in stories {
        let mut row = |drain, delay_ms, iterations, limit_secs| {
            specs.push(RaceSpec {
                story,
                drain,
                delay_ms,
                iterations,
                limit_secs,
            });
        };
        match (driver, iterations) {
            (Driver::Notblk, iterations) => {
                row(Some(false), delay, WITHOUT_DRAIN, 0);
                row(Some(true), delay, WITH_DELAY, 0);
                row(Some(true), 0, iterations.unwrap_or(WITH_DRAIN), 0);
            }
            (Driver::Ext4, Some(iterations)) => row(None, 0, iterations, 0),
            (Driver::Ext4, None) => row(None, 0, CONTROL.0, CONTROL.1),
        }
    }
    specs
}

/// What all rows may take together: ten times what they take under TCG on a busy machine.
pub fn limit(specs: &[RaceSpec]) -> Duration {
    let each = |spec: &RaceSpec| {
        let iteration = Duration::from_millis(u64::from(spec.delay_ms) * 2 + 100);
        let iterations = u32::try_from(spec.iterations).unwrap_or(u32::MAX);
        Duration::from_secs(60).saturating_add(iteration.saturating_mul(iterations))
    };
    specs
        .iter()
        .map(each)
        .fold(Duration::from_secs(120), Duration::saturating_add)
}

/// Everything, for programs.
fn json(verdict: &Verdict, runs: &[Vec<RaceRow>], accel: &str) -> String {
    let value = serde_json::json!({
        "passed": verdict.passed,
        "verdict": verdict.line,
        "accelerator": accel,
        "runs": runs,
    });
    value.to_string()
}
