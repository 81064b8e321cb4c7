// SPDX-License-Identifier: GPL-2.0
//! Mount options that ext4 has too: those that do something, and those that have nothing to say.

use super::attributes::{end_disk, new_disk};
use super::durable::Disk;
use super::env::{errno, fails, Env};
use super::{test, Test};
use crate::fs::{self, open_buffered, tool, Mounted, DISK, MNT};
use anyhow::{ensure, Context, Result};
use notblk_protocol::Driver;
use std::fs::{self as file, File, OpenOptions};
use std::os::unix::fs::{chown, FileExt, MetadataExt, PermissionsExt};
use std::time::{Duration, Instant};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        test("options/accepted", accepted),
        test("options/refused", refused),
        test("options/numbers", numbers),
        test("options/minixdf", minixdf),
        test("options/grpid", grpid),
        // More than one group, so that there is a copy of the superblock.
        test("options/sb", sb).mib(300),
        test("options/sb-1k", sb).block(1024),
        test("options/lazytime", lazytime),
        test("options/lazytime-on-disk", lazytime_on_disk),
        test("options/version", version),
        test("options/version-128", version).inode(128),
    ]
}

/// Lines of fstab that mount.
fn accepted(env: &Env) -> Result<()> {
    for options in [
        "noload,barrier,nobarrier,barrier=0,barrier=1",
        "delalloc,auto_da_alloc,auto_da_alloc=0,noauto_da_alloc",
        "dioread_nolock,nodioread_nolock,dioread_lock",
        "block_validity,noblock_validity",
        "init_itable,init_itable=20,noinit_itable",
        "inode_readahead_blks=32,stripe=16,min_batch_time=1,max_batch_time=10000",
        "nombcache,no_mbcache,no_prefetch_block_bitmaps,nodiscard,discard",
        "oldalloc,orlov,bh,nobh,i_version,mblk_io_submit,nomblk_io_submit,prefetch_block_bitmaps",
        "check=none,nocheck,reservation,noreservation,journal=3",
        "bsddf,minixdf,grpid,nogrpid,bsdgroups,sysvgroups",
        "lazytime",
    ] {
        let mounted = env.mount(options)?;
        file::write(env.path("file"), options)?;
        mounted.end()?;
    }
    env.logged(&["removed", "orlov"])
}

/// Values that cannot be.
fn refused(env: &Env) -> Result<()> {
    let mut bad = vec![
        "delalloc=1",
        "barrier=x",
        "init_itable=x",
        "stripe",
        "stripe=-1",
        "inode_readahead_blks=3",
        "minixdf=1",
        "grpid=0",
        "sb",
        "sb=x",
        // There is no superblock.
        "sb=2",
    ];
    if env.driver() == Driver::Notblk {
        // As ext4 without a journal.
        bad.extend(["data=journal", "commit=30"]);
    }
    for options in bad {
        let result = fs::try_mount(env.driver().name(), DISK, MNT, options);
        fails(errno(result), libc::EINVAL, &format!("mount -o {options}"))?;
    }
    env.mount("")?.end()
}

/// Numbers as the kernel reads them: hexadecimal and octal too.
fn numbers(env: &Env) -> Result<()> {
    let shown = |options: &str, line: &str| -> Result<()> {
        let mounted = env.mount(options)?;
        let shown = fs::shown_options(MNT)?;
        ensure!(shown.contains(&line.to_owned()), "{options}: {shown:?}");
        mounted.end()
    };
    shown("resuid=0x10", "resuid=16")?;
    shown("resuid=0X1f", "resuid=31")?;
    shown("resgid=010", "resgid=8")?;
    shown("resgid=+7", "resgid=7")?;
    shown("resuid=4294967294", "resuid=4294967294")?;
    let mut good = vec![
        "stripe=0x10",
        "inode_readahead_blks=040",
        "sb=0x1",
        "sb=01",
        "stripe=00",
    ];
    if env.driver() == Driver::Notblk {
        good.push("fallback_delay_ms=0x0");
    }
    for options in good {
        env.mount(options).context(options)?.end()?;
    }
    for options in [
        "resuid=08",
        "resuid=0x",
        "resuid=0xg",
        "resuid=10h",
        "resuid=++1",
        "resuid= 1",
        "resuid=1_0",
        "resuid=4294967296",
        "resuid=0xffffffff",
        "stripe=0x100000000",
        "stripe=09",
        "inode_readahead_blks=0x3",
        // There is no superblock.
        "sb=0x2",
    ] {
        let result = fs::try_mount(env.driver().name(), DISK, MNT, options);
        fails(errno(result), libc::EINVAL, &format!("mount -o {options}"))?;
    }
    Ok(())
}

/// The size with the filesystem's own blocks, and without; a remount changes it.
fn minixdf(env: &Env) -> Result<()> {
    let blocks = || -> Result<u64> { Ok(rustix::fs::statvfs(MNT)?.f_blocks) };
    let mounted = env.mount("minixdf")?;
    ensure!(
        blocks()? == (u64::from(env.image.mib) << 20) / env.block(),
        "{} blocks with minixdf",
        blocks()?
    );
    let shown = fs::shown_options(MNT)?;
    ensure!(shown.contains(&"minixdf".to_owned()), "{shown:?}");
    fs::try_remount(MNT, "bsddf").context("remount")?;
    ensure!(
        blocks()? < (u64::from(env.image.mib) << 20) / env.block(),
        "all blocks without minixdf"
    );
    mounted.end()
}

