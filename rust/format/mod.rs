// SPDX-License-Identifier: GPL-2.0

//! The on-disk format of block-mapped ext2/ext3: types and pure algorithms.
//!
//! This directory is compiled twice, unchanged: into the kernel module as `mod format`, and by
//! cargo as the crate `notblk-format`, where it is tested. So it uses `core` and `zerocopy` only,
//! allocates nothing, and names its own parts by `super::`.
//!
//! Two rules hold everywhere. A value from disk is little-endian typed, is checked when it is
//! read, and takes part in checked arithmetic only: a damaged image yields a [`corrupt::Corrupt`],
//! never a panic. And a block is never borrowed as bytes, because a buffer may change at any
//! moment: all access copies in or out, through [`block::Block`].
//!
//! | file | what it knows |
//! | --- | --- |
//! | [`corrupt`] | every kind of damage, one variant each |
//! | [`block`] | copying in and out of a block that may change meanwhile |
//! | [`superblock`] | the superblock's 1024 bytes |
//! | [`error_record`] | what the superblock remembers of errors |
//! | [`features`] | feature bits: which are known, which are supported |
//! | [`geometry`] | the checked superblock: sizes, counts, where things lie |
//! | [`group`] | group descriptors |
//! | [`zones`] | where metadata lies, which no file may have |
//! | [`bitmap`] | block and inode bitmaps |
//! | [`inode`] | the inode's 128 bytes and what follows them |
//! | [`indirect`] | from a file block to the way through the indirect blocks |
//! | [`orphan`] | the list of inodes that a crash would leave behind |
//! | [`dir`] | directory blocks: walk, find, insert, remove |
//! | [`xattr`] | extended attributes: areas in the inode and in a block |
//! | [`acl`] | POSIX ACLs as values of attributes |
//! | [`hash`] | the hash functions of indexed directories |
//! | [`dx`] | index blocks: search, insert, split |
//! | [`leaf`] | blocks of entries under an index: splitting one by hash |
//! | [`time`] | timestamps, with and without the extra bits |
//! | [`dev`] | device numbers of special files |
//! | [`sort`] | sorting without a panic |
//! | [`number`] | numbers in text |
//! | `num` | divisions and shifts without a panic |

#![forbid(unsafe_code)]

pub mod acl;
pub mod bitmap;
pub mod block;
pub mod corrupt;
pub mod dev;
pub mod dir;
pub mod dx;
pub mod error_record;
pub mod features;
pub mod geometry;
pub mod group;
pub mod hash;
pub mod indirect;
pub mod inode;
pub mod leaf;
mod num;
pub mod number;
pub mod orphan;
pub mod sort;
pub mod superblock;
pub mod time;
pub mod xattr;
pub mod zones;
