// SPDX-License-Identifier: GPL-2.0

//! `cargo xtask run-xfstests`: the suite that its user built, in guests, judged and kept.

mod config;
mod exclusions;
mod lay;
mod root;
mod select;
mod tree;
