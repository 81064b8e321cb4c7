// SPDX-License-Identifier: GPL-2.0

//! From a spec's text to its tree. The grammar is in `tests/race/README.md`; each function here is one rule of it.
//!
//! What a tree cannot be is refused here, where there is a line to point at: whoever has a [`Spec`] from here need not ask
//! whether its names refer to anything.

mod check;
mod error;
mod lex;
mod step;
mod words;

use std::ops::Range;

pub use error::Error;
use lex::{Kind, Token};

use crate::point::Point;
use crate::schedule::is_name;
use crate::spec::{Actor, Expect, File, Op, Segment, SegmentKind, Spec, SECTOR};

/// No file, place or length is larger, in bytes: each of many orders makes and reads all of it.
pub const MAX_BYTES: u64 = 64 << 20;
/// No more actors than a stamp can tell apart with ease, and orders can be counted of.
pub const MAX_ACTORS: usize = 16;
/// Steps of an actor.
pub const MAX_STEPS: usize = 64;
/// Files of a spec.
pub const MAX_FILES: usize = 16;

/// What begins a line.
const STATEMENTS: [&str; 8] = [
    "race",
    "block_size",
    "options",
    "fails",
    "file",
    "actor",
    "check",
    "preemptions",
];
/// What begins a line of an actor.
const ACTS: [&str; 6] = ["hold", "read", "write", "fsync", "truncate", "punch"];
/// What is a source of data, and hence no actor's name.
const RESERVED: [&str; 3] = ["initial", "zero", "end"];

/// Parses a whole spec.
///
/// # Errors
///
/// The first thing that is wrong with it.
pub fn parse(text: &str) -> Result<Spec, Error> {
    let tokens = lex::tokens(text)
        .map_err(|stray| Error::new(text, stray.span, stray.text.to_owned(), None))?;
    Parser {
        text,
        tokens,
        next: 0,
    }
    .spec()
}

/// A word and where it stands.
#[derive(Debug, Clone)]
struct Word<'t> {
    text: &'t str,
    span: Range<usize>,
}

impl<'t> Word<'t> {
    /// A part of it, by bytes.
    fn part(&self, range: Range<usize>) -> Word<'t> {
        let text = self.text.get(range.clone()).unwrap_or("");
        let start = self.span.start + range.start;
        Word {
            text,
            span: start..start + text.len(),
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    next: usize,
}

/// The statements that may come once, as far as they have come.
#[derive(Default)]
struct Once {
    block_size: bool,
    options: bool,
    fails: bool,
    preemptions: bool,
}

impl<'t> Parser<'t> {
    fn spec(mut self) -> Result<Spec, Error> {
        let mut spec = self.head()?;
        let mut once = Once::default();
        while let Some(statement) = self.peek_word() {
            self.next += 1;
            match statement.text {
                "race" => {
                    return Err(self.error(&statement.span, "a spec has one `race` line", None))
                }
                "block_size" => {
                    self.only_once(&statement, &mut once.block_size)?;
                    if !spec.files.is_empty() {
                        let text = "`block_size` comes before the files, whose blocks it measures";
                        return Err(self.error(&statement.span, text, None));
                    }
                    spec.block_size = self.block_size()?;
                }
                "options" => {
                    self.only_once(&statement, &mut once.options)?;
                    spec.options = self.mount_options()?;
                }
                "fails" => {
                    self.only_once(&statement, &mut once.fails)?;
                    self.keyword("with")?;
                    spec.fails_with = self.mount_options()?;
                }
                "file" => {
                    let file = self.file(&spec, &statement)?;
                    spec.files.push(file);
                }
                "actor" => {
                    let actor = self.actor(&spec, &statement)?;
                    spec.actors.push(actor);
                }
                "check" => {
                    let check = self.check(&spec)?;
                    spec.checks.push(check);
                }
                "preemptions" => {
                    self.only_once(&statement, &mut once.preemptions)?;
                    let word = self.word("a number")?;
                    let number = word.text.parse();
                    spec.preemptions = Some(
                        number.map_err(|_| self.error(&word.span, "this is no number", None))?,
                    );
                }
                other => {
                    let text = format!("no statement begins with `{other}`");
                    return Err(self.error(&statement.span, &text, words::hint(other, STATEMENTS)));
                }
            }
            self.end_of_line()?;
        }
        if let Some(token) = self.tokens.get(self.next) {
            if token.kind != Kind::Newline {
                let span = token.span.clone();
                return Err(self.error(&span, "a statement begins with a word", None));
            }
        }
        let end = self.text.len()..self.text.len();
        if spec.actors.is_empty() {
            return Err(self.error(&end, "the spec has no actor", None));
        }
        if spec.checks.is_empty() {
            return Err(self.error(
                &end,
                "the spec has no check, so that no order could fail",
                None,
            ));
        }
        Ok(spec)
    }

