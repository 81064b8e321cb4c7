// SPDX-License-Identifier: GPL-2.0
//! What the superblock remembers: errors, mounts, where it was mounted; and the end of writing after an error.

use super::env::{errno, fails, fails_somehow, Env};
use super::{test, Test};
use crate::buf::Buffer;
use crate::fs::{self, open_buffered, open_direct, tool, tool_code, DISK, MNT};
use crate::sys::{fanotify::Errors, ioctl};
use anyhow::{ensure, Context, Result};
use std::fs::{self as file, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        test("record/errors", errors),
        test("record/remount-ro", remount_ro).damages(),
        test("record/by-superblock", by_superblock).damages(),
        test("record/mounts", mounts),
        test("record/warnings", warnings),
        test("record/fanotify", told).damages(),
    ]
}

/// The superblock, by the offsets of its fields.
pub struct Super(Vec<u8>);

impl Super {
    /// Reads the one at byte 1024, as the disk has it now.
    pub fn read() -> Result<Super> {
        let mut bytes = vec![0; 1024];
        File::open(DISK)?.read_exact_at(&mut bytes, 1024)?;
        Ok(Super(bytes))
    }

    /// A field of two bytes.
    pub fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    /// A field of four bytes.
    pub fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) | u32::from(self.u16(at + 2)) << 16
    }

    /// A text, up to its first zero.
    fn text(&self, at: usize, length: usize) -> String {
        let bytes = self.0[at..at + length].iter();
        bytes
            .take_while(|&&byte| byte != 0)
            .map(|&byte| char::from(byte))
            .collect()
    }
}

/// `s_mtime`
const MTIME: usize = 0x2c;
/// `s_mnt_count`
const MNT_COUNT: usize = 0x34;
/// `s_state`
pub const STATE: usize = 0x3a;
/// `s_errors`
const ERRORS: usize = 0x3c;
/// `s_last_mounted`
const LAST_MOUNTED: usize = 0x88;
/// `s_kbytes_written`, its lower half
const KBYTES_WRITTEN: usize = 0x178;
/// `s_error_count`
const ERROR_COUNT: usize = 0x194;
/// `s_first_error_time`
const FIRST_TIME: usize = 0x198;
/// `s_first_error_ino`
const FIRST_INO: usize = 0x19c;
/// `s_first_error_func`
const FIRST_FUNC: usize = 0x1a8;
/// `s_first_error_line`
const FIRST_LINE: usize = 0x1c8;
/// `s_last_error_time`
const LAST_TIME: usize = 0x1cc;
/// `s_last_error_ino`
const LAST_INO: usize = 0x1d0;
/// `s_first_error_errcode`, and after it that of the last
const ERRCODES: usize = 0x27a;
/// `EXT4_ERR_EFSCORRUPTED`, twice.
const TWICE_CORRUPTED: u16 = 0x0505;

/// Two files, of which each has a pointer that leads outside. Answers their inodes.
pub(super) fn damage(env: &Env) -> Result<[u32; 2]> {
    use std::os::unix::fs::MetadataExt;
    let mounted = env.mount("")?;
    let mut inodes = [0; 2];
    for (inode, name) in inodes.iter_mut().zip(["one", "two"]) {
        file::write(env.path(name), vec![0x77; 5 * env.block() as usize])?;
        *inode = file::metadata(env.path(name))?.ino() as u32;
    }
    file::write(env.path("good"), b"good")?;
    mounted.end()?;
    for name in ["one", "two"] {
        let command = format!("sif /{name} block[1] 0xfffffff0");
        tool("debugfs", &["-w", "-R", &command, DISK])?;
    }
    Ok(inodes)
}

