// SPDX-License-Identifier: GPL-2.0
//! Extended attributes by path; symbolic links are not followed.

use rustix::fs::{
    lgetxattr, lgetxattr_query, llistxattr, llistxattr_query, lremovexattr, lsetxattr, XattrFlags,
};
use std::collections::BTreeSet;
use std::io::Result;
use std::path::Path;

/// The value of an attribute.
pub fn get(path: impl AsRef<Path>, name: &str) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let mut value = vec![0; lgetxattr_query(path, name)?];
    let len = lgetxattr(path, name, value.as_mut_slice())?;
    value.truncate(len);
    Ok(value)
}

/// The value, in no more than so many bytes.
pub fn get_in(path: impl AsRef<Path>, name: &str, room: usize) -> Result<Vec<u8>> {
    let mut value = vec![0; room];
    let len = lgetxattr(path.as_ref(), name, value.as_mut_slice())?;
    value.truncate(len);
    Ok(value)
}

/// Sets an attribute, whether it is there or not.
pub fn set(path: impl AsRef<Path>, name: &str, value: &[u8]) -> Result<()> {
    set_if(path, name, value, XattrFlags::empty())
}

/// Sets an attribute that is not there yet, or one that is.
pub fn set_if(path: impl AsRef<Path>, name: &str, value: &[u8], flags: XattrFlags) -> Result<()> {
    Ok(lsetxattr(path.as_ref(), name, value, flags)?)
}

/// Removes an attribute.
pub fn remove(path: impl AsRef<Path>, name: &str) -> Result<()> {
    Ok(lremovexattr(path.as_ref(), name)?)
}

/// The names of all attributes.
pub fn list(path: impl AsRef<Path>) -> Result<BTreeSet<String>> {
    let room = llistxattr_query(path.as_ref())?;
    list_in(path, room)
}

/// The names, in no more than so many bytes.
pub fn list_in(path: impl AsRef<Path>, room: usize) -> Result<BTreeSet<String>> {
    let mut names = vec![0; room];
    let len = llistxattr(path.as_ref(), names.as_mut_slice())?;
    Ok(names[..len]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect())
}
