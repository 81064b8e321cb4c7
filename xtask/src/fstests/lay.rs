// SPDX-License-Identifier: GPL-2.0

//! Our own tests in the suite's format, `tests/fstests/`, laid over its tree: the guest mounts what is made here above it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::tree::Tree;
use crate::cache;
use crate::context::Ctx;
use crate::errors::Exit;

/// Where our tests are, below the repository: like the suite's `tests`.
const OURS: &str = "tests/fstests";
/// Part of the key: to be raised when what is made from the same input changes.
const RECIPE: &str = "1";

/// What is laid over a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Laid {
    /// A directory like the tree's, with nothing but what is added or replaced.
    pub dir: PathBuf,
}

/// Makes what is to be laid over `tree`: our tests, and lists of groups that have them.
pub fn lay(ctx: &Ctx, tree: &Tree) -> Result<Laid> {
    let files = files(&ctx.repo.join(OURS), &tree.path)?;
    let mut parts = vec![RECIPE.to_owned()];
    for (name, file) in &files {
        parts.push(name.clone());
        parts.push(file.text.clone());
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let entry = format!("lay-{}", cache::key(&parts));
    let space = 1_000_000;
    let dir = ctx
        .cache
        .get_or_make(&ctx.ui, &entry, "lays out its tests", space, |dir| {
            write(&dir.join("tree"), &files)
        })?;
    Ok(Laid {
        dir: dir.join("tree"),
    })
}

/// A file to lay over the tree.
#[derive(Debug, PartialEq, Eq)]
struct File {
    text: String,
    program: bool,
}

/// All files to lay, by their paths in the tree.
fn files(ours: &Path, tree: &Path) -> Result<BTreeMap<String, File>> {
    let mut files = BTreeMap::new();
    for dir in entries(ours)?.iter().filter(|path| path.is_dir()) {
        let place = format!("tests/{}", name_of(dir));
        let list = tree.join(&place).join("group.list");
        let mut groups = fs::read_to_string(&list).unwrap_or_default();
        for path in entries(dir)? {
            let name = name_of(&path);
            let text = read(&path)?;
            let program = !name.contains('.');
            if program {
                if tree.join(&place).join(&name).exists() {
                    return Err(clash(&place, &name, tree));
                }
                let words = groups_of(&text).with_context(|| {
                    format!("{} has no line with _begin_fstest", path.display())
                })?;
                groups.push_str(&format!("{name} {words}\n"));
            }
            files.insert(format!("{place}/{name}"), File { text, program });
        }
        let text = groups;
        let list = File {
            text,
            program: false,
        };
        files.insert(format!("{place}/group.list"), list);
    }
    Ok(files)
}

fn clash(place: &str, name: &str, tree: &Path) -> anyhow::Error {
    let dir = place.trim_start_matches("tests/");
    Exit::usage(format!(
        "the xfstests in {} has a {dir}/{name} of its own, and so has this repository",
        tree.display()
    ))
    .hint(format!(
        "give {OURS}/{dir}/{name} and its .out a number that is free"
    ))
    .into()
}

/// The groups that a test says it belongs to.
fn groups_of(text: &str) -> Option<String> {
    let words = text
        .lines()
        .find_map(|l| l.strip_prefix("_begin_fstest "))?;
    Some(words.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn write(root: &Path, files: &BTreeMap<String, File>) -> Result<()> {
    for (name, file) in files {
        let path = root.join(name);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        fs::write(&path, &file.text).with_context(|| format!("cannot write {}", path.display()))?;
        // `check` would make a test executable itself, but not through a read-only mount.
        let mode = if file.program { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// What is in a directory, sorted; hidden files are an editor's.
fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let list = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let mut paths = Vec::new();
    for entry in list {
        let path = entry?.path();
        let name = name_of(&path);
        if !name.starts_with('.') && !name.ends_with('~') {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::{classify, Code};

    const TEST: &str = "#! /bin/bash\n. ./common/preamble\n_begin_fstest auto  quick rw\nexit\n";

    fn dirs() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (ours, tree) = (dir.path().join("ours"), dir.path().join("tree"));
        fs::create_dir_all(ours.join("generic")).unwrap();
        fs::create_dir_all(tree.join("tests/generic")).unwrap();
        fs::write(ours.join("README.md"), "").unwrap();
        fs::write(ours.join("generic/900"), TEST).unwrap();
        fs::write(ours.join("generic/900.out"), "QA output created by 900\n").unwrap();
        fs::write(ours.join("generic/.900.swp"), "").unwrap();
        fs::write(tree.join("tests/generic/group.list"), "001 auto\n").unwrap();
        (dir, ours, tree)
    }

    #[test]
    fn our_tests_and_a_list_of_both() {
        let (dir, ours, tree) = dirs();
        let files = files(&ours, &tree).unwrap();
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "tests/generic/900",
                "tests/generic/900.out",
                "tests/generic/group.list"
            ]
        );
        let list = &files["tests/generic/group.list"].text;
        assert_eq!(list, "001 auto\n900 auto quick rw\n");

        let out = dir.path().join("out");
        write(&out, &files).unwrap();
        let mode = |name: &str| fs::metadata(out.join(name)).unwrap().permissions().mode();
        assert_eq!(mode("tests/generic/900") & 0o777, 0o755);
        assert_eq!(mode("tests/generic/900.out") & 0o777, 0o644);
    }

    #[test]
    fn a_number_is_given_once() {
        let (_dir, ours, tree) = dirs();
        fs::write(tree.join("tests/generic/900"), "").unwrap();
        let exit = classify(&files(&ours, &tree).unwrap_err());
        assert_eq!(exit.code, Code::USAGE);
        assert!(exit.line.contains("generic/900"), "{}", exit.line);
    }

    #[test]
    fn a_test_says_its_groups() {
        let (_dir, ours, tree) = dirs();
        fs::write(ours.join("generic/901"), "#! /bin/bash\n").unwrap();
        assert!(files(&ours, &tree).is_err());
    }

    #[test]
    fn our_own_are_complete() {
        let ours = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .unwrap()
            .join(OURS);
        let none = tempfile::tempdir().unwrap();
        let files = files(&ours, none.path()).unwrap();
        let tests: Vec<&String> = files
            .iter()
            .filter(|(_, f)| f.program)
            .map(|(n, _)| n)
            .collect();
        assert!(tests.len() >= 3, "{tests:?}");
        for test in tests {
            let number = test.rsplit('/').next().unwrap();
            let out = &files[&format!("{test}.out")].text;
            assert!(
                out.starts_with(&format!("QA output created by {number}\n")),
                "{test}"
            );
            assert!(out.ends_with('\n'), "{test}");
        }
    }
}
