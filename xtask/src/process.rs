// SPDX-License-Identifier: GPL-2.0

//! Child processes: their environment, their output, their end.
//!
//! A child runs in a process group of its own, so that all it started can be ended with it. Ctrl-C reaches xtask only,
//! which then ends the group, politely first.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{kill_process_group, Pid, Signal};

use crate::errors::Exit;
use crate::interrupt;
use crate::ui::{Step, Ui};

/// How long a group may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(3);
/// How often a waiting parent looks up.
const TICK: Duration = Duration::from_millis(20);
/// How many lines of a failed child's output are shown.
const TAIL: usize = 20;
/// How long a log may become before it starts over.
const LOG_LIMIT: u64 = 8 << 20;
/// How many lines of a child's output are kept for a diagnosis.
const KEEP: usize = 1000;

/// The environment that children see: what names the user's home and language, and nothing of Cargo's.
pub fn base_env() -> Vec<(String, String)> {
    let keep = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|value| (name.to_owned(), value))
    };
    ["PATH", "HOME", "TERM"]
        .into_iter()
        .filter_map(keep)
        .chain([("LANG".to_owned(), "C.UTF-8".to_owned())])
        .collect()
}

/// The variables that tell programs how to reach the network.
pub fn network_env() -> Vec<(String, String)> {
    let names = [
        "http_proxy",
        "https_proxy",
        "ftp_proxy",
        "all_proxy",
        "no_proxy",
    ];
    let both = names.iter().flat_map(|n| [n.to_string(), n.to_uppercase()]);
    both.filter_map(|name| std::env::var(&name).ok().map(|value| (name, value)))
        .collect()
}

/// Where cargo and rustup live, for those who moved them; not which toolchain runs us.
pub fn cargo_env() -> Vec<(String, String)> {
    let names = ["CARGO_HOME", "RUSTUP_HOME"].into_iter();
    names
        .filter_map(|name| {
            std::env::var(name)
                .ok()
                .map(|value| (name.to_owned(), value))
        })
        .collect()
}

/// A short command on the host, with the environment scrubbed.
pub fn host_cmd<'a>(sh: &'a xshell::Shell, program: &str) -> xshell::Cmd<'a> {
    sh.cmd(program).env_clear().envs(base_env()).quiet()
}

/// A long-lived command on the host, with the environment scrubbed.
pub fn host_command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(base_env());
    command
}

/// A running process group. Dropped while it runs, it is ended.
pub struct Group {
    child: Child,
    ended: bool,
    manner: Manner,
}

impl Group {
    /// Starts `command` in a process group of its own.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .process_group(0)
            .spawn()
            .map_err(|error| anyhow::Error::from(error).context(format!("cannot run {program}")))?;
        Ok(Group {
            child,
            ended: false,
            manner: Manner::Firm,
        })
    }

    /// The leader, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Looks whether the leader has ended.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.child.try_wait().context("cannot wait for a child")?;
        self.ended |= status.is_some();
        Ok(status)
    }

    /// Waits for the leader's end; an interruption ends the group and is returned as an error.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            interrupt::check()?;
            std::thread::sleep(TICK);
        }
    }

    /// Ends the group: SIGTERM, a little patience, SIGKILL.
    pub fn end(&mut self) {
        let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else {
            return;
        };
        if self.ended {
            return;
        }
        // Failures mean that the group is gone already.
        let _ = kill_process_group(group, Signal::TERM);
        let deadline = Instant::now() + GRACE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if self.manner == Manner::Firm && Instant::now() > deadline {
                break;
            }
            std::thread::sleep(TICK);
        }
        if self.manner == Manner::Firm {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
        self.ended = true;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

/// How a child ended, and what it said last.
pub struct Outcome {
    /// What the child was doing.
    pub what: String,
    /// The last lines that it wrote.
    pub tail: Vec<String>,
    /// How it ended.
    pub status: ExitStatus,
}

/// Runs a child to its end, with its output in a log; the last lines are shown when it fails.
pub fn run(step: &Step, log: &Path, what: &str, command: &mut Command) -> Result<()> {
    let outcome = run_any(step, log, what, command, Manner::Firm)?;
    match outcome.status.success() {
        true => Ok(()),
        false => Err(explain(step.ui(), log, outcome)),
    }
}

/// How a child is treated on Ctrl-C.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It is ended, by SIGKILL in the end.
    Firm,
    /// It is asked to end, then waited for: it changes the host's own packages and must not be torn out of that.
    Gentle,
}

