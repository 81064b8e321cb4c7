// SPDX-License-Identifier: GPL-2.0

//! Rules of the house that no compiler checks: where `unsafe` may stand, and that each argues why.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn repo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("tests/host lies two levels below the repository")
        .to_path_buf()
}

/// All `.rs` files below `dir`, but for what is generated.
fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    for entry in entries {
        let path = entry.expect("a directory entry").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") && name != "bindings.rs" {
            found.push(path);
        }
    }
}

/// The line without what stands in comments and strings: enough to find the keyword.
fn code(line: &str) -> String {
    let mut out = String::new();
    let mut in_string = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if in_string => {
                chars.next();
            }
            '"' => in_string = !in_string,
            '/' if !in_string && chars.peek() == Some(&'/') => break,
            c if !in_string => out.push(c),
            _ => {}
        }
    }
    out
}

/// `unsafe` as a keyword.
fn has_unsafe(line: &str) -> bool {
    code(line)
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .any(|word| word == "unsafe")
}

/// Whether the comment or attribute lines right above line `at` hold `text`; a statement may begin a few lines above the
/// block in it.
fn argued(lines: &[&str], at: usize, text: &str) -> bool {
    let mut code_lines = 0;
    for line in lines[..at].iter().rev() {
        let line = line.trim();
        if line.contains(text) {
            return true;
        }
        if line.starts_with("//") || line.starts_with("#[") {
            continue;
        }
        // The beginning of the statement: `let x =`, `match x {`, `.then(||`, an argument list.
        code_lines += 1;
        if code_lines > 6 || line.ends_with(';') || line.ends_with('}') || line.is_empty() {
            return false;
        }
    }
    false
}

#[test]
fn unsafe_stays_in_sys_and_vfs() {
    let repo = repo();
    let mut files = Vec::new();
    sources(&repo, &mut files);
    assert!(files.len() > 40, "found {} sources only", files.len());
    let allowed = [
        "rust/sys/",
        "rust/vfs/",
        "qemu/agent/src/sys.rs",
        "qemu/agent/src/sys/",
    ];
    let mut wrong = Vec::new();
    let mut seen = 0;
    for file in files {
        let name = file
            .strip_prefix(&repo)
            .expect("below the repository")
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{name}: {e}"));
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            if !has_unsafe(line) {
                continue;
            }
            seen += 1;
            let code = code(line);
            if !allowed.iter().any(|prefix| name.starts_with(prefix)) {
                wrong.push(format!("{name}:{}: unsafe outside its place", i + 1));
            } else if code.contains("unsafe {") || code.contains("unsafe impl") {
                if !line.contains("SAFETY:") && !argued(&lines, i, "SAFETY:") {
                    wrong.push(format!("{name}:{}: unsafe without SAFETY", i + 1));
                }
            } else if code.contains("unsafe fn") || code.contains("unsafe extern \"\" fn") {
                // A type `unsafe extern "C" fn(…)` has no name after `fn`.
                let is_type = code.contains("fn(");
                // A trait's method says it once, at its declaration in the same file.
                let function = code.split("fn ").nth(1).unwrap_or_default();
                let function = function.split(['(', '<']).next().unwrap_or_default();
                let trait_impl = lines.iter().enumerate().any(|(j, l)| {
                    (l.contains(&format!("fn {function}("))
                        || l.contains(&format!("fn {function}<")))
                        && argued(&lines, j, "# Safety")
                });
                if !is_type && !trait_impl {
                    wrong.push(format!("{name}:{}: unsafe fn without # Safety", i + 1));
                }
            }
        }
    }
    assert!(seen > 100, "saw {seen} only: does the search still work?");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_search_finds_what_it_should() {
    assert!(has_unsafe("    let x = unsafe { *p };"));
    assert!(has_unsafe("pub unsafe fn f() {}"));
    assert!(!has_unsafe("// unsafe in a comment"));
    assert!(!has_unsafe("let s = \"unsafe in a string\";"));
    assert!(!has_unsafe("#![forbid(unsafe_code)]"));
    let lines = ["// SAFETY: because.", "let x =", "    unsafe { f() };"];
    assert!(argued(&lines, 2, "SAFETY:"));
    let lines = ["// SAFETY: of another.", "g();", "let x = unsafe { f() };"];
    assert!(!argued(&lines, 2, "SAFETY:"));
}

#[test]
fn filesystem_and_format_forbid_unsafe() {
    for file in ["rust/fs/mod.rs", "rust/format/mod.rs"] {
        let text = fs::read_to_string(repo().join(file)).expect(file);
        assert!(
            text.contains("#![forbid(unsafe_code)]"),
            "{file} must forbid unsafe code"
        );
    }
}

#[test]
fn the_filesystem_names_no_binding() {
    let repo = repo();
    let mut files = Vec::new();
    sources(&repo.join("rust/fs"), &mut files);
    for file in files {
        let text = fs::read_to_string(&file).expect("a source of ours");
        for (i, line) in text.lines().enumerate() {
            let code = code(line);
            assert!(
                !code.contains("bindings") && !code.contains("crate::sys"),
                "{}:{}: rust/fs goes through rust/vfs",
                file.display(),
                i + 1
            );
        }
    }
}
