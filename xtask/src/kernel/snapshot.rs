// SPDX-License-Identifier: GPL-2.0

//! A developer's git tree, copied to where it can be built: a revision of it, or its files as they are now.
//!
//! The tree itself is only read. Its files, with what is not committed yet and without what git ignores, become a tree object in
//! a store of our own, which borrows from the developer's; a checkout from there touches only what differs from the last one, so
//! that `make` compiles no more than it must.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::errors::Exit;
use crate::process;

/// A developer's tree, and our place for it.
pub struct Snapshot<'a> {
    /// The developer's directory.
    dir: &'a Path,
    /// Its objects.
    objects: PathBuf,
    /// Where ours are: `objects`, `index`, `staged` and the checkout `linux`.
    place: &'a Path,
}

impl<'a> Snapshot<'a> {
    /// Of the tree in `dir`, to be kept in the existing directory `place`.
    pub fn of(dir: &'a Path, place: &'a Path) -> Result<Self> {
        let mut snapshot = Snapshot {
            dir,
            objects: PathBuf::new(),
            place,
        };
        let not_a_tree = |why: String| {
            Exit::usage(format!(
                "{} is not a kernel's git tree: {why}",
                dir.display()
            ))
        };
        if !dir.is_dir() {
            return Err(not_a_tree("there is no such directory".into()).into());
        }
        let mut command = snapshot.plain();
        let objects = output(command.args(["rev-parse", "--git-path", "objects"]))
            .map_err(|error| not_a_tree(error.to_string()))?;
        snapshot.objects = dir.join(objects).canonicalize()?;
        if !dir.join("Kbuild").exists() || !dir.join("rust").is_dir() {
            return Err(not_a_tree("it has no Kbuild file or no directory rust".into()).into());
        }
        fs::create_dir_all(place.join("objects"))?;
        Ok(snapshot)
    }

    /// The tree object of `revision`, or of the files as they are now.
    pub fn tree(&self, revision: Option<&str>) -> Result<String> {
        if let Some(revision) = revision {
            let wanted = format!("{revision}^{{tree}}");
            return output(self.plain().args([
                "rev-parse",
                "--verify",
                "--quiet",
                "--end-of-options",
                &wanted,
            ]))
            .map_err(|_| {
                Exit::usage(format!(
                    "{} has no revision {revision:?}",
                    self.dir.display()
                ))
                .into()
            });
        }
        // Begun from the developer's own index, git need not read what has not changed.
        let theirs = output(self.plain().args(["rev-parse", "--git-path", "index"]))?;
        let staged = self.place.join("staged");
        match fs::copy(self.dir.join(theirs), &staged) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let _ = fs::remove_file(&staged);
            }
            other => drop(other.context("cannot copy the index of the tree")?),
        }
        output(self.borrowing("staged").args(["add", "--all", "."]))?;
        output(self.borrowing("staged").arg("write-tree"))
    }

    /// Whether the tree object has something at `path`.
    pub fn has(&self, tree: &str, path: &str) -> bool {
        let object = format!("{tree}:{path}");
        output(
            self.borrowing("index")
                .args(["cat-file", "-e", "--", &object]),
        )
        .is_ok()
    }

    /// Makes the checkout equal to the tree object, and returns it.
    pub fn check_out(&self, tree: &str) -> Result<PathBuf> {
        let linux = self.place.join("linux");
        self.check_out_to(tree, &self.place.join("index"), &linux)?;
        Ok(linux)
    }

    /// Makes the directory `to` equal to the tree object; `index` is git's knowledge of it.
    pub fn check_out_to(&self, tree: &str, index: &Path, to: &Path) -> Result<()> {
        fs::create_dir_all(to)?;
        let mut command = self.borrowing(index);
        command
            .arg("--work-tree")
            .arg(to)
            .args(["read-tree", "--reset", "-u", tree]);
        output(&mut command).context("cannot check the tree out")?;
        Ok(())
    }

    /// git on the developer's tree, to read.
    fn plain(&self) -> Command {
        let mut command = process::host_command("git");
        command
            .arg("--no-optional-locks")
            .arg("-C")
            .arg(self.dir)
            // What an editor or a hook of theirs would do to each command is none of ours.
            .args([
                "-c",
                "core.hooksPath=/dev/null",
                "-c",
                "core.fsmonitor=false",
            ])
            .args([
                "-c",
                "core.sparseCheckout=false",
                "-c",
                "core.splitIndex=false",
            ]);
        command
    }

    /// git with new objects and the index `index` in our place.
    fn borrowing(&self, index: impl AsRef<OsStr>) -> Command {
        let mut command = self.plain();
        command
            .env("GIT_OBJECT_DIRECTORY", self.place.join("objects"))
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", &self.objects)
            .env("GIT_INDEX_FILE", self.place.join(Path::new(&index)));
        command
    }
}

