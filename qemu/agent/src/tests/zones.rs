// SPDX-License-Identifier: GPL-2.0
//! Pointers into the filesystem's own metadata: nothing reads, writes, frees or allocates it as if it were a file's.
//!
//! Where the C driver is let off, that is its choice: it checks the pointers in an indirect block when it reads it, with
//! `EIO`, but not those that lead to indirect blocks when it follows them; and with delayed allocation it does not check what
//! a write finds.

use super::damage::disk;
use super::env::{fails, Env};
use super::{test, Test};
use crate::attributes;
use crate::buf::Buffer;
use crate::fs::{self, tool, tool_code, DISK, MNT};
use crate::sys::ioctl::{trim, Trim};
use anyhow::{bail, ensure, Context, Result};
use notblk_protocol::Driver;
use std::fs::{self as file, File, OpenOptions};
use std::io;
use std::os::unix::fs::{symlink, FileExt, MetadataExt};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    // With 1 KiB blocks 64 MiB make eight groups.
    vec![
        test("zones/inodes", inodes).block(1024).damages(),
        test("zones/data", data).block(1024).damages(),
        test("zones/roots", roots).block(1024).damages(),
        test("zones/indirect", indirect).block(1024).damages(),
        test("zones/orphan", orphan).block(1024).damages(),
        test("zones/allocation", allocation)
            .block(1024)
            .mib(16)
            .damages(),
        test("zones/trim", trimming).block(1024).mib(16).damages(),
        test("zones/mount", overlapping).block(1024).damages(),
        test("zones/journal", journal).block(1024).damages(),
        test("zones/journal-inode", journal_inode)
            .block(1024)
            .damages(),
    ]
}

/// Blocks in a group, of 1 KiB.
const GROUP: u64 = 8192;
/// Where the group descriptors are.
const DESCRIPTORS: u64 = 2;
/// Size of one.
const DESCRIPTOR: usize = 32;

/// A block of the disk, past its cache.
fn read(env: &Env, block: u64) -> Result<Vec<u8>> {
    let mut data = Buffer::new(env.block() as usize);
    fs::open_direct(DISK)?.read_exact_at(&mut data, block * env.block())?;
    Ok(data.to_vec())
}

/// Overwrites bytes of a block of the unmounted disk.
fn patch(env: &Env, block: u64, offset: usize, bytes: &[u8]) -> Result<()> {
    let disk = disk()?;
    disk.write_all_at(bytes, block * env.block() + offset as u64)?;
    disk.sync_all().context("sync the disk")
}

/// Runs commands of debugfs on the unmounted disk.
fn debugfs(commands: &[String]) -> Result<String> {
    let script = "/tmp/zones";
    file::write(script, commands.join("\n") + "\n")?;
    tool("debugfs", &["-w", "-f", script, DISK])
}

/// All blocks of a file, in the order of their use: an indirect block before what it leads to.
fn blocks_of(path: &str) -> Result<Vec<u64>> {
    tool("debugfs", &["-R", &format!("blocks {path}"), DISK])?
        .lines()
        .filter(|line| !line.starts_with("debugfs"))
        .flat_map(str::split_whitespace)
        .map(|word| word.parse().with_context(|| format!("not a block: {word}")))
        .collect()
}

/// Asks that the bitmap has these blocks in use.
fn in_use(blocks: &[u64]) -> Result<()> {
    let commands: Vec<String> = blocks
        .iter()
        .map(|block| format!("testb {block}"))
        .collect();
    let text = debugfs(&commands)?;
    ensure!(!text.contains("not in use"), "blocks were freed: {text}");
    ensure!(text.matches("in use").count() == blocks.len(), "{text}");
    Ok(())
}

/// A number in a group's descriptor, by its offset there.
fn descriptor(env: &Env, group: usize, field: usize) -> Result<u64> {
    let at = group * DESCRIPTOR + field;
    let table = read(env, DESCRIPTORS)?;
    let bytes = table[at..at + 4].try_into()?;
    Ok(u64::from(u32::from_le_bytes(bytes)))
}

