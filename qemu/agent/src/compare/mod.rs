// SPDX-License-Identifier: GPL-2.0
//! The differential test: one random sequence of operations on two drivers, which must answer the same.
//!
//! The driver under test and the kernel's C driver each have a filesystem that the same `mke2fs` made. After each operation its
//! result, errno and data are compared, and what stat says about the files that it named, times included ([`clock`]); now and then
//! all of both trees; in the end `e2fsck -fn` has its say. A difference is run again on new filesystems with ever fewer
//! operations, until none of them can be spared.
//!
//! - [`op`], [`generate`]: what there is to do, and the sequence of a seed
//! - [`class`]: what is left out because one of the two does not have it
//! - [`side`], [`meta`], [`tree`]: doing and looking
//! - [`folio`], [`tail`]: what may differ after a write by mmap
//! - [`shrink`]: fewer operations
//! - [`workload`]: the same operations on one filesystem alone, for tests of other things

mod class;
mod clock;
mod folio;
mod generate;
mod meta;
mod op;
mod shrink;
mod side;
mod tail;
mod tree;
mod workload;

pub use workload::Workload;

use crate::fs::{self, Image, DISK, DISK2};
use crate::{modules, Guest};
use anyhow::{ensure, Context, Result};
use class::Classes;
use clock::Clock;
use generate::Generator;
use meta::{Meta, Punched};
use notblk_protocol::{CompareDifference, CompareKind, CompareReport, CompareSpec, Driver, Event};
use op::{Op, What};
use rustix::fd::AsFd;
use rustix::fs::{FallocateFlags, Mode};
use rustix::io::Errno;
use side::{Done, Side, Stock};
use std::collections::BTreeMap;
use std::fs::write;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tail::Tails;

/// What the driver under test is held against.
const CONTROL: &str = "ext4";
/// Size of each filesystem in MiB: more than the files of a sequence come to.
const MIB: u32 = 192;
/// Operations from one look at the whole trees to the next.
const TREES: u32 = 2500;
/// Operations from one `e2fsck` to the next.
const CHECKS: u32 = 25_000;
/// Operations from one sign of life to the next.
const PROGRESS: u32 = 250;

/// Two answers that are not the same.
pub struct Difference {
    /// What a shorter sequence must show to show the same.
    signature: String,
    /// For people.
    lines: Vec<String>,
}

/// A change of an operation on the driver under test, as a fault for the test to find.
pub type Sabotage = fn(&mut Op);

/// Directories are made with fewer permissions.
pub fn other_modes(op: &mut Op) {
    if let What::Mkdir(_, mode) = &mut op.what {
        *mode &= 0o700;
    }
}

/// What a slow operation takes.
const SLOW: Duration = Duration::from_secs(20);

/// The first directory of this boot takes long to make, as on a machine with too much to do.
pub fn slow_mkdir(op: &mut Op) {
    static DONE: AtomicBool = AtomicBool::new(false);
    if matches!(op.what, What::Mkdir(..)) && !DONE.swap(true, Ordering::Relaxed) {
        std::thread::sleep(SLOW);
    }
}

/// How far to go, and on what.
pub struct Limits {
    /// The driver under test.
    pub subject: Driver,
    /// The search for a short sequence may take so long.
    pub shrink: Duration,
    /// A fault to be found: the test of the test.
    pub sabotage: Option<Sabotage>,
}

/// `Work::Compare`: one sequence, and the report.
pub fn run(guest: &Guest, spec: &CompareSpec) -> Result<()> {
    fs::load(guest.driver)?;
    let limits = Limits {
        subject: guest.driver,
        shrink: Duration::from_secs(1200),
        sabotage: None,
    };
    let report = compare(guest, spec, &limits)?;
    guest.host.send(&Event::Compared(Box::new(report)))
}

/// Runs a sequence on both drivers.
pub fn compare(guest: &Guest, spec: &CompareSpec, limits: &Limits) -> Result<CompareReport> {
    modules::load(CONTROL, &[])?;
    ensure!(
        spec.ops < clock::MOST,
        "more than {} operations",
        clock::MOST
    );
    let clock = Clock::take();
    let mask = rustix::process::umask(Mode::from_raw_mode(0o022));
    let image = Image {
        block_size: spec.block_size,
        inode_size: spec.inode_size,
        mib: MIB,
    };
    let mut bench = Bench {
        guest,
        subject: limits.subject.name(),
        clock: &clock,
        image,
        stock: Stock::new(spec.seed)?,
        classes: Classes::all(),
        sabotage: limits.sabotage,
    };
    let outcome = bench.whole(spec, limits);
    rustix::process::umask(mask);
    outcome
}

