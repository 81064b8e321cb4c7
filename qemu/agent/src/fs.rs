// SPDX-License-Identifier: GPL-2.0
//! Making, mounting and checking filesystems.

use crate::modules;
use anyhow::{bail, ensure, Context, Result};
use notblk_protocol::Driver;
use rustix::io::Errno;
use rustix::mount::{mount, mount_remount, unmount, MountFlags, UnmountFlags};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

/// The first scratch disk.
pub const DISK: &str = "/dev/vda";
/// The second one; for the race the host makes its writes slow.
pub const DISK2: &str = "/dev/vdb";
/// Where a job mounts the first.
pub const MNT: &str = "/mnt";

/// How to make a filesystem.
#[derive(Debug, Clone, Copy)]
pub struct Image {
    /// Bytes per block.
    pub block_size: u32,
    /// Bytes per inode on disk.
    pub inode_size: u32,
    /// Size in MiB.
    pub mib: u32,
}

impl Default for Image {
    fn default() -> Image {
        Image {
            block_size: 4096,
            inode_size: 256,
            mib: 64,
        }
    }
}

/// Runs a program to its end and returns its output; fails when it does.
pub fn tool(program: &str, arguments: &[&str]) -> Result<String> {
    let (code, text) = tool_code(program, arguments)?;
    ensure!(
        code == 0,
        "{program} {} ended with {code}:\n{text}",
        arguments.join(" ")
    );
    Ok(text)
}

/// Runs a program to its end and returns its exit code and output.
pub fn tool_code(program: &str, arguments: &[&str]) -> Result<(i32, String)> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("run {program}"))?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    let code = output
        .status
        .code()
        .with_context(|| format!("{program} was killed: {text}"))?;
    Ok((code, text))
}

/// Runs one command of debugfs on the unmounted first disk, which it may change.
pub fn debugfs(command: &str) -> Result<String> {
    tool("debugfs", &["-w", "-R", command, DISK])
}

/// Makes an empty filesystem for the driver under test.
///
/// For notblk it is what `mke2fs -t ext2` makes. For the C driver it is the seed's ground: ext4
/// without extents and what depends on them, with its journal, since that is how the bug was
/// reported and measured.
pub fn make(driver: Driver, disk: &str, image: Image) -> Result<()> {
    let block_size = image.block_size.to_string();
    let inode_size = image.inode_size.to_string();
    let size = format!("{}M", image.mib);
    let mut arguments = vec!["-q", "-F", "-b", &block_size, "-I", &inode_size];
    match driver {
        Driver::Notblk => arguments.extend(["-t", "ext2"]),
        Driver::Ext4 => arguments.extend([
            "-t",
            "ext4",
            "-O",
            "^extent,^64bit,^metadata_csum,^flex_bg,^uninit_bg",
            "-E",
            "lazy_itable_init=0,lazy_journal_init=0",
        ]),
    }
    arguments.extend([disk, &size]);
    tool("mke2fs", &arguments).map(drop)
}

/// Loads the driver.
pub fn load(driver: Driver) -> Result<()> {
    modules::load(driver.name(), &[])
}

/// Mounts; options as for `mount -o`, of which `ro`, `strictatime`, `dirsync` and `nodev` are flags.
pub fn try_mount(kind: &str, disk: &str, place: &str, options: &str) -> Result<(), Errno> {
    let (flags, data) = split(options);
    let data = CString::new(data).map_err(|_| Errno::INVAL)?;
    mount(disk, place, kind, flags, Some(data.as_c_str()))
}

/// Changes the options of a mount.
pub fn try_remount(place: &str, options: &str) -> Result<(), Errno> {
    let (flags, data) = split(options);
    let data = CString::new(data).map_err(|_| Errno::INVAL)?;
    mount_remount(place, flags, data.as_c_str())
}

/// Takes `ro`, `rw`, `strictatime`, `dirsync` and `nodev` out of the options, the only ones that mount(8) turns into flags here.
fn split(options: &str) -> (MountFlags, String) {
    let mut flags = MountFlags::empty();
    let mut data = Vec::new();
    for option in options.split(',') {
        match option {
            "" | "rw" => {}
            "ro" => flags |= MountFlags::RDONLY,
            "strictatime" => flags |= MountFlags::STRICTATIME,
            "dirsync" => flags |= MountFlags::DIRSYNC,
            "nodev" => flags |= MountFlags::NODEV,
            _ => data.push(option),
        }
    }
    (flags, data.join(","))
}

