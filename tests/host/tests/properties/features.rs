// SPDX-License-Identifier: GPL-2.0

//! Feature words, and what is said about them.

use notblk_format::features::{self, FeatureName};
use notblk_format::superblock::RawSuperBlock;
use proptest::prelude::*;
use zerocopy::FromZeros;

fn superblock(incompat: u32, ro_compat: u32) -> RawSuperBlock {
    let mut raw = RawSuperBlock::new_zeroed();
    raw.feature_incompat.set(incompat);
    raw.feature_ro_compat.set(ro_compat);
    raw
}

#[test]
fn supported_features_are_silent() {
    let raw = superblock(0x2, 0x3);
    assert!(features::unsupported_incompat(&raw).is_empty());
    assert!(features::unsupported_ro_compat(&raw).is_empty());
    assert_eq!(features::unsupported_incompat(&raw).to_string(), "");
}

#[test]
fn unsupported_features_are_named() {
    let raw = superblock(0x2 | 0x40 | 0x80 | 0x4000_0000, 0x1 | 0x400);
    assert_eq!(
        features::unsupported_incompat(&raw).to_string(),
        "extents, 64bit, unknown feature bit 0x40000000"
    );
    assert_eq!(
        features::unsupported_ro_compat(&raw).to_string(),
        "metadata_csum"
    );
}

/// A revision of zero does not make the words meaningless: old tools set bits without raising it.
#[test]
fn revision_does_not_hide_features() {
    let mut raw = superblock(0x40, 0);
    raw.rev_level.set(0);
    assert_eq!(features::unsupported_incompat(&raw).to_string(), "extents");
}

proptest! {
    /// Each unsupported bit gives one name, and the set is empty when all of them are out.
    #[test]
    fn one_name_for_each_bit(word: u32) {
        let raw = superblock(word, word);
        for (mut names, supported) in [
            (features::unsupported_incompat(&raw), features::SUPPORTED_INCOMPAT),
            (features::unsupported_ro_compat(&raw), features::SUPPORTED_RO_COMPAT),
        ] {
            let wrong = word & !supported;
            prop_assert_eq!(names.clone().count() as u32, wrong.count_ones());
            for name in names.clone() {
                if let FeatureName::Unknown(bit) = name {
                    prop_assert!(bit.is_power_of_two() && wrong & bit != 0);
                }
            }
            for _ in 0..wrong.count_ones() {
                prop_assert!(!names.is_empty());
                prop_assert!(names.next().is_some());
            }
            prop_assert!(names.is_empty());
            prop_assert!(names.next().is_none());
        }
    }
}
