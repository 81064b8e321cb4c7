// SPDX-License-Identifier: GPL-2.0

//! Text that came from a guest, made fit to be shown.

/// Control characters become their pictures, so that they neither command a terminal nor break XML; lines and tabs stay.
pub fn visible(text: &str) -> String {
    let picture = |c: char| match c {
        '\n' | '\t' => c,
        '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'),
        '\x7f' => '\u{2421}',
        // C1 controls command some terminals; the others turn the order of text around or are no characters.
        '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        c => c,
    };
    text.replace("\r\n", "\n").chars().map(picture).collect()
}

/// The same on one line.
pub fn one_line(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    visible(&words.join(" "))
}

/// At most `width` characters; what is cut off is marked.
pub fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.truncate(short.trim_end().len());
    short + "…"
}

/// A time in at most nine characters: `0.3 s`, `59.9 s`, `4 m 05 s`, `12 h 40 m`.
pub fn duration(secs: f64) -> String {
    // The sum of no times at all is minus zero.
    let secs = secs + 0.0;
    let whole = secs.round() as u64;
    match whole {
        _ if secs < 59.95 => format!("{secs:.1} s"),
        0..3600 => format!("{} m {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} m", whole / 3600, whole / 60 % 60),
    }
}

/// `1 test`, `2 tests`.
pub fn counted(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

/// The last `lines` lines; what is left out before them is said.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<_> = text.lines().collect();
    match all.len().checked_sub(lines) {
        None | Some(0) => text.to_owned(),
        Some(out) => format!(
            "({} left out)\n{}",
            counted(out, "line"),
            all[out..].join("\n")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_commands_a_terminal() {
        let shown = visible("a\x1b[31mb\x07\x08\u{9b}2J\u{202e}\r\nc\td\x7f");
        assert!(
            shown.starts_with("a\u{241b}[31mb\u{2407}\u{2408}"),
            "{shown}"
        );
        assert!(shown.ends_with("\nc\td\u{2421}"), "{shown}");
        let commands = |c: char| c.is_control() && c != '\n' && c != '\t';
        assert!(!shown.contains(commands));
        assert_eq!(one_line("  a\n\n b\tc "), "a b c");
    }

    #[test]
    fn long_text_is_cut_and_marked() {
        assert_eq!(shorten("sechs", 5), "sechs");
        assert_eq!(shorten("ab cdef", 4), "ab…");
        assert_eq!(shorten("ääääää", 3), "ää…");
        assert_eq!(tail("a\nb\nc", 2), "(1 line left out)\nb\nc");
        assert_eq!(tail("a\nb\n", 2), "a\nb\n");
    }

    #[test]
    fn times_are_short() {
        let cases = [
            (0.0, "0.0 s"),
            ([].iter().sum(), "0.0 s"),
            (59.94, "59.9 s"),
            (59.96, "1 m 00 s"),
            (245.2, "4 m 05 s"),
            (3599.9, "1 h 00 m"),
            (45600.0, "12 h 40 m"),
        ];
        for (secs, wanted) in cases {
            assert_eq!(duration(secs), wanted);
        }
    }
}
