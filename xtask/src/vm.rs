// SPDX-License-Identifier: GPL-2.0

//! One boot of the guest, from QEMU's start to a judged end.
//!
//! QEMU runs in the toolbox, in a process group of its own. Disks and initramfs are anonymous memory, handed over as
//! open files: nothing is left behind, however this ends. The agent reports over a socket of ours; what it says is the
//! only evidence of success. Three clocks run: one until the agent speaks, one for each step that it announces, one for
//! the whole boot.

mod accel;
mod qemu;
mod running;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use notblk_protocol::{splat, Event, Job, VERSION};

pub use accel::Accel;

use crate::context::Ctx;
use crate::errors::{Code, Exit};
use crate::interrupt;
use crate::kernel::Kernel;
use crate::toolbox::Toolbox;
use crate::ui::Step;
use running::Running;

/// How often the clocks are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long QEMU may take to end after the agent's last word.
const POWER_OFF: Duration = Duration::from_secs(20);
/// How many lines of the console are shown after a failure.
const TAIL: usize = 25;

/// A guest to boot.
pub struct Machine<'a> {
    /// Has QEMU.
    pub toolbox: &'a Toolbox,
    /// What it boots.
    pub kernel: &'a Kernel,
    /// Its initramfs.
    pub initramfs: &'a [u8],
    /// What the log of its console is called.
    pub name: &'a str,
    /// What runs it.
    pub accel: Accel,
    /// Memory in MiB.
    pub memory: u32,
    /// Writes to the second disk take long.
    pub slow_disk: bool,
    /// Number of CPUs.
    pub cpus: u32,
    /// The whole boot may take so long.
    pub limit: Option<Duration>,
    /// The terminal is the guest's serial console.
    pub interactive: bool,
}

/// How a boot ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// The agent did all of its job.
    Done,
    /// The agent could not do its job, and said why.
    Broken(String),
    /// The guest ended before the agent said that it was done.
    Died,
    /// A clock ran out, in the step named.
    Hung(String),
}

/// What a boot gave, apart from the events that its caller has seen.
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Kernel splats: those that the agent sent, or the console's if it could not.
    pub splats: Vec<Vec<String>>,
    /// The last lines of the console.
    pub console: Vec<String>,
    /// Where all of the console is.
    pub log: PathBuf,
    /// From QEMU's start to the agent's first word.
    pub boot_time: Duration,
}

impl Outcome {
    /// Shows splats and the way it ended, where that was not well; the exit code that this calls for.
    pub fn report(&self, ctx: &Ctx) -> Option<Code> {
        for lines in &self.splats {
            ctx.ui.print("the guest's kernel reported:");
            lines
                .iter()
                .for_each(|line| ctx.ui.print(&format!("    {line}")));
        }
        let (line, code) = match &self.end {
            End::Done => (None, None),
            End::Broken(text) => (
                Some(format!("the guest's agent failed: {text}")),
                Some(Code::HOST),
            ),
            End::Died => (
                Some("the guest ended before its job was done".to_owned()),
                Some(Code::HOST),
            ),
            End::Hung(step) => (Some(format!("the guest hangs: {step}")), Some(Code::HANG)),
        };
        if let Some(line) = line {
            if matches!(self.end, End::Died | End::Hung(_)) {
                ctx.ui
                    .print(&format!("the end of its console ({}):", self.log.display()));
                self.console
                    .iter()
                    .for_each(|line| ctx.ui.print(&format!("    {line}")));
            }
            ctx.ui.print(&format!("error: {line}"));
        }
        // A splat explains a death, and a hang as well.
        match self.splats.is_empty() {
            true => code,
            false => Some(Code::SPLAT),
        }
    }
}

