// SPDX-License-Identifier: GPL-2.0

//! How images fared, in words.

use std::fmt::Write;
use std::time::Duration;

use notblk_protocol::{HostileReport, HOSTILE_STEPS};

/// What became of them, in percent.
pub fn shares(report: &HostileReport) -> String {
    let share = |count: u64| match report.images {
        0 => 0.0,
        images => count as f64 * 100.0 / images as f64,
    };
    format!(
        "{:.0} % refused at mount, {:.0} % met damage later, {:.0} % harmless",
        share(report.refused),
        share(report.damaged),
        share(report.harmless)
    )
}

/// All that there is to say.
pub fn render(report: &HostileReport, time: Duration) -> String {
    let mut text = format!(
        "{} images: {}; {:.1} images a second",
        report.images,
        shares(report),
        report.images as f64 / time.as_secs_f64().max(0.1)
    );
    if let (millis, Some(seed)) = report.slowest {
        let seconds = millis as f64 / 1000.0;
        // Writing to a string does not fail, here and below.
        let _ = write!(text, "; the slowest, {seed}, took {seconds:.1} s");
    }
    text.push('\n');
    let all = report.steps.iter().sum::<u64>().max(1) as f64;
    let steps = report.steps.iter().zip(HOSTILE_STEPS);
    let steps: Vec<_> = steps
        .map(|(&time, step)| format!("{step} {:.0} %", time as f64 * 100.0 / all))
        .collect();
    let _ = writeln!(text, "time: {}", steps.join(", "));
    for (call, errors) in by_call(report) {
        let _ = writeln!(text, "    {call:<18} {}", errors.join(", "));
    }
    text
}

/// Errors of each call, the most frequent first.
fn by_call(report: &HostileReport) -> Vec<(&str, Vec<String>)> {
    let mut errors: Vec<_> = report.errors.iter().collect();
    errors.sort_by_key(|(call, errno, count)| (call, std::cmp::Reverse(*count), errno));
    let mut calls: Vec<(&str, Vec<String>)> = Vec::new();
    for (call, errno, count) in errors {
        let error = format!("{errno} {count}");
        match calls.last_mut().filter(|(last, _)| last == call) {
            Some((_, list)) => list.push(error),
            None => calls.push((call, vec![error])),
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_whether_changes_bite() {
        let mut report = HostileReport {
            images: 200,
            refused: 50,
            damaged: 100,
            harmless: 50,
            slowest: (1500, Some(7)),
            steps: [1, 2, 3, 4, 0],
            errors: Vec::new(),
        };
        report.count("mount", "EINVAL", 20);
        report.count("mount", "EUCLEAN", 30);
        report.count("read", "EUCLEAN", 1);
        let text = render(&report, Duration::from_secs(20));
        assert_eq!(
            text,
            "200 images: 25 % refused at mount, 50 % met damage later, 25 % harmless; 10.0 images a second; \
             the slowest, 7, took 1.5 s\n\
             time: writing it 10 %, mount 20 %, reading 30 %, writing 40 %, umount 0 %\n    \
             mount              EUCLEAN 30, EINVAL 20\n    \
             read               EUCLEAN 1\n"
        );
    }
}