/// What all runs have in common.
struct Bench<'a> {
    guest: &'a Guest,
    subject: &'static str,
    clock: &'a Clock,
    image: Image,
    stock: Rc<Stock>,
    classes: Classes,
    sabotage: Option<Sabotage>,
}

/// What a run does beside its operations.
struct Looks {
    /// Operations from one look at the trees to the next; none at all for `None`.
    trees: Option<u32>,
    /// Operations from one `e2fsck` to the next, with one in the end.
    checks: Option<u32>,
    /// Tell the host how far it is.
    progress: bool,
}

/// What a run saw.
#[derive(Default)]
struct Seen {
    done: u32,
    trees: u32,
    checks: u32,
    kinds: BTreeMap<&'static str, Kind>,
}

#[derive(Default)]
struct Kind {
    done: u32,
    succeeded: u32,
    idle: u32,
    errors: BTreeMap<String, u32>,
}

impl Seen {
    fn count(&mut self, kind: &'static str, done: Done) {
        self.done += 1;
        let kind = self.kinds.entry(kind).or_default();
        kind.done += 1;
        match done {
            Done::Ok(_) => kind.succeeded += 1,
            Done::Idle => kind.idle += 1,
            Done::Err(errno) => *kind.errors.entry(class::name(errno)).or_default() += 1,
        }
    }

    fn kinds(self) -> Vec<CompareKind> {
        let each = self.kinds.into_iter().map(|(name, kind)| CompareKind {
            name: name.into(),
            done: kind.done,
            succeeded: kind.succeeded,
            idle: kind.idle,
            errors: kind.errors.into_iter().collect(),
        });
        each.collect()
    }
}

