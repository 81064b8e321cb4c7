// SPDX-License-Identifier: GPL-2.0

//! How it reads: lines while it goes on, and the whole as text or Markdown.

use std::fmt::Write;

use crate::point::{short, Axis};
use crate::report::{Ending, Found, Judged, Part, Report, Search, Verdict};

/// What the measured bad end means for the steps.
#[must_use]
pub fn plan(report: &Report) -> String {
    let estimate = &report.estimate;
    let mut commits = Vec::new();
    for (axis, count) in &estimate.commits {
        commits.push(format!("{count} commits of the {axis}"));
    }
    format!(
        "{}: {} steps and the re-test, each of {} runs if it does not show before (a bad commit shows it in {:.2} % of its \
         runs at least; {:.2} % error in all)",
        commits.join(", "),
        estimate.steps,
        estimate.runs,
        estimate.floor * 100.0,
        report.allowed * 100.0,
    )
}

/// How long it will take.
#[must_use]
pub fn time(report: &Report) -> String {
    format!(
        "from here on at most {}, if builds and boots take as long as the last ones",
        duration(report.estimate.seconds)
    )
}

/// Seconds for people.
#[must_use]
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

fn verdict(judged: &Judged) -> &'static str {
    match (&judged.verdict, judged.part) {
        (Verdict::Good, Part::BadEnd | Part::Culprit) => "does not show it",
        (Verdict::Good, _) => "good",
        (Verdict::Bad, _) => "bad",
        (Verdict::CannotTell(_), _) => "cannot tell",
    }
}

fn part(part: Part) -> &'static str {
    match part {
        Part::BadEnd => "bad end",
        Part::GoodEnd => "good end",
        Part::Corner => "one axis",
        Part::Step => "step",
        Part::Culprit => "culprit again",
        Part::Parent => "parent again",
    }
}

/// What a verdict rests on.
fn reason(judged: &Judged) -> String {
    let mut text = match &judged.verdict {
        Verdict::CannotTell(why) => why.clone(),
        _ => format!("{} of {} runs", judged.rate.hits, judged.rate.trials),
    };
    if judged.same_build {
        text += match judged.same_source {
            true => ", known of these sources",
            false => ", of an identical build",
        };
    }
    if let Some((first, others)) = judged.also.split_first() {
        let _ = write!(text, "; beside it: {first}");
        if !others.is_empty() {
            let _ = write!(text, ", and {} more", others.len());
        }
    }
    text
}

/// One judgement.
#[must_use]
pub fn judged(judged: &Judged) -> String {
    let what = match judged.point.to_string() {
        point if point.is_empty() => "this commit".to_owned(),
        point => format!("{} {point}", part(judged.part)),
    };
    format!(
        "{what}: {} ({}) in {}",
        verdict(judged),
        reason(judged),
        duration(judged.seconds)
    )
}

