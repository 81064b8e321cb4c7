// SPDX-License-Identifier: GPL-2.0
//! Runs one order: lets actors go one at a time, and sees where each stops.

use super::actor::{Files, Player};
use super::checks::{Judge, Left};
use super::files::Pool;
use super::holds::{Holds, State};
use super::task::{self, Look, Whose};
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
/// An actor that has not moved for so long, and sleeps for a lock, is blocked.
const BLOCKED: Duration = Duration::from_millis(8);
/// The same where its stack does not say that it is a lock.
const STILL: Duration = Duration::from_millis(150);
/// How often the state is read while nothing happens.
const TICK: Duration = Duration::from_micros(300);
/// How many times it is read at once before anybody sleeps: a stage is short.
const EAGER: u32 = 60;

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
    disk: String,
    pool: Pool,
    players: Vec<Player>,
    /// Whether the driver has the rules.
    ruled: bool,
    /// An actor has not come back: nothing more can be run.
    dead: bool,
}

impl Lab {
    /// Starts the actors. Not `held`: they can only be let [go at once](Lab::free).
    pub fn new(spec: &Spec, disk: &str, mount: &Path, held: bool) -> Result<Lab> {
        let players = (0..spec.actors.len()).map(|index| Player::start(spec, index));
        Ok(Lab {
            spec: spec.clone(),
            holds: held.then(|| Holds::of(disk)).transpose()?,
            disk: disk.trim_start_matches("/dev/").to_owned(),
            pool: Pool::new(mount, spec),
            players: players.collect::<Result<_>>()?,
            ruled: false,
            dead: false,
        })
    }

    /// Whether an actor hangs, so that nothing more can be run in this boot.
    pub fn is_dead(&self) -> bool {
        self.dead
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
        let failures = self.judge(order, &judges, &files, None)?;
        Ok(match failures.is_empty() {
            true => Verdict::Passed,
            false => Verdict::Failed(failures),
        })
    }

    fn holds(&self) -> Result<&Holds> {
        self.holds.as_ref().context("nobody is held in this run")
    }

    fn open(&self, order: u32, paths: &BTreeMap<String, PathBuf>) -> Result<Vec<Files>> {
        self.players
            .iter()
            .map(|player| player.open(order, paths.clone()))
            .collect()
    }

    /// Waits for all ends, and looks at what is left.
    fn judge(
        &mut self,
        order: u32,
        judges: &BTreeMap<String, Judge>,
        files: &[Files],
        blocked: Option<ActorId>,
    ) -> Result<Vec<Failure>> {
        if let Err(hang) = self.await_all() {
            self.dead = true;
            let text = format!("{hang:#}");
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
        if self.dead {
            bail!("an actor hangs");
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
        let failures = self.judge(order, &judges, &files, who)?;
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
                    self.holds()?.one(rule.id)?;
                }
                Place::End => {}
            }
            let stop = self.await_stop(actor)?;
            *place = match stop {
                Stop::End => Place::End,
                _ => Place::Held,
            };
            let is_blocked = matches!(stop, Stop::Blocked { .. });
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

    /// Waits until an actor that goes is held, done or blocked.
    fn await_stop(&self, actor: ActorId) -> Result<Stop> {
        let player = self.player(actor)?;
        let whose = self.whose(actor.0, player);
        let mut reads = 0;
        // Since when it has not moved.
        let mut still: Option<(Look, Instant)> = None;
        let begun = Instant::now();
        loop {
            if player.is_done() {
                return Ok(Stop::End);
            }
            let state = self.holds()?.state()?;
            if let Some(rule) = state.of(player.tid) {
                return Ok(Stop::At(rule.point));
            }
            reads += 1;
            if reads < EAGER {
                std::thread::yield_now();
                continue;
            }
            let look = task::look(whose);
            let moves = !look.asleep || state.inflight > 0 || self.device_is_busy();
            match still {
                Some((seen, since)) if !moves && seen == look => {
                    let rests = since.elapsed();
                    if rests > BLOCKED {
                        let (waits_in, is_lock) = task::waits_in(whose);
                        if is_lock || rests > STILL {
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

    fn whose(&self, index: usize, player: &Player) -> Whose {
        let is_uring =
            |step: &Step| matches!(&step.op, Op::Read(io) | Op::Write(io) if io.api == Api::Uring);
        let actor = self.spec.actors.get(index);
        Whose {
            tid: player.tid,
            uring: actor.is_some_and(|actor| actor.steps.iter().any(is_uring)),
        }
    }

    /// Whether the disk works on something.
    fn device_is_busy(&self) -> bool {
        let text = std::fs::read_to_string(format!("/sys/block/{}/inflight", self.disk));
        text.is_ok_and(|text| text.split_whitespace().any(|count| count != "0"))
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
                    let (waits_in, _) = task::waits_in(self.whose(index, player));
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

impl Runner for Lab {
    fn run(&mut self, choices: &[ActorId]) -> Run {
        self.try_run(choices).unwrap_or_else(|error| {
            // Whoever is under way ends; the next order would find them in the middle.
            let _ = self.unrule();
            self.dead = true;
            Run {
                steps: Vec::new(),
                verdict: Verdict::Failed(vec![Failure {
                    what: What::Broken,
                    text: format!("{error:#}"),
                }]),
            }
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.unrule();
        if self.dead {
            for player in self.players.drain(..) {
                player.abandon();
            }
        }
    }
}
