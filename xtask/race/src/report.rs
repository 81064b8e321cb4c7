// SPDX-License-Identifier: GPL-2.0

//! What the explorer found, in words.

use std::fmt::Write as _;

use crate::explore::{Failing, Infeasible, Summary};
use crate::run::{ActorId, Failure, What};
use crate::spec::Spec;

impl Spec {
    /// An actor's name; its number where it has none here.
    #[must_use]
    pub fn actor_name(&self, actor: ActorId) -> String {
        match self.actors.get(actor.0) {
            Some(actor) => actor.name.clone(),
            None => format!("actor {}", actor.0),
        }
    }

    /// What kind of failure it is, whatever is left of the spec: which sort of check of which file, or that a step, the kernel, e2fsck
    /// went wrong. What fails in another way is another failure.
    #[must_use]
    pub fn failure_kind(&self, failure: &Failure) -> String {
        match failure.what {
            What::Check(check) => match self.checks.get(check) {
                Some(check) => {
                    let text = self.check_text(check);
                    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
                }
                None => "check".to_owned(),
            },
            What::Step { .. } => "step".to_owned(),
            What::Splat => "kernel".to_owned(),
            What::Hang => "hang".to_owned(),
            What::Fsck => "e2fsck".to_owned(),
            What::Broken => "lab".to_owned(),
        }
    }

    /// A failure in one line: `check fsync f ok: EIO`.
    #[must_use]
    pub fn failure_text(&self, failure: &Failure) -> String {
        let what = match failure.what {
            What::Check(check) => match self.checks.get(check) {
                Some(check) => format!("check {}", self.check_text(check)),
                None => format!("check number {check}"),
            },
            What::Step { actor, step } => {
                let its = self.actors.get(actor.0);
                match its.and_then(|actor| actor.steps.get(step)) {
                    Some(step) => format!("{}: {}", self.actor_name(actor), self.step_text(step)),
                    None => format!("{}.{}", self.actor_name(actor), step.saturating_add(1)),
                }
            }
            What::Splat => "the kernel's log".to_owned(),
            What::Hang => "it does not end".to_owned(),
            What::Fsck => "e2fsck".to_owned(),
            What::Broken => "the lab".to_owned(),
        };
        format!("{what}: {}", failure.text)
    }
}

impl Summary {
    /// The whole summary as text, every failing order and every reason of an infeasible one in it.
    #[must_use]
    pub fn text(&self, spec: &Spec) -> String {
        let mut text = format!("{}: {}\n", spec.name, spec.title);
        let mut line = |line: String| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{line}");
        };
        line(format!(
            "{} orders: {} passed, {} failed, {} infeasible",
            self.orders,
            self.passed,
            self.failing.len(),
            self.infeasible.len()
        ));
        for failing in &self.failing {
            line(format!("failed: {}", failing.schedule));
            for failure in &failing.failures {
                line(format!("    {}", spec.failure_text(failure)));
            }
        }
        for reason in self.reasons() {
            let actor = spec.actor_name(reason.actor);
            line(format!(
                "infeasible: {actor} waits in {}, after",
                reason.waits_in
            ));
            for order in reason.orders {
                line(format!("    {}, for {}", prefix(order), order.holder));
            }
        }
        for unsteady in &self.unsteady {
            line(format!("unsteady: asked for {}", unsteady.expected));
            line(format!("               got {}", unsteady.found));
        }
        line(self.extent());
        text
    }

    /// How much of all orders this is.
    #[must_use]
    pub fn extent(&self) -> String {
        let mut text = match (self.complete, self.bound) {
            (true, None) => "every order was run".to_owned(),
            (true, Some(bound)) if self.over_bound == 0 => {
                format!("every order was run: none has more than {bound} preemptions")
            }
            (true, Some(bound)) => format!(
                "every order of at most {bound} preemptions was run, {} beginnings have more",
                self.over_bound
            ),
            (false, _) if !self.unsteady.is_empty() => {
                "NOT every order was run: some runs could not be repeated".to_owned()
            }
            (false, _) => "NOT every order was run: stopped before the end".to_owned(),
        };
        let _ = write!(text, " ({} runs", self.runs);
        if self.redundant > 0 {
            let _ = write!(text, ", {} of them in vain", self.redundant);
        }
        if self.pruned > 0 {
            let _ = write!(text, ", {} beginnings equal others", self.pruned);
        }
        text.push(')');
        text
    }

    /// For each order that failed elsewhere (without the drain), why it cannot happen here; `None` where it can.
    #[must_use]
    pub fn excluded<'a>(
        &'a self,
        spec: &Spec,
        failing: &'a [Failing],
    ) -> Vec<(&'a Failing, Option<&'a Infeasible>)> {
        failing
            .iter()
            .map(|order| (order, self.excludes(spec, &order.schedule)))
            .collect()
    }
}

/// What comes before, where anything does.
fn prefix(order: &Infeasible) -> String {
    match order.prefix.stages.is_empty() {
        true => "nothing".to_owned(),
        false => order.prefix.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_said() {
        let spec = crate::parse(include_str!("../../../tests/race/seed.race")).unwrap();
        let failing = Failing {
            schedule: "A@dio.submit B@fallback.dirtied A@end B@end"
                .parse()
                .unwrap(),
            failures: vec![
                Failure {
                    what: What::Check(0),
                    text: "EIO".into(),
                },
                Failure {
                    what: What::Step {
                        actor: ActorId(1),
                        step: 0,
                    },
                    text: "ENOSPC".into(),
                },
            ],
        };
        let infeasible = Infeasible {
            prefix: "A@dio.submit".parse().unwrap(),
            actor: ActorId(1),
            waits_in: "inode_dio_wait".into(),
            holder: "A: bio 4096+4096 at dio.submit".into(),
        };
        let mut summary = Summary {
            runs: 10,
            orders: 9,
            passed: 7,
            failing: vec![failing.clone()],
            infeasible: vec![infeasible.clone()],
            redundant: 1,
            complete: true,
            ..Summary::default()
        };
        assert_eq!(
            summary.text(&spec),
            "\
seed: Direct overwrite in flight against the buffered fallback of a direct write
9 orders: 7 passed, 1 failed, 1 infeasible
failed: A@dio.submit B@fallback.dirtied A@end B@end
    check fsync f ok: EIO
    B: write f 0..2b direct: ENOSPC
infeasible: B waits in inode_dio_wait, after
    A@dio.submit, for A: bio 4096+4096 at dio.submit
every order was run (10 runs, 1 of them in vain)
"
        );
        let failed = [failing];
        let excluded = summary.excluded(&spec, &failed);
        assert_eq!(excluded, [(&failed[0], Some(&infeasible))]);
        summary.bound = Some(2);
        summary.over_bound = 3;
        summary.redundant = 0;
        assert_eq!(
            summary.extent(),
            "every order of at most 2 preemptions was run, 3 beginnings have more (10 runs)"
        );
        summary.complete = false;
        assert_eq!(
            summary.extent(),
            "NOT every order was run: stopped before the end (10 runs)"
        );
    }
}
