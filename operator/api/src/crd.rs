//! The CRD, and schemas where the derived ones would carry formats and bounds that API servers do not like.

use crate::RedisCluster;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use schemars::{Schema, SchemaGenerator, json_schema};

/// The CustomResourceDefinition.
#[must_use]
pub fn crd() -> CustomResourceDefinition {
    RedisCluster::crd()
}

pub(crate) fn masters_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int32", "minimum": 1, "maximum": 1000, "default": 3})
}

pub(crate) fn replicas_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int32", "minimum": 0, "maximum": 5, "default": 1})
}

pub(crate) fn weight_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "format": "int32", "minimum": 1, "maximum": 100})
}

pub(crate) fn ranges_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 16,
        "items": {"type": "string", "maxLength": 11, "pattern": "^(0|[1-9][0-9]{0,4})-(0|[1-9][0-9]{0,4})$"}
    })
}

pub(crate) fn config_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 128,
        "additionalProperties": {"x-kubernetes-int-or-string": true}
    })
}

/// A quantity that the operator passes on.
pub(crate) fn size_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "maxLength": 32, "pattern": "^[1-9][0-9]*(\\.[0-9]+)?([kMGTPE]|[KMGTPE]i)?$"})
}

/// The fields of a container's resources that make sense for a node.
pub(crate) fn resources_schema(_: &mut SchemaGenerator) -> Schema {
    let quantities = |what: &str| {
        serde_json::json!({
            "type": "object",
            "maxProperties": 16,
            "description": what,
            "additionalProperties": {"x-kubernetes-int-or-string": true}
        })
    };
    json_schema!({
        "type": "object",
        "nullable": true,
        "properties": {
            "limits": quantities("The most that a node gets."),
            "requests": quantities("What is set aside for a node.")
        }
    })
}

/// As in a pod; the API server checks the pod.
pub(crate) fn affinity_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true})
}

pub(crate) fn tolerations_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": {
            "type": "object",
            "properties": {
                "key": {"type": "string", "description": "The taint's key; empty for all."},
                "operator": {"type": "string", "description": "Exists or Equal (default)."},
                "value": {"type": "string", "description": "The taint's value, for Equal."},
                "effect": {"type": "string", "description": "The taint's effect; empty for all."},
                "tolerationSeconds": {"type": "integer", "format": "int64", "description": "For how long, of NoExecute."}
            }
        }
    })
}

pub(crate) fn pull_secrets_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": {
            "type": "object",
            "properties": {"name": {"type": "string", "description": "The Secret's name."}}
        }
    })
}
