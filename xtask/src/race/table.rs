// SPDX-License-Identifier: GPL-2.0

//! The race's figures as a table.

use notblk_protocol::RaceRow;

const HEAD: [&str; 14] = [
    "story",
    "driver",
    "kernel",
    "drain",
    "delay",
    "iterations",
    "fallbacks",
    "drains",
    "waited",
    "EIO",
    "corrupt",
    "log lines",
    "rate",
    "per s",
];
/// Columns of words; the others hold figures, which stand to the right.
const WORDS: usize = 4;

/// The table, with its head.
pub fn render(rows: &[RaceRow]) -> String {
    let mut lines = vec![HEAD.map(str::to_owned)];
    lines.extend(rows.iter().map(cells));
    notblk_columns::render(&lines, |column| column >= WORDS)
}

fn cells(row: &RaceRow) -> [String; HEAD.len()] {
    let counter = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
    let drain = match row.spec.drain {
        Some(true) => "on",
        Some(false) => "off",
        None => "-",
    };
    let per_second = match row.millis {
        0 => "-".to_owned(),
        millis => (row.iterations * 1000 / millis).to_string(),
    };
    [
        row.spec.story.to_string(),
        row.driver.to_string(),
        row.kernel.clone(),
        drain.to_owned(),
        format!("{} ms", row.spec.delay_ms),
        row.iterations.to_string(),
        counter(row.fallbacks),
        counter(row.drains),
        counter(row.drains_waited),
        row.eio.to_string(),
        row.corrupt.to_string(),
        row.log_lines.to_string(),
        format!("{:.1} %", row.rate()),
        per_second,
    ]
}

#[cfg(test)]
mod tests {
    use super::super::verdict::tests::row;
    use super::*;
    use notblk_protocol::Story;

    #[test]
    fn columns_stand_under_their_heads() {
        let text = render(&[
            row(Story::Seed, Some(false), 38),
            row(Story::Folio, None, 0),
        ]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        let end = lines[0].find(" EIO").unwrap() + 4;
        assert!(lines[1][..end].ends_with(" 38"), "{text}");
        assert!(lines[2][..end].ends_with(" 0"), "{text}");
        assert!(lines[1].contains("95.0 %"), "{text}");
    }
}
