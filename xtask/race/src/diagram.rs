// SPDX-License-Identifier: GPL-2.0

//! Draws what was traced: columns as kernel commit messages have them, and a trace that Perfetto opens.

mod columns;
mod perfetto;

use serde::{Deserialize, Serialize};

pub use columns::columns;
pub use perfetto::perfetto;

/// Something that was traced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, by the guest's clock.
    pub time_ns: u64,
    /// On whose behalf, by name; `None` for what nobody in particular does (write-back, say).
    pub actor: Option<String>,
    /// In which task: `kworker/u8:2-57`.
    pub task: String,
    /// What, as it is to be printed: `inode_dio_wait()`. For an end it may be empty, and nothing is printed in the columns.
    pub what: String,
    /// Whether it takes time.
    pub kind: EventKind,
}

/// See [`Event`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// Something begins; what the same actor does until it ends is part of it.
    Begin,
    /// The last thing of this actor that has begun ends.
    End,
    /// It takes no time.
    Instant,
}

/// One column of a drawing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The actor's name, as its events have it.
    pub actor: String,
    /// What stands above it: `A: write f 1b..2b direct aio`.
    pub title: String,
}

impl Column {
    /// The columns of a spec: each actor with its first step.
    #[must_use]
    pub fn of(spec: &crate::Spec) -> Vec<Column> {
        let column = |actor: &crate::spec::Actor| {
            let steps: Vec<String> = actor
                .steps
                .iter()
                .map(|step| spec.step_text(step))
                .collect();
            Column {
                actor: actor.name.clone(),
                title: format!("{}: {}", actor.name, steps.join("; ")),
            }
        };
        spec.actors.iter().map(column).collect()
    }
}

/// The events by time; those of one time stay in their order.
fn sorted(events: &[Event]) -> Vec<&Event> {
    let mut sorted: Vec<&Event> = events.iter().collect();
    sorted.sort_by_key(|event| event.time_ns);
    sorted
}
