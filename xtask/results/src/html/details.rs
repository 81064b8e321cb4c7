// SPDX-License-Identifier: GPL-2.0

//! What opening a test's line shows: of each configuration the reason, the diff, the kernel's log, the files, the command.

use std::fmt::Write;

use notblk_protocol::splat;

use super::escape::{link, text, web};
use super::rows::{Page, PageColumn};
use crate::flaky::Contradiction;
use crate::outcome::{whose, Outcome};
use crate::text::{counted, duration, shorten};
use crate::{Expect, Status, TestResult};

/// A line of a log is shown up to here.
const LONGEST: usize = 400;

/// How much of each failure the page holds; the files have the rest.
pub struct Limits {
    lines: usize,
}

impl Limits {
    /// Less of each where there are very many, so that the page stays one that a browser likes.
    pub fn for_failures(number: usize) -> Self {
        let lines = 40_000 / number.max(1);
        Limits {
            lines: lines.clamp(40, 200),
        }
    }
}

/// Appends everything about a test.
pub fn details(html: &mut String, page: &Page, test: &str, limits: &Limits) {
    html.push_str("<div class=\"more\">");
    for column in &page.columns {
        let label = text(&column.label);
        match column.outcomes.get(test) {
            None => {
                let _ = write!(
                    html,
                    "<div class=\"side\"><h3>{label}: no result</h3></div>"
                );
            }
            Some(outcome) => side(html, column, outcome, limits),
        }
    }
    html.push_str("</div>");
}

/// One configuration.
fn side(html: &mut String, column: &PageColumn, outcome: &Outcome, limits: &Limits) {
    html.push_str("<div class=\"side\">");
    if let Some(found) = Contradiction::of(outcome) {
        let label = text(&column.label);
        let _ = write!(html, "<p>On {label} {}.</p>", found.in_words());
    }
    let many = outcome.rounds.len() > 1;
    for result in &outcome.rounds {
        let round = match many {
            true => format!(", round {}", result.round),
            false => String::new(),
        };
        let took = match result.status.is_unrun() {
            true => String::new(),
            false => format!(" in {}, boot {}", duration(result.secs), result.boot),
        };
        let status = result.status;
        let _ = write!(
            html,
            "<h3>{}{round}: <b class=\"s-{status}\">{status}</b>{took}</h3>",
            text(&column.label)
        );
        result_details(html, column, result, limits);
    }
    html.push_str("</div>");
}

fn result_details(html: &mut String, column: &PageColumn, result: &TestResult, limits: &Limits) {
    if let Some(reason) = &result.reason {
        let _ = write!(html, "<p class=\"reason\">{}</p>", text(reason));
    }
    if result.overruled {
        html.push_str("<p>The suite itself says that it passed; the runner found more.</p>");
    }
    if let Some(expected) = &result.expected {
        let what = match expected.expect {
            Expect::Skip => "Left out".to_owned(),
            Expect::Fail => "Expected to fail".to_owned(),
            Expect::Flaky(rate) => format!("Expected to fail {:.0} % of the time", rate * 100.0),
        };
        let _ = write!(
            html,
            "<p>{what}, {}: {} {}</p>",
            whose(expected.bug),
            text(&expected.reason),
            web(&expected.link)
        );
    }
    if !result.attempts.is_empty() {
        let attempts = result.attempts.iter();
        let attempts: Vec<_> = attempts
            .map(|s| format!("<b class=\"s-{s}\">{s}</b>"))
            .collect();
        let _ = write!(html, "<p>Attempts: {}</p>", attempts.join(" "));
    }
    if !result.output.trim().is_empty() && result.status != Status::Pass {
        let lines: Vec<&str> = result.output.trim_end().lines().collect();
        block(
            html,
            "what the suite printed",
            &diff(&lines, limits.lines),
            true,
        );
    }
    let splats = result.log.iter().any(|line| is_marked(line));
    if !result.log.is_empty() && (result.status.is_bad() || splats) {
        let lines: Vec<&str> = result.log.iter().map(String::as_str).collect();
        let title = format!("kernel log, {}", counted(lines.len(), "line"));
        block(
            html,
            &title,
            &log(&lines, limits.lines),
            splats || result.output.trim().is_empty(),
        );
    }
    if !result.files.is_empty() {
        let file = |path: &String| {
            let name = path.rsplit('/').next().unwrap_or(path);
            format!(
                "<li><a href=\"{}\">{}</a></li>",
                link(&column.base, path),
                text(name)
            )
        };
        let files: String = result.files.iter().map(file).collect();
        let _ = write!(html, "<ul class=\"files\">{files}</ul>");
    }
    if result.status.is_bad() && !result.repeat.is_empty() {
        let _ = write!(
            html,
            "<p class=\"repeat\"><code>{}</code><button type=\"button\" class=\"copy\">copy</button></p>",
            text(&result.repeat)
        );
    }
}

