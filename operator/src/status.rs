//! Status from what was seen and what is planned. Pure: the time is an argument, and an unchanged condition keeps its
//! time of transition.

mod shards;

use crate::platform::{Identity, Notice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use node_server_protocol::{SLOT_COUNT, SlotSet};
use operator_api::{FormerNode, NodeState, PlanStatus, RedisClusterStatus};
use operator_planner::{
    Desired, Explanation, Member, MemberId, NodeReport, Observed, Plan, Proof, Step, Violation, explain,
};
use shards::state;
use std::collections::BTreeMap;

/// Most lines of the plan that status carries.
const PLAN_LINES_MAX: usize = 12;

/// How a refusal begins among the lines of what is waited for.
pub const REFUSED: &str = "refused: ";

/// Everything that status is made of.
pub struct Inputs<'a> {
    /// What is declared.
    pub desired: &'a Desired,
    /// What was seen.
    pub observed: &'a Observed,
    /// What is planned.
    pub plan: &'a Plan,
    /// What the invariant check found; empty when everything is as it should be.
    pub findings: &'a [Violation],
    /// Who members last said that they were.
    pub identities: &'a [Identity],
    /// What the platform has to say.
    pub notices: &'a [Notice],
    /// The generation of the declaration.
    pub generation: i64,
    /// Now.
    pub now: Time,
}

/// The status, given the one before.
#[must_use]
pub fn status(inputs: &Inputs<'_>, before: &RedisClusterStatus) -> RedisClusterStatus {
    let shards = shards::shards(inputs, &before.shards);
    let covered = covered(inputs.observed);
    let words = explain(inputs.desired, inputs.observed, inputs.plan);
    let verdicts = conditions(inputs, &words, &covered);
    let timed = |verdict| keep_time(verdict, inputs.generation, &inputs.now, before);
    let conditions = verdicts.into_iter().map(timed).collect();
    RedisClusterStatus {
        observed_generation: inputs.generation,
        conditions,
        masters: shards.iter().filter(|s| s.slot_count > 0).count() as i32,
        selector: selector(inputs.desired.name()),
        former_nodes: former_nodes(inputs),
        slots_covered: covered.len() as i32,
        current_epoch: reports(inputs.observed).map(|r| r.current_epoch.0 as i64).max().unwrap_or(0),
        shards,
        plan: plan_status(words),
    }
}

/// The pods of a cluster, as a label selector.
#[must_use]
pub fn selector(cluster: &str) -> String {
    format!("app.kubernetes.io/name=rediscluster,app.kubernetes.io/instance={cluster}")
}

/// Identities that are gone, so that another operator knows them too.
fn former_nodes(inputs: &Inputs<'_>) -> Vec<FormerNode> {
    let former = |gone: &operator_planner::observed::Gone| FormerNode {
        id: gone.id.to_string(),
        pod: gone.member.name(inputs.desired.name()),
        proof: match gone.proof {
            Proof::Administrator => "administrator",
            Proof::Refused => "replaced",
            Proof::Terminated | Proof::ClosedEmpty => "terminated",
        }
        .into(),
    };
    inputs.observed.gone.iter().map(former).collect()
}

fn members(observed: &Observed) -> Option<&BTreeMap<MemberId, Member>> {
    observed.members.known()
}

fn reports(observed: &Observed) -> impl Iterator<Item = &NodeReport> {
    members(observed).into_iter().flatten().filter_map(|(_, m)| m.node.known())
}

/// Slots that a master which answers says it owns and serves.
fn covered(observed: &Observed) -> SlotSet {
    reports(observed)
        .filter(|r| r.cluster_ok && !r.closed_empty)
        .fold(SlotSet::new(), |all, r| all.union(&r.own_slots()))
}

fn plan_status(words: Explanation) -> PlanStatus {
    let refused = words.refused.into_iter().map(|refusal| format!("{REFUSED}{refusal}"));
    PlanStatus { next: bounded(words.next), waiting: bounded(refused.chain(words.waiting).collect()) }
}

fn bounded(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(PLAN_LINES_MAX);
    if more > 0 {
        lines.truncate(PLAN_LINES_MAX);
        lines.push(format!("and {more} more"));
    }
    lines
}

/// Type, whether it holds, reason, message.
type Verdict = (&'static str, bool, &'static str, String);

fn conditions(inputs: &Inputs<'_>, words: &Explanation, covered: &SlotSet) -> Vec<Verdict> {
    let all = covered.len() == usize::from(SLOT_COUNT);
    let missing = SlotSet::full().difference(covered);
    let slots = if all { "all 16384 slots are served".into() } else { format!("not served: {missing}") };
    let reshards = inputs.plan.steps.iter().any(|s| matches!(s.step, Step::MigrateSlots { .. }));
    let quiet = inputs.findings.is_empty() && inputs.notices.is_empty();
    let converged = inputs.plan.is_converged() && quiet;
    let (reason, message) = why_not_ready(inputs, words, all);
    vec![
        ("Ready", converged && all, if converged && all { "Converged" } else { reason }, message.clone()),
        ("Available", all, if all { "AllSlotsServed" } else { "SlotsNotServed" }, slots.clone()),
        ("Progressing", !converged, if converged { "Converged" } else { reason }, message),
        degraded(inputs, words),
        ("SlotsCovered", all, if all { "AllSlotsServed" } else { "SlotsNotServed" }, slots),
        ("Resharding", reshards, if reshards { "MovingSlots" } else { "NoMoves" }, moves(inputs)),
    ]
}

