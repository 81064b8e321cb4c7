// SPDX-License-Identifier: GPL-2.0
//! What the reader makes of records.

use super::*;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

#[test]
fn a_backtrace_is_part_of_the_message() {
    assert_eq!(message("4,1,2,-;plain"), Some("plain"));
    let trace = "4,1,2,-; dump_stack_lvl+0x5d/0x80\n SUBSYSTEM=block\n DEVICE=b8:0";
    assert_eq!(message(trace), Some(" dump_stack_lvl+0x5d/0x80"));
}

/// What the host is told of these records.
fn told(records: &[&str]) -> (Shared, Vec<Event>) {
    let (mut reader, writer) = UnixStream::pair().unwrap();
    let mut outbox = Outbox {
        host: Host::to(File::from(OwnedFd::from(writer))),
        splat: Vec::new(),
        stream: Vec::new(),
        sent: Instant::now(),
    };
    let shared = Shared::default();
    shared.stream.store(true, Relaxed);
    let mut last = None;
    for record in records {
        file(&shared, &mut outbox, &mut last, record);
    }
    outbox.flush_splat();
    outbox.flush_stream();
    drop(outbox);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let events = text.lines().map(|line| serde_json::from_str(line).unwrap());
    (shared, events.collect())
}

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|&line| line.to_owned()).collect()
}

#[test]
fn the_beginning_of_a_test_parts_what_the_host_is_told() {
    const BEGINS: &str = "run fstests generic/002 at 2026-11-22 10:00:00";
    let records = [
        "4,7,1,-;BUG: the one before",
        "4,8,1,-; its trace",
        &format!("12,9,1,-;{BEGINS}"),
        "4,10,1,-;BUG: its own",
    ];
    let splat = |text: &[&str]| Event::Splat { lines: lines(text) };
    let log = |text: &[&str]| Event::Log { lines: lines(text) };
    let (_, events) = told(&records);
    let expected = [
        splat(&["BUG: the one before", " its trace"]),
        log(&["BUG: the one before", " its trace"]),
        log(&[BEGINS]),
        splat(&["BUG: its own"]),
        log(&["BUG: its own"]),
    ];
    assert_eq!(events, expected);
}

#[test]
fn what_was_overwritten_is_counted_and_told() {
    let (shared, events) = told(&["6,40,1,-;a", "6,41,1,-;b", "6,50,1,-;c"]);
    let text = lines(&["a", "b", "[8 lines of the kernel log were lost]", "c"]);
    assert_eq!(events, [Event::Log { lines: text }]);
    assert_eq!(shared.with(|log| log.lost), 8);
}
