// SPDX-License-Identifier: GPL-2.0
//! Indexed directories: thousands of names, readers among writers, both drivers on one index.
//!
//! The names are hard links to a few files: what is tested is the directory.

use super::env::{fails, Env};
use super::{for_blocks, test, Test};
use crate::buf::Random;
use crate::fs::{self, tool, Mounted, DISK, MNT};
use crate::modules;
use anyhow::{bail, ensure, Context, Result};
use notblk_protocol::Driver;
use rustix::fs::{seek, OFlags, RawDir, SeekFrom};
use rustix::time::{clock_gettime, ClockId};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self as file, OpenOptions};
use std::io::Write;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let mut tests = for_blocks(&[1024, 4096, 65536], "htree/model", model);
    tests.extend(for_blocks(
        &[1024, 4096],
        "htree/readdir-in-pieces",
        readdir_in_pieces,
    ));
    tests.extend([
        test("htree/readdir-while-indexed", readdir_while_indexed),
        test("htree/seek", positions).block(1024),
        test("htree/same-hash", same_hash).block(1024),
        test("htree/index-full", index_full).block(1024),
        test("htree/without-feature", without_feature).block(1024),
        test("htree/by-both-drivers", by_both_drivers).block(1024),
        test("htree/no-space", no_space).block(1024).mib(4),
        test("htree/damaged-index", damaged_index)
            .block(1024)
            .damages(),
        test("htree/many", many),
    ]);
    tests
}

/// Links to one file that either driver allows.
const LINKS: usize = 30_000;

/// A directory in the making: each name is a link to one of some files beside it.
struct Links {
    dir: PathBuf,
    made: usize,
}

impl Links {
    fn new(root: &Path, name: &str) -> Result<Links> {
        let dir = root.join(name);
        file::create_dir(&dir)?;
        Ok(Links { dir, made: 0 })
    }

    fn add(&mut self, name: &str) -> std::io::Result<()> {
        let base = self
            .dir
            .with_extension(format!("base-{}", self.made / LINKS));
        if self.made.is_multiple_of(LINKS) {
            file::write(&base, b"")?;
        }
        file::hard_link(base, self.dir.join(name))?;
        self.made += 1;
        Ok(())
    }
}

/// The names in a directory, each of which must come once.
fn list(path: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in file::read_dir(path)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        ensure!(names.insert(name.clone()), "{name} is listed twice");
    }
    Ok(names)
}

fn same(found: &BTreeSet<String>, expected: &BTreeSet<String>) -> Result<()> {
    let lost: Vec<_> = expected.difference(found).take(3).collect();
    let more: Vec<_> = found.difference(expected).take(3).collect();
    ensure!(
        lost.is_empty() && more.is_empty(),
        "of {} names {} are listed; not {lost:?}, but {more:?}",
        expected.len(),
        found.len()
    );
    Ok(())
}

fn debugfs(command: &str) -> Result<String> {
    tool("debugfs", &["-w", "-R", command, DISK])
}

/// Asks of the unmounted disk that the directory has an index, and answers the levels below its root.
fn levels(path: &str) -> Result<u32> {
    let text = debugfs(&format!("htree_dump {path}"))?;
    let levels = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Indirect levels: "))
        .with_context(|| format!("{path} has no index: {text:.300}"))?;
    levels.trim().parse().context("levels")
}

/// A name of 1 to 40 bytes, not all of them ASCII.
fn random_name(random: &mut Random) -> String {
    let mut name = format!("{:x}", random.next());
    name.truncate(1 + random.below(16) as usize);
    for _ in 0..random.below(8) {
        name.push(['x', 'ü', '-', '☃'][random.below(4) as usize]);
    }
    name
}

