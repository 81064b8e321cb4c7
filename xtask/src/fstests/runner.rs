// SPDX-License-Identifier: GPL-2.0

//! Runs the chosen tests: parts of the list in guests, as many at a time as asked for, each result kept at once.
//!
//! A guest runs the suite's `check` once, for all tests of its part. Where it hangs, dies, or should not go on (its kernel
//! has warned), the test that was running gets its result and the rest of the part another guest. So a dead guest costs at
//! most the running test, and a test that always kills its guest cannot keep the others from being run.

mod ends;
mod log;
mod watch;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use notblk_results::{Expect, Status, Store, TestResult};

use super::clocks::Clocks;
use super::config::Config;
use super::exclusions::Exclusions;
use super::guest::{Order, SuiteGuest};
use super::live::Live;
use super::repeat::Repeat;
use crate::context::Ctx;
use crate::interrupt;
use crate::vm::{End, Outcome};
use log::RunningLog;
use watch::Watch;

/// How many guests in a row may end before their first test, until that is taken for the host's fault.
const FALSE_STARTS: u32 = 2;

/// What a run is made of.
pub struct Runner<'a> {
    /// What boots.
    pub guest: &'a SuiteGuest,
    /// The configurations, as in the run's `run.json`.
    pub configs: &'a [Config],
    /// What is expected of their tests.
    pub exclusions: &'a Exclusions,
    /// Where results go.
    pub store: &'a Store,
    /// How long tests take.
    pub clocks: &'a Mutex<Clocks>,
    /// The screen.
    pub live: &'a Live,
    /// Further words for `check`.
    pub check_args: Vec<String>,
    /// One test for each guest, whose disks are kept where it goes bad.
    pub keep: bool,
    /// The command that repeats a test.
    pub repeat: Repeat,
}

/// Some tests of one configuration, in one round.
#[derive(Debug)]
pub struct Part {
    /// Index into the configurations.
    pub config: usize,
    /// Which time round the list, from 1.
    pub round: u32,
    /// Which part of the list, from 1.
    pub shard: u32,
    /// The tests, in order.
    pub tests: VecDeque<String>,
}

/// A configuration that could not be run to its end, and why.
#[derive(Debug)]
pub struct Broken {
    /// Index into the configurations.
    pub config: usize,
    /// What the guest or its agent said.
    pub why: String,
}

/// What the workers share.
struct Shared {
    parts: VecDeque<Part>,
    boots: u32,
    broken: Vec<Broken>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A thread that panicked brings the whole run down; until then the others may keep their results.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Runner<'_> {
    /// Runs all parts, in `workers` guests at a time. Returns the configurations that could not be run; fails where the
    /// host fails or the user interrupts.
    pub fn run(
        &self,
        ctx: &Ctx,
        parts: Vec<Part>,
        boots: u32,
        workers: u32,
    ) -> Result<Vec<Broken>> {
        let shared = Mutex::new(Shared {
            parts: parts.into(),
            boots,
            broken: Vec::new(),
        });
        let stop = AtomicBool::new(false);
        let work = |ctx: Ctx| {
            let ended = self.work(&ctx, &shared, &stop);
            if ended.is_err() {
                stop.store(true, Ordering::SeqCst);
            }
            ended
        };
        let ended: Vec<Result<()>> = std::thread::scope(|scope| {
            let work = &work;
            let threads: Vec<_> = (0..workers)
                .map(|_| {
                    let ctx = ctx.clone();
                    scope.spawn(move || work(ctx))
                })
                .collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, Result<()>>| {
                thread.join().expect("a worker does not panic")
            };
            threads.into_iter().map(join).collect()
        });
        interrupt::check()?;
        // The first real error; that others were stopped because of it is none.
        for result in ended {
            match result {
                Err(error) if error.is::<Stopped>() => {}
                other => other?,
            }
        }
        let shared = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(shared.broken)
    }

    /// One worker: part after part, until none is left.
    fn work(&self, ctx: &Ctx, shared: &Mutex<Shared>, stop: &AtomicBool) -> Result<()> {
        loop {
            let Some(mut part) = self.next(shared) else {
                return Ok(());
            };
            let mut false_starts = 0;
            while !part.tests.is_empty() {
                let before = part.tests.len();
                let why = self.boot(ctx, shared, stop, &mut part)?;
                false_starts = match part.tests.len() == before {
                    true => false_starts + 1,
                    false => 0,
                };
                if false_starts >= FALSE_STARTS {
                    let config = part.config;
                    let why = why.unwrap_or_else(|| "the guest ran none of its tests".into());
                    self.store.mark_broken(&self.configs[config].name, &why)?;
                    let mut shared = lock(shared);
                    shared.parts.retain(|part| part.config != config);
                    if shared.broken.iter().all(|known| known.config != config) {
                        shared.broken.push(Broken { config, why });
                    }
                    break;
                }
            }
        }
    }

