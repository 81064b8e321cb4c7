// SPDX-License-Identifier: GPL-2.0

//! A world of numbers: commits in a row, each axis with a culprit, and a seed in the place of chance.

use std::collections::{BTreeMap, BTreeSet};

use notblk_bisect::{Ask, Axis, Batch, Built, Choice, Entry, Memo, Plan, Point, World};

/// When the signature can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The kernel is bad.
    Kernel,
    /// The module is.
    Module,
    /// One of them is.
    Either,
    /// Both are.
    Both,
    /// In spite of everything.
    Always,
    /// In spite of everything it does not.
    Never,
}

/// What is the matter with a commit of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It does not build.
    Build,
    /// It does not boot.
    Boot,
    /// Something else happens in every guest, after so many runs.
    Splat(u64),
    /// Something else is seen, and nothing comes of it.
    Beside,
    /// Its sources are those of the commit before.
    SameSource,
    /// It builds to what the commit before does.
    SameBuild,
}

/// It.
pub struct Fake {
    /// Commits after the good end, of each axis.
    pub commits: u64,
    /// The first bad ones.
    pub culprit: BTreeMap<Axis, u64>,
    /// When it shows.
    pub when: When,
    /// In how many runs, then.
    pub rate: f64,
    /// What is the matter with which commits of the kernel.
    pub faults: BTreeMap<u64, Fault>,
    /// The state of chance.
    pub seed: u64,
    /// All that was recorded.
    pub journal: Vec<Entry>,
    /// It ends with an error before this many records.
    pub breaks: usize,
    /// What was built last.
    pub built: Option<Point>,
    /// Points that were built.
    pub builds: Vec<Point>,
}

/// Why it stops.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken;

impl Fake {
    pub fn new(commits: u64, culprit: u64, rate: f64, seed: u64) -> Fake {
        Fake {
            commits,
            culprit: [(Axis::Kernel, culprit), (Axis::Module, culprit)].into(),
            when: When::Kernel,
            rate,
            faults: BTreeMap::new(),
            seed,
            journal: Vec::new(),
            breaks: usize::MAX,
            built: None,
            builds: Vec::new(),
        }
    }

    /// Over the kernel's commits, or over both.
    pub fn plan(&self, axes: &[Axis], error: f64) -> Plan {
        let point = |number: u64| {
            let mut point = Point::default();
            for &axis in axes {
                point = point.with(axis, &name(number));
            }
            point
        };
        Plan {
            title: Vec::new(),
            good: point(0),
            bad: point(self.commits),
            axes: axes.to_vec(),
            error,
            hits: 20,
            measure: 2000,
            runs: None,
        }
    }

    pub fn memo(&self) -> Memo {
        let mut memo = Memo::default();
        self.journal.iter().for_each(|entry| memo.learn(entry));
        memo
    }

    /// From 0 to 1; after Steele, Lea and Flood.
    fn chance(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn is_bad(&self, point: &Point) -> bool {
        let bad = |axis| {
            let at = point.on(axis).map_or(0, number);
            at >= self.culprit[&axis]
        };
        let (kernel, module) = (bad(Axis::Kernel), bad(Axis::Module));
        match self.when {
            When::Kernel => kernel,
            When::Module => module,
            When::Either => kernel || module,
            When::Both => kernel && module,
            When::Always => true,
            When::Never => false,
        }
    }

    fn fault(&self, point: &Point) -> Option<Fault> {
        self.faults.get(&number(point.kernel.as_deref()?)).copied()
    }

    /// The point that this one is made like.
    fn like(&self, point: &Point, sources: bool) -> String {
        let mut point = point.clone();
        while let Some(fault) = self.fault(&point) {
            let same = fault == Fault::SameSource || (!sources && fault == Fault::SameBuild);
            if !same {
                break;
            }
            let before = number(point.kernel.as_deref().unwrap()) - 1;
            point = point.with(Axis::Kernel, &name(before));
        }
        point.to_string()
    }
}

pub fn name(number: u64) -> String {
    format!("c{number:05}")
}

pub fn number(name: &str) -> u64 {
    name[1..].parse().unwrap()
}

impl World for Fake {
    type Error = Broken;

    fn choose(
        &self,
        _: Axis,
        good: &[String],
        bad: &str,
        skip: &[String],
    ) -> Result<Choice, Broken> {
        let low = good.iter().map(|name| number(name)).max().unwrap();
        let high = number(bad);
        let skip: BTreeSet<u64> = skip.iter().map(|name| number(name)).collect();
        let tried = (low + 1..high).filter(|commit| !skip.contains(commit));
        let middle = (low + high) / 2;
        Ok(Choice {
            commit: tried
                .min_by_key(|&commit| (commit.abs_diff(middle), commit))
                .map(name),
            candidates: (low + 1..=high).map(name).collect(),
        })
    }

    fn parents(&self, _: Axis, commit: &str) -> Result<Vec<String>, Broken> {
        Ok(vec![name(number(commit) - 1)])
    }

    fn subject(&self, _: Axis, commit: &str) -> Result<String, Broken> {
        Ok(format!("change number {}", number(commit)))
    }

    fn source(&self, point: &Point) -> Result<String, Broken> {
        Ok(self.like(point, true))
    }

    fn build(&mut self, point: &Point) -> Result<Built, Broken> {
        self.builds.push(point.clone());
        self.built = Some(point.clone());
        Ok(match self.fault(point) {
            Some(Fault::Build) => Built::Unfit("it does not build".into()),
            _ => Built::Ready(self.like(point, false)),
        })
    }

    fn run(&mut self, point: &Point, ask: Ask, _: u64) -> Result<Batch, Broken> {
        assert_eq!(self.built.as_ref(), Some(point), "what runs was not built");
        assert!(ask.runs > 0 && ask.hits > 0, "{ask:?}");
        let fault = self.fault(point);
        let mut batch = Batch {
            boot: 10.0,
            ..Batch::default()
        };
        let runs = match fault {
            Some(Fault::Boot) => 0,
            Some(Fault::Splat(runs)) => ask.runs.min(runs),
            // No guest makes more.
            _ => ask.runs.min(64),
        };
        for _ in 0..runs {
            let shows = self.is_bad(point) && self.chance() < self.rate;
            match shows {
                true => batch.hits += 1,
                false => batch.clean += 1,
            }
            if batch.hits == ask.hits {
                break;
            }
        }
        let ends_early = batch.hits < ask.hits && batch.clean + batch.hits < ask.runs;
        if ends_early && matches!(fault, Some(Fault::Boot | Fault::Splat(_))) {
            batch.trouble = Some("BUG: something else".into());
        }
        if fault == Some(Fault::Beside) {
            batch.also = Some("WARNING: something else".into());
        }
        batch.seconds = batch.boot + (batch.clean + batch.hits) as f64;
        Ok(batch)
    }

    fn record(&mut self, entry: &Entry) -> Result<(), Broken> {
        if self.journal.len() == self.breaks {
            return Err(Broken);
        }
        self.journal.push(entry.clone());
        Ok(())
    }

    fn say(&mut self, line: &str) {
        assert!(!line.is_empty());
    }
}
