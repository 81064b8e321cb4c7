// SPDX-License-Identifier: GPL-2.0

//! The whole of it over a real git repository, with a judge that reads what a commit says about itself.

use std::fs;
use std::path::Path;

use anyhow::{bail, Result};
use notblk_bisect::report::{Ending, Found, Part, Report, Verdict};
use notblk_bisect::{
    bisect, text, Ask, Axis, Batch, Built, Choice, Entry, Memo, Plan, Point, World,
};

use super::git::Repo;
use super::session::{Ends, Info, Session};
use crate::errors::{classify, Code};
use crate::process;

/// git in `dir`.
fn git(dir: &Path, arguments: &[&str]) -> String {
    let mut git = process::host_command("git");
    git.arg("-C")
        .arg(dir)
        .args(["-c", "user.name=n", "-c", "user.email=e"]);
    // Git chooses between equals by their ids, which are to be the same in each run.
    for date in ["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"] {
        git.env(date, "2026-01-01T00:00:00Z");
    }
    let output = git.args(arguments).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A repository whose commits say in the file `state` what they are; the tag of each is its number.
fn repository(dir: &Path, states: &[&str]) -> Repo {
    git(dir, &["init", "-q"]);
    for (number, state) in states.iter().enumerate() {
        fs::write(dir.join("state"), state).unwrap();
        // What nobody builds from.
        fs::write(dir.join("README"), number.to_string()).unwrap();
        git(dir, &["add", "."]);
        git(
            dir,
            &["commit", "-qm", &format!("{state}, number {number}")],
        );
        git(dir, &["tag", &number.to_string()]);
    }
    Repo::open(Axis::Module, dir).unwrap()
}

/// A world whose git is real.
struct Real<'a> {
    repo: &'a Repo,
    session: &'a Session,
    /// Ends with an error before so many guests.
    boots: u32,
    /// States that were built, in order.
    built: Vec<String>,
}

impl Real<'_> {
    fn state(&self, point: &Point) -> Result<String> {
        let commit = point.on(Axis::Module).unwrap();
        Ok(git(&self.repo.dir, &["show", &format!("{commit}:state")]))
    }
}

impl World for Real<'_> {
    type Error = anyhow::Error;

    fn choose(&self, _: Axis, good: &[String], bad: &str, skip: &[String]) -> Result<Choice> {
        self.repo.choose(good, bad, skip)
    }

    fn parents(&self, _: Axis, commit: &str) -> Result<Vec<String>> {
        self.repo.parents(commit)
    }

    fn subject(&self, _: Axis, commit: &str) -> Result<String> {
        self.repo.subject(commit)
    }

    fn source(&self, point: &Point) -> Result<String> {
        self.repo
            .objects(point.on(Axis::Module).unwrap(), &["state", "rust"])
    }

    fn build(&mut self, point: &Point) -> Result<Built> {
        let state = self.state(point)?;
        self.built.push(state.clone());
        Ok(match state.as_str() {
            "broken" => Built::Unfit("it does not build".into()),
            state => Built::Ready(state.to_owned()),
        })
    }

    fn run(&mut self, point: &Point, ask: Ask, _: u64) -> Result<Batch> {
        if self.boots == 0 {
            bail!("interrupted");
        }
        self.boots -= 1;
        let mut batch = Batch::default();
        match self.state(point)?.as_str() {
            "unbootable" => batch.trouble = Some("it does not boot".into()),
            state if state.starts_with("bad") => batch.hits = ask.hits.min(ask.runs),
            _ => batch.clean = ask.runs,
        }
        Ok(batch)
    }

    fn record(&mut self, entry: &Entry) -> Result<()> {
        self.session.record(entry)
    }

    fn say(&mut self, _: &str) {}
}

/// A place for repository and session.
struct Place {
    _dir: tempfile::TempDir,
    repo: Repo,
    session: Session,
}

impl Place {
    fn new(states: &[&str]) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("repo");
        fs::create_dir(&repo).unwrap();
        let repo = repository(&repo, states);
        Place::of(dir, repo, "0", &(states.len() - 1).to_string())
    }

    fn of(dir: tempfile::TempDir, repo: Repo, good: &str, bad: &str) -> Place {
        let info = Info {
            arguments: Vec::new(),
            directory: "/".into(),
            aside: "/".into(),
            kernel: None,
            module: Some(Ends {
                repo: repo.dir.clone(),
                good: repo.commit(good).unwrap(),
                bad: repo.commit(bad).unwrap(),
            }),
        };
        let session = Session::create(&dir.path().join("results"), info).unwrap();
        Place {
            _dir: dir,
            repo,
            session,
        }
    }

    /// Bisects, for so many guests; returns what was built as well.
    fn bisect(&self, boots: u32) -> (Result<Report>, Vec<String>) {
        let info = &self.session.info;
        let plan = Plan {
            title: Vec::new(),
            good: info.point(|ends| &ends.good),
            bad: info.point(|ends| &ends.bad),
            axes: info.axes(),
            error: 0.01,
            hits: 20,
            measure: 100,
            runs: None,
        };
        let mut world = Real {
            repo: &self.repo,
            session: &self.session,
            boots,
            built: Vec::new(),
        };
        let mut memo: Memo = self.session.memo().unwrap();
        let report = bisect(&mut world, &plan, &mut memo);
        (report, world.built)
    }

    fn found(&self, report: &Report) -> Found {
        assert_eq!(report.ending, Ending::Searched);
        report.searches[0].found.clone()
    }

    fn culprit(&self, tag: &str) -> Found {
        Found::Culprit(self.repo.commit(tag).unwrap())
    }
}

