// SPDX-License-Identifier: GPL-2.0

//! `index.html`: one page that needs nothing but itself, and no script to be read.
//!
//! Each test is a `<details>`: its line has one cell a configuration, and opening it shows what is kept of it. The script
//! only filters, sorts and copies. All text is escaped where it enters the page, by `html/escape.rs`.

use std::fmt::Write;

use crate::text::{counted, duration};
use crate::{Baseline, Class, Comparison, Run, Status};

mod banner;
mod details;
mod escape;
mod rows;

use escape::{fill, text};
use rows::{Page, PageColumn};

const TEMPLATE: &str = include_str!("../html/page.html");
const STYLE: &str = include_str!("../html/page.css");
const SCRIPT: &str = include_str!("../html/page.js");

/// The page of a run, compared with its baseline if it has one.
pub fn page(run: &Run, baseline: Option<&Baseline>) -> String {
    let page = Page::new(run, baseline);
    let names: Vec<&str> = run.config_names().collect();
    let title = format!("xfstests: {}", names.join(", "));
    fill(
        TEMPLATE,
        &[
            ("title", &text(&title)),
            ("style", STYLE),
            ("script", SCRIPT),
            ("id", &text(&run.run.id)),
            ("state", &banner::state(run)),
            ("facts", &facts(run)),
            ("bars", &bars(&page)),
            ("comparisons", &comparisons(&page)),
            ("configurations", &configurations(run)),
            ("statuses", &statuses(&page)),
            ("columns", &column_options(&page)),
            ("flags", &flags(&page)),
            ("head", &head(&page)),
            ("count", &page.columns.len().to_string()),
            ("width", width(page.columns.len())),
            ("tests", &page.tests().to_string()),
            ("groups", &page.render_groups()),
        ],
    )
}

/// How the columns share the page's width.
fn width(columns: usize) -> &'static str {
    match columns {
        0..=3 => "few",
        4..=6 => "many",
        _ => "crowd",
    }
}

/// What was run, when, and on what.
fn facts(run: &Run) -> String {
    let info = &run.run;
    let began = match crate::clock::parse(&info.started) {
        Some(time) => time.format("%Y-%m-%d %H:%M UTC").to_string(),
        None => info.started.clone(),
    };
    let guests = match info.shards {
        1 => String::new(),
        shards => format!(", {shards} at a time"),
    };
    let machine = format!(
        "{}, {} CPUs, {} MiB{guests}",
        info.accel, info.cpus, info.memory
    );
    let command = format!("cargo xtask {}", info.command.join(" "));
    let facts = [
        ("kernel", info.kernel.clone(), true),
        ("commit", info.commit.clone(), true),
        ("suite", info.suite.version.clone(), true),
        ("guests", machine, false),
        ("began", began, false),
        ("took", duration(info.wall_secs), false),
        ("command", command, true),
    ];
    let fact = |(name, value, code): &(&str, String, bool)| {
        let value = text(value);
        match code {
            true => format!("<div><dt>{name}</dt><dd><code>{value}</code></dd></div>"),
            false => format!("<div><dt>{name}</dt><dd>{value}</dd></div>"),
        }
    };
    facts.iter().map(fact).collect()
}

/// One bar a column, of how its tests ended.
fn bars(page: &Page) -> String {
    let mut html = String::new();
    for (number, column) in page.columns.iter().enumerate() {
        let PageColumn {
            label, outcomes, ..
        } = column;
        let count = |status| {
            let shown = outcomes.values().map(|o| o.shown().status);
            shown.filter(|&s| s == status).count()
        };
        let counts = Status::ALL.map(|status| (status, count(status)));
        let (mut bar, mut legend) = (String::new(), String::new());
        for (status, count) in counts.into_iter().filter(|&(_, count)| count > 0) {
            let _ = write!(
                bar,
                "<i class=\"s-{status}\" style=\"flex-grow:{count}\"></i>"
            );
            let _ = write!(
                legend,
                "<a class=\"chip s-{status}\" href=\"#tests\" data-column=\"{number}\" data-status=\"{status}\">\
                 <b>{count}</b> {status}</a>"
            );
        }
        if column.left > 0 {
            let left = column.left;
            let _ = write!(bar, "<i class=\"left\" style=\"flex-grow:{left}\"></i>");
            let _ = write!(legend, "<span class=\"left\">{left} not run yet</span>");
        }
        let time: f64 = outcomes
            .values()
            .flat_map(|o| &o.rounds)
            .map(|r| r.secs)
            .sum();
        let baseline = match column.baseline {
            true => "<small>baseline</small>",
            false => "",
        };
        let faults = column.faults.iter();
        let faults: String = faults
            .map(|fault| format!("<p class=\"fault\">{}</p>", text(fault)))
            .collect();
        let _ = write!(
            html,
            "<div class=\"config\"><h2>{}{baseline}<small class=\"time\">{} in {}</small></h2>\
             <div class=\"bar\">{bar}</div>{faults}<p class=\"legend\">{legend}</p></div>",
            text(label),
            counted(outcomes.len(), "test"),
            duration(time),
        );
    }
    html
}

