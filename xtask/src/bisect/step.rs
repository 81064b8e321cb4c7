// SPDX-License-Identifier: GPL-2.0

//! `bisect step`: judges the commit that is checked out in the current directory, with the exit codes of `git bisect run`.
//!
//! 0 is good, 1 bad, 125 neither, and whatever is not the commit's fault is 128 or more, which stops git.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use notblk_bisect::engine::judge_one;
use notblk_bisect::report::Verdict;
use notblk_bisect::{Ask, Axis, Batch, Built, Choice, Entry, Point, World};
use notblk_protocol::Driver;

use super::bench::Bench;
use super::signature::{Signature, TestArgs};
use crate::context::Ctx;
use crate::errors::{classify, Code, Exit};
use crate::guest::GuestArgs;

/// Cannot tell.
const SKIP: Code = Code(125);
/// Stop.
const STOP: Code = Code(128);

/// Options of `bisect step`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    test: TestArgs,
    #[command(flatten)]
    guest: GuestArgs,
    /// So many runs without the signature make a commit good; one with it makes it bad
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    /// Fragments of qemu/kconfig for the kernel that is checked out here, like kasan+lockdep
    #[arg(long, value_name = "FRAGMENTS")]
    config: Option<String>,
}

/// `cargo xtask bisect step`.
pub fn run(ctx: &Ctx, args: &Args) -> Result<Code> {
    match judge(ctx, args) {
        Ok(Verdict::Good) => Ok(Code::PASSED),
        Ok(Verdict::Bad) => Ok(Code::TEST_FAILED),
        Ok(Verdict::CannotTell(_)) => Ok(SKIP),
        Err(error) => {
            let exit = classify(&error);
            let code = match exit.code {
                Code::INTERRUPTED => exit.code,
                _ => STOP,
            };
            Err(Exit { code, ..exit }.into())
        }
    }
}

/// The code for a command line that cannot be read: clap's own would be a verdict to git. None where it is not about a step.
pub fn code_of_usage(arguments: impl Iterator<Item = String>) -> Option<u8> {
    let words: Vec<String> = arguments.collect();
    let at = words.iter().position(|word| word == "bisect")?;
    (words.get(at + 1)? == "step").then_some(STOP.0)
}

fn judge(ctx: &Ctx, args: &Args) -> Result<Verdict> {
    let here = std::env::current_dir().context("there is no current directory")?;
    let driver = Driver::from(args.guest.driver);
    let signature = args.test.read(ctx, driver)?;
    let (kernel, module) = match what(&here)? {
        Axis::Kernel => {
            if args.guest.kernel.is_some() {
                return Err(Exit::usage("--kernel: the kernel is the one that lies here").into());
            }
            let fragments = args
                .config
                .as_ref()
                .map_or(String::new(), |c| format!("+{c}"));
            let name = format!("tree:{}{fragments}", here.display());
            (Some(name), ctx.repo.clone())
        }
        Axis::Module if driver == Driver::Ext4 => {
            return Err(
                Exit::usage("--driver ext4: no commit of this repository changes it").into(),
            );
        }
        Axis::Module => (args.guest.kernel.clone(), here),
    };
    let machine = &args.guest.machine;
    let bench = Bench::new(ctx, driver, machine, signature.wants_programs())?;
    signature.check(bench.agent())?;
    let mut world = Here {
        ctx,
        signature: &signature,
        bench,
        kernel,
        module,
    };
    Ok(judge_one(&mut world, args.runs)?.verdict)
}

/// What lies here.
fn what(here: &Path) -> Result<Axis> {
    if here.join("rust/main.rs").is_file() && here.join("xtask").is_dir() {
        return Ok(Axis::Module);
    }
    if here.join("Kbuild").is_file() && here.join("init/main.c").is_file() {
        return Ok(Axis::Kernel);
    }
    let line = "neither a kernel's tree nor this repository lies in the current directory";
    Err(Exit::usage(line).into())
}

/// The world of one step.
struct Here<'a> {
    ctx: &'a Ctx,
    signature: &'a Signature,
    bench: Bench,
    kernel: Option<String>,
    module: PathBuf,
}

impl World for Here<'_> {
    type Error = anyhow::Error;

    fn choose(&self, _: Axis, _: &[String], _: &str, _: &[String]) -> Result<Choice> {
        anyhow::bail!("git chooses")
    }

    fn parents(&self, _: Axis, _: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn subject(&self, _: Axis, _: &str) -> Result<String> {
        Ok(String::new())
    }

    fn source(&self, _: &Point) -> Result<String> {
        Ok(String::new())
    }

    fn build(&mut self, _: &Point) -> Result<Built> {
        self.bench
            .build(self.ctx, self.kernel.as_deref(), &self.module)
    }

    fn run(&mut self, _: &Point, ask: Ask, after: u64) -> Result<Batch> {
        let guest = self.bench.guest()?;
        self.signature.run(self.ctx, guest, "bisect", ask, after)
    }

    fn record(&mut self, _: &Entry) -> Result<()> {
        Ok(())
    }

    fn say(&mut self, line: &str) {
        self.ctx.ui.note(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_steps_slips_of_the_pen_stop_git() {
        let code = |line: &str| code_of_usage(line.split(' ').map(str::to_owned));
        assert_eq!(code("xtask bisect step --nonsense"), Some(128));
        assert_eq!(code("xtask -v bisect step"), Some(128));
        assert_eq!(code("xtask bisect --nonsense"), None);
        assert_eq!(code("xtask test step"), None);
    }

    #[test]
    fn what_lies_here_is_recognised() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        };
        assert_eq!(classify(&what(dir.path()).unwrap_err()).code, Code::USAGE);
        file("Kbuild");
        file("init/main.c");
        assert_eq!(what(dir.path()).unwrap(), Axis::Kernel);
        file("rust/main.rs");
        file("xtask/Cargo.toml");
        assert_eq!(what(dir.path()).unwrap(), Axis::Module);
    }
}