/// Errors are counted; the first and the last have their particulars, as the tools show them; e2fsck clears them.
fn errors(env: &Env) -> Result<()> {
    let [one, two] = damage(env)?;
    let before = Super::read()?;
    ensure!(before.u32(ERROR_COUNT) == 0, "errors before the first");
    let mounted = env.mount("errors=continue")?;
    fails_somehow(file::read(env.path("one")), "a pointer to nowhere")?;
    fails_somehow(file::read(env.path("two")), "a pointer to nowhere")?;
    // It is still written to.
    file::write(env.path("good"), b"better")?;
    mounted.end()?;

    let after = Super::read()?;
    ensure!(
        after.u16(STATE) & 3 == 3,
        "state {:#x}: should be valid, with errors",
        after.u16(STATE)
    );
    ensure!(after.u32(ERROR_COUNT) >= 2, "fewer errors than there were");
    ensure!(
        (after.u32(FIRST_INO), after.u32(LAST_INO)) == (one, two),
        "inodes {} and {}, should be {one} and {two}",
        after.u32(FIRST_INO),
        after.u32(LAST_INO)
    );
    ensure!(
        after.u16(ERRCODES) == TWICE_CORRUPTED,
        "codes {:#x}",
        after.u16(ERRCODES)
    );
    let (first, last) = (after.u32(FIRST_TIME), after.u32(LAST_TIME));
    ensure!(
        first >= before.u32(MTIME) && first <= last,
        "times {first} and {last}"
    );
    let function = after.text(FIRST_FUNC, 32);
    ensure!(
        !function.is_empty() && after.u32(FIRST_LINE) > 0,
        "no place in the source: {function:?}"
    );
    let shown = tool("dumpe2fs", &["-h", DISK])?;
    for words in [
        "clean with errors",
        "FS Error count:",
        "EFSCORRUPTED",
        &function,
    ] {
        ensure!(shown.contains(words), "dumpe2fs has no {words}: {shown}");
    }

    // A second mount says so, and adds to the count without touching the first.
    let mounted = env.mount("errors=continue")?;
    env.logged(&["vda", "mounting fs with errors"])?;
    fails_somehow(file::read(env.path("two")), "a pointer to nowhere")?;
    mounted.end()?;
    let again = Super::read()?;
    ensure!(
        again.u32(ERROR_COUNT) > after.u32(ERROR_COUNT),
        "not counted on"
    );
    ensure!(again.u32(FIRST_INO) == one, "another first error");
    ensure!(
        again.u32(FIRST_TIME) == first,
        "another time of the first error"
    );

    let (code, text) = tool_code("e2fsck", &["-fy", DISK])?;
    ensure!(code == 1, "e2fsck -fy ended with {code}: {text}");
    let repaired = Super::read()?;
    ensure!(
        repaired.u32(ERROR_COUNT) == 0 && repaired.u16(STATE) & 3 == 1,
        "still errors after e2fsck"
    );
    Ok(())
}

