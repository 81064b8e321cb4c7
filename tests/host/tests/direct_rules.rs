// SPDX-License-Identifier: GPL-2.0

//! The table in `rust/fs/README.md`: each function that it names is in the file that it names.

use std::{fs, path::Path};

/// So many rules there are at least.
const RULES: usize = 25;

/// The file and the function of a row; `None` for what is no row of the table.
fn row(line: &str) -> Option<(&str, &str)> {
    let cells: Vec<&str> = line.strip_prefix('|')?.split('|').map(str::trim).collect();
    let [_rule, file, function, ""] = cells[..] else {
        return None;
    };
    Some((quoted(file)?, quoted(function)?))
}

/// What stands between backquotes.
fn quoted(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`')
}

/// Whether a source defines a function.
fn defines(source: &str, function: &str) -> bool {
    source.lines().any(|line| {
        let line = line.trim_start();
        let rest = line
            .split_once("fn ")
            .filter(|(before, _)| !before.contains("//"));
        rest.is_some_and(|(_, rest)| {
            rest.strip_prefix(function)
                .is_some_and(|rest| rest.starts_with(['(', '<']))
        })
    })
}

#[test]
fn each_rule_is_where_the_table_says() {
    let repo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let table = fs::read_to_string(repo.join("rust/fs/README.md")).expect("rust/fs/README.md");
    let mut rules = 0;
    for (file, function) in table.lines().filter_map(row) {
        let source = fs::read_to_string(repo.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(
            defines(&source, function),
            "{file} has no function {function}"
        );
        rules += 1;
    }
    assert!(rules >= RULES, "the table has {rules} rules");
}

#[test]
fn the_search_tells_functions_from_words() {
    assert_eq!(row("| a rule | `a/b.rs` | `f` |"), Some(("a/b.rs", "f")));
    assert_eq!(row("| rule | file | function |"), None);
    assert_eq!(row("| --- | --- | --- |"), None);
    assert!(defines("    pub(super) fn drain(lock: &L) {", "drain"));
    assert!(defines("fn write_checks<'a>(", "write_checks"));
    assert!(!defines("fn drained(", "drain"));
    assert!(!defines("// the fn drain(lock)", "drain"));
    assert!(!defines("drain(&lock);", "drain"));
}
