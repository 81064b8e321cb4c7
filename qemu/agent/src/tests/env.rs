// SPDX-License-Identifier: GPL-2.0
//! What a test has at hand.

use crate::fs::{self, Image, Mounted, DISK, MNT};
use crate::kmsg::Place;
use crate::Guest;
use anyhow::{bail, ensure, Context, Result};
use notblk_protocol::{Driver, TestSpec};
use rustix::mount::{unmount, UnmountFlags};
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Not an error: the test does not apply.
#[derive(Debug)]
pub struct Skip(pub String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// A test's surroundings.
pub struct Env<'a> {
    /// The guest.
    pub guest: &'a Guest,
    /// How the filesystem on the first disk was made.
    pub image: Image,
    /// For random tests.
    pub seed: u64,
    /// Operations of a run of fsx, where there is a wish.
    pub fsx_ops: Option<u32>,
    place: Place,
    notes: RefCell<Vec<String>>,
}

impl<'a> Env<'a> {
    /// For one test, which begins at `place` in the kernel's log.
    pub fn new(guest: &'a Guest, image: Image, spec: &TestSpec, place: Place) -> Env<'a> {
        Env {
            guest,
            image,
            seed: spec.seed,
            fsx_ops: spec.fsx_ops,
            place,
            notes: RefCell::default(),
        }
    }

    /// Has a line in the report beside the verdict: what a pass amounts to.
    pub fn note(&self, line: String) {
        self.notes.borrow_mut().push(line);
    }

    /// All such lines.
    pub fn into_notes(self) -> Vec<String> {
        self.notes.into_inner()
    }

    /// The driver under test.
    pub fn driver(&self) -> Driver {
        self.guest.driver
    }

    /// Ends the test as skipped unless it runs on this driver.
    pub fn only(&self, driver: Driver) -> Result<()> {
        if self.driver() != driver {
            bail!(Skip(format!("only for {driver}")));
        }
        Ok(())
    }

    /// Mounts the test's filesystem.
    pub fn mount(&self, options: &str) -> Result<Mounted> {
        Mounted::new(self.driver(), DISK, MNT, options)
    }

    /// A path in it.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        Path::new(MNT).join(name)
    }

    /// Bytes per block.
    pub fn block(&self) -> u64 {
        u64::from(self.image.block_size)
    }

    /// Asks that the log has a line since the test's beginning that holds all of `words`.
    pub fn logged(&self, words: &[&str]) -> Result<()> {
        let lines = self.guest.kmsg.since(self.place)?;
        let found = lines.iter().any(|line| {
            words
                .iter()
                .all(|word| line.to_lowercase().contains(&word.to_lowercase()))
        });
        ensure!(
            found,
            "no line of the log has {words:?}; it has: {lines:#?}"
        );
        Ok(())
    }

    /// Asks that the log has something to say since `place`. Of our driver only: the C driver is
    /// silent about some damage, such as an indirect block outside the device.
    pub fn complains(&self, place: Place, what: &str) -> Result<()> {
        let said = self.guest.kmsg.since(place)?;
        let silent = said.iter().all(|line| !line.contains("vda"));
        ensure!(
            !silent || self.driver() != Driver::Notblk,
            "{what}: no line in the log names the disk"
        );
        Ok(())
    }

    /// The driver's counter.
    pub fn counter(&self, name: &str) -> Result<u64> {
        let counters = fs::counters(self.driver(), DISK)?.context("this driver has no counters")?;
        counters
            .get(name)
            .copied()
            .with_context(|| format!("there is no counter {name}"))
    }
}

/// Unmounts what a test may have left mounted.
pub fn unmount_all() -> Result<()> {
    for place in ["/mnt", "/mnt2"] {
        let mounts = std::fs::read_to_string("/proc/mounts")?;
        if mounts
            .lines()
            .any(|line| line.split(' ').nth(1) == Some(place))
        {
            unmount(place, UnmountFlags::empty()).with_context(|| format!("umount {place}"))?;
        }
    }
    Ok(())
}

/// Asks that an operation fails with this errno.
pub fn fails<T>(result: io::Result<T>, errno: i32, what: &str) -> Result<()> {
    match result {
        Ok(_) => bail!("{what}: succeeded, should fail with {}", name(errno)),
        Err(error) if error.raw_os_error() == Some(errno) => Ok(()),
        Err(error) => bail!("{what}: {error}, should be {}", name(errno)),
    }
}

/// Asks that an operation fails, with whatever errno.
pub fn fails_somehow<T>(result: io::Result<T>, what: &str) -> Result<()> {
    match result {
        Ok(_) => bail!("{what}: succeeded, should fail"),
        Err(_) => Ok(()),
    }
}

/// The same for the calls of rustix.
pub fn errno<T>(result: Result<T, rustix::io::Errno>) -> io::Result<T> {
    result.map_err(io::Error::from)
}

fn name(errno: i32) -> String {
    io::Error::from_raw_os_error(errno).to_string()
}
