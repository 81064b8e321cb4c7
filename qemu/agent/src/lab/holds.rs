// SPDX-License-Identifier: GPL-2.0
//! The driver's hold points, through the file `hold` of a mount in debugfs (`rust/fs/hold.rs`).

use anyhow::{bail, Context, Result};
use notblk_race::Point;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The file.
pub struct Holds {
    path: PathBuf,
    /// For commands, and to be read from the beginning each time.
    file: File,
}

/// How long the file gets at most: a line for each rule, of which there are 64.
const LONGEST: usize = 16 * 1024;

/// What the file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The rules, by number.
    pub rules: Vec<Rule>,
    /// Bios of direct I/O that the device has.
    pub inflight: u64,
}

/// One rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its number.
    pub id: u64,
    /// Where it holds.
    pub point: Point,
    /// Whose: the thread that opened the file.
    pub owner: i32,
    /// What it holds now, the oldest first.
    pub now: Vec<String>,
}

impl Rule {
    /// Whether it holds bios, and not tasks.
    pub fn has_bios(&self) -> bool {
        self.now.iter().any(|what| what.starts_with("bio:"))
    }

    /// Of the bios that it holds, where the one begins that has the first place in the file. In which order they came is luck
    /// where an actor has several of them under way.
    fn first_bio(&self) -> Option<u64> {
        let begins = |what: &String| what.strip_prefix("bio:")?.split('+').next()?.parse().ok();
        self.now.iter().filter_map(begins).min()
    }
}

impl Holds {
    /// Of the mount of a disk, such as `/dev/vda`.
    pub fn of(disk: &str) -> Result<Holds> {
        let name = Path::new(disk).file_name().context("a disk's name")?;
        let path = Path::new("/sys/kernel/debug/notblk")
            .join(name)
            .join("hold");
        if !path.exists() {
            bail!(
                "the driver has no hold points: there is no {}",
                path.display()
            );
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))?;
        Ok(Holds { path, file })
    }

    /// Holds whatever comes by at the point in files that `owner` opened; for `deadline` milliseconds at most.
    pub fn hold(&self, point: Point, owner: i32, deadline: u64) -> Result<()> {
        self.command(&format!("hold {point} owner={owner} deadline={deadline}"))
    }

    /// Lets one thing go that the rule holds: the task, or the first bio by its place in the file.
    pub fn one(&self, rule: &Rule) -> Result<()> {
        match rule.first_bio() {
            Some(pos) => self.command(&format!("one {} {pos}", rule.id)),
            None => self.command(&format!("one {}", rule.id)),
        }
    }

    /// Lets everything go, and forgets the rules.
    pub fn clear(&self) -> Result<()> {
        self.command("clear")
    }

    /// Reads the file.
    pub fn state(&self) -> Result<State> {
        let mut bytes = [0; LONGEST];
        // The driver writes it anew for whoever reads from the beginning, and all of it at once.
        let length = self
            .file
            .read_at(&mut bytes, 0)
            .with_context(|| format!("read {}", self.path.display()))?;
        let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default());
        parse(&text).with_context(|| format!("{}: {text:?}", self.path.display()))
    }

    fn command(&self, line: &str) -> Result<()> {
        (&self.file)
            .write_all(line.as_bytes())
            .with_context(|| format!("{line:?} to {}", self.path.display()))
    }
}

impl State {
    /// Where an owner is held, and by which rule: the one that holds its oldest.
    pub fn of(&self, owner: i32) -> Option<&Rule> {
        self.rules
            .iter()
            .find(|rule| rule.owner == owner && !rule.now.is_empty())
    }
}

fn parse(text: &str) -> Result<State> {
    let mut state = State::default();
    if !text.ends_with('\n') || !text.lines().any(|line| line.starts_with("inflight ")) {
        bail!("not all of it");
    }
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if first == "inflight" {
            state.inflight = words.next().context("no number")?.parse()?;
            continue;
        }
        let point = words.next().context("no point")?;
        let mut rule = Rule {
            id: first.parse()?,
            point: point
                .parse()
                .map_err(|_| anyhow::anyhow!("not a point: {point}"))?,
            owner: 0,
            now: Vec::new(),
        };
        for word in words {
            let word = word.trim_end_matches(']');
            if let Some(owner) = word.strip_prefix("owner=") {
                rule.owner = owner.parse()?;
            } else if let Some(what) = word.strip_prefix("now=[") {
                rule.now.extend((!what.is_empty()).then(|| what.to_owned()));
            } else if word.starts_with("task:") || word.starts_with("bio:") {
                rule.now.push(word.to_owned());
            }
        }
        state.rules.push(rule);
    }
    Ok(state)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_file_is_understood() {
        let text = "1 dio.submit owner=12 passed=0 held=1 now=[bio:4096+4096]\n\
                    2 fallback.dirtied owner=13 passed=4 held=2 now=[task:13 task:14]\n\
                    5 dio.complete owner=12 passed=3 held=0 now=[]\n\
                    inflight 2\n";
        let state = parse(text).unwrap();
        assert_eq!(state.inflight, 2);
        assert_eq!(state.rules[0].now, ["bio:4096+4096"]);
        assert_eq!(state.rules[1].now, ["task:13", "task:14"]);
        assert_eq!(state.of(13).unwrap().id, 2);
        assert_eq!(state.of(12).unwrap().point, Point::DioSubmit);
        assert_eq!(state.of(99), None);
        assert!(state.rules[0].has_bios() && !state.rules[1].has_bios());
        let rule = &parse("1 dio.complete owner=12 passed=0 held=2 now=[bio:8192+512 bio:4096+4096]\ninflight 0\n")
            .unwrap()
            .rules[0];
        assert_eq!(rule.first_bio(), Some(4096));
        assert!(parse("1 dio.submit owner=12 now=[]\n").is_err(), "cut off");
        assert!(parse("x y\n").is_err());
    }
}
