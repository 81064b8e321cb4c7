// SPDX-License-Identifier: GPL-2.0

//! What came of a bisection, for people ([`crate::text`]) and for programs.

use notblk_race::rate::Rate;
use serde::{Deserialize, Serialize};

use crate::memo::Work;
use crate::point::{Axis, Point};

/// How one point was judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It did not show in as many runs as that takes.
    Good,
    /// It showed.
    Bad,
    /// Neither can be said, and why: not built, not booted, or not a run that came to its end.
    CannotTell(String),
}

/// Why a point was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The bad end: its rate.
    BadEnd,
    /// The good end.
    GoodEnd,
    /// One axis' bad end with the other's good one.
    Corner,
    /// A step of the bisection.
    Step,
    /// The culprit once more.
    Culprit,
    /// Its parent once more.
    Parent,
}

/// One judgement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Why.
    pub part: Part,
    /// What.
    pub point: Point,
    /// The subject of the commit that differs from the judgement before.
    pub subject: String,
    /// How.
    pub verdict: Verdict,
    /// The runs that it rests on.
    pub rate: Rate,
    /// Of these, runs made for it: the others were made before, of an equal build.
    pub fresh: u64,
    /// It was not built for this, since its sources are those of an earlier point.
    pub same_source: bool,
    /// It was not run for this, since its build is an earlier one's.
    pub same_build: bool,
    /// What it adds to the bound of the error.
    pub error: f64,
    /// Splats of other kinds that were seen.
    pub also: Vec<String>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// What was expected beforehand.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Commits that may be the first bad one, of each axis.
    pub commits: Vec<(Axis, u64)>,
    /// Verdicts to come, at most, where no commit is left out.
    pub steps: u32,
    /// What the signature's probability in a bad run is at least, but for a quarter of the allowed error.
    pub floor: f64,
    /// Runs of each step, if it does not show before.
    pub runs: u64,
    /// Seconds that it takes at most, with builds and boots as long as the last ones.
    pub seconds: f64,
}

/// How the search on one axis ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// This is the first bad commit; the re-test agreed.
    Culprit(String),
    /// This seems to be it, but the re-test did not agree; why.
    Doubtful(String, String),
    /// One of these: the others than the last cannot be judged.
    OneOf(Vec<String>),
}

/// One search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// On which axis.
    pub axis: Axis,
    /// Its bad end, which has the other axis' commit throughout.
    pub from: Point,
    /// How it ended.
    pub found: Found,
    /// The subjects of the commits that are named there.
    pub subjects: Vec<String>,
    /// What had been called good or bad: git can replay it.
    pub log: Vec<(String, Verdict)>,
}

/// How it all ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Searches were made.
    Searched,
    /// The bad end never showed it.
    NeverShown,
    /// The good end shows it too.
    GoodShows,
    /// An end cannot be judged; why.
    EndUnfit(Part, String),
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What was asked for, in the user's words.
    pub title: Vec<String>,
    /// The error that was allowed.
    pub allowed: f64,
    /// How often the bad end showed it.
    pub bad_rate: Rate,
    /// What was expected.
    pub estimate: Estimate,
    /// All judgements.
    pub judged: Vec<Judged>,
    /// What both axes have to do with it, where there are two.
    pub axes: Option<String>,
    /// The searches.
    pub searches: Vec<Search>,
    /// How it ended.
    pub ending: Ending,
    /// The bound of the probability that a verdict is wrong, before the re-test and after.
    pub error: (f64, f64),
    /// What it took, over all sessions.
    pub work: Work,
}

impl Report {
    /// Whether every search has its culprit.
    #[must_use]
    pub fn is_found(&self) -> bool {
        self.ending == Ending::Searched
            && !self.searches.is_empty()
            && self
                .searches
                .iter()
                .all(|search| matches!(search.found, Found::Culprit(_)))
    }
}
