//! The invariant check (proof.md): what is not as it should be in an observation. Operator, e2e and simulation use this
//! one. It judges by itself and asks no stage, so that a planner that overlooks something does not overlook it here too.

use crate::desired::Desired;
use crate::layout::Layout;
use crate::member::MemberId;
use crate::observed::{NodeReport, Observed, ViewLine, Why};
use crate::world::{World, in_sync};
use node_server_protocol::{NodeId, Role, SlotSet};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Nothing can be said.
    #[error("the platform did not say which members there are: {0}")]
    PlatformUnknown(Why),
    /// Declared and not there.
    #[error("member {0} is missing")]
    Missing(MemberId),
    /// There and not declared.
    #[error("member {0} is not declared")]
    Surplus(MemberId),
    /// It did not say anything.
    #[error("member {member} does not answer: {why}")]
    Silent {
        /// Who.
        member: MemberId,
        /// Why.
        why: Why,
    },
    /// Its view does not have all members.
    #[error("member {member} does not know {peer}")]
    Unacquainted {
        /// Who.
        member: MemberId,
        /// Whom.
        peer: MemberId,
    },
    /// Slots without an owner.
    #[error("no owner of slots {0}")]
    Unowned(SlotSet),
    /// Slots that two nodes claim.
    #[error("two owners of slots {0}")]
    OwnedTwice(SlotSet),
    /// A view differs.
    #[error("member {member} sees other owners of slots {slots}")]
    ViewDiffers {
        /// Whose view.
        member: MemberId,
        /// About which slots.
        slots: SlotSet,
    },
    /// A view has a node in another role than the node itself.
    #[error("member {member} sees {id} in another role")]
    RoleDiffers {
        /// Whose view.
        member: MemberId,
        /// About whom.
        id: NodeId,
    },
    /// A master has open slots.
    #[error("member {member} has open slots {slots}")]
    OpenSlots {
        /// Who.
        member: MemberId,
        /// Which.
        slots: SlotSet,
    },
    /// An entry that should not be there.
    #[error("member {member} has {id} as {flag}")]
    BadEntry {
        /// Whose view.
        member: MemberId,
        /// Which entry.
        id: NodeId,
        /// `fail`, `fail?`, `handshake`, `noaddr` or `nobody's`.
        flag: &'static str,
    },
    /// A shard's members are not one master with slots and replicas of it.
    #[error("member {member} should be {should}")]
    WrongRole {
        /// Who.
        member: MemberId,
        /// What it should be, in words.
        should: &'static str,
    },
    /// A master does not own what the distribution gives it.
    #[error("shard {shard} should own {slots}")]
    Distribution {
        /// Which shard.
        shard: u16,
        /// What it should own.
        slots: SlotSet,
    },
    /// Keys where nobody looks for them.
    #[error("member {member} has keys in slots {slots} that it does not own")]
    StrayKeys {
        /// Who.
        member: MemberId,
        /// In which slots.
        slots: SlotSet,
    },
    /// The node says that the cluster is down, or closed itself.
    #[error("member {0} does not serve")]
    DoesNotServe(MemberId),
}

/// Everything that is wrong; nothing, when the invariants hold.
#[must_use]
pub fn check(desired: &Desired, observed: &Observed) -> Vec<Violation> {
    let Some(world) = World::new(desired, observed) else {
        return observed.members.why().cloned().map(Violation::PlatformUnknown).into_iter().collect();
    };
    let mut wrong = members(&world);
    wrong.extend(slots(&world));
    for (member, report) in &world.reports {
        wrong.extend(view(&world, *member, report));
        wrong.extend(node(*member, report));
    }
    wrong.extend(roles(&world));
    wrong
}