/// The classes of each comparison, with their counts: links to the groups below, and filters where there is a script.
fn comparisons(page: &Page) -> String {
    let mut html = String::new();
    for (number, compared) in page.comparisons.iter().enumerate() {
        let (here, there) = compared.labels();
        let chips: String = Class::ALL
            .iter()
            .filter(|&&class| compared.count(class) > 0)
            .map(|&class| chip(number, class, compared))
            .collect();
        let _ = write!(
            html,
            "<div class=\"compared\"><h2>{} <small>against</small> {}</h2><p class=\"classes\">{chips}</p></div>",
            text(&here),
            text(&there),
        );
    }
    html
}

fn chip(number: usize, class: Class, compared: &Comparison) -> String {
    let (key, count) = (class.key(), compared.count(class));
    format!(
        "<a class=\"chip c-{key}\" href=\"#group-{key}\" data-class=\"{number}:{key}\"><b>{count}</b> {}</a>",
        class.title()
    )
}

/// How each configuration was run, and what proved its driver.
fn configurations(run: &Run) -> String {
    let mut html = String::new();
    for config in &run.run.configs {
        let env: String = config
            .env
            .iter()
            .map(|(name, value)| format!("{}={}\n", text(name), text(value)))
            .collect();
        let proof: String = config
            .proof
            .iter()
            .map(|proof| format!("<li>{}</li>", text(proof)))
            .collect();
        let _ = write!(
            html,
            "<div><h3>{}</h3><p>FSTYP <code>{}</code>, served by <code>{}</code>, {} tests chosen</p>\
             <pre>{env}</pre><ul>{proof}</ul></div>",
            text(&config.name),
            text(&config.fstyp),
            text(&config.driver),
            config.tests.len(),
        );
    }
    html
}

/// Filters for the statuses that something has.
fn statuses(page: &Page) -> String {
    let outcomes = || page.columns.iter().flat_map(|c| c.outcomes.values());
    let chips = Status::ALL
        .iter()
        .filter(|&&status| outcomes().any(|o| o.shown().status == status));
    chips
        .map(|s| {
            format!(
                "<button type=\"button\" class=\"chip s-{s}\" aria-pressed=\"false\" data-toggle=\"{s}\">{s}</button>"
            )
        })
        .collect()
}

fn column_options(page: &Page) -> String {
    let columns = page.columns.iter().enumerate();
    columns
        .map(|(number, c)| format!("<option value=\"{number}\">{}</option>", text(&c.label)))
        .collect()
}

/// Filters for what the exclusions said; only those that something answers to.
fn flags(page: &Page) -> String {
    let counts = page.flag_counts();
    let chips = counts.iter().filter(|(_, _, count)| *count > 0);
    chips
        .map(|(key, title, count)| {
            format!(
                "<button type=\"button\" class=\"chip\" aria-pressed=\"false\" data-flag=\"{key}\">\
                 <b>{count}</b> {title}</button>"
            )
        })
        .collect()
}

