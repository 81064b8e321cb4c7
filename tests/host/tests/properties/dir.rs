// SPDX-License-Identifier: GPL-2.0

//! Directory blocks against a map, and against bytes that no filesystem would write.

use notblk_format::corrupt::Corrupt;
use notblk_format::dir::{self, DirLayout, Entry, Room, NAME_MAX};
use proptest::prelude::*;
use std::collections::BTreeMap;

const INODES: u32 = 5000;

fn layout(block_size: u32, filetype: bool) -> DirLayout {
    DirLayout {
        block_size,
        inodes_count: INODES,
        filetype,
    }
}

/// Name, inode and type of each live entry.
type Model = BTreeMap<Vec<u8>, (u32, u8)>;

/// Reads a block without the code under test. Fails where the chain does not fill the block.
fn naive(block: &[u8]) -> Result<(Model, Vec<usize>), String> {
    let mut model = Model::new();
    let mut starts = Vec::new();
    let mut at = 0;
    while at < block.len() {
        let word = |i: usize| u32::from_le_bytes(block[i..i + 4].try_into().expect("4 bytes"));
        let ino = word(at);
        let len = match (word(at + 4) & 0xffff) as usize {
            0xffff if block.len() == 65536 => 65536,
            len => len,
        };
        let (name_len, file_type) = (usize::from(block[at + 6]), block[at + 7]);
        if len < 12 || len % 4 != 0 || at + len > block.len() || name_len + 8 > len {
            return Err(format!("entry at {at}: length {len}, name {name_len}"));
        }
        if ino != 0 {
            let name = block[at + 8..at + 8 + name_len].to_vec();
            if model.insert(name, (ino, file_type)).is_some() {
                return Err(format!("entry at {at}: name is there twice"));
            }
        }
        starts.push(at);
        at += len;
    }
    if at == block.len() {
        Ok((model, starts))
    } else {
        Err(format!("chain ends at {at}"))
    }
}

/// The largest name for which there is room, without the code under test.
fn naive_room(block: &[u8]) -> usize {
    let (_, mut starts) = naive(block).expect("sound");
    starts.push(block.len());
    let gap = |pair: &[usize]| {
        let (at, end) = (pair[0], pair[1]);
        let live = block[at..at + 4] != [0; 4];
        let used = if live {
            (8 + usize::from(block[at + 6])).next_multiple_of(4)
        } else {
            0
        };
        end - at - used
    };
    let best = starts.windows(2).map(gap).max().unwrap_or(0);
    best.saturating_sub(8).min(NAME_MAX)
}

#[derive(Debug, Clone)]
enum Op {
    Insert(Vec<u8>, u32, u8),
    Remove(prop::sample::Index),
    SetIno(prop::sample::Index, u32, u8),
    Find(Vec<u8>),
}

/// Names that often meet each other, of all lengths.
fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => prop::collection::vec(b'a'..=b'd', 1..3),
        2 => (1_usize..=NAME_MAX, b'e'..=b'z').prop_map(|(len, c)| vec![c; len]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (name(), 1..=INODES, 0_u8..8).prop_map(|(n, i, t)| Op::Insert(n, i, t)),
        3 => any::<prop::sample::Index>().prop_map(Op::Remove),
        1 => (any::<prop::sample::Index>(), 1..=INODES, 0_u8..8)
            .prop_map(|(x, i, t)| Op::SetIno(x, i, t)),
        1 => name().prop_map(Op::Find),
    ]
}

