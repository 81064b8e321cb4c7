// SPDX-License-Identifier: GPL-2.0

//! `race diagram`: what the kernel did in one order, in columns for a commit message, and as a trace for Perfetto.

mod drawn;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use notblk_protocol::{LabOutcome, LabTrace};
use notblk_race::diagram::{self, Column};
use notblk_race::Spec;

use super::boot;
use super::run::{ways, Order};
use crate::context::Ctx;
use crate::errors::Code;
use crate::guest::{self, Guest};

/// What it may take.
const LIMIT: Duration = Duration::from_secs(180);

/// Options of `race diagram`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    order: Order,
    /// Also write a trace that Perfetto and chrome://tracing open
    #[arg(long, value_name = "FILE")]
    perfetto: Option<PathBuf>,
    /// Show all events with all their fields, one in a line
    #[arg(long)]
    raw: bool,
}

/// `cargo xtask race diagram`.
pub fn run(ctx: &Ctx, args: &Args) -> Result<Code> {
    let (spec, _, choices) = args.order.read(ctx)?;
    let guest = Guest::prepare(ctx, &args.order.guest, false)?;
    let job = args.order.job(&spec, choices, 1, true);
    let report = match boot(ctx, &guest, vec![job], LIMIT)?.only()? {
        Ok(report) => report,
        Err(code) => return Ok(code),
    };
    ways(&report)?;
    let LabOutcome::Replayed { trace, .. } = &report.outcome else {
        return Err(guest::no_answer("the trace"));
    };
    if args.raw {
        for event in trace {
            println!("{}", raw(&spec, event));
        }
    }
    let columns = Column::of(&spec);
    let events = drawn::events(&spec, trace);
    if !args.raw {
        print!("{}", diagram::columns(&columns, &events));
    }
    if let Some(path) = &args.perfetto {
        let text = diagram::perfetto(&spec.title, &columns, &events).to_string();
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        ctx.ui.note(&format!("trace: {}", path.display()));
    }
    Ok(Code::PASSED)
}

fn raw(spec: &Spec, event: &LabTrace) -> String {
    let actor = event
        .actor
        .and_then(|actor| spec.actors.get(actor.0))
        .map_or("-", |actor| &actor.name);
    format!(
        "{:>5}.{:06} {actor:<4} {:<16} {}: {}",
        event.time / 1_000_000_000,
        event.time / 1000 % 1_000_000,
        event.task,
        event.name,
        event.fields
    )
}
