// SPDX-License-Identifier: GPL-2.0

//! Which sound filesystems there are, and what is in them.
//!
//! Small ones: an image is written anew before each mount, and what is changed at random should be something that matters.

/// A sound filesystem.
#[derive(Debug, Clone, Copy)]
pub struct Base {
    /// Its name.
    pub name: &'static str,
    /// Bytes per block.
    pub block_size: u32,
    /// Size of the image in KiB.
    pub kib: u32,
    /// More arguments for `mke2fs -t ext2`.
    pub mke2fs: &'static [&'static str],
    /// What it has beside what all have.
    pub extra: Extra,
}

/// What a base has that no other has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// Nothing.
    None,
    /// A directory whose index has two levels.
    Levels,
    /// Quotas with their files.
    Quota,
    /// Inodes on the orphan list: two without names, one that is too long.
    Orphans,
    /// It is of the original revision.
    Original,
}

/// All of them.
pub const BASES: &[Base] = &[
    Base {
        name: "plain-1k",
        block_size: 1024,
        kib: 1024,
        mke2fs: &["-I", "128", "-N", "64", "-O", "^dir_index,^resize_inode"],
        extra: Extra::None,
    },
    Base {
        name: "groups-1k",
        block_size: 1024,
        kib: 2048,
        mke2fs: &[
            "-I",
            "256",
            "-N",
            "128",
            "-g",
            "256",
            "-O",
            "^resize_inode,^meta_bg",
        ],
        extra: Extra::None,
    },
    Base {
        name: "index-1k",
        block_size: 1024,
        kib: 1536,
        mke2fs: &["-I", "256", "-N", "64"],
        extra: Extra::Levels,
    },
    Base {
        name: "plain-4k",
        block_size: 4096,
        kib: 2048,
        mke2fs: &["-I", "256", "-N", "64"],
        extra: Extra::None,
    },
    Base {
        name: "quota-1k",
        block_size: 1024,
        kib: 1024,
        mke2fs: &["-I", "256", "-N", "64", "-O", "quota"],
        extra: Extra::Quota,
    },
    Base {
        name: "orphans-1k",
        block_size: 1024,
        kib: 1024,
        mke2fs: &["-I", "256", "-N", "64"],
        extra: Extra::Orphans,
    },
    Base {
        name: "journal-1k",
        block_size: 1024,
        kib: 2560,
        mke2fs: &["-I", "256", "-N", "64", "-O", "has_journal", "-J", "size=1"],
        extra: Extra::None,
    },
    Base {
        name: "original-1k",
        block_size: 1024,
        kib: 1024,
        mke2fs: &["-I", "128", "-N", "64", "-O", "none"],
        extra: Extra::Original,
    },
    Base {
        name: "plain-64k",
        block_size: 65_536,
        kib: 4096,
        mke2fs: &["-I", "256", "-N", "256"],
        extra: Extra::None,
    },
];

/// The base of this name.
pub fn find(name: &str) -> Option<&'static Base> {
    BASES.iter().find(|base| base.name == name)
}

/// Something with a name, to be made in a directory which becomes the filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Dir(String),
    /// A file: where it has data, and how many bytes.
    File(String, Vec<(u64, usize)>),
    /// Another name of a file.
    Link(String, String),
    /// A symbolic link, and its target.
    Symlink(String, String),
}

/// The orphans of a base that has some, in the order of their list.
pub const ORPHANS: [&str; 3] = ["orphan-1", "orphan-2", "too-long"];
/// Files that share a block of attributes.
pub const SHARING: [&str; 2] = ["shared-1", "shared-2"];

