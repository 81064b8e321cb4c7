// SPDX-License-Identifier: GPL-2.0

//! Kernels that are compiled here: an archive's source with other options, or a developer's tree.
//!
//! Of the archive, each configuration is an entry of the cache. A developer's tree has one build directory for each
//! configuration and toolchain, in which make compiles what has changed; whoever uses the kernel holds its lock until the
//! process ends, because the next build changes it in place.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

use super::kconfig::Config;
use super::shelf::{Kept, Shelf};
use super::snapshot::Snapshot;
use super::toolchain::Toolchain;
use super::why::why;
use super::{parallelism, source, Kernel, Unbuildable, Want};
use crate::cache::{self, remove_marked};
use crate::context::Ctx;
use crate::errors::Exit;
use crate::interrupt;
use crate::kernels::Locked;
use crate::process::{self, Manner};
use crate::toolbox::{self, Toolbox};
use crate::ui::Step;

/// Part of every key: to be raised when the way they are compiled changes.
const RECIPE: &str = "2";
/// What a compiled kernel takes, most of it while it is compiled.
const SPACE: u64 = 2_500_000_000;
/// Takes away what of a build's files a module is never built with, and has the rest call itself by the place where it is: it
/// was built in another.
const TIDY: &str = r"
    sed -i 's|^export KBUILD_OUTPUT = .*|export KBUILD_OUTPUT := $(CURDIR)|' Makefile
    find . -depth \( -name '*.o' -o -name '*.a' -o -name '.*.cmd' -o -name '*.rcgu.*' \) \
        -not -path './scripts/*' -not -path './tools/*' -delete
    rm -rf vmlinux.unstripped .tmp_vmlinux* System.map arch/x86/boot
";

/// Compiles for one configuration.
struct Recipe<'a> {
    ctx: &'a Ctx,
    toolbox: Toolbox,
    /// The kernel's name to the user.
    name: &'a str,
    config: Config,
    toolchain: Toolchain,
}

/// An archive's source, compiled with these fragments.
pub fn archive(ctx: &Ctx, name: &str, locked: &Locked, fragments: &[String]) -> Result<Kernel> {
    let recipe = Recipe::new(ctx, name, fragments)?;
    let toolbox = toolbox::entry(ctx)?;
    let sums: String = locked.tree.last().map_or("", |p| &p.sha256).into();
    let text = recipe.config.text();
    let key = cache::key(&[
        RECIPE,
        &sums,
        &toolbox,
        &text,
        &recipe.config.local_version(),
        &recipe.toolchain.key()?,
    ]);
    let version = locked.release.split('+').next().unwrap_or_default();
    let entry = format!("compiled-{version}{}-{key}", recipe.config.local_version());
    let linux = source::provide(ctx, name, locked)?;
    let what = format!("compiles kernel {name}");
    let dir = ctx
        .cache
        .get_or_make(&ctx.ui, &entry, &what, SPACE, |tmp| {
            let out = tmp.join("out");
            fs::create_dir(&out)?;
            let step = recipe.step("configuring");
            recipe.configure(&step, &linux, &out)?;
            recipe.compile(&step, &linux, &out)?;
            recipe.install(&step, &linux, &out, &tmp.join("root"))?;
            let mut tidy = recipe
                .toolbox
                .command("sh")
                .args(["-euc", TIDY])
                .cwd(&out)
                .build();
            process::run(&step, &ctx.cache.log("kernel"), "tidying up", &mut tidy)?;
            step.done("compiled");
            Ok(())
        })?;
    recipe.kernel(&dir.join("out"), &dir.join("root"), entry)
}

/// What is wanted of a developer's tree.
pub struct Wanted<'a> {
    /// Where it is.
    pub dir: &'a Path,
    /// Which revision, or the files as they are.
    pub revision: Option<&'a str>,
    /// Compiled with these.
    pub fragments: &'a [String],
    /// For what.
    pub want: Want,
}