/// After damage with `errors=remount-ro` everything that changes something answers EROFS, also by descriptors that are open;
/// reading goes on.
fn remount_ro(env: &Env) -> Result<()> {
    damage(env)?;
    let mounted = env.mount("errors=remount-ro")?;
    let buffered = open_buffered(env.path("good"))?;
    let direct = open_direct(env.path("good"))?;
    file::create_dir(env.path("dir"))?;
    // What is dirty then goes nowhere, and is in nobody's way at the unmount.
    file::write(env.path("dirty"), vec![1; 100_000])?;
    let block = Buffer::new(env.block() as usize);
    let shown = fs::shown_options(MNT)?;
    ensure!(
        !shown.contains(&"emergency_ro".to_owned()),
        "an emergency before the error: {shown:?}"
    );
    fails_somehow(file::read(env.path("one")), "a pointer to nowhere")?;
    env.logged(&["vda", "remounting filesystem read-only"])?;
    let shown = fs::shown_options(MNT)?;
    ensure!(
        shown.contains(&"emergency_ro".to_owned()),
        "no emergency: {shown:?}"
    );

    let ro = libc::EROFS;
    fails(buffered.write_at(b"x", 0), ro, "write")?;
    fails(direct.write_at(&block, 0), ro, "a direct write")?;
    fails(buffered.set_len(0), ro, "ftruncate")?;
    fails(buffered.sync_all(), ro, "fsync")?;
    fails(File::create(env.path("new")), ro, "create")?;
    fails(file::create_dir(env.path("new")), ro, "mkdir")?;
    fails(
        file::hard_link(env.path("good"), env.path("new")),
        ro,
        "link",
    )?;
    fails(
        file::rename(env.path("good"), env.path("new")),
        ro,
        "rename",
    )?;
    fails(file::remove_file(env.path("good")), ro, "unlink")?;
    fails(file::remove_dir(env.path("dir")), ro, "rmdir")?;
    let mode = file::Permissions::from_mode(0o600);
    fails(file::set_permissions(env.path("good"), mode), ro, "chmod")?;
    fails(errno(rustix::fs::syncfs(&buffered)), ro, "syncfs")?;
    ensure!(file::read(env.path("good"))? == b"good", "other contents");
    ensure!(!env.path("new").exists(), "a name that was refused");
    drop((buffered, direct));
    fails(errno(fs::try_remount(MNT, "ro")), ro, "remount read-only")?;
    mounted.end()?;
    let state = Super::read()?;
    ensure!(state.u16(STATE) & 2 != 0, "no error in the superblock");
    ensure!(state.u32(ERROR_COUNT) > 0, "no error counted");
    let (code, text) = tool_code("e2fsck", &["-fy", DISK])?;
    ensure!(code == 1, "e2fsck -fy ended with {code}: {text}");
    // And it is written to again.
    let mounted = env.mount("errors=remount-ro")?;
    file::write(env.path("new"), b"new")?;
    mounted.end()
}

/// Where no option says what to do about damage, the superblock does.
fn by_superblock(env: &Env) -> Result<()> {
    damage(env)?;
    // What no driver knows means the same as 2.
    for (wish, options) in [
        ("1", ""),
        ("2", "errors=continue"),
        ("2", ""),
        ("0", ""),
        ("9", ""),
    ] {
        let case = format!("superblock {wish}, options {options:?}");
        tool(
            "debugfs",
            &["-w", "-R", &format!("ssv errors {wish}"), DISK],
        )?;
        let mounted = env.mount(options)?;
        fails_somehow(file::read(env.path("one")), "a pointer to nowhere")?;
        let shown = fs::shown_options(MNT)?;
        let ends = wish != "1" && options.is_empty();
        ensure!(
            shown.contains(&"emergency_ro".to_owned()) == ends,
            "{case}: shown are {shown:?}"
        );
        let result = file::write(env.path("good"), b"better");
        match ends {
            true => fails(result, libc::EROFS, &format!("{case}: a write"))?,
            false => result.with_context(|| format!("{case}: a write"))?,
        }
        ensure!(
            file::read(env.path("good"))? == b"better",
            "{case}: other contents"
        );
        mounted.end()?;
        let errors = Super::read()?.u16(ERRORS);
        ensure!(
            errors.to_string() == wish,
            "{case}: the superblock says {errors} afterwards"
        );
    }
    env.logged(&["vda", "remounting filesystem read-only"])?;
    let (code, text) = tool_code("e2fsck", &["-fy", DISK])?;
    ensure!(code == 1, "e2fsck -fy ended with {code}: {text}");
    Ok(())
}

