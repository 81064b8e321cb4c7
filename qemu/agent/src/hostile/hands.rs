// SPDX-License-Identifier: GPL-2.0
//! Calls, and what they may answer.

use std::collections::BTreeMap;
use std::io;

/// Pairs of a number and a name.
macro_rules! errnos {
    ($($name:ident)+) => { &[$((libc::$name, stringify!($name))),+] };
}

/// Errnos that a call on a damaged filesystem may end with. No memory is not among them. (`ENOSYS` is quotactl's
/// answer where quotas are off.)
const PLAUSIBLE: &[(i32, &str)] = errnos!(
    EPERM ENOENT ESRCH EIO ENXIO E2BIG EACCES EFAULT EBUSY EEXIST
    EXDEV ENOTDIR EISDIR EINVAL ENOTTY EFBIG ENOSPC EROFS EMLINK ERANGE
    ENAMETOOLONG ENOTEMPTY ELOOP ENODATA EOVERFLOW EOPNOTSUPP EUCLEAN ESTALE EDQUOT ENOSYS
);

/// What an errno is called; its number, where that would be a surprise.
pub fn name(errno: i32) -> String {
    let known = PLAUSIBLE.iter().find(|(number, _)| *number == errno);
    known.map_or_else(|| errno.to_string(), |(_, name)| (*name).to_owned())
}

/// Keeps count of what calls answer.
#[derive(Default)]
pub struct Hands {
    /// Calls that failed, by name and errno.
    pub errors: BTreeMap<(&'static str, i32), u64>,
    /// Answers that nobody should get.
    pub complaints: Vec<String>,
}

impl Hands {
    /// Takes a call's answer.
    pub fn try_call<T>(&mut self, call: &'static str, answer: io::Result<T>) -> Option<T> {
        match answer {
            Ok(value) => Some(value),
            Err(error) => {
                // Without an errno it is the library that gave up: a short read, or a name that it cannot pass on.
                if let Some(errno) = error.raw_os_error() {
                    self.count(call, errno);
                    if PLAUSIBLE.iter().all(|(known, _)| *known != errno) {
                        self.complain(format!("{call}: {error}"));
                    }
                }
                None
            }
        }
    }

    /// The same for the calls of rustix.
    pub fn try_rustix<T>(
        &mut self,
        call: &'static str,
        answer: rustix::io::Result<T>,
    ) -> Option<T> {
        self.try_call(call, answer.map_err(io::Error::from))
    }

    /// A call failed.
    pub fn count(&mut self, call: &'static str, errno: i32) {
        *self.errors.entry((call, errno)).or_default() += 1;
    }

    /// Something that may not be.
    pub fn complain(&mut self, complaint: String) {
        self.complaints.push(complaint);
    }

    /// Whether a call was told of damage.
    pub fn met_damage(&self) -> bool {
        self.errors.keys().any(|&(_, errno)| errno == libc::EUCLEAN)
    }
}
