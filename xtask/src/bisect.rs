// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask bisect`: the first commit, of a kernel or of the module, that shows something, be it in some runs only.
//!
//! The thinking is the crate `notblk-bisect`'s. Here are git ([`git`]), builds ([`mod@bench`]), what counts ([`signature`]), what is
//! kept on disk ([`session`]), and the copy of xtask that does it all ([`aside`]).

mod aside;
mod bench;
mod git;
mod lab;
mod session;
mod signature;
mod step;
#[cfg(test)]
mod tests;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use notblk_bisect::report::{Ending, Part};
use notblk_bisect::{bisect, text, Axis, Plan, Report};
use notblk_protocol::Driver;

use crate::cli::{Cli, Command};
use crate::context::Ctx;
use crate::errors::{Code, Exit};
use crate::guest::{DriverArg, GuestArgs};
use crate::kernel;
use bench::Bench;
use git::Repo;
use lab::{Checkout, Lab};
use session::{Ends, Info, Session};
use signature::TestArgs;
pub use step::code_of_usage;

/// The rate of the bad end is known well enough with so many hits.
const HITS: u64 = 20;

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns, and the verdict
    Table,
    /// One JSON value
    Json,
    /// As in the report
    Markdown,
}

/// Parts of a bisection by themselves.
#[derive(Subcommand, Debug)]
enum Alone {
    /// Judge the commit that is checked out in the current directory: 0 good, 1 bad, 125 cannot tell, 128 and up stop
    Step(Box<step::Args>),
    /// Copy xtask aside; prints a program for `git bisect run` that does `bisect step` whatever is checked out
    Aside,
}

/// Options of `bisect`.
#[derive(clap::Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "With --kernel-repo, with --module-repo, or with both: then it is found out first which of the two matters. The \
    repositories are read only; commits are built in the cache. A commit that shows the signature in one run is bad. It is good \
    after so many runs without it that a bad one would hardly have kept quiet: how many follows from how often the bad end shows \
    it, which is measured first, and from --error. What does not build, boot or come to an end is left out.\n\n\
    With `git bisect run` instead: STEP=$(cargo xtask bisect aside); then, in the repository, git bisect run $STEP --runs 9 ...\n\n\
    Exit code: 0 the culprit was found and the re-test agrees; 1 it was not; 2 the ends or options are wrong; 3 the host or its \
    set-up failed; 130 interrupted: --resume goes on."
)]
pub struct Args {
    #[command(subcommand)]
    part: Option<Alone>,
    /// Walk the commits of this kernel's git tree
    #[arg(long, value_name = "DIR")]
    kernel_repo: Option<PathBuf>,
    /// A commit of it where all is well
    #[arg(long, value_name = "REVISION", requires = "kernel_repo")]
    kernel_good: Option<String>,
    /// A commit of it where it is not
    #[arg(long, value_name = "REVISION", default_value = "HEAD")]
    kernel_bad: String,
    /// Fragments of qemu/kconfig for its commits, like kasan+lockdep
    #[arg(long, value_name = "FRAGMENTS", requires = "kernel_repo")]
    config: Option<String>,
    /// Walk the commits of this repository of the module
    #[arg(long, value_name = "DIR")]
    module_repo: Option<PathBuf>,
    /// A commit of it where all is well
    #[arg(long, value_name = "REVISION", requires = "module_repo")]
    module_good: Option<String>,
    /// A commit of it where it is not
    #[arg(long, value_name = "REVISION", default_value = "HEAD")]
    module_bad: String,
    #[command(flatten)]
    test: TestArgs,
    #[command(flatten)]
    guest: GuestArgs,
    /// The error that is allowed over the whole bisection, in per cent
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0, value_parser = percent)]
    error: f64,
    /// Runs of the bad end at most, to measure its rate
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..))]
    measure: u64,
    /// Runs of each step, whatever that means for the error [default: as --error wants it]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    runs: Option<u64>,
    /// Go on with an interrupted bisection: its name or directory, or the newest
    #[arg(long, value_name = "ID", num_args = 0..=1, default_missing_value = "latest")]
    resume: Option<String>,
    /// Where bisections are kept [default: results/bisect in the repository]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// How to print the result
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// The directory of a bisection that the copy is to do
    #[arg(long, hide = true)]
    session: Option<PathBuf>,
}

