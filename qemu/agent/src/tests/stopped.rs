// SPDX-License-Identifier: GPL-2.0
//! Machines that stop in the middle of a direct write that makes its file longer.
//!
//! The write's data comes from a mapping of a device that does not answer. So it stops when it has the blocks and wants the
//! data, for as long as the test likes.

use super::env::Env;
use super::orphan::{e2fsck_repairs, free, snapshot, wipe};
use super::over::{load_target, Over};
use super::{test, Test};
use crate::buf::Random;
use crate::fs::{open_buffered, open_direct, tool, tool_code, Mounted, DISK, DISK2, MNT};
use crate::sys::dm::Dm;
use crate::sys::{ioctl, Mapping};
use anyhow::{anyhow, ensure, Context, Result};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes of the file before, on the disk for good.
const BEFORE: usize = 100 << 10;
/// Bytes that are added.
const MORE: usize = 256 << 10;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        test("direct/stopped-by-crash", crash).mib(16),
        test("direct/stopped-by-crash-1k", crash)
            .mib(16)
            .block(1024),
        test("direct/stopped-without-name", without_name).mib(16),
        test("direct/stopped-by-shutdown", shutdown)
            .mib(16)
            .damages(),
        test("direct/extend-and-fail", fail).mib(16),
    ]
}

/// A direct write that has got its blocks and waits for its data.
pub(super) struct Stopped {
    source: Dm,
    thread: JoinHandle<std::io::Result<usize>>,
}

impl Stopped {
    /// Begins it at the end of `file`, and returns when the blocks are gone from the free ones.
    pub(super) fn new(file: &File) -> Result<Stopped> {
        load_target("dm_zero")?;
        let source = Dm::new("source", (MORE / 512) as u64, "zero", "").context("device-mapper")?;
        let data = OpenOptions::new()
            .read(true)
            .write(true)
            .open(source.path())
            .with_context(|| source.path())?;
        source.suspend()?;
        let at = file.metadata()?.len();
        let file = file.try_clone()?;
        let before = free(MNT)?.0;
        let thread = std::thread::spawn(move || Mapping::new(&data, MORE)?.write_to(&file, at));
        let deadline = Instant::now() + Duration::from_secs(20);
        // Some: it asks for more when it has the data for these.
        while free(MNT)?.0 >= before {
            ensure!(!thread.is_finished(), "the write did not wait for its data");
            ensure!(Instant::now() < deadline, "the write got no blocks");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Stopped { source, thread })
    }

    /// Lets it go on, to its end.
    pub(super) fn go_on(self) -> Result<std::io::Result<usize>> {
        self.source.resume()?;
        self.thread.join().map_err(|_| anyhow!("the writer died"))
    }
}

/// The file, and what is in it.
fn begin(env: &Env) -> Result<(File, Vec<u8>)> {
    let mut data = vec![0; BEFORE];
    Random(env.seed).fill(&mut data);
    let file = open_buffered(env.path("file"))?;
    file.write_all_at(&data, 0)?;
    file.sync_all()?;
    File::open(MNT)?.sync_all()?;
    // Old data where the new blocks may be.
    fs::write(env.path("old"), vec![0xa5; 2 * MORE])?;
    rustix::fs::sync();
    fs::remove_file(env.path("old"))?;
    rustix::fs::sync();
    Ok((open_direct(env.path("file"))?, data))
}

