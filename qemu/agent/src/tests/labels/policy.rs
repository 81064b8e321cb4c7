// SPDX-License-Identifier: GPL-2.0
//! A policy for SELinux under which nothing is forbidden and every new file gets a label.
//!
//! The kernel reads policies in binary only. This one is so small that writing it here is less than bringing the compiler of the
//! policy language, and what that needs, into every guest. The order of the fields is that of `policydb_read`,
//! `security/selinux/ss/policydb.c`.

/// Tasks, and whatever else has no label of its own.
pub const SYSTEM: &str = "system";
/// What files on a disk count as that have no label.
pub const BARE: &str = "bare";
/// A directory that gives files its own type.
pub const QUIET: &str = "quiet";
/// A directory that gives files types by their classes: see [`in_street`].
pub const STREET: &str = "street";
/// Comes by no rule, but only by somebody's choice.
pub const CHOSEN: &str = "chosen";
const TYPES: [&str; 5] = [SYSTEM, BARE, QUIET, STREET, CHOSEN];

/// The kernel's names of the kinds of inodes.
const CLASSES: [&str; 7] = [
    "file",
    "dir",
    "lnk_file",
    "chr_file",
    "blk_file",
    "sock_file",
    "fifo_file",
];

/// Filesystems whose labels are extended attributes.
const FILESYSTEMS: [&str; 3] = ["notblk", "ext4", "ext2"];

/// The type that an inode of this class gets in a street.
pub fn in_street(class: &str) -> String {
    format!("street_{class}")
}

/// The label of this type, without the zero byte that ends it.
pub fn label(kind: &str) -> String {
    format!("u:object_r:{kind}")
}

/// `POLICYDB_VERSION_XPERMS_IOCTL`, of Linux 4.3; it has no more tables than are written here.
const VERSION: u32 = 30;
/// `ALLOW_UNKNOWN`: classes and permissions that are not mentioned are allowed.
const ALLOW_UNKNOWN: u32 = 4;
/// `TYPEDATUM_PROPERTY_PRIMARY`: no alias, no attribute.
const PRIMARY: u32 = 1;
/// `AVTAB_TRANSITION`
const TRANSITION: u16 = 0x10;
/// `SECURITY_FS_USE_XATTR`
const BY_ATTRIBUTE: u32 = 1;
/// `SECINITSID_FILE`, and the last one.
const INITIAL_FILE: u32 = 5;
const INITIAL_LAST: u32 = 27;
/// The number of the first class that a list names, of the only user and of the role that all things have.
const ONE: u32 = 1;

/// All types, in the order of their numbers.
fn types() -> Vec<String> {
    let plain = TYPES.iter().map(|&name| name.to_owned());
    plain.chain(CLASSES.iter().map(|c| in_street(c))).collect()
}

/// The number of a type.
fn number(types: &[String], name: &str) -> u32 {
    let place = types.iter().position(|known| known == name);
    // None is number 0, which the kernel refuses.
    place.map_or(0, |place| place as u32 + ONE)
}

/// What `load` of selinuxfs takes.
pub fn policy() -> Vec<u8> {
    let types = types();
    let mut out = Out::default();
    out.words(&[0xf97c_ff8c, 8]).bytes(b"SE Linux");
    // Tables of names, and of contexts.
    out.words(&[VERSION, ALLOW_UNKNOWN, 8, 7]);
    // Capabilities of the policy, and types that may do what they are not allowed to.
    out.no_bits().no_bits();
    names(&mut out, &types);
    rules(&mut out, &types);
    contexts(&mut out, &types);
    // Labels by path, transitions of ranges; and the attributes of each type, of which it is one itself.
    out.words(&[0, 0]);
    for place in 0..types.len() {
        out.bit(place);
    }
    out.0
}

