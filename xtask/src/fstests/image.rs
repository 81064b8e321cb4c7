// SPDX-License-Identifier: GPL-2.0

//! The suite's tree as an image that a guest reads like a disk.
//!
//! `check` begins with a look at every file of its tests, of which there are thousands. By 9p each look takes some round
//! trips to the host, and all of them 14 s of the guest's start; from an image they take 2 s. Besides, an image stays
//! what it was when somebody builds the suite anew while its tests run.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cache;
use crate::context::Ctx;
use crate::process;
use crate::toolbox::Toolbox;

/// Part of the key: to be raised when the image is made in another way.
const RECIPE: &str = "1";
/// What an image may take.
const SPACE: u64 = 200_000_000;

/// The image of a tree as it is now; the one that the cache has, if no file has changed since.
pub fn of(ctx: &Ctx, toolbox: &Toolbox, tree: &Path) -> Result<PathBuf> {
    let mut parts = vec![RECIPE.to_owned()];
    list(tree, &mut parts).with_context(|| format!("cannot list {}", tree.display()))?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let entry = format!("suite-{}", cache::key(&parts));
    let what = "makes an image of the suite";
    let dir = ctx.cache.get_or_make(&ctx.ui, &entry, what, SPACE, |dir| {
        let step = ctx.ui.step("suite", "making an image of its tree");
        let mut command = toolbox
            .command("mkfs.erofs")
            // Its owner on the host is nobody in the guest, and its extended attributes mean nothing there.
            .args(["--quiet", "--all-root", "-x-1", "--exclude-path=.git"])
            .arg(dir.join("suite.erofs"))
            .arg(tree)
            .bind(tree)
            .bind(dir)
            .cwd("/")
            .build();
        process::run(&step, &ctx.cache.log("suite-image"), what, &mut command)?;
        step.done("made an image of its tree");
        Ok(())
    })?;
    Ok(dir.join("suite.erofs"))
}

/// Adds what tells one state of a directory from another: names, modes, sizes and times.
fn list(dir: &Path, parts: &mut Vec<String>) -> Result<()> {
    let mut entries = fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        if entry.file_name() == OsStr::new(".git") {
            continue;
        }
        let path = entry.path();
        let data = entry.metadata()?;
        parts.push(format!(
            "{}\0{:o} {} {}.{}",
            path.display(),
            data.mode(),
            data.len(),
            data.mtime(),
            data.mtime_nsec()
        ));
        if data.is_dir() {
            list(&path, parts)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(dir: &Path) -> Vec<String> {
        let mut parts = Vec::new();
        list(dir, &mut parts).unwrap();
        parts
    }

    #[test]
    fn a_change_anywhere_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("tests/generic");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("001"), "one").unwrap();
        let before = listed(dir.path());
        assert_eq!(before.len(), 3);
        assert_eq!(listed(dir.path()), before);
        fs::create_dir(dir.path().join(".git")).unwrap();
        fs::write(dir.path().join(".git/index"), "x").unwrap();
        let file = |parts: &[String]| parts.last().unwrap().clone();
        assert_eq!(file(&listed(dir.path())), file(&before));
        fs::write(deep.join("001"), "three").unwrap();
        assert_ne!(file(&listed(dir.path())), file(&before));
    }
}