/// The machine stops: the blocks are given back at the next mount, and by e2fsck, and nothing else is wrong.
fn crash(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let (file, mut data) = begin(env)?;
    let before = free(MNT)?;
    let stopped = Stopped::new(&file)?;
    snapshot(env)?;
    let said = e2fsck_repairs()?;
    ensure!(said.contains("Truncating orphaned inode"), "{said}");
    snapshot(env)?;
    let copy = Mounted::new(env.driver(), DISK2, "/mnt2", "")?;
    env.logged(&["vdb", "1 truncate cleaned up"])?;
    ensure!(fs::read("/mnt2/file")? == data, "other data in the copy");
    let after = free("/mnt2")?;
    ensure!(after == before, "{before:?} was free, {after:?} is");
    copy.end()?;
    tool("e2fsck", &["-fn", DISK2])?;
    wipe()?;
    let written = stopped.go_on()?.context("the write")?;
    ensure!(written == MORE, "{written} written");
    data.resize(BEFORE + MORE, 0);
    ensure!(fs::read(env.path("file"))? == data, "other data");
    // Off the list again.
    file.sync_all()?;
    snapshot(env)?;
    let (_, said) = tool_code("e2fsck", &["-p", DISK2])?;
    ensure!(!said.contains("rphan"), "on the list for ever: {said}");
    wipe()?;
    drop(file);
    mounted.end()
}

/// A file that has lost its name meanwhile stays on the list.
fn without_name(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let (file, data) = begin(env)?;
    fs::remove_file(env.path("file"))?;
    let stopped = Stopped::new(&file)?;
    snapshot(env)?;
    let said = e2fsck_repairs()?;
    ensure!(said.contains("Clearing orphaned inode"), "{said}");
    let written = stopped.go_on()?.context("the write")?;
    ensure!(written == MORE, "{written} written");
    snapshot(env)?;
    let said = e2fsck_repairs()?;
    ensure!(said.contains("Clearing orphaned inode"), "{said}");
    wipe()?;
    let mut back = vec![1; BEFORE + MORE];
    read_direct(&file, &mut back)?;
    ensure!(back[..BEFORE] == data, "other data");
    ensure!(back[BEFORE..].iter().all(|&byte| byte == 0), "other data");
    drop(file);
    mounted.end()
}

/// Reads a direct file whole, through an aligned buffer.
fn read_direct(file: &File, into: &mut [u8]) -> Result<()> {
    let mut buffer = crate::buf::Buffer::new(into.len());
    file.read_exact_at(&mut buffer, 0)?;
    into.copy_from_slice(&buffer);
    Ok(())
}

/// The filesystem is shut down: the write ends, unmount works, and what was there is there.
fn shutdown(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let (file, data) = begin(env)?;
    let root = File::open(MNT)?;
    let stopped = Stopped::new(&file)?;
    ioctl::shutdown(&root, 2).context("shut down")?;
    // Its blocks are there: well or not, it ends.
    match stopped.go_on()? {
        Ok(count) => ensure!(count <= MORE, "{count} written"),
        Err(error) => ensure!(
            matches!(error.raw_os_error(), Some(libc::EIO | libc::EROFS)),
            "{error}"
        ),
    }
    drop((file, root));
    mounted.end()?;
    let (code, text) = tool_code("e2fsck", &["-fy", DISK])?;
    ensure!(code <= 1, "e2fsck -fy ended with {code}: {text}");
    let mounted = env.mount("")?;
    let found = fs::read(env.path("file"))?;
    ensure!(found.starts_with(&data), "other data than had been written");
    mounted.end()
}

/// The device refuses the data: the file is as it was, and the blocks are free again.
fn fail(env: &Env) -> Result<()> {
    let disk = Over::new(env, "dm_flakey")?;
    let mounted = disk.mount("")?;
    let (file, mut data) = begin(env)?;
    let before = free(MNT)?;
    let more = crate::buf::Buffer::new(MORE);
    disk.turn_into("flakey", "0 1 1 error_writes")?;
    super::env::fails(
        file.write_at(&more, BEFORE as u64),
        libc::EIO,
        "an extending write to a disk that fails",
    )?;
    ensure!(file.metadata()?.len() == BEFORE as u64, "it is longer");
    disk.pass()?;
    ensure!(
        free(MNT)? == before,
        "{before:?} was free, {:?} is",
        free(MNT)?
    );
    ensure!(fs::read(env.path("file"))? == data, "other data");
    file.write_all_at(&more, BEFORE as u64)?;
    data.resize(BEFORE + MORE, 0);
    ensure!(fs::read(env.path("file"))? == data, "other data");
    drop(file);
    mounted.end()?;
    drop(disk);
    Ok(())
}