    /// The comment at the top, and the line `race NAME "TITLE"`.
    fn head(&mut self) -> Result<Spec, Error> {
        let doc = doc(self.text);
        let race = self.word("`race NAME \"TITLE\"`")?;
        if race.text != "race" {
            return Err(self.error(&race.span, "a spec begins with `race NAME \"TITLE\"`", None));
        }
        let name = self.name("the race")?;
        let title = self.take(Kind::Text, "the title in `\"`")?;
        let title = self.at(&title).trim_matches('"').trim().to_owned();
        self.end_of_line()?;
        Ok(Spec {
            name: name.text.to_owned(),
            title,
            doc,
            block_size: 4096,
            options: Vec::new(),
            fails_with: Vec::new(),
            files: Vec::new(),
            actors: Vec::new(),
            checks: Vec::new(),
            preemptions: None,
        })
    }

    fn block_size(&mut self) -> Result<u32, Error> {
        let word = self.word("1k, 2k or 4k")?;
        match word.text {
            "1k" | "1024" => Ok(1024),
            "2k" | "2048" => Ok(2048),
            "4k" | "4096" => Ok(4096),
            _ => Err(self.error(&word.span, "a block has 1k, 2k or 4k", None)),
        }
    }

    fn mount_options(&mut self) -> Result<Vec<String>, Error> {
        self.list(|parser| Ok(parser.word("a mount option")?.text.to_owned()))
    }

    /// `file NAME: empty`, `file NAME: hole 1b, written 2b`
    fn file(&mut self, spec: &Spec, statement: &Word<'t>) -> Result<File, Error> {
        if spec.files.len() >= MAX_FILES {
            let text = format!("a spec has at most {MAX_FILES} files");
            return Err(self.error(&statement.span, &text, None));
        }
        let name = self.name("the file")?;
        if spec.file(name.text).is_some() {
            let text = format!("there is a file `{}` already", name.text);
            return Err(self.error(&name.span, &text, None));
        }
        self.take(Kind::Colon, "`:`")?;
        let mut file = File {
            name: name.text.to_owned(),
            layout: Vec::new(),
        };
        if self.peek_word().is_some_and(|word| word.text == "empty") {
            self.next += 1;
            return Ok(file);
        }
        let mut ragged: Option<Range<usize>> = None;
        let segments = self.list(|parser| {
            let kind = parser.word("`hole`, `written` or `empty`")?;
            let kind = match kind.text {
                "hole" => SegmentKind::Hole,
                "written" => SegmentKind::Written,
                other => {
                    let text = "a file consists of `hole` and `written` pieces, or is `empty`";
                    let hint = words::nearest(other, ["hole", "written", "empty"])
                        .map(|near| format!("did you mean `{near}`?"));
                    return Err(parser.error(&kind.span, text, hint));
                }
            };
            let word = parser.word("a length")?;
            let len = parser.sectors(spec, &word)?;
            if len == 0 {
                return Err(parser.error(&word.span, "a piece of no bytes", None));
            }
            if let Some(span) = &ragged {
                let text = "only the last piece of a file may end inside a block";
                return Err(parser.error(span, text, None));
            }
            if len % u64::from(spec.block_size) != 0 {
                ragged = Some(word.span);
            }
            Ok(Segment { kind, len })
        })?;
        file.layout = segments;
        if file.size() > MAX_BYTES {
            let text = format!("a file of a race has at most {} MiB", MAX_BYTES >> 20);
            return Err(self.error(&name.span, &text, None));
        }
        Ok(file)
    }

