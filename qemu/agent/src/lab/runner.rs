// SPDX-License-Identifier: GPL-2.0
//! Runs one order: lets actors go one at a time, and sees where each stops.

use super::actor::{Files, Player};
use super::checks::{Judge, Left};
use super::files::Pool;
use super::holds::{Holds, State};
use super::quiet::{self, Quiet};
use super::task::{Look, Observed};
use anyhow::{bail, Context, Result};
use notblk_race::run::{ActorId, Failure, Run, Runner, Stop, Taken, Turns, Verdict, What};
use notblk_race::spec::{Actor, Api, Op, Spec, Step};
use notblk_race::Point;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// After so long the driver lets everything go by itself: far longer than an order takes.
const DEADLINE: Duration = Duration::from_secs(20);
/// How long all actors may take to their ends once nothing is held.
const END: Duration = Duration::from_secs(15);
/// An actor that has not moved for so long, while nothing at all runs, and sleeps for a lock, is blocked.
const BLOCKED: Duration = Duration::from_millis(1);
/// The same where its stack does not say that it is a lock.
const STILL: Duration = Duration::from_millis(150);
/// Somebody else may have something to do for ever (a kernel that looks for its leaks): after so long that does not count.
const PATIENCE: Duration = Duration::from_secs(2);
/// And a disk that still has something to do is slow (the host may have others who write), but not for so long.
const SLOW_DISK: Duration = Duration::from_secs(8);
/// How often the state is read while nothing happens.
const TICK: Duration = Duration::from_micros(200);
/// How long it is read again and again before anybody sleeps: a stage is short.
const EAGER: Duration = Duration::from_micros(700);

/// Where an actor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Its first step has not begun.
    Before,
    /// Held.
    Held,
    /// Its last step is done.
    End,
}

/// The actors of one spec on one mount.
pub struct Lab {
    spec: Spec,
    /// `None` where nobody is ever held: that goes with any driver.
    holds: Option<Holds>,
    quiet: Quiet,
    pool: Pool,
    players: Vec<Player>,
    /// The players' threads, as the kernel has them.
    observed: Vec<Observed>,
    /// Whether the driver has the rules.
    ruled: bool,
    /// Why nothing more can be run: an actor has not come back.
    dead: Option<String>,
    /// Done when somebody is held for the first time.
    when_held: Option<WhenHeld>,
    /// Whether the driver is mounted as it is meant to fail.
    meant_to_fail: bool,
}

/// See [`Lab::when_held`].
type WhenHeld = Box<dyn FnOnce() -> Result<()>>;

impl Lab {
    /// Starts the actors. Not `held`: they can only be let [go at once](Lab::free).
    pub fn new(spec: &Spec, disk: &str, mount: &Path, held: bool) -> Result<Lab> {
        let players = (0..spec.actors.len()).map(|index| Player::start(spec, index));
        let players = players.collect::<Result<Vec<_>>>()?;
        let observed = spec.actors.iter().zip(&players);
        let observed = observed.map(|(actor, player)| Observed::new(player.tid, has_uring(actor)));
        Ok(Lab {
            spec: spec.clone(),
            holds: held.then(|| Holds::of(disk)).transpose()?,
            quiet: Quiet::of(disk)?,
            pool: Pool::new(mount, spec),
            observed: observed.collect::<Result<_>>()?,
            players,
            ruled: false,
            dead: None,
            when_held: None,
            meant_to_fail: false,
        })
    }

    /// Whether an actor hangs, so that nothing more can be run in this boot.
    pub fn is_dead(&self) -> bool {
        self.dead.is_some()
    }

    /// Why that is.
    pub fn why_dead(&self) -> Option<String> {
        self.dead.clone()
    }

    /// The driver is mounted as it is meant to fail. What everybody does who is let go at the end of an order that cannot happen is
    /// luck then, and no verdict.
    pub fn mean_to_fail(mut self, meant: bool) -> Lab {
        self.meant_to_fail = meant;
        self
    }

    /// Does this as soon as somebody is held.
    pub fn when_held(&mut self, act: impl FnOnce() -> Result<()> + 'static) {
        self.when_held = Some(Box::new(act));
    }

    /// Has the last actor never come to its end.
    pub fn hang_last(&self) {
        self.players.iter().rev().take(1).for_each(Player::hang);
    }

    /// The actors' threads.
    pub fn owners(&self) -> Vec<i32> {
        self.players.iter().map(|player| player.tid).collect()
    }

    /// Lets everybody go at once; whether all is as it must be when they are done.
    pub fn free(&mut self) -> Result<Verdict> {
        let (order, paths) = self.pool.take()?;
        let judges = Judge::open(&paths)?;
        let files = self.open(order, &paths)?;
        for player in &self.players {
            player.go()?;
        }
        let failures = self.judge(order, &judges, &files, (None, true))?;
        Ok(match failures.is_empty() {
            true => Verdict::Passed,
            false => Verdict::Failed(failures),
        })
    }

    fn holds(&self) -> Result<&Holds> {
        self.holds.as_ref().context("nobody is held in this run")
    }