/// Random names are made, removed and looked up, over several mounts.
fn model(env: &Env) -> Result<()> {
    const ROUNDS: u64 = 3;
    let mut random = Random(env.seed ^ env.block());
    let mut mounted = env.mount("")?;
    let mut links = Links::new(Path::new(MNT), "dir")?;
    let mut expected = BTreeSet::new();
    for round in 0..ROUNDS {
        // In the last one more go than come.
        let often = if round + 1 < ROUNDS { 4 } else { 1 };
        // For more names than one block holds, of whatever size.
        let steps = if env.block() > 4096 { 7000 } else { 5500 };
        for _ in 0..steps {
            let name = random_name(&mut random);
            let path = links.dir.join(&name);
            match random.below(often + 2) {
                0 => fails(file::symlink_metadata(&path), libc::ENOENT, &name)
                    .or_else(|e| expected.contains(&name).then_some(()).ok_or(e))?,
                1 => {
                    let victim = expected
                        .range(name.clone()..)
                        .next()
                        .or_else(|| expected.first())
                        .cloned();
                    if let Some(victim) = victim {
                        file::remove_file(links.dir.join(&victim))
                            .with_context(|| format!("remove {victim}"))?;
                        expected.remove(&victim);
                    }
                }
                _ if expected.contains(&name) => {
                    fails(links.add(&name), libc::EEXIST, &name)?;
                }
                _ => {
                    links.add(&name).with_context(|| format!("add {name}"))?;
                    expected.insert(name);
                }
            }
        }
        same(&list(&links.dir)?, &expected)?;
        mounted.end()?;
        let below = levels("/dir")?;
        env.note(format!(
            "{} names, {below} levels below the root",
            expected.len()
        ));
        ensure!(
            round == 0 || env.block() > 1024 || below == 1,
            "{below} levels below the root of {} names",
            expected.len()
        );
        if let Some(complaint) = fs::check(DISK)? {
            bail!("after round {round}: {complaint}");
        }
        mounted = env.mount("")?;
        same(&list(&links.dir)?, &expected)?;
        for name in &expected {
            file::symlink_metadata(links.dir.join(name)).with_context(|| name.clone())?;
        }
    }
    for name in &expected {
        file::remove_file(links.dir.join(name)).with_context(|| format!("remove {name}"))?;
    }
    ensure!(list(&links.dir)?.is_empty(), "names are left");
    file::remove_dir(&links.dir).context("the directory is not empty")?;
    mounted.end()
}

fn open_dir(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    Ok(rustix::fs::open(path, flags, rustix::fs::Mode::empty())?)
}

/// Reads some entries with a buffer of so many bytes: names, and the position behind each. An empty answer is the end.
fn read_some(dir: &OwnedFd, size: usize) -> Result<Vec<(String, u64)>> {
    let mut memory = vec![MaybeUninit::uninit(); size];
    let mut entries = RawDir::new(dir, &mut memory);
    let mut found = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry.context("getdents")?;
        let name = entry.file_name().to_string_lossy().into_owned();
        found.push((name, entry.next_entry_cookie()));
        if entries.is_buffer_empty() {
            break;
        }
    }
    Ok(found)
}

/// A reader with a small buffer, and one who adds and removes in between: what is there all the time comes once.
fn readdir_in_pieces(env: &Env) -> Result<()> {
    let mut random = Random(env.seed ^ env.block());
    let mounted = env.mount("")?;
    let mut links = Links::new(Path::new(MNT), "dir")?;
    let stays: BTreeSet<_> = (0..1500).map(|n| format!("stays-{n}")).collect();
    let mut goes: Vec<_> = (0..1500).map(|n| format!("goes-{n}")).collect();
    for name in stays.iter().chain(&goes) {
        links.add(name)?;
    }
    let (mut seen, mut others) = (BTreeSet::new(), BTreeSet::new());
    let dir = open_dir(&links.dir)?;
    let mut new = 0;
    loop {
        let some = read_some(&dir, 300)?;
        if some.is_empty() {
            break;
        }
        for (name, _) in some {
            let again = if name.starts_with("stays") {
                !seen.insert(name.clone())
            } else {
                !others.insert(name.clone())
            };
            // What was removed and made again may come twice; no name here is.
            ensure!(!again, "{name} comes twice");
        }
        for _ in 0..random.below(12) {
            new += 1;
            links.add(&format!(
                "new-{new}-{}",
                "n".repeat(random.below(30) as usize)
            ))?;
        }
        for _ in 0..random.below(8) {
            if !goes.is_empty() {
                let victim = goes.swap_remove(random.below(goes.len() as u64) as usize);
                file::remove_file(links.dir.join(victim))?;
            }
        }
    }
    same(&seen, &stays)?;
    env.note(format!("{new} names were added, {} seen", others.len()));
    ensure!(new > 1000, "only {new} names were added meanwhile");
    drop(dir);
    mounted.end()
}

