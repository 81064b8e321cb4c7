// SPDX-License-Identifier: GPL-2.0

//! The list of tests: one line each, with a cell for each configuration, in groups of which the gravest comes first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::details::{details, Limits};
use super::escape::text;
use crate::flaky::Contradiction;
use crate::outcome::{Outcome, Verdict};
use crate::text::{duration, one_line};
use crate::{Baseline, Class, Column, Comparison, Run};

/// What the page is about.
pub struct Page<'a> {
    /// The configurations, the baseline last.
    pub columns: Vec<PageColumn<'a>>,
    /// What is compared.
    pub comparisons: Vec<Comparison<'a>>,
    tests: BTreeSet<&'a str>,
    /// The longest time of a test, which the bars are measured by.
    slowest: f64,
    limits: Limits,
}

/// A column of the page.
pub struct PageColumn<'a> {
    /// Its name here.
    pub label: String,
    /// What came of each test.
    pub outcomes: BTreeMap<&'a str, Outcome<'a>>,
    /// Others are compared with it.
    pub baseline: bool,
    /// How many of its tests have no result yet.
    pub left: usize,
    /// Why it is not there as a whole.
    pub faults: Vec<String>,
    /// The way from the page to the directory of its run.
    pub base: String,
}

/// What a line may be filtered by beside status and class.
struct Flag {
    key: &'static str,
    title: &'static str,
    has: fn(&Outcome) -> bool,
}

const FLAGS: [Flag; 5] = [
    Flag {
        key: "unexpected",
        title: "unexpected failures",
        has: |o| o.is_unexpected_failure(),
    },
    Flag {
        key: "ours",
        title: "known bugs of notblk",
        has: |o| o.is_known_bug_of_ours(),
    },
    Flag {
        key: "surprise",
        title: "pass unexpectedly",
        has: |o| o.is_unexpected_pass(),
    },
    Flag {
        key: "flaky",
        title: "bad now and then",
        has: is_flaky,
    },
    Flag {
        key: "rate",
        title: "flaky rate contradicted",
        has: |o| Contradiction::of(o).is_some(),
    },
];

fn is_flaky(outcome: &Outcome) -> bool {
    let (bad, ran) = outcome.tally();
    bad > 0 && bad < ran
}

impl<'a> Page<'a> {
    /// Arranges a run and what it is compared with.
    pub fn new(run: &'a Run, baseline: Option<&'a Baseline>) -> Self {
        let comparisons = baseline.map_or(Vec::new(), |baseline| baseline.comparisons(run));
        let key = |column: &Column<'a>| (column.run.run.id.as_str(), column.config);
        let baselines: Vec<Column> = comparisons.iter().map(|c| c.there).collect();
        let is_baseline = |column: &Column<'a>| baselines.iter().any(|b| key(b) == key(column));
        let own = run.config_names().map(|config| Column { run, config });
        let mut columns: Vec<Column> = own.filter(|column| !is_baseline(column)).collect();
        for column in &baselines {
            if !columns.iter().any(|known| key(known) == key(column)) {
                columns.push(*column);
            }
        }
        let columns: Vec<PageColumn> = columns
            .into_iter()
            .map(|column| PageColumn {
                label: column.label(run),
                outcomes: column.outcomes(),
                baseline: is_baseline(&column),
                left: column.left(),
                faults: column.faults(),
                base: match column.run.run.id == run.run.id {
                    true => String::new(),
                    false => format!("../{}/", column.run.run.id),
                },
            })
            .collect();
        let outcomes = || columns.iter().flat_map(|column| column.outcomes.values());
        let bad = outcomes().filter(|o| o.verdict() == Verdict::Bad).count();
        Page {
            tests: columns
                .iter()
                .flat_map(|c| c.outcomes.keys().copied())
                .collect(),
            slowest: outcomes().map(Outcome::secs).fold(0.1, f64::max),
            limits: Limits::for_failures(bad),
            comparisons,
            columns,
        }
    }

    /// How many tests there are.
    pub fn tests(&self) -> usize {
        self.tests.len()
    }

    /// How many tests have each flag: key, name, count.
    pub fn flag_counts(&self) -> Vec<(&'static str, &'static str, usize)> {
        let count = |key| {
            let has = |test: &&&str| self.flags(test).contains(&key);
            self.tests.iter().filter(has).count()
        };
        let counted = |flag: &Flag| (flag.key, flag.title, count(flag.key));
        FLAGS.iter().map(counted).collect()
    }