/// The result in a line or two.
#[must_use]
pub fn verdict_lines(report: &Report) -> Vec<String> {
    match &report.ending {
        Ending::NeverShown => {
            let rate = report.bad_rate;
            vec![format!("the bad end never shows it: {rate}")]
        }
        Ending::GoodShows => vec!["the good end shows it too".to_owned()],
        Ending::EndUnfit(which, why) => {
            vec![format!("the {} cannot be judged: {why}", part(*which))]
        }
        Ending::Searched => {
            let mut lines: Vec<String> = report.axes.iter().cloned().collect();
            lines.extend(report.searches.iter().map(search));
            let (verdicts, after) = report.error;
            let mut line = format!(
                "a verdict on the way is wrong with a probability of {} at most",
                percent(verdicts)
            );
            if after < verdicts {
                let _ = write!(line, ", and passed the re-test with {}", percent(after));
            }
            let _ = write!(line, " (allowed: {})", percent(report.allowed));
            lines.push(line);
            lines
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.3} %", share * 100.0)
}

fn search(search: &Search) -> String {
    let axis = search.axis;
    let subject = |at: usize| search.subjects.get(at).map_or("", String::as_str);
    match &search.found {
        Found::Culprit(commit) => {
            format!("first bad commit of the {axis}: {commit} {}", subject(0))
        }
        Found::Doubtful(commit, why) => format!(
            "perhaps the first bad commit of the {axis}: {commit} {}; but {why}",
            subject(0)
        ),
        Found::OneOf(commits) => {
            let mut text = format!(
                "the first bad commit of the {axis} is one of these {}, of which only one can be judged:",
                commits.len()
            );
            for (at, commit) in commits.iter().enumerate() {
                let _ = write!(text, "\n  {} {}", short(commit), subject(at));
            }
            text
        }
    }
}

/// What it took.
#[must_use]
pub fn work(report: &Report) -> String {
    let work = &report.work;
    format!(
        "{} builds in {}, {} boots with {} runs in {}",
        work.builds,
        duration(work.build_seconds),
        work.boots,
        work.runs,
        duration(work.guest_seconds)
    )
}

const HEAD: [&str; 6] = [
    "what",
    "commit",
    "verdict",
    "runs that show it",
    "time",
    "subject",
];

fn cells(report: &Report, judged: &Judged) -> [String; HEAD.len()] {
    let two = report.estimate.commits.len() > 1;
    let commit = match (two, judged.point.on(only(report))) {
        (false, Some(commit)) => short(commit).to_owned(),
        _ => judged.point.to_string(),
    };
    [
        part(judged.part).to_owned(),
        commit,
        verdict(judged).to_owned(),
        reason(judged),
        duration(judged.seconds),
        judged.subject.clone(),
    ]
}

/// The axis, where there is one only.
fn only(report: &Report) -> Axis {
    let first = report.estimate.commits.first();
    first.map_or(Axis::Kernel, |&(axis, _)| axis)
}

/// Everything, in columns.
#[must_use]
pub fn table(report: &Report) -> String {
    let mut lines = vec![HEAD.map(str::to_owned)];
    lines.extend(report.judged.iter().map(|judged| cells(report, judged)));
    let mut text = notblk_columns::render(&lines, |_| false);
    text.push('\n');
    for line in verdict_lines(report) {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text, "{}", work(report));
    text
}

/// Everything, as Markdown.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let mut text = String::from("# Bisection\n\n");
    for line in verdict_lines(report) {
        let _ = writeln!(text, "{}\n", escape(&line));
    }
    let _ = writeln!(text, "## What was asked\n");
    for line in &report.title {
        let _ = writeln!(text, "- {}", escape(line));
    }
    let _ = writeln!(text, "\n## Beforehand\n");
    let _ = writeln!(text, "The bad end showed it in {}.\n", report.bad_rate);
    if report.estimate.runs > 0 {
        let _ = writeln!(text, "{}.\n", escape(&plan(report)));
    }
    let _ = writeln!(text, "## Judged\n");
    let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    text += &row(&HEAD.map(str::to_owned));
    text += &row(&HEAD.map(|_| "---".to_owned()));
    for judged in &report.judged {
        text += &row(&cells(report, judged).map(|cell| escape(&cell)));
    }
    let _ = writeln!(text, "\n{}.\n", work(report));
    text += ASSUMED;
    text
}

/// What the bound of the error rests on.
const ASSUMED: &str = "\
## What the error bound says

A commit is bad as soon as one run shows the signature, and good after so many runs without it that a bad one would hardly have \
kept quiet. The bound adds up, over all commits that were called good, the probability that a bad commit does so, and a quarter \
of the allowed error for the measured rate. It holds if the signature itself is never wrong, if a bad commit shows it at least as \
often as the bad end does, and if the runs do not depend on each other.
";

/// Plain text within a cell of a table.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '|' | '*' | '_' | '<' | '`' | '\\' => escaped.extend(['\\', c]),
            '\n' => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// The steps of a search, as `git bisect replay` takes them.
#[must_use]
pub fn git_log(search: &Search, good: &str) -> String {
    let bad = search.from.on(search.axis).unwrap_or_default();
    let mut text = format!("git bisect start '{bad}' '{good}'\n");
    for (commit, verdict) in &search.log {
        let word = match verdict {
            Verdict::Good => "good",
            Verdict::Bad => "bad",
            Verdict::CannotTell(_) => "skip",
        };
        let _ = writeln!(text, "git bisect {word} {commit}");
    }
    text
}