fn percent(text: &str) -> std::result::Result<f64, String> {
    match text.trim_end_matches(['%', ' ']).parse::<f64>() {
        Ok(share) if share > 0.0 && share < 100.0 => Ok(share),
        _ => Err("more than 0 and less than 100".into()),
    }
}

/// `cargo xtask bisect`.
pub fn run(ctx: &Ctx, args: Args) -> Result<Code> {
    match &args.part {
        Some(Alone::Step(step)) => return step::run(ctx, step),
        Some(Alone::Aside) => {
            println!("{}", aside::step(&aside::make(ctx)?).display());
            return Ok(Code::PASSED);
        }
        None => {}
    }
    if let Some(dir) = &args.session {
        return go(ctx, &Session::open(dir)?);
    }
    let results = match &args.results {
        Some(dir) => dir.clone(),
        None => ctx.repo.join("results/bisect"),
    };
    let session = match &args.resume {
        Some(name) => Session::find(&results, name)?,
        None => begin(ctx, &args, &results)?,
    };
    if !aside::exists(&session.info.aside) {
        return Err(
            Exit::usage("the copy of xtask that this bisection began with is gone")
                .hint("begin anew: commits are compiled in no time where they were before")
                .into(),
        );
    }
    let dir = session.dir.display();
    ctx.ui.note(&format!(
        "bisecting in {dir}; interrupted, it goes on with --resume"
    ));
    let mut copy = aside::command(&session.info.aside);
    // Options that count for all commands.
    let cli = parse(&session)?;
    copy.args(cli.verbose.then_some("--verbose"))
        .args(cli.locked.then_some("--locked"));
    if let Some(toolchain) = cli.toolchain.and_then(|known| known.to_possible_value()) {
        copy.args(["--toolchain", toolchain.get_name()]);
    }
    copy.args(["bisect", "--session"]).arg(&session.dir);
    Err(copy.exec()).context("cannot run the copy of xtask")
}

/// Checks what was asked for, as far as that can be done at once, and makes a session of it.
fn begin(ctx: &Ctx, args: &Args, results: &Path) -> Result<Session> {
    let ends = |axis, dir: &Option<PathBuf>, good: &Option<String>, bad: &str| {
        let Some(dir) = dir else { return Ok(None) };
        let Some(good) = good else {
            return Err(Exit::usage(format!("--{axis}-repo needs --{axis}-good")).into());
        };
        let repo = Repo::open(axis, dir)?;
        let (good, bad) = (repo.commit(good)?, repo.commit(bad)?);
        repo.check_ends(axis, &good, &bad)?;
        Ok::<_, anyhow::Error>(Some(Ends {
            repo: repo.dir,
            good,
            bad,
        }))
    };
    let (kernel, module) = (
        ends(
            Axis::Kernel,
            &args.kernel_repo,
            &args.kernel_good,
            &args.kernel_bad,
        )?,
        ends(
            Axis::Module,
            &args.module_repo,
            &args.module_good,
            &args.module_bad,
        )?,
    );
    let usage = |line: &str| Err(Exit::usage(line).into());
    if kernel.is_none() && module.is_none() {
        return usage("a bisection needs --kernel-repo or --module-repo");
    }
    if kernel.is_some() && args.guest.kernel.is_some() {
        return usage("--kernel and --kernel-repo: which kernel is it to be?");
    }
    if module.is_some() && args.guest.driver == DriverArg::Ext4 {
        return usage("--driver ext4: no commit of the module changes it");
    }
    args.test.read(ctx, Driver::from(args.guest.driver))?;
    match &kernel {
        Some(ends) => {
            let name = format!(
                "tree:{}@{}{}",
                ends.repo.display(),
                ends.bad,
                fragments(args)
            );
            kernel::check(&ctx.repo, &name)?;
        }
        None => {
            if let Some(name) = &args.guest.kernel {
                kernel::check(&ctx.repo, name)?;
            }
        }
    }
    let info = Info {
        arguments: std::env::args().collect(),
        directory: std::env::current_dir().context("there is no current directory")?,
        aside: aside::make(ctx)?,
        kernel,
        module,
    };
    Session::create(results, info)
}

