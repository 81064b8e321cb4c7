// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask matrix`: build, boot, `test` and `race` over kernels and configurations, in one table.
//!
//! [`plan`] says which rows there are, [`run`](mod@run) runs one, [`row`] is what became of it, [`table`] shows them all. A row that fails does not stop the others.

mod plan;
mod row;
mod run;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::context::Ctx;
use crate::errors::{Code, Exit};
use crate::guest::{self, DriverArg, MachineArgs};
use crate::interrupt;
use crate::kernel;
use crate::kernels::Kernels;
use crate::setup;
use crate::test;
pub use plan::Matrix;
use row::{Row, State};
use run::Job;

/// `--only`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Only {
    /// Kernel and module; nothing is booted
    Build,
    /// The guest tests
    Test,
    /// The race
    Race,
}

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns and notes
    Table,
    /// One JSON value
    Json,
    /// The table as Markdown
    Markdown,
}

/// Options of `matrix`.
#[derive(clap::Args)]
#[command(
    after_help = "Without --kernel and --config, the rows are those of [matrix] in qemu/kernels.toml, and what is left out there \
    stands in the table with its reason. --config alone takes the kernels from there; --kernel alone means `stock`.\n\n\
    build is the time for the kernel, where it is not in the cache, and the module; boot, what the row's first guest took to its \
    first word; then come the guest tests, and the race as without options. The tests of the host's crates and those of \
    run-xfstests are the same for all rows, and not run here: `cargo xtask test`.\n\n\
    A kernel without Rust has no notblk: `build` says so, and test and race run on its C driver, where the race is a failure as \
    it is to `race`.\n\n\
    Exit code: the worst of all rows', in this order: 130 interrupted; 5 kernel splat; 4 hang; 1 a test or the race failed, or \
    notblk does not build; 3 the host or its set-up failed; 2 a kernel or configuration cannot be had, or all rows are left out; \
    0 all passed. So what the driver did is never hidden behind a row that could not be run."
)]
pub struct Args {
    /// Only guest tests whose names contain one of these
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// A kernel, as other commands name it (repeatable) [default: those of qemu/kernels.toml]
    #[arg(long = "kernel", value_name = "KERNEL")]
    kernels: Vec<String>,
    /// A configuration: `stock`, the kernel as it is named; or fragments of qemu/kconfig, like debug or kasan+kunit
    /// (repeatable)
    #[arg(long = "config", value_name = "CONFIG")]
    configs: Vec<String>,
    /// Only this part of each row
    #[arg(long, value_enum)]
    only: Option<Only>,
    /// The filesystem driver [default: notblk, and ext4 where the kernel has no Rust]
    #[arg(long, value_enum)]
    driver: Option<DriverArg>,
    #[command(flatten)]
    machine: MachineArgs,
    /// How to print the result
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Also write the result there as JSON, anew after each row
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// `cargo xtask matrix`.
pub fn run(ctx: &Ctx, args: Args) -> Result<Code> {
    let mut job = Job {
        only: args.only,
        tests: Vec::new(),
        driver: args.driver,
        machine: args.machine.clone(),
    };
    if !args.names.is_empty() && !job.wants_test() {
        return Err(Exit::usage("names choose tests, and --only leaves them out").into());
    }
    let known = Kernels::read(&ctx.repo)?;
    let matrix = known
        .matrix
        .unwrap_or_else(|| Matrix::of_one(&known.default));
    let cells = matrix.cells(&args.kernels, &args.configs)?;
    // A slip of the pen is found now, not after half an hour.
    for cell in cells.iter().filter(|cell| cell.left_out.is_none()) {
        kernel::check(&ctx.repo, &cell.name())?;
    }
    let mut rows: Vec<Row> = cells.into_iter().map(Row::new).collect();
    let keep = |rows: &[Row]| match &args.json {
        Some(path) => write(path, rows),
        None => Ok(()),
    };
    keep(&rows)?;
    if rows.iter().any(|row| row.state == State::Waiting) {
        // The toolbox is no row's: its time would say nothing about the first one.
        let programs = match job.boots() {
            true => guest::programs(job.wants_test()),
            false => Vec::new(),
        };
        let built = setup::common(ctx, &programs)?;
        if job.wants_test() {
            let agent = built.first().context("the agent was not built")?;
            job.tests = test::choose(test::list(agent)?, &args.names);
            if job.tests.is_empty() {
                return Err(test::none_called(&args.names));
            }
        }
    }
    let all = rows.len();
    for number in 1..=all {
        let row = &mut rows[number - 1];
        if row.state != State::Waiting {
            continue;
        }
        if interrupt::requested() {
            break;
        }
        let title = format!("matrix {number} of {all}: {}", row.title());
        ctx.ui.note(&title);
        row.run(ctx, number, &job);
        let took = table::seconds(row.seconds);
        ctx.ui
            .note(&format!("{title}: {} ({took})", table::outcome(row)));
        keep(&rows)?;
    }
    match args.format {
        Format::Json => println!("{}", json(&rows)),
        format => {
            let mut shown = table::shown(&rows, &job, &args.names);
            for (row, number) in rows.iter().zip(1..).filter(|(row, _)| row.is_bad()) {
                let logs = ctx.cache.log(&format!("*console-{}-*", run::label(number)));
                if row.booted() {
                    let note = format!("consoles of {}: {}", row.title(), logs.display());
                    shown.notes.push(note);
                }
            }
            match format {
                Format::Markdown => print!("{}", shown.markdown()),
                _ => print!("{}", shown.text()),
            }
        }
    }
    interrupt::check()?;
    row::worst(&rows).ok_or_else(|| {
        Exit::usage("nothing was run: the table says why")
            .hint("--kernel names a kernel that is run in any case")
            .into()
    })
}

/// Everything, for programs.
fn json(rows: &[Row]) -> String {
    let code = row::worst(rows);
    let all = rows.iter().all(Row::is_settled);
    let value = serde_json::json!({
        "passed": all && code == Some(Code::PASSED),
        "complete": all,
        "code": code,
        "rows": rows,
    });
    value.to_string()
}

/// Keeps what is known so far, all of it or what was there before.
fn write(path: &Path, rows: &[Row]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let tmp = path.with_file_name(name);
    fs::write(&tmp, json(rows) + "\n")
        .and_then(|()| fs::rename(&tmp, path))
        .inspect_err(|_| drop(fs::remove_file(&tmp)))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::row::tests::{bad_build, good, left_out, waiting};
    use super::*;

    fn value(rows: &[Row]) -> serde_json::Value {
        serde_json::from_str(&json(rows)).unwrap()
    }

    #[test]
    fn a_program_can_tell_passed_from_failed_and_from_not_yet() {
        let passed = value(&[good("7.3", "stock"), left_out("7.2", "debug")]);
        assert_eq!(passed["passed"], true);
        assert_eq!(passed["rows"][0]["test"]["ran"]["passed"], 93);
        assert_eq!(passed["rows"][1]["state"]["left_out"], "too slow");
        let running = value(&[good("7.3", "stock"), waiting("7.2", "stock")]);
        assert_eq!(running["passed"], false);
        assert_eq!(running["complete"], false);
        assert_eq!(running["code"], 0);
        let failed = value(&[good("7.3", "stock"), bad_build("7.2", "stock")]);
        assert_eq!(failed["passed"], false);
        assert_eq!(failed["code"], 3);
        assert_eq!(value(&[left_out("7.2", "debug")])["passed"], false);
    }

    #[test]
    fn the_file_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("matrix.json");
        write(&path, &[waiting("7.3", "stock")]).unwrap();
        write(&path, &[good("7.3", "stock")]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("\"passed\":true"), "{text}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write(&dir.path().join("no/matrix.json"), &[]).is_err());
    }
}
