// SPDX-License-Identifier: GPL-2.0
//! Devices of device-mapper, by the ioctls of `/dev/mapper/control`: no `dmsetup`, so no udev for it to wait for. devtmpfs has
//! the node.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result};
use std::os::fd::AsRawFd;
use std::path::Path;

/// Where the ioctls go.
const CONTROL: &str = "/dev/mapper/control";
/// `DM_DEV_CREATE`
const CREATE: u32 = 3;
/// `DM_DEV_REMOVE`
const REMOVE: u32 = 4;
/// `DM_DEV_SUSPEND`, which also resumes
const SUSPEND: u32 = 6;
/// `DM_TABLE_LOAD`
const LOAD: u32 = 9;
/// `DM_SUSPEND_FLAG`
const SUSPENDED: u32 = 1 << 1;
/// `DM_SKIP_LOCKFS_FLAG`: the filesystem above is not frozen first.
const NO_FREEZE: u32 = 1 << 10;
/// `DM_NOFLUSH_FLAG`: what waits in the device goes on with the next table.
const NO_FLUSH: u32 = 1 << 11;

/// Bytes for the table's one target: its description, and its parameters.
const SPACE: usize = 256;

/// `struct dm_ioctl`, and behind it a `struct dm_target_spec` with its parameters.
#[repr(C)]
struct Request {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_nr: u32,
    padding: u32,
    dev: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    data: [u8; 7],
    target: Target,
}

/// `struct dm_target_spec` with its parameters.
#[repr(C)]
struct Target {
    start: u64,
    length: u64,
    status: i32,
    next: u32,
    kind: [u8; 16],
    parameters: [u8; SPACE],
}

/// A device, until dropped. It has one target over its whole length.
pub struct Dm {
    name: String,
    minor: u64,
    sectors: u64,
}

/// Whether the kernel can have such devices.
pub fn is_there() -> bool {
    Path::new(CONTROL).exists()
}

impl Dm {
    /// Makes a device of so many sectors, of a target and its parameters as in dmsetup(8).
    pub fn new(name: &str, sectors: u64, kind: &str, parameters: &str) -> Result<Dm> {
        let made = call(CREATE, name, 0, None)?;
        let device = Dm {
            name: name.to_owned(),
            // As `huge_encode_dev` has it.
            minor: (made.dev & 0xff) | (made.dev >> 12 & 0xfff_ff00),
            sectors,
        };
        device.load(kind, parameters)?;
        device.resume()?;
        Ok(device)
    }

    /// Its node.
    pub fn path(&self) -> String {
        format!("/dev/dm-{}", self.minor)
    }

    /// Another target instead, at once: what is on its way by the old one ends first.
    pub fn switch(&self, kind: &str, parameters: &str) -> Result<()> {
        self.load(kind, parameters)?;
        call(SUSPEND, &self.name, SUSPENDED | NO_FREEZE, None)?;
        self.resume()
    }

    /// From now on requests wait.
    pub fn suspend(&self) -> Result<()> {
        call(SUSPEND, &self.name, SUSPENDED | NO_FREEZE | NO_FLUSH, None).map(drop)
    }

    /// They go on.
    pub fn resume(&self) -> Result<()> {
        call(SUSPEND, &self.name, 0, None).map(drop)
    }

    fn load(&self, kind: &str, parameters: &str) -> Result<()> {
        let mut target = Target {
            start: 0,
            length: self.sectors,
            status: 0,
            next: 0,
            kind: [0; 16],
            parameters: [0; SPACE],
        };
        text(&mut target.kind, kind)?;
        text(&mut target.parameters, parameters)?;
        call(LOAD, &self.name, 0, Some(target)).map(drop)
    }
}

impl Drop for Dm {
    fn drop(&mut self) {
        // Whoever waits in it holds it open.
        let _ = self.resume();
        let _ = call(REMOVE, &self.name, 0, None);
    }
}

/// Copies a word with a zero after it.
fn text(into: &mut [u8], from: &str) -> Result<()> {
    if from.len() >= into.len() {
        return Err(Error::from(ErrorKind::InvalidInput));
    }
    into[..from.len()].copy_from_slice(from.as_bytes());
    Ok(())
}

/// One ioctl on a device of a name; the answer.
fn call(number: u32, name: &str, flags: u32, target: Option<Target>) -> Result<Request> {
    let mut request = Request {
        version: [4, 0, 0],
        data_size: size_of::<Request>() as u32,
        data_start: std::mem::offset_of!(Request, target) as u32,
        target_count: u32::from(target.is_some()),
        open_count: 0,
        flags,
        event_nr: 0,
        padding: 0,
        dev: 0,
        name: [0; 128],
        uuid: [0; 129],
        data: [0; 7],
        target: target.unwrap_or(Target {
            start: 0,
            length: 0,
            status: 0,
            next: 0,
            kind: [0; 16],
            parameters: [0; SPACE],
        }),
    };
    text(&mut request.name, name)?;
    let control = OpenOptions::new().read(true).write(true).open(CONTROL)?;
    request_of(&control, number, &mut request)?;
    Ok(request)
}

fn request_of(control: &File, number: u32, request: &mut Request) -> Result<()> {
    /// Bytes of `struct dm_ioctl`, which are part of the ioctl's number.
    const HEAD: usize = std::mem::offset_of!(Request, target);
    let code = 3 << 30 | (HEAD as u32) << 16 | 0xfd << 8 | number;
    let request: *mut Request = request;
    // SAFETY: the kernel reads and writes `data_size` bytes at most, which is the size of the live value; any bytes are one.
    match unsafe { libc::ioctl(control.as_raw_fd(), code as libc::Ioctl, request) } {
        0.. => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}