/// A block of metadata, as it was.
struct Target {
    name: &'static str,
    block: u64,
    bytes: Vec<u8>,
}

/// Some of each kind.
fn targets(env: &Env) -> Result<Vec<Target>> {
    let copy = 1 + 3 * GROUP;
    [
        ("superblock", copy),
        ("descriptors", copy + 1),
        ("reserved", copy + 2),
        ("live-descriptors", DESCRIPTORS),
        ("bitmap", descriptor(env, 5, 0)?),
        ("table", descriptor(env, 1, 8)? + 100),
    ]
    .into_iter()
    .map(|(name, block)| {
        Ok(Target {
            name,
            block,
            bytes: counted_out(block, read(env, block)?),
        })
    })
    .collect()
}

/// Without what a descriptor in use counts, which may change.
fn counted_out(block: u64, mut bytes: Vec<u8>) -> Vec<u8> {
    if block == DESCRIPTORS {
        for descriptor in bytes.chunks_exact_mut(DESCRIPTOR) {
            descriptor[12..18].fill(0);
        }
    }
    bytes
}

/// Asks that nothing has touched them.
fn untouched(env: &Env, targets: &[Target]) -> Result<()> {
    for target in targets {
        ensure!(
            counted_out(target.block, read(env, target.block)?) == target.bytes,
            "{} was written over",
            target.name
        );
    }
    let blocks: Vec<u64> = targets.iter().map(|target| target.block).collect();
    in_use(&blocks)
}

/// Makes files, unmounts, and leaves them to be damaged.
fn prepare(env: &Env, make: impl Fn() -> Result<()>) -> Result<()> {
    let mounted = env.mount("")?;
    file::write(env.path("good"), good(env))?;
    make()?;
    mounted.end()
}

/// What a sound file has, up to its doubly indirect block.
fn good(env: &Env) -> Vec<u8> {
    (0..300 * env.block()).map(|at| (at / 7) as u8).collect()
}

/// Asks that the sound file is there still.
fn is_good(env: &Env) -> Result<()> {
    ensure!(file::read(env.path("good"))? == good(env), "harmed");
    Ok(())
}

/// Asks for the errno of damage; the C driver may say that it cannot read.
fn refused<T>(env: &Env, result: io::Result<T>, what: &str) -> Result<()> {
    match result {
        Err(error) if env.driver() == Driver::Ext4 && error.raw_os_error() == Some(libc::EIO) => {
            Ok(())
        }
        result => fails(result, libc::EUCLEAN, what),
    }
}

/// Such a pointer in an inode: nobody gets that inode.
fn inodes(env: &Env) -> Result<()> {
    let kinds = [
        ("direct", "block[1]"),
        ("last", "block[11]"),
        ("dir", "block[0]"),
        ("link", "block[0]"),
        ("attributes", "file_acl"),
    ];
    let names: Vec<&str> = targets(env)?.iter().map(|target| target.name).collect();
    prepare(env, || {
        for target in &names {
            for (kind, _) in kinds {
                let path = env.path(format!("{kind}-{target}"));
                match kind {
                    "dir" => {
                        file::create_dir(&path)?;
                        file::write(path.join("inside"), b"")?;
                    }
                    "link" => symlink("x".repeat(200), &path)?,
                    "attributes" => {
                        file::write(&path, b"")?;
                        attributes::set(&path, "user.large", &[5; 700])?;
                    }
                    _ => file::write(&path, vec![1; 20 * 1024])?,
                }
            }
        }
        Ok(())
    })?;
    let targets = targets(env)?;
    let mut commands = Vec::new();
    for target in &targets {
        for (kind, field) in kinds {
            commands.push(format!(
                "sif /{kind}-{} {field} {}",
                target.name, target.block
            ));
        }
    }
    debugfs(&commands)?;
    let mounted = env.mount("")?;
    for target in &targets {
        for (kind, _) in kinds {
            let what = format!("{kind}-{}", target.name);
            let path = env.path(&what);
            let place = env.guest.kmsg.settle()?;
            let refused = |result: io::Result<()>| fails(result, libc::EUCLEAN, &what);
            refused(path.symlink_metadata().map(drop))?;
            refused(file::rename(&path, env.path("renamed")))?;
            match kind {
                "dir" => {
                    refused(file::read_dir(&path).map(drop))?;
                    refused(File::create(path.join("new")).map(drop))?;
                    refused(file::remove_dir(&path))?;
                }
                "link" => {
                    refused(file::read_link(&path).map(drop))?;
                    refused(file::remove_file(&path))?;
                }
                _ => {
                    refused(OpenOptions::new().write(true).open(&path).map(drop))?;
                    refused(file::remove_file(&path))?;
                }
            }
            env.complains(place, &what)?;
        }
    }
    is_good(env)?;
    mounted.end()?;
    untouched(env, &targets)
}

