// SPDX-License-Identifier: GPL-2.0

//! The runs that are kept: `--list`.

use super::{Grid, Paint};
use crate::text::{duration, shorten};
use crate::{Column, Run, State, Status};

/// All runs, the newest last, one line a configuration. When a run began is in its name.
pub fn list(runs: &[Run], paint: Paint) -> String {
    if runs.is_empty() {
        return "no run is kept\n".to_owned();
    }
    let head = [
        "run (UTC)",
        "state",
        "took",
        "configuration",
        "pass",
        "bad",
        "unrun",
        "kernel",
        "commit",
    ];
    let mut grid = Grid::new(&head, &[2, 4, 5, 6]);
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
                state(&Column { run, config }),
                once(duration(info.wall_secs)),
                shorten(config, 23),
                count(|s| s == Status::Pass),
                count(Status::is_bad),
                count(Status::is_unrun),
                once(shorten(&info.kernel, 14)),
                once(info.commit.replace("-dirty", "+")),
            ]);
            first = false;
        }
    }
    let table = grid.render();
    let (head, rows) = table.split_once('\n').unwrap_or((&table, ""));
    format!("{}\n{rows}", paint.heading(head))
}

/// The word for a configuration's state; of one that is not at its end, how many tests are left.
fn state(column: &Column) -> String {
    let mut configs = column.run.run.configs.iter();
    let config = configs.find(|it| it.name == column.config);
    match (column.run.run.state, column.left()) {
        (State::Running, _) => "running".to_owned(),
        _ if config.is_some_and(|it| it.broken.is_some()) => "broken".to_owned(),
        _ if config.is_some_and(|it| !it.faults().is_empty()) => "shards missing".to_owned(),
        (_, 0) => "complete".to_owned(),
        (_, left) => format!("{left} left"),
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
        let mut three = two.clone();
        three.run.state = State::Interrupted;
        three.run.commit = "0123456-dirty".into();
        let mut four = two.clone();
        four.run.state = State::Interrupted;
        four.run.configs[0].broken = Some("mkfs failed".into());
        four.run.configs[1].shards = Some(crate::Shard { part: 1, of: 2 }.into());
        let text = list(&[one, two, three, four], Paint(false));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 8, "{text}");
        assert!(lines[6].contains("  broken  "), "{text}");
        assert!(lines[7].contains("  shards missing  "), "{text}");
        assert!(lines[1].contains("complete"), "{text}");
        assert!(lines[2].contains("running"), "{text}");
        assert!(lines[4].contains("  1 left  "), "{text}");
        assert!(lines[4].ends_with("  0123456+"), "{text}");
        let words: Vec<_> = lines[3].split_whitespace().collect();
        assert_eq!(words, ["running", "ext4-noextent-nojournal", "0", "0", "0"]);
        let width = |line: &&str| line.chars().count();
        assert!(lines.iter().map(width).max() <= Some(crate::table::WIDTH));
        assert_eq!(list(&[], Paint(false)), "no run is kept\n");
    }
}
