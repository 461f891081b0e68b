//! The one entry: stages in their order, healing first.

use crate::desired::Desired;
use crate::observed::Observed;
use crate::step::{Expect, Step};
use crate::unsafe_::Unsafe;
use crate::waiting::Waiting;
use serde::Serialize;

/// Slots in one [`Step::MigrateSlots`]: enough that one fsync serves many SETSLOTs, few enough that few slots are open
/// at a time and the operator looks again soon.
pub const MIGRATE_BATCH_SLOTS: usize = 128;

/// What to do next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// In order; a step that fails or whose expectations do not hold any more does not stop those that follow, since
    /// none depends on an earlier one unless it says so in its expectations.
    pub steps: Vec<PlannedStep>,
    /// What is being waited for.
    pub waiting: Vec<Waiting>,
    /// What is refused.
    pub unsafe_: Vec<Unsafe>,
    /// `spec.paused`: the steps are only to be shown.
    pub paused: bool,
}

/// A step and what must still hold when it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedStep {
    /// What to do.
    pub step: Step,
    /// Checked again just before.
    pub expect: Vec<Expect>,
}

impl Plan {
    /// Everything is as declared and nothing is in doubt.
    #[must_use]
    pub fn is_converged(&self) -> bool {
        self.steps.is_empty() && self.waiting.is_empty() && self.unsafe_.is_empty()
    }

    /// The steps to execute now: none while paused.
    #[must_use]
    pub fn due(&self) -> &[PlannedStep] {
        if self.paused { &[] } else { &self.steps }
    }
}

/// The next safe steps. Total and deterministic.
#[must_use]
pub fn plan(desired: &Desired, _observed: &Observed) -> Plan {
    Plan { paused: desired.paused(), ..Plan::default() }
}
