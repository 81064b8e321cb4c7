// SPDX-License-Identifier: GPL-2.0

//! Extended attributes and ACLs.

use super::Input;
use notblk_format::acl::{self as list, Acl};
use notblk_format::xattr::{Area, Name, Place, SetError};

/// A block of attributes.
pub fn attribute_block(data: &[u8]) {
    let mut input = Input(data);
    let size = if input.u8() & 7 == 0 { 4096 } else { 1024 };
    area(&mut input, size, Place::Block);
}

/// Attributes in an inode.
pub fn attribute_body(data: &[u8]) {
    let mut input = Input(data);
    let size = 4 * usize::from(input.u8());
    area(&mut input, size, Place::Body);
}

/// An area: what is in it can be read; what is set is there, and the others keep their values; what is removed is gone.
fn area(input: &mut Input<'_>, size: usize, place: Place) {
    let (index, rest) = (input.u8(), input.name());
    let name = Name { index, rest: &rest };
    let length = usize::from(input.u16()) % (size + 8);
    let value = vec![input.u8(); length];
    let mut bytes = input.block(size);
    let Ok(mut area) = Area::parse(bytes.as_mut_slice(), place) else {
        return;
    };
    let values = |area: &Area<&mut [u8]>| -> Vec<(u8, Vec<u8>, Vec<u8>)> {
        area.entries()
            .map(|entry| {
                let name = area.name(&entry);
                let value = area.value(&entry);
                assert_eq!(value.len(), entry.value_size());
                (name.index, name.rest.to_vec(), value.to_vec())
            })
            .collect()
    };
    let before = values(&area);
    // Values that share bytes, or names that come twice, are accepted; then only that nothing breaks is asked for.
    let simple = is_simple(&area, size);
    let others = |all: Vec<(u8, Vec<u8>, Vec<u8>)>| -> Vec<_> {
        let mut others: Vec<_> = all
            .into_iter()
            .filter(|(index, rest, _)| (*index, rest.as_slice()) != (name.index, name.rest))
            .collect();
        others.sort();
        others
    };
    let there = area.find(name).is_some();
    match area.set(name, &value) {
        Ok(()) => {
            let found = area.find(name);
            if simple {
                let found = found.expect("what was set");
                assert_eq!(area.value(&found), value);
                assert_eq!(others(values(&area)), others(before));
                assert!(area.remove(name).expect("a sound area"));
            }
        }
        Err(SetError::NoSpace) => {
            assert_eq!(values(&area), before);
            if simple && there {
                assert!(area.remove(name).expect("a sound area"));
            }
        }
        Err(SetError::Corrupt(_)) => assert!(!simple),
    }
    if simple {
        assert!(area.find(name).is_none());
        let again = Area::parse(bytes.as_slice(), place);
        assert!(again.is_ok(), "what was changed is not sound: {again:?}");
    }
}

/// Whether the values lie behind each other without a gap, as every driver leaves them, and the entries are in order.
fn is_simple(area: &Area<&mut [u8]>, size: usize) -> bool {
    let mut rooms = 0;
    let mut names = 0;
    let mut before: Option<(u8, Vec<u8>)> = None;
    let start = area.bytes().as_ptr() as usize;
    let mut lowest = size;
    let mut spans = Vec::new();
    for entry in area.entries() {
        let name = area.name(&entry);
        let value = area.value(&entry);
        let room = value.len().div_ceil(4) * 4;
        rooms += room;
        names += 1;
        if !value.is_empty() {
            let at = value.as_ptr() as usize - start;
            if !at.is_multiple_of(4) {
                return false;
            }
            lowest = lowest.min(at);
            spans.push((at, at + room));
        }
        let is_before = |(index, rest): &(u8, Vec<u8>)| {
            Name {
                index: *index,
                rest,
            } < name
        };
        if before.as_ref().is_some_and(|before| !is_before(before)) {
            return false;
        }
        before = Some((name.index, name.rest.to_vec()));
    }
    spans.sort();
    let apart = spans.windows(2).all(|pair| pair[0].1 == pair[1].0);
    names < 1000 && apart && size - lowest == rooms
}

/// A value that may be an ACL: what is accepted is written as it was read.
pub fn acl(data: &[u8]) {
    let Some(acl) = Acl::parse(data) else {
        return;
    };
    assert_eq!(acl.count(), acl.entries().count());
    assert_eq!(list::size(acl.count()), data.len());
    let mut value = vec![0; data.len()];
    assert_eq!(list::encode(acl.entries(), &mut value), Some(data.len()));
    assert_eq!(value, data);
}
