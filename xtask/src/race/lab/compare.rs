// SPDX-License-Identifier: GPL-2.0

//! `race compare`: the same workload, nobody being held, on notblk and on another driver.

use anyhow::Result;
use clap::ValueEnum;
use notblk_protocol::Driver;

use super::rate::{self, Amount};
use super::{boot, options, specs};
use crate::context::Ctx;
use crate::errors::Code;
use crate::guest::{DriverArg, Guest, GuestArgs};

/// `--against`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Against {
    /// The kernel's own C driver, on an image without extents
    Ext4,
}

/// Options of `race compare`.
#[derive(clap::Args)]
pub struct Args {
    /// The spec: a name of tests/race, or a file
    spec: String,
    /// The other driver
    #[arg(long, value_enum, default_value = "ext4")]
    against: Against,
    #[command(flatten)]
    amount: Amount,
    /// More mount options for notblk, such as drain=off
    #[arg(long, value_name = "OPTIONS")]
    options: Option<String>,
    #[command(flatten)]
    guest: GuestArgs,
}

/// `cargo xtask race compare`.
pub fn run(ctx: &Ctx, args: &Args) -> Result<Code> {
    let spec = specs::read_one(ctx, &args.spec)?;
    let Against::Ext4 = args.against;
    let mut worst = Code::PASSED;
    for driver in [DriverArg::Notblk, DriverArg::Ext4] {
        let mut on = args.guest.clone();
        on.driver = driver;
        let guest = Guest::prepare(ctx, &on, false)?;
        // The C driver knows none of ours.
        let options = match Driver::from(driver) {
            Driver::Notblk => options(&spec, args.options.as_slice()),
            Driver::Ext4 => String::new(),
        };
        let job = args.amount.job(&spec, options);
        let report = match boot(ctx, &guest, vec![job], args.amount.limit())?.only()? {
            Ok(report) => report,
            Err(code) => return Ok(code),
        };
        print!("{:<8}", guest.driver.name());
        rate::show(&spec, &report)?;
        if rate::rate(&report)?.hits > 0 || report.fsck.is_some() {
            worst = Code::TEST_FAILED;
        }
    }
    Ok(worst)
}
