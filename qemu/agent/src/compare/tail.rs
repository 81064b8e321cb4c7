// SPDX-License-Identifier: GPL-2.0
//! What mmap has written behind the end of a file, in its last page.
//!
//! Nobody should ever read it. ext4 zeroes it when a buffered write or truncate makes the file longer, and forgets it when a direct
//! write does; ours, like XFS, never shows it. So before such a direct write it is zeroed on both sides, by mmap as well.

use super::folio;
use super::op::What;
use super::side::Side;
use crate::sys::Mapping;
use anyhow::Result;
use rustix::fs::OFlags;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

/// Bytes of a page.
const PAGE: u64 = 4096;

/// Files with something there, by their numbers on the control.
#[derive(Default)]
pub struct Tails(BTreeSet<u64>);

impl Tails {
    /// An operation has been done on both sides.
    pub fn done(&mut self, what: &What, control: &Side) {
        let What::MapWrite(slot, offset, length, _) = *what else {
            return;
        };
        let metadata = control.slot(slot).and_then(|file| file.metadata().ok());
        if let Some(metadata) = metadata.filter(|file| offset + length as u64 > file.len()) {
            self.0.insert(metadata.ino());
        }
    }

    /// An operation is going to be done on both sides.
    ///
    /// # Errors
    ///
    /// Their last pages cannot be zeroed.
    pub fn before(&mut self, what: &What, pair: [&Side; 2], zeroes: &File) -> Result<()> {
        let (slot, offset) = match *what {
            What::Write(slot, offset, ..) => (slot, offset),
            What::Copy(_, _, slot, offset, _) => (slot, offset),
            // Where it ends no two sides differ: a hole between is what shows it.
            _ => return Ok(()),
        };
        let [Some(one), Some(two)] = pair.map(|side| side.slot(slot)) else {
            return Ok(());
        };
        let metadata = two.metadata()?;
        let size = metadata.len();
        let flags = rustix::fs::fcntl_getfl(two)?;
        if !flags.contains(OFlags::DIRECT) || offset <= size || !self.0.contains(&metadata.ino()) {
            return Ok(());
        }
        let page = size & !(PAGE - 1);
        let rest = (page + PAGE - size) as usize;
        if size == page {
            return Ok(());
        }
        // Whoever may write to them.
        let reopen = |file: &File| {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            File::options().read(true).write(true).open(path)
        };
        let (Ok(one), Ok(two)) = (reopen(one), reopen(two)) else {
            // Nor can that write be made, of an immutable file.
            return Ok(());
        };
        self.0.remove(&metadata.ino());
        for file in [&one, &two] {
            Mapping::at(file, page, PAGE as usize)?.fill_from(
                zeroes,
                0,
                (size - page) as usize,
                rest,
            )?;
        }
        folio::level([&one, &two], page..size, zeroes)
    }
}
