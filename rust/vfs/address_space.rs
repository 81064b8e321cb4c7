// SPDX-License-Identifier: GPL-2.0

//! `struct address_space`: the page cache of a file, filled and emptied by iomap.
//!
//! C: `include/linux/pagemap.h`, `mm/filemap.c`, `mm/truncate.c`, `fs/iomap/buffered-io.c`.

use super::{
    iomap::{Mapping, Table as IomapTable},
    locked::InvalidateLock,
    report, to_loff, to_result, Exclusive, FileSystem, Inode, Locked,
};
use crate::sys::bindings;
use core::marker::PhantomData;
use kernel::{error::from_result, prelude::*};

/// log2 of the page size, in which the page cache counts.
const PAGE_SHIFT: u32 = kernel::page::PAGE_SHIFT as u32;

impl<T: FileSystem> Inode<T> {
    /// Writes dirty pages of `[start, end]` (bytes, inclusive) and waits. C: `filemap_write_and_wait_range`.
    pub(crate) fn write_and_wait_range(&self, start: u64, end: u64) -> Result {
        // SAFETY: the mapping is valid with its inode.
        to_result(unsafe {
            bindings::filemap_write_and_wait_range(self.mapping(), to_loff(start), to_loff(end))
        })
    }

    /// Whether a page may be newer than the disk, or become so at once: one is mapped writably, is dirty, or under write-back.
    pub(crate) fn may_be_dirty(&self) -> bool {
        // SAFETY: the mapping is valid with its inode.
        unsafe { bindings::notblk_mapping_may_be_dirty(self.mapping()) }
    }

    /// Waits for the faults that are under way, then writes dirty pages of `[start, end]` (bytes, inclusive) and waits. Takes
    /// `invalidate_lock`, and sleeps.
    pub(crate) fn write_after_faults(&self, start: u64, end: u64) -> Result {
        // Nobody is in `page_mkwrite` then.
        let _lock = InvalidateLock::new(self);
        self.write_and_wait_range(start, end)
    }

    /// Whether no fault is under way, and nothing of `[start, end]` (bytes, inclusive) is dirty or under write-back. `false` too where
    /// that cannot be told without a sleep. C: `filemap_range_needs_writeback`.
    pub(crate) fn is_written_after_faults(&self, start: u64, end: u64) -> bool {
        // SAFETY: the mapping is valid with its inode.
        unsafe {
            bindings::notblk_is_written_after_faults(self.mapping(), to_loff(start), to_loff(end))
        }
    }

    /// Drops clean pages that touch `[start, end]` (bytes, inclusive). C: `invalidate_mapping_pages`.
    pub(crate) fn invalidate_mapping_pages(&self, start: u64, end: u64) {
        // SAFETY: the mapping is valid with its inode.
        unsafe {
            bindings::invalidate_mapping_pages(
                self.mapping(),
                // CAST: page numbers are as wide as addresses.
                (start >> PAGE_SHIFT) as usize,
                (end >> PAGE_SHIFT) as usize,
            );
        }
    }
}

impl<T: FileSystem> Locked<T, Exclusive> {
    /// Sets `i_size` and drops the pages beyond; after growth, pages that straddle the old end fault again before they
    /// are written by mmap. C: `truncate_setsize`.
    pub(crate) fn truncate_setsize(&self, size: u64) {
        // SAFETY: valid; i_rwsem is held exclusively.
        unsafe { bindings::truncate_setsize(self.as_raw(), to_loff(size)) };
    }

    /// The file has grown from `from` to reach `to`: a page over the old end must fault again before mmap writes to it, for
    /// it may have blocks now that are holes. C: `pagecache_isize_extended`.
    pub(crate) fn isize_extended(&self, from: u64, to: u64) {
        // C warns where the size does not reach `to`.
        let to = to.min(self.size());
        // SAFETY: valid; i_rwsem is held exclusively.
        unsafe { bindings::pagecache_isize_extended(self.as_raw(), to_loff(from), to_loff(to)) };
    }

    /// Drops all pages from `size` on. C: `truncate_pagecache`.
    pub(crate) fn truncate_pagecache(&self, _lock: &InvalidateLock<'_, T>, size: u64) {
        // SAFETY: valid; i_rwsem is held exclusively.
        unsafe { bindings::truncate_pagecache(self.as_raw(), to_loff(size)) };
    }

    /// Drops what the page cache has of `[start, end)`: whole pages go, parts of pages are zeroed. C:
    /// `ext4_truncate_page_cache_block_range`.
    ///
    /// A page that loses some of its blocks can be written by mmap without anybody being asked, until it faults again: at
    /// both ends such pages are made read-only.
    pub(crate) fn truncate_pagecache_range(
        &self,
        _lock: &InvalidateLock<'_, T>,
        start: u64,
        end: u64,
    ) {
        if start >= end {
            return;
        }
        let page_of = |pos: u64| pos >> PAGE_SHIFT;
        if (start | end) & ((1 << PAGE_SHIFT) - 1) != 0 {
            self.write_protect(page_of(start));
            self.write_protect(page_of(end));
        }
        // SAFETY: valid; i_rwsem is held exclusively, and the invalidate_lock.
        unsafe {
            bindings::truncate_pagecache_range(
                self.as_raw(),
                to_loff(start),
                to_loff(end.saturating_sub(1)),
            );
        }
    }

