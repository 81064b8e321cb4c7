// SPDX-License-Identifier: GPL-2.0

//! Hold points: named places where a task or a bio of direct I/O can be parked until user space lets it go.
//!
//! A mount has one [`Gate`]. Rules say what is parked at which [`Point`]; as long as no mount has any, a point costs one
//! comparison and a branch, and nothing at all where the module is made with `NOTBLK_HOLD=n`.
//!
//! # What keeps this sound
//!
//! - What is parked is a [`Parked`] in the queue of one rule. The gate's spinlock, taken with interrupts off, protects rules and
//!   queues. A task's `Parked` is on its own stack, which it leaves only when it has been taken out of the queue. A bio's is
//!   in a [`Flight`], which is allocated when the bio is submitted, so that parking allocates nothing.
//! - A bio in flight, parked or not, keeps its file open until iomap's own `bi_end_io` runs, the file its mount, and the mount
//!   the gate. After that call nothing of ours is touched any more.
//! - Nothing is held longer than the rule's deadline: while something is parked, work is scheduled for the time when the
//!   first of it is overdue.

use super::{super_block::Id, trace::Held, FileSystem, Inode, SuperBlock};
use crate::sys::bindings;
use core::{
    cell::UnsafeCell,
    mem::MaybeUninit,
    ops::{Deref, DerefMut},
    ptr,
};
use kernel::{
    current, fmt,
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
    time::{Instant, Monotonic},
    types::Opaque,
};

/// Whether there are hold points in this build.
pub(crate) const COMPILED: bool = !cfg!(notblk_without_hold);

/// Mounts that have rules.
static GUARDED: Atomic<i32> = Atomic::new(0);

/// Whether any mount has rules: what is asked first wherever a point is passed.
#[inline(always)]
pub(super) fn is_any_guarded() -> bool {
    // `Atomic::load` is a call where the kernel's helpers are not inlined, and this is asked for each request.
    // SAFETY: a static's address. C: `READ_ONCE`, which is what a relaxed load is in the kernel.
    COMPILED && unsafe { GUARDED.as_ptr().read_volatile() } != 0
}

/// Rules of a mount, at most.
const MAX_RULES: usize = 64;

/// Where something can be parked. Bios at the two of a bio, tasks elsewhere.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// Direct I/O has its lock, and asks iomap next.
    DioLocked,
    /// It has flushed what the page cache had, and looks up the blocks next. Its lock is held. Whose it is says the calling task.
    DioMap,
    /// A bio, before the block layer gets it.
    DioSubmit,
    /// A bio that has completed, before iomap hears of it.
    DioComplete,
    /// What is left of a direct write goes to the page cache; no lock is held.
    FallbackBegin,
    /// After the drain, or where it would have been; `i_rwsem` is held exclusively.
    FallbackDrained,
    /// Pages are dirty, no lock is held.
    FallbackDirtied,
    /// They have been written.
    FallbackFlushed,
    /// They are out of the page cache.
    FallbackDone,
    /// As [`Point::FallbackDrained`], of a buffered write that is no fallback.
    BufferedDrained,
    /// A change of size, under `i_rwsem` held exclusively.
    TruncateBegin,
    /// After its drain.
    TruncateDrained,
    /// A hole is about to be punched; no lock is held.
    PunchBegin,
    /// After its drain, `i_rwsem` is held exclusively.
    PunchDrained,
    /// A page is about to be written by mmap; no lock of the filesystem's is held. C: `page_mkwrite`.
    FaultBegin,
    /// It has its blocks, and is not dirty yet; it is locked, and `invalidate_lock` held shared.
    FaultMapped,
    /// `fsync`, before anything is written.
    FsyncBegin,
}

