// SPDX-License-Identifier: GPL-2.0
//! Telling the disk what is free: FITRIM, and the mount option `discard`.

use super::env::{fails, Env};
use super::served::served_disk;
use super::{for_blocks, test, Test};
use crate::fs::{self as image, open_buffered, open_direct, shown_options, Mounted, DISK, MNT};
use crate::sys::files::fibmap;
use crate::sys::ioctl::{trim, Trim};
use crate::sys::nbd;
use anyhow::{bail, ensure, Context, Result};
use notblk_protocol::Driver;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::mpsc;
use std::thread::{self, sleep};
use std::time::Duration;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = for_blocks(&[1024, 4096], "discard/trim", trims);
    tests.push(test("discard/trim-errnos", errnos));
    tests.push(test("discard/mount-option", option));
    tests.push(test("discard/slow-trim", slow_trim));
    tests.push(test("discard/slow-option", slow_option));
    tests.push(test("discard/slow-last-blocks", slow_last_blocks));
    tests
}

const ALL: Trim = Trim {
    start: 0,
    length: u64::MAX,
    least: 0,
};

/// Writes a file, and answers where the disk has its block 20, in bytes.
fn written(env: &Env, name: &str) -> Result<u64> {
    let file = open_buffered(env.path(name))?;
    file.write_all_at(&vec![0xff; 64 * env.block() as usize], 0)?;
    file.sync_all()?;
    Ok(fibmap(&file, 20)? as u64 * env.block())
}

/// Whether the disk has nothing but this byte there.
fn holds(env: &Env, place: u64, byte: u8) -> Result<bool> {
    let mut data = crate::buf::Buffer::new(env.block() as usize);
    open_direct(DISK)?.read_exact_at(&mut data, place)?;
    Ok(data.iter().all(|&found| found == byte))
}

/// What is free is given to the disk, which reads as zeroes then; and nothing else.
fn trims(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let kept = written(env, "kept")?;
    let gone = written(env, "gone")?;
    fs::remove_file(env.path("gone"))?;
    rustix::fs::sync();
    ensure!(holds(env, gone, 0xff)?, "discarded without being asked");
    let root = File::open(env.path(""))?;
    let free = rustix::fs::statvfs(env.path("").as_path())?.f_bfree * env.block();
    // Runs of half a group: there are some, and it is not all.
    let some = trim(
        &root,
        Trim {
            least: 2000 * env.block(),
            ..ALL
        },
    )?;
    let all = trim(&root, ALL)?;
    ensure!(
        some > 0 && some <= free && all <= free,
        "{some} and {all} bytes trimmed of {free}"
    );
    ensure!(holds(env, gone, 0)?, "a free block is as it was");
    ensure!(holds(env, kept, 0xff)?, "a block in use was discarded");
    // A part that is in use as a whole.
    let nothing = trim(
        &root,
        Trim {
            start: kept,
            length: env.block(),
            least: 0,
        },
    )?;
    ensure!(nothing == 0, "{nothing} bytes trimmed of a block in use");
    drop(root);
    mounted.end()?;
    let mounted = env.mount("ro")?;
    ensure!(
        fs::read(env.path("kept"))?.iter().all(|&byte| byte == 0xff),
        "a file was discarded"
    );
    mounted.end()
}

fn errnos(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let root = File::open(env.path(""))?;
    let size = u64::from(env.image.mib) << 20;
    for (range, what) in [
        (
            Trim {
                length: env.block() - 1,
                ..ALL
            },
            "less than a block",
        ),
        (Trim { start: size, ..ALL }, "behind the end"),
        (
            Trim {
                least: 1 << 40,
                ..ALL
            },
            "runs longer than a group",
        ),
    ] {
        fails(trim(&root, range), libc::EINVAL, what)?;
    }
    drop(root);
    mounted.end()
}

/// With the option, blocks are discarded as they become free.
fn option(env: &Env) -> Result<()> {
    let mounted = env.mount("discard")?;
    ensure!(
        shown_options(MNT)?.iter().any(|option| option == "discard"),
        "the option is not shown"
    );
    gives_back(env, true)?;
    mounted.end()
}

/// Whether the blocks of a file that goes are discarded by that.
pub(super) fn gives_back(env: &Env, wanted: bool) -> Result<()> {
    let gone = written(env, "gone")?;
    fs::remove_file(env.path("gone"))?;
    rustix::fs::sync();
    // The C driver does it after the journal's commit.
    for _ in 0..100 {
        if holds(env, gone, 0)? {
            ensure!(wanted, "a free block was discarded");
            return Ok(());
        }
        sleep(Duration::from_millis(20));
    }
    ensure!(!wanted, "a free block is as it was");
    Ok(())
}

/// Does something in another thread; the channel says when it is done.
fn begin<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> mpsc::Receiver<Result<T>> {
    let (send, receive) = mpsc::channel();
    // Nobody listens after a failure, which has been told.
    thread::spawn(move || send.send(work()).ok());
    receive
}

/// Waits until the disk has a discard to answer.
fn wait_for_discard(disk: &nbd::Disk) -> Result<()> {
    for _ in 0..1500 {
        if disk.waiting() > 0 {
            return Ok(());
        }
        sleep(Duration::from_millis(20));
    }
    bail!("nothing is discarded")
}