/// Such a pointer to data in an indirect block: that block of the file cannot be had.
fn data(env: &Env) -> Result<()> {
    let names: Vec<&str> = targets(env)?.iter().map(|target| target.name).collect();
    let block = env.block();
    let ways = ["cut", "punched", "removed"];
    prepare(env, || {
        for target in &names {
            for way in ways {
                file::write(
                    env.path(format!("{way}-{target}")),
                    vec![7; 40 * block as usize],
                )?;
            }
        }
        Ok(())
    })?;
    let targets = targets(env)?;
    for target in &targets {
        for way in ways {
            // The 13th is the indirect block.
            let indirect = blocks_of(&format!("/{way}-{}", target.name))?[12];
            patch(env, indirect, 5 * 4, &(target.block as u32).to_le_bytes())?;
        }
    }
    let mounted = env.mount("nodelalloc")?;
    let bad = 17 * block;
    for target in &targets {
        for way in ways {
            let what = format!("{way}-{}", target.name);
            let path = env.path(&what);
            let place = env.guest.kmsg.settle()?;
            {
                let direct = fs::open_direct(&path)?;
                let mut bytes = Buffer::new(block as usize);
                refused(env, direct.read_at(&mut bytes, bad), &what)?;
                refused(env, direct.write_at(&bytes, bad), &what)?;
                let buffered = fs::open_buffered(&path)?;
                // What the page cache says of a page that it could not read.
                fails(buffered.read_at(&mut bytes, bad), libc::EIO, &what)?;
                refused(env, buffered.write_at(&bytes, bad), &what)?;
                buffered.read_exact_at(&mut bytes, 0)?;
                ensure!(bytes.iter().all(|&byte| byte == 7), "{what}: other data");
            }
            env.complains(place, &what)?;
            // What they answer is the driver's choice, but nothing of the metadata is freed.
            match way {
                "cut" => {
                    let file = fs::open_buffered(&path)?;
                    let _ = file.set_len(14 * block);
                    let mut bytes = vec![0; 12 * block as usize];
                    file.read_exact_at(&mut bytes, 0)?;
                    ensure!(bytes.iter().all(|&byte| byte == 7), "{what}: other data");
                }
                "punched" => {
                    let _ = rustix::fs::fallocate(
                        fs::open_buffered(&path)?,
                        rustix::fs::FallocateFlags::PUNCH_HOLE
                            | rustix::fs::FallocateFlags::KEEP_SIZE,
                        15 * block,
                        6 * block,
                    );
                }
                _ => {
                    let _ = file::remove_file(&path);
                }
            }
        }
    }
    is_good(env)?;
    mounted.end()?;
    untouched(env, &targets)
}