impl Point {
    /// All, by the names that user space knows.
    const NAMES: [(Self, &'static CStr); 17] = [
        (Self::DioLocked, c"dio.locked"),
        (Self::DioMap, c"dio.map"),
        (Self::DioSubmit, c"dio.submit"),
        (Self::DioComplete, c"dio.complete"),
        (Self::FallbackBegin, c"fallback.begin"),
        (Self::FallbackDrained, c"fallback.drained"),
        (Self::FallbackDirtied, c"fallback.dirtied"),
        (Self::FallbackFlushed, c"fallback.flushed"),
        (Self::FallbackDone, c"fallback.done"),
        (Self::BufferedDrained, c"buffered.drained"),
        (Self::TruncateBegin, c"truncate.begin"),
        (Self::TruncateDrained, c"truncate.drained"),
        (Self::PunchBegin, c"punch.begin"),
        (Self::PunchDrained, c"punch.drained"),
        (Self::FaultBegin, c"fault.begin"),
        (Self::FaultMapped, c"fault.mapped"),
        (Self::FsyncBegin, c"fsync.begin"),
    ];

    /// The point of this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let found = Self::NAMES
            .iter()
            .find(|(_, known)| known.to_bytes() == name.as_bytes());
        found.map(|(point, _)| *point)
    }

    /// Its name.
    fn name(self) -> &'static CStr {
        let found = Self::NAMES.iter().find(|(point, _)| *point == self);
        found.map_or(c"?", |(_, name)| name)
    }

    /// The same, to be printed.
    fn text(self) -> &'static str {
        self.name().to_str().unwrap_or("?")
    }
}

/// Where the fallback of a direct write is: its points, each of them an event too.
#[derive(Clone, Copy)]
pub(crate) enum Stage {
    /// [`Point::FallbackBegin`]
    Begin,
    /// [`Point::FallbackDrained`]
    Drained,
    /// [`Point::FallbackDirtied`]
    Dirtied,
    /// [`Point::FallbackFlushed`]
    Flushed,
    /// [`Point::FallbackDone`]
    Done,
}

impl Stage {
    /// Its point, and what the event calls it.
    pub(super) fn point(self) -> (Point, &'static CStr) {
        match self {
            Self::Begin => (Point::FallbackBegin, c"begin"),
            Self::Drained => (Point::FallbackDrained, c"drained"),
            Self::Dirtied => (Point::FallbackDirtied, c"dirtied"),
            Self::Flushed => (Point::FallbackFlushed, c"flushed"),
            Self::Done => (Point::FallbackDone, c"done"),
        }
    }
}

/// On whose behalf something is done: the thread that has opened the file, by its number in the initial namespace, so that
/// workers which do a request for others count as those.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner(i32);

impl Owner {
    /// The calling task.
    pub(crate) fn current() -> Self {
        Self(current!().pid())
    }

    /// Its number.
    pub(super) fn tid(self) -> i32 {
        self.0
    }

    /// By its number.
    pub(crate) fn from_tid(tid: i32) -> Self {
        Self(tid)
    }

    /// Notes in a file that is being opened who does it.
    ///
    /// # Safety
    ///
    /// `file` is valid and ours, a regular file that nobody else has yet.
    pub(super) unsafe fn note(file: *mut bindings::file) {
        // SAFETY: by the contract. Nothing else uses `private_data` of our regular files.
        unsafe { (*file).private_data = Self::current().into_pointer().cast_mut() };
    }

    /// Who has opened a file; the calling task for one that our `open` has not seen.
    ///
    /// # Safety
    ///
    /// `file` is valid.
    pub(super) unsafe fn of_file(file: *const bindings::file) -> Self {
        // SAFETY: by the contract; set when the file was opened.
        let noted = Self::from_pointer(unsafe { (*file).private_data });
        if noted.0 > 0 {
            noted
        } else {
            Self::current()
        }
    }

    /// As a pointer to nothing, for C to hand through.
    pub(super) fn into_pointer(self) -> *const c_void {
        // CAST: thread numbers are not negative.
        ptr::without_provenance(self.0 as usize)
    }

    /// The other way round.
    pub(super) fn from_pointer(pointer: *const c_void) -> Self {
        Self(i32::try_from(pointer.addr()).unwrap_or(0))
    }
}

/// Which bytes of which file, and for whom.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) owner: Owner,
    pub(crate) ino: u64,
    /// First byte.
    pub(crate) pos: u64,
    /// Bytes.
    pub(crate) len: u64,
}

