// SPDX-License-Identifier: GPL-2.0
//! A disk that this process serves from its memory (`nbd`), that takes its time over discards, and refuses writes when told.

use std::fs::File;
use std::io::{Error, Read, Result, Write};
use std::net::Shutdown;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{sleep, spawn, JoinHandle};
use std::time::Duration;

/// See `include/uapi/linux/nbd.h`.
const SET_SOCK: u32 = 0xab00;
const SET_BLKSIZE: u32 = 0xab01;
const DO_IT: u32 = 0xab03;
const CLEAR_SOCK: u32 = 0xab04;
const SET_SIZE_BLOCKS: u32 = 0xab07;
const DISCONNECT: u32 = 0xab08;
const SET_FLAGS: u32 = 0xab0a;
/// `NBD_FLAG_HAS_FLAGS`, `NBD_FLAG_SEND_FLUSH`, `NBD_FLAG_SEND_TRIM`
const FLAGS: u64 = 1 | 4 | 32;
const REPLY: u32 = 0x6744_6698;
/// Bytes of a block.
const BLOCK: u64 = 1024;
/// Where it is.
pub const PATH: &str = "/dev/nbd0";

/// One ioctl with a number for its argument.
fn call(device: &File, request: u32, argument: u64) -> Result<()> {
    // SAFETY: none of these requests takes an address.
    match unsafe { libc::ioctl(device.as_raw_fd(), request as libc::Ioctl, argument) } {
        0.. => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}

/// A discard that has not been answered.
struct Discard {
    cookie: [u8; 8],
    start: usize,
    end: usize,
}

struct State {
    data: Vec<u8>,
    /// Discards are not answered.
    held: bool,
    waiting: Vec<Discard>,
    /// Writes here are not answered.
    refuse: Range<usize>,
    refused: Vec<[u8; 8]>,
    /// Something was written where a discard was under way.
    overwritten: bool,
    replies: UnixStream,
}

impl State {
    fn reply(&mut self, cookie: &[u8; 8], data: &[u8]) -> Result<()> {
        self.answer(cookie, 0, data)
    }

    fn answer(&mut self, cookie: &[u8; 8], error: i32, data: &[u8]) -> Result<()> {
        let mut bytes = REPLY.to_be_bytes().to_vec();
        bytes.extend(error.to_be_bytes());
        bytes.extend(cookie);
        bytes.extend(data);
        self.replies.write_all(&bytes)
    }

    fn discard(&mut self, discard: &Discard) -> Result<()> {
        self.data[discard.start..discard.end].fill(0);
        self.reply(&discard.cookie, &[])
    }
}

/// The disk; gone when dropped.
pub struct Disk {
    device: File,
    state: Arc<Mutex<State>>,
    threads: Vec<JoinHandle<()>>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk {
    /// A disk of zeroes; `None` where the kernel has none such.
    pub fn new(length: usize) -> Result<Option<Disk>> {
        if !Path::new(PATH).exists() {
            return Ok(None);
        }
        let device = File::options().read(true).write(true).open(PATH)?;
        let (kernel, requests) = UnixStream::pair()?;
        let state = Arc::new(Mutex::new(State {
            data: vec![0; length],
            held: false,
            waiting: Vec::new(),
            refuse: 0..0,
            refused: Vec::new(),
            overwritten: false,
            replies: requests.try_clone()?,
        }));
        call(&device, SET_BLKSIZE, BLOCK)?;
        call(&device, SET_SIZE_BLOCKS, length as u64 / BLOCK)?;
        call(&device, SET_FLAGS, FLAGS)?;
        call(&device, SET_SOCK, kernel.as_raw_fd() as u64)?;
        let served = Arc::clone(&state);
        // It ends with its socket.
        let server = spawn(move || drop(serve(&served, requests)));
        let own = device.try_clone()?;
        let driver = spawn(move || {
            // Ends when told to disconnect, whatever it says then.
            let _ = call(&own, DO_IT, 0);
            let _ = call(&own, CLEAR_SOCK, 0);
            drop(kernel);
        });
        // It has a size last of all.
        let has_size = || {
            let size = std::fs::read_to_string("/sys/block/nbd0/size");
            size.is_ok_and(|size| size.trim() != "0")
        };
        for _ in 0..1000 {
            if has_size() {
                break;
            }
            sleep(Duration::from_millis(5));
        }
        Ok(Some(Disk {
            device,
            state,
            threads: vec![server, driver],
        }))
    }

    /// From now on discards are not answered.
    pub fn hold(&self) {
        lock(&self.state).held = true;
    }

    /// How many of them wait.
    pub fn waiting(&self) -> usize {
        lock(&self.state).waiting.len()
    }

    /// They are carried out, and so are those to come.
    pub fn release(&self) -> Result<()> {
        let mut state = lock(&self.state);
        state.held = false;
        for discard in std::mem::take(&mut state.waiting) {
            state.discard(&discard)?;
        }
        Ok(())
    }

    /// From now on writes that touch these bytes are not answered, until [`Disk::fail`].
    pub fn refuse(&self, bytes: Range<u64>) {
        lock(&self.state).refuse = bytes.start as usize..bytes.end as usize;
    }

    /// How many of them wait.
    pub fn refusing(&self) -> usize {
        lock(&self.state).refused.len()
    }

    /// They fail, by `EIO`; answers how many.
    pub fn fail(&self) -> Result<usize> {
        let mut state = lock(&self.state);
        let refused = std::mem::take(&mut state.refused);
        for cookie in &refused {
            state.answer(cookie, libc::EIO, &[])?;
        }
        Ok(refused.len())
    }

    /// Nothing is refused any more; what waits fails.
    pub fn accept(&self) -> Result<()> {
        lock(&self.state).refuse = 0..0;
        self.fail().map(drop)
    }

    /// Whether something was written where a discard was under way.
    pub fn was_overwritten(&self) -> bool {
        lock(&self.state).overwritten
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What fails here leaves a disk that nobody uses.
        let _ = self.release();
        let _ = self.accept();
        let _ = self.device.sync_all();
        let _ = call(&self.device, DISCONNECT, 0);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Answers requests until the kernel ends it.
fn serve(state: &Mutex<State>, mut requests: UnixStream) -> Result<()> {
    loop {
        let mut header = [0; 28];
        requests.read_exact(&mut header)?;
        let u32_at = |at: usize| {
            header[at..at + 4]
                .iter()
                .fold(0, |word, &byte| word << 8 | u32::from(byte))
        };
        let cookie: [u8; 8] = std::array::from_fn(|n| header[8 + n]);
        let start = (u64::from(u32_at(16)) << 32 | u64::from(u32_at(20))) as usize;
        let length = u32_at(24) as usize;
        let end = start + length;
        // The upper half has flags.
        match u32_at(4) & 0xffff {
            0 => {
                let mut state = lock(state);
                let data = state.data[start..end].to_vec();
                state.reply(&cookie, &data)?;
            }
            1 => {
                let mut data = vec![0; length];
                requests.read_exact(&mut data)?;
                let mut state = lock(state);
                if start < state.refuse.end && state.refuse.start < end {
                    state.refused.push(cookie);
                    continue;
                }
                let mut waiting = state.waiting.iter();
                let hit = waiting.any(|other| start < other.end && other.start < end);
                state.overwritten |= hit;
                state.data[start..end].copy_from_slice(&data);
                state.reply(&cookie, &[])?;
            }
            3 => lock(state).reply(&cookie, &[])?,
            4 => {
                let discard = Discard { cookie, start, end };
                let mut state = lock(state);
                if state.held {
                    state.waiting.push(discard);
                } else {
                    state.discard(&discard)?;
                }
            }
            // To disconnect: the kernel reads until there is nothing more to read.
            _ => return requests.shutdown(Shutdown::Both),
        }
    }
}
