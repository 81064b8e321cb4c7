// SPDX-License-Identifier: GPL-2.0
//! Hold points: what is parked where, and that nothing can keep it.

use super::env::{errno, fails, Env, Skip};
use super::held::{end, lay_out, small, tid, writer, Actor, Hold, SOON};
use super::Test;
use crate::buf::{stamp, stamped, Buffer, Random};
use crate::fs::{open_buffered, open_direct, MNT};
use crate::modules;
use crate::sys::{self, ioctl, Aio, Mapping};
use anyhow::{anyhow, bail, ensure, Context, Result};
use rustix::fs::FallocateFlags;
use rustix::mount::{mount, unmount, MountFlags, UnmountFlags};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        small("hold/seed-drain-off", seed_drain_off),
        small("hold/seed-drain-on", seed_drain_on),
        small("hold/every-point", every_point),
        small("hold/filters", filters),
        small("hold/second-bio", second_bio),
        small("hold/read", read),
        small("hold/one-by-one", one_by_one),
        small("hold/deadline", deadline),
        small("hold/killed", killed),
        small("hold/freeze", freeze),
        small("hold/unmount", unmounting),
        small("hold/shutdown-sync", |env| shutdown(env, 0)).damages(),
        small("hold/shutdown-at-once", |env| shutdown(env, 2)).damages(),
        small("hold/module", module),
        small("hold/refused", refused),
        small("hold/uring", uring),
        small("hold/random", random),
        small("hold/events", events),
    ]
}

/// The mail's order of events, made by nothing but hold points.
fn seed_drain_off(env: &Env) -> Result<()> {
    let mounted = env.mount("drain=off")?;
    let hold = Hold::new();
    for round in 0..20 {
        seed(env, &hold, &format!("file-{round}"))?;
    }
    end(mounted)
}

/// The story itself, on a file of this name.
fn seed(env: &Env, hold: &Hold, name: &str) -> Result<()> {
    let block = env.block();
    let path = lay_out(env, name, 2, &[0])?;
    let judge = open_buffered(&path)?;
    let file = open_direct(&path)?;
    let mut aio = Aio::new(1, block as usize)?;
    let b = writer(&path, 0, 2 * block, 7)?;
    let completes = hold.rule(&format!("dio.complete owner={}", tid()?))?;
    let dirtied = hold.rule(&format!("fallback.dirtied owner={}", b.tid))?;
    aio.write(0, &file, block)?;
    let line = hold.await_held(completes, 1)?;
    ensure!(
        line.now == [format!("bio:{block}+{block}")],
        "held: {}",
        line.text
    );
    b.begin();
    let line = hold.await_held(dirtied, 1)?;
    ensure!(
        line.now == [format!("task:{}", b.tid)],
        "held: {}",
        line.text
    );
    b.await_in("notblk_hold_wait")?;
    hold.command(&format!("release {completes}"))?;
    let ended = aio.wait(1)?;
    ensure!(
        ended[0].result == block as i64,
        "A's write gave {}",
        ended[0].result
    );
    hold.command(&format!("release {dirtied}"))?;
    ensure!(b.end()? as u64 == 2 * block, "B's write was short");
    for file in [&judge, &file] {
        fails(file.sync_all(), libc::EIO, "fsync after the race")?;
        file.sync_all().context("fsync tells it once")?;
    }
    hold.command("clear")?;
    Ok(())
}

/// With the drain, B waits for A's bio, wherever that is held, and all is well.
fn seed_drain_on(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("drain=on")?;
    let hold = Hold::new();
    for point in ["dio.complete", "dio.submit"] {
        let path = lay_out(env, point, 2, &[0])?;
        let judge = open_buffered(&path)?;
        let file = open_direct(&path)?;
        let mut aio = Aio::new(1, block as usize)?;
        let b = writer(&path, 0, 2 * block, 7)?;
        let completes = hold.rule(&format!("{point} owner={}", tid()?))?;
        let dirtied = hold.rule(&format!("fallback.dirtied owner={}", b.tid))?;
        aio.write(0, &file, block)?;
        hold.await_held(completes, 1)?;
        ensure!(hold.inflight()? == 0, "in flight: {}", hold.inflight()?);
        b.begin();
        b.await_in("inode_dio_wait")?;
        thread::sleep(Duration::from_millis(200));
        ensure!(
            b.waits_in()? == "inode_dio_wait",
            "B went on to {}",
            b.waits_in()?
        );
        ensure!(hold.line(dirtied)?.held == 0, "B has dirtied pages");
        hold.command(&format!("release {completes}"))?;
        hold.await_held(dirtied, 1)?;
        ensure!(aio.wait(1)?[0].result == block as i64, "A's write");
        hold.command(&format!("release {dirtied}"))?;
        ensure!(b.end()? as u64 == 2 * block, "B's write was short");
        judge.sync_all().context("fsync")?;
        ensure!(
            fs::read(&path)? == stamped(2 * block, 7)[..],
            "B's data is lost"
        );
        hold.command("clear")?;
    }
    end(mounted)
}

