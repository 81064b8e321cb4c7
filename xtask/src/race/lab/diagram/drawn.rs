// SPDX-License-Identifier: GPL-2.0

//! From the kernel's events to what a reader of commit messages wants to see of them.

use notblk_protocol::LabTrace;
use notblk_race::diagram::{Event, EventKind};
use notblk_race::Spec;

/// An event as it is drawn; `None` for what a drawing is better without.
pub fn event(spec: &Spec, event: &LabTrace) -> Option<Event> {
    let (what, kind) = words(event)?;
    let actor = event.actor.and_then(|actor| spec.actors.get(actor.0));
    Some(Event {
        time_ns: event.time,
        actor: actor.map(|actor| actor.name.clone()),
        task: event.task.clone(),
        what,
        kind,
    })
}

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
        "iomap_dio_invalidate_fail" => instant("invalidation fails: EIO".to_owned()),
        "iomap_writeback_folio" => instant("write-back".to_owned()),
        "notblk_fallback" => instant(format!("fallback: {}", field("stage")?)),
        "notblk_drain" => match field("waited") {
            Some(_) => Some((String::new(), EventKind::End)),
            None => Some(("inode_dio_wait()".to_owned(), EventKind::Begin)),
        },
        "notblk_hold" => instant(format!("[held at {}]", field("point")?)),
        "notblk_release" => instant(format!("[goes on from {}]", field("point")?)),
        "notblk_map" => {
            let answer = field("answer")?;
            instant(format!("iomap_begin -> {answer}"))
        }
        _ => None,
    }
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
