// SPDX-License-Identifier: GPL-2.0
//! One system call after the other, with each of its allocations failing in turn, or each of its requests to the disk.
//!
//! `enomem/`: the call answers ENOMEM, or does without; nothing is lost by it, and the same call works when it is made again.
//! `eio/`: likewise EIO, where what fails is a read. (What was to be written and could not be is lost, in every driver.)
//!
//! Each call is made on a filesystem that has just been mounted: it finds the same each time, and nothing in a cache. Where
//! write-back by another task would do the work, the call is one that does it itself.

mod data;
mod names;
mod whole;

use super::env::{Env, Skip};
use super::{test, Test};
use crate::fault::{Faults, Kind};
use anyhow::{anyhow, bail, ensure, Context, Result};
use notblk_protocol::Driver;
use std::collections::BTreeSet;
use std::io;

/// So many failures that one call can survive are none of its own.
const MOST: u32 = 5000;
/// How often a call must end without one before the next: what it allocates varies a little.
const ENOUGH: u32 = 2;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let cases = names::cases().into_iter();
    let cases = cases.chain(data::cases()).chain(whole::cases());
    let mut tests = Vec::new();
    for (name, reads, run) in cases {
        let memory = move |env: &Env| run(env, Kind::Allocations);
        tests.push(test(&format!("enomem/{name}"), memory).mib(16));
        if reads == Reads::Only {
            let disk = move |env: &Env| run(env, Kind::Requests("vda"));
            tests.push(test(&format!("eio/{name}"), disk).mib(16));
        }
    }
    tests
}

/// What a call asks of the disk while it runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// Nothing: what it needs is in memory since the mount.
    Nothing,
    /// Nothing but what it can answer EIO for, with all as before.
    Only,
    /// More.
    AndWrites,
}

/// A name, what it asks of the disk, and the test.
type Entry = (&'static str, Reads, fn(&Env, Kind) -> Result<()>);

/// One system call and what surrounds it.
struct Case<'a, P> {
    /// Makes what the call works on, on an unmounted filesystem.
    before: &'a dyn Fn() -> Result<P>,
    /// The call. A count that is too short is an error, the one that was to be expected: it says that the rest failed.
    call: &'a dyn Fn(&P) -> io::Result<()>,
    /// Looks at what the call did, undoes it, and unmounts.
    after: &'a dyn Fn(P) -> Result<()>,
}

/// What became of the failures.
#[derive(Default)]
struct Tally {
    /// So many there were.
    failed: u32,
    /// So many times the call answered with the errno.
    refused: u32,
    /// The backtraces of those that have one.
    places: BTreeSet<String>,
}

/// Makes the call again and again, until nothing is left in it that could fail.
fn each<P>(env: &Env, kind: Kind, case: &Case<'_, P>) -> Result<()> {
    env.only(Driver::Notblk)?;
    each_within(env, kind, None, case)
}

/// As [`each`], on a filesystem that is mounted before and unmounted after.
fn each_mounted<P>(
    env: &Env,
    kind: Kind,
    before: &dyn Fn() -> Result<P>,
    call: &dyn Fn(&P) -> io::Result<()>,
    after: &dyn Fn(P) -> Result<()>,
) -> Result<()> {
    let case = Case {
        before: &|| {
            let mounted = env.mount("")?;
            Ok((before()?, mounted))
        },
        call: &|(subject, _)| call(subject),
        after: &|(subject, mounted)| {
            after(subject)?;
            mounted.end()
        },
    };
    each(env, kind, &case)
}

/// As [`each`]; only what is done on behalf of a function of the kernel fails.
fn each_within<P>(env: &Env, kind: Kind, function: Option<&str>, case: &Case<'_, P>) -> Result<()> {
    let Some(faults) = Faults::new(kind)? else {
        bail!(Skip("kernel has no fault injection".into()));
    };
    if let Some(function) = function {
        faults.only_within(function)?;
    }
    let mut tally = Tally::default();
    let mut without = 0;
    let mut n = 0;
    while without < ENOUGH {
        n += 1;
        ensure!(n <= MOST, "there is no end to what fails");
        let start = env.guest.kmsg.settle()?;
        let result = one(&faults, n, case, &mut tally);
        let trace = trace(env.guest.kmsg.since(start)?);
        match result.with_context(|| format!("number {n} fails")) {
            Ok(true) => without = 0,
            Ok(false) => without += 1,
            Err(error) => bail!("{error:#}; it is\n{}", trace.join("\n")),
        }
        if !trace.is_empty() {
            tally.places.insert(trace.join("\n"));
        }
        env.guest.host.progress(n.into(), 0)?;
    }
    ensure!(tally.failed > 0, "nothing failed: nothing is tested");
    env.note(tally.text(kind));
    Ok(())
}

/// The call with the `n`th failing, and once more if it was refused. Answers whether anything failed.
fn one<P>(faults: &Faults, n: u32, case: &Case<'_, P>, tally: &mut Tally) -> Result<bool> {
    let subject = (case.before)().context("before the call")?;
    let (result, failed) = faults.during(n, || (case.call)(&subject))?;
    tally.failed += u32::from(failed);
    match result {
        Ok(()) => {}
        Err(error) if failed && error.raw_os_error() == Some(faults.kind().errno()) => {
            tally.refused += 1;
            (case.call)(&subject).context("the call, made again")?;
        }
        Err(error) => {
            let expected = io::Error::from_raw_os_error(faults.kind().errno());
            return Err(anyhow!("{error}, should be {expected}"));
        }
    }
    (case.after)(subject).context("after the call")?;
    Ok(failed)
}

/// The functions in which something failed, as the kernel's log has them, without addresses.
fn trace(lines: Vec<String>) -> Vec<String> {
    let lines = lines
        .into_iter()
        .skip_while(|line| !line.contains("FAULT_INJECTION: "));
    let lines = lines.skip_while(|line| !line.contains("<TASK>")).skip(1);
    lines
        .take_while(|line| !line.contains("</TASK>"))
        .map(|line| {
            line.split("+0x")
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned()
        })
        .collect()
}

impl Tally {
    fn text(&self, kind: Kind) -> String {
        let (what, errno) = match kind {
            Kind::Allocations => ("allocations", "ENOMEM"),
            Kind::Requests(_) => ("requests", "EIO"),
        };
        format!(
            "{} {what} failed one by one, in {} places: {} times {errno}, {} times the call did without",
            self.failed,
            self.places.len(),
            self.refused,
            self.failed - self.refused
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_the_functions() {
        let log = [
            "notblk (vda): mounted",
            "FAULT_INJECTION: forcing a failure.",
            "name failslab, interval 1, probability 0, space 0, times 1",
            "CPU: 0 UID: 0 PID: 1 Comm: notblk-agent",
            "Call Trace:",
            " <TASK>",
            " dump_stack_lvl+0x5d/0x80",
            " ? x+0x1/0x2 [notblk]",
            " </TASK>",
            "more",
        ];
        let lines = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect();
        assert_eq!(trace(lines(&log)), ["dump_stack_lvl", "? x"]);
        assert!(trace(lines(&["nothing"])).is_empty());
    }
}
