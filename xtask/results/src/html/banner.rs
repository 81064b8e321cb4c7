// SPDX-License-Identifier: GPL-2.0

//! What stands above everything else where a run did not come to its end.

use super::escape::text;
use crate::text::counted;
use crate::{Column, Run, State};

/// Banners over a run that did not come to its end: one for each configuration or shard that is missing as a whole, and
/// one for single results.
pub fn state(run: &Run) -> String {
    let faults = run.run.faults();
    let banner = |fault: &String| format!("<p class=\"banner bad\">{}</p>", text(fault));
    faults.iter().map(banner).collect::<String>() + &left(run, !faults.is_empty())
}

/// The banner of single results. Where it is `explained` why there are none, only those that are left are worth a word.
fn left(run: &Run, explained: bool) -> String {
    let left: usize = run
        .config_names()
        .map(|config| Column { run, config }.left())
        .sum();
    let said = match (run.run.state, left) {
        (State::Complete, 0) => return String::new(),
        (State::Interrupted, 0) if explained => return String::new(),
        (State::Complete, _) => "This run ended before all of its tests had run".to_owned(),
        (State::Running, _) => "This run goes on".to_owned(),
        (State::Interrupted, _) => format!(
            "This run was interrupted; <code>cargo xtask run-xfstests --resume {}</code> goes on",
            text(&run.run.id)
        ),
    };
    format!(
        "<p class=\"banner\">{said}: {} missing.</p>",
        counted(left, "result")
    )
}
