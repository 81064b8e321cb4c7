// SPDX-License-Identifier: GPL-2.0

//! Writing files so that a crash leaves either the old or the new one, and names that cannot lead out of a directory.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

/// The longest name made of a guest's; a file system takes 255 bytes.
const LONGEST: usize = 200;

/// Writes a file by renaming a complete one into place; it is on the disk when this returns.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> Result<()> {
        let dir = path.parent().context("it has no directory")?;
        let mut name = OsString::from(".");
        name.push(path.file_name().context("it has no name")?);
        name.push(".new");
        let new = dir.join(name);
        let mut file = File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        sync_dir(dir)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Makes the names in a directory last.
pub fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)?.sync_all()?;
    Ok(())
}

/// One component of a path, made of any name: stays in its directory, is hidden in no listing, needs no quoting, and no
/// two names of sane length give the same.
pub fn component(name: &str) -> String {
    let mut safe = String::new();
    for (at, byte) in name.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b',');
        match plain || (byte == b'.' && at > 0) {
            true => safe.push(char::from(byte)),
            false => safe.push_str(&format!("={byte:02X}")),
        }
    }
    safe.truncate(LONGEST);
    match safe.is_empty() {
        true => "=".to_owned(),
        false => safe,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_its_directory() {
        for name in [
            "",
            ".",
            "..",
            "/",
            "/etc/passwd",
            "a/../../b",
            "-\0",
            "ä\n",
            ".lock",
        ] {
            let safe = component(name);
            assert!(!safe.is_empty() && !safe.starts_with('.'), "{safe}");
            assert!(!safe.contains('/') && !safe.contains('\0'), "{safe}");
        }
    }

    #[test]
    fn plain_names_stay_and_strange_ones_differ() {
        for name in ["full", "out.bad", "dmesg", "generic", "746", "notblk-1k"] {
            assert_eq!(component(name), name);
        }
        assert_ne!(component("a/b"), component("a_b"));
        assert_ne!(component("a/b"), component("a=2Fb"));
        assert!(component(&"/".repeat(1000)).len() <= LONGEST);
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(write_atomically(&dir.path().join("none/file"), b"").is_err());
    }
}
