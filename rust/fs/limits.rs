// SPDX-License-Identifier: GPL-2.0

//! Mount options about who may have how much: `resuid=`, `resgid=` (the reserved blocks), `grpid` and `nogrpid` (whose group a
//! new file has), `minixdf` and `bsddf` (what `statfs` calls the size), `usrquota`, `grpquota`, `prjquota`, `quota` and `noquota` (see
//! [`super::quota`]), and `sb=` (which copy of the superblock counts). All but `sb=` change by remount.

use super::SuperBlock;
use crate::{
    format::{
        number::parse_u32,
        superblock::{RawSuperBlock, DEFM_BSDGROUPS},
    },
    vfs::{
        fs_context::{Log, Value},
        quota::Kind,
        super_block::may_use_reserved,
    },
};
use kernel::{
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::atomic::{Atomic, Relaxed},
};

/// `sb=` where nothing is said: in units of 1 KiB, whatever the block size.
const FIRST_SUPER: u32 = 1;

/// What the mount options say; `None`: as the superblock says.
#[derive(Clone, Default)]
pub(super) struct Limits {
    /// Who may use the reserved blocks, beside `CAP_SYS_RESOURCE`.
    resuid: Option<u32>,
    /// Whose members may, unless it is group 0.
    resgid: Option<u32>,
    /// A new file has its directory's group, not its maker's.
    grpid: Option<bool>,
    /// `statfs` counts the blocks that can never hold files.
    minixdf: bool,
    /// Limits on what users have.
    usrquota: bool,
    /// Limits on what groups have.
    grpquota: bool,
    /// Limits on what projects have.
    prjquota: bool,
    /// `noquota` was said, and nothing after it.
    noquota: bool,
    /// Where the superblock is, in KiB.
    sb: Option<u32>,
}

