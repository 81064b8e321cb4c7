// SPDX-License-Identifier: GPL-2.0

//! The tests in the guest: as many as possible in one boot, and a new boot after one that took the machine down.
//!
//! Two kinds of tests are kept apart: each of [`PANICS`] has a boot of its own, which it must end, and each group of [`APART`] has
//! boots of its own, with its words on the kernel's command line.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{ensure, Context, Result};
use notblk_protocol::{Event, TestSpec, Verdict, Work};

use crate::context::Ctx;
use crate::errors::{Code, Exit};
use crate::guest::Guest;
use crate::vm::End;

use super::report::Report;

/// What one boot may take in all.
const LIMIT: Duration = Duration::from_secs(3600);

/// How the names of tests begin that the guest must not survive, and what the kernel says then, of whichever driver.
const PANICS: &str = "panic/";
const PANIC: &str = "Kernel panic - not syncing: ";
const REASONS: &[&str] = &["errors=panic", "panic forced after error"];

/// How the names of tests begin that need a kernel that is told something more, and what: words that would disturb other tests.
const APART: &[(&str, &str)] = &[
    // Everything that is made gets a label, in an attribute.
    ("labels/", "lsm=selinux"),
];

/// What an operation of fsx may take, on a kernel that nothing watches.
const FSX_OPERATION: Duration = Duration::from_millis(30);

/// How random tests are run.
#[derive(Clone, Copy)]
pub struct How {
    /// Their seed.
    pub seed: u64,
    /// Operations of each that runs fsx, where there is a wish.
    pub fsx_ops: Option<u32>,
}

impl How {
    /// What one boot may take for so many tests.
    fn limit(self, tests: &VecDeque<String>) -> Duration {
        let fsx = tests.iter().filter(|name| name.starts_with("fsx/")).count();
        let operations = u32::try_from(fsx)
            .unwrap_or(u32::MAX)
            .saturating_mul(self.fsx_ops.unwrap_or(0));
        LIMIT.saturating_add(FSX_OPERATION.saturating_mul(operations))
    }
}

/// The tests that the agent has; started on the host, it prints them as JSON.
pub fn list(agent: &Path) -> Result<Vec<String>> {
    let output = std::process::Command::new(agent)
        .arg("list")
        .output()
        .context("cannot ask the agent for its tests")?;
    ensure!(output.status.success(), "the agent does not list its tests");
    serde_json::from_slice(&output.stdout).context("the agent's list of tests")
}

/// What the kernel is told for a test.
fn told(test: &str) -> &'static str {
    let group = APART.iter().find(|(start, _)| test.starts_with(start));
    group.map_or("", |(_, words)| words)
}

/// What the kernel is told for a boot with this work: tests that go together are told the same.
pub fn cmdline(work: &Work) -> &'static str {
    match work {
        Work::Test(spec) => spec.names.first().map_or("", |test| told(test)),
        _ => "",
    }
}

/// Runs the tests given.
pub fn run(
    ctx: &Ctx,
    guest: &Guest,
    tests: &[String],
    how: How,
    report: &mut Report,
) -> Result<()> {
    let (deadly, others): (VecDeque<String>, VecDeque<String>) = tests
        .iter()
        .cloned()
        .partition(|name| name.starts_with(PANICS));
    for name in deadly {
        panics(ctx, guest, name, how, report)?;
    }
    // Those that are told nothing go first.
    let mut groups: BTreeMap<_, VecDeque<String>> = BTreeMap::new();
    for name in others {
        groups.entry(told(&name)).or_default().push_back(name);
    }
    for mut left in groups.into_values() {
        while !left.is_empty() {
            boot(ctx, guest, &mut left, how, report)?;
            if report.gives_up && report.boot.is_none() && !left.is_empty() {
                let line = format!(
                    "the guest does not come up: {} tests were not run",
                    left.len()
                );
                return Err(Exit::host(line).into());
            }
        }
    }
    Ok(())
}

