// SPDX-License-Identifier: GPL-2.0
//! The mount's file `hold`, and actors who come to the points that it names.

use super::env::Env;
use super::{test, Test};
use crate::buf::stamped;
use crate::fs::{open_buffered, open_direct, Mounted, DISK, MNT};
use anyhow::{anyhow, ensure, Context, Result};
use notblk_protocol::Driver;
use rustix::io::Errno;
use rustix::mount::{unmount, UnmountFlags};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// On a small filesystem, and for our driver only.
pub(super) fn small(name: &str, run: fn(&Env) -> Result<()>) -> Test {
    test(name, move |env| {
        env.only(Driver::Notblk)?;
        run(env)
    })
    .mib(16)
}

/// How long something may take that should happen at once.
pub(super) const SOON: Duration = Duration::from_secs(8);

/// The mount's file `hold`. Lets everything go at the end of its scope, so that a test that fails hangs nothing.
pub(super) struct Hold(pub(super) PathBuf);

/// A line of it.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) id: u64,
    pub(super) text: String,
    pub(super) passed: u64,
    pub(super) held: usize,
    pub(super) now: Vec<String>,
}

impl Hold {
    pub(super) fn new() -> Hold {
        let disk = DISK.trim_start_matches("/dev/");
        Hold(
            Path::new("/sys/kernel/debug/notblk")
                .join(disk)
                .join("hold"),
        )
    }

    pub(super) fn command(&self, command: &str) -> io::Result<()> {
        fs::write(&self.0, command)
    }

    pub(super) fn text(&self) -> Result<String> {
        fs::read_to_string(&self.0).context("read hold")
    }

    /// Makes a rule, and answers its number.
    pub(super) fn rule(&self, filters: &str) -> Result<u64> {
        let command = format!("hold {filters}");
        self.command(&command).context(command)?;
        Ok(self.lines()?.last().context("no rule")?.id)
    }

    pub(super) fn lines(&self) -> Result<Vec<Line>> {
        let text = self.text()?;
        let rules = text.lines().filter(|line| !line.starts_with("inflight "));
        rules
            .map(|line| Line::parse(line).with_context(|| line.to_owned()))
            .collect()
    }

    pub(super) fn line(&self, id: u64) -> Result<Line> {
        let mut lines = self.lines()?.into_iter();
        lines
            .find(|line| line.id == id)
            .with_context(|| format!("no rule {id}"))
    }

    pub(super) fn inflight(&self) -> Result<i64> {
        let text = self.text()?;
        let last = text.lines().last().context("empty")?;
        Ok(last
            .strip_prefix("inflight ")
            .context("no inflight")?
            .parse()?)
    }

    /// Waits until a rule holds so many.
    pub(super) fn await_held(&self, id: u64, count: usize) -> Result<Line> {
        let begun = Instant::now();
        loop {
            let line = self.line(id)?;
            if line.held == count {
                return Ok(line);
            }
            ensure!(
                begun.elapsed() < SOON,
                "waited for {count} held: {}",
                self.text()?
            );
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let _ = self.command("clear");
    }
}

impl Line {
    pub(super) fn parse(line: &str) -> Option<Line> {
        let (front, now) = line.strip_suffix(']')?.split_once(" now=[")?;
        let field = |key: &str| {
            let mut words = front.split(' ');
            words.find_map(|word| word.strip_prefix(key)?.parse().ok())
        };
        let (id, _) = front.split_once(' ')?;
        Some(Line {
            id: id.parse().ok()?,
            text: line.to_owned(),
            passed: field("passed=")?,
            held: field("held=")? as usize,
            now: now.split_whitespace().map(str::to_owned).collect(),
        })
    }
}

/// This thread's number.
pub(super) fn tid() -> Result<u32> {
    let link = fs::read_link("/proc/thread-self")?;
    let name = link.file_name().context("a thread's name")?;
    Ok(name.to_string_lossy().parse()?)
}

/// A thread that waits for its cue, so that a rule can name it before it begins.
pub(super) struct Actor<T> {
    pub(super) tid: u32,
    go: Sender<()>,
    pub(super) thread: JoinHandle<Result<T>>,
}

impl<T: Send + 'static> Actor<T> {
    pub(super) fn new(run: impl FnOnce() -> Result<T> + Send + 'static) -> Result<Actor<T>> {
        let (go, cue) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || {
            tell.send(tid()?)?;
            cue.recv()?;
            run()
        });
        Ok(Actor {
            tid: told.recv().context("the actor died")?,
            go,
            thread,
        })
    }

    pub(super) fn begin(&self) {
        let _ = self.go.send(());
    }

    pub(super) fn end(self) -> Result<T> {
        let begun = Instant::now();
        while !self.thread.is_finished() {
            ensure!(begun.elapsed() < SOON, "an actor does not end");
            thread::sleep(Duration::from_millis(2));
        }
        self.thread
            .join()
            .map_err(|_| anyhow!("an actor panicked"))?
    }

    /// Where the kernel has it wait.
    pub(super) fn waits_in(&self) -> Result<String> {
        Ok(fs::read_to_string(format!(
            "/proc/self/task/{}/wchan",
            self.tid
        ))?)
    }

    /// Waits until it waits there.
    pub(super) fn await_in(&self, function: &str) -> Result<()> {
        let begun = Instant::now();
        loop {
            let found = self.waits_in()?;
            if found == function {
                return Ok(());
            }
            ensure!(
                begun.elapsed() < SOON,
                "it waits in {found}, not in {function}"
            );
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Unmounts, soon: the kernel closes the file of a request behind our back when that is done.
pub(super) fn end(mounted: Mounted) -> Result<()> {
    let begun = Instant::now();
    loop {
        match unmount(MNT, UnmountFlags::empty()) {
            Ok(()) => break,
            Err(Errno::BUSY) if begun.elapsed() < SOON => thread::sleep(Duration::from_millis(2)),
            Err(error) => return Err(error).context("umount"),
        }
    }
    std::mem::forget(mounted);
    Ok(())
}

/// A file of `blocks` blocks, on disk and out of the cache, of which those named are holes.
pub(super) fn lay_out(env: &Env, name: &str, blocks: u64, holes: &[u64]) -> Result<PathBuf> {
    let path = env.path(name);
    let file = open_buffered(&path)?;
    let block = env.block();
    file.set_len(blocks * block)?;
    for number in (0..blocks).filter(|number| !holes.contains(number)) {
        file.write_all_at(&stamped(block, 1000 + number), number * block)?;
    }
    file.sync_all()?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(path)
}

/// An actor that writes directly.
pub(super) fn writer(path: &Path, offset: u64, length: u64, word: u64) -> Result<Actor<usize>> {
    let path = path.to_owned();
    Actor::new(move || Ok(open_direct(path)?.write_at(&stamped(length, word), offset)?))
}
