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
//! | [`bitmap`] | block and inode bitmaps |
//! | [`inode`] | the inode's 128 bytes and what follows them |
//! | [`indirect`] | from a file block to the way through the indirect blocks |
//! | [`dir`] | directory blocks: walk, find, insert, remove |
//! | [`time`] | timestamps, with and without the extra bits |
//! | [`dev`] | device numbers of special files |
//! | `num` | divisions and shifts without a panic |

#![forbid(unsafe_code)]

pub mod bitmap;
pub mod block;
pub mod corrupt;
pub mod dev;
pub mod dir;
pub mod error_record;
pub mod features;
pub mod geometry;
pub mod group;
pub mod indirect;
pub mod inode;
mod num;
pub mod superblock;
pub mod time;
