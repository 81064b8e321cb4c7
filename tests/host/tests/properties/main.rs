// SPDX-License-Identifier: GPL-2.0

//! What must hold of the algorithms for any input.

mod acl;
mod bitmap;
mod block;
mod dir;
mod error_record;
mod features;
mod geometry;
mod hash;
mod indirect;
mod number;
mod orphan;
mod small;
mod xattr;
mod zones;
