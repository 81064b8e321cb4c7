// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::errors::{classify, Code};

/// A tree with two directories of tests, and a directory laid over one of them.
struct Fixture {
    dir: tempfile::TempDir,
    tree: Tree,
    laid: Laid,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let generic =
        "# groups\n\n001 auto quick rw\n002 auto # quick\n010 quick trim\n100 auto\n1000 auto\n";
    write("suite/tests/generic/group.list", generic);
    write(
        "laid/tests/generic/group.list",
        &(generic.to_owned() + "900 auto quick\n"),
    );
    write(
        "suite/tests/ext4/group.list",
        "001 auto quick\n003-with-words auto fancy\n",
    );
    write("suite/tests/xfs/group.list", "001 auto xfsonly\n");
    write("suite/tests/Makefile", "");
    let tree = Tree {
        path: dir.path().join("suite"),
        version: String::new(),
    };
    let laid = Laid {
        dir: dir.path().join("laid"),
    };
    Fixture { dir, tree, laid }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

impl Fixture {
    /// `TESTS | -g | -x`
    fn choose(&self, fstyp: &str, line: &str) -> Result<Chosen> {
        let parts: Vec<Vec<String>> = line.split('|').map(words).collect();
        let part = |i: usize| parts.get(i).cloned().unwrap_or_default();
        let what = Selection {
            tests: part(0),
            groups: part(1),
            not_groups: part(2),
            ..Selection::default()
        };
        select(&self.tree, &self.laid, fstyp, &what)
    }
}

#[test]
fn names_and_groups_as_check_takes_them() {
    let fixture = fixture();
    for (fstyp, line, expected) in [
        // Nothing said is `auto`. The order is that of text, in which 1000 comes before 101.
        (
            "btrfs",
            "",
            "generic/001 generic/002 generic/100 generic/1000 generic/900",
        ),
        // ext2 and ext3 have the groups of ext4.
        (
            "ext2",
            "|quick",
            "ext4/001 generic/001 generic/010 generic/900",
        ),
        (
            "ext2",
            "|generic/quick",
            "generic/001 generic/010 generic/900",
        ),
        ("ext2", "|xfs/auto", "xfs/001"),
        ("notblk", "|quick", "generic/001 generic/010 generic/900"),
        ("ext2", "|trim fancy", "ext4/003-with-words generic/010"),
        ("ext2", "|quick|rw ext4/auto", "generic/010 generic/900"),
        // A group to take away may be empty for this type, if another has it.
        ("btrfs", "|trim|xfsonly", "generic/010"),
        // But not so for all of them.
        ("ext2", "|all|auto", "generic/010"),
        (
            "ext4",
            "|all|generic/auto",
            "ext4/001 ext4/003-with-words generic/010",
        ),
        // Names beside groups, and names that groups take away.
        ("ext2", "generic/100|trim", "generic/010 generic/100"),
        ("ext2", "generic/001 generic/010||rw", "generic/010"),
        (
            "ext2",
            "generic/010 tests/generic/001 generic/010",
            "generic/001 generic/010",
        ),
        (
            "ext2",
            "generic/0?? */001",
            "ext4/001 generic/001 generic/002 generic/010 xfs/001",
        ),
        ("ext2", "ext4/003", "ext4/003-with-words"),
        (
            "ext2",
            "generic/002-100",
            "generic/002 generic/010 generic/100",
        ),
    ] {
        let chosen = fixture.choose(fstyp, line).unwrap();
        assert_eq!(chosen.tests, words(expected), "{fstyp}: {line}");
        assert!(chosen.expunged.is_empty());
    }
}

#[test]
fn what_is_unknown_is_said() {
    let fixture = fixture();
    for (line, word) in [
        ("generic/003", "generic/003: unknown test"),
        ("generic/00", "generic/00: unknown test"),
        ("nothing/001", "nothing/001: unknown test"),
        ("001", "001: unknown test"),
        ("generic/9[5-9]?", "no test matches"),
        ("generic/200-300", "no test is in this range"),
        ("|nothing", "\"nothing\" is empty"),
        ("|quick|nothing", "\"nothing\" is empty"),
        ("|nothing/quick", "\"nothing/quick\" is empty"),
        // Only alone does `all` mean all.
        ("generic/001|all", "\"all\" is empty"),
        ("|trim|trim", "no test is left"),
    ] {
        let exit = classify(&fixture.choose("ext2", line).unwrap_err());
        assert_eq!(exit.code, Code::USAGE);
        assert!(exit.line.contains(word), "{line}: {}", exit.line);
    }
}

#[test]
fn expunged_tests_stay_in_the_list() {
    let fixture = fixture();
    let file = fixture.dir.path().join("not");
    fs::write(&file, "generic/100 # slow\n  generic/010\n#generic/002\n").unwrap();
    let what = Selection {
        not_tests: words("generic/001,generic/00 generic/9 ext4/003-with"),
        not_files: vec![file.clone()],
        ..Selection::default()
    };
    let chosen = select(&fixture.tree, &fixture.laid, "ext2", &what).unwrap();
    assert_eq!(chosen.tests.len(), 7);
    // 1000 is not 100, and what is indented is not looked at: as `check` has it.
    assert_eq!(chosen.expunged, words("generic/001 generic/100"));

    let what = Selection {
        not_files: vec![fixture.dir.path().join("none")],
        ..what
    };
    assert!(select(&fixture.tree, &fixture.laid, "ext2", &what).is_err());
}

#[test]
fn a_line_expunges_by_whole_names() {
    for line in [
        "generic/001",
        "generic/001 # why",
        "generic/001-x",
        "generic/001\tx",
    ] {
        assert!(is_expunged("generic/001", line), "{line}");
    }
    for line in [
        "generic/0011",
        "generic/001_a",
        " generic/001",
        "generic/00",
        "x",
    ] {
        assert!(!is_expunged("generic/001", line), "{line}");
    }
}
