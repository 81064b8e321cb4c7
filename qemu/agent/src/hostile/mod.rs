// SPDX-License-Identifier: GPL-2.0
//! Images that somebody has tampered with: each is written to the disk, mounted, walked, written to, unmounted.
//!
//! The driver may refuse what it likes, by an errno and a line in the log; and it may not warn, hang, panic, or keep anything in
//! use. What the images are is the business of `notblk-hostile`.
//!
//! - [`stage`]: an image on the disk, and how it was taken
//! - [`hands`]: calls, and what they may answer
//! - [`walk`], [`work`]: reading all there is; writing

mod hands;
mod stage;
mod walk;
mod work;

pub use stage::Stage;

use crate::{fs, sys, Guest};
use anyhow::{anyhow, bail, ensure, Result};
use notblk_hostile::base::{self, Base, BASES};
use notblk_hostile::case::Case;
use notblk_hostile::make::make;
use notblk_hostile::mutate::{Mode, Mutator};
use notblk_hostile::random::Random;
use notblk_protocol::{Event, HostileFailure, HostileImage, HostileReport, HostileSpec};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Longest silence of an image, in seconds of a fast machine.
const LIMIT: u64 = 8;
/// Images from one report to the next.
const BATCH: u64 = 25;
/// Of so many seeds one is blind.
const BLIND: usize = 4;
/// Lines of the log that are told of an image that failed.
const LINES: usize = 40;
/// Only what is graver than this goes to the console while images are mounted: each has a lot to say.
const ERRORS: i32 = 3;
/// What goes there otherwise.
const NEWS: i32 = 7;

/// A sound image, and what mutates it.
pub struct Sound {
    /// What it is.
    pub base: &'static Base,
    /// Its bytes.
    pub image: &'static [u8],
    /// Finds mutations.
    pub mutator: Mutator<'static>,
}

/// The sound image of this name. It is made once in a boot, and kept until its end.
pub fn sound(name: &str) -> Result<&'static Sound> {
    static MADE: Mutex<BTreeMap<&str, &Sound>> = Mutex::new(BTreeMap::new());
    let Some(base) = base::find(name) else {
        bail!("there is no sound image called {name:?}");
    };
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(sound) = made.get(base.name) {
        return Ok(sound);
    }
    let dir = std::path::Path::new("/tmp/hostile").join(base.name);
    std::fs::create_dir_all(&dir)?;
    let find = |program: &str| Command::new(program);
    let image = make(base, &dir, &find).map_err(|error| anyhow!("{name}: {error}"))?;
    std::fs::remove_dir_all(&dir)?;
    let image: &'static [u8] = Vec::leak(image);
    let mutator = Mutator::new(image).map_err(|error| anyhow!("{name}: {error}"))?;
    let sound = Box::leak(Box::new(Sound {
        base,
        image,
        mutator,
    }));
    made.insert(base.name, sound);
    Ok(sound)
}

/// The image of a seed: of this base, or the seed's own; in this way, or the seed's own.
pub fn of_seed(seed: u64, base: Option<&str>, mode: Option<Mode>) -> Result<HostileImage> {
    let mut random = Random::new(seed, "image");
    // The same numbers are drawn whatever is given, so that the rest is the same.
    let own = random.pick(BASES).map_or("", |base| base.name);
    let blind = random.one_in(BLIND);
    let own_mode = if blind { Mode::Blind } else { Mode::Fields };
    let mode = mode.unwrap_or(own_mode);
    let sound = sound(base.unwrap_or(own))?;
    let options = random.pick(sound.base.options()).copied().unwrap_or("");
    let case = Case {
        why: String::new(),
        base: sound.base.name.to_owned(),
        options: options.to_owned(),
        // A file's numbers have a sign.
        work: seed >> 1,
        mutations: sound.mutator.mutations(mode, seed),
    };
    Ok(HostileImage {
        seed: Some((seed, mode)),
        case,
    })
}

/// `Work::Hostile`.
pub fn run(guest: &Guest, spec: &HostileSpec) -> Result<()> {
    fs::load(guest.driver)?;
    let mut stage = Stage::new(guest)?;
    let mut tally = Tally {
        guest,
        report: HostileReport::default(),
    };
    guest.host.step("images", LIMIT)?;
    sys::console_level(ERRORS)?;
    let goes_on = |goes_on: bool| -> Result<()> {
        ensure!(goes_on, Stopped);
        Ok(())
    };
    let outcome = match spec {
        HostileSpec::Seeds {
            from,
            count,
            base,
            mode,
        } => (*from..from.saturating_add(*count)).try_for_each(|seed| {
            let image = of_seed(seed, base.as_deref(), *mode)?;
            goes_on(tally.one(&mut stage, image)?)
        }),
        HostileSpec::Cases(cases) => cases.iter().try_for_each(|case| {
            let case = case.clone();
            goes_on(tally.one(&mut stage, HostileImage { seed: None, case })?)
        }),
    };
    sys::console_level(NEWS)?;
    tally.tell()?;
    match outcome {
        Err(error) if error.is::<Stopped>() => Ok(()),
        other => other,
    }
}

/// What a kernel does after a splat says little: the host gives the rest another boot.
#[derive(Debug)]
struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the kernel has reported something")
    }
}

impl std::error::Error for Stopped {}

/// Counts, for the host.
struct Tally<'a> {
    guest: &'a Guest,
    report: HostileReport,
}

impl Tally<'_> {
    /// One image. False where the kernel had something to say that is no news.
    fn one(&mut self, stage: &mut Stage<'_>, image: HostileImage) -> Result<bool> {
        let event = Event::HostileImage(Box::new(image.clone()));
        self.guest.host.send(&event)?;
        let taken = stage.take(&image.case)?;
        let seed = image.seed.map(|(seed, _)| seed);
        taken.count(seed, &mut self.report);
        let mut complaints = taken.complaints;
        if !complaints.is_empty() {
            complaints.extend(taken.log.into_iter().take(LINES));
            let failure = HostileFailure { image, complaints };
            self.guest
                .host
                .send(&Event::HostileFailed(Box::new(failure)))?;
        }
        if self.report.images >= BATCH {
            self.tell()?;
        }
        Ok(!taken.splat)
    }

    /// Tells the host, and begins anew.
    fn tell(&mut self) -> Result<()> {
        let report = std::mem::take(&mut self.report);
        self.guest.host.send(&Event::Hostile(Box::new(report)))
    }
}