    fn next(&self, shared: &Mutex<Shared>) -> Option<Part> {
        let mut shared = lock(shared);
        let mut part = shared.parts.pop_front()?;
        if self.keep && part.tests.len() > 1 {
            let rest = part.tests.split_off(1);
            shared.parts.push_front(Part {
                config: part.config,
                round: part.round,
                shard: part.shard,
                tests: rest,
            });
        }
        Some(part)
    }

    /// One guest, for a part's tests; those that get a result are taken from it. Returns why the guest did not run on, if
    /// it did not.
    fn boot(
        &self,
        ctx: &Ctx,
        shared: &Mutex<Shared>,
        stop: &AtomicBool,
        part: &mut Part,
    ) -> Result<Option<String>> {
        let boot = {
            let mut shared = lock(shared);
            shared.boots += 1;
            shared.boots
        };
        let config = &self.configs[part.config];
        let step = ctx.ui.step(
            &format!("guest {boot}"),
            &format!("booting for {}", config.name),
        );
        let log = self.store.console(&config.name, boot)?;
        let tests = part.tests.iter().cloned().collect();
        let spec = config.spec(tests, self.check_args.clone());
        let disks = self
            .keep
            .then(|| self.store.dir().join(format!("disks-{boot}")));
        let mut watch = Watch {
            runner: self,
            stop,
            step: &step,
            boot,
            part,
            running: None,
            deadline: None,
            last: None,
            log: RunningLog::default(),
            bad: false,
            reboot_due: false,
            claimed: Vec::new(),
            unclaimed: Vec::new(),
        };
        let order = Order {
            name: &format!("suite-{boot}"),
            config,
            spec,
            log,
            disks: disks.as_deref(),
        };
        let outcome = self.guest.boot(ctx, order, &step, &mut watch);
        if let Err(error) = lock(self.clocks).save() {
            ctx.ui.warn(&format!("{error:#}"));
        }
        if let (Err(_), Some(disks)) = (&outcome, &disks) {
            // Nobody will look at the disks of a test that did not end. A failure to delete them must not hide the error.
            let _ = std::fs::remove_dir_all(disks);
        }
        let outcome = outcome?;
        let Watch {
            running,
            log,
            bad,
            last,
            claimed,
            ..
        } = watch;
        if stop.load(Ordering::SeqCst) {
            return Err(Stopped.into());
        }
        let ending = Ending {
            boot,
            running: running.map(|(test, began)| (test, began.elapsed())),
            log: log.into_lines(),
            last,
            claimed,
        };
        let (badly, why) = self.conclude(ctx, part, &outcome, ending)?;
        let bad = bad || badly;
        if let Some(disks) = disks {
            match bad {
                true => ctx
                    .ui
                    .note(&format!("kept the disks in {}", disks.display())),
                false => std::fs::remove_dir_all(&disks)
                    .with_context(|| format!("cannot delete {}", disks.display()))?,
            }
        }
        Ok(why)
    }