fn moves(inputs: &Inputs<'_>) -> String {
    let count: usize = inputs
        .plan
        .steps
        .iter()
        .map(|s| if let Step::MigrateSlots { slots, .. } = &s.step { slots.len() } else { 0 })
        .sum();
    format!("{count} slots are next")
}

fn degraded(inputs: &Inputs<'_>, words: &Explanation) -> Verdict {
    let name = inputs.desired.name();
    if let Some(refusal) = words.refused.first() {
        return ("Degraded", true, "Refused", refusal.clone());
    }
    if let Some(notice) = inputs.notices.first() {
        return ("Degraded", true, notice.reason, notice.message.clone());
    }
    let bad = members(inputs.observed)
        .into_iter()
        .flatten()
        .find(|(id, m)| inputs.desired.wants(**id) && !matches!(state(m).0, NodeState::Ok));
    match bad {
        Some((id, member)) => {
            let (_, why) = state(member);
            ("Degraded", true, "NodeNotOk", format!("{}: {why}", id.name(name)))
        }
        None => ("Degraded", false, "AllNodesOk", String::new()),
    }
}

/// The most telling reason, and the plan's first words.
fn why_not_ready(inputs: &Inputs<'_>, words: &Explanation, covered: bool) -> (&'static str, String) {
    let first = |lines: &[String]| lines.first().cloned().unwrap_or_default();
    if !words.refused.is_empty() {
        return ("Refused", first(&words.refused));
    }
    if let Some(notice) = inputs.notices.first() {
        return (notice.reason, notice.message.clone());
    }
    if words.paused && !words.next.is_empty() {
        return ("Paused", "spec.paused is set: nothing is changed".into());
    }
    if let Some(step) = inputs.plan.steps.first() {
        return (reason(&step.step), first(&words.next));
    }
    if !words.waiting.is_empty() {
        return ("Waiting", format!("waiting for {}", first(&words.waiting)));
    }
    if let Some(finding) = inputs.findings.first() {
        return ("NotConsistent", finding.to_string());
    }
    if covered {
        ("Converged", "everything is as declared".into())
    } else {
        ("SlotsNotServed", "slots are not served".into())
    }
}

fn reason(step: &Step) -> &'static str {
    match step {
        Step::EnsureMember { .. } => "StartingNodes",
        Step::SetConfigEpoch { .. } | Step::Meet { .. } => "Joining",
        Step::AssignSlots { .. } => "AssigningSlots",
        Step::Replicate { .. } => "AttachingReplicas",
        Step::MigrateSlots { .. } | Step::CloseSlots { .. } => "Resharding",
        Step::Failover { .. } => "FailingOver",
        Step::Forget { .. } | Step::Reset { .. } | Step::RemoveMember { .. } => "RemovingNodes",
        Step::ReplaceOwner { .. } | Step::ReportLoss { .. } | Step::Reopen { .. } => "DataLost",
    }
}

fn keep_time(verdict: Verdict, generation: i64, now: &Time, before: &RedisClusterStatus) -> Condition {
    let (kind, holds, reason, message) = verdict;
    let status = if holds { "True" } else { "False" };
    let old = before.conditions.iter().find(|c| c.type_ == kind && c.status == status);
    Condition {
        type_: kind.into(),
        status: status.into(),
        reason: reason.into(),
        message,
        observed_generation: Some(generation),
        last_transition_time: old.map_or_else(|| now.clone(), |c| c.last_transition_time.clone()),
    }
}

/// The status of a declaration that cannot be followed: what is known stays, and the conditions say why.
#[must_use]
pub fn refused(
    refusal: &Notice,
    generation: i64,
    now: &Time,
    before: &RedisClusterStatus,
) -> RedisClusterStatus {
    let verdict = |kind, holds| {
        keep_time((kind, holds, refusal.reason, refusal.message.clone()), generation, now, before)
    };
    let mut status = before.clone();
    status.observed_generation = generation;
    for condition in [verdict("Ready", false), verdict("Progressing", false), verdict("Degraded", true)] {
        status.conditions.retain(|c| c.type_ != condition.type_);
        status.conditions.push(condition);
    }
    status
}

/// Whether a condition holds.
#[must_use]
pub fn holds(status: &RedisClusterStatus, kind: &str) -> bool {
    status.conditions.iter().any(|c| c.type_ == kind && c.status == "True")
}
