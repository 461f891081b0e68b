//! What children are called, and the labels that they carry.

use super::Blueprint;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use operator_planner::MemberId;
use std::collections::BTreeMap;

/// Which cluster an object belongs to.
pub const CLUSTER_LABEL: &str = "app.kubernetes.io/instance";
/// Who made it.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// We did.
pub const MANAGED_BY: &str = "slotkeeper";
/// Which shard a pod belongs to.
pub const SHARD_LABEL: &str = "slotkeeper.dev/shard";
/// Annotation of a pod: the UID of the RedisCluster that it was made for. A later one of the same name is another.
pub const CLUSTER_UID: &str = "slotkeeper.dev/cluster-uid";
/// For clients.
pub const CLIENT_PORT: u16 = 6379;
/// Between nodes.
pub(super) const BUS_PORT: u16 = 16379;
/// For probes.
pub const ADMIN_PORT: u16 = 9121;
/// The volume and its claims.
pub const DATA: &str = "data";

const NAME_LABEL: &str = "app.kubernetes.io/name";
const COMPONENT_LABEL: &str = "app.kubernetes.io/component";

/// As in `demo-0`.
#[must_use]
pub fn shard_name(cluster: &str, shard: u16) -> String {
    format!("{cluster}-{shard}")
}

/// The claim that a StatefulSet makes for a member.
#[must_use]
pub fn claim_name(cluster: &str, member: MemberId) -> String {
    format!("{DATA}-{}", member.name(cluster))
}

pub(super) fn headless_name(cluster: &str) -> String {
    format!("{cluster}-nodes")
}

fn label_map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Labels of every child.
#[must_use]
pub fn labels(cluster: &str) -> BTreeMap<String, String> {
    label_map(&[(NAME_LABEL, "rediscluster"), (CLUSTER_LABEL, cluster), (MANAGED_BY_LABEL, MANAGED_BY)])
}

/// What selects the pods of a cluster.
pub(super) fn cluster_selector(cluster: &str) -> BTreeMap<String, String> {
    label_map(&[(NAME_LABEL, "rediscluster"), (CLUSTER_LABEL, cluster), (COMPONENT_LABEL, "node")])
}

/// What selects the pods of a shard.
pub(super) fn shard_selector(cluster: &str, shard: u16) -> BTreeMap<String, String> {
    let mut labels = cluster_selector(cluster);
    labels.insert(SHARD_LABEL.into(), shard_name(cluster, shard));
    labels
}

/// Labels of a shard's pods.
pub(super) fn pod_labels(cluster: &str, shard: u16) -> BTreeMap<String, String> {
    let mut all = labels(cluster);
    all.extend(shard_selector(cluster, shard));
    all
}

/// Metadata of a child.
pub(super) fn metadata(blueprint: &Blueprint<'_>, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: blueprint.cluster.metadata.namespace.clone(),
        labels: Some(labels(blueprint.name())),
        owner_references: Some(vec![blueprint.owner.clone()]),
        ..ObjectMeta::default()
    }
}