/// What comes to a point: the file is an actor's own.
type Deed = fn(&Path, u64) -> Result<()>;

fn overwrite(path: &Path, block: u64) -> Result<()> {
    Ok(open_direct(path)?.write_all_at(&stamped(block, 3), block)?)
}

fn read_direct(path: &Path, block: u64) -> Result<()> {
    Ok(open_direct(path)?.read_exact_at(&mut Buffer::new(block as usize), block)?)
}

fn fill_hole(path: &Path, _block: u64) -> Result<()> {
    let file = open_direct(path)?;
    Ok(file.write_all_at(&stamped(4096, 3), 0)?)
}

fn write_buffered(path: &Path, _block: u64) -> Result<()> {
    Ok(open_buffered(path)?.write_all_at(&[5; 100], 7)?)
}

fn shorten(path: &Path, block: u64) -> Result<()> {
    Ok(open_buffered(path)?.set_len(3 * block)?)
}

fn shorten_by_name(path: &Path, block: u64) -> Result<()> {
    Ok(sys::truncate(&path.to_string_lossy(), 3 * block)?)
}

fn punch(path: &Path, block: u64) -> Result<()> {
    let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let file = open_buffered(path)?;
    Ok(rustix::fs::fallocate(&file, mode, block, block)?)
}

fn write_mapped(path: &Path, block: u64) -> Result<()> {
    let file = open_buffered(path)?;
    Mapping::at(&file, block, block as usize)?.write(10, b"mapped");
    Ok(())
}

fn sync(path: &Path, _block: u64) -> Result<()> {
    Ok(open_buffered(path)?.sync_all()?)
}

/// Each point is passed, and holds.
fn every_point(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let hold = Hold::new();
    let deeds: [(&str, Deed, &str); 18] = [
        ("dio.locked", overwrite, "task"),
        ("dio.locked", read_direct, "task"),
        ("dio.submit", overwrite, "bio"),
        ("dio.submit", read_direct, "bio"),
        ("dio.complete", overwrite, "bio"),
        ("dio.complete", read_direct, "bio"),
        ("fallback.begin", fill_hole, "task"),
        ("fallback.drained", fill_hole, "task"),
        ("fallback.dirtied", fill_hole, "task"),
        ("fallback.flushed", fill_hole, "task"),
        ("fallback.done", fill_hole, "task"),
        ("buffered.drained", write_buffered, "task"),
        ("truncate.begin", shorten, "task"),
        ("truncate.drained", shorten_by_name, "task"),
        ("punch.begin", punch, "task"),
        ("punch.drained", punch, "task"),
        ("fault.begin", write_mapped, "task"),
        ("fsync.begin", sync, "task"),
    ];
    for (number, (point, deed, kind)) in deeds.into_iter().enumerate() {
        let path = lay_out(env, &format!("file-{number}"), 4, &[0])?;
        let ino = fs::metadata(&path)?.ino();
        let actor = Actor::new(move || deed(&path, block))?;
        let rule = hold.rule(&format!("{point} owner={} ino={ino}", actor.tid))?;
        actor.begin();
        let line = hold
            .await_held(rule, 1)
            .with_context(|| format!("{point}, deed {number}"))?;
        let what = match kind {
            "task" => format!("task:{}", actor.tid),
            _ => format!("bio:{block}+{block}"),
        };
        ensure!(line.now == [what], "{}", line.text);
        ensure!(
            line.text.starts_with(&format!(
                "{rule} {point} owner={} ino={ino} passed=0 held=1 now=[",
                actor.tid
            )),
            "{}",
            line.text
        );
        thread::sleep(Duration::from_millis(20));
        ensure!(!actor.thread.is_finished(), "{point} let it go by itself");
        hold.command(&format!("one {rule}"))?;
        actor.end().with_context(|| format!("{point}, {number}"))?;
        let line = hold.line(rule)?;
        ensure!((line.passed, line.held) == (1, 0), "{}", line.text);
        hold.command(&format!("drop {rule}"))?;
    }
    ensure!(hold.text()? == "inflight 0\n", "left: {}", hold.text()?);
    end(mounted)
}

