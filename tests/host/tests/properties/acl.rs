// SPDX-License-Identifier: GPL-2.0

//! ACLs as values of attributes.

use notblk_format::acl::{encode, size, Acl, Entry};
use notblk_format::acl::{GROUP, GROUP_OBJ, MASK, OTHER, USER, USER_OBJ};
use proptest::prelude::*;

/// An ACL as VFS lets it be: the three that are always there, users and groups by id, and then a mask.
fn acl() -> impl Strategy<Value = Vec<Entry>> {
    let perm = 0_u16..8;
    let by_id = prop::collection::vec((any::<bool>(), 0_u16..8, any::<u32>()), 0..6);
    (perm, by_id).prop_map(|(perm, by_id)| {
        let entry = |tag, perm, id| Entry { tag, perm, id };
        let mut acl = vec![
            entry(USER_OBJ, 7, 0),
            entry(GROUP_OBJ, perm, 0),
            entry(OTHER, 0, 0),
        ];
        if !by_id.is_empty() {
            acl.push(entry(MASK, perm, 0));
        }
        for (user, perm, id) in by_id {
            acl.push(entry(if user { USER } else { GROUP }, perm, id));
        }
        acl
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(entries in acl()) {
        let mut value = vec![0xaa; size(entries.len())];
        let len = encode(entries.iter().copied(), &mut value);
        prop_assert_eq!(len, Some(value.len()));
        let read = Acl::parse(&value).expect("an ACL");
        prop_assert_eq!(read.count(), entries.len());
        prop_assert_eq!(read.entries().collect::<Vec<_>>(), entries.clone());
        // Neither less nor more.
        prop_assert!(Acl::parse(&value[..value.len() - 1]).is_none());
        value.push(0);
        prop_assert!(Acl::parse(&value).is_none());
        value.truncate(size(entries.len()) - 1);
        prop_assert_eq!(encode(entries.into_iter(), &mut value), None);
    }

    #[test]
    fn any_value_can_be_looked_at(mut value in prop::collection::vec(any::<u8>(), 0..60), sane: bool) {
        if let (true, Some(version)) = (sane, value.get_mut(..4)) {
            version.copy_from_slice(&[1, 0, 0, 0]);
        }
        if let Some(acl) = Acl::parse(&value) {
            prop_assert_eq!(acl.entries().count(), acl.count());
        }
    }
}

#[test]
fn what_is_no_acl() {
    assert!(Acl::parse(&[]).is_none());
    assert!(Acl::parse(&[2, 0, 0, 0]).is_none());
    // No entries at all: VFS takes it for none.
    assert_eq!(Acl::parse(&[1, 0, 0, 0]).map(|acl| acl.count()), Some(0));
    // A tag that does not exist.
    assert!(Acl::parse(&[1, 0, 0, 0, 3, 0, 7, 0]).is_none());
    // A single entry with an id has a length that no number of entries has.
    assert!(Acl::parse(&[1, 0, 0, 0, 2, 0, 7, 0, 1, 0, 0, 0]).is_none());
    let unknown = Entry {
        tag: 3,
        perm: 0,
        id: 0,
    };
    assert_eq!(encode([unknown].into_iter(), &mut [0; 64]), None);
}