    /// Makes a cached page read-only wherever it is mapped: the next write to it faults. C: `ext4_truncate_folio`.
    fn write_protect(&self, page: u64) {
        // CAST: page numbers are as wide as addresses.
        // SAFETY: the mapping is valid with its inode. Answers a locked folio with a reference, or an errno.
        let folio = unsafe { bindings::notblk_filemap_lock_folio(self.mapping(), page as usize) };
        // SAFETY: only looks at the value.
        if unsafe { bindings::notblk_is_err(folio.cast()) } {
            return;
        }
        // SAFETY: locked and ours. What was dirty in a page table only is dirty in the folio now.
        unsafe {
            if bindings::folio_mkclean(folio) != 0 {
                bindings::folio_mark_dirty(folio);
            }
            bindings::notblk_folio_unlock_put(folio);
        }
    }

    /// Whether the file may have this size: limits of process and filesystem, swap files. C: `inode_newsize_ok`.
    pub(crate) fn newsize_ok(&self, size: u64) -> Result {
        // SAFETY: valid; i_rwsem is held exclusively.
        to_result(unsafe { bindings::inode_newsize_ok(self.as_raw(), to_loff(size)) })
    }
}

/// The functions of `struct address_space_operations` and `struct iomap_writeback_ops` for `T`.
pub(super) struct Table<T>(PhantomData<T>);

impl<T: FileSystem> Table<T> {
    pub(super) const OPS: bindings::address_space_operations = {
        // SAFETY: all fields are optional function pointers, for which zero is `None`.
        let mut ops: bindings::address_space_operations = unsafe { core::mem::zeroed() };
        ops.read_folio = Some(Self::read_folio);
        ops.readahead = Some(Self::readahead);
        ops.writepages = Some(Self::writepages);
        ops.dirty_folio = Some(bindings::iomap_dirty_folio);
        ops.invalidate_folio = Some(bindings::iomap_invalidate_folio);
        ops.release_folio = Some(bindings::iomap_release_folio);
        ops.is_partially_uptodate = Some(bindings::iomap_is_partially_uptodate);
        ops.migrate_folio = Some(bindings::filemap_migrate_folio);
        ops.error_remove_folio = Some(bindings::generic_error_remove_folio);
        ops.bmap = Some(report::Table::<T>::bmap);
        ops.swap_activate = Some(report::Table::<T>::swap_activate);
        ops
    };

    const WRITEBACK_OPS: bindings::iomap_writeback_ops = bindings::iomap_writeback_ops {
        writeback_range: Some(Self::writeback_range),
        writeback_submit: Some(bindings::notblk_writeback_submit),
    };

    /// # Safety
    ///
    /// C's contract for `read_folio`: the folio is locked and belongs to a file of ours.
    unsafe extern "C" fn read_folio(
        _file: *mut bindings::file,
        folio: *mut bindings::folio,
    ) -> c_int {
        // SAFETY: by the contract; the table is a constant.
        unsafe { bindings::notblk_iomap_bio_read_folio(folio, &IomapTable::<T>::OPS) };
        0
    }

    /// # Safety
    ///
    /// C's contract for `readahead`.
    unsafe extern "C" fn readahead(rac: *mut bindings::readahead_control) {
        // SAFETY: by the contract; the table is a constant.
        unsafe { bindings::notblk_iomap_bio_readahead(rac, &IomapTable::<T>::OPS) };
    }

    /// # Safety
    ///
    /// C's contract for `writepages`, on the mapping of a file of ours.
    unsafe extern "C" fn writepages(
        mapping: *mut bindings::address_space,
        wbc: *mut bindings::writeback_control,
    ) -> c_int {
        // SAFETY: by the contract: `host` is the mapping's inode.
        let inode = unsafe { Inode::<T>::from_raw((*mapping).host) };
        if let Err(e) = T::emergency_state(inode.sb()) {
            return e.to_errno();
        }
        // SAFETY: plain C data, for which zero is the initial state; `host` is the mapping's inode.
        let mut wpc: bindings::iomap_writepage_ctx = unsafe { core::mem::zeroed() };
        // SAFETY: by the contract.
        wpc.inode = unsafe { (*mapping).host };
        wpc.wbc = wbc;
        wpc.ops = &Self::WRITEBACK_OPS;
        // SAFETY: the context is complete and lives during the call.
        unsafe { bindings::iomap_writepages(&mut wpc) }
    }

    /// Maps afresh for every dirty range: what the last one found says nothing of this one. Whoever frees blocks of a folio that
    /// stays in the cache has it written and clean before.
    ///
    /// # Safety
    ///
    /// C's contract for `writeback_range`: the folio is locked.
    unsafe extern "C" fn writeback_range(
        wpc: *mut bindings::iomap_writepage_ctx,
        folio: *mut bindings::folio,
        pos: u64,
        len: c_uint,
        end_pos: u64,
    ) -> isize {
        from_result(|| {
            // SAFETY: by the contract.
            let (inode, iomap) = unsafe { (Inode::<T>::from_raw((*wpc).inode), &mut (*wpc).iomap) };
            let mapping: Mapping = T::writeback_map(inode, pos, u64::from(len))?;
            IomapTable::fill(inode, mapping, iomap);
            // SAFETY: by the contract.
            Ok(unsafe {
                bindings::iomap_add_to_ioend(wpc, folio, to_loff(pos), to_loff(end_pos), len)
            })
        })
    }
}
