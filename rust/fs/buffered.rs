// SPDX-License-Identifier: GPL-2.0

//! Buffered reads and writes, and changes of size. C: `ext4_buffered_write_iter` and `ext4_write_checks` in
//! `fs/ext4/file.c`, `ext2_setsize` in `fs/ext2/inode.c`.

use super::{direct, last_mounted, orphan, record, truncate, Inode, Locked, Notblk, Transaction};
use crate::vfs::{
    dio::Completion,
    errno::EOPNOTSUPP,
    file::{self, MountPoint},
    hold::{Owner, Point, Stage},
    kiocb::{Io, Read, Request, Write},
    locked::InvalidateLock,
    shutdown::Operations as _,
    Exclusive,
};
use kernel::prelude::*;

impl file::Operations for Notblk {
    fn opened(inode: &Inode, mount: &MountPoint<'_>) {
        last_mounted::sample(inode.sb(), mount);
    }

    fn read_iter(mut request: Request<'_, Self, Read>) -> Io {
        if let Err(e) = Self::check_alive(request.inode().sb()) {
            return Io::Done(Err(e));
        }
        if request.len() == 0 {
            return Io::Done(Ok(0));
        }
        if request.is_direct() {
            return direct::read_iter(request);
        }
        Io::Done(request.buffered_read())
    }

    fn write_iter(mut request: Request<'_, Self, Write>) -> Io {
        if let Err(e) = record::emergency_state(request.inode().sb()) {
            return Io::Done(Err(e));
        }
        if request.is_direct() {
            return direct::write_iter(request);
        }
        Io::Done(write(&mut request, Origin::Buffered))
    }

    fn dio_write_end(completion: &Completion<'_, Self>) -> Result {
        direct::write_end(completion);
        Ok(())
    }

    fn last_writer_gone(inode: &Inode) {
        inode.data().map.lock().close_window(inode);
    }

    fn setsize(inode: &Locked<Exclusive>, size: u64, owner: Owner) -> Result {
        set_size(inode, size, owner)
    }
}

/// Why a write goes through the page cache.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was asked for.
    Buffered,
    /// It is what is left of a direct write.
    Fallback,
}

/// Writes through the page cache: every buffered write, and the rest of every direct one that fell back.
///
/// # Errors
///
/// As `write(2)`; `EOPNOTSUPP` under NOWAIT, where the caller tries again from a context that may sleep (as ext4 does).
pub(super) fn write(request: &mut Request<'_, Notblk, Write>, origin: Origin) -> Result<usize> {
    if request.is_nowait() {
        return Err(EOPNOTSUPP);
    }
    let inode = request.inode();
    let pos = request.pos();
    let written = {
        let lock = inode.lock();
        direct::drain(&lock);
        match origin {
            Origin::Buffered => request.pass(Point::BufferedDrained),
            Origin::Fallback => request.stage(Stage::Drained, pos, request.len() as u64),
        }
        if write_checks(request, &lock)? == 0 {
            return Ok(0);
        }
        let written = request.buffered_write(&lock);
        if request.len() > 0 {
            // Short: blocks may have been allocated past what i_size covers now.
            // Should its buffer not be had, the inode is dirty.
            let _ = trim_past_eof(&lock);
        }
        written
    }?;
    if written == 0 {
        return Ok(0);
    }
    if origin == Origin::Fallback {
        request.stage(Stage::Dirtied, pos, written as u64);
    }
    request.write_sync(written)
}

/// Limits, set-id bits and timestamps, and what lies behind the old end of file. Answers how much may be written.
fn write_checks(
    request: &mut Request<'_, Notblk, Write>,
    lock: &Locked<Exclusive>,
) -> Result<usize> {
    if lock.is_immutable() {
        return Err(EPERM);
    }
    let count = request.write_checks(lock)?;
    if count == 0 {
        return Ok(0);
    }
    request.modified(lock)?;
    zero_past_eof(lock, request.pos())?;
    Ok(count)
}

/// Before the file grows to reach `pos`: zeroes the rest of its last block, where mmap may have written what nobody
/// should ever read. Nothing to do where `pos` is inside the file. C: `ext4_block_zero_eof`.
pub(super) fn zero_past_eof(lock: &Locked<Exclusive>, pos: u64) -> Result {
    let size = lock.size();
    if pos <= size {
        return Ok(());
    }
    {
        // In the cache, where a page may reach over blocks that have no place on disk yet.
        let inode: &Inode = lock;
        lock.truncate_pagecache(&InvalidateLock::new(inode), size);
    }
    // On disk: the rest of the last block.
    let block_end = lock.sb().round_up(size);
    lock.zero_range(size, block_end.min(pos).saturating_sub(size))
}

/// After a write that stopped early: frees blocks that it allocated past the end of file, and zeroes the rest of the last one,
/// where a direct write may have been before it failed. C: `ext4_truncate_failed_write`.
///
/// # Errors
///
/// As [`truncate::free_range`].
pub(super) fn trim_past_eof(lock: &Locked<Exclusive>) -> Result {
    let size = lock.size();
    let inode: &Inode = lock;
    let rest = inode.sb().round_up(size).saturating_sub(size);
    if let Err(e) = lock.zero_range(size, rest) {
        pr_err!(
            "({}): inode {}: not zero behind its end: {e:?}\n",
            inode.sb().id(),
            inode.ino()
        );
    }
    let invalidate = InvalidateLock::new(inode);
    lock.truncate_pagecache(&invalidate, size);
    truncate::free_from(&Transaction::start(inode.sb()), inode, size)
}

/// Finishes what a crash has interrupted: a file that was being shortened loses what it has behind its size. C: the part of
/// `ext4_process_orphan` that truncates.
pub(super) fn cut(inode: &Locked<Exclusive>) -> Result {
    let size = inode.size();
    inode.zero_range(size, inode.sb().round_up(size).saturating_sub(size))?;
    let file: &Inode = inode;
    let _lock = InvalidateLock::new(file);
    truncate::free_from(&Transaction::start(file.sb()), file, size)
}

/// `truncate(2)`, both ways.
fn set_size(inode: &Locked<Exclusive>, size: u64, owner: Owner) -> Result {
    if inode.is_immutable() {
        return Err(EPERM);
    }
    inode.newsize_ok(size)?;
    let pass = |point| {
        let now = inode.size();
        inode.pass(point, || owner, size.min(now), size.abs_diff(now));
    };
    pass(Point::TruncateBegin);
    // No direct I/O may reach blocks that are about to be freed, nor see the size change under it.
    inode.dio_wait();
    pass(Point::TruncateDrained);
    let old = inode.size();
    if size > old {
        zero_past_eof(inode, size)?;
    } else {
        // The new last block, from the new end on.
        let block_end = inode.sb().round_up(size);
        inode.zero_range(size, block_end.min(old).saturating_sub(size))?;
    }
    {
        let file: &Inode = inode;
        let _lock = InvalidateLock::new(file);
        inode.truncate_setsize(size);
        if size < old {
            let transaction = Transaction::start(file.sb());
            if file.sectors() != 0 {
                orphan::add_or_tell(&transaction, file);
            }
            // Since it went on the list its buffer has had the new size and the old pointers.
            let shortened = truncate::free_from(&transaction, file, size);
            if file.nlink() != 0 && shortened.is_ok() {
                // Left on the list it is shortened once more, by the next mount.
                let _ = orphan::remove(&transaction, file);
            }
        }
    }
    inode.touch_mctime();
    inode.mark_dirty();
    if inode.is_sync() {
        inode.sync_metadata()?;
    }
    Ok(())
}
