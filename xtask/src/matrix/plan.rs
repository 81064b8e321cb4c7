// SPDX-License-Identifier: GPL-2.0

//! Which rows there are: kernels by configurations, without what is left out for a reason.

use anyhow::{ensure, Result};
use serde::Deserialize;

use crate::errors::Exit;

/// The configuration of a kernel as it is named.
pub const STOCK: &str = "stock";

/// `[matrix]` of `qemu/kernels.toml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// The kernels, as `--kernel` names them.
    kernels: Vec<String>,
    /// What each of them is run with.
    configs: Vec<String>,
    /// What of that is not run.
    #[serde(default)]
    without: Vec<Without>,
}

/// A kernel that is not run with one of the configurations.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Without {
    kernel: String,
    config: String,
    why: String,
}

/// One kernel with one configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The kernel, as it was named.
    pub kernel: String,
    /// `stock`, or fragments.
    pub config: String,
    /// Why it is not run, where it is not.
    pub left_out: Option<String>,
}

impl Cell {
    /// What `--kernel` of other commands would say for it.
    pub fn name(&self) -> String {
        match self.config.as_str() {
            STOCK => self.kernel.clone(),
            fragments => format!("{}+{fragments}", self.kernel),
        }
    }
}

impl Matrix {
    /// One kernel as it is.
    pub fn of_one(kernel: &str) -> Matrix {
        Matrix {
            kernels: vec![kernel.to_owned()],
            configs: vec![STOCK.to_owned()],
            without: Vec::new(),
        }
    }

    /// Fails where the table contradicts itself.
    pub fn check(&self) -> Result<()> {
        ensure!(
            !self.kernels.is_empty() && !self.configs.is_empty(),
            "the matrix needs at least one kernel and one configuration"
        );
        for out in &self.without {
            let Without {
                kernel,
                config,
                why,
            } = out;
            ensure!(
                self.kernels.contains(kernel) && self.configs.contains(config),
                "the matrix leaves out {kernel} {config}, which is not in it"
            );
            ensure!(
                !why.trim().is_empty(),
                "the matrix leaves out {kernel} {config} without a reason"
            );
        }
        Ok(())
    }

    /// The cells, configuration by configuration, so that kernels which need not be compiled come first. `kernels` and
    /// `configs` are what the user asked for instead of the table's. A kernel that the user names is run.
    pub fn cells(&self, kernels: &[String], configs: &[String]) -> Result<Vec<Cell>> {
        let stock = [STOCK.to_owned()];
        let (kernels, configs, without) = match (kernels.is_empty(), configs.is_empty()) {
            (true, true) => (&self.kernels[..], &self.configs[..], &self.without[..]),
            (true, false) => (&self.kernels[..], configs, &self.without[..]),
            (false, true) => (kernels, &stock[..], &[][..]),
            (false, false) => (kernels, configs, &[][..]),
        };
        let mut cells: Vec<Cell> = Vec::new();
        for config in configs {
            // Else the end of the kernel's name and the configuration would be read as something else together.
            if config.is_empty() || !config.split('+').all(is_word) {
                return Err(
                    Exit::usage(format!("there is no configuration called {config:?}"))
                        .hint(
                            "`stock`, or names of files in qemu/kconfig, like debug or kasan+kunit",
                        )
                        .into(),
                );
            }
            for kernel in kernels {
                let reason = without
                    .iter()
                    .find(|out| out.kernel == *kernel && out.config == *config);
                let cell = Cell {
                    kernel: kernel.clone(),
                    config: config.clone(),
                    left_out: reason.map(|out| out.why.clone()),
                };
                if !cells.contains(&cell) {
                    cells.push(cell);
                }
            }
        }
        Ok(cells)
    }
}

/// True for what can be the name of a fragment.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::{classify, Code};

    const TABLE: &str = r#"
        kernels = ["7.3", "7.2"]
        configs = ["stock", "debug"]
        without = [{ kernel = "7.2", config = "debug", why = "too slow" }]
    "#;

    fn matrix(text: &str) -> Result<Matrix> {
        let matrix: Matrix = toml::from_str(text)?;
        matrix.check()?;
        Ok(matrix)
    }

    /// The cells as `NAME` or `NAME: why not`.
    fn cells(kernels: &[&str], configs: &[&str]) -> Vec<String> {
        let own = |list: &[&str]| list.iter().map(|&s| s.to_owned()).collect::<Vec<_>>();
        let cells = matrix(TABLE).unwrap().cells(&own(kernels), &own(configs));
        let show = |cell: &Cell| match &cell.left_out {
            Some(why) => format!("{}: {why}", cell.name()),
            None => cell.name(),
        };
        cells.unwrap().iter().map(show).collect()
    }

    #[test]
    fn the_tables_cells_stock_kernels_first() {
        let all = ["7.3", "7.2", "7.3+debug", "7.2+debug: too slow"];
        assert_eq!(cells(&[], &[]), all);
    }

    #[test]
    fn the_command_line_takes_the_place_of_kernels_and_configurations() {
        assert_eq!(cells(&["7.2"], &[]), ["7.2"]);
        assert_eq!(cells(&[], &["debug"]), ["7.3+debug", "7.2+debug: too slow"]);
        assert_eq!(
            cells(&["tree:/no/linux", "debug"], &["stock", "kasan+kunit"]),
            [
                "tree:/no/linux",
                "debug",
                "tree:/no/linux+kasan+kunit",
                "debug+kasan+kunit"
            ]
        );
    }

    #[test]
    fn what_the_user_names_is_run_and_once() {
        assert_eq!(cells(&["7.2"], &["debug"]), ["7.2+debug"]);
        assert_eq!(cells(&["7.2", "7.2"], &["stock", "stock"]), ["7.2"]);
    }

    #[test]
    fn a_configuration_that_cannot_be_one_is_a_usage_error() {
        for config in ["", "kasan+", "Debug", "a/b"] {
            let error = matrix(TABLE)
                .unwrap()
                .cells(&[], &[config.to_owned()])
                .unwrap_err();
            assert_eq!(classify(&error).code, Code::USAGE, "{config}");
        }
    }

    #[test]
    fn a_table_that_contradicts_itself_is_refused() {
        let says = |text: &str| format!("{:#}", matrix(text).unwrap_err());
        assert!(says("kernels = []\nconfigs = [\"stock\"]").contains("at least one"));
        let stale = TABLE.replace("[\"7.3\", \"7.2\"]", "[\"7.3\"]");
        assert!(says(&stale).contains("leaves out 7.2 debug, which is not in it"));
        let mute = TABLE.replace("too slow", " ");
        assert!(says(&mute).contains("without a reason"));
        assert!(says("kernels = [\"7.3\"]").contains("configs"));
        let odd = format!("{TABLE}\nwith = []");
        assert!(says(&odd).contains("with"));
    }

    #[test]
    fn the_repositorys_table_has_the_newest_kernels_and_a_debug_one() {
        let repo = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent();
        let repo = repo.unwrap();
        let kernels = crate::kernels::Kernels::read(repo).unwrap();
        let cells = kernels.matrix.unwrap().cells(&[], &[]).unwrap();
        let run = cells.iter().filter(|cell| cell.left_out.is_none());
        let names: Vec<_> = run.map(Cell::name).collect();
        for name in ["7.3", "7.2", "7.3+debug+kunit"] {
            assert!(names.iter().any(|other| other == name), "{names:?}");
        }
        for name in names {
            crate::kernel::check(repo, &name).unwrap();
        }
    }
}
