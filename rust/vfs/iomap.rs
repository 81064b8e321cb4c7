// SPDX-License-Identifier: GPL-2.0

//! `struct iomap` and `struct iomap_ops`: how file ranges map to blocks.
//!
//! C: `include/linux/iomap.h`, `Documentation/filesystems/iomap/`.

use super::{
    hold::{Owner, Point},
    to_loff, to_pos, to_result, Exclusive, FileSystem, Inode, Locked,
};
use crate::sys::bindings;
use core::{marker::PhantomData, ptr};
use kernel::{error::from_result, prelude::*};

/// `IOMAP_NULL_ADDR`, which bindgen cannot evaluate.
const IOMAP_NULL_ADDR: u64 = u64::MAX;

/// What iomap wants a mapping for. C: the `IOMAP_*` flags of `iomap_begin`.
#[derive(Clone, Copy)]
pub(crate) struct Flags(u32);

impl Flags {
    fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }

    /// `IOMAP_WRITE`: blocks must be there; allocate them.
    pub(crate) fn is_write(self) -> bool {
        self.has(bindings::IOMAP_WRITE)
    }

    /// `IOMAP_DIRECT`
    pub(crate) fn is_direct(self) -> bool {
        self.has(bindings::IOMAP_DIRECT)
    }

    /// `IOMAP_NOWAIT`: `EAGAIN` rather than any sleep.
    pub(crate) fn is_nowait(self) -> bool {
        self.has(bindings::IOMAP_NOWAIT)
    }

    /// `IOMAP_FAULT`: a page becomes writable; `i_rwsem` is not held.
    pub(crate) fn is_fault(self) -> bool {
        self.has(bindings::IOMAP_FAULT)
    }
}

/// A mapping: a run of bytes of the file, whole blocks, and what is behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mapping {
    /// No blocks. C: `IOMAP_HOLE`.
    Hole {
        /// First byte in the file.
        offset: u64,
        /// Length in bytes.
        length: u64,
    },
    /// No blocks yet: a buffered write gets them folio by folio, in [`Operations::write_prepare`]. C: `IOMAP_DELALLOC`.
    Reserved {
        /// First byte in the file.
        offset: u64,
        /// Length in bytes.
        length: u64,
    },
    /// Consecutive blocks. C: `IOMAP_MAPPED`.
    Mapped {
        /// First byte in the file.
        offset: u64,
        /// Length in bytes.
        length: u64,
        /// First byte on the device.
        addr: u64,
        /// Allocated just now: what is on disk is garbage. C: `IOMAP_F_NEW`.
        new: bool,
        /// The inode needs writing before the data counts as durable. C: `IOMAP_F_DIRTY`.
        dirty: bool,
    },
}

/// Where extended attributes are: bytes on the device. Beside [`Mapping`], for nobody may read or write by it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AttributesAt {
    /// In the inode. C: `IOMAP_INLINE`.
    Inode {
        /// First byte on the device.
        addr: u64,
        /// Length in bytes.
        length: u64,
    },
    /// In a block of their own. C: `IOMAP_MAPPED`.
    Block {
        /// First byte on the device.
        addr: u64,
        /// Length in bytes.
        length: u64,
    },
}

/// What becomes `struct iomap_ops` and `struct iomap_writeback_ops`.
pub(crate) trait Operations: Sized {
    /// Maps the beginning of `len` bytes from `pos` on; the mapping covers `pos`. With it comes the state of the file's map
    /// (`validity_cookie`), for [`Operations::is_valid`]. C: `iomap_begin`.
    ///
    /// # Errors
    ///
    /// `ENOTBLK` sends a direct write to the page cache; `EAGAIN` under NOWAIT.
    fn iomap_begin(inode: &Inode<Self>, pos: u64, len: u64, flags: Flags) -> Result<(Mapping, u64)>
    where
        Self: FileSystem;

    /// Maps the beginning of `len` bytes from `pos` on, to be told of: looks up only. A position that the format cannot reach
    /// is in a hole. C: `ext4_iomap_begin_report`.
    fn iomap_report(inode: &Inode<Self>, pos: u64, len: u64) -> Result<Mapping>
    where
        Self: FileSystem;

    /// Where the inode's extended attributes are, to be told of. C: `ext4_iomap_xattr_fiemap`.
    ///
    /// # Errors
    ///
    /// `ENOENT` where it has none.
    fn iomap_xattr(inode: &Inode<Self>) -> Result<AttributesAt>
    where
        Self: FileSystem;

    /// A buffered write has grown `i_size` (`IOMAP_F_SIZE_CHANGED`). C: `iomap_end`.
    fn size_changed(inode: &Inode<Self>)
    where
        Self: FileSystem;

    /// Gives blocks to `len` bytes from `pos` on, which were [`Mapping::Reserved`] when the map was in state `cookie`; answers
    /// its new state, or `None` where it is not in that state any more. The folio over all of them is locked: nobody reads
    /// the new blocks before the write has filled the folio. C: `get_folio`.
    fn write_prepare(inode: &Inode<Self>, cookie: u64, pos: u64, len: u64) -> Result<Option<u64>>
    where
        Self: FileSystem;

