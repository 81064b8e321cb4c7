// SPDX-License-Identifier: GPL-2.0

//! Areas of attributes against a map, and against bytes that no tool would write.

use notblk_format::corrupt::Corrupt;
use notblk_format::xattr::{entry_hash, entry_len, Area, Name, Place, SetError, MAGIC};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// By namespace and name; sorted otherwise than a block is.
type Model = BTreeMap<(u8, Vec<u8>), Vec<u8>>;

#[derive(Debug, Clone)]
enum Op {
    Set((u8, Vec<u8>), Vec<u8>),
    Remove(prop::sample::Index),
    RemoveNone((u8, Vec<u8>)),
}

/// Few and short names, so that they meet again; some that only an unsigned hash takes for what they are.
fn name() -> impl Strategy<Value = (u8, Vec<u8>)> {
    prop_oneof![
        4 => (1_u8..7, prop::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(0xe9)], 0..4)),
        1 => (1_u8..7, prop::collection::vec(1_u8..=255, 0..=255)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let value = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..24),
        1 => prop::collection::vec(any::<u8>(), 0..1100),
    ];
    prop_oneof![
        5 => (name(), value).prop_map(|(n, v)| Op::Set(n, v)),
        2 => any::<prop::sample::Index>().prop_map(Op::Remove),
        1 => name().prop_map(Op::RemoveNone),
    ]
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![Just(Place::Body), Just(Place::Block)]
}

fn name_of(key: &(u8, Vec<u8>)) -> Name<'_> {
    Name {
        index: key.0,
        rest: &key.1,
    }
}

/// Bytes that the attributes of the model need, computed another way.
fn needed(model: &Model) -> usize {
    model
        .iter()
        .map(|((_, name), value)| entry_len(name.len()) + value.len().next_multiple_of(4))
        .sum()
}

/// What an area holds; and that a block is sorted, has hashes, and keeps unused bytes zero.
fn check(bytes: &[u8], place: Place, model: &Model) -> Result<(), TestCaseError> {
    let area = Area::parse(bytes, place).expect("sound");
    let mut found = Model::new();
    let mut sorted = Vec::new();
    for entry in area.entries() {
        let name = area.name(&entry);
        sorted.push((name.index, name.rest.len(), name.rest.to_vec()));
        let key = (name.index, name.rest.to_vec());
        prop_assert_eq!(found.insert(key, area.value(&entry).to_vec()), None);
    }
    prop_assert_eq!(&found, model);
    prop_assert_eq!(area.is_empty(), model.is_empty());
    for (key, value) in model {
        let entry = area.find(name_of(key)).expect("there");
        prop_assert_eq!(area.value(&entry), value.as_slice());
    }
    let header = if place == Place::Block {
        prop_assert!(sorted.is_sorted());
        let hashes: Vec<u32> = sorted
            .iter()
            .map(|(index, _, name)| entry_hash(name, &model[&(*index, name.clone())]))
            .collect();
        // An entry with hash 0 is one that nobody shares.
        let hash = if hashes.contains(&0) {
            0
        } else {
            hashes
                .iter()
                .fold(0_u32, |hash, entry| hash.rotate_left(16) ^ entry)
        };
        prop_assert_eq!(bytes[12..16].to_vec(), hash.to_le_bytes().to_vec());
        prop_assert_eq!(area.refcount(), Ok(1));
        32
    } else {
        0
    };
    let names: usize = sorted.iter().map(|(_, len, _)| entry_len(*len)).sum();
    let values = needed(model) - names;
    let unused = &bytes[header + names..bytes.len() - values];
    prop_assert!(
        unused.iter().all(|&byte| byte == 0),
        "bytes are left behind"
    );
    Ok(())
}

