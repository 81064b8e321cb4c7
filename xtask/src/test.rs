// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask test`: first the tests of the host's crates, then those in the guest, then those of `run-xfstests`.

mod guest;
mod host;
mod lab;
mod report;
mod suite;

use anyhow::Result;

use crate::context::Ctx;
use crate::errors::{Code, Exit};
use crate::guest::{Guest, GuestArgs};
pub use guest::{cmdline, list, run as in_guest, How};
pub use report::Report;

/// Options of `test`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    guest: GuestArgs,
    /// Only guest tests whose names contain one of these; host tests are left out then
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Print the names of the guest tests
    #[arg(long)]
    list: bool,
    /// Only the tests on the host
    #[arg(long, conflicts_with_all = ["guest_only", "names"])]
    host_only: bool,
    /// Only the tests in the guest
    #[arg(long)]
    guest_only: bool,
    /// Seed of the random guest tests
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Operations of each fsx test [default: a few thousand]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    fsx_ops: Option<u32>,
}

/// `cargo xtask test`.
pub fn run(ctx: &Ctx, args: Args) -> Result<Code> {
    let mut report = Report::default();
    if !args.guest_only && args.names.is_empty() && !args.list {
        host::run(ctx, &mut report)?;
    }
    if args.host_only {
        return Ok(report.close());
    }
    let guest = Guest::prepare(ctx, &args.guest, true)?;
    let tests = choose(list(&guest.agent)?, &args.names);
    let runner_tests = choose(suite::names(), &args.names);
    if tests.is_empty() && runner_tests.is_empty() {
        return Err(none_called(&args.names));
    }
    if args.list {
        let all = tests.iter().chain(&runner_tests);
        all.for_each(|test| println!("{test}"));
        return Ok(Code::PASSED);
    }
    let how = How {
        seed: args.seed,
        fsx_ops: args.fsx_ops,
    };
    in_guest(ctx, &guest, &tests, how, &mut report)?;
    suite::run(ctx, &runner_tests, &mut report)?;
    Ok(report.close())
}

/// Of these tests those whose names contain one of `names`, or all where none are given.
pub fn choose(tests: impl IntoIterator<Item = String>, names: &[String]) -> Vec<String> {
    let is_chosen =
        |test: &String| names.is_empty() || names.iter().any(|name| test.contains(name));
    tests.into_iter().filter(is_chosen).collect()
}

/// The error where no test is chosen.
pub fn none_called(names: &[String]) -> anyhow::Error {
    Exit::usage(format!("no guest test is called {}", names.join(" or ")))
        .hint("`cargo xtask test --list` prints their names")
        .into()
}
