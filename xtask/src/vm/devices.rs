// SPDX-License-Identifier: GPL-2.0

//! Disks and shared directories of a guest.
//!
//! A disk that is written to has no name: it is memory, or a file that is unlinked from its birth. QEMU inherits it as an
//! open file. So nothing is left behind, however a run ends.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};

use super::qemu::{memory_file, path_of, Files};

/// Writes per second to a slow disk: a rate that a few busy threads exceed at once, so that each write then waits for its
/// turn for tens of milliseconds.
const SLOW: &str = "throttling.iops-write=200";

/// A virtio disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drive {
    /// By which the guest finds it: `/sys/block/*/serial`. At most 20 characters.
    pub serial: String,
    /// Where its content is.
    pub backing: Backing,
    /// Writes to it take long.
    pub slow: bool,
}

/// Where a disk's content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backing {
    /// In memory, of so many MiB; only what the guest writes takes any.
    Memory(u64),
    /// In an unlinked, sparse file in the cache, of so many MiB.
    Scratch(u64),
    /// In this new file, sparse, of so many MiB, which stays.
    Named(PathBuf, u64),
    /// In this file, which is only read.
    Image(PathBuf),
}

/// A directory of the host, which the guest may read by 9p.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// By which the guest mounts it.
    pub tag: String,
    /// The directory; absolute.
    pub path: PathBuf,
}

impl Drive {
    /// A disk in memory.
    pub fn memory(serial: &str, mib: u64) -> Self {
        Drive {
            serial: serial.into(),
            backing: Backing::Memory(mib),
            slow: false,
        }
    }

    /// A disk in an unlinked file: for what is too large for memory.
    pub fn scratch(serial: &str, mib: u64) -> Self {
        Drive {
            backing: Backing::Scratch(mib),
            ..Drive::memory(serial, mib)
        }
    }

    /// A disk that is only read.
    pub fn image(serial: &str, image: impl Into<PathBuf>) -> Self {
        Drive {
            backing: Backing::Image(image.into()),
            ..Drive::memory(serial, 0)
        }
    }

    /// The file of the host that the toolbox must show.
    pub(super) fn bind(&self) -> Option<&Path> {
        match &self.backing {
            Backing::Image(path) | Backing::Named(path, _) => Some(path),
            Backing::Memory(_) | Backing::Scratch(_) => None,
        }
    }

    /// QEMU's arguments for it as disk `number`; an unnamed file is made in `dir` and added to `files`.
    pub(super) fn arguments(
        &self,
        number: usize,
        dir: &Path,
        files: &mut Files,
    ) -> Result<Vec<OsString>> {
        let mut anonymous = |file: File, mib: u64| -> Result<OsString> {
            file.set_len(mib << 20)
                .with_context(|| format!("cannot make a disk of {mib} MiB"))?;
            let path = path_of(&file)?;
            files.push(file.into());
            Ok(path.into())
        };
        let path = match &self.backing {
            Backing::Memory(mib) => anonymous(memory_file("disk")?, *mib)?,
            Backing::Scratch(mib) => anonymous(unlinked_file(dir)?, *mib)?,
            Backing::Named(path, mib) => {
                let make = || File::create_new(path)?.set_len(mib << 20);
                make().with_context(|| format!("cannot make {}", path.display()))?;
                path.clone().into_os_string()
            }
            Backing::Image(path) => path.clone().into_os_string(),
        };
        Ok(self.described(number, &path))
    }

    fn described(&self, number: usize, path: &OsStr) -> Vec<OsString> {
        // Requests go through QEMU's thread pool, so they are under way for a while and end out of order, as on a real
        // disk; flushes have nothing to do, because a disk that is written to never outlives QEMU.
        let mut drive = format!("if=none,id=disk{number},format=raw,cache=unsafe,aio=threads");
        drive += match self.backing {
            Backing::Image(_) => ",readonly=on",
            _ => ",discard=unmap",
        };
        if self.slow {
            drive = format!("{drive},{SLOW}");
        }
        let mut drive = OsString::from(drive + ",file=");
        drive.push(escaped(path));
        let device = format!("virtio-blk-pci,drive=disk{number},serial={}", self.serial);
        vec!["-drive".into(), drive, "-device".into(), device.into()]
    }
}

