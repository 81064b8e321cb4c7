// SPDX-License-Identifier: GPL-2.0

//! Makes a sound image, by e2fsprogs and a few bytes of our own.

use crate::base::{Base, Extra, Node, ORPHANS, SHARING};
use crate::layout::{get, Layout};
use notblk_format::acl;
use notblk_format::dir::{self, DirLayout};
use notblk_format::inode::{RawInode, ROOT_INO};
use notblk_format::superblock::{OFF_LAST_ORPHAN, SUPERBLOCK_OFFSET};
use notblk_format::xattr::{
    Area, Name, Place, RawHeader, INDEX_POSIX_ACL_ACCESS, INDEX_POSIX_ACL_DEFAULT,
};
use std::fs::{self, File};
use std::io;
use std::mem::offset_of;
use std::os::unix::fs::{symlink, FileExt};
use std::path::Path;
use std::process::Command;

/// The time in all of its timestamps that e2fsprogs makes: the same image each time, but for the times of files.
const TIME: &str = "1700000000";
/// What every image is called.
const UUID: &str = "6e6f7462-6c6b-4d61-8a67-65732e2e2e2e";

/// Makes the image in a directory of its own, which must be on a filesystem with sparse files.
///
/// `find` says where a program of e2fsprogs is.
pub fn make(base: &Base, dir: &Path, find: &dyn Fn(&str) -> Command) -> Result<Vec<u8>, String> {
    let tree = dir.join("tree");
    plant(base, &tree).map_err(|error| format!("{}: {error}", tree.display()))?;
    let image = dir.join("image");
    let run = |program: &str, arguments: &[&str], good: &[i32]| {
        let mut command = find(program);
        command.env("E2FSPROGS_FAKE_TIME", TIME).args(arguments);
        let output = command
            .output()
            .map_err(|error| format!("{program}: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        match output.status.code() {
            Some(code) if good.contains(&code) => Ok((text, error)),
            code => Err(format!(
                "{program} {arguments:?} ended with {code:?}: {text}{error}"
            )),
        }
    };
    let path = |path: &Path| path.display().to_string();
    let block_size = base.block_size.to_string();
    let size = format!("{}k", base.kib);
    let (tree, image) = (path(&tree), path(&image));
    let mut arguments = vec![
        "-q",
        "-F",
        "-t",
        "ext2",
        "-b",
        &block_size,
        "-U",
        UUID,
        "-d",
        &tree,
    ];
    let hash_seed = format!("root_owner=0:0,hash_seed={UUID}");
    arguments.extend(["-E", &hash_seed]);
    arguments.extend(base.mke2fs);
    arguments.extend([image.as_str(), size.as_str()]);
    run("mke2fs", &arguments, &[0])?;
    let debugfs = |commands: &[String]| -> Result<(), String> {
        let script = dir.join("script");
        fs::write(&script, commands.join("\n")).map_err(|error| error.to_string())?;
        let (_, error) = run("debugfs", &["-w", "-f", &path(&script), &image], &[0])?;
        match error.lines().all(|line| line.starts_with("debugfs 1.")) {
            true => Ok(()),
            false => Err(format!("debugfs: {error}")),
        }
    };
    debugfs(&base.script())?;
    // Indexes directories, and counts what debugfs has not counted.
    run("e2fsck", &["-fyD", &image], &[0, 1])?;
    let read = || fs::read(&image).map_err(|error| format!("{image}: {error}"));
    let mut bytes = read()?;
    if base.extra == Extra::Orphans {
        let numbers = ORPHANS.map(|name| number(&bytes, name));
        debugfs(&ORPHANS.map(|name| format!("unlink /{name}"))[..2])?;
        bytes = read()?;
        orphans(&mut bytes, numbers).ok_or("the orphans are not where they should be")?;
    }
    if base.extra != Extra::Original {
        attributes(&mut bytes).ok_or("the attributes are not where they should be")?;
    }
    if base.extra == Extra::Quota {
        // Counts the blocks of attributes, too.
        fs::write(&image, &bytes).map_err(|error| format!("{image}: {error}"))?;
        run("e2fsck", &["-fy", &image], &[0, 1])?;
        bytes = read()?;
    }
    Ok(bytes)
}

/// Makes the files and directories.
fn plant(base: &Base, tree: &Path) -> io::Result<()> {
    fs::create_dir_all(tree)?;
    for node in base.nodes() {
        match node {
            Node::Dir(name) => fs::create_dir(tree.join(name))?,
            Node::Link(name, of) => fs::hard_link(tree.join(of), tree.join(name))?,
            Node::Symlink(name, target) => symlink(target, tree.join(name))?,
            Node::File(name, pieces) => {
                let file = File::create(tree.join(name))?;
                for (at, len) in pieces {
                    file.write_all_at(&vec![b'd'; len], at)?;
                }
            }
        }
    }
    Ok(())
}

/// The inode of a name in the root directory.
fn number(image: &[u8], name: &str) -> Option<u32> {
    let layout = Layout::new(image).ok()?;
    let (root, _) = layout.inode(ROOT_INO)?;
    let dir_layout = DirLayout {
        block_size: layout.geo.block_size(),
        inodes_count: layout.geo.inodes_count(),
        filetype: layout.geo.has_filetype(),
    };
    layout.map(&root).data.iter().find_map(|&(_, block)| {
        let at = layout.at(block);
        let bytes = image.get(at..at.checked_add(layout.block_size())?)?;
        let found = dir::find(bytes, &dir_layout, name.as_bytes()).ok()??;
        Some(found.entry.inode)
    })
}

/// Where an inode is.
fn inode_at(image: &[u8], ino: u32) -> Option<usize> {
    Some(Layout::new(image).ok()?.inode(ino)?.1)
}

fn put(image: &mut [u8], at: usize, bytes: &[u8]) -> Option<()> {
    image
        .get_mut(at..at.checked_add(bytes.len())?)?
        .copy_from_slice(bytes);
    Some(())
}

/// Puts inodes on the orphan list, each with the next one in its time of deletion; the last still has its name.
fn orphans(image: &mut [u8], numbers: [Option<u32>; 3]) -> Option<()> {
    let [first, second, last] = numbers;
    let (first, second, last) = (first?, second?, last?);
    for (ino, next, links) in [(first, second, 0_u16), (second, last, 0), (last, 0, 1)] {
        let at = inode_at(image, ino)?;
        put(image, at + offset_of!(RawInode, dtime), &next.to_le_bytes())?;
        put(
            image,
            at + offset_of!(RawInode, links_count),
            &links.to_le_bytes(),
        )?;
    }
    // It is to be cut in its ninth block.
    let at = inode_at(image, last)? + offset_of!(RawInode, size_lo);
    let block_size = Layout::new(image).ok()?.geo.block_size();
    put(image, at, &(8 * block_size + 100).to_le_bytes())?;
    // CAST: 1024.
    put(
        image,
        SUPERBLOCK_OFFSET as usize + OFF_LAST_ORPHAN,
        &first.to_le_bytes(),
    )
}

/// Has a second file share a block of attributes, and puts ACLs into one.
fn attributes(image: &mut [u8]) -> Option<()> {
    let (one, two) = (number(image, SHARING[0])?, number(image, SHARING[1])?);
    let (at, to) = (inode_at(image, one)?, inode_at(image, two)?);
    let raw: RawInode = get(image, at)?;
    let block = raw.file_acl;
    if block.get() == 0 {
        return None;
    }
    put(
        image,
        to + offset_of!(RawInode, file_acl),
        &block.get().to_le_bytes(),
    )?;
    put(
        image,
        to + offset_of!(RawInode, blocks_lo),
        &raw.blocks_lo.get().to_le_bytes(),
    )?;
    let layout = Layout::new(image).ok()?;
    let (at, size) = (layout.at(block.get()), layout.block_size());
    put(
        image,
        at + offset_of!(RawHeader, refcount),
        &2_u32.to_le_bytes(),
    )?;

    // The attributes of these two have room in their blocks.
    let entries = [
        (acl::USER_OBJ, 6, 0),
        (acl::USER, 4, 7),
        (acl::GROUP_OBJ, 4, 0),
        (acl::MASK, 4, 0),
        (acl::OTHER, 0, 0),
    ];
    let entries = entries.map(|(tag, perm, id)| acl::Entry { tag, perm, id });
    let mut value = vec![0; acl::size(entries.len())];
    let len = acl::encode(entries.into_iter(), &mut value)?;
    let value = value.get(..len)?;
    for (name, index) in [
        ("indirect", INDEX_POSIX_ACL_ACCESS),
        (SHARING[0], INDEX_POSIX_ACL_DEFAULT),
    ] {
        let at = inode_at(image, number(image, name)?)?;
        let block = get::<RawInode>(image, at)?.file_acl.get();
        let at = Layout::new(image).ok()?.at(block);
        let bytes = image.get_mut(at..at.checked_add(size)?)?;
        let mut area = Area::parse(bytes, Place::Block).ok()?;
        area.set(Name { index, rest: b"" }, value).ok()?;
    }
    Some(())
}
