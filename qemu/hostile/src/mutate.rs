// SPDX-License-Identifier: GPL-2.0

//! From a seed to mutations.

use crate::layout::{Layout, Map};
use crate::map::{objects, Class, Field, Kind, Object};
use crate::mutation::{Bytes, Change, Mutation};
use crate::random::Random;
use notblk_format::inode::{
    S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// How a seed's mutations are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Fields get values that are likely to hurt.
    Fields,
    /// Bytes change, whatever they mean.
    Blind,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Fields => "fields",
            Mode::Blind => "blind",
        })
    }
}

/// The most mutations of an image.
const MOST: usize = 8;

/// Makes mutations of one sound image.
pub struct Mutator<'a> {
    layout: Layout<'a>,
    /// By class, in the order of [`Class::ALL`].
    objects: Vec<Vec<Object>>,
    /// How likely each class is.
    weights: Vec<usize>,
    metadata: Vec<u32>,
    /// Blocks of files, with those of their maps and attributes.
    used: Vec<u32>,
    /// Blocks that hold anything at all.
    written: Vec<u32>,
}

impl<'a> Mutator<'a> {
    /// Of this image.
    pub fn new(sound: &'a [u8]) -> Result<Self, String> {
        let layout = Layout::new(sound)?;
        let mut by_class: Vec<Vec<Object>> = Class::ALL.iter().map(|_| Vec::new()).collect();
        for object in objects(&layout) {
            let place = Class::ALL.iter().position(|&class| class == object.class);
            if let Some(list) = place.and_then(|place| by_class.get_mut(place)) {
                list.push(object);
            }
        }
        let weights = by_class.iter().zip(Class::WEIGHTS);
        let weights = weights.map(|(list, weight)| if list.is_empty() { 0 } else { weight });
        let weights = weights.collect();
        let mut used = BTreeSet::new();
        for ino in layout.inodes() {
            if let Some((inode, _)) = layout.inode(ino) {
                let Map { data, pointers } = layout.map(&inode);
                used.extend(data.into_iter().map(|(_, block)| block));
                used.extend(pointers.into_iter().map(|it| it.block));
                used.extend(Some(inode.file_acl.get()).filter(|&block| block != 0));
            }
        }
        let blocks = sound.chunks(layout.block_size()).enumerate();
        let written = blocks
            .filter(|(_, bytes)| bytes.iter().any(|&byte| byte != 0))
            // CAST: an image has a few MiB.
            .map(|(number, _)| number as u32)
            .collect();
        Ok(Self {
            metadata: layout.metadata(),
            used: used.into_iter().collect(),
            layout,
            objects: by_class,
            weights,
            written,
        })
    }

    /// What is there to be changed: each class with how many things and fields of it there are.
    pub fn census(&self) -> Vec<(Class, usize, usize)> {
        let lists = Class::ALL.iter().zip(&self.objects);
        let fields = |list: &[Object]| list.iter().map(|object| object.fields.len()).sum();
        lists
            .map(|(&class, list)| (class, list.len(), fields(list)))
            .collect()
    }

    /// The mutations of a seed: always the same.
    pub fn mutations(&self, mode: Mode, seed: u64) -> Vec<Mutation> {
        let mut random = Random::new(seed, &mode.to_string());
        let mut count = 1;
        // A few, for one alone often goes unnoticed: nobody may look at what it is about.
        while count < MOST && !random.one_in(4) {
            count += 1;
        }
        let mut found = Vec::new();
        // A value may be what is there already.
        for _ in 0..100 {
            if found.len() >= count {
                break;
            }
            match mode {
                Mode::Fields => found.extend(self.of_field(&mut random)),
                Mode::Blind => found.extend(self.blind(&mut random)),
            }
        }
        found
    }

    fn of_field(&self, random: &mut Random) -> Option<Mutation> {
        let objects = self.objects.get(random.weighed(&self.weights))?;
        let object = random.pick(objects)?;
        let field = random.pick(&object.fields)?;
        let was = self.value(field);
        let now = self.new_value(field, was, random);
        let bytes = now.to_le_bytes().get(..field.len)?.to_vec();
        if was.to_le_bytes().get(..field.len)? == bytes {
            return None;
        }
        let index = field
            .index
            .map_or(String::new(), |index| format!("[{index}]"));
        let what = format!("{}: {}{index}", object.name, field.name);
        let change = Change::Bytes(Bytes(bytes));
        Some(Mutation::new(self.layout.image, what, field.at, change))
    }

    fn value(&self, field: &Field) -> u64 {
        let bytes = self.layout.image.get(field.at..field.at + field.len);
        let bytes = bytes.unwrap_or_default().iter().rev();
        bytes.fold(0, |value, &byte| value << 8 | u64::from(byte))
    }

