// SPDX-License-Identifier: GPL-2.0

//! The cache: `$XDG_CACHE_HOME/notblk`, or `~/.cache/notblk`.
//!
//! ```text
//! .notblk-cache            the mark: this directory is ours
//! NAME-KEY/                an entry; the key is a hash of all that it was made from
//!     .notblk-cache        the mark again
//! tmp-NAME-KEY/            an entry being made; renamed when it is complete
//! work-NAME/               a build directory, reused and incremental
//! locks/ENTRY              locked while somebody makes or uses the entry; holds the owner's process id
//! logs/NAME.log            what child processes said
//! ```
//!
//! Two rules keep this safe. Nothing is deleted that does not carry the mark, and the mark is the last thing to go. A
//! `tmp-` directory belongs to whoever holds its entry's lock, so one found by the next holder is a dead process's.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use rustix::fs::FlockOperation;
use sha2::{Digest, Sha256};

use crate::errors::Exit;
use crate::interrupt;
use crate::ui::Ui;

/// The name of the mark.
const MARK: &str = ".notblk-cache";
/// What the mark holds: the version of the layout.
const MARK_TEXT: &str =
    "notblk cache, version 1: made by cargo xtask, may be deleted at any time\n";

/// The cache directory.
#[derive(Clone, Debug)]
pub struct Cache {
    /// The directory itself, absolute and without symbolic links.
    pub root: PathBuf,
}

impl Cache {
    /// Opens the cache of this user; makes it where it is missing.
    pub fn open() -> Result<Self> {
        let var = |name| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        let base = match var("XDG_CACHE_HOME").filter(|p| p.is_absolute()) {
            Some(base) => base,
            None => var("HOME")
                .map(|home| home.join(".cache"))
                .ok_or_else(|| Exit::host("neither XDG_CACHE_HOME nor HOME is set"))?,
        };
        Self::at(&base.join("notblk"))
    }

    /// Opens the cache at `root`; refuses a directory that holds something else.
    pub fn at(root: &Path) -> Result<Self> {
        let make = || -> Result<()> {
            fs::create_dir_all(root)?;
            if !is_marked(root) {
                let strange = fs::read_dir(root)?.next().is_some();
                if strange {
                    return Err(Exit::host(format!(
                        "{} holds something that is not a notblk cache",
                        root.display()
                    ))
                    .hint("move it away, or point XDG_CACHE_HOME elsewhere")
                    .into());
                }
                mark(root)?;
            }
            fs::create_dir_all(root.join("locks"))?;
            fs::create_dir_all(root.join("logs"))?;
            Ok(())
        };
        make().with_context(|| format!("cannot make the cache {}", root.display()))?;
        let root = root.canonicalize()?;
        Ok(Cache { root })
    }

