// SPDX-License-Identifier: GPL-2.0

//! Blocks of sound filesystems, in the form in which [`any`](crate::any) takes them: what a fuzzer begins with.

use notblk_format::acl;
use notblk_format::inode::{FL_INDEX, S_IFDIR};
use notblk_hostile::base::BASES;
use notblk_hostile::layout::Layout;
use notblk_hostile::make::make;
use std::path::Path;
use std::process::Command;

/// A program of e2fsprogs, which live outside an ordinary user's search path.
pub fn tool(name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(Into::into))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file());
    // Without it the error is that there is no such program.
    let mut command = Command::new(found.unwrap_or_else(|| name.into()));
    command.env("LC_ALL", "C");
    command
}

/// What [`any`](crate::any)'s properties begin with, by their names. Images are made in `dir`.
pub fn all(dir: &Path) -> Result<Vec<(&'static str, Vec<u8>)>, String> {
    let mut seeds = Vec::new();
    for base in BASES {
        let dir = dir.join(base.name);
        std::fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
        let image = make(base, &dir, &tool)?;
        let layout = Layout::new(&image)?;
        of_image(&layout, &mut seeds);
    }
    let entries = [
        (acl::USER_OBJ, 0),
        (acl::USER, 7),
        (acl::GROUP_OBJ, 0),
        (acl::MASK, 0),
        (acl::OTHER, 0),
    ];
    let entries = entries.map(|(tag, id)| acl::Entry { tag, perm: 6, id });
    let mut value = vec![0; acl::size(entries.len())];
    if acl::encode(entries.into_iter(), &mut value).is_some() {
        seeds.push(("acl", value));
    }
    seeds.push(("indirect", vec![0, 0, 1, 1, 0]));
    seeds.push((
        "bitmap",
        [&[1, 0, 40, 0, 3, 0], [0x0f; 24].as_slice()].concat(),
    ));
    seeds.push(("orphans", vec![1, 2, 3, 4, 0]));
    seeds.push(("number", b"0x1f\n".to_vec()));
    Ok(seeds)
}

fn of_image(layout: &Layout<'_>, seeds: &mut Vec<(&'static str, Vec<u8>)>) {
    let image = layout.image;
    let geo = &layout.geo;
    let size = layout.block_size();
    // CAST: images have a few MiB.
    let device = (image.len() / 1024) as u32;
    if let Some(raw) = image.get(1024..2048) {
        seeds.push(("superblock", [&device.to_le_bytes(), raw].concat()));
    }
    if geo.block_size() == 1024 && geo.blocks_per_group() == 256 {
        let shape = [0, 3, 2, 0, 1, 0, 7, 0];
        let table = image.get(2048..2048 + 8 * 32).unwrap_or_default();
        seeds.push(("group", [&shape, table].concat()));
    }
    let code = match size {
        1024 => 0,
        4096 => 5,
        _ => 7,
    };
    // A name, then what else is wanted.
    let name = [3, b'n', b'e', b'w'];
    for ino in layout.inodes() {
        let Some((inode, at)) = layout.inode(ino) else {
            continue;
        };
        let inode_size = usize::from(geo.inode_size());
        seeds.push((
            "inode",
            image
                .get(at..at + inode_size.min(160))
                .unwrap_or_default()
                .to_vec(),
        ));
        if let Some(body) = image
            .get(at + 160..at + inode_size)
            .filter(|body| body.starts_with(&[0, 0, 2, 0xea]))
        {
            // Behind the magic number.
            let quarter = (body.len() / 4 - 1) as u8;
            let head = [&[quarter, 1], name.as_slice(), &[9, 0, b'v']].concat();
            seeds.push(("attribute_body", [&head, &body[4..]].concat()));
        }
        let block = layout.at(inode.file_acl.get());
        if let Some(block) = image
            .get(block..block + size)
            .filter(|_| inode.file_acl.get() != 0 && size <= 4096)
        {
            let head = [&[u8::from(size == 1024), 1], name.as_slice(), &[9, 0, b'v']].concat();
            seeds.push(("attribute_block", [&head, block].concat()));
        }
        if inode.file_type() != S_IFDIR || size > 4096 {
            continue;
        }
        for &(number, block) in layout.map(&inode).data.iter().take(8) {
            let at = layout.at(block);
            let block = image.get(at..at + size).unwrap_or_default();
            seeds.push((
                "directory",
                [&[code], name.as_slice(), &[0; 8], block].concat(),
            ));
            seeds.push(("split", [&[code, 1], block].concat()));
            if inode.flags.get() & FL_INDEX != 0 && number < 2 {
                seeds.push((
                    "index",
                    [&[code, 200, 0, 0, 0, 0, 0, 0x40, 9, 0, 0, 0], block].concat(),
                ));
            }
        }
    }
}
