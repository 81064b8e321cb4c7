// SPDX-License-Identifier: GPL-2.0
//! The calls that an actor's steps are.

use super::actor::{Ended, Files};
use crate::buf::Buffer;
use crate::sys::{self, Aio, Mapping};
use anyhow::{Context, Result};
use notblk_race::content::{written_by, Of};
use notblk_race::spec::{Api, Errno, Flags, Op, Spec, Step, Transfer, Way};
use rustix::fs::{fallocate, memfd_create, FallocateFlags, MemfdFlags};
use std::fs::File;
use std::io;

/// Bytes of a page.
const PAGE: u64 = 4096;

/// What the steps of one actor work with: made before an order begins, so that a step is the call and nothing else.
pub struct Calls {
    spec: Spec,
    actor: usize,
    tools: Vec<Tool>,
}

/// What one step works with.
#[derive(Default)]
struct Tool {
    /// What is written, or room for what is read.
    buffer: Option<Buffer>,
    aio: Option<Aio>,
    /// A mapping of the pages, and where in it the step's first byte is.
    mapping: Option<(Mapping, usize)>,
    /// The kernel stores to a mapping from this file and loads into it: what cannot be had is an errno then, and no signal.
    memory: Option<File>,
}

impl Calls {
    /// For an actor of the spec.
    pub fn new(spec: &Spec, actor: usize) -> Result<Calls> {
        let steps = &spec.actors.get(actor).context("no such actor")?.steps;
        let tools = steps.iter().map(|step| {
            let mut tool = Tool::default();
            if let Some(io) = transfer(step) {
                let length = usize::try_from(io.len)?;
                if io.api == Api::Aio {
                    tool.aio = Some(Aio::new(1, length).context("io_setup")?);
                }
                if io.way == Way::Mmap {
                    tool.memory = Some(memfd_create("lab", MemfdFlags::CLOEXEC)?.into());
                }
                tool.buffer = Some(Buffer::new(length));
            }
            Ok(tool)
        });
        let tools = tools.collect::<Result<_>>()?;
        Ok(Calls {
            spec: spec.clone(),
            actor,
            tools,
        })
    }

    /// Makes ready for an order: data, mappings.
    pub fn prepare(&mut self, files: &Files, order: u32) -> Result<()> {
        let steps = &self
            .spec
            .actors
            .get(self.actor)
            .context("no such actor")?
            .steps;
        for (number, (step, tool)) in steps.iter().zip(&mut self.tools).enumerate() {
            let Some(io) = transfer(step) else { continue };
            let file = self
                .spec
                .files
                .iter()
                .position(|file| file.name == step.file)
                .context("no such file")?;
            let of = Of {
                spec: &self.spec,
                file,
                order,
            };
            if let (Op::Write(_), Some(buffer)) = (&step.op, &mut tool.buffer) {
                buffer.copy_from_slice(&written_by(of, self.actor, number, io.len));
            }
            if io.way == Way::Mmap {
                let opened = files.get(&step.file).and_then(|file| file.other.as_ref());
                let first = io.offset / PAGE * PAGE;
                let end = (io.offset + io.len).next_multiple_of(PAGE);
                let mapping = Mapping::at(
                    opened.context("not open")?,
                    first,
                    usize::try_from(end - first)?,
                )
                .context("mmap")?;
                tool.mapping = Some((mapping, usize::try_from(io.offset - first)?));
            }
            if let (Some(memory), Some(buffer)) = (&tool.memory, &tool.buffer) {
                sys::pwrite_with(memory, buffer, 0, 0).context("fill memory")?;
            }
        }
        Ok(())
    }

    /// The order is over: the mappings go.
    pub fn forget(&mut self) {
        for tool in &mut self.tools {
            tool.mapping = None;
        }
    }

    /// Does a step.
    pub fn step(&mut self, number: usize, step: &Step, files: &Files) -> Ended {
        let answer = match self.tools.get_mut(number) {
            Some(tool) => call(step, tool, files),
            None => Err(io::Error::other("no such step")),
        };
        let data = match (&answer, &step.op, self.tools.get(number)) {
            (Ok(length), Op::Read(_), Some(tool)) => read_data(tool, *length),
            _ => Vec::new(),
        };
        Ended {
            answer: answer.map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EIO))),
            data,
        }
    }
}

