// SPDX-License-Identifier: GPL-2.0
//! What the suite writes about a test.

use super::RESULTS;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};

/// Endings of the files that the host wants.
const ENDINGS: &[&str] = &["full", "out.bad", "dmesg", "notrun", "hints"];

/// What is kept of one file: so much of its beginning, and so much of its end.
const HALF: u64 = 64 << 10;

/// Reads the files about a test, which may begin anew at any moment and then loses some of them.
///
/// With `-L`, `check` keeps copies of each run that belongs to a loop: those of run `copy` are read, where
/// there are any. Without it the files are opened first of all, before `check` comes to remove them.
pub fn gather(test: &str, copy: Option<usize>) -> Result<BTreeMap<String, String>> {
    let open = |suffix: &str| -> Vec<_> {
        let file = |ending| File::open(format!("{RESULTS}/{test}.{ending}{suffix}"));
        ENDINGS
            .iter()
            .filter_map(|ending| Some((ending, file(ending).ok()?)))
            .collect()
    };
    let mut found = copy.map_or(Vec::new(), |copy| open(&format!(".rerun{copy}")));
    if found.is_empty() {
        found = open("");
    }
    let mut files = BTreeMap::new();
    for (ending, file) in found {
        let text = read_cut(file).with_context(|| format!("read {test}.{ending}"))?;
        files.insert((*ending).to_owned(), text);
    }
    Ok(files)
}

/// Removes everything about a test, core dumps included, so that memory does not fill up.
pub fn remove(test: &str) -> Result<()> {
    let Some((directory, number)) = test.rsplit_once('/') else {
        return Ok(());
    };
    let Ok(entries) = fs::read_dir(format!("{RESULTS}/{directory}")) else {
        // A test that was expunged makes no directory.
        return Ok(());
    };
    let prefix = format!("{number}.");
    for entry in entries {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(&prefix) {
            continue;
        }
        let path = entry.path();
        let removed = match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        removed.with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}

/// Reads a file, without its middle if it is long.
fn read_cut(mut file: File) -> Result<String> {
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    if length <= 2 * HALF {
        file.take(2 * HALF).read_to_end(&mut bytes)?;
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    (&file).take(HALF).read_to_end(&mut bytes)?;
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    text.push_str(&format!("\n[... {} bytes ...]\n", length - 2 * HALF));
    file.seek(SeekFrom::Start(length - HALF))?;
    bytes.clear();
    file.take(HALF).read_to_end(&mut bytes)?;
    text.push_str(&String::from_utf8_lossy(&bytes));
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn cut(bytes: &[u8]) -> String {
        let path = std::env::temp_dir().join(format!(
            "notblk-agent-cut-{}-{}",
            std::process::id(),
            bytes.len()
        ));
        File::create(&path).unwrap().write_all(bytes).unwrap();
        let text = read_cut(File::open(&path).unwrap()).unwrap();
        fs::remove_file(&path).unwrap();
        text
    }

    #[test]
    fn a_long_file_loses_its_middle() {
        assert_eq!(cut(b"short\n"), "short\n");
        let whole = vec![b'x'; 2 * HALF as usize];
        assert_eq!(cut(&whole).len(), whole.len());
        let mut long = vec![b'a'; 2 * HALF as usize];
        long.extend(vec![b'z'; 1000]);
        let text = cut(&long);
        assert!(text.starts_with("aaa") && text.ends_with("zzz"));
        assert!(text.contains("\n[... 1000 bytes ...]\n"));
        assert!(text.len() < 2 * HALF as usize + 40);
    }
}
