// SPDX-License-Identifier: GPL-2.0

//! Tables for the terminal: plain text, no wider than [`WIDTH`] (a command to copy is never cut), coloured if asked.

use crate::text::shorten;
use crate::Status;

mod changes;
mod list;
mod summary;

pub use changes::changes;
pub use list::list;
pub use summary::{closing, summary};

/// The width that tables keep to.
pub const WIDTH: usize = 120;

/// Whether to colour.
#[derive(Debug, Clone, Copy)]
pub struct Paint(pub bool);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        match self.0 {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    /// A heading.
    pub fn heading(self, text: &str) -> String {
        self.with("1", text)
    }

    /// Text in the colour of a status.
    pub fn status(self, status: Status, text: &str) -> String {
        let code = match status {
            Status::Pass => "32",
            Status::Fail | Status::Died => "31",
            Status::Hang | Status::Splat => "35",
            Status::Skip | Status::Excluded => "33",
        };
        self.with(code, text)
    }
}

/// Rows of cells in columns; the first row is the head.
#[derive(Default)]
struct Grid {
    rows: Vec<Vec<String>>,
    /// The columns of figures, which stand to the right.
    right: Vec<usize>,
}

impl Grid {
    fn new(head: &[&str], right: &[usize]) -> Self {
        Grid {
            rows: vec![head.iter().map(|cell| cell.to_string()).collect()],
            right: right.to_vec(),
        }
    }

    fn add(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    fn render(&self) -> String {
        let lines = notblk_columns::render(&self.rows, |column| self.right.contains(&column));
        lines
            .lines()
            .map(|line| shorten(line, WIDTH) + "\n")
            .collect()
    }
}

/// Words one after the other, broken into lines of at most [`WIDTH`], each behind `indent` spaces.
fn wrap<'a>(words: impl IntoIterator<Item = &'a str>, indent: usize) -> String {
    let margin = " ".repeat(indent);
    let mut text = String::new();
    let mut line = String::new();
    for word in words {
        if !line.is_empty() && indent + line.len() + 1 + word.len() > WIDTH {
            text.push_str(&format!("{margin}{line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        text.push_str(&format!("{margin}{line}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_to_the_right_and_lines_are_not_too_long() {
        let mut grid = Grid::new(&["name", "n", "words"], &[1]);
        grid.add(vec!["a".into(), "1000".into(), "x".repeat(200)]);
        grid.add(vec!["longer".into(), "7".into()]);
        let text = grid.render();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "name       n  words");
        assert_eq!(lines[2], "longer     7");
        assert_eq!(lines[1].chars().count(), WIDTH);
    }

    #[test]
    fn words_are_wrapped() {
        let word = "x".repeat(49);
        let text = wrap([word.as_str(); 5], 4);
        let widths: Vec<_> = text.lines().map(str::len).collect();
        assert_eq!(widths, [103, 103, 53]);
        assert_eq!(wrap([], 4), "");
    }

    #[test]
    fn colour_is_only_there_if_asked_for() {
        assert_eq!(Paint(false).status(Status::Fail, "fail"), "fail");
        assert!(Paint(true).status(Status::Fail, "fail").contains("\x1b["));
    }
}
