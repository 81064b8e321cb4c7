// SPDX-License-Identifier: GPL-2.0

//! Columns of ASCII, no wider than a commit message.

use super::{sorted, Column, Event, EventKind};

/// What a line may have at most.
pub const WIDTH: usize = 72;
/// Between two columns.
const GAP: usize = 2;
/// A column is never narrower, though the drawing gets too wide; nobody draws so many actors.
const NARROWEST: usize = 12;
/// For each call that is not over.
const INDENT: usize = 2;
/// The column of events that are nobody's.
const OTHERS: &str = "kernel";

/// Draws the events, one below the other in the order of time, each in its actor's column; what is nobody's stands in a last
/// column, if there is any. Words that do not fit go on in the next line, further to the right.
#[must_use]
pub fn columns(columns: &[Column], events: &[Event]) -> String {
    let place = |event: &Event| {
        let actor = event.actor.as_deref();
        columns
            .iter()
            .position(|column| Some(column.actor.as_str()) == actor)
            .unwrap_or(columns.len())
    };
    let is_foreign = |event: &Event| place(event) == columns.len();
    let mut titles: Vec<&str> = columns.iter().map(|column| &*column.title).collect();
    if events.iter().any(is_foreign) {
        titles.push(OTHERS);
    }
    if titles.is_empty() {
        return String::new();
    }
    // Where everything stands: column, indentation, text.
    let mut depths = vec![0_usize; titles.len()];
    let mut cells: Vec<(usize, usize, String)> = Vec::new();
    for event in sorted(events) {
        let column = place(event);
        let Some(depth) = depths.get_mut(column) else {
            continue;
        };
        if event.kind == EventKind::End {
            *depth = depth.saturating_sub(1);
        }
        let what = match event.kind {
            EventKind::Begin if !event.what.is_empty() => format!("{}:", event.what),
            _ => event.what.clone(),
        };
        cells.push((column, *depth * INDENT, what));
        if event.kind == EventKind::Begin {
            *depth += 1;
        }
    }
    let widths = widths(&titles, &cells);
    let mut text = head(&titles, &widths);
    for (column, indent, what) in cells {
        let width = widths.get(column).copied().unwrap_or(NARROWEST);
        // Half of the column is left for words, however deep.
        let indent = indent.min(width / 2);
        let before: usize = widths.iter().take(column).map(|width| width + GAP).sum();
        for line in wrap(&what, width - indent) {
            let blank = " ".repeat(before + indent);
            text.push_str(&format!("{blank}{line}\n"));
        }
    }
    text
}

/// Room for the longest word of each column where there is, and the rest in equal parts; else all are equal.
fn widths(titles: &[&str], cells: &[(usize, usize, String)]) -> Vec<usize> {
    let gaps = titles.len().saturating_sub(1) * GAP;
    let room = WIDTH.saturating_sub(gaps);
    let longest = |text: &str| {
        let words = text.split_whitespace().map(|word| word.chars().count());
        words.max().unwrap_or(0)
    };
    let needs: Vec<usize> = (0..titles.len())
        .map(|column| {
            let its = cells.iter().filter(|cell| cell.0 == column);
            let need = its.map(|(_, indent, what)| indent + longest(what)).max();
            let title = titles.get(column).map_or(0, |title| longest(title));
            need.unwrap_or(0).max(title).max(NARROWEST)
        })
        .collect();
    let all: usize = needs.iter().sum();
    let left = room.checked_sub(all);
    needs
        .iter()
        .map(|need| match left {
            Some(left) => need + left / needs.len(),
            None => (room / needs.len()).max(NARROWEST),
        })
        .collect()
}

/// The titles, as many lines as the longest needs, and a rule below each.
fn head(titles: &[&str], widths: &[usize]) -> String {
    let wrapped: Vec<Vec<String>> = titles
        .iter()
        .zip(widths)
        .map(|(title, width)| wrap(title, *width))
        .collect();
    let height = wrapped.iter().map(Vec::len).max().unwrap_or(0);
    let mut text = String::new();
    let mut row = |cells: Vec<&str>| {
        let padded: Vec<String> = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        let line = padded.join(&" ".repeat(GAP));
        text.push_str(line.trim_end());
        text.push('\n');
    };
    for line in 0..height {
        let cells = wrapped
            .iter()
            .map(|lines| lines.get(line).map_or("", |s| s));
        row(cells.collect());
    }
    let rules: Vec<String> = wrapped
        .iter()
        .map(|lines| {
            let longest = lines.iter().map(|line| line.chars().count()).max();
            "-".repeat(longest.unwrap_or(0))
        })
        .collect();
    row(rules.iter().map(String::as_str).collect());
    text
}

