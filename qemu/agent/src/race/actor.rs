// SPDX-License-Identifier: GPL-2.0
//! Actor A: threads that have asynchronous direct writes under way.

use super::layout::Layout;
use crate::buf::stamp;
use crate::sys::{Aio, Completion};
use anyhow::{anyhow, bail, Result};
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Threads of A. Two, so that one is still submitting when the other waits for B's lock.
const THREADS: usize = 2;
/// What a thread does when its queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Leaves it at that, as in the mail's diagram. Each further submission would write back what
    /// B has dirtied, and so close the window that it is about.
    Once,
    /// Submits anew whatever ends, for as long as B writes: less likely to hit a given window,
    /// but it tries every order of events.
    OnAndOn,
}

impl Manner {
    /// Writes that each thread has under way. [`Once`](Manner::Once) needs enough of them to exceed
    /// what the slow disk takes at once; otherwise each further one only makes every drain, and so
    /// every iteration, longer.
    fn depth(self) -> usize {
        match self {
            Manner::Once => 8,
            Manner::OnAndOn => 3,
        }
    }
}

/// `aim` when the actors shall rest.
const REST: u64 = u64::MAX;
/// `aim` when they shall end.
const END: u64 = u64::MAX - 1;

/// Things that must not happen, apart from the race itself.
#[derive(Default)]
pub struct Findings {
    /// How many.
    pub count: u64,
    /// The first one.
    pub first: Option<String>,
}

struct Shared {
    /// The iteration to write for, or `REST`, or `END`.
    aim: Mutex<u64>,
    moved: Condvar,
    /// The iteration for which each thread has writes under way, plus one; 0 while it rests.
    under_way: [AtomicU64; THREADS],
    overwrites: AtomicU64,
    eio: AtomicBool,
    findings: Mutex<Findings>,
}

impl Shared {
    fn aim(&self) -> MutexGuard<'_, u64> {
        self.aim.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self, text: String) {
        let mut findings = self.findings.lock().unwrap_or_else(PoisonError::into_inner);
        findings.count += 1;
        findings.first.get_or_insert(text);
    }
}

/// All threads of A.
pub struct Actors {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Actors {
    /// Starts them, at rest.
    pub fn start(layout: &Layout, file: &File, manner: Manner) -> Result<Actors> {
        let shared = Arc::new(Shared {
            aim: Mutex::new(REST),
            moved: Condvar::new(),
            under_way: Default::default(),
            overwrites: AtomicU64::new(0),
            eio: AtomicBool::new(false),
            findings: Mutex::default(),
        });
        let threads = (0..THREADS)
            .map(|me| {
                let actor = Actor {
                    me,
                    shared: Arc::clone(&shared),
                    layout: *layout,
                    manner,
                    file: file.try_clone()?,
                    aio: Aio::new(manner.depth(), layout.length_of_a())?,
                };
                Ok(std::thread::spawn(move || actor.run()))
            })
            .collect::<Result<_>>()?;
        Ok(Actors { shared, threads })
    }

    /// Lets all threads write for an iteration, and returns when each has begun to.
    pub fn aim(&self, iteration: u64) -> Result<()> {
        self.set(iteration);
        self.await_all(iteration + 1)
    }

    /// Tells all threads to submit no more, without waiting for what is under way.
    pub fn hold_off(&self) {
        self.set(REST);
    }

    /// Lets all threads finish what is under way, and returns when they have.
    pub fn pause(&self) {
        self.set(REST);
        // A thread that has died is found by the next `aim` or by `end`.
        let _ = self.await_all(0);
    }

    fn set(&self, aim: u64) {
        *self.shared.aim() = aim;
        self.shared.moved.notify_all();
    }

    fn await_all(&self, state: u64) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(120);
        for (thread, under_way) in self.threads.iter().zip(&self.shared.under_way) {
            while under_way.load(SeqCst) != state {
                if thread.is_finished() {
                    bail!("an actor has died");
                }
                if Instant::now() > until {
                    bail!("an actor does not move");
                }
                std::thread::yield_now();
            }
        }
        Ok(())
    }

    /// Whether a write of A has returned EIO since the last call.
    pub fn take_eio(&self) -> bool {
        self.shared.eio.swap(false, SeqCst)
    }

    /// Notes something that must not happen.
    pub fn found(&self, text: String) {
        self.shared.found(text);
    }

    /// Ends all threads; how many overwrites they did, and what must not have happened.
    pub fn end(self) -> Result<(u64, Findings)> {
        self.set(END);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow!("an actor panicked"))??;
        }
        let findings = std::mem::take(
            &mut *self
                .shared
                .findings
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        Ok((self.shared.overwrites.load(SeqCst), findings))
    }
}

/// One thread.
struct Actor {
    me: usize,
    shared: Arc<Shared>,
    layout: Layout,
    manner: Manner,
    file: File,
    aio: Aio,
}

impl Actor {
    fn run(mut self) -> Result<()> {
        loop {
            let aim = *self.shared.aim();
            match aim {
                END => break,
                REST => {
                    self.drain()?;
                    self.shared.under_way[self.me].store(0, SeqCst);
                    self.wait_while(REST);
                }
                iteration => {
                    self.fill_queue(iteration)?;
                    self.shared.under_way[self.me].store(iteration + 1, SeqCst);
                    match self.manner {
                        // Drained here, because the rest between two iterations may be too short
                        // for this thread to see it.
                        Manner::Once => {
                            self.wait_while(iteration);
                            self.drain()?;
                        }
                        Manner::OnAndOn => self.reap(1)?,
                    }
                }
            }
        }
        self.drain()
    }

    /// Puts every idle slot to work on the iteration's block.
    fn fill_queue(&mut self, iteration: u64) -> Result<()> {
        let (offset, word) = self.layout.write_of_a(iteration);
        for slot in 0..self.manner.depth() {
            let Some(buffer) = self.aio.buffer(slot) else {
                continue;
            };
            // The whole block holds one word, so its first tells whether it is the right one.
            if buffer[..8] != word.to_le_bytes() {
                stamp(buffer, word);
            }
            self.aio.write(slot, &self.file, offset)?;
        }
        Ok(())
    }

    /// Waits for at least `least` writes and looks at all that have ended.
    fn reap(&mut self, least: usize) -> Result<()> {
        let expected = self.layout.length_of_a() as i64;
        for Completion { slot, result } in self.aio.wait(least)? {
            if result == expected {
                self.shared.overwrites.fetch_add(1, SeqCst);
            } else if result == -i64::from(libc::EIO) {
                self.shared.eio.store(true, SeqCst);
            } else {
                self.shared
                    .found(format!("a write of A (slot {slot}) returned {result}"));
            }
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<()> {
        match self.aio.in_flight() {
            0 => Ok(()),
            all => self.reap(all),
        }
    }

    /// Sleeps for as long as the aim is this one.
    fn wait_while(&self, aim: u64) {
        let mut now = self.shared.aim();
        while *now == aim {
            now = self
                .shared
                .moved
                .wait(now)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}
