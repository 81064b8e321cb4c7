// SPDX-License-Identifier: GPL-2.0

//! Writes what the fuzzer begins with: blocks of sound filesystems, into `corpus/TARGET`.

use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let images = here.join("target/images");
    let seeds = notblk_host_tests::seeds::all(&images).map_err(io::Error::other)?;
    fs::remove_dir_all(&images)?;
    for (number, (target, seed)) in seeds.iter().enumerate() {
        let dir = here.join("corpus").join(target);
        fs::create_dir_all(&dir)?;
        fs::write(dir.join(format!("seed-{number}")), seed)?;
    }
    println!("{} seeds", seeds.len());
    Ok(())
}