/// The tables of names. Each has its largest number first, then its length.
fn names(out: &mut Out, types: &[String]) {
    // Permissions that classes share.
    out.words(&[0, 0]);
    let classes = CLASSES.len() as u32 + ONE;
    out.words(&[classes, classes]);
    // The kernel insists on this class and two of its permissions.
    class(out, ONE, "process", &["transition", "dyntransition"]);
    for (number, name) in (2..).zip(CLASSES) {
        class(out, number, name, &[]);
    }
    // Roles: with the roles that this one dominates, and its types, for which the kernel does not ask.
    out.words(&[ONE, 1]);
    out.entry("object_r", &[ONE, 0]).no_bits().no_bits();
    let count = types.len() as u32;
    out.words(&[count, count]);
    for (number, name) in (ONE..).zip(types) {
        out.entry(name, &[number, PRIMARY, 0]);
    }
    // Users, with roles.
    out.words(&[ONE, 1]).entry("u", &[ONE, 0]).no_bits();
    out.range().words(&[ONE]).no_bits();
    // Booleans, levels, categories.
    out.words(&[0; 6]);
}

/// A class with its permissions.
fn class(out: &mut Out, number: u32, name: &str, permissions: &[&str]) {
    let count = permissions.len() as u32;
    out.words(&[name.len() as u32, 0, number, count, count, 0]);
    out.bytes(name.as_bytes());
    for (number, name) in (ONE..).zip(permissions) {
        out.entry(name, &[number]);
    }
    // Constraints on transitions; which of the two sides new objects take user, role, range and type of by default.
    out.words(&[0; 5]);
}

/// In a street everything gets a type of its class.
fn rules(out: &mut Out, types: &[String]) {
    out.words(&[CLASSES.len() as u32]);
    let source = number(types, SYSTEM);
    let target = number(types, STREET);
    for (class, name) in (2..).zip(CLASSES) {
        for half in [source as u16, target as u16, class, TRANSITION] {
            out.bytes(&half.to_le_bytes());
        }
        out.words(&[number(types, &in_street(name))]);
    }
    // Conditional rules, transitions of roles, allowed roles, transitions by file name.
    out.words(&[0; 4]);
}

/// The tables of contexts: first those that the kernel itself needs, sixth the filesystems.
fn contexts(out: &mut Out, types: &[String]) {
    out.words(&[INITIAL_LAST]);
    for initial in ONE..=INITIAL_LAST {
        let kind = match initial {
            INITIAL_FILE => BARE,
            _ => SYSTEM,
        };
        out.words(&[initial]).context(number(types, kind));
    }
    out.words(&[0; 4]);
    out.words(&[FILESYSTEMS.len() as u32]);
    for name in FILESYSTEMS {
        out.words(&[BY_ATTRIBUTE, name.len() as u32]);
        out.bytes(name.as_bytes()).context(number(types, SYSTEM));
    }
    out.words(&[0]);
}

/// The policy as far as it is written.
#[derive(Default)]
struct Out(Vec<u8>);

impl Out {
    fn bytes(&mut self, bytes: &[u8]) -> &mut Out {
        self.0.extend(bytes);
        self
    }

    fn words(&mut self, words: &[u32]) -> &mut Out {
        for word in words {
            self.bytes(&word.to_le_bytes());
        }
        self
    }

    /// A name behind its length and what else is said of it.
    fn entry(&mut self, name: &str, words: &[u32]) -> &mut Out {
        self.words(&[name.len() as u32]).words(words);
        self.bytes(name.as_bytes())
    }

    /// A map of bits, none of which is set: bits in a unit, bits, units.
    fn no_bits(&mut self) -> &mut Out {
        self.words(&[64, 0, 0])
    }

    /// A map of the first 64 bits, one of which is set: the same, then the place of the unit and the unit.
    fn bit(&mut self, place: usize) -> &mut Out {
        self.words(&[64, 64, 1, 0]);
        self.bytes(&(1_u64 << place).to_le_bytes())
    }

    /// A range of one level, which means nothing in a policy without levels.
    fn range(&mut self) -> &mut Out {
        self.words(&[1, ONE]).no_bits()
    }

    /// User, role, type and range.
    fn context(&mut self, kind: u32) -> &mut Out {
        self.words(&[ONE, ONE, kind]).range()
    }
}
