// SPDX-License-Identifier: GPL-2.0

//! The user's repository: read, never checked out or written.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, Context, Result};
use notblk_bisect::{Axis, Choice};

use crate::errors::Exit;
use crate::process;

/// A repository whose commits are walked.
#[derive(Clone, Debug)]
pub struct Repo {
    /// Where it is; no symbolic links.
    pub dir: PathBuf,
}

impl Repo {
    /// The one in `dir`, for an axis.
    pub fn open(axis: Axis, dir: &Path) -> Result<Repo> {
        let not_one = |why: &str| Exit::usage(format!("--{axis}-repo {}: {why}", dir.display()));
        let there = dir
            .canonicalize()
            .map_err(|_| not_one("there is no such directory"))?;
        let repo = Repo { dir: there };
        let top = repo
            .output(&["rev-parse", "--show-toplevel"])
            .map_err(|_| not_one("this is not a git repository with files"))?;
        Ok(Repo { dir: top.into() })
    }

    /// The full id of a revision.
    pub fn commit(&self, revision: &str) -> Result<String> {
        let wanted = format!("{revision}^{{commit}}");
        self.output(&[
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &wanted,
        ])
        .map_err(|_| {
            let dir = self.dir.display();
            Exit::usage(format!("{dir} has no commit {revision:?}")).into()
        })
    }

    /// Fails unless `good` is an ancestor of `bad`, and another commit.
    pub fn check_ends(&self, axis: Axis, good: &str, bad: &str) -> Result<()> {
        if good == bad {
            let line = format!("the good and the bad end of the {axis} are the same commit");
            return Err(Exit::usage(line).into());
        }
        let status = self
            .command(&["merge-base", "--is-ancestor", good, bad])
            .status()
            .context("cannot run git")?;
        match status.code() {
            Some(0) => Ok(()),
            Some(1) => Err(Exit::usage(format!(
                "the good end of the {axis} is not an ancestor of the bad one"
            ))
            .hint("`git merge-base GOOD BAD` prints a commit that is")
            .into()),
            _ => bail!("git cannot say whether {good} is an ancestor of {bad}"),
        }
    }

    /// What `git bisect` would try next.
    pub fn choose(&self, good: &[String], bad: &str, skip: &[String]) -> Result<Choice> {
        let mut arguments = vec!["rev-list", "--bisect-all", bad, "--not"];
        arguments.extend(good.iter().map(String::as_str));
        let text = self.output(&arguments)?;
        let candidates: Vec<String> = text
            .lines()
            .filter_map(|line| Some(line.split_whitespace().next()?.to_owned()))
            .collect();
        let commit = candidates
            .iter()
            .find(|commit| *commit != bad && !skip.contains(commit))
            .cloned();
        Ok(Choice { commit, candidates })
    }

    /// A commit's parents.
    pub fn parents(&self, commit: &str) -> Result<Vec<String>> {
        let text = self.output(&["rev-list", "--parents", "-n", "1", commit])?;
        Ok(text.split_whitespace().skip(1).map(str::to_owned).collect())
    }

    /// A commit's subject.
    pub fn subject(&self, commit: &str) -> Result<String> {
        self.output(&["show", "--no-patch", "--format=%s", commit])
    }

    /// The ids of a commit's whole tree, or of these parts of it: `-` for what it has not.
    pub fn objects(&self, commit: &str, parts: &[&str]) -> Result<String> {
        if parts.is_empty() {
            return self.output(&["rev-parse", "--verify", &format!("{commit}^{{tree}}")]);
        }
        let id = |part: &&str| {
            self.output(&[
                "rev-parse",
                "--verify",
                "--quiet",
                &format!("{commit}:{part}"),
            ])
            .unwrap_or_else(|_| "-".into())
        };
        let all: Vec<String> = parts.iter().map(id).collect();
        Ok(all.join(" "))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = process::host_command("git");
        command
            .arg("--no-optional-locks")
            .arg("-C")
            .arg(&self.dir)
            .args(arguments)
            .stdin(std::process::Stdio::null());
        command
    }

    fn output(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments).output().context("cannot run git")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("git says: {}", said.lines().next().unwrap_or("nothing"));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.trim_end().to_owned())
    }
}
