// SPDX-License-Identifier: GPL-2.0

//! What the outside does for a bisection.

use crate::memo::Entry;
use crate::point::{Axis, Point};

/// What to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Runs at most.
    pub runs: u64,
    /// Enough with so many that showed it.
    pub hits: u64,
}

/// What came of one guest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// Runs that came to their end without the signature.
    pub clean: u64,
    /// Runs that showed it.
    pub hits: u64,
    /// What else happened that kept runs from their end: it decides nothing.
    pub trouble: Option<String>,
    /// What else was seen, though the runs came to their end: a splat of another kind.
    pub also: Option<String>,
    /// Seconds until the guest spoke.
    pub boot: f64,
    /// Seconds in all.
    pub seconds: f64,
}

/// What came of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Built {
    /// Stands for all that was built: two with the same are the same.
    Ready(String),
    /// This commit cannot be had; why.
    Unfit(String),
}

/// Which commit to try next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The one; none where nothing but the bad one and those to leave out is left.
    pub commit: Option<String>,
    /// All that may be the first bad one, the known bad one among them.
    pub candidates: Vec<String>,
}

/// Git, builds and guests. An error stops the bisection; what is a commit's fault is none.
pub trait World {
    /// What stops it.
    type Error;

    /// The commits reachable from `bad` and from none of `good`, and the one to try next: none of `skip`.
    fn choose(
        &self,
        axis: Axis,
        good: &[String],
        bad: &str,
        skip: &[String],
    ) -> Result<Choice, Self::Error>;

    /// A commit's parents.
    fn parents(&self, axis: Axis, commit: &str) -> Result<Vec<String>, Self::Error>;

    /// A commit's subject.
    fn subject(&self, axis: Axis, commit: &str) -> Result<String, Self::Error>;

    /// Stands for the sources: points with the same are built alike.
    fn source(&self, point: &Point) -> Result<String, Self::Error>;

    /// Builds it.
    fn build(&mut self, point: &Point) -> Result<Built, Self::Error>;

    /// Runs what was built last in one guest, not necessarily as often as it is asked. `after` are runs of the same build
    /// that came before.
    fn run(&mut self, point: &Point, ask: Ask, after: u64) -> Result<Batch, Self::Error>;

    /// Keeps this, so that an interrupted bisection need not do it again.
    fn record(&mut self, entry: &Entry) -> Result<(), Self::Error>;

    /// Tells the user.
    fn say(&mut self, line: &str);
}
