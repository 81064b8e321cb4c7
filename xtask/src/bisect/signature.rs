// SPDX-License-Identifier: GPL-2.0

//! What is run, and what of it counts: the signature. Whatever else happens decides nothing.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use notblk_bisect::{Ask, Batch};
use notblk_protocol::{
    Driver, Event, LabOutcome, LabSpec, LabWork, RaceRow, RaceSpec, Story, TestSpec, Verdict, Work,
};
use notblk_race::run::What;
use notblk_race::Spec;
use regex::Regex;

use crate::context::Ctx;
use crate::errors::Exit;
use crate::guest::Guest;
use crate::race;
use crate::test;
use crate::vm::{End, Flow, Observer};

/// Runs in one guest at most.
const PER_BOOT: u64 = 64;
/// What a run of a guest test, or a go of a race spec, may take, on a slow and busy machine.
const TEST: Duration = Duration::from_secs(300);
const GO: Duration = Duration::from_millis(500);
const ONCE: Duration = Duration::from_secs(180);
/// The delay of the race on our driver.
const DELAY: u32 = 50;
/// How the agent begins a line of a test's failure that is a splat's.
const REPORTED: &str = "the kernel reported: ";

/// `--drain`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DrainArg {
    /// As it is without the option
    Default,
    /// `drain=on`
    On,
    /// `drain=off`
    Off,
}

/// What is run and what counts.
#[derive(clap::Args, Debug, Clone)]
pub struct TestArgs {
    /// What is run: `race`, the race of `cargo xtask race`; `race:SPEC`, a spec of tests/race with nobody held; or the name of a
    /// guest test
    #[arg(long, value_name = "TEST", default_value = "race")]
    test: String,
    /// What counts is a kernel splat that matches this, in place of what the test says; then each run is a boot
    #[arg(long, value_name = "REGEX")]
    splat: Option<String>,
    /// Of a guest test's failures, only those count whose text matches this
    #[arg(long, value_name = "REGEX")]
    failure: Option<String>,
    /// Iterations of the race, or goes of the spec, in one run [default: race: 5, 50 on ext4; spec: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    iterations: Option<u64>,
    /// The race's delay between buffered write and flush, in milliseconds [default: 50, none on ext4, which has no such option]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    delay: Option<u32>,
    /// The race's mount option drain=
    #[arg(long, value_enum, default_value = "default")]
    drain: DrainArg,
    /// The race's story
    #[arg(long, value_enum, default_value = "seed")]
    story: race::StoryArg,
    /// More mount options, for a spec
    #[arg(long, value_name = "OPTIONS")]
    options: Option<String>,
}

/// The test.
enum Test {
    Race(RaceSpec),
    Spec(Box<LabSpec>),
    Guest(String),
}

/// The test and what counts of it.
pub struct Signature {
    test: Test,
    splat: Option<Regex>,
    failure: Option<Regex>,
}

impl TestArgs {
    /// Reads it. Whether there is a guest test of that name is for [`Signature::check`].
    pub fn read(&self, ctx: &Ctx, driver: Driver) -> Result<Signature> {
        let test = match self.test.as_str() {
            "race" => Test::Race(self.race(driver)?),
            name => match name.strip_prefix("race:") {
                Some(spec) => Test::Spec(Box::new(self.spec(race::spec(ctx, spec)?))),
                None => Test::Guest(name.to_owned()),
            },
        };
        if self.failure.is_some() && !matches!(test, Test::Guest(_)) {
            return Err(Exit::usage("--failure is for guest tests").into());
        }
        Ok(Signature {
            test,
            splat: regex("--splat", self.splat.as_deref())?,
            failure: regex("--failure", self.failure.as_deref())?,
        })
    }

    fn race(&self, driver: Driver) -> Result<RaceSpec> {
        let ours = driver == Driver::Notblk;
        if !ours && (self.drain != DrainArg::Default || self.delay.is_some_and(|ms| ms > 0)) {
            return Err(Exit::usage("the C driver has neither --drain nor --delay").into());
        }
        Ok(RaceSpec {
            story: match self.story {
                race::StoryArg::Seed => Story::Seed,
                race::StoryArg::Folio => Story::Folio,
            },
            drain: match self.drain {
                DrainArg::Default => None,
                DrainArg::On => Some(true),
                DrainArg::Off => Some(false),
            },
            delay_ms: self.delay.unwrap_or(if ours { DELAY } else { 0 }),
            iterations: self.iterations.unwrap_or(if ours { 5 } else { 50 }),
            limit_secs: 0,
        })
    }

