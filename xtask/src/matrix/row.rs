// SPDX-License-Identifier: GPL-2.0

//! One row: what became of a kernel with a configuration, and what that is worth.

use notblk_protocol::{Driver, RaceRow};
use serde::Serialize;

use super::plan::Cell;
use crate::errors::Code;

/// What stands in a column.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Column<T> {
    /// Nothing: it was not asked for, or not reached; what the row came to says why.
    Empty,
    /// It cannot be run, for this reason.
    CannotRun(String),
    /// What it gave.
    Ran(T),
}

/// How far a row is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has not begun.
    Waiting,
    /// It is not to be run, for this reason.
    LeftOut(String),
    /// The user stopped it.
    Interrupted,
    /// It has come to its end.
    Ended,
}

/// A test and what is to be said about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Why it failed, or was skipped.
    pub why: String,
}

/// The guest tests' results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tests {
    /// How many passed,
    pub passed: usize,
    /// failed,
    pub failed: usize,
    /// and were skipped.
    pub skipped: usize,
    /// Those that failed.
    pub failures: Vec<Named>,
    /// Those that were skipped.
    pub skips: Vec<Named>,
    /// What `cargo xtask test` would have left with.
    pub code: Code,
}

/// The race's result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Race {
    /// The verdict, or how the guest ended.
    pub verdict: String,
    /// The figures.
    pub rows: Vec<RaceRow>,
    /// What `cargo xtask race` would have left with.
    pub code: Code,
}

/// A part of a row that could not be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The part.
    pub part: &'static str,
    /// What it would have left with as a command.
    pub code: Code,
    /// Why, in one line.
    pub line: String,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The kernel, as it was named.
    pub kernel: String,
    /// Its configuration.
    pub config: String,
    /// What `--kernel` of other commands would say.
    pub name: String,
    /// The driver that was run.
    pub driver: Option<Driver>,
    /// What `uname -r` says in it.
    pub release: Option<String>,
    /// Seconds until it could be booted.
    pub build: Column<f64>,
    /// Seconds that its first guest took to its first word.
    pub boot: Option<f64>,
    /// The guest tests.
    pub test: Column<Tests>,
    /// The race.
    pub race: Column<Race>,
    /// All that it took, in seconds.
    pub seconds: f64,
    /// How far it is.
    pub state: State,
    /// What could not be done.
    pub problems: Vec<Problem>,
}

impl Row {
    /// One that has not begun.
    pub fn new(cell: Cell) -> Row {
        Row {
            name: cell.name(),
            kernel: cell.kernel,
            config: cell.config,
            driver: None,
            release: None,
            build: Column::Empty,
            boot: None,
            test: Column::Empty,
            race: Column::Empty,
            seconds: 0.0,
            state: cell.left_out.map_or(State::Waiting, State::LeftOut),
            problems: Vec::new(),
        }
    }

    /// What it is called among the others.
    pub fn title(&self) -> String {
        format!("{} {}", self.kernel, self.config)
    }

    /// True where nothing more is to come.
    pub fn is_settled(&self) -> bool {
        matches!(self.state, State::LeftOut(_) | State::Ended)
    }

    /// True where a guest has been started.
    pub fn booted(&self) -> bool {
        self.boot.is_some()
            || matches!(self.test, Column::Ran(_))
            || matches!(self.race, Column::Ran(_))
    }

    /// True where it failed.
    pub fn is_bad(&self) -> bool {
        self.code().is_some_and(|code| code != Code::PASSED)
    }

    /// The worst of its parts; none where none was run.
    pub fn code(&self) -> Option<Code> {
        let build = matches!(self.build, Column::Ran(_)).then_some(Code::PASSED);
        let test = match &self.test {
            Column::Ran(tests) => Some(tests.code),
            _ => None,
        };
        let race = match &self.race {
            Column::Ran(race) => Some(race.code),
            _ => None,
        };
        let parts = [build, test, race].into_iter().flatten();
        Code::worst(parts.chain(self.problems.iter().map(|problem| problem.code)))
    }
}

/// The worst of all rows; none where nothing was run.
pub fn worst(rows: &[Row]) -> Option<Code> {
    Code::worst(rows.iter().filter_map(Row::code))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn waiting(kernel: &str, config: &str) -> Row {
        Row::new(Cell {
            kernel: kernel.into(),
            config: config.into(),
            left_out: None,
        })
    }

    pub fn left_out(kernel: &str, config: &str) -> Row {
        Row::new(Cell {
            kernel: kernel.into(),
            config: config.into(),
            left_out: Some("too slow".into()),
        })
    }

    /// All of it passed.
    pub fn good(kernel: &str, config: &str) -> Row {
        Row {
            driver: Some(Driver::Notblk),
            release: Some(format!("{kernel}.9-{config}")),
            build: Column::Ran(3.2),
            boot: Some(4.5),
            test: Column::Ran(Tests {
                passed: 93,
                failed: 0,
                skipped: 0,
                failures: Vec::new(),
                skips: Vec::new(),
                code: Code::PASSED,
            }),
            race: Column::Ran(Race {
                verdict: "PASSED: without the drain the race appears".into(),
                rows: Vec::new(),
                code: Code::PASSED,
            }),
            seconds: 190.0,
            state: State::Ended,
            ..waiting(kernel, config)
        }
    }

    /// The kernel could not be made.
    pub fn bad_build(kernel: &str, config: &str) -> Row {
        Row {
            state: State::Ended,
            seconds: 1.0,
            problems: vec![Problem {
                part: "build",
                code: Code::HOST,
                line: "the archive has no kernel".into(),
            }],
            ..waiting(kernel, config)
        }
    }

    /// The tests ended like this.
    pub fn with_tests(mut row: Row, failed: &[&str], skipped: &[(&str, &str)], code: Code) -> Row {
        let fail = |&name: &&str| Named {
            name: name.into(),
            why: "the kernel reported: BUG".into(),
        };
        let skip = |&(name, why): &(&str, &str)| Named {
            name: name.into(),
            why: why.into(),
        };
        row.test = Column::Ran(Tests {
            passed: 90,
            failed: failed.len(),
            skipped: skipped.len(),
            failures: failed.iter().map(fail).collect(),
            skips: skipped.iter().map(skip).collect(),
            code,
        });
        row
    }

    #[test]
    fn the_worst_part_of_the_worst_row_counts() {
        let splat = with_tests(good("7.3", "debug"), &["data/mmap"], &[], Code::SPLAT);
        assert_eq!(splat.code(), Some(Code::SPLAT));
        assert!(splat.is_bad());
        let rows = [
            bad_build("7.2", "stock"),
            good("7.3", "stock"),
            left_out("7.2", "debug"),
            splat,
        ];
        assert_eq!(worst(&rows), Some(Code::SPLAT));
        assert_eq!(worst(&rows[..2]), Some(Code::HOST));
        assert_eq!(worst(&rows[1..3]), Some(Code::PASSED));
    }

    #[test]
    fn what_was_not_run_has_not_passed() {
        assert_eq!(worst(&[left_out("7.2", "debug")]), None);
        let mut no_rust = waiting("6.12", "stock");
        no_rust.build = Column::CannotRun("no Rust".into());
        no_rust.state = State::Ended;
        assert_eq!(no_rust.code(), None);
        assert!(!no_rust.is_bad());
    }

    #[test]
    fn an_error_after_the_tests_is_not_lost_in_them() {
        let mut row = good("7.3", "stock");
        row.problems.push(Problem {
            part: "race",
            code: Code::HOST,
            line: "disk full".into(),
        });
        assert_eq!(row.code(), Some(Code::HOST));
    }
}
