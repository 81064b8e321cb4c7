// SPDX-License-Identifier: GPL-2.0
//! The race lab: every order of the actors' stages, one order again and again, or no order at all.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`holds`] | the driver's hold points |
//! | [`actor`], [`calls`] | who acts, and what an act is |
//! | [`task`] | whether an actor is blocked, and where |
//! | [`files`] | fresh files for each order |
//! | [`runner`] | one order |
//! | [`checks`] | whether all is as it must be at its end |
//! | [`trace`] | what the kernel did meanwhile |

mod actor;
mod calls;
mod checks;
mod files;
mod holds;
mod runner;
mod task;
mod trace;

use crate::fs::{self, Image, Mounted, DISK, MNT};
use crate::Guest;
use anyhow::{bail, Context, Result};
use notblk_protocol::{Event, LabOutcome, LabReport, LabSpec, LabWork, Small};
use notblk_race::explore::{explore, Limits};
use notblk_race::minimize::minimize;
use notblk_race::run::{Failure, Runner, Verdict};
use notblk_race::{Schedule, Spec};
use runner::Lab;
use std::path::Path;
use std::time::{Duration, Instant};
use trace::Recorder;

/// Size of the filesystem in MiB.
const MIB: u32 = 64;
/// Longest silence of the guest, in seconds: an order, however it ends, takes less.
const SILENCE: u64 = 60;
/// How often the host hears how far it is.
const TELL: Duration = Duration::from_millis(500);

/// Does it, and reports.
pub fn run(guest: &Guest, specs: &[LabSpec]) -> Result<()> {
    fs::load(guest.driver)?;
    for spec in specs {
        let (report, dead) = one(guest, spec).with_context(|| spec.spec.name.clone())?;
        guest.host.send(&Event::Lab(Box::new(report)))?;
        if dead {
            bail!(
                "{}: an actor does not come back, so nothing more can be run in this boot",
                spec.spec.name
            );
        }
    }
    Ok(())
}

/// One spec on a filesystem of its own; and whether an actor hangs in it.
fn one(guest: &Guest, lab: &LabSpec) -> Result<(LabReport, bool)> {
    let spec = &lab.spec;
    guest.host.step(&format!("race {}", spec.name), SILENCE)?;
    let image = Image {
        block_size: spec.block_size,
        inode_size: 256,
        mib: MIB,
    };
    fs::make(guest.driver, DISK, image)?;
    let mounted = Mounted::new(guest.driver, DISK, MNT, &lab.options)?;
    let (outcome, millis, dead) = {
        let held = !matches!(lab.work, LabWork::Rate { .. });
        let mut stage = Lab::new(spec, DISK, Path::new(MNT), held)?;
        let mut clock = Clock(Instant::now(), Duration::ZERO);
        let outcome = work(guest, lab, &mut stage, &mut clock)?;
        let spent = match clock.1 {
            Duration::ZERO => clock.0.elapsed(),
            stopped => stopped,
        };
        (outcome, u64::try_from(spent.as_millis())?, stage.is_dead())
    };
    // Where somebody hangs in it the filesystem stays mounted, and nothing can be said of it.
    let fsck = match dead {
        true => {
            std::mem::forget(mounted);
            None
        }
        false => {
            mounted.end()?;
            fs::check(DISK)?
        }
    };
    let report = LabReport {
        kernel: crate::boot::release(),
        options: lab.options.clone(),
        outcome,
        millis,
        fsck,
    };
    Ok((report, dead))
}

/// Since when orders are run, and how long they took where something else came after them.
struct Clock(Instant, Duration);