fn block(html: &mut String, title: &str, lines: &str, open: bool) {
    let open = if open { " open" } else { "" };
    let _ = write!(
        html,
        "<details{open}><summary>{title}</summary><pre tabindex=\"0\">{lines}</pre></details>"
    );
}

fn line(line: &str, class: &str) -> String {
    let shown = text(&shorten(line, LONGEST));
    match class {
        "" => format!("{shown}\n"),
        class => format!("<span class=\"{class}\">{shown}</span>\n"),
    }
}

fn left_out(lines: usize) -> String {
    match lines {
        0 => String::new(),
        lines => format!(
            "<span class=\"cut\">({} left out)</span>\n",
            counted(lines, "line")
        ),
    }
}

/// What the suite printed, the lines of its diff coloured. Of much, the beginning and the end.
fn diff(lines: &[&str], limit: usize) -> String {
    let (from, to) = match lines.len() > limit {
        true => (limit - limit / 4, lines.len() - limit / 4),
        false => (lines.len(), lines.len()),
    };
    let mut html = String::new();
    let mut in_diff = false;
    for (number, whole) in lines.iter().enumerate() {
        // The suite sets its diff in by four spaces.
        let bare = whole.strip_prefix("    ").unwrap_or(whole);
        in_diff |= bare.starts_with("--- ") || bare.starts_with("@@ ");
        let class = match bare.as_bytes().first() {
            _ if !in_diff => "",
            _ if bare.starts_with("--- ") || bare.starts_with("+++ ") => "file",
            Some(b'+') => "add",
            Some(b'-') => "del",
            Some(b'@') => "hunk",
            _ => "",
        };
        if number == from {
            html.push_str(&left_out(to - from));
        }
        if number < from || number >= to {
            html.push_str(&line(whole, class));
        }
    }
    html
}

fn is_marked(line: &str) -> bool {
    splat::is_splat(line) || line.contains(notblk_protocol::INVALIDATION_FAILURE)
}

/// The kernel's log, the first lines of its reports marked. Of much, what is around the first report, else the end.
fn log(lines: &[&str], limit: usize) -> String {
    let first = lines.iter().position(|line| is_marked(line));
    let last_start = lines.len().saturating_sub(limit);
    let from = match first {
        Some(first) => first.saturating_sub(limit / 20).min(last_start),
        None => last_start,
    };
    let to = (from + limit).min(lines.len());
    let mut html = left_out(from);
    for shown in &lines[from..to] {
        let class = if is_marked(shown) { "splat" } else { "" };
        html.push_str(&line(shown, class));
    }
    html + &left_out(lines.len() - to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_is_coloured_where_it_is_one() {
        let lines = [
            "- output mismatch",
            "    --- a",
            "    +++ b",
            "    @@ -1 +1 @@",
            "    -old",
            "    +new",
            "     same",
        ];
        let html = diff(&lines, 100);
        assert!(html.starts_with("- output mismatch\n"));
        let spans = ["file", "file", "hunk", "del", "add"];
        let found: Vec<_> = html.split("<span class=\"").skip(1).collect();
        let found: Vec<_> = found.iter().filter_map(|s| s.split('"').next()).collect();
        assert_eq!(found, spans);
    }

    #[test]
    fn much_is_cut_where_it_matters_least() {
        let numbers: Vec<String> = (0..1000).map(|n| format!("line {n}")).collect();
        let mut lines: Vec<&str> = numbers.iter().map(String::as_str).collect();
        let html = diff(&lines, 100);
        assert!(
            html.contains("line 74\n<span class=\"cut\">(900 lines left out)</span>\nline 975\n")
        );
        let html = log(&lines, 100);
        assert!(html.starts_with("<span class=\"cut\">(900 lines left out)</span>\nline 900\n"));
        lines[500] = "WARNING: here";
        let html = log(&lines, 100);
        assert!(html.contains("<span class=\"splat\">WARNING: here</span>"));
        assert!(html.starts_with("<span class=\"cut\">(495 lines left out)</span>\nline 495\n"));
        assert!(html.ends_with("line 594\n<span class=\"cut\">(405 lines left out)</span>\n"));
    }

    #[test]
    fn many_failures_get_fewer_lines_each() {
        assert_eq!(Limits::for_failures(0).lines, 200);
        assert_eq!(Limits::for_failures(400).lines, 100);
        assert_eq!(Limits::for_failures(100_000).lines, 40);
    }
}
