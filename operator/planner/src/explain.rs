//! A plan in words, for status, events, `operator plan` and the terminal. Nodes are called by their members' names.

use crate::desired::Desired;
use crate::member::MemberId;
use crate::observed::Observed;
use crate::plan::{Plan, PlannedStep};
use crate::step::{FailoverMode, MoveKind, NodeRef, Step};
use crate::unsafe_::Unsafe;
use crate::waiting::Waiting;
use crate::world::World;
use node_server_protocol::{NodeId, SlotSet};
use std::collections::BTreeMap;
use std::fmt;

/// How much of the id of a node that is no member's is shown.
const SHORT_ID: usize = 8;

/// A plan in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// What it will do, in order.
    pub next: Vec<String>,
    /// What it waits for.
    pub waiting: Vec<String>,
    /// What it refuses, and why.
    pub refused: Vec<String>,
    /// Nothing is done while paused.
    pub paused: bool,
}

/// Puts a plan into words.
#[must_use]
pub fn explain(desired: &Desired, observed: &Observed, plan: &Plan) -> Explanation {
    let names = Names::new(desired, observed);
    Explanation {
        next: names.steps(plan),
        waiting: plan.waiting.iter().map(|w| names.waiting(w)).collect(),
        refused: plan.unsafe_.iter().map(|u| names.refusal(u)).collect(),
        paused: plan.paused,
    }
}

/// One section for each kind; `nothing to do` when there is none.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let next = if self.paused { "next (paused: only shown)" } else { "next" };
        let sections = [(next, &self.next), ("waiting for", &self.waiting), ("refused", &self.refused)];
        let mut any = false;
        for (title, lines) in sections.into_iter().filter(|(_, lines)| !lines.is_empty()) {
            any = true;
            writeln!(f, "{title}:")?;
            lines.iter().try_for_each(|line| writeln!(f, "  - {line}"))?;
        }
        if any { Ok(()) } else { writeln!(f, "nothing to do") }
    }
}

/// Who is called what.
pub struct Names<'a> {
    cluster: &'a str,
    members: BTreeMap<NodeId, MemberId>,
}

impl<'a> Names<'a> {
    /// Of one observation.
    #[must_use]
    pub fn new(desired: &'a Desired, observed: &Observed) -> Self {
        let mut members: BTreeMap<NodeId, MemberId> =
            observed.gone.iter().map(|g| (g.id, g.member)).collect();
        members.extend(World::new(desired, observed).map(|w| w.ids).unwrap_or_default());
        Self { cluster: desired.name(), members }
    }

    fn member(&self, member: MemberId) -> String {
        member.name(self.cluster)
    }

    fn node(&self, node: NodeRef) -> String {
        self.member(node.member)
    }

    fn id(&self, id: NodeId) -> String {
        let short = || id.to_string().chars().take(SHORT_ID).collect();
        self.members.get(&id).map_or_else(short, |m| self.member(*m))
    }

    fn shard(&self, shard: u16) -> String {
        format!("{}-{shard}", self.cluster)
    }

    /// Batches from one node to another in one line, where the first of them stands.
    fn steps(&self, plan: &Plan) -> Vec<String> {
        let mut moves: BTreeMap<_, SlotSet> = BTreeMap::new();
        for planned in &plan.steps {
            if let Step::MigrateSlots { slots, source, target, kind, .. } = &planned.step {
                let all = moves.entry((*source, *target, *kind)).or_default();
                *all = all.union(slots);
            }
        }
        let line = |planned: &PlannedStep| match &planned.step {
            Step::MigrateSlots { source, target, kind, .. } => moves
                .remove(&(*source, *target, *kind))
                .map(|slots| self.migrate(&slots, *source, *target, *kind)),
            step => Some(self.step(step)),
        };
        plan.steps.iter().filter_map(line).collect()
    }