/// One boot for a test that must end in a panic. A test that fails says why, and then nothing has died.
fn panics(ctx: &Ctx, guest: &Guest, name: String, how: How, report: &mut Report) -> Result<()> {
    let step = ctx.ui.step(
        "guest tests",
        &format!("booting {} for {name}", guest.kernel.release),
    );
    let began = Instant::now();
    let work = Work::Test(TestSpec {
        names: vec![name.clone()],
        seed: how.seed,
        fsx_ops: how.fsx_ops,
    });
    let mut said = None;
    let outcome = guest.boot(ctx, "test", work, Some(LIMIT), Some(&step), |event| {
        if let Event::Test { verdict, .. } = event {
            said = Some(verdict.clone());
        }
        Ok(())
    })?;
    let panicked = outcome
        .splats
        .iter()
        .flatten()
        .any(|line| line.contains(PANIC) && REASONS.iter().any(|reason| line.contains(reason)));
    let verdict = match said {
        Some(verdict) => verdict,
        None if panicked => Verdict::Passed,
        None => {
            if let Some(code) = outcome.report(ctx) {
                report.ended_badly(code);
            }
            Verdict::Failed(format!("no panic, but the end: {:?}", outcome.end))
        }
    };
    report.add(&name, &verdict, began.elapsed());
    step.done("ended");
    Ok(())
}

/// One boot for the tests given, of which those that were run are taken.
fn boot(
    ctx: &Ctx,
    guest: &Guest,
    tests: &mut VecDeque<String>,
    how: How,
    report: &mut Report,
) -> Result<()> {
    let what = match tests.len() {
        1 => tests[0].clone(),
        many => format!("{many} tests"),
    };
    let step = ctx.ui.step(
        "guest tests",
        &format!(
            "booting {} ({}) for {what}",
            guest.kernel.release, guest.accel
        ),
    );
    let work = Work::Test(TestSpec {
        names: tests.iter().cloned().collect(),
        seed: how.seed,
        fsx_ops: how.fsx_ops,
    });
    let limit = how.limit(tests);
    let mut failed_here = false;
    let mut spoke = false;
    let mut began = Instant::now();
    let outcome = guest.boot(ctx, "test", work, Some(limit), Some(&step), |event| {
        spoke |= matches!(event, Event::Ready { .. });
        if let Event::Test {
            name,
            verdict,
            notes,
            millis,
        } = event
        {
            ensure!(
                tests.front() == Some(name),
                "the agent reports {name}, which was not its turn"
            );
            tests.pop_front();
            failed_here |= matches!(verdict, Verdict::Failed(_));
            ctx.ui.suspend(|| {
                report.add(name, verdict, Duration::from_millis(*millis));
                report.note(notes);
            });
            began = Instant::now();
        }
        Ok(())
    })?;
    if spoke {
        report.boot.get_or_insert(outcome.boot_time);
    }
    // It prints by `Ui::print`, which must not be nested in `Ui::suspend`.
    let code = outcome.report(ctx);
    if let Some(code) = code {
        report.ended_badly(code);
    }
    // What was running when the guest ended has failed; the rest gets another boot.
    if outcome.end != End::Done {
        let why = match &outcome.end {
            End::Hung(step) => format!("the guest hangs: {step}"),
            End::Broken(text) => format!("the agent failed: {text}"),
            End::Done | End::Died | End::Stopped => "the guest died".to_owned(),
        };
        if let Some(name) = tests.pop_front() {
            report.add(&name, &Verdict::Failed(why), began.elapsed());
        }
    } else if !failed_here {
        // Only a test that left a warning behind ends a boot early.
        ensure!(
            tests.is_empty(),
            "the agent is done, but said nothing about {}",
            tests[0]
        );
    }
    if code == Some(Code::SPLAT) && !failed_here && outcome.end == End::Done {
        // Logged outside of any test: between two, or while the module was loaded.
        report.add(
            "guest log",
            &Verdict::Failed("the kernel reported a warning".into()),
            Duration::ZERO,
        );
    }
    step.done("powered off");
    Ok(())
}
