// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask compare`: one random sequence of operations on notblk and on the kernel's C driver, which must answer the same.
//!
//! The guest's agent does it; here it is asked for, watched, and shown.

mod table;

use std::time::Duration;

use anyhow::Result;
use notblk_protocol::{CompareReport, CompareSpec, Event, Work};

use crate::context::Ctx;
use crate::errors::{Code, Exit};
use crate::guest::{self, DriverArg, Guest, GuestArgs};

/// What an operation may take, on average, in a guest without KVM on a busy machine.
const EACH: Duration = Duration::from_millis(50);
/// What the search for a short sequence may take, and all that is done once.
const ONCE: Duration = Duration::from_secs(1800);
/// Most operations of a sequence.
const MOST: i64 = 9_000_000;

/// Options of `compare`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    guest: GuestArgs,
    /// Seed of the sequence
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Length of the sequence
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..MOST))]
    ops: u32,
    /// Bytes per block of both filesystems
    #[arg(long, value_name = "BYTES", default_value_t = 4096, value_parser = block_size)]
    block_size: u32,
    /// Bytes per inode on disk
    #[arg(long, value_name = "BYTES", default_value_t = 256, value_parser = inode_size)]
    inode_size: u32,
    /// Only these operations of the sequence, by their numbers: what a difference was shortened to
    #[arg(long, value_name = "N,N,...", value_delimiter = ',')]
    only: Vec<u32>,
    /// Leave out a class of operations (repeatable)
    #[arg(long, value_name = "CLASS")]
    without: Vec<String>,
    /// Show a difference as it was found, without looking for a shorter sequence
    #[arg(long)]
    unshrunk: bool,
    /// Print one JSON value
    #[arg(long)]
    json: bool,
}

fn block_size(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(size @ (1024 | 2048 | 4096 | 8192 | 16_384 | 32_768 | 65_536)) => Ok(size),
        _ => Err("a power of two from 1024 to 65536".into()),
    }
}

fn inode_size(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(size @ (128 | 256 | 512 | 1024)) => Ok(size),
        _ => Err("128, 256, 512 or 1024".into()),
    }
}

/// `cargo xtask compare`.
pub fn run(ctx: &Ctx, args: Args) -> Result<Code> {
    let guest = Guest::prepare(ctx, &args.guest, false)?;
    let spec = CompareSpec {
        seed: args.seed,
        ops: args.ops,
        block_size: args.block_size,
        inode_size: args.inode_size,
        only: args.only.clone(),
        without: args.without.clone(),
        unshrunk: args.unshrunk,
    };
    let step = ctx.ui.step(
        "compare",
        &format!("booting {} ({})", guest.kernel.release, guest.accel),
    );
    let limit = ONCE.saturating_add(EACH.saturating_mul(args.ops));
    let work = Work::Compare(spec.clone());
    let mut report: Option<CompareReport> = None;
    let outcome = guest.boot(ctx, "compare", work, Some(limit), Some(&step), |event| {
        if let Event::Compared(it) = event {
            report = Some(CompareReport::clone(it));
        }
        Ok(())
    })?;
    if let Some(report) = &report {
        step.done(&format!("{} operations", report.done));
        match args.json {
            true => println!("{}", serde_json::to_string(report)?),
            false => print!("{}", table::render(report, &replay(&args, &spec))),
        }
    }
    if let Some(code) = outcome.report(ctx) {
        return Ok(code);
    }
    let Some(report) = report else {
        return Err(guest::no_answer("the comparison"));
    };
    if report.difference.is_none() && report.done == 0 {
        return Err(Exit::usage("no operation is left to compare").into());
    }
    Ok(match report.difference {
        None => Code::PASSED,
        Some(_) => Code::TEST_FAILED,
    })
}

/// The command that does it again, but for the operations.
fn replay(args: &Args, spec: &CompareSpec) -> String {
    let mut words = vec!["cargo xtask compare".to_owned()];
    if args.guest.driver != DriverArg::Notblk {
        words.push("--driver ext4".into());
    }
    if let Some(kernel) = &args.guest.kernel {
        words.push(format!("--kernel {kernel}"));
    }
    words.push(format!("--seed {} --ops {}", spec.seed, spec.ops));
    words.push(format!("--block-size {}", spec.block_size));
    words.push(format!("--inode-size {}", spec.inode_size));
    let without = spec.without.iter();
    words.extend(without.map(|class| format!("--without {class}")));
    words.join(" ")
}