    fn migrate(&self, slots: &SlotSet, source: NodeRef, target: NodeRef, kind: MoveKind) -> String {
        let (from, to) = (self.node(source), self.node(target));
        match kind {
            MoveKind::Handover => format!("move {} from {from} to {to}", count(slots)),
            MoveKind::Merge { .. } => {
                format!("bring what {from} has of {} to {to}, which owns it", count(slots))
            }
        }
    }

    /// One step.
    #[must_use]
    pub fn step(&self, step: &Step) -> String {
        match step {
            Step::EnsureMember { member } => format!("start {}", self.member(*member)),
            Step::SetConfigEpoch { node, epoch } => format!("give {} config epoch {epoch}", self.node(*node)),
            Step::Meet { at, peer } => format!("introduce {} to {}", self.node(*peer), self.node(*at)),
            Step::AssignSlots { owner, slots, .. } => {
                format!("give {} to {}", count(slots), self.node(*owner))
            }
            Step::ReplaceOwner { owner, previous, slots, .. } => {
                format!(
                    "give {} of {}, whose data is lost, to {}",
                    count(slots),
                    self.id(*previous),
                    self.node(*owner)
                )
            }
            Step::Replicate { replica, master } => {
                format!("make {} a replica of {}", self.node(*replica), self.node(*master))
            }
            Step::MigrateSlots { slots, source, target, kind, .. } => {
                self.migrate(slots, *source, *target, *kind)
            }
            Step::CloseSlots { node, slots } => format!("close {} on {}", count(slots), self.node(*node)),
            Step::Failover { replica, master, mode } => {
                format!("fail over from {} to {} ({})", self.id(*master), self.node(*replica), how(*mode))
            }
            Step::Forget { id, at, .. } => format!("forget {} on {} nodes", self.id(*id), at.len()),
            Step::Reset { node } => format!("reset {}", self.node(*node)),
            Step::RemoveMember { member, .. } => format!("remove {}", self.member(*member)),
            Step::ReportLoss { shard, slots, reason } => {
                format!("report the loss of {} of {}: {reason}", count(slots), self.shard(*shard))
            }
            Step::Reopen { node } => format!("reopen {}, which is empty", self.node(*node)),
        }
    }

    /// One thing waited for.
    #[must_use]
    pub fn waiting(&self, waiting: &Waiting) -> String {
        match waiting {
            Waiting::Platform(why) => format!("the platform to list its members: {why}"),
            Waiting::Start { member, reason } => format!("{} to start: {reason}", self.member(*member)),
            Waiting::Restart { member } => format!("{} to be started again", self.member(*member)),
            Waiting::Answer { member, why } => format!("{} to answer: {why}", self.member(*member)),
            Waiting::Leave { member } => format!("{} to leave", self.member(*member)),
            Waiting::Handshake { at, peer } => {
                format!("{} to get to know {}", self.member(*at), self.member(*peer))
            }
            Waiting::ViewsAgree { slots } => format!("all nodes to agree about {}", count(slots)),
            Waiting::ClusterOk { member } => format!("{} to see the cluster up", self.member(*member)),
            Waiting::ReplicaSync { member } => format!("{} to copy its master's data", self.member(*member)),
            Waiting::Failover { master, reason, .. } => {
                format!("the failover of {}: {reason}", self.id(*master))
            }
            Waiting::ServingMaster { shard } => format!("a master of {} that serves", self.shard(*shard)),
            Waiting::Demotion { member } => format!("{} to step down", self.member(*member)),
            Waiting::Turn { shard } => format!("another step, before {} has its turn", self.shard(*shard)),
        }
    }

