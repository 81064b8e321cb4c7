// SPDX-License-Identifier: GPL-2.0

//! What a run came to: counts, the comparison with its baseline, the failures with the commands that repeat them.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{wrap, Grid, Paint, WIDTH};
use crate::flaky::Contradiction;
use crate::outcome::{whose, Verdict};
use crate::text::{counted, duration, one_line, shorten};
use crate::{Baseline, Class, Column, Comparison, Outcome, Run, Status};

/// Everything about a run that belongs on a terminal.
pub fn summary(run: &Run, baseline: Option<&Baseline>, paint: Paint) -> String {
    let mut text = counts(run, paint) + &faults(run, paint);
    let compared = baseline.map_or(Vec::new(), |baseline| baseline.comparisons(run));
    for comparison in &compared {
        text.push_str(&self::comparison(comparison, paint));
    }
    // What is on neither side of a comparison has its failures listed by itself.
    for config in run.config_names() {
        let side = |column: &Column| column.config == config && column.run.run.id == run.run.id;
        if !compared.iter().any(|c| side(&c.here) || side(&c.there)) {
            text.push_str(&failures(&Column { run, config }, paint));
        }
    }
    text.push_str(&expectations(run, paint));
    text
}

/// The table of counts, one line a configuration.
fn counts(run: &Run, paint: Paint) -> String {
    let mut head = vec!["configuration"];
    head.extend(Status::ALL.map(Status::name));
    head.extend(["left", "time"]);
    let mut grid = Grid::new(&head, &(1..head.len()).collect::<Vec<_>>());
    for config in run.config_names() {
        let mut row = vec![shorten(config, 40)];
        for status in Status::ALL {
            let count = run.of(config).filter(|r| r.status == status).count();
            row.push(count.to_string());
        }
        row.push(Column { run, config }.left().to_string());
        row.push(duration(run.of(config).map(|r| r.secs).sum()));
        grid.add(row);
    }
    let table = grid.render();
    let (head, rows) = table.split_once('\n').unwrap_or((&table, ""));
    format!("{}\n{rows}", paint.heading(head))
}

/// What has not been run as a whole, before anything that its results may seem to say.
fn faults(run: &Run, paint: Paint) -> String {
    let faults = run.run.faults();
    if faults.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{}\n", paint.heading("this run is not complete"));
    for fault in faults {
        let words: Vec<String> = fault.split(' ').map(|it| shorten(it, WIDTH - 2)).collect();
        text.push_str(&wrap(words.iter().map(String::as_str), 2));
    }
    text
}

/// The comparison: a line of counts, then the classes that need reading.
fn comparison(compared: &Comparison, paint: Paint) -> String {
    let (here, there) = compared.labels();
    let mut text = format!("\n{}\n", paint.heading(&format!("{here} against {there}")));
    let counts: Vec<String> = Class::ALL
        .iter()
        .filter(|&&class| compared.count(class) > 0)
        .map(|&class| format!("{} {}", compared.count(class), class.title()))
        .collect();
    let parts: Vec<String> = match counts.split_last() {
        None => return text + "  no test has a result\n",
        Some((last, others)) => {
            let others = others.iter().map(|count| format!("{count};"));
            others.chain([last.clone()]).collect()
        }
    };
    text.push_str(&wrap(parts.iter().flat_map(|c| c.split(' ')), 2));
    for class in Class::ALL {
        let rows: Vec<_> = compared.of(class).collect();
        if rows.is_empty() {
            continue;
        }
        let heading = paint.heading(&format!("{} ({})", class.title(), rows.len()));
        let mut list = String::new();
        match class {
            Class::FailsHere | Class::FailsBoth => {
                for row in rows {
                    let Some(here) = &row.here else { continue };
                    list.push_str(&failure(here, &[row.there_in_words()], paint));
                }
            }
            Class::PassesHere => {
                for row in rows {
                    let Some(there) = &row.there else { continue };
                    list.push_str(&failure(there, &["that is there".to_owned()], paint));
                }
            }
            Class::SkippedHere => {
                let skipped = rows.iter().filter_map(|row| row.here.as_ref());
                list = by_reason(skipped);
            }
            Class::MissingHere | Class::MissingThere => {
                list = wrap(rows.iter().map(|row| row.test), 2);
            }
            // Nothing to do about these: counted above, listed in the page.
            Class::SkippedThere | Class::PassesBoth | Class::SkippedBoth => continue,
        }
        let _ = write!(text, "\n{heading}\n{list}");
    }
    text
}

/// The failures of a configuration that is compared with nothing.
fn failures(column: &Column, paint: Paint) -> String {
    let outcomes = column.outcomes();
    let bad: Vec<_> = outcomes
        .values()
        .filter(|o| o.verdict() == Verdict::Bad)
        .collect();
    if bad.is_empty() {
        return String::new();
    }
    let heading = format!("{}: {} bad", column.config, counted(bad.len(), "test"));
    let list: String = bad.iter().map(|o| failure(o, &[], paint)).collect();
    format!("\n{}\n{list}", paint.heading(&heading))
}

