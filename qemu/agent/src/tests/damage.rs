// SPDX-License-Identifier: GPL-2.0
//! Damaged filesystems: an error and a line in the log, never a warning, an oops or a hang.

use super::env::{fails, fails_somehow, Env};
use super::{test, Test};
use crate::fs::{self, debugfs, tool, DISK, MNT};
use anyhow::{anyhow, ensure, Context, Result};
use std::fs::{self as file, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        test("damage/superblock", superblock).damages(),
        test("damage/group-descriptors", group_descriptors).damages(),
        test("damage/truncated-device", truncated_device).damages(),
        test("damage/block-pointers", block_pointers).damages(),
        test("damage/indirect-blocks", indirect_blocks).damages(),
        test("damage/inodes", inodes).damages(),
        test("damage/inodes-too-much", inodes_too_much).damages(),
        test("damage/root", root).damages(),
        test("damage/unread-bitmap", unread_bitmap).damages(),
        test("damage/directories", directories).damages(),
        test("damage/one-entry", one_entry).block(1024).damages(),
        test("damage/one-entry-of-a-list", one_entry_of_a_list)
            .block(1024)
            .damages(),
        test("damage/directory-cycle", directory_cycle).damages(),
        test("damage/names-itself", names_itself).damages(),
        test("damage/shared-blocks", shared_blocks).damages(),
        test("damage/bitmaps", bitmaps).damages(),
        test("damage/free-counts", free_counts)
            .block(1024)
            .damages(),
    ]
}

/// Where the superblock is.
const SUPERBLOCK: u64 = 1024;

/// The disk, unmounted, to be changed.
pub(super) fn disk() -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(DISK)
        .context("open the disk")
}

/// Overwrites bytes of the disk.
fn patch(offset: u64, bytes: &[u8]) -> Result<()> {
    let disk = disk()?;
    disk.write_all_at(bytes, offset)?;
    disk.sync_all().context("sync the disk")
}

/// The block numbers of a file, metadata included, as debugfs lists them.
fn blocks_of(path: &str) -> Result<Vec<u64>> {
    debugfs(&format!("blocks {path}"))?
        .lines()
        .filter(|line| !line.starts_with("debugfs"))
        .flat_map(str::split_whitespace)
        .map(|word| word.parse().with_context(|| format!("not a block: {word}")))
        .collect()
}

/// Fields of the superblock with values that no driver may believe.
fn superblock(env: &Env) -> Result<()> {
    let huge = u32::MAX.to_le_bytes();
    let zero = [0; 4];
    let cases: &[(&str, u64, &[u8])] = &[
        ("magic", 0x38, &[0, 0]),
        ("log_block_size", 0x18, &[20, 0, 0, 0]),
        ("log_block_size, huge", 0x18, &huge),
        ("inodes_count", 0x00, &zero),
        ("blocks_count beyond the device", 0x04, &huge),
        ("blocks_per_group", 0x20, &zero),
        ("blocks_per_group, huge", 0x20, &huge),
        ("inodes_per_group", 0x28, &zero),
        ("inodes_per_group, huge", 0x28, &huge),
        ("inode_size", 0x58, &[100, 0]),
        ("inode_size, zero", 0x58, &[0, 0]),
        ("inode_size, huge", 0x58, &[0, 0x80]),
        ("first_data_block", 0x14, &huge),
    ];
    for (what, offset, bytes) in cases {
        let mut before = vec![0; bytes.len()];
        disk()?.read_exact_at(&mut before, SUPERBLOCK + offset)?;
        patch(SUPERBLOCK + offset, bytes)?;
        let place = env.guest.kmsg.settle()?;
        for options in ["", "ro"] {
            let result = fs::try_mount(env.driver().name(), DISK, MNT, options);
            ensure!(result.is_err(), "{what}: mounted with {options:?}");
        }
        env.complains(place, what)?;
        patch(SUPERBLOCK + offset, &before)?;
    }
    // And repaired, it mounts.
    env.mount("")?.end()
}

