// SPDX-License-Identifier: GPL-2.0
//! The random operations on one filesystem alone: something to do, while a test looks at something else.

use super::class;
use super::generate::Generator;
use super::op::What;
use super::side::{Done, Side, Stock};
use anyhow::Result;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::write;

/// A mounted filesystem, and what is done to it.
pub struct Workload {
    side: Side,
    generator: Generator,
    /// Whether the kernel's caches may be dropped.
    pub drops_caches: bool,
    /// How often which errno came.
    errors: BTreeMap<String, u32>,
    full: u32,
    done: u32,
}

impl Workload {
    /// Mounts a filesystem that is there, for a driver of this name.
    pub fn new(
        driver: &'static str,
        disk: &'static str,
        place: &'static str,
        seed: u64,
        block_size: u32,
    ) -> Result<Workload> {
        Ok(Workload {
            side: Side::over(driver, disk, place, Stock::new(seed)?)?,
            generator: Generator::new(seed, block_size),
            drops_caches: true,
            errors: BTreeMap::new(),
            full: 0,
            done: 0,
        })
    }

    /// One operation; what comes of it is counted. Nothing is mounted anew.
    pub fn step(&mut self) {
        let op = self.generator.op();
        let done = match op.what {
            What::Cycle => return,
            What::DropCaches if !self.drops_caches => return,
            // A kernel without it keeps its caches.
            What::DropCaches => return drop(write("/proc/sys/vm/drop_caches", "3")),
            _ => self.side.apply(&op),
        };
        self.done += 1;
        if let Done::Err(errno) = done {
            *self.errors.entry(class::name(errno)).or_default() += 1;
            self.full += u32::from(errno == Errno::NOSPC);
        }
    }

    /// How often there was no space.
    pub fn full(&self) -> u32 {
        self.full
    }

    /// What came of it, for people.
    pub fn text(&self) -> String {
        let errors = self.errors.iter();
        let errors: Vec<String> = errors
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        format!("{} operations; {}", self.done, errors.join(", "))
    }

    /// Closes all files and unmounts.
    pub fn end(mut self) -> Result<()> {
        self.side.unmount()
    }
}