/// What a rule parks: what is at `point` and passes all filters.
pub(crate) struct Filter {
    pub(crate) point: Point,
    pub(crate) owner: Option<Owner>,
    pub(crate) ino: Option<u64>,
    /// First and last byte.
    pub(crate) range: Option<(u64, u64)>,
    /// So many are parked in all, later ones pass.
    pub(crate) count: Option<u64>,
    /// Milliseconds that anything may be parked.
    pub(crate) deadline: u32,
}

impl Filter {
    fn matches(&self, point: Point, place: &Place) -> bool {
        let last = place.pos.saturating_add(place.len.max(1).saturating_sub(1));
        self.point == point
            && self.owner.is_none_or(|owner| owner == place.owner)
            && self.ino.is_none_or(|ino| ino == place.ino)
            && self
                .range
                .is_none_or(|(from, to)| from <= last && place.pos <= to)
    }
}

/// Which of a rule's things are let go.
#[derive(Clone, Copy)]
pub(crate) enum Which {
    /// All.
    All,
    /// The one that has been parked for longest.
    Oldest,
    /// Of those that begin at this byte, the one that has been parked for longest.
    At(u64),
}

/// A rule, and what it has done.
struct Rule {
    id: u64,
    filter: Filter,
    /// How many it has ever parked.
    taken: u64,
    /// How many went by, or were let go.
    passed: u64,
    queue: Queue,
}

impl Rule {
    /// Takes out of its queue what is meant, oldest first. Tasks go on at once; bios are put into `bios`.
    fn let_go(&mut self, gate: &Gate, which: Which, bios: &mut Queue) -> usize {
        let mut gone = 0usize;
        loop {
            let parked = match which {
                Which::All => self.queue.pop(),
                _ if gone != 0 => None,
                Which::Oldest => self.queue.pop(),
                Which::At(pos) => {
                    let found = self.queue.first_at(pos);
                    found.filter(|&parked| self.queue.remove(parked))
                }
            };
            let Some(parked) = parked else { break };
            gone = gone.saturating_add(1);
            self.passed = self.passed.saturating_add(1);
            // SAFETY: as below.
            gate.held(self, unsafe { &(*parked).place }).release();
            // SAFETY: out of the queue just now, and nobody else's yet: a task's is valid until it is told to go on, which
            // happens under the lock, and only once; a bio's until `bios` is dealt with.
            unsafe {
                match (*parked).what {
                    What::Task { done, .. } => bindings::complete(done),
                    What::Submit | What::Complete => bios.push(parked),
                }
            }
        }
        gone
    }
}

/// What is parked, and how it goes on.
#[derive(Clone, Copy)]
enum What {
    /// A task, which waits for `done`.
    Task {
        tid: i32,
        done: *mut bindings::completion,
    },
    /// The bio of a [`Flight`], to be submitted.
    Submit,
    /// The bio of a [`Flight`], to be completed.
    Complete,
}

/// Something that is or may be parked.
struct Parked {
    next: *mut Parked,
    what: What,
    place: Place,
    /// Milliseconds of [`Gate::now`] at which it was parked.
    since: u64,
}

/// Things parked, oldest first.
///
/// # Invariants
///
/// `head` begins a list of `len` valid items that ends with `tail`, each in no other queue.
struct Queue {
    head: *mut Parked,
    tail: *mut Parked,
    len: usize,
}

impl Queue {
    const fn new() -> Self {
        Self {
            head: ptr::null_mut(),
            tail: ptr::null_mut(),
            len: 0,
        }
    }

    /// # Safety
    ///
    /// `parked` is valid until it is out of the queue again, and in no queue now.
    unsafe fn push(&mut self, parked: *mut Parked) {
        // SAFETY: by the contract and the type's invariants.
        unsafe {
            (*parked).next = ptr::null_mut();
            match self.tail.is_null() {
                true => self.head = parked,
                false => (*self.tail).next = parked,
            }
        }
        self.tail = parked;
        self.len = self.len.saturating_add(1);
    }

    /// The oldest one that begins at this byte.
    fn first_at(&self, pos: u64) -> Option<*mut Parked> {
        let mut at = self.head;
        while !at.is_null() {
            // SAFETY: by the type's invariants.
            let (begins, next) = unsafe { ((*at).place.pos, (*at).next) };
            if begins == pos {
                return Some(at);
            }
            at = next;
        }
        None
    }