/// A mount that goes with its scope. [`Mounted::end`] is the way to see errors.
pub struct Mounted {
    place: String,
}

impl Mounted {
    /// Mounts the disk for the driver.
    pub fn new(driver: Driver, disk: &str, place: &str, options: &str) -> Result<Mounted> {
        Mounted::of_type(driver.name(), disk, place, options)
    }

    /// Mounts with any filesystem type.
    pub fn of_type(kind: &str, disk: &str, place: &str, options: &str) -> Result<Mounted> {
        try_mount(kind, disk, place, options)
            .with_context(|| format!("mount -t {kind} -o {options:?} {disk} {place}"))?;
        Ok(Mounted {
            place: place.to_owned(),
        })
    }

    /// Unmounts.
    pub fn end(self) -> Result<()> {
        let place = self.place.clone();
        std::mem::forget(self);
        unmount(place.as_str(), UnmountFlags::empty()).with_context(|| format!("umount {place}"))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Only reached when the work on it has failed, and then that failure is the news.
        let _ = unmount(self.place.as_str(), UnmountFlags::empty());
    }
}

/// What `e2fsck -fn` complains about; `None` when the filesystem is clean.
pub fn check(disk: &str) -> Result<Option<String>> {
    let (code, text) = tool_code("e2fsck", &["-fn", disk])?;
    Ok((code != 0).then(|| format!("e2fsck -fn {disk} ended with {code}:\n{}", text.trim_end())))
}

/// The errors that a filesystem's superblock has on record, if any: `e2fsck -n` passes over them.
pub fn recorded(disk: &str) -> Result<Option<String>> {
    let text = tool("dumpe2fs", &["-h", disk])?;
    let words = ["FS Error", "First error", "Last error"];
    let lines: Vec<_> = text
        .lines()
        .filter(|line| words.iter().any(|word| line.starts_with(word)))
        .collect();
    Ok((!lines.is_empty()).then(|| format!("errors on record: {}", lines.join("; "))))
}

/// The counters of the mount in debugfs; `None` for a driver that has none.
pub fn counters(driver: Driver, disk: &str) -> Result<Option<BTreeMap<String, u64>>> {
    if driver != Driver::Notblk {
        return Ok(None);
    }
    let name = Path::new(disk).file_name().context("a disk's name")?;
    let path = Path::new("/sys/kernel/debug/notblk")
        .join(name)
        .join("counters");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let mut counters = BTreeMap::new();
    for line in text.lines() {
        let Some((name, value)) = line.split_once(char::is_whitespace) else {
            bail!("not a counter: {line:?}");
        };
        counters.insert(name.to_owned(), value.trim().parse()?);
    }
    Ok(Some(counters))
}

/// Opens for reading and writing with `O_DIRECT`, and creates.
pub fn open_direct(path: impl AsRef<Path>) -> Result<File> {
    open(path, libc::O_DIRECT)
}

/// Opens for reading and writing through the page cache, and creates.
pub fn open_buffered(path: impl AsRef<Path>) -> Result<File> {
    open(path, 0)
}

fn open(path: impl AsRef<Path>, flags: i32) -> Result<File> {
    let path = path.as_ref();
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(flags)
        .open(path)
        .with_context(|| format!("open {}", path.display()))
}

/// The options of a mount as `/proc/mounts` shows them.
pub fn shown_options(place: &str) -> Result<Vec<String>> {
    let mounts = fs::read_to_string("/proc/mounts")?;
    let line = mounts
        .lines()
        .rev()
        .find(|line| line.split(' ').nth(1) == Some(place))
        .with_context(|| format!("{place} is not in /proc/mounts"))?;
    let options = line
        .split(' ')
        .nth(3)
        .context("no options in /proc/mounts")?;
    Ok(options.split(',').map(str::to_owned).collect())
}
