// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask run-xfstests`: the suite that its user built, in guests, judged and kept.
//!
//! - [`args`]: the command line; [`tree`]: the suite's tree; [`config`], [`exclusions`]: `qemu/fstests`
//! - [`select`]: which tests; [`lay`]: our own tests, laid over the tree
//! - [`root`], [`image`], [`guest`]: what boots; [`runner`]: runs; [`verdict`], [`clocks`]: judge
//! - [`live`], [`report`]: show; [`repeat`]: the command that repeats a test
//!
//! Results are the crate `notblk-results`'s.

mod args;
mod clocks;
mod config;
mod exclusions;
mod guest;
mod image;
mod lay;
mod live;
mod repeat;
mod report;
mod root;
mod runner;
mod select;
mod tree;
mod verdict;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use notblk_protocol::Driver;
use notblk_results::{clock, Baseline, ConfigInfo, RunInfo, State, Status, Store, SuiteInfo};

use crate::cli::{Cli, Command};
use crate::context::Ctx;
use crate::errors::{Code, Exit};
use crate::process;
pub use args::Args;
use clocks::Clocks;
use config::Config;
use exclusions::Exclusions;
use guest::SuiteGuest;
use lay::Laid;
use live::Live;
use repeat::Repeat;
use runner::{Broken, Part, Runner};
use select::{Chosen, Selection};
use tree::Tree;

/// The configuration that is run where none is named.
const DEFAULT: &str = "notblk";

/// `cargo xtask run-xfstests`.
pub fn run(ctx: &Ctx, args: Args) -> Result<Code> {
    let results = match &args.results {
        Some(dir) => std::path::absolute(dir)?,
        None => ctx.repo.join("results/xfstests"),
    };
    if args.list {
        return report::list(&results);
    }
    if let Some(runs) = &args.diff {
        return report::diff(&results, &runs[0], &runs[1]);
    }
    if let Some(which) = &args.report {
        return report::again(&results, which);
    }
    if let Some(runs) = &args.merge {
        return report::merge(&results, runs);
    }
    std::fs::create_dir_all(&results)
        .with_context(|| format!("cannot make {}", results.display()))?;
    match &args.resume {
        None => begin(ctx, &results, args),
        Some(which) => {
            let store = Store::open(&report::find(&results, which)?).map_err(report::usage)?;
            let command = store.info().command;
            let line = std::iter::once("cargo xtask".to_owned()).chain(command);
            match Cli::try_parse_from(line).map(|cli| cli.command) {
                Ok(Command::RunXfstests(before)) => {
                    // All else was said when it began.
                    let args = Args {
                        timeout: args.timeout.or(before.timeout),
                        xfstests: args.xfstests.or(before.xfstests.clone()),
                        baseline: store.info().baseline,
                        ..*before
                    };
                    go_on(ctx, &results, args, store)
                }
                _ => Err(Exit::usage(format!(
                    "run {} was begun by another version of xtask, with options that this one does not have",
                    store.info().id
                ))
                .into()),
            }
        }
    }
}

/// What is to be run, before anything is made for it.
struct Plan {
    tree: Tree,
    laid: Laid,
    configs: Vec<Config>,
    exclusions: Exclusions,
    baseline: Option<Baseline>,
}

/// The configurations asked for, the baseline's among them, and the baseline.
fn configurations(
    ctx: &Ctx,
    results: &Path,
    args: &Args,
) -> Result<(Vec<Config>, Option<Baseline>)> {
    let mut names = args.configs.clone();
    if names.is_empty() {
        names.push(DEFAULT.into());
    }
    let known = config::names(&ctx.repo)?;
    // A baseline that is a configuration is run as well; one that is not must be results that are there.
    let also = args.baseline.as_ref().filter(|name| known.contains(name));
    names.extend(also.cloned());
    let configs = config::load_all(&ctx.repo, &names)?;
    let names = configs.iter().map(|config| config.name.as_str());
    let baseline = match &args.baseline {
        None => None,
        Some(name) => Some(Baseline::parse(names, name, results).map_err(|error| {
            Exit::usage(format!("--baseline {name}: {error:#}")).hint(format!(
                "a configuration ({}), a kept run, or a results.json",
                known.join(", ")
            ))
        })?),
    };
    Ok((configs, baseline))
}

