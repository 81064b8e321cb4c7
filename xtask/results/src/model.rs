// SPDX-License-Identifier: GPL-2.0

//! A run, and the result of each test in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::one_line;

/// How a test ended, after all that was known of it was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The suite says that it passed, and nothing else speaks against it.
    Pass,
    /// The suite says that it failed, or the kernel's log or e2fsck does.
    Fail,
    /// The suite did not run it (`[not run]`), and said why.
    Skip,
    /// Our own list of exclusions, `-e` or `-E` kept it from running.
    Excluded,
    /// It did not end in time; the guest was dumped and killed.
    Hang,
    /// The kernel reported a warning, an oops or a panic.
    Splat,
    /// The guest ended in the middle of it without a word from its kernel (QEMU was killed, say).
    Died,
}

impl Status {
    /// All of them, in the order of tables.
    pub const ALL: [Status; 7] = [
        Status::Pass,
        Status::Fail,
        Status::Hang,
        Status::Splat,
        Status::Died,
        Status::Skip,
        Status::Excluded,
    ];

    /// True for the ways of not passing that are the driver's, the kernel's or the test's fault.
    pub fn is_bad(self) -> bool {
        matches!(
            self,
            Status::Fail | Status::Hang | Status::Splat | Status::Died
        )
    }

    /// How bad it is, compared with others: a splat more than a hang, a hang more than a failure. A guest that somebody
    /// killed says nothing.
    pub fn severity(self) -> u8 {
        match self {
            Status::Pass | Status::Skip | Status::Excluded | Status::Died => 0,
            Status::Fail => 1,
            Status::Hang => 2,
            Status::Splat => 3,
        }
    }

    /// True where the test was not run at all.
    pub fn is_unrun(self) -> bool {
        matches!(self, Status::Skip | Status::Excluded)
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Status::Pass => "pass",
            Status::Fail => "fail",
            Status::Skip => "skip",
            Status::Excluded => "excluded",
            Status::Hang => "hang",
            Status::Splat => "splat",
            Status::Died => "died",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What `qemu/fstests/exclusions.toml` expects of a test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// It is not run.
    Skip,
    /// It is run, and fails.
    Fail,
    /// It is run, and fails this often (0 to 1).
    Flaky(f64),
}

/// Whose fault an expected failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bug {
    /// This project's driver: named in every summary, never hidden.
    Notblk,
    /// The kernel around it.
    Kernel,
    /// The suite, or a program of the guest.
    Suite,
    /// Nobody's: the format cannot hold what the test wants.
    Format,
}

/// One entry of the exclusions, as it applied to a test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    /// What is expected.
    pub expect: Expect,
    /// Whose fault it is.
    pub bug: Bug,
    /// Why.
    pub reason: String,
    /// Where more is said of it: an address, a commit, a file of ours.
    pub link: String,
}

/// One test, run once (or, by `-L`, several times after a failure).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestResult {
    /// The configuration, by name.
    pub config: String,
    /// The test, like `generic/746`.
    pub test: String,
    /// Which time round the list (`-i`), from 1.
    pub round: u32,
    /// How it ended. With `-L`, how the first attempt ended.
    pub status: Status,
    /// Why it is not a pass, in one line.
    pub reason: Option<String>,
    /// The suite itself said that it passed; the runner found more (see `reason`).
    pub overruled: bool,
    /// With `-L`: how each attempt ended, the first included. Else empty.
    pub attempts: Vec<Status>,
    /// Seconds from its first line to its last check, in the guest's clock.
    pub secs: f64,
    /// What the exclusions said about it.
    pub expected: Option<Expectation>,
    /// What the suite printed about it: the diff of a failed one.
    pub output: String,
    /// The kernel's log of its time, shortened where it is very long.
    pub log: Vec<String>,
    /// Files kept of it, relative to the run's directory: `full`, `out.bad`, the dump of a hang.
    pub files: Vec<String>,
    /// Which boot of the run it was in, from 1.
    pub boot: u32,
    /// The command that repeats it.
    pub repeat: String,
}

impl TestResult {
    /// It is bad, and the exclusions did not say so before. They speak of failures: nobody expects a hang or a splat.
    pub fn is_unexpected_failure(&self) -> bool {
        let expected = self.expected.as_ref().map(|expected| expected.expect);
        let forgiven = matches!(expected, Some(Expect::Fail | Expect::Flaky(_)));
        self.status.is_bad() && !(forgiven && self.status == Status::Fail)
    }

    /// It passed, though the exclusions expect a failure.
    pub fn is_unexpected_pass(&self) -> bool {
        self.status == Status::Pass
            && self
                .expected
                .as_ref()
                .is_some_and(|e| e.expect == Expect::Fail)
    }
}

