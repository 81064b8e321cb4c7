// SPDX-License-Identifier: GPL-2.0
//! The guest tests.
//!
//! A test gets a new filesystem on [`DISK`], does its work, and ends with everything unmounted.
//! The frame around it then asks for more: that `e2fsck -fn` finds the filesystem clean and its superblock has no error on record
//! (unless the test damaged it), and that the kernel logged no warning meanwhile.

mod acl;
mod alloc;
mod attributes;
mod beneath;
mod crash;
mod cross;
mod damage;
mod data;
mod defaults;
mod differential;
mod direct;
mod discard;
mod durable;
mod env;
mod expand;
mod export;
mod failing;
mod fallback;
mod faults;
mod freed;
mod freeze;
mod fsx;
mod full;
mod healed;
mod held;
mod hold;
mod hostile;
mod htree;
mod io;
mod ioctl;
mod labels;
mod limits;
mod locking;
mod mapping;
mod model;
mod module;
mod mount;
mod names;
mod namespace;
mod options;
mod orphan;
mod over;
mod owners;
mod panic;
mod pjdfstest;
mod project;
mod punch;
mod quota;
mod quota_disk;
mod quota_names;
mod record;
mod regressions;
mod remount;
mod served;
mod shutdown;
mod sizes;
mod stopped;
mod swap;
mod together;
mod told;
mod tree;
mod xattr;
mod zones;

use crate::fs::{self, Image, DISK};
use crate::Guest;
use anyhow::{bail, Context, Result};
use env::{Env, Skip};
use notblk_protocol::{Event, TestSpec, Verdict};
use std::time::Instant;

/// One test.
pub struct Test {
    /// `group/name`.
    name: String,
    /// The filesystem it starts with.
    image: Image,
    /// The filesystem is not damaged on purpose: it must be clean afterwards.
    clean: bool,
    /// The test itself.
    run: Run,
}

/// What a test does.
type Run = Box<dyn Fn(&Env) -> Result<()>>;

/// A test on a 4 KiB filesystem, to be changed by the methods below.
fn test(name: &str, run: impl Fn(&Env) -> Result<()> + 'static) -> Test {
    Test {
        name: name.to_owned(),
        image: Image::default(),
        clean: true,
        run: Box::new(run),
    }
}

/// The same test for several block sizes; with large ones on a larger filesystem, for the sake of its number of inodes.
fn for_blocks(sizes: &[u32], name: &str, run: fn(&Env) -> Result<()>) -> Vec<Test> {
    sizes
        .iter()
        .map(|&size| {
            let mib = if size > 4096 { 256 } else { 64 };
            test(&format!("{name}-{}k", size / 1024), run)
                .block(size)
                .mib(mib)
        })
        .collect()
}

impl Test {
    /// With this block size.
    fn block(mut self, size: u32) -> Test {
        self.image.block_size = size;
        self
    }

    /// With this inode size.
    fn inode(mut self, size: u32) -> Test {
        self.image.inode_size = size;
        self
    }

    /// With this size of the filesystem.
    fn mib(mut self, mib: u32) -> Test {
        self.image.mib = mib;
        self
    }

    /// Leaves a damaged filesystem.
    fn damages(mut self) -> Test {
        self.clean = false;
        self
    }
}