/// Reads all that the command line names.
fn plan(ctx: &Ctx, results: &Path, args: &Args) -> Result<Plan> {
    let tree = tree::find(args.xfstests.as_deref())?;
    let (configs, baseline) = configurations(ctx, results, args)?;
    let exclusions = Exclusions::load(&ctx.repo)?;
    let laid = lay::lay(ctx, &tree)?;
    Ok(Plan {
        tree,
        laid,
        configs,
        exclusions,
        baseline,
    })
}

/// Makes what is missing for the guests.
fn prepare(ctx: &Ctx, args: &Args, plan: &Plan) -> Result<SuiteGuest> {
    let root = root::provide(ctx)?;
    tree::check_libraries(&plan.tree, &root.files, &root.glibc)?;
    let mut drivers = plan.configs.iter().map(|config| config.driver);
    let notblk = drivers.any(|driver| driver == Driver::Notblk);
    let guest = SuiteGuest::prepare(ctx, args, notblk, root)?;
    guest.with_suite(ctx, &plan.tree.path, plan.laid.dir.clone())
}

/// Which tests each configuration gets, in the order of the configurations.
fn choose(plan: &Plan, args: &Args) -> Result<Vec<Chosen>> {
    let what = Selection {
        tests: args.tests.clone(),
        groups: args.groups.clone(),
        not_groups: args.not_groups.clone(),
        not_tests: args.not_tests.clone(),
        not_files: args.not_files.clone(),
    };
    let select = |config: &Config| select::select(&plan.tree, &plan.laid, &config.fstyp, &what);
    plan.configs.iter().map(select).collect()
}

/// A new run.
fn begin(ctx: &Ctx, results: &Path, args: Args) -> Result<Code> {
    let plan = plan(ctx, results, &args)?;
    let mut configs = Vec::new();
    let mut expunged = Vec::new();
    for (config, mut chosen) in plan.configs.iter().zip(choose(&plan, &args)?) {
        if let Some(shard) = args.shard {
            // Not by how long they took here: every machine must come to the same parts.
            chosen.tests = select::part(&chosen.tests, shard.part, shard.of, |_| 1.0);
        }
        configs.push(ConfigInfo {
            name: config.name.clone(),
            fstyp: config.fstyp.clone(),
            driver: config.driver.name().to_owned(),
            env: config.suite_env(),
            proof: Vec::new(),
            tests: chosen.tests,
            broken: None,
            shards: None,
        });
        expunged.push(chosen.expunged);
    }
    if args.dry_run {
        for (config, expunged) in configs.iter().zip(&expunged) {
            for test in &config.tests {
                let note = match expunged.contains(test) {
                    true => " [expunged]",
                    false => "",
                };
                println!("{} {test}{note}", config.name);
            }
        }
        return Ok(Code::PASSED);
    }
    let guest = prepare(ctx, &args, &plan)?;
    let started = clock::now();
    let names: Vec<String> = configs.iter().map(|config| config.name.clone()).collect();
    let info = RunInfo {
        id: clock::run_id(&started, &names),
        started,
        ended: None,
        state: State::Running,
        command: std::env::args().skip(1).collect(),
        commit: commit(ctx),
        kernel: guest.kernel.release.clone(),
        accel: guest.accel.to_string(),
        cpus: guest.cpus,
        memory: guest.memory(&plan.configs[0]),
        shards: args.shards.get(),
        shard: args.shard.map(Into::into),
        suite: SuiteInfo {
            path: plan.tree.path.display().to_string(),
            version: plan.tree.version.clone(),
        },
        configs,
        baseline: args
            .baseline
            .as_ref()
            .map(|given| named(results, given, plan.baseline.as_ref())),
        rounds: args.rounds(),
        wall_secs: 0.0,
    };
    let store = Store::create(results, &info)?;
    drive(ctx, results, &args, &plan, &guest, store, &expunged)
}