fn transfer(step: &Step) -> Option<&Transfer> {
    match &step.op {
        Op::Read(io) | Op::Write(io) => Some(io),
        _ => None,
    }
}

fn read_data(tool: &Tool, length: u64) -> Vec<u8> {
    let mut data = vec![0; length as usize];
    match (&tool.memory, &tool.buffer) {
        (Some(memory), _) => {
            // In memory, all of it.
            let _ = sys::pread_with(memory, &mut data, 0, 0);
        }
        (None, Some(buffer)) => data.copy_from_slice(&buffer[..length as usize]),
        (None, None) => {}
    }
    data
}

fn call(step: &Step, tool: &mut Tool, files: &Files) -> io::Result<u64> {
    let opened = files
        .get(&step.file)
        .ok_or_else(|| io::Error::other("not open"))?;
    let of_way = |way| {
        let file = match way {
            Way::Direct => opened.direct.as_ref(),
            Way::Buffered | Way::Mmap => opened.other.as_ref(),
        };
        file.ok_or_else(|| io::Error::other("not open"))
    };
    match &step.op {
        Op::Read(io) => transfer_by(of_way(io.way)?, io, tool, false),
        Op::Write(io) => transfer_by(of_way(io.way)?, io, tool, true),
        Op::Fsync => {
            let file = opened.all().next();
            file.ok_or_else(|| io::Error::other("not open"))?
                .sync_all()?;
            Ok(0)
        }
        Op::Truncate { size } => of_way(Way::Buffered)?.set_len(*size).map(|()| 0),
        Op::Punch { range } => {
            let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let length = range.end.saturating_sub(range.start);
            fallocate(of_way(Way::Buffered)?, mode, range.start, length)?;
            Ok(0)
        }
    }
}

/// One read or write, in the way it is asked for.
fn transfer_by(file: &File, io: &Transfer, tool: &mut Tool, write: bool) -> io::Result<u64> {
    let flags = rw_flags(io.flags);
    let missing = || io::Error::other("nothing to do it with");
    if io.way == Way::Mmap {
        let (mapping, start) = tool.mapping.as_ref().ok_or_else(missing)?;
        let memory = tool.memory.as_ref().ok_or_else(missing)?;
        let length = io.len as usize;
        let done = match write {
            true => mapping.fill_from(memory, 0, *start, length),
            false => mapping.copy_to(memory, *start, length),
        }?;
        return Ok(done as u64);
    }
    match io.api {
        Api::Pwrite => {
            let buffer = tool.buffer.as_mut().ok_or_else(missing)?;
            let done = match write {
                true => sys::pwrite_with(file, buffer, io.offset, flags),
                false => sys::pread_with(file, buffer, io.offset, flags),
            }?;
            Ok(done as u64)
        }
        Api::Uring => {
            let buffer = tool.buffer.as_mut().ok_or_else(missing)?;
            let done = match write {
                true => sys::uring_write_with(file, buffer, io.offset, flags),
                false => sys::uring_read_with(file, buffer, io.offset, flags),
            }?;
            answer(i64::from(done))
        }
        Api::Aio => {
            let aio = tool.aio.as_mut().ok_or_else(missing)?;
            let buffer = tool.buffer.as_mut().ok_or_else(missing)?;
            let slot = aio.buffer(0).ok_or_else(missing)?;
            slot.copy_from_slice(buffer);
            match write {
                true => aio.write_with(0, file, io.offset, flags),
                false => aio.read_with(0, file, io.offset, flags),
            }?;
            let done = aio.wait(1)?.first().map(|done| done.result);
            if let (false, Some(slot)) = (write, aio.buffer(0)) {
                buffer.copy_from_slice(slot);
            }
            answer(done.ok_or_else(missing)?)
        }
    }
}

/// Bytes or a negated errno, as a result.
fn answer(done: i64) -> io::Result<u64> {
    u64::try_from(done).map_err(|_| io::Error::from_raw_os_error(-(done as i32)))
}

fn rw_flags(flags: Flags) -> i32 {
    let all = [
        (flags.nowait, libc::RWF_NOWAIT),
        (flags.append, libc::RWF_APPEND),
        (flags.dsync, libc::RWF_DSYNC),
    ];
    all.iter()
        .filter(|(set, _)| *set)
        .fold(0, |flags, (_, flag)| flags | flag)
}
