// SPDX-License-Identifier: GPL-2.0

//! What must hold for any text and any schedule.

use notblk_race::schedule::{Stage, Target};
use notblk_race::{parse, Point, Schedule};
use proptest::prelude::*;

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        (0..Point::ALL.len()).prop_map(|index| Target::At(Point::ALL[index])),
        Just(Target::End),
        Just(Target::Next),
    ]
}

fn stage() -> impl Strategy<Value = Stage> {
    ("[A-Za-z][A-Za-z0-9_-]{0,5}", target()).prop_map(|(actor, stop)| Stage { actor, stop })
}

/// Something that is nearly a spec: one of ours, with some words replaced, doubled or taken away.
fn nearly_a_spec() -> impl Strategy<Value = String> {
    let specs = [
        include_str!("../../../tests/race/seed.race"),
        include_str!("../../../tests/race/nowait.race"),
        include_str!("../../../tests/race/truncate-parked.race"),
    ];
    let words = "race|file|actor|check|hold|write|read|append|direct|mmap|expect|or|from|0..2b|1b|A|A.1|N.2|f|g|{|}|,|:|\n|\"|#|\
                 block_size|2k|..|1b..|4294967296b|empty|written|dio.submit|size|zero|any|ü";
    let words: Vec<&str> = words.split('|').collect();
    let change = (
        any::<prop::sample::Index>(),
        0..3_u8,
        prop::sample::select(words),
    );
    let changes = prop::collection::vec(change, 0..6);
    (prop::sample::select(specs.to_vec()), changes).prop_map(|(spec, changes)| {
        let mut pieces: Vec<&str> = spec.split_inclusive([' ', '\n']).collect();
        for (at, what, word) in changes {
            if pieces.is_empty() {
                break;
            }
            let at = at.index(pieces.len());
            match what {
                0 => pieces[at] = word,
                1 => pieces.insert(at, word),
                _ => drop(pieces.remove(at)),
            }
        }
        pieces.concat()
    })
}

proptest! {
    #[test]
    fn schedules_come_back(stages in prop::collection::vec(stage(), 0..12)) {
        let schedule = Schedule { stages };
        let line = schedule.to_string();
        prop_assert_eq!(line.parse::<Schedule>(), Ok(schedule.clone()));
        let json = serde_json::to_string(&schedule).unwrap();
        prop_assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule);
    }

    #[test]
    fn no_schedule_panics(line in "\\PC{0,60}") {
        if let Ok(schedule) = line.parse::<Schedule>() {
            prop_assert_eq!(schedule.to_string().parse::<Schedule>(), Ok(schedule));
        }
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        if let Err(error) = parse(&text) {
            let _ = error.to_string();
        }
    }

    #[test]
    fn what_parses_comes_back(text in nearly_a_spec()) {
        match parse(&text) {
            Ok(spec) => {
                let printed = spec.to_string();
                prop_assert_eq!(parse(&printed), Ok(spec), "{}", printed);
            }
            Err(error) => {
                // It points into the text.
                let lines = text.split('\n').count();
                prop_assert!(error.line >= 1 && error.line <= lines, "{}", error);
                let line = text.split('\n').nth(error.line - 1).unwrap_or("");
                prop_assert!(error.column <= line.chars().count() + 1, "{}", error);
            }
        }
    }
}