/// Boots the guest, gives it the job, and hands each event to `on_event` as it comes.
pub fn run(
    ctx: &Ctx,
    machine: &Machine,
    job: &Job,
    step: Option<&Step>,
    mut on_event: impl FnMut(&Event) -> Result<()>,
) -> Result<Outcome> {
    interrupt::check()?;
    let accel = machine.accel;
    let (ours, theirs) = UnixStream::pair().context("cannot make a socket")?;
    let log = ctx.cache.log(&format!("console-{}", machine.name));
    // Unlinked first, so that another xtask that writes to a log of this name keeps its own.
    let _ = std::fs::remove_file(&log);
    let console = File::options()
        .create_new(true)
        .append(true)
        .open(&log)
        .with_context(|| format!("cannot make {}", log.display()))?;
    let mut qemu = qemu::command(machine, accel, &theirs, &console)?;
    let started = Instant::now();
    let mut running = Running::start(&mut qemu.command, machine.interactive)?;
    // QEMU holds its own ends now; with ours closed, its death is seen as the end of the stream.
    drop((theirs, qemu));

    let lines = follow(ours.try_clone()?);
    let mut watch = Watch::new(machine.limit, accel);
    let mut splats = Vec::new();
    let end = loop {
        interrupt::check()?;
        if let Some(late) = watch.late() {
            break End::Hung(late);
        }
        let line = match lines.recv_timeout(TICK) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break End::Died,
        };
        let event: Event = serde_json::from_str(&line)
            .with_context(|| format!("the agent said what is not an event: {line}"))?;
        watch.saw(&event);
        match &event {
            Event::Ready { version, .. } => {
                if *version != VERSION {
                    return Err(
                        Exit::host("the initramfs holds another version of the agent").into(),
                    );
                }
                let mut text = serde_json::to_string(job)?;
                text.push('\n');
                (&ours)
                    .write_all(text.as_bytes())
                    .context("cannot send the job")?;
            }
            Event::Step { name, .. } => {
                if let Some(step) = step {
                    step.now(name);
                }
            }
            Event::Progress { done, total } if *total > 0 => {
                if let Some(step) = step {
                    step.detail(&format!("{} {done}/{total}", watch.step));
                }
            }
            Event::Splat { lines } => splats.push(lines.clone()),
            Event::Broken { text } => break End::Broken(text.clone()),
            _ => {}
        }
        on_event(&event)?;
        if event == Event::Done {
            break End::Done;
        }
    };
    // What is still on its way is read, so that a splat during the last moments counts.
    let patience = Instant::now() + POWER_OFF;
    if !matches!(end, End::Hung(_)) {
        while !running.has_ended()? && Instant::now() < patience {
            interrupt::check()?;
            if let Ok(line) = lines.recv_timeout(TICK) {
                if let Ok(Event::Splat { lines }) = serde_json::from_str(&line) {
                    splats.push(lines);
                }
            }
        }
    }
    running.end();

    let text = std::fs::read(&log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    if splats.is_empty() && end != End::Done {
        splats.extend(console_splat(&all));
    }
    let console = all[all.len().saturating_sub(TAIL)..]
        .iter()
        .map(|&line| line.to_owned())
        .collect();
    Ok(Outcome {
        end,
        splats,
        console,
        log,
        boot_time: watch
            .ready
            .map_or(started.elapsed(), |ready| ready - started),
    })
}

/// Reads lines from the agent in a thread of its own.
fn follow(stream: UnixStream) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { break };
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// The lines from the first splat on, as the console has them.
fn console_splat(lines: &[&str]) -> Option<Vec<String>> {
    let first = lines.iter().position(|line| splat::is_splat(line))?;
    let rest = lines[first..].iter().take(60);
    Some(rest.map(|&line| line.to_owned()).collect())
}

/// The three clocks.
struct Watch {
    whole: Option<Instant>,
    /// When the current step hangs; none for a step that may last.
    deadline: Option<Instant>,
    limit: Option<Duration>,
    step: String,
    ready: Option<Instant>,
    accel: Accel,
}

impl Watch {
    fn new(whole: Option<Duration>, accel: Accel) -> Self {
        let boot = accel.scale(Duration::from_secs(30));
        Watch {
            whole: whole.map(|whole| Instant::now() + whole),
            deadline: Some(Instant::now() + boot),
            limit: Some(boot),
            step: "boot".into(),
            ready: None,
            accel,
        }
    }

    fn saw(&mut self, event: &Event) {
        match event {
            Event::Ready { .. } => {
                self.ready = Some(Instant::now());
                self.step = "start of the job".into();
            }
            Event::Step { name, limit_secs } => {
                self.step.clone_from(name);
                self.limit =
                    (*limit_secs > 0).then(|| self.accel.scale(Duration::from_secs(*limit_secs)));
            }
            _ => {}
        }
        self.deadline = self.limit.map(|limit| Instant::now() + limit);
    }

    /// Which clock has run out, if one has.
    fn late(&self) -> Option<String> {
        let now = Instant::now();
        if self.whole.is_some_and(|whole| now > whole) {
            return Some(format!(
                "the time for the whole run is up, in {}",
                self.step
            ));
        }
        let limit = self.limit?;
        (now > self.deadline?).then(|| format!("{}: nothing for {} s", self.step, limit.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_gets_its_own_time() {
        let mut watch = Watch::new(None, Accel::Kvm);
        assert_eq!(watch.late(), None);
        watch.saw(&Event::Step {
            name: "race".into(),
            limit_secs: 7,
        });
        assert_eq!(watch.limit, Some(Duration::from_secs(7)));
        watch.deadline = Some(Instant::now() - Duration::from_millis(1));
        assert_eq!(watch.late().as_deref(), Some("race: nothing for 7 s"));
        watch.saw(&Event::Progress { done: 1, total: 2 });
        assert_eq!(watch.late(), None, "a sign of life renews the time");
        watch.saw(&Event::Step {
            name: "shell".into(),
            limit_secs: 0,
        });
        assert_eq!(watch.late(), None);
        assert_eq!(watch.deadline, None);
    }

    #[test]
    fn a_panic_is_found_on_the_console() {
        let lines = [
            "[ 1.0] notblk: mounted",
            "[ 2.0] Kernel panic - not syncing: x",
            "[ 2.1] CPU: 0",
        ];
        assert_eq!(console_splat(&lines).unwrap().len(), 2);
        assert_eq!(console_splat(&lines[..1]), None);
    }
}
