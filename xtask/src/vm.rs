// SPDX-License-Identifier: GPL-2.0

//! One boot of the guest, from QEMU's start to a judged end.
//!
//! QEMU runs in the toolbox, in a process group of its own. Disks and initramfs have no names and are handed over as
//! open files: nothing is left behind, however this ends. The agent reports over a socket of ours; what it says is the
//! only evidence of success. Three clocks run: one until the agent speaks, one for each step that it announces, one for
//! the whole boot; an [`Observer`] may have more. A guest whose time is up is asked what it waits for before it is ended.
//!
//! Several threads may each run a guest. QEMU dies with the thread that started it, which is the one that waits for it.

mod accel;
mod console;
mod devices;
mod qemu;
mod running;
mod sysrq;
mod watch;

use std::fs::File;
use std::io::{BufRead, BufReader, PipeWriter, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use notblk_protocol::{Event, Job, VERSION};

pub use accel::Accel;
pub use devices::{Backing, Drive, Share};

use crate::context::Ctx;
use crate::errors::{Code, Exit};
use crate::interrupt;
use crate::kernel::Kernel;
use crate::toolbox::Toolbox;
use crate::ui::Step;
use console::Console;
use running::Running;
use watch::Watch;

/// How often the clocks are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long QEMU may take to end after the agent's last word.
const POWER_OFF: Duration = Duration::from_secs(20);

/// A guest to boot.
pub struct Machine<'a> {
    /// Has QEMU.
    pub toolbox: &'a Toolbox,
    /// What it boots.
    pub kernel: &'a Kernel,
    /// Its initramfs.
    pub initramfs: &'a [u8],
    /// What the log of its console is called; guests that run at the same time must differ in it.
    pub name: &'a str,
    /// Where the log of its console is, if not among the cache's logs. A file that is there is replaced.
    pub log: Option<PathBuf>,
    /// What runs it.
    pub accel: Accel,
    /// More words for its kernel's command line.
    pub cmdline: &'a str,
    /// Memory in MiB.
    pub memory: u32,
    /// Its disks, in the order of their names there: vda, vdb, ...
    pub drives: Vec<Drive>,
    /// Directories of the host that it may read.
    pub shares: Vec<Share>,
    /// Number of CPUs.
    pub cpus: u32,
    /// The guest's clock goes on by a nanosecond with each instruction. For one CPU, and TCG.
    pub counted: bool,
    /// The whole boot may take so long.
    pub limit: Option<Duration>,
    /// The terminal is the guest's serial console.
    pub interactive: bool,
}

/// What the console of a guest may say, in bytes. One that says more says one thing for ever, and would fill the host's disk.
const CONSOLE: u64 = 256 << 20;

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
    /// Its observer had seen enough.
    Stopped,
}

/// Whether a guest goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    Go,
    /// It is ended now: [`End::Stopped`].
    Stop,
}

/// Sees what the agent says, as it comes, and may have clocks of its own.
///
/// A closure that takes an event and returns a `Result<()>` is one that never stops the guest.
pub trait Observer {
    /// The agent said this. An error ends the guest, and the run of it.
    fn event(&mut self, event: &Event) -> Result<Flow>;

    /// True where the guest should be ended for a reason that it has no part in: [`End::Stopped`]. Asked as often as the next.
    fn stops(&mut self) -> bool {
        false
    }

    /// What has taken too long, if something has: then the guest hangs, [`End::Hung`]. Asked ten times a second, and after
    /// each event.
    fn late(&mut self) -> Option<String> {
        None
    }
}

impl<F: FnMut(&Event) -> Result<()>> Observer for F {
    fn event(&mut self, event: &Event) -> Result<Flow> {
        self(event).map(|()| Flow::Go)
    }
}

/// What a boot gave, apart from the events that its caller has seen.
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Kernel splats: those that the agent sent, or the console's if it could not.
    pub splats: Vec<Vec<String>>,
    /// The last lines of the console, without the dump.
    pub console: Vec<String>,
    /// What the kernel of a guest that hangs said about its tasks and processors when it was asked. Empty where it was deaf.
    pub dump: Vec<String>,
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
        let ending = self.ending();
        if let Some((line, _)) = &ending {
            if matches!(self.end, End::Died | End::Hung(_)) {
                ctx.ui
                    .print(&format!("the end of its console ({}):", self.log.display()));
                self.console
                    .iter()
                    .for_each(|line| ctx.ui.print(&format!("    {line}")));
            }
            ctx.ui.print(&format!("error: {line}"));
        }
        self.complaint().map(|(_, code)| code)
    }

    /// What is to be said against it, in one line, and as an exit code.
    pub fn complaint(&self) -> Option<(String, Code)> {
        // A splat explains a death, and a hang as well.
        match self.splats.first() {
            Some(lines) => Some((lines.first().cloned().unwrap_or_default(), Code::SPLAT)),
            None => self.ending(),
        }
    }

    /// How it ended, where that was not well.
    fn ending(&self) -> Option<(String, Code)> {
        match &self.end {
            End::Done | End::Stopped => None,
            End::Broken(text) => Some((format!("the guest's agent failed: {text}"), Code::HOST)),
            End::Died => {
                let line = "the guest ended before its job was done";
                Some((line.to_owned(), Code::HOST))
            }
            End::Hung(step) => Some((format!("the guest hangs: {step}"), Code::HANG)),
        }
    }
}

