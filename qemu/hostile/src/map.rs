// SPDX-License-Identifier: GPL-2.0

//! The fields of a sound image, by what they belong to.

use crate::layout::{get, Layout};
use notblk_format::dir::{self, DirLayout};
use notblk_format::group::RawGroupDesc;
use notblk_format::inode::{
    RawInode, RawInodeExtra, FL_INDEX, N_BLOCKS, RAW_INODE_SIZE, S_IFDIR, S_IFREG,
};
use notblk_format::superblock::{RawSuperBlock, SUPERBLOCK_OFFSET};
use notblk_format::xattr;
use std::mem::{offset_of, size_of};

/// What a field says, which tells what values are interesting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number of any sort.
    Number,
    /// A block of the device.
    Block,
    /// A block of the file that the field lies in.
    FileBlock,
    /// An inode.
    Inode,
    /// A length or an offset in bytes inside a block.
    Length,
    /// The size of a file, low half.
    Size,
    /// Bits.
    Flags,
    /// File type and permissions.
    Mode,
    /// Of a bitmap: eight bits.
    Bits,
}

/// A field.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Where it is.
    pub at: usize,
    /// Its bytes: 1, 2, 4 or 8.
    pub len: usize,
    /// What it says.
    pub kind: Kind,
    /// Its name, as C has it.
    pub name: &'static str,
    /// Which of several of that name.
    pub index: Option<usize>,
}

/// What fields belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The superblock.
    Super,
    /// Group descriptors.
    Group,
    /// Bitmaps.
    Bitmap,
    /// Inodes.
    Inode,
    /// Directory entries.
    Entry,
    /// Index blocks of directories.
    Index,
    /// Indirect blocks.
    Pointers,
    /// Blocks of attributes.
    AttributeBlock,
    /// Attributes in inodes.
    AttributeBody,
    /// Quota files.
    Quota,
}

impl Class {
    /// All, in the order of [`Class::WEIGHTS`].
    pub const ALL: [Class; 10] = [
        Class::Super,
        Class::Group,
        Class::Bitmap,
        Class::Inode,
        Class::Entry,
        Class::Index,
        Class::Pointers,
        Class::AttributeBlock,
        Class::AttributeBody,
        Class::Quota,
    ];
    /// How often each is chosen. A superblock that is changed is mostly refused at mount, and little is tried then.
    pub const WEIGHTS: [usize; 10] = [8, 6, 6, 22, 15, 12, 10, 9, 6, 12];
}

/// A thing that has fields.
#[derive(Debug)]
pub struct Object {
    /// What it is.
    pub class: Class,
    /// Which one, for people.
    pub name: String,
    /// Its fields; one at least.
    pub fields: Vec<Field>,
}

impl Object {
    fn new(class: Class, name: String) -> Self {
        Self {
            class,
            name,
            fields: Vec::new(),
        }
    }

    fn field(&mut self, name: &'static str, at: usize, len: usize, kind: Kind) {
        self.fields.push(Field {
            at,
            len,
            kind,
            name,
            index: None,
        });
    }

    fn indexed(&mut self, name: &'static str, index: usize, at: usize, kind: Kind) {
        self.fields.push(Field {
            at,
            len: 4,
            kind,
            name,
            index: Some(index),
        });
    }
}

/// Says of each field of a raw struct where it is, how long, and what it says.
macro_rules! fields {
    ($object:expr, $base:expr, $raw:ty, $prefix:literal, $($kind:ident: $($field:ident)+;)+) => {$($(
        {
            /// Bytes of what it leads to.
            const fn len<T, U>(_: fn(&T) -> &U) -> usize { size_of::<U>() }
            let len = len(|raw: &$raw| &raw.$field);
            $object.field(concat!($prefix, stringify!($field)), $base + offset_of!($raw, $field), len, Kind::$kind);
        }
    )+)+};
}

/// All that the image has.
pub fn objects(layout: &Layout<'_>) -> Vec<Object> {
    let mut objects = vec![super_block()];
    for group in 0..layout.geo.group_count() {
        groups(layout, group, &mut objects);
    }
    for ino in layout.inodes() {
        inode(layout, ino, &mut objects);
    }
    let end = layout.image.len();
    for object in &mut objects {
        object.fields.retain(|field| field.at + field.len <= end);
    }
    objects.retain(|object| !object.fields.is_empty());
    objects
}

