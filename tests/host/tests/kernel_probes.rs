// SPDX-License-Identifier: GPL-2.0

//! `rust/sys/probe.sh` on kernel sources of a few lines: it tells the variants apart, says so where there is neither, and
//! only `rust/sys` and `rust/vfs` ask what it found.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn repo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What a tree declares: the file below it, and the text.
type Tree = Vec<(&'static str, String)>;

const OPS: &str = "include/linux/fs/super_types.h";
const FS: &str = "include/linux/fs.h";
const IOMAP: &str = "include/linux/iomap.h";
const PIN_INIT: &str = "rust/pin-init/src/lib.rs";
const ERROR: &str = "rust/kernel/error.rs";
const BIO: &str = "include/linux/blk_types.h";

fn old() -> Tree {
    vec![
        (IOMAP, "struct iomap_ops {\n\tiomap_iter_next_fn iomap_next;\n};\n".into()),
        (
            OPS,
            "struct super_operations {\n\tint (*write_inode)(struct inode *inode, struct writeback_control *wbc);\n};\n"
                .into(),
        ),
        (
            FS,
            "struct inode_operations {\n\tint (*create) (struct mnt_idmap *, struct inode *,struct dentry *,\n\t\t\
             umode_t, bool);\n};\n"
                .into(),
        ),
        (
            PIN_INIT,
            "    unsafe fn __pinned_init(self, slot: *mut T) -> Result<(), E>;\n".into(),
        ),
        (ERROR, "    declare_err!(ERANGE, \"\");\n".into()),
        (BIO, "enum {\n\tBIO_QUIET,\n\tBIO_FLAG_LAST\n};\n".into()),
    ]
}

fn new() -> Tree {
    let mut tree = old();
    // Comments and white space mean nothing.
    tree[1].1 = "struct super_operations {\n\tint (*write_inode)(struct inode *inode, struct writeback_control *wbc);\n\t\
                 /* waits ** for\n\t * it */ int (*sync_inode_metadata)(struct inode *inode,\n\t\tstruct \
                 writeback_control *wbc);\n};\n"
        .into();
    tree[2].1 = "struct inode_operations {\n\tint (*create)(struct mnt_idmap *, struct inode *, struct dentry *, \
                 umode_t);\n};\n"
        .into();
    tree[3].1 = "pub unsafe fn raw_try_init<T, E>(slot: *mut T, init: impl PinInit<T, E>) -> Result<(), E> {\n".into();
    tree[4].1.push_str("    declare_err!(EUCLEAN, \"\");\n");
    tree[5].1 = "enum {\n\tBIO_QUIET,\n\tBIO_COMPLETE_IN_TASK, /* not in an interrupt */\n\tBIO_FLAG_LAST\n};\n".into();
    tree
}

fn probe(tree: &Tree) -> Output {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, text) in tree {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    }
    Command::new("sh")
        .arg(repo().join("rust/sys/probe.sh"))
        .arg(dir.path())
        .output()
        .expect("sh runs")
}

/// The names for which the probe gave a flag of this kind.
fn names(out: &Output, before: &str, after: &str) -> Vec<String> {
    String::from_utf8_lossy(&out.stdout)
        .split_whitespace()
        .filter_map(|flag| flag.strip_prefix(before)?.strip_suffix(after))
        .map(str::to_owned)
        .collect()
}

#[test]
fn each_variant_is_recognised() {
    let (old, new) = (probe(&old()), probe(&new()));
    assert!(old.status.success(), "{old:?}");
    assert!(new.status.success(), "{new:?}");
    let known = names(&old, "--check-cfg='cfg(notblk_has_", ")'");
    assert_eq!(known.len(), 5);
    assert_eq!(names(&new, "--check-cfg='cfg(notblk_has_", ")'"), known);
    assert!(names(&old, "--cfg=notblk_has_", "").is_empty());
    assert_eq!(names(&new, "--cfg=notblk_has_", ""), known);
    let defines: Vec<String> = known.iter().map(|name| name.to_uppercase()).collect();
    assert_eq!(names(&new, "-DNOTBLK_HAS_", ""), defines);
}

#[test]
fn a_backport_is_what_it_has() {
    let mut tree = old();
    tree[2] = new().swap_remove(2);
    assert_eq!(
        names(&probe(&tree), "--cfg=notblk_has_", ""),
        ["create_without_excl"]
    );
}

#[test]
fn a_third_variant_stops_the_build_by_name() {
    let third = [
        (
            0,
            "struct iomap_ops {\n\tint nothing;\n};\n",
            "no iomap_iter_next_fniomap_next;",
        ),
        (
            1,
            "struct super_operations {\n\tint (*write_inode)(int);\n};\n",
            "neither variant of sync_inode_metadata",
        ),
        (
            2,
            "struct inode_operations {\n\tint (*create)(int);\n};\n",
            "neither variant of create_without_excl",
        ),
        (
            2,
            "struct inode_ops_moved {\n};\n",
            "no struct inode_operations",
        ),
        (3, "pub fn init() {}\n", "neither variant of raw_try_init"),
        (4, "codes! { EPERM }\n", "neither variant of errno_names"),
        (
            5,
            "enum bio_flags;\n",
            "neither variant of bio_complete_in_task",
        ),
    ];
    for (at, text, said) in third {
        let mut tree = new();
        tree[at].1 = text.into();
        let out = probe(&tree);
        let err = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success(), "{said}");
        assert!(err.contains(said), "{said}: {err}");
    }
    for at in 0..new().len() {
        let mut tree = new();
        let (name, _) = tree.remove(at);
        assert!(!probe(&tree).status.success(), "{name} is gone");
    }
}

#[test]
fn differences_stay_in_sys_and_vfs() {
    let mut dirs = vec![repo().join("rust/fs"), repo().join("rust/format")];
    while let Some(dir) = dirs.pop() {
        for item in fs::read_dir(dir).expect("a directory").flatten() {
            let path = item.path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).expect("a source");
            assert!(!text.contains("notblk_has_"), "{}", path.display());
        }
    }
    let main = fs::read_to_string(repo().join("rust/main.rs")).expect("main.rs");
    assert!(!main.contains("notblk_has_"));
}
