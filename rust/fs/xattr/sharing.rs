// SPDX-License-Identifier: GPL-2.0

//! Finding blocks of attributes that are alike, so that inodes share them. C: the uses of `fs/mbcache.c` in `fs/ext4/xattr.c`.
//!
//! What is remembered is a hint: a block that might have attributes of some hash. It is looked at before it is shared. What
//! must be true is that a block that is remembered is one of attributes, and that who changes a block where it is, or frees it,
//! has seen to it that nobody finds it any more. All of that, and all reference counts, are under `SuperData::sharing`.

use kernel::prelude::*;

/// So many blocks are remembered at most. A filesystem has few that differ: labels, inherited ACLs.
const SLOTS: usize = 512;

/// Blocks that may be shared, by hash: one for each remainder of it. C: `struct mb_cache`.
pub(crate) struct Sharing {
    slots: KVec<Slot>,
}

#[derive(Clone, Copy)]
struct Slot {
    /// `h_hash`.
    hash: u32,
    /// Its block, or 0.
    block: u32,
}

impl Sharing {
    /// Knows none.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(in super::super) fn new() -> Result<Self> {
        let none = Slot { hash: 0, block: 0 };
        Ok(Self {
            slots: KVec::from_elem(none, SLOTS, GFP_KERNEL)?,
        })
    }

    fn slot(&mut self, hash: u32) -> Option<&mut Slot> {
        // CAST: below `SLOTS`, a power of two.
        self.slots.get_mut(hash as usize & (SLOTS - 1))
    }

    /// A block of this hash. C: `mb_cache_entry_find_first`.
    pub(super) fn find(&mut self, hash: u32) -> Option<u32> {
        self.slot(hash)
            .filter(|slot| slot.hash == hash && slot.block != 0)
            .map(|slot| slot.block)
    }

    /// Remembers a block; a hash of 0 says that it is not to be shared. C: `mb_cache_entry_create`.
    pub(super) fn insert(&mut self, hash: u32, block: u32) {
        if hash == 0 {
            return;
        }
        if let Some(slot) = self.slot(hash) {
            *slot = Slot { hash, block };
        }
    }

    /// Forgets a block, whatever its hash was. C: `mb_cache_entry_delete_or_get`.
    pub(super) fn remove(&mut self, block: u32) {
        for slot in self.slots.iter_mut().filter(|slot| slot.block == block) {
            slot.block = 0;
        }
    }
}
