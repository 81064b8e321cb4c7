// SPDX-License-Identifier: GPL-2.0

//! The command line of `run-xfstests`: the suite's own words, and ours.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

use crate::vm::Accel;

/// Options of `run-xfstests`.
#[derive(clap::Args, Debug, Clone)]
#[command(
    after_help = "Without tests and -g, the group `auto` is run, as the suite does.\n\
    Exit codes: 0 no unexpected failure (with --baseline: none that the baseline has not); 1 a test failed; 2 usage; \
    3 the host or the guest could not be set up; 4 a test hung; 5 a kernel splat; 130 interrupted."
)]
pub struct Args {
    /// Tests, ranges and patterns: generic/001, generic/01?, ext4/*
    #[arg(value_name = "TEST")]
    pub tests: Vec<String>,
    /// Tests of these groups: quick, generic/quick (comma-separated, repeatable)
    #[arg(short = 'g', value_name = "GROUP", value_delimiter = ',')]
    pub groups: Vec<String>,
    /// But none of these groups
    #[arg(short = 'x', value_name = "GROUP", value_delimiter = ',')]
    pub not_groups: Vec<String>,
    /// But none of these tests (comma-separated, repeatable)
    #[arg(short = 'e', value_name = "TEST", value_delimiter = ',')]
    pub not_tests: Vec<String>,
    /// But none of the tests listed in this file
    #[arg(short = 'E', value_name = "FILE")]
    pub not_files: Vec<PathBuf>,
    /// Go N times round the list
    #[arg(short = 'i', value_name = "N")]
    pub rounds: Option<NonZeroU32>,
    /// Go N times round the list, but stop after a round with a failure
    #[arg(short = 'I', value_name = "N", conflicts_with = "rounds")]
    pub rounds_until_bad: Option<NonZeroU32>,
    /// Run a test that failed N more times
    #[arg(short = 'L', value_name = "N")]
    pub again: Option<NonZeroU32>,

    /// A configuration of qemu/fstests, by name, or a file of your own [default: notblk]
    #[arg(long = "config", value_name = "NAME")]
    pub configs: Vec<String>,
    /// Compare with this: a configuration (run as well), a kept run, or a results.json
    #[arg(long, value_name = "CONFIG|RUN|FILE")]
    pub baseline: Option<String>,
    /// The suite's tree, which you have built [default: XFSTESTS_DIR, else where the suite installs itself]
    #[arg(long, value_name = "DIR")]
    pub xfstests: Option<PathBuf>,

    /// Guests at a time
    #[arg(long, value_name = "N", default_value = "1")]
    pub shards: NonZeroU32,
    /// Only the i-th of n parts of the list, for several machines
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Go on with a run that was interrupted, under the options that it began with [default: the last one]
    #[arg(long, value_name = "RUN", num_args = 0..=1, default_missing_value = "latest",
          conflicts_with_all = ["tests", "groups", "not_groups", "not_tests", "not_files", "configs", "shard", "rounds",
                                "rounds_until_bad", "again", "baseline", "keep", "kernel", "accel", "memory", "cpus",
                                "shards", "dry_run"])]
    pub resume: Option<String>,
    /// Seconds that one test may take [default: ten times what it took before]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: Option<u64>,
    /// Give every test a guest of its own, and keep the disks of those that go bad
    #[arg(long)]
    pub keep: bool,

    /// The kernel: a name of qemu/kernels.toml, a series or version of the archive, `debug`, or `tree:DIR[@REVISION]`; with
    /// +FRAGMENT of qemu/kconfig its source is compiled [default: the file's default]
    #[arg(long, value_name = "KERNEL")]
    pub kernel: Option<String>,
    /// What runs the guest [default: KVM where it works]
    #[arg(long, value_enum)]
    pub accel: Option<Accel>,
    /// Memory of each guest in MiB [default: the configuration's]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(512..))]
    pub memory: Option<u32>,
    /// Processors of each guest [default: 2; without KVM no more in all than this host has]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub cpus: Option<u32>,

    /// Where runs are kept [default: results/xfstests in the repository]
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// Print the tests that would be run, and run none
    #[arg(short = 'n', long = "dry-run")]
    pub dry_run: bool,
    /// List the runs that are kept
    #[arg(long, conflicts_with_all = ["tests", "groups", "resume"])]
    pub list: bool,
    /// Show what differs between two kept runs
    #[arg(long, value_names = ["RUN", "RUN"], num_args = 2, conflicts_with_all = ["tests", "groups", "resume", "list"])]
    pub diff: Option<Vec<String>>,
    /// Join the runs of several machines (--shard) into a new one
    #[arg(long, value_name = "RUN", num_args = 2.., conflicts_with_all = ["tests", "groups", "resume", "list", "diff"])]
    pub merge: Option<Vec<String>>,
    /// Show the tables of a kept run again, and write its pages again [default: the last one]
    #[arg(long, value_name = "RUN", num_args = 0..=1, default_missing_value = "latest",
          conflicts_with_all = ["tests", "groups", "resume", "list", "diff"])]
    pub report: Option<String>,
}

/// Which part of how many, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// This one, from 1.
    pub part: u32,
    /// Of so many.
    pub of: u32,
}

impl From<Shard> for notblk_results::Shard {
    fn from(Shard { part, of }: Shard) -> Self {
        notblk_results::Shard { part, of }
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text
            .split_once('/')
            .and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((part, of)) if part >= 1 && part <= of => Ok(Shard { part, of }),
            _ => Err("a shard is like 2/5, from 1/5 to 5/5".into()),
        }
    }
}

impl Args {
    /// How often to go round the list.
    pub fn rounds(&self) -> u32 {
        let rounds = self.rounds.or(self.rounds_until_bad);
        rounds.map_or(1, NonZeroU32::get)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_one_of_them() {
        assert_eq!("2/5".parse(), Ok(Shard { part: 2, of: 5 }));
        for wrong in ["0/5", "6/5", "5", "a/b", "1/0", ""] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
