// SPDX-License-Identifier: GPL-2.0

//! Configurations: which driver serves which format under which name, one TOML file each in `qemu/fstests/`.
//!
//! What the suite is told (its environment) and what the guest does before (mkfs of TEST) come from the same few words,
//! so that TEST and SCRATCH are alike.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use notblk_protocol::SuiteSpec;
use serde::Deserialize;

use crate::errors::Exit;

pub use notblk_protocol::Driver;

/// Where the configurations are, below the repository.
const DIR: &str = "qemu/fstests";
/// Files in there that are something else.
const OTHERS: [&str; 2] = ["exclusions", "root"];
/// Words that the agent sets, and a configuration must not.
const AGENTS: [&str; 8] = [
    "FSTYP",
    "TEST_DEV",
    "TEST_DIR",
    "SCRATCH_DEV",
    "SCRATCH_MNT",
    "LOGWRITES_DEV",
    "RESULT_BASE",
    "HOST_OPTIONS",
];
/// Words that come from fields of their own.
const FIELDS: [&str; 3] = ["MKFS_OPTIONS", "MOUNT_OPTIONS", "TEST_FS_MOUNT_OPTS"];

/// A configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its name, which is its file's.
    pub name: String,
    /// What names it to `--config`, in whatever directory: its name, or the whole path of a file of the user's own.
    pub word: String,
    /// The driver that must serve TEST and SCRATCH.
    pub driver: Driver,
    /// The file system type that is mounted, and that the suite is told of.
    pub fstyp: String,
    /// Sizes of the disks.
    pub disks: Disks,
    /// The guest's memory in MiB.
    pub memory: u32,
    module_parameters: Vec<String>,
    mkfs_options: String,
    mount_options: Option<String>,
    env: BTreeMap<String, String>,
}

/// A configuration's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    /// What it is, in one line, for whoever reads the file.
    description: String,
    driver: Driver,
    fstyp: String,
    /// Parameters of `notblk.ko`.
    #[serde(default)]
    module_parameters: Vec<String>,
    /// Options of mkfs, for TEST and for what the suite makes itself. They name every feature, so that images are the same
    /// by whichever name mke2fs is called: the suite calls mkfs.ext4 for ext2 at times.
    mkfs_options: String,
    /// Mount options, like `drain=on`. Absent: the suite's own defaults for the type.
    mount_options: Option<String>,
    /// More of the suite's environment.
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    disks: Disks,
    #[serde(default = "memory")]
    memory: u32,
}

/// Sizes of the disks in MiB. They are sparse files: a size costs nothing until it is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Disks {
    /// `TEST_DEV`.
    pub test: u64,
    /// `SCRATCH_DEV`.
    pub scratch: u64,
    /// `LOGWRITES_DEV`; 0 for none.
    pub logwrites: u64,
}

impl Default for Disks {
    /// Enough for all but a handful of tests, which want 16 GiB and more; small enough that e2fsck, which follows each
    /// test, is quick under TCG.
    fn default() -> Self {
        Disks {
            test: 5120,
            scratch: 5120,
            logwrites: 5120,
        }
    }
}

fn memory() -> u32 {
    2048
}

impl Config {
    /// The suite's environment, but for what the agent adds.
    pub fn suite_env(&self) -> BTreeMap<String, String> {
        self.env.clone()
    }

    /// The order for one boot: these tests, and these words for `check` before them.
    pub fn spec(&self, tests: Vec<String>, check_args: Vec<String>) -> SuiteSpec {
        SuiteSpec {
            fstyp: self.fstyp.clone(),
            module_parameters: self.module_parameters.clone(),
            env: self.suite_env(),
            mkfs: self.mkfs(),
            mount_options: self.mount_options.clone().unwrap_or_default(),
            tests,
            check_args,
        }
    }

    /// The command that makes TEST, without the device.
    fn mkfs(&self) -> Vec<String> {
        let program = match self.fstyp.as_str() {
            "ext2" | "ext3" | "ext4" => vec!["mke2fs".to_owned(), "-t".into(), self.fstyp.clone()],
            other => vec![format!("mkfs.{other}")],
        };
        let options = ["-q", "-F"]
            .into_iter()
            .chain(self.mkfs_options.split_whitespace());
        program
            .into_iter()
            .chain(options.map(str::to_owned))
            .collect()
    }

