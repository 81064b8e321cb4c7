// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask build`: notblk.ko, by the repository's own Makefile, in the toolbox.
//!
//! The sources are copied into a build directory in the cache first, so that no object file litters the repository and
//! each kernel keeps its own. Only files that changed are copied, which is all that make needs to be quick.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::cache::{self, remove_marked};
use crate::cli::BuildArgs;
use crate::context::Ctx;
use crate::errors::{Code, Exit};
use crate::kernel::{Kernel, Want};
use crate::process::{self, Manner};
use crate::toolbox::Toolbox;

/// What the module is built from.
const SOURCES: [&str; 3] = ["Kbuild", "Makefile", "rust"];
/// What a build leaves beside the sources.
const GENERATED: [&str; 9] = [
    ".o",
    ".ko",
    ".mod",
    ".mod.c",
    ".rmeta",
    ".order",
    ".d",
    ".symvers",
    "sys/bindings.rs",
];
/// Present while make runs: a build directory that still has it was torn out of a build.
const DIRTY: &str = ".building";
/// Holds the identity of the kernel that a build directory was used for.
const KERNEL: &str = ".kernel";

/// How to build.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// With Clippy's lints.
    pub clippy: bool,
    /// Without the hold points of the race lab.
    pub without_hold: bool,
}

/// `cargo xtask build`.
pub fn run(ctx: &Ctx, args: BuildArgs) -> Result<Code> {
    let kernel = ctx.kernel(args.kernel.kernel.as_deref(), Want::Tree)?;
    let toolbox = ctx.toolbox()?;
    let options = Options {
        clippy: args.clippy,
        without_hold: false,
    };
    let ko = module(ctx, &toolbox, &kernel, options)?;
    println!("{}", ko.display());
    Ok(Code::PASSED)
}

/// Builds the module for a kernel with a tree; returns a copy that later builds do not touch.
pub fn module(ctx: &Ctx, toolbox: &Toolbox, kernel: &Kernel, options: Options) -> Result<PathBuf> {
    module_of(ctx, toolbox, kernel, options, &ctx.repo)
}

/// The same from the sources below `repo`, which need not be ours.
pub fn module_of(
    ctx: &Ctx,
    toolbox: &Toolbox,
    kernel: &Kernel,
    options: Options,
    repo: &Path,
) -> Result<PathBuf> {
    let tree = kernel
        .tree
        .as_ref()
        .context("the kernel was asked for without its tree")?;
    let kind = match options {
        Options { clippy: true, .. } => "clippy",
        Options { without_hold, .. } if without_hold => "bare",
        Options { .. } => "module",
    };
    let key = cache::key(&[&repo.to_string_lossy(), &tree.to_string_lossy()]);
    let name = format!("{kind}-{}-{key}", kernel.release);
    let _lock = ctx.cache.lock(&ctx.ui, &name, "builds the same module")?;
    let mut dir = ctx.cache.work_dir(&name)?;
    // Of Rust's libraries make knows only that they are there: what was built for others is no good.
    let strange = fs::read_to_string(dir.join(KERNEL)).is_ok_and(|id| id != kernel.id);
    if dir.join(DIRTY).exists() || strange {
        remove_marked(&dir)?;
        dir = ctx.cache.work_dir(&name)?;
    }
    fs::write(dir.join(KERNEL), &kernel.id)?;
    let step = ctx
        .ui
        .step("module", &format!("building it for {}", kernel.release));
    let src = dir.join("src");
    fs::create_dir_all(&src)?;
    sync(repo, &src).context("cannot copy the module's sources")?;
    fs::write(dir.join(DIRTY), "")?;
    let mut arguments = vec![
        "--no-print-directory".to_owned(),
        format!("KDIR={}", tree.display()),
    ];
    if options.clippy {
        // Whoever asks for the lints wants none of them passed over.
        arguments.extend(["CLIPPY=1".to_owned(), "KRUSTFLAGS=-Dwarnings".to_owned()]);
    }
    if options.without_hold {
        arguments.push("NOTBLK_HOLD=n".to_owned());
    }
    let mut command = kernel.toolchain.make(toolbox, &src, &arguments)?;
    let log = ctx.cache.log("module");
    let outcome = process::run_any(
        &step,
        &log,
        "building the module",
        &mut command,
        Manner::Firm,
    )?;
    fs::remove_file(dir.join(DIRTY))?;
    let said = relative(&outcome.tail, &src);
    let warned = said
        .iter()
        .any(|line| line.contains("warning:") || line.contains("error"));
    if !ctx.ui.verbose() && (warned || !outcome.status.success()) {
        let news = said.iter().filter(|line| !is_progress(line));
        news.for_each(|line| ctx.ui.print(line));
    }
    if !outcome.status.success() {
        if let Some(exit) = process::diagnose(&outcome.what, &outcome.tail) {
            return Err(exit.into());
        }
        return Err(Exit::new(
            Code::TEST_FAILED,
            format!("notblk does not build for {}", kernel.release),
        )
        .into());
    }
    let ko = src.join("notblk.ko");
    check_module(&ko, kernel)?;
    let ko = keep(&ko, &dir.join("out"))?;
    step.done(&format!("built for {}", kernel.release));
    Ok(ko)
}