    /// The write has put `copied` bytes from `pos` on into the folio, which is locked still: takes back what
    /// [`Operations::write_prepare`] gave and the write did not reach. C: `put_folio`.
    fn write_done(inode: &Inode<Self>, pos: u64, copied: u64)
    where
        Self: FileSystem;

    /// Whether the map is in the state that a mapping was made from. C: `iomap_valid`.
    fn is_valid(inode: &Inode<Self>, cookie: u64) -> bool
    where
        Self: FileSystem;

    /// Maps dirty bytes for write-back: looks up only. The folio over `pos` is locked: its blocks are not freed until it is
    /// written, where whoever frees blocks first takes their folios out of the cache or, those that stay, has them written.
    /// C: `writeback_range`.
    fn writeback_map(inode: &Inode<Self>, pos: u64, len: u64) -> Result<Mapping>
    where
        Self: FileSystem;
}

/// The functions of `struct iomap_ops` for `T`.
pub(super) struct Table<T>(PhantomData<T>);

impl<T: FileSystem> Table<T> {
    pub(super) const OPS: bindings::iomap_ops = Self::ops(Self::iomap_next::<false>);

    /// The same with the hold points, for a request that finds the mount guarded when it begins. A table of their own, so that
    /// where nothing is held no mapping asks.
    pub(super) const GUARDED_OPS: bindings::iomap_ops = Self::ops(Self::iomap_next::<true>);

    const fn ops(
        next: unsafe extern "C" fn(
            *const bindings::iomap_iter,
            *mut bindings::iomap,
            *mut bindings::iomap,
        ) -> c_int,
    ) -> bindings::iomap_ops {
        // SAFETY: all fields are optional function pointers, for which zero is `None`.
        let mut ops: bindings::iomap_ops = unsafe { core::mem::zeroed() };
        // Not the older pair iomap_begin and iomap_end: in 7.3 nobody uses it any more.
        ops.iomap_next = Some(next);
        ops
    }

    /// Fills C's struct from ours.
    pub(super) fn fill(inode: &Inode<T>, mapping: Mapping, iomap: &mut bindings::iomap) {
        // SAFETY: valid by invariant; `s_bdev` stays while mounted.
        iomap.bdev = unsafe { (*inode.sb().as_raw()).s_bdev };
        // CAST: the constants are small.
        match mapping {
            Mapping::Hole { offset, length } => {
                iomap.type_ = bindings::IOMAP_HOLE as u16;
                iomap.addr = IOMAP_NULL_ADDR;
                iomap.offset = to_loff(offset);
                iomap.length = length;
                iomap.flags = 0;
            }
            Mapping::Reserved { offset, length } => {
                iomap.type_ = bindings::IOMAP_DELALLOC as u16;
                iomap.addr = IOMAP_NULL_ADDR;
                iomap.offset = to_loff(offset);
                iomap.length = length;
                iomap.flags = bindings::IOMAP_F_NEW as u16;
            }
            Mapping::Mapped {
                offset,
                length,
                addr,
                new,
                dirty,
            } => {
                iomap.type_ = bindings::IOMAP_MAPPED as u16;
                iomap.addr = addr;
                iomap.offset = to_loff(offset);
                iomap.length = length;
                iomap.flags = 0;
                if new {
                    iomap.flags |= bindings::IOMAP_F_NEW as u16;
                }
                if dirty {
                    iomap.flags |= bindings::IOMAP_F_DIRTY as u16;
                }
            }
        }
    }

    /// # Safety
    ///
    /// C's contract for `iomap_next`.
    unsafe extern "C" fn iomap_next<const GUARDED: bool>(
        iter: *const bindings::iomap_iter,
        iomap: *mut bindings::iomap,
        srcmap: *mut bindings::iomap,
    ) -> c_int {
        // SAFETY: by the contract; the functions have the signatures that C asks for.
        unsafe {
            bindings::notblk_iomap_iter_next(
                iter,
                iomap,
                srcmap,
                Some(Self::iomap_begin::<GUARDED>),
                Some(Self::iomap_end),
            )
        }
    }