    /// The flags of a test: those of the columns that are looked at, not of the baseline.
    fn flags(&self, test: &str) -> Vec<&'static str> {
        let looked_at = self.columns.iter().filter(|c| !c.baseline);
        let outcomes: Vec<&Outcome> = looked_at.filter_map(|c| c.outcomes.get(test)).collect();
        let has = |of: fn(&Outcome) -> bool| outcomes.iter().any(|o| of(o));
        FLAGS.iter().filter(|f| has(f.has)).map(|f| f.key).collect()
    }

    /// The groups with all lines: by class where something is compared, else by how the tests ended.
    pub fn render_groups(&self) -> String {
        let classes = self.classes();
        let mut groups: BTreeMap<usize, (&str, &str, Vec<&str>)> = BTreeMap::new();
        for &test in &self.tests {
            let gravest = classes
                .get(test)
                .and_then(|of| of.iter().map(|c| c.1).min());
            let (order, key, title) = match gravest {
                Some(class) => (class as usize, class.key(), class.title()),
                None => self.by_verdict(test),
            };
            let group = groups.entry(order).or_insert((key, title, Vec::new()));
            group.2.push(test);
        }
        let mut html = String::new();
        for (key, title, tests) in groups.values() {
            let _ = writeln!(
                html,
                "<section class=\"group\" id=\"group-{key}\" aria-label=\"{title}\"><h2>{title} <span class=\"n\">{}</span></h2>",
                tests.len()
            );
            for test in tests {
                let of = classes.get(test).map_or(&[][..], Vec::as_slice);
                self.row(&mut html, test, of);
            }
            html.push_str("</section>\n");
        }
        html
    }

    /// The classes of every test: the comparison's number, and what it says.
    fn classes(&self) -> BTreeMap<&'a str, Vec<(usize, Class)>> {
        let mut classes: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for (number, compared) in self.comparisons.iter().enumerate() {
            for row in &compared.rows {
                classes
                    .entry(row.test)
                    .or_default()
                    .push((number, row.class));
            }
        }
        classes
    }

    /// The group of a test that is compared with nothing.
    fn by_verdict(&self, test: &str) -> (usize, &'static str, &'static str) {
        let outcomes = self.columns.iter().filter_map(|c| c.outcomes.get(test));
        let verdicts: Vec<Verdict> = outcomes.map(Outcome::verdict).collect();
        if verdicts.contains(&Verdict::Bad) {
            (100, "bad", "bad")
        } else if verdicts.contains(&Verdict::Pass) {
            (102, "passes", "passes")
        } else {
            (101, "unrun", "not run")
        }
    }

    fn row(&self, html: &mut String, test: &str, classes: &[(usize, Class)]) {
        let list = |items: Vec<String>| items.join(" ");
        let of_columns = |f: &dyn Fn(Option<&Outcome>) -> String| {
            list(
                self.columns
                    .iter()
                    .map(|c| f(c.outcomes.get(test)))
                    .collect(),
            )
        };
        let statuses = of_columns(&|o| o.map_or("none".into(), |o| o.shown().status.to_string()));
        let times = of_columns(&|o| o.map_or("0".into(), |o| format!("{:.1}", o.secs())));
        let classes_list = list(
            classes
                .iter()
                .map(|(n, c)| format!("{n}:{}", c.key()))
                .collect(),
        );
        let flags = self.flags(test).join(" ");
        let name = text(test);
        let _ = write!(
            html,
            "<details class=\"row\" id=\"{name}\" data-status=\"{statuses}\" data-time=\"{times}\" \
             data-class=\"{classes_list}\" data-flag=\"{flags}\"><summary><span class=\"name\">{name}</span>"
        );
        for column in &self.columns {
            html.push_str(&self.cell(column, test));
        }
        let _ = write!(html, "{}</summary>", self.why(test));
        details(html, self, test, &self.limits);
        html.push_str("</details>\n");
    }

    fn cell(&self, column: &PageColumn, test: &str) -> String {
        let Some(outcome) = column.outcomes.get(test) else {
            return "<span class=\"cell s-none\"><b>-</b></span>".to_owned();
        };
        let status = outcome.shown().status;
        if status.is_unrun() {
            return format!("<span class=\"cell s-{status}\"><b>{status}</b></span>");
        }
        let tally = match outcome.tally() {
            (bad @ 1.., ran @ 2..) => format!("<small>{bad}/{ran}</small>"),
            _ => String::new(),
        };
        // By the square root, so that the quick ones differ from each other too.
        let width = (outcome.secs() / self.slowest).sqrt() * 100.0;
        format!(
            "<span class=\"cell s-{status}\"><b>{status}</b>{tally}<i style=\"--w:{width:.0}%\"></i><time>{}</time></span>",
            duration(outcome.secs())
        )
    }

    /// The reason to read first: that of a column looked at, else the baseline's; and what the exclusions say.
    fn why(&self, test: &str) -> String {
        let mut marks = String::new();
        for flag in self.flags(test) {
            let mark = match flag {
                "ours" => "known bug of notblk",
                "surprise" => "passes unexpectedly",
                "rate" => "flaky rate contradicted",
                _ => continue,
            };
            let _ = write!(marks, "<em class=\"m-{flag}\">{mark}</em>");
        }
        let outcome = |c: &'_ PageColumn<'a>| c.outcomes.get(test).cloned();
        let expected = self
            .columns
            .iter()
            .filter(|c| !c.baseline)
            .filter_map(outcome)
            .any(|o| {
                o.verdict() == Verdict::Bad
                    && !o.is_unexpected_failure()
                    && !o.is_known_bug_of_ours()
            });
        if expected {
            marks.push_str("<em class=\"m-expected\">expected</em>");
        }
        // A bad one of a configuration looked at first, then whatever else is said there, then the baseline's.
        let mut columns: Vec<&PageColumn> = self.columns.iter().collect();
        columns.sort_by_key(|c| {
            let verdict = c.outcomes.get(test).map(Outcome::verdict);
            (c.baseline, verdict != Some(Verdict::Bad))
        });
        let alone = self.columns.iter().filter(|c| !c.baseline).count() == 1;
        let reason = columns.iter().find_map(|column| {
            let reason = one_line(column.outcomes.get(test)?.reason());
            match (reason.is_empty(), alone && !column.baseline) {
                (true, _) => None,
                (false, true) => Some(reason),
                (false, false) => Some(format!("{}: {reason}", column.label)),
            }
        });
        let reason = text(&reason.unwrap_or_default());
        format!("<span class=\"why\">{marks}{reason}</span>")
    }
}