/// Pointers of a group descriptor to places outside the filesystem, or on top of each other.
fn group_descriptors(env: &Env) -> Result<()> {
    // With 4 KiB blocks the table is in block 1.
    let table = env.block();
    for (what, field) in [("block bitmap", 0), ("inode bitmap", 4), ("inode table", 8)] {
        for value in [0_u32, u32::MAX, 1 << 24] {
            let mut before = [0; 4];
            disk()?.read_exact_at(&mut before, table + field)?;
            patch(table + field, &value.to_le_bytes())?;
            let place = env.guest.kmsg.settle()?;
            let result = fs::try_mount(env.driver().name(), DISK, MNT, "");
            ensure!(result.is_err(), "{what} at {value:#x}: mounted");
            env.complains(place, what)?;
            patch(table + field, &before)?;
        }
    }
    env.mount("")?.end()
}

/// A superblock that claims more blocks than the device has.
fn truncated_device(env: &Env) -> Result<()> {
    // The scratch disk has 512 MiB; a group more than that, all else being right.
    let blocks = (512_u64 << 20) / env.block() + 32_768;
    patch(SUPERBLOCK + 4, &(blocks as u32).to_le_bytes())?;
    let result = fs::try_mount(env.driver().name(), DISK, MNT, "");
    ensure!(result.is_err(), "mounted beyond the end of the device");
    env.logged(&["vda"])
}

/// Makes a file, unmounts, and leaves it to be damaged.
fn with_file(env: &Env, name: &str, length: usize) -> Result<()> {
    let mounted = env.mount("")?;
    file::write(env.path(name), vec![0x77; length])?;
    mounted.end()
}

/// A file whose block pointers lead outside.
fn block_pointers(env: &Env) -> Result<()> {
    let block = env.block() as usize;
    with_file(env, "file", 20 * block)?;
    with_file(env, "good", 20 * block)?;
    debugfs("sif /file block[1] 0xfffffff0")?;
    let mounted = env.mount("")?;
    let place = env.guest.kmsg.settle()?;
    fails_somehow(
        file::read(env.path("file")),
        "reading through a pointer to nowhere",
    )?;
    env.complains(place, "a pointer to nowhere")?;
    // A driver may refuse the inode as a whole.
    if let Ok(direct) = fs::open_direct(env.path("file")) {
        let mut data = crate::buf::Buffer::new(block);
        fails_somehow(direct.read_at(&mut data, block as u64), "a direct read")?;
        fails_somehow(direct.write_at(&data, block as u64), "a direct write")?;
    }
    ensure!(
        file::read(env.path("good"))?.len() == 20 * block,
        "the other file suffers"
    );
    // Whether removing it succeeds is the driver's choice; surviving it is not.
    let _ = file::remove_file(env.path("file"));
    mounted.end()
}

/// Indirect pointers that lead outside, at each level, and indirect blocks full of rubbish.
fn indirect_blocks(env: &Env) -> Result<()> {
    let block = env.block() as usize;
    with_file(env, "pointer", 20 * block)?;
    with_file(env, "rubbish", 20 * block)?;
    with_file(env, "double", (12 + block / 4 + 4) * block)?;
    debugfs("sif /pointer block[IND] 0xfffffff0")?;
    debugfs("sif /double block[DIND] 0xfffffff0")?;
    // Of a file's blocks the 13th is its indirect one.
    let indirect = blocks_of("/rubbish")?[12];
    patch(indirect * env.block(), &vec![0xff; block])?;
    let mounted = env.mount("")?;
    for name in ["pointer", "rubbish", "double"] {
        let place = env.guest.kmsg.settle()?;
        fails_somehow(file::read(env.path(name)), name)?;
        env.complains(place, name)?;
        if let Ok(handle) = fs::open_buffered(env.path(name)) {
            let mut first = [0; 8];
            handle
                .read_exact_at(&mut first, 0)
                .with_context(|| format!("the sound part of {name}"))?;
        }
        let _ = file::remove_file(env.path(name));
    }
    mounted.end()
}

