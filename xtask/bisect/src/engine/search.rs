// SPDX-License-Identifier: GPL-2.0

//! The search on one axis, and its re-test.

use super::Engine;
use crate::point::{Axis, Point};
use crate::report::{Found, Part, Search, Verdict};
use crate::stats::miss;
use crate::world::{Ask, World};

/// How often the search goes on after a re-test that did not agree.
const ROUNDS: u32 = 3;

impl<W: World> Engine<'_, W> {
    /// Searches one axis; `from` is its bad end.
    pub(super) fn search(&mut self, axis: Axis, from: &Point) -> Result<(), W::Error> {
        let (good_end, bad_end) = self.ends(axis);
        let mut log = Vec::new();
        let mut good = vec![good_end.clone()];
        let mut bad = bad_end;
        let mut round = 1;
        let found = loop {
            let candidates = self.narrow(axis, from, &mut good, &mut bad, &mut log)?;
            if candidates.len() != 1 {
                break match candidates.is_empty() {
                    true => Found::Doubtful(bad, "the verdicts contradict each other".into()),
                    false => Found::OneOf(candidates),
                };
            }
            match self.retest(axis, from, &bad)? {
                Retest::Agrees => break Found::Culprit(bad),
                Retest::Doubt(why) => break Found::Doubtful(bad, why),
                Retest::ParentShows(parent) if parent == good_end => {
                    let why = "its parent, the good end, has shown it as well".to_owned();
                    break Found::Doubtful(bad, why);
                }
                Retest::ParentShows(_) if round == ROUNDS => {
                    let why = "again and again a parent shows it that had been called good";
                    break Found::Doubtful(bad, why.to_owned());
                }
                Retest::ParentShows(parent) => {
                    self.world
                        .say("so that was not the first bad one; the search goes on");
                    round += 1;
                    good.retain(|commit| *commit != parent);
                    log.push((parent.clone(), Verdict::Bad));
                    bad = parent;
                }
            }
        };
        let named = match &found {
            Found::Culprit(commit) | Found::Doubtful(commit, _) => vec![commit.clone()],
            Found::OneOf(commits) => commits.clone(),
        };
        let mut subjects = Vec::new();
        for commit in &named {
            subjects.push(self.world.subject(axis, commit)?);
        }
        self.report.searches.push(Search {
            axis,
            from: from.clone(),
            found,
            subjects,
            log,
        });
        Ok(())
    }

    /// Steps until nothing can be tried any more; returns what may be the first bad commit.
    fn narrow(
        &mut self,
        axis: Axis,
        from: &Point,
        good: &mut Vec<String>,
        bad: &mut String,
        log: &mut Vec<(String, Verdict)>,
    ) -> Result<Vec<String>, W::Error> {
        let mut skip = Vec::new();
        loop {
            let choice = self.world.choose(axis, good, bad, &skip)?;
            let Some(commit) = choice.commit else {
                return Ok(choice.candidates);
            };
            let left = super::steps(choice.candidates.len() as u64);
            self.world.say(&format!(
                "{} commits left, about {left} steps: {axis} {}",
                choice.candidates.len(),
                crate::point::short(&commit)
            ));
            self.budget.expect(left + self.later);
            let point = from.with(axis, &commit);
            let judged = self.judge(Part::Step, &point, axis)?;
            log.push((commit.clone(), judged.verdict.clone()));
            match judged.verdict {
                Verdict::Good => good.push(commit),
                Verdict::Bad => *bad = commit,
                Verdict::CannotTell(_) => skip.push(commit),
            }
        }
    }

    /// Runs the culprit and its parents once more.
    fn retest(&mut self, axis: Axis, from: &Point, culprit: &str) -> Result<Retest, W::Error> {
        self.world.say("once more: the culprit and its parent");
        let ask = Ask {
            runs: self.need(),
            hits: 1,
        };
        let point = from.with(axis, culprit);
        let judged = self.sample_on(Part::Culprit, &point, Some(axis), ask, true)?;
        match judged.verdict {
            Verdict::Bad => {}
            Verdict::Good => {
                let runs = judged.rate.trials;
                return Ok(Retest::Doubt(format!(
                    "it did not show it again in {runs} runs"
                )));
            }
            Verdict::CannotTell(why) => return Ok(Retest::Doubt(why)),
        }
        let mut fewest = None;
        for parent in self.world.parents(axis, culprit)? {
            let point = from.with(axis, &parent);
            let judged = self.sample_on(Part::Parent, &point, Some(axis), ask, true)?;
            match judged.verdict {
                Verdict::Good => {
                    let runs = judged.rate.trials;
                    fewest = Some(fewest.unwrap_or(runs).min(runs));
                }
                Verdict::Bad => return Ok(Retest::ParentShows(parent)),
                Verdict::CannotTell(why) => {
                    return Ok(Retest::Doubt(format!("its parent cannot be judged: {why}")));
                }
            }
        }
        let passes = fewest.map_or(1.0, |runs| miss(self.budget.floor(), runs));
        // Of two searches the one that was tested less counts.
        self.retested = match self.report.searches.is_empty() {
            true => passes,
            false => self.retested.max(passes),
        };
        Ok(Retest::Agrees)
    }
}

/// What the re-test says.
enum Retest {
    /// The culprit shows it, its parent does not.
    Agrees,
    /// The culprit is in doubt, and why.
    Doubt(String),
    /// This parent shows it.
    ParentShows(String),
}
