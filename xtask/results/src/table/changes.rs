// SPDX-License-Identifier: GPL-2.0

//! What changed from one run to another: `--diff A B`.

use std::fmt::Write;

use super::{wrap, Paint, WIDTH};
use crate::outcome::Verdict;
use crate::text::{duration, one_line, shorten};
use crate::{Column, Comparison, Outcome, Run};

/// A test became slow or fast where its time changed by more than this factor,
const FACTOR: f64 = 2.0;
/// and by more than this many seconds.
const SECONDS: f64 = 5.0;

/// What changed from run `a` to run `b`, configuration by configuration; and how many tests fail newly.
pub fn changes(a: &Run, b: &Run, paint: Paint) -> (String, usize) {
    let mut text = circumstances(a, b);
    let mut failing = 0;
    let pairs = pairs(a, b);
    if pairs.is_empty() {
        text.push_str("the runs have no configuration in common\n");
    }
    for (there, here) in pairs {
        let compared = Comparison::new(here, there);
        let (here, there) = (here.config, there.config);
        let name = match here == there {
            true => here.to_owned(),
            false => format!("{there} -> {here}"),
        };
        let (part, newly) = configuration(&compared, paint);
        let _ = write!(text, "\n{}\n{part}", paint.heading(&name));
        failing += newly;
    }
    (text, failing)
}

/// The configurations to compare: those of the same name, or the only ones of both.
fn pairs<'a>(a: &'a Run, b: &'a Run) -> Vec<(Column<'a>, Column<'a>)> {
    let (old, new): (Vec<_>, Vec<_>) = (a.config_names().collect(), b.config_names().collect());
    let pair = |old, new| {
        let (there, here) = (
            Column {
                run: a,
                config: old,
            },
            Column {
                run: b,
                config: new,
            },
        );
        (there, here)
    };
    if let ([old], [new]) = (&old[..], &new[..]) {
        return vec![pair(old, new)];
    }
    let common = new.iter().filter(|name| old.contains(name));
    common.map(|name| pair(name, name)).collect()
}

/// In what the runs themselves differ.
fn circumstances(a: &Run, b: &Run) -> String {
    let (old, new) = (&a.run, &b.run);
    let mut text = format!("from {}\nto   {}\n", old.id, new.id);
    let machine = |r: &crate::RunInfo| format!("{}, {} CPUs, {} MiB", r.accel, r.cpus, r.memory);
    let list = [
        ("kernel", old.kernel.clone(), new.kernel.clone()),
        ("commit", old.commit.clone(), new.commit.clone()),
        (
            "suite",
            old.suite.version.clone(),
            new.suite.version.clone(),
        ),
        ("machine", machine(old), machine(new)),
    ];
    for (what, old, new) in list {
        let (old, new) = (one_line(&old), one_line(&new));
        let line = match old == new {
            true => format!("{what:<8} {old}"),
            false => format!("{what:<8} {old} -> {new}"),
        };
        let _ = writeln!(text, "{}", shorten(&line, WIDTH));
    }
    text
}

/// The changes of one configuration, and how many tests fail newly.
fn configuration(compared: &Comparison, paint: Paint) -> (String, usize) {
    let mut lists: [(&str, Vec<String>); 6] = [
        ("fails now", Vec::new()),
        ("passes now", Vec::new()),
        ("not run any more", Vec::new()),
        ("runs now, and passes", Vec::new()),
        ("still bad, in another way", Vec::new()),
        ("takes another time", Vec::new()),
    ];
    let (mut only_old, mut only_new) = (Vec::new(), Vec::new());
    for row in &compared.rows {
        let (old, new) = match (&row.there, &row.here) {
            (Some(old), Some(new)) => (old, new),
            (Some(_), None) => {
                only_old.push(row.test);
                continue;
            }
            (None, Some(new)) => {
                // A failure is no less one for being new.
                match new.verdict() {
                    Verdict::Bad => lists[0].1.push(line(None, new, paint)),
                    _ => only_new.push(row.test),
                }
                continue;
            }
            (None, None) => continue,
        };
        let list = match (old.verdict(), new.verdict()) {
            (Verdict::Bad, Verdict::Bad) => (old.shown().status != new.shown().status).then_some(4),
            (_, Verdict::Bad) => Some(0),
            (Verdict::Bad, Verdict::Pass) => Some(1),
            (Verdict::Pass | Verdict::Bad, Verdict::Unrun) => Some(2),
            (Verdict::Unrun, Verdict::Pass) => Some(3),
            (Verdict::Pass, Verdict::Pass) => another_time(old.secs(), new.secs()).then_some(5),
            (Verdict::Unrun, Verdict::Unrun) => None,
        };
        match list {
            Some(5) => lists[5].1.push(format!(
                "  {:<13} {:>9} -> {:>9}\n",
                row.test,
                duration(old.secs()),
                duration(new.secs())
            )),
            Some(list) => lists[list].1.push(line(Some(old), new, paint)),
            None => {}
        }
    }
    let failing = lists[0].1.len();
    let mut text = String::new();
    for (title, lines) in lists.iter().filter(|(_, lines)| !lines.is_empty()) {
        let _ = write!(text, "{title} ({})\n{}", lines.len(), lines.concat());
    }
    for (title, tests) in [
        ("no result any more", only_old),
        ("no result before", only_new),
    ] {
        if !tests.is_empty() {
            let _ = write!(text, "{title} ({})\n{}", tests.len(), wrap(tests, 2));
        }
    }
    if text.is_empty() {
        text.push_str("nothing changed\n");
    }
    (text, failing)
}

