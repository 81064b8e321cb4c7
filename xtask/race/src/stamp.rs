// SPDX-License-Identifier: GPL-2.0

//! Stamps: each sector of 512 bytes says who wrote it, in which step, and which of the step's sectors it is.
//!
//! A sector holds the same record 16 times over, each with its number and a checksum, so that a sector of two writers is known
//! as torn. The number of the order is in it too: blocks are used again, and what an earlier order left behind must not be
//! taken for this one's.

use std::fmt;

/// Bytes of a sector.
pub const SECTOR: usize = crate::spec::SECTOR as usize;
/// Bytes of a record.
const RECORD: usize = 32;
/// What a record begins with.
const MAGIC: [u8; 4] = *b"race";

/// What a sector says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Number of the order that was run, chosen by the runner.
    pub order: u32,
    /// The file's place in [`crate::Spec::files`].
    pub file: u16,
    /// Whose.
    pub writer: Writer,
    /// Which sector: of the step's write, or of the file where it is from the initial layout.
    pub sequence: u32,
}

/// Who wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Writer {
    /// Nobody yet: the layout.
    Initial,
    /// A step of an actor, both by their place in the spec.
    Step {
        /// The actor.
        actor: u8,
        /// The step.
        step: u8,
    },
}

impl Writer {
    /// As it stands in a record.
    fn bytes(self) -> [u8; 3] {
        match self {
            Writer::Initial => [0, 0, 0],
            Writer::Step { actor, step } => [1, actor, step],
        }
    }

    fn from_bytes(bytes: [u8; 3]) -> Option<Writer> {
        match bytes {
            [0, 0, 0] => Some(Writer::Initial),
            [1, actor, step] => Some(Writer::Step { actor, step }),
            _ => None,
        }
    }
}

/// What a sector holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sector {
    /// Zeroes.
    Zero,
    /// This stamp, whole.
    Stamped(Stamp),
    /// Records of more than one writer, or zeroes among them: the stamps found, in order, each once.
    Torn(Vec<Stamp>),
    /// Something that was never a stamp; its first bytes.
    Foreign([u8; 8]),
}

/// Fills whole sectors; the first has the stamp's sequence, the next one more, and so on. Bytes behind the last whole sector are
/// left alone.
pub fn fill(data: &mut [u8], first: Stamp) {
    for (sector, sequence) in data.chunks_exact_mut(SECTOR).zip(first.sequence..) {
        let stamp = Stamp { sequence, ..first };
        for (record, piece) in sector.chunks_exact_mut(RECORD).zip(0..) {
            record.copy_from_slice(&encode(stamp, piece));
        }
    }
}

/// Reads one sector; what is behind the first 512 bytes is not looked at.
#[must_use]
pub fn read(sector: &[u8]) -> Sector {
    let sector = sector.get(..SECTOR).unwrap_or(sector);
    if sector.iter().all(|&byte| byte == 0) {
        return Sector::Zero;
    }
    let mut stamps: Vec<Stamp> = Vec::new();
    let mut whole = true;
    let mut other = false;
    for (record, piece) in sector.chunks(RECORD).zip(0..) {
        match decode(record, piece) {
            Some(stamp) if stamps.last() == Some(&stamp) => {}
            Some(stamp) => stamps.push(stamp),
            None => {
                whole = false;
                other |= record.iter().any(|&byte| byte != 0);
            }
        }
    }
    match stamps.as_slice() {
        [stamp] if whole => Sector::Stamped(*stamp),
        [] => Sector::Foreign(first_bytes(sector)),
        _ if other => Sector::Foreign(first_bytes(sector)),
        _ => Sector::Torn(stamps),
    }
}

fn first_bytes(sector: &[u8]) -> [u8; 8] {
    let mut first = [0; 8];
    for (to, from) in first.iter_mut().zip(sector) {
        *to = *from;
    }
    first
}

/// One record: magic, writer, piece, order, sequence, file, zeroes, checksum.
fn encode(stamp: Stamp, piece: u8) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    record[0..4].copy_from_slice(&MAGIC);
    record[4..7].copy_from_slice(&stamp.writer.bytes());
    record[7] = piece;
    record[8..12].copy_from_slice(&stamp.order.to_le_bytes());
    record[12..16].copy_from_slice(&stamp.sequence.to_le_bytes());
    record[16..18].copy_from_slice(&stamp.file.to_le_bytes());
    let sum = checksum(&record[..24]);
    record[24..32].copy_from_slice(&sum.to_le_bytes());
    record
}

/// The stamp, where this is exactly its record number `piece`.
fn decode(record: &[u8], piece: u8) -> Option<Stamp> {
    let record: &[u8; RECORD] = record.try_into().ok()?;
    let word = |at: usize| {
        record
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u32::from_le_bytes)
    };
    let stamp = Stamp {
        order: word(8),
        file: u16::from_le_bytes([record[16], record[17]]),
        writer: Writer::from_bytes([record[4], record[5], record[6]])?,
        sequence: word(12),
    };
    (encode(stamp, piece) == *record).then_some(stamp)
}

/// FNV-1a, but by words of eight bytes: a guest without KVM checks some hundred records in each order.
fn checksum(bytes: &[u8]) -> u64 {
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &word| {
        let hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3);
        // Products carry to the left alone.
        hash.rotate_left(29)
    })
}

impl fmt::Display for Sector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sector::Zero => f.write_str("zeroes"),
            Sector::Stamped(stamp) => write!(f, "{stamp:?}"),
            Sector::Torn(stamps) => write!(f, "torn between {stamps:?}"),
            Sector::Foreign(bytes) => write!(f, "bytes that are no stamp: {bytes:02x?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Stamp = Stamp {
        order: 7,
        file: 1,
        writer: Writer::Step { actor: 0, step: 2 },
        sequence: 4,
    };

    #[test]
    fn a_stamp_comes_back() {
        let mut data = [0xff; 3 * SECTOR + 1];
        fill(&mut data, A);
        for (index, sector) in data.chunks_exact(SECTOR).enumerate() {
            let sequence = 4 + u32::try_from(index).unwrap();
            assert_eq!(read(sector), Sector::Stamped(Stamp { sequence, ..A }));
        }
        assert_eq!(data[3 * SECTOR], 0xff);
    }

    #[test]
    fn every_changed_bit_shows() {
        let mut data = [0; SECTOR];
        fill(&mut data, A);
        for byte in 0..SECTOR {
            let mut changed = data;
            changed[byte] ^= 0x10;
            assert!(matches!(read(&changed), Sector::Foreign(_)), "byte {byte}");
        }
    }

    #[test]
    fn a_sector_of_two_is_torn() {
        let b = Stamp {
            writer: Writer::Initial,
            ..A
        };
        let (mut data, mut other) = ([0; SECTOR], [0; SECTOR]);
        fill(&mut data, A);
        fill(&mut other, b);
        data[256..].copy_from_slice(&other[256..]);
        assert_eq!(read(&data), Sector::Torn(vec![A, b]));
        data[256..].fill(0);
        assert_eq!(read(&data), Sector::Torn(vec![A]));
        assert_eq!(read(&[0; SECTOR]), Sector::Zero);
        assert!(matches!(read(&[1; SECTOR]), Sector::Foreign(_)));
        assert!(matches!(read(&[1; 5]), Sector::Foreign(_)));
    }
}