/// Applies one operation to the block and to the model, and compares what they say.
fn apply(
    block: &mut [u8],
    layout: &DirLayout,
    model: &mut Model,
    op: Op,
) -> Result<(), TestCaseError> {
    let type_byte = |file_type| if layout.filetype { file_type } else { 0 };
    // Nobody removes `.` and `..`.
    let chosen = |model: &Model, index: prop::sample::Index| {
        let mut names: Vec<_> = model.keys().cloned().collect();
        names.retain(|name| !name.starts_with(b"."));
        (!names.is_empty()).then(|| names.swap_remove(index.index(names.len())))
    };
    match op {
        Op::Insert(name, ino, file_type) => {
            let found = dir::find(block, layout, &name).expect("sound");
            prop_assert_eq!(found.is_some(), model.contains_key(&name));
            if found.is_some() {
                return Ok(());
            }
            match dir::find_room(block, layout, name.len()).expect("sound") {
                Some(slot) => {
                    prop_assert_eq!(
                        dir::fill_slot(block, layout, &slot, &name, ino, file_type),
                        Ok(())
                    );
                    model.insert(name, (ino, type_byte(file_type)));
                }
                None => prop_assert!(naive_room(block) < name.len()),
            }
        }
        Op::Remove(index) => {
            if let Some(name) = chosen(model, index) {
                let found = dir::find(block, layout, &name)
                    .expect("sound")
                    .expect("in the model");
                prop_assert_eq!(dir::remove(block, layout, &found), Ok(()));
                model.remove(&name);
                // It is not there any more, and who still believes so is told.
                prop_assert_eq!(dir::find(block, layout, &name), Ok(None));
                prop_assert!(dir::remove(block, layout, &found).is_err());
            }
        }
        Op::SetIno(index, ino, file_type) => {
            if let Some(name) = chosen(model, index) {
                let found = dir::find(block, layout, &name)
                    .expect("sound")
                    .expect("in the model");
                prop_assert_eq!(
                    dir::set_ino(block, layout, &found.entry, ino, file_type),
                    Ok(())
                );
                model.insert(name, (ino, type_byte(file_type)));
            }
        }
        Op::Find(name) => {
            let found = dir::find(block, layout, &name).expect("sound");
            let found = found.map(|f| (f.entry.inode, f.entry.file_type));
            prop_assert_eq!(found, model.get(&name).copied());
        }
    }
    Ok(())
}

/// What [`dir::entries`] finds, as a model, and where entries begin.
fn walk(block: &[u8], layout: &DirLayout) -> Result<(Model, Vec<usize>), Corrupt> {
    let mut model = Model::new();
    let mut starts = Vec::new();
    for entry in dir::entries(block, layout) {
        let entry = entry?;
        if entry.inode != 0 {
            let mut buf = [0; NAME_MAX];
            let name = entry.read_name(block, &mut buf)?.to_vec();
            model.insert(name, (entry.inode, entry.file_type));
        }
        starts.push(entry.offset as usize);
    }
    Ok((model, starts))
}

fn block_size() -> impl Strategy<Value = u32> {
    prop_oneof![4 => Just(1024_u32), 2 => Just(4096), 1 => Just(65536)]
}

