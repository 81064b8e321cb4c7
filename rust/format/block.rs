// SPDX-License-Identifier: GPL-2.0

//! A block that may change at any moment: bytes are copied in and out, never borrowed.

use super::corrupt::Corrupt;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A block, or a part of one, that can be read by copying.
///
/// In the kernel this is a buffer, which user space may change under us through the block
/// device; a reference into it could not promise what Rust's references promise.
#[allow(
    clippy::len_without_is_empty,
    reason = "a block is never empty, and nobody would ask"
)]
pub trait Block {
    /// Length in bytes.
    fn len(&self) -> usize;

    /// Copies the bytes from `off` on into `dst`, or fails if they are not all there.
    fn read_bytes(&self, off: usize, dst: &mut [u8]) -> Result<(), Corrupt>;

    /// Copies out the value of type `T` that begins at `off`.
    fn get<T: FromBytes + IntoBytes>(&self, off: usize) -> Result<T, Corrupt> {
        let mut value = T::new_zeroed();
        self.read_bytes(off, value.as_mut_bytes())?;
        Ok(value)
    }
}

/// A block that can also be written, by copying.
pub trait BlockMut: Block {
    /// Copies `src` over the bytes from `off` on, or fails, changing nothing, if they are not all
    /// there.
    fn write_bytes(&mut self, off: usize, src: &[u8]) -> Result<(), Corrupt>;

    /// Copies `v` over the bytes from `off` on.
    fn put<T: IntoBytes + Immutable>(&mut self, off: usize, v: &T) -> Result<(), Corrupt> {
        self.write_bytes(off, v.as_bytes())
    }

    /// Sets the `len` bytes from `off` on to `byte`.
    fn fill(&mut self, off: usize, len: usize, byte: u8) -> Result<(), Corrupt> {
        let end = check_range(off, len, self.len())?;
        let chunk = [byte; 64];
        let mut at = off;
        while at < end {
            // Both are at least one, so this goes forward, and no further than `end`.
            let step = (end - at).min(chunk.len());
            self.write_bytes(at, chunk.get(..step).unwrap_or(&chunk))?;
            at = at.saturating_add(step);
        }
        Ok(())
    }
}

/// The end of the range, if the range lies inside a block of `block_len` bytes.
fn check_range(offset: usize, len: usize, block_len: usize) -> Result<usize, Corrupt> {
    match offset.checked_add(len) {
        Some(end) if end <= block_len => Ok(end),
        _ => Err(Corrupt::OutOfBlock {
            offset,
            len,
            block_len,
        }),
    }
}

impl Block for [u8] {
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }

    fn read_bytes(&self, off: usize, dst: &mut [u8]) -> Result<(), Corrupt> {
        let out_of_block = Corrupt::OutOfBlock {
            offset: off,
            len: dst.len(),
            block_len: self.len(),
        };
        let end = off.checked_add(dst.len()).ok_or(out_of_block)?;
        dst.copy_from_slice(<[u8]>::get(self, off..end).ok_or(out_of_block)?);
        Ok(())
    }
}

impl BlockMut for [u8] {
    fn write_bytes(&mut self, off: usize, src: &[u8]) -> Result<(), Corrupt> {
        let out_of_block = Corrupt::OutOfBlock {
            offset: off,
            len: src.len(),
            block_len: self.len(),
        };
        let end = off.checked_add(src.len()).ok_or(out_of_block)?;
        self.get_mut(off..end)
            .ok_or(out_of_block)?
            .copy_from_slice(src);
        Ok(())
    }
}
