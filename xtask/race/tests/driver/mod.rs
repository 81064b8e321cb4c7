// SPDX-License-Identifier: GPL-2.0

//! A model of the driver, the page cache and the disk, as far as the specs go: `i_rwsem`, direct I/O in flight, dirty pages, blocks
//! that become free and are used again.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use notblk_race::content::{self, Of};
use notblk_race::spec::{Api, Errno, Op, Spec, Transfer, Way, SECTOR};
use notblk_race::{ActorId, Point, Stop};

/// The number that all orders are stamped with.
pub const ORDER: u32 = 1;
const PAGE: u64 = 4096;
const EAGAIN: Errno = Errno(11);
const EIO: Errno = Errno(5);

/// What the driver does wrong.
#[derive(Clone, Copy)]
pub struct Faults {
    /// `drain=off`
    pub no_drain: bool,
    /// truncate and punch take blocks that bios are under way to.
    pub truncate_waits_not: bool,
    /// A fallback has its blocks before it has the lock.
    pub blocks_early: bool,
    /// A direct read takes a block for written that it finds in the map.
    pub reads_trust_the_map: bool,
}

/// A cached block.
#[derive(Clone)]
struct Cached {
    data: Vec<u8>,
    dirty: bool,
}

#[derive(Default)]
struct File {
    size: u64,
    /// File block to block on disk.
    map: BTreeMap<u64, usize>,
    cache: BTreeMap<u64, Cached>,
    /// Pages that somebody faulting has a reference to.
    pinned: Vec<u64>,
    /// Pages in a page table.
    mapped: Vec<u64>,
    shared: Vec<usize>,
    exclusive: Option<usize>,
    in_flight: Vec<usize>,
    /// Who has blocks for a page that is not dirty yet.
    faulting: Vec<usize>,
    /// How many errors there have been.
    errors: u32,
    /// By descriptor: the last error it knows of, and how often it was told.
    descriptors: Vec<(u32, u32)>,
}

/// What is left to do of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Stop(Point),
    Lock,
    Invalidate,
    Map,
    Device,
    Complete,
    BlocksEarly,
    Trim,
    LockExclusive,
    Drain,
    Wait,
    Copy,
    Unlock,
    Flush,
    Drop,
    Fsync,
    Truncate,
    Punch,
    Fault(u64),
    MapFault(u64),
    Store(u64),
    BufferedRead,
}

#[derive(Default)]
struct Actor {
    step: usize,
    acts: VecDeque<Act>,
    answers: Vec<Result<u64, Errno>>,
    got: BTreeMap<usize, Vec<u8>>,
    /// Of the direct request under way: the blocks of its bio, bytes of it, and whether its task waits with the lock.
    bio: Vec<(u64, Option<usize>)>,
    direct: u64,
    waits: bool,
}

pub struct Driver<'a> {
    spec: &'a Spec,
    faults: Faults,
    disk: Vec<Vec<u8>>,
    free: Vec<usize>,
    files: Vec<File>,
    actors: Vec<Actor>,
    holds: bool,
}

impl<'a> Driver<'a> {
    /// Files as laid out, everybody at the beginning.
    pub fn new(spec: &'a Spec, faults: Faults) -> Self {
        let mut driver = Driver {
            spec,
            faults,
            disk: Vec::new(),
            free: Vec::new(),
            files: Vec::new(),
            actors: spec.actors.iter().map(|_| Actor::default()).collect(),
            holds: true,
        };
        for (index, file) in spec.files.iter().enumerate() {
            let mut state = File {
                size: file.size(),
                ..File::default()
            };
            let mut pos = 0;
            for segment in &file.layout {
                let blocks = (pos..pos + segment.len).step_by(spec.block_size as usize);
                if segment.kind == notblk_race::spec::SegmentKind::Written {
                    for start in blocks {
                        let of = driver.of(index);
                        let data = content::initial(of, start..start + driver.block());
                        driver.disk.push(data);
                        state
                            .map
                            .insert(start / driver.block(), driver.disk.len() - 1);
                    }
                }
                pos += segment.len;
            }
            for actor in &spec.actors {
                for direct in [true, false] {
                    let its = actor.steps.iter().filter(|step| step.file == file.name);
                    if its.filter(|step| is_direct(&step.op) == direct).count() > 0 {
                        state.descriptors.push((0, 0));
                    }
                }
            }
            driver.files.push(state);
        }
        driver
    }