fn super_block() -> Object {
    let mut object = Object::new(Class::Super, "superblock".into());
    // CAST: 1024.
    let base = SUPERBLOCK_OFFSET as usize;
    fields!(object, base, RawSuperBlock, "s_",
        Number: inodes_count blocks_count r_blocks_count free_blocks_count free_inodes_count
            log_block_size log_frag_size blocks_per_group frags_per_group inodes_per_group
            mtime wtime mnt_count max_mnt_count magic errors minor_rev_level lastcheck checkinterval
            creator_os rev_level def_resuid def_resgid block_group_nr prealloc_blocks prealloc_dir_blocks
            reserved_gdt_blocks def_hash_version jnl_backup_type desc_size blocks_count_hi r_blocks_count_hi
            free_blocks_count_hi log_groups_per_flex checksum_type raid_stride raid_stripe_width mmp_update_interval
            error_count first_error_time last_error_time first_error_line last_error_line overhead_clusters
            kbytes_written first_meta_bg;
        Block: first_data_block mmp_block first_error_block last_error_block snapshot_list;
        Inode: first_ino journal_inum last_orphan usr_quota_inum grp_quota_inum prj_quota_inum orphan_file_inum lpf_ino
            snapshot_inum;
        Length: inode_size min_extra_isize want_extra_isize;
        Flags: state feature_compat feature_incompat feature_ro_compat default_mount_opts flags;
    );
    object
}

fn groups(layout: &Layout<'_>, group: u32, objects: &mut Vec<Object>) {
    let Some((desc, at)) = layout.group(group) else {
        return;
    };
    let mut object = Object::new(Class::Group, format!("group {group}"));
    fields!(object, at, RawGroupDesc, "bg_",
        Block: block_bitmap inode_bitmap inode_table;
        Number: free_blocks_count free_inodes_count used_dirs_count;
        Flags: flags;
    );
    objects.push(object);
    let bitmaps = [
        (
            "block bitmap",
            desc.block_bitmap,
            layout.geo.group_blocks(group),
        ),
        (
            "inode bitmap",
            desc.inode_bitmap,
            layout.geo.inodes_per_group(),
        ),
    ];
    for (what, block, bits) in bitmaps {
        let mut object = Object::new(Class::Bitmap, format!("{what} of group {group}"));
        let at = layout.at(block.get());
        let bytes = (bits.div_ceil(8) as usize + 2).min(layout.block_size());
        for byte in 0..bytes {
            object.field("byte", at + byte, 1, Kind::Bits);
        }
        // Many at a time.
        for byte in (0..bytes.saturating_sub(8)).step_by(8) {
            object.field("bytes", at + byte, 8, Kind::Bits);
        }
        objects.push(object);
    }
}

