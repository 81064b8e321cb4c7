// SPDX-License-Identifier: GPL-2.0
//! The kernel's log as far as it was read, and where it is cut.

use notblk_protocol::{splat, suite, INVALIDATION_FAILURE};

/// What begins our own lines in the log.
pub const MARK: &str = "notblk-agent: mark ";

/// The log as far as it was read.
#[derive(Default)]
pub struct Log {
    /// All messages that are kept.
    lines: Vec<String>,
    /// How many were forgotten before these.
    forgotten: usize,
    /// First lines of all splats.
    splats: Vec<String>,
    /// Lines that report a failed invalidation.
    invalidation_failures: u64,
    /// Messages that were overwritten before they were read.
    pub lost: u64,
    /// The last of our marks that came by.
    pub mark: u64,
    /// What the suite says when a test begins: the test, and the place before that line.
    begins: Vec<(String, Place)>,
    /// It has said so at least once.
    pub suite_marks: bool,
    /// Why the thread that reads ended, if it did.
    pub dead: Option<String>,
}

/// A place in the log; everything after it is new. The default is its beginning.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Place {
    lines: usize,
    splats: usize,
    invalidation_failures: u64,
    lost: u64,
}

/// What was logged between two places.
#[derive(Debug, PartialEq)]
pub struct Stretch {
    /// The messages.
    pub lines: Vec<String>,
    /// First lines of the splats.
    pub splats: Vec<String>,
    /// Failed invalidations.
    pub invalidation_failures: u64,
    /// The same since the guest booted.
    pub invalidation_failures_in_all: u64,
    /// How many messages are missing among these. A line stands for them wherever they are.
    pub lost: u64,
}

/// The number in a line that is a mark of ours.
pub fn mark(line: &str) -> Option<u64> {
    line.strip_prefix(MARK)?.trim().parse().ok()
}

impl Log {
    /// Files one message.
    pub fn file(&mut self, line: &str) {
        let mark = mark(line);
        if mark.is_none() && splat::is_splat(line) {
            self.splats.push(line.to_owned());
        }
        if line.contains(INVALIDATION_FAILURE) {
            self.invalidation_failures += 1;
        }
        if let Some(mark) = mark {
            self.mark = mark;
        }
        if let Some(test) = suite::begins(line) {
            self.suite_marks = true;
            self.begins.push((test.to_owned(), self.end()));
        }
        self.lines.push(line.to_owned());
    }

    /// Takes note of `count` messages that nobody has read; returns the line that stands for them.
    pub fn lose(&mut self, count: u64) -> String {
        let line = format!("[{count} lines of the kernel log were lost]");
        self.lost += count;
        self.lines.push(line.clone());
        line
    }

    /// The place after all that was read.
    pub fn end(&self) -> Place {
        Place {
            lines: self.forgotten + self.lines.len(),
            splats: self.splats.len(),
            invalidation_failures: self.invalidation_failures,
            lost: self.lost,
        }
    }

    /// The messages since `place`, as far as they are kept, our own marks left out.
    pub fn since(&self, place: Place) -> Vec<String> {
        self.between(place, self.end())
    }

    fn between(&self, from: Place, until: Place) -> Vec<String> {
        let index = |place: Place| place.lines.saturating_sub(self.forgotten);
        self.lines[index(from)..index(until)]
            .iter()
            .filter(|line| !line.contains(MARK))
            .cloned()
            .collect()
    }

    /// First lines of the splats since `place`.
    pub fn splats_since(&self, place: Place) -> &[String] {
        &self.splats[place.splats..]
    }

    /// Failed invalidations since `place`.
    pub fn invalidation_failures_since(&self, place: Place) -> u64 {
        self.invalidation_failures - place.invalidation_failures
    }

    /// Where the suite says that `next` begins, which follows `test`, whose part begins at `from`. The two are the same
    /// where a test is run again: then `test`'s own beginning is not what is asked for.
    pub fn beginning(&self, from: Place, test: &str, next: &str) -> Option<Place> {
        let mut begins = self
            .begins
            .iter()
            .filter(|(_, place)| place.lines >= from.lines)
            .peekable();
        begins.next_if(|(name, _)| name == test);
        begins.find(|(name, _)| name == next).map(|&(_, at)| at)
    }

    /// What was logged between the two places. All up to there is forgotten, so that the agent does not grow in a run of
    /// many hours.
    pub fn cut(&mut self, from: Place, until: Place) -> Stretch {
        let stretch = Stretch {
            lines: self.between(from, until),
            splats: self.splats[from.splats..until.splats].to_vec(),
            invalidation_failures: until.invalidation_failures - from.invalidation_failures,
            invalidation_failures_in_all: until.invalidation_failures,
            lost: until.lost - from.lost,
        };
        self.lines.drain(..until.lines - self.forgotten);
        self.forgotten = until.lines;
        self.begins.retain(|(_, place)| place.lines >= until.lines);
        stretch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "run fstests generic/001 at 2026-11-22 10:00:00";
    const TWO: &str = "run fstests generic/002 at 2026-11-22 10:00:01";
    const WARNING: &str = "WARNING: CPU: 0 PID: 1 at x.c:1";

    fn read(log: &mut Log, lines: &[&str]) {
        lines.iter().for_each(|line| log.file(line));
    }

    #[test]
    fn a_test_ends_where_the_next_begins_whenever_that_is_read() {
        let mut log = Log::default();
        let from = log.end();
        let failure = format!("{INVALIDATION_FAILURE}.");
        read(
            &mut log,
            &[ONE, "one's", "one's check", TWO, WARNING, &failure],
        );
        let at = log.beginning(from, "generic/001", "generic/002").unwrap();
        let one = log.cut(from, at);
        assert_eq!(one.lines, [ONE, "one's", "one's check"]);
        assert_eq!((one.splats.len(), one.invalidation_failures), (0, 0));
        assert_eq!(one.invalidation_failures_in_all, 0);
        read(&mut log, &["two's"]);
        let two = log.cut(at, log.end());
        assert_eq!(two.lines, [TWO, WARNING, failure.as_str(), "two's"]);
        assert_eq!((two.splats.len(), two.invalidation_failures), (1, 1));
        assert_eq!(log.since(at), [""; 0]);
    }

    #[test]
    fn a_test_that_is_run_again_ends_where_it_begins_anew() {
        let mut log = Log::default();
        let from = log.end();
        read(&mut log, &["before", ONE, "first"]);
        assert_eq!(log.beginning(from, "generic/001", "generic/001"), None);
        read(&mut log, &[ONE, "second"]);
        let at = log.beginning(from, "generic/001", "generic/001").unwrap();
        assert_eq!(log.cut(from, at).lines, ["before", ONE, "first"]);
        assert_eq!(log.beginning(at, "generic/001", "generic/001"), None);
        assert_eq!(log.cut(at, log.end()).lines, [ONE, "second"]);
    }

    #[test]
    fn losses_are_counted_where_they_are() {
        let mut log = Log::default();
        let from = log.end();
        read(&mut log, &[ONE, "a"]);
        assert_eq!(log.lose(7), "[7 lines of the kernel log were lost]");
        read(&mut log, &[TWO, "b"]);
        let at = log.beginning(from, "generic/001", "generic/002").unwrap();
        let one = log.cut(from, at);
        assert_eq!(one.lost, 7);
        assert_eq!(
            one.lines.last().unwrap(),
            "[7 lines of the kernel log were lost]"
        );
        assert_eq!(log.cut(at, log.end()).lost, 0);
    }
}
