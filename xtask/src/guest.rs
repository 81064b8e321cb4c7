// SPDX-License-Identifier: GPL-2.0

//! What `race`, `test` and `shell` share: a kernel, the agent, the driver, and a guest made of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;
use notblk_protocol::{Driver, Event, Job, Work};

use crate::build;
use crate::cargo_static::Program;
use crate::context::Ctx;
use crate::errors::Exit;
use crate::initramfs::{self, Parts};
use crate::kernel::{Kernel, Want};
use crate::setup;
use crate::test;
use crate::toolbox::Toolbox;
use crate::ui::Step;
use crate::vm::{self, Accel, Drive, Machine, Observer, Outcome};

/// Sizes of the two disks of a guest, in MiB.
const DISK: u64 = 512;

/// `--driver`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DriverArg {
    /// This project's module
    Notblk,
    /// The kernel's own C driver, on an image without extents
    Ext4,
}

impl From<DriverArg> for Driver {
    fn from(arg: DriverArg) -> Driver {
        match arg {
            DriverArg::Notblk => Driver::Notblk,
            DriverArg::Ext4 => Driver::Ext4,
        }
    }
}

/// Where and on what a guest runs.
#[derive(clap::Args, Debug, Clone)]
pub struct GuestArgs {
    /// The filesystem driver
    #[arg(long, value_enum, default_value = "notblk")]
    pub driver: DriverArg,
    /// The kernel: a name of qemu/kernels.toml, a series or version of the archive, `debug`, or `tree:DIR[@REVISION]`; with
    /// +FRAGMENT of qemu/kconfig its source is compiled [default: the file's default]
    #[arg(long, value_name = "KERNEL")]
    pub kernel: Option<String>,
    #[command(flatten)]
    pub machine: MachineArgs,
}

/// What a guest is given.
#[derive(clap::Args, Debug, Clone)]
pub struct MachineArgs {
    /// What runs the guest [default: KVM where it works]
    #[arg(long, value_enum)]
    pub accel: Option<Accel>,
    /// Memory of the guest in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(256..))]
    pub memory: u32,
    /// Processors of the guest
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub cpus: u32,
    /// Seconds that a boot may take in all [default: what the command needs]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

/// All that a boot needs, provided and built.
pub struct Guest {
    /// The driver under test.
    pub driver: Driver,
    /// The kernel that boots.
    pub kernel: Kernel,
    /// What runs its instructions.
    pub accel: Accel,
    /// The agent's program.
    pub agent: PathBuf,
    toolbox: Toolbox,
    initramfs: Vec<u8>,
    args: MachineArgs,
    /// Its clock counts instructions, one in a nanosecond: one processor, by TCG.
    pub counted: bool,
    /// Before the names of its consoles' logs, where another guest's would replace them.
    pub label: Option<String>,
}

impl Guest {
    /// Provides the kernel, builds module and agent, packs the initramfs; with the programs of the tests in it where they are
    /// wanted.
    pub fn prepare(ctx: &Ctx, args: &GuestArgs, for_tests: bool) -> Result<Guest> {
        Guest::with_module(ctx, args, for_tests, build::Options::default(), &[])
    }

    /// The same with the module built in a certain way, and with more modules of the kernel.
    pub fn with_module(
        ctx: &Ctx,
        args: &GuestArgs,
        for_tests: bool,
        options: build::Options,
        extra_modules: &[&str],
    ) -> Result<Guest> {
        let driver = Driver::from(args.driver);
        let want = match driver {
            Driver::Notblk => Want::Tree,
            Driver::Ext4 => Want::BootOnly,
        };
        let programs = programs(for_tests);
        let (kernel, built) = setup::everything(ctx, args.kernel.as_deref(), want, &programs)?;
        let module: Option<PathBuf> = match driver {
            Driver::Notblk => Some(build::module(ctx, &ctx.toolbox()?, &kernel, options)?),
            Driver::Ext4 => None,
        };
        Guest::of(
            ctx,
            kernel,
            module.as_deref(),
            extra_modules,
            built,
            &args.machine,
        )
    }