/// One failure: its name and reason, what else is known of it, and the command that repeats it.
fn failure(outcome: &Outcome, notes: &[String], paint: Paint) -> String {
    let shown = outcome.shown();
    let status = paint.status(shown.status, &format!("{:<5}", shown.status));
    let reason = one_line(outcome.reason());
    let reason = shorten(&reason, WIDTH - 2 - 13 - 1 - 5 - 2);
    let mut text = format!("  {:<13} {status}  {reason}", one_line(&shown.test));
    text.truncate(text.trim_end().len());
    text.push('\n');
    let mut notes = notes.to_vec();
    notes.extend(outcome.marks());
    if !notes.is_empty() {
        text.push_str(&wrap(notes.join("; ").split(' '), 16));
    }
    if !shown.repeat.is_empty() {
        let _ = writeln!(text, "                {}", one_line(&shown.repeat));
    }
    text
}

/// Tests that were not run, gathered by what kept them from it; the commonest reason first.
fn by_reason<'a>(skipped: impl Iterator<Item = &'a Outcome<'a>>) -> String {
    let mut reasons: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for outcome in skipped {
        let shown = outcome.shown();
        let reason = match (shown.status, outcome.reason()) {
            (_, "") => "no reason given".to_owned(),
            (Status::Excluded, reason) => format!("excluded: {}", one_line(reason)),
            (_, reason) => one_line(reason),
        };
        reasons.entry(reason).or_default().push(&shown.test);
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, tests)| std::cmp::Reverse(tests.len()));
    let lines = reasons.iter().map(|(reason, tests)| {
        let reason = shorten(reason, WIDTH - 10);
        let tests = wrap(tests.iter().copied(), 6);
        format!("  {:>3} {reason}\n{tests}", tests_count(&tests))
    });
    lines.collect()
}

/// How many tests a wrapped list of them names.
fn tests_count(list: &str) -> usize {
    list.split_whitespace().count()
}

/// What the exclusions said that a reader must see: our own bugs whatever came of them, and passes that they do not expect.
fn expectations(run: &Run, paint: Paint) -> String {
    let mut ours: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut rates = String::new();
    let mut surprises: BTreeMap<(&str, String), Vec<&str>> = BTreeMap::new();
    for config in run.config_names() {
        for (test, outcome) in (Column { run, config }).outcomes() {
            let shown = outcome.shown();
            let Some(expected) = &shown.expected else {
                continue;
            };
            if outcome.is_known_bug_of_ours() {
                ours.entry(config).or_default().push(format!(
                    "  {test:<13} {}  {}\n",
                    paint.status(shown.status, &format!("{:<8}", shown.status)),
                    shorten(
                        &one_line(&format!("{} ({})", expected.reason, expected.link)),
                        WIDTH - 27
                    )
                ));
            }
            if let Some(found) = Contradiction::of(&outcome) {
                let line = format!("  {test:<13} on {config}: {}", found.in_words());
                let _ = writeln!(rates, "{}", shorten(&line, WIDTH));
            }
            if outcome.is_unexpected_pass() {
                let why = format!("{}: {}", whose(expected.bug), one_line(&expected.reason));
                surprises.entry((test, why)).or_default().push(config);
            }
        }
    }
    let mut text = String::new();
    if !rates.is_empty() {
        let heading =
            paint.heading("flaky rates that are contradicted; the exclusions need a look");
        let _ = write!(text, "\n{heading}\n{rates}");
    }
    for (config, lines) in ours {
        let heading = format!("known bugs of notblk on {config} ({})", lines.len());
        let _ = write!(text, "\n{}\n{}", paint.heading(&heading), lines.concat());
    }
    if !surprises.is_empty() {
        let heading = paint.heading("passes unexpectedly; the exclusions need a look");
        let _ = write!(text, "\n{heading}\n");
        for ((test, why), configs) in surprises {
            let line = format!("  {test:<13} on {}; expected: {why}", configs.join(", "));
            let _ = writeln!(text, "{}", shorten(&line, WIDTH));
        }
    }
    text
}

