// SPDX-License-Identifier: GPL-2.0

//! Finding and reading specs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use notblk_race::Spec;

use crate::context::Ctx;
use crate::errors::Exit;

/// Ending of their files.
const ENDING: &str = "race";

/// Those named, by name or path; of none, all of `tests/race`.
pub fn read(ctx: &Ctx, names: &[String]) -> Result<Vec<Spec>> {
    let directory = ctx.repo.join("tests/race");
    if names.is_empty() {
        return all(&directory)?.iter().map(|path| one(path)).collect();
    }
    names
        .iter()
        .map(|name| one(&find(&directory, name)?))
        .collect()
}

/// The one named.
pub fn read_one(ctx: &Ctx, name: &str) -> Result<Spec> {
    let directory = ctx.repo.join("tests/race");
    one(&find(&directory, name)?)
}

/// All in the directory, in order of their names.
fn all(directory: &Path) -> Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == ENDING) {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    };
    read().with_context(|| format!("cannot read {}", directory.display()))
}

fn find(directory: &Path, name: &str) -> Result<PathBuf> {
    let ours = directory.join(name).with_extension(ENDING);
    if !name.contains('/') && !name.ends_with(".race") && ours.exists() {
        return Ok(ours);
    }
    let path = PathBuf::from(name);
    if path.is_file() {
        return Ok(path);
    }
    let known: Vec<String> = all(directory)?
        .iter()
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    Err(Exit::usage(format!("there is no race spec {name}"))
        .hint(format!("tests/race has {}", known.join(", ")))
        .into())
}

fn one(path: &Path) -> Result<Spec> {
    let text = fs::read_to_string(path)
        .map_err(|error| Exit::usage(format!("cannot read {}: {error}", path.display())))?;
    let parsed = notblk_race::parse(&text);
    parsed.map_err(|error| Exit::usage(format!("{}: {error}", path.display())).into())
}
