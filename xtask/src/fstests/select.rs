// SPDX-License-Identifier: GPL-2.0

//! Which tests are run: `-g`, `-x`, `-e`, `-E` and names mean what they mean to the suite's own `check`.
//!
//! `check -n` cannot be asked on the host: it mounts TEST and makes SCRATCH anew before it lists anything. So its rules
//! are written down here, from its source, and were compared with its answers. On purpose, what `check` passes over is an
//! error: an unknown test, a pattern that no test matches, a group of `-x` that no test of the suite is in, an `-E` file that
//! is not there, and an empty list. One thing is more: `generic/001-010`, a range, which former versions of `check` knew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::lay::Laid;
use super::tree::Tree;
use crate::errors::Exit;

mod pattern;
mod shard;

pub use shard::part;

/// What the command line says about tests.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Names, patterns and ranges.
    pub tests: Vec<String>,
    /// `-g`, split at commas.
    pub groups: Vec<String>,
    /// `-x`, split at commas.
    pub not_groups: Vec<String>,
    /// `-e`, split at commas.
    pub not_tests: Vec<String>,
    /// `-E`.
    pub not_files: Vec<PathBuf>,
}

/// What it comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// The list, in order, as `check` would print it.
    pub tests: Vec<String>,
    /// Those of them that `-e` or `-E` keep from running; `check` says `[expunged]`.
    pub expunged: Vec<String>,
}

/// The tests for one type of file system.
pub fn select(tree: &Tree, laid: &Laid, fstyp: &str, what: &Selection) -> Result<Chosen> {
    let suite = Suite {
        tree: &tree.path,
        laid: &laid.dir,
        fstyp,
    };
    let mut list = BTreeSet::new();
    for word in &what.tests {
        list.extend(suite.named(word)?);
    }
    let auto = ["auto".to_owned()];
    let groups = match what.tests.is_empty() && what.groups.is_empty() {
        true => &auto[..],
        false => &what.groups[..],
    };
    if what.tests.is_empty() && groups == ["all"] {
        list.extend(suite.all()?);
    } else {
        for group in groups {
            let tests = suite.group(group)?;
            if tests.is_empty() {
                return Err(no_group(group, fstyp));
            }
            list.extend(tests);
        }
    }
    for group in &what.not_groups {
        let tests = suite.group(group)?;
        // Empty for this type is fine. `check` says so, and goes on; here nobody would see that of a misspelt one.
        if tests.is_empty() && !suite.is_group(group)? {
            return Err(no_group(group, fstyp));
        }
        list.retain(|test| !tests.contains(test));
    }
    let mut lines = not_lines(&what.not_tests);
    for file in &what.not_files {
        lines.extend(not_file(file)?);
    }
    let tests: Vec<String> = list.into_iter().collect();
    if tests.is_empty() {
        return Err(Exit::usage("no test is left of what was chosen")
            .hint("-x takes away from -g and from the tests named")
            .into());
    }
    let expunged = tests
        .iter()
        .filter(|test| lines.iter().any(|line| is_expunged(test, line)))
        .cloned()
        .collect();
    Ok(Chosen { tests, expunged })
}

fn no_group(group: &str, fstyp: &str) -> anyhow::Error {
    Exit::usage(format!(
        "the group {group:?} is empty or not defined, for {fstyp}"
    ))
    .hint("doc/group-names.txt of the suite describes its groups")
    .into()
}

/// `-e`: separated by spaces too.
fn not_lines(words: &[String]) -> Vec<String> {
    words
        .iter()
        .flat_map(|words| words.split([' ', ',']))
        .map(str::to_owned)
        .collect()
}

/// `-E`: a test in each line, what follows a `#` left out.
fn not_file(path: &Path) -> Result<Vec<String>> {
    let Ok(text) = fs::read_to_string(path) else {
        return Err(Exit::usage(format!("cannot read {}", path.display()))
            .hint("-E names a file with a test in each line")
            .into());
    };
    let without_comment = |line: &str| line.split('#').next().unwrap_or_default().to_owned();
    Ok(text.lines().map(without_comment).collect())
}

/// A line expunges the test that it begins with, unless the name goes on. As a regular expression: `^TEST\b`.
fn is_expunged(test: &str, line: &str) -> bool {
    line.strip_prefix(test)
        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
}

/// The tree with what is laid over it, seen by one type of file system.
struct Suite<'a> {
    tree: &'a Path,
    laid: &'a Path,
    fstyp: &'a str,
}