/// Such a pointer to an indirect block, in the inode: what is below it cannot be had, what is not can.
fn roots(env: &Env) -> Result<()> {
    let names: Vec<&str> = targets(env)?.iter().map(|target| target.name).collect();
    let block = env.block();
    let ptrs = block / 4;
    let roots = [
        ("IND", 12),
        ("DIND", 12 + ptrs),
        ("TIND", 12 + ptrs + ptrs * ptrs),
    ];
    let bytes = Buffer::from(&vec![7; block as usize]);
    prepare(env, || {
        for target in &names {
            for (root, first) in roots {
                let file = File::create(env.path(format!("{root}-{target}")))?;
                file.write_all_at(&bytes, 0)?;
                file.write_all_at(&bytes, (first + 3) * block)?;
            }
        }
        Ok(())
    })?;
    let targets = targets(env)?;
    let mut commands = Vec::new();
    for target in &targets {
        for (root, _) in roots {
            commands.push(format!(
                "sif /{root}-{} block[{root}] {}",
                target.name, target.block
            ));
        }
    }
    debugfs(&commands)?;
    let mounted = env.mount("")?;
    for target in &targets {
        for (root, first) in roots {
            let what = format!("{root}-{}", target.name);
            let path = env.path(&what);
            let place = env.guest.kmsg.settle()?;
            {
                let direct = fs::open_direct(&path)?;
                let mut found = Buffer::new(block as usize);
                direct.read_exact_at(&mut found, 0)?;
                ensure!(found[..] == bytes[..], "{what}: other data");
                if env.driver() == Driver::Notblk {
                    for at in [first, first + 3] {
                        refused(env, direct.read_at(&mut found, at * block), &what)?;
                        refused(env, direct.write_at(&bytes, at * block), &what)?;
                    }
                }
            }
            if root == "DIND" {
                let _ = fs::open_buffered(&path)?.set_len(block);
            }
            let _ = file::remove_file(&path);
            env.complains(place, &what)?;
        }
    }
    is_good(env)?;
    mounted.end()?;
    untouched(env, &targets)
}

/// Such a pointer to an indirect block, in another: the inode table is not taken for a list of blocks, which the blocks of
/// other files would be found in.
fn indirect(env: &Env) -> Result<()> {
    let block = env.block();
    let ptrs = block / 4;
    let size = 12 + 2 * ptrs + 20;
    prepare(env, || {
        for name in ["cut", "removed"] {
            file::write(env.path(name), vec![7; (size * block) as usize])?;
        }
        Ok(())
    })?;
    // The part of the inode table that has the sound file.
    let mounted = env.mount("")?;
    let ino = env.path("good").metadata()?.ino();
    mounted.end()?;
    let table = descriptor(env, 0, 8)? + (ino - 1) * 256 / block;
    for name in ["cut", "removed"] {
        // Behind 12 direct blocks, one indirect block with its own, and this: the second that it leads to is ours.
        let double = blocks_of(&format!("/{name}"))?[(12 + 1 + ptrs) as usize];
        patch(env, double, 4, &(table as u32).to_le_bytes())?;
    }
    let mut kept = blocks_of("/good")?;
    kept.push(table);
    let mounted = env.mount("")?;
    let bad = (12 + 2 * ptrs) * block;
    for name in ["cut", "removed"] {
        let place = env.guest.kmsg.settle()?;
        {
            let direct = fs::open_direct(env.path(name))?;
            let mut bytes = Buffer::new(block as usize);
            refused(env, direct.read_at(&mut bytes, bad), name)?;
            if env.driver() == Driver::Notblk {
                // The C driver follows it now: a write would go to other files.
                for at in 0..20 {
                    let at = bad + at * block;
                    refused(env, direct.read_at(&mut bytes, at), name)?;
                    refused(env, direct.write_at(&bytes, at), name)?;
                }
            }
        }
        env.complains(place, name)?;
        if name == "cut" {
            let _ = fs::open_buffered(env.path(name))?.set_len(13 * block);
        }
        let _ = file::remove_file(env.path(name));
    }
    is_good(env)?;
    mounted.end()?;
    in_use(&kept)?;
    let mounted = env.mount("")?;
    is_good(env)?;
    mounted.end()
}

/// Such a pointer in an inode on the orphan list: it is not freed at mount.
fn orphan(env: &Env) -> Result<()> {
    let mut ino = 0;
    prepare(env, || {
        file::write(env.path("file"), vec![7; 20 * env.block() as usize]).context("write")
    })?;
    {
        let mounted = env.mount("")?;
        ino += env.path("file").metadata()?.ino();
        mounted.end()?;
    }
    let targets = targets(env)?;
    for target in &targets {
        debugfs(&[
            format!("sif /file block[3] {}", target.block),
            "sif /file links_count 0".to_owned(),
            format!("ssv last_orphan {ino}"),
            "ssv state 1".to_owned(),
        ])?;
        let place = env.guest.kmsg.settle()?;
        let mounted = env.mount("errors=continue")?;
        env.complains(place, target.name)?;
        is_good(env)?;
        mounted.end()?;
        let text = tool("debugfs", &["-R", "show_super_stats -h", DISK])?;
        ensure!(!text.contains("First orphan inode"), "still there: {text}");
    }
    untouched(env, &targets)
}