proptest! {
    #[test]
    fn operations_against_a_map(
        block_size in block_size(), filetype: bool, dots: bool,
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let layout = layout(block_size, filetype);
        let mut block = vec![0xa5; block_size as usize];
        let mut model = Model::new();
        if dots {
            prop_assert_eq!(dir::init_dots(block.as_mut_slice(), &layout, 12, 2), Ok(()));
            let file_type = if filetype { dir::FT_DIR } else { 0 };
            model.insert(b".".to_vec(), (12, file_type));
            model.insert(b"..".to_vec(), (2, file_type));
        } else {
            prop_assert_eq!(dir::init_empty(block.as_mut_slice(), &layout), Ok(()));
        }
        for op in ops {
            apply(&mut block, &layout, &mut model, op)?;
            let (live, starts) = naive(&block).map_err(TestCaseError::fail)?;
            prop_assert_eq!(&live, &model);
            prop_assert_eq!(walk(&block, &layout), Ok((live, starts.clone())));
            for off in [0, 1, 12, 500, block_size - 4, block_size, u32::MAX] {
                let next = starts.iter().find(|&&start| start >= off as usize);
                let next = next.map_or(block_size, |&start| start as u32);
                prop_assert_eq!(dir::resync(block.as_slice(), &layout, off), Ok(next));
            }
            let own = model.get(b".".as_slice()).map(|dot| dot.0);
            if own.is_none() {
                let empty = dir::is_empty_block(block.as_slice(), &layout, 12, false);
                prop_assert_eq!(empty, Ok(model.is_empty()));
            }
        }
    }

    /// Any bytes, some of them close to a directory: no panic, no endless walk, and each function
    /// that writes leaves a chain or fails.
    #[test]
    fn arbitrary_bytes(
        mut block in prop::collection::vec(any::<u8>(), 1024),
        plausible in prop::collection::vec((0_u32..3, 0_u16..9, 0_u8..20), 0..100),
        filetype: bool, off: u32, op in op(),
    ) {
        let layout = layout(1024, filetype);
        let mut at = 0;
        for (ino, len, name_len) in plausible {
            let Some(header) = block.get_mut(at..at + 8) else { break };
            header[..4].copy_from_slice(&ino.to_le_bytes());
            header[4..6].copy_from_slice(&(len * 8).to_le_bytes());
            header[6] = name_len;
            at += usize::from(len) * 8;
        }
        let b = block.as_mut_slice();
        let mut steps = 0;
        let mut sound = true;
        for entry in dir::entries(b, &layout) {
            steps += 1;
            prop_assert!(steps <= 1024 / 12 + 1 && sound, "goes on after an error, or for ever");
            match entry {
                Ok(entry) => {
                    prop_assert!(entry.end() <= 1024 && entry.rec_len >= 12);
                    let mut buf = [0; NAME_MAX];
                    let _ = entry.read_name(b, &mut buf);
                }
                Err(e) => {
                    sound = false;
                    prop_assert!(!e.to_string().is_empty());
                }
            }
        }
        prop_assert_eq!(dir::resync(b, &layout, u32::MAX).is_ok(), sound);
        let _ = dir::entry_at(b, &layout, off);
        let _ = dir::entry_at(b, &layout, off % 1024);
        let _ = dir::is_empty_block(b, &layout, 12, off % 2 == 0);
        match op {
            Op::Insert(name, ino, file_type) => {
                if let Ok(Some(slot)) = dir::find_room(b, &layout, name.len()) {
                    let done = dir::fill_slot(b, &layout, &slot, &name, ino, file_type);
                    prop_assert_eq!(done, Ok(()));
                    prop_assert!(dir::find(b, &layout, &name).is_ok_and(|found| found.is_some()));
                }
            }
            Op::Remove(index) => {
                let entries = dir::entries(b, &layout).flatten();
                let names: Vec<_> = entries.filter(|e| e.inode != 0).collect();
                if !names.is_empty() {
                    let mut buf = [0; NAME_MAX];
                    let chosen = names[index.index(names.len())];
                    if let Ok(name) = chosen.read_name(b, &mut buf) {
                        if let Ok(Some(found)) = dir::find(b, &layout, name) {
                            prop_assert_eq!(dir::remove(b, &layout, &found), Ok(()));
                        }
                    }
                }
            }
            Op::SetIno(_, ino, file_type) => {
                if let Ok(entry) = dir::entry_at(b, &layout, 0) {
                    let _ = dir::set_ino(b, &layout, &entry, ino, file_type);
                }
            }
            Op::Find(name) => {
                let _ = dir::find(b, &layout, &name);
            }
        }
        let still_sound = dir::resync(b, &layout, u32::MAX).is_ok();
        prop_assert!(!sound || still_sound, "a sound chain was broken");
    }
}

/// A block with `.`, `..` and the file `a`, which begins at offset 24.
fn sample() -> (Vec<u8>, DirLayout) {
    let layout = layout(1024, true);
    let mut block = vec![0; 1024];
    let b = block.as_mut_slice();
    dir::init_dots(b, &layout, 12, 2).expect("inside");
    let slot = dir::find_room(b, &layout, 1).expect("sound").expect("room");
    dir::fill_slot(b, &layout, &slot, b"a", 13, dir::FT_REG_FILE).expect("sound");
    (block, layout)
}

