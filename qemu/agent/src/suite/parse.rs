// SPDX-License-Identifier: GPL-2.0
//! Reading what `check` prints.
//!
//! For each test it prints the name, padded and without a newline, when the test begins; then how it
//! went, in as many lines as that takes. So a test is known to run as soon as its name stands at the
//! beginning of a line, and to have ended, with all checks after it, when the next name does, or the
//! summary. Only names in the order of the list count: whatever a failed test prints, it is no other
//! test's beginning unless it says just the right name.

use notblk_protocol::SuiteStatus;
use std::collections::VecDeque;

/// Lines kept of what belongs to no test: what `check` says before it gives up stands there.
const OUTSIDE: usize = 40;

/// What is kept of one test's output.
const LIMIT: usize = 256 << 10;

/// First words of the summary that follows the last test.
const SUMMARY: &[&str] = &[
    "Ran: ",
    "Not run: ",
    "Failures: ",
    "Passed all ",
    "Interrupted!",
];

/// Something that was read.
#[derive(Debug, PartialEq)]
pub enum Piece {
    /// A test begins.
    Begun(String),
    /// It has ended.
    Ended {
        /// Its name.
        test: String,
        /// How.
        status: SuiteStatus,
        /// What was printed after its name.
        output: String,
    },
}

/// A test that has begun.
struct Segment {
    test: String,
    output: Vec<u8>,
}

/// What a line is, as far as it has come.
enum Line {
    /// Not to be told yet.
    Open,
    /// The beginning of a test, whose name is so long.
    Begins { test: String, again: bool },
    /// The beginning of the summary.
    Summary,
    /// Anything else.
    Other,
}

/// The reader.
pub struct Parser {
    /// The tests that are to come, in order.
    tests: VecDeque<String>,
    /// A failed test is run again by `check`, under its name.
    loops: bool,
    /// The segment that is open.
    segment: Option<Segment>,
    /// The test that ended last failed, and is being run again and again.
    looping: bool,
    /// The line that has not ended, as far as it is not filed.
    line: Vec<u8>,
    /// The line's beginning has been looked at and needs no further look.
    settled: bool,
    /// The last lines that belong to no test.
    outside: VecDeque<String>,
}

impl Parser {
    /// For these tests; `loops` if `check` was given `-L`.
    pub fn new(tests: impl IntoIterator<Item = String>, loops: bool) -> Parser {
        Parser {
            tests: tests.into_iter().collect(),
            loops,
            segment: None,
            looping: false,
            line: Vec::new(),
            settled: false,
            outside: VecDeque::new(),
        }
    }

    /// The tests that have not begun.
    pub fn to_come(&self) -> usize {
        self.tests.len()
    }

    /// The last lines that belong to no test.
    pub fn outside(&self) -> Vec<String> {
        self.outside.iter().cloned().collect()
    }

