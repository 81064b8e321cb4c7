// SPDX-License-Identifier: GPL-2.0
//! The same filesystem by two drivers: ours writes and the kernel's C driver reads, and the reverse.

use super::env::Env;
use super::{for_blocks, tree, Test};
use crate::fs::{Mounted, DISK, MNT};
use crate::modules;
use anyhow::{ensure, Context, Result};
use std::path::Path;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    tests.extend(for_blocks(
        &[1024, 4096, 16384],
        "cross/written-here-read-by-ext4",
        here_to_there,
    ));
    tests.extend(for_blocks(
        &[1024, 4096, 16384],
        "cross/written-by-ext4-read-here",
        there_to_here,
    ));
    tests.extend(for_blocks(
        &[1024, 4096],
        "cross/changed-by-both",
        changed_by_both,
    ));
    tests
}

fn here_to_there(env: &Env) -> Result<()> {
    modules::load("ext4", &[])?;
    compare(env, env.driver().name(), "ext4")
}

fn there_to_here(env: &Env) -> Result<()> {
    modules::load("ext4", &[])?;
    compare(env, "ext4", env.driver().name())
}

/// One driver writes, both read, and they must agree.
fn compare(env: &Env, writer: &str, reader: &str) -> Result<()> {
    let root = Path::new(MNT);
    let mounted = Mounted::of_type(writer, DISK, MNT, "")?;
    tree::write(root, env.block(), env.seed)?;
    // What is in memory, as far as it is told before it has gone to the disk: nobody has read anything yet.
    let kept = tree::kept(root)?;
    mounted.end()?;
    // Reading changes no time, then.
    let mounted = Mounted::of_type(writer, DISK, MNT, "ro")?;
    let written = tree::manifest(root)?;
    mounted.end()?;
    let mounted = Mounted::of_type(reader, DISK, MNT, "ro")?;
    let read = tree::manifest(root)?;
    let again = tree::kept(root)?;
    mounted.end()?;
    same(&written, &read)?;
    alike(&kept, &again)
        .with_context(|| format!("{writer} before it wrote, {reader} from the disk"))
}

/// Asks that two manifests are equal, and shows the first lines that are not.
fn same(written: &[String], read: &[String]) -> Result<()> {
    ensure!(
        written.len() > 100,
        "the tree has only {} files",
        written.len()
    );
    alike(written, read)
}

/// The same for any number of lines.
fn alike(written: &[String], read: &[String]) -> Result<()> {
    let different: Vec<_> = written
        .iter()
        .zip(read)
        .filter(|(one, other)| one != other)
        .take(3)
        .map(|(one, other)| format!("- {one}\n+ {other}"))
        .collect();
    ensure!(
        different.is_empty(),
        "lines differ:\n{}",
        different.join("\n")
    );
    ensure!(
        written.len() == read.len(),
        "{} files were written, {} are read",
        written.len(),
        read.len()
    );
    Ok(())
}

/// Each changes what the other has written.
fn changed_by_both(env: &Env) -> Result<()> {
    modules::load("ext4", &[])?;
    let here = env.driver().name();
    let root = Path::new(MNT);
    let mounted = Mounted::of_type(here, DISK, MNT, "")?;
    tree::write(root, env.block(), env.seed)?;
    mounted.end()?;
    for round in 0..4 {
        let kind = if round % 2 == 0 { "ext4" } else { here };
        let mounted = Mounted::of_type(kind, DISK, MNT, "")?;
        std::fs::create_dir(root.join(format!("round-{round}")))?;
        tree::write(
            &root.join(format!("round-{round}")),
            env.block(),
            env.seed + round,
        )?;
        if round > 0 {
            std::fs::remove_dir_all(root.join(format!("round-{}", round - 1)))?;
        }
        mounted.end()?;
        if let Some(complaint) = crate::fs::check(DISK)? {
            anyhow::bail!("after round {round} by {kind}: {complaint}");
        }
    }
    Ok(())
}
