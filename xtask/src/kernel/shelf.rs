// SPDX-License-Identifier: GPL-2.0

//! The last kernels of a developer's tree, as far as a boot needs them. A bisection comes back to its ends, to the culprit and to
//! its parent: it need not compile them again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// How many are kept: more than a bisection over a thousand commits has steps, and some hundred MB with the base options.
const KEPT: usize = 12;

/// The place for them.
pub struct Shelf(PathBuf);

/// What a boot needs of a kernel.
pub struct Kept {
    /// What QEMU boots.
    pub image: PathBuf,
    /// Its configuration.
    pub config: PathBuf,
    /// What `lib/modules` is in.
    pub root: PathBuf,
    /// What `uname -r` says in it.
    pub release: String,
}

impl Shelf {
    /// Below this directory, whose lock the caller has.
    pub fn of(place: &Path) -> Shelf {
        Shelf(place.join("kept"))
    }

    /// The kernel of this id.
    pub fn find(&self, id: &str) -> Option<Kept> {
        let dir = self.0.join(id);
        let release = fs::read_to_string(dir.join("release")).ok()?;
        // Who is asked for stays.
        let now = std::time::SystemTime::now();
        let touched = fs::File::open(&dir).and_then(|dir| dir.set_modified(now));
        touched.is_ok().then(|| Kept {
            image: dir.join("vmlinux"),
            config: dir.join(".config"),
            root: dir.join("root"),
            release,
        })
    }

    /// Keeps what was built for this id, in place of what nobody has asked for the longest.
    pub fn keep(&self, id: &str, kernel: &Kept) -> Result<()> {
        let half = self.0.join("half");
        let whole = self.0.join(id);
        for old in [&half, &whole] {
            if old.exists() {
                fs::remove_dir_all(old)?;
            }
        }
        fs::create_dir_all(&half)?;
        // A copy: the next link may well write into the same file. Modules are installed anew each time.
        fs::copy(&kernel.image, half.join("vmlinux"))?;
        fs::copy(&kernel.config, half.join(".config"))?;
        let modules = Path::new("lib/modules").join(&kernel.release);
        link(
            &kernel.root.join(&modules),
            &half.join("root").join(&modules),
        )?;
        fs::write(half.join("release"), &kernel.release)?;
        fs::rename(&half, &whole)?;
        self.clear()
    }

    fn clear(&self) -> Result<()> {
        let mut all = Vec::new();
        for item in fs::read_dir(&self.0)? {
            let item = item?;
            all.push((item.metadata()?.modified()?, item.path()));
        }
        all.sort();
        let surplus = all.len().saturating_sub(KEPT);
        for (_, old) in all.into_iter().take(surplus) {
            fs::remove_dir_all(&old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
        Ok(())
    }
}

/// Makes the directory `to` of links to the files of `from`. What is neither file nor directory, as the link to the build
/// directory, is left out.
fn link(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for item in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let item = item?;
        let (kind, to) = (item.file_type()?, to.join(item.file_name()));
        if kind.is_dir() {
            link(&item.path(), &to)?;
        } else if kind.is_file() {
            fs::hard_link(item.path(), to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel as the build leaves it, and its shelf.
    fn built(dir: &Path, image: &str) -> Kept {
        let root = dir.join("root");
        let modules = root.join("lib/modules/7.3.4-x");
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(modules.join("kernel/fs")).unwrap();
        fs::write(modules.join("kernel/fs/a.ko"), image).unwrap();
        std::os::unix::fs::symlink("/nowhere", modules.join("build")).unwrap();
        fs::write(dir.join("vmlinux"), image).unwrap();
        fs::write(dir.join(".config"), "CONFIG_A=y\n").unwrap();
        Kept {
            image: dir.join("vmlinux"),
            config: dir.join(".config"),
            root,
            release: "7.3.4-x".into(),
        }
    }

    #[test]
    fn what_was_kept_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::of(dir.path());
        assert!(shelf.find("one").is_none());
        shelf.keep("one", &built(dir.path(), "1")).unwrap();
        // The next build writes where the first one did.
        shelf.keep("two", &built(dir.path(), "2")).unwrap();
        for (id, image) in [("one", "1"), ("two", "2")] {
            let kept = shelf.find(id).unwrap();
            assert_eq!(kept.release, "7.3.4-x");
            assert_eq!(fs::read_to_string(&kept.image).unwrap(), image);
            assert_eq!(fs::read_to_string(&kept.config).unwrap(), "CONFIG_A=y\n");
            let modules = kept.root.join("lib/modules/7.3.4-x");
            let module = fs::read_to_string(modules.join("kernel/fs/a.ko"));
            assert_eq!(module.unwrap(), image);
            assert!(!modules.join("build").exists());
        }
    }

    #[test]
    fn the_one_that_nobody_asks_for_goes() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::of(dir.path());
        let age = |id: &str, seconds| {
            let then = std::time::SystemTime::now() - std::time::Duration::from_secs(seconds);
            let dir = fs::File::open(shelf.0.join(id)).unwrap();
            dir.set_modified(then).unwrap();
        };
        for number in 0..KEPT {
            let id = number.to_string();
            shelf.keep(&id, &built(dir.path(), &id)).unwrap();
            age(&id, 1000 - number as u64);
        }
        assert!(shelf.find("0").is_some());
        shelf.keep("more", &built(dir.path(), "m")).unwrap();
        assert!(shelf.find("0").is_some(), "it was asked for");
        assert!(shelf.find("1").is_none());
        assert!(shelf.find("2").is_some());
    }
}