impl Base {
    /// What is in it, parents before children.
    pub fn nodes(&self) -> Vec<Node> {
        let block = u64::from(self.block_size);
        let pointers = block / 4;
        // CAST: at most 64 KiB.
        let blocks = |count: usize| count * self.block_size as usize;
        let file = |name: &str, pieces: &[(u64, usize)]| Node::File(name.into(), pieces.to_vec());
        let mut nodes = vec![
            file("empty", &[]),
            file("small", &[(0, 100)]),
            file("direct", &[(0, blocks(3))]),
            file("indirect", &[(0, blocks(2)), (block * 11, blocks(3) + 17)]),
            file(
                "double",
                &[(0, 10), (block * (12 + pointers + 3), blocks(1))],
            ),
            file(SHARING[0], &[(0, 1)]),
            file(SHARING[1], &[(0, 1)]),
            file("default", &[]),
            Node::Link("link".into(), "direct".into()),
            Node::Symlink("fast".into(), "d/e/inner".into()),
            Node::Symlink("slow".into(), "x".repeat(200)),
            Node::Dir("d".into()),
            Node::Dir("d/e".into()),
            Node::Dir("d/e/f".into()),
            file("d/e/inner", &[(0, 300)]),
            Node::Dir("index".into()),
        ];
        if self.block_size <= 4096 {
            let far = block * (12 + pointers + pointers * pointers + 5);
            nodes.push(file("triple", &[(far, blocks(1))]));
        }
        // A directory of a few blocks, which is indexed where directories are.
        let count = if self.block_size > 4096 {
            12
        } else {
            blocks(4) / 96
        };
        let names = (0..count).map(|n| format!("index/{n:03}-{}", "n".repeat(80)));
        nodes.extend(names.map(|name| Node::Link(name, "small".into())));
        if self.extra == Extra::Levels {
            nodes.push(Node::Dir("levels".into()));
            // Four names in a block, and no more than 124 blocks under the root of an index.
            let names = (0..540).map(|n| format!("levels/{n:03}-{}", "l".repeat(240)));
            nodes.extend(names.map(|name| Node::Link(name, "small".into())));
        }
        if self.extra == Extra::Orphans {
            nodes.extend(ORPHANS.map(|name| file(name, &[(0, blocks(14))])));
        }
        nodes
    }

    /// What debugfs puts in beside: special files, attributes, owners.
    pub fn script(&self) -> Vec<String> {
        let mut script: Vec<String> = ["mknod fifo p", "mknod chr c 1 3", "mknod blk b 7 0"]
            .map(str::to_owned)
            .to_vec();
        if self.extra == Extra::Original {
            script.extend(
                ["ssv rev_level 0", "ssv inode_size 0", "ssv first_ino 0"].map(str::to_owned),
            );
            return script;
        }
        let set = |name: &str, key: &str, value: &str| format!("ea_set /{name} {key} {value}");
        let long = "v".repeat(180);
        script.extend([
            set("small", "user.short", "abc"),
            set("direct", "user.short", "abc"),
            set("direct", "user.long", &long),
            set("direct", "trusted.t", "tt"),
            set("direct", "security.s", "sss"),
            set("d", "user.of-a-directory", "d"),
            set("indirect", "user.one", &long),
            set("indirect", "user.two", &long),
            set("indirect", "user.three", "3"),
            set(SHARING[0], "user.shared", &"s".repeat(200)),
        ]);
        if self.extra == Extra::Quota {
            for (name, id) in [
                ("direct", 1000),
                ("indirect", 1000),
                ("double", 77),
                ("d", 1000),
            ] {
                script.push(format!("sif /{name} uid {id}"));
                script.push(format!("sif /{name} gid {id}"));
            }
        }
        script
    }

    /// Options that this filesystem may be mounted with, one set of them. Damage never makes the kernel panic, whatever the
    /// superblock says: a panic is a failure here.
    pub fn options(&self) -> &'static [&'static str] {
        const COMMON: &[&str] = &[
            "errors=continue",
            "errors=continue",
            "errors=continue",
            "errors=remount-ro",
            "ro,errors=continue",
            "errors=continue,discard,grpid",
        ];
        const QUOTA: &[&str] = &[
            "errors=continue,usrquota,grpquota",
            "errors=continue",
            "errors=remount-ro,usrquota",
            "ro,errors=continue",
        ];
        match self.extra {
            Extra::Quota => QUOTA,
            _ => COMMON,
        }
    }
}
