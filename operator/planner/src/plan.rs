//! The one entry: stages in their order, healing first.

use crate::desired::Desired;
use crate::draft::Draft;
use crate::layout::Layout;
use crate::member::MemberId;
use crate::observed::Observed;
use crate::stage;
use crate::step::{Expect, MoveKind, Step};
use crate::unsafe_::Unsafe;
use crate::waiting::Waiting;
#[cfg(feature = "mutants")]
pub use crate::world::Defect;
use crate::world::World;
use node_server_protocol::SlotSet;
use serde::Serialize;

/// Slots in one [`Step::MigrateSlots`]: enough that one fsync serves many SETSLOTs, few enough that few slots are open
/// at a time and the operator looks again soon.
pub const MIGRATE_BATCH_SLOTS: usize = 128;
/// Such steps in one plan: 1024 slots, then the operator looks again, so that healing never waits for a long reshard.
pub const MAX_MIGRATE_STEPS: usize = 8;

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
pub fn plan(desired: &Desired, observed: &Observed) -> Plan {
    match World::new(desired, observed) {
        Some(world) => plan_for(&world),
        None => blind(desired, observed),
    }
}

/// Where slots belong as of one observation: which of the moves that were planned earlier and have not begun yet still
/// go there. As slots arrive, the fewest moves that are left may be others.
#[derive(Clone, Debug)]
pub struct Destinations(Vec<(Option<MemberId>, SlotSet)>);

impl Destinations {
    /// `None` when the platform did not answer.
    #[must_use]
    pub fn new(desired: &Desired, observed: &Observed) -> Option<Self> {
        let layout = Layout::new(&World::new(desired, observed)?);
        Some(Self(layout.masters.into_iter().zip(layout.targets).collect()))
    }

    /// False of a move of slots that do not all belong to its target. What mends open slots is never called off.
    #[must_use]
    pub fn still_want(&self, step: &Step) -> bool {
        let Step::MigrateSlots { target, slots, kind: MoveKind::Handover, .. } = step else { return true };
        let belongs = |(master, wanted): &(Option<MemberId>, SlotSet)| {
            *master == Some(target.member) && slots.difference(wanted).is_empty()
        };
        self.0.iter().any(belongs)
    }
}

/// A plan with a deliberate defect, which the simulation must catch.
#[cfg(feature = "mutants")]
#[must_use]
pub fn plan_with_defect(desired: &Desired, observed: &Observed, defect: Defect) -> Plan {
    match World::new(desired, observed) {
        Some(world) => plan_for(&World { defect: Some(defect), ..world }),
        None => blind(desired, observed),
    }
}

/// The platform did not answer: nothing is known, so nothing is done.
fn blind(desired: &Desired, observed: &Observed) -> Plan {
    let waiting = observed.members.why().cloned().map(Waiting::Platform).into_iter().collect();
    Plan { waiting, paused: desired.paused(), ..Plan::default() }
}

fn plan_for(world: &World<'_>) -> Plan {
    let mut draft = Draft::default();
    let layout = Layout::new(world);
    stage::members::plan(world, &mut draft);
    stage::failover::plan(world, &mut draft);
    stage::drain::plan(world, &mut draft);
    stage::assign_slots::plan(world, &layout, &mut draft);
    stage::join::plan(world, &mut draft);
    stage::strangers::plan(world, &mut draft);
    stage::attach_replicas::plan(world, &layout, &mut draft);
    let open = stage::open_slots::plan(world, &layout, &mut draft);
    stage::rebalance::plan(world, &layout, &mut draft, &open);
    stage::forget::plan(world, &mut draft);
    draft.finish(world.desired.paused())
}
