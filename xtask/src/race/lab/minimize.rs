// SPDX-License-Identifier: GPL-2.0

//! `race minimize`: an order that fails, without the holds, actors, steps and checks that it fails without.

use std::time::Duration;

use anyhow::Result;
use notblk_protocol::{LabOutcome, LabReport, LabSpec, LabWork, Small};

use super::run::Order;
use super::{boot, options};
use crate::context::Ctx;
use crate::errors::{Code, Exit};
use crate::guest::{self, Guest};

/// What it may take: some hundred orders, on a slow and busy machine.
const LIMIT: Duration = Duration::from_secs(900);

/// Options of `race minimize`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    order: Order,
}

/// `cargo xtask race minimize`.
pub fn run(ctx: &Ctx, args: &Args) -> Result<Code> {
    let (spec, schedule, _) = args.order.read(ctx)?;
    let guest = Guest::prepare(ctx, &args.order.guest, false)?;
    let job = LabSpec {
        spec: spec.clone(),
        options: options(&spec, args.order.options.as_slice()),
        work: LabWork::Minimize { schedule },
        sabotage: None,
    };
    let report = match boot(ctx, &guest, vec![job], LIMIT)?.only()? {
        Ok(report) => report,
        Err(code) => return Ok(code),
    };
    match report.outcome {
        LabOutcome::Minimized(Some(small)) => {
            println!("# order: {}", small.schedule);
            print!("{}", small.spec);
            Ok(Code::PASSED)
        }
        LabOutcome::Minimized(None) => Err(Exit::new(
            Code::TEST_FAILED,
            format!("this order of {} does not fail", spec.name),
        )
        .hint("--options drain=off has the driver without its drain")
        .into()),
        _ => Err(guest::no_answer("the smaller order")),
    }
}

/// Failing orders made small, each thing that is left once.
pub fn show_all(all: &[Small], report: &LabReport) {
    let mut kinds: Vec<(&Small, usize)> = Vec::new();
    for small in all {
        let is_same = |(known, _): &&mut (&Small, usize)| {
            (&known.spec, &known.schedule) == (&small.spec, &small.schedule)
        };
        match kinds.iter_mut().find(is_same) {
            Some((_, count)) => *count += 1,
            None => kinds.push((small, 1)),
        }
    }
    for (small, count) in &kinds {
        show(small, *count);
    }
    if let (LabOutcome::Explored { minimizing, .. }, 2..) = (&report.outcome, all.len()) {
        println!(
            "  minimised   {} orders to {} in {:.1} s",
            all.len(),
            kinds.len(),
            *minimizing as f64 / 1000.0
        );
    }
}

/// A failing order made small, or several to the same, indented for a list.
fn show(small: &Small, count: usize) {
    let of = match count {
        1 => String::new(),
        several => format!("({several} orders) "),
    };
    println!("  minimised   {of}{}", small.schedule);
    let text = small.spec.to_string();
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        println!("              {line}");
    }
}