    fn spec(&self, spec: Spec) -> LabSpec {
        LabSpec {
            options: race::options(&spec, self.options.as_slice()),
            spec: spec.without_holds(),
            work: LabWork::Rate {
                times: self.iterations.unwrap_or(10),
                seconds: 0,
            },
            sabotage: None,
        }
    }
}

fn regex(option: &str, text: Option<&str>) -> Result<Option<Regex>> {
    let read = |text: &str| {
        Regex::new(text)
            .map_err(|_| Exit::usage(format!("{option} {text:?} is no regular expression")))
    };
    Ok(text.map(read).transpose()?)
}

impl Signature {
    /// True where the guest needs the programs of the tests.
    pub fn wants_programs(&self) -> bool {
        matches!(self.test, Test::Guest(_))
    }

    /// Fails where there is no such guest test.
    pub fn check(&self, agent: Option<&std::path::Path>) -> Result<()> {
        if let Test::Guest(name) = &self.test {
            let known = test::list(agent.context("there is no agent")?)?;
            if !known.contains(name) {
                return Err(test::none_called(std::slice::from_ref(name)));
            }
        }
        Ok(())
    }

    /// In words, for the report.
    pub fn words(&self) -> String {
        let test = match &self.test {
            Test::Race(spec) => format!(
                "the race, story {}, {} iterations a run, delay {} ms, {}",
                spec.story,
                spec.iterations,
                spec.delay_ms,
                match spec.drain {
                    None => "mounted without drain=",
                    Some(true) => "drain=on",
                    Some(false) => "drain=off",
                }
            ),
            Test::Spec(lab) => format!("race spec {}, nobody held", lab.spec.name),
            Test::Guest(name) => format!("guest test {name}"),
        };
        let counts = match (&self.splat, &self.failure, &self.test) {
            (Some(splat), _, _) => format!("a kernel splat like {splat}"),
            (None, Some(failure), _) => format!("a failure like {failure}"),
            (None, None, Test::Race(_)) => "EIO, or a failed invalidation".to_owned(),
            (None, None, Test::Spec(_)) => "a check or step that fails".to_owned(),
            (None, None, Test::Guest(_)) => "a failure".to_owned(),
        };
        format!("{test}; what counts: {counts}")
    }

    /// The work of so many runs, and what it may take.
    fn work(&self, runs: u64, after: u64) -> (Work, Duration) {
        let times = usize::try_from(runs).unwrap_or(1);
        let many = u32::try_from(runs).unwrap_or(u32::MAX);
        match &self.test {
            Test::Race(spec) => {
                let rows = vec![spec.clone(); times];
                let limit = race::limit(&rows);
                (Work::Race { rows }, limit)
            }
            Test::Spec(lab) => {
                let goes = match lab.work {
                    LabWork::Rate { times, .. } => u32::try_from(times).unwrap_or(u32::MAX),
                    _ => 1,
                };
                let each = ONCE.saturating_add(GO.saturating_mul(goes));
                let specs = vec![(**lab).clone(); times];
                (Work::Lab { specs }, each.saturating_mul(many))
            }
            Test::Guest(name) => {
                let spec = TestSpec {
                    names: vec![name.clone(); times],
                    // Random tests are other ones each time.
                    seed: 1 + after,
                    fsx_ops: None,
                };
                (
                    Work::Test(spec),
                    ONCE.saturating_add(TEST.saturating_mul(many)),
                )
            }
        }
    }

