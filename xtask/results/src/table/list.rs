// SPDX-License-Identifier: GPL-2.0

//! The runs that are kept: `--list`.

use super::{Grid, Paint};
use crate::text::{duration, shorten};
use crate::{clock, Column, Run, State, Status};

/// All runs, the newest last, one line a configuration.
pub fn list(runs: &[Run], paint: Paint) -> String {
    if runs.is_empty() {
        return "no run is kept\n".to_owned();
    }
    let head = [
        "run",
        "began (UTC)",
        "state",
        "took",
        "configuration",
        "pass",
        "bad",
        "unrun",
        "left",
        "kernel",
        "commit",
    ];
    let mut grid = Grid::new(&head, &[3, 5, 6, 7, 8]);
    for run in runs {
        let mut first = true;
        for config in run.config_names() {
            let count = |wanted: fn(Status) -> bool| {
                let statuses = run.of(config).map(|r| r.status);
                statuses.filter(|&s| wanted(s)).count().to_string()
            };
            let once = |text: String| match first {
                true => text,
                false => String::new(),
            };
            let info = &run.run;
            grid.add(vec![
                once(info.id.clone()),
                once(began(&info.started)),
                once(state(info.state).to_owned()),
                once(duration(info.wall_secs)),
                shorten(config, 23),
                count(|s| s == Status::Pass),
                count(Status::is_bad),
                count(Status::is_unrun),
                Column { run, config }.left().to_string(),
                once(info.kernel.clone()),
                once(info.commit.clone()),
            ]);
            first = false;
        }
    }
    let table = grid.render();
    let (head, rows) = table.split_once('\n').unwrap_or((&table, ""));
    format!("{}\n{rows}", paint.heading(head))
}

/// The day and the minute; the seconds are in the id.
fn began(started: &str) -> String {
    match clock::parse(started) {
        Some(time) => time.format("%d %b %H:%M").to_string(),
        None => started.to_owned(),
    }
}

/// The word for a state.
pub(super) fn state(state: State) -> &'static str {
    match state {
        State::Running => "running",
        State::Interrupted => "interrupted",
        State::Complete => "complete",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    #[test]
    fn every_run_and_configuration_has_its_line() {
        let mut one = fake::many(7);
        one.run.state = State::Complete;
        let two = Run {
            run: fake::run_info(&["notblk", "ext4-noextent-nojournal"], &["generic/001"]),
            results: Vec::new(),
        };
        let text = list(&[one, two], Paint(false));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[1].contains("complete"), "{text}");
        assert!(lines[2].contains("running"), "{text}");
        let words: Vec<_> = lines[3].split_whitespace().collect();
        assert_eq!(words, ["ext4-noextent-nojournal", "0", "0", "0", "1"]);
        assert_eq!(list(&[], Paint(false)), "no run is kept\n");
    }
}