impl Share {
    /// The directory at `path` under the name `tag`.
    pub fn new(tag: &str, path: impl Into<PathBuf>) -> Self {
        Share {
            tag: tag.into(),
            path: path.into(),
        }
    }

    /// QEMU's arguments for it as share `number`.
    pub(super) fn arguments(&self, number: usize) -> Vec<OsString> {
        // Owners and modes are the host's own. A tree that spans file systems gets inode numbers that do not clash.
        let mut fsdev = OsString::from(format!(
            "local,id=share{number},security_model=none,readonly=on,multidevs=remap,path="
        ));
        fsdev.push(escaped(self.path.as_os_str()));
        let device = format!("virtio-9p-pci,fsdev=share{number},mount_tag={}", self.tag);
        vec!["-fsdev".into(), fsdev, "-device".into(), device.into()]
    }
}

/// A comma ends a value of QEMU's options, unless it is doubled.
fn escaped(value: &OsStr) -> OsString {
    let mut bytes = Vec::with_capacity(value.len());
    for &byte in value.as_bytes() {
        bytes.push(byte);
        if byte == b',' {
            bytes.push(byte);
        }
    }
    OsString::from_vec(bytes)
}

/// A file without a name, in the file system of `dir`.
fn unlinked_file(dir: &Path) -> Result<File> {
    let fail = || format!("cannot make a temporary file in {}", dir.display());
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => return Ok(file.into()),
        // What file systems and kernels say that do not know of it.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => {
        }
        Err(error) => return Err(error).with_context(fail),
    }
    named_and_unlinked(dir).with_context(fail)
}

/// The same where only files with names can be made: it has one for a moment.
fn named_and_unlinked(dir: &Path) -> Result<File> {
    for number in 0..1000 {
        let path = dir.join(format!(".disk-{}-{number}", std::process::id()));
        let made = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path);
        match made {
            Ok(file) => {
                fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    anyhow::bail!("every name is taken")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek, Write};

    fn joined(args: &[OsString]) -> String {
        let words: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn a_comma_in_a_path_stays_in_it() {
        assert_eq!(escaped("/a,b/,".as_ref()), "/a,,b/,,");
        let share = Share::new("suite", "/x,y");
        assert_eq!(
            joined(&share.arguments(3)),
            "-fsdev local,id=share3,security_model=none,readonly=on,multidevs=remap,path=/x,,y \
             -device virtio-9p-pci,fsdev=share3,mount_tag=suite"
        );
        let mut files = Files::new();
        let drive = Drive::image("root", "/x,y/image");
        let args = drive.arguments(0, "/".as_ref(), &mut files).unwrap();
        assert!(joined(&args).contains(",readonly=on,file=/x,,y/image "));
        assert!(joined(&args).ends_with(",serial=root"));
        assert!(files.is_empty());
        assert_eq!(drive.bind(), Some(Path::new("/x,y/image")));
    }

    #[test]
    fn only_a_slow_disk_is_slow() {
        let mut drive = Drive::memory("x", 8);
        assert!(!joined(&drive.described(1, "f".as_ref())).contains("throttling"));
        drive.slow = true;
        let text = joined(&drive.described(1, "f".as_ref()));
        assert!(text.contains("id=disk1,") && text.contains(SLOW), "{text}");
        assert!(!text.contains("readonly"), "{text}");
    }

    #[test]
    fn a_scratch_disk_is_sparse_and_has_no_name() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::new();
        let drive = Drive::scratch("x", 4096);
        drive.arguments(0, dir.path(), &mut files).unwrap();
        let disk = File::from(files.pop().unwrap());
        let meta = disk.metadata().unwrap();
        assert_eq!((meta.len(), meta.blocks()), (4096 << 20, 0));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_had_a_name_is_as_good() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = named_and_unlinked(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        file.write_all(b"data").unwrap();
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "data");
    }
}