    fn pop(&mut self) -> Option<*mut Parked> {
        let first = self.head;
        if first.is_null() {
            return None;
        }
        // SAFETY: by the type's invariants.
        self.head = unsafe { (*first).next };
        if self.head.is_null() {
            self.tail = ptr::null_mut();
        }
        self.len = self.len.saturating_sub(1);
        Some(first)
    }

    /// Takes one out, wherever it is; `false` where it is not in this queue.
    fn remove(&mut self, parked: *mut Parked) -> bool {
        let mut before: *mut Parked = ptr::null_mut();
        let mut at = self.head;
        while !at.is_null() {
            // SAFETY: by the type's invariants.
            let next = unsafe { (*at).next };
            if at == parked {
                match before.is_null() {
                    true => self.head = next,
                    // SAFETY: as above.
                    false => unsafe { (*before).next = next },
                }
                if next.is_null() {
                    self.tail = before;
                }
                self.len = self.len.saturating_sub(1);
                return true;
            }
            before = at;
            at = next;
        }
        false
    }

    /// Milliseconds at which the oldest was parked.
    fn oldest(&self) -> Option<u64> {
        // SAFETY: by the type's invariants, where there is one.
        (!self.head.is_null()).then(|| unsafe { (*self.head).since })
    }

    /// Calls `look` for each, oldest first.
    fn each(&self, mut look: impl FnMut(&Parked) -> fmt::Result) -> fmt::Result {
        let mut at = self.head;
        while !at.is_null() {
            // SAFETY: by the type's invariants.
            let parked = unsafe { &*at };
            look(parked)?;
            at = parked.next;
        }
        Ok(())
    }
}

/// What the lock protects.
struct State {
    rules: KVec<Rule>,
    /// The last rule's number.
    last_id: u64,
    /// When the work is to run that looks for what is overdue ([`Gate::now`]).
    look: Option<u64>,
}

/// The rules of a mount, and what they have parked.
///
/// # Invariants
///
/// `state` is accessed with the lock of `raw` held.
#[pin_data(PinnedDrop)]
#[repr(C)]
pub(crate) struct Gate {
    // First, so that the one that C hands us is also a `Gate`.
    #[pin]
    raw: Opaque<bindings::notblk_gate>,
    state: UnsafeCell<State>,
    /// There are rules.
    armed: Atomic<bool>,
    /// Bios that the block layer has.
    inflight: Atomic<i64>,
    born: Instant<Monotonic>,
    id: Id,
    /// The device, as tracepoints name it.
    dev: u32,
}

// SAFETY: what its pointers lead to belongs to it, or waits for it.
unsafe impl Send for Gate {}
// SAFETY: by its invariant `state` is protected by a lock; the rest is atomic, or constant.
unsafe impl Sync for Gate {}

