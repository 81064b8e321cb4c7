// SPDX-License-Identifier: GPL-2.0

//! Tests of `run-xfstests` itself: real guests, and in the place of the suite the small tree `xtask/stub-suite`, whose tests
//! do whatever a suite's tests may do to their runner. Where `XFSTESTS_DIR` is set, a few tests of the real one as well. And tests
//! of the race lab where a guest or an actor does not come back ([`lab`]).

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use notblk_protocol::Verdict;
use notblk_results::{kept, Run, State, Status, TestResult};
use rustix::process::{kill_process, Pid, Signal};

use crate::context::Ctx;
use crate::errors::Code;
use crate::interrupt;

use super::lab;
use super::report::Report;

/// A test.
type Test = fn(&Bench) -> Result<()>;

/// All of them, by name.
const TESTS: [(&str, Test); 11] = [
    ("run-xfstests/verdicts", verdicts),
    ("run-xfstests/between", between),
    ("run-xfstests/again", again),
    ("run-xfstests/interrupted", interrupted),
    ("run-xfstests/killed", killed),
    ("run-xfstests/smoke", smoke),
    ("race-lab/hang", lab::hang),
    ("race-lab/panic", lab::panic),
    ("race-lab/dies", lab::dies),
    ("race-lab/interrupted", lab::interrupted),
    ("race-lab/killed", lab::killed),
];
/// What one of them may take, under TCG on a busy machine.
const LIMIT: Duration = Duration::from_secs(900);
/// What the stub's slow test writes to the console.
const SLOW: &str = "stub-suite: slow";
/// What the stub's test that wants its guest to be killed writes there.
const KILL: &str = "stub-suite: kill this guest";

/// Their names.
pub fn names() -> impl Iterator<Item = String> {
    TESTS.into_iter().map(|(name, _)| name.to_owned())
}

/// Runs those named.
pub fn run(ctx: &Ctx, names: &[String], report: &mut Report) -> Result<()> {
    for (name, test) in TESTS {
        if names.iter().all(|chosen| chosen != name) {
            continue;
        }
        interrupt::check()?;
        let step = ctx.ui.step("runner", name);
        let bench = Bench {
            stub: ctx.repo.join("xtask/stub-suite"),
            results: tempfile::Builder::new()
                .prefix("notblk-runs-")
                .tempdir()
                .context("cannot make a temporary directory")?,
        };
        let began = Instant::now();
        let verdict = match test(&bench) {
            Ok(()) => Verdict::Passed,
            Err(error) => match error.downcast_ref::<Skip>() {
                Some(Skip(why)) => Verdict::Skipped((*why).to_owned()),
                None => Verdict::Failed(format!("{error:#}")),
            },
        };
        interrupt::check()?;
        drop(step);
        report.add(name, &verdict, began.elapsed());
    }
    Ok(())
}

