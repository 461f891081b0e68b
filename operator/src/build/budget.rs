//! One PodDisruptionBudget for each shard, and how many of its pods may go now.

use super::Blueprint;
use super::names::{metadata, shard_name, shard_selector};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use node_server_protocol::Role;
use operator_planner::observed::ReplicaLink;
use operator_planner::{Desired, NodeReport, Observed, Plan, Step};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// A pod that is not ready may always be evicted: it holds up a drain and gives nothing.
const UNHEALTHY: &str = "AlwaysAllow";
/// For so long a shard has to be fit for an eviction before one is allowed again.
pub const RISE_PAUSE: Duration = Duration::from_secs(5);

pub(super) fn build(blueprint: &Blueprint<'_>) -> Vec<PodDisruptionBudget> {
    let one = |shard: u16| PodDisruptionBudget {
        metadata: metadata(blueprint, shard_name(blueprint.name(), shard)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(blueprint.budgets.get(&shard).copied().unwrap_or(0))),
            selector: Some(LabelSelector {
                match_labels: Some(shard_selector(blueprint.name(), shard)),
                ..LabelSelector::default()
            }),
            unhealthy_pod_eviction_policy: Some(UNHEALTHY.into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    };
    blueprint.sizes.keys().map(|shard| one(*shard)).collect()
}

/// Budgets that fall at once and rise late: else they would change with every batch of a reshard.
#[derive(Debug, Default)]
pub struct Steady {
    none_at: BTreeMap<u16, Instant>,
}

impl Steady {
    /// What holds now of `budgets`: one that was 0 within [`RISE_PAUSE`] is 0 still.
    pub fn hold(&mut self, mut budgets: BTreeMap<u16, i32>, now: Instant) -> BTreeMap<u16, i32> {
        self.none_at.retain(|shard, _| budgets.contains_key(shard));
        for (shard, budget) in &mut budgets {
            if *budget == 0 {
                self.none_at.insert(*shard, now);
            } else if self.none_at.get(shard).is_some_and(|then| now.duration_since(*then) < RISE_PAUSE) {
                *budget = 0;
            }
        }
        budgets
    }
}

/// How many pods of each shard may be evicted: one, and none while the shard has no replica in sync, one of its slots is
/// on its way or about to be, or the master of another shard is missing.
#[must_use]
pub fn budgets(desired: &Desired, observed: &Observed, plan: &Plan) -> BTreeMap<u16, i32> {
    let moves = plan.steps.iter().filter_map(|planned| match &planned.step {
        Step::MigrateSlots { source, target, .. } => Some([source.member.shard, target.member.shard]),
        _ => None,
    });
    let moving: BTreeSet<u16> = moves.flatten().collect();
    let reports: Vec<(u16, &NodeReport)> = observed
        .members
        .known()
        .into_iter()
        .flatten()
        .filter_map(|(id, member)| Some((id.shard, member.node.known()?)))
        .collect();
    let served: BTreeSet<u16> = reports.iter().filter(|(_, r)| serves(r)).map(|(shard, _)| *shard).collect();
    let allowed = |shard: u16| {
        let mut own = reports.iter().filter(|(s, _)| *s == shard).map(|(_, r)| r);
        let others = (0..desired.masters()).filter(|s| *s != shard).all(|s| served.contains(&s));
        let copied = own.clone().any(|r| r.replication.link == ReplicaLink::Up);
        let still = !moving.contains(&shard) && own.all(|r| r.open_slots.is_empty());
        others && copied && still
    };
    (0..desired.masters()).map(|shard| (shard, i32::from(allowed(shard)))).collect()
}

fn serves(report: &NodeReport) -> bool {
    report.role == Role::Master && !report.closed_empty && !report.own_slots().is_empty()
}