    /// `actor NAME { ... }`, each hold and step in a line of its own.
    fn actor(&mut self, spec: &Spec, statement: &Word<'t>) -> Result<Actor, Error> {
        if spec.actors.len() >= MAX_ACTORS {
            let text = format!("a spec has at most {MAX_ACTORS} actors");
            return Err(self.error(&statement.span, &text, None));
        }
        let name = self.name("the actor")?;
        if RESERVED.contains(&name.text) {
            let text = format!(
                "`{}` means something else in checks and schedules",
                name.text
            );
            return Err(self.error(&name.span, &text, None));
        }
        if spec.actor(name.text).is_some() {
            let text = format!("there is an actor `{}` already", name.text);
            return Err(self.error(&name.span, &text, None));
        }
        let open = self.take(Kind::Open, "`{`")?;
        self.end_of_line()?;
        let mut actor = Actor {
            name: name.text.to_owned(),
            holds: Vec::new(),
            steps: Vec::new(),
        };
        let mut spans = Vec::new();
        while let Some(act) = self.peek_word() {
            self.next += 1;
            if act.text == "hold" {
                let holds = self.list(Self::point)?;
                for (point, span) in holds {
                    if actor.holds.contains(&point) {
                        let text = format!("{} is held at {point} already", actor.name);
                        return Err(self.error(&span, &text, None));
                    }
                    actor.holds.push(point);
                    spans.push(span);
                }
            } else {
                if actor.steps.len() >= MAX_STEPS {
                    let text = format!("an actor has at most {MAX_STEPS} steps");
                    return Err(self.error(&act.span, &text, None));
                }
                let step = self.step(spec, &act)?;
                actor.steps.push(step);
            }
            self.end_of_line()?;
        }
        if self.peek_kind() != Some(Kind::Close) && self.next + 1 >= self.tokens.len() {
            return Err(self.error(&open, "this `{` has no `}`", None));
        }
        self.take(Kind::Close, "`}`")?;
        if actor.steps.is_empty() {
            let text = format!("{} does nothing", actor.name);
            return Err(self.error(&name.span, &text, None));
        }
        for (point, span) in actor.holds.iter().zip(spans) {
            if !actor.steps.iter().any(|step| point.passed_by(step)) {
                let text = format!("no step of {} comes by {point}", actor.name);
                let hint = format!("only {} do", point.passers());
                return Err(self.error(&span, &text, Some(hint)));
            }
        }
        Ok(actor)
    }

    fn point(&mut self) -> Result<(Point, Range<usize>), Error> {
        let word = self.word("a hold point")?;
        match word.text.parse() {
            Ok(point) => Ok((point, word.span)),
            Err(unknown) => {
                let hint = words::hint(word.text, Point::ALL.map(Point::name));
                Err(self.error(&word.span, &unknown.to_string(), hint))
            }
        }
    }

    /// The file of that name.
    fn known_file(&mut self, spec: &Spec) -> Result<String, Error> {
        let word = self.word("a file")?;
        if spec.file(word.text).is_some() {
            return Ok(word.text.to_owned());
        }
        let text = format!("there is no file `{}`", word.text);
        let names = spec.files.iter().map(|file| file.name.as_str());
        Err(self.error(&word.span, &text, words::hint(word.text, names)))
    }

    /// `1b`, `3s`, `4k`, `512`: bytes.
    fn amount(&self, spec: &Spec, word: &Word<'_>) -> Result<u64, Error> {
        let digits = word
            .text
            .trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match word.text.get(digits.len()..) {
            Some("") => Some(1),
            Some("b") => Some(u64::from(spec.block_size)),
            Some("s") => Some(SECTOR),
            Some("k") => Some(1024),
            _ => None,
        };
        let number = digits
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| digits.parse::<u64>().ok())
            .flatten();
        let (Some(unit), Some(number)) = (unit, number) else {
            let text = "this is no number of bytes";
            let hint = "a number, with b for blocks, s for sectors, k for KiB";
            return Err(self.error(&word.span, text, Some(hint.into())));
        };
        match number.checked_mul(unit) {
            Some(bytes) if bytes <= MAX_BYTES => Ok(bytes),
            _ => {
                let text = format!("more than {} MiB", MAX_BYTES >> 20);
                Err(self.error(&word.span, &text, None))
            }
        }
    }

