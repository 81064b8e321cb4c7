// SPDX-License-Identifier: GPL-2.0

//! What `--baseline` names: a configuration of the same run, or another run.

use std::path::Path;

use anyhow::{bail, Result};

use crate::compare::Comparison;
use crate::kept::find;
use crate::outcome::Column;
use crate::{Run, TestResult};

/// What the configurations of a run are compared with.
#[derive(Debug, Clone)]
pub enum Baseline {
    /// A configuration of the run itself.
    Config(String),
    /// Another run; of it the configuration named here, else the one of the same name, else its only one.
    Run(Box<Run>, Option<String>),
}

impl Baseline {
    /// Reads what `run.run.baseline` names: a configuration, or a run as [`find`] takes it, or `RUN:CONFIG`.
    pub fn of(run: &Run, results_dir: &Path) -> Result<Option<Self>> {
        match &run.run.baseline {
            None => Ok(None),
            Some(name) => Self::parse(run.config_names(), name, results_dir).map(Some),
        }
    }

    /// The same before there is a run: `configs` are those that it will have.
    pub fn parse<'a>(
        mut configs: impl Iterator<Item = &'a str>,
        name: &str,
        results_dir: &Path,
    ) -> Result<Self> {
        if configs.any(|config| config == name) {
            return Ok(Baseline::Config(name.to_owned()));
        }
        let error = match find(results_dir, name) {
            Ok(path) => return Ok(Baseline::Run(Box::new(Run::load(&path)?), None)),
            Err(error) => error,
        };
        // A path may have a colon of its own, so the whole was tried first.
        let Some((which, config)) = name.rsplit_once(':') else {
            return Err(error);
        };
        let run = Run::load(&find(results_dir, which)?)?;
        if !run.config_names().any(|known| known == config) {
            bail!("the run {} has no configuration `{config}`", run.run.id);
        }
        Ok(Baseline::Run(Box::new(run), Some(config.to_owned())))
    }

    /// The column that `config` of `run` is compared with; none where it is the baseline itself, or has no counterpart.
    pub fn column<'a>(&'a self, run: &'a Run, config: &str) -> Option<Column<'a>> {
        match self {
            Baseline::Config(name) => (name != config).then_some(Column { run, config: name }),
            Baseline::Run(other, named) => {
                let names: Vec<&str> = other.config_names().collect();
                let config = match (named, &names[..]) {
                    (Some(named), _) => named.as_str(),
                    (None, names) if names.contains(&config) => {
                        names.iter().find(|name| **name == config)?
                    }
                    (None, &[only]) => only,
                    (None, _) => return None,
                };
                Some(Column { run: other, config })
            }
        }
    }

    /// Every configuration of `run` compared with its counterpart, in the run's order.
    pub fn comparisons<'a>(&'a self, run: &'a Run) -> Vec<Comparison<'a>> {
        run.config_names()
            .filter_map(|config| {
                let there = self.column(run, config)?;
                Some(Comparison::new(Column { run, config }, there))
            })
            .collect()
    }
}

/// What is held against a run: where a configuration is compared, what fails there and not on the baseline; elsewhere,
/// the baseline itself left out, every failure. What the exclusions expect is not.
pub fn held_against<'a>(run: &'a Run, baseline: Option<&'a Baseline>) -> Vec<&'a TestResult> {
    let mut held = Vec::new();
    for config in run.config_names() {
        if matches!(baseline, Some(Baseline::Config(name)) if name == config) {
            continue;
        }
        let column = Column { run, config };
        let bad = match baseline.and_then(|baseline| baseline.column(run, config)) {
            Some(there) => {
                let compared = Comparison::new(column, there);
                let rows = compared.regressions().filter_map(|row| row.here.clone());
                rows.collect()
            }
            None => column.outcomes().into_values().collect::<Vec<_>>(),
        };
        let rounds = bad.into_iter().flat_map(|outcome| outcome.rounds);
        held.extend(rounds.filter(|result| result.is_unexpected_failure()));
    }
    held
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fake, Bug, Expect, Status, Store};

    #[test]
    fn a_configuration_of_the_run_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let mut run = Run {
            run: fake::run_info(&["notblk", "ext4"], &["generic/001"]),
            results: Vec::new(),
        };
        assert!(Baseline::of(&run, dir.path()).unwrap().is_none());
        run.run.baseline = Some("ext4".into());
        let baseline = Baseline::of(&run, dir.path()).unwrap().unwrap();
        let compared = baseline.comparisons(&run);
        assert_eq!(
            compared.len(),
            1,
            "the baseline is not compared with itself"
        );
        assert_eq!(compared[0].labels(), ("notblk".into(), "ext4".into()));
    }

    #[test]
    fn another_run_stands_for_its_configurations() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(
            dir.path(),
            &fake::run_info(&["old", "notblk"], &["generic/001"]),
        )
        .unwrap();
        store
            .append(&fake::result("old", "generic/001", Status::Fail))
            .unwrap();
        let mut run = Run {
            run: fake::run_info(&["notblk", "new"], &["generic/001"]),
            results: Vec::new(),
        };
        run.run.id = "2027-01-01-000000-notblk".into();
        let labels = |run: &Run| -> Vec<_> {
            let baseline = Baseline::of(run, dir.path()).unwrap().unwrap();
            let compared = baseline.comparisons(run);
            compared.iter().map(|c| c.labels().1).collect()
        };
        run.run.baseline = Some("latest".into());
        assert_eq!(labels(&run), ["notblk of 2026-11-22-231502-old"]);
        run.run.baseline = Some("2026-11-22:old".into());
        assert_eq!(labels(&run), ["old of 2026-11-22-231502-old"; 2]);
        run.run.baseline = Some("latest:none".into());
        let error = Baseline::of(&run, dir.path()).unwrap_err().to_string();
        assert!(error.contains("no configuration `none`"), "{error}");
        run.run.baseline = Some("2028".into());
        let error = Baseline::of(&run, dir.path()).unwrap_err().to_string();
        assert!(error.contains("no run `2028`"), "{error}");
    }

    #[test]
    fn a_failure_without_a_counterpart_is_held_against_the_run() {
        let mut run = fake::many(7);
        let held = |run: &Run, baseline: Option<&Baseline>| held_against(run, baseline).len();
        assert_eq!(held(&run, None), 4);
        let same = Baseline::Run(Box::new(run.clone()), None);
        assert_eq!(held(&run, Some(&same)), 0);
        let mut other = run.clone();
        other.run.configs = fake::run_info(&["x", "y"], &[]).configs;
        let other = Baseline::Run(Box::new(other), None);
        assert_eq!(held(&run, Some(&other)), 4, "nothing to compare with");
        let itself = Baseline::Config("notblk".into());
        assert_eq!(held(&run, Some(&itself)), 0);
        run.results[1].expected = Some(fake::expectation(Expect::Fail, Bug::Kernel));
        assert_eq!(held(&run, None), 3);
    }
}