impl Suite<'_> {
    /// A path of the tree: the one laid over it, if there is one.
    fn path(&self, name: &str) -> PathBuf {
        let over = self.laid.join(name);
        match over.exists() {
            true => over,
            false => self.tree.join(name),
        }
    }

    /// The groups of each test of one directory, as its `group.list` has them; nothing where there is no such directory.
    fn list(&self, dir: &str) -> Result<BTreeMap<String, Vec<String>>> {
        let path = self.path(&format!("tests/{dir}/group.list"));
        match fs::read_to_string(&path) {
            Ok(text) => Ok(parse_list(&text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// The directories below `tests`.
    fn dirs(&self) -> Result<Vec<String>> {
        let path = self.tree.join("tests");
        let entries =
            fs::read_dir(&path).with_context(|| format!("cannot list {}", path.display()))?;
        let mut dirs = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.path().is_dir() {
                dirs.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(dirs)
    }

    /// `-g all`, where nothing else is said: ext2 and ext3 do not get ext4's tests here.
    fn all(&self) -> Result<Vec<String>> {
        let mut tests = Vec::new();
        for dir in BTreeSet::from(["generic", self.fstyp]) {
            tests.extend(self.list(dir)?.keys().map(|name| format!("{dir}/{name}")));
        }
        Ok(tests)
    }

    /// The tests of a group: `quick` of generic and of the type's own directory, or `generic/quick`.
    fn group(&self, group: &str) -> Result<BTreeSet<String>> {
        let own = match self.fstyp {
            "ext2" | "ext3" => "ext4",
            other => other,
        };
        let (dirs, group) = match group.rsplit_once('/') {
            Some((dir, group)) if self.tree.join("tests").join(dir).is_dir() => (vec![dir], group),
            _ => (vec!["generic", own], group),
        };
        let mut tests = BTreeSet::new();
        for dir in dirs {
            let list = self.list(dir)?;
            let members = list
                .iter()
                .filter(|(_, groups)| groups.iter().any(|g| g == group));
            tests.extend(members.map(|(name, _)| format!("{dir}/{name}")));
        }
        Ok(tests)
    }

    /// Whether any test of the suite is in a group, or in a group of a directory.
    fn is_group(&self, group: &str) -> Result<bool> {
        let name = group.rsplit('/').next().unwrap_or(group);
        for dir in self.dirs()? {
            if self.list(&dir)?.values().flatten().any(|g| g == name) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The tests that one word of the command line means.
    fn named(&self, word: &str) -> Result<Vec<String>> {
        let word = word.strip_prefix("tests/").unwrap_or(word);
        let unknown = |what: &str| {
            Exit::usage(format!("{word}: {what}"))
                .hint("tests are named like generic/001, 'generic/01?', generic/001-010")
        };
        let Some((dir, name)) = word.split_once('/') else {
            return Err(unknown("unknown test").into());
        };
        if pattern::is_pattern(word) {
            let mut found = Vec::new();
            for dir in self.dirs()?.iter().filter(|d| pattern::matches(dir, d)) {
                let list = self.list(dir)?;
                let matching = list.keys().filter(|test| pattern::matches(name, test));
                found.extend(matching.map(|test| format!("{dir}/{test}")));
            }
            return match found.is_empty() {
                true => Err(unknown("no test matches").into()),
                false => Ok(found),
            };
        }
        let list = self.list(dir)?;
        if let Some(name) = exact(&list, name) {
            return Ok(vec![format!("{dir}/{name}")]);
        }
        let Some(range) = range(name) else {
            return Err(unknown("unknown test").into());
        };
        let inside = |test: &&String| digits(test).is_some_and(|n| range.contains(&n));
        let found: Vec<String> = list
            .keys()
            .filter(inside)
            .map(|test| format!("{dir}/{test}"))
            .collect();
        match found.is_empty() {
            true => Err(unknown("no test is in this range").into()),
            false => Ok(found),
        }
    }
}

/// The lines of a `group.list`: `001 auto quick`, and comments.
fn parse_list(text: &str) -> BTreeMap<String, Vec<String>> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .filter_map(|line| {
            let mut words = line.split_whitespace().map(str::to_owned);
            let name = words.next().filter(|name| is_valid(name))?;
            Some((name, words.collect()))
        })
        .collect()
}

/// Three digits, then letters, digits and `-`.
fn is_valid(name: &str) -> bool {
    let (head, tail) = (name.bytes().take(3), name.bytes().skip(3));
    name.len() >= 3
        && head.clone().all(|b| b.is_ascii_digit())
        && tail.clone().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The test of that name, or of that number where its name goes on with words (`999-the-mark`).
fn exact<'a>(list: &'a BTreeMap<String, Vec<String>>, name: &str) -> Option<&'a str> {
    let is_number = name.len() >= 3 && name.bytes().all(|b| b.is_ascii_digit());
    let longer = || {
        let words = list.keys().filter(|test| {
            is_number
                && test
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with('-'))
        });
        words.min_by_key(|test| test.len())
    };
    list.get_key_value(name)
        .map(|(name, _)| name)
        .or_else(longer)
        .map(String::as_str)
}

/// `001-010`.
fn range(name: &str) -> Option<std::ops::RangeInclusive<u32>> {
    let (first, last) = name.split_once('-')?;
    Some(digits(first)?..=digits(last)?).filter(|range| !range.is_empty())
}

/// The number that a test's name begins with.
fn digits(name: &str) -> Option<u32> {
    let end = name
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(name.len());
    name[..end].parse().ok()
}

#[cfg(test)]
mod tests;
