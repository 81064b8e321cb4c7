// SPDX-License-Identifier: GPL-2.0

//! The distribution's own kernels: the image as it was published, and a tree to build modules for it.
//!
//! A distribution's headers alone cannot build a Rust module, so the build tree is the kernel's source, configured as
//! the image was, with `make modules_prepare` run on it by the compilers that made the image. Its Rust symbols then
//! carry the image's hashes.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::{ensure, Context, Result};

use super::packages::{fetch, remove_all, unpack};
use super::toolchain::Toolchain;
use super::{image, parallelism, Kernel, NoRust, Want};
use crate::cache;
use crate::context::Ctx;
use crate::errors::Exit;
use crate::kernels::{Locked, Package};
use crate::process;
use crate::toolbox;

/// Part of every kernel's key: to be raised when the way they are prepared changes.
const RECIPE: &str = "1";
/// What an unpacked kernel takes, with its packages.
const BOOT_SPACE: u64 = 500_000_000;
/// What a prepared tree takes, with its packages.
const TREE_SPACE: u64 = 1_200_000_000;

/// The kernel of these packages; fetched and prepared where it is missing.
pub fn obtain(ctx: &Ctx, name: &str, locked: &Locked, want: Want) -> Result<Kernel> {
    let release = &locked.release;
    let what = format!("prepares kernel {name}");
    if !present(ctx, locked, want) {
        // Before any kernel's lock is taken: others may wait for the toolbox only.
        ctx.toolbox()?;
    }
    let dir = ctx
        .cache
        .get_or_make(&ctx.ui, &boot_entry(locked), &what, BOOT_SPACE, |tmp| {
            make_boot(ctx, name, locked, tmp)
        })?;
    let mut kernel = Kernel {
        name: name.to_owned(),
        release: release.clone(),
        image: dir.join("vmlinuz"),
        config: dir.join("config"),
        modules: dir.join("lib/modules").join(release),
        tree: None,
        toolchain: Toolchain::default(),
        id: dir.to_string_lossy().into_owned(),
        _lock: None,
    };
    let pvh = kernel.has("CONFIG_PVH")?;
    kernel.image = image::fastest(ctx, &boot_entry(locked), &dir.join("vmlinuz"), pvh)?;
    if want == Want::Tree {
        if !kernel.has("CONFIG_RUST")? {
            let exit = Exit::usage(format!(
                "kernel {release} is built without Rust (CONFIG_RUST is not set): notblk cannot be built for it"
            ))
            .hint("use `--driver ext4` with this kernel, or choose another");
            return Err(anyhow::Error::from(exit).context(NoRust));
        }
        let entry = tree_entry(locked, &toolbox::entry(ctx)?);
        let dir = ctx
            .cache
            .get_or_make(&ctx.ui, &entry, &what, TREE_SPACE, |tmp| {
                make_tree(ctx, &kernel, locked, tmp)
            })?;
        kernel.tree = Some(dir.join("linux"));
    }
    Ok(kernel)
}

/// True where what is wanted of the kernel is in the cache.
pub fn present(ctx: &Ctx, locked: &Locked, want: Want) -> bool {
    let entry = match want {
        Want::BootOnly => Ok(boot_entry(locked)),
        Want::Tree => toolbox::entry(ctx).map(|toolbox| tree_entry(locked, &toolbox)),
    };
    entry.is_ok_and(|entry| ctx.cache.get(&entry).is_some())
}

fn boot_entry(locked: &Locked) -> String {
    let key = cache::key(&[RECIPE, &sums(&locked.boot)]);
    format!("kernel-{}-{key}", locked.release)
}

/// The compilers are part of what a tree is made from, so the toolbox is part of its key.
fn tree_entry(locked: &Locked, toolbox: &str) -> String {
    let key = cache::key(&[RECIPE, &sums(&locked.tree), toolbox]);
    format!("tree-{}-{key}", locked.release)
}

fn sums(packages: &[Package]) -> String {
    packages.iter().map(|p| p.sha256.as_str()).collect()
}

