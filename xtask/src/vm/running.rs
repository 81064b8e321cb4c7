// SPDX-License-Identifier: GPL-2.0

//! A running QEMU, and its end.

use std::process::{Child, Command};

use anyhow::{Context, Result};
use rustix::process::{kill_process, Pid, Signal};
use rustix::termios::{tcgetattr, tcsetattr, OptionalActions, Termios};

use crate::process::Group;

/// A running QEMU. Dropped, it is ended.
pub enum Running {
    /// In a process group of its own.
    Apart(Group),
    /// In ours, because only the foreground group may read the terminal.
    OnTerminal(Child, Option<Termios>),
}

impl Running {
    /// Starts it.
    pub fn start(command: &mut Command, on_terminal: bool) -> Result<Self> {
        if !on_terminal {
            return Ok(Running::Apart(Group::spawn(command)?));
        }
        // QEMU makes the terminal raw, and cannot undo that when it is killed.
        let before = tcgetattr(std::io::stdin()).ok();
        let child = command.spawn().context("cannot start QEMU")?;
        Ok(Running::OnTerminal(child, before))
    }

    /// True once it has ended.
    pub fn has_ended(&mut self) -> Result<bool> {
        match self {
            Running::Apart(group) => Ok(group.try_wait()?.is_some()),
            Running::OnTerminal(child, _) => {
                Ok(child.try_wait().context("cannot wait for QEMU")?.is_some())
            }
        }
    }

    /// Ends it, if it runs.
    pub fn end(&mut self) {
        match self {
            Running::Apart(group) => group.end(),
            Running::OnTerminal(child, before) => {
                if let (Ok(None), Some(pid)) = (child.try_wait(), Pid::from_raw(child.id() as i32))
                {
                    // bubblewrap takes QEMU down with it. A failure means that it is gone already.
                    let _ = kill_process(pid, Signal::TERM);
                }
                let _ = child.wait();
                if let Some(before) = before.take() {
                    // Without a terminal there is nothing to restore.
                    let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
                }
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
