// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask hostile`: images that somebody has tampered with, each mounted, walked, written to and unmounted, thousands in one
//! boot. A refusal is an errno and a line in the log; a warning, a hang or a dead guest is a bug.
//!
//! What an image is, its base and its seed say: a seed means the same for ever. One that the driver does not take as it should is
//! made small and kept in `tests/hostile`, where `cargo xtask test` replays it.

mod minimize;
mod table;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;
use notblk_hostile::base::{self, BASES};
use notblk_hostile::case::Case;
use notblk_hostile::mutate::Mode;
use notblk_protocol::{Event, HostileFailure, HostileImage, HostileReport, HostileSpec, Work};

use crate::context::Ctx;
use crate::errors::{Code, Exit};
use crate::guest::{Guest, GuestArgs};
use crate::ui::Step;
use crate::vm::{End, Outcome};

/// Images of one boot at the most: what one leaves behind in memory should not decide about all that follow.
const BOOT: u64 = 2500;
/// What one image may take on average, on a slow and busy machine.
const EACH: Duration = Duration::from_secs(2);
/// What the rest of a boot may take.
const ONCE: Duration = Duration::from_secs(600);
/// Lines of the console of a guest that died or hangs.
const CONSOLE: usize = 60;

/// Options of `hostile`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    guest: GuestArgs,
    /// Number of images
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// The first image's seed; each has the next one
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..1 << 48))]
    seed: u64,
    /// Images made from this sound one only [default: from each, as the seed says]
    #[arg(long, value_name = "NAME", value_parser = base_name)]
    base: Option<String>,
    /// Changes of this sort only [default: fields three times in four]
    #[arg(long, value_enum)]
    mode: Option<ModeArg>,
    /// Only this image: a file as tests/hostile has them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["count", "seed", "base", "mode"])]
    image: Option<PathBuf>,
    /// Go on until so many images have failed
    #[arg(long, value_name = "N", default_value_t = 5)]
    failures: usize,
    /// Where images that fail are kept [default: tests/hostile, whose files are guest tests]
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Keep them with all their changes, without looking for those that matter
    #[arg(long)]
    unshrunk: bool,
    /// Print one JSON value
    #[arg(long)]
    json: bool,
}

/// `--mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModeArg {
    /// Fields of the format get values that are likely to hurt
    Fields,
    /// Bytes change, whatever they mean
    Blind,
}

impl From<ModeArg> for Mode {
    fn from(arg: ModeArg) -> Mode {
        match arg {
            ModeArg::Fields => Mode::Fields,
            ModeArg::Blind => Mode::Blind,
        }
    }
}

fn base_name(text: &str) -> Result<String, String> {
    match base::find(text) {
        Some(base) => Ok(base.name.to_owned()),
        None => {
            let names: Vec<_> = BASES.iter().map(|base| base.name).collect();
            Err(format!("one of {}", names.join(", ")))
        }
    }
}

/// An image that was not taken as it should be.
struct Failed {
    failure: HostileFailure,
    /// What it calls for.
    code: Code,
}

/// What one boot gave.
struct Boot {
    /// Those that failed.
    failed: Vec<Failed>,
    /// Images that the guest began.
    begun: u64,
    /// How it ended.
    outcome: Outcome,
}

/// `cargo xtask hostile`.
pub fn run(ctx: &Ctx, args: Args) -> Result<Code> {
    let given = args.image.as_ref().map(read).transpose()?;
    let guest = Guest::prepare(ctx, &args.guest, false)?;
    let began = Instant::now();
    let mut report = HostileReport::default();
    let mut failed: Vec<Failed> = Vec::new();
    let mut bad = None;
    let mut from = args.seed;
    let end = match given {
        Some(_) => from + 1,
        None => args.seed + args.count,
    };
    while from < end && failed.len() < args.failures.max(1) {
        let count = (end - from).min(BOOT);
        let spec = match &given {
            Some(case) => HostileSpec::Cases(vec![case.clone()]),
            None => HostileSpec::Seeds {
                from,
                count,
                base: args.base.clone(),
                mode: args.mode.map(Mode::from),
            },
        };
        let what = match &given {
            Some(_) => "one image".to_owned(),
            None => format!("seeds {from} to {}", from + count - 1),
        };
        let step = ctx.ui.step(
            "hostile",
            &format!(
                "booting {} ({}) for {what}",
                guest.kernel.release, guest.accel
            ),
        );
        let booted = boot(ctx, &guest, spec, count, &step, &mut report)?;
        step.done(&format!(
            "{} images in all, {}",
            report.images,
            table::shares(&report)
        ));
        // Before it is too late: what follows takes long.
        for one in &booted.failed {
            ctx.ui
                .note(&format!("failed: {}", name(&one.failure.image)));
        }
        failed.extend(booted.failed);
        if booted.begun == 0 || matches!(booted.outcome.end, End::Broken(_)) {
            bad = Some(bad_boot(ctx, &booted.outcome)?);
            break;
        }
        from += booted.begun;
    }
    let time = began.elapsed();
    let mut codes: Vec<Code> = bad.into_iter().collect();
    for one in failed {
        codes.push(one.code);
        keep(ctx, &guest, &args, one, given.is_some())?;
    }
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print!("{}", table::render(&report, time));
    }
    Ok(Code::worst(codes).unwrap_or(Code::PASSED))
}