/// Inodes that cannot be.
fn inodes(env: &Env) -> Result<()> {
    for name in ["mode", "links", "size", "beyond"] {
        with_file(env, name, 5000)?;
    }
    debugfs("sif /mode mode 0170644")?;
    debugfs("sif /links links_count 0")?;
    debugfs("sif /size size 0x7fffffffffffffff")?;
    // An entry for an inode that the filesystem does not have.
    let root = blocks_of("/")?[0];
    let mut entries = vec![0; env.block() as usize];
    disk()?.read_exact_at(&mut entries, root * env.block())?;
    let at = entries
        .windows(6)
        .position(|window| window == b"beyond")
        .context("no entry in the root directory")?;
    patch(root * env.block() + at as u64 - 8, &u32::MAX.to_le_bytes())?;
    let mounted = env.mount("")?;
    for name in ["mode", "links", "beyond"] {
        let place = env.guest.kmsg.settle()?;
        fails_somehow(file::metadata(env.path(name)), name)?;
        // What is deleted already may be passed over in silence: ESTALE is an answer.
        if name != "links" {
            env.complains(place, name)?;
        }
    }
    // Too large a size is refused or leads to an end of the file; either way reading ends.
    if let Ok(handle) = File::open(env.path("size")) {
        let mut data = [0; 4096];
        let _ = handle.read_at(&mut data, 1 << 44);
        let _ = handle.read_at(&mut data, i64::MAX as u64 - 8192);
    }
    mounted.end()
}

/// Inodes that ext4 does not take for any: larger than the format allows, or symlinks with flags that none can have, or of no length.
/// And a directory without blocks is not empty.
fn inodes_too_much(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let links = ["immutable", "append", "nothing"];
    for name in links {
        std::os::unix::fs::symlink("target", env.path(name))?;
    }
    file::write(env.path("long"), b"long")?;
    file::create_dir(env.path("dir"))?;
    mounted.end()?;
    debugfs("sif /immutable flags 0x10")?;
    debugfs("sif /append flags 0x20")?;
    debugfs("sif /nothing size 0")?;
    debugfs("sif /long size 0x7fffffffffff")?;
    debugfs("sif /dir size 0")?;
    let mounted = env.mount("errors=continue")?;
    for name in links.iter().chain(&["long"]) {
        fails(file::symlink_metadata(env.path(name)), libc::EUCLEAN, name)?;
    }
    // Either way it cannot be removed: some refuse the inode as such.
    match file::remove_dir(env.path("dir")) {
        Err(error) => ensure!(
            matches!(
                error.raw_os_error(),
                Some(libc::ENOTEMPTY | libc::EUCLEAN | libc::ENOENT)
            ),
            "rmdir of a directory without blocks: {error}"
        ),
        Ok(()) => anyhow::bail!("a directory without blocks was removed"),
    }
    mounted.end()
}

/// A root that is none.
fn root(env: &Env) -> Result<()> {
    for (what, command, undo) in [
        ("a file", "sif <2> mode 0100755", "sif <2> mode 040755"),
        ("of no blocks", "sif <2> blocks 0", "sif <2> blocks 8"),
        ("of no length", "sif <2> size 0", "sif <2> size 4096"),
    ] {
        debugfs(command)?;
        let result = fs::try_mount(env.driver().name(), DISK, MNT, "");
        fails(super::env::errno(result), libc::EUCLEAN, what)?;
        debugfs(undo)?;
    }
    env.mount("")?.end()
}