    /// Boots the guest once, for as many runs as it is asked and one boot takes.
    pub fn run(&self, ctx: &Ctx, guest: &Guest, name: &str, ask: Ask, after: u64) -> Result<Batch> {
        let runs = match self.splat {
            // Many a warning comes once in a boot.
            Some(_) => 1,
            None => ask.runs.clamp(1, PER_BOOT),
        };
        let (work, limit) = self.work(runs, after);
        let step = ctx
            .ui
            .step(name, &format!("booting {}", guest.kernel.release));
        let mut count = Count {
            signature: self,
            hits: ask.hits,
            batch: Batch::default(),
            spoke: false,
            tell: &|batch| {
                let ended = batch.clean + batch.hits;
                step.detail(&format!("{ended} of {runs} runs, {} show it", batch.hits));
            },
        };
        let began = std::time::Instant::now();
        let outcome = guest.watch(ctx, "bisect", work, Some(limit), None, &mut count)?;
        let (mut batch, spoke) = (count.batch, count.spoke);
        // A guest that dies leaves its last words on the console.
        let ended_badly = outcome.end != End::Done && outcome.end != End::Stopped;
        if ended_badly && outcome.splats.iter().any(|lines| self.is_the_splat(lines)) {
            batch.hits = batch.hits.max(1);
        }
        let done = batch.hits >= ask.hits || batch.clean + batch.hits >= runs;
        // A guest test that leaves a warning behind is the last one of its boot.
        let early = outcome.end == End::Done && batch.clean + batch.hits > 0;
        if !done && !early && batch.trouble.is_none() {
            let ended = outcome
                .complaint()
                .map(|(line, _)| undated(&line).to_owned());
            batch.trouble = Some(match (&outcome.end, spoke, ended) {
                (End::Died | End::Hung(_), false, Some(line)) => {
                    format!("it does not boot: {line}")
                }
                (_, _, Some(line)) => line,
                (_, _, None) => "the guest is done before all runs are".to_owned(),
            });
        }
        batch.boot = outcome.boot_time.as_secs_f64();
        batch.seconds = began.elapsed().as_secs_f64();
        step.done(&format!(
            "{} of {} runs show it, booted in {:.1} s",
            batch.hits,
            batch.clean + batch.hits,
            batch.boot
        ));
        Ok(batch)
    }

    fn is_the_splat(&self, lines: &[String]) -> bool {
        let matches = |splat: &Regex| lines.iter().any(|line| splat.is_match(line));
        self.splat.as_ref().is_some_and(matches)
    }

    /// What a run of a guest test says.
    fn guest_test(&self, verdict: &Verdict) -> Said {
        match (verdict, &self.splat) {
            (Verdict::Passed, _) => Said::Clean,
            (Verdict::Skipped(why), _) => Said::Nothing(format!("the test does not apply: {why}")),
            (Verdict::Failed(why), None) => {
                let counts = match &self.failure {
                    Some(failure) => failure.is_match(why),
                    // A splat is a failure to the agent, and has an option of its own here.
                    None => why.lines().any(|line| !line.starts_with(REPORTED)),
                };
                match counts {
                    true => Said::Shown,
                    false => Said::Nothing(format!("another failure: {}", first(why))),
                }
            }
            (Verdict::Failed(why), Some(_)) => {
                Said::Nothing(format!("another failure: {}", first(why)))
            }
        }
    }

    /// What a run of the race says.
    fn row(&self, row: &RaceRow) -> Said {
        let shown = self.splat.is_none() && (row.eio > 0 || row.log_lines > 0);
        match (shown, row.sound()) {
            (true, _) => Said::Shown,
            (false, true) => Said::Clean,
            (false, false) => {
                let why = row.first_corruption.as_deref().or(row.fsck.as_deref());
                Said::Nothing(format!(
                    "another failure: {}",
                    first(why.unwrap_or("nothing was run"))
                ))
            }
        }
    }

    /// What a run of a spec says.
    fn lab(&self, outcome: &LabOutcome, fsck: Option<&str>) -> Said {
        let LabOutcome::Rated { failures, .. } = outcome else {
            return Said::Nothing("no rate".into());
        };
        let ours = |what: &What| matches!(what, What::Check(_) | What::Step { .. });
        let other = failures.iter().find(|(failure, _)| !ours(&failure.what));
        if self.splat.is_none() && failures.iter().any(|(failure, _)| ours(&failure.what)) {
            return Said::Shown;
        }
        match (other, fsck) {
            (Some((failure, _)), _) => {
                Said::Nothing(format!("another failure: {}", first(&failure.text)))
            }
            (None, Some(fsck)) => Said::Nothing(format!("another failure: {}", first(fsck))),
            (None, None) => Said::Clean,
        }
    }
}