fn read(path: &PathBuf) -> Result<Case> {
    let text = fs::read_to_string(path).map_err(|error| {
        anyhow::Error::from(Exit::usage(format!("{}: {error}", path.display())))
    })?;
    Case::parse(&text)
        .map_err(|error| Exit::usage(format!("{}: {}", path.display(), error.trim_end())).into())
}

/// What there is to say where the agent did not come to an image, or could not go on.
fn bad_boot(ctx: &Ctx, outcome: &Outcome) -> Result<Code> {
    match outcome.report(ctx) {
        Some(code) => Ok(code),
        None => Err(Exit::host("the guest is done, but has not tried any image").into()),
    }
}

/// One boot for many images, up to the one that it does not survive.
fn boot(
    ctx: &Ctx,
    guest: &Guest,
    spec: HostileSpec,
    count: u64,
    step: &Step,
    report: &mut HostileReport,
) -> Result<Boot> {
    let limit = ONCE.saturating_add(EACH.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX)));
    let mut failed: Vec<Failed> = Vec::new();
    let mut begun = 0;
    let mut told = 0;
    let mut current: Option<HostileImage> = None;
    let work = Work::Hostile(spec);
    let outcome = guest.boot(ctx, "hostile", work, Some(limit), Some(step), |event| {
        match event {
            Event::HostileImage(image) => {
                begun += 1;
                current = Some((**image).clone());
                step.detail(&format!("{begun} of {count}"));
            }
            Event::HostileFailed(failure) => failed.push(Failed {
                failure: (**failure).clone(),
                code: Code::TEST_FAILED,
            }),
            Event::Hostile(more) => {
                told += more.images;
                report.add(more);
            }
            _ => {}
        }
        Ok(())
    })?;
    // What a guest that died had not told of yet.
    report.images += begun - told;
    // The guest tells of a splat that it survives, and stops at that image. One that it does not survive is the last image's.
    let complaint = match outcome.end {
        End::Broken(_) => None,
        _ => outcome.complaint(),
    };
    if let (Some(image), Some((line, code))) = (current, complaint) {
        let code = Code::worst([Code::TEST_FAILED, code]).unwrap_or(code);
        let told = failed.last_mut().filter(|last| last.failure.image == image);
        match told {
            Some(last) => last.code = code,
            None if outcome.end == End::Done => {
                // Said after the last image: by a watcher, or late.
                let complaints = vec![line];
                let failure = HostileFailure { image, complaints };
                failed.push(Failed { failure, code });
            }
            None => {
                let mut complaints = vec![line];
                complaints.extend(outcome.splats.iter().flatten().cloned());
                let tail = outcome.console.len().saturating_sub(CONSOLE);
                complaints.extend(outcome.console[tail..].iter().cloned());
                complaints.extend(outcome.dump.iter().take(4 * CONSOLE).cloned());
                let failure = HostileFailure { image, complaints };
                failed.push(Failed { failure, code });
            }
        }
    }
    Ok(Boot {
        failed,
        begun,
        outcome,
    })
}

/// Shows an image that failed; makes it small, and writes it down.
fn keep(ctx: &Ctx, guest: &Guest, args: &Args, failed: Failed, is_kept: bool) -> Result<()> {
    let HostileFailure { image, complaints } = failed.failure;
    println!("FAILED   {}", name(&image));
    complaints
        .iter()
        .for_each(|line| println!("         {line}"));
    if is_kept {
        return Ok(());
    }
    let mut case = image.case.clone();
    case.why = complaints.first().cloned().unwrap_or_default();
    if !args.unshrunk {
        match minimize::minimize(ctx, guest, case.clone())? {
            Some(small) => case = small,
            None => println!("         does not fail alone: what came before it matters"),
        }
    }
    case.mutations
        .iter()
        .for_each(|one| println!("         {one}"));
    let dir = match &args.keep {
        Some(dir) => dir.clone(),
        None => ctx.repo.join("tests/hostile"),
    };
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let path = dir.join(format!("{}.toml", name(&image)));
    let text = case.print().map_err(anyhow::Error::msg)?;
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    println!("         kept as {}", path.display());
    println!(
        "         replay: cargo xtask hostile --image {}",
        path.display()
    );
    Ok(())
}

/// What an image is called: where it comes from.
fn name(image: &HostileImage) -> String {
    match image.seed {
        Some((seed, mode)) => format!("{}-{mode}-{seed}", image.case.base),
        None => image.case.base.clone(),
    }
}