    /// Made of what is built: the programs of [`programs`], in their order, and the module where that is the driver under test.
    pub fn of(
        ctx: &Ctx,
        kernel: Kernel,
        module: Option<&Path>,
        extra_modules: &[&str],
        built: Vec<PathBuf>,
        machine: &MachineArgs,
    ) -> Result<Guest> {
        let driver = match module {
            Some(_) => Driver::Notblk,
            None => Driver::Ext4,
        };
        let mut built = built.into_iter();
        let agent = built.next().context("the agent was not built")?;
        let programs: Vec<_> = PROGRAMS.iter().map(|(name, _)| *name).zip(built).collect();
        let toolbox = ctx.toolbox()?;
        let parts = Parts {
            toolbox: &toolbox,
            kernel: &kernel,
            agent: &agent,
            programs: &programs,
            module,
            extra_modules,
        };
        let initramfs = initramfs::pack(ctx, &parts)?;
        let accel = match machine.accel {
            Some(accel) => accel,
            None => Accel::find(ctx, &toolbox, &kernel)?,
        };
        Ok(Guest {
            driver,
            kernel,
            accel,
            agent,
            toolbox,
            initramfs,
            args: machine.clone(),
            counted: false,
            label: None,
        })
    }

    /// A machine for it with two disks in memory, which the caller may alter before it boots.
    pub fn machine<'a>(&'a self, name: &'a str) -> Machine<'a> {
        Machine {
            toolbox: &self.toolbox,
            kernel: &self.kernel,
            initramfs: &self.initramfs,
            name,
            log: None,
            accel: self.accel,
            cmdline: "",
            memory: self.args.memory,
            drives: vec![Drive::memory("disk", DISK), Drive::memory("second", DISK)],
            shares: Vec::new(),
            cpus: self.args.cpus,
            counted: self.counted,
            limit: self.args.timeout.map(Duration::from_secs),
            interactive: false,
        }
    }

    /// Boots once, for one piece of work, which may take `limit` on a kernel that nothing watches.
    pub fn boot(
        &self,
        ctx: &Ctx,
        name: &str,
        work: Work,
        limit: Option<Duration>,
        step: Option<&Step>,
        mut on_event: impl FnMut(&Event) -> Result<()>,
    ) -> Result<Outcome> {
        self.watch(ctx, name, work, limit, step, &mut on_event)
    }

    /// The same with an observer, which may end the guest.
    pub fn watch(
        &self,
        ctx: &Ctx,
        name: &str,
        work: Work,
        limit: Option<Duration>,
        step: Option<&Step>,
        observer: &mut dyn Observer,
    ) -> Result<Outcome> {
        let name = match &self.label {
            Some(label) => format!("{label}-{name}"),
            None => name.to_owned(),
        };
        let mut machine = self.machine(&name);
        let slowness = self.kernel.slowness()?;
        machine.limit = machine
            .limit
            .or(limit.map(|limit| limit.saturating_mul(slowness)));
        machine.cmdline = test::cmdline(&work);
        machine.interactive = work == Work::Shell;
        machine.drives[1].slow = matches!(work, Work::Race { .. });
        let job = Job {
            driver: self.driver,
            work,
        };
        vm::run(ctx, &machine, &job, step, observer)
    }
}

/// Published crates whose programs the tests run, and their versions.
const PROGRAMS: [(&str, &str); 2] = [("fsx", "0.3.2"), ("pjdfstest", "0.2.2")];

/// The programs in a guest: the agent, and those of the tests where they are wanted.
pub fn programs(for_tests: bool) -> Vec<Program> {
    let mut programs = vec![Program::Workspace {
        package: "notblk-agent".into(),
        bin: "notblk-agent".into(),
    }];
    let published = PROGRAMS.iter().filter(|_| for_tests);
    programs.extend(published.map(|(name, version)| Program::Published {
        name: (*name).into(),
        version: (*version).into(),
        bin: (*name).into(),
    }));
    programs
}

/// The error for a job whose answer never came, though the agent claims to be done.
pub fn no_answer(what: &str) -> anyhow::Error {
    Exit::host(format!("the guest is done, but {what} never came")).into()
}
