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