/// A line of the kernel's log without its time.
fn undated(line: &str) -> &str {
    let rest = line
        .strip_prefix('[')
        .and_then(|line| line.split_once("] "));
    match rest {
        Some((time, text)) if time.trim().parse::<f64>().is_ok() => text,
        _ => line,
    }
}

fn first(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// What a run says.
#[derive(Debug, PartialEq)]
enum Said {
    Clean,
    Shown,
    Nothing(String),
}

/// Counts what the agent says.
struct Count<'a> {
    signature: &'a Signature,
    /// Enough with so many.
    hits: u64,
    batch: Batch,
    spoke: bool,
    /// Hears of each run.
    tell: &'a dyn Fn(&Batch),
}

impl Observer for Count<'_> {
    fn event(&mut self, event: &Event) -> Result<Flow> {
        let said = match event {
            Event::Ready { .. } => {
                self.spoke = true;
                return Ok(Flow::Go);
            }
            Event::Splat { lines } if self.signature.is_the_splat(lines) => Said::Shown,
            Event::Splat { lines } => {
                let also = &mut self.batch.also;
                *also = also.take().or_else(|| lines.first().cloned());
                return Ok(Flow::Go);
            }
            Event::Row(row) => self.signature.row(row),
            Event::Lab(report) => self.signature.lab(&report.outcome, report.fsck.as_deref()),
            Event::Test { verdict, .. } => self.signature.guest_test(verdict),
            _ => return Ok(Flow::Go),
        };
        match said {
            // A run whose splat has been counted already.
            Said::Clean if self.signature.splat.is_some() && self.batch.hits > 0 => {}
            Said::Clean => self.batch.clean += 1,
            Said::Shown if self.signature.splat.is_some() => self.batch.hits = 1,
            Said::Shown => self.batch.hits += 1,
            Said::Nothing(why) => self.batch.trouble = Some(why),
        }
        (self.tell)(&self.batch);
        Ok(match self.batch.hits >= self.hits {
            true => Flow::Stop,
            false => Flow::Go,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notblk_protocol::LabReport;
    use notblk_race::run::Failure;

    fn signature(test: &str, splat: Option<&str>, failure: Option<&str>) -> Signature {
        let race = RaceSpec {
            story: Story::Seed,
            drain: None,
            delay_ms: 0,
            iterations: 1,
            limit_secs: 0,
        };
        Signature {
            test: match test {
                "race" => Test::Race(race),
                name => Test::Guest(name.to_owned()),
            },
            splat: regex("--splat", splat).unwrap(),
            failure: regex("--failure", failure).unwrap(),
        }
    }

    fn row(eio: u64, log_lines: u64, corrupt: u64) -> Event {
        Event::Row(RaceRow {
            spec: RaceSpec {
                story: Story::Seed,
                drain: None,
                delay_ms: 0,
                iterations: 1,
                limit_secs: 0,
            },
            driver: Driver::Ext4,
            kernel: "7.3".into(),
            iterations: 1,
            overwrites: 1,
            eio,
            corrupt,
            first_corruption: (corrupt > 0).then(|| "zeros".into()),
            log_lines,
            fallbacks: None,
            drains: None,
            drains_waited: None,
            drain_wait_ns: None,
            millis: 1,
            fsck: None,
        })
    }

    fn splat(line: &str) -> Event {
        Event::Splat {
            lines: vec![line.into(), "Call Trace:".into()],
        }
    }

    fn test(why: Option<&str>) -> Event {
        Event::Test {
            name: "data/holes".into(),
            verdict: why.map_or(Verdict::Passed, |why| Verdict::Failed(why.into())),
            notes: Vec::new(),
            millis: 1,
        }
    }

    /// What is counted of these events, and whether the guest was stopped.
    fn count(signature: &Signature, hits: u64, events: &[Event]) -> (Batch, bool) {
        let mut count = Count {
            signature,
            hits,
            batch: Batch::default(),
            spoke: false,
            tell: &|_| (),
        };
        let stopped = events
            .iter()
            .any(|event| count.event(event).unwrap() == Flow::Stop);
        (count.batch, stopped)
    }

    #[test]
    fn of_the_race_eio_and_failed_invalidations_count_and_wrong_data_does_not() {
        let race = signature("race", None, None);
        let rows = [
            row(0, 0, 0),
            row(1, 0, 0),
            row(0, 3, 0),
            row(0, 0, 1),
            row(1, 0, 1),
        ];
        let (batch, stopped) = count(&race, 9, &rows);
        assert_eq!((batch.clean, batch.hits, stopped), (1, 3, false));
        assert_eq!(batch.trouble.as_deref(), Some("another failure: zeros"));
    }

    #[test]
    fn a_guest_ends_with_the_last_hit_that_is_wanted() {
        let race = signature("race", None, None);
        let (batch, stopped) = count(&race, 1, &[row(0, 0, 0), row(1, 0, 0), row(0, 0, 0)]);
        assert_eq!((batch.clean, batch.hits, stopped), (1, 1, true));
    }

    #[test]
    fn another_splat_is_told_and_decides_nothing() {
        let race = signature("race", None, None);
        let (batch, _) = count(&race, 1, &[splat("WARNING: fs/x.c:1"), row(0, 0, 0)]);
        assert_eq!((batch.clean, batch.hits), (1, 0));
        assert_eq!(batch.also.as_deref(), Some("WARNING: fs/x.c:1"));
    }

    #[test]
    fn only_the_splat_that_is_looked_for_counts_and_once() {
        let wanted = signature("race", Some(r"WARNING: .*fs/y\.c:\d+"), None);
        let (batch, _) = count(&wanted, 9, &[splat("WARNING: at fs/y.c:12"), row(1, 0, 0)]);
        assert_eq!((batch.clean, batch.hits), (0, 1));
        let (batch, _) = count(&wanted, 9, &[splat("WARNING: at fs/x.c:12"), row(1, 0, 0)]);
        assert_eq!((batch.clean, batch.hits), (1, 0));
        assert!(batch.also.is_some());
    }

    #[test]
    fn of_a_guest_tests_failures_a_splat_is_none_and_others_may_be_left_out() {
        let any = signature("data/holes", None, None);
        let only = signature("data/holes", None, Some("hole .* is not zero"));
        let events = [
            test(None),
            test(Some("hole 3 is not zero")),
            test(Some("no space")),
            test(Some("the kernel reported: BUG: x")),
        ];
        let hits = |signature| {
            let (batch, _) = count(signature, 9, &events);
            (batch.clean, batch.hits, batch.trouble.unwrap())
        };
        let other = "another failure: the kernel reported: BUG: x".to_owned();
        assert_eq!(hits(&any), (1, 2, other.clone()));
        assert_eq!(hits(&only), (1, 1, other));
    }

    #[test]
    fn of_a_spec_checks_and_steps_count() {
        let race = signature("race", None, None);
        let report = |what: Option<What>| {
            let failure = |what| Failure {
                what,
                text: "so".into(),
            };
            Event::Lab(Box::new(LabReport {
                kernel: "7.3".into(),
                options: String::new(),
                outcome: LabOutcome::Rated {
                    times: 10,
                    failed: u64::from(what.is_some()),
                    failures: what.map(|what| (failure(what), 1)).into_iter().collect(),
                },
                millis: 1,
                fsck: None,
            }))
        };
        let events = [
            None,
            Some(What::Check(0)),
            Some(What::Splat),
            Some(What::Hang),
        ];
        let (batch, _) = count(&race, 9, &events.map(report));
        assert_eq!((batch.clean, batch.hits), (1, 1));
        assert!(batch.trouble.is_some());
    }

    #[test]
    fn a_reason_is_the_same_at_any_time() {
        let panic = "Kernel panic - not syncing: no";
        assert_eq!(undated(&format!("[    1.159432] {panic}")), panic);
        assert_eq!(undated(panic), panic);
        assert_eq!(undated("[drm] x"), "[drm] x");
    }

    #[test]
    fn what_is_no_regular_expression_is_said_so() {
        let error = regex("--splat", Some("(")).unwrap_err();
        let exit = crate::errors::classify(&error);
        assert_eq!(exit.code, crate::errors::Code::USAGE);
        assert_eq!(exit.line, "--splat \"(\" is no regular expression");
    }
}