/// The one line that ends a run's output.
pub fn closing(run: &Run) -> String {
    let count = |wanted: fn(Status) -> bool| {
        let statuses = run.results.iter().map(|r| r.status);
        statuses.filter(|&s| wanted(s)).count()
    };
    let left: usize = run
        .config_names()
        .map(|config| Column { run, config }.left())
        .sum();
    let left = match left {
        0 => String::new(),
        left => format!(", {left} not run yet"),
    };
    format!(
        "{} passed, {} bad, {} not run{left}, in {} ({})",
        count(|s| s == Status::Pass),
        count(Status::is_bad),
        count(Status::is_unrun),
        duration(run.run.wall_secs),
        run.run.accel
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fake, Bug, Expect};

    fn two() -> Run {
        let tests = ["generic/001", "generic/002", "generic/003", "generic/004"];
        let mut run = Run {
            run: fake::run_info(&["notblk", "ext4"], &tests),
            results: Vec::new(),
        };
        let ends = [
            (Status::Hang, Status::Pass),
            (Status::Fail, Status::Fail),
            (Status::Skip, Status::Pass),
            (Status::Pass, Status::Splat),
        ];
        for (test, (here, there)) in tests.iter().zip(ends) {
            run.results.push(fake::result("notblk", test, here));
            run.results.push(fake::result("ext4", test, there));
        }
        run
    }

    #[test]
    fn counts_stand_under_their_heads() {
        let text = summary(&two(), None, Paint(false));
        let lines: Vec<_> = text.lines().collect();
        let under = |word: &str| {
            let end = lines[0].find(word).unwrap() + word.len();
            lines[1][..end].split_whitespace().last().unwrap()
        };
        let figures = ["pass", "fail", "hang", "splat", "skip", "left"].map(under);
        assert_eq!(figures, ["1", "1", "1", "0", "1", "0"]);
    }

    #[test]
    fn what_has_not_been_run_is_said_first() {
        let mut run = two();
        let said = |run: &Run| summary(run, None, Paint(false));
        assert!(!said(&run).contains("not complete"));
        run.run.configs[1].broken = Some("mount:\x1b[2J refused".into());
        let text = said(&run);
        let (before, after) = text.split_once("\nthis run is not complete\n").unwrap();
        assert_eq!(before.lines().count(), 3, "the table of counts: {text}");
        assert!(
            after.starts_with("  ext4: could not be run: mount:\u{241b}[2J refused\n"),
            "{text}"
        );
    }

    #[test]
    fn every_failure_has_the_command_that_repeats_it() {
        let run = two();
        let here = Baseline::Config("ext4".into());
        for (baseline, commands) in [(Some(&here), 3), (None, 4)] {
            let text = summary(&run, baseline, Paint(false));
            let found = text.matches("cargo xtask run-xfstests --config").count();
            assert_eq!(found, commands, "{text}");
        }
    }

    #[test]
    fn classes_are_listed_with_what_they_need() {
        let baseline = Baseline::Config("ext4".into());
        let text = summary(&two(), Some(&baseline), Paint(false));
        for wanted in [
            "\nnotblk against ext4\n",
            "\nfails only here (1)\n  generic/001   hang   hang because\n                pass there\n",
            "\nfails on both (1)\n  generic/002   fail   fail because\n                fail there\n",
            "\npasses only here (1)\n  generic/004   splat  splat because\n",
            "\nskipped here, run there (1)\n    1 skip because\n      generic/003\n",
        ] {
            assert!(text.contains(wanted), "{wanted}\nis not in\n{text}");
        }
    }

    #[test]
    fn our_bugs_and_unexpected_passes_are_named() {
        let mut run = two();
        for (at, expect) in [(0, Expect::Fail), (4, Expect::Skip), (6, Expect::Fail)] {
            run.results[at].expected = Some(fake::expectation(expect, Bug::Notblk));
        }
        let text = summary(&run, None, Paint(false));
        assert!(
            text.contains("\nknown bugs of notblk on notblk (3)\n"),
            "{text}"
        );
        assert!(
            text.contains("  generic/004   on notblk; expected: a bug of notblk: it says why\n"),
            "{text}"
        );
    }

    #[test]
    fn a_flaky_rate_is_only_contradicted_by_many_rounds() {
        let said = |ends: &[Status]| {
            let mut run = fake::rounds("generic/001", ends);
            for result in &mut run.results {
                result.expected = Some(fake::expectation(Expect::Flaky(0.1), Bug::Suite));
            }
            summary(&run, None, Paint(false))
        };
        let line = "\nflaky rates that are contradicted; the exclusions need a look\n  \
            generic/001   on notblk: bad 8 times of 8, which contradicts flaky(0.1)\n";
        let text = said(&[Status::Fail; 8]);
        assert!(text.contains(line), "{text}");
        assert!(!said(&[Status::Fail]).contains("contradicts"));
    }

    #[test]
    fn a_guest_cannot_write_on_the_terminal_nor_beyond_its_width() {
        let mut run = two();
        for result in &mut run.results {
            result.reason = Some(format!("\x1b[2J\n\r{}", "ä ".repeat(400)));
            result.repeat = "short".into();
            result.expected = Some(fake::expectation(Expect::Flaky(0.5), Bug::Notblk));
        }
        run.run.configs[0].broken = Some(format!("\x1b{}", "ä".repeat(400)));
        let baseline = Baseline::Config("ext4".into());
        let text = summary(&run, Some(&baseline), Paint(false));
        assert!(!text.contains('\x1b'));
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
    }

    #[test]
    fn the_closing_line_counts_everything() {
        let mut run = two();
        assert_eq!(
            closing(&run),
            "3 passed, 4 bad, 1 not run, in 1 m 00 s (TCG)"
        );
        run.results.truncate(6);
        assert!(closing(&run).contains(", 2 not run yet, in"));
    }
}