/// Like [`run`], and lets the caller judge how the child ended.
pub fn run_any(
    step: &Step,
    log: &Path,
    what: &str,
    command: &mut Command,
    manner: Manner,
) -> Result<Outcome> {
    interrupt::check()?;
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot open the log {}", log.display()))?;
    // Logs of long ago are nobody's concern.
    if file.metadata().is_ok_and(|meta| meta.len() > LOG_LIMIT) {
        let _ = file.set_len(0);
    }
    // A log that cannot be written is no reason to fail: the child's own end is what counts.
    let _ = writeln!(file, "== {what}");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut group = Group::spawn(command)?;
    group.manner = manner;
    let tail = Arc::new(Mutex::new(VecDeque::new()));
    let file = Arc::new(Mutex::new(file));
    let stdout = group.child().stdout.take().context("no stdout")?;
    let stderr = group.child().stderr.take().context("no stderr")?;
    let status = std::thread::scope(|scope| {
        let pipes: [Box<dyn Read + Send>; 2] = [Box::new(stdout), Box::new(stderr)];
        for pipe in pipes {
            let (tail, file) = (tail.clone(), file.clone());
            scope.spawn(move || follow(pipe, step, &file, &tail));
        }
        let status = group.wait();
        // Ended here, not later: the readers above see the end of their pipes only when the whole group is gone.
        if status.is_err() {
            group.end();
        }
        status
    })?;
    let tail = std::mem::take(&mut *tail.lock().expect("no reader panics"));
    Ok(Outcome {
        what: what.to_owned(),
        tail: tail.into(),
        status,
    })
}

/// Copies a child's output into the log, line by line; keeps the last ones.
fn follow(pipe: impl Read, step: &Step, log: &Mutex<File>, tail: &Mutex<VecDeque<String>>) {
    let mut lines = BufReader::new(pipe);
    let mut line = Vec::new();
    while matches!(lines.read_until(b'\n', &mut line), Ok(n) if n > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        let _ = writeln!(log.lock().expect("no reader panics"), "{text}");
        if step.ui().verbose() {
            step.ui().print(&text);
        } else {
            step.detail(&text);
        }
        let mut tail = tail.lock().expect("no reader panics");
        tail.push_back(text);
        if tail.len() > KEEP {
            tail.pop_front();
        }
    }
}

/// Turns a failed child into an error for the user, and shows the end of its output where the error line is not enough.
pub fn explain(ui: &Ui, log: &Path, failure: Outcome) -> anyhow::Error {
    if let Some(exit) = diagnose(&failure.what, &failure.tail) {
        return exit.into();
    }
    if !ui.verbose() {
        let skip = failure.tail.len().saturating_sub(TAIL);
        for line in failure.tail.iter().skip(skip) {
            ui.print(&format!("    {line}"));
        }
    }
    Exit::host(format!("{} failed ({})", failure.what, failure.status))
        .hint(format!("the whole output is in {}", log.display()))
        .into()
}