/// Unpacks what is needed to boot.
fn make_boot(ctx: &Ctx, name: &str, locked: &Locked, tmp: &Path) -> Result<()> {
    let toolbox = ctx.toolbox()?;
    let step = ctx.ui.step(
        &format!("kernel {name}"),
        "fetching the image and its modules",
    );
    let log = ctx.cache.log("kernel");
    let debs = fetch(ctx, &step, &toolbox, &locked.boot, tmp)?;
    step.now("unpacking the image and its modules");
    let x = tmp.join("x");
    for deb in &debs {
        unpack(&step, &log, &toolbox, deb, &x)?;
    }
    // Newer packages have all in one place, older ones the image and its configuration in /boot.
    let release = &locked.release;
    let modules = tmp.join("lib/modules");
    fs::create_dir_all(&modules)?;
    let modules = modules.join(release);
    fs::rename(x.join("usr/lib/modules").join(release), &modules)
        .with_context(|| format!("the packages of kernel {release} hold no modules"))?;
    for file in ["vmlinuz", "config"] {
        let split = modules.join(file);
        let whole = x.join(format!("boot/{file}-{release}"));
        let from = if split.exists() { split } else { whole };
        fs::rename(from, tmp.join(file))
            .with_context(|| format!("the packages of kernel {release} hold no {file}"))?;
    }
    process::run(
        &step,
        &log,
        "indexing the modules",
        &mut toolbox
            .command("depmod")
            .arg("-b")
            .arg(tmp)
            .arg(release)
            .cwd("/")
            .build(),
    )?;
    fs::remove_dir_all(x)?;
    remove_all(&debs)?;
    step.done(&format!("{release} can be booted"));
    Ok(())
}

/// Unpacks and prepares the build tree.
fn make_tree(ctx: &Ctx, kernel: &Kernel, locked: &Locked, tmp: &Path) -> Result<()> {
    let toolbox = ctx.toolbox()?;
    let step = ctx
        .ui
        .step(&format!("kernel {}", kernel.name), "fetching the source");
    let log = ctx.cache.log("kernel");
    let debs = fetch(ctx, &step, &toolbox, &locked.tree, tmp)?;
    step.now("unpacking the source");
    let [headers, source] = &debs[..] else {
        anyhow::bail!("a tree is made from two packages");
    };
    let x = tmp.join("x");
    unpack(&step, &log, &toolbox, headers, &x)?;
    let tree = tmp.join("linux");
    fs::create_dir(&tree)?;
    let mut untar = toolbox
        .command("bash")
        .args(["-euo", "pipefail", "-c", UNPACK_SOURCE, "bash"])
        .arg(source)
        .cwd(&tree)
        .build();
    process::run(&step, &log, "unpacking the kernel's source", &mut untar)?;
    remove_all(&debs)?;
    let from = x
        .join("usr/src")
        .join(format!("linux-headers-{}", kernel.release));
    for file in [".config", "Module.symvers"] {
        fs::copy(from.join(file), tree.join(file))
            .with_context(|| format!("the headers of {} hold no {file}", kernel.release))?;
    }
    fs::remove_dir_all(x)?;
    step.now("preparing the build tree (about two minutes)");
    let make = |target: &str| {
        toolbox
            .command("make")
            .arg(format!("-j{}", parallelism()))
            .arg(format!("LOCALVERSION={}", local_version(&kernel.release)))
            // The code made here is not what runs: the image's is. Only its interface counts.
            .arg("KRUSTFLAGS=-Cdebuginfo=0")
            .arg(target)
            .cwd(&tree)
            .build()
    };
    for target in ["olddefconfig", "modules_prepare"] {
        process::run(&step, &log, &format!("make {target}"), &mut make(target))?;
    }
    let release = fs::read_to_string(tree.join("include/config/kernel.release"))?;
    ensure!(
        release.trim() == kernel.release,
        "the tree calls itself {}, not {}",
        release.trim(),
        kernel.release
    );
    check_symbols(&tree).with_context(|| format!("the tree of {} is no good", kernel.release))?;
    step.done(&format!("the build tree of {} is ready", kernel.release));
    Ok(())
}