    fn parse(text: &str, name: &str, path: &Path) -> Result<Self> {
        let wrong = |why: &str| {
            let why = why.trim().replace('\n', " ");
            Exit::usage(format!("{}: {why}", path.display()))
                .hint("the other files of qemu/fstests show what a configuration has")
        };
        let file: File = toml::from_str(text).map_err(|e| wrong(e.message()))?;
        for (field, value) in [("description", &file.description), ("fstyp", &file.fstyp)] {
            if value.trim().is_empty() {
                return Err(wrong(&format!("{field} is empty")).into());
            }
        }
        for key in file.env.keys().map(String::as_str) {
            if AGENTS.contains(&key) {
                return Err(wrong(&format!("env.{key} is set by the guest")).into());
            }
            if FIELDS.contains(&key) {
                let why = format!("env.{key} has a field: mkfs-options, or mount-options");
                return Err(wrong(&why).into());
            }
        }
        if file.driver == Driver::Ext4 && !file.module_parameters.is_empty() {
            return Err(wrong("module-parameters are notblk's, but the driver is ext4").into());
        }
        if file.disks.test < 64 || file.disks.scratch < 64 || file.memory < 256 {
            return Err(wrong("TEST and SCRATCH need 64 MiB, and the guest 256").into());
        }
        let mut env = file.env;
        env.insert("MKFS_OPTIONS".into(), file.mkfs_options.clone());
        if let Some(options) = file.mount_options.as_deref().filter(|o| !o.is_empty()) {
            env.insert("MOUNT_OPTIONS".into(), format!("-o {options}"));
            env.insert("TEST_FS_MOUNT_OPTS".into(), format!("-o {options}"));
        }
        Ok(Config {
            name: name.to_owned(),
            word: name.to_owned(),
            driver: file.driver,
            fstyp: file.fstyp,
            env,
            disks: file.disks,
            memory: file.memory,
            module_parameters: file.module_parameters,
            mkfs_options: file.mkfs_options,
            mount_options: file.mount_options,
        })
    }
}

/// The configuration called `name`, or the one in the TOML file of that path.
pub fn load(repo: &Path, name: &str) -> Result<Config> {
    let is_path = name.ends_with(".toml") || name.contains('/');
    let path = match is_path {
        true => PathBuf::from(name),
        false => file_of(repo, name),
    };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    if !path.is_file() || OTHERS.contains(&&*stem) {
        return Err(Exit::usage(format!("there is no configuration {name:?}"))
            .hint(format!(
                "qemu/fstests has {}; the path of a TOML file is good as well",
                names(repo)?.join(", ")
            ))
            .into());
    }
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let shown = path.strip_prefix(repo).unwrap_or(&path);
    let mut config = Config::parse(&text, &stem, shown)?;
    if is_path {
        let whole = path
            .canonicalize()
            .with_context(|| format!("cannot find {}", path.display()))?;
        // One of the repository's own stays so, whichever way it was named.
        if whole
            != file_of(repo, &config.name)
                .canonicalize()
                .unwrap_or_default()
        {
            config.word = whole.display().to_string();
        }
    }
    Ok(config)
}

/// The configurations of these names and paths, each once. Results are told apart by the configuration's name: two files that
/// have the same are refused.
pub fn load_all(repo: &Path, names: &[String]) -> Result<Vec<Config>> {
    let mut configs: Vec<Config> = Vec::new();
    for name in names {
        let config = load(repo, name)?;
        match configs.iter().find(|other| other.name == config.name) {
            None => configs.push(config),
            Some(other) if other.word == config.word => {}
            Some(other) => {
                return Err(Exit::usage(format!(
                    "two configurations are called {}: --config {} and --config {}",
                    config.name, other.word, config.word
                ))
                .hint("results are kept by that name: rename one of the files, or run them one after the other")
                .into());
            }
        }
    }
    Ok(configs)
}

/// Where the repository's own configuration of that name is.
fn file_of(repo: &Path, name: &str) -> PathBuf {
    repo.join(DIR).join(format!("{name}.toml"))
}

