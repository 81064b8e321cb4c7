// SPDX-License-Identifier: GPL-2.0

//! Lines of which there may be too many: the first and the last are kept.

use std::collections::VecDeque;

/// What is kept of each end, in bytes.
const END: usize = 1 << 20;

/// The beginning and the end of however many lines.
#[derive(Debug)]
pub struct Ends {
    limit: usize,
    first: Vec<String>,
    first_bytes: usize,
    last: VecDeque<String>,
    last_bytes: usize,
    left_out: u64,
    left_out_bytes: u64,
}

impl Default for Ends {
    fn default() -> Self {
        Ends::of(END)
    }
}

impl Ends {
    /// Keeps so many bytes of each end.
    fn of(limit: usize) -> Self {
        Ends {
            limit,
            first: Vec::new(),
            first_bytes: 0,
            last: VecDeque::new(),
            last_bytes: 0,
            left_out: 0,
            left_out_bytes: 0,
        }
    }

    /// Adds a line.
    pub fn push(&mut self, line: String) {
        // A newline is a byte as well; without it, empty lines would cost nothing.
        let bytes = line.len() + 1;
        if self.last.is_empty() && self.left_out == 0 && self.first_bytes + bytes <= self.limit {
            self.first_bytes += bytes;
            self.first.push(line);
            return;
        }
        self.last_bytes += bytes;
        self.last.push_back(line);
        while self.last_bytes > self.limit {
            let Some(line) = self.last.pop_front() else {
                break;
            };
            self.last_bytes -= line.len() + 1;
            self.left_out += 1;
            self.left_out_bytes += line.len() as u64 + 1;
        }
    }

    /// The lines; one of them says how much was left out, where something was.
    pub fn into_lines(self) -> Vec<String> {
        let mut lines = self.first;
        if self.left_out > 0 {
            let (count, bytes) = (self.left_out, self.left_out_bytes);
            lines.push(format!("[... {count} lines, {bytes} bytes ...]"));
        }
        lines.extend(self.last);
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(limit: usize, lines: impl IntoIterator<Item = String>) -> Ends {
        let mut ends = Ends::of(limit);
        lines.into_iter().for_each(|line| ends.push(line));
        ends
    }

    #[test]
    fn what_fits_is_kept_whole() {
        let lines: Vec<String> = (10..20).map(|n| n.to_string()).collect();
        // Three bytes each: five of them in each end.
        assert_eq!(ends(15, lines.clone()).into_lines(), lines);
        assert_eq!(ends(100, lines.clone()).into_lines(), lines);
        assert_eq!(Ends::default().into_lines(), [""; 0]);
    }

    #[test]
    fn of_too_much_both_ends_are_kept() {
        let lines = (10..20).map(|n| n.to_string());
        let kept = ends(6, lines).into_lines();
        assert_eq!(
            kept,
            ["10", "11", "[... 6 lines, 18 bytes ...]", "18", "19"]
        );
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let mut ends = Ends::default();
        for n in 0..100_000 {
            ends.push(format!("{n:0>80}"));
            ends.push(String::new());
        }
        ends.push("x".repeat(3 * END));
        ends.push("the last".into());
        let lines = ends.into_lines();
        let bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
        assert!(bytes <= 2 * END + 100, "{bytes}");
        assert_eq!(lines[0], "0".repeat(80));
        assert_eq!(lines.last().unwrap(), "the last");
    }
}
