// SPDX-License-Identifier: GPL-2.0
//! Running xfstests in the guest: the order, and what comes back while it runs.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Names of the guest's disks, as QEMU gives them to virtio-blk as serial numbers; the agent finds each by its own.
pub mod disk {
    /// The read-only root, an erofs image.
    pub const ROOT: &str = "root";
    /// The suite's built tree, an erofs image of it. May be absent; then it comes by 9p, which is slow: `check` begins with
    /// a look at every file of the tree, and each takes some round trips to the host.
    pub const SUITE: &str = "suite";
    /// `TEST_DEV`.
    pub const TEST: &str = "test";
    /// `SCRATCH_DEV`.
    pub const SCRATCH: &str = "scratch";
    /// `LOGWRITES_DEV`.
    pub const LOGWRITES: &str = "logwrites";
}

/// Tags of the host's directories, shared read-only by 9p.
pub mod share {
    /// The suite's built tree, where there is no disk with it.
    pub const SUITE: &str = "suite";
    /// What is laid over it; absent where there is nothing.
    pub const OVERLAY: &str = "overlay";
    /// `lib/modules` of the kernel.
    pub const MODULES: &str = "modules";
}

/// The kernel's configuration, in the initramfs.
pub const CONFIG: &str = "/usr/lib/kernel/config";

/// One boot's part of a suite run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SuiteSpec {
    /// The file system type that is mounted and that the suite is told of (`FSTYP`).
    pub fstyp: String,
    /// Parameters of `notblk.ko`, like `alias=ext2`. Unused where the job's driver is ext4.
    pub module_parameters: Vec<String>,
    /// The suite's environment: `MKFS_OPTIONS`, `MOUNT_OPTIONS` and the like. `FSTYP`, the devices, the directories and
    /// `RESULT_BASE` are set by the agent.
    pub env: BTreeMap<String, String>,
    /// The command that makes `TEST_DEV`, without the device.
    pub mkfs: Vec<String>,
    /// Options that `TEST_DEV` is mounted with for the proof of the driver; may be empty.
    pub mount_options: String,
    /// The tests, like `generic/001`, to run in this order.
    pub tests: Vec<String>,
    /// Further words for `check`, before the tests: `-L 3`.
    pub check_args: Vec<String>,
}

/// How a test ended, by the suite's own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuiteStatus {
    /// Its line ended with the seconds it took.
    Pass,
    /// Anything else that is not one of the following.
    Fail,
    /// `[not run]`.
    NotRun,
    /// `[expunged]`.
    Expunged,
}

/// A test of the suite has ended, with all checks that follow it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SuiteTest {
    /// Its name.
    pub test: String,
    /// What the suite says.
    pub status: SuiteStatus,
    /// What the suite printed after its name, the diff of a failed one included.
    pub output: String,
    /// From the name's line to the next, in milliseconds of the guest's clock.
    pub millis: u64,
    /// The kernel's log of its time.
    pub log: Vec<String>,
    /// First lines of the kernel's warnings and bugs in it.
    pub splats: Vec<String>,
    /// Lines with [`crate::INVALIDATION_FAILURE`] in it. The kernel prints ten a day at most.
    pub invalidation_failures: u64,
    /// Lines with [`crate::INVALIDATION_FAILURE`] since the guest booted.
    pub invalidation_failures_in_all: u64,
    /// The suite's files about it, by their endings (`full`, `out.bad`, `dmesg`, `notrun`), each cut in the middle where
    /// it is long.
    pub files: BTreeMap<String, String>,
}

/// The test that the suite's line in the kernel's log announces, as each test begins: `run fstests NAME at DATE`. What stands
/// before it was said before that test, whoever reads it when.
pub fn begins(line: &str) -> Option<&str> {
    let (test, _) = line.strip_prefix("run fstests ")?.split_once(" at ")?;
    Some(test)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_line_that_begins_a_test() {
        let line = "run fstests generic/001 at 2026-11-22 10:00:00";
        assert_eq!(begins(line), Some("generic/001"));
        assert_eq!(begins("EXT4-fs (vdb): run fstests generic/001 at"), None);
        assert_eq!(begins("run fstests"), None);
    }
}