    /// The directory of logs.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// The path of the log called `name`.
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.log"))
    }

    /// The path of the complete entry, if it is there.
    pub fn get(&self, entry: &str) -> Option<PathBuf> {
        let dir = self.root.join(entry);
        is_marked(&dir).then_some(dir)
    }

    /// Returns the entry, made by `make` in a temporary directory if it is missing.
    ///
    /// `what` names it to the user, as in "prepares kernel 7.3"; `space` is how many bytes making it may take.
    pub fn get_or_make(
        &self,
        ui: &Ui,
        entry: &str,
        what: &str,
        space: u64,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        if let Some(dir) = self.get(entry) {
            return Ok(dir);
        }
        let _lock = self.lock(ui, entry, what)?;
        if let Some(dir) = self.get(entry) {
            return Ok(dir);
        }
        let tmp = self.root.join(format!("tmp-{entry}"));
        remove_marked(&tmp)?;
        self.require_space(what, space)?;
        fs::create_dir(&tmp).with_context(|| format!("cannot make {}", tmp.display()))?;
        let made = mark(&tmp)
            .and_then(|()| make(&tmp))
            .and_then(|()| interrupt::check());
        if let Err(error) = made {
            if let Err(left) = remove_marked(&tmp) {
                ui.warn(&format!("{left:#}"));
            }
            return Err(error);
        }
        let dir = self.root.join(entry);
        fs::rename(&tmp, &dir)
            .with_context(|| format!("cannot move the finished {} into place", dir.display()))?;
        Ok(dir)
    }

    /// A directory that is kept and reused; hold the lock of the same name while working in it.
    pub fn work_dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.root.join(format!("work-{name}"));
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        if !is_marked(&dir) {
            mark(&dir)?;
        }
        Ok(dir)
    }

    /// Takes the lock `name`; waits, and says for whom, while another process holds it.
    pub fn lock(&self, ui: &Ui, name: &str, what: &str) -> Result<Lock> {
        if let Some(lock) = self.try_lock(name)? {
            return Ok(lock);
        }
        let path = self.root.join("locks").join(name);
        let owner = holder(&path);
        let step = ui.step(
            "lock",
            &format!("waiting for another xtask{owner} that {what}"),
        );
        loop {
            interrupt::check()?;
            if let Some(lock) = self.try_lock(name)? {
                step.done("the other xtask has finished");
                return Ok(lock);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Takes the lock `name`, unless another process holds it.
    pub fn try_lock(&self, name: &str) -> Result<Option<Lock>> {
        let path = self.root.join("locks").join(name);
        let open = || {
            File::options()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(&path)
        };
        let mut file =
            open().with_context(|| format!("cannot open the lock {}", path.display()))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                // Only a courtesy to whoever waits; the lock holds without it, on a full disk too.
                let _ = file
                    .set_len(0)
                    .and_then(|()| file.rewind())
                    .and_then(|()| writeln!(file, "{}", std::process::id()));
                Ok(Some(Lock { _file: file }))
            }
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
        }
    }

    /// Removes what processes that died have left half made.
    pub fn sweep(&self, ui: &Ui) -> Result<()> {
        for item in fs::read_dir(&self.root)?.flatten() {
            let name = item.file_name();
            let Some(entry) = name.to_str().and_then(|n| n.strip_prefix("tmp-")) else {
                continue;
            };
            if let Some(_lock) = self.try_lock(entry)? {
                let step = ui.step("cache", &format!("removing the unfinished {entry}"));
                match remove_marked(&item.path()) {
                    Ok(()) => step.done(&format!("removed the unfinished {entry}")),
                    Err(error) => ui.warn(&format!("{error:#}")),
                }
            }
        }
        Ok(())
    }

    /// Fails unless `bytes` more fit into the cache's file system.
    pub fn require_space(&self, what: &str, bytes: u64) -> Result<()> {
        let free = self.free_space()?;
        if free >= bytes {
            return Ok(());
        }
        let gb = |n: u64| n as f64 / 1e9;
        Err(Exit::host(format!(
            "disk full: an xtask that {what} needs {:.1} GB in {}, {:.1} GB are free",
            gb(bytes),
            self.root.display(),
            gb(free)
        ))
        .hint("free some space, or point XDG_CACHE_HOME at a larger file system")
        .into())
    }

    /// The bytes free for this user in the cache's file system.
    pub fn free_space(&self) -> Result<u64> {
        let stat = rustix::fs::statvfs(&self.root).context("cannot ask for free disk space")?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// A lock, held until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// True where `dir` is a directory with the mark in it.
fn is_marked(dir: &Path) -> bool {
    let is_dir = fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_dir());
    is_dir && fs::symlink_metadata(dir.join(MARK)).is_ok_and(|meta| meta.is_file())
}

fn mark(dir: &Path) -> Result<()> {
    fs::write(dir.join(MARK), MARK_TEXT).with_context(|| format!("cannot mark {}", dir.display()))
}

/// Deletes a directory that carries the mark, or that is empty; fails on any other, and where something is mounted.
pub fn remove_marked(dir: &Path) -> Result<()> {
    let meta = match fs::symlink_metadata(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.with_context(|| format!("cannot look at {}", dir.display()))?,
    };
    if !is_marked(dir) {
        // Killed between making the directory and marking it; `remove_dir` refuses if it holds anything.
        return fs::remove_dir(dir).map_err(|_| {
            Exit::host(format!(
                "{} does not carry our mark: not deleted",
                dir.display()
            ))
            .into()
        });
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
    ensure!(
        !mounted_below(&mounts, dir),
        "something is mounted below {}: not deleted",
        dir.display()
    );
    for item in fs::read_dir(dir)? {
        let item = item?;
        if item.file_name() == MARK {
            continue;
        }
        // rm does two things that the standard library does not: it stays on one file system, and it copes with
        // directories that lack the permission to be emptied only when they are empty already.
        let status = Command::new("rm")
            .args(["-rf", "--one-file-system", "--"])
            .arg(item.path())
            .status()
            .context("cannot run rm")?;
        ensure!(status.success(), "cannot delete {}", item.path().display());
    }
    ensure!(meta.is_dir() && meta.dev() == fs::symlink_metadata(dir)?.dev());
    fs::remove_file(dir.join(MARK))?;
    fs::remove_dir(dir).with_context(|| format!("cannot delete {}", dir.display()))
}

/// True where the table of mounts names a mount point at or below `dir`.
fn mounted_below(mountinfo: &str, dir: &Path) -> bool {
    mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .any(|point| Path::new(&unescape(point)).starts_with(dir))
}

/// Undoes the octal escapes of the kernel's table of mounts.
fn unescape(point: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(point.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// A short key from everything that an entry is made from.
pub fn key(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())[..12].to_owned()
}

/// The SHA-256 of a file, in hexadecimal.
pub fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        interrupt::check()?;
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Who holds the lock at `path`, in brackets; nothing while its number is being written. Just before, it is the last holder's.
fn holder(path: &Path) -> String {
    match fs::read_to_string(path).unwrap_or_default().trim() {
        "" => String::new(),
        pid => format!(" (pid {pid})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> (tempfile::TempDir, Cache, Ui) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(&dir.path().join("notblk")).unwrap();
        (dir, cache, Ui::new(false))
    }

    #[test]
    fn an_entry_is_made_once_and_found_again() {
        let (_dir, cache, ui) = setup();
        let make = |tmp: &Path| Ok(fs::write(tmp.join("file"), "content")?);
        let made = cache.get_or_make(&ui, "thing-1", "tests", 0, make).unwrap();
        let again = cache
            .get_or_make(&ui, "thing-1", "tests", 0, |_| panic!("made twice"))
            .unwrap();
        assert_eq!(made, again);
        assert_eq!(fs::read_to_string(made.join("file")).unwrap(), "content");
        assert!(!cache.root.join("tmp-thing-1").exists());
    }

    #[test]
    fn the_holder_of_a_lock_is_named_once_it_is_known() {
        let (_dir, cache, _ui) = setup();
        let path = cache.root.join("locks").join("one");
        let _lock = cache.try_lock("one").unwrap().unwrap();
        assert_eq!(holder(&path), format!(" (pid {})", std::process::id()));
        fs::write(&path, "").unwrap();
        assert_eq!(holder(&path), "");
    }

    #[test]
    fn a_failure_leaves_nothing() {
        let (_dir, cache, ui) = setup();
        let error = cache
            .get_or_make(&ui, "thing-1", "tests", 0, |tmp| {
                fs::write(tmp.join("half"), "")?;
                anyhow::bail!("no luck")
            })
            .unwrap_err();
        assert_eq!(error.to_string(), "no luck");
        assert!(!cache.root.join("tmp-thing-1").exists());
        assert!(cache.get("thing-1").is_none());
    }

    #[test]
    fn a_dead_process_leaves_a_directory_that_the_sweep_removes() {
        let (_dir, cache, ui) = setup();
        let tmp = cache.root.join("tmp-thing-1");
        fs::create_dir_all(tmp.join("sub")).unwrap();
        mark(&tmp).unwrap();
        cache.sweep(&ui).unwrap();
        assert!(!tmp.exists());
    }

    #[test]
    fn the_sweep_leaves_a_directory_that_somebody_works_in() {
        let (_dir, cache, ui) = setup();
        let tmp = cache.root.join("tmp-thing-1");
        fs::create_dir(&tmp).unwrap();
        mark(&tmp).unwrap();
        let lock = cache.try_lock("thing-1").unwrap().unwrap();
        assert!(cache.try_lock("thing-1").unwrap().is_none());
        cache.sweep(&ui).unwrap();
        assert!(tmp.exists());
        drop(lock);
        cache.sweep(&ui).unwrap();
        assert!(!tmp.exists());
    }

    #[test]
    fn nothing_without_the_mark_is_deleted() {
        let (_dir, cache, ui) = setup();
        let tmp = cache.root.join("tmp-thing-1");
        fs::create_dir(&tmp).unwrap();
        fs::write(tmp.join("precious"), "").unwrap();
        cache.sweep(&ui).unwrap();
        assert!(tmp.join("precious").exists());
        let error = cache
            .get_or_make(&ui, "thing-1", "tests", 0, |_| panic!("made over it"))
            .unwrap_err();
        assert!(
            error.to_string().contains("does not carry our mark"),
            "{error}"
        );
        assert!(tmp.join("precious").exists());
    }

    #[test]
    fn a_directory_that_holds_something_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), "").unwrap();
        let error = Cache::at(dir.path()).unwrap_err();
        assert!(
            format!("{error:#}").contains("not a notblk cache"),
            "{error:#}"
        );
        assert!(!dir.path().join(MARK).exists());
    }

    #[test]
    fn too_little_space_is_said_before_anything_is_made() {
        let (_dir, cache, ui) = setup();
        let error = cache
            .get_or_make(&ui, "thing-1", "makes a thing", u64::MAX, |_| {
                panic!("made")
            })
            .unwrap_err();
        assert!(error.to_string().starts_with("disk full: "), "{error}");
        assert!(!cache.root.join("tmp-thing-1").exists());
    }

    #[test]
    fn mounts_below_are_seen() {
        let table =
            "22 1 0:20 / /proc rw - proc proc rw\n23 1 0:21 / /a\\040b/box/dev rw - tmpfs x rw\n";
        assert!(mounted_below(table, Path::new("/a b/box")));
        assert!(!mounted_below(table, Path::new("/a b/bo")));
    }

    #[test]
    fn keys_tell_apart_what_only_looks_alike() {
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_eq!(key(&["ab", "c"]).len(), 12);
    }
}