/// What a rule does not name goes by.
fn filters(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let hold = Hold::new();
    let path = lay_out(env, "file", 8, &[])?;
    let ino = fs::metadata(&path)?.ino();
    let me = tid()?;
    let file = open_direct(&path)?;
    let write = |number: u64| file.write_all_at(&stamped(block, number), number * block);
    for others in [
        format!("dio.locked owner={}", me + 1),
        format!("dio.locked ino={}", ino + 1),
        format!("dio.locked range=0-{}", 2 * block - 1),
        format!("dio.locked range={}-99999999999", 3 * block),
        format!("dio.submit owner={me} ino={ino} range=0-{}", block - 1),
        format!("dio.complete owner={} ino={ino}", me + 1),
        "fsync.begin".to_owned(),
    ] {
        let rule = hold.rule(&others)?;
        write(2).context(others)?;
        let line = hold.line(rule)?;
        ensure!((line.passed, line.held) == (0, 0), "{}", line.text);
    }
    hold.command("clear")?;
    // The last byte of one range, the first of the other.
    for range in [
        format!("{}-{}", 3 * block - 1, 5 * block),
        format!("0-{}", 2 * block),
    ] {
        let actor = writer(&path, 2 * block, block, 9)?;
        let rule = hold.rule(&format!("dio.locked owner={} range={range}", actor.tid))?;
        actor.begin();
        hold.await_held(rule, 1)?;
        hold.command(&format!("drop {rule}"))?;
        actor.end()?;
    }
    // The first two, and no more: neither beside them nor when they are gone.
    let rule = hold.rule(&format!("dio.complete ino={ino} count=2"))?;
    let mut aio = Aio::new(4, block as usize)?;
    for slot in 0..4 {
        aio.write(slot, &file, slot as u64 * block)?;
    }
    let ended = aio.wait(2)?;
    ensure!(ended.len() == 2, "{} ended", ended.len());
    let line = hold.await_held(rule, 2)?;
    ensure!(line.passed == 2, "{}", line.text);
    hold.command(&format!("release {rule}"))?;
    ensure!(aio.wait(2)?.len() == 2, "the two that were held");
    write(1)?;
    let line = hold.line(rule)?;
    ensure!((line.passed, line.held) == (5, 0), "{}", line.text);
    drop((aio, file));
    end(mounted)
}

/// Of a write of two bios, the second alone is held.
fn second_bio(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let hold = Hold::new();
    // Between the last direct block and the first behind it lies the indirect block.
    let path = lay_out(env, "file", 16, &[])?;
    let file = open_direct(&path)?;
    for point in ["dio.submit", "dio.complete"] {
        let mut aio = Aio::new(1, 4 * block as usize)?;
        stamp(aio.buffer(0).context("busy")?, 77);
        let rule = hold.rule(&format!("{point} range={}-{}", 12 * block, 12 * block))?;
        aio.write(0, &file, 10 * block)?;
        let line = hold.await_held(rule, 1)?;
        ensure!(
            line.now == [format!("bio:{}+{}", 12 * block, 2 * block)],
            "{}",
            line.text
        );
        let begun = Instant::now();
        while hold.inflight()? != 0 {
            ensure!(begun.elapsed() < SOON, "the first bio does not complete");
        }
        hold.command(&format!("drop {rule}"))?;
        ensure!(aio.wait(1)?[0].result == 4 * block as i64, "{point}");
    }
    let mut back = Buffer::new(4 * block as usize);
    file.read_exact_at(&mut back, 10 * block)?;
    ensure!(back[..] == stamped(4 * block, 77)[..], "other data");
    drop(file);
    end(mounted)
}