/// Whose group a new inode has.
fn grpid(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    file::create_dir(env.path("dir"))?;
    chown(env.path("dir"), None, Some(1234))?;
    let group = |name: &str| -> Result<u32> {
        let path = env.path("dir").join(name);
        file::create_dir(&path)?;
        Ok(file::metadata(path)?.gid())
    };
    ensure!(group("plain")? == 0, "its own group by default");
    file::set_permissions(env.path("dir"), file::Permissions::from_mode(0o2755))?;
    ensure!(group("setgid")? == 1234, "the set-gid directory's group");
    let mode = |name: &str| -> Result<u32> {
        Ok(file::metadata(env.path("dir").join(name))?.mode() & 0o7000)
    };
    ensure!(mode("setgid")? == 0o2000, "no set-gid bit inherited");
    mounted.end()?;
    let mounted = env.mount("grpid")?;
    let shown = fs::shown_options(MNT)?;
    ensure!(shown.contains(&"grpid".to_owned()), "{shown:?}");
    ensure!(group("grpid")? == 1234, "the directory's group");
    ensure!(mode("grpid")? == 0, "a set-gid bit inherited with grpid");
    fs::try_remount(MNT, "nogrpid").context("remount")?;
    file::set_permissions(env.path("dir"), file::Permissions::from_mode(0o755))?;
    ensure!(group("nogrpid")? == 0, "its own group");
    mounted.end()?;
    // The superblock's own wish.
    tool("debugfs", &["-w", "-R", "ssv default_mount_opts 0x2", DISK])?;
    let mounted = env.mount("")?;
    ensure!(group("by-default")? == 1234, "the directory's group");
    mounted.end()
}

/// With the superblock gone, a copy of it will do.
fn sb(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    file::write(env.path("file"), vec![0x5a; 100_000])?;
    mounted.end()?;
    // The first copy is where the second group begins, in units of 1 KiB.
    let first = if env.block() == 1024 { 1 } else { 0 };
    let copy = (env.block() * 8 + first) * env.block() / 1024;
    let disk = OpenOptions::new().read(true).write(true).open(DISK)?;
    let mut good = [0; 1024];
    disk.read_exact_at(&mut good, 1024)?;
    disk.write_all_at(&[0; 1024], 1024)?;
    disk.sync_all()?;
    let result = fs::try_mount(env.driver().name(), DISK, MNT, "ro");
    fails(errno(result), libc::EINVAL, "mount without a superblock")?;
    let mounted = env.mount(&format!("ro,sb={copy}"))?;
    ensure!(
        file::read(env.path("file"))? == vec![0x5a; 100_000],
        "other contents"
    );
    let shown = fs::shown_options(MNT)?;
    ensure!(shown.contains(&format!("sb={copy}")), "{shown:?}");
    mounted.end()?;
    // Writing by the copy leaves the first one alone.
    let mounted = env.mount(&format!("sb={copy}"))?;
    mounted.end()?;
    let mut now = [1; 1024];
    disk.read_exact_at(&mut now, 1024)?;
    ensure!(now == [0; 1024], "the first superblock was written to");
    disk.write_all_at(&good, 1024)?;
    disk.sync_all()?;
    env.mount("sb=1")?.end()
}

/// Timestamps that are kept in memory reach the disk at the latest with the unmount.
fn lazytime(env: &Env) -> Result<()> {
    let mounted = env.mount("lazytime")?;
    let shown = fs::shown_options(MNT)?;
    ensure!(shown.contains(&"lazytime".to_owned()), "{shown:?}");
    let handle = open_buffered(env.path("file"))?;
    handle.write_all_at(&[1; 4096], 0)?;
    handle.sync_all()?;
    let before = handle.metadata()?;
    std::thread::sleep(std::time::Duration::from_millis(50));
    handle.write_all_at(&[2; 4096], 0)?;
    handle.sync_data()?;
    let written = handle.metadata()?;
    let time = |meta: &file::Metadata| (meta.mtime(), meta.mtime_nsec());
    ensure!(time(&written) > time(&before), "no new time");
    drop(handle);
    mounted.end()?;
    let mounted = env.mount("lazytime")?;
    let now = file::metadata(env.path("file"))?;
    ensure!(time(&now) == time(&written), "the new time is lost");
    mounted.end()
}

