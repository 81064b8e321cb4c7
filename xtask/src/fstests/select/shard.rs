// SPDX-License-Identifier: GPL-2.0

//! Parts of a list of tests that take about the same time.

/// The `i`-th of `n` parts, from 1, in the list's order. `estimate` says how many seconds a test takes.
///
/// The longest tests are dealt out first, each to the part with the least to do so far. All that decides is the list and
/// the estimates, so several machines with the same of both need not talk to each other.
pub fn part(tests: &[String], i: u32, n: u32, estimate: impl Fn(&str) -> f64) -> Vec<String> {
    let seconds: Vec<f64> = tests.iter().map(|test| estimate(test)).collect();
    let mut order: Vec<usize> = (0..tests.len()).collect();
    // Stable: equals stay in the list's order.
    order.sort_by(|&a, &b| seconds[b].total_cmp(&seconds[a]));
    let mut loads = vec![0.0; n.max(1) as usize];
    let mut of = vec![0; tests.len()];
    for test in order {
        let least = (0..loads.len()).fold(0, |best, part| match loads[part] < loads[best] {
            true => part,
            false => best,
        });
        of[test] = least;
        // A test costs something even where it was too short to measure; otherwise one part would get all of those.
        loads[least] += seconds[test].max(0.001);
    }
    let wanted = i.saturating_sub(1) as usize;
    let mine = tests.iter().zip(of).filter(|(_, part)| *part == wanted);
    mine.map(|(test, _)| test.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(count: u32) -> Vec<String> {
        (0..count).map(|n| format!("generic/{n:03}")).collect()
    }

    #[test]
    fn parts_are_the_whole_each_in_order() {
        let tests = list(100);
        let estimate = |test: &str| f64::from(test.bytes().last().unwrap() - b'0');
        let mut all = Vec::new();
        for i in 1..=7 {
            let part = part(&tests, i, 7, estimate);
            assert!(part.is_sorted());
            let load: f64 = part.iter().map(|test| estimate(test)).sum();
            assert!((450.0 / 7.0 - load).abs() < 9.0, "{load}");
            all.extend(part);
        }
        all.sort();
        assert_eq!(all, tests);
    }

    #[test]
    fn one_long_test_gets_a_part_for_itself() {
        let tests = list(5);
        let estimate = |test: &str| if test == "generic/003" { 100.0 } else { 1.0 };
        assert_eq!(part(&tests, 1, 2, estimate), ["generic/003"]);
        assert_eq!(part(&tests, 2, 2, estimate).len(), 4);
    }

    #[test]
    fn more_parts_than_tests_and_no_estimates() {
        let tests = list(2);
        let parts: Vec<_> = (1..=4).map(|i| part(&tests, i, 4, |_| 0.0)).collect();
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 0, 0]);
        assert_eq!(part(&tests, 1, 1, |_| 0.0), tests);
    }
}
