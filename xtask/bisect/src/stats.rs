// SPDX-License-Identifier: GPL-2.0

//! How often something happens, at least; and how many runs without it are evidence against it.

use notblk_race::rate::Rate;

/// Halvings of an interval of probabilities: more than a double can tell apart.
const HALVINGS: u32 = 60;

/// The probability of at least `hits` in `trials`, each with probability `p`.
#[must_use]
pub fn at_least(hits: u64, trials: u64, p: f64) -> f64 {
    if hits == 0 {
        return 1.0;
    }
    if hits > trials || p <= 0.0 {
        return 0.0;
    }
    if p >= 1.0 {
        return 1.0;
    }
    // Fewer than that, summed up; in logarithms, for (1-p)^trials may be less than a double can hold.
    let odds = p.ln() - (-p).ln_1p();
    let mut term = trials as f64 * (-p).ln_1p();
    let mut fewer = term.exp();
    for i in 1..hits {
        term += ((trials - i + 1) as f64 / i as f64).ln() + odds;
        fewer += term.exp();
    }
    (1.0 - fewer).clamp(0.0, 1.0)
}

/// A bound that the true probability is below only with probability `alpha`, after Clopper and Pearson.
///
/// It holds for a number of trials that was fixed beforehand, for trials that ended with a fixed number of hits, and for
/// whichever of the two came first: in all three, that many hits in so few trials has the probability [`at_least`].
#[must_use]
pub fn lower_bound(rate: Rate, alpha: f64) -> f64 {
    if rate.hits == 0 {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..HALVINGS {
        let middle = (low + high) / 2.0;
        if at_least(rate.hits, rate.trials, middle) < alpha {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// The probability that something with probability `p` does not happen in `runs` runs.
#[must_use]
pub fn miss(p: f64, runs: u64) -> f64 {
    if runs == 0 {
        return 1.0;
    }
    match p >= 1.0 {
        true => 0.0,
        false => (runs as f64 * (-p).ln_1p()).exp(),
    }
}

/// The least number of runs without it after which a thing with probability `p` has been missed with probability `error` at
/// most; none where nothing happens or no error is allowed.
#[must_use]
pub fn clean_runs(p: f64, error: f64) -> Option<u64> {
    if p <= 0.0 || error <= 0.0 {
        return None;
    }
    if p >= 1.0 || error >= 1.0 {
        return Some(1);
    }
    let runs = (error.ln() / (-p).ln_1p()).ceil().clamp(1.0, 9e15) as u64;
    // Rounding may have gone the wrong way.
    Some(match miss(p, runs) > error {
        true => runs + 1,
        false => runs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(hits: u64, trials: u64) -> Rate {
        Rate { hits, trials }
    }

    /// Against values computed by other means.
    #[test]
    fn the_tail_and_the_bound_are_the_binomial_distributions() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-4, "{a} is not {b}");
        close(at_least(1, 10, 0.1), 0.6513);
        close(at_least(5, 10, 0.5), 0.6230);
        close(at_least(20, 200, 0.1), 0.5345);
        close(at_least(10, 10, 0.9), 0.3487);
        close(lower_bound(rate(20, 20), 0.025), 0.8316);
        close(lower_bound(rate(5, 10), 0.025), 0.1871);
        close(lower_bound(rate(1, 1000), 0.025), 0.000_025);
        assert!(lower_bound(rate(0, 50), 0.01).abs() < f64::EPSILON);
    }

    #[test]
    fn large_numbers_do_not_break_it() {
        assert!(at_least(1, 1_000_000, 0.5) > 0.999);
        assert!(at_least(1_000, 1_000, 0.999_999) > 0.99);
        let bound = lower_bound(rate(3, 2_000), 0.002_5);
        assert!(bound > 0.0 && bound < 0.0015, "{bound}");
    }

    #[test]
    fn the_runs_are_the_fewest_that_suffice() {
        for p in [0.9, 0.5, 0.1, 0.0371, 1e-4] {
            for error in [0.1, 0.01, 0.0015] {
                let runs = clean_runs(p, error).unwrap();
                assert!(miss(p, runs) <= error, "{p} {error}");
                assert!(miss(p, runs - 1) > error, "{p} {error}");
            }
        }
        assert_eq!(clean_runs(0.5, 0.25), Some(2));
        assert_eq!(clean_runs(1.0, 0.01), Some(1));
        assert_eq!(clean_runs(0.0, 0.01), None);
        assert_eq!(clean_runs(0.5, 0.0), None);
    }
}