impl Gate {
    /// A gate without rules, of the mount that log lines call `id`, on the device `dev`.
    pub(crate) fn new(id: Id, dev: u32) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // SAFETY: valid for writes, and pinned; the function is good for the work of a gate's `raw`.
            raw <- Opaque::ffi_init(|raw| unsafe {
                bindings::notblk_gate_init(raw, Some(Self::look_for_overdue));
            }),
            state: UnsafeCell::new(State {
                rules: KVec::new(),
                last_id: 0,
                look: None,
            }),
            armed: Atomic::new(false),
            inflight: Atomic::new(0),
            born: Instant::now(),
            id,
            dev,
        }? Error)
    }

    /// Whether there are rules.
    #[inline]
    pub(super) fn is_armed(&self) -> bool {
        is_any_guarded() && self.armed.load(Relaxed)
    }

    /// There are rules, or none any more. Under the lock, or alone.
    fn arm(&self, armed: bool) {
        if self.armed.load(Relaxed) != armed {
            self.armed.store(armed, Relaxed);
            GUARDED.add(if armed { 1 } else { -1 }, Relaxed);
        }
    }

    /// The mount's name for log lines.
    pub(crate) fn id(&self) -> &Id {
        &self.id
    }

    /// For a tracepoint.
    fn held<'a>(&self, rule: &Rule, place: &'a Place) -> Held<'a> {
        Held {
            dev: self.dev,
            rule: rule.id,
            point: rule.filter.point.name(),
            place,
        }
    }

    /// Milliseconds since the mount.
    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(0)
    }

    fn lock(&self) -> Guard<'_> {
        // SAFETY: initialised in `new`.
        let flags = unsafe { bindings::notblk_gate_lock(self.raw.get()) };
        Guard { gate: self, flags }
    }

    /// The calling task passes a point. Sleeps where a rule wants it to: no spinlock is held.
    #[cold]
    fn park_task(&self, point: Point, place: Place) {
        let mut done = MaybeUninit::<bindings::completion>::uninit();
        let done = done.as_mut_ptr();
        // SAFETY: ours to initialise; on this stack until the end of the function.
        unsafe { bindings::notblk_init_completion(done) };
        let mut parked = Parked {
            next: ptr::null_mut(),
            what: What::Task {
                tid: current!().pid(),
                done,
            },
            place,
            since: 0,
        };
        let parked = &raw mut parked;
        // SAFETY: valid until this function returns, which it does when `parked` is in no queue any more: who takes it out
        // completes `done` under the lock, or it is the code below.
        if !unsafe { self.park(point, parked) } {
            return;
        }
        // SAFETY: initialised above.
        if unsafe { bindings::notblk_hold_wait(done) } {
            return;
        }
        // Killed. Whoever has let it go at the same moment has done so when we have the lock.
        let mut state = self.lock();
        for rule in state.rules.iter_mut() {
            if rule.queue.remove(parked) {
                self.held(rule, &place).release();
                rule.passed = rule.passed.saturating_add(1);
            }
        }
    }

    /// Parks it if a rule wants so; `false` if none does.
    ///
    /// # Safety
    ///
    /// `parked` is valid, nobody else's, and in no queue. From `true` on it belongs to the gate until it is let go.
    unsafe fn park(&self, point: Point, parked: *mut Parked) -> bool {
        let mut state = self.lock();
        let now = self.now();
        // SAFETY: by the contract.
        let place = unsafe { (*parked).place };
        let mut due = None;
        for rule in state.rules.iter_mut() {
            if !rule.filter.matches(point, &place) {
                continue;
            }
            if rule.filter.count.is_some_and(|count| rule.taken >= count) {
                rule.passed = rule.passed.saturating_add(1);
                continue;
            }
            rule.taken = rule.taken.saturating_add(1);
            // SAFETY: by the contract.
            unsafe {
                (*parked).since = now;
                if matches!((*parked).what, What::Complete) {
                    // Under the lock: whoever looks finds it in the one place or in the other.
                    self.inflight.add(-1, Relaxed);
                }
                rule.queue.push(parked);
            }
            self.held(rule, &place).hold();
            due = Some(now.saturating_add(u64::from(rule.filter.deadline)));
            break;
        }
        let Some(due) = due else { return false };
        self.look_at(&mut state, now, due);
        true
    }

    /// Sees to it that the work runs at `due`, or before.
    fn look_at(&self, state: &mut State, now: u64, due: u64) {
        if state.look.is_some_and(|look| look <= due) {
            return;
        }
        state.look = Some(due);
        let wait = u32::try_from(due.saturating_sub(now)).unwrap_or(u32::MAX);
        // SAFETY: initialised in `new`.
        unsafe { bindings::notblk_gate_look_in(self.raw.get(), wait) };
    }

    /// Lets go what is overdue, with its rule.
    ///
    /// # Safety
    ///
    /// C's contract for a work function, of the work of a gate.
    unsafe extern "C" fn look_for_overdue(work: *mut bindings::work_struct) {
        // SAFETY: by the contract: of a gate's `raw`, which is its first field. It ends the work before it is dropped.
        let gate = unsafe { &*bindings::notblk_gate_of_work(work).cast::<Self>() };
        gate.lock().look = None;
        while let Some((rule, count, mut bios)) = gate.take_overdue() {
            pr_warn!(
                "({}): hold {} {}: {count} let go after {} ms\n",
                gate.id,
                rule.id,
                rule.filter.point.text(),
                rule.filter.deadline
            );
            gate.send_on(&mut bios);
        }
    }

    /// Takes away one rule that has held something for too long; if there is none, has the work run again in time.
    fn take_overdue(&self) -> Option<(Rule, usize, Queue)> {
        let mut bios = Queue::new();
        let mut state = self.lock();
        let now = self.now();
        let mut first = None;
        let mut found = None;
        for (index, rule) in state.rules.iter().enumerate() {
            let Some(oldest) = rule.queue.oldest() else {
                continue;
            };
            let due = oldest.saturating_add(u64::from(rule.filter.deadline));
            if due <= now {
                found = Some(index);
                break;
            }
            first = Some(first.map_or(due, |first: u64| first.min(due)));
        }
        if let Some(index) = found {
            let mut rule = state.rules.remove(index).ok()?;
            let count = rule.let_go(self, Which::All, &mut bios);
            self.arm(!state.rules.is_empty());
            return Some((rule, count, bios));
        }
        if let Some(due) = first {
            self.look_at(&mut state, now, due);
        }
        None
    }

    /// Has the bios go on that were let go. Not under the lock.
    fn send_on(&self, bios: &mut Queue) {
        while let Some(parked) = bios.pop() {
            // SAFETY: not a task's, so it is the first field of a flight, which is ours since it is in no queue.
            unsafe {
                let flight = parked.cast::<Flight>();
                match (*parked).what {
                    What::Submit => Flight::submit(self, flight),
                    _ => Flight::complete(flight),
                }
            }
        }
    }

    /// Adds a rule, and answers its number.
    ///
    /// # Errors
    ///
    /// `ENOSPC` where there are too many, `ENOMEM`.
    pub(crate) fn add(&self, filter: Filter) -> Result<u64> {
        // Room for all there can be, made before the lock is taken.
        let mut room = KVec::with_capacity(MAX_RULES, GFP_KERNEL)?;
        let mut state = self.lock();
        if state.rules.is_empty() {
            core::mem::swap(&mut state.rules, &mut room);
        }
        let id = state.last_id.saturating_add(1);
        let rule = Rule {
            id,
            filter,
            taken: 0,
            passed: 0,
            queue: Queue::new(),
        };
        if state.rules.len() >= MAX_RULES {
            return Err(ENOSPC);
        }
        state.rules.push_within_capacity(rule).map_err(|_| ENOSPC)?;
        state.last_id = id;
        self.arm(true);
        drop(state);
        Ok(id)
    }

    /// Lets go what a rule has parked; and takes the rule away if `gone`.
    ///
    /// # Errors
    ///
    /// `ENOENT` where there is no such rule.
    pub(crate) fn release(&self, id: u64, which: Which, gone: bool) -> Result {
        let mut bios = Queue::new();
        {
            let mut state = self.lock();
            let index = state.rules.iter().position(|rule| rule.id == id);
            let index = index.ok_or(ENOENT)?;
            if let Some(rule) = state.rules.get_mut(index) {
                rule.let_go(self, which, &mut bios);
            }
            if gone {
                drop(state.rules.remove(index));
                self.arm(!state.rules.is_empty());
            }
        }
        self.send_on(&mut bios);
        Ok(())
    }

    /// Lets everything go, and takes all rules away; answers how many things were parked.
    pub(crate) fn clear(&self) -> usize {
        let mut bios = Queue::new();
        let mut count = 0usize;
        {
            let mut state = self.lock();
            for rule in state.rules.iter_mut() {
                count = count.saturating_add(rule.let_go(self, Which::All, &mut bios));
            }
            state.rules.clear();
            self.arm(false);
        }
        self.send_on(&mut bios);
        count
    }

    /// The mount is frozen, shut down or unmounted: as [`Self::clear`], and a line in the log if anything was parked.
    pub(crate) fn open_for(&self, what: &str) {
        if !self.is_armed() {
            return;
        }
        let count = self.clear();
        if count != 0 {
            pr_warn!("({}): {what}: {count} let go that were held\n", self.id);
        }
    }

    /// A line for each rule, and one for the bios in flight.
    pub(crate) fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        for rule in &state.rules {
            let filter = &rule.filter;
            write!(f, "{} {}", rule.id, filter.point.text())?;
            if let Some(owner) = filter.owner {
                write!(f, " owner={}", owner.0)?;
            }
            if let Some(ino) = filter.ino {
                write!(f, " ino={ino}")?;
            }
            if let Some((first, last)) = filter.range {
                write!(f, " range={first}-{last}")?;
            }
            if let Some(count) = filter.count {
                write!(f, " count={count}")?;
            }
            write!(f, " passed={} held={} now=[", rule.passed, rule.queue.len)?;
            let mut space = "";
            rule.queue.each(|parked| {
                write!(f, "{space}")?;
                space = " ";
                match parked.what {
                    What::Task { tid, .. } => write!(f, "task:{tid}"),
                    _ => write!(f, "bio:{}+{}", parked.place.pos, parked.place.len),
                }
            })?;
            writeln!(f, "]")?;
        }
        writeln!(f, "inflight {}", self.inflight.load(Relaxed))
    }
}

