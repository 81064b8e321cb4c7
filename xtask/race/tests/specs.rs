// SPDX-License-Identifier: GPL-2.0

//! The specs in `tests/race` and their README.

use std::fs;
use std::path::{Path, PathBuf};

use notblk_race::point::Parks;
use notblk_race::spec::{Check, Op};
use notblk_race::{parse, Point, Spec};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/race")
}

/// Each spec's file name and text.
fn texts() -> Vec<(String, String)> {
    let mut texts: Vec<_> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "race"))
        .map(|path| {
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            (stem, fs::read_to_string(&path).unwrap())
        })
        .collect();
    texts.sort();
    texts
}

fn specs() -> Vec<(String, Spec)> {
    let parsed = |(stem, text): (String, String)| match parse(&text) {
        Ok(spec) => (stem, spec),
        Err(error) => panic!("{}", error.in_file(&format!("{stem}.race"))),
    };
    texts().into_iter().map(parsed).collect()
}

#[test]
fn every_spec_parses_and_is_called_as_its_file() {
    let specs = specs();
    for (stem, spec) in &specs {
        assert_eq!(spec.name, *stem);
    }
    let names: Vec<&str> = specs.iter().map(|(stem, _)| stem.as_str()).collect();
    for wanted in [
        "eof-zero",
        "fallback-fallback",
        "folio",
        "fsync-once",
        "mmap-dio",
        "mmap-in-window",
        "nowait",
        "punch-parked",
        "read-fault",
        "read-during-fallback",
        "seed",
        "truncate-parked",
    ] {
        assert!(names.contains(&wanted), "{wanted}");
    }
}

/// The race in three lines, an empty one, and what the checks mean.
#[test]
fn every_spec_argues() {
    for (stem, text) in texts() {
        let spec = parse(&text).unwrap();
        let doc: Vec<&str> = spec.doc.lines().collect();
        assert!(doc.len() >= 6, "{stem}");
        assert!(doc[..3].iter().all(|line| !line.is_empty()), "{stem}");
        assert_eq!(doc[3], "", "{stem}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 130),
            "{stem}"
        );
    }
}

/// The file is looked at in all ways, or it is said here why not.
#[test]
fn every_byte_is_accounted_for() {
    for (stem, spec) in specs() {
        for file in &spec.files {
            let sizes = spec.checks.iter().find_map(|check| match check {
                Check::Size { file: of, sizes } if *of == file.name => Some(sizes),
                _ => None,
            });
            let largest = *sizes
                .unwrap_or_else(|| panic!("{stem}: size"))
                .iter()
                .max()
                .unwrap();
            let mut covered = 0;
            for check in &spec.checks {
                if let Check::Content {
                    file: of, range, ..
                } = check
                {
                    if *of == file.name {
                        assert_eq!(range.start, covered, "{stem}: {}", spec.check_text(check));
                        covered = range.end;
                    }
                }
            }
            assert_eq!(covered, largest, "{stem}");
        }
    }
}

/// Printed and parsed again it is the same.
#[test]
fn every_spec_comes_back() {
    for (stem, spec) in specs() {
        let printed = spec.to_string();
        assert_eq!(parse(&printed).as_ref(), Ok(&spec), "{stem}:\n{printed}");
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<Spec>(&json).unwrap(), spec);
        let free = spec.without_holds();
        assert!(free.actors.iter().all(|actor| actor.holds.is_empty()));
        assert_eq!(parse(&free.to_string()).as_ref(), Ok(&free));
    }
}

/// An upper bound of the orders: each hold once for each step that can come by.
fn orders(spec: &Spec) -> f64 {
    let stages = |actor: &notblk_race::spec::Actor| {
        let stops = actor.holds.iter().map(|point| {
            let passing = actor.steps.iter().filter(|step| point.passed_by(step));
            passing
                .map(|step| match &step.op {
                    // A page, a fault.
                    Op::Write(io) if matches!(point, Point::FaultBegin | Point::FaultMapped) => {
                        io.len.div_ceil(4096)
                    }
                    _ => 1,
                })
                .sum::<u64>()
        });
        stops.sum::<u64>() + 1
    };
    let factorial = |n: u64| (1..=n).map(|n| n as f64).product::<f64>();
    let each: Vec<u64> = spec.actors.iter().map(stages).collect();
    factorial(each.iter().sum()) / each.iter().map(|&n| factorial(n)).product::<f64>()
}

/// At 100 orders a second each is explored in about ten seconds, or has a bound.
#[test]
fn no_spec_has_too_many_orders() {
    for (stem, spec) in specs() {
        let orders = orders(&spec);
        println!("{stem}: {orders} orders at most");
        assert!(
            orders <= 1300.0 || spec.preemptions.is_some(),
            "{stem}: {orders}"
        );
    }
}

#[test]
fn the_readme_has_every_point_and_every_spec() {
    let readme = fs::read_to_string(directory().join("README.md")).unwrap();
    for point in Point::ALL {
        let parks = match point.parks() {
            Parks::Task => "task",
            Parks::Bio => "bio",
        };
        let row = format!("| `{point}` | {parks} | ");
        let found = readme.lines().find(|line| line.starts_with(&row));
        let line = found.unwrap_or_else(|| panic!("no row {row}"));
        let passers = format!(" | {} |", point.passers());
        assert!(line.ends_with(&passers), "{line}");
    }
    for (stem, _) in specs() {
        assert!(readme.contains(&format!("| `{stem}` | ")), "{stem}");
    }
    // The example there is the seed's spec.
    let example: Vec<&str> = readme
        .lines()
        .skip_while(|line| *line != "## An example")
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("    "))
        .collect();
    let mut example = parse(&example.join("\n")).unwrap();
    let (_, seed) = specs()
        .into_iter()
        .find(|(stem, _)| stem == "seed")
        .unwrap();
    example.doc.clone_from(&seed.doc);
    assert_eq!(example, seed);
}
