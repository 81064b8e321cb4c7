// SPDX-License-Identifier: GPL-2.0

//! What holds of any bytes whatever: no panic, no overflow, and what was accepted is as it should be.
//!
//! One function for each parser. The targets of `tests/fuzz` hand them what libFuzzer comes up with, and the tests of this crate
//! blocks of images that were tampered with. A function panics where something does not hold.

mod attributes;
mod directory;
mod shape;
mod small;

pub use attributes::{acl, attribute_block, attribute_body};
pub use directory::{directory, index, split};
pub use shape::{group, inode, superblock};
pub use small::{bitmap, indirect, number, orphans};

/// A parser's property: its name, and the function.
pub type Property = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: &[Property] = &[
    ("superblock", superblock),
    ("group", group),
    ("inode", inode),
    ("directory", directory),
    ("index", index),
    ("split", split),
    ("attribute_block", attribute_block),
    ("attribute_body", attribute_body),
    ("acl", acl),
    ("indirect", indirect),
    ("bitmap", bitmap),
    ("orphans", orphans),
    ("number", number),
];

/// Bytes that are used up from the front; zeroes when there are no more.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut value = [0; N];
        let bytes = self.bytes(N);
        value
            .iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        value
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, left) = self.0.split_at(count.min(self.0.len()));
        self.0 = left;
        taken
    }

    fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.take())
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    /// What is left, as a block of this size.
    fn block(&mut self, size: usize) -> Vec<u8> {
        let mut block = self.bytes(size).to_vec();
        block.resize(size, 0);
        block
    }

    /// A name: none is empty, or has a slash or a zero in it.
    fn name(&mut self) -> Vec<u8> {
        let length = usize::from(self.u8()).max(1);
        let bytes = self.bytes(length).iter();
        let mut name: Vec<u8> = bytes
            .map(|&byte| if byte == b'/' { b'x' } else { byte.max(1) })
            .collect();
        name.resize(length, b'n');
        name
    }
}