#[pinned_drop]
impl PinnedDrop for Gate {
    fn drop(self: Pin<&mut Self>) {
        self.arm(false);
        // Nothing is parked: whatever is keeps its file open, and so the mount.
        // SAFETY: initialised in `new`.
        unsafe { bindings::notblk_gate_end(self.raw.get()) };
    }
}

/// The gate's lock, held with interrupts off.
struct Guard<'a> {
    gate: &'a Gate,
    flags: c_ulong,
}

impl Deref for Guard<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        // SAFETY: the lock is held.
        unsafe { &*self.gate.state.get() }
    }
}

impl DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut State {
        // SAFETY: the lock is held.
        unsafe { &mut *self.gate.state.get() }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // SAFETY: taken when this was made.
        unsafe { bindings::notblk_gate_unlock(self.gate.raw.get(), self.flags) };
    }
}

/// A bio that was submitted while there were rules: what it had instead of ours, and whether it is parked.
///
/// # Invariants
///
/// `bio` is valid and not complete for its submitter, `gate` valid: see the module's text.
#[repr(C)]
struct Flight {
    // First: a bio's `Parked` is also a `Flight`.
    parked: Parked,
    gate: *const Gate,
    bio: *mut bindings::bio,
    end_io: bindings::bio_end_io_t,
    private: *mut c_void,
}

