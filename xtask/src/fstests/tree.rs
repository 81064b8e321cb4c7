// SPDX-License-Identifier: GPL-2.0

//! The suite's tree: where it is, and whether its user built it.
//!
//! Nothing here downloads or builds it.

mod libraries;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::errors::Exit;
use crate::process;

pub use libraries::check as check_libraries;

/// Where the suite's own `make install` puts it.
const PREFIX: &str = "/var/lib/xfstests";
/// The variable that names a tree.
const VARIABLE: &str = "XFSTESTS_DIR";
/// What makes a directory this suite's tree.
const SUITE: [&str; 3] = ["check", "common/rc", "tests/generic"];
/// What is there only after a build, with the directory of the makefile that makes it.
const BUILT: [&str; 4] = [
    "tests/generic/group.list",
    "ltp/fsstress",
    "ltp/fsx",
    "src/feature",
];
/// How to get a tree.
const HOW: &str = "build xfstests by its README, on this host or by `cargo xtask toolbox -- CMD`, and name it by --xfstests DIR or XFSTESTS_DIR";

/// A built tree of the suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Where it is; absolute.
    pub path: PathBuf,
    /// What git or its VERSION file call it.
    pub version: String,
}

/// The tree that is meant: the one given, else the one of `XFSTESTS_DIR`, else the installed one.
pub fn find(given: Option<&Path>) -> Result<Tree> {
    let variable = std::env::var_os(VARIABLE).filter(|v| !v.is_empty());
    find_in(given, variable.as_deref().map(Path::new), Path::new(PREFIX))
}

/// Whether the user has said which tree, by the option or the variable.
pub fn is_named(given: Option<&Path>) -> bool {
    given.is_some() || std::env::var_os(VARIABLE).is_some_and(|v| !v.is_empty())
}

fn find_in(given: Option<&Path>, variable: Option<&Path>, prefix: &Path) -> Result<Tree> {
    let (path, said_by) = match (given, variable) {
        (Some(path), _) => (path, "--xfstests"),
        (None, Some(path)) => (path, VARIABLE),
        (None, None) if prefix.is_dir() => (prefix, "the suite's install prefix"),
        (None, None) => {
            return Err(Exit::usage(format!(
                "xfstests not found: neither --xfstests nor {VARIABLE} is given, and there is no {}",
                prefix.display()
            ))
            .hint(HOW)
            .into());
        }
    };
    let Ok(path) = path.canonicalize() else {
        return Err(Exit::usage(format!(
            "xfstests not found: {} ({said_by}) does not exist",
            path.display()
        ))
        .hint(HOW)
        .into());
    };
    let lacks = |names: &[&'static str]| names.iter().copied().find(|n| !path.join(n).exists());
    if let Some(name) = lacks(&SUITE) {
        return Err(Exit::usage(format!(
            "{} ({said_by}) is not a tree of xfstests: it has no {name}",
            path.display()
        ))
        .hint(HOW)
        .into());
    }
    if let Some(name) = lacks(&BUILT) {
        return Err(Exit::usage(format!(
            "the xfstests in {} is not built: it has no {name}",
            path.display()
        ))
        .hint("build it by its README; `cargo xtask toolbox -- make` builds it for the guest's libraries")
        .into());
    }
    let version = version(&path);
    Ok(Tree { path, version })
}

/// What git or the VERSION file call a tree.
fn version(path: &Path) -> String {
    git(path)
        .or_else(|| version_file(path))
        .unwrap_or_else(|| "unknown".into())
}

/// By git, where the tree itself is a clone: git would also answer for a repository around it.
fn git(path: &Path) -> Option<String> {
    path.join(".git").exists().then_some(())?;
    let output = process::host_command("git")
        // Whoever owns the tree: only its history is read.
        .args(["-c", "safe.directory=*", "-C"])
        .arg(path)
        .args(["describe", "--always", "--tags"])
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// By its VERSION file, which is written for a shell: `PACKAGE_MAJOR=1` and so on.
fn version_file(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path.join("VERSION")).ok()?;
    let part = |name: &str| {
        text.lines()
            .find_map(|line| line.trim().split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, value)| value.trim().to_owned())
    };
    let parts: Option<Vec<String>> = ["PACKAGE_MAJOR", "PACKAGE_MINOR", "PACKAGE_REVISION"]
        .iter()
        .map(|name| part(name))
        .collect();
    Some(parts?.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::{classify, Code};

    /// A tree that looks built.
    fn tree(version: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in SUITE
            .iter()
            .chain(&BUILT)
            .filter(|n| **n != "tests/generic")
        {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::write(dir.path().join("VERSION"), version).unwrap();
        dir
    }

    fn refusal(given: Option<&Path>, variable: Option<&Path>, prefix: &Path) -> String {
        let exit = classify(&find_in(given, variable, prefix).unwrap_err());
        assert_eq!(exit.code, Code::USAGE);
        assert!(exit.hint.is_some());
        exit.line
    }

    #[test]
    fn option_then_variable_then_prefix() {
        let (a, b, c) = (
            tree("PACKAGE_MAJOR=1\nPACKAGE_MINOR=2\nPACKAGE_REVISION=3\n"),
            tree(""),
            tree(""),
        );
        let found = find_in(Some(a.path()), Some(b.path()), c.path()).unwrap();
        assert_eq!(found.path, a.path().canonicalize().unwrap());
        assert_eq!(found.version, "1.2.3");
        let found = find_in(None, Some(b.path()), c.path()).unwrap();
        assert_eq!(found.path, b.path().canonicalize().unwrap());
        assert_eq!(found.version, "unknown");
        let found = find_in(None, None, c.path()).unwrap();
        assert_eq!(found.path, c.path().canonicalize().unwrap());
    }

    #[test]
    fn each_trouble_has_its_own_words() {
        let none = Path::new("/no/such");
        let good = tree("");
        assert!(refusal(None, None, none).contains("neither --xfstests nor XFSTESTS_DIR"));
        // What the user named counts, or is refused; it is never passed over.
        let line = refusal(Some(none), Some(good.path()), good.path());
        assert!(
            line.contains("/no/such (--xfstests) does not exist"),
            "{line}"
        );
        let line = refusal(None, Some(none), good.path());
        assert!(
            line.contains("/no/such (XFSTESTS_DIR) does not exist"),
            "{line}"
        );
        let empty = tempfile::tempdir().unwrap();
        let line = refusal(Some(empty.path()), None, none);
        assert!(
            line.contains("not a tree of xfstests: it has no check"),
            "{line}"
        );
        for name in BUILT {
            let tree = tree("");
            fs::remove_file(tree.path().join(name)).unwrap();
            let line = refusal(Some(tree.path()), None, none);
            assert!(
                line.contains(&format!("is not built: it has no {name}")),
                "{line}"
            );
        }
    }
}
