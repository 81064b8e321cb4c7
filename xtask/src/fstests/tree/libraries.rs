// SPDX-License-Identifier: GPL-2.0

//! Whether the tree's programs can run in the guest: their loader, their shared libraries, the glibc that they need.
//!
//! A program that cannot start makes its tests fail, or skip themselves, for a reason that is nobody's bug.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use object::elf::{FileHeader64, DT_NEEDED, EM_X86_64, ET_REL, PT_INTERP};
use object::read::elf::{FileHeader, ProgramHeader};
use object::Endianness;

use super::Tree;
use crate::errors::Exit;

/// The directories of the tree that hold programs.
const DIRS: [&str; 2] = ["ltp", "src"];
/// Programs that are named in a refusal; the others are counted.
const NAMED: usize = 3;

/// Refuses a tree whose programs the guest cannot run. `files` is a list of all paths in the guest's root, one in each
/// line; `glibc` its glibc's version, like `2.41`.
pub fn check(tree: &Tree, files: &Path, glibc: &str) -> Result<()> {
    let text =
        fs::read_to_string(files).with_context(|| format!("cannot read {}", files.display()))?;
    let guest = Guest::new(&text, glibc);
    let mut complaints = Vec::new();
    for dir in DIRS {
        let mut programs = Vec::new();
        elf_files(&tree.path.join(dir), &mut programs)?;
        for program in programs {
            let needs = Needs::of(&program)
                .with_context(|| format!("{} is a damaged program", program.display()))?;
            let name = program.strip_prefix(&tree.path).unwrap_or(&program);
            complaints.extend(
                needs
                    .iter()
                    .filter_map(|needs| guest.lacks(needs))
                    .map(|lack| format!("{} needs {lack}", name.display())),
            );
        }
    }
    if complaints.is_empty() {
        return Ok(());
    }
    complaints.sort();
    let mut line = complaints[..complaints.len().min(NAMED)].join(", ");
    if complaints.len() > NAMED {
        line += &format!(", and {} more", complaints.len() - NAMED);
    }
    Err(Exit::usage(format!(
        "the xfstests in {} is built against what the guest lacks: {line}",
        tree.path.display()
    ))
    .hint("build it in the toolbox, whose libraries are the guest's: `cargo xtask toolbox -- make` in a clean tree")
    .into())
}

/// What the guest has.
struct Guest<'a> {
    paths: BTreeSet<&'a str>,
    names: BTreeSet<&'a str>,
    glibc: Vec<u32>,
}

impl<'a> Guest<'a> {
    fn new(files: &'a str, glibc: &str) -> Self {
        let paths: BTreeSet<&str> = files
            .lines()
            .map(|line| line.trim_start_matches('.').trim_start_matches('/'))
            .collect();
        let names = paths
            .iter()
            .filter_map(|path| path.rsplit('/').next())
            .collect();
        Guest {
            paths,
            names,
            glibc: numbers(glibc),
        }
    }

    /// What of the needs is not met.
    fn lacks(&self, needs: &Needs) -> Option<String> {
        if !needs.native {
            return Some("another processor".into());
        }
        if let Some(loader) = &needs.loader {
            let path = loader.trim_start_matches('/');
            // `/lib64` is a link to `/usr/lib64` in the guest.
            if !self.paths.contains(path) && !self.paths.contains(format!("usr/{path}").as_str()) {
                return Some(loader.clone());
            }
        }
        let library = needs
            .libraries
            .iter()
            .find(|l| !self.names.contains(&l[..]));
        if let Some(library) = library {
            return Some(library.clone());
        }
        (needs.glibc > self.glibc).then(|| {
            let words: Vec<String> = needs.glibc.iter().map(u32::to_string).collect();
            format!("glibc {}", words.join("."))
        })
    }
}

/// What a program needs.
#[derive(Debug, PartialEq, Eq)]
struct Needs {
    /// It is for x86-64, as the guest is.
    native: bool,
    /// The loader, unless it is static.
    loader: Option<String>,
    /// The shared libraries.
    libraries: Vec<String>,
    /// The newest glibc of which it uses a symbol.
    glibc: Vec<u32>,
}

impl Needs {
    /// Of an ELF file; `None` for an object file.
    fn of(path: &Path) -> Result<Option<Self>> {
        Self::parse(&fs::read(path)?)
    }

