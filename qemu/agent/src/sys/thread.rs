// SPDX-License-Identifier: GPL-2.0
//! How the scheduler treats a thread.

use std::io::{Error, Result};

/// The calling thread runs before all that are not like it, as long as it wants to. To be ended soon, for it keeps even the
/// kernel's threads from its processor.
pub fn first_among_all() -> Result<()> {
    scheduler(libc::SCHED_FIFO, 1)
}

/// The calling thread is as others are.
pub fn one_of_many() -> Result<()> {
    scheduler(libc::SCHED_OTHER, 0)
}

fn scheduler(policy: libc::c_int, priority: libc::c_int) -> Result<()> {
    // Its first field, and on Linux the only one that the system call reads.
    let priority: [libc::c_int; 1] = [priority];
    // The system call: not every C library's function is one.
    // SAFETY: reads one `sched_priority`, of the size of an int; 0 is the calling thread.
    match unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, priority.as_ptr()) } {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}
