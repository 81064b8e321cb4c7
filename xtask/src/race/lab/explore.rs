// SPDX-License-Identifier: GPL-2.0

//! `race explore`: every order of a spec, with the driver as it is, and with the options under which the race should show.
//!
//! The first must fail in no order. The second must fail in some, or the spec could not see the race at all; and each order that
//! fails there must be one that cannot happen here.

use std::time::Duration;

use anyhow::Result;
use notblk_protocol::{Differing, LabOutcome, LabReport, LabSpec, LabWork, Small};
use notblk_race::explore::Summary;
use notblk_race::run::{Failure, Verdict};
use notblk_race::{Run, Schedule, Spec};

use super::{boot, failure, minimize, options, require_notblk, specs, Boot};
use crate::context::Ctx;
use crate::errors::Code;
use crate::guest::{Guest, GuestArgs};

/// What one spec may take in all, on a slow and busy machine.
const EACH: Duration = Duration::from_secs(900);
/// Failing orders that are shown unless all are asked for.
const SHOWN: usize = 8;

/// Options of `race explore`.
#[derive(clap::Args)]
pub struct Args {
    /// Specs: names of tests/race, or files [default: all of tests/race]
    specs: Vec<String>,
    #[command(flatten)]
    guest: GuestArgs,
    /// Orders with more preemptions are left out [default: what the spec says, else none is]
    #[arg(long, value_name = "N")]
    preemptions: Option<u32>,
    /// End each exploration after so many orders
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    orders: Option<u64>,
    /// End each exploration after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Only with these mount options more, in place of the spec's own two runs
    #[arg(long, value_name = "OPTIONS")]
    options: Option<String>,
    /// Show every order that fails
    #[arg(long)]
    all: bool,
    /// Make this many of the orders that fail small, or all: what is left fails, and nothing can be taken away from it
    #[arg(long, value_name = "N|all", default_value = "1", value_parser = number_or_all)]
    minimize: u32,
    /// Run each order so often; it must come to the same each time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Print one JSON value
    #[arg(long)]
    json: bool,
}

fn number_or_all(word: &str) -> std::result::Result<u32, String> {
    match word {
        "all" => Ok(u32::MAX),
        number => number
            .parse()
            .map_err(|_| "neither a number nor `all`".to_owned()),
    }
}

/// What is expected of a run.
#[derive(Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum Want {
    /// No order fails.
    Sound,
    /// Some order fails.
    Failing,
    /// Whatever comes.
    Anything,
}

/// A spec under certain options.
struct Asked {
    spec: Spec,
    want: Want,
}

/// `cargo xtask race explore`.
pub fn run(ctx: &Ctx, args: &Args) -> Result<Code> {
    require_notblk(&args.guest)?;
    let specs = specs::read(ctx, &args.specs)?;
    let guest = Guest::prepare(ctx, &args.guest, false)?;
    let (asked, jobs) = plan(args, specs);
    let jobs_count = u32::try_from(jobs.len()).unwrap_or(u32::MAX);
    let limit = EACH.saturating_mul(jobs_count).saturating_mul(args.repeat);
    let Boot { reports, bad } = boot(ctx, &guest, jobs, limit)?;
    let mut problems = Vec::new();
    for (asked, report) in asked.iter().zip(&reports) {
        let summary = summary(report)?;
        if !args.json {
            show(&asked.spec, report, summary, args.all);
        }
        problems.extend(
            judge(asked, report, summary)
                .into_iter()
                .map(|problem| format!("{}: {problem}", title(&asked.spec, report))),
        );
    }
    let exclusions = exclusions(&asked, &reports)?;
    problems.extend(exclusions.problems);
    if args.json {
        println!("{}", json(&asked, &reports, &problems));
    } else {
        exclusions.lines.iter().for_each(|line| println!("{line}"));
        problems
            .iter()
            .for_each(|problem| println!("FAILED: {problem}"));
        println!(
            "{} [{}, {}]",
            match bad {
                None => verdict(&problems),
                Some(_) => "FAILED: the guest did not do it all".to_owned(),
            },
            guest.kernel.release,
            guest.accel
        );
    }
    if let Some(code) = bad {
        return Ok(code);
    }
    Ok(match problems.is_empty() {
        true => Code::PASSED,
        false => Code::TEST_FAILED,
    })
}