    fn parse(data: &[u8]) -> Result<Option<Self>> {
        let mut needs = Needs {
            native: false,
            loader: None,
            libraries: Vec::new(),
            glibc: Vec::new(),
        };
        let Ok(header) = FileHeader64::<Endianness>::parse(data) else {
            // Not 64 bits wide.
            return Ok(Some(needs));
        };
        let endian = header.endian()?;
        if header.e_type(endian) == ET_REL {
            return Ok(None);
        }
        needs.native = header.e_machine(endian) == EM_X86_64;
        for segment in header.program_headers(endian, data)? {
            if segment.p_type(endian) == PT_INTERP {
                let Ok(bytes) = segment.data(endian, data) else {
                    bail!("its loader's name lies outside the file");
                };
                let text = String::from_utf8_lossy(bytes);
                needs.loader = Some(text.trim_end_matches('\0').to_owned());
            }
        }
        let sections = header.sections(endian, data)?;
        if let Some((entries, link)) = sections.dynamic(endian, data)? {
            let strings = sections.strings(endian, data, link)?;
            for entry in entries.iter().filter(|e| e.d_tag.get(endian) == DT_NEEDED) {
                let offset = u32::try_from(entry.d_val.get(endian))?;
                let Ok(name) = strings.get(offset) else {
                    bail!("a library's name lies outside the file");
                };
                needs
                    .libraries
                    .push(String::from_utf8_lossy(name).into_owned());
            }
        }
        if let Some((mut files, link)) = sections.gnu_verneed(endian, data)? {
            let strings = sections.strings(endian, data, link)?;
            while let Some((_, mut versions)) = files.next()? {
                while let Some(version) = versions.next()? {
                    let name = String::from_utf8_lossy(version.name(endian, strings)?);
                    if let Some(version) = name.strip_prefix("GLIBC_") {
                        needs.glibc = needs.glibc.max(numbers(version));
                    }
                }
            }
        }
        Ok(Some(needs))
    }
}

/// `2.41` as numbers; empty, and so the least, for `PRIVATE` and the like.
fn numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect()
}

/// All ELF files below `dir`: libtool's real programs are in `.libs`, behind scripts.
fn elf_files(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot list {}", dir.display())),
    };
    for entry in entries {
        let entry = entry?;
        let (kind, path) = (entry.file_type()?, entry.path());
        if kind.is_dir() {
            elf_files(&path, found)?;
        } else if kind.is_file() && is_elf(&path)? {
            found.push(path);
        }
    }
    Ok(())
}

fn is_elf(path: &Path) -> Result<bool> {
    let mut magic = [0; 4];
    match File::open(path).and_then(|mut file| file.read_exact(&mut magic)) {
        Ok(()) => Ok(magic == *b"\x7fELF"),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::{classify, Code};

    /// A tree with one program: this very test, which needs libc and its loader.
    fn tree() -> (tempfile::TempDir, Tree, Needs) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("src/.libs")).unwrap();
        fs::write(dir.path().join("src/script"), "#!/bin/sh\n").unwrap();
        fs::write(dir.path().join("src/x"), "").unwrap();
        let program = dir.path().join("src/.libs/program");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        let needs = Needs::of(&program).unwrap().unwrap();
        let tree = Tree {
            path: dir.path().to_owned(),
            version: String::new(),
        };
        (dir, tree, needs)
    }

    /// The guest's files, with all that is needed but for `without`.
    fn files(dir: &Path, needs: &Needs, without: &str) -> PathBuf {
        let mut text = String::from("./etc/passwd\n");
        let loader = needs.loader.clone().unwrap();
        let libraries = needs.libraries.iter().map(|l| format!("/lib/x/{l}"));
        for path in libraries.chain([loader]) {
            if !without.ends_with(&path) && !path.ends_with(&format!("/{without}")) {
                text += &format!("./usr{path}\n");
            }
        }
        let path = dir.join("files");
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn what_the_guest_has_is_enough() {
        let (dir, tree, needs) = tree();
        assert!(needs.native);
        assert!(needs.libraries.iter().any(|l| l == "libc.so.6"));
        assert!(needs.glibc > numbers("2.2"));
        let files = files(dir.path(), &needs, "nothing");
        check(&tree, &files, "9.0").unwrap();
        let exact: Vec<String> = needs.glibc.iter().map(u32::to_string).collect();
        check(&tree, &files, &exact.join(".")).unwrap();
    }

    #[test]
    fn each_lack_is_named_with_its_program() {
        let (dir, tree, needs) = tree();
        let refusal = |without: &str, glibc: &str| {
            let files = files(dir.path(), &needs, without);
            let exit = classify(&check(&tree, &files, glibc).unwrap_err());
            assert_eq!(exit.code, Code::USAGE);
            exit.line
        };
        assert!(refusal("libc.so.6", "9.0").contains("src/.libs/program needs libc.so.6"));
        assert!(refusal("nothing", "2.2").contains("src/.libs/program needs glibc 2."));
        let loader = needs.loader.clone().unwrap();
        assert!(refusal(&loader, "9.0").contains(&format!("program needs {loader}")));
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(numbers("2.9") < numbers("2.41"));
        assert!(numbers("2.2.5") > numbers("2.2"));
        assert!(numbers("PRIVATE").is_empty());
    }
}
