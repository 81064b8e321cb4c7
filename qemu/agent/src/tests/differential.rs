// SPDX-License-Identifier: GPL-2.0
//! The same random operations on this driver and on the kernel's C driver: the short form of `cargo xtask compare`.

use super::env::Env;
use super::{test, Test};
use crate::compare::{compare, Limits};
use anyhow::{bail, ensure, Result};
use notblk_protocol::{CompareReport, CompareSpec, Driver};
use std::time::Duration;

/// Operations per test.
const OPERATIONS: u32 = 3000;
/// What the search for a short sequence may take, within the time of a test.
const SHRINK: Duration = Duration::from_secs(90);

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (name, block, inode) in [
        ("1k", 1024, 256),
        ("4k", 4096, 256),
        ("1k-inodes-of-128", 1024, 128),
    ] {
        let run = move |env: &Env| same(env, block, inode);
        tests.push(test(&format!("differential/{name}"), run));
    }
    tests.push(test("differential/finds-a-difference", finds_one));
    tests.push(test("differential/slow-operation", slow));
    tests
}

fn spec(env: &Env, block_size: u32, inode_size: u32, ops: u32) -> CompareSpec {
    CompareSpec {
        seed: env.seed,
        ops,
        block_size,
        inode_size,
        only: Vec::new(),
        without: Vec::new(),
        unshrunk: false,
    }
}

fn same(env: &Env, block_size: u32, inode_size: u32) -> Result<()> {
    let limits = Limits {
        subject: env.driver(),
        shrink: SHRINK,
        sabotage: None,
    };
    let report = compare(
        env.guest,
        &spec(env, block_size, inode_size, OPERATIONS),
        &limits,
    )?;
    for (class, why) in &report.left_out {
        // What the control lacks says nothing; what this driver lacks and the control has is a difference.
        ensure!(
            !why.starts_with(&format!("{} ", env.driver())),
            "left out: {class}, because {why}"
        );
        env.note(format!("left out: {class}, because {why}"));
    }
    if let Some(text) = described(&report) {
        bail!("seed {}: {text}", env.seed);
    }
    ensure!(
        report.trees > 0 && report.checks > 0,
        "the trees were not compared"
    );
    Ok(())
}

/// A difference in lines.
fn described(report: &CompareReport) -> Option<String> {
    let found = report.difference.as_ref()?;
    let mut text = found.lines.join("\n");
    text.push_str(&format!("\nby these {} operations:", found.sequence.len()));
    for (number, op) in &found.sequence {
        text.push_str(&format!("\n{number:>8}  {op}"));
    }
    Some(text)
}

/// The test of the test: where one driver is made to do something else, the shortest sequence comes out.
fn finds_one(env: &Env) -> Result<()> {
    let limits = Limits {
        // With itself the C driver agrees in all else.
        subject: Driver::Ext4,
        shrink: SHRINK,
        sabotage: Some(crate::compare::other_modes),
    };
    let report = compare(env.guest, &spec(env, 4096, 256, 400), &limits)?;
    let Some(found) = &report.difference else {
        bail!("it was not seen that mkdir had been given another mode");
    };
    let kinds: Vec<_> = found.sequence.iter().map(|(_, op)| op.as_str()).collect();
    ensure!(
        kinds.len() == 1
            && kinds[0].contains("mkdir")
            && found.lines.iter().any(|line| line.contains("mode")),
        "the sequence that shows it is {kinds:?}: {:?}",
        found.lines
    );
    env.note(format!(
        "{} tries from operation {}",
        found.tries, report.done
    ));
    Ok(())
}

/// An operation that takes long is no difference, though both drivers take the time from the clock.
fn slow(env: &Env) -> Result<()> {
    let limits = Limits {
        subject: env.driver(),
        shrink: SHRINK,
        sabotage: Some(crate::compare::slow_mkdir),
    };
    let report = compare(env.guest, &spec(env, 4096, 256, 400), &limits)?;
    if let Some(text) = described(&report) {
        bail!("seed {}: {text}", env.seed);
    }
    ensure!(
        report.millis >= 20_000,
        "no operation was slow: {} ms",
        report.millis
    );
    Ok(())
}
