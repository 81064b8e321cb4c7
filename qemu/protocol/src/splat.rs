// SPDX-License-Identifier: GPL-2.0
//! How a kernel warning, bug or panic is told from ordinary log lines.
//!
//! Shared, because two places look: the agent reads `/dev/kmsg` while the guest lives, and the host
//! reads the console's log when it died too fast for the agent to speak.

/// Text that begins a report of the kernel about itself. Matched anywhere in a line, since
/// the console puts times and CPU numbers before it.
///
/// Most reports begin with one of the first lines here, whoever makes them: lockdep, KASAN, KCSAN, DEBUG_ATOMIC_SLEEP,
/// DEBUG_OBJECTS, DEBUG_VM, RCU's checks. What has a line of its own says it in other words.
const MARKS: &[&str] = &[
    "WARNING: ",
    "BUG: ",
    "kernel BUG at",
    "Oops: ",
    "Kernel panic",
    "rust_kernel: panicked at",
    "UBSAN: ",
    // What KASAN makes of a general protection fault.
    "KASAN: ",
    "general protection fault",
    // SLUB has no colon: `BUG kmalloc-64 (Tainted: G): Poison overwritten`.
    "BUG ",
    // Come before the `WARNING: ` that they belong to, and say more.
    "refcount_t: ",
    "list_add corruption",
    "list_del corruption",
    "Busy inodes after unmount",
    // RCU: `detected stalls`, `self-detected stall`, `detected expedited stalls`.
    "detected stall",
    "detected expedited stall",
    // The watchdog of hung tasks: `INFO: task x:1 blocked in I/O wait for more than 120 seconds.`, and whose lock it is.
    "INFO: task ",
    "hard LOCKUP",
    // A watcher that cannot go on says nothing any more, and a run without it shows nothing.
    "INFO: trying to register non-static key",
    "turning off the locking correctness validator",
    "ODEBUG disabled",
    "Kernel memory leak detector disabled",
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

    /// As the sources of 7.3 print them.
    #[test]
    fn knows_what_the_watchers_say() {
        for line in [
            "BUG: KASAN: slab-use-after-free in notblk_brelse+0x1f/0x40 [notblk]",
            "KASAN: null-ptr-deref in range [0x0000000000000008-0x000000000000000f]",
            "Oops: general protection fault, probably for non-canonical address 0xdffffc0000000001: 0000 [#1] SMP KASAN PTI",
            "BUG: KCSAN: data-race in __mark_inode_dirty / writeback_single_inode",
            "UBSAN: array-index-out-of-bounds in fs/iomap/iter.c:90:12",
            "WARNING: possible circular locking dependency detected",
            "WARNING: possible recursive locking detected",
            "WARNING: possible irq lock inversion dependency detected",
            "WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected",
            "WARNING: inconsistent lock state",
            "WARNING: bad unlock balance detected!",
            "WARNING: lock held when returning to user space!",
            "WARNING: suspicious RCU usage",
            "[ BUG: Invalid wait context ]",
            "INFO: trying to register non-static key.",
            "BUG: MAX_LOCKDEP_ENTRIES too low!",
            "turning off the locking correctness validator.",
            "BUG: sleeping function called from invalid context at rust/kernel/sync/lock.rs:133",
            "BUG: scheduling while atomic: notblk-agent/1/0x00000002",
            "WARNING: lib/debugobjects.c:629 at debug_print_object+0x17a/0x1f0, CPU#0: umount/70",
            "ODEBUG: Out of memory. ODEBUG disabled",
            "refcount_t: underflow; use-after-free.",
            "WARNING: lib/refcount.c:28 at refcount_warn_saturate+0x59/0x90, CPU#1: sync/9",
            "WARNING: lib/list_debug.c:32 at __list_add_valid_or_report+0x9c/0xf0, CPU#0: x/1",
            "WARNING: kernel/rcu/tree_plugin.h:332 at rcu_note_context_switch+0x5d/0x90, CPU#0: x/1",
            "BUG notblk_inode_cache (Tainted: G           O       ): Objects remaining on __kmem_cache_shutdown()",
            "BUG: Bad page state in process notblk-agent  pfn:01234",
            "BUG: spinlock bad magic on CPU#0, kworker/0:1/12",
            "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 32s!",
            "BUG: workqueue leaked atomic, lock or RCU: kworker/0:1[12]",
            "INFO: task umount:70 blocked in I/O wait for more than 120 seconds.",
            "INFO: task sync:71 is blocked on a mutex likely owned by task umount:70.",
            "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [x:1]",
            "watchdog: CPU1: Watchdog detected hard LOCKUP on cpu 0",
            "rcu: INFO: rcu_preempt self-detected stall on CPU",
            "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: {",
            "VFS: Busy inodes after unmount of vda (notblk)",
            "kernel BUG at fs/buffer.c:100!",
            "kmemleak: Kernel memory leak detector disabled",
        ] {
            assert!(is_splat(line), "{line}");
            assert!(is_splat(&format!("[   12.345678][    T1] {line}")), "{line}");
        }
    }

    /// What tests provoke, and what the watchers say while they are well.
    #[test]
    fn knows_what_is_none() {
        for line in [
            "FAULT_INJECTION: forcing a failure.",
            "name failslab, interval 1, probability 0, space 0, times 1",
            "CPU: 0 UID: 0 PID: 1 Comm: notblk-agent Tainted: G           O        7.3.4-kasan #1",
            "SLUB: Unable to allocate memory on CPU 0 (of node 0) on node -1, gfp=0xcc0(GFP_KERNEL)",
            "notblk-agent: page allocation failure: order:0, mode:0xcc0(GFP_KERNEL)",
            "Huh VM_FAULT_OOM leaked out to the #PF handler. Retrying PF",
            "kasan: KernelAddressSanitizer initialized (generic)",
            "kcsan: enabled early",
            "kmemleak: Kernel memory leak detector initialized (mem pool available: 38000)",
            "kmemleak: 1 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar",
            "workqueue: wb_workfn hogged CPU for >10000us 4 times, consider switching to WQ_UNBOUND",
            "notblk (vda): error: inode 12: size 0xffff",
            "rcu: RCU debug extended QS entry/exit.",
        ] {
            assert!(!is_splat(line), "{line}");
        }
    }
}
