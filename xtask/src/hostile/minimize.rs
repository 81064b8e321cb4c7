// SPDX-License-Identifier: GPL-2.0

//! Fewer changes that an image fails with: one after the other is taken away, each time in another boot.

use anyhow::Result;
use notblk_hostile::case::Case;
use notblk_protocol::{HostileReport, HostileSpec};

use super::boot;
use crate::context::Ctx;
use crate::guest::Guest;

/// The smallest case that was found to fail; none where even the whole of it does not, alone in a boot.
pub fn minimize(ctx: &Ctx, guest: &Guest, case: Case) -> Result<Option<Case>> {
    let mut fails = |cases: &[Case]| first_that_fails(ctx, guest, cases);
    if fails(std::slice::from_ref(&case))?.is_none() {
        return Ok(None);
    }
    fewer(case, &mut fails).map(Some)
}

/// Takes away what can be spared. `fails` says which of some cases is the first that fails.
fn fewer(mut case: Case, fails: &mut dyn FnMut(&[Case]) -> Result<Option<usize>>) -> Result<Case> {
    while case.mutations.len() > 1 {
        let without = |index: usize| {
            let mut fewer = case.clone();
            fewer.mutations.remove(index);
            fewer
        };
        let mut tries: Vec<Case> = (0..case.mutations.len()).map(without).collect();
        match fails(&tries)? {
            Some(index) => case = tries.swap_remove(index),
            None => break,
        }
    }
    Ok(case)
}

/// Has one boot try cases until one fails.
fn first_that_fails(ctx: &Ctx, guest: &Guest, cases: &[Case]) -> Result<Option<usize>> {
    let step = ctx
        .ui
        .step("minimize", &format!("trying {} images", cases.len()));
    let spec = HostileSpec::Cases(cases.to_vec());
    let count = u64::try_from(cases.len()).unwrap_or(u64::MAX);
    let mut report = HostileReport::default();
    let booted = boot(ctx, guest, spec, count, &step, &mut report)?;
    let first = booted.failed.first();
    let first = first.and_then(|failed| {
        let is_it = |case: &Case| *case == failed.failure.image.case;
        cases.iter().position(is_it)
    });
    step.done(match first {
        Some(_) => "fails",
        None => "none fails",
    });
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use notblk_hostile::mutation::{Bytes, Change, Mutation};

    #[test]
    fn only_what_is_needed_stays() {
        let change = |at| Mutation::new(&[0; 9], String::new(), at, Change::Bytes(Bytes(vec![1])));
        let case = Case {
            why: String::new(),
            base: String::new(),
            options: String::new(),
            work: 0,
            mutations: (0..6).map(change).collect(),
        };
        let needs = |case: &Case, at| case.mutations.iter().any(|one| one.at == at);
        let mut boots = 0;
        let mut fails = |cases: &[Case]| {
            boots += 1;
            Ok(cases
                .iter()
                .position(|case| needs(case, 1) && needs(case, 4)))
        };
        let small = fewer(case, &mut fails).unwrap();
        let left: Vec<_> = small.mutations.iter().map(|one| one.at).collect();
        assert_eq!(left, [1, 4]);
        assert_eq!(boots, 5);
    }
}
