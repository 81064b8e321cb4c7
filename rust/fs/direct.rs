// SPDX-License-Identifier: GPL-2.0

//! Direct I/O and its buffered fallback: what this filesystem is for.
//!
//! C: `fs/ext4/file.c` of the same kernel version, whose locking policy this is.
//!
//! # The policy
//!
//! | a direct write that is | holds `i_rwsem` | and |
//! | --- | --- | --- |
//! | aligned to blocks and inside `i_size` | shared | whatever the mapping is |
//! | of a file with set-id bits or capabilities to drop | exclusively | |
//! | extending the file | exclusively | is waited for, and on the orphan list meanwhile |
//! | not aligned, with a partial block on a hole | exclusively | drains first, is waited for |
//! | not aligned, all partial blocks mapped | shared | |
//! | NOWAIT | by trylock only | `EAGAIN` rather than any sleep or change of lock |
//!
//! A direct read holds it shared.
//!
//! # The fallback
//!
//! A hole inside `i_size` cannot be written directly (`iomap_begin` says why, and answers `ENOTBLK`). What is left of the
//! request then goes through the page cache: [`fallback`] takes `i_rwsem` exclusively, **drains** the direct I/O in flight
//! ([`drain`]: the one call of the seed's patch), copies to the page cache, lets the lock go, writes the range out, and
//! drops its pages.
//!
//! Without the drain, a direct write that was submitted before the pages were dirtied may complete after it. Its completion
//! invalidates the page cache over its range, finds the page dirty, and can only report it: `EIO` to whoever calls fsync.

use super::{
    buffered::{self, Origin},
    counters,
    map::{Lookup, Reads},
    orphan, Inode, Locked, Notblk, Transaction,
};
use crate::vfs::{
    dio::{self, Completion, Outcome, Wait},
    hold::Stage,
    kiocb::{Io, Read, Request, Write},
    locked::Guard,
    Exclusive, Shared,
};
use kernel::{
    prelude::*,
    time::{delay::fsleep, Delta, Instant, Monotonic},
};

/// C: `ext4_dio_read_iter`.
pub(super) fn read_iter(request: Request<'_, Notblk, Read>) -> Io {
    let inode = request.inode();
    let lock = if request.is_nowait() {
        match inode.try_lock_shared() {
            Some(lock) => lock,
            None => return Io::Done(Err(EAGAIN)),
        }
    } else {
        inode.lock_shared()
    };
    counters::add(&inode.sb().data().counters().direct_reads, 1);
    // Whatever comes of it, as ext4; before it, for a request that is queued is not ours any more.
    request.accessed();
    match dio::rw(request, &lock, Wait::IfSync) {
        Outcome::Queued(queued) => Io::Queued(queued),
        Outcome::Done(_, result) => Io::Done(result),
    }
}

/// `i_rwsem`, held one way or the other.
enum Lock<'a> {
    Shared(Guard<'a, Notblk, Shared>),
    Exclusive(Guard<'a, Notblk, Exclusive>),
}

impl Lock<'_> {
    /// Shared where that will do at a first look; the checks look again.
    fn take<'a>(inode: &'a Inode, shared: bool, nowait: bool) -> Result<Lock<'a>> {
        Ok(match (shared, nowait) {
            (true, false) => Lock::Shared(inode.lock_shared()),
            (true, true) => Lock::Shared(inode.try_lock_shared().ok_or(EAGAIN)?),
            (false, false) => Lock::Exclusive(inode.lock()),
            (false, true) => Lock::Exclusive(inode.try_lock().ok_or(EAGAIN)?),
        })
    }
}

/// A direct write whose lock is settled.
struct Plan<'a> {
    lock: Lock<'a>,
    wait: Wait,
    extend: bool,
    /// `i_size` before the write.
    size: u64,
}

