// SPDX-License-Identifier: GPL-2.0

//! The kernel's log of the running test, as it comes: it is all there is of a test that never ends.
//!
//! The agent reads the log and the suite's output in two threads, so a test may have said something before it is known to have
//! begun. The suite's own line in the log tells which test a line belongs to.

use notblk_protocol::suite;

use super::ends::Ends;

/// What comes while the tests of one guest run.
#[derive(Debug, Default)]
pub struct RunningLog {
    /// The running test, and whether its first line has come.
    running: Option<(String, bool)>,
    lines: Ends,
    /// A test that is not known to have begun, but whose first line has come.
    next: Option<Next>,
}

#[derive(Debug)]
struct Next {
    test: String,
    lines: Ends,
    splats: Vec<String>,
}

impl RunningLog {
    /// The kernel said this.
    pub fn push(&mut self, line: &str) {
        if let Some(begins) = suite::begins(line) {
            match &mut self.running {
                Some((test, seen)) if test == begins && !*seen => *seen = true,
                _ => {
                    self.next = Some(Next {
                        test: begins.to_owned(),
                        lines: Ends::default(),
                        splats: Vec::new(),
                    });
                }
            }
        }
        let lines = match &mut self.next {
            Some(next) => &mut next.lines,
            None => &mut self.lines,
        };
        lines.push(line.to_owned());
    }

    /// A splat has come. True if it belongs to a test that is not known to have begun: then it is kept for that one.
    pub fn keeps_splat(&mut self, first: &str) -> bool {
        let Some(next) = &mut self.next else {
            return false;
        };
        next.splats.push(first.to_owned());
        true
    }

    /// A test has begun. Returns the first lines of the splats that it has had already.
    pub fn begins(&mut self, test: &str) -> Vec<String> {
        let next = self.next.take().filter(|next| next.test == test);
        self.running = Some((test.to_owned(), next.is_some()));
        let (lines, splats) = next
            .map(|next| (next.lines, next.splats))
            .unwrap_or_default();
        self.lines = lines;
        splats
    }

    /// The lines of the running test.
    pub fn into_lines(self) -> Vec<String> {
        self.lines.into_lines()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "run fstests generic/001 at 2026-11-22 10:00:00";
    const TWO: &str = "run fstests generic/002 at 2026-11-22 10:00:01";

    #[test]
    fn what_a_test_says_before_it_is_known_to_have_begun_is_its_own() {
        let mut log = RunningLog::default();
        log.push("boot");
        assert_eq!(log.begins("generic/001"), [""; 0]);
        log.push(ONE);
        log.push("one's");
        assert!(!log.keeps_splat("BUG: one's"));
        log.push(TWO);
        log.push("two's");
        assert!(log.keeps_splat("BUG: two's"));
        assert_eq!(log.begins("generic/002"), ["BUG: two's"]);
        assert!(!log.keeps_splat("BUG: later"));
        log.push("two's as well");
        assert_eq!(log.into_lines(), [TWO, "two's", "two's as well"]);
    }

    #[test]
    fn until_the_next_is_known_to_have_begun_the_log_is_the_last_ones() {
        let mut log = RunningLog::default();
        log.begins("generic/001");
        log.push(ONE);
        log.push(TWO);
        log.push("two's");
        assert_eq!(log.into_lines(), [ONE]);
    }

    #[test]
    fn a_further_attempt_has_its_own_log() {
        let mut log = RunningLog::default();
        log.begins("generic/001");
        log.push(ONE);
        log.push("first");
        log.push(ONE);
        log.push("second");
        log.begins("generic/001");
        log.push("still");
        assert_eq!(log.into_lines(), [ONE, "second", "still"]);
    }

    #[test]
    fn a_suite_that_says_nothing_is_cut_where_its_tests_begin() {
        let mut log = RunningLog::default();
        log.begins("generic/001");
        log.push("one's");
        log.begins("generic/002");
        log.push("two's");
        assert_eq!(log.into_lines(), ["two's"]);
    }
}
