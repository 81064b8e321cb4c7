// SPDX-License-Identifier: GPL-2.0
//! What the disk has of quotas, and when.

use super::env::Env;
use super::freeze::Frozen;
use super::quota::{expect, has, hidden, open_to_all, user, visible, FILES, OPTIONS, USER};
use super::{test, Test};
use crate::fs::{open_buffered, tool, DISK, MNT};
use crate::quota::{self, Kind};
use crate::sys::ioctl;
use anyhow::{ensure, Context, Result};
use notblk_protocol::Driver;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        test("quota/file-is-not-dated", not_dated),
        test("quota/shutdown", shutdown).damages(),
        test("quota/freeze", freeze),
        test("quota/truncated-orphan", truncated_orphan),
    ]
}

/// What the users' hidden file says of the user, past all caches: bytes and inodes. See `struct v2r1_disk_dqblk`.
fn on_disk() -> Result<Option<(u64, u64)>> {
    let out = "/tmp/dumped";
    tool("debugfs", &["-D", "-R", &format!("dump <3> {out}"), DISK])?;
    let data = fs::read(out)?;
    fs::remove_file(out)?;
    let u64_at = |bytes: &[u8], at: usize| -> Result<u64> {
        Ok(u64::from_le_bytes(bytes[at..at + 8].try_into()?))
    };
    // Behind the file's header and the root of its tree: blocks with a header and entries, or more of the tree.
    for block in data.chunks_exact(1024).skip(2) {
        for entry in block[16..].chunks_exact(72) {
            if entry[..8] == u64::from(USER).to_le_bytes() {
                return Ok(Some((u64_at(entry, 48)?, u64_at(entry, 24)?)));
            }
        }
    }
    Ok(None)
}

/// Usage that is written into a visible file does not date it, as long as it does not grow; turning quotas off does.
fn not_dated(env: &Env) -> Result<()> {
    let mounted = visible(env)?;
    open_to_all(env)?;
    let (kind, name) = FILES[0];
    let (one, two) = (env.path("one"), env.path("two"));
    user(|| Ok(fs::write(&one, vec![1; 50_000])?))?;
    rustix::fs::sync();
    let times = || -> Result<(i64, i64, u64)> {
        let meta = fs::metadata(env.path(name))?;
        let nanoseconds = |sec: i64, nsec: i64| sec * 1_000_000_000 + nsec;
        Ok((
            nanoseconds(meta.mtime(), meta.mtime_nsec()),
            nanoseconds(meta.ctime(), meta.ctime_nsec()),
            meta.len(),
        ))
    };
    let before = times()?;
    thread::sleep(Duration::from_millis(50));
    user(|| Ok(fs::write(&two, vec![1; 50_000])?))?;
    rustix::fs::sync();
    expect(kind, USER, &[&one, &two])?;
    ensure!(
        times()? == before,
        "{before:?} before more was charged, {:?} after",
        times()?
    );
    quota::off(DISK, kind)?;
    ensure!(times()?.0 > before.0, "not dated when turned off");
    mounted.end()
}

/// What has been charged since the last sync is not written after a shutdown, by whatever means.
fn shutdown(env: &Env) -> Result<()> {
    // With a journal it is in there.
    env.only(Driver::Notblk)?;
    hidden(env)?;
    let mounted = env.mount(OPTIONS)?;
    open_to_all(env)?;
    let path = env.path("file");
    let file = user(|| Ok(File::create(&path)?))?;
    file.write_all_at(&[1; 100_000], 0)?;
    rustix::fs::sync();
    let before = on_disk()?.context("nothing on disk after sync")?;
    ensure!(before == has(Kind::User, USER)?, "other usage on disk");
    file.write_all_at(&[1; 600_000], 0)?;
    file.sync_all()?;
    ensure!(on_disk()? == Some(before), "written without a sync");
    let root = File::open(MNT)?;
    ioctl::shutdown(&root, 2).context("shut down")?;
    rustix::fs::sync();
    ensure!(
        on_disk()? == Some(before),
        "written by sync after a shutdown: {before:?} became {:?}",
        on_disk()?
    );
    drop((file, root));
    mounted.end()?;
    ensure!(
        on_disk()? == Some(before),
        "written at unmount after a shutdown: {before:?} became {:?}",
        on_disk()?
    );
    let (code, text) = crate::fs::tool_code("e2fsck", &["-fy", DISK])?;
    ensure!(code <= 1, "e2fsck -fy ended with {code}: {text}");
    Ok(())
}

/// A frozen disk has the usage that memory has, though deleted files are closed while it freezes.
fn freeze(env: &Env) -> Result<()> {
    hidden(env)?;
    let mounted = env.mount(OPTIONS)?;
    open_to_all(env)?;
    let root = File::open(MNT)?;
    for round in 0..4 {
        // The file that stays keeps the user known.
        let path = |n: i32| Path::new(MNT).join(format!("{round}-{n}"));
        let files = user(|| {
            fs::write(path(0), b"stays")?;
            (1..400)
                .map(|n| {
                    let file = open_buffered(path(n))?;
                    file.write_all_at(&[1; 4096], 0)?;
                    file.sync_all()?;
                    fs::remove_file(path(n))?;
                    Ok(file)
                })
                .collect::<Result<Vec<_>>>()
        })?;
        // What the user has when frozen, quotactl says after the thaw only.
        let (bytes, inodes) = has(Kind::User, USER)?;
        let before = rustix::fs::statvfs(MNT)?;
        let closing = thread::spawn(move || {
            for file in files {
                drop(file);
                thread::sleep(Duration::from_micros(200));
            }
        });
        thread::sleep(Duration::from_millis(5));
        let frozen = Frozen::new(&root)?;
        thread::sleep(Duration::from_millis(20));
        let (disk, after) = (on_disk(), rustix::fs::statvfs(MNT));
        frozen.thaw()?;
        ensure!(closing.join().is_ok(), "the closing thread failed");
        let (disk, after) = (disk?, after?);
        let real = (
            bytes - (after.f_bfree - before.f_bfree) * env.block(),
            inodes - (after.f_ffree - before.f_ffree),
        );
        env.note(format!("{} of {inodes} inodes when frozen", real.1));
        ensure!(
            disk == Some(real),
            "frozen: {disk:?} on disk, {real:?} in truth"
        );
    }
    drop(root);
    mounted.end()
}

/// What a file loses that a crash had left half shortened is given back.
fn truncated_orphan(env: &Env) -> Result<()> {
    hidden(env)?;
    let mounted = env.mount(OPTIONS)?;
    open_to_all(env)?;
    let file = env.path("file");
    user(|| Ok(fs::write(&file, vec![7; 3 << 20])?))?;
    let ino = fs::metadata(&file)?.ino();
    mounted.end()?;
    for command in [
        "sif /file size 5000".to_owned(),
        format!("ssv last_orphan {ino}"),
    ] {
        tool("debugfs", &["-w", "-R", &command, DISK])?;
    }
    let mounted = env.mount(OPTIONS)?;
    env.logged(&["vda", "1 truncate cleaned up"])?;
    ensure!(
        fs::metadata(&file)?.blocks() * 512 <= 2 * env.block(),
        "not shortened"
    );
    for kind in [Kind::User, Kind::Group] {
        expect(kind, USER, &[&file])?;
    }
    mounted.end()
}
