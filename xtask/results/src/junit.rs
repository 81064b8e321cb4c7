// SPDX-License-Identifier: GPL-2.0

//! `junit.xml`: one suite a configuration, one case a test and round, for the CIs that read it; and an error for each
//! reason why the configuration as a whole has not been run.
//!
//! A failure that the exclusions expect is a skipped case, so that a CI is red for what is new, as the exit code is. Its
//! message says what it was, and whose fault: a known bug of notblk is not hidden in a number.

use std::time::Duration;

use anyhow::Result;
use quick_junit::{
    NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestRerun, TestSuite,
};

use crate::outcome::whose;
use crate::text::{tail, visible};
use crate::{clock, Bug, ConfigInfo, Run, Status, TestResult};

/// So many lines of the suite's output and of the kernel's log are in the document.
const LINES: usize = 100;

/// The document.
pub fn junit(run: &Run) -> Result<String> {
    let mut report = Report::new("xfstests");
    report.set_time(Duration::from_secs_f64(run.run.wall_secs.max(0.0)));
    if let Some(time) = clock::parse(&run.run.started) {
        report.set_timestamp(time);
    }
    for config in &run.run.configs {
        report.add_test_suite(suite(run, config));
    }
    Ok(report.to_string()?)
}

fn suite(run: &Run, config: &ConfigInfo) -> TestSuite {
    let mut suite = TestSuite::new(visible(&config.name));
    if let Some(time) = clock::parse(&run.run.started) {
        suite.set_timestamp(time);
    }
    let properties = [
        ("run", run.run.id.clone()),
        ("kernel", run.run.kernel.clone()),
        ("commit", run.run.commit.clone()),
        ("suite", run.run.suite.version.clone()),
        ("accelerator", run.run.accel.clone()),
        ("fstyp", config.fstyp.clone()),
        ("driver", config.driver.clone()),
    ];
    for (name, value) in properties {
        suite.add_property(Property::new(name, visible(&value)));
    }
    for (name, value) in &config.env {
        suite.add_property(Property::new(visible(name), visible(value)));
    }
    let mut time = 0.0;
    for result in run.of(&config.name) {
        time += result.secs;
        suite.add_test_case(case(result));
    }
    for (number, fault) in config.faults().iter().enumerate() {
        let mut error = TestCaseStatus::non_success(NonSuccessKind::Error);
        error.set_type("incomplete");
        error.set_message(fault.as_str());
        // No test has such a name; each case needs its own.
        let name = format!("(the configuration itself, {})", number + 1);
        let mut case = TestCase::new(name, error);
        case.set_classname(visible(&config.name));
        suite.add_test_case(case);
    }
    suite.set_time(seconds(time));
    suite
}

fn case(result: &TestResult) -> TestCase {
    let name = match result.round {
        1 => visible(&result.test),
        round => visible(&format!("{} (round {round})", result.test)),
    };
    let mut case = TestCase::new(name, status(result));
    let group = result.test.split('/').next().unwrap_or("");
    case.set_classname(visible(&format!("{}.{group}", result.config)));
    case.set_time(seconds(result.secs));
    if result.is_unexpected_pass() {
        case.set_system_out("passes unexpectedly: the exclusions need a look");
    }
    if result.status.is_bad() {
        let mut out = tail(&result.output, LINES);
        for file in &result.files {
            out.push_str(&format!("\nkept: {file}"));
        }
        case.set_system_out(visible(&format!("{out}\nrepeat with: {}\n", result.repeat)));
        if !result.log.is_empty() {
            case.set_system_err(visible(&tail(&result.log.join("\n"), LINES)));
        }
    }
    case
}

fn status(result: &TestResult) -> TestCaseStatus {
    let mut message = match result.reason.as_deref() {
        Some(reason) => visible(reason),
        None => result.status.name().to_owned(),
    };
    if let Some(expected) = &result.expected {
        let expected = format!(
            " (expected, {}: {}, see {})",
            whose(expected.bug),
            expected.reason,
            expected.link
        );
        message.push_str(&visible(&expected));
    }
    let forgiven = result.status.is_bad() && !result.is_unexpected_failure();
    let mut status = match kind(result.status) {
        _ if forgiven => TestCaseStatus::skipped(),
        Some(kind) => TestCaseStatus::non_success(kind),
        None if result.status.is_unrun() => TestCaseStatus::skipped(),
        None => TestCaseStatus::success(),
    };
    let ours = result.expected.as_ref().map(|e| e.bug) == Some(Bug::Notblk);
    status.set_type(match (forgiven, ours) {
        (true, true) => format!("known bug of notblk: {}", result.status),
        (true, false) => format!("expected {}", result.status),
        (false, _) => result.status.to_string(),
    });
    if result.status.is_bad() && !forgiven {
        status.set_description(format!(
            "{message}\n\n{}",
            visible(&tail(&result.output, 20))
        ));
    }
    status.set_message(message);
    // The first attempt is the case itself.
    for (number, attempt) in result.attempts.iter().enumerate().skip(1) {
        if let Some(kind) = kind(*attempt) {
            let mut rerun = TestRerun::new(kind);
            rerun.set_type(attempt.name());
            rerun.set_message(format!("attempt {} ended in {attempt}", number + 1));
            status.add_rerun(rerun);
        }
    }
    status
}