/// A run that was interrupted.
fn go_on(ctx: &Ctx, results: &Path, args: Args, store: Store) -> Result<Code> {
    let plan = plan(ctx, results, &args)?;
    let guest = prepare(ctx, &args, &plan)?;
    let info = store.info();
    if info.kernel != guest.kernel.release {
        return Err(Exit::usage(format!(
            "run {} was on kernel {}, and {} is what there is now",
            info.id, info.kernel, guest.kernel.release
        ))
        .hint("begin a new run, or put the kernel back into qemu/kernels.lock")
        .into());
    }
    let commit = commit(ctx);
    let changed = [
        ("this repository", &info.commit, &commit),
        ("the suite", &info.suite.version, &plan.tree.version),
    ];
    if let Some((what, then, now)) = changed.into_iter().find(|(_, then, now)| then != now) {
        return Err(Exit::usage(format!(
            "run {} was begun with {what} at {then}, and it is at {now} now",
            info.id
        ))
        .hint("results of both would stand under one name: begin a new run")
        .into());
    }
    store.update_run(|run| {
        run.state = State::Running;
        // What could not be run may be by now.
        run.configs.iter_mut().for_each(|it| it.broken = None);
    })?;
    let expunged: Vec<Vec<String>> = choose(&plan, &args)?
        .into_iter()
        .map(|chosen| chosen.expunged)
        .collect();
    drive(ctx, results, &args, &plan, &guest, store, &expunged)
}

/// Runs what has no result yet, and shows what came of it.
fn drive(
    ctx: &Ctx,
    results: &Path,
    args: &Args,
    plan: &Plan,
    guest: &SuiteGuest,
    store: Store,
    expunged: &[Vec<String>],
) -> Result<Code> {
    let began = Instant::now();
    let fixed = args.timeout.map(Duration::from_secs);
    let clocks = Mutex::new(Clocks::open(results, guest.accel, fixed));
    let before = store.info().wall_secs;
    ctx.ui.note(&format!("results: {}", store.dir().display()));
    // A guest that ended without a word says nothing about the test: a run that goes on tries it again.
    let (died, done): (Vec<_>, Vec<_>) = store
        .results()
        .into_iter()
        .partition(|result| result.status == Status::Died);
    let done: Vec<Status> = done.iter().map(|result| result.status).collect();
    let mut parts = Vec::new();
    let mut left = 0.0;
    let mut estimates = BTreeMap::new();
    {
        let clocks = clocks.lock().expect("nobody else has it yet");
        for (index, config) in plan.configs.iter().enumerate() {
            let name = &config.name;
            let estimate = |test: &str| clocks.estimate(name, test);
            let again = died.iter().filter(|result| result.config == *name);
            let again = again.map(|result| (result.round, result.test.clone()));
            let remaining: Vec<_> = again.chain(store.remaining(name)).collect();
            for round in 1..=args.rounds() {
                let tests: Vec<String> = remaining
                    .iter()
                    .filter(|(r, _)| *r == round)
                    .map(|(_, test)| test.clone())
                    .collect();
                for test in &tests {
                    left += estimate(test);
                    estimates.insert((name.clone(), test.clone()), estimate(test));
                }
                for shard in 1..=args.shards.get() {
                    let tests = select::part(&tests, shard, args.shards.get(), estimate);
                    parts.push(Part {
                        config: index,
                        round,
                        shard,
                        tests: tests.into(),
                    });
                }
            }
        }
    }
    // Rounds one after the other, and within each the configurations side by side: a run that is interrupted has the same
    // tests of all.
    parts.sort_by_key(|part: &Part| (part.round, part.shard));
    let chosen = done.len() + parts.iter().map(|part| part.tests.len()).sum::<usize>();
    let live = Live::new(&ctx.ui, chosen, &done, (left, estimates), args.shards.get());
    let runner = Runner {
        guest,
        configs: &plan.configs,
        exclusions: &plan.exclusions,
        store: &store,
        clocks: &clocks,
        live: &live,
        check_args: match args.again {
            Some(times) => vec!["-L".into(), times.to_string()],
            None => Vec::new(),
        },
        keep: args.keep,
        repeat: Repeat::new(
            args,
            tree::is_named(args.xfstests.as_deref()).then_some(&plan.tree.path),
            guest.cpus,
        ),
    };
    for part in &mut parts {
        runner.exclude(part, &expunged[part.config])?;
    }
    parts.retain(|part| !part.tests.is_empty());
    let ran = rounds(ctx, args, plan, &runner, parts);
    live.close();
    let mut names = plan.configs.iter().map(|config| &config.name);
    let complete = ran.is_ok()
        && store.info().faults().is_empty()
        && names.all(|name| store.remaining(name).is_empty());
    store.update_run(|run| {
        run.wall_secs = before + began.elapsed().as_secs_f64();
        run.ended = Some(clock::now());
        run.state = match complete {
            true => State::Complete,
            false => State::Interrupted,
        };
    })?;
    let code = report::close(&store, plan.baseline.as_ref())?;
    let broken = match ran {
        Ok(broken) => broken,
        Err(error) => {
            ctx.ui
                .note("what has ended is kept; go on with `cargo xtask run-xfstests --resume`");
            return Err(error);
        }
    };
    if broken.is_empty() {
        return Ok(code);
    }
    let lines: Vec<String> = broken
        .iter()
        .map(|it| format!("{}: {}", plan.configs[it.config].name, it.why))
        .collect();
    Err(Exit::host(format!("could not be run: {}", lines.join("; "))).into())
}

