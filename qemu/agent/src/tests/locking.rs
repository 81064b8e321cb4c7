// SPDX-License-Identifier: GPL-2.0
//! How a direct write holds `i_rwsem`, by who can come to `dio.locked` beside it: that point is behind the lock.

use super::env::Env;
use super::held::{end, lay_out, small, tid, Actor, Hold, SOON};
use super::xattr::CAPABILITY;
use super::Test;
use crate::attributes::set;
use crate::buf::{stamped, Buffer};
use crate::fs::{open_buffered, open_direct};
use crate::sys::Aio;
use anyhow::{bail, ensure, Context, Result};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        small("locking/shared", shared),
        small("locking/exclusive", exclusive),
        small("locking/decided-anew", decided_anew),
        small("locking/zeroing-drains", zeroing_drains),
        small("locking/extending-waits", extending_waits),
    ]
}

/// For how long somebody who waits for a lock is watched.
const A_WHILE: Duration = Duration::from_millis(300);

/// Blocks of a file here. The first is a hole.
const BLOCKS: u64 = 8;

/// A direct access: bytes from its beginning.
#[derive(Debug, Clone, Copy)]
enum Access {
    Read(u64, u64),
    Write(u64, u64),
}

impl Access {
    fn run(self, path: &Path) -> Result<()> {
        let file = open_direct(path)?;
        match self {
            Access::Read(at, length) => {
                Ok(file.read_exact_at(&mut Buffer::new(length as usize), at)?)
            }
            Access::Write(at, length) => Ok(file.write_all_at(&stamped(length, 7), at)?),
        }
    }

    /// A thread that does it when it is told to.
    fn actor(self, path: &Path) -> Result<Actor<()>> {
        let path = path.to_owned();
        Actor::new(move || self.run(&path))
    }
}

/// Somebody at `dio.locked`, with the lock.
struct Parked {
    actor: Actor<()>,
    rule: u64,
}

impl Parked {
    /// Comes there.
    fn new(hold: &Hold, path: &Path, access: Access) -> Result<Parked> {
        let actor = access.actor(path)?;
        let rule = hold.rule(&format!("dio.locked owner={} deadline=60000", actor.tid))?;
        actor.begin();
        hold.await_held(rule, 1)
            .with_context(|| format!("{access:?} to get its lock"))?;
        Ok(Parked { actor, rule })
    }

    /// Is let go. Who falls back wants the lock again, so the end may need others to go on too.
    fn release(&self, hold: &Hold) -> Result<()> {
        Ok(hold.command(&format!("drop {}", self.rule))?)
    }
}

/// Aligned overwrites, unaligned ones of blocks that are there, and reads hold it together.
fn shared(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let hold = Hold::new();
    let path = lay_out(env, "file", BLOCKS, &[0])?;
    let company = [
        Access::Write(2 * block, block),
        // Whatever the mapping is: this one will fall back.
        Access::Write(0, 2 * block),
        Access::Write(3 * block + 512, 512),
        Access::Write(4 * block + 512, block),
        Access::Read(5 * block, block),
    ];
    for first in company {
        let parked = Parked::new(&hold, &path, first)?;
        let others: Vec<_> = company
            .iter()
            .map(|&other| {
                Parked::new(&hold, &path, other).with_context(|| format!("beside {first:?}"))
            })
            .collect::<Result<_>>()?;
        hold.command("clear")?;
        for one in others.into_iter().chain([parked]) {
            one.actor.end()?;
        }
        // The hole again.
        fs::remove_file(&path)?;
        lay_out(env, "file", BLOCKS, &[0])?;
    }
    drop(hold);
    end(mounted)
}

/// A write that extends its file, one that zeroes the rest of a block, one that drops capabilities: each has it for itself.
fn exclusive(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let hold = Hold::new();
    let alone = [
        ("extends", Access::Write(BLOCKS * block, block), false),
        (
            "reaches over the end",
            Access::Write((BLOCKS - 1) * block, 2 * block),
            false,
        ),
        ("zeroes before it", Access::Write(512, block - 512), false),
        ("zeroes behind it", Access::Write(0, 512), false),
        ("drops capabilities", Access::Write(2 * block, block), true),
    ];
    let others = [
        Access::Write(3 * block, block),
        Access::Read(3 * block, block),
    ];
    for (number, (why, access, capable)) in alone.into_iter().enumerate() {
        for (turn, other) in others.into_iter().enumerate() {
            let what = format!("{other:?} beside a write that {why}");
            let path = lay_out(env, &format!("file-{number}-{turn}"), BLOCKS, &[0])?;
            if capable {
                set(&path, "security.capability", &CAPABILITY)?;
            }
            let parked = Parked::new(&hold, &path, access)?;
            waits_for(&hold, parked, &path, other).context(what)?;
        }
    }
    drop(hold);
    end(mounted)
}

/// Asks that `other` gets the lock when `parked` has let it go, and not before.
fn waits_for(hold: &Hold, parked: Parked, path: &Path, other: Access) -> Result<()> {
    let other = other.actor(path)?;
    let rule = hold.rule(&format!("dio.locked owner={}", other.tid))?;
    other.begin();
    thread::sleep(A_WHILE);
    ensure!(hold.line(rule)?.held == 0, "it got the lock as well");
    ensure!(!other.thread.is_finished(), "it ended without the lock");
    parked.release(hold)?;
    hold.await_held(rule, 1)?;
    hold.command(&format!("drop {rule}"))?;
    parked.actor.end()?;
    other.end()
}

