// SPDX-License-Identifier: GPL-2.0

//! Hashes of names, by which an indexed directory is ordered. C: `fs/ext4/hash.c`.

use super::features::{COMPAT_DIR_INDEX, RO_COMPAT_METADATA_CSUM};
use super::superblock::{RawSuperBlock, FLAGS_SIGNED_HASH, FLAGS_UNSIGNED_HASH};

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The first one, which knows no seed and gives no minor hash.
    Legacy,
    /// MD4 cut down to three rounds of eight steps.
    HalfMd4,
    /// The tiny encryption algorithm.
    Tea,
}

impl Version {
    /// The version that an index's root, or the superblock, calls so.
    pub const fn from_disk(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Legacy),
            1 => Some(Self::HalfMd4),
            2 => Some(Self::Tea),
            _ => None,
        }
    }

    /// What the disk calls it.
    pub const fn to_disk(self) -> u8 {
        match self {
            Self::Legacy => 0,
            Self::HalfMd4 => 1,
            Self::Tea => 2,
        }
    }
}

/// The largest `s_def_hash_version` that an ext4 mounts: up to 5 are the three above, in the second half
/// with unsigned characters.
const LAST_DEFAULT: u8 = 5;

/// The largest major hash: the end of the directory has a position too, and no name may share it.
const LAST_MAJOR: u32 = 0xffff_fffc;

/// The hash of a name. The order is that of positions in a directory.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hash {
    /// What the index is ordered by. Bit 0 is always clear.
    pub major: u32,
    /// Tells most names of the same major hash apart.
    pub minor: u32,
}

impl Hash {
    /// The position in a directory of the names with this hash. Where positions have 32 bits (`narrow`), the
    /// minor hash has no place in them. C: `hash2pos`.
    pub fn to_pos(self, narrow: bool) -> u64 {
        let major = u64::from(self.major >> 1);
        if narrow {
            major
        } else {
            major << 32 | u64::from(self.minor)
        }
    }

    /// The least hash at a position. C: `pos2maj_hash`, `pos2min_hash`.
    pub fn from_pos(pos: u64, narrow: bool) -> Self {
        // CAST: the bits that count.
        if narrow {
            Self {
                major: (pos << 1) as u32,
                minor: 0,
            }
        } else {
            Self {
                major: (pos >> 32 << 1) as u32,
                minor: pos as u32,
            }
        }
    }
}

/// The position behind all names. C: `ext4_get_htree_eof`.
pub const fn end_pos(narrow: bool) -> u64 {
    if narrow {
        0x7fff_ffff
    } else {
        0x7fff_ffff_ffff_ffff
    }
}

/// What the superblock says of hashes and indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashInfo {
    /// Directories may have an index (the feature `dir_index`).
    pub dir_index: bool,
    /// The function for new indexes, `None` where the superblock names one that no index can.
    pub default: Option<Version>,
    /// Characters of names are unsigned.
    pub unsigned: bool,
    /// Index blocks end in a checksum (the feature `metadata_csum`).
    pub checksums: bool,
    /// The superblock does not say whether they are; whoever writes should make it.
    pub unsaid: bool,
    /// What the functions begin with, `None` for what the standard says.
    seed: Option<[u32; 4]>,
}

impl HashInfo {
    /// Reads it. `None` where the default function is one that does not exist, or one for encrypted names:
    /// such a filesystem is not mounted. C: `ext4_hash_info_init`.
    pub fn parse(raw: &RawSuperBlock) -> Option<Self> {
        if raw.def_hash_version > LAST_DEFAULT {
            return None;
        }
        let flags = raw.flags.get();
        let seed = raw.hash_seed.map(|word| word.get());
        let unsaid = flags & (FLAGS_SIGNED_HASH | FLAGS_UNSIGNED_HASH) == 0;
        Some(Self {
            dir_index: raw.feature_compat.get() & COMPAT_DIR_INDEX != 0,
            default: Version::from_disk(raw.def_hash_version),
            // The kernel's own characters are unsigned, on all machines.
            unsigned: unsaid || flags & FLAGS_UNSIGNED_HASH != 0,
            checksums: raw.feature_ro_compat.get() & RO_COMPAT_METADATA_CSUM != 0,
            unsaid,
            seed: Some(seed).filter(|seed| seed.iter().any(|&word| word != 0)),
        })
    }

    /// A hash function, ready for use.
    pub fn hasher(&self, version: Version) -> Hasher {
        Hasher {
            version,
            unsigned: self.unsigned,
            // What MD4 begins with.
            seed: self
                .seed
                .unwrap_or([0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476]),
        }
    }
}

/// A hash function with all that it depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hasher {
    version: Version,
    unsigned: bool,
    seed: [u32; 4],
}