fn inode(layout: &Layout<'_>, ino: u32, objects: &mut Vec<Object>) {
    let Some((raw, at)) = layout.inode(ino) else {
        return;
    };
    let mut object = Object::new(Class::Inode, format!("inode {ino}"));
    fields!(object, at, RawInode, "i_",
        Mode: mode;
        Number: uid_lo gid_lo links_count blocks_lo atime ctime mtime version generation size_high faddr blocks_high
            file_acl_high uid_hi gid_hi;
        Size: size_lo;
        Inode: dtime;
        Flags: flags;
        Block: file_acl;
    );
    // What matters most, twice.
    fields!(object, at, RawInode, "i_", Mode: mode; Size: size_lo; Flags: flags; Number: links_count blocks_lo; Block: file_acl;);
    for index in 0..N_BLOCKS {
        let at = at + offset_of!(RawInode, block) + 4 * index;
        object.indexed("i_block", index, at, Kind::Block);
    }
    if layout.geo.inode_size() > RAW_INODE_SIZE {
        let at = at + usize::from(RAW_INODE_SIZE);
        fields!(object, at, RawInodeExtra, "i_",
            Length: extra_isize;
            Number: checksum_hi ctime_extra mtime_extra atime_extra crtime crtime_extra version_hi projid;
        );
        body(layout, ino, at, objects);
    }
    objects.push(object);

    let map = layout.map(&raw);
    for pointers in &map.pointers {
        let name = format!(
            "inode {ino}, level {}, block {}",
            pointers.level, pointers.block
        );
        let mut object = Object::new(Class::Pointers, name);
        let at = layout.at(pointers.block);
        let used = |index: &usize| layout.word(at + 4 * index).is_some_and(|word| word != 0);
        let all = 0..layout.geo.ptrs_per_block() as usize;
        let last = all.end.saturating_sub(1);
        // Those in use, and some that are not.
        let chosen = all.filter(|index| used(index) || *index < 4 || *index == last);
        for index in chosen {
            object.indexed("pointer", index, at + 4 * index, Kind::Block);
        }
        objects.push(object);
    }
    if raw.file_type() == S_IFDIR {
        let indexed = raw.flags.get() & FL_INDEX != 0;
        directory(layout, ino, indexed, &map.data, objects);
    }
    let quotas = [
        layout.raw.usr_quota_inum.get(),
        layout.raw.grp_quota_inum.get(),
    ];
    if raw.file_type() == S_IFREG && quotas.contains(&ino) {
        quota(layout, ino, &map.data, objects);
    }
    if raw.file_acl.get() != 0 {
        let block = raw.file_acl.get();
        let mut object = Object::new(
            Class::AttributeBlock,
            format!("inode {ino}, attribute block {block}"),
        );
        let at = layout.at(block);
        fields!(object, at, xattr::RawHeader, "h_", Number: magic refcount blocks hash checksum;);
        let first = at + size_of::<xattr::RawHeader>();
        attributes(layout, first, at + layout.block_size(), &mut object);
        objects.push(object);
    }
}

/// Attributes in an inode, whose extra fields are at `at`.
fn body(layout: &Layout<'_>, ino: u32, at: usize, objects: &mut Vec<Object>) {
    let Some(extra) = get::<RawInodeExtra>(layout.image, at) else {
        return;
    };
    let header = at + usize::from(extra.extra_isize.get());
    if layout.word(header) != Some(xattr::MAGIC) {
        return;
    }
    let mut object = Object::new(Class::AttributeBody, format!("inode {ino}, attributes"));
    object.field("h_magic", header, 4, Kind::Number);
    let end = at + usize::from(layout.geo.inode_size() - RAW_INODE_SIZE);
    attributes(layout, header + xattr::BODY_HEADER, end, &mut object);
    objects.push(object);
}

/// Entries of attributes from `at` on, as C's `struct ext4_xattr_entry` has them.
fn attributes(layout: &Layout<'_>, mut at: usize, end: usize, object: &mut Object) {
    while at + 16 <= end && layout.word(at).is_some_and(|word| word != 0) {
        object.field("e_name_len", at, 1, Kind::Length);
        object.field("e_name_index", at + 1, 1, Kind::Number);
        object.field("e_value_offs", at + 2, 2, Kind::Length);
        object.field("e_value_inum", at + 4, 4, Kind::Inode);
        object.field("e_value_size", at + 8, 4, Kind::Length);
        object.field("e_hash", at + 12, 4, Kind::Number);
        object.field("e_name", at + 16, 1, Kind::Number);
        let Some(&len) = layout.image.get(at) else {
            return;
        };
        let value: u32 = layout.word(at).unwrap_or(0) >> 16;
        object.field(
            "value",
            end.saturating_sub(4).min(at + value as usize),
            4,
            Kind::Number,
        );
        at += xattr::entry_len(usize::from(len));
    }
    object.field("end of the entries", at, 4, Kind::Number);
}