/// A write that lay inside the file when it was looked at without the lock, and extends it when it has the lock: what counts
/// is what is true under the lock.
fn decided_anew(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let hold = Hold::new();
    let path = lay_out(env, "file", BLOCKS, &[])?;
    let shortened = path.clone();
    let shortens = Actor::new(move || Ok(open_buffered(shortened)?.set_len(2 * block)?))?;
    let begins = hold.rule(&format!("truncate.begin owner={}", shortens.tid))?;
    shortens.begin();
    hold.await_held(begins, 1)?;
    let late = Access::Write(6 * block, block).actor(&path)?;
    let locked = hold.rule(&format!("dio.locked owner={} deadline=60000", late.tid))?;
    late.begin();
    thread::sleep(A_WHILE);
    hold.command(&format!("drop {begins}"))?;
    shortens.end()?;
    hold.await_held(locked, 1)?;
    let parked = Parked {
        actor: late,
        rule: locked,
    };
    waits_for(&hold, parked, &path, Access::Write(block, block))?;
    let data = fs::read(&path)?;
    ensure!(data.len() as u64 == 7 * block, "{} bytes", data.len());
    let hole = &data[2 * block as usize..6 * block as usize];
    ensure!(hole.iter().all(|&byte| byte == 0), "old data in between");
    ensure!(data[6 * block as usize..] == stamped(block, 7)[..], "lost");
    drop(hold);
    end(mounted)
}

/// Before the rest of a block is zeroed, direct I/O in flight comes to an end: also where the fallback, which follows, does
/// not drain.
fn zeroing_drains(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("drain=off")?;
    let hold = Hold::new();
    let path = lay_out(env, "file", BLOCKS, &[0])?;
    let file = open_direct(&path)?;
    let mut aio = Aio::new(1, block as usize)?;
    let complete = hold.rule(&format!("dio.complete owner={}", tid()?))?;
    aio.write(0, &file, 2 * block)?;
    hold.await_held(complete, 1)?;
    let zeroes = Access::Write(512, 512).actor(&path)?;
    let locked = hold.rule(&format!("dio.locked owner={}", zeroes.tid))?;
    zeroes.begin();
    zeroes.await_in("inode_dio_wait")?;
    ensure!(hold.line(locked)?.held == 0, "it went on");
    hold.command(&format!("drop {complete}"))?;
    ensure!(aio.wait(1)?[0].result == block as i64, "the write before");
    hold.await_held(locked, 1)?;
    hold.command(&format!("drop {locked}"))?;
    zeroes.end()?;
    drop((hold, aio, file));
    end(mounted)
}

/// An asynchronous write is waited for where it extends its file, and there alone; until its data is there the size is the old
/// one, and then the new one.
fn extending_waits(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let hold = Hold::new();
    let path = lay_out(env, "file", BLOCKS, &[])?;
    let size = || Ok::<_, anyhow::Error>(fs::metadata(&path)?.len());
    let (inside, _) = submit(&hold, &path, block, block)?;
    ensure!(inside, "a write inside the file is waited for");
    ensure!(size()? == BLOCKS * block, "{} bytes", size()?);
    let (extending, before) = submit(&hold, &path, BLOCKS * block, block)?;
    ensure!(
        !extending,
        "a write that extends the file is not waited for"
    );
    ensure!(before == BLOCKS * block, "{before} bytes before the data");
    ensure!(size()? == (BLOCKS + 1) * block, "{} bytes", size()?);
    let data = fs::read(&path)?;
    ensure!(
        data[BLOCKS as usize * block as usize..] == stamped(block, 7)[..],
        "lost"
    );
    drop(hold);
    end(mounted)
}

/// Writes asynchronously, with its bio held before it completes: whether `io_submit` returned meanwhile, and the file's size.
fn submit(hold: &Hold, path: &Path, at: u64, block: u64) -> Result<(bool, u64)> {
    let returned = Arc::new(AtomicBool::new(false));
    let (file, told): (PathBuf, _) = (path.to_owned(), returned.clone());
    let actor = Actor::new(move || {
        let file = open_direct(file)?;
        let mut aio = Aio::new(1, block as usize)?;
        aio.buffer(0)
            .context("busy")?
            .copy_from_slice(&stamped(block, 7));
        aio.write(0, &file, at)?;
        told.store(true, SeqCst);
        let ended = aio.wait(1)?;
        match ended[..] {
            [ref one] if one.result == block as i64 => Ok(()),
            _ => bail!(
                "{} ended, the first with {:?}",
                ended.len(),
                ended.first().map(|one| one.result)
            ),
        }
    })?;
    let rule = hold.rule(&format!("dio.complete owner={} deadline=60000", actor.tid))?;
    actor.begin();
    hold.await_held(rule, 1)?;
    // Where it is not waited for it returns now.
    let begun = Instant::now();
    let watched = if at < fs::metadata(path)?.len() {
        SOON
    } else {
        A_WHILE
    };
    while !returned.load(SeqCst) && begun.elapsed() < watched {
        thread::sleep(Duration::from_millis(2));
    }
    let size = fs::metadata(path)?.len();
    let did = returned.load(SeqCst);
    hold.command(&format!("drop {rule}"))?;
    actor.end()?;
    Ok((did, size))
}
