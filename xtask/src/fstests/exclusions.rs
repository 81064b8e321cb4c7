// SPDX-License-Identifier: GPL-2.0

//! What is known beforehand of single tests: `qemu/fstests/exclusions.toml`.
//!
//! An entry never hides a failure: it says what to expect and why, and results carry it along.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use notblk_results::{Bug, Expect, Expectation};
use serde::Deserialize;

use super::config;
use crate::errors::Exit;

/// The list, below the repository.
const FILE: &str = "qemu/fstests/exclusions.toml";

/// All entries, by test.
#[derive(Clone, Debug, Default)]
pub struct Exclusions {
    tests: BTreeMap<String, Vec<Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Empty for all.
    configs: Vec<String>,
    expectation: Expectation,
}

impl Entry {
    fn is_for(&self, config: &str) -> bool {
        self.configs.is_empty() || self.configs.iter().any(|name| name == config)
    }

    /// A configuration that both are for.
    fn clash<'a>(&'a self, other: &'a Entry) -> Option<&'a str> {
        match (self.configs.is_empty(), other.configs.is_empty()) {
            (true, true) => Some("all configurations"),
            (true, false) => other.configs.first().map(String::as_str),
            _ => self
                .configs
                .iter()
                .map(String::as_str)
                .find(|name| other.is_for(name)),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    exclude: Vec<RawEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    test: OneOrMore,
    #[serde(default)]
    configs: Vec<String>,
    reason: String,
    link: String,
    bug: Bug,
    expect: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl Exclusions {
    /// Reads the repository's list.
    pub fn load(repo: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(repo.join(FILE)).with_context(|| format!("cannot read {FILE}"))?;
        Self::parse(&text, &config::names(repo)?)
    }

    /// What is expected of a test under a configuration.
    pub fn find(&self, config: &str, test: &str) -> Option<Expectation> {
        let entry = self.tests.get(test)?.iter().find(|e| e.is_for(config))?;
        Some(entry.expectation.clone())
    }

    fn parse(text: &str, configs: &[String]) -> Result<Self> {
        let wrong = |why: &str| {
            let why = why.trim().replace('\n', " ");
            Exit::usage(format!("{FILE}: {why}"))
                .hint("the head of that file says how it is written")
        };
        let file: File = toml::from_str(text).map_err(|e| wrong(e.message()))?;
        let mut found = Exclusions::default();
        for raw in file.exclude {
            let tests = match raw.test {
                OneOrMore::One(test) => vec![test],
                OneOrMore::More(tests) => tests,
            };
            let Some(first) = tests.first() else {
                return Err(wrong("an entry is for no test").into());
            };
            for (field, value) in [("reason", &raw.reason), ("link", &raw.link)] {
                if value.trim().is_empty() {
                    return Err(wrong(&format!("{first}: {field} is empty")).into());
                }
            }
            if let Some(name) = raw.configs.iter().find(|name| !configs.contains(name)) {
                let why = format!("{first}: there is no configuration {name:?}");
                return Err(wrong(&why).into());
            }
            let Some(expect) = parse_expect(&raw.expect) else {
                let why = format!(
                    "{first}: expect is {:?}, not skip, fail or flaky(RATE) with a rate between 0 and 1",
                    raw.expect
                );
                return Err(wrong(&why).into());
            };
            let entry = Entry {
                configs: raw.configs,
                expectation: Expectation {
                    expect,
                    bug: raw.bug,
                    reason: raw.reason.trim().to_owned(),
                    link: raw.link.trim().to_owned(),
                },
            };
            for test in tests {
                if !is_test(&test) {
                    return Err(wrong(&format!("{test:?} is not like generic/001")).into());
                }
                let others = found.tests.entry(test.clone()).or_default();
                if let Some(config) = others.iter().find_map(|other| other.clash(&entry)) {
                    return Err(wrong(&format!("{test} has two entries for {config}")).into());
                }
                others.push(entry.clone());
            }
        }
        Ok(found)
    }
}

/// Has the form of a test's name.
fn is_test(name: &str) -> bool {
    name.split_once('/').is_some_and(|(dir, test)| {
        !dir.is_empty()
            && test.len() >= 3
            && test.bytes().take(3).all(|b| b.is_ascii_digit())
            && !test.contains('/')
    })
}

/// `skip`, `fail`, `flaky(0.1)`.
fn parse_expect(text: &str) -> Option<Expect> {
    match text {
        "skip" => Some(Expect::Skip),
        "fail" => Some(Expect::Fail),
        _ => {
            let rate: f64 = text
                .strip_prefix("flaky(")?
                .strip_suffix(')')?
                .parse()
                .ok()?;
            // Never or always is not flaky; this also refuses what is not a number.
            (rate > 0.0 && rate < 1.0).then_some(Expect::Flaky(rate))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::{classify, Code};

    const ENTRY: &str = "[[exclude]]\ntest = ['generic/001', 'generic/002']\nconfigs = ['a']\n\
        reason = 'why'\nlink = 'where'\nbug = 'suite'\nexpect = 'flaky(0.1)'\n";

    fn parse(text: &str) -> Result<Exclusions> {
        Exclusions::parse(text, &["a".to_owned(), "b".to_owned()])
    }

    #[test]
    fn the_repositorys_own_is_sound() {
        let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        Exclusions::load(repo).unwrap();
    }

    #[test]
    fn found_by_configuration_and_test() {
        let other = ENTRY
            .replace("['a']", "['b']")
            .replace("flaky(0.1)", "fail");
        let exclusions = parse(&(ENTRY.to_owned() + &other)).unwrap();
        let expect = |config, test| exclusions.find(config, test).map(|it| it.expect);
        assert_eq!(expect("a", "generic/002"), Some(Expect::Flaky(0.1)));
        assert_eq!(expect("b", "generic/002"), Some(Expect::Fail));
        assert_eq!(expect("c", "generic/002"), None);
        assert_eq!(expect("a", "generic/003"), None);
        let found = exclusions.find("a", "generic/001").unwrap();
        assert_eq!(
            (found.bug, &*found.reason, &*found.link),
            (Bug::Suite, "why", "where")
        );
        let all = parse(&ENTRY.replace("configs = ['a']\n", "")).unwrap();
        assert!(all.find("of the user's own", "generic/001").is_some());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let twice = ENTRY.to_owned() + &ENTRY.replace("'generic/001', ", "");
        let twice_for_all = ENTRY.to_owned() + &ENTRY.replace("configs = ['a']\n", "");
        for (text, words) in [
            (twice, "generic/002 has two entries for a"),
            (twice_for_all, "two entries for a"),
            (ENTRY.replace("'a'", "'c'"), "no configuration \"c\""),
            (ENTRY.replace("'why'", "' '"), "reason is empty"),
            (ENTRY.replace("'where'", "''"), "link is empty"),
            (ENTRY.replace("0.1", "1.5"), "flaky(1.5)"),
            (ENTRY.replace("0.1", "NaN"), "flaky(NaN)"),
            (ENTRY.replace("flaky(0.1)", "pass"), "\"pass\""),
            (ENTRY.replace("'suite'", "'nobody'"), "nobody"),
            (ENTRY.replace("generic/001", "001"), "\"001\""),
            (ENTRY.replace("reason", "because"), "because"),
            (
                ENTRY.replace("['generic/001', 'generic/002']", "[]"),
                "no test",
            ),
        ] {
            let exit = classify(&parse(&text).unwrap_err());
            assert_eq!(exit.code, Code::USAGE);
            assert!(exit.line.contains(words), "{}", exit.line);
        }
    }
}