/// Runs round after round: none begins before the last has ended in all its guests.
fn rounds(
    ctx: &Ctx,
    args: &Args,
    plan: &Plan,
    runner: &Runner,
    parts: Vec<Part>,
) -> Result<Vec<Broken>> {
    let mut broken: Vec<Broken> = Vec::new();
    let mut parts = parts.into_iter().peekable();
    while let Some(round) = parts.peek().map(|part| part.round) {
        let results = match args.rounds_until_bad {
            Some(_) => runner.store.results(),
            None => Vec::new(),
        };
        // With -I a configuration has no further round after a bad one.
        let is_over = |config: usize| {
            let name = &plan.configs[config].name;
            let mut before = results.iter().filter(|result| result.round < round);
            broken.iter().any(|known| known.config == config)
                || before.any(|result| result.config == *name && result.is_unexpected_failure())
        };
        let mut now = Vec::new();
        while let Some(part) = parts.next_if(|part| part.round == round) {
            if !is_over(part.config) {
                now.push(part);
            }
        }
        let boots = runner.store.last_boot()?;
        broken.extend(runner.run(ctx, now, boots, args.shards.get())?);
    }
    Ok(broken)
}

/// A baseline by a name that means the same tomorrow: `latest` will be this very run in a moment.
fn named(results: &Path, given: &str, baseline: Option<&Baseline>) -> String {
    let Some(Baseline::Run(run, config)) = baseline else {
        return given.to_owned();
    };
    let id = &run.run.id;
    if results.join(id).is_dir() {
        return match config {
            Some(config) => format!("{id}:{config}"),
            None => id.clone(),
        };
    }
    let path = std::path::absolute(given);
    path.map_or_else(|_| given.to_owned(), |path| path.display().to_string())
}

/// The commit of this repository.
fn commit(ctx: &Ctx) -> String {
    let described = process::host_cmd(&ctx.sh, "git")
        .args(["-C"])
        .arg(&ctx.repo)
        .args(["describe", "--always", "--dirty", "--abbrev=12"])
        .ignore_stderr()
        .read();
    described.unwrap_or_else(|_| "unknown".into())
}
