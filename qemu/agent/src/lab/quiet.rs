// SPDX-License-Identifier: GPL-2.0
//! Whether anything happens in the guest besides our asking: a task that runs or could, or a request that the disk has.

use anyhow::{Context, Result};
use rustix::thread::{sched_getaffinity, sched_setaffinity, CpuSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Two files of the kernel's, which are read again and again.
pub struct Quiet {
    load: File,
    disk: File,
}

impl Quiet {
    /// With this disk, such as `/dev/vda`.
    pub fn of(disk: &str) -> Result<Quiet> {
        let name = Path::new(disk).file_name().context("a disk's name")?;
        let inflight = Path::new("/sys/block").join(name).join("inflight");
        Ok(Quiet {
            load: File::open("/proc/loadavg").context("open /proc/loadavg")?,
            disk: File::open(&inflight).with_context(|| format!("open {}", inflight.display()))?,
        })
    }

    /// Whether nobody but the caller runs, and the disk has nothing to do.
    pub fn is_quiet(&self) -> Result<bool> {
        Ok(running(&text(&self.load)?) == Some(1) && self.is_disk_idle()?)
    }

    /// Whether the disk has nothing to do.
    pub fn is_disk_idle(&self) -> Result<bool> {
        let inflight = text(&self.disk)?;
        Ok(inflight.split_whitespace().all(|count| count == "0"))
    }
}

/// Runs for a moment on each processor that the caller may use. A host that has more to do than one guest stops a processor of it
/// now and then, with an interrupt that says that a request has ended, or a task that was woken: nothing seems to happen in the
/// guest then. What was to be done there has been done when this is over.
pub fn visit_processors() -> Result<()> {
    let all = sched_getaffinity(None).context("sched_getaffinity")?;
    for number in (0..CpuSet::MAX_CPU).filter(|&number| all.is_set(number)) {
        let mut one = CpuSet::new();
        one.set(number);
        sched_setaffinity(None, &one).context("sched_setaffinity")?;
    }
    sched_setaffinity(None, &all).context("sched_setaffinity")
}

fn text(file: &File) -> Result<String> {
    let mut bytes = [0; 128];
    let length = file.read_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned())
}

/// How many tasks run or could, of all processors.
fn running(load: &str) -> Option<u64> {
    let (running, _) = load.split_whitespace().nth(3)?.split_once('/')?;
    running.parse().ok()
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_running_are_counted() {
        assert_eq!(running("0.20 0.18 0.12 1/80 11206\n"), Some(1));
        assert_eq!(running("0.20 0.18"), None);
    }
}
