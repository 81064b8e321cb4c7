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
//! | [`quiet`] | whether anything happens at all |
//! | [`trace`] | what the kernel did meanwhile |

mod actor;
mod calls;
mod checks;
mod files;
mod holds;
mod quiet;
mod runner;
mod task;
mod trace;

use crate::fs::{self, Image, Mounted, DISK, MNT};
use crate::Guest;
use anyhow::{bail, Context, Result};
use notblk_protocol::{Differing, Event, LabOutcome, LabReport, LabSpec, LabWork, Sabotage, Small};
use notblk_race::explore::{explore, Limits};
use notblk_race::minimize::minimize;
use notblk_race::run::{Failure, Runner, Verdict};
use notblk_race::{Schedule, Spec};
use runner::Lab;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};
use trace::Recorder;

/// Size of the filesystem in MiB.
const MIB: u32 = 64;
/// Bytes that the agent's heap gets at once, and keeps. Actors are threads: who is held in a fault may have the lock of the address
/// space, and whoever wants more memory of the kernel then waits for that.
const HEAP: usize = 32 << 20;
/// Longest silence of the guest, in seconds: an order, however it ends, takes less.
const SILENCE: u64 = 60;
/// What the host hears when something is held and is to stay so.
const WAITS: &str = "something is held";
/// How often the host hears how far it is.
const TELL: Duration = Duration::from_millis(500);

/// Does it, and reports.
pub fn run(guest: &Guest, specs: &[LabSpec]) -> Result<()> {
    fs::load(guest.driver)?;
    crate::sys::heap::keep(HEAP);
    without_flushes(DISK)?;
    for spec in specs {
        let (report, dead) = one(guest, spec).with_context(|| spec.spec.name.clone())?;
        guest.host.send(&Event::Lab(Box::new(report)))?;
        if let Some(why) = dead {
            bail!(
                "{}: {why}; nothing more can be run in this boot",
                spec.spec.name
            );
        }
    }
    Ok(())
}

/// The kernel is told that the disk has no cache of its own: what an fsync sends it to flush that one does nothing, since the host
/// keeps the disk's file in its memory anyway, and takes longer than all else that an order's checks do.
fn without_flushes(disk: &str) -> Result<()> {
    let name = Path::new(disk).file_name().context("a disk's name")?;
    let path = Path::new("/sys/block").join(name).join("queue/write_cache");
    std::fs::write(&path, "write through").with_context(|| format!("write {}", path.display()))
}

/// Whether the mount has the options with which the spec says that it fails.
fn is_meant_to_fail(lab: &LabSpec) -> bool {
    let has = |wanted: &String| lab.options.split(',').any(|option| option == wanted);
    let fails_with = &lab.spec.fails_with;
    !fails_with.is_empty() && fails_with.iter().all(has)
}