/// A developer's tree, compiled; or one of the last that were, where it is only to be booted.
pub fn tree(ctx: &Ctx, name: &str, wanted: &Wanted<'_>) -> Result<Kernel> {
    let recipe = Recipe::new(ctx, name, wanted.fragments)?;
    let dir = directory(name, wanted.dir)?;
    let key = cache::key(&[
        RECIPE,
        &dir.to_string_lossy(),
        &toolbox::entry(ctx)?,
        &recipe.config.local_version(),
        &recipe.toolchain.key()?,
    ]);
    let work = format!("tree-{key}");
    let lock = Arc::new(
        ctx.cache
            .lock(&ctx.ui, &work, "uses the same kernel tree")?,
    );
    let place = ctx.cache.work_dir(&work)?;
    let complete = place.join("complete");
    // Of what was never complete nothing is worth keeping, unless it is only that nobody wanted to wait.
    let forget = |error: anyhow::Error| {
        if !complete.exists() && interrupt::check().is_ok() {
            if let Err(left) = remove_marked(&place) {
                ctx.ui.warn(&format!("{left:#}"));
            }
        }
        error
    };
    let step = recipe.step("reading the tree");
    let shelf = Shelf::of(&place);
    let only_boot = wanted.want == Want::BootOnly;
    let built = || -> Result<Kernel> {
        ctx.cache.require_space("compiles a kernel", SPACE)?;
        let snapshot = Snapshot::of(&dir, &place)?;
        let object = snapshot.tree(wanted.revision)?;
        if !snapshot.has(&object, "init/Kconfig") {
            let exit = Exit::usage(format!("{name} is no kernel: it has no init/Kconfig"));
            return Err(anyhow::Error::from(exit).context(Unbuildable));
        }
        let id = cache::key(&[&object, &recipe.config.text(), &key]);
        let (out, root) = (place.join("out"), place.join("root"));
        if fs::read_to_string(place.join("built")).is_ok_and(|built| built == id) {
            return recipe.kernel(&out, &root, id);
        }
        if let Some(kept) = shelf.find(&id).filter(|_| only_boot) {
            return Ok(recipe.kept(kept, id));
        }
        // Gone until it is true again: a build that is torn out of its work must not be taken for it.
        let _ = fs::remove_file(place.join("built"));
        let linux = snapshot.check_out(&object)?;
        fs::create_dir_all(&out)?;
        step.now("configuring");
        recipe.configure(&step, &linux, &out)?;
        recipe.compile(&step, &linux, &out)?;
        if root.exists() {
            fs::remove_dir_all(&root)?;
        }
        recipe.install(&step, &linux, &out, &root)?;
        fs::write(place.join("built"), &id)?;
        fs::write(&complete, "")?;
        let kernel = recipe.kernel(&out, &root, id)?;
        if only_boot {
            let built = Kept {
                image: kernel.image.clone(),
                config: kernel.config.clone(),
                release: kernel.release.clone(),
                root,
            };
            shelf.keep(&kernel.id, &built)?;
        }
        Ok(kernel)
    };
    let mut kernel = built().map_err(forget)?;
    step.done(&format!("{} is there", kernel.release));
    kernel._lock = Some(lock);
    Ok(kernel)
}

/// The full path of the tree that is called `name`.
pub fn directory(name: &str, dir: &Path) -> Result<PathBuf> {
    let there = dir.canonicalize();
    there
        .map_err(|_| Exit::usage(format!("{name}: there is no directory {}", dir.display())).into())
}

impl<'a> Recipe<'a> {
    fn new(ctx: &'a Ctx, name: &'a str, fragments: &[String]) -> Result<Self> {
        let config = Config::read(&ctx.repo, fragments)?;
        let toolchain = match (ctx.toolchain, config.needs_llvm) {
            (Some(toolchain), _) => toolchain,
            (None, true) => Toolchain::Llvm,
            (None, false) => Toolchain::Gcc,
        };
        Ok(Recipe {
            ctx,
            toolbox: ctx.toolbox()?,
            name,
            config,
            toolchain,
        })
    }

    fn step(&self, now: &str) -> Step {
        self.ctx.ui.step(&format!("kernel {}", self.name), now)
    }

    /// The `make` of the tree at `linux` into `out`.
    fn make(
        &self,
        linux: &Path,
        out: &Path,
        arguments: &[String],
    ) -> Result<std::process::Command> {
        let mut all = vec![
            "--no-print-directory".to_owned(),
            "-C".to_owned(),
            linux.to_string_lossy().into_owned(),
            format!("O={}", out.display()),
            format!("LOCALVERSION={}", self.config.local_version()),
            // The same source makes the same kernel, at whatever time and by whomever.
            "KBUILD_BUILD_TIMESTAMP=@0".to_owned(),
            "KBUILD_BUILD_VERSION=1".to_owned(),
            "KBUILD_BUILD_USER=notblk".to_owned(),
            "KBUILD_BUILD_HOST=notblk".to_owned(),
        ];
        all.extend_from_slice(arguments);
        self.toolchain.make(&self.toolbox, out, &all)
    }

