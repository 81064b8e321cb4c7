// SPDX-License-Identifier: GPL-2.0

//! A cpio archive in the form that the kernel unpacks ("newc").

use std::collections::BTreeMap;
use std::io::Write;

use ::cpio::newc;
use anyhow::Result;

/// What one path holds.
enum Item {
    Directory,
    File { mode: u32, bytes: Vec<u8> },
    Symlink(String),
    CharacterDevice { major: u32, minor: u32 },
}

/// An archive being put together. Directories come by themselves.
#[derive(Default)]
pub struct Archive {
    // Sorted, and a directory sorts before what is in it: the order that unpacking needs.
    items: BTreeMap<String, Item>,
}

impl Archive {
    /// Adds a file.
    pub fn file(&mut self, path: &str, mode: u32, bytes: Vec<u8>) {
        self.add(path, Item::File { mode, bytes });
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) {
        self.add(path, Item::Symlink(target.to_owned()));
    }

    /// Adds a character device.
    pub fn character_device(&mut self, path: &str, major: u32, minor: u32) {
        self.add(path, Item::CharacterDevice { major, minor });
    }

    fn add(&mut self, path: &str, item: Item) {
        let path = path.trim_start_matches('/');
        for (end, _) in path.match_indices('/') {
            self.items
                .entry(path[..end].to_owned())
                .or_insert(Item::Directory);
        }
        self.items.insert(path.to_owned(), item);
    }

    /// The archive's bytes.
    pub fn finish(self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        for (number, (path, item)) in self.items.into_iter().enumerate() {
            let (mode, bytes, device) = match item {
                Item::Directory => (0o040_755, Vec::new(), (0, 0)),
                Item::File { mode, bytes } => (0o100_000 | mode, bytes, (0, 0)),
                Item::Symlink(target) => (0o120_777, target.into_bytes(), (0, 0)),
                Item::CharacterDevice { major, minor } => (0o020_600, Vec::new(), (major, minor)),
            };
            let builder = newc::Builder::new(&path)
                .ino(number as u32 + 1)
                .mode(mode)
                .nlink(1)
                .rdev_major(device.0)
                .rdev_minor(device.1);
            let mut writer = builder.write(&mut out, bytes.len() as u32);
            writer.write_all(&bytes)?;
            writer.finish()?;
        }
        newc::trailer(&mut out)?;
        // The kernel looks for the next archive at a multiple of four.
        out.resize(out.len().next_multiple_of(4), 0);
        Ok(out)
    }
}