/// Boots the guest, gives it the job, and shows each event to `observer` as it comes.
pub fn run(
    ctx: &Ctx,
    machine: &Machine,
    job: &Job,
    step: Option<&Step>,
    observer: &mut dyn Observer,
) -> Result<Outcome> {
    interrupt::check()?;
    let mut console = match &machine.log {
        Some(path) => Console::at(path.clone())?,
        None => Console::among(&ctx.cache.logs(), machine.name)?,
    };
    let log = console.path.clone();
    let started = Instant::now();
    let (mut running, agent, mut keys) = start(ctx, machine, &console.file)?;

    let lines = follow(agent.try_clone()?);
    let mut watch = Watch::new(machine.limit, machine.accel, machine.kernel.slowness()?);
    let mut splats = Vec::new();
    let end = loop {
        interrupt::check()?;
        if observer.stops() {
            break End::Stopped;
        }
        if !machine.interactive && sysrq::length(&log) > CONSOLE {
            break End::Hung(format!("its console has said {} MiB", CONSOLE >> 20));
        }
        // What has been said already is heard first: it may have been we who were not there to listen.
        let line = match lines.recv_timeout(TICK) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => match watch.late().or_else(|| observer.late()) {
                Some(late) => break End::Hung(late),
                None => continue,
            },
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
                (&agent)
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
        if observer.event(&event)? == Flow::Stop {
            break End::Stopped;
        }
        if event == Event::Done {
            break End::Done;
        }
        if let Some(late) = observer.late() {
            break End::Hung(late);
        }
    };
    // The console before it is asked anything: the answer tells of traces, which are no splats, at length.
    let said = sysrq::length(&log);
    let mut dump = Vec::new();
    match (&end, &mut keys) {
        (End::Hung(_), Some(keys)) => {
            if let Some(step) = step {
                step.now("it hangs; asking its kernel what it waits for");
            }
            dump = sysrq::ask(keys, &log)?;
        }
        (End::Hung(_) | End::Stopped, _) => {}
        _ => await_power_off(&mut running, &lines, &mut splats)?,
    }
    running.end();

    let until = match &end {
        End::Hung(_) => said,
        _ => u64::MAX,
    };
    let (splat, tail) = console::look_at(&log, until);
    if matches!(end, End::Hung(_) | End::Died) {
        console.keep();
    }
    if splats.is_empty() && !matches!(end, End::Done | End::Stopped) {
        splats.extend(splat);
    }
    Ok(Outcome {
        end,
        splats,
        console: tail,
        dump,
        log: console.path,
        boot_time: watch
            .ready
            .map_or(started.elapsed(), |ready| ready - started),
    })
}

/// Starts QEMU; returns it with the agent's socket and what types into its console.
fn start(
    ctx: &Ctx,
    machine: &Machine,
    console: &File,
) -> Result<(Running, UnixStream, Option<PipeWriter>)> {
    /// Files are handed over by letting every child inherit them. So only one guest starts at a time: its agent's socket
    /// in another's QEMU would keep its death from being seen.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(|poison| poison.into_inner());
    let (ours, theirs) = UnixStream::pair().context("cannot make a socket")?;
    let mut qemu = qemu::command(machine, &theirs, console, &ctx.cache.root)?;
    let running = Running::start(&mut qemu.command, machine.interactive)?;
    // QEMU holds its own ends now; with ours closed, its death is seen as the end of the stream.
    let keys = qemu.keys.take();
    Ok((running, ours, keys))
}

/// Reads what is still on its way while QEMU ends, so that a splat during the last moments counts.
fn await_power_off(
    running: &mut Running,
    lines: &Receiver<String>,
    splats: &mut Vec<Vec<String>>,
) -> Result<()> {
    let patience = Instant::now() + POWER_OFF;
    while !running.has_ended()? && Instant::now() < patience {
        interrupt::check()?;
        match lines.recv_timeout(TICK) {
            Ok(line) => {
                if let Ok(Event::Splat { lines }) = serde_json::from_str(&line) {
                    splats.push(lines);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            // Nothing to wait for but the process's end, which is near.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TICK / 10),
        }
    }
    Ok(())
}

/// Reads lines from the agent in a thread of its own.
fn follow(stream: UnixStream) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        loop {
            let mut line = Vec::new();
            // A guest that dies in the middle of a line has not said it.
            match stream.read_until(b'\n', &mut line) {
                Ok(_) if line.ends_with(b"\n") => {}
                _ => break,
            }
            let line = String::from_utf8_lossy(&line).into_owned();
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}
