// SPDX-License-Identifier: GPL-2.0

//! The block map: from file blocks to blocks of the device, through up to three levels of indirect blocks. C:
//! `ext2_get_blocks` in `fs/ext2/inode.c`, `ext4_ind_map_blocks` in `fs/ext4/indirect.c`.
//!
//! All of it under `InodeData::map`.

use super::{
    balloc::{self, Run},
    error::{At, OrReport},
    quota,
    reserve::{Owner, Stream},
    Inode, SuperBlock, Transaction,
};
use crate::{
    format::{
        block::{Block, BlockMut},
        indirect::{self, Path},
        inode::N_BLOCKS,
    },
    vfs::{errno::EUCLEAN, Buffer},
};
use kernel::prelude::*;
use zerocopy::little_endian::U32;

/// Bytes of a block pointer.
const PTR: usize = size_of::<U32>();
/// The most blocks that one call allocates: 8 MiB at 4 KiB, so that a huge write does not keep others waiting.
const MAX_ALLOCATE: u32 = 2048;

/// `i_block`, and where the file grew last.
#[derive(Default)]
pub(crate) struct BlockMap {
    block: [U32; N_BLOCKS],
    /// File block and device block allocated last: the next file block wants the next device block.
    last: Option<(u32, u32)>,
    /// Counts changes, so that iomap can tell whether a mapping is still true.
    state: u64,
    /// File blocks (first, count) that the buffered write under way got for the folio it has locked. There is one such
    /// write at a time, by `i_rwsem`.
    fresh: Option<(u32, u32)>,
    /// So many blocks are to be had for a buffered write that could not have all it wanted.
    at_most: Option<u32>,
    /// The blocks kept for what is written next. Regular files only: a directory grows by a block now and then.
    stream: Stream,
}

/// What the map says of a file block.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lookup {
    /// A run of consecutive blocks.
    Mapped(Run),
    /// So many file blocks, at least one, have none.
    Hole(u32),
}

/// How far a lookup may go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// Reads indirect blocks.
    Allowed,
    /// Only what is cached: `EAGAIN` otherwise. For NOWAIT.
    Cached,
}

impl BlockMap {
    /// Of an inode that has just been read.
    pub(super) fn set(&mut self, block: [U32; N_BLOCKS]) {
        self.block = block;
    }

    pub(super) fn raw(&self) -> [U32; N_BLOCKS] {
        self.block
    }

    pub(super) fn set_root(&mut self, index: u32, ptr: u32) {
        if let Some(slot) = self.block.get_mut(index as usize) {
            slot.set(ptr);
        }
    }

    /// Looks `lblk` up, and as many blocks after it, up to `max`, as are of the same kind and share the last array of
    /// pointers.
    ///
    /// # Errors
    ///
    /// `EFBIG` beyond the format; `EAGAIN` (see [`Reads`]); `EIO`, `EUCLEAN`.
    pub(super) fn lookup(
        &self,
        inode: &Inode,
        lblk: u32,
        max: u32,
        reads: Reads,
    ) -> Result<Lookup> {
        let sb = inode.sb();
        let path = path(sb, lblk)?;
        let mut array = Array::Root(&self.block);
        for level in 0..path.depth {
            let index = offset(&path, level);
            if is_last(&path, level) {
                return array.run(inode, index, path.boundary.min(max.max(1)));
            }
            let ptr = array.get(inode, index)?;
            if ptr == 0 {
                return Ok(Lookup::Hole(hole_below(sb, &path, level).min(max.max(1))));
            }
            array = Array::Block(read_indirect(inode, ptr, reads)?);
        }
        // A path has at least one level.
        Err(EUCLEAN)
    }

    /// How many holes there are from `lblk` on, at most `max`, over the ends of pointer arrays: `known` have been looked up. The
    /// page cache makes its folios as large as what it is told of at once.
    pub(super) fn holes(&self, inode: &Inode, lblk: u32, known: u32, max: u32) -> u32 {
        let mut holes = known;
        while holes < max {
            let next = lblk.saturating_add(holes);
            // Who gets there meets the error.
            match self.lookup(inode, next, max.saturating_sub(holes), Reads::Allowed) {
                Ok(Lookup::Hole(more)) => holes = holes.saturating_add(more),
                Ok(Lookup::Mapped(_)) | Err(_) => break,
            }
        }
        holes
    }

