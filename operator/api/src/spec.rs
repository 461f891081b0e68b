//! `kind: RedisCluster`.

use crate::pod::{PodSpec, StorageSpec};
use crate::slots::SlotsEntry;
use crate::status::RedisClusterStatus;
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The longest name of a cluster: pods are called `NAME-SHARD-ORDINAL`, and a label holds 63 characters.
pub const NAME_MAX: usize = 40;
/// The most nodes in one cluster.
pub const NODES_MAX: i64 = 1000;

/// What a user declares about one Redis Cluster.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "slotkeeper.dev",
    version = "v1alpha1",
    kind = "RedisCluster",
    plural = "redisclusters",
    singular = "rediscluster",
    shortname = "rdc",
    category = "all",
    namespaced,
    status = "RedisClusterStatus",
    derive = "PartialEq",
    cel,
    doc = "A Redis Cluster: masters, replicas and the distribution of the 16384 slots.",
    scale(
        spec_replicas_path = ".spec.masters",
        status_replicas_path = ".status.masters",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Masters", type_ = "integer", json_path = ".spec.masters", description = "Declared masters"),
    printcolumn(
        name = "Replicas",
        type_ = "integer",
        json_path = ".spec.replicasPerMaster",
        description = "Declared replicas of each master"
    ),
    printcolumn(name = "Slots", type_ = "integer", json_path = ".status.slotsCovered", description = "Slots with an owner"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Why", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 40")
        .message("metadata.name must be at most 40 characters")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be a DNS label that begins with a letter: a-z, 0-9 and '-'")
        .reason(Reason::FieldValueInvalid)
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.masters * (1 + self.replicasPerMaster) <= 1000")
        .message("masters × (1 + replicasPerMaster) must be at most 1000")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("!has(self.slots) || self.slots.all(e, has(e.weight)) || self.slots.all(e, has(e.ranges))")
        .message("slots must be all weights or all ranges")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("!has(self.slots) || !self.slots.exists(e, has(e.ranges)) || self.slots.size() == self.masters")
        .message("with declared ranges, slots must have exactly as many entries as there are masters: change slots and masters in one edit")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("has(self.storage) == has(oldSelf.storage)")
        .message("storage can be neither added nor removed later")
        .reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.slots) || self.slots.size() <= self.masters")
        .message("slots must not have more entries than there are masters")
        .reason(Reason::FieldValueInvalid)
)]
pub struct RedisClusterSpec {
    /// How many masters. Also set by `kubectl scale rediscluster NAME --replicas=N`.
    #[serde(default = "default_masters")]
    #[schemars(schema_with = "crate::crd::masters_schema")]
    pub masters: i32,

    /// How many replicas each master has.
    #[serde(default = "default_replicas")]
    #[schemars(schema_with = "crate::crd::replicas_schema")]
    pub replicas_per_master: i32,

    /// How the slots are spread; without it every master gets an even share. Either weights, one per master (a missing
    /// one is 1), or the exact ranges of every master, which must cover the 16384 slots once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new(crate::slots::RULE_ORDER).message(crate::slots::SAY_ORDER).reason(Reason::FieldValueInvalid))]
    #[x_kube(validation = Rule::new(crate::slots::RULE_START).message(crate::slots::SAY_START).reason(Reason::FieldValueInvalid))]
    #[x_kube(validation = Rule::new(crate::slots::RULE_TOTAL).message(crate::slots::SAY_TOTAL).reason(Reason::FieldValueInvalid))]
    #[x_kube(validation = Rule::new(crate::slots::RULE_CHAIN).message(crate::slots::SAY_CHAIN).reason(Reason::FieldValueInvalid))]
    #[x_kube(validation = Rule::new(crate::slots::RULE_BOUND).message(crate::slots::SAY_BOUND).reason(Reason::FieldValueInvalid))]
    pub slots: Option<Vec<SlotsEntry>>,

    /// Directives of redis.conf by name, as in `maxmemory-policy: allkeys-lru`. Those that the operator sets itself
    /// (ports, files and directories, cluster-*) are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::crd::config_schema")]
    pub config: BTreeMap<String, IntOrString>,

    /// The image of the nodes; empty for the one that belongs to the operator's release.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 512))]
    pub image: String,

    /// A volume for each node, with its data and its identity: every write goes to an append-only file, which is on the
    /// disk a second later (`config.appendfsync` says otherwise). Without it everything is in memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageSpec>,

    /// CPU and memory of each node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::resources_schema")]
    pub resources: Option<ResourceRequirements>,

    /// What else the pods should have.
    #[serde(default)]
    pub pod: PodSpec,

    /// What may be done when data is lost.
    #[serde(default)]
    pub recovery: RecoverySpec,

    /// Plan and report, change nothing.
    #[serde(default)]
    pub paused: bool,
}

/// What may be done when data is lost.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecoverySpec {
    /// Open a shard empty when every copy of its data is seen to be gone. Without it the shard stays closed and the
    /// condition says so. Default: true without `storage`, else false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_data_loss: Option<bool>,
}

impl RedisClusterSpec {
    /// `recovery.allowDataLoss` with its default: true where there is no storage.
    #[must_use]
    pub fn allow_data_loss(&self) -> bool {
        self.recovery.allow_data_loss.unwrap_or(self.storage.is_none())
    }
}

const fn default_masters() -> i32 {
    3
}

const fn default_replicas() -> i32 {
    1
}
