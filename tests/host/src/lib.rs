// SPDX-License-Identifier: GPL-2.0

//! A small ext2 in user space over `notblk-format`: opens an image file, reads its files and
//! directories, and writes single blocks. It exists for the tests of that crate. [`any`] has what holds of bytes that are no
//! filesystem at all.

#![forbid(unsafe_code)]

pub mod any;
pub mod seeds;

use notblk_format::block::{Block, BlockMut};
use notblk_format::corrupt::Corrupt;
use notblk_format::dir::{self, DirLayout};
use notblk_format::geometry::Geometry;
use notblk_format::group::RawGroupDesc;
use notblk_format::indirect;
use notblk_format::inode::{RawInode, RawInodeExtra, RAW_INODE_SIZE};
use notblk_format::superblock::{RawSuperBlock, SUPERBLOCK_OFFSET};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use zerocopy::little_endian::U32;
use zerocopy::{FromZeros, IntoBytes};

/// Why an image could not be read.
#[derive(Debug)]
pub enum Error {
    /// The image file could not be read or written.
    Io(io::Error),
    /// What was read makes no sense.
    Corrupt(Corrupt),
}

impl From<io::Error> for Error {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

impl From<Corrupt> for Error {
    fn from(e: Corrupt) -> Self {
        Self::Corrupt(e)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(e) => e.fmt(f),
            Self::Corrupt(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Where a file block lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// In this block of the filesystem.
    Data(u32),
    /// Nowhere, and so are at least this many file blocks from it on, itself included.
    Hole(u64),
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its name.
    pub name: Vec<u8>,
    /// The inode that it names.
    pub ino: u32,
    /// `FT_*`.
    pub file_type: u8,
}

/// An image file.
#[derive(Debug)]
pub struct Image {
    file: File,
    raw: RawSuperBlock,
    geo: Geometry,
}

impl Image {
    /// Opens an image for reading and writing, and checks its superblock and group descriptors.
    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut raw = RawSuperBlock::new_zeroed();
        file.read_exact_at(raw.as_mut_bytes(), SUPERBLOCK_OFFSET)?;
        let geo = Geometry::parse(&raw, file.metadata()?.len())?;
        let image = Self { file, raw, geo };
        for group in 0..geo.group_count() {
            image.group_desc(group)?.check(&geo, group)?;
        }
        Ok(image)
    }

    /// The superblock as it was when the image was opened.
    pub fn raw(&self) -> &RawSuperBlock {
        &self.raw
    }

    /// The checked superblock.
    pub fn geometry(&self) -> &Geometry {
        &self.geo
    }

    /// What the functions of [`dir`] want to know.
    pub fn dir_layout(&self) -> DirLayout {
        DirLayout {
            block_size: self.geo.block_size(),
            inodes_count: self.geo.inodes_count(),
            filetype: self.geo.has_filetype(),
        }
    }

    /// Reads one block.
    pub fn block(&self, block: u32) -> Result<Vec<u8>> {
        let mut buf = vec![0; self.geo.block_size() as usize];
        self.file.read_exact_at(&mut buf, self.byte(block))?;
        Ok(buf)
    }

    /// Writes one block.
    pub fn write_block(&self, block: u32, buf: &[u8]) -> Result<()> {
        Ok(self.file.write_all_at(buf, self.byte(block))?)
    }

    /// Reads a block, lets `change` change it, and writes it.
    pub fn change_block<T>(
        &self,
        block: u32,
        change: impl FnOnce(&mut [u8]) -> std::result::Result<T, Corrupt>,
    ) -> Result<T> {
        let mut buf = self.block(block)?;
        let value = change(&mut buf)?;
        self.write_block(block, &buf)?;
        Ok(value)
    }

    fn byte(&self, block: u32) -> u64 {
        u64::from(block) << self.geo.block_bits()
    }

    /// Reads the superblock, lets `change` change it, and writes it.
    pub fn change_superblock(&self, change: impl FnOnce(&mut RawSuperBlock)) -> Result<()> {
        let mut raw = RawSuperBlock::new_zeroed();
        self.file
            .read_exact_at(raw.as_mut_bytes(), SUPERBLOCK_OFFSET)?;
        change(&mut raw);
        Ok(self.file.write_all_at(raw.as_bytes(), SUPERBLOCK_OFFSET)?)
    }

    /// Reads a group descriptor.
    pub fn group_desc(&self, group: u32) -> Result<RawGroupDesc> {
        let (block, offset) = self.geo.group_desc_at(group)?;
        Ok(Block::get(self.block(block)?.as_slice(), offset)?)
    }

    /// Reads a group descriptor, lets `change` change it, and writes it.
    pub fn change_group_desc(
        &self,
        group: u32,
        change: impl FnOnce(&mut RawGroupDesc),
    ) -> Result<()> {
        let (block, offset) = self.geo.group_desc_at(group)?;
        self.change_block(block, |b| {
            let mut desc = Block::get(b, offset)?;
            change(&mut desc);
            b.put(offset, &desc)
        })
    }

    fn inode_at(&self, ino: u32) -> Result<(u32, usize)> {
        let (group, index) = self.geo.inode_group(ino)?;
        let table = self.group_desc(group)?.inode_table.get();
        Ok(self.geo.inode_at(table, index)?)
    }

    /// Reads an inode.
    pub fn inode(&self, ino: u32) -> Result<RawInode> {
        let (block, offset) = self.inode_at(ino)?;
        Ok(Block::get(self.block(block)?.as_slice(), offset)?)
    }

    /// Reads what follows an inode of more than 128 bytes.
    pub fn inode_extra(&self, ino: u32) -> Result<Option<RawInodeExtra>> {
        if self.geo.inode_size() == RAW_INODE_SIZE {
            return Ok(None);
        }
        let (block, offset) = self.inode_at(ino)?;
        let offset = offset + usize::from(RAW_INODE_SIZE);
        let extra: RawInodeExtra = Block::get(self.block(block)?.as_slice(), offset)?;
        extra.check(self.geo.inode_size())?;
        Ok(Some(extra))
    }

    /// Reads an inode, lets `change` change it, and writes it.
    pub fn change_inode(&self, ino: u32, change: impl FnOnce(&mut RawInode)) -> Result<()> {
        let (block, offset) = self.inode_at(ino)?;
        self.change_block(block, |b| {
            let mut inode = Block::get(b, offset)?;
            change(&mut inode);
            b.put(offset, &inode)
        })
    }

    /// Reads all of an inode's bytes.
    pub fn inode_bytes(&self, ino: u32) -> Result<Vec<u8>> {
        let (block, offset) = self.inode_at(ino)?;
        let mut bytes = vec![0; usize::from(self.geo.inode_size())];
        self.block(block)?
            .as_slice()
            .read_bytes(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes all of an inode's bytes.
    pub fn write_inode_bytes(&self, ino: u32, bytes: &[u8]) -> Result<()> {
        let (block, offset) = self.inode_at(ino)?;
        self.change_block(block, |b| b.write_bytes(offset, bytes))
    }

    /// Finds a file block.
    pub fn map(&self, inode: &RawInode, lblk: u32) -> Result<Mapping> {
        let path = indirect::path(lblk, self.geo.ptrs_bits())?;
        let (first, rest) = path.offsets[..path.depth].split_first().expect("one step");
        let mut pointer = inode.block[*first as usize].get();
        for (step, &offset) in rest.iter().enumerate() {
            if pointer == 0 {
                return Ok(Mapping::Hole(self.hole(&rest[step..])));
            }
            let block = self.block(self.geo.check_data_block(pointer)?)?;
            let next: U32 = Block::get(block.as_slice(), offset as usize * 4)?;
            pointer = next.get();
        }
        if pointer == 0 {
            return Ok(Mapping::Hole(1));
        }
        Ok(Mapping::Data(self.geo.check_data_block(pointer)?))
    }

    /// How many file blocks lie behind a missing pointer, from the one on whose way continues
    /// with `offsets`.
    fn hole(&self, offsets: &[u32]) -> u64 {
        let bits = self.geo.ptrs_bits();
        let place = offsets
            .iter()
            .fold(0, |place, &offset| place << bits | u64::from(offset));
        indirect::span(offsets.len() as u32, bits) - place
    }

    /// All file blocks below the size that have a block, with that block.
    pub fn data_blocks(&self, inode: &RawInode) -> Result<Vec<(u32, u32)>> {
        let blocks = inode.size().div_ceil(u64::from(self.geo.block_size()));
        let mut found = Vec::new();
        let mut at = 0;
        while at < blocks {
            let lblk = u32::try_from(at).expect("sizes are checked by the caller");
            match self.map(inode, lblk)? {
                Mapping::Data(block) => {
                    found.push((lblk, block));
                    at += 1;
                }
                Mapping::Hole(len) => at += len,
            }
        }
        Ok(found)
    }

    /// Reads a whole file, holes as zeros.
    pub fn read(&self, inode: &RawInode) -> Result<Vec<u8>> {
        let block_size = self.geo.block_size() as usize;
        let size = inode.size() as usize;
        let mut data = vec![0; size.next_multiple_of(block_size)];
        for (lblk, block) in self.data_blocks(inode)? {
            let at = lblk as usize * block_size;
            data[at..at + block_size].copy_from_slice(&self.block(block)?);
        }
        data.truncate(size);
        Ok(data)
    }

    /// The entries of a directory, `.` and `..` included, in their order on disk.
    pub fn read_dir(&self, inode: &RawInode) -> Result<Vec<Entry>> {
        let layout = self.dir_layout();
        let mut list = Vec::new();
        for (_, block) in self.data_blocks(inode)? {
            let block = self.block(block)?;
            for entry in dir::entries(block.as_slice(), &layout) {
                let entry = entry?;
                if entry.inode != 0 {
                    let mut buf = [0; dir::NAME_MAX];
                    list.push(Entry {
                        name: entry.read_name(block.as_slice(), &mut buf)?.to_vec(),
                        ino: entry.inode,
                        file_type: entry.file_type,
                    });
                }
            }
        }
        Ok(list)
    }

    /// Looks a name up in a directory.
    pub fn lookup(&self, inode: &RawInode, name: &[u8]) -> Result<Option<u32>> {
        for (_, block) in self.data_blocks(inode)? {
            let block = self.block(block)?;
            if let Some(found) = dir::find(block.as_slice(), &self.dir_layout(), name)? {
                return Ok(Some(found.entry.inode));
            }
        }
        Ok(None)
    }

    /// Looks a path up, from the root on.
    pub fn lookup_path(&self, path: &str) -> Result<Option<u32>> {
        let mut ino = notblk_format::inode::ROOT_INO;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            match self.lookup(&self.inode(ino)?, name.as_bytes())? {
                Some(next) => ino = next,
                None => return Ok(None),
            }
        }
        Ok(Some(ino))
    }
}
