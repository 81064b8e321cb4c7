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
use vfs::registration::{alias, Registration};

module! {
    type: Module,
    name: "notblk",
    authors: ["The notblk developers"],
    description: "ext2/ext3 with direct I/O and its buffered fallback, in Rust",
    license: "GPL",
}

/// The names under which notblk can be mounted.
struct Module {
    _own: Pin<KBox<Registration<Notblk>>>,
    _alias: Option<Pin<KBox<Registration<Notblk>>>>,
}

impl kernel::Module for Module {
    fn init(module: &'static ThisModule) -> Result<Self> {
        let debugfs = fs::debugfs_root();
        let register = |name, cache| {
            KBox::try_pin_init(
                Registration::<Notblk>::new(name, cache, module, debugfs.clone()),
                GFP_KERNEL,
            )
        };
        let alias = match alias() {
            None => None,
            Some(name) => {
                let (name, cache) = match name.to_bytes() {
                    b"ext2" => (c"ext2", c"notblk_ext2_inode_cache"),
                    b"ext3" => (c"ext3", c"notblk_ext3_inode_cache"),
                    b"ext4" => (c"ext4", c"notblk_ext4_inode_cache"),
                    _ => {
                        pr_err!("alias= takes ext2, ext3 or ext4\n");
                        return Err(EINVAL);
                    }
                };
                // EBUSY, as register_filesystem says it. (EEXIST would say it better, but the module loader keeps that
                // one for "this module is loaded already" and turns ours into EBUSY, with a warning.)
                Some(register(name, cache).inspect_err(|_| {
                    pr_err!(
                        "alias={}: another driver has this name (ext4.ko?)\n",
                        name.to_str().unwrap_or("?")
                    );
                })?)
            }
        };
        // Last: from here on somebody may mount, and nothing may fail.
        let own = register(c"notblk", c"notblk_inode_cache")?;
        pr_info!("loaded\n");
        Ok(Self {
            _own: own,
            _alias: alias,
        })
    }
}