/// Recognises the failures of the world around us in a child's output.
pub fn diagnose(what: &str, lines: &[String]) -> Option<Exit> {
    let find = |needles: &[&str]| {
        let hit = |line: &&String| needles.iter().any(|needle| line.contains(needle));
        lines.iter().find(hit).map(|line| line.trim().to_owned())
    };
    let full = [
        "No space left on device",
        "You don't have enough free space",
        "Disk quota exceeded",
    ];
    if find(&full).is_some() {
        return Some(
            Exit::host(format!("disk full: {what} ran out of space"))
                .hint("free some space, or point XDG_CACHE_HOME at a larger file system"),
        );
    }
    let network = [
        "Temporary failure resolving",
        "Could not resolve",
        "Could not connect",
        "Cannot initiate the connection",
        "Unable to connect",
        "Network is unreachable",
        "Connection timed out",
        "Connection failed",
        "Connection refused",
        "failed to resolve address",
        "failed to download from",
        "Couldn't resolve host",
        "Could not resolve host",
        "spurious network error",
    ];
    if let Some(line) = find(&network) {
        return Some(
            Exit::host(format!(
                "no network: {what} cannot reach the package archive ({line})"
            ))
            .hint("once set up, everything works without a network"),
        );
    }
    let lock = [
        "Could not get lock",
        "Unable to acquire the dpkg frontend lock",
    ];
    find(&lock).map(|line| {
        Exit::host(format!(
            "{what}: another package manager is running ({line})"
        ))
        .hint("try again when it has finished")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::{classify, Code};

    fn said(line: &str) -> Option<Exit> {
        diagnose("making the toolbox", &["fine".into(), line.to_owned()])
    }

    #[test]
    fn the_worlds_failures_are_recognised() {
        let exit = said("tar: usr/x: Cannot write: No space left on device").unwrap();
        assert_eq!(exit.line, "disk full: making the toolbox ran out of space");
        let exit = said("  Temporary failure resolving 'deb.example.org'").unwrap();
        assert_eq!(
            exit.line,
            "no network: making the toolbox cannot reach the package archive \
             (Temporary failure resolving 'deb.example.org')"
        );
        assert_eq!(exit.code, Code::HOST);
        assert!(said("E: Could not get lock /var/lib/dpkg/lock").is_some());
        assert!(said("error[E0425]: cannot find value").is_none());
    }

    #[test]
    fn a_failed_child_is_explained_by_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("x.log");
        let step = Ui::new(false).step("test", "running");
        let mut command = host_command("sh");
        command.args(["-c", "echo out; echo err >&2; exit 7"]);
        let error = run(&step, &log, "the child", &mut command).unwrap_err();
        let exit = classify(&error);
        assert_eq!(exit.code, Code::HOST);
        assert_eq!(exit.line, "the child failed (exit status: 7)");
        let text = std::fs::read_to_string(&log).unwrap();
        assert!(text.contains("out\n") && text.contains("err\n"), "{text}");
    }

    #[test]
    fn cargos_environment_does_not_reach_a_child() {
        let sh = xshell::Shell::new().unwrap();
        let env = host_cmd(&sh, "env").read().unwrap();
        let leaked: Vec<_> = env
            .lines()
            .filter(|l| l.contains("CARGO") || l.contains("RUST"))
            .collect();
        assert!(std::env::vars().any(|(name, _)| name.starts_with("CARGO")));
        assert_eq!(leaked, Vec::<&str>::new());
    }

    #[test]
    fn a_dropped_group_takes_its_grandchildren_along() {
        let mut command = host_command("sh");
        command
            .args(["-c", "sleep 1000 & echo $!; wait"])
            .stdout(Stdio::piped());
        let mut group = Group::spawn(&mut command).unwrap();
        let mut pid = String::new();
        let out = group.child().stdout.take().unwrap();
        BufReader::new(out).read_line(&mut pid).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        assert!(Path::new(&stat).exists());
        drop(group);
        let deadline = Instant::now() + Duration::from_secs(5);
        let gone = |stat: &str| std::fs::read_to_string(stat).map_or(true, |s| s.contains(") Z "));
        while !gone(&stat) {
            assert!(Instant::now() < deadline, "the grandchild is still there");
            std::thread::sleep(TICK);
        }
    }
}
