// SPDX-License-Identifier: GPL-2.0
//! What the kernel says of a thread of ours: whether it sleeps, how often it has, and in which function.

use anyhow::{Context, Result};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// How long a task's `status` gets at most.
const LONGEST: usize = 4096;

/// A look at a thread, and at the worker that io_uring runs its requests with, if it has one.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct Look {
    /// All of them sleep.
    pub asleep: bool,
    /// How often they have gone to sleep or were put aside, in all. Two looks with one number: nothing ran between them.
    pub switches: u64,
}

/// A thread of this process whose requests are looked at.
pub struct Observed {
    tid: i32,
    /// It has requests by io_uring, so that a worker may be at them.
    uring: bool,
    /// Its file in /proc, kept open: it is read at every stage, and looking it up takes three times as long as reading it.
    status: File,
}

impl Observed {
    /// The thread of this number; whether it has requests by io_uring.
    pub fn new(tid: i32, uring: bool) -> Result<Observed> {
        let path = format!("/proc/self/task/{tid}/status");
        let status = File::open(&path).with_context(|| format!("open {path}"))?;
        Ok(Observed { tid, uring, status })
    }

    /// Looks at it.
    pub fn look(&self) -> Look {
        let mut look = Look {
            asleep: true,
            switches: 0,
        };
        let mut bytes = [0; LONGEST];
        // A thread that is gone sleeps well.
        let length = self.status.read_at(&mut bytes, 0).unwrap_or(0);
        look.add(bytes.get(..length).unwrap_or_default());
        for worker in self.workers() {
            look.add(read(worker, "status").as_bytes());
        }
        look
    }

    /// The function that says best what it waits for, and whether it is sure that another task must give it.
    pub fn waits_in(&self) -> (String, bool) {
        let mut stacks = vec![read(self.tid, "stack")];
        stacks.extend(self.workers().into_iter().map(|task| read(task, "stack")));
        said_of(&stacks)
    }

    /// The workers of its io_uring.
    fn workers(&self) -> Vec<i32> {
        let mut workers = Vec::new();
        if !self.uring {
            return workers;
        }
        let name = format!("iou-wrk-{}", self.tid);
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
            if read(task, "comm").trim_end() == name {
                workers.push(task);
            }
        }
        workers
    }
}

impl Look {
    /// Adds what a task's `status` says.
    fn add(&mut self, status: &[u8]) {
        for line in status.split(|&byte| byte == b'\n') {
            if let Some(state) = line.strip_prefix(b"State:\t") {
                self.asleep &= !state.starts_with(b"R");
            }
            for name in [
                &b"voluntary_ctxt_switches:\t"[..],
                b"nonvoluntary_ctxt_switches:\t",
            ] {
                let count = line
                    .strip_prefix(name)
                    .and_then(|count| str::from_utf8(count).ok());
                self.switches += count
                    .and_then(|count| count.parse::<u64>().ok())
                    .unwrap_or(0);
            }
        }
    }
}

/// Functions in which a task waits for what another one has, the most telling first. Those that wait for a semaphore or a mutex
/// are the scheduler's, and stand in no stack: it begins with who wants the lock.
const WAITS: [&str; 3] = ["inode_dio_wait", "folio_wait_bit_common", "__folio_lock"];
/// Waiting for a write to the disk, by functions of the list above; but nobody who is held has that.
const WRITEBACK: &str = "folio_wait_writeback";
/// Functions of the VFS that sleep in nothing but an inode's lock. (What a caller of theirs waits for stands above them.)
const LOCKERS: [&str; 1] = ["do_truncate"];
/// Functions that only go on to another one: the stack's first that is not among them is who waits.
const PASSAGES: [&str; 3] = ["down_", "rwsem_", "__mutex_lock"];