impl Bench<'_> {
    fn whole(&mut self, spec: &CompareSpec, limits: &Limits) -> Result<CompareReport> {
        self.guest.host.step("what the drivers have", 120)?;
        let mut pair = self.fresh()?;
        let [subject, control] = &mut pair;
        let (classes, left_out) = Classes::probe(subject, control, &spec.without)?;
        self.classes = classes;
        drop(pair);

        let mut generator = Generator::new(spec.seed, spec.block_size);
        let ops: Vec<(u32, Op)> = (1..=spec.ops)
            .map(|number| (number, generator.op()))
            .filter(|(number, op)| {
                classes.allow(op) && (spec.only.is_empty() || spec.only.contains(number))
            })
            .collect();

        self.guest
            .host
            .step(&format!("{} operations", ops.len()), 120)?;
        let started = Instant::now();
        let mut seen = Seen::default();
        let looks = Looks {
            trees: Some(TREES),
            checks: Some(CHECKS),
            progress: true,
        };
        let refs: Vec<_> = ops.iter().collect();
        let found = self.run(&refs, &looks, &mut seen)?;
        let millis = started.elapsed().as_millis() as u64;
        let difference = match found {
            None => None,
            Some(found) => Some(self.shorten(refs, found, &seen, spec, limits)?),
        };
        Ok(CompareReport {
            subject: self.subject.into(),
            control: CONTROL.into(),
            done: seen.done,
            trees: seen.trees,
            checks: seen.checks,
            millis,
            kinds: seen.kinds(),
            left_out,
            difference,
        })
    }

    /// Two new filesystems, mounted.
    fn fresh(&self) -> Result<[Side; 2]> {
        // The same time for both, and the first sequence's for all.
        self.clock.set(0)?;
        let side = |kind, disk, place| Side::new(kind, disk, place, self.image, self.stock.clone());
        Ok([
            side(self.subject, DISK, "/mnt")?,
            side(CONTROL, DISK2, "/mnt2")?,
        ])
    }

    /// Runs operations on new filesystems, up to the first difference.
    fn run(
        &self,
        ops: &[&(u32, Op)],
        looks: &Looks,
        seen: &mut Seen,
    ) -> Result<Option<Difference>> {
        let mut pair = self.fresh()?;
        let mut punched = Punched::default();
        let mut tails = Tails::default();
        let due = |every: Option<u32>, done: usize| {
            every.is_some_and(|every| {
                (done + 1).is_multiple_of(every as usize) || done + 1 == ops.len()
            })
        };
        for (done, (number, op)) in ops.iter().enumerate() {
            self.clock.set(*number)?;
            let found = match op.what {
                What::Cycle => {
                    seen.count(op.what.kind(), Done::Ok(0));
                    for side in &mut pair {
                        side.unmount()?;
                        side.mount()?;
                    }
                    None
                }
                What::DropCaches => {
                    seen.count(op.what.kind(), Done::Ok(0));
                    match write("/proc/sys/vm/drop_caches", "3") {
                        // A kernel that is compiled small has no sysctl: the caches stay, on both.
                        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                        done => done.context("drop caches")?,
                    }
                    None
                }
                _ => {
                    let [subject, control] = &pair;
                    tails.before(&op.what, [subject, control], subject.zeroes())?;
                    let found = self.one(*number, op, &mut pair, &mut punched, seen);
                    tails.done(&op.what, &pair[1]);
                    found
                }
            };
            if found.is_some() {
                return Ok(found);
            }
            if looks.progress && (done as u32).is_multiple_of(PROGRESS) {
                self.guest.host.progress(done as u64, ops.len() as u64)?;
            }
            if due(looks.trees, done) {
                seen.trees += 1;
                let [subject, control] = &pair;
                if let Some(mut found) = tree::compare(subject, control, &self.classes, &punched)? {
                    found.lines.insert(0, format!("after operation {number}:"));
                    return Ok(Some(found));
                }
            }
            if due(looks.checks, done) {
                seen.checks += 1;
                if let Some(found) = check(&mut pair)? {
                    return Ok(Some(found));
                }
            }
        }
        for side in &mut pair {
            side.unmount()?;
        }
        Ok(None)
    }

    /// One operation on both.
    fn one(
        &self,
        number: u32,
        op: &Op,
        pair: &mut [Side; 2],
        punched: &mut Punched,
        seen: &mut Seen,
    ) -> Option<Difference> {
        let [subject, control] = pair;
        let one = match self.sabotage {
            None => subject.apply(op),
            Some(sabotage) => {
                let mut op = op.clone();
                sabotage(&mut op);
                subject.apply(&op)
            }
        };
        let two = control.apply(op);
        seen.count(op.what.kind(), two);
        let kinds = [subject.kind, control.kind];
        let difference = |aspect: String, values: Vec<String>| {
            let mut lines = vec![format!("operation {number}: {op}")];
            lines.extend(values);
            Difference {
                signature: format!("{}: {aspect}", op.what.kind()),
                lines,
            }
        };
        if one != two {
            let aspect = match (one, two) {
                (Done::Ok(_), Done::Ok(_)) => "value".to_owned(),
                (one, two) => format!("{}, {}", answer(one), answer(two)),
            };
            let line = |kind: &str, done: Done| match done {
                Done::Ok(value) => format!("{kind}: returns {value}"),
                done => format!("{kind}: {}", answer(done)),
            };
            return Some(difference(
                aspect,
                vec![line(kinds[0], one), line(kinds[1], two)],
            ));
        }
        if subject.data != control.data {
            let lines = data_lines(op, [&subject.data, &control.data], kinds);
            return Some(difference("data".into(), lines));
        }
        if let What::MapWrite(slot, offset, length, _) = op.what {
            // As much as there was of the file.
            if matches!(two, Done::Ok(_) | Done::Err(Errno::FAULT)) {
                let written = offset..offset + length as u64;
                if let Err(error) = level_folios([subject, control], slot, written) {
                    return Some(difference("folios".into(), vec![format!("{error:#}")]));
                }
            }
        }
        // What became of the files that it names, their directories, and the open file.
        let (first, second) = op.what.paths();
        let paths = [first, first.map(parent), second, second.map(parent)];
        for path in paths.into_iter().flatten() {
            // "statx" is about where the path leads.
            let follow = matches!(op.what, What::Stat(_));
            let of = |side: &Side| Meta::of(side.root(), path, follow, &self.classes);
            let (one, two) = (of(subject), of(control));
            if let Some((aspect, lines)) = metas(path, one, two, kinds, punched) {
                return Some(difference(aspect, lines));
            }
        }
        let slot = op.what.slot()?;
        let (Some(one), Some(two)) = (subject.slot(slot), control.slot(slot)) else {
            return None;
        };
        let of = |file: &std::fs::File| Meta::of(file.as_fd(), "", true, &self.classes);
        let (one, two) = (of(one), of(two));
        if let (What::Fallocate(_, mode, ..), Ok(meta)) = (&op.what, &two) {
            if mode.contains(FallocateFlags::PUNCH_HOLE) {
                punched.0.insert(meta.ino);
            }
        }
        let (aspect, lines) = metas(&format!("#{slot}"), one, two, kinds, punched)?;
        Some(difference(aspect, lines))
    }

    /// Looks for a short sequence that shows what this one did.
    fn shorten(
        &self,
        ops: Vec<&(u32, Op)>,
        found: Difference,
        seen: &Seen,
        spec: &CompareSpec,
        limits: &Limits,
    ) -> Result<CompareDifference> {
        let mut ops = ops;
        ops.truncate(seen.done as usize);
        let mut last = found;
        let mut tries = 0;
        if !spec.unshrunk {
            let signature = last.signature.clone();
            let looks = Looks {
                trees: signature.starts_with("tree").then_some(u32::MAX),
                checks: signature.starts_with("e2fsck").then_some(u32::MAX),
                progress: false,
            };
            self.guest
                .host
                .step("looking for a shorter sequence", 300)?;
            let until = Instant::now() + limits.shrink;
            let goes_on = |_: usize| Instant::now() < until;
            ops = shrink::shrink(ops, goes_on, |fewer| {
                tries += 1;
                self.guest.host.progress(tries.into(), 0)?;
                let again = self.run(fewer, &looks, &mut Seen::default())?;
                let shows = again.filter(|again| again.signature == signature);
                Ok(shows.map(|again| last = again).is_some())
            })?;
        }
        Ok(CompareDifference {
            lines: last.lines,
            sequence: ops
                .into_iter()
                .map(|(number, op)| (*number, op.to_string()))
                .collect(),
            tries,
        })
    }
}

