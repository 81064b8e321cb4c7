// SPDX-License-Identifier: GPL-2.0

//! Steps and what is expected of them.

use super::{words, Error, Expect, Op, Parser, Word, ACTS};
use crate::spec::{Api, Errno, Flags, Spec, Step, Transfer, Way};

/// What may follow the range of a transfer, each once.
const MANNERS: [&str; 9] = [
    "direct", "buffered", "mmap", "pwrite", "aio", "uring", "nowait", "dsync", "expect",
];

impl<'t> Parser<'t> {
    /// A step that begins with the word `act`, which has been taken.
    pub(super) fn step(&mut self, spec: &Spec, act: &Word<'t>) -> Result<Step, Error> {
        if !ACTS.contains(&act.text) {
            let text = format!("no step is called `{}`", act.text);
            return Err(self.error(&act.span, &text, words::hint(act.text, ACTS)));
        }
        let file = self.known_file(spec)?;
        let op = match act.text {
            "write" => Op::Write(self.transfer(spec, act, &file)?),
            "read" => Op::Read(self.transfer(spec, act, &file)?),
            "truncate" => {
                let word = self.word("the new size")?;
                Op::Truncate {
                    size: self.amount(spec, &word)?,
                }
            }
            "punch" => Op::Punch {
                range: self.range(spec)?,
            },
            _ => Op::Fsync,
        };
        let expect = self.expect(&op)?;
        Ok(Step { file, op, expect })
    }

    /// `1b..2b direct aio nowait`, `append 1b buffered`
    fn transfer(&mut self, spec: &Spec, act: &Word<'t>, file: &str) -> Result<Transfer, Error> {
        let is_write = act.text == "write";
        let place = self.peek_word();
        let append = place.as_ref().is_some_and(|word| word.text == "append");
        let range = if append {
            self.next += 1;
            let word = self.word("a length")?;
            let len = self.sectors(spec, &word)?;
            if len == 0 {
                return Err(self.error(&word.span, "nothing to append", None));
            }
            0..len
        } else {
            self.range(spec)?
        };
        let place = place.map_or(act.span.clone(), |word| word.span);
        if append && !is_write {
            return Err(self.error(&place, "only a write can append", None));
        }
        let (mut way, mut api) = (None, None);
        let mut flags = Flags {
            append,
            ..Flags::default()
        };
        while let Some(word) = self.peek_word() {
            let again = match word.text {
                "direct" => way.replace(Way::Direct).is_some(),
                "buffered" => way.replace(Way::Buffered).is_some(),
                "mmap" => way.replace(Way::Mmap).is_some(),
                "pwrite" => api.replace(Api::Pwrite).is_some(),
                "aio" => api.replace(Api::Aio).is_some(),
                "uring" => api.replace(Api::Uring).is_some(),
                "nowait" => std::mem::replace(&mut flags.nowait, true),
                "dsync" if is_write => std::mem::replace(&mut flags.dsync, true),
                "dsync" => return Err(self.error(&word.span, "a read is not synced", None)),
                "expect" => break,
                other => {
                    let text = format!("no {} is `{other}`", act.text);
                    return Err(self.error(&word.span, &text, words::hint(other, MANNERS)));
                }
            };
            if again {
                let text = "this has been said already, or something that excludes it";
                return Err(self.error(&word.span, text, None));
            }
            self.next += 1;
        }
        let Some(way) = way else {
            let text = format!("a {} is `direct`, `buffered` or `mmap`", act.text);
            return Err(self.error(&act.span, &text, None));
        };
        if way == Way::Mmap {
            if api.is_some() || flags != Flags::default() {
                let text = "mmap goes by loads and stores: no call, no flags, no append";
                return Err(self.error(&act.span, text, None));
            }
            let size = spec.file(file).map_or(0, |file| file.size());
            if range.end > size {
                let text = format!("beyond the end of {file}, which has {size} bytes");
                return Err(self.error(&place, &text, None));
            }
        }
        Ok(Transfer {
            way,
            api: api.unwrap_or_default(),
            flags,
            offset: range.start,
            len: range.end - range.start,
        })
    }

    /// `expect full or EAGAIN`, `expect any`, or nothing.
    fn expect(&mut self, op: &Op) -> Result<Expect, Error> {
        if self.peek_word().is_none_or(|word| word.text != "expect") {
            return Ok(Expect::default());
        }
        self.next += 1;
        let (mut full, mut short, mut errors) = (false, false, Vec::new());
        loop {
            let word = self.word("how the step may end")?;
            match word.text {
                "any" if !full && !short && errors.is_empty() => return Ok(Expect::Any),
                "full" => full = true,
                "short" if matches!(op, Op::Read(_) | Op::Write(_)) => short = true,
                "short" => {
                    return Err(self.error(&word.span, "this step moves no bytes", None));
                }
                other => match Errno::from_name(other) {
                    Some(errno) if !errors.contains(&errno) => errors.push(errno),
                    Some(_) => {}
                    None => {
                        let text = format!("no step ends in `{other}`");
                        let names = ["full", "short", "any"]
                            .into_iter()
                            .chain(Errno::NAMES.map(|(name, _)| name));
                        return Err(self.error(&word.span, &text, words::hint(other, names)));
                    }
                },
            }
            if self.peek_word().is_none_or(|word| word.text != "or") {
                return Ok(Expect::OneOf {
                    full,
                    short,
                    errors,
                });
            }
            self.next += 1;
        }
    }
}