    /// As [`Self::amount`], in whole sectors, which are what can be told apart.
    fn sectors(&self, spec: &Spec, word: &Word<'_>) -> Result<u64, Error> {
        let bytes = self.amount(spec, word)?;
        if bytes % SECTOR == 0 {
            return Ok(bytes);
        }
        Err(self.error(&word.span, "not a multiple of 512 bytes", None))
    }

    /// `0..2b`, which is not empty and consists of whole sectors.
    fn range(&mut self, spec: &Spec) -> Result<Range<u64>, Error> {
        let word = self.word("a range")?;
        let Some(dots) = word.text.find("..") else {
            let hint = "FIRST..END, as 0..2b; the end is not part of it";
            return Err(self.error(&word.span, "this is no range", Some(hint.into())));
        };
        let start = self.sectors(spec, &word.part(0..dots))?;
        let end = self.sectors(spec, &word.part(dots + 2..word.text.len()))?;
        if start >= end {
            return Err(self.error(&word.span, "a range without a byte in it", None));
        }
        Ok(start..end)
    }

    /// The next word, as a name.
    fn name(&mut self, what: &str) -> Result<Word<'t>, Error> {
        let word = self.word(&format!("the name of {what}"))?;
        if is_name(word.text) {
            return Ok(word);
        }
        let hint = "a letter, then letters, digits, `_` and `-`";
        Err(self.error(&word.span, "this is no name", Some(hint.into())))
    }

    /// One or more, with commas between them.
    fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut items = vec![item(self)?];
        while self.peek_kind() == Some(Kind::Comma) {
            self.next += 1;
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn only_once(&self, statement: &Word<'_>, seen: &mut bool) -> Result<(), Error> {
        if std::mem::replace(seen, true) {
            let text = format!("a spec has one `{}` line", statement.text);
            return Err(self.error(&statement.span, &text, None));
        }
        Ok(())
    }

    fn peek_kind(&self) -> Option<Kind> {
        self.tokens.get(self.next).map(|token| token.kind)
    }

    fn peek_word(&self) -> Option<Word<'t>> {
        let token = self.tokens.get(self.next)?;
        (token.kind == Kind::Word).then(|| Word {
            text: self.at(&token.span),
            span: token.span.clone(),
        })
    }

    fn at(&self, span: &Range<usize>) -> &'t str {
        self.text.get(span.clone()).unwrap_or("")
    }

    /// The next token, which must be of this kind.
    fn take(&mut self, kind: Kind, what: &str) -> Result<Range<usize>, Error> {
        match self.tokens.get(self.next) {
            Some(token) if token.kind == kind => {
                self.next += 1;
                Ok(token.span.clone())
            }
            other => {
                let end = self.text.len()..self.text.len();
                let span = other.map_or(end, |token| token.span.clone());
                Err(self.error(&span, &format!("here should be {what}"), None))
            }
        }
    }

    fn word(&mut self, what: &str) -> Result<Word<'t>, Error> {
        let span = self.take(Kind::Word, what)?;
        Ok(Word {
            text: self.at(&span),
            span,
        })
    }

    fn keyword(&mut self, word: &str) -> Result<(), Error> {
        let what = format!("`{word}`");
        let found = self.word(&what)?;
        if found.text == word {
            return Ok(());
        }
        Err(self.error(&found.span, &format!("here should be {what}"), None))
    }

    fn end_of_line(&mut self) -> Result<(), Error> {
        match self.tokens.get(self.next) {
            Some(token) if token.kind == Kind::Newline => {
                // The last one stays: who asks what comes next is told that nothing does.
                if self.next + 1 < self.tokens.len() {
                    self.next += 1;
                }
                Ok(())
            }
            Some(token) => {
                let span = token.span.clone();
                Err(self.error(&span, "the line should end here", None))
            }
            None => Ok(()),
        }
    }

    fn error(&self, span: &Range<usize>, text: &str, hint: Option<String>) -> Error {
        Error::new(self.text, span.clone(), text.to_owned(), hint)
    }
}

/// The comment at the top, up to the first line that is none, without `#` and without the license.
fn doc(text: &str) -> String {
    let lines = text
        .lines()
        .skip_while(|line| line.trim().is_empty())
        .map_while(|line| line.trim().strip_prefix('#'))
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end())
        .filter(|line| !line.starts_with("SPDX-License-Identifier"));
    let lines: Vec<&str> = lines.collect();
    lines.join("\n").trim_matches('\n').to_owned()
}
