// SPDX-License-Identifier: GPL-2.0

use super::*;

/// What stands before the first test.
const HEAD: &str = "FSTYP         -- ext2
PLATFORM      -- Linux/x86_64 notblk 7.3.4
MKFS_OPTIONS  -- -F /dev/vdc

";

fn parser(tests: &[&str], loops: bool) -> Parser {
    Parser::new(tests.iter().map(|&test| test.to_owned()), loops)
}

/// Feeds all of the text in pieces of one length.
fn read(tests: &[&str], loops: bool, text: &str, length: usize) -> Vec<Piece> {
    let mut parser = parser(tests, loops);
    let mut pieces = Vec::new();
    for part in text.as_bytes().chunks(length) {
        pieces.extend(parser.feed(part));
    }
    pieces.extend(parser.finish());
    pieces
}

/// Names and statuses of what ended; the same however the text comes in.
fn statuses(tests: &[&str], loops: bool, text: &str) -> Vec<(String, SuiteStatus)> {
    let whole = read(tests, loops, text, text.len());
    for length in [1, 2, 7, 100] {
        assert_eq!(read(tests, loops, text, length), whole, "by {length}");
    }
    let mut open = None;
    let mut ended = Vec::new();
    for piece in whole {
        match piece {
            Piece::Begun(test) => assert_eq!(open.replace(test), None, "one at a time"),
            Piece::Ended { test, status, .. } => {
                assert_eq!(open.take(), Some(test.clone()));
                ended.push((test, status));
            }
        }
    }
    assert_eq!(open, None);
    ended
}

/// The status of one test whose line and what follows it are given.
fn status_of(text: &str) -> SuiteStatus {
    let text = format!("{HEAD}generic/001 {text}Ran: generic/001\n");
    let ended = statuses(&["generic/001"], false, &text);
    assert_eq!(ended.len(), 1);
    ended[0].1
}

fn pairs(list: &[(&str, SuiteStatus)]) -> Vec<(String, SuiteStatus)> {
    list.iter()
        .map(|&(test, status)| (test.to_owned(), status))
        .collect()
}

use SuiteStatus::{Expunged, Fail, NotRun, Pass};

#[test]
fn a_pass_has_its_seconds_and_nothing_else() {
    assert_eq!(status_of("        12s\n"), Pass);
    assert_eq!(status_of(" 9s ...  12s\n"), Pass);
    assert_eq!(status_of("        0s\n\n"), Pass);
    // The guest ended, or check did, before the line did.
    assert_eq!(status_of("        \n"), Fail);
    assert_eq!(status_of(" 9s ... \n"), Fail);
    assert_eq!(status_of("        12s extra\n"), Fail);
    assert_eq!(status_of("        12s\nsomething else\n"), Fail);
    assert_eq!(status_of("        s\n"), Fail);
    assert_eq!(status_of("        -1s\n"), Fail);
    assert_eq!(status_of(" - no such test?\n"), Fail);
}

#[test]
fn failures_of_every_kind() {
    assert_eq!(
        status_of(
            "       [failed, exit status 1]- output mismatch (see /results/generic/001.out.bad)
    --- tests/generic/001.out\t2026-11-22 22:00:00.000000000 +0000
    +++ /results/generic/001.out.bad\t2026-11-22 22:10:00.000000000 +0000
    @@ -1,2 +1,3 @@
     QA output created by 001
    +generic/001 12s
     ok
    ...
    (Run 'diff -u /xfstests/tests/generic/001.out /results/generic/001.out.bad'  to see the entire diff)
"
        ),
        Fail
    );
    assert_eq!(
        status_of(
            "       _check_generic_filesystem: filesystem on /dev/vdb is inconsistent
(see /results/generic/001.full for details)
Trying to repair broken TEST_DEV file system

"
        ),
        Fail
    );
    assert_eq!(
        status_of(
            "       _check_dmesg: something found in dmesg (see /results/generic/001.dmesg)\n\n"
        ),
        Fail
    );
    assert_eq!(status_of("       [dumped core]\n 3s\n"), Fail);
}

#[test]
fn what_did_not_run() {
    assert_eq!(status_of("       [not run] fallocate is missing\n"), NotRun);
    assert_eq!(status_of(" 3s ... [not run] two\nlines\n"), NotRun);
    assert_eq!(status_of("       [expunged]\n"), Expunged);
    assert_eq!(status_of("       [expunged] or not\n"), Fail);
    assert_eq!(status_of("       3s [not run]\n"), Fail);
}