/// One change each to the entry at offset 24, and what it is called.
#[test]
fn each_damage_has_its_name() {
    use Corrupt as C;
    type Kind = fn(&Corrupt) -> bool;
    let table: [(usize, &[u8], Kind); 9] = [
        (28, &[0, 0], |e| {
            matches!(
                e,
                C::EntryTooShort {
                    offset: 24,
                    rec_len: 0
                }
            )
        }),
        (28, &[8, 0], |e| {
            matches!(
                e,
                C::EntryTooShort {
                    offset: 24,
                    rec_len: 8
                }
            )
        }),
        (28, &[14, 0], |e| {
            matches!(
                e,
                C::EntryUnaligned {
                    offset: 24,
                    rec_len: 14
                }
            )
        }),
        (28, &[12, 0, 5], |e| {
            matches!(e, C::EntryNameOverrun { name_len: 5, .. })
        }),
        (28, &[0xec, 3], |e| {
            matches!(
                e,
                C::EntryOverrun {
                    offset: 24,
                    rec_len: 1004
                }
            )
        }),
        (28, &[0xe0, 3], |e| {
            matches!(
                e,
                C::EntryNearEnd {
                    offset: 24,
                    rec_len: 992
                }
            )
        }),
        (24, &[0x89, 0x13], |e| {
            matches!(e, C::EntryInode { inode: 5001, .. })
        }),
        (30, &[0], |e| matches!(e, C::EntryNameEmpty { offset: 24 })),
        (32, b".", |e| matches!(e, C::EntryDotLast { offset: 24 })),
    ];
    for (i, (at, bytes, kind)) in table.into_iter().enumerate() {
        let (mut block, layout) = sample();
        block[at..at + bytes.len()].copy_from_slice(bytes);
        let error = dir::find(block.as_slice(), &layout, b"zz").expect_err("damaged");
        assert!(kind(&error), "change {i}: {error:?}");
        assert_eq!(dir::resync(block.as_slice(), &layout, 2000), Err(error));
        assert_eq!(dir::find_room(block.as_slice(), &layout, 200), Err(error));
    }
    let (block, layout) = sample();
    for offset in [2, 1024, u32::MAX] {
        let error = dir::entry_at(block.as_slice(), &layout, offset);
        assert!(matches!(error, Err(C::EntryOffset { .. })), "{error:?}");
    }
    let short = &block[..1000];
    assert!(matches!(
        dir::entry_at(short, &layout, 996),
        Err(C::OutOfBlock { .. })
    ));
}

#[test]
fn names_with_bytes_that_no_name_has() {
    for byte in [0, b'/'] {
        let (mut block, layout) = sample();
        block[32] = byte;
        let entry = dir::entry_at(block.as_slice(), &layout, 24).expect("sound but for its name");
        let mut buf = [0; NAME_MAX];
        let error = entry.read_name(block.as_slice(), &mut buf);
        assert_eq!(error, Err(Corrupt::EntryNameByte { offset: 24, byte }));
    }
}

#[test]
fn lengths_of_names() {
    let (mut block, layout) = sample();
    let b = block.as_mut_slice();
    for len in [0, 256, usize::MAX] {
        let error = Err(Corrupt::NameLength { len });
        assert_eq!(dir::find_room(b, &layout, len), error);
    }
    let slot = dir::find_room(b, &layout, 255)
        .expect("sound")
        .expect("room");
    let error = dir::fill_slot(b, &layout, &slot, &[b'x'; 256], 14, 1);
    assert_eq!(error, Err(Corrupt::NameLength { len: 256 }));
    assert_eq!(dir::find(b, &layout, &[b'x'; 256]), Ok(None));
    assert_eq!(dir::find(b, &layout, b""), Ok(None));
    assert_eq!(
        dir::fill_slot(b, &layout, &slot, &[b'x'; 255], 14, 1),
        Ok(())
    );
}