    fn of(&self, file: usize) -> Of<'a> {
        Of {
            spec: self.spec,
            file,
            order: ORDER,
        }
    }

    fn block(&self) -> u64 {
        u64::from(self.spec.block_size)
    }

    pub fn enabled(&self) -> Vec<ActorId> {
        let left = (0..self.actors.len()).filter(|&id| !self.is_done(id));
        left.map(ActorId).collect()
    }

    fn is_done(&self, id: usize) -> bool {
        self.actors[id].answers.len() == self.spec.actors[id].steps.len()
    }

    /// One stage.
    pub fn go(&mut self, actor: ActorId) -> Stop {
        let id = actor.0;
        loop {
            let Some(&act) = self.actors[id].acts.front() else {
                if self.is_done(id) {
                    return Stop::End;
                }
                self.begin(id);
                continue;
            };
            if let Act::Stop(point) = act {
                self.actors[id].acts.pop_front();
                if self.holds && self.spec.actors[id].holds.contains(&point) {
                    return Stop::At(point);
                }
                continue;
            }
            if let Some((waits_in, holder)) = self.waits(id, act) {
                return Stop::Blocked { waits_in, holder };
            }
            self.actors[id].acts.pop_front();
            self.act(id, act);
            if self.actors[id].acts.is_empty() && self.is_done(id) {
                return Stop::End;
            }
        }
    }

    /// Nobody is held any more. `false` for a deadlock.
    pub fn let_all_go(&mut self) -> bool {
        self.holds = false;
        for _ in 0..=self.actors.len() {
            for actor in self.enabled() {
                self.go(actor);
            }
        }
        self.enabled().is_empty()
    }

    fn file_of(&self, id: usize) -> usize {
        let step = &self.spec.actors[id].steps[self.actors[id].step];
        let mut files = self.spec.files.iter();
        files.position(|file| file.name == step.file).unwrap()
    }

    fn op(&self, id: usize) -> &'a Op {
        &self.spec.actors[id].steps[self.actors[id].step].op
    }

    fn transfer(&self, id: usize) -> &'a Transfer {
        match self.op(id) {
            Op::Read(io) | Op::Write(io) => io,
            op => panic!("{op:?} moves nothing"),
        }
    }

    /// Lays out the acts of the next step.
    fn begin(&mut self, id: usize) {
        use Act::{BufferedRead, Copy, Drain, Invalidate, Lock, LockExclusive, Map, Unlock, Wait};
        let acts: Vec<Act> = match self.op(id) {
            Op::Read(io) | Op::Write(io) if io.way == Way::Direct => {
                vec![
                    Lock,
                    Act::Stop(Point::DioLocked),
                    Invalidate,
                    Act::Stop(Point::DioMap),
                    Map,
                ]
            }
            Op::Write(io) if io.way == Way::Mmap => {
                let range = io.range().unwrap();
                let pages = range.start / PAGE..range.end.div_ceil(PAGE);
                let each = |page| {
                    [
                        Act::Fault(page),
                        Act::Stop(Point::FaultBegin),
                        Act::MapFault(page),
                        Act::Stop(Point::FaultMapped),
                        Act::Store(page),
                    ]
                };
                pages.flat_map(each).collect()
            }
            Op::Read(_) => vec![BufferedRead],
            Op::Write(_) => vec![
                LockExclusive,
                Drain,
                Act::Stop(Point::BufferedDrained),
                Copy,
                Unlock,
            ],
            Op::Fsync => vec![Act::Stop(Point::FsyncBegin), Act::Fsync],
            Op::Truncate { .. } => vec![
                LockExclusive,
                Act::Stop(Point::TruncateBegin),
                Wait,
                Act::Stop(Point::TruncateDrained),
                Act::Truncate,
                Unlock,
            ],
            Op::Punch { .. } => vec![
                Act::Stop(Point::PunchBegin),
                LockExclusive,
                Wait,
                Act::Stop(Point::PunchDrained),
                Act::Punch,
                Unlock,
            ],
        };
        self.actors[id].acts = acts.into();
        self.actors[id].direct = 0;
        self.actors[id].bio.clear();
    }

    /// Whether the act must wait, in what and for whom.
    fn waits(&self, id: usize, act: Act) -> Option<(String, String)> {
        let file = &self.files[self.file_of(id)];
        let others = |holders: &[usize]| holders.iter().copied().find(|&holder| holder != id);
        let for_lock = |shared: bool| {
            let writer = file.exclusive.filter(|&holder| holder != id);
            let reader = others(&file.shared).filter(|_| !shared);
            writer
                .or(reader)
                .map(|holder| ("rwsem_down_slowpath", holder))
        };
        let for_dio = || {
            file.in_flight
                .first()
                .map(|&holder| ("inode_dio_wait", holder))
        };
        let waits = match act {
            Act::Lock if self.transfer(id).flags.nowait => None,
            Act::Lock => {
                let extends = self.extends(id);
                let io = self.transfer(id);
                let beyond = extends && io.offset > file.size;
                for_lock(!extends).or_else(|| if beyond { for_dio() } else { None })
            }
            Act::LockExclusive => for_lock(false),
            Act::Drain if self.faults.no_drain => None,
            Act::Wait if self.faults.truncate_waits_not => None,
            Act::Drain | Act::Wait => for_dio(),
            Act::Map if matches!(self.op(id), Op::Read(_)) && !self.faults.reads_trust_the_map => {
                others(&file.faulting).map(|holder| ("rwsem_down_slowpath", holder))
            }
            _ => None,
        };
        waits.map(|(function, holder)| (function.to_owned(), self.spec.actors[holder].name.clone()))
    }

    fn extends(&self, id: usize) -> bool {
        let size = self.files[self.file_of(id)].size;
        let io = self.transfer(id);
        matches!(self.op(id), Op::Write(_)) && io.offset + io.len > size
    }

    fn answer_with(&mut self, id: usize, answer: Result<u64, Errno>) {
        let actor = &mut self.actors[id];
        actor.acts.clear();
        actor.answers.push(answer);
        actor.step = actor
            .answers
            .len()
            .min(self.spec.actors[id].steps.len() - 1);
    }

    fn unlock(&mut self, id: usize) {
        let file = self.file_of(id);
        self.files[file].shared.retain(|&holder| holder != id);
        if self.files[file].exclusive == Some(id) {
            self.files[file].exclusive = None;
        }
    }

    fn act(&mut self, id: usize, act: Act) {
        let file = self.file_of(id);
        match act {
            Act::Stop(_) => {}
            Act::Lock => self.lock(id),
            Act::Invalidate => self.invalidate(id),
            Act::Map => {
                if matches!(self.op(id), Op::Read(_)) && !self.faults.reads_trust_the_map {
                    let io = self.transfer(id);
                    self.write_back(file, io.offset..io.offset + io.len);
                }
                self.map(id);
            }
            Act::Device => self.device(id),
            Act::Complete => self.complete(id),
            Act::BlocksEarly => {
                let io = self.transfer(id);
                for block in self.blocks(io.offset..io.offset + io.len) {
                    self.allocate(file, block);
                }
            }
            Act::Trim => {
                let size = self.files[file].size;
                self.zero(file, size..size.next_multiple_of(self.block()));
                self.free(file, size.div_ceil(self.block())..u64::MAX);
                self.unlock(id);
            }
            Act::LockExclusive => self.files[file].exclusive = Some(id),
            Act::Drain | Act::Wait => {}
            Act::Copy => self.copy(id),
            Act::Unlock => {
                self.unlock(id);
                let done = match self.op(id) {
                    Op::Write(io) if io.way == Way::Buffered => io.len,
                    Op::Write(_) => return,
                    _ => 0,
                };
                self.answer_with(id, Ok(done));
            }
            Act::Flush => {
                let range = self.rest(id);
                self.write_back(file, range);
            }
            Act::Drop => {
                let range = self.rest(id);
                self.drop_clean(file, range);
                self.answer_with(id, Ok(self.transfer(id).len));
            }
            Act::Fsync => {
                self.write_back_all(file);
                let descriptor = self.descriptor(id, file, false);
                let error = self.fsync(file, descriptor);
                self.answer_with(id, if error { Err(EIO) } else { Ok(0) });
            }
            Act::Truncate => self.truncate(id),
            Act::Punch => self.punch(id),
            Act::Fault(page) => {
                self.load(file, page * PAGE..(page + 1) * PAGE);
                self.files[file].pinned.push(page);
            }
            Act::MapFault(page) => {
                for block in self.blocks(self.stored(id, page)) {
                    self.allocate(file, block);
                }
                self.files[file].faulting.push(id);
            }
            Act::Store(page) => self.store(id, page),
            Act::BufferedRead => {
                let io = self.transfer(id);
                let range = io.offset..io.offset + io.len;
                let all_cached = {
                    let cache = &self.files[file].cache;
                    self.blocks(range.clone())
                        .all(|block| cache.contains_key(&block))
                };
                if io.flags.nowait && !all_cached {
                    // Read-ahead has been started all the same.
                    self.load(file, range);
                    self.answer_with(id, Err(EAGAIN));
                    return;
                }
                let data = self.cached(file, range);
                let step = self.actors[id].step;
                self.actors[id].got.insert(step, data);
                self.answer_with(id, Ok(io.len));
            }
        }
    }

    fn lock(&mut self, id: usize) {
        let file = self.file_of(id);
        let extends = self.extends(id);
        let io = self.transfer(id);
        let state = &mut self.files[file];
        if io.flags.nowait && (extends || state.exclusive.is_some()) {
            self.answer_with(id, Err(EAGAIN));
            return;
        }
        if extends {
            state.exclusive = Some(id);
            self.zero_past_eof(file, io.offset);
        } else {
            state.shared.push(id);
        }
        self.actors[id].waits = extends || io.api == Api::Pwrite;
    }

    fn invalidate(&mut self, id: usize) {
        let file = self.file_of(id);
        let io = self.transfer(id);
        let range = io.offset..io.offset + io.len;
        let write = matches!(self.op(id), Op::Write(_));
        let pages = self.pages(range.clone());
        let cache = &self.files[file].cache;
        let per_page = PAGE.div_ceil(self.block());
        let cached = |dirty: bool| {
            cache.iter().any(|(block, cached)| {
                pages.contains(&(block / per_page)) && (cached.dirty || !dirty)
            })
        };
        if io.flags.nowait && cached(!write) {
            self.unlock(id);
            self.answer_with(id, Err(EAGAIN));
            return;
        }
        self.write_back(file, range.clone());
        if write {
            // Whom a mapping has is unmapped; who faults has a reference.
            self.files[file].mapped.retain(|page| !pages.contains(page));
            self.drop_clean(file, range.clone());
            if self.files[file]
                .pinned
                .iter()
                .any(|page| pages.contains(page))
            {
                self.fall_back(id);
            }
        }
    }

    /// The acts of a fallback, in place of all that was planned. Who has extended the file cleans up behind its end first, with
    /// the lock.
    fn fall_back(&mut self, id: usize) {
        let extends = self.files[self.file_of(id)].exclusive == Some(id);
        if !extends {
            self.unlock(id);
        }
        let mut acts = VecDeque::from([
            Act::Stop(Point::FallbackBegin),
            Act::LockExclusive,
            Act::Drain,
            Act::Stop(Point::FallbackDrained),
            Act::Copy,
            Act::Unlock,
            Act::Stop(Point::FallbackDirtied),
            Act::Flush,
            Act::Stop(Point::FallbackFlushed),
            Act::Drop,
        ]);
        if self.faults.blocks_early {
            acts.push_front(Act::BlocksEarly);
        }
        if extends {
            acts.push_front(Act::Trim);
            acts.push_front(Act::Drain);
        }
        self.actors[id].acts = acts;
    }

    fn map(&mut self, id: usize) {
        let file = self.file_of(id);
        let io = self.transfer(id);
        let end = io.offset + io.len;
        let write = matches!(self.op(id), Op::Write(_));
        let mut bio = Vec::new();
        let mut direct = 0;
        for block in self.blocks(io.offset..end) {
            let start = block * self.block();
            let mut on_disk = self.files[file].map.get(&block).copied();
            if write && on_disk.is_none() {
                if start < self.files[file].size {
                    break;
                }
                on_disk = Some(self.allocate(file, block));
            }
            bio.push((block, on_disk));
            direct = (start + self.block()).min(end) - io.offset;
        }
        if write && io.flags.nowait && direct < io.len {
            self.unlock(id);
            self.answer_with(id, Err(EAGAIN));
            return;
        }
        let has_bio = bio.iter().any(|(_, on_disk)| on_disk.is_some());
        self.actors[id].waits |= direct < io.len;
        self.actors[id].bio = bio;
        self.actors[id].direct = direct;
        if write && direct == 0 {
            self.fall_back(id);
            return;
        }
        self.files[file].in_flight.push(id);
        if !self.actors[id].waits {
            self.unlock(id);
        }
        self.actors[id].acts = match has_bio {
            true => VecDeque::from([
                Act::Stop(Point::DioSubmit),
                Act::Device,
                Act::Stop(Point::DioComplete),
                Act::Complete,
            ]),
            false => VecDeque::from([Act::Device, Act::Complete]),
        };
    }

    fn device(&mut self, id: usize) {
        let io = self.transfer(id);
        let size = self.block();
        let bio = self.actors[id].bio.clone();
        if matches!(self.op(id), Op::Read(_)) {
            let mut data = Vec::new();
            for (_, on_disk) in bio {
                match on_disk {
                    Some(on_disk) => data.extend_from_slice(&self.disk[on_disk]),
                    None => data.resize(data.len() + size as usize, 0),
                }
            }
            let step = self.actors[id].step;
            self.actors[id].got.insert(step, data);
            return;
        }
        let data = self.data(id);
        for (block, on_disk) in bio {
            let on_disk = &mut self.disk[on_disk.unwrap()];
            overlay(
                on_disk,
                block * size,
                &data,
                io.offset,
                io.offset + self.actors[id].direct,
            );
        }
    }

    fn complete(&mut self, id: usize) {
        let file = self.file_of(id);
        let io = self.transfer(id);
        let direct = self.actors[id].direct;
        let end = io.offset + direct;
        if matches!(self.op(id), Op::Write(_)) {
            self.files[file].size = self.files[file].size.max(end);
            let range = io.offset..end;
            let pages = self.pages(range.clone());
            self.files[file].mapped.retain(|page| !pages.contains(page));
            let per_page = PAGE.div_ceil(self.block());
            let is_stale = self.files[file].cache.iter().any(|(block, cached)| {
                let page = block / per_page;
                pages.contains(&page) && (cached.dirty || self.files[file].pinned.contains(&page))
            });
            self.files[file].errors += u32::from(is_stale);
            self.drop_clean(file, range);
        }
        self.files[file].in_flight.retain(|&other| other != id);
        if matches!(self.op(id), Op::Write(_)) && direct < io.len {
            self.fall_back(id);
            return;
        }
        self.unlock(id);
        self.answer_with(id, Ok(direct));
    }

    /// What a fallback or a buffered write has to write.
    fn rest(&self, id: usize) -> Range<u64> {
        let io = self.transfer(id);
        io.offset + self.actors[id].direct..io.offset + io.len
    }

    /// The stamped data of the whole step.
    fn data(&self, id: usize) -> Vec<u8> {
        let of = self.of(self.file_of(id));
        content::written_by(of, id, self.actors[id].step, self.transfer(id).len)
    }

    fn copy(&mut self, id: usize) {
        let file = self.file_of(id);
        let range = self.rest(id);
        self.zero_past_eof(file, range.start);
        let data = self.data(id);
        let offset = self.transfer(id).offset;
        self.dirty(file, &data, offset, range);
    }

    /// The bytes of a page that an actor stores to.
    fn stored(&self, id: usize, page: u64) -> Range<u64> {
        let io = self.transfer(id);
        io.offset.max(page * PAGE)..(io.offset + io.len).min((page + 1) * PAGE)
    }

    fn store(&mut self, id: usize, page: u64) {
        let file = self.file_of(id);
        let io = self.transfer(id);
        let range = self.stored(id, page);
        self.files[file].faulting.retain(|&other| other != id);
        self.files[file].pinned.retain(|&other| other != page);
        self.files[file].mapped.push(page);
        let data = self.data(id);
        self.dirty(file, &data, io.offset, range);
        if self.actors[id].acts.is_empty() {
            self.answer_with(id, Ok(io.len));
        }
    }

    /// Puts `range` of `data`, which begins at `offset`, into the page cache.
    fn dirty(&mut self, file: usize, data: &[u8], offset: u64, range: Range<u64>) {
        let size = self.block();
        for block in self.blocks(range.clone()) {
            let whole = range.start <= block * size && (block + 1) * size <= range.end;
            if whole {
                // Nothing of it need be read.
                let blank = Cached {
                    data: vec![0; size as usize],
                    dirty: true,
                };
                self.files[file].cache.entry(block).or_insert(blank);
            } else {
                self.load(file, block * size..(block + 1) * size);
            }
            self.allocate(file, block);
            let cached = self.files[file].cache.get_mut(&block).unwrap();
            cached.dirty = true;
            let from = usize::try_from(range.start - offset).unwrap();
            overlay(
                &mut cached.data,
                block * size,
                &data[from..],
                range.start,
                range.end,
            );
        }
        self.files[file].size = self.files[file].size.max(range.end);
    }

    fn zero_past_eof(&mut self, file: usize, pos: u64) {
        let size = self.files[file].size;
        if pos > size {
            let end = size.next_multiple_of(self.block()).min(pos);
            self.zero(file, size..end);
        }
    }

    /// Zeroes part of a block through the page cache, if it has a place.
    fn zero(&mut self, file: usize, range: Range<u64>) {
        let size = self.block();
        let block = range.start / size;
        if range.is_empty() || !self.files[file].map.contains_key(&block) {
            return;
        }
        self.load(file, range.clone());
        let cached = self.files[file].cache.get_mut(&block).unwrap();
        cached.dirty = true;
        let zeroes = vec![0; (range.end - range.start) as usize];
        overlay(
            &mut cached.data,
            block * size,
            &zeroes,
            range.start,
            range.end,
        );
    }

    fn truncate(&mut self, id: usize) {
        let file = self.file_of(id);
        let Op::Truncate { size } = *self.op(id) else {
            panic!("no truncate");
        };
        let old = self.files[file].size;
        if size > old {
            self.zero_past_eof(file, size);
        } else {
            self.zero(file, size..size.next_multiple_of(self.block()).min(old));
            self.free(file, size.div_ceil(self.block())..u64::MAX);
        }
        self.files[file].size = size;
    }

    fn punch(&mut self, id: usize) {
        let file = self.file_of(id);
        let Op::Punch { range } = self.op(id) else {
            panic!("no punch");
        };
        let size = self.block();
        let (first, last) = (range.start.div_ceil(size), range.end / size);
        self.zero(file, range.start..(first * size).min(range.end));
        self.zero(file, (last * size).max(range.start)..range.end);
        self.free(file, first..last);
    }

    fn free(&mut self, file: usize, blocks: Range<u64>) {
        let state = &mut self.files[file];
        state.cache.retain(|block, _| !blocks.contains(block));
        let gone: Vec<u64> = state
            .map
            .keys()
            .copied()
            .filter(|b| blocks.contains(b))
            .collect();
        for block in gone {
            self.free.extend(state.map.remove(&block));
        }
    }

    /// The block's place on disk; a new one has what the disk had there.
    fn allocate(&mut self, file: usize, block: u64) -> usize {
        if let Some(&on_disk) = self.files[file].map.get(&block) {
            return on_disk;
        }
        let on_disk = self.free.pop().unwrap_or_else(|| {
            self.disk.push(vec![0xdb; self.spec.block_size as usize]);
            self.disk.len() - 1
        });
        self.files[file].map.insert(block, on_disk);
        on_disk
    }

    fn blocks(&self, range: Range<u64>) -> Range<u64> {
        range.start / self.block()..range.end.div_ceil(self.block())
    }

    fn pages(&self, range: Range<u64>) -> Range<u64> {
        range.start / PAGE..range.end.div_ceil(PAGE)
    }

    /// Reads what is not cached yet.
    fn load(&mut self, file: usize, range: Range<u64>) {
        for block in self.blocks(range) {
            let on_disk = self.files[file].map.get(&block);
            let data = match on_disk {
                Some(&on_disk) => self.disk[on_disk].clone(),
                None => vec![0; self.spec.block_size as usize],
            };
            let read = Cached { data, dirty: false };
            self.files[file].cache.entry(block).or_insert(read);
        }
    }

    fn write_back(&mut self, file: usize, range: Range<u64>) {
        let pages = self.pages(range);
        let per_page = PAGE.div_ceil(self.block());
        let state = &mut self.files[file];
        for (block, cached) in &mut state.cache {
            if cached.dirty && pages.contains(&(block / per_page)) {
                cached.dirty = false;
                self.disk[state.map[block]].clone_from(&cached.data);
            }
        }
    }

    pub fn write_back_all(&mut self, file: usize) {
        self.write_back(file, 0..u64::MAX - PAGE);
    }

    /// Pages go that are neither dirty nor in use.
    fn drop_clean(&mut self, file: usize, range: Range<u64>) {
        let pages = self.pages(range);
        let per_page = PAGE.div_ceil(self.block());
        let state = &mut self.files[file];
        let in_use: Vec<u64> = state
            .cache
            .iter()
            .filter(|(_, cached)| cached.dirty)
            .map(|(block, _)| block / per_page)
            .chain(state.pinned.iter().copied())
            .chain(state.mapped.iter().copied())
            .collect();
        state.cache.retain(|block, _| {
            let page = block / per_page;
            !pages.contains(&page) || in_use.contains(&page)
        });
    }

    /// Which of the file's descriptors this is.
    fn descriptor(&self, id: usize, file: usize, direct: bool) -> usize {
        let name = &self.spec.files[file].name;
        let mut number = 0;
        for (other, actor) in self.spec.actors.iter().enumerate() {
            for way in [true, false] {
                if (other, way) == (id, direct) {
                    return number;
                }
                let mut its = actor.steps.iter().filter(|step| step.file == *name);
                number += usize::from(its.any(|step| is_direct(&step.op) == way));
            }
        }
        number
    }

    /// Whether an error is reported.
    fn fsync(&mut self, file: usize, descriptor: usize) -> bool {
        let errors = self.files[file].errors;
        let (seen, told) = &mut self.files[file].descriptors[descriptor];
        let is_new = errors > *seen;
        *seen = errors;
        *told += u32::from(is_new);
        is_new
    }

    /// How often each descriptor was told of an error, when each has called fsync twice more.
    pub fn told(&mut self, file: usize) -> Vec<u32> {
        self.write_back_all(file);
        for descriptor in 0..self.files[file].descriptors.len() {
            self.fsync(file, descriptor);
            self.fsync(file, descriptor);
        }
        let told = self.files[file].descriptors.iter();
        told.map(|(_, told)| *told).collect()
    }

    pub fn size(&self, file: usize) -> u64 {
        self.files[file].size
    }

    pub fn answer(&self, id: usize, step: usize) -> Result<u64, Errno> {
        self.actors[id].answers[step]
    }

    /// What a read got of a range of the file; `None` where it failed.
    pub fn got(&self, id: usize, io: &Transfer, range: &Range<u64>) -> Option<Vec<u8>> {
        let steps = &self.spec.actors[id].steps;
        let is_it = |op: &Op| matches!(op, Op::Read(its) if std::ptr::eq(its, io));
        let step = steps.iter().position(|step| is_it(&step.op))?;
        let data = self.actors[id].got.get(&step)?;
        let at = |pos: u64| usize::try_from(pos - io.offset).unwrap();
        Some(data[at(range.start)..at(range.end)].to_vec())
    }

    /// The bytes by way of the page cache.
    pub fn cached(&mut self, file: usize, range: Range<u64>) -> Vec<u8> {
        self.load(file, range.clone());
        let cache = &self.files[file].cache;
        self.cut(range, |block| cache[&block].data.clone())
    }

    /// The bytes past it.
    pub fn on_disk(&self, file: usize, range: Range<u64>) -> Vec<u8> {
        let hole = vec![0; self.spec.block_size as usize];
        let map = &self.files[file].map;
        self.cut(range, |block| {
            map.get(&block).map_or(&hole, |&at| &self.disk[at]).clone()
        })
    }

    fn cut(&self, range: Range<u64>, data: impl Fn(u64) -> Vec<u8>) -> Vec<u8> {
        let blocks = self.blocks(range.clone());
        let before = (range.start - blocks.start * self.block()) as usize;
        let all: Vec<u8> = blocks.flat_map(data).collect();
        all[before..before + (range.end - range.start) as usize].to_vec()
    }
}

fn is_direct(op: &Op) -> bool {
    matches!(op, Op::Read(io) | Op::Write(io) if io.way == Way::Direct)
}

/// Puts the part of `data`, which begins at `pos` and counts as far as `end`, into `block`, which begins at `start`.
fn overlay(block: &mut [u8], start: u64, data: &[u8], pos: u64, end: u64) {
    let sectors = block.chunks_exact_mut(SECTOR as usize);
    for (sector, at) in sectors.zip((start..).step_by(SECTOR as usize)) {
        if at >= pos && at + SECTOR <= end {
            let from = usize::try_from(at - pos).unwrap();
            sector.copy_from_slice(&data[from..from + SECTOR as usize]);
        }
    }
}
