// SPDX-License-Identifier: GPL-2.0

//! The trace event format of Chrome, which Perfetto opens.

use std::collections::BTreeMap;

use serde_json::{json, Value};

use super::{sorted, Column, Event, EventKind};

/// The one process of a trace: the race.
const PID: u64 = 1;

/// The events as a trace: one track for each actor, in the order of the columns, and one for each task that acts for nobody.
///
/// Of an actor's events some are its task's and some an interrupt's or a worker's; each event says whose. What has begun and not
/// ended ends with the trace, so that it can be seen; an end of nothing is left out.
#[must_use]
pub fn perfetto(title: &str, columns: &[Column], events: &[Event]) -> Value {
    let mut trace = vec![metadata("process_name", 0, json!({ "name": title }))];
    for (track, column) in (1..).zip(columns) {
        trace.push(metadata(
            "thread_name",
            track,
            json!({ "name": column.title }),
        ));
        trace.push(metadata(
            "thread_sort_index",
            track,
            json!({ "sort_index": track }),
        ));
    }
    let mut others: BTreeMap<&str, u64> = BTreeMap::new();
    let first_free = columns.len() as u64 + 1;
    let mut open: BTreeMap<u64, u64> = BTreeMap::new();
    let mut last = 0;
    for event in sorted(events) {
        let actor = event.actor.as_deref();
        let known = (1..)
            .zip(columns)
            .find(|(_, column)| Some(column.actor.as_str()) == actor)
            .map(|(track, _)| track);
        let track = known.unwrap_or_else(|| {
            let next = first_free + others.len() as u64;
            *others.entry(&event.task).or_insert_with(|| {
                trace.push(metadata("thread_name", next, json!({ "name": event.task })));
                next
            })
        });
        last = event.time_ns;
        let depth = open.entry(track).or_default();
        let phase = match event.kind {
            EventKind::Begin => {
                *depth += 1;
                "B"
            }
            EventKind::End if *depth == 0 => continue,
            EventKind::End => {
                *depth -= 1;
                "E"
            }
            EventKind::Instant => "i",
        };
        let mut value = entry(phase, track, event.time_ns);
        if !event.what.is_empty() {
            value["name"] = json!(event.what);
        }
        if event.kind == EventKind::Instant {
            // As wide as its track.
            value["s"] = json!("t");
        }
        value["args"] = json!({ "task": event.task });
        trace.push(value);
    }
    for (track, depth) in open {
        for _ in 0..depth {
            trace.push(entry("E", track, last));
        }
    }
    json!({ "displayTimeUnit": "ns", "traceEvents": trace })
}

fn metadata(name: &str, track: u64, args: Value) -> Value {
    json!({ "ph": "M", "name": name, "pid": PID, "tid": track, "args": args })
}

/// Times are microseconds there.
#[allow(clippy::cast_precision_loss)] // Exact to the nanosecond for the first 100 days of uptime.
fn entry(phase: &str, track: u64, time_ns: u64) -> Value {
    json!({ "ph": phase, "pid": PID, "tid": track, "ts": time_ns as f64 / 1000.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(time_ns: u64, actor: Option<&str>, what: &str, kind: EventKind) -> Event {
        Event {
            time_ns,
            actor: actor.map(str::to_owned),
            task: "kworker-7".into(),
            what: what.into(),
            kind,
        }
    }

    #[test]
    fn tracks_begin_and_end() {
        let columns = [Column {
            actor: "A".into(),
            title: "A: write".into(),
        }];
        let events = [
            event(2500, Some("A"), "wait", EventKind::Begin),
            event(1000, Some("A"), "", EventKind::End),
            event(3000, None, "writeback", EventKind::Instant),
        ];
        let trace = perfetto("seed", &columns, &events);
        let all = trace["traceEvents"].as_array().unwrap();
        let of = |phase: &str| all.iter().filter(|e| e["ph"] == phase).collect::<Vec<_>>();
        // Process, the actor's two, the worker's one.
        assert_eq!(of("M").len(), 4);
        assert_eq!(of("B")[0]["ts"], json!(2.5));
        assert_eq!(of("B")[0]["tid"], json!(1));
        let ends = of("E");
        assert_eq!(
            ends.len(),
            1,
            "the end of nothing is left out, the other made up"
        );
        assert_eq!(ends[0]["ts"], json!(3.0));
        assert_eq!(of("i")[0]["tid"], json!(2));
        assert_eq!(of("i")[0]["args"]["task"], json!("kworker-7"));
    }
}