/// Fails unless all Rust symbols that the tree exports are symbols of the image as well.
///
/// Their names hold hashes of the compiler and of the crates: a tree that differs from the image's shows it here.
fn check_symbols(tree: &Path) -> Result<()> {
    let symvers = fs::read_to_string(tree.join("Module.symvers"))?;
    let image: HashSet<&str> = symvers
        .lines()
        .filter_map(|line| line.split('\t').nth(1))
        .collect();
    for part in ["core", "kernel"] {
        let exports = fs::read_to_string(tree.join(format!("rust/exports_{part}_generated.h")))
            .context("it was prepared without Rust")?;
        let symbols: Vec<&str> = exported(&exports).collect();
        let strange = symbols
            .iter()
            .filter(|symbol| !image.contains(*symbol))
            .count();
        ensure!(
            strange == 0 && !symbols.is_empty(),
            "{strange} of {} Rust symbols of {part} are not in the image",
            symbols.len()
        );
    }
    Ok(())
}

/// The symbols in lines like `EXPORT_SYMBOL_RUST_GPL(symbol);`.
fn exported(header: &str) -> impl Iterator<Item = &str> {
    header
        .lines()
        .filter_map(|line| line.split_once('(')?.1.strip_suffix(");"))
}

/// Unpacks the source that is packed in the package given, into the current directory.
///
/// Left out is what neither the build system nor a module ever reads, two thirds of it: the code of other
/// architectures and of drivers (their Kconfig files stay, for the configuration reads all of them).
const UNPACK_SOURCE: &str = r#"
    dpkg-deb --fsys-tarfile "$1" |
    tar -xO --wildcards './usr/src/linux-source-*.tar.xz' |
    xz -dc -T0 |
    tar -x --strip-components=1 \
        --exclude='linux-source-*/Documentation/*/*' \
        --exclude='linux-source-*/drivers/*.c' \
        --exclude='linux-source-*/drivers/gpu/drm/amd/include/*' \
        --exclude='linux-source-*/sound/*.c' \
        --exclude='linux-source-*/tools/testing/*' \
        --exclude='linux-source-*/arch/[!x]*/*.[chS]' \
        --exclude='linux-source-*/arch/*/boot/dts/*'
    # A parser that only macros use: compiling it with optimisation takes far longer than that ever saves.
    sed -i 's/--crate-type rlib -O /--crate-type rlib -Copt-level=0 /' rust/Makefile
"#;

/// What `LOCALVERSION` must be for the tree to have this release: `+deb13-amd64` of `7.3.4+deb13-amd64`.
fn local_version(release: &str) -> &str {
    release.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_whose_symbols_are_not_the_images_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        fs::create_dir(dir.path().join("rust")).unwrap();
        write(
            "Module.symvers",
            "0x0\t_Rone\tvmlinux\tEXPORT_SYMBOL_GPL\t\n0x0\t_Rtwo\tvmlinux\tE\t\n",
        );
        assert!(check_symbols(dir.path()).is_err());
        write(
            "rust/exports_core_generated.h",
            "EXPORT_SYMBOL_RUST_GPL(_Rone);\n",
        );
        write(
            "rust/exports_kernel_generated.h",
            "EXPORT_SYMBOL_RUST_GPL(_Rtwo);\n",
        );
        check_symbols(dir.path()).unwrap();
        write(
            "rust/exports_kernel_generated.h",
            "EXPORT_SYMBOL_RUST_GPL(_Rthree);\n",
        );
        let error = check_symbols(dir.path()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "1 of 1 Rust symbols of kernel are not in the image"
        );
    }

    #[test]
    fn the_local_version_completes_the_release() {
        assert_eq!(local_version("7.3.4+deb13-amd64"), "+deb13-amd64");
        assert_eq!(local_version("6.12.115+deb13.1-amd64"), "+deb13.1-amd64");
    }
}