fn work(guest: &Guest, lab: &LabSpec, stage: &mut Lab, clock: &mut Clock) -> Result<LabOutcome> {
    let mut told = Instant::now();
    // Whether it is time to tell the host again.
    let mut is_due = || {
        let due = told.elapsed() > TELL;
        if due {
            told = Instant::now();
        }
        due
    };
    match &lab.work {
        LabWork::Explore {
            preemptions,
            runs,
            seconds,
            minimize,
        } => {
            let limits = Limits {
                preemptions: *preemptions,
                runs: *runs,
            };
            let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
            let dead = std::cell::Cell::new(false);
            let mut watched = Watched {
                lab: stage,
                dead: &dead,
            };
            let summary = explore(&lab.spec, &mut watched, limits, &mut |summary| {
                if is_due() {
                    // The host has gone: so will the guest.
                    let _ = guest.host.progress(summary.runs, 0);
                }
                !dead.get() && until.is_none_or(|until| Instant::now() < until)
            });
            clock.1 = clock.0.elapsed();
            let mut small = Vec::new();
            for failing in summary.failing.iter().take(*minimize as usize) {
                if dead.get() {
                    break;
                }
                guest.host.progress(summary.runs, 0)?;
                small.push(shrink(guest, &lab.spec, &failing.schedule)?);
            }
            Ok(LabOutcome::Explored { summary, small })
        }
        LabWork::Replay {
            choices,
            times,
            trace,
        } => {
            let mut ways: Vec<(notblk_race::Run, u32)> = Vec::new();
            let mut events = Vec::new();
            for number in 0..*times {
                let recorder = match *trace && number == 0 {
                    true => Some(Recorder::start()?),
                    false => None,
                };
                let run = stage.run(choices);
                if let Some(recorder) = recorder {
                    events = recorder.end(&stage.owners())?;
                }
                match ways.iter_mut().find(|(known, _)| *known == run) {
                    Some((_, count)) => *count += 1,
                    None => ways.push((run, 1)),
                }
                if stage.is_dead() {
                    break;
                }
                if is_due() {
                    guest
                        .host
                        .progress(u64::from(number) + 1, u64::from(*times))?;
                }
            }
            Ok(LabOutcome::Replayed {
                ways,
                trace: events,
            })
        }
        LabWork::Minimize { schedule } => {
            let choices = schedule.choices(&lab.spec)?;
            let run = stage.run(&choices);
            let small = match run.verdict {
                Verdict::Failed(_) if !stage.is_dead() => {
                    // All of it, to the end, as it went.
                    let found = Schedule::of(&lab.spec, &run);
                    Some(shrink(guest, &lab.spec, &found)?)
                }
                _ => None,
            };
            Ok(LabOutcome::Minimized(small))
        }
        LabWork::Rate { times, seconds } => {
            let begun = Instant::now();
            let (mut done, mut failed) = (0, 0);
            let mut failures: Vec<(Failure, u64)> = Vec::new();
            while done < *times
                && (*seconds == 0 || begun.elapsed() < Duration::from_secs(*seconds))
                && !stage.is_dead()
            {
                done += 1;
                if let Verdict::Failed(found) = stage.free()? {
                    failed += 1;
                    for failure in found {
                        match failures.iter_mut().find(|(known, _)| *known == failure) {
                            Some((_, count)) => *count += 1,
                            None => failures.push((failure, 1)),
                        }
                    }
                }
                if is_due() {
                    guest.host.progress(done, *times)?;
                }
            }
            Ok(LabOutcome::Rated {
                times: done,
                failed,
                failures,
            })
        }
    }
}

/// Takes away from a failing order what it fails without.
fn shrink(guest: &Guest, spec: &Spec, schedule: &Schedule) -> Result<Small> {
    let mut number = 0;
    let mut told = Instant::now();
    let mut fails = |spec: &Spec, schedule: &Schedule| {
        number += 1;
        if told.elapsed() > TELL {
            told = Instant::now();
            let _ = guest.host.progress(number, 0);
        }
        let place = Path::new(MNT).join(format!("small.{number}"));
        let tried = std::fs::create_dir(&place)
            .map_err(anyhow::Error::from)
            .and_then(|()| Lab::new(spec, DISK, &place, true))
            .and_then(|mut lab| {
                let choices = schedule.choices(spec)?;
                let run = lab.run(&choices);
                Ok(matches!(run.verdict, Verdict::Failed(_))
                    && schedule.differs(spec, &run).is_none())
            });
        let _ = std::fs::remove_dir_all(&place);
        // What cannot even be tried is not smaller.
        tried.unwrap_or(false)
    };
    let (small, order) = minimize(spec, schedule, &mut fails);
    Ok(Small {
        found: schedule.clone(),
        spec: small,
        schedule: order,
    })
}

/// Tells when the stage has died, which ends the exploration.
struct Watched<'a> {
    lab: &'a mut Lab,
    dead: &'a std::cell::Cell<bool>,
}

impl Runner for Watched<'_> {
    fn run(&mut self, choices: &[notblk_race::ActorId]) -> notblk_race::Run {
        let run = self.lab.run(choices);
        self.dead.set(self.lab.is_dead());
        run
    }
}
