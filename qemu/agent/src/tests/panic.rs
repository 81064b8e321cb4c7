// SPDX-License-Identifier: GPL-2.0
//! What the machine must not survive: the host gives each of these tests a boot of its own, and asks for a panic.

use super::env::Env;
use super::record::damage;
use super::{test, Test};
use anyhow::{bail, Result};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![test("panic/errors-panic", errors_panic).damages()]
}

/// Damage with `errors=panic`.
fn errors_panic(env: &Env) -> Result<()> {
    damage(env)?;
    let _mounted = env.mount("errors=panic")?;
    let result = std::fs::read(env.path("one"));
    bail!("the machine goes on after an error: {result:?}")
}