    /// Takes what was read next.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let end = bytes.iter().position(|&byte| byte == b'\n');
            let (part, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
            self.line.extend_from_slice(part);
            bytes = rest;
            if !self.settled {
                self.look(end.is_some(), &mut pieces);
            }
            // Lines of no test are kept whole.
            if end.is_some() || (self.settled && self.segment.is_some()) {
                self.file();
            }
            self.settled &= end.is_none();
        }
        pieces
    }

    /// Nothing more comes.
    pub fn finish(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if !self.settled {
            self.look(true, &mut pieces);
        }
        self.file();
        pieces.extend(self.close());
        pieces
    }

    /// Looks at the beginning of a line.
    fn look(&mut self, complete: bool, pieces: &mut Vec<Piece>) {
        match self.classify(complete) {
            Line::Open => {}
            Line::Other => self.settled = true,
            Line::Summary => {
                pieces.extend(self.close());
                self.settled = true;
            }
            Line::Begins { test, again } => {
                pieces.extend(self.close());
                self.looping = again;
                if !again {
                    self.tests.pop_front();
                }
                self.line.drain(..test.len());
                pieces.push(Piece::Begun(test.clone()));
                self.segment = Some(Segment {
                    test,
                    output: Vec::new(),
                });
                self.settled = true;
            }
        }
    }

    fn classify(&self, complete: bool) -> Line {
        let mut line = Line::Other;
        if let Some(test) = self.may_run_again() {
            match after(&self.line, test) {
                // `NAME aggregate results across N runs: ...` ends such a loop; a test's beginning has
                // several spaces, or a number, which its last duration is.
                Some([b' ', b' ' | b'0'..=b'9', ..]) => {
                    return Line::Begins {
                        test: test.to_owned(),
                        again: true,
                    }
                }
                // Not before that is settled, since the same name may stand next in the list as well.
                Some([] | [b' ']) if !complete => return Line::Open,
                Some([] | [b' ', ..]) => return Line::Other,
                None if could_become(&self.line, test) => line = Line::Open,
                _ => {}
            }
        }
        if let Some(test) = self.tests.front() {
            match after(&self.line, test) {
                Some([b' ', ..]) => {
                    return Line::Begins {
                        test: test.clone(),
                        again: false,
                    }
                }
                Some([]) => line = Line::Open,
                None if could_become(&self.line, test) => line = Line::Open,
                _ => {}
            }
        }
        for word in SUMMARY {
            match after(&self.line, word) {
                Some(_) => return Line::Summary,
                None if could_become(&self.line, word) => line = Line::Open,
                None => {}
            }
        }
        match line {
            Line::Open if complete => Line::Other,
            line => line,
        }
    }

    /// The test whose segment is open, if it may be followed by itself.
    fn may_run_again(&self) -> Option<&str> {
        let segment = self.segment.as_ref().filter(|_| self.loops)?;
        let text = String::from_utf8_lossy(&segment.output);
        let failed = self.looping || status(&text, &segment.test) == SuiteStatus::Fail;
        (failed && !has_aggregate(&text, &segment.test)).then_some(&segment.test)
    }

    /// Puts the line, or the part of it that is there, where it belongs.
    fn file(&mut self) {
        let line = std::mem::take(&mut self.line);
        match &mut self.segment {
            Some(segment) if segment.output.len() < LIMIT => segment.output.extend(line),
            Some(_) => {}
            None => {
                let text = String::from_utf8_lossy(&line);
                let text = text.trim_end();
                if text.is_empty() {
                    return;
                }
                if self.outside.len() == OUTSIDE {
                    self.outside.pop_front();
                }
                self.outside.push_back(text.to_owned());
            }
        }
    }

    /// Ends the open segment.
    fn close(&mut self) -> Option<Piece> {
        let segment = self.segment.take()?;
        let text = String::from_utf8_lossy(&segment.output);
        Some(Piece::Ended {
            status: status(&text, &segment.test),
            output: text.trim().to_owned(),
            test: segment.test,
        })
    }
}

/// What follows `word` at the beginning of the line.
fn after<'a>(line: &'a [u8], word: &str) -> Option<&'a [u8]> {
    line.strip_prefix(word.as_bytes())
}

/// Whether the line may begin with `word` when more of it has come.
fn could_become(line: &[u8], word: &str) -> bool {
    word.as_bytes().starts_with(line)
}

fn is_aggregate(line: &str, test: &str) -> bool {
    line.strip_prefix(test)
        .is_some_and(|rest| rest.starts_with(" aggregate results across "))
}

fn has_aggregate(text: &str, test: &str) -> bool {
    text.lines().skip(1).any(|line| is_aggregate(line, test))
}

/// How a test went, by what was printed after its name. A pass needs its evidence: the seconds it took,
/// and nothing else, no complaint of a check that follows.
fn status(text: &str, test: &str) -> SuiteStatus {
    let (first, others) = text.split_once('\n').unwrap_or((text, ""));
    let mut first = first.trim();
    // `12s ... ` is the duration of an earlier run.
    if let Some((before, rest)) = first.split_once("s ...") {
        if is_number(before) {
            first = rest.trim_start();
        }
    }
    if first.starts_with("[not run]") {
        return SuiteStatus::NotRun;
    }
    if first == "[expunged]" {
        return SuiteStatus::Expunged;
    }
    let quiet = others
        .lines()
        .all(|line| line.trim().is_empty() || is_aggregate(line, test));
    match first.strip_suffix('s') {
        Some(seconds) if is_number(seconds) && quiet => SuiteStatus::Pass,
        _ => SuiteStatus::Fail,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
