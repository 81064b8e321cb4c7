// SPDX-License-Identifier: GPL-2.0

//! How often something happens by itself.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The normal distribution's quantile for two-sided 95 %.
const Z: f64 = 1.959_963_984_540_054;

/// So many of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rate {
    /// How often it happened.
    pub hits: u64,
    /// How often it could have.
    pub trials: u64,
}

impl Rate {
    /// One more trial.
    pub fn add(&mut self, hit: bool) {
        self.trials += 1;
        self.hits += u64::from(hit);
    }

    /// The share of hits, from 0 to 1; `None` without a trial.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // Nobody runs 2^53 trials.
    pub fn share(self) -> Option<f64> {
        (self.trials > 0).then(|| self.hits as f64 / self.trials as f64)
    }

    /// The 95 % confidence interval of the share after Wilson, which holds for rare events and for none: 0 of 1000 is not
    /// "never". `(0, 1)` without a trial.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // As above.
    pub fn interval(self) -> (f64, f64) {
        let Some(share) = self.share() else {
            return (0.0, 1.0);
        };
        let n = self.trials as f64;
        let z2 = Z * Z;
        let scale = 1.0 + z2 / n;
        let center = (share + z2 / (2.0 * n)) / scale;
        let half = Z / scale * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
        // Exact at the ends, where arithmetic leaves a little.
        let low = if self.hits == 0 { 0.0 } else { center - half };
        let high = if self.hits >= self.trials {
            1.0
        } else {
            center + half
        };
        (low.max(0.0), high.min(1.0))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = self.interval();
        write!(f, "{} of {}", self.hits, self.trials)?;
        if let Some(share) = self.share() {
            write!(
                f,
                ": {:.2} % (95 %: {:.2} to {:.2} %)",
                share * 100.0,
                low * 100.0,
                high * 100.0
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against values computed by other means.
    #[test]
    fn the_interval_is_wilsons() {
        let close = |rate: Rate, low: f64, high: f64| {
            let found = rate.interval();
            assert!((found.0 - low).abs() < 5e-5, "{rate}: {found:?}");
            assert!((found.1 - high).abs() < 5e-5, "{rate}: {found:?}");
        };
        let rate = |hits, trials| Rate { hits, trials };
        close(rate(0, 10), 0.0, 0.2775);
        close(rate(10, 10), 0.7225, 1.0);
        close(rate(5, 10), 0.2366, 0.7634);
        close(rate(1, 100), 0.0018, 0.0545);
        close(rate(0, 1000), 0.0, 0.0038);
        close(rate(0, 0), 0.0, 1.0);
    }

    #[test]
    fn it_reads_well() {
        let mut rate = Rate::default();
        assert_eq!(rate.to_string(), "0 of 0");
        (0..8).for_each(|trial| rate.add(trial == 3));
        assert_eq!(rate.to_string(), "1 of 8: 12.50 % (95 %: 2.24 to 47.09 %)");
    }
}
