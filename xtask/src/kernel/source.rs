// SPDX-License-Identifier: GPL-2.0

//! The source of an archive's kernel, whole enough to be compiled.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::packages::{fetch, remove_all};
use crate::cache;
use crate::context::Ctx;
use crate::kernels::Locked;
use crate::process;

/// Part of the key: to be raised when it is unpacked in another way.
const RECIPE: &str = "1";
/// What it takes, with its package.
const SPACE: u64 = 1_500_000_000;

/// Unpacks the source that is packed in the package given, into the current directory.
///
/// Left out is what no kernel that QEMU boots on x86 needs: other architectures, and most drivers. Their Kconfig files and
/// Makefiles stay, for the configuration reads all of them.
const UNPACK: &str = r#"
    dpkg-deb --fsys-tarfile "$1" |
    tar -xO --wildcards './usr/src/linux-source-*.tar.xz' |
    xz -dc -T0 |
    tar -x --strip-components=1 \
        --exclude='linux-source-*/Documentation/*/*' \
        --exclude='linux-source-*/drivers/gpu/*.[ch]' \
        --exclude='linux-source-*/drivers/infiniband/*.[ch]' \
        --exclude='linux-source-*/drivers/media/*.[ch]' \
        --exclude='linux-source-*/drivers/net/ethernet/*.[ch]' \
        --exclude='linux-source-*/drivers/net/wireless/*.[ch]' \
        --exclude='linux-source-*/drivers/staging/*.[ch]' \
        --exclude='linux-source-*/sound/*.[ch]' \
        --exclude='linux-source-*/tools/testing/*' \
        --exclude='linux-source-*/arch/[!x]*/*.[chS]' \
        --exclude='linux-source-*/arch/*/boot/dts/*'
"#;

/// The source of the kernel of these packages; fetched and unpacked where it is missing.
pub fn provide(ctx: &Ctx, name: &str, locked: &Locked) -> Result<PathBuf> {
    let package = locked.tree.last().context("a kernel without a source")?;
    let entry = format!(
        "source-{}-{}",
        locked.release,
        cache::key(&[RECIPE, &package.sha256])
    );
    if ctx.cache.get(&entry).is_none() {
        // Before the kernel's lock is taken: others may wait for the toolbox only.
        ctx.toolbox()?;
    }
    let what = format!("unpacks the source of kernel {name}");
    let dir = ctx
        .cache
        .get_or_make(&ctx.ui, &entry, &what, SPACE, |tmp| {
            make(ctx, name, locked, tmp)
        })?;
    Ok(dir.join("linux"))
}

fn make(ctx: &Ctx, name: &str, locked: &Locked, tmp: &Path) -> Result<()> {
    let toolbox = ctx.toolbox()?;
    let step = ctx
        .ui
        .step(&format!("kernel {name}"), "fetching the source");
    let log = ctx.cache.log("kernel");
    let package = locked.tree.last().context("a kernel without a source")?;
    let debs = fetch(ctx, &step, &toolbox, std::slice::from_ref(package), tmp)?;
    step.now("unpacking the source");
    let linux = tmp.join("linux");
    std::fs::create_dir(&linux)?;
    let mut untar = toolbox
        .command("bash")
        .args(["-euo", "pipefail", "-c", UNPACK, "bash"])
        .args(&debs)
        .cwd(&linux)
        .build();
    process::run(&step, &log, "unpacking the kernel's source", &mut untar)?;
    remove_all(&debs)?;
    step.done(&format!("the source of {} is there", locked.release));
    Ok(())
}