/// An asynchronous read whose bio is held at both ends.
fn read(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let hold = Hold::new();
    let path = lay_out(env, "file", 2, &[])?;
    let file = open_direct(&path)?;
    let mut aio = Aio::new(1, block as usize)?;
    let submit = hold.rule("dio.submit")?;
    let complete = hold.rule("dio.complete")?;
    aio.read(0, &file, block)?;
    hold.await_held(submit, 1)?;
    hold.command(&format!("one {submit}"))?;
    hold.await_held(complete, 1)?;
    hold.command(&format!("one {complete}"))?;
    ensure!(aio.wait(1)?[0].result == block as i64, "the read");
    let data = aio.buffer(0).context("busy")?;
    ensure!(data[..] == stamped(block, 1001)[..], "other data");
    drop((aio, file));
    end(mounted)
}

/// `one` takes the oldest; `drop` and `clear` take all; numbers are not used again.
fn one_by_one(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let hold = Hold::new();
    let path = lay_out(env, "file", 8, &[])?;
    let file = open_direct(&path)?;
    let mut aio = Aio::new(6, block as usize)?;
    let first = hold.rule("dio.complete")?;
    ensure!(first == 1, "the first rule has number {first}");
    for slot in 0..6 {
        aio.write(slot, &file, slot as u64 * block)?;
        hold.await_held(first, slot + 1)?;
    }
    for slot in 0..2 {
        let oldest = format!("bio:{}+{block}", slot as u64 * block);
        ensure!(hold.line(first)?.now[0] == oldest, "{}", hold.text()?);
        hold.command(&format!("one {first}"))?;
        let ended = aio.wait(1)?;
        ensure!(
            ended.len() == 1 && ended[0].slot == slot,
            "another one ended"
        );
    }
    hold.command(&format!("drop {first}"))?;
    ensure!(aio.wait(4)?.len() == 4, "drop lets all go");
    fails(
        hold.command(&format!("one {first}")),
        libc::ENOENT,
        "a rule that is gone",
    )?;
    let (second, third) = (hold.rule("dio.submit")?, hold.rule("dio.complete")?);
    ensure!((second, third) == (2, 3), "rules {second} and {third}");
    for slot in 0..3 {
        aio.write(slot, &file, slot as u64 * block)?;
    }
    hold.await_held(second, 3)?;
    hold.command(&format!("one {second}"))?;
    hold.await_held(third, 1)?;
    hold.command("clear")?;
    ensure!(aio.wait(3)?.len() == 3, "clear lets all go");
    ensure!(hold.text()? == "inflight 0\n", "left: {}", hold.text()?);
    drop((aio, file));
    end(mounted)
}

/// What is held for too long goes on, its rule goes, and the log has a line.
fn deadline(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let hold = Hold::new();
    let path = lay_out(env, "file", 8, &[])?;
    let file = open_direct(&path)?;
    for (point, deed) in [
        ("fsync.begin", sync as Deed),
        ("dio.submit", overwrite),
        ("dio.complete", overwrite),
    ] {
        let long = hold.rule("punch.begin deadline=60000")?;
        let rule = hold.rule(&format!("{point} deadline=300"))?;
        thread::sleep(Duration::from_millis(400));
        ensure!(hold.line(rule).is_ok(), "a rule that holds nothing ended");
        let begun = Instant::now();
        deed(&path, block)?;
        let waited = begun.elapsed();
        ensure!(
            waited >= Duration::from_millis(300) && waited < SOON,
            "{point} held for {waited:?}"
        );
        ensure!(hold.line(rule).is_err(), "{point}: the rule is still there");
        ensure!(hold.line(long).is_ok(), "the other rule has gone along");
        env.logged(&[&format!("hold {rule} {point}: 1 let go after 300 ms")])?;
    }
    drop(file);
    end(mounted)
}

