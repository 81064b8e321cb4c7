// SPDX-License-Identifier: GPL-2.0

//! Images that somebody has tampered with.
//!
//! A [`Base`](base::Base) is a small sound filesystem that e2fsprogs makes, the same whenever it is made but for its times. A
//! base and a seed give a list of [`Mutation`](mutation::Mutation)s: of single fields, which `notblk-format` finds, or of bytes
//! that happen to lie there. What a driver could not stand is kept as a [`Case`](case::Case), a file of `tests/hostile`.
//!
//! | module | what |
//! | --- | --- |
//! | [`base`] | which sound filesystems there are, and the commands that make them |
//! | [`layout`] | where things lie in one |
//! | [`make`] | making one |
//! | [`map`] | its fields, by what they belong to |
//! | [`mutate`] | from a seed to mutations |
//! | [`mutation`] | one change, and how it is made |
//! | [`case`] | a tampered image as a file |
//! | [`random`] | numbers that come again |

#![forbid(unsafe_code)]

pub mod base;
pub mod case;
pub mod layout;
pub mod make;
pub mod map;
pub mod mutate;
pub mod mutation;
pub mod random;
