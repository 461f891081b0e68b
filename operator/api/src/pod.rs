//! `spec.pod` and `spec.storage`: what a user may say about the pods. A list of fields, not a pod template: what is not
//! here the operator decides.

use k8s_openapi::api::core::v1::{Affinity, LocalObjectReference, Toleration};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a user may say about the pods.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodSpec {
    /// More labels. The operator's own win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels that a Kubernetes node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::crd::tolerations_schema")]
    pub tolerations: Vec<Toleration>,
    /// Affinity, beside the spreading over nodes and zones that the operator sets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::crd::affinity_schema")]
    pub affinity: Option<Affinity>,
    /// The PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    /// Secrets for pulling the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::crd::pull_secrets_schema")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
}

/// A volume for each node.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.size == oldSelf.size")
        .message("storage.size cannot change")
        .reason(Reason::FieldValueForbidden),
    validation = Rule::new("self.storageClassName == oldSelf.storageClassName")
        .message("storage.storageClassName cannot change")
        .reason(Reason::FieldValueForbidden)
)]
pub struct StorageSpec {
    /// How large, as in `1Gi`.
    #[schemars(schema_with = "crate::crd::size_schema")]
    pub size: String,
    /// The StorageClass; empty for the cluster's default.
    #[serde(default)]
    pub storage_class_name: String,
    /// What becomes of the volumes when the RedisCluster is deleted.
    #[serde(default)]
    pub when_deleted: VolumePolicy,
    /// What becomes of the volumes of nodes that are not declared any more.
    #[serde(default = "delete")]
    pub when_scaled: VolumePolicy,
}

/// What becomes of a volume.
#[derive(schemars::JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VolumePolicy {
    /// It stays.
    #[default]
    Retain,
    /// It goes with its owner.
    Delete,
}

const fn delete() -> VolumePolicy {
    VolumePolicy::Delete
}
