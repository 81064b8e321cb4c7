// SPDX-License-Identifier: GPL-2.0

//! What has been taken off the orphan list in memory, and may be on the disk's still.

use kernel::prelude::*;

/// So many numbers are remembered. Of more than that it is only known that there are some.
const ROOM: usize = 64;

/// A set of inode numbers, each from when it was taken off until all that was changed by then is on the disk.
pub(crate) struct Taken {
    /// Numbers and when, in that order; those that are known.
    known: [(u32, u64); ROOM],
    count: usize,
    /// When one was taken for which there was no room, lately; 0 for never.
    unknown: u64,
    /// Counts what was taken.
    now: u64,
}

impl Taken {
    /// That of a filesystem of whose past nothing is known.
    pub(super) const fn new() -> Self {
        Self {
            known: [(0, 0); ROOM],
            count: 0,
            unknown: 1,
            now: 1,
        }
    }

    /// One more.
    pub(super) fn add(&mut self, ino: u32) {
        self.now = self.now.saturating_add(1);
        match self.known.get_mut(self.count) {
            Some(place) => {
                *place = (ino, self.now);
                self.count = self.count.saturating_add(1);
            }
            None => self.unknown = self.now,
        }
    }

    /// All of them: nobody knows which.
    pub(super) fn add_all(&mut self) {
        self.now = self.now.saturating_add(1);
        self.unknown = self.now;
    }

    /// Whether a number may be on the disk's list.
    pub(super) fn may_have(&self, ino: u32) -> bool {
        let mut known = self.known.iter().take(self.count);
        self.unknown != 0 || known.any(|&(other, _)| other == ino)
    }

    /// To be asked before all is written, and told to [`Self::is_on_disk`] when it has been.
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// What was taken up to `then` is on the disk.
    pub(super) fn is_on_disk(&mut self, then: u64) {
        let mut kept = 0_usize;
        for index in 0..self.count {
            let Some(&entry) = self.known.get(index) else {
                break;
            };
            if entry.1 > then {
                if let Some(place) = self.known.get_mut(kept) {
                    *place = entry;
                    kept = kept.saturating_add(1);
                }
            }
        }
        self.count = kept;
        if self.unknown <= then {
            self.unknown = 0;
        }
    }
}

#[kunit_tests(notblk_taken)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_the_disk_is_forgotten() -> Result {
        let mut taken = Taken::new();
        // Of the past nothing is known.
        assert!(taken.may_have(12));
        taken.is_on_disk(taken.now());
        assert!(!taken.may_have(12));
        taken.add(12);
        let then = taken.now();
        taken.add(13);
        assert!(taken.may_have(12) && taken.may_have(13) && !taken.may_have(14));
        taken.is_on_disk(then);
        assert!(!taken.may_have(12) && taken.may_have(13));
        // An older answer changes nothing.
        taken.is_on_disk(then);
        assert!(taken.may_have(13));
        taken.add_all();
        assert!(taken.may_have(14));
        Ok(())
    }

    #[test]
    fn more_than_there_is_room_for() -> Result {
        let mut taken = Taken::new();
        taken.is_on_disk(taken.now());
        for ino in 100..100 + ROOM as u32 {
            taken.add(ino);
        }
        assert!(!taken.may_have(99));
        let then = taken.now();
        taken.add(7);
        assert!(taken.may_have(99) && taken.may_have(7));
        taken.is_on_disk(then);
        // That one is not known by name.
        assert!(taken.may_have(99) && taken.may_have(7));
        taken.is_on_disk(taken.now());
        assert!(!taken.may_have(99) && !taken.may_have(7) && !taken.may_have(100));
        Ok(())
    }
}