/// Fails where the module was built for another kernel.
pub fn check_module(ko: &Path, kernel: &Kernel) -> Result<()> {
    let bytes = fs::read(ko).with_context(|| format!("cannot read {}", ko.display()))?;
    let name = ko.file_name().unwrap_or_default().to_string_lossy();
    match built_for(&bytes) {
        Some(release) if release == kernel.release => Ok(()),
        Some(release) => Err(Exit::usage(format!(
            "module {name} was built for {release}, but the kernel is {}",
            kernel.release
        ))
        .hint(format!(
            "build it with `cargo xtask build --kernel {}`",
            kernel.name
        ))
        .into()),
        None => Err(Exit::usage(format!("{} is not a kernel module", ko.display())).into()),
    }
}

/// The release in a module's vermagic, which begins with it.
fn built_for(module: &[u8]) -> Option<String> {
    const TAG: &[u8] = b"\0vermagic=";
    let at = module.windows(TAG.len()).position(|window| window == TAG)? + TAG.len();
    let text: Vec<u8> = module[at..]
        .iter()
        .copied()
        .take_while(|b| !matches!(b, b' ' | 0))
        .collect();
    String::from_utf8(text).ok()
}

/// Copies `file` to a name made from its content, and forgets old copies that nobody can still be using.
pub fn keep(file: &Path, out: &Path) -> Result<PathBuf> {
    let name = file.file_name().context("a file without a name")?;
    let dir = out.join(&cache::sha256(file)?[..12]);
    let kept = dir.join(name);
    if kept.exists() {
        // Young again, for the rule below.
        fs::File::options()
            .append(true)
            .open(&kept)?
            .set_modified(SystemTime::now())?;
    } else {
        fs::create_dir_all(&dir)?;
        let tmp = dir.join(".copying");
        fs::copy(file, &tmp)?;
        fs::File::options()
            .append(true)
            .open(&tmp)?
            .set_modified(SystemTime::now())?;
        fs::rename(&tmp, &kept)?;
    }
    for item in fs::read_dir(out)?.flatten() {
        let copy = item.path().join(name);
        let age = fs::metadata(&copy)
            .and_then(|meta| meta.modified())
            .map(|time| time.elapsed().unwrap_or_default());
        if age.is_ok_and(|age| age.as_secs() > 24 * 3600) {
            fs::remove_file(copy)?;
            fs::remove_dir(item.path())?;
        }
    }
    Ok(kept)
}

/// Makes the sources below `to` equal to those of the repository; leaves alone what did not change, and what make made.
fn sync(repo: &Path, to: &Path) -> Result<()> {
    let mut wanted = BTreeSet::new();
    for source in SOURCES {
        list(repo, Path::new(source), &mut wanted)?;
    }
    let mut present = BTreeSet::new();
    list(to, Path::new(""), &mut present)?;
    for gone in present.difference(&wanted) {
        fs::remove_file(to.join(gone))?;
    }
    for path in &wanted {
        let (from, to) = (repo.join(path), to.join(path));
        let new = fs::read(&from)?;
        if fs::read(&to).is_ok_and(|old| old == new) {
            continue;
        }
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(to, new)?;
    }
    Ok(())
}