proptest! {
    #[test]
    fn an_area_is_a_map(
        place in place(),
        len in prop_oneof![Just(92_usize), Just(124), Just(1024), Just(4096)],
        garbage: u8,
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let mut bytes = vec![garbage; len];
        let mut model = Model::new();
        let mut area = Area::empty(bytes.as_mut_slice(), place).expect("large enough");
        let room = len - 4 - if place == Place::Block { 32 } else { 0 };
        for op in ops {
            match op {
                Op::Set(key, value) => {
                    let before = area.bytes().to_vec();
                    let mut then = model.clone();
                    then.insert(key.clone(), value.clone());
                    let set = area.set(name_of(&key), &value);
                    if needed(&then) <= room {
                        prop_assert_eq!(set, Ok(()));
                        model = then;
                    } else {
                        prop_assert_eq!(set, Err(SetError::NoSpace));
                        prop_assert_eq!(area.bytes(), before.as_slice());
                    }
                }
                Op::Remove(index) => {
                    if let Some(key) = model.keys().nth(index.index(model.len().max(1))).cloned() {
                        prop_assert_eq!(area.remove(name_of(&key)), Ok(true));
                        model.remove(&key);
                    }
                }
                Op::RemoveNone(key) => {
                    prop_assert_eq!(area.remove(name_of(&key)), Ok(model.remove(&key).is_some()));
                }
            }
            let bytes = area.bytes().to_vec();
            check(&bytes, place, &model)?;
        }
    }

    #[test]
    fn damage_is_found_or_does_no_harm(
        place in place(),
        mut ops in prop::collection::vec((name(), prop::collection::vec(any::<u8>(), 0..40)), 1..12),
        hits in prop::collection::vec((0_usize..400, any::<u8>()), 1..6),
        then in prop::collection::vec(op(), 1..8),
    ) {
        let mut bytes = vec![0; 400];
        let mut area = Area::empty(bytes.as_mut_slice(), place).expect("large enough");
        for (key, value) in ops.drain(..) {
            let _ = area.set(name_of(&key), &value);
        }
        for (at, byte) in hits {
            bytes[at] = byte;
        }
        let Ok(mut area) = Area::parse(bytes.as_mut_slice(), place) else {
            return Ok(());
        };
        for op in then {
            match op {
                Op::Set(key, value) => {
                    if area.set(name_of(&key), &value) == Ok(()) {
                        let entry = area.find(name_of(&key)).expect("just set");
                        prop_assert_eq!(area.value(&entry), value.as_slice());
                    }
                }
                Op::Remove(index) => {
                    let keys: Vec<_> = area
                        .entries()
                        .map(|entry| (entry.index(), area.name(&entry).rest.to_vec()))
                        .collect();
                    if !keys.is_empty() {
                        let _ = area.remove(name_of(&keys[index.index(keys.len())]));
                    }
                }
                Op::RemoveNone(key) => {
                    let _ = area.remove(name_of(&key));
                }
            }
        }
        for entry in area.entries() {
            let _ = (area.name(&entry), area.value(&entry));
        }
    }

    #[test]
    fn any_bytes_can_be_looked_at(bytes in prop::collection::vec(any::<u8>(), 0..600), place in place()) {
        if let Ok(area) = Area::parse(bytes.as_slice(), place) {
            for entry in area.entries() {
                prop_assert_eq!(area.value(&entry).len(), entry.value_size());
            }
        }
    }
}

/// The bytes of an area of one attribute, its parts where a test can spoil them.
fn one(place: Place) -> Vec<u8> {
    let mut bytes = vec![0; 128];
    let mut area = Area::empty(bytes.as_mut_slice(), place).expect("large enough");
    let name = Name {
        index: 1,
        rest: b"name",
    };
    area.set(name, b"value").expect("room");
    bytes
}

#[test]
fn each_damage_has_its_name() {
    let spoilt = |place, at: usize, with: &[u8]| {
        let mut bytes = one(place);
        bytes[at..at + with.len()].copy_from_slice(with);
        Area::parse(bytes.as_slice(), place)
            .map(|_| ())
            .expect_err("spoilt")
    };
    assert_eq!(
        spoilt(Place::Block, 0, &[1]),
        Corrupt::AttributeHeader {
            magic: MAGIC | 1,
            blocks: 1
        }
    );
    assert_eq!(
        spoilt(Place::Block, 8, &[2]),
        Corrupt::AttributeHeader {
            magic: MAGIC,
            blocks: 2
        }
    );
    for (place, first) in [(Place::Body, 0), (Place::Block, 32)] {
        let offset = first;
        assert_eq!(
            spoilt(place, first, &[120]),
            Corrupt::AttributeOverrun { offset }
        );
        assert_eq!(
            spoilt(place, first + 17, &[0]),
            Corrupt::AttributeName { offset }
        );
        assert_eq!(
            spoilt(place, first + 4, &[12]),
            Corrupt::AttributeInode { offset, inode: 12 }
        );
        // Among the names; past the end; of a size that wraps.
        assert_eq!(
            spoilt(place, first + 2, &[4, 0]),
            Corrupt::AttributeValue {
                offset,
                value: 4,
                size: 5
            }
        );
        assert_eq!(
            spoilt(place, first + 8, &[9]),
            Corrupt::AttributeValue {
                offset,
                value: 120,
                size: 9
            }
        );
        assert_eq!(
            spoilt(place, first + 8, &[0xff; 4]),
            Corrupt::AttributeValue {
                offset,
                value: 120,
                size: 0xffff_ffff
            }
        );
    }
    assert!(Area::parse([0_u8; 3].as_slice(), Place::Body).is_err());
    assert!(Area::parse([0_u8; 4].as_slice(), Place::Body).is_ok());
}

#[test]
fn bytes_of_a_name_have_no_sign() {
    assert_eq!(entry_hash(&[0xff], &[]), 0xff);
    assert_eq!(entry_hash(&[0x80, 1], &[]), 0x80 << 5 | 1);
    // Two words of value, the second filled up with zeroes.
    let first = 0x0403_0201_u32;
    assert_eq!(entry_hash(b"", &[1, 2, 3, 4, 5]), first.rotate_left(16) ^ 5);
}
