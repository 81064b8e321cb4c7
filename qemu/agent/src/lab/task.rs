// SPDX-License-Identifier: GPL-2.0
//! What the kernel says of a thread of ours: whether it sleeps, how often it has, and in which function.

use std::fs;

/// A look at a thread, and at the worker that io_uring runs its requests with, if it has one.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct Look {
    /// All of them sleep.
    pub asleep: bool,
    /// How often they have gone to sleep or were put aside, in all. Two looks with one number: nothing ran between them.
    pub switches: u64,
}

/// Looks at a thread of this process.
pub fn look(tid: i32) -> Look {
    let mut look = Look {
        asleep: true,
        switches: 0,
    };
    for task in with_workers(tid) {
        // A thread that is gone sleeps well.
        let status = read(task, "status");
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
        };
        look.asleep &= !field("State").is_some_and(|state| state.starts_with('R'));
        for name in ["voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"] {
            let count = field(name).and_then(|text| text.parse::<u64>().ok());
            look.switches += count.unwrap_or(0);
        }
    }
    look
}

/// Functions in which a task waits for what another one has, the most telling first.
const LOCKS: [&str; 8] = [
    "inode_dio_wait",
    "rwsem_down_write_slowpath",
    "rwsem_down_read_slowpath",
    "filemap_invalidate_lock",
    "__mutex_lock",
    "folio_wait_writeback",
    "folio_wait_bit_common",
    "__folio_lock",
];

/// The function that says best what a thread waits for, and whether it is one of those that wait for another task.
pub fn waits_in(tid: i32) -> (String, bool) {
    let stacks: Vec<String> = with_workers(tid)
        .into_iter()
        .map(|task| read(task, "stack"))
        .collect();
    let found = LOCKS.iter().find(|name| {
        stacks
            .iter()
            .any(|stack| functions(stack).any(|at| at == **name))
    });
    match found {
        Some(name) => (lock_of(name, &stacks), true),
        None => {
            let top = stacks.iter().find_map(|stack| functions(stack).next());
            (
                top.unwrap_or("nothing that its stack tells").to_owned(),
                false,
            )
        }
    }
}

/// The name, and for a semaphore who wants it: the first function below that is not the semaphore's own.
fn lock_of(name: &str, stacks: &[String]) -> String {
    if !name.starts_with("rwsem_") {
        return name.to_owned();
    }
    let below = stacks.iter().find_map(|stack| {
        functions(stack).skip_while(|at| *at != name).find(|at| {
            !at.starts_with("rwsem_") && !at.starts_with("down_") && !at.starts_with("__down")
        })
    });
    let kind = match name.contains("write") {
        true => "down_write",
        false => "down_read",
    };
    match below {
        Some(below) => format!("{kind} of {}", demangled(below)),
        None => kind.to_owned(),
    }
}

/// The last names of a Rust path that the compiler has mangled; anything else as it is.
fn demangled(symbol: &str) -> String {
    if !symbol.starts_with("_R") {
        return symbol.to_owned();
    }
    // Identifiers are a length and as many letters.
    let mut names: Vec<&str> = Vec::new();
    let mut rest = symbol;
    while let Some(at) = rest.find(|letter: char| letter.is_ascii_digit()) {
        rest = &rest[at..];
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let length: usize = rest[..digits].parse().unwrap_or(0);
        rest = rest[digits..].trim_start_matches('_');
        match rest.get(..length) {
            Some(name) if length > 1 && name.starts_with(|c: char| c.is_ascii_lowercase()) => {
                names.push(name);
                rest = &rest[length..];
            }
            _ => {}
        }
    }
    let last = names.len().saturating_sub(2);
    names[last..].join("::")
}

/// The functions of a stack as `/proc` has it, the innermost first.
fn functions(stack: &str) -> impl Iterator<Item = &str> {
    stack
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1)?.split('+').next())
}

/// The thread, and the workers of its io_uring.
fn with_workers(tid: i32) -> Vec<i32> {
    let worker = format!("iou-wrk-{tid}");
    let mut tasks = vec![tid];
    for entry in fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
    {
        let Some(task) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if read(task, "comm").trim_end() == worker {
            tasks.push(task);
        }
    }
    tasks
}

fn read(tid: i32, what: &str) -> String {
    fs::read_to_string(format!("/proc/self/task/{tid}/{what}")).unwrap_or_default()
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_stack_is_read_from_the_inside() {
        let stack = "[<0>] inode_dio_wait+0xd5/0x1f0\n[<0>] write_iter+0x1/0x2 [notblk]\n";
        assert_eq!(
            functions(stack).collect::<Vec<_>>(),
            ["inode_dio_wait", "write_iter"]
        );
    }

    #[test]
    fn a_semaphore_is_named_by_who_wants_it() {
        let stack = "[<0>] rwsem_down_write_slowpath+0x1/0x2\n[<0>] down_write+0x1/0x2\n[<0>] ext4_truncate+0x1/0x2\n";
        assert_eq!(
            lock_of("rwsem_down_write_slowpath", &[stack.into()]),
            "down_write of ext4_truncate"
        );
    }

    #[test]
    fn a_rust_symbol_is_shortened() {
        let symbol = "_RNvNtNtCs1234_6notblk2fs8buffered5write";
        assert_eq!(demangled(symbol), "buffered::write");
        assert_eq!(demangled("do_truncate"), "do_truncate");
    }
}
