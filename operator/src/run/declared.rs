//! What a RedisCluster object declares, and what is done about one that does not hold.

use crate::manifest::{self, Manifest};
use crate::platform::Notice;
use kube::api::DynamicObject;

/// A declaration, as far as it holds.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    /// What is followed: this declaration, or the last one that held.
    pub(super) manifest: Option<Manifest>,
    /// Why not this one. No object is changed then; healing goes on.
    pub(super) refusal: Option<Notice>,
    /// Of the object.
    pub(super) generation: i64,
}

/// Reads an object; `before` is what was followed so far.
pub(super) fn read(object: &DynamicObject, before: Option<&Manifest>) -> Declared {
    let generation = object.metadata.generation.unwrap_or(0);
    let parsed = serde_json::to_value(object)
        .map_err(|e| Notice { reason: "InvalidSpec", message: e.to_string() })
        .and_then(|value| manifest::from_object(&value).map_err(|e| refusal(&e)));
    match parsed {
        Ok(mut manifest) => {
            manifest.cluster.metadata = object.metadata.clone();
            let refusal = manifest::check_config(&manifest.cluster.spec).err().map(|e| refusal(&e));
            Declared { manifest: Some(manifest), refusal, generation }
        }
        Err(notice) => {
            let followed = before.cloned().map(|mut manifest| {
                manifest.cluster.metadata.generation = Some(generation);
                manifest
            });
            Declared { manifest: followed, refusal: Some(notice), generation }
        }
    }
}

/// Whether nodes keep their data and identities on volumes. Of the object itself: its declaration may be one that cannot be
/// followed, and storage never changes.
pub(super) fn has_storage(object: &DynamicObject) -> bool {
    object.data.pointer("/spec/storage").is_some_and(|storage| !storage.is_null())
}

fn refusal(error: &manifest::ManifestError) -> Notice {
    let reason = match error {
        manifest::ManifestError::Config(_) => "InvalidConfig",
        _ => "InvalidSpec",
    };
    Notice { reason, message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(spec: serde_json::Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "slotkeeper.dev/v1alpha1", "kind": "RedisCluster",
            "metadata": {"name": "demo", "namespace": "shop", "uid": "u", "generation": 4}, "spec": spec
        }))
        .unwrap()
    }

    #[test]
    fn what_holds_is_followed() {
        let declared = read(&object(json!({"masters": 4})), None);
        let manifest = declared.manifest.unwrap();
        assert_eq!((manifest.desired.masters(), declared.generation), (4, 4));
        assert_eq!(manifest.cluster.metadata.namespace.as_deref(), Some("shop"));
        assert!(declared.refusal.is_none());
    }

    /// An operator that could not read the declaration when it began took identities on volumes for gone with their pods.
    #[test]
    fn storage_is_known_of_a_declaration_that_does_not_hold() {
        let unknown = object(json!({"masters": "many", "storage": {"size": "1Gi"}}));
        assert!(read(&unknown, None).manifest.is_none() && has_storage(&unknown));
        assert!(!has_storage(&object(json!({"masters": 3}))));
        assert!(!has_storage(&object(json!({"masters": 3, "storage": null}))));
    }

    #[test]
    fn a_bad_directive_is_named_and_the_cluster_is_still_healed() {
        let declared = read(&object(json!({"config": {"port": 7000}})), None);
        assert!(declared.manifest.is_some());
        let refusal = declared.refusal.unwrap();
        assert_eq!(refusal.reason, "InvalidConfig");
        assert!(refusal.message.contains("spec.config.port"), "{}", refusal.message);
    }

    #[test]
    fn what_cannot_be_read_leaves_the_former_declaration_standing() {
        let before = read(&object(json!({"masters": 4})), None).manifest;
        let bad = object(json!({"masters": "many"}));
        let declared = read(&bad, before.as_ref());
        assert_eq!(declared.manifest.unwrap().desired.masters(), 4);
        assert_eq!(declared.refusal.unwrap().reason, "InvalidSpec");
        assert!(read(&bad, None).manifest.is_none());
    }
}