/// Says in the bitmap and the descriptor of group 1 that its copies of the superblock and the descriptors are free; answers
/// these blocks.
fn free_copies(env: &Env) -> Result<Vec<Target>> {
    let copies: Vec<u64> = (1 + GROUP..).take(12).collect();
    debugfs(&[format!("freeb {} {}", copies[0], copies.len())])?;
    let at = DESCRIPTOR + 12;
    let table = read(env, DESCRIPTORS)?;
    let free = u16::from_le_bytes([table[at], table[at + 1]]) + copies.len() as u16;
    patch(env, DESCRIPTORS, at, &free.to_le_bytes())?;
    copies
        .into_iter()
        .map(|block| {
            Ok(Target {
                name: "a copy",
                block,
                bytes: read(env, block)?,
            })
        })
        .collect()
}

/// A bitmap that calls such blocks free: none of them is handed out, and the bitmap is set right.
fn allocation(env: &Env) -> Result<()> {
    prepare(env, || Ok(()))?;
    let targets = free_copies(env)?;
    let place = env.guest.kmsg.settle()?;
    let mounted = env.mount("")?;
    if env.driver() == Driver::Ext4 {
        // It would keep some for delayed allocation.
        file::write("/sys/fs/ext4/vda/reserved_clusters", "0")?;
    }
    let mut errors = 0;
    {
        let direct = fs::open_direct(env.path("filler"))?;
        let mut at = 0;
        let mut size = 64 << 10;
        while size >= 1024 {
            match direct.write_at(&Buffer::new(size), at) {
                Ok(n) => at += n as u64,
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => size /= 2,
                Err(error) => {
                    refused(env, Err::<(), _>(error), "a write")?;
                    errors += 1;
                    ensure!(errors < 50, "it meets them over and over");
                }
            }
        }
    }
    ensure!(errors > 0, "no write was refused");
    env.complains(place, "metadata that is free")?;
    is_good(env)?;
    mounted.end()?;
    untouched(env, &targets)?;
    let filler = blocks_of("/filler")?;
    ensure!(filler.len() > 8000, "only {} blocks were had", filler.len());
    if let Some(target) = targets.iter().find(|target| filler.contains(&target.block)) {
        bail!("block {} was handed out", target.block);
    }
    if env.driver() == Driver::Notblk {
        // The C driver loses the rest of the run.
        let (_, text) = tool_code("e2fsck", &["-fn", DISK])?;
        ensure!(!text.contains("differences"), "{text}");
    }
    Ok(())
}

/// The same bitmap: the disk is not told to forget them. The C driver would tell it.
fn trimming(env: &Env) -> Result<()> {
    env.only(Driver::Notblk)?;
    prepare(env, || Ok(()))?;
    let targets = free_copies(env)?;
    let place = env.guest.kmsg.settle()?;
    let mounted = env.mount("")?;
    let all = Trim {
        start: 0,
        length: u64::MAX,
        least: 0,
    };
    let trimmed = trim(&File::open(MNT)?, all);
    ensure!(trimmed.is_err(), "trimmed: {trimmed:?}");
    env.complains(place, "metadata that is free")?;
    mounted.end()?;
    for target in targets {
        ensure!(read(env, target.block)? == target.bytes, "discarded");
    }
    Ok(())
}