/// Settings of write-back, until dropped.
struct WriteBack(Vec<(&'static str, String)>);

impl WriteBack {
    const EXPIRE_TIMES: &'static str = "/proc/sys/vm/dirtytime_expire_seconds";

    /// What is dirty is written after less than a second, instead of half a minute.
    fn soon() -> Result<WriteBack> {
        let mut settings = WriteBack(Vec::new());
        settings.set("/proc/sys/vm/dirty_writeback_centisecs", "20")?;
        settings.set("/proc/sys/vm/dirty_expire_centisecs", "50")?;
        Ok(settings)
    }

    fn set(&mut self, path: &'static str, value: &str) -> Result<()> {
        self.0.push((path, file::read_to_string(path)?));
        file::write(path, value).with_context(|| format!("write {value} to {path}"))
    }
}

impl Drop for WriteBack {
    fn drop(&mut self) {
        for (path, value) in self.0.iter().rev() {
            // A failure makes later tests wait a little less for the disk, and that is all.
            let _ = file::write(path, value.trim());
        }
    }
}

/// A file's time of access as the disk itself has it, in the words of debugfs.
fn access_time(disk: &Disk) -> Result<String> {
    let text = disk.ask("stat /file")?;
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("atime: "));
    Ok(line
        .with_context(|| format!("no atime: {text}"))?
        .to_owned())
}

/// Reads the file, which in memory has another time of access then; answers what the disk had before.
fn access(disk: &Disk, handle: &File) -> Result<String> {
    let time = || -> Result<(i64, i64)> {
        let meta = handle.metadata()?;
        Ok((meta.atime(), meta.atime_nsec()))
    };
    let (on_disk, before) = (access_time(disk)?, time()?);
    std::thread::sleep(Duration::from_millis(50));
    handle.read_exact_at(&mut [0; 4], 0)?;
    let now = time()?;
    ensure!(
        now > before,
        "the time of access went from {before:?} to {now:?}"
    );
    Ok(on_disk)
}

/// Waits for the disk to have another time of access. Answers how long that took.
fn reaches_disk(disk: &Disk, before: &str) -> Result<Duration> {
    let started = Instant::now();
    while access_time(disk)? == before {
        let waited = started.elapsed();
        ensure!(
            waited < Duration::from_secs(60),
            "after {waited:?} the disk still has the time of access {before}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(started.elapsed())
}

/// A time of access alone is no reason to write, unless somebody asks or it is old; without `lazytime` it is.
fn lazytime_on_disk(env: &Env) -> Result<()> {
    let disk = new_disk()?;
    let mut settings = WriteBack::soon()?;
    let mount = |options| Mounted::new(env.driver(), &disk.path(), MNT, options);
    let mounted = mount("strictatime")?;
    file::write(env.path("file"), b"text")?;
    rustix::fs::sync();
    let handle = File::open(env.path("file"))?;
    let before = access(&disk, &handle)?;
    let usual = reaches_disk(&disk, &before).context("without lazytime")?;
    drop(handle);
    mounted.end()?;

    let mounted = mount("strictatime,lazytime")?;
    let handle = File::open(env.path("file"))?;
    let before = access(&disk, &handle)?;
    std::thread::sleep(usual * 3 + Duration::from_secs(3));
    let now = access_time(&disk)?;
    ensure!(
        now == before,
        "with lazytime the disk has {now} of itself, and had {before}; without it took {usual:?}"
    );
    handle.sync_all()?;
    ensure!(
        access_time(&disk)? != before,
        "after fsync the disk still has {before}"
    );
    // At last it is old.
    let before = access(&disk, &handle)?;
    settings.set(WriteBack::EXPIRE_TIMES, "1")?;
    reaches_disk(&disk, &before).context("with lazytime, when the time is old")?;
    drop((handle, settings));
    mounted.end()?;
    end_disk(disk)
}

/// The change counter of an inode, as debugfs shows it.
fn version_of(path: &str) -> Result<u64> {
    let text = tool("debugfs", &["-R", &format!("stat {path}"), DISK])?;
    let words = text.split("Version: 0x").nth(1);
    let word = words.and_then(|rest| rest.split_whitespace().next());
    let word = word.context("no version in what debugfs shows")?;
    u64::from_str_radix(&word.replace(':', ""), 16).with_context(|| format!("version {word}"))
}

/// It grows with every mount in which something has changed, and only then.
fn version(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    file::create_dir(env.path("dir"))?;
    file::write(env.path("dir/file"), b"1")?;
    mounted.end()?;
    let both = || -> Result<[u64; 2]> { Ok([version_of("/dir")?, version_of("/dir/file")?]) };
    let first = both()?;
    let mounted = env.mount("")?;
    file::write(env.path("dir/file"), b"2")?;
    mounted.end()?;
    let second = both()?;
    ensure!(
        second[0] == first[0] && second[1] > first[1],
        "after a write: {first:?}, then {second:?}"
    );
    let mounted = env.mount("")?;
    File::create(env.path("dir/other"))?;
    mounted.end()?;
    let third = both()?;
    ensure!(
        third[0] > second[0] && third[1] == second[1],
        "after a creation: {second:?}, then {third:?}"
    );
    let mounted = env.mount("")?;
    file::set_permissions(env.path("dir/file"), file::Permissions::from_mode(0o600))?;
    mounted.end()?;
    let fourth = both()?;
    ensure!(
        fourth[0] == third[0] && fourth[1] > third[1],
        "after chmod: {third:?}, then {fourth:?}"
    );
    Ok(())
}
