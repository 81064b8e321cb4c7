// SPDX-License-Identifier: GPL-2.0

//! Whether the bytes of a file, or what a step has read of it, are from whom they may be from.

use std::ops::Range;

use crate::spec::{Op, SegmentKind, Source, Spec, SECTOR};
use crate::stamp::{self, Sector, Stamp, Writer};

/// Whose bytes they are.
#[derive(Debug, Clone, Copy)]
pub struct Of<'a> {
    /// The spec that was run.
    pub spec: &'a Spec,
    /// The file's place in [`Spec::files`].
    pub file: usize,
    /// The order's number, as it was stamped.
    pub order: u32,
}

/// The file's bytes before the actors begin, those of `range`: stamps, and zeroes for holes and behind the end.
#[must_use]
pub fn initial(of: Of<'_>, range: Range<u64>) -> Vec<u8> {
    let len = range.end.saturating_sub(range.start);
    let mut data = vec![0; usize::try_from(len).unwrap_or(0)];
    for (sector, index) in data
        .chunks_exact_mut(stamp::SECTOR)
        .zip(range.start / SECTOR..)
    {
        if is_written(of, index * SECTOR) {
            stamp::fill(sector, initial_stamp(of, index));
        }
    }
    data
}

/// What a step writes: its first `len` bytes.
#[must_use]
pub fn written_by(of: Of<'_>, actor: usize, step: usize, len: u64) -> Vec<u8> {
    let mut data = vec![0; usize::try_from(len).unwrap_or(0)];
    let first = Stamp {
        order: of.order,
        file: u16::try_from(of.file).unwrap_or(u16::MAX),
        writer: writer(actor, step),
        sequence: 0,
    };
    stamp::fill(&mut data, first);
    data
}

/// How much of a sector is of one writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grain {
    /// All of it: whoever wrote and whoever read did so one after the other.
    Sector,
    /// Each byte by itself. Who reads the page cache while somebody else copies into the same page may see the copy half done, in
    /// the middle of a word even: no lock is held for both, in ext2, ext4 and here.
    Byte,
}

/// Looks at each sector of `data`, which lies in the file at `pos` (a multiple of 512). One line for each run of sectors that are
/// from none of the sources, with what is there in their place.
#[must_use]
pub fn check(of: Of<'_>, pos: u64, data: &[u8], from: &[Source], grain: Grain) -> Vec<String> {
    let wrong = data
        .chunks(stamp::SECTOR)
        .zip(pos / SECTOR..)
        .filter_map(|(bytes, index)| {
            let sector = stamp::read(bytes);
            let right = from
                .iter()
                .any(|source| is_from(of, index, &sector, source))
                || (grain == Grain::Byte && is_mixed_from(of, index, bytes, from));
            (!right).then(|| (index, describe(of, index, &sector)))
        });
    let mut runs: Vec<(Range<u64>, String)> = Vec::new();
    for (index, what) in wrong {
        match runs.last_mut() {
            Some((range, same)) if range.end == index && *same == what => range.end += 1,
            _ => runs.push((index..index + 1, what)),
        }
    }
    let wanted: Vec<String> = from.iter().map(ToString::to_string).collect();
    let wanted = wanted.join(" or ");
    runs.into_iter()
        .map(|(range, what)| {
            let (start, end) = (range.start * SECTOR, range.end * SECTOR);
            format!("bytes {start}..{end}: {what}, in place of {wanted}")
        })
        .collect()
}

fn writer(actor: usize, step: usize) -> Writer {
    Writer::Step {
        actor: u8::try_from(actor).unwrap_or(u8::MAX),
        step: u8::try_from(step).unwrap_or(u8::MAX),
    }
}

fn initial_stamp(of: Of<'_>, index: u64) -> Stamp {
    Stamp {
        order: of.order,
        file: u16::try_from(of.file).unwrap_or(u16::MAX),
        writer: Writer::Initial,
        sequence: u32::try_from(index).unwrap_or(u32::MAX),
    }
}

/// Whether the layout has data at this byte.
fn is_written(of: Of<'_>, pos: u64) -> bool {
    let Some(file) = of.spec.files.get(of.file) else {
        return false;
    };
    let mut end: u64 = 0;
    for segment in &file.layout {
        end = end.saturating_add(segment.len);
        if pos < end {
            return segment.kind == SegmentKind::Written;
        }
    }
    false
}