/// How JUnit calls a bad end: a failure is what the test found, an error is what kept it from ending.
fn kind(status: Status) -> Option<NonSuccessKind> {
    match status {
        Status::Fail => Some(NonSuccessKind::Failure),
        Status::Hang | Status::Splat | Status::Died => Some(NonSuccessKind::Error),
        Status::Pass | Status::Skip | Status::Excluded => None,
    }
}

fn seconds(secs: f64) -> Duration {
    Duration::try_from_secs_f64(secs).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fake, Expect};

    #[test]
    fn every_end_has_its_element_and_the_sums_are_right() {
        let xml = junit(&fake::many(14)).unwrap();
        let count = |text: &str| xml.matches(text).count();
        assert_eq!(count("<testcase "), 14);
        assert_eq!(count("<failure "), 2);
        assert_eq!(count("<error "), 6);
        assert_eq!(count("<skipped "), 4);
        let sums = r#"tests="14" skipped="4" errors="6" failures="2""#;
        assert!(xml.contains(sums), "{xml}");
        assert!(xml.contains(r#"<property name="kernel" value="7.3.4"/>"#));
        assert!(xml.contains("cargo xtask run-xfstests --config notblk generic/002"));
    }

    #[test]
    fn what_a_guest_prints_does_not_break_the_document() {
        let mut run = fake::rounds("generic/001", &[Status::Fail]);
        let all: String = (0..0x100)
            .chain(0xfff0..0x10010)
            .filter_map(char::from_u32)
            .collect();
        let evil = format!("{all}]]></system-out><!-- \x1b]0; & < > \" '");
        let result = &mut run.results[0];
        result.reason = Some(evil.clone());
        result.output = format!("{evil}\n{evil}");
        result.log = vec![evil.clone()];
        result.files = vec![evil];
        let xml = junit(&run).unwrap();
        let allowed = |c: char| matches!(c, '\t' | '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
        assert!(xml.chars().all(allowed));
        assert_eq!(xml.matches("</system-out>").count(), 1);
        assert!(!xml.contains("<!--"));
        // A terminal's escape is shown, and swallows nothing of what follows.
        assert!(xml.contains("\u{241b}]0; &amp; &lt;"), "{xml}");
    }

    #[test]
    fn what_is_expected_does_not_redden_a_ci_and_whose_bug_it_is_is_said() {
        let mut run = fake::rounds("generic/001", &[Status::Fail]);
        for (bug, kind) in [
            (Bug::Kernel, "expected fail"),
            (Bug::Notblk, "known bug of notblk: fail"),
        ] {
            run.results[0].expected = Some(fake::expectation(Expect::Fail, bug));
            let xml = junit(&run).unwrap();
            assert!(xml.contains(&format!("type=\"{kind}\"")), "{xml}");
            assert!(xml.contains("<skipped message=\"fail because (expected, a bug of "));
        }
        run.results[0].expected = Some(fake::expectation(Expect::Skip, Bug::Kernel));
        assert!(junit(&run).unwrap().contains("<failure "));
        run.results[0].expected = Some(fake::expectation(Expect::Fail, Bug::Suite));
        run.results[0].status = Status::Pass;
        assert!(junit(&run).unwrap().contains("passes unexpectedly"));
    }

    #[test]
    fn a_configuration_that_could_not_be_run_is_an_error() {
        let mut run = fake::rounds("generic/001", &[Status::Pass]);
        run.run.configs[0].broken = Some("mount: \"refused\"".into());
        run.run.configs[0].shards = Some(crate::Shard { part: 2, of: 2 }.into());
        let xml = junit(&run).unwrap();
        assert!(
            xml.contains(r#"tests="3" skipped="0" errors="2" failures="0""#),
            "{xml}"
        );
        assert!(xml.contains(
            r#"<error message="could not be run: mount: &quot;refused&quot;" type="incomplete""#
        ));
        assert!(
            xml.contains(r#"<error message="shard 1/2 is missing""#),
            "{xml}"
        );
    }

    #[test]
    fn attempts_are_reruns_and_output_is_cut() {
        let mut run = fake::rounds("generic/001", &[Status::Fail, Status::Fail]);
        run.results[0].attempts = vec![Status::Fail, Status::Fail, Status::Hang, Status::Pass];
        run.results[0].output = "line\n".repeat(5000);
        let xml = junit(&run).unwrap();
        assert_eq!(xml.matches("<rerunFailure ").count(), 1);
        assert_eq!(xml.matches("<rerunError ").count(), 1);
        assert!(xml.contains(r#"name="generic/001 (round 2)""#));
        assert!(xml.contains("(4900 lines left out)"), "{}", xml.len());
    }
}
