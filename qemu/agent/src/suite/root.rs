// SPDX-License-Identifier: GPL-2.0
//! The suite's root: an erofs image under an overlay, and the host's directories in it.
//!
//! It becomes the root of the whole guest, PID 1 included, as switch_root does it: in a mere chroot
//! nobody may make user namespaces, which tests do. All that is written goes to one tmpfs, so
//! nothing of one boot reaches the next.

use super::{RESULTS, SUITE};
use anyhow::{ensure, Context, Result};
use notblk_protocol::suite::{disk, share, CONFIG};
use rustix::fs::{mknodat, FileType, Mode, CWD};
use rustix::mount::{mount, mount_bind, mount_move, MountFlags};
use rustix::process::{chdir, chroot, setrlimit, Resource, Rlimit};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Where the image is mounted.
const IMAGE: &str = "/rom";
/// What may be written.
const WORK: &str = "/work";
/// The overlay of the two, before it becomes the root.
const ROOT: &str = "/new";

/// `mkfs.notblk` and `fsck.notblk`.
const WRAPPERS: &[(&str, &str)] = &[
    (
        "mkfs.notblk",
        "#!/bin/sh\nexec /usr/sbin/mke2fs -t ext2 \"$@\"\n",
    ),
    ("fsck.notblk", "#!/bin/sh\nexec /usr/sbin/e2fsck \"$@\"\n"),
];

/// The suite's disks, as paths of their device nodes.
pub struct Disks {
    /// `TEST_DEV`
    pub test: String,
    /// `SCRATCH_DEV`
    pub scratch: String,
    /// `LOGWRITES_DEV`
    pub logwrites: Option<String>,
}

/// Makes the suite's root, for these tests, and moves into it.
pub fn enter(tests: &[String]) -> Result<Disks> {
    let mut disks = by_serial()?;
    let mut take = |name: &str| {
        let found = disks.remove(name);
        found.with_context(|| format!("the guest has no disk with the serial number {name:?}"))
    };
    let image = take(disk::ROOT)?;
    let test = take(disk::TEST)?;
    let scratch = take(disk::SCRATCH)?;
    let suite = disks.remove(disk::SUITE);
    let disks = Disks {
        test,
        scratch,
        logwrites: disks.remove(disk::LOGWRITES),
    };

    attach("erofs", &image, IMAGE, MountFlags::RDONLY, "")?;
    attach("tmpfs", "work", WORK, MountFlags::empty(), "size=60%")?;
    overlay(IMAGE, "root", ROOT)?;
    host_directories(suite.as_deref(), &tags()?, tests)?;
    // After this, devices and sysfs are where they will be.
    kernel_filesystems()?;
    let bind = [
        ("results", RESULTS, 0o755),
        ("tmp", "/tmp", 0o1777),
        ("run", "/run", 0o755),
    ];
    for (from, to, mode) in bind {
        let from = format!("{WORK}/{from}");
        let to = below(to);
        make_dir(&from)?;
        fs::set_permissions(&from, fs::Permissions::from_mode(mode))?;
        make_dir(&to)?;
        mount_bind(&from, &to).with_context(|| format!("bind {from} to {to}"))?;
    }

    // Where suites look for it.
    let release = rustix::system::uname();
    let config = format!("/boot/config-{}", release.release().to_string_lossy());
    make_dir(&below("/boot"))?;
    fs::copy(CONFIG, below(&config)).context("copy the kernel's configuration")?;

    chdir(ROOT).context("enter the new root")?;
    mount_move(".", "/").context("move the new root")?;
    chroot(".").context("chroot")?;
    chdir("/").context("chdir /")?;
    furnish()?;
    Ok(disks)
}

/// A path below the root that is being made.
fn below(path: &str) -> String {
    format!("{ROOT}{path}")
}

/// Device nodes by the serial numbers of the disks.
fn by_serial() -> Result<BTreeMap<String, String>> {
    let mut disks = BTreeMap::new();
    for entry in fs::read_dir("/sys/block").context("list /sys/block")? {
        let entry = entry?;
        // Loop devices have none.
        if let Ok(serial) = fs::read_to_string(entry.path().join("serial")) {
            let device = format!("/dev/{}", entry.file_name().to_string_lossy());
            disks.insert(serial.trim().to_owned(), device);
        }
    }
    Ok(disks)
}

/// Tags of the directories that the host shares.
fn tags() -> Result<Vec<String>> {
    let mut tags = Vec::new();
    let devices = "/sys/bus/virtio/devices";
    for entry in fs::read_dir(devices).with_context(|| format!("list {devices}"))? {
        // Only those of 9p have one.
        if let Ok(tag) = fs::read_to_string(entry?.path().join("mount_tag")) {
            tags.push(tag.trim_end_matches(['\0', '\n']).to_owned());
        }
    }
    Ok(tags)
}

fn make_dir(path: &str) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("mkdir {path}"))
}

