// SPDX-License-Identifier: GPL-2.0

//! The command that repeats one test, as it stands with each result: for a shell, in any directory of this repository.

use std::borrow::Cow;
use std::path::Path;

use clap::ValueEnum;

use super::args::Args;
use super::config::Config;

/// How every such command begins.
const COMMAND: &str = "cargo xtask run-xfstests";

/// The command, but for the configuration and the test.
#[derive(Clone, Debug)]
pub struct Repeat(String);

impl Repeat {
    /// With the options of `args` that change what a test meets: not where results go, nor which other tests are run. `suite` is
    /// the tree, where the user has named one; `cpus` is what each guest has.
    pub fn new(args: &Args, suite: Option<&Path>, cpus: u32) -> Self {
        // Without KVM guests that run side by side share this host's processors. The test alone would get more.
        let cpus = (args.cpus.is_some() || args.shards.get() > 1).then_some(cpus);
        let accel = args.accel.and_then(|accel| accel.to_possible_value());
        let options = [
            ("--kernel", args.kernel.clone()),
            ("--accel", accel.map(|value| value.get_name().to_owned())),
            ("--cpus", cpus.map(|n| n.to_string())),
            ("--memory", args.memory.map(|n| n.to_string())),
            ("--timeout", args.timeout.map(|n| n.to_string())),
            ("-L", args.again.map(|n| n.to_string())),
            ("--xfstests", suite.map(|dir| dir.display().to_string())),
        ];
        let mut line = COMMAND.to_owned();
        for (name, value) in options {
            if let Some(value) = value {
                line.push_str(&format!(" {name} {}", quoted(&value)));
            }
        }
        Repeat(line)
    }

    /// The whole command.
    pub fn command(&self, config: &Config, test: &str) -> String {
        let config = quoted(&config.word);
        format!("{} --config {config} {}", self.0, quoted(test))
    }
}

/// A word as a POSIX shell takes it for itself.
fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => Cow::Borrowed(word),
        // Inside of single quotes nothing is special, and a single quote cannot stand there.
        false => Cow::Owned(format!("'{}'", word.replace('\'', r"'\''"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::fstests::config;
    use clap::Parser;
    use std::fs;

    fn args(words: &[&str]) -> Args {
        let line = ["cargo xtask", "run-xfstests"].iter().chain(words);
        match Cli::try_parse_from(line).map(|cli| cli.command) {
            Ok(Command::RunXfstests(args)) => *args,
            Ok(_) => panic!("another command"),
            Err(error) => panic!("{error}"),
        }
    }

    fn repo() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    /// What a shell makes of a line.
    fn words(line: &str) -> Vec<String> {
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("printf '%s\\0' {line}")])
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    #[test]
    fn nothing_is_said_that_is_usual() {
        let repeat = Repeat::new(&args(&["-g", "quick", "-i", "3", "--keep"]), None, 2);
        let config = config::load(repo(), "notblk-1k").unwrap();
        assert_eq!(
            repeat.command(&config, "generic/001"),
            "cargo xtask run-xfstests --config notblk-1k generic/001"
        );
    }

    #[test]
    fn what_changes_a_test_is_said_and_is_understood() {
        let given = [
            "--kernel=7.3",
            "--accel=tcg",
            "--cpus=3",
            "--memory=700",
            "--timeout=9",
            "-L=2",
        ];
        let suite = Path::new("/home/o'neill/my tests/$x");
        let repeat = Repeat::new(&args(&given), Some(suite), 3);
        let config = config::load(repo(), "notblk").unwrap();
        let line = repeat.command(&config, "generic/001");
        let said = words(&line);
        let said: Vec<&str> = said.iter().map(String::as_str).collect();
        assert_eq!(said[..3], ["cargo", "xtask", "run-xfstests"]);
        let again = args(&said[3..]);
        let before = args(&given);
        assert_eq!(again.kernel, before.kernel);
        assert_eq!(again.accel, before.accel);
        assert_eq!(again.cpus, before.cpus);
        assert_eq!(again.memory, before.memory);
        assert_eq!(again.timeout, before.timeout);
        assert_eq!(again.again, before.again);
        assert_eq!(again.xfstests.as_deref(), Some(suite));
        assert_eq!(again.configs, ["notblk"]);
        assert_eq!(again.tests, ["generic/001"]);
    }

    #[test]
    fn a_guest_that_shared_the_host_is_as_small_again() {
        let line = |words: &[&str]| Repeat::new(&args(words), None, 1).0;
        assert_eq!(line(&[]), COMMAND);
        assert_eq!(line(&["--shards=2"]), format!("{COMMAND} --cpus 1"));
    }

    #[test]
    fn a_configuration_of_the_users_own_is_named_by_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("of mine").join("notblk.toml");
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::copy(repo().join("qemu/fstests/notblk.toml"), &path).unwrap();
        let config = config::load(repo(), path.to_str().unwrap()).unwrap();
        assert_eq!(config.name, "notblk");
        let line = Repeat::new(&args(&[]), None, 2).command(&config, "generic/001");
        let said = words(&line);
        assert_eq!(said[3..5], ["--config", path.to_str().unwrap()]);
        assert!(config::load(repo(), &said[4]).is_ok());
    }

    #[test]
    fn quotes_where_a_shell_wants_them() {
        for word in ["generic/001", "ext4-noextent", "/a/b_c.toml", "7.3", "a=b"] {
            assert_eq!(quoted(word), word);
        }
        for word in [
            "", "a b", "a'b", "'", "$HOME", "~", "a*", "a;b", "a\nb", "ü", "\\", "\"", "#",
        ] {
            assert_ne!(quoted(word), word);
            assert_eq!(words(&quoted(word)), [word]);
        }
    }
}
