// SPDX-License-Identifier: GPL-2.0

//! One order of stages as one line: `A@dio.submit B@fallback.dirtied A@end B@end`.
//!
//! Each word is one stage: let this actor go, and it stops there. A word without a place lets it go to its next stop,
//! wherever that is. Actors that are not at their end when the line is used up go on by the default policy.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::point::Point;
use crate::run::{ActorId, Run, Stop};
use crate::spec::Spec;

/// An order of stages.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Schedule {
    /// The stages.
    pub stages: Vec<Stage>,
}

/// One word of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stage {
    /// The actor's name.
    pub actor: String,
    /// Where it stops.
    pub stop: Target,
}

/// Where a stage is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// Held at this point.
    At(Point),
    /// The actor's last step is done.
    End,
    /// At its next stop, whichever it is.
    Next,
}

impl Schedule {
    /// The order that a run took, from its first stage to its last. A stage that was blocked is a word without a place.
    #[must_use]
    pub fn of(spec: &Spec, run: &Run) -> Schedule {
        let stages = run.steps.iter().map(|taken| Stage {
            actor: actor_name(spec, taken.actor),
            stop: match &taken.stop {
                Stop::At(point) => Target::At(*point),
                Stop::End => Target::End,
                Stop::Blocked { .. } => Target::Next,
            },
        });
        Schedule {
            stages: stages.collect(),
        }
    }

    /// What to give to [`crate::Runner::run`].
    ///
    /// # Errors
    ///
    /// An actor that the spec does not have, or a point where it does not hold that actor.
    pub fn choices(&self, spec: &Spec) -> Result<Vec<ActorId>, Error> {
        let mut column = 1;
        let mut choices = Vec::new();
        for stage in &self.stages {
            let refuse = |column, text| Err(Error { column, text });
            let Some(id) = spec.actor(&stage.actor) else {
                return refuse(
                    column,
                    format!("{} has no actor `{}`", spec.name, stage.actor),
                );
            };
            if let Target::At(point) = stage.stop {
                let held = spec.actors.get(id.0);
                if !held.is_some_and(|actor| actor.holds.contains(&point)) {
                    let column = column + stage.actor.chars().count() + 1;
                    return refuse(column, format!("`{}` is not held at {point}", stage.actor));
                }
            }
            choices.push(id);
            column += stage.to_string().chars().count() + 1;
        }
        Ok(choices)
    }

    /// The first stage of a run that stopped elsewhere than this says, as an index; `None` where all are as asked. A run that
    /// ended earlier differs where it ended.
    #[must_use]
    pub fn differs(&self, spec: &Spec, run: &Run) -> Option<usize> {
        let is_as_asked = |(index, stage): (usize, &Stage)| {
            run.steps.get(index).is_some_and(|taken| {
                spec.actor(&stage.actor) == Some(taken.actor)
                    && match (&stage.stop, &taken.stop) {
                        (Target::Next, _) | (Target::End, Stop::End) => true,
                        (Target::At(asked), Stop::At(point)) => asked == point,
                        _ => false,
                    }
            })
        };
        (0..self.stages.len())
            .zip(&self.stages)
            .position(|stage| !is_as_asked(stage))
    }
}

/// The name, or its number where the spec has no such actor.
fn actor_name(spec: &Spec, id: ActorId) -> String {
    match spec.actors.get(id.0) {
        Some(actor) => actor.name.clone(),
        None => format!("actor{}", id.0),
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stop {
            Target::At(point) => write!(f, "{}@{point}", self.actor),
            Target::End => write!(f, "{}@end", self.actor),
            Target::Next => f.write_str(&self.actor),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, stage) in self.stages.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{stage}")?;
        }
        Ok(())
    }
}

/// What is wrong with a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub text: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "schedule, column {}: {}", self.column, self.text)
    }
}

