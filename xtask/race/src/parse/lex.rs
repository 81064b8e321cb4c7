// SPDX-License-Identifier: GPL-2.0

//! A spec's text as tokens. Names, points, amounts and ranges are all words here.

use std::ops::Range;

/// A token and the bytes that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub kind: Kind,
    pub span: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Letters, digits and `_ . - = + / @`.
    Word,
    /// What is between two `"` of a line, which are part of the span.
    Text,
    Comma,
    Colon,
    Open,
    Close,
    /// A line's end, or the text's. Lines without anything else have none.
    Newline,
}

/// What cannot be a token.
pub struct Stray {
    pub span: Range<usize>,
    pub text: &'static str,
}

/// All tokens; the last one is a [`Kind::Newline`].
pub fn tokens(text: &str) -> Result<Vec<Token>, Stray> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((start, c)) = chars.next() {
        let mut end = start + c.len_utf8();
        let kind = match c {
            '\n' => Kind::Newline,
            ',' => Kind::Comma,
            ':' => Kind::Colon,
            '{' => Kind::Open,
            '}' => Kind::Close,
            '#' => {
                while chars.next_if(|(_, c)| *c != '\n').is_some() {}
                continue;
            }
            '"' => {
                let mut closed = false;
                while let Some((at, c)) = chars.next_if(|(_, c)| *c != '\n') {
                    end = at + c.len_utf8();
                    if c == '"' {
                        closed = true;
                        break;
                    }
                }
                if !closed {
                    return Err(Stray {
                        span: start..end,
                        text: "this text has no second `\"` in its line",
                    });
                }
                Kind::Text
            }
            c if is_of_word(c) => {
                while let Some((at, c)) = chars.next_if(|(_, c)| is_of_word(*c)) {
                    end = at + c.len_utf8();
                }
                Kind::Word
            }
            c if c.is_whitespace() => continue,
            _ => {
                return Err(Stray {
                    span: start..end,
                    text: "this character has no meaning here",
                })
            }
        };
        let begins_line = tokens
            .last()
            .is_none_or(|token| token.kind == Kind::Newline);
        if kind != Kind::Newline || !begins_line {
            tokens.push(Token {
                kind,
                span: start..end,
            });
        }
    }
    tokens.push(Token {
        kind: Kind::Newline,
        span: text.len()..text.len(),
    });
    Ok(tokens)
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_.-=+/@".contains(c)
}