    /// # Safety
    ///
    /// C's contract for `iomap_begin`.
    unsafe extern "C" fn iomap_begin<const GUARDED: bool>(
        inode: *mut bindings::inode,
        pos: bindings::loff_t,
        length: bindings::loff_t,
        flags: c_uint,
        iomap: *mut bindings::iomap,
        _srcmap: *mut bindings::iomap,
    ) -> c_int {
        from_result(|| {
            // SAFETY: by the contract; the struct is ours to fill.
            let (inode, iomap) = unsafe { (Inode::<T>::from_raw(inode), &mut *iomap) };
            let (pos, length, flags) = (to_pos(pos), to_pos(length), Flags(flags));
            if GUARDED && flags.is_direct() {
                inode.pass(Point::DioMap, Owner::current, pos, length);
            }
            let answer = T::iomap_begin(inode, pos, length, flags);
            inode.trace_map(pos, length, &answer);
            let (mapping, cookie) = answer?;
            if GUARDED && flags.is_fault() {
                inode.pass(Point::FaultMapped, Owner::current, pos, length);
            }
            Self::fill(inode, mapping, iomap);
            iomap.validity_cookie = cookie;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// C's contract for `iomap_end`.
    unsafe extern "C" fn iomap_end(
        inode: *mut bindings::inode,
        _pos: bindings::loff_t,
        _length: bindings::loff_t,
        _written: isize,
        _flags: c_uint,
        iomap: *mut bindings::iomap,
    ) -> c_int {
        // SAFETY: by the contract.
        let (inode, state) = unsafe { (Inode::<T>::from_raw(inode), u32::from((*iomap).flags)) };
        if state & bindings::IOMAP_F_SIZE_CHANGED != 0 {
            T::size_changed(inode);
        }
        0
    }

    pub(super) const WRITE_OPS: bindings::iomap_write_ops = {
        // SAFETY: all fields are optional function pointers, for which zero is `None`.
        let mut ops: bindings::iomap_write_ops = unsafe { core::mem::zeroed() };
        ops.get_folio = Some(Self::get_folio);
        ops.put_folio = Some(Self::put_folio);
        ops.iomap_valid = Some(Self::iomap_valid);
        ops
    };

    /// # Safety
    ///
    /// C's contract for `get_folio`.
    unsafe extern "C" fn get_folio(
        iter: *mut bindings::iomap_iter,
        pos: bindings::loff_t,
        len: c_uint,
    ) -> *mut bindings::folio {
        // SAFETY: by the contract; answers a locked folio, or an errno.
        let folio = unsafe { bindings::iomap_get_folio(iter, pos, len as usize) };
        // SAFETY: only looks at the value.
        if unsafe { bindings::notblk_is_err(folio.cast()) } {
            return folio;
        }
        // SAFETY: by the contract; the mapping is the iterator's own.
        let (inode, iomap) =
            unsafe { (Inode::<T>::from_raw((*iter).inode), &raw mut (*iter).iomap) };
        // SAFETY: as above.
        if u32::from(unsafe { (*iomap).type_ }) != bindings::IOMAP_DELALLOC {
            return folio;
        }
        let pos = to_pos(pos);
        // SAFETY: the folio is locked and ours.
        let folio_end = unsafe {
            bindings::notblk_folio_pos(folio)
                .saturating_add(bindings::notblk_folio_size(folio) as u64)
        };
        let len = u64::from(len).min(folio_end.saturating_sub(pos));
        // SAFETY: as above.
        match T::write_prepare(inode, unsafe { (*iomap).validity_cookie }, pos, len) {
            // SAFETY: as above.
            Ok(Some(cookie)) => unsafe { (*iomap).validity_cookie = cookie },
            // `iomap_valid`, which C asks next, says the same.
            Ok(None) => {}
            Err(e) => {
                // SAFETY: the folio is locked and ours.
                unsafe { bindings::notblk_folio_unlock_put(folio) };
                return e.to_ptr();
            }
        }
        folio
    }

    /// # Safety
    ///
    /// C's contract for `put_folio`: the folio is the one that `get_folio` answered.
    unsafe extern "C" fn put_folio(
        inode: *mut bindings::inode,
        pos: bindings::loff_t,
        copied: c_uint,
        folio: *mut bindings::folio,
    ) {
        // SAFETY: by the contract.
        let inode = unsafe { Inode::<T>::from_raw(inode) };
        T::write_done(inode, to_pos(pos), u64::from(copied));
        // SAFETY: by the contract.
        unsafe { bindings::notblk_folio_unlock_put(folio) };
    }

    /// # Safety
    ///
    /// C's contract for `iomap_valid`.
    unsafe extern "C" fn iomap_valid(
        inode: *mut bindings::inode,
        iomap: *const bindings::iomap,
    ) -> bool {
        // SAFETY: by the contract.
        let (inode, cookie) = unsafe { (Inode::<T>::from_raw(inode), (*iomap).validity_cookie) };
        T::is_valid(inode, cookie)
    }
}

impl<T: FileSystem> Locked<T, Exclusive> {
    /// Zeroes bytes in the page cache where blocks are mapped. C: `iomap_zero_range`.
    ///
    /// The range must begin inside `i_size` (or in its last block), or the zeroes are never written.
    pub(crate) fn zero_range(&self, pos: u64, len: u64) -> Result {
        if len == 0 {
            return Ok(());
        }
        // SAFETY: valid, and i_rwsem is held exclusively.
        to_result(unsafe {
            bindings::iomap_zero_range(
                self.as_raw(),
                to_loff(pos),
                to_loff(len),
                ptr::null_mut(),
                &Table::<T>::OPS,
                ptr::null(),
                ptr::null_mut(),
            )
        })
    }
}