/// [`folio::level`] for the files in a slot.
fn level_folios(pair: [&Side; 2], slot: usize, written: Range<u64>) -> Result<()> {
    match pair.map(|side| side.slot(slot)) {
        [Some(one), Some(two)] => folio::level([one, two], written, pair[0].zeroes()),
        _ => Ok(()),
    }
}

/// Unmounts both, has them checked, and mounts them again.
fn check(pair: &mut [Side; 2]) -> Result<Option<Difference>> {
    for side in pair.iter_mut() {
        side.unmount()?;
    }
    for side in pair.iter() {
        if let Some(text) = fs::check(side.disk)? {
            return Ok(Some(Difference {
                signature: format!("e2fsck: {}", side.kind),
                lines: std::iter::once(format!("{} has left damage:", side.kind))
                    .chain(text.lines().map(str::to_owned))
                    .collect(),
            }));
        }
    }
    for side in pair.iter_mut() {
        side.mount()?;
    }
    Ok(None)
}

/// The directory that a path names something in.
fn parent(path: &str) -> &str {
    path.trim_end_matches('/')
        .rsplit_once('/')
        .map_or(".", |(parent, _)| parent)
}

/// A result, but for the number that comes with success.
fn answer(done: Done) -> String {
    match done {
        Done::Ok(_) => "success".into(),
        Done::Idle => "nothing open".into(),
        Done::Err(errno) => class::name(errno),
    }
}

/// What differs in two stats: in short, and in lines.
fn metas(
    path: &str,
    one: Result<Meta, Errno>,
    two: Result<Meta, Errno>,
    kinds: [&str; 2],
    punched: &Punched,
) -> Option<(String, Vec<String>)> {
    let errno = |result: &Result<Meta, Errno>| match result {
        Ok(_) => "is there".to_owned(),
        Err(errno) => class::name(*errno),
    };
    match (one, two) {
        (Ok(one), Ok(two)) => {
            let fields = one.differences(&two, punched);
            let names: Vec<_> = fields.iter().map(|(name, ..)| *name).collect();
            let line = |(name, one, two): &(&str, String, String)| {
                format!(
                    "{name} of {path}: {one} on {}, {two} on {}",
                    kinds[0], kinds[1]
                )
            };
            let lines = fields.iter().map(line).collect();
            (!fields.is_empty()).then(|| (names.join(", "), lines))
        }
        (one, two) if one.as_ref().err() != two.as_ref().err() => {
            let line = |kind, result| format!("{path} then, on {kind}: {}", errno(result));
            let lines = vec![line(kinds[0], &one), line(kinds[1], &two)];
            Some(("existence".into(), lines))
        }
        _ => None,
    }
}

/// Where two pieces of data differ.
fn data_lines(op: &Op, data: [&[u8]; 2], kinds: [&str; 2]) -> Vec<String> {
    let place = data[0]
        .iter()
        .zip(data[1])
        .position(|(one, two)| one != two);
    let place = place.unwrap_or(data[0].len().min(data[1].len()));
    let is_bytes = matches!(
        op.what,
        What::Read(..) | What::MapRead(..) | What::GetXattr(..)
    );
    let show = |kind: &str, data: &[u8]| match is_bytes {
        false => format!("{kind}: {}", tree::short(&String::from_utf8_lossy(data))),
        true => {
            let end = (place + 16).min(data.len());
            format!("{kind}: {:02x?}", &data[place.min(end)..end])
        }
    };
    vec![
        format!("the data differ at byte {place} of {}", data[0].len()),
        show(kinds[0], data[0]),
        show(kinds[1], data[1]),
    ]
}
