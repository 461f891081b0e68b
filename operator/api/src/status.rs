//! What the operator reports. Written only when it changes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What the operator reports about one Redis Cluster.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RedisClusterStatus {
    /// The generation of the spec that this status is about.
    #[serde(default)]
    pub observed_generation: i64,

    /// Ready, Available, Progressing, Degraded, SlotsCovered and Resharding, each with its reason.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,

    /// Masters that own slots, for the scale subresource.
    #[serde(default)]
    pub masters: i32,

    /// Label selector of the pods, for the scale subresource.
    #[serde(default)]
    pub selector: String,

    /// Slots with an owner that serves them, of 16384.
    #[serde(default)]
    pub slots_covered: i32,

    /// The cluster's logical clock.
    #[serde(default)]
    pub current_epoch: i64,

    /// Every shard.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_string()]))]
    pub shards: Vec<ShardStatus>,

    /// Identities of nodes that are gone for good and that some node still knows. They are forgotten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_nodes: Vec<FormerNode>,

    /// What will be done next, and what is being waited for, in words.
    #[serde(default)]
    pub plan: PlanStatus,
}

/// A master and its replicas.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ShardStatus {
    /// Its name, as in `demo-0`.
    pub name: String,
    /// Its slots, as in `0-5460`; empty for none.
    #[serde(default)]
    pub slots: String,
    /// How many.
    #[serde(default)]
    pub slot_count: i32,
    /// The pod or process that is master; empty when none is known.
    #[serde(default)]
    pub master: String,
    /// Its nodes.
    #[serde(default)]
    pub nodes: Vec<NodeStatus>,
}

/// One pod or process.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its name, as in `demo-0-1`.
    pub pod: String,
    /// The platform's unique name of this very pod or process.
    #[serde(default, rename = "podUID")]
    pub pod_uid: String,
    /// Its name in the cluster: 40 hex digits; empty when it has not said it.
    #[serde(default)]
    pub id: String,
    /// `master`, `replica`, or `unknown`.
    #[serde(default)]
    pub role: String,
    /// How it is.
    #[serde(default)]
    pub state: NodeState,
    /// In words, where `state` is not `ok`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// A node that is gone for good.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct FormerNode {
    /// Its name in the cluster.
    pub id: String,
    /// The pod that it was.
    pub pod: String,
    /// What proves that it is gone: `terminated`, `administrator`, or `replaced` by another pod of its name.
    pub proof: String,
}

/// How a node is.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum NodeState {
    /// A master that serves, or a replica that follows.
    Ok,
    /// A replica without its copy yet.
    Syncing,
    /// A master that started without the data of its slots and serves nothing.
    ClosedEmpty,
    /// Its process has ended.
    Dead,
    /// Nothing is known; `why` says why.
    #[default]
    Unknown,
}

/// The plan in words.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PlanStatus {
    /// What will be done.
    #[serde(default)]
    pub next: Vec<String>,
    /// What is being waited for, and what is refused and why.
    #[serde(default)]
    pub waiting: Vec<String>,
}
