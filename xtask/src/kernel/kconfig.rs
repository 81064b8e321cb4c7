// SPDX-License-Identifier: GPL-2.0

//! Configurations of kernels that are compiled here: `qemu/kconfig/base.config` and fragments, over `allnoconfig`.
//!
//! A fragment is a list of `CONFIG_NAME=value` lines with comments. Three comments say more, each on a line of its own:
//! `# needs: llvm`, `# excludes: FRAGMENT …` and `# includes: FRAGMENT …`. An option that only some kernels have ends in
//! `# where there is one`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::errors::Exit;

/// The fragment that each configuration begins with.
const BASE: &str = "base";
/// Ends the line of an option that a kernel may lack.
const OPTIONAL: &str = "# where there is one";

/// A configuration that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The fragments that were asked for.
    asked: Vec<String>,
    /// All its fragments, in the order in which they count.
    fragments: Vec<String>,
    /// What each option must be; a later fragment overrides an earlier one.
    options: BTreeMap<String, Wanted>,
    /// True where it cannot be had from gcc.
    pub needs_llvm: bool,
    /// Fragments that cannot be had together, as they were found.
    excluded: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    value: String,
    optional: bool,
}

impl Config {
    /// The configuration with these fragments of the repository.
    pub fn read(repo: &Path, names: &[String]) -> Result<Config> {
        let dir = repo.join("qemu/kconfig");
        let mut config = Config {
            asked: names.to_vec(),
            ..Config::default()
        };
        config.add(&dir, BASE)?;
        for name in names {
            config.add(&dir, name)?;
        }
        let clash = config
            .excluded
            .iter()
            .find(|(_, other)| config.fragments.contains(other));
        match clash {
            Some((one, other)) => Err(Exit::usage(format!(
                "the kernel options {one} and {other} exclude each other"
            ))
            .into()),
            None => Ok(config),
        }
    }

    fn add(&mut self, dir: &Path, name: &str) -> Result<()> {
        if self.fragments.iter().any(|other| other == name) {
            return Ok(());
        }
        let Ok(text) = fs::read_to_string(dir.join(format!("{name}.config"))) else {
            return Err(
                Exit::usage(format!("there are no kernel options called {name:?}"))
                    .hint(format!("qemu/kconfig has {}", known(dir)?.join(", ")))
                    .into(),
            );
        };
        let mut own = Vec::new();
        for line in text.lines() {
            if let Some((key, words)) = line.strip_prefix("# ").and_then(|l| l.split_once(": ")) {
                for word in words.split_whitespace() {
                    match key {
                        "needs" if word == "llvm" => self.needs_llvm = true,
                        "includes" => self.add(dir, word)?,
                        "excludes" => self.excluded.push((name.into(), word.into())),
                        // Prose with a colon in it.
                        _ => break,
                    }
                }
            }
            if let Some(option) = option(line) {
                own.push(option);
            } else if !line.starts_with('#') && !line.trim().is_empty() {
                anyhow::bail!("qemu/kconfig/{name}.config: {line:?} is not an option");
            }
        }
        self.options.extend(own);
        self.fragments.push(name.to_owned());
        Ok(())
    }

    /// What is given to the kernel's `make allnoconfig` as `KCONFIG_ALLCONFIG`.
    pub fn text(&self) -> String {
        let lines = self.options.iter();
        lines
            .map(|(name, wanted)| format!("{name}={}\n", wanted.value))
            .collect()
    }

    /// What follows the kernel's version in its release: `-kasan-lockdep`, as it was asked for.
    pub fn local_version(&self) -> String {
        match self.asked.is_empty() {
            true => format!("-{BASE}"),
            false => self.asked.iter().map(|name| format!("-{name}")).collect(),
        }
    }

    /// The options that a configuration made from this one has not as they were asked for.
    pub fn vanished(&self, made: &str) -> Vec<(String, String)> {
        let made: BTreeMap<String, Wanted> = made.lines().filter_map(option).collect();
        let differs = |(name, wanted): &(&String, &Wanted)| match made.get(*name) {
            Some(got) => got.value != wanted.value,
            None => wanted.value != "n" && !wanted.optional,
        };
        let missing = self.options.iter().filter(differs);
        missing
            .map(|(name, wanted)| (name.clone(), wanted.value.clone()))
            .collect()
    }
}

/// The names of all fragments.
fn known(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for item in fs::read_dir(dir).context("cannot list qemu/kconfig")? {
        let file = item?.file_name();
        if let Some(name) = file.to_str().and_then(|name| name.strip_suffix(".config")) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The option that a line sets.
fn option(line: &str) -> Option<(String, Wanted)> {
    let (line, optional) = match line.strip_suffix(OPTIONAL) {
        Some(line) => (line, true),
        None => (line, false),
    };
    let (name, value) = line.trim().split_once('=')?;
    let wanted = Wanted {
        value: value.to_owned(),
        optional,
    };
    name.starts_with("CONFIG_")
        .then(|| (name.to_owned(), wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repo() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    fn read(names: &[&str]) -> Result<Config> {
        let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
        Config::read(repo(), &names)
    }

    #[test]
    fn the_debug_kernel_is_kasan_lockdep_and_fault() {
        let debug = read(&["debug"]).unwrap();
        assert_eq!(
            debug.fragments,
            ["base", "kasan", "lockdep", "fault", "debug"]
        );
        assert_eq!(debug.local_version(), "-debug");
        assert_eq!(read(&[]).unwrap().local_version(), "-base");
        assert!(debug.needs_llvm);
        assert!(debug.text().contains("CONFIG_KASAN=y\n"));
        assert!(debug.text().contains("CONFIG_RUST=y\n"));
        assert!(!read(&[]).unwrap().needs_llvm);
    }

    #[test]
    fn every_fragment_can_be_read() {
        for name in known(&repo().join("qemu/kconfig")).unwrap() {
            read(&[&name]).unwrap();
        }
    }

    #[test]
    fn what_excludes_each_other_is_refused() {
        for names in [["kasan", "kcsan"], ["kcsan", "debug"]] {
            let error = read(&names).unwrap_err().to_string();
            assert!(error.contains("exclude each other"), "{error}");
        }
    }

    #[test]
    fn an_unknown_fragment_names_the_known_ones() {
        let exit = crate::errors::classify(&read(&["kasam"]).unwrap_err());
        assert_eq!(exit.code, crate::errors::Code::USAGE);
        assert!(exit.hint.unwrap().contains("kasan, "));
    }

    #[test]
    fn an_option_that_vanished_is_found_and_one_that_may_be_absent_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let kconfig = dir.path().join("qemu/kconfig");
        fs::create_dir_all(&kconfig).unwrap();
        let text =
            "CONFIG_A=y\nCONFIG_B=m\nCONFIG_C=y # where there is one\nCONFIG_D=n\nCONFIG_E=17\n";
        fs::write(kconfig.join("base.config"), text).unwrap();
        let config = Config::read(dir.path(), &[]).unwrap();
        let vanished = |made: &str| -> Vec<String> {
            let list = config.vanished(made).into_iter();
            list.map(|(name, value)| format!("{name}={value}"))
                .collect()
        };
        let good = "CONFIG_A=y\nCONFIG_B=m\n# CONFIG_D is not set\nCONFIG_E=17\n";
        assert!(vanished(good).is_empty());
        let bad = "# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_D=y\nCONFIG_E=18\n";
        assert_eq!(
            vanished(bad),
            ["CONFIG_A=y", "CONFIG_B=m", "CONFIG_D=n", "CONFIG_E=17"]
        );
    }
}
