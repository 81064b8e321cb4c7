// SPDX-License-Identifier: GPL-2.0

//! What a suite's guest is made of, and its boot.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use notblk_protocol::suite::{disk, share};
use notblk_protocol::{Job, SuiteSpec, Work};

use super::args::Args;
use super::config::Config;
use super::image;
use super::root::Root;
use crate::cargo_static::Program;
use crate::context::Ctx;
use crate::initramfs::{self, Parts};
use crate::kernel::{Kernel, Want};
use crate::setup;
use crate::toolbox::Toolbox;
use crate::ui::Step;
use crate::vm::{self, Accel, Backing, Drive, Machine, Observer, Outcome, Share};

/// What the agent loads before it has the kernel's own directory of modules.
const MODULES: &[&str] = &["erofs", "overlay", "9p", "9pnet_virtio"];

/// A test may make its kernel say more at once than the usual buffer holds; what is overwritten before the agent reads it is
/// lost.
const CMDLINE: &str = "log_buf_len=4M";

/// All that the guests of a run have in common.
pub struct SuiteGuest {
    /// The kernel that boots.
    pub kernel: Kernel,
    /// What runs its instructions.
    pub accel: Accel,
    /// The root image.
    pub root: Root,
    toolbox: Toolbox,
    initramfs: Vec<u8>,
    /// Processors of each guest.
    pub cpus: u32,
    memory: Option<u32>,
    /// The image of the suite's tree, and the directory that is laid over it.
    suite: PathBuf,
    overlay: PathBuf,
}

/// One boot.
pub struct Order<'a> {
    /// What its processes are called.
    pub name: &'a str,
    /// The configuration.
    pub config: &'a Config,
    /// The job.
    pub spec: SuiteSpec,
    /// Where its console is written to.
    pub log: PathBuf,
    /// Where its disks are made, with names; they have none otherwise.
    pub disks: Option<&'a Path>,
}

impl SuiteGuest {
    /// Provides the kernel and the root, builds the agent and, where a configuration wants it, the module.
    pub fn prepare(ctx: &Ctx, args: &Args, notblk: bool, root: Root) -> Result<SuiteGuest> {
        let agent = Program::Workspace {
            package: "notblk-agent".into(),
            bin: "notblk-agent".into(),
        };
        let want = match notblk {
            true => Want::Tree,
            false => Want::BootOnly,
        };
        let (kernel, built) = setup::everything(ctx, args.kernel.as_deref(), want, &[agent])?;
        let agent = built
            .into_iter()
            .next()
            .context("the agent was not built")?;
        let toolbox = ctx.toolbox()?;
        let module = match notblk {
            true => Some(ctx.build_module(&toolbox, &kernel)?),
            false => None,
        };
        let parts = Parts {
            toolbox: &toolbox,
            kernel: &kernel,
            agent: &agent,
            programs: &[],
            module: module.as_deref(),
            extra_modules: MODULES,
        };
        let initramfs = initramfs::pack(ctx, &parts)?;
        let accel = match args.accel {
            Some(accel) => accel,
            None => Accel::find(ctx, &toolbox, &kernel)?,
        };
        Ok(SuiteGuest {
            kernel,
            accel,
            root,
            toolbox,
            initramfs,
            cpus: args.cpus.unwrap_or_else(|| cpus(accel, args.shards.get())),
            memory: args.memory,
            suite: PathBuf::new(),
            overlay: PathBuf::new(),
        })
    }

    /// Says which tree the guests run, and what is laid over it.
    pub fn with_suite(mut self, ctx: &Ctx, suite: &Path, overlay: PathBuf) -> Result<Self> {
        self.suite = image::of(ctx, &self.toolbox, suite)?;
        self.overlay = overlay;
        Ok(self)
    }

    /// Memory of a guest of this configuration, in MiB.
    pub fn memory(&self, config: &Config) -> u32 {
        self.memory.unwrap_or(config.memory)
    }

    /// Boots once.
    pub fn boot(
        &self,
        ctx: &Ctx,
        order: Order,
        step: &Step,
        observer: &mut dyn Observer,
    ) -> Result<Outcome> {
        let sizes = [
            (disk::TEST, order.config.disks.test),
            (disk::SCRATCH, order.config.disks.scratch),
            (disk::LOGWRITES, order.config.disks.logwrites),
        ];
        if let Some(dir) = order.disks {
            std::fs::create_dir_all(dir)
                .with_context(|| format!("cannot make {}", dir.display()))?;
        }
        let mut drives = vec![
            Drive::image(disk::ROOT, &self.root.image),
            Drive::image(disk::SUITE, &self.suite),
        ];
        for (serial, mib) in sizes.into_iter().filter(|&(_, mib)| mib > 0) {
            drives.push(match order.disks {
                Some(dir) => Drive {
                    backing: Backing::Named(dir.join(format!("{serial}.img")), mib),
                    ..Drive::scratch(serial, mib)
                },
                None => Drive::scratch(serial, mib),
            });
        }
        let modules = self
            .kernel
            .modules
            .parent()
            .context("the kernel has no modules")?;
        let shares = vec![
            Share::new(share::OVERLAY, &self.overlay),
            Share::new(share::MODULES, modules),
        ];
        let machine = Machine {
            toolbox: &self.toolbox,
            kernel: &self.kernel,
            initramfs: &self.initramfs,
            name: order.name,
            accel: self.accel,
            cmdline: CMDLINE,
            memory: self.memory(order.config),
            counted: false,
            cpus: self.cpus,
            limit: None,
            interactive: false,
            drives,
            shares,
            log: Some(order.log),
        };
        let job = Job {
            driver: order.config.driver,
            work: Work::Suite(order.spec),
        };
        vm::run(ctx, &machine, &job, Some(step), observer)
    }
}

/// How many processors a guest gets, of which `guests` run at a time. A translated processor that waits for another, which the
/// host does not run just then, burns the time that the other needs.
fn cpus(accel: Accel, guests: u32) -> u32 {
    const USUAL: u32 = 2;
    let host = std::thread::available_parallelism().map_or(1, |n| n.get());
    let host = u32::try_from(host).unwrap_or(u32::MAX);
    match accel {
        Accel::Kvm => USUAL,
        Accel::Tcg => (host / guests).clamp(1, USUAL),
    }
}