/// A directory gets its index, and then a second level, while it is read.
fn readdir_while_indexed(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let mut links = Links::new(Path::new(MNT), "dir")?;
    let stays: BTreeSet<_> = (0..40).map(|n| format!("stays-{n}")).collect();
    for name in &stays {
        links.add(name)?;
    }
    let mut new = 0;
    for most in [1000, 3000, 6000] {
        let dir = open_dir(&links.dir)?;
        let mut seen = BTreeSet::new();
        loop {
            let some = read_some(&dir, 100)?;
            if some.is_empty() {
                break;
            }
            for (name, _) in some
                .into_iter()
                .filter(|(name, _)| name.starts_with("stays"))
            {
                ensure!(seen.insert(name.clone()), "{name} comes twice");
            }
            if seen.len() < 30 && new < most {
                for _ in 0..60 {
                    new += 1;
                    links.add(&format!("new-{new}"))?;
                }
            }
        }
        same(&seen, &stays)?;
    }
    mounted.end()?;
    levels("/dir").map(drop)
}

/// A position that was handed out leads back to where it was handed out, also through another open of the directory.
fn positions(env: &Env) -> Result<()> {
    let mut random = Random(env.seed);
    let mounted = env.mount("")?;
    let mut links = Links::new(Path::new(MNT), "dir")?;
    for count in [10, 2000] {
        while links.made < count {
            links.add(&format!("name-{}", links.made))?;
        }
        let dir = open_dir(&links.dir)?;
        let mut all = Vec::new();
        loop {
            let some = read_some(&dir, 1000)?;
            if some.is_empty() {
                break;
            }
            all.extend(some);
        }
        ensure!(all.len() == count + 2, "{} of {count} names", all.len());
        ensure!(all[0].0 == "." || count == 10, "{} comes first", all[0].0);
        let other = open_dir(&links.dir)?;
        for _ in 0..300 {
            let at = random.below(all.len() as u64 - 1) as usize;
            seek(&other, SeekFrom::Start(all[at].1))?;
            let next = read_some(&other, 300)?;
            ensure!(
                next.first().map(|(name, _)| name) == Some(&all[at + 1].0),
                "behind {} comes {:?}, not {}",
                all[at].0,
                next.first(),
                all[at + 1].0
            );
        }
        let end = seek(&other, SeekFrom::End(0))?;
        ensure!(end == i64::MAX as u64, "the directory ends at {end:#x}");
        ensure!(read_some(&other, 300)?.is_empty(), "something is behind it");
        let result = seek(&other, SeekFrom::Current(1)).map_err(std::io::Error::from);
        fails(result, libc::EINVAL, "a seek past the end")?;
        seek(&other, SeekFrom::Start(0))?;
        ensure!(
            read_some(&other, 300)?.first() == all.first(),
            "a rewind does not begin anew"
        );
    }
    mounted.end()
}

/// The hash function `legacy`, for unsigned characters or ASCII.
fn legacy(name: &str) -> u32 {
    let (mut hash, mut before) = (0x12a3_fe2d_u32, 0x37ab_e8f9_u32);
    for byte in name.bytes() {
        let mut next = before.wrapping_add(hash ^ u32::from(byte).wrapping_mul(7_152_373));
        if next & 0x8000_0000 != 0 {
            next = next.wrapping_sub(0x7fff_ffff);
        }
        (hash, before) = (next, hash);
    }
    hash << 1
}

/// Long names, of which a block of 1 KiB holds three.
fn long_name(number: usize) -> String {
    format!("{}{number:x}", "long".repeat(60))
}

