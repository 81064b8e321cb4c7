// SPDX-License-Identifier: GPL-2.0
//! Telling the disk what is free: FITRIM, and the mount option `discard`.

use super::env::{fails, Env};
use super::{for_blocks, test, Test};
use crate::fs::{open_buffered, open_direct, shown_options, DISK, MNT};
use crate::sys::files::fibmap;
use crate::sys::ioctl::{trim, Trim};
use anyhow::{bail, ensure, Result};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::thread::sleep;
use std::time::Duration;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = for_blocks(&[1024, 4096], "discard/trim", trims);
    tests.push(test("discard/trim-errnos", errnos));
    tests.push(test("discard/mount-option", option));
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
    let gone = written(env, "gone")?;
    fs::remove_file(env.path("gone"))?;
    rustix::fs::sync();
    // The C driver does it after the journal's commit.
    for _ in 0..100 {
        if holds(env, gone, 0)? {
            return mounted.end();
        }
        sleep(Duration::from_millis(20));
    }
    bail!("a free block is as it was")
}