/// What to run, in order.
fn plan(args: &Args, specs: Vec<Spec>) -> (Vec<Asked>, Vec<LabSpec>) {
    let mut asked = Vec::new();
    let mut jobs = Vec::new();
    for spec in specs {
        let mut add = |want, more: &[String]| {
            jobs.push(LabSpec {
                spec: spec.clone(),
                options: options(&spec, more),
                work: LabWork::Explore {
                    preemptions: args.preemptions.or(spec.preemptions),
                    runs: args.orders,
                    seconds: args.seconds,
                    minimize: args.minimize,
                    repeat: args.repeat,
                },
                sabotage: None,
            });
            let spec = spec.clone();
            asked.push(Asked { spec, want });
        };
        match &args.options {
            Some(more) => add(Want::Anything, std::slice::from_ref(more)),
            None => {
                if !spec.fails_with.is_empty() {
                    add(Want::Failing, &spec.fails_with);
                }
                add(Want::Sound, &[]);
            }
        }
    }
    (asked, jobs)
}

fn summary(report: &LabReport) -> Result<&Summary> {
    match &report.outcome {
        LabOutcome::Explored { summary, .. } => Ok(summary),
        _ => Err(super::guest::no_answer("the exploration")),
    }
}

fn differing(report: &LabReport) -> &[Differing] {
    match &report.outcome {
        LabOutcome::Explored { differing, .. } => differing,
        _ => &[],
    }
}

fn small(report: &LabReport) -> &[Small] {
    match &report.outcome {
        LabOutcome::Explored { small, .. } => small,
        _ => &[],
    }
}

fn title(spec: &Spec, report: &LabReport) -> String {
    match report.options.as_str() {
        "" => spec.name.clone(),
        options => format!("{} ({options})", spec.name),
    }
}

/// What is not as it was expected to be.
fn judge(asked: &Asked, report: &LabReport, summary: &Summary) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(fsck) = &report.fsck {
        problems.push(fsck.clone());
    }
    if let Some(order) = summary.unsteady.first() {
        problems.push(format!(
            "{} orders went another way when they were repeated, such as {}, which became {}",
            summary.unsteady.len(),
            order.expected,
            order.found
        ));
    }
    if let Some(order) = differing(report).first() {
        let spec = &asked.spec;
        problems.push(format!(
            "{} orders came to something else when they were repeated, such as {}: {}; in repetition {} {}: {}",
            differing(report).len(),
            Schedule::of(spec, &order.first),
            verdict_text(spec, &order.first),
            order.repetition,
            Schedule::of(spec, &order.other),
            verdict_text(spec, &order.other),
        ));
    }
    match asked.want {
        Want::Failing if summary.failing.is_empty() => {
            problems.push("no order fails, so this spec shows nothing".to_owned());
        }
        Want::Sound | Want::Anything => problems.extend(orders_that_fail(&asked.spec, summary)),
        Want::Failing => {}
    }
    if asked.want == Want::Sound && !summary.complete && summary.unsteady.is_empty() {
        problems.push("not all orders were run: a limit was reached".to_owned());
    }
    problems
}

/// How many they are, and the first one whole: of a long log often nothing but the end is kept.
fn orders_that_fail(spec: &Spec, summary: &Summary) -> Option<String> {
    let first = summary.failing.first()?;
    let count = match summary.failing.len() {
        1 => "1 order fails:".to_owned(),
        many => format!("{many} orders fail, such as"),
    };
    let why = all_of(spec, &first.failures);
    Some(format!("{count} {}: {why}", first.schedule))
}

/// Failures in one line.
fn all_of(spec: &Spec, failures: &[Failure]) -> String {
    let all: Vec<String> = failures.iter().map(|found| failure(spec, found)).collect();
    all.join("; ")
}

/// A verdict in one line.
fn verdict_text(spec: &Spec, run: &Run) -> String {
    match &run.verdict {
        Verdict::Passed => "passed".to_owned(),
        Verdict::Failed(failures) => format!("failed ({})", all_of(spec, failures)),
        Verdict::Infeasible {
            waits_in, holder, ..
        } => format!("infeasible ({waits_in}, held: {holder})"),
    }
}