/// C: `ext4_dio_write_iter`.
pub(super) fn write_iter(mut request: Request<'_, Notblk, Write>) -> Io {
    let inode = request.inode();
    let plan = match write_checks(&mut request) {
        Ok(Some(plan)) => plan,
        Ok(None) => return Io::Done(Ok(0)),
        Err(e) => return Io::Done(Err(e)),
    };
    counters::add(&inode.sb().data().counters().direct_writes, 1);
    if plan.extend {
        // Blocks come before the size that covers them. Who finds the inode on the list after a crash takes them away again.
        if let Err(e) = orphan::add(&Transaction::start(inode.sb()), inode) {
            return Io::Done(Err(e));
        }
    }
    let outcome = match &plan.lock {
        Lock::Shared(lock) => dio::rw(request, &**lock, plan.wait),
        Lock::Exclusive(lock) => dio::rw(request, &**lock, plan.wait),
    };
    let (mut request, done) = match outcome {
        Outcome::Queued(queued) => return Io::Queued(queued),
        // Nothing was written directly, and all of it falls back: the page cache could not be invalidated.
        Outcome::Done(request, Err(e)) if e == ENOTBLK => (request, Ok(0)),
        Outcome::Done(request, done) => (request, done),
    };
    if let (true, Lock::Exclusive(lock)) = (plan.extend, &plan.lock) {
        // Extending writes are always waited for, so all that will ever be written has been.
        let mut trimmed = Ok(());
        if done.is_err() || request.len() > 0 {
            // This zeroes through the page cache, and what others wrote before we had the lock may be in flight to the page.
            drain(lock);
            trimmed = buffered::trim_past_eof(lock);
        }
        if trimmed.is_ok() {
            off_the_orphan_list(inode);
        }
        lock.isize_extended(plan.size, lock.size());
    }
    drop(plan);
    match done {
        Ok(written) if request.len() > 0 => Io::Done(fallback(&mut request, written)),
        done => Io::Done(done),
    }
}

/// Decides how `i_rwsem` is held: begins shared where it can, and begins again exclusively where it must. `None`: nothing
/// to write. C: `ext4_dio_write_checks`.
fn write_checks<'a>(request: &mut Request<'a, Notblk, Write>) -> Result<Option<Plan<'a>>> {
    let inode = request.inode();
    let nowait = request.is_nowait();
    let inside = end(request) <= inode.size();
    let mut lock = Lock::take(inode, inside, nowait)?;
    loop {
        let count = match &lock {
            Lock::Shared(lock) => generic_write_checks(request, lock)?,
            Lock::Exclusive(lock) => generic_write_checks(request, lock)?,
        };
        if count == 0 {
            return Ok(None);
        }
        let extend = end(request) > inode.size();
        let zeroing = is_unaligned(request) && needs_zeroing(request);
        let lock_exclusive = match lock {
            Lock::Exclusive(lock) => lock,
            Lock::Shared(guard) if inode.is_nosec() && !extend && !zeroing => {
                request.modified(&guard)?;
                return Ok(Some(Plan {
                    lock: Lock::Shared(guard),
                    wait: Wait::IfSync,
                    extend,
                    size: inode.size(),
                }));
            }
            Lock::Shared(guard) => {
                if nowait {
                    return Err(EAGAIN);
                }
                // What was checked may change between the two locks: check all of it again.
                drop(guard);
                lock = Lock::Exclusive(inode.lock());
                continue;
            }
        };
        let mut wait = Wait::IfSync;
        if zeroing || extend {
            if nowait {
                return Err(EAGAIN);
            }
            if zeroing {
                // The zeroes around our bytes must not land on a neighbour's that are in flight to the same block.
                lock_exclusive.dio_wait();
            }
            wait = Wait::Force;
        }
        if extend && request.pos() > inode.size() {
            // Stricter than ext4, as XFS: what mmap left behind the old end must not become readable here either.
            lock_exclusive.dio_wait();
            buffered::zero_past_eof(&lock_exclusive, request.pos())?;
        }
        request.modified(&lock_exclusive)?;
        return Ok(Some(Plan {
            lock: Lock::Exclusive(lock_exclusive),
            wait,
            extend,
            size: inode.size(),
        }));
    }
}

/// C: `ext4_generic_write_checks`.
fn generic_write_checks<M>(
    request: &mut Request<'_, Notblk, Write>,
    lock: &Locked<M>,
) -> Result<usize> {
    if lock.is_immutable() {
        return Err(EPERM);
    }
    request.write_checks(lock)
}

/// First byte behind the request.
fn end(request: &Request<'_, Notblk, Write>) -> u64 {
    request.pos().saturating_add(request.len() as u64)
}

/// Whether the request's place or memory is not aligned to blocks. C: `ext4_unaligned_io`.
fn is_unaligned(request: &Request<'_, Notblk, Write>) -> bool {
    request
        .inode()
        .sb()
        .offset_in_block(request.pos() | request.memory_alignment())
        != 0
}

