// SPDX-License-Identifier: GPL-2.0

//! The toolbox: a small Debian root with the compilers that the kernels were built with, and with QEMU.
//!
//! `qemu/toolbox.toml` says what is in it. mmdebstrap makes it, from the archive that it takes by default; bubblewrap
//! runs commands in it, with the repository, the cache and `/tmp` at the places where the host has them. So paths mean
//! the same inside and outside.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::cache;
use crate::cli::ToolboxArgs;
use crate::context::Ctx;
use crate::errors::{Code, Exit};
use crate::process;
use crate::setup;

/// Part of the toolbox's key: to be raised when the way it is made changes.
const RECIPE: &str = "1";
/// What a toolbox takes, with what apt needs on the way.
const SPACE: u64 = 1_800_000_000;
/// Each command's own place for temporary files. `/tmp` is the host's and shared, and process ids, of which make builds
/// the names of its own, are small and alike in every command.
const TMP: &str = "/var/tmp";
/// Where the toolbox finds programs.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// `qemu/toolbox.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Spec {
    suite: String,
    more_suites: Vec<String>,
    packages: Vec<String>,
    exclude: Vec<String>,
}

/// The toolbox's root, and what of the host is seen in it.
#[derive(Clone, Debug)]
pub struct Toolbox {
    /// The directory that becomes `/`.
    pub root: PathBuf,
    /// Host directories that are seen at their own paths.
    shared: Vec<PathBuf>,
    /// How commands get in.
    entrance: Entrance,
}

/// How commands get into the toolbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entrance {
    Bwrap,
    /// For root, where bubblewrap does not work.
    Chroot,
}

impl Toolbox {
    /// A command to run in the toolbox, in the current directory.
    pub fn command(&self, program: impl AsRef<OsStr>) -> ToolboxCommand {
        ToolboxCommand {
            toolbox: self.clone(),
            args: vec![program.as_ref().to_owned()],
            binds: Vec::new(),
            env: Vec::new(),
            cwd: None,
            privileged: false,
        }
    }

    fn at(ctx: &Ctx, root: PathBuf) -> Result<Self> {
        let shared = vec![ctx.repo.clone(), ctx.cache.root.clone(), "/tmp".into()];
        let mut toolbox = Toolbox {
            root,
            shared,
            entrance: Entrance::Bwrap,
        };
        let works = |toolbox: &Toolbox| {
            let output = toolbox.command("true").cwd("/").build().output();
            output.is_ok_and(|output| output.status.success())
        };
        if !works(&toolbox) && rustix::process::geteuid().is_root() {
            toolbox.entrance = Entrance::Chroot;
        }
        if !works(&toolbox) {
            return Err(
                Exit::host("neither bubblewrap nor chroot can enter the toolbox")
                    .hint("allow user namespaces (see `cargo xtask doctor`), or run as root")
                    .into(),
            );
        }
        Ok(toolbox)
    }
}

/// A command that will run in the toolbox.
pub struct ToolboxCommand {
    toolbox: Toolbox,
    args: Vec<OsString>,
    binds: Vec<PathBuf>,
    env: Vec<(OsString, OsString)>,
    cwd: Option<PathBuf>,
    privileged: bool,
}

impl ToolboxCommand {
    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<T: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Shows one more host directory or file, at its own path.
    pub fn bind(mut self, path: impl Into<PathBuf>) -> Self {
        self.binds.push(path.into());
        self
    }

    /// Sets a variable; nothing else of the caller's environment is seen, save HOME and TERM.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs in `dir`, which must be seen in the toolbox.
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    /// Runs as the toolbox's own root, for apt; without this the user is the caller.
    fn privileged(mut self) -> Self {
        self.privileged = true;
        self
    }