    /// One refusal.
    #[must_use]
    pub fn refusal(&self, refusal: &Unsafe) -> String {
        match refusal {
            Unsafe::ForeignNode { id, address, seen_by, slots } => {
                let owns = if slots.is_empty() {
                    String::new()
                } else {
                    format!(" and is said to own {}", count(slots))
                };
                format!("{id} at {address} is none of ours, and {} knows it{owns}", self.member(*seen_by))
            }
            Unsafe::NotProvenGone { id, address } => {
                format!("to forget {} at {address}: nothing proves that it is gone", self.id(*id))
            }
            Unsafe::WouldMergeClusters { member, knows } => {
                format!("to introduce {}: it knows {knows}, which is none of ours", self.member(*member))
            }
            Unsafe::NotEmpty { member, keys } => {
                format!("to take in {}: its {keys} keys would be dropped", self.member(*member))
            }
            Unsafe::OwnsSlots { member, slots } => {
                format!("to remove {}: it owns {}", self.member(*member), count(slots))
            }
            Unsafe::HasKeys { member, keys: Some(keys) } => {
                format!("to remove {}: it has {keys} keys", self.member(*member))
            }
            Unsafe::HasKeys { member, keys: None } => {
                format!("to remove {}: nobody can say whether it has keys", self.member(*member))
            }
            Unsafe::UnknownMember { subject, silent } if subject == silent => {
                format!("to remove {}: it does not answer", self.member(*subject))
            }
            Unsafe::UnknownMember { subject, silent } => {
                format!("to remove {}: {} does not serve", self.member(*subject), self.member(*silent))
            }
            Unsafe::MayBeOwned { slots, silent } => {
                format!("to assign {}: {} does not answer and may own it", count(slots), self.member(*silent))
            }
            Unsafe::NoSuccessor { member } => {
                format!("to remove {}: no replica that stays is in sync", self.member(*member))
            }
            Unsafe::StrayKeys { member, slots } => {
                format!(
                    "to touch keys that {} has in {}: it does not own it",
                    self.member(*member),
                    count(slots)
                )
            }
            Unsafe::OpenSlotStuck { member, slots } => {
                format!(
                    "to close {} on {}: the other side does not answer",
                    count(slots),
                    self.member(*member)
                )
            }
            Unsafe::TakeoverNotProven { .. }
            | Unsafe::OlderCopy { .. }
            | Unsafe::NoReplica { .. }
            | Unsafe::DataLoss { .. }
            | Unsafe::CopyMayExist { .. } => self.loss(refusal),
        }
    }

    /// Refusals about a shard that has lost its master.
    fn loss(&self, refusal: &Unsafe) -> String {
        match refusal {
            Unsafe::TakeoverNotProven { master, .. } => {
                format!(
                    "to replace {}: no majority can vote, and a refused connection proves no death",
                    self.id(*master)
                )
            }
            Unsafe::OlderCopy { master, replica, .. } => format!(
                "to replace {}: its data is on its volume, and {} was not in sync when it ended. It comes back, \
                 or recovery.allowDataLoss lets the older copy take over",
                self.id(*master),
                self.member(*replica)
            ),
            Unsafe::NoReplica { master, slots, .. } => {
                format!("to replace {}: no replica has a copy of {}", self.id(*master), count(slots))
            }
            Unsafe::DataLoss { shard, slots } => format!(
                "to open {} empty: every copy of {} is lost, and recovery.allowDataLoss is false",
                self.shard(*shard),
                count(slots)
            ),
            Unsafe::CopyMayExist { shard, copy } => {
                format!("to open {} empty: {} may have its data", self.shard(*shard), self.member(*copy))
            }
            other => format!("{other:?}"),
        }
    }
}

fn how(mode: FailoverMode) -> String {
    match mode {
        FailoverMode::Graceful => "planned".into(),
        FailoverMode::Forced(proof) => format!("forced: {proof}"),
        FailoverMode::Takeover(proof) => format!("takeover without a vote: {proof}"),
    }
}

/// `slot 5` or `slots 0-5460 (5461)`.
fn count(slots: &SlotSet) -> String {
    match slots.len() {
        1 => format!("slot {slots}"),
        n => format!("slots {slots} ({n})"),
    }
}
