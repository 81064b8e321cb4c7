// SPDX-License-Identifier: GPL-2.0

//! Shell patterns, for one component of a path: `*`, `?`, `[a-c]`, `[!a]`, and `\` before what is meant as it stands.

/// Whether a shell would expand it.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Whether all of `text` matches.
pub fn matches(pattern: &str, text: &str) -> bool {
    // A name that begins with a dot is matched by nothing but a dot.
    if text.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    rest_matches(&pattern, &text)
}

fn rest_matches(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|skip| rest_matches(rest, &text[skip..])),
        ['?', rest @ ..] => !text.is_empty() && rest_matches(rest, &text[1..]),
        ['[', after @ ..] => match (set(after), text) {
            (Some((set, rest)), [c, text @ ..]) => set.holds(*c) && rest_matches(rest, text),
            (Some(_), []) => false,
            // Without its end it is a character like others.
            (None, text) => text.first() == Some(&'[') && rest_matches(after, &text[1..]),
        },
        ['\\', c, rest @ ..] | [c, rest @ ..] => {
            text.first() == Some(c) && rest_matches(rest, &text[1..])
        }
    }
}

/// What stands in brackets.
struct Set<'a> {
    negated: bool,
    chars: &'a [char],
}

/// The set that begins here, behind its `[`, and what follows it.
fn set(after: &[char]) -> Option<(Set<'_>, &[char])> {
    let negated = matches!(after.first(), Some('!' | '^'));
    let from = usize::from(negated);
    // A `]` right at the beginning is a member.
    let end = after.iter().skip(from + 1).position(|&c| c == ']')? + from + 1;
    let set = Set {
        negated,
        chars: &after[from..end],
    };
    Some((set, &after[end + 1..]))
}

impl Set<'_> {
    fn holds(&self, c: char) -> bool {
        let mut chars = self.chars;
        let mut found = false;
        while let [first, rest @ ..] = chars {
            chars = rest;
            if let ['-', last, rest @ ..] = chars {
                found |= (*first..=*last).contains(&c);
                chars = rest;
            } else {
                found |= *first == c;
            }
        }
        found != self.negated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_a_shell_does() {
        for (pattern, text) in [
            ("*", "001"),
            ("00?", "001"),
            ("0[0-2]1", "021"),
            ("0[!0]1", "021"),
            ("*fs", "xfs"),
            ("[]a]", "]"),
            ("[a-]", "-"),
            ("[", "["),
            ("\\*", "*"),
            ("*0*", "1000"),
            ("", ""),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("00?", "00"),
            ("00?", "0011"),
            ("0[0-2]1", "031"),
            ("0[!0]1", "001"),
            ("[ab]", ""),
            ("*", ".hidden"),
            ("\\*", "x"),
            ("001", "0011"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
