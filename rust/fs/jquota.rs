// SPDX-License-Identifier: GPL-2.0

//! Mount options that name quota files: `usrjquota=NAME`, `grpjquota=NAME` and `jqfmt=vfsold|vfsv0|vfsv1`. C:
//! `EXT4_SPEC_JQUOTA` in `fs/ext4/super.c`.
//!
//! Without a journal they do two things: quotas may be turned on, as by `usrquota`; and what a crash has left on the orphan list is
//! dealt with by a mount that knows, for so long, whom it is charged to. The feature `quota` leaves them without a meaning.

use super::SuperBlock;
use crate::vfs::{
    fs_context::{Log, Value},
    quota::{Format, Kind},
};
use kernel::{prelude::*, seq_file::SeqFile, seq_print, sync::Arc};

/// The formats, as `jqfmt=` has them. C: `ext4_param_jqfmt`.
const FORMATS: [(&[u8], &str, Format); 3] = [
    (b"vfsold", "vfsold", Format::Old),
    (b"vfsv0", "vfsv0", Format::V0),
    (b"vfsv1", "vfsv1", Format::V1),
];

/// What the options say.
#[derive(Clone, Default)]
pub(crate) struct Named {
    user: Option<Name>,
    group: Option<Name>,
    format: Option<Format>,
}

/// The name of a file in the root directory, with the zero that ends it. Shared by the copies of a mount's options.
type Name = Arc<KVec<u8>>;

impl Named {
    /// Takes one option. `Ok(false)`: not one of these.
    pub(super) fn parse(&mut self, key: &[u8], value: &Value<'_>, log: &Log) -> Result<bool> {
        let slot = match key {
            b"usrjquota" => &mut self.user,
            b"grpjquota" => &mut self.group,
            b"jqfmt" => {
                let Value::Text(text) = value else {
                    return Err(log.invalid(c"jqfmt needs a format"));
                };
                let found = FORMATS.iter().find(|(name, ..)| name == text);
                let (.., format) = found.ok_or_else(|| log.invalid(c"jqfmt: unknown format"))?;
                self.format = Some(*format);
                return Ok(true);
            }
            _ => return Ok(false),
        };
        match *value {
            Value::Flag => return Err(log.invalid(c"the option needs a file's name, or =")),
            Value::Text(b"") => *slot = None,
            Value::Text(text) if text.contains(&b'/') => {
                return Err(log.invalid(c"a quota file must be in the root directory"));
            }
            Value::Text(text) => match slot {
                Some(old) if !is_name(old, text) => {
                    return Err(log.invalid(c"another quota file has been named"));
                }
                Some(_) => {}
                None => *slot = Some(name(text)?),
            },
        }
        Ok(true)
    }

    /// Whether there is a name for a kind.
    pub(super) fn has(&self, kind: Kind) -> bool {
        self.get(kind).is_some()
    }

    fn get(&self, kind: Kind) -> Option<&Name> {
        match kind {
            Kind::User => self.user.as_ref(),
            Kind::Group => self.group.as_ref(),
            Kind::Project => None,
        }
    }

    /// Checks what the options say beside each other, `usrquota` and `grpquota` being `plain`; on a remount, with quotas on or
    /// not, beside what they said before. C: `ext4_check_quota_consistency`.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub(super) fn check(
        &self,
        plain: (bool, bool),
        before: Option<(&Self, bool)>,
    ) -> Result<(), &'static str> {
        if let Some((before, loaded)) = before {
            for kind in Kind::ALL {
                match (before.get(kind), self.get(kind)) {
                    (Some(old), Some(new)) if old[..] != new[..] => {
                        return Err("another quota file has been named");
                    }
                    (old, new) if loaded && old.is_some() != new.is_some() => {
                        return Err("names of quota files change while quotas are on");
                    }
                    _ => {}
                }
            }
            if loaded && before.format != self.format {
                return Err("jqfmt changes while quotas are on");
            }
        }
        if self.user.is_none() && self.group.is_none() {
            return Ok(());
        }
        // A name stands in for the plain option of its kind.
        let (user, group) = plain;
        if (user && self.user.is_none()) || (group && self.group.is_none()) {
            return Err("quotas with names and quotas without");
        }
        if self.format.is_none() {
            return Err("named quota files, and no jqfmt");
        }
        Ok(())
    }

    /// In `/proc/mounts`. C: `ext4_show_quota_options`.
    pub(super) fn show(&self, m: &SeqFile) {
        let format = FORMATS
            .iter()
            .find(|(.., format)| Some(*format) == self.format);
        if let Some((_, name, _)) = format {
            seq_print!(m, ",jqfmt={name}");
        }
        for (option, name) in [("usrjquota", &self.user), ("grpjquota", &self.group)] {
            if let Some(name) = name {
                seq_print!(m, ",{option}=");
                show_escaped(m, name);
            }
        }
    }
}

/// C: `seq_show_option`.
fn show_escaped(m: &SeqFile, name: &Name) {
    let (Some((_, bytes)), true) = (name.split_last(), name.is_ascii()) else {
        // Of whatever encoding: each byte that is none of ASCII by its number.
        for &byte in name.iter().filter(|&&byte| byte != 0) {
            show_byte(m, byte, !byte.is_ascii());
        }
        return;
    };
    for &byte in bytes {
        show_byte(m, byte, false);
    }
}

fn show_byte(m: &SeqFile, byte: u8, escape: bool) {
    if escape || b", \t\n\\".contains(&byte) {
        seq_print!(m, "\\{byte:03o}");
    } else {
        seq_print!(m, "{}", char::from(byte));
    }
}

/// Keeps a name.
fn name(text: &[u8]) -> Result<Name> {
    let mut bytes = KVec::with_capacity(text.len().saturating_add(1), GFP_KERNEL)?;
    bytes.extend_from_slice(text, GFP_KERNEL)?;
    bytes.push(0, GFP_KERNEL)?;
    Ok(Arc::new(bytes, GFP_KERNEL)?)
}

fn is_name(name: &Name, text: &[u8]) -> bool {
    name.strip_suffix(b"\0") == Some(text)
}

/// Quotas by named files, on as long as this lives. `s_umount` is held throughout.
pub(super) struct On<'sb>(&'sb SuperBlock, [bool; 2]);

impl<'sb> On<'sb> {
    /// Turns them on, for what is to be done about the orphan list. What fails is told, and leaves the usage to quotacheck(8).
    /// C: `ext4_quota_on_mount` in `ext4_orphan_cleanup`.
    pub(super) fn new(sb: &'sb SuperBlock) -> Self {
        let named = sb.data().named_quotas.lock().clone();
        let turn_on = |kind: Kind| {
            let (Some(name), Some(format)) = (named.get(kind), named.format) else {
                return false;
            };
            let name = CStr::from_bytes_with_nul(name).map_err(|_| EINVAL);
            name.and_then(|name| sb.quota_on_by_name(kind, name, format))
                .inspect_err(|e| {
                    pr_err!(
                        "({}): named {} quota not turned on: {e:?}\n",
                        sb.id(),
                        kind.name()
                    );
                })
                .is_ok()
        };
        if sb.quota_loaded() {
            // By a remount that found them resting.
            return Self(sb, [false; 2]);
        }
        Self(sb, [Kind::User, Kind::Group].map(turn_on))
    }
}

impl Drop for On<'_> {
    fn drop(&mut self) {
        let Self(sb, [user, group]) = *self;
        for (kind, on) in [(Kind::User, user), (Kind::Group, group)] {
            if on {
                sb.quota_off_by_name(kind);
            }
        }
    }
}