/// There has been a flight since the module was loaded.
static FLEW: Atomic<bool> = Atomic::new(false);

impl Flight {
    /// Gives the bio to the block layer.
    ///
    /// # Safety
    ///
    /// `flight` is the caller's, and its bio not submitted.
    unsafe fn submit(gate: &Gate, flight: *mut Self) {
        gate.inflight.add(1, Relaxed);
        // SAFETY: by the contract. It may be complete, and the flight gone, when this returns.
        unsafe { bindings::submit_bio((*flight).bio) };
    }

    /// Lets the bio be what it was, and completes it.
    ///
    /// # Safety
    ///
    /// `flight` is the caller's, and the block layer is done with its bio. Both are gone afterwards.
    unsafe fn complete(flight: *mut Self) {
        // SAFETY: by the contract; made by `KBox::into_raw`.
        let flight = unsafe { KBox::from_raw(flight) };
        let bio = flight.bio;
        // SAFETY: by the contract.
        unsafe {
            (*bio).bi_end_io = flight.end_io;
            (*bio).bi_private = flight.private;
        }
        drop(flight);
        // The last thing, see `settle`: what kept mount and module may be gone with the bio.
        // SAFETY: by the contract.
        unsafe { bindings::notblk_bio_end(bio) };
    }

    /// # Safety
    ///
    /// C's contract for `bi_end_io`, of a bio with a flight. In any context.
    unsafe extern "C" fn end_io(bio: *mut bindings::bio) {
        // SAFETY: put there by `submit_io`; the block layer is done with the bio, so the flight is ours.
        unsafe {
            let flight: *mut Self = (*bio).bi_private.cast();
            let gate = &*(*flight).gate;
            if gate.is_armed() {
                (*flight).parked.what = What::Complete;
                if gate.park(Point::DioComplete, flight.cast()) {
                    return;
                }
            }
            gate.inflight.add(-1, Relaxed);
            Self::complete(flight);
        }
    }
}

