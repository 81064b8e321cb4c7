// SPDX-License-Identifier: GPL-2.0

//! Finding kernel modules, and what they depend on.
//!
//! A package of modules comes without `modules.dep`, which its installation would make; but each module says itself
//! what it needs, in its `.modinfo`.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};
use object::{Object, ObjectSection};

use crate::toolbox::Toolbox;

/// The modules of a kernel.
pub struct Store<'a> {
    toolbox: &'a Toolbox,
    files: HashMap<String, PathBuf>,
}

impl<'a> Store<'a> {
    /// Looks through a directory like `lib/modules/RELEASE`.
    pub fn open(toolbox: &'a Toolbox, directory: &Path) -> Result<Self> {
        let mut files = HashMap::new();
        find(&directory.join("kernel"), &mut files)?;
        ensure!(
            !files.is_empty(),
            "{} holds no modules",
            directory.display()
        );
        Ok(Store { toolbox, files })
    }

    /// Adds a module's bytes, after those of all it depends on, and their names to `list`, in the order to load them.
    /// A module that there is no file for is taken to be built in.
    pub fn collect(
        &self,
        name: &str,
        bytes: &mut BTreeMap<String, Vec<u8>>,
        list: &mut Vec<String>,
    ) -> Result<()> {
        let Some(path) = self.files.get(name) else {
            return Ok(());
        };
        if list.iter().any(|other| other == name) {
            return Ok(());
        }
        let module = match bytes.get(name) {
            Some(module) => module.clone(),
            None => without_signature(self.read(path)?),
        };
        for dependency in depends(&module)? {
            self.collect(&dependency, bytes, list)?;
        }
        bytes.insert(name.to_owned(), module);
        list.push(name.to_owned());
        Ok(())
    }

    /// The module's bytes, unpacked.
    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        if path.extension() == Some(OsStr::new("ko")) {
            return fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        }
        let output = self
            .toolbox
            .command("xz")
            .args(["-dc", "--"])
            .arg(path)
            .bind(path)
            .cwd("/")
            .build()
            .output()
            .context("cannot run xz in the toolbox")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "xz {}: {}",
            path.display(),
            errors.trim()
        );
        Ok(output.stdout)
    }
}

/// A module without the signature at its end: to check one costs some 100 ms without KVM, and a guest loads about ten.
/// The kernel then calls itself tainted by an unsigned module, as it does for the one under test.
fn without_signature(mut module: Vec<u8>) -> Vec<u8> {
    const MARK: &[u8] = b"~Module signature appended~\n";
    // Before the mark stand eight bytes about the signature, and its length; before those, the signature.
    let length = |rest: &[u8]| {
        let word = rest.last_chunk::<4>()?;
        let signature = usize::try_from(u32::from_be_bytes(*word)).ok()?;
        rest.len().checked_sub(12)?.checked_sub(signature)
    };
    if let Some(length) = module.strip_suffix(MARK).and_then(length) {
        module.truncate(length);
    }
    module
}

/// Finds all module files below a directory, by the kernel's name for the module.
fn find(directory: &Path, files: &mut HashMap<String, PathBuf>) -> Result<()> {
    let items =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for item in items {
        let item = item?;
        if item.file_type()?.is_dir() {
            find(&item.path(), files)?;
            continue;
        }
        let name = item.file_name().to_string_lossy().into_owned();
        let module = name
            .strip_suffix(".ko.xz")
            .or_else(|| name.strip_suffix(".ko"));
        if let Some(module) = module {
            files.insert(module.replace('-', "_"), item.path());
        }
    }
    Ok(())
}

/// The names of the modules that this one needs.
pub fn depends(module: &[u8]) -> Result<Vec<String>> {
    let list = info(module, "depends")?.unwrap_or_default();
    Ok(list
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect())
}

/// A value of the module's `.modinfo`.
pub fn info(module: &[u8], name: &str) -> Result<Option<String>> {
    let Ok(elf) = object::File::parse(module) else {
        bail!("a kernel module is not an ELF file");
    };
    let section = elf
        .section_by_name(".modinfo")
        .context("a kernel module has no .modinfo")?;
    let data = section
        .data()
        .context("a kernel module has a broken .modinfo")?;
    let value = data.split(|&byte| byte == 0).find_map(|entry| {
        let entry = String::from_utf8_lossy(entry);
        let (key, value) = entry.split_once('=')?;
        (key == name).then(|| value.to_owned())
    });
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_cut_off() {
        let plain = b"a module".to_vec();
        assert_eq!(without_signature(plain.clone()), plain);
        let mut signed = plain.clone();
        signed.extend(b"signature");
        signed.extend([0; 8]);
        signed.extend(9_u32.to_be_bytes());
        signed.extend(b"~Module signature appended~\n");
        assert_eq!(without_signature(signed), plain);
        // A length that cannot be.
        let mut broken = 99_u32.to_be_bytes().to_vec();
        broken.extend(b"~Module signature appended~\n");
        assert_eq!(without_signature(broken.clone()), broken);
    }
}
