// SPDX-License-Identifier: GPL-2.0

//! What must hold of the algorithms for any input.

mod bitmap;
mod block;
mod dir;
mod error_record;
mod features;
mod geometry;
mod indirect;
mod small;