/// Blocks cannot be given back, for their bitmap cannot be read: the file is shorter all the same, and the superblock tells e2fsck
/// that something is left.
fn unread_bitmap(env: &Env) -> Result<()> {
    /// Where the second group begins, with 1 KiB blocks.
    const GROUP: u64 = 8193 * 1024;
    let disk = super::durable::Disk::new()?;
    let path = disk.path();
    tool("mke2fs", &["-q", "-F", "-t", "ext2", "-b", "1024", &path])?;
    let mounted = fs::Mounted::new(env.driver(), &path, MNT, "")?;
    file::write(env.path("file"), [2; 12 << 10])?;
    mounted.end()?;
    // Half of its blocks, to which no indirect one leads, come to lie in the second group.
    let blocks = disk.blocks_of("/file")?;
    ensure!(blocks.len() == 12, "blocks {blocks:?}");
    for (number, old) in blocks.iter().enumerate().skip(6) {
        let new = 12_000 + number;
        for command in [
            format!("freeb {old}"),
            format!("setb {new}"),
            format!("sif /file block[{number}] {new}"),
        ] {
            tool("debugfs", &["-w", "-R", &command, &path])?;
        }
    }
    // The counts.
    let (code, text) = fs::tool_code("e2fsck", &["-fy", &path])?;
    ensure!(code <= 1, "e2fsck -fy ended with {code}: {text}");
    let mounted = fs::Mounted::new(env.driver(), &path, MNT, "errors=continue")?;
    let handle = fs::open_buffered(env.path("file"))?;
    rustix::fs::sync();
    rustix::fs::fadvise(&File::open(&path)?, 0, None, rustix::fs::Advice::DontNeed)?;
    let rest = disk.cut_off(GROUP)?;
    handle.set_len(0).context("a file becomes shorter")?;
    let length = handle.metadata()?;
    ensure!(length.len() == 0, "{} bytes", length.len());
    // The C driver says it in other words.
    if env.driver() == notblk_protocol::Driver::Notblk {
        env.logged(&["not freed"])?;
    }
    disk.restore(GROUP, &rest)?;
    handle.write_all_at(b"new", 0)?;
    drop(handle);
    mounted.end()?;
    ensure!(
        fs::recorded(&path)?.is_some(),
        "the superblock knows of no error"
    );
    let (code, text) = fs::tool_code("e2fsck", &["-fy", &path])?;
    ensure!(code <= 1, "e2fsck -fy ended with {code}: {text}");
    disk.end()
}

/// Directory blocks that cannot be.
fn directories(env: &Env) -> Result<()> {
    let cases: &[(&str, u64, &[u8])] = &[
        // Of the third entry, which follows `.` and `..`: at byte 24.
        ("rec-len-zero", 28, &[0, 0]),
        ("rec-len-short", 28, &[4, 0]),
        ("rec-len-odd", 28, &[13, 0]),
        ("rec-len-long", 28, &[0xf0, 0xff]),
        ("name-len", 30, &[0xff]),
    ];
    let mounted = env.mount("")?;
    for (name, _, _) in cases {
        file::create_dir(env.path(name))?;
        for number in 0..5 {
            file::write(env.path(format!("{name}/file-{number}")), b"")?;
        }
    }
    mounted.end()?;
    for (name, offset, bytes) in cases {
        let block = blocks_of(&format!("/{name}"))?[0];
        patch(block * env.block() + offset, bytes)?;
    }
    let mounted = env.mount("")?;
    for (name, _, _) in cases {
        let place = env.guest.kmsg.settle()?;
        // An error, or the entries before the damage: but an end, not a circle.
        let listed =
            file::read_dir(env.path(name)).map(|entries| entries.take(100).collect::<Vec<_>>());
        if let Ok(entries) = &listed {
            ensure!(entries.len() < 100, "{name}: readdir goes round in circles");
        }
        // A lookup may find what it looks for behind an entry of which only the name is too long.
        let found = file::metadata(env.path(name).join("file-4"));
        ensure!(
            found.is_err() || *name == "name-len",
            "{name}: a lookup went past it"
        );
        env.complains(place, name)?;
        fails_somehow(
            file::remove_dir(env.path(name)),
            "rmdir of a damaged directory",
        )?;
    }
    mounted.end()
}

/// Names in a directory of several blocks.
const NAMES: usize = 300;

fn name_of(number: usize) -> String {
    format!("a-name-that-takes-some-room-{number}")
}

/// Makes a directory of them, and damages one entry of one of its blocks, behind some others; `prepare` has a say before.
fn damage_one(env: &Env, prepare: impl FnOnce() -> Result<()>) -> Result<()> {
    let mounted = env.mount("")?;
    file::create_dir(env.path("dir"))?;
    for number in 0..NAMES {
        File::create(env.path("dir").join(name_of(number)))?;
    }
    mounted.end()?;
    prepare()?;
    let block = *blocks_of("/dir")?.get(2).context("too few blocks")?;
    let mut bytes = vec![0; 1024];
    disk()?.read_exact_at(&mut bytes, block * env.block())?;
    // The fourth entry's inode number.
    let mut at = 0;
    for _ in 0..3 {
        at += usize::from(u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]));
    }
    patch(
        block * env.block() + at as u64,
        &0xffff_fff0_u32.to_le_bytes(),
    )
}