    /// Gives blocks to `lblk`, which is a hole, and to as many after it, up to `want`, as are holes too and get
    /// consecutive blocks. Indirect blocks come along. The new blocks' contents are what the disk had: the caller writes
    /// or zeroes them.
    ///
    /// # Errors
    ///
    /// `ENOSPC`, `EDQUOT`, `EFBIG`, `EIO`, `EUCLEAN`; nothing is left allocated.
    pub(super) fn allocate(
        &mut self,
        transaction: &Transaction<'_>,
        inode: &Inode,
        lblk: u32,
        want: u32,
    ) -> Result<Run> {
        let sb = inode.sb();
        let path = path(sb, lblk)?;
        // How far down the tree exists: `level` is where the first missing pointer stands.
        let mut parent: Option<Buffer<'_>> = None;
        let mut level = 0;
        let want = want.clamp(1, MAX_ALLOCATE).min(path.boundary);
        let mut holes = want;
        loop {
            let index = offset(&path, level);
            let array = match &parent {
                None => Array::Root(&self.block),
                Some(buffer) => Array::Borrowed(buffer),
            };
            if is_last(&path, level) {
                match array.run(inode, index, want)? {
                    Lookup::Hole(n) => holes = n,
                    // The caller looked under the same lock.
                    Lookup::Mapped(run) => return Ok(run),
                }
                break;
            }
            let ptr = array.get(inode, index)?;
            if ptr == 0 {
                break;
            }
            parent = Some(read_indirect(inode, ptr, Reads::Allowed)?);
            level = level.saturating_add(1);
        }

        let missing = path.depth.saturating_sub(1).saturating_sub(level);
        let goal = self.goal(inode, lblk, parent.as_ref(), offset(&path, level));
        // CAST: at most three.
        let indirect = missing as u32;
        let charged = quota::charge(inode, indirect, holes)?;
        let goes_on = self.goes_on(lblk).is_some();
        let owner = inode.is_regular().then_some(Owner {
            ino: inode.ino(),
            stream: &mut self.stream,
            goes_on,
        });
        let charge = u64::from(charged).saturating_add(u64::from(indirect));
        let branch = Branch::allocate(transaction, owner, goal, missing, charged)
            .inspect_err(|_| inode.quota_release(charge))?;
        let top = branch
            .link(transaction, inode, &path, level)
            .inspect_err(|_| {
                branch.free(transaction);
                inode.quota_release(charge);
            })?;
        inode.quota_release(u64::from(charged.saturating_sub(branch.data.count)));
        // The last step makes the branch reachable.
        let index = offset(&path, level);
        match parent {
            None if missing == 0 => {
                for (n, ptr) in branch.data_ptrs() {
                    self.set_root(index.saturating_add(n), ptr);
                }
            }
            None => self.set_root(index, top),
            Some(buffer) => {
                let mut access = transaction.write(buffer);
                let written = if missing == 0 {
                    put_run(&mut access, index, branch.data)
                } else {
                    put_ptr(&mut access, index, top)
                };
                written.or_report(sb, At::Pointer(inode.ino()))?;
                access.dirty_for(inode);
            }
        }
        self.state = self.state.wrapping_add(1);
        let behind = branch.data.count.saturating_sub(1);
        self.last = lblk
            .checked_add(behind)
            .zip(branch.data.start.checked_add(behind));
        inode.touch_ctime();
        inode.mark_dirty();
        transaction.clean_aliases(branch.data.start, branch.data.count);
        Ok(branch.data)
    }

    /// The block allocated last, if `lblk` is the file block behind it.
    fn goes_on(&self, lblk: u32) -> Option<u32> {
        self.last
            .filter(|(last, _)| last.checked_add(1) == Some(lblk))
            .map(|(_, block)| block)
    }

    /// Where new blocks should be: behind the last one, else behind what precedes the pointer that is missing, else near the
    /// pointers, else near the inode. C: `ext2_find_goal`, `ext2_find_near`.
    fn goal(&self, inode: &Inode, lblk: u32, parent: Option<&Buffer<'_>>, index: u32) -> u32 {
        if let Some(last) = self.goes_on(lblk) {
            return last.saturating_add(1);
        }
        // The allocator checks what it gets.
        let before = (0..index).rev().find_map(|at| {
            let ptr = match parent {
                Some(buffer) => read_ptr(buffer, at).unwrap_or(0),
                None => self.block.get(at as usize).map_or(0, |ptr| ptr.get()),
            };
            (ptr != 0).then_some(ptr)
        });
        if let Some(before) = before {
            return before.saturating_add(1);
        }
        match parent {
            Some(buffer) => u32::try_from(buffer.block_nr()).unwrap_or(0),
            None => balloc::goal_for(inode.sb(), inode.ino()),
        }
    }

    /// Blocks were taken away: mappings are void, and so is where the file grew last.
    pub(super) fn shrunk(&mut self) {
        self.last = None;
        self.state = self.state.wrapping_add(1);
    }