fn attach(kind: &str, what: &str, place: &str, flags: MountFlags, options: &str) -> Result<()> {
    make_dir(place)?;
    let data = CString::new(options)?;
    mount(what, place, kind, flags, Some(data.as_c_str()))
        .with_context(|| format!("mount -t {kind} -o {options:?} {what} {place}"))
}

/// Where changes to an overlay go.
fn upper(name: &str) -> String {
    format!("{WORK}/{name}.upper")
}

/// Lays a part of the work directory over a filesystem.
fn overlay(lower: &str, name: &str, place: &str) -> Result<()> {
    let upper = upper(name);
    let work = format!("{WORK}/{name}.work");
    make_dir(&upper)?;
    make_dir(&work)?;
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    attach("overlay", "overlay", place, MountFlags::empty(), &options)
}

/// What the kernel itself has to show. What PID 1 has mounted already moves along.
fn kernel_filesystems() -> Result<()> {
    for place in ["/proc", "/sys", "/dev"] {
        let to = below(place);
        make_dir(&to)?;
        mount_move(place, &to).with_context(|| format!("move {place} to {to}"))?;
    }
    let more = [
        ("devpts", "/dev/pts", "gid=5,mode=620,ptmxmode=666"),
        ("tmpfs", "/dev/shm", "mode=1777"),
        ("cgroup2", "/sys/fs/cgroup", ""),
    ];
    for (kind, place, options) in more {
        attach(kind, kind, &below(place), MountFlags::empty(), options)?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        link(target, &below(&format!("/dev/{name}")))?;
    }
    Ok(())
}

/// The suite with what is laid over it, and the kernel's modules.
fn host_directories(suite: Option<&str>, tags: &[String], tests: &[String]) -> Result<()> {
    // `loose` keeps what was read; the host must not change these directories while the guest runs.
    let options = "trans=virtio,version=9p2000.L,cache=loose,msize=512000";
    let share = |tag: &str, place: &str| attach("9p", tag, place, MountFlags::RDONLY, options);
    let has = |tag: &str| tags.iter().any(|other| other == tag);
    ensure!(
        has(share::MODULES),
        "the host shares no directory of kernel modules"
    );
    share(share::MODULES, &below("/usr/lib/modules"))?;
    let lower = "/share/suite";
    match suite {
        Some(image) => attach("erofs", image, lower, MountFlags::RDONLY, "")?,
        None => {
            ensure!(has(share::SUITE), "the host gives no suite");
            share(share::SUITE, lower)?;
        }
    }
    if has(share::OVERLAY) {
        // Copied, because as a layer it would be asked for every file of the suite first.
        share(share::OVERLAY, "/share/overlay")?;
        copy_tree("/share/overlay".as_ref(), upper("suite").as_ref())
            .context("copy what is laid over the suite")?;
    }
    hide(tests, lower).context("hide other tests")?;
    // Writable, because tests make links beside themselves, and `check` changes modes.
    overlay(lower, "suite", &below(SUITE))
}

/// Hides directories of tests of which none is to run: `check` looks at each file of all tests before it
/// begins, and most of them are for other filesystems.
fn hide(tests: &[String], lower: &str) -> Result<()> {
    let used = |name: &str| {
        // The directory without a filesystem's name is used by the others.
        name == "generic"
            || tests
                .iter()
                .any(|test| test.split('/').next() == Some(name))
    };
    let upper = format!("{}/tests", upper("suite"));
    make_dir(&upper)?;
    for entry in fs::read_dir(format!("{lower}/tests"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{upper}/{name}");
        let laid = Path::new(&path).exists();
        if entry.file_type()?.is_dir() && !laid && !used(&name) {
            // What overlayfs takes for "there is nothing".
            mknodat(CWD, &path, FileType::CharacterDevice, Mode::empty(), 0)
                .with_context(|| format!("mknod {path}"))?;
        }
    }
    Ok(())
}

/// Copies all directories and files below `from`.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_tree(&entry.path(), &to)?,
            false => drop(fs::copy(entry.path(), &to)?),
        }
    }
    Ok(())
}

/// The small things that programs look for.
fn furnish() -> Result<()> {
    for place in ["/mnt/test", "/mnt/scratch"] {
        make_dir(place)?;
    }
    for (name, script) in WRAPPERS {
        let path = format!("/usr/sbin/{name}");
        fs::write(&path, script).with_context(|| format!("write {path}"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    fs::write("/etc/hosts", "127.0.0.1 localhost notblk\n::1 localhost\n")?;
    fs::write("/etc/hostname", "notblk\n")?;
    link("/proc/self/mounts", "/etc/mtab")?;
    rustix::system::sethostname(b"notblk").context("set the host's name")?;
    // The kernel gives PID 1 4096 open files at most; any login has more.
    let files = Rlimit {
        current: Some(1024),
        maximum: Some(524_288),
    };
    setrlimit(Resource::Nofile, files).context("raise the limit of open files")?;
    std::env::set_var("HOME", "/root");
    Ok(())
}

/// Makes a symbolic link, in the place of whatever is there.
fn link(target: &str, path: &str) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {path}"))
        }
        _ => symlink(target, path).with_context(|| format!("link {path}")),
    }
}