/// Lines of at most `width`, broken between words, and inside of those that are longer. All but the first are indented.
/// Nothing but printable ASCII is left.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let clean: String = text
        .chars()
        .map(|c| match c {
            ' '..='~' => c,
            c if c.is_whitespace() => ' ',
            _ => '?',
        })
        .collect();
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    let hang = " ".repeat(INDENT.min(width.saturating_sub(1)));
    for word in clean.split(' ').filter(|word| !word.is_empty()) {
        let is_begun = !line.trim().is_empty();
        if is_begun && line.len() + 1 + word.len() > width {
            lines.push(std::mem::replace(&mut line, hang.clone()));
        } else if is_begun {
            line.push(' ');
        }
        let mut rest = word;
        while line.len() + rest.len() > width {
            let (fits, behind) = rest.split_at(width.saturating_sub(line.len()).max(1));
            line.push_str(fits);
            rest = behind;
            lines.push(std::mem::replace(&mut line, hang.clone()));
        }
        line.push_str(rest);
    }
    if !line.trim().is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(actor: &str, title: &str) -> Column {
        Column {
            actor: actor.into(),
            title: title.into(),
        }
    }

    /// Events in the order given, as `actor what`, with `+` in front of the actor where something begins and `-` where it ends.
    fn events(lines: &[&str]) -> Vec<Event> {
        let event = |(time, line): (u64, &&str)| {
            let (actor, what) = line.split_once(' ').unwrap_or((line, ""));
            let (kind, actor) = match actor.split_at(1) {
                ("+", actor) => (EventKind::Begin, actor),
                ("-", actor) => (EventKind::End, actor),
                _ => (EventKind::Instant, actor),
            };
            Event {
                time_ns: time,
                actor: (actor != "?").then(|| actor.to_owned()),
                task: "task-1".into(),
                what: what.into(),
                kind,
            }
        };
        (0..).zip(lines).map(event).collect()
    }

    #[test]
    fn the_seeds_story_comes_out_as_in_its_mail() {
        let events = events(&[
            "A inode_lock_shared()",
            "+A iomap_dio_rw()",
            "A kiocb_invalidate_pages -> clean",
            "A submit_bio (async)",
            "-A",
            "A inode_unlock_shared()",
            "A [bio pending in block layer]",
            "B inode_lock_shared()",
            "+B iomap_dio_rw()",
            "B iomap_begin -> -ENOTBLK",
            "-B",
            "B inode_unlock_shared()",
            "+B ext4_buffered_write_iter()",
            "B inode_lock(exclusive)",
            "B generic_perform_write() -> dirty pages [0, 8k]",
            "B inode_unlock(exclusive)",
            "-B",
            "A [bio completes]",
            "+A iomap_dio_complete()",
            "+A kiocb_invalidate_post_direct_write()",
            "A invalidate_inode_pages2_range() -> finds dirty page!",
            "A dio_warn_stale_pagecache() -> errseq_set(-EIO)",
            "-A",
            "-A",
            "B filemap_write_and_wait_range()",
        ]);
        let heads = [
            column("A", "kworker A (4k DIO, allocated block)"),
            column("B", "kworker B (8k DIO, fallback)"),
        ];
        let drawn = columns(&heads, &events);
        let expected = "\
kworker A (4k DIO, allocated block)      kworker B (8k DIO, fallback)
-----------------------------------      ----------------------------
inode_lock_shared()
iomap_dio_rw():
  kiocb_invalidate_pages -> clean
  submit_bio (async)
inode_unlock_shared()
[bio pending in block layer]
                                         inode_lock_shared()
                                         iomap_dio_rw():
                                           iomap_begin -> -ENOTBLK
                                         inode_unlock_shared()
                                         ext4_buffered_write_iter():
                                           inode_lock(exclusive)
                                           generic_perform_write() ->
                                             dirty pages [0, 8k]
                                           inode_unlock(exclusive)
[bio completes]
iomap_dio_complete():
  kiocb_invalidate_post_direct_write():
    invalidate_inode_pages2_range() ->
      finds dirty page!
    dio_warn_stale_pagecache() ->
      errseq_set(-EIO)
                                         filemap_write_and_wait_range()
";
        assert_eq!(drawn, expected, "\n{drawn}");
    }

    #[test]
    fn nothing_is_wider_than_a_commit_message() {
        let long = "a_function_with_a_name_of_more_than_seventy_two_characters_for_sure_yes()";
        let lines = ["A short", "C", &format!("+B {long} {long} ü\t{long}")];
        for actors in 1..=5 {
            let heads: Vec<Column> = ["A", "B", "C", "D", "E"][..actors]
                .iter()
                .map(|actor| column(actor, &format!("{actor}: {long}")))
                .collect();
            let drawn = columns(&heads, &events(&lines));
            assert!(drawn.is_ascii());
            for line in drawn.lines() {
                assert!(line.len() <= WIDTH, "{line}");
                assert_eq!(line.trim_end(), line);
            }
        }
        assert_eq!(columns(&[], &[]), "");
    }

    #[test]
    fn what_is_nobodys_has_its_own_column() {
        let drawn = columns(&[column("A", "A")], &events(&["A one", "? two", "Z three"]));
        let indent = " ".repeat(37);
        let gap = " ".repeat(36);
        assert_eq!(
            drawn,
            format!("A{gap}kernel\n-{gap}------\none\n{indent}two\n{indent}three\n")
        );
    }
}
