// SPDX-License-Identifier: GPL-2.0

//! A tampered image as a file: what a driver could not stand, and must stand for ever.

use crate::mutation::Mutation;
use serde::{Deserialize, Serialize};

/// A tampered image, and what is done with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What went wrong with it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The sound image that it was, by name.
    pub base: String,
    /// Mount options.
    pub options: String,
    /// Seed of what is done while it is mounted.
    pub work: u64,
    /// What is changed.
    #[serde(rename = "mutation", default)]
    pub mutations: Vec<Mutation>,
}

/// Those of `tests/hostile`: name and text of each file.
pub const KEPT: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/kept.rs"));

impl Case {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Case, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// Writes it down, with the license line that each of our files has.
    pub fn print(&self) -> Result<String, String> {
        let text = toml::to_string(self).map_err(|error| error.to_string())?;
        Ok(format!("# SPDX-License-Identifier: GPL-2.0\n{text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base;
    use crate::mutation::{Bytes, Change};

    #[test]
    fn a_case_survives_its_file() {
        let sound = [0_u8; 64];
        let changes = [
            Change::Bytes(Bytes(vec![1, 2])),
            Change::Copy { from: 1, length: 2 },
            Change::Fill {
                byte: 0xff,
                length: 3,
            },
        ];
        let case = Case {
            why: "it \"crashed\"\nbadly".into(),
            base: "plain-1k".into(),
            options: "ro,errors=continue".into(),
            work: 7,
            mutations: changes
                .into_iter()
                .map(|now| Mutation::new(&sound, "inode 12: i_mode".into(), 4, now))
                .collect(),
        };
        let text = case.print().unwrap();
        assert!(text.starts_with("# SPDX-License-Identifier"));
        assert_eq!(Case::parse(&text).unwrap(), case);
        assert!(Case::parse("base = 1").is_err());
    }

    #[test]
    fn the_kept_ones_can_be_read() {
        for (name, text) in KEPT {
            let case = Case::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(base::find(&case.base).is_some(), "{name}: {}", case.base);
            assert!(!case.why.is_empty(), "{name} does not say why it is kept");
        }
    }
}
