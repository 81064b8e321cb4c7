// SPDX-License-Identifier: GPL-2.0

//! Made-up runs for the tests of this crate.

use std::collections::BTreeMap;

use crate::{ConfigInfo, RunInfo, State, Status, SuiteInfo, TestResult};

/// A run of these configurations, each of these tests.
pub fn run_info(configs: &[&str], tests: &[&str]) -> RunInfo {
    RunInfo {
        id: format!("2026-11-22-231502-{}", configs[0]),
        started: "2026-11-22T23:15:02Z".into(),
        ended: None,
        state: State::Running,
        command: vec!["run-xfstests".into(), "-g".into(), "quick".into()],
        commit: "345e150".into(),
        kernel: "7.3.4".into(),
        accel: "TCG".into(),
        cpus: 2,
        memory: 2048,
        shards: 1,
        suite: SuiteInfo {
            path: "/src/xfstests".into(),
            version: "v2026.11.09".into(),
        },
        configs: configs.iter().map(|name| config(name, tests)).collect(),
        baseline: None,
        rounds: 1,
        wall_secs: 60.0,
    }
}

fn config(name: &str, tests: &[&str]) -> ConfigInfo {
    ConfigInfo {
        name: name.into(),
        fstyp: "ext2".into(),
        driver: if name.starts_with("ext4") {
            "ext4".into()
        } else {
            "notblk".into()
        },
        env: BTreeMap::from([("MOUNT_OPTIONS".into(), "-o drain=on".into())]),
        proof: vec![format!("TEST and SCRATCH are served by {name}")],
        tests: tests.iter().map(|t| t.to_string()).collect(),
    }
}

/// A result without anything particular.
pub fn result(config: &str, test: &str, status: Status) -> TestResult {
    TestResult {
        config: config.into(),
        test: test.into(),
        round: 1,
        status,
        reason: (status != Status::Pass).then(|| format!("{status} because")),
        overruled: false,
        attempts: Vec::new(),
        secs: 1.5,
        expected: None,
        output: String::new(),
        log: Vec::new(),
        files: Vec::new(),
        boot: 1,
        repeat: format!("cargo xtask run-xfstests --config {config} {test}"),
    }
}