/// The names of all configurations of the repository, sorted.
pub fn names(repo: &Path) -> Result<Vec<String>> {
    let dir = repo.join(DIR);
    let entries = fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(stem) = name.strip_suffix(".toml") {
            if !OTHERS.contains(&stem) {
                names.push(stem.to_owned());
            }
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::{classify, Code};

    fn repo() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
    }

    fn parse(text: &str) -> Result<Config> {
        Config::parse(text, "x", Path::new("x.toml"))
    }

    const GOOD: &str =
        "description = 'd'\ndriver = 'notblk'\nfstyp = 'ext2'\nmkfs-options = '-b 1024'\n";

    #[test]
    fn the_repositorys_own_are_sound() {
        let names = names(repo()).unwrap();
        let configs: Vec<Config> = names.iter().map(|n| load(repo(), n).unwrap()).collect();
        let names: Vec<&str> = configs.iter().map(|c| c.name.as_str()).collect();
        for name in [
            "as-ext4",
            "ext4-noextent",
            "ext4-noextent-nojournal",
            "native",
            "notblk",
            "notblk-1k",
            "notblk-64k",
            "notblk-nodrain",
        ] {
            assert!(names.contains(&name), "{name}");
        }
        let of = |name: &str| configs.iter().find(|c| c.name == name).unwrap();
        // The control is comparable test by test only where the suite sees the same type and the same image.
        let (ours, control) = (of("notblk"), of("ext4-noextent-nojournal"));
        assert_eq!(ours.fstyp, control.fstyp);
        assert_eq!(ours.mkfs_options, control.mkfs_options);
        assert_eq!(ours.disks, control.disks);
        assert_eq!(ours.memory, control.memory);
        assert_eq!(
            ours.mkfs_options,
            of("ext4-noextent").mkfs_options.replace("has_journal,", "")
        );
    }

    #[test]
    fn the_order_for_the_guest() {
        let config = load(repo(), "notblk-nodrain").unwrap();
        let spec = config.spec(vec!["generic/001".into()], vec!["-L".into(), "2".into()]);
        let options = "acl,user_xattr,drain=off";
        assert_eq!(spec.fstyp, "ext2");
        assert_eq!(spec.module_parameters, ["alias=ext2"]);
        assert_eq!(spec.env["MOUNT_OPTIONS"], format!("-o {options}"));
        assert_eq!(spec.env["TEST_FS_MOUNT_OPTS"], format!("-o {options}"));
        assert_eq!(spec.env["MKFS_OPTIONS"], config.mkfs_options);
        assert_eq!(spec.mkfs[..5], ["mke2fs", "-t", "ext2", "-q", "-F"]);
        assert_eq!(spec.mkfs[5..].join(" "), config.mkfs_options);
        assert_eq!(spec.mount_options, options);
        assert_eq!(spec.tests, ["generic/001"]);
        assert_eq!(spec.check_args, ["-L", "2"]);

        // Where nothing is said of mount options, the suite's own hold.
        for name in ["notblk", "ext4-noextent-nojournal", "native"] {
            assert!(
                !load(repo(), name)
                    .unwrap()
                    .env
                    .contains_key("MOUNT_OPTIONS"),
                "{name}"
            );
        }
        let native = load(repo(), "native").unwrap();
        assert_eq!(native.spec(vec![], vec![]).mkfs[0], "mkfs.notblk");
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        for name in ["nothing", "root", "exclusions", "no/such.toml"] {
            let exit = classify(&load(repo(), name).unwrap_err());
            assert_eq!(exit.code, Code::USAGE);
            assert!(exit.line.contains(name));
            assert!(exit.hint.unwrap().contains("ext4-noextent, "));
        }
    }

    #[test]
    fn a_file_of_the_users_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.toml");
        fs::write(
            &path,
            GOOD.to_owned() + "memory = 512\n[disks]\ntest = 700\n",
        )
        .unwrap();
        let config = load(repo(), path.to_str().unwrap()).unwrap();
        assert_eq!(config.name, "mine");
        assert_eq!(config.memory, 512);
        assert_eq!(config.disks.test, 700);
        assert_eq!(config.disks.scratch, Disks::default().scratch);
    }

    #[test]
    fn one_name_is_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        fs::create_dir(path("sub")).unwrap();
        for name in ["notblk.toml", "mine.toml", "sub/mine.toml"] {
            fs::write(path(name), GOOD).unwrap();
        }
        let own = repo().join(DIR).join("notblk.toml");
        let load = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            load_all(repo(), &names)
        };
        let same = [
            path("mine.toml"),
            path("sub/../mine.toml"),
            "notblk".into(),
            own.to_str().unwrap().into(),
        ];
        let configs = load(&same.each_ref().map(String::as_str)).unwrap();
        let words: Vec<&str> = configs.iter().map(|c| c.word.as_str()).collect();
        let whole = fs::canonicalize(path("mine.toml")).unwrap();
        assert_eq!(words, [whole.to_str().unwrap(), "notblk"]);

        let theirs = [("notblk", path("notblk.toml"))];
        let mine = path("mine.toml");
        for (one, other) in theirs
            .iter()
            .map(|(one, other)| (*one, other))
            .chain([(mine.as_str(), &path("sub/mine.toml"))])
        {
            for names in [[one, other], [other, one]] {
                let exit = classify(&load(&names).unwrap_err());
                assert_eq!(exit.code, Code::USAGE);
                assert!(exit.line.contains("two configurations"), "{}", exit.line);
                assert!(!exit.line.contains('\n'));
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (more, words) in [
            ("drain = 'on'\n", "unknown field"),
            ("[env]\nTEST_DEV = '/dev/vdb'\n", "env.TEST_DEV"),
            ("[env]\nMKFS_OPTIONS = '-b 1024'\n", "has a field"),
            ("[disks]\nscratch = 1\n", "64 MiB"),
        ] {
            let exit = classify(&parse(&(GOOD.to_owned() + more)).unwrap_err());
            assert_eq!(exit.code, Code::USAGE);
            assert!(exit.line.contains(words), "{}", exit.line);
        }
        for (from, to) in [
            ("'d'", "' '"),
            ("'ext2'", "''"),
            ("'notblk'", "'btrfs'"),
            ("fstyp", "fstype"),
        ] {
            assert!(parse(&GOOD.replace(from, to)).is_err(), "{to}");
        }
        let ext4 = GOOD.replace("'notblk'", "'ext4'") + "module-parameters = ['alias=ext4']\n";
        assert!(parse(&ext4).is_err());
        assert!(parse(GOOD).is_ok());
    }
}