/// Entries and index of a directory.
fn directory(
    layout: &Layout<'_>,
    ino: u32,
    indexed: bool,
    data: &[(u64, u32)],
    objects: &mut Vec<Object>,
) {
    let dir_layout = DirLayout {
        block_size: layout.geo.block_size(),
        inodes_count: layout.geo.inodes_count(),
        filetype: layout.geo.has_filetype(),
    };
    let levels = data
        .first()
        .and_then(|&(_, root)| layout.image.get(layout.at(root) + 0x1e));
    for &(number, block) in data {
        let at = layout.at(block);
        let Some(bytes) = layout.image.get(at..at + layout.block_size()) else {
            continue;
        };
        let name = format!("directory {ino}, block {number}");
        let mut object = Object::new(Class::Entry, name.clone());
        let entries: Vec<_> = dir::entries(bytes, &dir_layout).flatten().collect();
        // A node of an index is one free entry.
        let is_node =
            indexed && number > 0 && levels.is_some_and(|&levels| levels > 0) && entries.len() == 1;
        for entry in &entries {
            let at = at + entry.offset as usize;
            object.field("inode", at, 4, Kind::Inode);
            object.field("rec_len", at + 4, 2, Kind::Length);
            object.field("name_len", at + 6, 1, Kind::Length);
            object.field("file_type", at + 7, 1, Kind::Number);
            object.field("name", at + 8, 1, Kind::Number);
        }
        objects.push(object);
        let is_root = indexed && number == 0;
        if !is_root && !is_node {
            continue;
        }
        let mut object = Object::new(Class::Index, name);
        let mut first = at + dir::HEADER;
        if is_root {
            let info = at + 24;
            object.field("reserved_zero", info, 4, Kind::Number);
            object.field("hash_version", info + 4, 1, Kind::Number);
            object.field("info_length", info + 5, 1, Kind::Length);
            object.field("indirect_levels", info + 6, 1, Kind::Number);
            object.field("unused_flags", info + 7, 1, Kind::Flags);
            first = info + 8;
        }
        for _ in 0..4 {
            object.field("limit", first, 2, Kind::Length);
            object.field("count", first + 2, 2, Kind::Length);
        }
        let count: usize = layout.word(first).map_or(0, |word| (word >> 16) as usize);
        for index in 0..count.min(40) {
            let pair = first + 8 * index;
            if index > 0 {
                object.indexed("hash", index, pair, Kind::Number);
            }
            object.indexed("block", index, pair + 4, Kind::FileBlock);
        }
        objects.push(object);
    }
}

/// A quota file: header, tree, and entries of users. C: `fs/quota/quotaio_v2.h`, `quota_tree.c`.
fn quota(layout: &Layout<'_>, ino: u32, data: &[(u64, u32)], objects: &mut Vec<Object>) {
    /// Bytes of a block of the tree, whatever the filesystem's are.
    const TREE_BLOCK: usize = 1024;
    /// Bytes of an entry, and before the first.
    const ENTRY: usize = 72;
    const ENTRIES: usize = 16;
    let per_block = layout.block_size() / TREE_BLOCK;
    let mut info = Object::new(Class::Quota, format!("quota file {ino}, header"));
    let mut objects_of_tree = Vec::new();
    for &(number, block) in data {
        for part in 0..per_block {
            let at = layout.at(block) + part * TREE_BLOCK;
            // CAST: a quota file has few blocks.
            let tree_block = number as usize * per_block + part;
            if tree_block == 0 {
                let names = ["magic", "version", "bgrace", "igrace", "flags"];
                for (index, name) in names.into_iter().enumerate() {
                    info.field(name, at + 4 * index, 4, Kind::Number);
                }
                for (index, name) in ["blocks", "free_blk", "free_entry"].into_iter().enumerate() {
                    info.field(name, at + 20 + 4 * index, 4, Kind::FileBlock);
                }
                continue;
            }
            let name = format!("quota file {ino}, block {tree_block}");
            let mut object = Object::new(Class::Quota, name);
            // A block is either references or entries; both views of it are taken.
            for index in (0..TREE_BLOCK / 4).filter(|index| {
                *index < 4 || layout.word(at + 4 * index).is_some_and(|word| word != 0)
            }) {
                object.indexed("word", index, at + 4 * index, Kind::FileBlock);
            }
            object.field("dqdh_next_free", at, 4, Kind::FileBlock);
            object.field("dqdh_prev_free", at + 4, 4, Kind::FileBlock);
            object.field("dqdh_entries", at + 8, 2, Kind::Number);
            for entry in 0..3 {
                let at = at + ENTRIES + ENTRY * entry;
                object.field("dqb_id", at, 4, Kind::Number);
                object.field("dqb_ihardlimit", at + 8, 8, Kind::Number);
                object.field("dqb_curinodes", at + 24, 8, Kind::Number);
                object.field("dqb_bhardlimit", at + 32, 8, Kind::Number);
                object.field("dqb_curspace", at + 48, 8, Kind::Number);
            }
            objects_of_tree.push(object);
        }
    }
    objects.push(info);
    objects.extend(objects_of_tree);
}
