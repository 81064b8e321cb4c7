// SPDX-License-Identifier: GPL-2.0

//! The world of a bisection: the user's repositories, builds in the cache, guests.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use notblk_bisect::point::short;
use notblk_bisect::{Ask, Axis, Batch, Built, Choice, Entry, Point, World};

use super::bench::Bench;
use super::git::Repo;
use super::session::Session;
use super::signature::Signature;
use crate::cache::{self, Lock};
use crate::context::Ctx;
use crate::kernel::snapshot::Snapshot;

/// What a module is built from.
const PARTS: [&str; 3] = ["Kbuild", "Makefile", "rust"];

/// Everything that it takes.
pub struct Lab<'a> {
    pub ctx: &'a Ctx,
    pub session: &'a Session,
    pub signature: &'a Signature,
    pub bench: Bench,
    /// The kernel's history, where it is walked.
    pub kernel: Option<Repo>,
    /// The kernel, where it is the same throughout.
    pub fixed: Option<String>,
    /// `+FRAGMENT…` behind each commit of the kernel.
    pub fragments: String,
    /// The module's history, where it is walked, and where its commits are checked out.
    pub module: Option<Checkout>,
}

/// Where commits of the module are checked out, one after the other.
pub struct Checkout {
    repo: Repo,
    place: PathBuf,
    _lock: Arc<Lock>,
}

impl Checkout {
    /// For this repository.
    pub fn new(ctx: &Ctx, repo: Repo) -> Result<Checkout> {
        let name = format!("commits-{}", cache::key(&[&repo.dir.to_string_lossy()]));
        let lock = ctx.cache.lock(&ctx.ui, &name, "bisects the same module")?;
        Ok(Checkout {
            place: ctx.cache.work_dir(&name)?,
            repo,
            _lock: Arc::new(lock),
        })
    }

    fn files(&self, commit: &str) -> Result<PathBuf> {
        let snapshot = Snapshot::of(&self.repo.dir, &self.place)?;
        let tree = snapshot.tree(Some(commit))?;
        let to = self.place.join("module");
        snapshot.check_out_to(&tree, &self.place.join("index"), &to)?;
        Ok(to)
    }
}

impl Lab<'_> {
    fn repo(&self, axis: Axis) -> Result<&Repo> {
        let repo = match axis {
            Axis::Kernel => self.kernel.as_ref(),
            Axis::Module => self.module.as_ref().map(|module| &module.repo),
        };
        repo.with_context(|| format!("the {axis} has no history"))
    }

    /// What `--kernel` would say.
    fn kernel_name(&self, point: &Point) -> Option<String> {
        match (&self.kernel, &point.kernel) {
            (Some(repo), Some(commit)) => Some(format!(
                "tree:{}@{commit}{}",
                repo.dir.display(),
                self.fragments
            )),
            _ => self.fixed.clone(),
        }
    }
}

impl World for Lab<'_> {
    type Error = anyhow::Error;

    fn choose(&self, axis: Axis, good: &[String], bad: &str, skip: &[String]) -> Result<Choice> {
        self.repo(axis)?.choose(good, bad, skip)
    }

    fn parents(&self, axis: Axis, commit: &str) -> Result<Vec<String>> {
        self.repo(axis)?.parents(commit)
    }

    fn subject(&self, axis: Axis, commit: &str) -> Result<String> {
        self.repo(axis)?.subject(commit)
    }

    fn source(&self, point: &Point) -> Result<String> {
        let mut words = Vec::new();
        if let Some(commit) = &point.kernel {
            words.push(self.repo(Axis::Kernel)?.objects(commit, &[])?);
        }
        if let Some(commit) = &point.module {
            words.push(self.repo(Axis::Module)?.objects(commit, &PARTS)?);
        }
        Ok(words.join(" "))
    }

    fn build(&mut self, point: &Point) -> Result<Built> {
        let module = match (&self.module, &point.module) {
            (Some(checkout), Some(commit)) => checkout.files(commit)?,
            _ => self.ctx.repo.clone(),
        };
        let kernel = self.kernel_name(point);
        self.bench.build(self.ctx, kernel.as_deref(), &module)
    }

    fn run(&mut self, point: &Point, ask: Ask, after: u64) -> Result<Batch> {
        let name = match point.on(Axis::Module).or(point.on(Axis::Kernel)) {
            Some(commit) => format!("bisect {}", short(commit)),
            None => "bisect".to_owned(),
        };
        let guest = self.bench.guest()?;
        self.signature.run(self.ctx, guest, &name, ask, after)
    }

    fn record(&mut self, entry: &Entry) -> Result<()> {
        self.session.record(entry)
    }

    fn say(&mut self, line: &str) {
        self.ctx.ui.note(line);
    }
}