/// A process that is killed while it is held ends.
fn killed(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let hold = Hold::new();
    let rule = hold.rule("buffered.drained deadline=60000")?;
    let image = env.path("image");
    let mut child = Command::new("mke2fs")
        .args(["-q", "-F"])
        .arg(&image)
        .arg("1M")
        .spawn()?;
    let held = hold.await_held(rule, 1);
    child.kill()?;
    let begun = Instant::now();
    while child.try_wait()?.is_none() {
        ensure!(begun.elapsed() < SOON, "it does not die");
        thread::sleep(Duration::from_millis(2));
    }
    ensure!(
        held?.now == [format!("task:{}", child.id())],
        "somebody else is held"
    );
    let line = hold.line(rule)?;
    ensure!((line.passed, line.held) == (1, 0), "{}", line.text);
    drop(hold);
    end(mounted)
}

/// A task and a bio that are held, which count as writers to whoever freezes or unmounts.
fn hold_both(env: &Env, hold: &Hold, name: &str) -> Result<(Aio, Actor<usize>)> {
    let block = env.block();
    let path = lay_out(env, name, 4, &[0])?;
    let file = open_direct(&path)?;
    let mut aio = Aio::new(1, block as usize)?;
    let complete = hold.rule(&format!("dio.complete owner={} deadline=60000", tid()?))?;
    let actor = writer(&path, 0, block, 5)?;
    let begin = hold.rule(&format!(
        "fallback.begin owner={} deadline=60000",
        actor.tid
    ))?;
    aio.write(0, &file, block)?;
    hold.await_held(complete, 1)?;
    actor.begin();
    hold.await_held(begin, 1)?;
    // The file is open all the same: the request has it.
    Ok((aio, actor))
}

fn freeze(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let hold = Hold::new();
    let (mut aio, actor) = hold_both(env, &hold, "file")?;
    let root = File::open(MNT)?;
    let begun = Instant::now();
    sys::freeze(&root).context("freeze")?;
    let took = begun.elapsed();
    let text = hold.text();
    sys::thaw(&root)?;
    ensure!(took < SOON, "freezing took {took:?}");
    ensure!(text? == "inflight 0\n", "rules are left");
    ensure!(aio.wait(1)?[0].result == block as i64, "the held write");
    ensure!(actor.end()? as u64 == block, "the held task's write");
    env.logged(&["freezing: 2 let go"])?;
    drop((aio, root));
    end(mounted)
}

/// Whatever is held keeps the mount, as any open file; umount -f opens the gate, and a lazy one leaves it to the deadline.
fn unmounting(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    {
        let hold = Hold::new();
        let (mut aio, actor) = hold_both(env, &hold, "forced")?;
        fails(
            errno(unmount(MNT, UnmountFlags::empty())),
            libc::EBUSY,
            "umount",
        )?;
        ensure!(hold.lines()?.len() == 2, "a umount that failed changes it");
        // Busy or not, by the time that VFS looks.
        let forced = unmount(MNT, UnmountFlags::FORCE);
        ensure!(aio.wait(1)?[0].result == block as i64, "the held write");
        ensure!(actor.end()? as u64 == block, "the held task's write");
        drop(aio);
        match forced {
            Ok(()) => std::mem::forget(mounted),
            Err(_) => end(mounted)?,
        }
    }
    let mounted = env.mount("")?;
    let path = lay_out(env, "lazy", 4, &[])?;
    let file = open_direct(&path)?;
    let hold = Hold::new();
    let rule = hold.rule("dio.complete deadline=1000")?;
    let mut aio = Aio::new(1, block as usize)?;
    aio.write(0, &file, block)?;
    hold.await_held(rule, 1)?;
    drop(file);
    unmount(MNT, UnmountFlags::DETACH)?;
    std::mem::forget(mounted);
    let begun = Instant::now();
    ensure!(aio.wait(1)?[0].result == block as i64, "the held write");
    ensure!(begun.elapsed() < SOON, "the deadline came late");
    // Now the last user is gone, and the mount with it: soon, for the kernel closes files behind our back.
    while hold.0.exists() {
        ensure!(begun.elapsed() < SOON, "the mount is still there");
        thread::sleep(Duration::from_millis(2));
    }
    end(env.mount("")?)
}