fn members(world: &World<'_>) -> Vec<Violation> {
    let missing = world.desired.members().filter(|m| !world.members.contains_key(m)).map(Violation::Missing);
    let surplus = world.members.keys().copied().filter(|m| !world.desired.wants(*m)).map(Violation::Surplus);
    let silent = world.members.iter().filter(|(m, _)| !world.reports.contains_key(m));
    let silent = silent.map(|(m, v)| Violation::Silent {
        member: *m,
        why: v.node.why().cloned().unwrap_or(Why::NotRunning),
    });
    missing.chain(surplus).chain(silent).collect()
}

fn slots(world: &World<'_>) -> Vec<Violation> {
    let mut wrong = Vec::new();
    let unowned = world.ownership.unowned();
    if !unowned.is_empty() {
        wrong.push(Violation::Unowned(unowned));
    }
    let (mut seen, mut twice) = (SlotSet::new(), SlotSet::new());
    for report in world.reports.values() {
        let own = report.own_slots();
        twice = twice.union(&seen.intersection(&own));
        seen = seen.union(&own);
    }
    if !twice.is_empty() {
        wrong.push(Violation::OwnedTwice(twice));
    }
    wrong
}

fn view(world: &World<'_>, member: MemberId, report: &NodeReport) -> Vec<Violation> {
    let mut wrong = Vec::new();
    for (peer, other) in &world.reports {
        match report.line(other.id) {
            None => wrong.push(Violation::Unacquainted { member, peer: *peer }),
            Some(line) if line.master != other.role.master() => {
                wrong.push(Violation::RoleDiffers { member, id: other.id });
            }
            Some(_) => {}
        }
    }
    let differ = world.ownership.differences(report);
    if !differ.is_empty() {
        wrong.push(Violation::ViewDiffers { member, slots: differ });
    }
    let bad =
        |line: &ViewLine| flag(world, line).map(|flag| Violation::BadEntry { member, id: line.id, flag });
    wrong.extend(report.view.iter().filter_map(bad));
    wrong
}

fn flag(world: &World<'_>, line: &ViewLine) -> Option<&'static str> {
    let flags = line.flags;
    let named = [
        (flags.handshake, "handshake"),
        (flags.fail, "fail"),
        (flags.pfail, "fail?"),
        (flags.noaddr, "noaddr"),
    ];
    let named = named.into_iter().find(|(set, _)| *set).map(|(_, name)| name);
    named.or_else(|| world.report_of(line.id).is_none().then_some("nobody's"))
}

fn node(member: MemberId, report: &NodeReport) -> Vec<Violation> {
    let mut wrong = Vec::new();
    let open: SlotSet = report.open_slots.iter().map(|o| o.slot).collect();
    if report.role.is_master() && !open.is_empty() {
        wrong.push(Violation::OpenSlots { member, slots: open });
    }
    let strays: SlotSet = report.stray_keys.known().into_iter().flatten().map(|k| k.slot).collect();
    let homeless =
        report.role.is_master() && report.own_slots().is_empty() && report.keys.known() != Some(&0);
    if !strays.is_empty() || homeless {
        wrong.push(Violation::StrayKeys { member, slots: strays });
    }
    if report.closed_empty || !report.cluster_ok {
        wrong.push(Violation::DoesNotServe(member));
    }
    wrong
}

fn roles(world: &World<'_>) -> Vec<Violation> {
    let mut wrong = Vec::new();
    let layout = Layout::new(world);
    for (shard, (master, target)) in (0..).zip(layout.masters.iter().zip(&layout.targets)) {
        let report = master.and_then(|m| world.reports.get(&m));
        if report.is_none_or(|r| r.own_slots() != *target) {
            wrong.push(Violation::Distribution { shard, slots: target.clone() });
        }
        let others = world.reports.iter().filter(|(m, _)| m.shard == shard && Some(**m) != *master);
        let copies =
            |r: &NodeReport| report.is_some_and(|to| r.role == Role::Replica { of: to.id }) && in_sync(r);
        let bad = others.filter(|(_, r)| !copies(r)).map(|(m, _)| *m);
        wrong.extend(bad.map(|member| Violation::WrongRole {
            member,
            should: "a replica in sync of its shard's master",
        }));
    }
    wrong
}