/// Each mount is counted and dated, the first opened file tells where it was; what was written adds up.
fn mounts(env: &Env) -> Result<()> {
    let before = Super::read()?;
    let mounted = env.mount("ro")?;
    mounted.end()?;
    let after = Super::read()?;
    ensure!(
        after.u16(MNT_COUNT) == before.u16(MNT_COUNT) && after.u32(MTIME) == before.u32(MTIME),
        "a read-only mount is counted"
    );
    let mounted = env.mount("")?;
    let during = Super::read()?;
    ensure!(
        during.u16(MNT_COUNT) == before.u16(MNT_COUNT) + 1,
        "the mount is not counted"
    );
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    ensure!(
        now.as_secs() as u32 - during.u32(MTIME) < 600,
        "not the time of the mount: {}",
        during.u32(MTIME)
    );
    file::write(env.path("file"), vec![1; 1 << 20])?;
    fs::try_remount(MNT, "ro").context("remount read-only")?;
    ensure!(
        Super::read()?.u16(STATE) & 3 == 1,
        "not clean while read-only"
    );
    fs::try_remount(MNT, "rw").context("remount read-write")?;
    ensure!(
        Super::read()?.u16(MNT_COUNT) == before.u16(MNT_COUNT) + 2,
        "the remount is not counted"
    );
    mounted.end()?;
    let after = Super::read()?;
    ensure!(
        after.text(LAST_MOUNTED, 64) == MNT,
        "last mounted on {:?}",
        after.text(LAST_MOUNTED, 64)
    );
    let written = after.u32(KBYTES_WRITTEN) - before.u32(KBYTES_WRITTEN);
    ensure!(
        (1024..1 << 20).contains(&written),
        "{written} KiB written, should be a little more than 1024"
    );
    Ok(())
}

/// The reasons to check that a mount names.
fn warnings(env: &Env) -> Result<()> {
    let set = |field: &str, value: &str| {
        let command = format!("ssv {field} {value}");
        tool("debugfs", &["-w", "-R", &command, DISK])
    };
    let mount_says = |words: &str| -> Result<bool> {
        let place = env.guest.kmsg.settle()?;
        env.mount("")?.end()?;
        let lines = env.guest.kmsg.since(place)?;
        Ok(lines
            .iter()
            .any(|line| line.contains("vda") && line.contains(words)))
    };
    ensure!(
        !mount_says("e2fsck is recommended")?,
        "a warning of nothing"
    );
    set("max_mnt_count", "1")?;
    ensure!(
        mount_says("maximal mount count reached")?,
        "silent about the mount count"
    );
    set("max_mnt_count", "-1")?;
    ensure!(!mount_says("e2fsck is recommended")?, "-1 is no limit");
    set("lastcheck", "20200101")?;
    set("checkinterval", "86400")?;
    ensure!(mount_says("checktime reached")?, "silent about the time");
    set("lastcheck", "now")?;
    set("state", "0")?;
    ensure!(
        mount_says("mounting unchecked fs")?,
        "silent about no state"
    );
    set("state", "3")?;
    ensure!(
        mount_says("mounting fs with errors")?,
        "silent about errors"
    );
    set("state", "1").map(drop)
}

/// Who listens by fanotify is told of damage, and whose it is, and of a shutdown.
fn told(env: &Env) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let mounted = env.mount("")?;
    let dir = env.path("dir");
    file::create_dir(&dir)?;
    let ino = file::metadata(&dir)?.ino() as u32;
    mounted.end()?;
    // The length of the first entry: none is so short.
    tool(
        "debugfs",
        &["-w", "-R", "zap_block -f /dir -o 4 -l 2 -p 1 0", DISK],
    )?;
    let mounted = env.mount("errors=continue")?;
    let mut errors = Errors::watch(Path::new(MNT))?;
    // What is damaged is left out; that is no error for who reads it.
    let listed = file::read_dir(&dir)?.collect::<std::io::Result<Vec<_>>>()?;
    ensure!(listed.is_empty(), "{listed:?}");
    let event = errors.next().context("nobody is told of the damage")?;
    ensure!(
        event.errno == libc::EUCLEAN && event.count >= 1 && event.ino == Some(ino),
        "{event:?} of inode {ino}"
    );
    let root = File::open(MNT)?;
    ioctl::shutdown(&root, 2)?;
    let event = loop {
        let event = errors.next().context("nobody is told of the shutdown")?;
        if event.errno != libc::EUCLEAN {
            break event;
        }
    };
    ensure!(
        event.errno == libc::ESHUTDOWN && event.ino.is_none(),
        "{event:?} of the shutdown"
    );
    drop((root, errors));
    mounted.end()
}
