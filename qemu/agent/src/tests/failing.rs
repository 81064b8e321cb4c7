// SPDX-License-Identifier: GPL-2.0
//! Everything at once, on a disk that is full, or that fails.
//!
//! The operations are those of `compare`, by a seed; beside them a thread writes directly and through the page cache, and every
//! few operations a file is made to be kept: it is there, whole, as soon as `fsync` has said so.

use super::env::Env;
use super::over::Over;
use super::{test, Test};
use crate::buf::{Buffer, Random};
use crate::compare::Workload;
use crate::fs::{open_buffered, open_direct, tool, tool_code, DISK, MNT};
use crate::sys;
use anyhow::{ensure, Context, Result};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Operations on a disk that is full.
const ON_FULL: u64 = 6000;
/// Operations before a disk fails, at least; as many more at most.
const BEFORE: u64 = 300;
/// While it fails.
const WHILE: u64 = 1200;
/// After it has healed.
const AFTER: u64 = 200;
/// Turns of e2fsck until it finds nothing more.
const REPAIRS: u32 = 4;
/// From one file that is kept to the next.
const KEPT: u64 = 10;
/// Bytes that are free when the operations on a full disk begin.
const LEFT: u64 = 512 << 10;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = vec![
        test("failing/full-4k", full).mib(32),
        test("failing/full-1k", full).mib(32).block(1024),
    ];
    for turn in 0..3 {
        let writes = move |env: &Env| fails(env, turn, "flakey", "0 1 1 error_writes");
        tests.push(test(&format!("failing/writes-{turn}"), writes).damages());
        let all = move |env: &Env| fails(env, turn, "error", "");
        tests.push(test(&format!("failing/disk-{turn}"), all).damages());
    }
    tests
}

/// Files that are kept, and what is in them.
struct Kept {
    random: Random,
    files: Vec<(String, Vec<u8>)>,
}

impl Kept {
    fn new(seed: u64) -> Result<Kept> {
        fs::create_dir(place(""))?;
        rustix::fs::sync();
        Ok(Kept {
            random: Random(seed),
            files: Vec::new(),
        })
    }

    /// One more, if it can be had. The file is recorded as soon as all calls have succeeded.
    fn more(&mut self) -> io::Result<()> {
        let mut data = Buffer::new(512 * (1 + self.random.below(150)) as usize);
        self.random.fill(&mut data);
        let name = format!("{}", self.random.next());
        let open = match self.random.below(2) {
            0 => open_direct(place(&name)),
            _ => open_buffered(place(&name)),
        };
        let file = open.map_err(|error| match error.downcast::<io::Error>() {
            Ok(error) => error,
            Err(error) => io::Error::other(error),
        })?;
        file.write_all_at(&data, 0)?;
        file.sync_all()?;
        File::open(place(""))?.sync_all()?;
        self.files.push((name, data.to_vec()));
        Ok(())
    }

    /// Asks that all are there.
    fn check(&self) -> Result<()> {
        for (name, data) in &self.files {
            let found = fs::read(place(name)).with_context(|| format!("kept file {name}"))?;
            ensure!(
                found == *data,
                "kept file {name}: {}",
                super::direct::difference(&found, data).unwrap_or_default()
            );
        }
        Ok(())
    }
}

fn place(name: &str) -> String {
    format!("{MNT}/kept/{name}")
}

/// A thread that writes without end, whatever comes of it.
struct Busy {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Busy {
    fn new(seed: u64) -> Busy {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut random = Random(seed);
            while !seen.load(Ordering::Relaxed) {
                if write_somewhere(&mut random).is_err() {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        });
        Busy { stop, thread }
    }

    fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        ended.map_err(|_| anyhow::anyhow!("the writing thread died"))
    }
}

/// A few writes to one file, of which some make it longer and some shorter.
fn write_somewhere(random: &mut Random) -> Result<()> {
    let path = Path::new(MNT).join("busy");
    let file = match random.below(2) {
        0 => open_direct(&path)?,
        _ => open_buffered(&path)?,
    };
    for _ in 0..4 {
        let mut data = Buffer::new(4096 * (1 + random.below(16)) as usize);
        random.fill(&mut data);
        file.write_at(&data, 4096 * random.below(100))?;
    }
    match random.below(4) {
        0 => file.set_len(random.below(400_000))?,
        1 => file.sync_all()?,
        _ => {}
    }
    Ok(())
}