/// Shutting down lets go, before it waits for anybody and when it does not wait.
fn shutdown(env: &Env, flags: u32) -> Result<()> {
    let mounted = env.mount("")?;
    let hold = Hold::new();
    let (mut aio, actor) = hold_both(env, &hold, "file")?;
    let root = File::open(MNT)?;
    let begun = Instant::now();
    ioctl::shutdown(&root, flags)?;
    ensure!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    ensure!(aio.wait(1)?.len() == 1, "the held write");
    // What becomes of it is told in the tests of shutting down.
    let _ = actor.end();
    ensure!(hold.text()? == "inflight 0\n", "left: {}", hold.text()?);
    drop((aio, root));
    end(mounted)
}

/// The module stays while something is held, and goes right after a held bio has taken its last mount along.
fn module(env: &Env) -> Result<()> {
    let block = env.block();
    for round in 0..3 {
        modules::load("notblk", &[])?;
        let mounted = env.mount("")?;
        let hold = Hold::new();
        let (mut aio, actor) = hold_both(env, &hold, &format!("file-{round}"))?;
        ensure!(modules::remove("notblk").is_err(), "removed while in use");
        unmount(MNT, UnmountFlags::DETACH)?;
        std::mem::forget(mounted);
        hold.command("clear")?;
        ensure!(aio.wait(1)?[0].result == block as i64, "the held write");
        ensure!(actor.end()? as u64 == block, "the held task's write");
        drop(aio);
        let begun = Instant::now();
        while let Err(error) = modules::remove("notblk") {
            ensure!(begun.elapsed() < SOON, "rmmod: {error:#}");
            thread::sleep(Duration::from_millis(1));
        }
        std::mem::forget(hold);
    }
    modules::load("notblk", &[])
}

/// Commands that make no sense change nothing.
fn refused(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let hold = Hold::new();
    let rule = hold.rule("fsync.begin owner=1 ino=12 range=0-4095 count=3 deadline=5000")?;
    let before = hold.text()?;
    ensure!(
        before
            == format!(
                "{rule} fsync.begin owner=1 ino=12 range=0-4095 count=3 passed=0 held=0 now=[]\n\
                 inflight 0\n"
            ),
        "{before}"
    );
    let long = format!("hold fsync.begin {}", "x".repeat(300));
    for wrong in [
        "\n",
        "hold",
        "hold nowhere",
        "hold dio",
        "hold fsync.begin owner",
        "hold fsync.begin owner=",
        "hold fsync.begin owner=-1",
        "hold fsync.begin owner=+1",
        "hold fsync.begin owner=1x",
        "hold fsync.begin owner=99999999999999999999",
        "hold fsync.begin range=5",
        "hold fsync.begin range=5-",
        "hold fsync.begin range=5-4",
        "hold fsync.begin count=many",
        "hold fsync.begin deadline=0",
        "hold fsync.begin deadline=60001",
        "hold fsync.begin what=1",
        "hold fsync.begin 1",
        "Hold fsync.begin",
        "release",
        "release x",
        "release -1",
        "one",
        "one 1 1 1",
        "one 1 x",
        "drop",
        "clear 1",
        "clear all of it",
        "stop 1",
        &long,
    ] {
        fails(hold.command(wrong), libc::EINVAL, &format!("{wrong:?}"))?;
    }
    fails(
        fs::write(&hold.0, b"hold \xff\xfe"),
        libc::EINVAL,
        "no text",
    )?;
    for wrong in ["release 0", "one 99", "drop 18446744073709551615"] {
        fails(hold.command(wrong), libc::ENOENT, wrong)?;
    }
    env.logged(&["hold: an unknown point"])?;
    env.logged(&["hold: a bad number"])?;
    ensure!(hold.text()? == before, "changed: {}", hold.text()?);
    for _ in 1..64 {
        hold.rule("fsync.begin")?;
    }
    fails(
        hold.command("hold fsync.begin"),
        libc::ENOSPC,
        "one rule too many",
    )?;
    ensure!(hold.lines()?.len() == 64, "{} rules", hold.lines()?.len());
    hold.command(&format!("drop {rule}\n"))?;
    ensure!(hold.rule("fsync.begin")? == 65, "a number is used twice");
    drop(hold);
    end(mounted)
}

