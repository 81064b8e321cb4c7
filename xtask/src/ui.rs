// SPDX-License-Identifier: GPL-2.0

//! Progress, on stderr: spinners on a terminal, one line per step without one.
//!
//! Tables and verdicts are results and go to stdout; their commands print them.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where progress goes; clones share one screen.
#[derive(Clone)]
pub struct Ui(Arc<Inner>);

struct Inner {
    start: Instant,
    tty: bool,
    verbose: bool,
    bars: MultiProgress,
}

impl Ui {
    /// Progress on this process's stderr; `verbose` shows the output of child processes as it comes.
    pub fn new(verbose: bool) -> Self {
        let tty = std::io::stderr().is_terminal() && !verbose;
        let target = match tty {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        Ui(Arc::new(Inner {
            start: Instant::now(),
            tty,
            verbose,
            bars: MultiProgress::with_draw_target(target),
        }))
    }

    /// True where `-v` asked for the output of child processes.
    pub fn verbose(&self) -> bool {
        self.0.verbose
    }

    /// True where spinners are shown.
    pub fn is_terminal(&self) -> bool {
        self.0.tty
    }

    /// Begins a step, named like `toolbox` or `kernel 7.3`, that now does `what`.
    pub fn step(&self, name: &str, what: &str) -> Step {
        let bar = self.0.tty.then(|| {
            let bar = self.0.bars.add(ProgressBar::new_spinner());
            bar.set_style(
                ProgressStyle::with_template("{spinner} {prefix}: {wide_msg} {elapsed}")
                    .expect("the template is constant"),
            );
            bar.set_prefix(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        let step = Step {
            ui: self.clone(),
            bar,
            name: name.to_owned(),
            started: Instant::now(),
        };
        step.now(what);
        step
    }

    /// One line that stays on the screen.
    pub fn note(&self, line: &str) {
        self.print(&format!("{} {line}", self.clock()));
    }

    /// One line about something that is not as it should be, but not fatal.
    pub fn warn(&self, line: &str) {
        self.note(&format!("warning: {line}"));
    }

    /// A line as it is, above the spinners.
    pub fn print(&self, line: &str) {
        self.0.bars.suspend(|| eprintln!("{line}"));
    }

    /// Runs `f` with the spinners out of the way: for commands that own the terminal for a while.
    pub fn suspend<T>(&self, f: impl FnOnce() -> T) -> T {
        self.0.bars.suspend(f)
    }

    fn clock(&self) -> String {
        format!("[{:6.1}s]", self.0.start.elapsed().as_secs_f64())
    }
}

/// A step under way. Dropped without [`Step::done`] it vanishes: the error that follows tells what happened.
pub struct Step {
    ui: Ui,
    bar: Option<ProgressBar>,
    name: String,
    started: Instant,
}

impl Step {
    /// Says what the step does now: the spinner's text, or a line of its own.
    pub fn now(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None => self.ui.note(&format!("{}: {what}", self.name)),
        }
    }

    /// Says something that changes often: shown by a spinner only.
    pub fn detail(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
        }
    }

    /// Ends the step well; leaves one line with what it gave and how long it took.
    pub fn done(self, what: &str) {
        let took = self.started.elapsed().as_secs_f64();
        let line = format!("{}: {what} ({took:.1} s)", self.name);
        self.ui.note(&line);
    }

    /// The screen that this step is on.
    pub fn ui(&self) -> &Ui {
        &self.ui
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            self.ui.0.bars.remove(bar);
        }
    }
}
