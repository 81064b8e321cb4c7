// SPDX-License-Identifier: GPL-2.0

//! From the kernel's events to what a reader of commit messages wants to see of them.

use notblk_protocol::{LabTrace, INVALIDATION_FAILURE};
use notblk_race::diagram::{Event, EventKind};
use notblk_race::Spec;

/// The task of the judge, who comes when all is over.
const JUDGE: &str = "init";

/// The events as they are drawn, without what a drawing is better without.
pub fn events(spec: &Spec, trace: &[LabTrace]) -> Vec<Event> {
    let mut drawn: Vec<Event> = Vec::new();
    // Whose bio was let go last: what a worker does next, it does for that.
    let mut served = None;
    for event in trace {
        if event.actor.is_none() && event.task == JUDGE {
            continue;
        }
        if event.name == "notblk_release" {
            served = event.actor;
        }
        let Some((what, kind)) = words(event) else {
            continue;
        };
        let by_itself = |event: &&LabTrace| !event.name.starts_with("iomap_writeback");
        let whose = event
            .actor
            .or_else(|| Some(event).filter(by_itself).and(served));
        let actor = whose
            .and_then(|actor| spec.actors.get(actor.0))
            .map(|actor| actor.name.clone());
        // Held, and let go before anybody else did anything: it might as well not have been.
        let is_passed = what == GOES_ON
            && drawn
                .last()
                .is_some_and(|last| last.actor == actor && last.what.starts_with(HELD));
        if is_passed {
            drawn.pop();
            continue;
        }
        drawn.push(Event {
            time_ns: event.time,
            actor,
            task: event.task.clone(),
            what,
            kind,
        });
    }
    drawn
}

/// How the line of a hold begins, and that of a release.
const HELD: &str = "[held at";
const GOES_ON: &str = "[goes on]";

fn words(event: &LabTrace) -> Option<(String, EventKind)> {
    let field = |name: &str| field(&event.fields, name);
    let instant = |text: String| Some((text, EventKind::Instant));
    match event.name.as_str() {
        "iomap_dio_rw_begin" => {
            let length = field("length")?;
            Some((
                format!("iomap_dio_rw({})", bytes(&length)),
                EventKind::Begin,
            ))
        }
        "iomap_dio_rw_queued" => Some(("bio in flight".to_owned(), EventKind::End)),
        "iomap_dio_complete" => {
            let answer = field("ret").unwrap_or_default();
            instant(format!("iomap_dio_complete() = {answer}"))
        }
        "iomap_dio_invalidate_fail" => instant("pages cannot be dropped".to_owned()),
        "iomap_writeback_folio" => instant("write-back".to_owned()),
        "notblk_fallback" => instant(format!("fallback: {}", field("stage")?)),
        "notblk_drain" => match field("waited") {
            Some(_) => Some((String::new(), EventKind::End)),
            None => Some(("inode_dio_wait()".to_owned(), EventKind::Begin)),
        },
        "notblk_hold" => instant(format!("{HELD} {}]", field("point")?)),
        "notblk_release" => instant(GOES_ON.to_owned()),
        "console" => instant(said(&event.fields)?),
        "notblk_map" => {
            let answer = field("answer")?;
            instant(format!("iomap_begin -> {answer}"))
        }
        _ => None,
    }
}

/// What the kernel says of a page that it cannot drop; nothing of anything else.
fn said(line: &str) -> Option<String> {
    line.contains(INVALIDATION_FAILURE)
        .then(|| "dirty page: invalidation fails, EIO for fsync".to_owned())
}

/// The value of a field, written `name=value` or `name value`.
fn field(fields: &str, name: &str) -> Option<String> {
    let words: Vec<&str> = fields.split_whitespace().collect();
    let with_sign = words
        .iter()
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let value = with_sign.or_else(|| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1).copied()
    })?;
    Some(value.trim_end_matches(',').to_owned())
}

/// A number of bytes as a person says it.
fn bytes(text: &str) -> String {
    let number = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    };
    match number {
        Some(number) if number % 1024 == 0 => format!("{}k", number / 1024),
        Some(number) => number.to_string(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> Spec {
        notblk_race::parse(
            "race r \"t\"\nfile f: written 1b\nactor A {\n write f 0..1b direct\n}\nactor B {\n fsync f\n}\ncheck fsync f ok\n",
        )
        .unwrap()
    }

    fn traced(actor: Option<usize>, task: &str, name: &str, fields: &str) -> LabTrace {
        LabTrace {
            time: 0,
            actor: actor.map(notblk_race::ActorId),
            task: task.into(),
            name: name.into(),
            fields: fields.into(),
        }
    }

    #[test]
    fn holds_that_changed_nothing_are_not_drawn_and_workers_serve_the_last_released() {
        let trace = [
            traced(Some(0), "A", "notblk_hold", "point=dio.submit"),
            traced(Some(0), "init", "notblk_release", "point=dio.submit"),
            traced(Some(0), "kworker/0:1", "notblk_hold", "point=dio.complete"),
            traced(Some(1), "B", "notblk_fallback", "stage=dirtied"),
            traced(Some(0), "init", "notblk_release", "point=dio.complete"),
            traced(None, "kworker/0:1", "iomap_dio_complete", "ret 4096"),
            traced(
                None,
                "kworker/0:1",
                "console",
                "Page cache invalidation failure on direct I/O",
            ),
            traced(None, "init", "iomap_dio_complete", "ret 1"),
        ];
        let drawn = events(&spec(), &trace);
        let told: Vec<(Option<&str>, &str)> = drawn
            .iter()
            .map(|event| (event.actor.as_deref(), event.what.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (Some("A"), "[held at dio.complete]"),
                (Some("B"), "fallback: dirtied"),
                (Some("A"), "[goes on]"),
                (Some("A"), "iomap_dio_complete() = 4096"),
                (Some("A"), "dirty page: invalidation fails, EIO for fsync"),
            ]
        );
    }

    #[test]
    fn fields_of_both_manners_are_found() {
        assert_eq!(
            field("dev 254:0 ino 0xc length 0x2000 x", "length").unwrap(),
            "0x2000"
        );
        assert_eq!(
            field("ino=12 point=dio.submit,", "point").unwrap(),
            "dio.submit"
        );
        assert!(field("ino=12", "point").is_none());
        assert_eq!(bytes("0x2000"), "8k");
        assert_eq!(bytes("512"), "512");
    }
}