/// Names of one hash, each pair with its position, read one by one and found where a split has parted them.
fn same_hash(env: &Env) -> Result<()> {
    debugfs("ssv def_hash_version legacy")?;
    let mut by_hash: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for number in 0..300_000 {
        let name = long_name(number);
        by_hash.entry(legacy(&name)).or_default().push(name);
    }
    let twins: Vec<_> = by_hash
        .values()
        .filter(|names| names.len() > 1)
        .flatten()
        .cloned()
        .collect();
    env.note(format!("{} names share a hash", twins.len()));
    ensure!(twins.len() >= 8, "only {} names share a hash", twins.len());
    let mounted = env.mount("")?;
    let mut links = Links::new(Path::new(MNT), "dir")?;
    let mut expected = BTreeSet::new();
    let others = by_hash.values().filter(|names| names.len() == 1).flatten();
    for (n, other) in others.take(600).enumerate() {
        for name in [Some(other), twins.get(n)].into_iter().flatten() {
            links.add(name)?;
            expected.insert(name.clone());
        }
    }
    for name in twins.iter().skip(600) {
        links.add(name)?;
        expected.insert(name.clone());
    }
    for buffer in [300, 700] {
        let dir = open_dir(&links.dir)?;
        let mut seen = BTreeSet::new();
        loop {
            let some = read_some(&dir, buffer)?;
            if some.is_empty() {
                break;
            }
            for (name, _) in some {
                ensure!(seen.insert(name.clone()), "{name} comes twice");
            }
        }
        seen.retain(|name| !name.starts_with('.'));
        same(&seen, &expected)?;
    }
    mounted.end()?;
    levels("/dir")?;
    if let Some(complaint) = fs::check(DISK)? {
        bail!("{complaint}");
    }
    let mounted = env.mount("")?;
    for name in &twins {
        file::symlink_metadata(links.dir.join(name)).context("a name that shares its hash")?;
    }
    for name in &twins {
        file::remove_file(links.dir.join(name)).context("a name that shares its hash")?;
        expected.remove(name);
    }
    same(&list(&links.dir)?, &expected)?;
    mounted.end()
}

/// Names that come in the order of their hashes leave half of each block free, and soon the index can grow no more.
fn index_full(env: &Env) -> Result<()> {
    debugfs("ssv def_hash_version legacy")?;
    let mut names: Vec<_> = (0..40_000).map(long_name).collect();
    names.sort_by_key(|name| legacy(name));
    let mounted = env.mount("")?;
    let mut links = Links::new(Path::new(MNT), "dir")?;
    let mut full = None;
    for name in &names {
        if let Err(error) = links.add(name) {
            full = Some(error);
            break;
        }
    }
    let Some(error) = full else {
        bail!("{} names, and the index is not full", names.len());
    };
    ensure!(
        error.raw_os_error() == Some(libc::ENOSPC),
        "a full index answers {error}"
    );
    env.note(format!("full after {} names", links.made));
    let free = rustix::fs::statvfs(MNT)?.f_bfree;
    ensure!(free > 1000, "it was the disk that was full");
    let expected: BTreeSet<_> = names[..links.made].iter().cloned().collect();
    same(&list(&links.dir)?, &expected)?;
    // Where a name goes, another one of its block has room.
    file::remove_file(links.dir.join(&names[links.made - 1]))?;
    file::remove_file(links.dir.join(&names[links.made - 2]))?;
    links.add(&names[links.made]).context("after a removal")?;
    mounted.end()
}

/// Where the filesystem has no indexes any more, one that is left goes with the first change.
fn without_feature(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    let mut links = Links::new(Path::new(MNT), "dir")?;
    for n in 0..500 {
        links.add(&format!("name-{n}"))?;
    }
    mounted.end()?;
    levels("/dir")?;
    debugfs("feature -dir_index")?;
    let mounted = env.mount("")?;
    for n in 500..600 {
        links.add(&format!("name-{n}"))?;
    }
    let mut small = Links::new(Path::new(MNT), "small")?;
    for n in 0..200 {
        small.add(&format!("name-{n}"))?;
    }
    mounted.end()?;
    let mounted = env.mount("ro")?;
    let expected = (0..600).map(|n| format!("name-{n}")).collect();
    same(&list(&links.dir)?, &expected)?;
    let expected = (0..200).map(|n| format!("name-{n}")).collect();
    same(&list(&small.dir)?, &expected)?;
    mounted.end()?;
    for path in ["/dir", "/small"] {
        let text = debugfs(&format!("stat {path}"))?;
        ensure!(
            text.contains("Flags: 0x0\n"),
            "{path} has flags: {text:.200}"
        );
    }
    Ok(())
}