/// One entry of an indexed directory is damaged: the names of other blocks are found, whatever was asked before, and new ones can
/// be made.
fn one_entry(env: &Env) -> Result<()> {
    damage_one(env, || Ok(()))?;
    let mounted = env.mount("errors=continue")?;
    let dir = env.path("dir");
    for turn in 0..2 {
        let lost = (0..NAMES)
            .filter(|&number| file::symlink_metadata(dir.join(name_of(number))).is_err())
            .count();
        ensure!(
            (1..30).contains(&lost),
            "turn {turn}: {lost} of {NAMES} names are not found"
        );
    }
    let made = (0..20)
        .filter(|number| File::create(dir.join(format!("new-{number}"))).is_ok())
        .count();
    ensure!(made > 5, "{made} of 20 new names could be made");
    mounted.end()?;
    let listing = debugfs("stat /dir")?;
    ensure!(
        listing.contains("Flags: 0x1000"),
        "the index was given up: {listing}"
    );
    Ok(())
}

/// The same in a directory without an index: who lists it gets the names behind the damaged block too, and no error.
fn one_entry_of_a_list(env: &Env) -> Result<()> {
    damage_one(env, || debugfs("set_inode_field /dir flags 0").map(drop))?;
    let mounted = env.mount("errors=continue")?;
    let place = env.guest.kmsg.settle()?;
    let entries = file::read_dir(env.path("dir"))?;
    let names: Vec<_> = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<std::io::Result<_>>()
        .context("readdir")?;
    let mut one_each = names.clone();
    one_each.sort();
    one_each.dedup();
    ensure!(one_each.len() == names.len(), "a name comes twice");
    ensure!(
        (NAMES - 30..NAMES).contains(&names.len()),
        "{} of {NAMES} names are listed",
        names.len()
    );
    env.complains(place, "readdir")?;
    mounted.end()
}

/// A directory that contains its own ancestor.
fn directory_cycle(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    file::create_dir_all(env.path("a/b"))?;
    mounted.end()?;
    debugfs("link /a /a/b/up")?;
    let mounted = env.mount("")?;
    fails_somehow(
        file::metadata(env.path("a/b/up")),
        "a directory below itself",
    )?;
    let _ = file::rename(env.path("a"), env.path("a/b/up/x"));
    let _ = file::remove_dir(env.path("a/b/up"));
    mounted.end()
}

/// A directory with an entry for itself: whoever comes by it is told, and no rename makes a loop.
fn names_itself(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    file::create_dir(env.path("a"))?;
    file::create_dir(env.path("b"))?;
    mounted.end()?;
    debugfs("link /a /a/self")?;
    let mounted = env.mount("errors=continue")?;
    let (itself, damaged) = (env.path("a/self"), libc::EUCLEAN);
    fails(file::metadata(&itself), damaged, "stat")?;
    fails(
        file::rename(&itself, env.path("b/x")),
        damaged,
        "rename from there",
    )?;
    fails(
        file::rename(env.path("b"), itself.join("x")),
        damaged,
        "rename below it",
    )?;
    fails(
        file::rename(env.path("a"), itself.join("x")),
        damaged,
        "rename below itself",
    )?;
    fails(file::remove_dir(&itself), damaged, "rmdir")?;
    env.logged(&["vda", "error"])?;
    file::rename(env.path("b"), env.path("a/b")).context("a name beside it")?;
    mounted.end()
}

