// SPDX-License-Identifier: GPL-2.0

//! Checks.

use super::{words, Error, Op, Parser, RESERVED};
use crate::run::ActorId;
use crate::spec::{Check, Source, Spec};

/// What can be checked.
const CHECKS: [&str; 6] = ["fsync", "size", "content", "coherent", "read", "actor"];

/// An actor of the spec, and one of its steps, from 0, if it was named.
struct ActorStep {
    actor: ActorId,
    name: String,
    step: Option<usize>,
}

impl Parser<'_> {
    /// What follows the word `check`.
    pub(super) fn check(&mut self, spec: &Spec) -> Result<Check, Error> {
        let what = self.word("what is checked")?;
        match what.text {
            "fsync" => {
                let file = self.known_file(spec)?;
                let how = self.word("`ok` or `once`")?;
                match how.text {
                    "ok" => Ok(Check::FsyncOk { file }),
                    "once" => Ok(Check::FsyncOnce { file }),
                    _ => Err(self.error(&how.span, "fsync is `ok`, or reports `once`", None)),
                }
            }
            "size" => {
                let file = self.known_file(spec)?;
                let mut sizes = Vec::new();
                loop {
                    let word = self.word("a size")?;
                    sizes.push(self.amount(spec, &word)?);
                    if !self.or() {
                        return Ok(Check::Size { file, sizes });
                    }
                }
            }
            "content" => {
                let file = self.known_file(spec)?;
                let range = self.range(spec)?;
                let from = self.sources(spec, &file)?;
                Ok(Check::Content { file, range, from })
            }
            "coherent" => Ok(Check::Coherent {
                file: self.known_file(spec)?,
            }),
            "read" => self.check_read(spec),
            "actor" => {
                let ActorStep { name, step, .. } = self.actor_step(spec)?;
                let never = self.word("`never waits`")?;
                if never.text != "never" || step.is_some() {
                    let text = "an actor as a whole `never waits`";
                    return Err(self.error(&never.span, text, None));
                }
                self.keyword("waits")?;
                Ok(Check::NeverWaits { actor: name })
            }
            other => {
                let text = format!("nothing checks `{other}`");
                Err(self.error(&what.span, &text, words::hint(other, CHECKS)))
            }
        }
    }

    /// `read C.1 0..1b from initial or B`
    fn check_read(&mut self, spec: &Spec) -> Result<Check, Error> {
        let at = self.peek_word();
        let ActorStep { actor, name, step } = self.actor_step(spec)?;
        let span = at.map_or(0..0, |word| word.span);
        let steps = spec
            .actors
            .get(actor.0)
            .map_or(&[][..], |actor| &actor.steps);
        let step = match step {
            Some(step) => step,
            None if steps.len() == 1 => 0,
            None => {
                let text = format!("{name} has more than one step");
                let hint = format!("{name}.1 is the first one");
                return Err(self.error(&span, &text, Some(hint)));
            }
        };
        let Some((file, Op::Read(io))) = steps.get(step).map(|step| (&step.file, &step.op)) else {
            let text = format!("step {} of {name} is no read", step + 1);
            return Err(self.error(&span, &text, None));
        };
        let at = self.peek_word();
        let range = self.range(spec)?;
        let read = io.range().unwrap_or(0..0);
        if range.start < read.start || range.end > read.end {
            let span = at.map_or(span, |word| word.span);
            let text = format!("{name} reads bytes {}..{} only", read.start, read.end);
            return Err(self.error(&span, &text, None));
        }
        let from = self.sources(spec, file)?;
        Ok(Check::Read {
            actor: name,
            step,
            range,
            from,
        })
    }

    /// `from A or B.2 or initial or zero`
    fn sources(&mut self, spec: &Spec, file: &str) -> Result<Vec<Source>, Error> {
        self.keyword("from")?;
        let mut from = Vec::new();
        loop {
            from.push(self.source(spec, file)?);
            if !self.or() {
                return Ok(from);
            }
        }
    }

    fn source(&mut self, spec: &Spec, file: &str) -> Result<Source, Error> {
        let Some(word) = self.peek_word() else {
            let what = "`initial`, `zero` or an actor";
            return Err(match self.word(what) {
                Err(error) => error,
                Ok(word) => self.error(&word.span, what, None),
            });
        };
        match word.text {
            "initial" => {
                self.next += 1;
                return Ok(Source::Initial);
            }
            "zero" => {
                self.next += 1;
                return Ok(Source::Zero);
            }
            _ => {}
        }
        let ActorStep { actor, name, step } = self.actor_step(spec)?;
        let steps = spec.actors.get(actor.0).map(|actor| actor.steps.iter());
        let writes = steps.is_some_and(|mut steps| {
            let mut numbered = steps.by_ref().enumerate();
            numbered.any(|(index, found)| {
                step.is_none_or(|step| step == index)
                    && found.file == file
                    && matches!(found.op, Op::Write(_))
            })
        });
        if !writes {
            let text = format!("{} never writes {file}", word.text);
            return Err(self.error(&word.span, &text, None));
        }
        Ok(Source::Actor { actor: name, step })
    }

    /// `A`, or `A.2`
    fn actor_step(&mut self, spec: &Spec) -> Result<ActorStep, Error> {
        let word = self.word("an actor")?;
        let (name, step) = match word.text.split_once('.') {
            Some((name, step)) => (name, Some(step)),
            None => (word.text, None),
        };
        let Some(actor) = spec.actor(name) else {
            let text = format!("there is no actor `{name}`");
            let names = spec.actors.iter().map(|actor| actor.name.as_str());
            let names = names.chain(RESERVED.into_iter().take(2));
            return Err(self.error(
                &word.part(0..name.len()).span,
                &text,
                words::hint(name, names),
            ));
        };
        let steps = spec
            .actors
            .get(actor.0)
            .map_or(0, |actor| actor.steps.len());
        let step = match step.map(str::parse::<usize>) {
            None => None,
            Some(Ok(step)) if (1..=steps).contains(&step) => Some(step - 1),
            Some(_) => {
                let text = match steps {
                    1 => format!("{name} has one step, {name}.1"),
                    _ => format!("{name} has the steps {name}.1 to {name}.{steps}"),
                };
                return Err(self.error(&word.span, &text, None));
            }
        };
        Ok(ActorStep {
            actor,
            name: name.to_owned(),
            step,
        })
    }

    /// Whether there is an `or`, which is taken.
    fn or(&mut self) -> bool {
        let is_or = self.peek_word().is_some_and(|word| word.text == "or");
        self.next += usize::from(is_or);
        is_or
    }
}