    /// Whoever knows the map is to look again, though no block has changed.
    pub(super) fn outdate(&mut self) {
        self.state = self.state.wrapping_add(1);
    }

    /// Nobody writes any more: what was kept for it is for all.
    pub(super) fn close_window(&mut self, inode: &Inode) {
        if self.stream.has_window() {
            let mut space = inode.sb().data().space.lock();
            space.windows.close(inode.ino(), &mut self.stream);
        }
    }

    /// The number of changes so far.
    pub(super) fn state(&self) -> u64 {
        self.state
    }

    /// Remembers what [`Self::take_fresh`] will want.
    pub(super) fn set_fresh(&mut self, lblk: u32, count: u32) {
        self.fresh = Some((lblk, count));
    }

    /// Remembers what [`Self::take_at_most`] will want.
    pub(super) fn set_at_most(&mut self, count: u32) {
        self.at_most = Some(count);
    }

    /// How many blocks the write under way may ask for next, where it has asked for too many.
    pub(super) fn take_at_most(&mut self) -> u32 {
        self.at_most.take().unwrap_or(u32::MAX)
    }

    /// What the write under way got for its folio.
    pub(super) fn take_fresh(&mut self) -> Option<(u32, u32)> {
        self.fresh.take()
    }

    /// The blocks that brought the map to `state` are holes again: who knew them as holes to be filled is right again. Under
    /// the lock that the blocks were taken away under, so nobody has seen a state between.
    pub(super) fn restore(&mut self, state: u64) {
        self.state = state;
    }

    /// The pointers in the inode: index, pointer.
    pub(super) fn roots(&self) -> impl Iterator<Item = (u32, u32)> + use<> {
        (0u32..).zip(self.block).map(|(i, ptr)| (i, ptr.get()))
    }
}

/// `indirect::path` with the errno for what is too large.
fn path(sb: &SuperBlock, lblk: u32) -> Result<Path> {
    indirect::path(lblk, sb.data().geo.ptrs_bits()).map_err(|_| EFBIG)
}

fn is_last(path: &Path, level: usize) -> bool {
    level.saturating_add(1) >= path.depth
}

fn offset(path: &Path, level: usize) -> u32 {
    path.offsets.get(level).copied().unwrap_or(0)
}

/// How many file blocks from the path's on have no block, given that the pointer at `level` is missing.
fn hole_below(sb: &SuperBlock, path: &Path, level: usize) -> u32 {
    let bits = sb.data().geo.ptrs_bits();
    // Blocks below one pointer at each level under the missing one; what precedes our block there is not ahead.
    let mut before: u64 = 0;
    // CAST: at most 3.
    let span = |level: usize| {
        indirect::span(
            path.depth.saturating_sub(1).saturating_sub(level) as u32,
            bits,
        )
    };
    for lower in level.saturating_add(1)..path.depth {
        before = before.saturating_add(u64::from(offset(path, lower)).saturating_mul(span(lower)));
    }
    let whole = span(level);
    u32::try_from(whole.saturating_sub(before))
        .unwrap_or(u32::MAX)
        .max(1)
}

/// Reads a block of pointers.
pub(super) fn read_indirect(inode: &Inode, ptr: u32, reads: Reads) -> Result<Buffer<'_>> {
    let sb = inode.sb();
    match reads {
        Reads::Allowed => sb.bread(ptr),
        Reads::Cached => sb.bread_nowait(ptr).ok_or(EAGAIN),
    }
}