fn said_of(stacks: &[String]) -> (String, bool) {
    let is_in = |name: &str| {
        stacks
            .iter()
            .any(|stack| functions(stack).any(|at| at == name))
    };
    if is_in(WRITEBACK) {
        return (WRITEBACK.to_owned(), false);
    }
    if let Some(name) = WAITS.iter().find(|name| is_in(name)) {
        return ((*name).to_owned(), true);
    }
    let mut tops = stacks.iter().filter_map(|stack| {
        functions(stack).find(|at| !PASSAGES.iter().any(|passage| at.starts_with(passage)))
    });
    // The driver itself sleeps in locks alone; all else has a function of its own for it.
    match tops.clone().find(|top| top.starts_with("_R")) {
        Some(top) => (format!("a lock in {}", demangled(top)), true),
        None => {
            let top = tops.next().unwrap_or("nothing that its stack tells");
            (top.to_owned(), LOCKERS.contains(&top))
        }
    }
}

/// The module and the function of a Rust symbol that the compiler has mangled.
fn demangled(symbol: &str) -> String {
    // Identifiers are a length and as many letters; a disambiguator before one begins with `s` and ends with `_`.
    let mut names: Vec<&str> = Vec::new();
    let mut rest = symbol;
    while let Some(at) = rest.find(|letter: char| letter.is_ascii_digit()) {
        let digits: String = rest[at..]
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        let behind = &rest[at + digits.len()..];
        let name = digits
            .parse()
            .ok()
            .and_then(|length: usize| behind.trim_start_matches('_').get(..length))
            .filter(|name| {
                name.len() > 1 && name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric())
            });
        match name {
            Some(name) => {
                names.push(name);
                let from = behind.find(name).unwrap_or(0) + name.len();
                rest = &behind[from..];
            }
            None => rest = behind,
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

fn read(tid: i32, what: &str) -> String {
    fs::read_to_string(format!("/proc/self/task/{tid}/{what}")).unwrap_or_default()
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn switches_are_counted_and_the_state_is_read() {
        let look = |status: &str| {
            let mut look = Look {
                asleep: true,
                switches: 3,
            };
            look.add(status.as_bytes());
            (look.asleep, look.switches)
        };
        let status = "Name:\tA\nState:\tS (sleeping)\nvoluntary_ctxt_switches:\t40\nnonvoluntary_ctxt_switches:\t2\n";
        assert_eq!(look(status), (true, 45));
        assert_eq!(look(&status.replace("S (sl", "R (ru")), (false, 45));
        assert_eq!(look(""), (true, 3));
    }

    #[test]
    fn a_stack_is_read_from_the_inside() {
        let stack = "[<0>] inode_dio_wait+0xd5/0x1f0\n[<0>] write_iter+0x1/0x2 [notblk]\n";
        assert_eq!(
            functions(stack).collect::<Vec<_>>(),
            ["inode_dio_wait", "write_iter"]
        );
    }

    #[test]
    fn a_lock_is_named_by_who_wants_it() {
        let stack = "[<0>] _RNvNtNtCsfiy7LCOZljz_4main2fs8buffered5write+0x1/0x2 [notblk]\n[<0>] vfs_write+0x1/0x2\n";
        assert_eq!(
            said_of(&[stack.into()]),
            ("a lock in buffered::write".into(), true)
        );
        let stack = "[<0>] io_schedule+0x1/0x2\n[<0>] vfs_write+0x1/0x2\n";
        assert_eq!(said_of(&[stack.into()]), ("io_schedule".into(), false));
        let stack = "[<0>] down_write+0x1/0x2\n[<0>] do_truncate+0x1/0x2\n";
        assert_eq!(said_of(&[stack.into()]), ("do_truncate".into(), true));
        let stack = "[<0>] inode_dio_wait+0x1/0x2\n[<0>] x+0x1/0x2\n";
        assert_eq!(said_of(&[stack.into()]), ("inode_dio_wait".into(), true));
    }

    #[test]
    fn a_rust_symbol_is_shortened() {
        assert_eq!(
            demangled("_RNvNtNtCsfiy7LCOZljz_4main2fs8buffered5write"),
            "buffered::write"
        );
        assert_eq!(
            demangled("_RNvXNtNtCsfiy7LCOZljz_4main2fs8bufferedNtB4_6NotblkNtNtNtB6_3vfs4file10Operations10write_iter"),
            "Operations::write_iter"
        );
    }
}
