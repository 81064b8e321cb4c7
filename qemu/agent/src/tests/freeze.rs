// SPDX-License-Identifier: GPL-2.0
//! Freezing: a copy of the device is a clean filesystem, writers wait, and go on after the thaw.

use super::env::{fails, Env};
use super::record::{Super, STATE};
use super::{test, Test};
use crate::fs::{self, open_buffered, DISK, DISK2, MNT};
use crate::sys::{self, Mapping};
use anyhow::{bail, ensure, Context, Result};
use notblk_protocol::Driver;
use std::fs::{self as file, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        test("freeze/copy", copy).mib(16),
        test("freeze/writers", writers).mib(16),
        test("freeze/unlinked", unlinked).mib(16),
    ]
}

/// Freezes for the length of a scope, so that a test that fails does not hang what comes after it.
pub(super) struct Frozen<'a>(&'a File);

impl<'a> Frozen<'a> {
    pub(super) fn new(root: &'a File) -> Result<Frozen<'a>> {
        sys::freeze(root).context("freeze")?;
        Ok(Frozen(root))
    }

    pub(super) fn thaw(self) -> Result<()> {
        sys::thaw(self.0).context("thaw")?;
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = sys::thaw(self.0);
    }
}

/// What was written before is in a copy of the device, whole and clean; it mounts, and the original goes on.
fn copy(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let data: Vec<u8> = (0..100_000_u32).map(|byte| (byte / 7) as u8).collect();
    for number in 0..50 {
        file::write(env.path(format!("file-{number}")), &data[number * 1000..])?;
    }
    for number in (0..50).step_by(3) {
        file::remove_file(env.path(format!("file-{number}")))?;
    }
    let root = File::open(MNT)?;
    let frozen = Frozen::new(&root)?;
    ensure!(Super::read()?.u16(STATE) & 3 == 1, "not clean while frozen");
    // Not even this makes it less clean.
    rustix::fs::sync();
    ensure!(
        Super::read()?.u16(STATE) & 3 == 1,
        "not clean while frozen, after sync"
    );
    let mut to = file::OpenOptions::new().write(true).open(DISK2)?;
    let mut from = File::open(DISK)?.take(u64::from(env.image.mib) << 20);
    io::copy(&mut from, &mut to)?;
    to.sync_all()?;
    drop(to);
    if let Some(complaint) = fs::check(DISK2)? {
        bail!("the copy: {complaint}");
    }
    frozen.thaw()?;
    if env.driver() == Driver::Notblk {
        ensure!(Super::read()?.u16(STATE) & 1 == 0, "clean after the thaw");
    }
    file::write(env.path("after"), b"after")?;
    drop(root);
    mounted.end()?;
    let copied = fs::Mounted::new(env.driver(), DISK2, "/mnt2", "")?;
    for number in (0..50).filter(|number| number % 3 != 0) {
        ensure!(
            file::read(format!("/mnt2/file-{number}"))? == data[number * 1000..],
            "file-{number} of the copy has other contents"
        );
    }
    ensure!(!file::exists("/mnt2/file-0")?, "a deleted file in the copy");
    ensure!(!file::exists("/mnt2/after")?, "the copy is not a copy");
    copied.end()
}

/// Does something in another thread; the channel says when it is done.
fn begin(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> mpsc::Receiver<io::Result<()>> {
    let (send, receive) = mpsc::channel();
    // Nobody listens after a failure, which has been told.
    thread::spawn(move || send.send(work()).ok());
    receive
}

/// A write, a store through a mapping and a new name wait for the thaw, and happen then; reading does not wait.
fn writers(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let path = env.path("file");
    let handle = open_buffered(&path)?;
    handle.write_all_at(&[7; 8192], 0)?;
    let root = File::open(MNT)?;
    let frozen = Frozen::new(&root)?;
    fails(sys::freeze(&root), libc::EBUSY, "a second freeze")?;
    ensure!(file::read(&path)? == [7; 8192], "reading while frozen");
    let new = env.path("new");
    let (writer, made) = (handle.try_clone()?, new.clone());
    let mapped = handle.try_clone()?;
    let store = move || {
        Mapping::new(&mapped, 8192)?.write(4096, b"stored");
        Ok(())
    };
    let waiting = [
        ("store", begin(store)),
        ("write", begin(move || writer.write_all_at(b"written", 0))),
        ("create", begin(move || File::create(made).map(drop))),
    ];
    for (what, done) in &waiting {
        match done.recv_timeout(Duration::from_millis(300)) {
            Err(RecvTimeoutError::Timeout) => {}
            other => bail!("{what} while frozen: {other:?}"),
        }
    }
    ensure!(!new.exists(), "a new name while frozen");
    frozen.thaw()?;
    for (what, done) in &waiting {
        done.recv_timeout(Duration::from_secs(30))
            .with_context(|| format!("{what} after the thaw"))??;
    }
    fails(sys::thaw(&root), libc::EINVAL, "a second thaw")?;
    drop((handle, root));
    mounted.end()?;
    let mounted = env.mount("ro")?;
    let data = file::read(&path)?;
    ensure!(
        &data[..7] == b"written" && &data[4096..4102] == b"stored",
        "lost what was written after the thaw"
    );
    ensure!(new.exists(), "lost the new name");
    mounted.end()
}

/// With a deleted file that is open a copy has an inode without a name: it does not claim to be clean.
fn unlinked(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    let mounted = env.mount("")?;
    let handle = open_buffered(env.path("file"))?;
    handle.write_all_at(&[7; 8192], 0)?;
    file::remove_file(env.path("file"))?;
    let root = File::open(MNT)?;
    let frozen = Frozen::new(&root)?;
    let state = Super::read()?.u16(STATE);
    frozen.thaw()?;
    ensure!(state & 1 == 0, "clean with a deleted file that is open");
    drop(handle);
    let frozen = Frozen::new(&root)?;
    let state = Super::read()?.u16(STATE);
    frozen.thaw()?;
    ensure!(state & 1 != 0, "not clean when it is gone");
    drop(root);
    mounted.end()
}
