// SPDX-License-Identifier: GPL-2.0

//! The rows as a table, with notes below it: for a terminal, and as Markdown.

use super::row::{Column, Named, Race, Row, State, Tests};
use super::run::Job;
use crate::errors::Code;

/// A table and what stands below it.
pub struct Shown {
    /// The heads; false for columns of figures, which stand to the right.
    head: Vec<(&'static str, bool)>,
    lines: Vec<Vec<String>>,
    /// Footnotes and what belongs to no cell.
    pub notes: Vec<String>,
}

/// What is shown of these rows, in which `job` was done with the tests that `names` chose.
pub fn shown(rows: &[Row], job: &Job, names: &[String]) -> Shown {
    let mut head = vec![
        ("kernel", true),
        ("config", true),
        ("driver", true),
        ("release", true),
        ("build", false),
    ];
    if job.boots() {
        head.push(("boot", false));
    }
    if job.wants_test() {
        head.push(("passed/failed/skipped", true));
    }
    if job.wants_race() {
        head.push(("race", true));
    }
    head.extend([("total", false), ("result", true)]);
    let mut footnotes = Vec::new();
    let mut lines = Vec::new();
    for row in rows {
        let mut line = vec![
            row.kernel.clone(),
            row.config.clone(),
            row.driver.map_or("-".into(), |driver| driver.to_string()),
            row.release.clone().unwrap_or("-".into()),
            build(row),
        ];
        if job.boots() {
            line.push(row.boot.map_or("-".into(), seconds));
        }
        if job.wants_test() {
            line.push(cell(row, &row.test, "test", |tests| {
                counts(tests, &mut footnotes)
            }));
        }
        if job.wants_race() {
            line.push(cell(row, &row.race, "race", |race| word(race.code).into()));
        }
        line.push(match row.seconds > 0.0 {
            true => seconds(row.seconds),
            false => "-".into(),
        });
        line.push(outcome(row));
        lines.push(line);
    }
    let mut notes: Vec<String> = footnotes
        .iter()
        .zip(1..)
        .map(|(text, number)| format!("[{number}] {text}"))
        .collect();
    rows.iter().for_each(|row| below(row, &mut notes));
    if job.wants_test() && !names.is_empty() {
        notes.push(format!("only tests called {}", names.join(" or ")));
    }
    if job.wants_test() {
        notes.push(
            "not here, the same for all rows: the tests of the host's crates and of run-xfstests (`cargo xtask test`)".into(),
        );
    }
    Shown { head, lines, notes }
}

/// What a row came to.
pub fn outcome(row: &Row) -> String {
    let code = row.code();
    let problem = row
        .problems
        .iter()
        .find(|problem| Some(problem.code) == code);
    match (&row.state, problem, code) {
        (State::LeftOut(why), ..) => format!("left out: {why}"),
        (State::Waiting, ..) => "not run: interrupted".into(),
        (State::Interrupted, ..) => "interrupted".into(),
        (State::Ended, Some(problem), _) => format!("error: {}", problem.line),
        (State::Ended, None, Some(code)) => word(code).into(),
        (State::Ended, None, None) => match &row.build {
            Column::CannotRun(why) => format!("left out: {why}"),
            _ => "nothing was run".into(),
        },
    }
}

/// A time, no finer than it is of use.
pub fn seconds(seconds: f64) -> String {
    match seconds < 100.0 {
        true => format!("{seconds:.1} s"),
        false => format!("{seconds:.0} s"),
    }
}

fn word(code: Code) -> &'static str {
    match code {
        Code::PASSED => "passed",
        Code::HANG => "hang",
        Code::SPLAT => "splat",
        Code::TEST_FAILED => "FAILED",
        _ => "error",
    }
}

fn build(row: &Row) -> String {
    cell(row, &row.build, "build", |&time| seconds(time))
}

/// What stands in a column; why nothing does, the row's result says.
fn cell<T>(row: &Row, column: &Column<T>, part: &str, show: impl FnOnce(&T) -> String) -> String {
    let failed = row.problems.iter().any(|problem| problem.part == part);
    match column {
        // What was seen before it.
        Column::Ran(what) if failed => format!("{}, error", show(what)),
        Column::Ran(what) => show(what),
        Column::Empty if failed => "error".into(),
        Column::CannotRun(why) => why.clone(),
        Column::Empty => "-".into(),
    }
}

