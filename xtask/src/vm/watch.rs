// SPDX-License-Identifier: GPL-2.0

//! The three clocks of a boot: until the agent speaks, for each step that it announces, for the whole.

use std::time::{Duration, Instant};

use notblk_protocol::Event;

use super::Accel;

/// The three clocks.
pub struct Watch {
    whole: Option<Instant>,
    /// When the current step hangs; none for a step that may last.
    deadline: Option<Instant>,
    limit: Option<Duration>,
    /// The current step.
    pub step: String,
    /// When the agent said its first word.
    pub ready: Option<Instant>,
    accel: Accel,
    /// [`crate::kernel::Kernel::slowness`].
    slowness: u32,
}

impl Watch {
    /// Starts the first clock, and the last, which is as long as it is to be.
    pub fn new(whole: Option<Duration>, accel: Accel, slowness: u32) -> Self {
        let boot = accel.scale(Duration::from_secs(30)) * slowness;
        Watch {
            whole: whole.map(|whole| Instant::now() + whole),
            deadline: Some(Instant::now() + boot),
            limit: Some(boot),
            step: "boot".into(),
            ready: None,
            accel,
            slowness,
        }
    }

    /// Takes note of a sign of life.
    pub fn saw(&mut self, event: &Event) {
        match event {
            Event::Ready { .. } => {
                self.ready = Some(Instant::now());
                self.step = "start of the job".into();
            }
            Event::Step { name, limit_secs } => {
                self.step.clone_from(name);
                let scaled = || self.accel.scale(Duration::from_secs(*limit_secs)) * self.slowness;
                self.limit = (*limit_secs > 0).then(scaled);
            }
            _ => {}
        }
        self.deadline = self.limit.map(|limit| Instant::now() + limit);
    }

    /// Which clock has run out, if one has.
    pub fn late(&self) -> Option<String> {
        let now = Instant::now();
        if self.whole.is_some_and(|whole| now > whole) {
            return Some(format!(
                "the time for the whole run is up, in {}",
                self.step
            ));
        }
        let limit = self.limit?;
        (now > self.deadline?).then(|| format!("{}: nothing for {} s", self.step, limit.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_kernel_gets_more() {
        let mut watch = Watch::new(None, Accel::Kvm, 8);
        watch.saw(&Event::Step {
            name: "race".into(),
            limit_secs: 7,
        });
        assert_eq!(watch.limit, Some(Duration::from_secs(56)));
    }

    #[test]
    fn each_step_gets_its_own_time() {
        let mut watch = Watch::new(None, Accel::Kvm, 1);
        assert_eq!(watch.late(), None);
        watch.saw(&Event::Step {
            name: "race".into(),
            limit_secs: 7,
        });
        assert_eq!(watch.limit, Some(Duration::from_secs(7)));
        watch.deadline = Some(Instant::now() - Duration::from_millis(1));
        assert_eq!(watch.late().as_deref(), Some("race: nothing for 7 s"));
        watch.saw(&Event::Progress { done: 1, total: 2 });
        assert_eq!(watch.late(), None, "a sign of life renews the time");
        watch.saw(&Event::Step {
            name: "shell".into(),
            limit_secs: 0,
        });
        assert_eq!(watch.late(), None);
        assert_eq!(watch.deadline, None);
    }
}