    /// What the end of a guest means for the test that was running, or for the last one where none was. Returns whether
    /// something bad came of it, and why the guest did not run on, if it did not.
    fn conclude(
        &self,
        ctx: &Ctx,
        part: &mut Part,
        outcome: &Outcome,
        ending: Ending,
    ) -> Result<(bool, Option<String>)> {
        let mut first_lines = outcome.splats.iter().filter_map(|lines| lines.first());
        let splat = first_lines.find(|line| !ending.claimed.contains(line));
        let well = matches!(outcome.end, End::Done | End::Stopped);
        let (status, why) = match (&outcome.end, splat) {
            (End::Done | End::Stopped, None) => return Ok((false, None)),
            // A splat explains a hang, and a death as well.
            (End::Hung(late), Some(line)) => (Status::Splat, format!("{line}; then {late}")),
            (_, Some(line)) => (Status::Splat, line.clone()),
            (End::Hung(late), None) => (Status::Hang, late.clone()),
            (End::Died, None) => (Status::Died, "the guest ended without a word".to_owned()),
            (End::Broken(text), None) => (Status::Fail, format!("the suite gave up: {text}")),
        };
        let goes_on = |why: &str| (!well).then(|| why.to_owned());
        let (mut result, is_new) = match (ending.running, ending.last) {
            // A further attempt at the test that ended last (`-L`).
            (Some((test, _)), Some(mut last)) if last.test == test => {
                if last.attempts.is_empty() {
                    last.attempts.push(last.status);
                }
                last.attempts.push(status);
                (last, false)
            }
            (Some((test, took)), _) => {
                let mut result = self.blank(part, &test, ending.boot);
                result.secs = took.as_secs_f64();
                result.log = ending.log;
                (result, true)
            }
            (None, Some(last)) => (last, false),
            (None, None) if well => {
                ctx.ui
                    .warn(&format!("the kernel reported, with no test: {why}"));
                return Ok((false, None));
            }
            (None, None) => return Ok((false, Some(why))),
        };
        if is_new || gravity(status) > gravity(result.status) {
            result.overruled |= result.status == Status::Pass;
            result.status = status;
            result.reason = Some(match is_new {
                true => why.clone(),
                false => format!("after its end: {why}"),
            });
        }
        for (name, lines) in [("dump", &outcome.dump), ("console", &outcome.console)] {
            if !lines.is_empty() && !well {
                let text = lines.join("\n");
                let path = self.store.keep(
                    &result.config,
                    &result.test,
                    part.round,
                    name,
                    text.as_bytes(),
                )?;
                result.files.push(path);
            }
        }
        part.tests.retain(|other| *other != result.test);
        match is_new {
            true => self.record(result)?,
            false => {
                ctx.ui.warn(&format!(
                    "{} {}: after its end: {why}",
                    result.config, result.test
                ));
                self.store.append(&result)?;
            }
        }
        Ok((true, goes_on(&why)))
    }

    /// A result with what is known beforehand.
    fn blank(&self, part: &Part, test: &str, boot: u32) -> TestResult {
        let config = &self.configs[part.config];
        TestResult {
            config: config.name.clone(),
            test: test.to_owned(),
            round: part.round,
            status: Status::Died,
            reason: None,
            overruled: false,
            attempts: Vec::new(),
            secs: 0.0,
            expected: self.exclusions.find(&config.name, test),
            output: String::new(),
            log: Vec::new(),
            files: Vec::new(),
            boot,
            repeat: self.repeat.command(config, test),
        }
    }

    /// Keeps a result, and shows it.
    fn record(&self, result: TestResult) -> Result<()> {
        {
            let mut clocks = lock(self.clocks);
            match result.status {
                Status::Pass => clocks.took(&result.config, &result.test, result.secs),
                Status::Fail | Status::Skip => {
                    clocks.unpassed(&result.config, &result.test, result.secs);
                }
                _ => {}
            }
        }
        self.store.append(&result)?;
        self.live.ended(&result);
        Ok(())
    }

    /// Records what our own exclusions keep from running, and takes it from the part.
    pub fn exclude(&self, part: &mut Part, expunged: &[String]) -> Result<()> {
        let tests: Vec<String> = part.tests.iter().cloned().collect();
        for test in tests {
            let mut result = self.blank(part, &test, 0);
            let reason = match &result.expected {
                Some(it) if it.expect == Expect::Skip => it.reason.clone(),
                _ if expunged.contains(&test) => "excluded by -e or -E".to_owned(),
                _ => continue,
            };
            result.status = Status::Excluded;
            result.reason = Some(reason);
            part.tests.retain(|other| *other != test);
            self.record(result)?;
        }
        Ok(())
    }
}

/// Another worker's error ends this one.
#[derive(Debug)]
struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stopped, because another guest's host side failed")
    }
}

impl std::error::Error for Stopped {}

/// What was going on when a guest ended.
struct Ending {
    boot: u32,
    running: Option<(String, Duration)>,
    /// The kernel's log since the running test began.
    log: Vec<String>,
    /// The last result of this guest.
    last: Option<TestResult>,
    /// First lines of the splats that results tell of.
    claimed: Vec<String>,
}

/// Of two statuses of one test, the one with more of it counts.
fn gravity(status: Status) -> u8 {
    match status {
        Status::Skip | Status::Excluded => 0,
        Status::Pass => 1,
        Status::Died => 2,
        Status::Fail => 3,
        Status::Hang => 4,
        Status::Splat => 5,
    }
}