/// The head of the list, whose names sort it.
fn head(page: &Page) -> String {
    let mut html =
        "<span><button type=\"button\" data-sort=\"name\">test</button></span>".to_owned();
    for (number, column) in page.columns.iter().enumerate() {
        let label = text(&column.label);
        let _ = write!(
            html,
            "<span class=\"both\"><button type=\"button\" data-sort=\"status\" data-of=\"{number}\" title=\"{label}\">{label}</button>\
             <button type=\"button\" data-sort=\"time\" data-of=\"{number}\">time</button></span>"
        );
    }
    html + "<span>why</span>"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fake, Bug, Expect, State};

    /// A run whose every text, wherever it may come from, tries to leave its place.
    fn evil() -> Run {
        let evil = "</script></pre></details><script>alert(1)</script><img src=x onerror=alert(1)>\"' onclick='x' {{groups}}";
        let mut run = fake::many(14);
        let json = serde_json::to_string(&run).unwrap();
        // Every string of the run but the names of the statuses and the times, which are not free.
        let mut value: serde_json::Value = serde_json::from_str(&json).unwrap();
        fn poison(value: &mut serde_json::Value, key: &str, evil: &str) {
            use serde_json::Value::{Array, Object, String};
            match value {
                String(text)
                    if !matches!(key, "status" | "state" | "attempts" | "expect" | "bug") =>
                {
                    text.push_str(evil);
                }
                Array(list) => list.iter_mut().for_each(|v| poison(v, key, evil)),
                Object(map) => map.iter_mut().for_each(|(k, v)| {
                    let key = k.clone();
                    poison(v, &key, evil);
                }),
                _ => {}
            }
        }
        for (number, result) in run.results.iter_mut().enumerate() {
            result.output = "--- a\n+++ b\n@@ 1 @@\n+".into();
            result.log = vec!["WARNING: ".into()];
            result.files = vec!["javascript:alert(1)//".into(), "a b?c#d".into()];
            result.attempts = vec![result.status; number % 3];
            result.expected = Some(fake::expectation(Expect::Fail, Bug::Notblk));
            result.expected.as_mut().unwrap().link =
                ["https://x/", "javascript:"][number % 2].into();
        }
        value["results"] = serde_json::to_value(&run.results).unwrap();
        poison(&mut value, "", evil);
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn no_text_of_a_guest_is_markup() {
        let clean = page(&fake::many(14), None);
        let baseline = Baseline::Run(Box::new(evil()), None);
        let html = page(&evil(), Some(&baseline));
        for tag in ["<script", "</script", "<img"] {
            assert_eq!(
                html.matches(tag).count(),
                clean.matches(tag).count(),
                "{tag}"
            );
        }
        assert!(html.contains("&lt;script&gt;alert(1)"));
        assert!(!html.contains("href=\"javascript:"));
        assert!(html.contains("{{groups}}"), "text is not filled again");
        // Whatever is between quotes ends where we end it.
        assert!(!html.contains("' onclick='x'"));
    }

    #[test]
    fn the_page_needs_nothing_but_itself() {
        let html = page(&fake::many(14), None);
        for outside in ["src=\"http", "url(", "@import", "<link", "fetch(", "//cdn"] {
            assert!(!html.contains(outside), "{outside}");
        }
        assert!(
            !html.contains("{{"),
            "every place of the template is filled"
        );
    }

    #[test]
    fn every_test_has_one_line_with_a_cell_for_each_column() {
        let run = fake::many(14);
        let mut other = fake::many(9);
        other.run.id = "2026-11-21-000000-notblk".into();
        let baseline = Baseline::Run(Box::new(other), None);
        let html = page(&run, Some(&baseline));
        assert_eq!(html.matches("<details class=\"row\"").count(), 14);
        assert_eq!(html.matches("<span class=\"cell").count(), 28);
        assert_eq!(html.matches("class=\"cell s-none\"").count(), 5);
        assert!(html.contains("notblk of 2026-11-21-000000-notblk"));
        assert!(html.contains("<b>2</b> no result there"), "{html}");
    }

    #[test]
    fn a_configuration_that_could_not_be_run_has_a_banner_and_a_word_in_its_column() {
        let mut run = fake::many(3);
        run.run.state = State::Interrupted;
        run.run.configs[0].broken = Some("mount: <refused>".into());
        let html = page(&run, None);
        let why = "could not be run: mount: &lt;refused&gt;</p>";
        assert!(
            html.contains(&format!("<p class=\"banner bad\">notblk: {why}")),
            "{html}"
        );
        assert!(html.contains(&format!("<p class=\"fault\">{why}")));
        assert!(!html.contains("0 results missing"));
        run.results.pop();
        assert!(page(&run, None).contains("goes on: 1 result missing"));
        // A baseline from elsewhere is not what this run is about, but its column says it too.
        let baseline = Baseline::Run(Box::new(run), None);
        let html = page(&fake::many(3), Some(&baseline));
        assert!(!html.contains("banner bad") && html.contains("class=\"fault\""));
    }

    #[test]
    fn a_run_that_is_not_complete_says_so() {
        let mut run = fake::many(3);
        run.run.state = State::Complete;
        assert!(!page(&run, None).contains("class=\"banner\""));
        run.results.pop();
        run.run.state = State::Interrupted;
        let html = page(&run, None);
        assert!(html.contains("--resume 2026-11-22-231502-notblk</code> goes on: 1 result missing"));
    }
}