/// What needs blocks: names, a file, its indirect block; on the disk when it returns.
fn allocates() -> Result<()> {
    fs::create_dir("/mnt/new")?;
    fs::write("/mnt/new/file", vec![0x5a; 300_000])?;
    File::open("/mnt/new/file")?.sync_all()?;
    Ok(())
}

/// Asks that [`allocates`] does not wait for the disk's discards, and gets no blocks that they are about.
fn goes_on(disk: &nbd::Disk) -> Result<()> {
    let done = begin(allocates).recv_timeout(Duration::from_secs(20));
    let hit = disk.was_overwritten();
    let waiting = disk.waiting();
    disk.release()?;
    match done {
        Ok(done) => done?,
        Err(_) => bail!("allocation waits for a discard"),
    }
    ensure!(waiting > 0, "the discard did not last as long");
    ensure!(!hit, "blocks are written that are being discarded");
    Ok(())
}

/// And in the end all is there.
fn all_there(env: &Env, disk: nbd::Disk, mounted: Mounted) -> Result<()> {
    mounted.end()?;
    let mounted = Mounted::new(env.driver(), nbd::PATH, MNT, "ro")?;
    ensure!(
        fs::read("/mnt/new/file")? == vec![0x5a; 300_000],
        "other contents"
    );
    mounted.end()?;
    if let Some(complaint) = image::check(nbd::PATH)? {
        bail!("{complaint}");
    }
    drop(disk);
    Ok(())
}

/// While FITRIM waits for the disk, others allocate; not what is being discarded.
fn slow_trim(env: &Env) -> Result<()> {
    let disk = served_disk()?;
    let mounted = Mounted::new(env.driver(), nbd::PATH, MNT, "")?;
    disk.hold();
    let trimming = begin(|| Ok(trim(&File::open(MNT)?, ALL)?));
    wait_for_discard(&disk)?;
    goes_on(&disk)?;
    let bytes = trimming.recv_timeout(Duration::from_secs(60))??;
    ensure!(bytes > 1 << 20, "{bytes} bytes trimmed");
    all_there(env, disk, mounted)
}

/// The same while blocks are discarded that have just been freed.
fn slow_option(env: &Env) -> Result<()> {
    // The C driver does it after a commit of its journal, which this has not got.
    env.only(Driver::Notblk)?;
    let disk = served_disk()?;
    let mounted = Mounted::new(env.driver(), nbd::PATH, MNT, "discard")?;
    fs::write("/mnt/gone", vec![1; 2 << 20])?;
    rustix::fs::sync();
    disk.hold();
    let removing = begin(|| Ok(fs::remove_file("/mnt/gone")?));
    wait_for_discard(&disk)?;
    goes_on(&disk)?;
    removing.recv_timeout(Duration::from_secs(60))??;
    all_there(env, disk, mounted)
}

/// All that is free is being discarded: who needs a block waits for the disk, and gets one.
fn slow_last_blocks(env: &Env) -> Result<()> {
    // The C driver answers ENOSPC.
    env.only(Driver::Notblk)?;
    let disk = served_disk()?;
    let mounted = Mounted::new(env.driver(), nbd::PATH, MNT, "")?;
    File::create("/mnt/last")?;
    fs::write("/mnt/gone", [1; 1024])?;
    let filler = open_buffered("/mnt/filler")?;
    let mut size = 0;
    let mut piece = 64 << 10;
    while piece >= 1024 {
        match filler.write_at(&vec![2; piece], size) {
            Ok(written) => size += written as u64,
            Err(e) if e.raw_os_error() == Some(libc::ENOSPC) => piece /= 2,
            Err(e) => return Err(e).context("fill the disk"),
        }
    }
    let free = || -> Result<u64> { Ok(rustix::fs::statvfs(MNT)?.f_bfree) };
    // Where the filler would have needed another indirect block too.
    for n in 0..free()? {
        fs::write(format!("/mnt/rest-{n}"), [2; 1024])?;
    }
    rustix::fs::sync();
    ensure!(free()? == 0, "{} blocks are free still", free()?);
    fs::remove_file("/mnt/gone")?;
    rustix::fs::sync();
    ensure!(free()? == 1, "{} blocks are free", free()?);
    disk.hold();
    let trimming = begin(|| Ok(trim(&File::open(MNT)?, ALL)?));
    wait_for_discard(&disk)?;
    let writing = begin(|| {
        let file = open_buffered("/mnt/last")?;
        file.write_all_at(&[3; 1024], 0)?;
        Ok(file.sync_all()?)
    });
    match writing.recv_timeout(Duration::from_secs(3)) {
        Err(mpsc::RecvTimeoutError::Timeout) => {}
        Ok(done) => bail!("it did not wait for the disk: {done:?}"),
        Err(e) => bail!("{e}"),
    }
    ensure!(disk.waiting() > 0, "the discard did not last as long");
    disk.release()?;
    writing
        .recv_timeout(Duration::from_secs(60))?
        .context("a block that was being discarded")?;
    trimming.recv_timeout(Duration::from_secs(60))??;
    ensure!(!disk.was_overwritten(), "written while discarded");
    drop(filler);
    mounted.end()?;
    let mounted = Mounted::new(env.driver(), nbd::PATH, MNT, "ro")?;
    ensure!(fs::read("/mnt/last")? == [3; 1024], "other contents");
    mounted.end()?;
    if let Some(complaint) = image::check(nbd::PATH)? {
        bail!("{complaint}");
    }
    drop(disk);
    Ok(())
}