/// What git prints, without the end of its line; its last line of complaint where it fails.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().context("cannot run git")?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().find(|line| !line.trim().is_empty());
    anyhow::bail!("git says: {}", first.unwrap_or("nothing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree with one commit, `v1`.
    fn developer(dir: &Path) {
        fs::create_dir_all(dir.join("rust")).unwrap();
        for file in ["Kbuild", "rust/lib.rs", "a.c"] {
            fs::write(dir.join(file), file).unwrap();
        }
        fs::write(dir.join(".gitignore"), "*.o\n").unwrap();
        for arguments in [
            &["init", "-q"][..],
            &["add", "."],
            &[
                "-c",
                "user.name=n",
                "-c",
                "user.email=e",
                "commit",
                "-qm",
                "one",
            ],
            &["tag", "v1"],
        ] {
            let mut git = process::host_command("git");
            output(git.arg("-C").arg(dir).args(arguments)).unwrap();
        }
    }

    fn listing(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all = Vec::new();
        for item in fs::read_dir(dir).unwrap() {
            let path = item.unwrap().path();
            match path.is_dir() {
                true => all.extend(listing(&path)),
                false => all.push((path.clone(), fs::read(path).unwrap())),
            }
        }
        all.sort();
        all
    }

    #[test]
    fn files_as_they_are_now_and_a_revision() {
        let dir = tempfile::tempdir().unwrap();
        let (theirs, ours) = (dir.path().join("theirs"), dir.path().join("ours"));
        fs::create_dir(&ours).unwrap();
        developer(&theirs);
        fs::write(theirs.join("a.c"), "changed").unwrap();
        fs::write(theirs.join("b.c"), "new").unwrap();
        fs::write(theirs.join("b.o"), "litter").unwrap();
        fs::remove_file(theirs.join("rust/lib.rs")).unwrap();
        let before = listing(&theirs);

        let snapshot = Snapshot::of(&theirs, &ours).unwrap();
        let now = snapshot.tree(None).unwrap();
        let linux = snapshot.check_out(&now).unwrap();
        assert_eq!(fs::read_to_string(linux.join("a.c")).unwrap(), "changed");
        assert_eq!(fs::read_to_string(linux.join("b.c")).unwrap(), "new");
        assert!(!linux.join("b.o").exists());
        assert!(!linux.join("rust/lib.rs").exists());

        assert!(snapshot.has(&now, "b.c") && !snapshot.has(&now, "rust/lib.rs"));

        let old = snapshot.tree(Some("v1")).unwrap();
        assert_ne!(now, old);
        assert!(snapshot.has(&old, "rust/lib.rs") && !snapshot.has(&old, "b.c"));
        snapshot.check_out(&old).unwrap();
        assert_eq!(fs::read_to_string(linux.join("a.c")).unwrap(), "a.c");
        assert!(!linux.join("b.c").exists());
        assert!(linux.join("rust/lib.rs").exists());
        assert_eq!(listing(&theirs), before, "the developer's tree was changed");
    }

    #[test]
    fn what_did_not_change_keeps_its_time() {
        let dir = tempfile::tempdir().unwrap();
        let (theirs, ours) = (dir.path().join("theirs"), dir.path().join("ours"));
        fs::create_dir(&ours).unwrap();
        developer(&theirs);
        let snapshot = Snapshot::of(&theirs, &ours).unwrap();
        let linux = snapshot.check_out(&snapshot.tree(None).unwrap()).unwrap();
        let time = |file: &str| fs::metadata(linux.join(file)).unwrap().modified().unwrap();
        let (a, kbuild) = (time("a.c"), time("Kbuild"));
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(theirs.join("a.c"), "longer than before").unwrap();
        snapshot.check_out(&snapshot.tree(None).unwrap()).unwrap();
        assert_ne!(time("a.c"), a);
        assert_eq!(time("Kbuild"), kbuild);
    }

    #[test]
    fn what_is_no_tree_and_what_is_no_revision_are_usage_errors() {
        let dir = tempfile::tempdir().unwrap();
        let code = |error| crate::errors::classify(&error).code;
        let usage = crate::errors::Code::USAGE;
        let absent = dir.path().join("absent");
        assert_eq!(
            code(Snapshot::of(&absent, dir.path()).err().unwrap()),
            usage
        );
        let theirs = dir.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        let git = process::host_command("git")
            .arg("-C")
            .arg(&theirs)
            .args(["init", "-q"])
            .status();
        assert!(git.unwrap().success());
        assert_eq!(
            code(Snapshot::of(&theirs, dir.path()).err().unwrap()),
            usage
        );
        let ours = dir.path().join("ours");
        fs::create_dir(&ours).unwrap();
        developer(&theirs);
        let snapshot = Snapshot::of(&theirs, &ours).unwrap();
        assert_eq!(code(snapshot.tree(Some("v9")).unwrap_err()), usage);
        assert_eq!(code(snapshot.tree(Some("--help")).unwrap_err()), usage);
    }
}
