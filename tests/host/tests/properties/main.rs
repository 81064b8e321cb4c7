// SPDX-License-Identifier: GPL-2.0

//! What must hold of the algorithms for any input.

mod acl;
mod bitmap;
mod block;
mod dir;
mod features;
mod geometry;
mod indirect;
mod orphan;
mod small;
mod xattr;
