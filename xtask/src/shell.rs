// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask shell`: a prompt in the guest, or one command.

use std::io::{IsTerminal, Write};

use anyhow::Result;
use notblk_protocol::{Event, Work};

use crate::context::Ctx;
use crate::errors::{Code, Exit};
use crate::guest::{self, Guest, GuestArgs};

/// Options of `shell`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    guest: GuestArgs,
    /// Run one command and leave with its exit code
    #[arg(short, long, value_name = "CMD")]
    command: Option<String>,
}

/// `cargo xtask shell`.
pub fn run(ctx: &Ctx, args: Args) -> Result<Code> {
    let work = match args.command {
        Some(command) => Work::Command { command },
        None if std::io::stdin().is_terminal() => Work::Shell,
        None => {
            return Err(Exit::usage("a prompt needs a terminal")
                .hint("use -c CMD")
                .into())
        }
    };
    let guest = Guest::prepare(ctx, &args.guest, true)?;
    let interactive = work == Work::Shell;
    let step = match interactive {
        // The terminal is the guest's: no spinner.
        true => {
            ctx.ui
                .note("booting; leave with `exit`, Ctrl-A x ends the machine");
            None
        }
        false => Some(
            ctx.ui
                .step("guest", &format!("booting {}", guest.kernel.release)),
        ),
    };
    let mut code = None;
    let outcome = guest.boot(ctx, "shell", work, None, step.as_ref(), |event| {
        match event {
            Event::Output { text } => {
                ctx.ui.suspend(|| {
                    let mut out = std::io::stdout();
                    out.write_all(text.as_bytes()).and_then(|()| out.flush())
                })?;
            }
            Event::Exit { code: exit } => code = Some(*exit),
            _ => {}
        }
        Ok(())
    })?;
    // Ending the machine is one way to leave a prompt.
    if interactive && outcome.splats.is_empty() {
        return Ok(Code::PASSED);
    }
    if let Some(bad) = outcome.report(ctx) {
        return Ok(bad);
    }
    let code = code.ok_or_else(|| guest::no_answer("the command's exit code"))?;
    Ok(Code(u8::try_from(code).unwrap_or(1)))
}
