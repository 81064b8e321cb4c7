// SPDX-License-Identifier: GPL-2.0

//! What `--kernel` says.
//!
//! ```text
//! NAME     = SOURCE { "+" FRAGMENT } | "debug"
//! SOURCE   = a name, series or version of the archive ("7.3", "7.2.12")  |  "tree:" DIR [ "@" REVISION ]
//! FRAGMENT = a file of qemu/kconfig, without its ending
//! ```
//!
//! A kernel of the archive without fragments is the distribution's own image. With fragments its source is compiled, with
//! `base` and them; a tree always is. `debug` is the default kernel with the fragment of that name.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::errors::Exit;

/// The word before a developer's own tree.
const TREE: &str = "tree:";
/// A fragment, and a kernel by itself.
const DEBUG: &str = "debug";

/// A kernel, by what it is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Where its source comes from.
    pub source: Source,
    /// What is added to the base configuration; the distribution's own configuration where an archive's kernel has none.
    pub fragments: Vec<String>,
}

/// Where a kernel's source comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The archive: a name of `qemu/kernels.toml`, a series or a version; none for the default.
    Archive(Option<String>),
    /// A developer's git tree: its directory, and a revision unless its files as they are now are meant.
    Tree(PathBuf, Option<String>),
}

impl Name {
    /// Reads what the user wrote.
    pub fn parse(text: Option<&str>) -> Result<Name> {
        let Some(text) = text else {
            return Ok(Name {
                source: Source::Archive(None),
                fragments: Vec::new(),
            });
        };
        let (source, fragments) = fragments(text);
        let fragments = fragments.into_iter().map(str::to_owned);
        let wrong = |why: &str| {
            Exit::usage(format!("kernel {text:?}: {why}"))
                .hint("7.3, 7.2.12, debug, 7.3+kasan+lockdep, tree:DIR, tree:DIR@REVISION+debug")
        };
        if let Some(tree) = source.strip_prefix(TREE) {
            let (dir, revision) = match tree.rsplit_once('@') {
                // A directory may have the sign in its name.
                Some((dir, revision)) if !Path::new(tree).is_dir() => (dir, Some(revision)),
                _ => (tree, None),
            };
            if dir.is_empty() {
                return Err(wrong("no directory is named").into());
            }
            if revision.is_some_and(str::is_empty) {
                return Err(wrong("no revision follows the @").into());
            }
            return Ok(Name {
                source: Source::Tree(home(dir), revision.map(str::to_owned)),
                fragments: fragments.collect(),
            });
        }
        if source.is_empty() {
            return Err(wrong("no source is named").into());
        }
        if source == DEBUG {
            return Ok(Name {
                source: Source::Archive(None),
                fragments: [DEBUG.to_owned()].into_iter().chain(fragments).collect(),
            });
        }
        Ok(Name {
            source: Source::Archive(Some(source.to_owned())),
            fragments: fragments.collect(),
        })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Archive(None) => f.write_str("default")?,
            Source::Archive(Some(name)) => f.write_str(name)?,
            Source::Tree(dir, None) => write!(f, "{TREE}{}", dir.display())?,
            Source::Tree(dir, Some(revision)) => write!(f, "{TREE}{}@{revision}", dir.display())?,
        }
        self.fragments
            .iter()
            .try_for_each(|name| write!(f, "+{name}"))
    }
}

/// Parts the fragments from a name: at each `+` that is followed by a word, from the end. `7.3.4+deb13-amd64` is a release of
/// the archive, and whole.
fn fragments(text: &str) -> (&str, Vec<&str>) {
    let mut source = text;
    let mut fragments = Vec::new();
    while let Some((before, word)) = source.rsplit_once('+') {
        let is_word = word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        if word.is_empty() || !is_word || Path::new(source.trim_start_matches(TREE)).is_dir() {
            break;
        }
        fragments.insert(0, word);
        source = before;
    }
    (source, fragments)
}

/// A directory as a shell would expand it, had it no prefix.
fn home(dir: &str) -> PathBuf {
    match (dir.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => dir.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Name {
        Name::parse(Some(text)).unwrap()
    }

    fn archive(name: &str, fragments: &[&str]) -> Name {
        Name {
            source: Source::Archive(Some(name.into())),
            fragments: fragments.iter().map(|&f| f.into()).collect(),
        }
    }

    #[test]
    fn kernels_of_the_archive() {
        assert_eq!(parse("7.3"), archive("7.3", &[]));
        assert_eq!(
            parse("7.3+kasan+lockdep"),
            archive("7.3", &["kasan", "lockdep"])
        );
        assert_eq!(
            parse("7.3.4+deb13-amd64+kasan"),
            archive("7.3.4+deb13-amd64", &["kasan"])
        );
        assert_eq!(
            parse("7.3.4+deb13-amd64"),
            archive("7.3.4+deb13-amd64", &[])
        );
    }

    #[test]
    fn debug_is_the_default_kernel_with_its_fragment() {
        let debug = Name::parse(Some("debug+kunit")).unwrap();
        assert_eq!(debug.source, Source::Archive(None));
        assert_eq!(debug.fragments, ["debug", "kunit"]);
    }

    #[test]
    fn trees_with_and_without_revision() {
        let tree = |dir: &str, revision: Option<&str>| {
            Source::Tree(dir.into(), revision.map(str::to_owned))
        };
        assert_eq!(parse("tree:/no/linux").source, tree("/no/linux", None));
        let name = parse("tree:/no/linux@v7.3-rc1+debug");
        assert_eq!(name.source, tree("/no/linux", Some("v7.3-rc1")));
        assert_eq!(name.fragments, ["debug"]);
        assert_eq!(name.to_string(), "tree:/no/linux@v7.3-rc1+debug");
    }

    #[test]
    fn a_directory_keeps_the_signs_in_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("linux@home+kasan");
        std::fs::create_dir(&odd).unwrap();
        let name = parse(&format!("tree:{}", odd.display()));
        assert_eq!(name.source, Source::Tree(odd.clone(), None));
        assert!(name.fragments.is_empty());
        let name = parse(&format!("tree:{}+lockdep", odd.display()));
        assert_eq!(name.source, Source::Tree(odd, None));
        assert_eq!(name.fragments, ["lockdep"]);
    }

    #[test]
    fn what_cannot_be_a_kernel_is_a_usage_error() {
        for text in ["tree:", "tree:@v1", "tree:/no/linux@", "", "+kasan"] {
            let error = Name::parse(Some(text)).unwrap_err();
            let exit = crate::errors::classify(&error);
            assert_eq!(exit.code, crate::errors::Code::USAGE, "{text}");
        }
    }
}
