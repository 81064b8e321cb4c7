// SPDX-License-Identifier: GPL-2.0

//! Ctrl-C, SIGTERM and SIGHUP become a flag that every wait and every long loop looks at.
//!
//! Nothing is torn down inside a signal handler: whoever waits for a child ends the child, whoever fills a directory
//! removes it, and the error travels up to `main`, which leaves with code 130.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};

use crate::errors::Exit;

static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Installs the handlers; called once, by `main`.
pub fn install() -> Result<()> {
    let flag = FLAG.get_or_init(Default::default);
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, flag.clone()).context("cannot install a handler")?;
    }
    Ok(())
}

/// True once the user asked to stop.
pub fn requested() -> bool {
    FLAG.get().is_some_and(|flag| flag.load(Ordering::SeqCst))
}

/// Fails with code 130 once the user asked to stop.
pub fn check() -> Result<()> {
    match requested() {
        true => Err(Exit::interrupted().into()),
        false => Ok(()),
    }
}