    /// The command for the host to start. It ends when the thread that started it does.
    pub fn build(self) -> Command {
        let cwd = self
            .cwd
            .clone()
            .or_else(|| std::env::current_dir().ok())
            .unwrap_or_else(|| "/".into());
        let binds: Vec<PathBuf> = self
            .toolbox
            .shared
            .iter()
            .chain(&self.binds)
            .cloned()
            .collect();
        let mut command = match self.toolbox.entrance {
            Entrance::Bwrap => self.bwrap(&binds, &cwd),
            Entrance::Chroot => self.chroot(&binds, &cwd),
        };
        command
            .env_clear()
            .env("PATH", PATH)
            .env("LANG", "C.UTF-8")
            .env("TMPDIR", TMP);
        for name in ["HOME", "TERM"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(self.env);
        command
    }

    fn bwrap(&self, binds: &[PathBuf], cwd: &Path) -> Command {
        // The program is looked up before the environment is replaced, so PATH of the host's own finds it.
        let mut command = Command::new(which("bwrap").unwrap_or_else(|| "bwrap".into()));
        command
            .args(["--die-with-parent", "--unshare-pid"])
            .arg("--bind")
            .args([self.toolbox.root.as_os_str(), OsStr::new("/")])
            .args(["--dev", "/dev", "--dev-bind-try", "/dev/kvm", "/dev/kvm"])
            .args(["--proc", "/proc", "--ro-bind", "/sys", "/sys"])
            .args(["--tmpfs", TMP]);
        for bind in binds {
            command.arg("--bind").arg(bind).arg(bind);
        }
        if self.privileged && !rustix::process::geteuid().is_root() {
            command.args(["--unshare-user", "--uid", "0", "--gid", "0"]);
        }
        command.arg("--chdir").arg(cwd).arg("--").args(&self.args);
        command
    }

    fn chroot(&self, binds: &[PathBuf], cwd: &Path) -> Command {
        // Mounts are made in a mount namespace of the command's own, so that none is left when it ends.
        let script = r#"
            root=$1 cwd=$2; shift 2
            mount --rbind /dev "$root/dev"
            mount -t proc proc "$root/proc"
            mount --rbind /sys "$root/sys"
            mount -t tmpfs tmpfs "$root/var/tmp"
            while [ "$1" != -- ]; do
                if [ -d "$1" ]; then mkdir -p "$root$1"; else mkdir -p "$root${1%/*}"; : >>"$root$1"; fi
                mount --rbind "$1" "$root$1"
                shift
            done
            shift
            exec chroot "$root" /bin/sh -c 'cd "$0" && exec "$@"' "$cwd" "$@"
        "#;
        let unshare = which("unshare").unwrap_or_else(|| "unshare".into());
        let mut command = Command::new(unshare);
        command
            .args(["--mount", "--pid", "--fork", "--kill-child", "--"])
            .args(["sh", "-euc", script, "sh"])
            .args([self.toolbox.root.as_path(), cwd])
            .args(binds)
            .arg("--")
            .args(&self.args);
        command
    }
}

/// Finds a program of the host.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Where a user's own PATH lacks the administrator's programs.
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(more)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// The toolbox; made when it is missing.
pub fn provide(ctx: &Ctx) -> Result<Toolbox> {
    let spec: Spec =
        toml::from_str(&description(ctx)?).context("qemu/toolbox.toml is not valid")?;
    if !present(ctx) {
        setup::host_packages(ctx)?;
    }
    let dir = ctx
        .cache
        .get_or_make(&ctx.ui, &entry(ctx)?, "makes the toolbox", SPACE, |tmp| {
            make(ctx, &spec, tmp)
        })?;
    Toolbox::at(ctx, dir.join("root"))
}

/// True where the toolbox is there already.
pub fn present(ctx: &Ctx) -> bool {
    entry(ctx).is_ok_and(|entry| ctx.cache.get(&entry).is_some())
}

/// The toolbox's name in the cache.
pub fn entry(ctx: &Ctx) -> Result<String> {
    let key = cache::key(&[RECIPE, &description(ctx)?]);
    Ok(format!("toolbox-{key}"))
}

fn description(ctx: &Ctx) -> Result<String> {
    fs::read_to_string(ctx.repo.join("qemu/toolbox.toml")).context("cannot read qemu/toolbox.toml")
}

fn make(ctx: &Ctx, spec: &Spec, tmp: &Path) -> Result<()> {
    let root = tmp.join("root");
    let log = ctx.cache.log("toolbox");
    let step = ctx
        .ui
        .step("toolbox", "making it with mmdebstrap (about a minute)");
    let mut args = bootstrap_args(&spec.packages, &spec.exclude);
    // Kept, because the kernels are fetched with them.
    args.push("--skip=cleanup/apt/lists".into());
    let what = "making the toolbox";
    if rustix::process::geteuid().is_root() {
        let mut command = dying_with_us("mmdebstrap");
        command
            .envs(process::network_env())
            .args(args)
            .args([OsStr::new(&spec.suite), root.as_os_str()]);
        process::run(&step, &log, what, &mut command)?;
    } else {
        // Unpacked from an archive, all files belong to the caller, who can then delete them as well.
        fs::create_dir(&root)?;
        let mut command = dying_with_us("sh");
        command
            .envs(process::network_env())
            .args([
                "-c",
                r#"suite=$1 root=$2; shift 2
                mmdebstrap --mode=unshare --format=tar "$@" "$suite" |
                tar -C "$root" --no-same-owner --exclude=./dev/* -x"#,
                "sh",
                &spec.suite,
            ])
            .arg(&root)
            .args(args);
        process::run(&step, &log, what, &mut command)?;
    }
    step.now("adding suites");
    let list = root.join("etc/apt/sources.list");
    let sources = fs::read_to_string(&list).context("mmdebstrap wrote no sources.list")?;
    for suite in &spec.more_suites {
        let line = with_suite(&sources, &spec.suite, suite)
            .with_context(|| format!("mmdebstrap's sources.list does not name {}", spec.suite))?;
        fs::OpenOptions::new()
            .append(true)
            .open(&list)?
            .write_all(line.as_bytes())?;
    }
    let toolbox = Toolbox::at(ctx, root)?;
    process::run(
        &step,
        &log,
        "updating the package lists",
        &mut apt(&toolbox, "apt-get").arg("update").build(),
    )?;
    step.done("made");
    Ok(())
}

/// mmdebstrap's options for a small root with these packages, and without the files excluded.
pub fn bootstrap_args(packages: &[String], exclude: &[String]) -> Vec<OsString> {
    let mut args: Vec<OsString> = vec![
        "--variant=minbase".into(),
        format!("--include={}", packages.join(",")).into(),
        // Nobody minds a root lost by a power cut, and it is half as fast with a sync for every file.
        "--dpkgopt=force-unsafe-io".into(),
        "--aptopt=Acquire::Retries \"3\"".into(),
        "--aptopt=Acquire::Languages \"none\"".into(),
    ];
    let excludes = exclude.iter();
    args.extend(excludes.map(|glob| format!("--dpkgopt=path-exclude={glob}").into()));
    args
}

/// A host command that the kernel ends when the thread that started it is gone, however that ended. For root with all its
/// descendants: they fill a directory that the next xtask is going to delete.
pub fn dying_with_us(program: &str) -> Command {
    const CONTAIN: [&str; 5] = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let mut command = process::host_command("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]);
    let possible = || {
        let trial = Command::new("unshare")
            .args(&CONTAIN[1..])
            .arg("true")
            .output();
        trial.is_ok_and(|output| output.status.success())
    };
    if rustix::process::geteuid().is_root() && possible() {
        command.args(CONTAIN);
    }
    command.arg(program);
    command
}

/// An apt command in the toolbox, able to reach the network.
pub fn apt(toolbox: &Toolbox, program: &str) -> ToolboxCommand {
    // The host may have moved to another network since the toolbox was made.
    let _ = fs::copy("/etc/resolv.conf", toolbox.root.join("etc/resolv.conf"));
    let command = toolbox
        .command(program)
        .privileged()
        .args(["-o", "APT::Sandbox::User=root"])
        .args(["-o", "Acquire::Retries=3"])
        .args(["-o", "Acquire::http::Timeout=30"])
        // A list that cannot be fetched is an error for us, not the warning that it is for apt.
        .args(["-o", "APT::Update::Error-Mode=any"])
        .cwd("/");
    process::network_env()
        .into_iter()
        .fold(command, |command, (name, value)| command.env(name, value))
}

/// The line that adds `new` from the mirror that the line for `old` names.
fn with_suite(sources: &str, old: &str, new: &str) -> Option<String> {
    let line = sources
        .lines()
        .find(|line| line.starts_with("deb ") && line.split_whitespace().any(|word| word == old))?;
    let words = line
        .split_whitespace()
        .map(|word| if word == old { new } else { word });
    Some(words.collect::<Vec<_>>().join(" ") + "\n")
}

/// `cargo xtask toolbox -- CMD`.
pub fn run(ctx: &Ctx, args: ToolboxArgs) -> Result<Code> {
    let toolbox = ctx.toolbox()?;
    let cwd = std::env::current_dir().context("there is no current directory")?;
    let (program, rest) = args.command.split_first().context("no command")?;
    let mut command = toolbox
        .command(program)
        .args(rest)
        .bind(&cwd)
        .cwd(cwd)
        .build();
    // In our own process group and with our terminal: Ctrl-C is the command's to handle.
    let status = ctx
        .ui
        .suspend(|| command.status())
        .context("cannot enter the toolbox")?;
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|n| 128 + n));
    Ok(Code(code.and_then(|c| u8::try_from(c).ok()).unwrap_or(3)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_suite_takes_the_mirror_of_the_first() {
        let sources = "# c\ndeb http://mirror.example/debian trixie main\n\
                       deb http://mirror.example/debian trixie-updates main\n";
        assert_eq!(
            with_suite(sources, "trixie", "trixie-backports").unwrap(),
            "deb http://mirror.example/debian trixie-backports main\n"
        );
        assert_eq!(with_suite(sources, "sid", "x"), None);
    }

    #[test]
    fn the_list_of_packages_is_valid() {
        let text = include_str!("../../qemu/toolbox.toml");
        let spec: Spec = toml::from_str(text).unwrap();
        assert!(spec.packages.iter().any(|p| p == "qemu-system-x86"));
    }

    #[test]
    fn nothing_of_the_callers_environment_is_seen_inside() {
        let toolbox = Toolbox {
            root: "/toolbox".into(),
            shared: vec!["/repo".into()],
            entrance: Entrance::Bwrap,
        };
        let command = toolbox
            .command("make")
            .env("LLVM", "1")
            .cwd("/repo")
            .build();
        let names: Vec<_> = command
            .get_envs()
            .map(|(name, _)| name.to_string_lossy().into_owned())
            .filter(|name| name != "TERM" && name != "HOME")
            .collect();
        assert_eq!(names, ["LANG", "LLVM", "PATH", "TMPDIR"]);
        let args: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
        let text = args.join(" ");
        assert!(text.contains("--bind /toolbox /"), "{text}");
        assert!(text.contains("--bind /repo /repo"), "{text}");
        assert!(text.ends_with("--chdir /repo -- make"), "{text}");
    }
}
