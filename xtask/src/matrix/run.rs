// SPDX-License-Identifier: GPL-2.0

//! How a row is run: built, booted, tested and raced. Whatever goes wrong stays in its row.

use std::time::Instant;

use anyhow::Result;

use super::row::{Column, Named, Problem, Race, Row, State, Tests};
use super::Only;
use crate::context::Ctx;
use crate::errors::{classify, Code};
use crate::guest::{DriverArg, Guest, GuestArgs, MachineArgs};
use crate::interrupt;
use crate::kernel::{NoRust, Want};
use crate::race;
use crate::test::{self, Report};

/// How random guest tests are run: as `cargo xtask test` does.
const HOW: test::How = test::How {
    seed: 1,
    fsx_ops: None,
};

/// What is done in each row.
pub struct Job {
    /// Only this part.
    pub only: Option<Only>,
    /// The guest tests.
    pub tests: Vec<String>,
    /// The driver, where the user has a wish.
    pub driver: Option<DriverArg>,
    /// What guests are given.
    pub machine: MachineArgs,
}

impl Job {
    /// True where the guest tests are run.
    pub fn wants_test(&self) -> bool {
        matches!(self.only, None | Some(Only::Test))
    }

    /// True where the race is run.
    pub fn wants_race(&self) -> bool {
        matches!(self.only, None | Some(Only::Race))
    }

    /// True where a guest boots.
    pub fn boots(&self) -> bool {
        self.only != Some(Only::Build)
    }
}

/// What the logs of a row's guests begin with.
pub fn label(number: usize) -> String {
    format!("matrix-{number}")
}

impl Row {
    /// Runs it.
    pub fn run(&mut self, ctx: &Ctx, number: usize, job: &Job) {
        let began = Instant::now();
        self.state = State::Ended;
        self.parts(ctx, number, job);
        if interrupt::requested() {
            self.state = State::Interrupted;
        }
        self.seconds = began.elapsed().as_secs_f64();
    }

    fn parts(&mut self, ctx: &Ctx, number: usize, job: &Job) {
        let began = Instant::now();
        let built = match job.driver {
            Some(driver) => self.build(ctx, job, driver),
            None => match self.build(ctx, job, DriverArg::Notblk) {
                Err(error) if error.is::<NoRust>() => {
                    self.build = Column::CannotRun(NoRust.to_string());
                    match job.boots() {
                        true => self.build(ctx, job, DriverArg::Ext4),
                        false => Ok(None),
                    }
                }
                other => other,
            },
        };
        let guest = match built {
            Ok(guest) => guest,
            Err(error) => return self.problem(ctx, "build", &error),
        };
        if self.build == Column::Empty {
            self.build = Column::Ran(began.elapsed().as_secs_f64());
        }
        let Some(mut guest) = guest else { return };
        guest.label = Some(label(number));
        if job.wants_test() {
            self.test(ctx, &guest, &job.tests);
        }
        if !job.wants_race() || interrupt::requested() {
            return;
        }
        match job.wants_test() && self.boot.is_none() {
            true => self.race = Column::CannotRun("no guest came up".into()),
            false => self.race(ctx, &guest),
        }
    }

    /// Makes all that a guest needs, and the guest where one is to boot.
    fn build(&mut self, ctx: &Ctx, job: &Job, driver: DriverArg) -> Result<Option<Guest>> {
        if !job.boots() {
            let want = match driver {
                DriverArg::Notblk => Want::Tree,
                DriverArg::Ext4 => Want::BootOnly,
            };
            let kernel = ctx.kernel(Some(&self.name), want)?;
            if driver == DriverArg::Notblk {
                ctx.build_module(&ctx.toolbox()?, &kernel)?;
            }
            self.driver = Some(driver.into());
            self.release = Some(kernel.release);
            return Ok(None);
        }
        let args = GuestArgs {
            driver,
            kernel: Some(self.name.clone()),
            machine: job.machine.clone(),
        };
        let guest = Guest::prepare(ctx, &args, job.wants_test())?;
        self.driver = Some(guest.driver);
        self.release = Some(guest.kernel.release.clone());
        Ok(Some(guest))
    }

    fn test(&mut self, ctx: &Ctx, guest: &Guest, tests: &[String]) {
        let mut report = Report::as_progress();
        let ended = test::in_guest(ctx, guest, tests, HOW, &mut report);
        self.boot = report.boot.map(|time| time.as_secs_f64());
        // What was seen before the error counts; that nothing passed is the error's fault.
        let code = match ended.is_err() && report.is_good_so_far() {
            true => Code::PASSED,
            false => report.code(),
        };
        self.test = Column::Ran(Tests::of(&report, code));
        if let Err(error) = ended {
            self.problem(ctx, "test", &error);
        }
    }

    fn race(&mut self, ctx: &Ctx, guest: &Guest) {
        let once = match race::once(ctx, guest) {
            Ok(once) => once,
            Err(error) => return self.problem(ctx, "race", &error),
        };
        let boot = once.boot.map(|time| time.as_secs_f64());
        self.boot = self.boot.or(boot);
        let (verdict, code) = match once.end {
            Ok(verdict) => (verdict.line.clone(), verdict.code()),
            Err((line, code)) => (line, code),
        };
        self.race = Column::Ran(Race {
            verdict,
            rows: once.rows,
            code,
        });
    }

    /// Keeps an error, and shows it now: with its hint, for which the table has no room.
    fn problem(&mut self, ctx: &Ctx, part: &'static str, error: &anyhow::Error) {
        let exit = classify(error);
        if exit.code == Code::INTERRUPTED {
            return;
        }
        ctx.ui.print(&format!("error: {}", exit.line));
        if let Some(hint) = &exit.hint {
            ctx.ui.print(&format!("hint: {hint}"));
        }
        self.problems.push(Problem {
            part,
            code: exit.code,
            line: exit.line,
        });
    }
}

impl Tests {
    fn of(report: &Report, code: Code) -> Tests {
        let sum = report.sum();
        let named = |list: &[(String, String)]| {
            let each = list.iter().cloned();
            each.map(|(name, why)| Named { name, why }).collect()
        };
        Tests {
            passed: sum.passed,
            failed: sum.failed,
            skipped: sum.skipped,
            failures: named(&report.failures),
            skips: named(&report.skips),
            code,
        }
    }
}