    /// Writes `out/.config` and makes sure that all that was asked for is in it.
    fn configure(&self, step: &Step, linux: &Path, out: &Path) -> Result<()> {
        let wanted = out.join("wanted.config");
        let old = fs::metadata(out.join(".config"))
            .and_then(|meta| meta.modified())
            .and_then(|time| Ok((time, fs::read_to_string(out.join(".config"))?)))
            .ok();
        fs::write(&wanted, self.config.text())?;
        let arguments = [
            format!("KCONFIG_ALLCONFIG={}", wanted.display()),
            "allnoconfig".to_owned(),
        ];
        let mut command = self.make(linux, out, &arguments)?;
        let log = self.ctx.cache.log("kernel");
        let what = "configuring the kernel";
        let outcome = process::run_any(step, &log, what, &mut command, Manner::Firm)?;
        if !outcome.status.success() {
            let worlds = process::diagnose(what, &outcome.tail).is_some();
            let error = process::explain(&self.ctx.ui, &log, outcome);
            return Err(match worlds {
                true => error,
                false => error.context(Unbuildable),
            });
        }
        let made = fs::read_to_string(out.join(".config")).context("make made no .config")?;
        let vanished = self.config.vanished(&made);
        if let Some((first, value)) = vanished.first() {
            let also = match vanished.len() {
                1 => String::new(),
                many => format!(", and {} more", many - 1),
            };
            for (option, value) in vanished.iter().skip(1) {
                let why = why(linux, &made, option);
                self.ctx.ui.print(&format!("    {option}={value}: {why}"));
            }
            let exit = Exit::usage(format!(
                "kernel {} cannot have {first}={value}: {}{also}",
                self.name,
                why(linux, &made, first)
            ))
            .hint(match first == "CONFIG_RUST" {
                true => "some options want clang with Rust: leave --toolchain out, or say llvm",
                false => "qemu/kconfig has the options that are asked for",
            });
            return Err(anyhow::Error::from(exit).context(Unbuildable));
        }
        // Made again with every build, and looked at by make for its time.
        if let Some((time, _)) = old.filter(|(_, old)| *old == made) {
            fs::File::options()
                .append(true)
                .open(out.join(".config"))?
                .set_modified(time)?;
        }
        Ok(())
    }

    fn compile(&self, step: &Step, linux: &Path, out: &Path) -> Result<()> {
        step.now("compiling");
        let arguments = [
            format!("-j{}", parallelism()),
            "vmlinux".to_owned(),
            "modules".to_owned(),
        ];
        let mut command = self.make(linux, out, &arguments)?;
        let log = self.ctx.cache.log("kernel");
        let what = "compiling the kernel";
        let outcome = process::run_any(step, &log, what, &mut command, Manner::Firm)?;
        if outcome.status.success() {
            return Ok(());
        }
        if let Some(exit) = process::diagnose(what, &outcome.tail) {
            return Err(exit.into());
        }
        let first = outcome
            .tail
            .iter()
            .find(|line| line.contains("error:") || line.contains("error["))
            .or(outcome.tail.iter().find(|line| line.contains("***")))
            .map_or("make failed", |line| line.trim());
        let first = first.replace(&format!("{}/", linux.display()), "");
        let exit = Exit::host(format!("kernel {} does not build: {first}", self.name))
            .hint(format!("the whole output is in {}", log.display()));
        Err(anyhow::Error::from(exit).context(Unbuildable))
    }

    /// Puts the modules below `root/lib/modules`.
    fn install(&self, step: &Step, linux: &Path, out: &Path, root: &Path) -> Result<()> {
        step.now("installing the modules");
        fs::create_dir_all(root)?;
        let arguments = [
            format!("INSTALL_MOD_PATH={}", root.display()),
            "INSTALL_MOD_STRIP=1".to_owned(),
            "modules_install".to_owned(),
        ];
        let mut command = self.make(linux, out, &arguments)?;
        let log = self.ctx.cache.log("kernel");
        process::run(step, &log, "installing the modules", &mut command)
    }

    /// What was built before.
    fn kept(&self, kept: Kept, id: String) -> Kernel {
        Kernel {
            name: self.name.to_owned(),
            modules: kept.root.join("lib/modules").join(&kept.release),
            image: kept.image,
            config: kept.config,
            release: kept.release,
            tree: None,
            toolchain: self.toolchain,
            id,
            _lock: None,
        }
    }

    /// What was built.
    fn kernel(&self, out: &Path, root: &Path, id: String) -> Result<Kernel> {
        let release = fs::read_to_string(out.join("include/config/kernel.release"))
            .context("the build left no release")?
            .trim()
            .to_owned();
        let tree: Option<PathBuf> = Some(out.to_owned());
        Ok(Kernel {
            name: self.name.to_owned(),
            image: out.join("vmlinux"),
            config: out.join(".config"),
            modules: root.join("lib/modules").join(&release),
            release,
            tree,
            toolchain: self.toolchain,
            id,
            _lock: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_can_be_moved() {
        let dir = tempfile::tempdir().unwrap();
        let makefile = dir.path().join("Makefile");
        let text =
            "# made by /src/Makefile\nexport KBUILD_OUTPUT = /tmp-x/out\ninclude /src/Makefile\n";
        fs::write(&makefile, text).unwrap();
        fs::create_dir_all(dir.path().join("scripts")).unwrap();
        for file in ["core.o", "scripts/modpost.o"] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        let mut tidy = std::process::Command::new("sh");
        tidy.args(["-euc", TIDY]).current_dir(dir.path());
        assert!(tidy.status().unwrap().success());
        let text = fs::read_to_string(&makefile).unwrap();
        assert!(!text.contains("/tmp-x"), "{text}");
        assert!(text.contains("export KBUILD_OUTPUT := $(CURDIR)\ninclude /src/Makefile\n"));
        assert!(!dir.path().join("core.o").exists());
        assert!(dir.path().join("scripts/modpost.o").exists());
    }
}