/// An array of pointers: in the inode, or in an indirect block.
enum Array<'a, 'sb> {
    Root(&'a [U32; N_BLOCKS]),
    Block(Buffer<'sb>),
    Borrowed(&'a Buffer<'sb>),
}

impl Array<'_, '_> {
    /// The pointer at `index`, unchecked.
    fn raw(&self, inode: &Inode, index: u32) -> Result<u32> {
        match self {
            Array::Root(block) => Ok(block.get(index as usize).map_or(0, |ptr| ptr.get())),
            Array::Block(buffer) => read_ptr(buffer, index),
            Array::Borrowed(buffer) => read_ptr(*buffer, index),
        }
        .or_report(inode.sb(), At::Pointer(inode.ino()))
    }

    /// The pointer at `index`, 0 or checked.
    fn get(&self, inode: &Inode, index: u32) -> Result<u32> {
        let ptr = self.raw(inode, index)?;
        if ptr != 0 {
            check(inode, ptr, 1)?;
        }
        Ok(ptr)
    }

    /// What begins at `index`, for at most `max` pointers of the array.
    fn run(&self, inode: &Inode, index: u32, max: u32) -> Result<Lookup> {
        let first = self.raw(inode, index)?;
        let mut count = 1;
        while count < max {
            let next = self.raw(inode, index.saturating_add(count))?;
            let expected = if first == 0 {
                0
            } else {
                first.saturating_add(count)
            };
            if next != expected {
                break;
            }
            count = count.saturating_add(1);
        }
        if first == 0 {
            return Ok(Lookup::Hole(count));
        }
        check(inode, first, count)?;
        Ok(Lookup::Mapped(Run {
            start: first,
            count,
        }))
    }
}

/// Checks what pointers of an inode lead to. C: `__check_block_validity`.
fn check(inode: &Inode, start: u32, count: u32) -> Result {
    let sb = inode.sb();
    sb.data()
        .check_blocks_of(inode.ino(), start, count)
        .or_report(sb, At::Pointer(inode.ino()))
}

/// Reads a pointer, unchecked.
pub(super) fn read_ptr(
    block: &impl Block,
    index: u32,
) -> Result<u32, crate::format::corrupt::Corrupt> {
    Ok(block
        .get::<U32>((index as usize).saturating_mul(PTR))?
        .get())
}

/// Writes a pointer.
pub(super) fn put_ptr(
    block: &mut impl BlockMut,
    index: u32,
    ptr: u32,
) -> Result<(), crate::format::corrupt::Corrupt> {
    block.put((index as usize).saturating_mul(PTR), &U32::new(ptr))
}

/// Writes pointers to a run.
fn put_run(
    block: &mut impl BlockMut,
    index: u32,
    run: Run,
) -> Result<(), crate::format::corrupt::Corrupt> {
    for n in 0..run.count {
        put_ptr(block, index.saturating_add(n), run.start.saturating_add(n))?;
    }
    Ok(())
}

/// New blocks that nothing refers to yet: data, and the indirect blocks above it, top first.
struct Branch {
    indirect: [u32; 3],
    missing: usize,
    data: Run,
}

impl Branch {
    fn allocate(
        transaction: &Transaction<'_>,
        mut owner: Option<Owner<'_>>,
        mut goal: u32,
        missing: usize,
        want: u32,
    ) -> Result<Self> {
        let mut allocate = |goal, want| {
            let run = balloc::allocate(transaction, goal, want, owner.as_mut())?;
            if let Some(owner) = &mut owner {
                // What follows belongs to it.
                owner.goes_on = true;
            }
            Ok::<_, Error>(run)
        };
        let mut branch = Self {
            indirect: [0; 3],
            missing: 0,
            data: Run { start: 0, count: 0 },
        };
        while branch.missing < missing {
            match allocate(goal, 1) {
                Ok(run) => {
                    if let Some(slot) = branch.indirect.get_mut(branch.missing) {
                        *slot = run.start;
                    }
                    branch.missing = branch.missing.saturating_add(1);
                    goal = run.start.saturating_add(1);
                }
                Err(e) => {
                    branch.free(transaction);
                    return Err(e);
                }
            }
        }
        match allocate(goal, want) {
            Ok(run) => branch.data = run,
            Err(e) => {
                branch.free(transaction);
                return Err(e);
            }
        }
        Ok(branch)
    }

    fn data_ptrs(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        (0..self.data.count).map(|n| (n, self.data.start.saturating_add(n)))
    }

    /// Fills the indirect blocks, from the lowest up; answers the pointer that will make the branch reachable.
    fn link(
        &self,
        transaction: &Transaction<'_>,
        inode: &Inode,
        path: &Path,
        level: usize,
    ) -> Result<u32> {
        let sb = inode.sb();
        let mut below: Option<u32> = None;
        for n in (0..self.missing).rev() {
            let block = self.indirect.get(n).copied().unwrap_or(0);
            let index = offset(path, level.saturating_add(1).saturating_add(n));
            let mut access = transaction.create(block)?;
            let written = match below {
                None => put_run(&mut access, index, self.data),
                Some(ptr) => put_ptr(&mut access, index, ptr),
            };
            written.or_report(sb, At::Pointer(inode.ino()))?;
            access.dirty_for(inode);
            below = Some(block);
        }
        Ok(below.unwrap_or(self.data.start))
    }

    /// Gives everything back. What cannot be freed has been reported, and is e2fsck's.
    fn free(&self, transaction: &Transaction<'_>) {
        for &start in self.indirect.iter().take(self.missing) {
            if let Some(buffer) = transaction.sb().find_buffer(start) {
                transaction.forget(buffer);
            }
            let _ = balloc::free(transaction, Run { start, count: 1 });
        }
        if self.data.count > 0 {
            let _ = balloc::free(transaction, self.data);
        }
    }
}
