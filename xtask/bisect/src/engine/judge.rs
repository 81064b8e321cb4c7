// SPDX-License-Identifier: GPL-2.0

//! How one point is judged: built where it must be, run as often as it must be.

use std::time::Instant;

use super::Engine;
use crate::memo::{Entry, Source, Tally};
use crate::point::{Axis, Point};
use crate::report::{Judged, Part, Verdict};
use crate::world::{Ask, Built, World};

/// Guests in a row without a single run, after which a commit cannot be judged.
const IDLE: u32 = 2;
/// Guests in which something else kept runs from their end, after which it cannot.
const TROUBLED: u32 = 5;

impl<W: World> Engine<'_, W> {
    /// Judges a point, with its share of the error.
    pub(super) fn judge(
        &mut self,
        part: Part,
        point: &Point,
        axis: Axis,
    ) -> Result<Judged, W::Error> {
        let ask = Ask {
            runs: self.need(),
            hits: 1,
        };
        self.sample_on(part, point, Some(axis), ask, false)
    }

    /// Runs a point until it has been run so often, or has shown it so often; with runs of the same build from before, unless
    /// they must be `fresh`.
    pub(super) fn sample(
        &mut self,
        part: Part,
        point: &Point,
        ask: Ask,
        fresh: bool,
    ) -> Result<Judged, W::Error> {
        self.sample_on(part, point, None, ask, fresh)
    }

    pub(super) fn sample_on(
        &mut self,
        part: Part,
        point: &Point,
        axis: Option<Axis>,
        ask: Ask,
        fresh: bool,
    ) -> Result<Judged, W::Error> {
        let began = Instant::now();
        let work = self.memo.work;
        let source = self.world.source(point)?;
        let same_source = self.memo.source(&source).is_some();
        let mut judged = Judged {
            part,
            point: point.clone(),
            subject: self.subject(point, axis)?,
            verdict: Verdict::Good,
            rate: Default::default(),
            fresh: 0,
            same_source,
            same_build: false,
            error: 0.0,
            also: Vec::new(),
            seconds: 0.0,
        };
        match self.known_or_built(point, &source)? {
            Err(why) => judged.verdict = Verdict::CannotTell(why),
            Ok((identity, built)) => {
                let before = self.memo.tally(&identity);
                judged.verdict = self.runs(point, &source, &identity, built, ask, fresh)?;
                let after = self.memo.tally(&identity);
                judged.rate = after.rate;
                if fresh {
                    judged.rate.trials -= before.rate.trials;
                    judged.rate.hits -= before.rate.hits;
                }
                judged.fresh = after.rate.trials - before.rate.trials;
                judged.same_build = judged.fresh == 0 && before.rate.trials > 0;
                judged.also = after.also;
                let is_step = matches!(part, Part::Corner | Part::Step);
                if is_step && judged.verdict == Verdict::Good {
                    // The same runs are wrong once only, however many verdicts rest on them.
                    judged.error = match self.called_good.contains(&identity) {
                        true => self.budget.judged(None),
                        false => self.budget.judged(Some(judged.rate.trials)),
                    };
                    self.called_good.push(identity);
                } else if is_step && judged.verdict == Verdict::Bad {
                    self.budget.judged(None);
                }
            }
        }
        judged.seconds = began.elapsed().as_secs_f64();
        // What was found out in an earlier session took its time then.
        if self.memo.work == work {
            judged.seconds = 0.0;
        }
        self.note(&judged);
        Ok(judged)
    }

    /// The subject of what is judged.
    fn subject(&self, point: &Point, axis: Option<Axis>) -> Result<String, W::Error> {
        let axis = axis.or(self.plan.axes.first().copied());
        match axis.and_then(|axis| Some((axis, point.on(axis)?))) {
            Some((axis, commit)) => self.world.subject(axis, commit),
            None => Ok(String::new()),
        }
    }

    /// The build of a point: known from before, or made, which the second value says; or why there is none.
    fn known_or_built(
        &mut self,
        point: &Point,
        source: &str,
    ) -> Result<Result<(String, bool), String>, W::Error> {
        match self.memo.source(source) {
            Some(Source::Built(identity)) => Ok(Ok((identity.clone(), false))),
            Some(Source::Unbuildable(why)) => Ok(Err(why.clone())),
            None => Ok(self.build(point, source)?.map(|identity| (identity, true))),
        }
    }

    fn build(&mut self, point: &Point, source: &str) -> Result<Result<String, String>, W::Error> {
        let began = Instant::now();
        let built = self.world.build(point)?;
        let seconds = began.elapsed().as_secs_f64();
        let source = source.to_owned();
        let (entry, result) = match built {
            Built::Ready(identity) => (
                Entry::Built {
                    source,
                    identity: identity.clone(),
                    seconds,
                },
                Ok(identity),
            ),
            Built::Unfit(why) => (
                Entry::Unbuildable {
                    source,
                    why: why.clone(),
                    seconds,
                },
                Err(why),
            ),
        };
        self.learn(&entry)?;
        Ok(result)
    }

    /// Runs a build until it is judged.
    fn runs(
        &mut self,
        point: &Point,
        source: &str,
        identity: &str,
        mut built: bool,
        ask: Ask,
        fresh: bool,
    ) -> Result<Verdict, W::Error> {
        let base = match fresh {
            true => self.memo.tally(identity),
            false => Tally::default(),
        };
        loop {
            let tally = self.memo.tally(identity);
            let hits = tally.rate.hits - base.rate.hits;
            let runs = tally.rate.trials - base.rate.trials;
            if hits >= ask.hits {
                return Ok(Verdict::Bad);
            }
            let gives_up = tally.idle >= IDLE || tally.troubled - base.troubled >= TROUBLED;
            if hits > 0 && (runs >= ask.runs || gives_up) {
                return Ok(Verdict::Bad);
            }
            if runs >= ask.runs {
                return Ok(Verdict::Good);
            }
            if gives_up {
                let why = tally.trouble.unwrap_or_else(|| "no run ends".to_owned());
                return Ok(Verdict::CannotTell(why));
            }
            if !built {
                // Known from an earlier point or session: what lies there now is another's.
                if let Err(why) = self.build(point, source)? {
                    return Ok(Verdict::CannotTell(why));
                }
                built = true;
            }
            let rest = Ask {
                runs: ask.runs - runs,
                hits: ask.hits - hits,
            };
            let batch = self.world.run(point, rest, tally.rate.trials)?;
            if let Some(trouble) = &batch.trouble {
                self.world.say(&format!("this decides nothing: {trouble}"));
            }
            self.learn(&Entry::Ran {
                identity: identity.to_owned(),
                clean: batch.clean,
                hits: batch.hits,
                trouble: batch.trouble,
                also: batch.also,
                boot: batch.boot,
                seconds: batch.seconds,
            })?;
        }
    }

    fn learn(&mut self, entry: &Entry) -> Result<(), W::Error> {
        self.memo.learn(entry);
        self.world.record(entry)
    }
}