fn fragments(args: &Args) -> String {
    args.config
        .as_ref()
        .map_or(String::new(), |c| format!("+{c}"))
}

/// The command line that a session began with.
fn parse(session: &Session) -> Result<Cli> {
    let parsed = Cli::try_parse_from(&session.info.arguments);
    parsed.map_err(|_| Exit::usage("the session's command line cannot be read").into())
}

/// Does it; in the copy.
fn go(ctx: &Ctx, session: &Session) -> Result<Code> {
    let Command::Bisect(args) = parse(session)?.command else {
        return Err(Exit::usage("the session's command line is another command's").into());
    };
    let info = &session.info;
    std::env::set_current_dir(&info.directory)
        .with_context(|| format!("{} is gone", info.directory.display()))?;
    let driver = Driver::from(args.guest.driver);
    let signature = args.test.read(ctx, driver)?;
    let machine = &args.guest.machine;
    let bench = Bench::new(ctx, driver, machine, signature.wants_programs())?;
    signature.check(bench.agent())?;
    let repo = |ends: &Ends| Repo {
        dir: ends.repo.clone(),
    };
    let module = info.module.as_ref().map(repo);
    let mut lab = Lab {
        ctx,
        session,
        signature: &signature,
        bench,
        kernel: info.kernel.as_ref().map(repo),
        fixed: args.guest.kernel.clone(),
        fragments: fragments(&args),
        module: module.map(|repo| Checkout::new(ctx, repo)).transpose()?,
    };
    let plan = Plan {
        title: title(&args, info, &signature.words()),
        good: info.point(|ends| &ends.good),
        bad: info.point(|ends| &ends.bad),
        axes: info.axes(),
        error: args.error / 100.0,
        hits: HITS,
        measure: args.measure,
        runs: args.runs,
    };
    let mut report = bisect(&mut lab, &plan, &mut session.memo()?)?;
    if let Ok(guest) = lab.bench.guest() {
        report.title.push(format!("accelerator: {}", guest.accel));
    }
    session.report(&report)?;
    match args.format {
        Format::Table => print!("{}", text::table(&report)),
        Format::Markdown => print!("{}", text::markdown(&report)),
        Format::Json => println!("{}", serde_json::to_string(&report)?),
    }
    ctx.ui
        .note(&format!("the report is in {}", session.dir.display()));
    code(&report)
}

/// What was asked for, in words.
fn title(args: &Args, info: &Info, signature: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for (axis, ends) in [(Axis::Kernel, &info.kernel), (Axis::Module, &info.module)] {
        if let Some(ends) = ends {
            lines.push(format!("{axis}: good {}, bad {}", ends.good, ends.bad));
        }
    }
    if info.kernel.is_none() {
        let kernel = args.guest.kernel.as_deref();
        lines.push(format!("kernel: {}", kernel.unwrap_or("the default one")));
    }
    lines.push(format!("driver: {}", Driver::from(args.guest.driver)));
    lines.push(signature.to_owned());
    lines.push(format!("{} % error allowed", args.error));
    lines
}

/// How to leave; wrong ends are the command line's fault.
fn code(report: &Report) -> Result<Code> {
    let hint = match &report.ending {
        Ending::Searched if report.is_found() => return Ok(Code::PASSED),
        Ending::Searched => return Ok(Code::TEST_FAILED),
        Ending::NeverShown => "more iterations in a run, or --measure, may show it",
        Ending::GoodShows => "an earlier commit may be good, or the signature is too wide",
        Ending::EndUnfit(Part::Corner, _) => "both axes need commits that work together",
        Ending::EndUnfit(..) => "another commit near it may be better",
    };
    let line = text::verdict_lines(report).join("; ");
    Err(Exit::usage(line).hint(hint).into())
}