/// `93/0/2 [1]`, with the reasons for what was skipped among the footnotes.
fn counts(tests: &Tests, footnotes: &mut Vec<String>) -> String {
    let mut text = format!("{}/{}/{}", tests.passed, tests.failed, tests.skipped);
    let mut reasons: Vec<&str> = Vec::new();
    for Named { why, .. } in &tests.skips {
        if !reasons.contains(&why.as_str()) {
            reasons.push(why);
        }
    }
    let mut marks = Vec::new();
    for reason in reasons {
        let with = tests.skips.iter().filter(|named| named.why == reason);
        let names: Vec<&str> = with.map(|named| named.name.as_str()).collect();
        let note = format!("skipped, {reason}: {}", names.join(", "));
        // Rows that skip the same share the note.
        let at = footnotes.iter().position(|other| *other == note);
        let at = at.unwrap_or_else(|| {
            footnotes.push(note);
            footnotes.len() - 1
        });
        marks.push((at + 1).to_string());
    }
    if !marks.is_empty() {
        text.push_str(&format!(" [{}]", marks.join(",")));
    }
    text
}

/// What is to be said about a row below the table.
fn below(row: &Row, notes: &mut Vec<String>) {
    let title = row.title();
    let shown = outcome(row);
    for problem in &row.problems {
        let line = format!("error: {}", problem.line);
        if line != shown {
            notes.push(format!("{title}, {}: {line}", problem.part));
        }
    }
    if let Column::Ran(tests) = &row.test {
        for Named { name, why } in &tests.failures {
            notes.push(format!("{title}, test: FAILED {name}: {why}"));
        }
    }
    if let Column::Ran(Race { verdict, .. }) = &row.race {
        notes.push(format!("{title}, race: {verdict}"));
    }
}

impl Shown {
    /// For a terminal.
    pub fn text(&self) -> String {
        let heads: Vec<String> = self.head.iter().map(|(head, _)| (*head).into()).collect();
        let all: Vec<&Vec<String>> = std::iter::once(&heads).chain(&self.lines).collect();
        let is_right = |column: usize| self.head.get(column).is_some_and(|(_, left)| !left);
        let mut text = notblk_columns::render(&all, is_right);
        if !self.notes.is_empty() {
            text.push('\n');
        }
        for note in &self.notes {
            text.push_str(&format!("{note}\n"));
        }
        text
    }

    /// For a page.
    pub fn markdown(&self) -> String {
        let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let heads = self.head.iter().map(|(head, _)| (*head).into()).collect();
        let rules = self.head.iter().map(|(_, left)| match left {
            true => "---".into(),
            false => "---:".into(),
        });
        let mut text = row(heads) + &row(rules.collect());
        for line in &self.lines {
            text.push_str(&row(line.iter().map(|cell| escaped(cell)).collect()));
        }
        text.push('\n');
        for note in &self.notes {
            text.push_str(&format!("- {}\n", escaped(note)));
        }
        text
    }
}

