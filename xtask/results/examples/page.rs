// SPDX-License-Identifier: GPL-2.0

//! Writes a made-up run of 700 tests on three configurations, one of them broken, with all its documents, to look at them:
//! `cargo run -p notblk-results --example page -- DIR [TESTS]`. The same every time.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use notblk_results::table::{summary, Paint};
use notblk_results::{
    clock, write_documents, Baseline, Bug, ConfigInfo, Expect, Expectation, RunInfo, State, Status,
    Store, SuiteInfo, TestResult,
};

const CONFIGS: [&str; 2] = ["notblk", "ext4-noextent-nojournal"];
/// One that could not be run.
const BROKEN: &str = "notblk-1k";

/// A generator of numbers that look random.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % end
    }
}

fn main() -> Result<()> {
    let mut args = std::env::args_os().skip(1);
    let dir = PathBuf::from(
        args.next()
            .context("name a directory for the made-up run")?,
    );
    let number = match args.next() {
        Some(number) => number.to_string_lossy().parse()?,
        None => 700,
    };
    let tests: Vec<String> = (1..=number)
        .map(|n| match n % 12 {
            0 => format!("ext4/{:03}", n / 12),
            _ => format!("generic/{:03}", n - n / 12),
        })
        .collect();
    let store = Store::create(&dir, &info(&tests))?;
    let mut dice = Dice(7);
    for test in &tests {
        let fate = dice.below(1000);
        for config in CONFIGS {
            store.append(&result(&store, config, test, fate, &mut dice)?)?;
        }
    }
    store.mark_broken(
        BROKEN,
        "mount -t notblk /dev/vdb: wrong fs type, bad option, bad superblock",
    )?;
    store.update_run(|run| {
        run.state = State::Interrupted;
        run.ended = Some("2026-11-23T01:02:03Z".into());
        run.wall_secs = 6421.0;
    })?;
    let run = store.run();
    let baseline = Baseline::Config(CONFIGS[1].into());
    write_documents(store.dir(), &run, Some(&baseline))?;
    print!("{}", summary(&run, Some(&baseline), Paint(false)));
    println!("{}", store.dir().display());
    Ok(())
}

fn info(tests: &[String]) -> RunInfo {
    let started = "2026-11-22T23:15:02Z";
    let names = CONFIGS.map(str::to_owned);
    let config = |name: &&str| ConfigInfo {
        name: name.to_string(),
        fstyp: "ext2".into(),
        driver: if name.starts_with("notblk") {
            "notblk"
        } else {
            "ext4"
        }
        .into(),
        env: BTreeMap::from([
            (
                "MKFS_OPTIONS".into(),
                "-b 4096 -O ^has_journal,^extents".into(),
            ),
            ("MOUNT_OPTIONS".into(), "-o drain=on".into()),
        ]),
        proof: vec![
            "boot 1: TEST (vdb) and SCRATCH (vdc) are served by the module named above".into(),
        ],
        tests: tests.to_vec(),
        broken: None,
        shards: None,
    };
    RunInfo {
        id: clock::run_id(started, &names),
        started: started.into(),
        ended: None,
        state: State::Running,
        command: [
            "run-xfstests",
            "-g",
            "quick",
            "--config",
            "notblk",
            "--baseline",
            CONFIGS[1],
        ]
        .map(str::to_owned)
        .to_vec(),
        commit: "90268ed-dirty".into(),
        kernel: "7.3.4".into(),
        accel: "TCG".into(),
        cpus: 2,
        memory: 2048,
        shards: 2,
        shard: None,
        suite: SuiteInfo {
            path: "/src/xfstests".into(),
            version: "v2026.11.09".into(),
        },
        configs: CONFIGS.iter().chain([&BROKEN]).map(config).collect(),
        baseline: Some(CONFIGS[1].into()),
        rounds: 1,
        wall_secs: 0.0,
    }
}

