// SPDX-License-Identifier: GPL-2.0

//! From the tree back to text, which parses to the same tree: what `race minimize` leaves is a spec like any other.

use std::fmt::{self, Display, Formatter};
use std::ops::Range;

use crate::spec::{
    Actor, Api, Check, Expect, File, Flags, Op, SegmentKind, Source, Spec, Step, Transfer, Way,
    SECTOR,
};

impl Display for Spec {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "# SPDX-License-Identifier: GPL-2.0")?;
        if !self.doc.is_empty() {
            writeln!(f, "#")?;
        }
        for line in self.doc.lines() {
            writeln!(f, "{}", format!("# {line}").trim_end())?;
        }
        writeln!(f, "\nrace {} \"{}\"", self.name, self.title)?;
        writeln!(f, "block_size {}k", self.block_size / 1024)?;
        if !self.options.is_empty() {
            writeln!(f, "options {}", self.options.join(", "))?;
        }
        if !self.fails_with.is_empty() {
            writeln!(f, "fails with {}", self.fails_with.join(", "))?;
        }
        if let Some(preemptions) = self.preemptions {
            writeln!(f, "preemptions {preemptions}")?;
        }
        writeln!(f)?;
        for file in &self.files {
            self.print_file(f, file)?;
        }
        for actor in &self.actors {
            self.print_actor(f, actor)?;
        }
        if !self.checks.is_empty() {
            writeln!(f)?;
        }
        for check in &self.checks {
            writeln!(f, "check {}", self.check_text(check))?;
        }
        Ok(())
    }
}

impl Spec {
    fn print_file(&self, f: &mut Formatter<'_>, file: &File) -> fmt::Result {
        let pieces = file.layout.iter().map(|segment| {
            let kind = match segment.kind {
                SegmentKind::Hole => "hole",
                SegmentKind::Written => "written",
            };
            format!("{kind} {}", self.amount(segment.len))
        });
        let pieces: Vec<String> = pieces.collect();
        match pieces.as_slice() {
            [] => writeln!(f, "file {}: empty", file.name),
            pieces => writeln!(f, "file {}: {}", file.name, pieces.join(", ")),
        }
    }

    fn print_actor(&self, f: &mut Formatter<'_>, actor: &Actor) -> fmt::Result {
        writeln!(f, "\nactor {} {{", actor.name)?;
        if !actor.holds.is_empty() {
            let holds: Vec<&str> = actor.holds.iter().map(|point| point.name()).collect();
            writeln!(f, "    hold {}", holds.join(", "))?;
        }
        for step in &actor.steps {
            writeln!(f, "    {}", self.step_text(step))?;
        }
        writeln!(f, "}}")
    }

    /// A step, as its line in a spec has it: `write f 1b..2b direct aio`.
    #[must_use]
    pub fn step_text(&self, step: &Step) -> String {
        let file = &step.file;
        let mut text = match &step.op {
            Op::Read(io) => format!("read {file} {}", self.transfer_text(io)),
            Op::Write(io) => format!("write {file} {}", self.transfer_text(io)),
            Op::Fsync => format!("fsync {file}"),
            Op::Truncate { size } => format!("truncate {file} {}", self.amount(*size)),
            Op::Punch { range } => format!("punch {file} {}", self.range(range)),
        };
        if step.expect != Expect::default() {
            text.push_str(&format!(" expect {}", expect_text(&step.expect)));
        }
        text
    }

    fn transfer_text(&self, io: &Transfer) -> String {
        let place = match io.range() {
            Some(range) => self.range(&range),
            None => format!("append {}", self.amount(io.len)),
        };
        let way = match io.way {
            Way::Direct => "direct",
            Way::Buffered => "buffered",
            Way::Mmap => "mmap",
        };
        let mut words = vec![place.as_str(), way];
        match io.api {
            Api::Pwrite => {}
            Api::Aio => words.push("aio"),
            Api::Uring => words.push("uring"),
        }
        let Flags { nowait, dsync, .. } = io.flags;
        if nowait {
            words.push("nowait");
        }
        if dsync {
            words.push("dsync");
        }
        words.join(" ")
    }

    /// A check, as its line in a spec has it, without the word `check`.
    #[must_use]
    pub fn check_text(&self, check: &Check) -> String {
        match check {
            Check::FsyncOk { file } => format!("fsync {file} ok"),
            Check::FsyncOnce { file } => format!("fsync {file} once"),
            Check::Size { file, sizes } => {
                let sizes: Vec<String> = sizes.iter().map(|&size| self.amount(size)).collect();
                format!("size {file} {}", sizes.join(" or "))
            }
            Check::Content { file, range, from } => {
                format!("content {file} {} {}", self.range(range), from_text(from))
            }
            Check::Coherent { file } => format!("coherent {file}"),
            Check::Read {
                actor,
                step,
                range,
                from,
            } => format!(
                "read {actor}.{} {} {}",
                step.saturating_add(1),
                self.range(range),
                from_text(from)
            ),
            Check::NeverWaits { actor } => format!("actor {actor} never waits"),
        }
    }

    fn range(&self, range: &Range<u64>) -> String {
        format!("{}..{}", self.amount(range.start), self.amount(range.end))
    }

    /// In the largest unit that fits.
    fn amount(&self, bytes: u64) -> String {
        let units = [
            (u64::from(self.block_size), "b"),
            (1024, "k"),
            (SECTOR, "s"),
        ];
        if bytes == 0 {
            return "0".to_owned();
        }
        for (unit, name) in units {
            if bytes.is_multiple_of(unit) {
                return format!("{}{name}", bytes / unit);
            }
        }
        bytes.to_string()
    }
}

fn expect_text(expect: &Expect) -> String {
    let Expect::OneOf {
        full,
        short,
        errors,
    } = expect
    else {
        return "any".to_owned();
    };
    let words = [(*full, "full"), (*short, "short")];
    let words = words
        .iter()
        .filter(|(is, _)| *is)
        .map(|(_, word)| (*word).to_owned());
    let words: Vec<String> = words
        .chain(errors.iter().map(ToString::to_string))
        .collect();
    words.join(" or ")
}

fn from_text(from: &[Source]) -> String {
    let from: Vec<String> = from.iter().map(ToString::to_string).collect();
    format!("from {}", from.join(" or "))
}

impl Display for Source {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Source::Initial => f.write_str("initial"),
            Source::Zero => f.write_str("zero"),
            Source::Actor { actor, step: None } => f.write_str(actor),
            Source::Actor {
                actor,
                step: Some(step),
            } => write!(f, "{actor}.{}", step.saturating_add(1)),
        }
    }
}