/// A configuration, as it was run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfigInfo {
    /// Its name.
    pub name: String,
    /// What the suite was told to test (`FSTYP`).
    pub fstyp: String,
    /// The driver that had to serve it: `notblk` or `ext4`.
    pub driver: String,
    /// Options of mkfs and mount and whatever else was in the suite's environment.
    pub env: BTreeMap<String, String>,
    /// What each boot found serving TEST and SCRATCH, in words.
    pub proof: Vec<String>,
    /// The tests chosen for it, in order.
    pub tests: Vec<String>,
    /// Why it could not be run to its end, as its guest said: its mount was refused, its driver not proven, ...
    #[serde(default)]
    pub broken: Option<String>,
    /// In a merged run: which parts of its list came together.
    #[serde(default)]
    pub shards: Option<Shards>,
}

impl ConfigInfo {
    /// What is wrong with the configuration as a whole, whatever its results say; each in one line.
    pub fn faults(&self) -> Vec<String> {
        let missing = self.shards.iter().flat_map(Shards::missing);
        let missing = missing.map(|shard| format!("shard {shard} is missing"));
        let broken = self.broken.as_deref().map(one_line);
        let broken = broken.map(|why| format!("could not be run: {why}"));
        broken.into_iter().chain(missing).collect()
    }
}

/// One of the parts of a list of tests that several machines share (`--shard I/N`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Which part, from 1.
    pub part: u32,
    /// Of so many.
    pub of: u32,
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.part, self.of)
    }
}

/// Some of the parts of a list of tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shards {
    /// These, from 1.
    pub parts: BTreeSet<u32>,
    /// Of so many.
    pub of: u32,
}

impl Shards {
    /// The parts that are not there.
    pub fn missing(&self) -> impl Iterator<Item = Shard> + '_ {
        let of = self.of;
        let missing = (1..=of).filter(|part| !self.parts.contains(part));
        missing.map(move |part| Shard { part, of })
    }
}

impl From<Shard> for Shards {
    fn from(Shard { part, of }: Shard) -> Self {
        Shards {
            parts: BTreeSet::from([part]),
            of,
        }
    }
}

/// The suite that was run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SuiteInfo {
    /// Where its built tree is on the host.
    pub path: String,
    /// Its version, as git or its VERSION file knows it.
    pub version: String,
}

/// Whether a run came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It goes on, or its xtask was killed.
    Running,
    /// Somebody stopped it, or the host failed; `--resume` goes on.
    Interrupted,
    /// Every chosen test has a result.
    Complete,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Its name, which is its directory's: `2026-11-22-231502-notblk`.
    pub id: String,
    /// When it began, RFC 3339, UTC.
    pub started: String,
    /// When it ended, if it did.
    pub ended: Option<String>,
    /// Whether it came to its end.
    pub state: State,
    /// The command line that began it, without `cargo xtask`.
    pub command: Vec<String>,
    /// The commit of this repository, `-dirty` where it had changes.
    pub commit: String,
    /// `uname -r` of the guest.
    pub kernel: String,
    /// What ran the guest: `KVM` or `TCG`.
    pub accel: String,
    /// Processors of each guest.
    pub cpus: u32,
    /// Memory of each guest in MiB.
    pub memory: u32,
    /// Guests at a time.
    pub shards: u32,
    /// Which part of the list this is (`--shard`), if it is one. Runs from before this was kept have none.
    #[serde(default)]
    pub shard: Option<Shard>,
    /// The suite.
    pub suite: SuiteInfo,
    /// The configurations, in the order asked for.
    pub configs: Vec<ConfigInfo>,
    /// The configuration of this run, or the results of another, that the others are compared with.
    pub baseline: Option<String>,
    /// Times round the list.
    pub rounds: u32,
    /// Seconds of the wall clock that it has taken so far, all parts of a resumed run together.
    pub wall_secs: f64,
}

impl RunInfo {
    /// [`ConfigInfo::faults`] of all configurations, each behind the name of its own.
    pub fn faults(&self) -> Vec<String> {
        let of = |config: &ConfigInfo| {
            let name = one_line(&config.name);
            let faults = config.faults().into_iter();
            faults.map(move |fault| format!("{name}: {fault}"))
        };
        self.configs.iter().flat_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    #[test]
    fn runs_from_before_shards_were_kept_can_be_read() {
        let mut info = serde_json::to_value(fake::run_info(&["notblk"], &["generic/001"])).unwrap();
        info.as_object_mut().unwrap().remove("shard").unwrap();
        let config = info["configs"][0].as_object_mut().unwrap();
        config.remove("shards").unwrap();
        config.remove("broken").unwrap();
        let info: RunInfo = serde_json::from_value(info).unwrap();
        assert_eq!(info, fake::run_info(&["notblk"], &["generic/001"]));
    }

    #[test]
    fn faults_are_said_configuration_by_configuration() {
        let mut info = fake::run_info(&["notblk", "ext4"], &["generic/001"]);
        assert!(info.faults().is_empty());
        info.configs[1].broken = Some("mount:\n refused".into());
        info.configs[1].shards = Some(Shards {
            parts: BTreeSet::from([2]),
            of: 3,
        });
        let said = [
            "ext4: could not be run: mount: refused",
            "ext4: shard 1/3 is missing",
            "ext4: shard 3/3 is missing",
        ];
        assert_eq!(info.faults(), said);
    }
}
