// SPDX-License-Identifier: GPL-2.0

//! The sound images to be tampered with, and what is done to them.

use notblk_host_tests::seeds::tool;
use notblk_hostile::base::{Base, Extra, BASES};
use notblk_hostile::make::make;
use notblk_hostile::map::Class;
use notblk_hostile::mutate::{Mode, Mutator};
use notblk_hostile::mutation::mutated;
use std::collections::BTreeSet;
use std::fs;

fn image(base: &Base) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    make(base, dir.path(), &tool).unwrap_or_else(|error| panic!("{}: {error}", base.name))
}

#[test]
fn every_base_is_sound() {
    for base in BASES {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("image");
        fs::write(&path, image(base)).expect("the image");
        let output = tool("e2fsck")
            .arg("-fn")
            .arg(&path)
            .output()
            .expect("e2fsck");
        let text = String::from_utf8_lossy(&output.stdout);
        // With orphans there is something to be done.
        let sound = output.status.success() || base.extra == Extra::Orphans;
        assert!(sound, "{}: {text}", base.name);
    }
}

#[test]
fn every_base_has_what_it_is_for() {
    for base in BASES {
        let image = image(base);
        let mutator = Mutator::new(&image).expect(base.name);
        for (class, things, fields) in mutator.census() {
            println!("{}: {class:?}: {things} things, {fields} fields", base.name);
            let expected = match class {
                Class::Index => {
                    base.name != "plain-1k"
                        && base.extra != Extra::Original
                        && base.block_size <= 4096
                }
                Class::Quota => base.extra == Extra::Quota,
                Class::AttributeBlock => base.extra != Extra::Original,
                Class::AttributeBody => base.extra != Extra::Original && base.name != "plain-1k",
                _ => true,
            };
            assert_eq!(things > 0, expected, "{}: {class:?}", base.name);
            if class == Class::Index && base.extra == Extra::Levels {
                assert!(things > 2, "the index has no second level");
            }
        }
    }
}

/// Kept seeds mean the same tomorrow, on another machine.
#[test]
fn a_seed_gives_the_same_each_time() {
    let base = &BASES[0];
    let (one, two) = (image(base), image(base));
    let (one, two) = (Mutator::new(&one).unwrap(), Mutator::new(&two).unwrap());
    for mode in [Mode::Fields, Mode::Blind] {
        for seed in 0..200 {
            let places = |mutator: &Mutator<'_>| -> Vec<_> {
                let mutations = mutator.mutations(mode, seed);
                mutations
                    .into_iter()
                    .map(|one| (one.what, one.at))
                    .collect()
            };
            assert_eq!(places(&one), places(&two), "{mode} {seed}");
        }
    }
}

#[test]
fn mutations_change_something_and_fit_what_they_were_made_of() {
    for base in BASES {
        let sound = image(base);
        let mutator = Mutator::new(&sound).expect(base.name);
        let mut seen = BTreeSet::new();
        for seed in 0..500 {
            let mutations = mutator.mutations(Mode::Fields, seed);
            assert!(!mutations.is_empty(), "{}: {seed}", base.name);
            assert!(mutations.iter().all(|one| one.fits(&sound)));
            assert_ne!(mutated(&sound, &mutations), sound, "{}: {seed}", base.name);
            seen.extend(mutations.into_iter().map(|one| one.at));
            assert!(!mutator.mutations(Mode::Blind, seed).is_empty());
        }
        assert!(
            seen.len() > 250,
            "{}: {} places only",
            base.name,
            seen.len()
        );
    }
}