    fn open(&self, order: u32, paths: &BTreeMap<String, PathBuf>) -> Result<Vec<Files>> {
        for player in &self.players {
            player.open(order, paths.clone())?;
        }
        self.players.iter().map(Player::opened).collect()
    }

    /// Waits for all ends, and looks at what is left. With who is blocked, and whether actors run at the same time by now.
    fn judge(
        &mut self,
        order: u32,
        judges: &BTreeMap<String, Judge>,
        files: &[Files],
        (blocked, at_once): (Option<ActorId>, bool),
    ) -> Result<Vec<Failure>> {
        if let Err(hang) = self.await_all() {
            let text = format!("{hang:#}");
            self.dead = Some(text.clone());
            let what = What::Hang;
            return Ok(vec![Failure { what, text }]);
        }
        let ended = self.players.iter().map(Player::results);
        let ended = ended.collect::<Result<Vec<_>>>()?;
        let left = Left {
            spec: &self.spec,
            order,
            judges,
            files,
            ended: &ended,
            blocked,
            at_once,
        };
        left.failures()
    }

    fn player(&self, actor: ActorId) -> Result<&Player> {
        self.players.get(actor.0).context("no such actor")
    }

    /// Asks the driver to hold the actors where the spec says.
    fn rule(&mut self) -> Result<()> {
        if self.ruled {
            return Ok(());
        }
        let deadline = u64::try_from(DEADLINE.as_millis())?;
        for (actor, player) in self.spec.actors.iter().zip(&self.players) {
            for &point in &actor.holds {
                self.holds()?.hold(point, player.tid, deadline)?;
            }
        }
        self.ruled = true;
        Ok(())
    }

    fn unrule(&mut self) -> Result<()> {
        self.ruled = false;
        match &self.holds {
            Some(holds) => holds.clear(),
            None => Ok(()),
        }
    }

    fn try_run(&mut self, choices: &[ActorId]) -> Result<Run> {
        if let Some(why) = &self.dead {
            bail!("{why}");
        }
        let (order, paths) = self.pool.take()?;
        let judges = Judge::open(&paths)?;
        let files = self.open(order, &paths)?;
        self.rule()?;
        let steps = self.stages(choices)?;
        let blocked = match steps.last() {
            Some(Taken {
                actor,
                stop: Stop::Blocked { waits_in, holder },
                ..
            }) => Some((*actor, waits_in.clone(), holder.clone())),
            _ => None,
        };
        if blocked.is_some() {
            self.unrule()?;
            // All come to their ends, those too whose turn it never was.
            for (index, player) in self.players.iter().enumerate() {
                if !steps.iter().any(|taken| taken.actor == ActorId(index)) {
                    player.go()?;
                }
            }
        }
        let is_held_in_fsync = |actor: &Actor| actor.holds.contains(&Point::FsyncBegin);
        if self.spec.actors.iter().any(is_held_in_fsync) {
            // The judge calls fsync by the actors' own descriptors, and would be taken for them.
            self.unrule()?;
        }
        let who = blocked.as_ref().map(|(actor, ..)| *actor);
        let mut failures = self.judge(order, &judges, &files, (who, blocked.is_some()))?;
        if blocked.is_some() && self.meant_to_fail {
            failures.retain(|failure| !matches!(failure.what, What::Check(_) | What::Step { .. }));
        }
        let verdict = match blocked {
            _ if !failures.is_empty() => Verdict::Failed(failures),
            Some((actor, waits_in, holder)) => Verdict::Infeasible {
                actor,
                waits_in,
                holder,
            },
            None => Verdict::Passed,
        };
        Ok(Run { steps, verdict })
    }

    /// Lets one actor after the other go, to the end of all or until one is blocked.
    fn stages(&mut self, choices: &[ActorId]) -> Result<Vec<Taken>> {
        let mut places = vec![Place::Before; self.players.len()];
        let mut turns = Turns::new(choices);
        let mut steps: Vec<Taken> = Vec::new();
        loop {
            let enabled: Vec<ActorId> = (0..places.len())
                .filter(|&index| places.get(index) != Some(&Place::End))
                .map(ActorId)
                .collect();
            let Some(actor) = turns.next(&enabled) else {
                return Ok(steps);
            };
            let player = self.player(actor)?;
            let place = places.get_mut(actor.0).context("no such actor")?;
            match place {
                Place::Before => player.go()?,
                Place::Held => {
                    let state = self.holds()?.state()?;
                    let rule = state.of(player.tid).with_context(|| {
                        format!("an actor that was held is not held any more: {state:?}")
                    })?;
                    self.holds()?.one(rule)?;
                }
                Place::End => {}
            }
            let stop = self.await_stop(actor)?;
            *place = match stop {
                Stop::End => Place::End,
                _ => Place::Held,
            };
            let is_blocked = matches!(stop, Stop::Blocked { .. });
            if matches!(stop, Stop::At(_)) {
                if let Some(act) = self.when_held.take() {
                    act()?;
                }
            }
            steps.push(Taken {
                actor,
                stop,
                enabled,
            });
            if is_blocked {
                return Ok(steps);
            }
        }
    }