/// Whether the file's sector `index` is as the source would have it.
fn is_from(of: Of<'_>, index: u64, sector: &Sector, source: &Source) -> bool {
    match (source, sector) {
        (Source::Zero, sector) => *sector == Sector::Zero,
        (Source::Initial, Sector::Zero) => !is_written(of, index * SECTOR),
        (Source::Initial, Sector::Stamped(stamp)) => {
            is_written(of, index * SECTOR) && *stamp == initial_stamp(of, index)
        }
        (Source::Actor { actor, step }, Sector::Stamped(stamp)) => {
            let Writer::Step {
                actor: by,
                step: in_step,
            } = stamp.writer
            else {
                return false;
            };
            is_of_this_order(of, stamp)
                && of.spec.actor(actor).map(|id| id.0) == Some(usize::from(by))
                && step.is_none_or(|step| step == usize::from(in_step))
                && is_in_place(of, index, stamp)
        }
        _ => false,
    }
}

fn is_of_this_order(of: Of<'_>, stamp: &Stamp) -> bool {
    stamp.order == of.order && usize::from(stamp.file) == of.file
}

/// Whether the stamp's step has put this sector of its data at the file's sector `index`. Where an append went only the kernel
/// knows.
fn is_in_place(of: Of<'_>, index: u64, stamp: &Stamp) -> bool {
    let Writer::Step { actor, step } = stamp.writer else {
        return u64::from(stamp.sequence) == index;
    };
    let actor = of.spec.actors.get(usize::from(actor));
    let Some(step) = actor.and_then(|actor| actor.steps.get(usize::from(step))) else {
        return false;
    };
    let Op::Write(io) = &step.op else {
        return false;
    };
    u64::from(stamp.sequence) < io.len / SECTOR
        && (io.flags.append || io.offset / SECTOR + u64::from(stamp.sequence) == index)
}

/// Whether each byte of the file's sector `index` is as one of the sources would have it.
fn is_mixed_from(of: Of<'_>, index: u64, bytes: &[u8], from: &[Source]) -> bool {
    let whole: Vec<Vec<u8>> = from
        .iter()
        .flat_map(|source| sectors_from(of, index, source))
        .collect();
    bytes
        .iter()
        .enumerate()
        .all(|(at, byte)| whole.iter().any(|sector| sector.get(at) == Some(byte)))
}

/// Everything that the source may have put into the file's sector `index`.
fn sectors_from(of: Of<'_>, index: u64, source: &Source) -> Vec<Vec<u8>> {
    let start = index.saturating_mul(SECTOR);
    let (actor, step) = match source {
        Source::Zero => return vec![vec![0; stamp::SECTOR]],
        Source::Initial => return vec![initial(of, start..start.saturating_add(SECTOR))],
        Source::Actor { actor, step } => (of.spec.actor(actor), step),
    };
    let Some((id, actor)) = actor.and_then(|id| Some((id.0, of.spec.actors.get(id.0)?))) else {
        return Vec::new();
    };
    let mut sectors = Vec::new();
    for (number, done) in actor.steps.iter().enumerate() {
        let Op::Write(io) = &done.op else { continue };
        if step.is_some_and(|step| step != number) {
            continue;
        }
        let all = written_by(of, id, number, io.len);
        let its = all.chunks_exact(stamp::SECTOR).zip(0..);
        sectors.extend(
            its.filter(|(_, sequence)| io.flags.append || io.offset / SECTOR + sequence == index)
                .map(|(sector, _)| sector.to_vec()),
        );
    }
    sectors
}

/// What is there, in words.
fn describe(of: Of<'_>, index: u64, sector: &Sector) -> String {
    match sector {
        Sector::Zero => "zeroes".to_owned(),
        Sector::Stamped(stamp) => whose(of, index, stamp),
        Sector::Torn(stamps) => {
            let whose: Vec<String> = stamps.iter().map(|stamp| whose(of, index, stamp)).collect();
            format!("torn sectors: {}", whose.join(" and "))
        }
        Sector::Foreign(bytes) => {
            let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("bytes that nobody wrote ({})", hex.join(" "))
        }
    }
}

