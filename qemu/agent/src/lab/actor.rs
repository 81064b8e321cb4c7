// SPDX-License-Identifier: GPL-2.0
//! An actor: a thread that opens the files of its steps, waits for the word, and does them one after the other.
//!
//! One thread serves all orders of a spec, so that the driver knows it by one number, and its rules are made once.

use super::calls::Calls;
use anyhow::{anyhow, Context, Result};
use notblk_race::spec::{Actor, Errno, Op, Spec, Way};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::Arc;
use std::thread::JoinHandle;

/// How a step ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Bytes, 0 for calls that have none; or the errno.
    pub answer: std::result::Result<u64, Errno>,
    /// What a read got.
    pub data: Vec<u8>,
}

/// An actor's descriptors of one file.
pub struct Opened {
    /// With `O_DIRECT`, where one of its steps wants it.
    pub direct: Option<File>,
    /// Without.
    pub other: Option<File>,
}

impl Opened {
    /// Those that there are.
    pub fn all(&self) -> impl Iterator<Item = &File> {
        self.direct.iter().chain(&self.other)
    }
}

/// Descriptors by the file's name.
pub type Files = BTreeMap<String, Opened>;

enum Word {
    /// Open the files; the paths by name.
    Open {
        order: u32,
        paths: BTreeMap<String, PathBuf>,
    },
    /// Do the steps.
    Go,
}

enum Answer {
    /// The files are open; clones of the descriptors, which are one with them for the kernel.
    Opened(Result<Files>),
    /// The steps are done.
    Done(Vec<Ended>),
}

/// The thread, from outside.
pub struct Player {
    /// As the kernel numbers it: the owner of its files.
    pub tid: i32,
    words: Option<Sender<Word>>,
    answers: Receiver<Answer>,
    done: Arc<AtomicBool>,
    hangs: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Player {
    /// Starts the thread of an actor of the spec.
    pub fn start(spec: &Spec, index: usize) -> Result<Player> {
        let (words, orders) = mpsc::channel();
        let (told, answers) = mpsc::channel();
        let (tid_sender, tid) = mpsc::channel();
        let done = Arc::new(AtomicBool::new(false));
        let hangs = Arc::new(AtomicBool::new(false));
        let mut stage = Stage {
            spec: spec.clone(),
            index,
            hangs: Arc::clone(&hangs),
            done: Arc::clone(&done),
        };
        let name = spec
            .actors
            .get(index)
            .context("no such actor")?
            .name
            .clone();
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || {
                let _ = tid_sender.send(rustix::thread::gettid().as_raw_nonzero().get());
                // The other end is gone: so is the need for this one.
                let _ = stage.play(&orders, &told);
            })
            .context("start an actor")?;
        Ok(Player {
            tid: tid.recv().context("an actor does not start")?,
            words: Some(words),
            answers,
            done,
            hangs,
            thread: Some(thread),
        })
    }

    /// Has it open its files for an order.
    pub fn open(&self, order: u32, paths: BTreeMap<String, PathBuf>) -> Result<()> {
        self.done.store(false, SeqCst);
        self.say(Word::Open { order, paths })
    }

    /// Waits until it has; clones of its descriptors.
    pub fn opened(&self) -> Result<Files> {
        match self.answers.recv() {
            Ok(Answer::Opened(files)) => files,
            _ => Err(anyhow!("an actor has died")),
        }
    }

    /// Lets it begin.
    pub fn go(&self) -> Result<()> {
        self.say(Word::Go)
    }

    /// Whether its last step is done.
    pub fn is_done(&self) -> bool {
        self.done.load(SeqCst)
    }

    /// From now on it does not come to its end.
    pub fn hang(&self) {
        self.hangs.store(true, SeqCst);
    }

    /// How its steps ended; waits for them.
    pub fn results(&self) -> Result<Vec<Ended>> {
        match self.answers.recv() {
            Ok(Answer::Done(ended)) => Ok(ended),
            _ => Err(anyhow!("an actor has died")),
        }
    }

    fn say(&self, word: Word) -> Result<()> {
        let sender = self.words.as_ref().context("an actor was ended")?;
        sender.send(word).map_err(|_| anyhow!("an actor has died"))
    }

    /// Does not wait for it when it ends: it hangs in the kernel.
    pub fn abandon(mut self) {
        self.thread = None;
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.words = None;
        if let Some(thread) = self.thread.take() {
            // Its panic has been seen as a death.
            let _ = thread.join();
        }
    }
}

/// What the thread itself has.
struct Stage {
    spec: Spec,
    index: usize,
    done: Arc<AtomicBool>,
    hangs: Arc<AtomicBool>,
}

impl Stage {
    fn play(&mut self, orders: &Receiver<Word>, told: &Sender<Answer>) -> Option<()> {
        let actor = self.spec.actors.get(self.index)?.clone();
        // Made before anything is timed: a context of AIO takes its time to come and go.
        let mut calls = Calls::new(&self.spec, self.index).ok()?;
        loop {
            let Word::Open { order, paths } = orders.recv().ok()? else {
                return None;
            };
            // Not earlier: who is held in a fault may have the lock of the address space, for which unmapping would wait.
            calls.forget();
            let opened = open(&actor, &paths).and_then(|files| {
                let clones = clones(&files)?;
                calls.prepare(&files, order)?;
                Ok((files, clones))
            });
            let files = match opened {
                Ok((files, clones)) => {
                    told.send(Answer::Opened(Ok(clones))).ok()?;
                    files
                }
                Err(error) => {
                    told.send(Answer::Opened(Err(error))).ok()?;
                    continue;
                }
            };
            match orders.recv().ok()? {
                Word::Go => {}
                Word::Open { .. } => return None,
            }
            let mut ended = Vec::with_capacity(actor.steps.len());
            for (number, step) in actor.steps.iter().enumerate() {
                ended.push(calls.step(number, step, &files));
            }
            while self.hangs.load(SeqCst) {
                std::thread::park();
            }
            self.done.store(true, SeqCst);
            told.send(Answer::Done(ended)).ok()?;
        }
    }
}

/// Opens what the steps want.
fn open(actor: &Actor, paths: &BTreeMap<String, PathBuf>) -> Result<Files> {
    let mut files = Files::new();
    for step in &actor.steps {
        let path = paths.get(&step.file).context("no such file")?;
        let opened = files.entry(step.file.clone()).or_insert(Opened {
            direct: None,
            other: None,
        });
        let direct = matches!(&step.op, Op::Read(io) | Op::Write(io) if io.way == Way::Direct);
        if direct && opened.direct.is_none() {
            opened.direct = Some(crate::fs::open_direct(path)?);
        }
        if !direct && opened.other.is_none() {
            opened.other = Some(crate::fs::open_buffered(path)?);
        }
    }
    Ok(files)
}

fn clones(files: &Files) -> Result<Files> {
    let clone = |file: &Option<File>| file.as_ref().map(File::try_clone).transpose();
    files
        .iter()
        .map(|(name, opened)| {
            let clones = Opened {
                direct: clone(&opened.direct)?,
                other: clone(&opened.other)?,
            };
            Ok((name.clone(), clones))
        })
        .collect()
}
