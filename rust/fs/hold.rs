// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/notblk/DEVICE/hold`: what is parked where, by commands of user space. [`crate::vfs::hold`] does it.
//!
//! One command for each `write(2)`:
//!
//! | command | does |
//! | --- | --- |
//! | `hold POINT [owner=TID] [ino=N] [range=FIRST-LAST] [count=N] [deadline=MS]` | a rule: what comes to the point is parked |
//! | `release ID` | what the rule has parked goes on |
//! | `one ID [POS]` | the oldest of it does; or the oldest of what begins at this byte |
//! | `drop ID` | as `release`, and the rule goes |
//! | `clear` | that for all rules |
//!
//! `range` is in bytes, `deadline` in milliseconds: whatever has been parked for so long takes all that its rule holds along, and
//! the rule. `EINVAL` for anything else, `ENOENT` for an unknown rule, `ENOSPC` for too many of them, `EOPNOTSUPP` where the module
//! is made without hold points; then nothing has changed.

use super::{Notblk, SuperBlock};
use crate::vfs::{
    errno::EOPNOTSUPP,
    hold::{self, Filter, Gate, Owner, Point, Which},
};
use core::str::FromStr;
use kernel::{
    debugfs::{Reader, Writer},
    fmt,
    prelude::*,
    uaccess::UserSliceReader,
};

/// Bytes of a command, at most.
const MAX_COMMAND: usize = 256;
/// Milliseconds that something is parked unless the rule says otherwise, and at most: the hung task detector waits for longer.
const DEADLINE: u32 = 10_000;
const MAX_DEADLINE: u32 = 60_000;

impl hold::Operations for Notblk {
    #[inline]
    fn gate(sb: &SuperBlock) -> Option<&Gate> {
        Some(sb.data().gate())
    }
}

impl Writer for Gate {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f)
    }
}

impl Reader for Gate {
    fn read_from_slice(&self, reader: &mut UserSliceReader) -> Result {
        let mut bytes = [0; MAX_COMMAND];
        let Some(command) = bytes.get_mut(..reader.len()) else {
            pr_warn!("({}): hold: a command that is too long\n", self.id());
            return Err(EINVAL);
        };
        reader.read_slice(command)?;
        let result = core::str::from_utf8(command)
            .map_err(|_| Refused::Because("not text"))
            .and_then(|command| obey(self, command));
        result.map_err(|refused| match refused {
            Refused::Because(why) => {
                pr_warn!("({}): hold: {why}\n", self.id());
                EINVAL
            }
            Refused::With(errno) => errno,
        })
    }
}

/// Why a command is not obeyed.
enum Refused {
    /// It makes no sense: `EINVAL`, and a line in the log.
    Because(&'static str),
    /// This errno.
    With(Error),
}

impl From<Error> for Refused {
    fn from(errno: Error) -> Self {
        Self::With(errno)
    }
}

fn obey(gate: &Gate, command: &str) -> Result<(), Refused> {
    if !hold::COMPILED {
        return Err(Refused::With(EOPNOTSUPP));
    }
    let mut words = command.split_ascii_whitespace();
    let verb = words.next().unwrap_or("");
    if verb == "hold" {
        gate.add(filter(words)?)?;
        return Ok(());
    }
    let (operand, pos, rest) = (words.next(), words.next(), words.next());
    let id = || operand.map_or(Err(Refused::Because("no rule is named")), number);
    let is_too_much = match verb {
        "clear" => operand.is_some(),
        "one" => rest.is_some(),
        _ => pos.is_some(),
    };
    if is_too_much {
        return Err(Refused::Because("more than the command takes"));
    }
    match verb {
        "release" => gate.release(id()?, Which::All, false)?,
        "one" => {
            let which = match pos {
                Some(pos) => Which::At(number(pos)?),
                None => Which::Oldest,
            };
            gate.release(id()?, which, false)?;
        }
        "drop" => gate.release(id()?, Which::All, true)?,
        "clear" => {
            gate.clear();
        }
        _ => return Err(Refused::Because("an unknown command")),
    }
    Ok(())
}

/// What follows `hold`.
fn filter<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Filter, Refused> {
    let point = words.next().and_then(Point::from_name);
    let mut filter = Filter {
        point: point.ok_or(Refused::Because("an unknown point"))?,
        owner: None,
        ino: None,
        range: None,
        count: None,
        deadline: DEADLINE,
    };
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "owner" => filter.owner = Some(Owner::from_tid(number(value)?)),
            "ino" => filter.ino = Some(number(value)?),
            "range" => {
                let (first, last) = value.split_once('-').unwrap_or(("", ""));
                let (first, last) = (number(first)?, number(last)?);
                if first > last {
                    return Err(Refused::Because("a range that ends before it begins"));
                }
                filter.range = Some((first, last));
            }
            "count" => filter.count = Some(number(value)?),
            "deadline" => {
                filter.deadline = number(value)?;
                if !(1..=MAX_DEADLINE).contains(&filter.deadline) {
                    return Err(Refused::Because("deadline is 1 to 60000 ms"));
                }
            }
            _ => return Err(Refused::Because("an unknown filter")),
        }
    }
    Ok(filter)
}

/// A number that is digits and nothing else.
fn number<T: FromStr>(text: &str) -> Result<T, Refused> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = digits.then(|| text.parse().ok()).flatten();
    parsed.ok_or(Refused::Because("a bad number"))
}
