// SPDX-License-Identifier: GPL-2.0

//! The guest's initramfs.
//!
//! Two cpio archives one after the other, which the kernel unpacks in turn. The first holds what seldom changes
//! (e2fsprogs and busybox with their libraries, the kernel's own modules) and is cached; the second, made for each run,
//! holds the agent and the module under test. Neither is compressed: unpacking would cost more under TCG than reading.

mod cpio;
mod modules;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};

use crate::build;
use crate::cache;
use crate::context::Ctx;
use crate::kernel::Kernel;
use crate::toolbox::Toolbox;
use cpio::Archive;
use notblk_protocol::suite::CONFIG;

/// Part of the cache's key: to be raised when the way it is made changes.
const RECIPE: &str = "9-device-mapper-nbd";
/// What a cached archive may take.
const SPACE: u64 = 100_000_000;

/// Programs of the toolbox that the guest has.
const PROGRAMS: &[&str] = &[
    "/usr/bin/busybox",
    "/usr/sbin/mke2fs",
    "/usr/sbin/e2fsck",
    "/usr/sbin/debugfs",
    "/usr/sbin/dumpe2fs",
];

/// Modules that the guest must be able to load; what they depend on goes along.
const MODULES: &[&str] = &[
    "virtio_blk",
    "ext4",
    "loop",
    "nbd",
    "quota_v2",
    "dm_zero",
    "dm_flakey",
    "dm_delay",
];

/// Modules that older kernels ask modprobe for, which the guest lacks: loaded before the module that wants them, where
/// the kernel has them.
const WANTED_BY_NAME: &[(&str, &str)] = &[("ext4", "crc32c_generic")];

/// Where an initramfs comes from.
pub struct Parts<'a> {
    /// Has the programs.
    pub toolbox: &'a Toolbox,
    /// Has the modules.
    pub kernel: &'a Kernel,
    /// PID 1.
    pub agent: &'a Path,
    /// Published programs for the tests, by their names.
    pub programs: &'a [(&'a str, PathBuf)],
    /// The module under test; none for the kernel's own driver.
    pub module: Option<&'a Path>,
    /// Modules beside those that every guest has.
    pub extra_modules: &'a [&'a str],
}

/// The whole initramfs, ready to be handed to QEMU.
pub fn pack(ctx: &Ctx, parts: &Parts) -> Result<Vec<u8>> {
    let base = base(ctx, parts)?;
    let mut bytes = fs::read(base.join("base.cpio")).context("cannot read the initramfs")?;
    let mut order = fs::read_to_string(base.join("order")).context("cannot read the initramfs")?;
    let mut overlay = Archive::default();
    overlay.file("/init", 0o755, read(parts.agent)?);
    for (name, path) in parts.programs {
        overlay.file(&format!("/usr/bin/{name}"), 0o755, read(path)?);
    }
    if let Some(path) = parts.module {
        build::check_module(path, parts.kernel)?;
        let module = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        overlay.file("/usr/lib/modules/notblk.ko", 0o644, module.clone());
        order.push_str("notblk");
        for name in modules::depends(&module)? {
            // A dependency's own dependencies go first; those of the base are in `order` already.
            let line = order
                .lines()
                .find(|line| line.split(' ').next() == Some(&name));
            let more = line.map_or(String::new(), |line| line.replacen(&name, "", 1));
            order.push_str(&format!("{more} {name}"));
        }
        order.push('\n');
    }
    overlay.file("/usr/lib/modules/order", 0o644, order.into_bytes());
    bytes.extend(overlay.finish()?);
    Ok(bytes)
}