/// An indirect block that lists itself, and one block in two files: freed once, then complained of.
fn shared_blocks(env: &Env) -> Result<()> {
    let block = env.block() as usize;
    with_file(env, "self", 20 * block)?;
    with_file(env, "one", 4 * block)?;
    with_file(env, "two", 4 * block)?;
    let indirect = blocks_of("/self")?[12];
    patch(indirect * env.block() + 8, &(indirect as u32).to_le_bytes())?;
    let first = blocks_of("/one")?[0];
    debugfs(&format!("sif /two block[0] {first}"))?;
    let mounted = env.mount("")?;
    let place = env.guest.kmsg.settle()?;
    let _ = file::read(env.path("self"));
    for name in ["self", "one", "two"] {
        let _ = file::remove_file(env.path(name));
    }
    rustix::fs::sync();
    env.complains(place, "blocks freed twice")?;
    // Unmounting may fail to write what an error made read-only, but it ends.
    mounted.end()
}

/// Bitmaps that call everything free: what is in use must not be handed out in silence.
fn bitmaps(env: &Env) -> Result<()> {
    with_file(env, "file", 100_000)?;
    let mut table = [0; 8];
    disk()?.read_exact_at(&mut table, env.block())?;
    let block_bitmap = u32::from_le_bytes([table[0], table[1], table[2], table[3]]);
    patch(
        u64::from(block_bitmap) * env.block(),
        &vec![0; env.block() as usize],
    )?;
    let mounted = env.mount("")?;
    let place = env.guest.kmsg.settle()?;
    // The bitmap does not even hold itself: allocating from its group is an error.
    let _ = file::write(env.path("new"), vec![1; 500_000]);
    rustix::fs::sync();
    env.complains(place, "an empty bitmap")?;
    mounted.end()
}

/// Group descriptors that promise a block where the bitmap has none. Who looks for one gives up after a look at each, even if names
/// go all the time meanwhile: what they free is no block.
fn free_counts(env: &Env) -> Result<()> {
    const GROUPS: u64 = 256;
    const TIMES: u32 = 20;
    const MOST: Duration = Duration::from_secs(20);
    let format = "-q -F -t ext2 -O ^resize_inode -b 1024 -g 256 -N 4096 -m 0";
    let mut args: Vec<_> = format.split(' ').collect();
    args.extend([DISK, "64M"]);
    tool("mke2fs", &args)?;
    let mounted = env.mount("")?;
    let filler = File::create(env.path("filler"))?;
    let chunk = [1; 1 << 16];
    let full = (0..)
        .map(|n| filler.write_at(&chunk, n << 16))
        .find(Result::is_err);
    fails(full.context("endless")?, libc::ENOSPC, "fill")?;
    drop(filler);
    mounted.end()?;
    for group in 0..GROUPS {
        // The table begins in block 2, and has 32 bytes for each.
        patch(2 * env.block() + 32 * group + 12, &1_u16.to_le_bytes())?;
    }

    let mounted = env.mount("errors=continue")?;
    let place = env.guest.kmsg.settle()?;
    let file = File::create(env.path("file"))?;
    let refused = || {
        let begun = Instant::now();
        for _ in 0..TIMES {
            let result = file.write_at(&[2; 1024], 0).and_then(|_| file.sync_all());
            fails(result, libc::ENOSPC, "write")?;
        }
        Ok::<_, anyhow::Error>(begun.elapsed())
    };
    let alone = refused()?;
    let stop = AtomicBool::new(false);
    let name = env.path("name");
    let (names, among) = thread::scope(|scope| {
        let unlinker = scope.spawn(|| {
            let begun = Instant::now();
            let mut names = 0;
            while begun.elapsed() < MOST && !stop.load(Relaxed) {
                File::create(&name)?;
                file::remove_file(&name)?;
                names += 1;
            }
            Ok::<_, anyhow::Error>(names)
        });
        let among = refused();
        stop.store(true, Relaxed);
        let names = unlinker.join();
        let names = names.map_err(|_| anyhow!("the unlinker panicked"))??;
        Ok::<_, anyhow::Error>((names, among?))
    })?;
    drop(file);
    env.note(format!(
        "{TIMES} writes refused in {alone:?} alone, in {among:?} while {names} names came and went"
    ));
    env.complains(place, "blocks that no bitmap has")?;
    ensure!(
        among < alone * 4 + MOST / 10,
        "{TIMES} writes were refused in {alone:?} alone, in {among:?} while names came and went"
    );
    mounted.end()
}