/// Why a test does not apply here.
#[derive(Debug)]
struct Skip(&'static str);

impl std::fmt::Display for Skip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Skip {}

/// A place for one test's runs.
pub(super) struct Bench {
    stub: PathBuf,
    results: tempfile::TempDir,
}

impl Bench {
    /// Starts `run-xfstests` on the stub.
    fn start(&self, args: &[&str]) -> Result<Runner> {
        self.start_on(&self.stub, args)
    }

    fn start_on(&self, suite: &Path, args: &[&str]) -> Result<Runner> {
        let mut all: Vec<&OsStr> = ["run-xfstests", "--xfstests"].map(OsStr::new).to_vec();
        all.extend([
            suite.as_os_str(),
            OsStr::new("--results"),
            self.results.path().as_os_str(),
        ]);
        all.extend(args.iter().map(OsStr::new));
        self.start_xtask(&all)
    }

    /// Starts this program with these arguments.
    pub(super) fn start_xtask(&self, args: &[&OsStr]) -> Result<Runner> {
        let log = self.results.path().join("xtask.log");
        let file = fs::File::options().create(true).append(true).open(&log)?;
        // This program, even where somebody has built it anew in the meantime.
        let child = Command::new("/proc/self/exe")
            .args(args)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("cannot start xtask")?;
        Ok(Runner { child, log })
    }

    /// The newest run.
    fn run(&self) -> Result<Run> {
        Run::load(&kept::find(self.results.path(), "latest")?)
    }

    /// Waits until the console of one of the newest run's guests says something.
    fn console_says(&self, what: &str, runner: &mut Runner) -> Result<()> {
        let until = Instant::now() + LIMIT;
        loop {
            let dir = kept::find(self.results.path(), "latest").map(|run| run.join("console"));
            let logs = dir.ok().and_then(|dir| fs::read_dir(dir).ok());
            for log in logs.into_iter().flatten() {
                let text = fs::read(log?.path())?;
                if String::from_utf8_lossy(&text).contains(what) {
                    return Ok(());
                }
            }
            ensure!(
                runner.child.try_wait()?.is_none(),
                "xtask ended before a guest said {what:?}:\n{}",
                runner.said()
            );
            ensure!(Instant::now() < until, "no guest said {what:?}");
            interrupt::check()?;
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// A running xtask. Dropped while it runs, it is ended.
pub(super) struct Runner {
    child: Child,
    log: PathBuf,
}

impl Runner {
    pub(super) fn pid(&self) -> Result<Pid> {
        let id = i32::try_from(self.child.id())?;
        Pid::from_raw(id).context("a process without a number")
    }

    /// Its exit code.
    pub(super) fn wait(&mut self) -> Result<u8> {
        let until = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait()? {
                let code = status.code().or(status.signal().map(|signal| 128 + signal));
                return Ok(u8::try_from(code.context("neither code nor signal")?)?);
            }
            ensure!(
                Instant::now() < until,
                "xtask does not end:\n{}",
                self.said()
            );
            interrupt::check()?;
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asks for an exit code.
    pub(super) fn ends_with(&mut self, code: Code) -> Result<()> {
        let found = self.wait()?;
        ensure!(
            found == code.0,
            "exit code {found}, should be {}:\n{}",
            code.0,
            self.said()
        );
        Ok(())
    }

    /// The QEMU processes below it.
    pub(super) fn qemus(&self) -> Result<Vec<Pid>> {
        let mut family = vec![self.pid()?];
        let mut found = Vec::new();
        let parents = parents()?;
        while let Some(parent) = family.pop() {
            for &(child, _) in parents.iter().filter(|(_, of)| *of == parent) {
                family.push(child);
                if is_qemu(child) {
                    found.push(child);
                }
            }
        }
        Ok(found)
    }

    /// Waits until it prints something.
    pub(super) fn says(&mut self, what: &str) -> Result<()> {
        let until = Instant::now() + LIMIT;
        while !self.said().contains(what) {
            let ended = self.child.try_wait()?.is_some();
            ensure!(
                !ended || self.said().contains(what),
                "xtask ended and did not say {what:?}:\n{}",
                self.said()
            );
            ensure!(Instant::now() < until, "xtask does not say {what:?}");
            interrupt::check()?;
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The end of what it printed.
    pub(super) fn said(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        if let (Ok(None), Ok(pid)) = (self.child.try_wait(), self.pid()) {
            // It ends its guests itself. A failure means that it is gone already.
            let _ = kill_process(pid, Signal::TERM);
            let _ = self.child.wait();
        }
    }
}

/// Every process with its parent.
fn parents() -> Result<Vec<(Pid, Pid)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Gone in the meantime, if this fails. What follows the name in parentheses is the state, then the parent.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        if let (Some(pid), Some(parent)) = (Pid::from_raw(pid), parent.and_then(Pid::from_raw)) {
            found.push((pid, parent));
        }
    }
    Ok(found)
}

fn is_qemu(pid: Pid) -> bool {
    let name = fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero()));
    name.is_ok_and(|name| name.starts_with("qemu-system"))
}

/// Asks that none of these processes is a QEMU after a while.
pub(super) fn gone(qemus: &[Pid]) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(5);
    while qemus.iter().any(|&pid| is_qemu(pid)) {
        ensure!(Instant::now() < until, "QEMU outlives xtask");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Asks for the statuses of all results, by the tests' numbers.
fn statuses(run: &Run, expected: &[(&str, Status)]) -> Result<()> {
    let found: Vec<_> = run
        .results
        .iter()
        .map(|result| (result.test.as_str(), result.status))
        .collect();
    let mut sorted = found.clone();
    sorted.sort();
    ensure!(sorted == expected, "the results are {found:?}");
    Ok(())
}

fn result<'a>(run: &'a Run, test: &str) -> Result<&'a TestResult> {
    let found = run.results.iter().find(|result| result.test == test);
    found.with_context(|| format!("{test} has no result"))
}

/// Every way for a test to end, one after the other, in spite of each other.
fn verdicts(bench: &Bench) -> Result<()> {
    let numbers = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let tests = numbers.map(|number| format!("generic/00{number}"));
    // Much more than a stub takes to begin, on a host that is busy with other guests too.
    let mut args = vec!["--timeout", "60"];
    args.extend(tests.iter().map(String::as_str));
    let mut runner = bench.start(&args)?;
    bench.console_says(KILL, &mut runner)?;
    let qemus = runner.qemus()?;
    let [qemu] = qemus[..] else {
        bail!("xtask has {} guests at once", qemus.len());
    };
    kill_process(qemu, Signal::KILL)?;
    // A splat outweighs the hang and the failures.
    runner.ends_with(Code::SPLAT)?;
    let run = bench.run()?;
    statuses(
        &run,
        &[
            ("generic/001", Status::Pass),
            ("generic/002", Status::Fail),
            ("generic/003", Status::Skip),
            ("generic/004", Status::Hang),
            ("generic/005", Status::Splat),
            ("generic/006", Status::Died),
            ("generic/007", Status::Fail),
            ("generic/008", Status::Splat),
            ("generic/009", Status::Pass),
        ],
    )?;
    ensure!(run.run.state == State::Complete, "{:?}", run.run.state);
    let proof = &run.run.configs[0].proof;
    ensure!(
        proof.len() == 2 && proof.iter().all(|line| line.contains("notblk")),
        "the driver's proof is {proof:?}"
    );
    let reason = |test| -> Result<&str> {
        let reason = result(&run, test)?.reason.as_deref();
        reason.context("no reason")
    };
    ensure!(reason("generic/002")? == "<b>wrong</b>");
    ensure!(reason("generic/003")? == "no reason but this one");
    ensure!(reason("generic/005")?.contains("WARNING: CPU: 0 PID: 1 at stub/suite.c:5"));
    ensure!(reason("generic/007")?.contains("Page cache invalidation failure"));
    ensure!(
        reason("generic/008")?.contains("sysrq triggered crash"),
        "{}",
        reason("generic/008")?
    );
    let overruled: Vec<_> = run
        .results
        .iter()
        .filter(|result| result.overruled)
        .collect();
    ensure!(
        overruled.len() == 2,
        "{} passes were overruled",
        overruled.len()
    );

    let dir = kept::find(bench.results.path(), "latest")?;
    let file = |test: &str, end: &str| -> Result<String> {
        let files = &result(&run, test)?.files;
        let path = files.iter().find(|path| path.ends_with(end));
        let path = path.with_context(|| format!("{test} kept {files:?}, but no {end}"))?;
        Ok(fs::read_to_string(dir.join(path))?)
    };
    ensure!(file("generic/002", "full")?.contains("more of it"));
    ensure!(file("generic/002", "out.bad")?.contains("<b>wrong</b>"));
    let dump = file("generic/004", "dump")?;
    ensure!(
        dump.contains("Show Blocked State")
            && dump.contains("Show State")
            && dump.contains("sleep"),
        "the hung guest's kernel was not asked:\n{dump}"
    );
    for document in ["results.json", "junit.xml", "index.html"] {
        let text = fs::read_to_string(dir.join(document)).context(document)?;
        ensure!(text.contains("generic/009"), "{document} lacks a test");
    }
    let page = fs::read_to_string(dir.join("index.html"))?;
    ensure!(
        !page.contains("<b>wrong</b>"),
        "a test writes into the page"
    );
    Ok(())
}

/// `-L` and `-i`: further attempts and rounds.
fn again(bench: &Bench) -> Result<()> {
    let tests = ["generic/009", "generic/011", "generic/012", "generic/013"];
    let mut args = vec!["-L", "2", "-i", "2"];
    args.extend(tests);
    let mut runner = bench.start(&args)?;
    // The splat of a further attempt counts like any other.
    runner.ends_with(Code::SPLAT)?;
    let run = bench.run()?;
    let (fail, pass, splat) = (Status::Fail, Status::Pass, Status::Splat);
    for round in [1, 2] {
        let of = |test: &str| {
            let mut results = run.results.iter();
            results
                .find(|result| result.test == test && result.round == round)
                .with_context(|| format!("{test} has no result in round {round}"))
        };
        // It fails first; of the two further attempts one passes.
        let flaky = of("generic/011")?;
        ensure!(flaky.attempts == [fail, pass, fail], "{:?}", flaky.attempts);
        ensure!(flaky.status == fail);
        let warned = of("generic/012")?;
        ensure!(
            warned.attempts == [fail, splat, fail],
            "{:?}",
            warned.attempts
        );
        ensure!(warned.status == splat);
        // Another guest after a splat.
        let after = of("generic/013")?;
        ensure!(after.status == pass && after.boot > warned.boot);
        ensure!(of("generic/009")?.boot == warned.boot);
    }
    ensure!(run.results.len() == 8, "{} results", run.results.len());
    Ok(())
}

/// What happens while no test runs is the fault of the one before, and costs no other test its result.
fn between(bench: &Bench) -> Result<()> {
    // With the crowd before it generic/014 is the last test of the agent's first run of `check`: another run follows.
    let tests = [
        "generic/000-*",
        "generic/014",
        "generic/015",
        "generic/016",
        "generic/017",
    ];
    // Much more than a stub takes to begin, on a host that is busy with other guests too.
    let mut args = vec!["--timeout", "60"];
    args.extend(tests);
    bench.start(&args)?.ends_with(Code::SPLAT)?;
    let run = bench.run()?;
    ensure!(run.run.state == State::Complete, "{:?}", run.run.state);
    let (crowd, others): (Vec<_>, Vec<_>) = run
        .results
        .iter()
        .partition(|result| result.test.starts_with("generic/000-"));
    // Not in which guest: one that does not come up costs a number.
    let boot = crowd.first().map(|result| result.boot);
    ensure!(
        crowd.len() == 23
            && crowd
                .iter()
                .all(|it| it.status == Status::Pass && Some(it.boot) == boot),
        "the crowd is {crowd:?}"
    );
    let found: Vec<_> = others
        .iter()
        .map(|it| (it.test.as_str(), it.status, it.overruled))
        .collect();
    ensure!(
        found
            == [
                ("generic/014", Status::Splat, true),
                ("generic/015", Status::Splat, true),
                ("generic/016", Status::Pass, false),
                ("generic/017", Status::Hang, true),
            ],
        "the results are {found:?}"
    );
    let boots: Vec<u32> = others.iter().map(|result| result.boot).collect();
    ensure!(
        Some(boots[0]) == boot
            && boots[0] < boots[1]
            && boots[1] < boots[2]
            && boots[2] == boots[3],
        "the guests were {boot:?} and {boots:?}"
    );
    for (test, words) in [
        (
            "generic/014",
            "after its end: WARNING: CPU: 0 PID: 1 at stub/suite.c:14",
        ),
        ("generic/015", "WARNING: CPU: 0 PID: 1 at stub/suite.c:15"),
        (
            "generic/017",
            "after its end: the suite does not end after its last test",
        ),
    ] {
        let reason = result(&run, test)?.reason.as_deref().unwrap_or_default();
        ensure!(reason.starts_with(words), "{test}: {reason}");
    }
    let files = &result(&run, "generic/017")?.files;
    ensure!(
        files.iter().any(|path| path.ends_with("dump")),
        "the kernel was not asked what it waits for: {files:?}"
    );
    Ok(())
}

/// Ctrl-C: code 130, no QEMU, no result lost, and `--resume` goes on, as it began: here with a guest for each test, and the
/// disks of those that go bad.
fn interrupted(bench: &Bench) -> Result<()> {
    let (fail, pass) = (Status::Fail, Status::Pass);
    let mut runner = bench.start(&["--keep", "generic/002", "generic/010", "generic/011"])?;
    bench.console_says(SLOW, &mut runner)?;
    let qemus = runner.qemus()?;
    ensure!(!qemus.is_empty(), "there is no QEMU to leave behind");
    kill_process(runner.pid()?, Signal::INT)?;
    runner.ends_with(Code::INTERRUPTED)?;
    gone(&qemus)?;
    let disks = || -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(kept::find(bench.results.path(), "latest")?)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.retain(|name| name.starts_with("disks-"));
        names.sort();
        Ok(names)
    };
    let bad = |run: &Run| -> Vec<String> {
        let bad = run
            .results
            .iter()
            .filter(|result| result.status == Status::Fail);
        bad.map(|result| format!("disks-{}", result.boot)).collect()
    };
    // Not those of the test that did not end.
    let before = bad(&bench.run()?);
    ensure!(disks()? == before, "kept {:?}, not {before:?}", disks()?);
    let after = goes_on(
        bench,
        &[("generic/002", fail)],
        Code::TEST_FAILED,
        &[
            ("generic/002", fail),
            ("generic/010", pass),
            ("generic/011", fail),
        ],
    )?;
    let boots: Vec<u32> = after.results.iter().map(|result| result.boot).collect();
    ensure!(
        boots.is_sorted_by(|a, b| a < b),
        "the guests were {boots:?}"
    );
    ensure!(
        disks()? == bad(&after),
        "kept {:?}, not {:?}",
        disks()?,
        bad(&after)
    );
    let dir = kept::find(bench.results.path(), "latest")?;
    for disk in disks()? {
        let file = fs::metadata(dir.join(&disk).join("test.img")).context(disk)?;
        ensure!(file.len() > 0, "a disk is empty");
    }
    Ok(())
}

/// kill -9: the same, but for the code; and in the midst of writing a result.
fn killed(bench: &Bench) -> Result<()> {
    let pass = Status::Pass;
    let mut runner = bench.start(&["generic/001", "generic/009", "generic/010"])?;
    bench.console_says(SLOW, &mut runner)?;
    let qemus = runner.qemus()?;
    ensure!(!qemus.is_empty(), "there is no QEMU to leave behind");
    kill_process(runner.pid()?, Signal::KILL)?;
    ensure!(runner.wait()? == 128 + 9);
    gone(&qemus)?;
    let journal = kept::find(bench.results.path(), "latest")?.join("results.jsonl");
    let text = fs::read_to_string(&journal)?;
    let last = text.lines().last().context("no result was kept")?;
    let torn = last.replace("generic/009", "generic/010");
    fs::write(&journal, text + &torn[..torn.len() / 2])?;
    goes_on(
        bench,
        &[("generic/001", pass), ("generic/009", pass)],
        Code::PASSED,
        &[
            ("generic/001", pass),
            ("generic/009", pass),
            ("generic/010", pass),
        ],
    )?;
    Ok(())
}

/// Resumes the newest run, which has been cut short after these results, and asks for its code and for all results.
fn goes_on(
    bench: &Bench,
    had: &[(&str, Status)],
    code: Code,
    expected: &[(&str, Status)],
) -> Result<Run> {
    let before = bench.run()?;
    statuses(&before, had)?;
    ensure!(
        before.run.state == State::Interrupted,
        "{:?}",
        before.run.state
    );
    bench.start(&["--resume"])?.ends_with(code)?;
    let after = bench.run()?;
    ensure!(after.run.id == before.run.id, "another run was begun");
    ensure!(after.run.state == State::Complete, "{:?}", after.run.state);
    statuses(&after, expected)?;
    for (test, _) in had {
        ensure!(
            result(&after, test)? == result(&before, test)?,
            "{test} was run again"
        );
    }
    Ok(after)
}

/// A few tests of the real suite, where there is one.
fn smoke(bench: &Bench) -> Result<()> {
    let Some(suite) = std::env::var_os("XFSTESTS_DIR").map(PathBuf::from) else {
        bail!(Skip("XFSTESTS_DIR is not set"));
    };
    let tests = ["generic/001", "generic/002", "generic/005", "generic/013"];
    let mut runner = bench.start_on(&suite, &tests)?;
    runner.wait()?;
    let run = bench.run()?;
    ensure!(run.run.state == State::Complete, "{}", runner.said());
    let ran = run
        .results
        .iter()
        .filter(|result| !result.status.is_unrun());
    ensure!(ran.count() >= 2, "{}", runner.said());
    statuses_end_well(&run)
}

/// The suite's simplest tests pass on this driver.
fn statuses_end_well(run: &Run) -> Result<()> {
    let bad: Vec<_> = run
        .results
        .iter()
        .filter(|result| result.is_unexpected_failure())
        .map(|result| (&result.test, &result.reason))
        .collect();
    ensure!(bad.is_empty(), "{bad:?}");
    Ok(())
}