/// One driver goes on where the other left off, several times, with e2fsck in between.
fn by_both_drivers(env: &Env) -> Result<()> {
    modules::load("ext4", &[])?;
    let here = env.driver().name();
    let mut random = Random(env.seed);
    let mut expected = BTreeSet::new();
    let mut links = None;
    for (round, kind) in ["ext4", here, "ext4", here, "ext4"].into_iter().enumerate() {
        let mounted = Mounted::of_type(kind, DISK, MNT, "")?;
        let links = match &mut links {
            Some(links) => links,
            none => none.insert(Links::new(Path::new(MNT), "dir")?),
        };
        same(&list(&links.dir)?, &expected)?;
        for name in expected.iter().step_by(7) {
            file::symlink_metadata(links.dir.join(name))
                .with_context(|| format!("{kind}: {name}"))?;
        }
        for n in 0..1500 {
            let name = format!("{round}-{n}-{}", random_name(&mut random));
            links.add(&name)?;
            expected.insert(name);
        }
        let gone: Vec<_> = expected.iter().step_by(5).cloned().collect();
        for name in gone {
            file::remove_file(links.dir.join(&name)).with_context(|| format!("{kind}: {name}"))?;
            expected.remove(&name);
        }
        mounted.end()?;
        levels("/dir")?;
        if let Some(complaint) = fs::check(DISK)? {
            bail!("after round {round} by {kind}: {complaint}");
        }
    }
    let mounted = Mounted::of_type(here, DISK, MNT, "ro")?;
    same(&list(&Path::new(MNT).join("dir"))?, &expected)?;
    mounted.end()
}

/// A disk that fills up while directories grow: what could not be added is not there, and all else is.
fn no_space(env: &Env) -> Result<()> {
    let mounted = env.mount("")?;
    file::write(env.path("base"), b"")?;
    // Leaves room for a few blocks, each time fewer.
    let mut made = Vec::new();
    for round in 0..12 {
        let dir = env.path(format!("dir-{round}"));
        let ballast = env.path("ballast");
        file::create_dir(&dir)?;
        let handle = fs::open_buffered(&ballast)?;
        for piece in [64 << 10, 1 << 10] {
            while (&handle).write_all(&vec![1; piece]).is_ok() {}
            handle.sync_all()?;
        }
        let length = handle.metadata()?.len();
        handle.set_len(length.saturating_sub(14 * 1024 - round * 1024))?;
        let mut names = BTreeSet::new();
        loop {
            let name = format!("name-{}-{}", names.len(), "x".repeat(100));
            match file::hard_link(env.path("base"), dir.join(&name)) {
                Ok(()) => names.insert(name),
                Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => break,
                Err(error) => return Err(error).context("a full disk"),
            };
            ensure!(names.len() < 1000, "the disk does not fill up");
        }
        same(&list(&dir)?, &names)?;
        drop(handle);
        file::remove_file(&ballast)?;
        made.push((dir, names));
    }
    mounted.end()?;
    let mounted = env.mount("")?;
    for (dir, names) in &made {
        same(&list(dir)?, names)?;
    }
    mounted.end()
}

/// A kind of damage: what it is, the block of the directory, the byte in it, what to write there.
type Case = (&'static str, usize, u64, &'static [u8]);

