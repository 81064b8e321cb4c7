// SPDX-License-Identifier: GPL-2.0

//! Made-up runs for the tests of this crate.

use std::collections::BTreeMap;

use crate::outcome::Column;
use crate::{
    Bug, ConfigInfo, Expect, Expectation, Run, RunInfo, State, Status, SuiteInfo, TestResult,
};

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
        shard: None,
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
        broken: None,
        shards: None,
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

/// An entry of the exclusions.
pub fn expectation(expect: Expect, bug: Bug) -> Expectation {
    Expectation {
        expect,
        bug,
        reason: "it says why".into(),
        link: "qemu/fstests/exclusions.toml".into(),
    }
}

/// A run of one test of `notblk`, one round for each end.
pub fn rounds(test: &str, ends: &[Status]) -> Run {
    let mut run = run_info(&["notblk"], &[test]);
    run.rounds = ends.len() as u32;
    let round = |(number, &end): (usize, &Status)| TestResult {
        round: number as u32 + 1,
        ..result("notblk", test, end)
    };
    let results = ends.iter().enumerate().map(round).collect();
    Run { run, results }
}

/// A run of this many tests of `notblk`, with every kind of end.
pub fn many(tests: usize) -> Run {
    let names: Vec<_> = (1..=tests).map(|n| format!("generic/{n:03}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let ends = Status::ALL.iter().cycle();
    let results = names.iter().zip(ends);
    Run {
        run: run_info(&["notblk"], &names),
        results: results.map(|(t, &s)| result("notblk", t, s)).collect(),
    }
}

/// The column of `notblk`.
pub fn column(run: &Run) -> Column<'_> {
    Column {
        run,
        config: "notblk",
    }
}