    /// A value for a field that has this one.
    fn new_value(&self, field: &Field, was: u64, random: &mut Random) -> u64 {
        let bits = 8 * field.len;
        let max = u64::MAX >> (64 - bits);
        if random.one_in(4) {
            return any_number(was, bits, random) & max;
        }
        let geo = &self.layout.geo;
        let block_size = u64::from(geo.block_size());
        let blocks = u64::from(geo.blocks_count());
        let own = field.at as u64 / block_size;
        let one_of = |random: &mut Random, values: &[u64]| *random.pick(values).unwrap_or(&0);
        let block_of =
            |random: &mut Random, list: &[u32]| u64::from(*random.pick(list).unwrap_or(&0));
        let value = match field.kind {
            Kind::Number => any_number(was, bits, random),
            Kind::Bits => match random.below(4) {
                0 => 0,
                1 => max,
                2 => random.word(),
                _ => was ^ (1 << random.below(bits)),
            },
            Kind::Block => match random.below(6) {
                0 => own,
                1 => block_of(random, &self.metadata),
                2 | 3 => block_of(random, &self.used),
                4 => random.word() % blocks.max(1),
                _ => one_of(
                    random,
                    &[0, 1, blocks - 1, blocks, blocks + 1, was + 1, max, max >> 1],
                ),
            },
            Kind::FileBlock => match random.below(3) {
                0 => random.word() % 16,
                1 => one_of(
                    random,
                    &[
                        0,
                        1,
                        2,
                        was + 1,
                        was.wrapping_sub(1),
                        0x0fff_ffff,
                        0x1000_0000 | was,
                        max,
                    ],
                ),
                _ => random.word() % 400,
            },
            Kind::Inode => {
                let inodes = u64::from(geo.inodes_count());
                match random.below(3) {
                    0 => random.word() % (inodes + 2),
                    1 => 1 + random.word() % 24,
                    _ => one_of(
                        random,
                        &[0, 1, 2, 3, 7, 8, 11, inodes, inodes + 1, was + 1, max],
                    ),
                }
            }
            Kind::Length => match random.below(3) {
                0 => one_of(random, &[0, 1, 4, 8, 11, 12, 16, 24, 28, 32, 128, 255]),
                1 => one_of(
                    random,
                    &[
                        block_size,
                        block_size - 1,
                        block_size - 4,
                        block_size - 8,
                        block_size - 12,
                        block_size + 4,
                        max,
                    ],
                ),
                _ => {
                    let by = one_of(random, &[1, 2, 3, 4, 8, 12]);
                    if random.one_in(2) {
                        was.wrapping_add(by)
                    } else {
                        was.wrapping_sub(by)
                    }
                }
            },
            Kind::Size => {
                let pointers = u64::from(geo.ptrs_per_block());
                let spans = [
                    0,
                    1,
                    11,
                    12,
                    13,
                    12 + pointers,
                    13 + pointers,
                    12 + pointers + pointers * pointers,
                ];
                match random.below(3) {
                    0 => one_of(random, &spans)
                        .wrapping_mul(block_size)
                        .wrapping_add(random.word() % 3)
                        .wrapping_sub(1),
                    1 => one_of(
                        random,
                        &[
                            0,
                            1,
                            59,
                            60,
                            61,
                            0x7fff_ffff,
                            0x8000_0000,
                            max,
                            block_size - 1,
                            block_size + 1,
                        ],
                    ),
                    _ => was.wrapping_add(block_size),
                }
            }
            Kind::Flags => match random.below(8) {
                0 => max,
                1 => 0,
                2 => random.word(),
                _ => was ^ (1 << random.below(bits)),
            },
            Kind::Mode => {
                let types = [
                    S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK, 0, 0o170_000,
                    0o010_000,
                ];
                let kind = random.pick(&types).copied().unwrap_or(0);
                was & !u64::from(S_IFMT) | u64::from(kind)
            }
        };
        value & max
    }

    /// A change of bytes that happen to lie there.
    fn blind(&self, random: &mut Random) -> Option<Mutation> {
        let block_size = self.layout.block_size();
        // Mostly where there is something.
        let block = match random.below(8) {
            0 => random.word() % u64::from(self.layout.geo.blocks_count().max(1)),
            1..=3 => u64::from(*random.pick(&self.metadata)?),
            _ => u64::from(*random.pick(&self.written)?),
        };
        let start = usize::try_from(block).ok()?.checked_mul(block_size)?;
        let at = start + random.below(block_size);
        let sound = self.layout.image;
        let (what, at, change) = match random.below(10) {
            0..=4 => {
                let byte = sound.get(at)? ^ (1 << random.below(8));
                ("a bit", at, Change::Bytes(Bytes(vec![byte])))
            }
            5 | 6 => {
                let length = 1 + random.below(32);
                let bytes = (0..length).map(|_| (random.word() & 0xff) as u8).collect();
                ("bytes", at, Change::Bytes(Bytes(bytes)))
            }
            7 => {
                let length = 1 + random.below(64);
                let byte = if random.one_in(2) { 0 } else { 0xff };
                ("a run", at, Change::Fill { byte, length })
            }
            8 => {
                let byte = *random.pick(&[0, 0xff, 0xff, 1])?;
                let length = block_size;
                ("a whole block", start, Change::Fill { byte, length })
            }
            _ => {
                let list = if random.one_in(2) {
                    &self.metadata
                } else {
                    &self.used
                };
                let from = (*random.pick(list)? as usize).checked_mul(block_size)?;
                let length = block_size;
                ("a block of elsewhere", start, Change::Copy { from, length })
            }
        };
        Some(Mutation::new(sound, what.to_owned(), at, change))
    }
}

/// A number that is no better than another.
fn any_number(was: u64, bits: usize, random: &mut Random) -> u64 {
    let top = 1_u64 << (bits - 1);
    match random.below(13) {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => u64::MAX - 1,
        4 => top,
        5 => top - 1,
        6 => was.wrapping_add(1),
        7 => was.wrapping_sub(1),
        8 => was.wrapping_mul(2),
        9 => was / 2,
        10 => random.word() % 256,
        11 => random.word(),
        _ => was ^ (1 << random.below(bits)),
    }
}
