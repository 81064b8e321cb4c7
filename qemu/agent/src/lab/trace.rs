// SPDX-License-Identifier: GPL-2.0
//! What the kernel does during an order: the driver's tracepoints and iomap's, from tracefs.

use anyhow::{Context, Result};
use notblk_protocol::LabTrace;
use notblk_race::ActorId;
use rustix::mount::{mount, MountFlags};
use std::fs;
use std::path::Path;

/// Where tracefs is.
const TRACEFS: &str = "/sys/kernel/tracing";
/// What is recorded. What a kernel lacks is left out.
const EVENTS: [&str; 9] = [
    "notblk",
    "iomap/iomap_dio_rw_begin",
    "iomap/iomap_dio_rw_queued",
    "iomap/iomap_dio_complete",
    "iomap/iomap_dio_invalidate_fail",
    "iomap/iomap_writeback_folio",
    "iomap/iomap_release_folio",
    "iomap/iomap_invalidate_folio",
    "printk/console",
];

/// A recording under way.
pub struct Recorder;

impl Recorder {
    /// Begins.
    pub fn start() -> Result<Recorder> {
        if !Path::new(TRACEFS).join("trace").exists() {
            let none: Option<&std::ffi::CStr> = None;
            mount("tracefs", TRACEFS, "tracefs", MountFlags::empty(), none)
                .context("mount tracefs")?;
        }
        set("trace", "")?;
        // One clock for all processors, in nanoseconds.
        set("trace_clock", "mono")?;
        for event in EVENTS {
            // A kernel without it.
            let _ = set(&format!("events/{event}/enable"), "1");
        }
        set("tracing_on", "1")?;
        Ok(Recorder)
    }

    /// Ends it; what was recorded, oldest first. `owners` are the actors' threads.
    pub fn end(self, owners: &[i32]) -> Result<Vec<LabTrace>> {
        set("tracing_on", "0")?;
        for event in EVENTS {
            let _ = set(&format!("events/{event}/enable"), "0");
        }
        let text =
            fs::read_to_string(Path::new(TRACEFS).join("trace")).context("read the trace")?;
        Ok(text
            .lines()
            .filter_map(|line| event(line, owners))
            .collect())
    }
}

fn set(file: &str, value: &str) -> Result<()> {
    let path = Path::new(TRACEFS).join(file);
    fs::write(&path, value).with_context(|| format!("write {}", path.display()))
}

/// A line such as `   B-104   [001] .....  10.917183: iomap_dio_rw_begin: dev 254:0 ino 0xc ...`.
fn event(line: &str, owners: &[i32]) -> Option<LabTrace> {
    if line.trim_start().starts_with('#') {
        return None;
    }
    let cpu = line.find(" [")?;
    let (task, rest) = line.split_at(cpu);
    let (comm, pid) = task.trim().rsplit_once('-')?;
    let (head, tail) = rest.split_once(": ")?;
    let stamp = head.split_whitespace().last()?;
    let (name, fields) = tail.split_once(':')?;
    let (seconds, micros) = stamp.split_once('.')?;
    let nanos = format!("{micros:0<9}");
    let time = seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?
        + nanos.get(..9)?.parse::<u64>().ok()?;
    let tid: i32 = pid.parse().ok()?;
    let of = |tid| owners.iter().position(|owner| *owner == tid).map(ActorId);
    let owner = fields
        .split_whitespace()
        .find_map(|word| word.strip_prefix("owner=")?.parse().ok());
    Some(LabTrace {
        time,
        actor: of(tid).or_else(|| owner.and_then(of)),
        task: comm.trim().to_owned(),
        name: name.trim().to_owned(),
        fields: fields.trim().to_owned(),
    })
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_line_of_the_trace_is_understood() {
        let line = "            init-1       [001] .....    10.917183: iomap_dio_rw_begin: dev 254:0 ino 0xc size 0x63000";
        let event = event(line, &[7, 1]).unwrap();
        assert_eq!(event.time, 10_917_183_000);
        assert_eq!(
            (event.actor, event.task.as_str()),
            (Some(ActorId(1)), "init")
        );
        assert_eq!(event.name, "iomap_dio_rw_begin");
        assert!(event.fields.starts_with("dev 254:0"));
    }

    #[test]
    fn an_event_of_a_worker_is_its_owners() {
        let line = "     kworker/0:1H-106     [000] d..1.    10.5: notblk_release: dev=254:0 ino=12 owner=7 point=dio.complete";
        let found = event(line, &[7, 8]).unwrap();
        assert_eq!(
            (found.actor, found.task.as_str()),
            (Some(ActorId(0)), "kworker/0:1H")
        );
        assert!(event("# tracer: nop", &[]).is_none());
    }
}
