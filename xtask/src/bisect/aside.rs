// SPDX-License-Identifier: GPL-2.0

//! xtask, copied aside: its program, and the files of the repository that it works with. What is checked out, edited or built in
//! the repository from then on neither changes nor breaks a bisection under way.
//!
//! A copy is an entry of the cache that is named by its content, so bisections from the same state share one. The agent is built
//! before, where its last build lies, and goes along.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cache;
use crate::context::Ctx;
use crate::guest;
use crate::kernel::snapshot::Snapshot;
use crate::setup;

/// What a copy may take.
const SPACE: u64 = 200_000_000;
/// The program in a copy.
const PROGRAM: &str = "xtask";
/// The agent in a copy.
const AGENT: &str = "notblk-agent";
/// The repository's files in a copy.
const FILES: &str = "notblk";
/// The program that judges one commit, for `git bisect run`.
const STEP: &str = "step";

/// Makes the copy where it is missing; returns its directory.
pub fn make(ctx: &Ctx) -> Result<PathBuf> {
    let programs = setup::common(ctx, &guest::programs(false))?;
    let agent = programs.first().context("the agent was not built")?;
    let key = cache::key(&[&ctx.repo.to_string_lossy()]);
    let name = format!("snapshot-{key}");
    let _lock = ctx.cache.lock(&ctx.ui, &name, "copies xtask aside")?;
    let place = ctx.cache.work_dir(&name)?;
    let snapshot = Snapshot::of(&ctx.repo, &place)?;
    let tree = snapshot.tree(None)?;
    // This program, even where somebody has built it anew in the meantime.
    let program = Path::new("/proc/self/exe");
    let key = cache::key(&[&tree, &cache::sha256(program)?, &cache::sha256(agent)?]);
    let entry = format!("aside-{key}");
    let root = &ctx.cache.root;
    ctx.cache
        .get_or_make(&ctx.ui, &entry, "copies xtask aside", SPACE, |tmp| {
            let index = tmp.join("index");
            snapshot.check_out_to(&tree, &index, &tmp.join(FILES))?;
            fs::remove_file(index)?;
            fs::copy(program, tmp.join(PROGRAM)).context("cannot copy this program")?;
            fs::copy(agent, tmp.join(AGENT)).context("cannot copy the agent")?;
            let step = tmp.join(STEP);
            fs::write(&step, script(&root.join(&entry)))?;
            fs::set_permissions(&step, fs::Permissions::from_mode(0o755))?;
            Ok(())
        })
}

/// The program of [`STEP`].
fn script(dir: &Path) -> String {
    let quote = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let at = |name: &str| quote(&dir.join(name).to_string_lossy());
    format!(
        "#!/bin/sh\n# Judges the commit that is checked out in the current directory, for `git bisect run`.\n\
         [ -x {program} ] || exit 128\n\
         CARGO_MANIFEST_DIR={files} exec {program} bisect step \"$@\"\n",
        program = at(PROGRAM),
        files = at(&format!("{FILES}/xtask")),
    )
}

/// The script that judges one commit.
pub fn step(dir: &Path) -> PathBuf {
    dir.join(STEP)
}

/// The agent that lies beside this program, where it is a copy.
pub fn agent(ctx: &Ctx) -> Option<PathBuf> {
    let is_copy = ctx.repo.file_name()? == FILES && ctx.repo.starts_with(&ctx.cache.root);
    let agent = ctx.repo.with_file_name(AGENT);
    (is_copy && agent.is_file()).then_some(agent)
}

/// True where the copy can still be used.
pub fn exists(dir: &Path) -> bool {
    dir.join(PROGRAM).is_file() && dir.join(FILES).is_dir()
}

/// The copy's program, to be given its arguments.
pub fn command(dir: &Path) -> Command {
    let mut command = Command::new(dir.join(PROGRAM));
    command.env("CARGO_MANIFEST_DIR", dir.join(FILES).join("xtask"));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_hands_on_what_it_is_given_and_stops_git_where_the_copy_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("it's here");
        fs::create_dir(&odd).unwrap();
        let step = odd.join(STEP);
        fs::write(&step, script(&odd)).unwrap();
        let run = || {
            let mut sh = Command::new("sh");
            sh.arg(&step).args(["--runs", "9 9"]).output().unwrap()
        };
        assert_eq!(run().status.code(), Some(128));
        let program = odd.join(PROGRAM);
        fs::write(
            &program,
            "#!/bin/sh\necho \"$CARGO_MANIFEST_DIR|$*\"\nexit 125\n",
        )
        .unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let output = run();
        assert_eq!(output.status.code(), Some(125));
        let said = String::from_utf8_lossy(&output.stdout);
        let files = odd.join("notblk/xtask");
        assert_eq!(
            said,
            format!("{}|bisect step --runs 9 9\n", files.display())
        );
    }
}