/// No space, again and again: afterwards the filesystem is clean, and nothing is lost that was there.
fn full(env: &Env) -> Result<()> {
    let seed = env.seed ^ env.block();
    let driver = env.driver().name();
    let mut work = Workload::new(driver, DISK, MNT, seed, env.image.block_size)?;
    let outcome = on_full(env, seed, &mut work);
    let text = work.text();
    work.end()
        .and(outcome)
        .with_context(|| format!("seed {seed}: {text}"))?;
    env.note(format!("seed {seed}: {text}"));
    Ok(())
}

fn on_full(env: &Env, seed: u64, work: &mut Workload) -> Result<()> {
    let mut kept = Kept::new(seed)?;
    for _ in 0..20 {
        kept.more()?;
    }
    let stat = rustix::fs::statvfs(MNT)?;
    let ballast = open_buffered(Path::new(MNT).join("ballast"))?;
    let piece = vec![7; 1 << 16];
    let mut left = stat.f_bfree * stat.f_frsize;
    let mut at = 0;
    while left > LEFT + piece.len() as u64 {
        ballast.write_all_at(&piece, at)?;
        at += piece.len() as u64;
        left -= piece.len() as u64;
    }
    ballast.sync_all()?;
    drop(ballast);
    let busy = Busy::new(seed);
    for number in 0..ON_FULL {
        work.step();
        if number % 50 == 0 {
            // It may be that there is no space for it.
            let _ = kept.more();
            env.guest.host.progress(number, ON_FULL)?;
        }
    }
    busy.end()?;
    kept.check()?;
    ensure!(work.full() >= 50, "there was space: {}", work.full());
    Ok(())
}

/// The disk fails from some moment on, and heals: errors for those who ask for something, and after e2fsck all is there that was
/// on the disk before.
fn fails(env: &Env, turn: u64, kind: &str, parameters: &str) -> Result<()> {
    let seed = env.seed.wrapping_add(turn);
    let disk = Over::new(env, "dm_flakey")?;
    // Each failure is a line of the log.
    sys::console_level(2)?;
    let outcome = failing(env, seed, &disk, kind, parameters);
    sys::console_level(7)?;
    drop(disk);
    let (kept, text) = outcome.with_context(|| format!("seed {seed}"))?;
    env.note(format!(
        "seed {seed}: {text}; {} files kept",
        kept.files.len()
    ));

    // What was half written may take e2fsck more than one turn.
    let mut said = String::new();
    for _ in 0..REPAIRS {
        let (code, text) = tool_code("e2fsck", &["-fy", DISK])?;
        ensure!(
            code <= 1,
            "seed {seed}: e2fsck -fy ended with {code}: {text}"
        );
        said.push_str(&text);
        if code == 0 {
            break;
        }
    }
    tool("e2fsck", &["-fn", DISK]).with_context(|| format!("seed {seed}, {said}"))?;
    let mounted = env.mount("")?;
    kept.check()
        .with_context(|| format!("seed {seed}, {said}"))?;
    mounted.end()
}

/// Until it is unmounted again.
fn failing(
    env: &Env,
    seed: u64,
    disk: &Over,
    kind: &str,
    parameters: &str,
) -> Result<(Kept, String)> {
    let path: &'static str = Box::leak(disk.path().into_boxed_str());
    let driver = env.driver().name();
    let mut work = Workload::new(driver, path, MNT, seed, env.image.block_size)?;
    let mut kept = Kept::new(seed)?;
    let busy = Busy::new(seed);
    let moment = BEFORE + Random(seed).below(BEFORE);
    for number in 0..moment + WHILE + AFTER {
        if number == moment {
            // What is in memory alone from now on is to be lost.
            work.drops_caches = false;
            disk.turn_into(kind, parameters)?;
        }
        if number == moment + WHILE {
            disk.pass()?;
        }
        work.step();
        if number % KEPT == 0 && number < moment {
            kept.more().context("a file to be kept")?;
        } else if number % KEPT == 0 && number < moment + WHILE {
            let count = kept.files.len();
            ensure!(
                kept.more().is_err() && kept.files.len() == count,
                "fsync says that a disk has what it refuses"
            );
        }
        if number % 50 == 0 {
            env.guest.host.progress(number, moment + WHILE + AFTER)?;
        }
    }
    busy.end()?;
    let text = work.text();
    work.end().with_context(|| text.clone())?;
    Ok((kept, text))
}