/// Whether a partial block at either end of the request is on a hole, so that the rest of the block must be zeroed. Where a
/// lookup fails, or would sleep under NOWAIT, the careful answer. C: `ext4_dio_needs_zeroing`.
fn needs_zeroing(request: &Request<'_, Notblk, Write>) -> bool {
    let inode = request.inode();
    let (pos, end) = (request.pos(), end(request));
    if end > inode.size() {
        return true;
    }
    let sb = inode.sb();
    let (reads, map) = if request.is_nowait() {
        (Reads::Cached, inode.data().map.try_lock())
    } else {
        (Reads::Allowed, Some(inode.data().map.lock()))
    };
    let Some(map) = map else { return true };
    let is_mapped = |byte: u64| {
        u32::try_from(sb.block_of(byte))
            .map_err(|_| EFBIG)
            .and_then(|lblk| map.lookup(inode, lblk, 1, reads))
            .is_ok_and(|found| matches!(found, Lookup::Mapped(_)))
    };
    let is_partial = |byte: u64| sb.offset_in_block(byte) != 0;
    (is_partial(pos) && !is_mapped(pos)) || (is_partial(end) && !is_mapped(end.saturating_sub(1)))
}

/// After an extending write, if [`write_end`] has not done it. An inode without a name stays on the list: `i_rwsem`, held
/// exclusively, keeps links as they are. C: `ext4_inode_extension_cleanup`.
fn off_the_orphan_list(inode: &Inode) {
    if inode.nlink() != 0 {
        // A failure has been reported; with links and a size that covers its blocks the next mount takes it off.
        let _ = orphan::remove(&Transaction::start(inode.sb()), inode);
    }
}

/// A direct write has completed: a longer file is longer from now on. Before the page cache is invalidated, so that a
/// buffered read meanwhile does not cache zeroes past the old end. And before O_SYNC's flush, which then finds the inode off
/// the orphan list. C: `ext4_dio_write_end_io`, `ext4_handle_inode_extension`.
pub(super) fn write_end(completion: &Completion<'_, Notblk>) {
    let inode = completion.inode();
    // Others may complete in interrupt context, and leave here.
    if completion.end() > inode.size() {
        completion.extend();
        inode.mark_dirty();
        off_the_orphan_list(inode);
    }
}

/// Waits until no direct I/O is in flight, with `i_rwsem` held exclusively so that none can begin: before anything is done
/// through the page cache. **The call that the seed's patch adds**; `drain=off` leaves it out. C: `inode_dio_wait` in
/// `ext4_buffered_write_iter`.
pub(super) fn drain(lock: &Locked<Exclusive>) {
    let data = lock.sb().data();
    if !data.options.get().drain {
        return;
    }
    let counters = data.counters();
    counters::add(&counters.drains, 1);
    if !lock.dio_busy() {
        return;
    }
    let begun = Instant::<Monotonic>::now();
    lock.trace_drain(None);
    lock.dio_wait();
    let waited = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(0);
    lock.trace_drain(Some(waited));
    counters::add(&counters.drains_waited, 1);
    counters::add(&counters.drain_wait_ns, waited);
}

/// Writes what is left of a direct request, of which `direct` bytes have been written, through the page cache; then makes
/// it look like direct I/O: on disk, and out of the cache. C: the end of `ext4_dio_write_iter`.
fn fallback(request: &mut Request<'_, Notblk, Write>, direct: usize) -> Result<usize> {
    let inode = request.inode();
    let data = inode.sb().data();
    counters::add(&data.counters().fallbacks, 1);
    let pos = request.pos();
    request.stage(Stage::Begin, pos, request.len() as u64);

    // i_rwsem exclusive, drain, copy, unlock.
    let written = buffered::write(request, Origin::Fallback)?;
    if written == 0 {
        return Ok(direct);
    }
    counters::add(&data.counters().fallback_bytes, written as u64);

    // The window: pages are dirty, no lock is held. The mail's delay makes it wide.
    let delay = data.options.get().fallback_delay_ms;
    if delay != 0 {
        fsleep(Delta::from_millis(i64::from(delay)));
    }

    let last = pos.saturating_add(written as u64).saturating_sub(1);
    // As ext2, and unlike ext4: data that did not reach the device is an error of the write that brought it.
    inode.write_and_wait_range(pos, last)?;
    request.stage(Stage::Flushed, pos, written as u64);
    inode.invalidate_mapping_pages(pos, last);
    request.stage(Stage::Done, pos, written as u64);
    Ok(direct.saturating_add(written))
}