/// One spec on a filesystem of its own; and why nothing more can be run, where an actor hangs in it.
fn one(guest: &Guest, lab: &LabSpec) -> Result<(LabReport, Option<String>)> {
    let spec = &lab.spec;
    guest.host.step(&format!("race {}", spec.name), SILENCE)?;
    let image = Image {
        block_size: spec.block_size,
        inode_size: 256,
        mib: MIB,
    };
    poison(DISK, image)?;
    fs::make(guest.driver, DISK, image)?;
    let mounted = Mounted::new(guest.driver, DISK, MNT, &lab.options)?;
    let (outcome, millis, dead) = {
        let held = !matches!(lab.work, LabWork::Rate { .. });
        let mut stage =
            Lab::new(spec, DISK, Path::new(MNT), held)?.mean_to_fail(is_meant_to_fail(lab));
        sabotage(guest, lab, &mut stage);
        let mut clock = Clock(Instant::now(), Duration::ZERO);
        let outcome = work(guest, lab, &mut stage, &mut clock)?;
        let spent = match clock.1 {
            Duration::ZERO => clock.0.elapsed(),
            stopped => stopped,
        };
        (outcome, u64::try_from(spent.as_millis())?, stage.why_dead())
    };
    // Where somebody hangs in it the filesystem stays mounted, and nothing can be said of it.
    let fsck = match dead {
        Some(_) => {
            std::mem::forget(mounted);
            None
        }
        None => {
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

/// Sees to it that goes wrong what is to.
fn sabotage(guest: &Guest, lab: &LabSpec, stage: &mut Lab) {
    match lab.sabotage {
        None => {}
        Some(Sabotage::Hang) => stage.hang_last(),
        Some(Sabotage::Panic) => stage.when_held(|| {
            std::fs::write("/proc/sysrq-trigger", "c")?;
            Ok(())
        }),
        Some(Sabotage::Wait) => {
            let host = guest.host.clone();
            stage.when_held(move || {
                host.step(WAITS, SILENCE)?;
                std::thread::sleep(Duration::from_secs(SILENCE));
                Ok(())
            });
        }
    }
}

/// Fills the disk with what no order ever writes: a block that is shown before its data is there is not mistaken for a hole.
fn poison(disk: &str, image: Image) -> Result<()> {
    let disk = std::fs::OpenOptions::new().write(true).open(disk)?;
    let chunk = vec![0xdb; 1 << 20];
    for at in 0..u64::from(image.mib) {
        disk.write_all_at(&chunk, at << 20)?;
    }
    disk.sync_all()?;
    Ok(())
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
            repeat,
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
                repeat: *repeat,
                differing: Vec::new(),
            };
            let summary = explore(&lab.spec, &mut watched, limits, &mut |summary| {
                if is_due() {
                    // The host has gone: so will the guest.
                    let _ = guest.host.progress(summary.runs, 0);
                }
                !dead.get() && until.is_none_or(|until| Instant::now() < until)
            });
            clock.1 = clock.0.elapsed();
            let differing = watched.differing;
            let begun = Instant::now();
            let mut small = Vec::new();
            let mut known = Known::new();
            for failing in summary.failing.iter().take(*minimize as usize) {
                if dead.get() {
                    break;
                }
                guest.host.progress(summary.runs, 0)?;
                small.push(shrink(
                    guest,
                    lab,
                    &failing.schedule,
                    &failing.failures,
                    &mut known,
                )?);
            }
            Ok(LabOutcome::Explored {
                summary,
                small,
                differing,
                minimizing: u64::try_from(begun.elapsed().as_millis())?,
            })
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
                Verdict::Failed(ref failures) if !stage.is_dead() => {
                    // All of it, to the end, as it went.
                    let found = Schedule::of(&lab.spec, &run);
                    Some(shrink(guest, lab, &found, failures, &mut Known::new())?)
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

/// What has been tried: spec and order as text, and in which ways it fails. Many orders come by the same things.
type Known = std::collections::HashMap<(String, String), Vec<String>>;

/// Takes away from a failing order what it fails without. What is left fails in one of the ways in which all of it did: a check
/// that is stricter than before, because an actor has gone, proves nothing.
fn shrink(
    guest: &Guest,
    lab: &LabSpec,
    schedule: &Schedule,
    failures: &[Failure],
    known: &mut Known,
) -> Result<Small> {
    let spec = &lab.spec;
    let meant = is_meant_to_fail(lab);
    let kinds = |spec: &Spec, failures: &[Failure]| -> Vec<String> {
        failures
            .iter()
            .map(|failure| spec.failure_kind(failure))
            .collect()
    };
    let wanted = kinds(spec, failures);
    let is_wanted = |found: &[String]| found.iter().any(|kind| wanted.contains(kind));
    let mut number = 0;
    let mut told = Instant::now();
    let mut fails = |spec: &Spec, schedule: &Schedule| {
        let key = (spec.to_string(), schedule.to_string());
        if let Some(found) = known.get(&key) {
            return is_wanted(found);
        }
        number += 1;
        if told.elapsed() > TELL {
            told = Instant::now();
            let _ = guest.host.progress(number, 0);
        }
        let place = Path::new(MNT).join(format!("small.{number}"));
        let tried = std::fs::create_dir(&place)
            .map_err(anyhow::Error::from)
            .and_then(|()| Lab::new(spec, DISK, &place, true))
            .and_then(|small| {
                let choices = schedule.choices(spec)?;
                let run = small.mean_to_fail(meant).run(&choices);
                Ok(match &run.verdict {
                    Verdict::Failed(failures) if schedule.differs(spec, &run).is_none() => {
                        kinds(spec, failures)
                    }
                    _ => Vec::new(),
                })
            });
        let _ = std::fs::remove_dir_all(&place);
        // What cannot even be tried is not smaller.
        let found = tried.unwrap_or_default();
        let fails = is_wanted(&found);
        known.insert(key, found);
        fails
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
    /// How often each order is run.
    repeat: u32,
    /// What came to something else then.
    differing: Vec<Differing>,
}

impl Runner for Watched<'_> {
    fn run(&mut self, choices: &[notblk_race::ActorId]) -> notblk_race::Run {
        let run = self.lab.run(choices);
        for repetition in 2..=self.repeat {
            if self.lab.is_dead() {
                break;
            }
            let other = self.lab.run(choices);
            if other != run {
                self.differing.push(Differing {
                    first: run.clone(),
                    other,
                    repetition,
                });
                break;
            }
        }
        self.dead.set(self.lab.is_dead());
        run
    }
}