/// Index blocks that cannot be. Names are found all the same, or there is an errno; never a hang or a warning.
fn damaged_index(env: &Env) -> Result<()> {
    const NAMES: usize = 700;
    const DEEP: usize = 5000;
    let cases: &[Case] = &[
        ("hash-version", 0, 0x1c, &[77]),
        ("info-length", 0, 0x1d, &[200]),
        ("levels", 0, 0x1e, &[9]),
        ("levels-more", 0, 0x1e, &[1]),
        ("flags", 0, 0x1f, &[1]),
        ("limit", 0, 0x20, &[0xff, 0xff]),
        ("count-zero", 0, 0x22, &[0, 0]),
        ("count-large", 0, 0x22, &[0xff, 0x7f]),
        ("block-root", 0, 0x24, &[0, 0, 0, 0]),
        ("block-far", 0, 0x24, &[0xff, 0xff, 0xff, 0x0f]),
        ("order", 0, 0x40, &[0xff, 0xff, 0xff, 0xff]),
        ("dotdot", 0, 0x10, &[12, 0]),
        ("leaf", 1, 4, &[0, 0]),
        ("deep-node-limit", usize::MAX, 8, &[1, 0]),
        ("deep-node-count", usize::MAX, 10, &[0, 0]),
        ("deep-node-itself", usize::MAX, 12, &[0, 0, 0, 0]),
        ("deep-continues", usize::MAX, 16, &[1, 0, 0, 0]),
    ];
    let size = |name: &str| {
        if name.starts_with("deep") {
            DEEP
        } else {
            NAMES
        }
    };
    let mounted = env.mount("")?;
    for (name, ..) in cases {
        let mut links = Links::new(Path::new(MNT), name)?;
        for n in 0..size(name) {
            links.add(&format!("name-{n}"))?;
        }
    }
    mounted.end()?;
    let disk = OpenOptions::new().read(true).write(true).open(DISK)?;
    for (name, lblk, offset, bytes) in cases {
        let map = |lblk: &str| -> Result<u64> {
            let text = debugfs(&format!("bmap /{name} {lblk}"))?;
            let number = text.lines().find_map(|line| line.trim().parse().ok());
            number.with_context(|| format!("bmap says {text}"))
        };
        let block = if *lblk == usize::MAX {
            // The node that the root's first pair leads to.
            let mut pair = [0; 4];
            disk.read_exact_at(&mut pair, map("0")? * env.block() + 0x24)?;
            map(&u32::from_le_bytes(pair).to_string())?
        } else {
            map(&lblk.to_string())?
        };
        disk.write_all_at(bytes, block * env.block() + offset)?;
    }
    disk.sync_all()?;
    drop(disk);
    for (name, ..) in cases {
        let mounted = env.mount("")?;
        let place = env.guest.kmsg.settle()?;
        let count = size(name);
        let dir = env.path(name);
        let lookups = |what: &str| -> Result<()> {
            let found = (0..count)
                .step_by(9)
                .filter(|n| file::symlink_metadata(dir.join(format!("name-{n}"))).is_ok())
                .count();
            let index_only = !matches!(*name, "leaf" | "order" | "deep-continues");
            ensure!(
                found == count.div_ceil(9) || !index_only || env.driver() != Driver::Notblk,
                "{name}: {what} {found} of {} names are found",
                count.div_ceil(9)
            );
            Ok(())
        };
        lookups("at first")?;
        let entries = file::read_dir(&dir).map(|entries| entries.take(3 * count).count());
        if let Ok(listed) = entries {
            ensure!(listed < 3 * count, "{name}: readdir goes round in circles");
        }
        let added = file::write(dir.join("new-name"), b"");
        let _ = file::remove_file(dir.join("name-3"));
        if added.is_ok() {
            ensure!(
                file::symlink_metadata(dir.join("new-name")).is_ok(),
                "{name}: what was added is not found"
            );
        }
        // A hash that is in order, if not the right one, does not show.
        if *name != "deep-continues" {
            env.complains(place, name)?;
        }
        mounted.end()?;
        let mounted = env.mount("")?;
        lookups("later")?;
        ensure!(
            added.is_err() || file::symlink_metadata(dir.join("new-name")).is_ok(),
            "{name}: what was added is not found after a new mount"
        );
        mounted.end()?;
    }
    // What is left can be repaired, and is whole then.
    let (code, text) = fs::tool_code("e2fsck", &["-fy", DISK])?;
    ensure!(code <= 2, "e2fsck -fy ended with {code}: {text}");
    Ok(())
}

