// SPDX-License-Identifier: GPL-2.0

//! notblk: block-mapped ext2/ext3 for Linux, in Rust; a filesystem in which direct I/O and its buffered fallback can be
//! looked at, taken apart and raced.
//!
//! | layer | what it is | may use |
//! | --- | --- | --- |
//! | [`fs`] | the filesystem; begin with `fs/direct.rs` | `vfs`, `format`; no `unsafe` |
//! | [`vfs`] | safe wrappers over C's objects and operation tables | `sys`; `unsafe`, argued |
//! | [`sys`] | bindings that bindgen made, and C helpers | C |
//! | [`format`] | the on-disk format: types and algorithms; also a crate for the host | `core`, `zerocopy`; no `unsafe` |

// The host's tools and tests use more of the format than the driver does.
#[allow(
    dead_code,
    unreachable_pub,
    reason = "a crate of its own, of which the module uses a part"
)]
mod format;
mod fs;
mod sys;
mod vfs;

use fs::Notblk;
use kernel::prelude::*;
use vfs::registration::{alias, Flags, Registration};

module! {
    type: Module,
    name: "notblk",
    authors: ["The notblk developers"],
    description: "ext2/ext3 with direct I/O and its buffered fallback, in Rust",
    license: "GPL",
}

/// The names under which notblk can be mounted.
struct Module {
    _own: Name,
    _aliases: [Option<Name>; ALIASES.len()],
}

type Name = Pin<KBox<Registration<Notblk>>>;

/// What our own name has.
const FLAGS: Flags = Flags::BLOCKS.idmapped().multigrain();

/// What `alias=` takes, the names of their inode caches, and what they have. C: `ext2_fs_type`, `ext3_fs_type`, `ext4_fs_type`.
const ALIASES: [(&CStr, &CStr, Flags); 3] = [
    (c"ext2", c"notblk_ext2_inode_cache", Flags::BLOCKS),
    (c"ext3", c"notblk_ext3_inode_cache", Flags::BLOCKS),
    (c"ext4", c"notblk_ext4_inode_cache", FLAGS),
];

impl kernel::Module for Module {
    fn init(module: &'static ThisModule) -> Result<Self> {
        let debugfs = fs::debugfs_root();
        let register = |name, cache, flags| {
            KBox::try_pin_init(
                Registration::<Notblk>::new(name, cache, flags, module, debugfs.clone()),
                GFP_KERNEL,
            )
        };
        let wanted = wanted()?;
        let mut aliases = [None, None, None];
        for ((slot, alias), wanted) in aliases.iter_mut().zip(ALIASES).zip(wanted) {
            let (name, cache, flags) = alias;
            if !wanted {
                continue;
            }
            // EBUSY, as register_filesystem says it. (EEXIST would say it better, but the module loader keeps that one for
            // "this module is loaded already" and turns ours into EBUSY, with a warning.)
            *slot = Some(register(name, cache, flags).inspect_err(|_| {
                pr_err!("alias={name}: another driver has this name (ext4.ko?)\n");
            })?);
        }
        // Last: from here on somebody may mount, and nothing may fail.
        let own = register(c"notblk", c"notblk_inode_cache", FLAGS)?;
        pr_info!("loaded\n");
        Ok(Self {
            _own: own,
            _aliases: aliases,
        })
    }
}

/// Which of [`ALIASES`] the module parameter asks for: one, or several with commas between them.
fn wanted() -> Result<[bool; ALIASES.len()]> {
    let mut wanted = [false; ALIASES.len()];
    let Some(list) = alias() else {
        return Ok(wanted);
    };
    for asked in list.to_bytes().split(|&byte| byte == b',') {
        let known = wanted
            .iter_mut()
            .zip(ALIASES)
            .find(|(_, (name, ..))| name.to_bytes() == asked);
        match known {
            Some((wanted, _)) => *wanted = true,
            None => {
                pr_err!("alias= takes ext2, ext3 and ext4, with commas between them\n");
                return Err(EINVAL);
            }
        }
    }
    Ok(wanted)
}
