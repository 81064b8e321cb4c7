// SPDX-License-Identifier: GPL-2.0

//! The whole of a bisection: its ends, its axes, its steps, and the re-test.

mod judge;
mod search;

use notblk_race::rate::Rate;

use crate::budget::Budget;
use crate::memo::{Memo, Work};
use crate::point::{Axis, Point};
use crate::report::{Ending, Estimate, Judged, Part, Report, Verdict};
use crate::stats::lower_bound;
use crate::world::{Ask, World};

/// What is to be bisected.
#[derive(Debug, Clone)]
pub struct Plan {
    /// For the report: what was asked for.
    pub title: Vec<String>,
    /// Where all is well.
    pub good: Point,
    /// Where it is not.
    pub bad: Point,
    /// The axes on which the two differ.
    pub axes: Vec<Axis>,
    /// The error that is allowed.
    pub error: f64,
    /// The rate at the bad end is known well enough with so many hits,
    pub hits: u64,
    /// or after so many runs.
    pub measure: u64,
    /// Runs of each step, where the user has a wish. The error is then what comes of it.
    pub runs: Option<u64>,
}

/// Bisects. What is in the memo is not asked of the world again.
pub fn bisect<W: World>(world: &mut W, plan: &Plan, memo: &mut Memo) -> Result<Report, W::Error> {
    let mut engine = Engine::new(world, plan, memo);
    engine.report.ending = engine.all()?;
    Ok(engine.close())
}

/// Judges what the world has, whichever point it is asked for: good after so many runs without it.
pub fn judge_one<W: World>(world: &mut W, runs: u64) -> Result<Judged, W::Error> {
    let plan = Plan {
        title: Vec::new(),
        good: Point::default(),
        bad: Point::default(),
        axes: Vec::new(),
        error: 0.0,
        hits: 1,
        measure: runs,
        runs: Some(runs),
    };
    let mut memo = Memo::default();
    let ask = Ask { runs, hits: 1 };
    Engine::new(world, &plan, &mut memo).sample(Part::Step, &plan.bad, ask, false)
}

/// A bisection under way.
struct Engine<'a, W: World> {
    world: &'a mut W,
    plan: &'a Plan,
    memo: &'a mut Memo,
    budget: Budget,
    /// Builds whose error is in the budget.
    called_good: Vec<String>,
    /// Verdicts of searches that come after the one that is made.
    later: u32,
    /// The probability that wrong verdicts pass the re-test.
    retested: f64,
    report: Report,
}

impl<'a, W: World> Engine<'a, W> {
    fn new(world: &'a mut W, plan: &'a Plan, memo: &'a mut Memo) -> Self {
        Engine {
            world,
            plan,
            memo,
            budget: Budget::new(plan.error, 0.0, 0.0, 0),
            called_good: Vec::new(),
            later: 0,
            retested: 1.0,
            report: Report {
                title: plan.title.clone(),
                allowed: plan.error,
                bad_rate: Rate::default(),
                estimate: Estimate::default(),
                judged: Vec::new(),
                axes: None,
                searches: Vec::new(),
                ending: Ending::Searched,
                error: (0.0, 0.0),
                work: Work::default(),
            },
        }
    }

    fn all(&mut self) -> Result<Ending, W::Error> {
        let mut commits = Vec::new();
        for &axis in &self.plan.axes {
            let (good, bad) = self.ends(axis);
            let choice = self.world.choose(axis, &[good], &bad, &[])?;
            commits.push((axis, choice.candidates.len() as u64));
        }
        let steps: u32 = commits.iter().map(|&(_, commits)| steps(commits)).sum();
        self.report.estimate.commits = commits;
        self.report.estimate.steps = steps + self.corners();

        if let Some(ending) = self.bad_end()? {
            return Ok(ending);
        }
        if let Some(ending) = self.good_end()? {
            return Ok(ending);
        }
        match self.plan.axes.as_slice() {
            [axis] => self.search(*axis, &self.plan.bad.clone())?,
            _ => return self.both(),
        }
        Ok(Ending::Searched)
    }

    /// The two ends of an axis.
    fn ends(&self, axis: Axis) -> (String, String) {
        let end = |point: &Point| point.on(axis).unwrap_or_default().to_owned();
        (end(&self.plan.good), end(&self.plan.bad))
    }

    /// Verdicts that tell which axis matters.
    fn corners(&self) -> u32 {
        match self.plan.axes.len() {
            0 | 1 => 0,
            _ => 2,
        }
    }

