// SPDX-License-Identifier: GPL-2.0
//! A tree of files to be written by one driver and read by another.

use crate::buf::Random;
use crate::fs::{open_buffered, open_direct};
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Writes the tree: sizes around every boundary, holes, hard links, modes, owners, times.
pub fn write(root: &Path, block: u64, seed: u64) -> Result<()> {
    let mut random = Random(seed);
    let pointers = block / 4;
    let sizes = [
        0,
        1,
        block - 1,
        block,
        block + 1,
        12 * block,
        12 * block + 1,
        (12 + pointers) * block,
        (12 + pointers) * block + 1,
        (12 + pointers + 3) * block,
    ];
    for (index, size) in sizes.into_iter().enumerate() {
        let mut data = vec![0; size as usize];
        random.fill(&mut data);
        fs::write(root.join(format!("size-{index}")), data)?;
    }
    let sparse = open_buffered(root.join("sparse"))?;
    // With 1 KiB blocks a file of 64 MiB has a triple-indirect block. With larger ones it would
    // take gigabytes of zeros to read; there `data/levels` looks at that level.
    let levels = [
        5,
        20,
        12 + pointers + 7,
        12 + pointers + pointers * pointers + 3,
    ];
    for level in levels.into_iter().take(if block == 1024 { 4 } else { 3 }) {
        sparse.write_all_at(&level.to_le_bytes(), level * block + 17)?;
        sparse.set_len((level + 100) * block + 5)?;
    }
    let direct = open_direct(root.join("direct"))?;
    direct.set_len(40 * block)?;
    for start in [3, 11, 20] {
        let mut data = crate::buf::Buffer::new(4 * block as usize);
        random.fill(&mut data);
        direct.write_all_at(&data, start * block)?;
    }
    drop((sparse, direct));
    let mut dir = root.to_owned();
    for depth in 0..6 {
        dir = dir.join(format!("depth-{depth}"));
        fs::create_dir(&dir)?;
        for number in 0..15 {
            fs::write(
                dir.join(format!("{number}-{}", "n".repeat(number * 7))),
                format!("{depth} {number}"),
            )?;
        }
    }
    fs::create_dir(root.join("emptied"))?;
    for number in 0..200 {
        fs::write(root.join(format!("emptied/{number}")), b"")?;
    }
    for number in 0..200 {
        fs::remove_file(root.join(format!("emptied/{number}")))?;
    }
    fs::rename(root.join("depth-0/depth-1/depth-2"), root.join("moved"))?;
    for (name, mode, owner, time) in [
        ("size-1", 0o600, 0, 1),
        ("size-2", 0o6755, 1000, 1_000_000_000),
        ("size-3", 0o000, 65_536, 2_000_000_000),
        ("moved", 0o1777, 70_000, 1_500_000_000),
    ] {
        let path = root.join(name);
        std::os::unix::fs::chown(&path, Some(owner), Some(owner + 1))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(time);
        fs::File::open(&path)?.set_times(fs::FileTimes::new().set_modified(time))?;
    }
    Ok(())
}

/// One line for each file and directory, sorted: what must be equal whoever reads.
pub fn manifest(root: &Path) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    visit(root, root, &mut lines)?;
    lines.sort();
    Ok(lines)
}

fn visit(root: &Path, path: &Path, lines: &mut Vec<String>) -> Result<()> {
    let meta = fs::symlink_metadata(path).with_context(|| format!("stat {}", path.display()))?;
    let name = path.strip_prefix(root)?.display();
    let contents = match meta.is_file() {
        true => sum(path)?,
        false => 0,
    };
    lines.push(format!(
        "{name:?} inode {} mode {:o} links {} owner {} {} size {} sectors {} mtime {} ctime {} sum {contents:x}",
        meta.ino(),
        meta.mode(),
        meta.nlink(),
        meta.uid(),
        meta.gid(),
        meta.size(),
        meta.blocks(),
        meta.mtime(),
        meta.ctime(),
    ));
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            visit(root, &entry?.path(), lines)?;
        }
    }
    Ok(())
}

/// A sum over all bytes of a file that depends on their places; holes cost little.
fn sum(path: &Path) -> Result<u64> {
    use std::io::Read;
    let mut file = fs::File::open(path)?;
    let size = file.metadata()?.len();
    let mut piece = vec![0; 1 << 16];
    let mut total = size;
    let mut offset = 0_u64;
    loop {
        let length = file
            .read(&mut piece)
            .with_context(|| format!("read {}", path.display()))?;
        if length == 0 {
            return Ok(total);
        }
        if piece[..length].iter().any(|&byte| byte != 0) {
            for (index, &byte) in piece[..length].iter().enumerate() {
                let place = offset + index as u64;
                total = total.wrapping_add(
                    u64::from(byte).wrapping_mul(place.wrapping_mul(0x9e37_79b9) | 1),
                );
            }
        }
        offset += length as u64;
    }
}