fn show(spec: &Spec, report: &LabReport, summary: &Summary, all: bool) {
    println!("{}", headline(spec, report, summary));
    let shown = if all { usize::MAX } else { SHOWN };
    for failing in summary.failing.iter().take(shown) {
        println!("  failed      {}", failing.schedule);
        for found in &failing.failures {
            println!("              {}", failure(spec, found));
        }
    }
    if summary.failing.len() > shown {
        println!("  and {} more: --all", summary.failing.len() - shown);
    }
    minimize::show_all(small(report), report);
    for reason in summary.reasons() {
        let actor = spec
            .actors
            .get(reason.actor.0)
            .map_or("?", |actor| &actor.name);
        println!(
            "  infeasible  {} beginnings: {actor} waits in {}",
            reason.orders.len(),
            reason.waits_in
        );
        if let Some(first) = reason.orders.first() {
            println!(
                "              such as {} {actor}, held: {}",
                first.prefix, first.holder
            );
        }
    }
}

/// Counts and speed, in one line.
fn headline(spec: &Spec, report: &LabReport, summary: &Summary) -> String {
    let seconds = report.millis as f64 / 1000.0;
    let mut line = format!(
        "{}: {} orders: {} passed, {} failed, {} infeasible; {} runs in {seconds:.1} s ({:.0} a second)",
        title(spec, report),
        summary.orders,
        summary.passed,
        summary.failing.len(),
        summary.infeasible.len(),
        summary.runs,
        summary.runs as f64 / seconds.max(0.001),
    );
    if let Some(bound) = summary.bound {
        line.push_str(&format!(
            "; at most {bound} preemptions, {} beginnings left out",
            summary.over_bound
        ));
    }
    line
}

/// How the orders that fail under one set of options fare under the other.
#[derive(Default)]
struct Exclusions {
    lines: Vec<String>,
    problems: Vec<String>,
}

/// Each order that fails must be one that cannot happen with the driver as it is.
fn exclusions(asked: &[Asked], reports: &[LabReport]) -> Result<Exclusions> {
    let mut all = Exclusions::default();
    let pairs = asked
        .iter()
        .zip(reports)
        .zip(asked.iter().zip(reports).skip(1));
    for ((failing, its), (sound, others)) in pairs {
        if failing.want != Want::Failing || sound.want != Want::Sound {
            continue;
        }
        let spec = &failing.spec;
        let (bad, good) = (summary(its)?, summary(others)?);
        let mut by_function: Vec<(String, usize)> = Vec::new();
        for order in &bad.failing {
            match good.excludes(spec, &order.schedule) {
                Some(reason) => {
                    let actor = spec
                        .actors
                        .get(reason.actor.0)
                        .map_or("?", |actor| &actor.name);
                    let why = format!("{actor} waits in {}", reason.waits_in);
                    match by_function.iter_mut().find(|(known, _)| *known == why) {
                        Some((_, count)) => *count += 1,
                        None => by_function.push((why, 1)),
                    }
                }
                None => all.problems.push(format!(
                    "{}: `{}` fails with {}, and is not excluded without",
                    spec.name,
                    order.schedule,
                    spec.fails_with.join(",")
                )),
            }
        }
        for (why, count) in by_function {
            all.lines.push(format!(
                "{}: {count} of {} orders that fail with {} cannot happen: {why}",
                spec.name,
                bad.failing.len(),
                spec.fails_with.join(",")
            ));
        }
    }
    Ok(all)
}

fn verdict(problems: &[String]) -> String {
    match problems.len() {
        0 => "passed: every order is sound".to_owned(),
        1 => "FAILED: 1 problem".to_owned(),
        many => format!("FAILED: {many} problems"),
    }
}

/// Everything, for programs.
fn json(asked: &[Asked], reports: &[LabReport], problems: &[String]) -> String {
    let rows: Vec<serde_json::Value> = asked
        .iter()
        .zip(reports)
        .map(|(asked, report)| {
            serde_json::json!({
                "spec": asked.spec.name,
                "want": asked.want,
                "report": report,
            })
        })
        .collect();
    serde_json::json!({
        "passed": problems.is_empty(),
        "problems": problems,
        "explored": rows,
    })
    .to_string()
}