#[test]
fn a_start_is_known_before_its_line_ends_and_an_end_with_the_next_start() {
    let mut parser = parser(&["generic/001", "generic/1212"], false);
    assert_eq!(parser.feed(HEAD.as_bytes()), []);
    assert_eq!(parser.feed(b"generic/00"), []);
    assert_eq!(parser.feed(b"1"), []);
    assert_eq!(parser.feed(b" "), [Piece::Begun("generic/001".into())]);
    assert_eq!(parser.to_come(), 1);
    assert_eq!(parser.feed(b"       3s\ngeneric/1212"), []);
    assert_eq!(
        parser.feed(b"       "),
        [
            Piece::Ended {
                test: "generic/001".into(),
                status: Pass,
                output: "3s".into()
            },
            Piece::Begun("generic/1212".into())
        ]
    );
    // The guest dies: what runs is not known to have passed.
    assert_eq!(
        parser.finish(),
        [Piece::Ended {
            test: "generic/1212".into(),
            status: Fail,
            output: String::new()
        }]
    );
    assert_eq!(parser.outside().len(), 3);
}

#[test]
fn the_summary_ends_the_last_test() {
    let mut parser = parser(&["generic/001"], false);
    parser.feed(b"generic/001        3s\n");
    assert_eq!(
        parser.feed(b"Ran: "),
        [Piece::Ended {
            test: "generic/001".into(),
            status: Pass,
            output: "3s".into()
        }]
    );
    assert_eq!(parser.feed(b"generic/001\nPassed all 1 tests\n\n"), []);
    assert_eq!(parser.finish(), []);
    assert_eq!(parser.outside(), ["Ran: generic/001", "Passed all 1 tests"]);
}

#[test]
fn only_the_expected_name_counts() {
    let tests = ["generic/001", "generic/100", "generic/1000"];
    let text = "generic/001        [failed, exit status 1]- output mismatch
generic/1000       1s
generic/100x 1s
 generic/100       1s
generic/100        2s
generic/1000       3s
Ran: generic/001 generic/100 generic/1000
";
    let expected = [
        ("generic/001", Fail),
        ("generic/100", Pass),
        ("generic/1000", Pass),
    ];
    assert_eq!(statuses(&tests, false, text), pairs(&expected));
}

#[test]
fn a_loop_after_a_failure() {
    let tests = ["generic/001", "generic/002", "generic/002"];
    let text = "generic/001        1s
generic/002       [failed, exit status 1]
generic/002        2s
generic/002        [not run] late
generic/002        4s
generic/002 aggregate results across 4 runs: fail=1 (25.0%), notrun=1 (25.0%), pass=2 (50.0%)
generic/002 2s ...  5s
Ran: generic/001 generic/002
Failures: generic/002
";
    let expected = [
        ("generic/001", Pass),
        ("generic/002", Fail),
        ("generic/002", Pass),
        ("generic/002", NotRun),
        ("generic/002", Pass),
        ("generic/002", Pass),
    ];
    assert_eq!(statuses(&tests, true, text), pairs(&expected));
}

#[test]
fn in_a_loop_a_longer_name_is_another_test() {
    let text = "generic/100        [failed, exit status 1]
generic/100        1s
generic/100 aggregate results across 2 runs: fail=1 (50.0%), pass=1 (50.0%)
generic/1000       2s
Ran: generic/100 generic/1000
";
    let expected = [
        ("generic/100", Fail),
        ("generic/100", Pass),
        ("generic/1000", Pass),
    ];
    let tests = ["generic/100", "generic/1000"];
    assert_eq!(statuses(&tests, true, text), pairs(&expected));
    let without = text.replace("generic/100 aggregate", "generic/1xx aggregate");
    let last = statuses(&tests, true, &without).pop();
    assert_eq!(last, Some(("generic/1000".to_owned(), Pass)));
}

#[test]
fn without_a_loop_a_name_comes_once() {
    let text = "generic/001        [failed, exit status 1]
generic/001        2s
Ran: generic/001
";
    let expected = [("generic/001", Fail)];
    assert_eq!(statuses(&["generic/001"], false, text), pairs(&expected));
}

#[test]
fn a_list_that_is_run_twice() {
    let tests = ["generic/001", "generic/002", "generic/001", "generic/002"];
    let once = "generic/001        1s\ngeneric/002        [expunged]\nRan: generic/001\nPassed all 1 tests\n\n";
    let text = format!("{HEAD}{once}{HEAD}{once}");
    let expected = [
        ("generic/001", Pass),
        ("generic/002", Expunged),
        ("generic/001", Pass),
        ("generic/002", Expunged),
    ];
    assert_eq!(statuses(&tests, false, &text), pairs(&expected));
}

#[test]
fn check_may_give_up() {
    let mut parser = parser(&["generic/001", "generic/002"], false);
    parser.feed(
        b"our local _scratch_mkfs routine ...\nmke2fs: no\ncheck: failed to mkfs $SCRATCH_DEV",
    );
    assert_eq!(parser.finish(), []);
    assert_eq!(parser.to_come(), 2);
    assert_eq!(
        parser.outside().last().map(String::as_str),
        Some("check: failed to mkfs $SCRATCH_DEV")
    );
}