impl Limits {
    /// Takes one option. `Ok(false)`: not one of these.
    pub(super) fn parse(&mut self, key: &[u8], value: &Value<'_>, log: &Log) -> Result<bool> {
        match (key, value) {
            (b"resuid", value) => self.resuid = Some(id(value, log)?),
            (b"resgid", value) => self.resgid = Some(id(value, log)?),
            (b"sb", value) => self.sb = Some(number(value, log)?),
            (b"grpid" | b"bsdgroups", Value::Flag) => self.grpid = Some(true),
            (b"nogrpid" | b"sysvgroups", Value::Flag) => self.grpid = Some(false),
            (b"minixdf", Value::Flag) => self.minixdf = true,
            (b"bsddf", Value::Flag) => self.minixdf = false,
            (b"usrquota" | b"quota", Value::Flag) => {
                self.usrquota = true;
                self.noquota = false;
            }
            (b"grpquota", Value::Flag) => {
                self.grpquota = true;
                self.noquota = false;
            }
            (b"prjquota", Value::Flag) => {
                self.prjquota = true;
                self.noquota = false;
            }
            (b"noquota", Value::Flag) => {
                self.usrquota = false;
                self.grpquota = false;
                self.prjquota = false;
                self.noquota = true;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether no quota is wanted, in so many words.
    pub(super) fn refuses_quotas(&self) -> bool {
        self.noquota
    }

    /// Whether limits of users, and of groups, are to be kept.
    pub(super) fn wants_quotas(&self) -> (bool, bool) {
        (self.usrquota, self.grpquota)
    }

    /// A named quota file stands in for the option.
    pub(super) fn drop_quota(&mut self, kind: Kind) {
        match kind {
            Kind::User => self.usrquota = false,
            Kind::Group => self.grpquota = false,
            Kind::Project => self.prjquota = false,
        }
    }

    /// Whether limits of projects are to be kept.
    pub(super) fn wants_project_quota(&self) -> bool {
        self.prjquota
    }

    /// Where to look for the superblock: bytes from the beginning of the device.
    pub(super) fn superblock_offset(&self) -> u64 {
        u64::from(self.sb.unwrap_or(FIRST_SUPER)).saturating_mul(1024)
    }
}

/// A number, decimal or not.
fn number(value: &Value<'_>, log: &Log) -> Result<u32> {
    let text = match value {
        Value::Text(text) => text,
        Value::Flag => return Err(log.invalid(c"the option needs a number")),
    };
    parse_u32(text).ok_or_else(|| log.invalid(c"the option's value is no number"))
}

/// The number of a user or a group; the last one is nobody's.
fn id(value: &Value<'_>, log: &Log) -> Result<u32> {
    match number(value, log)? {
        u32::MAX => Err(log.invalid(c"there is no such id")),
        id => Ok(id),
    }
}

/// What the superblock says of these.
#[derive(Clone, Copy)]
struct Defaults {
    resuid: u32,
    resgid: u32,
    grpid: bool,
}

/// The same of a mounted filesystem.
pub(crate) struct Live {
    defaults: Defaults,
    resuid: Atomic<u32>,
    resgid: Atomic<u32>,
    grpid: Atomic<bool>,
    minixdf: Atomic<bool>,
    usrquota: Atomic<bool>,
    grpquota: Atomic<bool>,
    prjquota: Atomic<bool>,
    sb: u32,
}

impl Live {
    pub(super) fn new(limits: &Limits, raw: &RawSuperBlock) -> Self {
        let wide = |low: u16, high: u16| u32::from(low) | u32::from(high) << 16;
        let defaults = Defaults {
            resuid: wide(raw.def_resuid.get(), raw.def_resuid_hi.get()),
            resgid: wide(raw.def_resgid.get(), raw.def_resgid_hi.get()),
            grpid: raw.default_mount_opts.get() & DEFM_BSDGROUPS != 0,
        };
        let live = Self {
            defaults,
            resuid: Atomic::new(defaults.resuid),
            resgid: Atomic::new(defaults.resgid),
            grpid: Atomic::new(defaults.grpid),
            minixdf: Atomic::new(false),
            usrquota: Atomic::new(false),
            grpquota: Atomic::new(false),
            prjquota: Atomic::new(false),
            sb: limits.sb.unwrap_or(FIRST_SUPER),
        };
        live.set(limits);
        live
    }

    pub(super) fn set(&self, limits: &Limits) {
        let Defaults {
            resuid,
            resgid,
            grpid,
        } = self.defaults;
        self.resuid.store(limits.resuid.unwrap_or(resuid), Relaxed);
        self.resgid.store(limits.resgid.unwrap_or(resgid), Relaxed);
        self.grpid.store(limits.grpid.unwrap_or(grpid), Relaxed);
        self.minixdf.store(limits.minixdf, Relaxed);
        self.usrquota.store(limits.usrquota, Relaxed);
        self.grpquota.store(limits.grpquota, Relaxed);
        self.prjquota.store(limits.prjquota, Relaxed);
    }

    pub(super) fn get(&self) -> Limits {
        Limits {
            resuid: Some(self.resuid.load(Relaxed)),
            resgid: Some(self.resgid.load(Relaxed)),
            grpid: Some(self.grpid()),
            minixdf: self.minixdf(),
            usrquota: self.quota(Kind::User),
            grpquota: self.quota(Kind::Group),
            prjquota: self.quota(Kind::Project),
            noquota: false,
            sb: Some(self.sb),
        }
    }

    /// Whether new files have their directory's group.
    pub(super) fn grpid(&self) -> bool {
        self.grpid.load(Relaxed)
    }

    /// Whether `statfs` counts all blocks.
    pub(super) fn minixdf(&self) -> bool {
        self.minixdf.load(Relaxed)
    }

    /// Whether limits of a kind are to be kept.
    pub(super) fn quota(&self, kind: Kind) -> bool {
        match kind {
            Kind::User => self.usrquota.load(Relaxed),
            Kind::Group => self.grpquota.load(Relaxed),
            Kind::Project => self.prjquota.load(Relaxed),
        }
    }

    /// In `/proc/mounts`: what differs from the superblock, as ext4 shows it.
    pub(super) fn show(&self, m: &SeqFile) {
        if self.sb != FIRST_SUPER {
            seq_print!(m, ",sb={}", self.sb);
        }
        for (name, on) in [
            ("minixdf", self.minixdf()),
            // Two names of one thing, and ext4 shows both.
            ("quota", self.quota(Kind::User)),
            ("usrquota", self.quota(Kind::User)),
            ("grpquota", self.quota(Kind::Group)),
            ("prjquota", self.quota(Kind::Project)),
        ] {
            if on {
                seq_print!(m, ",{name}");
            }
        }
        if self.grpid() != self.defaults.grpid {
            seq_print!(m, ",{}", if self.grpid() { "grpid" } else { "nogrpid" });
        }
        for (name, id, default) in [
            ("resuid", self.resuid.load(Relaxed), self.defaults.resuid),
            ("resgid", self.resgid.load(Relaxed), self.defaults.resgid),
        ] {
            if id != 0 || default != 0 {
                seq_print!(m, ",{name}={id}");
            }
        }
    }
}

/// How many of the `free` blocks are not for the caller: the reserved ones; none, where it may have them and `want` needs them.
/// Asks security modules, so without `SuperData::space`. C: `ext4_has_free_clusters`.
pub(super) fn kept(sb: &SuperBlock, free: u64, want: u32) -> u64 {
    let data = sb.data();
    let reserved = u64::from(data.geo.reserved_blocks());
    if reserved == 0 || free == 0 || free.saturating_sub(reserved) >= u64::from(want) {
        return reserved;
    }
    // Not asked without need: it is remembered of a task that it used a capability.
    let (resuid, resgid) = (
        data.limits.resuid.load(Relaxed),
        data.limits.resgid.load(Relaxed),
    );
    if may_use_reserved(resuid, resgid) {
        0
    } else {
        reserved
    }
}