/// io_uring's worker, which writes for somebody, counts as that one.
fn uring(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("")?;
    let hold = Hold::new();
    let path = lay_out(env, "file", 4, &[0])?;
    let actor = Actor::new(move || {
        let file = open_direct(path)?;
        Ok(sys::uring_write(&file, &stamped(block, 3), 0)?)
    })?;
    let rule = hold.rule(&format!("fallback.dirtied owner={}", actor.tid))?;
    actor.begin();
    let line = hold.await_held(rule, 1)?;
    ensure!(
        line.now[0].starts_with("task:") && line.now[0] != format!("task:{}", actor.tid),
        "no worker: {}",
        line.text
    );
    hold.command(&format!("release {rule}"))?;
    ensure!(actor.end()? as u64 == block, "the write");
    drop(hold);
    end(mounted)
}

/// Where the kernel has its tracepoints.
const TRACING: &str = "/sys/kernel/tracing";

/// All tracepoints of ours are on for the length of a scope.
struct Tracing;

impl Tracing {
    fn begin() -> Result<Tracing> {
        let events = Path::new(TRACING).join("events");
        if !events.exists() {
            errno(mount(
                "tracefs",
                TRACING,
                "tracefs",
                MountFlags::empty(),
                None,
            ))
            .map_err(|error| Skip(format!("no tracefs: {error}")))?;
        }
        if !events.join("notblk").exists() {
            bail!(Skip("the kernel has no tracepoints".into()));
        }
        let tracing = Tracing;
        tracing.clear()?;
        fs::write(events.join("notblk/enable"), "1")?;
        Ok(tracing)
    }

    fn clear(&self) -> Result<()> {
        Ok(File::create(Path::new(TRACING).join("trace")).map(drop)?)
    }

    /// Asks that lines with these words are there, in this order, whatever is between them.
    fn tells(&self, story: &[&str]) -> Result<()> {
        let text = fs::read_to_string(Path::new(TRACING).join("trace"))?;
        let mut lines = text.lines();
        for part in story {
            let found = lines.any(|line| part.split(' ').all(|word| line.contains(word)));
            ensure!(found, "no {part:?}, or not in its place:\n{text}");
        }
        Ok(())
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        let _ = fs::write(Path::new(TRACING).join("events/notblk/enable"), "0");
    }
}

/// The tracepoints tell the story, in order.
fn events(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("drain=off")?;
    let hold = Hold::new();
    let tracing = Tracing::begin()?;
    seed(env, &hold, "file")?;
    tracing.tells(&[
        &format!("notblk_map: pos={block} answer=mapped"),
        &format!("notblk_hold: point=dio.complete pos={block} len={block}"),
        "notblk_map: answer=notblk",
        "notblk_fallback: stage=begin",
        "notblk_fallback: stage=drained",
        "notblk_fallback: stage=dirtied",
        "notblk_hold: point=fallback.dirtied",
        &format!("notblk_release: point=dio.complete pos={block} len={block}"),
        "notblk_release: point=fallback.dirtied",
        "notblk_fallback: stage=flushed",
        "notblk_fallback: stage=done",
    ])?;
    fs::write(Path::new(TRACING).join("trace"), "")?;
    end(mounted)?;

    let mounted = env.mount("drain=on")?;
    let path = lay_out(env, "drained", 2, &[0])?;
    tracing.clear()?;
    let file = open_direct(&path)?;
    let mut aio = Aio::new(1, block as usize)?;
    let b = writer(&path, 0, 2 * block, 7)?;
    let rule = hold.rule("dio.complete")?;
    aio.write(0, &file, block)?;
    hold.await_held(rule, 1)?;
    b.begin();
    b.await_in("inode_dio_wait")?;
    hold.command("clear")?;
    ensure!(b.end()? as u64 == 2 * block, "B's write was short");
    ensure!(aio.wait(1)?.len() == 1, "A's write");
    tracing.tells(&[
        "notblk_hold: point=dio.complete",
        "notblk_fallback: stage=begin",
        "notblk_drain: begin",
        "notblk_release: point=dio.complete",
        "notblk_drain: end",
        "notblk_fallback: stage=drained",
        "notblk_fallback: stage=done",
    ])?;
    drop((aio, file, hold));
    end(mounted)
}