/// Collects the sources at or below `path`, relative to `root`.
fn list(root: &Path, path: &Path, found: &mut BTreeSet<PathBuf>) -> Result<()> {
    let full = root.join(path);
    let text = path.to_string_lossy();
    let hidden = path
        .file_name()
        .is_some_and(|n| n.to_string_lossy().starts_with('.'));
    if hidden || GENERATED.iter().any(|end| text.ends_with(end)) {
        return Ok(());
    }
    let meta = fs::metadata(&full).with_context(|| format!("cannot find {text}"))?;
    if meta.is_file() {
        found.insert(path.to_owned());
    } else if meta.is_dir() && !full.join("CACHEDIR.TAG").exists() {
        for item in fs::read_dir(&full)? {
            list(root, &path.join(item?.file_name()), found)?;
        }
    }
    Ok(())
}

/// Shows files by their place in the repository.
fn relative(lines: &[String], src: &Path) -> Vec<String> {
    let prefix = format!("{}/", src.display());
    lines.iter().map(|line| line.replace(&prefix, "")).collect()
}

/// True for lines that only say how far make is.
fn is_progress(line: &str) -> bool {
    let begins = |start: &str| line.starts_with(start);
    let step = begins("  ")
        && line
            .split_whitespace()
            .nth(1)
            .is_some_and(|w| w.starts_with('['));
    let noise = ["make -C ", "make[", "  MODPOST ", "Skipping BTF generation"];
    step || noise.into_iter().any(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn only_changed_sources_are_copied_and_deleted_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let (repo, to) = (dir.path().join("repo"), dir.path().join("to"));
        fs::create_dir(&to).unwrap();
        for file in ["Kbuild", "Makefile", "rust/main.rs", "rust/fs/old.rs"] {
            write(&repo.join(file), file);
        }
        write(&repo.join("rust/main.o"), "litter");
        sync(&repo, &to).unwrap();
        assert!(!to.join("rust/main.o").exists());
        write(&to.join("rust/main.o"), "object");
        let before = fs::metadata(to.join("Kbuild")).unwrap().modified().unwrap();
        fs::remove_file(repo.join("rust/fs/old.rs")).unwrap();
        write(&repo.join("rust/main.rs"), "new");
        std::thread::sleep(std::time::Duration::from_millis(20));
        sync(&repo, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("rust/main.rs")).unwrap(), "new");
        assert_eq!(
            fs::read_to_string(to.join("rust/main.o")).unwrap(),
            "object"
        );
        assert!(!to.join("rust/fs/old.rs").exists());
        let after = fs::metadata(to.join("Kbuild")).unwrap().modified().unwrap();
        assert_eq!(before, after);
    }

    #[test]
    fn a_module_for_another_kernel_is_refused_in_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let ko = dir.path().join("notblk.ko");
        fs::write(
            &ko,
            b"\x7fELF\0license=GPL\0vermagic=7.3.4+deb13-amd64 SMP mod_unload \0",
        )
        .unwrap();
        let kernel = Kernel::fake;
        check_module(&ko, &kernel("7.3.4+deb13-amd64")).unwrap();
        let exit =
            crate::errors::classify(&check_module(&ko, &kernel("7.2.12+deb13-amd64")).unwrap_err());
        assert_eq!(exit.code, Code::USAGE);
        assert_eq!(
            exit.line,
            "module notblk.ko was built for 7.3.4+deb13-amd64, but the kernel is 7.2.12+deb13-amd64"
        );
    }

    #[test]
    fn a_kept_copy_survives_the_next_build() {
        let dir = tempfile::tempdir().unwrap();
        let (file, out) = (dir.path().join("notblk.ko"), dir.path().join("out"));
        fs::write(&file, "one").unwrap();
        let one = keep(&file, &out).unwrap();
        fs::write(&file, "two").unwrap();
        let two = keep(&file, &out).unwrap();
        assert_ne!(one, two);
        assert_eq!(fs::read_to_string(one).unwrap(), "one");
        assert_eq!(fs::read_to_string(two).unwrap(), "two");
    }

    #[test]
    fn compiler_messages_name_files_as_the_repository_does() {
        let lines = [
            "error: x".to_owned(),
            " --> /c/src/rust/fs/dir.rs:1:2".to_owned(),
        ];
        assert_eq!(
            relative(&lines, Path::new("/c/src"))[1],
            " --> rust/fs/dir.rs:1:2"
        );
        assert!(is_progress("  RUSTC [M] rust/main.o"));
        assert!(is_progress("make -C /tree M=/c/src modules"));
        assert!(!is_progress("error: nothing"));
        assert!(!is_progress("make: *** [Makefile:1: modules] Error 2"));
    }
}