fn whose(of: Of<'_>, index: u64, stamp: &Stamp) -> String {
    let mut text = match stamp.writer {
        Writer::Initial => "the initial data".to_owned(),
        Writer::Step { actor, step } => match of.spec.actors.get(usize::from(actor)) {
            Some(actor) if actor.steps.len() > 1 => {
                format!("the write of {}.{}", actor.name, usize::from(step) + 1)
            }
            Some(actor) => format!("the write of {}", actor.name),
            None => format!("the write of actor number {actor}"),
        },
    };
    if !is_of_this_order(of, stamp) {
        text.push_str(" of another order or file (stale blocks)");
    } else if !is_in_place(of, index, stamp) {
        text.push_str(" from another place");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "race r \"t\"\nblock_size 1k\nfile f: hole 1b, written 1b\n\
        actor A {\n write f 1b..2b direct\n}\nactor B {\n write f 0..2b direct\n}\ncheck fsync f ok\n";

    fn in_order_3(spec: &Spec) -> Of<'_> {
        Of {
            spec,
            file: 0,
            order: 3,
        }
    }

    fn actor(name: &str) -> Source {
        Source::Actor {
            actor: name.into(),
            step: None,
        }
    }

    #[test]
    fn a_wrong_sector_names_its_writer() {
        let spec = crate::parse(SPEC).unwrap();
        let of = in_order_3(&spec);
        let b = written_by(of, 1, 0, 2048);
        assert!(check(of, 0, &b, &[actor("B")], Grain::Sector).is_empty());
        assert!(check(
            of,
            1024,
            &b[1024..],
            &[actor("A"), actor("B")],
            Grain::Sector
        )
        .is_empty());
        assert_eq!(
            check(
                of,
                1024,
                &b[1024..],
                &[actor("A"), Source::Initial],
                Grain::Sector
            ),
            ["bytes 1024..2048: the write of B, in place of A or initial"]
        );
        // The right data, one sector further on.
        assert_eq!(
            check(of, 512, &b[..512], &[actor("B")], Grain::Sector),
            ["bytes 512..1024: the write of B from another place, in place of B"]
        );
        let old = written_by(Of { order: 2, ..of }, 1, 0, 2048);
        assert_eq!(
            check(of, 0, &old, &[actor("B")], Grain::Sector),
            ["bytes 0..2048: the write of B of another order or file (stale blocks), in place of B"]
        );
    }

    #[test]
    fn initial_data_is_zero_in_holes() {
        let spec = crate::parse(SPEC).unwrap();
        let of = in_order_3(&spec);
        let data = initial(of, 0..2048);
        assert!(check(of, 0, &data, &[Source::Initial], Grain::Sector).is_empty());
        assert!(data[..1024].iter().all(|&byte| byte == 0));
        assert_eq!(
            check(of, 0, &data, &[Source::Zero], Grain::Sector),
            ["bytes 1024..2048: the initial data, in place of zero"]
        );
        assert_eq!(
            check(of, 1024, &[0; 1024], &[Source::Initial], Grain::Sector),
            ["bytes 1024..2048: zeroes, in place of initial"]
        );
    }

    #[test]
    fn who_reads_while_another_writes_may_see_each_byte_old_or_new() {
        let spec = crate::parse(SPEC).unwrap();
        let of = in_order_3(&spec);
        let wanted = [Source::Initial, actor("B")];
        let b = written_by(of, 1, 0, 2048);
        let mut data = initial(of, 0..2048);
        // In the middle of a record, in the hole and in the block that was written.
        for at in [5..700, 1024 + 9..1024 + 10, 2000..2048] {
            data[at.clone()].copy_from_slice(&b[at]);
        }
        assert!(check(of, 0, &data, &wanted, Grain::Byte).is_empty());
        assert!(!check(of, 0, &data, &wanted, Grain::Sector).is_empty());
        assert!(!check(of, 0, &data, &[Source::Initial], Grain::Byte).is_empty());
        // What an earlier order left is neither's, and nor is what belongs elsewhere.
        let old = written_by(Of { order: 2, ..of }, 1, 0, 2048);
        data[512..1024].copy_from_slice(&old[512..1024]);
        assert_eq!(check(of, 0, &data, &wanted, Grain::Byte).len(), 1);
        assert_eq!(check(of, 512, &b[..512], &wanted, Grain::Byte).len(), 1);
    }
}
