// SPDX-License-Identifier: GPL-2.0

//! Bad input, as the user gives it: one clear line, the right exit code, nothing left behind and nothing lost.
//!
//! Only what needs no network and no toolbox.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn xtask(cache: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .env("XDG_CACHE_HOME", cache)
        .args(args)
        .output()
        .expect("xtask runs")
}

/// Checks the exit code and that there is one line that says so; returns that line.
fn refused(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    let errors: Vec<_> = text.lines().filter(|l| l.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{text}");
    errors[0].to_owned()
}

#[test]
fn an_unknown_kernel_is_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let line = refused(&xtask(dir.path(), &["build", "--kernel", "latest"]), 2);
    assert_eq!(line, "error: there is no kernel \"latest\"");
    let entries = fs::read_dir(dir.path().join("notblk")).unwrap().flatten();
    let mut names: Vec<_> = entries
        .map(|e| e.file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [".notblk-cache", "locks", "logs"]);
}

#[test]
fn a_matrix_with_a_wrong_word_is_refused_before_anything_is_made() {
    for (args, says) in [
        (["--kernel", "latest"], "there is no kernel \"latest\""),
        (
            ["--config", "kasam"],
            "there are no kernel options called \"kasam\"",
        ),
        (
            ["--config", "KASAN"],
            "there is no configuration called \"KASAN\"",
        ),
        (
            ["--kernel", "tree:no/such"],
            "tree:no/such: there is no directory no/such",
        ),
        (["--json", "no/such/file"], "cannot write no/such/file"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let code = if args[0] == "--json" { 3 } else { 2 };
        let line = refused(&xtask(dir.path(), &[&["matrix"], &args[..]].concat()), code);
        assert!(line.starts_with(&format!("error: {says}")), "{line}");
        assert_eq!(fs::read_dir(dir.path().join("notblk")).unwrap().count(), 3);
    }
}

#[test]
fn names_of_tests_without_tests_contradict_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["matrix", "--only", "race", "data/mmap"];
    let line = refused(&xtask(dir.path(), &args), 2);
    assert!(line.contains("--only leaves them out"), "{line}");
}

#[test]
fn an_unknown_option_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    refused(&xtask(dir.path(), &["build", "--frobnicate"]), 2);
}

#[test]
fn update_and_locked_contradict_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let line = refused(&xtask(dir.path(), &["update", "--locked"]), 2);
    assert!(line.contains("--locked"), "{line}");
}

#[test]
fn somebody_elses_directory_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("notblk");
    fs::create_dir(&cache).unwrap();
    fs::write(cache.join("thesis.tex"), "words").unwrap();
    let line = refused(&xtask(dir.path(), &["doctor"]), 3);
    assert!(line.contains("not a notblk cache"), "{line}");
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 1);
}

#[test]
fn the_next_run_removes_what_a_killed_one_left() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("notblk");
    xtask(dir.path(), &["doctor"]);
    let mark = fs::read(cache.join(".notblk-cache")).unwrap();
    let left = cache.join("tmp-tree-1.2.3-0123456789ab");
    fs::create_dir_all(left.join("linux/fs")).unwrap();
    fs::write(left.join(".notblk-cache"), mark).unwrap();
    let strange = cache.join("tmp-precious");
    fs::create_dir(&strange).unwrap();
    fs::write(strange.join("file"), "").unwrap();
    let text = xtask(dir.path(), &["doctor"]).stderr;
    let text = String::from_utf8_lossy(&text);
    assert!(
        text.contains("tmp-precious does not carry our mark: not deleted"),
        "{text}"
    );
    assert!(strange.join("file").exists());
    assert!(!left.exists());
}

#[test]
fn a_cache_that_cannot_be_made_is_the_hosts_failure() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let line = refused(&xtask(&file, &["build"]), 3);
    assert!(line.starts_with("error: cannot make the cache"), "{line}");
}

#[test]
fn a_bisection_between_wrong_ends_is_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let repo = dir.path().join("repo");
    fs::create_dir(&repo).unwrap();
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.arg("-C")
            .arg(&repo)
            .args(["-c", "user.name=n", "-c", "user.email=e"]);
        assert!(git.args(args).status().unwrap().success());
    };
    git(&["init", "-q"]);
    for tag in ["old", "new"] {
        git(&["commit", "-q", "--allow-empty", "-m", tag]);
        git(&["tag", tag]);
    }
    let at = repo.to_str().unwrap();
    for (args, says) in [
        (
            &["--module-repo", at][..],
            "--module-repo needs --module-good",
        ),
        (
            &["--module-repo", at, "--module-good", "v9"],
            "has no commit \"v9\"",
        ),
        (
            &["--module-repo", at, "--module-good", "new"],
            "the good and the bad end of the module are the same commit",
        ),
        (
            &[
                "--module-repo",
                at,
                "--module-good",
                "new",
                "--module-bad",
                "old",
            ],
            "the good end of the module is not an ancestor of the bad one",
        ),
        (
            &["--kernel-repo", "no/such", "--kernel-good", "v1"],
            "--kernel-repo no/such: there is no such directory",
        ),
        (
            &["--splat", "("],
            "a bisection needs --kernel-repo or --module-repo",
        ),
        (&["--resume", "no/such"], "no/such is no bisection"),
    ] {
        let args: Vec<&str> = ["bisect"].iter().chain(args).copied().collect();
        let line = refused(&xtask(dir.path(), &args), 2);
        assert!(line.contains(says), "{line}");
    }
    let entries = fs::read_dir(dir.path().join("notblk")).unwrap().flatten();
    assert_eq!(entries.count(), 3, "something was made");
}

/// To `git bisect run`, 2 would be a verdict.
#[test]
fn a_step_that_cannot_begin_stops_git() {
    let dir = tempfile::tempdir().unwrap();
    for args in [&["bisect", "step", "--nonsense"][..], &["bisect", "step"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .env("XDG_CACHE_HOME", dir.path())
            .args(args)
            .current_dir(dir.path())
            .output()
            .expect("xtask runs");
        refused(&output, 128);
    }
}
