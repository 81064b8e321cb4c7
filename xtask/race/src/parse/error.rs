// SPDX-License-Identifier: GPL-2.0

//! What is wrong with a spec, and where.

use std::fmt;
use std::ops::Range;

/// The first thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// How many characters are meant, at least 1.
    pub width: usize,
    /// What is wrong there.
    pub text: String,
    /// What may have been meant.
    pub hint: Option<String>,
    /// The line, for the excerpt.
    excerpt: String,
}

impl Error {
    /// Of these bytes of the text.
    pub(super) fn new(text: &str, span: Range<usize>, what: String, hint: Option<String>) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let from_line = text.get(line_start..).unwrap_or("");
        let excerpt = from_line.lines().next().unwrap_or("");
        let meant = text.get(span).unwrap_or("");
        let meant = meant.lines().next().unwrap_or("");
        Error {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).map_or(0, |s| s.chars().count()) + 1,
            width: meant.chars().count().max(1),
            text: what,
            hint,
            excerpt: excerpt.replace(|c: char| c.is_control(), " "),
        }
    }

    /// As compilers print it, with the file's name in front.
    #[must_use]
    pub fn in_file<'a>(&'a self, path: &'a str) -> impl fmt::Display + 'a {
        InFile { error: self, path }
    }

    fn write_excerpt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let indent = " ".repeat(self.column.saturating_sub(1));
        let carets = "^".repeat(self.width);
        let line = format!("{number} | {}", self.excerpt);
        write!(f, "\n{margin} |\n{}", line.trim_end())?;
        write!(f, "\n{margin} | {indent}{carets}")?;
        match &self.hint {
            Some(hint) => write!(f, " {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.text
        )?;
        self.write_excerpt(f)
    }
}

impl std::error::Error for Error {}

struct InFile<'a> {
    error: &'a Error,
    path: &'a str,
}

impl fmt::Display for InFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Error {
            line, column, text, ..
        } = self.error;
        write!(f, "{}:{line}:{column}: {text}", self.path)?;
        self.error.write_excerpt(f)
    }
}