/// The cached part: a directory with `base.cpio` and `order`.
fn base(ctx: &Ctx, parts: &Parts) -> Result<PathBuf> {
    let toolbox = parts.toolbox.root.to_string_lossy();
    let extra = parts.extra_modules.join(" ");
    let (programs, modules) = (PROGRAMS.join(" "), MODULES.join(" "));
    let key = cache::key(&[
        RECIPE,
        &programs,
        &modules,
        &toolbox,
        &parts.kernel.id,
        &extra,
    ]);
    let entry = format!("initramfs-{key}");
    ctx.cache
        .get_or_make(&ctx.ui, &entry, "packs the initramfs", SPACE, |dir| {
            let step = ctx.ui.step("initramfs", "packing");
            let (archive, order) = make_base(parts)?;
            fs::write(dir.join("base.cpio"), archive.finish()?)?;
            fs::write(dir.join("order"), order)?;
            step.done("packed");
            Ok(())
        })
}

fn make_base(parts: &Parts) -> Result<(Archive, String)> {
    let mut archive = Archive::default();
    // The kernel opens it for PID 1 before devtmpfs is mounted; agent and panics write there.
    archive.character_device("/dev/console", 5, 1);
    for name in ["bin", "sbin", "lib", "lib64"] {
        archive.symlink(&format!("/{name}"), &format!("usr/{name}"));
    }
    // By their paths, because busybox's shell prefers its own applets, of which `mke2fs` is one.
    archive.file(
        "/usr/sbin/mkfs.notblk",
        0o755,
        b"#!/bin/sh\nexec /usr/sbin/mke2fs -t ext2 \"$@\"\n".to_vec(),
    );
    archive.file(
        "/usr/sbin/fsck.notblk",
        0o755,
        b"#!/bin/sh\nexec /usr/sbin/e2fsck \"$@\"\n".to_vec(),
    );
    archive.symlink("/usr/bin/sh", "busybox");
    archive.file(
        "/etc/mke2fs.conf",
        0o644,
        read(&parts.toolbox.root.join("etc/mke2fs.conf"))?,
    );
    for path in PROGRAMS
        .iter()
        .map(|p| (*p).to_owned())
        .chain(libraries(parts.toolbox)?)
    {
        archive.file(&path, 0o755, read(&parts.toolbox.root.join(&path[1..]))?);
    }
    // Suites ask what the kernel was built with.
    archive.file(CONFIG, 0o644, read(&parts.kernel.config)?);
    let order = add_modules(parts, &mut archive)?;
    Ok((archive, order))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The shared libraries of the programs, as the toolbox's own loader finds them.
fn libraries(toolbox: &Toolbox) -> Result<BTreeSet<String>> {
    // A static program makes ldd fail as a whole, though it answers for the others; so its answer is what counts.
    let output = toolbox
        .command("ldd")
        .args(PROGRAMS)
        .cwd("/")
        .build()
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found: BTreeSet<String> = text
        .lines()
        .filter(|line| line.starts_with(char::is_whitespace))
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        // `/lib` is a link to `/usr/lib` in the toolbox, and in the guest.
        .map(|path| match path.starts_with("/usr/") {
            true => path.to_owned(),
            false => format!("/usr{path}"),
        })
        .collect();
    ensure!(
        found.iter().any(|path| path.contains("libext2fs")),
        "ldd in the toolbox found no libraries: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(found)
}

/// Adds the kernel's modules; returns the agent's table of what to load before what.
fn add_modules(parts: &Parts, archive: &mut Archive) -> Result<String> {
    let store = modules::Store::open(parts.toolbox, &parts.kernel.modules)?;
    let mut bytes = BTreeMap::new();
    let mut order = String::new();
    for &root in MODULES.iter().chain(parts.extra_modules) {
        let mut list = Vec::new();
        for (_, wanted) in WANTED_BY_NAME.iter().filter(|(module, _)| *module == root) {
            store.collect(wanted, &mut bytes, &mut list)?;
        }
        store.collect(root, &mut bytes, &mut list)?;
        list.retain(|name| name != root);
        list.insert(0, root.to_owned());
        order.push_str(&list.join(" "));
        order.push('\n');
    }
    for (name, module) in bytes {
        archive.file(&format!("/usr/lib/modules/{name}.ko"), 0o644, module);
    }
    Ok(order)
}
