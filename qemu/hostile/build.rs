// SPDX-License-Identifier: GPL-2.0
//! Makes a table of the kept images, so that a file laid into `tests/hostile` is a test.

use std::{env, fmt::Write, fs, path::Path};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../tests/hostile");
    println!("cargo::rerun-if-changed={}", dir.display());
    let mut files: Vec<_> = fs::read_dir(&dir)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let mut table = String::from("&[\n");
    for file in files {
        let (Some(name), Some("toml")) = (
            file.file_stem().and_then(|name| name.to_str()),
            file.extension().and_then(|extension| extension.to_str()),
        ) else {
            continue;
        };
        let path = fs::canonicalize(&file)?;
        writeln!(table, "    ({name:?}, include_str!({path:?})),")?;
    }
    table.push_str("]\n");
    fs::write(Path::new(&env::var("OUT_DIR")?).join("kept.rs"), table)?;
    Ok(())
}