/// A name is looked for in all of the block, also behind the place that there would be for it.
#[test]
fn a_name_has_room_once() {
    let (mut block, layout) = sample();
    let b = block.as_mut_slice();
    let room = |b: &[u8], name: &[u8]| dir::room_for(b, &layout, name).expect("sound");
    for name in [b"new".as_slice(), b"behind"] {
        let Room::Free(slot) = room(b, name) else {
            panic!("no room");
        };
        assert_eq!(dir::find_room(b, &layout, name.len()), Ok(Some(slot)));
        dir::fill_slot(b, &layout, &slot, name, 14, 1).expect("fresh");
    }
    // There is room where `a` was, before the others.
    let found = dir::find(b, &layout, b"a").expect("sound").expect("there");
    dir::remove(b, &layout, &found).expect("sound");
    assert_eq!(room(b, b"behind"), Room::Taken);
    assert!(matches!(room(b, b"a"), Room::Free(_)));
    let error = Err(Corrupt::NameLength { len: 0 });
    assert_eq!(dir::room_for(b, &layout, b""), error);
    // Damage is told however much room there is before it: here the length of the last entry.
    b[52..54].copy_from_slice(&[13, 0]);
    assert!(dir::room_for(b, &layout, b"x").is_err());
}

/// What was found is looked at again before it is changed.
#[test]
fn stale_places_are_refused() {
    let (mut block, layout) = sample();
    let b = block.as_mut_slice();
    let stale = Err(Corrupt::EntryChanged { offset: 24 });
    let found = dir::find(b, &layout, b"a").expect("sound").expect("there");
    let slot = dir::find_room(b, &layout, 3).expect("sound").expect("room");
    dir::fill_slot(b, &layout, &slot, b"new", 14, 1).expect("fresh");
    assert_eq!(dir::fill_slot(b, &layout, &slot, b"two", 15, 1), stale);
    assert_eq!(dir::remove(b, &layout, &found), stale);
    assert_eq!(dir::set_ino(b, &layout, &found.entry, 15, 1), stale);
    assert_eq!(
        naive(&block).expect("sound").0.keys().collect::<Vec<_>>(),
        [b".".as_slice(), b"..", b"a", b"new"]
    );
}

#[test]
fn inode_numbers_that_cannot_be() {
    let (mut block, layout) = sample();
    let b = block.as_mut_slice();
    let entry = dir::entry_at(b, &layout, 24).expect("sound");
    let slot = dir::find_room(b, &layout, 3).expect("sound").expect("room");
    for ino in [0, INODES + 1] {
        assert!(dir::set_ino(b, &layout, &entry, ino, 1).is_err());
        assert!(dir::fill_slot(b, &layout, &slot, b"new", ino, 1).is_err());
    }
    assert_eq!(sample().0, block);
}

#[test]
fn emptiness() {
    let (mut block, layout) = sample();
    let b = block.as_mut_slice();
    assert_eq!(dir::is_empty_block(b, &layout, 12, true), Ok(false));
    let found = dir::find(b, &layout, b"a").expect("sound").expect("there");
    dir::remove(b, &layout, &found).expect("sound");
    assert_eq!(dir::is_empty_block(b, &layout, 12, true), Ok(true));
    // Not the first block: then `.` is a name like any other.
    assert_eq!(dir::is_empty_block(b, &layout, 12, false), Ok(false));
    // Another directory's block.
    let error = Err(Corrupt::DirDots { offset: 0 });
    assert_eq!(dir::is_empty_block(b, &layout, 13, true), error);
    let dotdot: Entry = dir::entry_at(b, &layout, 12).expect("sound");
    dir::remove(
        b,
        &layout,
        &dir::Found {
            entry: dotdot,
            prev: None,
        },
    )
    .expect("sound");
    let error = Err(Corrupt::DirDots { offset: 12 });
    assert_eq!(dir::is_empty_block(b, &layout, 12, true), error);
    dir::init_empty(b, &layout).expect("inside");
    assert_eq!(dir::is_empty_block(b, &layout, 12, false), Ok(true));
    let error = Err(Corrupt::DirDots { offset: 0 });
    assert_eq!(dir::is_empty_block(b, &layout, 12, true), error);
}