/// What becomes of a test: `fate` decides for both configurations, the dice for the rest.
fn result(
    store: &Store,
    config: &str,
    test: &str,
    fate: u64,
    dice: &mut Dice,
) -> Result<TestResult> {
    let ours = config == CONFIGS[0];
    let (status, reason) = match (fate, ours) {
        (0..150, _) => (Status::Skip, Some(["this test requires a valid $LOGWRITES_DEV", "xfs_io fallocate failed (old kernel/wrong fs?)", "not suitable for this filesystem type: ext2", "attr namespace user not supported by this filesystem type: ext2"][(fate % 4) as usize])),
        (150..175, true) => (Status::Skip, Some("Reflink not supported by scratch filesystem type: ext2")),
        (175..185, false) => (Status::Skip, Some("filesystem does not support shutdown")),
        (185..192, true) => (Status::Excluded, Some("needs 40 GiB of SCRATCH")),
        (200..212, _) => (Status::Fail, Some("output mismatch (see generic/099.out.bad)")),
        (212..230, true) => (Status::Fail, Some("output mismatch: pwrite: Input/output error where 65536/65536 bytes were expected at offset 1048576")),
        (230..233, true) => (Status::Hang, Some("no end after 300 s: fsstress sleeps in inode_dio_wait")),
        (233..235, true) => (Status::Splat, Some("WARNING: fs/iomap/buffered-io.c:1024 at iomap_write_end+0x1d4/0x2a0 [notblk]")),
        (235..239, false) => (Status::Fail, Some("e2fsck: SCRATCH is not clean: inode 12, i_blocks is 16, should be 8")),
        (239, _) => (Status::Died, Some("QEMU was killed by signal 9")),
        _ => (Status::Pass, None),
    };
    let slow = if dice.below(20) == 0 { 900 } else { 60 };
    let mut result = TestResult {
        config: config.into(),
        test: test.into(),
        round: 1,
        status,
        reason: reason.map(str::to_owned),
        overruled: false,
        attempts: Vec::new(),
        secs: if status.is_unrun() {
            0.4
        } else {
            0.6 + dice.below(slow) as f64 / 7.0
        },
        expected: None,
        output: String::new(),
        log: Vec::new(),
        files: Vec::new(),
        boot: 1 + u32::try_from(dice.below(4))?,
        repeat: format!("cargo xtask run-xfstests --config {config} {test}"),
    };
    let expected = match fate {
        200..203 => Some((
            Expect::Fail,
            Bug::Kernel,
            "statx reports no birth time for 128-byte inodes",
        )),
        212..216 if ours => Some((Expect::Fail, Bug::Notblk, "FIEMAP is not there yet")),
        216..224 if ours => Some((Expect::Flaky(0.3), Bug::Suite, "counts on the host's speed")),
        500..502 if ours => Some((
            Expect::Fail,
            Bug::Format,
            "no nanoseconds in 128-byte inodes",
        )),
        _ => None,
    };
    result.expected = expected.map(|(expect, bug, reason)| Expectation {
        expect,
        bug,
        reason: reason.into(),
        link: "https://lore.kernel.org/linux-ext4/".into(),
    });
    if (216..224).contains(&fate) && ours {
        result.attempts = vec![Status::Fail; 7];
    }
    if status == Status::Fail {
        result.output = format!("- output mismatch (see results/{test}.out.bad)\n    --- tests/{test}.out\t2026-11-09 10:00:00\n    +++ results/{test}.out.bad\t2026-11-22 23:40:11\n    @@ -1,5 +1,6 @@\n     QA output created by {test}\n    -wrote 65536/65536 bytes at offset 1048576\n    -64 KiB, 1 ops; and so on\n    +pwrite: Input/output error\n    +<script>alert('a guest wrote this')</script>\n     Silence is golden\n    ...\n    (Run 'diff -u tests/{test}.out results/{test}.out.bad'  to see the entire diff)\n");
    }
    if status.is_bad() {
        for line in 0..30 + dice.below(500) {
            result.log.push(format!("[{:12.6}] EXT4-fs (vdc): line {line} of what the kernel says in the time of {test}", 100.0 + line as f64 / 3.0));
        }
        if matches!(status, Status::Splat) || fate.is_multiple_of(9) {
            let at = result.log.len() / 2;
            result.log.insert(at, "[  211.440105] WARNING: CPU: 1 PID: 4711 at fs/iomap/buffered-io.c:1024 iomap_write_end+0x1d4/0x2a0".into());
            result.log.insert(at + 1, "[  211.440106] Page cache invalidation failure on direct I/O.  Possible data corruption due to collision with buffered I/O!".into());
        }
        for (name, text) in [
            ("full", "all that the test wrote"),
            ("out.bad", "what came out"),
            ("dmesg", &result.log.join("\n")),
        ] {
            result
                .files
                .push(store.keep(config, test, 1, name, text.as_bytes())?);
        }
    }
    Ok(result)
}
