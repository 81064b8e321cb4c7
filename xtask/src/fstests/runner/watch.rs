// SPDX-License-Identifier: GPL-2.0

//! Watches one guest of a run: each test's clock, and its result as soon as it has ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use notblk_protocol::{Event, SuiteTest};
use notblk_results::TestResult;

use super::log::RunningLog;
use super::{gravity, lock, Part, Runner};
use crate::fstests::verdict::{self, Verdict};
use crate::ui::Step;
use crate::vm::{Flow, Observer};

/// From how many lines on a test's kernel log is a file of its own as well: pages show no more of it.
const LOG: usize = 200;
/// What `check` may take, under KVM, to finish after its last test.
const CLOSING: Duration = Duration::from_secs(60);

/// Watches one guest.
pub(super) struct Watch<'a, 'r> {
    pub runner: &'a Runner<'r>,
    pub stop: &'a AtomicBool,
    pub step: &'a Step,
    pub boot: u32,
    pub part: &'a mut Part,
    /// The test that runs, and since when.
    pub running: Option<(String, Instant)>,
    /// When it hangs; and between the last test and the guest's end, when that does.
    pub deadline: Option<Instant>,
    /// The last result: a further attempt at the test (`-L`) is added to it.
    pub last: Option<TestResult>,
    /// The kernel's log since the running test began.
    pub log: RunningLog,
    /// A result in this guest was bad.
    pub bad: bool,
    /// No other test should be run in this guest.
    pub reboot_due: bool,
    /// First lines of splats that results tell of, and of those that none does yet. They may come before their test's end, or
    /// after it.
    pub claimed: Vec<String>,
    pub unclaimed: Vec<String>,
}

impl Watch<'_, '_> {
    fn begins(&mut self, test: &str) -> Flow {
        let early = self.log.begins(test);
        match &self.last {
            // What came after its end is blamed on it by whoever ends the guest.
            Some(last) if last.test != test && (self.reboot_due || !self.unclaimed.is_empty()) => {
                for line in early {
                    let ui = self.step.ui();
                    ui.warn(&format!(
                        "the kernel reported, in {test}, which is run again: {line}"
                    ));
                    self.claimed.push(line);
                }
                return Flow::Stop;
            }
            Some(_) => {}
            None => {
                for line in self.unclaimed.drain(..) {
                    let ui = self.step.ui();
                    ui.warn(&format!("the kernel reported, before any test: {line}"));
                    self.claimed.push(line);
                }
            }
        }
        self.unclaimed.extend(early);
        let config = &self.runner.configs[self.part.config].name;
        let (known, limit) = {
            let clocks = lock(self.runner.clocks);
            (clocks.known(config, test), clocks.limit(config, test))
        };
        let now = Instant::now();
        self.running = Some((test.to_owned(), now));
        self.deadline = Some(now + limit);
        self.runner.live.begins(self.step, config, test, known);
        Flow::Go
    }

    fn ended(&mut self, test: &SuiteTest) -> Result<Flow> {
        self.running = None;
        let closing = self.runner.guest.accel.scale(CLOSING);
        self.deadline = Some(Instant::now() + lock(self.runner.clocks).closing(closing));
        let Verdict {
            status,
            reason,
            overruled,
        } = verdict::judge(test);
        self.bad |= status.is_bad();
        self.unclaimed.retain(|line| !test.splats.contains(line));
        self.claimed.extend_from_slice(&test.splats);
        if let Some(last) = self.last.as_mut().filter(|last| last.test == test.test) {
            if last.attempts.is_empty() {
                last.attempts.push(last.status);
            }
            last.attempts.push(status);
            if gravity(status) > gravity(last.status) {
                last.status = status;
                last.reason = reason;
                last.overruled = overruled;
                last.output.clone_from(&test.output);
                last.log.clone_from(&test.log);
            }
            self.runner.store.append(last)?;
        } else {
            ensure!(
                self.part.tests.front() == Some(&test.test),
                "the agent reports {}, which was not its turn",
                test.test
            );
            let mut result = self.runner.blank(self.part, &test.test, self.boot);
            result.status = status;
            result.reason = reason;
            result.overruled = overruled;
            result.secs = test.millis as f64 / 1000.0;
            result.output.clone_from(&test.output);
            result.log.clone_from(&test.log);
            for (name, text) in &test.files {
                let path = self.runner.store.keep(
                    &result.config,
                    &test.test,
                    result.round,
                    name,
                    text.as_bytes(),
                )?;
                result.files.push(path);
            }
            if test.log.len() > LOG {
                let text = test.log.join("\n");
                let path = self.runner.store.keep(
                    &result.config,
                    &test.test,
                    result.round,
                    "log",
                    text.as_bytes(),
                )?;
                result.files.push(path);
            }
            self.part.tests.pop_front();
            self.last = Some(result.clone());
            self.runner.record(result)?;
        }
        self.reboot_due |= verdict::wants_reboot(test);
        // Further attempts at a test that failed are all about this one test: they come before the reboot.
        let loops = self.runner.check_args.iter().any(|arg| arg == "-L");
        Ok(match self.reboot_due && !loops {
            true => Flow::Stop,
            false => Flow::Go,
        })
    }
}

impl Observer for Watch<'_, '_> {
    fn event(&mut self, event: &Event) -> Result<Flow> {
        match event {
            Event::SuiteReady { proof } => {
                let config = &self.runner.configs[self.part.config].name;
                self.runner.store.update_run(|run| {
                    let config = run.configs.iter_mut().find(|c| c.name == *config);
                    let Some(config) = config else { return };
                    for line in proof {
                        if !config.proof.contains(line) {
                            config.proof.push(line.clone());
                        }
                    }
                })?;
            }
            Event::SuiteStart { test } => return Ok(self.begins(test)),
            Event::SuiteEnd(test) => return self.ended(test),
            Event::Splat { lines } => {
                let first = lines.first().filter(|line| !self.claimed.contains(line));
                let first = first.filter(|line| !self.log.keeps_splat(line));
                self.unclaimed.extend(first.cloned());
            }
            Event::Log { lines } => lines.iter().for_each(|line| self.log.push(line)),
            _ => {}
        }
        Ok(Flow::Go)
    }

    fn stops(&mut self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn late(&mut self) -> Option<String> {
        let late = self
            .deadline
            .is_some_and(|deadline| Instant::now() > deadline);
        late.then(|| match &self.running {
            Some((test, since)) => format!("{test} did not end in {} s", since.elapsed().as_secs()),
            None => "the suite does not end after its last test".to_owned(),
        })
    }
}