fn another_time(old: f64, new: f64) -> bool {
    let (less, more) = (old.min(new), old.max(new));
    more > less * FACTOR && more - less > SECONDS
}

/// One test: how it ended before and now, why, and how to repeat it if it is bad.
fn line(old: Option<&Outcome>, new: &Outcome, paint: Paint) -> String {
    let shown = new.shown();
    let before = old.map_or("-", |old| old.shown().status.name());
    let now = paint.status(shown.status, &format!("{:<8}", shown.status));
    let reason = match (new.verdict(), old) {
        (Verdict::Pass, Some(old)) if !old.reason().is_empty() => {
            format!("was: {}", old.reason())
        }
        _ => new.reason().to_owned(),
    };
    let reason = shorten(&one_line(&reason), WIDTH - 38);
    let mut text = format!(
        "  {:<13} {before:<8} -> {now}  {reason}",
        one_line(&shown.test)
    );
    text.truncate(text.trim_end().len());
    text.push('\n');
    if new.verdict() == Verdict::Bad && !shown.repeat.is_empty() {
        let _ = writeln!(text, "                {}", one_line(&shown.repeat));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fake, Status};

    /// A run whose tests ended like this, in seconds.
    fn run(ends: &[(Status, f64)]) -> Run {
        let names: Vec<_> = (1..=ends.len())
            .map(|n| format!("generic/{n:03}"))
            .collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let mut run = Run {
            run: fake::run_info(&["notblk"], &names),
            results: Vec::new(),
        };
        for (test, &(status, secs)) in names.iter().zip(ends) {
            let mut result = fake::result("notblk", test, status);
            result.secs = secs;
            run.results.push(result);
        }
        run
    }

    #[test]
    fn each_change_is_in_its_list() {
        use Status::{Fail, Hang, Pass, Skip};
        let old = [
            (Pass, 1.0),
            (Fail, 1.0),
            (Pass, 1.0),
            (Skip, 0.1),
            (Fail, 1.0),
            (Pass, 4.0),
            (Pass, 1.0),
        ];
        let new = [
            (Fail, 1.0),
            (Pass, 1.0),
            (Skip, 0.1),
            (Pass, 1.0),
            (Hang, 99.0),
            (Pass, 9.5),
            (Pass, 3.0),
            (Fail, 1.0),
            (Pass, 1.0),
        ];
        let (text, failing) = changes(&run(&old), &run(&new), Paint(false));
        assert_eq!(failing, 2, "{text}");
        for wanted in [
            "fails now (2)\n  generic/001   pass     -> fail      fail because\n",
            "  generic/008   -        -> fail      fail because\n",
            "passes now (1)\n  generic/002   fail     -> pass      was: fail because\n",
            "not run any more (1)\n  generic/003   pass     -> skip      skip because\n",
            "runs now, and passes (1)\n  generic/004   skip     -> pass      was: skip because\n",
            "still bad, in another way (1)\n  generic/005   fail     -> hang      hang because\n",
            "takes another time (1)\n  generic/006       4.0 s ->     9.5 s\n",
            "no result before (1)\n  generic/009\n",
        ] {
            assert!(text.contains(wanted), "{wanted}\nis not in\n{text}");
        }
        assert!(
            !text.contains("generic/007"),
            "3 times is less than 5 s here"
        );
    }

    #[test]
    fn the_circumstances_are_named() {
        let a = run(&[(Status::Pass, 1.0)]);
        let mut b = a.clone();
        b.run.kernel = "7.4".into();
        let (text, failing) = changes(&a, &b, Paint(false));
        assert!(text.contains("kernel   7.3.4 -> 7.4\n"), "{text}");
        assert!(text.contains("nothing changed\n"), "{text}");
        assert_eq!(failing, 0);
    }

    #[test]
    fn configurations_are_paired_by_name_or_because_there_is_only_one() {
        let a = run(&[(Status::Pass, 1.0)]);
        let mut b = a.clone();
        b.run.configs[0].name = "ext4".into();
        b.results[0].config = "ext4".into();
        assert!(changes(&a, &b, Paint(false))
            .0
            .contains("\nnotblk -> ext4\n"));
        let mut c = a.clone();
        c.run.configs = fake::run_info(&["x", "y"], &[]).configs;
        assert!(changes(&a, &c, Paint(false))
            .0
            .contains("no configuration in common"));
    }
}