/// Without the signs that would end a cell or begin something else.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if ['|', '<', '*', '_', '[', '\\'].contains(&c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::row::tests::{bad_build, good, left_out, waiting, with_tests};
    use super::super::Only;
    use super::*;
    use crate::guest::MachineArgs;

    fn job(only: Option<Only>) -> Job {
        Job {
            only,
            tests: Vec::new(),
            driver: None,
            machine: MachineArgs {
                accel: None,
                memory: 1024,
                cpus: 2,
                timeout: None,
            },
        }
    }

    fn text(rows: &[Row], only: Option<Only>) -> String {
        shown(rows, &job(only), &[]).text()
    }

    #[test]
    fn each_row_says_what_it_came_to() {
        let mut interrupted = good("6.1", "stock");
        interrupted.state = State::Interrupted;
        let rows = [
            good("7.3", "stock"),
            bad_build("7.2", "stock"),
            with_tests(good("7.3", "debug"), &["data/mmap"], &[], Code::SPLAT),
            left_out("7.2", "debug"),
            interrupted,
            waiting("6.2", "stock"),
        ];
        let text = text(&rows, None);
        let lines: Vec<&str> = text.lines().collect();
        let column = lines[0].find("result").unwrap();
        let results: Vec<&str> = lines[..7].iter().map(|line| &line[column..]).collect();
        assert_eq!(
            results,
            [
                "result",
                "passed",
                "error: the archive has no kernel",
                "splat",
                "left out: too slow",
                "interrupted",
                "not run: interrupted",
            ],
            "{text}"
        );
        assert!(lines[1].contains(" 3.2 s  "), "{text}");
        assert!(lines[1].contains(" 190 s  "), "{text}");
        assert!(lines[2].contains(" error  "), "{text}");
        assert!(
            text.contains("7.3 debug, test: FAILED data/mmap: the kernel reported: BUG\n"),
            "{text}"
        );
        assert!(text.contains("7.3 stock, race: PASSED: without"), "{text}");
        // Its error stands in the table already.
        assert!(!text.contains("7.2 stock, build"), "{text}");
    }

    #[test]
    fn whatever_was_skipped_has_its_reason_below_once() {
        let skips = [
            ("cross/a", "only for ext4"),
            ("data/b", "no loop"),
            ("cross/c", "only for ext4"),
        ];
        let rows = [
            with_tests(good("7.3", "stock"), &[], &skips, Code::PASSED),
            with_tests(good("7.2", "stock"), &[], &skips[..2], Code::PASSED),
        ];
        let text = text(&rows, None);
        assert!(text.contains(" 90/0/3 [1,2] "), "{text}");
        assert!(text.contains(" 90/0/2 [3,2] "), "{text}");
        assert!(
            text.contains("\n[1] skipped, only for ext4: cross/a, cross/c\n"),
            "{text}"
        );
        assert!(text.contains("\n[2] skipped, no loop: data/b\n"), "{text}");
        assert!(
            text.contains("\n[3] skipped, only for ext4: cross/a\n"),
            "{text}"
        );
        assert!(text.contains("the host's crates"), "{text}");
    }

    #[test]
    fn only_the_columns_that_were_asked_for() {
        let head = |only| {
            let text = text(&[waiting("7.3", "stock")], only);
            let head: Vec<String> = text
                .lines()
                .next()
                .unwrap()
                .split_whitespace()
                .map(str::to_owned)
                .collect();
            head[4..].join(" ")
        };
        assert_eq!(head(Some(Only::Build)), "build total result");
        assert_eq!(
            head(Some(Only::Test)),
            "build boot passed/failed/skipped total result"
        );
        assert_eq!(head(Some(Only::Race)), "build boot race total result");
    }

    #[test]
    fn a_kernel_without_rust_says_so() {
        let mut row = waiting("6.12", "stock");
        row.state = State::Ended;
        row.build = Column::CannotRun("no Rust".into());
        let line = |row: &Row| text(std::slice::from_ref(row), Some(Only::Build));
        assert!(line(&row).contains(" no Rust "), "{}", line(&row));
        assert!(line(&row).contains("left out: no Rust"), "{}", line(&row));
    }

    #[test]
    fn what_does_not_fit_into_the_result_stands_below() {
        let mut row = bad_build("7.3", "stock");
        row.test = with_tests(row.clone(), &["data/mmap"], &[], Code::TEST_FAILED).test;
        row.problems[0].part = "race";
        let text = text(&[row], None);
        assert!(text.contains(" FAILED\n"), "{text}");
        assert!(
            text.contains("7.3 stock, race: error: the archive has no kernel\n"),
            "{text}"
        );
    }

    #[test]
    fn markdown_has_as_many_cells_everywhere() {
        let mut odd = bad_build("tree:a|b", "stock");
        odd.problems[0].line = "no *rule*".into();
        let shown = shown(&[good("7.3", "stock"), odd], &job(None), &["data".into()]);
        let text = shown.markdown();
        let lines: Vec<&str> = text.lines().collect();
        let cells = |line: &str| line.replace("\\|", "").matches('|').count();
        assert_eq!(cells(lines[0]), 11, "{text}");
        assert!(lines[..4].iter().all(|line| cells(line) == 11), "{text}");
        assert!(lines[1].contains("---:"), "{text}");
        assert!(lines[3].contains("no \\*rule\\*"), "{text}");
        assert!(text.contains("- only tests called data\n"), "{text}");
    }
}