/// Names in a chunk of [`many`].
const CHUNK: usize = 10_000;
/// Chunks.
const CHUNKS: usize = 10;
/// Names in a piece of it.
const PIECE: usize = 1000;

/// What pieces of work cost, each the same number of names: nanoseconds of this thread's own time.
struct Cost {
    least: u64,
    middle: u64,
}

/// This thread's own time so far, in nanoseconds.
fn own_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

impl Cost {
    /// Of something done with each of these names, some pieces of them.
    fn of(
        env: &Env,
        names: Range<usize>,
        work: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<Cost> {
        let mut pieces = Vec::new();
        for first in names.step_by(PIECE) {
            let start = own_time();
            for n in first..first + PIECE {
                work(&format!("some-name-{n}"))?;
            }
            pieces.push(own_time() - start);
            env.guest.host.progress(pieces.len() as u64, 0)?;
        }
        pieces.sort_unstable();
        Ok(Cost {
            least: pieces[0],
            middle: pieces[pieces.len() / 2],
        })
    }

    /// Asks that it does not grow with the number of names. What looks through a list costs five times as much in the third chunk as
    /// in the first, and nineteen times in the last. On a machine that has other things to do as well, some piece is disturbed
    /// little.
    fn is_like(&self, few: &Cost, what: &str) -> Result<()> {
        ensure!(
            self.least <= 3 * few.middle,
            "{what}: {} us for each thousand among many names, to add one among few {} us",
            self.least / 1000,
            few.middle / 1000
        );
        Ok(())
    }
}

/// What it costs to list a directory of so many names: the least of some times.
fn listing(dir: &Path, names: usize) -> Result<u64> {
    let mut least = u64::MAX;
    for _ in 0..3 {
        let start = own_time();
        let count = file::read_dir(dir)?.count();
        least = least.min(own_time() - start);
        ensure!(count == names, "{count} of {names} names are listed");
    }
    Ok(least)
}

/// A directory of 100,000 names: what is done with one of them costs what it costs among few.
fn many(env: &Env) -> Result<()> {
    let all = CHUNKS * CHUNK;
    let mounted = env.mount("")?;
    let mut links = Links::new(Path::new(MNT), "dir")?;
    let dir = env.path("dir");
    let remove = &mut |name: &str| Ok(file::remove_file(dir.join(name))?);
    let look = &mut |name: &str| Ok(file::symlink_metadata(dir.join(name)).map(drop)?);
    let first = Cost::of(env, 0..CHUNK, &mut |name| Ok(links.add(name)?))?;
    let mut add = |names: Range<usize>| -> Result<Cost> {
        let cost = Cost::of(env, names, &mut |name| Ok(links.add(name)?))?;
        cost.is_like(&first, "add")?;
        Ok(cost)
    };
    add(CHUNK..2 * CHUNK)?;
    let listed_few = listing(&dir, 2 * CHUNK)?;
    let mut last = None;
    for chunk in 2..CHUNKS {
        last = Some(add(chunk * CHUNK..(chunk + 1) * CHUNK)?);
    }
    let last = last.context("no chunk")?;
    let listed = listing(&dir, all)?;
    ensure!(
        listed <= 10 * listed_few,
        "listing {all} names costs {} us, {} names {} us",
        listed / 1000,
        2 * CHUNK,
        listed_few / 1000
    );
    mounted.end()?;
    let below = levels("/dir")?;
    ensure!(below == 1, "{below} levels below the root");

    let mounted = env.mount("")?;
    let found = Cost::of(env, all - CHUNK..all, look)?;
    let removed = Cost::of(env, all - CHUNK..all, remove)?;
    Cost::of(env, 0..all - CHUNK, remove)?;
    file::remove_dir(&dir).context("the directory is not empty")?;
    env.note(format!("add: {} us for each thousand", first.middle / 1000));
    // Neither costs more than to add one: that looks the name up too, and changes as much.
    for (what, many) in [("add", &last), ("look up", &found), ("remove", &removed)] {
        env.note(format!("{what} among many: {} us", many.middle / 1000));
        many.is_like(&first, what)?;
    }
    mounted.end()
}
