// SPDX-License-Identifier: GPL-2.0

//! The tests of the host's crates, by cargo.

use std::fs;
use std::time::Instant;

use anyhow::{bail, Context, Result};

use crate::context::Ctx;
use crate::process::{self, Manner};

use super::report::Report;

/// The packages. (`notblk-format` has its tests in `notblk-host-tests`, which may use e2fsprogs and the standard library.)
const PACKAGES: [&str; 9] = [
    "notblk-host-tests",
    "notblk-hostile",
    "notblk-protocol",
    "notblk-race",
    "notblk-results",
    "notblk-bisect",
    "notblk-columns",
    "notblk-agent",
    "xtask",
];

/// Runs them all.
pub fn run(ctx: &Ctx, report: &mut Report) -> Result<()> {
    for package in PACKAGES {
        one(ctx, package, report)?;
    }
    Ok(())
}

fn one(ctx: &Ctx, package: &str, report: &mut Report) -> Result<()> {
    let step = ctx.ui.step("host tests", package);
    let log = ctx.cache.log(&format!("test-{package}"));
    let _ = fs::remove_file(&log);
    let mut command = process::host_command("cargo");
    command
        .args(["test", "--package", package, "--no-fail-fast"])
        .current_dir(&ctx.repo)
        .envs(process::network_env());
    for name in ["CARGO_HOME", "RUSTUP_HOME", "CARGO_TARGET_DIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let started = Instant::now();
    let outcome = process::run_any(
        &step,
        &log,
        &format!("testing {package}"),
        &mut command,
        Manner::Firm,
    )?;
    let text =
        fs::read_to_string(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let (passed, failed, skipped) = counts(&text);
    report.add_many(
        &format!("host {package}"),
        passed,
        failed,
        skipped,
        started.elapsed(),
    );
    if !outcome.status.success() {
        text.lines().for_each(|line| println!("         {line}"));
        if failed == 0 {
            bail!("the tests of {package} do not build or run; see above");
        }
    } else if passed == 0 {
        bail!("{package} has no tests");
    }
    println!(
        "{}   {package}: {passed} tests ({:.1} s)",
        if failed == 0 { "passed" } else { "FAILED" },
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Adds up the lines `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
fn counts(text: &str) -> (usize, usize, usize) {
    let mut sum = (0, 0, 0);
    for line in text.lines().filter(|line| line.starts_with("test result:")) {
        let number = |what: &str| {
            let words: Vec<&str> = line
                .split([' ', ';'])
                .filter(|word| !word.is_empty())
                .collect();
            let at = words.iter().position(|word| *word == what)?;
            words.get(at.checked_sub(1)?)?.parse::<usize>().ok()
        };
        sum.0 += number("passed").unwrap_or(0);
        sum.1 += number("failed").unwrap_or(0);
        sum.2 += number("ignored").unwrap_or(0);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up() {
        let text = "running 3 tests\n\
            test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
            test result: FAILED. 1 passed; 2 failed; 4 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(counts(text), (4, 2, 4));
        assert_eq!(counts("error: could not compile"), (0, 0, 0));
    }
}