    /// Measures the bad end, and plans the rest.
    fn bad_end(&mut self) -> Result<Option<Ending>, W::Error> {
        let plan = self.plan;
        self.world.say(&format!("the bad end: {}", plan.bad));
        let ask = Ask {
            runs: plan.measure,
            hits: plan.hits,
        };
        let sampled = self.sample(Part::BadEnd, &plan.bad, ask, false)?;
        self.report.bad_rate = sampled.rate;
        if let Verdict::CannotTell(why) = sampled.verdict {
            return Ok(Some(Ending::EndUnfit(Part::BadEnd, why)));
        }
        if sampled.rate.hits == 0 {
            return Ok(Some(Ending::NeverShown));
        }
        self.world
            .say(&format!("the bad end shows it in {}", sampled.rate));
        let measured = Budget::for_measure(plan.error);
        let floor = lower_bound(sampled.rate, measured);
        self.budget = Budget::new(plan.error, measured, floor, self.report.estimate.steps);
        self.report.estimate.floor = floor;
        self.report.estimate.runs = self.need();
        self.world.say(&crate::text::plan(&self.report));
        Ok(None)
    }

    /// Makes sure of the good end. Its verdict is the user's word, and adds nothing to the error.
    fn good_end(&mut self) -> Result<Option<Ending>, W::Error> {
        let plan = self.plan;
        self.world.say(&format!("the good end: {}", plan.good));
        let ask = Ask {
            runs: self.need(),
            hits: 1,
        };
        let judged = self.sample(Part::GoodEnd, &plan.good, ask, false)?;
        match judged.verdict {
            Verdict::Bad => return Ok(Some(Ending::GoodShows)),
            Verdict::CannotTell(why) => return Ok(Some(Ending::EndUnfit(Part::GoodEnd, why))),
            Verdict::Good => {}
        }
        self.report.estimate.seconds = self.seconds();
        self.world.say(&crate::text::time(&self.report));
        Ok(None)
    }

    /// What all steps and the re-test take at most.
    fn seconds(&self) -> f64 {
        let runs = self.need() as f64 * self.memo.run_seconds();
        let each = runs + self.memo.boot_seconds() + self.memo.last_build;
        let judged = f64::from(self.report.estimate.steps) + 2.0 * self.plan.axes.len() as f64;
        judged * each
    }

    /// How many runs without it make a commit good now.
    fn need(&self) -> u64 {
        let runs = self.plan.runs.or(self.budget.runs());
        runs.unwrap_or(self.plan.measure)
    }

    /// Two axes: which of them matters, then that one with the other at an end where it matters.
    fn both(&mut self) -> Result<Ending, W::Error> {
        let [kernel, module] = [Axis::Kernel, Axis::Module];
        let mut shows = Vec::new();
        for axis in [kernel, module] {
            let bad = self.ends(axis).1;
            let point = self.plan.good.with(axis, &bad);
            self.world.say(&format!("only the {axis} is bad: {point}"));
            let judged = self.judge(Part::Corner, &point, axis)?;
            match judged.verdict {
                Verdict::CannotTell(why) => return Ok(Ending::EndUnfit(Part::Corner, why)),
                verdict => shows.push(verdict == Verdict::Bad),
            }
        }
        let (good, bad) = (&self.plan.good, &self.plan.bad);
        let (axes, searches) = match shows[..] {
            [true, false] => ("the kernel's commits alone decide it", vec![(kernel, bad)]),
            [false, true] => ("the module's commits alone decide it", vec![(module, bad)]),
            [true, true] => (
                "either axis shows it with the other at its good end: there are two culprits",
                vec![(kernel, good), (module, good)],
            ),
            _ => (
                "it takes both: each axis is searched with the other at its bad end",
                vec![(kernel, bad), (module, bad)],
            ),
        };
        self.world.say(axes);
        self.report.axes = Some(axes.to_owned());
        let searches: Vec<(Axis, Point)> = searches
            .into_iter()
            .map(|(axis, other)| (axis, other.with(axis, &self.ends(axis).1)))
            .collect();
        for (number, (axis, from)) in searches.iter().enumerate() {
            let after = searches.iter().skip(number + 1);
            self.later = after.map(|&(axis, _)| self.steps(axis)).sum();
            self.search(*axis, from)?;
        }
        Ok(Ending::Searched)
    }

    /// Steps on this axis.
    fn steps(&self, axis: Axis) -> u32 {
        let mut commits = self.report.estimate.commits.iter();
        commits
            .find(|(of, _)| *of == axis)
            .map_or(0, |&(_, commits)| steps(commits))
    }

    fn close(mut self) -> Report {
        let verdicts = self.budget.spent();
        // Of a wrong rate the re-test knows nothing.
        let measured = Budget::for_measure(self.plan.error).min(verdicts);
        let after = measured + (verdicts - measured) * self.retested;
        self.report.error = (verdicts, after);
        self.report.work = self.memo.work;
        self.report
    }

    /// Keeps a judgement, and shows it.
    fn note(&mut self, judged: &Judged) {
        self.world.say(&crate::text::judged(judged));
        self.report.judged.push(judged.clone());
    }
}

/// Steps that so many candidates take, at most, where none is left out.
fn steps(commits: u64) -> u32 {
    commits.max(1).next_power_of_two().trailing_zeros()
}

#[cfg(test)]
mod tests {
    use super::steps;

    #[test]
    fn steps_are_halvings() {
        assert_eq!([1, 2, 3, 16, 17].map(steps), [0, 1, 2, 4, 5]);
    }
}