/// Metadata that lies where other metadata is reserved: no mount.
fn overlapping(env: &Env) -> Result<()> {
    let at = 3 * DESCRIPTOR + 4;
    let before = descriptor(env, 3, 4)? as u32;
    // Behind the copies of superblock and descriptors, in what is kept for more descriptors.
    let inside = 1 + 3 * GROUP as u32 + 20;
    patch(env, DESCRIPTORS, at, &inside.to_le_bytes())?;
    let place = env.guest.kmsg.settle()?;
    for options in ["", "ro"] {
        let result = fs::try_mount(env.driver().name(), DISK, MNT, options);
        ensure!(
            result == Err(rustix::io::Errno::UCLEAN),
            "mounted with {options:?}: {result:?}"
        );
    }
    env.complains(place, "overlapping metadata")?;
    patch(env, DESCRIPTORS, at, &before.to_le_bytes())?;
    env.mount("")?.end()
}

/// Makes the filesystem anew, with a journal as ext3 has it.
fn ext3(env: &Env) -> Result<()> {
    let (block, size) = (env.block().to_string(), format!("{}M", env.image.mib));
    tool(
        "mke2fs",
        &["-q", "-F", "-b", &block, "-t", "ext3", DISK, &size],
    )
    .map(drop)
}

/// Pointers into the journal are as those into other metadata.
fn journal(env: &Env) -> Result<()> {
    ext3(env)?;
    let block = env.block();
    let blocks = blocks_of("<8>")?;
    // Of its first twelve, one behind an indirect block, the last.
    let targets = [blocks[0], blocks[20], blocks[blocks.len() - 1]];
    let name = |kind: &str, target: &u64| format!("{kind}-{target}");
    prepare(env, || {
        for target in &targets {
            for kind in ["inode", "cut", "removed"] {
                file::write(env.path(name(kind, target)), vec![7; 40 * block as usize])?;
            }
        }
        Ok(())
    })?;
    for target in &targets {
        debugfs(&[format!("sif /{} block[1] {target}", name("inode", target))])?;
        for kind in ["cut", "removed"] {
            let indirect = blocks_of(&format!("/{}", name(kind, target)))?[12];
            patch(env, indirect, 5 * 4, &(*target as u32).to_le_bytes())?;
        }
    }
    let mounted = env.mount("nodelalloc")?;
    for target in &targets {
        let place = env.guest.kmsg.settle()?;
        let inode = env.path(name("inode", target));
        fails(inode.metadata(), libc::EUCLEAN, "stat")?;
        fails(file::remove_file(&inode), libc::EUCLEAN, "unlink")?;
        for kind in ["cut", "removed"] {
            let what = name(kind, target);
            let path = env.path(&what);
            let direct = fs::open_direct(&path)?;
            let mut bytes = Buffer::new(block as usize);
            let bad = 17 * block;
            refused(env, direct.read_at(&mut bytes, bad), &what)?;
            refused(env, direct.write_at(&bytes, bad), &what)?;
            let _ = match kind {
                "cut" => direct.set_len(14 * block),
                _ => file::remove_file(&path),
            };
        }
        env.complains(place, "pointers into the journal")?;
    }
    is_good(env)?;
    mounted.end()?;
    in_use(&targets)
}

/// A journal whose own inode is damaged: no mount.
fn journal_inode(env: &Env) -> Result<()> {
    ext3(env)?;
    let table = descriptor(env, 0, 8)?;
    // A copy of the superblock: the C driver writes to its journal before it looks where that is.
    let copy = 1 + 3 * GROUP;
    for command in [
        format!("sif <8> block[11] {copy}"),
        "sif <8> links_count 0".to_owned(),
        "sif <8> mode 040700".to_owned(),
    ] {
        let image = read_inode(env, table)?;
        debugfs(std::slice::from_ref(&command))?;
        let place = env.guest.kmsg.settle()?;
        let result = fs::try_mount(env.driver().name(), DISK, MNT, "");
        ensure!(
            result == Err(rustix::io::Errno::UCLEAN),
            "mounted after {command:?}: {result:?}"
        );
        env.complains(place, &command)?;
        patch(env, table + 1, 3 * 256, &image)?;
    }
    env.mount("")?.end()
}

/// Inode 8, with inodes of 256 bytes and blocks of 1 KiB.
fn read_inode(env: &Env, table: u64) -> Result<Vec<u8>> {
    Ok(read(env, table + 1)?[3 * 256..].to_vec())
}
