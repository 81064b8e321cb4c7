// SPDX-License-Identifier: GPL-2.0
//! How a kernel warning, bug or panic is told from ordinary log lines.
//!
//! Shared, because two places look: the agent reads `/dev/kmsg` while the guest lives, and the host
//! reads the console's log when it died too fast for the agent to speak.

/// Text that begins a report of the kernel about itself. Matched anywhere in a line, since
/// the console puts times and CPU numbers before it.
const MARKS: &[&str] = &[
    "WARNING: ",
    "BUG: ",
    "kernel BUG at",
    "Oops: ",
    "KASAN: ",
    "KCSAN: ",
    "UBSAN: ",
    "general protection fault",
    "Kernel panic",
    "rust_kernel: panicked at",
    "possible circular locking",
    "possible recursive locking",
    "possible irq lock inversion",
    "inconsistent lock state",
    "suspicious RCU usage",
    "detected stall",
    "self-detected stall",
    "blocked for more than",
    "sleeping function called from invalid context",
    "refcount_t: ",
    "list_add corruption",
    "list_del corruption",
    "Busy inodes after unmount",
    "Objects remaining",
];

/// Whether the line begins a kernel splat.
pub fn is_splat(line: &str) -> bool {
    MARKS.iter().any(|mark| {
        let mut found = line.match_indices(mark);
        // `DEBUG: ` is no `BUG: `.
        found.any(|(at, _)| !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric()))
    })
}

/// Whether the line ends the report that such a line began.
pub fn is_end(line: &str) -> bool {
    line.contains("---[ end ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_splats_from_news() {
        assert!(is_splat(
            "[    4.1] WARNING: CPU: 0 PID: 1 at fs/inode.c:1 x+0x1/0x2"
        ));
        assert!(is_splat("rust_kernel: panicked at fs/inode.rs:3:1:"));
        assert!(is_splat(
            "INFO: task sync:77 blocked for more than 120 seconds."
        ));
        assert!(!is_splat("notblk (vda): mounted filesystem"));
        assert!(!is_splat("udevd: DEBUG: nothing to do"));
        assert!(is_splat("DEBUG: x BUG: y"));
        assert!(!is_splat("Page cache invalidation failure on direct I/O."));
        assert!(is_end("[    4.2] ---[ end trace 0000000000000000 ]---"));
    }
}
