// SPDX-License-Identifier: GPL-2.0
//! Loading and removing kernel modules.
//!
//! The host packs the modules uncompressed as `/lib/modules/NAME.ko`, and beside each, in
//! `/lib/modules/order`, the modules that must go first: lines of `name dependency...`, the
//! dependencies in the order to load them. So nothing here has to read ELF files or `modules.dep`.

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::system::{delete_module, finit_module};
use std::ffi::CString;
use std::fs::{self, File};
use std::path::Path;

/// Where the host packs them.
const DIRECTORY: &str = "/lib/modules";

/// Loads a module and what it depends on. A module that is there already, or built in (then the
/// host packed no file for it), is fine.
pub fn load(name: &str, parameters: &[&str]) -> Result<()> {
    let order = fs::read_to_string(format!("{DIRECTORY}/order")).context("the order of modules")?;
    let dependencies = order
        .lines()
        .map(str::split_whitespace)
        .find_map(|mut words| (words.next() == Some(name)).then_some(words));
    for dependency in dependencies.into_iter().flatten() {
        insert(dependency, &[])?;
    }
    insert(name, parameters)
}

/// Inserts one module file.
fn insert(name: &str, parameters: &[&str]) -> Result<()> {
    // The kernel would read and relocate all of it before it says so.
    if is_loaded(name) {
        return Ok(());
    }
    let path = format!("{DIRECTORY}/{name}.ko");
    if !Path::new(&path).exists() {
        return Ok(());
    }
    match try_insert(name, parameters) {
        Ok(()) => Ok(()),
        // EEXIST of a module that is loaded; a driver that answers it by itself is not.
        Err(Errno::EXIST) if is_loaded(name) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("insert {name}.ko")),
    }
}

/// Inserts one module and returns the bare errno, for tests that expect one.
pub fn try_insert(name: &str, parameters: &[&str]) -> Result<(), Errno> {
    let file = File::open(format!("{DIRECTORY}/{name}.ko")).map_err(|_| Errno::NOENT)?;
    let text = CString::new(parameters.join(" ")).map_err(|_| Errno::INVAL)?;
    finit_module(&file, &text, 0)
}

/// Removes a module.
pub fn remove(name: &str) -> Result<()> {
    let text = CString::new(name)?;
    delete_module(&text, libc::O_NONBLOCK).with_context(|| format!("remove {name}"))
}

/// Whether it is loaded now.
pub fn is_loaded(name: &str) -> bool {
    Path::new("/sys/module")
        .join(name)
        .join("initstate")
        .exists()
}