/// What the wrappers ask.
pub(crate) trait Operations: Sized {
    /// The mount's gate.
    fn gate(_sb: &SuperBlock<Self>) -> Option<&Gate>
    where
        Self: FileSystem,
    {
        None
    }
}

/// For `struct iomap_dio_ops` of a mount with rules.
///
/// # Safety
///
/// C's contract for `submit_io`, of a file of ours; `private` of the iterator is an [`Owner`] as a pointer.
pub(super) unsafe extern "C" fn submit_io<T: FileSystem>(
    iter: *const bindings::iomap_iter,
    bio: *mut bindings::bio,
    pos: bindings::loff_t,
) {
    // SAFETY: by the contract.
    let (inode, owner) = unsafe {
        (
            Inode::<T>::from_raw((*iter).inode),
            Owner::from_pointer((*iter).private),
        )
    };
    // SAFETY: by the contract; the bio is the caller's until it is submitted.
    let flight =
        unsafe { T::gate(inode.sb()).and_then(|gate| board(gate, inode, owner, bio, pos)) };
    let Some((gate, flight)) = flight else {
        // No memory: it goes by.
        // SAFETY: by the contract.
        unsafe { bindings::submit_bio(bio) };
        return;
    };
    // SAFETY: `board` has made it.
    unsafe {
        if !gate.park(Point::DioSubmit, flight.cast()) {
            Flight::submit(gate, flight);
        }
    }
}

/// Makes a bio's flight.
///
/// # Safety
///
/// The bio is valid, the caller's, and to be submitted.
unsafe fn board<'a, T: FileSystem>(
    gate: &'a Gate,
    inode: &Inode<T>,
    owner: Owner,
    bio: *mut bindings::bio,
    pos: bindings::loff_t,
) -> Option<(&'a Gate, *mut Flight)> {
    // SAFETY: by the contract.
    let (end_io, private, len) =
        unsafe { ((*bio).bi_end_io, (*bio).bi_private, (*bio).bi_iter.bi_size) };
    let flight = Flight {
        parked: Parked {
            next: ptr::null_mut(),
            what: What::Submit,
            place: Place {
                owner,
                ino: inode.ino(),
                pos: super::to_pos(pos),
                len: u64::from(len),
            },
            since: 0,
        },
        gate,
        bio,
        end_io,
        private,
    };
    let flight = KBox::into_raw(KBox::new(flight, GFP_KERNEL).ok()?);
    FLEW.store(true, Relaxed);
    // SAFETY: by the contract.
    unsafe {
        (*bio).bi_end_io = Some(Flight::end_io);
        (*bio).bi_private = flight.cast();
    }
    Some((gate, flight))
}

impl<T: FileSystem> Inode<T> {
    /// The calling task passes a point with `len` bytes from `pos` on of this file, for `owner`. Sleeps where a rule wants it to.
    #[inline(always)]
    pub(crate) fn pass(&self, point: Point, owner: impl FnOnce() -> Owner, pos: u64, len: u64) {
        if is_any_guarded() {
            self.pass_gate(point, owner(), pos, len);
        }
    }

    #[cold]
    fn pass_gate(&self, point: Point, owner: Owner, pos: u64, len: u64) {
        if let Some(gate) = T::gate(self.sb()).filter(|gate| gate.is_armed()) {
            let ino = self.ino();
            gate.park_task(
                point,
                Place {
                    owner,
                    ino,
                    pos,
                    len,
                },
            );
        }
    }

    /// Whether the mount has rules.
    #[inline(always)]
    pub(super) fn is_guarded(&self) -> bool {
        is_any_guarded() && T::gate(self.sb()).is_some_and(Gate::is_armed)
    }
}

/// Waits until the last completion of ours has returned, whose bio may have taken the last mount with it: the module's text is
/// about to go. Sleeps.
pub(super) fn settle() {
    if FLEW.load(Relaxed) {
        // SAFETY: always.
        unsafe { bindings::notblk_synchronize_code() };
    }
}
