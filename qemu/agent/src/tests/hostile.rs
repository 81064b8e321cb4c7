// SPDX-License-Identifier: GPL-2.0
//! Images that somebody has tampered with. A few hundred here; `cargo xtask hostile` runs any number of them.

use super::env::Env;
use super::{test, Test};
use crate::fs::{self, DISK};
use crate::hostile::{of_seed, Stage};
use anyhow::{ensure, Result};
use notblk_hostile::base::{Extra, BASES};
use notblk_hostile::case::{Case, KEPT};
use notblk_hostile::mutate::Mode;
use notblk_protocol::{Driver, HostileImage, HostileReport};

/// Images of one test.
const IMAGES: u64 = 150;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = vec![
        test("hostile/sound", sound).damages(),
        test("hostile/fields", |env| seeds(env, Mode::Fields)).damages(),
        test("hostile/blind", |env| seeds(env, Mode::Blind)).damages(),
    ];
    tests.extend(KEPT.iter().map(|&(name, text)| {
        let name = format!("hostile/kept-{name}");
        test(&name, move |env| kept(env, text)).damages()
    }));
    tests
}

/// Nothing is wrong with images that nobody has tampered with, and nothing after all that is done to the others; so what is
/// found there is their damage's doing.
fn sound(env: &Env) -> Result<()> {
    for base in BASES {
        for work in 0..3 {
            let case = Case {
                why: String::new(),
                base: base.name.to_owned(),
                options: "errors=continue".to_owned(),
                work,
                mutations: Vec::new(),
            };
            let taken = Stage::new(env.guest)?.take(&case)?;
            let name = base.name;
            ensure!(taken.mounted, "{name}: not mounted: {:?}", taken.log);
            ensure!(
                !taken.damaged && taken.complaints.is_empty(),
                "{name}, {work}: {:?} {:?} {:?}",
                taken.complaints,
                taken.errors,
                taken.log
            );
            // Where the quota library was switched off the counts in its files are of before.
            if base.extra != Extra::Quota {
                let complaint = fs::check(DISK)?;
                ensure!(complaint.is_none(), "{name}, {work}: {complaint:?}");
            }
        }
    }
    Ok(())
}

/// Fixed seeds.
fn seeds(env: &Env, mode: Mode) -> Result<()> {
    env.only(Driver::Notblk)?;
    let mut stage = Stage::new(env.guest)?;
    let mut report = HostileReport::default();
    let mut wrong = Vec::new();
    for seed in (env.seed * 1_000_000..).take(IMAGES as usize) {
        let image = of_seed(seed, None, Some(mode))?;
        let taken = stage.take(&image.case)?;
        taken.count(Some(seed), &mut report);
        if !taken.complaints.is_empty() {
            let HostileImage { case, .. } = image;
            let of = format!("seed {seed} ({}): {:?}", case.base, taken.complaints);
            let mutations = case.mutations.iter().map(|one| format!("  {one}"));
            wrong.push(of);
            wrong.extend(mutations.chain(taken.log).take(20));
        }
    }
    env.note(format!(
        "{} refused, {} damaged, {} harmless; the slowest{} took {} ms",
        report.refused,
        report.damaged,
        report.harmless,
        report
            .slowest
            .1
            .map(|seed| format!(", {seed},"))
            .unwrap_or_default(),
        report.slowest.0
    ));
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Or nothing was tried.
    ensure!(report.refused > 0 && report.damaged > 10 && report.harmless > 10);
    Ok(())
}

/// What the driver could not stand once.
fn kept(env: &Env, text: &str) -> Result<()> {
    env.only(Driver::Notblk)?;
    let case = Case::parse(text).map_err(anyhow::Error::msg)?;
    let taken = Stage::new(env.guest)?.take(&case)?;
    ensure!(
        taken.complaints.is_empty(),
        "{}: {:?}\n{:#?}",
        case.why,
        taken.complaints,
        taken.log
    );
    Ok(())
}