impl Hasher {
    /// Hashes a name, of which no more than 255 bytes make sense. C: `ext4fs_dirhash`.
    pub fn hash(&self, name: &[u8]) -> Hash {
        let (major, minor) = match self.version {
            Version::Legacy => (self.legacy(name), 0),
            Version::HalfMd4 => {
                let mut state = self.seed;
                self.for_pieces::<8>(name, |words| half_md4(&mut state, words));
                (state[1], state[2])
            }
            Version::Tea => {
                let mut state = self.seed;
                self.for_pieces::<4>(name, |words| tea(&mut state, words));
                (state[0], state[1])
            }
        };
        Hash {
            major: (major & !1).min(LAST_MAJOR),
            minor,
        }
    }

    /// A character of a name as a number, negative ones in two's complement.
    fn widen(&self, byte: u8) -> u32 {
        if self.unsigned {
            u32::from(byte)
        } else {
            i32::from(byte as i8) as u32
        }
    }

    /// C: `dx_hack_hash_signed` and its twin.
    fn legacy(&self, name: &[u8]) -> u32 {
        let (mut hash, mut before) = (0x12a3_fe2d_u32, 0x37ab_e8f9_u32);
        for &byte in name {
            let mixed = hash ^ self.widen(byte).wrapping_mul(7_152_373);
            let mut next = before.wrapping_add(mixed);
            if next & 0x8000_0000 != 0 {
                next = next.wrapping_sub(0x7fff_ffff);
            }
            (hash, before) = (next, hash);
        }
        hash << 1
    }

    /// Calls `mix` for the words of each piece of the name, the last one padded.
    fn for_pieces<const N: usize>(&self, name: &[u8], mut mix: impl FnMut(&[u32; N])) {
        let mut rest = name;
        while !rest.is_empty() {
            let words: [u32; N] = self.words(rest);
            mix(&words);
            rest = rest.get(N.saturating_mul(4)..).unwrap_or(&[]);
        }
    }

    /// The words of the first piece of what is left of a name. Behind its end they hold how much was left,
    /// in each byte. C: `str2hashbuf_signed` and its twin.
    fn words<const N: usize>(&self, rest: &[u8]) -> [u32; N] {
        let len = rest.len() as u32;
        let pad = len.wrapping_mul(0x0101_0101);
        let join = |from: u32, bytes: &[u8]| {
            bytes.iter().fold(from, |word, &byte| {
                (word << 8).wrapping_add(self.widen(byte))
            })
        };
        let mut words = [pad; N];
        let mut chunks = rest.chunks(4);
        for word in &mut words {
            match chunks.next() {
                Some(chunk) if chunk.len() == 4 => *word = join(0, chunk),
                Some(chunk) => *word = join(pad, chunk),
                None => break,
            }
        }
        words
    }
}

/// The state is four words, of which each step changes one and hands on the role of being next.
struct Md4 {
    roles: [u32; 4],
}

impl Md4 {
    /// One round: eight steps with these words and rotations.
    fn round(&mut self, mix: fn(u32, u32, u32) -> u32, add: u32, words: [u32; 8], turns: [u32; 4]) {
        for (word, turn) in words.into_iter().zip(turns.into_iter().cycle()) {
            let [a, b, c, d] = self.roles;
            let next = a
                .wrapping_add(mix(b, c, d))
                .wrapping_add(word)
                .wrapping_add(add)
                .rotate_left(turn);
            self.roles = [d, next, b, c];
        }
    }
}

/// C: `half_md4_transform`.
fn half_md4(state: &mut [u32; 4], words: &[u32; 8]) {
    let select = |x: u32, y: u32, z: u32| z ^ (x & (y ^ z));
    let majority = |x: u32, y: u32, z: u32| (x & y).wrapping_add((x ^ y) & z);
    let parity = |x: u32, y: u32, z: u32| x ^ y ^ z;
    let &[w0, w1, w2, w3, w4, w5, w6, w7] = words;

    let mut md4 = Md4 { roles: *state };
    md4.round(select, 0, *words, [3, 7, 11, 19]);
    // The square roots of two and of three, as MD4 has them.
    md4.round(
        majority,
        0x5a82_7999,
        [w1, w3, w5, w7, w0, w2, w4, w6],
        [3, 5, 9, 13],
    );
    md4.round(
        parity,
        0x6ed9_eba1,
        [w3, w7, w2, w6, w1, w5, w0, w4],
        [3, 9, 11, 15],
    );
    for (word, role) in state.iter_mut().zip(md4.roles) {
        *word = word.wrapping_add(role);
    }
}

/// C: `TEA_transform`. Two words of the state are used.
fn tea(state: &mut [u32; 4], &[a, b, c, d]: &[u32; 4]) {
    let [mut left, mut right, ..] = *state;
    let mut sum = 0_u32;
    for _ in 0..16 {
        sum = sum.wrapping_add(0x9e37_79b9);
        let half = |other: u32, add: u32, more: u32| {
            (other << 4).wrapping_add(add)
                ^ other.wrapping_add(sum)
                ^ (other >> 5).wrapping_add(more)
        };
        left = left.wrapping_add(half(right, a, b));
        right = right.wrapping_add(half(left, c, d));
    }
    state[0] = state[0].wrapping_add(left);
    state[1] = state[1].wrapping_add(right);
}
