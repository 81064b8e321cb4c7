// SPDX-License-Identifier: GPL-2.0

//! What a test's end means: the suite's own word, and what speaks against it.

use notblk_protocol::{SuiteStatus, SuiteTest};
use notblk_results::Status;

/// How long a reason may be.
const REASON: usize = 160;

/// The judgement.
#[derive(Debug, PartialEq)]
pub struct Verdict {
    /// How it ended.
    pub status: Status,
    /// Why it is not a pass.
    pub reason: Option<String>,
    /// The suite called it a pass.
    pub overruled: bool,
}

/// Judges a test that has ended.
pub fn judge(test: &SuiteTest) -> Verdict {
    let passed = test.status == SuiteStatus::Pass;
    let verdict = |status, reason: String| Verdict {
        status,
        reason: Some(shorten(&reason)),
        overruled: passed,
    };
    // A kernel that warned while a test was skipped has warned all the same.
    if let Some(splat) = test.splats.first() {
        return verdict(Status::Splat, splat.clone());
    }
    if test.status != SuiteStatus::Fail && test.invalidation_failures > 0 {
        return verdict(
            Status::Fail,
            format!(
                "{} in the kernel's log, {} times",
                notblk_protocol::INVALIDATION_FAILURE,
                test.invalidation_failures
            ),
        );
    }
    match test.status {
        SuiteStatus::NotRun => verdict(Status::Skip, not_run(&test.output)),
        SuiteStatus::Expunged => verdict(Status::Excluded, "the suite's own exclusion".into()),
        SuiteStatus::Fail => verdict(Status::Fail, complaint(&test.output)),
        SuiteStatus::Pass => match inconsistent(test) {
            Some(line) => verdict(Status::Fail, line),
            None => Verdict {
                status: Status::Pass,
                reason: None,
                overruled: false,
            },
        },
    }
}

/// True where the guest should not run another test: its kernel has stopped to look (lockdep after its first report), or
/// is damaged.
pub fn wants_reboot(test: &SuiteTest) -> bool {
    // The kernel says the tenth and last line of a day; later ones would go unseen.
    const RATE_LIMIT: u64 = 10;
    !test.splats.is_empty() || test.invalidation_failures_in_all >= RATE_LIMIT
}

/// What a skipped test says of itself.
fn not_run(output: &str) -> String {
    let text = output
        .split_once("[not run]")
        .map_or(output, |(_, why)| why);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.next().unwrap_or("it does not say why").to_owned()
}

/// A checker's complaint in the papers of a test that passed.
fn inconsistent(test: &SuiteTest) -> Option<String> {
    let full = test.files.get("full").map_or("", String::as_str);
    let lines = test.output.lines().chain(full.lines());
    lines
        .map(str::trim)
        .find(|line| line.starts_with("_check_") && line.contains("is inconsistent"))
        .map(str::to_owned)
}

/// The line that says most about a failure: what a checker found, the first line of the diff that is not as it should be,
/// or the first line at all.
fn complaint(output: &str) -> String {
    let lines: Vec<&str> = output
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let checker = lines
        .iter()
        .find(|line| line.starts_with("_check_") || line.starts_with("[dumped core]"));
    let differs = lines.iter().find(|line| {
        (line.starts_with('+') && !line.starts_with("+++"))
            && line.len() > 1
            && !line[1..].trim().is_empty()
    });
    let lacks = lines.iter().find(|line| {
        line.starts_with('-') && !line.starts_with("---") && !line.starts_with("- output")
    });
    let exit = lines
        .iter()
        .find(|line| line.contains("[failed, exit status"));
    let first = checker.or(differs).or(lacks).or(exit).or(lines.first());
    match first {
        Some(line) => line.trim_start_matches('+').trim().to_owned(),
        None => "the suite says nothing about it".into(),
    }
}

fn shorten(text: &str) -> String {
    let text: String = text.chars().filter(|c| !c.is_control()).collect();
    match text.char_indices().nth(REASON) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(status: SuiteStatus, output: &str) -> SuiteTest {
        SuiteTest {
            test: "generic/001".into(),
            status,
            output: output.into(),
            millis: 1000,
            log: Vec::new(),
            splats: Vec::new(),
            invalidation_failures: 0,
            invalidation_failures_in_all: 0,
            files: Default::default(),
        }
    }

    #[test]
    fn a_pass_with_nothing_against_it_is_one() {
        let verdict = judge(&ended(SuiteStatus::Pass, " 4s"));
        assert_eq!(verdict.status, Status::Pass);
        assert_eq!(verdict.reason, None);
    }

    #[test]
    fn the_kernel_overrules_a_pass() {
        let mut test = ended(SuiteStatus::Pass, " 4s");
        test.invalidation_failures = 2;
        test.invalidation_failures_in_all = 2;
        let verdict = judge(&test);
        assert_eq!((verdict.status, verdict.overruled), (Status::Fail, true));
        assert!(verdict.reason.unwrap().contains("2 times"));
        assert!(!wants_reboot(&test));
        test.invalidation_failures_in_all = 10;
        assert!(wants_reboot(&test));
        test.status = SuiteStatus::NotRun;
        assert_eq!(judge(&test).status, Status::Fail, "a skip hides nothing");
        test.status = SuiteStatus::Pass;
        test.invalidation_failures = 0;
        assert!(wants_reboot(&test), "the tenth line came between two tests");
        test.splats.push("BUG: KASAN: use-after-free".into());
        assert_eq!(judge(&test).status, Status::Splat);
        test.status = SuiteStatus::NotRun;
        assert_eq!(judge(&test).status, Status::Splat);
        assert!(wants_reboot(&test));
    }

    #[test]
    fn a_dirty_check_overrules_a_pass() {
        let mut test = ended(SuiteStatus::Pass, " 4s");
        test.files.insert(
            "full".into(),
            "x\n_check_generic_filesystem: filesystem on /dev/vdb is inconsistent\n".into(),
        );
        let verdict = judge(&test);
        assert_eq!((verdict.status, verdict.overruled), (Status::Fail, true));
    }

    #[test]
    fn the_reason_is_the_line_that_says_most() {
        let skip = judge(&ended(
            SuiteStatus::NotRun,
            " [not run] xfs_io falloc failed (old kernel/wrong fs?)\n",
        ));
        assert_eq!(
            skip.reason.as_deref(),
            Some("xfs_io falloc failed (old kernel/wrong fs?)")
        );
        let output = "- output mismatch (see /results/generic/001.out.bad)\n    --- tests/generic/001.out\n    \
                      +++ /results/generic/001.out.bad\n    @@ -1,2 +1,3 @@\n     QA output created by 001\n    \
                      +mount: wrong fs type\n    ...\n";
        let fail = judge(&ended(SuiteStatus::Fail, output));
        assert_eq!(fail.reason.as_deref(), Some("mount: wrong fs type"));
        let output = "[failed, exit status 1]_check_x\n_check_generic_filesystem: filesystem on /dev/vdb is inconsistent\n";
        let fail = judge(&ended(SuiteStatus::Fail, output));
        assert!(fail.reason.unwrap().contains("inconsistent"));
    }
}