const HISTORY: [&str; 13] = [
    "good a",
    "good b",
    "good b",
    "unbootable",
    "good c",
    "broken",
    "broken",
    "good d",
    "bad e",
    "bad e",
    "unbootable",
    "bad f",
    "bad g",
];

#[test]
fn the_culprit_is_found_past_what_does_not_build_or_boot() {
    let place = Place::new(&HISTORY);
    let before = git(&place.repo.dir, &["status", "--porcelain=v2", "--branch"]);
    let (report, _) = place.bisect(u32::MAX);
    let report = report.unwrap();
    assert_eq!(place.found(&report), place.culprit("8"));
    assert_eq!(report.searches[0].subjects, ["bad e, number 8"]);
    let skipped = |judged: &&notblk_bisect::report::Judged| {
        judged.part == Part::Step && matches!(judged.verdict, Verdict::CannotTell(_))
    };
    assert!(report.judged.iter().filter(skipped).count() > 0);
    let after = git(&place.repo.dir, &["status", "--porcelain=v2", "--branch"]);
    assert_eq!(before, after, "the user's repository was touched");

    // What was done is what git would have done.
    place.session.report(&report).unwrap();
    let log = place.session.dir.join("module.bisect-log");
    let said = git(
        &place.repo.dir,
        &["bisect", "replay", log.to_str().unwrap()],
    );
    assert!(
        said.contains("is the first bad commit") || said.contains("Bisecting: 0"),
        "{said}"
    );
    assert_eq!(
        git(&place.repo.dir, &["rev-parse", "refs/bisect/bad"]),
        place.repo.commit("8").unwrap()
    );
    let markdown = fs::read_to_string(place.session.dir.join("report.md")).unwrap();
    assert_eq!(markdown, text::markdown(&report));
}

#[test]
fn interrupted_after_any_guest_it_goes_on() {
    let whole = Place::new(&HISTORY);
    let boots = whole.bisect(u32::MAX).0.unwrap().work.boots;
    for limit in 0..u32::try_from(boots).unwrap() {
        let place = Place::new(&HISTORY);
        assert!(place.bisect(limit).0.is_err());
        let (report, built) = place.bisect(u32::MAX);
        assert_eq!(place.found(&report.unwrap()), place.culprit("8"), "{limit}");
        let failed = built.iter().filter(|state| *state == "broken").count();
        assert!(failed <= 1, "what did not build was built again");
    }
}

#[test]
fn a_merge_is_searched_on_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("repo");
    fs::create_dir(&root).unwrap();
    let repo = repository(&root, &["good a", "good b"]);
    git(&root, &["checkout", "-qb", "side", "0"]);
    for (number, state) in [(10, "good x"), (11, "bad y"), (12, "bad z")] {
        fs::write(root.join("state"), state).unwrap();
        git(&root, &["commit", "-qam", state]);
        git(&root, &["tag", &number.to_string()]);
    }
    git(
        &root,
        &["merge", "-q", "-s", "ours", "-m", "bad merge", "1"],
    );
    git(&root, &["tag", "20"]);
    let place = Place::of(dir, repo, "0", "20");
    let report = place.bisect(u32::MAX).0.unwrap();
    assert_eq!(place.found(&report), place.culprit("11"));
}

#[test]
fn what_is_wrong_with_the_ends_is_said_in_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let usage = |error: anyhow::Error| {
        let exit = classify(&error);
        assert_eq!(exit.code, Code::USAGE, "{}", exit.line);
        exit.line
    };
    let open = |path: &Path| usage(Repo::open(Axis::Kernel, path).unwrap_err());
    assert!(open(dir.path()).ends_with("this is not a git repository with files"));
    assert!(open(&dir.path().join("none")).ends_with("there is no such directory"));
    let root = dir.path().join("repo");
    fs::create_dir(&root).unwrap();
    let repo = repository(&root, &["good a", "bad b"]);
    assert!(usage(repo.commit("v9").unwrap_err()).ends_with("has no commit \"v9\""));
    assert!(usage(repo.commit("--all").unwrap_err()).contains("no commit"));
    let (old, new) = (repo.commit("0").unwrap(), repo.commit("1").unwrap());
    repo.check_ends(Axis::Kernel, &old, &new).unwrap();
    let line = usage(repo.check_ends(Axis::Kernel, &new, &old).unwrap_err());
    assert_eq!(
        line,
        "the good end of the kernel is not an ancestor of the bad one"
    );
    let line = usage(repo.check_ends(Axis::Kernel, &new, &new).unwrap_err());
    assert!(line.contains("the same commit"));
}
