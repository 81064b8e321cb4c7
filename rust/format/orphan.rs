// SPDX-License-Identifier: GPL-2.0

//! The orphan list: inodes that lost their last name while in use, and such as are being truncated.
//!
//! `s_last_orphan` of the superblock names the first, `i_dtime` of each the next; 0 ends it.

/// Looks at each inode of the list from `first` on. `look` checks one, and answers the next or 0.
///
/// Answers how many there are, or `None` where the list comes back to itself; that takes at most three times the length of
/// the list to find out, and no memory.
///
/// # Errors
///
/// Those of `look`.
pub fn walk<E>(first: u32, mut look: impl FnMut(u32) -> Result<u32, E>) -> Result<Option<u32>, E> {
    let mut count = 0u32;
    let mut ino = first;
    // An inode that was passed, and will be met again if there is a loop: replaced after 1, 2, 4, … steps, so that one day it
    // lies in the loop, and the loop is shorter than the time until it is replaced.
    let mut mark = 0;
    let mut replace_at = 1;
    while ino != 0 {
        if ino == mark {
            return Ok(None);
        }
        count = count.saturating_add(1);
        if count == replace_at {
            mark = ino;
            replace_at = replace_at.saturating_mul(2);
        }
        ino = look(ino)?;
    }
    Ok(Some(count))
}
