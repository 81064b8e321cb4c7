// SPDX-License-Identifier: GPL-2.0
//! `quotactl(2)`: what users, groups and projects have on a disk, and how much they may have.

use crate::sys;
use anyhow::{Context, Result};
use std::ffi::CString;
use std::io;
use std::path::Path;

/// Whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `USRQUOTA`
    User = 0,
    /// `GRPQUOTA`
    Group = 1,
    /// `PRJQUOTA`
    Project = 2,
}

/// Usage and hard limits of somebody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Bytes in use.
    pub bytes: u64,
    /// Inodes in use.
    pub inodes: u64,
    /// KiB at the most, or 0.
    pub max_kib: u64,
    /// Inodes at the most, or 0.
    pub max_inodes: u64,
}

/// `Q_SYNC`, `Q_QUOTAON`, `Q_QUOTAOFF`, `Q_GETQUOTA`, `Q_SETQUOTA`: see `include/uapi/linux/quota.h`.
const QUOTAON: i32 = 0x80_0002;
const QUOTAOFF: i32 = 0x80_0003;
const GETQUOTA: i32 = 0x80_0007;
const SETQUOTA: i32 = 0x80_0008;
/// `QFMT_VFS_V1`
const FORMAT: u32 = 4;
/// `QIF_BLIMITS | QIF_ILIMITS`
const LIMITS: u32 = 1 | 4;
/// `QIF_BLIMITS`
const SPACE_LIMITS: u32 = 1;
/// `QIF_BTIME`
const SPACE_TIME: u32 = 16;

fn command(command: i32, kind: Kind) -> i32 {
    command << 8 | kind as i32
}

fn read(disk: &str, kind: Kind, id: u32) -> Result<sys::Dqblk> {
    let mut raw = sys::Dqblk::default();
    sys::quotactl(
        command(GETQUOTA, kind),
        &CString::new(disk)?,
        id,
        sys::QuotaArg::Block(&mut raw),
    )
    .with_context(|| format!("Q_GETQUOTA {kind:?} {id}"))?;
    Ok(raw)
}

fn write(disk: &str, kind: Kind, id: u32, mut raw: sys::Dqblk) -> Result<()> {
    sys::quotactl(
        command(SETQUOTA, kind),
        &CString::new(disk)?,
        id,
        sys::QuotaArg::Block(&mut raw),
    )
    .with_context(|| format!("Q_SETQUOTA {kind:?} {id}"))
}

/// What somebody has and may have.
pub fn get(disk: &str, kind: Kind, id: u32) -> Result<Quota> {
    let raw = read(disk, kind, id)?;
    Ok(Quota {
        bytes: raw.curspace,
        inodes: raw.curinodes,
        max_kib: raw.bhardlimit,
        max_inodes: raw.ihardlimit,
    })
}

/// Sets hard limits, 0 for none.
pub fn limit(disk: &str, kind: Kind, id: u32, max_kib: u64, max_inodes: u64) -> Result<()> {
    let raw = sys::Dqblk {
        bhardlimit: max_kib,
        ihardlimit: max_inodes,
        valid: LIMITS,
        ..sys::Dqblk::default()
    };
    write(disk, kind, id, raw)
}

/// Sets a limit on space that may be passed for a while, and one that may not.
pub fn limit_softly(disk: &str, kind: Kind, id: u32, kib: u64, max_kib: u64) -> Result<()> {
    let raw = sys::Dqblk {
        bsoftlimit: kib,
        bhardlimit: max_kib,
        valid: SPACE_LIMITS,
        ..sys::Dqblk::default()
    };
    write(disk, kind, id, raw)
}

/// Until when the soft limit on space may be passed, in seconds since 1970; 0 where it is not.
pub fn grace(disk: &str, kind: Kind, id: u32) -> Result<u64> {
    Ok(read(disk, kind, id)?.btime)
}

/// Changes that time.
pub fn set_grace(disk: &str, kind: Kind, id: u32, until: u64) -> Result<()> {
    let raw = sys::Dqblk {
        btime: until,
        valid: SPACE_TIME,
        ..sys::Dqblk::default()
    };
    write(disk, kind, id, raw)
}

/// Turns quotas on by a file; without one, the limits of a filesystem that has its quotas in itself.
pub fn on(disk: &str, kind: Kind, file: Option<&Path>) -> io::Result<()> {
    let disk = CString::new(disk)?;
    let file = CString::new(file.map_or("", |file| file.to_str().unwrap_or_default()))?;
    sys::quotactl(
        command(QUOTAON, kind),
        &disk,
        FORMAT,
        sys::QuotaArg::Path(&file),
    )
}

/// Turns them off.
pub fn off(disk: &str, kind: Kind) -> io::Result<()> {
    let disk = CString::new(disk)?;
    sys::quotactl(command(QUOTAOFF, kind), &disk, 0, sys::QuotaArg::None)
}

/// An empty quota file of format `QFMT_VFS_V1`: its header, and the root of an empty tree.
pub fn empty_file(kind: Kind) -> Vec<u8> {
    let magic: u32 = match kind {
        Kind::User => 0xd9c0_1f11,
        Kind::Group => 0xd9c0_1927,
        Kind::Project => 0xd9c0_3f14,
    };
    let week = 7 * 24 * 60 * 60;
    let blocks = 2;
    // Magic number, version; grace times of blocks and of inodes, flags, blocks, free block, block with free entries.
    let header = [magic, 1, week, week, 0, blocks, 0, 0];
    let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.resize(blocks as usize * 1024, 0);
    bytes
}