/// Random commands, sensible and not, against a workload that does not know of them.
fn random(env: &Env) -> Result<()> {
    let block = env.block();
    let mounted = env.mount("drain=on")?;
    let hold = Hold::new();
    let path = lay_out(env, "file", 32, &[])?;
    let ino = fs::metadata(&path)?.ino();
    let stop = Arc::new(AtomicBool::new(false));
    let mut threads = Vec::new();
    for worker in 0..4_u64 {
        let (stop, path, seed) = (Arc::clone(&stop), path.clone(), env.seed ^ worker);
        threads.push(thread::spawn(move || work(&path, block, seed, &stop)));
    }
    let mut random = Random(env.seed);
    let mut rules: Vec<u64> = Vec::new();
    for round in 0..1000 {
        let known = rules
            .get(random.below(8) as usize)
            .copied()
            .unwrap_or(round);
        let command = match random.below(12) {
            0..5 => {
                const POINTS: [&str; 15] = [
                    "dio.locked",
                    "dio.submit",
                    "dio.complete",
                    "fallback.begin",
                    "fallback.drained",
                    "fallback.dirtied",
                    "fallback.flushed",
                    "fallback.done",
                    "buffered.drained",
                    "truncate.begin",
                    "truncate.drained",
                    "punch.begin",
                    "punch.drained",
                    "fault.begin",
                    "fsync.begin",
                ];
                let mut command = format!(
                    "hold {} deadline={}",
                    POINTS[random.below(15) as usize],
                    1 + random.below(60)
                );
                if random.below(3) == 0 {
                    command += &format!(" ino={ino} count={}", random.below(5));
                }
                if random.below(3) == 0 {
                    command += &format!(" range=0-{}", random.below(32 * block));
                }
                command
            }
            5..7 => format!("release {known}"),
            7..10 => format!("one {known}"),
            10 => format!("drop {known}"),
            _ if random.below(10) == 0 => "clear".to_owned(),
            _ => format!("nonsense {}", random.next()),
        };
        match hold.command(&command) {
            Ok(()) => {}
            Err(error) => match error.raw_os_error() {
                Some(libc::EINVAL | libc::ENOENT | libc::ENOSPC) => {}
                _ => return Err(error).context(command),
            },
        }
        if round % 8 == 0 {
            rules = hold.lines()?.iter().rev().map(|line| line.id).collect();
            env.guest.host.progress(round, 1000)?;
        }
        thread::sleep(Duration::from_millis(random.below(3)));
    }
    stop.store(true, SeqCst);
    hold.command("clear")?;
    let mut done = 0;
    for thread in threads {
        done += thread.join().map_err(|_| anyhow!("a worker panicked"))??;
    }
    ensure!(hold.text()? == "inflight 0\n", "left: {}", hold.text()?);
    ensure!(done > 50, "the workload did {done} things only");
    env.note(format!("{done} operations meanwhile"));
    drop(hold);
    end(mounted)
}

/// Writes, reads and cuts one file in every way until it is told to stop; how much was done.
fn work(path: &Path, block: u64, seed: u64, stop: &AtomicBool) -> Result<u64> {
    let mut random = Random(seed);
    let direct = open_direct(path)?;
    let buffered = open_buffered(path)?;
    let mut aio = Aio::new(2, block as usize)?;
    let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let mut done = 0;
    while !stop.load(SeqCst) {
        let offset = random.below(30) * block;
        match random.below(9) {
            0 => direct.write_all_at(&stamped(2 * block, 1), offset)?,
            1 => drop(direct.read_at(&mut Buffer::new(2 * block as usize), offset)?),
            2 => buffered.write_all_at(&stamped(2 * block, 2), offset)?,
            3 => rustix::fs::fallocate(&buffered, mode, offset, block)?,
            4 => buffered.set_len((16 + random.below(16)) * block)?,
            5 => {
                // The other workers make stale pages on purpose; with the drain there are none.
                buffered.sync_all()?;
            }
            6 => {
                buffered.set_len(32 * block)?;
            }
            _ => {
                for slot in 0..2 {
                    aio.write(slot, &direct, offset)?;
                }
                for ended in aio.wait(2)? {
                    if ended.result != block as i64 {
                        bail!("an asynchronous write gave {}", ended.result);
                    }
                }
            }
        }
        done += 1;
    }
    Ok(done)
}
