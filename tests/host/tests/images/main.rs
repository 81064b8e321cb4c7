// SPDX-License-Identifier: GPL-2.0

//! `rust/format` against e2fsprogs: what mke2fs and debugfs made is read and compared with
//! dumpe2fs and with what went in; what is written must please e2fsck.

mod attributes;
mod files;
mod layout;
mod tools;
mod trees;
mod write;