    /// Waits until an actor that goes has come to rest: held, done or blocked.
    ///
    /// Held is not enough. A task whose bio is parked goes on, and may have another one to send; of two bios that were let go one
    /// may be back before the other. Were the next stage to begin then, it would be luck what happens first.
    fn await_stop(&self, actor: ActorId) -> Result<Stop> {
        let player = self.player(actor)?;
        let whose = self.observed(actor.0)?;
        // Since when it has not moved.
        let mut still: Option<(Look, Instant)> = None;
        let begun = Instant::now();
        loop {
            if player.is_done() {
                return Ok(Stop::End);
            }
            let state = self.holds()?.state()?;
            if let Some(rule) = state.of(player.tid).filter(|_| state.inflight == 0) {
                // Whoever is being woken on another processor is not counted there yet, but does not sleep any more. Nor is what
                // was read of the points before it slept the last word: it may have gone to sleep at another one.
                let rests = !rule.has_bios()
                    || (whose.look().asleep
                        && (self.quiet.is_quiet()? || begun.elapsed() > PATIENCE)
                        && self.holds()?.state()? == state);
                if rests {
                    return Ok(Stop::At(rule.point));
                }
            }
            if begun.elapsed() < EAGER {
                std::thread::yield_now();
                continue;
            }
            let look = whose.look();
            let moves = !look.asleep || state.inflight > 0;
            match still {
                Some((seen, since)) if !moves && seen == look => {
                    let rests = since.elapsed();
                    if rests > SLOW_DISK
                        || (rests > PATIENCE && self.quiet.is_disk_idle()?)
                        || (rests > BLOCKED && self.quiet.is_quiet()?)
                    {
                        let (waits_in, is_lock) = whose.waits_in();
                        if (is_lock || rests > STILL) && self.rests_for_sure(whose, look, rests)? {
                            let holder = self.holders(&state, actor);
                            return Ok(Stop::Blocked { waits_in, holder });
                        }
                    }
                }
                _ => still = Some((look, Instant::now())),
            }
            if begun.elapsed() > DEADLINE / 2 {
                bail!(
                    "actor {} neither stops nor sleeps: {look:?}, {state:?}",
                    actor.0
                );
            }
            std::thread::sleep(TICK);
        }
    }

    /// Whether somebody whose last look was this one still sleeps when every processor has had its turn, twice: what one has done
    /// may be for another to go on with.
    fn rests_for_sure(&self, whose: &Observed, look: Look, rests: Duration) -> Result<bool> {
        for _ in 0..2 {
            quiet::visit_processors()?;
            let state = self.holds()?.state()?;
            let is_disk_done = rests > SLOW_DISK || self.quiet.is_disk_idle()?;
            if whose.look() != look || state.inflight > 0 || !is_disk_done {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn observed(&self, index: usize) -> Result<&Observed> {
        self.observed.get(index).context("no such actor")
    }

    /// Everybody else who is held, and where.
    fn holders(&self, state: &State, blocked: ActorId) -> String {
        let mut held = Vec::new();
        for (index, (actor, player)) in self.spec.actors.iter().zip(&self.players).enumerate() {
            for rule in &state.rules {
                if index == blocked.0 || rule.owner != player.tid {
                    continue;
                }
                for what in &rule.now {
                    let what = match what.strip_prefix("bio:") {
                        Some(place) => format!("bio {place} "),
                        None => String::new(),
                    };
                    held.push(format!("{}: {what}at {}", actor.name, rule.point));
                }
            }
        }
        held.join(", ")
    }

    /// Waits for all actors' ends.
    fn await_all(&self) -> Result<()> {
        let until = Instant::now() + END;
        let actors = self.spec.actors.iter().zip(&self.players);
        for (index, (actor, player)) in actors.enumerate() {
            while !player.is_done() {
                if Instant::now() > until {
                    let (waits_in, _) = self.observed(index)?.waits_in();
                    bail!(
                        "{} does not come to its end: it is in {waits_in}",
                        actor.name
                    );
                }
                std::thread::sleep(TICK);
            }
        }
        Ok(())
    }
}

/// Whether an actor has steps that go by io_uring.
fn has_uring(actor: &Actor) -> bool {
    let is_uring =
        |step: &Step| matches!(&step.op, Op::Read(io) | Op::Write(io) if io.api == Api::Uring);
    actor.steps.iter().any(is_uring)
}

impl Runner for Lab {
    fn run(&mut self, choices: &[ActorId]) -> Run {
        self.try_run(choices).unwrap_or_else(|error| {
            // Whoever is under way ends; the next order would find them in the middle.
            let _ = self.unrule();
            let text = format!("{error:#}");
            self.dead = Some(text.clone());
            Run {
                steps: Vec::new(),
                verdict: Verdict::Failed(vec![Failure {
                    what: What::Broken,
                    text,
                }]),
            }
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.unrule();
        if self.dead.is_some() {
            for player in self.players.drain(..) {
                player.abandon();
            }
        }
    }
}