/// All tests, in the order in which they run.
fn all() -> Vec<Test> {
    let mut tests = Vec::new();
    tests.extend(mount::tests());
    tests.extend(record::tests());
    tests.extend(panic::tests());
    tests.extend(freeze::tests());
    tests.extend(options::tests());
    tests.extend(remount::tests());
    tests.extend(defaults::tests());
    tests.extend(sizes::tests());
    tests.extend(durable::tests());
    tests.extend(together::tests());
    tests.extend(told::tests());
    tests.extend(names::tests());
    tests.extend(namespace::tests());
    tests.extend(orphan::tests());
    tests.extend(expand::tests());
    tests.extend(export::tests());
    tests.extend(owners::tests());
    tests.extend(xattr::tests());
    tests.extend(acl::tests());
    tests.extend(labels::tests());
    tests.extend(htree::tests());
    tests.extend(data::tests());
    tests.extend(direct::tests());
    tests.extend(stopped::tests());
    tests.extend(crash::tests());
    tests.extend(fallback::tests());
    tests.extend(hold::tests());
    tests.extend(locking::tests());
    tests.extend(model::tests());
    tests.extend(full::tests());
    tests.extend(failing::tests());
    tests.extend(healed::tests());
    tests.extend(punch::tests());
    tests.extend(mapping::tests());
    tests.extend(swap::tests());
    tests.extend(io::tests());
    tests.extend(attributes::tests());
    tests.extend(ioctl::tests());
    tests.extend(discard::tests());
    tests.extend(shutdown::tests());
    tests.extend(alloc::tests());
    tests.extend(limits::tests());
    tests.extend(quota::tests());
    tests.extend(quota_disk::tests());
    tests.extend(quota_names::tests());
    tests.extend(project::tests());
    tests.extend(cross::tests());
    tests.extend(differential::tests());
    tests.extend(regressions::tests());
    tests.extend(freed::tests());
    tests.extend(module::tests());
    tests.extend(faults::tests());
    tests.extend(fsx::tests());
    tests.extend(pjdfstest::tests());
    tests.extend(beneath::tests());
    tests.extend(damage::tests());
    tests.extend(hostile::tests());
    tests.extend(zones::tests());
    tests
}

/// What there is, for the host to choose from.
pub fn list() -> Vec<String> {
    all().into_iter().map(|test| test.name).collect()
}

/// Runs the tests that the host names; all, or up to the first that left the kernel with a warning.
/// What a kernel does after one says little, so the host gives the rest another boot.
pub fn run(guest: &Guest, spec: &TestSpec) -> Result<()> {
    fs::load(guest.driver)?;
    let tests = all();
    for name in &spec.names {
        let Some(test) = tests.iter().find(|test| test.name == *name) else {
            bail!("there is no test {name}");
        };
        guest.host.step(name, 60)?;
        let started = Instant::now();
        let place = guest.kmsg.settle()?;
        let (verdict, notes) = run_one(guest, test, spec)?;
        guest.host.send(&Event::Test {
            name: name.clone(),
            verdict,
            notes,
            millis: started.elapsed().as_millis() as u64,
        })?;
        if !guest.kmsg.splats_since(place)?.is_empty() {
            break;
        }
    }
    Ok(())
}

/// One test with its frame: how it went, and what else it says.
fn run_one(guest: &Guest, test: &Test, spec: &TestSpec) -> Result<(Verdict, Vec<String>)> {
    fs::make(guest.driver, DISK, test.image)?;
    let place = guest.kmsg.settle()?;
    let env = Env::new(guest, test.image, spec, place);
    let outcome = (test.run)(&env);
    let mut complaints = Vec::new();
    let mut skipped = None;
    match outcome {
        Ok(()) => {}
        Err(error) => match error.downcast_ref::<Skip>() {
            Some(Skip(why)) => skipped = Some(why.clone()),
            None => complaints.push(format!("{error:#}")),
        },
    }
    if let Err(error) = env::unmount_all() {
        complaints.push(format!("{error:#}"));
    } else if test.clean {
        complaints.extend(fs::check(DISK).context("after the test")?);
        complaints.extend(fs::recorded(DISK).context("after the test")?);
    }
    for line in guest.kmsg.splats_since(place)? {
        complaints.push(format!("the kernel reported: {line}"));
    }
    let verdict = match (complaints.is_empty(), skipped) {
        (false, _) => Verdict::Failed(complaints.join("\n")),
        (true, Some(why)) => Verdict::Skipped(why),
        (true, None) => Verdict::Passed,
    };
    Ok((verdict, env.into_notes()))
}
