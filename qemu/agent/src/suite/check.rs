// SPDX-License-Identifier: GPL-2.0
//! The run of `check`, from its start to its end.

use super::parse::{Parser, Piece};
use super::root::Disks;
use super::{driver, files, RESULTS, SCRATCH_DIR, SUITE, TEST_DIR};
use crate::kmsg::Place;
use crate::Guest;
use anyhow::{bail, Context, Result};
use notblk_protocol::{Event, SuiteSpec, SuiteStatus, SuiteTest};
use rustix::process::{wait, WaitOptions, WaitStatus};
use std::collections::VecDeque;
use std::io::{PipeReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::time::{Duration, Instant};

/// How long `check` may take to its first test, in seconds.
const START: u64 = 180;

/// Tests of the first run of `check`. It looks each test of its list up before it runs any, by programs
/// that it starts, so hundreds of tests would keep the first one waiting for as many times 20 ms.
const FIRST: usize = 24;

/// How long what it has left behind may go on printing.
const LINGER: Duration = Duration::from_secs(2);

/// Lines that are kept of the kernel's log of one test.
const LOG_LINES: usize = 2000;

/// What the two threads that watch `check` tell.
enum News {
    /// It printed this.
    Output(Vec<u8>),
    /// It has ended.
    Ended(WaitStatus),
}

/// Runs all tests of the job.
pub fn run(guest: &Guest, spec: &SuiteSpec, disks: &Disks) -> Result<()> {
    let (first, rest) = spec.tests.split_at(spec.tests.len().min(FIRST));
    // One place for both runs: what the kernel says between them is the next test's, rather than nobody's.
    let mut place = guest.kmsg.settle()?;
    for tests in [first, rest].into_iter().filter(|tests| !tests.is_empty()) {
        place = run_once(guest, spec, disks, tests, place)?;
    }
    Ok(())
}

/// One run of `check`; the log since `place` is its first test's. Returns where its last test's ends.
fn run_once(
    guest: &Guest,
    spec: &SuiteSpec,
    disks: &Disks,
    tests: &[String],
    place: Place,
) -> Result<Place> {
    guest.host.step("the suite starts", START)?;
    let news = start(spec, disks, tests)?;
    let loops = spec.check_args.iter().any(|word| word == "-L");
    let mut run = Run {
        guest,
        fstyp: &spec.fstyp,
        disks,
        parser: Parser::new(tests.iter().cloned(), loops),
        place,
        loops,
        rounds: 0,
        begun: None,
        announced: false,
    };
    let status = loop {
        match news.recv().context("nobody watches check any more")? {
            News::Output(bytes) => run.read(&bytes)?,
            News::Ended(status) => break status,
        }
    };
    // What it printed last may still be on its way; a process that it left behind may hold the pipe open
    // for ever.
    let until = Instant::now() + LINGER;
    while Instant::now() < until {
        let Ok(News::Output(bytes)) = news.recv_timeout(Duration::from_millis(200)) else {
            break;
        };
        run.read(&bytes)?;
    }
    run.finish()?;
    match run.parser.to_come() {
        0 => Ok(run.place),
        missing => bail!(
            "check ended ({}) with {missing} of {} tests not run; it said:\n{}",
            describe(status),
            tests.len(),
            run.parser.outside().join("\n")
        ),
    }
}

/// Starts `check`, and the threads that watch it.
fn start(spec: &SuiteSpec, disks: &Disks, tests: &[String]) -> Result<Receiver<News>> {
    let (output, theirs) = std::io::pipe().context("make a pipe")?;
    // A session of its own, so that no test can signal anybody but the suite by its group.
    let mut command = Command::new("setsid");
    command
        .args(["./check", "--exact-order"])
        .args(&spec.check_args)
        .args(tests)
        .current_dir(SUITE)
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .envs([("HOME", "/root"), ("USER", "root"), ("LOGNAME", "root")])
        .envs([("TERM", "linux"), ("LANG", "C"), ("SHELL", "/bin/bash")])
        // All of a failed test's difference that anybody would read.
        .env("DIFF_LENGTH", "200")
        // The tree may hold somebody's local.config, which would override all this.
        .env("HOST_OPTIONS", "/nonexistent")
        .envs(&spec.env)
        .env("FSTYP", &spec.fstyp)
        .env("TEST_DEV", &disks.test)
        .env("TEST_DIR", TEST_DIR)
        .env("SCRATCH_DEV", &disks.scratch)
        .env("SCRATCH_MNT", SCRATCH_DIR)
        .env("RESULT_BASE", RESULTS)
        .stdin(Stdio::null())
        .stdout(theirs.try_clone()?)
        .stderr(theirs);
    if let Some(logwrites) = &disks.logwrites {
        command.env("LOGWRITES_DEV", logwrites);
    }
    let check = command.spawn().context("run check")?;
    // The builder holds the writing ends of the pipe.
    drop(command);
    let (sender, news) = channel();
    let pid = i32::try_from(check.id())?;
    std::thread::spawn({
        let sender = sender.clone();
        move || read(output, &sender)
    });
    std::thread::spawn(move || reap(pid, &sender));
    Ok(news)
}

fn read(mut output: PipeReader, sender: &Sender<News>) {
    let mut piece = [0; 16 << 10];
    loop {
        match output.read(&mut piece) {
            Ok(0) => return,
            Ok(length) => {
                if sender.send(News::Output(piece[..length].to_vec())).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Reaps every process that ends, since those whose parents are gone are PID 1's children, until `check`
/// is among them. Nothing else in the agent starts a process meanwhile, so no one's status is stolen.
fn reap(check: i32, sender: &Sender<News>) {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_pid() == check => {
                // The receiver is gone when the job has failed already.
                let _ = sender.send(News::Ended(status));
                return;
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // There is always a child while check runs.
            Err(_) => return,
        }
    }
}

/// Leaves out the middle of a long log, from which `lost` lines were missing before.
fn shorten(mut lines: Vec<String>, lost: u64) -> Vec<String> {
    if let Some(cut) = lines.len().checked_sub(LOG_LINES).filter(|&cut| cut > 0) {
        let half = LOG_LINES / 2;
        let note = match lost {
            0 => format!("[... {cut} lines ...]"),
            // The lines that say so may be among those left out.
            _ => format!("[... {cut} lines; of all the test's, {lost} were lost ...]"),
        };
        lines.splice(half..half + cut, [note]);
    }
    lines
}

fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (_, Some(signal)) => format!("signal {signal}"),
        _ => format!("{status:?}"),
    }
}

/// What is known while it runs.
struct Run<'a> {
    guest: &'a Guest,
    /// `FSTYP`
    fstyp: &'a str,
    disks: &'a Disks,
    parser: Parser,
    /// Where the running test's part of the kernel's log begins.
    place: Place,
    /// A failed test is run again.
    loops: bool,
    /// How often the running test was run before, one run after the other.
    rounds: usize,
    /// When the running test began.
    begun: Option<Instant>,
    /// A test has begun.
    announced: bool,
}

impl Run<'_> {
    /// Takes what check printed.
    fn read(&mut self, bytes: &[u8]) -> Result<()> {
        let pieces = self.parser.feed(bytes);
        self.tell(pieces)
    }

    /// Check has ended.
    fn finish(&mut self) -> Result<()> {
        let pieces = self.parser.finish();
        self.tell(pieces)
    }

    /// Tells the host what was read.
    fn tell(&mut self, pieces: Vec<Piece>) -> Result<()> {
        let mut pieces = VecDeque::from(pieces);
        while let Some(piece) = pieces.pop_front() {
            match piece {
                Piece::Begun(test) => {
                    if !self.announced {
                        // Each test has its own clock on the host.
                        self.guest.host.step("tests", 0)?;
                        self.announced = true;
                    }
                    self.begun = Some(Instant::now());
                    self.guest.host.send(&Event::SuiteStart { test })?;
                }
                Piece::Ended {
                    test,
                    status,
                    output,
                } => {
                    let next = match pieces.front() {
                        Some(Piece::Begun(next)) => Some(next.as_str()),
                        _ => None,
                    };
                    // A next one that has ended as well has said all that it had to say.
                    let soon = pieces.len() == 1;
                    self.end(test, status, output, next, soon)?;
                }
            }
        }
        Ok(())
    }

    /// A test has ended, and `next` has begun: `soon` if that has only just happened.
    fn end(
        &mut self,
        test: String,
        status: SuiteStatus,
        output: String,
        next: Option<&str>,
        soon: bool,
    ) -> Result<()> {
        let again = next == Some(test.as_str());
        let files = files::gather(&test, self.loops.then_some(self.rounds))?;
        self.rounds = if again { self.rounds + 1 } else { 0 };
        let millis = self
            .begun
            .take()
            .map_or(0, |begun| begun.elapsed().as_millis());
        let (log, place) = self.guest.kmsg.take(self.place, &test, next, soon)?;
        self.place = place;
        if !again {
            files::remove(&test)?;
        }
        // A result that another driver gave must not count.
        driver::prove_again(self.guest.driver, self.fstyp, self.disks)
            .with_context(|| format!("after {test}"))?;
        let test = SuiteTest {
            test,
            status,
            output,
            millis: millis.try_into().unwrap_or(u64::MAX),
            log: shorten(log.lines, log.lost),
            splats: log.splats,
            invalidation_failures: log.invalidation_failures,
            invalidation_failures_in_all: log.invalidation_failures_in_all,
            files,
        };
        self.guest.host.send(&Event::SuiteEnd(Box::new(test)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_loses_its_middle() {
        let lines = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(shorten(lines(LOG_LINES), 3), lines(LOG_LINES));
        let short = shorten(lines(LOG_LINES + 7), 0);
        assert_eq!(short.len(), LOG_LINES + 1);
        assert_eq!(short[LOG_LINES / 2], "[... 7 lines ...]");
        assert_eq!(short[LOG_LINES / 2 + 1], (LOG_LINES / 2 + 7).to_string());
        assert_eq!(short.last(), lines(LOG_LINES + 7).last());
        let note = &shorten(lines(LOG_LINES + 7), 3)[LOG_LINES / 2];
        assert_eq!(note, "[... 7 lines; of all the test's, 3 were lost ...]");
    }
}