impl std::error::Error for Error {}

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self, Error> {
        let mut stages = Vec::new();
        let mut column = 1;
        let mut rest = line;
        loop {
            let word_at = rest.trim_start();
            column += rest.chars().count() - word_at.chars().count();
            if word_at.is_empty() {
                return Ok(Schedule { stages });
            }
            let (word, behind) = match word_at.find(char::is_whitespace) {
                Some(end) => word_at.split_at(end),
                None => (word_at, ""),
            };
            stages.push(stage(word, column)?);
            column += word.chars().count();
            rest = behind;
        }
    }
}

/// One word that begins in this column.
fn stage(word: &str, column: usize) -> Result<Stage, Error> {
    let (actor, place) = match word.split_once('@') {
        Some((actor, place)) => (actor, Some(place)),
        None => (word, None),
    };
    if !is_name(actor) {
        return Err(Error {
            column,
            text: format!("`{actor}` is no actor's name; a stage is ACTOR@POINT or ACTOR@end"),
        });
    }
    let stop = match place {
        None => Target::Next,
        Some("end") => Target::End,
        Some(point) => Target::At(point.parse().map_err(|unknown| Error {
            column: column + actor.chars().count() + 1,
            text: format!("{unknown}"),
        })?),
    };
    Ok(Stage {
        actor: actor.to_owned(),
        stop,
    })
}

/// Whether this may name an actor or a file: a letter, then letters, digits, `_` and `-`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> String {
        schedule.to_string()
    }
}

impl TryFrom<String> for Schedule {
    type Error = Error;

    fn try_from(line: String) -> Result<Self, Error> {
        line.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_back() {
        let line = "A@dio.submit B@fallback.dirtied A@end B";
        let schedule: Schedule = line.parse().unwrap();
        assert_eq!(schedule.stages.len(), 4);
        assert_eq!(schedule.to_string(), line);
        assert_eq!(
            "  A@end \t".parse::<Schedule>().unwrap().to_string(),
            "A@end"
        );
    }

    #[test]
    fn errors_have_columns() {
        let error = " A@dio.submit B@dio.sumbit"
            .parse::<Schedule>()
            .unwrap_err();
        assert_eq!(error.column, 17);
        let error = "A@end @end".parse::<Schedule>().unwrap_err();
        assert_eq!(error.column, 7);
    }

    #[test]
    fn a_run_is_compared_with_what_was_asked() {
        let text =
            "race r \"t\"\nfile f: hole 2b\nactor A {\nhold dio.submit\nwrite f 0..1b direct\n}\n\
            actor B {\nwrite f 0..1b direct\n}\ncheck fsync f ok\n";
        let spec = crate::parse(text).unwrap();
        let taken = |actor, stop| crate::run::Taken {
            actor: ActorId(actor),
            stop,
            enabled: vec![ActorId(actor)],
        };
        let run = Run {
            steps: vec![
                taken(0, Stop::At(Point::DioSubmit)),
                taken(1, Stop::End),
                taken(0, Stop::End),
            ],
            verdict: crate::Verdict::Passed,
        };
        assert_eq!(
            Schedule::of(&spec, &run).to_string(),
            "A@dio.submit B@end A@end"
        );
        let differs = |line: &str| line.parse::<Schedule>().unwrap().differs(&spec, &run);
        assert_eq!(differs(""), None);
        assert_eq!(differs("A@dio.submit B A@end"), None);
        assert_eq!(differs("A@dio.submit A@end"), Some(1));
        assert_eq!(differs("A@end"), Some(0));
        assert_eq!(differs("A B A B"), Some(3));
        assert_eq!(run.choices(), [0, 1, 0].map(ActorId));

        let choices = |line: &str| line.parse::<Schedule>().unwrap().choices(&spec);
        assert_eq!(
            choices("B A@dio.submit A"),
            Ok(vec![ActorId(1), ActorId(0), ActorId(0)])
        );
        let error = choices("A@end B@dio.submit").unwrap_err();
        assert_eq!(
            error.to_string(),
            "schedule, column 9: `B` is not held at dio.submit"
        );
        assert_eq!(choices("A  C").unwrap_err().column, 3);
    }
}
